/*
** update.c -- writing rows
**
** Everything that can be refused is checked before anything is written: SQLite skips a row (OR
** IGNORE) or keeps the rows before it (OR FAIL) on the word of a SQLITE_CONSTRAINT result, and
** undoes nothing then.
**
** INSERT reads the key first (one filter-guarded lookup), unless the conflict mode is REPLACE: then
** it is a blind put. UPDATE reads the old row only if some column keeps its value, and the new key
** only if the key changes.
**
** DEFAULT. SQLite does not know a virtual table's defaults and gives NULL for a column that the
** INSERT left out. A NULL from a bound parameter is told apart (sqlite3_value_frombind) and stays
** NULL; any other NULL becomes the default. So an explicit NULL literal for a column with a DEFAULT
** is the one thing that differs from a native table.
*/
#include "update.h"
#include "base/sabotage.h"

#include <string.h>

#include "command.h"
#include "errmap.h"
#include "expiry.h"
#include "row.h"
#include "rowcode.h"
#include "setting.h"
#include "table.h"

SQLITE_EXTENSION_INIT3

/* argv begins with the old and the new primary key. */
#define FIRST_COLUMN 2
#define NULL_REFUSED (-1) /* of take_column: NOT NULL */

/* The result for a violated constraint. With OR IGNORE the text must stay unset: the statement goes
** on and would carry it along. */
static int violated(kv_table *t, int code, const char *what, const char *columns)
{
    if (sqlite3_vtab_on_conflict(t->owner->db) == SQLITE_IGNORE) return SQLITE_CONSTRAINT;
    return errmap_say(&t->base, code, "%s constraint failed: %s", what, columns);
}

static int not_null_violated(kv_table *t, const kv_column *c)
{
    char *name = sqlite3_mprintf("%s.%s", t->schema.table, c->name);
    int rc = name ? violated(t, SQLITE_CONSTRAINT_NOTNULL, "NOT NULL", name) : SQLITE_NOMEM;

    sqlite3_free(name);
    return rc;
}

static int unique_violated(kv_table *t)
{
    sqlite3_str *names = sqlite3_str_new(NULL);
    char *text;
    int rc;

    for (int i = 0; i < t->schema.key_count; i++) {
        sqlite3_str_appendf(names, "%s%s.%s", i ? ", " : "", t->schema.table,
                            t->schema.columns[t->schema.keys[i]].name);
    }
    text = sqlite3_str_finish(names);
    rc = text ? violated(t, SQLITE_CONSTRAINT_PRIMARYKEY, "UNIQUE", text) : SQLITE_NOMEM;
    sqlite3_free(text);
    return rc;
}

/* The engine key that argv[0] stands for: the key column's value, or the hidden key. */
static int old_key(kv_table *t, sqlite3_value *value, buf *out)
{
    const kv_schema *s = &t->schema;
    cell v;
    int composite = s->key_count > 1;
    int rc =
        cell_from_value(value, composite ? AFFINITY_BLOB : s->columns[s->keys[0]].affinity, &v);

    if (rc) return rc;
    if (composite) {
        buf_clear(out);
        buf_append(out, t->prefix, SPACE_BYTES);
        buf_append(out, v.bytes.data, v.bytes.size);
    } else {
        kv_table_key(t, &v, out);
    }
    return buf_status(out) ? SQLITE_NOMEM : SQLITE_OK;
}

/* One column's new value into t->cells, with default and affinity. A result, or NULL_REFUSED. */
static int take_column(kv_table *t, int i, sqlite3_value *value, int insert)
{
    const kv_column *c = &t->schema.columns[i];
    int null = sqlite3_value_type(value) == SQLITE_NULL;
    sqlite3_value *usual = t->defaults[i];
    affinity a = c->affinity;
    int rc;

    if (null && usual) {
        /* OR REPLACE puts the default where NOT NULL forbids NULL, in any statement. */
        int replace = c->not_null && sqlite3_vtab_on_conflict(t->owner->db) == SQLITE_REPLACE;
        if ((insert && !sqlite3_value_frombind(value)) || replace) value = usual;
    }
    /* (A default that is still text stays text, and is a copy: see table.c.) */
    if (value == usual && sqlite3_value_type(value) == SQLITE_TEXT) a = AFFINITY_TEXT;
    rc = cell_from_value(value, a, &t->cells[i]);
    if (rc == SQLITE_OK && c->not_null && t->cells[i].type == SQLITE_NULL) return NULL_REFUSED;
    return rc;
}

