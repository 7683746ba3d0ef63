/*
** workload.c -- what the benchmark measures, the same SQL for both engines.
**
** Rows 0 … rows-1 are filled twice: in key order into one database, scattered into another, which
** is then closed, opened again and read. Rows from MISSING up are never written; rows from COMMITS
** up are those of the single-row commits. Every row read is compared with what was written.
*/
#include "bench.h"

#include <inttypes.h>
#include <string.h>

#define MISSING ((uint64_t)1 << 60)
#define COMMITS ((uint64_t)1 << 61)

/* Which rows are read: a sequence scattered over all rows, the same for both engines. */
static uint64_t pick(const bench_options *o, uint64_t i)
{
    return row_mix(i + 12345) % o->rows;
}

static void check_row(sqlite3_stmt *stmt, int column, uint64_t n)
{
    bench_row row;

    row_value(&row, n);
    if (sqlite3_column_bytes(stmt, column) != VALUE_BYTES ||
        memcmp(sqlite3_column_blob(stmt, column), row.value, VALUE_BYTES) != 0)
        bench_fail("%s: the value of row %" PRIu64 " is wrong", sqlite3_sql(stmt), n);
}

static void check_count(bench_host *h, uint64_t wanted)
{
    sqlite3_stmt *stmt = host_prepare(h, "SELECT count(*) FROM kv");

    host_step(h, stmt, SQLITE_ROW);
    if ((uint64_t)sqlite3_column_int64(stmt, 0) != wanted)
        bench_fail("count(*) is %lld, wanted %" PRIu64, sqlite3_column_int64(stmt, 0), wanted);
    (void)sqlite3_finalize(stmt);
}

static void timed_step(bench_host *h, sqlite3_stmt *stmt, double *pause)
{
    double start = bench_now(), took;

    host_step(h, stmt, SQLITE_DONE);
    took = bench_now() - start;
    if (took > *pause) *pause = took;
    (void)sqlite3_reset(stmt);
}

