/* The memory index against a sorted array: order, versions, views, ranges, space, readers.
** test-modes: release asan tsan */
#include <pthread.h>

#include "base/alloc.h"
#include "check.h"
#include "mem/batch.h"
#include "mem/memtable.h"

enum { KEYS = 4000, SHAPES = 6 };

static fkv_slice text(const char *s)
{
    return fkv_slice_of(s, strlen(s));
}

static void put(memtable *m, fkv_slice key, fkv_slice value, entry_kind kind)
{
    uint8_t room[512];
    size_t n = mem_record_bytes(kind, key.size, value.size);
    mem_record_write(room, kind, key, value, 0);
    memtable_apply(m, room, n, m->last_seq + 1);
}

/* Several shapes of key: random bytes, long common prefixes, prefixes of each other. */
static size_t make_key(uint8_t *out, int shape, uint64_t i)
{
    int n;
    switch (shape) {
    case 0: /* random 0..12 bytes of few values: many prefixes of each other */
        n = (int)check_below(13);
        for (int j = 0; j < n; j++) out[j] = (uint8_t)check_below(3);
        return (size_t)n;
    case 1:
        n = snprintf((char *)out, 64, "a-rather-long-common-prefix:%06d", (int)(i * 7919 % KEYS));
        return (size_t)n;
    case 2:
        n = snprintf((char *)out, 64, "%08d", (int)i); /* ascending */
        return (size_t)n;
    case 3:
        n = snprintf((char *)out, 64, "%08d", (int)(KEYS - i)); /* descending */
        return (size_t)n;
    case 4: /* what the first ones share the later ones do not */
        n = snprintf((char *)out, 64, i < KEYS / 2 ? "p:%06d" : "%d", (int)(i * 7919 % KEYS));
        if (i >= KEYS / 2 && i % 3) out[0] = (uint8_t)check_random();
        return (size_t)n;
    default:
        for (int j = 0; j < 16; j++) out[j] = (uint8_t)check_random();
        return 16;
    }
}

typedef struct model_row {
    uint8_t key[64];
    size_t size;
    uint32_t version;
} model_row;

static int row_order(const void *a, const void *b)
{
    const model_row *x = a, *y = b;
    int c = slice_compare(fkv_slice_of(x->key, x->size), fkv_slice_of(y->key, y->size));
    return c ? c : (x->version > y->version) - (x->version < y->version);
}

/* Each version is what a view of its moment sees. */
static void check_past(const memtable *m, const model_row *rows)
{
    for (int round = 0; round < 500; round++) {
        const model_row *row = &rows[check_below(KEYS)];
        mem_view then = memtable_view(m, 101 + row->version);
        const mem_record *r = memtree_get(&m->tree, fkv_slice_of(row->key, row->size), &then);
        REQUIRE(r);
        CHECK(memcmp(mem_record_value(r).data, &row->version, 4) == 0);
    }
}

/* What one memtable leaves behind the next one has. */
static memtable_spare left;

/* The first `loose` rows are linked all at once. */
static void one_shape_in_order(int shape, uint32_t loose)
{
    static model_row rows[KEYS];
    memtable *m = NULL;
    iter *it = NULL;
    size_t unique = 0;

    REQUIRE_OK(memtable_new(env_posix(), &left, 1 << 22, 100, &m));
    if (loose) memtable_loosen(m);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (i == loose) memtable_link(m);
        rows[i].size = make_key(rows[i].key, shape, i);
        rows[i].version = i;
        put(m, fkv_slice_of(rows[i].key, rows[i].size), fkv_slice_of(&i, 4), ENTRY_PUT);
    }
    memtable_link(m);
    CHECK(memtree_used(&m->tree) - m->record_bytes <= MEMTREE_NODE_BYTES(KEYS));
    check_past(m, rows);
    qsort(rows, KEYS, sizeof rows[0], row_order);
    for (size_t i = 0; i < KEYS; i++) /* keep the newest version of each key */
        if (i + 1 == KEYS || rows[i].size != rows[i + 1].size ||
            memcmp(rows[i].key, rows[i + 1].key, rows[i].size) != 0)
            rows[unique++] = rows[i];
    CHECK(memtree_check(&m->tree) == unique);

    mem_view now = memtable_view(m, m->last_seq);
    REQUIRE_OK(memtree_iter_new(&m->tree, &now, &it));
    it->ops->first(it);
    for (size_t i = 0; i < unique; i++, it->ops->next(it)) {
        REQUIRE(it->entry && slice_equal(it->entry->key, fkv_slice_of(rows[i].key, rows[i].size)));
        CHECK(memcmp(it->entry->value.data, &rows[i].version, 4) == 0);
    }
    CHECK(!it->entry);
    it->ops->last(it);
    for (size_t i = unique; i-- > 0; it->ops->prev(it))
        REQUIRE(it->entry && slice_equal(it->entry->key, fkv_slice_of(rows[i].key, rows[i].size)));
    CHECK(!it->entry);
    for (size_t round = 0; round < 2000; round++) {
        size_t i = check_below(unique);
        fkv_slice key = fkv_slice_of(rows[i].key, rows[i].size);
        CHECK(memtree_get(&m->tree, key, &now) != NULL);
        it->ops->seek(it, key);
        CHECK(it->entry && slice_equal(it->entry->key, key));
        it->ops->seek_before(it, key);
        CHECK((it->entry != NULL) == (i > 0));
        if (i > 0 && it->entry)
            CHECK(slice_equal(it->entry->key, fkv_slice_of(rows[i - 1].key, rows[i - 1].size)));
        rows[i].key[rows[i].size] = 0; /* the key with a zero byte more lies just behind */
        it->ops->seek(it, fkv_slice_of(rows[i].key, rows[i].size + 1));
        if (shape != 0) CHECK((it->entry != NULL) == (i + 1 < unique));
    }
    iter_close(it);
    memtable_unref(m);
}

