/*
** A cache and its backup, open in one process, do not count each other's rows.
**
** The order of use is shared by the connections to a table. The table was known by the store's id
** alone, which a backup has as well: rows were forgotten that only the other one had, and both came
** to hold up to twice what they may.
*/
#include "../txn/txn_util.h"

enum { LIMIT = 10 };

static void have_limits_of_their_own(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE c USING fastkv(key INTEGER, value, max_keys = 10)");
    for (int i = 0; i < LIMIT; i++) CHECK_SQL(db, SQLITE_OK, "INSERT INTO c VALUES(%d, 'old')", i);
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/copy'); ATTACH '%q/copy/a.db' AS copy",
              folder, folder);
    for (int i = 100; i < 100 + LIMIT; i++) {
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO copy.c VALUES(%d, 'theirs')", i);
        CHECK_NUMBER(db, "SELECT count(*) FROM copy.c", LIMIT);
    }
    for (int i = 200; i < 200 + LIMIT; i++) {
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO main.c VALUES(%d, 'ours')", i);
        CHECK_NUMBER(db, "SELECT count(*) FROM main.c", LIMIT);
    }
    CHECK_NUMBER(db, "SELECT min(key) FROM main.c", 200);
    CHECK_NUMBER(db, "SELECT min(key) FROM copy.c", 100);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_cache_copies", TEST_CASE(have_limits_of_their_own))
