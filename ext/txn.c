/*
** txn.c -- the transaction protocol between SQLite and a store
**
** SQLite calls xBegin, xSavepoint, xSync, xCommit … once for every *table* that takes part; the
** store has one transaction for all of them. So each function here is idempotent: the first call
** acts, the others find it done.
**
**            conn_begin            conn_sync              conn_commit
**   idle ---------------> begun ------------> prepared ---------------> idle
**                           ^  \                 |   \
**                           |   \  a write       |    \  conn_rollback
**                           +----\---------------+     +--------------> idle
**
** What SQLite really does (measured, design/sqlite-facts.md A) and what follows from it:
**
** 1. xCommit's result is ignored. Everything that can fail happens in conn_sync.
** 2. After xSync anything may come: xCommit, xRollback, more xUpdate, xSync again, xRollbackTo.
**    `prepared` is cleared by every write and by a rollback to a savepoint.
** 3. xCreate counts as xBegin; nothing comes after xDestroy. The first is covered because xCreate
**    calls conn_begin, the second by the listener table (listener.c).
** 4. Savepoints are numbered from 0. A table that joins late hears of the newest only, one that
**    was there hears all of them, and the outermost SAVEPOINT outside BEGIN is number -1, of which
**    nothing is heard before xRollbackTo(-1). The stack is indexed by number. A number we do not
**    know was opened before the store took part, so it means the beginning: mark 0.
** 5. xRollbackTo must not fail: fkv_txn_rollback_to cannot.
**
** The writer lock is taken in xBegin, that is under SQLite's own write lock. It is free then,
** except for the moment between another connection's release of SQLite's lock and its xCommit, or
** when the store is shared through path=. So the wait is bounded and short.
**
** The same moment matters to a reader that holds SQLite's write lock already: BEGIN IMMEDIATE,
** SELECT, UPDATE. Its SELECT must see the predecessor's commit, or the UPDATE would undo it.
** Nothing calls xBegin for a SELECT, so the cursor asks for the host's state and, if that is WRITE,
** takes the writer lock and gives it back (conn_settle_predecessor).
*/
#include "conn.h"

#include "base/alloc.h"
#include "base/status.h"
#include "errmap.h"

SQLITE_EXTENSION_INIT3

/* Milliseconds of sqlite3_busy_timeout(); 0 also where the program has a handler of its own. */
static uint32_t busy_timeout(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int64_t ms = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        ms = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return ms > 0 ? (uint32_t)ms : 0;
}

/* Become the store's writer. Who has the database's write lock waits for no more than a predecessor
** who has given that up and not yet published; a store without database has its own queue. */
static fkv_status begin_writing(conn *c)
{
    fkv_status st = fkv_txn_begin(c->txn, c->hosted ? WRITER_WAIT_MS : 0);

    if (st == FKV_BUSY) {
        uint32_t ms = busy_timeout(c->owner->db);
        if (ms > (c->hosted ? WRITER_WAIT_MS : 0)) st = fkv_txn_begin(c->txn, ms);
    }
    return st;
}

/* With the write locks of both nobody is between the two commits. */
static fkv_status check_pair(conn *c)
{
    uint64_t id, known = fkv_host_id(c->store);
    fkv_status st;

    if (known == 0 && c->host.id == 0) return FKV_OK; /* as most are: not looked up at each write */
    st = host_id(c, &id);
    if (st || id == known) return st;
    if (id < known) return host_check_pair(c);
    return FKV_RAISEF(FKV_CORRUPT,
                      "the store \"%s\" is older than its database: one of the two was copied or "
                      "put back without the other",
                      c->path);
}

fkv_status conn_begin(conn *c)
{
    fkv_status st;

    if (c->in_txn) return FKV_OK;
    st = conn_decide(c);
    if (st) return st;
    st = begin_writing(c);
    if (st) return st;
    c->behind = c->pinned && c->current && fkv_snapshot_behind(c->current->snapshot);
    if (c->behind) {
        fkv_txn_rollback(c->txn);
        return FKV_BUSY;
    }
    if (c->hosted) {
        st = check_pair(c);
        if (st) {
            fkv_txn_rollback(c->txn);
            return st;
        }
        host_began(c);
    }
    c->in_txn = 1;
    /* Asked here: inside a COMMIT, xSync finds SQLite in autocommit mode already. */
    c->one_statement = sqlite3_get_autocommit(c->owner->db) != 0;
    c->prepared = 0;
    c->depth = 0;
    c->wants_auto = 0;
    c->wants_level = FKV_NONE + 1;
    c->refresh = 1;
    return FKV_OK;
}

fkv_status conn_settle_predecessor(conn *c)
{
    fkv_status st;

    if (c->in_txn || !c->hosted) return FKV_OK;
    st = conn_decide(c);
    if (st) return st;
    if (sqlite3_txn_state(c->owner->db, c->schema) != SQLITE_TXN_WRITE) return FKV_OK;
    st = begin_writing(c);
    if (st == FKV_OK) {
        fkv_txn_rollback(c->txn);
        c->refresh = 1;
    }
    return st == FKV_BUSY ? st : FKV_OK; /* a store that takes no writes has no predecessor */
}

fkv_status conn_writable(conn *c, kv_durability level)
{
    if (!fkv_txn_active(c->txn)) {
        fkv_status st = begin_writing(c);
        if (st) return st;
        c->refresh = 1;
    }
    c->prepared = 0;
    c->epoch++;
    if (level == DURABILITY_AUTO) {
        c->wants_auto = 1;
    } else if ((int)level - 1 < c->wants_level) {
        c->wants_level = (uint8_t)(level - 1);
    }
    return FKV_OK;
}

