/*
** What the four systems that fastkv grew from did wrong, once for each: twelve defects, found by
** using them or by reading them. fastkv must not have them.
**
**   MoneyPoint  an LSM store behind a socket           PyKV     a REST store with TTL and LRU
**   FastKV      an LSM store in Python                 PyKeyDB  a text protocol over a log
*/
#include "features/clock_hook.h"
#include "txn/io_hook.h"
#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *begin_test(const char *columns)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "seed.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE kv USING fastkv(%s)",
              columns);
    return db;
}

static void end_test(sqlite3 *db)
{
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void reopen(sqlite3 **db)
{
    CHECK_CLOSE(*db);
    *db = txn_open(folder, "seed.db");
}

/* Flush, compact, reopen, in turn: 0 = leave it in memory. */
enum { STAGES = 4 };

static void stage(sqlite3 **db, int which)
{
    if (which == 1) CHECK_SQL(*db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('flush')");
    if (which == 2) CHECK_SQL(*db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    if (which == 3) reopen(db);
}

/* 1. MoneyPoint: deleting a key that had been flushed brought it back. */
static void a_deleted_key_stays_away_after_a_flush(void)
{
    for (int before = 0; before < STAGES; before++) {
        for (int after = 0; after < STAGES; after++) {
            sqlite3 *db = begin_test("key, value");
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('a', 1), ('b', 2), ('c', 3)");
            stage(&db, before);
            CHECK_SQL(db, SQLITE_OK, "DELETE FROM kv WHERE key = 'b'");
            CHECK_NUMBER(db, "SELECT count(*) FROM kv WHERE key = 'b'", 0);
            stage(&db, after);
            CHECK_NUMBER(db, "SELECT count(*) FROM kv WHERE key = 'b'", 0);
            CHECK_NUMBER(db, "SELECT sum(value) FROM kv WHERE key BETWEEN 'a' AND 'c'", 4);
            reopen(&db);
            CHECK_NUMBER(db, "SELECT fastkv_get('kv', 'b') IS NULL", 1);
            end_test(db);
        }
    }
}

/* 2. MoneyPoint: one integer key made every later write and range fail, and the store unable to
** start. */
static void keys_of_any_type_live_together(void)
{
    sqlite3 *db = begin_test("key, value");

    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('text', 1), (42, 2), (4.5, 3), (x'00ff', 4)");
    for (int i = 0; i < STAGES; i++) {
        stage(&db, i);
        CHECK_SQL(db, SQLITE_OK, "REPLACE INTO kv VALUES('text', 1), (42, 2), (-7, %d)", i);
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", 5);
        CHECK_NUMBER(db, "SELECT value FROM kv WHERE key = 42", 2);
        CHECK_NUMBER(db, "SELECT count(*) FROM kv WHERE key BETWEEN 1 AND 'z'", 3);
        CHECK_NUMBER(db,
                     "SELECT group_concat(typeof(key)) = 'integer,real,integer,text,blob' "
                     "FROM kv",
                     1);
    }
    end_test(db);
}

/* 3. MoneyPoint: a crash in a batch left half of it. */
static int batch_and_die(void *commits)
{
    sqlite3 *db = txn_open(folder, "seed.db");

    CHECK_SQL(
        db, SQLITE_OK,
        "BEGIN; WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 5000)"
        " REPLACE INTO kv SELECT n, 'batch' FROM i");
    if (commits) CHECK_SQL(db, SQLITE_OK, "COMMIT");
    return check_failures;
}

static void a_batch_is_whole_after_a_crash(void)
{
    sqlite3 *db = begin_test("key, value");

    CHECK_CLOSE(db);
    for (int commits = 0; commits < 2; commits++) {
        CHECK(in_child(batch_and_die, commits ? folder : NULL) == 0);
        db = txn_open(folder, "seed.db");
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", commits ? 5000 : 0);
        if (!commits) CHECK_CLOSE(db);
    }
    end_test(db);
}

/* 4. MoneyPoint: null could not be stored, and a character that lay across byte 4096 cut the
** connection. */
static void null_and_characters_anywhere(void)
{
    sqlite3 *db = begin_test("key, value");

    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('null', NULL)");
    for (int at = 4088; at < 4100; at++) {
        CHECK_SQL(db, SQLITE_OK,
                  "INSERT INTO kv SELECT %d, printf('%%.*c', %d, 'x') || '€𝄞ß' || "
                  "printf('%%.*c', 5000, 'y')",
                  at, at);
    }
    for (int i = 0; i < STAGES; i++) {
        stage(&db, i);
        CHECK_NUMBER(db, "SELECT value IS NULL FROM kv WHERE key = 'null'", 1);
        CHECK_NUMBER(db,
                     "SELECT sum(substr(value, key + 1, 3) = '€𝄞ß' AND length(value) = key + "
                     "5003) FROM kv WHERE key > 0 AND key < 5000",
                     12);
    }
    end_test(db);
}

/* 5. PyKV: at key 101, one more than its capacity, it waited for itself for ever. */
static void more_keys_than_fit_the_cache(void)
{
    sqlite3 *db = begin_test("key, value, memory = '1MB'");

    (void)alarm(120); /* a deadlock ends here */
    CHECK_SQL(db, SQLITE_OK,
              "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 101) "
              "INSERT INTO kv SELECT n, 'value' FROM i");
    CHECK_NUMBER(db, "SELECT count(fastkv_get('kv', key)) FROM kv", 101);
    CHECK_SQL(db, SQLITE_OK,
              "WITH RECURSIVE i(n) AS (SELECT 102 UNION ALL SELECT n + 1 FROM i WHERE n < 20000) "
              "INSERT INTO kv SELECT n, randomblob(200) FROM i"); /* 4 MB through 1 MB of memory */
    CHECK_NUMBER(db, "SELECT count(fastkv_get('kv', key)) FROM kv", 20000);
    (void)alarm(0);
    end_test(db);
}

/* 6. PyKV: recovery left an expired overwriting out, so that the older value came back. */
static void an_expired_overwriting_hides_what_it_overwrote(void)
{
    for (int before = 0; before < STAGES; before++) {
        for (int after = 0; after < STAGES; after++) {
            sqlite3 *db = begin_test("key, value");
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('a', 'old')");
            stage(&db, before);
            CHECK_SQL(db, SQLITE_OK, "REPLACE INTO kv(key, value, ttl) VALUES('a', 'new', 10)");
            stage(&db, after);
            CHECK_NUMBER(db, "SELECT value = 'new' FROM kv", 1);
            atomic_fetch_add(&clock_shift_s, 20);
            for (int i = 0; i < STAGES; i++) {
                CHECK_NUMBER(db, "SELECT count(*) FROM kv", 0);
                stage(&db, i);
            }
            CHECK_NUMBER(db, "SELECT fastkv_get('kv', 'a') IS NULL", 1);
            end_test(db);
            atomic_store(&clock_shift_s, 0);
        }
    }
}

/* 7. PyKV: a counter never counted, and the statistics of one namespace lost members. */
static void statistics_count_and_are_complete(void)
{
    sqlite3 *db = begin_test("key, value");

    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE other USING fastkv; CREATE TABLE before AS "
              "SELECT * FROM fastkv_stats('kv')");
    CHECK_NUMBER(db,
                 "SELECT count(*) FROM fastkv_stats('kv') AS a LEFT JOIN fastkv_stats('other') "
                 "AS b USING (name) WHERE b.name IS NULL",
                 0);
    CHECK_NUMBER(db, "SELECT count(*) > 40 FROM fastkv_stats('other')", 1);
    CHECK_NUMBER(db, "SELECT count(*) > 30 FROM json_each(fastkv_stats_json('other'))", 1);
    CHECK_SQL(
        db, SQLITE_OK,
        "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 2000) "
        "INSERT INTO kv SELECT n, randomblob(50) FROM i; INSERT INTO kv(kv) VALUES('compact');"
        "SELECT count(*) FROM kv WHERE key IN (1, 2, 3); SELECT count(*) FROM kv; DELETE FROM "
        "kv WHERE key < 10; SELECT * FROM kv LIMIT 1; INSERT INTO kv(kv) VALUES('compact')");
    for (int i = 0; i < 100; i++) { /* the thread that counts may be a moment late */
        if (number(db, "SELECT value FROM fastkv_stats('kv') WHERE name = 'flushes'") > 1) break;
        (void)sqlite3_sleep(20);
    }
    CHECK_NUMBER(db,
                 "SELECT count(*) FROM before JOIN fastkv_stats('kv') AS now USING (name) WHERE "
                 "now.value > before.value AND name IN ('gets', 'seeks', 'rows_read', "
                 "'entries_skipped', 'cache_hits', 'cache_misses', 'bytes_put', 'bytes_logged', "
                 "'bytes_flushed', 'bytes_compacted', 'flushes', 'compactions', 'last_sequence')",
                 13);
    end_test(db);
}

/* 8. FastKV: deletions were empty values, blocks were not readable after a flush, and the thread
** that cleaned up died. */
static void empty_values_are_values_and_blocks_can_be_read(void)
{
    sqlite3 *db = begin_test("key, value, memory = '1MB', block_size = 256");

    CHECK_SQL(db, SQLITE_OK,
              "INSERT INTO kv VALUES('text', ''), ('blob', x''), ('gone', 'x'), "
              "('zero', 0); DELETE FROM kv WHERE key = 'gone'");
    for (int round = 0; round < 6; round++) { /* each is larger than a memtable */
        CHECK_SQL(db, SQLITE_OK,
                  "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000) "
                  "REPLACE INTO kv SELECT n, printf('%%.*c', n %% 700, '%c') FROM i",
                  'a' + round);
    }
    for (int i = 0; i < STAGES; i++) {
        stage(&db, i);
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", 3003);
        CHECK_NUMBER(db,
                     "SELECT typeof(value) || length(value) = 'text0' FROM kv WHERE key = "
                     "'text'",
                     1);
        CHECK_NUMBER(db,
                     "SELECT typeof(value) || length(value) = 'blob0' FROM kv WHERE key = "
                     "'blob'",
                     1);
        CHECK_NUMBER(db, "SELECT fastkv_get('kv', 'gone') IS NULL", 1);
        CHECK_NUMBER(db,
                     "SELECT sum(value = printf('%.*c', key % 700, 'f')) FROM kv WHERE key > 0 "
                     "AND key < 5000",
                     3000);
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('integrity-check')");
    }
    end_test(db);
}

/* 9. FastKV: sequence numbers began anew after reopening, so that old values won. */
static void the_last_write_wins_after_reopening(void)
{
    sqlite3 *db = begin_test("key, value");
    int64_t sequence = 0;

    for (int life = 1; life < 8; life++) {
        for (int i = 0; i < 50 / life; i++) /* earlier lives have written more */
            CHECK_SQL(db, SQLITE_OK, "REPLACE INTO kv VALUES('a', %d)", life * 100 + i);
        if (life % 2) stage(&db, 1);
        CHECK(number(db, "SELECT value FROM fastkv_stats('kv') WHERE name = 'last_sequence'") >
              sequence);
        sequence = number(db, "SELECT value FROM fastkv_stats('kv') WHERE name = 'last_sequence'");
        reopen(&db);
        CHECK_NUMBER(db, "SELECT value FROM kv", life * 100 + 50 / life - 1);
        if (life % 3 == 0) stage(&db, 2);
        CHECK_NUMBER(db, "SELECT value FROM kv", life * 100 + 50 / life - 1);
    }
    end_test(db);
}

/* 10. FastKV: the manifest was written over, and nothing was synced before 128 MB. (The manifest at
** every power cut: crash/test_power_cut.c, unit/test_manifest_replace.c.) */
static _Atomic int log_syncs, manifest_writes, manifest_renames;

static int watch(const io_event *e)
{
    char link[32], path[512] = {0};

    if (e->op == IO_RENAME && strstr(e->path, "manifest")) atomic_fetch_add(&manifest_renames, 1);
    if (e->fd < 0) return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", e->fd);
    if (readlink(link, path, sizeof path - 1) < 0) return 0;
    if (e->op == IO_SYNC && strstr(path, ".wal")) atomic_fetch_add(&log_syncs, 1);
    if (e->op == IO_WRITE && strlen(path) > 9 && strcmp(path + strlen(path) - 9, "/manifest") == 0)
        atomic_fetch_add(&manifest_writes, 1);
    return 0;
}

static void the_log_is_synced_soon_and_the_manifest_replaced(void)
{
    sqlite3 *db = begin_test("key, value");
    int waited = 0, before;

    io_hook = watch;
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = NORMAL; INSERT INTO kv VALUES('first', 1)");
    before = atomic_load(&log_syncs);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('a', 1)");
    while (atomic_load(&log_syncs) == before && waited < 5000) waited += sqlite3_sleep(20);
    CHECK(waited < 2500); /* a second, and a busy machine */
    before = atomic_load(&log_syncs);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = FULL; INSERT INTO kv VALUES('b', 1)");
    CHECK(atomic_load(&log_syncs) > before); /* at once */
    /* The table's own word counts more than the database's. */
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA synchronous = OFF; INSERT INTO kv(kv) VALUES('durability=sync')");
    before = atomic_load(&log_syncs);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES('c', 1)");
    CHECK(atomic_load(&log_syncs) > before);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('durability=none')");
    (void)sqlite3_sleep(1500); /* let the syncer come to rest */
    before = atomic_load(&log_syncs);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = FULL; INSERT INTO kv VALUES('d', 1)");
    CHECK(atomic_load(&log_syncs) == before);
    for (int i = 0; i < 3; i++)
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES(%d, 1); INSERT INTO kv(kv) VALUES('flush')",
                  i);
    CHECK(atomic_load(&manifest_renames) >= 3 && atomic_load(&manifest_writes) == 0);
    end_test(db);
    io_hook = NULL;
}

/* 11. FastKV: a limit was applied to each source before merging them, so that deleted rows took the
** places of live ones. */
static void a_limit_counts_live_rows(void)
{
    sqlite3 *db = begin_test("key INTEGER, value");

    CHECK_SQL(db, SQLITE_OK, "CREATE TABLE n(key INTEGER PRIMARY KEY, value)");
    for (int i = 0; i < 5; i++) { /* rows and deletions in every level and in memory */
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE part AS WITH RECURSIVE i(n) AS (SELECT %d UNION ALL SELECT n + 7 "
                  "FROM i WHERE n < 1000) SELECT n AS key, %d AS value FROM i; REPLACE INTO kv "
                  "SELECT * FROM part; REPLACE INTO n SELECT * FROM part; DROP TABLE part;"
                  "DELETE FROM kv WHERE key %% 5 = %d; DELETE FROM n WHERE key %% 5 = %d;",
                  i, i, i, i);
        if (i < 4) stage(&db, 1 + i % 2);
    }
    for (int limit = 1; limit < 60; limit++) {
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TEMP TABLE up AS SELECT key, value FROM kv WHERE key >= 50 ORDER BY key "
                  "LIMIT %d; CREATE TEMP TABLE down AS SELECT key, value FROM kv ORDER BY key DESC "
                  "LIMIT %d",
                  limit, limit);
        CHECK_NUMBER(db, "SELECT count(*) FROM up JOIN n USING (key, value)", limit);
        CHECK_NUMBER(db, "SELECT count(*) FROM down JOIN n USING (key, value)", limit);
        CHECK_NUMBER(db,
                     "SELECT (SELECT count(*) FROM n WHERE key BETWEEN 50 AND (SELECT max(key) "
                     "FROM up)) - (SELECT count(*) FROM up)",
                     0);
        CHECK_NUMBER(db,
                     "SELECT (SELECT count(*) FROM n WHERE key >= (SELECT min(key) FROM down)) - "
                     "(SELECT count(*) FROM down)",
                     0);
        CHECK_SQL(db, SQLITE_OK, "DROP TABLE up; DROP TABLE down");
    }
    end_test(db);
}

