/*
** keyrange.c -- from constraint values to key ranges
**
** Every key column is encoded so that memcmp is SQLite's order of values (keycode.c), so a
** condition on one column is a list of spans [lo, hi) of that column's bytes:
**
**   = v     [enc(v), after(v))     a point
**   > v     [after(v), 0x40)       0x40 is above every class tag, 0x10 the lowest
**   <= v    [0x10, after(v))       and so on: the classes fall into place by themselves
**   GLOB p  [0x20 p, 0x20 next(p)) p is the pattern up to its first wildcard, next(p) the smallest
**                                  string above all that begin with p; numbers (their text may
**                                  match) and BLOBs besides
**   LIKE p  [0x20 UPPER(p), 0x20 next(lower(p))), and so on
**
** after(v) is the least string above all keys that have v there: enc(v) 0x00 in the last key
** column, where enc(v) is the whole rest; the successor of enc(v) in others, where more columns
** follow.
**
** Conditions on one column are intersected. Points of a leading column are then prefixes for the
** spans of the next one, and what is left at the end, behind the space id, are the ranges. Lists
** are sorted all along, so the ranges come out ascending and disjoint.
**
** Approximate terms (plan.c) are widened where the two readings differ:
**
**   column  value    could also match          added
**   TEXT    number   numeric text ('05' = 5)   = and IN: text that begins as numbers do;
**                                              ranges: everything
**   none    number   numeric text              =, IN, <, <=: that text
**   both    text     numeric text, as numbers  <, <=: that text
**   none    text     numbers that read so      = and IN: the numbers next to its value;
**                                              >, >=: all numbers
**
** Text or a blob from a bound parameter (sqlite3_value_frombind) has no numeric affinity and is not
** widened. A number may be CAST(? AS REAL), or a parameter that SQLite has put in the place of a
** column it is equal to: those do. (Text that has been put there is not told from text that was
** written there, and a range of dates must not read all later ones: README, limits.)
*/
#include "keyrange.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/slice.h"

SQLITE_EXTENSION_INIT3

/* Text that SQLite may take for a number begins with a byte in [0x09, 0x3a): space, sign, point or
** digit. (Others are in there as well: this is a superset.) */
#define NUMERIC_TEXT_FIRST 0x09
#define NUMERIC_TEXT_END 0x3a

typedef struct builder {
    const kv_table *t;
    const char *terms; /* what the arguments mean: plan.c */
    sqlite3_value **argv;
    int argc;
    key_ranges *columns; /* one finished set per constrained key column */
    int column_count;
    key_ranges *out;
} builder;

void key_ranges_release(key_ranges *r)
{
    buf_release(&r->bytes);
    alloc_free(r->items);
    memset(r, 0, sizeof *r);
}

static void key_ranges_clear(key_ranges *r)
{
    buf_clear(&r->bytes);
    r->count = 0;
    r->widened = 0;
}

int key_ranges_add(key_ranges *r, fkv_slice lo, fkv_slice hi, int point)
{
    key_range *item;

    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 4;
        key_range *items = alloc_resize(r->items, capacity * sizeof *items);
        if (!items) return SQLITE_NOMEM;
        r->items = items;
        r->capacity = capacity;
    }
    item = &r->items[r->count++];
    item->lo = r->bytes.size;
    item->lo_size = lo.size;
    buf_append(&r->bytes, lo.data, lo.size);
    item->hi = r->bytes.size;
    item->hi_size = hi.size;
    buf_append(&r->bytes, hi.data, hi.size);
    item->point = point;
    return buf_status(&r->bytes) ? SQLITE_NOMEM : SQLITE_OK;
}

static int add_tags(key_ranges *r, uint8_t from, uint8_t to)
{
    return key_ranges_add(r, fkv_slice_of(&from, 1), fkv_slice_of(&to, 1), 0);
}

/* -- sets ------------------------------------------------------------------------------------ */

typedef struct sort_entry {
    fkv_slice lo, hi;
    int point;
} sort_entry;

static int compare_entries(const void *a, const void *b)
{
    return slice_compare(((const sort_entry *)a)->lo, ((const sort_entry *)b)->lo);
}

