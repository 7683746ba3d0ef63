/*
** A restore that was cut short is salvaged as its database has decided.
**
** The database had been replaced, and the store's new manifest was still manifest.next. Opening
** the store takes that one; fastkv_recover went by the manifest: it copied the older rows, and
** told that nothing was lost, to stand beside the restored database.
*/
#include "restore_util.h"

static char folder[PATH_ROOM];

static void is_saved_as_it_decided(void)
{
    sqlite3 *db;

    make_backup_of_one_row(folder);
    restore_cut_short(folder);
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
