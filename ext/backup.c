/*
** backup.c -- a database and its store, copied as one
**
** fastkv_backup(dir) makes `dir/<name>`, the database under its own name, and `dir/<name>-fastkv`,
** its store. What makes them a pair:
**
**   1. the store's writer lock is taken. Transactions that change both hold it from their first
**      write of a fastkv table until both have committed: now there is none in between.
**   2. a connection of its own begins a read transaction on the database, and the store's state is
**      taken. A transaction that changes native tables only may commit between the two: it comes
**      after all that the store holds, so the pair is still a state that has been.
**   3. the lock is given back; the rest takes its time.
**
** The database is copied by SQLite's backup interface from that read transaction (in WAL mode
** nobody waits for it; in a rollback journal mode writers of the database do, as for any reader)
** into a file beside the place it is to have. The store's files are put in place (store/backup.c),
** then the database is renamed: that is the moment at which the backup is the new one, wherever a
** crash comes. For that it holds the backup's stamp, in HOST_TABLE.
**
** A file that is not a backup of this store is never written over: a wrong `dir` must not cost an
** application its data. Nor is a backup that is in use, or was left with a journal beside it: it
** would be applied to the new file.
**
** fastkv_restore(dir [, name]) is the way back. The store in dir is copied into the application's
** folder (hard links again), and the database's content into the connected database, by SQLite, in
** one transaction: other connections to it see either. That transaction is what decides. Nobody
** else may have the store open, for its files change under them.
*/
#include "backup.h"

#include <string.h>

#include "dbcopy.h"
#include "errmap.h"
#include "host.h"
#include "lookup.h"
#include "meta.h"

SQLITE_EXTENSION_INIT3

enum { LOCK_MS = 5000 };

/* Where things are, and what is open. */
typedef struct job {
    registry *owner;
    const char *schema;
    const char *file; /* the connected database */
    char *parent;     /* where the copy goes */
    char *name;       /* of the database there */
    char *store;      /* name-fastkv */
    char *target;     /* parent/name */
    char *temporary;  /* the new database, until it counts */
    char *temporary_name;
    sqlite3 *source; /* what is copied */
    fkv_store *from; /* restore: the backup's store */
    fkv_backup *backup;
    fkv_backup_result result;
} job;

static void job_release(job *j)
{
    fkv_backup_free(j->backup);
    fkv_close(j->from);
    (void)sqlite3_close(j->source);
    sqlite3_free(j->parent);
    sqlite3_free(j->name);
    sqlite3_free(j->store);
    sqlite3_free(j->target);
    sqlite3_free(j->temporary);
    sqlite3_free(j->temporary_name);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int name_target(job *j, char *parent, char *name)
{
    j->parent = parent;
    j->name = name;
    if (parent && name) {
        j->store = sqlite3_mprintf("%s-fastkv", name);
        j->target = sqlite3_mprintf("%s/%s", parent, name);
        j->temporary = sqlite3_mprintf("%s/%s-fastkv-part", parent, name);
        j->temporary_name = sqlite3_mprintf("%s-fastkv-part", name);
    }
    return j->store && j->target && j->temporary && j->temporary_name ? SQLITE_OK : SQLITE_NOMEM;
}

static int begin(job *j, char **error)
{
    j->file = sqlite3_db_filename(j->owner->db, j->schema);
    if (!j->file) {
        return errmap_tell(error, SQLITE_ERROR, "fastkv: unknown database %s", j->schema);
    }
    if (!*j->file) {
        return errmap_tell(error, SQLITE_ERROR, "fastkv: a database in memory has no file to copy");
    }
    return SQLITE_OK;
}

/* -- backup ------------------------------------------------------------------------------------ */

static int target_has(job *j, const char *suffix, int *there, char **error)
{
    int rc = dbcopy_exists(j->owner->db, j->schema, j->target, suffix, there);

    return rc ? errmap_tell(error, rc, "fastkv: \"%s\": %s", j->target, sqlite3_errstr(rc)) : rc;
}

/* May the target be written over? *stamp: which backup it is; 0 = there is nothing. */
static int check_target(job *j, const uint8_t uuid[16], uint64_t *stamp, char **error)
{
    sqlite3 *db = NULL;
    uint64_t there = 0;
    int ours = 0, is_there = 0, rc;

    *stamp = 0;
    rc = target_has(j, "-wal", &is_there, error);
    if (rc == SQLITE_OK && !is_there) rc = target_has(j, "-journal", &is_there, error);
    if (rc) return rc;
    if (is_there) {
        return errmap_tell(error, SQLITE_BUSY,
                           "fastkv: \"%s\" is in use, or was not closed in order: open "
                           "and close it once",
                           j->target);
    }
    rc = target_has(j, "", &is_there, error);
    if (rc) return rc;
    if (!is_there) {
        /* (What a backup leaves that was cut short has no manifest yet.) */
        rc = target_has(j, "-fastkv/manifest", &is_there, error);
        if (rc || !is_there) return rc;
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: \"%s\" in \"%s\" is the store of a database that is "
                           "not there: choose another directory, or remove it",
                           j->store, j->parent);
    }
    rc = dbcopy_open(j->owner->db, j->schema, j->target, SQLITE_OPEN_READWRITE, &db, error);
    if (rc == SQLITE_OK) rc = host_stamp(db, "main", &there);
    if (rc == SQLITE_OK) rc = meta_names_store(db, "main", uuid, &ours);
    if (rc && !*error) {
        (void)errmap_tell(error, rc, "fastkv: \"%s\": %s", j->target, sqlite3_errstr(rc));
    }
    (void)sqlite3_close(db);
    if (rc == SQLITE_OK && there > 0 && ours) {
        *stamp = there;
        return SQLITE_OK;
    }
    if (rc && rc != SQLITE_NOTADB) return rc; /* it may well be one */
    sqlite3_free(*error);
    return errmap_tell(error, SQLITE_ERROR,
                       "fastkv: \"%s\" is there, and is no backup of this database: choose "
                       "another directory, or remove it and \"%s\"",
                       j->target, j->store);
}

