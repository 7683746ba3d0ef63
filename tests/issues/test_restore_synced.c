/*
** A restored database is durable before its store's files change.
**
** The database's transaction decides about a restore; then the store's manifest is replaced and the
** older tables go. With synchronous = NORMAL in WAL mode, or OFF, SQLite had not synced that
** transaction then, and with a rollback journal not that the journal is gone: a power cut left the
** older database with the store of the backup, for good.
*/
#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static char folder[PATH_ROOM];
static int unsynced, unlinked, seen;

/* 1: the database or its log, 2: the folder they are in. */
static int kind_of(int fd)
{
    char link[64], path[PATH_ROOM * 2];
    ssize_t n;
    const char *name;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    name = strrchr(path, '/');
    if (strcmp(path, folder) == 0) return 2;
    return name && (strcmp(name, "/a.db") == 0 || strcmp(name, "/a.db-wal") == 0);
}

static int watch(const io_event *e)
{
    if (e->op == IO_WRITE && kind_of(e->fd) == 1) unsynced = 1;
    if (e->op == IO_SYNC && kind_of(e->fd) == 1) unsynced = 0;
    if (e->op == IO_UNLINK && strstr(e->path, "/a.db-journal")) unlinked = 1;
    if (e->op == IO_SYNC && kind_of(e->fd) == 2) unlinked = 0;
    if (e->op == IO_RENAME && strstr(e->path, "manifest.next")) {
        CHECK(!unsynced && !unlinked);
        seen++;
    }
    return 0;
}

static void restore(const char *journal, const char *synchronous)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; PRAGMA synchronous = %s; CREATE TABLE n(x);"
              "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(1, 1)",
              journal, synchronous);
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(2, 2); INSERT INTO n VALUES(1)");
    unsynced = unlinked = seen = 0;
    io_hook = watch;
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_restore('%q/one')", folder);
    io_hook = NULL;
    CHECK(seen > 0);
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 1);
    CHECK_NUMBER(db, "PRAGMA synchronous",
                 synchronous[0] == 'O'   ? 0
                 : synchronous[0] == 'N' ? 1
                                         : 2);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void in_every_mode(void)
{
    static const char *const journals[] = {"wal", "delete"}, *const levels[] = {"FULL", "NORMAL",
                                                                                "OFF"};

    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++) restore(journals[i], levels[j]);
}

TEST_MAIN("test_restore_synced", TEST_CASE(in_every_mode))
