/*
** fastkv.c -- fastkv through its C header, linked with libfastkv.a as a program of a user would be.
**
** Its one budget stands at the default of 192 MB: what LevelDB may take with two write buffers (one
** that is filled, one that is flushed) and a cache of 64 MB each.
*/
#include "peer.h"

#include "fastkv.h"

typedef struct store {
    fkv_store *store;
    fkv_txn *txn;
    fkv_snapshot *snapshot; /* kept for reads without a view while nothing has changed */
    fkv_cursor *cursor;
    fkv_value got;
    int viewing, down, moved;
} store;

static void check(fkv_status rc)
{
    if (rc) peer_fail("fastkv", fkv_errmsg());
}

static void *store_open(const char *dir)
{
    store *s = peer_alloc(sizeof *s);
    fkv_options options = {.create = 1, .bloom_bits = PEER_BLOOM_BITS + 1};

    check(fkv_open(dir, &options, &s->store));
    check(fkv_txn_new(s->store, &s->txn));
    return s;
}

static void store_close(void *db)
{
    store *s = db;

    fkv_snapshot_release(s->snapshot);
    fkv_txn_free(s->txn);
    fkv_close(s->store);
    free(s);
}

static void store_begin(void *db)
{
    check(fkv_txn_begin(((store *)db)->txn, 0));
}

static void store_put(void *db, const char *key, const void *value)
{
    check(fkv_txn_put(((store *)db)->txn, fkv_slice_of(key, KEY_BYTES),
                      fkv_slice_of(value, VALUE_BYTES)));
}

static void finish(store *s, fkv_durability durability)
{
    check(fkv_txn_prepare(s->txn, durability));
    fkv_txn_commit(s->txn);
}

static void store_commit(void *db)
{
    finish(db, FKV_NONE);
}

static void store_put_one(void *db, const char *key, const void *value, int sync)
{
    store_begin(db);
    store_put(db, key, value);
    finish(db, sync ? FKV_SYNC : FKV_NONE);
}

static void look(store *s)
{
    if (s->snapshot && !fkv_snapshot_stale(s->snapshot)) return;
    fkv_snapshot_release(s->snapshot);
    check(fkv_snapshot_new(s->store, &s->snapshot));
}

static void store_view(void *db)
{
    store *s = db;

    look(s);
    check(fkv_cursor_new(s->snapshot, NULL, &s->cursor));
    s->viewing = 1;
}

static void store_unview(void *db)
{
    store *s = db;

    fkv_cursor_free(s->cursor);
    s->cursor = NULL;
    s->viewing = 0;
}

static int store_get(void *db, const char *key, peer_slice *value)
{
    store *s = db;
    fkv_status rc;

    if (!s->viewing) look(s);
    rc = fkv_get(s->snapshot, NULL, fkv_slice_of(key, KEY_BYTES), &s->got);
    if (rc == FKV_NOTFOUND) return 0;
    check(rc);
    value->data = s->got.value.data;
    value->size = s->got.value.size;
    return 1;
}

static void store_release(void *db)
{
    fkv_value_release(&((store *)db)->got);
}

static void store_seek(void *db, const char *key, int down, size_t limit)
{
    store *s = db;

    (void)limit;
    s->down = down;
    s->moved = 0;
    if (key) {
        fkv_cursor_seek(s->cursor, fkv_slice_of(key, KEY_BYTES));
    } else if (down) {
        fkv_cursor_last(s->cursor);
    } else {
        fkv_cursor_first(s->cursor);
    }
    if (!key || !down) return;
    if (!fkv_cursor_valid(s->cursor)) {
        fkv_cursor_last(s->cursor);
    } else if (memcmp(fkv_cursor_key(s->cursor).data, key, KEY_BYTES) > 0) {
        fkv_cursor_prev(s->cursor);
    }
}

static int store_next(void *db, peer_slice *key, peer_slice *value)
{
    store *s = db;
    fkv_slice k, v;

    if (s->moved) {
        if (s->down) {
            fkv_cursor_prev(s->cursor);
        } else {
            fkv_cursor_next(s->cursor);
        }
    }
    s->moved = 1;
    if (!fkv_cursor_valid(s->cursor)) {
        check(fkv_cursor_status(s->cursor));
        return 0;
    }
    k = fkv_cursor_key(s->cursor);
    v = fkv_cursor_value(s->cursor);
    *key = (peer_slice){k.data, k.size};
    *value = (peer_slice){v.data, v.size};
    return 1;
}

static void store_seek_end(void *db)
{
    (void)db;
}

static void store_settle(void *db)
{
    store *s = db;

    fkv_snapshot_release(s->snapshot);
    s->snapshot = NULL;
    check(fkv_settle(s->store));
}

BENCH_PEER = {.open = store_open,
              .close = store_close,
              .begin = store_begin,
              .put = store_put,
              .commit = store_commit,
              .put_one = store_put_one,
              .view = store_view,
              .unview = store_unview,
              .get = store_get,
              .release = store_release,
              .seek = store_seek,
              .next = store_next,
              .seek_end = store_seek_end,
              .settle = store_settle};
