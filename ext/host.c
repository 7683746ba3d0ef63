/*
** host.c -- one commit for a store and its database
**
** A transaction that changed fastkv tables only is committed by the store's log alone: no page of
** the database is written for it. One that also changed native tables has to be committed by both
** or by neither, whenever the power goes. So:
**
**   xSync      the store prepares it, durably, and gives it an id (fkv_txn_prepare_hosted). The id
**              is written into the database, as part of its transaction: table fastkv_commit, one
**              row, one blob of 8 bytes, little-endian.
**   commit     SQLite commits the database. That decides: either both the native rows and the id
**              are there, or neither is.
**   xCommit    what SQLite does not sync at a commit is synced: with synchronous=NORMAL the WAL
**              or a truncated journal, with journal_mode=DELETE the folder. Then the store
**              publishes, and marks in its log that the database need not be asked: a mark that
**              outlives the commit it speaks of would leave one half of the transaction.
**
** A recovery that finds the transaction prepared and not ended asks for the id in the database.
** It must not ask an old snapshot of it, so it looks through a connection of its own, unless this
** one holds the write lock. (It is SQLite that opens the file, so SQLite's locks are safe.)
**
** Reading. A snapshot of the database tells by the id which of those transactions it holds, and
** the store gives a view with just these (fkv_snapshot_as_of). The id can only have changed if
** the database has (SQLITE_FCNTL_DATA_VERSION, some 30 ns), so it is seldom read.
**
** The id is written with sqlite3_blob_write, which does not count as a change: changes(),
** last_insert_rowid() and the update hook do not notice.
**
** Which kind is it? No call tells whether a transaction has changed pages. What does:
**   - rollback journal: it is opened by the first change of a page (and may stay open after it);
**   - otherwise changed pages are in the cache, where sqlite3_db_cacheflush() finds them: the count
**     of page writes rises, or they were spilled before: that count rises;
**   - pages in use cannot be flushed. In an explicit transaction that is page 1, which changes
**     alone with PRAGMA user_version and with some DDL: the three numbers on it are compared; and,
**     if other statements are under way, any page: that counts as changed.
** Every doubt counts as changed, which costs a page write and an fsync and nothing else. Known to
** escape: a transaction in WAL mode whose only other change is PRAGMA default_cache_size, or an
** UPDATE of sqlite_schema (PRAGMA writable_schema) on page 1.
**
** Rollback. SQLite calls xRollback also when the commit has happened and the last step failed,
** that of finishing the journal. So a rollback after the id was written looks whether the id is
** there. If it is not, it may still come: a frame of the WAL that was written and not synced
** counts after a crash. So the store keeps the transaction in doubt, and the next one has to be
** committed through the database again, which overwrites that frame (fkv_txn_rollback_hosted).
**
** The second row of the table is a backup's stamp (backup.c, and the engine's store/backup.c).
*/
#include "host.h"

#include <string.h>

#include "base/coding.h"
#include "base/status.h"
#include "conn.h"

SQLITE_EXTENSION_INIT3

enum { ID_BYTES = 8, LOOK_MS = 1000 };

void host_release(conn *c)
{
    host_state *h = &c->host;

    sqlite3_finalize(h->synchronous);
    sqlite3_finalize(h->read_id);
    sqlite3_finalize(h->journal_mode);
    for (int i = 0; i < 3; i++) {
        sqlite3_finalize(h->page1_read[i]);
        h->page1_read[i] = NULL;
    }
    h->synchronous = h->read_id = h->journal_mode = NULL;
}

