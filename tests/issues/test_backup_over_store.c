/*
** A backup does not replace a store that is nobody's backup.
**
** Where the database in the target directory was gone, or another name, its store was overwritten
** and its files removed, whosever it was: with it went the rows of a database that had only been
** moved, or what fastkv_recover could have saved.
*/
#include <sys/stat.h>

#include "../txn/txn_util.h"

static void whose_database_is_away(void)
{
    char folder[PATH_ROOM], from[PATH_ROOM * 2], to[PATH_ROOM * 2];
    sqlite3 *db;

    txn_folder(folder);
    (void)snprintf(from, sizeof from, "%s/x", folder);
    CHECK(mkdir(from, 0700) == 0);
    db = txn_open(folder, "x/a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(1, 'precious');"
              "INSERT INTO f(f) VALUES('flush')");
    CHECK_CLOSE(db);
    (void)snprintf(from, sizeof from, "%s/x/a.db", folder);
    (void)snprintf(to, sizeof to, "%s/x/moved.db", folder);
    CHECK(rename(from, to) == 0);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE g USING fastkv; INSERT INTO g VALUES(1, 2)");
    CHECK_SQL(db, SQLITE_ERROR, "SELECT fastkv_backup('%q/x')", folder);
    CHECK_CLOSE(db);
    (void)remove(from);
    CHECK(rename(to, from) == 0);
    db = txn_open(folder, "x/a.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM f WHERE value = 'precious'", 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_backup_over_store", TEST_CASE(whose_database_is_away))
