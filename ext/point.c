#include "point.h"

#include <math.h>
#include <string.h>

#include "call.h"
#include "errmap.h"
#include "evict.h"
#include "expiry.h"
#include "listener.h"
#include "lookup.h"
#include "row.h"
#include "rowcode.h"

SQLITE_EXTENSION_INIT3

/* The row that is there, as far as it matters. */
typedef struct old_row {
    int found;
    cell value;
    int64_t expires_ms;
    fkv_value pin; /* holds the value's bytes */
} old_row;

/* A function call under way. */
typedef struct point_call {
    kv_call base;
    int key_count;
    sqlite3_value **keys;
    sqlite3_value *first, *second; /* by and ttl (NULL = not given); expected and new */
    cell result;
} point_call;

static const kv_column *value_column(const kv_table *t)
{
    int i = 0;

    while (t->schema.columns[i].key_index >= 0) i++;
    return &t->schema.columns[i];
}

/* -- reading ----------------------------------------------------------------------------------- */

/* Make t->key and t->overrides. SQLITE_DONE: some column is NULL. */
static int take_key(kv_table *t, sqlite3_value **keys)
{
    const kv_schema *s = &t->schema;

    for (int i = 0; i < s->key_count; i++) {
        affinity a = s->columns[s->keys[i]].affinity;
        int rc = cell_from_value(keys[i], a, &t->key_cells[i]);
        if (rc) return rc;
        if (t->key_cells[i].type == SQLITE_NULL) return SQLITE_DONE;
        t->overrides[i] = keycode_override(&t->key_cells[i], a);
    }
    kv_table_key(t, t->key_cells, &t->key);
    return buf_status(&t->key) ? SQLITE_NOMEM : SQLITE_OK;
}

static int damaged(kv_table *t)
{
    return errmap_say(&t->base, SQLITE_CORRUPT_VTAB, "fastkv: a row of table \"%s\" is damaged",
                      t->schema.table);
}

/* What the engine gave for t->key. The overrides of a row that is there are kept. */
static int take_row(kv_table *t, fkv_status st, old_row *old)
{
    row_reader row;

    if (st == FKV_NOTFOUND) return SQLITE_OK;
    if (st) return errmap_vtab(&t->base, st);
    old->found = 1;
    old->expires_ms = old->pin.expires_ms;
    if (rowcode_open(&row, old->pin.value, t->schema.key_count, t->schema.row_count)) {
        return damaged(t);
    }
    for (int i = 0; i < t->schema.key_count; i++) t->overrides[i] = rowcode_override(&row, i);
    return rowcode_read(&row, 0, &old->value) ? damaged(t) : SQLITE_OK;
}

/* As this connection's transaction sees it. REQUIRES: the host's snapshot is taken. */
static int read_in_transaction(kv_table *t, old_row *old)
{
    view *v = NULL;
    fkv_status st = conn_settle_predecessor(t->conn);

    if (st == FKV_OK) st = conn_view(t->conn, &v);
    if (st) return errmap_vtab(&t->base, st);
    st = fkv_get(v->snapshot, conn_overlay(t->conn), buf_slice(&t->key), &old->pin);
    view_release(v);
    return take_row(t, st, old);
}

/* As of now. Outside of any transaction there is no snapshot of the host to agree with. */
static int read_latest(kv_table *t, old_row *old)
{
    fkv_snapshot *now = NULL;
    fkv_status st = conn_decide(t->conn);

    if (st == FKV_OK) st = fkv_snapshot_new(t->conn->store, &now);
    if (st) return errmap_vtab(&t->base, st);
    st = fkv_get(now, NULL, buf_slice(&t->key), &old->pin);
    fkv_snapshot_release(now);
    return take_row(t, st, old);
}