/* Take all columns, but those of an UPDATE that keep their value (*unchanged is set then). */
static int take_columns(kv_table *t, sqlite3_value **argv, int insert, int *unchanged)
{
    const kv_schema *s = &t->schema;
    int replace = sqlite3_vtab_on_conflict(t->owner->db) == SQLITE_REPLACE;
    int refused = -1;

    for (int i = 0; i < s->column_count; i++) {
        int rc;
        if (!insert && s->columns[i].key_index < 0 && sqlite3_value_nochange(argv[i])) {
            *unchanged = 1;
            continue;
        }
        rc = take_column(t, i, argv[i], insert);
        if (rc == SQLITE_OK) continue;
        if (rc != NULL_REFUSED) return rc;
        /* OR REPLACE looks at columns with a DEFAULT last, and so names another first. */
        if (refused < 0 || (replace && t->defaults[refused] && !t->defaults[i])) refused = i;
        if (!replace) break;
    }
    return refused < 0 ? SQLITE_OK : not_null_violated(t, &s->columns[refused]);
}

/* Columns that keep their value come from the old row; *pin holds their bytes. */
static int take_unchanged(kv_table *t, sqlite3_value **argv, fkv_value *pin)
{
    const kv_schema *s = &t->schema;
    row_reader row;
    view *v = NULL;
    fkv_status st = conn_view(t->conn, &v);
    int rc = SQLITE_OK;

    if (st == FKV_OK) {
        st = fkv_get(v->snapshot, conn_overlay(t->conn), buf_slice(&t->old_key), pin);
    }
    view_release(v);
    if (st == FKV_NOTFOUND) return SQLITE_DONE; /* a row that this statement has replaced */
    if (st) return errmap_vtab(&t->base, st);
    if (rowcode_open(&row, pin->value, s->key_count, s->row_count)) rc = SQLITE_CORRUPT_VTAB;
    for (int i = 0; rc == SQLITE_OK && i < s->column_count; i++) {
        if (s->columns[i].key_index >= 0 || !sqlite3_value_nochange(argv[i])) continue;
        if (rowcode_read(&row, s->columns[i].row_index, &t->cells[i])) rc = SQLITE_CORRUPT_VTAB;
    }
    if (rc == SQLITE_OK) return SQLITE_OK;
    return errmap_say(&t->base, rc, "fastkv: a row of table \"%s\" is damaged", s->table);
}

/* Make t->key and t->row from t->cells. */
static int encode(kv_table *t)
{
    const kv_schema *s = &t->schema;

    for (int i = 0; i < s->key_count; i++) {
        const kv_column *c = &s->columns[s->keys[i]];
        t->key_cells[i] = t->cells[s->keys[i]];
        t->overrides[i] = keycode_override(&t->key_cells[i], c->affinity);
    }
    kv_table_key(t, t->key_cells, &t->key);
    buf_clear(&t->row);
    rowcode_begin(&t->row, t->overrides, s->key_count);
    for (int i = 0; i < s->column_count; i++) {
        int row_index = s->columns[i].row_index;
        if (row_index >= 0) rowcode_append(&t->row, &t->cells[i], row_index == s->row_count - 1);
    }
    return buf_status(&t->key) || buf_status(&t->row) ? SQLITE_NOMEM : SQLITE_OK;
}

/* SQLITE_OK if t->key is free, else the constraint's result. */
static int check_free(kv_table *t)
{
    fkv_value found = {0};
    view *v = NULL;
    fkv_status st;

    if (sqlite3_vtab_on_conflict(t->owner->db) == SQLITE_REPLACE) return SQLITE_OK;
    if (SABOTAGE(23)) return SQLITE_OK;
    st = conn_view(t->conn, &v);
    if (st == FKV_OK) st = fkv_get(v->snapshot, conn_overlay(t->conn), buf_slice(&t->key), &found);
    view_release(v);
    fkv_value_release(&found);
    if (st == FKV_NOTFOUND) return SQLITE_OK;
    return st ? errmap_vtab(&t->base, st) : unique_violated(t);
}

