/*
** memtable.h -- the committed writes that are in the log and not yet in a table.
**
** A memtable holds only what the log holds, so it never needs undo. One writer (the holder of the
** store's writer lock) applies; readers are lock-free. Counted by reference; any thread.
*/
#ifndef FKV_MEM_MEMTABLE_H
#define FKV_MEM_MEMTABLE_H

#include "mem/memtree.h"

#include "base/sabotage.h"

/* The arena that a memtable has left behind, for the next one: a fill spends a sixth of its time on
** pages that are mapped, cleared and touched for the first time. One for a store, whose memtables
** are all of one size; outlives them. A process that only follows others has none: it would hold
** memory for nothing. Threads: any. */
typedef struct memtable_spare {
    _Atomic(uint8_t *) arena;
    _Atomic(env_region *) region; /* likewise, of those that others can borrow */
} memtable_spare;

typedef struct memtable {
    memtree tree;
    memtable_spare *spare;
    _Atomic uint32_t refs;
    uint64_t base_seq;          /* records hold sequences relative to this */
    uint64_t last_seq;          /* highest applied; the writer's own until sealed */
    _Atomic uint64_t first_log; /* LSN of the first record applied; UINT64_MAX = none */
    _Atomic uint64_t last_log;  /* LSN of the last one */
    uint64_t before_seq;        /* the store's sequence just before the first one */
    uint64_t before_host;       /* and the last hosted transaction */
    size_t record_bytes;        /* applied so far */
    _Atomic uint64_t records;   /* applied so far */
    size_t full_bytes;          /* seal it when this much of the arena is used */
    env_region *region;         /* it lies in one (memtable_share.h); or NULL */
    int borrowed;               /* which is another process's: it is sealed here */
    uint64_t limit_seq;         /* of one that is borrowed: what comes later does not count */
    uint64_t from_lsn;          /* what is committed before is not in it */
    int loose;                  /* rows are linked by memtable_link, not one by one */
} memtable;

enum { MEMTABLE_RANGES_MAX = 128 }; /* seal at this many range tombstones: reads walk them all */

/* A batch accepted by batch_fits(capacity = full_bytes) always fits a memtable of this size that
** is not full. spare: where its arena comes from, if there is one, and goes to; or NULL. */
FKV_MUST_CHECK fkv_status memtable_new(fkv_env *env, memtable_spare *spare, size_t full_bytes,
                                       uint64_t base_seq, memtable **out);
void memtable_ref(memtable *m);
void memtable_unref(memtable *m); /* NULL is fine */

/* Give back what is left. REQUIRES: no memtable of it is. */
void memtable_spare_release(memtable_spare *spare, fkv_env *env, size_t full_bytes);

/* Time to seal it? */
int memtable_full(const memtable *m);

/* Add `size` bytes of records (a log payload, checked by memtable_payload_check); the first gets
** sequence first_seq, the others follow. Cannot fail. REQUIRES: not full. */
void memtable_apply(memtable *m, const uint8_t *payload, size_t size, uint64_t first_seq);

/* From here on what is applied is not to be found before memtable_link(), which is faster for many
** rows than linking one at a time. REQUIRES: nothing applied yet, no reader until then. */
void memtable_loosen(memtable *m);
void memtable_link(memtable *m); /* does nothing to one that is not loose */

/* The record at `lsn` is about to be applied; before it the store's sequence is before_seq, and its
** last hosted transaction before_host. */
void memtable_note_log(memtable *m, uint64_t lsn, uint64_t before_seq, uint64_t before_host);

/* Would a payload that no batch_fits() has measured fit as it is? */
int memtable_has_room(const memtable *m, size_t size, uint32_t count);

/* Is there room for a payload that no batch_fits() has measured? A fresh memtable grows to hold it.
** For replay: a log may have been written with larger memtables. REQUIRES: fresh, no reader yet. */
FKV_MUST_CHECK fkv_status memtable_room(memtable *m, size_t size, uint32_t count);

/* Is `payload` a run of well-formed records, `count` of them? For bytes that come from a file. */
int memtable_payload_check(const uint8_t *payload, size_t size, uint32_t count);

/* What a reader at store sequence `seq` sees of it. */
static inline mem_view memtable_view(const memtable *m, uint64_t seq)
{
    if (seq > m->limit_seq) seq = m->limit_seq;
    uint64_t limit = SABOTAGE(21) ? UINT32_MAX : seq > m->base_seq ? seq - m->base_seq : 0;
    return (mem_view){limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit, 0, NULL};
}

/* For memtable_share.c: the arena that full_bytes asks for; one in given memory, which is not
** cleared; and for the address sanitizer, memory that nobody may touch until it is permitted. */
size_t memtable_arena_bytes(size_t full_bytes);
FKV_MUST_CHECK fkv_status memtable_new_in(fkv_env *env, env_region *region, uint8_t *arena,
                                          size_t size, uint64_t base_seq, memtable **out);
void memtable_forbid(uint8_t *arena, size_t bytes);
void memtable_permit(uint8_t *arena, size_t bytes);

#endif
