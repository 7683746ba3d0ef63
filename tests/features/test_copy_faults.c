/*
** Backup, restore, recovery and the change feed while the nth allocation, or the nth operation on a
** file, fails: what fails says so and leaves both databases as they were, or as they were to be;
** done again it succeeds, and is whole. (The same for ordinary statements: crash/test_sql_faults.c)
*/
#include <dirent.h>

#include "txn/sql_fault.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 150, NEAR = 1 };
#else
enum { STRIDE = 60, NEAR = 30 /* every place up to here */ };
#endif

/* -- the scene --------------------------------------------------------------------------------- */

static char folder[PATH_ROOM];

static const char made[] =
    "CREATE TABLE n(k INTEGER PRIMARY KEY, v);"
    "CREATE VIRTUAL TABLE kv USING fastkv(key, value, memory = '1MB', changes = '1MB');"
    "CREATE VIRTUAL TABLE two USING fastkv(a, b, c, PRIMARY KEY(a, b));"
    "WITH RECURSIVE i(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM i WHERE x < 60) "
    "INSERT INTO kv SELECT 'key' || x, 'value ' || x FROM i;"
    "INSERT INTO two SELECT key, 1.5, x'00ff' FROM kv WHERE key < 'key2';"
    "INSERT INTO kv(kv) VALUES('flush');"
    "BEGIN; INSERT INTO n VALUES(1, 1); REPLACE INTO kv VALUES('n', 1); COMMIT";

/* Both kinds of tables change in one transaction: the row 'n' follows n. */
static const char step[] = "BEGIN; UPDATE n SET v = v + 1; UPDATE kv SET value = value + 1 "
                           "WHERE key = 'n'; DELETE FROM kv WHERE key = 'key5'; COMMIT";

/* All rows. NULL if they cannot be read. */
static char *rows_of(sqlite3 *db)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    int rc = run_rows(db, "SELECT * FROM n", text);

    if (rc == SQLITE_OK) rc = run_rows(db, "SELECT * FROM kv ORDER BY key", text);
    if (rc == SQLITE_OK) rc = run_rows(db, "SELECT a, b, hex(c) FROM two ORDER BY a", text);
    if (rc) (void)printf("%d: %s\n", rc, sqlite3_errmsg(db));
    if (rc) sqlite3_free(sqlite3_str_finish(text));
    return rc ? NULL : sqlite3_str_finish(text);
}

static char *rows_in(const char *name)
{
    sqlite3 *db = txn_open(folder, name);
    char *rows = rows_of(db);

    CHECK_CLOSE(db);
    return rows;
}

/* Do they hold these rows? */
static int same_rows(const char *name, const char *rows)
{
    char *found = rows_in(name);
    int same = found && strcmp(found, rows) == 0;

    sqlite3_free(found);
    return same;
}

static void copy_scene(const char *from, const char *to)
{
    char *command = sqlite3_mprintf("rm -rf '%s/%s' && cp -r '%s/%s' '%s/%s'", folder, to, folder,
                                    from, folder, to);

    if (system(command)) abort();
    sqlite3_free(command);
}

static int open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* -- one task, with a fault at each place ------------------------------------------------------ */

typedef struct task {
    const char *name;
    const char *sql;   /* one number or text; %s is the folder */
    const char *after; /* database that holds the rows `wanted` when it has succeeded; or NULL */
    int restores;      /* it changes the database itself: into what the backup holds */
} task;

static const task tasks[] = {
    {"backup", "SELECT fastkv_backup('%s/now/new')", "now/new/t.db", 0},
    {"backup once more", "SELECT fastkv_backup('%s/now/old')", "now/old/t.db", 0},
    {"restore", "SELECT fastkv_restore('%s/now/old')", "now/t.db", 1},
    {"recover", "SELECT group_concat(severity || ': ' || text) FROM fastkv_recover('%s/now/new')",
     "now/new/t.db", 0},
    {"changes",
     "SELECT count(*) || group_concat(seq || op || coalesce(key, '') || coalesce(value, '')) "
     "FROM fastkv_changes('kv', 0)",
     NULL, 0},
    {"changes of more columns",
     "SELECT count(*) || group_concat(key || value) FROM fastkv_changes('two', NULL)", NULL, 0},
    {"keys", "SELECT hex(fastkv_key('two', 'key1', 7)) || hex(fastkv_key('kv', 'k'))", NULL, 0}};
enum { TASKS = sizeof tasks / sizeof tasks[0] };

/* Its code, and its text if it has succeeded. */
static int do_task(sqlite3 *db, const task *t, char **out)
{
    char *sql = sqlite3_mprintf(t->sql, folder);
    sqlite3_stmt *s = NULL;
    int rc;

    *out = NULL;
    fault.seen = 0;
    fault.fired = 0;
    fault.paused = 0;
    rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    fault.paused = 1;
    if (rc == SQLITE_ROW) {
        *out = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(s, 0));
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return rc;
}

