/*
** gather.c -- putting the keys of widened ranges in order
**
** TEXT = integer_column matches '5', '05' and ' 5.0', and nothing tells xBestIndex that the right
** side is a column. With ORDER BY on the next key column, rows of the three have to be merged. This
** is rare (a bound parameter or a text literal never widens), so it is done simply: all keys of the
** ranges are read, sorted by what follows the columns with equalities, and visited as points.
*/
#include "gather.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "keycode.h"

SQLITE_EXTENSION_INIT3

#define GATHER_BYTES_MAX ((size_t)256 << 20)

typedef struct gathered {
    size_t at, size, suffix; /* the key in the buffer; where its ordered part begins */
} gathered;

typedef struct gatherer {
    int columns; /* leading key columns that are not part of the order */
    buf bytes, items;
} gatherer;

/* Leading key columns with an equality. */
static int equal_columns(const char *terms)
{
    plan_term term;
    int columns = 0;

    while (plan_next_term(&terms, &term)) {
        if (term.op == TERM_EQ && term.key_index >= columns) columns = term.key_index + 1;
    }
    return columns;
}

static void take(gatherer *g, fkv_slice key, int key_columns)
{
    fkv_slice rest = fkv_slice_of(key.data + SPACE_BYTES, key.size - SPACE_BYTES);
    gathered item = {.at = g->bytes.size, .size = key.size};

    for (int i = 0; i < g->columns; i++) {
        if (keycode_skip(&rest, i == key_columns - 1)) break; /* damaged: xColumn says so */
    }
    item.suffix = (size_t)(rest.data - key.data);
    buf_append(&g->bytes, key.data, key.size);
    buf_append(&g->items, &item, sizeof item);
}

static int read_keys(gatherer *g, int key_columns, fkv_cursor *walk, const key_ranges *ranges)
{
    for (size_t i = 0; i < ranges->count; i++) {
        fkv_status st = fkv_cursor_bounds(walk, range_lo(ranges, i), range_hi(ranges, i));
        if (st) return SQLITE_NOMEM;
        for (fkv_cursor_first(walk); fkv_cursor_valid(walk); fkv_cursor_next(walk)) {
            take(g, fkv_cursor_key(walk), key_columns);
            if (buf_status(&g->bytes) || buf_status(&g->items)) return SQLITE_NOMEM;
            if (g->bytes.size + g->items.size > GATHER_BYTES_MAX) return SQLITE_TOOBIG;
        }
        if (fkv_cursor_status(walk)) return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

static int compare(const void *a, const void *b, void *arg)
{
    const gathered *x = a, *y = b;
    const uint8_t *bytes = arg;
    int c = slice_compare(fkv_slice_of(bytes + x->at + x->suffix, x->size - x->suffix),
                          fkv_slice_of(bytes + y->at + y->suffix, y->size - y->suffix));

    return c ? c : (x->at > y->at) - (x->at < y->at);
}

int gather(const kv_table *t, const char *terms, fkv_cursor *walk, key_ranges *ranges,
           const char **error)
{
    gatherer g = {.columns = equal_columns(terms)};
    key_ranges ordered = {0};
    gathered *items;
    size_t count;
    int rc = read_keys(&g, t->schema.key_count, walk, ranges);

    count = g.items.size / sizeof *items;
    items = (gathered *)(void *)g.items.data;
    if (rc == SQLITE_OK && count > 1) qsort_r(items, count, sizeof *items, compare, g.bytes.data);
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        fkv_slice key = fkv_slice_of(g.bytes.data + items[i].at, items[i].size);
        rc = key_ranges_add(&ordered, key, fkv_slice_of("", 0), 1);
    }
    if (rc == SQLITE_TOOBIG) {
        *error = "fastkv: too many rows compare text with a number here; cast one side";
    }
    buf_release(&g.bytes);
    buf_release(&g.items);
    if (rc == SQLITE_OK) {
        key_ranges_release(ranges);
        *ranges = ordered;
    } else {
        key_ranges_release(&ordered);
    }
    return rc;
}
