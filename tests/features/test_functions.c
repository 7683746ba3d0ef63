/*
** Functions and commands between connections and threads: what each sees of the others, and that
** nothing is counted, taken or swapped twice. (What they do by themselves: tests/sql/functions.sql,
** commands_ranges.sql, options.sql.)
*/
#include <pthread.h>
#include <stdatomic.h>

#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *open_one(void)
{
    sqlite3 *db = txn_open(folder, "f.db");

    (void)sqlite3_busy_timeout(db, 10000);
    return db;
}

static sqlite3 *begin_test(const char *journal, sqlite3 **other)
{
    sqlite3 *db;

    txn_folder(folder);
    db = open_one();
    CHECK_SQL(
        db, SQLITE_OK,
        "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF; CREATE TABLE n(k INTEGER PRIMARY "
        "KEY, v); CREATE VIRTUAL TABLE kv USING fastkv(key, value)",
        journal);
    *other = open_one();
    CHECK_SQL(*other, SQLITE_OK, "PRAGMA synchronous = OFF; SELECT * FROM kv");
    return db;
}

static void end_test(sqlite3 *db, sqlite3 *other)
{
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* Outside of a transaction it is the latest commit, inside it is the transaction's view, which
** agrees with the native tables'. */
static void get_sees_what_a_select_sees(void)
{
    sqlite3 *b, *a = begin_test("WAL", &b);

    for (int i = 1; i < 8; i++) {
        int mixed = i % 2, reads_native_first = i & 2;
        CHECK_SQL(a, SQLITE_OK, "BEGIN; REPLACE INTO kv VALUES('x', %d); %s COMMIT", i,
                  mixed ? "REPLACE INTO n VALUES(1, 1);" : "");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", i);
        CHECK_SQL(b, SQLITE_OK, "BEGIN; REPLACE INTO n VALUES(1, %d); COMMIT", i);
        CHECK_SQL(b, SQLITE_OK, "BEGIN");
        if (reads_native_first) CHECK_NUMBER(b, "SELECT v FROM n WHERE k = 1", i);
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", i);
        CHECK_SQL(a, SQLITE_OK,
                  "BEGIN; REPLACE INTO kv VALUES('x', 100); REPLACE INTO n VALUES(1, 100); COMMIT");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", i);
        CHECK_NUMBER(b, "SELECT value FROM kv WHERE key = 'x'", i);
        CHECK_NUMBER(b, "SELECT v FROM n WHERE k = 1", i);
        CHECK_SQL(b, SQLITE_BUSY_SNAPSHOT, "SELECT fastkv_incr('kv', 'x', 1)");
        CHECK_SQL(b, SQLITE_OK, "ROLLBACK");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", 100);
    }
    end_test(a, b);
}

/* Also where the connection has never read a table in another way, and what is committed in between
** changes no native table. */
static void get_reads_the_same_again(void)
{
    sqlite3 *other, *a = begin_test("WAL", &other), *b = open_one();

    for (int i = 1; i < 4; i++) {
        CHECK_SQL(a, SQLITE_OK, "REPLACE INTO kv VALUES('x', %d)", i);
        CHECK_SQL(b, SQLITE_OK, "BEGIN");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", i);
        CHECK_SQL(a, SQLITE_OK, "REPLACE INTO kv VALUES('x', 100)");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", i);
        CHECK_SQL(b, SQLITE_OK, i % 2 ? "ROLLBACK" : "COMMIT");
        CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'x')", 100);
    }
    CHECK_CLOSE(b);
    end_test(a, other);
}

