#include "base/histogram.h"

/* Bucket 4 * e + f holds [2^e * (1 + f / 4), 2^e * (1 + (f + 1) / 4)). */
static unsigned bucket_of(uint64_t ns)
{
    unsigned e, index;

    if (ns < 4) return (unsigned)ns;
    e = 63 - (unsigned)__builtin_clzll(ns);
    index = 4 * e + (unsigned)(ns >> (e - 2) & 3);
    return index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1;
}

/* Where the next bucket begins. */
static uint64_t end_of(unsigned index)
{
    unsigned e = index / 4, f = index % 4;

    if (index < 8) return index < 4 ? index + 1 : 4;
    return ((uint64_t)1 << e) + ((uint64_t)(f + 1) << (e - 2));
}

void histogram_add(histogram *h, uint64_t ns)
{
    atomic_fetch_add_explicit(&h->counts[bucket_of(ns)], 1, memory_order_relaxed);
}

uint64_t histogram_within(const histogram *h, double part)
{
    uint64_t all = 0, seen = 0;
    double wanted;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        all += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    wanted = part * (double)all;
    for (unsigned i = 0; all && i < HISTOGRAM_BUCKETS; i++) {
        seen += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        if (seen && (double)seen >= wanted) return end_of(i);
    }
    return 0;
}
