#include "table/block.h"

/* An entry of the interval that a backward walk has decoded. Its key lies in interval_keys. */
typedef struct back_entry {
    block_entry entry;
    size_t key_at, key_size;
} back_entry;

/* Decode the entry at offset `at`. 0 if malformed. */
static int parse_entry(const uint8_t *data, uint32_t limit, uint32_t at, block_entry *e)
{
    const uint8_t *p = data + at, *end = data + limit;
    uint64_t value_kind;
    size_t extra, value_size;

    p = get_varint32(p, end, &e->shared);
    if (p) p = get_varint32(p, end, &e->unshared);
    if (p) p = get_varint64(p, end, &value_kind);
    if (!p) return 0;
    e->kind = (uint8_t)(value_kind & 7);
    extra = e->kind == ENTRY_PUT_EXPIRES ? 8 : 0;
    if (e->kind < ENTRY_PUT || e->kind > ENTRY_PUT_EXPIRES || value_kind >> 3 > FKV_VALUE_MAX)
        return 0;
    value_size = (size_t)(value_kind >> 3);
    if ((uint64_t)e->unshared + extra + value_size > (uint64_t)(end - p)) return 0;
    e->suffix = p;
    p += e->unshared;
    e->expires_ms = extra ? (int64_t)get_u64(p) : 0;
    e->value = fkv_slice_of(p + extra, value_size);
    e->at = at;
    e->next = (uint32_t)(p + extra + value_size - data);
    return 1;
}

/* Where the restarts begin and how many there are. 0 if malformed. */
static int parse_tail(const uint8_t *data, size_t size, uint32_t *limit, uint32_t *count)
{
    uint32_t n;

    if (size < 8 || size > UINT32_MAX) return 0;
    n = get_u32(data + size - 4);
    if (n == 0 || n > (size - 4) / 4) return 0;
    *limit = (uint32_t)(size - 4 - (size_t)n * 4);
    *count = n;
    return 1;
}

static uint32_t restart_at(const uint8_t *data, uint32_t limit, uint32_t i)
{
    return get_u32(data + limit + (size_t)i * 4);
}

