/*
** schedule.h -- what is played under a scheduler (engine/io/env_sched.c), and the judge of it.
**
** Rows come in groups; a transaction writes or deletes some groups, and its number, which stands in
** a row of its own. Numbers are given out while the right to write is held, so they rise from
** commit to commit, and what each leaves behind is noted. Whoever takes a snapshot finds a number
** in it, and must find exactly what was noted for that number; not less than was acknowledged when
** they asked, nor more than was given out by then.
**
** Members of the crew have a handle of the store, and a transaction object, of their own. When
** faults are armed a call may fail from the first one on; what is found must be right all the same.
** A process may die (processes/world.h): what its members find from then on does not count, for
** there is nobody to find it; a transaction that it was about to mark as committed is in doubt,
** until the next writer sees what has become of it.
*/
#ifndef FKV_TESTS_SCHEDULE_H
#define FKV_TESTS_SCHEDULE_H

#include "base/slice.h"
#include "fastkv.h"
#include "processes/world.h"

enum { GROUPS = 10, MEMBERS = 3, NUMBERS_MAX = 600, KEY = 16, VALUE = 3000, DOUBTS_MAX = 32 };
enum { WAIT_MS = 3600 * 1000 }; /* on a clock that costs nothing */

typedef struct state { /* of each group: which transaction wrote it; 0 = it is not there */
    uint32_t by[GROUPS];
} state;

typedef struct play {
    uint64_t seed; /* repeats it */
    uint64_t chance;
    fkv_env *files, *faulty, *env;
    fkv_options options;
    state after[NUMBERS_MAX];
    uint64_t hosted[NUMBERS_MAX];          /* its id; 0: the store alone */
    uint32_t given, acknowledged, durable; /* numbers of transactions */
    state doubtful[DOUBTS_MAX];            /* what transaction given+1 may leave, if it happened */
    uint32_t doubts;
    uint64_t host_id;  /* the last that the host has committed */
    uint32_t in_doubt; /* this transaction's process has died at it; 0 = none */
    int armed, fired, complaints;
    int was_cut;
    int slow; /* some are held up for so long that others may give up waiting */
    int cut;  /* it is the power that fails: no more can be written to the end */
    world w;  /* if processes may die; it has but one page, so there is but one store */
    process mortal[2];
    int one_page;
    uint64_t looks, feeds, copies, views;
} play;

typedef struct actor {
    play *at;
    fkv_env *env;
    const process *lives; /* in this process; NULL: in one that does not die */
    fkv_store *store;
    fkv_txn *txn;
    uint64_t chance;
    int id, failed, reads_only;
    uint32_t seen;
    fkv_snapshot *held; /* for a while, or NULL */
    uint32_t held_number;
    uint64_t since; /* the change feed has been read up to here */
    uint32_t copy[GROUPS][MEMBERS], copy_number;
} actor;

static inline uint64_t roll(uint64_t *chance, uint64_t n)
{
    *chance ^= *chance << 13, *chance ^= *chance >> 7, *chance ^= *chance << 17;
    return (*chance * 0x2545f4914f6cdd1du >> 16) % n;
}

static inline uint64_t dice(actor *a, uint64_t n)
{
    return roll(&a->chance, n);
}

static inline int is_dead(const actor *a)
{
    return a->lives && a->lives->dead;
}

static inline int play_fired(play *p)
{
    if (p->armed && !p->fired) p->fired = env_fault_fired(p->faulty) > 0;
    return p->fired;
}

/* Must be so. */
#define WANT(a, condition) ((condition) ? 1 : complain((a), __LINE__, #condition, fkv_errmsg()))

/* Must succeed, unless something was made to fail. */
#define TRY(a, call) tried((a), (call), __LINE__, #call)

static int complain(actor *a, int line, const char *what, const char *error)
{
    play *p = a->at;

    if (is_dead(a)) return 0;
    if (p->complaints++ < 5)
        (void)printf("%s:%d: actor %d, seed %" PRIu64 ": not so: %s (%s)\n", __FILE__, line, a->id,
                     p->seed, what, error);
    check_failures++;
    return 0;
}

