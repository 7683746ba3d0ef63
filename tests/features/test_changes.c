/*
** Replaying the change feed gives the same rows.
**
** A copy, a native table, is kept by reading fastkv_changes() from where the last reading ended, in
** pieces of random length, and applying each row. Whatever has been done to the fastkv table since
** (rollbacks, savepoints, range deletions, transactions larger than memory, flushes, compactions,
** reopening, a process that dies, other processes), the two then hold the same.
*/
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

static const char schema[] =
    "CREATE VIRTUAL TABLE f USING fastkv(a TEXT, b, v, w, PRIMARY KEY(a, b), memory = '1MB', "
    "changes = '%s'); CREATE TABLE n(x)";

/* -- the copy ---------------------------------------------------------------------------------- */

/* It has a database of its own: f's must not be in the same transactions. */
typedef struct copy {
    sqlite3 *db;
    int64_t since;
} copy;

static void copy_open(copy *c, const char *folder)
{
    c->since = 0;
    c->db = txn_open(folder, "copy.db");
    CHECK_SQL(c->db, SQLITE_OK,
              "PRAGMA synchronous = OFF; CREATE TABLE c(a TEXT, b, v, w, e, enc, "
              "PRIMARY KEY(a, b)) WITHOUT ROWID");
}

/* One row of the feed. key and value are JSON arrays; one with a BLOB in it would need more. */
static void copy_apply(copy *c, sqlite3_stmt *row)
{
    static const char *const sql[] = {
        "REPLACE INTO c SELECT json_extract(?1, '$[0]'), json_extract(?1, '$[1]'), "
        "json_extract(?2, '$[0]'), json_extract(?2, '$[1]'), ?3, ?4",
        "DELETE FROM c WHERE a = json_extract(?1, '$[0]') AND b = json_extract(?1, '$[1]')",
        "DELETE FROM c WHERE enc >= ?1 AND enc < ?2"};
    const char *op = (const char *)sqlite3_column_text(row, 1);
    int kind = strcmp(op, "put") == 0 ? 0 : strcmp(op, "delete") == 0 ? 1 : 2;
    sqlite3_stmt *s = NULL;

    CHECK(sqlite3_prepare_v2(c->db, sql[kind], -1, &s, NULL) == SQLITE_OK);
    for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++)
        CHECK(sqlite3_bind_value(s, i, sqlite3_column_value(row, i + 1)) == SQLITE_OK);
    CHECK(sqlite3_step(s) == SQLITE_DONE);
    (void)sqlite3_finalize(s);
}

/* Read the feed to its end, in pieces. */
static void copy_follow(copy *c, sqlite3 *db)
{
    int64_t got = 1;

    CHECK_SQL(c->db, SQLITE_OK, "BEGIN");
    while (got) {
        sqlite3_stmt *s = NULL;
        int rc;
        char *sql = sqlite3_mprintf(
            "SELECT seq, op, key, value, expires_at, CASE op WHEN 'put' THEN fastkv_key('f', "
            "json_extract(key, '$[0]'), json_extract(key, '$[1]')) END FROM "
            "fastkv_changes('f', %lld, %d)",
            c->since, 1 + (int)check_below(2000));
        got = 0;
        rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
        CHECK(rc == SQLITE_OK);
        while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
            CHECK(sqlite3_column_int64(s, 0) > c->since);
            c->since = sqlite3_column_int64(s, 0);
            copy_apply(c, s);
            got++;
            rc = SQLITE_OK;
        }
        CHECK(rc == SQLITE_DONE);
        if (rc != SQLITE_DONE) (void)printf("%s\n", sqlite3_errmsg(db));
        (void)sqlite3_finalize(s);
        sqlite3_free(sql);
    }
    CHECK_SQL(c->db, SQLITE_OK, "COMMIT");
}

static char *rows_of(sqlite3 *db, const char *sql)
{
    sqlite3_str *out = sqlite3_str_new(db);

    (void)run_rows(db, sql, out);
    return sqlite3_str_finish(out);
}

static int copy_is_same(copy *c, sqlite3 *db)
{
    char *ours, *theirs;
    int same;

    copy_follow(c, db);
    ours = rows_of(db, "SELECT a, b, v, w, round(expires_at, 3) FROM f ORDER BY a, b");
    theirs = rows_of(c->db, "SELECT a, b, v, w, round(e, 3) FROM c ORDER BY a, b");
    same = strcmp(ours ? ours : "", theirs ? theirs : "") == 0; /* (NULL is no row) */
    sqlite3_free(ours);
    sqlite3_free(theirs);
    return same;
}

