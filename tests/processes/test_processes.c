/*
** Seven processes on one database, which are killed and stopped at random moments: nothing that was
** acknowledged is lost, nothing is seen by half, nobody gets stuck.
**
** Every transaction has a number T, one more than the one before, which stands in a row that all of
** them change. What T does follows from T alone: so whoever sees T knows what every other row of
** the database must be, those of the native table included. All reads are held against that, and
** against what had been acknowledged to anybody when they began.
**
**   writers   transaction after transaction; some of them spill, some are rolled back first
**   readers   all rows by one statement, or by several of one transaction
**   opener    opens, reads, writes or tidies up, and closes, or ends without that
*/
/* test-modes: release asan */
#include "txn/txn_util.h"

#include "proc_util.h"

/* kept apart from 4 and 10, by which kinds of transactions differ */
enum { GROUPS = 37, MEMBERS = 8, SPREAD = 1000, BULK = 160, BULK_BYTES = 1500, VALUE_MAX = 2000 };
enum { STILL = 3000 }; /* rows that nobody changes: what is moved for nothing, and twice, counts */
enum { KILLS = 30 / SLOW, BUSY_MS = 60 * 1000 };

typedef enum kind { KIND_BARE, KIND_GROUP, KIND_BULK } kind;

/* -- what transaction t does, and what is there after it --------------------------------------- */

static kind kind_of(uint64_t t)
{
    if (t % 11 == 5) return KIND_BULK;
    return t % 4 == 1 ? KIND_BARE : KIND_GROUP;
}

static int is_mixed(uint64_t t)
{
    return t % 3 == 0 && kind_of(t) != KIND_BARE;
}

static int is_delete(uint64_t t)
{
    return t % 10 == 0;
}

/* The last transaction up to t that wrote group g, 0 if there is none. */
static uint64_t group_writer(uint64_t t, uint64_t g)
{
    uint64_t last = t - (t % GROUPS + GROUPS - g) % GROUPS;

    if (t < g) return 0;
    while (last && kind_of(last) != KIND_GROUP) last = last > GROUPS ? last - GROUPS : 0;
    return last;
}

static uint64_t bulk_writer(uint64_t t)
{
    while (t && kind_of(t) != KIND_BULK) t--;
    return t;
}

static uint64_t mixed_writer(uint64_t t)
{
    while (t && !is_mixed(t)) t--;
    return t;
}

/* The value that transaction t gives row k: bytes that do not compress. */
static int value_of(uint64_t t, int64_t k, int size, uint8_t out[VALUE_MAX])
{
    uint64_t x = t * 1000003 + (uint64_t)k * 2654435761u + 88172645463325252u;

    for (int i = 0; i < size; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(out + i, &x, 8);
    }
    return size;
}

static int group_bytes(uint64_t t, int64_t k)
{
    return (int)(16 + (t * 31 + (uint64_t)k) % 200);
}

/* -- SQL of a child ---------------------------------------------------------------------------- */

static sqlite3 *connect(const char *folder)
{
    static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
    sqlite3 *db;

    doing("opening");
    db = txn_open(folder, "a.db");
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    if (run(db, "PRAGMA synchronous = %s", levels[check_below(3)])) fail("%s", sqlite3_errmsg(db));
    return db;
}

static void must(sqlite3 *db, const char *sql)
{
    int rc = run(db, "%s", sql);

    if (rc) fail("%s gave %d: %s", sql, rc, sqlite3_errmsg(db));
    atomic_fetch_add(&my_slot->steps, 1);
}

static uint64_t must_number(sqlite3 *db, const char *sql)
{
    int64_t n = number(db, sql);

    if (n < 0) fail("%s gave %d: %s", sql, (int)-n, sqlite3_errmsg(db));
    atomic_fetch_add(&my_slot->steps, 1);
    return (uint64_t)n;
}

