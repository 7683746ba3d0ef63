/* Sorted tables that are damaged, truncated, mixed up or forged; and tables without memory or disk.
** Nothing may go wrong in silence. */
#include "table_model.h"

#include "base/alloc.h"
#include "table/format.h"

enum { BLOCKS_MAX = 256 };

/* The bytes of a table file, and where its blocks are. */
typedef struct image {
    uint8_t *bytes;
    size_t size;
    uint64_t unique_id;
    block_handle blocks[BLOCKS_MAX];
    size_t block_count;
} image;

static void image_find_blocks(image *m)
{
    table_footer f;
    const uint8_t *p, *end;

    CHECK_STATUS(footer_decode(m->bytes + m->size - FOOTER_BYTES, m->size - FOOTER_BYTES, "t", &f),
                 FKV_OK);
    m->unique_id = f.unique_id;
    m->block_count = 0;
    p = m->bytes + f.index.offset;
    end = p + f.index.size - 4;
    while (p && p < end && m->block_count < BLOCKS_MAX - 3) {
        block_handle *h = &m->blocks[m->block_count++];
        uint64_t size = 0;
        p = get_varint64(p, end, &size);
        if (p) p = get_varint64(p + size, end, &h->offset);
        if (p) p = get_varint64(p, end, &h->size);
    }
    CHECK(p == end);
    if (f.filter.size) m->blocks[m->block_count++] = f.filter;
    if (f.ranges.size) m->blocks[m->block_count++] = f.ranges;
    m->blocks[m->block_count++] = f.index;
}

static image image_read(fixture *f, const char *name)
{
    image m = {0};
    env_file *file = NULL;
    uint64_t size = 0;

    CHECK_STATUS(f->env->file_open(f->env, f->dir, name, ENV_READ, &file), FKV_OK);
    if (!file) return m;
    CHECK_STATUS(f->env->file_size(f->env, file, &size), FKV_OK);
    m.bytes = calloc(1, size + 1);
    if (!m.bytes) exit(2);
    CHECK_STATUS(f->env->file_read(f->env, file, 0, m.bytes, size, &m.size), FKV_OK);
    f->env->file_close(f->env, file);
    image_find_blocks(&m);
    return m;
}

/* Make every checksum right again. */
static void image_sign(image *m)
{
    uint8_t *footer = m->bytes + m->size - FOOTER_BYTES;

    for (size_t i = 0; i < m->block_count; i++) {
        block_handle h = m->blocks[i];
        uint8_t *stored = m->bytes + h.offset;
        put_u32(stored + h.size + 1, block_check(m->unique_id, h.offset, stored, h.size));
    }
    put_u32(footer + FOOT_CRC, checksum_at(TABLE_MAGIC, m->size - FOOTER_BYTES, footer, FOOT_CRC));
}

static fkv_status write_file(fixture *f, const char *name, const uint8_t *bytes, size_t size)
{
    env_file *file = NULL;
    fkv_status rc;

    fkv_ignore(f->env->file_remove(f->env, f->dir, name)); /* may not be there */
    rc = f->env->file_open(f->env, f->dir, name, ENV_WRITE | ENV_CREATE, &file);
    if (!rc) rc = f->env->file_write(f->env, file, 0, bytes, size);
    f->env->file_close(f->env, file);
    return rc;
}

/* Read everything there is in these bytes; *wrong counts answers that differ from the model's. */
static fkv_status examine(fixture *f, const uint8_t *bytes, size_t size, uint64_t unique_id,
                          const model *m, uint64_t *wrong)
{
    table *t = NULL;
    fkv_status rc = write_file(f, "x", bytes, size);

    if (!rc) rc = table_open_named(f, f->env, "x", unique_id, size, NULL, &t);
    if (!rc) rc = compare_all(t, m, wrong);
    table_free(t);
    return rc;
}

