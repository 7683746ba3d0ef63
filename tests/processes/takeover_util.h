/*
** takeover_util.h -- a play of three processes (world.h) and the judge of it.
**
**   old      the process that dies or is stopped
**   young    lives beside it; writes in between, or only reads
**   third    comes afterwards, while young is there or when it has gone
**
** The judge knows what has been acknowledged (`acked`), and what may also be there because its
** commit was under way (`maybe`). A hosted transaction is acknowledged when the host, a number in
** the play, has it.
*/
#ifndef FKV_TESTS_TAKEOVER_UTIL_H
#define FKV_TESTS_TAKEOVER_UTIL_H

#include "crash/crash_util.h"

#include "world.h"

enum { MEMTABLE = 32 << 10, TABLE = 16 << 10, LARGE_ROWS = 16 };

typedef enum shape { SMALL_ROWS, SPILLED, RANGE } shape;

typedef struct play {
    world w;
    process old, young, third;
    fkv_store *old_store, *young_store;
    fkv_txn *old_txn, *young_txn;
    model before, acked, maybe; /* before: what was there before the last commit began */
    int in_flight;              /* whether `maybe` came about is not known yet */
    uint64_t host;              /* the last transaction that the host database has committed */
    uint32_t next_value;
    int fresh;          /* the store is not there yet */
    int young_reads;    /* young is a read-only opener */
    fkv_snapshot *kept; /* young's, from the beginning on, … */
    model then;         /* … and what it shows; NULL in every third play */
    uint64_t n;         /* at which operation, … */
    const char *at;     /* … and in which step */
} play;

#define SAY(p, what)                                                                               \
    do {                                                                                           \
        check_failures++;                                                                          \
        (void)printf("%s:%d: operation %" PRIu64 " in \"%s\": %s (%s)\n", __FILE__, __LINE__,      \
                     (p)->n, (p)->at, what, fkv_errmsg());                                         \
    } while (0)

#define SHOULD(p, condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) SAY(p, #condition);                                                      \
    } while (0)

/* -- processes --------------------------------------------------------------------------------- */

static inline int ask_host(void *arg, uint64_t id)
{
    return ((const play *)arg)->host == id;
}

static inline fkv_status open_store(play *p, process *who, fkv_store **out, fkv_txn **txn)
{
    fkv_options o = {.env = &who->env,
                     .create = p->fresh,
                     .read_only = who->reads_only,
                     .memory_bytes = 1 << 20,
                     .memtable_bytes = MEMTABLE,
                     .table_bytes = TABLE,
                     .inline_background = 1,
                     .host_committed = ask_host,
                     .host_arg = p};
    fkv_status rc = fkv_open("store", &o, out);

    if (!rc) rc = fkv_txn_new(*out, txn);
    if (!rc) fkv_txn_set_host(*txn, ask_host, p);
    return rc;
}

static inline void close_store(fkv_store **s, fkv_txn **txn)
{
    fkv_txn_free(*txn);
    fkv_close(*s);
    *txn = NULL;
    *s = NULL;
}

/* -- what is to be seen ------------------------------------------------------------------------ */

static inline int is_model(fkv_store *s, fkv_txn *t, const model *m)
{
    int same;

    return crash_compare(s, t, m, &same) == FKV_OK && same;
}

/* As a connection does before it takes a view. */
static inline void hear_of_it(play *p, fkv_txn *t, uint64_t id)
{
    fkv_status rc = fkv_host_wait(t, id, 1000);

    if (rc == FKV_BUSY && p->old.stops_at && !p->old.dead) return; /* the one who is stopped */
    if (rc) SAY(p, "what the host has committed is missing");
}

/* Readers see what was acknowledged; what is under way, or not yet; and of the host's last one
** perhaps not yet, as nobody has asked for it. */
static inline void look(play *p, fkv_store *s)
{
    if (is_model(s, NULL, &p->acked)) return;
    if (p->in_flight && is_model(s, NULL, &p->maybe)) return;
    if (fkv_host_id(s) != p->host && is_model(s, NULL, &p->before)) return;
    SAY(p, "what is read is not what was written");
}

