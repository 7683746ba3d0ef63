/*
** commit.c -- from a private batch to a visible commit, in two halves.
**
**   prepare   everything that can fail: room in the memtable, the PREPARE record in the log,
**             space for the mark behind it, the fsync.
**   commit    a mark into space that is there, records into an arena that has room, one store
**             that makes them visible. Cannot fail.
**
** SQLite calls the first in xSync and the second in xCommit, whose result it ignores.
**
** After a crash between the two, a PREPARE without a mark is *in doubt*: see recover.c. A
** rollback after a prepare writes an ABORT mark, durable if the PREPARE was, so that no later
** recovery takes the transaction for a commit.
**
** A hosted transaction commits together with a host database (fkv_txn_prepare_hosted). Its PREPARE
** in doubt is decided by what the host holds, so neither mark of it need ever be durable.
**
** A spilled transaction's PREPARE names its runs instead of holding rows. Runs are tables newer
** than everything in the memtables, so those are flushed first; the version with the runs in
** level 0 is built in prepare, and the install right kept, so that commit has only to publish it.
*/
#include <assert.h>

#include "base/alloc.h"
#include "base/sabotage.h"
#include "store/store.h"

static uint64_t durable(const fkv_store *s)
{
    return atomic_load(&store_page(s)->durable_lsn);
}

/* Everything in the log up to here is decided. */
static void settled(fkv_store *s)
{
    s->unsure = 0;
    s->env->mutex_lock(s->env, s->mu);
    store_set_position(s, s->last_seq, store_log_end(s));
    s->env->mutex_unlock(s->env, s->mu);
}

/* The log names runs, and that they do not count it could not be told: after a power cut a recovery
** may take them for committed. So their tables stay; also those that were rolled back before. */
static void leave_tables(fkv_txn *t, const superversion *ready)
{
    const version_level *l = ready ? &ready->tables->levels[0] : NULL;

    t->tables_stay = 1;
    for (size_t i = 0; l && i < l->count; i++)
        if (atomic_load(&l->files[i]->obsolete) == FILE_UNNAMED)
            atomic_store(&l->files[i]->obsolete, 0);
}

/* Undo a PREPARE in the log. */
static fkv_status abort_logged(fkv_txn *t)
{
    fkv_store *s = t->store;
    superversion *ready = t->ready;
    fkv_status rc = FKV_OK;

    t->ready = NULL;
    if (ready) store_end_install(s);
    if (t->logged && !SABOTAGE(28)) {
        rc = wal_segment_mark(s->log, WAL_ABORT, t->logged_lsn, durable(s));
        if (!rc && t->logged_sync && !t->hosted) rc = store_sync_log(s);
        if (!rc) settled(s);
        if (rc) leave_tables(t, ready);
    }
    superversion_unref(ready); /* not before: it keeps tables that the PREPARE names */
    t->logged = t->logged_sync = t->hosted = 0;
    t->prepared = 0;
    return rc;
}

/* The id of a hosted transaction. LSN 0 exists, id 0 does not. */
static uint64_t host_id_of(const fkv_txn *t)
{
    return t->logged_lsn + 1;
}

static fkv_status append_prepare(fkv_txn *t, uint8_t *payload, size_t size, uint32_t count,
                                 int flags)
{
    fkv_store *s = t->store;
    wal_record r = {.type = WAL_PREPARE, .flags = (uint8_t)flags, .count = count};
    int unsure;
    fkv_status rc;

    r.size = (uint32_t)size;
    r.first_seq = s->last_seq + 1;
    unsure = s->unsure; /* an earlier PREPARE may have got no mark */
    s->unsure = 1;
    atomic_store(&store_page(s)->writing, 1);
    rc = wal_segment_append(s->log, &r, payload, durable(s), 2, &t->logged_lsn);
    if (rc) { /* what may have been written of it is no record */
        s->unsure = unsure;
        return rc;
    }
    t->logged = 1;
    t->logged_first_seq = r.first_seq;
    t->logged_count = count;
    count_add(&s->counters.bytes_logged, WAL_RECORD_HEADER + size);
    return FKV_OK;
}