/* A statement kept in *kept, made of a format with one %w for the schema. A result code. */
static int prepare_kept(conn *c, sqlite3_stmt **kept, const char *format)
{
    char *sql;
    int rc;

    if (*kept) return SQLITE_OK;
    sql = sqlite3_mprintf(format, c->schema);
    rc = sql ? sqlite3_prepare_v3(c->owner->db, sql, -1, SQLITE_PREPARE_PERSISTENT, kept, NULL)
             : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

/* The same where the reason does not matter: NULL if it cannot be. */
static sqlite3_stmt *prepared(conn *c, sqlite3_stmt **kept, const char *format)
{
    return prepare_kept(c, kept, format) == SQLITE_OK ? *kept : NULL;
}

fkv_durability host_durability(conn *c)
{
    enum { BELIEVED = 7 };
    sqlite3_stmt *s = prepared(c, &c->host.synchronous, "PRAGMA \"%w\".synchronous");
    int level = 2;

    if (s && sqlite3_step(s) == SQLITE_ROW) level = sqlite3_column_int(s, 0);
    if (s) (void)sqlite3_reset(s);
    c->host.believed = level >= 2 ? BELIEVED : 0;
    return level >= 2 ? FKV_SYNC : level == 1 ? FKV_BACKGROUND : FKV_NONE;
}

/* SQLite compiles a PRAGMA anew whenever it is run, and a commit that has just slept in fdatasync
** feels that most. */
fkv_durability host_least_durability(conn *c)
{
    if (c->host.believed <= 0) return host_durability(c);
    c->host.believed--;
    return FKV_SYNC;
}

int host_make_table(sqlite3 *db, const char *schema, char **error)
{
    char *text = NULL;
    char *sql = sqlite3_mprintf("CREATE TABLE IF NOT EXISTS \"%w\"." HOST_TABLE "(id BLOB);"
                                "INSERT INTO \"%w\"." HOST_TABLE "(rowid, id) SELECT 1, "
                                "zeroblob(8) WHERE NOT EXISTS (SELECT 1 FROM \"%w\"." HOST_TABLE
                                ")",
                                schema, schema, schema);
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(db);
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, &text) : SQLITE_NOMEM;

    sqlite3_set_last_insert_rowid(db, rowid);
    if (rc && text) *error = sqlite3_mprintf("fastkv: %s", text);
    sqlite3_free(text);
    sqlite3_free(sql);
    return rc;
}

#define READ_ID "SELECT id FROM \"%w\"." HOST_TABLE " WHERE rowid = 1"
#define READ_STAMP "SELECT id FROM \"%w\"." HOST_TABLE " WHERE rowid = 2"

/* The id in a row of READ_ID. */
static uint64_t id_of_row(sqlite3_stmt *s)
{
    const void *blob = sqlite3_column_blob(s, 0);

    return blob && sqlite3_column_bytes(s, 0) == ID_BYTES ? get_u64(blob) : 0;
}

/* What it means that READ_ID has ended so. */
static fkv_status id_unread(conn *c, int rc)
{
    const char *text = sqlite3_errmsg(c->owner->db);

    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ERROR: /* no such table */
    case SQLITE_AUTH:
        return FKV_OK;
    case SQLITE_NOMEM:
        return FKV_RAISE(FKV_NOMEM);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return FKV_RAISEF(FKV_CORRUPT, "cannot read table \"" HOST_TABLE "\": %s", text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
        return FKV_RAISEF(FKV_BUSY, "cannot read table \"" HOST_TABLE "\": %s", text);
    default:
        return FKV_RAISEF(FKV_IOERR, "cannot read table \"" HOST_TABLE "\": %s", text);
    }
}

static fkv_status read_id(conn *c)
{
    host_state *h = &c->host;
    int rc = prepare_kept(c, &h->read_id, READ_ID);
    fkv_status st;

    if (rc == SQLITE_OK) {
        if (sqlite3_step(h->read_id) == SQLITE_ROW) h->id = id_of_row(h->read_id);
        rc = sqlite3_reset(h->read_id);
    }
    st = id_unread(c, rc);
    if (st) h->id = 0;
    return st;
}

fkv_status host_id(conn *c, uint64_t *id)
{
    host_state *h = &c->host;
    unsigned version = 0;
    int known = sqlite3_file_control(c->owner->db, c->schema, SQLITE_FCNTL_DATA_VERSION,
                                     &version) == SQLITE_OK;
    fkv_status st = FKV_OK;

    if (!known || !h->id_known || version != h->data_version) {
        h->id = 0;
        h->id_known = 0;
        st = read_id(c);
        if (st == FKV_OK) h->id_known = known;
        h->data_version = version;
    }
    *id = h->id;
    return st;
}

static int write_blob(conn *c, const uint8_t bytes[ID_BYTES])
{
    sqlite3_blob *blob = NULL;
    int rc = sqlite3_blob_open(c->owner->db, c->schema, HOST_TABLE, "id", 1, 1, &blob);
    int closed;

    if (rc == SQLITE_OK && sqlite3_blob_bytes(blob) != ID_BYTES) rc = SQLITE_ERROR;
    if (rc == SQLITE_OK) rc = sqlite3_blob_write(blob, bytes, ID_BYTES, 0);
    closed = sqlite3_blob_close(blob);
    return rc ? rc : closed;
}

