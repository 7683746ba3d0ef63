/*
** Whether a restore that was cut short has happened is not asked of an old snapshot.
**
** The database decides by the stamp in it. A connection that was reading the database, and opened
** the store only then, found the older stamp in its snapshot: the store was opened as it was before
** the restore, and the first write made that final, with the restored database beside it.
*/
#include "restore_util.h"

static char folder[PATH_ROOM];

static void while_another_one_reads(void)
{
    sqlite3 *db, *other;
    int rc;

    make_backup_of_one_row(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "BEGIN");
    CHECK_NUMBER(db, "SELECT count(*) FROM n", 2);
    restore_cut_short(folder);
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
