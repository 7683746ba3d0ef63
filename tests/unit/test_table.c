/* Sorted tables: what goes in comes out, in both directions, whatever the options. */
#include "table_model.h"

#include "base/alloc.h"
#include "table/format.h"
#include "table/index.h"

/* A key to look for: one that is there, or one that may not be. */
static fkv_slice random_probe(const model *m, uint8_t *room, size_t size)
{
    size_t n = check_below(size);

    if (m->count && check_below(2)) {
        fkv_slice key = m->rows[check_below(m->count)].key;
        if (check_below(2) || key.size >= size) return key;
        if (key.size) memcpy(room, key.data, key.size);
        if (key.size && check_below(2)) room[key.size - 1]++;
        return fkv_slice_of(room, key.size - (key.size && check_below(3) == 0));
    }
    for (size_t i = 0; i < n; i++) room[i] = (uint8_t)('a' + check_below(4));
    return fkv_slice_of(room, n);
}

/* Seek and wander; the iterator's place in the model is known all the time. */
static void check_seeks(table *t, const model *m, int count, int once)
{
    uint8_t room[64];
    iter *it = NULL;

    REQUIRE_OK(table_iter_new(t, once, &it));
    for (int n = 0; n < count; n++) {
        /* Seeking the iterator's own key must work although the seek overwrites it. */
        fkv_slice key = it->entry && check_below(3) == 0 ? it->entry->key
                                                         : random_probe(m, room, sizeof room);
        size_t i = model_find(m, key);
        if (check_below(2)) {
            it->ops->seek(it, key);
        } else {
            it->ops->seek_before(it, key);
            i--; /* -1 wraps to an index no model has */
        }
        CHECK((it->entry != NULL) == (i < m->count));
        for (uint64_t steps = check_below(40); it->entry && i < m->count && steps > 0; steps--) {
            CHECK(same_row(it, &m->rows[i]));
            if (check_below(3) < (uint64_t)(n & 1) + 1) {
                it->ops->next(it);
                i++;
            } else {
                it->ops->prev(it);
                i--;
            }
            CHECK((it->entry != NULL) == (i < m->count));
        }
        CHECK(!it->entry || (i < m->count && same_row(it, &m->rows[i])));
        CHECK_STATUS(it->status, FKV_OK);
    }
    iter_close(it);
}

static void check_misses(table *t, const model *m)
{
    uint8_t room[64];

    for (int n = 0; n < 300; n++) {
        fkv_slice key = random_probe(m, room, sizeof room);
        size_t i = model_find(m, key);
        int there = i < m->count && slice_equal(m->rows[i].key, key);
        table_value v;
        CHECK_STATUS(table_get(t, key, hash64(key.data, key.size, 0), &v),
                     there ? FKV_OK : FKV_NOTFOUND);
        table_value_release(&v);
        table_value_release(&v);
    }
}

static void check_summary(const table_summary *s, const model *m)
{
    uint64_t deletions = 0, expiring = 0, raw = 0, gone = 0;
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < m->count; i++) {
        deletions += m->rows[i].kind == ENTRY_DELETE;
        expiring += m->rows[i].kind == ENTRY_PUT_EXPIRES;
        raw += m->rows[i].key.size + m->rows[i].value.size;
        if (m->rows[i].kind == ENTRY_PUT_EXPIRES && m->rows[i].expires_ms < first)
            first = m->rows[i].expires_ms;
    }
    for (size_t i = 0; i < m->count; i++) {
        gone += m->rows[i].kind == ENTRY_DELETE ||
                (m->rows[i].kind == ENTRY_PUT_EXPIRES && m->rows[i].expires_ms <= s->half_gone);
    }
    CHECK(s->first_expiry == (expiring ? first : 0));
    CHECK((s->half_gone == 0) == (expiring == 0 || (m->count + 1) / 2 > deletions + expiring));
    if (s->half_gone) CHECK(gone * 2 + 1 + (m->count > 256 ? m->count / 4 : 0) >= m->count);
    CHECK(s->entries == m->count && s->deletions == deletions && s->expiring == expiring);
    CHECK(s->raw_bytes == raw && s->ranges == m->range_count);
    if (m->count && !m->range_count) {
        CHECK(slice_equal(buf_slice(&s->smallest), m->rows[0].key));
        CHECK(slice_equal(buf_slice(&s->largest), m->rows[m->count - 1].key) && !s->largest_open);
    }
}

