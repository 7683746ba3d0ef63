/* report.c -- what was measured, and which goals it meets. */
#include "bench.h"

#include <sqlite3.h>
#include <stdarg.h>

typedef struct metric_info {
    const char *name;
    const char *unit;
    double scale; /* what is printed is value * scale */
    int is_cost;  /* less is better */
} metric_info;

static const metric_info metrics[METRICS] = {
    [FILL_RANDOM] = {"fill, keys at random", "rows/s", 1, 0},
    [FILL_FIRST] = {"  the first million", "rows/s", 1, 0},
    [FILL_SEQUENTIAL] = {"fill, keys in order", "rows/s", 1, 0},
    [BULK] = {"INSERT ... SELECT, sorted", "rows/s", 1, 0},
    [COMMIT_ONE] = {"one-row commits", "rows/s", 1, 0},
    [COMMIT_SYNC] = {"one-row commits, synced", "rows/s", 1, 0},
    [FDATASYNC] = {"  fdatasync beside them", "calls/s", 1, 0},
    [READ_IN_TXN] = {"point reads in a transaction", "reads/s", 1, 0},
    [READ_ALONE] = {"point reads, autocommit", "reads/s", 1, 0},
    [FUNCTION_IN_TXN] = {"fastkv_get() in a transaction", "reads/s", 1, 0},
    [FUNCTION_ALONE] = {"fastkv_get(), autocommit", "reads/s", 1, 0},
    [READ_MEMTABLE] = {"point reads of fresh rows", "reads/s", 1, 0},
    [MISS_IN_TXN] = {"missing keys in a transaction", "reads/s", 1, 0},
    [MISS_ALONE] = {"missing keys, autocommit", "reads/s", 1, 0},
    [RANGE_UP] = {"100-row ranges, ascending", "ranges/s", 1, 0},
    [RANGE_DOWN] = {"100-row ranges, descending", "ranges/s", 1, 0},
    [SCAN] = {"full scan, key and value", "rows/s", 1, 0},
    [COUNT] = {"count(*)", "rows/s", 1, 0},
    [JOIN] = {"join, native rows probing", "rows/s", 1, 0},
    [DELETE_PREFIX] = {"delete a prefix (the bulk load)", "ms", 1e3, 1},
    [DROP] = {"DROP TABLE", "ms", 1e3, 1},
    [OPEN_CLEAN] = {"open to first answer", "ms", 1e3, 1},
    [OPEN_KILLED] = {"  after kill -9 in a fill", "ms", 1e3, 1},
    [COMMIT_P999] = {"commit in the fill, p99.9", "ms", 1e3, 1},
    [COMMIT_MAX] = {"commit in the fill, longest", "ms", 1e3, 1},
    [PAUSE] = {"longest 1000 rows of the fill", "ms", 1e3, 1},
    [SETTLE] = {"work put off by the fill", "ms", 1e3, 1},
    [DISK] = {"disk after it", "MB", 1e-6, 1},
    [WRITTEN] = {"bytes written per byte put", "bytes", 1, 1},
    [MEMORY] = {"peak memory", "MB", 1e-6, 1},
    [MEMORY_BULK] = {"peak memory, bulk load", "MB", 1e-6, 1},
    [OTHERS] = {"processors taken by others", "%", 100, 1},
};

enum { NOBODY = ENGINES, BUDGET = 192 * 1024 * 1024 };

/* value[metric] of `who` compared with `factor` times the other's, or with `factor` alone. */
typedef struct goal {
    engine who;
    metric metric;
    double factor;
    int other; /* an engine, or NOBODY */
    metric other_metric;
    uint64_t least_rows; /* counts from this number of rows on */
} goal;

/* With fewer a random fill hardly has to compact yet. */
#define MANY ((uint64_t)10000000)

/* The data is four times the memory. */
#define LARGE ((uint64_t)4 * BUDGET / (KEY_BYTES + VALUE_BYTES))

#define AGAINST(m, f, e)                                                                           \
    {                                                                                              \
        FASTKV, m, f, e, m, 0                                                                      \
    }
#define ALONE(m, f)                                                                                \
    {                                                                                              \
        FASTKV, m, f, NOBODY, m, 0                                                                 \
    }

