#include "base/alloc.h"
#include "store/store.h"

/* A spilled transaction's tables are in the view before a manifest names them: their numbers are
** beyond its edit, and whoever takes them out again looks for pins from there on. */
static uint64_t newest_run(const version *tables, uint64_t edit)
{
    uint64_t newest = 0;

    for (size_t i = 0; i < tables->levels[0].count; i++) {
        uint64_t number = tables->levels[0].files[i]->number;
        if (number > edit && number > newest) newest = number;
    }
    return newest;
}

/* With room for `sealed_count` sealed memtables, and pinned. */
static fkv_status make(fkv_store *s, uint64_t edit, size_t sealed_count, const version *tables,
                       superversion **out)
{
    superversion *v = alloc_zero(sizeof *v + sealed_count * sizeof(memtable *));
    uint64_t run = newest_run(tables, edit);
    fkv_status rc;

    *out = NULL;
    if (!v) return FKV_RAISE(FKV_NOMEM);
    rc = store_pin_edit(s, edit);
    if (!rc && run) {
        rc = store_pin_edit(s, run);
        if (rc) store_unpin_edit(s, edit);
    }
    if (rc) {
        alloc_free(v);
        return rc;
    }
    atomic_init(&v->refs, 1);
    v->store = s;
    v->edit = edit;
    v->run = run;
    *out = v;
    return FKV_OK;
}

fkv_status superversion_new(fkv_store *s, uint64_t edit, memtable *active, memtable *const *sealed,
                            size_t sealed_count, const memtable *skip, version *tables,
                            superversion **out)
{
    superversion *v = NULL;
    fkv_status rc = make(s, edit, sealed_count, tables, &v);

    *out = NULL;
    if (rc) return rc;
    v->active = active;
    v->sealed = (memtable **)(void *)(v + 1);
    v->tables = tables;
    memtable_ref(active);
    for (size_t i = 0; i < sealed_count; i++) {
        if (sealed[i] == skip) continue;
        v->sealed[v->sealed_count++] = sealed[i];
        v->due += !sealed[i]->borrowed;
        memtable_ref(sealed[i]);
    }
    version_ref(tables);
    *out = v;
    return FKV_OK;
}

fkv_status superversion_after(fkv_store *s, uint64_t edit, uint64_t lsn, memtable *active,
                              version *tables, superversion **out)
{
    const superversion *now = s->current;
    memtable **kept = alloc_bytes((now->sealed_count + 1) * sizeof *kept);
    size_t count = 0;
    fkv_status rc;

    *out = NULL;
    if (!kept) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; i < now->sealed_count; i++)
        if (atomic_load(&now->sealed[i]->last_log) >= lsn) kept[count++] = now->sealed[i];
    rc = superversion_new(s, edit, active, kept, count, NULL, tables, out);
    alloc_free(kept);
    return rc;
}

fkv_status superversion_seal(const superversion *now, memtable *fresh, superversion **out)
{
    superversion *v = NULL;
    fkv_status rc = make(now->store, now->edit, now->sealed_count + 1, now->tables, &v);

    *out = NULL;
    if (rc) return rc;
    v->active = fresh;
    v->sealed = (memtable **)(void *)(v + 1);
    v->sealed_count = now->sealed_count + 1;
    v->due = now->due + 1;
    v->sealed[0] = now->active;
    for (size_t i = 0; i < now->sealed_count; i++) v->sealed[i + 1] = now->sealed[i];
    v->tables = now->tables;
    memtable_ref(fresh);
    for (size_t i = 0; i < v->sealed_count; i++) memtable_ref(v->sealed[i]);
    version_ref(v->tables);
    *out = v;
    return FKV_OK;
}

void superversion_ref(superversion *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void superversion_unref(superversion *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1) return;
    memtable_unref(v->active);
    for (size_t i = 0; i < v->sealed_count; i++) memtable_unref(v->sealed[i]);
    version_unref(v->tables);
    store_unpin_edit(v->store, v->edit);
    if (v->run) store_unpin_edit(v->store, v->run);
    alloc_free(v);
}

superversion *store_current(fkv_store *s)
{
    superversion *v;

    s->env->mutex_lock(s->env, s->mu);
    v = s->current;
    superversion_ref(v);
    s->env->mutex_unlock(s->env, s->mu);
    return v;
}

fkv_status store_hold_tables(fkv_store *s, held_tables *out)
{
    superversion *v = store_current(s);
    fkv_status rc = store_pin_edit(s, v->edit);

    *out = (held_tables){0};
    if (!rc) {
        *out = (held_tables){s, v->tables, v->edit};
        version_ref(v->tables);
    }
    superversion_unref(v);
    return rc;
}

