/*
** keycode.c -- the key encoding
**
** An engine key is a 4-byte big-endian space id (the table) and then the key columns one after
** another. A column is a class tag and a body; memcmp on whole keys is SQLite's order: numbers by
** value, then TEXT by bytes (BINARY), then BLOB.
**
**   column := 0x10 ordered[8] remainder[2]     INTEGER and REAL
**           | 0x20 body                        TEXT, UTF-8
**           | 0x30 body                        BLOB
**   body   := bytes                            in the last key column: up to the end of the key
**           | escaped 0x00 0x00                in any other: 0x00 inside is written 0x00 0xff
**
** Numbers. Let d be the largest double <= the value. `ordered` is d's bit pattern, big-endian, with
** all bits inverted if d is negative and only the sign bit inverted if not, which makes unsigned
** byte order the order of doubles. `remainder` is value - d, big-endian: 0 for a REAL and for
** integers up to 2^53, at most 1023 beyond (doubles below 2^63 are 1024 apart at most). -0.0 is
** written as 0.0. So equal numbers have equal bytes, INTEGER 1 and REAL 1.0 alike, and the order is
** exact across 2^53. Example: 1 is 10 bff0000000000000 0000; 2^53 + 1 is 10 c340000000000000 0001.
**
** A key column is never NULL and never NaN. No escaped body is a prefix of another one followed by
** its terminator: 0x00 0x00 sorts below 0x00 0xff and below every other byte after 0x00's place.
**
** Reading back, a number that is integral and fits int64 is an INTEGER (a REAL in a column of REAL
** affinity). Where that is not what was stored, the row carries an override (rowcode.c).
*/
#include "keycode.h"

#include "base/coding.h"

#define TWO_63 9223372036854775808.0
#define REMAINDER_MAX 1023u
#define SIGN_BIT ((uint64_t)1 << 63)

