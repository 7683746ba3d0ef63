/*
** A range tombstone on its way down hides what lies deeper until it is there itself. (No other test
** noticed a compaction that drops it too early; tests/sabotage.sh, switch 11.)
*/
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { ROWS = 600, VALUE_BYTES = 1000, FROM = 100, TO = 500 };

static fkv_slice key_of(char room[16], int i)
{
    return fkv_slice_of(room, (size_t)snprintf(room, 16, "key%05d", i));
}

static void put_rows(fkv_txn *t, int from, int to)
{
    static const char value[VALUE_BYTES] = "v";
    char key[16];

    for (int i = from; i < to; i++) {
        CHECK_STATUS(fkv_txn_begin(t, 0), FKV_OK);
        CHECK_STATUS(fkv_txn_put(t, key_of(key, i), fkv_slice_of(value, sizeof value)), FKV_OK);
        CHECK_STATUS(fkv_txn_prepare(t, FKV_NONE), FKV_OK);
        fkv_txn_commit(t);
    }
}

static int rows_of(fkv_store *s)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    int n = 0;

    CHECK_STATUS(fkv_snapshot_new(s, &snap), FKV_OK);
    CHECK_STATUS(fkv_cursor_new(snap, NULL, &c), FKV_OK);
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
    CHECK_STATUS(fkv_cursor_status(c), FKV_OK);
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return n;
}

static int gets_of(fkv_store *s)
{
    fkv_snapshot *snap = NULL;
    int n = 0;

    CHECK_STATUS(fkv_snapshot_new(s, &snap), FKV_OK);
    for (int i = 0; i < ROWS; i++) {
        char key[16];
        fkv_value v;
        n += fkv_get(snap, NULL, key_of(key, i), &v) == FKV_OK;
        fkv_value_release(&v);
    }
    fkv_snapshot_release(snap);
    return n;
}

static void deleted_rows_stay_deleted(void)
{
    fkv_options o = {.create = 1,
                     .memory_bytes = 1 << 20,
                     .codec = 1, /* none: many files */
                     .memtable_bytes = 32768,
                     .table_bytes = 16384,
                     .inline_background = 1};
    char a[16], b[16];
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    fkv_stats stats;

    REQUIRE_OK(env_mem_new(&o.env));
    REQUIRE_OK(fkv_open("s", &o, &s));
    REQUIRE_OK(fkv_txn_new(s, &t));
    put_rows(t, 0, ROWS);
    REQUIRE_OK(fkv_settle(s));
    fkv_stats_read(s, &stats);
    CHECK(stats.level_files[2] > 5); /* else there is nothing to hide */
    REQUIRE_OK(fkv_txn_begin(t, 0));
    REQUIRE_OK(fkv_txn_delete_range(t, key_of(a, FROM), key_of(b, TO)));
    REQUIRE_OK(fkv_txn_prepare(t, FKV_NONE));
    fkv_txn_commit(t);
    CHECK(rows_of(s) == ROWS - (TO - FROM) && gets_of(s) == ROWS - (TO - FROM));
    for (int step = 0; step < 4; step++) { /* down, a level at a time, with newer rows above it */
        put_rows(t, FROM + step, FROM + step + 1);
        if (step % 2) {
            REQUIRE_OK(fkv_settle(s));
        } else {
            REQUIRE_OK(fkv_flush(s));
        }
        CHECK(rows_of(s) == ROWS - (TO - FROM) + step + 1);
        CHECK(gets_of(s) == ROWS - (TO - FROM) + step + 1);
    }
    REQUIRE_OK(fkv_compact(s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)));
    CHECK(rows_of(s) == ROWS - (TO - FROM) + 4 && gets_of(s) == ROWS - (TO - FROM) + 4);
    fkv_txn_free(t);
    fkv_close(s);
    env_mem_free(o.env);
}

TEST_MAIN("test_deep_ranges", TEST_CASE(deleted_rows_stay_deleted))
