/*
** logs.c -- the chain of log segments: starting, syncing and retiring them.
**
** Segments are synced in order, so that what is durable is always a prefix of the log. A segment is
** retired when a durable manifest says that replay begins behind it.
*/
#include "base/alloc.h"
#include "base/sabotage.h"
#include "io/filename.h"
#include "store/store.h"

static log_entry *find_log(const fkv_store *s, uint64_t number)
{
    for (size_t i = 0; i < s->log_count; i++)
        if (s->logs[i].number == number) return &s->logs[i];
    return NULL;
}

/* (A thread that follows may have found in the directory what the writer begins or attaches to.) */
fkv_status store_add_log(fkv_store *s, uint64_t number, uint64_t start_lsn, wal_segment *segment)
{
    fkv_env *env = s->env;
    log_entry *known;
    fkv_status rc = FKV_OK;

    env->mutex_lock(env, s->mu);
    known = find_log(s, number);
    if (known || (s->log_count && number < s->logs[s->log_count - 1].number)) {
        if (known && segment) known->segment = segment;
        env->mutex_unlock(env, s->mu);
        return FKV_OK;
    }
    if (s->log_count == s->log_capacity) {
        size_t capacity = s->log_capacity ? s->log_capacity * 2 : 4;
        log_entry *logs = alloc_resize(s->logs, capacity * sizeof *logs);
        if (!logs) {
            rc = FKV_RAISE(FKV_NOMEM);
        } else {
            s->logs = logs;
            s->log_capacity = capacity;
        }
    }
    if (!rc) s->logs[s->log_count++] = (log_entry){number, start_lsn, segment, 0, 0, 0};
    env->mutex_unlock(env, s->mu);
    return rc;
}

uint64_t store_log_end(const fkv_store *s)
{
    return s->log ? wal_segment_end(s->log) : atomic_load(&s->followed);
}

typedef struct removal {
    fkv_store *s;
    uint64_t last; /* of the chain */
    int removed;
} removal;

static fkv_status remove_unchained(void *arg, const char *name)
{
    removal *r = arg;
    uint64_t number = 0;

    if (filename_parse(name, &number) != FILE_WAL || number <= r->last || SABOTAGE(39))
        return FKV_OK;
    if (store_keeps_log(r->s, number)) return FKV_OK;
    r->removed = 1;
    return r->s->env->file_remove(r->s->env, r->s->dir, name);
}

/* What lies behind the last segment is left of one that did not come about. It may not stand in the
** chain before the next one, nor come back there after a power cut: nor may what an earlier process
** has removed, which may not have been able to sync that. */
static fkv_status clear_way(fkv_store *s, uint64_t last)
{
    removal r = {s, last, 0};
    fkv_status rc = s->env->dir_list(s->env, s->dir, remove_unchained, &r);

    if (!rc && (r.removed || !s->log)) rc = s->env->dir_sync(s->env, s->dir);
    return rc;
}

fkv_status store_start_log(fkv_store *s, uint64_t start)
{
    uint64_t number = store_take_number(s), previous = 0;
    wal_segment *segment = NULL;
    fkv_status rc;

    atomic_store(&store_page(s)->writing, 1); /* a death leaves a segment that nobody knows of */
    s->env->mutex_lock(s->env, s->mu);
    if (s->log_count) previous = s->logs[s->log_count - 1].number;
    s->env->mutex_unlock(s->env, s->mu);
    rc = clear_way(s, previous);
    if (!rc) rc = wal_segment_new(s->env, s->dir, store_id(s), number, previous, start, &segment);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) return rc;
    rc = store_add_log(s, number, start, segment);
    if (rc) {
        char name[FILENAME_BYTES_MAX];
        filename_wal(number, name);
        wal_segment_free(segment);
        if (!s->env->file_remove(s->env, s->dir, name)) /* if it stays: clear_way() */
            fkv_ignore(s->env->dir_sync(s->env, s->dir));
        return rc;
    }
    s->env->mutex_lock(s->env, s->mu); /* store_retire_logs compares it */
    s->log = segment;
    s->env->mutex_unlock(s->env, s->mu);
    return FKV_OK;
}

/* -- segments of other processes ------------------------------------------------------------ */

typedef struct number_list {
    uint64_t *items;
    size_t count, capacity;
    uint64_t above; /* only these are wanted */
} number_list;

static fkv_status note_number(void *arg, const char *name)
{
    number_list *l = arg;
    uint64_t number = 0;
    size_t at;

    if (filename_parse(name, &number) != FILE_WAL || number <= l->above) return FKV_OK;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 8;
        uint64_t *items = alloc_resize(l->items, capacity * sizeof *items);
        if (!items) return FKV_RAISE(FKV_NOMEM);
        l->items = items;
        l->capacity = capacity;
    }
    for (at = l->count; at > 0 && l->items[at - 1] > number; at--) l->items[at] = l->items[at - 1];
    l->items[at] = number;
    l->count++;
    return FKV_OK;
}

