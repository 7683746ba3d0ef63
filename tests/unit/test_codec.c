/*
** table/codec*.c: what is compressed comes back, what is damaged does not pass, what is not worth
** it or cannot be had is stored plain; and which keyspace has which codec.
**
** The libraries' functions below stand in front of their own (see posix_hook.h), and fail on
** demand.
*/
#include "check.h"

#include <dlfcn.h>
#include <zlib.h>
#ifdef FKV_HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "base/alloc.h"
#include "base/coding.h"
#include "table/codec.h"
#include "table/codec_rules.h"
#include "table/format.h"

enum { ROOM = 70000 };

static const codec_id codecs[] = {CODEC_ZLIB, CODEC_LZ4, CODEC_ZSTD};
static const char *fails; /* this function of a library does */

#define NEXT(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

static int failing(const char *function)
{
    return fails && strcmp(fails, function) == 0;
}

int inflateInit_(z_stream *z, const char *version, int size)
{
    return failing("inflateInit_") ? Z_VERSION_ERROR : NEXT(inflateInit_)(z, version, size);
}

#ifdef FKV_HAVE_ZSTD
ZSTD_CCtx *ZSTD_createCCtx(void)
{
    return failing("ZSTD_createCCtx") ? NULL : NEXT(ZSTD_createCCtx)();
}

ZSTD_DCtx *ZSTD_createDCtx(void)
{
    return failing("ZSTD_createDCtx") ? NULL : NEXT(ZSTD_createDCtx)();
}

size_t ZSTD_decompressDCtx(ZSTD_DCtx *z, void *out, size_t room, const void *data, size_t size)
{
    return failing("ZSTD_decompressDCtx") ? (size_t)-ZSTD_error_memory_allocation
                                          : NEXT(ZSTD_decompressDCtx)(z, out, room, data, size);
}
#endif

/* -- data ------------------------------------------------------------------------------------- */

/* Like rows: words that come again, and here and there a number. */
static void fill_rows(uint8_t *out, size_t size)
{
    static const char *const words[] = {"name=", "street", "value of the ", "2026-01-", "\0\0\0\7"};
    size_t n = 0;

    while (n < size) {
        const char *word = words[check_below(5)];
        for (size_t i = 0; i < 4 && n < size; i++) out[n++] = (uint8_t)word[i];
        if (check_below(12) == 0 && n < size) out[n++] = (uint8_t)check_random();
    }
}

static void fill_random(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) out[i] = (uint8_t)check_random();
}

/* Compressed bytes without the size in front. */
static fkv_slice body(const buf *b)
{
    return fkv_slice_of(b->data + 4, b->size - 4);
}

/* -- there and back --------------------------------------------------------------------------- */

static void round_trips(void)
{
    static const size_t sizes[] = {64, 500, 4096, 16384, ROOM};
    static uint8_t data[ROOM], back[ROOM];

    for (size_t c = 0; c < 3; c++) {
        codec_state s = {0};
        buf out = {0};
        if (!codec_available(codecs[c])) continue;
        for (int i = 0; i < 60; i++) {
            size_t size = sizes[i % 5];
            int level = (int)check_below(10); /* 0: the default; it changes between blocks */
            fill_rows(data, size);
            if (!codec_compress(&s, codecs[c], level, data, size, &out)) {
                CHECK(size <= 500); /* too short to gain an eighth */
                continue;
            }
            CHECK(out.size <= size - size / 8 && get_u32(out.data) == size);
            memset(back, 0xaa, size);
            CHECK_STATUS(codec_decompress(codecs[c], body(&out).data, body(&out).size, back, size),
                         FKV_OK);
            CHECK(memcmp(back, data, size) == 0);
        }
        codec_state_release(&s);
        codec_state_release(&s); /* twice is fine */
        buf_release(&out);
    }
}

