#include "table/index.h"

#include "base/alloc.h"

enum { GROUP = 16 };

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

/* *p goes behind the entry's key. index_open has seen that it is whole. */
static fkv_slice entry_key(const table_index *x, size_t i, const uint8_t **p)
{
    const uint8_t *end = x->bytes->data + x->bytes->size;
    uint32_t size = 0;
    const uint8_t *key = get_varint32(x->bytes->data + x->at[i], end, &size);

    *p = key + size;
    return fkv_slice_of(key, size);
}

fkv_slice index_key(const table_index *x, size_t i)
{
    const uint8_t *p;

    return entry_key(x, i, &p);
}

block_handle index_handle(const table_index *x, size_t i)
{
    const uint8_t *end = x->bytes->data + x->bytes->size, *p;
    block_handle h = {0};

    (void)entry_key(x, i, &p);
    p = get_varint64(p, end, &h.offset);
    (void)get_varint64(p, end, &h.size);
    return h;
}

/* *blocks_end is where the block before ends, and then where this one does. */
static int parse_entry(table_index *x, size_t i, const uint8_t **cursor, const uint8_t *end,
                       uint64_t *blocks_end)
{
    uint32_t key_size;
    block_handle h;
    const uint8_t *p = get_varint32(*cursor, end, &key_size);

    if (!p || key_size > (size_t)(end - p)) return 0;
    p = get_varint64(p + key_size, end, &h.offset);
    if (p) p = get_varint64(p, end, &h.size);
    if (!p || h.size == 0 || !handle_follows(h, blocks_end)) return 0;
    x->at[i] = (uint32_t)(*cursor - x->bytes->data);
    *cursor = p;
    return i == 0 || slice_compare(index_key(x, i - 1), index_key(x, i)) < 0;
}

static void fill_arrays(table_index *x)
{
    if (x->count) {
        x->common = index_key(x, 0);
        x->common.size = slice_common(x->common, index_key(x, x->count - 1));
    }
    for (size_t i = 0; i < x->count; i++) {
        x->places[i].prefix = prefix_at(index_key(x, i), x->common.size);
        if (i % GROUP == GROUP - 1) x->samples[i / GROUP] = x->places[i].prefix;
    }
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
    x->at = alloc_bytes((count + 1) * sizeof *x->at);
    x->places = alloc_zero((count + GROUP) * sizeof *x->places); /* empty slots, full groups */
    x->samples = alloc_bytes((count / GROUP + 1) * sizeof *x->samples);
    if (!x->at || !x->places || !x->samples) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; i < count; i++)
        if (!parse_entry(x, i, &p, end, &blocks_end)) return FKV_RAISE(FKV_CORRUPT);
    if (p != end || blocks_end != data_end) return FKV_RAISE(FKV_CORRUPT);
    x->count = count;
    fill_arrays(x);
    return FKV_OK;
}

void index_release(table_index *x)
{
    block_unref(x->bytes);
    alloc_free(x->at);
    alloc_free(x->places);
    alloc_free(x->samples);
    *x = (table_index){0};
}

size_t index_memory(const table_index *x)
{
    return x->bytes->size + x->count * (sizeof *x->at + sizeof *x->places) +
           x->count / GROUP * sizeof *x->samples;
}

/* How many groups end below prefix. */
static size_t groups_below(const table_index *x, uint64_t prefix)
{
    const uint64_t *base = x->samples;
    size_t n = x->count / GROUP;

    if (n == 0) return 0;
    while (n > 1) { /* without a branch that nobody could foresee */
        size_t half = n / 2;
        base += base[half - 1] < prefix ? half : 0;
        n -= half;
    }
    return (size_t)(base - x->samples) + (*base < prefix);
}

static void fetch_group(const index_place *first)
{
    for (size_t i = 0; i < GROUP; i += 64 / sizeof *first) __builtin_prefetch(first + i);
}

size_t index_find(const table_index *x, fkv_slice key)
{
    size_t low, high = x->count, skip = x->common.size;
    uint64_t prefix;

    if (x->count == 0) return 0;
    if (skip) { /* does key share the common prefix? */
        size_t n = key.size < skip ? key.size : skip;
        int c = n ? memcmp(key.data, x->common.data, n) : 0;
        if (c < 0 || (c == 0 && key.size < skip)) return 0;
        if (c > 0) return x->count;
    }
    prefix = prefix_at(key, skip);
    low = groups_below(x, prefix);
    fetch_group(&x->places[low * GROUP]);
    if (low < x->count / GROUP && x->samples[low] > prefix) high = low * GROUP + GROUP - 1;
    low *= GROUP;
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