void store_release_tables(held_tables *h)
{
    version_unref(h->tables);
    store_unpin_edit(h->store, h->edit);
    *h = (held_tables){0};
}

void store_forget_previous(fkv_store *s)
{
    superversion_unref(s->previous);
    s->previous = NULL;
}

void store_let_previous_go(fkv_store *s)
{
    if (s->previous && s->env->now_us(s->env) > s->previous_until_us) store_forget_previous(s);
}

void store_publish(fkv_store *s, superversion *next)
{
    enum { KEPT_US = 200 * 1000 };
    superversion *old = s->current;

    next->tables_seq = s->tables_seq;
    if (old && old->tables_seq < s->tables_seq) {
        store_forget_previous(s);
        s->previous = old;
        superversion_ref(old);
        s->previous_seq = atomic_load(&s->visible_seq);
        s->previous_until_us = s->env->now_us(s->env) + KEPT_US;
    } else {
        store_let_previous_go(s);
    }
    s->current = next;
    atomic_fetch_add(&s->epoch, 1);
    store_note_shape(s, next->tables);
    atomic_store(&s->sealed_memtables, (uint32_t)next->due);
    s->compact_idle = 0;
    s->env->cond_wake_all(s->env, s->changed);
    superversion_unref(old); /* may remove files: cheap, and nothing here waits for them */
}

fkv_status fkv_snapshot_new(fkv_store *s, fkv_snapshot **out)
{
    fkv_snapshot *snap;
    fkv_status rc;

    *out = NULL;
    if (store_forked(s)) return store_fork_error(s);
    rc = store_follow(s);
    if (rc) return rc;
    snap = alloc_bytes(sizeof *snap);
    if (!snap) return FKV_RAISE(FKV_NOMEM);
    atomic_init(&snap->refs, 1);
    snap->store = s;
    /* Sequence and pieces from one moment: tables have no sequences, so a table newer than the
    ** sequence would show rows from the future. */
    s->env->mutex_lock(s->env, s->mu);
    while (s->rebuilding) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    store_let_previous_go(s);
    snap->seq = atomic_load_explicit(&s->visible_seq, memory_order_acquire);
    snap->view = s->current;
    superversion_ref(snap->view);
    snap->epoch = atomic_load(&s->epoch);
    s->env->mutex_unlock(s->env, s->mu);
    *out = snap;
    return FKV_OK;
}

void store_note_host(fkv_store *s, uint64_t id, uint64_t seq_before)
{
    host_point *p = &s->points.items[s->points.count % HOST_POINTS];

    if (s->points.count >= HOST_POINTS) s->points.floor = p->id;
    *p = (host_point){id, seq_before};
    s->points.count++;
    s->host_id = id;
    if (s->waiting) s->env->cond_wake_all(s->env, s->committed);
}

void store_await_commit(fkv_store *s, uint64_t timeout_us)
{
    s->waiting++;
    s->env->cond_wait(s->env, s->committed, s->mu, timeout_us);
    s->waiting--;
}

uint64_t fkv_host_id(fkv_store *s)
{
    uint64_t id;

    /* Not up to date for some failure: whoever needs it newer will ask for it and see the error. */
    if (!store_forked(s)) fkv_ignore(store_follow(s));
    s->env->mutex_lock(s->env, s->mu);
    id = s->host_id;
    s->env->mutex_unlock(s->env, s->mu);
    return id;
}

static fkv_status older_than_host(const fkv_store *s)
{
    return FKV_RAISEF(FKV_NOTFOUND,
                      "the store \"%s\" is older than its database, which has "
                      "committed a transaction that the store does not hold",
                      s->path);
}

/* A process may have died between the host's commit and its own: whoever becomes the writer then
** finishes that transaction; and who may only read finds that out if nobody else is there. */
static void try_take_over(fkv_txn *t)
{
    if (t->active || !fkv_host_undecided(t->store)) return;
    if (t->store->sharing == SHARING_READS) fkv_ignore(store_read_alone(t->store, t));
    if (t->store->sharing != SHARING_FULLY) return;
    fkv_ignore(fkv_txn_begin(t, 0)); /* busy: it is alive */
    fkv_txn_rollback(t);
}

