/*
** format.h -- numbers of the table file. Normative text: FORMAT.md, "Table file".
**
**   file   := data-block+ [filter-block] [range-block] index-block footer
**   block  := content codec(1) check(4)    checksum over content and codec, at (unique id, offset)
**   content of a compressed block := raw-size(4) compressed-bytes
**
** Invariants, all checked when a table is opened or a block is read
**   1. Blocks and footer lie end to end: data blocks from 0 to data_end in index order, then the
**      meta blocks in the order above, then the footer. No byte belongs to nothing, and none is
**      outside a checksum, so damage anywhere is seen by whoever reads that byte.
**   2. A checksum covers the table's random unique id and the block's offset: a block of another
**      table, or of another place, is damage.
**   3. The manifest knows unique id and size. A table replaced by another one is damage.
**   4. Every codec that a block uses is in the footer's set: a table is refused as a whole, at
**      open, by a build that cannot read all of it.
**   5. The footer's size and the places of its version, check and magic are the same in all
**      versions.
**
** A crash while a table is written leaves a file that no manifest names. It is never read.
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
    RESTART_INTERVAL_MAX = 64,
    BLOCK_TARGET_MAX = 1 << 20,      /* largest block_bytes */
    BLOCK_KEY_MAX = BLOCK_TARGET_MAX /* a longer key has a block of its own */
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

/* Does h begin at *end? Then *end moves behind it and its trailer. 0 if not, or on overflow. */
int handle_follows(block_handle h, uint64_t *end);

/* Decode and check against the place it was read from. name is for error texts. */
FKV_MUST_CHECK fkv_status footer_decode(const uint8_t in[FOOTER_BYTES], uint64_t offset,
                                        const char *name, table_footer *out);

/* `stored` is the content with the codec byte behind it; size counts the content. */
static inline uint32_t block_check(uint64_t unique_id, uint64_t offset, const uint8_t *stored,
                                   size_t size)
{
    return checksum_at(unique_id, offset, stored, size + 1);
}

#endif
