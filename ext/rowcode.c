/*
** rowcode.c -- the value encoding
**
** The value of a row holds its non-key columns in declared order, with affinity already applied.
**
**   row    := header column*
**   header := 0x00                             nothing to say
**           | 0x01 override[key columns]       key column i comes back as override[i] tells:
**                                              0 as the key says, 1 as REAL, 2 as REAL -0.0
**   column := 0x00                             NULL
**           | 0x10+n int[n]                    INTEGER, n = 0..8 bytes, little-endian two's
**                                              complement, shortest; n = 0 is the number 0
**           | 0x20 double[8]                   REAL, little-endian IEEE 754
**           | 0x30 size(varint) bytes          TEXT, UTF-8
**           | 0x31 bytes                       TEXT in the last column: up to the end
**           | 0x40 size(varint) bytes          BLOB
**           | 0x41 bytes                       BLOB in the last column: up to the end
**
** Other header bits are for later versions: a reader that meets one refuses the row. Example: the
** row ('a', 1.0) of a table (key, value) with the override for nothing is 00 20 000000000000f03f.
*/
#include "rowcode.h"

#include "base/coding.h"

/* Part of the file format: never renumber. */
enum {
    ROW_PLAIN = 0x00,
    ROW_OVERRIDES = 0x01,
    CELL_NULL = 0x00,
    CELL_INTEGER = 0x10, /* + number of bytes */
    CELL_REAL = 0x20,
    CELL_TEXT = 0x30,
    CELL_TEXT_REST = 0x31,
    CELL_BLOB = 0x40,
    CELL_BLOB_REST = 0x41
};

void rowcode_begin(buf *out, const key_override *overrides, int key_count)
{
    int any = 0;

    for (int i = 0; i < key_count; i++) any |= overrides[i] != OVERRIDE_NONE;
    buf_append_u8(out, any ? ROW_OVERRIDES : ROW_PLAIN);
    for (int i = 0; any && i < key_count; i++) buf_append_u8(out, (uint8_t)overrides[i]);
}

static void append_integer(buf *out, int64_t v)
{
    uint8_t bytes[9];
    unsigned n = 0;

    while (n < 8) {
        /* n bytes are enough when sign extension gives the rest back. */
        int64_t low = n ? (int64_t)((uint64_t)v << (64 - 8 * n)) >> (64 - 8 * n) : 0;
        if (low == v) break;
        n++;
    }
    bytes[0] = (uint8_t)(CELL_INTEGER + n);
    for (unsigned i = 0; i < n; i++) bytes[1 + i] = (uint8_t)((uint64_t)v >> (8 * i));
    buf_append(out, bytes, 1 + n);
}

static void append_real(buf *out, double r)
{
    uint64_t u;

    memcpy(&u, &r, sizeof u);
    buf_append_u8(out, CELL_REAL);
    buf_append_u64(out, u);
}

void rowcode_append(buf *out, const cell *c, int last)
{
    switch (c->type) {
    case SQLITE_INTEGER:
        append_integer(out, c->integer);
        break;
    case SQLITE_FLOAT:
        append_real(out, c->real);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        buf_append_u8(out, (uint8_t)((c->type == SQLITE_TEXT ? CELL_TEXT : CELL_BLOB) + !!last));
        if (last) {
            buf_append(out, c->bytes.data, c->bytes.size);
        } else {
            buf_append_slice(out, c->bytes);
        }
        break;
    default:
        buf_append_u8(out, CELL_NULL);
        break;
    }
}

int rowcode_open(row_reader *r, fkv_slice value, int key_count, int column_count)
{
    size_t header = 1;

    memset(r, 0, sizeof *r);
    r->count = column_count;
    if (value.size == 0) return -1;
    if (value.data[0] == ROW_OVERRIDES) {
        header += (size_t)key_count;
        if (value.size < header) return -1;
        r->overrides = value.data + 1;
    } else if (value.data[0] != ROW_PLAIN) {
        return -1;
    }
    r->rest = fkv_slice_of(value.data + header, value.size - header);
    return 0;
}

int rowcode_only(fkv_slice value, int column_count, cell *out)
{
    if (column_count != 1 || value.size < 2 || value.data[0] != ROW_PLAIN) return 0;
    if (value.data[1] != CELL_TEXT_REST && value.data[1] != CELL_BLOB_REST) return 0;
    out->type = value.data[1] == CELL_TEXT_REST ? SQLITE_TEXT : SQLITE_BLOB;
    out->bytes = fkv_slice_of(value.data + 2, value.size - 2);
    return 1;
}

static int64_t decode_integer(const uint8_t *p, unsigned n)
{
    uint64_t u = 0;

    for (unsigned i = 0; i < n; i++) u |= (uint64_t)p[i] << (8 * i);
    if (n && n < 8 && p[n - 1] & 0x80) u |= ~(uint64_t)0 << (8 * n);
    return (int64_t)u;
}

/* Take the next column off r->rest. */
static int take(row_reader *r, cell *out)
{
    const uint8_t *p = r->rest.data;
    const uint8_t *end = p + r->rest.size;
    int last = r->next == r->count - 1;
    uint64_t size;
    unsigned tag;

    if (r->rest.size == 0) return -1;
    tag = *p++;
    if (tag == CELL_NULL) {
        out->type = SQLITE_NULL;
    } else if (tag >= CELL_INTEGER && tag <= CELL_INTEGER + 8) {
        unsigned n = tag - CELL_INTEGER;
        if ((size_t)(end - p) < n) return -1;
        out->type = SQLITE_INTEGER;
        out->integer = decode_integer(p, n);
        p += n;
    } else if (tag == CELL_REAL) {
        uint64_t u;
        if (end - p < 8) return -1;
        u = get_u64(p);
        out->type = SQLITE_FLOAT;
        memcpy(&out->real, &u, sizeof u);
        p += 8;
    } else {
        if (tag == CELL_TEXT_REST || tag == CELL_BLOB_REST) {
            if (!last) return -1;
            size = (uint64_t)(end - p);
        } else if (tag == CELL_TEXT || tag == CELL_BLOB) {
            p = get_varint64(p, end, &size);
            if (!p || size > (uint64_t)(end - p)) return -1;
        } else {
            return -1;
        }
        out->type = tag == CELL_TEXT || tag == CELL_TEXT_REST ? SQLITE_TEXT : SQLITE_BLOB;
        out->bytes = fkv_slice_of(p, (size_t)size);
        p += size;
    }
    r->next++;
    r->rest = fkv_slice_of(p, (size_t)(end - p));
    return 0;
}

int rowcode_read(row_reader *r, int index, cell *out)
{
    if (index < r->next || index >= r->count) return -1;
    do {
        memset(out, 0, sizeof *out);
        if (take(r, out)) return -1;
    } while (r->next <= index);
    return 0;
}
