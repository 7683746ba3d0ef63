/*
** The two phases of a commit, each thing that can come between them by name.
**
** SQLite calls xSync, then its own commit, then xCommit. In between it may be refused (a reader
** holds the file), vetoed (commit hook, foreign key), fail (I/O), or the process may die; and a
** transaction may touch the database in ways that no row shows. In all of these the native rows
** and the fastkv rows of a transaction have to be there together or be gone together.
**
** What is looked at. both(db, k): the row k is in native table n and in fastkv table f, or in
** neither. marker(db): the id in table fastkv_commit, which has to change exactly with those
** transactions that changed both (host.c).
*/
#include "txn_util.h"

#include "io_hook.h"

static char folder[PATH_ROOM];
static const char *const both_modes[] = {"WAL", "DELETE"};

/* A database with a native table n and a fastkv table f, two rows in each. */
static sqlite3 *begin_test(const char *journal)
{
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "PRAGMA journal_mode = %s; CREATE TABLE n(k INTEGER PRIMARY KEY, v);"
              "CREATE TABLE m(k INTEGER PRIMARY KEY, v);"
              "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v);"
              "BEGIN; INSERT INTO n VALUES(1, 'a'), (2, 'b'); INSERT INTO f VALUES(1, 'a'), "
              "(2, 'b'); COMMIT; BEGIN; INSERT INTO f VALUES(0, 0); COMMIT; DELETE FROM f "
              "WHERE k = 0",
              journal);
    return db;
}

static sqlite3 *another(void)
{
    return txn_open(folder, "a.db");
}

