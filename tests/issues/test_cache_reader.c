/*
** Looking at a cache's statistics does not make it forget what it holds.
**
** After a range was deleted, or a write undone, the rows are counted again. Whoever asked for the
** numbers did that with his own view, which lacks what a transaction under way has put, and that
** counted: the rows of the transaction were not known then, and the table came to hold more than it
** may.
*/
#include "../txn/txn_util.h"

enum { LIMIT = 10 };

static void put(sqlite3 *db, int from, int to)
{
    for (int i = from; i < to; i++) CHECK_SQL(db, SQLITE_OK, "INSERT INTO c VALUES(%d, 'x')", i);
}

static const char kept[] = "SELECT value FROM fastkv_stats('c') WHERE name = 'kept_rows'";

static void does_not_decide(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db, *other;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL;"
              "CREATE VIRTUAL TABLE c USING fastkv(key INTEGER, value, max_keys = 10)");
    put(db, 0, LIMIT);
    other = txn_open(folder, "a.db");
    CHECK_NUMBER(other, kept, LIMIT);
    CHECK_SQL(db, SQLITE_OK, "BEGIN");
    put(db, 100, 105);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO c(c, arg) VALUES('delete-range', '[0, 100]')");
    CHECK_NUMBER(other, kept, LIMIT);
    put(db, 200, 200 + LIMIT);
    CHECK_NUMBER(db, kept, LIMIT);
    CHECK_SQL(db, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(other, "SELECT count(*) FROM c", LIMIT);
    CHECK_NUMBER(other, "SELECT min(key) FROM c", 200);
    CHECK_NUMBER(other, kept, LIMIT);
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_cache_reader", TEST_CASE(does_not_decide))
