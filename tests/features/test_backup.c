/*
** A backup is what the database and its store were at one moment, or it is not there.
**
** What is checked of a backup: it opens as it is, its native and its fastkv tables agree (every
** transaction counts in both), and what it holds is what was committed at some moment while it was
** made. Crashes: a process ends before the nth change to any file (io_hook.h), and in memory the
** power goes (env_mem_crash) or the disk is full at the nth operation; then the source must be
** whole, and the directory must hold the older backup, the newer, or none.
*/
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

#include "audit/env_audit.h"
#include "fastkv.h"

enum { ENDED = 77 };

static char *text(sqlite3 *db, const char *sql)
{
    sqlite3_str *out = sqlite3_str_new(db);

    (void)run_rows(db, sql, out);
    return sqlite3_str_finish(out);
}

static int64_t member(sqlite3 *db, const char *json, const char *name)
{
    char *sql = sqlite3_mprintf("SELECT json_extract(%Q, '$.%s')", json, name);
    int64_t n = number(db, sql);

    sqlite3_free(sql);
    return n;
}

/* SELECT fastkv_backup(folder/dir); NULL if it fails. */
static char *back_up(sqlite3 *db, const char *folder, const char *dir)
{
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf("SELECT fastkv_backup('%q/%q')", folder, dir);
    char *json = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        json = sqlite3_mprintf("%s", sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return json;
}

static sqlite3 *open_in(const char *folder, const char *dir)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s/a.db", dir);
    return txn_open(folder, name);
}

/* Every transaction of the writers adds a row to each and counts in each. */
static const char schema[] = "CREATE TABLE n(k INTEGER PRIMARY KEY, v);"
                             "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v, "
                             "memory = '1MB');"
                             "INSERT INTO n VALUES(0, 0); INSERT INTO f VALUES(0, 0)";
static const char step[] = "BEGIN IMMEDIATE; UPDATE n SET v = v + 1 WHERE k = 0;"
                           "UPDATE f SET v = v + 1 WHERE k = 0;"
                           "INSERT INTO n SELECT v, v FROM n WHERE k = 0;"
                           "INSERT INTO f SELECT v, hex(zeroblob(300)) FROM f WHERE k = 0; COMMIT";

/* The count of a database that is whole; -1 else. */
static int64_t count_of(sqlite3 *db)
{
    int64_t n = number(db, "SELECT v FROM n WHERE k = 0");

    if (n != number(db, "SELECT v FROM f WHERE k = 0")) return -1;
    if (n + 1 != number(db, "SELECT count(*) FROM n")) return -1;
    if (n + 1 != number(db, "SELECT count(*) FROM f")) return -1;
    return run(db, "INSERT INTO f(f) VALUES('integrity-check')") ? -1 : n;
}

/* -- while others write ------------------------------------------------------------------------ */

typedef struct writer {
    const char *folder;
    atomic_int *stop;
} writer;

static void *write_on(void *arg)
{
    const writer *w = arg;
    sqlite3 *db = txn_open(w->folder, "a.db");

    (void)sqlite3_busy_timeout(db, 20000);
    while (!atomic_load(w->stop)) {
        if (run(db, step)) (void)run(db, "ROLLBACK");
        if (check_below(40) == 0) (void)run(db, "INSERT INTO f(f) VALUES('flush')");
    }
    (void)sqlite3_close(db);
    return NULL;
}

