/* The block cache: what is found is what was put, the capacity holds, pins survive eviction.
** test-modes: release asan tsan */
#include "base/alloc.h"
#include "base/coding.h"
#include "check.h"
#include "table/cache.h"

enum { BLOCK_BYTES = 1000, SLOTS = 20001 };

/* As in a table's index. */
typedef struct place {
    uint64_t other;
    cache_slot slot;
} place;

static place places[SLOTS];

static void begin(void)
{
    memset(places, 0, sizeof places);
}

/* A block whose bytes tell where it belongs. */
static block *make(uint64_t at, size_t size)
{
    block *b = block_new(size);
    if (!b) return NULL;
    memset(b->data, 0, size);
    put_u64(b->data, at);
    return b;
}

static int is(const block *b, uint64_t at)
{
    return get_u64(b->data) == at;
}

static block *look(block_cache *cache, uint64_t at)
{
    return cache_find(cache, &places[at].slot);
}

static void put(block_cache *cache, uint64_t at, size_t size)
{
    block *b = make(at, size);
    REQUIRE(b);
    cache_add(cache, &places[at].slot, b);
    block_unref(b);
}

static void finds_what_was_added(void)
{
    fkv_env *env = env_posix();
    block_cache *cache = NULL;
    cache_stats stats;
    size_t hits = 0;

    REQUIRE_OK(block_cache_new(env, 64 << 20, 0, &cache));
    begin();
    for (uint64_t i = 0; i < 10000; i++) put(cache, i, BLOCK_BYTES);
    for (uint64_t i = 0; i < 10000; i++) {
        block *b = look(cache, i);
        hits += b && is(b, i);
        block_unref(b);
        CHECK(!look(cache, i + 10000));
    }
    CHECK(hits == 10000);
    block_cache_stats(cache, &stats);
    CHECK(stats.hits == 10000 && stats.misses == 10000);
    CHECK(stats.capacity == 64 << 20);
    CHECK(stats.bytes > 10000 * BLOCK_BYTES && stats.bytes < 11000 * (BLOCK_BYTES + 100));
    block_cache_free(cache);
}

static void capacity_holds_and_the_oldest_go(void)
{
    fkv_env *env = env_posix();
    block_cache *cache = NULL;
    cache_stats stats;
    size_t recent = 0;

    REQUIRE_OK(block_cache_new(env, 1 << 20, 0, &cache));
    begin();
    put(cache, 0, BLOCK_BYTES);
    for (uint64_t i = 1; i <= 20000; i++) {
        put(cache, i, BLOCK_BYTES);
        if (i > 16) put(cache, i - 16, BLOCK_BYTES); /* it comes back, and stays */
        if (i % 100 == 0) {
            block *kept = look(cache, 0); /* in use, so never the oldest */
            CHECK(kept);
            block_unref(kept);
            block_cache_stats(cache, &stats);
            CHECK(stats.bytes <= stats.capacity);
        }
    }
    for (uint64_t i = 19585; i <= 19984; i++) {
        block *b = look(cache, i);
        recent += b != NULL;
        block_unref(b);
    }
    CHECK(recent == 400);
    CHECK(!look(cache, 5));
    block_cache_resize(cache, 100 << 10, 0);
    block_cache_stats(cache, &stats);
    CHECK(stats.bytes <= 100 << 10 && stats.capacity <= 100 << 10);
    block_cache_resize(cache, 0, 0);
    block_cache_stats(cache, &stats);
    CHECK(stats.bytes == 0);
    put(cache, 1, BLOCK_BYTES);
    CHECK(!look(cache, 1));
    block_cache_free(cache);
}

static size_t count_kept(block_cache *cache, uint64_t from, uint64_t to)
{
    size_t kept = 0;

    for (uint64_t i = from; i < to; i++) {
        block *b = look(cache, i);
        kept += b != NULL;
        block_unref(b);
    }
    return kept;
}

/* As a table reads them. How many had to be loaded? */
static size_t ask(block_cache *cache, uint64_t from, uint64_t to, size_t size)
{
    size_t loads = 0;

    for (uint64_t i = from; i < to; i++) {
        block *b = look(cache, i);
        if (!b) put(cache, i, size);
        loads += !b;
        block_unref(b);
    }
    return loads;
}

/* Rows read at random out of many more than fit drive nothing out; a new working set does. */
static void what_comes_once_is_not_kept(void)
{
    enum { SET = 800, GUESTS = 32 }; /* of the 900 that fit */
    block_cache *cache = NULL;

    REQUIRE_OK(block_cache_new(env_posix(), 1 << 20, 0, &cache));
    begin();
    CHECK(ask(cache, 0, SLOTS, BLOCK_BYTES) == SLOTS);
    CHECK(ask(cache, 19000, 19016, 30 * BLOCK_BYTES) == 16); /* half of each shard */
    CHECK(count_kept(cache, 0, SET) > SET - GUESTS);
    CHECK(count_kept(cache, 1000, SLOTS) < GUESTS);
    CHECK(ask(cache, 5000, 5000 + SET, BLOCK_BYTES) == SET);
    CHECK(ask(cache, 5000, 5000 + SET, BLOCK_BYTES) > SET - GUESTS);
    CHECK(ask(cache, 5000, 5000 + SET, BLOCK_BYTES) == 0);
    block_cache_free(cache);
}

