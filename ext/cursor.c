/*
** cursor.c -- walking a plan's key ranges
**
** xFilter makes the ranges; the cursor takes them one after another, last first when the order is
** descending. A range that is one whole key is an fkv_get, any other a walk of an fkv_cursor
** within bounds. A list of keys over the open transaction's own writes is walked as well: a walk
** keeps the writes as they were, so that the list can be finished after COMMIT or ROLLBACK.
** Nothing is decoded before xColumn asks for it, so count(*) reads keys only.
**
** What a row's bytes rest on. A walk's slices hold until it moves; its writes are those of the
** moment it was made. A value from fkv_get is pinned by itself, except one that comes from the
** open transaction's own writes: that pin ends with the transaction, while SQLite may go on
** asking this cursor for columns. Such a value is copied.
**
** A query for distinct rows may need only the first of each group (plan.c, "Distinct"): after a
** few steps inside a group the walk seeks to the next.
**
** SQLite opens and closes a cursor for every execution of a statement: closed ones are kept by
** the conn, with their memory.
*/
#include "cursor.h"

#include <string.h>

#include "base/alloc.h"
#include "errmap.h"
#include "evict.h"
#include "expiry.h"
#include "gather.h"
#include "keyrange.h"
#include "rowcode.h"

SQLITE_EXTENSION_INIT3

#define IDLE_MAX 8
#define DISTINCT_STEPS 4

struct kv_cursor {
    sqlite3_vtab_cursor base;
    kv_cursor *next_idle;
    conn *conn;
    view *view;         /* what it reads; NULL before xFilter */
    uint8_t positioned; /* counted in conn->positioned */
    uint8_t eof;
    uint8_t descending;
    uint8_t walking; /* on a row of walk, not of got */
    uint8_t row_open;
    uint8_t walk_made;   /* for this execution: it stays as it is */
    uint8_t points_walk; /* points are looked up with it */
    int distinct; /* of rows that agree in so many leading key columns one is enough; 0 = none */
    key_ranges ranges;
    size_t left; /* ranges not yet begun */
    fkv_cursor *walk;
    uint64_t walk_epoch; /* conn->epoch when walk was made */
    fkv_value got;
    int64_t got_expires_ms;
    buf copy;    /* of a value that got could not keep */
    buf scratch; /* unescaped key text */
    buf prefix;  /* the distinct columns of the row before */
    fkv_slice key, value;
    row_reader row;
};

static kv_cursor *cursor_of(sqlite3_vtab_cursor *cursor)
{
    return (kv_cursor *)cursor;
}

static kv_table *table_of(const kv_cursor *c)
{
    return (kv_table *)c->base.pVtab;
}

static int engine_error(kv_cursor *c, fkv_status st)
{
    c->eof = 1;
    return errmap_vtab(c->base.pVtab, st);
}

static void cursor_free(kv_cursor *c)
{
    key_ranges_release(&c->ranges);
    buf_release(&c->copy);
    buf_release(&c->scratch);
    buf_release(&c->prefix);
    alloc_free(c);
}

void cursor_free_idle(conn *c)
{
    while (c->idle) {
        kv_cursor *first = c->idle;
        c->idle = first->next_idle;
        cursor_free(first);
    }
    c->idle_count = 0;
}

int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    conn *owner = ((kv_table *)vtab)->conn;
    kv_cursor *c = owner->idle;

    if (c) {
        owner->idle = c->next_idle;
        owner->idle_count--;
    } else {
        c = alloc_zero(sizeof *c);
        if (!c) return SQLITE_NOMEM;
    }
    c->conn = owner;
    c->eof = 1;
    if (owner->positioned == 0) expiry_forget_reads((kv_table *)vtab);
    *out = &c->base;
    return SQLITE_OK;
}

static void drop_walk(kv_cursor *c)
{
    fkv_cursor_free(c->walk);
    c->walk = NULL;
}

int cursor_close(sqlite3_vtab_cursor *cursor)
{
    kv_cursor *c = cursor_of(cursor);
    conn *owner = c->conn;

    fkv_value_release(&c->got);
    memset(&c->got, 0, sizeof c->got);
    drop_walk(c);
    view_release(c->view);
    c->view = NULL;
    if (c->positioned) owner->positioned--;
    c->positioned = 0;
    if (owner->positioned == 0) conn_rest(owner);
    if (owner->idle_count == IDLE_MAX) {
        cursor_free(c);
        return SQLITE_OK;
    }
    c->next_idle = owner->idle;
    owner->idle = c;
    owner->idle_count++;
    return SQLITE_OK;
}

