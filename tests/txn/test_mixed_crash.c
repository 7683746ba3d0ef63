/*
** A process that dies at any point leaves whole transactions, over native and fastkv tables alike.
**
** A child runs a fixed list of steps, each one transaction: mixed, native only, fastkv only, by
** triggers, DDL. It ends itself by _exit before the nth change to any file, SQLite's or the
** store's (io_hook.h), for n = 1, 2, 3 … until the list is finished; in a second sweep it ends in
** the middle of the nth write, half of which is done. Another child then opens what is left. What
** the tables hold must be what they hold after some step: one that is not older than the last
** acknowledged, and the same for native and for fastkv tables.
**
** The expected contents are not written down: a run that is not interrupted takes a digest of both
** kinds of tables after every step.
**
** Across an attached database SQLite promises less: with a rollback journal a transaction over two
** files is atomic, in WAL mode it is atomic within each. Each store must be as its file.
**
** journal_mode=MEMORY gives no promise for a process that dies while it writes the pages of a
** commit, and there only the store's own soundness is asked; at all other points the full.
*/
#include <stdatomic.h>
#include <sys/mman.h>

#include "txn_util.h"

#include "io_hook.h"

/* A life takes some ten milliseconds, and there are ten thousand to try: all of them with
** FKV_TEST_SCALE=10 (make verify). Otherwise every third in two journal modes and a sample of the
** others, at places that differ from run to run. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 12, SAMPLE = 120 };
#else
enum { STRIDE = 3, SAMPLE = 24 };
#endif

enum { STEPS_MAX = 40, KILLED = 77, WHERE_KINDS = 5 };

/* One side of one database: a digest of all that the tables hold. */
typedef struct digest {
    uint64_t native, fastkv;
} digest;

/* Where in a transaction an exit falls. The commit hook stands between xSync and the rest. */
enum { OUTSIDE, IN_SYNC_STORE, IN_SYNC_HOST, IN_HOST_COMMIT, IN_STORE_COMMIT };

/* What the processes share. */
typedef struct shared {
    atomic_long operations;  /* done so far */
    long stop;               /* exit before this one; 0 = never */
    int torn;                /* do half of it first, if it is a write */
    atomic_int acknowledged; /* steps that were */
    /* Inside the last statement of a step; behind the commit hook. (The store's own threads write
    ** and sync as well, and look at these.) */
    atomic_int committing, past_hook;
    int where;                  /* of the exit */
    atomic_int host_writes;     /* in the running step, to a database file */
    int step_writes[STEPS_MAX]; /* the same in an uninterrupted run */
    digest main_state[STEPS_MAX], aux_state[STEPS_MAX];
    int failures;
} shared;

static shared *sh;

typedef struct scene {
    const char *journal, *synchronous;
    const char *const *steps;
    int attached;
    char folder[PATH_ROOM];
} scene;

#define FILLER "hex(zeroblob(500))"
#define MANY "WITH RECURSIVE c(i) AS (VALUES(100) UNION ALL SELECT i + 1 FROM c WHERE i < 140) "