static fkv_status prepare_rows(fkv_txn *t, int flags)
{
    fkv_store *s = t->store;
    uint8_t *payload, *copy = NULL;
    size_t size, copy_size = 0;
    fkv_status rc;

    /* A run of two thousand million rows may have moved the sequence out of a memtable's range. */
    if (memtable_full(s->active) || s->last_seq - s->active->base_seq > UINT32_MAX / 2) {
        rc = store_rotate(s);
        if (rc) return rc;
    }
    rc = batch_payload(t->writes, &payload, &size, &copy, &copy_size);
    if (rc) return rc;
    store_throttle(s, size);
    rc = append_prepare(t, payload, size, batch_live(t->writes), flags);
    if (copy) s->env->unmap(s->env, copy, copy_size);
    return rc;
}

/* Build the superversion with the runs and keep the install right. */
static fkv_status stage_runs(fkv_txn *t)
{
    fkv_store *s = t->store;
    const version_level *runs = &txn_runs_version(t)->levels[0];
    version_edit edit = {0};
    version *tables = NULL;
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < runs->count; i++) rc = version_edit_add(&edit, 0, runs->files[i]);
    if (!rc) rc = store_begin_install(s);
    if (!rc) {
        const superversion *now;
        s->env->mutex_lock(s->env, s->mu);
        now = s->current;
        rc = store_reserve_loose(s, runs->count);
        if (!rc) rc = version_apply(now->tables, &edit, &tables);
        if (!rc)
            rc = superversion_new(s, now->edit, now->active, now->sealed, now->sealed_count, NULL,
                                  tables, &t->ready);
        s->env->mutex_unlock(s->env, s->mu);
        if (rc) store_end_install(s);
    }
    version_unref(tables);
    version_edit_release(&edit);
    return rc;
}

static fkv_status prepare_runs(fkv_txn *t, int flags)
{
    fkv_store *s = t->store;
    buf payload = {0};
    const version_level *runs;
    uint64_t count;
    fkv_status rc = FKV_OK;

    if (batch_live(t->writes)) rc = txn_spill(t);
    if (rc) return rc;
    /* Readers go by age, memtables before tables. Runs are tables newer than every memtable of this
    ** moment, so all of those must have become tables first. */
    if (atomic_load(&s->active->records)) {
        rc = store_rotate(s);
        if (rc) return rc;
    }
    rc = store_drain(s);
    if (rc) return rc;
    rc = store_keep_runs(s, &txn_runs_version(t)->levels[0]);
    if (rc) return rc;
    rc = s->env->dir_sync(s->env, s->dir); /* the log is about to rely on the runs' names */
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) return rc;
    runs = &txn_runs_version(t)->levels[0];
    if (buf_reserve(&payload, WAL_RECORD_HEADER)) payload.size = WAL_RECORD_HEADER;
    s->env->mutex_lock(s->env, s->mu);
    buf_append_u64(&payload, atomic_load(&store_page(s)->next_space)); /* a run has no room for
                                                                          ** ENTRY_NEW_SPACE */
    s->env->mutex_unlock(s->env, s->mu);
    buf_append_u64(&payload, runs->count);
    for (size_t i = 0; i < runs->count; i++) manifest_put_file(&payload, 0, runs->files[i]);
    while (!payload.failed && payload.size % 8) buf_append_u8(&payload, 0);
    rc = buf_status(&payload);
    count = t->spilled;
    if (!rc && count > UINT32_MAX)
        rc = FKV_RAISEF(FKV_TOOBIG, "too many writes in one transaction");
    if (!rc) rc = stage_runs(t);
    if (!rc)
        rc = append_prepare(t, payload.data + WAL_RECORD_HEADER, payload.size - WAL_RECORD_HEADER,
                            (uint32_t)count, flags | WAL_FLAG_RUNS);
    if (rc) fkv_ignore(abort_logged(t)); /* nothing logged yet: only gives the install right back */
    buf_release(&payload);
    return rc;
}

/* Tell the syncer that there is something to sync. */
static fkv_status schedule_sync(fkv_store *s)
{
    fkv_env *env = s->env;
    fkv_status rc = store_start_threads(s, 1);

    if (rc) return rc;
    env->mutex_lock(env, s->mu);
    if (!s->unsynced_since_us) {
        s->unsynced_since_us = env->now_us(env);
        env->cond_wake_all(env, s->changed);
    }
    env->mutex_unlock(env, s->mu);
    return FKV_OK;
}

