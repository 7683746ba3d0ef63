/*
** Rows that expire: an expired row is seen nowhere, stays away when the clock goes back, and gives
** its space back. (What ttl and expires_at mean in SQL: tests/sql/ttl.sql.)
*/
#include "features/clock_hook.h"
#include "txn/txn_util.h"

static char folder[PATH_ROOM];

static sqlite3 *begin_test(void)
{
    sqlite3 *db;

    atomic_store(&clock_shift_s, 0);
    txn_folder(folder);
    db = txn_open(folder, "ttl.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    return db;
}

static void end_test(sqlite3 *db)
{
    CHECK_CLOSE(db);
    txn_remove(folder);
    atomic_store(&clock_shift_s, 0);
}

static void pass(int64_t seconds)
{
    atomic_fetch_add(&clock_shift_s, seconds);
}

/* -- never seen -------------------------------------------------------------------------------- */

/* Keys 0 .. 99 in s(k) and in c(a, b), ten to each a. Every third expires. */
static void fill(sqlite3 *db)
{
    CHECK_SQL(db, SQLITE_OK,
              "REPLACE INTO s(k, v, ttl) SELECT value, 'v' || value, iif(value %% 3 = 0, 10, NULL) "
              "FROM n; "
              "REPLACE INTO c(a, b, v, expires_at) SELECT value / 10, value %% 10, value, "
              "iif(value %% 3 = 0, unixepoch() + 10, NULL) FROM n; "
              "REPLACE INTO x(k, v, ttl) SELECT 'key' || value, value, iif(value %% 3, NULL, 10) "
              "FROM n");
}

/* Every plan there is, against what must be left. `gone`: the thirds have expired. */
static void check_plans(sqlite3 *db, int gone)
{
    int rows = gone ? 66 : 100;

    CHECK_NUMBER(db, "SELECT count(*) FROM s", rows);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE k = 33", !gone);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE k IN (3, 4, 5, 6)", gone ? 2 : 4);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE k BETWEEN 30 AND 33", gone ? 2 : 4);
    CHECK_NUMBER(db, "SELECT min(k) FROM s", gone);
    CHECK_NUMBER(db, "SELECT max(k) FROM s", gone ? 98 : 99);
    CHECK_NUMBER(db, "SELECT k FROM s WHERE k <= 33 ORDER BY k DESC LIMIT 1", gone ? 32 : 33);
    CHECK_NUMBER(db, "SELECT k FROM s WHERE v = 'v33' OR v = 'v34' LIMIT 1", gone ? 34 : 33);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE ttl > 0 OR expires_at > 0", gone ? 0 : 34);
    CHECK_NUMBER(db, "SELECT count(*) FROM x WHERE k GLOB 'key3*'", gone ? 6 : 11);
    CHECK_NUMBER(db, "SELECT count(*) FROM x WHERE k LIKE 'KEY3%'", gone ? 6 : 11);
    CHECK_NUMBER(db, "SELECT count(*) FROM c WHERE a = 3", gone ? 6 : 10);
    CHECK_NUMBER(db, "SELECT count(*) FROM c WHERE a = 3 AND b >= 3", gone ? 4 : 7);
    CHECK_NUMBER(db, "SELECT count(*) FROM c WHERE a IN (3, 4) AND b = 0", gone ? 1 : 2);
    CHECK_NUMBER(db, "SELECT count(*) FROM (SELECT DISTINCT a FROM c)", 10);
    CHECK_NUMBER(db, "SELECT sum(n) FROM (SELECT count(*) AS n FROM c GROUP BY a)", rows);
    CHECK_NUMBER(db, "SELECT count(*) FROM n JOIN s ON s.k = n.value", rows);
    CHECK_NUMBER(db, "SELECT count(s.k) FROM n LEFT JOIN s ON s.k = n.value", rows);
    CHECK_NUMBER(db, "SELECT count(*) FROM s CROSS JOIN c ON c.v = s.k", rows);
}