static void stored_plain(void)
{
    static uint8_t zeros[COMPRESSED_RAW_MAX + 1], noise[4096];
    codec_state s = {0};
    buf out = {0};

    fill_random(noise, sizeof noise);
    CHECK(!codec_compress(&s, CODEC_NONE, 0, zeros, 4096, &out) && out.size == 0);
    for (size_t c = 0; c < 3; c++) {
        codec_id id = codecs[c];
        if (!codec_available(id)) continue;
        CHECK(codec_compress(&s, id, 0, zeros, 4096, &out) && out.size < 200);
        CHECK(!codec_compress(&s, id, 0, noise, sizeof noise, &out) && out.size == 0);
        CHECK(!codec_compress(&s, id, 0, zeros, 4, &out) && out.size == 0);
        CHECK(!codec_compress(&s, id, 0, zeros, sizeof zeros, &out) && out.size == 0);
    }
    /* What a reader would have to refuse as a bomb is not made. */
    if (codec_available(CODEC_ZSTD))
        CHECK(!codec_compress(&s, CODEC_ZSTD, 0, zeros, COMPRESSED_RAW_MAX, &out));
    CHECK(out.size == 0);
    codec_state_release(&s);
    buf_release(&out);
}

static void codecs_that_are_not_there(void)
{
    uint8_t data[64] = {0}, back[64];
    codec_state s = {0};
    buf out = {0};

    CHECK(strcmp(codec_name(CODEC_NONE), "none") == 0 &&
          strcmp(codec_name(CODEC_ZLIB), "zlib") == 0);
    CHECK(strcmp(codec_name(CODEC_LZ4), "lz4") == 0 && strcmp(codec_name(CODEC_ZSTD), "zstd") == 0);
    CHECK(strcmp(codec_name((codec_id)4), "unknown") == 0);
    CHECK(codec_available(CODEC_NONE) && codec_available(CODEC_ZLIB));
    CHECK(!codec_available((codec_id)4) && !codec_available((codec_id)255));
    CHECK(!codec_compress(&s, (codec_id)4, 0, data, sizeof data, &out) && out.size == 0);
    CHECK_STATUS(codec_decompress((codec_id)4, data, 10, back, 64), FKV_UNSUPPORTED);
    CHECK(strcmp(fkv_errmsg(), "this build lacks the unknown codec") == 0);
    buf_release(&out);
}

/* -- damage ----------------------------------------------------------------------------------- */

/* Never more, never less, than what was compressed: or it is damage. */
static void other_sizes_are_damage(void)
{
    enum { SIZE = 3000 };
    static uint8_t data[SIZE], back[SIZE + 8], twice[2 * SIZE];
    codec_state s = {0};
    buf out = {0};

    fill_rows(data, SIZE);
    for (size_t c = 0; c < 3; c++) {
        codec_id id = codecs[c];
        fkv_slice z;
        if (!codec_available(id)) continue;
        REQUIRE(codec_compress(&s, id, 0, data, SIZE, &out));
        z = body(&out);
        back[SIZE] = 0x55;
        CHECK_STATUS(codec_decompress(id, z.data, z.size, back, SIZE - 1), FKV_CORRUPT);
        CHECK(strcmp(fkv_errmsg(), "compressed bytes are damaged") == 0);
        CHECK_STATUS(codec_decompress(id, z.data, z.size, back, SIZE + 1), FKV_CORRUPT);
        CHECK(back[SIZE] == 0x55 || id != CODEC_ZSTD);
        for (size_t n = 0; n < z.size; n += 1 + n / 20)
            CHECK_STATUS(codec_decompress(id, z.data, n, back, SIZE), FKV_CORRUPT);
        memcpy(twice, z.data, z.size);
        memcpy(twice + z.size, z.data, z.size);
        CHECK_STATUS(codec_decompress(id, twice, z.size + 1, back, SIZE), FKV_CORRUPT);
        CHECK_STATUS(codec_decompress(id, twice, 2 * z.size, back, SIZE), FKV_CORRUPT);
        CHECK_STATUS(codec_decompress(id, z.data, z.size, back, SIZE), FKV_OK);
        CHECK(memcmp(back, data, SIZE) == 0);
    }
    codec_state_release(&s);
    buf_release(&out);
}

/* Flipped bits and nonsense end in an answer, inside the bounds (AddressSanitizer looks). */
static void nonsense_stays_in_bounds(void)
{
    enum { SIZE = 2000 };
    static uint8_t data[SIZE];
    codec_state s = {0};
    buf out = {0};
    uint64_t refused = 0;

    fill_rows(data, SIZE);
    for (size_t c = 0; c < 3; c++) {
        codec_id id = codecs[c];
        if (!codec_available(id)) continue;
        for (int i = 0; i < 500; i++) {
            uint8_t *copy = NULL, *back = malloc(SIZE);
            fkv_status rc;
            REQUIRE(codec_compress(&s, id, 0, data, SIZE, &out));
            copy = malloc(body(&out).size);
            REQUIRE(copy && back);
            memcpy(copy, body(&out).data, body(&out).size);
            if (i % 2) {
                copy[check_below(body(&out).size)] ^= (uint8_t)(1u << check_below(8));
            } else {
                fill_random(copy, body(&out).size);
            }
            rc = codec_decompress(id, copy, body(&out).size, back, SIZE);
            CHECK(rc == FKV_OK || rc == FKV_CORRUPT);
            refused += rc == FKV_CORRUPT;
            free(copy);
            free(back);
        }
    }
    CHECK(refused > 300);
    codec_state_release(&s);
    buf_release(&out);
}

