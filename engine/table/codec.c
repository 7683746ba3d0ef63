#include <zlib.h>
#ifdef FKV_HAVE_LZ4
#include <lz4.h>
#endif
#ifdef FKV_HAVE_ZSTD
#include <zstd.h>
#endif

#include "table/format.h"

int codec_available(codec_id id)
{
    switch (id) {
    case CODEC_NONE:
    case CODEC_ZLIB:
        return 1;
#ifdef FKV_HAVE_LZ4
    case CODEC_LZ4:
        return 1;
#endif
#ifdef FKV_HAVE_ZSTD
    case CODEC_ZSTD:
        return 1;
#endif
    default:
        return 0;
    }
}

const char *codec_name(codec_id id)
{
    static const char *const names[] = {"none", "zlib", "lz4", "zstd"};
    return (size_t)id < sizeof names / sizeof names[0] ? names[id] : "unknown";
}

/* Compress into out; 0 if it does not fit in `limit` bytes. */
static size_t compress_into(codec_id id, int level, const uint8_t *data, size_t size, uint8_t *out,
                            size_t limit)
{
    uLongf zlib_size = limit;

    switch (id) {
    case CODEC_ZLIB:
        if (compress2(out, &zlib_size, data, size, level ? level : 1) != Z_OK) return 0;
        return zlib_size;
#ifdef FKV_HAVE_LZ4
    case CODEC_LZ4: {
        int n = LZ4_compress_fast((const char *)data, (char *)out, (int)size, (int)limit,
                                  level ? level : 1);
        return n > 0 ? (size_t)n : 0;
    }
#endif
#ifdef FKV_HAVE_ZSTD
    case CODEC_ZSTD: {
        size_t n = ZSTD_compress(out, limit, data, size, level ? level : 1);
        return ZSTD_isError(n) ? 0 : n;
    }
#endif
    default:
        return 0;
    }
}

int codec_compress(codec_id id, int level, const uint8_t *data, size_t size, buf *out)
{
    size_t limit = size - size / 8, n;
    uint8_t *room;

    buf_clear(out);
    if (id == CODEC_NONE || size > COMPRESSED_RAW_MAX || limit <= 4) return 0;
    room = buf_reserve(out, limit);
    if (!room) return 0;
    put_u32(room, (uint32_t)size);
    n = compress_into(id, level, data, size, room + 4, limit - 4);
    if (n == 0 || size / n > COMPRESSED_RATIO_MAX - 1) return 0;
    out->size = n + 4;
    return 1;
}

fkv_status codec_decompress(codec_id id, const uint8_t *data, size_t size, uint8_t *out,
                            size_t raw_size)
{
    int good = 0;

    if (id == CODEC_ZLIB) {
        uLongf got = raw_size;
        uLong used = size;
        good = uncompress2(out, &got, data, &used) == Z_OK && got == raw_size && used == size;
#ifdef FKV_HAVE_LZ4
    } else if (id == CODEC_LZ4) {
        good = LZ4_decompress_safe((const char *)data, (char *)out, (int)size, (int)raw_size) ==
               (int)raw_size;
#endif
#ifdef FKV_HAVE_ZSTD
    } else if (id == CODEC_ZSTD) {
        good = ZSTD_decompress(out, raw_size, data, size) == raw_size;
#endif
    } else {
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build lacks the %s codec", codec_name(id));
    }
    return good ? FKV_OK : FKV_RAISEF(FKV_CORRUPT, "compressed bytes are damaged");
}
