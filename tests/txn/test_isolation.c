/*
** What connections see of one another, compared with what they would see in native tables.
**
** Twins. A random schedule of two to four connections (BEGIN, reads, writes, savepoints, COMMIT,
** ROLLBACK, statements left half stepped) is played in two worlds at once: in one the table t is a
** fastkv table, in the other a native WITHOUT ROWID table. Every statement must give the same rows
** and the same primary result code in both, and 517 (SQLITE_BUSY_SNAPSHOT) where native gives 517.
** Only the fastkv world is also flushed and compacted. Values are large for the store's budget, so
** that memtables rotate while snapshots are held.
**
** Pairs. In one database every transaction writes the same to a native table n and a fastkv table
** t, beside others that write to native or fastkv tables alone. Whoever looks, in one statement or
** in several of one transaction, in either order, must find n and t equal. A counter that is read
** and written back in one transaction must count every commit.
*/
#include "txn_util.h"

#include "io_hook.h" /* nothing is really synced */

enum { CONNS_MAX = 4, KEYS = 40, DEPTH_MAX = 4 };

static int is_wal; /* of the schedule being played */

/* -- twins ------------------------------------------------------------------------------------- */

enum { FASTKV, NATIVE };

typedef struct twin {
    sqlite3 *db[2];
    sqlite3_stmt *open[2]; /* a statement half stepped */
    int depth;             /* savepoints */
    int cold;              /* has not used t yet */
} twin;

static char folder[PATH_ROOM];
static twin twins[CONNS_MAX];
static int conns;
static sqlite3 *upkeep; /* of the fastkv world */
static sqlite3_str *history;
static long statements, refused, stale;

static sqlite3 *open_world(int world)
{
    return txn_open(folder, world == FASTKV ? "fastkv.db" : "native.db");
}

static void make_worlds(void)
{
    static const char *const make[2] = {
        "CREATE VIRTUAL TABLE t USING fastkv(k INTEGER PRIMARY KEY, v INTEGER, pad TEXT, "
        "memory = '1MB')",
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v INTEGER, pad TEXT) WITHOUT ROWID"};

    txn_folder(folder);
    for (int w = 0; w < 2; w++) {
        sqlite3 *db = open_world(w);
        CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF; %s",
                  is_wal ? "WAL" : "DELETE", make[w]);
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE c(k INTEGER PRIMARY KEY, name); WITH RECURSIVE s(i) AS (VALUES(0) "
                  "UNION ALL SELECT i + 3 FROM s WHERE i < 40) INSERT INTO c SELECT i, 'c' || i "
                  "FROM s; INSERT INTO t SELECT k, k, 'first' FROM c");
        if (w == FASTKV) {
            upkeep = db;
        } else {
            CHECK_CLOSE(db);
        }
    }
    conns = 2 + (int)check_below(CONNS_MAX - 1);
    for (int i = 0; i < conns; i++) {
        twins[i] = (twin){.db = {open_world(FASTKV), open_world(NATIVE)}, .cold = 1};
    }
    history = sqlite3_str_new(NULL);
}

static void end_statement(twin *c)
{
    for (int w = 0; w < 2; w++) {
        (void)sqlite3_finalize(c->open[w]);
        c->open[w] = NULL;
    }
}

static void end_worlds(int failed)
{
    char *text = sqlite3_str_finish(history);

    for (int i = 0; i < conns; i++) {
        end_statement(&twins[i]);
        for (int w = 0; w < 2; w++) CHECK_CLOSE(twins[i].db[w]);
    }
    CHECK_CLOSE(upkeep);
    if (failed) (void)printf("%s-- in %s\n", text, is_wal ? "WAL" : "DELETE");
    sqlite3_free(text);
    txn_remove(folder);
}

/* A value of a size that fills memtables. */
static int pad_size(void)
{
    return (int)(check_below(3) ? check_below(60) : check_below(6000));
}

#define PAD "hex(zeroblob(%d))"

