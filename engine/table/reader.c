#include "table/reader.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/sabotage.h"

fkv_status table_bad_block(const table *t, const char *what, uint64_t offset)
{
    return FKV_RAISEF(FKV_CORRUPT, "%s: malformed %s block at offset %llu", t->name, what,
                      (unsigned long long)offset);
}

fkv_status table_check_stored(const table *t, block_handle h, const uint8_t *stored,
                              const char *what)
{
    if (get_u32(stored + h.size + 1) ==
            block_check(t->footer.unique_id, h.offset, stored, (size_t)h.size) ||
        SABOTAGE(5))
        return FKV_OK;
    return FKV_RAISEF(FKV_CORRUPT, "%s: bad checksum in %s block at offset %llu", t->name, what,
                      (unsigned long long)h.offset);
}

fkv_status table_inflate(const table *t, block_handle h, const uint8_t *stored, const char *what,
                         block **out)
{
    uint8_t codec = stored[h.size];
    size_t raw;
    block *b;
    fkv_status rc;

    /* An honest block is smaller compressed than raw, and uses a codec that the footer names. */
    if (codec >= 32 || !(t->footer.codecs & 1u << codec) || h.size <= 4 ||
        h.size > COMPRESSED_RAW_MAX)
        return table_bad_block(t, what, h.offset);
    raw = get_u32(stored);
    if (raw > COMPRESSED_RAW_MAX || raw / COMPRESSED_RATIO_MAX >= h.size - 4)
        return table_bad_block(t, what, h.offset);
    b = block_new(raw);
    if (!b) return FKV_RAISE(FKV_NOMEM);
    rc = codec_decompress((codec_id)codec, stored + 4, (size_t)h.size - 4, b->data, raw);
    if (rc) {
        block_unref(b);
        return rc == FKV_CORRUPT ? table_bad_block(t, what, h.offset) : rc;
    }
    *out = b;
    return FKV_OK;
}

/* As it lies in the file, with its trailer. */
static fkv_status load_stored(table *t, block_handle h, const char *what, block **out)
{
    size_t bytes = (size_t)h.size + BLOCK_TRAILER, got = 0;
    block *b = block_new(bytes);
    fkv_status rc;

    *out = NULL;
    if (!b) return FKV_RAISE(FKV_NOMEM);
    rc = t->env->file_read(t->env, t->file, h.offset, b->data, bytes, &got);
    if (!rc && got < bytes)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: the file ends in a %s block at offset %llu", t->name,
                        what, (unsigned long long)h.offset);
    if (!rc) rc = table_check_stored(t, h, b->data, what);
    if (rc) {
        block_unref(b);
        return rc;
    }
    *out = b;
    return FKV_OK;
}

fkv_status table_check_block(table *t, block_handle h, const char *what)
{
    block *b = NULL;
    fkv_status rc = load_stored(t, h, what, &b);

    block_unref(b);
    return rc;
}

fkv_status table_load_block(table *t, block_handle h, const char *what, block **out)
{
    block *b = NULL;
    fkv_status rc = load_stored(t, h, what, &b);

    *out = NULL;
    if (rc) return rc;
    if (b->data[h.size] == CODEC_NONE) {
        b->size = (size_t)h.size;
        *out = b;
        return FKV_OK;
    }
    rc = table_inflate(t, h, b->data, what, out);
    block_unref(b);
    return rc;
}

fkv_status table_data_block(table *t, size_t i, block **out)
{
    cache_slot *slot = &t->index.places[i].slot;
    fkv_status rc;

    *out = cache_find(t->cache, slot);
    if (*out) return FKV_OK;
    rc = table_load_block(t, index_handle(&t->index, i), "data", out);
    if (!rc) cache_add(t->cache, slot, *out);
    return rc;
}

