/*
** What of a commit is synced: as PRAGMA synchronous says. A raised level holds from the next commit
** on; a lowered one may be noticed some commits later, but not where it is concluded from it what
** SQLite itself syncs: a mixed commit asks each time (host.h, host_least_durability).
*/
#include "txn_util.h"

#include "io_hook.h"

enum { LATEST = 8 }; /* commits after which FULL has been given up */

static char folder[PATH_ROOM];
static _Atomic int syncs; /* of the store's log; the syncer is a thread of its own */

/* (SQLite's own is a.db-wal.) */
static int count_syncs(const io_event *e)
{
    char link[64], name[PATH_ROOM];
    ssize_t n;

    if (e->op != IO_SYNC) return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", e->fd);
    n = readlink(link, name, sizeof name - 1);
    if (n > 4 && memcmp(name + n - 4, ".wal", 4) == 0) syncs++;
    return 0;
}

/* Does one commit sync the log before it returns? */
static int commit_syncs(sqlite3 *db, const char *sql)
{
    int before = syncs;

    CHECK_SQL(db, SQLITE_OK, "%s", sql);
    return syncs > before;
}

static sqlite3 *begin_test(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE TABLE n(k INTEGER PRIMARY KEY);"
              "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v);"
              "PRAGMA synchronous = FULL; REPLACE INTO f VALUES(0, 0)");
    io_hook = count_syncs;
    return db;
}

static void end_test(sqlite3 *db)
{
    io_hook = NULL;
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void raised_and_lowered(void)
{
    static const char put[] = "REPLACE INTO f VALUES(1, 1)";
    sqlite3 *db = begin_test();
    int late = 0;

    for (int i = 0; i < 3 * LATEST; i++) CHECK(commit_syncs(db, put));
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    while (late <= LATEST && commit_syncs(db, put)) late++;
    CHECK(late < LATEST);
    for (int i = 0; i < 2 * LATEST; i++) CHECK(!commit_syncs(db, put));
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = FULL");
    CHECK(commit_syncs(db, put));
    end_test(db);
}

/* The commit that asks for what SQLite does finds out, and what follows goes by that. */
static void asked_by_a_mixed_commit(void)
{
    sqlite3 *db = begin_test();

    CHECK(commit_syncs(db, "REPLACE INTO f VALUES(1, 1)"));
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO n VALUES(1); REPLACE INTO f VALUES(1, 1); COMMIT");
    CHECK(!commit_syncs(db, "REPLACE INTO f VALUES(1, 1)"));
    end_test(db);
}

TEST_MAIN("test_durability", TEST_CASE(raised_and_lowered), TEST_CASE(asked_by_a_mixed_commit))
