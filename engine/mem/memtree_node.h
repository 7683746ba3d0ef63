/* memtree_node.h -- node layout shared by memtree.c (writing) and memtree_read.c (reading). */
#ifndef FKV_MEM_MEMTREE_NODE_H
#define FKV_MEM_MEMTREE_NODE_H

#include "base/coding.h"
#include "mem/memtree.h"

enum {
    LEAF_SLOTS = 14,
    INNER_SLOTS = 15,
    TREE_HEIGHT_MAX = 16 /* every inner node but the root has >= 5 children: 5^14 > 2^32 leaves */
};

/* First 64 bytes of an arena. */
typedef struct arena_header {
    _Atomic uint64_t used;   /* bytes */
    _Atomic uint32_t root;   /* node offset in units, 0 = empty tree */
    _Atomic uint32_t ranges; /* newest range tombstone record, 0 = none */
    _Atomic uint32_t range_count;
    uint32_t reserved[11];
} arena_header;
_Static_assert(sizeof(arena_header) == 64, "one cache line");

/* What leaf and inner nodes share. perm: low four bits the number of live slots, then the slot
** numbers in key order, four bits each. */
typedef struct node {
    _Atomic uint64_t perm;
    uint16_t skip;  /* leading key bytes that all keys under this node share */
    uint8_t level;  /* 0 = leaf */
    uint8_t filled; /* slots written so far; the writer's own */
    uint32_t reserved;
} node;

typedef struct leaf_node {
    node head;
    uint64_t prefix[LEAF_SLOTS];         /* eight key bytes after skip, big-endian, zero padded */
    _Atomic uint32_t record[LEAF_SLOTS]; /* newest version */
    uint32_t reserved[2];
} leaf_node;
_Static_assert(sizeof(leaf_node) == 192, "three cache lines");

typedef struct inner_node {
    node head;
    uint64_t prefix[INNER_SLOTS];
    uint32_t key[INNER_SLOTS]; /* record whose key separates; unused in position 0 */
    _Atomic uint32_t child[INNER_SLOTS];
} inner_node;
_Static_assert(sizeof(inner_node) == 256, "four cache lines");

/* What goes into a node: for an inner one the separating record (0: leftmost) and a node, for a
** leaf a record, twice. */
typedef struct child_entry {
    uint32_t key, child;
} child_entry;

/* New nodes, not linked anywhere. low, high: the records between whose keys they lie; 0 = none. */
uint32_t memtree_build_leaf(memtree *t, const child_entry *records, unsigned count, uint32_t low,
                            uint32_t high);
/* A leaf of keys that share `skip` bytes, as do all between its two fences; prefix: the eight after
** that. REQUIRES: skip <= UINT16_MAX. */
uint32_t memtree_build_leaf_of(memtree *t, const child_entry *records, const uint64_t *prefix,
                               unsigned count, size_t skip);
uint32_t memtree_build_inner(memtree *t, unsigned level, const child_entry *entries, unsigned count,
                             uint32_t low, uint32_t high);

static inline arena_header *tree_header(const memtree *t)
{
    return (arena_header *)(void *)t->arena;
}

static inline node *tree_node(const memtree *t, uint32_t ref)
{
    return (node *)(void *)(t->arena + (size_t)ref * MEM_UNIT);
}

static inline unsigned perm_count(uint64_t perm)
{
    return (unsigned)(perm & 15);
}

static inline unsigned perm_slot(uint64_t perm, unsigned position)
{
    return (unsigned)(perm >> (4 + 4 * position)) & 15;
}

/* The permutation with `slot` put in at `position`. */
static inline uint64_t perm_insert(uint64_t perm, unsigned position, unsigned slot)
{
    unsigned shift = 4 + 4 * position;
    uint64_t low = perm & (((uint64_t)1 << shift) - 1);
    uint64_t high = shift < 60 ? (perm >> shift) << (shift + 4) : 0;
    return (low | high | (uint64_t)slot << shift) + 1;
}

/* Eight bytes of key after skip as a number that sorts as they do. */
static inline uint64_t key_prefix(fkv_slice key, size_t skip)
{
    uint8_t bytes[8] = {0};
    if (key.size >= skip + 8) return get_be64(key.data + skip);
    if (key.size > skip) memcpy(bytes, key.data + skip, key.size - skip);
    return get_be64(bytes);
}

/* Compare the parts of two keys after skip (they agree before it). */
static inline int compare_after(fkv_slice a, fkv_slice b, size_t skip)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n > skip ? memcmp(a.data + skip, b.data + skip, n - skip) : 0;
    if (c) return c;
    return (a.size > b.size) - (a.size < b.size);
}

static inline fkv_slice tree_key(const memtree *t, uint32_t record)
{
    return mem_record_key(memtree_at(t, record));
}

/* First position in the leaf whose key >= key; *exact when it is equal. */
static inline unsigned leaf_search(const memtree *t, const leaf_node *leaf, uint64_t perm,
                                   fkv_slice key, int *exact)
{
    uint64_t prefix = key_prefix(key, leaf->head.skip);
    unsigned low = 0, high = perm_count(perm);

    *exact = 0;
    while (low < high) {
        unsigned mid = (low + high) / 2, slot = perm_slot(perm, mid);
        int c;
        if (leaf->prefix[slot] != prefix) {
            c = leaf->prefix[slot] < prefix ? -1 : 1;
        } else {
            uint32_t ref = atomic_load_explicit(&leaf->record[slot], memory_order_acquire);
            c = compare_after(tree_key(t, ref), key, leaf->head.skip);
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
            if (c == 0) {
                *exact = 1;
                return mid;
            }
        }
    }
    return low;
}

/* The position of the child whose subtree may hold key: the last separator <= key. */
static inline unsigned inner_search(const memtree *t, const inner_node *inner, uint64_t perm,
                                    fkv_slice key)
{
    uint64_t prefix = key_prefix(key, inner->head.skip);
    unsigned low = 1, high = perm_count(perm);

    while (low < high) {
        unsigned mid = (low + high) / 2, slot = perm_slot(perm, mid);
        int c;
        if (inner->prefix[slot] != prefix) {
            c = inner->prefix[slot] < prefix ? -1 : 1;
        } else {
            c = compare_after(tree_key(t, inner->key[slot]), key, inner->head.skip);
        }
        if (c <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low - 1;
}

/* Ask for a node's lines together: the search will touch all of them. */
static inline void node_prefetch(const node *n)
{
    const char *p = (const char *)n;
    __builtin_prefetch(p);
    __builtin_prefetch(p + 64);
    __builtin_prefetch(p + 128);
    __builtin_prefetch(p + 192);
}

#endif