static inline int tried(actor *a, fkv_status rc, int line, const char *what)
{
    if (!rc) return 1;
    if (!is_dead(a) && !play_fired(a->at) && !(rc == FKV_BUSY && a->at->slow))
        return complain(a, line, what, fkv_errmsg());
    a->failed = 1;
    return 0;
}

/* -- rows -------------------------------------------------------------------------------------- */

static inline fkv_slice key_of(uint64_t g, int i, char room[KEY])
{
    return fkv_slice_of(room, (size_t)snprintf(room, KEY, "g%02d-%d", (int)g, i));
}

static inline fkv_slice number_key(void)
{
    return fkv_slice_of("number", 6);
}

/* Some are large: memtables fill, and some transactions are larger than one. */
static inline fkv_slice value_of(uint32_t number, uint64_t g, char room[VALUE])
{
    uint32_t how = (number * 7 + (uint32_t)g) % 5;
    size_t size = how == 0 ? 2900 : how < 3 ? 900 : 40;

    memset(room, (int)('a' + (number + g) % 26), size);
    (void)snprintf(room, 12, "%010u", number);
    return fkv_slice_of(room, size);
}

/* Who wrote this value; 0 if nobody did. */
static inline uint32_t number_of(fkv_slice value, uint64_t g)
{
    char room[VALUE], digits[11] = {0};
    uint32_t number;

    if (value.size < 12) return 0;
    memcpy(digits, value.data, 10);
    number = (uint32_t)strtoul(digits, NULL, 10);
    return slice_equal(value, value_of(number, g, room)) ? number : 0;
}

/* -- judging ----------------------------------------------------------------------------------- */

/* The number in the snapshot, 0 if there is none; UINT32_MAX: it could not be read. */
static inline uint32_t number_in(actor *a, fkv_snapshot *snap)
{
    uint32_t number = 0;
    fkv_value v = {.pin = NULL};
    fkv_status rc = fkv_get(snap, NULL, number_key(), &v);

    if (rc == FKV_NOTFOUND) return 0;
    if (!TRY(a, rc)) return UINT32_MAX;
    number = number_of(v.value, 0);
    fkv_value_release(&v);
    return WANT(a, number != 0) ? number : UINT32_MAX;
}

/* Has a walk over everything the rows of this state? 1, 0, or -1 if it could not be read. */
static inline int has_rows(fkv_snapshot *snap, const state *want, uint32_t number, int back)
{
    char key[KEY], value[VALUE];
    int at = back ? GROUPS * MEMBERS - !number : 0, step = back ? -1 : 1, same = 1;
    fkv_cursor *c = NULL;
    fkv_status rc;

    if (fkv_cursor_new(snap, NULL, &c)) return -1;
    for (back ? fkv_cursor_last(c) : fkv_cursor_first(c); same && fkv_cursor_valid(c);
         back ? fkv_cursor_prev(c) : fkv_cursor_next(c), at += step) {
        while (at >= 0 && at < GROUPS * MEMBERS && !want->by[at / MEMBERS]) at += step;
        if (at == GROUPS * MEMBERS) {
            same = number && slice_equal(fkv_cursor_key(c), number_key()) &&
                   number_of(fkv_cursor_value(c), 0) == number;
        } else {
            uint64_t g = (uint64_t)at / MEMBERS;
            same = at >= 0 && slice_equal(fkv_cursor_key(c), key_of(g, at % MEMBERS, key)) &&
                   slice_equal(fkv_cursor_value(c), value_of(want->by[g], g, value));
        }
    }
    rc = fkv_cursor_status(c);
    fkv_cursor_free(c);
    if (rc) return -1;
    while (at >= 0 && at < GROUPS * MEMBERS && !want->by[at / MEMBERS]) at += step;
    return same && at == (back ? -1 : GROUPS * MEMBERS + (number != 0));
}

