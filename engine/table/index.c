#include "table/index.h"

#include "base/alloc.h"

void index_append(buf *index, fkv_slice separator, block_handle handle)
{
    buf_append_slice(index, separator);
    buf_append_varint(index, handle.offset);
    buf_append_varint(index, handle.size);
}

void index_finish(buf *index, uint32_t count)
{
    buf_append_u32(index, count);
}

/* Example: between "the quick" and "the who", "the r" will do. */
void index_separator(fkv_slice low, fkv_slice high, buf *out)
{
    size_t common;

    buf_set(out, low);
    if (!high.data || out->failed) return;
    common = slice_common(low, high);
    if (common == low.size || common == high.size) return;
    for (size_t i = common; i < low.size; i++) {
        uint8_t limit = i == common ? (uint8_t)(high.data[i] - 1) : 0xff;
        if (low.data[i] < limit) { /* raise this byte and drop the rest */
            out->data[i]++;
            out->size = i + 1;
            return;
        }
    }
}

static uint64_t prefix_at(fkv_slice key, size_t skip)
{
    uint8_t bytes[8] = {0};

    if (key.size >= skip + 8) return get_be64(key.data + skip);
    if (key.size > skip) memcpy(bytes, key.data + skip, key.size - skip);
    return get_be64(bytes);
}

fkv_slice index_key(const table_index *x, size_t i)
{
    return fkv_slice_of(x->bytes->data + x->entries[i].key_at, x->entries[i].key_size);
}

/* *blocks_end is where the block before ends, and then where this one does. */
static int parse_entry(table_index *x, size_t i, const uint8_t **cursor, const uint8_t *end,
                       uint64_t *blocks_end)
{
    index_entry *e = &x->entries[i];
    const uint8_t *p = get_varint32(*cursor, end, &e->key_size);

    if (!p || e->key_size > (size_t)(end - p)) return 0;
    e->key_at = (uint32_t)(p - x->bytes->data);
    p = get_varint64(p + e->key_size, end, &e->handle.offset);
    if (p) p = get_varint64(p, end, &e->handle.size);
    if (!p || e->handle.size == 0 || !handle_follows(e->handle, blocks_end)) return 0;
    *cursor = p;
    return i == 0 || slice_compare(index_key(x, i - 1), index_key(x, i)) < 0;
}

fkv_status index_open(table_index *x, block *bytes, uint64_t data_end)
{
    const uint8_t *p = bytes->data, *end;
    size_t count;
    uint64_t blocks_end = 0;

    *x = (table_index){.bytes = bytes};
    if (bytes->size < 4 || bytes->size > UINT32_MAX) return FKV_RAISE(FKV_CORRUPT);
    end = bytes->data + bytes->size - 4;
    count = get_u32(end);
    if (count > bytes->size / 3) return FKV_RAISE(FKV_CORRUPT);
    x->entries = alloc_bytes((count + 1) * sizeof *x->entries);
    x->places = alloc_zero((count + 1) * sizeof *x->places); /* empty slots */
    if (!x->entries || !x->places) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; i < count; i++)
        if (!parse_entry(x, i, &p, end, &blocks_end)) return FKV_RAISE(FKV_CORRUPT);
    if (p != end || blocks_end != data_end) return FKV_RAISE(FKV_CORRUPT);
    x->count = count;
    if (count) x->skip = slice_common(index_key(x, 0), index_key(x, count - 1));
    for (size_t i = 0; i < count; i++) x->places[i].prefix = prefix_at(index_key(x, i), x->skip);
    return FKV_OK;
}

void index_release(table_index *x)
{
    block_unref(x->bytes);
    alloc_free(x->entries);
    alloc_free(x->places);
    *x = (table_index){0};
}

size_t index_find(const table_index *x, fkv_slice key)
{
    size_t low = 0, high = x->count;
    uint64_t prefix;

    if (x->count == 0) return 0;
    if (x->skip) { /* does key share the common prefix? */
        fkv_slice first = index_key(x, 0);
        size_t n = key.size < x->skip ? key.size : x->skip;
        int c = n ? memcmp(key.data, first.data, n) : 0;
        if (c < 0 || (c == 0 && key.size < x->skip)) return 0;
        if (c > 0) return x->count;
    }
    prefix = prefix_at(key, x->skip);
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = x->places[mid].prefix < prefix ? -1 : x->places[mid].prefix > prefix;
        if (c == 0) c = slice_compare(index_key(x, mid), key);
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}
