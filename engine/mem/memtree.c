/*
** memtree.c -- the writing half of the memory index: a B-tree that is never wrong in between.
**
** Why not a skiplist, as LevelDB and RocksDB have? A skiplist of half a million keys costs some
** twenty cache misses a search; this tree costs five or six, because a node holds the first eight
** bytes of fourteen keys in three cache lines and a search compares integers.
**
** Shape
**   A leaf has 14 slots: key prefix and record offset. An inner node has 15: key prefix, separator
**   record, child. Slots are filled in order of arrival and never reused; the permutation word
**   says which are live and in what key order (the idea is Masstree's). A node also knows `skip`,
**   the number of leading bytes that all keys between its two fences share; the prefixes are taken
**   after it (the idea is Graefe's prefix B-tree), so "user:000123" compares by its digits. A key
**   sought under a node lies between the same fences, so it shares those bytes and need not be
**   compared there.
**
** Invariants
**   1. One release store publishes each change: a new version replaces a slot's record; a new key
**      appears in a permutation; a split appears in the permutation of the lowest ancestor that has
**      room, or as a new root. A reader, or a writer that died and is replaced, never finds a
**      half-made change, and what was lost by a death is an unlinked record or node.
**   2. Nodes that a split replaces are left as they were. A reader that stands on one sees all that
**      was linked before the split: enough for its view, which is older.
**   3. A version chain runs from newest to oldest.
**
** Space. A leaf is born with at most 8 keys unless it is at the right edge, so a split that makes
** two leaves (384 bytes) is paid by at least 6 inserts: 64 bytes each. It takes two slots of its
** parent; a parent born with at most 10 of 15 is rebuilt (at most 512 bytes) after two such splits
** or more: 512 / 2 / 6 = 43 bytes in the very worst case, but a rebuilt parent that splits is born
** with 8 (three splits), and one that is only swept keeps at most 10; over a run the mean stays
** under 32. 96 bytes a record covers both and the levels above; test_memtree.c measures it.
*/
#include "mem/memtree.h"

#include "mem/memtree_node.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "mem_record is a file format and little-endian"
#endif

enum { SWEEP_MAX = 9 }; /* a rebuilt inner node with more children than this is split */

typedef struct path {
    node *at[TREE_HEIGHT_MAX];
    unsigned position[TREE_HEIGHT_MAX]; /* which child was taken */
    uint32_t low[TREE_HEIGHT_MAX];      /* fence records of the node; 0 = none */
    uint32_t high[TREE_HEIGHT_MAX];
    unsigned depth; /* index of the leaf */
} path;

int64_t mem_record_expires(const mem_record *r)
{
    if (mem_record_kind(r) != ENTRY_PUT_EXPIRES) return 0;
    return (int64_t)get_u64((const uint8_t *)(r + 1) + (r->key_kind >> 3));
}

size_t mem_record_bytes(entry_kind kind, size_t key_size, size_t value_size)
{
    size_t n = sizeof(mem_record) + key_size + value_size + (kind == ENTRY_PUT_EXPIRES ? 8 : 0);
    return (n + MEM_UNIT - 1) & ~(size_t)(MEM_UNIT - 1);
}

void mem_record_write(void *at, entry_kind kind, fkv_slice key, fkv_slice value, int64_t expires_ms)
{
    size_t bytes = mem_record_bytes(kind, key.size, value.size);
    mem_record *r = at;
    uint8_t *p = (uint8_t *)(r + 1);

    memset((uint8_t *)at + bytes - MEM_UNIT, 0, MEM_UNIT); /* the padding is in the checksum */
    r->seq = 0;
    r->prev = 0;
    r->key_kind = (uint32_t)key.size << 3 | (uint32_t)kind;
    r->value_size = (uint32_t)value.size;
    if (key.size) memcpy(p, key.data, key.size);
    p += key.size;
    if (kind == ENTRY_PUT_EXPIRES) {
        put_u64(p, (uint64_t)expires_ms);
        p += 8;
    }
    if (value.size) memcpy(p, value.data, value.size);
}

/* From here on the half of a large page that a memtable leaves untouched is little beside it. */
enum { DENSE_BYTES = 64 << 20 };

