/* apply.c -- making a transaction visible that the log says is committed: at recovery, and when
** another process has committed it. The caller is the only one that writes to the memtable. */
#include "base/alloc.h"
#include "store/store.h"

/* Another active memtable, for the log from w on, with room for a payload of this size. One without
** rows just goes. */
static fkv_status new_active(fkv_store *s, const wal_record *w, size_t size, uint32_t count)
{
    memtable *fresh = NULL;
    superversion *next = NULL;
    fkv_status rc = store_new_memtable(s, 0, s->last_seq, &fresh);

    if (rc) return rc;
    rc = memtable_room(fresh, size, count);
    s->env->mutex_lock(s->env, s->mu);
    if (!rc) {
        const superversion *now = s->current;
        rc = atomic_load(&s->active->records)
                 ? superversion_seal(now, fresh, &next)
                 : superversion_new(s, now->edit, fresh, now->sealed, now->sealed_count, NULL,
                                    now->tables, &next);
    }
    if (!rc) {
        store_continue_memtable(s, fresh, w->lsn);
        store_publish(s, next);
        s->active = fresh;
    }
    s->env->mutex_unlock(s->env, s->mu);
    memtable_unref(fresh);
    return rc;
}

static fkv_status apply_rows(fkv_store *s, const wal_record *w)
{
    memtable *m = s->active;
    fkv_status rc = FKV_OK;

    if (!memtable_payload_check(w->payload, w->size, w->count))
        return FKV_RAISEF(FKV_CORRUPT, "log: malformed transaction at position %llu",
                          (unsigned long long)w->lsn);
    if (memtable_full(m) || w->first_seq - m->base_seq > UINT32_MAX / 2 ||
        !memtable_has_room(m, w->size, w->count))
        rc = new_active(s, w, w->size, w->count);
    if (rc) return rc;
    if (s->loading && !atomic_load(&s->active->records)) memtable_loosen(s->active);
    memtable_note_log(s->active, w->lsn, w->first_seq - 1, s->host_id);
    store_announce(s, w->first_seq + w->count - 1, w->payload, w->size);
    memtable_apply(s->active, w->payload, w->size, w->first_seq);
    return FKV_OK;
}

void store_begin_loading(fkv_store *s)
{
    s->loading = 1;
}

static void link_all(const superversion *v)
{
    if (!v) return;
    memtable_link(v->active);
    for (size_t i = 0; i < v->sealed_count; i++) memtable_link(v->sealed[i]);
}

/* (Tables may have been taken over in the middle of it: the view before that is kept.) */
void store_end_loading(fkv_store *s)
{
    if (!s->loading) return;
    s->loading = 0;
    link_all(s->current);
    link_all(s->previous);
}

fkv_status store_reserve_loose(fkv_store *s, size_t count)
{
    size_t capacity = (s->loose_count + count) * 2;
    loose_file *files;

    if (s->loose_count + count <= s->loose_capacity) return FKV_OK;
    files = alloc_resize(s->loose, capacity * sizeof *files);
    if (!files) return FKV_RAISE(FKV_NOMEM);
    s->loose = files;
    s->loose_capacity = capacity;
    return FKV_OK;
}

void store_note_loose(fkv_store *s, file_meta *f, uint64_t lsn)
{
    file_meta_ref(f);
    s->loose[s->loose_count++] = (loose_file){lsn, f};
}

void store_forget_loose(fkv_store *s, uint64_t below)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->loose_count; i++) {
        loose_file f = s->loose[i];
        if (f.lsn >= below) {
            s->loose[kept++] = f;
        } else {
            store_made(s, f.file->number);
            file_meta_unref(f.file);
        }
    }
    s->loose_count = kept;
}

static void raise_space(fkv_store *s, uint64_t next)
{
    _Atomic uint64_t *word = &store_page(s)->next_space;
    uint64_t now = atomic_load(word);

    if (s->sharing == SHARING_READS) return; /* whoever commits has done it */
    while (now < next && !atomic_compare_exchange_weak(word, &now, next)) {}
}

