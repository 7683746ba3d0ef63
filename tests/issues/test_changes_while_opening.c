/*
** The change feed of a store that was opened for reading, while somebody opens it for writing.
**
** All is loaded anew then. The feed went by a list of log segments that was just being made, took
** the last one it found there for the end of the log, and called that damaged.
*/
#include "check.h"
#include "io/env.h"
#include "sched_util.h"
#include "store_util.h"

enum { ROWS = 12 };

typedef struct scene {
    fkv_env *files, *env;
    fkv_store *store;
} scene;

/* Several segments, some of them only kept. */
static void fill(scene *c)
{
    fkv_options o = {.env = c->env, .create = 1};

    REQUIRE_OK(fkv_open("store", &o, &c->store));
    fkv_keep_changes(c->store, (uint64_t)1 << 30, 0);
    for (int i = 0; i < ROWS; i++) {
        CHECK_STATUS(store_put_number(c->store, i, FKV_NONE), FKV_OK);
        if (i % 4 == 2) CHECK_STATUS(fkv_flush(c->store), FKV_OK);
    }
    fkv_close(c->store);
}

static void read_feed(void *arg)
{
    const scene *c = arg;

    for (int round = 0; round < 8; round++) {
        fkv_changes *feed = NULL;
        fkv_change change;
        fkv_status rc = fkv_changes_new(c->store, 0, &feed);
        int n = 0;
        while (!rc && !(rc = fkv_changes_next(feed, &change))) n++;
        CHECK_STATUS(rc, FKV_NOTFOUND);
        CHECK(n == ROWS);
        fkv_changes_free(feed);
    }
}

static void open_beside(uint64_t seed)
{
    env_sched how = {.seed = seed, .switch_one_in = 1 + (uint32_t)seed % 4, .stuck = sched_stuck};
    scene c = {.store = NULL};
    fkv_options o = {.read_only = 1};
    env_thread *thread = NULL;
    fkv_store *again = NULL;

    if (env_mem_new(&c.files) || env_sched_new(c.files, &how, &c.env)) abort();
    o.env = c.env;
    fill(&c);
    REQUIRE_OK(fkv_open("store", &o, &c.store));
    REQUIRE_OK(c.env->thread_start(c.env, read_feed, &c, "feed", &thread));
    o.read_only = 0;
    CHECK_STATUS(fkv_open("store", &o, &again), FKV_OK);
    c.env->thread_join(c.env, thread);
    fkv_close(again);
    fkv_close(c.store);
    env_sched_free(c.env);
    env_mem_free(c.files);
}

static void no_segment_is_missed(void)
{
    for (uint64_t seed = 1; seed <= 100; seed++) open_beside(seed);
}

TEST_MAIN("test_changes_while_opening", TEST_CASE(no_segment_is_missed))