static void copy_close(copy *c)
{
    CHECK_CLOSE(c->db);
}

/* -- workloads --------------------------------------------------------------------------------- */

static void one_write(sqlite3 *db)
{
    int a = (int)check_below(6), b = (int)check_below(200), n = (int)check_below(100);

    switch (check_below(12)) {
    case 0:
        (void)run(db, "DELETE FROM f WHERE a = 'k%d' AND b = %d", a, b);
        break;
    case 1:
        (void)run(db, "DELETE FROM f WHERE a = 'k%d' AND b BETWEEN %d AND %d", a, b, b + 9);
        break;
    case 2:
        (void)run(db, "INSERT INTO f(f, arg) VALUES('truncate', 'k%d')", a);
        break;
    case 3:
        (void)run(db,
                  "INSERT INTO f(f, arg) VALUES('delete-range', '[[\"k%d\", %d], [\"k%d\", "
                  "%d.5]]')",
                  a, b, a, b + n);
        break;
    case 4:
        (void)run(db, "UPDATE f SET v = v || '!' WHERE a = 'k%d' AND b < %d", a, n / 10);
        break;
    case 5:
        (void)run(db, "REPLACE INTO f(a, b, v, ttl) VALUES('k%d', %d, 'ttl', 100000)", a, b);
        break;
    case 6:
        (void)run(db, "INSERT OR IGNORE INTO f VALUES('k%d', '%d\"\\', %d.25, 1e999)", a, b, n);
        break;
    default:
        (void)run(db,
                  "WITH RECURSIVE c(i) AS (VALUES(%d) UNION ALL SELECT i + 1 FROM c WHERE i < %d) "
                  "REPLACE INTO f SELECT 'k%d', i, hex(randomblob(20)), NULL FROM c",
                  b, b + n / 8, a);
    }
}

static void large_transaction(sqlite3 *db)
{
    (void)run(db, "BEGIN");
    for (int i = 0; i < 3; i++) {
        (void)run(db,
                  "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 900) "
                  "REPLACE INTO f SELECT 'k%d', i %% 300, hex(randomblob(60)), i FROM c",
                  (int)check_below(6));
        if (i == 0) (void)run(db, "SAVEPOINT s");
        one_write(db);
        if (i == 1 && check_below(2)) (void)run(db, "ROLLBACK TO s");
    }
    (void)run(db, check_below(5) ? "COMMIT" : "ROLLBACK");
}

static void one_transaction(sqlite3 *db)
{
    if (check_below(40) == 0) {
        large_transaction(db);
        return;
    }
    (void)run(db, "BEGIN");
    for (uint64_t i = check_below(5); i-- > 0;) one_write(db);
    if (check_below(3) == 0) (void)run(db, "INSERT INTO n VALUES(1)");
    if (check_below(3) == 0) {
        (void)run(db, "SAVEPOINT s");
        one_write(db);
        if (check_below(2)) (void)run(db, "ROLLBACK TO s");
        one_write(db);
    }
    if (run(db, check_below(6) ? "COMMIT" : "ROLLBACK")) (void)run(db, "ROLLBACK");
    if (check_below(30) == 0) (void)run(db, "INSERT INTO f(f) VALUES('flush')");
    if (check_below(90) == 0) (void)run(db, "INSERT INTO f(f) VALUES('compact')");
}

static void after_random_work(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    copy c;
    int rounds = 12 * txn_scale();

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema, "1GB");
    copy_open(&c, folder);
    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < 25; j++) one_transaction(db);
        if (i % 4 == 1) large_transaction(db);
        if (check_below(3) == 0) {
            CHECK_CLOSE(db);
            db = txn_open(folder, "a.db");
        }
        CHECK(copy_is_same(&c, db));
    }
    /* And once more from the beginning. */
    CHECK_SQL(c.db, SQLITE_OK, "DELETE FROM c");
    c.since = 0;
    CHECK(copy_is_same(&c, db));
    CHECK_NUMBER(db,
                 "SELECT count(*) FROM fastkv_check('f', 'full') WHERE "
                 "severity IN ('warning', 'error')",
                 0);
    copy_close(&c);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* -- what is not kept -------------------------------------------------------------------------- */

static int files_like(const char *folder, const char *pattern)
{
    char command[PATH_ROOM * 2];
    FILE *out;
    int n = -1;

    (void)snprintf(command, sizeof command, "find %s/a.db-fastkv -name '%s' | wc -l", folder,
                   pattern);
    out = popen(command, "r");
    if (out && fscanf(out, "%d", &n) != 1) n = -1;
    if (out) (void)pclose(out);
    return n;
}

