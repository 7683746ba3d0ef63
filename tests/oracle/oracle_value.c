/*
** oracle_value.c -- values that hurt
**
** Around 2^53 an INTEGER has no REAL of its own, at 2^63 it ends; text that looks like a number is
** one in some columns and not in others; a NUL ends a C string but not a text; bytes that are no
** UTF-8 are a text all the same once they are CAST to one. Equal values of different types (5, 5.0,
** '5', ' 5 ', x'35') stand next to each other on purpose.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

typedef struct text {
    const char *bytes;
    size_t size;
} text;

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static const int64_t integers[] = {
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    10,
    12,
    16,
    100,
    255,
    256,
    -12,
    9007199254740991,
    9007199254740992,
    9007199254740993,
    -9007199254740991,
    -9007199254740992,
    -9007199254740993,
    INT64_MAX,
    INT64_MAX - 1,
    INT64_MIN,
    INT64_MIN + 1,
    4611686018427387904,
    999999999999999,
    1000000000000000,
    123456789012345678,
};

static const double reals[] = {
    0.0,
    -0.0,
    0.5,
    1.0,
    2.0,
    5.0,
    -1.0,
    2.5,
    12.0,
    12.5,
    100.0,
    0.1,
    0.3,
    0.30000000000000004,
    9007199254740992.0,
    9007199254740994.0,
    -9007199254740992.0,
    9223372036854775808.0,
    -9223372036854775808.0,
    9223372036854774784.0,
    9.2e18,
    1e15,
    1e16,
    999999999999999.0,
    123456789012345680.0,
    1e300,
    -1e300,
    1e-300,
    4.9406564584124654e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    HUGE_VAL,
    -HUGE_VAL,
};

static const text texts[] = {
    TEXT(""),
    TEXT(" "),
    TEXT("a"),
    TEXT("A"),
    TEXT("ab"),
    TEXT("aB"),
    TEXT("AB"),
    TEXT("abc"),
    TEXT("ABC"),
    TEXT("abd"),
    TEXT("b"),
    TEXT("B"),
    TEXT("a "),
    TEXT("a  "),
    TEXT("ab "),
    TEXT("zeta"),
    TEXT("user:1"),
    TEXT("user:2"),
    TEXT("user:10"),
    TEXT("User:3"),
    TEXT("USER:4"),
    TEXT("user:"),
    TEXT("user;"),
    TEXT("5"),
    TEXT("05"),
    TEXT("5.0"),
    TEXT(" 5 "),
    TEXT("+5"),
    TEXT("5e0"),
    TEXT("\t5\n"),
    TEXT("5a"),
    TEXT("5 a"),
    TEXT("1"),
    TEXT("1e3"),
    TEXT("12"),
    TEXT("12.5"),
    TEXT("0x10"),
    TEXT("-1"),
    TEXT("+1"),
    TEXT("-0"),
    TEXT("-0.0"),
    TEXT("0"),
    TEXT(".5"),
    TEXT("5."),
    TEXT("1e"),
    TEXT("1e+"),
    TEXT("1e999"),
    TEXT("-1e999"),
    TEXT("1 2"),
    TEXT("1_0"),
    TEXT("Inf"),
    TEXT("-inf"),
    TEXT("nan"),
    TEXT("0.1"),
    TEXT("0.3"),
    TEXT("9223372036854775807"),
    TEXT("9223372036854775808"),
    TEXT("-9223372036854775808"),
    TEXT("9007199254740993"),
    TEXT("9007199254740992.0"),
    TEXT("1e16"),
    TEXT("%"),
    TEXT("_"),
    TEXT("a%b"),
    TEXT("a_b"),
    TEXT("a*b"),
    TEXT("a?"),
    TEXT("[a]"),
    TEXT("["),
    TEXT("*"),
    TEXT("\\"),
    TEXT("'"),
    TEXT("a'b"),
    TEXT("\xc3\xa9"),
    TEXT("\xc3\x89"),
    TEXT("\xc3\xa9"
         "a"),
    TEXT("a\xcc\x81"),
    TEXT("\xe6\x97\xa5\xe6\x9c\xac"),
    TEXT("\xf0\x9f\x98\x80"),
    TEXT("\xef\xbf\xbd"),
    TEXT("\xee\x80\x80"),
    TEXT("\xc4\x80"),
    TEXT("\x7f"),
    TEXT("\1"),
    TEXT("\2a"),
};

static const text nul_texts[] = {
    TEXT("\0"), TEXT("a\0b"), TEXT("a\0"), TEXT("\0\0"), TEXT("5\0"), TEXT("user:\0z"),
};

/* No UTF-8: only where the database is UTF-8. LIKE and GLOB read most of it as U+FFFD, as they do
** U+FFFE and U+FFFF, which are well-formed. */
static const text raw_texts[] = {
    TEXT("\xff"),          TEXT("a\xff"),
    TEXT("\xc3"),          TEXT("\x80"),
    TEXT("\xed\xa0\x80"),  TEXT("\xc0\x80"),
    TEXT("\xff\xff"),      TEXT("a\xc3("),
    TEXT("a\xc3"),         TEXT("a\xed\xbf\xbf"),
    TEXT("\xc1\xbf"),      TEXT("a\xe0\x81\xa2"),
    TEXT("\xef\xbf\xbe"),  TEXT("\xef\xbf\xbf"),
    TEXT("a\xef\xbf\xbe"), TEXT("\xf8\x88\x80\x80\x80"),
};