/* The moment: see above. */
static int take_both(job *j, conn *c, char **error)
{
    fkv_status st = conn_decide(c);
    int rc;

    if (st == FKV_OK) st = fkv_txn_begin(c->txn, LOCK_MS);
    if (st) return errmap_give(error, st);
    rc = dbcopy_hold(j->source, error);
    if (rc == SQLITE_OK) rc = errmap_give(error, fkv_backup_new(c->store, c->txn, &j->backup));
    fkv_txn_rollback(c->txn);
    c->refresh = 1;
    return rc;
}

static int run_backup(job *j, const char *dir, char **error)
{
    kv_table *t = NULL;
    uint64_t older, stamp;
    uint8_t uuid[16];
    int rc = begin(j, error);

    if (rc == SQLITE_OK) rc = lookup_any(j->owner, j->schema, &t, error);
    if (rc) return rc;
    if (!t) {
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: there is no fastkv table in this database");
    }
    if (t->conn->in_txn || sqlite3_txn_state(j->owner->db, j->schema) == SQLITE_TXN_WRITE) {
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: fastkv_backup cannot run in a transaction that has "
                           "written; COMMIT first");
    }
    rc = name_target(j, sqlite3_mprintf("%s", dir), sqlite3_mprintf("%s", base_name(j->file)));
    if (rc) return rc;
    fkv_uuid(t->conn->store, uuid);
    rc = check_target(j, uuid, &older, error);
    if (rc == SQLITE_OK) {
        rc =
            dbcopy_open(j->owner->db, j->schema, j->file, SQLITE_OPEN_READWRITE, &j->source, error);
    }
    if (rc == SQLITE_OK) rc = take_both(j, t->conn, error);
    if (rc) return rc;
    rc = errmap_give(error,
                     fkv_backup_write(j->backup, j->parent, j->store, older, &stamp, &j->result));
    if (rc == SQLITE_OK) {
        rc = dbcopy_make(j->owner->db, j->schema, j->source, j->temporary, stamp, error);
    }
    if (rc) return rc;
    rc = errmap_give(error, fkv_backup_commit(j->backup, j->temporary_name, j->name));
    if (rc) dbcopy_remove(j->owner->db, j->schema, j->temporary);
    return rc;
}

/* -- restore ----------------------------------------------------------------------------------- */

static int open_source(job *j, const char *dir, const char *name, char **error)
{
    char *file = sqlite3_mprintf("%s/%s", dir, name);
    char *store = sqlite3_mprintf("%s/%s-fastkv", dir, name);
    fkv_options o = {
        .read_only = 1, .host_committed = host_file_committed, .host_stamped = host_file_stamped};
    uint8_t uuid[16];
    int ours = 0, rc = file && store ? SQLITE_OK : SQLITE_NOMEM;

    if (rc == SQLITE_OK) {
        rc = dbcopy_open(j->owner->db, j->schema, file, SQLITE_OPEN_READWRITE, &j->source, error);
    }
    if (rc == SQLITE_OK) rc = dbcopy_hold(j->source, error);
    if (rc == SQLITE_OK) {
        fkv_status st;
        o.host_arg = j->source;
        st = fkv_open(store, &o, &j->from);
        rc = errmap_give(error, st);
        if (st == FKV_NOTFOUND) {
            sqlite3_free(*error);
            rc = errmap_tell(error, SQLITE_CANTOPEN,
                             "fastkv: the store \"%s\" that belongs to \"%s\" is missing", store,
                             file);
        }
    }
    if (rc == SQLITE_OK) {
        fkv_uuid(j->from, uuid);
        rc = meta_names_store(j->source, "main", uuid, &ours);
        if (rc) (void)errmap_tell(error, rc, "fastkv: \"%s\": %s", file, sqlite3_errstr(rc));
        if (rc == SQLITE_OK && !ours) {
            rc = errmap_tell(error, SQLITE_ERROR, "fastkv: \"%s\" is not the store of \"%s\"",
                             store, file);
        }
    }
    if (rc == SQLITE_OK) rc = errmap_give(error, fkv_backup_new(j->from, NULL, &j->backup));
    sqlite3_free(file);
    sqlite3_free(store);
    return rc;
}

