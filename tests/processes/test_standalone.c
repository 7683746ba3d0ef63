/*
** A store that belongs to no database (path= on a TEMP table), shared by processes: each has a TEMP
** table of its own on it, over a database of its own or over one that they share, and the store has
** locks of its own. So writers wait for each other by busy_timeout, though their databases know
** nothing of each other, and no lock of a database is touched.
**
** Every transaction has a number T, which stands in row 0; its writer's counter goes up by one, and
** the counters sum to T; row 100 + T % GROUPS and, now and then, a thousand more are written with
** values that follow from T. Whoever sees T knows all the rest (as in test_processes.c).
*/
/* test-modes: release asan */
#include "txn/txn_util.h"

#include "proc_util.h"

enum { GROUPS = 23, EVERY = 40, BULK = 1000, KILLS = 12 / SLOW, BUSY_MS = 60 * 1000 };

#define KV "temp.kv"

static int is_bulk(uint64_t t)
{
    return t % EVERY == 7;
}

static sqlite3 *connect(const char *folder, const char *database)
{
    sqlite3 *db = txn_open(folder, database);
    int rc;

    (void)sqlite3_busy_timeout(db, BUSY_MS);
    rc = run(db,
             "CREATE VIRTUAL TABLE " KV " USING fastkv(k INTEGER PRIMARY KEY, n, v, "
             "memory = '1MB', path = '%q/kv')",
             folder);
    if (rc && my_slot) fail("opening gave %d: %s", rc, sqlite3_errmsg(db));
    if (rc) (void)printf("opening gave %d: %s\n", rc, sqlite3_errmsg(db));
    return db;
}

static void must(sqlite3 *db, const char *sql)
{
    int rc = run(db, "%s", sql);

    if (rc) fail("%s gave %d: %s", sql, rc, sqlite3_errmsg(db));
    atomic_fetch_add(&my_slot->steps, 1);
}

/* -- a child's work ---------------------------------------------------------------------------- */

/* Everything by one statement; T. */
static int64_t check_all(sqlite3 *db)
{
    uint64_t known = atomic_load(&the_board->acknowledged);
    int64_t t = 0, sum = 0, groups = 0, bulk = 0, wrong = 0, last;
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT k, n, length(v) FROM " KV, -1, &s, NULL);

    if (rc) fail("preparing gave %d: %s", rc, sqlite3_errmsg(db));
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t k = sqlite3_column_int64(s, 0), n = sqlite3_column_int64(s, 1);
        if (k == 0) {
            t = n;
        } else if (k < 100) {
            sum += n;
        } else if (k < 1000) {
            groups++;
            wrong += n % GROUPS != k - 100 || n > t || n <= t - GROUPS ||
                     sqlite3_column_int64(s, 2) != n % 50;
        } else {
            last = t - ((t - 7) % EVERY + EVERY) % EVERY;
            bulk++;
            wrong += n != last || sqlite3_column_int64(s, 2) != 700;
        }
    }
    (void)sqlite3_finalize(s);
    if (rc != SQLITE_DONE) fail("reading gave %d: %s", rc, sqlite3_errmsg(db));
    if ((uint64_t)t < known) fail("T is %" PRId64 ", %" PRIu64 " was acknowledged", t, known);
    if (sum != t) fail("T is %" PRId64 ", the counters sum to %" PRId64, t, sum);
    if (groups != (t < GROUPS ? t : GROUPS)) fail("T %" PRId64 ": %" PRId64 " groups", t, groups);
    if (bulk != (t >= 7 ? BULK : 0)) fail("T %" PRId64 ": %" PRId64 " rows in bulk", t, bulk);
    if (wrong) fail("T %" PRId64 ": %" PRId64 " rows are another's", t, wrong);
    atomic_fetch_add(&my_slot->steps, 1);
    return t;
}

static void write_transaction(sqlite3 *db)
{
    int64_t t;
    int rc;

    doing("writing");
    must(db, "BEGIN");
    must(db, "UPDATE " KV " SET n = n + 1 WHERE k = 0"); /* from here on nobody else writes */
    t = number(db, "SELECT n FROM " KV " WHERE k = 0");
    if (t < 1) fail("T is %" PRId64 ": %s", t, sqlite3_errmsg(db));
    doing("transaction %" PRId64, t);
    rc = run(db,
             "UPDATE " KV " SET n = n + 1 WHERE k = %d;"
             "REPLACE INTO " KV " VALUES(%lld, %lld, zeroblob(%lld));",
             (int)(my_slot - the_board->slots) + 1, 100 + t % GROUPS, t, t % 50);
    if (!rc && is_bulk((uint64_t)t))
        rc = run(db,
                 "WITH RECURSIVE c(i) AS (VALUES(1000) UNION ALL SELECT i + 1 FROM c LIMIT %d) "
                 "INSERT OR REPLACE INTO " KV " SELECT i, %lld, randomblob(700) FROM c",
                 BULK, t);
    if (rc) fail("the rows gave %d: %s", rc, sqlite3_errmsg(db));
    if (check_below(10) == 0) {
        must(db, "ROLLBACK");
        return;
    }
    doing("commit %" PRId64, t);
    must(db, "COMMIT");
    acknowledge((uint64_t)t);
}

static void tidy_up(sqlite3 *db)
{
    static const char *const commands[] = {"flush", "settle", "compact", "integrity-check"};
    const char *command = commands[check_below(4)];

    doing("%s", command);
    if (run(db, "INSERT INTO " KV "(kv) VALUES('%s')", command)) fail("%s", sqlite3_errmsg(db));
}

