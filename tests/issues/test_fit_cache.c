/*
** The memory budget is shared out anew by whoever changes it.
**
** Each asked how much there is and then told the cache. One that asked first and told last left
** the cache with what it had been before, for good. (The first write, which takes room for
** memtables from the cache, went the same way.)
*/
#include "check.h"
#include "io/env.h"
#include "sched_util.h"
#include "store/store.h"
#include "store_util.h"

enum { SMALL = 8 << 20, LARGE = 64 << 20 };

typedef struct scene {
    fkv_env *files, *env;
    fkv_store *store;
} scene;

static void configure(fkv_store *store, size_t bytes)
{
    fkv_options o = {.memory_bytes = bytes};

    CHECK_STATUS(fkv_configure(store, &o), FKV_OK);
}

static void make_large(void *arg)
{
    configure(((scene *)arg)->store, LARGE);
}

static uint64_t capacity(fkv_store *store)
{
    fkv_stats stats;

    fkv_stats_read(store, &stats);
    return stats.cache_capacity;
}

/* The cache is as large then as if it were fitted once more. */
static void two_changes(uint64_t seed)
{
    env_sched how = {.seed = seed,
                     .switch_one_in = 1 + (uint32_t)seed % 4,
                     .stall_one_in = 20,
                     .stall_us = 100000,
                     .stuck = sched_stuck};
    scene c = {.store = NULL};
    fkv_options o = {.create = 1, .memory_bytes = LARGE};
    env_thread *thread = NULL;
    uint64_t found;

    if (env_mem_new(&c.files) || env_sched_new(c.files, &how, &c.env)) abort();
    o.env = c.env;
    REQUIRE_OK(fkv_open("store", &o, &c.store));
    REQUIRE_OK(c.env->thread_start(c.env, make_large, &c, "other", &thread));
    configure(c.store, SMALL);
    c.env->thread_join(c.env, thread);
    found = capacity(c.store);
    store_fit_cache(c.store);
    CHECK(found == capacity(c.store));
    fkv_close(c.store);
    env_sched_free(c.env);
    env_mem_free(c.files);
}

static void the_last_change_counts(void)
{
    for (uint64_t seed = 1; seed <= 200; seed++) two_changes(seed);
}

TEST_MAIN("test_fit_cache", TEST_CASE(the_last_change_counts))
