/* workload.c -- what is measured of every engine: bench.h says in which processes. */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>

/* Rows whose reads find them in the memtable: less than half of a write buffer. */
#define MEMTABLE_ROWS 150000

double fill_rows(const bench_engine *ops, void *db, uint64_t from, uint64_t to, int random,
                 double *commits, double *pauses)
{
    double start = bench_now(), took = 0;
    bench_row row;

    for (uint64_t n = from; n < to;) {
        uint64_t end = n + TXN_ROWS < to ? n + TXN_ROWS : to;
        double before = bench_now(), commit;
        ops->begin(db);
        for (; n < end; n++) {
            row_key(&row, n, random);
            row_value(&row, n);
            ops->put(db, row.key, row.value);
        }
        commit = bench_now();
        ops->commit(db);
        took = bench_now();
        if (commits) commits[(end - 1) / TXN_ROWS] = took - commit;
        if (pauses) pauses[(end - 1) / TXN_ROWS] = took - before;
    }
    return took - start;
}

/* Seconds for `reads` point reads of rows below `rows`, or of missing ones. */
double read_rows(const bench_run *r, void *db, uint64_t rows, uint64_t reads, int missing)
{
    const bench_engine *ops = r->ops;
    double start = bench_now();
    bench_row row;

    for (uint64_t i = 0; i < reads; i++) {
        uint64_t n = missing ? ROWS_MISSING + i : row_pick(i, rows);
        peer_slice value;
        row_key(&row, n, 1);
        if (ops->get(db, row.key, &value) == missing)
            bench_fail("row %" PRIu64 " is %s", n, missing ? "there" : "not there");
        if (missing) continue;
        row_check(value, n);
        ops->release(db);
    }
    return bench_now() - start;
}

/* -- load ----------------------------------------------------------------------------------- */

static void fresh(const bench_run *r)
{
    host_remove(r->dir);
    host_make_dir(r->dir);
    host_flush(r->dir);
}

void phase_load(const bench_run *r)
{
    uint64_t rows = r->o->rows < MEMTABLE_ROWS ? r->o->rows : MEMTABLE_ROWS;
    double *value = r->out->value;
    void *db;

    fresh(r);
    db = r->ops->open(r->dir);
    value[FILL_SEQUENTIAL] = (double)r->o->rows /
                             fill_rows(r->ops, db, 0, r->o->rows, 0, NULL, NULL);
    r->ops->close(db);
    fresh(r);
    db = r->ops->open(r->dir);
    (void)fill_rows(r->ops, db, 0, rows, 1, NULL, NULL);
    r->ops->view(db);
    value[READ_MEMTABLE] = (double)r->o->reads / read_rows(r, db, rows, r->o->reads, 0);
    r->ops->unview(db);
    r->ops->close(db);
    fresh(r);
    if (r->ops == &sql_engine) sql_load(r);
    host_remove(r->dir);
}

/* -- fill ----------------------------------------------------------------------------------- */

void phase_fill(const bench_run *r)
{
    uint64_t rows = r->o->rows, first = rows < 1000000 ? rows : 1000000;
    uint64_t count = (rows + TXN_ROWS - 1) / TXN_ROWS;
    double *commits = peer_alloc(count * sizeof *commits);
    double *pauses = peer_alloc(count * sizeof *pauses);
    double *value = r->out->value, took;
    void *db;

    fresh(r);
    db = r->ops->open(r->dir);
    took = fill_rows(r->ops, db, 0, first, 1, commits, pauses);
    if (rows > first) {
        value[FILL_FIRST] = (double)first / took;
        took += fill_rows(r->ops, db, first, rows, 1, commits, pauses);
    }
    value[FILL_RANDOM] = (double)rows / took;
    bench_sort(commits, count);
    bench_sort(pauses, count);
    value[COMMIT_P999] = commits[(uint64_t)ceil(0.999 * (double)count) - 1];
    value[COMMIT_MAX] = commits[count - 1];
    value[PAUSE] = pauses[count - 1];
    value[MEMORY] = host_peak_bytes();
    r->out->written = host_written_bytes();
    r->out->done++;
    (void)kill(getpid(), SIGKILL);
}

