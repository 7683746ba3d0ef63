/*
** index.h -- from key to data block.
**
**   index := entry* count(4)
**   entry := key-size(varint) separator offset(varint) size(varint)
**
** One entry per data block. The separator is >= every key in its block and < every key in the
** next: the shortest such key, not necessarily one that exists.
**
** In memory it stays as it is, for keys and handles to be decoded when they are asked for: few are,
** and there is an entry for every four thousand bytes of data. A search compares integers, the
** separators' first eight bytes after their common prefix. They stand in an array, each with the
** slot of its block in the cache, which is what is wanted next; and every sixteenth of them once
** more, in an array that is small enough to stay near, so that a search misses the processor's
** caches once.
*/
#ifndef FKV_TABLE_INDEX_H
#define FKV_TABLE_INDEX_H

#include "table/cache.h"
#include "table/format.h"

/* What a search looks at, and what a hit in the cache needs: together, and dense. */
typedef struct index_place {
    uint64_t prefix; /* of the separator, behind what all have in common */
    cache_slot slot;
} index_place;

typedef struct table_index {
    block *bytes;
    uint32_t *at; /* where in them each entry begins */
    index_place *places;
    uint64_t *samples; /* the prefixes that end each full group of places */
    size_t count;
    fkv_slice common; /* the prefix that all separators share, in the first of them */
} table_index;

/* Append an entry to an index being built; finish with index_finish. */
void index_append(buf *index, fkv_slice separator, block_handle handle);
void index_finish(buf *index, uint32_t count);

/* The shortest key that is >= low and < high, into out. high.data == NULL: any key >= low. */
void index_separator(fkv_slice low, fkv_slice high, buf *out);

/* Take over `bytes` (also on failure) and parse it. FKV_CORRUPT (without a place) if malformed or
** if the blocks do not fill [0, data_end) end to end. */
FKV_MUST_CHECK fkv_status index_open(table_index *x, block *bytes, uint64_t data_end);
void index_release(table_index *x); /* zeroed is fine */

/* The separator of block i, and the block. */
fkv_slice index_key(const table_index *x, size_t i);
block_handle index_handle(const table_index *x, size_t i);

/* Bytes that it keeps in memory. */
size_t index_memory(const table_index *x);

/* First block whose separator is >= key: the only one that can hold it. count if none. */
size_t index_find(const table_index *x, fkv_slice key);

#endif