/* Whoever writes knows how it ended, and it stays so. (Unless it dies at reading.) */
static inline void settle_doubt(play *p, fkv_store *s, fkv_txn *t, const process *who)
{
    int came_about = p->in_flight && is_model(s, t, &p->maybe);
    int right = came_about || is_model(s, t, &p->acked);

    if (who->dead) return;
    if (came_about) p->acked = p->maybe;
    p->in_flight = 0;
    p->before = p->acked;
    if (!right) SAY(p, "what a writer begins with is not what was written");
}

/* -- writing ----------------------------------------------------------------------------------- */

static inline fkv_status write_rows(play *p, fkv_txn *t, shape how)
{
    uint32_t v = p->next_value += 100;
    fkv_status rc = FKV_OK;

    if (how == SPILLED) {
        for (int i = 0; i < LARGE_ROWS && !rc; i++)
            rc = crash_put(t, &p->maybe, (int)(v / 100 + (uint32_t)i) % KEYS,
                           (v + (uint32_t)i) * 11);
        return rc;
    }
    if (how == RANGE) rc = crash_delete_range(t, &p->maybe, (int)v % 50, (int)v % 50 + 9);
    for (int i = 0; i < 6 && !rc; i++) {
        int key = (int)((v / 100 * 13 + (uint32_t)i * 11) % KEYS);
        rc = i == 4 ? crash_delete(t, &p->maybe, key)
                    : crash_put(t, &p->maybe, key, v + (uint32_t)i);
    }
    return rc;
}

static inline void acknowledged(play *p)
{
    if (!p->in_flight) { /* somebody has been here meanwhile, and has seen how it ended */
        if (memcmp(&p->acked, &p->maybe, sizeof p->acked) != 0 && p->old.stops_at == 0)
            SAY(p, "acknowledged twice");
        return;
    }
    p->acked = p->maybe;
    p->in_flight = 0;
}

/* One transaction. The answer is the first error, or FKV_OK; a death is found out by the caller. */
static inline fkv_status commit(play *p, fkv_store *s, fkv_txn *t, process *who, shape how,
                                fkv_durability durability, int hosted)
{
    uint64_t id = 0;
    fkv_status rc = fkv_txn_begin(t, 0);

    if (rc) return rc;
    settle_doubt(p, s, t, who);
    if (who->dead) {
        fkv_txn_rollback(t);
        return FKV_IOERR;
    }
    p->maybe = p->acked;
    rc = write_rows(p, t, how);
    if (hosted || fkv_host_unsettled(s)) {
        if (!rc) rc = fkv_txn_prepare_hosted(t, durability, &id);
        if (rc || who->dead) {
            fkv_txn_rollback(t);
            return rc;
        }
        p->host = id;
        p->acked = p->maybe;
        fkv_txn_commit(t);
        return FKV_OK;
    }
    p->in_flight = 1;
    if (!rc) rc = fkv_txn_prepare(t, durability);
    if (rc) {
        fkv_txn_rollback(t);
        if (!who->dead) p->in_flight = 0;
        return rc;
    }
    fkv_txn_commit(t);
    if (!who->dead) acknowledged(p);
    return FKV_OK;
}

/* What may be in the way of others while one is stopped: the locks that it holds. */
static inline int is_patient(fkv_status rc)
{
    return rc == FKV_OK || rc == FKV_BUSY;
}

static inline void play_begins(play *p, uint64_t n, int fresh, int young_reads)
{
    fkv_status rc;

    *p = (play){.fresh = 1, .young_reads = young_reads, .n = n, .at = "before it"};
    world_begins(&p->w);
    process_begins(&p->old, &p->w);
    process_begins(&p->young, &p->w);
    process_begins(&p->third, &p->w);
    if (!fresh) { /* a store with a past */
        rc = open_store(p, &p->third, &p->old_store, &p->old_txn);
        if (!rc) rc = commit(p, p->old_store, p->old_txn, &p->third, SPILLED, FKV_SYNC, 0);
        if (!rc) rc = commit(p, p->old_store, p->old_txn, &p->third, SMALL_ROWS, FKV_SYNC, 1);
        SHOULD(p, rc == FKV_OK);
        close_store(&p->old_store, &p->old_txn);
        process_begins(&p->third, &p->w);
    }
    p->young.reads_only = young_reads;
    rc = open_store(p, &p->young, &p->young_store, &p->young_txn);
    SHOULD(p, rc == FKV_OK);
    look(p, p->young_store);
    if (n % 3) SHOULD(p, !fkv_snapshot_new(p->young_store, &p->kept));
    p->then = p->acked;
}

