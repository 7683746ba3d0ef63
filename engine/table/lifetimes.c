#include "table/lifetimes.h"

#include <stdlib.h>

void lifetimes_add(lifetimes *l, int64_t expires_ms)
{
    if (l->count == 0 || expires_ms < l->first_ms) l->first_ms = expires_ms;
    if (l->count++ & (((uint64_t)1 << l->stride_bits) - 1)) return;
    if (l->kept == LIFETIME_SAMPLES) { /* every second one stays, this one does */
        for (uint32_t i = 0; i < LIFETIME_SAMPLES / 2; i++) l->sample[i] = l->sample[2 * i];
        l->kept = LIFETIME_SAMPLES / 2;
        l->stride_bits++;
    }
    l->sample[l->kept++] = expires_ms;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int64_t lifetimes_moment(lifetimes *l, uint64_t wanted)
{
    uint64_t index;

    if (wanted > l->count || l->kept == 0) return 0;
    qsort(l->sample, l->kept, sizeof l->sample[0], compare);
    index = wanted ? (wanted - 1) * l->kept / l->count : 0;
    return l->sample[index];
}
