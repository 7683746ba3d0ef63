/*
** Any bytes as a data block, and as what a codec is to inflate. test-modes: asan
**
** Input: how many bytes of key, what to do with the rest (0 a block, else compressed by that
** codec), the key, the rest.
*/
#include "fuzz.h"
#include "table/block.h"
#include "table/codec.h"
#include "table/filter.h"

enum { ROWS_MAX = 4096 };

typedef struct seen {
    uint64_t hash;
    uint32_t value_size;
} seen;

static seen note(const block_cursor *c)
{
    const iter_entry *e = &c->entry.row;
    return (seen){hash64(e->key.data, e->key.size, e->kind), (uint32_t)e->value.size};
}

/* A block of which all restarts are right and all keys ascend is a good one: every way to read it
** must give the same. */
static void check_good(const uint8_t *data, size_t size, const seen *rows, size_t count)
{
    block_cursor c = {0}, other = {0};
    size_t i = count;

    block_cursor_open(&c, data, size);
    block_cursor_open(&other, data, size);
    for (block_cursor_last(&c); c.valid && i > 0; block_cursor_prev(&c)) {
        block_entry e;
        FUZZ_CHECK(note(&c).hash == rows[--i].hash && note(&c).value_size == rows[i].value_size);
        FUZZ_CHECK(block_get(data, size, c.entry.row.key, &e) == 1);
        FUZZ_CHECK(e.row.value.data == c.entry.row.value.data);
        block_cursor_seek(&other, c.entry.row.key);
        FUZZ_CHECK(other.valid && other.entry.at == c.entry.at);
        block_cursor_seek_before(&other, c.entry.row.key);
        FUZZ_CHECK(other.valid == (i > 0) && !other.failed);
    }
    FUZZ_CHECK(!c.valid && !c.failed && i == 0);
    block_cursor_release(&c);
    block_cursor_release(&other);
}

static void walk(const uint8_t *data, size_t size, fkv_slice key)
{
    static seen rows[ROWS_MAX];
    block_cursor c = {0};
    block_entry e;
    buf last = {0};
    size_t count = 0;
    int ascend = 1, good;

    block_cursor_open(&c, data, size);
    for (block_cursor_first(&c); c.valid; block_cursor_next(&c)) {
        ascend &= !count || slice_compare(buf_slice(&last), c.entry.row.key) < 0;
        ascend &= count < ROWS_MAX && c.entry.row.key.size <= BLOCK_KEY_MAX;
        if (ascend) rows[count++] = note(&c);
        buf_set(&last, c.entry.row.key);
    }
    good = !c.failed && ascend && block_restarts_check(data, size);
    (void)block_get(data, size, key, &e);
    for (int before = 0; before < 2; before++) {
        block_cursor_open(&c, data, size);
        if (before) {
            block_cursor_seek_before(&c, key);
        } else {
            block_cursor_seek(&c, key);
        }
        for (int i = 0; c.valid && i < 200; i++) {
            if (i % 7 < 4) {
                block_cursor_prev(&c);
            } else {
                block_cursor_next(&c);
            }
        }
    }
    block_cursor_open(&c, data, size);
    for (block_cursor_last(&c); c.valid; block_cursor_prev(&c)) {}
    block_cursor_release(&c);
    buf_release(&last);
    if (good && count) check_good(data, size, rows, count);
}

static void inflate(codec_id id, const uint8_t *data, size_t size, fkv_slice key)
{
    size_t raw = size >= 4 ? get_u32(data) : 0;
    uint8_t *out;

    if (size <= 4 || raw > COMPRESSED_RAW_MAX || raw / COMPRESSED_RATIO_MAX >= size - 4) return;
    out = alloc_bytes(raw);
    if (!out) return;
    if (!codec_decompress(id, data + 4, size - 4, out, raw)) walk(out, raw, key);
    alloc_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
    fuzz_in in = {input, input + input_size};
    size_t key_size = fuzz_u8(&in) % 32, size;
    codec_id id = (codec_id)(fuzz_u8(&in) % 4);
    fkv_slice key = fuzz_take(&in, key_size), rest;
    uint8_t *data;

    rest = fuzz_take(&in, SIZE_MAX);
    size = rest.size;
    data = alloc_bytes(size); /* its ends are where the sanitizer looks */
    if (!data) return 0;
    if (size) memcpy(data, rest.data, size);
    if (id == CODEC_NONE) {
        walk(data, size, key);
        if (filter_check(fkv_slice_of(data, size)))
            (void)filter_may_hold(fkv_slice_of(data, size), hash64(key.data, key.size, 0));
    } else if (codec_available(id)) {
        inflate(id, data, size, key);
    }
    alloc_free(data);
    return 0;
}

static void fuzz_seal(uint8_t *data, size_t size)
{
    (void)data, (void)size; /* a block's checksum is its table's affair */
}

static void add_rows(block_builder *b, int rows, int step)
{
    for (int i = 0; i < rows; i++) {
        char key[40], value[300];
        int n = snprintf(key, sizeof key, i % 3 ? "key-%05d" : "key-%05d-and-more", i * step);
        memset(value, 'a' + i % 26, sizeof value);
        block_builder_add(b, (entry_kind)(1 + i % 3), fkv_slice_of(key, (size_t)n),
                          fkv_slice_of(value, i % 3 == 1 ? 0 : (size_t)(i * 7 % 300)), 1000 + i);
    }
}

static int fuzz_seed(int i, buf *out)
{
    static const int rows[] = {1, 3, 17, 60};
    block_builder b = {.interval = 1u << i % 4 * 2};
    codec_id id = (codec_id)(i / 4);
    codec_state state = {0};
    fkv_slice content;
    buf packed = {0};

    if (i >= 16) return 0;
    add_rows(&b, rows[i % 4], 3);
    buf_clear(out);
    buf_append_u8(out, 9);
    buf_append_u8(out, (uint8_t)id);
    buf_append(out, "key-00007", 9);
    if (block_builder_finish(&b, &content)) abort();
    if (id != CODEC_NONE && codec_available(id) &&
        codec_compress(&state, id, 0, content.data, content.size, &packed))
        content = buf_slice(&packed);
    buf_append(out, content.data, content.size);
    codec_state_release(&state);
    buf_release(&packed);
    block_builder_release(&b);
    return 1;
}

FUZZ_MAIN("block", 40000)
