/*
** The change feed does not leave out what a power cut took from the log and left in the tables.
**
** A transaction larger than a memtable is in tables at once, and a manifest may name them before
** the log is durable. Then the power cut costs the log its record, and the rows stay; the feed went
** on without them and without a word.
*/
#include "check.h"
#include "io/env.h"
#include "store_util.h"

enum { ROWS = 60 };

static fkv_status put_rows(fkv_store *s, int from, int to)
{
    char key[16], value[1000] = {0};
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = from; !rc && i < to; i++) {
        (void)snprintf(key, sizeof key, "%06d", i);
        rc = fkv_txn_put(t, fkv_slice_of(key, 6), fkv_slice_of(value, sizeof value));
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_NONE);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

/* All rows are in the feed, or it says that they are not. */
static void judge(fkv_store *s)
{
    uint64_t since = 0, oldest = 0;
    fkv_changes *feed = NULL;
    fkv_change change;
    fkv_status rc = fkv_changes_new(s, since, &feed);
    int n = 0;

    CHECK(store_count(s) == ROWS);
    if (rc == FKV_INVALID) {
        CHECK_STATUS(fkv_changes_oldest(s, &oldest), FKV_OK);
        CHECK(oldest >= ROWS);
        rc = fkv_changes_new(s, oldest, &feed);
        n = (int)oldest;
    }
    while (!rc && !(rc = fkv_changes_next(feed, &change))) n++;
    CHECK_STATUS(rc, FKV_NOTFOUND);
    CHECK(n >= ROWS);
    fkv_changes_free(feed);
}

static void after_a_power_cut(int read_only)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE,
                       .countdown = 1,
                       .persistent = 1,
                       .status = FKV_IOERR};
    fkv_options o = {.create = 1, .memtable_bytes = 32768, .inline_background = 1};
    fkv_env *disk = NULL, *env = NULL;
    fkv_store *s = NULL;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o.env = env;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    fkv_keep_changes(s, (uint64_t)1 << 30, 0);
    CHECK_STATUS(put_rows(s, 0, ROWS), FKV_OK);
    fkv_keep_changes(s, (uint64_t)1 << 29, 0);
    CHECK_STATUS(fkv_flush(s), FKV_OK); /* nothing to flush, but a manifest */
    CHECK(store_count(s) == ROWS);
    env_fault_set(env, &fault);
    fkv_close(s);
    env_fault_set(env, NULL);
    CHECK_STATUS(env_mem_crash(disk, 0), FKV_OK);
    s = NULL;
    o.read_only = read_only;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    judge(s);
    if (!read_only) {
        CHECK_STATUS(put_rows(s, 0, 3), FKV_OK);
        judge(s);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
        judge(s);
    }
    fkv_close(s);
    env_fault_free(env);
    env_mem_free(disk);
}

static void nothing_is_left_out(void)
{
    after_a_power_cut(0);
    after_a_power_cut(1);
}

TEST_MAIN("test_feed_after_cut", TEST_CASE(nothing_is_left_out))