static sqlite3_stmt *must_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (rc) fail("%s gave %d: %s", sql, rc, sqlite3_errmsg(db));
    return s;
}

/* -- reading ----------------------------------------------------------------------------------- */

#define TOTAL "SELECT n FROM c WHERE w = 0"

/* Everything, by one statement: one view. */
#define ALL_ROWS                                                                                   \
    "SELECT 0, 0, n, NULL FROM c WHERE w = 0 UNION ALL "                                           \
    "SELECT 1, 0, sum(n), NULL FROM c WHERE w > 0 UNION ALL "                                      \
    "SELECT 2, k, n, v FROM g UNION ALL SELECT 3, k, n, v FROM s UNION ALL "                       \
    "SELECT 4, k, n, NULL FROM nat"

static uint64_t seen_total; /* the last T that this process has seen */

typedef struct expectation {
    uint64_t t;
    int group_member, group; /* the next row of g, … */
    int bulk;                /* … s … */
    int native;              /* … and nat */
} expectation;

static void expect_row(sqlite3_stmt *s, const expectation *e, int64_t k, uint64_t by, int size)
{
    uint8_t value[VALUE_MAX];
    int64_t got_k = sqlite3_column_int64(s, 1);
    uint64_t got_n = (uint64_t)sqlite3_column_int64(s, 2);

    if (got_k != k || got_n != by)
        fail("T %" PRIu64 ": part %d, row %" PRId64 " of %" PRIu64 ", wanted row %" PRId64
             " of %" PRIu64,
             e->t, sqlite3_column_int(s, 0), got_k, got_n, k, by);
    if (size == 0) return;
    (void)value_of(by, k, size, value);
    if (sqlite3_column_bytes(s, 3) != size ||
        memcmp(sqlite3_column_blob(s, 3), value, (size_t)size) != 0)
        fail("T %" PRIu64 ": the value of row %" PRId64 " of %" PRIu64 " is not its own", e->t, k,
             by);
}

/* Go on to a group that is there, from e->group on in the run of member e->group_member. */
static int next_group(expectation *e, uint64_t *by)
{
    for (; e->group_member < MEMBERS; e->group_member++, e->group = 0) {
        for (; e->group < GROUPS; e->group++) {
            *by = group_writer(e->t, (uint64_t)e->group);
            if (*by && !is_delete(*by)) return 1;
        }
    }
    return 0;
}

static void take_group_row(sqlite3_stmt *s, expectation *e)
{
    uint64_t by = 0;
    int64_t k;

    if (!next_group(e, &by))
        fail("T %" PRIu64 ": g has a row %" PRId64 " of %" PRIu64 " too many", e->t,
             (int64_t)sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2));
    k = (int64_t)e->group_member * SPREAD + e->group;
    expect_row(s, e, k, by, group_bytes(by, k));
    e->group++;
}

static void take_row(sqlite3_stmt *s, expectation *e, uint64_t at_least)
{
    int part = sqlite3_column_int(s, 0);
    uint64_t n = (uint64_t)sqlite3_column_int64(s, 2);

    switch (part) {
    case 0:
        e->t = n;
        if (n < at_least)
            fail("T is %" PRIu64 ", %" PRIu64 " was acknowledged before", n, at_least);
        if (n < seen_total) fail("T is %" PRIu64 ", was %" PRIu64, n, seen_total);
        seen_total = n;
        break;
    case 1:
        if (n != e->t) fail("T is %" PRIu64 ", the processes' counters sum to %" PRIu64, e->t, n);
        break;
    case 2:
        take_group_row(s, e);
        break;
    case 3:
        expect_row(s, e, e->bulk++, bulk_writer(e->t), BULK_BYTES);
        break;
    default:
        expect_row(s, e, e->native++, mixed_writer(e->t), 0);
        break;
    }
}

