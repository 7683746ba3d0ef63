#include "table/filter.h"

#include "base/sabotage.h"

static const uint8_t *line_of(fkv_slice filter, uint64_t hash)
{
    uint64_t lines = (filter.size - 1) / FILTER_LINE;
    return filter.data + 1 + ((hash >> 32) * lines >> 32) * FILTER_LINE;
}

void filter_build(const uint64_t *hashes, size_t count, uint32_t bits, buf *out)
{
    uint64_t lines = ((uint64_t)count * bits + FILTER_LINE * 8 - 1) / (FILTER_LINE * 8);
    uint32_t probes = (bits * 69 + 50) / 100; /* bits * ln 2 */
    size_t start = out->size, bytes;
    uint8_t *room;

    if (probes < 1) probes = 1;
    if (probes > 8) probes = 8;
    if (lines == 0) lines = 1;
    bytes = 1 + (size_t)lines * FILTER_LINE;
    room = buf_reserve(out, bytes);
    if (!room) return;
    memset(room, 0, bytes);
    room[0] = (uint8_t)probes;
    out->size = start + bytes;
    for (size_t i = 0; i < count; i += SABOTAGE(8) ? 2 : 1) {
        uint8_t *line = (uint8_t *)(uintptr_t)line_of(fkv_slice_of(room, bytes), hashes[i]);
        uint32_t g = (uint32_t)hashes[i];
        for (uint32_t p = 0; p < probes; p++) {
            line[g >> 26] = (uint8_t)(line[g >> 26] | 1u << (g >> 23 & 7));
            g *= 0x9e3779b9u;
        }
    }
}

int filter_check(fkv_slice filter)
{
    return filter.size > FILTER_LINE && (filter.size - 1) % FILTER_LINE == 0 &&
           filter.data[0] >= 1 && filter.data[0] <= 8;
}

int filter_may_hold(fkv_slice filter, uint64_t hash)
{
    const uint8_t *line = line_of(filter, hash);
    uint32_t g = (uint32_t)hash;

    for (uint32_t p = filter.data[0]; p > 0; p--) {
        if (!(line[g >> 26] & 1u << (g >> 23 & 7))) return 0;
        g *= 0x9e3779b9u;
    }
    return 1;
}

void filter_fetch(fkv_slice filter, uint64_t hash)
{
    __builtin_prefetch(line_of(filter, hash));
}