static const goal goals[] = {
    AGAINST(FILL_RANDOM, 25, NATIVE),
    AGAINST(FILL_RANDOM, 1.2, LEVELDB),
    {FASTKV, FILL_RANDOM, 0.7, FASTKV, FILL_FIRST, LARGE},
    AGAINST(FILL_SEQUENTIAL, 1.5, NATIVE),
    {FASTKV, BULK, 2, FASTKV, FILL_RANDOM, MANY},
    AGAINST(COMMIT_ONE, 4, NATIVE),
    AGAINST(COMMIT_SYNC, 1, NATIVE),
    {FASTKV, COMMIT_SYNC, 0.95, FASTKV, FDATASYNC, 0},
    AGAINST(READ_IN_TXN, 1.5, NATIVE),
    AGAINST(READ_IN_TXN, 3, LEVELDB),
    {FASTKV, READ_IN_TXN, 1, LEVELDB, READ_IN_TXN, LARGE},
    {FASTKV, READ_IN_TXN, 1, LMDB, READ_IN_TXN, 10000001},
    AGAINST(READ_ALONE, 1.5, NATIVE),
    ALONE(FUNCTION_IN_TXN, 1e6),
    ALONE(FUNCTION_ALONE, 1e6),
    AGAINST(MISS_IN_TXN, 1.2, LEVELDB),
    AGAINST(RANGE_UP, 1.2, NATIVE),
    AGAINST(RANGE_DOWN, 1.2, NATIVE),
    {FASTKV, RANGE_DOWN, 0.9, FASTKV, RANGE_UP, 0},
    AGAINST(SCAN, 1.2, NATIVE),
    AGAINST(JOIN, 3, NATIVE),
    ALONE(DELETE_PREFIX, 0.050),
    ALONE(DROP, 0.050),
    ALONE(OPEN_CLEAN, 0.010),
    ALONE(OPEN_KILLED, 0.300),
    ALONE(COMMIT_P999, 0.025),
    ALONE(COMMIT_MAX, 0.200),
    {FASTKV, DISK, 1, LEVELDB, DISK, MANY},
    {FASTKV, WRITTEN, 1, LEVELDB, WRITTEN, MANY},
    ALONE(MEMORY, BUDGET),
    ALONE(MEMORY_BULK, BUDGET),
    {FASTKV_C, READ_MEMTABLE, 3e6, NOBODY, READ_MEMTABLE, 0},
    {FASTKV_C, READ_IN_TXN, 1, LMDB, READ_IN_TXN, 0},
    {FASTKV_C, SCAN, 20e6, NOBODY, SCAN, 0},
    {FASTKV_C, FILL_RANDOM, 1.5e6, NOBODY, FILL_RANDOM, 0},
};

static FILE *text_file;