/* A small table with something of everything. */
static void small_table(fixture *f, model *m, codec_id codec, image *out)
{
    table_options opt;

    table_options_default(&opt);
    opt.block_bytes = 400;
    opt.restart_interval = 4;
    opt.codec = codec;
    model_random(m, 60, 0, 40);
    for (size_t i = 0; i < m->count; i++) /* most blocks can be compressed, one cannot */
        if (i > 8) memset((void *)(uintptr_t)m->rows[i].value.data, 'v', m->rows[i].value.size);
    m->ranges[0] = (key_range){text("b"), text("bb")};
    m->ranges[1] = (key_range){text("q"), text("r")};
    m->range_count = 2;
    CHECK_STATUS(fixture_open(f), FKV_OK);
    CHECK_STATUS(model_write(f, f->env, "t", m, &opt), FKV_OK);
    *out = image_read(f, "t");
    CHECK(out->block_count >= 5);
    CHECK(get_u32(out->bytes + out->size - FOOTER_BYTES + FOOT_CODECS) ==
          (codec == CODEC_NONE ? 0 : 1u << codec));
}

static void small_table_release(fixture *f, model *m, image *i)
{
    free(i->bytes);
    fixture_release(f);
    model_release(m);
}

static void every_bit(void)
{
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        fixture f;
        model m;
        image i;
        uint64_t unseen = 0, wrong = 0, nameless = 0;
        if (!codec_available((codec_id)codec)) continue;
        small_table(&f, &m, (codec_id)codec, &i);
        CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong), FKV_OK);
        CHECK(wrong == 0);
        for (size_t bit = 0; bit < i.size * 8; bit++) {
            fkv_status rc;
            i.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            rc = examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong);
            i.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (rc != FKV_CORRUPT) {
                unseen++;
                (void)printf("bit %zu of %zu: status %d\n", bit, i.size * 8, (int)rc);
            }
            nameless += !strstr(fkv_errmsg(), "x: ") || !strstr(fkv_errmsg(), " offset ");
        }
        CHECK(unseen == 0 && wrong == 0 && nameless == 0);
        small_table_release(&f, &m, &i);
    }
}

static void every_length(void)
{
    fixture f;
    model m;
    image i;
    uint64_t wrong = 0;
    table *t = NULL;

    small_table(&f, &m, CODEC_NONE, &i);
    for (size_t size = 0; size < i.size; size++) {
        CHECK_STATUS(examine(&f, i.bytes, size, i.unique_id, &m, &wrong), FKV_CORRUPT);
        CHECK_STATUS(table_open_named(&f, f.env, "x", i.unique_id, f.summary.file_bytes, NULL, &t),
                     FKV_CORRUPT);
    }
    i.bytes[i.size] = 0; /* one byte too many */
    CHECK_STATUS(examine(&f, i.bytes, i.size + 1, i.unique_id, &m, &wrong), FKV_CORRUPT);
    CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id + 1, &m, &wrong), FKV_CORRUPT);
    CHECK(wrong == 0);
    small_table_release(&f, &m, &i);
}

/* Blocks in each other's place, or from another table with the very same shape. */
static void mixed_up_blocks(void)
{
    fixture f;
    model m = {.rows = calloc(200, sizeof(row)), .count = 200};
    table_options opt;
    image a, b;
    uint64_t wrong = 0;

    REQUIRE(m.rows);
    for (uint64_t i = 0; i < 200; i++) {
        uint8_t *key = malloc(8);
        REQUIRE(key);
        put_be64(key, i);
        m.rows[i] = (row){fkv_slice_of(key, 8), random_bytes(20, 0), 0, ENTRY_PUT};
    }
    table_options_default(&opt);
    opt.block_bytes = 300;
    REQUIRE_OK(fixture_open(&f));
    REQUIRE_OK(model_write(&f, f.env, "t", &m, &opt));
    a = image_read(&f, "t");
    REQUIRE_OK(model_write(&f, f.env, "u", &m, &opt));
    b = image_read(&f, "u");
    REQUIRE(a.size == b.size && a.unique_id != b.unique_id && a.block_count > 10);
    for (size_t i = 0; i < a.block_count; i++) {
        block_handle h = a.blocks[i], g = a.blocks[i ? i - 1 : 1];
        uint8_t kept[2][512];
        size_t bytes = h.size + BLOCK_TRAILER;
        if (bytes > sizeof kept[0] || h.size != g.size) continue;
        memcpy(kept[0], a.bytes + h.offset, bytes);
        memcpy(kept[1], a.bytes + g.offset, bytes);
        memcpy(a.bytes + h.offset, b.bytes + h.offset, bytes);
        CHECK_STATUS(examine(&f, a.bytes, a.size, a.unique_id, &m, &wrong), FKV_CORRUPT);
        memcpy(a.bytes + h.offset, kept[1], bytes);
        memcpy(a.bytes + g.offset, kept[0], bytes);
        CHECK_STATUS(examine(&f, a.bytes, a.size, a.unique_id, &m, &wrong), FKV_CORRUPT);
        memcpy(a.bytes + h.offset, kept[0], bytes);
        memcpy(a.bytes + g.offset, kept[1], bytes);
    }
    CHECK_STATUS(examine(&f, a.bytes, a.size, a.unique_id, &m, &wrong), FKV_OK);
    CHECK(wrong == 0);
    free(a.bytes);
    free(b.bytes);
    fixture_release(&f);
    model_release(&m);
}

