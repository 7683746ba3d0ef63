#include "table.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "errmap.h"
#include "evict.h"
#include "keycode.h"
#include "listener.h"
#include "meta.h"
#include "setting.h"

SQLITE_EXTENSION_INIT3

void kv_table_free(kv_table *t)
{
    if (!t) return;
    for (kv_table **at = &t->owner->tables; *at; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    if (!t->owner->tables) listener_rest(t->owner);
    for (int i = 0; t->defaults && i < t->schema.column_count; i++) {
        sqlite3_value_free(t->defaults[i]);
    }
    alloc_free(t->defaults);
    sqlite3_finalize(t->read_meta);
    evict_leave(t);
    conn_release(t->conn);
    schema_release(&t->schema);
    sqlite3_free(t->schema_name);
    sqlite3_free(t->broken);
    sqlite3_free(t->base.zErrMsg);
    buf_release(&t->key);
    buf_release(&t->row);
    buf_release(&t->old_key);
    alloc_free(t->cells);
    alloc_free(t->key_cells);
    alloc_free(t->overrides);
    alloc_free(t);
}

/* One value out of one statement; NULL when there is none. */
static sqlite3_value *query_value(sqlite3 *db, char *sql)
{
    sqlite3_stmt *s = NULL;
    sqlite3_value *v = NULL;

    if (sql && sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        v = sqlite3_value_dup(sqlite3_column_value(s, 0));
    }
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return v;
}

static int make_scratch(kv_table *t)
{
    size_t columns = (size_t)t->schema.column_count;
    size_t keys = (size_t)t->schema.key_count;

    t->cells = alloc_zero(columns * sizeof *t->cells);
    t->key_cells = alloc_zero(keys * sizeof *t->key_cells);
    t->overrides = alloc_zero(keys * sizeof *t->overrides);
    return t->cells && t->key_cells && t->overrides ? SQLITE_OK : SQLITE_NOMEM;
}

/* The default as the column stores it, if that is another type: newer SQLite crashes in
** sqlite3_value_numeric_type() of a copy. A comparison with a CAST says whether all of a text is a
** number. */
static char *default_query(const kv_column *c)
{
    const char *d = c->default_text;

    if (c->affinity < AFFINITY_NUMERIC) return sqlite3_mprintf("SELECT %s", d);
    return sqlite3_mprintf("SELECT CASE WHEN CAST(%s AS NUMERIC) = %s THEN CAST(%s AS NUMERIC) "
                           "ELSE %s END",
                           d, d, d, d);
}

static int load_defaults(kv_table *t, char **error)
{
    t->defaults = alloc_zero((size_t)t->schema.column_count * sizeof *t->defaults);
    if (!t->defaults) return SQLITE_NOMEM;
    for (int i = 0; i < t->schema.column_count; i++) {
        const kv_column *c = &t->schema.columns[i];
        if (!c->default_text) continue;
        t->defaults[i] = query_value(t->owner->db, default_query(c));
        if (t->defaults[i]) continue;
        *error = sqlite3_mprintf("fastkv: the DEFAULT of column \"%s\" is not a literal: %s",
                                 c->name, c->default_text);
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

static int encoding_is_utf8(sqlite3 *db)
{
    sqlite3_value *v = query_value(db, sqlite3_mprintf("PRAGMA encoding"));
    const char *text = v ? (const char *)sqlite3_value_text(v) : NULL;
    int utf8 = text && strcmp(text, "UTF-8") == 0;

    sqlite3_value_free(v);
    return utf8;
}

int kv_table_new(registry *owner, int argc, const char *const *argv, kv_table **out, char **error)
{
    kv_table *t = alloc_zero(sizeof *t);
    const char *path;
    int rc;

    *out = NULL;
    if (!t) return SQLITE_NOMEM;
    t->owner = owner;
    t->next = owner->tables;
    owner->tables = t;
    t->schema_name = sqlite3_mprintf("%s", argv[1]);
    rc = t->schema_name ? SQLITE_OK : SQLITE_NOMEM;
    if (rc == SQLITE_OK) rc = schema_parse(&t->schema, argv[2], argc - 3, argv + 3, error);
    if (rc == SQLITE_OK) rc = make_scratch(t);
    if (rc == SQLITE_OK) rc = load_defaults(t, error);
    path = t->schema.options.given[OPTION_PATH];
    if (rc == SQLITE_OK && path && sqlite3_stricmp(argv[1], "temp") != 0) {
        *error = sqlite3_mprintf("fastkv: option \"path\" is for TEMP tables only, as in CREATE "
                                 "VIRTUAL TABLE temp.%s USING fastkv(path=…)",
                                 argv[2]);
        rc = SQLITE_ERROR;
    }
    if (rc == SQLITE_OK) rc = conn_acquire(owner, argv[1], path, &t->conn);
    if (rc) {
        kv_table_free(t);
        return rc;
    }
    t->utf8 = (uint8_t)encoding_is_utf8(owner->db);
    t->blob_like = !sqlite3_compileoption_used("LIKE_DOESNT_MATCH_BLOBS");
    *out = t;
    return SQLITE_OK;
}

int kv_table_declare(kv_table *t, char **error)
{
    char *sql = schema_declaration(&t->schema);
    int rc;

    if (!sql) return SQLITE_NOMEM;
    rc = sqlite3_declare_vtab(t->owner->db, sql);
    sqlite3_free(sql);
    if (rc && rc != SQLITE_NOMEM) {
        *error = sqlite3_mprintf("fastkv: %s", sqlite3_errmsg(t->owner->db));
    }
    if (rc == SQLITE_OK) rc = sqlite3_vtab_config(t->owner->db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    /* A table whose store lies beside its database reaches nothing that the database's own tables
    ** do not: views and triggers may use it under trusted_schema=0, as they may use those. */
    if (rc == SQLITE_OK && t->conn->hosted) {
        rc = sqlite3_vtab_config(t->owner->db, SQLITE_VTAB_INNOCUOUS);
    }
    return rc;
}

/* Why the open store is not the table's; NULL when it is. */
static char *wrong_store(const kv_table *t)
{
    uint8_t uuid[16];
    char is[33], expected[33];

    fkv_uuid(t->conn->store, uuid);
    if (memcmp(uuid, t->uuid, sizeof uuid) == 0) return NULL;
    if (!t->conn->path) {
        return sqlite3_mprintf("fastkv: the rows of an in-memory database are gone with the "
                               "connection that wrote them");
    }
    meta_uuid_text(uuid, is);
    meta_uuid_text(t->uuid, expected);
    return sqlite3_mprintf("fastkv: \"%s\" is not the store of this database (its id is %s, "
                           "expected %s)",
                           t->conn->label, is, expected);
}

/* Read the shadow table. A finding about the table lasts; one about the moment (a lock, a full
** disk, no memory) is this statement's error alone. So is a page of the database that SQLite calls
** malformed: that is also what it makes of a read that has failed. */
static int read_meta(kv_table *t, char **error)
{
    table_meta m;
    int rc;

    if (t->known) return SQLITE_OK;
    rc = meta_read(t->owner->db, t->schema_name, t->schema.table, &t->read_meta, &m,
                   &t->schema.options, error);
    if ((rc & 0xff) == SQLITE_ERROR || rc == SQLITE_CORRUPT_VTAB) {
        t->broken = *error;
        *error = NULL;
        t->known = 1;
        return SQLITE_OK;
    }
    if (rc) return rc;
    memcpy(t->uuid, m.uuid, sizeof t->uuid);
    put_be32(t->prefix, m.space);
    t->known = 1;
    return SQLITE_OK;
}

int kv_table_ready(kv_table *t)
{
    char *error = NULL;
    int rc;

    if (t->ready && t->conn->store) return SQLITE_OK;
    rc = read_meta(t, &error);
    if (rc) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = error;
        return rc;
    }
    if (t->broken) return errmap_say(&t->base, SQLITE_ERROR, "%s", t->broken);
    rc = conn_open(t->conn, &t->schema.options, 0, &error);
    t->wrong = 0;
    if (rc == SQLITE_OK) {
        error = wrong_store(t);
        if (error) {
            rc = SQLITE_ERROR;
            t->wrong = 1;
            if (t->conn->path && !t->conn->in_txn && t->conn->positioned + t->conn->feeds == 0) {
                conn_forget(t->conn); /* the right one may be put back meanwhile */
            }
        }
    }
    if (rc) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = error;
        return rc;
    }
    rc = setting_opened(t);
    t->ready = rc == SQLITE_OK;
    return rc;
}

int kv_table_let_go(registry *owner, const char *schema, const char *function, int busy,
                    char **error)
{
    busy |= !sqlite3_get_autocommit(owner->db);
    for (const conn *c = owner->conns; c; c = c->next) {
        if (sqlite3_stricmp(c->schema, schema) || !c->hosted) continue;
        busy |= c->in_txn || c->pinned || c->positioned || c->feeds || c->undecided;
    }
    if (busy) {
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: %s cannot run in a transaction, or while another statement "
                           "reads; COMMIT first",
                           function);
    }
    for (conn *c = owner->conns; c; c = c->next) {
        if (sqlite3_stricmp(c->schema, schema) || !c->hosted) continue;
        conn_forget(c);
        host_forget(c);
    }
    for (kv_table *t = owner->tables; t; t = t->next) {
        if (sqlite3_stricmp(t->schema_name, schema) == 0) t->ready = t->known = 0;
    }
    return SQLITE_OK;
}

void kv_table_key(const kv_table *t, const cell *cells, buf *out)
{
    buf_clear(out);
    buf_append(out, t->prefix, SPACE_BYTES);
    for (int i = 0; i < t->schema.key_count; i++) {
        keycode_append(out, &cells[i], i == t->schema.key_count - 1);
    }
}

void kv_table_bounds(const kv_table *t, kv_table_range *out)
{
    memcpy(out->from, t->prefix, SPACE_BYTES);
    memcpy(out->to, t->prefix, SPACE_BYTES);
    out->from[SPACE_BYTES] = KEY_NUMBER;
    out->to[SPACE_BYTES] = KEY_END;
}
