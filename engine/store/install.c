/*
** install.c -- making a change of version real: manifest first, then memory, then clean-up.
**
**   1. take the install right (one change at a time), among threads and among processes
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
#include "base/sabotage.h"
#include "io/filename.h"
#include "store/store.h"

enum { INSTALL_MS = 60 * 1000 };

/* Whoever had LOCK_INSTALL has died at it. If the manifest has been replaced, the others must hear
** of that before anything is removed that it does not name, or built upon the one before. */
static fkv_status finish_replacing(fkv_store *s)
{
    shared_page *page = store_page(s);
    version *tables = NULL;
    manifest m;
    fkv_status rc = s->env->dir_sync(s->env, s->dir);

    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) return rc;
    rc = manifest_load(s->env, s->dir, &s->home, &m, &tables);
    version_unref(tables);
    if (!rc && m.edit > atomic_load(&page->edit) && s->sharing == SHARING_FULLY)
        atomic_store(&page->edit, m.edit);
    if (rc == FKV_NOTFOUND) rc = FKV_OK; /* it would have been the first */
    if (!rc) atomic_store(&page->replacing, 0);
    return rc;
}

fkv_status store_begin_install(fkv_store *s)
{
    fkv_env *env = s->env;

    for (;;) {
        fkv_status rc = store_follow(s);
        if (rc) return rc;
        env->mutex_lock(env, s->mu);
        while (s->installing) env->cond_wait(env, s->changed, s->mu, 0);
        s->installing = 1;
        env->mutex_unlock(env, s->mu);
        rc = store_lock(s, LOCK_INSTALL, INSTALL_MS);
        if (!rc && atomic_load(&store_page(s)->replacing) && !SABOTAGE(37)) {
            rc = finish_replacing(s);
            if (rc) store_unlock(s, LOCK_INSTALL);
        }
        if (!rc && atomic_load(&store_page(s)->edit) <= atomic_load(&s->seen_edit)) return FKV_OK;
        if (rc) { /* not held */
            env->mutex_lock(env, s->mu);
            s->installing = 0;
            env->cond_wake_all(env, s->changed);
            env->mutex_unlock(env, s->mu);
            return rc;
        }
        store_end_install(s); /* somebody was quicker: read their manifest first */
    }
}

void store_end_install(fkv_store *s)
{
    store_unlock(s, LOCK_INSTALL);
    s->env->mutex_lock(s->env, s->mu);
    s->installing = 0;
    s->env->cond_wake_all(s->env, s->changed);
    s->env->mutex_unlock(s->env, s->mu);
}

void store_note_shape(fkv_store *s, const version *tables)
{
    atomic_store(&s->debt, pick_debt(tables, &s->pick));
    atomic_store(&s->level0_files, (uint32_t)tables->levels[0].count);
}

/* A process that writes needs up to four memtables (active, two sealed, and one just flushed that
** kept_view may be asked for); one that reads has those that it was given or has filled by what it
** read in the log. (Room once made is not taken back: it would be wanted again at the next commit
** of others.) mu held. */
static size_t memtables(const fkv_store *s)
{
    const superversion *v = s->current;

    if (s->writing) return SEALED_MAX + 2;
    return v ? v->sealed_count + (atomic_load(&v->active->records) != 0) : 0;
}

/* Tables and cached blocks get what the memory budget leaves. */
static size_t room_for_tables(fkv_store *s, size_t *floor)
{
    size_t budget, used;

    s->env->mutex_lock(s->env, s->mu);
    budget = s->options.memory_bytes;
    if (s->memtable_room < memtables(s)) s->memtable_room = memtables(s);
    used = s->memtable_room;
    s->env->mutex_unlock(s->env, s->mu);
    budget -= budget / 16; /* batches, and what compaction reads and writes */
    used *= s->options.memtable_bytes;
    *floor = budget / 8;
    return used < budget - *floor ? budget - used : *floor;
}

/* Of two threads that come at once the slower one may have asked before what the other has set. */
void store_fit_cache(fkv_store *s)
{
    size_t floor, room, new_floor;

    do {
        room = room_for_tables(s, &floor);
        block_cache_resize(s->home.cache, room, floor);
    } while (room_for_tables(s, &new_floor) != room || new_floor != floor);
}

