/* The row encoding: what goes in comes out, in any order of asking; hostile bytes are refused. */
#include "check.h"
#include "rowcode.h"

#include "base/slice.h"

#include <sqlite3.h>

#define COLUMNS_MAX 6
#define KEYS 2

static int same(const cell *a, const cell *b)
{
    if (a->type != b->type) return 0;
    if (a->type == SQLITE_INTEGER) return a->integer == b->integer;
    if (a->type == SQLITE_FLOAT) return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    return a->type == SQLITE_NULL || slice_equal(a->bytes, b->bytes);
}

static cell random_cell(uint8_t *store, size_t size)
{
    cell c = {.type = SQLITE_NULL};
    uint64_t u = check_random();

    switch (check_below(5)) {
    case 0:
        c.type = SQLITE_INTEGER;
        c.integer = (int64_t)u >> check_below(64);
        break;
    case 1:
        c.type = SQLITE_FLOAT;
        memcpy(&c.real, &u, sizeof u);
        break;
    case 2:
    case 3:
        c.type = check_below(2) ? SQLITE_TEXT : SQLITE_BLOB;
        for (size_t i = 0; i < size; i++) store[i] = (uint8_t)check_random();
        c.bytes = fkv_slice_of(store, check_below(size + 1));
        break;
    default:
        break;
    }
    return c;
}

static void rows_come_back(void)
{
    static uint8_t store[COLUMNS_MAX][300];
    buf row = {0};

    for (int round = 0; round < 50000 && check_failures < 5; round++) {
        int n = (int)check_below(COLUMNS_MAX + 1);
        cell in[COLUMNS_MAX], out;
        key_override overrides[KEYS];
        row_reader r;
        for (int i = 0; i < KEYS; i++) overrides[i] = (key_override)check_below(3);
        buf_clear(&row);
        rowcode_begin(&row, overrides, KEYS);
        for (int i = 0; i < n; i++) {
            in[i] = random_cell(store[i], sizeof store[i]);
            rowcode_append(&row, &in[i], i == n - 1);
        }
        REQUIRE(rowcode_open(&r, buf_slice(&row), KEYS, n) == 0);
        for (int i = 0; i < KEYS; i++) CHECK(rowcode_override(&r, i) == overrides[i]);
        for (int i = (int)check_below(2); i < n; i += 1 + (int)check_below(2)) {
            REQUIRE(rowcode_read(&r, i, &out) == 0);
            CHECK(same(&in[i], &out));
        }
    }
    buf_release(&row);
}

static void bytes_are_as_documented(void)
{
    static const uint8_t expected[] = {0x01, 0x00, 0x01, 0x11, 0xff, 0x10, 0x30, 2,
                                       'h',  'i',  0x00, 0x12, 0x80, 0x00, 0x41, 'z'};
    static const key_override overrides[KEYS] = {OVERRIDE_NONE, OVERRIDE_REAL};
    const cell cells[] = {{.type = SQLITE_INTEGER, .integer = -1},
                          {.type = SQLITE_INTEGER, .integer = 0},
                          {.type = SQLITE_TEXT, .bytes = fkv_slice_of("hi", 2)},
                          {.type = SQLITE_NULL},
                          {.type = SQLITE_INTEGER, .integer = 128},
                          {.type = SQLITE_BLOB, .bytes = fkv_slice_of("z", 1)}};
    buf row = {0};

    rowcode_begin(&row, overrides, KEYS);
    for (size_t i = 0; i < 6; i++) rowcode_append(&row, &cells[i], i == 5);
    CHECK(slice_equal(buf_slice(&row), fkv_slice_of(expected, sizeof expected)));
    buf_release(&row);
}

static void hostile_bytes_are_refused_or_read_safely(void)
{
    static const uint8_t alphabet[] = {0, 1, 0x10, 0x18, 0x19, 0x20, 0x30, 0x31, 0x40, 0x41, 0xff};

    for (int round = 0; round < 300000; round++) {
        size_t n = check_below(30);
        int columns = (int)check_below(COLUMNS_MAX);
        uint8_t *heap = malloc(n ? n : 1);
        row_reader r;
        cell out;
        REQUIRE(heap != NULL);
        for (size_t i = 0; i < n; i++) {
            heap[i] = check_below(4) ? alphabet[check_below(sizeof alphabet)]
                                     : (uint8_t)check_random();
        }
        if (rowcode_open(&r, fkv_slice_of(heap, n), KEYS, columns) == 0) {
            for (int i = 0; i < columns && rowcode_read(&r, i, &out) == 0; i++) {
                CHECK(out.bytes.size <= n);
            }
        }
        free(heap);
    }
}

static void unknown_header_bits_are_refused(void)
{
    static const uint8_t row[] = {0x02, 0x00};
    row_reader r;

    CHECK(rowcode_open(&r, fkv_slice_of(row, sizeof row), 1, 1) == -1);
    CHECK(rowcode_open(&r, fkv_slice_of(row, 0), 1, 1) == -1);
}

TEST_MAIN("test_ext_rowcode", TEST_CASE(bytes_are_as_documented), TEST_CASE(rows_come_back),
          TEST_CASE(unknown_header_bits_are_refused),
          TEST_CASE(hostile_bytes_are_refused_or_read_safely))
