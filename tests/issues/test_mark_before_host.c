/*
** The mark of a transaction that also changed native tables is not written before the database has
** it for good.
**
** With synchronous=NORMAL in WAL mode SQLite syncs nothing at a commit, and with
** journal_mode=DELETE the removal of the journal is never synced: after a power loss the last
** commits of the database may be gone. The store's part was synced with its PREPARE, and the COMMIT
** mark behind it, which says that the database need not be asked, was written at once. It could
** outlive what it stood for: fastkv rows without the native rows of the same transaction.
*/
#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

typedef enum watched { OTHER, WAL, JOURNAL, FOLDER, LOG } watched;

static struct state {
    int watching;
    int unsynced[LOG]; /* by `watched`: changed, and not synced since */
    int syncs, marks;  /* of the store's log: records without rows, which are marks */
    int early;         /* marks written while the database was not synced */
} now;

static watched kind_of_path(const char *path)
{
    const char *end = strrchr(path, '/');

    end = end ? end + 1 : path;
    if (strcmp(end, "db-wal") == 0) return WAL;
    if (strcmp(end, "db-journal") == 0) return JOURNAL;
    if (strstr(end, ".wal")) return LOG;
    return strncmp(end, "fastkv-txn-", 11) == 0 ? FOLDER : OTHER;
}

static watched kind_of(const io_event *e)
{
    char link[64], path[PATH_ROOM];
    ssize_t n;

    if (e->path) return kind_of_path(e->path);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", e->fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return OTHER;
    path[n] = 0;
    return kind_of_path(path);
}

static int on_io(const io_event *e)
{
    enum { MARK_BYTES = 48 };
    watched kind = now.watching ? kind_of(e) : OTHER;

    if (kind == LOG) {
        now.syncs += e->op == IO_SYNC;
        if (e->op != IO_WRITE || e->size != MARK_BYTES) return 0;
        now.marks++;
        now.early += now.unsynced[WAL] || now.unsynced[JOURNAL] || now.unsynced[FOLDER];
    } else if (kind != OTHER) {
        if (kind == JOURNAL && e->op == IO_UNLINK) {
            now.unsynced[FOLDER] = 1;
            now.unsynced[JOURNAL] = 0;
        } else {
            now.unsynced[kind] = e->op != IO_SYNC;
        }
    }
    return 0;
}

static void commit_under(const char *journal, const char *level, int mixed, int syncs)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; PRAGMA synchronous = %s; CREATE TABLE n(v);"
              "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(0, 0)",
              journal, level);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO f VALUES(2, 0); COMMIT"); /* it knows page 1 now */
    now = (struct state){.watching = 1};
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO f VALUES(1, 1); %s COMMIT",
              mixed ? "INSERT INTO n VALUES(1);" : "");
    now.watching = 0;
    if (now.marks != 1 || now.early != 0 || now.syncs != syncs) {
        (void)printf("%s, %s, %s: %d marks, %d of them early, %d syncs of the log\n", journal,
                     level, mixed ? "mixed" : "fastkv only", now.marks, now.early, now.syncs);
        CHECK(0);
    }
    (void)sqlite3_close(db);
    txn_remove(folder);
}

static void the_database_comes_first(void)
{
    static const char *const journals[] = {"WAL", "DELETE", "TRUNCATE", "PERSIST"};
    static const char *const levels[] = {"NORMAL", "FULL", "EXTRA"};

    io_hook = on_io;
    for (int j = 0; j < 4; j++) {
        for (int l = 0; l < 3; l++) {
            commit_under(journals[j], levels[l], 1, 1);
            commit_under(journals[j], levels[l], 0, l > 0);
        }
    }
    io_hook = NULL;
}

static int failing; /* syncs of the database's files that are to fail */

static int on_failing_io(const io_event *e)
{
    watched kind = e->op == IO_SYNC && failing > 0 ? kind_of(e) : OTHER;

    if (kind != WAL && kind != FOLDER) return 0;
    failing--;
    return EIO;
}

/* The database cannot be synced then: it has committed, and so has the store, as soon as somebody
** has seen to it. */
static void a_failed_sync_takes_nothing_back(void)
{
    static const char *const journals[] = {"WAL", "DELETE"};

    for (int i = 0; i < 2; i++) {
        char folder[PATH_ROOM];
        sqlite3 *db;
        txn_folder(folder);
        db = txn_open(folder, "db");
        CHECK_SQL(db, SQLITE_OK,
                  "PRAGMA journal_mode = %s; PRAGMA synchronous = NORMAL; CREATE TABLE n(v);"
                  "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(0, 0)",
                  journals[i]);
        io_hook = on_failing_io;
        failing = 1;
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; INSERT INTO f VALUES(1, 1); INSERT INTO n VALUES(1); COMMIT");
        CHECK(failing == 0);
        CHECK_NUMBER(db, "SELECT count(*) FROM n", 1);
        CHECK_NUMBER(db, "SELECT count(*) FROM f", 2);
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; INSERT INTO f VALUES(2, 2); INSERT INTO n VALUES(2); COMMIT");
        CHECK_CLOSE(db);
        db = txn_open(folder, "db");
        CHECK_NUMBER(db, "SELECT count(*) FROM f", 3);
        CHECK_CLOSE(db);
        io_hook = NULL;
        txn_remove(folder);
    }
}

TEST_MAIN("test_mark_before_host", TEST_CASE(the_database_comes_first),
          TEST_CASE(a_failed_sync_takes_nothing_back))