/* BEGIN takes no snapshot yet: the first read does. */
static int take_host_snapshot(kv_table *t)
{
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema LIMIT 1", t->schema_name);
    int rc = sql ? sqlite3_exec(t->owner->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    if (rc == SQLITE_OK) return rc;
    return errmap_say(&t->base, rc, "fastkv: %s", sqlite3_errmsg(t->owner->db));
}

static int read_row(kv_table *t, old_row *old)
{
    sqlite3 *db = t->owner->db;

    /* A connection that knows its tables through functions alone has none yet. The statement that
    ** calls is not aborted, see listener.h. */
    if (!sqlite3_get_autocommit(db)) listener_make(t->owner, 1);
    if (sqlite3_txn_state(db, t->schema_name) == SQLITE_TXN_NONE) {
        int rc;
        if (sqlite3_get_autocommit(db)) return read_latest(t, old);
        rc = take_host_snapshot(t);
        if (rc) return rc;
    }
    return read_in_transaction(t, old);
}

/* -- writing ----------------------------------------------------------------------------------- */

/* Before a write: the key, the right to write, the row that is there. */
static int begin_write(kv_table *t, point_call *c, old_row *old)
{
    int rc;

    if (t->schema.key_count != c->key_count || t->schema.row_count != 1) {
        return SQLITE_SCHEMA; /* another table has come by this name meanwhile */
    }
    rc = take_key(t, c->keys);
    if (rc == SQLITE_DONE) {
        return errmap_say(&t->base, SQLITE_CONSTRAINT_NOTNULL, "NOT NULL constraint failed: %s.%s",
                          t->schema.table, t->schema.columns[t->schema.keys[0]].name);
    }
    if (rc == SQLITE_OK) {
        rc = errmap_vtab(&t->base, conn_writable(t->conn, t->schema.options.durability));
    }
    return rc ? rc : read_in_transaction(t, old);
}

/* Put the value under t->key. */
static int write_row(kv_table *t, const cell *value, int64_t expires_ms)
{
    buf_clear(&t->row);
    rowcode_begin(&t->row, t->overrides, t->schema.key_count);
    rowcode_append(&t->row, value, 1);
    if (buf_status(&t->row)) return SQLITE_NOMEM;
    return errmap_vtab(&t->base, row_put(t, expires_ms));
}

/* -- fastkv_incr ------------------------------------------------------------------------------- */

static size_t skip_digits(fkv_slice text, size_t at)
{
    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9') at++;
    return at;
}

static size_t skip_sign(fkv_slice text, size_t at)
{
    return at + (at < text.size && (text.data[at] == '-' || text.data[at] == '+'));
}

/* Text that is a number through and through, as write_number() may have left it. */
static int is_number(fkv_slice text)
{
    size_t from = skip_sign(text, 0), i = skip_digits(text, from), digits = i - from;

    if (i < text.size && text.data[i] == '.') {
        from = i + 1;
        i = skip_digits(text, from);
        digits += i - from;
    }
    if (digits && i < text.size && (text.data[i] | 0x20) == 'e') {
        from = skip_sign(text, i + 1);
        i = skip_digits(text, from);
        digits = i - from;
    }
    return digits && i == text.size;
}

/* The number that a text is; SQLite's own reading. */
static int parse_number(kv_table *t, cell *c)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(t->owner->db, "SELECT CAST(?1 AS NUMERIC)", -1, &s, NULL);

    if (rc == SQLITE_OK) {
        rc =
            sqlite3_bind_text(s, 1, (const char *)c->bytes.data, (int)c->bytes.size, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        c->type = sqlite3_column_type(s, 0);
        c->integer = sqlite3_column_int64(s, 0);
        c->real = sqlite3_column_double(s, 0);
    }
    (void)sqlite3_finalize(s);
    return rc;
}

static int not_a_number(kv_table *t)
{
    return errmap_say(&t->base, SQLITE_MISMATCH,
                      "fastkv: fastkv_incr adds numbers, and this is none");
}

static int take_number(kv_table *t, cell *c)
{
    if (c->type == SQLITE_INTEGER || c->type == SQLITE_FLOAT) return SQLITE_OK;
    if (c->type == SQLITE_TEXT && is_number(c->bytes)) return parse_number(t, c);
    return not_a_number(t);
}

/* As SQLite adds: integers that overflow become REAL. */
static void add(cell *to, const cell *by)
{
    int64_t sum;

    if (to->type == SQLITE_INTEGER && by->type == SQLITE_INTEGER &&
        !__builtin_add_overflow(to->integer, by->integer, &sum)) {
        to->integer = sum;
        return;
    }
    to->real = (to->type == SQLITE_INTEGER ? (double)to->integer : to->real) +
               (by->type == SQLITE_INTEGER ? (double)by->integer : by->real);
    to->type = SQLITE_FLOAT;
}

/* Store a number in the column: as its affinity will have it. */
static int write_number(kv_table *t, const cell *number, int64_t expires_ms)
{
    affinity a = value_column(t)->affinity;
    char text[64];
    cell v = *number;

    cell_apply_numeric(&v, a);
    if (a == AFFINITY_TEXT) {
        (void)(v.type == SQLITE_INTEGER ? sqlite3_snprintf(sizeof text, text, "%lld", v.integer)
                                        : sqlite3_snprintf(sizeof text, text, "%!.15g", v.real));
        v.type = SQLITE_TEXT;
        v.bytes = fkv_slice_of(text, strlen(text));
    }
    return write_row(t, &v, expires_ms);
}

static int incr(kv_table *t, kv_call *call)
{
    point_call *c = (point_call *)call;
    old_row old = {.value.type = SQLITE_NULL};
    int64_t expires_ms = EXPIRY_NEVER;
    cell by = {0};
    int rc = begin_write(t, c, &old);

    if (old.value.type == SQLITE_NULL) old.value = (cell){.type = SQLITE_INTEGER};
    if (rc == SQLITE_OK) rc = cell_from_value(c->first, AFFINITY_NUMERIC, &by);
    if (rc == SQLITE_OK) rc = take_number(t, &by);
    if (rc == SQLITE_OK) rc = take_number(t, &old.value);
    if (rc == SQLITE_OK) {
        add(&old.value, &by);
        /* Infinity less infinity; SQLite has no such value, and it could never be counted on. */
        if (old.value.type == SQLITE_FLOAT && isnan(old.value.real)) rc = not_a_number(t);
    }
    if (rc == SQLITE_OK) {
        expires_ms = old.expires_ms;
        if (!old.found) rc = expiry_of_new(t, c->second, &expires_ms);
    }
    if (rc == SQLITE_OK) rc = write_number(t, &old.value, expires_ms);
    c->result = old.value;
    fkv_value_release(&old.pin);
    return rc;
}

/* -- fastkv_cas -------------------------------------------------------------------------------- */

/* a IS b, for values that are not NULL. */
static int same(const cell *a, const cell *b)
{
    int numbers = (a->type == SQLITE_INTEGER || a->type == SQLITE_FLOAT) &&
                  (b->type == SQLITE_INTEGER || b->type == SQLITE_FLOAT);

    if (numbers && a->type != b->type) {
        cell x = *a, y = *b; /* a REAL that is a whole number, as the INTEGER it equals */
        cell_apply_numeric(&x, AFFINITY_NUMERIC);
        cell_apply_numeric(&y, AFFINITY_NUMERIC);
        return x.type == y.type && x.integer == y.integer;
    }
    if (a->type != b->type) return 0;
    if (a->type == SQLITE_INTEGER) return a->integer == b->integer;
    if (a->type == SQLITE_FLOAT) return a->real == b->real;
    return slice_equal(a->bytes, b->bytes);
}

static int is_expected(const old_row *old, const cell *expected)
{
    if (expected->type == SQLITE_NULL) return !old->found;
    return old->found && old->value.type != SQLITE_NULL && same(&old->value, expected);
}

static int cas(kv_table *t, kv_call *call)
{
    point_call *c = (point_call *)call;
    affinity a = value_column(t)->affinity;
    old_row old = {.value.type = SQLITE_NULL};
    int64_t expires_ms = EXPIRY_NEVER;
    cell expected = {0}, fresh = {0};
    int rc = begin_write(t, c, &old);

    c->result = (cell){.type = SQLITE_INTEGER};
    if (rc == SQLITE_OK) rc = cell_from_value(c->first, a, &expected);
    if (rc == SQLITE_OK) rc = cell_from_value(c->second, a, &fresh);
    if (rc || !is_expected(&old, &expected)) goto done;
    c->result.integer = 1;
    if (fresh.type == SQLITE_NULL) {
        rc = errmap_vtab(&t->base, row_delete(t, buf_slice(&t->key)));
        goto done;
    }
    expires_ms = old.expires_ms;
    if (!old.found) rc = expiry_of_new(t, NULL, &expires_ms);
    if (rc == SQLITE_OK) rc = write_row(t, &fresh, expires_ms);
done:
    fkv_value_release(&old.pin);
    return rc;
}

/* -- as SQL functions -------------------------------------------------------------------------- */

static void fail(sqlite3_context *context, int rc, char *error)
{
    if (error) sqlite3_result_error(context, error, -1);
    sqlite3_result_error_code(context, rc);
    sqlite3_free(error);
}

/* The table, if it and the arguments fit: `least` to `most` of them follow the key. NULL: the
** function has failed, and says so. */
static kv_table *begin(sqlite3_context *context, int argc, sqlite3_value **argv, const char *usage,
                       int least, int most)
{
    kv_table *t = NULL;
    char *error = NULL;
    int rc = SQLITE_ERROR, rest;

    if (argc < 2) {
        fail(context, rc, sqlite3_mprintf("fastkv: the arguments are %s", usage));
        return NULL;
    }
    rc = lookup_table(sqlite3_user_data(context), argv[0], &t, &error);
    if (rc) {
        fail(context, rc, error);
        return NULL;
    }
    rest = argc - 1 - t->schema.key_count;
    if (t->schema.row_count != 1) {
        error = sqlite3_mprintf("fastkv: %s is for tables with one column outside the key; \"%s\" "
                                "has %d",
                                usage, t->schema.table, t->schema.row_count);
    } else if (rest < least || rest > most) {
        error = sqlite3_mprintf("fastkv: the arguments are %s, and the key of \"%s\" has %d "
                                "column%s",
                                usage, t->schema.table, t->schema.key_count,
                                t->schema.key_count == 1 ? "" : "s");
    }
    if (!error) return t;
    fail(context, SQLITE_ERROR, error);
    return NULL;
}

void point_get(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    kv_table *t = begin(context, argc, argv, "fastkv_get(table, key…)", 0, 0);
    old_row old = {.value.type = SQLITE_NULL};
    int rc;

    if (!t) return;
    rc = take_key(t, argv + 1);
    if (rc == SQLITE_DONE) return; /* NULL is no key */
    if (rc == SQLITE_OK) rc = read_row(t, &old);
    if (rc == SQLITE_OK && t->limit) evict_looked_up(t, buf_slice(&t->key), old.found);
    if (rc) {
        fail(context, rc, t->base.zErrMsg ? sqlite3_mprintf("%s", t->base.zErrMsg) : NULL);
    } else {
        cell_result(context, &old.value);
    }
    fkv_value_release(&old.pin);
}

static void write_point(sqlite3_context *context, kv_table *t, point_call *c)
{
    char *error = NULL;
    int rc = call_run(t, &c->base, &error);

    if (rc) {
        fail(context, rc, error);
    } else {
        cell_result(context, &c->result);
    }
}

void point_incr(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    kv_table *t = begin(context, argc, argv, "fastkv_incr(table, key…, by [, ttl])", 1, 2);
    point_call c = {.base.run = incr, .keys = argv + 1};

    if (!t) return;
    c.key_count = t->schema.key_count;
    c.first = argv[1 + c.key_count];
    if (argc == 3 + c.key_count) c.second = argv[argc - 1];
    write_point(context, t, &c);
}

void point_cas(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    kv_table *t = begin(context, argc, argv, "fastkv_cas(table, key…, expected, new)", 2, 2);
    point_call c = {.base.run = cas, .keys = argv + 1};

    if (!t) return;
    c.key_count = t->schema.key_count;
    c.first = argv[argc - 2];
    c.second = argv[argc - 1];
    write_point(context, t, &c);
}
