#include "mem/batch.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/sabotage.h"

fkv_status batch_new(fkv_env *env, size_t capacity, batch **out)
{
    batch *b = alloc_zero(sizeof *b);

    *out = NULL;
    if (!b) return FKV_RAISE(FKV_NOMEM);
    b->env = env;
    b->refs = 1;
    b->capacity = BATCH_HEADROOM + capacity;
    b->bytes = env->map(env, b->capacity, 0);
    if (!b->bytes) {
        alloc_free(b);
        return FKV_RAISE(FKV_NOMEM);
    }
    b->used = b->indexed = BATCH_HEADROOM;
    if (batch_reserve_rollback(b)) { /* position 0 must always be reachable */
        batch_unref(b);
        return FKV_NOMEM;
    }
    *out = b;
    return FKV_OK;
}

void batch_unref(batch *b)
{
    if (!b || --b->refs > 0) return;
    memtree_release(&b->index);
    b->env->unmap(b->env, b->bytes, b->capacity);
    alloc_free(b->dead);
    alloc_free(b);
}

void batch_clear(batch *b)
{
    assert(b->refs == 1);
    b->used = b->indexed = BATCH_HEADROOM;
    b->count = b->dead_ops = b->range_ops = b->dead_count = 0;
    if (b->index.arena) memtree_clear(&b->index);
}

/* The index and the memtable that will take the records need node space as well. */
int batch_fits(const batch *b, size_t record_bytes)
{
    size_t nodes = MEMTREE_NODE_BYTES((size_t)b->count + 1);
    return record_bytes <= b->capacity - b->used && b->used + record_bytes + nodes <= b->capacity &&
           b->count < UINT32_MAX - 1;
}

void batch_add(batch *b, entry_kind kind, fkv_slice key, fkv_slice value, int64_t expires_ms)
{
    mem_record *r = (mem_record *)(void *)(b->bytes + b->used);

    assert(batch_fits(b, mem_record_bytes(kind, key.size, value.size)));
    mem_record_write(r, kind, key, value, expires_ms);
    r->seq = ++b->count;
    b->used += mem_record_bytes(kind, key.size, value.size);
    b->range_ops += kind == ENTRY_RANGE_DELETE;
}

fkv_status batch_reserve_rollback(batch *b)
{
    uint32_t capacity;
    mem_interval *dead;

    if (b->dead_count < b->dead_capacity) return FKV_OK;
    capacity = b->dead_capacity ? b->dead_capacity * 2 : 8;
    dead = alloc_resize(b->dead, capacity * sizeof *dead);
    if (!dead) return FKV_RAISE(FKV_NOMEM);
    b->dead = dead;
    b->dead_capacity = capacity;
    return FKV_OK;
}

void batch_rollback(batch *b, uint32_t position)
{
    uint32_t from = position + 1, to = b->count + 1;

    if (from >= to) return;
    if (position == 0 && b->refs == 1) {
        batch_clear(b);
        return;
    }
    /* Intervals inside the new one disappear, one that reaches where it begins grows: so a mark
    ** that is rolled back to again and again never needs a second interval. */
    while (b->dead_count && b->dead[b->dead_count - 1].from >= from) {
        mem_interval gone = b->dead[--b->dead_count];
        b->dead_ops -= gone.to - gone.from;
    }
    if (b->dead_count && b->dead[b->dead_count - 1].to >= from) {
        b->dead_ops += to - b->dead[b->dead_count - 1].to;
        b->dead[b->dead_count - 1].to = to;
        return;
    }
    assert(b->dead_count < b->dead_capacity);
    if (SABOTAGE(20)) to--; /* the last write stays */
    b->dead[b->dead_count++] = (mem_interval){from, to};
    b->dead_ops += to - from;
}

fkv_status batch_index(batch *b)
{
    if (!b->index.arena) {
        fkv_status rc = memtree_init(&b->index, b->env, b->capacity, b->bytes);
        if (rc) return rc;
    }
    while (b->indexed < b->used) {
        const mem_record *r = (const mem_record *)(const void *)(b->bytes + b->indexed);
        entry_kind kind = mem_record_kind(r);
        if (kind != ENTRY_NEW_SPACE) memtree_link(&b->index, (uint32_t)(b->indexed / MEM_UNIT));
        b->indexed += mem_record_bytes(kind, r->key_kind >> 3, r->value_size);
    }
    return FKV_OK;
}

mem_view batch_view(const batch *b)
{
    return (mem_view){b->count, b->dead_count, b->dead};
}

fkv_status batch_payload(batch *b, uint8_t **bytes, size_t *size, uint8_t **copy, size_t *copy_size)
{
    mem_view view = batch_view(b);
    size_t at = BATCH_HEADROOM, end = BATCH_HEADROOM;
    uint8_t *out;

    *copy = NULL;
    *copy_size = 0;
    *bytes = b->bytes + BATCH_HEADROOM;
    *size = b->used - BATCH_HEADROOM;
    if (b->dead_ops == 0) return FKV_OK;
    out = b->env->map(b->env, b->used, 1);
    if (!out) return FKV_RAISE(FKV_NOMEM);
    while (at < b->used) {
        const mem_record *r = (const mem_record *)(const void *)(b->bytes + at);
        size_t n = mem_record_bytes(mem_record_kind(r), r->key_kind >> 3, r->value_size);
        if (mem_view_sees(&view, r->seq)) {
            memcpy(out + end, r, n);
            end += n;
        }
        at += n;
    }
    *copy = out;
    *copy_size = b->used;
    *bytes = out + BATCH_HEADROOM;
    *size = end - BATCH_HEADROOM;
    return FKV_OK;
}
