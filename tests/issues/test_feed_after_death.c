/*
** The change feed, and a check, of a connection that only reads, after the death of who wrote.
**
** What the writer's last transaction has become only the database knows: its rows are there with
** the native ones or not at all. A SELECT from the table asked it; these two answered
** SQLITE_BUSY, until that had been done.
*/
#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static char folder[PATH_ROOM];
static int hooked, go[2]; /* COMMIT has passed the hook; a pipe: wait until it is closed */

static int note_hook(void *unused)
{
    (void)unused;
    hooked = 1;
    return 0;
}

/* Behind the host's commit, before the store has heard of it. */
static int die_at_the_store(const io_event *e)
{
    if (!io_is_host(e) && hooked) _exit(77);
    return 0;
}

static int commit_and_die(void)
{
    char byte;
    sqlite3 *db;

    (void)close(go[1]);
    if (read(go[0], &byte, 1) != 0) return 1;
    db = txn_open(folder, "a.db");
    (void)sqlite3_commit_hook(db, note_hook, NULL);
    if (run(db, "BEGIN; INSERT INTO n VALUES(5); INSERT INTO f VALUES(5)")) return 1;
    io_hook = die_at_the_store;
    (void)run(db, "COMMIT");
    return 1; /* it should not have come so far */
}

static sqlite3 *open_reading(void)
{
    char path[PATH_ROOM * 2];
    char *error = NULL;
    sqlite3 *db = NULL;

    (void)snprintf(path, sizeof path, "file:%s/a.db?mode=ro", folder);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL)) abort();
    if (sqlite3_fastkv_init(db, &error, NULL)) abort();
    return db;
}

/* `query`, a number, is the first that is asked after the death. */
static void ask_first(const char *query, int answer)
{
    sqlite3 *db;
    int status = -1;
    pid_t child;

    hooked = 0;
    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE TABLE n(k INTEGER PRIMARY KEY);"
              "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, changes = '1MB');"
              "BEGIN; INSERT INTO n VALUES(1); INSERT INTO f VALUES(1); COMMIT");
    CHECK_CLOSE(db);
    REQUIRE(pipe(go) == 0);
    (void)fflush(stdout);
    child = fork();
    if (child == 0) _exit(commit_and_die());
    (void)close(go[0]);
    db = open_reading();
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 1);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', 0)", 1);
    (void)close(go[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 77);
    CHECK_NUMBER(db, query, answer);
    CHECK_NUMBER(db, "SELECT count(*) FROM f", 2);
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', 0)", 2);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* The transaction itself is in the feed when somebody has been there who may write that down. */
static void the_feed_is_told(void)
{
    ask_first("SELECT count(*) FROM fastkv_changes('f', 0)", 1);
    ask_first("SELECT count(*) FROM fastkv_changes('f', NULL)", 1);
}

static void the_check_is_done(void)
{
    ask_first("SELECT severity = 'ok' FROM fastkv_check('f')", 1);
}

TEST_MAIN("test_feed_after_death", TEST_CASE(the_feed_is_told), TEST_CASE(the_check_is_done))
