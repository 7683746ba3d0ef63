/*
** Recovery of a store whose last transaction is in doubt, beside a database that cannot say how it
** ended.
**
** The process died between the database's commit and the store's. The page with the id is damaged:
** fastkv_recover took that for "not committed", and dropped a transaction whose native half was
** there, without a word.
*/
#include <sys/stat.h>

#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static int journal_gone;

/* The process ends with its first write after the database has committed. */
static int end_after_commit(const io_event *e)
{
    if (e->op == IO_UNLINK && e->path && strstr(e->path, "-journal")) journal_gone = 1;
    if (e->op == IO_WRITE && journal_gone) _exit(IO_ENDED);
    return 0;
}

static int commits_and_dies(const char *folder)
{
    int status = -1;
    pid_t child = fork();

    if (child < 0) abort();
    if (child == 0) {
        sqlite3 *db = txn_open(folder, "r.db");
        (void)run(db, "BEGIN; INSERT INTO n VALUES(2); INSERT INTO kv VALUES('in doubt', 2)");
        io_hook = end_after_commit;
        (void)run(db, "COMMIT");
        _exit(1);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == IO_ENDED;
}

/* Make the page nonsense that has the id. */
static void spoil_the_id(const char *folder)
{
    char path[PATH_ROOM * 2], nonsense[512];
    sqlite3 *db = NULL;
    int64_t page, size;
    int fd;

    (void)snprintf(path, sizeof path, "%s/r.db", folder);
    if (sqlite3_open(path, &db)) abort();
    page = number(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'fastkv_commit'");
    size = number(db, "PRAGMA page_size");
    CHECK_NUMBER(db, "SELECT max(k) FROM n", 2); /* the database has committed */
    CHECK_CLOSE(db);
    memset(nonsense, 0x5a, sizeof nonsense);
    fd = open(path, O_RDWR);
    CHECK(page > 1 && size > 0 && fd >= 0);
    CHECK(pwrite(fd, nonsense, sizeof nonsense, (page - 1) * size) == (ssize_t)sizeof nonsense);
    (void)close(fd);
}

static void in_doubt_is_saved(void)
{
    for (int spoilt = 0; spoilt < 2; spoilt++) {
        char folder[PATH_ROOM];
        char *sql;
        sqlite3 *db;

        txn_folder(folder);
        db = txn_open(folder, "r.db");
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE n(k INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE kv USING fastkv;"
                  "BEGIN; INSERT INTO n VALUES(1); INSERT INTO kv VALUES('first', 1); COMMIT");
        CHECK_CLOSE(db);
        CHECK(commits_and_dies(folder));
        if (spoilt) spoil_the_id(folder);
        db = txn_open(folder, "r.db");
        sql = sqlite3_mprintf(
            "SELECT sum((file = '' AND text LIKE 'rows in the new store%%') * rows) "
            "+ 100 * sum(severity = 'warning' AND text LIKE '%%not known whether "
            "the last transaction (1 writes) was committed; it is saved') "
            "FROM fastkv_recover('%q/new')",
            folder);
        CHECK_NUMBER(db, sql, spoilt ? 102 : 2);
        sqlite3_free(sql);
        CHECK_CLOSE(db);
        txn_remove(folder);
    }
}

TEST_MAIN("test_recover_host_unread", TEST_CASE(in_doubt_is_saved))