static fkv_status parse_ranges(table *t)
{
    const uint8_t *p = t->range_bytes->data, *end = p + t->range_bytes->size;
    uint64_t count = t->footer.range_count;

    if (count > t->range_bytes->size / 2)
        return table_bad_block(t, "range", t->footer.ranges.offset);
    t->ranges = alloc_bytes((size_t)(count + 1) * sizeof *t->ranges);
    if (!t->ranges) return FKV_RAISE(FKV_NOMEM);
    for (uint64_t i = 0; i < count; i++) {
        fkv_slice *parts[2] = {&t->ranges[i].from, &t->ranges[i].to};
        for (int j = 0; j < 2; j++) {
            uint64_t size;
            p = get_varint64(p, end, &size);
            if (!p || size > (uint64_t)(end - p))
                return table_bad_block(t, "range", t->footer.ranges.offset);
            *parts[j] = fkv_slice_of(p, (size_t)size);
            p += size;
        }
        if (slice_compare(*parts[0], *parts[1]) >= 0 ||
            (i > 0 && slice_compare(t->ranges[i - 1].to, *parts[0]) > 0))
            return table_bad_block(t, "range", t->footer.ranges.offset);
    }
    return p == end ? FKV_OK : table_bad_block(t, "range", t->footer.ranges.offset);
}

fkv_status table_load_ranges(table *t)
{
    fkv_status rc = FKV_OK;

    if (t->footer.ranges.size) rc = table_load_block(t, t->footer.ranges, "range", &t->range_bytes);
    return rc || !t->range_bytes ? rc : parse_ranges(t);
}

void table_drop_ranges(table *t)
{
    block_unref(t->range_bytes);
    alloc_free(t->ranges);
    t->range_bytes = NULL;
    t->ranges = NULL;
    t->footer.range_count = 0;
}

static fkv_status read_footer(table *t, uint64_t unique_id, uint64_t file_bytes)
{
    uint8_t bytes[FOOTER_BYTES];
    uint64_t size = 0;
    size_t got = 0;
    fkv_status rc = t->env->file_size(t->env, t->file, &size);

    if (rc) return rc;
    if (size != file_bytes || size < FOOTER_BYTES)
        return FKV_RAISEF(FKV_CORRUPT, "%s: has %llu bytes, the manifest says %llu", t->name,
                          (unsigned long long)size, (unsigned long long)file_bytes);
    t->file_bytes = size;
    rc = t->env->file_read(t->env, t->file, size - FOOTER_BYTES, bytes, sizeof bytes, &got);
    if (!rc && got != sizeof bytes)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: the file ends in its footer", t->name);
    if (!rc) rc = footer_decode(bytes, size - FOOTER_BYTES, t->name, &t->footer);
    if (!rc && t->footer.unique_id != unique_id && !SABOTAGE(6))
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: is a table of another store or time (id at offset %llu)",
                        t->name, (unsigned long long)(size - FOOTER_BYTES + FOOT_UNIQUE_ID));
    return rc;
}

/* The filter's lines are moved to where each of them is one cache line. */
static fkv_status load_filter(table *t)
{
    block *b = NULL;
    uint8_t *lines;
    fkv_status rc = table_load_block(t, t->footer.filter, "filter", &b);

    if (rc) return rc;
    if (!filter_check(fkv_slice_of(b->data, b->size))) {
        rc = table_bad_block(t, "filter", t->footer.filter.offset);
        goto done;
    }
    t->filter_memory = alloc_bytes(b->size + FILTER_LINE);
    if (!t->filter_memory) {
        rc = FKV_RAISE(FKV_NOMEM);
        goto done;
    }
    lines = t->filter_memory + (FILTER_LINE - (uintptr_t)t->filter_memory % FILTER_LINE);
    memcpy(lines - 1, b->data, b->size);
    t->filter = fkv_slice_of(lines - 1, b->size);
done:
    block_unref(b);
    return rc;
}

static fkv_status load_parts(table *t)
{
    block *index = NULL;
    fkv_status rc = table_load_block(t, t->footer.index, "index", &index);

    if (rc) return rc;
    rc = index_open(&t->index, index, t->footer.data_end);
    if (rc == FKV_CORRUPT) return table_bad_block(t, "index", t->footer.index.offset);
    if (!rc && t->index.count > t->footer.entries)
        rc = table_bad_block(t, "index", t->footer.index.offset);
    if (!rc && t->footer.filter.size) rc = load_filter(t);
    return rc ? rc : table_load_ranges(t);
}