/* A reader may be told that its view is too old to be had. */
static int is_allowed(int rc)
{
    if ((rc & 0xff) != SQLITE_BUSY) return 0;
    atomic_fetch_add(&my_slot->set_by, 1);
    return 1;
}

/* All rows as transaction T left them; T, or 0 if they could not be had. In a transaction T is
** `only`, unless that is 0. */
static uint64_t check_all(sqlite3 *db, uint64_t only)
{
    uint64_t at_least = only ? only : atomic_load(&the_board->acknowledged), by;
    sqlite3_stmt *s = must_prepare(db, ALL_ROWS);
    expectation e = {0};
    int rc;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW) take_row(s, &e, at_least);
    (void)sqlite3_finalize(s);
    if (is_allowed(rc)) return 0;
    if (rc != SQLITE_DONE) fail("reading all gave %d: %s", rc, sqlite3_errmsg(db));
    if (only && e.t != only) fail("T is %" PRIu64 ", began with %" PRIu64, e.t, only);
    if (next_group(&e, &by)) fail("T %" PRIu64 ": g ends before %" PRIu64, e.t, by);
    if (e.bulk != (bulk_writer(e.t) ? BULK : 0)) fail("T %" PRIu64 ": %d in s", e.t, e.bulk);
    if (e.native != MEMBERS) fail("T %" PRIu64 ": %d native rows", e.t, e.native);
    atomic_fetch_add(&my_slot->steps, 1);
    return e.t;
}

/* One group by its keys. */
static void check_group(sqlite3 *db, uint64_t t)
{
    uint64_t g = check_below(GROUPS), by = group_writer(t, g);
    int wanted = by && !is_delete(by) ? MEMBERS : 0, found = 0, rc;
    expectation e = {.t = t};
    sqlite3_stmt *s =
        must_prepare(db, "WITH m(i) AS (VALUES(0),(1),(2),(3),(4),(5),(6),(7)) "
                         "SELECT 2, k, n, v FROM m JOIN g ON k = i * 1000 + ?1 ORDER BY i");

    (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)g);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t k = (int64_t)found * SPREAD + (int64_t)g;
        expect_row(s, &e, k, by, group_bytes(by, k));
        found++;
    }
    (void)sqlite3_finalize(s);
    if (rc != SQLITE_DONE) fail("reading a group gave %d: %s", rc, sqlite3_errmsg(db));
    if (found != wanted)
        fail("T %" PRIu64 ": %d rows of group %" PRIu64 " of %" PRIu64, t, found, g, by);
}

static void read_in_transaction(sqlite3 *db)
{
    int native_first = (int)check_below(2);
    int64_t native = -1, t;

    doing("reading in a transaction%s", native_first ? ", native first" : "");
    must(db, "BEGIN");
    if (native_first) native = (int64_t)must_number(db, "SELECT n FROM nat WHERE k = 3");
    (void)usleep((useconds_t)check_below(2000));
    t = number(db, TOTAL);
    if (t < 0 && is_allowed((int)-t)) {
        must(db, "ROLLBACK");
        return;
    }
    if (t < 0) fail("%s gave %d: %s", TOTAL, (int)-t, sqlite3_errmsg(db));
    if (native_first && (uint64_t)native != mixed_writer((uint64_t)t))
        fail("T is %" PRId64 ", the native rows are of %" PRId64, t, native);
    (void)usleep((useconds_t)check_below(3000));
    check_group(db, (uint64_t)t);
    if (t && !check_all(db, (uint64_t)t)) fail("the view was lost: %s", sqlite3_errmsg(db));
    check_group(db, (uint64_t)t);
    must(db, check_below(2) ? "COMMIT" : "ROLLBACK");
}

static void read_something(sqlite3 *db)
{
    if (check_below(2)) {
        read_in_transaction(db);
    } else {
        doing("reading all by one statement");
        (void)check_all(db, 0);
    }
    atomic_fetch_add(&my_slot->done, 1);
}

/* -- writing ----------------------------------------------------------------------------------- */