/* Rows one after the other, many in each block: it is loaded once, and drives nothing out. */
static void neighbours_are_found(void)
{
    enum { ROWS = 30, KEPT = 800 };
    block_cache *cache = NULL;
    size_t loads = 0;

    REQUIRE_OK(block_cache_new(env_posix(), 1 << 20, 0, &cache));
    begin();
    (void)ask(cache, 0, 1000, BLOCK_BYTES);
    for (uint64_t i = 2000; i < 4000; i++)
        for (int j = 0; j < ROWS; j++) loads += ask(cache, i, i + 1, BLOCK_BYTES);
    CHECK(loads == 2000);
    CHECK(count_kept(cache, 0, KEPT) > KEPT - 32);
    block_cache_free(cache);
}

/* A few large blocks that nobody wants any more make way for many small ones that fit. */
static void large_blocks_make_way(void)
{
    enum { LARGE = 40000, SET = 3000 };
    block_cache *cache = NULL;

    REQUIRE_OK(block_cache_new(env_posix(), 4 << 20, 0, &cache));
    begin();
    (void)ask(cache, 0, 500, LARGE);
    (void)ask(cache, 0, 500, LARGE);
    CHECK(ask(cache, 5000, 5000 + SET, BLOCK_BYTES) == SET);
    (void)ask(cache, 5000, 5000 + SET, BLOCK_BYTES);
    CHECK(ask(cache, 5000, 5000 + SET, BLOCK_BYTES) == 0);
    block_cache_free(cache);
}

/* What tables keep leaves so much less for blocks, and the floor always. */
static void tables_take_their_share(void)
{
    enum { ALL = 1 << 20, FLOOR = ALL / 4, TABLE = 100 << 10 };
    block_cache *cache = NULL;
    cache_stats stats;

    REQUIRE_OK(block_cache_new(env_posix(), ALL, FLOOR, &cache));
    begin();
    for (uint64_t i = 0; i < 2000; i++) put(cache, i, BLOCK_BYTES);
    for (size_t open = 1; open <= 10; open++) {
        cache_charge(cache, TABLE);
        block_cache_stats(cache, &stats);
        CHECK(stats.bytes <= stats.capacity);
        CHECK(stats.capacity == (open * TABLE < ALL - FLOOR ? ALL - open * TABLE : FLOOR));
    }
    block_cache_resize(cache, FLOOR / 2, FLOOR); /* and does not wrap around */
    block_cache_stats(cache, &stats);
    CHECK(stats.capacity == FLOOR);
    block_cache_resize(cache, ALL, FLOOR);
    cache_discharge(cache, 10 * TABLE);
    block_cache_stats(cache, &stats);
    CHECK(stats.capacity == ALL);
    block_cache_free(cache);
}

static void a_pin_survives_eviction(void)
{
    block_cache *cache = NULL;
    block *pins[64];

    REQUIRE_OK(block_cache_new(env_posix(), 64 << 10, 0, &cache));
    begin();
    for (uint64_t i = 0; i < 64; i++) {
        pins[i] = make(i, BLOCK_BYTES);
        REQUIRE(pins[i]);
        cache_add(cache, &places[i].slot, pins[i]);
    }
    for (uint64_t i = 100; i < 2000; i++) put(cache, i, BLOCK_BYTES);
    for (uint64_t i = 0; i < 64; i++) CHECK(is(pins[i], i));
    block_cache_free(cache);
    for (uint64_t i = 0; i < 64; i++) block_unref(pins[i]);
    for (size_t i = 0; i < SLOTS; i++) {
        uintptr_t at = atomic_load(&places[i].slot.at);
        CHECK(at == 0 || at & 1);
    }
}

static void odd_cases(void)
{
    block_cache *cache = NULL;
    block *first, *second, *found;

    begin();
    CHECK(!look(NULL, 1));
    put(NULL, 1, BLOCK_BYTES);
    cache_forget(NULL, &places[1].slot);
    block_unref(NULL);
    block_cache_free(NULL);
    REQUIRE_OK(block_cache_new(env_posix(), 1 << 20, 0, &cache));
    put(cache, 1, 1 << 20); /* larger than a shard: not kept */
    CHECK(!look(cache, 1));
    first = make(2, BLOCK_BYTES);
    second = make(2, BLOCK_BYTES);
    REQUIRE(first && second);
    cache_add(cache, &places[2].slot, first);
    cache_add(cache, &places[2].slot, second); /* the slower thread's block is not kept */
    found = look(cache, 2);
    CHECK(found == first);
    cache_forget(cache, &places[2].slot);
    cache_forget(cache, &places[2].slot);
    CHECK(!look(cache, 2) && is(found, 2));
    block_unref(found);
    block_unref(first);
    block_unref(second);
    block_cache_free(cache);
}