static fkv_status prepare(fkv_txn *t, fkv_durability durability, int hosted)
{
    fkv_store *s = t->store;
    int flags = (durability == FKV_SYNC ? WAL_FLAG_SYNC : 0) | (hosted ? WAL_FLAG_HOST : 0);
    fkv_status rc;

    if (!t->active) return FKV_OK;
    rc = store_check_writable(s);
    if (rc) return rc;
    if (!t->prepare_ns) t->prepare_ns = s->env->now_ns(s->env);
    if (t->prepared &&
        (!t->logged || (t->hosted == hosted && (t->logged_sync || durability != FKV_SYNC))))
        return FKV_OK;
    rc = abort_logged(t); /* prepared before, then written to again */
    if (rc) return rc;
    if (fkv_txn_writes(t) == 0) {
        t->prepared = 1;
        return FKV_OK;
    }
    rc = store_ensure_log(s);
    if (rc) return rc;
    if (t->writes->capacity > BATCH_HEADROOM + s->options.memtable_bytes && t->writes->count)
        rc = txn_spill(t); /* one row larger than a memtable */
    if (rc) return rc;
    rc = t->run_count ? prepare_runs(t, flags) : prepare_rows(t, flags);
    if (rc) return rc;
    t->hosted = hosted;
    if (durability == FKV_SYNC) {
        if (!SABOTAGE(33)) rc = store_sync_log(s);
        if (!rc && store_poisoned(s)) rc = store_check_writable(s); /* another process heard it */
        if (rc) {
            fkv_ignore(abort_logged(t)); /* the store is poisoned, the log is as it is */
            return rc;
        }
        t->logged_sync = 1;
    } else if (durability == FKV_BACKGROUND && !s->options.inline_background) {
        rc = schedule_sync(s);
        if (rc) {
            fkv_ignore(abort_logged(t)); /* the first error wins */
            return rc;
        }
    }
    t->prepared = 1;
    return FKV_OK;
}

fkv_status fkv_txn_prepare(fkv_txn *t, fkv_durability durability)
{
    return prepare(t, durability, 0);
}

fkv_status fkv_txn_prepare_hosted(fkv_txn *t, fkv_durability durability, uint64_t *id)
{
    fkv_status rc = prepare(t, durability == FKV_NONE ? FKV_NONE : FKV_SYNC, 1);

    *id = !rc && t->active && t->logged ? host_id_of(t) : 0;
    return rc;
}

/* Everybody sees it from here on. marked: the log says so, too; else those who come now read what
** that says. */
static void publish_rows(fkv_txn *t, int marked)
{
    fkv_store *s = t->store;
    batch *b = t->writes;

    memtable_note_log(s->active, t->logged_lsn, t->logged_first_seq - 1, s->host_id);
    store_announce(s, t->logged_first_seq + t->logged_count - 1, b->bytes + BATCH_HEADROOM,
                   b->used - BATCH_HEADROOM);
    if (b->dead_ops == 0) {
        memtable_apply(s->active, b->bytes + BATCH_HEADROOM, b->used - BATCH_HEADROOM,
                       t->logged_first_seq);
    } else {
        mem_view view = batch_view(b);
        uint64_t seq = t->logged_first_seq;
        size_t at = BATCH_HEADROOM;
        while (at < b->used) {
            const mem_record *r = (const mem_record *)(const void *)(b->bytes + at);
            size_t n = mem_record_bytes(mem_record_kind(r), r->key_kind >> 3, r->value_size);
            if (mem_view_sees(&view, r->seq)) memtable_apply(s->active, b->bytes + at, n, seq++);
            at += n;
        }
    }
    count_add(&s->counters.bytes_put, b->used - BATCH_HEADROOM);
    s->last_seq = t->logged_first_seq + t->logged_count - 1;
    s->env->mutex_lock(s->env, s->mu); /* in one moment: see sequence_as_of() and covered_to() */
    if (t->hosted) store_note_host(s, host_id_of(t), t->logged_first_seq - 1);
    store_set_position(s, s->last_seq, store_log_end(s));
    if (marked) store_tell(s, store_log_end(s));
    s->env->mutex_unlock(s->env, s->mu);
}