/* A random read of t, or NULL. To be freed. */
static char *some_read(void)
{
    int a = (int)check_below(KEYS), b = a + (int)check_below(12);

    switch (check_below(7)) {
    case 0:
        return sqlite3_mprintf("SELECT v, pad FROM t WHERE k = %d", a);
    case 1:
        return sqlite3_mprintf("SELECT * FROM t WHERE k BETWEEN %d AND %d ORDER BY k", a, b);
    case 2:
        return sqlite3_mprintf("SELECT k, v FROM t WHERE k <= %d ORDER BY k DESC", b);
    case 3:
        return sqlite3_mprintf("SELECT count(*), sum(v), sum(length(pad)) FROM t");
    case 4:
        return sqlite3_mprintf("SELECT c.name, t.v FROM c JOIN t USING(k) ORDER BY c.k");
    case 5:
        return sqlite3_mprintf("SELECT k, v FROM t WHERE k IN (%d, %d, %d) ORDER BY k", a, b,
                               (int)check_below(KEYS));
    default:
        return sqlite3_mprintf("SELECT max(k), (SELECT count(*) FROM t WHERE v > %d) FROM t", a);
    }
}

static char *some_write(void)
{
    int a = (int)check_below(KEYS), b = a + (int)check_below(12), v = (int)check_below(1000);

    switch (check_below(11)) {
    case 0:
        return sqlite3_mprintf("INSERT INTO t VALUES(%d, %d, " PAD ")", a, v, pad_size());
    case 1:
        return sqlite3_mprintf("REPLACE INTO t VALUES(%d, %d, " PAD ")", a, v, pad_size());
    case 2:
        return sqlite3_mprintf("INSERT OR IGNORE INTO t VALUES(%d, %d, 'i'), (%d, %d, " PAD ")", a,
                               v, b, v, pad_size());
    case 3:
        return sqlite3_mprintf("UPDATE t SET v = v + 1 WHERE k = %d", a);
    case 4:
        return sqlite3_mprintf("UPDATE t SET v = v + 1, pad = " PAD " WHERE k BETWEEN %d AND %d",
                               pad_size(), a, b);
    case 5:
        return sqlite3_mprintf("DELETE FROM t WHERE k = %d", a);
    case 6:
        return sqlite3_mprintf("DELETE FROM t WHERE k BETWEEN %d AND %d", a, b);
    case 7:
        return sqlite3_mprintf("REPLACE INTO t SELECT k + %d, v, pad FROM t WHERE k < %d",
                               v % 5 + 1, a);
    case 8: /* fails in its middle, as a rule */
        return sqlite3_mprintf("INSERT INTO t VALUES(%d, 1, 'm'), (%d, 2, 'm'), (%d, 3, 'm')", a, b,
                               (int)check_below(KEYS));
    case 9:
        return sqlite3_mprintf("UPDATE OR REPLACE t SET k = %d WHERE k = %d", b, a);
    default:
        return sqlite3_mprintf("DELETE FROM t WHERE v %% 7 = %d", v % 7);
    }
}

/* BEGIN … in a transaction or not; keeps count of savepoints. */
static char *some_control(twin *c)
{
    int idle = sqlite3_get_autocommit(c->db[NATIVE]);
    int kind = (int)check_below(10), at;

    if (idle) c->depth = 0;
    if (idle && kind < 8) {
        static const char *const begins[] = {"BEGIN", "BEGIN IMMEDIATE", "BEGIN DEFERRED"};
        return sqlite3_mprintf("%s", begins[check_below(3)]);
    }
    if (!idle && kind < 4) return sqlite3_mprintf("COMMIT");
    if (!idle && kind < 6) return sqlite3_mprintf("ROLLBACK");
    if (c->depth == 0 || (c->depth < DEPTH_MAX && check_below(2))) {
        return sqlite3_mprintf("SAVEPOINT s%d", c->depth++);
    }
    at = (int)check_below((uint64_t)c->depth);
    if (check_below(2)) {
        c->depth = at + 1;
        return sqlite3_mprintf("ROLLBACK TO s%d", at);
    }
    c->depth = at;
    return sqlite3_mprintf("RELEASE s%d", at);
}

