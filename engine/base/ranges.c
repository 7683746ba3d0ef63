#include "base/ranges.h"

#include <stdlib.h>

#include "base/alloc.h"

void range_set_release(range_set *s)
{
    alloc_free(s->items);
    *s = (range_set){0};
}

void range_set_add(range_set *s, fkv_slice from, fkv_slice to)
{
    if (s->failed) return;
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 16;
        key_range *items = alloc_resize(s->items, capacity * sizeof *items);
        if (!items) {
            s->failed = 1;
            return;
        }
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->count++] = (key_range){from, to};
}

static int by_start(const void *a, const void *b)
{
    return slice_compare(((const key_range *)a)->from, ((const key_range *)b)->from);
}

fkv_status range_set_finish(range_set *s)
{
    size_t kept = 0;

    if (s->failed) return FKV_RAISE(FKV_NOMEM);
    if (s->count == 0) return FKV_OK;
    qsort(s->items, s->count, sizeof *s->items, by_start);
    for (size_t i = 1; i < s->count; i++) {
        key_range *last = &s->items[kept];
        if (slice_compare(s->items[i].from, last->to) <= 0) { /* overlaps or touches */
            if (slice_compare(s->items[i].to, last->to) > 0) last->to = s->items[i].to;
        } else {
            s->items[++kept] = s->items[i];
        }
    }
    s->count = kept + 1;
    return FKV_OK;
}

const key_range *range_set_find(const range_set *s, fkv_slice key)
{
    size_t low = 0, high = s->count;

    while (low < high) { /* first interval that ends after key */
        size_t mid = (low + high) / 2;
        if (slice_compare(s->items[mid].to, key) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == s->count || slice_compare(s->items[low].from, key) > 0) return NULL;
    return &s->items[low];
}
