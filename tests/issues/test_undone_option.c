/*
** An option that was changed and undone is not told to the store.
**
** What a table was told within the transaction was applied at COMMIT, also if ROLLBACK TO had taken
** it back; what a table was created with was applied at once. After `changes=none` the log that was
** kept for the change feed was gone, although the option had never been committed.
*/
#include "../txn/txn_util.h"

static char folder[PATH_ROOM];

static const char feed[] = "SELECT count(*) FROM fastkv_changes('kv', NULL)";

static void the_feed_outlives(const char *undone, const char *how)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE kv USING fastkv(key, value, changes = '64MB');"
              "INSERT INTO kv VALUES(1, 1), (2, 2)");
    CHECK_NUMBER(db, feed, 2);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; SAVEPOINT s");
    CHECK_SQL(db, SQLITE_OK, undone);
    CHECK_SQL(db, SQLITE_OK, how);
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK_NUMBER(db, feed, 2);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void changed(void)
{
    static const char change[] = "INSERT INTO kv(kv) VALUES('changes=none')";

    the_feed_outlives(change, "ROLLBACK TO s; COMMIT");
    the_feed_outlives(change, "ROLLBACK");
}

static void created(void)
{
    static const char create[] = "CREATE VIRTUAL TABLE other USING fastkv(key, changes = none);"
                                 "INSERT INTO other VALUES(1)";

    the_feed_outlives(create, "ROLLBACK TO s; COMMIT");
    the_feed_outlives(create, "ROLLBACK");
}

/* Nor does the store keep anything for a table that never was. */
static void created_for_the_first_time(void)
{
    static const char *const how[] = {"ROLLBACK TO s; COMMIT", "ROLLBACK"};

    for (int i = 0; i < 2; i++) {
        sqlite3 *db;
        txn_folder(folder);
        db = txn_open(folder, "a.db");
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE VIRTUAL TABLE kv USING fastkv; BEGIN; SAVEPOINT s;"
                  "CREATE VIRTUAL TABLE other USING fastkv(key, changes = '1MB');"
                  "INSERT INTO other VALUES(1)");
        CHECK_SQL(db, SQLITE_OK, how[i]);
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv VALUES(1, 1)");
        CHECK_NUMBER(db, feed, -SQLITE_ERROR);
        CHECK_CLOSE(db);
        txn_remove(folder);
    }
}

/* What is not undone counts, with a savepoint or without. */
static void committed(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE kv USING fastkv(key, value); INSERT INTO kv VALUES(1, 1);"
              "BEGIN; INSERT INTO kv(kv) VALUES('changes=1GB'); SAVEPOINT s;"
              "INSERT INTO kv(kv) VALUES('changes=none'); ROLLBACK TO s; COMMIT;"
              "INSERT INTO kv VALUES(2, 2)");
    CHECK_NUMBER(db, feed, 1);
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; INSERT INTO kv(kv) VALUES('changes=none'); COMMIT;"
              "INSERT INTO kv VALUES(3, 3)");
    CHECK_NUMBER(db, feed, -SQLITE_ERROR);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_undone_option", TEST_CASE(changed), TEST_CASE(created),
          TEST_CASE(created_for_the_first_time), TEST_CASE(committed))
