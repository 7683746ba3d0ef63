/*
** memtree_bulk.c -- making all records of an arena findable at once.
**
** Linking one at a time costs a search each, through nodes that lie anywhere: half a microsecond,
** which for a log of 30 MB is most of what opening the store takes. Sorted first they are laid
** into leaves one after the other, and it is less than a tenth: records are passed over once, in
** the order in which they lie, and leaves take their prefixes from the sort. (To look at each key
** again, which lies anywhere, was as long as all the rest.)
**
** Sorting goes by eight bytes after what all keys share (guessed from the first few), byte by byte
** from the last (a stable radix sort; a byte that is the same in all is passed over), then by
** whole keys where those eight are the same. Records of one key keep the order of the arena, which
** is that of their age, and are chained.
**
** Nodes are born with as many slots filled as a split leaves, so that what memtree.c says of space
** holds for what is linked later.
*/
#include <stdlib.h>

#include "base/alloc.h"
#include "mem/memtree_node.h"

enum { LEAF_FILL = 8, INNER_FILL = 8, AHEAD = 32, GUESS_FROM = 16 };

typedef struct item {
    uint64_t prefix;
    uint32_t record;
} item;

static size_t record_units(const mem_record *r)
{
    return mem_record_bytes(mem_record_kind(r), r->key_kind >> 3, r->value_size) / MEM_UNIT;
}

static int is_point(const mem_record *r)
{
    entry_kind kind = mem_record_kind(r);

    return kind != ENTRY_RANGE_DELETE && kind != ENTRY_NEW_SPACE;
}

static uint32_t records_end(const memtree *t)
{
    return (uint32_t)(memtree_used(t) / MEM_UNIT);
}

enum { RECORDS_BEGIN = sizeof(arena_header) / MEM_UNIT };

/* What the first few share: a guess at what all do. */
static size_t guess_skip(const memtree *t)
{
    fkv_slice shared = {0};
    int count = 0;

    for (uint32_t ref = RECORDS_BEGIN; ref < records_end(t) && count < GUESS_FROM;) {
        const mem_record *r = memtree_at(t, ref);
        if (is_point(r)) {
            fkv_slice key = mem_record_key(r);
            shared.size = count++ ? slice_common(shared, key) : key.size;
            if (count == 1) shared.data = key.data;
        }
        ref += (uint32_t)record_units(r);
    }
    return shared.size;
}

/* All of them, by the eight bytes after *skip, and none with an older version yet: to say that of
** each in key order would be a cache miss for each. Returns how many. *skip is lowered to what all
** share; if it was, what has been gathered is no good. */
static size_t gather(memtree *t, item *items, size_t *skip)
{
    fkv_slice shared = {NULL, *skip};
    size_t count = 0;

    for (uint32_t ref = RECORDS_BEGIN; ref < records_end(t);) {
        mem_record *r = memtree_at(t, ref);
        if (is_point(r)) {
            fkv_slice key = mem_record_key(r);
            if (!shared.data) shared.data = key.data;
            shared.size = slice_common(shared, key);
            items[count++] = (item){key_prefix(key, *skip), ref};
            r->prev = 0;
        }
        ref += (uint32_t)record_units(r);
    }
    *skip = shared.size;
    return count;
}

/* By one byte of the prefix. 0: all have the same. */
static int sort_by_byte(const item *from, item *to, size_t count, unsigned shift)
{
    size_t at[256] = {0}, next = 0;

    for (size_t i = 0; i < count; i++) at[from[i].prefix >> shift & 255]++;
    if (at[from[0].prefix >> shift & 255] == count) return 0;
    for (int b = 0; b < 256; b++) {
        size_t n = at[b];
        at[b] = next;
        next += n;
    }
    for (size_t i = 0; i < count; i++) to[at[from[i].prefix >> shift & 255]++] = from[i];
    return 1;
}

typedef struct long_keys {
    const memtree *t;
    size_t skip;
} long_keys;

static int compare_items(const void *a, const void *b, void *arg)
{
    const item *x = a, *y = b;
    const long_keys *l = arg;
    int c = compare_after(tree_key(l->t, x->record), tree_key(l->t, y->record), l->skip);

    return c ? c : (x->record > y->record) - (x->record < y->record);
}

/* Those with the same eight bytes. */
static void sort_rest(const memtree *t, item *items, size_t count, size_t skip)
{
    long_keys l = {t, skip};

    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && items[to].prefix == items[from].prefix;) to++;
        if (to - from > 1) qsort_r(items + from, to - from, sizeof *items, compare_items, &l);
    }
}

