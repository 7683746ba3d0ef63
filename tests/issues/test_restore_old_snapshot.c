/*
** Whether a restore that was cut short has happened is not asked of an old snapshot.
**
** The database decides by the stamp in it. A connection that was reading the database, and opened
** the store only then, found the older stamp in its snapshot: the store was opened as it was before
** the restore, and the first write made that final, with the restored database beside it.
*/
#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static char folder[PATH_ROOM];

static int end_before_the_manifest(const io_event *e)
{
    if (e->op == IO_RENAME && strstr(e->path, "manifest.next")) _exit(77);
    return 0;
}

static int restore(void *arg)
{
    sqlite3 *db = txn_open(arg, "a.db");

    io_hook = end_before_the_manifest;
    return run(db, "SELECT fastkv_restore('%q/one')", (char *)arg);
}

static void while_another_one_reads(void)
{
    sqlite3 *db, *other;
    int rc;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = wal; CREATE TABLE n(x); CREATE VIRTUAL TABLE f USING fastkv;"
              "BEGIN; INSERT INTO n VALUES(1); INSERT INTO f VALUES(1, 1); COMMIT");
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO n VALUES(2); INSERT INTO f VALUES(2, 2); COMMIT");
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "BEGIN");
    CHECK_NUMBER(db, "SELECT count(*) FROM n", 2);
    CHECK(in_child(restore, folder) == 77);
    rc = run(db, "SELECT count(*) FROM f"); /* it may be refused: there are two states now */
    (void)printf("%d %s\n", rc, sqlite3_errmsg(db));
    other = txn_open(folder, "a.db");
    CHECK_NUMBER(other, "SELECT count(*) FROM n", 1);
    CHECK_NUMBER(other, "SELECT count(*) FROM f", 1);
    CHECK_SQL(other, SQLITE_OK, "INSERT INTO f VALUES(3, 3)");
    CHECK_NUMBER(other, "SELECT count(*) FROM f", 2);
    CHECK_CLOSE(other);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM n", 1);
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 2);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_restore_old_snapshot", TEST_CASE(while_another_one_reads))