/* Somebody is between the host's commit and his own, and has been stopped there; or he is dead,
** and who could finish it does nothing. */
static fkv_status still_undecided(const fkv_store *s)
{
    return FKV_RAISEF(FKV_BUSY, "another process is in the middle of a commit to the store \"%s\"",
                      s->path);
}

int fkv_host_undecided(fkv_store *s)
{
    return atomic_load_explicit(&store_page(s)->writing, memory_order_acquire) != 0;
}

fkv_status fkv_host_wait(fkv_txn *t, uint64_t id, uint32_t timeout_ms)
{
    enum { POLL_US = 1000 }; /* another process's commit wakes nobody here */
    fkv_store *s = t->store;
    fkv_env *env = s->env;
    uint64_t until = env->now_us(env) + (uint64_t)timeout_ms * 1000, now;

    if (store_forked(s)) return store_fork_error(s);
    for (;;) {
        fkv_status rc = store_follow_asking(s, t);
        uint64_t known;
        if (rc) return rc;
        env->mutex_lock(env, s->mu);
        now = env->now_us(env);
        if (s->host_id < id && now < until)
            store_await_commit(s, until - now < POLL_US ? until - now : POLL_US);
        known = s->host_id;
        env->mutex_unlock(env, s->mu);
        if (known >= id) return FKV_OK;
        if (now >= until) return fkv_host_undecided(s) ? still_undecided(s) : older_than_host(s);
        try_take_over(t);
    }
}

/* Whoever wants a view as of a moment ago, because it took its snapshot of the host then, must not
** be too late because of a flush in between: tables have no sequences. So what was there before the
** last flush is kept for a moment. NULL if it does not show the store as of seq. mu held. */
static superversion *kept_view(const fkv_store *s, uint64_t seq)
{
    if (seq >= s->tables_seq) return s->current;
    if (s->previous && seq >= s->previous->tables_seq && seq <= s->previous_seq) return s->previous;
    return NULL;
}

/* The newest sequence that shows no hosted transaction after `id`. mu held. */
static fkv_status sequence_as_of(const fkv_store *s, uint64_t id, uint64_t *seq)
{
    uint64_t kept = s->points.count < HOST_POINTS ? s->points.count : HOST_POINTS;

    *seq = atomic_load_explicit(&s->visible_seq, memory_order_acquire);
    if (id > s->host_id) return older_than_host(s);
    for (uint64_t i = s->points.count; id < s->host_id && i-- > s->points.count - kept;) {
        const host_point *p = &s->points.items[i % HOST_POINTS];
        if (p->id <= id) break;
        *seq = p->seq_before;
    }
    if ((id < s->host_id && id < s->points.floor) || !kept_view(s, *seq))
        return FKV_RAISEF(FKV_BUSY, "this transaction began too long ago to see the store as it "
                                    "was then");
    return FKV_OK;
}

fkv_status fkv_snapshot_as_of(fkv_store *s, uint64_t id, fkv_snapshot **out)
{
    fkv_snapshot *snap;
    fkv_status rc;

    *out = NULL;
    if (store_forked(s)) return store_fork_error(s);
    rc = store_follow(s);
    if (rc) return rc;
    snap = alloc_bytes(sizeof *snap);
    if (!snap) return FKV_RAISE(FKV_NOMEM);
    atomic_init(&snap->refs, 1);
    snap->store = s;
    s->env->mutex_lock(s->env, s->mu);
    while (s->rebuilding) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    rc = sequence_as_of(s, id, &snap->seq);
    if (!rc) {
        snap->view = kept_view(s, snap->seq);
        superversion_ref(snap->view);
        snap->epoch = atomic_load(&s->epoch);
    }
    s->env->mutex_unlock(s->env, s->mu);
    if (rc) {
        alloc_free(snap);
        return rc;
    }
    *out = snap;
    return FKV_OK;
}

void fkv_snapshot_release(fkv_snapshot *snap)
{
    if (!snap || atomic_fetch_sub_explicit(&snap->refs, 1, memory_order_acq_rel) > 1) return;
    superversion_unref(snap->view);
    alloc_free(snap);
}

int fkv_snapshot_behind(const fkv_snapshot *snap)
{
    return atomic_load_explicit(&snap->store->visible_seq, memory_order_acquire) != snap->seq;
}

int fkv_snapshot_stale(const fkv_snapshot *snap)
{
    const fkv_store *s = snap->store;
    return store_forked(s) || store_behind(s) ||
           atomic_load_explicit(&s->visible_seq, memory_order_acquire) != snap->seq ||
           atomic_load_explicit(&s->epoch, memory_order_acquire) != snap->epoch;
}