void store_fit_memtables(fkv_store *s)
{
    int fits;

    s->env->mutex_lock(s->env, s->mu);
    fits = memtables(s) <= s->memtable_room;
    s->env->mutex_unlock(s->env, s->mu);
    if (!fits) store_fit_cache(s);
}

static void consider(const memtable *memory, manifest *m)
{
    uint64_t first = atomic_load(&memory->first_log);

    if (first >= m->tables_lsn) return; /* nothing applied, or later */
    m->tables_lsn = first;
    m->last_seq = memory->before_seq;
    m->host_id = memory->before_host;
}

/* Up to where the tables have all there is, and the sequence and the last hosted transaction there,
** given that `drop` is in tables. (Not the last one there is: the log may lose that, and who begins
** with this manifest does not have it yet.) mu held.
**
** visible_seq, followed and host_id change together under mu; a commit notes its LSN in the
** memtable before that, and applies its rows after the note. */
static void covered_to(const fkv_store *s, const memtable *drop, manifest *m)
{
    const superversion *v = s->current;

    m->last_seq = atomic_load(&s->visible_seq);
    m->tables_lsn = atomic_load(&s->followed);
    m->host_id = s->host_id;
    if (v->active != drop) consider(v->active, m);
    for (size_t i = 0; i < v->sealed_count; i++)
        if (v->sealed[i] != drop) consider(v->sealed[i], m);
    /* Another process may have flushed what we have in memory. */
    if (m->tables_lsn < s->man.tables_lsn) {
        m->tables_lsn = s->man.tables_lsn;
        m->last_seq = s->man.last_seq;
        m->host_id = s->man.host_id;
    }
}

/* The segment that holds lsn. mu held. */
static const log_entry *segment_of(const fkv_store *s, uint64_t lsn)
{
    const log_entry *e = NULL;

    for (size_t i = 0; i < s->log_count; i++)
        if (i == 0 || s->logs[i].start_lsn <= lsn) e = &s->logs[i];
    return e;
}

int store_describe(fkv_store *s, const memtable *drop, int64_t now_ms, manifest *m)
{
    const shared_page *page = store_page(s);
    const log_entry *e;

    *m = s->man;
    m->next_number = atomic_load(&page->next_number);
    m->next_space = (uint32_t)atomic_load(&page->next_space);
    covered_to(s, drop, m);
    m->log_lsn = m->tables_lsn;
    if (atomic_load(&page->unsettled_lsn) < m->log_lsn)
        m->log_lsn = atomic_load(&page->unsettled_lsn);
    e = segment_of(s, m->log_lsn);
    m->log_number = e ? e->number : m->next_number;
    m->log_tail = e ? s->logs[s->log_count - 1].number : 0;
    m->clock_ms = now_ms;
    codec_rules_overlay(&m->codecs, &s->codecs);
    if (e) store_keep_logs(s, m);
    return e || (!s->man.log_tail && !atomic_load(&page->log_tail));
}

fkv_status store_save_manifest(fkv_store *s, version *tables, const memtable *drop,
                               uint64_t clean_lsn, int *maybe_new)
{
    shared_page *page = store_page(s);
    manifest m;
    int64_t now = fkv_clock_ms(s);
    uint64_t edit = store_take_number(s);
    log_keeping kept;
    int known;
    fkv_status rc = store_learn_sequences(s);

    *maybe_new = 0;
    if (rc) return rc;
    s->env->mutex_lock(s->env, s->mu);
    known = store_describe(s, drop, now, &m);
    m.edit = edit;
    m.clean_lsn = clean_lsn;
    kept = s->man.keep;
    s->env->mutex_unlock(s->env, s->mu);
    if (!known) return FKV_RAISEF(FKV_BUSY, "the log could not be read just now");
    rc = store_sync_kept(s, &kept, &m.keep);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) return rc;
    atomic_store(&page->replacing, 1);
    rc = manifest_save(s->env, s->dir, &m, tables, maybe_new);
    s->env->mutex_lock(s->env, s->mu);
    if (!rc) {
        s->man = m;
        if (m.keep.generation != kept.generation) s->keep_anew = 0;
        if (s->keep_wanted && s->keep_bytes == m.keep.bytes && s->keep_ms == m.keep.ms)
            s->keep_wanted = 0;
        s->keep_gap = 0;
        atomic_store(&s->seen_edit, m.edit);
        store_forget_loose(s, m.tables_lsn);
        atomic_store_explicit(&page->edit, m.edit, memory_order_release);
    }
    if (!rc || !*maybe_new) atomic_store(&page->replacing, 0);
    s->env->mutex_unlock(s->env, s->mu);
    if (!rc) store_drop_logs(s, &kept);
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
        if (!moved) atomic_store(&edit->added[i].file->obsolete, FILE_UNNAMED);
    }
}

