/*
** load.c -- coming to know what the store holds: at open, and again when a store that is open for
** reading finds that others have come or gone.
**
**   first to open it for writing   recover.c: the log is replayed, and what is in doubt decided
**   beside others                  follow.c: the newest manifest, and the log up to what is
**                                  decided
**   reading, and nobody writes     recover.c, writing nothing; again if somebody came meanwhile
*/
#include "base/alloc.h"
#include "store/store.h"

enum { TRIES = 100 };

/* Segments known from before may have been cut off or retired since. */
static void forget_logs(fkv_store *s)
{
    wal_tail_close(s->tail);
    s->tail = NULL;
    s->env->mutex_lock(s->env, s->mu);
    for (size_t i = 0; i < s->log_count; i++) wal_segment_free(s->logs[i].segment);
    s->log_count = 0;
    memset(s->hints, 0, sizeof s->hints);
    s->log = NULL;
    s->env->mutex_unlock(s->env, s->mu);
}

static fkv_status load_beside_others(fkv_store *s)
{
    const shared_page *page = store_page(s);
    version *tables = NULL;
    manifest m;
    fkv_status rc;

    s->session = atomic_load(&page->session);
    if (atomic_load(&page->edit) == 0) return FKV_NOTFOUND;
    rc = store_newest_manifest(s, &m, &tables);
    if (rc) return rc;
    rc = store_borrow(s, &m, tables);
    if (rc == FKV_NOTFOUND) rc = store_start_at(s, &m, tables);
    store_unpin_edit(s, m.edit);
    version_unref(tables);
    if (!rc) rc = store_find_logs(s);
    return rc ? rc : store_catch_up(s);
}

/* Did somebody open it for writing while we read it? */
static int has_company(fkv_store *s)
{
    int held = 0;

    if (!s->lock) return 0;
    if (s->env->file_locked(s->env, s->lock, LOCK_LIVE, 1, &held) || held) return 1;
    return store_has_company(s);
}

static fkv_status load_reading(fkv_store *s)
{
    fkv_status rc = FKV_OK;

    for (int i = 0; i < TRIES; i++) {
        if (s->sharing == SHARING_READS) {
            rc = load_beside_others(s);
            if (store_page_is_ready(s) && atomic_load(&store_page(s)->session) == s->session)
                return rc; /* else what was read may have been the end of an earlier session */
        } else {
            rc = store_recover(s);
            if (!has_company(s)) return rc;
        }
        forget_logs(s);
        rc = store_join_reading(s);
        if (rc) return rc;
    }
    return rc;
}

fkv_status store_load(fkv_store *s)
{
    fkv_status rc;

    forget_logs(s);
    if (s->sharing == SHARING_READS || s->sharing == SHARING_ALONE) return load_reading(s);
    if (!s->first) return load_beside_others(s);
    rc = store_recover(s);
    store_end_loading(s);
    if (!rc && s->unwritten.flush && !atomic_load(&s->read_only)) {
        s->keep_gap = 1; /* no mark in the log tells of it */
        rc = fkv_flush(s);
    }
    return rc;
}

void store_begin_rebuilding(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    s->rebuilding = 1;
    s->env->mutex_unlock(s->env, s->mu);
}

void store_end_rebuilding(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    s->rebuilding = 0;
    s->env->cond_wake_all(s->env, s->changed);
    s->env->mutex_unlock(s->env, s->mu);
}

fkv_status store_rejoin(fkv_store *s)
{
    fkv_status rc;

    store_begin_rebuilding(s);
    /* (Without a lock file, as in a copy, or where nothing is shared, nobody can have come.) */
    rc = s->lock && s->sharing != SHARING_NOT ? store_join_reading(s) : FKV_OK;
    if (!rc) rc = store_load(s);
    atomic_store(&s->half_read, rc != FKV_OK); /* try again next time */
    store_end_rebuilding(s);
    return rc;
}
