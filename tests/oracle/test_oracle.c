/*
** test_oracle.c -- the same SQL on fastkv tables and on native ones
**
** Random histories (oracle_gen.c) of schemas, statements and transactions are run on two databases
** that differ in one thing: T and U are fastkv tables here and WITHOUT ROWID tables there. Whatever
** SQLite shows must be the same (oracle_run.c). A history that differs is reduced to the statements
** that matter and printed as a script (oracle_shrink.c).
**
** Where SQLite's core cannot let a virtual table be as a native one, or where native answers are
** themselves a matter of the plan, the generator goes around exactly that, and the reason stands
** beside it: oracle_write.c for writes, oracle_query.c for order and outer joins, oracle_expr.c for
** conditions, oracle_run.c for what is not compared. Left out altogether, because the core refuses
** them: ON CONFLICT DO, UPDATE and DELETE with RETURNING, indexes, triggers on the table, ADD
** COLUMN. And in a UTF-16 database ill-formed text, which a virtual table is not given as it is.
**
**   test_oracle [seed [histories]]     the histories that begin with this seed
**   FKV_TEST_SEED=…                    the same; without it a fresh one, which is printed
**   FKV_ORACLE_ROWS=…                  until so many rows are written or read
**   FKV_ORACLE_FAILURES=…              stop after so many (3)
**
** History i of a run has the seed given plus i, so each can be repeated alone. A run that makes
** mostly errors, or few plans, tests nothing: it fails as well.
*/
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "oracle.h"

/* Rows of a `make test`, about 15 seconds, and for each FKV_TEST_SCALE of a `make verify`. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ROWS_PER_TEST = 80000, ROWS_PER_SCALE = 350000 };
#else
enum { ROWS_PER_TEST = 500000, ROWS_PER_SCALE = 800000 };
#endif
enum { JUDGED_FROM = 300000 }; /* rows: shorter runs are not asked for variety */

static char current[64]; /* what a crash report says */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);

    return given && *given ? strtoull(given, NULL, 0) : otherwise;
}

static void say_current(void)
{
    ssize_t ignored = write(STDOUT_FILENO, current, strlen(current));
    (void)ignored;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void __sanitizer_set_death_callback(void (*callback)(void));

static void watch_crashes(void)
{
    __sanitizer_set_death_callback(say_current);
}
#else
static void crashed(int sig)
{
    say_current();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static void watch_crashes(void)
{
    (void)signal(SIGSEGV, crashed);
    (void)signal(SIGBUS, crashed);
    (void)signal(SIGABRT, crashed);
    (void)signal(SIGFPE, crashed);
}
#endif

/* Print, shrink, print again. */
static void explain(uint64_t seed, const char *folder)
{
    history h;
    difference d;
    int at;

    history_make(&h, seed);
    d = history_run(&h, folder, NULL, 1, &at);
    if (d == SAME) {
        (void)printf("history %" PRIu64 " does not differ again\n", seed);
    } else {
        history_shrink(&h, folder, d, at);
        (void)printf("-- shrunk: ");
        d = history_run(&h, folder, NULL, 1, &at);
        history_print(&h, h.count - 1);
    }
    history_free(&h);
}

/* Is this the SQLite of run_newest.sh? */
static int is_newest(void)
{
#ifdef FKV_ORACLE_NEWEST
    return 1;
#else
    return 0;
#endif
}

static int is_varied(const statistics *st)
{
    int good = 1;

    (void)printf("%" PRIu64 " histories, %" PRIu64 " statements: %" PRIu64 " succeeded; %" PRIu64
                 " SELECTs, %" PRIu64 " with rows\n",
                 st->histories, st->statements, st->succeeded, st->selects, st->answered);
    (void)printf("%" PRIu64 " rows written, %" PRIu64 " read, contents compared %" PRIu64
                 " times\n%d plans; result codes:",
                 st->rows_written, st->rows_read, st->checks, st->plan_count);
    for (int i = 0; i < st->code_count; i++) (void)printf(" %d", st->codes[i]);
    (void)printf("\n");
    (void)printf("POINTS %s row-operations %" PRIu64 "\n", is_newest() ? "oracle-newest" : "oracle",
                 st->rows_written + st->rows_read);
    if (st->rows_written + st->rows_read < JUDGED_FROM) return 1;
    good &= st->succeeded * 10 > st->statements * 7;
    good &= st->rows_written > st->statements / 10;
    good &= st->answered * 2 > st->selects;
    good &= st->plan_count >= 60 && st->code_count >= 6;
    if (!good) (void)printf("FAILED the histories are not varied enough\n");
    return good;
}

int main(int argc, char **argv)
{
    struct timespec now;
    uint64_t seed, rows, histories, failures_max = number_from("FKV_ORACLE_FAILURES", 3);
    uint64_t scale = number_from("FKV_TEST_SCALE", 1);
    statistics *st = oracle_alloc(sizeof *st);
    const char *given = getenv("FASTKV_TMP");
    char folder[] = "/tmp/fastkv-oracle.XXXXXX";
    const char *place = given ? given : mkdtemp(folder);
    uint64_t failed = 0;
    int good;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    seed = number_from("FKV_TEST_SEED", (uint64_t)now.tv_sec * 1000003u ^ (uint64_t)now.tv_nsec);
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    histories = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : UINT64_MAX;
    rows = number_from("FKV_ORACLE_ROWS", scale > 1 ? ROWS_PER_SCALE * scale : ROWS_PER_TEST);
    if (argc > 1) rows = UINT64_MAX;
    (void)printf("test_oracle: seed %" PRIu64 ", SQLite %s\n", seed, sqlite3_libversion());
    (void)fflush(stdout);
    watch_crashes();
    for (uint64_t i = 0; i < histories && st->rows_written + st->rows_read < rows; i++) {
        history h;
        difference d;
        int at;
        (void)snprintf(current, sizeof current, "\nin history %" PRIu64 "\n", seed + i);
        history_make(&h, seed + i);
        d = history_run(&h, place, st, 0, &at);
        history_free(&h);
        if (d == SAME) continue;
        (void)printf("FAILED history %" PRIu64 ": %s\n", seed + i, difference_name(d));
        explain(seed + i, place);
        (void)fflush(stdout);
        if (++failed == failures_max) break;
    }
    good = is_varied(st);
    if (!given) (void)rmdir(folder);
    (void)printf("%" PRIu64 " passed, %" PRIu64 " failed\n", st->histories - failed + (good != 0),
                 failed + (good == 0));
    free(st);
    return failed || !good;
}
