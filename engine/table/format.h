/*
** format.h -- numbers of the table file. Normative text: FORMAT.md, "Table file".
**
**   file   := data-block+ [filter-block] [range-block] index-block footer
**   block  := content codec(1) check(4)    checksum over content and codec, at (unique id, offset)
**   content of a compressed block := raw-size(4) compressed-bytes
*/
#ifndef FKV_TABLE_FORMAT_H
#define FKV_TABLE_FORMAT_H

#include "base/checksum.h"
#include "base/coding.h"
#include "table/table.h"

#define TABLE_MAGIC 0x54564b46u /* "FKVT" */
#define TABLE_VERSION 1u

enum {
    BLOCK_TRAILER = 5,
    FOOTER_BYTES = 120,
    COMPRESSED_RAW_MAX = 1 << 20, /* larger blocks are stored plain: a bound on inflation */
    COMPRESSED_RATIO_MAX = 1024,
    RESTART_INTERVAL_MAX = 64
};

/* Offsets in the footer. */
enum {
    FOOT_INDEX = 0,
    FOOT_FILTER = 16,
    FOOT_RANGES = 32,
    FOOT_ENTRIES = 48,
    FOOT_DELETIONS = 56,
    FOOT_EXPIRING = 64,
    FOOT_RANGE_COUNT = 72,
    FOOT_RAW_BYTES = 80,
    FOOT_DATA_END = 88,
    FOOT_UNIQUE_ID = 96,
    FOOT_CODECS = 104,
    FOOT_VERSION = 108,
    FOOT_CRC = 112,
    FOOT_MAGIC = 116
};

/* Where a block lies; size is without the trailer. An absent block has size 0. */
typedef struct block_handle {
    uint64_t offset, size;
} block_handle;

typedef struct table_footer {
    block_handle index, filter, ranges;
    uint64_t entries, deletions, expiring, range_count, raw_bytes, data_end, unique_id;
    uint32_t codecs; /* bit n: some block uses codec n */
} table_footer;

void footer_encode(const table_footer *f, uint64_t offset, uint8_t out[FOOTER_BYTES]);

/* Decode and check against the place it was read from. name is for error texts. */
FKV_MUST_CHECK fkv_status footer_decode(const uint8_t in[FOOTER_BYTES], uint64_t offset,
                                        const char *name, table_footer *out);

/* `stored` is the content with the codec byte behind it; size counts the content. */
static inline uint32_t block_check(uint64_t unique_id, uint64_t offset, const uint8_t *stored,
                                   size_t size)
{
    return checksum_at(unique_id, offset, stored, size + 1);
}

/* -- codec.c -- */

/* Compress size bytes into out (emptied first). 1 if it was worth it, 0 to store them plain; memory
** failures count as 0. */
int codec_compress(codec_id id, int level, const uint8_t *data, size_t size, buf *out);

/* Fill exactly raw_size bytes of out. FKV_CORRUPT (without a place) if the bytes disagree,
** FKV_UNSUPPORTED if the codec is not built in. */
FKV_MUST_CHECK fkv_status codec_decompress(codec_id id, const uint8_t *data, size_t size,
                                           uint8_t *out, size_t raw_size);

#endif
