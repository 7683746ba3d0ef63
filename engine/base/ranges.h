/*
** ranges.h -- a set of keys as sorted, disjoint, half-open intervals.
*/
#ifndef FKV_BASE_RANGES_H
#define FKV_BASE_RANGES_H

#include "base/slice.h"

typedef struct key_range {
    fkv_slice from, to; /* [from, to) */
} key_range;

/* Zeroed = empty. Slices are borrowed: they must outlive the set. */
typedef struct range_set {
    key_range *items;
    size_t count, capacity;
    int failed; /* an add was lost for want of memory */
} range_set;

void range_set_release(range_set *s);

/* Add [from, to); in any order, overlapping or not. Errors are sticky, see range_set_finish. */
void range_set_add(range_set *s, fkv_slice from, fkv_slice to);

/* Sort and merge what was added. FKV_NOMEM if an add was lost. */
FKV_MUST_CHECK fkv_status range_set_finish(range_set *s);

/* The interval that holds key, or NULL. REQUIRES: finished. */
const key_range *range_set_find(const range_set *s, fkv_slice key);

#endif
