/*
** cursor.c -- the ordered walk a user sees: a merge of everything a snapshot pins, under the
** transaction's own writes as they were when the cursor was made, less tombstones and expired rows,
** inside bounds.
*/
#include <assert.h>

#include "base/alloc.h"
#include "iter/merge.h"
#include "store/store.h"

struct fkv_cursor {
    fkv_store *store;
    fkv_snapshot *snapshot;
    batch *own;         /* referenced, or NULL */
    mem_interval *dead; /* a copy: the batch's may change */
    version *own_runs;  /* referenced, or NULL */
    iter *own_iter;     /* over `own` as it was; the merge takes it over */
    iter *merge;        /* built at the first positioning, so that making a cursor costs no I/O */
    buf from, to;
    buf skip_to; /* where a known stretch without rows ends (dead.c) */
    int has_to;
    int valid;
    fkv_status status;
    uint64_t rows, skipped;
    uint64_t began_ns; /* this positioning is a sample; 0 = it is none */
};

fkv_status fkv_cursor_new(fkv_snapshot *snapshot, fkv_txn *t, fkv_cursor **out)
{
    fkv_cursor *c = alloc_zero(sizeof *c);

    *out = NULL;
    if (!c) return FKV_RAISE(FKV_NOMEM);
    c->store = snapshot->store;
    c->snapshot = snapshot;
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    if (t && t->active && (t->writes->count || t->run_count)) {
        fkv_status rc = batch_index(t->writes);
        mem_view view = batch_view(t->writes);
        c->own = t->writes;
        batch_ref(c->own);
        c->own_runs = txn_runs_version(t);
        if (c->own_runs) version_ref(c->own_runs);
        if (!rc && view.dead_count) {
            c->dead = alloc_bytes(view.dead_count * sizeof *c->dead);
            if (!c->dead) {
                rc = FKV_RAISE(FKV_NOMEM);
            } else {
                memcpy(c->dead, view.dead, view.dead_count * sizeof *c->dead);
                view.dead = c->dead;
            }
        }
        if (!rc) rc = memtree_iter_new(&c->own->index, &view, &c->own_iter);
        if (rc) {
            fkv_cursor_free(c);
            return rc;
        }
    }
    *out = c;
    return FKV_OK;
}

void fkv_cursor_free(fkv_cursor *c)
{
    if (!c) return;
    count_add(&c->store->counters.rows_read, c->rows);
    count_add(&c->store->counters.skipped, c->skipped);
    iter_close(c->merge);
    iter_close(c->own_iter);
    version_unref(c->own_runs);
    batch_unref(c->own);
    alloc_free(c->dead);
    fkv_snapshot_release(c->snapshot);
    buf_release(&c->from);
    buf_release(&c->to);
    buf_release(&c->skip_to);
    alloc_free(c);
}

fkv_status fkv_cursor_bounds(fkv_cursor *c, fkv_slice from, fkv_slice to)
{
    fkv_status rc;

    c->valid = 0;
    c->has_to = to.data != NULL;
    buf_set(&c->from, from);
    buf_set(&c->to, to);
    rc = buf_status(&c->from);
    return rc ? rc : buf_status(&c->to);
}

/* Gather the sources, newest first, and merge them. */
static fkv_status build_merge(fkv_cursor *c)
{
    const superversion *v = c->snapshot->view;
    size_t capacity = 2 + v->sealed_count + version_iter_count(v->tables), n = 0;
    iter **children;
    fkv_status rc = FKV_OK;

    if (c->own_runs) capacity += version_iter_count(c->own_runs);
    children = alloc_bytes(capacity * sizeof(iter *));
    if (!children) return FKV_RAISE(FKV_NOMEM);
    if (c->own_iter) children[n++] = c->own_iter;
    if (c->own_runs) {
        rc = version_iters(c->own_runs, children + n);
        if (!rc) n += version_iter_count(c->own_runs);
    }
    for (size_t i = 0; !rc && i <= v->sealed_count; i++) {
        const memtable *m = i == 0 ? v->active : v->sealed[i - 1];
        mem_view view = memtable_view(m, c->snapshot->seq);
        if (view.limit == 0 || memtree_empty(&m->tree)) continue; /* nothing for us in it */
        rc = memtree_iter_new(&m->tree, &view, &children[n]);
        if (!rc) n++;
    }
    if (!rc) {
        rc = version_iters(v->tables, children + n);
        if (!rc) n += version_iter_count(v->tables);
    }
    if (rc) {
        while (n > (c->own_iter ? 1u : 0u)) iter_close(children[--n]);
    } else {
        c->own_iter = NULL; /* the merge's now, whatever comes of it */
        rc = merge_new(children, n, &c->merge);
    }
    alloc_free(children);
    return rc;
}

