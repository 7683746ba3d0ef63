#include "table/block.h"

enum { RESTARTS_FETCHED = 16, INTERVAL_FETCHED = 1024, CACHE_LINE = 64 };

/* -- decoding -------------------------------------------------------------------------------- */

/* Decode the entry at offset `at` <= limit. 0 if malformed. */
static inline __attribute__((always_inline)) int parse_entry(const uint8_t *data, uint32_t limit,
                                                             uint32_t at, block_entry *e)
{
    const uint8_t *p = data + at, *end = data + limit;
    uint64_t value_kind;
    size_t extra, value_size;

    if (end - p >= 4 && (p[0] | p[1]) < 0x80 && (p[2] & p[3]) < 0x80) { /* nearly always */
        e->shared = p[0];
        e->unshared = p[1];
        value_kind = p[2] < 0x80 ? p[2] : (p[2] & 0x7fu) | (uint64_t)p[3] << 7;
        p += p[2] < 0x80 ? 3 : 4;
    } else {
        p = get_varint32(p, end, &e->shared);
        if (p) p = get_varint32(p, end, &e->unshared);
        if (p) p = get_varint64(p, end, &value_kind);
        if (!p) return 0;
    }
    e->row.kind = (uint8_t)(value_kind & 7);
    extra = e->row.kind == ENTRY_PUT_EXPIRES ? 8 : 0;
    if (e->row.kind < ENTRY_PUT || e->row.kind > ENTRY_PUT_EXPIRES ||
        value_kind >> 3 > FKV_VALUE_MAX)
        return 0;
    value_size = (size_t)(value_kind >> 3);
    if ((uint64_t)e->unshared + extra + value_size > (uint64_t)(end - p)) return 0;
    e->suffix = p;
    p += e->unshared;
    e->row.expires_ms = extra ? (int64_t)get_u64(p) : 0;
    e->row.value = fkv_slice_of(p + extra, value_size);
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
    return *limit > 0;
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

    /* All the keys that the search may look at come at the same time, not one after the other. */
    if (count <= RESTARTS_FETCHED) {
        for (uint32_t i = 0; i < count; i++) __builtin_prefetch(data + restart_at(data, limit, i));
    }
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

/* Where an entry begins only the one before it tells: without this each would be waited for. */
static inline void fetch_interval(const uint8_t *data, uint32_t from, uint32_t to)
{
    if (to > from + INTERVAL_FETCHED) to = from + INTERVAL_FETCHED;
    for (uint32_t at = from + CACHE_LINE; at < to; at += CACHE_LINE) __builtin_prefetch(data + at);
}

typedef enum scan_result { SCAN_BAD, SCAN_END, SCAN_EQUAL, SCAN_GREATER } scan_result;

/* Find the first entry >= key without building a key: *e, if there is one. What it shares with its
** predecessor it also shares with `key`, so its whole key is key[0 .. shared) and the suffix.
**
** Of the entry before (which is < key) we know `match`, how many bytes it has in common with key.
**   shared > match   the entry agrees with its predecessor where that is < key: it is < key too,
**                    and has the same match. No byte is compared.
**   shared <= match  bytes 0 .. shared are those of key; the suffix decides.
** Example: key "carpet", entries "car", "(3)bon", "(4)ry": after "car" match is 3; "bon" < "pet",
** so it stays 3; "carbry" shares 4 with "carbon" and is passed over unseen. */
static scan_result scan_to(const uint8_t *data, uint32_t limit, uint32_t count, fkv_slice key,
                           block_entry *e)
{
    uint32_t at, restart = find_restart(data, limit, count, key);
    size_t match = 0;

    if (restart == UINT32_MAX) return SCAN_BAD;
    at = restart_at(data, limit, restart);
    if (at >= limit) return SCAN_BAD;
    fetch_interval(data, at, restart + 1 < count ? restart_at(data, limit, restart + 1) : limit);
    for (; at < limit; at = e->next) {
        fkv_slice rest, suffix;
        size_t common;
        if (!parse_entry(data, limit, at, e)) return SCAN_BAD;
        if (e->shared > match) continue;
        suffix = fkv_slice_of(e->suffix, e->unshared);
        rest = e->shared ? fkv_slice_of(key.data + e->shared, key.size - e->shared) : key;
        common = slice_common(suffix, rest);
        if (common == rest.size) return common == suffix.size ? SCAN_EQUAL : SCAN_GREATER;
        if (common < suffix.size && suffix.data[common] > rest.data[common]) return SCAN_GREATER;
        match = e->shared + common;
    }
    return SCAN_END;
}

int block_get(const uint8_t *data, size_t size, fkv_slice key, block_entry *out)
{
    uint32_t limit, count;

    if (!parse_tail(data, size, &limit, &count)) return -1;
    switch (scan_to(data, limit, count, key, out)) {
    case SCAN_BAD:
        return -1;
    case SCAN_EQUAL:
        return 1;
    default:
        return 0;
    }
}

/* -- the cursor ------------------------------------------------------------------------------ */

static void fail(block_cursor *c, fkv_status status)
{
    c->valid = 0;
    c->failed = status;
}

void block_cursor_open(block_cursor *c, const uint8_t *data, size_t size)
{
    c->data = data;
    c->size = (uint32_t)size; /* parse_tail refuses larger ones */
    c->valid = 0;
    c->back_count = 0;
    c->failed = parse_tail(data, size, &c->limit, &c->restart_count) ? FKV_OK : FKV_CORRUPT;
}

void block_cursor_release(block_cursor *c)
{
    buf_release(&c->key_bytes);
    buf_release(&c->back);
    buf_release(&c->back_keys);
}

/* Stand on c->entry, whose first bytes are those of `prefix`. A key that shares nothing is used
** where it lies; others are put together in key_bytes, where the prefix mostly is already. */
static inline void take(block_cursor *c, fkv_slice prefix)
{
    const block_entry *e = &c->entry;
    buf *k = &c->key_bytes;
    size_t need = (size_t)e->shared + e->unshared;

    if (e->shared == 0) {
        c->entry.row.key = fkv_slice_of(e->suffix, e->unshared);
        c->valid = 1;
        return;
    }
    if (e->shared > prefix.size) {
        fail(c, FKV_CORRUPT);
        return;
    }
    if (prefix.data == k->data) {
        k->size = e->shared; /* so that growing keeps them */
    } else {
        buf_set(k, fkv_slice_of(prefix.data, e->shared));
    }
    if (k->capacity < need + 16 && !buf_reserve(k, e->unshared + (size_t)16)) k->failed = 1;
    if (k->failed) {
        fail(c, FKV_NOMEM);
        return;
    }
    /* One 16-byte move instead of a call, where neither side ends too early. */
    if (e->unshared <= 16 && c->size - (uint32_t)(e->suffix - c->data) >= 16) {
        memcpy(k->data + e->shared, e->suffix, 16);
    } else {
        memcpy(k->data + e->shared, e->suffix, e->unshared);
    }
    k->size = need;
    c->entry.row.key = buf_slice(k);
    c->valid = 1;
}

/* Stand on the entry at offset `at`, which follows one with key `before`. */
static inline void load(block_cursor *c, uint32_t at, fkv_slice before)
{
    c->back_count = 0;
    c->valid = 0;
    if (at == c->limit) return;
    if (!parse_entry(c->data, c->limit, at, &c->entry)) {
        fail(c, FKV_CORRUPT);
        return;
    }
    take(c, before);
}

void block_cursor_first(block_cursor *c)
{
    uint32_t at;

    if (c->failed) return;
    at = restart_at(c->data, c->limit, 0);
    if (at != 0) { /* or the entries before it would be passed over */
        fail(c, FKV_CORRUPT);
        return;
    }
    load(c, at, fkv_slice_of(NULL, 0));
}

typedef struct back_entry {
    uint32_t at, next;
    const uint8_t *key; /* in the block, or NULL: at key_at in back_keys */
    size_t key_at, key_size;
    fkv_slice value;
    int64_t expires_ms;
    uint8_t kind;
} back_entry;

static inline void show_back(block_cursor *c, size_t i)
{
    const back_entry *b = (const back_entry *)(const void *)c->back.data + i;

    c->back_at = i;
    c->entry.row.key = fkv_slice_of(b->key ? b->key : c->back_keys.data + b->key_at, b->key_size);
    c->entry.at = b->at;
    c->entry.next = b->next;
    c->entry.row.value = b->value;
    c->entry.row.expires_ms = b->expires_ms;
    c->entry.row.kind = b->kind;
    c->valid = 1;
}

/* Add an entry, which follows `before` (NULL: none), to the interval. */
static inline fkv_status push_back(block_cursor *c, const block_entry *e, const back_entry *before,
                                   back_entry *b)
{
    size_t size = (size_t)e->shared + e->unshared;
    const uint8_t *prefix;
    uint8_t *room;

    *b = (back_entry){.at = e->at,
                      .next = e->next,
                      .key = e->suffix,
                      .key_size = size,
                      .value = e->row.value,
                      .expires_ms = e->row.expires_ms,
                      .kind = e->row.kind};
    if (before && (size > BLOCK_KEY_MAX || before->key_size > BLOCK_KEY_MAX)) return FKV_CORRUPT;
    if (e->shared == 0) return FKV_OK;
    if (!before || e->shared > before->key_size) return FKV_CORRUPT;
    room = buf_reserve(&c->back_keys, size);
    if (!room) return FKV_NOMEM;
    prefix = before->key ? before->key : c->back_keys.data + before->key_at;
    memcpy(room, prefix, e->shared);
    memcpy(room + e->shared, e->suffix, e->unshared);
    b->key = NULL;
    b->key_at = c->back_keys.size;
    c->back_keys.size += size;
    return FKV_OK;
}

/* Decode the interval from `restart` up to the entry that begins at `end`, and stand on the last
** one before it. Forwards is the only way to read prefix-compressed keys, so an interval is read
** once and then walked back through at the price of a walk forwards. */
static void load_interval(block_cursor *c, uint32_t restart, uint32_t end)
{
    uint32_t at = restart_at(c->data, c->limit, restart);
    back_entry *items;
    size_t n = 0;
    fkv_status rc = FKV_OK;

    c->valid = 0;
    c->back_count = 0;
    buf_clear(&c->back);
    buf_clear(&c->back_keys);
    items = (back_entry *)(void *)buf_reserve(&c->back, RESTART_INTERVAL_MAX * sizeof *items);
    if (!items) {
        fail(c, FKV_NOMEM);
        return;
    }
    for (; !rc && at < end; n++) {
        block_entry e;
        if (n == RESTART_INTERVAL_MAX || !parse_entry(c->data, c->limit, at, &e)) {
            rc = FKV_CORRUPT;
            break;
        }
        rc = push_back(c, &e, n ? &items[n - 1] : NULL, &items[n]);
        at = e.next;
    }
    if (!rc && (n == 0 || at != end)) rc = FKV_CORRUPT;
    if (rc) {
        fail(c, rc);
        return;
    }
    c->back_count = n;
    show_back(c, n - 1);
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
    if (!c->failed) step_before(c, c->limit);
}

void block_cursor_next(block_cursor *c)
{
    if (c->back_count && c->back_at + 1 < c->back_count) {
        show_back(c, c->back_at + 1);
    } else {
        load(c, c->entry.next, c->entry.row.key);
    }
}

void block_cursor_prev(block_cursor *c)
{
    if (c->back_count && c->back_at > 0) {
        show_back(c, c->back_at - 1);
    } else {
        step_before(c, c->entry.at);
    }
}

void block_cursor_seek(block_cursor *c, fkv_slice key)
{
    scan_result found;

    if (c->failed) return;
    c->valid = 0;
    c->back_count = 0;
    found = scan_to(c->data, c->limit, c->restart_count, key, &c->entry);
    if (found == SCAN_BAD) {
        fail(c, FKV_CORRUPT);
    } else if (found != SCAN_END) {
        take(c, key);
    }
}

void block_cursor_seek_before(block_cursor *c, fkv_slice key)
{
    scan_result found;

    if (c->failed) return;
    found = scan_to(c->data, c->limit, c->restart_count, key, &c->entry);
    if (found == SCAN_BAD) {
        fail(c, FKV_CORRUPT);
    } else {
        step_before(c, found == SCAN_END ? c->limit : c->entry.at);
    }
}

int block_restarts_check(const uint8_t *data, size_t size)
{
    uint32_t limit, count, at, i = 0, run = 0;
    block_entry e;

    if (!parse_tail(data, size, &limit, &count)) return 0;
    for (at = 0; at < limit; at = e.next) {
        if (!parse_entry(data, limit, at, &e)) return 0;
        if (i < count && restart_at(data, limit, i) == at) {
            if (e.shared != 0) return 0;
            run = 0;
            i++;
        }
        if (i == 0 || ++run > RESTART_INTERVAL_MAX) return 0;
    }
    return i == count;
}
