/*
** bench.h -- the parts of the benchmark.
**
**   bench.c     options, one child process per engine, the table of results
**   workload.c  what is measured, through SQL
**   rows.c      keys and values: functions of a row number, so that every answer can be checked
**   host.c      opening databases, timing, sizes
*/
#ifndef FASTKV_BENCH_H
#define FASTKV_BENCH_H

#include <sqlite3.h>
#include <stdint.h>

enum { KEY_BYTES = 16, VALUE_BYTES = 100, RANGE_ROWS = 100, TXN_ROWS = 1000 };

typedef enum metric {
    FILL_SEQUENTIAL, /* rates, per second */
    FILL_RANDOM,
    COMMIT_ONE,
    READ_IN_TXN,
    READ_ALONE,
    MISS_IN_TXN,
    MISS_ALONE,
    RANGE_UP,
    RANGE_DOWN,
    SCAN,
    COUNT,
    OPEN_TIME, /* costs: less is better */
    SETTLE,
    PAUSE,
    DISK,
    MEMORY,
    METRICS
} metric;

typedef struct bench_options {
    uint64_t rows;    /* BENCH_N */
    uint64_t reads;   /* BENCH_READS */
    uint64_t commits; /* BENCH_COMMITS */
    const char *dir;  /* BENCH_DIR */
    const char *so;   /* the extension */
    int stand_in;     /* fastkv's side is a native table too: to test the benchmark itself */
} bench_options;

typedef struct bench_result {
    double value[METRICS];
    int done; /* the child came to its end */
} bench_result;

/* rows.c: a row number gives a key (16 hexadecimal digits) and a value. Keys of numbers below 2^63
** differ from each other in both orders. */
typedef struct bench_row {
    char key[KEY_BYTES + 1];
    uint8_t value[VALUE_BYTES];
} bench_row;

uint64_t row_mix(uint64_t n); /* a bijection that scatters */
void row_key(bench_row *row, uint64_t n, int random);
void row_value(bench_row *row, uint64_t n);

/* host.c: what goes wrong here ends the process with a sentence. */
typedef struct bench_host {
    sqlite3 *db;
    char path[512];
} bench_host;

__attribute__((noreturn, format(printf, 1, 2))) void bench_fail(const char *format, ...);
double bench_now(void); /* seconds */
void host_open(bench_host *h, const bench_options *o, const char *name, int native);
void host_close(bench_host *h);
void host_exec(bench_host *h, const char *sql);
sqlite3_stmt *host_prepare(bench_host *h, const char *sql);
void host_step(bench_host *h, sqlite3_stmt *stmt, int expected);
double host_disk_bytes(const bench_host *h); /* the database, its log, its store */
double host_peak_bytes(void);                /* of this process's memory */
void host_remove(const bench_host *h);

/* workload.c: measure everything for one engine. */
void workload_run(const bench_options *o, int native, bench_result *out);

#endif
