/* sql.c -- fastkv and a native table through SQL: the same statements for both. */
#include "bench.h"

#include <sqlite3.h>

typedef struct host {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *replace, *get, *all[2], *range[2];
    sqlite3_stmt *cursor; /* one of the last four, being walked through */
    int full;             /* synchronous = FULL */
} host;

static const bench_options *options;
static int native_table;

void sql_begin_as(const bench_options *o, int native)
{
    options = o;
    native_table = native;
}

int sql_is_native(void)
{
    return native_table;
}

sqlite3 *sql_handle(void *db)
{
    return ((host *)db)->db;
}

static void exec(host *h, const char *sql)
{
    char *error = NULL;

    if (sqlite3_exec(h->db, sql, NULL, NULL, &error)) bench_fail("%s: %s", sql, error);
}

static sqlite3_stmt *prepare(host *h, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v3(h->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL))
        bench_fail("%s: %s", sql, sqlite3_errmsg(h->db));
    return stmt;
}

static void run(host *h, sqlite3_stmt *stmt)
{
    if (sqlite3_step(stmt) != SQLITE_DONE)
        bench_fail("%s: %s", sqlite3_sql(stmt), sqlite3_errmsg(h->db));
    (void)sqlite3_reset(stmt);
}

static void *host_open(const char *dir)
{
    host *h = peer_alloc(sizeof *h);
    char path[PATH_SIZE + 8], *error = NULL;

    (void)snprintf(path, sizeof path, "%s/kv.db", dir);
    if (sqlite3_open(path, &h->db)) bench_fail("%s: %s", path, sqlite3_errmsg(h->db));
    if (!native_table) {
        (void)sqlite3_enable_load_extension(h->db, 1);
        if (sqlite3_load_extension(h->db, options->so, NULL, &error))
            bench_fail("%s: %s", options->so, error);
    }
    exec(h, "PRAGMA journal_mode = WAL");
    exec(h, "PRAGMA synchronous = NORMAL");
    exec(h, "PRAGMA cache_size = -65536");        /* PEER_CACHE */
    exec(h, "PRAGMA wal_autocheckpoint = 16384"); /* PEER_BUFFER in pages */
    exec(h, native_table ? "CREATE TABLE IF NOT EXISTS kv(key PRIMARY KEY, value) WITHOUT ROWID"
                         : "CREATE VIRTUAL TABLE IF NOT EXISTS kv USING fastkv");
    h->begin = prepare(h, "BEGIN");
    h->commit = prepare(h, "COMMIT");
    h->replace = prepare(h, "REPLACE INTO kv(key, value) VALUES(?1, ?2)");
    h->get = prepare(h, "SELECT value FROM kv WHERE key = ?1");
    h->all[0] = prepare(h, "SELECT key, value FROM kv ORDER BY key");
    h->all[1] = prepare(h, "SELECT key, value FROM kv ORDER BY key DESC");
    h->range[0] = prepare(h, "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key LIMIT ?2");
    h->range[1] =
        prepare(h, "SELECT key, value FROM kv WHERE key <= ?1 ORDER BY key DESC LIMIT ?2");
    return h;
}

static void host_close(void *db)
{
    host *h = db;
    sqlite3_stmt *all[] = {h->begin,  h->commit, h->replace,  h->get,
                           h->all[0], h->all[1], h->range[0], h->range[1]};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) (void)sqlite3_finalize(all[i]);
    if (sqlite3_close(h->db)) bench_fail("close: %s", sqlite3_errmsg(h->db));
    free(h);
}

static void host_begin(void *db)
{
    run(db, ((host *)db)->begin);
}

static void host_put(void *db, const char *key, const void *value)
{
    host *h = db;

    (void)sqlite3_bind_text(h->replace, 1, key, KEY_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_blob(h->replace, 2, value, VALUE_BYTES, SQLITE_STATIC);
    run(h, h->replace);
}

static void host_commit(void *db)
{
    run(db, ((host *)db)->commit);
}

static void host_put_one(void *db, const char *key, const void *value, int sync)
{
    host *h = db;

    if (h->full != sync)
        exec(h, sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    h->full = sync;
    host_put(db, key, value);
}

static int host_get(void *db, const char *key, peer_slice *value)
{
    host *h = db;
    int rc;

    (void)sqlite3_bind_text(h->get, 1, key, KEY_BYTES, SQLITE_STATIC);
    rc = sqlite3_step(h->get);
    if (rc == SQLITE_DONE) {
        (void)sqlite3_reset(h->get);
        return 0;
    }
    if (rc != SQLITE_ROW) bench_fail("a point read: %s", sqlite3_errmsg(h->db));
    value->data = sqlite3_column_blob(h->get, 0);
    value->size = (size_t)sqlite3_column_bytes(h->get, 0);
    return 1;
}

static void host_release(void *db)
{
    (void)sqlite3_reset(((host *)db)->get);
}

static void host_seek(void *db, const char *key, int down, size_t limit)
{
    host *h = db;

    h->cursor = key ? h->range[down] : h->all[down];
    if (!key) return;
    (void)sqlite3_bind_text(h->cursor, 1, key, KEY_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_int64(h->cursor, 2, limit ? (sqlite3_int64)limit : -1);
}

static int host_next(void *db, peer_slice *key, peer_slice *value)
{
    host *h = db;
    int rc = sqlite3_step(h->cursor);

    if (rc == SQLITE_DONE) return 0;
    if (rc != SQLITE_ROW) bench_fail("a range: %s", sqlite3_errmsg(h->db));
    key->data = sqlite3_column_text(h->cursor, 0);
    key->size = (size_t)sqlite3_column_bytes(h->cursor, 0);
    value->data = sqlite3_column_blob(h->cursor, 1);
    value->size = (size_t)sqlite3_column_bytes(h->cursor, 1);
    return 1;
}

static void host_seek_end(void *db)
{
    (void)sqlite3_reset(((host *)db)->cursor);
}

static void host_settle(void *db)
{
    exec(db,
         native_table ? "PRAGMA wal_checkpoint(TRUNCATE)" : "INSERT INTO kv(kv) VALUES('settle')");
}

const bench_engine sql_engine = {.open = host_open,
                                 .close = host_close,
                                 .begin = host_begin,
                                 .put = host_put,
                                 .commit = host_commit,
                                 .put_one = host_put_one,
                                 .view = host_begin,
                                 .unview = host_commit,
                                 .get = host_get,
                                 .release = host_release,
                                 .seek = host_seek,
                                 .next = host_next,
                                 .seek_end = host_seek_end,
                                 .settle = host_settle};
