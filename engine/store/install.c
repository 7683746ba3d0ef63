/*
** install.c -- making a change of version real: manifest first, then memory, then clean-up.
**
**   1. take the install right (one change at a time)
**   2. the new version = current tables + edit
**   3. sync the directory, then save the manifest: from here the change survives a crash
**   4. publish the superversion: from here readers see it
**   5. retire log segments and mark replaced files; each goes when its last reader has gone
**
** If 3 fails, nothing is published. If the rename may have happened, the files of the edit must
** stay, because the manifest on disk may name them; they become orphans of the next open
** otherwise.
*/
#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

uint64_t store_new_number(void *arg)
{
    fkv_store *s = arg;
    uint64_t number;

    s->env->mutex_lock(s->env, s->mu);
    number = s->man.next_number++;
    s->env->mutex_unlock(s->env, s->mu);
    return number;
}

void store_begin_install(fkv_store *s)
{
    while (s->installing) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    s->installing = 1;
}

void store_end_install(fkv_store *s)
{
    s->installing = 0;
    s->env->cond_wake_all(s->env, s->changed);
}

void store_note_shape(fkv_store *s, const version *tables)
{
    atomic_store(&s->debt, pick_debt(tables, &s->pick));
    atomic_store(&s->level0_files, (uint32_t)tables->levels[0].count);
}

/* Give the block cache what the memory budget leaves: a store that writes needs up to three
** memtables, and open tables keep their index and filter. */
void store_fit_cache(fkv_store *s)
{
    size_t budget = s->options.memory_bytes, used = (size_t)atomic_load(&s->home.open_memory);

    if (s->writing) used += 3 * s->options.memtable_bytes;
    block_cache_resize(s->home.cache, used < budget - budget / 8 ? budget - used : budget / 8);
}

static void consider(const memtable *m, uint64_t *lsn, uint64_t *seq)
{
    uint64_t first = atomic_load(&m->first_log);

    if (first == UINT64_MAX) return; /* nothing applied */
    if (first < *lsn) *lsn = first;
    if (m->base_seq < *seq) *seq = m->base_seq;
}

/* Where replay would have to begin, and the sequence before it, given that `drop` is in tables.
** mu held.
**
** Order matters: a commit makes its record's LSN the memtable's first_log before it clears
** pending_lsn, and both before it makes its sequence visible. So reading the visible sequence and
** the end first, then the pending LSN, then the memtables, misses nothing. */
static void needed_from(fkv_store *s, const memtable *drop, uint64_t *lsn, uint64_t *seq)
{
    const superversion *v = s->current;
    uint64_t pending;

    *seq = atomic_load(&s->visible_seq);
    *lsn = s->log_count && s->logs[s->log_count - 1].segment
               ? wal_segment_end(s->logs[s->log_count - 1].segment)
               : s->log_end;
    pending = atomic_load(&s->pending_lsn);
    if (pending < *lsn) *lsn = pending;
    pending = atomic_load(&s->unsettled_lsn);
    if (pending < *lsn) *lsn = pending;
    consider(v->active, lsn, seq);
    for (size_t i = 0; i < v->sealed_count; i++)
        if (v->sealed[i] != drop) consider(v->sealed[i], lsn, seq);
}

/* The segment that holds lsn. mu held. */
static const log_entry *segment_of(const fkv_store *s, uint64_t lsn)
{
    const log_entry *e = NULL;

    for (size_t i = 0; i < s->log_count; i++)
        if (i == 0 || s->logs[i].start_lsn <= lsn) e = &s->logs[i];
    return e;
}

fkv_status store_save_manifest(fkv_store *s, version *tables, const memtable *drop,
                               uint64_t clean_lsn, int *maybe_new)
{
    manifest m;
    const log_entry *e;
    int64_t now = s->env->wall_ms(s->env);
    fkv_status rc;

    s->env->mutex_lock(s->env, s->mu);
    m = s->man;
    m.edit++;
    needed_from(s, drop, &m.log_lsn, &m.last_seq);
    e = segment_of(s, m.log_lsn);
    m.log_number = e ? e->number : m.next_number;
    m.log_tail = e ? s->logs[s->log_count - 1].number : 0;
    m.clean_lsn = clean_lsn;
    m.host_id = s->host_id;
    if (now > m.clock_ms) m.clock_ms = now;
    s->env->mutex_unlock(s->env, s->mu);
    rc = manifest_save(s->env, s->dir, &m, tables, maybe_new);
    s->env->mutex_lock(s->env, s->mu);
    if (!rc) { /* not the whole struct: others read or move on the rest meanwhile */
        s->man.edit = m.edit;
        s->man.last_seq = m.last_seq;
        s->man.log_number = m.log_number;
        s->man.log_tail = m.log_tail;
        s->man.log_lsn = m.log_lsn;
        s->man.clean_lsn = m.clean_lsn;
        s->man.host_id = m.host_id;
        s->man.clock_ms = m.clock_ms;
        atomic_store(&s->clock_floor, m.clock_ms);
    }
    s->env->mutex_unlock(s->env, s->mu);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    return rc;
}

static int is_added(const version_edit *edit, const file_meta *f)
{
    for (size_t i = 0; i < edit->added_count; i++)
        if (edit->added[i].file == f) return 1;
    return 0;
}

/* The change did not happen: the files it made are nobody's, unless the manifest may name them. */
static void discard_added(const version_edit *edit)
{
    for (size_t i = 0; i < edit->added_count; i++) {
        int moved = 0;
        for (size_t j = 0; j < edit->removed_count; j++)
            if (edit->removed[j] == edit->added[i].file) moved = 1;
        if (!moved) atomic_store(&edit->added[i].file->obsolete, 1);
    }
}

static void discard_replaced(const version_edit *edit)
{
    for (size_t i = 0; i < edit->removed_count; i++)
        if (!is_added(edit, edit->removed[i])) atomic_store(&edit->removed[i]->obsolete, 1);
}

fkv_status store_install(fkv_store *s, version_edit *edit, memtable *flushed)
{
    fkv_env *env = s->env;
    version *tables = NULL;
    superversion *next = NULL;
    uint64_t log_lsn = 0;
    int maybe_new = 0;
    fkv_status rc;

    env->mutex_lock(env, s->mu);
    store_begin_install(s);
    rc = version_apply(s->current->tables, edit, &tables);
    env->mutex_unlock(env, s->mu);
    /* The new files' names must be durable before a manifest relies on them. */
    if (!rc && edit->added_count) rc = env->dir_sync(env, s->dir);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (!rc) rc = store_save_manifest(s, tables, flushed, UINT64_MAX, &maybe_new);
    env->mutex_lock(env, s->mu);
    if (!rc) {
        log_lsn = s->man.log_lsn;
        rc = superversion_new(s->current->active, s->current->sealed, s->current->sealed_count,
                              flushed, tables, &next);
    }
    if (!rc) {
        discard_replaced(edit);
        if (flushed && flushed->last_seq > s->tables_seq) s->tables_seq = flushed->last_seq;
        store_publish(s, next);
    } else if (!maybe_new) {
        discard_added(edit);
    }
    store_end_install(s);
    env->mutex_unlock(env, s->mu);
    if (!rc) store_retire_logs(s, log_lsn);
    store_fit_cache(s);
    version_unref(tables);
    version_edit_release(edit);
    return rc;
}
