/*
** lmdb.c -- LMDB. It has neither write buffers nor a cache nor a log: the system's page cache is
** all of it. MDB_NOSYNC is its "no fsync"; a process that is killed leaves its commits there.
*/
#include "peer.h"

#include <lmdb.h>

typedef struct mdb {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *write, *read; /* read: reset while there is no view */
    MDB_cursor *cursor;
    int viewing, down;
    MDB_cursor_op first; /* the move that the next row takes */
    MDB_val from;
} mdb;

/* Address space, not memory: enough for the largest run. */
#define MAP_SIZE ((size_t)1 << 36)

static void check(int rc)
{
    if (rc) peer_fail("LMDB", mdb_strerror(rc));
}

static MDB_val val(const void *data, size_t size)
{
    MDB_val v = {size, NULL};

    memcpy(&v.mv_data, &data, sizeof data); /* not const there, and not written to */
    return v;
}

static void *mdb_peer_open(const char *dir)
{
    mdb *m = peer_alloc(sizeof *m);

    check(mdb_env_create(&m->env));
    check(mdb_env_set_mapsize(m->env, MAP_SIZE));
    check(mdb_env_open(m->env, dir, MDB_NOSYNC, 0644));
    check(mdb_txn_begin(m->env, NULL, 0, &m->write));
    check(mdb_dbi_open(m->write, NULL, 0, &m->dbi));
    check(mdb_txn_commit(m->write));
    check(mdb_txn_begin(m->env, NULL, MDB_RDONLY, &m->read));
    check(mdb_cursor_open(m->read, m->dbi, &m->cursor));
    mdb_txn_reset(m->read);
    return m;
}

static void mdb_peer_close(void *db)
{
    mdb *m = db;

    mdb_cursor_close(m->cursor);
    mdb_txn_abort(m->read);
    check(mdb_env_sync(m->env, 1));
    mdb_env_close(m->env);
    free(m);
}

static void mdb_begin(void *db)
{
    mdb *m = db;

    check(mdb_txn_begin(m->env, NULL, 0, &m->write));
}

static void mdb_peer_put(void *db, const char *key, const void *value)
{
    mdb *m = db;
    MDB_val k = val(key, KEY_BYTES), v = val(value, VALUE_BYTES);

    check(mdb_put(m->write, m->dbi, &k, &v, 0));
}

static void mdb_commit(void *db)
{
    check(mdb_txn_commit(((mdb *)db)->write));
}

static void mdb_put_one(void *db, const char *key, const void *value, int sync)
{
    mdb *m = db;

    check(mdb_env_set_flags(m->env, MDB_NOSYNC, !sync));
    mdb_begin(db);
    mdb_peer_put(db, key, value);
    mdb_commit(db);
}

static void mdb_view(void *db)
{
    mdb *m = db;

    check(mdb_txn_renew(m->read));
    check(mdb_cursor_renew(m->read, m->cursor));
    m->viewing = 1;
}

static void mdb_unview(void *db)
{
    mdb *m = db;

    mdb_txn_reset(m->read);
    m->viewing = 0;
}

static void mdb_release(void *db)
{
    mdb *m = db;

    if (!m->viewing) mdb_txn_reset(m->read);
}

static int mdb_peer_get(void *db, const char *key, peer_slice *value)
{
    mdb *m = db;
    MDB_val k = val(key, KEY_BYTES), v;
    int rc;

    if (!m->viewing) check(mdb_txn_renew(m->read));
    rc = mdb_get(m->read, m->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) {
        mdb_release(db);
        return 0;
    }
    check(rc);
    value->data = v.mv_data;
    value->size = v.mv_size;
    return 1;
}

static void mdb_seek(void *db, const char *key, int down, size_t limit)
{
    mdb *m = db;
    MDB_val k, v;
    int rc;

    (void)limit;
    m->down = down;
    m->first = down ? MDB_LAST : MDB_FIRST;
    if (!key) return;
    k = val(key, KEY_BYTES);
    rc = mdb_cursor_get(m->cursor, &k, &v, MDB_SET_RANGE);
    if (rc != MDB_NOTFOUND) check(rc);
    if (!down) {
        m->first = rc ? MDB_NEXT : MDB_GET_CURRENT;
    } else if (!rc) {
        m->first = memcmp(k.mv_data, key, KEY_BYTES) > 0 ? MDB_PREV : MDB_GET_CURRENT;
    }
}

static int mdb_next(void *db, peer_slice *key, peer_slice *value)
{
    mdb *m = db;
    MDB_val k, v;
    int rc = mdb_cursor_get(m->cursor, &k, &v, m->first);

    m->first = m->down ? MDB_PREV : MDB_NEXT;
    if (rc == MDB_NOTFOUND) return 0;
    check(rc);
    key->data = k.mv_data;
    key->size = k.mv_size;
    value->data = v.mv_data;
    value->size = v.mv_size;
    return 1;
}

static void mdb_seek_end(void *db)
{
    (void)db;
}

static void mdb_settle(void *db)
{
    check(mdb_env_sync(((mdb *)db)->env, 1));
}

BENCH_PEER = {.open = mdb_peer_open,
              .close = mdb_peer_close,
              .begin = mdb_begin,
              .put = mdb_peer_put,
              .commit = mdb_commit,
              .put_one = mdb_put_one,
              .view = mdb_view,
              .unview = mdb_unview,
              .get = mdb_peer_get,
              .release = mdb_release,
              .seek = mdb_seek,
              .next = mdb_next,
              .seek_end = mdb_seek_end,
              .settle = mdb_settle};
