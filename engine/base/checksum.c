#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/coding.h"
#include "base/sabotage.h"

static uint64_t seed_of(uint64_t owner, uint64_t position)
{
    uint8_t where[16];

    put_u64(where, SABOTAGE(24) ? 0 : owner);
    put_u64(where + 8, SABOTAGE(25) ? 0 : position);
    return XXH3_64bits(where, sizeof where);
}

uint32_t checksum_at(uint64_t owner, uint64_t position, const void *data, size_t size)
{
    uint64_t hash = XXH3_64bits_withSeed(data, size, seed_of(owner, position));

    return (uint32_t)(hash ^ hash >> 32);
}

size_t checksum_find_end(uint64_t owner, uint64_t position, const uint8_t *data, size_t limit,
                         int (*may)(const uint8_t *data, size_t size))
{
    XXH3_state_t state;
    size_t hashed = 0;

    XXH3_INITSTATE(&state);
    if (limit < 5 || XXH3_64bits_reset_withSeed(&state, seed_of(owner, position)) != XXH_OK)
        return 0;
    for (size_t size = 1; size <= limit - 4; size++) {
        uint64_t hash;
        if (!may(data, size)) continue;
        if (XXH3_64bits_update(&state, data + hashed, size - hashed) != XXH_OK) return 0;
        hashed = size;
        hash = XXH3_64bits_digest(&state);
        if ((uint32_t)(hash ^ hash >> 32) == get_u32(data + size)) return size;
    }
    return 0;
}

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
