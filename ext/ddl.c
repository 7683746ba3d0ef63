/*
** ddl.c -- CREATE, DROP and RENAME
**
** CREATE happens in one transaction of host and store: the store gives a new space id, the shadow
** table remembers it. If that transaction is rolled back neither is left.
**
** DROP deletes the whole space with one range tombstone, in the same transaction as the shadow
** table, so a ROLLBACK brings everything back. A table whose store is missing or is another one has
** no rows to delete: only the shadow table goes. A store that cannot be opened for another reason
** (busy, damaged) makes DROP fail.
**
** A TEMP table with path= is a window on a store that stands alone and holds one table: space 0 is
** its space, the row under the bare space id holds the declaration, and DROP only closes the
** window.
*/
#include "ddl.h"

#include <string.h>

#include "base/coding.h"
#include "errmap.h"
#include "listener.h"
#include "meta.h"
#include "setting.h"

SQLITE_EXTENSION_INIT3

#define PATH_SPACE 0u

static int is_window(const kv_table *t)
{
    return t->schema.options.given[OPTION_PATH] != NULL;
}

/* Has the store any row at all? (Asked of what it holds, whether it agrees with the database or
** not: it may be another's.) */
static fkv_status has_rows(conn *c, int *out)
{
    fkv_slice none = fkv_slice_of(NULL, 0);
    fkv_cursor *walk = NULL;
    fkv_snapshot *now = NULL;
    fkv_status st = fkv_snapshot_new(c->store, &now);

    *out = 0;
    if (st == FKV_OK) st = fkv_cursor_new(now, conn_overlay(c), &walk);
    if (st == FKV_OK) st = fkv_cursor_bounds(walk, none, none);
    if (st == FKV_OK) {
        fkv_cursor_first(walk);
        *out = fkv_cursor_valid(walk);
        st = fkv_cursor_status(walk);
    }
    fkv_cursor_free(walk);
    fkv_snapshot_release(now);
    return st;
}

/* A store that no table of this database belongs to must be empty: its rows are somebody else's. A
** store in memory is then what a detached database of the same name left behind. */
static int check_owner(kv_table *t, char **error)
{
    conn *c = t->conn;
    uint8_t uuid[16];
    int known = 0, rows = 0;
    fkv_status st;
    int rc;

    fkv_uuid(c->store, uuid);
    rc = meta_names_store(t->owner->db, t->schema_name, uuid, &known);
    if (rc) return errmap_tell(error, rc, "fastkv: %s", sqlite3_errstr(rc));
    if (known) return SQLITE_OK;
    st = has_rows(c, &rows);
    if (st) return errmap_give(error, st);
    if (!rows || c->in_txn) return SQLITE_OK;
    if (!c->path && c->positioned + c->feeds == 0) {
        conn_forget(c);
        return conn_open(c, &t->schema.options, 1, error);
    }
    *error = sqlite3_mprintf("fastkv: the store \"%s\" holds rows that no table of this database "
                             "knows; move it away or put its database back",
                             c->label);
    return SQLITE_ERROR;
}

/* The declaration row of a path= store: written by the first table, compared by all others. */
static int check_window(kv_table *t, char **error)
{
    conn *c = t->conn;
    fkv_slice key = fkv_slice_of(t->prefix, SPACE_BYTES);
    char *text = schema_signature(&t->schema);
    fkv_slice ours = fkv_slice_of(text, text ? strlen(text) : 0);
    fkv_value stored = {0};
    view *v = NULL;
    fkv_status st = FKV_NOMEM;
    int same = 1;

    if (text) st = conn_view(c, &v);
    if (st == FKV_OK) st = fkv_get(v->snapshot, conn_overlay(c), key, &stored);
    if (st == FKV_OK) {
        same = slice_equal(stored.value, ours);
        if (!same) {
            *error =
                sqlite3_mprintf("fastkv: the store \"%s\" holds a table of other columns: %.*s",
                                c->label, (int)stored.value.size, stored.value.data);
        }
    } else if (st == FKV_NOTFOUND) {
        st = conn_writable(c, t->schema.options.durability);
        if (st == FKV_OK) st = fkv_txn_put(c->txn, key, ours);
    }
    fkv_value_release(&stored);
    view_release(v);
    sqlite3_free(text);
    if (st) return errmap_give(error, st);
    return same ? SQLITE_OK : SQLITE_ERROR;
}

/* Give the table its place in the store. REQUIRES: conn_begin. */
static int take_space(kv_table *t, table_meta *m, char **error)
{
    fkv_status st;

    fkv_uuid(t->conn->store, m->uuid);
    m->space = PATH_SPACE;
    if (!is_window(t)) {
        st = conn_writable(t->conn, t->schema.options.durability);
        if (st == FKV_OK) st = fkv_txn_new_space(t->conn->txn, &m->space);
        if (st) return errmap_give(error, st);
    }
    memcpy(t->uuid, m->uuid, sizeof t->uuid);
    put_be32(t->prefix, m->space);
    return is_window(t) ? check_window(t, error) : SQLITE_OK;
}