/* The row anew, whatever was there. */
static int put_row(conn *c, char **error)
{
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(c->owner->db);
    char *text = NULL;
    char *sql = sqlite3_mprintf("REPLACE INTO \"%w\"." HOST_TABLE "(rowid, id) VALUES(1, "
                                "zeroblob(8))",
                                c->schema);
    int rc = sql ? sqlite3_exec(c->owner->db, sql, NULL, NULL, &text) : SQLITE_NOMEM;

    sqlite3_set_last_insert_rowid(c->owner->db, rowid);
    if (rc && text) *error = sqlite3_mprintf("fastkv: %s", text);
    sqlite3_free(text);
    sqlite3_free(sql);
    return rc;
}

int host_write_id(conn *c, uint64_t id, char **error)
{
    uint8_t bytes[ID_BYTES];
    int rc;

    put_u64(bytes, id);
    rc = write_blob(c, bytes);
    if (rc == SQLITE_ERROR) { /* somebody removed the table or its row, or spoilt it */
        rc = host_make_table(c->owner->db, c->schema, error);
        if (rc == SQLITE_OK) rc = put_row(c, error);
        if (rc == SQLITE_OK) rc = write_blob(c, bytes);
    }
    c->host.id_known = 0;
    c->host.written = id;
    if (rc && !*error) {
        *error = sqlite3_mprintf("fastkv: cannot write to table \"" HOST_TABLE "\": %s",
                                 sqlite3_errmsg(c->owner->db));
    }
    return rc;
}

static int journal_mode_is_wal(conn *c)
{
    sqlite3_stmt *s = prepared(c, &c->host.journal_mode, "PRAGMA \"%w\".journal_mode");
    int wal = 0;

    if (s && sqlite3_step(s) == SQLITE_ROW) {
        wal = sqlite3_stricmp((const char *)sqlite3_column_text(s, 0), "wal") == 0;
    }
    if (s) (void)sqlite3_reset(s);
    return wal;
}

/* Is this file, which the database has open beside it, its WAL? SQLite compiles a PRAGMA anew for
** every time it is run, half of what a small commit costs in its code, so the answer is kept. It
** holds as long as the two pointers do: the object of a rollback journal lies in one piece of
** memory with that of the database, that of a WAL is a piece of its own. */
static int is_wal(conn *c, const sqlite3_file *file)
{
    host_state *h = &c->host;
    sqlite3_file *database = NULL;

    (void)sqlite3_file_control(c->owner->db, c->schema, SQLITE_FCNTL_FILE_POINTER, &database);
    if (database && database == h->database && file == h->wal) return 1;
    if (!journal_mode_is_wal(c)) return 0;
    h->database = database;
    h->wal = file;
    return 1;
}

/* A rollback journal. In WAL mode the pointer is that of the WAL file, which is always open. */
static int journal_is_open(conn *c)
{
    sqlite3_file *journal = NULL;

    if (sqlite3_file_control(c->owner->db, c->schema, SQLITE_FCNTL_JOURNAL_POINTER, &journal)) {
        return 1;
    }
    return journal && journal->pMethods && !is_wal(c, journal);
}

static int db_count(conn *c, int op)
{
    int now = 0, unused = 0;

    (void)sqlite3_db_status(c->owner->db, op, &now, &unused, 0);
    return now;
}

static int cache_was_dirty(conn *c)
{
    int writes = db_count(c, SQLITE_DBSTATUS_CACHE_WRITE);

    if (db_count(c, SQLITE_DBSTATUS_CACHE_SPILL) != c->host.spills) return 1;
    if (sqlite3_db_cacheflush(c->owner->db) != SQLITE_OK) return 1;
    return db_count(c, SQLITE_DBSTATUS_CACHE_WRITE) != writes;
}

static unsigned data_version(conn *c)
{
    unsigned version = 0;

    (void)sqlite3_file_control(c->owner->db, c->schema, SQLITE_FCNTL_DATA_VERSION, &version);
    return version;
}

