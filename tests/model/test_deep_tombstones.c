/*
** A tombstone on its way down, of a row or of a range, hides what lies deeper until it is there
** itself. (No other test is sure to notice a compaction that drops it too early: tests/sabotage.sh,
** 10 and 11.)
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

typedef struct scene {
    fkv_env *env;
    fkv_store *s;
    fkv_txn *t;
} scene;

static uint64_t files_in(fkv_store *s, int level)
{
    fkv_stats stats;

    fkv_stats_read(s, &stats);
    return stats.level_files[level];
}

/* A store with rows in level 2. */
static void begin(scene *c)
{
    fkv_options o = {.create = 1,
                     .memory_bytes = 1 << 20,
                     .codec = 1, /* none: many files */
                     .memtable_bytes = 32768,
                     .table_bytes = 16384,
                     .inline_background = 1};

    REQUIRE_OK(env_mem_new(&c->env));
    o.env = c->env;
    REQUIRE_OK(fkv_open("s", &o, &c->s));
    REQUIRE_OK(fkv_txn_new(c->s, &c->t));
    put_rows(c->t, 0, ROWS);
    REQUIRE_OK(fkv_settle(c->s));
    CHECK(files_in(c->s, 2) > 5); /* else there is nothing to hide */
}

static void end(scene *c)
{
    fkv_txn_free(c->t);
    fkv_close(c->s);
    env_mem_free(c->env);
}

static void a_deleted_row_stays_deleted(void)
{
    char key[16];
    scene c;

    begin(&c);
    REQUIRE_OK(fkv_txn_begin(c.t, 0));
    for (int i = FROM; i < TO; i += 50) REQUIRE_OK(fkv_txn_delete(c.t, key_of(key, i)));
    REQUIRE_OK(fkv_txn_prepare(c.t, FKV_NONE));
    fkv_txn_commit(c.t);
    /* Newer rows around it, until level 0 is merged into level 1, which stays there. */
    for (int i = 0; i < 20 && !files_in(c.s, 1); i++) {
        put_rows(c.t, 0, 1);
        put_rows(c.t, ROWS - 1, ROWS);
        REQUIRE_OK(fkv_flush(c.s));
        CHECK(rows_of(c.s) == ROWS - 8 && gets_of(c.s) == ROWS - 8);
    }
    CHECK(files_in(c.s, 1) > 0 && files_in(c.s, 2) > 5);
    CHECK(rows_of(c.s) == ROWS - 8 && gets_of(c.s) == ROWS - 8);
    REQUIRE_OK(fkv_compact(c.s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)));
    CHECK(rows_of(c.s) == ROWS - 8 && gets_of(c.s) == ROWS - 8);
    end(&c);
}

static void a_deleted_range_stays_deleted(void)
{
    char a[16], b[16];
    scene c;

    begin(&c);
    REQUIRE_OK(fkv_txn_begin(c.t, 0));
    REQUIRE_OK(fkv_txn_delete_range(c.t, key_of(a, FROM), key_of(b, TO)));
    REQUIRE_OK(fkv_txn_prepare(c.t, FKV_NONE));
    fkv_txn_commit(c.t);
    CHECK(rows_of(c.s) == ROWS - (TO - FROM) && gets_of(c.s) == ROWS - (TO - FROM));
    for (int step = 0; step < 4; step++) { /* down, a level at a time, with newer rows above it */
        put_rows(c.t, FROM + step, FROM + step + 1);
        if (step % 2) {
            REQUIRE_OK(fkv_settle(c.s));
        } else {
            REQUIRE_OK(fkv_flush(c.s));
        }
        CHECK(rows_of(c.s) == ROWS - (TO - FROM) + step + 1);
        CHECK(gets_of(c.s) == ROWS - (TO - FROM) + step + 1);
    }
    REQUIRE_OK(fkv_compact(c.s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)));
    CHECK(rows_of(c.s) == ROWS - (TO - FROM) + 4 && gets_of(c.s) == ROWS - (TO - FROM) + 4);
    end(&c);
}

TEST_MAIN("test_deep_tombstones", TEST_CASE(a_deleted_row_stays_deleted),
          TEST_CASE(a_deleted_range_stays_deleted))
