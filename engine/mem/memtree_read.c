/*
** memtree_read.c -- the reading half of the memory index: lookups and ordered walks.
**
** A walk keeps the path from the root as (node, permutation) pairs read once on the way down. They
** may be out of date the next moment; by invariant 2 of memtree.c they still lead to everything
** that the walk's view may see, each key exactly once.
*/
#include "base/alloc.h"
#include "mem/memtree.h"
#include "mem/memtree_node.h"

typedef struct step {
    const node *at;
    uint64_t perm;
    unsigned position;
} step;

typedef struct tree_iter {
    iter base;
    iter_entry shown;
    const memtree *tree;
    mem_view view;
    step path[TREE_HEIGHT_MAX];
    unsigned depth; /* of the leaf */
    int has_path;
} tree_iter;

static const mem_record *visible_version(const memtree *t, uint32_t ref, const mem_view *view)
{
    while (ref) {
        const mem_record *r = memtree_at(t, ref);
        if (mem_view_sees(view, r->seq)) return r;
        ref = r->prev;
    }
    return NULL;
}

const mem_record *memtree_get(const memtree *t, fkv_slice key, const mem_view *view)
{
    uint32_t ref = atomic_load_explicit(&tree_header(t)->root, memory_order_acquire);
    const node *n;
    unsigned position;
    uint64_t perm;
    int exact;

    if (!ref) return NULL;
    for (n = tree_node(t, ref);; n = tree_node(t, ref)) {
        node_prefetch(n);
        perm = atomic_load_explicit(&n->perm, memory_order_acquire);
        if (n->level == 0) break;
        const inner_node *inner = (const inner_node *)(const void *)n;
        position = inner_search(t, inner, perm, key);
        ref = atomic_load_explicit(&inner->child[perm_slot(perm, position)], memory_order_acquire);
    }
    const leaf_node *leaf = (const leaf_node *)(const void *)n;
    position = leaf_search(t, leaf, perm, key, &exact);
    if (!exact) return NULL;
    ref = atomic_load_explicit(&leaf->record[perm_slot(perm, position)], memory_order_acquire);
    return visible_version(t, ref, view);
}

int memtree_empty(const memtree *t)
{
    return atomic_load_explicit(&tree_header(t)->root, memory_order_acquire) == 0 &&
           memtree_ranges(t) == 0;
}

uint32_t memtree_ranges(const memtree *t)
{
    return atomic_load_explicit(&tree_header(t)->range_count, memory_order_acquire);
}

uint32_t memtree_range_head(const memtree *t)
{
    return atomic_load_explicit(&tree_header(t)->ranges, memory_order_acquire);
}

uint32_t memtree_covered(const memtree *t, fkv_slice key, const mem_view *view, fkv_slice *from,
                         fkv_slice *to)
{
    uint32_t ref = memtree_range_head(t);

    while (ref) { /* newest first, so the first hit is the highest */
        const mem_record *r = memtree_at(t, ref);
        fkv_slice low = mem_record_key(r), high = mem_record_value(r);
        if (mem_view_sees(view, r->seq) && slice_compare(key, low) >= 0 &&
            slice_compare(key, high) < 0) {
            *from = low;
            *to = high;
            return r->seq;
        }
        ref = r->prev;
    }
    return 0;
}

static void step_load(tree_iter *it, unsigned depth, uint32_t ref)
{
    step *s = &it->path[depth];
    s->at = tree_node(it->tree, ref);
    node_prefetch(s->at);
    s->perm = atomic_load_explicit(&s->at->perm, memory_order_acquire);
}

static uint32_t step_child(const step *s)
{
    const inner_node *inner = (const inner_node *)(const void *)s->at;
    return atomic_load_explicit(&inner->child[perm_slot(s->perm, s->position)],
                                memory_order_acquire);
}

/* Go down to the first (or last) leaf under path[depth]'s chosen child. */
static void descend_edge(tree_iter *it, unsigned depth, int to_last)
{
    while (it->path[depth].at->level > 0) {
        step_load(it, depth + 1, step_child(&it->path[depth]));
        depth++;
        it->path[depth].position = to_last ? perm_count(it->path[depth].perm) - 1 : 0;
    }
    it->depth = depth;
}

/* Put the iterator on path's record if it shows a visible version. */
static int settle(tree_iter *it)
{
    const step *s = &it->path[it->depth];
    const leaf_node *leaf = (const leaf_node *)(const void *)s->at;
    uint32_t ref =
        atomic_load_explicit(&leaf->record[perm_slot(s->perm, s->position)], memory_order_acquire);
    const mem_record *r = visible_version(it->tree, ref, &it->view);
    fkv_slice from, to;

    if (!r) return 0;
    it->shown.key = mem_record_key(r);
    it->shown.value = mem_record_value(r);
    it->shown.kind = (uint8_t)mem_record_kind(r);
    it->shown.expires_ms = mem_record_expires(r);
    it->base.entry = &it->shown;
    if (it->base.has_ranges &&
        memtree_covered(it->tree, it->shown.key, &it->view, &from, &to) > r->seq) {
        it->shown.kind = ENTRY_DELETE;
        it->shown.value = fkv_slice_of(NULL, 0);
    }
    return 1;
}