fkv_status memtree_init(memtree *t, fkv_env *env, size_t capacity, const uint8_t *records)
{
    *t = (memtree){0};
    t->arena = env->map(env, capacity, !records && capacity >= DENSE_BYTES);
    if (!t->arena) return FKV_RAISE(FKV_NOMEM);
    t->env = env;
    t->capacity = capacity;
    t->records = records ? records : t->arena;
    memtree_clear(t);
    return FKV_OK;
}

void memtree_reuse(memtree *t, fkv_env *env, uint8_t *arena, size_t capacity)
{
    *t = (memtree){.env = env, .arena = arena, .capacity = capacity, .records = arena};
    memtree_clear(t);
}

void memtree_release(memtree *t)
{
    if (t->arena) t->env->unmap(t->env, t->arena, t->capacity);
    *t = (memtree){0};
}

void memtree_clear(memtree *t)
{
    arena_header *h = tree_header(t);

    atomic_store_explicit(&h->used, sizeof *h, memory_order_relaxed);
    atomic_store_explicit(&h->root, 0, memory_order_relaxed);
    atomic_store_explicit(&h->ranges, 0, memory_order_relaxed);
    atomic_store_explicit(&h->range_count, 0, memory_order_relaxed);
}

size_t memtree_used(const memtree *t)
{
    return (size_t)atomic_load_explicit(&tree_header(t)->used, memory_order_relaxed);
}

uint32_t memtree_alloc(memtree *t, size_t bytes)
{
    arena_header *h = tree_header(t);
    uint64_t at = atomic_load_explicit(&h->used, memory_order_relaxed);

    atomic_store_explicit(&h->used, at + bytes, memory_order_relaxed);
    return (uint32_t)(at / MEM_UNIT);
}

/* A node, on cache-line boundaries. REQUIRES: skip <= UINT16_MAX. */
static uint32_t alloc_node(memtree *t, unsigned level, size_t skip)
{
    arena_header *h = tree_header(t);
    size_t bytes = level ? sizeof(inner_node) : sizeof(leaf_node);
    uint64_t at = (atomic_load_explicit(&h->used, memory_order_relaxed) + 63) & ~(uint64_t)63;
    node *n = (node *)(void *)(t->arena + at);

    atomic_store_explicit(&h->used, at + bytes, memory_order_relaxed);
    atomic_store_explicit(&n->perm, 0, memory_order_relaxed);
    n->skip = (uint16_t)skip;
    n->level = (uint8_t)level;
    n->filled = 0;
    n->reserved = 0;
    return (uint32_t)(at / MEM_UNIT);
}

/* Bytes that all keys in [low, high) share, as far as a node can say. */
static size_t fence_skip(const memtree *t, uint32_t low, uint32_t high)
{
    size_t shared;

    if (!low || !high) return 0;
    shared = slice_common(tree_key(t, low), tree_key(t, high));
    return shared < UINT16_MAX ? shared : UINT16_MAX;
}

uint32_t memtree_build_leaf(memtree *t, const child_entry *records, unsigned count, uint32_t low,
                            uint32_t high)
{
    size_t skip = fence_skip(t, low, high);
    uint64_t prefix[LEAF_SLOTS];

    for (unsigned i = 0; i < count; i++) prefix[i] = key_prefix(tree_key(t, records[i].key), skip);
    return memtree_build_leaf_of(t, records, prefix, count, skip);
}

uint32_t memtree_build_leaf_of(memtree *t, const child_entry *records, const uint64_t *prefix,
                               unsigned count, size_t skip)
{
    uint32_t ref = alloc_node(t, 0, skip);
    leaf_node *leaf = (leaf_node *)(void *)tree_node(t, ref);
    uint64_t perm = 0;

    for (unsigned i = 0; i < count; i++) {
        leaf->prefix[i] = prefix[i];
        atomic_store_explicit(&leaf->record[i], records[i].child, memory_order_relaxed);
        perm = perm_insert(perm, i, i);
    }
    leaf->head.filled = (uint8_t)count;
    atomic_store_explicit(&leaf->head.perm, perm, memory_order_relaxed);
    return ref;
}

static void inner_fill_slot(const memtree *t, inner_node *inner, unsigned slot, child_entry e)
{
    inner->prefix[slot] = e.key ? key_prefix(tree_key(t, e.key), inner->head.skip) : 0;
    inner->key[slot] = e.key;
    atomic_store_explicit(&inner->child[slot], e.child, memory_order_relaxed);
}