/* What a scan has read goes before what point reads have asked for, and drives nothing out. */
static void a_scan_takes_only_spare_room(void)
{
    enum { ROOM = 256 << 10, BLOCKS = 160 }; /* in a shard 10 of 15 */
    block_cache *cache = NULL;
    size_t offered = 0;

    REQUIRE_OK(block_cache_new(env_posix(), ROOM, 0, &cache));
    begin();
    for (uint64_t i = 0; i < BLOCKS; i++) put(cache, i, BLOCK_BYTES);
    for (uint64_t i = BLOCKS; i < 2 * BLOCKS; i++) {
        block *b = make(i, BLOCK_BYTES);
        REQUIRE(b);
        if (cache_has_room(cache, &places[i].slot, BLOCK_BYTES)) offered++;
        cache_offer(cache, &places[i].slot, b);
        block_unref(b);
    }
    CHECK(offered >= 64 && offered < 100);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        block *b = cache_peek(cache, &places[i].slot);
        CHECK(b);
        block_unref(b);
    }
    for (uint64_t i = 0; i < 64; i++) put(cache, 2 * BLOCKS + i, BLOCK_BYTES);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        block *b = cache_peek(cache, &places[i].slot);
        CHECK(b);
        block_unref(b);
    }
    block_cache_free(cache);
}

typedef struct worker {
    block_cache *cache;
    uint64_t seed;
    uint64_t wrong;
} worker;

static void work(void *arg)
{
    worker *w = arg;

    for (int i = 0; i < 30000; i++) {
        uint64_t key;
        block *b;
        w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
        key = (w->seed >> 33) % 500;
        b = look(w->cache, key);
        if (!b) {
            b = make(key, BLOCK_BYTES);
            if (!b) return;
            cache_add(w->cache, &places[key].slot, b);
        }
        w->wrong += !is(b, key);
        if (i % 5000 == 0) block_cache_resize(w->cache, (200 + w->seed % 100) << 10, 0);
        block_unref(b);
    }
}

static void threads_agree(void)
{
    fkv_env *env = env_posix();
    block_cache *cache = NULL;
    worker workers[4];
    env_thread *threads[4] = {NULL};

    REQUIRE_OK(block_cache_new(env, 256 << 10, 0, &cache));
    begin();
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (worker){cache, check_random(), 0};
        CHECK_STATUS(env->thread_start(env, work, &workers[i], "cache", &threads[i]), FKV_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        env->thread_join(env, threads[i]);
        CHECK(workers[i].wrong == 0);
    }
    block_cache_free(cache);
}

/* -- memory failures ------------------------------------------------------------------------- */

static uint64_t allocations, fail_at, live;

static void *counting_resize(void *ptr, size_t size)
{
    void *p;
    if (++allocations == fail_at) return NULL;
    p = realloc(ptr, size);
    if (p && !ptr) live++;
    return p;
}

static void counting_release(void *ptr)
{
    live--;
    free(ptr);
}

/* Every allocation, but where one thread is of no interest and each takes ten times as long. */
#ifdef __SANITIZE_THREAD__
enum { STEP = 8 };
#else
enum { STEP = 1 };
#endif

static void no_memory_is_survived(void)
{
    static const alloc_hook hook = {counting_resize, counting_release};

    alloc_set_hook(&hook);
    for (fail_at = 1;; fail_at += 1 + check_below(2 * STEP - 1)) {
        block_cache *cache = NULL;
        begin();
        allocations = 0;
        if (block_cache_new(env_posix(), 1 << 20, 0, &cache) == FKV_OK) {
            for (uint64_t i = 0; i < 2000; i++) {
                block *b = make(i, 64);
                if (b) cache_add(cache, &places[i].slot, b);
                block_unref(b);
            }
            block_cache_free(cache);
        }
        CHECK(live == 0);
        if (fail_at > allocations) break;
    }
    alloc_set_hook(NULL);
}

static void timing(void)
{
    block_cache *cache = NULL;
    struct timespec a, b;
    double ns;

    if (!getenv("FKV_TEST_TIMING")) return;
    REQUIRE_OK(block_cache_new(env_posix(), 64 << 20, 0, &cache));
    begin();
    for (uint64_t i = 0; i < 5000; i++) put(cache, i, 4096);
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    for (uint64_t i = 0; i < 5000000; i++) block_unref(look(cache, check_below(5000)));
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
    (void)printf("cache lookup: %.1f ns\n", ns / 5e6);
    block_cache_free(cache);
}

TEST_MAIN("test_cache", TEST_CASE(finds_what_was_added),
          TEST_CASE(capacity_holds_and_the_oldest_go), TEST_CASE(what_comes_once_is_not_kept),
          TEST_CASE(neighbours_are_found), TEST_CASE(large_blocks_make_way),
          TEST_CASE(tables_take_their_share), TEST_CASE(a_pin_survives_eviction),
          TEST_CASE(odd_cases), TEST_CASE(a_scan_takes_only_spare_room), TEST_CASE(threads_agree),
          TEST_CASE(no_memory_is_survived), TEST_CASE(timing))
