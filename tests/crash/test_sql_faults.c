/*
** The nth allocation, or the nth operation on a file, fails under SQL: a statement that fails has
** changed nothing, nothing acknowledged is lost, and afterwards all goes on.
**
** Thirteen scenarios run on a database in WAL or rollback mode with a fastkv table and a native
** one, for n = 1, 2, 3 … until the nth is never reached; once, and with all that follow failing.
** SQLite's own allocations and file operations are in the count, and those of background threads.
** What must come of it is kept by the same statements on native tables of another database in
** memory: a statement is repeated there if it has succeeded here. A COMMIT that has failed may
** have happened, as a whole. Then the faults are over: the content is compared, the store
** verified, written to, closed, opened, and compared again.
*/
#include "txn/sql_fault.h"
#include <dirent.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 80 };
#else
enum { STRIDE = 25 };
#endif

/* -- the two databases ------------------------------------------------------------------------- */

typedef struct world {
    char folder[PATH_ROOM];
    const char *journal;
    sqlite3 *db, *twin;
    char *before; /* what the twin held before the last statement; if marks may be lost */
} world;

static uint64_t injections[FAULT_KINDS], happened_after_all, lost_marks;

/* All rows of f and n, as the table's own order has them. */
static char *content(sqlite3 *db, int *rc)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    const char *const queries[] = {
        "SELECT name FROM sqlite_schema WHERE name IN ('f', 'g', 'h', 'n') ORDER BY name",
        "SELECT * FROM f ORDER BY k", "SELECT * FROM n ORDER BY k", "SELECT * FROM g ORDER BY k"};

    *rc = SQLITE_OK;
    for (int i = 0; i < 4; i++) {
        int one = run_rows(db, queries[i], text);
        sqlite3_str_appendchar(text, 1, '#');
        if (one && !strstr(sqlite3_errmsg(db), "no such table")) *rc = one;
    }
    return sqlite3_str_finish(text);
}

static void open_both(world *w, int create)
{
    w->db = txn_open(w->folder, "db");
    sqlite3_busy_timeout(w->db, 2000);
    CHECK_SQL(w->db, SQLITE_OK, "PRAGMA journal_mode = %s", w->journal);
    if (create && sqlite3_open(":memory:", &w->twin)) abort();
}

/* On the twin a fastkv table is a native one, and the store's commands are nothing. */
static int on_twin(world *w, const char *sql)
{
    char *copy = sqlite3_mprintf("%s", sql), *at;
    int rc = SQLITE_OK;

    at = strstr(copy, "CREATE VIRTUAL TABLE");
    if (at) {
        rc = run(w->twin, "CREATE TABLE %c(k PRIMARY KEY NOT NULL, v) WITHOUT ROWID", at[21]);
    } else if (!strstr(copy, "INSERT INTO f(f") && !strstr(copy, "fastkv_stats")) {
        rc = run(w->twin, "%s", copy);
    }
    sqlite3_free(copy);
    return rc;
}

static int is_allowed(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_ABORT:
        return 1;
    case SQLITE_ROW:
        /* SQLite, reading the schema, runs sqlite3_exec; no memory for a row's columns ends that
        ** statement, which undoes the transaction, and our xRollback finalizes what would keep
        ** sqlite3_close from closing. That forgets that memory was short, and the code at hand is
        ** SQLITE_ROW. Nothing has happened, and that is checked. */
        return fault.kind == NO_MEMORY;
    default: /* SQLite takes a missing page for damage when a read has failed, also of our table */
        return (rc & 0xff) == SQLITE_CORRUPT && fault.kind == BAD_READ &&
               (!(rc >> 8) || strstr(sqlite3_errmsg(db), "\"fastkv_commit\""));
    }
}