/* Some rows by their keys. */
static inline int has_groups(actor *a, fkv_snapshot *snap, const state *want)
{
    for (int n = 0; n < 4; n++) {
        uint64_t g = dice(a, GROUPS);
        char key[KEY], value[VALUE];
        for (int i = 0; i < MEMBERS; i++) {
            fkv_value v = {.pin = NULL};
            fkv_status rc = fkv_get(snap, NULL, key_of(g, i, key), &v);
            int there = want->by[g] != 0, well;
            if (there) {
                well = TRY(a, rc) && WANT(a, slice_equal(v.value, value_of(want->by[g], g, value)));
            } else {
                well = rc == FKV_NOTFOUND || (TRY(a, rc) && WANT(a, rc != FKV_OK));
            }
            fkv_value_release(&v);
            if (!well) return 0;
        }
    }
    return 1;
}

static inline int is_as_noted(actor *a, fkv_snapshot *snap, uint32_t number)
{
    const state *want = &a->at->after[number];
    int same;

    a->at->looks++;
    if (dice(a, 3) == 0) return has_groups(a, snap, want);
    same = has_rows(snap, want, number, (int)dice(a, 2));
    if (same < 0) return TRY(a, FKV_IOERR);
    return WANT(a, same);
}

/* -- writing ----------------------------------------------------------------------------------- */

static inline int write_group(actor *a, uint64_t g, uint32_t number, state *next)
{
    char from[KEY], to[KEY], value[VALUE];
    uint64_t how = dice(a, 10), end = g + dice(a, GROUPS - g);

    if (how == 0) {
        if (!TRY(a, fkv_txn_delete_range(a->txn, key_of(g, 0, from), key_of(end, MEMBERS, to))))
            return 0;
        for (uint64_t k = g; k <= end; k++) next->by[k] = 0;
        return 1;
    }
    for (int i = 0; i < MEMBERS; i++) {
        fkv_slice key = key_of(g, i, from);
        if (!TRY(a, how == 1 ? fkv_txn_delete(a->txn, key)
                             : fkv_txn_put(a->txn, key, value_of(number, g, value))))
            return 0;
    }
    next->by[g] = how == 1 ? 0 : number;
    return 1;
}

static inline int write_rows(actor *a, uint32_t number, state *next)
{
    int n = dice(a, 12) ? 1 + (int)dice(a, 4) : GROUPS * 2; /* … more than a memtable holds */
    char value[VALUE];

    for (int i = 0; i < n; i++)
        if (!write_group(a, dice(a, GROUPS), number, next)) return 0;
    return TRY(a, fkv_txn_put(a->txn, number_key(), value_of(number, 0, value)));
}

/* What comes of it if the power goes now, beside what is noted. */
static inline void note_doubt(play *p, const state *next)
{
    if (!play_fired(p)) p->doubts = 0;
    if (p->doubts < DOUBTS_MAX) p->doubtful[p->doubts++] = *next;
}

/* The first half of a commit; *id is 0 if the store decides alone. */
static inline fkv_status prepare(actor *a, fkv_durability how, int hosted, uint64_t *id)
{
    *id = 0;
    return hosted ? fkv_txn_prepare_hosted(a->txn, how, id) : fkv_txn_prepare(a->txn, how);
}

/* From here on it has happened. */
static inline void commit(actor *a, uint32_t number, const state *next, int durable, uint64_t id)
{
    play *p = a->at;

    if (is_dead(a)) return fkv_txn_rollback(a->txn);
    p->after[number] = *next;
    p->hosted[number] = id;
    p->given = number;
    if (id) p->host_id = id;
    if (durable) p->durable = number;
    p->doubts = 0;
    p->in_doubt = id ? 0 : number; /* (what the host has, the store must have) */
    fkv_txn_commit(a->txn);
    if (!is_dead(a)) {
        if (p->in_doubt == number) p->in_doubt = 0;
        /* (If its mark could not be written, other processes never see it.) */
        if (number > p->acknowledged && !(p->cut && play_fired(p))) p->acknowledged = number;
    }
}