static void put_rows(sqlite3 *db, const char *sql, uint64_t t, int first, int step, int count,
                     int size)
{
    sqlite3_stmt *s = must_prepare(db, sql);
    uint8_t value[VALUE_MAX];

    for (int i = 0; i < count; i++) {
        int64_t k = (int64_t)first + (int64_t)i * step;
        int bytes = size ? size : group_bytes(t, k);
        int rc;
        (void)value_of(t, k, bytes, value);
        (void)sqlite3_bind_int64(s, 1, k);
        (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)t);
        (void)sqlite3_bind_blob(s, 3, value, bytes, SQLITE_TRANSIENT);
        (void)sqlite3_step(s);
        rc = sqlite3_reset(s);
        if (rc) fail("%s gave %d: %s", sql, rc, sqlite3_errmsg(db));
    }
    (void)sqlite3_finalize(s);
}

/* Everything of transaction t. */
static void write_rows(sqlite3 *db, uint64_t t)
{
    int g = (int)(t % GROUPS);

    if (kind_of(t) == KIND_BULK) {
        put_rows(db, "REPLACE INTO s VALUES(?, ?, ?)", t, 0, 1, BULK, BULK_BYTES);
    } else if (kind_of(t) == KIND_GROUP) {
        put_rows(db,
                 is_delete(t) ? "DELETE FROM g WHERE k = ?1 AND ?2 AND ?3 IS NOT NULL"
                              : "REPLACE INTO g VALUES(?, ?, ?)",
                 t, g, SPREAD, MEMBERS, 0);
    }
    if (is_mixed(t) && run(db, "UPDATE nat SET n = %lld", (long long)t))
        fail("the native table: %s", sqlite3_errmsg(db));
    if (run(db, "UPDATE c SET n = n + 1 WHERE w IN (0, %d)", (int)(my_slot - the_board->slots) + 1))
        fail("the counters: %s", sqlite3_errmsg(db));
    if (sqlite3_changes(db) != 2) fail("%d counters", sqlite3_changes(db));
}

/* Writes that nobody is to see. */
static void write_noise(sqlite3 *db)
{
    uint64_t t = 100000000 + check_below(1000);
    int large = check_below(4) == 0;

    put_rows(db, "REPLACE INTO s VALUES(?, ?, ?)", t, 0, 1, large ? BULK : 3, BULK_BYTES);
    put_rows(db, "REPLACE INTO g VALUES(?, ?, ?)", t, (int)check_below(SPREAD), SPREAD, MEMBERS, 0);
    if (run(db, "UPDATE c SET n = 0") || (check_below(2) && run(db, "UPDATE nat SET n = 0")))
        fail("noise: %s", sqlite3_errmsg(db));
}

/* BEGIN, and the number of this transaction; 0 if somebody else was quicker. */
static uint64_t begin(sqlite3 *db)
{
    uint64_t known = atomic_load(&the_board->acknowledged);
    int deferred = check_below(6) == 0, rc;
    int64_t t;

    doing("begin");
    must(db, deferred ? "BEGIN" : "BEGIN IMMEDIATE");
    t = number(db, TOTAL);
    if (t >= 0 && (uint64_t)t < known)
        fail("T is %" PRId64 ", %" PRIu64 " was acknowledged before", t, known);
    rc = t < 0 ? (int)-t : deferred ? run(db, "UPDATE c SET n = n WHERE w = 0") : SQLITE_OK;
    if (rc == SQLITE_OK) return (uint64_t)t + 1;
    if (!deferred || (rc & 0xff) != SQLITE_BUSY)
        fail("the beginning gave %d: %s", rc, sqlite3_errmsg(db));
    must(db, "ROLLBACK");
    return 0;
}