/* A function that writes is seen by nobody before COMMIT, and by all after it. */
static void writes_are_seen_when_committed(void)
{
    sqlite3 *b, *a = begin_test("WAL", &b);

    CHECK_SQL(a, SQLITE_OK, "BEGIN");
    CHECK_NUMBER(a, "SELECT fastkv_incr('kv', 'n', 5)", 5);
    CHECK_NUMBER(a, "SELECT fastkv_cas('kv', 'lock', NULL, 'a')", 1);
    CHECK_NUMBER(b, "SELECT count(*) FROM kv", 0);
    CHECK_NUMBER(b, "SELECT fastkv_get('kv', 'n') IS NULL", 1);
    (void)sqlite3_busy_timeout(b, 0);
    CHECK_SQL(b, SQLITE_BUSY, "SELECT fastkv_incr('kv', 'n', 1)");
    CHECK_SQL(b, SQLITE_BUSY, "SELECT * FROM fastkv_pop('kv', '')");
    CHECK_SQL(a, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(b, "SELECT fastkv_incr('kv', 'n', 1)", 6);
    CHECK_NUMBER(b, "SELECT fastkv_cas('kv', 'lock', NULL, 'b')", 0);
    CHECK_NUMBER(a, "SELECT fastkv_get('kv', 'n')", 6);
    CHECK_SQL(a, SQLITE_OK,
              "DROP TABLE kv; CREATE VIRTUAL TABLE kv USING fastkv(a, b, c, "
              "PRIMARY KEY (a, b)); SELECT fastkv_incr('kv', 1, 2, 40)");
    CHECK_NUMBER(b, "SELECT c FROM kv", 40); /* it learns of the new table by a statement */
    CHECK_NUMBER(b, "SELECT fastkv_incr('kv', 1, 2, 2)", 42);
    end_test(a, b);
}

/* A range that one connection deletes is still there for one that reads. */
static void deleted_ranges_respect_snapshots(void)
{
    sqlite3 *b, *a = begin_test("WAL", &b);

    CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv SELECT value, 1 FROM json_each('[1, 2, 3, 4, 5, 6]')");
    CHECK_SQL(b, SQLITE_OK, "BEGIN; SELECT * FROM kv");
    CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv(kv, arg) VALUES('delete-range', '[2, 5]')");
    CHECK_NUMBER(a, "SELECT count(*) FROM kv", 3);
    CHECK_NUMBER(b, "SELECT count(*) FROM kv", 6);
    CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    CHECK_NUMBER(b, "SELECT count(*) FROM kv", 6);
    CHECK_SQL(b, SQLITE_BUSY_SNAPSHOT, "INSERT INTO kv(kv) VALUES('truncate')");
    CHECK_SQL(b, SQLITE_OK, "ROLLBACK");
    CHECK_NUMBER(b, "SELECT count(*) FROM kv", 3);
    end_test(a, b);
}

static int64_t stat_of(sqlite3 *db, const char *name)
{
    char sql[200];

    (void)snprintf(sql, sizeof sql, "SELECT value FROM fastkv_stats('other') WHERE name = '%s'",
                   name);
    return number(db, sql);
}

/* However many rows: one record in the log, and nothing is walked over afterwards. */
static void deleting_a_range_costs_one_record(void)
{
    static const char *const ways[] = {"INSERT INTO kv(kv, arg) VALUES('delete-prefix', 'key')",
                                       "INSERT INTO kv(kv, arg) VALUES('delete-range', "
                                       "'[\"key0\", \"key9999999\"]')",
                                       "INSERT INTO kv(kv) VALUES('truncate')", "DROP TABLE kv"};

    for (int way = 0; way < 4; way++) {
        sqlite3 *b, *a = begin_test("WAL", &b);
        int64_t logged, skipped;
        CHECK_SQL(
            a, SQLITE_OK,
            "CREATE VIRTUAL TABLE other USING fastkv; INSERT INTO other VALUES(1, 1); WITH "
            "RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 50000) "
            "INSERT INTO kv SELECT 'key' || n, n FROM i; INSERT INTO kv(kv) VALUES('compact')");
        logged = stat_of(a, "bytes_logged");
        skipped = stat_of(a, "entries_skipped");
        CHECK_SQL(a, SQLITE_OK, "%s", ways[way]);
        CHECK(stat_of(a, "bytes_logged") - logged < 300);
        if (way < 3) CHECK_NUMBER(a, "SELECT count(*) FROM kv", 0);
        CHECK(stat_of(a, "entries_skipped") - skipped < 10);
        CHECK_SQL(a, SQLITE_OK, "INSERT INTO other(other) VALUES('settle')");
        CHECK(stat_of(a, "disk_bytes") < 400 << 10); /* the files went as a whole */
        end_test(a, b);
    }
}

/* Another connection's change of an option holds from the next transaction that writes. */
static void options_reach_the_other_connections(void)
{
    for (int file = 0; file < 2; file++) {
        sqlite3 *b, *a = begin_test(file ? "WAL" : "DELETE", &b);
        CHECK_SQL(b, SQLITE_OK, "INSERT INTO kv VALUES(1, 1)");
        CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv(kv) VALUES('ttl=1000'), ('compression=zlib')");
        CHECK_SQL(b, SQLITE_OK, "INSERT INTO kv VALUES(2, 2)");
        CHECK_NUMBER(b, "SELECT count(*) FROM kv WHERE ttl > 900", 1);
        CHECK_SQL(a, SQLITE_OK, "BEGIN; INSERT INTO kv(kv) VALUES('ttl=none'); ROLLBACK");
        CHECK_SQL(b, SQLITE_OK, "INSERT INTO kv VALUES(3, 3)");
        CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv VALUES(4, 4)");
        CHECK_NUMBER(b, "SELECT count(*) FROM kv WHERE ttl > 900", 3);
        CHECK_SQL(b, SQLITE_OK, "INSERT INTO kv(kv) VALUES('ttl=none')");
        CHECK_SQL(a, SQLITE_OK, "INSERT INTO kv VALUES(5, 5)");
        CHECK_NUMBER(a, "SELECT count(*) FROM kv WHERE ttl IS NULL", 2);
        CHECK_SQL(a, SQLITE_OK, "CREATE VIRTUAL TABLE second USING fastkv(memory = '2MB')");
        CHECK_SQL(b, SQLITE_OK, "INSERT INTO kv VALUES(6, 6)");
        CHECK_NUMBER(b,
                     "SELECT value <= 2 << 20 FROM fastkv_stats('kv') WHERE name = "
                     "'cache_capacity'",
                     1);
        end_test(a, b);
    }
}

/* -- threads ----------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 200, JOBS = 600 };

static _Atomic int taken, swapped;

/* A failure in a thread: its text, once. */
static int64_t expect_number(sqlite3 *db, const char *sql)
{
    int64_t n = number(db, sql);

    if (n < 0 && n != -SQLITE_DONE) (void)printf("%s: %s\n", sql, sqlite3_errmsg(db));
    return n;
}

static void *worker(void *arg)
{
    sqlite3 *db = open_one();

    (void)arg;
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    for (int i = 0; i < ROUNDS; i++) {
        if (expect_number(db, "SELECT fastkv_incr('kv', 'sum', 1)") < 0) break;
        if (expect_number(db, "SELECT fastkv_cas('kv', 'turn', fastkv_get('kv', 'turn'), "
                              "fastkv_get('kv', 'turn') + 1)") == 1) {
            atomic_fetch_add(&swapped, 1);
        }
        while (i % 10 == 0 &&
               expect_number(db, "SELECT count(*) FROM fastkv_pop('kv', 'job', 3)") > 0)
            atomic_fetch_add(&taken, 1);
    }
    CHECK_CLOSE(db);
    return NULL;
}

static void nothing_is_done_twice(void)
{
    sqlite3 *b, *a = begin_test("WAL", &b);
    pthread_t threads[THREADS];

    CHECK_SQL(
        a, SQLITE_OK,
        "INSERT INTO kv VALUES('turn', 0); WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n "
        "+ 1 FROM i WHERE n < %d) INSERT INTO kv SELECT 'job' || n, n FROM i",
        JOBS);
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, worker, NULL)) abort();
    }
    for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i], NULL);
    CHECK_NUMBER(a, "SELECT fastkv_get('kv', 'sum')", THREADS * ROUNDS);
    CHECK_NUMBER(a, "SELECT fastkv_get('kv', 'turn')", atomic_load(&swapped));
    CHECK_NUMBER(a, "SELECT count(*) FROM kv", 2);
    CHECK(atomic_load(&taken) == JOBS / 3);
    end_test(a, b);
}