/* An expired row is in nobody's way, and not there to be changed. */
static void check_writes(sqlite3 *db)
{
    CHECK_SQL(db, SQLITE_OK, "SAVEPOINT w; UPDATE s SET v = 'no' WHERE k = 33");
    CHECK_NUMBER(db, "SELECT changes()", 0);
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM s WHERE k < 9");
    CHECK_NUMBER(db, "SELECT changes()", 6);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s VALUES(33, 'new')");
    CHECK_SQL(db, SQLITE_CONSTRAINT_PRIMARYKEY, "INSERT INTO s VALUES(34, 'new')");
    CHECK_SQL(db, SQLITE_OK, "INSERT OR IGNORE INTO s VALUES(36, 'new'), (37, 'new')");
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE v = 'new'", 2);
    CHECK_SQL(db, SQLITE_OK, "UPDATE s SET k = 39 WHERE k = 40");
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE ttl IS NOT NULL", 0);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK TO w; RELEASE w");
    check_plans(db, 1);
}

enum { IN_MEMTABLE, IN_TABLE, COMPACTED, IN_OWN_BATCH, AFTER_REOPEN, PLACES };

static void place(sqlite3 **db, int where)
{
    if (where == IN_TABLE) CHECK_SQL(*db, SQLITE_OK, "INSERT INTO s(s) VALUES('flush')");
    if (where == COMPACTED) CHECK_SQL(*db, SQLITE_OK, "INSERT INTO s(s) VALUES('compact')");
    if (where == AFTER_REOPEN) {
        CHECK_CLOSE(*db);
        *db = txn_open(folder, "ttl.db");
    }
}

static void expired_rows_are_never_seen(void)
{
    for (int where = 0; where < PLACES; where++) {
        sqlite3 *db = begin_test();
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE n(value); "
                  "WITH RECURSIVE i(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n < 99) "
                  "INSERT INTO n SELECT n FROM i; "
                  "CREATE VIRTUAL TABLE s USING fastkv(k INTEGER, v); "
                  "CREATE VIRTUAL TABLE c USING fastkv(a, b, v, PRIMARY KEY (a, b)); "
                  "CREATE VIRTUAL TABLE x USING fastkv(k TEXT, v)");
        if (where == IN_OWN_BATCH) CHECK_SQL(db, SQLITE_OK, "BEGIN");
        fill(db);
        place(&db, where);
        pass(8);
        check_plans(db, 0);
        pass(3);
        check_plans(db, 1);
        check_writes(db);
        if (where == IN_OWN_BATCH) CHECK_SQL(db, SQLITE_OK, "COMMIT");
        place(&db, where == IN_TABLE ? COMPACTED : where);
        check_plans(db, 1);
        end_test(db);
    }
}

/* What an overwriting leaves is the newer row's life; what a ROLLBACK leaves, the older one's. */
static void lives_follow_their_rows(void)
{
    sqlite3 *db = begin_test();

    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE s USING fastkv(k, v, ttl = 100)");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s VALUES('usual', 1)");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(k, v, ttl) VALUES('short', 1, 10), ('long', 1, 1000)");
    CHECK_SQL(db, SQLITE_OK, "BEGIN; REPLACE INTO s VALUES('short', 2); SAVEPOINT p");
    CHECK_SQL(db, SQLITE_OK,
              "UPDATE s SET ttl = 1 WHERE k = 'long'; DELETE FROM s WHERE k = 'usual'");
    pass(11);
    CHECK_NUMBER(db, "SELECT sum(v) FROM s", 2);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK TO p");
    CHECK_NUMBER(db, "SELECT sum(v) FROM s", 4);
    CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
    CHECK_NUMBER(db, "SELECT sum(v) FROM s", 2);
    pass(100);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE k = 'long'", 1);
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 1);
    end_test(db);
}

/* A transaction larger than a memtable: its rows go through tables before it is committed. */
static void rows_of_a_spilled_transaction_expire(void)
{
    sqlite3 *db = begin_test();

    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE s USING fastkv(k, v, memory = '1MB')");
    CHECK_SQL(
        db, SQLITE_OK,
        "BEGIN; WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 5000) "
        "INSERT INTO s(k, v, ttl) SELECT n, randomblob(300), iif(n %% 2, 5, NULL) FROM i");
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 5000);
    pass(6);
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 2500);
    CHECK_SQL(db, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 2500);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(s) VALUES('compact')");
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 2500);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(s) VALUES('integrity-check')");
    end_test(db);
}

/* -- the clock --------------------------------------------------------------------------------- */

