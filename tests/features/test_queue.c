/*
** Queues: rows come in anywhere, and the first ones are taken away. The store remembers stretches
** of keys without rows (engine/store/dead.c), so the cost of a pop does not grow with the number of
** pops before it; and whatever is put into such a stretch is seen at once, by everybody.
**
** test-modes: release asan tsan
*/
#include <pthread.h>
#include <stdatomic.h>

#include "features/clock_hook.h"
#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *open_one(void)
{
    sqlite3 *db = txn_open(folder, "q.db");

    (void)sqlite3_busy_timeout(db, 10000);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF");
    return db;
}

static sqlite3 *begin_test(void)
{
    sqlite3 *db;

    txn_folder(folder);
    db = open_one();
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE q USING fastkv(key INTEGER, value, "
              "memory = '1MB'); CREATE TABLE n(key INTEGER PRIMARY KEY, value)");
    return db;
}

static void end_test(sqlite3 *db)
{
    CHECK_CLOSE(db);
    txn_remove(folder);
    atomic_store(&clock_shift_s, 0);
}

static void fill(sqlite3 *db, int from, int count)
{
    CHECK_SQL(
        db, SQLITE_OK,
        "WITH RECURSIVE i(k) AS (SELECT %d UNION ALL SELECT k + 1 FROM i WHERE k < %d) REPLACE "
        "INTO q SELECT k, 'job' FROM i",
        from, from + count - 1);
}

/* -- the first row is the right one ------------------------------------------------------------ */

static void both(sqlite3 *db, const char *format, int a, int b)
{
    char sql[400];

    for (int i = 0; i < 2; i++) {
        (void)snprintf(sql, sizeof sql, format, i ? "n" : "q", a, b);
        CHECK_SQL(db, SQLITE_OK, "%s", sql);
    }
}

static void step(sqlite3 *db, int *in_txn)
{
    int a = (int)check_below(3000), many = (int)check_below(400);

    switch (check_below(10)) {
    case 0:
    case 1: /* take the first ones away */
        both(db,
             "DELETE FROM %s WHERE key IN (SELECT key FROM n ORDER BY key LIMIT %d) OR key = %d",
             many, -1);
        break;
    case 2: /* a stretch in the middle */
        both(db, "DELETE FROM %s WHERE key >= %d AND key < %d", a, a + many);
        break;
    case 3:
        both(db, "REPLACE INTO %s VALUES(%d, %d)", a, a);
        break;
    case 4: /* below everything, mostly */
        both(db, "REPLACE INTO %s VALUES(%d, %d)", a / 100, a);
        break;
    case 5:
        both(db,
             "WITH RECURSIVE i(k) AS (SELECT %2$d UNION ALL SELECT k + 1 FROM i WHERE k < %3$d) "
             "REPLACE INTO %1$s SELECT k, k FROM i",
             a, a + many);
        break;
    case 6:
        if (!*in_txn)
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO q(q) VALUES('%s')",
                      many % 2 ? "flush" : "compact");
        break;
    default:
        if (*in_txn) {
            CHECK_SQL(db, SQLITE_OK, check_below(3) ? "COMMIT" : "ROLLBACK");
        } else {
            CHECK_SQL(db, SQLITE_OK, "BEGIN IMMEDIATE");
        }
        *in_txn = !*in_txn;
    }
}

static void check_first(sqlite3 *db)
{
    char sql[300];
    int from = (int)check_below(3000), to = from + (int)check_below(1000);

    CHECK_NUMBER(db, "SELECT (SELECT min(key) FROM q) IS (SELECT min(key) FROM n)", 1);
    CHECK_NUMBER(db,
                 "SELECT (SELECT group_concat(key) FROM (SELECT key FROM q LIMIT 3)) IS (SELECT "
                 "group_concat(key) FROM (SELECT key FROM n ORDER BY key LIMIT 3))",
                 1);
    (void)snprintf(
        sql, sizeof sql,
        "SELECT (SELECT count(*) || ' ' || total(key) FROM q WHERE key >= %d AND key < %d) "
        "= (SELECT count(*) || ' ' || total(key) FROM n WHERE key >= %d AND key < %d)",
        from, to, from, to);
    CHECK_NUMBER(db, sql, 1);
}

static void the_first_row_is_the_right_one(void)
{
    for (int round = 0; round < 4 * txn_scale(); round++) {
        sqlite3 *db = begin_test(), *other = open_one();
        int in_txn = 0;
        for (int i = 0; i < 250; i++) {
            step(db, &in_txn);
            check_first(db);
            check_first(other);
        }
        if (in_txn) CHECK_SQL(db, SQLITE_OK, "COMMIT");
        CHECK_NUMBER(other, "SELECT count(*) FROM q JOIN n USING (key)",
                     number(other, "SELECT count(*) FROM n"));
        CHECK_CLOSE(other);
        end_test(db);
    }
}

