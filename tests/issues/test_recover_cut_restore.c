/*
** A restore that was cut short is salvaged as its database has decided.
**
** The database had been replaced, and the store's new manifest was still manifest.next. Opening
** the store takes that one; fastkv_recover went by the manifest: it copied the older rows, and
** told that nothing was lost, to stand beside the restored database.
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

static void is_saved_as_it_decided(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = wal; CREATE TABLE n(x); CREATE VIRTUAL TABLE f USING fastkv;"
              "BEGIN; INSERT INTO n VALUES(1); INSERT INTO f VALUES(1, 1); COMMIT");
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO n VALUES(2); INSERT INTO f VALUES(2, 2); COMMIT");
    CHECK_CLOSE(db);
    CHECK(in_child(restore, folder) == 77);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "SELECT * FROM fastkv_recover('%q/new')", folder);
    CHECK_CLOSE(db);
    db = txn_open(folder, "new/a.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM n", 1);
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_recover_cut_restore", TEST_CASE(is_saved_as_it_decided))