/* Whoever may write knows how the last transaction of a process that died has ended. */
static inline int settle_doubt(actor *a)
{
    play *p = a->at;
    fkv_snapshot *snap = NULL;
    uint32_t number, last = p->in_doubt;

    if (!last) return 1;
    if (!TRY(a, fkv_snapshot_new(a->store, &snap))) return 0;
    number = number_in(a, snap);
    fkv_snapshot_release(snap);
    if (is_dead(a) || number == UINT32_MAX) return 0;
    if (!WANT(a, number == last || number == last - 1)) return 0;
    p->given = number;
    p->in_doubt = 0;
    return 1;
}

static inline int transaction(actor *a)
{
    fkv_durability how = (fkv_durability)dice(a, 3);
    play *p = a->at;
    uint64_t id = 0, mark = 0;
    int hosted, back = dice(a, 8) == 0;
    uint32_t number;
    state next, thrown_away;

    if (!TRY(a, fkv_txn_begin(a->txn, WAIT_MS)) || !settle_doubt(a)) goto no;
    hosted = dice(a, 4) == 0 || fkv_host_unsettled(a->store);
    if (hosted && how == FKV_NONE) how = FKV_SYNC; /* the host is durable */
    number = p->given + 1;
    if (number >= NUMBERS_MAX) return fkv_txn_rollback(a->txn), 1;
    thrown_away = next = p->after[p->given];
    if (dice(a, 5) == 0) {
        if (!TRY(a, fkv_txn_mark(a->txn, &mark)) || !write_rows(a, number, &thrown_away)) goto no;
        fkv_txn_rollback_to(a->txn, mark);
    }
    if (!write_rows(a, number, &next)) goto no;
    if (back && dice(a, 2)) goto no;
    note_doubt(p, &next);
    if (!TRY(a, prepare(a, how, hosted, &id))) goto no;
    if (back) goto no;
    commit(a, number, &next, how == FKV_SYNC || hosted, id);
    return 1;
no:
    if (id && dice(a, 2)) {
        fkv_txn_rollback_hosted(a->txn);
    } else {
        fkv_txn_rollback(a->txn);
    }
    return !a->failed && !p->complaints;
}

/* -- reading ----------------------------------------------------------------------------------- */

static inline void let_go(actor *a)
{
    fkv_snapshot_release(a->held);
    a->held = NULL;
}

/* As a connection takes it: what is in doubt for one who may not write, the host is asked about. */
static inline fkv_status take_view(actor *a, fkv_snapshot **out)
{
    fkv_status rc = fkv_snapshot_new(a->store, out);

    for (int i = 0; i < 3 && rc == FKV_BUSY; i++) {
        rc = fkv_host_wait(a->txn, 0, WAIT_MS);
        if (!rc) rc = fkv_snapshot_new(a->store, out);
    }
    return rc;
}

static inline int look(actor *a)
{
    play *p = a->at;
    uint32_t known = p->acknowledged, number;
    fkv_snapshot *snap = NULL;
    int well;

    if (a->held && dice(a, 2)) {
        if (!is_as_noted(a, a->held, a->held_number)) return 0;
        if (dice(a, 3) == 0) let_go(a);
        return 1;
    }
    if (!TRY(a, take_view(a, &snap))) return 0;
    number = number_in(a, snap);
    well = number != UINT32_MAX && WANT(a, number >= known && number >= a->seen) &&
           WANT(a, number <= p->given) && is_as_noted(a, snap, number);
    if (!well || a->held || dice(a, 3)) {
        fkv_snapshot_release(snap);
    } else {
        a->held = snap;
        a->held_number = number;
    }
    if (well) a->seen = number;
    return well;
}

