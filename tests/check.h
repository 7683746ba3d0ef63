/*
** check.h -- the whole unit test framework.
**
** A test program is a list of functions run by TEST_MAIN. CHECK(condition) records a failure with
** its place and goes on; REQUIRE ends the running test (by return). The program's last line is
** "N passed, N failed", counted in tests, and its exit code is 1 if any failed.
** FKV_TEST_SEED sets the random seed; without it every run takes a fresh one and prints it.
*/
#ifndef FKV_TESTS_CHECK_H
#define FKV_TESTS_CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

static int check_failures;
static uint64_t check_seed;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            (void)printf("%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition);             \
        }                                                                                          \
    } while (0)

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            (void)printf("%s:%d: REQUIRE failed: %s\n", __FILE__, __LINE__, #condition);           \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* A status must be exactly this; says what it was. */
#define CHECK_STATUS(expression, expected)                                                         \
    do {                                                                                           \
        int check_status_ = (int)(expression);                                                     \
        if (check_status_ != (int)(expected)) {                                                    \
            check_failures++;                                                                      \
            (void)printf("%s:%d: %s gave %d, wanted %d (%s)\n", __FILE__, __LINE__, #expression,   \
                         check_status_, (int)(expected), fkv_errmsg());                            \
        }                                                                                          \
    } while (0)

#define REQUIRE_OK(expression)                                                                     \
    do {                                                                                           \
        int check_status_ = (int)(expression);                                                     \
        if (check_status_) {                                                                       \
            check_failures++;                                                                      \
            (void)printf("%s:%d: %s gave %d (%s)\n", __FILE__, __LINE__, #expression,              \
                         check_status_, fkv_errmsg());                                             \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* xorshift64*: small, seeded, the same everywhere. */
static inline uint64_t check_random(void)
{
    check_seed ^= check_seed >> 12;
    check_seed ^= check_seed << 25;
    check_seed ^= check_seed >> 27;
    return check_seed * 0x2545f4914f6cdd1du;
}

static inline uint64_t check_below(uint64_t n)
{
    return n ? check_random() % n : 0;
}

static inline int check_main(const char *program, const test_case *cases, size_t count, int argc,
                             char **argv)
{
    const char *given = getenv("FKV_TEST_SEED");
    struct timespec now;
    size_t failed = 0, ran = 0;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    check_seed = given ? strtoull(given, NULL, 0)
                       : (uint64_t)now.tv_sec * 1000003u ^ (uint64_t)now.tv_nsec;
    if (check_seed == 0) check_seed = 1;
    (void)printf("%s: seed %" PRIu64 "\n", program, check_seed);
    for (size_t i = 0; i < count; i++) {
        int before = check_failures;
        if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;
        cases[i].run();
        ran++;
        if (check_failures != before) {
            failed++;
            (void)printf("FAILED %s\n", cases[i].name);
        }
        (void)fflush(stdout);
    }
    (void)printf("%zu passed, %zu failed\n", ran - failed, failed);
    return failed != 0;
}

#define TEST_CASE(function)                                                                        \
    {                                                                                              \
#function, function                                                                        \
    }
#define TEST_MAIN(program, ...)                                                                    \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const test_case cases[] = {__VA_ARGS__};                                            \
        return check_main(program, cases, sizeof cases / sizeof cases[0], argc, argv);             \
    }

#endif