/* The last restart whose key is < key (0 if none): the entry sought lies at or behind it.
** UINT32_MAX if malformed. */
static uint32_t find_restart(const uint8_t *data, uint32_t limit, uint32_t count, fkv_slice key)
{
    uint32_t low = 0, high = count;

    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2, at = restart_at(data, limit, mid);
        block_entry e;
        if (at >= limit || !parse_entry(data, limit, at, &e) || e.shared != 0) return UINT32_MAX;
        if (slice_compare(fkv_slice_of(e.suffix, e.unshared), key) < 0) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

int block_get(const uint8_t *data, size_t size, fkv_slice key, block_entry *out)
{
    uint32_t limit, count, at, restart;
    size_t match = 0; /* bytes the entry before shares with key; that entry is < key */

    if (!parse_tail(data, size, &limit, &count)) return -1;
    restart = find_restart(data, limit, count, key);
    if (restart == UINT32_MAX) return -1;
    for (at = restart_at(data, limit, restart); at < limit; at = out->next) {
        size_t n, common;
        if (!parse_entry(data, limit, at, out)) return -1;
        if (out->shared > match) continue; /* agrees with its predecessor where that is < key */
        /* Otherwise it differs from its predecessor, upwards, where that agrees with key; or it is
        ** a restart point, which shares more than it says. Comparing covers both. */
        match = out->shared;
        n = key.size - match < out->unshared ? key.size - match : out->unshared;
        for (common = 0; common < n && out->suffix[common] == key.data[match + common];) common++;
        if (common == out->unshared && match + common == key.size) return 1;
        if (match + common == key.size) return 0; /* key is a prefix of the entry */
        if (common < out->unshared && out->suffix[common] > key.data[match + common]) return 0;
        match += common;
    }
    return at == limit ? 0 : -1;
}

void block_cursor_open(block_cursor *c, const uint8_t *data, size_t size)
{
    c->data = data;
    c->valid = 0;
    c->back_count = 0;
    c->bad = !parse_tail(data, size, &c->limit, &c->restart_count);
}

void block_cursor_release(block_cursor *c)
{
    buf_release(&c->key_bytes);
    buf_release(&c->interval);
    buf_release(&c->interval_keys);
}

static void go_bad(block_cursor *c)
{
    c->valid = 0;
    c->bad = 1;
}

/* Make entry the current one, given that key holds its predecessor's key (or shared is 0). */
static void take(block_cursor *c)
{
    const block_entry *e = &c->entry;

    if (e->shared > c->key.size) {
        go_bad(c);
        return;
    }
    if (e->shared == 0) {
        c->key = fkv_slice_of(e->suffix, e->unshared);
    } else {
        buf *k = &c->key_bytes;
        if (c->key.data != k->data) { /* the predecessor's key lay in the block */
            buf_clear(k);
            buf_append(k, c->key.data, e->shared);
        }
        k->size = e->shared;
        buf_append(k, e->suffix, e->unshared);
        if (k->failed) {
            go_bad(c);
            return;
        }
        c->key = buf_slice(k);
    }
    c->valid = 1;
}

static void load(block_cursor *c, uint32_t at)
{
    c->back_count = 0;
    if (at > c->limit) {
        go_bad(c);
    } else if (at == c->limit) {
        c->valid = 0;
    } else if (!parse_entry(c->data, c->limit, at, &c->entry)) {
        go_bad(c);
    } else {
        take(c);
    }
}

static void load_restart(block_cursor *c, uint32_t i)
{
    c->key = fkv_slice_of(NULL, 0);
    load(c, restart_at(c->data, c->limit, i));
}

void block_cursor_first(block_cursor *c)
{
    if (!c->bad) load_restart(c, 0);
}

void block_cursor_next(block_cursor *c)
{
    if (c->back_count) { /* the key must be where take() expects it */
        buf_set(&c->key_bytes, c->key);
        if (c->key_bytes.failed) {
            go_bad(c);
            return;
        }
        c->key = buf_slice(&c->key_bytes);
    }
    load(c, c->entry.next);
}

void block_cursor_seek(block_cursor *c, fkv_slice key)
{
    uint32_t restart;

    if (c->bad) return;
    restart = find_restart(c->data, c->limit, c->restart_count, key);
    if (restart == UINT32_MAX) {
        go_bad(c);
        return;
    }
    for (load_restart(c, restart); c->valid && slice_compare(c->key, key) < 0;)
        block_cursor_next(c);
}

static back_entry *back_items(const block_cursor *c)
{
    return (back_entry *)(void *)c->interval.data;
}

static void show_back(block_cursor *c, size_t i)
{
    const back_entry *b = &back_items(c)[i];

    c->back_at = i;
    c->entry = b->entry;
    c->key = fkv_slice_of(c->interval_keys.data + b->key_at, b->key_size);
    c->valid = 1;
}

/* Decode the interval from `restart` up to the entry at offset `end`; stand on its last entry. */
static void load_interval(block_cursor *c, uint32_t restart, uint32_t end)
{
    buf_clear(&c->interval);
    buf_clear(&c->interval_keys);
    c->back_count = 0;
    for (load_restart(c, restart); c->valid && c->entry.at < end; load(c, c->entry.next)) {
        back_entry b = {c->entry, c->interval_keys.size, c->key.size};
        buf_append(&c->interval_keys, c->key.data, c->key.size);
        buf_append(&c->interval, &b, sizeof b);
    }
    if (c->bad) return;
    c->valid = 0;
    if (c->interval.failed || c->interval_keys.failed) {
        go_bad(c);
        return;
    }
    c->back_count = c->interval.size / sizeof(back_entry);
    if (c->back_count == 0) {
        go_bad(c);
        return;
    }
    show_back(c, c->back_count - 1);
}

/* The interval that holds the entry before offset `at` (> 0). */
static uint32_t interval_before(const block_cursor *c, uint32_t at)
{
    uint32_t low = 0, high = c->restart_count;

    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (restart_at(c->data, c->limit, mid) < at) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static void step_before(block_cursor *c, uint32_t at)
{
    if (at == 0) {
        c->valid = 0;
        c->back_count = 0;
    } else {
        load_interval(c, interval_before(c, at), at);
    }
}

void block_cursor_last(block_cursor *c)
{
    if (!c->bad) step_before(c, c->limit);
}

void block_cursor_prev(block_cursor *c)
{
    if (c->back_count && c->back_at > 0) {
        show_back(c, c->back_at - 1);
    } else {
        step_before(c, c->entry.at);
    }
}

void block_cursor_seek_before(block_cursor *c, fkv_slice key)
{
    block_cursor_seek(c, key);
    if (c->bad) return;
    step_before(c, c->valid ? c->entry.at : c->limit);
}
