/* rows.c -- the benchmark's rows: 16-byte keys and 100-byte values that compress by half. */
#include "bench.h"

#include <inttypes.h>
#include <string.h>

uint64_t row_mix(uint64_t n)
{
    n ^= n >> 31; /* every step can be undone, so no two numbers meet */
    n *= 0x9e3779b97f4a7c15u;
    n ^= n >> 29;
    n *= 0xbf58476d1ce4e5b9u;
    n ^= n >> 32;
    return n;
}

void row_key(bench_row *row, uint64_t n, int random)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t v = random ? row_mix(n) : n;

    for (int i = KEY_BYTES - 1; i >= 0; i--) {
        row->key[i] = digits[v & 15];
        v >>= 4;
    }
    row->key[KEY_BYTES] = 0;
}

void row_value(bench_row *row, uint64_t n)
{
    uint64_t state = row_mix(n ^ 0x5bd1e995);

    memset(row->value, 'v', VALUE_BYTES);
    for (size_t i = 0; i < VALUE_BYTES / 2; i += 8) {
        size_t size = VALUE_BYTES / 2 - i < 8 ? VALUE_BYTES / 2 - i : 8;
        memcpy(row->value + i, &state, size);
        state = row_mix(state + n);
    }
}

uint64_t row_pick(uint64_t i, uint64_t rows)
{
    return row_mix(i + 12345) % rows;
}

void row_check(peer_slice value, uint64_t n)
{
    bench_row row;

    row_value(&row, n);
    if (value.size != VALUE_BYTES || memcmp(value.data, row.value, VALUE_BYTES) != 0)
        bench_fail("the value of row %" PRIu64 " is wrong", n);
}
