/* workload_sql.c -- what is measured through SQL only: the same statements for both tables, but for
** deleting a prefix, which is a command of fastkv's and a range of keys for a native table. */
#include "bench.h"

#include <inttypes.h>
#include <sqlite3.h>

static void exec(void *db, const char *sql)
{
    char *error = NULL;

    if (sqlite3_exec(sql_handle(db), sql, NULL, NULL, &error)) bench_fail("%s: %s", sql, error);
}

static sqlite3_stmt *prepare(void *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(sql_handle(db), sql, -1, &stmt, NULL))
        bench_fail("%s: %s", sql, sqlite3_errmsg(sql_handle(db)));
    return stmt;
}

static void step(sqlite3_stmt *stmt, int expected)
{
    int rc = sqlite3_step(stmt);

    if (rc == expected) return;
    bench_fail("%s: step gave %d, wanted %d (%s)", sqlite3_sql(stmt), rc, expected,
               sqlite3_errmsg(sqlite3_db_handle(stmt)));
}

static peer_slice column(sqlite3_stmt *stmt, int i)
{
    const void *data = sqlite3_column_blob(stmt, i);

    return (peer_slice){data, (size_t)sqlite3_column_bytes(stmt, i)};
}

static uint64_t count_rows(void *db)
{
    sqlite3_stmt *stmt = prepare(db, "SELECT count(*) FROM kv");
    uint64_t count;

    step(stmt, SQLITE_ROW);
    count = (uint64_t)sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return count;
}

static void check_count(void *db, uint64_t wanted)
{
    uint64_t count = count_rows(db);

    if (count != wanted) bench_fail("count(*) is %" PRIu64 ", wanted %" PRIu64, count, wanted);
}

static double timed(void *db, const char *sql)
{
    double start = bench_now();

    exec(db, sql);
    return bench_now() - start;
}

/* -- bulk load ------------------------------------------------------------------------------ */

/* Rows in the order of their keys, in an ordinary table of a database of its own. */
static void make_source(const char *path, uint64_t rows)
{
    sqlite3_stmt *stmt;
    sqlite3 *db;
    bench_row row;

    if (sqlite3_open(path, &db) ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                     "CREATE TABLE source(key TEXT, value BLOB); BEGIN",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(db, "INSERT INTO source VALUES(?1, ?2)", -1, &stmt, NULL))
        bench_fail("%s: %s", path, sqlite3_errmsg(db));
    for (uint64_t n = 0; n < rows; n++) {
        row_key(&row, n, 0);
        row_value(&row, n);
        (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
        (void)sqlite3_bind_blob(stmt, 2, row.value, VALUE_BYTES, SQLITE_STATIC);
        step(stmt, SQLITE_DONE);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) || sqlite3_close(db))
        bench_fail("%s: %s", path, sqlite3_errmsg(db));
}

/* Every value of the bulk load, in order. */
static void check_loaded(void *db, uint64_t rows)
{
    sqlite3_stmt *stmt = prepare(db, "SELECT value FROM kv ORDER BY key");

    for (uint64_t n = 0; n < rows; n++) {
        step(stmt, SQLITE_ROW);
        row_check(column(stmt, 0), n);
    }
    step(stmt, SQLITE_DONE);
    (void)sqlite3_finalize(stmt);
}

/* Keys of a bulk load begin with eight zeros; those of others with other digits, which stay. */
#define PREFIX_ROWS ((uint64_t)1 << 32)

static void delete_prefix(const bench_run *r, void *db)
{
    enum { STAYING = 1000 };

    r->ops->begin(db);
    for (uint64_t n = 0; n < STAYING; n++) {
        bench_row row;
        row_key(&row, PREFIX_ROWS + n, 0);
        row_value(&row, n);
        r->ops->put(db, row.key, row.value);
    }
    r->ops->commit(db);
    r->out->value[DELETE_PREFIX] =
        timed(db, sql_is_native() ? "DELETE FROM kv WHERE key >= '00000000' AND key < '00000001'"
                                  : "INSERT INTO kv(kv, arg) VALUES('delete-prefix', '00000000')");
    check_count(db, STAYING);
}

