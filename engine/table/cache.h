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

/* Where a table looks for one of its blocks: 0, the address of a cached block, which knows the slot
** in turn, or an odd number: when that went (cache.c). Zeroed when it is made, and given to
** cache_forget before it goes. */
typedef struct cache_slot {
    _Atomic uintptr_t at;
} cache_slot;

/* A block with room for `size` bytes, or NULL. */
block *block_new(size_t size);
void block_unref(block *b); /* NULL is fine */

/* The slot's block with a reference for the caller, or NULL. cache may be NULL. */
block *cache_find(block_cache *cache, cache_slot *slot);

/* The same for a scan, which is no reason to keep the block for longer. */
block *cache_peek(block_cache *cache, cache_slot *slot);

/* Remember b: for a while, or, if there is room or it has been here lately, for as long as it is of
** use. The caller keeps its reference. If another thread was faster, its block stays. */
void cache_add(block_cache *cache, cache_slot *slot, block *b);

/* What a scan has read: kept only in space that nothing uses yet, as the first to go. */
int cache_has_room(block_cache *cache, cache_slot *slot, size_t size);
void cache_offer(block_cache *cache, cache_slot *slot, block *b); /* nothing else goes for it */

/* Begin to bring near what a reader of the slot's block will look at first. */
static inline void cache_fetch(const cache_slot *slot)
{
    uintptr_t at = atomic_load_explicit(&slot->at, memory_order_relaxed);

    if (!at || at & 1) return; /* whether it is still cached does not matter: nothing is read */
    __builtin_prefetch((const void *)at);
    __builtin_prefetch((const void *)(at - 32));
}

/* An open table keeps so many bytes; it has given them back. cache may be NULL. */
void cache_charge(block_cache *cache, size_t bytes);
void cache_discharge(block_cache *cache, size_t bytes);

/* Empty the slot, which nobody else uses any more. */
void cache_forget(block_cache *cache, cache_slot *slot);

#endif