/* Sort, and merge what overlaps or repeats. */
static int normalise(key_ranges *r)
{
    sort_entry *entries;
    key_ranges sorted = {0};
    int rc = SQLITE_OK;
    size_t n = r->count;

    if (n < 2) return SQLITE_OK;
    entries = alloc_bytes(n * sizeof *entries);
    if (!entries) return SQLITE_NOMEM;
    for (size_t i = 0; i < n; i++) {
        entries[i].lo = range_lo(r, i);
        entries[i].hi = range_hi(r, i);
        entries[i].point = r->items[i].point;
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    for (size_t i = 0; rc == SQLITE_OK && i < n;) {
        sort_entry e = entries[i++];
        while (i < n && slice_compare(entries[i].lo, e.hi) < 0) {
            if (slice_compare(entries[i].hi, e.hi) > 0) e.hi = entries[i].hi;
            if (!entries[i].point) e.point = 0;
            i++;
        }
        rc = key_ranges_add(&sorted, e.lo, e.hi, e.point);
    }
    alloc_free(entries);
    key_ranges_release(r);
    *r = sorted;
    return rc;
}

/* *a = a and b, both sorted. A point survives whole or not at all. */
static int intersect(key_ranges *a, const key_ranges *b)
{
    key_ranges both = {0};
    int rc = SQLITE_OK;
    size_t i = 0, j = 0;

    while (rc == SQLITE_OK && i < a->count && j < b->count) {
        fkv_slice alo = range_lo(a, i), ahi = range_hi(a, i);
        fkv_slice blo = range_lo(b, j), bhi = range_hi(b, j);
        fkv_slice lo = slice_compare(alo, blo) > 0 ? alo : blo;
        fkv_slice hi = slice_compare(ahi, bhi) < 0 ? ahi : bhi;
        if (slice_compare(lo, hi) < 0) {
            rc = key_ranges_add(&both, lo, hi, a->items[i].point || b->items[j].point);
        }
        if (slice_compare(ahi, bhi) < 0) {
            i++;
        } else {
            j++;
        }
    }
    key_ranges_release(a);
    *a = both;
    return rc;
}

/* -- one comparison --------------------------------------------------------------------------- */

/* enc(v) and after(v). */
static int encode_bounds(const cell *c, int last, buf *at, buf *after)
{
    buf_clear(at);
    buf_clear(after);
    keycode_append(at, c, last);
    buf_append(after, at->data, at->size);
    if (last) {
        buf_append_u8(after, 0);
    } else {
        keycode_successor(after, 0);
    }
    return buf_status(at) || buf_status(after) ? SQLITE_NOMEM : SQLITE_OK;
}

static int add_comparison(const kv_table *t, term_op op, const cell *c, int last, key_ranges *out)
{
    static const uint8_t lowest = KEY_NUMBER, highest = KEY_END;
    fkv_slice lo = fkv_slice_of(&lowest, 1), hi = fkv_slice_of(&highest, 1);
    uint8_t class_from = KEY_TEXT, class_to = KEY_BLOB;
    buf at = {0}, after = {0};
    int rc = encode_bounds(c, last, &at, &after);
    int text_unordered = c->type == SQLITE_TEXT && !t->utf8;

    if (op == TERM_EQ || op == TERM_IN || op == TERM_GE) lo = buf_slice(&at);
    if (op == TERM_GT) lo = buf_slice(&after);
    if (op == TERM_EQ || op == TERM_IN || op == TERM_LE) hi = buf_slice(&after);
    if (op == TERM_LT) hi = buf_slice(&at);
    if (text_unordered && (op == TERM_GT || op == TERM_GE)) lo = fkv_slice_of(&class_from, 1);
    if (text_unordered && (op == TERM_LT || op == TERM_LE)) hi = fkv_slice_of(&class_to, 1);
    if (rc == SQLITE_OK && slice_compare(lo, hi) < 0) {
        rc = key_ranges_add(out, lo, hi, op == TERM_EQ || op == TERM_IN);
    }
    buf_release(&at);
    buf_release(&after);
    return rc;
}

static int add_numeric_text(key_ranges *out)
{
    static const uint8_t lo[2] = {KEY_TEXT, NUMERIC_TEXT_FIRST},
                         hi[2] = {KEY_TEXT, NUMERIC_TEXT_END};

    return key_ranges_add(out, fkv_slice_of(lo, 2), fkv_slice_of(hi, 2), 0);
}

static int begins_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == 'I' || c == 'i';
}

