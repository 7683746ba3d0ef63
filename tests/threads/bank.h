/*
** bank.h -- the bank of test_connections.c: its tables, what a reader can check at any moment, and
** the audit at the end; and what threads need to run SQL and to complain.
**
** Accounts are rows of a fastkv table. What they hold together is TOTAL, whatever is transferred.
** Each writer counts transactions in a second fastkv table and in a native one.
*/
#ifndef FKV_TESTS_THREADS_BANK_H
#define FKV_TESTS_THREADS_BANK_H

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"

int sqlite3_fastkv_init(sqlite3 *db, char **error, const struct sqlite3_api_routines *api);

enum { BRANCHES = 8, PER_BRANCH = 10, ACCOUNTS = BRANCHES * PER_BRANCH };
enum { OPENING = 1000, TOTAL = ACCOUNTS * OPENING, GUESTS = 64 };
enum { WRITERS = 3, READERS = 2, THREADS = WRITERS + READERS + 2, COLUMNS = 12 };

#define TINY "memory = '1MB', block_size = 1024"

typedef struct bank {
    char dir[200], path[240];
    const char *journal, *synchronous;
    unsigned rounds;    /* of each writer */
    atomic_int writing; /* writers that are not done */
    atomic_int stop;    /* somebody has complained */
} bank;

typedef struct worker {
    pthread_t thread;
    bank *at;
    sqlite3 *db;
    sqlite3_stmt *scan[2]; /* kept, so that it lives through changes of the schema */
    int id, shared;        /* shared: db is everybody's */
    uint64_t seed;
    int looking; /* in a statement that only reads */
    int64_t looks, refused, late, committed, counted, rolled_back, flushes, compactions;
    int64_t delta[ACCOUNTS], seen[WRITERS]; /* what was moved; tallies as last read */
} worker;

static atomic_int complaints;

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

/* -- what threads need: chance, complaints, SQL ---------------------------------------------- */

static uint64_t dice(worker *w, uint64_t n)
{
    w->seed ^= w->seed >> 12;
    w->seed ^= w->seed << 25;
    w->seed ^= w->seed >> 27;
    return w->seed * 0x2545f4914f6cdd1du % n;
}

/* check.h counts for one thread; this is its CHECK for all of them. Everybody stops then, except
** that a reader who was refused goes on: that is counted. So is what README allows: to be too late
** for a snapshot, when between its two halves the store moved on too far. */
#define WANT(w, condition) ((condition) ? 1 : complain((w), __LINE__, #condition))

static int was_refused(int code)
{
    return code == SQLITE_BUSY || code == SQLITE_BUSY_SNAPSHOT || code == SQLITE_ABORT_ROLLBACK;
}

static int complain(worker *w, int line, const char *what)
{
    sqlite3_mutex *mutex = w->db ? sqlite3_db_mutex(w->db) : NULL;
    const char *text;
    int code, told;

    sqlite3_mutex_enter(mutex);
    code = w->db ? sqlite3_extended_errcode(w->db) : 0;
    text = w->db ? sqlite3_errmsg(w->db) : "no database";
    if (w->looking && code == SQLITE_BUSY && strstr(text, "began too long ago")) {
        told = w->late++ >= 0;
    } else if (w->looking && was_refused(code)) {
        told = w->refused++ > 0;
    } else {
        told = atomic_fetch_add(&complaints, 1) >= 10;
        atomic_store(&w->at->stop, 1);
    }
    if (!told)
        (void)printf("%s:%d: thread %d: %s (%d, %s)\n", __FILE__, line, w->id, what, code, text);
    sqlite3_mutex_leave(mutex);
    return 0;
}

