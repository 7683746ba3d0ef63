/*
** A host's commit id that cannot be read is an error, not "there is none".
**
** Which commits a view may show is told by an id in the host's own snapshot (ext/host.c). When a
** page of the host could not be read just then, the id was taken for 0, which means that no
** transaction has ever changed both: the view was the latest, newer than the host's snapshot, and
** that was remembered.
*/
#include "../txn/read_hook.h"
#include "../txn/txn_util.h"

/* The v of f's row, or -1 and *rc. */
static int64_t read_f(sqlite3 *db, int *rc)
{
    sqlite3_stmt *s = NULL;
    int64_t v = -1;

    *rc = sqlite3_prepare_v2(db, "SELECT v FROM f", -1, &s, NULL);
    if (*rc == SQLITE_OK) *rc = sqlite3_step(s);
    if (*rc == SQLITE_ROW) v = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return v;
}

/* What is shown when the n-th read of a statement fails, the host's snapshot being of before
** the second commit, and what after that. 0 if there was no n-th. */
static int look(const char *folder, long n)
{
    sqlite3 *writer = txn_open(folder, "db"), *reader = txn_open(folder, "db");
    int rc, struck;
    int64_t seen;

    CHECK(read_f(reader, &rc) >= 0); /* the schema is read; the id is to be read again: */
    CHECK_SQL(writer, SQLITE_OK, "BEGIN; REPLACE INTO f VALUES(1, 1); UPDATE n SET v = 1; COMMIT");
    CHECK_SQL(reader, SQLITE_OK, "PRAGMA query_only = ON; BEGIN"); /* no view is pinned */
    CHECK_NUMBER(reader, "SELECT v FROM n", 1);
    CHECK_SQL(writer, SQLITE_OK, "BEGIN; UPDATE f SET v = 2; UPDATE n SET v = 2; COMMIT");
    CHECK_SQL(reader, SQLITE_OK, "PRAGMA shrink_memory");
    read_hook = read_counts_down;
    reads_left = n;
    seen = read_f(reader, &rc);
    struck = reads_left == 0;
    reads_left = -1;
    if (rc == SQLITE_ROW) {
        CHECK(seen == 1);
    } else { /* SQLite takes EIO for a damaged file system, and that for damage */
        CHECK(struck && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT));
    }
    if (!sqlite3_get_autocommit(reader)) CHECK(read_f(reader, &rc) == 1);
    (void)sqlite3_close(reader);
    (void)sqlite3_close(writer);
    return struck;
}

static void the_view_is_the_hosts(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    long n = 1;

    txn_folder(folder);
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE f USING fastkv(k, v);"
              "CREATE TABLE n(v); INSERT INTO n VALUES(0); INSERT INTO f VALUES(1, 0)");
    while (look(folder, n) && !check_failures) n++;
    CHECK(n > 1);
    (void)sqlite3_close(db);
    txn_remove(folder);
}

TEST_MAIN("test_host_id_unread", TEST_CASE(the_view_is_the_hosts))