static void keys_of_every_shape_come_out_in_order(void)
{
    for (int shape = 0; shape < SHAPES; shape++) one_shape_in_order(shape, 0);
    memtable_spare_release(&left, env_posix(), 1 << 22);
}

static void linking_all_at_once_is_the_same(void)
{
    static const uint32_t few[] = {1, 2, 8, 9, 64, 65, 513, KEYS / 2, KEYS};

    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t i = 0; i < sizeof few / sizeof *few; i++) one_shape_in_order(shape, few[i]);
        one_shape_in_order(shape, 1 + (uint32_t)check_below(KEYS));
    }
    memtable_spare_release(&left, env_posix(), 1 << 22);
}

/* Ranges and new keyspaces among the rows, and none but those. */
static void what_is_no_row_is_passed_over(void)
{
    for (int rows = 0; rows < 3; rows++) {
        memtable *m = NULL;
        mem_view now;
        fkv_slice from, to;
        REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 16, 0, &m));
        memtable_loosen(m);
        put(m, text("abcd"), text(""), ENTRY_NEW_SPACE);
        if (rows > 0) put(m, text("b"), text("1"), ENTRY_PUT);
        put(m, text("a"), text("c"), ENTRY_RANGE_DELETE);
        if (rows > 1) put(m, text("b"), text("2"), ENTRY_DELETE);
        CHECK(memtree_ranges(&m->tree) == 1);
        memtable_link(m);
        now = memtable_view(m, m->last_seq);
        CHECK(memtree_ranges(&m->tree) == 1);
        CHECK(memtree_covered(&m->tree, text("b"), &now, &from, &to) == 2u + (rows > 0));
        CHECK((memtree_get(&m->tree, text("b"), &now) != NULL) == (rows > 0));
        CHECK(!memtree_get(&m->tree, text("abcd"), &now));
        memtable_unref(m);
    }
}

/* Where there is no memory to sort in, one by one. */
static void *no_memory(void *p, size_t size)
{
    (void)p, (void)size;
    return NULL;
}

static void no_memory_to_sort_in(void)
{
    static const alloc_hook hook = {no_memory, free};
    memtable *m = NULL;

    REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 20, 0, &m));
    memtable_loosen(m);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t key = i * 7919 % 1000;
        put(m, fkv_slice_of(&key, 4), text("value"), ENTRY_PUT);
    }
    alloc_set_hook(&hook);
    memtable_link(m);
    alloc_set_hook(NULL);
    CHECK(memtree_check(&m->tree) == 1000);
    memtable_unref(m);
}

static void a_view_sees_the_past(void)
{
    memtable *m = NULL;
    char value[16];

    REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 20, 7, &m));
    for (int i = 1; i <= 100; i++) {
        int n = snprintf(value, sizeof value, "v%d", i);
        put(m, text("k"), fkv_slice_of(value, (size_t)n), i % 10 ? ENTRY_PUT : ENTRY_DELETE);
    }
    for (uint64_t i = 1; i <= 100; i++) {
        mem_view v = memtable_view(m, 7 + i);
        const mem_record *r = memtree_get(&m->tree, text("k"), &v);
        REQUIRE(r != NULL);
        CHECK(mem_record_kind(r) == (i % 10 ? ENTRY_PUT : ENTRY_DELETE));
        (void)snprintf(value, sizeof value, "v%d", (int)i);
        CHECK(slice_equal(mem_record_value(r), text(value)));
    }
    mem_view before = memtable_view(m, 7), earlier = memtable_view(m, 3);
    CHECK(memtree_get(&m->tree, text("k"), &before) == NULL);
    CHECK(memtree_get(&m->tree, text("k"), &earlier) == NULL);
    memtable_unref(m);
}