/* The rows that the twin would hold with this statement as well, or with its open transaction. */
static char *twin_after(world *w, const char *sql)
{
    int ends = !sqlite3_get_autocommit(w->twin), ignored;
    char *after;

    if (ends) return content(w->twin, &ignored);
    (void)run(w->twin, "SAVEPOINT doubt");
    (void)on_twin(w, sql); /* one before it may have failed */
    after = content(w->twin, &ignored);
    (void)run(w->twin, "ROLLBACK TO doubt; RELEASE doubt");
    return after;
}

/* A failed COMMIT, also that of a statement by itself, may have happened as a whole: look. */
static void settle_doubt(world *w, const char *sql)
{
    char *after = twin_after(w, sql), *found;
    int rc, ends = !sqlite3_get_autocommit(w->twin), happened;

    if (ends) (void)run(w->db, "ROLLBACK");
    found = content(w->db, &rc);
    happened = rc == SQLITE_OK && strcmp(found, after) == 0;
    if (ends) {
        CHECK(run(w->twin, happened ? "COMMIT" : "ROLLBACK") == SQLITE_OK);
    } else if (happened) {
        char *before = content(w->twin, &rc);
        happened_after_all += strcmp(before, after) != 0;
        if (strcmp(before, after) != 0) CHECK(on_twin(w, sql) == SQLITE_OK);
        sqlite3_free(before);
    }
    sqlite3_free(found);
    sqlite3_free(after);
}

/* A disk that takes no byte any more, in allocated space either, may lose the mark of one commit:
** xCommit cannot fail. The store is read-only from then on. */
static void remember(world *w)
{
    int ignored;

    if (fault.kind != BAD_WRITE || !fault.persistent || !sqlite3_get_autocommit(w->twin)) return;
    sqlite3_free(w->before);
    w->before = content(w->twin, &ignored);
}

/* One statement on both. A failed one must have been failed by the fault. */
static void step(world *w, const char *sql)
{
    int rc = sqlite3_exec(w->db, sql, NULL, NULL, NULL);

    fault.paused++;
    if (getenv("FKV_TEST_TRACE")) (void)printf("%4d %s\n", rc, sql);
    if (rc == SQLITE_OK) {
        remember(w);
        if (on_twin(w, sql)) {
            check_failures++;
            (void)printf("not on the twin (%s): %s\n", sqlite3_errmsg(w->twin), sql);
        }
    } else if (rc == SQLITE_ERROR && fault.fired && run(w->twin, "%s", sql) == SQLITE_ERROR) {
        /* one before it has failed */
    } else {
        if (!fault.fired || !is_allowed(w->db, rc)) {
            check_failures++;
            (void)printf("%d (%s): %s\n", rc, sqlite3_errmsg(w->db), sql);
        }
        if (strcmp(sql, "COMMIT") == 0 ||
            (sqlite3_get_autocommit(w->twin) && strcmp(sql, "BEGIN") != 0)) {
            settle_doubt(w, sql);
        } else if (sqlite3_get_autocommit(w->db)) {
            (void)run(w->twin, "ROLLBACK");
        }
    }
    fault.paused--;
}

/* -- scenarios --------------------------------------------------------------------------------- */

#define ROWS(n) "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < " #n ") "

static const char *const base[] = {
    "CREATE TABLE n(k PRIMARY KEY NOT NULL, v) WITHOUT ROWID",
    "CREATE VIRTUAL TABLE f USING fastkv(k, v, memory = '1MB')",
    ROWS(60) "INSERT INTO f SELECT 'key' || i, i * 7 FROM c",
    "INSERT INTO f(f) VALUES ('flush')",
    ROWS(20) "REPLACE INTO f SELECT 'key' || (i * 3), hex(zeroblob(50)) FROM c",
    "DELETE FROM f WHERE k > 'key50'",
    "INSERT INTO f(f) VALUES ('flush')",
    ROWS(5) "INSERT INTO f SELECT 'new' || i, NULL FROM c",
    ROWS(10) "INSERT INTO n SELECT i, i FROM c",
    NULL};

typedef struct scenario {
    const char *name;
    int opens; /* closed and opened under the fault; 2: its process has died before */
    const char *steps[10];
} scenario;