enum { CACHE_BYTES = 1 << 20 };

/* What the only open table keeps is missing in the room for blocks (in sixteen equal parts). */
static void check_charged(block_cache *cache, size_t bytes)
{
    cache_stats stats;

    if (!cache) return;
    block_cache_stats(cache, &stats);
    CHECK(stats.capacity == (CACHE_BYTES - bytes) / 16 * 16);
}

static void check_round_trip(const model *m, const table_options *opt, block_cache *cache)
{
    fixture f;
    table *t = NULL;
    uint64_t wrong = 0;

    REQUIRE_OK(fixture_open(&f));
    CHECK_STATUS(model_write(&f, f.env, "t", m, opt), FKV_OK);
    check_summary(&f.summary, m);
    CHECK_STATUS(model_open(&f, "t", cache, &t), FKV_OK);
    if (t) {
        CHECK_STATUS(compare_all(t, m, &wrong), FKV_OK);
        CHECK(wrong == 0);
        check_seeks(t, m, 60, 0);
        check_seeks(t, m, 20, 1);
        check_misses(t, m);
        CHECK_STATUS(table_verify(t), FKV_OK);
        CHECK(table_memory(t) > 0);
        check_charged(cache, table_memory(t));
    }
    table_free(t);
    check_charged(cache, 0);
    fixture_release(&f);
}

static void round_trips(void)
{
    static const uint32_t blocks[] = {1, 100, 1000, 4096, 100000}, restarts[] = {1, 2, 16, 64};
    block_cache *cache = NULL;

    REQUIRE_OK(block_cache_new(env_posix(), CACHE_BYTES, 0, &cache));
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        if (!codec_available((codec_id)codec)) continue;
        for (size_t i = 0; i < 60; i++) {
            table_options opt = {blocks[i % 5], restarts[i % 4], i % 3 ? 10 : 0, (codec_id)codec, 0,
                                 NULL};
            model m;
            model_random(&m, 1 + check_below(i % 7 == 0 ? 3 : 400), (int)check_below(3),
                         check_below(2) ? 20 : 300);
            check_round_trip(&m, &opt, i % 2 ? cache : NULL);
            model_release(&m);
        }
    }
    block_cache_free(cache);
}

static row put_row(const char *key, size_t value_size)
{
    return (row){.key = text(key), .value = random_bytes(value_size, 2), .kind = ENTRY_PUT};
}

/* Large values, alone in their block, and a key that begins like one of 100 KB. */
static void large_and_small(void)
{
    uint8_t *long_key = calloc(1, 100000);
    row rows[] = {put_row("", 0),        put_row("a", 3 << 20), put_row("aa", 0),
                  put_row("ab", 5000),   put_row("b", 1 << 20), put_row("ba", (1 << 20) + 1),
                  put_row("bb", 200000), put_row("c", 0),       put_row("", 1)};
    model m = {.rows = rows, .count = 9};

    REQUIRE(long_key);
    long_key[0] = 'd';
    rows[8].key = fkv_slice_of(long_key, 100000);
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        table_options opt;
        table_options_default(&opt);
        opt.codec = (codec_id)codec;
        if (codec_available(opt.codec)) check_round_trip(&m, &opt, NULL);
    }
    for (size_t i = 0; i < 9; i++) free((void *)(uintptr_t)rows[i].value.data);
    free(long_key);
}