static const text blobs[] = {
    TEXT(""),       TEXT("a"),      TEXT("\0"),     TEXT("\0\0"), TEXT("\0\xff"),
    TEXT("5"),      TEXT("\xff"),   TEXT("a\0"),    TEXT("abc"),  TEXT("\xff\xff"),
    TEXT("user:1"), TEXT("\xff\0"), TEXT("\1\xff"), TEXT("\x40"), TEXT("ab"),
};

/* Well-formed in either byte order when taken for UTF-16. */
static const text even_blobs[] = {TEXT(""), TEXT("a\0"), TEXT("a\0b\0"), TEXT("5\0"), TEXT("\0a")};

void *oracle_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p) abort();
    return p;
}

void rng_seed(rng *r, uint64_t seed)
{
    /* splitmix64, so that neighbouring seeds have nothing in common. */
    uint64_t z = seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    r->state = (z ^ (z >> 31)) | 1;
}

static uint64_t rng_next(rng *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1du;
}

unsigned rng_below(rng *r, unsigned n)
{
    return n ? (unsigned)((rng_next(r) >> 33) % n) : 0;
}

int rng_chance(rng *r, unsigned percent)
{
    return rng_below(r, 100) < percent;
}

static void set_bytes(value *v, int type, const void *bytes, size_t size)
{
    v->type = type;
    v->bytes = oracle_alloc(size + 1);
    memcpy(v->bytes, bytes, size);
    v->size = size;
}

/* A long text or BLOB: keys of some KB that share long beginnings, rarely a value of 100 KB. */
static value long_value(rng *r)
{
    size_t size = rng_chance(r, 6) ? 20000 + rng_below(r, 80000) : 100 + rng_below(r, 3000);
    value v = {0};

    v.type = rng_chance(r, 75) ? SQLITE_TEXT : SQLITE_BLOB;
    v.size = size & ~(size_t)1;
    v.bytes = oracle_alloc(v.size + 1);
    memset(v.bytes, "aAbz5"[rng_below(r, 5)], v.size);
    v.bytes[rng_below(r, (unsigned)v.size)] = 'm';
    v.bytes[v.size - 1] = (uint8_t)('a' + rng_below(r, 3));
    return v;
}

static const text *pick_text(rng *r, int utf16)
{
    unsigned n = rng_below(r, 20);

    if (n == 0) return &nul_texts[rng_below(r, sizeof nul_texts / sizeof *nul_texts)];
    if (n == 1 && !utf16) return &raw_texts[rng_below(r, sizeof raw_texts / sizeof *raw_texts)];
    return &texts[rng_below(r, sizeof texts / sizeof *texts)];
}

value value_random(rng *r, int utf16)
{
    unsigned n = rng_below(r, 100);
    const text *t;
    value v = {0};

    v.type = SQLITE_INTEGER;
    if (n < 4) return long_value(r);
    if (n < 16) {
        v.integer = (int64_t)rng_below(r, 24) - 4;
    } else if (n < 36) {
        v.integer = integers[rng_below(r, sizeof integers / sizeof *integers)];
    } else if (n < 50) {
        v.type = SQLITE_FLOAT;
        v.real = reals[rng_below(r, sizeof reals / sizeof *reals)];
    } else if (n < 88) {
        t = pick_text(r, utf16);
        set_bytes(&v, SQLITE_TEXT, t->bytes, t->size);
    } else if (n < 99) {
        t = utf16 ? &even_blobs[rng_below(r, sizeof even_blobs / sizeof *even_blobs)]
                  : &blobs[rng_below(r, sizeof blobs / sizeof *blobs)];
        set_bytes(&v, SQLITE_BLOB, t->bytes, t->size);
    } else {
        v.type = SQLITE_FLOAT; /* becomes NULL when bound */
        v.real = NAN;
    }
    return v;
}

value value_copy(const value *v)
{
    value c = *v;

    if (v->bytes) set_bytes(&c, v->type, v->bytes, v->size);
    return c;
}

void value_free(value *v)
{
    free(v->bytes);
    v->bytes = NULL;
}

