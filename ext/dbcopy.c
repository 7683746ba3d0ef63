#include "dbcopy.h"

#include "host.h"

SQLITE_EXTENSION_INIT3

enum { WAIT_MS = 1000 };

static sqlite3_vfs *vfs_of(sqlite3 *db, const char *schema)
{
    sqlite3_vfs *vfs = NULL;

    (void)sqlite3_file_control(db, schema, SQLITE_FCNTL_VFS_POINTER, &vfs);
    return vfs ? vfs : sqlite3_vfs_find(NULL);
}

static int busy_timeout(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int ms = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        ms = sqlite3_column_int(s, 0);
    }
    (void)sqlite3_finalize(s);
    return ms > WAIT_MS ? ms : WAIT_MS;
}

static int failed(sqlite3 *db, int rc, const char *what, char **error)
{
    if (rc && !*error) *error = sqlite3_mprintf("fastkv: %s: %s", what, sqlite3_errmsg(db));
    return rc;
}

int dbcopy_open(sqlite3 *db, const char *schema, const char *file, int flags, sqlite3 **out,
                char **error)
{
    int rc = sqlite3_open_v2(file, out, flags, vfs_of(db, schema)->zName);

    if (rc) {
        (void)failed(*out, rc, file, error);
        (void)sqlite3_close(*out);
        *out = NULL;
        return rc;
    }
    (void)sqlite3_busy_timeout(*out, busy_timeout(db));
    return rc;
}

int dbcopy_exists(sqlite3 *db, const char *schema, const char *file, const char *suffix, int *there)
{
    sqlite3_vfs *vfs = vfs_of(db, schema);
    char *path = sqlite3_mprintf("%s%s", file, suffix);
    int rc = path ? vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, there) : SQLITE_NOMEM;

    sqlite3_free(path);
    if (rc) *there = 0;
    return rc;
}

int dbcopy_hold(sqlite3 *source, char **error)
{
    int rc = sqlite3_exec(source, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);

    return failed(source, rc, "the database cannot be read", error);
}

void dbcopy_remove(sqlite3 *db, const char *schema, const char *file)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    sqlite3_vfs *vfs = vfs_of(db, schema);

    for (int i = 0; i < 4; i++) {
        char *path = sqlite3_mprintf("%s%s", file, suffixes[i]);
        if (path) (void)vfs->xDelete(vfs, path, 0); /* (to xAccess an empty file is not there) */
        sqlite3_free(path);
    }
}

int dbcopy_into(sqlite3 *to, sqlite3 *source, char **error)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", source, "main");
    int rc, ended;

    if (!b) return failed(to, sqlite3_errcode(to), "the database cannot be copied", error);
    rc = sqlite3_backup_step(b, -1);
    ended = sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE) rc = ended;
    if (rc) {
        *error = sqlite3_mprintf("fastkv: the database cannot be copied: %s", sqlite3_errstr(rc));
    }
    return rc;
}

int dbcopy_make(sqlite3 *db, const char *schema, sqlite3 *source, const char *to, uint64_t stamp,
                char **error)
{
    sqlite3 *copy = NULL;
    int rc, closed, log_left = 0;

    dbcopy_remove(db, schema, to);
    rc = dbcopy_open(db, schema, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &copy, error);
    if (rc == SQLITE_OK) rc = dbcopy_into(copy, source, error);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(copy, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
        if (rc == SQLITE_OK) rc = host_put_stamp(copy, stamp, error);
    }
    closed = sqlite3_close(copy);
    if (rc == SQLITE_OK) rc = closed;
    /* In WAL mode the last close brings all into the file and removes the log, or says nothing. */
    if (rc == SQLITE_OK) rc = dbcopy_exists(db, schema, to, "-wal", &log_left);
    if (rc == SQLITE_OK && log_left) {
        rc = SQLITE_IOERR;
        *error = sqlite3_mprintf("fastkv: the copy of the database could not be closed in order");
    }
    if (rc && !*error) {
        *error = sqlite3_mprintf("fastkv: the database cannot be copied: %s", sqlite3_errstr(rc));
    }
    if (rc) dbcopy_remove(db, schema, to);
    return rc;
}
