/*
** A database that came from somebody else: what its schema, its names and the files of its store
** can make a process do. tests/README.md goes through the list.
*/
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static const char *in(const char *name)
{
    static char path[PATH_ROOM * 3];

    (void)snprintf(path, sizeof path, "%.255s/%.400s", folder, name);
    return path;
}

static void make_received(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "got.db");
    CHECK_SQL(
        db, SQLITE_OK,
        "CREATE VIRTUAL TABLE kv USING fastkv(key, value); INSERT INTO kv VALUES(1, 2), (3, 4);"
        "INSERT INTO kv(kv) VALUES('flush')");
    CHECK_CLOSE(db);
}

/* Entries of a folder of /proc/self; of "fd" only those that lead below "-fastkv". */
static int count_own(const char *what)
{
    char path[64], to[1024];
    DIR *dir;
    int n = 0;

    (void)snprintf(path, sizeof path, "/proc/self/%s", what);
    dir = opendir(path);
    if (!dir) return 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        ssize_t size = readlinkat(dirfd(dir), e->d_name, to, sizeof to - 1);
        if (e->d_name[0] == '.') continue;
        to[size > 0 ? size : 0] = 0;
        n += strcmp(what, "fd") != 0 || strstr(to, "-fastkv") != NULL;
    }
    (void)closedir(dir);
    return n;
}

static void connecting_does_nothing(void)
{
    struct stat before, after;
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    int tasks = count_own("task");

    make_received();
    if (stat(in("got.db-fastkv"), &before)) abort();
    db = txn_open(folder, "got.db");
    CHECK_NUMBER(db, "SELECT count(*) FROM pragma_table_info('kv')", 2);
    CHECK(count_own("fd") == 0);
    CHECK(sqlite3_prepare_v2(db, "SELECT * FROM kv", -1, &s, NULL) == SQLITE_OK);
    CHECK(count_own("task") == tasks);
    (void)sqlite3_finalize(s);
    CHECK_NUMBER(db, "SELECT sum(value) FROM kv", 6); /* reading starts no thread either */
    CHECK(count_own("task") == tasks);
    CHECK_CLOSE(db);
    if (stat(in("got.db-fastkv"), &after)) abort();
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
          before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    txn_remove(folder);
}

/* What only a forger's schema says. */
static void schemas_name_no_paths(void)
{
    static const char *const forged[] = {"path=''/tmp/elsewhere''", "path=''../elsewhere''",
                                         "memory=''1e9GB''", "load=''x.so''"};

    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        sqlite3 *db;
        make_received();
        db = txn_open(folder, "got.db");
        CHECK_SQL(db, SQLITE_OK,
                  "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
                  "'CREATE VIRTUAL TABLE kv USING fastkv(key, value, %s)' WHERE name = 'kv'",
                  forged[i]);
        CHECK_CLOSE(db);
        db = txn_open(folder, "got.db");
        CHECK(number(db, "SELECT count(*) FROM kv") < 0);
        CHECK_CLOSE(db);
        CHECK(access(in("elsewhere"), F_OK) < 0 && access("/tmp/elsewhere", F_OK) < 0);
        txn_remove(folder);
    }
}

