/*
** bench.h -- the benchmark: fastkv beside what its users could choose instead.
**
**   bench.c         options, a child process for each phase of each engine
**   report.c        names, goals, the table, results.tsv
**   engines.c       which engines there are, and those that are not installed
**   peers/          an adapter for each engine that has a C interface; peer.h is what they share
**   sql.c           the same interface for the two that are reached through SQL
**   workload.c      what is measured of all engines
**   workload_sql.c  what is measured of the two with SQL only
**   curve.c         rate against number of rows, drawn
**   rows.c          keys and values: functions of a row number, so that every answer can be checked
**   host.c          processes, clocks, sizes
**
** Run. `make bench` installs the peers (Debian packages), runs all and writes into build/bench/:
** results.txt (what is printed), results.tsv, curve.tsv, fill.svg, read.svg. What can be set:
**
**   BENCH_N        rows (1000000)                    BENCH_BULK    rows of the bulk load (BENCH_N)
**   BENCH_READS    point reads of a kind (500000)    BENCH_PLOT_N  the curves end here (BENCH_N, at
**   BENCH_COMMITS  single-row commits (20000)                      most 1000000); 0: no curves
**   BENCH_SYNCS    those with fsync (1000)           BENCH_DIR     databases, results (build/bench)
**   BENCH_PLOT_SECONDS  a curve ends where filling would take longer, at the rate so far (600)
**   BENCH_ROUNDS   (3)
**   ENGINE         only these: fastkv,sqlite,fastkv.h,leveldb,rocksdb,lmdb,wiredtiger
**   BENCH_STAND_IN=1  a native table in fastkv's place, to test the benchmark: all ratios are 1
**   FASTKV_SO      the extension (build/fastkv)      BENCH_PEERS   the adapters
**
** Workload. 16-byte keys; 100-byte values that compress by half; both follow from a row number.
** Everybody has 64 MB of write buffer and 64 MB of cache, filters of 10 bits a key, the compression
** that is its default, a log, and no fsync unless the row says so (peers/peer.h). For SQLite that
** is WAL mode with synchronous=NORMAL, cache_size = 64 MB, and a checkpoint at 64 MB of log; for
** fastkv the default of its one budget, 192 MB, which is two write buffers and a cache. fastkv and
** SQLite get the same statements, the others the same calls. A wrong row ends the run of its
** engine, and the exit code is 1; a missed goal is only said.
**
** Rounds. Machines are noisy, and a neighbour that is busy for ten seconds is busy beside one
** engine. So all engines are run in turns, three times, and what is said of each is the median (of
** pauses and memory the worst); lowest and highest are in results.tsv. Of a goal that compares an
** engine with itself it is the median of the ratios, as both sides were measured together. Another
** round is begun only if, by the time that those before it took, it ends within nine minutes.
**
** Each engine is measured in four processes, so that memory and opening are its own:
**
**   load     keys in order; reads from a fresh memtable; with SQL: the bulk load, then the deletion
**            of what it has loaded (a prefix: other rows stay)
**   fill     keys at random, and then kill -9 by itself, at once after the last commit
**   recover  opens what is left, works off what has been put off, closes; then the disk is measured
**   read     opens again: reads, ranges, scan, join; single-row commits; DROP TABLE
**
** Written is write_bytes of /proc/self/io of fill and recover: what the process has given the file
** system to write, log included. Work has been done when the process has written nothing for 1.5
** seconds. The fsync rate is that of the machine: fdatasync after 160 bytes written over bytes that
** are on disk, in the same process and in turns with the commits. Memory is VmHWM, all of the
** process, of fill and read before the join (which keeps native rows in SQLite's cache). The table
** ends with what other processes took of the machine's processors meanwhile: where it is not near
** zero, or not the same for two engines, do not compare them.
*/
#ifndef FASTKV_BENCH_H
#define FASTKV_BENCH_H

#include "peers/peer.h"

#include <stdint.h>

enum { ROUNDS_MAX = 9, MINUTES = 9 };
enum { RANGE_ROWS = 100, TXN_ROWS = 1000, PATH_SIZE = 512 };

/* Numbers of rows that are never written; of single-row commits. Those of a fill begin at 0. */
#define ROWS_MISSING ((uint64_t)1 << 60)
#define ROWS_COMMITS ((uint64_t)1 << 61)

typedef enum metric {
    FILL_RANDOM, /* rates, per second */
    FILL_FIRST,
    FILL_SEQUENTIAL,
    BULK,
    COMMIT_ONE,
    COMMIT_SYNC,
    FDATASYNC,
    READ_IN_TXN,
    READ_ALONE,
    FUNCTION_IN_TXN,
    FUNCTION_ALONE,
    READ_MEMTABLE,
    MISS_IN_TXN,
    MISS_ALONE,
    RANGE_UP,
    RANGE_DOWN,
    SCAN,
    COUNT,
    JOIN,
    DELETE_PREFIX, /* costs: less is better */
    DROP,
    OPEN_CLEAN,
    OPEN_KILLED,
    COMMIT_P999,
    COMMIT_MAX,
    PAUSE,
    SETTLE,
    DISK,
    WRITTEN,
    MEMORY,
    MEMORY_BULK,
    OTHERS,
    METRICS
} metric;