static void more_than_is_kept(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    int64_t oldest;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema, "none");
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_changes('f', 0)");
    CHECK(strstr(sqlite3_errmsg(db), "no changes are kept") != NULL);
    CHECK_SQL(db, SQLITE_OK,
              "INSERT INTO f VALUES(1, 1, 1, 1); INSERT INTO f(f) VALUES("
              "'changes=100KB')");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(2, 2, 2, 2)");
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_changes('f', 0)");
    CHECK(strstr(sqlite3_errmsg(db), "not kept any more; the oldest are those after 2") != NULL);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', NULL)", 1);
    CHECK_NUMBER(db, "SELECT seq FROM fastkv_changes('f', 2)", 3);
    CHECK_NUMBER(db, "SELECT count(*) FROM fastkv_changes('f', 3)", 0);
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_changes('f', 4)");
    for (int i = 0; i < 20; i++) {
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(3, %d, zeroblob(40000), 0)", i);
        if (i == 10) large_transaction(db);
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('flush')");
    }
    CHECK(files_like(folder, "*.wal") < 8);
    CHECK(files_like(folder, "*.run") == 0);
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_changes('f', 2)");
    oldest = number(db, "SELECT min(seq) FROM fastkv_changes('f', NULL)");
    CHECK(oldest > 2);
    CHECK(number(db, "SELECT count(*) FROM fastkv_changes('f', NULL)") >= 2);
    CHECK_CLOSE(db);
    db = txn_open(folder, "a.db");
    CHECK(number(db, "SELECT min(seq) FROM fastkv_changes('f', NULL)") == oldest);
    CHECK_SQL(db, SQLITE_ERROR, "INSERT INTO f(f) VALUES('changes=soon')");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('changes=1d')");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('changes=none')");
    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f VALUES(4, 4, 4, 4); INSERT INTO f(f) VALUES('flush')");
    CHECK_SQL(db, SQLITE_ERROR, "SELECT * FROM fastkv_changes('f', NULL)");
    CHECK_CLOSE(db);
    CHECK(files_like(folder, "*.wal") <= 2);
    txn_remove(folder);
}

/* -- processes --------------------------------------------------------------------------------- */

static int write_and_end(void *arg)
{
    sqlite3 *db = txn_open(arg, "a.db");

    (void)sqlite3_busy_timeout(db, 20000);
    io_hook = io_end_there;
    for (int i = 0; i < 30; i++) one_transaction(db);
    (void)sqlite3_close(db);
    return 0;
}