static void beside_writers(const char *journal)
{
    atomic_int *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char folder[PATH_ROOM];
    writer w = {folder, stop};
    pthread_t thread;
    int64_t before = 0;
    pid_t child;
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = %s; %s", journal, schema);
    CHECK_CLOSE(db);
    child = fork();
    if (child == 0) {
        (void)write_on(&w);
        _exit(0);
    }
    CHECK(pthread_create(&thread, NULL, write_on, &w) == 0);
    db = txn_open(folder, "a.db");
    (void)sqlite3_busy_timeout(db, 20000);
    for (int i = 0; i < 6; i++) {
        char *json;
        sqlite3 *copy;
        int64_t least = number(db, "SELECT v FROM n WHERE k = 0"), most, n;
        json = back_up(db, folder, i % 3 ? "one" : "two");
        CHECK(json != NULL);
        if (!json) (void)printf("%s\n", sqlite3_errmsg(db));
        most = number(db, "SELECT v FROM n WHERE k = 0");
        copy = open_in(folder, i % 3 ? "one" : "two");
        n = count_of(copy);
        CHECK(n >= least && n <= most);
        if (n < least || n > most)
            (void)printf("%d: %d not in %d..%d\n", i, (int)n, (int)least, (int)most);
        before = n;
        CHECK_SQL(copy, SQLITE_OK, step); /* it is a database as any other */
        CHECK(count_of(copy) == before + 1);
        CHECK_CLOSE(copy);
        sqlite3_free(json);
    }
    atomic_store(stop, 1);
    (void)pthread_join(thread, NULL);
    (void)waitpid(child, NULL, 0);
    CHECK(count_of(db) > 0);
    CHECK_CLOSE(db);
    txn_remove(folder);
    (void)munmap(stop, 4096);
}

static void beside_writers_in_wal_mode(void)
{
    beside_writers("wal");
}

static void beside_writers_with_a_journal(void)
{
    beside_writers("delete");
}

/* -- incremental ------------------------------------------------------------------------------- */

static int links_of_tables(const char *folder, const char *dir)
{
    char command[PATH_ROOM * 2];
    FILE *out;
    int n = -1;

    (void)snprintf(command, sizeof command,
                   "find %s/%s/a.db-fastkv -name '*.sst' -links +1 | wc -l", folder, dir);
    out = popen(command, "r");
    if (out && fscanf(out, "%d", &n) != 1) n = -1;
    if (out) (void)pclose(out);
    return n;
}

static int no_links(const io_event *e)
{
    return e->op == IO_LINK ? EXDEV : 0;
}

static void second_time_only_what_is_new(void)
{
    char folder[PATH_ROOM];
    char *json;
    int64_t files;
    sqlite3 *db, *copy;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema);
    CHECK_SQL(db, SQLITE_OK,
              "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 20000) "
              "INSERT INTO f SELECT -i, hex(randomblob(30)) FROM c; INSERT INTO f(f) "
              "VALUES('compact')");
    json = back_up(db, folder, "one");
    REQUIRE(json);
    files = member(db, json, "files");
    CHECK(files >= 2 && member(db, json, "linked") == files);
    CHECK(links_of_tables(folder, "one") == files);
    sqlite3_free(json);
    CHECK_SQL(db, SQLITE_OK, "UPDATE f SET v = 'new' WHERE k < -19990");
    json = back_up(db, folder, "one");
    REQUIRE(json);
    CHECK(member(db, json, "kept") == files);
    CHECK(member(db, json, "files") == files + 1);
    CHECK(member(db, json, "bytes_copied") < 4096);
    sqlite3_free(json);
    /* What is not needed any more goes. */
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM f WHERE k < 0; INSERT INTO f(f) VALUES('compact')");
    json = back_up(db, folder, "one");
    REQUIRE(json);
    CHECK(member(db, json, "files") == 1);
    CHECK(links_of_tables(folder, "one") == 1);
    sqlite3_free(json);
    /* On another file system. */
    io_hook = no_links;
    json = back_up(db, folder, "two");
    io_hook = NULL;
    REQUIRE(json);
    CHECK(member(db, json, "linked") == 0 && member(db, json, "copied") == 1);
    CHECK(links_of_tables(folder, "two") == 0);
    sqlite3_free(json);
    copy = open_in(folder, "two");
    CHECK(count_of(copy) == 0);
    CHECK_CLOSE(copy);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* -- refusals ---------------------------------------------------------------------------------- */

static void check_says(sqlite3 *db, const char *what, const char *format, ...)
{
    va_list args;
    char *sql;
    int rc;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    rc = run(db, "%s", sql);
    CHECK(rc != SQLITE_OK);
    if (!strstr(sqlite3_errmsg(db), what)) {
        check_failures++;
        (void)printf("%s\n  says %s\n  wanted %s\n", sql, sqlite3_errmsg(db), what);
    }
    sqlite3_free(sql);
}