typedef enum engine {
    FASTKV,
    NATIVE,
    FASTKV_C,
    LEVELDB,
    ROCKSDB,
    LMDB,
    WIREDTIGER,
    ENGINES
} engine;

typedef struct bench_options {
    uint64_t rows, reads, commits, syncs, bulk, plot, plot_seconds;
    int rounds; /* wanted; then those that there were */
    const char *only;
    char dir[PATH_SIZE]; /* of this run's databases; below `out` */
    const char *out;
    const char *so;
    const char *peers;
    int stand_in;
} bench_options;

enum { CURVE_POINTS = 32 };
typedef struct curve {
    size_t points;
    double rows[CURVE_POINTS], fill[CURVE_POINTS], read[CURVE_POINTS];
} curve;

/* What the processes of one engine have found out; 0 is not measured. */
typedef struct bench_result {
    double value[METRICS];
    double each[METRICS][ROUNDS_MAX]; /* of all rounds */
    double written;                   /* bytes, by the fill alone */
    curve curve;
    int done; /* phases */
} bench_result;

/* engines.c */
typedef struct engine_info {
    const char *name;   /* heads its column */
    const char *option; /* in ENGINE= */
    const char *file;   /* the adapter; NULL: sql.c */
    const char *package;
} engine_info;

extern const engine_info engines[ENGINES];
int engine_wanted(const bench_options *o, engine e);
int engine_missing(const bench_options *o, engine e); /* its adapter could not be built */
const bench_engine *engine_load(const bench_options *o, engine e);

/* rows.c: a row number gives a key (16 hexadecimal digits) and a value. Keys of numbers below 2^63
** differ from each other in both orders. */
typedef struct bench_row {
    char key[KEY_BYTES + 1];
    uint8_t value[VALUE_BYTES];
} bench_row;

uint64_t row_mix(uint64_t n); /* a bijection that scatters */
void row_key(bench_row *row, uint64_t n, int random);
void row_value(bench_row *row, uint64_t n);
uint64_t row_pick(uint64_t i, uint64_t rows); /* which row is read: the same for all engines */
void row_check(peer_slice value, uint64_t n);

/* host.c: what goes wrong here ends the process with a sentence. */
__attribute__((noreturn, format(printf, 1, 2))) void bench_fail(const char *format, ...);
FILE *bench_create(const bench_options *o, const char *name); /* a new file among the results */
double bench_now(void);                                       /* seconds */
void bench_sort(double *values, size_t count);                /* ascending */
double bench_median(const double *values, int count);         /* at most ROUNDS_MAX */
void host_path(char *out, const bench_options *o, const char *name);
void host_make_dir(const char *path);
double host_disk_bytes(const char *dir); /* blocks of all files below it */
void host_remove(const char *dir);
void host_flush(const char *dir); /* nothing that others have left to write disturbs the next */
double host_peak_bytes(void);     /* of this process's memory */
double host_others_seconds(void); /* of processor, so far, not ours */
double host_written_bytes(void);  /* by this process */
double host_wait_quiet(void);     /* until it writes no more; seconds it has worked */
double host_sync_rate(const char *dir, uint64_t count); /* seconds for so many fdatasync */

/* workload.c and workload_sql.c: a phase of one engine. `dir` is its folder. */
typedef struct bench_run {
    const bench_options *o;
    const bench_engine *ops;
    engine engine;
    char dir[PATH_SIZE];
    bench_result *out;
} bench_run;

void phase_load(const bench_run *r);
void phase_fill(const bench_run *r);
void phase_recover(const bench_run *r);
void phase_read(const bench_run *r);
void phase_curve(const bench_run *r);
/* Rows from..to-1, 1000 a transaction; seconds. Of each commit and each transaction, if not NULL,
** the seconds are kept. */
double fill_rows(const bench_engine *ops, void *db, uint64_t from, uint64_t to, int random,
                 double *commits, double *pauses);
double read_rows(const bench_run *r, void *db, uint64_t rows, uint64_t reads, int missing);

void sql_load(const bench_run *r);           /* bulk, deletion of a prefix */
void sql_read(const bench_run *r, void *db); /* function, count, join */
void sql_drop(const bench_run *r, void *db);

/* sql.c */
struct sqlite3;
extern const bench_engine sql_engine;
void sql_begin_as(const bench_options *o, int native); /* what sql_engine opens from now on */
struct sqlite3 *sql_handle(void *db);
int sql_is_native(void); /* or stands in */

/* report.c, curve.c */
void report_print(const bench_options *o, const bench_result *results);
void curve_write(const bench_options *o, const bench_result *results);

#endif
