/*
** histogram.h -- how long things take: counts by length of time, to be added by any thread.
**
** Four buckets to each doubling, so a percentile is right within a fifth.
*/
#ifndef FKV_BASE_HISTOGRAM_H
#define FKV_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 160 }; /* up to 2^40 ns, a quarter of an hour */

typedef struct histogram { /* zeroed = empty */
    _Atomic uint32_t counts[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, uint64_t ns);

/* The time within which this part (0 .. 1) of all was done; 0 when there is none. */
uint64_t histogram_within(const histogram *h, double part);

#endif