/* To the screen and into results.txt. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    (void)vprintf(format, args);
    (void)vfprintf(text_file, format, again);
    va_end(again);
    va_end(args);
}

/* 1234567 as 1,234,567; below 100 with two digits after the point. */
static const char *number(char text[48], double v)
{
    char digits[40];
    size_t n, at = 0;

    if (v < 100) {
        (void)snprintf(text, 48, "%.2f", v);
        return text;
    }
    n = (size_t)snprintf(digits, 32, "%.0f", v);
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

/* How many times better fastkv is. */
static void say_ratio(const bench_result *results, int m, engine other)
{
    double ours = results[FASTKV].value[m], theirs = results[other].value[m];

    if (ours > 0 && theirs > 0 && m != FDATASYNC && m != OTHERS) {
        say(" %8.2f", metrics[m].is_cost ? theirs / ours : ours / theirs);
    } else {
        say(" %8s", "-");
    }
}

static int measured(const bench_result *results, int m)
{
    for (int e = 0; e < ENGINES; e++)
        if (results[e].value[m] > 0) return 1;
    return 0;
}

static void say_measured(const bench_options *o, const bench_result *results)
{
    char text[48];

    say("\n%-31s %-8s", "", "");
    for (int e = 0; e < ENGINES; e++)
        if (results[e].done) say(" %10s", engines[e].name);
    say(" %8s %8s\n", "/SQLite", "/LevelDB");
    for (int m = 0; m < METRICS; m++) {
        if (!measured(results, m)) continue;
        say("%-31s %-8s", metrics[m].name, metrics[m].unit);
        for (int e = 0; e < ENGINES; e++) {
            double v = results[e].value[m] * metrics[m].scale;
            if (results[e].done) say(" %10s", v > 0 ? number(text, v) : "-");
        }
        say_ratio(results, m, NATIVE);
        say_ratio(results, m, LEVELDB);
        say("\n");
    }
    say("\n/SQLite, /LevelDB: how many times better fastkv is through SQL than they are.\n"
        "fastkv and SQLite are reached through SQL, the others through their C interfaces.\n"
        "Every row read was checked.%s\n",
        o->stand_in ? " A native table stood in for fastkv." : "");
}

/* 1 met, 0 missed, -1 not measured. */
static int judge(const goal *g, const bench_result *results, int rounds, double *got, double *ratio)
{
    const bench_result *r = &results[g->who];
    double other = 1, ratios[ROUNDS_MAX];

    *got = r->value[g->metric];
    if (g->other != NOBODY) other = results[g->other].value[g->other_metric];
    if (*got <= 0 || other <= 0) return -1;
    *ratio = *got / other;
    if (g->other == (int)g->who) {
        for (int i = 0; i < rounds; i++)
            ratios[i] = r->each[g->metric][i] / r->each[g->other_metric][i];
        *ratio = bench_median(ratios, rounds);
    }
    return metrics[g->metric].is_cost ? *ratio <= g->factor : *ratio >= g->factor;
}

static void say_goal(const bench_options *o, const bench_result *results, const goal *g, FILE *tsv)
{
    const metric_info *m = &metrics[g->metric];
    const char *what = m->name + strspn(m->name, " ");
    const char *sign = m->is_cost ? "<=" : ">=";
    char a[48], wanted[120], reached[120];
    double got = 0, ratio = 0;
    int met = judge(g, results, o->rounds, &got, &ratio);
    int few = o->rows < g->least_rows;
    const char *verdict = few       ? "needs more rows"
                          : met < 0 ? "not measured"
                          : met     ? "met"
                                    : "MISSED";

    if (g->other == NOBODY) {
        (void)snprintf(wanted, sizeof wanted, "%s %s %s", sign, number(a, g->factor * m->scale),
                       m->unit);
        (void)snprintf(reached, sizeof reached, "%s", met < 0 ? "-" : number(a, got * m->scale));
    } else {
        const char *name = metrics[g->other_metric].name +
                           strspn(metrics[g->other_metric].name, " ");
        (void)snprintf(wanted, sizeof wanted, "%s %.4g x %s%s", sign, g->factor,
                       g->other == (int)g->who ? "its " : engines[g->other].name,
                       g->other_metric == g->metric ? "" : name);
        (void)snprintf(reached, sizeof reached, met < 0 ? "-" : "%.2f x", ratio);
    }
    say("%-9s %-31s %-44s %12s  %s\n", engines[g->who].name, what, wanted, reached, verdict);
    (void)fprintf(tsv, "goal\t%s\t%s\t%s\t%s\t%s\n", engines[g->who].name, what, wanted, reached,
                  verdict);
}

static void write_metric(const metric_info *info, const bench_result *r, int m, const char *name,
                         int rounds, FILE *tsv)
{
    double lowest = r->each[m][0], highest = r->each[m][0];

    for (int i = 1; i < rounds; i++) {
        if (r->each[m][i] < lowest) lowest = r->each[m][i];
        if (r->each[m][i] > highest) highest = r->each[m][i];
    }
    (void)fprintf(tsv, "measured\t%s\t%s\t%.6g\t%s\t%.6g\t%.6g\n", name, info->name,
                  r->value[m] * info->scale, info->unit, lowest * info->scale,
                  highest * info->scale);
}

static void write_measured(const bench_result *results, int rounds, FILE *tsv)
{
    (void)fprintf(tsv, "what\tengine\tmetric\tvalue\tunit\tlowest\thighest\n");
    for (int e = 0; e < ENGINES; e++)
        for (int m = 0; m < METRICS; m++)
            if (results[e].value[m] > 0)
                write_metric(&metrics[m], &results[e], m, engines[e].name, rounds, tsv);
}

void report_print(const bench_options *o, const bench_result *results)
{
    FILE *tsv = bench_create(o, "results.tsv");
    char a[48], b[48];

    text_file = bench_create(o, "results.txt");
    say("%s rows of %d+%d bytes, %d a transaction; bulk load of %s; SQLite %s, WAL\n",
        number(a, (double)o->rows), KEY_BYTES, VALUE_BYTES, TXN_ROWS, number(b, (double)o->bulk),
        sqlite3_libversion());
    if (o->rounds > 1)
        say("The median of %d rounds, all engines in turns; of pauses and memory the worst.\n",
            o->rounds);
    for (int e = 0; e < ENGINES; e++)
        if (engine_wanted(o, (engine)e) && engine_missing(o, (engine)e))
            say("SKIPPED: %s is not here%s%s\n", engines[e].name, engines[e].package ? ": " : "",
                engines[e].package ? engines[e].package : "");
    write_measured(results, o->rounds, tsv);
    say_measured(o, results);
    say("\nGoals\n");
    for (size_t i = 0; i < sizeof goals / sizeof goals[0]; i++)
        say_goal(o, results, &goals[i], tsv);
    if (fclose(tsv) || fclose(text_file)) bench_fail("%s: results not written", o->out);
}