uint32_t memtree_build_inner(memtree *t, unsigned level, const child_entry *entries, unsigned count,
                             uint32_t low, uint32_t high)
{
    uint32_t ref = alloc_node(t, level, fence_skip(t, low, high));
    inner_node *inner = (inner_node *)(void *)tree_node(t, ref);
    uint64_t perm = 0;

    for (unsigned i = 0; i < count; i++) {
        inner_fill_slot(t, inner, i, entries[i]);
        perm = perm_insert(perm, i, i);
    }
    inner->head.filled = (uint8_t)count;
    atomic_store_explicit(&inner->head.perm, perm, memory_order_relaxed);
    return ref;
}

static void publish_root(memtree *t, uint32_t ref)
{
    atomic_store_explicit(&tree_header(t)->root, ref, memory_order_release);
}

/* The node at p->at[depth] is replaced by one node of the same extent. */
static void replace_node(memtree *t, path *p, unsigned depth, uint32_t by)
{
    inner_node *parent;
    uint64_t perm;

    if (depth == 0) {
        publish_root(t, by);
        return;
    }
    parent = (inner_node *)(void *)p->at[depth - 1];
    perm = atomic_load_explicit(&parent->head.perm, memory_order_relaxed);
    atomic_store_explicit(&parent->child[perm_slot(perm, p->position[depth - 1])], by,
                          memory_order_release);
}

/* The children of an inner node with the one at `position` replaced by left and right. */
static unsigned gather_children(const inner_node *inner, unsigned position, uint32_t left,
                                child_entry right, child_entry *out)
{
    uint64_t perm = atomic_load_explicit(&inner->head.perm, memory_order_relaxed);
    unsigned n = 0;

    for (unsigned i = 0; i < perm_count(perm); i++) {
        unsigned slot = perm_slot(perm, i);
        out[n].key = inner->key[slot];
        out[n].child = atomic_load_explicit(&inner->child[slot], memory_order_relaxed);
        if (i == position) {
            out[n++].child = left;
            out[n] = right;
        }
        n++;
    }
    return n;
}

/* Put left and right in the place of the node at p->at[depth] by one store, making room upwards
** first where there is none. left may be that node itself. */
static void replace_by_two(memtree *t, path *p, unsigned depth, uint32_t left, child_entry right)
{
    while (depth > 0) {
        inner_node *parent = (inner_node *)(void *)p->at[depth - 1];
        unsigned position = p->position[depth - 1], filled = parent->head.filled;
        uint64_t perm = atomic_load_explicit(&parent->head.perm, memory_order_relaxed);
        unsigned slot = perm_slot(perm, position);
        uint32_t low = p->low[depth - 1], high = p->high[depth - 1];
        child_entry entries[INNER_SLOTS + 1];
        unsigned count, half;

        if (filled + 1 < INNER_SLOTS) {
            child_entry first = {parent->key[slot], left};
            unsigned shift = 4 + 4 * position;
            inner_fill_slot(t, parent, filled, first);
            inner_fill_slot(t, parent, filled + 1, right);
            parent->head.filled = (uint8_t)(filled + 2);
            perm = (perm & ~((uint64_t)15 << shift)) | (uint64_t)filled << shift;
            perm = perm_insert(perm, position + 1, filled + 1);
            atomic_store_explicit(&parent->head.perm, perm, memory_order_release);
            return;
        }
        count = gather_children(parent, position, left, right, entries);
        if (count <= SWEEP_MAX) {
            replace_node(t, p, depth - 1,
                         memtree_build_inner(t, parent->head.level, entries, count, low, high));
            return;
        }
        /* At the right edge, where ascending keys arrive, leave the left node fuller. */
        half = !high && position + 2 == count ? count - 4 : count / 2;
        left = memtree_build_inner(t, parent->head.level, entries, half, low, entries[half].key);
        right.key = entries[half].key;
        right.child = memtree_build_inner(t, parent->head.level, entries + half, count - half,
                                          right.key, high);
        depth--;
    }
    child_entry both[2] = {{0, left}, right};
    unsigned level = tree_node(t, left)->level + 1u;
    publish_root(t, memtree_build_inner(t, level, both, 2, 0, 0));
}

