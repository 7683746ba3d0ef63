/*
** fastkv_check: what is whole is called so, also while others write, and whatever is damaged is
** named with its file and its place.
**
** Compiled with headers of SQLite 3.44 or newer it also asks PRAGMA integrity_check, and is then a
** test of the module's tail; with older ones, that the PRAGMA works as ever.
*/
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "txn/txn_util.h"

enum { ROWS = 3000 };

static char folder[PATH_ROOM];

static void path_of(char out[PATH_ROOM * 2], const char *name)
{
    (void)snprintf(out, PATH_ROOM * 2, "%.255s/c.db-fastkv/%.200s", folder, name);
}

/* -- files ------------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static bytes file_read(const char *name)
{
    char path[PATH_ROOM * 2];
    struct stat st;
    bytes b = {0};
    int fd;

    path_of(path, name);
    fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) abort();
    b.size = (size_t)st.st_size;
    b.data = sqlite3_malloc64(b.size + 1);
    if (read(fd, b.data, b.size) != (ssize_t)b.size) abort();
    (void)close(fd);
    return b;
}

static void file_write(const char *name, const void *data, size_t size)
{
    char path[PATH_ROOM * 2];
    int fd;

    path_of(path, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    (void)close(fd);
}

static void file_flip(const char *name, uint64_t at, uint8_t bits)
{
    char path[PATH_ROOM * 2];
    uint8_t byte;
    int fd;

    path_of(path, name);
    fd = open(path, O_RDWR);
    if (fd < 0 || pread(fd, &byte, 1, (off_t)at) != 1) abort();
    byte ^= bits;
    if (pwrite(fd, &byte, 1, (off_t)at) != 1) abort();
    (void)close(fd);
}

/* -- asking ------------------------------------------------------------------------------------ */

static int64_t findings(sqlite3 *db, const char *level, const char *condition)
{
    char *sql =
        sqlite3_mprintf("SELECT count(*) FROM fastkv_check('kv', %Q) WHERE %s", level, condition);
    int64_t n = number(db, sql);

    sqlite3_free(sql);
    return n;
}

/* What is wrong, as text; NULL = nothing. */
static char *complaints(sqlite3 *db, const char *level)
{
    sqlite3_str *said = sqlite3_str_new(NULL);
    char *sql = sqlite3_mprintf("SELECT * FROM fastkv_check('kv', %Q) "
                                "WHERE severity IN ('warning', 'error')",
                                level);
    int rc = run_rows(db, sql, said);

    if (rc) sqlite3_str_appendf(said, "code %d: %s\n", rc, sqlite3_errmsg(db));
    sqlite3_free(sql);
    return sqlite3_str_finish(said);
}

static int integrity_is_asked(void)
{
    return sqlite3_libversion_number() >= 3044000;
}

static void check_whole(sqlite3 *db)
{
    static const char *const levels[] = {"quick", "full", "deep"};

    for (int i = 0; i < 3; i++) {
        CHECK(findings(db, levels[i], "severity IN ('warning', 'error')") == 0);
        CHECK(findings(db, levels[i], "severity = 'ok' AND file = '' AND offset IS NULL") == 1);
    }
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('kv') WHERE severity = 'ok'", 1);
    CHECK_NUMBER(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check", 1);
    CHECK_NUMBER(db, "SELECT quick_check = 'ok' FROM pragma_quick_check", 1);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('integrity-check')");
}

/* A damaged store: an error about this file, at `at` or in a piece that begins before it. */
static void check_names(const char *name, uint64_t at, const char *what)
{
    sqlite3 *db = txn_open(folder, "c.db");
    char *condition =
        sqlite3_mprintf("severity = 'error' AND file = %Q AND (offset IS NULL OR offset <= %lld)",
                        name, (sqlite3_int64)at + 16);

    /* (A header's checksum has an offset of its own.) */
    if (findings(db, "full", condition) < 1 || findings(db, "deep", condition) < 1 ||
        findings(db, "full", "severity = 'ok'") != 0) {
        char *text = complaints(db, "full");
        (void)printf("%s of %s at %llu: not found, but:\n%s", what, name, (unsigned long long)at,
                     text ? text : "");
        sqlite3_free(text);
        CHECK(0);
    }
    if (integrity_is_asked())
        CHECK_NUMBER(db, "SELECT integrity_check <> 'ok' FROM pragma_integrity_check", 1);
    sqlite3_free(condition);
    CHECK_CLOSE(db);
}

/* -- a store ----------------------------------------------------------------------------------- */

static const char *const fill =
    "WITH RECURSIVE n(i) AS (VALUES(%d) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
    "REPLACE INTO kv SELECT 'key' || i, 'value of ' || i || hex(randomblob(20)) FROM n";

/* Two tables, a range tombstone, deletions, several files, and a log. */
static sqlite3 *begin_test(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "c.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE kv USING fastkv(key, value);"
              "CREATE VIRTUAL TABLE two USING fastkv(a INTEGER, b REAL, c, d, PRIMARY KEY(a, b))");
    CHECK_SQL(db, SQLITE_OK, fill, 1, ROWS);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO two SELECT substr(key, 4), 1.5, key, value FROM kv");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    CHECK_SQL(db, SQLITE_OK, fill, ROWS / 2, ROWS * 2);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv, arg) VALUES('delete-prefix', 'key7')");
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM kv WHERE key GLOB 'key11*'");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('flush')");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('settle')"); /* or it happens meanwhile */
    CHECK_SQL(db, SQLITE_OK, "REPLACE INTO kv VALUES('new', 'row'), ('newer', 'row')");
    return db;
}