/* -- recover -------------------------------------------------------------------------------- */

/* Open and read one row; seconds. */
static double open_and_read(const bench_run *r, void **db)
{
    double start = bench_now(), took;
    peer_slice value;
    bench_row row;

    *db = r->ops->open(r->dir);
    row_key(&row, r->o->rows - 1, 1); /* the last one written */
    if (!r->ops->get(*db, row.key, &value)) bench_fail("the last row is gone after opening");
    took = bench_now() - start;
    row_check(value, r->o->rows - 1);
    r->ops->release(*db);
    return took;
}

void phase_recover(const bench_run *r)
{
    double *value = r->out->value, start;
    void *db;

    value[OPEN_KILLED] = open_and_read(r, &db);
    start = bench_now();
    if (r->ops->settle) r->ops->settle(db);
    value[SETTLE] = bench_now() - start + host_wait_quiet();
    r->ops->close(db);
    r->out->written += host_written_bytes();
    value[WRITTEN] = r->out->written / ((double)r->o->rows * (KEY_BYTES + VALUE_BYTES));
    value[DISK] = host_disk_bytes(r->dir);
}

/* -- read ----------------------------------------------------------------------------------- */

/* One range from a key that exists: the first row is that one, the others follow in order. */
static uint64_t one_range(const bench_run *r, void *db, uint64_t n, int down)
{
    char before[KEY_BYTES] = "";
    peer_slice key, value;
    uint64_t rows = 0;
    bench_row row;

    row_key(&row, n, 1);
    r->ops->seek(db, row.key, down, RANGE_ROWS);
    while (rows < RANGE_ROWS && r->ops->next(db, &key, &value)) {
        if (key.size != KEY_BYTES || value.size != VALUE_BYTES)
            bench_fail("a range has a row of a wrong size");
        if (rows == 0) {
            if (memcmp(key.data, row.key, KEY_BYTES) != 0)
                bench_fail("a range starts at a wrong key");
            row_check(value, n);
        } else if ((memcmp(key.data, before, KEY_BYTES) < 0) != down) {
            bench_fail("a range is out of order");
        }
        memcpy(before, key.data, KEY_BYTES);
        rows++;
    }
    r->ops->seek_end(db);
    return rows;
}

/* Ranges per second, in one view. */
static double ranges(const bench_run *r, void *db, int down)
{
    uint64_t count = r->o->reads / RANGE_ROWS * 4 + 1, full = 0;
    double start, took;

    r->ops->view(db);
    start = bench_now();
    for (uint64_t i = 0; i < count; i++)
        full += one_range(r, db, row_pick(i + r->o->reads, r->o->rows), down) == RANGE_ROWS;
    took = bench_now() - start;
    r->ops->unview(db);
    if (r->o->rows > RANGE_ROWS * RANGE_ROWS && full < count * 9 / 10)
        bench_fail("only %" PRIu64 " of %" PRIu64 " ranges have 100 rows", full, count);
    return (double)count / took;
}

/* Rows per second over key and value; keys must ascend and all bytes add up. */
static double scan(const bench_run *r, void *db)
{
    uint64_t rows = 0, sum = 0, wanted = 0;
    char before[KEY_BYTES] = "";
    peer_slice key, value;
    double start, took;
    bench_row row;

    start = bench_now();
    r->ops->view(db);
    r->ops->seek(db, NULL, 0, 0);
    while (r->ops->next(db, &key, &value)) {
        const uint8_t *bytes = value.data;
        if (key.size != KEY_BYTES || value.size != VALUE_BYTES)
            bench_fail("the scan has a damaged row");
        if (memcmp(before, key.data, KEY_BYTES) >= 0) bench_fail("the scan is out of order");
        memcpy(before, key.data, KEY_BYTES);
        sum += bytes[0] + ((uint64_t)bytes[VALUE_BYTES / 2 - 1] << 20);
        rows++;
    }
    r->ops->seek_end(db);
    r->ops->unview(db);
    took = bench_now() - start;
    for (uint64_t n = 0; n < r->o->rows; n++) {
        row_value(&row, n);
        wanted += row.value[0] + ((uint64_t)row.value[VALUE_BYTES / 2 - 1] << 20);
    }
    if (rows != r->o->rows || sum != wanted)
        bench_fail("the scan found %" PRIu64 " of %" PRIu64 " rows, or wrong ones", rows,
                   r->o->rows);
    return (double)rows / took;
}

