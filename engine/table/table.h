/*
** table.h -- the sorted table: an immutable file of entries in key order.
**
** One version of a key per table and no sequence numbers: a table is older or newer as a whole
** (ARCHITECTURE.md, "Age instead of sequence numbers"). A range tombstone in a table hides entries
** of older tables only, never of its own. The bytes are described in FORMAT.md, "Table file".
*/
#ifndef FKV_TABLE_TABLE_H
#define FKV_TABLE_TABLE_H

#include "base/buf.h"
#include "base/iter.h"
#include "io/env.h"
#include "table/codec_rules.h"

/* Codecs; part of the file format: never renumber. Tag of every block. */
typedef enum codec_id { CODEC_NONE = 0, CODEC_ZLIB = 1, CODEC_LZ4 = 2, CODEC_ZSTD = 3 } codec_id;

/* Is this codec built in? */
int codec_available(codec_id id);
const char *codec_name(codec_id id); /* "none", "zlib", "lz4", "zstd" */

/* -- block cache ---------------------------------------------------------------------------- */

/* Uncompressed blocks of all tables of a store, about least recently used first out, several locked
** shards. Blocks are counted by reference, so one that a reader holds survives its eviction. What
** open tables keep in memory, index, filter and ranges, is taken out of the capacity, down to a
** floor that blocks always have. Thread-safe. */
typedef struct block_cache block_cache;

typedef struct cache_stats {
    uint64_t hits, misses, bytes;
    uint64_t capacity; /* without what open tables take */
} cache_stats;

FKV_MUST_CHECK fkv_status block_cache_new(fkv_env *env, size_t capacity_bytes, size_t floor_bytes,
                                          block_cache **out);
void block_cache_free(block_cache *cache); /* NULL is fine; after all its tables */
void block_cache_resize(block_cache *cache, size_t capacity_bytes, size_t floor_bytes);
void block_cache_stats(block_cache *cache, cache_stats *out);

/* -- building ------------------------------------------------------------------------------- */

typedef struct table_options {
    uint32_t block_bytes;      /* target size of an uncompressed data block; default 4096 */
    uint32_t restart_interval; /* entries between whole keys; default 8 */
    uint32_t bloom_bits;       /* filter bits per key; 0 = no filter; default 10 */
    codec_id codec;  /* for data blocks; a block that does not shrink by 1/8 stays plain; default:
                    ** LZ4, or none if that is not built in */
    int codec_level; /* 0 = the codec's default */
    const codec_rules *rules; /* keyspaces with another codec; NULL = none. Outlives the builder */
} table_options;

void table_options_default(table_options *out);

/* What the manifest remembers of a table. Keys are owned (malloc'ed with the struct's buf). */
typedef struct table_summary {
    uint64_t file_bytes;
    uint64_t unique_id;    /* random; also in the footer and in every block's checksum */
    uint64_t entries;      /* point entries of all kinds */
    uint64_t deletions;    /* of these: ENTRY_DELETE */
    uint64_t expiring;     /* of these: ENTRY_PUT_EXPIRES */
    uint64_t ranges;       /* range tombstones */
    uint64_t raw_bytes;    /* key + value bytes of all entries */
    int64_t first_expiry;  /* Unix time, ms: of the first row that expires; 0 = none does */
    int64_t half_gone;     /* from about when half of the entries are deletions or have expired;
                           ** 0 = never */
    buf smallest, largest; /* bounds over entries and range tombstones */
    uint8_t largest_open;  /* largest is a range tombstone's end: the key itself is not inside */
} table_summary;

void table_summary_release(table_summary *s);

typedef struct table_builder table_builder;

/* Start a table in `file` (empty, open for writing, borrowed). The builder picks unique_id from
** env->random. */
FKV_MUST_CHECK fkv_status table_builder_new(fkv_env *env, env_file *file, const table_options *opt,
                                            table_builder **out);

/* Add an entry; keys strictly ascending. Errors are sticky. kind: PUT, DELETE or PUT_EXPIRES. */
FKV_MUST_CHECK fkv_status table_builder_add(table_builder *b, entry_kind kind, fkv_slice key,
                                            fkv_slice value, int64_t expires_ms);

/* Add a range tombstone [from, to), from < to; disjoint and ascending among themselves; at any
** time before finish. */
FKV_MUST_CHECK fkv_status table_builder_add_range(table_builder *b, fkv_slice from, fkv_slice to);

/* Bytes the file would have if finished now, roughly. */
uint64_t table_builder_bytes(const table_builder *b);
uint64_t table_builder_entries(const table_builder *b);

/* Write index, filter, ranges and footer, and sync the file. *out is owned by the caller from
** then on. REQUIRES: at least one entry or range. */
FKV_MUST_CHECK fkv_status table_builder_finish(table_builder *b, table_summary *out);
void table_builder_free(table_builder *b); /* NULL is fine; finished or not */

