/*
** conn.c -- life of a connection's store
**
** Identity. A conn is found by (schema, path). The path is "<database file>-fastkv" as
** sqlite3_db_filename tells it (the file itself is never opened: that would cancel SQLite's locks),
** or what path= says. A database without a file has a store in memory, which lives until the
** sqlite3* is closed, because SQLite may disconnect and reconnect tables at any time (a rolled back
** DDL statement does) and the rows must survive that.
**
** Views. Cursors of one statement must read one snapshot, and nothing tells a virtual table where a
** statement begins. So: as long as some cursor stands between xFilter and xClose, new cursors get
** the same view; otherwise the view is renewed if the store has moved on (one comparison). Two
** events make a new view necessary although cursors are open: this connection's own commit, because
** its next statement must see it, and the beginning of a write transaction, because what it writes
** must rest on what was committed last. Cursors that are open keep their own reference.
**
** An explicit transaction that reads keeps its first view to its end (pinned), as SQLite keeps its
** snapshot; writing is then refused if somebody else has written since (SQLITE_BUSY_SNAPSHOT). The
** view agrees with the host's snapshot on which transactions that changed both are in it (host.c).
*/
#include "conn.h"

#include <string.h>

#include "base/alloc.h"
#include "cursor.h"
#include "errmap.h"
#include "listener.h"

SQLITE_EXTENSION_INIT3

/* The store's directory for a schema; *out NULL = in memory. */
static int store_path(registry *owner, const char *schema, const char *path, char **out)
{
    const char *file = sqlite3_db_filename(owner->db, schema);

    *out = NULL;
    if (!path && (!file || !*file)) return SQLITE_OK;
    *out = path ? sqlite3_mprintf("%s", path) : sqlite3_mprintf("%s-fastkv", file);
    return *out ? SQLITE_OK : SQLITE_NOMEM;
}