/* Show a row. */
static void stand(kv_cursor *c, fkv_slice key, fkv_slice value, int walking)
{
    c->key = key;
    c->value = value;
    c->walking = (uint8_t)walking;
    c->row_open = 0;
}

/* Look up the one key of a point. *found = 0 if it is not there. */
static fkv_status get_point(kv_cursor *c, fkv_slice key, int *found)
{
    fkv_txn *overlay = c->ranges.count > 1 ? NULL : conn_overlay(c->conn);
    fkv_status st;

    *found = 0;
    st = fkv_get(c->view->snapshot, overlay, key, &c->got);
    if (table_of(c)->limit && (st == FKV_OK || st == FKV_NOTFOUND)) {
        evict_looked_up(table_of(c), key, st == FKV_OK);
    }
    if (st == FKV_NOTFOUND) return FKV_OK;
    if (st) return st;
    *found = 1;
    c->got_expires_ms = c->got.expires_ms;
    if (!overlay) {
        stand(c, key, c->got.value, 0);
        return FKV_OK;
    }
    buf_set(&c->copy, c->got.value);
    fkv_value_release(&c->got);
    memset(&c->got, 0, sizeof c->got);
    stand(c, key, buf_slice(&c->copy), 0);
    return buf_status(&c->copy);
}

/* A walk over what is visible now, once for each execution. */
static fkv_status make_walk(kv_cursor *c)
{
    if (c->walk_made || (c->walk && c->walk_epoch == c->conn->epoch)) {
        c->walk_made = 1;
        return FKV_OK;
    }
    drop_walk(c);
    c->walk_made = 1;
    c->walk_epoch = c->conn->epoch;
    return fkv_cursor_new(c->view->snapshot, conn_overlay(c->conn), &c->walk);
}

/* After a move of the walk: is there a row? */
static fkv_status look(kv_cursor *c, int *found)
{
    *found = fkv_cursor_valid(c->walk);
    if (!*found) return fkv_cursor_status(c->walk);
    stand(c, fkv_cursor_key(c->walk), fkv_cursor_value(c->walk), 1);
    return FKV_OK;
}

static fkv_status walk_to_point(kv_cursor *c, fkv_slice key, int *found)
{
    fkv_status st;

    buf_set(&c->copy, key);
    buf_append_u8(&c->copy, 0); /* the least key above it */
    if (buf_status(&c->copy)) return FKV_NOMEM;
    st = fkv_cursor_bounds(c->walk, key, buf_slice(&c->copy));
    if (st) return st;
    fkv_cursor_first(c->walk);
    return look(c, found);
}

static fkv_status begin_range(kv_cursor *c, size_t i, int *found)
{
    fkv_status st;

    *found = 0;
    if (c->ranges.items[i].point) {
        if (!c->points_walk) return get_point(c, range_lo(&c->ranges, i), found);
        return walk_to_point(c, range_lo(&c->ranges, i), found);
    }
    st = make_walk(c);
    if (st == FKV_OK) {
        st = fkv_cursor_bounds(c->walk, range_lo(&c->ranges, i), range_hi(&c->ranges, i));
    }
    if (st) return st;
    if (c->descending) {
        fkv_cursor_last(c->walk);
    } else {
        fkv_cursor_first(c->walk);
    }
    return look(c, found);
}

/* Go to the first row of the ranges that are left, or to the end. */
static int begin_ranges(kv_cursor *c)
{
    int found = 0;

    while (!found && c->left) {
        size_t i = c->descending ? c->left - 1 : c->ranges.count - c->left;
        fkv_status st;
        c->left--;
        st = begin_range(c, i, &found);
        if (st) return engine_error(c, st);
    }
    c->eof = (uint8_t)!found;
    return SQLITE_OK;
}

static void step(kv_cursor *c)
{
    if (c->descending) {
        fkv_cursor_prev(c->walk);
    } else {
        fkv_cursor_next(c->walk);
    }
}

static int has_prefix(const kv_cursor *c)
{
    fkv_slice key = fkv_cursor_key(c->walk);

    return key.size >= c->prefix.size && memcmp(key.data, c->prefix.data, c->prefix.size) == 0;
}