/* Before every positioning. */
static int ready(fkv_cursor *c)
{
    fkv_store *s = c->store;
    uint64_t n = atomic_fetch_add_explicit(&s->counters.seeks, 1, memory_order_relaxed);

    c->valid = 0;
    c->status = FKV_OK;
    c->began_ns = n % SAMPLE_SEEKS ? 0 : s->env->now_ns(s->env);
    if (!c->merge) c->status = build_merge(c);
    return c->status == FKV_OK;
}

/* After it. */
static void note_time(const fkv_cursor *c)
{
    fkv_store *s = c->store;

    if (c->began_ns) histogram_add(&s->counters.seek_ns, s->env->now_ns(s->env) - c->began_ns);
}

static int shows_row(const fkv_cursor *c)
{
    const iter_entry *e = c->merge->entry;
    return e->kind != ENTRY_DELETE && store_alive(c->store, e->kind, e->expires_ms);
}

/* The merge stands somewhere: go on to a row that is visible and inside the bounds. */
static void settle_forward(fkv_cursor *c)
{
    iter *m = c->merge;

    c->valid = 0;
    for (; m->entry; m->ops->next(m)) {
        if (c->has_to && slice_compare(m->entry->key, buf_slice(&c->to)) >= 0) return;
        if (shows_row(c)) {
            c->valid = 1;
            c->rows++;
            return;
        }
        c->skipped++;
    }
    c->status = m->status;
}

static void settle_back(fkv_cursor *c)
{
    iter *m = c->merge;

    c->valid = 0;
    for (; m->entry; m->ops->prev(m)) {
        if (slice_compare(m->entry->key, buf_slice(&c->from)) < 0) return;
        if (shows_row(c)) {
            c->valid = 1;
            c->rows++;
            return;
        }
        c->skipped++;
    }
    c->status = m->status;
}

/* Notes are about what is committed. */
static int may_use_notes(const fkv_cursor *c)
{
    return !c->own && !c->own_runs;
}

static void seek_forward(fkv_cursor *c, fkv_slice key)
{
    if (may_use_notes(c) && store_skip_dead(c->store, key, c->snapshot->seq, &c->skip_to))
        key = buf_slice(&c->skip_to);
    c->merge->ops->seek(c->merge, key);
    settle_forward(c);
}

void fkv_cursor_first(fkv_cursor *c)
{
    uint64_t skipped = c->skipped, seq = c->snapshot->seq;

    if (!ready(c)) return;
    seek_forward(c, buf_slice(&c->from));
    note_time(c);
    if (c->skipped - skipped < DEAD_RUN_MIN || !may_use_notes(c) || c->status) return;
    if (c->valid) {
        store_note_dead(c->store, buf_slice(&c->from), c->merge->entry->key, seq);
    } else if (c->has_to) {
        store_note_dead(c->store, buf_slice(&c->from), buf_slice(&c->to), seq);
    }
}

void fkv_cursor_last(fkv_cursor *c)
{
    if (!ready(c)) return;
    if (c->has_to) {
        c->merge->ops->seek_before(c->merge, buf_slice(&c->to));
    } else {
        c->merge->ops->last(c->merge);
    }
    settle_back(c);
    note_time(c);
}

void fkv_cursor_seek(fkv_cursor *c, fkv_slice key)
{
    if (!ready(c)) return;
    if (slice_compare(key, buf_slice(&c->from)) < 0) key = buf_slice(&c->from);
    seek_forward(c, key);
    note_time(c);
}

void fkv_cursor_next(fkv_cursor *c)
{
    assert(c->valid);
    c->merge->ops->next(c->merge);
    settle_forward(c);
}

void fkv_cursor_prev(fkv_cursor *c)
{
    assert(c->valid);
    c->merge->ops->prev(c->merge);
    settle_back(c);
}

int fkv_cursor_valid(const fkv_cursor *c)
{
    return c->valid;
}

fkv_status fkv_cursor_status(const fkv_cursor *c)
{
    return c->status;
}

fkv_slice fkv_cursor_key(const fkv_cursor *c)
{
    return c->merge->entry->key;
}

fkv_slice fkv_cursor_value(const fkv_cursor *c)
{
    return c->merge->entry->value;
}

int64_t fkv_cursor_expires_ms(const fkv_cursor *c)
{
    const iter_entry *e = c->merge->entry;
    return e->kind == ENTRY_PUT_EXPIRES ? e->expires_ms : 0;
}
