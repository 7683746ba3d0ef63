/*
** An interrupted statement is not told of a failing disk.
**
** The id of the host's last commit is read by a statement of its own, which sqlite3_interrupt()
** and a progress handler stop as any other. That was taken for an I/O error.
*/
#include "../txn/txn_util.h"

static void stop(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3_interrupt(sqlite3_context_db_handle(context));
}

static void while_the_id_is_read(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db, *other;
    int rc;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE TABLE n(x); CREATE VIRTUAL TABLE f USING fastkv; BEGIN;"
              "INSERT INTO n VALUES(1); INSERT INTO f VALUES(1, 1); COMMIT");
    CHECK(sqlite3_create_function_v2(db, "stop", 0, SQLITE_UTF8, NULL, stop, NULL, NULL, NULL) ==
          SQLITE_OK);
    other = txn_open(folder, "a.db");
    CHECK_SQL(other, SQLITE_OK,
              "BEGIN; INSERT INTO n VALUES(2); INSERT INTO f VALUES(2, 2); COMMIT");
    rc = run(db, "SELECT stop(), (SELECT count(*) FROM f)");
    CHECK((rc & 0xff) != SQLITE_IOERR);
    (void)printf("%d %s\n", rc, sqlite3_errmsg(db));
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 2);
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_interrupted_id", TEST_CASE(while_the_id_is_read))
