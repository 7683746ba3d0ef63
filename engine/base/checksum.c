#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/coding.h"
#include "base/sabotage.h"

uint32_t checksum_at(uint64_t owner, uint64_t position, const void *data, size_t size)
{
    uint8_t where[16];
    uint64_t hash;

    put_u64(where, SABOTAGE(24) ? 0 : owner);
    put_u64(where + 8, SABOTAGE(25) ? 0 : position);
    hash = XXH3_64bits_withSeed(data, size, XXH3_64bits(where, sizeof where));
    return (uint32_t)(hash ^ hash >> 32);
}

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
