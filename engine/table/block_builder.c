#include "table/block.h"

void block_builder_add(block_builder *b, entry_kind kind, fkv_slice key, fkv_slice value,
                       int64_t expires_ms)
{
    size_t shared = 0;

    if (b->entries == 0 || b->since_restart >= b->interval) {
        buf_append_u32(&b->restarts, (uint32_t)b->bytes.size);
        b->since_restart = 0;
    } else {
        shared = slice_common(buf_slice(&b->last_key), key);
    }
    buf_append_varint(&b->bytes, shared);
    buf_append_varint(&b->bytes, key.size - shared);
    buf_append_varint(&b->bytes, (uint64_t)value.size << 3 | (uint64_t)kind);
    if (key.size > shared) buf_append(&b->bytes, key.data + shared, key.size - shared);
    if (kind == ENTRY_PUT_EXPIRES) buf_append_u64(&b->bytes, (uint64_t)expires_ms);
    buf_append(&b->bytes, value.data, value.size);
    buf_set(&b->last_key, key);
    b->since_restart++;
    b->entries++;
}

fkv_status block_builder_finish(block_builder *b, fkv_slice *out)
{
    fkv_status rc = buf_status(&b->last_key);

    if (rc) return rc;
    buf_append(&b->bytes, b->restarts.data, b->restarts.size);
    buf_append_u32(&b->bytes, (uint32_t)(b->restarts.size / 4));
    if (b->restarts.failed) return FKV_RAISE(FKV_NOMEM);
    rc = buf_status(&b->bytes);
    *out = buf_slice(&b->bytes);
    return rc;
}

void block_builder_reset(block_builder *b)
{
    buf_clear(&b->bytes);
    buf_clear(&b->restarts);
    buf_clear(&b->last_key);
    b->since_restart = 0;
    b->entries = 0;
}

void block_builder_release(block_builder *b)
{
    buf_release(&b->bytes);
    buf_release(&b->restarts);
    buf_release(&b->last_key);
}