/* The store as it agrees with what the host has now. */
static inline int look_as_of(actor *a)
{
    play *p = a->at;
    uint64_t id = p->host_id;
    uint32_t number, until = 1;
    fkv_snapshot *snap = NULL;
    fkv_status rc;
    int well;

    if (!id) return 1;
    if (!TRY(a, fkv_host_wait(a->txn, id, WAIT_MS))) return 0;
    rc = fkv_snapshot_as_of(a->store, id, &snap);
    if (rc == FKV_BUSY) return 1; /* too late */
    if (!TRY(a, rc)) return 0;
    number = number_in(a, snap);
    well = number != UINT32_MAX && WANT(a, number <= p->given);
    while (well && until <= p->given && p->hosted[until] <= id) until++;
    well = well && WANT(a, number < until);
    while (well && number && p->hosted[number] != id && !p->hosted[number]) number--;
    well = well && WANT(a, p->hosted[number] == id);
    if (well) well = is_as_noted(a, snap, number_in(a, snap));
    fkv_snapshot_release(snap);
    p->views++;
    return well;
}

/* -- the change feed --------------------------------------------------------------------------- */

static inline int place_of(fkv_slice key)
{
    if (key.size < 5 || key.data[0] != 'g') return GROUPS * MEMBERS;
    return ((key.data[1] - '0') * 10 + key.data[2] - '0') * MEMBERS + key.data[4] - '0';
}

static inline int take_change(actor *a, const fkv_change *c)
{
    int at = place_of(c->key), end = c->kind == FKV_CHANGE_DELETE_RANGE ? place_of(c->value) : at;
    uint32_t *rows = &a->copy[0][0], number = 0;

    if (!WANT(a, c->seq > a->since)) return 0;
    if (c->kind == FKV_CHANGE_PUT) {
        number = number_of(c->value, at == GROUPS * MEMBERS ? 0 : (uint64_t)at / MEMBERS);
        if (!WANT(a, number)) return 0;
        end = at + 1;
    } else if (c->kind == FKV_CHANGE_DELETE) {
        end = at + 1;
    }
    if (at == GROUPS * MEMBERS) {
        a->copy_number = number;
    } else {
        for (; at < end && at < GROUPS * MEMBERS; at++) rows[at] = number;
    }
    return 1;
}

static inline int read_feed(actor *a)
{
    play *p = a->at;
    uint32_t known = p->acknowledged;
    uint64_t last = a->since;
    fkv_changes *feed = NULL;
    fkv_change c;
    fkv_status rc;
    int well = 1;

    if (!known) return 1;
    rc = fkv_changes_new(a->store, a->since, &feed);
    for (int i = 0; i < 3 && rc == FKV_BUSY; i++) { /* as take_view */
        rc = fkv_host_wait(a->txn, 0, WAIT_MS);
        if (!rc) rc = fkv_changes_new(a->store, a->since, &feed);
    }
    if (rc == FKV_INVALID && p->was_cut) return 1; /* the log has lost what the tables have */
    if (!TRY(a, rc)) return 0;
    while (well && !(rc = fkv_changes_next(feed, &c))) {
        well = take_change(a, &c);
        last = c.seq;
    }
    fkv_changes_free(feed);
    if (!well || (rc != FKV_NOTFOUND && !TRY(a, rc))) return 0;
    a->since = last;
    /* (Until somebody may write, what recovery has decided after a power cut has no mark.) */
    if (!WANT(a, a->copy_number >= known || (a->reads_only && p->was_cut))) return 0;
    if (!WANT(a, a->copy_number <= p->given)) return 0;
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < MEMBERS; i++)
            if (!WANT(a, a->copy[g][i] == p->after[a->copy_number].by[g])) return 0;
    p->feeds++;
    return 1;
}

/* -- upkeep ------------------------------------------------------------------------------------ */

static inline fkv_status found(void *arg, const fkv_finding *f)
{
    actor *a = arg;

    if (f->severity >= FKV_FOUND_WARNING && !is_dead(a) && !play_fired(a->at))
        (void)complain(a, __LINE__, f->file, f->text);
    return FKV_OK;
}

static inline int check(actor *a)
{
    const fkv_checker how = {.found = found, .arg = a};

    return TRY(a, fkv_check(a->store, FKV_CHECK_DEEP, &how));
}

