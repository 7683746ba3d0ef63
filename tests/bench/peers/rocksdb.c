/* rocksdb.c -- RocksDB through its C interface. */
#include "peer.h"

#include <rocksdb/c.h>

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *table; /* owns the filter */
    rocksdb_writeoptions_t *write, *write_sync;
    rocksdb_readoptions_t *read, *read_view;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_iterator_t *iter;
    rocksdb_writebatch_t *batch;
    rocksdb_pinnableslice_t *got;
    int down, moved;
} rocks;

static void check(const char *error)
{
    if (error) peer_fail("RocksDB", error);
}

static void *rocks_open(const char *dir)
{
    rocks *l = peer_alloc(sizeof *l);
    char *error = NULL;

    l->options = rocksdb_options_create();
    l->cache = rocksdb_cache_create_lru(PEER_CACHE);
    l->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(l->table, l->cache);
    rocksdb_block_based_options_set_filter_policy(
        l->table, rocksdb_filterpolicy_create_bloom_full(PEER_BLOOM_BITS));
    rocksdb_options_set_block_based_table_factory(l->options, l->table);
    rocksdb_options_set_create_if_missing(l->options, 1);
    rocksdb_options_set_write_buffer_size(l->options, PEER_BUFFER);
    l->write = rocksdb_writeoptions_create();
    l->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(l->write_sync, 1);
    l->read = rocksdb_readoptions_create();
    l->read_view = rocksdb_readoptions_create();
    l->batch = rocksdb_writebatch_create();
    l->db = rocksdb_open(l->options, dir, &error);
    check(error);
    return l;
}

static void rocks_close(void *db)
{
    rocks *l = db;

    rocksdb_close(l->db);
    rocksdb_writebatch_destroy(l->batch);
    rocksdb_readoptions_destroy(l->read);
    rocksdb_readoptions_destroy(l->read_view);
    rocksdb_writeoptions_destroy(l->write);
    rocksdb_writeoptions_destroy(l->write_sync);
    rocksdb_options_destroy(l->options);
    rocksdb_block_based_options_destroy(l->table);
    rocksdb_cache_destroy(l->cache);
    free(l);
}

static void rocks_begin(void *db)
{
    rocksdb_writebatch_clear(((rocks *)db)->batch);
}

static void rocks_put(void *db, const char *key, const void *value)
{
    rocksdb_writebatch_put(((rocks *)db)->batch, key, KEY_BYTES, value, VALUE_BYTES);
}

static void rocks_commit(void *db)
{
    rocks *l = db;
    char *error = NULL;

    rocksdb_write(l->db, l->write, l->batch, &error);
    check(error);
}

static void rocks_put_one(void *db, const char *key, const void *value, int sync)
{
    rocks *l = db;
    char *error = NULL;

    rocksdb_put(l->db, sync ? l->write_sync : l->write, key, KEY_BYTES, value, VALUE_BYTES, &error);
    check(error);
}

static void rocks_view(void *db)
{
    rocks *l = db;

    l->snapshot = rocksdb_create_snapshot(l->db);
    rocksdb_readoptions_set_snapshot(l->read_view, l->snapshot);
    l->iter = rocksdb_create_iterator(l->db, l->read_view);
}

static void rocks_unview(void *db)
{
    rocks *l = db;

    rocksdb_iter_destroy(l->iter);
    rocksdb_release_snapshot(l->db, l->snapshot);
    l->snapshot = NULL;
}

static int rocks_get(void *db, const char *key, peer_slice *value)
{
    rocks *l = db;
    char *error = NULL;

    l->got =
        rocksdb_get_pinned(l->db, l->snapshot ? l->read_view : l->read, key, KEY_BYTES, &error);
    check(error);
    if (!l->got) return 0;
    value->data = rocksdb_pinnableslice_value(l->got, &value->size);
    return 1;
}

static void rocks_release(void *db)
{
    rocks *l = db;

    if (l->got) rocksdb_pinnableslice_destroy(l->got);
    l->got = NULL;
}

static void rocks_seek(void *db, const char *key, int down, size_t limit)
{
    rocks *l = db;
    size_t size;

    (void)limit;
    l->down = down;
    l->moved = 0;
    if (key) {
        rocksdb_iter_seek(l->iter, key, KEY_BYTES);
    } else if (down) {
        rocksdb_iter_seek_to_last(l->iter);
    } else {
        rocksdb_iter_seek_to_first(l->iter);
    }
    if (!key || !down) return;
    if (!rocksdb_iter_valid(l->iter)) {
        rocksdb_iter_seek_to_last(l->iter);
    } else if (memcmp(rocksdb_iter_key(l->iter, &size), key, KEY_BYTES) > 0) {
        rocksdb_iter_prev(l->iter);
    }
}

static int rocks_next(void *db, peer_slice *key, peer_slice *value)
{
    rocks *l = db;
    char *error = NULL;

    if (l->moved) {
        if (l->down) {
            rocksdb_iter_prev(l->iter);
        } else {
            rocksdb_iter_next(l->iter);
        }
    }
    l->moved = 1;
    if (!rocksdb_iter_valid(l->iter)) {
        rocksdb_iter_get_error(l->iter, &error);
        check(error);
        return 0;
    }
    key->data = rocksdb_iter_key(l->iter, &key->size);
    value->data = rocksdb_iter_value(l->iter, &value->size);
    return 1;
}

static void rocks_seek_end(void *db)
{
    (void)db;
}

static void rocks_settle(void *db)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *error = NULL;

    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(((rocks *)db)->db, options, &error);
    check(error);
    rocksdb_flushoptions_destroy(options);
}

BENCH_PEER = {.open = rocks_open,
              .close = rocks_close,
              .begin = rocks_begin,
              .put = rocks_put,
              .commit = rocks_commit,
              .put_one = rocks_put_one,
              .view = rocks_view,
              .unview = rocks_unview,
              .get = rocks_get,
              .release = rocks_release,
              .seek = rocks_seek,
              .next = rocks_next,
              .seek_end = rocks_seek_end,
              .settle = rocks_settle};
