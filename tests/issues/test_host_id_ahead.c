/*
** The manifest names the last hosted transaction of the tables, not one that only the log has.
**
** It named the last one there was. A power cut that lost that one from the log, because nothing
** waits for the disk, left a store that said it had it, and the database was ahead of the store
** without a word. And a process that joined at the wrong moment said that it had it before it had
** read it: its view showed the native rows of a transaction without ours.
*/
#include "check.h"
#include "io/env.h"
#include "store_util.h"

static fkv_status commit_row(fkv_store *s, const char *key, uint64_t *id)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, 1), fkv_slice_of("1", 1));
    if (!rc) rc = id ? fkv_txn_prepare_hosted(t, FKV_NONE, id) : fkv_txn_prepare(t, FKV_NONE);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

/* `flushed` of the two hosted transactions are in a table when the next manifest is written. */
static void after_a_power_cut(int flushed)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE,
                       .countdown = 1,
                       .persistent = 1,
                       .status = FKV_IOERR};
    fkv_env *disk = NULL, *env = NULL;
    fkv_options o = {.create = 1, .inline_background = 1};
    uint64_t first = 0, second = 0, known;
    fkv_store *s = NULL;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o.env = env;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    CHECK_STATUS(commit_row(s, "a", &first), FKV_OK);
    if (flushed > 0) CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK_STATUS(commit_row(s, "b", &second), FKV_OK);
    if (flushed > 1) CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK(fkv_host_id(s) == second && second > first);
    fkv_keep_changes(s, (uint64_t)1 << 20, 0);
    CHECK_STATUS(commit_row(s, "c", NULL), FKV_OK); /* writes a manifest that says so */
    env_fault_set(env, &fault);
    fkv_close(s);
    env_fault_set(env, NULL);
    CHECK_STATUS(env_mem_crash(disk, 0), FKV_OK);
    s = NULL;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    known = fkv_host_id(s);
    CHECK((store_get(s, "a") == FKV_OK) == (flushed > 0) &&
          (store_get(s, "b") == FKV_OK) == (flushed > 1));
    CHECK(known == (flushed > 1 ? second : flushed > 0 ? first : 0));
    fkv_close(s);
    env_fault_free(env);
    env_mem_free(disk);
}

static void what_is_lost_is_not_said_to_be_there(void)
{
    for (int flushed = 0; flushed < 3; flushed++) after_a_power_cut(flushed);
}

TEST_MAIN("test_host_id_ahead", TEST_CASE(what_is_lost_is_not_said_to_be_there))