/* A stretch that is empty for one snapshot is not for an older one, and a row that a transaction
** has put into it shows at once in there. */
static void notes_are_for_their_snapshots(void)
{
    sqlite3 *db = begin_test(), *other = open_one();

    fill(db, 1, 500);
    CHECK_SQL(other, SQLITE_OK, "BEGIN; SELECT * FROM q LIMIT 1");
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM q WHERE key < 300");
    for (int i = 0; i < 3; i++) CHECK_NUMBER(db, "SELECT min(key) FROM q", 300);
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 1);
    CHECK_NUMBER(other, "SELECT count(*) FROM q WHERE key < 300", 299);
    CHECK_SQL(other, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 300);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; INSERT INTO q VALUES(7, 'mine')");
    CHECK_NUMBER(db, "SELECT min(key) FROM q", 7);
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 300);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    CHECK_NUMBER(db, "SELECT min(key) FROM q", 300);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO q(key, value, ttl) VALUES(5, 'short', 10)");
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 5);
    atomic_fetch_add(&clock_shift_s, 20);
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 300);
    CHECK_NUMBER(other, "SELECT count(*) FROM q WHERE key < 300", 0);
    /* A transaction too large for memory goes into tables. */
    CHECK_NUMBER(other, "SELECT count(*) FROM q WHERE key < 300", 0);
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; WITH RECURSIVE i(k) AS (SELECT 100 UNION ALL SELECT k + 1 FROM i WHERE k < "
              "5100) REPLACE INTO q SELECT k, randomblob(300) FROM i; COMMIT");
    CHECK_NUMBER(other, "SELECT min(key) FROM q", 100);
    CHECK_CLOSE(other);
    end_test(db);
}

/* -- what it costs ----------------------------------------------------------------------------- */

static int64_t skipped(sqlite3 *db)
{
    return number(db, "SELECT value FROM fastkv_stats('q') WHERE name = 'entries_skipped'");
}

static void a_pop_costs_the_same_however_many_there_were(void)
{
    enum { POPS = 3000 };
    sqlite3 *db = begin_test();
    int64_t before;

    fill(db, 1, POPS + 10);
    before = skipped(db);
    for (int i = 1; i <= POPS; i++) {
        if (i % 2) {
            CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", i);
        } else {
            CHECK_SQL(db, SQLITE_OK, "DELETE FROM q WHERE key = (SELECT min(key) FROM q)");
        }
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(%d, 'job')", 100000 + i);
    }
    CHECK_NUMBER(db, "SELECT min(key) FROM q", POPS + 1);
    CHECK(skipped(db) - before < (int64_t)POPS * 100); /* without notes: POPS * POPS / 2 */
    end_test(db);
}

/* The same within one transaction, where the store has no part in it; and what happens in between
** is seen. */
static void pops_of_one_transaction(void)
{
    enum { POPS = 2000 };
    sqlite3 *db = begin_test();
    int64_t before;

    fill(db, 1, POPS + 10);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; SELECT count(*) FROM fastkv_pop('q', NULL)");
    before = skipped(db);
    for (int i = 2; i <= POPS; i++) CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", i);
    CHECK(skipped(db) - before < (int64_t)POPS * 10);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(5, 'again')");
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 5);
    CHECK_SQL(db, SQLITE_OK, "SAVEPOINT s");
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", POPS + 1);
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", POPS + 2);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK TO s");
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", POPS + 1);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 1);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(0, 'below')");
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 0);
    CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 2);
    end_test(db);
}

/* Rows that come in between, at the other end, do not make the pops of a transaction dearer; and
** one that comes in where rows were popped is found, whatever puts it there. */
static void pops_between_puts_of_one_transaction(void)
{
    enum { POPS = 2000 };
    static const char *const puts[] = {"REPLACE INTO q VALUES(7, 'again')",
                                       "UPDATE q SET key = 7 WHERE key = (SELECT max(key) FROM q)",
                                       "SELECT fastkv_incr('q', 7, 1)",
                                       "SELECT fastkv_cas('q', 7, NULL, 'again')",
                                       "INSERT INTO other(key, value) VALUES(7, 'again')"};
    sqlite3 *db = begin_test();
    int64_t before;

    fill(db, 1, 1);
    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE c USING fastkv; BEGIN IMMEDIATE");
    before = skipped(db);
    for (int i = 2; i <= POPS; i++) {
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(%d, 'job'); SELECT fastkv_incr('c', 'n', 1)",
                  i);
        CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", i - 1);
    }
    CHECK(skipped(db) - before < (int64_t)POPS * 10); /* without a note: POPS * POPS */
    CHECK_SQL(db, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(db, "SELECT count(*) FROM q", 1);
    end_test(db);
    for (int i = 0; i < 5; i++) {
        txn_folder(folder);
        db = open_one();
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE VIRTUAL TABLE temp.q USING fastkv(key INTEGER, value, path = '%q/s');"
                  "CREATE VIRTUAL TABLE temp.other USING fastkv(key INTEGER, value, path = '%q/s')",
                  folder, folder);
        fill(db, 1, 20);
        CHECK_SQL(db, SQLITE_OK, "BEGIN");
        for (int j = 1; j <= 10; j++) CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", j);
        CHECK_SQL(db, SQLITE_OK, puts[i]);
        CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 7);
        CHECK_NUMBER(db, "SELECT key FROM fastkv_pop('q', NULL)", 11);
        CHECK_SQL(db, SQLITE_OK, "COMMIT");
        end_test(db);
    }
}