/* One record for each key, the newest, with the others behind it; returns how many. */
static size_t chain(memtree *t, item *items, size_t count, size_t skip)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t ref = items[i].record;
        int again = n > 0 && items[i].prefix == items[n - 1].prefix &&
                    compare_after(tree_key(t, ref), tree_key(t, items[n - 1].record), skip) == 0;
        if (again) memtree_at(t, ref)->prev = items[n - 1].record;
        items[again ? n - 1 : n++] = items[i];
    }
    return n;
}

/* Do the eight bytes that we have tell these keys apart, and are they all that a leaf needs? At the
** edges of the tree a key may come that does not share what all share now. */
static int is_inside(const item *items, size_t from, size_t size, size_t count)
{
    if (from == 0 || from + size == count) return 0;
    for (size_t i = from; i < from + size; i++)
        if (items[i].prefix == items[i + 1].prefix) return 0;
    return 1;
}

/* The leaves; returns how many. Most are made without a look at a key, which lies anywhere. */
static size_t build_leaves(memtree *t, const item *items, size_t count, size_t skip,
                           child_entry *out)
{
    size_t n = 0;

    for (size_t from = 0; from < count; from += LEAF_FILL) {
        size_t size = count - from < LEAF_FILL ? count - from : LEAF_FILL;
        int inside = is_inside(items, from, size, count);
        uint64_t prefix[LEAF_FILL];
        child_entry records[LEAF_FILL];
        uint32_t ref;
        for (size_t i = 0; i < size; i++) {
            prefix[i] = items[from + i].prefix;
            records[i] = (child_entry){items[from + i].record, items[from + i].record};
        }
        ref = inside ? memtree_build_leaf_of(t, records, prefix, (unsigned)size, skip)
                     : memtree_build_leaf(t, records, (unsigned)size, from ? items[from].record : 0,
                                          from + size < count ? items[from + size].record : 0);
        out[n++] = (child_entry){items[from].record, ref};
    }
    return n;
}

/* Replace nodes, count of them, by the inner nodes above; returns how many those are. */
static size_t build_level(memtree *t, child_entry *children, size_t count, unsigned level)
{
    size_t n = 0;

    for (size_t from = 0; from < count; from += INNER_FILL, n++) {
        size_t size = count - from < INNER_FILL ? count - from : INNER_FILL;
        uint32_t low = from ? children[from].key : 0;
        uint32_t high = from + size < count ? children[from + size].key : 0;
        /* Keys lie anywhere. (A function that did only this GCC would take for one that does
        ** nothing.) */
        for (size_t i = from + AHEAD; i < from + AHEAD + INNER_FILL && i < count; i++) {
            const mem_record *r = memtree_at(t, children[i].key);
            __builtin_prefetch(r);
            __builtin_prefetch(r + 1);
        }
        uint32_t ref = memtree_build_inner(t, level, children + from, (unsigned)size, low, high);
        children[n] = (child_entry){children[from].key, ref};
    }
    return n;
}

static void build(memtree *t, const item *items, size_t count, size_t skip, child_entry *nodes)
{
    count = build_leaves(t, items, count, skip, nodes);
    for (unsigned level = 1; count > 1; level++) count = build_level(t, nodes, count, level);
    atomic_store_explicit(&tree_header(t)->root, nodes[0].child, memory_order_release);
}

static void link_one_by_one(memtree *t)
{
    uint32_t end = records_end(t); /* nodes come behind it */

    for (uint32_t ref = RECORDS_BEGIN; ref < end;) {
        const mem_record *r = memtree_at(t, ref);
        uint32_t next = ref + (uint32_t)record_units(r);
        if (is_point(r)) memtree_link(t, ref);
        ref = next;
    }
}

void memtree_link_all(memtree *t, size_t most)
{
    item *items = most ? alloc_bytes(most * 2 * sizeof *items) : NULL, *from = items, *to;
    size_t count = 0, skip, guess;

    if (!items) {
        link_one_by_one(t);
        return;
    }
    skip = guess_skip(t);
    do {
        if (skip > UINT16_MAX) skip = UINT16_MAX; /* what a node can say */
        guess = skip;
        count = gather(t, items, &skip);
    } while (skip < guess);
    to = items + count;
    for (unsigned shift = 0; count > 1 && shift < 64; shift += 8) {
        if (sort_by_byte(from, to, count, shift)) {
            item *other = from;
            from = to;
            to = other;
        }
    }
    sort_rest(t, from, count, skip);
    count = chain(t, from, count, skip);
    if (count) build(t, from, count, skip, (child_entry *)(void *)to); /* the half that is free */
    alloc_free(items);
}
