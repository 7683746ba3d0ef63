/*
** fastkv_recover through SQL: a pair that opens as it is, also where the store opens no more, and
** goes on in step with its database. (Which rows come back from which damage:
** crash/test_recover.c.)
*/
#include <fcntl.h>
#include <sys/stat.h>

#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static void path_of(char out[PATH_ROOM * 3], const char *name)
{
    (void)snprintf(out, PATH_ROOM * 3, "%.255s/%.200s", folder, name);
}

static sqlite3 *begin_test(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "r.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE TABLE n(k INTEGER PRIMARY KEY, v);"
              "CREATE VIRTUAL TABLE kv USING fastkv(key, value);"
              "CREATE VIRTUAL TABLE two USING fastkv(a, b, c, PRIMARY KEY(a, b));"
              "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM i WHERE x < 2000) "
              "INSERT INTO kv SELECT 'key' || x, 'value ' || x FROM i;"
              "INSERT INTO two SELECT key, 1, value FROM kv;"
              "INSERT INTO kv(kv) VALUES('compact');"
              "DELETE FROM kv WHERE key GLOB 'key1*';"
              "BEGIN; INSERT INTO n VALUES(1, 1); REPLACE INTO kv VALUES('mixed', 1); COMMIT");
    return db;
}

/* The new pair in folder/new. */
static sqlite3 *open_new(void)
{
    return txn_open(folder, "new/r.db");
}

static int64_t recover(sqlite3 *db, const char *what)
{
    char dir[PATH_ROOM * 3];
    char *sql;
    int64_t n;

    path_of(dir, "new");
    sql = sqlite3_mprintf("SELECT %s FROM fastkv_recover(%Q)", what, dir);
    n = number(db, sql);
    sqlite3_free(sql);
    return n;
}

static void damage(const char *name, off_t at)
{
    char path[PATH_ROOM * 3], byte = 0;
    int fd;

    path_of(path, name);
    fd = open(path, O_RDWR);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) abort();
    byte ^= 4;
    if (pwrite(fd, &byte, 1, at) != 1) abort();
    (void)close(fd);
}

static void whole_pairs_are_copied(void)
{
    sqlite3 *db = begin_test();
    int64_t rows = number(db, "SELECT count(*) FROM kv"), all = rows + 2000;

    CHECK(recover(db, "sum(lost) + 10 * sum(severity IN ('warning', 'error'))") == 0);
    CHECK_NUMBER(db, "SELECT count(*) FROM kv", rows); /* the old one goes on */
    CHECK_CLOSE(db);
    db = open_new();
    CHECK_NUMBER(db, "SELECT count(*) FROM kv", rows);
    CHECK_NUMBER(db, "SELECT (SELECT count(*) FROM kv) + (SELECT count(*) FROM two)", all);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('kv', 'deep') WHERE severity = 'ok'", 1);
    for (int i = 2; i < 6; i++) {
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; INSERT INTO n VALUES(%d, 1); REPLACE INTO kv VALUES('mixed', %d); COMMIT",
                  i, i);
        CHECK_NUMBER(db, "SELECT value - (SELECT max(k) FROM n) FROM kv WHERE key = 'mixed'", 0);
    }
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE third USING fastkv; INSERT INTO third VALUES(1, 2)");
    CHECK_NUMBER(db, "SELECT (SELECT count(*) FROM kv) + (SELECT count(*) FROM two)", all);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void broken_manifests(void)
{
    char path[PATH_ROOM * 3];
    sqlite3 *db = begin_test();
    int64_t rows = number(db, "SELECT count(*) FROM kv");

    CHECK_CLOSE(db);
    for (int missing = 0; missing < 2; missing++) {
        path_of(path, "r.db-fastkv/manifest");
        if (missing) {
            if (remove(path)) abort();
        } else {
            damage("r.db-fastkv/manifest", 40);
        }
        db = txn_open(folder, "r.db");
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", -SQLITE_CORRUPT_VTAB);
        CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('kv') WHERE severity = 'error'", 1);
        CHECK(recover(db, "count(*) > 2 AND sum(file = 'manifest' AND severity = 'error') = 1") ==
              1);
        CHECK_CLOSE(db);
        db = open_new();
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", rows);
        CHECK_NUMBER(db, "SELECT count(*) FROM two", 2000);
        CHECK_NUMBER(db, "SELECT value FROM kv WHERE key = 'mixed'", 1);
        CHECK_SQL(db, SQLITE_OK, "BEGIN; DELETE FROM n; DELETE FROM kv; COMMIT");
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", 0);
        CHECK_CLOSE(db);
        path_of(path, "new");
        txn_remove(path);
    }
    txn_remove(folder);
}

