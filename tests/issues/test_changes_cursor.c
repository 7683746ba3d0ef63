/*
** A statement that reads the change feed keeps the feed's store open.
**
** The rows of fastkv_changes come from the log a piece at a time. When the store of the connection
** was closed between two of them, by a restore or a recovery that lets go of it, the next step read
** freed memory.
*/
#include "../txn/txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *begin_test(sqlite3_stmt **feed)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE TABLE n(x); CREATE VIRTUAL TABLE f USING fastkv(key, value, changes = '1GB');"
              "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM i WHERE x < 2000) "
              "INSERT INTO f SELECT x, 'value ' || x FROM i");
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/one')", folder);
    CHECK(sqlite3_prepare_v2(db, "SELECT seq FROM fastkv_changes('f', 0)", -1, feed, NULL) ==
          SQLITE_OK);
    CHECK(sqlite3_step(*feed) == SQLITE_ROW);
    return db;
}

/* It goes on to its end, or fails. */
static void end_test(sqlite3 *db, sqlite3_stmt *feed, int more)
{
    int64_t n = 1;

    while (more && sqlite3_step(feed) == SQLITE_ROW) n++;
    CHECK(!more || n == 2000);
    (void)sqlite3_finalize(feed);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void a_restore(void)
{
    for (int more = 0; more < 2; more++) {
        sqlite3_stmt *feed = NULL;
        sqlite3 *db = begin_test(&feed);
        CHECK_SQL(db, SQLITE_ERROR, "SELECT fastkv_restore('%q/one')", folder);
        end_test(db, feed, more);
    }
}

static void a_recovery(void)
{
    for (int more = 0; more < 2; more++) {
        sqlite3_stmt *feed = NULL;
        sqlite3 *db = begin_test(&feed);
        CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_recover('%q/two')", folder);
        end_test(db, feed, more);
    }
}

/* Of another schema: nothing else of it is in use. */
static void a_detach(void)
{
    for (int more = 0; more < 2; more++) {
        sqlite3_stmt *feed = NULL;
        sqlite3 *db = begin_test(&feed);
        CHECK_SQL(db, SQLITE_OK, "ATTACH '%q/b.db' AS b", folder);
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE VIRTUAL TABLE b.g USING fastkv(key, value, changes = '1GB');"
                  "INSERT INTO g SELECT * FROM f");
        (void)sqlite3_finalize(feed);
        CHECK(sqlite3_prepare_v2(db, "SELECT seq FROM fastkv_changes('b.g', 0)", -1, &feed, NULL) ==
              SQLITE_OK);
        CHECK(sqlite3_step(feed) == SQLITE_ROW);
        (void)run(db, "DETACH b");
        end_test(db, feed, more);
    }
}

static void a_drop(void)
{
    for (int more = 0; more < 2; more++) {
        sqlite3_stmt *feed = NULL;
        sqlite3 *db = begin_test(&feed);
        (void)run(db, "DROP TABLE f");
        end_test(db, feed, more);
    }
}

TEST_MAIN("test_changes_cursor", TEST_CASE(a_restore), TEST_CASE(a_recovery), TEST_CASE(a_detach),
          TEST_CASE(a_drop))