static void end_test(sqlite3 *db)
{
    io_hook = NULL;
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* 1: key k is in both tables, 0: in neither, -1: in one of them. */
static int both(sqlite3 *db, int k)
{
    char sql[100];
    int64_t n, f;

    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM n WHERE k = %d", k);
    n = number(db, sql);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM f WHERE k = %d", k);
    f = number(db, sql);
    return n == 1 && f == 1 ? 1 : n == 0 && f == 0 ? 0 : -1;
}

static int64_t marker(sqlite3 *db)
{
    char *hex = NULL;
    sqlite3_stmt *s = NULL;
    int64_t n = 0;

    if (sqlite3_prepare_v2(db, "SELECT hex(id) FROM fastkv_commit", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        hex = sqlite3_mprintf("%s", sqlite3_column_text(s, 0));
        for (int i = 14; hex && strlen(hex) == 16 && i >= 0; i -= 2) {
            char byte[3] = {hex[i], hex[i + 1], 0};
            n = n << 8 | (int64_t)strtol(byte, NULL, 16);
        }
    }
    sqlite3_free(hex);
    (void)sqlite3_finalize(s);
    return n;
}

/* What a process finds that has seen nothing of all this. */
typedef struct expectation {
    int k, present;
} expectation;

static int look_from_afar(void *arg)
{
    const expectation *e = arg;
    sqlite3 *db = another();

    CHECK(both(db, e->k) == e->present);
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('integrity-check')");
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; INSERT INTO n VALUES(777, 0); INSERT INTO f VALUES(777, 0); COMMIT");
    CHECK(both(db, 777) == 1);
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM n WHERE k = 777; DELETE FROM f WHERE k = 777");
    CHECK_CLOSE(db);
    return check_failures != 0;
}

/* -- COMMIT refused ---------------------------------------------------------------------------- */

/* COMMIT is answered with BUSY because of a reader; `more` follows; then COMMIT again. */
static void refused_then(const char *first, const char *more, const char *last, int present)
{
    sqlite3 *db = begin_test("DELETE"), *reader = another(), *third;

    CHECK_SQL(reader, SQLITE_OK, "BEGIN; SELECT * FROM n");
    CHECK_SQL(db, SQLITE_OK, "BEGIN; %s", first);
    CHECK_SQL(db, SQLITE_BUSY, "COMMIT");
    CHECK(!sqlite3_get_autocommit(db));
    CHECK_SQL(db, SQLITE_BUSY, "COMMIT");
    CHECK(both(reader, 5) == 0);
    CHECK_SQL(db, SQLITE_OK, "%s", more);
    CHECK_SQL(reader, SQLITE_OK, "COMMIT");
    CHECK_SQL(db, SQLITE_OK, "%s", last);
    CHECK(both(db, 5) == present);
    CHECK(both(reader, 5) == present);
    third = another();
    CHECK(both(third, 5) == present);
    CHECK_CLOSE(third);
    CHECK_CLOSE(reader);
    end_test(db);
}

#define ROW_N "INSERT INTO n VALUES(5, 'x');"
#define ROW_F "INSERT INTO f VALUES(5, 'x');"

static void commit_refused_and_retried(void)
{
    refused_then(ROW_N ROW_F, "", "COMMIT", 1);
    refused_then(ROW_F ROW_N, "", "COMMIT", 1);
}

static void refused_unmixed_becomes_mixed(void)
{
    refused_then(ROW_F, ROW_N, "COMMIT", 1);
    refused_then(ROW_F, ROW_N "INSERT INTO f VALUES(6, 'y')", "COMMIT", 1);
}

static void refused_then_native_part_undone(void)
{
    refused_then("SAVEPOINT s;" ROW_N ROW_F, "ROLLBACK TO s", "COMMIT", 0);
    refused_then(ROW_F "SAVEPOINT s; INSERT INTO n VALUES(6, 'x')", "ROLLBACK TO s;" ROW_N,
                 "COMMIT", 1);
    refused_then("SAVEPOINT s;" ROW_N "DELETE FROM f;" ROW_F,
                 "ROLLBACK TO s; UPDATE f SET v = 'z' WHERE k = 1", "COMMIT", 0);
}

static void refused_then_rolled_back(void)
{
    refused_then(ROW_N ROW_F, "ROLLBACK", "SELECT 1", 0);
    refused_then(ROW_F, "ROLLBACK", "SELECT 1", 0);
}

/* Only the reader's patience decides: an autocommit statement is undone at once. */
static void refused_autocommit_is_undone(void)
{
    sqlite3 *db = begin_test("DELETE"), *reader = another();

    CHECK_SQL(db, SQLITE_OK,
              "CREATE TRIGGER tr AFTER INSERT ON n BEGIN INSERT INTO f VALUES(new.k, new.v); END");
    CHECK_SQL(reader, SQLITE_OK, "BEGIN; SELECT * FROM n");
    CHECK_SQL(db, SQLITE_BUSY, ROW_N);
    CHECK_SQL(db, SQLITE_BUSY, ROW_F);
    CHECK(sqlite3_get_autocommit(db));
    CHECK(both(db, 5) == 0);
    CHECK_SQL(reader, SQLITE_OK, "COMMIT");
    CHECK_SQL(db, SQLITE_OK, ROW_N);
    CHECK(both(reader, 5) == 1);
    CHECK_CLOSE(reader);
    end_test(db);
}

/* -- COMMIT refused, then the process dies ----------------------------------------------------- */

static int refused_and_dead(void *arg)
{
    const char *sql = arg;
    sqlite3 *db = another(), *reader = another();

    CHECK_SQL(reader, SQLITE_OK, "BEGIN; SELECT * FROM n");
    CHECK_SQL(db, SQLITE_OK, "BEGIN; %s", sql);
    CHECK_SQL(db, SQLITE_BUSY, "COMMIT");
    return check_failures != 0; /* nothing is closed */
}

static void refused_then_killed(void)
{
    char *const cases[] = {ROW_N ROW_F, ROW_F ROW_N, ROW_F,
                           "DELETE FROM f WHERE k = 5;" ROW_N "UPDATE f SET v = 'never'"};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expectation gone = {5, 0};
        sqlite3 *db = begin_test("DELETE");
        CHECK_CLOSE(db);
        CHECK(in_child(refused_and_dead, cases[i]) == 0);
        CHECK(in_child(look_from_afar, &gone) == 0);
        db = another();
        CHECK_NUMBER(db, "SELECT count(*) FROM f WHERE v = 'never'", 0);
        end_test(db);
    }
}

/* -- vetoes ------------------------------------------------------------------------------------ */

static int veto(void *vetoes)
{
    int *left = vetoes;

    return (*left)-- > 0;
}

static void commit_hook_vetoes(void)
{
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = begin_test(both_modes[i]), *other = another();
        int64_t before = marker(db);
        int vetoes = 2;
        (void)sqlite3_commit_hook(db, veto, &vetoes);
        CHECK_SQL(db, SQLITE_CONSTRAINT_COMMITHOOK, "BEGIN;" ROW_N ROW_F "COMMIT");
        CHECK(sqlite3_get_autocommit(db));
        CHECK(both(db, 5) == 0);
        CHECK(both(other, 5) == 0);
        CHECK(marker(db) == before);
        CHECK_SQL(db, SQLITE_CONSTRAINT_COMMITHOOK, ROW_F);
        CHECK(both(db, 5) == 0);
        CHECK_SQL(db, SQLITE_OK, "BEGIN;" ROW_N ROW_F "COMMIT");
        CHECK(both(other, 5) == 1);
        CHECK(marker(db) > before);
        CHECK_CLOSE(other);
        end_test(db);
    }
}