static void shell(const char *format, ...)
{
    va_list args;
    char *command;

    va_start(args, format);
    command = sqlite3_vmprintf(format, args);
    va_end(args);
    CHECK(system(command) == 0);
    sqlite3_free(command);
}

static void what_it_refuses(void)
{
    char folder[PATH_ROOM];
    char *json;
    sqlite3 *db, *other;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    check_says(db, "no fastkv table", "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, schema);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO n VALUES(100, 1)");
    check_says(db, "COMMIT first", "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK; BEGIN; INSERT INTO f VALUES(100, 1)");
    check_says(db, "COMMIT first", "SELECT fastkv_backup('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    check_says(db, "is no backup of this database", "SELECT fastkv_backup('%q')", folder);
    check_says(db, "needs a directory", "SELECT fastkv_backup(NULL)");
    check_says(db, "cannot", "SELECT fastkv_backup('%q/no/such/parent')", folder);
    check_says(db, "unknown database nowhere", "SELECT fastkv_backup('%q/one', 'nowhere')", folder);
    check_says(db, "needs a directory", "SELECT fastkv_restore('')");
    CHECK_SQL(db, SQLITE_OK, "ATTACH ':memory:' AS m");
    check_says(db, "in memory has no file", "SELECT fastkv_backup('%q/one', 'm')", folder);
    CHECK_SQL(db, SQLITE_OK, "DETACH m");

    /* Another database of that name is not written over, whatever it is. */
    shell("mkdir %s/other", folder);
    other = open_in(folder, "other");
    CHECK_SQL(other, SQLITE_OK, schema);
    check_says(db, "is no backup of this database", "SELECT fastkv_backup('%q/other')", folder);
    CHECK(count_of(other) == 0);
    json = back_up(other, folder, "of-other");
    CHECK(json != NULL);
    sqlite3_free(json);
    check_says(db, "is no backup of this database", "SELECT fastkv_backup('%q/of-other')", folder);
    CHECK_CLOSE(other);

    /* A backup that is in use. */
    json = back_up(db, folder, "one");
    CHECK(json != NULL);
    sqlite3_free(json);
    other = open_in(folder, "one");
    CHECK(count_of(other) == 0);
    check_says(db, "is open somewhere else", "SELECT fastkv_backup('%q/one')", folder);
    CHECK_CLOSE(other);

    /* Parts of it. */
    shell("mkdir %s/part && cp %s/one/a.db %s/part", folder, folder, folder);
    other = open_in(folder, "part");
    check_says(other, "the store \"a.db-fastkv\" that belongs to this database is missing",
               "SELECT * FROM f");
    CHECK_NUMBER(other, "SELECT count(*) FROM n", 1);
    CHECK_CLOSE(other);
    check_says(db, "is missing", "SELECT fastkv_restore('%q/part')", folder);
    shell("cp -r %s/of-other/a.db-fastkv %s/part", folder, folder);
    other = open_in(folder, "part");
    check_says(other, "is not the store of this database", "SELECT * FROM f");
    CHECK_CLOSE(other);
    check_says(db, "is not the store of", "SELECT fastkv_restore('%q/part')", folder);
    CHECK(count_of(db) == 0);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* One that was left with a journal; one whose database is not a database, or not there. */
static void backups_that_are_not_whole(void)
{
    char folder[PATH_ROOM];
    char *json;
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema);
    json = back_up(db, folder, "one");
    CHECK(json != NULL);
    sqlite3_free(json);
    shell("echo x > %s/one/a.db-journal", folder);
    check_says(db, "was not closed in order", "SELECT fastkv_backup('%q/one')", folder);
    shell("rm %s/one/a.db-journal && cp -r %s/one %s/two", folder, folder, folder);
    shell("yes nonsense | head -c 8192 > %s/two/a.db", folder);
    check_says(db, "is no backup of this database", "SELECT fastkv_backup('%q/two')", folder);
    shell("rm %s/two/a.db", folder);
    check_says(db, "is the store of a database that is not there", "SELECT fastkv_backup('%q/two')",
               folder);
    json = back_up(db, folder, "one");
    CHECK(json != NULL);
    sqlite3_free(json);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* -- restore ----------------------------------------------------------------------------------- */

static void restores(void)
{
    char folder[PATH_ROOM];
    char *json, *before;
    sqlite3 *db, *other;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = wal; %s; %s", schema, step);
    json = back_up(db, folder, "one");
    CHECK(json != NULL);
    sqlite3_free(json);
    before = text(db, "SELECT * FROM f");
    CHECK_SQL(db, SQLITE_OK, "%s; CREATE TABLE later(x); CREATE VIRTUAL TABLE g USING fastkv",
              step);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('flush'); DELETE FROM f WHERE k > 0");

    CHECK_SQL(db, SQLITE_OK, "BEGIN; SELECT * FROM f");
    check_says(db, "in a transaction", "SELECT fastkv_restore('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    other = txn_open(folder, "a.db");
    CHECK_SQL(other, SQLITE_OK, "SELECT * FROM f");
    check_says(db, "is open somewhere else", "SELECT fastkv_restore('%q/one')", folder);
    CHECK_NUMBER(db, "SELECT v FROM f WHERE k = 0", 2);
    CHECK_CLOSE(other);

    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_restore('%q/one')", folder);
    CHECK(count_of(db) == 1);
    json = text(db, "SELECT * FROM f");
    CHECK(strcmp(json, before) == 0);
    sqlite3_free(json);
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM later");
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM g");
    CHECK_SQL(db, SQLITE_OK, step);
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK(count_of(db) == 2);
    CHECK_CLOSE(db);

    /* Into a database that is new, and of another name. */
    db = txn_open(folder, "new.db");
    check_says(db, "new.db", "SELECT fastkv_restore('%q/one')", folder);
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_restore('%q/one', 'a.db')", folder);
    CHECK(count_of(db) == 1);
    CHECK_SQL(db, SQLITE_OK, step);
    CHECK_CLOSE(db);
    /* And over one with a store of its own, whose files have the same names. */
    db = txn_open(folder, "b.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE f USING fastkv; INSERT INTO f VALUES(1, 2);"
              "INSERT INTO f(f) VALUES('flush'); INSERT INTO f VALUES(3, 4);"
              "INSERT INTO f(f) VALUES('flush')");
    CHECK_SQL(db, SQLITE_OK, "SELECT fastkv_restore('%q/one', 'a.db')", folder);
    CHECK(count_of(db) == 1);
    CHECK_CLOSE(db);
    db = txn_open(folder, "b.db");
    CHECK(count_of(db) == 1);
    CHECK_CLOSE(db);
    sqlite3_free(before);
    txn_remove(folder);
}

/* -- a process that ends ----------------------------------------------------------------------- */

static atomic_long *operations; /* shared with children */
static long stop_at;

static int end_there(const io_event *e)
{
    (void)e;
    if (atomic_fetch_add(operations, 1) + 1 == stop_at) _exit(ENDED);
    return 0;
}

typedef struct sweep {
    const char *folder, *sql;
    const char *look_at; /* where, afterwards */
    int64_t count;
} sweep;

static int run_sweep(void *arg)
{
    const sweep *s = arg;
    sqlite3 *db = txn_open(s->folder, "a.db");
    int rc;

    (void)number(db, "SELECT count(*) FROM f");
    io_hook = end_there;
    rc = run(db, "%s", s->sql);
    io_hook = NULL;
    if (rc) (void)printf("%s: %s\n", s->sql, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    return rc != SQLITE_OK;
}

/* The count there, as the exit code; 99: not whole; 98: there is none. */
static int look(void *arg)
{
    const sweep *s = arg;
    char path[PATH_ROOM * 2];
    sqlite3 *db;
    int64_t n;

    (void)snprintf(path, sizeof path, "%s/%s/a.db", s->folder, s->look_at);
    if (access(path, F_OK)) return 98;
    db = open_in(s->folder, s->look_at);
    n = count_of(db);
    if (n < 0) (void)printf("%s: %s\n", path, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    return n < 0 ? 99 : (int)n;
}

/* The operations that `sql` takes when it begins from `from`, a folder, which is left as it was. */
static long end_at(const char *folder, const char *from, const char *sql, long n)
{
    sweep s = {.folder = folder, .sql = sql};
    int rc;

    shell("rm -rf %s && cp -r %s %s", folder, from, folder);
    atomic_store(operations, 0);
    stop_at = n;
    rc = in_child(run_sweep, &s);
    CHECK(rc == (atomic_load(operations) >= n && n ? ENDED : 0));
    return atomic_load(operations);
}

static void every_end(const char *from, const char *folder, const char *sql, const char *look_at,
                      int older, int newer)
{
    long all = end_at(folder, from, sql, 0);
    long stride = (all / 30 / STEP + 1) * STEP;
    int seen_older = 0, seen_newer = 0;

    if (txn_scale() > 1) stride = 1;
    for (long n = 1 + (long)check_below((uint64_t)stride); n <= all; /* and before the last one */
         n = n < all && n + stride > all ? all : n + stride) {
        sweep s = {.folder = folder, .sql = sql, .look_at = look_at};
        int is;
        (void)end_at(folder, from, sql, n);
        is = in_child(look, &s);
        CHECK(is == older || is == newer);
        if (is != older && is != newer) (void)printf("%s at %ld: %d\n", sql, n, is);
        seen_older += is == older;
        seen_newer += is == newer;
        s.look_at = ".";
        if (strcmp(look_at, ".") != 0) CHECK(in_child(look, &s) == 3);
        /* And once more, over what was left. */
        if (check_below(3)) continue;
        stop_at = 0;
        CHECK(in_child(run_sweep, &s) == 0);
        s.look_at = look_at;
        is = in_child(look, &s);
        CHECK(is == newer);
    }
    CHECK(seen_older > 0 && seen_newer > 0);
}

static int make_scene(void *arg)
{
    const char *folder = arg;
    char *json;
    sqlite3 *db = txn_open(folder, "a.db");

    (void)run(db, "PRAGMA journal_mode = wal; %s; %s; INSERT INTO f(f) VALUES('flush')", schema,
              step);
    (void)run(db, "%s", step);
    json = back_up(db, folder, "one");
    (void)run(db, "%s; INSERT INTO f(f) VALUES('compact')", step);
    if (!json) return 1;
    sqlite3_free(json);
    return sqlite3_close(db) != SQLITE_OK;
}

static void ends_anywhere(void)
{
    char parent[PATH_ROOM], scene[PATH_ROOM + 8], folder[PATH_ROOM + 8];
    char *sql;

    operations = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    txn_folder(parent);
    (void)snprintf(scene, sizeof scene, "%s/scene", parent);
    (void)snprintf(folder, sizeof folder, "%s/at", parent);
    shell("mkdir %s", scene);
    CHECK(in_child(make_scene, scene) == 0);
    sql = sqlite3_mprintf("SELECT fastkv_backup('%q/two')", folder);
    every_end(scene, folder, sql, "two", 98, 3);
    sqlite3_free(sql);
    sql = sqlite3_mprintf("SELECT fastkv_backup('%q/one')", folder);
    every_end(scene, folder, sql, "one", 2, 3);
    sqlite3_free(sql);
    sql = sqlite3_mprintf("SELECT fastkv_restore('%q/one')", folder);
    every_end(scene, folder, sql, ".", 3, 2);
    sqlite3_free(sql);
    txn_remove(parent);
    (void)munmap(operations, 4096);
}

/* -- the engine alone: power cuts and full disks ----------------------------------------------- */

static fkv_status put_rows(fkv_store *s, int from, int to)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = from; !rc && i < to; i++) {
        char key[16], value[200];
        (void)snprintf(key, sizeof key, "%06d", i);
        memset(value, i & 127, sizeof value);
        rc = fkv_txn_put(t, fkv_slice_of(key, 6), fkv_slice_of(value, sizeof value));
    }
    if (!rc && from > 0) rc = fkv_txn_delete(t, fkv_slice_of("000000", 6));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static int count_rows(fkv_env *env, const char *path)
{
    fkv_options o = {.env = env, .inline_background = 1};
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    fkv_store *s = NULL;
    int n = 0;
    fkv_status rc = fkv_open(path, &o, &s);

    if (rc == FKV_NOTFOUND) return 0;
    if (!rc) rc = fkv_verify(s);
    if (!rc) rc = fkv_snapshot_new(s, &snap);
    if (!rc) rc = fkv_cursor_new(snap, NULL, &c);
    if (!rc)
        for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
    if (!rc) rc = fkv_cursor_status(c);
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    fkv_close(s);
    if (rc) (void)printf("%s: %s\n", path, fkv_errmsg());
    return rc ? -1 : n;
}

static fkv_status copy_store(fkv_store *s)
{
    fkv_backup *b = NULL;
    fkv_txn *t = NULL;
    uint64_t stamp;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_backup_new(s, t, &b);
    fkv_txn_free(t);
    if (!rc) rc = fkv_backup_write(b, "copies", "store", 0, &stamp, NULL);
    if (!rc) rc = fkv_backup_commit(b, NULL, NULL);
    fkv_backup_free(b);
    return rc;
}

/* A backup of 99 rows is there, or not; the store has 198, the last of them in memory. In the next
** one the nth operation of these kinds fails, and all after it if `for_ever`. */
static int fail_at(uint64_t n, int kinds, fkv_status how, int for_ever, int older, int cut,
                   uint64_t seed)
{
    fkv_env *disk = NULL, *env = NULL;
    fkv_store *s = NULL;
    env_fault fault = {.kinds = kinds, .countdown = n, .persistent = for_ever, .status = how};
    fkv_options o = {.create = 1, .inline_background = 1};
    int fired, is;
    fkv_status rc;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o.env = audited(env);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    CHECK_STATUS(put_rows(s, 0, 100), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK_STATUS(put_rows(s, 1, 50), FKV_OK); /* deletes the first */
    if (older) CHECK_STATUS(copy_store(s), FKV_OK);
    CHECK_STATUS(put_rows(s, 100, 150), FKV_OK);
    CHECK_STATUS(fkv_compact(s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)), FKV_OK);
    CHECK_STATUS(put_rows(s, 150, 199), FKV_OK);
    env_fault_set(env, &fault);
    rc = copy_store(s);
    fired = env_fault_fired(env) > 0;
    CHECK(rc == FKV_OK || fired);
    env_fault_set(env, NULL);
    if (!cut) {
        CHECK_STATUS(put_rows(s, 199, 200), FKV_OK); /* the store does not mind */
        is = count_rows(o.env, "copies/store");
        CHECK(is == (rc ? (older ? 99 : 0) : 198) || (rc && is == 198));
        CHECK_STATUS(copy_store(s), FKV_OK);
        CHECK(count_rows(o.env, "copies/store") == 199);
    }
    fkv_close(s);
    if (cut) {
        CHECK_STATUS(env_mem_crash(disk, seed), FKV_OK);
        CHECK(count_rows(o.env, "store") == 198);
        is = count_rows(o.env, "copies/store");
        CHECK(is == 198 || (rc && is == (older ? 99 : 0)));
    }
    env_audit_free(o.env);
    env_fault_free(env);
    env_mem_free(disk);
    return fired;
}

static void fails_anywhere(void)
{
    enum { CHANGES = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE };
    int fired = 0;

    for (int older = 0; older < 2; older++) {
        uint64_t n;
        for (n = 1; fail_at(n, CHANGES | ENV_OP_OPEN, FKV_FULL, 0, older, 0, 0); n++) fired++;
        for (n = 1; fail_at(n, ENV_OP_READ | ENV_OP_OPEN, FKV_IOERR, 0, older, 0, 0); n++) fired++;
        for (n = 1; fail_at(n, CHANGES, FKV_IOERR, 1, older, 1, 0); n++) fired++;
        for (n = 1; fail_at(n, CHANGES, FKV_IOERR, 1, older, 1, check_random() | 1); n++) fired++;
    }
    CHECK(fired > 60);
}

TEST_MAIN("test_backup", TEST_CASE(second_time_only_what_is_new), TEST_CASE(what_it_refuses),
          TEST_CASE(backups_that_are_not_whole), TEST_CASE(restores), TEST_CASE(fails_anywhere),
          TEST_CASE(ends_anywhere), TEST_CASE(beside_writers_in_wal_mode),
          TEST_CASE(beside_writers_with_a_journal))
