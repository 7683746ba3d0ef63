/* slice.h -- comparing borrowed bytes. */
#ifndef FKV_BASE_SLICE_H
#define FKV_BASE_SLICE_H

#include <string.h>

#include "fastkv.h"

/* memcmp order; a prefix sorts before what it prefixes. */
static inline int slice_compare(fkv_slice a, fkv_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    if (c) return c;
    return (a.size > b.size) - (a.size < b.size);
}

static inline int slice_equal(fkv_slice a, fkv_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Length of the longest common prefix. */
static inline size_t slice_common(fkv_slice a, fkv_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i]) i++;
    return i;
}

#endif
