/*
** A file with an impossible number in the store's directory is somebody else's.
**
** Numbers go on from the highest that is there. A file called 9000000000000000000.sst, or .run,
** made the next manifest name numbers that no manifest may have: after the next write the store
** could not be opened any more. Nor could it be after a file of the highest number that is a name:
** what was given out next was a name no more. (Found by fuzz/test_fuzz_store, as a manifest.)
*/
#include "../txn/txn_util.h"

static void is_left_alone(void)
{
    static const char *const names[] = {"9000000000000000000.sst", "18446744073709551615.run",
                                        "4611686018427387904.wal", "2305843009213693952.sst"};

    for (int i = 0; i < 4; i++) {
        char folder[PATH_ROOM], path[PATH_ROOM * 2];
        FILE *file;
        sqlite3 *db;

        txn_folder(folder);
        db = txn_open(folder, "a.db");
        CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(1, 1)");
        CHECK_CLOSE(db);
        (void)snprintf(path, sizeof path, "%s/a.db-fastkv/%s", folder, names[i]);
        file = fopen(path, "w");
        CHECK(file && fclose(file) == 0);
        for (int j = 0; j < 2; j++) {
            db = txn_open(folder, "a.db");
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(%d, 1)", j + 2);
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('flush')");
            CHECK_CLOSE(db);
        }
        db = txn_open(folder, "a.db");
        CHECK_NUMBER(db, "SELECT count(*) FROM f", 3);
        CHECK_CLOSE(db);
        CHECK(access(path, F_OK) == 0);
        txn_remove(folder);
    }
}

TEST_MAIN("test_file_number", TEST_CASE(is_left_alone))
