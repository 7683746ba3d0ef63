#include "table/format.h"

static void put_handle(uint8_t *p, block_handle h)
{
    put_u64(p, h.offset);
    put_u64(p + 8, h.size);
}

static block_handle get_handle(const uint8_t *p)
{
    return (block_handle){get_u64(p), get_u64(p + 8)};
}

int handle_follows(block_handle h, uint64_t *end)
{
    return h.offset == *end && !__builtin_add_overflow(*end, h.size, end) &&
           !__builtin_add_overflow(*end, (uint64_t)BLOCK_TRAILER, end);
}

/* A meta block that may be absent. */
static int may_follow(block_handle h, uint64_t *end)
{
    return h.size == 0 ? h.offset == 0 : handle_follows(h, end);
}

/* Do the numbers fit each other and the file, whose footer begins at `offset`? */
static int plausible(const table_footer *f, uint64_t offset)
{
    uint64_t end = f->data_end;

    if (!may_follow(f->filter, &end) || !may_follow(f->ranges, &end)) return 0;
    if (f->index.size == 0 || !handle_follows(f->index, &end) || end != offset) return 0;
    return (f->data_end == 0) == (f->entries == 0) &&
           (f->ranges.size == 0) == (f->range_count == 0) && f->deletions <= f->entries &&
           f->expiring <= f->entries - f->deletions && f->entries + f->range_count > 0;
}

void footer_encode(const table_footer *f, uint64_t offset, uint8_t out[FOOTER_BYTES])
{
    put_handle(out + FOOT_INDEX, f->index);
    put_handle(out + FOOT_FILTER, f->filter);
    put_handle(out + FOOT_RANGES, f->ranges);
    put_u64(out + FOOT_ENTRIES, f->entries);
    put_u64(out + FOOT_DELETIONS, f->deletions);
    put_u64(out + FOOT_EXPIRING, f->expiring);
    put_u64(out + FOOT_RANGE_COUNT, f->range_count);
    put_u64(out + FOOT_RAW_BYTES, f->raw_bytes);
    put_u64(out + FOOT_DATA_END, f->data_end);
    put_u64(out + FOOT_UNIQUE_ID, f->unique_id);
    put_u32(out + FOOT_CODECS, f->codecs);
    put_u32(out + FOOT_VERSION, TABLE_VERSION);
    put_u32(out + FOOT_CRC, checksum_at(TABLE_MAGIC, offset, out, FOOT_CRC));
    put_u32(out + FOOT_MAGIC, TABLE_MAGIC);
}

fkv_status footer_decode(const uint8_t in[FOOTER_BYTES], uint64_t offset, const char *name,
                         table_footer *out)
{
    if (get_u32(in + FOOT_MAGIC) != TABLE_MAGIC)
        return FKV_RAISEF(FKV_CORRUPT, "%s: not a fastkv table (footer at offset %llu)", name,
                          (unsigned long long)offset);
    if (get_u32(in + FOOT_CRC) != checksum_at(TABLE_MAGIC, offset, in, FOOT_CRC))
        return FKV_RAISEF(FKV_CORRUPT, "%s: bad checksum in footer at offset %llu", name,
                          (unsigned long long)offset);
    if (get_u32(in + FOOT_VERSION) != TABLE_VERSION)
        return FKV_RAISEF(FKV_UNSUPPORTED, "%s: table format %u is newer than this fastkv", name,
                          get_u32(in + FOOT_VERSION));
    out->entries = get_u64(in + FOOT_ENTRIES);
    out->deletions = get_u64(in + FOOT_DELETIONS);
    out->expiring = get_u64(in + FOOT_EXPIRING);
    out->range_count = get_u64(in + FOOT_RANGE_COUNT);
    out->raw_bytes = get_u64(in + FOOT_RAW_BYTES);
    out->data_end = get_u64(in + FOOT_DATA_END);
    out->unique_id = get_u64(in + FOOT_UNIQUE_ID);
    out->codecs = get_u32(in + FOOT_CODECS);
    out->index = get_handle(in + FOOT_INDEX);
    out->filter = get_handle(in + FOOT_FILTER);
    out->ranges = get_handle(in + FOOT_RANGES);
    if (!plausible(out, offset))
        return FKV_RAISEF(FKV_CORRUPT, "%s: impossible footer at offset %llu", name,
                          (unsigned long long)offset);
    for (int id = 0; id < 32; id++)
        if ((out->codecs & 1u << id) && !codec_available((codec_id)id))
            return FKV_RAISEF(FKV_UNSUPPORTED,
                              "%s: needs the %s codec (number %d), which this build lacks", name,
                              codec_name((codec_id)id), id);
    return FKV_OK;
}
