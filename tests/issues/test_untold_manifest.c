/*
** A process is killed between renaming a manifest into place and syncing the directory; another
** one, which has to catch up with the manifest before that, commits; then the power goes.
**
** The other one went by the manifest that it found, which was not durable, and synced no log but
** what that one needs. The older manifest could be what the power cut left: with log that nobody
** had synced, and the commit behind it. (Found by the audit of the order of persistence:
** tests/audit/env_audit.c.)
**
** And where it has caught up with the manifest before that one, and comes to write for the first
** time: it sweeps then, and must not take a table that only the newest manifest names.
*/
#include "../processes/world.h"

#include "store_util.h"

enum { ROWS = 4, SEEDS = 8 };

static fkv_options options_of(process *p)
{
    return (fkv_options){.env = &p->env, .create = 1, .inline_background = 1};
}

/* The first flushes twice, and dies at its nth operation of the second. 0: it does not get so
** far. */
static int play(uint64_t n, uint64_t seed, int writes_before)
{
    process first, other, after;
    fkv_store *first_store = NULL, *s = NULL;
    fkv_options o;
    int reached;
    world w;

    world_begins(&w);
    process_begins(&first, &w);
    process_begins(&other, &w);
    process_begins(&after, &w);
    o = options_of(&first);
    CHECK_STATUS(fkv_open("store", &o, &first_store), FKV_OK);
    CHECK_STATUS(store_put_number(first_store, 0, FKV_SYNC), FKV_OK);
    o = options_of(&other);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    CHECK_STATUS(store_put_number(writes_before ? s : first_store, 1, FKV_SYNC), FKV_OK);
    CHECK_STATUS(fkv_flush(first_store), FKV_OK);
    if (!writes_before) CHECK_STATUS(store_get_number(s, 1), FKV_OK); /* catches up */
    CHECK_STATUS(store_put_number(first_store, 2, FKV_NONE), FKV_OK);
    first.dies_at = first.ops + n;
    fkv_ignore(fkv_flush(first_store));
    reached = first.dead;
    CHECK_STATUS(store_put_number(s, 3, FKV_SYNC), FKV_OK);
    process_dies(&other);
    if (!first.dead) process_dies(&first);
    fkv_close(s);
    fkv_close(first_store);
    CHECK_STATUS(env_mem_crash(w.disk, seed), FKV_OK);
    s = NULL;
    o = options_of(&after);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    for (int i = 0; s && i < ROWS; i++) CHECK_STATUS(store_get_number(s, i), FKV_OK);
    fkv_close(s);
    world_ends(&w);
    return reached;
}

static void at_every_operation(int writes_before)
{
    int reached = 1;

    for (uint64_t n = 1; reached; n++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            int failures = check_failures;
            reached = play(n, seed, writes_before);
            if (check_failures == failures) continue;
            (void)printf("killed at %" PRIu64 ", crash seed %" PRIu64 "\n", n, seed);
            return;
        }
}

static void killed_then_committed_then_cut(void)
{
    at_every_operation(1);
}

static void killed_then_swept_then_cut(void)
{
    at_every_operation(0);
}

TEST_MAIN("test_untold_manifest", TEST_CASE(killed_then_committed_then_cut),
          TEST_CASE(killed_then_swept_then_cut))