static const char *const one_file[] = {
    "CREATE TABLE n(k INTEGER PRIMARY KEY, v)",
    "BEGIN; CREATE TABLE m(k INTEGER PRIMARY KEY, v);"
    "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v, memory = '1MB'); COMMIT",
    "CREATE TRIGGER tr AFTER INSERT ON m BEGIN REPLACE INTO f VALUES(new.k, new.v); END",
    "BEGIN; INSERT INTO n VALUES(1, 'a'); INSERT INTO f VALUES(1, 'a'); COMMIT",
    "BEGIN; INSERT INTO f VALUES(2, 'b'), (3, 'c'); COMMIT",
    "INSERT INTO n VALUES(2, 'native only')",
    "INSERT INTO m VALUES(10, 'by trigger'), (11, 'by trigger')",
    "INSERT INTO f VALUES(4, 'autocommit')",
    "BEGIN; " MANY "INSERT INTO n SELECT i, " FILLER " FROM c; " MANY
    "REPLACE INTO f SELECT i, " FILLER " FROM c; COMMIT",
    "INSERT INTO f(f) VALUES('flush')",
    "BEGIN; UPDATE f SET v = 'x' WHERE k < 5; SAVEPOINT s; DELETE FROM n; DELETE FROM f;"
    "ROLLBACK TO s; UPDATE n SET v = 'x' WHERE k < 5; COMMIT",
    "BEGIN; INSERT INTO f VALUES(5, 'gone'); INSERT INTO n VALUES(5, 'gone'); ROLLBACK",
    "BEGIN; PRAGMA user_version = 7; DELETE FROM f WHERE k = 1; COMMIT",
    "BEGIN; DELETE FROM n WHERE k > 110; DELETE FROM f WHERE k > 110; COMMIT",
    "BEGIN; CREATE VIRTUAL TABLE g USING fastkv; INSERT INTO g VALUES(1, 2);"
    "INSERT INTO n VALUES(20, 'with g'); COMMIT",
    "SAVEPOINT a; INSERT INTO f VALUES(21, 'u'); SAVEPOINT b; INSERT INTO n VALUES(21, 'u');"
    "ROLLBACK TO b; RELEASE a",
    "BEGIN; DROP TABLE g; INSERT INTO f VALUES(22, 'without g'); COMMIT",
    "DROP TABLE fastkv_commit",
    "BEGIN; INSERT INTO n VALUES(30, 'd'); INSERT INTO f VALUES(30, 'd'); COMMIT",
    "DELETE FROM fastkv_commit",
    "BEGIN; INSERT INTO f VALUES(31, 'e'); INSERT INTO n VALUES(31, 'e'); COMMIT",
    "DELETE FROM f WHERE k = 30",
    NULL};

static const char *const two_files[] = {
    "CREATE TABLE n(k INTEGER PRIMARY KEY, v)",
    "CREATE TABLE aux.n2(k INTEGER PRIMARY KEY, v)",
    "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v)",
    "CREATE VIRTUAL TABLE aux.f2 USING fastkv(k INTEGER PRIMARY KEY, v)",
    "BEGIN; INSERT INTO n VALUES(1, 1); INSERT INTO f VALUES(1, 1); INSERT INTO n2 VALUES(1, 1);"
    "INSERT INTO f2 VALUES(1, 1); COMMIT",
    "BEGIN; INSERT INTO f2 VALUES(2, 2); INSERT INTO n VALUES(2, 2); COMMIT",
    "BEGIN; INSERT INTO n2 VALUES(3, 3); INSERT INTO f VALUES(3, 3); COMMIT",
    "BEGIN; INSERT INTO f VALUES(4, 4); INSERT INTO n VALUES(4, 4); COMMIT",
    "BEGIN; INSERT INTO n2 VALUES(5, 5); INSERT INTO f2 VALUES(5, 5); COMMIT",
    "BEGIN; INSERT INTO f2 VALUES(6, 6); INSERT INTO f VALUES(6, 6); INSERT INTO n VALUES(6, 6);"
    "COMMIT",
    "BEGIN; INSERT INTO f2 VALUES(7, 7); INSERT INTO n2 VALUES(7, 7); INSERT INTO f VALUES(7, 7);"
    "COMMIT",
    "INSERT INTO f2 VALUES(8, 8)",
    "BEGIN; DELETE FROM n2; DELETE FROM f2; DELETE FROM n; DELETE FROM f; COMMIT",
    NULL};

/* Two stores and no page of a database: nothing but the stores' own logs could decide. */
static const char *const two_stores[] = {
    "CREATE TABLE n(k INTEGER PRIMARY KEY, v)",
    "CREATE TABLE aux.n2(k INTEGER PRIMARY KEY, v)",
    "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v)",
    "CREATE VIRTUAL TABLE aux.f2 USING fastkv(k INTEGER PRIMARY KEY, v)",
    "BEGIN; INSERT INTO f VALUES(1, 1); INSERT INTO f2 VALUES(1, 1); COMMIT",
    "BEGIN; UPDATE f2 SET v = 2; UPDATE f SET v = 2; COMMIT",
    "BEGIN; UPDATE f2 SET v = 3; UPDATE f SET v = 3; COMMIT",
    "BEGIN; UPDATE f2 SET v = 4; UPDATE f SET v = 4; COMMIT",
    NULL};

/* -- digests ----------------------------------------------------------------------------------- */

