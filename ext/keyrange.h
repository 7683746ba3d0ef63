/* keyrange.h -- the arguments of xFilter as ranges of engine keys. */
#ifndef FASTKV_EXT_KEYRANGE_H
#define FASTKV_EXT_KEYRANGE_H

#include "plan.h"

/* Keys in [lo, hi). A point is one whole key: lo. Offsets into key_ranges.bytes. */
typedef struct key_range {
    size_t lo, lo_size, hi, hi_size;
    int point;
} key_range;

/* Ascending, disjoint. A zeroed one is empty; memory is kept from use to use. */
typedef struct key_ranges {
    buf bytes;
    key_range *items;
    size_t count, capacity;
    int widened; /* an approximate equality takes in more than its value */
} key_ranges;

void key_ranges_release(key_ranges *r);

/* Append [lo, hi), or the point lo; neither may point into r. SQLITE_OK or SQLITE_NOMEM. */
int key_ranges_add(key_ranges *r, fkv_slice lo, fkv_slice hi, int point);

static inline fkv_slice range_lo(const key_ranges *r, size_t i)
{
    return fkv_slice_of(r->bytes.data + r->items[i].lo, r->items[i].lo_size);
}

static inline fkv_slice range_hi(const key_ranges *r, size_t i)
{
    return fkv_slice_of(r->bytes.data + r->items[i].hi, r->items[i].hi_size);
}

/* Build the ranges of a plan. SQLITE_OK or an error code. */
int keyrange_build(const kv_table *t, const char *terms, int argc, sqlite3_value **argv,
                   key_ranges *out);

#endif