/* Native gives BUSY_SNAPSHOT also after a commit that changed pages but no row, such as one whose
** writes were undone by ROLLBACK TO. Is what c sees still the latest? */
static int nothing_has_changed(const twin *c)
{
    static const char all[] = "SELECT count(*), sum(k * v), sum(length(pad)) FROM t";
    sqlite3_str *ours = sqlite3_str_new(NULL), *latest = sqlite3_str_new(NULL);
    sqlite3 *db = open_world(NATIVE);
    int rc = run_rows(c->db[NATIVE], all, ours) | run_rows(db, all, latest);
    char *a = sqlite3_str_finish(ours), *b = sqlite3_str_finish(latest);
    int same = rc == SQLITE_OK && strcmp(a, b) == 0;

    sqlite3_free(a);
    sqlite3_free(b);
    CHECK_CLOSE(db);
    return same;
}

/* The same code and the same rows in both worlds? */
static void compare(twin *c, const char *sql, const int rc[2], char *const rows[2])
{
    int same_code = (rc[FASTKV] & 0xff) == (rc[NATIVE] & 0xff);

    statements++;
    refused += rc[NATIVE] == SQLITE_BUSY;
    stale += rc[NATIVE] == SQLITE_BUSY_SNAPSHOT;
    if (rc[NATIVE] == SQLITE_BUSY_SNAPSHOT)
        same_code = rc[FASTKV] == rc[NATIVE] || nothing_has_changed(c);
    sqlite3_str_appendf(history, "%d: %s; -- %d\n", (int)(c - twins), sql, rc[NATIVE]);
    CHECK(same_code);
    CHECK(strcmp(rows[0] ? rows[0] : "", rows[1] ? rows[1] : "") == 0);
    CHECK(sqlite3_get_autocommit(c->db[0]) == sqlite3_get_autocommit(c->db[1]));
    if (!same_code) {
        (void)printf("%s: fastkv %d (%s), native %d (%s)\n", sql, rc[0], sqlite3_errmsg(c->db[0]),
                     rc[1], sqlite3_errmsg(c->db[1]));
    } else if (strcmp(rows[0] ? rows[0] : "", rows[1] ? rows[1] : "") != 0) {
        (void)printf("%s: fastkv\n%.600snative\n%.600s", sql, rows[0], rows[1]);
    }
}

static void play(twin *c, char *sql)
{
    char *rows[2];
    int rc[2];

    for (int w = 0; w < 2; w++) {
        sqlite3_str *out = sqlite3_str_new(NULL);
        rc[w] = run_rows(c->db[w], sql, out);
        rows[w] = sqlite3_str_finish(out);
    }
    compare(c, sql, rc, rows);
    for (int w = 0; w < 2; w++) sqlite3_free(rows[w]);
    sqlite3_free(sql);
    if (rc[NATIVE] == SQLITE_BUSY_SNAPSHOT) { /* see test_views.c */
        if (rc[FASTKV] == SQLITE_BUSY_SNAPSHOT) play(c, some_read());
        play(c, sqlite3_mprintf("ROLLBACK"));
    }
}

/* Begin a statement and take one row, or take some more of the one begun. */
static void play_open(twin *c)
{
    int begins = !c->open[0], steps = 1 + (int)check_below(4), over = 0, rc[2];
    char *sql = begins ? sqlite3_mprintf("SELECT k, v FROM t WHERE k >= %d ORDER BY k",
                                         (int)check_below(KEYS / 2))
                       : sqlite3_mprintf("-- %d steps", steps);
    char *rows[2];

    for (int w = 0; w < 2; w++) {
        sqlite3_str *out = sqlite3_str_new(NULL);
        rc[w] = begins ? sqlite3_prepare_v2(c->db[w], sql, -1, &c->open[w], NULL) : SQLITE_OK;
        for (int i = 0; i < steps && (rc[w] == SQLITE_OK || rc[w] == SQLITE_ROW); i++) {
            rc[w] = sqlite3_step(c->open[w]);
            if (rc[w] == SQLITE_ROW) append_row(out, c->open[w]);
        }
        over |= rc[w] != SQLITE_ROW;
        rows[w] = sqlite3_str_finish(out);
    }
    compare(c, sql, rc, rows);
    for (int w = 0; w < 2; w++) sqlite3_free(rows[w]);
    sqlite3_free(sql);
    if (over) end_statement(c);
}

