/*
** What a kept log says of before a spilled transaction does not cover that transaction's rows.
**
** Without a manifest all of the log is replayed over the tables, also segments that are kept for
** the change feed only. A spilled transaction in it names its runs; those were looked for under the
** names of tables alone, which compaction had removed, and passed over: older rows of the log came
** back over the transaction's.
*/
#include <sys/stat.h>

#include "../txn/txn_util.h"

static void without_a_manifest(void)
{
    char folder[PATH_ROOM], path[PATH_ROOM * 2];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE f USING fastkv(key INTEGER PRIMARY KEY, value, memory = '1MB', "
              "changes = '1GB');"
              "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM i WHERE x < 9) "
              "INSERT INTO f SELECT x, 'old' FROM i;"
              "INSERT INTO f(f) VALUES('flush')");
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; DELETE FROM f WHERE key = 5; REPLACE INTO f VALUES(6, 'new');"
              "WITH RECURSIVE i(x) AS (VALUES(10) UNION ALL SELECT x + 1 FROM i WHERE x < 9000) "
              "INSERT INTO f SELECT x, hex(zeroblob(100)) FROM i; COMMIT");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('compact')");
    CHECK_CLOSE(db);
    (void)snprintf(path, sizeof path, "%s/a.db-fastkv/manifest", folder);
    CHECK(remove(path) == 0);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "SELECT * FROM fastkv_recover('%q/new')", folder);
    CHECK_CLOSE(db);
    db = txn_open(folder, "new/a.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM f WHERE key = 5", 0);
    CHECK_NUMBER(db, "SELECT count(*) FROM f WHERE value = 'new'", 1);
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 8999);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_salvage_kept_log", TEST_CASE(without_a_manifest))