/* Has page 1 another content than at the last look? */
static int page1_changed(conn *c)
{
    static const char *const pragmas[3] = {"PRAGMA \"%w\".schema_version",
                                           "PRAGMA \"%w\".user_version",
                                           "PRAGMA \"%w\".application_id"};
    host_state *h = &c->host;
    unsigned version = data_version(c);
    int changed = !h->page1_known || version != h->page1_version;

    /* (Between two snapshots the numbers may have gone there and back.) */
    h->page1_version = version;
    h->page1_looked = 1;
    h->page1_known = 1;
    for (int i = 0; i < 3; i++) {
        sqlite3_stmt *s = prepared(c, &h->page1_read[i], pragmas[i]);
        int64_t now = 0;
        if (s && sqlite3_step(s) == SQLITE_ROW) {
            now = sqlite3_column_int64(s, 0);
        } else {
            h->page1_known = 0;
        }
        if (s) (void)sqlite3_reset(s);
        changed |= now != h->page1[i];
        h->page1[i] = now;
    }
    return changed || !h->page1_known;
}

void host_opened(conn *c)
{
    if (sqlite3_get_autocommit(c->owner->db)) (void)page1_changed(c);
    host_ended(c, 1);
}

/* Statements under way besides the COMMIT that we are in. */
static int others_are_busy(sqlite3 *db)
{
    int busy = 0;

    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
        busy += sqlite3_stmt_busy(s);
    }
    return busy > 1;
}

int host_changed(conn *c)
{
    int changed = journal_is_open(c) || cache_was_dirty(c);

    if (c->one_statement) return changed; /* no cursor holds a page now */
    changed |= page1_changed(c);          /* asked in any case: it remembers */
    return changed || others_are_busy(c->owner->db);
}

void host_began(conn *c)
{
    c->host.begin_version = data_version(c);
}

void host_ended(conn *c, int committed)
{
    host_state *h = &c->host;
    int same_snapshot = h->page1_known && h->begin_version == h->page1_version;

    if (h->page1_looked) { /* what was seen is what the commit has made */
        h->page1_version = data_version(c);
        h->page1_known = committed;
    } else if (same_snapshot && committed && !h->written) { /* and it changed nothing there */
        h->page1_version = data_version(c);
    }
    h->written = 0;
    h->page1_looked = 0;
    c->host.spills = db_count(c, SQLITE_DBSTATUS_CACHE_SPILL);
}

/* Read the id or the stamp by a statement for this once. *value is 0 if there is none. A result
** code: it cannot be told. */
static int read_once(sqlite3 *db, const char *schema, const char *format, uint64_t *value)
{
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf(format, schema);
    int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &s, NULL) : SQLITE_NOMEM;

    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    *value = rc == SQLITE_ROW ? id_of_row(s) : 0;
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    /* (SQLITE_ERROR: no such table.) */
    return rc == SQLITE_ROW || rc == SQLITE_DONE || rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

/* In the file that `db` has open. SQLite syncs a WAL at a commit with synchronous=FULL, a truncated
** journal as well, the folder never (but with EXTRA). */
static int make_durable(sqlite3 *db, const char *schema, fkv_durability level)
{
    sqlite3_file *journal = NULL;

    if (level == FKV_NONE) return 1;
    if (sqlite3_file_control(db, schema, SQLITE_FCNTL_JOURNAL_POINTER, &journal)) return 0;
    if (!journal || !journal->pMethods) {
        return fkv_sync_host_journal(NULL, sqlite3_db_filename(db, schema)) == FKV_OK;
    }
    return level == FKV_SYNC || journal->pMethods->xSync(journal, SQLITE_SYNC_NORMAL) == SQLITE_OK;
}

/* Look at the id, or the stamp, through another connection. 1: *id is what is committed now, and
** durable, for what is made of it may be. */
static int look_again(conn *c, const char *format, uint64_t *id)
{
    sqlite3 *db = NULL;
    sqlite3_vfs *vfs = NULL;
    int known = 0;
    int rc = sqlite3_file_control(c->owner->db, c->schema, SQLITE_FCNTL_VFS_POINTER, &vfs);
    int flags = sqlite3_db_readonly(c->owner->db, c->schema) == 1 ? SQLITE_OPEN_READONLY
                                                                  : SQLITE_OPEN_READWRITE;

    if (rc == SQLITE_OK) {
        rc = sqlite3_open_v2(sqlite3_db_filename(c->owner->db, c->schema), &db, flags,
                             vfs ? vfs->zName : NULL);
    }
    if (rc == SQLITE_OK && db) {
        (void)sqlite3_busy_timeout(db, LOOK_MS);
        known = read_once(db, "main", format, id) == SQLITE_OK;
        if (known && *id) known = make_durable(db, "main", FKV_BACKGROUND);
    }
    (void)sqlite3_close(db);
    return known;
}