static void processes_that_end(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    copy c;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema, "3600s");
    copy_open(&c, folder);
    for (int i = 0; i < 20 * txn_scale(); i++) {
        if (db) CHECK_CLOSE(db);
        if (c.db) copy_close(&c);
        io_operations = 0;
        io_stop_at = 1 + (long)check_below(150);
        for (int j = 0; j < 7; j++) (void)check_random(); /* the child goes on from here */
        (void)in_child(write_and_end, folder);
        db = txn_open(folder, "a.db");
        c.db = txn_open(folder, "copy.db");
        CHECK(copy_is_same(&c, db));
    }
    copy_close(&c);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void others_write(void)
{
    char folder[PATH_ROOM];
    pid_t children[2];
    sqlite3 *db;
    copy c;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = wal");
    CHECK_SQL(db, SQLITE_OK, schema, "1GB");
    CHECK_CLOSE(db);
    for (int i = 0; i < 2; i++) {
        (void)check_random();
        children[i] = fork();
        if (children[i] == 0) {
            check_seed += (uint64_t)i + 1;
            db = txn_open(folder, "a.db");
            (void)sqlite3_busy_timeout(db, 20000);
            for (int j = 0; j < 80; j++) one_transaction(db);
            (void)sqlite3_close(db);
            _exit(0);
        }
    }
    copy_open(&c, folder);
    db = txn_open(folder, "a.db");
    (void)sqlite3_busy_timeout(db, 20000);
    for (int left = 2; left;) {
        copy_follow(&c, db);
        for (int i = 0; i < 2; i++) {
            if (children[i] > 0 && waitpid(children[i], NULL, WNOHANG) == children[i]) {
                children[i] = 0;
                left--;
            }
        }
    }
    CHECK(copy_is_same(&c, db));
    copy_close(&c);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* The error, or the rows, of a statement. */
static void check_gives(sqlite3 *db, const char *sql, const char *wanted)
{
    sqlite3_str *text = sqlite3_str_new(db);
    char *found;

    if (run_rows(db, sql, text)) sqlite3_str_appendall(text, sqlite3_errmsg(db));
    found = sqlite3_str_finish(text);
    CHECK(found && strcmp(found, wanted) == 0);
    if (found && strcmp(found, wanted) != 0) (void)printf("  %s\n  gave %s\n", sql, found);
    sqlite3_free(found);
}

/* Several columns are a JSON array, of every type; one is what it is; none is NULL. */
static void columns_of_every_type(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "j.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE j USING fastkv(a, b, c, d, PRIMARY KEY(a, b), changes = '1MB');"
              "CREATE VIRTUAL TABLE k USING fastkv(a PRIMARY KEY)");
    CHECK_SQL(db, SQLITE_OK,
              "INSERT INTO j VALUES('q\"\\' || char(10), 9e999, -9e999, NULL);"
              "INSERT INTO j VALUES(-7, x'00ff', 1.5, 'x'); DELETE FROM j WHERE a = -7;"
              "INSERT INTO k VALUES(5)");
    check_gives(db, "SELECT op, key, value, expires_at FROM fastkv_changes('j', -5)",
                "3'put'|3'[\"q\\\"\\\\\\u000a\",9e999]'|3'[-9e999,null]'|NULL\n"
                "3'put'|3'[-7,{\"hex\":\"00ff\"}]'|3'[1.5,\"x\"]'|NULL\n"
                "3'delete'|3'[-7,{\"hex\":\"00ff\"}]'|NULL|NULL\n");
    check_gives(db, "SELECT op, key, value FROM fastkv_changes('k', NULL)", "3'put'|5|NULL\n");
    check_gives(db, "SELECT min(json_valid(key)) FROM fastkv_changes('j', 0)", "1\n");
    check_gives(db, "SELECT count(*) FROM fastkv_changes('j', 0, 2)", "2\n");
    check_gives(db, "SELECT count(*) FROM fastkv_changes('j', 0, 0)", "0\n");
    check_gives(db, "SELECT count(*) FROM fastkv_changes('none', 0)",
                "fastkv: there is no fastkv table \"none\"");
    CHECK_CLOSE(db);
    txn_remove(folder);
}

/* fastkv_key makes the keys that a copy compares with the bounds of a deleted range. */
static void keys_for_a_copy(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "j.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE j USING fastkv(a, b, c, PRIMARY KEY(a, b), changes = '1MB');"
              "CREATE VIRTUAL TABLE kv USING fastkv;"
              "INSERT INTO j VALUES('a', 1, 1), ('b', 1, 1), ('b', 2, 1), ('c', 1, 1);"
              "INSERT INTO j(j, arg) VALUES('delete-prefix', 'b')");
    check_gives(db,
                "SELECT a, b FROM (SELECT 'a' AS a, 1 AS b UNION ALL VALUES('b', 1), ('b', 2), "
                "('c', 1)), fastkv_changes('j', 0) WHERE op = 'delete-range' AND "
                "fastkv_key('j', a, b) >= key AND fastkv_key('j', a, b) < value ORDER BY b",
                "3'b'|1\n3'b'|2\n");
    check_gives(db, "SELECT fastkv_key('j', NULL), fastkv_key('j', 1, NULL)", "NULL|NULL\n");
    check_gives(db, "SELECT fastkv_key('j', 1) < fastkv_key('j', 1, 1)", "1\n");
    check_gives(db, "SELECT fastkv_key('j')",
                "fastkv: the arguments are fastkv_key(table, key\xe2\x80\xa6)");
    check_gives(db, "SELECT fastkv_key('j', 1, 2, 3)", "fastkv: the key of \"j\" has 2 columns");
    check_gives(db, "SELECT fastkv_key('kv', 1, 2)", "fastkv: the key of \"kv\" has 1 column");
    check_gives(db, "SELECT fastkv_key('no', 1)", "fastkv: there is no fastkv table \"no\"");
    check_gives(db, "SELECT fastkv_key(NULL, 1)", "fastkv: a table's name cannot be NULL");
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_changes", TEST_CASE(after_random_work), TEST_CASE(more_than_is_kept),
          TEST_CASE(processes_that_end), TEST_CASE(others_write), TEST_CASE(columns_of_every_type),
          TEST_CASE(keys_for_a_copy))
