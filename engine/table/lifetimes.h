/*
** lifetimes.h -- when the rows of a table will have expired, inside table/.
**
** Compaction wants to know, without reading a table, from when on rewriting it gives space back:
** when the first of its rows has expired, and when half of its entries are gone. The second comes
** from a sample: every `stride`-th moment, at most LIFETIME_SAMPLES of them.
*/
#ifndef FKV_TABLE_LIFETIMES_H
#define FKV_TABLE_LIFETIMES_H

#include <stdint.h>

enum { LIFETIME_SAMPLES = 256 };

typedef struct lifetimes { /* zeroed = of no rows */
    int64_t first_ms;      /* the least moment */
    uint64_t count, stride_bits;
    uint32_t kept;
    int64_t sample[LIFETIME_SAMPLES];
} lifetimes;

void lifetimes_add(lifetimes *l, int64_t expires_ms);

/* The moment at which about `wanted` of the rows added have expired; 0 = never. Sorts the sample:
** to be called last. */
int64_t lifetimes_moment(lifetimes *l, uint64_t wanted);

#endif