/* 12. PyKeyDB: asking for the type of a value failed, and runs of blanks in values became one. */
static void types_are_told_and_blanks_are_kept(void)
{
    sqlite3 *db = begin_test("key, value");

    CHECK_SQL(
        db, SQLITE_OK,
        "INSERT INTO kv VALUES('text', '  two  blanks,'||char(9)||'a tab,'||char(13, 10)||'a "
        "line  '), ('quote', '\"it''s\"'), ('int', 7), ('real', 7.5), ('null', NULL), ('blob', "
        "x'20002020')");
    for (int i = 0; i < STAGES; i++) {
        stage(&db, i);
        CHECK_NUMBER(db,
                     "SELECT group_concat(typeof(value)) = "
                     "'blob,integer,null,text,real,text' FROM kv",
                     1);
        CHECK_NUMBER(db,
                     "SELECT value = '  two  blanks,'||char(9)||'a tab,'||char(13, 10)||'a line "
                     " ' FROM kv WHERE key = 'text'",
                     1);
        CHECK_NUMBER(db, "SELECT hex(value) = '20002020' FROM kv WHERE key = 'blob'", 1);
        CHECK_NUMBER(db, "SELECT value = '\"it''s\"' FROM kv WHERE key = 'quote'", 1);
    }
    end_test(db);
}

TEST_MAIN("test_seed_defects", TEST_CASE(a_deleted_key_stays_away_after_a_flush),
          TEST_CASE(keys_of_any_type_live_together), TEST_CASE(a_batch_is_whole_after_a_crash),
          TEST_CASE(null_and_characters_anywhere), TEST_CASE(more_keys_than_fit_the_cache),
          TEST_CASE(an_expired_overwriting_hides_what_it_overwrote),
          TEST_CASE(statistics_count_and_are_complete),
          TEST_CASE(empty_values_are_values_and_blocks_can_be_read),
          TEST_CASE(the_last_write_wins_after_reopening),
          TEST_CASE(the_log_is_synced_soon_and_the_manifest_replaced),
          TEST_CASE(a_limit_counts_live_rows), TEST_CASE(types_are_told_and_blanks_are_kept))
