#include "table/codec.h"

#include <stdatomic.h>
#include <zlib.h>
#ifdef FKV_HAVE_LZ4
#include <lz4.h>
#endif
#ifdef FKV_HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "base/alloc.h"
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

/* -- zlib, its memory through base/alloc.h ---------------------------------------------------- */

static void *zlib_alloc(void *arg, unsigned count, unsigned size)
{
    (void)arg;
    return alloc_bytes((size_t)count * size);
}

static void zlib_free(void *arg, void *ptr)
{
    (void)arg;
    alloc_free(ptr);
}

/* The state's deflate stream, fresh for the next block; NULL if there is no memory. */
static z_stream *deflate_stream(codec_state *s, int level)
{
    z_stream *z = s->deflate;

    if (z && s->level == level) {
        (void)deflateReset(z); /* (what it would refuse, deflate refuses) */
        return z;
    }
    if (!z) {
        z = alloc_zero(sizeof *z);
        if (!z) return NULL;
    } else {
        deflateEnd(z);
        *z = (z_stream){0};
    }
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    s->deflate = NULL;
    if (deflateInit(z, level) != Z_OK) {
        alloc_free(z);
        return NULL;
    }
    s->deflate = z;
    s->level = level;
    return z;
}

static size_t zlib_compress(codec_state *s, int level, const uint8_t *data, size_t size,
                            uint8_t *out, size_t limit)
{
    z_stream *z = deflate_stream(s, level ? level : 1);

    if (!z) return 0;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)size;
    z->next_out = out;
    z->avail_out = (uInt)limit;
    return deflate(z, Z_FINISH) == Z_STREAM_END ? limit - z->avail_out : 0;
}

static fkv_status zlib_decompress(const uint8_t *data, size_t size, uint8_t *out, size_t raw_size)
{
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    int rc, whole;

    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)raw_size;
    rc = inflateInit(&z);
    if (rc == Z_MEM_ERROR) return FKV_RAISE(FKV_NOMEM);
    if (rc != Z_OK) return FKV_RAISEF(FKV_UNSUPPORTED, "zlib %s does not start", zlibVersion());
    rc = inflate(&z, Z_FINISH);
    whole = rc == Z_STREAM_END && z.avail_in == 0 && z.avail_out == 0;
    inflateEnd(&z);
    if (rc == Z_MEM_ERROR) return FKV_RAISE(FKV_NOMEM);
    return whole ? FKV_OK : FKV_RAISEF(FKV_CORRUPT, "compressed bytes are damaged");
}

/* -- all of them ----------------------------------------------------------------------------- */

void codec_state_release(codec_state *s)
{
    if (s->deflate) {
        deflateEnd(s->deflate);
        alloc_free(s->deflate);
    }
#ifdef FKV_HAVE_ZSTD
    ZSTD_freeCCtx(s->zstd);
#endif
    *s = (codec_state){0};
}

#ifdef FKV_HAVE_ZSTD
static size_t zstd_compress(codec_state *s, int level, const uint8_t *data, size_t size,
                            uint8_t *out, size_t limit)
{
    size_t n;

    if (!s->zstd) s->zstd = ZSTD_createCCtx();
    if (!s->zstd) return 0;
    n = ZSTD_compressCCtx(s->zstd, out, limit, data, size, level ? level : 1);
    return ZSTD_isError(n) ? 0 : n;
}

/* A context for whoever takes it next. Making one costs four times as much as a block; this one
** lives as long as the process. */
static _Atomic(ZSTD_DCtx *) spare;

static fkv_status zstd_decompress(const uint8_t *data, size_t size, uint8_t *out, size_t raw_size)
{
    ZSTD_DCtx *z = atomic_exchange(&spare, NULL);
    size_t n = 0;

    if (!z) z = ZSTD_createDCtx();
    if (!z) return FKV_RAISE(FKV_NOMEM);
    /* It would also read several frames, one behind the other. */
    if (ZSTD_findFrameCompressedSize(data, size) == size)
        n = ZSTD_decompressDCtx(z, out, raw_size, data, size);
    ZSTD_freeDCtx(atomic_exchange(&spare, z)); /* another thread's, or NULL */
    if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation) return FKV_RAISE(FKV_NOMEM);
    return n == raw_size ? FKV_OK : FKV_RAISEF(FKV_CORRUPT, "compressed bytes are damaged");
}
#endif

/* Compress into out; 0 if it does not fit in `limit` bytes. */
static size_t compress_into(codec_state *s, codec_id id, int level, const uint8_t *data,
                            size_t size, uint8_t *out, size_t limit)
{
    switch (id) {
    case CODEC_ZLIB:
        return zlib_compress(s, level, data, size, out, limit);
#ifdef FKV_HAVE_LZ4
    case CODEC_LZ4: { /* its level is an acceleration: 1 is the densest */
        int n = LZ4_compress_fast((const char *)data, (char *)out, (int)size, (int)limit,
                                  level ? level : 1);
        return n > 0 ? (size_t)n : 0;
    }
#endif
#ifdef FKV_HAVE_ZSTD
    case CODEC_ZSTD:
        return zstd_compress(s, level, data, size, out, limit);
#endif
    default:
        return 0;
    }
}

int codec_compress(codec_state *s, codec_id id, int level, const uint8_t *data, size_t size,
                   buf *out)
{
    size_t limit = size - size / 8, n;
    uint8_t *room;

    buf_clear(out);
    if (id == CODEC_NONE || size > COMPRESSED_RAW_MAX || limit <= 4) return 0;
    room = buf_reserve(out, limit);
    if (!room) return 0;
    put_u32(room, (uint32_t)size);
    n = compress_into(s, id, level, data, size, room + 4, limit - 4);
    if (n == 0 || size / n >= COMPRESSED_RATIO_MAX) return 0;
    out->size = n + 4;
    return 1;
}

fkv_status codec_decompress(codec_id id, const uint8_t *data, size_t size, uint8_t *out,
                            size_t raw_size)
{
    switch (id) {
    case CODEC_ZLIB:
        return zlib_decompress(data, size, out, raw_size);
#ifdef FKV_HAVE_LZ4
    case CODEC_LZ4:
        return LZ4_decompress_safe((const char *)data, (char *)out, (int)size, (int)raw_size) ==
                       (int)raw_size
                   ? FKV_OK
                   : FKV_RAISEF(FKV_CORRUPT, "compressed bytes are damaged");
#endif
#ifdef FKV_HAVE_ZSTD
    case CODEC_ZSTD:
        return zstd_decompress(data, size, out, raw_size);
#endif
    default:
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build lacks the %s codec", codec_name(id));
    }
}