fkv_status host_check_pair(conn *c)
{
    uint64_t known = fkv_host_id(c->store), seen; /* in this order: the host commits first */

    if (!look_again(c, READ_ID, &seen) || seen == 0 || seen >= known) return FKV_OK;
    return FKV_RAISEF(
        FKV_CORRUPT,
        "the database \"%s\" is older than its store: one of the two was copied or put "
        "back without the other",
        sqlite3_db_filename(c->owner->db, c->schema));
}

int host_make_durable(conn *c)
{
    return make_durable(c->owner->db, c->schema, c->host.level);
}

int host_has(conn *c, uint64_t id)
{
    uint64_t seen;

    /* sqlite3_close() rolls virtual tables back while the transaction is still open. */
    if (sqlite3_txn_state(c->owner->db, c->schema) == SQLITE_TXN_WRITE) return 0;
    if (!look_again(c, READ_ID, &seen)) return -1;
    return seen == id;
}

int host_committed(void *arg, uint64_t id)
{
    conn *c = arg;
    uint64_t seen;

    if (host_id(c, &seen)) return -1;

    /* An id only grows: what this snapshot has is committed, however old it is. But a later one
    ** says nothing of one that was rolled back before it. */
    if (seen > id) return 0;
    if (seen == id) return make_durable(c->owner->db, c->schema, FKV_BACKGROUND) ? 1 : -1;
    if (sqlite3_txn_state(c->owner->db, c->schema) == SQLITE_TXN_WRITE) return 0;
    if (!look_again(c, READ_ID, &seen)) return -1;
    return seen == id;
}

/* -- stamps (backup.c) ------------------------------------------------------------------------- */

int host_stamp(sqlite3 *db, const char *schema, uint64_t *out)
{
    return read_once(db, schema, READ_STAMP, out);
}

int host_put_stamp(sqlite3 *db, uint64_t stamp, char **error)
{
    uint8_t bytes[ID_BYTES];
    sqlite3_stmt *s = NULL;
    int rc = host_make_table(db, "main", error);

    if (rc) return rc;
    put_u64(bytes, stamp);
    rc = sqlite3_prepare_v2(db, "REPLACE INTO " HOST_TABLE "(rowid, id) VALUES(2, ?1)", -1, &s,
                            NULL);
    if (rc == SQLITE_OK) rc = sqlite3_bind_blob(s, 1, bytes, sizeof bytes, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        (void)sqlite3_step(s);
        rc = sqlite3_reset(s);
    }
    if (rc) *error = sqlite3_mprintf("fastkv: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(s);
    return rc;
}

uint64_t host_id_of_file(sqlite3 *db)
{
    uint64_t id;

    (void)read_once(db, "main", READ_ID, &id);
    return id;
}

void host_forget(conn *c)
{
    host_release(c);
    c->host = (host_state){0};
}

int host_stamped(void *arg, uint64_t stamp)
{
    conn *c = arg;
    uint64_t there, seen;

    if (host_stamp(c->owner->db, c->schema, &there)) return -1;
    /* What this snapshot has is there, however old it is; what it has not, may have come since. */
    if (there == stamp) return make_durable(c->owner->db, c->schema, FKV_BACKGROUND) ? 1 : -1;
    if (sqlite3_txn_state(c->owner->db, c->schema) == SQLITE_TXN_WRITE) return 0;
    if (!look_again(c, READ_STAMP, &seen)) return -1;
    return seen == stamp;
}

int host_file_committed(void *arg, uint64_t id)
{
    uint64_t there;

    return read_once(arg, "main", READ_ID, &there) ? -1 : there == id;
}

int host_file_stamped(void *arg, uint64_t stamp)
{
    uint64_t there;

    return host_stamp(arg, "main", &there) ? -1 : there == stamp;
}