static const scenario scenarios[] = {
    {"create",
     0,
     {"CREATE VIRTUAL TABLE g USING fastkv(k, v, compression = zlib)",
      "INSERT INTO g VALUES (1, 1), (2, 'two')", NULL}},
    {"open", 1, {"SELECT count(*) FROM f", "REPLACE INTO f VALUES ('a', 1)", NULL}},
    {"open after a death", 2, {"SELECT * FROM f", "REPLACE INTO f VALUES ('a', 1)", NULL}},
    {"put",
     0,
     {ROWS(100) "REPLACE INTO f SELECT 'p' || i, hex(zeroblob(i)) FROM c",
      "INSERT INTO f VALUES (5, x'00'), (6, 6.5)", "INSERT OR IGNORE INTO f VALUES (5, 'not')",
      NULL}},
    {"savepoints",
     0,
     {"BEGIN", "REPLACE INTO f VALUES ('s1', 1)", "SAVEPOINT a", "DELETE FROM f WHERE k < 'key3'",
      "ROLLBACK TO a", "REPLACE INTO f VALUES ('s2', 2)", "COMMIT", NULL}},
    {"read",
     0,
     {"SELECT * FROM f ORDER BY k DESC", "SELECT v FROM f WHERE k IN ('key1', 'key9', 'no')",
      "SELECT count(*), max(k) FROM f WHERE k BETWEEN 'key2' AND 'key4'",
      "SELECT a.k FROM f a JOIN f b ON a.v = b.k", NULL}},
    {"update and delete",
     0,
     {"UPDATE f SET v = 'u' WHERE k LIKE 'key1%'", "UPDATE f SET k = k || 'x' WHERE k > 'new'",
      "DELETE FROM f WHERE v = 'u'", NULL}},
    {"flush", 0, {"INSERT INTO f(f) VALUES ('flush')", "SELECT * FROM f", NULL}},
    {"compact",
     0,
     {"INSERT INTO f(f) VALUES ('compact')", "SELECT * FROM f",
      "INSERT INTO f(f) VALUES ('settle')", NULL}},
    {"both kinds of tables",
     0,
     {"BEGIN", "INSERT INTO n VALUES (100, 1)", "INSERT INTO f VALUES ('both', 1)", "COMMIT",
      "BEGIN", "DELETE FROM n WHERE k < 5", "DELETE FROM f WHERE k < 'key2'", "COMMIT", NULL}},
    {"rollback",
     0,
     {"BEGIN", "DELETE FROM f", "INSERT INTO n VALUES (200, 2)", "SELECT * FROM f", "ROLLBACK",
      "INSERT INTO f VALUES ('after', 1)", NULL}},
    {"rename and drop",
     0,
     {"CREATE VIRTUAL TABLE g USING fastkv(k, v)", "INSERT INTO g VALUES (1, 2)",
      "ALTER TABLE g RENAME TO h", "DROP TABLE h", "INSERT INTO f VALUES ('dropped', 1)", NULL}},
    {"check and size",
     0,
     {"INSERT INTO f(f) VALUES ('integrity-check')", "SELECT count(*) FROM fastkv_stats('f')",
      NULL}}};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* -- copies of a database ---------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    static uint8_t room[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;

    if (!in || !out) abort();
    while ((n = fread(room, 1, sizeof room, in)) > 0)
        if (fwrite(room, 1, n, out) != n) abort();
    if (fclose(in) || fclose(out)) abort();
}

static void copy_folder(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    struct dirent *e;

    if (!dir) abort();
    while ((e = readdir(dir)) != NULL) {
        char a[PATH_ROOM * 3], b[PATH_ROOM * 3];
        struct stat st;
        (void)snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        (void)snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        if (e->d_name[0] == '.' || stat(a, &st)) continue;
        if (S_ISDIR(st.st_mode)) {
            if (mkdir(b, 0777)) abort();
            copy_folder(a, b);
        } else {
            copy_file(a, b);
        }
    }
    (void)closedir(dir);
}

