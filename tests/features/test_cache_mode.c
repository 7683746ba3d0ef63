/*
** Cache mode between connections, threads and processes: the limit holds, what one connection uses
** is not forgotten by another, and nobody waits for himself. (By itself: tests/sql/cache_mode.sql;
** the order of use: unit/test_ext_lru.c.)
**
** test-modes: release asan tsan
*/
#include <pthread.h>
#include <stdatomic.h>

#include "features/clock_hook.h"
#include "txn/txn_util.h"

enum { LIMIT = 100 };

static char folder[PATH_ROOM];

static sqlite3 *open_one(void)
{
    sqlite3 *db = txn_open(folder, "c.db");

    (void)sqlite3_busy_timeout(db, 20000);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    return db;
}

static sqlite3 *begin_test(const char *journal)
{
    sqlite3 *db;

    atomic_store(&clock_shift_s, 0);
    txn_folder(folder);
    db = open_one();
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; CREATE VIRTUAL TABLE c USING fastkv(key, "
              "value, max_keys = %d)",
              journal, LIMIT);
    return db;
}

static void end_test(sqlite3 *db)
{
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void fill(sqlite3 *db, int from, int to)
{
    CHECK_SQL(db, SQLITE_OK,
              "WITH RECURSIVE i(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM i WHERE n < %d) "
              "REPLACE INTO c SELECT n, 'value' FROM i",
              from, to);
}

static void use_by_one_counts_for_all(void)
{
    static const char *const journals[] = {"WAL", "DELETE"};

    for (int j = 0; j < 2; j++) {
        sqlite3 *a = begin_test(journals[j]), *b = open_one();
        fill(a, 1, LIMIT);
        CHECK_NUMBER(b, "SELECT count(fastkv_get('c', key)) FROM c WHERE key <= 10", 10);
        CHECK_NUMBER(b, "SELECT count(*) FROM c WHERE key IN (11, 12, 13)", 3);
        fill(a, 1001, 1000 + LIMIT - 13);
        CHECK_NUMBER(a, "SELECT count(*) FROM c WHERE key < 1000", 13);
        CHECK_NUMBER(b, "SELECT max(key) FROM c WHERE key < 1000", 13);
        fill(b, 2001, 2001);
        CHECK_NUMBER(a, "SELECT count(*) FROM c", LIMIT);
        CHECK_CLOSE(b);
        end_test(a);
    }
}

/* A transaction that is not committed has evicted; another one that reads still has its rows. */
static void a_reader_keeps_its_rows(void)
{
    sqlite3 *a = begin_test("WAL"), *b = open_one();

    fill(a, 1, LIMIT);
    CHECK_SQL(b, SQLITE_OK, "BEGIN; SELECT * FROM c");
    CHECK_SQL(a, SQLITE_OK, "BEGIN");
    fill(a, 1001, 1050);
    CHECK_NUMBER(a, "SELECT count(*) FROM c", LIMIT);
    CHECK_NUMBER(b, "SELECT count(*) FROM c WHERE key <= 100", LIMIT);
    CHECK_NUMBER(b, "SELECT fastkv_get('c', 1) = 'value'", 1);
    CHECK_SQL(a, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(b, "SELECT count(*) FROM c WHERE key <= 100", LIMIT);
    CHECK_SQL(b, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(b, "SELECT count(*) FROM c WHERE key <= 100", LIMIT - 50);
    CHECK_CLOSE(b);
    end_test(a);
}

/* -- threads ----------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 150 };

static _Atomic int next_key;

static void *worker(void *arg)
{
    sqlite3 *db = open_one();
    unsigned state = (unsigned)(uintptr_t)arg * 77u + 1;

    for (int i = 0; i < ROUNDS; i++) {
        int key = atomic_fetch_add(&next_key, 1);
        char sql[200];
        state = state * 1664525u + 1013904223u;
        if (state >> 28 < 3) {
            CHECK_SQL(db, SQLITE_OK, "BEGIN IMMEDIATE; REPLACE INTO c VALUES(%d, 1), (%d, 2); %s",
                      key, key / 2, state >> 27 & 1 ? "COMMIT" : "ROLLBACK");
        } else if (state >> 28 < 5) {
            CHECK_SQL(db, SQLITE_OK, "DELETE FROM c WHERE key = %d", key - 20);
        } else if (state >> 28 < 9) {
            (void)snprintf(sql, sizeof sql, "SELECT fastkv_get('c', %d) IS NULL", key - 30);
            CHECK(number(db, sql) >= 0);
        } else {
            CHECK_SQL(db, SQLITE_OK, "REPLACE INTO c VALUES(%d, 1)", key);
        }
        CHECK(number(db, "SELECT count(*) FROM c") <= LIMIT);
        if (check_failures > 20) break;
    }
    CHECK_CLOSE(db);
    return NULL;
}

static void the_limit_holds_among_threads(void)
{
    sqlite3 *db = begin_test("WAL");
    pthread_t threads[THREADS];

    atomic_store(&next_key, 1);
    (void)alarm(300); /* nobody may wait for ever */
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1))) abort();
    for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i], NULL);
    (void)alarm(0);
    fill(db, 100000, 100000 + 2 * LIMIT);
    CHECK_NUMBER(db, "SELECT count(*) FROM c", LIMIT);
    CHECK_NUMBER(db, "SELECT min(key) FROM c", 100000 + LIMIT + 1);
    end_test(db);
}

/* -- processes --------------------------------------------------------------------------------- */

static int fill_elsewhere(void *arg)
{
    sqlite3 *db = open_one();

    (void)arg;
    fill(db, 5001, 5000 + LIMIT / 2);
    CHECK_CLOSE(db);
    return check_failures;
}

/* What another process has put is counted a second later, and what it evicted is not missed. */
static void other_processes_are_counted_in_time(void)
{
    sqlite3 *db = begin_test("WAL");

    fill(db, 1, LIMIT);
    CHECK_CLOSE(db);
    CHECK(in_child(fill_elsewhere, NULL) == 0);
    db = open_one();
    CHECK_NUMBER(db, "SELECT count(*) FROM c", LIMIT);
    CHECK_NUMBER(db, "SELECT count(*) FROM c WHERE key <= 100", LIMIT / 2);
    fill(db, 6001, 6001);
    atomic_fetch_add(&clock_shift_s, 10);
    fill(db, 6002, 6002);
    CHECK_NUMBER(db, "SELECT count(*) FROM c", LIMIT);
    end_test(db);
}

TEST_MAIN("test_cache_mode", TEST_CASE(use_by_one_counts_for_all),
          TEST_CASE(a_reader_keeps_its_rows), TEST_CASE(the_limit_holds_among_threads),
          TEST_CASE(other_processes_are_counted_in_time))
