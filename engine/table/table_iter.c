/*
** table_iter.c -- walking a table: a cursor in the index, a cursor in the block it leads to.
**
** A walk that goes from block to neighbouring block reads ahead, 8 KB at first, doubling to 256
** KB (one buffer, used again and again: mapping fresh pages for each piece cost more than
** reading). It asks the cache first. What it has read itself goes into the cache while that has
** room to spare; then plain blocks are used where they lie in the piece, without a copy, so that a
** scan does not flush out what point reads need. With `once` (compaction) the cache is neither
** asked nor filled.
**
** Cached blocks lie scattered in memory, where no hardware sees a scan coming: the walk through one
** block asks the processor for the next, two cache lines a row. It is a quarter of a scan's time.
** After a seek it asks for the rest of the block, and from the first step into a neighbouring block
** on for the next one: most ranges are short.
*/
#include "base/alloc.h"
#include "table/reader.h"

enum { AHEAD_MIN = 8 << 10, AHEAD_MAX = 256 << 10, STREAK = 1, AHEAD_ROWS = 512 };

typedef struct table_iter {
    iter base;
    table *t;
    size_t at;    /* block that `cursor` walks */
    block *block; /* what the cursor's bytes lie in */
    block_cursor cursor;
    int once;
    int backward;      /* direction of the streak */
    unsigned streak;   /* neighbouring blocks in a row */
    block *ahead;      /* a piece of the file, or NULL */
    size_t ahead_room; /* what `ahead` was made for */
    uint64_t ahead_offset;
    size_t ahead_next; /* size of the next piece */
    int placed;        /* `at` means something */
    block *next;       /* of a streak: the cached block to come, if it is cached, already fetched */
    size_t next_at;    /* its place; meaningful when next != NULL */
    const uint8_t *warm, *warm_end; /* what of it is still to be brought near */
    buf seek_key;
} table_iter;

/* REQUIRES: nothing points into the old piece. */
static fkv_status read_piece(table_iter *it, block_handle h, size_t need)
{
    table *t = it->t;
    size_t want = need > it->ahead_next ? need : it->ahead_next;
    uint64_t end = h.offset + need;
    fkv_status rc;

    if (!it->ahead || it->ahead_room < want) {
        block_unref(it->ahead);
        it->ahead = block_new(want);
        if (!it->ahead) return FKV_RAISE(FKV_NOMEM);
        it->ahead_room = want;
    }
    it->ahead->size = 0;
    it->ahead_offset = !it->backward ? h.offset : end > want ? end - want : 0;
    rc = t->env->file_read(t->env, t->file, it->ahead_offset, it->ahead->data, want,
                           &it->ahead->size);
    if (!rc && it->ahead_offset + it->ahead->size < end)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: the file ends in a data block at offset %llu", t->name,
                        (unsigned long long)h.offset);
    if (it->ahead_next < AHEAD_MAX) it->ahead_next *= 2;
    return rc;
}

/* A plain block for the cache, if that has room, or NULL. */
static block *spare_copy(const table *t, size_t i, const uint8_t *stored)
{
    size_t size = (size_t)index_handle(&t->index, i).size;
    block *b = cache_has_room(t->cache, &t->index.places[i].slot, size) ? block_new(size) : NULL;

    if (b) memcpy(b->data, stored, size);
    return b;
}

/* Block i out of the piece read ahead: *out holds it alive, *data is where it begins. */
static fkv_status ahead_block(table_iter *it, size_t i, block **out, const uint8_t **data,
                              size_t *size)
{
    block_handle h = index_handle(&it->t->index, i);
    size_t need = (size_t)h.size + BLOCK_TRAILER;
    const uint8_t *stored;
    fkv_status rc = FKV_OK;

    if (!it->ahead || h.offset < it->ahead_offset ||
        h.offset + need > it->ahead_offset + it->ahead->size)
        rc = read_piece(it, h, need);
    if (rc) return rc;
    stored = it->ahead->data + (h.offset - it->ahead_offset);
    rc = table_check_stored(it->t, h, stored, "data");
    if (rc) return rc;
    if (stored[h.size] == CODEC_NONE) {
        *out = it->once ? NULL : spare_copy(it->t, i, stored);
        if (!*out) {
            atomic_fetch_add_explicit(&it->ahead->refs, 1, memory_order_relaxed);
            *out = it->ahead;
            *data = stored;
            *size = (size_t)h.size;
            return FKV_OK;
        }
    } else {
        rc = table_inflate(it->t, h, stored, "data", out);
        if (rc) return rc;
    }
    *data = (*out)->data;
    *size = (*out)->size;
    if (!it->once) cache_offer(it->t->cache, &it->t->index.places[i].slot, *out);
    return FKV_OK;
}

static void note_streak(table_iter *it, size_t i)
{
    int forward = it->placed && i == it->at + 1, backward = it->placed && i + 1 == it->at;

    if ((forward && !it->backward) || (backward && it->backward)) {
        it->streak++;
        return;
    }
    it->streak = forward || backward;
    it->backward = backward;
    it->ahead_next = it->once ? AHEAD_MAX : AHEAD_MIN;
}

static void drop_next(table_iter *it)
{
    block_unref(it->next);
    it->next = NULL;
    it->warm = it->warm_end = NULL;
}

static block *find_cached(const table_iter *it, size_t i)
{
    return cache_peek(it->t->cache, &it->t->index.places[i].slot);
}

/* Block i if it is cached. */
static block *take_next(table_iter *it, size_t i)
{
    block *b = it->next_at == i ? it->next : NULL;

    if (!b) return find_cached(it, i);
    it->next = NULL;
    drop_next(it);
    return b;
}

