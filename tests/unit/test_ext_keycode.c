/* The key encoding: memcmp order is SQLite's order, values come back, hostile bytes are refused. */
#include "check.h"
#include "keycode.h"

#include "base/slice.h"

#include <sqlite3.h>

static cell integer(int64_t v)
{
    return (cell){.type = SQLITE_INTEGER, .integer = v};
}

static cell real(double v)
{
    return (cell){.type = SQLITE_FLOAT, .real = v};
}

static cell bytes(int type, const char *p, size_t n)
{
    return (cell){.type = type, .bytes = fkv_slice_of(p, n)};
}

static double random_double(void)
{
    double d;
    uint64_t u;

    switch (check_below(4)) {
    case 0:
        return (double)(int64_t)check_below(10) - 5;
    case 1: /* around the borders of exact integers */
        d = 9007199254740992.0 + (double)check_below(8);
        return check_below(2) ? d : -d;
    case 2:
        d = 9223372036854775808.0 - 1024.0 * (double)check_below(4);
        return check_below(2) ? d : -d;
    default:
        do {
            u = check_random();
            memcpy(&d, &u, sizeof d);
        } while (d != d);
        return d;
    }
}

static int64_t random_integer(void)
{
    int64_t small = (int64_t)check_below(5) - 2;

    switch (check_below(5)) {
    case 0:
        return small;
    case 1:
        return ((int64_t)1 << 53) + small;
    case 2:
        return -((int64_t)1 << 53) + small;
    case 3:
        return check_below(2) ? INT64_MAX - (int64_t)check_below(3000)
                              : INT64_MIN + (int64_t)check_below(3000);
    default:
        return (int64_t)check_random() >> check_below(64);
    }
}

/* Bytes from a small alphabet, so that prefixes and zeros meet. */
static cell random_cell(char *store)
{
    static const char alphabet[] = {0, 1, 'a', (char)0xff, 'b'};
    size_t n = check_below(5);

    switch (check_below(4)) {
    case 0:
        return integer(random_integer());
    case 1:
        return real(random_double());
    default:
        for (size_t i = 0; i < n; i++) store[i] = alphabet[check_below(sizeof alphabet)];
        return bytes(check_below(2) ? SQLITE_TEXT : SQLITE_BLOB, store, n);
    }
}