static int told_to_stop(void)
{
    return atomic_load(&the_board->stop);
}

/* Each over a database of its own, or in memory. */
static sqlite3 *child_connects(const char *folder)
{
    char name[16];

    doing("opening");
    (void)snprintf(name, sizeof name, "own%d.db", (int)(my_slot - the_board->slots));
    return connect(folder, name);
}

static void close_it(sqlite3 *db)
{
    doing("closing");
    if (sqlite3_close(db)) fail("%s", sqlite3_errmsg(db));
}

static void be_setup(const char *folder)
{
    sqlite3 *db = child_connects(folder);

    must(db,
         "INSERT INTO " KV "(k, n) VALUES(0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0)");
    close_it(db);
}

static void be_writer(const char *folder)
{
    sqlite3 *db = child_connects(folder);

    while (!told_to_stop()) {
        write_transaction(db);
        if (check_below(50) == 0) tidy_up(db);
    }
    close_it(db);
}

static void be_reader(const char *folder)
{
    sqlite3 *db = child_connects(folder);

    while (!told_to_stop()) {
        int64_t t;
        doing("reading");
        must(db, "BEGIN");
        t = check_all(db);
        (void)usleep((useconds_t)check_below(3000));
        if (number(db, "SELECT n FROM " KV " WHERE k = 0") != t) fail("T changes in a transaction");
        must(db, "COMMIT");
        atomic_fetch_add(&my_slot->done, 1);
    }
    close_it(db);
}

static void be_opener(const char *folder)
{
    while (!told_to_stop()) {
        sqlite3 *db = child_connects(folder);
        (void)check_all(db);
        if (check_below(2)) write_transaction(db);
        close_it(db);
        (void)usleep((useconds_t)check_below(20000));
    }
}

static void be_judge(const char *folder)
{
    sqlite3 *db = child_connects(folder);

    doing("the last look");
    (void)check_all(db);
    must(db, "INSERT INTO " KV "(kv) VALUES('settle')");
    must(db, "INSERT INTO " KV "(kv) VALUES('integrity-check')");
    (void)check_all(db);
    close_it(db);
}

/* Begins, says so, and commits when it is told to. */
static void be_holder(const char *folder)
{
    sqlite3 *db = connect(folder, "shared.db");

    must(db, "BEGIN");
    must(db, "UPDATE " KV " SET n = n + 1 WHERE k IN (0, 1)");
    atomic_store(&my_slot->done, 1);
    while (!told_to_stop()) (void)usleep(1000);
    must(db, "COMMIT");
    close_it(db);
}

typedef struct role {
    const char *name;
    void (*be)(const char *folder);
} role;

static const role roles[] = {{"setup", be_setup},   {"writer", be_writer}, {"reader", be_reader},
                             {"opener", be_opener}, {"judge", be_judge},   {"holder", be_holder}};

/* -- the parent -------------------------------------------------------------------------------- */

static void killed_and_stopped(void)
{
    char folder[PATH_ROOM];
    crew w = {.folder = folder};

    txn_folder(folder);
    board_open(folder, 1);
    if (run_alone("setup", 7, folder)) {
        for (int i = 0; i < 3; i++) crew_add(&w, "writer", 0);
        for (int i = 0; i < 2; i++) crew_add(&w, "reader", 0);
        crew_add(&w, "opener", 0);
        crew_disturb(&w, KILLS * test_scale());
        crew_end(&w);
        (void)printf("%ld kills, %ld stops, %" PRIu64 " transactions\n", w.kills, w.stops,
                     atomic_load(&the_board->acknowledged));
        if (!w.broken) (void)run_alone("judge", 7, folder);
    }
    board_close();
    txn_remove(folder);
}

/* While one process has an open transaction on the store, another one writes to the database that
** both have open; to the store it can when the first has committed, and waits for that. */
static void no_lock_of_the_database(void)
{
    char folder[PATH_ROOM];
    crew w = {.folder = folder};
    uint64_t until = now_ms() + STUCK_MS;
    sqlite3 *db;

    txn_folder(folder);
    board_open(folder, 1);
    db = connect(folder, "shared.db");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO " KV "(k, n) VALUES(0, 0), (1, 0)");
    CHECK_SQL(db, SQLITE_OK, "CREATE TABLE native(x)");
    crew_add(&w, "holder", 1);
    while (!atomic_load(&the_board->slots[0].done) && now_ms() < until) (void)usleep(1000);
    (void)sqlite3_busy_timeout(db, 0);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO native VALUES(1)");
    CHECK(number(db, "SELECT n FROM " KV " WHERE k = 0") == 0);
    CHECK((run(db, "UPDATE " KV " SET n = 9 WHERE k = 1") & 0xff) == SQLITE_BUSY);
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    atomic_store(&the_board->stop, 1);
    CHECK_SQL(db, SQLITE_OK, "UPDATE " KV " SET n = n + 1 WHERE k = 0");
    CHECK(number(db, "SELECT n FROM " KV " WHERE k = 0") == 2);
    CHECK(number(db, "SELECT count(*) FROM native") == 1);
    crew_end(&w);
    CHECK_CLOSE(db);
    board_close();
    txn_remove(folder);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(killed_and_stopped),
                                      TEST_CASE(no_lock_of_the_database)};

    if (child_begins(argc, argv)) {
        for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
            if (strcmp(roles[i].name, argv[2]) == 0) roles[i].be(argv[4]);
        return 0;
    }
    return check_main("test_standalone", cases, sizeof cases / sizeof cases[0], argc, argv);
}