/* Numbers that may read as this text: those within the 15 digits SQLite prints. (The text is
** asked for its value whatever follows the digits: a superset. sqlite3_value_numeric_type() would
** change the value, and a copy made by sqlite3_value_dup() must not be given to it: newer SQLite
** crashes.) */
static int add_numbers_near(sqlite3_value *value, int last, key_ranges *out)
{
    const uint8_t *text = sqlite3_value_text(value);
    int rc = text ? SQLITE_OK : SQLITE_NOMEM;

    if (text && begins_number(text[0])) {
        double middle = sqlite3_value_double(value);
        double slack = middle - middle == 0 ? (middle < 0 ? -middle : middle) * 1e-13 : 0;
        cell low = {.type = SQLITE_FLOAT, .real = middle - slack};
        cell high = {.type = SQLITE_FLOAT, .real = middle + slack};
        buf at = {0}, after = {0}, unused = {0};
        rc = encode_bounds(&low, last, &at, &unused);
        if (rc == SQLITE_OK) rc = encode_bounds(&high, last, &unused, &after);
        if (rc == SQLITE_OK) rc = key_ranges_add(out, buf_slice(&at), buf_slice(&after), 0);
        buf_release(&at);
        buf_release(&after);
        buf_release(&unused);
    }
    return rc;
}

/* What an approximate comparison may match besides; `type` is that of the value as it came. */
static int widen(const kv_column *c, term_op op, sqlite3_value *value, int type, int last,
                 key_ranges *out)
{
    int number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
    int equality = op == TERM_EQ || op == TERM_IN;

    if (c->affinity == AFFINITY_TEXT && number) {
        return equality ? add_numeric_text(out) : add_tags(out, KEY_NUMBER, KEY_END);
    }
    if (c->affinity >= AFFINITY_NUMERIC) return SQLITE_OK;
    /* Text in a numeric column: beside it, numeric text is a number and sorts below. */
    if (type == SQLITE_TEXT && (op == TERM_LT || op == TERM_LE)) return add_numeric_text(out);
    if (c->affinity != AFFINITY_BLOB) return SQLITE_OK;
    if (number && op != TERM_GT && op != TERM_GE) return add_numeric_text(out);
    if (type == SQLITE_TEXT && equality) return add_numbers_near(value, last, out);
    if (type == SQLITE_TEXT && (op == TERM_GT || op == TERM_GE)) {
        return add_tags(out, KEY_NUMBER, KEY_TEXT);
    }
    return SQLITE_OK;
}

/* -- patterns --------------------------------------------------------------------------------- */

/* Length of the UTF-8 character at p; 0 if it is ill-formed. LIKE and GLOB take all that follows a
** first byte into the character, however much it is, and read U+FFFE and U+FFFF as U+FFFD, as they
** do most of what is ill-formed: those are none here. */
static size_t character(const uint8_t *p, size_t size)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t c = p[0] & (0xffu >> (n + 1));

    if (p[0] < 0x80) return 1;
    if (p[0] > 0xf4 || n == 0 || n > size) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (n < size && (p[n] & 0xc0) == 0x80) return 0;
    if (c < least[n] || (c & 0xfffff800) == 0xd800 || (c >= 0xfffd && c <= 0xffff)) return 0;
    return n;
}

static size_t before_wildcard(fkv_slice pattern, term_op op)
{
    const char *stops = op == TERM_LIKE ? "%_" : "*?[";
    size_t n = 0;

    while (n < pattern.size && pattern.data[n] && !strchr(stops, pattern.data[n])) n++;
    return n;
}

/* Bytes of the pattern up to the first wildcard, or to what also matches other bytes. (A text in
** which a character is spelled in some ill-formed way, 0xe0 0x83 0xa9 for U+00E9, is not found by
** its prefix. Nor does SQLite find it in an index.) */
static size_t literal_prefix(fkv_slice pattern, term_op op)
{
    size_t n = 0, more;

    pattern.size = before_wildcard(pattern, op);
    while (n < pattern.size && (more = character(pattern.data + n, pattern.size - n)) > 0)
        n += more;
    return n;
}