/* -- no memory -------------------------------------------------------------------------------- */

static int64_t heap_left, live;

static void *dry_resize(void *ptr, size_t size)
{
    void *p = heap_left-- > 0 ? realloc(ptr, size) : NULL;

    if (p && !ptr) live++;
    return p;
}

static void dry_release(void *ptr)
{
    if (ptr) live--;
    free(ptr);
}

static const alloc_hook dry_heap = {dry_resize, dry_release};

/* A block that cannot be compressed for want of memory is stored plain, and the next one is not. */
static void compressing_without_memory(void)
{
    static uint8_t data[4096];
    int64_t failures = 0;

    fill_rows(data, sizeof data);
    alloc_set_hook(&dry_heap);
    for (size_t c = 0; c < 3; c++) {
        int done = 0;
        if (!codec_available(codecs[c])) continue;
        for (int64_t n = 0; !done && n < 50; n++) {
            codec_state s = {0};
            buf out = {0};
            heap_left = n;
            done = codec_compress(&s, codecs[c], 1, data, sizeof data, &out);
            failures += !done;
            CHECK(done || out.size == 0);
            heap_left = n; /* another level: a stream that exists is begun anew */
            done &= codec_compress(&s, codecs[c], 2, data, sizeof data, &out);
            heap_left = 100;
            CHECK(codec_compress(&s, codecs[c], 2, data, sizeof data, &out));
            CHECK(out.size > 4 && out.size < sizeof data);
            codec_state_release(&s);
            buf_release(&out);
            CHECK(live == 0);
        }
        CHECK(done);
    }
    CHECK(failures >= 3);
    alloc_set_hook(NULL);
}

static void decompressing_without_memory(void)
{
    static uint8_t data[40000], back[40000];
    codec_state s = {0};
    buf out = {0};
    fkv_slice z;

    fill_rows(data, sizeof data);
    alloc_set_hook(&dry_heap);
    heap_left = 100;
    REQUIRE(codec_compress(&s, CODEC_ZLIB, 1, data, sizeof data, &out));
    z = body(&out);
    heap_left = 0;
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, z.data, z.size, back, sizeof back), FKV_NOMEM);
    heap_left = 1; /* a stream that ends too early wants a window to remember */
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, z.data, z.size / 2, back, sizeof back), FKV_NOMEM);
    heap_left = 100;
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, z.data, z.size / 2, back, sizeof back), FKV_CORRUPT);
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, z.data, z.size, back, sizeof back), FKV_OK);
    CHECK(memcmp(back, data, sizeof data) == 0);
    codec_state_release(&s);
    buf_release(&out);
    CHECK(live == 0);
    alloc_set_hook(NULL);
}

/* -- libraries that fail ---------------------------------------------------------------------- */

/* That is the library's fault, and not called damage. */
static void another_zlib(void)
{
    uint8_t data[500] = {0}, back[500];
    codec_state s = {0};
    buf out = {0};

    REQUIRE(codec_compress(&s, CODEC_ZLIB, 0, data, sizeof data, &out));
    fails = "inflateInit_";
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, body(&out).data, body(&out).size, back, 500),
                 FKV_UNSUPPORTED);
    CHECK(strncmp(fkv_errmsg(), "zlib 1.", 7) == 0 && strstr(fkv_errmsg(), "does not start"));
    fails = NULL;
    CHECK_STATUS(codec_decompress(CODEC_ZLIB, body(&out).data, body(&out).size, back, 500), FKV_OK);
    codec_state_release(&s);
    buf_release(&out);
}

