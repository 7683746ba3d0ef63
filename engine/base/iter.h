/*
** iter.h -- the one shape every sorted source wears: batch, memtable, table, level, merge.
**
** An iterator stands on an entry or on nothing. The entry it stands on lies in plain memory, so
** that a merge reads it without a call, and where its source keeps it: a level or a merge passes
** on the pointer of its child, and no layer copies. (The shape is git reftable's; the plain entry
** is ours.)
**
** After any positioning call: entry is set, or it is NULL and status says why: FKV_OK means there
** is nothing there, anything else is an error and final.
**
** The entry and its slices hold until the next positioning call or the close of this iterator.
*/
#ifndef FKV_BASE_ITER_H
#define FKV_BASE_ITER_H

#include "base/slice.h"

/* Part of the file formats (WAL records, table entries): never renumber. Three bits. */
typedef enum entry_kind {
    ENTRY_PUT = 1,
    ENTRY_DELETE = 2,       /* hides the key in everything older */
    ENTRY_PUT_EXPIRES = 3,  /* a put that stops being visible at expires_ms (Unix time) */
    ENTRY_RANGE_DELETE = 4, /* key = first deleted key, value = first key kept; in logs only */
    ENTRY_NEW_SPACE = 5     /* key = 4-byte big-endian keyspace id now in use; in logs only */
} entry_kind;

typedef struct iter iter;

typedef struct iter_ops {
    void (*seek)(iter *it, fkv_slice key);        /* first entry with key >= this */
    void (*seek_before)(iter *it, fkv_slice key); /* last entry with key < this */
    void (*first)(iter *it);
    void (*last)(iter *it);
    void (*next)(iter *it); /* REQUIRES: entry */
    void (*prev)(iter *it); /* REQUIRES: entry */

    /* Is `key` deleted from *older* sources by a range tombstone of this source? 1 = yes, and
    ** [*from, *to) is a tombstone holding it (slices as long-lived as the source). 0 = no, or an
    ** error in it->status. NULL when the source can hold none. */
    int (*covers)(iter *it, fkv_slice key, fkv_slice *from, fkv_slice *to);
    void (*close)(iter *it); /* frees it */
} iter_ops;

typedef struct iter_entry {
    fkv_slice key;
    fkv_slice value;
    int64_t expires_ms; /* for ENTRY_PUT_EXPIRES */
    uint8_t kind;       /* ENTRY_PUT, ENTRY_DELETE or ENTRY_PUT_EXPIRES */
} iter_entry;

struct iter {
    const iter_ops *ops;
    const iter_entry *entry;
    fkv_status status;
    uint8_t has_ranges; /* covers() can say yes: ask it */
};

static inline void iter_close(iter *it)
{
    if (it) it->ops->close(it);
}

#endif