static int same_path(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static void conn_free(conn *c)
{
    for (conn **at = &c->owner->conns; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    cursor_free_idle(c);
    view_release(c->current);
    if (c->undecided) fkv_txn_leave_in_doubt(c->txn);
    fkv_txn_free(c->txn);
    fkv_close(c->store);
    host_release(c);
    alloc_free(c->marks);
    buf_release(&c->popped_from);
    buf_release(&c->popped_to);
    sqlite3_free(c->schema);
    sqlite3_free(c->path);
    sqlite3_free(c->label);
    alloc_free(c);
}

static int conn_new(registry *owner, const char *schema, char *path, conn **out)
{
    conn *c = alloc_zero(sizeof *c);

    if (!c) {
        sqlite3_free(path);
        return SQLITE_NOMEM;
    }
    c->owner = owner;
    c->path = path;
    c->schema = sqlite3_mprintf("%s", schema);
    c->label = sqlite3_mprintf("%s", path ? base_name(path) : "memory");
    c->wants_level = FKV_NONE + 1;
    c->next = owner->conns;
    owner->conns = c;
    if (!c->schema || !c->label) {
        conn_free(c);
        return SQLITE_NOMEM;
    }
    *out = c;
    return SQLITE_OK;
}

int conn_acquire(registry *owner, const char *schema, const char *path, conn **out)
{
    char *wanted;
    int rc = store_path(owner, schema, path, &wanted);

    *out = NULL;
    if (rc) return rc;
    for (conn *c = owner->conns; c; c = c->next) {
        if (sqlite3_stricmp(c->schema, schema) == 0 && same_path(c->path, wanted)) {
            sqlite3_free(wanted);
            c->refs++;
            *out = c;
            return SQLITE_OK;
        }
    }
    rc = conn_new(owner, schema, wanted, out);
    if (rc) return rc;
    (*out)->refs = 1;
    (*out)->hosted = (*out)->path && !path;
    return SQLITE_OK;
}

void conn_settle(conn *c)
{
    if (c->refs || c->in_txn || c->pinned) return;
    if (c->path) {
        conn_free(c);
        return;
    }
    /* The statement would keep sqlite3_close() from closing. */
    host_release(c);
}

void conn_release(conn *c)
{
    if (!c) return;
    c->refs--;
    conn_settle(c);
}

void conn_free_all(registry *owner)
{
    while (owner->conns) conn_free(owner->conns);
}

int conn_open(conn *c, const kv_options *o, int create, char **error)
{
    fkv_options fo = o->store;
    fkv_status st;

    if (c->store) return SQLITE_OK;
    fo.create = create;
    fo.read_only = sqlite3_db_readonly(c->owner->db, c->schema) == 1;
    if (c->hosted) {
        fo.host_committed = host_committed;
        fo.host_stamped = host_stamped;
        fo.host_arg = c;
    }
    st = c->path ? fkv_open(c->path, &fo, &c->store) : fkv_open_memory(&fo, &c->store);
    c->missing = st == FKV_NOTFOUND;
    if (st == FKV_NOTFOUND) {
        *error = sqlite3_mprintf(
            "fastkv: the store \"%s\" that belongs to this database is missing", c->label);
        return SQLITE_CANTOPEN;
    }
    if (st == FKV_OK) {
        st = fkv_txn_new(c->store, &c->txn);
        if (st) {
            fkv_close(c->store);
            c->store = NULL;
        }
    }
    if (st) *error = errmap_text(st);
    if (st == FKV_OK && c->hosted) {
        fkv_txn_set_host(c->txn, host_committed, c);
        host_opened(c);
    }
    return errmap_code(st);
}

void conn_forget(conn *c)
{
    cursor_free_idle(c);
    view_release(c->current);
    c->current = NULL;
    fkv_txn_free(c->txn);
    c->txn = NULL;
    fkv_close(c->store);
    c->store = NULL;
}

void view_release(view *v)
{
    if (!v || --v->refs) return;
    fkv_snapshot_release(v->snapshot);
    alloc_free(v);
}

/* The id in the host's snapshot that a view has to agree with; *id = 0: none. With the write
** lock of the host nobody else can commit: the latest view is the right one. */
static fkv_status id_to_agree(conn *c, uint64_t *id)
{
    *id = 0;
    if (!c->hosted || c->in_txn) return FKV_OK;
    if (fkv_host_id(c->store) == 0 && !fkv_host_undecided(c->store)) return FKV_OK;
    return host_id(c, id);
}

int conn_asks_host(conn *c, fkv_status *st)
{
    if (*st != FKV_BUSY || !c->hosted) return 0;
    *st = fkv_host_wait(c->txn, 0, 0);
    return *st == FKV_OK;
}

/* A commit is visible in the host a moment before its writer has published it here. */
static fkv_status take_snapshot(conn *c, uint64_t id, fkv_snapshot **out)
{
    fkv_status st;

    if (id == 0) {
        st = fkv_snapshot_new(c->store, out);
        if (conn_asks_host(c, &st)) st = fkv_snapshot_new(c->store, out);
        if (st || !c->hosted || c->in_txn || fkv_host_id(c->store) == 0) return st;
        st = host_id(c, &id); /* the first of all commits with the host may have come in between */
        if (st == FKV_OK && id == 0) return st;
        fkv_snapshot_release(*out);
        *out = NULL;
        if (st) return st;
    }
    st = fkv_host_wait(c->txn, id, id == c->unknown_id ? 0 : WRITER_WAIT_MS);
    c->unknown_id = st == FKV_NOTFOUND ? id : 0; /* it is not waited for a second time */
    if (st == FKV_OK) {
        st = fkv_snapshot_as_of(c->store, id, out);
        if (st == FKV_BUSY) { /* long ago, or another database's? */
            fkv_status pair = host_check_pair(c);
            if (pair) st = pair;
        }
    }
    return st == FKV_NOTFOUND ? FKV_CORRUPT : st;
}

static fkv_status renew_view(conn *c, uint64_t id)
{
    view *v = alloc_zero(sizeof *v);
    fkv_status st;

    if (!v) return FKV_NOMEM;
    v->refs = 1;
    v->host_id = id;
    st = take_snapshot(c, id, &v->snapshot);
    if (st) {
        alloc_free(v);
        return st;
    }
    view_release(c->current);
    c->current = v;
    c->refresh = 0;
    c->epoch++;
    return FKV_OK;
}

/* Nothing tells where a read transaction ends, except the listener, which for that has to be in it
** (listener.c). Not needed where this connection holds the host's write lock: nobody else commits.
** Not possible under PRAGMA query_only, or where an authorizer forbids it: then every statement
** has a view of its own. */
static int begins_transaction(conn *c)
{
    sqlite3 *db = c->owner->db;

    if (c->pinned || c->in_txn || !c->path || sqlite3_get_autocommit(db)) return 0;
    if (c->hosted && sqlite3_txn_state(db, c->schema) == SQLITE_TXN_WRITE) return 0;
    return listener_hear(c->owner);
}

fkv_status conn_view(conn *c, view **out)
{
    int begins = begins_transaction(c);

    *out = NULL;
    if (!c->current || (!c->pinned && (begins || c->refresh || c->positioned == 0))) {
        uint64_t id;
        fkv_status st = id_to_agree(c, &id);
        if (st) return st;
        if (!c->current || (id && c->current->host_id != id) ||
            fkv_snapshot_stale(c->current->snapshot)) {
            st = renew_view(c, id);
        }
        if (st) return st;
    }
    if (begins) c->pinned = 1;
    c->refresh = 0;
    c->current->refs++;
    *out = c->current;
    return FKV_OK;
}

void conn_end(conn *c, int committed)
{
    if (c->pinned) {
        c->pinned = 0;
        c->refresh = 1;
        if (c->positioned == 0) conn_rest(c);
    }
    if (!c->in_txn) {
        conn_settle(c);
    } else if (committed) {
        conn_commit(c);
    } else {
        conn_rollback(c);
    }
}

void conn_rest(conn *c)
{
    if (!c->current || c->pinned || !fkv_snapshot_stale(c->current->snapshot)) return;
    view_release(c->current);
    c->current = NULL;
}