/* Forget the segments that the newest manifest does not need. Their files are another's affair. */
static void forget_old(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    while (s->log_count && s->logs[0].number < s->man.log_number && !s->logs[0].syncing) {
        if (s->logs[0].segment == s->log) s->log = NULL;
        wal_segment_free(s->logs[0].segment);
        s->log_count--;
        memmove(s->logs, s->logs + 1, s->log_count * sizeof *s->logs);
    }
    s->env->mutex_unlock(s->env, s->mu);
}

static fkv_status find_logs(fkv_store *s, uint64_t highest)
{
    number_list found = {0};
    uint64_t last = 0;
    fkv_status rc;

    forget_old(s);
    s->env->mutex_lock(s->env, s->mu);
    if (s->log_count) last = s->logs[s->log_count - 1].number;
    if (last < s->man.log_number) last = 0; /* retired, and being synced: the chain begins anew */
    found.above = last ? last : s->man.log_number ? s->man.log_number - 1 : 0;
    s->env->mutex_unlock(s->env, s->mu);
    rc = s->env->dir_list(s->env, s->dir, note_number, &found);
    for (size_t i = 0; !rc && i < found.count; i++) {
        wal_tail *t = NULL;
        wal_segment_info info = {0};
        rc = wal_tail_open(s->env, s->dir, store_id(s), found.items[i], &t);
        if (!rc) info = *wal_tail_info(t);
        wal_tail_close(t);
        if (rc == FKV_NOTFOUND || rc == FKV_CORRUPT) { /* going, or not there yet */
            rc = FKV_OK;
            break;
        }
        if (rc || (last && info.previous != last) || info.number > highest) break;
        rc = store_add_log(s, info.number, info.start_lsn, NULL);
        last = info.number;
    }
    alloc_free(found.items);
    return rc;
}

fkv_status store_find_logs(fkv_store *s)
{
    /* One that is being begun may yet fail to come about. */
    uint64_t tail = atomic_load(&store_page(s)->log_tail);
    return find_logs(s, tail ? tail : UINT64_MAX);
}

fkv_status store_find_all_logs(fkv_store *s)
{
    return find_logs(s, UINT64_MAX);
}

int store_knows_log(fkv_store *s, uint64_t number)
{
    int known;

    s->env->mutex_lock(s->env, s->mu);
    known = find_log(s, number) != NULL;
    s->env->mutex_unlock(s->env, s->mu);
    return known;
}

/* Append where others have appended: to the log's tail, segment `number`. */
static fkv_status attach(fkv_store *s, uint64_t number)
{
    wal_segment *segment = NULL;
    log_entry *e;
    fkv_status rc = store_find_logs(s);

    if (rc) return rc;
    s->env->mutex_lock(s->env, s->mu);
    e = find_log(s, number);
    segment = e ? e->segment : NULL;
    s->env->mutex_unlock(s->env, s->mu);
    if (!e)
        return FKV_RAISEF(FKV_CORRUPT, "log: segment %llu is missing", (unsigned long long)number);
    if (!segment) {
        rc = wal_segment_attach(s->env, s->dir, store_id(s), number, atomic_load(&s->followed),
                                &segment);
        if (rc) return rc;
    }
    wal_segment_moved(segment, atomic_load(&s->followed));
    s->env->mutex_lock(s->env, s->mu);
    e = find_log(s, number); /* the writer keeps its tail: nobody has forgotten it meanwhile */
    e->segment = segment;
    e->synced = 0;
    s->log = segment;
    s->env->mutex_unlock(s->env, s->mu);
    return FKV_OK;
}

/* Is it the last segment there is? */
static int is_tail(fkv_store *s, const wal_segment *segment)
{
    int last;

    s->env->mutex_lock(s->env, s->mu);
    last = segment && s->log_count && s->logs[s->log_count - 1].segment == segment;
    s->env->mutex_unlock(s->env, s->mu);
    return last;
}

/* The first write of anybody since the store was opened: a segment of its own, and a manifest that
** says "not closed" and names it. */
static fkv_status begin_log(fkv_store *s)
{
    int maybe_new;
    fkv_status rc = store_find_logs(s); /* one may have been begun, and its manifest have failed */

    /* What was replayed may be in the page cache only. It is about to be built upon. */
    if (!rc) rc = store_sync_log(s);
    if (!rc && !is_tail(s, s->log)) rc = store_start_log(s, atomic_load(&s->followed));
    if (!rc) rc = store_begin_install(s);
    if (rc) return rc;
    superversion *now = store_current(s);
    rc = store_save_manifest(s, now->tables, NULL, UINT64_MAX, &maybe_new);
    superversion_unref(now);
    store_end_install(s);
    if (rc) return rc; /* the segment stays, and the next write tries again */
    atomic_store(&store_page(s)->log_tail, wal_segment_number(s->log));
    return FKV_OK;
}