void sql_load(const bench_run *r)
{
    char path[PATH_SIZE], *sql;
    uint64_t rows = r->o->bulk;
    double took;
    void *db;

    if (rows >= PREFIX_ROWS) bench_fail("BENCH_BULK: too many rows");
    host_path(path, r->o, "source.db");
    (void)remove(path);
    make_source(path, rows);
    host_flush(r->o->dir);
    db = r->ops->open(r->dir);
    sql = sqlite3_mprintf("ATTACH %Q AS source; PRAGMA source.cache_size = -2048", path);
    exec(db, sql);
    sqlite3_free(sql);
    took = timed(db, "INSERT INTO kv(key, value) SELECT key, value FROM source ORDER BY rowid");
    r->out->value[BULK] = (double)rows / took;
    r->out->value[MEMORY_BULK] = host_peak_bytes();
    check_loaded(db, rows);
    delete_prefix(r, db);
    r->ops->close(db);
    (void)remove(path);
}

/* -- reads ---------------------------------------------------------------------------------- */

static double function_reads(const bench_run *r, void *db)
{
    sqlite3_stmt *stmt = prepare(db, "SELECT fastkv_get('kv', ?1)");
    double start = bench_now(), took;
    bench_row row;

    for (uint64_t i = 0; i < r->o->reads; i++) {
        uint64_t n = row_pick(i, r->o->rows);
        row_key(&row, n, 1);
        (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
        step(stmt, SQLITE_ROW);
        row_check(column(stmt, 0), n);
        (void)sqlite3_reset(stmt);
    }
    took = bench_now() - start;
    (void)sqlite3_finalize(stmt);
    return (double)r->o->reads / took;
}

/* A native table with as many rows, each with the key of one; in no order. */
static void make_probe(const bench_run *r, void *db)
{
    sqlite3_stmt *stmt;
    bench_row row;

    exec(db, "CREATE TABLE probe(id INTEGER PRIMARY KEY, key TEXT); BEGIN");
    stmt = prepare(db, "INSERT INTO probe VALUES(?1, ?2)");
    for (uint64_t i = 0; i < r->o->rows; i++) {
        uint64_t n = row_pick(i, r->o->rows);
        row_key(&row, n, 1);
        (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)i);
        (void)sqlite3_bind_text(stmt, 2, row.key, KEY_BYTES, SQLITE_STATIC);
        step(stmt, SQLITE_DONE);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    exec(db, "COMMIT");
}

/* Rows of the native table per second. CROSS JOIN: it is the outer one. */
static double join(const bench_run *r, void *db)
{
    sqlite3_stmt *stmt;
    double start, took;

    make_probe(r, db);
    stmt = prepare(db, "SELECT probe.id, kv.value FROM probe CROSS JOIN kv ON kv.key = probe.key");
    start = bench_now();
    for (uint64_t i = 0; i < r->o->rows; i++) {
        step(stmt, SQLITE_ROW);
        row_check(column(stmt, 1), row_pick((uint64_t)sqlite3_column_int64(stmt, 0), r->o->rows));
    }
    step(stmt, SQLITE_DONE);
    took = bench_now() - start;
    (void)sqlite3_finalize(stmt);
    return (double)r->o->rows / took;
}

void sql_read(const bench_run *r, void *db)
{
    double *value = r->out->value, start = bench_now();

    check_count(db, r->o->rows);
    value[COUNT] = (double)r->o->rows / (bench_now() - start);
    if (!sql_is_native()) {
        value[FUNCTION_ALONE] = function_reads(r, db);
        exec(db, "BEGIN");
        value[FUNCTION_IN_TXN] = function_reads(r, db);
        exec(db, "COMMIT");
    }
    value[JOIN] = join(r, db);
}

void sql_drop(const bench_run *r, void *db)
{
    check_count(db, r->o->rows + r->o->commits + (r->o->syncs / 5 + 1) * 5);
    r->out->value[DROP] = timed(db, "DROP TABLE kv");
}