static void play_upkeep(const char *table)
{
    static const char *const commands[] = {"flush", "compact", "settle", "integrity-check"};
    const char *command = commands[check_below(4)];
    int rc = run(upkeep, "INSERT INTO %s(%s) VALUES('%s')", table, table, command);

    CHECK(rc == SQLITE_OK || rc == SQLITE_BUSY); /* there is a writer, or in DELETE mode a reader */
    if (history) sqlite3_str_appendf(history, "-- %s: %d\n", command, rc);
}

static void reopen(twin *c)
{
    for (int w = 0; w < 2; w++) {
        CHECK_CLOSE(c->db[w]); /* rolls back what is open */
        c->db[w] = open_world(w);
    }
    c->depth = 0;
    c->cold = 1;
    sqlite3_str_appendf(history, "-- %d reopened\n", (int)(c - twins));
}

/* A virtual table's first use reads the database, at a moment when a native table would not: that
** is done outside of transactions. BUSY while a COMMIT waits for readers. */
static void warm_up(twin *c)
{
    int cold = 0;

    for (int w = 0; w < 2 && c->cold; w++) {
        cold |= run(c->db[w], "PRAGMA synchronous = OFF; SELECT * FROM t LIMIT 1") != SQLITE_OK;
    }
    c->cold = cold;
}

static void twin_step(void)
{
    twin *c = &twins[check_below((uint64_t)conns)];
    int kind = (int)check_below(100);

    warm_up(c);
    if (kind < 4) {
        play_upkeep("t");
    } else if (c->cold) {
        return;
    } else if (c->open[0]) {
        /* A native cursor may or may not see what its own connection writes meanwhile: none. */
        if (kind < 60) {
            play_open(c);
        } else {
            play(c, some_read());
        }
    } else if (kind < 10) {
        play_open(c);
    } else if (kind < 11) {
        reopen(c);
    } else if (kind < 40) {
        play(c, some_read());
    } else if (kind < 72) {
        play(c, some_write());
    } else {
        play(c, some_control(c));
    }
}

static void twins_agree(int wal)
{
    int histories = 20 * txn_scale(), steps = 700;

    is_wal = wal;
    statements = refused = stale = 0;
    for (int h = 0; h < histories; h++) {
        int before = check_failures;
        make_worlds();
        for (int i = 0; i < steps && check_failures == before; i++) twin_step();
        for (int i = 0; i < conns && check_failures == before; i++) {
            end_statement(&twins[i]);
            reopen(&twins[i]);
        }
        for (int i = 0; i < conns && check_failures == before; i++)
            play(&twins[i], sqlite3_mprintf("SELECT * FROM t"));
        end_worlds(check_failures != before);
        history = NULL;
        if (check_failures != before) return;
    }
    (void)printf("%ld statements, %ld BUSY, %ld BUSY_SNAPSHOT\n", statements, refused, stale);
}

static void twins_agree_in_wal(void)
{
    twins_agree(1);
}

static void twins_agree_with_a_rollback_journal(void)
{
    twins_agree(0);
}

/* -- pairs ------------------------------------------------------------------------------------- */

typedef struct party {
    sqlite3 *db;
    sqlite3_stmt *open; /* a join half stepped */
    char *seen[2];      /* what this transaction saw of n and t; no write of its own since */
    int64_t counter;    /* as read by this transaction; -1 = not yet */
    int counted;        /* and written back */
    int depth;
    int started; /* number of the transaction's first statement */
} party;

static party parties[CONNS_MAX];
static int64_t committed;
static long looks, too_old;

