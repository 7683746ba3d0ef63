/*
** Two processes, one of which writes without syncing, and the other one syncs; then the power goes.
**
** The other one is to make durable what it has not written itself. It did not in two ways: fkv_sync
** went over the log segments that its process had heard of, which need not be all; and a segment
** that the first one was just beginning passed for one of an earlier session, which grows no more,
** and was never synced again, also not before a later commit that stands behind it. (Found by
** tests/threads/test_schedules.c.)
*/
#include "../processes/world.h"

#include "store_util.h"

enum { LARGE = 3000, HALF = 6, SEEDS = 8 }; /* two halves fill a memtable */

typedef struct play {
    world w;
    process first, other;
    fkv_store *first_store, *store;
} play;

static fkv_status open_in(process *p, fkv_store **out)
{
    fkv_options o = {
        .env = &p->env, .create = 1, .memtable_bytes = 32 << 10, .inline_background = 1};

    return fkv_open("store", &o, out);
}

static void begin(play *p)
{
    *p = (play){.store = NULL};
    world_begins(&p->w);
    process_begins(&p->first, &p->w);
    process_begins(&p->other, &p->w);
    CHECK_STATUS(open_in(&p->first, &p->first_store), FKV_OK);
}

/* The power goes. So many rows must be there, this one among them. */
static void cut(play *p, uint64_t seed, int rows, const char *last)
{
    process after;
    fkv_store *s = NULL;

    process_dies(&p->first);
    process_dies(&p->other);
    fkv_close(p->store);
    fkv_close(p->first_store);
    CHECK_STATUS(env_mem_crash(p->w.disk, seed), FKV_OK);
    process_begins(&after, &p->w);
    CHECK_STATUS(open_in(&after, &s), FKV_OK);
    if (s) {
        CHECK_STATUS(store_get(s, last), FKV_OK);
        CHECK(store_count(s) == rows);
    }
    fkv_close(s);
    world_ends(&p->w);
}

/* It has read the store; then the first one goes on in segments that it has not seen. */
static void one_that_only_reads_syncs(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        play p;
        begin(&p);
        CHECK_STATUS(store_put_number(p.first_store, 0, FKV_SYNC), FKV_OK);
        CHECK_STATUS(open_in(&p.other, &p.store), FKV_OK);
        CHECK_STATUS(store_get_number(p.store, 0), FKV_OK);
        CHECK_STATUS(store_put_many(p.first_store, 'a', HALF, LARGE, FKV_NONE), FKV_OK);
        CHECK_STATUS(store_put_many(p.first_store, 'b', HALF, LARGE, FKV_NONE), FKV_OK);
        CHECK_STATUS(store_put_number(p.first_store, 1, FKV_NONE), FKV_OK);
        CHECK_STATUS(fkv_sync(p.store), FKV_OK);
        cut(&p, seed, 2 + 2 * HALF, "000001");
    }
}

static void other_comes_and_syncs(void *arg)
{
    play *p = arg;

    CHECK_STATUS(open_in(&p->other, &p->store), FKV_OK);
    CHECK_STATUS(fkv_sync(p->store), FKV_OK);
}

/* The other one comes at the nth operation of the first one's first commit, and syncs. 0: it has
** not so many. */
static int while_begun(uint64_t n, uint64_t seed)
{
    play p;
    int reached;

    begin(&p);
    CHECK_STATUS(store_put_number(p.first_store, 0, FKV_SYNC), FKV_OK);
    fkv_close(p.first_store);
    CHECK_STATUS(open_in(&p.first, &p.first_store), FKV_OK);
    p.first.stops_at = p.first.ops + n;
    p.first.while_stopped = other_comes_and_syncs;
    p.first.arg = &p;
    CHECK_STATUS(store_put_number(p.first_store, 1, FKV_NONE), FKV_OK);
    p.first.stops_at = 0;
    reached = p.store != NULL;
    if (!reached) CHECK_STATUS(open_in(&p.other, &p.store), FKV_OK);
    p.first.refuses = p.other.refuses = "file_rename";
    CHECK_STATUS(store_put_many(p.first_store, 'a', HALF, LARGE, FKV_NONE), FKV_OK);
    CHECK_STATUS(store_put_many(p.first_store, 'b', HALF, LARGE, FKV_NONE), FKV_OK);
    CHECK_STATUS(store_put_number(p.first_store, 2, FKV_NONE), FKV_OK); /* in the next segment */
    CHECK_STATUS(store_put_number(p.store, 3, FKV_SYNC), FKV_OK);
    cut(&p, seed, 4 + 2 * HALF, "000003");
    return reached;
}

static void one_syncs_what_is_being_begun(void)
{
    int reached = 1, failures = check_failures;

    for (uint64_t n = 1; reached && check_failures == failures; n++)
        for (uint64_t seed = 0; seed < SEEDS && check_failures == failures; seed++) {
            reached = while_begun(n, seed);
            if (check_failures > failures)
                (void)printf("operation %" PRIu64 ", crash seed %" PRIu64 "\n", n, seed);
        }
}

TEST_MAIN("test_sync_of_others", TEST_CASE(one_that_only_reads_syncs),
          TEST_CASE(one_syncs_what_is_being_begun))