static void refusals(void)
{
    sqlite3 *other, *db = begin_test();
    char path[PATH_ROOM * 3];

    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_recover('')", -SQLITE_ERROR);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_recover", -SQLITE_ERROR);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_recover('x', 'temp')", -SQLITE_ERROR);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_recover('/nowhere/at/all')", -SQLITE_CANTOPEN);
    CHECK_SQL(db, SQLITE_OK, "BEGIN");
    CHECK(recover(db, "count(*)") == -SQLITE_ERROR);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    path_of(path, "new");
    CHECK_SQL(db, SQLITE_OK, "CREATE VIEW v AS SELECT * FROM fastkv_recover(%Q)", path);
    CHECK_NUMBER(db, "SELECT count(*) FROM v", -SQLITE_ERROR);
    other = txn_open(folder, "r.db");
    CHECK_NUMBER(other, "SELECT count(*) FROM kv WHERE key = 'mixed'", 1);
    CHECK(recover(db, "count(*)") == -SQLITE_BUSY);
    CHECK_CLOSE(other);
    CHECK(recover(db, "count(*)") > 0);
    CHECK(recover(db, "count(*)") == -SQLITE_ERROR); /* it is there already */
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static int asked;

static int interrupt_it(unsigned kind, void *db, void *p, void *x)
{
    (void)kind, (void)p;
    if (x && strstr(x, "SELECT 1") && asked++ == 0) sqlite3_interrupt(db);
    return 0;
}

/* Whoever has waited long enough may stop it, and begin again. */
static void can_be_interrupted(void)
{
    char path[PATH_ROOM * 3];
    sqlite3 *db = begin_test();
    int64_t rows = number(db, "SELECT count(*) FROM kv");

    asked = 0;
    (void)sqlite3_trace_v2(db, SQLITE_TRACE_STMT, interrupt_it, db);
    CHECK(recover(db, "count(*)") == -SQLITE_INTERRUPT);
    CHECK(asked > 0);
    (void)sqlite3_trace_v2(db, 0, NULL, NULL);
    CHECK_NUMBER(db, "SELECT count(*) FROM kv", rows);
    path_of(path, "new/r.db");
    CHECK(access(path, F_OK) != 0); /* nothing that looks like a result */
    path_of(path, "new");
    txn_remove(path);
    CHECK(recover(db, "sum(severity = 'error')") == 0);
    CHECK_CLOSE(db);
    db = open_new();
    CHECK_NUMBER(db, "SELECT count(*) FROM kv", rows);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* A database that names no store, as one that was made anew: what the manifest says is believed. */
static void a_database_that_knows_nothing(void)
{
    char path[PATH_ROOM * 3], store[PATH_ROOM * 3];
    sqlite3 *db = begin_test();
    int64_t rows = number(db, "SELECT count(*) FROM kv") + 2000;

    CHECK_CLOSE(db);
    path_of(path, "r.db");
    path_of(store, "r.old");
    if (rename(path, store)) abort();
    db = txn_open(folder, "r.db");
    CHECK_SQL(db, SQLITE_OK, "CREATE TABLE other(x); CREATE TABLE not_ours_meta(y)");
    path_of(path, "new");
    {
        char *sql = sqlite3_mprintf("SELECT rows FROM fastkv_recover(%Q, NULL) "
                                    "WHERE file = '' AND severity IN ('ok', 'info')",
                                    path);
        CHECK_NUMBER(db, sql, rows);
        sqlite3_free(sql);
    }
    CHECK_CLOSE(db);
    path_of(path, "new/r.db");
    if (rename(store, path)) abort();
    db = open_new();
    CHECK_NUMBER(db, "SELECT (SELECT count(*) FROM kv) + (SELECT count(*) FROM two)", rows);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_salvage", TEST_CASE(whole_pairs_are_copied), TEST_CASE(broken_manifests),
          TEST_CASE(refusals), TEST_CASE(can_be_interrupted),
          TEST_CASE(a_database_that_knows_nothing))