enum { NAMES_MAX = 16 };

/* The files of the store, "lock" excepted. */
static int list_files(char names[NAMES_MAX][32])
{
    char path[PATH_ROOM * 2], command[PATH_ROOM * 3];
    FILE *p;
    int n = 0;

    path_of(path, "");
    (void)snprintf(command, sizeof command, "ls %s", path);
    p = popen(command, "r");
    while (p && n < NAMES_MAX && fscanf(p, "%31s", names[n]) == 1)
        n += strcmp(names[n], "lock") != 0;
    (void)pclose(p);
    return n;
}

static void whole_stores_are_whole(void)
{
    sqlite3 *db = begin_test();

    check_whole(db);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; REPLACE INTO kv VALUES('open', 'transaction')");
    CHECK(findings(db, "deep", "severity = 'ok'") == 1);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    CHECK_CLOSE(db);
    db = txn_open(folder, "c.db");
    check_whole(db);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('nope')", -SQLITE_ERROR);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('kv', 'careful')", -SQLITE_ERROR);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check", -SQLITE_ERROR);
    CHECK_CLOSE(db);
    txn_remove(folder);
    if (sqlite3_open(":memory:", &db) || sqlite3_fastkv_init(db, NULL, NULL)) abort();
    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE kv USING fastkv(key, value)");
    check_whole(db);
    CHECK_SQL(db, SQLITE_OK, fill, 1, 100);
    check_whole(db);
    CHECK_CLOSE(db);
}