static void forget(party *p)
{
    for (int i = 0; i < 2; i++) {
        sqlite3_free(p->seen[i]);
        p->seen[i] = NULL;
    }
}

static void note_end(party *p)
{
    if (!sqlite3_get_autocommit(p->db)) return;
    forget(p);
    p->counter = -1;
    p->counted = 0;
    p->depth = 0;
}

/* Any answer but these is wrong. An old view that can no longer be had is BUSY as well. */
static int said(party *p, const char *sql, int rc)
{
    int fine = rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY;

    sqlite3_str_appendf(history, "%d: %s; -- %d\n", (int)(p - parties), sql, rc);
    CHECK(fine);
    if (!fine) (void)printf("%s: %d (%s)\n", sql, rc, sqlite3_errmsg(p->db));
    return rc;
}

static int tell(party *p, char *sql)
{
    int rc = said(p, sql, run(p->db, "%s", sql));

    sqlite3_free(sql);
    note_end(p);
    return rc;
}

/* Look at n (0) or t (1); both looks of one transaction must agree. */
static void look_at(party *p, int which)
{
    static const char *const looks_like[] = {"SELECT count(*), sum(v), sum(v * (k + 7)) FROM n",
                                             "SELECT count(*), sum(v), sum(v * (k + 7)) FROM t"};
    sqlite3_str *out = sqlite3_str_new(NULL);
    int rc = said(p, looks_like[which], run_rows(p->db, looks_like[which], out));
    char *text = sqlite3_str_finish(out);

    looks++;
    if (rc) {
        too_old++;
        sqlite3_free(text);
        return;
    }
    sqlite3_free(p->seen[which]);
    p->seen[which] = text;
    if (p->seen[0] && p->seen[1]) {
        CHECK(strcmp(p->seen[0], p->seen[1]) == 0);
        if (strcmp(p->seen[0], p->seen[1]) != 0)
            (void)printf("%d: n: %st: %s", (int)(p - parties), p->seen[0], p->seen[1]);
    }
    if (sqlite3_get_autocommit(p->db) && !p->open) forget(p); /* the next has its own snapshot */
}

static void look_in_one_statement(party *p)
{
    static const char *const joins[] = {
        "SELECT count(*) FROM n LEFT JOIN t USING(k) WHERE t.v IS NOT n.v",
        "SELECT count(*) FROM t LEFT JOIN n USING(k) WHERE t.v IS NOT n.v",
        "SELECT (SELECT total(v) FROM t) <> (SELECT total(v) FROM n)",
        "SELECT count(*) FROM (SELECT * FROM n EXCEPT SELECT * FROM t)"};
    const char *sql = joins[check_below(4)];
    int64_t n = number(p->db, sql);

    looks++;
    said(p, sql, n < 0 ? (int)-n : SQLITE_OK);
    CHECK(n <= 0);
}

/* A join that is begun, left, and taken up again while others commit. */
static void step_join(party *p)
{
    static const char *const joins[] = {"SELECT n.v, t.v FROM n CROSS JOIN t USING(k)",
                                        "SELECT n.v, t.v FROM t CROSS JOIN n USING(k)"};
    int rc = SQLITE_ROW;

    if (!p->open) {
        const char *sql = joins[check_below(2)];
        rc = sqlite3_prepare_v2(p->db, sql, -1, &p->open, NULL);
        said(p, sql, rc);
        if (rc) return;
        rc = SQLITE_ROW;
    }
    for (int i = 0; i < 4 && rc == SQLITE_ROW; i++) {
        rc = sqlite3_step(p->open);
        if (rc == SQLITE_ROW)
            CHECK(sqlite3_column_int64(p->open, 0) == sqlite3_column_int64(p->open, 1));
    }
    if (rc == SQLITE_ROW) return;
    said(p, "-- join ended", rc == SQLITE_DONE ? SQLITE_OK : rc);
    (void)sqlite3_finalize(p->open);
    p->open = NULL;
    forget(p);
}