/* Upkeep has no host to ask about what a process that died has left in doubt. */
static inline int tried_upkeep(actor *a, fkv_status rc, int line)
{
    return rc == FKV_BUSY && a->at->one_page ? 1 : tried(a, rc, line, "upkeep");
}

static inline int keep_up(actor *a)
{
    char from[KEY], to[KEY];
    uint32_t known = a->at->acknowledged;
    uint64_t g;
    fkv_status rc;

    switch (dice(a, 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        return tried_upkeep(a, fkv_flush(a->store), __LINE__);
    case 4:
    case 5:
        g = dice(a, GROUPS);
        rc = fkv_compact(a->store, key_of(g, 0, from), key_of(g + dice(a, GROUPS), MEMBERS, to));
        return tried_upkeep(a, rc, __LINE__);
    case 6:
        return tried_upkeep(a, fkv_settle(a->store), __LINE__);
    case 7:
        return dice(a, 2) ? TRY(a, fkv_verify(a->store)) : check(a);
    case 8:
        a->env->sleep_us(a->env, 1000 * (1 + dice(a, 2000)));
        return 1;
    default:
        if (!TRY(a, fkv_sync(a->store))) return 0;
        if (known > a->at->durable) a->at->durable = known;
        return 1;
    }
}

/* A copy of the store, opened and compared. */
static inline int back_up(actor *a)
{
    play *p = a->at;
    char name[16], path[32];
    fkv_backup *b = NULL;
    actor reader = {.at = p, .lives = a->lives, .id = a->id, .chance = a->chance};
    fkv_options o = p->options;
    fkv_snapshot *snap = NULL;
    uint64_t stamp = 0;
    uint32_t number;
    int well;

    if (p->one_page) return look(a);
    (void)snprintf(name, sizeof name, "store%d", a->id);
    (void)snprintf(path, sizeof path, "copies/%s", name);
    if (!TRY(a, fkv_txn_begin(a->txn, WAIT_MS))) return 0;
    well = settle_doubt(a) && TRY(a, fkv_backup_new(a->store, a->txn, &b));
    number = p->given;
    fkv_txn_rollback(a->txn);
    well = well && TRY(a, fkv_backup_write(b, "copies", name, 0, &stamp, NULL)) &&
           TRY(a, fkv_backup_commit(b, NULL, NULL));
    fkv_backup_free(b);
    if (!well) return 0;
    o.create = 0;
    o.env = a->env;
    if (!TRY(a, fkv_open(path, &o, &reader.store))) return 0;
    well = TRY(a, fkv_snapshot_new(reader.store, &snap));
    if (well && number_in(&reader, snap) != number) well = TRY(a, FKV_CORRUPT);
    well = well && is_as_noted(&reader, snap, number);
    fkv_snapshot_release(snap);
    fkv_close(reader.store);
    p->copies += (uint64_t)well;
    return well;
}

/* For those who find a transaction in doubt. */
static inline int host_committed(void *arg, uint64_t id)
{
    const play *p = arg;

    return id == p->host_id;
}

/* -- coming and going -------------------------------------------------------------------------- */

static inline int come(actor *a)
{
    fkv_options o = a->at->options;

    o.env = a->env;
    o.host_committed = host_committed;
    o.host_arg = a->at;
    o.read_only = a->at->given && dice(a, 6) == 0;
    a->reads_only = o.read_only;
    if (!TRY(a, fkv_open("store", &o, &a->store))) return 0;
    if (!a->reads_only) fkv_keep_changes(a->store, (uint64_t)1 << 30, 0);
    if (!TRY(a, fkv_txn_new(a->store, &a->txn))) return 0;
    fkv_txn_set_host(a->txn, host_committed, a->at);
    return 1;
}

static inline void leave(actor *a)
{
    let_go(a);
    fkv_txn_free(a->txn);
    fkv_close(a->store);
    a->txn = NULL;
    a->store = NULL;
}

static inline int come_again(actor *a)
{
    leave(a);
    if (dice(a, 2)) a->env->sleep_us(a->env, dice(a, 300000));
    return come(a);
}

#endif
