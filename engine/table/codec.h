/*
** codec.h -- compressing blocks, inside table/.
**
** The contexts of zlib and Zstandard are large and slow to make, so whoever has many blocks to do
** keeps a codec_state. One thread at a time; zeroed = empty.
*/
#ifndef FKV_TABLE_CODEC_H
#define FKV_TABLE_CODEC_H

#include "table/table.h"

typedef struct codec_state {
    void *deflate; /* z_stream */
    void *zstd;    /* ZSTD_CCtx */
    int level;     /* of deflate */
} codec_state;

void codec_state_release(codec_state *s);

/* Compress size bytes into out (emptied first), raw size in front. 1 if that was worth it, 0 to
** store them plain; memory failures count as 0. */
int codec_compress(codec_state *s, codec_id id, int level, const uint8_t *data, size_t size,
                   buf *out);

/* Fill exactly raw_size bytes of out from exactly `size` bytes. FKV_CORRUPT (without a place) if
** they disagree, FKV_UNSUPPORTED if the codec is not built in. */
FKV_MUST_CHECK fkv_status codec_decompress(codec_id id, const uint8_t *data, size_t size,
                                           uint8_t *out, size_t raw_size);

#endif