static void digest_rows(uint64_t *h, sqlite3 *db, const char *sql)
{
    sqlite3_str *text = sqlite3_str_new(db);
    int rc = run_rows(db, sql, text) & 0xff;
    char *bytes;

    sqlite3_str_appendf(text, "(%d)", rc); /* no such table is a state as well */
    bytes = sqlite3_str_finish(text);
    for (const char *p = bytes; p && *p; p++) *h = (*h ^ (uint8_t)*p) * 0x100000001b3u;
    sqlite3_free(bytes);
}

static digest digest_main(sqlite3 *db)
{
    digest d = {14695981039346656037u, 14695981039346656037u};

    digest_rows(&d.native, db, "SELECT * FROM n ORDER BY k");
    digest_rows(&d.native, db, "SELECT * FROM m ORDER BY k");
    digest_rows(&d.native, db, "PRAGMA user_version");
    digest_rows(&d.native, db,
                "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'fastkv%' ORDER BY name");
    digest_rows(&d.fastkv, db, "SELECT * FROM f ORDER BY k");
    digest_rows(&d.fastkv, db, "SELECT * FROM g ORDER BY key");
    return d;
}

static digest digest_aux(sqlite3 *db)
{
    digest d = {14695981039346656037u, 14695981039346656037u};

    digest_rows(&d.native, db, "SELECT * FROM n2 ORDER BY k");
    digest_rows(&d.native, db, "SELECT name FROM aux.sqlite_schema ORDER BY name");
    digest_rows(&d.fastkv, db, "SELECT * FROM f2 ORDER BY k");
    return d;
}

static int same(digest a, digest b)
{
    return a.native == b.native && a.fastkv == b.fastkv;
}

/* -- the child that dies ----------------------------------------------------------------------- */

static int place_of(int is_host)
{
    if (!sh->committing) return OUTSIDE;
    if (!sh->past_hook) return is_host ? IN_SYNC_HOST : IN_SYNC_STORE;
    return is_host ? IN_HOST_COMMIT : IN_STORE_COMMIT;
}

/* The file of the database itself: pages that a rollback journal may have to bring back. */
static int is_database_file(const io_event *e)
{
    char link[32], path[512];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", e->fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 3) return 0;
    path[n] = 0;
    return strcmp(path + n - 3, ".db") == 0;
}

static int count_operation(const io_event *e)
{
    long n = atomic_fetch_add(&sh->operations, 1) + 1;

    if (n == sh->stop) {
        sh->where = place_of(io_is_host(e));
        if (sh->torn && e->op == IO_WRITE && e->size > 1) {
            (void)syscall(SYS_pwrite64, e->fd, e->bytes, e->size / 2, e->offset);
        }
        _exit(KILLED);
    }
    if (e->op == IO_WRITE && e->fd >= 0 && is_database_file(e)) sh->host_writes++;
    return 0;
}

static int past_hook(void *unused)
{
    (void)unused;
    sh->past_hook = 1;
    return 0;
}

static sqlite3 *open_scene(const scene *sc)
{
    sqlite3 *db = txn_open(sc->folder, "a.db");

    (void)sqlite3_commit_hook(db, past_hook, NULL);
    if (sc->attached && run(db, "ATTACH '%q/b.db' AS aux", sc->folder)) abort();
    if (run(db, "PRAGMA main.journal_mode = %s; PRAGMA main.synchronous = %s", sc->journal,
            sc->synchronous))
        abort();
    if (sc->attached && run(db, "PRAGMA aux.journal_mode = %s; PRAGMA aux.synchronous = %s",
                            sc->journal, sc->synchronous))
        abort();
    return db;
}

/* A step is one transaction; what is before its last statement is not yet the commit. */
static int run_step(sqlite3 *db, const char *sql)
{
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && *sql) {
        const char *rest = sql;
        sqlite3_stmt *s = NULL;
        rc = sqlite3_prepare_v2(db, sql, -1, &s, &rest);
        sh->past_hook = 0;
        sh->committing = *rest == 0 && strncmp(sql, "ROLLBACK", 8) != 0;
        while (rc == SQLITE_OK && s && (rc = sqlite3_step(s)) == SQLITE_ROW) rc = SQLITE_OK;
        if (rc == SQLITE_DONE) rc = SQLITE_OK;
        (void)sqlite3_finalize(s);
        sql = rest + strspn(rest, " ;");
    }
    sh->committing = 0;
    return rc;
}