static void bind(sqlite3_stmt *s, int at, const cell *c)
{
    const void *p = c->bytes.data ? (const void *)c->bytes.data : "";

    if (c->type == SQLITE_INTEGER) (void)sqlite3_bind_int64(s, at, c->integer);
    if (c->type == SQLITE_FLOAT) (void)sqlite3_bind_double(s, at, c->real);
    if (c->type == SQLITE_TEXT) {
        (void)sqlite3_bind_text(s, at, p, (int)c->bytes.size, SQLITE_TRANSIENT);
    }
    if (c->type == SQLITE_BLOB) {
        (void)sqlite3_bind_blob(s, at, p, (int)c->bytes.size, SQLITE_TRANSIENT);
    }
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void order_is_that_of_sqlite(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    buf a = {0}, b = {0};

    REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    REQUIRE(sqlite3_prepare_v2(db,
                               "SELECT CASE WHEN (?1, ?2) < (?3, ?4) THEN -1 "
                               "WHEN (?1, ?2) = (?3, ?4) THEN 0 ELSE 1 END",
                               -1, &s, NULL) == SQLITE_OK);
    for (int round = 0; round < 200000; round++) {
        char store[4][8];
        cell c[4];
        for (int i = 0; i < 4; i++) {
            c[i] = random_cell(store[i]);
            bind(s, i + 1, &c[i]);
        }
        if (check_below(2)) {
            c[2] = c[0];
            bind(s, 3, &c[2]);
        }
        buf_clear(&a);
        buf_clear(&b);
        keycode_append(&a, &c[0], 0);
        keycode_append(&a, &c[1], 1);
        keycode_append(&b, &c[2], 0);
        keycode_append(&b, &c[3], 1);
        REQUIRE(sqlite3_step(s) == SQLITE_ROW);
        CHECK(sign(slice_compare(buf_slice(&a), buf_slice(&b))) == sqlite3_column_int(s, 0));
        (void)sqlite3_reset(s);
        if (check_failures > 5) break;
    }
    buf_release(&a);
    buf_release(&b);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
}

static int same(const cell *a, const cell *b)
{
    if (a->type != b->type) return 0;
    if (a->type == SQLITE_INTEGER) return a->integer == b->integer;
    if (a->type == SQLITE_FLOAT) return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    return slice_equal(a->bytes, b->bytes);
}

static void values_come_back_with_their_override(void)
{
    static const affinity all[] = {AFFINITY_BLOB, AFFINITY_TEXT, AFFINITY_NUMERIC, AFFINITY_INTEGER,
                                   AFFINITY_REAL};
    buf key = {0}, scratch = {0};

    for (int round = 0; round < 200000 && check_failures < 5; round++) {
        affinity a = all[check_below(5)];
        int last = (int)check_below(2);
        char store[8];
        cell in = random_cell(store), out, rest;
        fkv_slice k;
        cell_apply_numeric(&in, a);
        buf_clear(&key);
        buf_clear(&scratch);
        keycode_append(&key, &in, last);
        k = buf_slice(&key);
        REQUIRE(keycode_take(&k, last, a, keycode_override(&in, a), &scratch, &out) == 0);
        CHECK(k.size == 0);
        CHECK(same(&in, &out));
        k = buf_slice(&key);
        REQUIRE(keycode_skip(&k, last) == 0);
        CHECK(k.size == 0);
        rest = integer(1);
        if (!last) {
            keycode_append(&key, &rest, 1);
            k = buf_slice(&key);
            REQUIRE(keycode_skip(&k, 0) == 0);
            CHECK(k.size == KEY_NUMBER_BYTES);
        }
    }
    buf_release(&key);
    buf_release(&scratch);
}

static void bytes_are_as_documented(void)
{
    static const uint8_t one[] = {0x10, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t big[] = {0x10, 0xc3, 0x40, 0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t text[] = {0x20, 'a', 0x00, 0xff, 'b', 0x00, 0x00};
    cell c = integer(1);
    buf key = {0};

    keycode_append(&key, &c, 1);
    CHECK(slice_equal(buf_slice(&key), fkv_slice_of(one, sizeof one)));
    buf_clear(&key);
    c = real(1.0);
    keycode_append(&key, &c, 0);
    CHECK(slice_equal(buf_slice(&key), fkv_slice_of(one, sizeof one)));
    buf_clear(&key);
    c = integer(((int64_t)1 << 53) + 1);
    keycode_append(&key, &c, 1);
    CHECK(slice_equal(buf_slice(&key), fkv_slice_of(big, sizeof big)));
    buf_clear(&key);
    c = bytes(SQLITE_TEXT, "a\0b", 3);
    keycode_append(&key, &c, 0);
    CHECK(slice_equal(buf_slice(&key), fkv_slice_of(text, sizeof text)));
    buf_release(&key);
}

static void hostile_bytes_are_refused_or_read_safely(void)
{
    static const uint8_t alphabet[] = {0, 0xff, 0x10, 0x20, 0x30, 0x40, 0x7f, 0x80, 1};
    buf scratch = {0};

    for (int round = 0; round < 300000; round++) {
        size_t n = check_below(24);
        uint8_t *heap = malloc(n ? n : 1); /* its own block: a sanitizer sees the end */
        fkv_slice k = fkv_slice_of(heap, n);
        cell out;
        REQUIRE(heap != NULL);
        for (size_t i = 0; i < n; i++) {
            heap[i] = check_below(2) ? alphabet[check_below(sizeof alphabet)]
                                     : (uint8_t)check_random();
        }
        buf_clear(&scratch);
        while (k.size && keycode_take(&k, (int)check_below(2), AFFINITY_BLOB, OVERRIDE_NONE,
                                      &scratch, &out) == 0) {
            CHECK(out.type != SQLITE_NULL);
        }
        k = fkv_slice_of(heap, n);
        while (k.size && keycode_skip(&k, 0) == 0) continue;
        free(heap);
    }
    buf_release(&scratch);
}

static void successor_is_above_the_prefix_only(void)
{
    buf b = {0};

    buf_append(&b, "a\xff\xff", 3);
    keycode_successor(&b, 0);
    CHECK(slice_equal(buf_slice(&b), fkv_slice_of("b", 1)));
    buf_clear(&b);
    buf_append(&b, "ab", 2);
    keycode_successor(&b, 0);
    CHECK(slice_equal(buf_slice(&b), fkv_slice_of("ac", 2)));
    buf_release(&b);
}

TEST_MAIN("test_ext_keycode", TEST_CASE(bytes_are_as_documented),
          TEST_CASE(order_is_that_of_sqlite), TEST_CASE(values_come_back_with_their_override),
          TEST_CASE(hostile_bytes_are_refused_or_read_safely),
          TEST_CASE(successor_is_above_the_prefix_only))