static void a_range_hides_older_keys_only(void)
{
    memtable *m = NULL;
    iter *it = NULL;
    fkv_slice from, to;

    REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 20, 0, &m));
    put(m, text("a"), text("1"), ENTRY_PUT);
    put(m, text("b"), text("1"), ENTRY_PUT);
    put(m, text("b"), text("c"), ENTRY_RANGE_DELETE);
    put(m, text("b2"), text("2"), ENTRY_PUT);
    mem_view v = memtable_view(m, m->last_seq);
    CHECK(memtree_covered(&m->tree, text("b"), &v, &from, &to) == 3);
    CHECK(slice_equal(from, text("b")) && slice_equal(to, text("c")));
    CHECK(memtree_covered(&m->tree, text("c"), &v, &from, &to) == 0);
    REQUIRE_OK(memtree_iter_new(&m->tree, &v, &it));
    it->ops->first(it);
    CHECK(it->entry && it->entry->kind == ENTRY_PUT);
    it->ops->next(it);
    CHECK(it->entry && it->entry->kind == ENTRY_DELETE);
    it->ops->next(it);
    CHECK(it->entry && it->entry->kind == ENTRY_PUT && slice_equal(it->entry->key, text("b2")));
    mem_view old = memtable_view(m, 2);
    CHECK(memtree_covered(&m->tree, text("b"), &old, &from, &to) == 0);
    iter_close(it);
    memtable_unref(m);
}

static void batch_rollbacks_are_exact(void)
{
    enum { OPS = 3000 };
    static uint32_t live_at[64]; /* model: value of each key, 0 = absent */
    uint32_t saved[16][64], depth = 0, mark[16];
    batch *b = NULL;

    memset(live_at, 0, sizeof live_at);
    REQUIRE_OK(batch_new(env_posix(), 1 << 22, &b));
    for (uint32_t op = 1; op <= OPS; op++) {
        uint8_t key = (uint8_t)check_below(64);
        uint64_t dice = check_below(10);
        if (dice == 0 && depth < 16) {
            REQUIRE_OK(batch_reserve_rollback(b));
            memcpy(saved[depth], live_at, sizeof live_at);
            mark[depth++] = b->count;
        } else if (dice == 1 && depth > 0) {
            uint32_t to = (uint32_t)check_below(depth);
            batch_rollback(b, mark[to]);
            memcpy(live_at, saved[to], sizeof live_at);
            depth = to + 1;
        } else if (dice == 2 && depth > 0) {
            depth = (uint32_t)check_below(depth);
        } else {
            batch_add(b, ENTRY_PUT, fkv_slice_of(&key, 1), fkv_slice_of(&op, 4), 0);
            live_at[key] = op;
        }
        if (check_below(8) == 0) REQUIRE_OK(batch_index(b));
    }
    REQUIRE_OK(batch_index(b));
    mem_view v = batch_view(b);
    for (unsigned k = 0; k < 64; k++) {
        uint8_t key = (uint8_t)k;
        const mem_record *r = memtree_get(&b->index, fkv_slice_of(&key, 1), &v);
        CHECK((r != NULL) == (live_at[k] != 0));
        if (r) CHECK(memcmp(mem_record_value(r).data, &live_at[k], 4) == 0);
    }
    uint8_t *payload = NULL, *copy = NULL;
    size_t size = 0, copy_size = 0;
    REQUIRE_OK(batch_payload(b, &payload, &size, &copy, &copy_size));
    CHECK(memtable_payload_check(payload, size, batch_live(b)));
    memtable *m = NULL;
    REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 22, 0, &m));
    memtable_apply(m, payload, size, 1);
    mem_view all = memtable_view(m, m->last_seq);
    for (unsigned k = 0; k < 64; k++) {
        uint8_t key = (uint8_t)k;
        const mem_record *r = memtree_get(&m->tree, fkv_slice_of(&key, 1), &all);
        CHECK((r != NULL) == (live_at[k] != 0));
        if (r) CHECK(memcmp(mem_record_value(r).data, &live_at[k], 4) == 0);
    }
    if (copy) env_posix()->unmap(env_posix(), copy, copy_size);
    memtable_unref(m);
    batch_unref(b);
}