/* Views and triggers reach no files, and under trusted_schema = 0 no function that reads or writes
** tables by their name. */
static void schemas_call_no_functions(void)
{
    static const char *const direct[] = {"SELECT fastkv_backup('x') AS a",
                                         "SELECT fastkv_restore('x') AS a",
                                         "SELECT 1 AS a FROM fastkv_recover('x')"};
    static const char *const trusted[] = {"SELECT fastkv_get('kv', 1) AS a",
                                          "SELECT fastkv_incr('kv', 1, 1) AS a",
                                          "SELECT fastkv_cas('kv', 1, 1, 1) AS a"};
    sqlite3 *db;

    make_received();
    db = txn_open(folder, "got.db");
    for (int i = 0; i < 3; i++) {
        CHECK_SQL(db, SQLITE_OK, "CREATE VIEW v AS %s", direct[i]);
        CHECK_NUMBER(db, "SELECT a FROM v", -SQLITE_ERROR);
        CHECK_SQL(db, SQLITE_OK, "DROP VIEW v; CREATE VIEW v AS %s", trusted[i]);
        CHECK_NUMBER(db, "SELECT a IS NOT NULL FROM v", 1);
        CHECK_SQL(db, SQLITE_OK, "PRAGMA trusted_schema = 0");
        CHECK_NUMBER(db, "SELECT a FROM v", -SQLITE_ERROR);
        CHECK_SQL(db, SQLITE_OK, "PRAGMA trusted_schema = 1; DROP VIEW v");
    }
    CHECK(access(in("x"), F_OK) < 0 && access("x", F_OK) < 0);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void shadow_tables_are_defended(void)
{
    sqlite3 *db;

    make_received();
    db = txn_open(folder, "got.db");
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) == SQLITE_OK);
    CHECK_SQL(db, SQLITE_ERROR, "UPDATE kv_meta SET v = 0");
    CHECK_SQL(db, SQLITE_ERROR, "DROP TABLE kv_meta");
    CHECK_SQL(db, SQLITE_OK, "UPDATE kv SET value = 5 WHERE key = 1");
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* Any name is one inside the database, and none is one of a file. */
static void names_are_only_names(void)
{
    static const char *const names[] = {"a\"b",         "../received-x", "it's", "a;b--",
                                        "\xff\xfe\x80", "%s%n",          "\n"};
    char *long_name = sqlite3_malloc(70000);
    sqlite3 *db;

    memset(long_name, 'n', 65536);
    long_name[65536] = 0;
    make_received();
    db = txn_open(folder, "got.db");
    for (size_t i = 0; i <= sizeof names / sizeof names[0]; i++) {
        const char *name = i < sizeof names / sizeof names[0] ? names[i] : long_name;
        char *count = sqlite3_mprintf("SELECT count(*) FROM \"%w\" WHERE \"%w\" = 1", name, "k\"k");
        CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE \"%w\" USING fastkv(\"k\"\"k\", v)", name);
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO \"%w\" VALUES(1, 2)", name);
        CHECK_NUMBER(db, count, 1);
        CHECK_SQL(db, SQLITE_OK, "ALTER TABLE \"%w\" RENAME TO \"new\"\"name\"", name);
        CHECK_SQL(db, SQLITE_OK, "DROP TABLE \"new\"\"name\"");
        CHECK_NUMBER(db, count, -SQLITE_ERROR);
        sqlite3_free(count);
    }
    CHECK_CLOSE(db);
    CHECK(access(in("../received-x"), F_OK) < 0);
    sqlite3_free(long_name);
    txn_remove(folder);
}

/* A file of the store that is a link or a pipe is not opened; nobody waits. */
static void odd_files_are_refused(void)
{
    static const char *const files[] = {"got.db-fastkv/manifest", "got.db-fastkv/lock"};

    for (int i = 0; i < 4; i++) {
        sqlite3 *db;
        char path[PATH_ROOM * 3], elsewhere[PATH_ROOM * 3];
        make_received();
        (void)snprintf(path, sizeof path, "%s", in(files[i % 2]));
        (void)snprintf(elsewhere, sizeof elsewhere, "%s", in("elsewhere"));
        if (rename(path, elsewhere)) abort();
        if (i < 2 ? symlink(elsewhere, path) : mkfifo(path, 0600)) abort();
        db = txn_open(folder, "got.db");
        (void)alarm(20);
        CHECK_NUMBER(db, "SELECT count(*) FROM kv", -SQLITE_CANTOPEN);
        CHECK(run(db, "INSERT INTO kv VALUES(5, 6)") != SQLITE_OK);
        (void)alarm(0);
        CHECK_CLOSE(db);
        txn_remove(folder);
    }
}

/* Whoever may not read the database may not read its store. */
static void stores_are_as_private(void)
{
    static const struct {
        mode_t database, folder;
    } modes[] = {{0600, 0700}, {0640, 0750}, {0644, 0755}, {0666, 0755}, {0400, 0700}};
    mode_t old = umask(022);

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct stat st;
        sqlite3 *db;
        txn_folder(folder);
        db = txn_open(folder, "private.db");
        CHECK_SQL(db, SQLITE_OK, "CREATE TABLE n(x)");
        if (chmod(in("private.db"), modes[i].database)) abort();
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE VIRTUAL TABLE kv USING fastkv; INSERT INTO kv VALUES(1, 2)");
        if (stat(in("private.db-fastkv"), &st)) abort();
        CHECK((st.st_mode & 0777) == modes[i].folder);
        CHECK_CLOSE(db);
        txn_remove(folder);
    }
    (void)umask(old);
}

TEST_MAIN("test_received", TEST_CASE(connecting_does_nothing), TEST_CASE(schemas_name_no_paths),
          TEST_CASE(schemas_call_no_functions), TEST_CASE(shadow_tables_are_defended),
          TEST_CASE(names_are_only_names), TEST_CASE(odd_files_are_refused),
          TEST_CASE(stores_are_as_private))
