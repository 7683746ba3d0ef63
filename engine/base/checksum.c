#include "base/checksum.h"

#include <zlib.h>

#include "base/coding.h"

uint32_t checksum_update(uint32_t crc, const void *data, size_t size)
{
    if (size == 0) return crc;
    return (uint32_t)crc32_z(crc, data, size);
}

uint32_t checksum_at(uint64_t owner, uint64_t position, const void *data, size_t size)
{
    uint8_t where[16];

    put_u64(where, owner);
    put_u64(where + 8, position);
    return checksum_update(checksum_update(0, where, sizeof where), data, size);
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
    static const uint64_t k0 = 0xa0761d6478bd642fu, k1 = 0xe7037ed1a0b428dbu;
    const uint8_t *p = data;
    size_t left = size;
    uint64_t h = seed ^ k0, a = 0, b = 0;

    while (left > 16) {
        h = fold(get_u64(p) ^ k1, get_u64(p + 8) ^ h);
        p += 16;
        left -= 16;
    }
    if (left >= 8) {
        a = get_u64(p);
        b = get_u64(p + left - 8);
    } else if (left >= 4) {
        a = get_u32(p);
        b = get_u32(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
    }
    return fold(k1 ^ size, fold(a ^ k1, b ^ h));
}