static void deferred_foreign_key(void)
{
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = begin_test(both_modes[i]), *other = another();
        CHECK_SQL(db, SQLITE_OK,
                  "CREATE TABLE c(p REFERENCES n DEFERRABLE INITIALLY DEFERRED);"
                  "PRAGMA foreign_keys = ON; BEGIN; INSERT INTO c VALUES(5);" ROW_F);
        CHECK_SQL(db, SQLITE_CONSTRAINT_FOREIGNKEY, "COMMIT");
        CHECK(!sqlite3_get_autocommit(db));
        CHECK(both(other, 5) == 0);
        CHECK_SQL(db, SQLITE_OK, ROW_N "COMMIT"); /* mended */
        CHECK(both(other, 5) == 1);
        CHECK_SQL(db, SQLITE_OK,
                  "BEGIN; INSERT INTO c VALUES(6); INSERT INTO f VALUES(6, 'x');"
                  "INSERT INTO n VALUES(7, 'x')");
        CHECK_SQL(db, SQLITE_CONSTRAINT_FOREIGNKEY, "COMMIT");
        CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
        CHECK(both(db, 6) == 0 && both(other, 7) == 0);
        CHECK_CLOSE(other);
        end_test(db);
    }
}

/* -- the host fails between the phases --------------------------------------------------------- */

static struct {
    int after; /* operations that still work */
    int failed;
    int stays; /* all later ones fail as well */
} broken;

static int break_host(const io_event *e)
{
    if (!io_is_host(e)) return 0;
    if (broken.after-- > 0) return 0;
    if (broken.after < -1 && !broken.stays) return 0;
    broken.failed++;
    return EIO;
}

static void undo_if_open(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db)) CHECK_SQL(db, SQLITE_OK, "ROLLBACK");
}

/* The nth operation of the host in COMMIT fails. What it left must be whole, and all must go on.
** 0: COMMIT has fewer operations. */
static int commit_with_failure(const char *journal, const char *level, int n, int stays)
{
    sqlite3 *db = begin_test(journal), *other = another();
    int before = check_failures, rc, seen;

    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = %s", level);
    CHECK_SQL(db, SQLITE_OK, "BEGIN;" ROW_N ROW_F);
    broken.after = n;
    broken.failed = 0;
    broken.stays = stays;
    io_hook = break_host;
    rc = run(db, "COMMIT");
    io_hook = NULL;
    undo_if_open(db);
    seen = both(db, 5);
    CHECK(seen >= 0);
    if (rc == SQLITE_OK) CHECK(seen == 1);
    CHECK(both(other, 5) == seen);
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; INSERT INTO n VALUES(6, 'y'); INSERT INTO f VALUES(6, 'y'); COMMIT");
    CHECK(both(other, 6) == 1 && both(other, 5) == seen);
    CHECK_SQL(other, SQLITE_OK, "INSERT INTO f VALUES(7, 'y')");
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    {
        expectation e = {5, seen};
        CHECK(in_child(look_from_afar, &e) == 0);
    }
    if (check_failures != before) {
        (void)printf("journal_mode=%s synchronous=%s: operation %d of COMMIT failed%s, COMMIT gave "
                     "%d, row in both: %d\n",
                     journal, level, n + 1, stays ? " and all later" : "", rc, seen);
    }
    txn_remove(folder);
    return broken.failed != 0;
}

