/*
** logs.c -- the chain of log segments: starting, syncing and retiring them.
**
** Segments are synced in order, so that what is durable is always a prefix of the log. A segment is
** retired when a durable manifest says that replay begins behind it.
*/
#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

fkv_status store_add_log(fkv_store *s, uint64_t number, uint64_t start_lsn, wal_segment *segment)
{
    fkv_env *env = s->env;
    fkv_status rc = FKV_OK;

    env->mutex_lock(env, s->mu);
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
    if (!rc) s->logs[s->log_count++] = (log_entry){number, start_lsn, segment, 0, 0};
    env->mutex_unlock(env, s->mu);
    return rc;
}

uint64_t store_log_end(const fkv_store *s)
{
    return s->log ? wal_segment_end(s->log) : s->log_end;
}

fkv_status store_start_log(fkv_store *s)
{
    uint64_t number = store_new_number(s), start = store_log_end(s), previous = 0;
    wal_segment *segment = NULL;
    fkv_status rc;

    s->env->mutex_lock(s->env, s->mu);
    if (s->log_count) previous = s->logs[s->log_count - 1].number;
    s->env->mutex_unlock(s->env, s->mu);
    rc = wal_segment_new(s->env, s->dir, store_id(s), number, previous, start, &segment);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) return rc;
    rc = store_add_log(s, number, start, segment);
    if (rc) {
        char name[FILENAME_BYTES_MAX];
        filename_wal(number, name);
        wal_segment_free(segment);
        fkv_ignore(s->env->file_remove(s->env, s->dir, name)); /* empty: harmless if it stays */
        return rc;
    }
    s->log = segment;
    return FKV_OK;
}

fkv_status store_ensure_log(fkv_store *s)
{
    int maybe_new;
    fkv_status rc = store_check_writable(s);

    if (rc || s->log) return rc;
    s->writing = 1;
    store_fit_cache(s);
    rc = store_remove_orphans(s);
    if (rc) return rc;
    /* What was replayed may be in the page cache only. It is about to be built upon. */
    rc = store_sync_log(s);
    if (rc) return rc;
    rc = store_start_log(s);
    if (rc) return rc;
    s->env->mutex_lock(s->env, s->mu);
    store_begin_install(s);
    s->env->mutex_unlock(s->env, s->mu);
    superversion *now = store_current(s);
    rc = store_save_manifest(s, now->tables, NULL, UINT64_MAX, &maybe_new);
    superversion_unref(now);
    s->env->mutex_lock(s->env, s->mu);
    store_end_install(s);
    if (rc) { /* the segment is empty and stays the log's tail; the next write tries again */
        s->log_count--;
        wal_segment_free(s->log);
        s->log = NULL;
    } else {
        s->fresh = 0;
    }
    s->env->mutex_unlock(s->env, s->mu);
    return rc;
}

/* Sync a segment that an earlier process wrote. */
static fkv_status sync_old(fkv_store *s, uint64_t number)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    fkv_status rc;

    filename_wal(number, name);
    rc = s->env->file_open(s->env, s->dir, name, ENV_WRITE, &file);
    if (rc) return rc;
    rc = s->env->file_sync(s->env, file);
    s->env->file_close(s->env, file);
    return rc;
}

static log_entry *find_log(const fkv_store *s, uint64_t number)
{
    for (size_t i = 0; i < s->log_count; i++)
        if (s->logs[i].number == number) return &s->logs[i];
    return NULL;
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
    if (!rc && end > atomic_load(&s->durable_lsn)) atomic_store(&s->durable_lsn, end);
    s->env->cond_wake_all(s->env, s->changed);
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
        /* A segment that an earlier process left, or that has a successor, grows no more. */
        unclaim(s, e.number, rc, !is_tail || !e.segment, end);
        if (rc == FKV_IOERR_SYNC) store_poison(s);
        if (rc || (is_tail && e.segment)) return rc;
    }
}

void store_retire_logs(fkv_store *s, uint64_t lsn)
{
    fkv_env *env = s->env;

    for (;;) {
        char name[FILENAME_BYTES_MAX];
        log_entry gone = {0};

        env->mutex_lock(env, s->mu);
        /* A segment ends where its successor begins; the tail is never retired here. */
        if (s->log_count > 1 && s->logs[1].start_lsn <= lsn && !s->logs[0].syncing) {
            gone = s->logs[0];
            s->log_count--;
            memmove(s->logs, s->logs + 1, s->log_count * sizeof *s->logs);
            /* Its rows are in tables, so they are durable whether it was synced or not. */
            if (s->logs[0].start_lsn > atomic_load(&s->durable_lsn))
                atomic_store(&s->durable_lsn, s->logs[0].start_lsn);
        }
        env->mutex_unlock(env, s->mu);
        if (!gone.number) return;
        wal_segment_free(gone.segment);
        filename_wal(gone.number, name);
        /* What will not go now is an orphan that the next open removes. */
        fkv_ignore(env->file_remove(env, s->dir, name));
    }
}