/* -- work under way ---------------------------------------------------------------------------- */

static _Atomic int compacted;

static void *compact_all(void *arg)
{
    sqlite3 *db = open_one();

    (void)arg;
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    atomic_store(&compacted, 1);
    CHECK_CLOSE(db);
    return NULL;
}

/* A compaction is seen by another connection while it runs, and not any more when it is over. */
static void jobs_are_told_of(void)
{
    sqlite3 *b, *a = begin_test("WAL", &b);
    pthread_t thread;
    int64_t seen = 0;

    CHECK_SQL(a, SQLITE_OK,
              "INSERT INTO kv(kv) VALUES('compression=zlib:9'); WITH RECURSIVE i(n) AS (SELECT 1 "
              "UNION ALL SELECT n + 1 FROM i WHERE n < 60000) INSERT INTO kv SELECT n, "
              "hex(randomblob(100)) FROM i");
    CHECK_NUMBER(a, "SELECT count(*) FROM fastkv_jobs('kv')", 0);
    if (pthread_create(&thread, NULL, compact_all, NULL)) abort();
    while (!atomic_load(&compacted) && !seen) {
        seen = number(b, "SELECT count(*) FROM fastkv_jobs('kv') WHERE job IN ('flush', "
                         "'compaction') AND percent BETWEEN 0 AND 100 AND (seconds_left IS NULL OR "
                         "seconds_left BETWEEN 0 AND 1000)");
    }
    (void)pthread_join(thread, NULL);
    CHECK(seen > 0);
    CHECK_NUMBER(b, "SELECT count(*) FROM fastkv_jobs('kv')", 0);
    CHECK_NUMBER(b, "SELECT count(*) FROM kv", 60000);
    CHECK_NUMBER(b,
                 "SELECT sum(value > 0) FROM fastkv_stats('kv') WHERE name IN ('get_p50_ns', "
                 "'seek_p50_ns', 'commit_p50_ns', 'get_p99_ns', 'seek_p99_ns', 'commit_p99_ns')",
                 6);
    end_test(a, b);
}

TEST_MAIN("test_functions", TEST_CASE(get_sees_what_a_select_sees),
          TEST_CASE(get_reads_the_same_again), TEST_CASE(writes_are_seen_when_committed),
          TEST_CASE(deleted_ranges_respect_snapshots), TEST_CASE(deleting_a_range_costs_one_record),
          TEST_CASE(options_reach_the_other_connections), TEST_CASE(nothing_is_done_twice),
          TEST_CASE(jobs_are_told_of))