static void only_ranges(void)
{
    model m = {.ranges = {{text("b"), text("d")}, {text("d"), text("da")}, {text("x"), text("z")}},
               .range_count = 3};
    fixture f;
    table_options opt;
    table *t = NULL;
    fkv_slice from, to;

    table_options_default(&opt);
    check_round_trip(&m, &opt, NULL);
    REQUIRE_OK(fixture_open(&f));
    REQUIRE_OK(model_write(&f, f.env, "t", &m, &opt));
    CHECK(slice_equal(buf_slice(&f.summary.smallest), text("b")));
    CHECK(slice_equal(buf_slice(&f.summary.largest), text("z")) && f.summary.largest_open);
    REQUIRE_OK(model_open(&f, "t", NULL, &t));
    CHECK(!table_covers(t, text("a"), &from, &to) && !table_covers(t, text("da"), &from, &to));
    CHECK(!table_covers(t, text("z"), &from, &to) && !table_covers(t, text(""), &from, &to));
    CHECK(table_covers(t, text("b"), &from, &to) && slice_equal(to, text("d")));
    CHECK(table_covers(t, text("d"), &from, &to) && slice_equal(to, text("da")));
    CHECK(table_covers(t, text("yyy"), &from, &to) && slice_equal(from, text("x")));
    CHECK(table_offset_of(t, text("c")) == 0);
    table_free(t);
    fixture_release(&f);
}

/* A range may reach beyond the entries, end at one, or lie inside. */
static void bounds_of_both(void)
{
    row rows[] = {put_row("c", 1), put_row("m", 1)};
    model m = {.rows = rows, .count = 2, .range_count = 1};
    static const struct {
        const char *from, *to, *smallest, *largest;
        int open;
    } cases[] = {{"d", "e", "c", "m", 0}, {"a", "m", "a", "m", 0}, {"e", "x", "c", "x", 1}};
    table_options opt;
    fixture f;

    table_options_default(&opt);
    REQUIRE_OK(fixture_open(&f));
    for (size_t i = 0; i < 3; i++) {
        m.ranges[0] = (key_range){text(cases[i].from), text(cases[i].to)};
        check_round_trip(&m, &opt, NULL);
        REQUIRE_OK(model_write(&f, f.env, "t", &m, &opt));
        CHECK(slice_equal(buf_slice(&f.summary.smallest), text(cases[i].smallest)));
        CHECK(slice_equal(buf_slice(&f.summary.largest), text(cases[i].largest)));
        CHECK(f.summary.largest_open == cases[i].open);
    }
    fixture_release(&f);
    for (size_t i = 0; i < 2; i++) free((void *)(uintptr_t)rows[i].value.data);
}

static void pins_outlive_a_tiny_cache(void)
{
    table_value pins[50];
    model m;
    fixture f;
    block_cache *cache = NULL;
    table_options opt;
    table *t = NULL;
    uint64_t wrong = 0;

    table_options_default(&opt);
    model_random(&m, 2000, 1, 100);
    REQUIRE_OK(fixture_open(&f));
    REQUIRE_OK(block_cache_new(f.env, 16 * 4800, 16 * 4800, &cache)); /* one block a shard */
    REQUIRE_OK(model_write(&f, f.env, "t", &m, &opt));
    REQUIRE_OK(model_open(&f, "t", cache, &t));
    for (size_t i = 0; i < 50; i++) {
        fkv_slice key = m.rows[i * m.count / 50].key;
        CHECK_STATUS(table_get(t, key, hash64(key.data, key.size, 0), &pins[i]), FKV_OK);
    }
    CHECK_STATUS(compare_all(t, &m, &wrong), FKV_OK);
    CHECK(wrong == 0);
    for (size_t i = 0; i < 50; i++) {
        CHECK(slice_equal(pins[i].value, m.rows[i * m.count / 50].value));
        table_value_release(&pins[i]);
    }
    table_free(t);
    block_cache_free(cache);
    fixture_release(&f);
    model_release(&m);
}

static void builder_refuses(void)
{
    fixture f;
    table_options opt;
    env_file *file = NULL;
    table_builder *b = NULL;
    table_summary s;

    table_options_default(&opt);
    REQUIRE_OK(fixture_open(&f));
    REQUIRE_OK(f.env->file_open(f.env, f.dir, "t", ENV_WRITE | ENV_CREATE, &file));
    REQUIRE_OK(table_builder_new(f.env, file, &opt, &b));
    CHECK_STATUS(table_builder_add(b, ENTRY_PUT, text("b"), text("1"), 0), FKV_OK);
    CHECK_STATUS(table_builder_add(b, ENTRY_PUT, text("b"), text("1"), 0), FKV_CORRUPT);
    CHECK_STATUS(table_builder_add(b, ENTRY_PUT, text("c"), text("1"), 0), FKV_CORRUPT);
    CHECK_STATUS(table_builder_finish(b, &s), FKV_CORRUPT);
    CHECK(s.file_bytes == 0);
    table_builder_free(b);
    REQUIRE_OK(table_builder_new(f.env, file, &opt, &b));
    CHECK_STATUS(table_builder_add_range(b, text("b"), text("d")), FKV_OK);
    CHECK_STATUS(table_builder_add_range(b, text("c"), text("e")), FKV_CORRUPT);
    table_builder_free(b);
    REQUIRE_OK(table_builder_new(f.env, file, &opt, &b));
    CHECK_STATUS(
        table_builder_add(b, ENTRY_PUT, fkv_slice_of(text("k").data, FKV_KEY_MAX + 1), text(""), 0),
        FKV_TOOBIG);
    table_builder_free(b);
    f.env->file_close(f.env, file);
    fixture_release(&f);
}

