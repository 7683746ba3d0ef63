/*
** wiredtiger.c -- WiredTiger with an LSM tree. Its write buffer, the newest chunk of the tree, is
** part of its cache, so the cache gets what the others have in write buffers and cache together,
** and the 4 MB more without which it refuses to open.
*/
#include "peer.h"

#include <wiredtiger.h>

typedef struct tiger {
    WT_CONNECTION *connection;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    int down, unread; /* unread: the cursor is on the row that next has to give */
} tiger;

static void check(int rc)
{
    if (rc) peer_fail("WiredTiger", wiredtiger_strerror(rc));
}

static void *tiger_open(const char *dir)
{
    tiger *t = peer_alloc(sizeof *t);
    char config[300];

    /* method=none: a commit hands its log record to the system, and does not sync. */
    (void)snprintf(config, sizeof config,
                   "create,cache_size=%d,log=(enabled=true),"
                   "transaction_sync=(enabled=true,method=none)",
                   PEER_CACHE + 2 * PEER_BUFFER + (4 << 20));
    check(wiredtiger_open(dir, NULL, config, &t->connection));
    check(t->connection->open_session(t->connection, NULL, "isolation=snapshot", &t->session));
    (void)snprintf(config, sizeof config,
                   "type=lsm,key_format=u,value_format=u,"
                   "lsm=(chunk_size=%d,bloom_bit_count=%d)",
                   PEER_BUFFER, PEER_BLOOM_BITS);
    check(t->session->create(t->session, "table:kv", config));
    check(t->session->open_cursor(t->session, "table:kv", NULL, NULL, &t->cursor));
    return t;
}

static void tiger_close(void *db)
{
    tiger *t = db;

    check(t->connection->close(t->connection, NULL));
    free(t);
}

static void tiger_begin(void *db)
{
    tiger *t = db;

    check(t->session->begin_transaction(t->session, NULL));
}

static void tiger_put(void *db, const char *key, const void *value)
{
    WT_CURSOR *c = ((tiger *)db)->cursor;
    WT_ITEM k = {.data = key, .size = KEY_BYTES}, v = {.data = value, .size = VALUE_BYTES};

    c->set_key(c, &k);
    c->set_value(c, &v);
    check(c->insert(c));
}

static void tiger_commit(void *db)
{
    tiger *t = db;

    check(t->session->commit_transaction(t->session, NULL));
}

static void tiger_put_one(void *db, const char *key, const void *value, int sync)
{
    tiger *t = db;

    tiger_begin(db);
    tiger_put(db, key, value);
    tiger_commit(db);
    if (sync) check(t->session->log_flush(t->session, "sync=on"));
}

static void tiger_view(void *db)
{
    tiger_begin(db);
}

static void tiger_unview(void *db)
{
    tiger *t = db;

    check(t->cursor->reset(t->cursor));
    check(t->session->rollback_transaction(t->session, NULL));
}

static void tiger_release(void *db)
{
    WT_CURSOR *c = ((tiger *)db)->cursor;

    check(c->reset(c));
}

static int tiger_get(void *db, const char *key, peer_slice *value)
{
    WT_CURSOR *c = ((tiger *)db)->cursor;
    WT_ITEM k = {.data = key, .size = KEY_BYTES}, v;
    int rc;

    c->set_key(c, &k);
    rc = c->search(c);
    if (rc == WT_NOTFOUND) return 0;
    check(rc);
    check(c->get_value(c, &v));
    value->data = v.data;
    value->size = v.size;
    return 1;
}

static void tiger_seek(void *db, const char *key, int down, size_t limit)
{
    tiger *t = db;
    WT_CURSOR *c = t->cursor;
    WT_ITEM k = {.data = key, .size = KEY_BYTES};
    int rc, where = 0;

    (void)limit;
    t->down = down;
    t->unread = 0;
    check(c->reset(c));
    if (!key) return;
    c->set_key(c, &k);
    rc = c->search_near(c, &where);
    if (rc == WT_NOTFOUND) return;
    check(rc);
    t->unread = down ? where <= 0 : where >= 0; /* else one step further */
}

static int tiger_next(void *db, peer_slice *key, peer_slice *value)
{
    tiger *t = db;
    WT_CURSOR *c = t->cursor;
    WT_ITEM k, v;
    int rc = 0;

    if (!t->unread) rc = t->down ? c->prev(c) : c->next(c);
    t->unread = 0;
    if (rc == WT_NOTFOUND) return 0;
    check(rc);
    check(c->get_key(c, &k));
    check(c->get_value(c, &v));
    key->data = k.data;
    key->size = k.size;
    value->data = v.data;
    value->size = v.size;
    return 1;
}

static void tiger_seek_end(void *db)
{
    tiger_release(db);
}

static void tiger_settle(void *db)
{
    tiger *t = db;

    check(t->session->checkpoint(t->session, NULL));
}

BENCH_PEER = {.open = tiger_open,
              .close = tiger_close,
              .begin = tiger_begin,
              .put = tiger_put,
              .commit = tiger_commit,
              .put_one = tiger_put_one,
              .view = tiger_view,
              .unview = tiger_unview,
              .get = tiger_get,
              .release = tiger_release,
              .seek = tiger_seek,
              .next = tiger_next,
              .seek_end = tiger_seek_end,
              .settle = tiger_settle};
