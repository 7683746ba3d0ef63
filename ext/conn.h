/*
** conn.h -- one database connection's use of one store.
**
** All fastkv tables of one schema of one sqlite3* share a conn: it holds the store, the transaction
** with its savepoints, and the snapshot that the cursors of a statement share. Everything here runs
** under the connection's mutex. conn.c tells the transaction protocol.
*/
#ifndef FASTKV_EXT_CONN_H
#define FASTKV_EXT_CONN_H

#include "sqlite3ext.h"

#include "base/buf.h"
#include "fastkv.h"
#include "host.h"
#include "options.h"

typedef struct kv_table kv_table;   /* table.h */
typedef struct kv_cursor kv_cursor; /* cursor.c */
typedef struct kv_call kv_call;     /* call.h */
typedef struct conn conn;

/* One per sqlite3*: the client data of the modules. */
typedef struct registry {
    sqlite3 *db;
    conn *conns;
    kv_table *tables;     /* all that are connected */
    kv_call *call;        /* a function that runs as a write; NULL = none */
    sqlite3_stmt *listen; /* enrols temp.fastkv_reader */
    int listens;          /* which has been made */
} registry;

enum { WRITER_WAIT_MS = 1000, PREPARED = 1, PREPARED_HOSTED = 2 };

/* A snapshot that several cursors hold. */
typedef struct view {
    fkv_snapshot *snapshot;
    uint64_t host_id; /* what it agrees with; 0 = with anything */
    unsigned refs;
} view;

struct conn {
    conn *next;
    registry *owner;
    char *schema;
    char *path;  /* the store's directory; NULL = in memory */
    char *label; /* how messages name the store */
    fkv_store *store;
    fkv_txn *txn;
    unsigned refs;   /* connected tables */
    uint8_t missing; /* the last conn_open found no store there */
    uint8_t hosted;  /* the store lies beside the schema's file, not where path= says */

    /* transaction */
    uint8_t in_txn;        /* between begin and commit or rollback */
    uint8_t one_statement; /* it is one statement's, not BEGIN's or SAVEPOINT's */
    uint8_t prepared;      /* 0, PREPARED or PREPARED_HOSTED; and no write since */
    uint8_t wants_auto;    /* a table that follows PRAGMA synchronous wrote */
    uint8_t wants_level;   /* strongest fkv_durability asked for by option, FKV_NONE + 1 = none */
    uint64_t *marks;       /* by savepoint number */
    int depth;             /* marks in use */
    int marks_capacity;
    uint8_t undecided;          /* txn is prepared, over, and the host has not told how it ended */
    uint8_t behind;             /* conn_begin refused: the transaction's view is not the latest */
    buf popped_from, popped_to; /* keys between which pops of this transaction have left nothing
                                ** (row.c); popped_to empty = none are known */
    host_state host;

    /* reading */
    view *current;       /* what cursors get; NULL = none yet */
    unsigned positioned; /* cursors between xFilter and xClose */
    unsigned feeds;      /* readers of the change feed; each has a reference, too */
    uint64_t unknown_id; /* of the host, which the store has not; 0 = none */
    uint8_t refresh;     /* take a new view although cursors hold the current one */
    uint8_t pinned;      /* `current` is the view of the whole transaction */
    uint64_t epoch;      /* changes whenever what a reader sees may have changed */
    kv_cursor *idle;     /* closed cursors to use again */
    unsigned idle_count;
};

/* Find or make the conn for a schema (and `path`, NULL = the store beside the schema's file). The
** store is not opened. SQLITE_OK or SQLITE_NOMEM; *out has one more reference. */
int conn_acquire(registry *owner, const char *schema, const char *path, conn **out);

/* Drop a reference. The last one closes the store, unless it is in memory (its rows would be gone)
** or a transaction is open (then the end of that closes it). NULL is fine. */
void conn_release(conn *c);

/* Close what conn_release would, if nothing needs it; frees c then. */
void conn_settle(conn *c);

/* Free everything; when the sqlite3* goes. */
void conn_free_all(registry *owner);

/* Make sure that the store is open. SQLITE_OK, or an error with *error set (sqlite3_malloc'ed). */
int conn_open(conn *c, const kv_options *o, int create, char **error);

/* Close the store, to open one anew. REQUIRES: no transaction, no cursor, no feed. */
void conn_forget(conn *c);

/* -- transactions: called once per table, so each is idempotent ------------------------------- */

/* REQUIRES (conn_begin, conn_writable): open. Waits about a second for another writer. FKV_BUSY
** with c->behind set: this transaction has read, and somebody has written since. */
FKV_MUST_CHECK fkv_status conn_begin(conn *c);

/* Before a read: if this connection holds the host's write lock, let the commit of its predecessor
** become visible first (txn.c). */
FKV_MUST_CHECK fkv_status conn_settle_predecessor(conn *c);

/* If the last transaction's end is not known, ask again. Called before everything else. */
FKV_MUST_CHECK fkv_status conn_decide(conn *c);

/* Called before every write: takes the writer lock if a command gave it up. */
FKV_MUST_CHECK fkv_status conn_writable(conn *c, kv_durability level);

/* Give up the writer lock if nothing was written, so that an upkeep command may run. */
void conn_idle(conn *c);

int conn_sync(conn *c, char **error); /* a result code; *error as conn_open */
void conn_commit(conn *c);
void conn_rollback(conn *c);
FKV_MUST_CHECK fkv_status conn_savepoint(conn *c, int n);
void conn_release_savepoint(conn *c, int n);
void conn_rollback_to(conn *c, int n);

/* -- reading --------------------------------------------------------------------------------- */

/* The listener's: the transaction of the sqlite3* has ended, in which c has written, or pinned a
** view, or neither. May free c. */
void conn_end(conn *c, int committed);

/* The view for a read that starts now, with one more reference. REQUIRES: open. */
FKV_MUST_CHECK fkv_status conn_view(conn *c, view **out);
void view_release(view *v); /* NULL is fine */

/* A read of the store has ended with *st. 1: others have gone, how their last transaction has ended
** only the host knew, and that has been asked: try again. 0: *st it is. */
int conn_asks_host(conn *c, fkv_status *st);

/* No cursor is open any more: let go of a view that is out of date, so that it pins nothing. */
void conn_rest(conn *c);

/* The open transaction if it has something of its own to show, else NULL. */
static inline fkv_txn *conn_overlay(const conn *c)
{
    return c->in_txn && fkv_txn_active(c->txn) && fkv_txn_writes(c->txn) ? c->txn : NULL;
}

#endif
