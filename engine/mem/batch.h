/*
** batch.h -- a transaction's private writes, in the order they were made.
**
** The bytes are log records' payload as they stand (FORMAT.md, "Records"), with room for the log
** record's header in front, so that a commit writes them without a copy. Each write has a position,
** 1, 2, 3 …; a rollback declares an interval of positions dead instead of taking anything back, so
** it cannot fail and disturbs no reader. An index for reading one's own writes is built only when
** somebody reads: a transaction of blind puts never pays for it.
**
** A batch is counted by reference: cursors keep it while the transaction moves on. One thread.
*/
#ifndef FKV_MEM_BATCH_H
#define FKV_MEM_BATCH_H

#include "mem/memtree.h"

#define BATCH_HEADROOM 64u /* bytes in front of the first record, for the log's header */

typedef struct batch {
    fkv_env *env;
    uint32_t refs;
    uint32_t count;     /* positions given out */
    uint32_t dead_ops;  /* of these, in dead intervals */
    uint32_t range_ops; /* range deletions written (dead ones too) */
    uint8_t *bytes;     /* a mapping: never moves, so slices into it hold */
    size_t capacity;
    size_t used;   /* BATCH_HEADROOM and the records */
    memtree index; /* built up to `indexed` */
    size_t indexed;
    mem_interval *dead;
    uint32_t dead_count, dead_capacity;
} batch;

/* A batch for `capacity` bytes of records. */
FKV_MUST_CHECK fkv_status batch_new(fkv_env *env, size_t capacity, batch **out);
static inline void batch_ref(batch *b)
{
    b->refs++;
}
void batch_unref(batch *b); /* NULL is fine */

/* Make it empty for the next transaction. REQUIRES: no other reference. */
void batch_clear(batch *b);

/* Would a record of this size fit? If not, the transaction has to spill. */
int batch_fits(const batch *b, size_t record_bytes);

/* Append. REQUIRES: batch_fits. */
void batch_add(batch *b, entry_kind kind, fkv_slice key, fkv_slice value, int64_t expires_ms);

/* Make room for one more dead interval, so that batch_rollback needs no memory. Called whenever a
** mark is handed out. */
FKV_MUST_CHECK fkv_status batch_reserve_rollback(batch *b);

/* Positions above `position` are dead. REQUIRES: a reservation was made when count was `position`
** (position 0 needs none). */
void batch_rollback(batch *b, uint32_t position);

static inline uint32_t batch_live(const batch *b)
{
    return b->count - b->dead_ops;
}

/* Bring the index up to date; before any read of the batch. */
FKV_MUST_CHECK fkv_status batch_index(batch *b);

/* What a reader sees now. The dead list is the batch's own: valid until the next rollback. */
mem_view batch_view(const batch *b);

/* The live records as one run: *bytes (8-aligned, BATCH_HEADROOM writable bytes in front) and
** *size. Points into the batch or into *copy, a mapping of *copy_size bytes the caller unmaps. */
FKV_MUST_CHECK fkv_status batch_payload(batch *b, uint8_t **bytes, size_t *size, uint8_t **copy,
                                        size_t *copy_size);

#endif
