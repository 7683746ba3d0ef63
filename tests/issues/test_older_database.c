/*
** A database that is older than the store beside it is recognised, by readers and by writers.
**
** Put back alone, from a copy made before, it was told that "this transaction began too long ago",
** for ever, and a write was accepted.
*/
#include "../txn/txn_util.h"

static void copy_file(const char *folder, const char *from, const char *to)
{
    char *command = sqlite3_mprintf("cp '%s/%s' '%s/%s'", folder, from, folder, to);

    CHECK(system(command) == 0);
    sqlite3_free(command);
}

static void must_refuse(sqlite3 *db, const char *sql)
{
    CHECK_SQL(db, SQLITE_CORRUPT_VTAB, "%s", sql);
    CHECK(strstr(sqlite3_errmsg(db), "is older than its store") != NULL);
}

/* The copy is of after some transactions over both kinds of table. */
static void put_back_alone(const char *journal, int before)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; CREATE TABLE n(v); CREATE VIRTUAL TABLE f USING fastkv;"
              "INSERT INTO f VALUES(1, 1)",
              journal);
    for (int i = 0; i < before; i++)
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; REPLACE INTO f VALUES(1, 2); INSERT INTO n VALUES(2); COMMIT");
    CHECK_CLOSE(db);
    copy_file(folder, "db", "old");
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; REPLACE INTO f VALUES(1, 3); INSERT INTO n VALUES(3); COMMIT;"
              "INSERT INTO f VALUES(2, 4)");
    CHECK_CLOSE(db);
    copy_file(folder, "old", "db");
    db = txn_open(folder, "db");
    must_refuse(db, "SELECT * FROM f");
    must_refuse(db, "REPLACE INTO f VALUES(1, 5)");
    must_refuse(db, "BEGIN; INSERT INTO n VALUES(9); SELECT * FROM f");
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK; INSERT INTO n VALUES(5)"); /* the rest goes on working */
    CHECK_NUMBER(db, "SELECT count(*) FROM n", before + 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void an_older_database_is_recognised(void)
{
    for (int before = 1; before < 3; before++) {
        put_back_alone("WAL", before);
        put_back_alone("DELETE", before);
    }
}

TEST_MAIN("test_older_database", TEST_CASE(an_older_database_is_recognised))