static void a_clock_set_back_revives_nothing(void)
{
    sqlite3 *db = begin_test();

    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE s USING fastkv(k, v)");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(k, v, ttl) VALUES('a', 1, 10), ('b', 1, 100)");
    pass(20);
    CHECK_NUMBER(db, "SELECT group_concat(k) = 'b' FROM s", 1);
    pass(-1000);
    CHECK_NUMBER(db, "SELECT group_concat(k) = 'b' FROM s", 1);
    CHECK_CLOSE(db);
    db = txn_open(folder, "ttl.db");
    CHECK_NUMBER(db, "SELECT group_concat(k) = 'b' FROM s", 1);
    /* Time stands still for the store, but a new row lives no shorter than it was told to. */
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(k, v, ttl) VALUES('c', 1, 5)");
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 2);
    CHECK_NUMBER(db, "SELECT round(ttl) FROM s WHERE k = 'c'", 5);
    pass(980);
    CHECK_NUMBER(db, "SELECT count(*) FROM s", 2);
    pass(27);
    CHECK_NUMBER(db, "SELECT group_concat(k) = 'b' FROM s", 1);
    end_test(db);
}

/* -- space ------------------------------------------------------------------------------------- */

static int64_t folder_bytes;

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path, (void)at;
    if (kind == FTW_F) folder_bytes += (int64_t)st->st_size;
    return 0;
}

static int64_t disk_used(sqlite3 *db)
{
    char store[PATH_ROOM * 2];

    /* The store keeps what it has just replaced for a fifth of a second, until the next write. */
    (void)sqlite3_sleep(220);
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM s WHERE k = 'none'");
    (void)snprintf(store, sizeof store, "%s/ttl.db-fastkv", folder);
    folder_bytes = 0;
    (void)nftw(store, add_size, 8, FTW_PHYS);
    return folder_bytes;
}

enum { CHURN_ROWS = 2000, CHURN_BYTES = 200, CHURN_TTL = 40, CHURN_STEP = 10 };
enum { EMPTY_BYTES = 600 << 10 }; /* a manifest, a lock, two segments of the log */

/* Rows of one kind come in and run out for as long as forty times the life of one. */
static void churn(const char *key_format, const char *ttl)
{
    char key[64];
    int64_t most = 0, live = (int64_t)CHURN_ROWS * CHURN_BYTES * (CHURN_TTL / CHURN_STEP);
    sqlite3 *db = begin_test();

    CHECK_SQL(db, SQLITE_OK, "CREATE VIRTUAL TABLE s USING fastkv(k TEXT, v, memory = '1MB')");
    for (int i = 0; i < 40 * CHURN_TTL / CHURN_STEP; i++) {
        (void)snprintf(key, sizeof key, key_format, i);
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < "
                  "%d) REPLACE INTO s(k, v, ttl) SELECT %s, randomblob(%d), %s FROM i; COMMIT",
                  CHURN_ROWS, key, CHURN_BYTES, ttl);
        pass(CHURN_STEP);
        if (i % 10 == 9) /* what background threads would have done in that time */
            CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(s) VALUES('settle')");
        if (i % 40 == 39) {
            int64_t now = disk_used(db);
            if (now > most) most = now;
        }
    }
    CHECK(most < live * 2);
    if (most >= live * 2) (void)printf("%s, %s: %lld bytes\n", key_format, ttl, (long long)most);
    pass(CHURN_TTL);
    CHECK_NUMBER(db, "SELECT count(*) FROM s WHERE ttl > 0", 0);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO s(s) VALUES('compact')");
    CHECK(disk_used(db) < EMPTY_BYTES);
    end_test(db);
}

static void space_comes_back(void)
{
    churn("hex(randomblob(8)) || %d", "40");         /* keys at random */
    churn("printf('%%08d-%%05d', %d, n)", "40");     /* in the order of time */
    churn("printf('%%08d-%%05d', %d, n)", "n % 40"); /* of all lengths */
}

TEST_MAIN("test_ttl", TEST_CASE(expired_rows_are_never_seen), TEST_CASE(lives_follow_their_rows),
          TEST_CASE(rows_of_a_spilled_transaction_expire),
          TEST_CASE(a_clock_set_back_revives_nothing), TEST_CASE(space_comes_back))