/* Strings of one class that begin with the prefix; for LIKE in any mix of (ASCII) case. */
static int add_prefix(uint8_t tag, fkv_slice prefix, term_op op, key_ranges *out)
{
    buf lo = {0}, hi = {0};
    int rc;

    buf_append_u8(&lo, tag);
    buf_append_u8(&hi, tag);
    for (size_t i = 0; i < prefix.size; i++) {
        uint8_t c = prefix.data[i], upper = c, lower = c;
        if (op == TERM_LIKE && c >= 'a' && c <= 'z') upper = (uint8_t)(c - 'a' + 'A');
        if (op == TERM_LIKE && c >= 'A' && c <= 'Z') lower = (uint8_t)(c - 'A' + 'a');
        buf_append_u8(&lo, upper);
        buf_append_u8(&hi, lower);
    }
    keycode_successor(&hi, 0);
    rc = buf_status(&lo) || buf_status(&hi)
             ? SQLITE_NOMEM
             : key_ranges_add(out, buf_slice(&lo), buf_slice(&hi), 0);
    buf_release(&lo);
    buf_release(&hi);
    return rc;
}

static int add_pattern(const kv_table *t, const kv_column *c, term_op op, sqlite3_value *value,
                       key_ranges *out)
{
    int type = sqlite3_value_type(value);
    fkv_slice pattern;
    int rc;

    if (type == SQLITE_NULL) return SQLITE_OK; /* matches nothing */
    if (type == SQLITE_BLOB) return add_tags(out, KEY_NUMBER, KEY_END);
    pattern.data = sqlite3_value_text(value);
    if (!pattern.data) return SQLITE_NOMEM;
    pattern.size = (size_t)sqlite3_value_bytes(value);
    pattern.size = literal_prefix(pattern, op);
    if (pattern.size == 0) return add_tags(out, KEY_NUMBER, KEY_END);
    rc = add_prefix(KEY_TEXT, pattern, op, out);
    if (rc == SQLITE_OK && c->affinity != AFFINITY_TEXT && begins_number(pattern.data[0])) {
        rc = add_tags(out, KEY_NUMBER, KEY_TEXT);
    }
    if (rc == SQLITE_OK && t->blob_like) {
        rc = t->utf8 ? add_prefix(KEY_BLOB, pattern, op, out) : add_tags(out, KEY_BLOB, KEY_END);
    }
    return rc;
}

/* Is this what SQLite has made of the pattern: >= the beginning of it, or < that with the last byte
** one higher? */
static int is_bound_of(term_op op, fkv_slice bound, fkv_slice pattern)
{
    size_t last = bound.size - 1;

    if (bound.size == 0 || bound.size > pattern.size) return 0;
    if (memcmp(bound.data, pattern.data, last) != 0) return 0;
    return bound.data[last] == pattern.data[last] + (op == TERM_LT);
}

static fkv_slice text_of(sqlite3_value *value)
{
    const uint8_t *text = sqlite3_value_text(value);

    return fkv_slice_of(text, text ? (size_t)sqlite3_value_bytes(value) : 0);
}

/* Has SQLite made this term of a pattern on the same column? (In UTF-16 the bound need not come
** as it was made. There such a term is worth nothing.) */
static int is_of_pattern(const builder *b, const plan_term *term, sqlite3_value *value)
{
    const char *terms = b->terms;
    plan_term other;

    if (!term->beside_pattern || sqlite3_value_type(value) != SQLITE_TEXT) return 0;
    if (!b->t->utf8) return 1;
    for (int i = 0; i < b->argc && plan_next_term(&terms, &other); i++) {
        fkv_slice pattern;
        if (other.op != TERM_GLOB && other.op != TERM_LIKE) continue;
        if (sqlite3_value_type(b->argv[i]) != SQLITE_TEXT) continue;
        pattern = text_of(b->argv[i]);
        pattern.size = before_wildcard(pattern, other.op);
        if (is_bound_of(term->op, text_of(value), pattern)) return 1;
    }
    return 0;
}

/* -- terms, columns, ranges -------------------------------------------------------------------- */

static int add_value(builder *b, const plan_term *term, sqlite3_value *value, key_ranges *out)
{
    const kv_schema *s = &b->t->schema;
    const kv_column *c = &s->columns[s->keys[term->key_index]];
    int last = term->key_index == s->key_count - 1;
    int type = sqlite3_value_type(value);
    int number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
    int wide = term->approximate && (number || !sqlite3_value_frombind(value));
    int rc = SQLITE_OK;
    cell v;

    if (type == SQLITE_NULL) return SQLITE_OK; /* compares with nothing */
    if (wide) rc = widen(c, term->op, value, type, last, out);
    if (wide && term->op == TERM_EQ && out->count) b->out->widened = 1;
    if (rc == SQLITE_OK) rc = cell_from_value(value, affinity_for_comparison(c->affinity), &v);
    if (rc == SQLITE_OK) rc = add_comparison(b->t, term->op, &v, last, out);
    return rc;
}

