/*
** restore_util.h -- a restore that ends when its database has decided, and before its manifest is
** in place.
*/
#ifndef FKV_TESTS_RESTORE_UTIL_H
#define FKV_TESTS_RESTORE_UTIL_H

#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static inline int end_before_the_manifest(const io_event *e)
{
    if (e->op == IO_RENAME && strstr(e->path, "manifest.next")) _exit(IO_ENDED);
    return 0;
}

static inline int restore_and_end(void *arg)
{
    sqlite3 *db = txn_open(arg, "a.db");

    io_hook = end_before_the_manifest;
    return run(db, "SELECT fastkv_restore('%q/one')", (char *)arg);
}

/* a.db with two rows in each of n and f, and folder/one, a backup of when it had one. */
static inline void make_backup_of_one_row(char folder[PATH_ROOM])
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
}

/* The restore, in a process of its own. */
static inline void restore_cut_short(char folder[PATH_ROOM])
{
    CHECK(in_child(restore_and_end, folder) == IO_ENDED);
}

#endif