static int workload(void *arg)
{
    const scene *sc = arg;
    sqlite3 *db;

    io_hook = count_operation;
    db = open_scene(sc);
    for (int i = 0; sc->steps[i]; i++) {
        int rc;
        sh->host_writes = 0;
        rc = run_step(db, sc->steps[i]);
        if (rc) {
            (void)printf("step %d gave %d (%s)\n", i + 1, rc, sqlite3_errmsg(db));
            return 1;
        }
        atomic_store(&sh->acknowledged, i + 1);
        if (sh->stop) continue;
        sh->step_writes[i] = sh->host_writes;
        sh->main_state[i + 1] = digest_main(db);
        if (sc->attached) sh->aux_state[i + 1] = digest_aux(db);
    }
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return check_failures != 0;
}

/* -- the child that looks ---------------------------------------------------------------------- */

static int is_memory(const scene *sc)
{
    return strcmp(sc->journal, "MEMORY") == 0;
}

static int is_wal(const scene *sc)
{
    return strcmp(sc->journal, "WAL") == 0;
}

static void explain(const char *what, const digest *states, digest got, int done)
{
    (void)printf("%s: acknowledged %d; native as after", what, done);
    for (int i = 0; i < STEPS_MAX; i++)
        if (states[i].native == got.native) (void)printf(" %d", i);
    (void)printf("; fastkv as after");
    for (int i = 0; i < STEPS_MAX; i++)
        if (states[i].fastkv == got.fastkv) (void)printf(" %d", i);
    (void)printf("\n");
}

/* Bit 0: as after the last acknowledged step; bit 1: as after the next. */
static int match(const char *what, const digest *states, digest got)
{
    int done = atomic_load(&sh->acknowledged);
    int found = same(states[done], got) | same(states[done + 1], got) << 1;

    CHECK(found);
    if (!found) explain(what, states, got, done);
    return found;
}

