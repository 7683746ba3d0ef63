/* The block cache: what is found is what was put, the capacity holds, pins survive eviction.
** test-modes: release asan tsan */
#include "base/alloc.h"
#include "base/coding.h"
#include "check.h"
#include "table/cache.h"

enum { BLOCK_BYTES = 1000 };

/* A block whose bytes tell where it belongs. */
static block *make(uint64_t file_id, uint64_t offset, size_t size)
{
    block *b = block_new(size);
    if (!b) return NULL;
    b->file_id = file_id;
    b->offset = offset;
    memset(b->data, 0, size);
    put_u64(b->data, file_id);
    put_u64(b->data + 8, offset);
    return b;
}

static int is(const block *b, uint64_t file_id, uint64_t offset)
{
    return get_u64(b->data) == file_id && get_u64(b->data + 8) == offset;
}

static void put(block_cache *cache, uint64_t file_id, uint64_t offset, size_t size)
{
    block *b = make(file_id, offset, size);
    REQUIRE(b);
    cache_add(cache, b);
    block_unref(b);
}

static void finds_what_was_added(void)
{
    fkv_env *env = env_posix();
    block_cache *cache = NULL;
    cache_stats stats;
    size_t hits = 0;

    REQUIRE_OK(block_cache_new(env, 64 << 20, &cache));
    for (uint64_t i = 0; i < 10000; i++) put(cache, i % 7, i * 4101, BLOCK_BYTES);
    for (uint64_t i = 0; i < 10000; i++) {
        block *b = cache_find(cache, i % 7, i * 4101);
        hits += b && is(b, i % 7, i * 4101);
        block_unref(b);
        CHECK(!cache_find(cache, i % 7 + 8, i * 4101));
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

    REQUIRE_OK(block_cache_new(env, 1 << 20, &cache));
    put(cache, 1, 0, BLOCK_BYTES);
    for (uint64_t i = 1; i <= 20000; i++) {
        put(cache, 1, i, BLOCK_BYTES);
        if (i % 100 == 0) {
            block *kept = cache_find(cache, 1, 0); /* in use, so never the oldest */
            CHECK(kept);
            block_unref(kept);
            block_cache_stats(cache, &stats);
            CHECK(stats.bytes <= stats.capacity);
        }
    }
    for (uint64_t i = 19601; i <= 20000; i++) {
        block *b = cache_find(cache, 1, i);
        recent += b != NULL;
        block_unref(b);
    }
    CHECK(recent == 400);
    CHECK(!cache_find(cache, 1, 5));
    block_cache_resize(cache, 100 << 10);
    block_cache_stats(cache, &stats);
    CHECK(stats.bytes <= 100 << 10 && stats.capacity <= 100 << 10);
    block_cache_resize(cache, 0);
    block_cache_stats(cache, &stats);
    CHECK(stats.bytes == 0);
    put(cache, 1, 1, BLOCK_BYTES);
    CHECK(!cache_find(cache, 1, 1));
    block_cache_free(cache);
}

static void a_pin_survives_eviction(void)
{
    block_cache *cache = NULL;
    block *pins[64];

    REQUIRE_OK(block_cache_new(env_posix(), 64 << 10, &cache));
    for (uint64_t i = 0; i < 64; i++) {
        pins[i] = make(9, i, BLOCK_BYTES);
        REQUIRE(pins[i]);
        cache_add(cache, pins[i]);
    }
    for (uint64_t i = 100; i < 2000; i++) put(cache, 9, i, BLOCK_BYTES);
    for (uint64_t i = 0; i < 64; i++) CHECK(is(pins[i], 9, i));
    block_cache_free(cache);
    for (uint64_t i = 0; i < 64; i++) block_unref(pins[i]);
}

static void odd_cases(void)
{
    block_cache *cache = NULL;
    block *first, *second, *found;

    CHECK(!cache_find(NULL, 1, 1));
    put(NULL, 1, 1, BLOCK_BYTES);
    block_unref(NULL);
    block_cache_free(NULL);
    REQUIRE_OK(block_cache_new(env_posix(), 1 << 20, &cache));
    put(cache, 1, 1, 1 << 20); /* larger than a shard: not kept */
    CHECK(!cache_find(cache, 1, 1));
    first = make(2, 2, BLOCK_BYTES);
    second = make(2, 2, BLOCK_BYTES);
    REQUIRE(first && second);
    cache_add(cache, first);
    cache_add(cache, second); /* the slower thread's block is not kept */
    found = cache_find(cache, 2, 2);
    CHECK(found == first);
    block_unref(found);
    block_unref(first);
    block_unref(second);
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
        b = cache_find(w->cache, 3, key);
        if (!b) {
            b = make(3, key, BLOCK_BYTES);
            if (!b) return;
            cache_add(w->cache, b);
        }
        w->wrong += !is(b, 3, key);
        if (i % 5000 == 0) block_cache_resize(w->cache, (200 + w->seed % 100) << 10);
        block_unref(b);
    }
}

static void threads_agree(void)
{
    fkv_env *env = env_posix();
    block_cache *cache = NULL;
    worker workers[4];
    env_thread *threads[4] = {NULL};

    REQUIRE_OK(block_cache_new(env, 256 << 10, &cache));
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
        allocations = 0;
        if (block_cache_new(env_posix(), 1 << 20, &cache) == FKV_OK) {
            for (uint64_t i = 0; i < 2000; i++) {
                block *b = make(1, i, 64);
                if (b) cache_add(cache, b);
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
    REQUIRE_OK(block_cache_new(env_posix(), 64 << 20, &cache));
    for (uint64_t i = 0; i < 5000; i++) put(cache, 1, i * 4101, 4096);
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    for (uint64_t i = 0; i < 5000000; i++)
        block_unref(cache_find(cache, 1, check_below(5000) * 4101));
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
    (void)printf("cache lookup: %.1f ns\n", ns / 5e6);
    block_cache_free(cache);
}

TEST_MAIN("test_cache", TEST_CASE(finds_what_was_added),
          TEST_CASE(capacity_holds_and_the_oldest_go), TEST_CASE(a_pin_survives_eviction),
          TEST_CASE(odd_cases), TEST_CASE(threads_agree), TEST_CASE(no_memory_is_survived),
          TEST_CASE(timing))