/* -- one injection ----------------------------------------------------------------------------- */

static void close_db(world *w)
{
    CHECK(sqlite3_close(w->db) == SQLITE_OK);
    w->db = NULL;
}

static int is_as_it_should_be(world *w, const char *when)
{
    int rc, ignored, good;
    char *found = content(w->db, &rc), *wanted = content(w->twin, &ignored);

    good = rc == SQLITE_OK && strcmp(found, wanted) == 0;
    if (!good && rc == SQLITE_OK && w->before && strcmp(found, w->before) == 0) {
        lost_marks++;
        good = 1;
    }
    if (!good) {
        size_t at = 0;
        while (found && found[at] && found[at] == wanted[at]) at++;
        while (at && wanted[at - 1] != '\n') at--;
        check_failures++;
        (void)printf("%s: %d (%s), from here on\nfound  %.80s\nwanted %.80s\n", when, rc,
                     sqlite3_errmsg(w->db), found ? found + at : "nothing", wanted + at);
    }
    sqlite3_free(found);
    sqlite3_free(wanted);
    return good;
}

/* The faults are over. */
static void check_after(world *w)
{
    if (!sqlite3_get_autocommit(w->db)) {
        CHECK_SQL(w->db, SQLITE_OK, "ROLLBACK");
        if (!sqlite3_get_autocommit(w->twin)) CHECK_SQL(w->twin, SQLITE_OK, "ROLLBACK");
    }
    if (!is_as_it_should_be(w, "afterwards")) return;
    close_db(w);
    open_both(w, 0);
    if (!is_as_it_should_be(w, "reopened")) return;
    CHECK_SQL(w->db, SQLITE_OK, "INSERT INTO f(f) VALUES ('integrity-check')");
    CHECK_SQL(w->db, SQLITE_OK, "PRAGMA integrity_check");
    CHECK_SQL(w->db, SQLITE_OK,
              "BEGIN; REPLACE INTO f VALUES ('last', 1);"
              "REPLACE INTO n VALUES ('last', 1); COMMIT");
    CHECK_NUMBER(w->db, "SELECT count(*) FROM f JOIN n USING (k) WHERE k = 'last'", 1);
}

static int inject(const char *original, const char *journal, const scenario *sc, fault_kind kind,
                  long n, int persistent)
{
    world w = {.journal = journal};

    txn_folder(w.folder);
    copy_folder(original, w.folder);
    open_both(&w, 1);
    for (int i = 0; base[i]; i++) CHECK(on_twin(&w, base[i]) == SQLITE_OK);
    if (sc->opens) {
        close_db(&w);
    } else {
        CHECK_NUMBER(w.db, "SELECT count(*) FROM n", 10);
    }
    fault.seen = fault.fired = 0;
    fault.countdown = n;
    fault.persistent = persistent;
    fault.kind = (int)kind;
    while (!w.db) { /* connecting is under the fault as well, and may be tried again */
        char path[PATH_ROOM * 2], *error = NULL;
        (void)snprintf(path, sizeof path, "%s/db", w.folder);
        if (sqlite3_open(path, &w.db) || sqlite3_fastkv_init(w.db, &error, NULL)) {
            CHECK(fault.fired);
            (void)sqlite3_close(w.db);
            w.db = NULL;
            fault.persistent = 0;
        } else {
            (void)sqlite3_extended_result_codes(w.db, 1);
        }
        sqlite3_free(error);
    }
    for (int i = 0; sc->steps[i]; i++) step(&w, sc->steps[i]);
    fault.kind = NO_FAULT;
    check_after(&w);
    if (w.db) close_db(&w);
    (void)sqlite3_close(w.twin);
    sqlite3_free(w.before);
    txn_remove(w.folder);
    injections[kind] += (uint64_t)fault.fired;
    return fault.fired;
}