static void fetch_next(table_iter *it, size_t i)
{
    drop_next(it);
    if (i >= it->t->index.count) return; /* also the one before the first */
    it->next = find_cached(it, i);
    if (!it->next) return;
    it->next_at = i;
    it->warm = it->next->data;
    it->warm_end = it->warm + it->next->size;
}

static inline void warm_next(table_iter *it)
{
    if (it->warm >= it->warm_end) return;
    __builtin_prefetch(it->warm);
    __builtin_prefetch(it->warm + 64);
    it->warm += 128;
}

/* The cursor stands in the middle of a block, and is likely to go on in it. */
static void warm_rest(table_iter *it)
{
    const uint8_t *at = it->cursor.data + it->cursor.entry.at;
    const uint8_t *end = it->cursor.data + it->cursor.limit;

    it->warm_end = end;
    it->warm = end - at > AHEAD_ROWS ? at + AHEAD_ROWS : end;
    for (at += 128; at < it->warm; at += 64) __builtin_prefetch(at);
}

/* Make block i the current one. 0 at either end or on failure. */
static int open_block(table_iter *it, size_t i)
{
    table *t = it->t;
    block *b = NULL;
    const uint8_t *data = NULL;
    size_t size = 0;
    fkv_status rc = FKV_OK;

    it->base.entry = NULL;
    if (i >= t->index.count) return 0;
    if (it->block && it->at == i && !it->cursor.failed) return 1;
    note_streak(it, i);
    block_unref(it->block);
    it->block = NULL;
    it->placed = 0;
    if (it->once) {
        rc = ahead_block(it, i, &b, &data, &size);
    } else if (it->streak < STREAK) {
        rc = table_data_block(t, i, &b);
    } else {
        b = take_next(it, i);
        if (!b) rc = ahead_block(it, i, &b, &data, &size);
        if (!rc) fetch_next(it, it->backward ? i - 1 : i + 1);
    }
    if (rc) {
        it->base.status = rc;
        return 0;
    }
    it->block = b;
    it->at = i;
    it->placed = 1;
    if (data) {
        block_cursor_open(&it->cursor, data, size);
    } else {
        block_cursor_open(&it->cursor, b->data, b->size);
    }
    return 1;
}

/* The block cursor has been moved. 1 if that settles it (an entry, or an error). */
static int settled(table_iter *it)
{
    it->base.entry = NULL;
    if (it->cursor.failed) {
        uint64_t offset = index_handle(&it->t->index, it->at).offset;
        it->base.status = it->cursor.failed == FKV_NOMEM ? FKV_RAISE(FKV_NOMEM)
                                                         : table_bad_block(it->t, "data", offset);
        return 1;
    }
    if (it->cursor.valid) it->base.entry = &it->cursor.entry.row;
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

/* The key sought may be one that this iterator showed, which moving overwrites. 0 if there is no
** memory to keep it. */
static int keep_key(table_iter *it, fkv_slice *key)
{
    it->base.status = FKV_OK;
    if (!it->base.entry) return 1;
    buf_set(&it->seek_key, *key);
    if (it->seek_key.failed) {
        it->base.entry = NULL;
        it->base.status = FKV_RAISE(FKV_NOMEM);
        return 0;
    }
    *key = buf_slice(&it->seek_key);
    return 1;
}

static void table_seek(iter *base, fkv_slice key)
{
    table_iter *it = (table_iter *)base;

    if (!keep_key(it, &key)) return;
    if (!open_block(it, index_find(&it->t->index, key))) return;
    block_cursor_seek(&it->cursor, key);
    settle_forward(it);
    if (it->base.entry && !it->warm) warm_rest(it);
}

static void table_seek_before(iter *base, fkv_slice key)
{
    table_iter *it = (table_iter *)base;
    size_t i;

    if (!keep_key(it, &key)) return;
    i = index_find(&it->t->index, key);
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
    base->entry = NULL;
    if (it->t->index.count == 0 || !open_block(it, it->t->index.count - 1)) return;
    block_cursor_last(&it->cursor);
    settle_back(it);
}

static void table_next(iter *base)
{
    table_iter *it = (table_iter *)base;

    warm_next(it);
    block_cursor_next(&it->cursor);
    if (!it->cursor.valid) settle_forward(it);
}

static void table_prev(iter *base)
{
    table_iter *it = (table_iter *)base;

    warm_next(it);
    block_cursor_prev(&it->cursor);
    if (!it->cursor.valid) settle_back(it);
}

static int iter_covers(iter *base, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    return table_covers(((table_iter *)base)->t, key, from, to);
}

static void table_iter_close(iter *base)
{
    table_iter *it = (table_iter *)base;

    drop_next(it);
    block_unref(it->block);
    block_cursor_release(&it->cursor);
    buf_release(&it->seek_key);
    block_unref(it->ahead);
    alloc_free(it);
}

static const iter_ops table_iter_ops = {table_seek,  table_seek_before, table_first,
                                        table_last,  table_next,        table_prev,
                                        iter_covers, table_iter_close};

fkv_status table_iter_new(table *t, int once, iter **out)
{
    table_iter *it = alloc_zero(sizeof *it);

    *out = NULL;
    if (!it) return FKV_RAISE(FKV_NOMEM);
    it->base.ops = &table_iter_ops;
    it->base.has_ranges = t->footer.range_count != 0;
    it->t = t;
    it->once = once;
    it->ahead_next = once ? AHEAD_MAX : AHEAD_MIN;
    *out = &it->base;
    return FKV_OK;
}
