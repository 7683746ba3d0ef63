/*
** memtree_bulk.c -- making all records of an arena findable at once.
**
** Linking one at a time costs a search each, through nodes that lie anywhere: half a microsecond,
** which for a log of 30 MB is most of what opening the store takes. Sorted first they are laid into
** leaves one after the other: a third of that.
**
** Sorting goes by eight bytes after what all keys share, byte by byte from the last (a stable radix
** sort; a byte that is the same in all is passed over), then by whole keys where those eight are
** the same. Records of one key keep the order of the arena, which is that of their age, and are
** chained.
**
** Nodes are born with as many slots filled as a split leaves, so that what memtree.c says of space
** holds for what is linked later.
*/
#include <stdlib.h>

#include "base/alloc.h"
#include "mem/memtree_node.h"

enum { LEAF_FILL = 8, INNER_FILL = 8, AHEAD = 32 };

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

/* How many, and how many leading bytes all of them share. */
static size_t survey(const memtree *t, size_t *skip)
{
    fkv_slice first = {0};
    size_t count = 0;

    *skip = 0;
    for (uint32_t ref = RECORDS_BEGIN; ref < records_end(t);) {
        const mem_record *r = memtree_at(t, ref);
        if (is_point(r)) {
            fkv_slice key = mem_record_key(r);
            if (count++ == 0) {
                first = key;
                *skip = key.size;
            } else {
                *skip = slice_common(fkv_slice_of(first.data, *skip), key);
            }
        }
        ref += (uint32_t)record_units(r);
    }
    return count;
}

/* All of them, none with an older version yet: to say that of each in key order would be a cache
** miss for each. */
static void gather(memtree *t, item *items, size_t skip)
{
    for (uint32_t ref = RECORDS_BEGIN; ref < records_end(t);) {
        mem_record *r = memtree_at(t, ref);
        if (is_point(r)) {
            *items++ = (item){key_prefix(mem_record_key(r), skip), ref};
            r->prev = 0;
        }
        ref += (uint32_t)record_units(r);
    }
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
static size_t chain(memtree *t, const item *items, size_t count, size_t skip, child_entry *out)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t ref = items[i].record;
        int again = i > 0 && items[i].prefix == items[i - 1].prefix &&
                    compare_after(tree_key(t, ref), tree_key(t, items[i - 1].record), skip) == 0;
        if (again) memtree_at(t, ref)->prev = items[i - 1].record;
        out[again ? n - 1 : n++] = (child_entry){ref, ref};
    }
    return n;
}

/* Replace children, count of them, by the nodes above them; returns how many those are. */
static size_t build_level(memtree *t, child_entry *children, size_t count, unsigned level)
{
    size_t fill = level ? INNER_FILL : LEAF_FILL, n = 0;

    for (size_t from = 0; from < count; from += fill, n++) {
        size_t size = count - from < fill ? count - from : fill;
        uint32_t low = from ? children[from].key : 0;
        uint32_t high = from + size < count ? children[from + size].key : 0;
        /* Keys lie anywhere. (A function that did only this GCC would take for one that does
        ** nothing.) */
        for (size_t i = from + AHEAD; i < from + AHEAD + fill && i < count; i++) {
            const mem_record *r = memtree_at(t, children[i].key);
            __builtin_prefetch(r);
            __builtin_prefetch(r + 1);
        }
        uint32_t ref =
            level ? memtree_build_inner(t, level, children + from, (unsigned)size, low, high)
                  : memtree_build_leaf(t, children + from, (unsigned)size, low, high);
        children[n] = (child_entry){children[from].key, ref};
    }
    return n;
}

static void build(memtree *t, child_entry *children, size_t count)
{
    for (unsigned level = 0; level == 0 || count > 1; level++)
        count = build_level(t, children, count, level);
    atomic_store_explicit(&tree_header(t)->root, children[0].child, memory_order_release);
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

void memtree_link_all(memtree *t)
{
    size_t skip, count = survey(t, &skip);
    item *items = count ? alloc_bytes(count * 2 * sizeof *items) : NULL, *from = items, *to;

    if (!items) {
        link_one_by_one(t);
        return;
    }
    to = items + count;
    gather(t, from, skip);
    for (unsigned shift = 0; shift < 64; shift += 8) {
        if (sort_by_byte(from, to, count, shift)) {
            item *other = from;
            from = to;
            to = other;
        }
    }
    sort_rest(t, from, count, skip);
    /* The half that is free now has room for the children. */
    count = chain(t, from, count, skip, (child_entry *)(void *)to);
    build(t, (child_entry *)(void *)to, count);
    alloc_free(items);
}