static void separators_are_short(void)
{
    buf out = {0};

    index_separator(text("the quick"), text("the who"), &out);
    CHECK(slice_equal(buf_slice(&out), text("the r")));
    index_separator(text("abc"), text("abd"), &out);
    CHECK(slice_compare(buf_slice(&out), text("abc")) >= 0);
    for (int i = 0; i < 20000; i++) {
        uint8_t a[8], b[8];
        fkv_slice low = fkv_slice_of(a, check_below(8)), high = fkv_slice_of(b, check_below(8));
        for (size_t j = 0; j < 8; j++) {
            a[j] = (uint8_t)(check_below(3) ? check_below(3) : 0xfd + check_below(3));
            b[j] = check_below(4) ? a[j] : (uint8_t)(a[j] + check_below(3));
        }
        if (slice_compare(low, high) >= 0) continue;
        index_separator(low, high, &out);
        CHECK(slice_compare(low, buf_slice(&out)) <= 0 && slice_compare(buf_slice(&out), high) < 0);
        CHECK(out.size <= low.size);
    }
    buf_release(&out);
}

static void offsets_ascend(void)
{
    model m;
    fixture f;
    table_options opt;
    table *t = NULL;
    uint64_t last = 0;

    table_options_default(&opt);
    model_random(&m, 3000, 1, 100);
    REQUIRE_OK(fixture_open(&f));
    REQUIRE_OK(model_write(&f, f.env, "t", &m, &opt));
    REQUIRE_OK(model_open(&f, "t", NULL, &t));
    CHECK(table_offset_of(t, text("")) == 0);
    for (size_t i = 0; i < m.count; i++) {
        uint64_t at = table_offset_of(t, m.rows[i].key);
        CHECK(at >= last && at < f.summary.file_bytes);
        last = at;
    }
    CHECK(table_offset_of(t, text("z")) > last);
    table_free(t);
    fixture_release(&f);
    model_release(&m);
}

/* -- speed: FKV_TEST_TIMING=1 ---------------------------------------------------------------- */

enum { TIMED = 1000000 };

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void timed_key(uint64_t i, uint8_t out[20])
{
    memcpy(out, "keyspace:row", 12);
    put_be64(out + 12, i * 3);
}

static double timed_build(fixture *f, const table_options *opt)
{
    uint8_t key[20], value[100];
    env_file *file = NULL;
    table_builder *b = NULL;
    double start = now_ns();
    fkv_status rc = f->env->file_open(f->env, f->dir, "t", ENV_WRITE | ENV_CREATE, &file);

    for (size_t i = 0; i < sizeof value; i++) value[i] = (uint8_t)(i % 7 ? check_random() : 'a');
    if (!rc) rc = table_builder_new(f->env, file, opt, &b);
    for (uint64_t i = 0; !rc && i < TIMED; i++) {
        timed_key(i, key);
        put_u64(value, i);
        rc = table_builder_add(b, ENTRY_PUT, fkv_slice_of(key, 20), fkv_slice_of(value, 100), 0);
    }
    if (!rc) rc = table_builder_finish(b, &f->summary);
    CHECK_STATUS(rc, FKV_OK);
    table_builder_free(b);
    f->env->file_close(f->env, file);
    return (now_ns() - start) / TIMED;
}

