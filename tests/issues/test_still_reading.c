/*
** A store that is open for reading stays as it was when opening it for writing fails.
**
** A process has one store object for a directory. It is loaded anew when somebody opens it for
** writing; where that failed half way, with the tables taken up and the log not yet read, readers
** went on with that half: with rows missing, and no error. (Not where the store's lock file told
** them of a new session, but in a copy, which had none, and where locks are not shared.)
*/
#include "check.h"
#include "io/env.h"
#include "store_util.h"

enum { ROWS = 20 };

typedef enum where { BESIDE_A_LOCK, IN_A_COPY, NOT_SHARED } where;

static fkv_status no_sharing(fkv_env *env, env_dir *dir, int *out)
{
    (void)env;
    (void)dir;
    *out = 0;
    return FKV_OK;
}

/* The nth operation of opening it for writing fails. 0: it did not come to that. */
static int fail_at(uint64_t n, where place)
{
    env_fault fault = {.kinds = ENV_OP_READ | ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_MAP,
                       .countdown = n,
                       .status = FKV_IOERR};
    fkv_env *disk = NULL, *env = NULL, used;
    fkv_options o = {.create = 1, .inline_background = 1}, reading = {.read_only = 1};
    fkv_store *s = NULL, *again = NULL;
    env_dir *dir = NULL;
    int failed;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    used = *env;
    if (place == NOT_SHARED) used.dir_shares = no_sharing;
    o.env = reading.env = &used;
    CHECK_STATUS(fkv_open("s", &o, &s), FKV_OK);
    CHECK_STATUS(store_put_many(s, 'k', ROWS, 10, FKV_SYNC), FKV_OK);
    fkv_close(s);
    CHECK_STATUS(disk->dir_open(disk, "s", 0, &dir), FKV_OK);
    if (place == IN_A_COPY) CHECK_STATUS(disk->file_remove(disk, dir, "lock"), FKV_OK);
    disk->dir_close(disk, dir);
    CHECK_STATUS(fkv_open("s", &reading, &s), FKV_OK);
    CHECK(store_count(s) == ROWS);
    env_fault_set(env, &fault);
    failed = fkv_open("s", &o, &again) != FKV_OK;
    env_fault_set(env, NULL);
    CHECK(store_count(s) == ROWS);
    CHECK(!failed || !again);
    if (failed) CHECK_STATUS(fkv_open("s", &o, &again), FKV_OK);
    CHECK(store_count(s) == ROWS);
    fkv_close(again);
    fkv_close(s);
    env_fault_free(env);
    env_mem_free(disk);
    return failed;
}

static void fail_everywhere(where place)
{
    uint64_t n = 1;

    while (fail_at(n, place)) n++;
    CHECK(n > 5);
}

static void beside_a_lock(void)
{
    fail_everywhere(BESIDE_A_LOCK);
}

static void in_a_copy(void)
{
    fail_everywhere(IN_A_COPY);
}

static void where_nothing_is_shared(void)
{
    fail_everywhere(NOT_SHARED);
}

TEST_MAIN("test_still_reading", TEST_CASE(beside_a_lock), TEST_CASE(in_a_copy),
          TEST_CASE(where_nothing_is_shared))
