/*
** bench.c -- fastkv and a native table under the same SQL, in one run.
**
**   BENCH_N        rows (1000000)               BENCH_DIR     where the databases go (build/bench)
**   BENCH_READS    point reads (200000)         ENGINE        fastkv or native: only that one
**   BENCH_COMMITS  single-row commits (20000)   BENCH_STAND_IN=1  native on both sides
**   FASTKV_SO      the extension (build/fastkv)
**
** Both tables have a 16-byte key and a 100-byte value that compresses by half; both databases are
** in WAL mode with synchronous=NORMAL, all else is as it comes. Each engine runs in a process of
** its own, so that peak memory is its own. A wrong answer ends the run with exit code 1; a missed
** goal is only said.
*/
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FASTKV = 0, NATIVE = 1 };

typedef struct metric_info {
    const char *name;
    const char *unit;
    double scale; /* what is printed is value * scale */
    int is_cost;  /* less is better */
    double goal;  /* the ratio wanted; 0 = none */
} metric_info;

static const metric_info metrics[METRICS] = {
    [FILL_SEQUENTIAL] = {"fill, keys in order", "rows/s", 1, 0, 0},
    [FILL_RANDOM] = {"fill, keys at random", "rows/s", 1, 0, 10},
    [COMMIT_ONE] = {"one-row commits", "rows/s", 1, 0, 0},
    [READ_IN_TXN] = {"point reads in a transaction", "reads/s", 1, 0, 1},
    [READ_ALONE] = {"point reads, autocommit", "reads/s", 1, 0, 0},
    [MISS_IN_TXN] = {"missing keys in a transaction", "reads/s", 1, 0, 0},
    [MISS_ALONE] = {"missing keys, autocommit", "reads/s", 1, 0, 0},
    [RANGE_UP] = {"100-row ranges, ascending", "ranges/s", 1, 0, 0},
    [RANGE_DOWN] = {"100-row ranges, descending", "ranges/s", 1, 0, 0},
    [SCAN] = {"full scan, key and value", "rows/s", 1, 0, 0.8},
    [COUNT] = {"count(*)", "rows/s", 1, 0, 0},
    [OPEN_TIME] = {"open to first answer", "ms", 1e3, 1, 0},
    [SETTLE] = {"background work after it", "ms", 1e3, 1, 0},
    [PAUSE] = {"longest pause of a fill", "ms", 1e3, 1, 0},
    [DISK] = {"disk after the random fill", "MB", 1e-6, 1, 0},
    [MEMORY] = {"peak memory", "MB", 1e-6, 1, 0},
};

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char *end;
    uint64_t n;

    if (!text || !*text) return otherwise;
    n = strtoull(text, &end, 10);
    if (*end || n == 0 || n > (uint64_t)1 << 40)
        bench_fail("%s=%s is not a positive number", name, text);
    return n;
}

static const char *text_from(const char *name, const char *otherwise)
{
    const char *text = getenv(name);
    return text && *text ? text : otherwise;
}

/* Run one engine in a child; its result comes back through a shared page. */
static bench_result run_engine(const bench_options *o, int native)
{
    bench_result *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_result result;
    int status = 0;
    pid_t child;

    if (shared == MAP_FAILED) bench_fail("mmap: %s", strerror(errno));
    (void)fflush(stdout);
    child = fork();
    if (child < 0) bench_fail("fork: %s", strerror(errno));
    if (child == 0) {
        workload_run(o, native, shared);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0 || !shared->done)
        bench_fail("the %s run failed", native ? "native" : "fastkv");
    result = *shared;
    (void)munmap(shared, sizeof *shared);
    return result;
}

/* 1234567 as 1,234,567; below 100 with two digits after the point. */
static void print_number(double v)
{
    char digits[32], text[48];
    size_t n, at = 0;

    if (v < 100) {
        (void)printf(" %12.2f", v);
        return;
    }
    n = (size_t)snprintf(digits, sizeof digits, "%.0f", v);
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    (void)printf(" %12s", text);
}

static void print_ratio(const metric_info *m, const double value[2])
{
    double ratio = m->is_cost ? value[NATIVE] / value[FASTKV] : value[FASTKV] / value[NATIVE];

    (void)printf(" %8.2f", ratio);
    if (m->goal > 0) (void)printf("  %4.1f %s", m->goal, ratio >= m->goal ? "met" : "MISSED");
}

static void print_table(const bench_result results[2])
{
    (void)printf("\n%-31s %-8s %12s %12s %8s  %s\n", "", "", "fastkv", "native", "ratio", "goal");
    for (int i = 0; i < METRICS; i++) {
        double value[2] = {results[FASTKV].value[i] * metrics[i].scale,
                           results[NATIVE].value[i] * metrics[i].scale};
        (void)printf("%-31s %-8s", metrics[i].name, metrics[i].unit);
        for (int engine = FASTKV; engine <= NATIVE; engine++) {
            if (results[engine].done) {
                print_number(value[engine]);
            } else {
                (void)printf(" %12s", "-");
            }
        }
        if (results[FASTKV].done && results[NATIVE].done) print_ratio(&metrics[i], value);
        (void)printf("\n");
    }
    (void)printf("\nratio: how many times better fastkv is; every row read was checked\n");
}

static void make_dir(const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST) bench_fail("%s: %s", path, strerror(errno));
}

int main(void)
{
    bench_options o = {
        .rows = number_from("BENCH_N", 1000000),
        .reads = number_from("BENCH_READS", 200000),
        .commits = number_from("BENCH_COMMITS", 20000),
        .so = text_from("FASTKV_SO", "build/fastkv"),
        .stand_in = getenv("BENCH_STAND_IN") != NULL,
    };
    const char *only = text_from("ENGINE", "both");
    bench_result results[2] = {0};
    char dir[400];

    if (strcmp(only, "both") != 0 && strcmp(only, "fastkv") != 0 && strcmp(only, "native") != 0)
        bench_fail("ENGINE=%s is neither fastkv nor native", only);
    o.dir = text_from("BENCH_DIR", "build/bench");
    make_dir(o.dir);
    (void)snprintf(dir, sizeof dir, "%s/run-%ld", o.dir, (long)getpid());
    make_dir(dir);
    o.dir = dir;
    (void)printf("%" PRIu64 " rows of %d+%d bytes, %d a transaction; SQLite %s, WAL, NORMAL%s\n",
                 o.rows, KEY_BYTES, VALUE_BYTES, TXN_ROWS, sqlite3_libversion(),
                 o.stand_in ? "; a native table stands in for fastkv" : "");
    for (int engine = FASTKV; engine <= NATIVE; engine++) {
        if (strcmp(only, engine == NATIVE ? "fastkv" : "native") == 0) continue;
        results[engine] = run_engine(&o, engine == NATIVE);
    }
    print_table(results);
    if (rmdir(dir)) bench_fail("%s is not empty: %s", dir, strerror(errno));
    return 0;
}