/* Any bit of any file. (Behind the last record a log has zeros that belong to nothing.) */
static void damage_is_named(void)
{
    sqlite3 *db = begin_test();
    char names[NAMES_MAX][32];
    int count;

    CHECK_CLOSE(db);
    count = list_files(names);
    CHECK(count >= 3);
    for (int round = 0; round < 12 * txn_scale(); round++) {
        for (int i = 0; i < count; i++) {
            bytes b = file_read(names[i]);
            size_t used = b.size;
            uint64_t at;
            while (used && !b.data[used - 1]) used--;
            if (!strstr(names[i], ".wal")) used = b.size;
            at = round ? check_below(used) : used - 1;
            file_flip(names[i], at, (uint8_t)(1u << check_below(8)));
            check_names(names[i], at, "a flip");
            file_write(names[i], b.data, b.size);
            sqlite3_free(b.data);
        }
    }
    db = txn_open(folder, "c.db");
    check_whole(db);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* Two damages in one table: two findings, and the rest is looked at. */
static void goes_on_after_the_first(void)
{
    sqlite3 *db = begin_test();
    char names[NAMES_MAX][32];
    int count, tables = 0;

    CHECK_CLOSE(db);
    count = list_files(names);
    for (int i = 0; i < count; i++) {
        if (!strstr(names[i], ".sst")) continue;
        file_flip(names[i], 100, 1);
        file_flip(names[i], 9000, 1);
        tables++;
    }
    db = txn_open(folder, "c.db");
    CHECK(findings(db, "quick", "severity = 'error'") == 0);
    CHECK(findings(db, "full", "severity = 'error' AND text LIKE '%checksum%'") == 2 * tables);
    CHECK(findings(db, "deep", "severity = 'error' AND text LIKE '%checksum%'") == 2 * tables);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* Files that are missing, of another time, or nobody's. */
static void files_are_accounted_for(void)
{
    sqlite3 *db = begin_test();
    char names[NAMES_MAX][32], from[PATH_ROOM * 2], to[PATH_ROOM * 2];
    bytes old;
    int count;

    /* What a flush and a compaction have left goes a moment after them. */
    for (int i = 0; i < 500 && findings(db, "quick", "severity = 'info'"); i++) (void)usleep(10000);
    old = file_read("manifest");
    count = list_files(names);
    for (int i = 0; i < count; i++) {
        char *error = sqlite3_mprintf("severity = 'error' AND file = %Q", names[i]);
        char *needless = sqlite3_mprintf("severity = 'info' AND file = %Q", names[i]);
        int needed = findings(db, "quick", needless) == 0; /* not one that a compaction has left */
        path_of(from, names[i]);
        path_of(to, "away");
        if (rename(from, to)) abort();
        if (findings(db, "quick", error) != needed) {
            (void)printf("%s has gone, which is said wrongly\n", names[i]);
            CHECK(0);
        }
        CHECK(findings(db, "quick", "severity = 'info' AND file = 'away'") == 1);
        if (rename(to, from)) abort();
        sqlite3_free(error);
        sqlite3_free(needless);
    }
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    CHECK(findings(db, "full", "severity = 'ok'") == 1);
    {
        bytes now = file_read("manifest");
        file_write("manifest", old.data, old.size);
        CHECK(findings(db, "quick", "severity = 'error' AND file = 'manifest'") == 1);
        file_write("manifest", now.data, now.size);
        sqlite3_free(now.data);
    }
    file_write("notes.txt", "x", 1);
    file_write("000999.sst", "x", 1);
    CHECK(findings(db, "quick", "severity = 'info' AND file IN ('notes.txt', '000999.sst')") == 2);
    CHECK(findings(db, "full", "severity = 'ok'") == 1);
    sqlite3_free(old.data);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* A sound file with rows that are not the table's: it takes the place of another's. */
static void rows_are_decoded(void)
{
    sqlite3 *db = begin_test();

    CHECK_SQL(
        db, SQLITE_OK,
        "UPDATE kv_meta SET v = (SELECT v FROM two_meta WHERE k = 'space') WHERE k = 'space'");
    CHECK_CLOSE(db);
    db = txn_open(folder, "c.db");
    CHECK(findings(db, "full", "severity = 'ok'") == 1);
    CHECK(findings(db, "deep", "severity = 'error' AND text = 'not a row of table \"kv\"'") > 0);
    CHECK(findings(db, "deep", "severity = 'warning' AND text LIKE 'there is more%'") == 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static int seen;

static int interrupt_it(unsigned kind, void *db, void *p, void *x)
{
    (void)kind, (void)p;
    if (x && strstr(x, "SELECT 1") && seen++ == 0) sqlite3_interrupt(db);
    return 0;
}

static void can_be_interrupted(void)
{
    sqlite3 *db = begin_test();

    seen = 0;
    CHECK_SQL(db, SQLITE_OK, fill, 10000, 50000);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('flush')");
    (void)sqlite3_trace_v2(db, SQLITE_TRACE_STMT, interrupt_it, db);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_check('kv', 'deep')", -SQLITE_INTERRUPT);
    CHECK(seen > 0);
    (void)sqlite3_trace_v2(db, 0, NULL, NULL);
    CHECK(findings(db, "full", "severity = 'ok'") == 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static _Atomic int stop;

static void *write_all_the_time(void *arg)
{
    sqlite3 *db = txn_open(folder, "c.db");

    (void)arg;
    (void)sqlite3_busy_timeout(db, 10000);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    for (int i = 0; !atomic_load(&stop); i++) {
        CHECK_SQL(db, SQLITE_OK, fill, i * 100, i * 100 + 300);
        if (i % 10 == 9) CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('flush')");
        if (i % 40 == 39) CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
    }
    CHECK_CLOSE(db);
    return NULL;
}

/* What is being written is never taken for damage. */
static void writers_are_no_damage(void)
{
    sqlite3 *db = begin_test();
    pthread_t writer;

    atomic_store(&stop, 0);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = WAL");
    (void)sqlite3_busy_timeout(db, 10000);
    if (pthread_create(&writer, NULL, write_all_the_time, NULL)) abort();
    for (int i = 0; i < 40 * txn_scale(); i++) {
        char *said = complaints(db, i % 2 ? "deep" : "full");
        if (said) (void)printf("%s", said);
        CHECK(!said);
        sqlite3_free(said);
    }
    atomic_store(&stop, 1);
    (void)pthread_join(writer, NULL);
    check_whole(db);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* The same across processes: logs are retired that the checking one still knows of. */
static void other_processes_are_no_damage(void)
{
    sqlite3 *db = begin_test();
    int status = -1, checks = 0;
    pid_t child;

    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = WAL");
    CHECK_CLOSE(db);
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        check_failures = 0;
        db = txn_open(folder, "c.db");
        (void)sqlite3_busy_timeout(db, 10000);
        CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
        for (int i = 0; i < 120 * txn_scale(); i++) {
            CHECK_SQL(db, SQLITE_OK, fill, i * 10, i * 10 + 30);
            if (i % 3 == 0) CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('flush')");
            if (i % 40 == 39) CHECK_SQL(db, SQLITE_OK, "INSERT INTO kv(kv) VALUES('compact')");
        }
        CHECK_CLOSE(db);
        _exit(check_failures != 0);
    }
    db = txn_open(folder, "c.db");
    (void)sqlite3_busy_timeout(db, 10000);
    while (waitpid(child, &status, WNOHANG) == 0) {
        char *said = complaints(db, checks++ % 2 ? "deep" : "full");
        if (said) (void)printf("%s", said);
        CHECK(!said);
        sqlite3_free(said);
    }
    CHECK(status == 0 && checks > 0);
    check_whole(db);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_check", TEST_CASE(whole_stores_are_whole), TEST_CASE(damage_is_named),
          TEST_CASE(goes_on_after_the_first), TEST_CASE(files_are_accounted_for),
          TEST_CASE(rows_are_decoded), TEST_CASE(can_be_interrupted),
          TEST_CASE(writers_are_no_damage), TEST_CASE(other_processes_are_no_damage))