/* All of it in one moment: a manifest is built on what it finds here (covered_to). mu held. */
static void make_visible(fkv_store *s, const wal_record *w, uint64_t end_lsn)
{
    if (w->count) s->last_seq = w->first_seq + w->count - 1;
    if (w->flags & WAL_FLAG_HOST) store_note_host(s, w->lsn + 1, w->first_seq - 1);
    store_set_position(s, s->last_seq, end_lsn);
    if (w->flags & WAL_FLAG_RUNS) { /* (end_lsn recovery does not know yet) */
        store_begin_memtable(s, s->active, w->lsn + 1, end_lsn);
    } else {
        store_tell(s, end_lsn);
    }
}

/* A spilled transaction's tables become part of level 0. Everything before it is in tables, so the
** active memtable, if it has rows, is sealed to be older than them. */
static fkv_status apply_runs(fkv_store *s, const wal_record *w, uint64_t end_lsn)
{
    run_list runs = run_list_of(w->payload, w->size);
    version_edit edit = {0};
    version *tables = NULL;
    superversion *next = NULL;
    fkv_status rc;

    if (!runs.at) return FKV_RAISEF(FKV_CORRUPT, "log: bad list of tables");
    raise_space(s, runs.next_space);
    rc = run_list_add(runs, &s->home, &edit);
    if (!rc && atomic_load(&s->active->records)) rc = new_active(s, w, 0, 0);
    if (rc) goto done;
    store_forget_dead(s);
    s->env->mutex_lock(s->env, s->mu);
    while (s->installing) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    rc = store_reserve_loose(s, edit.added_count);
    if (!rc) rc = version_apply(s->current->tables, &edit, &tables);
    /* Memtables that the tables cover by now go: the runs are newer. */
    if (!rc)
        rc = superversion_after(s, s->current->edit, s->man.tables_lsn, s->active, tables, &next);
    /* Pinned, and now: are they still there? */
    if (!rc && atomic_load(&store_page(s)->edit) > atomic_load(&s->seen_edit)) {
        superversion_unref(next);
        rc = FKV_BUSY;
    }
    if (!rc) {
        for (size_t i = 0; i < edit.added_count; i++)
            store_note_loose(s, edit.added[i].file, w->lsn);
        s->tables_seq = w->first_seq + w->count - 1;
        make_visible(s, w, end_lsn);
        store_publish(s, next);
    }
    s->env->mutex_unlock(s->env, s->mu);
done:
    version_unref(tables);
    version_edit_release(&edit);
    return rc;
}

/* Numbers of keyspaces that this transaction uses up. */
static void note_spaces(fkv_store *s, const wal_record *w)
{
    size_t at = 0;

    while (at < w->size) {
        mem_record m;
        memcpy(&m, w->payload + at, sizeof m);
        entry_kind kind = mem_record_kind(&m);
        if (kind == ENTRY_NEW_SPACE) {
            uint32_t space = get_be32(w->payload + at + sizeof m);
            if (space < UINT32_MAX) raise_space(s, (uint64_t)space + 1);
        }
        at += mem_record_bytes(kind, m.key_kind >> 3, m.value_size);
    }
}

fkv_status store_apply(fkv_store *s, const wal_record *w, uint64_t end_lsn)
{
    fkv_status rc;

    if (w->count && (w->first_seq <= s->last_seq || w->first_seq > UINT64_MAX / 2))
        return FKV_RAISEF(FKV_CORRUPT, "log: sequence goes backwards at position %llu",
                          (unsigned long long)w->lsn);
    if (w->flags & WAL_FLAG_RUNS) return apply_runs(s, w, end_lsn);
    rc = apply_rows(s, w);
    if (rc) return rc;
    note_spaces(s, w);
    s->env->mutex_lock(s->env, s->mu);
    make_visible(s, w, end_lsn);
    s->env->mutex_unlock(s->env, s->mu);
    return FKV_OK;
}
