#include "table/reader.h"

typedef struct walk {
    table *t;
    table_check *how;
    block_cursor cursor;
    buf first, last; /* the first key, and the one before */
    uint64_t entries, deletions, expiring, raw_bytes;
    int partial; /* a block is left out, or could not be read: the counts say nothing */
} walk;

static fkv_status bad_key(const walk *w, size_t i, const char *what)
{
    return FKV_RAISEF(FKV_CORRUPT, "%s: %s in data block at offset %llu", w->t->name, what,
                      (unsigned long long)index_handle(&w->t->index, i).offset);
}

/* Is the entry in order, in the block that the index would look for it in, and in the filter? */
static fkv_status check_entry(walk *w, size_t i)
{
    const table *t = w->t;
    const block_cursor *c = &w->cursor;

    if (w->entries && slice_compare(buf_slice(&w->last), c->entry.row.key) >= 0)
        return bad_key(w, i, "keys out of order");
    if (index_find(&t->index, c->entry.row.key) != i)
        return bad_key(w, i, "a key that the index misses");
    if (t->filter.size &&
        !filter_may_hold(t->filter, hash64(c->entry.row.key.data, c->entry.row.key.size, 0)))
        return bad_key(w, i, "a key that the filter denies");
    if (!w->entries) buf_set(&w->first, c->entry.row.key);
    buf_set(&w->last, c->entry.row.key);
    w->entries++;
    w->deletions += c->entry.row.kind == ENTRY_DELETE;
    w->expiring += c->entry.row.kind == ENTRY_PUT_EXPIRES;
    w->raw_bytes += c->entry.row.key.size + c->entry.row.value.size;
    if (w->first.failed || w->last.failed) return FKV_RAISE(FKV_NOMEM);
    return w->how->row ? w->how->row(w->how->arg, index_handle(&t->index, i).offset, &c->entry.row)
                       : FKV_OK;
}

static fkv_status decode_block(walk *w, size_t i)
{
    block_cursor *c = &w->cursor;
    block_handle h = index_handle(&w->t->index, i);
    block *b = NULL;
    fkv_status rc = table_load_block(w->t, h, "data", &b);

    if (rc) return rc;
    if (!block_restarts_check(b->data, b->size)) {
        rc = table_bad_block(w->t, "data", h.offset);
        goto done;
    }
    block_cursor_open(c, b->data, b->size);
    for (block_cursor_first(c); !rc && c->valid; block_cursor_next(c)) rc = check_entry(w, i);
    if (!rc && c->failed)
        rc = c->failed == FKV_NOMEM ? FKV_RAISE(FKV_NOMEM)
                                    : table_bad_block(w->t, "data", h.offset);
    if (c->failed) { /* it would stay so */
        block_cursor_release(c);
        *c = (block_cursor){0};
    }
done:
    block_unref(b);
    return rc;
}

/* Damage is told, if there is somebody to tell, and the walk goes on. */
static fkv_status tell(walk *w, fkv_status rc)
{
    if (rc != FKV_CORRUPT && rc != FKV_IOERR) return rc;
    w->partial = 1;
    return w->how->damaged ? w->how->damaged(w->how->arg, rc) : rc;
}

/* May block i hold a key in the range that is asked for? */
static int wanted(const walk *w, size_t i)
{
    const table_check *how = w->how;

    return slice_compare(index_key(&w->t->index, i), how->from) >= 0 &&
           (i == 0 || !how->to.data || slice_compare(index_key(&w->t->index, i - 1), how->to) < 0);
}

static fkv_status check_blocks(walk *w)
{
    table_check *how = w->how;
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < w->t->index.count; i++) {
        if (!wanted(w, i)) {
            w->partial = 1;
            continue;
        }
        if (how->block) rc = how->block(how->arg);
        if (rc) break;
        how->blocks++;
        if (how->deep) {
            rc = tell(w, decode_block(w, i));
        } else {
            rc = tell(w, table_check_block(w->t, index_handle(&w->t->index, i), "data"));
        }
    }
    how->entries += w->entries;
    return rc;
}

/* The meta blocks were read at open; they are read again, for the file may have changed since. */
static fkv_status check_meta(table *t)
{
    const block_handle handles[] = {t->footer.filter, t->footer.ranges, t->footer.index};
    static const char *const names[] = {"filter", "range", "index"};
    uint8_t bytes[FOOTER_BYTES];
    uint64_t offset = t->file_bytes - FOOTER_BYTES;
    table_footer footer;
    size_t got = 0;
    fkv_status rc = t->env->file_read(t->env, t->file, offset, bytes, sizeof bytes, &got);

    if (!rc && got != sizeof bytes)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: the file ends in its footer at offset %llu", t->name,
                        (unsigned long long)offset);
    if (!rc) rc = footer_decode(bytes, offset, t->name, &footer);
    for (int i = 0; !rc && i < 3; i++) {
        block *b = NULL;
        if (handles[i].size) rc = table_load_block(t, handles[i], names[i], &b);
        block_unref(b);
    }
    return rc;
}

static fkv_status check_counts(const walk *w)
{
    const table_footer *f = &w->t->footer;

    if (w->entries == f->entries && w->deletions == f->deletions && w->expiring == f->expiring &&
        w->raw_bytes == f->raw_bytes)
        return FKV_OK;
    return FKV_RAISEF(FKV_CORRUPT,
                      "%s: holds %llu entries, the footer at offset %llu says %llu (or other "
                      "counts differ)",
                      w->t->name, (unsigned long long)w->entries,
                      (unsigned long long)(w->t->file_bytes - FOOTER_BYTES),
                      (unsigned long long)f->entries);
}

/* The bounds in the manifest are exactly those of the entries and range tombstones. */
static fkv_status check_bounds(const walk *w)
{
    const table *t = w->t;
    const table_summary *s = t->expected;
    fkv_slice low = buf_slice(&w->first), high = buf_slice(&w->last);
    int open = 0;

    if (!s) return FKV_OK;
    if (t->footer.range_count) {
        fkv_slice from = t->ranges[0].from, to = t->ranges[t->footer.range_count - 1].to;
        if (!w->entries || slice_compare(from, low) < 0) low = from;
        open = !w->entries || slice_compare(to, high) > 0;
        if (open) high = to;
    }
    if (slice_equal(low, buf_slice(&s->smallest)) && slice_equal(high, buf_slice(&s->largest)) &&
        open == s->largest_open)
        return FKV_OK;
    return FKV_RAISEF(FKV_CORRUPT,
                      "%s: holds other keys (index at offset %llu) than the bounds in the manifest",
                      t->name, (unsigned long long)t->footer.index.offset);
}

fkv_status table_check_blocks(table *t, table_check *how)
{
    walk w = {.t = t, .how = how};
    fkv_status rc = tell(&w, check_meta(t));

    if (!rc) rc = check_blocks(&w);
    if (!rc && how->deep && !w.partial) rc = tell(&w, check_counts(&w));
    if (!rc && how->deep && !w.partial) rc = tell(&w, check_bounds(&w));
    block_cursor_release(&w.cursor);
    buf_release(&w.first);
    buf_release(&w.last);
    return rc;
}

fkv_status table_verify(table *t)
{
    return table_check_blocks(t, &(table_check){.deep = 1});
}
