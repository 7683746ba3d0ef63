/* base/: buffers, varints, checksums, slices and key ranges do what their headers say. */
#include "check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "base/ranges.h"
#include "base/slice.h"

/* -- a heap that runs dry ------------------------------------------------------------------- */

static int allocations_left; /* < 0: without end */
static int allocations_live;

static void *dry_resize(void *ptr, size_t size)
{
    void *result;

    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    result = realloc(ptr, size);
    if (result && !ptr) allocations_live++;
    return result;
}

static void dry_release(void *ptr)
{
    allocations_live--;
    free(ptr);
}

static const alloc_hook dry_heap = {dry_resize, dry_release};

/* Count allocations from here, and let only the first n succeed (-1: all). */
static void heap_begin(int n)
{
    allocations_left = n;
    allocations_live = 0;
    alloc_set_hook(&dry_heap);
}

static void heap_end(void)
{
    alloc_set_hook(NULL);
    CHECK(allocations_live == 0);
}

static fkv_slice text(const char *s)
{
    return fkv_slice_of(s, strlen(s));
}

/* -- alloc and buf -------------------------------------------------------------------------- */

static void alloc_contract(void)
{
    static const uint8_t zeros[64];
    uint8_t *p, *q;

    heap_begin(-1);
    p = alloc_bytes(0);
    CHECK(p != NULL);
    alloc_free(p);
    alloc_free(NULL);
    p = alloc_zero(64);
    REQUIRE(p);
    CHECK(memcmp(p, zeros, 64) == 0);
    p[63] = 7;
    q = alloc_resize(p, 6400);
    REQUIRE(q);
    CHECK(q[63] == 7);
    allocations_left = 0;
    CHECK(alloc_resize(q, 64000) == NULL);
    CHECK(q[63] == 7);
    CHECK(alloc_bytes(1) == NULL);
    CHECK(alloc_zero(1) == NULL);
    alloc_free(q);
    heap_end();
}

static void buf_grows(void)
{
    buf b = {0};
    uint8_t *p;

    CHECK_STATUS(buf_status(&b), FKV_OK);
    CHECK(buf_slice(&b).size == 0);
    buf_append(&b, NULL, 0);
    CHECK(b.size == 0);
    for (unsigned i = 0; i < 10000; i++) buf_append_u8(&b, (uint8_t)(i * 7));
    CHECK(b.size == 10000);
    for (unsigned i = 0; i < 10000; i++) REQUIRE(b.data[i] == (uint8_t)(i * 7));
    buf_clear(&b);
    CHECK(b.size == 0 && b.capacity >= 10000);
    p = buf_reserve(&b, 100);
    CHECK(p == b.data && b.size == 0);

    buf_append_u32(&b, 0x04030201u);
    buf_append_u64(&b, 0x0c0b0a0908070605u);
    buf_append_varint(&b, 300);
    buf_append_slice(&b, text("xyz"));
    CHECK(slice_equal(buf_slice(&b), text("\1\2\3\4\5\6\7\10\11\12\13\14\254\2\3xyz")));
    buf_set(&b, text("new"));
    CHECK(slice_equal(buf_slice(&b), text("new")));
    CHECK_STATUS(buf_status(&b), FKV_OK);
    buf_release(&b);
    buf_release(&b);
    CHECK(b.data == NULL && b.size == 0);
}

static void buf_failure_sticks(void)
{
    for (int n = 0; n < 4; n++) {
        buf b = {0};

        heap_begin(n);
        for (int i = 0; i < 1000; i++) buf_append(&b, "0123456789", 10);
        CHECK(b.failed);
        CHECK_STATUS(buf_status(&b), FKV_NOMEM);
        CHECK(b.size % 10 == 0 && b.size < 10000);
        CHECK(n == 0 ? b.size == 0 : b.size > 0);
        CHECK(buf_reserve(&b, 1) == NULL); /* a no-op even where there is room */
        allocations_left = -1;
        buf_append_u8(&b, 1);
        CHECK_STATUS(buf_status(&b), FKV_NOMEM);
        buf_clear(&b);
        buf_append_u8(&b, 1);
        CHECK_STATUS(buf_status(&b), FKV_OK);
        CHECK(b.size == 1);
        buf_release(&b);
        heap_end();
    }
}

static void buf_refuses_overflow(void)
{
    buf b = {0};

    buf_append_u8(&b, 1);
    CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
    CHECK_STATUS(buf_status(&b), FKV_NOMEM);
    buf_release(&b);
}

/* -- integers ------------------------------------------------------------------------------- */

static void fixed_integers(void)
{
    uint8_t p[8];

    put_u16(p, 0x0102);
    CHECK(p[0] == 2 && p[1] == 1 && get_u16(p) == 0x0102);
    put_u32(p, 0x01020304u);
    CHECK(p[0] == 4 && p[3] == 1 && get_u32(p) == 0x01020304u);
    put_be32(p, 0xf1020304u);
    CHECK(p[0] == 0xf1 && p[3] == 4 && get_be32(p) == 0xf1020304u);
    for (int i = 0; i < 100; i++) {
        uint64_t v = check_random() >> check_below(64);
        put_u64(p, v);
        CHECK(get_u64(p) == v && p[0] == (uint8_t)v);
        put_be64(p, v);
        CHECK(get_be64(p) == v && p[7] == (uint8_t)v);
    }
}