/* -- reading -------------------------------------------------------------------------------- */

typedef struct table table;

/* Open a table over `file`, which it owns from then on (also on failure). name is used in error
** texts. unique_id and file_bytes are the manifest's: a file that disagrees is FKV_CORRUPT. Reads
** footer, index, filter and ranges; they stay in memory until table_free. cache may be NULL (each
** read then brings its own block). */
FKV_MUST_CHECK fkv_status table_open(fkv_env *env, env_file *file, const char *name,
                                     uint64_t unique_id, uint64_t file_bytes, block_cache *cache,
                                     table **out);
void table_free(table *t); /* NULL is fine; no iterator or value may be left */

/* What the manifest says of the table, borrowed for the table's life. Counts that disagree with the
** footer's are FKV_CORRUPT at once, bounds that disagree with the keys when table_verify sees them:
** a key outside the bounds would be shown by walks and missed by gets. */
FKV_MUST_CHECK fkv_status table_expect(table *t, const table_summary *summary);

/* Bytes of memory the open table keeps (index, filter, ranges). */
size_t table_memory(const table *t);

/* A pinned point-read result: slices hold until table_value_release. */
typedef struct table_value {
    fkv_slice value;
    int64_t expires_ms;
    uint8_t kind; /* ENTRY_PUT, ENTRY_DELETE, ENTRY_PUT_EXPIRES */
    void *pin;    /* the block, or NULL */
} table_value;

/* Find key: FKV_OK and *out, or FKV_NOTFOUND (not raised), or an error. hash is
** hash64(key, 0), computed once by the caller for all tables. */
FKV_MUST_CHECK fkv_status table_get(table *t, fkv_slice key, uint64_t hash, table_value *out);
/* Begin to bring near what table_get reads first. */
void table_fetch(const table *t, uint64_t hash);
void table_value_release(table_value *v); /* zeroed is fine; twice is fine */

/* Does a range tombstone of this table hold key? As iter_ops.covers; cannot fail. */
int table_covers(const table *t, fkv_slice key, fkv_slice *from, fkv_slice *to);

/* Range tombstone i (0 .. count-1), ascending. */
uint64_t table_range_count(const table *t);
void table_range_at(const table *t, uint64_t i, fkv_slice *from, fkv_slice *to);

/* An iterator over the entries (range tombstones through covers). The table must outlive it.
** `once`: the reader comes through a single time (compaction): blocks bypass the cache and are read
** ahead in larger pieces. */
FKV_MUST_CHECK fkv_status table_iter_new(table *t, int once, iter **out);

/* Estimate of how many of the table's data bytes lie before key (0 .. data bytes). */
uint64_t table_offset_of(const table *t, fkv_slice key);

/* What table_check_blocks is to do, and what it has done. All zero but `deep` is table_verify. */
typedef struct table_check {
    int deep; /* decode the blocks as well: order and bounds of keys, counts, and that
                        ** index and filter find every key */
    fkv_slice from,
        to; /* only data blocks that may hold keys in [from, to); to.data == NULL: all */
    fkv_status (*damaged)(void *arg, fkv_status rc); /* told of damage, and of bytes that could not
                        ** be read: the error is this thread's. FKV_OK: go on. NULL: the first ends
                        ** it */
    fkv_status (*block)(void *arg); /* before each data block; not OK ends the check. Or NULL */
    fkv_status (*row)(void *arg, uint64_t offset, const iter_entry *e); /* deep; likewise */
    void *arg;
    uint64_t blocks, entries; /* data blocks and, if deep, entries seen; added to */
} table_check;

FKV_MUST_CHECK fkv_status table_check_blocks(table *t, table_check *how);

/* What table_salvage gives. Callbacks that do not answer FKV_OK end it. */
typedef struct table_salvager {
    fkv_status (*range)(void *arg, fkv_slice from, fkv_slice to); /* before all entries */
    fkv_status (*entry)(void *arg, const iter_entry *e);
    /* These bytes are lost, and this thread's error says why; 0 bytes: but nothing was in them that
    ** is not elsewhere. */
    fkv_status (*lost)(void *arg, uint64_t offset, uint64_t bytes);
    void *arg;
} table_salvager;

/* Read what can be read of a damaged table, in the order of its keys. `expected`: what is known of
** it, or NULL. The file is the caller's. */
FKV_MUST_CHECK fkv_status table_salvage(fkv_env *env, env_file *file, const char *name,
                                        const table_summary *expected, const table_salvager *how);

/* Verify every block's checksum, key order, bounds and that the filter admits every key. */
FKV_MUST_CHECK fkv_status table_verify(table *t);

#endif
