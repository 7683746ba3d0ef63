/*
** A database that is newer than the store beside it is refused, and not waited for every time.
**
** A reader waits a second for the writer of a commit that the database has and the store has not
** yet. Where no such writer will ever come, because the store was put back without the database,
** each statement took that second.
*/
#include <time.h>

#include "../txn/txn_util.h"

static void shell(const char *format, const char *folder)
{
    char *command = sqlite3_mprintf(format, folder);

    CHECK(system(command) == 0);
    sqlite3_free(command);
}

static double seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void an_older_store_is_refused_at_once(void)
{
    enum { STATEMENTS = 10, MOST_SECONDS = 5 };
    char folder[PATH_ROOM];
    sqlite3 *db;
    double began;

    txn_folder(folder);
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE TABLE n(v); CREATE VIRTUAL TABLE f USING fastkv;"
              "BEGIN; INSERT INTO f VALUES(1, 1); INSERT INTO n VALUES(1); COMMIT");
    CHECK_CLOSE(db);
    shell("cd '%s' && cp -r db-fastkv old", folder);
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO f VALUES(2, 2); INSERT INTO n VALUES(2); COMMIT");
    CHECK_CLOSE(db);
    shell("cd '%s' && rm -r db-fastkv && mv old db-fastkv", folder);
    db = txn_open(folder, "db");
    began = seconds();
    for (int i = 0; i < STATEMENTS; i++) CHECK_SQL(db, SQLITE_CORRUPT_VTAB, "SELECT * FROM f");
    CHECK(seconds() - began < MOST_SECONDS);
    CHECK_SQL(db, SQLITE_CORRUPT_VTAB, "INSERT INTO f VALUES(3, 3)");
    CHECK_NUMBER(db, "SELECT count(*) FROM n", 2);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_newer_database", TEST_CASE(an_older_store_is_refused_at_once))
