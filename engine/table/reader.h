/* reader.h -- an open table, inside table/. */
#ifndef FKV_TABLE_READER_H
#define FKV_TABLE_READER_H

#include "table/block.h"
#include "table/cache.h"
#include "table/codec.h"
#include "table/filter.h"
#include "table/index.h"

struct table {
    fkv_env *env;
    env_file *file;
    block_cache *cache;
    size_t charged; /* to the cache */
    char name[64];
    uint64_t file_bytes;
    const table_summary *expected; /* the manifest's; NULL: nothing is known */
    table_footer footer;
    table_index index;
    fkv_slice filter;       /* size 0: none; lines aligned to cache lines */
    uint8_t *filter_memory; /* what it lies in */
    block *range_bytes;
    struct table_range {
        fkv_slice from, to;
    } * ranges;
};

/* Check a block as it lies in the file, content and trailer. `what` names it in error texts. */
FKV_MUST_CHECK fkv_status table_check_stored(const table *t, block_handle h, const uint8_t *stored,
                                             const char *what);

/* Make a block of a checked one that is compressed. */
FKV_MUST_CHECK fkv_status table_inflate(const table *t, block_handle h, const uint8_t *stored,
                                        const char *what, block **out);

/* Read, check and inflate a block from the file. */
FKV_MUST_CHECK fkv_status table_load_block(table *t, block_handle h, const char *what, block **out);

/* Read it and check it as it lies there, no more. */
FKV_MUST_CHECK fkv_status table_check_block(table *t, block_handle h, const char *what);

/* table_load_block through the cache. */
FKV_MUST_CHECK fkv_status table_data_block(table *t, size_t i, block **out);

/* The range tombstones that the footer names. */
FKV_MUST_CHECK fkv_status table_load_ranges(table *t);
void table_drop_ranges(table *t); /* as if there were none */

/* Raise FKV_CORRUPT for a block that passed its checksum but makes no sense. */
fkv_status table_bad_block(const table *t, const char *what, uint64_t offset);

#endif