fkv_status store_ensure_log(fkv_store *s)
{
    uint64_t tail = atomic_load(&store_page(s)->log_tail);
    fkv_status rc = store_check_writable(s);

    if (rc) return rc;
    if (!s->writing) {
        rc = store_sweep(s);
        if (rc) return rc;
        s->writing = 1;
        store_fit_cache(s);
    }
    if (!tail) {
        rc = begin_log(s);
    } else {
        int ours;
        s->env->mutex_lock(s->env, s->mu); /* what is not the tail may be retired at any time */
        ours = s->log && wal_segment_number(s->log) == tail;
        s->env->mutex_unlock(s->env, s->mu);
        if (!ours) {
            rc = attach(s, tail);
        } else if (!s->unsure) {
            wal_segment_moved(s->log, atomic_load(&s->followed));
        }
    }
    if (!rc) rc = store_settle_keeping(s);
    if (!rc) s->fresh = 0;
    return rc;
}

/* Its rows are in tables, then. */
static int is_retired(fkv_store *s, uint64_t number)
{
    int retired;

    s->env->mutex_lock(s->env, s->mu);
    retired = number < s->man.log_number || atomic_load(&store_page(s)->edit) > s->man.edit;
    s->env->mutex_unlock(s->env, s->mu);
    return retired;
}

/* Sync a segment that an earlier process wrote. */
static fkv_status sync_old(fkv_store *s, uint64_t number)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    fkv_status rc;

    filename_wal(number, name);
    rc = s->env->file_open(s->env, s->dir, name, ENV_WRITE, &file);
    if (rc == FKV_NOTFOUND && is_retired(s, number)) return FKV_OK;
    if (rc) return rc;
    rc = s->env->file_sync(s->env, file);
    s->env->file_close(s->env, file);
    return rc;
}

/* Claim the oldest segment that is not wholly synced. 0 if there is none. */
static int claim_unsynced(fkv_store *s, log_entry *out, int *is_tail)
{
    int found = 0;

    s->env->mutex_lock(s->env, s->mu);
    for (size_t i = 0; i < s->log_count && !found; i++) {
        if (s->logs[i].synced) continue;
        s->logs[i].syncing++;
        *out = s->logs[i];
        *is_tail = i + 1 == s->log_count;
        found = 1;
    }
    s->env->mutex_unlock(s->env, s->mu);
    return found;
}

static void unclaim(fkv_store *s, uint64_t number, fkv_status rc, int whole, uint64_t end)
{
    log_entry *e;

    s->env->mutex_lock(s->env, s->mu);
    e = find_log(s, number);
    e->syncing--;
    if (!rc && whole) e->synced = 1;
    if (!rc) store_note_durable(s, end);
    s->env->mutex_unlock(s->env, s->mu);
}

fkv_status store_sync_log(fkv_store *s)
{
    for (;;) {
        log_entry e;
        int is_tail = 0;
        uint64_t end = 0;
        fkv_status rc;

        if (!claim_unsynced(s, &e, &is_tail)) return FKV_OK;
        rc = e.segment ? wal_segment_sync(e.segment, &end) : sync_old(s, e.number);
        /* A segment that has a successor grows no more. (The tail may look like one of an earlier
        ** session, and be another process's, which is about to write its first record.) */
        unclaim(s, e.number, rc, !is_tail, end);
        if (rc == FKV_IOERR_SYNC) store_poison(s);
        if (rc || is_tail) return rc;
    }
}

void store_retire_logs(fkv_store *s, uint64_t number)
{
    fkv_env *env = s->env;

    for (;;) {
        char name[FILENAME_BYTES_MAX];
        log_entry gone = {0};

        env->mutex_lock(env, s->mu);
        /* The tail is never retired here. (Not by LSN: a segment that has been begun since, where
        ** this one ends, would make it look as if the manifest did not need this one.) */
        if (s->log_count > 1 && (s->logs[0].number < number || SABOTAGE(36)) &&
            !s->logs[0].syncing) {
            gone = s->logs[0];
            if (gone.segment == s->log) s->log = NULL; /* another process has appended since */
            s->log_count--;
            memmove(s->logs, s->logs + 1, s->log_count * sizeof *s->logs);
            /* Its rows are in tables, so they are durable whether it was synced or not. */
            store_note_durable(s, s->logs[0].start_lsn);
        }
        env->mutex_unlock(env, s->mu);
        if (!gone.number) return;
        wal_segment_free(gone.segment);
        if (store_keeps_log(s, gone.number)) continue;
        filename_wal(gone.number, name);
        /* What will not go now is an orphan that the next open removes. */
        fkv_ignore(env->file_remove(env, s->dir, name));
    }
}