static int run(worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int run(worker *w, const char *format, ...)
{
    va_list args;
    char *sql;
    int rc;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    rc = sql ? sqlite3_exec(w->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

/* The numbers of the one row that a statement gives. */
static int ask(worker *w, int64_t out[COLUMNS], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int ask(worker *w, int64_t out[COLUMNS], const char *format, ...)
{
    sqlite3_stmt *s = NULL;
    va_list args;
    char *sql;
    int rc, failed;

    memset(out, 0, COLUMNS * sizeof out[0]);
    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    rc = sql ? sqlite3_prepare_v2(w->db, sql, -1, &s, NULL) : SQLITE_NOMEM;
    if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(s) && i < COLUMNS; i++)
            out[i] = sqlite3_column_int64(s, i);
        if (sqlite3_step(s) == SQLITE_ROW) rc = SQLITE_MISMATCH;
    }
    sqlite3_free(sql);
    failed = sqlite3_finalize(s); /* last: what it says is the error of the connection */
    return rc ? rc : failed;
}

/* -- what makes narrow places wide ----------------------------------------------------------- */

/* Between the moment when SQLite gives up its write lock and the one when it tells the virtual
** tables of the COMMIT, others can be quick. With this VFS they have half a millisecond. */
static sqlite3_vfs slow_vfs;
static const sqlite3_vfs *real_vfs;
static sqlite3_io_methods slow_methods;
static const sqlite3_io_methods *real_methods;

static int slow_unlock(sqlite3_file *file, int level)
{
    int rc = real_methods->xUnlock(file, level);

    if (level == SQLITE_LOCK_SHARED) (void)usleep(500); /* a writer of the rollback journal */
    return rc;
}

static int slow_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    int rc = real_methods->xShmLock(file, offset, n, flags);

    if (offset == 0 && flags == (SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE)) (void)usleep(500);
    return rc;
}

static int slow_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    int rc = real_vfs->xOpen(vfs, name, file, flags, out);

    if (rc == SQLITE_OK && flags & SQLITE_OPEN_MAIN_DB && file->pMethods == real_methods)
        file->pMethods = &slow_methods;
    return rc;
}

