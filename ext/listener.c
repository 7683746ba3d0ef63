/*
** listener.c -- the table fastkv_txn
**
** SQLite tells a virtual table about COMMIT, ROLLBACK and savepoints only if the table takes part
** in the transaction, which it does from its xBegin on. Two of our writes fall outside of that:
**
** 1. xDestroy (DROP TABLE) runs inside the transaction, and the table hears nothing afterwards.
** 2. xCreate counts as xBegin, but a table that was created after SAVEPOINT s hears nothing of
**    ROLLBACK TO s.
**
** And a read transaction has no callbacks at all, though its views must last as long as it does.
** The first read in an explicit transaction therefore enrols the listener of the temp schema,
** which is told of the end by xCommit or xRollback and lets go of the views. The price: such a
** transaction counts as a write transaction of the temp database, so that the application's
** commit hook is called for it, and changes() is 0 after that first read.
**
** So both step `DELETE FROM fastkv_txn WHERE 0`. It deletes nothing, but it enrols this table,
** whose methods drive all conns of the connection. They are idempotent (txn.c), so it does not
** matter that the tables proper call them too.
**
** fastkv_txn is eponymous: it exists in every connection, in schema main, and enrolling takes
** main's write lock. For a change in another schema that would be a lock too many, so there a
** temp table of the same module is made on first use, `temp.fastkv_txn`, and only the temp
** database is locked.
*/
#include "listener.h"

#include "base/alloc.h"
#include "errmap.h"

SQLITE_EXTENSION_INIT3

typedef struct listener {
    sqlite3_vtab base;
    registry *owner;
} listener;

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                   char **error)
{
    listener *l = alloc_zero(sizeof *l);
    int rc;

    (void)argc, (void)argv, (void)error;
    if (!l) return SQLITE_NOMEM;
    l->owner = aux;
    rc = sqlite3_declare_vtab(db, "CREATE TABLE x(unused)");
    if (rc) {
        alloc_free(l);
        return rc;
    }
    *out = &l->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab->zErrMsg); /* SQLite does not ask for one after xSavepoint */
    alloc_free(vtab);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 1;
    info->estimatedRows = 1;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    (void)vtab;
    *out = alloc_zero(sizeof **out);
    return *out ? SQLITE_OK : SQLITE_NOMEM;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    alloc_free(cursor);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    (void)cursor, (void)number, (void)text, (void)argc, (void)argv;
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int index)
{
    (void)cursor, (void)context, (void)index;
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    (void)cursor;
    *out = 0;
    return SQLITE_OK;
}

/* It must be there for the table to be writable. */
static int update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid_out)
{
    (void)argc, (void)argv, (void)rowid_out;
    return errmap_say(vtab, SQLITE_READONLY, "fastkv: " LISTENER_NAME " is not for writing");
}

static int begin(sqlite3_vtab *vtab)
{
    (void)vtab;
    return SQLITE_OK;
}

/* A conn that ends may be freed: `next` is read first in all these loops. */
static int sync_all(sqlite3_vtab *vtab)
{
    registry *owner = ((listener *)vtab)->owner;

    for (conn *c = owner->conns; c; c = c->next) {
        char *error = NULL;
        int rc = conn_sync(c, &error);
        if (rc) {
            sqlite3_free(vtab->zErrMsg);
            vtab->zErrMsg = error;
            return rc;
        }
    }
    return SQLITE_OK;
}

static int commit_all(sqlite3_vtab *vtab)
{
    conn *following;

    for (conn *c = ((listener *)vtab)->owner->conns; c; c = following) {
        following = c->next;
        conn_end(c, 1);
    }
    return SQLITE_OK;
}

/* Here and at ROLLBACK TO the making of fastkv_reader may have been undone: look again. */
static int rollback_all(sqlite3_vtab *vtab)
{
    registry *owner = ((listener *)vtab)->owner;
    conn *following;

    owner->listens = 0;
    for (conn *c = owner->conns; c; c = following) {
        following = c->next;
        conn_end(c, 0);
    }
    return SQLITE_OK;
}

static int savepoint_all(sqlite3_vtab *vtab, int n)
{
    for (conn *c = ((listener *)vtab)->owner->conns; c; c = c->next) {
        fkv_status st = conn_savepoint(c, n);
        if (st) return errmap_vtab(vtab, st);
    }
    return SQLITE_OK;
}

static int release_all(sqlite3_vtab *vtab, int n)
{
    for (conn *c = ((listener *)vtab)->owner->conns; c; c = c->next) conn_release_savepoint(c, n);
    return SQLITE_OK;
}

static int rollback_to_all(sqlite3_vtab *vtab, int n)
{
    ((listener *)vtab)->owner->listens = 0;
    for (conn *c = ((listener *)vtab)->owner->conns; c; c = c->next) conn_rollback_to(c, n);
    return SQLITE_OK;
}

const sqlite3_module listener_module = {
    .iVersion = 2,
    .xCreate = connect,
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xDestroy = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = eof,
    .xColumn = column,
    .xRowid = rowid,
    .xUpdate = update,
    .xBegin = begin,
    .xSync = sync_all,
    .xCommit = commit_all,
    .xRollback = rollback_all,
    .xSavepoint = savepoint_all,
    .xRelease = release_all,
    .xRollbackTo = rollback_to_all,
};

/* Not LISTENER_NAME: while a table of that name is not there, SQLite takes the eponymous one for
** it, in whatever schema it is asked for, and that one locks main. */
#define READER_NAME "fastkv_reader"
#define MAKE_TEMP "CREATE VIRTUAL TABLE IF NOT EXISTS temp." READER_NAME " USING " LISTENER_NAME
#define ENROL_TEMP "DELETE FROM temp." READER_NAME " WHERE 0"

/* Statements under way. */
static int busy_statements(sqlite3 *db)
{
    int busy = 0;

    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
        busy += sqlite3_stmt_busy(s);
    }
    return busy;
}

void listener_make(registry *owner, int calling)
{
    if (owner->listens) return;
    if (busy_statements(owner->db) > calling) return;
    owner->listens = sqlite3_exec(owner->db, MAKE_TEMP, NULL, NULL, NULL) == SQLITE_OK;
}

int listener_hear(registry *owner)
{
    int rc = SQLITE_OK;

    if (!owner->listens) return 0;
    if (!owner->listen) {
        rc = sqlite3_prepare_v3(owner->db, ENROL_TEMP, -1, SQLITE_PREPARE_PERSISTENT,
                                &owner->listen, NULL);
    }
    if (rc == SQLITE_OK) {
        (void)sqlite3_step(owner->listen);
        rc = sqlite3_reset(owner->listen);
    }
    if (rc) {
        listener_rest(owner);
        owner->listens = 0; /* its making may have been rolled back */
    }
    return rc == SQLITE_OK;
}

void listener_rest(registry *owner)
{
    sqlite3_finalize(owner->listen);
    owner->listen = NULL;
}

int listener_enrol(registry *owner, const char *schema, char **error)
{
    int in_main = sqlite3_stricmp(schema, "main") == 0;
    const char *sql = in_main ? "DELETE FROM main." LISTENER_NAME " WHERE 0"
                              : MAKE_TEMP "; " ENROL_TEMP;
    char *text = NULL;
    int rc = sqlite3_exec(owner->db, sql, NULL, NULL, &text);

    if (rc && text) *error = sqlite3_mprintf("fastkv: %s", text);
    sqlite3_free(text);
    return rc;
}
