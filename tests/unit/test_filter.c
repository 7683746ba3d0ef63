/* The bloom filter: no key denied, few strangers let in, nonsense refused. */
#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "check.h"
#include "table/filter.h"

static uint64_t hash_of(uint64_t i)
{
    uint8_t key[8];
    put_u64(key, i);
    return hash64(key, sizeof key, 0);
}

/* Parts per million of strangers that a filter over `count` keys lets in; UINT64_MAX if it denies
** one of its own. */
static uint64_t measure(size_t count, uint32_t bits)
{
    uint64_t *hashes = calloc(count + 1, sizeof *hashes);
    uint64_t base = check_random() >> 8, passed = 0, strangers = 200000;
    buf out = {0};
    fkv_slice filter;
    int denied = 0;

    if (!hashes) return UINT64_MAX;
    for (size_t i = 0; i < count; i++) hashes[i] = hash_of(base + i);
    filter_build(hashes, count, bits, &out);
    CHECK_STATUS(buf_status(&out), FKV_OK);
    filter = buf_slice(&out);
    CHECK(filter_check(filter));
    for (size_t i = 0; i < count; i++) denied += !filter_may_hold(filter, hashes[i]);
    CHECK(denied == 0);
    for (uint64_t i = 0; i < strangers; i++)
        passed += (uint64_t)filter_may_hold(filter, hash_of(base + count + 1 + i));
    buf_release(&out);
    free(hashes);
    return denied ? UINT64_MAX : passed * 1000000 / strangers;
}

static void false_positives_are_rare(void)
{
    CHECK(measure(100000, 10) < 20000); /* 2 % */
    CHECK(measure(1000, 10) < 25000);
    CHECK(measure(100000, 16) < 5000);
    CHECK(measure(100000, 5) < 150000);
}

static void every_size_holds_its_keys(void)
{
    for (size_t count = 0; count < 200; count += 7)
        for (uint32_t bits = 1; bits <= 64; bits += 9) CHECK(measure(count, bits) <= 1000000);
}

static void size_is_what_was_asked_for(void)
{
    static uint64_t hashes[10000];
    buf out = {0};

    for (size_t i = 0; i < 10000; i++) hashes[i] = hash_of(i);
    filter_build(hashes, 10000, 10, &out);
    CHECK(out.size > 10000 * 10 / 8 && out.size < 10000 * 10 / 8 + 128);
    buf_release(&out);
}

static void nonsense_is_refused(void)
{
    uint8_t bytes[1 + 128] = {0};

    bytes[0] = 6;
    CHECK(filter_check(fkv_slice_of(bytes, 1 + 64)));
    CHECK(filter_check(fkv_slice_of(bytes, 1 + 128)));
    CHECK(!filter_check(fkv_slice_of(bytes, 0)));
    CHECK(!filter_check(fkv_slice_of(bytes, 1)));
    CHECK(!filter_check(fkv_slice_of(bytes, 64)));
    CHECK(!filter_check(fkv_slice_of(bytes, 66)));
    CHECK(!filter_may_hold(fkv_slice_of(bytes, 1 + 64), UINT64_MAX));
    bytes[0] = 0;
    CHECK(!filter_check(fkv_slice_of(bytes, 1 + 64)));
    bytes[0] = 9;
    CHECK(!filter_check(fkv_slice_of(bytes, 1 + 64)));
}

TEST_MAIN("test_filter", TEST_CASE(false_positives_are_rare), TEST_CASE(every_size_holds_its_keys),
          TEST_CASE(size_is_what_was_asked_for), TEST_CASE(nonsense_is_refused))
