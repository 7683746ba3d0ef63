/*
** Percentiles of a histogram, against a sorted array.
*/
#include "base/histogram.h"
#include "check.h"

enum { COUNT = 5000 };

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void within_a_quarter(void)
{
    static const double parts[] = {0.01, 0.25, 0.5, 0.9, 0.99, 1.0};
    static uint64_t ns[COUNT];

    for (int round = 0; round < 20; round++) {
        histogram h = {0};
        unsigned bits = 1 + (unsigned)check_below(39);
        for (int i = 0; i < COUNT; i++) {
            ns[i] = check_random() >> (64 - 1 - check_below(bits));
            histogram_add(&h, ns[i]);
        }
        qsort(ns, COUNT, sizeof ns[0], compare);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            int rank = (int)(parts[i] * COUNT + 0.999) - 1;
            uint64_t got = histogram_within(&h, parts[i]), wanted = ns[rank];
            CHECK(got > wanted && (double)got <= (double)wanted * 1.25 + 1.5);
        }
    }
}

static void the_ends(void)
{
    histogram h = {0};

    CHECK(histogram_within(&h, 0.5) == 0);
    histogram_add(&h, 0);
    CHECK(histogram_within(&h, 0.5) == 1);
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, UINT64_MAX);
    CHECK(histogram_within(&h, 0.99) == (uint64_t)1 << 40);
}

TEST_MAIN("test_histogram", TEST_CASE(within_a_quarter), TEST_CASE(the_ends))
