/*
** index.h -- from key to data block.
**
**   index := entry* count(4)
**   entry := key-size(varint) separator offset(varint) size(varint)
**
** One entry per data block. The separator is >= every key in its block and < every key in the
** next: the shortest such key, not necessarily one that exists. In memory the separators' first
** eight bytes after their common prefix stand in an array, so a search compares integers, each with
** the slot of its block in the cache, which is what is wanted next.
*/
#ifndef FKV_TABLE_INDEX_H
#define FKV_TABLE_INDEX_H

#include "table/cache.h"
#include "table/format.h"

typedef struct index_entry {
    uint32_t key_at, key_size; /* in bytes->data */
    block_handle handle;
} index_entry;

/* What a search looks at, and what a hit in the cache needs: together, and dense. */
typedef struct index_place {
    uint64_t prefix; /* of the separator, behind `skip` */
    cache_slot slot;
} index_place;

typedef struct table_index {
    block *bytes;
    index_entry *entries;
    index_place *places;
    size_t count;
    size_t skip; /* length of the prefix that all separators share */
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

/* The separator of block i. */
fkv_slice index_key(const table_index *x, size_t i);

/* First block whose separator is >= key: the only one that can hold it. count if none. */
size_t index_find(const table_index *x, fkv_slice key);

#endif