static void write_transaction(sqlite3 *db)
{
    uint64_t t;
    int rc;

    if (check_below(8) == 0) {
        doing("writing to roll back");
        must(db, "BEGIN IMMEDIATE");
        write_noise(db);
        must(db, "ROLLBACK");
    }
    t = begin(db);
    if (t == 0) return;
    doing("transaction %" PRIu64, t);
    if (check_below(8) == 0) {
        must(db, "SAVEPOINT noise");
        write_noise(db);
        must(db, "ROLLBACK TO noise");
    }
    write_rows(db, t);
    if (check_below(4) == 0 && must_number(db, TOTAL) != t) fail("own write is not seen");
    doing("commit %" PRIu64, t);
    rc = run(db, "COMMIT");
    if (rc) fail("COMMIT gave %d: %s", rc, sqlite3_errmsg(db));
    acknowledge(t);
}

/* A transaction that is one statement, if the next one can be. */
static int write_statement(sqlite3 *db)
{
    int64_t before;
    uint64_t t;

    doing("autocommit");
    before = number(db, TOTAL);
    if (before < 0 && is_allowed((int)-before)) return 0;
    if (before < 0) fail("%s gave %d: %s", TOTAL, (int)-before, sqlite3_errmsg(db));
    t = (uint64_t)before + 1;
    if (kind_of(t) != KIND_BARE) return 0;
    if (run(db, "UPDATE c SET n = n + 1 WHERE w IN (0, %d) AND (" TOTAL ") = %lld",
            (int)(my_slot - the_board->slots) + 1, (long long)t - 1))
        fail("%s", sqlite3_errmsg(db));
    if (sqlite3_changes(db) == 2) acknowledge(t);
    return 1;
}