static void time_reads(table *t, const char *what, int rounds)
{
    uint8_t key[20];
    iter *it = NULL;
    uint64_t rows = 0, found = 0;
    double a, b, c, d, e;

    REQUIRE_OK(table_iter_new(t, 0, &it));
    a = now_ns();
    for (int i = 0; i < rounds; i++)
        for (it->ops->first(it); it->entry; it->ops->next(it)) rows++;
    b = now_ns();
    for (int i = 0; i < rounds; i++)
        for (it->ops->last(it); it->entry; it->ops->prev(it)) rows++;
    c = now_ns();
    CHECK(rows == (uint64_t)rounds * 2 * TIMED);
    for (int i = 0; i < TIMED; i++) {
        table_value v;
        timed_key(check_below(TIMED), key);
        found += table_get(t, fkv_slice_of(key, 20), hash64(key, 20, 0), &v) == FKV_OK;
        table_value_release(&v);
    }
    d = now_ns();
    for (int i = 0; i < TIMED; i++) {
        timed_key(check_below(TIMED), key);
        it->ops->seek(it, fkv_slice_of(key, 20));
        found += it->entry != NULL;
    }
    e = now_ns();
    CHECK(found == 2 * TIMED);
    (void)printf("%s: ascending %.1f ns, descending %.1f ns, get %.0f ns, seek %.0f ns\n", what,
                 (b - a) / rounds / TIMED, (c - b) / rounds / TIMED, (d - c) / TIMED,
                 (e - d) / TIMED);
    iter_close(it);
}

/* Walks over a part of the table that is in the cache, and mostly in the processor's. */
static void time_cached(table *t)
{
    enum { SPAN = 10000, ROUNDS = 300 };
    uint8_t low[20], high[20];
    iter *it = NULL;
    uint64_t rows = 0;
    double a, b, c;

    REQUIRE_OK(table_iter_new(t, 0, &it));
    timed_key(TIMED / 2, low);
    timed_key(TIMED / 2 + SPAN, high);
    for (uint64_t i = 0; i < SPAN; i++) {
        table_value v;
        uint8_t key[20];
        timed_key(TIMED / 2 + i, key);
        CHECK_STATUS(table_get(t, fkv_slice_of(key, 20), hash64(key, 20, 0), &v), FKV_OK);
        table_value_release(&v);
    }
    a = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        it->ops->seek(it, fkv_slice_of(low, 20));
        for (int j = 0; j < SPAN && it->entry; j++, rows++) it->ops->next(it);
    }
    b = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        it->ops->seek(it, fkv_slice_of(high, 20));
        for (int j = 0; j < SPAN && it->entry; j++, rows++) it->ops->prev(it);
    }
    c = now_ns();
    CHECK(rows == 2 * (uint64_t)SPAN * ROUNDS);
    (void)printf("  cached: ascending %.1f ns, descending %.1f ns\n", (b - a) / SPAN / ROUNDS,
                 (c - b) / SPAN / ROUNDS);
    iter_close(it);
}

static void timing(void)
{
    if (!getenv("FKV_TEST_TIMING")) return;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        fixture f;
        block_cache *cache = NULL;
        table_options opt;
        table *t = NULL;
        double build;
        if (!codec_available((codec_id)codec)) continue;
        table_options_default(&opt);
        opt.codec = (codec_id)codec;
        REQUIRE_OK(fixture_open(&f));
        REQUIRE_OK(block_cache_new(f.env, 512 << 20, 0, &cache));
        build = timed_build(&f, &opt);
        (void)printf("build %s: %.0f ns an entry, %.1f MB\n", codec_name(opt.codec), build,
                     (double)f.summary.file_bytes / 1e6);
        REQUIRE_OK(model_open(&f, "t", cache, &t));
        time_reads(t, codec_name(opt.codec), 3);
        time_cached(t);
        table_free(t);
        block_cache_free(cache);
        fixture_release(&f);
    }
}

TEST_MAIN("test_table", TEST_CASE(round_trips), TEST_CASE(large_and_small), TEST_CASE(only_ranges),
          TEST_CASE(bounds_of_both), TEST_CASE(pins_outlive_a_tiny_cache),
          TEST_CASE(builder_refuses), TEST_CASE(separators_are_short), TEST_CASE(offsets_ascend),
          TEST_CASE(timing))