static double commit_rows(const bench_run *r, void *db, uint64_t from, uint64_t count, int sync)
{
    double start = bench_now();
    bench_row row;

    for (uint64_t n = ROWS_COMMITS + from; n < ROWS_COMMITS + from + count; n++) {
        row_key(&row, n, 1);
        row_value(&row, n);
        r->ops->put_one(db, row.key, row.value, sync);
    }
    return bench_now() - start;
}

/* With fsync: in turns with the machine's own, so that both meet the same disk. */
static void commits(const bench_run *r, void *db)
{
    enum { TURNS = 5 };
    uint64_t each = r->o->syncs / TURNS + 1;
    double ours = 0, machine = 0;

    r->out->value[COMMIT_ONE] = (double)r->o->commits / commit_rows(r, db, 0, r->o->commits, 0);
    (void)host_wait_quiet(); /* or what they have set off is in the way of the next */
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        machine += host_sync_rate(r->dir, each);
        ours += commit_rows(r, db, r->o->commits + turn * each, each, 1);
    }
    r->out->value[COMMIT_SYNC] = (double)(TURNS * each) / ours;
    r->out->value[FDATASYNC] = (double)(TURNS * each) / machine;
}

void phase_read(const bench_run *r)
{
    uint64_t reads = r->o->reads, rows = r->o->rows;
    double *value = r->out->value;
    void *db;

    value[OPEN_CLEAN] = open_and_read(r, &db);
    r->ops->view(db);
    value[READ_IN_TXN] = (double)reads / read_rows(r, db, rows, reads, 0);
    r->ops->unview(db);
    value[READ_ALONE] = (double)reads / read_rows(r, db, rows, reads, 0);
    r->ops->view(db);
    value[MISS_IN_TXN] = (double)reads / read_rows(r, db, rows, reads, 1);
    r->ops->unview(db);
    value[MISS_ALONE] = (double)reads / read_rows(r, db, rows, reads, 1);
    value[RANGE_UP] = ranges(r, db, 0);
    value[RANGE_DOWN] = ranges(r, db, 1);
    value[SCAN] = scan(r, db);
    if (host_peak_bytes() > value[MEMORY]) value[MEMORY] = host_peak_bytes();
    if (r->ops == &sql_engine) sql_read(r, db);
    commits(r, db);
    if (r->ops == &sql_engine) sql_drop(r, db);
    r->ops->close(db);
    host_remove(r->dir);
}

/* -- curve ---------------------------------------------------------------------------------- */

/* One fill, interrupted at each point for reads: the rate of a point is that of all rows so far,
** without the time of the reads. It ends where the next point would take too long. */
void phase_curve(const bench_run *r)
{
    uint64_t reads = r->o->reads < 100000 ? r->o->reads : 100000, from = 0;
    curve *c = &r->out->curve;
    double filling = 0;
    void *db;

    fresh(r);
    db = r->ops->open(r->dir);
    for (double n = 10000; c->points < CURVE_POINTS && from < r->o->plot; n *= sqrt(10)) {
        uint64_t to = n < (double)r->o->plot * 0.99 ? (uint64_t)llround(n) : r->o->plot;
        if (from && filling * (double)to / (double)from > (double)r->o->plot_seconds) break;
        filling += fill_rows(r->ops, db, from, to, 1, NULL, NULL);
        r->ops->view(db);
        c->rows[c->points] = (double)to;
        c->fill[c->points] = (double)to / filling;
        c->read[c->points] = (double)reads / read_rows(r, db, to, reads, 0);
        c->points++;
        r->ops->unview(db);
        from = to;
    }
    r->ops->close(db);
    host_remove(r->dir);
}