static void put(bench_host *h, sqlite3_stmt *stmt, uint64_t n, int random, double *pause)
{
    bench_row row;

    row_key(&row, n, random);
    row_value(&row, n);
    (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_blob(stmt, 2, row.value, VALUE_BYTES, SQLITE_STATIC);
    timed_step(h, stmt, pause);
}

/* Rows per second; *pause becomes the longest single statement if that is longer. */
static double fill(bench_host *h, const bench_options *o, int random, double *pause)
{
    sqlite3_stmt *begin = host_prepare(h, "BEGIN"), *commit = host_prepare(h, "COMMIT");
    sqlite3_stmt *replace = host_prepare(h, "REPLACE INTO kv(key, value) VALUES(?1, ?2)");
    double start = bench_now(), took;

    for (uint64_t n = 0; n < o->rows; n++) {
        if (n % TXN_ROWS == 0) timed_step(h, begin, pause);
        put(h, replace, n, random, pause);
        if (n % TXN_ROWS == TXN_ROWS - 1 || n + 1 == o->rows) timed_step(h, commit, pause);
    }
    took = bench_now() - start;
    (void)sqlite3_finalize(begin);
    (void)sqlite3_finalize(commit);
    (void)sqlite3_finalize(replace);
    return (double)o->rows / took;
}

static double commit_one(bench_host *h, const bench_options *o)
{
    sqlite3_stmt *replace = host_prepare(h, "REPLACE INTO kv(key, value) VALUES(?1, ?2)");
    double start = bench_now(), took, unused = 0;

    for (uint64_t n = 0; n < o->commits; n++) put(h, replace, COMMITS + n, 1, &unused);
    took = bench_now() - start;
    (void)sqlite3_finalize(replace);
    return (double)o->commits / took;
}

static double point_reads(bench_host *h, const bench_options *o, int in_txn, int missing)
{
    sqlite3_stmt *stmt = host_prepare(h, "SELECT value FROM kv WHERE key = ?1");
    bench_row row;
    double start, took;

    if (in_txn) host_exec(h, "BEGIN");
    start = bench_now();
    for (uint64_t i = 0; i < o->reads; i++) {
        uint64_t n = missing ? MISSING + i : pick(o, i);
        row_key(&row, n, 1);
        (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
        host_step(h, stmt, missing ? SQLITE_DONE : SQLITE_ROW);
        if (!missing) check_row(stmt, 0, n);
        (void)sqlite3_reset(stmt);
    }
    took = bench_now() - start;
    (void)sqlite3_finalize(stmt);
    if (in_txn) host_exec(h, "COMMIT");
    return (double)o->reads / took;
}

/* One range from a key that exists: the first row is that one, the others follow in order. */
static uint64_t one_range(bench_host *h, sqlite3_stmt *stmt, uint64_t n, int down)
{
    bench_row row;
    char before[KEY_BYTES + 1] = "";
    uint64_t rows = 0;
    int rc;

    row_key(&row, n, 1);
    (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(stmt, 0);
        if (rows == 0) {
            if (!key || strcmp(key, row.key) != 0) bench_fail("a range starts at a wrong key");
            check_row(stmt, 1, n);
        } else if (!key || (strcmp(key, before) < 0) != down) {
            bench_fail("a range is out of order");
        } else if (sqlite3_column_bytes(stmt, 1) != VALUE_BYTES) {
            bench_fail("a range has a value of a wrong size");
        }
        memcpy(before, key, sizeof before);
        rows++;
    }
    if (rc != SQLITE_DONE) bench_fail("range: %s", sqlite3_errmsg(h->db));
    (void)sqlite3_reset(stmt);
    return rows;
}

/* Ranges per second, in one transaction. */
static double ranges(bench_host *h, const bench_options *o, int down)
{
    uint64_t count = o->reads / RANGE_ROWS + 1, full = 0;
    sqlite3_stmt *stmt = host_prepare(
        h, down ? "SELECT key, value FROM kv WHERE key <= ?1 ORDER BY key DESC LIMIT 100"
                : "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key LIMIT 100");
    double start, took;

    host_exec(h, "BEGIN");
    start = bench_now();
    for (uint64_t i = 0; i < count; i++)
        full += one_range(h, stmt, pick(o, i + o->reads), down) == RANGE_ROWS;
    took = bench_now() - start;
    (void)sqlite3_finalize(stmt);
    host_exec(h, "COMMIT");
    if (o->rows > RANGE_ROWS * RANGE_ROWS && full < count * 9 / 10)
        bench_fail("only %" PRIu64 " of %" PRIu64 " ranges have 100 rows", full, count);
    return (double)count / took;
}

/* Rows per second over key and value; keys must ascend and all bytes add up. */
static double scan(bench_host *h, const bench_options *o)
{
    sqlite3_stmt *stmt = host_prepare(h, "SELECT key, value FROM kv");
    char before[KEY_BYTES + 1] = "";
    uint64_t rows = 0, sum = 0, wanted = 0;
    double start = bench_now(), took;
    bench_row row;
    int rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(stmt, 0);
        const uint8_t *value = sqlite3_column_blob(stmt, 1);
        if (!key || !value || sqlite3_column_bytes(stmt, 1) != VALUE_BYTES)
            bench_fail("the scan has a damaged row");
        if (memcmp(before, key, KEY_BYTES) >= 0) bench_fail("the scan is out of order");
        memcpy(before, key, KEY_BYTES);
        sum += value[0] + ((uint64_t)value[VALUE_BYTES / 2 - 1] << 20);
        rows++;
    }
    took = bench_now() - start;
    if (rc != SQLITE_DONE) bench_fail("scan: %s", sqlite3_errmsg(h->db));
    (void)sqlite3_finalize(stmt);
    for (uint64_t n = 0; n < o->rows; n++) {
        row_value(&row, n);
        wanted += row.value[0] + ((uint64_t)row.value[VALUE_BYTES / 2 - 1] << 20);
    }
    if (rows != o->rows || sum != wanted)
        bench_fail("the scan found %" PRIu64 " of %" PRIu64 " rows, or wrong ones", rows, o->rows);
    return (double)rows / took;
}

static double count_rows(bench_host *h, const bench_options *o)
{
    double start = bench_now();

    check_count(h, o->rows);
    return (double)o->rows / (bench_now() - start);
}

/* A fresh connection up to its first answer, seconds. */
static double open_again(bench_host *h, const bench_options *o, const char *name, int native)
{
    double start = bench_now(), took;
    sqlite3_stmt *stmt;
    bench_row row;

    host_open(h, o, name, native);
    stmt = host_prepare(h, "SELECT value FROM kv WHERE key = ?1");
    row_key(&row, 0, 1);
    (void)sqlite3_bind_text(stmt, 1, row.key, KEY_BYTES, SQLITE_STATIC);
    host_step(h, stmt, SQLITE_ROW);
    took = bench_now() - start;
    check_row(stmt, 0, 0);
    (void)sqlite3_finalize(stmt);
    return took;
}

/* Let each do the work it has put off (compaction, checkpoint), so that reads meet both at rest. */
static double settle(bench_host *h, int native)
{
    double start = bench_now();

    host_exec(h,
              native ? "PRAGMA wal_checkpoint(TRUNCATE)" : "INSERT INTO kv(kv) VALUES('settle')");
    return bench_now() - start;
}

void workload_run(const bench_options *o, int native, bench_result *out)
{
    const char *sequential = native ? "native-sequential" : "fastkv-sequential";
    const char *random = native ? "native-random" : "fastkv-random";
    double *value = out->value;
    bench_host h;

    host_open(&h, o, sequential, native);
    value[FILL_SEQUENTIAL] = fill(&h, o, 0, &value[PAUSE]);
    check_count(&h, o->rows);
    host_close(&h);
    host_remove(&h);

    host_open(&h, o, random, native);
    value[FILL_RANDOM] = fill(&h, o, 1, &value[PAUSE]);
    value[SETTLE] = settle(&h, native);
    host_close(&h);
    value[DISK] = host_disk_bytes(&h);
    value[OPEN_TIME] = open_again(&h, o, random, native);
    value[READ_IN_TXN] = point_reads(&h, o, 1, 0);
    value[READ_ALONE] = point_reads(&h, o, 0, 0);
    value[MISS_IN_TXN] = point_reads(&h, o, 1, 1);
    value[MISS_ALONE] = point_reads(&h, o, 0, 1);
    value[RANGE_UP] = ranges(&h, o, 0);
    value[RANGE_DOWN] = ranges(&h, o, 1);
    value[SCAN] = scan(&h, o);
    value[COUNT] = count_rows(&h, o);
    value[COMMIT_ONE] = commit_one(&h, o);
    check_count(&h, o->rows + o->commits);
    host_close(&h);
    host_remove(&h);
    value[MEMORY] = host_peak_bytes();
    out->done = 1;
}
