/*
** A reader of the change feed can tell that numbers were given out again.
**
** After a power cut that took the last commits, and in a restored store, new changes got the
** numbers of changes that a reader had seen already: who asked for what came after his last number
** missed them, and nothing told him so.
*/
#include "check.h"
#include "io/env.h"
#include "store_util.h"

static fkv_env *disk, *env;

/* And by the way the last sequence. */
static uint64_t generation(fkv_store *s, uint64_t *last)
{
    fkv_changes *c = NULL;
    fkv_stats stats;
    uint64_t g = 0;

    fkv_stats_read(s, &stats);
    CHECK_STATUS(fkv_changes_new(s, stats.last_sequence, &c), FKV_OK);
    if (c) g = fkv_changes_generation(c);
    CHECK(g != 0 && g == stats.feed_generation);
    fkv_changes_free(c);
    if (last) *last = stats.last_sequence;
    return g;
}

static fkv_store *open_store(void)
{
    fkv_options o = {.create = 1, .inline_background = 1, .env = env};
    fkv_store *s = NULL;

    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    if (!s) abort();
    fkv_keep_changes(s, (uint64_t)1 << 30, 0);
    return s;
}

/* The process ends, and nothing of it is brought in order. */
static void die(fkv_store *s)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE,
                       .countdown = 1,
                       .persistent = 1,
                       .status = FKV_IOERR};

    env_fault_set(env, &fault);
    fkv_close(s);
    env_fault_set(env, NULL);
}

static void begin_test(void)
{
    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
}

static void end_test(fkv_store *s)
{
    fkv_close(s);
    env_fault_free(env);
    env_mem_free(disk);
}

static void changes_with_a_power_cut(void)
{
    int shorter = 0;

    for (uint64_t seed = 0; seed < 16; seed++) {
        uint64_t before, seen, now;
        fkv_store *s;
        begin_test();
        s = open_store();
        CHECK_STATUS(store_put_numbers(s, 0, 100, FKV_NONE), FKV_OK);
        if (seed % 2) CHECK_STATUS(fkv_flush(s), FKV_OK);
        CHECK_STATUS(store_put_numbers(s, 100, 200, FKV_NONE), FKV_OK);
        before = generation(s, &seen);
        die(s);
        CHECK_STATUS(env_mem_crash(disk, seed), FKV_OK);
        s = open_store();
        (void)generation(s, &now);
        shorter += now < seen;
        if (seed % 4 == 3) { /* nothing was written, and another one comes */
            die(s);
            s = open_store();
        }
        CHECK_STATUS(store_put_numbers(s, 200, 201, FKV_NONE), FKV_OK);
        CHECK(generation(s, NULL) != before);
        before = generation(s, NULL);
        die(s); /* and that was all: the next one keeps it */
        s = open_store();
        CHECK_STATUS(store_put_numbers(s, 201, 202, FKV_NONE), FKV_OK);
        CHECK(generation(s, NULL) == before);
        end_test(s);
    }
    CHECK(shorter > 0);
}

/* The manifest that was to say so could not be written, and the process has died. */
static void changes_where_the_first_write_failed(void)
{
    for (uint64_t countdown = 1; countdown < 40; countdown++) {
        env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME,
                           .countdown = countdown,
                           .persistent = 1,
                           .status = FKV_IOERR};
        uint64_t before;
        fkv_store *s;
        fkv_status rc;
        begin_test();
        s = open_store();
        CHECK_STATUS(store_put_numbers(s, 0, 100, FKV_NONE), FKV_OK);
        before = generation(s, NULL);
        die(s);
        CHECK_STATUS(env_mem_crash(disk, countdown), FKV_OK);
        s = open_store();
        env_fault_set(env, &fault);
        rc = store_put_numbers(s, 200, 201, FKV_NONE);
        env_fault_set(env, NULL);
        die(s);
        s = open_store();
        CHECK_STATUS(store_put_numbers(s, 201, 202, FKV_NONE), FKV_OK);
        CHECK(generation(s, NULL) != before);
        end_test(s);
        if (!rc) return;
    }
    CHECK(0);
}

static void stays_without_one(void)
{
    uint64_t before;
    fkv_store *s;

    begin_test();
    s = open_store();
    CHECK_STATUS(store_put_numbers(s, 0, 100, FKV_NONE), FKV_OK);
    before = generation(s, NULL);
    die(s); /* killed */
    s = open_store();
    CHECK_STATUS(store_put_numbers(s, 100, 200, FKV_NONE), FKV_OK);
    CHECK(generation(s, NULL) == before);
    fkv_close(s); /* closed in order, and then the power goes */
    CHECK_STATUS(env_mem_crash(disk, 1), FKV_OK);
    s = open_store();
    CHECK_STATUS(store_put_numbers(s, 200, 300, FKV_NONE), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK(generation(s, NULL) == before);
    end_test(s);
}

static void is_another_in_a_backup(void)
{
    fkv_options o = {.inline_background = 1};
    uint64_t original, stamp = 0;
    fkv_backup *b = NULL;
    fkv_store *s, *copy = NULL;
    fkv_txn *t = NULL;

    begin_test();
    s = open_store();
    CHECK_STATUS(store_put_numbers(s, 0, 100, FKV_NONE), FKV_OK);
    original = generation(s, NULL);
    CHECK_STATUS(fkv_txn_new(s, &t), FKV_OK);
    CHECK_STATUS(fkv_txn_begin(t, 0), FKV_OK);
    CHECK_STATUS(fkv_backup_new(s, t, &b), FKV_OK);
    fkv_txn_free(t);
    CHECK_STATUS(fkv_backup_write(b, "copies", "store", 0, &stamp, NULL), FKV_OK);
    CHECK_STATUS(fkv_backup_commit(b, NULL, NULL), FKV_OK);
    fkv_backup_free(b);
    o.env = env;
    CHECK_STATUS(fkv_open("copies/store", &o, &copy), FKV_OK);
    if (copy) CHECK(generation(copy, NULL) != original);
    fkv_close(copy);
    CHECK(generation(s, NULL) == original);
    end_test(s);
}

TEST_MAIN("test_feed_generation", TEST_CASE(changes_with_a_power_cut),
          TEST_CASE(changes_where_the_first_write_failed), TEST_CASE(stays_without_one),
          TEST_CASE(is_another_in_a_backup))