/* v comes back from as many bytes as it should take, and from no fewer. */
static void varint_round_trip(uint64_t v)
{
    uint8_t p[VARINT64_MAX_BYTES + 1];
    const uint8_t *end = put_varint(p, v);
    size_t size = (size_t)(end - p), expected = 1;
    uint64_t v64 = 0;
    uint32_t v32 = 0;

    for (uint64_t rest = v >> 7; rest; rest >>= 7) expected++;
    CHECK(size == expected);
    CHECK(get_varint64(p, end, &v64) == end && v64 == v);
    CHECK(get_varint64(p, end + 1, &v64) == end && v64 == v);
    if (v <= UINT32_MAX) {
        CHECK(size <= VARINT32_MAX_BYTES);
        CHECK(get_varint32(p, end, &v32) == end && v32 == v);
    } else {
        CHECK(get_varint32(p, end, &v32) == NULL);
    }
    for (size_t cut = 0; cut < size; cut++) {
        CHECK(get_varint64(p, p + cut, &v64) == NULL);
        CHECK(get_varint32(p, p + cut, &v32) == NULL);
    }
}

static void varints(void)
{
    varint_round_trip(0);
    for (unsigned shift = 0; shift < 64; shift++) {
        varint_round_trip(((uint64_t)1 << shift) - 1);
        varint_round_trip((uint64_t)1 << shift);
        varint_round_trip(((uint64_t)1 << shift) + 1);
    }
    varint_round_trip(UINT64_MAX - 1);
    varint_round_trip(UINT64_MAX);
    for (int i = 0; i < 1000; i++) varint_round_trip(check_random() >> check_below(64));
}

static void varint_overlong(void)
{
    uint8_t p[16];
    uint64_t v64;
    uint32_t v32;

    memset(p, 0xff, sizeof p); /* never ends */
    CHECK(get_varint64(p, p + sizeof p, &v64) == NULL);
    CHECK(get_varint32(p, p + sizeof p, &v32) == NULL);
    p[9] = 1; /* 2^64 - 1 */
    CHECK(get_varint64(p, p + sizeof p, &v64) == p + 10 && v64 == UINT64_MAX);
    p[9] = 2; /* bit 64 */
    CHECK(get_varint64(p, p + sizeof p, &v64) == NULL);
    p[9] = 0x81; /* ten bytes that announce another */
    p[10] = 0;
    CHECK(get_varint64(p, p + sizeof p, &v64) == NULL);
    memset(p, 0xff, sizeof p);
    p[4] = 0x0f; /* 2^32 - 1 */
    CHECK(get_varint32(p, p + sizeof p, &v32) == p + 5 && v32 == UINT32_MAX);
    p[4] = 0x10; /* 2^32 and more */
    CHECK(get_varint32(p, p + sizeof p, &v32) == NULL);
}

/* -- checksums ------------------------------------------------------------------------------ */

static void checksums(void)
{
    static const char data[] = "123456789";
    uint32_t check = checksum_at(1, 2, data, 9);

    CHECK(check == 0x03237746u); /* frozen: it is on disk */
    CHECK(checksum_at(0, 0, NULL, 0) == 0xd5350103u);
    CHECK(checksum_at(2, 1, data, 9) != check);
    CHECK(checksum_at(2, 2, data, 9) != check);
    CHECK(checksum_at(1, 3, data, 9) != check);
    CHECK(checksum_at((uint64_t)1 << 40 | 1, 2, data, 9) != check);
    CHECK(checksum_at(1, (uint64_t)1 << 40 | 2, data, 9) != check);
    CHECK(checksum_at(1, 2, data, 8) != check);
    CHECK(checksum_at(1, 2, NULL, 0) != checksum_at(2, 1, NULL, 0));
}