static void publish_runs(fkv_txn *t)
{
    const version_level *runs = &txn_runs_version(t)->levels[0];
    fkv_store *s = t->store;

    s->last_seq = t->logged_first_seq + t->logged_count - 1;
    store_forget_dead(s);
    s->env->mutex_lock(s->env, s->mu);
    if (t->hosted) store_note_host(s, host_id_of(t), t->logged_first_seq - 1);
    for (size_t i = 0; i < runs->count; i++) store_note_loose(s, runs->files[i], t->logged_lsn);
    store_set_position(s, s->last_seq, store_log_end(s));
    s->tables_seq = s->last_seq;
    if (!SABOTAGE(42)) store_begin_memtable(s, s->active, store_log_end(s), store_log_end(s));
    store_publish(s, t->ready);
    t->ready = NULL;
    s->env->mutex_unlock(s->env, s->mu);
    store_end_install(s);
    for (size_t i = 0; i < runs->count; i++)
        count_add(&s->counters.bytes_put, runs->files[i]->summary.raw_bytes);
    for (size_t i = 0; i < t->run_count; i++) version_unref(t->runs[i].all);
    t->run_count = 0;
}

void fkv_txn_commit(fkv_txn *t)
{
    fkv_store *s = t->store;
    fkv_status rc;

    if (!t->active) return;
    if (store_forked(s)) {
        txn_forget(t);
        return;
    }
    assert(t->prepared);
    if (t->logged) {
        rc = wal_segment_mark(s->log, WAL_COMMIT, t->logged_lsn, durable(s));
        if (rc) /* no way back from here, and the disk may have failed but once */
            rc = wal_segment_mark(s->log, WAL_COMMIT, t->logged_lsn, durable(s));
        if (rc) store_poison(s); /* only a failing disk gets here: the space was allocated */
        if (!rc) s->unsure = 0;
        if (t->run_count) {
            publish_runs(t);
        } else {
            publish_rows(t, !rc);
        }
        if (t->hosted) atomic_store(&store_page(s)->unsettled_lsn, UINT64_MAX);
        t->logged = t->logged_sync = t->hosted = 0;
        histogram_add(&s->counters.commit_ns, s->env->now_ns(s->env) - t->prepare_ns);
    }
    txn_end(t);
    if (s->options.inline_background) store_maintain(s);
}

static fkv_status sync_if_there(fkv_env *env, env_dir *dir, const char *name)
{
    env_file *file = NULL;
    fkv_status rc = env->file_open(env, dir, name, ENV_WRITE, &file);

    if (rc == FKV_NOTFOUND) return FKV_OK;
    if (!rc) rc = env->file_sync(env, file);
    env->file_close(env, file);
    return rc;
}

fkv_status fkv_sync_host_journal(fkv_env *env, const char *host)
{
    static const char suffix[] = "-journal";
    size_t size = strlen(host), name = size;
    char *path = alloc_bytes(size + sizeof suffix), *folder = alloc_bytes(size + 3);
    env_dir *dir = NULL;
    fkv_status rc = path && folder ? FKV_OK : FKV_RAISE(FKV_NOMEM);

    if (!env) env = env_posix();
    if (!rc) {
        memcpy(path, host, size);
        memcpy(path + size, suffix, sizeof suffix);
        while (name > 0 && path[name - 1] != '/') name--;
        memcpy(folder, host, name);
        memcpy(folder + name, ".", 2); /* "folder/.", "/." or "." */
        rc = env->dir_open(env, folder, 0, &dir);
    }
    if (!rc) rc = sync_if_there(env, dir, path + name);
    if (!rc) rc = env->dir_sync(env, dir);
    env->dir_close(env, dir);
    alloc_free(path);
    alloc_free(folder);
    return rc;
}

int fkv_host_unsettled(fkv_store *s)
{
    return atomic_load(&store_page(s)->unsettled_lsn) != UINT64_MAX;
}

void fkv_txn_rollback_hosted(fkv_txn *t)
{
    fkv_store *s = t->store;

    if (t->active && t->logged && t->hosted && !store_forked(s)) {
        if (!fkv_host_unsettled(s)) atomic_store(&store_page(s)->unsettled_lsn, t->logged_lsn);
        t->logged = 0;
        txn_keep_runs(t);
        settled(s);
    }
    fkv_txn_rollback(t);
}

void fkv_txn_leave_in_doubt(fkv_txn *t)
{
    if (!t->active) return;
    if (t->logged && t->hosted && !store_forked(t->store)) {
        txn_keep_runs(t);
        t->logged = 0; /* `unsure` stays: the next writer has to ask the host (follow.c) */
    }
    fkv_txn_rollback(t);
}

void fkv_txn_rollback(fkv_txn *t)
{
    if (!t->active) return;
    if (store_forked(t->store)) {
        txn_forget(t);
        return;
    }
    /* If the mark cannot be written, recovery on this boot aborts the transaction all the same. */
    fkv_ignore(abort_logged(t));
    txn_end(t);
}
