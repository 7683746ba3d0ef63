/*
** merge.c -- a heap of sources, ordered by key and then by age.
**
** The source on top of the heap holds the smallest key (largest, when walking back); among equal
** keys the newest source is on top. Whenever the merge stops on a key, every older source has
** already been moved past it, so moving on moves the top source alone. Turning round repositions
** all sources: rare, and the price is one seek each.
**
** Range tombstones: an entry of source i is hidden if any newer source j < i covers its key. Then
** source i jumps to the end of the tombstone at once: a dropped table of a million rows costs one
** seek, not a million steps.
*/
#include "iter/merge.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/sabotage.h"

typedef struct merge {
    iter base;
    iter **children; /* newest first */
    size_t count;
    size_t *heap; /* indexes of valid children */
    size_t heap_size;
    size_t range_sources; /* children before this one may hold range tombstones */
    int backward;
    buf turn; /* the key on which the direction changes */
} merge;

static int before(const merge *m, size_t a, size_t b)
{
    int c = slice_compare(m->children[a]->entry->key, m->children[b]->entry->key);
    if (c == 0) return SABOTAGE(16) ? a > b : a < b;
    return m->backward ? c > 0 : c < 0;
}

static void sift_down(merge *m, size_t at)
{
    size_t moving = m->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->heap_size) break;
        if (child + 1 < m->heap_size && before(m, m->heap[child + 1], m->heap[child])) child++;
        if (!before(m, m->heap[child], moving)) break;
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = moving;
}

/* The child at heap position `at` has moved: put it where it belongs, or drop it at its end. An
** error in any child is the merge's: better no answer than one with rows missing. */
static void child_moved(merge *m, size_t at)
{
    iter *child = m->children[m->heap[at]];

    if (!child->entry) {
        if (child->status && !m->base.status && !SABOTAGE(17)) m->base.status = child->status;
        m->heap[at] = m->heap[--m->heap_size];
        if (at == m->heap_size) return;
    }
    sift_down(m, at);
}

static void step_child(const merge *m, iter *child)
{
    if (m->backward) {
        child->ops->prev(child);
    } else {
        child->ops->next(child);
    }
}

/* Is the top entry hidden by a newer source? Then jump its source over the tombstone. */
static int skip_covered(merge *m)
{
    size_t top = m->heap[0];
    iter *it = m->children[top];

    for (size_t j = 0; j < top && j < m->range_sources; j++) {
        iter *newer = m->children[j];
        fkv_slice from, to;
        if (!newer->has_ranges) continue;
        if (newer->ops->covers(newer, it->entry->key, &from, &to)) {
            if (m->backward) {
                it->ops->seek_before(it, from);
            } else {
                it->ops->seek(it, to);
            }
            child_moved(m, 0);
            return 1;
        }
        if (newer->status) {
            if (!m->base.status) m->base.status = newer->status;
            return 0;
        }
    }
    return 0;
}

/* Move every other source past the key on top. */
static void skip_equal(merge *m)
{
    fkv_slice key = m->children[m->heap[0]]->entry->key;

    for (;;) {
        size_t at;
        if (m->heap_size > 1 && slice_equal(m->children[m->heap[1]]->entry->key, key)) {
            at = 1;
        } else if (m->heap_size > 2 && slice_equal(m->children[m->heap[2]]->entry->key, key)) {
            at = 2;
        } else {
            return;
        }
        step_child(m, m->children[m->heap[at]]);
        child_moved(m, at);
    }
}

static void settle(merge *m)
{
    m->base.entry = NULL;
    for (;;) {
        if (m->base.status || m->heap_size == 0) return;
        if (m->range_sources && skip_covered(m)) continue;
        if (m->base.status) return;
        if (m->heap_size > 1) skip_equal(m);
        if (m->base.status) return;
        break;
    }
    m->base.entry = m->children[m->heap[0]]->entry;
}

/* All children have been positioned: build the heap. */
static void start(merge *m, int backward)
{
    m->backward = backward;
    m->heap_size = 0;
    m->base.status = FKV_OK;
    for (size_t i = 0; i < m->count; i++) {
        const iter *child = m->children[i];
        if (child->entry) {
            m->heap[m->heap_size++] = i;
        } else if (child->status && !m->base.status) {
            m->base.status = child->status;
        }
    }
    for (size_t i = m->heap_size / 2; i-- > 0;) sift_down(m, i);
    settle(m);
}