static void payload_check_refuses_nonsense(void)
{
    uint8_t room[64];
    size_t n = mem_record_bytes(ENTRY_PUT, 3, 5);

    mem_record_write(room, ENTRY_PUT, text("abc"), text("12345"), 0);
    CHECK(memtable_payload_check(room, n, 1));
    CHECK(!memtable_payload_check(room, n, 2));
    for (size_t cut = 1; cut < n; cut++) CHECK(!memtable_payload_check(room, cut, 1));
    ((mem_record *)(void *)room)->key_kind = 3u << 3 | 7u;
    CHECK(!memtable_payload_check(room, n, 1));
    ((mem_record *)(void *)room)->key_kind = UINT32_MAX - 6;
    CHECK(!memtable_payload_check(room, n, 1));
}

/* One writer, two readers: what a reader's sequence admits must be there, in both directions. */
static memtable *shared;
static _Atomic uint64_t published;
static _Atomic int stop;
static _Atomic uint64_t reader_errors;

static uint64_t scrambled(uint64_t i)
{
    return (i * 0x9e3779b97f4a7c15u) >> 20;
}

static void *reader_thread(void *arg)
{
    uint64_t rounds = 0;
    (void)arg;
    while (!atomic_load(&stop) || rounds == 0) {
        uint64_t seq = atomic_load_explicit(&published, memory_order_acquire);
        mem_view v = memtable_view(shared, seq);
        iter *it = NULL;
        uint64_t count = 0;
        if (memtree_iter_new(&shared->tree, &v, &it)) continue;
        if (rounds % 2) {
            for (it->ops->first(it); it->entry; it->ops->next(it)) count++;
        } else {
            for (it->ops->last(it); it->entry; it->ops->prev(it)) count++;
        }
        if (count != seq) atomic_fetch_add(&reader_errors, 1);
        for (uint64_t i = 0; i < 50 && seq; i++) {
            uint8_t key[8];
            uint64_t k = scrambled(1 + (i * 31 + rounds) % seq);
            memcpy(key, &k, 8);
            if (!memtree_get(&shared->tree, fkv_slice_of(key, 8), &v))
                atomic_fetch_add(&reader_errors, 1);
        }
        iter_close(it);
        rounds++;
    }
    return NULL;
}

static void readers_beside_a_writer_miss_nothing(void)
{
    pthread_t readers[2];
    uint64_t total = 60000;

    atomic_store(&published, 0);
    atomic_store(&stop, 0);
    REQUIRE_OK(memtable_new(env_posix(), NULL, 1 << 24, 0, &shared));
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&readers[i], NULL, reader_thread, NULL) == 0);
    for (uint64_t i = 1; i <= total; i++) {
        uint64_t k = scrambled(i);
        uint8_t key[8];
        memcpy(key, &k, 8);
        put(shared, fkv_slice_of(key, 8), text("value"), ENTRY_PUT);
        atomic_store_explicit(&published, i, memory_order_release);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) (void)pthread_join(readers[i], NULL);
    CHECK(atomic_load(&reader_errors) == 0);
    memtable_unref(shared);
}

static void a_spare_arena_is_the_next_ones(void)
{
    memtable_spare spare = {NULL};
    memtable *m = NULL, *other = NULL;
    const uint8_t *arena;

    REQUIRE_OK(memtable_new(env_posix(), &spare, 1 << 16, 0, &m));
    arena = m->tree.arena;
    put(m, fkv_slice_of("k", 1), fkv_slice_of("v", 1), ENTRY_PUT);
    memtable_unref(m);
    REQUIRE_OK(memtable_new(env_posix(), &spare, 1 << 16, 0, &m));
    CHECK(m->tree.arena == arena && memtree_empty(&m->tree));
    REQUIRE_OK(memtable_new(env_posix(), &spare, 1 << 16, 0, &other));
    CHECK(other->tree.arena != arena);
    REQUIRE_OK(memtable_room(other, 1 << 20, 1)); /* of another size now: not kept */
    memtable_unref(other);
    CHECK(!atomic_load(&spare.arena));
    memtable_unref(m);
    CHECK(atomic_load(&spare.arena) == arena);
    memtable_spare_release(&spare, env_posix(), 1 << 16);
}

TEST_MAIN("test_memtree", TEST_CASE(keys_of_every_shape_come_out_in_order),
          TEST_CASE(a_spare_arena_is_the_next_ones), TEST_CASE(linking_all_at_once_is_the_same),
          TEST_CASE(what_is_no_row_is_passed_over), TEST_CASE(no_memory_to_sort_in),
          TEST_CASE(a_view_sees_the_past), TEST_CASE(a_range_hides_older_keys_only),
          TEST_CASE(batch_rollbacks_are_exact), TEST_CASE(payload_check_refuses_nonsense),
          TEST_CASE(readers_beside_a_writer_miss_nothing))