static void newer_formats(void)
{
    fixture f;
    model m;
    image i;
    uint64_t wrong = 0;
    uint8_t *footer;

    small_table(&f, &m, CODEC_ZLIB, &i);
    footer = i.bytes + i.size - FOOTER_BYTES;
    put_u32(footer + FOOT_VERSION, TABLE_VERSION + 1);
    image_sign(&i);
    CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong), FKV_UNSUPPORTED);
    CHECK(strstr(fkv_errmsg(), "table format 2"));
    put_u32(footer + FOOT_VERSION, TABLE_VERSION);
    put_u32(footer + FOOT_CODECS, 1u << CODEC_ZLIB | 1u << 9);
    image_sign(&i);
    CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong), FKV_UNSUPPORTED);
    CHECK(strstr(fkv_errmsg(), "number 9"));
    put_u32(footer + FOOT_CODECS, 0); /* the blocks use one that the footer does not name */
    image_sign(&i);
    CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong), FKV_CORRUPT);
    if (!codec_available(CODEC_LZ4)) {
        put_u32(footer + FOOT_CODECS, 1u << CODEC_LZ4);
        image_sign(&i);
        CHECK_STATUS(examine(&f, i.bytes, i.size, i.unique_id, &m, &wrong), FKV_UNSUPPORTED);
        CHECK(strstr(fkv_errmsg(), "lz4"));
    }
    small_table_release(&f, &m, &i);
}

/* -- forged: the checksums are right, the content is not --------------------------------------- */

static void walk_at_will(table *t)
{
    uint8_t room[8];
    iter *it = NULL;

    REQUIRE_OK(table_iter_new(t, (int)check_below(2), &it));
    for (int n = 0; n < 6; n++) {
        fkv_slice key = fkv_slice_of(room, check_below(8)), from, to;
        table_value v;
        for (size_t i = 0; i < 8; i++) room[i] = (uint8_t)('a' + check_below(3));
        if (n & 1) {
            it->ops->seek(it, key);
        } else {
            it->ops->seek_before(it, key);
        }
        for (int steps = 0; it->entry && steps < 20; steps++) {
            if (check_below(2)) {
                it->ops->next(it);
            } else {
                it->ops->prev(it);
            }
        }
        fkv_ignore(table_get(t, key, hash64(key.data, key.size, 0), &v)); /* any answer will do */
        table_value_release(&v);
        (void)table_covers(t, key, &from, &to);
        (void)table_offset_of(t, key);
    }
    iter_close(it);
}

/* What table_verify lets pass must at least agree with itself. */
static void check_consistent(table *t, uint64_t entries)
{
    iter *it = NULL;
    uint64_t up = 0, down = 0;

    REQUIRE_OK(table_iter_new(t, 0, &it));
    for (it->ops->first(it); it->entry; it->ops->next(it)) {
        table_value v;
        up++;
        CHECK_STATUS(
            table_get(t, it->entry->key, hash64(it->entry->key.data, it->entry->key.size, 0), &v),
            FKV_OK);
        CHECK(slice_equal(v.value, it->entry->value) && v.kind == it->entry->kind);
        table_value_release(&v);
    }
    CHECK_STATUS(it->status, FKV_OK);
    for (it->ops->last(it); it->entry; it->ops->prev(it)) down++;
    CHECK_STATUS(it->status, FKV_OK);
    CHECK(up == entries && down == entries);
    iter_close(it);
}