static void discard_replaced(const version_edit *edit, uint64_t now)
{
    for (size_t i = 0; i < edit->removed_count; i++)
        if (!is_added(edit, edit->removed[i])) atomic_store(&edit->removed[i]->obsolete, now);
}

/* Does the edit still fit? Another process may have flushed or compacted the same. mu held. */
static int is_overtaken(const fkv_store *s, const version_edit *edit, const memtable *flushed,
                        uint64_t base)
{
    int there = !flushed;

    /* Part of it has become a table since: one over which tombstones may have been left out. */
    if (flushed && s->man.tables_lsn != base &&
        s->man.tables_lsn > atomic_load(&flushed->first_log))
        return 1;

    for (size_t i = 0; i < edit->removed_count; i++)
        if (!version_has(s->current->tables, edit->removed[i])) return 1;
    for (size_t i = 0; i < s->current->sealed_count; i++)
        if (s->current->sealed[i] == flushed) there = 1;
    return !there;
}

fkv_status store_install(fkv_store *s, version_edit *edit, memtable *flushed, uint64_t base)
{
    fkv_env *env = s->env;
    version *tables = NULL;
    superversion *next = NULL;
    manifest before;
    uint64_t log_number = 0;
    int maybe_new = 0, overtaken;
    fkv_status rc;

    rc = store_begin_install(s);
    if (rc) {
        discard_added(edit);
        version_edit_release(edit);
        return rc;
    }
    env->mutex_lock(env, s->mu);
    before = s->man;
    overtaken = is_overtaken(s, edit, flushed, base);
    if (!overtaken) rc = version_apply(s->current->tables, edit, &tables);
    env->mutex_unlock(env, s->mu);
    if (overtaken) {
        store_end_install(s);
        discard_added(edit);
        version_edit_release(edit);
        return FKV_OK;
    }
    /* The new files' names must be durable before a manifest relies on them. */
    if (!rc && edit->added_count) rc = env->dir_sync(env, s->dir);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (!rc) rc = store_save_manifest(s, tables, flushed, UINT64_MAX, &maybe_new);
    env->mutex_lock(env, s->mu);
    if (!rc) {
        log_number = s->man.log_number;
        rc = superversion_new(s, s->man.edit, s->current->active, s->current->sealed,
                              s->current->sealed_count, flushed, tables, &next);
    }
    if (!rc) {
        discard_replaced(edit, s->man.edit);
        if (flushed && flushed->last_seq > s->tables_seq) s->tables_seq = flushed->last_seq;
        store_publish(s, next);
    } else if (!maybe_new) {
        discard_added(edit);
    } else if (s->man.edit != before.edit) {
        /* On disk but not here. Others take it up from there, and so shall we; where nobody shares,
        ** the next manifest takes its place, and says of the memtable that it is needed. */
        s->man = before;
        atomic_store(&s->seen_edit, before.edit);
        if (s->sharing != SHARING_FULLY) atomic_store(&store_page(s)->edit, before.edit);
    }
    env->mutex_unlock(env, s->mu);
    for (size_t i = 0; !rc && i < edit->added_count; i++)
        store_made(s, edit->added[i].file->number);
    if (!rc) store_retire_logs(s, log_number);
    store_remove_doomed(s);
    store_end_install(s);
    version_unref(tables);
    version_edit_release(edit);
    return rc;
}