/* Leave the rows that agree with this one in the distinct columns. A few steps first: a seek is
** worth it only where there are many. */
static fkv_status step_distinct(kv_cursor *c)
{
    fkv_slice rest = fkv_slice_of(c->key.data + SPACE_BYTES, c->key.size - SPACE_BYTES);

    for (int i = 0; i < c->distinct; i++) {
        if (keycode_skip(&rest, 0)) return FKV_OK; /* damaged: xColumn says so */
    }
    buf_set(&c->prefix, fkv_slice_of(c->key.data, (size_t)(rest.data - c->key.data)));
    if (buf_status(&c->prefix)) return FKV_NOMEM;
    for (int steps = 0;; steps++) {
        step(c);
        if (!fkv_cursor_valid(c->walk) || !has_prefix(c)) return FKV_OK;
        if (steps == DISTINCT_STEPS && !c->descending) break;
    }
    keycode_successor(&c->prefix, 0);
    fkv_cursor_seek(c->walk, buf_slice(&c->prefix));
    return FKV_OK;
}

int cursor_next(sqlite3_vtab_cursor *cursor)
{
    kv_cursor *c = cursor_of(cursor);

    if (c->walking) {
        fkv_status st = FKV_OK;
        int found;
        if (c->distinct && c->key.size > SPACE_BYTES) {
            st = step_distinct(c);
        } else {
            step(c);
        }
        if (st == FKV_OK) st = look(c, &found);
        if (st) return engine_error(c, st);
        if (found) return SQLITE_OK;
    } else {
        fkv_value_release(&c->got);
        memset(&c->got, 0, sizeof c->got);
    }
    return begin_ranges(c);
}

int cursor_eof(sqlite3_vtab_cursor *cursor)
{
    return cursor_of(cursor)->eof;
}

/* Replace ranges that are wider than the order allows by the keys in them, put in order. */
static int gather_ranges(kv_cursor *c, const char *terms)
{
    const char *error = NULL;
    fkv_status st = make_walk(c);
    int rc;

    if (st) return engine_error(c, st);
    rc = gather(table_of(c), terms, c->walk, &c->ranges, &error);
    if (rc == SQLITE_TOOBIG) return errmap_say(c->base.pVtab, rc, "%s", error);
    if (rc == SQLITE_ERROR) return engine_error(c, fkv_cursor_status(c->walk));
    return rc;
}

/* The view for this execution: one for all cursors of a statement (conn.c). */
static fkv_status take_view(kv_cursor *c)
{
    view *v;
    fkv_status st = conn_settle_predecessor(c->conn);

    if (st == FKV_OK) st = conn_view(c->conn, &v);
    if (st) return st;
    if (v != c->view) drop_walk(c);
    view_release(c->view);
    c->view = v;
    if (!c->positioned) {
        c->positioned = 1;
        c->conn->positioned++;
    }
    return FKV_OK;
}

/* The key of a PLAN_POINT, if no widening is due. *done = 0: build it the general way. */
static int filter_point(kv_cursor *c, int plan, sqlite3_value *value, int *done)
{
    kv_table *t = table_of(c);
    affinity a = t->schema.columns[t->schema.keys[0]].affinity;
    int type = sqlite3_value_type(value);
    key_ranges *r = &c->ranges;
    cell v;
    int rc;

    *done = 0;
    if (plan & PLAN_APPROXIMATE && !(a == AFFINITY_TEXT && type == SQLITE_TEXT) &&
        type != SQLITE_BLOB && !(type == SQLITE_TEXT && sqlite3_value_frombind(value))) {
        return SQLITE_OK;
    }
    if (type == SQLITE_NULL || r->capacity == 0) return SQLITE_OK;
    rc = cell_from_value(value, affinity_for_comparison(a), &v);
    if (rc) return rc;
    kv_table_key(t, &v, &r->bytes);
    r->items[0] = (key_range){.lo_size = r->bytes.size, .point = 1};
    r->count = 1;
    *done = 1;
    return buf_status(&r->bytes) ? SQLITE_NOMEM : SQLITE_OK;
}

int cursor_filter(sqlite3_vtab_cursor *cursor, int plan, const char *terms, int argc,
                  sqlite3_value **argv)
{
    kv_cursor *c = cursor_of(cursor);
    kv_table *t = table_of(c);
    int done = 0;
    int rc = kv_table_ready(t);
    fkv_status st;

    c->eof = 1;
    c->walking = 0;
    c->left = 0;
    c->walk_made = 0;
    fkv_value_release(&c->got);
    memset(&c->got, 0, sizeof c->got);
    if (rc) return rc;
    st = take_view(c);
    if (st) return engine_error(c, st);
    if (plan & PLAN_POINT) rc = filter_point(c, plan, argv[0], &done);
    if (rc == SQLITE_OK && !done) {
        rc = keyrange_build(t, terms, argc, argv, &c->ranges);
        if (rc == SQLITE_OK && plan & PLAN_GATHER && c->ranges.widened)
            rc = gather_ranges(c, terms);
    }
    if (rc) return rc;
    c->descending = (plan & PLAN_DESCENDING) != 0;
    c->distinct = plan >> PLAN_DISTINCT_SHIFT;
    c->left = c->ranges.count;
    c->points_walk = 0;
    if (c->left > 1 && conn_overlay(c->conn)) {
        st = make_walk(c);
        if (st) return engine_error(c, st);
        c->points_walk = 1;
    }
    return begin_ranges(c);
}

