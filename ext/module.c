/*
** module.c -- the methods of a fastkv table that are about the table as a whole
**
** Connecting opens nothing and reads nothing. What can be wrong with the shadow table or the store
** (missing, another one, damaged) is found by kv_table_ready() at the first use, so that PRAGMA
** table_info and DROP TABLE work all the same. And a statement that is only prepared inside BEGIN
** takes no snapshot of the database yet, as with native tables.
*/
#include "module.h"

#include "cursor.h"
#include "ddl.h"
#include "errmap.h"
#include "integrity.h"
#include "listener.h"
#include "plan.h"
#include "setting.h"
#include "update.h"

SQLITE_EXTENSION_INIT3

static kv_table *table_of(sqlite3_vtab *vtab)
{
    return (kv_table *)vtab;
}

static int create(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                  char **error)
{
    kv_table *t;
    int rc = kv_table_new(aux, argc, argv, &t, error);

    (void)db;
    if (rc) return rc;
    rc = kv_table_declare(t, error);
    if (rc == SQLITE_OK) listener_make(t->owner, 1);
    if (rc == SQLITE_OK) rc = ddl_create(t, error);
    if (rc) {
        kv_table_free(t);
        return rc;
    }
    *out = &t->base;
    return SQLITE_OK;
}

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                   char **error)
{
    kv_table *t;
    int rc = kv_table_new(aux, argc, argv, &t, error);

    (void)db;
    if (rc) return rc;
    rc = kv_table_declare(t, error);
    if (rc) {
        kv_table_free(t);
        return rc;
    }
    listener_make(t->owner, 0);
    *out = &t->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    kv_table_free(table_of(vtab));
    return SQLITE_OK;
}

static int destroy(sqlite3_vtab *vtab)
{
    int rc = ddl_drop(table_of(vtab));

    if (rc == SQLITE_OK) kv_table_free(table_of(vtab));
    return rc;
}

static int rename_table(sqlite3_vtab *vtab, const char *to)
{
    return ddl_rename(table_of(vtab), to);
}

static int shadow_name(const char *suffix)
{
    return sqlite3_stricmp(suffix, "meta") == 0;
}

static int begin(sqlite3_vtab *vtab)
{
    kv_table *t = table_of(vtab);
    int rc = kv_table_ready(t);

    fkv_status st;

    if (rc) return rc;
    st = conn_begin(t->conn);
    if (st == FKV_OK) setting_begin(t);
    if (st == FKV_BUSY && t->conn->behind) {
        return errmap_say(vtab, SQLITE_BUSY_SNAPSHOT,
                          "fastkv: another connection has written since this transaction read");
    }
    return errmap_vtab(vtab, st);
}

static int sync_txn(sqlite3_vtab *vtab)
{
    char *error = NULL;
    int rc = setting_sync(table_of(vtab), &error);

    if (rc == SQLITE_OK) rc = conn_sync(table_of(vtab)->conn, &error);
    if (rc) {
        sqlite3_free(vtab->zErrMsg);
        vtab->zErrMsg = error;
    }
    return rc;
}

static int commit(sqlite3_vtab *vtab)
{
    setting_commit(table_of(vtab));
    conn_commit(table_of(vtab)->conn);
    return SQLITE_OK;
}

static int rollback(sqlite3_vtab *vtab)
{
    setting_rollback(table_of(vtab), 1);
    conn_rollback(table_of(vtab)->conn);
    return SQLITE_OK;
}

static int savepoint(sqlite3_vtab *vtab, int n)
{
    return errmap_vtab(vtab, conn_savepoint(table_of(vtab)->conn, n));
}

static int release(sqlite3_vtab *vtab, int n)
{
    conn_release_savepoint(table_of(vtab)->conn, n);
    return SQLITE_OK;
}

static int rollback_to(sqlite3_vtab *vtab, int n)
{
    setting_rollback(table_of(vtab), 0);
    conn_rollback_to(table_of(vtab)->conn, n);
    return SQLITE_OK;
}

/* iVersion says which members there are. The fourth version, of SQLite 3.44, has one more than what
** older headers declare: with those it follows here, where a newer SQLite looks for it. An older
** SQLite knows nothing of it and reads no further than its own. */
#define MEMBERS_END_BEFORE (SQLITE_VERSION_NUMBER < 3044000)

typedef struct kv_module {
    sqlite3_module base;
#if MEMBERS_END_BEFORE
    int (*xIntegrity)(sqlite3_vtab *vtab, const char *schema, const char *table, int flags,
                      char **error);
#endif
} kv_module;

#if MEMBERS_END_BEFORE
_Static_assert(offsetof(kv_module, xIntegrity) == sizeof(sqlite3_module), "no gap");
#endif

static const kv_module methods = {
    .base =
        {
            .iVersion = 4,
            .xCreate = create,
            .xConnect = connect,
            .xBestIndex = plan_best_index,
            .xDisconnect = disconnect,
            .xDestroy = destroy,
            .xOpen = cursor_open,
            .xClose = cursor_close,
            .xFilter = cursor_filter,
            .xNext = cursor_next,
            .xEof = cursor_eof,
            .xColumn = cursor_column,
            .xRowid = cursor_rowid,
            .xUpdate = update_row,
            .xBegin = begin,
            .xSync = sync_txn,
            .xCommit = commit,
            .xRollback = rollback,
            .xRename = rename_table,
            .xSavepoint = savepoint,
            .xRelease = release,
            .xRollbackTo = rollback_to,
            .xShadowName = shadow_name,
#if !MEMBERS_END_BEFORE
            .xIntegrity = check_integrity,
#endif
        },
#if MEMBERS_END_BEFORE
    .xIntegrity = check_integrity,
#endif
};

const sqlite3_module *const kv_table_module = &methods.base;
