/* cache.h -- blocks and the cache that keeps them, inside table/. */
#ifndef FKV_TABLE_CACHE_H
#define FKV_TABLE_CACHE_H

#include <stdatomic.h>

#include "table/table.h"

/* An uncompressed block. Made with one reference; immutable once shared. */
typedef struct block {
    _Atomic uint32_t refs;
    uint64_t file_id, offset;
    size_t size;
    struct block *hash_next, *newer, *older; /* guarded by the shard's mutex */
    uint8_t data[];
} block;

/* A block with room for `size` bytes, or NULL. */
block *block_new(size_t size);
void block_unref(block *b); /* NULL is fine */

/* The cached block with a reference for the caller, or NULL. cache may be NULL. */
block *cache_find(block_cache *cache, uint64_t file_id, uint64_t offset);

/* The same for a scan: the block does not become younger, which would touch its neighbours. */
block *cache_peek(block_cache *cache, uint64_t file_id, uint64_t offset);

/* Remember b (file_id, offset set by the caller) if there is room or something older can go. The
** caller keeps its reference. If another thread was faster, its block stays. */
void cache_add(block_cache *cache, block *b);

/* What a scan has read: kept only in space that nothing uses yet, as the first to go. */
int cache_has_room(block_cache *cache, uint64_t file_id, uint64_t offset, size_t size);
void cache_offer(block_cache *cache, block *b); /* as cache_add, but nothing else goes for it */

#endif