static int is_fitting(int rc, fault_kind kind)
{
    switch (kind) {
    case NO_MEMORY: /* SQLite answers CANTOPEN, and a busy timeout is not known, without memory */
        return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_CANTOPEN ||
               (rc & 0xff) == SQLITE_IOERR;
    case FULL_DISK:
        return (rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR;
    case BAD_READ: /* SQLite takes a page that is not there for damage */
        return (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT ||
               (rc & 0xff) == SQLITE_NOTADB;
    default:
        return (rc & 0xff) == SQLITE_IOERR;
    }
}

/* What every task gives when nothing fails, and what the databases hold before and after. */
static char *answers[TASKS], *now_rows, *old_rows;

static void check_failed(const task *t, const char *rows)
{
    if (t->restores) { /* a decision was taken, or not: nothing in between */
        char *found = rows_in("now/t.db");
        CHECK(found && (strcmp(found, now_rows) == 0 || strcmp(found, old_rows) == 0));
        sqlite3_free(found);
    } else {
        CHECK(same_rows("now/t.db", rows));
    }
    /* The backup that was there is still one, the older or the newer. */
    {
        char *found = rows_in("now/old/t.db");
        CHECK(found && (strcmp(found, now_rows) == 0 || strcmp(found, old_rows) == 0));
        sqlite3_free(found);
    }
}

/* What recovery could not read is a finding, with the rest saved all the same. A database that
** could not be copied is not there: the user puts the old one in its place. Returns whether it has
** saved everything. */
static int check_recovered(const char *answer, fault_kind kind)
{
    char *path = sqlite3_mprintf("%s/now/new/t.db", folder);
    int copied = access(path, F_OK) == 0;

    if (!copied) {
        char *command = sqlite3_mprintf("cp '%s/now/t.db' '%s'", folder, path);
        CHECK(strstr(answer, "error: fastkv: ") != NULL);
        CHECK(system(command) == 0);
        sqlite3_free(command);
    }
    sqlite3_free(path);
    if (!copied || !strstr(answer, "error")) return 1;
    CHECK(kind == BAD_READ && strstr(answer, "rows in the new store; "));
    return 0;
}

/* Returns whether the fault was reached. */
static int one(int i, fault_kind kind, long n)
{
    const task *t = &tasks[i];
    int files, failures = check_failures, rc, fired, whole = 1;
    char *answer = NULL;
    sqlite3 *db;

    copy_scene("scene", "now");
    files = open_files();
    db = txn_open(folder, "now/t.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM kv WHERE key = 'n'", 1);
    fault.kind = (int)kind;
    fault.countdown = n;
    rc = do_task(db, t, &answer);
    fired = fault.fired;
    fault.countdown = 0;
    if (rc) {
        CHECK(fired && is_fitting(sqlite3_extended_errcode(db), kind));
        CHECK(sqlite3_errmsg(db)[0]);
        if (check_failures != failures) (void)printf("  %d: %s\n", rc, sqlite3_errmsg(db));
    }
    CHECK_CLOSE(db);
    CHECK(open_files() == files);
    if (!rc && strcmp(t->name, "recover") == 0) whole = check_recovered(answer, kind);
    sqlite3_free(answer);
    if (rc) check_failed(t, now_rows);
    db = txn_open(folder, "now/t.db"); /* and once more */
    if (rc && strcmp(t->name, "recover") == 0) {
        char *command = sqlite3_mprintf("rm -rf '%s/now/new'", folder);
        CHECK(system(command) == 0);
        sqlite3_free(command);
    }
    if (rc || t->after == NULL) {
        CHECK(do_task(db, t, &answer) == SQLITE_OK);
        if (!t->after) CHECK(answer && strcmp(answer, answers[i]) == 0);
        sqlite3_free(answer);
    }
    CHECK_CLOSE(db);
    if (t->after && whole) CHECK(same_rows(t->after, t->restores ? old_rows : now_rows));
    CHECK(open_files() == files);
    if (check_failures != failures)
        (void)printf("  ^ %s, %s, place %ld\n", t->name, kind_names[kind], n);
    return fired;
}

static void make_scene(void)
{
    sqlite3 *db;
    char *sql;

    txn_folder(folder);
    sql = sqlite3_mprintf("%s/scene", folder);
    if (mkdir(sql, 0777)) abort();
    sqlite3_free(sql);
    db = txn_open(folder, "scene/t.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = WAL");
    CHECK_SQL(db, SQLITE_OK, "%s", made);
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_backup('%q/scene/old')", folder);
    old_rows = rows_of(db);
    CHECK_SQL(db, SQLITE_OK, "%s", step);
    now_rows = rows_of(db);
    CHECK_CLOSE(db);
    CHECK(old_rows && now_rows && strcmp(old_rows, now_rows) != 0);
    CHECK(same_rows("scene/old/t.db", old_rows));
    for (int i = 0; i < TASKS; i++) {
        copy_scene("scene", "now");
        db = txn_open(folder, "now/t.db");
        fault.countdown = 0;
        CHECK(do_task(db, &tasks[i], &answers[i]) == SQLITE_OK && answers[i]);
        CHECK_CLOSE(db);
    }
}

static void every_fault(void)
{
    long injections = 0;

    take_heaps();
    io_hook = fault_on_io;
    make_scene();
    for (int i = 0; i < TASKS; i++) {
        for (fault_kind kind = NO_MEMORY; kind < FAULT_KINDS; kind++) {
            long n = 1, most = 0, stride = kind == NO_MEMORY ? STRIDE : STRIDE / 30;
            while (one(i, kind, n)) {
                injections++;
                most = n;
                n += n < NEAR ? 1 : 1 + (long)check_below(2 * (uint64_t)stride);
            }
            if (getenv("FKV_TEST_TRACE"))
                (void)printf("%s, %s: to %ld\n", tasks[i].name, kind_names[kind], most);
        }
    }
    (void)printf("%ld injections\n", injections);
    for (int i = 0; i < TASKS; i++) sqlite3_free(answers[i]);
    sqlite3_free(now_rows);
    sqlite3_free(old_rows);
    txn_remove(folder);
}

TEST_MAIN("test_copy_faults", TEST_CASE(every_fault))