/* REQUIRES: nothing has been decompressed yet: a context that was made once stays. */
static void zstd_without_memory(void)
{
#ifdef FKV_HAVE_ZSTD
    static const char *const calls[] = {"ZSTD_createDCtx", "ZSTD_decompressDCtx"};
    static uint8_t data[2000], back[2000];
    codec_state s = {0};
    buf out = {0};

    fill_rows(data, sizeof data);
    fails = "ZSTD_createCCtx";
    CHECK(!codec_compress(&s, CODEC_ZSTD, 0, data, sizeof data, &out) && out.size == 0);
    fails = NULL;
    REQUIRE(codec_compress(&s, CODEC_ZSTD, 0, data, sizeof data, &out));
    for (int i = 0; i < 2; i++) {
        fails = calls[i];
        CHECK_STATUS(codec_decompress(CODEC_ZSTD, body(&out).data, body(&out).size, back, 2000),
                     FKV_NOMEM);
        fails = NULL;
    }
    CHECK_STATUS(codec_decompress(CODEC_ZSTD, body(&out).data, body(&out).size, back, 2000),
                 FKV_OK);
    CHECK(memcmp(back, data, sizeof data) == 0);
    codec_state_release(&s);
    buf_release(&out);
#endif
}

/* -- rules ------------------------------------------------------------------------------------ */

enum { SPACES = 400 };

static int rules_are(const codec_rules *rules, const uint8_t model[SPACES])
{
    uint32_t count = 0;

    for (uint32_t space = 0; space < SPACES; space++) {
        const codec_rule *found = codec_rules_find(rules, space);
        if ((found != NULL) != (model[space] != CODEC_NO_RULE)) return 0;
        if (found && (found->space != space || found->codec != model[space])) return 0;
        count += found != NULL;
    }
    return count == rules->count && !codec_rules_find(rules, UINT32_MAX);
}

static void rules_like_an_array(void)
{
    static codec_rules rules, over;
    uint8_t model[SPACES];
    uint32_t space, count;
    int full = 0;

    memset(model, CODEC_NO_RULE, sizeof model);
    CHECK(rules_are(&rules, model));
    for (int i = 0; i < 3000; i++) {
        codec_rule rule = {.space = (uint32_t)check_below(SPACES),
                           .codec = (uint8_t)check_below(4)};
        int room = rules.count < CODEC_RULES_MAX || codec_rules_find(&rules, rule.space) != NULL;
        CHECK(codec_rules_set(&rules, rule) == room);
        if (room) model[rule.space] = rule.codec;
        full += !room;
        if (i % 100 != 99) continue;
        CHECK(rules_are(&rules, model));
        over = (codec_rules){0};
        for (int k = 0; k < 80; k++) { /* what is there, what is not, and some to go */
            space = (uint32_t)check_below(SPACES);
            rule = (codec_rule){space, check_below(3) ? CODEC_NO_RULE : (uint8_t)check_below(4), 0};
            CHECK(codec_rules_set(&over, rule));
        }
        count = rules.count;
        codec_rules_overlay(&rules, &over);
        for (uint32_t k = 0; k < over.count; k++) {
            uint8_t *now = &model[over.items[k].space], codec = over.items[k].codec;
            if (*now == CODEC_NO_RULE && (codec == CODEC_NO_RULE || count == CODEC_RULES_MAX))
                continue; /* nothing to take out; no room */
            count -= *now != CODEC_NO_RULE;
            count += codec != CODEC_NO_RULE;
            *now = codec;
        }
        CHECK(rules_are(&rules, model));
    }
    CHECK(full > 0);
}

static void spaces_of_keys(void)
{
    CHECK(codec_rules_space(fkv_slice_of("\0\0\1\2rest", 8)) == 0x102);
    CHECK(codec_rules_space(fkv_slice_of("\xff\0\0\1", 4)) == 0xff000001u);
    CHECK(codec_rules_space(fkv_slice_of("\1\1\1", 3)) == 0);
    CHECK(codec_rules_space(fkv_slice_of("", 0)) == 0);
}

TEST_MAIN("test_codec", TEST_CASE(zstd_without_memory), TEST_CASE(round_trips),
          TEST_CASE(stored_plain), TEST_CASE(codecs_that_are_not_there),
          TEST_CASE(other_sizes_are_damage), TEST_CASE(nonsense_stays_in_bounds),
          TEST_CASE(compressing_without_memory), TEST_CASE(decompressing_without_memory),
          TEST_CASE(another_zlib), TEST_CASE(rules_like_an_array), TEST_CASE(spaces_of_keys))