void conn_idle(conn *c)
{
    if (c->in_txn && fkv_txn_active(c->txn) && fkv_txn_writes(c->txn) == 0) {
        fkv_txn_rollback(c->txn);
        /* Marks of the old transaction mean nothing in a new one; nothing was written yet, so every
        ** savepoint is its beginning. */
        for (int i = 0; i < c->depth; i++) c->marks[i] = 0;
    }
}

/* With the host: see host.c. */
static int sync_hosted(conn *c, fkv_durability level, char **error)
{
    uint64_t id = 0;
    fkv_status st = fkv_txn_prepare_hosted(c->txn, level, &id);

    if (st) {
        return errmap_give(error, st);
    }
    c->prepared = PREPARED_HOSTED;
    c->host.level = level == FKV_NONE ? FKV_NONE : host_durability(c);
    return id ? host_write_id(c, id, error) : SQLITE_OK;
}

static int takes_part(const conn *c)
{
    return c->in_txn && c->hosted && c->path && fkv_txn_writes(c->txn);
}

/* Several stores have only their databases to commit them together. */
static int several_take_part(const registry *owner)
{
    int stores = 0;

    for (const conn *c = owner->conns; c; c = c->next) stores += takes_part(c);
    return stores > 1;
}

/* Is what we are about to prepare still the host's transaction as well? A statement that is run in
** xSync, to ask SQLite something, takes it all back if there is no memory for it. */
static int host_has_it(const conn *c)
{
    return !c->hosted || sqlite3_txn_state(c->owner->db, c->schema) == SQLITE_TXN_WRITE;
}

int conn_sync(conn *c, char **error)
{
    fkv_durability level = FKV_NONE;
    int mixed;
    fkv_status st;

    if (!c->in_txn || c->prepared == PREPARED_HOSTED || !fkv_txn_active(c->txn)) return SQLITE_OK;
    if (c->wants_auto && c->path) level = host_least_durability(c);
    if (c->wants_level < level) level = (fkv_durability)c->wants_level;
    /* Also where it was prepared before: COMMIT may have been refused, and more be in it now. */
    mixed = takes_part(c) &&
            (several_take_part(c->owner) || fkv_host_unsettled(c->store) || host_changed(c));
    if (!host_has_it(c)) return SQLITE_NOMEM;
    if (mixed) return sync_hosted(c, level, error);
    if (c->prepared) return SQLITE_OK;
    st = fkv_txn_prepare(c->txn, level);
    if (st) {
        return errmap_give(error, st);
    }
    c->prepared = PREPARED;
    return SQLITE_OK;
}

static void end(conn *c, int committed)
{
    c->in_txn = 0;
    c->prepared = 0;
    c->depth = 0;
    c->refresh = 1;
    c->pinned = 0;
    buf_clear(&c->popped_to);
    c->epoch++;
    host_ended(c, committed);
}

void conn_commit(conn *c)
{
    if (!c->in_txn) return;
    if (c->prepared == PREPARED_HOSTED && c->host.written && !host_make_durable(c)) {
        fkv_txn_leave_in_doubt(c->txn); /* the next one to write asks the host */
    } else if (fkv_txn_active(c->txn)) {
        fkv_txn_commit(c->txn);
    }
    end(c, 1);
    conn_settle(c);
}

/* A transaction whose id was written into the host and which SQLite rolls back. */
static fkv_status decide(conn *c, uint64_t id)
{
    int was_committed = host_has(c, id);

    c->undecided = was_committed < 0;
    if (c->undecided) {
        c->host.written = id;
        return FKV_BUSY;
    }
    if (was_committed) {
        fkv_txn_commit(c->txn);
    } else {
        fkv_txn_rollback_hosted(c->txn);
    }
    c->refresh = 1;
    c->epoch++;
    return FKV_OK;
}

fkv_status conn_decide(conn *c)
{
    uint64_t id = c->host.written;

    return c->undecided ? decide(c, id) : FKV_OK;
}

void conn_rollback(conn *c)
{
    uint64_t id = c->prepared == PREPARED_HOSTED ? c->host.written : 0;

    if (!c->in_txn) return;
    if (!id) fkv_txn_rollback(c->txn);
    end(c, 0);
    if (id) fkv_ignore(decide(c, id)); /* if it cannot be told: later, conn_decide */
    conn_settle(c);
}

fkv_status conn_savepoint(conn *c, int n)
{
    uint64_t mark = 0;

    if (!c->in_txn || n < c->depth) return FKV_OK;
    if (n >= c->marks_capacity) {
        int capacity = n + 8;
        uint64_t *marks = alloc_resize(c->marks, (size_t)capacity * sizeof *marks);
        if (!marks) return FKV_NOMEM;
        c->marks = marks;
        c->marks_capacity = capacity;
    }
    if (fkv_txn_active(c->txn)) {
        fkv_status st = fkv_txn_mark(c->txn, &mark);
        if (st) return st;
    }
    while (c->depth < n) c->marks[c->depth++] = 0;
    c->marks[c->depth++] = mark;
    return FKV_OK;
}

void conn_release_savepoint(conn *c, int n)
{
    if (!c->in_txn || n < 0 || n >= c->depth) return;
    c->depth = n;
    if (fkv_txn_active(c->txn)) fkv_txn_release(c->txn, c->marks[n]);
}

void conn_rollback_to(conn *c, int n)
{
    uint64_t mark;

    if (!c->in_txn) return;
    mark = n >= 0 && n < c->depth ? c->marks[n] : 0;
    if (fkv_txn_active(c->txn)) fkv_txn_rollback_to(c->txn, mark);
    if (n < c->depth) c->depth = n < 0 ? 0 : n + 1;
    c->prepared = 0;
    buf_clear(&c->popped_to);
    c->epoch++;
}
