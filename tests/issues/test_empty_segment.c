/*
** What is left of a log segment that did not come about does not stand in the way of the next one.
**
** The disk was full when a segment was begun, and so full that the empty file could not be removed
** either (as on a file system that copies on write); then there was space again, and commits went
** on in the next segment. From then on the store could not be opened: "this log is empty but has a
** successor". The same after a power cut, when the file had been removed and was back.
*/
#include "audit/env_audit.h"
#include "fastkv.h"

static int commit_row(fkv_store *s, int i)
{
    fkv_txn *t = NULL;
    char key[16];
    fkv_status rc = fkv_txn_new(s, &t);

    (void)snprintf(key, sizeof key, "%06d", i);
    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, 6), fkv_slice_of(key, 6));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc == FKV_OK;
}

static int has_row(fkv_store *s, int i)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    char key[16];
    fkv_status rc = fkv_snapshot_new(s, &snap);

    (void)snprintf(key, sizeof key, "%06d", i);
    if (!rc) rc = fkv_get(snap, NULL, fkv_slice_of(key, 6), &v);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    return rc == FKV_OK;
}

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
    CHECK(commit_row(s, 1));
    fkv_close(s);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    env_fault_set(env, &full);
    CHECK(!commit_row(s, 2));
    env_fault_set(env, &cut);
    third = commit_row(s, 3);
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
    if (s) CHECK(has_row(s, 1) && (fired || third) && (fired || has_row(s, 3)));
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