static void forge(image *i)
{
    static const uint8_t favourites[] = {0, 1, 2, 3, 0x7f, 0x80, 0xfe, 0xff};
    size_t place = check_below(i->block_count + 1), low, size;

    if (place < i->block_count) {
        low = i->blocks[place].offset;
        size = i->blocks[place].size + 1;
    } else {
        low = i->size - FOOTER_BYTES;
        size = FOOT_CRC;
    }
    for (uint64_t n = 1 + check_below(4); n > 0; n--) {
        /* Half of the time near the end, where the lengths and restarts are. */
        size_t at = check_below(2) && size > 24 ? size - 24 + check_below(24) : check_below(size);
        i->bytes[low + at] = check_below(2) ? favourites[check_below(sizeof favourites)]
                                            : (uint8_t)check_random();
    }
    image_sign(i);
}

static void forged_tables(void)
{
    uint64_t opened = 0, verified = 0;

    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        fixture f;
        model m;
        image i;
        uint8_t *good;
        if (!codec_available((codec_id)codec)) continue;
        small_table(&f, &m, (codec_id)codec, &i);
        good = malloc(i.size);
        REQUIRE(good);
        memcpy(good, i.bytes, i.size);
        for (int n = 0; n < 8000; n++) {
            table *t = NULL;
            uint64_t wrong = 0;
            forge(&i);
            REQUIRE_OK(write_file(&f, "x", i.bytes, i.size));
            if (!table_open_named(&f, f.env, "x", i.unique_id, i.size, NULL, &t)) {
                opened++;
                fkv_ignore(compare_all(t, &m, &wrong)); /* it must only come back */
                walk_at_will(t);
                if (!table_verify(t)) {
                    verified++;
                    check_consistent(t, m.count);
                }
            }
            table_free(t);
            memcpy(i.bytes, good, i.size);
        }
        free(good);
        small_table_release(&f, &m, &i);
    }
    CHECK(opened > 1000 && verified > 10);
}

/* -- no memory, no disk ------------------------------------------------------------------------ */

static uint64_t allocations, fail_at, live;
static int fail_on; /* also all that follow */

static void *failing_resize(void *ptr, size_t size)
{
    void *p;

    allocations++;
    if (allocations == fail_at || (fail_on && allocations > fail_at)) return NULL;
    p = realloc(ptr, size);
    if (p && !ptr) live++;
    return p;
}

static void failing_release(void *ptr)
{
    live--;
    free(ptr);
}

/* A table's whole life. */
static fkv_status live_through(const model *m, codec_id codec, uint64_t *wrong)
{
    fixture f;
    block_cache *cache = NULL;
    table *t = NULL;
    table_options opt;
    fkv_status rc = fixture_open(&f);

    table_options_default(&opt);
    opt.block_bytes = 500;
    opt.codec = codec;
    if (!rc) rc = model_write(&f, f.env, "t", m, &opt);
    if (!rc) rc = block_cache_new(f.env, 64 << 10, 64 << 10, &cache);
    if (!rc) rc = model_open(&f, "t", cache, &t);
    if (!rc) rc = compare_all(t, m, wrong);
    if (!rc) rc = table_verify(t);
    table_free(t);
    block_cache_free(cache);
    fixture_release(&f);
    return rc;
}

static void no_memory(void)
{
    static const alloc_hook hook = {failing_resize, failing_release};
    static const codec_id codecs[] = {CODEC_NONE, CODEC_ZLIB};
    uint64_t failures = 0;
    model m;

    model_random(&m, 120, 0, 60);
    m.ranges[0] = (key_range){text("b"), text("bb")};
    m.range_count = 1;
    alloc_set_hook(&hook);
    for (int round = 0; round < 4; round++) {
        fail_on = round & 1;
        for (fail_at = 1;; fail_at++) {
            uint64_t wrong = 0;
            fkv_status rc;
            allocations = 0;
            rc = live_through(&m, codecs[round / 2], &wrong);
            CHECK(rc == FKV_OK || rc == FKV_NOMEM);
            CHECK(wrong == 0 && live == 0);
            failures += rc == FKV_NOMEM;
            if (fail_at > allocations) break;
        }
    }
    CHECK(failures > 200);
    alloc_set_hook(NULL);
    model_release(&m);
}

