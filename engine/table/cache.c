/*
** cache.c -- the blocks that are kept in memory, by the clock.
**
** There is no table of what is cached: each open table has a slot for each of its blocks, beside
** the key that leads to it, so that finding one costs a cache line that the search has brought
** in already (a hash table cost two more, a fifth of a point read). A table that is closed empties
** its slots: blocks of files that are gone leave at once.
**
** Sixteen shards, each a ring of blocks with a hand, under its own mutex; the address of a slot
** tells its shard. A block that is found is marked, no more: moving it in a list would touch its
** neighbours, which lie anywhere. When room is needed the hand goes round: a marked block loses its
** mark, one without goes (Corbato's clock, an approximation of least recently used).
**
** The cache holds one reference to each block it lists, so a block that somebody reads lives on
** after it has gone from here. Bytes in use by readers alone are not counted: they are few. A block
** larger than a shard's share of the capacity is not kept. What a scan reads comes in under the
** hand and only while there is room: a scan never drives out what point reads have asked for.
*/
#include "table/cache.h"

#include "base/alloc.h"
#include "base/sabotage.h"

enum { SHARDS = 16, SLOT_SPACING = 16, HEADER_ALIGN = 16 };

/* So that the address sanitizer sees a read behind the end of a block's bytes. */
#ifdef __SANITIZE_ADDRESS__
enum { HEADER_FIRST = 1 };
#else
enum { HEADER_FIRST = 0 };
#endif

/* Padded to two cache lines: threads work in different shards at the same time. */
typedef struct shard {
    env_mutex *mu;
    size_t bytes, capacity;
    block *hand; /* the next to be looked at, and by `older` the ones after it; NULL = empty */
    uint64_t hits, misses;
    uint8_t padding[128 - 6 * 8];
} shard;

_Static_assert(sizeof(void *) != 8 || sizeof(shard) == 128, "see shard");

struct block_cache {
    fkv_env *env;
    shard shards[SHARDS];
};

static size_t charge(const block *b)
{
    return sizeof *b + b->size;
}

