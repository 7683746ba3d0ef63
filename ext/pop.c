#include "pop.h"

#include "call.h"
#include "errmap.h"
#include "keyarg.h"
#include "lookup.h"
#include "row.h"
#include "rowcode.h"

SQLITE_EXTENSION_INIT3

enum { RANGE_ROWS = 4096 };

typedef struct pop_call {
    kv_call base;
    sqlite3_value *prefix; /* NULL = all rows */
    int64_t wanted, taken;
    tvf_rows *rows;
    buf last; /* key that was taken */
    buf scratch;
} pop_call;

/* Copy the row that the walk is on. */
static int take_row(kv_table *t, pop_call *c, const fkv_cursor *walk)
{
    affinity a = t->schema.columns[t->schema.keys[0]].affinity;
    fkv_slice key = fkv_cursor_key(walk);
    row_reader row;
    cell k, v;
    int bad = key.size < SPACE_BYTES || rowcode_open(&row, fkv_cursor_value(walk), 1, 1);

    if (!bad) {
        key = fkv_slice_of(key.data + SPACE_BYTES, key.size - SPACE_BYTES);
        bad = keycode_take(&key, 1, a, rowcode_override(&row, 0), &c->scratch, &k);
    }
    if (!bad) bad = rowcode_read(&row, 0, &v);
    if (bad) {
        return errmap_say(&t->base, SQLITE_CORRUPT_VTAB, "fastkv: a row of table \"%s\" is damaged",
                          t->schema.table);
    }
    tvf_add(c->rows, &k);
    tvf_add(c->rows, &v);
    return SQLITE_OK;
}

/* The walk shows the rows as they were when it was made: deleting them does not disturb it. */
static fkv_status delete_each(const pop_call *c, kv_table *t, fkv_cursor *walk)
{
    fkv_status st = FKV_OK;

    fkv_cursor_first(walk);
    for (int64_t i = 0; st == FKV_OK && i < c->taken && fkv_cursor_valid(walk); i++) {
        st = row_delete(t, fkv_cursor_key(walk));
        fkv_cursor_next(walk);
    }
    return st ? st : fkv_cursor_status(walk);
}

/* Many rows go by one range tombstone, which the next walk jumps. But it costs every read of this
** store a comparison until it is flushed: few rows go one by one. */
static fkv_status delete_taken(pop_call *c, kv_table *t, fkv_cursor *walk, fkv_slice from)
{
    if (c->taken < RANGE_ROWS) return delete_each(c, t, walk);
    buf_append_u8(&c->last, 0); /* the least key above it */
    return buf_status(&c->last) ? FKV_NOMEM : row_delete_range(t, from, buf_slice(&c->last));
}

static int take_rows(kv_table *t, pop_call *c, fkv_cursor *walk)
{
    fkv_cursor_first(walk);
    while (fkv_cursor_valid(walk) && c->taken < c->wanted) {
        int rc = take_row(t, c, walk);
        if (rc) return rc;
        buf_set(&c->last, fkv_cursor_key(walk));
        c->taken++;
        fkv_cursor_next(walk);
    }
    return errmap_vtab(&t->base, fkv_cursor_status(walk));
}

/* Where to begin: behind what the pop before this one, in the same transaction, has taken. (The
** store knows the same of what is committed.) */
static fkv_slice begin_at(const conn *c, fkv_slice from)
{
    int known = c->popped_to.size > 0 && slice_equal(buf_slice(&c->popped_from), from);

    return known ? buf_slice(&c->popped_to) : from;
}

static int take_range(kv_table *t, pop_call *c, fkv_slice from, fkv_slice to)
{
    conn *owner = t->conn;
    fkv_slice at = begin_at(owner, from);
    fkv_cursor *walk = NULL;
    view *v = NULL;
    uint64_t mark = 0;
    fkv_status st = conn_writable(owner, t->schema.options.durability);
    int rc;

    if (st == FKV_OK) st = conn_view(owner, &v);
    if (st == FKV_OK) st = fkv_cursor_new(v->snapshot, conn_overlay(owner), &walk);
    if (st == FKV_OK) st = fkv_cursor_bounds(walk, at, to);
    if (st == FKV_OK) st = fkv_txn_mark(owner->txn, &mark);
    rc = errmap_vtab(&t->base, st);
    if (rc == SQLITE_OK) {
        rc = take_rows(t, c, walk);
        if (rc == SQLITE_OK) rc = errmap_vtab(&t->base, delete_taken(c, t, walk, from));
        if (rc) row_undo(t, mark); /* all of them or none */
        fkv_txn_release(owner->txn, mark);
    }
    if (rc == SQLITE_OK && c->taken) row_popped(owner, from, buf_slice(&c->last));
    fkv_cursor_free(walk);
    view_release(v);
    return rc;
}

static int pop(kv_table *t, kv_call *call)
{
    pop_call *c = (pop_call *)call;
    buf from = {0}, to = {0};
    int rc;

    if (t->schema.key_count != 1 || t->schema.row_count != 1) {
        return errmap_say(&t->base, SQLITE_ERROR,
                          "fastkv: fastkv_pop is for tables with one key column and one other");
    }
    c->taken = 0;
    buf_clear(&c->rows->cells);
    buf_clear(&c->rows->bytes);
    rc = c->prefix ? keyarg_prefix(t, c->prefix, &from, &to) : keyarg_all(t, &from, &to);
    if (rc == SQLITE_OK) rc = take_range(t, c, buf_slice(&from), buf_slice(&to));
    buf_release(&from);
    buf_release(&to);
    buf_release(&c->last);
    buf_release(&c->scratch);
    return rc;
}

static int is_empty(sqlite3_value *prefix)
{
    return sqlite3_value_type(prefix) == SQLITE_NULL || sqlite3_value_bytes(prefix) == 0;
}

static int fill(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    pop_call c = {.base.run = pop, .rows = rows};
    kv_table *t;
    int rc = lookup_table(owner, argv[0], &t, error);

    c.prefix = is_empty(argv[1]) ? NULL : argv[1];
    c.wanted = argv[2] ? sqlite3_value_int64(argv[2]) : 1;
    if (rc || c.wanted <= 0) return rc;
    return call_run(t, &c.base, error);
}

/* Dear: a join had better ask for its rows once, and not for each row of another table. */
const tvf_def pop_function = {.name = "fastkv_pop",
                              .declaration = "CREATE TABLE x(key, value, \"table\" HIDDEN, "
                                             "prefix HIDDEN, n HIDDEN)",
                              .columns = 2,
                              .required = 2,
                              .arguments = 3,
                              .missing = "a table's name and a prefix",
                              .cost = 1e6,
                              .fill = fill};