/* -- threads and processes --------------------------------------------------------------------- */

enum { PUTS = 300 };

static _Atomic int lowest;

/* Put ever smaller keys, and say so when they are committed. */
static void *put_below(void *arg)
{
    sqlite3 *db = open_one();

    (void)arg;
    for (int i = 1; i <= PUTS; i++) {
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(%d, 'late')", -i);
        atomic_store(&lowest, -i);
        CHECK_SQL(db, SQLITE_OK, "DELETE FROM q WHERE key = %d", -i + 40);
    }
    CHECK_CLOSE(db);
    return NULL;
}

/* What was committed before a read began is in it. */
static void *read_first(void *arg)
{
    sqlite3 *db = open_one();

    (void)arg;
    while (atomic_load(&lowest) > -PUTS) {
        int known = atomic_load(&lowest);
        int64_t first = number(db, "SELECT min(key) FROM q WHERE key >= -100000");
        if (first > known) {
            CHECK(first <= known);
            break;
        }
    }
    CHECK_CLOSE(db);
    return NULL;
}

static void what_is_committed_is_seen_by_all_threads(void)
{
    sqlite3 *db = begin_test();
    pthread_t threads[4];

    atomic_store(&lowest, 0);
    fill(db, -99999, 400); /* a stretch that will be dead */
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(0, 'first'); DELETE FROM q WHERE key < -90000");
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, i ? read_first : put_below, NULL)) abort();
    for (int i = 0; i < 4; i++) (void)pthread_join(threads[i], NULL);
    CHECK_NUMBER(db, "SELECT min(key) FROM q", -PUTS);
    end_test(db);
}

static int pipes[2][2];

static void tell(int which)
{
    if (write(pipes[which][1], "x", 1) != 1) abort();
}

static void hear(int which)
{
    char c;

    if (read(pipes[which][0], &c, 1) != 1) abort();
}

/* Another process puts a row into a stretch that this one knows to be empty. */
static void what_another_process_puts_is_seen(void)
{
    sqlite3 *db;
    pid_t child;
    int status = -1;

    txn_folder(folder);
    if (pipe(pipes[0]) || pipe(pipes[1])) abort();
    (void)fflush(stdout);
    child = fork();
    if (child < 0) abort();
    if (child == 0) {
        check_failures = 0;
        for (int i = 5; i > 0; i--) {
            hear(0);
            db = open_one();
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO q VALUES(%d, 'other')", i * 90);
            if (i == 2) CHECK_SQL(db, SQLITE_OK, "INSERT INTO q(q) VALUES('compact')");
            CHECK_CLOSE(db);
            tell(1);
        }
        (void)fflush(stdout);
        _exit(check_failures != 0);
    }
    db = open_one();
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = WAL; CREATE VIRTUAL TABLE q USING fastkv(key "
              "INTEGER, value)");
    fill(db, 1, 600);
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM q WHERE key < 500");
    for (int i = 5; i > 0; i--) {
        CHECK_SQL(db, SQLITE_OK, "REPLACE INTO q VALUES(1000, 'ours')");
        CHECK_NUMBER(db, "SELECT min(key) FROM q", i == 5 ? 500 : (i + 1) * 90); /* makes a note */
        CHECK_NUMBER(db, "SELECT count(*) FROM q WHERE key < 500", 5 - i);
        tell(0);
        hear(1);
        CHECK_NUMBER(db, "SELECT min(key) FROM q", i * 90);
    }
    if (waitpid(child, &status, 0) != child) abort();
    CHECK(status == 0);
    end_test(db);
}

TEST_MAIN("test_queue", TEST_CASE(the_first_row_is_the_right_one),
          TEST_CASE(notes_are_for_their_snapshots),
          TEST_CASE(a_pop_costs_the_same_however_many_there_were),
          TEST_CASE(pops_of_one_transaction), TEST_CASE(pops_between_puts_of_one_transaction),
          TEST_CASE(what_is_committed_is_seen_by_all_threads),
          TEST_CASE(what_another_process_puts_is_seen))
