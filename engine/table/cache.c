/*
** cache.c -- a sharded, strict LRU cache of blocks.
**
** Sixteen shards, each a hash table and a list from newest to oldest under its own mutex. The
** cache holds one reference to each block it lists; evicting drops that reference, so a block
** that somebody reads lives on until they let go. Bytes in use by readers alone are not counted:
** they are few. A block larger than a shard's share of the capacity is not kept. What a scan read
** comes in at the old end and only while there is room: a scan never drives out what point reads
** have asked for.
*/
#include "table/cache.h"

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "base/sabotage.h"

enum { SHARDS = 16, BUCKETS_MIN = 64 };

/* Padded to two cache lines: threads work in different shards at the same time. */
typedef struct shard {
    env_mutex *mu;
    block **buckets;
    size_t bucket_count, count;
    size_t bytes, capacity;
    block *newest, *oldest;
    uint64_t hits, misses;
    uint8_t padding[128 - 10 * 8];
} shard;

_Static_assert(sizeof(void *) != 8 || sizeof(shard) == 128, "see shard");

struct block_cache {
    fkv_env *env;
    shard shards[SHARDS];
};

static uint64_t block_hash(uint64_t file_id, uint64_t offset)
{
    uint64_t h = (file_id ^ (offset * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
    return h ^ h >> 32;
}

static size_t charge(const block *b)
{
    return sizeof *b + b->size;
}

block *block_new(size_t size)
{
    block *b = size > SIZE_MAX - sizeof *b ? NULL : alloc_bytes(sizeof *b + size);

    if (!b) return NULL;
    *b = (block){.size = size};
    atomic_init(&b->refs, 1);
    return b;
}

void block_unref(block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) alloc_free(b);
}

static void list_remove(shard *s, block *b)
{
    *(b->newer ? &b->newer->older : &s->newest) = b->older;
    *(b->older ? &b->older->newer : &s->oldest) = b->newer;
    b->newer = b->older = NULL;
}

static void list_push_oldest(shard *s, block *b)
{
    b->newer = s->oldest;
    b->older = NULL;
    *(s->oldest ? &s->oldest->older : &s->newest) = b;
    s->oldest = b;
}

static void list_push(shard *s, block *b)
{
    b->older = s->newest;
    b->newer = NULL;
    *(s->newest ? &s->newest->newer : &s->oldest) = b;
    s->newest = b;
}

static block **bucket_of(shard *s, uint64_t file_id, uint64_t offset)
{
    block **link = &s->buckets[(block_hash(file_id, offset) >> 8) & (s->bucket_count - 1)];

    while (*link && (((*link)->file_id != file_id && !SABOTAGE(9)) || (*link)->offset != offset))
        link = &(*link)->hash_next;
    return link;
}

static void evict_oldest(shard *s)
{
    block *b = s->oldest;
    block **link = bucket_of(s, b->file_id, b->offset);

    *link = b->hash_next;
    list_remove(s, b);
    s->count--;
    s->bytes -= charge(b);
    block_unref(b);
}

/* Keep chains short. Failing to grow costs time, not answers. */
static void grow(shard *s)
{
    size_t count = s->bucket_count * 2;
    block **buckets;

    if (s->count < s->bucket_count) return;
    buckets = alloc_zero(count * sizeof(block *));
    if (!buckets) return;
    for (size_t i = 0; i < s->bucket_count; i++) {
        block *b = s->buckets[i];
        while (b) {
            block *next = b->hash_next;
            block **link = &buckets[(block_hash(b->file_id, b->offset) >> 8) & (count - 1)];
            b->hash_next = *link;
            *link = b;
            b = next;
        }
    }
    alloc_free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
}

/* REQUIRES: not there. The caller puts it into the list. */
static void insert(shard *s, block *b)
{
    block **link;

    grow(s);
    link = bucket_of(s, b->file_id, b->offset);
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    b->hash_next = NULL;
    *link = b;
    s->count++;
    s->bytes += charge(b);
}

static shard *shard_of(block_cache *cache, uint64_t file_id, uint64_t offset)
{
    return &cache->shards[block_hash(file_id, offset) % SHARDS];
}

static block *find(block_cache *cache, uint64_t file_id, uint64_t offset, int rejuvenate)
{
    shard *s;
    block *b;

    if (!cache) return NULL;
    s = shard_of(cache, file_id, offset);
    cache->env->mutex_lock(cache->env, s->mu);
    b = *bucket_of(s, file_id, offset);
    if (b) {
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        if (rejuvenate && s->newest != b) {
            list_remove(s, b);
            list_push(s, b);
        }
        s->hits++;
    } else {
        s->misses++;
    }
    cache->env->mutex_unlock(cache->env, s->mu);
    return b;
}

block *cache_find(block_cache *cache, uint64_t file_id, uint64_t offset)
{
    return find(cache, file_id, offset, 1);
}

block *cache_peek(block_cache *cache, uint64_t file_id, uint64_t offset)
{
    return find(cache, file_id, offset, 0);
}

void cache_add(block_cache *cache, block *b)
{
    shard *s;
    block **link;

    if (!cache) return;
    s = shard_of(cache, b->file_id, b->offset);
    cache->env->mutex_lock(cache->env, s->mu);
    link = bucket_of(s, b->file_id, b->offset);
    if (!*link && charge(b) <= s->capacity) {
        while (s->bytes + charge(b) > s->capacity && s->oldest) evict_oldest(s);
        insert(s, b);
        list_push(s, b);
    }
    cache->env->mutex_unlock(cache->env, s->mu);
}

int cache_has_room(block_cache *cache, uint64_t file_id, uint64_t offset, size_t size)
{
    shard *s;
    int room;

    if (!cache) return 0;
    s = shard_of(cache, file_id, offset);
    cache->env->mutex_lock(cache->env, s->mu);
    room = s->bytes + sizeof(block) + size <= s->capacity;
    cache->env->mutex_unlock(cache->env, s->mu);
    return room;
}

void cache_offer(block_cache *cache, block *b)
{
    shard *s;

    if (!cache) return;
    s = shard_of(cache, b->file_id, b->offset);
    cache->env->mutex_lock(cache->env, s->mu);
    if (s->bytes + charge(b) <= s->capacity && !*bucket_of(s, b->file_id, b->offset)) {
        insert(s, b);
        list_push_oldest(s, b);
    }
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
        s->bucket_count = BUCKETS_MIN;
        s->buckets = alloc_zero(BUCKETS_MIN * sizeof(block *));
        rc = s->buckets ? env->mutex_new(env, &s->mu) : FKV_RAISE(FKV_NOMEM);
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
        while (s->oldest) evict_oldest(s);
        alloc_free(s->buckets);
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
        while (s->bytes > s->capacity && s->oldest) evict_oldest(s);
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
