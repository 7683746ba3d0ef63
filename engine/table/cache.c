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
**
** Nor does a block that is asked for in one place only. Where rows are read at random out of many
** more than fit, whatever comes in goes before it is of use, and that coming and going, all of it
** in memory that no processor cache holds, was a quarter of a read. So who comes to a full shard is
** its guest until the next one comes, which is long enough for rows that are read one after the
** other (a large block not even that); and is let in by coming again before others have passed
** through with as much memory as the shard has: had it been let in at once, it might be here still.
** (The doorkeeper and the window of W-TinyLFU, Einziger, Friedman and Manes; but exact, because
** each slot has room to note when its block went.) Blocks that fit are all here after each of them
** has come twice, in whatever order.
*/
#include "table/cache.h"

#include "base/alloc.h"
#include "base/sabotage.h"

enum { SHARDS = 16, SLOT_SPACING = 16, HEADER_ALIGN = 16, GUEST_SHARE = 8 };

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
    block *guest;     /* not in the ring; NULL = none */
    uintptr_t passed; /* bytes of those who went again */
    uint8_t padding[128 - 8 * 8];
} shard;

_Static_assert(sizeof(void *) != 8 || sizeof(shard) == 128, "see shard");

struct block_cache {
    fkv_env *env;
    _Atomic size_t capacity, floor, tables; /* all of it; what tables leave alone; what they have */
    shard shards[SHARDS];
};

/* With what malloc loses where blocks of differing sizes come and go (8 % in random ranges). */
static size_t charge_of(size_t size)
{
    return sizeof(block) + size + size / 16;
}

static size_t charge(const block *b)
{
    return charge_of(b->size);
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
    uintptr_t at = atomic_load_explicit(&slot->at, memory_order_acquire);

    return at & 1 ? NULL : (block *)at;
}

static void set_slot(cache_slot *slot, uintptr_t at)
{
    atomic_store_explicit(&slot->at, at, memory_order_release);
}

/* mark: what its slot keeps of it, 0 or odd. */
static void drop(shard *s, block *b, uintptr_t mark)
{
    if (s->guest == b) {
        s->guest = NULL;
    } else {
        ring_remove(s, b);
    }
    s->bytes -= charge(b);
    set_slot(b->slot, mark); /* from here on it may be gone, see cache_forget */
    b->slot = NULL;
    block_unref(b);
}

static void keep(shard *s, cache_slot *slot, block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    b->touched = 0;
    b->slot = slot;
    s->bytes += charge(b);
    set_slot(slot, (uintptr_t)b);
}

/* REQUIRES: there is one. Ends: every block passed has lost its mark. */
static void evict_one(shard *s)
{
    for (; s->hand->touched; s->hand = s->hand->older) s->hand->touched = 0;
    drop(s, s->hand, 0);
}

static int has_room(const shard *s, size_t bytes)
{
    return s->bytes + bytes <= s->capacity;
}

static void make_room(shard *s, size_t bytes)
{
    while (!has_room(s, bytes) && s->hand) evict_one(s);
    if (!has_room(s, bytes) && s->guest) drop(s, s->guest, 0);
}

static uintptr_t mark_now(const shard *s)
{
    return s->passed << 1 | 1;
}

static void see_off_guest(shard *s)
{
    if (!s->guest) return;
    s->passed += charge(s->guest);
    drop(s, s->guest, mark_now(s));
}

/* For a block that would stay for no time. 0: it is too large. */
static int receive(shard *s, cache_slot *slot, block *b)
{
    if (charge(b) > s->capacity / GUEST_SHARE) {
        s->passed += charge(b);
        set_slot(slot, mark_now(s));
        return 0;
    }
    see_off_guest(s);
    make_room(s, charge(b));
    s->guest = b;
    return 1;
}

/* Was the block of this empty slot a guest lately? */
static int came_back(const shard *s, const cache_slot *slot)
{
    uintptr_t at = atomic_load_explicit(&slot->at, memory_order_relaxed);

    return at && (mark_now(s) - at) >> 1 <= s->bytes;
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
        if (has_room(s, charge(b)) || came_back(s, slot)) {
            make_room(s, charge(b));
            ring_insert(s, b);
            keep(s, slot, b);
        } else if (receive(s, slot, b)) {
            keep(s, slot, b);
        }
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
    room = has_room(s, charge_of(size));
    cache->env->mutex_unlock(cache->env, s->mu);
    return room;
}

void cache_offer(block_cache *cache, cache_slot *slot, block *b)
{
    shard *s;

    if (!cache) return;
    s = shard_of(cache, slot);
    cache->env->mutex_lock(cache->env, s->mu);
    if (has_room(s, charge(b)) && !in_slot(slot)) {
        ring_insert(s, b);
        s->hand = b;
        keep(s, slot, b);
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
    if (b) drop(s, b, 0);
    cache->env->mutex_unlock(cache->env, s->mu);
}

/* Of two threads that get here, the last one in each shard sees what both have changed. */
static void share_out(block_cache *cache)
{
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &cache->shards[i];
        size_t all, floor, tables;
        cache->env->mutex_lock(cache->env, s->mu);
        all = atomic_load(&cache->capacity);
        floor = atomic_load(&cache->floor);
        tables = atomic_load(&cache->tables);
        s->capacity = (all > floor && tables < all - floor ? all - tables : floor) / SHARDS;
        make_room(s, 0);
        cache->env->mutex_unlock(cache->env, s->mu);
    }
}

void cache_charge(block_cache *cache, size_t bytes)
{
    if (!cache) return;
    atomic_fetch_add(&cache->tables, bytes);
    share_out(cache);
}

void cache_discharge(block_cache *cache, size_t bytes)
{
    if (!cache || !bytes) return;
    atomic_fetch_sub(&cache->tables, bytes);
    share_out(cache);
}

fkv_status block_cache_new(fkv_env *env, size_t capacity_bytes, size_t floor_bytes,
                           block_cache **out)
{
    block_cache *cache = alloc_zero(sizeof *cache);
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!cache) return FKV_RAISE(FKV_NOMEM);
    cache->env = env;
    for (int i = 0; i < SHARDS && !rc; i++) rc = env->mutex_new(env, &cache->shards[i].mu);
    if (rc) {
        block_cache_free(cache);
        return rc;
    }
    block_cache_resize(cache, capacity_bytes, floor_bytes);
    *out = cache;
    return FKV_OK;
}

void block_cache_free(block_cache *cache)
{
    if (!cache) return;
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &cache->shards[i];
        while (s->hand) drop(s, s->hand, 0);
        if (s->guest) drop(s, s->guest, 0);
        cache->env->mutex_free(cache->env, s->mu);
    }
    alloc_free(cache);
}

void block_cache_resize(block_cache *cache, size_t capacity_bytes, size_t floor_bytes)
{
    atomic_store(&cache->capacity, capacity_bytes);
    atomic_store(&cache->floor, floor_bytes);
    share_out(cache);
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
