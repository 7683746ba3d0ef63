/* leveldb.c -- LevelDB through its C interface. */
#include "peer.h"

#include <leveldb/c.h>

typedef struct level {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write, *write_sync;
    leveldb_readoptions_t *read, *read_view;
    const leveldb_snapshot_t *snapshot;
    leveldb_iterator_t *iter;
    leveldb_writebatch_t *batch;
    char *got;
    int down, moved;
} level;

static void check(const char *error)
{
    if (error) peer_fail("LevelDB", error);
}

static void *level_open(const char *dir)
{
    level *l = peer_alloc(sizeof *l);
    char *error = NULL;

    l->options = leveldb_options_create();
    l->cache = leveldb_cache_create_lru(PEER_CACHE);
    l->filter = leveldb_filterpolicy_create_bloom(PEER_BLOOM_BITS);
    leveldb_options_set_create_if_missing(l->options, 1);
    leveldb_options_set_write_buffer_size(l->options, PEER_BUFFER);
    leveldb_options_set_cache(l->options, l->cache);
    leveldb_options_set_filter_policy(l->options, l->filter);
    l->write = leveldb_writeoptions_create();
    l->write_sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(l->write_sync, 1);
    l->read = leveldb_readoptions_create();
    l->read_view = leveldb_readoptions_create();
    l->batch = leveldb_writebatch_create();
    l->db = leveldb_open(l->options, dir, &error);
    check(error);
    return l;
}

static void level_close(void *db)
{
    level *l = db;

    leveldb_close(l->db);
    leveldb_writebatch_destroy(l->batch);
    leveldb_readoptions_destroy(l->read);
    leveldb_readoptions_destroy(l->read_view);
    leveldb_writeoptions_destroy(l->write);
    leveldb_writeoptions_destroy(l->write_sync);
    leveldb_options_destroy(l->options);
    leveldb_filterpolicy_destroy(l->filter);
    leveldb_cache_destroy(l->cache);
    free(l);
}

static void level_begin(void *db)
{
    leveldb_writebatch_clear(((level *)db)->batch);
}

static void level_put(void *db, const char *key, const void *value)
{
    leveldb_writebatch_put(((level *)db)->batch, key, KEY_BYTES, value, VALUE_BYTES);
}

static void level_commit(void *db)
{
    level *l = db;
    char *error = NULL;

    leveldb_write(l->db, l->write, l->batch, &error);
    check(error);
}

static void level_put_one(void *db, const char *key, const void *value, int sync)
{
    level *l = db;
    char *error = NULL;

    leveldb_put(l->db, sync ? l->write_sync : l->write, key, KEY_BYTES, value, VALUE_BYTES, &error);
    check(error);
}

static void level_view(void *db)
{
    level *l = db;

    l->snapshot = leveldb_create_snapshot(l->db);
    leveldb_readoptions_set_snapshot(l->read_view, l->snapshot);
    l->iter = leveldb_create_iterator(l->db, l->read_view);
}

static void level_unview(void *db)
{
    level *l = db;

    leveldb_iter_destroy(l->iter);
    leveldb_release_snapshot(l->db, l->snapshot);
    l->snapshot = NULL;
}

static int level_get(void *db, const char *key, peer_slice *value)
{
    level *l = db;
    char *error = NULL;

    l->got = leveldb_get(l->db, l->snapshot ? l->read_view : l->read, key, KEY_BYTES, &value->size,
                         &error);
    check(error);
    value->data = l->got;
    return l->got != NULL;
}

static void level_release(void *db)
{
    level *l = db;

    leveldb_free(l->got);
    l->got = NULL;
}

static void level_seek(void *db, const char *key, int down, size_t limit)
{
    level *l = db;
    size_t size;

    (void)limit;
    l->down = down;
    l->moved = 0;
    if (key) {
        leveldb_iter_seek(l->iter, key, KEY_BYTES);
    } else if (down) {
        leveldb_iter_seek_to_last(l->iter);
    } else {
        leveldb_iter_seek_to_first(l->iter);
    }
    if (!key || !down) return;
    if (!leveldb_iter_valid(l->iter)) {
        leveldb_iter_seek_to_last(l->iter);
    } else if (memcmp(leveldb_iter_key(l->iter, &size), key, KEY_BYTES) > 0) {
        leveldb_iter_prev(l->iter);
    }
}

static int level_next(void *db, peer_slice *key, peer_slice *value)
{
    level *l = db;
    char *error = NULL;

    if (l->moved) {
        if (l->down) {
            leveldb_iter_prev(l->iter);
        } else {
            leveldb_iter_next(l->iter);
        }
    }
    l->moved = 1;
    if (!leveldb_iter_valid(l->iter)) {
        leveldb_iter_get_error(l->iter, &error);
        check(error);
        return 0;
    }
    key->data = leveldb_iter_key(l->iter, &key->size);
    value->data = leveldb_iter_value(l->iter, &value->size);
    return 1;
}

static void level_seek_end(void *db)
{
    (void)db;
}

BENCH_PEER = {.open = level_open,
              .close = level_close,
              .begin = level_begin,
              .put = level_put,
              .commit = level_commit,
              .put_one = level_put_one,
              .view = level_view,
              .unview = level_unview,
              .get = level_get,
              .release = level_release,
              .seek = level_seek,
              .next = level_next,
              .seek_end = level_seek_end,
              .settle = NULL};