/* The next mixed transaction works, and is there for the next process. */
static void goes_on(sqlite3 *db)
{
    if (number(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('n', 'f')") != 2) return;
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; REPLACE INTO n VALUES(99, 'on'); REPLACE INTO f VALUES(99, 'on'); COMMIT");
    CHECK_NUMBER(db, "SELECT count(*) FROM n JOIN f USING(k) WHERE k = 99 AND f.v = 'on'", 1);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('integrity-check')");
}

/* Did the process die while SQLite wrote the pages of a commit? */
static int half_written(const scene *sc)
{
    int step = atomic_load(&sh->acknowledged);

    return is_memory(sc) && sc->steps[step] && sh->host_writes > 0 &&
           sh->host_writes < sh->step_writes[step];
}

static int look(void *arg)
{
    const scene *sc = arg;
    sqlite3 *db = txn_open(sc->folder, "a.db");
    int a, b = 3;

    if (sc->attached) CHECK_SQL(db, SQLITE_OK, "ATTACH '%q/b.db' AS aux", sc->folder);
    if (half_written(sc)) {
        (void)digest_main(db); /* whatever it says, it says it */
        (void)sqlite3_close(db);
        return check_failures != 0;
    }
    a = match("main", sh->main_state, digest_main(db));
    if (sc->attached) b = match("aux", sh->aux_state, digest_aux(db));
    if (sc->attached && !is_wal(sc) && a && b) {
        CHECK(a & b); /* the same step in both files */
        if (!(a & b)) explain("main", sh->main_state, digest_main(db), sh->acknowledged);
    }
    {
        sqlite3_str *text = sqlite3_str_new(db);
        char *said;
        CHECK(run_rows(db, "PRAGMA integrity_check", text) == SQLITE_OK);
        said = sqlite3_str_finish(text);
        CHECK(said && strcmp(said, "3'ok'\n") == 0);
        sqlite3_free(said);
    }
    goes_on(db);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return check_failures != 0;
}

/* What the first look wrote is there for a second. */
static int look_again(void *arg)
{
    const scene *sc = arg;
    sqlite3 *db = txn_open(sc->folder, "a.db");

    if (number(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('n', 'f')") == 2) {
        CHECK_NUMBER(db, "SELECT count(*) FROM n JOIN f USING(k) WHERE k = 99 AND f.v = 'on'", 1);
    }
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return check_failures != 0;
}

/* -- sweeps ------------------------------------------------------------------------------------ */

/* An uninterrupted run. The number of its operations, 0 if it failed. */
static long rehearse(scene *sc)
{
    int failed;
    sqlite3 *db;

    memset(sh, 0, sizeof *sh);
    txn_folder(sc->folder);
    db = txn_open(sc->folder, "empty.db");
    sh->main_state[0] = digest_main(db);
    CHECK_SQL(db, SQLITE_OK, "ATTACH '' AS aux");
    sh->aux_state[0] = digest_aux(db);
    CHECK_CLOSE(db);
    failed = in_child(workload, sc);
    CHECK(!failed);
    txn_remove(sc->folder);
    return failed ? 0 : atomic_load(&sh->operations);
}

/* One life and what it left. 0: it ended by itself. */
static int one_life(scene *sc, long n, int torn, long where[WHERE_KINDS])
{
    int before = check_failures, ended;

    txn_folder(sc->folder);
    sh->stop = n;
    sh->torn = torn;
    sh->host_writes = 0;
    sh->committing = 0;
    sh->past_hook = 0;
    atomic_store(&sh->operations, 0);
    atomic_store(&sh->acknowledged, 0);
    ended = in_child(workload, sc);
    CHECK(ended == KILLED || ended == 0);
    if (ended == KILLED) where[sh->where]++;
    CHECK(in_child(look, sc) == 0);
    if (n % 4 == 0 && !half_written(sc)) CHECK(in_child(look_again, sc) == 0);
    if (check_failures != before) {
        (void)printf("journal_mode=%s synchronous=%s, %s operation %ld (place %d), step %d: %s\n",
                     sc->journal, sc->synchronous, torn ? "in" : "before", n, sh->where,
                     sh->acknowledged + 1,
                     sc->steps[sh->acknowledged] ? sc->steps[sh->acknowledged] : "none");
    }
    txn_remove(sc->folder);
    return ended == KILLED;
}

static void sweep(scene *sc, int torn, long stride)
{
    long where[WHERE_KINDS] = {0}, total = rehearse(sc), points = 0;
    int bad = 0;

    if (!total) return;
    if (stride > total) stride = total;
    for (long n = 1 + (long)check_below((uint64_t)stride); bad < 3; n += stride) {
        int before = check_failures;
        int killed = one_life(sc, n, torn, where);
        bad += check_failures != before;
        if (!killed) break;
        points++;
        REQUIRE(n < 100000);
    }
    (void)printf("%-8s %-6s %s: %ld points: %ld outside COMMIT, %ld in xSync (store), %ld in xSync "
                 "(host), %ld in the host's commit, %ld in xCommit\n",
                 sc->journal, sc->synchronous, torn ? "torn" : "whole", points, where[OUTSIDE],
                 where[IN_SYNC_STORE], where[IN_SYNC_HOST], where[IN_HOST_COMMIT],
                 where[IN_STORE_COMMIT]);
}

/* Every STRIDE-th point in WAL/NORMAL and in DELETE/FULL, if `thorough`; else a sample. */
static void sweep_modes(const char *const *steps, int attached, int thorough)
{
    static const char *const journals[] = {"WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"};
    static const char *const levels[] = {"NORMAL", "FULL"};
    long sample = txn_scale() >= 10 ? 1 : SAMPLE;

    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(sh != MAP_FAILED);
    for (size_t i = 0; i < (attached ? 4 : 5); i++) {
        for (size_t j = 0; j < 2; j++) {
            scene sc = {journals[i], levels[j], steps, attached, ""};
            sweep(&sc, 0, thorough && i == j && sample > 1 ? STRIDE : sample);
            if (i < 2 && j == 0) sweep(&sc, 1, sample);
        }
    }
    (void)munmap(sh, sizeof *sh);
}

static void native_and_fastkv_tables_are_one(void)
{
    sweep_modes(one_file, 0, 1);
}

static void each_store_is_as_its_file(void)
{
    sweep_modes(two_files, 1, 0);
}

static void two_stores_without_a_page(void)
{
    sweep_modes(two_stores, 1, 1);
}

TEST_MAIN("test_mixed_crash", TEST_CASE(native_and_fastkv_tables_are_one),
          TEST_CASE(each_store_is_as_its_file), TEST_CASE(two_stores_without_a_page))