static int damaged(kv_cursor *c)
{
    return errmap_say(c->base.pVtab, SQLITE_CORRUPT_VTAB,
                      "fastkv: a row of table \"%s\" is damaged", table_of(c)->schema.table);
}

static int open_row(kv_cursor *c)
{
    const kv_schema *s = &table_of(c)->schema;

    if (c->row_open) return SQLITE_OK;
    if (rowcode_open(&c->row, c->value, s->key_count, s->row_count)) return damaged(c);
    c->row_open = 1;
    return SQLITE_OK;
}

static int key_column(kv_cursor *c, sqlite3_context *context, const kv_column *wanted)
{
    const kv_schema *s = &table_of(c)->schema;
    int last = wanted->key_index == s->key_count - 1;
    key_override override = OVERRIDE_NONE;
    fkv_slice rest;
    cell v;

    if (c->key.size < SPACE_BYTES) return damaged(c);
    if (s->key_count == 1 && c->key.size > SPACE_BYTES &&
        (c->key.data[SPACE_BYTES] == KEY_TEXT || c->key.data[SPACE_BYTES] == KEY_BLOB)) {
        v.type = c->key.data[SPACE_BYTES] == KEY_TEXT ? SQLITE_TEXT : SQLITE_BLOB;
        v.bytes = fkv_slice_of(c->key.data + SPACE_BYTES + 1, c->key.size - SPACE_BYTES - 1);
        cell_result(context, &v);
        return SQLITE_OK;
    }
    rest = fkv_slice_of(c->key.data + SPACE_BYTES, c->key.size - SPACE_BYTES);
    for (int i = 0; i < wanted->key_index; i++) {
        if (keycode_skip(&rest, 0)) return damaged(c);
    }
    if (rest.size && rest.data[0] == KEY_NUMBER) {
        int rc = open_row(c);
        if (rc) return rc;
        override = rowcode_override(&c->row, wanted->key_index);
    }
    buf_clear(&c->scratch);
    if (keycode_take(&rest, last, wanted->affinity, override, &c->scratch, &v)) {
        return buf_status(&c->scratch) ? SQLITE_NOMEM : damaged(c);
    }
    cell_result(context, &v);
    return SQLITE_OK;
}

static int row_column(kv_cursor *c, sqlite3_context *context, int row_index)
{
    cell v;
    int rc;

    if (rowcode_only(c->value, table_of(c)->schema.row_count, &v)) {
        cell_result(context, &v);
        return SQLITE_OK;
    }
    if (c->row_open && c->row.next > row_index) c->row_open = 0;
    rc = open_row(c);
    if (rc) return rc;
    if (rowcode_read(&c->row, row_index, &v)) return damaged(c);
    cell_result(context, &v);
    return SQLITE_OK;
}

int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int index)
{
    kv_cursor *c = cursor_of(cursor);
    const kv_schema *s = &table_of(c)->schema;

    if (index < s->column_count) {
        const kv_column *wanted = &s->columns[index];
        if (wanted->key_index >= 0) return key_column(c, context, wanted);
        /* An UPDATE that leaves the column alone takes it from the old row itself. Key columns are
        ** always given: they carry the value's own type. */
        if (sqlite3_vtab_nochange(context)) return SQLITE_OK;
        return row_column(c, context, wanted->row_index);
    }
    if (index == schema_key_column(s) && c->key.size >= SPACE_BYTES) {
        sqlite3_result_blob64(context, c->key.data + SPACE_BYTES, c->key.size - SPACE_BYTES,
                              SQLITE_TRANSIENT);
    } else if (index >= schema_ttl_column(s)) {
        expiry_result(table_of(c), context, index,
                      c->walking ? fkv_cursor_expires_ms(c->walk) : c->got_expires_ms);
    }
    return SQLITE_OK;
}

/* Never asked of a WITHOUT ROWID table. */
int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    (void)cursor;
    *out = 0;
    return SQLITE_OK;
}
