/* A reader of the change feed who gives the generation he knows hears of a restore (test_feed_
** generation.c tells why). */
#include "../txn/txn_util.h"

static void is_another_feed(void)
{
    static const char known[] =
        "SELECT value FROM fastkv_stats('f') WHERE name = 'feed_generation'";
    char folder[PATH_ROOM], sql[200];
    int64_t before;
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE f USING fastkv(key, value, changes = '1MB');"
              "INSERT INTO f VALUES(1, 1); SELECT fastkv_backup('%q/b');"
              "INSERT INTO f VALUES(2, 'lost')",
              folder);
    before = number(db, known);
    CHECK(before > 0);
    CHECK_NUMBER(db, "SELECT max(generation) FROM fastkv_changes('f', 0)", before);
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM fastkv_changes('f', 0, NULL, %" PRId64 ")", before);
    CHECK_NUMBER(db, sql, 2);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', 0, 1, NULL)", 1);
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_restore('%q/b')", folder);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(3, 'new')"); /* has the number of the lost one */
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM fastkv_changes('f', 3, NULL, %" PRId64 ")", before);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', 3)", 0);
    CHECK_NUMBER(db, sql, -SQLITE_ERROR);
    CHECK(number(db, known) != before);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_feed_restored", TEST_CASE(is_another_feed))