/* The same to both; one of them failed: the transaction is given up. */
static void write_pair(party *p, char *first, char *second)
{
    int rc;

    forget(p);
    rc = tell(p, first);
    if (rc == SQLITE_OK)
        rc = tell(p, second);
    else
        sqlite3_free(second);
    if (rc && !sqlite3_get_autocommit(p->db)) (void)tell(p, sqlite3_mprintf("ROLLBACK"));
}

static void some_pair(party *p)
{
    int k = 1 + (int)check_below(KEYS), v = (int)check_below(1000), b = k + (int)check_below(6);
    const char *a = check_below(2) ? "n" : "t", *z = *a == 'n' ? "t" : "n";

    switch (check_below(4)) {
    case 0:
        write_pair(p, sqlite3_mprintf("DELETE FROM %s WHERE k BETWEEN %d AND %d", a, k, b),
                   sqlite3_mprintf("DELETE FROM %s WHERE k BETWEEN %d AND %d", z, k, b));
        break;
    case 1:
        write_pair(p, sqlite3_mprintf("UPDATE %s SET v = v + 1 WHERE k BETWEEN %d AND %d", a, k, b),
                   sqlite3_mprintf("UPDATE %s SET v = v + 1 WHERE k BETWEEN %d AND %d", z, k, b));
        break;
    default:
        write_pair(p, sqlite3_mprintf("REPLACE INTO %s VALUES(%d, %d, 'p')", a, k, v),
                   sqlite3_mprintf("REPLACE INTO %s VALUES(%d, %d, 'p')", z, k, v));
        break;
    }
}

/* In a transaction: read the counter, later write it back by one more. */
static void count(party *p)
{
    if (p->counted || p->depth) return;
    if (p->counter < 0) {
        int64_t n = number(p->db, check_below(2) ? "SELECT v FROM t WHERE k = 0"
                                                 : "SELECT v FROM n WHERE k = 0");
        said(p, "-- read the counter", n < 0 ? (int)-n : SQLITE_OK);
        p->counter = n < 0 ? -1 : n;
        return;
    }
    write_pair(p, sqlite3_mprintf("UPDATE n SET v = %lld WHERE k = 0", p->counter + 1),
               sqlite3_mprintf("UPDATE t SET v = %lld WHERE k = 0", p->counter + 1));
    if (!sqlite3_get_autocommit(p->db)) p->counted = 1;
}

static void commit(party *p)
{
    int counted = p->counted;

    if (tell(p, sqlite3_mprintf("COMMIT")) == SQLITE_OK) committed += counted;
}

static void savepoints(party *p)
{
    if (p->counted) return; /* so that what is undone need not be counted */
    if (p->depth == 0 || check_below(2)) {
        (void)tell(p, sqlite3_mprintf("SAVEPOINT s%d", p->depth++));
        return;
    }
    forget(p);
    p->depth = 1 + (int)check_below((uint64_t)p->depth);
    (void)tell(p, sqlite3_mprintf("ROLLBACK TO s%d", p->depth - 1));
}

/* One statement alone: what changes both by a trigger, or other tables. */
static void one_statement(party *p)
{
    int k = 1 + (int)check_below(KEYS), v = (int)check_below(1000);

    switch (check_below(4)) {
    case 0:
        (void)tell(p, sqlite3_mprintf("REPLACE INTO u VALUES(%d, " PAD ")", k, pad_size()));
        break;
    case 1:
        (void)tell(p, sqlite3_mprintf("REPLACE INTO x VALUES(%d, %d)", k, v));
        break;
    default:
        (void)tell(p, sqlite3_mprintf("INSERT INTO w VALUES(%d, %d)", k, v));
        break;
    }
}

