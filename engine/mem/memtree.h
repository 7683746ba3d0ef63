/*
** memtree.h -- an ordered index of records for one writer and many lock-free readers.
**
** It serves twice: as the memtable, where records and nodes share one arena, and as the index of
** a transaction's batch, where the records lie in the batch. Everything in an arena is named by
** its offset, so an arena may be mapped at different addresses by different processes.
**
** Threads: one thread links at a time; any number read beside it. What a reader sees is all that
** was linked before it obtained its view (ordering comes from whoever hands out the view).
*/
#ifndef FKV_MEM_MEMTREE_H
#define FKV_MEM_MEMTREE_H

#include <stdatomic.h>

#include "base/iter.h"
#include "io/env.h"

/* A record, as it lies in a batch, in the log and in the memtable. Followed by the key, 8 bytes of
** expiry for ENTRY_PUT_EXPIRES, and the value; padded with zeros to 8 bytes. The machine must be
** little-endian (checked in memtree.c): the struct is the file format (FORMAT.md, "Records"). */
typedef struct mem_record {
    uint32_t seq;      /* position in its batch, or sequence relative to its memtable */
    uint32_t prev;     /* the version of this key linked before, or 0 */
    uint32_t key_kind; /* key size << 3 | entry_kind */
    uint32_t value_size;
} mem_record;

#define MEM_UNIT 8u /* offsets count units of this many bytes */

static inline entry_kind mem_record_kind(const mem_record *r)
{
    return (entry_kind)(r->key_kind & 7);
}

static inline fkv_slice mem_record_key(const mem_record *r)
{
    return fkv_slice_of(r + 1, r->key_kind >> 3);
}

static inline fkv_slice mem_record_value(const mem_record *r)
{
    size_t extra = mem_record_kind(r) == ENTRY_PUT_EXPIRES ? 8 : 0;
    return fkv_slice_of((const uint8_t *)(r + 1) + (r->key_kind >> 3) + extra, r->value_size);
}

/* 0 unless the kind is ENTRY_PUT_EXPIRES. */
int64_t mem_record_expires(const mem_record *r);

/* Bytes a record takes, padding included. */
size_t mem_record_bytes(entry_kind kind, size_t key_size, size_t value_size);

/* Lay a record out at `at` (8-aligned, mem_record_bytes() long); seq and prev are 0. */
void mem_record_write(void *at, entry_kind kind, fkv_slice key, fkv_slice value,
                      int64_t expires_ms);

/* Which records a reader sees: seq <= limit, less the dead intervals (sorted, disjoint). */
typedef struct mem_interval {
    uint32_t from, to; /* [from, to) */
} mem_interval;

typedef struct mem_view {
    uint32_t limit;
    uint32_t dead_count;
    const mem_interval *dead;
} mem_view;

static inline int mem_view_sees(const mem_view *v, uint32_t seq)
{
    if (seq > v->limit) return 0;
    for (uint32_t i = v->dead_count; i-- > 0;) {
        if (seq >= v->dead[i].to) return 1;
        if (seq >= v->dead[i].from) return 0;
    }
    return 1;
}

typedef struct memtree {
    fkv_env *env;
    uint8_t *arena; /* header, nodes and, in a memtable, records */
    size_t capacity;
    const uint8_t *records; /* base of record offsets */
} memtree;

/* Node bytes that linking n records into an empty tree can take at most, whatever their order
** (see the essay in memtree.c). */
#define MEMTREE_NODE_BYTES(n) ((size_t)(n)*96 + 8192)

/* Map an arena of capacity bytes. records == NULL: records are allocated in the same arena. */
FKV_MUST_CHECK fkv_status memtree_init(memtree *t, fkv_env *env, size_t capacity,
                                       const uint8_t *records);
/* The same in an arena that another tree with its own records has had. */
void memtree_reuse(memtree *t, fkv_env *env, uint8_t *arena, size_t capacity);
void memtree_release(memtree *t); /* zeroed is fine */

/* Forget everything; keeps the mapping. REQUIRES: no reader. */
void memtree_clear(memtree *t);

/* Bytes of the arena in use. */
size_t memtree_used(const memtree *t);

/* `bytes` of the arena, 8-aligned, as an offset in units. REQUIRES: they fit. */
uint32_t memtree_alloc(memtree *t, size_t bytes);

static inline mem_record *memtree_at(const memtree *t, uint32_t ref)
{
    return (mem_record *)(uintptr_t)(t->records + (size_t)ref * MEM_UNIT);
}

/* Make a record, complete but for prev, findable. Of two records with one key the one linked later
** is the newer. REQUIRES: node space (MEMTREE_NODE_BYTES). Cannot fail. */
void memtree_link(memtree *t, uint32_t ref);

/* memtree_link for all point records in the arena, in its order; there are at most so many.
** REQUIRES: none of them is linked, the arena holds nothing else, node space, no reader. */
void memtree_link_all(memtree *t, size_t most);

/* The newest visible point record of key, or NULL. A range tombstone may be newer: ask
** memtree_covered. */
const mem_record *memtree_get(const memtree *t, fkv_slice key, const mem_view *view);

/* The highest seq of a visible range tombstone over key, 0 if none; *from, *to are its bounds. */
uint32_t memtree_covered(const memtree *t, fkv_slice key, const mem_view *view, fkv_slice *from,
                         fkv_slice *to);

/* Nothing linked (that this reader may see). */
int memtree_empty(const memtree *t);

/* Number of range tombstones linked. */
uint32_t memtree_ranges(const memtree *t);

/* The i-th most recent range tombstone's record, following prev from this head; 0 = none. */
uint32_t memtree_range_head(const memtree *t);

/* An iterator over the newest visible version of each key. Records under a newer range tombstone
** of this tree come out as ENTRY_DELETE. The tree, and the dead list of the view, must outlive
** it. */
FKV_MUST_CHECK fkv_status memtree_iter_new(const memtree *t, const mem_view *view, iter **out);

/* Walk everything: keys must ascend and each must be found by a search. Returns their number, or
** UINT64_MAX if not so. For tests. */
uint64_t memtree_check(const memtree *t);

#endif