/* Begin, or join, the store's transaction and remember where. */
static int join(kv_table *t, int *began, uint64_t *mark, char **error)
{
    conn *c = t->conn;
    fkv_status st = FKV_OK;
    int rc;

    *began = !c->in_txn;
    *mark = 0;
    st = conn_begin(c);
    if (st) return errmap_give(error, st);
    rc = listener_enrol(t->owner, t->schema_name, error);
    if (rc == SQLITE_OK && fkv_txn_active(c->txn))
        rc = errmap_give(error, fkv_txn_mark(c->txn, mark));
    return rc;
}

/* Undo what came after join(). */
static void leave(kv_table *t, int began, uint64_t mark)
{
    conn *c = t->conn;

    if (!c->in_txn) return;
    if (began) {
        conn_rollback(c);
    } else if (fkv_txn_active(c->txn)) {
        fkv_txn_rollback_to(c->txn, mark);
        buf_clear(&c->popped_to);
        c->epoch++;
    }
}

/* Open the store, or make it. One that other tables of this database have their rows in is not made
** anew when it is missing: only one of the two could ever be there. */
static int open_or_make(kv_table *t, char **error)
{
    int known = 0;
    int rc = conn_open(t->conn, &t->schema.options, 0, error);

    if (rc == SQLITE_OK || !t->conn->missing) return rc;
    if (!is_window(t)) {
        int failed = meta_names_store(t->owner->db, t->schema_name, NULL, &known);
        if (failed || known) return failed ? failed : rc;
    }
    sqlite3_free(*error);
    *error = NULL;
    return conn_open(t->conn, &t->schema.options, 1, error);
}

int ddl_create(kv_table *t, char **error)
{
    table_meta m = {0};
    uint64_t mark = 0;
    int began = 0;
    int rc = open_or_make(t, error);

    if (rc == SQLITE_OK && !is_window(t)) rc = check_owner(t, error);
    if (rc) return rc;
    rc = join(t, &began, &mark, error);
    if (rc == SQLITE_OK) rc = take_space(t, &m, error);
    if (rc == SQLITE_OK) {
        rc = meta_create(t->owner->db, t->schema_name, t->schema.table, &m, &t->schema.options,
                         error);
    }
    if (rc == SQLITE_OK) rc = setting_share(t, error);
    if (rc == SQLITE_OK && t->conn->hosted) {
        rc = host_make_table(t->owner->db, t->schema_name, error);
    }
    if (rc == SQLITE_OK) rc = setting_opened(t);
    if (rc) {
        leave(t, began, mark);
    } else {
        t->known = t->ready = 1;
    }
    return rc;
}

/* Is there anything of this table in a store? */
static int find_rows(kv_table *t, int *out)
{
    int rc;

    *out = 0;
    if (is_window(t)) return SQLITE_OK;
    rc = kv_table_ready(t);
    if (rc == SQLITE_OK) *out = 1;
    /* Gone, not ours, or not known. */
    if (rc && (t->conn->missing || t->wrong || t->broken)) return SQLITE_OK;
    return rc;
}

int ddl_drop(kv_table *t)
{
    conn *c = t->conn;
    uint8_t after[SPACE_BYTES];
    uint64_t mark = 0;
    int began = 0, rows = 0;
    char *error = NULL;
    int rc = find_rows(t, &rows);

    if (rc) return rc;
    if (rows) {
        rc = join(t, &began, &mark, &error);
        if (rc == SQLITE_OK)
            rc = errmap_give(&error, conn_writable(c, t->schema.options.durability));
        if (rc == SQLITE_OK) {
            put_be32(after, get_be32(t->prefix) + 1);
            rc = errmap_give(&error,
                             fkv_txn_delete_range(c->txn, fkv_slice_of(t->prefix, SPACE_BYTES),
                                                  fkv_slice_of(after, SPACE_BYTES)));
        }
    }
    if (rc == SQLITE_OK) rc = meta_drop(t->owner->db, t->schema_name, t->schema.table, &error);
    if (rc == SQLITE_OK && rows && t->schema.options.codec) { /* a ROLLBACK connects it anew */
        fkv_ignore(fkv_set_codec(c->store, get_be32(t->prefix), 0, 0));
    }
    if (rc) {
        if (rows) leave(t, began, mark);
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = error;
    }
    return rc;
}

int ddl_rename(kv_table *t, const char *to)
{
    char *error = NULL;
    int rc;

    if (schema_name_reserved(to)) {
        return errmap_say(&t->base, SQLITE_ERROR,
                          "fastkv: a table cannot have the name \"%s\": a hidden column has it",
                          to);
    }
    for (int i = 0; i < t->schema.column_count; i++) {
        if (sqlite3_stricmp(t->schema.columns[i].name, to) != 0) continue;
        return errmap_say(&t->base, SQLITE_ERROR,
                          "fastkv: a table cannot be named as its column \"%s\"", to);
    }
    sqlite3_finalize(t->read_meta); /* it has the old name in it */
    t->read_meta = NULL;
    rc = meta_rename(t->owner->db, t->schema_name, t->schema.table, to, &error);
    if (rc) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = error;
    }
    return rc;
}
