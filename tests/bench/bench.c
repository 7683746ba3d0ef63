/* bench.c -- options, rounds, and a process for each phase of each engine. See bench.h. */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char *end;
    uint64_t n;

    if (!text || !*text) return otherwise;
    n = strtoull(text, &end, 10);
    if (*end || n > (uint64_t)1 << 40 || (n == 0 && strcmp(name, "BENCH_PLOT_N") != 0))
        bench_fail("%s=%s is not a positive number", name, text);
    return n;
}

static const char *text_from(const char *name, const char *otherwise)
{
    const char *text = getenv(name);
    return text && *text ? text : otherwise;
}

/* One phase in a child; what it finds out is in a page that both share. 0: it has failed. */
static int run_phase(const bench_run *r, void (*phase)(const bench_run *), int dies)
{
    int status = 0, ended;
    int done = r->out->done;
    pid_t child;

    host_flush(r->o->dir);
    (void)fflush(NULL);
    child = fork();
    if (child < 0) bench_fail("fork: %s", strerror(errno));
    if (child == 0) {
        bench_run mine = *r;
        mine.ops = engine_load(r->o, r->engine);
        phase(&mine);
        r->out->done++;
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child) bench_fail("waitpid: %s", strerror(errno));
    ended = dies ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0;
    return ended && r->out->done == done + 1;
}

/* 0: it has failed; what was measured before counts no more. */
static int run_engine(const bench_options *o, int round, engine e, bench_result *out)
{
    bench_run r = {.o = o, .engine = e, .out = out};
    int curves = o->plot && round == 0 && (e == FASTKV || e == NATIVE || e == LEVELDB);
    double start = bench_now(), others = host_others_seconds(), took;

    host_path(r.dir, o, engines[e].option);
    (void)fprintf(stderr, "%-12s", engines[e].name);
    if (!run_phase(&r, phase_load, 0) || !run_phase(&r, phase_fill, 1) ||
        !run_phase(&r, phase_recover, 0) || !run_phase(&r, phase_read, 0) ||
        (curves && !run_phase(&r, phase_curve, 0))) {
        (void)fprintf(stderr, "bench: the run of %s FAILED\n", engines[e].name);
        memset(out, 0, sizeof *out);
        host_remove(r.dir);
        return 0;
    }
    took = bench_now() - start;
    others = (host_others_seconds() - others) / took / (double)sysconf(_SC_NPROCESSORS_ONLN);
    out->value[OTHERS] = others > 0 ? others : 0;
    (void)fprintf(stderr, "%6.0f seconds\n", took);
    return 1;
}

static bench_options options_from_environment(void)
{
    bench_options o = {
        .rows = number_from("BENCH_N", 1000000),
        .reads = number_from("BENCH_READS", 500000),
        .commits = number_from("BENCH_COMMITS", 20000),
        .syncs = number_from("BENCH_SYNCS", 1000),
        .only = text_from("ENGINE", NULL),
        .out = text_from("BENCH_DIR", "build/bench"),
        .so = text_from("FASTKV_SO", "build/fastkv"),
        .peers = text_from("BENCH_PEERS", "build/release/peers"),
        .stand_in = getenv("BENCH_STAND_IN") != NULL,
    };

    o.rounds = (int)number_from("BENCH_ROUNDS", 3);
    if (o.rounds > ROUNDS_MAX) o.rounds = ROUNDS_MAX;
    o.bulk = number_from("BENCH_BULK", o.rows);
    o.plot_seconds = number_from("BENCH_PLOT_SECONDS", 600);
    o.plot = number_from("BENCH_PLOT_N", o.rows < 1000000 ? o.rows : 1000000);
    return o;
}

/* -- rounds ------------------------------------------------------------------------------------ */

typedef bench_result result_row[ENGINES];

/* All engines, one after the other; returns how many have failed. */
static int run_round(const bench_options *o, int round, bench_result *results)
{
    int run = 0, failed = 0;

    for (int e = 0; e < ENGINES; e++) {
        if (!engine_wanted(o, (engine)e)) continue;
        if (engine_missing(o, (engine)e)) {
            if (round == 0) (void)fprintf(stderr, "%-12s SKIPPED: not here\n", engines[e].name);
            continue;
        }
        failed += !run_engine(o, round, (engine)e, &results[e]);
        run++;
    }
    if (!run) bench_fail("ENGINE=%s names no engine that is here", o->only ? o->only : "");
    return failed;
}

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void bench_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_values);
}

double bench_median(const double *values, int count)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    bench_sort(sorted, (size_t)count);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* Of one figure: the median; of pauses and memory the worst. */
static void merge_metric(const result_row *rounds, int count, int e, int m, bench_result *out)
{
    int worst = m == COMMIT_MAX || m == PAUSE || m == MEMORY || m == MEMORY_BULK;
    double *each = out->each[m], most = 0;

    for (int i = 0; i < count; i++) {
        each[i] = rounds[i][e].value[m];
        if (each[i] > most) most = each[i];
    }
    out->value[m] = worst ? most : bench_median(each, count);
}

/* An engine that has failed in one round has failed. */
static void merge_rounds(const result_row *rounds, int count, bench_result *out)
{
    for (int e = 0; e < ENGINES; e++) {
        int done = 1;
        for (int i = 0; i < count; i++) done = done && rounds[i][e].done;
        if (!done) continue;
        out[e].done = 1;
        out[e].curve = rounds[0][e].curve;
        for (int m = 0; m < METRICS; m++) merge_metric(rounds, count, e, m, &out[e]);
    }
}

int main(void)
{
    bench_options o = options_from_environment();
    static result_row results;
    result_row *rounds = mmap(NULL, ROUNDS_MAX * sizeof *rounds, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double start = bench_now();
    int failed = 0, round = 0;

    if (rounds == MAP_FAILED) bench_fail("mmap: %s", strerror(errno));
    host_make_dir(o.out);
    if ((size_t)snprintf(o.dir, sizeof o.dir, "%s/run-%ld", o.out, (long)getpid()) >= sizeof o.dir)
        bench_fail("%s: too long", o.out);
    host_make_dir(o.dir);
    do {
        failed += run_round(&o, round, rounds[round]);
        round++;
    } while (!failed && round < o.rounds &&
             (bench_now() - start) * (round + 1) / round < MINUTES * 60);
    o.rounds = round;
    merge_rounds(rounds, o.rounds, results);
    host_remove(o.dir);
    report_print(&o, results);
    if (o.plot) curve_write(&o, results);
    return failed != 0;
}