/* A key that is sought may be the one shown, which dies with the first child that moves: keep it. 0
** if there is no memory for that. */
static int keep_key(merge *m, fkv_slice *key)
{
    if (!m->base.entry || key->data == m->turn.data) return 1;
    buf_set(&m->turn, *key);
    m->base.entry = NULL;
    m->base.status = buf_status(&m->turn);
    *key = buf_slice(&m->turn);
    return m->base.status == FKV_OK;
}

static void merge_seek(iter *base, fkv_slice key)
{
    merge *m = (merge *)base;

    if (!keep_key(m, &key)) return;
    for (size_t i = 0; i < m->count; i++) m->children[i]->ops->seek(m->children[i], key);
    start(m, 0);
}

static void merge_seek_before(iter *base, fkv_slice key)
{
    merge *m = (merge *)base;

    if (!keep_key(m, &key)) return;
    for (size_t i = 0; i < m->count; i++) m->children[i]->ops->seek_before(m->children[i], key);
    start(m, 1);
}

static void merge_first(iter *base)
{
    merge *m = (merge *)base;
    for (size_t i = 0; i < m->count; i++) m->children[i]->ops->first(m->children[i]);
    start(m, 0);
}

static void merge_last(iter *base)
{
    merge *m = (merge *)base;
    for (size_t i = 0; i < m->count; i++) m->children[i]->ops->last(m->children[i]);
    start(m, 1);
}

/* Keep the current key: the children it lies in are about to move. */
static int remember_key(merge *m)
{
    buf_set(&m->turn, m->base.entry->key);
    m->base.status = buf_status(&m->turn);
    m->base.entry = NULL;
    return m->base.status == FKV_OK;
}

static void merge_next(iter *base)
{
    merge *m = (merge *)base;

    if (m->backward) {
        if (!remember_key(m)) return;
        for (size_t i = 0; i < m->count; i++) {
            iter *child = m->children[i];
            child->ops->seek(child, buf_slice(&m->turn));
            if (child->entry && slice_equal(child->entry->key, buf_slice(&m->turn)))
                child->ops->next(child);
        }
        start(m, 0);
        return;
    }
    step_child(m, m->children[m->heap[0]]);
    child_moved(m, 0);
    settle(m);
}

static void merge_prev(iter *base)
{
    merge *m = (merge *)base;

    if (!m->backward) {
        if (!remember_key(m)) return;
        merge_seek_before(base, buf_slice(&m->turn));
        return;
    }
    step_child(m, m->children[m->heap[0]]);
    child_moved(m, 0);
    settle(m);
}

static int merge_covers(iter *base, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    merge *m = (merge *)base;

    for (size_t i = 0; i < m->range_sources; i++) {
        iter *child = m->children[i];
        if (!child->has_ranges) continue;
        if (child->ops->covers(child, key, from, to)) return 1;
        if (child->status) {
            base->status = child->status;
            return 0;
        }
    }
    return 0;
}

static void merge_close(iter *base)
{
    merge *m = (merge *)base;

    for (size_t i = 0; i < m->count; i++) iter_close(m->children[i]);
    alloc_free(m->children);
    alloc_free(m->heap);
    buf_release(&m->turn);
    alloc_free(m);
}

static const iter_ops merge_ops = {merge_seek, merge_seek_before, merge_first,  merge_last,
                                   merge_next, merge_prev,        merge_covers, merge_close};

fkv_status merge_new(iter **children, size_t count, iter **out)
{
    merge *m;

    *out = NULL;
    if (count == 1) { /* nothing to merge with */
        *out = children[0];
        return FKV_OK;
    }
    m = alloc_zero(sizeof *m);
    if (m) {
        m->children = alloc_bytes((count + 1) * sizeof *m->children);
        m->heap = alloc_bytes((count + 1) * sizeof *m->heap);
    }
    if (!m || !m->children || !m->heap) {
        for (size_t i = 0; i < count; i++) iter_close(children[i]);
        if (m) {
            alloc_free(m->children);
            alloc_free(m->heap);
            alloc_free(m);
        }
        return FKV_RAISE(FKV_NOMEM);
    }
    m->base.ops = &merge_ops;
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        m->children[i] = children[i];
        if (children[i]->has_ranges) {
            m->range_sources = i + 1;
            m->base.has_ranges = 1;
        }
    }
    *out = &m->base;
    return FKV_OK;
}
