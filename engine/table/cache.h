/* cache.h -- blocks and the cache that keeps them, inside table/. */
#ifndef FKV_TABLE_CACHE_H
#define FKV_TABLE_CACHE_H

#include <stdatomic.h>

#include "table/table.h"

/* An uncompressed block. Made with one reference; immutable once shared. The header lies behind the
** bytes: whoever looks into a block reads the header and the restarts, which are its last bytes,
** and so waits for one place in memory instead of two. */
typedef struct block {
    _Atomic uint32_t refs;
    uint8_t touched; /* guarded by the shard's mutex, as all below */
    size_t size;     /* except this */
    struct cache_slot *slot;
    struct block *newer, *older;
    uint8_t *data;
} block;

/* Where a table looks for one of its blocks: NULL or a cached block, which knows the slot in turn.
** Zeroed when it is made, and given to cache_forget before it goes. */
typedef struct cache_slot {
    _Atomic(block *) block;
} cache_slot;

/* A block with room for `size` bytes, or NULL. */
block *block_new(size_t size);
void block_unref(block *b); /* NULL is fine */

/* The slot's block with a reference for the caller, or NULL. cache may be NULL. */
block *cache_find(block_cache *cache, cache_slot *slot);

/* The same for a scan, which is no reason to keep the block for longer. */
block *cache_peek(block_cache *cache, cache_slot *slot);

/* Remember b if there is room or something older can go. The caller keeps its reference. If another
** thread was faster, its block stays. */
void cache_add(block_cache *cache, cache_slot *slot, block *b);

/* What a scan has read: kept only in space that nothing uses yet, as the first to go. */
int cache_has_room(block_cache *cache, cache_slot *slot, size_t size);
void cache_offer(block_cache *cache, cache_slot *slot, block *b); /* nothing else goes for it */

/* Empty the slot, which nobody else uses any more. */
void cache_forget(block_cache *cache, cache_slot *slot);

#endif
