/*
** A process is killed between renaming a manifest into place and syncing the directory; another one
** opens the store and removes what that manifest names no more; then the power goes.
**
** The directory was not synced before the removals, so they could reach the disk and the renaming
** not: the older manifest was back, and the tables and the log that it needs were gone. (Found by
** the audit of the order of persistence: tests/audit/env_audit.c.)
*/
#include "audit/env_audit.h"
#include "store_util.h"

enum {
    ROWS = 3,
    SWEEP = 12 /* operations of an open until it has removed all that it does */,
    SEEDS = 4
};

/* The nth operation fails, and all that follow. */
static void arm(fkv_env *env, uint64_t n)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = n,
                       .persistent = 1,
                       .status = FKV_IOERR};
    env_fault_set(env, &fault);
}

/* 1 if it was acknowledged by a process that lives. */
static int commit_row(fkv_env *env, fkv_store *s, int i)
{
    return store_put_number(s, i, FKV_SYNC) == FKV_OK && !env_fault_fired(env);
}

/* A life that ends at the nth operation. Commits rows from *rows on. 0: it was not reached. */
static int live(fkv_env *env, const fkv_options *o, uint64_t n, int *rows)
{
    fkv_store *s = NULL;
    int until = *rows + ROWS;
    fkv_status rc;

    arm(env, n);
    rc = fkv_open("store", o, &s);
    while (!rc && *rows < until && commit_row(env, s, *rows)) ++*rows;
    if (!rc && *rows == until) fkv_ignore(fkv_flush(s));
    fkv_close(s);
    n = env_fault_fired(env);
    env_fault_set(env, NULL);
    return n > 0;
}

static int has_rows(const fkv_options *o, int rows)
{
    fkv_snapshot *snap = NULL;
    fkv_store *s = NULL;
    fkv_status rc = fkv_open("store", o, &s);

    if (!rc) rc = fkv_snapshot_new(s, &snap);
    for (int i = 0; !rc && i < rows; i++) {
        fkv_value v = {0};
        char key[16];
        (void)snprintf(key, sizeof key, "%06d", i);
        rc = fkv_get(snap, NULL, fkv_slice_of(key, 6), &v);
        fkv_value_release(&v);
    }
    fkv_snapshot_release(snap);
    fkv_close(s);
    return rc == FKV_OK;
}

/* 0: n was not reached. */
static int play(uint64_t n, uint64_t m, uint64_t seed)
{
    fkv_env *disk = NULL, *env = NULL;
    fkv_options o = {.create = 1, .inline_background = 1};
    int rows = 0, reached;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o.env = audited(env);
    (void)live(env, &o, 0, &rows);
    reached = live(env, &o, n, &rows);
    (void)live(env, &o, m, &rows);
    CHECK_STATUS(env_mem_crash(disk, seed), FKV_OK);
    CHECK(has_rows(&o, rows));
    env_audit_free(o.env);
    env_fault_free(env);
    env_mem_free(disk);
    return reached;
}

static void killed_then_opened_then_cut(void)
{
    int failures = check_failures, reached = 1;

    for (uint64_t n = 1; reached; n++) {
        for (uint64_t m = 1; m <= SWEEP; m++)
            for (uint64_t seed = 0; seed < SEEDS && check_failures == failures; seed++) {
                reached = play(n, m, seed);
                if (check_failures != failures)
                    (void)printf("killed at %" PRIu64 ", cut at %" PRIu64 ", crash seed %" PRIu64
                                 "\n",
                                 n, m, seed);
            }
        if (check_failures != failures) return;
    }
}

TEST_MAIN("test_sweep_before_sync", TEST_CASE(killed_then_opened_then_cut))
