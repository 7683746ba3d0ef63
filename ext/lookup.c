#include "lookup.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

/* SQLite looks for a name without a schema in temp, then in main, then in the others. */
static int rank(const kv_table *t)
{
    if (sqlite3_stricmp(t->schema_name, "temp") == 0) return 0;
    return sqlite3_stricmp(t->schema_name, "main") == 0 ? 1 : 2;
}

static int has_name(const kv_table *t, const char *name)
{
    size_t n = strlen(t->schema_name);

    if (sqlite3_stricmp(t->schema.table, name) == 0) return 1;
    return sqlite3_strnicmp(t->schema_name, name, (int)n) == 0 && name[n] == '.' &&
           sqlite3_stricmp(t->schema.table, name + n + 1) == 0;
}

static kv_table *find(registry *owner, const char *name)
{
    kv_table *best = NULL;

    for (kv_table *t = owner->tables; t; t = t->next) {
        if (has_name(t, name) && (!best || rank(t) < rank(best))) best = t;
    }
    return best;
}

/* A table nobody has named yet in this connection is not connected: preparing a query does it. *out
** is NULL if there is none, or, with a result code, if that cannot be told. */
static int find_or_connect(registry *owner, const char *name, kv_table **out)
{
    const char *dot = strchr(name, '.');
    sqlite3_stmt *s = NULL;
    char *sql;
    int rc = SQLITE_NOMEM;

    *out = find(owner, name);
    if (*out) return SQLITE_OK;
    sql = dot ? sqlite3_mprintf("SELECT 1 FROM \"%.*w\".\"%w\"", (int)(dot - name), name, dot + 1)
              : sqlite3_mprintf("SELECT 1 FROM \"%w\"", name);
    if (sql) rc = sqlite3_prepare_v2(owner->db, sql, -1, &s, NULL);
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    *out = find(owner, name);
    return *out || rc == SQLITE_ERROR ? SQLITE_OK : rc; /* (SQLITE_ERROR: no such table) */
}

static char *not_now(registry *owner, int rc)
{
    const char *said = rc == SQLITE_NOMEM ? sqlite3_errstr(rc) : sqlite3_errmsg(owner->db);

    return sqlite3_mprintf("fastkv: %s", said);
}

int lookup_connected(registry *owner, sqlite3_value *name, kv_table **out, char **error)
{
    const char *text = (const char *)sqlite3_value_text(name);
    int rc;

    *out = NULL;
    rc = text ? find_or_connect(owner, text, out) : SQLITE_OK;
    if (rc) *error = not_now(owner, rc);
    if (rc || *out) return rc;
    *error = text ? sqlite3_mprintf("fastkv: there is no fastkv table \"%s\"", text)
                  : sqlite3_mprintf("fastkv: a table's name cannot be NULL");
    return SQLITE_ERROR;
}

int lookup_table(registry *owner, sqlite3_value *name, kv_table **out, char **error)
{
    int rc = lookup_connected(owner, name, out, error);

    if (rc) return rc;
    rc = kv_table_ready(*out);
    if (rc) {
        const char *said = (*out)->base.zErrMsg;
        *error = said ? sqlite3_mprintf("%s", said) : NULL;
    }
    return rc;
}

static kv_table *connected(registry *owner, const char *schema)
{
    for (kv_table *t = owner->tables; t; t = t->next) {
        if (t->conn->hosted && sqlite3_stricmp(t->schema_name, schema) == 0) return t;
    }
    return NULL;
}

int lookup_any(registry *owner, const char *schema, kv_table **out, char **error)
{
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf("SELECT '%q.' || name FROM \"%w\".sqlite_schema WHERE "
                                "type = 'table' AND rootpage = 0 AND sql LIKE '%%fastkv%%'",
                                schema, schema);
    int rc = sql ? sqlite3_prepare_v2(owner->db, sql, -1, &s, NULL) : SQLITE_NOMEM;

    if (rc && sql) *error = sqlite3_mprintf("fastkv: %s", sqlite3_errmsg(owner->db));
    *out = connected(owner, schema);
    while (rc == SQLITE_OK && !*out && sqlite3_step(s) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        rc = name ? find_or_connect(owner, name, out) : SQLITE_NOMEM;
        if (rc) *error = not_now(owner, rc);
    }
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    if (rc || !*out) return rc;
    rc = kv_table_ready(*out);
    if (rc) *error = (*out)->base.zErrMsg ? sqlite3_mprintf("%s", (*out)->base.zErrMsg) : NULL;
    return rc;
}
