/*
** table_iter.c -- walking a table: a cursor in the index, a cursor in the block it leads to.
**
** With `once` (compaction) blocks are not taken through the cache, which would be flushed by them,
** but cut from a piece of 256 KB that was read ahead.
*/
#include "base/alloc.h"
#include "table/reader.h"

enum { AHEAD_BYTES = 256 << 10 };

typedef struct table_iter {
    iter base;
    table *t;
    size_t at;          /* block that `cursor` walks */
    block *block;
    block_cursor cursor;
    int once;
    uint8_t *ahead;
    uint64_t ahead_offset;
    size_t ahead_size, ahead_capacity;
} table_iter;

/* A block for a reader that comes by once. */
static fkv_status read_ahead(table_iter *it, size_t i, block **out)
{
    table *t = it->t;
    block_handle h = t->index.entries[i].handle;
    size_t need = (size_t)h.size + BLOCK_TRAILER;
    int inside = h.offset >= it->ahead_offset &&
                 h.offset - it->ahead_offset + need <= it->ahead_size;
    fkv_status rc;

    if (!inside) {
        size_t want = need > AHEAD_BYTES ? need : AHEAD_BYTES;
        if (want > it->ahead_capacity) {
            uint8_t *p = alloc_resize(it->ahead, want);
            if (!p) return FKV_RAISE(FKV_NOMEM);
            it->ahead = p;
            it->ahead_capacity = want;
        }
        it->ahead_size = 0;
        rc = t->env->file_read(t->env, t->file, h.offset, it->ahead, want, &it->ahead_size);
        if (rc) return rc;
        it->ahead_offset = h.offset;
        if (it->ahead_size < need)
            return FKV_RAISEF(FKV_CORRUPT, "%s: the file ends in a data block at offset %llu",
                              t->name, (unsigned long long)h.offset);
    }
    return table_load_block(t, h, it->ahead + (h.offset - it->ahead_offset), "data", out);
}

/* Make block i the current one. 0 at either end or on failure. */
static int open_block(table_iter *it, size_t i)
{
    block *b = NULL;
    fkv_status rc;

    it->base.valid = 0;
    if (i >= it->t->index.count) return 0;
    if (it->block && it->at == i) return 1;
    rc = it->once ? read_ahead(it, i, &b) : table_data_block(it->t, i, &b);
    if (rc) {
        it->base.status = rc;
        return 0;
    }
    block_unref(it->block);
    it->block = b;
    it->at = i;
    block_cursor_open(&it->cursor, b->data, b->size);
    return 1;
}

static void show(table_iter *it)
{
    const block_cursor *c = &it->cursor;

    it->base.key = c->key;
    it->base.value = c->entry.value;
    it->base.expires_ms = c->entry.expires_ms;
    it->base.kind = c->entry.kind;
    it->base.valid = 1;
}

/* The block cursor has been moved. 1 if that settles it (an entry, or an error). */
static int settled(table_iter *it)
{
    it->base.valid = 0;
    if (it->cursor.bad) {
        it->base.status = it->cursor.key_bytes.failed || it->cursor.interval.failed ||
                                  it->cursor.interval_keys.failed
                              ? FKV_RAISE(FKV_NOMEM)
                              : table_bad_block(it->t, it->t->index.entries[it->at].handle.offset);
        return 1;
    }
    if (it->cursor.valid) show(it);
    return it->cursor.valid;
}

static void settle_forward(table_iter *it)
{
    while (!settled(it)) {
        if (!open_block(it, it->at + 1)) return;
        block_cursor_first(&it->cursor);
    }
}

static void settle_back(table_iter *it)
{
    while (!settled(it)) {
        if (it->at == 0 || !open_block(it, it->at - 1)) return;
        block_cursor_last(&it->cursor);
    }
}

static void table_seek(iter *base, fkv_slice key)
{
    table_iter *it = (table_iter *)base;

    base->status = FKV_OK;
    if (!open_block(it, index_find(&it->t->index, key))) return;
    block_cursor_seek(&it->cursor, key);
    settle_forward(it);
}

static void table_seek_before(iter *base, fkv_slice key)
{
    table_iter *it = (table_iter *)base;
    size_t i = index_find(&it->t->index, key);

    base->status = FKV_OK;
    if (i == it->t->index.count && i > 0) i--;
    if (!open_block(it, i)) return;
    block_cursor_seek_before(&it->cursor, key);
    settle_back(it);
}

static void table_first(iter *base)
{
    table_iter *it = (table_iter *)base;

    base->status = FKV_OK;
    if (!open_block(it, 0)) return;
    block_cursor_first(&it->cursor);
    settle_forward(it);
}

static void table_last(iter *base)
{
    table_iter *it = (table_iter *)base;

    base->status = FKV_OK;
    base->valid = 0;
    if (it->t->index.count == 0 || !open_block(it, it->t->index.count - 1)) return;
    block_cursor_last(&it->cursor);
    settle_back(it);
}

static void table_next(iter *base)
{
    table_iter *it = (table_iter *)base;

    block_cursor_next(&it->cursor);
    if (it->cursor.valid) {
        show(it);
    } else {
        settle_forward(it);
    }
}

static void table_prev(iter *base)
{
    table_iter *it = (table_iter *)base;

    block_cursor_prev(&it->cursor);
    if (it->cursor.valid) {
        show(it);
    } else {
        settle_back(it);
    }
}

static int iter_covers(iter *base, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    return table_covers(((table_iter *)base)->t, key, from, to);
}

static void table_iter_close(iter *base)
{
    table_iter *it = (table_iter *)base;

    block_unref(it->block);
    block_cursor_release(&it->cursor);
    alloc_free(it->ahead);
    alloc_free(it);
}

static const iter_ops table_iter_ops = {table_seek, table_seek_before, table_first, table_last,
                                        table_next, table_prev,        iter_covers, table_iter_close};

fkv_status table_iter_new(table *t, int once, iter **out)
{
    table_iter *it = alloc_zero(sizeof *it);

    *out = NULL;
    if (!it) return FKV_RAISE(FKV_NOMEM);
    it->base.ops = &table_iter_ops;
    it->base.has_ranges = t->footer.range_count != 0;
    it->t = t;
    it->once = once;
    *out = &it->base;
    return FKV_OK;
}