/* The database, and with a newer SQLite its fastkv tables as well. */
static void must_be_sound(sqlite3 *db)
{
    sqlite3_stmt *s = must_prepare(db, "PRAGMA integrity_check");
    int rc = sqlite3_step(s);

    if (rc != SQLITE_ROW) fail("integrity_check gave %d: %s", rc, sqlite3_errmsg(db));
    if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        fail("integrity_check: %s", (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    atomic_fetch_add(&the_board->checks, 1);
}

static void tidy_up(sqlite3 *db)
{
    static const char *const commands[] = {"flush",   "flush",           "settle",
                                           "compact", "integrity-check", "sound"};
    const char *command = commands[check_below(sizeof commands / sizeof commands[0])];

    doing("%s", command);
    if (strcmp(command, "sound") == 0) {
        must_be_sound(db);
        return;
    }
    if (run(db, "INSERT INTO g(g) VALUES('%s')", command)) fail("%s", sqlite3_errmsg(db));
    if (strcmp(command, "integrity-check") == 0) atomic_fetch_add(&the_board->checks, 1);
}

static void write_something(sqlite3 *db)
{
    if (check_below(20) == 0) tidy_up(db);
    if (check_below(2) && write_statement(db)) return;
    write_transaction(db);
}

/* -- roles ------------------------------------------------------------------------------------- */

static int told_to_stop(void)
{
    return atomic_load(&the_board->stop);
}

static void close_all(sqlite3 *db)
{
    doing("closing");
    if (sqlite3_close(db)) fail("%s", sqlite3_errmsg(db));
}

static void be_setup(const char *folder)
{
    sqlite3 *db = connect(folder);

    must(db, "CREATE TABLE nat(k INTEGER PRIMARY KEY, n)");
    must(db, "INSERT INTO nat VALUES(0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0)");
    must(db, "CREATE VIRTUAL TABLE g USING fastkv(k INTEGER PRIMARY KEY, n, v, memory = '1MB')");
    must(db, "CREATE VIRTUAL TABLE s USING fastkv(k INTEGER PRIMARY KEY, n, v)");
    must(db, "CREATE VIRTUAL TABLE c USING fastkv(w INTEGER PRIMARY KEY, n)");
    must(db, "CREATE VIRTUAL TABLE b USING fastkv(k INTEGER PRIMARY KEY, v)");
    if (run(db,
            "WITH RECURSIVE i(k) AS (VALUES(1) UNION ALL SELECT k + 1 FROM i LIMIT %d) "
            "INSERT INTO b SELECT k, randomblob(%d) FROM i",
            STILL, BULK_BYTES))
        fail("%s", sqlite3_errmsg(db));
    must(db, "INSERT INTO c VALUES(0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0)");
    close_all(db);
}

static void be_writer(const char *folder)
{
    sqlite3 *db = connect(folder);

    while (!told_to_stop()) write_something(db);
    close_all(db);
}

static void be_reader(const char *folder)
{
    sqlite3 *db = connect(folder);

    while (!told_to_stop()) read_something(db);
    close_all(db);
}

static void be_opener(const char *folder)
{
    while (!told_to_stop()) {
        sqlite3 *db = connect(folder);
        switch (check_below(4)) {
        case 0:
            write_something(db);
            break;
        case 1:
            tidy_up(db);
            break;
        default:
            read_something(db);
            break;
        }
        if (check_below(20) == 0) _exit(0);
        close_all(db);
        (void)usleep((useconds_t)check_below(20000));
    }
}

/* The last of all, alone: everything is there, and whole, also after it has been moved. */
static void be_judge(const char *folder)
{
    sqlite3 *db = connect(folder);

    doing("the last look");
    if (!check_all(db, 0)) fail("nothing could be read: %s", sqlite3_errmsg(db));
    must(db, "INSERT INTO g(g) VALUES('integrity-check')");
    must_be_sound(db);
    write_transaction(db);
    must(db, "INSERT INTO g(g) VALUES('settle')");
    must(db, "INSERT INTO g(g) VALUES('integrity-check')");
    must_be_sound(db);
    if (must_number(db, "SELECT count(*) FROM b") != STILL) fail("rows of b are missing");
    if (!check_all(db, 0)) fail("nothing could be read: %s", sqlite3_errmsg(db));
    close_all(db);
}

typedef struct role {
    const char *name;
    void (*be)(const char *folder);
} role;

static const role roles[] = {{"setup", be_setup},
                             {"writer", be_writer},
                             {"reader", be_reader},
                             {"opener", be_opener},
                             {"judge", be_judge}};

/* -- the parent -------------------------------------------------------------------------------- */

static uint64_t live_bytes(uint64_t t)
{
    uint64_t bytes = (BULK + STILL) * (uint64_t)(BULK_BYTES + 24);

    for (uint64_t g = 0; g < GROUPS; g++) {
        uint64_t by = group_writer(t, g);
        if (by && !is_delete(by)) bytes += MEMBERS * (uint64_t)(group_bytes(by, 0) + 24);
    }
    return bytes;
}

/* All that transactions 1 … t have put. */
static uint64_t written_bytes(uint64_t t)
{
    uint64_t bytes = 0;

    for (uint64_t by = 1; by <= t; by++) {
        if (kind_of(by) == KIND_BULK) bytes += BULK * (uint64_t)(BULK_BYTES + 24);
        if (kind_of(by) == KIND_GROUP) bytes += MEMBERS * (uint64_t)(group_bytes(by, 0) + 24);
    }
    return bytes;
}

/* What a closed store may keep beside its rows: one log segment, the manifest. */
#define SMALL_FILES ((uint64_t)300 << 10)

/* And an open one, of a process: two segments of the log and the tables they become. */
#define WORK_FILES ((uint64_t)1 << 20)

typedef struct space {
    uint64_t largest;
    long looks, over; /* over: more than three times what is live */
} space;

/* Three times what is live when all is at rest. While a process is killed every 30 ms few
** compactions come to their end, a reader that is stopped keeps what it reads, and who is killed in
** a compaction leaves what he has made to the next sweep. That is told, and has a bound as well,
** which grows with what the machine writes meanwhile: at most half of that is still there. */
static void check_space(const char *folder, const space *used)
{
    uint64_t done = atomic_load(&the_board->acknowledged), bytes;
    uint64_t live = live_bytes(done), written = written_bytes(done);
    char path[PATH_ROOM + 32];

    (void)snprintf(path, sizeof path, "%s/a.db-fastkv", folder);
    bytes = folder_bytes(path);
    (void)printf("%" PRIu64 " KB live of %" PRIu64 " KB written, %" PRIu64
                 " KB on disk when closed, %" PRIu64
                 " KB at most, over three times as much at %ld of %ld looks\n",
                 live >> 10, written >> 10, bytes >> 10, used->largest >> 10, used->over,
                 used->looks);
    CHECK(bytes <= 3 * live + SMALL_FILES);
    CHECK(used->largest <= 3 * live + written / 2 + WORK_FILES);
}

static void tell_work(const crew *w, uint64_t ms)
{
    uint64_t transactions = 0, reads = 0, put_off = 0;

    for (size_t i = 0; i < w->count; i++) {
        const slot *s = &the_board->slots[i];
        put_off += atomic_load(&s->set_by);
        *(strcmp(w->children[i].role, "reader") ? &transactions : &reads) += atomic_load(&s->done);
    }
    (void)printf("%ld kills, %ld stops, %" PRIu64 " transactions, %" PRIu64 " reads, %" PRIu64
                 " views too old, %" PRIu64 " integrity checks, %" PRIu64 " ms\n",
                 w->kills, w->stops, transactions, reads, put_off, atomic_load(&the_board->checks),
                 ms);
    CHECK(put_off <= reads / 10 + 10);
}

/* Disturb them in turns, and look at the space after each kill. */
static void disturb(crew *w, long kills, space *used)
{
    char path[PATH_ROOM + 32];

    (void)snprintf(path, sizeof path, "%s/a.db-fastkv", w->folder);
    while (w->kills < kills && !w->broken) {
        uint64_t bytes;
        crew_disturb(w, w->kills + 1);
        bytes = folder_bytes(path);
        if (bytes > used->largest) used->largest = bytes;
        used->looks++;
        used->over += bytes > 3 * live_bytes(atomic_load(&the_board->acknowledged)) + WORK_FILES;
    }
}

static long all_kills;

static void processes(const char *journal)
{
    char folder[PATH_ROOM];
    uint64_t started = now_ms();
    space used = {0};
    crew w = {.folder = folder};
    sqlite3 *db;

    txn_folder(folder);
    board_open(folder, 1);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = %s", journal);
    CHECK_CLOSE(db);
    if (run_alone("setup", 7, folder)) {
        for (int i = 0; i < 3; i++) crew_add(&w, "writer", 0);
        for (int i = 0; i < 3; i++) crew_add(&w, "reader", 0);
        crew_add(&w, "opener", 1);
        disturb(&w, KILLS * test_scale(), &used);
        crew_end(&w);
        (void)printf("%s: ", journal);
        tell_work(&w, now_ms() - started);
        all_kills += w.kills;
        if (!w.broken && run_alone("judge", 7, folder)) check_space(folder, &used);
    }
    board_close();
    if (w.broken || check_failures) {
        (void)printf("kept in %s\n", folder);
    } else {
        txn_remove(folder);
    }
}

static void in_wal_mode(void)
{
    processes("WAL");
}

static void with_a_rollback_journal(void)
{
    processes("DELETE");
    (void)printf("POINTS kill-processes kills %ld\n", all_kills);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(in_wal_mode), TEST_CASE(with_a_rollback_journal)};

    if (child_begins(argc, argv)) {
        for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
            if (strcmp(roles[i].name, argv[2]) == 0) roles[i].be(argv[4]);
        return 0;
    }
    return check_main("test_processes", cases, sizeof cases / sizeof cases[0], argc, argv);
}