static int is_utf8(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t more = p[i] < 0x80 ? 0 : p[i] >= 0xf0 ? 3 : p[i] >= 0xe0 ? 2 : 1;
        if (p[i] >= 0x80 && (p[i] < 0xc2 || p[i] > 0xf4)) return 0;
        if (p[i] == 0xed && i + 1 < n && p[i + 1] >= 0xa0) return 0;
        if (i + more >= n) return 0;
        for (size_t j = 1; j <= more; j++) {
            if ((p[i + j] & 0xc0) != 0x80) return 0;
        }
        i += more + 1;
    }
    return 1;
}

static void put_hex(sqlite3_str *out, const value *v)
{
    sqlite3_str_appendall(out, "x'");
    for (size_t i = 0; i < v->size; i++) sqlite3_str_appendf(out, "%02x", v->bytes[i]);
    sqlite3_str_appendall(out, "'");
}

/* The pieces between NULs (and between our own marks) quoted, those as char(n). */
static void put_pieces(sqlite3_str *out, const value *v)
{
    size_t start = 0;

    sqlite3_str_appendall(out, "(");
    for (size_t i = 0; i <= v->size; i++) {
        if (i < v->size && v->bytes[i] > NATIVE_MARK) continue;
        sqlite3_str_appendf(out, "'%.*q'", (int)(i - start), (const char *)v->bytes + start);
        if (i < v->size) sqlite3_str_appendf(out, "||char(%d)||", v->bytes[i]);
        start = i + 1;
    }
    sqlite3_str_appendall(out, ")");
}

static int has_marks(const value *v)
{
    for (size_t i = 0; i < v->size; i++) {
        if (v->bytes[i] <= NATIVE_MARK) return 1;
    }
    return 0;
}

void value_literal(sqlite3_str *out, const value *v, int utf16)
{
    switch (v->type) {
    case SQLITE_INTEGER:
        sqlite3_str_appendf(out, "%lld", (sqlite3_int64)v->integer);
        break;
    case SQLITE_FLOAT:
        if (isnan(v->real)) {
            sqlite3_str_appendall(out, "(9e999-9e999)");
        } else if (isinf(v->real)) {
            sqlite3_str_appendall(out, v->real < 0 ? "-9e999" : "9e999");
        } else {
            sqlite3_str_appendf(out, "%!.17g", v->real);
        }
        break;
    case SQLITE_TEXT:
        if (!has_marks(v) && is_utf8(v->bytes, v->size)) {
            sqlite3_str_appendf(out, "'%q'", (const char *)v->bytes);
        } else if (utf16) {
            put_pieces(out, v);
        } else {
            sqlite3_str_appendall(out, "CAST(");
            put_hex(out, v);
            sqlite3_str_appendall(out, " AS TEXT)");
        }
        break;
    case SQLITE_BLOB:
        put_hex(out, v);
        break;
    default:
        sqlite3_str_appendall(out, "NULL");
        break;
    }
}

int value_bind(sqlite3_stmt *s, int n, const value *v)
{
    switch (v->type) {
    case SQLITE_INTEGER:
        return sqlite3_bind_int64(s, n, v->integer);
    case SQLITE_FLOAT:
        return sqlite3_bind_double(s, n, v->real);
    case SQLITE_TEXT:
        return sqlite3_bind_text(s, n, (const char *)v->bytes, (int)v->size, SQLITE_STATIC);
    case SQLITE_BLOB:
        return sqlite3_bind_blob(s, n, v->bytes, (int)v->size, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(s, n);
    }
}

static void put_real(sqlite3_str *out, double d, int loose)
{
    uint64_t bits;

    if (loose && d >= -9223372036854775808.0 && d < 9223372036854775808.0 &&
        (double)(int64_t)d == d) {
        sqlite3_str_appendf(out, "i%lld;", (sqlite3_int64)d);
        return;
    }
    memcpy(&bits, &d, sizeof bits);
    sqlite3_str_appendf(out, "r%016llx %!.15g;", bits, d);
}

void value_serialise(sqlite3_str *out, sqlite3_stmt *s, int column, int loose)
{
    int type = sqlite3_column_type(s, column); /* before the accessors, which may change it */
    const void *bytes;
    int size;

    switch (type) {
    case SQLITE_INTEGER:
        sqlite3_str_appendf(out, "i%lld;", sqlite3_column_int64(s, column));
        return;
    case SQLITE_FLOAT:
        put_real(out, sqlite3_column_double(s, column), loose);
        return;
    case SQLITE_NULL:
        sqlite3_str_appendall(out, "n;");
        return;
    default:
        break;
    }
    bytes = type == SQLITE_TEXT ? (const void *)sqlite3_column_text(s, column)
                                : sqlite3_column_blob(s, column);
    size = sqlite3_column_bytes(s, column);
    sqlite3_str_appendf(out, "%c%d:", type == SQLITE_TEXT ? 't' : 'b', size);
    if (size) sqlite3_str_append(out, bytes, size);
    sqlite3_str_appendall(out, ";");
}
