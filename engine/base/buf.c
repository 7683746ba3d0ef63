#include "base/buf.h"

#include "base/coding.h"

void buf_release(buf *b)
{
    alloc_free(b->data);
    *b = (buf){0};
}

uint8_t *buf_reserve(buf *b, size_t extra)
{
    size_t need, capacity;
    uint8_t *data;

    if (b->failed) return NULL;
    if (__builtin_add_overflow(b->size, extra, &need)) {
        b->failed = 1;
        return NULL;
    }
    if (need <= b->capacity && b->data) return b->data + b->size;
    capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity < need) {
        if (capacity > SIZE_MAX / 2) {
            capacity = need;
            break;
        }
        capacity *= 2;
    }
    data = alloc_resize(b->data, capacity);
    if (!data) {
        b->failed = 1;
        return NULL;
    }
    b->data = data;
    b->capacity = capacity;
    return data + b->size;
}

void buf_append(buf *b, const void *data, size_t size)
{
    uint8_t *p;

    if (size == 0) return;
    p = buf_reserve(b, size);
    if (!p) return;
    memcpy(p, data, size);
    b->size += size;
}

void buf_append_u8(buf *b, uint8_t v)
{
    buf_append(b, &v, 1);
}

void buf_append_u32(buf *b, uint32_t v)
{
    uint8_t bytes[4];
    put_u32(bytes, v);
    buf_append(b, bytes, sizeof bytes);
}

void buf_append_u64(buf *b, uint64_t v)
{
    uint8_t bytes[8];
    put_u64(bytes, v);
    buf_append(b, bytes, sizeof bytes);
}

void buf_append_varint(buf *b, uint64_t v)
{
    uint8_t bytes[VARINT64_MAX_BYTES];
    buf_append(b, bytes, (size_t)(put_varint(bytes, v) - bytes));
}

void buf_append_slice(buf *b, fkv_slice s)
{
    buf_append_varint(b, s.size);
    buf_append(b, s.data, s.size);
}

fkv_status buf_status(const buf *b)
{
    return b->failed ? FKV_RAISE(FKV_NOMEM) : FKV_OK;
}