/* One key onward; 0 at the end. */
static int step_forward(tree_iter *it)
{
    unsigned depth = it->depth;

    while (it->path[depth].position + 1 >= perm_count(it->path[depth].perm)) {
        if (depth == 0) return 0;
        depth--;
    }
    it->path[depth].position++;
    descend_edge(it, depth, 0);
    return 1;
}

static int step_back(tree_iter *it)
{
    unsigned depth = it->depth;

    while (it->path[depth].position == 0) {
        if (depth == 0) return 0;
        depth--;
    }
    it->path[depth].position--;
    descend_edge(it, depth, 1);
    return 1;
}

static int load_root(tree_iter *it)
{
    uint32_t root = atomic_load_explicit(&tree_header(it->tree)->root, memory_order_acquire);

    it->base.entry = NULL;
    it->has_path = root != 0;
    if (root) step_load(it, 0, root);
    return root != 0;
}

/* Descend to where key would be: afterwards path stands on the first key >= key of the leaf, or
** one past its end. */
static int descend_to(tree_iter *it, fkv_slice key)
{
    unsigned depth = 0;
    int exact;

    if (!load_root(it)) return 0;
    while (it->path[depth].at->level > 0) {
        step *s = &it->path[depth];
        s->position = inner_search(it->tree, (const inner_node *)(const void *)s->at, s->perm, key);
        step_load(it, depth + 1, step_child(s));
        depth++;
    }
    it->depth = depth;
    it->path[depth].position = leaf_search(it->tree,
                                           (const leaf_node *)(const void *)it->path[depth].at,
                                           it->path[depth].perm, key, &exact);
    return 1;
}

static void walk_forward(tree_iter *it)
{
    it->base.entry = NULL;
    while (step_forward(it)) {
        if (settle(it)) return;
    }
}

static void walk_back(tree_iter *it)
{
    it->base.entry = NULL;
    while (step_back(it)) {
        if (settle(it)) return;
    }
}

static void tree_seek(iter *base, fkv_slice key)
{
    tree_iter *it = (tree_iter *)base;

    if (!descend_to(it, key)) return;
    if (it->path[it->depth].position < perm_count(it->path[it->depth].perm) && settle(it)) return;
    walk_forward(it);
}

static void tree_seek_before(iter *base, fkv_slice key)
{
    tree_iter *it = (tree_iter *)base;

    if (descend_to(it, key)) walk_back(it);
}

static void tree_first(iter *base)
{
    tree_iter *it = (tree_iter *)base;

    if (!load_root(it)) return;
    it->path[0].position = 0;
    descend_edge(it, 0, 0);
    if (!settle(it)) walk_forward(it);
}

static void tree_last(iter *base)
{
    tree_iter *it = (tree_iter *)base;

    if (!load_root(it)) return;
    it->path[0].position = perm_count(it->path[0].perm) - 1;
    descend_edge(it, 0, 1);
    if (!settle(it)) walk_back(it);
}

static void tree_next(iter *base)
{
    walk_forward((tree_iter *)base);
}

static void tree_prev(iter *base)
{
    walk_back((tree_iter *)base);
}

static int tree_covers(iter *base, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    tree_iter *it = (tree_iter *)base;
    return memtree_covered(it->tree, key, &it->view, from, to) != 0;
}

static void tree_close(iter *base)
{
    alloc_free(base);
}

static const iter_ops tree_ops = {tree_seek, tree_seek_before, tree_first,  tree_last,
                                  tree_next, tree_prev,        tree_covers, tree_close};

fkv_status memtree_iter_new(const memtree *t, const mem_view *view, iter **out)
{
    tree_iter *it = alloc_zero(sizeof *it);

    *out = NULL;
    if (!it) return FKV_RAISE(FKV_NOMEM);
    it->base.ops = &tree_ops;
    it->base.has_ranges = memtree_ranges(t) != 0;
    it->tree = t;
    it->view = *view;
    *out = &it->base;
    return FKV_OK;
}

uint64_t memtree_check(const memtree *t)
{
    static const mem_view all = {UINT32_MAX, 0, NULL};
    tree_iter it = {.base = {.ops = &tree_ops}, .tree = t, .view = all};
    fkv_slice before = {NULL, 0};
    uint64_t keys = 0;

    for (tree_first(&it.base); it.base.entry; tree_next(&it.base)) {
        if (keys && slice_compare(before, it.shown.key) >= 0) return UINT64_MAX;
        if (!memtree_get(t, it.shown.key, &all)) return UINT64_MAX;
        before = it.shown.key;
        keys++;
    }
    return keys;
}
