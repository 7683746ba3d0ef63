/*
** What is left of a log segment that did not come about does not stand in the way of the next one.
**
** The disk was full when a segment was begun, and so full that the empty file could not be removed
** either (as on a file system that copies on write); then there was space again, and commits went
** on in the next segment. From then on the store could not be opened: "this log is empty but has a
** successor". The same after a power cut, when the file had been removed and was back.
*/
#include "audit/env_audit.h"
#include "store_util.h"

/* Row 2 finds no space, and the segment begun for it stays; row 3 is committed if nothing fails
** from the nth operation on; then the power goes. 0: n was not reached. */
static int full_then_cut(uint64_t n, uint64_t seed)
{
    env_fault full = {
        .kinds = ENV_OP_WRITE | ENV_OP_REMOVE, .countdown = 1, .persistent = 1, .status = FKV_FULL};
    env_fault cut = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                              ENV_OP_REMOVE,
                     .countdown = n,
                     .persistent = 1,
                     .status = FKV_IOERR};
    fkv_options o = {.create = 1, .inline_background = 1};
    fkv_env *disk = NULL, *env = NULL;
    fkv_store *s = NULL;
    int fired, third;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o.env = audited(env);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    CHECK(store_put_number(s, 1, FKV_SYNC) == FKV_OK);
    fkv_close(s);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    env_fault_set(env, &full);
    CHECK(store_put_number(s, 2, FKV_SYNC) != FKV_OK);
    env_fault_set(env, &cut);
    third = store_put_number(s, 3, FKV_SYNC) == FKV_OK;
    fired = env_fault_fired(env) > 0;
    if (!fired) { /* at the end it dies all the same */
        cut.countdown = 1;
        env_fault_set(env, &cut);
    }
    fkv_close(s);
    env_fault_set(env, NULL);
    CHECK_STATUS(env_mem_crash(disk, seed), FKV_OK);
    s = NULL;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    if (s)
        CHECK(store_get_number(s, 1) == FKV_OK && (fired || third) &&
              (fired || store_get_number(s, 3) == FKV_OK));
    fkv_close(s);
    env_audit_free(o.env);
    env_fault_free(env);
    env_mem_free(disk);
    return fired;
}

static void cut_anywhere(void)
{
    int fired = 1;

    for (uint64_t n = 1; fired; n++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            int failures = check_failures;
            fired = full_then_cut(n, seed);
            if (check_failures == failures) continue;
            (void)printf("cut at %" PRIu64 ", crash seed %" PRIu64 "\n", n, seed);
            return;
        }
}

TEST_MAIN("test_empty_segment", TEST_CASE(cut_anywhere))