/* -- what must be possible afterwards ---------------------------------------------------------- */

typedef struct file_count {
    uint64_t tables, manifests, others;
} file_count;

static inline fkv_status count_file(void *arg, const char *name)
{
    file_count *c = arg;

    if (strstr(name, ".sst")) c->tables++;
    if (strstr(name, ".tmp")) c->others++;
    if (strcmp(name, "manifest") == 0) c->manifests++;
    return FKV_OK;
}

/* Every table in the directory belongs to the store. Nobody else has it open, and it was written
** to. */
static inline void check_files(play *p, fkv_store *s)
{
    fkv_env *env = p->w.files;
    file_count c = {0};
    env_dir *dir = NULL;
    fkv_stats stats;
    uint64_t named = 0;

    fkv_stats_read(s, &stats);
    for (int i = 0; i < FKV_LEVELS; i++) named += stats.level_files[i];
    SHOULD(p, !env->dir_open(env, "store", 0, &dir));
    SHOULD(p, !env->dir_list(env, dir, count_file, &c));
    env->dir_close(env, dir);
    SHOULD(p, c.tables == named);
    SHOULD(p, c.manifests == 1 && c.others == 0);
}

/* Somebody comes, looks, and perhaps writes. */
static inline void third_comes(play *p, int writes)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    fkv_status rc;

    process_begins(&p->third, &p->w);
    rc = open_store(p, &p->third, &s, &t);
    if (rc) {
        SAY(p, "cannot be opened");
        return;
    }
    look(p, s);
    SHOULD(p, fkv_verify(s) == FKV_OK);
    if (writes) {
        SHOULD(p, !commit(p, s, t, &p->third, RANGE, FKV_SYNC, 0));
        look(p, s);
        if (!p->young_store) check_files(p, s);
    }
    close_store(&s, &t);
}

static inline void young_goes_on(play *p)
{
    fkv_store *s = p->young_store;
    fkv_txn *t = p->young_txn;

    look(p, s);
    third_comes(p, 0);
    hear_of_it(p, t, p->host);
    SHOULD(p, !commit(p, s, t, &p->young, RANGE, FKV_SYNC, 0));
    look(p, s);
    SHOULD(p, fkv_flush(s) == FKV_OK);
    look(p, s);
    third_comes(p, 1);
    look(p, s);
    SHOULD(p, !commit(p, s, t, &p->young, SPILLED, FKV_SYNC, 1));
    SHOULD(p, !fkv_compact(s, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0)));
    look(p, s);
    SHOULD(p, fkv_verify(s) == FKV_OK);
}

/* A reader stays while others come and go. */
static inline void young_reads_on(play *p)
{
    look(p, p->young_store);
    if (p->n % 4 < 2) { /* else it hears of it when somebody else has decided it */
        hear_of_it(p, p->young_txn, p->host);
        look(p, p->young_store);
    }
    third_comes(p, 0);
    hear_of_it(p, p->young_txn, p->host);
    look(p, p->young_store);
    third_comes(p, 1);
    hear_of_it(p, p->young_txn, 0);
    look(p, p->young_store);
    SHOULD(p, fkv_verify(p->young_store) == FKV_OK);
}

/* All others leave, and it is opened once more. */
static inline void play_ends(play *p)
{
    if (p->old_store) close_store(&p->old_store, &p->old_txn);
    if (p->kept) {
        int same = 1;
        fkv_status rc = crash_walk(p->kept, NULL, &p->then, 1, &same);
        if (rc || !same) SAY(p, "a view from the beginning is not what it was");
        fkv_snapshot_release(p->kept);
    }
    if (p->young_store) close_store(&p->young_store, &p->young_txn);
    third_comes(p, 0);
    third_comes(p, 1);
    third_comes(p, 1);
    world_ends(&p->w);
}

#endif