static void split_leaf(memtree *t, path *p, unsigned position, uint32_t record)
{
    leaf_node *leaf = (leaf_node *)(void *)p->at[p->depth];
    uint64_t perm = atomic_load_explicit(&leaf->head.perm, memory_order_relaxed);
    uint32_t low = p->low[p->depth], high = p->high[p->depth], left;
    child_entry records[LEAF_SLOTS + 1];
    unsigned n = 0, half = (LEAF_SLOTS + 1) / 2;
    child_entry right;

    if (position == LEAF_SLOTS && !high) { /* ascending keys: leave full leaves behind */
        right.key = record;
        right.child = memtree_build_leaf(t, &(child_entry){record, record}, 1, record, 0);
        left = (uint32_t)(((uint8_t *)leaf - t->arena) / MEM_UNIT);
        replace_by_two(t, p, p->depth, left, right);
        return;
    }
    for (unsigned i = 0; i <= LEAF_SLOTS; i++) {
        if (i == position) records[n++] = (child_entry){record, record};
        if (i < LEAF_SLOTS) {
            uint32_t ref =
                atomic_load_explicit(&leaf->record[perm_slot(perm, i)], memory_order_relaxed);
            records[n++] = (child_entry){ref, ref};
        }
    }
    right.key = records[half].key;
    left = memtree_build_leaf(t, records, half, low, right.key);
    right.child = memtree_build_leaf(t, records + half, n - half, right.key, high);
    replace_by_two(t, p, p->depth, left, right);
}

static void descend(const memtree *t, uint32_t ref, fkv_slice key, path *p)
{
    uint32_t low = 0, high = 0;
    unsigned depth = 0;
    node *n = tree_node(t, ref);

    for (;; depth++) {
        uint64_t perm = atomic_load_explicit(&n->perm, memory_order_relaxed);
        p->at[depth] = n;
        p->low[depth] = low;
        p->high[depth] = high;
        if (n->level == 0) break;
        inner_node *inner = (inner_node *)(void *)n;
        unsigned position = inner_search(t, inner, perm, key);
        p->position[depth] = position;
        if (position > 0) low = inner->key[perm_slot(perm, position)];
        if (position + 1 < perm_count(perm)) high = inner->key[perm_slot(perm, position + 1)];
        n = tree_node(t, atomic_load_explicit(&inner->child[perm_slot(perm, position)],
                                              memory_order_relaxed));
        node_prefetch(n);
    }
    p->depth = depth;
}

static void link_range(memtree *t, uint32_t ref)
{
    arena_header *h = tree_header(t);

    memtree_at(t, ref)->prev = atomic_load_explicit(&h->ranges, memory_order_relaxed);
    atomic_store_explicit(&h->ranges, ref, memory_order_release);
    atomic_fetch_add_explicit(&h->range_count, 1, memory_order_release);
}

void memtree_link(memtree *t, uint32_t ref)
{
    mem_record *r = memtree_at(t, ref);
    fkv_slice key = mem_record_key(r);
    uint32_t root = atomic_load_explicit(&tree_header(t)->root, memory_order_relaxed);
    uint64_t perm;
    unsigned position;
    leaf_node *leaf;
    path p;
    int exact;

    r->prev = 0;
    if (mem_record_kind(r) == ENTRY_RANGE_DELETE) {
        link_range(t, ref);
        return;
    }
    if (!root) {
        publish_root(t, memtree_build_leaf(t, &(child_entry){ref, ref}, 1, 0, 0));
        return;
    }
    descend(t, root, key, &p);
    leaf = (leaf_node *)(void *)p.at[p.depth];
    perm = atomic_load_explicit(&leaf->head.perm, memory_order_relaxed);
    position = leaf_search(t, leaf, perm, key, &exact);
    if (exact) {
        unsigned slot = perm_slot(perm, position);
        r->prev = atomic_load_explicit(&leaf->record[slot], memory_order_relaxed);
        atomic_store_explicit(&leaf->record[slot], ref, memory_order_release);
    } else if (leaf->head.filled < LEAF_SLOTS) {
        unsigned slot = leaf->head.filled++;
        leaf->prefix[slot] = key_prefix(key, leaf->head.skip);
        atomic_store_explicit(&leaf->record[slot], ref, memory_order_relaxed);
        atomic_store_explicit(&leaf->head.perm, perm_insert(perm, position, slot),
                              memory_order_release);
    } else {
        split_leaf(t, &p, position, ref);
    }
}
