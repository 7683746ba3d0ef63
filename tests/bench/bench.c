/* bench.c -- options, and a process for each phase of each engine. See bench.h. */
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
static int run_engine(const bench_options *o, engine e, bench_result *out)
{
    bench_run r = {.o = o, .engine = e, .out = out};
    int curves = o->plot && (e == FASTKV || e == NATIVE || e == LEVELDB);
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

    o.bulk = number_from("BENCH_BULK", o.rows);
    o.plot = number_from("BENCH_PLOT_N", o.rows < 1000000 ? o.rows : 1000000);
    return o;
}

int main(void)
{
    bench_options o = options_from_environment();
    bench_result *results = mmap(NULL, ENGINES * sizeof *results, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int run = 0, failed = 0;

    if (results == MAP_FAILED) bench_fail("mmap: %s", strerror(errno));
    host_make_dir(o.out);
    if ((size_t)snprintf(o.dir, sizeof o.dir, "%s/run-%ld", o.out, (long)getpid()) >= sizeof o.dir)
        bench_fail("%s: too long", o.out);
    host_make_dir(o.dir);
    for (int e = 0; e < ENGINES; e++) {
        if (!engine_wanted(&o, (engine)e)) continue;
        if (engine_missing(&o, (engine)e)) {
            (void)fprintf(stderr, "%-12s SKIPPED: not here\n", engines[e].name);
            continue;
        }
        failed += !run_engine(&o, (engine)e, &results[e]);
        run++;
    }
    if (!run) bench_fail("ENGINE=%s names no engine that is here", o.only ? o.only : "");
    host_remove(o.dir);
    report_print(&o, results);
    if (o.plot) curve_write(&o, results);
    return failed != 0;
}