static void sweep(const char *original, const char *journal, const scenario *sc, fault_kind kind,
                  int persistent)
{
    int failures = check_failures, stride = txn_scale() > 1 ? 1 : STRIDE;

    for (long n = 1 + (long)check_below((uint64_t)stride);;
         n += 1 + (long)check_below((uint64_t)(2 * stride - 1))) {
        int fired = inject(original, journal, sc, kind, n, persistent);
        if (check_failures != failures) {
            (void)printf("  that is FKV_TEST_ONE=\"%s %d %d %ld %d\": %s, %s, and %s\n", journal,
                         (int)(sc - scenarios), (int)kind, n, persistent, sc->name,
                         kind_names[kind], persistent ? "all that follow" : "only that one");
            return;
        }
        if (!fired) return;
    }
}

/* A database that was closed, or whose process has ended without closing it. */
static void make_original(char out[PATH_ROOM], const char *journal, int dead)
{
    char life[PATH_ROOM];
    world w = {.journal = journal};

    txn_folder(life);
    txn_folder(out);
    (void)snprintf(w.folder, sizeof w.folder, "%s", life);
    open_both(&w, 0);
    for (int i = 0; base[i]; i++) CHECK_SQL(w.db, SQLITE_OK, "%s", base[i]);
    if (dead) copy_folder(life, out);
    close_db(&w);
    if (!dead) copy_folder(life, out);
    txn_remove(life);
}

/* FKV_TEST_ONE="journal scenario kind n persistent": that one alone. */
static void only_one(void)
{
    const char *given = getenv("FKV_TEST_ONE");
    char journal[16] = {0}, original[PATH_ROOM];
    unsigned sc = 0, kind = 0;
    int persistent = 0;
    long n = 0;

    if (!given || sscanf(given, "%15s %u %u %ld %d", journal, &sc, &kind, &n, &persistent) != 5)
        return;
    make_original(original, journal, scenarios[sc % SCENARIOS].opens == 2);
    (void)inject(original, journal, &scenarios[sc % SCENARIOS], (fault_kind)kind, n, persistent);
    txn_remove(original);
    exit(0);
}

static void all_scenarios(fault_kind kind)
{
    static const char *const journals[] = {"wal", "delete"};
    uint64_t only = txn_scale() > 1 ? 2 : check_below(2);

    for (uint64_t j = 0; j < 2; j++) {
        char original[2][PATH_ROOM];
        if (only != 2 && only != j) continue;
        for (int dead = 0; dead < 2; dead++) make_original(original[dead], journals[j], dead);
        for (int i = 0; i < SCENARIOS; i++)
            for (int persistent = 0; persistent < 2; persistent++)
                sweep(original[scenarios[i].opens == 2], journals[j], &scenarios[i], kind,
                      persistent);
        for (int dead = 0; dead < 2; dead++) txn_remove(original[dead]);
    }
    (void)printf("%s: %" PRIu64 " injections\n", kind_names[kind], injections[kind]);
}

static void allocations_fail(void)
{
    all_scenarios(NO_MEMORY);
    (void)printf("POINTS out-of-memory injections %" PRIu64 "\n", injections[NO_MEMORY]);
}

static void files_fail(void)
{
    uint64_t all = 0;

    for (fault_kind kind = BAD_READ; kind < FAULT_KINDS; kind++) {
        all_scenarios(kind);
        all += injections[kind];
    }
    (void)printf("POINTS io-error injections %" PRIu64 "\n", all);
    (void)printf("%" PRIu64 " statements failed after they had been committed, %" PRIu64
                 " marks lost by a dead disk\n",
                 happened_after_all, lost_marks);
}

static void begin(void)
{
    take_heaps();
    io_hook = fault_on_io;
    fault.spares_what_is_there = 1;
    only_one();
}

TEST_MAIN("test_sql_faults", TEST_CASE(begin), TEST_CASE(allocations_fail), TEST_CASE(files_fail))