static int insert_row(kv_table *t, sqlite3_value **argv)
{
    const kv_schema *s = &t->schema;
    sqlite3_value *command = argv[schema_command_column(s)];
    int64_t expires_ms = EXPIRY_NEVER;
    int rc = SQLITE_OK;

    if (sqlite3_value_type(command) != SQLITE_NULL) {
        return command_run(t, command, argv[schema_arg_column(s)]);
    }
    rc = take_columns(t, argv, 1, NULL);
    if (rc == SQLITE_OK) rc = expiry_of_insert(t, argv, &expires_ms);
    if (rc == SQLITE_OK) rc = encode(t);
    if (rc == SQLITE_OK) {
        rc = errmap_vtab(&t->base, conn_writable(t->conn, s->options.durability));
    }
    if (rc == SQLITE_OK) rc = check_free(t);
    return rc ? rc : errmap_vtab(&t->base, row_put(t, expires_ms));
}

/* Put under a new key. If the second half fails the first must not stay. */
static int move_row(kv_table *t, int64_t expires_ms)
{
    fkv_txn *txn = t->conn->txn;
    uint64_t mark;
    int rc = check_free(t);
    fkv_status st;

    if (rc) return rc;
    st = fkv_txn_mark(txn, &mark);
    if (st) return errmap_vtab(&t->base, st);
    st = row_delete(t, buf_slice(&t->old_key));
    if (st == FKV_OK) st = row_put(t, expires_ms);
    if (st) {
        rc = errmap_vtab(&t->base, st);
        row_undo(t, mark);
    }
    fkv_txn_release(txn, mark);
    return rc;
}

static int change_row(kv_table *t, sqlite3_value *key, sqlite3_value **argv)
{
    const kv_schema *s = &t->schema;
    fkv_value pin = {0};
    int64_t expires_ms = EXPIRY_NEVER;
    int unchanged = 0;
    int rc = old_key(t, key, &t->old_key);

    if (rc == SQLITE_OK) {
        rc = errmap_vtab(&t->base, conn_writable(t->conn, s->options.durability));
    }
    if (rc == SQLITE_OK) rc = take_columns(t, argv, 0, &unchanged);
    if (rc == SQLITE_OK) rc = expiry_of_update(t, argv, &expires_ms);
    if (rc == SQLITE_OK && unchanged) rc = take_unchanged(t, argv, &pin);
    if (rc == SQLITE_OK) rc = encode(t);
    fkv_value_release(&pin);
    if (rc == SQLITE_DONE) return SQLITE_OK;
    if (rc) return rc;
    if (!slice_equal(buf_slice(&t->key), buf_slice(&t->old_key))) return move_row(t, expires_ms);
    return errmap_vtab(&t->base, row_put(t, expires_ms));
}

static int delete_row(kv_table *t, sqlite3_value *key)
{
    int rc = old_key(t, key, &t->old_key);

    if (rc == SQLITE_OK) {
        rc = errmap_vtab(&t->base, conn_writable(t->conn, t->schema.options.durability));
    }
    if (rc) return rc;
    return errmap_vtab(&t->base, row_delete(t, buf_slice(&t->old_key)));
}

int update_row(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    kv_table *t = (kv_table *)vtab;
    int rc = kv_table_ready(t);

    if (rc == SQLITE_OK) rc = setting_refresh(t);
    if (rc) return rc;
    if (argc == 1) return delete_row(t, argv[0]);
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        rc = insert_row(t, argv + FIRST_COLUMN);
    } else {
        rc = change_row(t, argv[0], argv + FIRST_COLUMN);
    }
    /* SQLite takes this for the last rowid inserted; a table without rowids leaves that alone. */
    if (rc == SQLITE_OK) *rowid = sqlite3_last_insert_rowid(t->owner->db);
    return rc;
}
