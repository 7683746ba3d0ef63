#include "call.h"

SQLITE_EXTENSION_INIT3

/* A number or a word that a PRAGMA gives. */
static int pragma_is(sqlite3 *db, char *sql, const char *word, int *number)
{
    sqlite3_stmt *s = NULL;
    int same = 0;

    if (sql && sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        if (number) *number = sqlite3_column_int(s, 0);
        same = text && word && sqlite3_stricmp(text, word) == 0;
    }
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return same;
}

/* How long to wait for another writer. SQLite itself does not wait for a connection that reads, and
** the statement with the function does if it has a FROM: it would be a deadlock in rollback modes,
** where a writer waits for readers, but it is none in WAL mode. */
static int patience_ms(sqlite3 *db, const char *schema)
{
    int ms = 0;

    if (!sqlite3_get_autocommit(db) ||
        !pragma_is(db, sqlite3_mprintf("PRAGMA \"%w\".journal_mode", schema), "wal", NULL)) {
        return 0;
    }
    (void)pragma_is(db, sqlite3_mprintf("PRAGMA busy_timeout"), NULL, &ms);
    return ms;
}

static int run_once(registry *owner, const char *sql, char **error)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(owner->db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK) {
        (void)sqlite3_step(s);
        rc = sqlite3_reset(s);
    }
    if (rc) {
        *error = sqlite3_mprintf("%s", sqlite3_errmsg(owner->db));
        rc = sqlite3_extended_errcode(owner->db);
    }
    (void)sqlite3_finalize(s);
    return rc;
}

int call_run(kv_table *t, kv_call *call, char **error)
{
    registry *owner = t->owner;
    kv_call *outer = owner->call;
    int waited = 0, patience = -1;
    int rc = SQLITE_NOMEM;
    char *schema = sqlite3_mprintf("%s", t->schema_name);
    char *sql = sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(\"%w\") VALUES('" CALL_COMMAND "')",
                                t->schema_name, t->schema.table, t->schema.table);

    if (!sql || !schema) goto done;
    owner->call = call; /* from here on t may be gone: preparing may find that the schema changed */
    rc = run_once(owner, sql, error);
    while (rc == SQLITE_BUSY) {
        if (patience < 0) patience = patience_ms(owner->db, schema);
        if (waited >= patience) break;
        sqlite3_free(*error);
        *error = NULL;
        waited += sqlite3_sleep(1 + waited / 8);
        rc = run_once(owner, sql, error);
    }
    owner->call = outer;
done:
    sqlite3_free(sql);
    sqlite3_free(schema);
    return rc;
}
