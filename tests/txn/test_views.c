/*
** What a transaction's view is good for, thing by thing: what test_isolation.c finds by chance, and
** what its schedules leave out.
*/
#include "txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *open_pair(const char *journal, sqlite3 **other)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "named.db");
    *other = txn_open(folder, "named.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; CREATE TABLE n(k INTEGER PRIMARY KEY, v); INSERT INTO n "
              "VALUES(1, 1); CREATE VIRTUAL TABLE t USING fastkv(k INTEGER PRIMARY KEY, v); "
              "INSERT INTO t VALUES(1, 1)",
              journal);
    return db;
}

static void close_pair(sqlite3 *db, sqlite3 *other)
{
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* In WAL mode a transaction that only reads keeps nobody from writing. */
static void readers_let_writers_write(void)
{
    sqlite3 *b, *a = open_pair("WAL", &b);

    for (int i = 2; i < 6; i++) {
        CHECK_SQL(b, SQLITE_OK, i % 2 ? "SAVEPOINT s" : "BEGIN");
        CHECK_NUMBER(b, "SELECT v FROM t", i - 1);
        CHECK_SQL(a, SQLITE_OK, "UPDATE n SET v = %d; UPDATE t SET v = %d", i, i);
        CHECK_NUMBER(b, "SELECT v FROM t", i - 1);
        CHECK_SQL(b, SQLITE_OK, i < 4 ? "COMMIT" : "ROLLBACK");
        CHECK_NUMBER(b, "SELECT v FROM t", i);
    }
    close_pair(a, b);
}

/* SQLite has taken the write lock by then and keeps it: only the end of the transaction helps. */
static void a_refused_write_ends_with_its_transaction(void)
{
    sqlite3 *b, *a = open_pair("WAL", &b);

    CHECK_SQL(b, SQLITE_OK, "BEGIN; SELECT * FROM t");
    CHECK_SQL(a, SQLITE_OK, "UPDATE t SET v = 2");
    CHECK_SQL(b, SQLITE_BUSY_SNAPSHOT, "UPDATE t SET v = 3");
    CHECK_NUMBER(b, "SELECT v FROM t", 1);
    CHECK_SQL(b, SQLITE_OK, "ROLLBACK");
    CHECK_SQL(a, SQLITE_OK, "UPDATE t SET v = 4");
    CHECK_NUMBER(b, "SELECT v FROM t", 4);
    close_pair(a, b);
}

/* The schema is read, the table not yet connected, and a COMMIT waits for readers. */
static void a_busy_first_use_does_not_break_the_table(void)
{
    sqlite3 *b, *a = open_pair("DELETE", &b), *c = txn_open(folder, "named.db");

    CHECK_SQL(b, SQLITE_OK, "SELECT * FROM n");
    CHECK_SQL(c, SQLITE_OK, "BEGIN; SELECT * FROM n");
    CHECK_SQL(a, SQLITE_OK, "BEGIN; UPDATE n SET v = 2");
    CHECK_SQL(a, SQLITE_BUSY, "COMMIT");
    CHECK_SQL(b, SQLITE_BUSY, "SELECT * FROM n");
    CHECK_SQL(b, SQLITE_BUSY, "SELECT * FROM t");
    CHECK_SQL(c, SQLITE_OK, "COMMIT");
    CHECK_SQL(a, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(b, "SELECT v FROM t", 1);
    CHECK_SQL(b, SQLITE_OK, "UPDATE t SET v = 5");
    CHECK_CLOSE(c);
    close_pair(a, b);
}

/* Undone DDL disconnects virtual tables; the transaction goes on with its view. */
static void a_view_outlives_undone_ddl(void)
{
    static const char *const ddl[] = {"CREATE TEMP TABLE z(q)", "CREATE TEMP VIEW z AS SELECT 1",
                                      "CREATE VIRTUAL TABLE temp.z USING fastkv(path='%q/z')",
                                      "DROP TABLE temp.y", "SELECT * FROM t"};

    for (size_t i = 0; i < sizeof ddl / sizeof ddl[0]; i++) {
        sqlite3 *b, *a = open_pair("WAL", &b);
        CHECK_SQL(b, SQLITE_OK, "CREATE VIRTUAL TABLE temp.y USING fastkv(path='%q/y')", folder);
        CHECK_SQL(b, SQLITE_OK, "BEGIN; SELECT * FROM t; SAVEPOINT s");
        CHECK_SQL(b, SQLITE_OK, ddl[i], folder);
        CHECK_SQL(a, SQLITE_OK, "UPDATE t SET v = 2");
        CHECK_SQL(b, SQLITE_OK, "ROLLBACK TO s");
        CHECK_NUMBER(b, "SELECT v FROM t", 1);
        CHECK_SQL(b, SQLITE_BUSY_SNAPSHOT, "UPDATE t SET v = 3");
        CHECK_SQL(b, SQLITE_OK, "COMMIT");
        CHECK_NUMBER(b, "SELECT v FROM t", 2);
        close_pair(a, b);
    }
}

TEST_MAIN("test_views", TEST_CASE(readers_let_writers_write),
          TEST_CASE(a_refused_write_ends_with_its_transaction),
          TEST_CASE(a_busy_first_use_does_not_break_the_table),
          TEST_CASE(a_view_outlives_undone_ddl))