static int set_synchronous(sqlite3 *db, int level)
{
    char *sql = sqlite3_mprintf("PRAGMA main.synchronous = %d", level);
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return rc;
}

/* The transaction that decides is durable before the store's files change, whatever the application
** wants of its own. */
static int copy_durably(sqlite3 *to, sqlite3 *from, char **error)
{
    enum { EXTRA = 3 }; /* FULL does not sync that a journal is gone */
    sqlite3_stmt *s = NULL;
    int level = EXTRA, rc = sqlite3_prepare_v2(to, "PRAGMA main.synchronous", -1, &s, NULL);

    if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) level = sqlite3_column_int(s, 0);
    (void)sqlite3_finalize(s);
    if (rc == SQLITE_OK && level < EXTRA) rc = set_synchronous(to, EXTRA);
    if (rc) return errmap_tell(error, rc, "fastkv: %s", sqlite3_errmsg(to));
    rc = dbcopy_into(to, from, error);
    if (level < EXTRA) (void)set_synchronous(to, level);
    return rc;
}

/* The copy, with its stamp, into the connected database. */
static int replace_database(job *j, uint64_t stamp, char **error)
{
    sqlite3 *copy = NULL;
    int rc = dbcopy_make(j->owner->db, j->schema, j->source, j->temporary, stamp, error);

    if (rc) return rc;
    rc = dbcopy_open(j->owner->db, j->schema, j->temporary, SQLITE_OPEN_READWRITE, &copy, error);
    if (rc == SQLITE_OK) rc = copy_durably(j->owner->db, copy, error);
    (void)sqlite3_close(copy);
    dbcopy_remove(j->owner->db, j->schema, j->temporary);
    return rc;
}

static int run_restore(job *j, const char *dir, const char *name, char **error)
{
    uint64_t older, stamp;
    int rc = begin(j, error);

    if (rc) return rc;
    rc = name_target(j, sqlite3_mprintf("%.*s", (int)(base_name(j->file) - j->file), j->file),
                     sqlite3_mprintf("%s", base_name(j->file)));
    if (rc == SQLITE_OK) rc = open_source(j, dir, name ? name : j->name, error);
    if (rc == SQLITE_OK) {
        int busy = sqlite3_txn_state(j->owner->db, j->schema) != SQLITE_TXN_NONE;
        rc = kv_table_let_go(j->owner, j->schema, "fastkv_restore", busy, error);
    }
    if (rc) return rc;
    rc = host_stamp(j->owner->db, j->schema, &older);
    if (rc) return errmap_tell(error, rc, "fastkv: %s", sqlite3_errstr(rc));
    rc = errmap_give(error,
                     fkv_backup_write(j->backup, j->parent, j->store, older, &stamp, &j->result));
    if (rc == SQLITE_OK) rc = replace_database(j, stamp, error);
    return rc ? rc : errmap_give(error, fkv_backup_commit(j->backup, NULL, NULL));
}

/* -- as SQL functions -------------------------------------------------------------------------- */

static void tell(sqlite3_context *context, job *j, int rc, char *error)
{
    const fkv_backup_result *r = &j->result;

    if (rc) {
        if (error) sqlite3_result_error(context, error, -1);
        sqlite3_result_error_code(context, rc);
        sqlite3_free(error);
    } else {
        char *text = sqlite3_mprintf("{\"files\":%llu,\"kept\":%llu,\"linked\":%llu,"
                                     "\"copied\":%llu,\"bytes_copied\":%llu}",
                                     r->files, r->kept, r->linked, r->copied, r->bytes_copied);
        if (text) {
            sqlite3_result_text(context, text, -1, sqlite3_free);
        } else {
            sqlite3_result_error_nomem(context);
        }
    }
    job_release(j);
}

static const char *text_of(sqlite3_value *v)
{
    const char *text = (const char *)sqlite3_value_text(v);

    return text && *text ? text : NULL;
}

void backup_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *dir = text_of(argv[0]);
    job j = {.owner = sqlite3_user_data(context), .schema = "main"};
    char *error = NULL;
    int rc;

    if (argc > 1 && text_of(argv[1])) j.schema = text_of(argv[1]);
    if (!dir) {
        tell(context, &j, SQLITE_ERROR, sqlite3_mprintf("fastkv: fastkv_backup needs a directory"));
        return;
    }
    rc = run_backup(&j, dir, &error);
    tell(context, &j, rc, error);
}

void restore_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *dir = text_of(argv[0]);
    job j = {.owner = sqlite3_user_data(context), .schema = "main"};
    char *error = NULL;
    int rc;

    if (!dir) {
        tell(context, &j, SQLITE_ERROR,
             sqlite3_mprintf("fastkv: fastkv_restore needs a directory"));
        return;
    }
    rc = run_restore(&j, dir, argc > 1 ? text_of(argv[1]) : NULL, &error);
    tell(context, &j, rc, error);
}
