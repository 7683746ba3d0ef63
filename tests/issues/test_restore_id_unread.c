/*
** A restore that cannot read the commit id of the database it copies fails.
**
** Whether the last transaction of a store was committed may be for its database to tell. When the
** page with the id could not be read just then, "cannot be read" was taken for "no id": the store
** was restored without the transaction, the database with it.
*/
#include "../txn/read_hook.h"
#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

/* A transaction over both, in a process that ends at operation io_stop_at of its COMMIT. */
static int commit_and_end(void *arg)
{
    sqlite3 *db = txn_open(arg, "a.db");

    (void)run(db, "BEGIN; INSERT INTO n VALUES(2); INSERT INTO f VALUES(2, 2)");
    io_operations = 0;
    io_hook = io_end_there;
    (void)run(db, "COMMIT");
    return 0;
}

static int64_t rows_of_n(const char *folder)
{
    char path[PATH_ROOM * 2];
    sqlite3 *db = NULL;
    int64_t rows;

    (void)snprintf(path, sizeof path, "%s/a.db", folder);
    if (sqlite3_open(path, &db)) abort();
    rows = number(db, "SELECT count(*) FROM n");
    (void)sqlite3_close(db);
    return rows;
}

/* A pair whose database has committed, and whose store has to ask it. */
static void make_pair_in_doubt(char folder[PATH_ROOM])
{
    for (io_stop_at = 1; io_stop_at < 100; io_stop_at++) {
        sqlite3 *db;
        txn_folder(folder);
        db = txn_open(folder, "a.db");
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE n(x); CREATE VIRTUAL TABLE f USING fastkv;"
                  "BEGIN; INSERT INTO n VALUES(1); INSERT INTO f VALUES(1, 1); COMMIT");
        CHECK_CLOSE(db);
        if (in_child(commit_and_end, folder) == 0) abort();
        if (rows_of_n(folder) == 2) return; /* the first such moment */
        txn_remove(folder);
    }
    abort();
}

/* Restore it while the n-th read fails. 0 if there was no n-th. */
static int restore(const char *from, long n)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    int rc, struck;

    txn_folder(folder);
    db = txn_open(folder, "b.db");
    read_hook = read_counts_down;
    reads_left = n;
    rc = run(db, "SELECT fastkv_restore('%q', 'a.db')", from);
    struck = reads_left == 0;
    reads_left = -1;
    CHECK(struck || rc == SQLITE_OK);
    CHECK_CLOSE(db);
    if (rc == SQLITE_OK) {
        db = txn_open(folder, "b.db");
        CHECK_NUMBER(db, "SELECT count(*) FROM n", 2);
        CHECK_NUMBER(db, "SELECT count(*) FROM f", 2);
        CHECK_CLOSE(db);
    }
    txn_remove(folder);
    return struck;
}

static void is_an_error(void)
{
    char folder[PATH_ROOM];
    long n = 1;

    make_pair_in_doubt(folder);
    while (restore(folder, n) && !check_failures) n++;
    CHECK(n > 1);
    txn_remove(folder);
}

TEST_MAIN("test_restore_id_unread", TEST_CASE(is_an_error))