static void host_fails_in_commit(void)
{
    static const char *const journals[] = {"WAL", "DELETE", "TRUNCATE", "PERSIST"};
    static const char *const levels[] = {"NORMAL", "FULL", "EXTRA"};
    int points = 0;

    for (int i = 0; i < 24; i++) {
        for (int n = (int)check_below(STEP); n < 60; n += STEP) {
            if (!commit_with_failure(journals[i % 4], levels[i / 4 % 3], n, i >= 12)) break;
            points++;
        }
    }
    (void)printf("%d failures of the host in COMMIT\n", points);
}

/* The host fails, and then the process dies without another word. */
static int fail_and_die(void *arg)
{
    const char *journal = arg;
    sqlite3 *db = another();

    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = %s; PRAGMA synchronous = FULL", journal);
    CHECK_SQL(db, SQLITE_OK, "BEGIN;" ROW_N ROW_F);
    io_hook = break_host;
    (void)run(db, "COMMIT");
    _exit(check_failures ? 1 : broken.failed ? 2 : 0);
}

static int look_whole(void *unused)
{
    sqlite3 *db = another();

    (void)unused;
    CHECK(both(db, 5) >= 0);
    CHECK_CLOSE(db);
    return check_failures != 0;
}

static void host_fails_and_the_process_dies(void)
{
    static char journals[][9] = {"WAL", "DELETE", "TRUNCATE", "PERSIST"};
    int points = 0;

    for (int i = 0; i < 8; i++) {
        int ended = 2;
        for (int n = (int)check_below(STEP); ended == 2 && n < 60; n += STEP) {
            CHECK_CLOSE(begin_test(journals[i % 4]));
            broken.after = n;
            broken.failed = 0;
            broken.stays = i >= 4;
            ended = in_child(fail_and_die, journals[i % 4]);
            CHECK(ended != 1);
            CHECK(in_child(look_whole, NULL) == 0);
            points += ended == 2;
            txn_remove(folder);
        }
    }
    (void)printf("%d failures of the host, then death\n", points);
}

/* -- what changes the database without a row of a table ---------------------------------------- */

/* After `sql`, which is one transaction, has the marker moved? */
static void marker_moves(const char *journal, const char *before, const char *sql, int expected)
{
    sqlite3 *db = begin_test(journal);
    int64_t old;
    int failures = check_failures;

    CHECK_SQL(db, SQLITE_OK, "%s", before);
    old = marker(db);
    CHECK_SQL(db, SQLITE_OK, "%s", sql);
    if (expected) {
        CHECK(marker(db) > old);
    } else {
        CHECK(marker(db) == old);
    }
    if (check_failures != failures) (void)printf("%s: %s\n", journal, sql);
    end_test(db);
}

#define LOOK "BEGIN; UPDATE f SET v = 1 WHERE k = 1; COMMIT;"

static void fastkv_alone_leaves_no_marker(void)
{
    for (int i = 0; i < 2; i++) {
        marker_moves(both_modes[i], "SELECT 1", ROW_F, 0);
        marker_moves(both_modes[i], LOOK, "BEGIN;" ROW_F "COMMIT", 0);
        marker_moves(both_modes[i], LOOK, "BEGIN; SELECT * FROM n, f;" ROW_F "COMMIT", 0);
        marker_moves(both_modes[i], LOOK "INSERT INTO n VALUES(6, 0);", ROW_F, 0);
    }
}