block *block_new(size_t size)
{
    size_t room = (size + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    uint8_t *data;
    block *b;

    if (size > SIZE_MAX - HEADER_ALIGN - sizeof *b) return NULL;
    data = alloc_bytes(room + sizeof *b);
    if (!data) return NULL;
    b = (block *)(void *)(HEADER_FIRST ? data : data + room);
    if (HEADER_FIRST) data += sizeof *b;
    *b = (block){.size = size, .data = data};
    atomic_init(&b->refs, 1);
    return b;
}

void block_unref(block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        alloc_free(HEADER_FIRST ? (void *)b : (void *)b->data);
}

/* Put b where the hand comes last. */
static void ring_insert(shard *s, block *b)
{
    if (!s->hand) {
        b->newer = b->older = s->hand = b;
        return;
    }
    b->older = s->hand;
    b->newer = s->hand->newer;
    b->newer->older = b;
    s->hand->newer = b;
}

static void ring_remove(shard *s, block *b)
{
    if (s->hand == b) s->hand = b->older == b ? NULL : b->older;
    b->newer->older = b->older;
    b->older->newer = b->newer;
    b->newer = b->older = NULL;
}

static block *in_slot(cache_slot *slot)
{
    return atomic_load_explicit(&slot->block, memory_order_acquire);
}

static void drop(shard *s, block *b)
{
    ring_remove(s, b);
    s->bytes -= charge(b);
    /* From here on a slot may be gone, see cache_forget. */
    atomic_store_explicit(&b->slot->block, NULL, memory_order_release);
    b->slot = NULL;
    block_unref(b);
}

static void keep(shard *s, cache_slot *slot, block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    b->touched = 0;
    b->slot = slot;
    ring_insert(s, b);
    s->bytes += charge(b);
    atomic_store_explicit(&slot->block, b, memory_order_release);
}

/* REQUIRES: there is one. Ends: every block passed has lost its mark. */
static void evict_one(shard *s)
{
    for (; s->hand->touched; s->hand = s->hand->older) s->hand->touched = 0;
    drop(s, s->hand);
}

static shard *shard_of(block_cache *cache, const cache_slot *slot)
{
    return &cache->shards[(uintptr_t)slot / SLOT_SPACING % SHARDS];
}

static block *find(block_cache *cache, cache_slot *slot, uint8_t touch)
{
    shard *s;
    block *b;

    if (!cache) return NULL;
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    b = in_slot(slot);
    if (b) {
        if (!SABOTAGE(9)) atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        b->touched |= touch;
        s->hits++;
    } else {
        s->misses++;
    }
    cache->env->mutex_unlock(cache->env, s->mu);
    return b;
}

block *cache_find(block_cache *cache, cache_slot *slot)
{
    return find(cache, slot, 1);
}

block *cache_peek(block_cache *cache, cache_slot *slot)
{
    return find(cache, slot, 0);
}

void cache_add(block_cache *cache, cache_slot *slot, block *b)
{
    shard *s;

    if (!cache) return;
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    if (!in_slot(slot) && charge(b) <= s->capacity) {
        while (s->bytes + charge(b) > s->capacity && s->hand) evict_one(s);
        keep(s, slot, b);
    }
    cache->env->mutex_unlock(cache->env, s->mu);
}

int cache_has_room(block_cache *cache, cache_slot *slot, size_t size)
{
    shard *s;
    int room;

    if (!cache) return 0;
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    room = s->bytes + sizeof(block) + size <= s->capacity;
    cache->env->mutex_unlock(cache->env, s->mu);
    return room;
}

void cache_offer(block_cache *cache, cache_slot *slot, block *b)
{
    shard *s;

    if (!cache) return;
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    if (s->bytes + charge(b) <= s->capacity && !in_slot(slot)) {
        keep(s, slot, b);
        s->hand = b;
    }
    cache->env->mutex_unlock(cache->env, s->mu);
}

void cache_forget(block_cache *cache, cache_slot *slot)
{
    shard *s;
    block *b;

    if (!cache || !in_slot(slot)) return; /* once empty it stays so: only its table fills it */
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    b = in_slot(slot); /* or evicted meanwhile */
    if (b) drop(s, b);
    cache->env->mutex_unlock(cache->env, s->mu);
}

fkv_status block_cache_new(fkv_env *env, size_t capacity_bytes, block_cache **out)
{
    block_cache *cache = alloc_zero(sizeof *cache);
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!cache) return FKV_RAISE(FKV_NOMEM);
    cache->env = env;
    for (int i = 0; i < SHARDS && !rc; i++) {
        shard *s = &cache->shards[i];
        s->capacity = capacity_bytes / SHARDS;
        rc = env->mutex_new(env, &s->mu);
    }
    if (rc) {
        block_cache_free(cache);
        return rc;
    }
    *out = cache;
    return FKV_OK;
}

void block_cache_free(block_cache *cache)
{
    if (!cache) return;
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &cache->shards[i];
        while (s->hand) drop(s, s->hand);
        cache->env->mutex_free(cache->env, s->mu);
    }
    alloc_free(cache);
}

void block_cache_resize(block_cache *cache, size_t capacity_bytes)
{
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &cache->shards[i];
        cache->env->mutex_lock(cache->env, s->mu);
        s->capacity = capacity_bytes / SHARDS;
        while (s->bytes > s->capacity && s->hand) evict_one(s);
        cache->env->mutex_unlock(cache->env, s->mu);
    }
}

void block_cache_stats(block_cache *cache, cache_stats *out)
{
    *out = (cache_stats){0};
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &cache->shards[i];
        cache->env->mutex_lock(cache->env, s->mu);
        out->hits += s->hits;
        out->misses += s->misses;
        out->bytes += s->bytes;
        out->capacity += s->capacity;
        cache->env->mutex_unlock(cache->env, s->mu);
    }
}