static int add_in_list(builder *b, const plan_term *term, sqlite3_value *list, key_ranges *out)
{
    sqlite3_value *value = NULL;
    int rc = sqlite3_vtab_in_first(list, &value);

    while (rc == SQLITE_OK && value) {
        rc = add_value(b, term, value, out);
        if (rc == SQLITE_OK) rc = sqlite3_vtab_in_next(list, &value);
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Intersect a column's set with one term. */
static int apply_term(builder *b, const plan_term *term, sqlite3_value *value)
{
    const kv_schema *s = &b->t->schema;
    key_ranges spans = {0};
    int rc;

    if (is_of_pattern(b, term, value)) return SQLITE_OK;
    if (term->op == TERM_GLOB || term->op == TERM_LIKE) {
        rc = add_pattern(b->t, &s->columns[s->keys[term->key_index]], term->op, value, &spans);
    } else if (term->op == TERM_IN) {
        rc = add_in_list(b, term, value, &spans);
    } else {
        rc = add_value(b, term, value, &spans);
    }
    if (rc == SQLITE_OK) rc = normalise(&spans);
    if (rc == SQLITE_OK) {
        if (term->key_index < b->column_count) {
            rc = intersect(&b->columns[term->key_index], &spans);
        } else {
            b->columns[b->column_count++] = spans;
            return SQLITE_OK;
        }
    }
    key_ranges_release(&spans);
    return rc;
}

/* Emit the ranges behind `prefix` for key columns from `position` on. */
static int emit(builder *b, int position, buf *prefix)
{
    const key_ranges *set = &b->columns[position];
    size_t size = prefix->size;
    buf hi = {0};
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < set->count; i++) {
        fkv_slice lo = range_lo(set, i), end = range_hi(set, i);
        int point = set->items[i].point;
        buf_clear(&hi);
        buf_append(&hi, prefix->data, size);
        buf_append(&hi, end.data, end.size);
        buf_append(prefix, lo.data, lo.size);
        if (buf_status(&hi) || buf_status(prefix)) {
            rc = SQLITE_NOMEM;
        } else if (point && position + 1 < b->column_count) {
            rc = emit(b, position + 1, prefix);
        } else {
            rc = key_ranges_add(b->out, buf_slice(prefix), buf_slice(&hi),
                                point && position + 1 == b->t->schema.key_count);
        }
        prefix->size = size;
    }
    buf_release(&hi);
    return rc;
}

int keyrange_build(const kv_table *t, const char *terms, int argc, sqlite3_value **argv,
                   key_ranges *out)
{
    builder b = {.t = t, .terms = terms, .argv = argv, .argc = argc, .out = out};
    buf prefix = {0};
    plan_term term;
    kv_table_range all;
    int rc = SQLITE_OK;

    key_ranges_clear(out);
    if (!terms || !*terms) {
        kv_table_bounds(t, &all);
        return key_ranges_add(out, fkv_slice_of(all.from, sizeof all.from),
                              fkv_slice_of(all.to, sizeof all.to), 0);
    }
    b.columns = alloc_zero((size_t)t->schema.key_count * sizeof *b.columns);
    if (!b.columns) return SQLITE_NOMEM;
    for (int i = 0; rc == SQLITE_OK && i < argc && plan_next_term(&terms, &term); i++) {
        rc = apply_term(&b, &term, argv[i]);
    }
    buf_append(&prefix, t->prefix, SPACE_BYTES);
    if (rc == SQLITE_OK && b.column_count == 0) {
        b.column_count = 1;
        rc = add_tags(&b.columns[0], KEY_NUMBER, KEY_END);
    }
    if (rc == SQLITE_OK) rc = buf_status(&prefix) ? SQLITE_NOMEM : emit(&b, 0, &prefix);
    for (int i = 0; i < b.column_count; i++) key_ranges_release(&b.columns[i]);
    alloc_free(b.columns);
    buf_release(&prefix);
    return rc;
}