static void triggers_write_in_autocommit(void)
{
    static const char trigger[] =
        "CREATE TRIGGER i AFTER INSERT ON n BEGIN INSERT INTO f VALUES(new.k, new.v); END;"
        "CREATE TRIGGER u AFTER UPDATE ON n BEGIN UPDATE f SET v = new.v WHERE k = new.k; END;"
        "CREATE TRIGGER d AFTER DELETE ON n BEGIN DELETE FROM f WHERE k = old.k; END;";

    for (int i = 0; i < 2; i++) {
        marker_moves(both_modes[i], trigger, ROW_N, 1);
        marker_moves(both_modes[i], trigger, "UPDATE n SET v = 'new'", 1);
        marker_moves(both_modes[i], trigger, "DELETE FROM n WHERE k = 2", 1);
        marker_moves(both_modes[i], trigger, "BEGIN; DELETE FROM n; COMMIT", 1);
    }
}

static void page_one_alone_counts(void)
{
    for (int i = 0; i < 2; i++) {
        const char *mode = both_modes[i];
        marker_moves(mode, LOOK, "BEGIN; PRAGMA user_version = 5;" ROW_F "COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "PRAGMA user_version = 5; COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "PRAGMA application_id = 5; COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "CREATE VIEW w AS SELECT 1; COMMIT", 1);
    }
}

/* 0 → 7 by a transaction of its own, then back to 0 in one with fastkv rows. */
static void page_one_goes_there_and_back(void)
{
    for (int i = 0; i < 2; i++)
        marker_moves(both_modes[i], LOOK "PRAGMA user_version = 7;",
                     "BEGIN;" ROW_F "PRAGMA user_version = 0; COMMIT", 1);
}

static void native_ddl_counts(void)
{
    for (int i = 0; i < 2; i++) {
        const char *mode = both_modes[i];
        marker_moves(mode, LOOK, "BEGIN; CREATE TABLE x(a);" ROW_F "COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "DROP TABLE n; COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "CREATE INDEX x ON n(v); COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN;" ROW_F "ALTER TABLE n RENAME COLUMN v TO w; COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN; ANALYZE;" ROW_F "COMMIT", 1);
        marker_moves(mode, LOOK, "BEGIN; CREATE TABLE x(a); DROP TABLE n;" ROW_F "COMMIT", 1);
    }
}

static void blob_write_counts(void)
{
    for (int i = 0; i < 4; i++) {
        sqlite3 *db = begin_test(both_modes[i % 2]);
        sqlite3_blob *blob = NULL;
        int64_t old;
        CHECK_SQL(db, SQLITE_OK, LOOK "BEGIN;" ROW_F);
        old = marker(db);
        CHECK(sqlite3_blob_open(db, "main", "n", "v", 1, 1, &blob) == SQLITE_OK);
        CHECK(sqlite3_blob_write(blob, "z", 1, 0) == SQLITE_OK);
        if (i < 2) CHECK(sqlite3_blob_close(blob) == SQLITE_OK);
        if (i >= 2) { /* a handle for writing holds up the COMMIT */
            CHECK_SQL(db, SQLITE_BUSY, "COMMIT");
            CHECK(sqlite3_blob_close(blob) == SQLITE_OK);
        }
        CHECK_SQL(db, SQLITE_OK, "COMMIT");
        CHECK(marker(db) > old);
        CHECK_NUMBER(db, "SELECT v = 'z' FROM n WHERE k = 1", 1);
        end_test(db);
    }
}

#define BIG                                                                                        \
    "WITH RECURSIVE c(i) AS (VALUES(100) UNION ALL SELECT i + 1 FROM c WHERE i < 500) "            \
    "INSERT INTO m SELECT i, zeroblob(3000) FROM c;"

static void spilled_pages_count(void)
{
    for (int i = 0; i < 2; i++) {
        const char *mode = both_modes[i], *small = LOOK "PRAGMA cache_size = 5;";
        marker_moves(mode, small, "BEGIN;" BIG ROW_F "COMMIT", 1);
        marker_moves(mode, small, "BEGIN;" ROW_F BIG "COMMIT", 1);
        marker_moves(mode, small, "BEGIN;" BIG "SELECT count(*) FROM m, n;" ROW_F "COMMIT", 1);
        /* An earlier transaction's may count for a while, but not for ever. */
        marker_moves(mode, LOOK "PRAGMA cache_size = 5;" BIG LOOK LOOK, "BEGIN;" ROW_F "COMMIT", 0);
    }
}

/* The application writes the pages itself, before fastkv looks for any. */
static void pages_flushed_by_the_application_count(void)
{
    for (int i = 0; i < 4; i++) {
        sqlite3 *db = begin_test(both_modes[i % 2]);
        int64_t old;
        CHECK_SQL(db, SQLITE_OK, LOOK);
        old = marker(db);
        CHECK_SQL(db, SQLITE_OK, i < 2 ? "BEGIN;" ROW_N : "BEGIN;" ROW_F ROW_N);
        CHECK(sqlite3_db_cacheflush(db) == SQLITE_OK);
        if (i < 2) CHECK_SQL(db, SQLITE_OK, ROW_F);
        CHECK_SQL(db, SQLITE_OK, "COMMIT");
        CHECK(marker(db) > old);
        end_test(db);
    }
}

/* Pages that a statement under way holds cannot be flushed. */
static void pages_in_use_count(void)
{
    static const char *const readers[] = {"SELECT * FROM n", "SELECT * FROM f, n",
                                          "SELECT * FROM sqlite_schema"};

    for (int i = 0; i < 12; i++) {
        sqlite3 *db = begin_test(both_modes[i % 2]);
        sqlite3_stmt *s = NULL;
        int64_t old;
        CHECK_SQL(db, SQLITE_OK,
                  LOOK "CREATE TRIGGER u AFTER UPDATE ON n BEGIN "
                       "UPDATE f SET v = new.v WHERE k = new.k; END");
        old = marker(db);
        CHECK(sqlite3_prepare_v2(db, readers[i / 4], -1, &s, NULL) == SQLITE_OK);
        CHECK(sqlite3_step(s) == SQLITE_ROW);
        CHECK_SQL(db, SQLITE_OK,
                  i / 2 % 2 ? "UPDATE n SET v = 'c' WHERE k = 1"
                            : "BEGIN; UPDATE n SET v = 'c' WHERE k = 1; COMMIT");
        CHECK(marker(db) > old);
        CHECK(sqlite3_step(s) == SQLITE_ROW);
        (void)sqlite3_finalize(s);
        end_test(db);
    }
}

/* -- a process that dies behind the host's commit ---------------------------------------------- */

static struct {
    int go[2];     /* a pipe: wait until it is closed */
    int hooked;    /* COMMIT has passed the commit hook */
    int die_early; /* in xSync, else in xCommit */
} dying;

static int note_hook(void *unused)
{
    (void)unused;
    dying.hooked = 1;
    return 0;
}

static int die_at_the_store(const io_event *e)
{
    if (!io_is_host(e) && dying.hooked) _exit(77);
    if (io_is_host(e) && dying.die_early && e->op == IO_WRITE) _exit(77);
    return 0;
}

static int commit_and_die(void *unused)
{
    char byte;
    sqlite3 *db;

    (void)unused;
    (void)close(dying.go[1]);
    if (read(dying.go[0], &byte, 1) != 0) return 1;
    db = another();
    (void)sqlite3_commit_hook(db, note_hook, NULL);
    if (run(db, "BEGIN;" ROW_N ROW_F)) return 1;
    io_hook = die_at_the_store;
    (void)run(db, "COMMIT");
    return 1; /* it should not have come so far */
}

/* A connection that holds an old snapshot opens the store after somebody else's death. */
static void opened_under_an_old_snapshot(int die_early, const char *first_look)
{
    sqlite3 *db = begin_test("WAL");
    int status = -1;
    int64_t old;
    pid_t child;

    CHECK_CLOSE(db);
    dying.die_early = die_early;
    dying.hooked = 0;
    REQUIRE(pipe(dying.go) == 0);
    (void)fflush(stdout);
    child = fork();
    if (child == 0) _exit(commit_and_die(NULL));
    (void)close(dying.go[0]);
    db = another();
    CHECK_SQL(db, SQLITE_OK, "%s", first_look);
    (void)close(dying.go[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 77);
    if (!sqlite3_get_autocommit(db)) {
        CHECK_NUMBER(db, "SELECT count(*) FROM n WHERE k = 5", 0);
        old = number(db, "SELECT count(*) FROM f WHERE k = 5");
        CHECK(old == 0 || old == -SQLITE_BUSY);
        CHECK_SQL(db, SQLITE_OK, "COMMIT");
    }
    CHECK(both(db, 5) == !die_early);
    CHECK_SQL(db, SQLITE_OK, "BEGIN; UPDATE n SET v = 9; UPDATE f SET v = 9; COMMIT");
    end_test(db);
}

static void opened_after_a_crash(void)
{
    for (int early = 0; early < 2; early++) {
        opened_under_an_old_snapshot(early, "BEGIN; SELECT * FROM n");
        opened_under_an_old_snapshot(early, "BEGIN; SELECT * FROM sqlite_schema");
        opened_under_an_old_snapshot(early, "SELECT * FROM n");
    }
}

/* -- the user has laid hands on fastkv_commit -------------------------------------------------- */

static void after_tampering(const char *journal, const char *sql)
{
    sqlite3 *db = begin_test(journal), *other = another();
    int failures = check_failures, status = -1;
    pid_t child;

    CHECK(both(other, 1) == 1);
    CHECK_SQL(db, SQLITE_OK, "%s", sql);
    CHECK(both(other, 1) == 1);
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; INSERT INTO n VALUES(6, 0); INSERT INTO f VALUES(6, 0);"
              "COMMIT");
    CHECK(both(db, 6) == 1 && both(other, 6) == 1);
    CHECK_SQL(other, SQLITE_OK,
              "BEGIN; DELETE FROM f WHERE k = 6; DELETE FROM n WHERE k = 6;"
              "COMMIT");
    CHECK(both(db, 6) == 0);
    CHECK_SQL(db, SQLITE_OK, "%s", sql);
    CHECK_CLOSE(other);
    CHECK_CLOSE(db);
    dying.die_early = dying.hooked = 0;
    REQUIRE(pipe(dying.go) == 0);
    (void)fflush(stdout);
    child = fork();
    if (child == 0) _exit(commit_and_die(NULL));
    (void)close(dying.go[0]);
    (void)close(dying.go[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 77);
    db = another();
    CHECK(both(db, 5) == 1);
    if (check_failures != failures) (void)printf("%s: %s\n", journal, sql);
    end_test(db);
}

static void marker_table_dropped_or_emptied(void)
{
    for (int i = 0; i < 2; i++) {
        after_tampering(both_modes[i], "DROP TABLE IF EXISTS fastkv_commit");
        after_tampering(both_modes[i], "DELETE FROM fastkv_commit");
        after_tampering(both_modes[i], "UPDATE fastkv_commit SET id = zeroblob(8)");
    }
}

static void marker_row_spoilt(void)
{
    for (int i = 0; i < 2; i++) {
        after_tampering(both_modes[i], "UPDATE fastkv_commit SET id = NULL");
        after_tampering(both_modes[i], "UPDATE fastkv_commit SET id = 'short'");
        after_tampering(both_modes[i], "UPDATE OR IGNORE fastkv_commit SET rowid = 2");
    }
}

TEST_MAIN("test_two_phase", TEST_CASE(commit_refused_and_retried),
          TEST_CASE(refused_unmixed_becomes_mixed), TEST_CASE(refused_then_native_part_undone),
          TEST_CASE(refused_then_rolled_back), TEST_CASE(refused_autocommit_is_undone),
          TEST_CASE(refused_then_killed), TEST_CASE(commit_hook_vetoes),
          TEST_CASE(deferred_foreign_key), TEST_CASE(host_fails_in_commit),
          TEST_CASE(host_fails_and_the_process_dies), TEST_CASE(fastkv_alone_leaves_no_marker),
          TEST_CASE(triggers_write_in_autocommit), TEST_CASE(page_one_alone_counts),
          TEST_CASE(page_one_goes_there_and_back), TEST_CASE(native_ddl_counts),
          TEST_CASE(blob_write_counts), TEST_CASE(spilled_pages_count),
          TEST_CASE(pages_flushed_by_the_application_count), TEST_CASE(pages_in_use_count),
          TEST_CASE(opened_after_a_crash), TEST_CASE(marker_table_dropped_or_emptied),
          TEST_CASE(marker_row_spoilt))
