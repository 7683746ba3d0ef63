/* slice.h -- comparing borrowed bytes. */
#ifndef FKV_BASE_SLICE_H
#define FKV_BASE_SLICE_H

#include <string.h>

#include "fastkv.h"

/* memcmp order; a prefix sorts before what it prefixes. Keys are short: comparing eight bytes at a
** time in place is twice as fast as a call of memcmp. */
static inline int slice_compare(fkv_slice a, fkv_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size, i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.data + i, 8);
        memcpy(&y, b.data + i, 8);
        if (x != y) return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
    }
    for (; i < n; i++)
        if (a.data[i] != b.data[i]) return a.data[i] < b.data[i] ? -1 : 1;
    return (a.size > b.size) - (a.size < b.size);
}

static inline int slice_equal(fkv_slice a, fkv_slice b)
{
    size_t i = a.size;

    if (a.size != b.size) return 0;
    for (; i >= 8; i -= 8) { /* from the end: neighbours in key order differ there */
        uint64_t x, y;
        memcpy(&x, a.data + i - 8, 8);
        memcpy(&y, b.data + i - 8, 8);
        if (x != y) return 0;
    }
    return i == 0 || memcmp(a.data, b.data, i) == 0;
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