static void pair_step(void)
{
    party *p = &parties[check_below((uint64_t)conns)];
    int kind = (int)check_below(100), idle = sqlite3_get_autocommit(p->db);

    if (kind < 3) {
        play_upkeep("t");
    } else if (p->open) { /* no writes beside an open cursor */
        if (kind < 70)
            step_join(p);
        else
            look_at(p, (int)check_below(2));
    } else if (kind < 10) {
        step_join(p);
    } else if (kind < 25) {
        look_in_one_statement(p);
    } else if (idle && kind < 60) {
        (void)tell(p, sqlite3_mprintf(kind % 3 ? "BEGIN" : "BEGIN IMMEDIATE"));
    } else if (idle) {
        one_statement(p);
    } else if (kind < 50) {
        look_at(p, (int)check_below(2));
    } else if (kind < 60) {
        count(p);
    } else if (kind < 78) {
        some_pair(p);
    } else if (kind < 84) {
        savepoints(p);
    } else if (kind < 95) {
        commit(p);
    } else {
        (void)tell(p, sqlite3_mprintf("ROLLBACK"));
    }
}

static void make_pairs(void)
{
    txn_folder(folder);
    upkeep = txn_open(folder, "pairs.db");
    CHECK_SQL(upkeep, SQLITE_OK, "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF",
              is_wal ? "WAL" : "DELETE");
    CHECK_SQL(upkeep, SQLITE_OK,
              "CREATE TABLE n(k INTEGER PRIMARY KEY, v, pad); CREATE TABLE x(k INTEGER PRIMARY "
              "KEY, v); CREATE TABLE w(k, v);"
              "CREATE VIRTUAL TABLE t USING fastkv(k INTEGER PRIMARY KEY, v, pad, memory = '1MB');"
              "CREATE VIRTUAL TABLE u USING fastkv(k INTEGER PRIMARY KEY, v);"
              "CREATE TRIGGER tr AFTER INSERT ON w BEGIN REPLACE INTO n VALUES(new.k, new.v, 'w');"
              "REPLACE INTO t VALUES(new.k, new.v, 'w'); END;"
              "BEGIN; INSERT INTO n VALUES(0, 0, 'c'); INSERT INTO t VALUES(0, 0, 'c'); COMMIT");
    conns = 2 + (int)check_below(CONNS_MAX - 1);
    for (int i = 0; i < conns; i++) {
        parties[i] = (party){.db = txn_open(folder, "pairs.db"), .counter = -1};
        CHECK_SQL(parties[i].db, SQLITE_OK, "PRAGMA synchronous = OFF");
    }
    history = sqlite3_str_new(NULL);
    committed = 0;
}

static void end_pairs(int failed)
{
    char *text;

    for (int i = 0; i < conns; i++) {
        (void)sqlite3_finalize(parties[i].open);
        forget(&parties[i]);
        CHECK_CLOSE(parties[i].db);
    }
    CHECK_NUMBER(upkeep, "SELECT v FROM n WHERE k = 0", committed);
    CHECK_NUMBER(upkeep, "SELECT v FROM t WHERE k = 0", committed);
    CHECK_CLOSE(upkeep);
    text = sqlite3_str_finish(history);
    history = NULL;
    if (failed) (void)printf("%s-- in %s\n", text, is_wal ? "WAL" : "DELETE");
    sqlite3_free(text);
    txn_remove(folder);
}

static void pairs_are_equal(int wal)
{
    int histories = 20 * txn_scale(), steps = 700;
    int64_t all = 0;

    is_wal = wal;
    looks = too_old = 0;
    for (int h = 0; h < histories; h++) {
        int before = check_failures;
        make_pairs();
        for (int i = 0; i < steps && check_failures == before; i++) pair_step();
        all += committed;
        end_pairs(check_failures != before);
        if (check_failures != before) return;
    }
    (void)printf("%ld looks, %ld too late, counted to %" PRId64 "\n", looks, too_old, all);
}

static void pairs_are_equal_in_wal(void)
{
    pairs_are_equal(1);
}

static void pairs_are_equal_with_a_rollback_journal(void)
{
    pairs_are_equal(0);
}

TEST_MAIN("test_isolation", TEST_CASE(twins_agree_in_wal),
          TEST_CASE(twins_agree_with_a_rollback_journal), TEST_CASE(pairs_are_equal_in_wal),
          TEST_CASE(pairs_are_equal_with_a_rollback_journal))