static uint64_t bits_of(double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

static double double_of(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* The largest double <= i. */
static double floor_double(int64_t i)
{
    double d = (double)i;

    if (d < TWO_63 && (int64_t)d <= i) return d;
    /* The conversion rounded up: take the double before. d is not zero here. */
    return double_of(d > 0 ? bits_of(d) - 1 : bits_of(d) + 1);
}

static void append_number(buf *out, const cell *c)
{
    uint8_t bytes[KEY_NUMBER_BYTES];
    unsigned remainder = 0;
    double d = c->real;
    uint64_t u;

    if (c->type == SQLITE_INTEGER) {
        d = floor_double(c->integer);
        remainder = (unsigned)(c->integer - (int64_t)d);
    }
    u = d == 0 ? 0 : bits_of(d);
    u = u & SIGN_BIT ? ~u : u | SIGN_BIT;
    bytes[0] = KEY_NUMBER;
    put_be64(bytes + 1, u);
    bytes[9] = (uint8_t)(remainder >> 8);
    bytes[10] = (uint8_t)remainder;
    buf_append(out, bytes, sizeof bytes);
}

static void append_escaped(buf *out, fkv_slice s)
{
    static const uint8_t escape[2] = {0x00, 0xff};
    static const uint8_t end[2] = {0x00, 0x00};

    while (s.size) {
        const uint8_t *zero = memchr(s.data, 0, s.size);
        size_t n = zero ? (size_t)(zero - s.data) : s.size;
        buf_append(out, s.data, n);
        if (!zero) break;
        buf_append(out, escape, sizeof escape);
        s = fkv_slice_of(zero + 1, s.size - n - 1);
    }
    buf_append(out, end, sizeof end);
}

void keycode_append(buf *out, const cell *c, int last)
{
    if (c->type == SQLITE_INTEGER || c->type == SQLITE_FLOAT) {
        append_number(out, c);
        return;
    }
    buf_append_u8(out, c->type == SQLITE_TEXT ? KEY_TEXT : KEY_BLOB);
    if (last) {
        buf_append(out, c->bytes.data, c->bytes.size);
    } else {
        append_escaped(out, c->bytes);
    }
}

/* The value of a number's ten bytes as INTEGER if it can be one, else as REAL. */
static int decode_number(const uint8_t *p, cell *out)
{
    uint64_t u = get_be64(p);
    unsigned remainder = (unsigned)p[8] << 8 | p[9];
    double d = double_of(u & SIGN_BIT ? u & ~SIGN_BIT : ~u);

    if (d != d || remainder > REMAINDER_MAX) return -1;
    if (d >= -TWO_63 && d < TWO_63 && (double)(int64_t)d == d) {
        out->type = SQLITE_INTEGER;
        return __builtin_add_overflow((int64_t)d, (int64_t)remainder, &out->integer) ? -1 : 0;
    }
    if (remainder) return -1;
    out->type = SQLITE_FLOAT;
    out->real = d;
    return 0;
}

/* Where the terminator of an escaped body stands, and whether there were escapes. */
static const uint8_t *find_end(fkv_slice s, int *escaped)
{
    *escaped = 0;
    while (s.size >= 2) {
        const uint8_t *zero = memchr(s.data, 0, s.size - 1);
        if (!zero) return NULL;
        if (zero[1] == 0x00) return zero;
        if (zero[1] != 0xff) return NULL;
        *escaped = 1;
        s = fkv_slice_of(zero + 2, s.size - (size_t)(zero + 2 - s.data));
    }
    return NULL;
}

static int unescape(fkv_slice body, buf *scratch, fkv_slice *out)
{
    size_t start = scratch->size;

    for (size_t i = 0; i < body.size; i++) {
        buf_append_u8(scratch, body.data[i]);
        if (body.data[i] == 0x00) i++; /* its 0xff */
    }
    if (buf_status(scratch)) return -1;
    *out = fkv_slice_of(scratch->data + start, scratch->size - start);
    return 0;
}

static int take_number(fkv_slice *key, affinity a, key_override override, cell *out)
{
    if (key->size < KEY_NUMBER_BYTES || decode_number(key->data + 1, out)) return -1;
    *key = fkv_slice_of(key->data + KEY_NUMBER_BYTES, key->size - KEY_NUMBER_BYTES);
    if (out->type == SQLITE_INTEGER && (a == AFFINITY_REAL || override != OVERRIDE_NONE)) {
        out->type = SQLITE_FLOAT;
        out->real = override == OVERRIDE_NEGATIVE_ZERO ? -0.0 : (double)out->integer;
    }
    return 0;
}

int keycode_take(fkv_slice *key, int last, affinity a, key_override override, buf *scratch,
                 cell *out)
{
    fkv_slice body;
    const uint8_t *end;
    int escaped;

    memset(out, 0, sizeof *out);
    if (key->size == 0) return -1;
    if (key->data[0] == KEY_NUMBER) return take_number(key, a, override, out);
    if (key->data[0] != KEY_TEXT && key->data[0] != KEY_BLOB) return -1;
    out->type = key->data[0] == KEY_TEXT ? SQLITE_TEXT : SQLITE_BLOB;
    body = fkv_slice_of(key->data + 1, key->size - 1);
    if (last) {
        out->bytes = body;
        *key = fkv_slice_of(key->data + key->size, 0);
        return 0;
    }
    end = find_end(body, &escaped);
    if (!end) return -1;
    out->bytes = fkv_slice_of(body.data, (size_t)(end - body.data));
    *key = fkv_slice_of(end + 2, body.size - out->bytes.size - 2);
    return escaped ? unescape(out->bytes, scratch, &out->bytes) : 0;
}

int keycode_skip(fkv_slice *key, int last)
{
    const uint8_t *end;
    int escaped;

    if (key->size == 0) return -1;
    if (key->data[0] == KEY_NUMBER) {
        if (key->size < KEY_NUMBER_BYTES) return -1;
        end = key->data + KEY_NUMBER_BYTES;
    } else if (key->data[0] != KEY_TEXT && key->data[0] != KEY_BLOB) {
        return -1;
    } else if (last) {
        end = key->data + key->size;
    } else {
        end = find_end(fkv_slice_of(key->data + 1, key->size - 1), &escaped);
        if (!end) return -1;
        end += 2;
    }
    *key = fkv_slice_of(end, key->size - (size_t)(end - key->data));
    return 0;
}

key_override keycode_override(const cell *c, affinity a)
{
    double r = c->real;

    if (c->type != SQLITE_FLOAT || a == AFFINITY_REAL) return OVERRIDE_NONE;
    if (r == 0 && bits_of(r) & SIGN_BIT) return OVERRIDE_NEGATIVE_ZERO;
    if (r >= -TWO_63 && r < TWO_63 && (double)(int64_t)r == r) return OVERRIDE_REAL;
    return OVERRIDE_NONE;
}

void keycode_successor(buf *bytes, size_t start)
{
    while (bytes->size > start && bytes->data[bytes->size - 1] == 0xff) bytes->size--;
    if (bytes->size > start) bytes->data[bytes->size - 1]++;
}