/* REQUIRES: one thread. The methods to be replaced are learnt from a file. */
static int make_slow_vfs(worker *w)
{
    sqlite3_file *file = NULL;

    if (real_vfs) return 1;
    if (!WANT(w, sqlite3_file_control(w->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == 0))
        return 0;
    real_methods = file->pMethods;
    real_vfs = sqlite3_vfs_find(NULL);
    slow_methods = *real_methods;
    slow_methods.xUnlock = slow_unlock;
    slow_methods.xShmLock = slow_shm_lock;
    slow_vfs = *real_vfs;
    slow_vfs.zName = "slow";
    slow_vfs.xOpen = slow_open;
    return WANT(w, sqlite3_vfs_register(&slow_vfs, 0) == SQLITE_OK);
}

/* nap(): 0, now and then after a while in which others can commit. */
static void nap(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    worker *w = sqlite3_user_data(context);

    (void)argc, (void)argv;
    if (dice(w, 8) == 0) (void)usleep(3000);
    sqlite3_result_int(context, 0);
}

/* Some wait as most programs do, with pauses that grow to 100 ms; others push in between. */
static int push_in(void *arg, int times)
{
    (void)arg;
    (void)usleep(300);
    return times < 100000;
}

static int open_db(worker *w, int mutex)
{
    char *error = NULL;

    w->shared = mutex == SQLITE_OPEN_FULLMUTEX;
    return WANT(w, sqlite3_open_v2(w->at->path, &w->db,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | mutex,
                                   real_vfs ? "slow" : NULL) == SQLITE_OK) &&
           WANT(w,
                sqlite3_create_function(w->db, "nap", 0, SQLITE_UTF8, w, nap, NULL, NULL) == 0) &&
           WANT(w, sqlite3_fastkv_init(w->db, &error, NULL) == SQLITE_OK) &&
           WANT(w, (w->id % 2 ? sqlite3_busy_timeout(w->db, 60000)
                              : sqlite3_busy_handler(w->db, push_in, NULL)) == SQLITE_OK) &&
           WANT(w, run(w, "PRAGMA synchronous = %s", w->at->synchronous) == SQLITE_OK);
}

static void finish_scans(worker *w)
{
    for (int i = 0; i < 2; i++) {
        (void)sqlite3_finalize(w->scan[i]);
        w->scan[i] = NULL;
    }
}

static void close_db(worker *w)
{
    finish_scans(w);
    (void)WANT(w, sqlite3_close(w->db) == SQLITE_OK);
    w->db = NULL;
}

static char branch_of(int account)
{
    return (char)('a' + account / PER_BRANCH);
}

/* -- what can be seen at any moment ---------------------------------------------------------- */

static int look_at_sum(worker *w)
{
    int64_t v[COLUMNS];

    return WANT(w, ask(w, v,
                       "SELECT sum(amount), count(*), count(DISTINCT branch || no) FROM "
                       "account") == SQLITE_OK) &&
           WANT(w, v[0] == TOTAL && v[1] == ACCOUNTS && v[2] == ACCOUNTS);
}

/* Several cursors, one after another, in one statement. */
static int look_at_parts(worker *w)
{
    static const char sql[] =
        "SELECT sum(amount), nap() + (SELECT sum(amount) FROM account WHERE branch < 'd'), (SELECT "
        "sum(amount) FROM account WHERE branch >= 'd') + nap(), (SELECT sum(amount) FROM account "
        "WHERE branch IN ('h', 'a', 'b', 'g', 'c', 'd', 'f', 'e')), (SELECT count(*) FROM account "
        "AS a JOIN account AS b USING (branch, no) WHERE a.amount = b.amount) FROM account";
    int64_t v[COLUMNS];

    return WANT(w, ask(w, v, sql) == SQLITE_OK) &&
           WANT(w, v[0] == TOTAL && v[1] + v[2] == TOTAL && v[3] == TOTAL && v[4] == ACCOUNTS);
}

/* A branch as a prefix, and account by account. */
static int look_at_points(worker *w)
{
    char branch = branch_of((int)dice(w, ACCOUNTS)), points[2000];
    int64_t v[COLUMNS];
    int at = 0;

    for (int i = 0; i < PER_BRANCH; i++)
        at += snprintf(points + at, sizeof points - (size_t)at,
                       "%s(SELECT amount FROM account WHERE branch = '%c' AND no = %d)",
                       i ? " + nap() + " : "", branch, (i * 7 + 3) % PER_BRANCH);
    if (!WANT(w, ask(w, v, "SELECT (SELECT sum(amount) FROM account WHERE branch = '%c'), %s",
                     branch, points) == SQLITE_OK) ||
        !WANT(w, v[0] == v[1]))
        return 0;
    return WANT(w, ask(w, v,
                       "SELECT count(*), sum(amount IS (SELECT amount FROM account AS p WHERE "
                       "p.branch = a.branch AND p.no = a.no)) FROM account AS a WHERE branch "
                       "GLOB '%c*'",
                       branch) == SQLITE_OK) &&
           WANT(w, v[0] == PER_BRANCH && v[1] == PER_BRANCH);
}

/* All accounts, step by step, up or down; some walks are slow, some are given up. */
static int look_at_all(worker *w)
{
    static const char *const sql[2] = {"SELECT branch, no, amount FROM account ORDER BY 1, 2",
                                       "SELECT branch, no, amount FROM account ORDER BY 1 DESC, "
                                       "2 DESC"};
    int down = (int)dice(w, 2), rc, n = 0, until = dice(w, 8) ? ACCOUNTS + 1 : ACCOUNTS / 2;
    int slow = dice(w, 8) == 0;
    sqlite3_stmt **s = &w->scan[down];
    int64_t sum = 0;

    if (!*s && !WANT(w, sqlite3_prepare_v2(w->db, sql[down], -1, s, NULL) == SQLITE_OK)) return 0;
    while ((rc = sqlite3_step(*s)) == SQLITE_ROW && n < until) {
        int place = down ? ACCOUNTS - 1 - n : n;
        const unsigned char *branch = sqlite3_column_text(*s, 0);
        if (!WANT(w, branch && branch[0] == branch_of(place) && !branch[1])) break;
        if (!WANT(w, sqlite3_column_int(*s, 1) == place % PER_BRANCH)) break;
        sum += sqlite3_column_int64(*s, 2);
        n++;
        if (slow && n % 16 == 0) (void)usleep(300);
    }
    if (!WANT(w, sqlite3_reset(*s) == SQLITE_OK)) return 0;
    return rc == SQLITE_ROW ? n == until : WANT(w, n == ACCOUNTS && sum == TOTAL);
}

/* What this connection has seen committed stays so. */
static int look_at_tally(worker *w)
{
    int64_t v[COLUMNS];

    for (int i = 0; i < WRITERS; i++) {
        if (!WANT(w, ask(w, v, "SELECT n FROM tally WHERE writer = %d", i) == SQLITE_OK) ||
            !WANT(w, v[0] >= w->seen[i]))
            return 0;
        w->seen[i] = v[0];
    }
    return 1;
}

/* The guest's table is there with all its rows, or empty, or it is not there. */
static int look_at_guest(worker *w)
{
    int64_t v[COLUMNS];
    int rc = ask(w, v, "SELECT count(*), sum(v) FROM guest");

    if (rc == SQLITE_ERROR) return WANT(w, strstr(sqlite3_errmsg(w->db), "no such table"));
    return WANT(w, rc == SQLITE_OK) && WANT(w, v[0] == 0 || v[0] == GUESTS) &&
           WANT(w, v[0] == 0 || v[1] == GUESTS * (GUESTS + 1) / 2);
}

/* A transaction changes both tables or none, and a reader sees it in both or in none. */
static int look_at_books(worker *w)
{
    int64_t v[COLUMNS];

    return WANT(w, ask(w, v,
                       "SELECT count(*), sum(ledger.n IS tally.n) FROM ledger JOIN tally USING "
                       "(writer)") == SQLITE_OK) &&
           WANT(w, v[0] == WRITERS && v[1] == WRITERS);
}

/* A transaction that reads sees the same to its end. */
static int look_twice(worker *w)
{
    static const char sql[] = "SELECT sum(amount * no), (SELECT sum(n) FROM tally), (SELECT "
                              "sum(n) FROM ledger) FROM account";
    int64_t v[COLUMNS], again[COLUMNS];
    int well;

    if (!WANT(w, run(w, "BEGIN") == SQLITE_OK)) return 0;
    well = WANT(w, ask(w, v, sql) == SQLITE_OK);
    if (well) (void)usleep((useconds_t)dice(w, 3000));
    well = well && WANT(w, ask(w, again, sql) == SQLITE_OK) &&
           WANT(w, memcmp(v, again, sizeof v) == 0) && WANT(w, v[1] == v[2]);
    if (!well && !sqlite3_get_autocommit(w->db)) (void)run(w, "ROLLBACK");
    return well && WANT(w, run(w, "COMMIT") == SQLITE_OK);
}

/* Look at one thing or another; 1 also if that was refused. */
static int look(worker *w)
{
    static int (*const looks[])(worker *) = {look_at_sum,   look_at_parts, look_at_points,
                                             look_at_all,   look_at_tally, look_at_guest,
                                             look_at_books, look_twice};
    int64_t refused = w->refused + w->late;
    int well;

    w->looks++;
    w->looking = 1;
    well = looks[dice(w, w->shared ? 4 : 8)](w);
    w->looking = 0;
    return well || w->refused + w->late != refused;
}

/* -- a bank ---------------------------------------------------------------------------------- */

static int entries_of(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    if (!d) return -1;
    while (readdir(d)) n++;
    (void)closedir(d);
    return n;
}

static int threads(void)
{
    return entries_of("/proc/self/task");
}

static int files(void)
{
    return entries_of("/proc/self/fd");
}

static void *do_nothing(void *arg)
{
    return arg;
}

/* With its first thread TSan starts one of its own: before anything is counted. */
static void start_counting(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, do_nothing, NULL) || pthread_join(thread, NULL)) exit(2);
    (void)usleep(10000);
}

