/*
** buf.h -- a growable byte buffer with a sticky error.
**
** Append freely and check once: after an allocation fails every append is a no-op and
** buf_status() says FKV_NOMEM. A zeroed buf is an empty one.
*/
#ifndef FKV_BASE_BUF_H
#define FKV_BASE_BUF_H

#include "base/alloc.h"
#include "base/slice.h"

typedef struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    int failed; /* an allocation failed: contents are incomplete */
} buf;

/* Give the memory back. Safe on zeroed memory and twice. */
void buf_release(buf *b);

/* Make it empty and clear the sticky error; keeps the memory. */
static inline void buf_clear(buf *b)
{
    b->size = 0;
    b->failed = 0;
}

/* Room for `extra` more bytes. Returns where they go (not yet counted in size), NULL on
** failure. */
uint8_t *buf_reserve(buf *b, size_t extra);

void buf_append(buf *b, const void *data, size_t size);
void buf_append_u8(buf *b, uint8_t v);
void buf_append_u32(buf *b, uint32_t v);
void buf_append_u64(buf *b, uint64_t v);
void buf_append_varint(buf *b, uint64_t v);

/* A varint length and then the bytes. */
void buf_append_slice(buf *b, fkv_slice s);

/* Replace the contents by a copy of s (which may not point into b). */
static inline void buf_set(buf *b, fkv_slice s)
{
    buf_clear(b);
    buf_append(b, s.data, s.size);
}

static inline fkv_slice buf_slice(const buf *b)
{
    return fkv_slice_of(b->data, b->size);
}

/* FKV_OK, or FKV_NOMEM if an append was lost since the last clear. */
FKV_MUST_CHECK fkv_status buf_status(const buf *b);

#endif
