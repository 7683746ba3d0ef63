/*
** block.h -- entries inside one uncompressed data block.
**
**   block := entry* restart(4)* restart-count(4)
**   entry := shared(varint) unshared(varint) (value-size << 3 | kind)(varint)
**            key-suffix [expires(8) if kind is PUT_EXPIRES] value
**
** Keys are prefix-compressed against the entry before; at a restart point shared is 0. Restarts are
** offsets of entries, ascending, the first one 0; at most RESTART_INTERVAL_MAX entries lie between
** two of them, and a key that is not alone in its block has at most BLOCK_KEY_MAX bytes.
**
** All reading is safe on hostile bytes: nonsense ends in FKV_CORRUPT, never in an access outside
** the block, nor in an endless walk (every step moves by at least an entry), nor in memory out of
** proportion (a step back decodes one interval, which the two limits bound).
*/
#ifndef FKV_TABLE_BLOCK_H
#define FKV_TABLE_BLOCK_H

#include "table/format.h"

/* -- building -- */

typedef struct block_builder {
    buf bytes;
    buf restarts; /* 32-bit offsets, encoded */
    buf last_key;
    uint32_t interval;
    uint32_t since_restart;
    uint64_t entries;
} block_builder;

void block_builder_add(block_builder *b, entry_kind kind, fkv_slice key, fkv_slice value,
                       int64_t expires_ms);
/* The finished block; valid until the next reset. */
FKV_MUST_CHECK fkv_status block_builder_finish(block_builder *b, fkv_slice *out);
void block_builder_reset(block_builder *b);
void block_builder_release(block_builder *b);
static inline size_t block_builder_bytes(const block_builder *b)
{
    return b->bytes.size + b->restarts.size + 4;
}

/* -- reading -- */

typedef struct block_entry {
    uint32_t at, next; /* offsets of this entry and of the one behind it */
    uint32_t shared, unshared;
    const uint8_t *suffix;
    iter_entry row; /* key: only where a cursor stands, in the block or in the cursor */
} block_entry;

typedef struct block_cursor {
    const uint8_t *data;
    uint32_t size;
    uint32_t limit; /* end of entries */
    uint32_t restart_count;
    int valid;
    fkv_status failed; /* FKV_CORRUPT: malformed; FKV_NOMEM; not raised, final */
    block_entry entry;
    buf key_bytes;
    buf back; /* the restart interval that is walked backwards, decoded */
    buf back_keys;
    size_t back_at, back_count; /* position in `back`; count 0 = walking forwards */
} block_cursor;

/* Point the cursor at a block (borrowed; size >= 0 of any bytes). Leaves it on nothing. */
void block_cursor_open(block_cursor *c, const uint8_t *data, size_t size);
void block_cursor_release(block_cursor *c);

/* None of these does anything once the cursor has failed. `key` may not lie in the cursor. */
void block_cursor_first(block_cursor *c);
void block_cursor_last(block_cursor *c);
void block_cursor_seek(block_cursor *c, fkv_slice key);        /* first entry >= key */
void block_cursor_seek_before(block_cursor *c, fkv_slice key); /* last entry < key */
void block_cursor_next(block_cursor *c);                       /* REQUIRES: valid */
void block_cursor_prev(block_cursor *c);                       /* REQUIRES: valid */

/* Are the restarts what they should be? For table_verify: walks don't need all of it. */
int block_restarts_check(const uint8_t *data, size_t size);

/* Find exactly key without building keys. 1 found, 0 not there, -1 malformed. */
int block_get(const uint8_t *data, size_t size, fkv_slice key, block_entry *out);

#endif