fkv_status table_open(fkv_env *env, env_file *file, const char *name, uint64_t unique_id,
                      uint64_t file_bytes, block_cache *cache, table **out)
{
    table *t = alloc_zero(sizeof *t);
    fkv_status rc;

    *out = NULL;
    if (!t) {
        env->file_close(env, file);
        return FKV_RAISE(FKV_NOMEM);
    }
    t->env = env;
    t->file = file;
    t->cache = cache;
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    rc = read_footer(t, unique_id, file_bytes);
    if (!rc) rc = load_parts(t);
    if (rc) {
        table_free(t);
        return rc;
    }
    t->charged = table_memory(t);
    cache_charge(cache, t->charged);
    *out = t;
    return FKV_OK;
}

fkv_status table_expect(table *t, const table_summary *s)
{
    const table_footer *f = &t->footer;

    if (SABOTAGE(7)) return FKV_OK;
    t->expected = s;
    if (s->entries == f->entries && s->deletions == f->deletions && s->expiring == f->expiring &&
        s->ranges == f->range_count && s->raw_bytes == f->raw_bytes)
        return FKV_OK;
    return FKV_RAISEF(FKV_CORRUPT,
                      "%s: holds other counts (footer at offset %llu) than the manifest says",
                      t->name, (unsigned long long)(t->file_bytes - FOOTER_BYTES));
}

void table_free(table *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->index.count; i++) cache_forget(t->cache, &t->index.places[i].slot);
    cache_discharge(t->cache, t->charged);
    index_release(&t->index);
    alloc_free(t->filter_memory);
    block_unref(t->range_bytes);
    alloc_free(t->ranges);
    t->env->file_close(t->env, t->file);
    alloc_free(t);
}

size_t table_memory(const table *t)
{
    size_t n = sizeof *t + index_memory(&t->index);

    if (t->filter.size) n += t->filter.size + FILTER_LINE;
    if (t->range_bytes) n += t->range_bytes->size + t->footer.range_count * sizeof *t->ranges;
    return n;
}

void table_fetch(const table *t, uint64_t hash)
{
    if (t->filter.size) filter_fetch(t->filter, hash);
}

fkv_status table_get(table *t, fkv_slice key, uint64_t hash, table_value *out)
{
    block_entry e;
    block *b = NULL;
    size_t i;
    int found;
    fkv_status rc;

    *out = (table_value){0};
    if (t->filter.size && !filter_may_hold(t->filter, hash)) return FKV_NOTFOUND;
    i = index_find(&t->index, key);
    if (i == t->index.count) return FKV_NOTFOUND;
    cache_fetch(&t->index.places[i].slot);
    rc = table_data_block(t, i, &b);
    if (rc) return rc;
    found = block_get(b->data, b->size, key, &e);
    if (found <= 0) {
        block_unref(b);
        return found ? table_bad_block(t, "data", index_handle(&t->index, i).offset) : FKV_NOTFOUND;
    }
    out->value = e.row.value;
    out->expires_ms = e.row.expires_ms;
    out->kind = e.row.kind;
    out->pin = b;
    return FKV_OK;
}

void table_value_release(table_value *v)
{
    block_unref(v->pin);
    *v = (table_value){0};
}

int table_covers(const table *t, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    size_t low = 0, high = (size_t)t->footer.range_count;

    while (low < high) { /* first range that ends behind key */
        size_t mid = (low + high) / 2;
        if (slice_compare(t->ranges[mid].to, key) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == t->footer.range_count || slice_compare(t->ranges[low].from, key) > 0) return 0;
    *from = t->ranges[low].from;
    *to = t->ranges[low].to;
    return 1;
}

uint64_t table_range_count(const table *t)
{
    return t->footer.range_count;
}

void table_range_at(const table *t, uint64_t i, fkv_slice *from, fkv_slice *to)
{
    *from = t->ranges[i].from;
    *to = t->ranges[i].to;
}

uint64_t table_offset_of(const table *t, fkv_slice key)
{
    size_t i = index_find(&t->index, key);

    return i == t->index.count ? t->footer.data_end : index_handle(&t->index, i).offset;
}