/* A thread that has been joined may still be listed for a moment. */
static int comes_to(int (*count)(void), int expected)
{
    for (int i = 0; i < 1000 && count() != expected; i++) (void)usleep(1000);
    return count() == expected;
}

static void hire(worker *w, bank *b, int id)
{
    memset(w, 0, sizeof *w);
    w->at = b;
    w->id = id;
    w->seed = check_random() | 1;
}

/* Found a bank in a folder of its own; `w` is left open. */
static int found_bank(bank *b, worker *w, const char *journal, int mutex)
{
    const char *tmp = getenv("FASTKV_TMP");

    memset(b, 0, sizeof *b);
    (void)snprintf(b->dir, sizeof b->dir, "%s/fastkv-bank-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(b->dir)) return 0;
    (void)snprintf(b->path, sizeof b->path, "%s/bank.db", b->dir);
    b->journal = journal;
    b->synchronous = strcmp(journal, "WAL") == 0 ? "NORMAL" : "OFF";
    hire(w, b, THREADS);
    if (!open_db(w, mutex) || !make_slow_vfs(w)) return 0;
    return WANT(w, run(w,
                       "PRAGMA journal_mode = %s;"
                       "CREATE VIRTUAL TABLE account USING fastkv(branch TEXT, no INT, amount INT,"
                       " pad, PRIMARY KEY (branch, no), " TINY ");"
                       "CREATE VIRTUAL TABLE tally USING fastkv(writer INT, n INT, " TINY ");"
                       "CREATE TABLE ledger(writer INTEGER PRIMARY KEY, n INT);"
                       "WITH RECURSIVE r(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i <"
                       " %d) INSERT INTO account SELECT char(97 + i / %d), i %% %d, %d, NULL FROM"
                       " r; INSERT INTO tally VALUES (0, 0), (1, 0), (2, 0);"
                       "INSERT INTO ledger SELECT writer, n FROM tally",
                       journal, ACCOUNTS - 1, PER_BRANCH, PER_BRANCH, OPENING) == SQLITE_OK);
}

/* Open everything anew: it is what the writers know to be committed, to the last coin. */
static void audit(bank *b, const worker *writers, int count, int with_tally)
{
    int64_t v[COLUMNS];
    worker w;

    hire(&w, b, THREADS);
    if (!open_db(&w, SQLITE_OPEN_NOMUTEX)) return;
    for (int i = 0; i < ACCOUNTS; i++) {
        int64_t expected = OPENING;
        for (int j = 0; j < count; j++) expected += writers[j].delta[i];
        (void)WANT(&w, ask(&w, v, "SELECT amount FROM account WHERE branch='%c' AND no=%d",
                           branch_of(i), i % PER_BRANCH) == SQLITE_OK);
        (void)WANT(&w, v[0] == expected);
    }
    for (int j = 0; j < count && with_tally; j++) {
        (void)WANT(&w, ask(&w, v,
                           "SELECT tally.n, ledger.n FROM tally JOIN ledger USING (writer) WHERE "
                           "writer = %d",
                           j) == SQLITE_OK);
        (void)WANT(&w, v[0] == writers[j].counted && v[1] == writers[j].counted);
    }
    (void)(look_at_sum(&w) && look_at_parts(&w) && look_at_all(&w));
    (void)WANT(&w, run(&w, "INSERT INTO account(account) VALUES ('integrity-check')") == SQLITE_OK);
    (void)WANT(&w, ask(&w, v,
                       "SELECT count(*) FROM pragma_integrity_check WHERE "
                       "integrity_check <> 'ok'") == SQLITE_OK);
    (void)WANT(&w, v[0] == 0);
    (void)WANT(&w, ask(&w, v, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'guest%%'") ==
                       SQLITE_OK);
    (void)WANT(&w, v[0] == 0);
    close_db(&w);
}

static void close_bank(const bank *b)
{
    char command[260];

    if (complaints) {
        (void)printf("kept in %s\n", b->dir);
        return;
    }
    (void)snprintf(command, sizeof command, "rm -rf '%s'", b->dir);
    CHECK(system(command) == 0); /* lint: allow banned -- cleaning up after a test */
}

#endif