/* Frozen: filters on disk were built with these values. */
static void hashes(void)
{
    static const char pangram[] = "The quick brown fox jumps over the lazy dog";
    static const struct {
        size_t size;
        uint64_t plain, seeded;
    } frozen[] = {
        {0, 0x2d06800538d394c2u, 0xda71bc4aec3fbef0u},
        {1, 0x20948828081ddcb4u, 0xe4cc3253169bd7bau},
        {3, 0x178e97a55c30304fu, 0x6e9509a8e3232327u},
        {4, 0x3094195fbd46ee2au, 0x4620e1a2d70712d1u},
        {7, 0x8706dee3383094a1u, 0xd44fc3baba889ba3u},
        {8, 0x4fdd94d918ebefb3u, 0x776645c730da6fd1u},
        {15, 0x3a289a3801e80314u, 0x052eab9432d5180cu},
        {16, 0x4246951ded1f9054u, 0xa63d595f757ff5d9u},
        {17, 0xa429a74ff039e59bu, 0x116705799d71b71cu},
        {32, 0x7faa8dfb9e729c7bu, 0xd1f602b4f3f5443du},
        {33, 0x96bcb2b6ca494c3eu, 0x7bad747e9cc68444u},
        {43, 0xce7d19a5418fb365u, 0x21ab17efbdb269cdu},
    };
    char shifted[64];

    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        CHECK(hash64(pangram, frozen[i].size, 0) == frozen[i].plain);
        CHECK(hash64(pangram, frozen[i].size, 0x1234) == frozen[i].seeded);
        memcpy(shifted + 3, pangram, frozen[i].size); /* wherever the bytes lie */
        CHECK(hash64(shifted + 3, frozen[i].size, 0) == frozen[i].plain);
    }
}

/* -- slices and ranges ---------------------------------------------------------------------- */

static void slices(void)
{
    static const char *const ordered[] = {"",     "a",    "aa",   "ab",      "b",
                                          "\x7f", "\x80", "\xff", "\xff\xff"};
    const size_t n = sizeof ordered / sizeof ordered[0];
    const fkv_slice none = {NULL, 0};

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            int c = slice_compare(text(ordered[i]), text(ordered[j]));
            CHECK((c > 0) - (c < 0) == (i > j) - (i < j));
            CHECK(slice_equal(text(ordered[i]), text(ordered[j])) == (i == j));
        }
    }
    CHECK(slice_compare(none, text("")) == 0 && slice_equal(none, text("")));
    CHECK(slice_compare(none, text("a")) < 0);
    CHECK(slice_compare(fkv_slice_of("a\0b", 3), fkv_slice_of("a\0c", 3)) < 0);
    CHECK(slice_common(text("abcd"), text("abxd")) == 2);
    CHECK(slice_common(text("ab"), text("abcd")) == 2);
    CHECK(slice_common(none, text("abcd")) == 0);
    CHECK(slice_common(text("x"), text("y")) == 0);
}

#define KEYS 300

static uint8_t key_bytes[KEYS + 1][2];

static fkv_slice key(size_t i)
{
    return fkv_slice_of(key_bytes[i], 2);
}

static size_t key_index(fkv_slice k)
{
    return (size_t)k.data[0] << 8 | k.data[1];
}

static void ranges_against_bitmap(void)
{
    for (size_t i = 0; i <= KEYS; i++) {
        key_bytes[i][0] = (uint8_t)(i >> 8);
        key_bytes[i][1] = (uint8_t)i;
    }
    for (int round = 0; round < 300; round++) {
        uint8_t covered[KEYS + 1] = {0};
        range_set set = {0};
        size_t adds = (size_t)check_below(round % 2 ? 8 : 60);

        for (size_t i = 0; i < adds; i++) {
            size_t from = (size_t)check_below(KEYS);
            size_t to = from + 1 + (size_t)check_below(20);
            if (to > KEYS) to = KEYS;
            range_set_add(&set, key(from), key(to));
            for (size_t k = from; k < to; k++) covered[k] = 1;
        }
        REQUIRE_OK(range_set_finish(&set));
        for (size_t i = 0; i < set.count; i++) {
            CHECK(slice_compare(set.items[i].from, set.items[i].to) < 0);
            if (i) CHECK(slice_compare(set.items[i - 1].to, set.items[i].from) < 0);
        }
        for (size_t k = 0; k <= KEYS; k++) {
            const key_range *r = range_set_find(&set, key(k));
            CHECK((r != NULL) == covered[k]);
            if (r) CHECK(key_index(r->from) <= k && k < key_index(r->to));
        }
        range_set_release(&set);
    }
}

static void ranges_without_memory(void)
{
    range_set set = {0};

    heap_begin(0);
    range_set_add(&set, text("a"), text("b"));
    CHECK_STATUS(range_set_finish(&set), FKV_NOMEM);
    range_set_release(&set);
    allocations_left = 1;
    for (int i = 0; i < 17; i++) range_set_add(&set, text("a"), text("b"));
    allocations_left = -1;
    range_set_add(&set, text("c"), text("d"));
    CHECK_STATUS(range_set_finish(&set), FKV_NOMEM);
    range_set_release(&set);
    range_set_release(&set);
    CHECK_STATUS(range_set_finish(&set), FKV_OK);
    CHECK(range_set_find(&set, text("a")) == NULL);
    heap_end();
}

TEST_MAIN("test_base", TEST_CASE(alloc_contract), TEST_CASE(buf_grows),
          TEST_CASE(buf_failure_sticks), TEST_CASE(buf_refuses_overflow), TEST_CASE(fixed_integers),
          TEST_CASE(varints), TEST_CASE(varint_overlong), TEST_CASE(checksums), TEST_CASE(hashes),
          TEST_CASE(slices), TEST_CASE(ranges_against_bitmap), TEST_CASE(ranges_without_memory))
