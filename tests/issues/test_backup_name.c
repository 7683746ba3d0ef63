/*
** Backup and restore leave a file alone that is called after the database.
**
** Until it counts, the new database has a name of its own: it was `<name>-backup`, in the target
** and, at a restore, in the application's folder. What had that name was removed, for example the
** copy that somebody had made of the database before the restore.
*/
#include "../txn/txn_util.h"

static void of_somebody_else(void)
{
    char folder[PATH_ROOM], path[PATH_ROOM * 2];
    FILE *file;
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(1, 1)");
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/one')", folder);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%sa.db-backup", folder, i ? "one/" : "");
        file = fopen(path, "w");
        CHECK(file && fputs("precious", file) > 0 && fclose(file) == 0);
        CHECK_SQL(db, SQLITE_OK,
                  i ? "SELECT fastkv_backup('%q/one')" : "SELECT fastkv_restore('%q/one')", folder);
        CHECK(access(path, F_OK) == 0);
    }
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_backup_name", TEST_CASE(of_somebody_else))