static void failing_disk(void)
{
    static const struct {
        int kinds;
        fkv_status status;
    } cases[] = {{ENV_OP_READ, FKV_IOERR},
                 {ENV_OP_WRITE, FKV_FULL},
                 {ENV_OP_SYNC, FKV_IOERR_SYNC},
                 {ENV_OP_OPEN, FKV_IOERR}};
    table_options opt;
    model m;

    table_options_default(&opt);
    model_random(&m, 300, 1, 100);
    for (size_t c = 0; c < 4; c++) {
        fixture f;
        fkv_env *base = NULL;
        uint64_t fired = 1;
        REQUIRE_OK(env_mem_new(&base));
        f = (fixture){0};
        REQUIRE_OK(env_fault_new(base, &f.env));
        REQUIRE_OK(f.env->dir_open(f.env, "d", ENV_WRITE | ENV_CREATE, &f.dir));
        for (uint64_t countdown = 1; fired; countdown++) {
            env_fault fault = {cases[c].kinds, countdown, 0, cases[c].status, 1};
            table *t = NULL;
            uint64_t wrong = 0;
            fkv_status rc;
            env_fault_set(f.env, &fault);
            rc = model_write(&f, f.env, "t", &m, &opt);
            if (!rc) rc = model_open(&f, "t", NULL, &t);
            if (!rc) rc = compare_all(t, &m, &wrong);
            if (!rc) rc = table_verify(t);
            table_free(t);
            fired = env_fault_fired(f.env);
            CHECK_STATUS(rc, fired ? cases[c].status : FKV_OK);
            CHECK(wrong == 0);
            env_fault_set(f.env, NULL);
        }
        table_summary_release(&f.summary);
        f.env->dir_close(f.env, f.dir);
        env_fault_free(f.env);
        env_mem_free(base);
    }
    model_release(&m);
}

/* -- the bytes of FORMAT.md ------------------------------------------------------------------ */

static fkv_status fixed_random(fkv_env *env, void *out, size_t size)
{
    (void)env;
    for (size_t i = 0; i < size; i++) ((uint8_t *)out)[i] = (uint8_t)(8 - i % 8);
    return FKV_OK;
}

/* clang-format off */
static const uint8_t golden[] = {
    0x00, 0x03, 0x09, 0x61, 0x70, 0x65, 0x31, 0x02, 0x03, 0x02, 0x70, 0x6c, 0x65, 0x00, 0x03, 0x13,
    0x62, 0x65, 0x65, 0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x32, 0x32, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x36, 0xdf, 0x04, 0x2c, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x20, 0x10, 0x00, 0x04, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x10, 0x14,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00,
    0x00, 0x08, 0x00, 0x08, 0x00, 0x00, 0x10, 0x08, 0x00, 0x01, 0x00, 0x00, 0xa3, 0x44, 0x67, 0x77,
    0x01, 0x63, 0x01, 0x64, 0x00, 0x8a, 0xd8, 0xf4, 0x70, 0x03, 0x62, 0x65, 0x65, 0x00, 0x25, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x53, 0xa0, 0xe4, 0x59, 0x79, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x70, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x9d, 0x4f, 0x1e, 0x14, 0x46, 0x4b, 0x56, 0x54
};
/* clang-format on */

static void bytes_are_as_documented(void)
{
    row rows[] = {{text("ape"), text("1"), 0, ENTRY_PUT},
                  {text("apple"), text(""), 0, ENTRY_DELETE},
                  {text("bee"), text("22"), 1000, ENTRY_PUT_EXPIRES}};
    model m = {.rows = rows, .count = 3, .ranges = {{text("c"), text("d")}}, .range_count = 1};
    table_options opt;
    fixture f;
    fkv_env fixed;
    image i;
    int same;

    table_options_default(&opt);
    REQUIRE_OK(fixture_open(&f));
    fixed = *f.env;
    fixed.random = fixed_random;
    REQUIRE_OK(model_write(&f, &fixed, "t", &m, &opt));
    i = image_read(&f, "t");
    same = i.size == sizeof golden && memcmp(i.bytes, golden, i.size) == 0;
    CHECK(same);
    for (size_t at = 0; !same && at < i.size; at++)
        (void)printf("0x%02x,%s", i.bytes[at], at % 16 == 15 || at + 1 == i.size ? "\n" : " ");
    free(i.bytes);
    fixture_release(&f);
}

TEST_MAIN("test_table_damage", TEST_CASE(every_bit), TEST_CASE(every_length),
          TEST_CASE(mixed_up_blocks), TEST_CASE(newer_formats), TEST_CASE(forged_tables),
          TEST_CASE(no_memory), TEST_CASE(failing_disk), TEST_CASE(bytes_are_as_documented))
