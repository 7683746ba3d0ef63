/*
** evict.c -- counting rows and forgetting the oldest
**
** A table with max_keys or max_bytes is a cache: when a put takes it over a limit, the rows that
** were used longest ago are deleted in the same transaction. Used means written, or looked up by
** the whole key; scans do not count.
**
** The order of use is kept in memory, one for each table and process, shared by its connections:
** writing it down at every look-up would make reads into writes. A process that comes to a table
** takes all rows for unused, in the order of their keys.
**
** What is counted can come to differ from what is there: a transaction is rolled back, a range is
** deleted, rows expire, another process writes. So a recount (a scan of the keys) is due
**
**   - after a ROLLBACK and after a range was deleted, before the next decision;
**   - when a limit is reached and the last recount is some time ago, that is a second, or a hundred
**     times as long as it took.
**
** Between recounts a table may hold more than it should by what other processes have put.
**
** Only who writes decides, and counts for it: what another connection sees is older, or lacks what
** a transaction under way has put, and to count that would lose the place of those rows. Who asks
** for the numbers meanwhile counts for himself.
*/
#include "evict.h"

#include <string.h>

#include "base/alloc.h"
#include "lru.h"

SQLITE_EXTENSION_INIT3

enum { RECOUNT_MS = 1000, RECOUNT_SHARE = 100 };

struct kv_limit {
    kv_limit *next;
    unsigned refs; /* kv_tables */
    uint8_t uuid[16];
    uint8_t prefix[SPACE_BYTES];
    char *path;           /* of the store: a backup has the same uuid. NULL = in memory */
    sqlite3_mutex *mutex; /* guards what follows */
    lru *keys;
    int doubt;                        /* a recount is due */
    int64_t recount_ms, recounted_ms; /* how long the last one took, and when it was */
    uint64_t hits, misses, evictions;

    uint64_t seen_rows, seen_bytes; /* what a reader has counted, in doubt */
    int64_t seeing_ms, seen_ms;     /* how long that took, and when it was */
};

/* All of this process, under SQLite's mutex for applications. */
static kv_limit *limits;

static sqlite3_mutex *list_mutex(void)
{
    return sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
}

static void free_limit(kv_limit *l)
{
    sqlite3_mutex_free(l->mutex);
    lru_free(l->keys);
    sqlite3_free(l->path);
    alloc_free(l);
}

static kv_limit *new_limit(const kv_table *t)
{
    kv_limit *l = alloc_zero(sizeof *l);

    if (!l) return NULL;
    memcpy(l->uuid, t->uuid, sizeof l->uuid);
    memcpy(l->prefix, t->prefix, sizeof l->prefix);
    l->doubt = 1;
    l->mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST); /* NULL where SQLite has no threads */
    l->keys = lru_new();
    if (t->conn->path) l->path = sqlite3_mprintf("%s", t->conn->path);
    if (l->keys && (l->path || !t->conn->path)) return l;
    free_limit(l);
    return NULL;
}

static int is_of(const kv_limit *l, const kv_table *t)
{
    const char *path = t->conn->path;

    return memcmp(l->uuid, t->uuid, sizeof l->uuid) == 0 &&
           memcmp(l->prefix, t->prefix, sizeof l->prefix) == 0 &&
           (path && l->path ? strcmp(path, l->path) == 0 : path == l->path);
}

static int join(kv_table *t)
{
    kv_limit *l;

    sqlite3_mutex_enter(list_mutex());
    l = limits;
    while (l && !is_of(l, t)) l = l->next;
    if (!l) {
        l = new_limit(t);
        if (l) {
            l->next = limits;
            limits = l;
        }
    }
    if (l) l->refs++;
    sqlite3_mutex_leave(list_mutex());
    t->limit = l;
    return l ? SQLITE_OK : SQLITE_NOMEM;
}

void evict_leave(kv_table *t)
{
    kv_limit *l = t->limit;

    if (!l) return;
    t->limit = NULL;
    sqlite3_mutex_enter(list_mutex());
    if (--l->refs == 0) {
        kv_limit **at = &limits;
        while (*at != l) at = &(*at)->next;
        *at = l->next;
        free_limit(l);
    }
    sqlite3_mutex_leave(list_mutex());
}

int evict_settle(kv_table *t)
{
    const kv_options *o = &t->schema.options;

    if (o->max_keys || o->max_bytes) return t->limit ? SQLITE_OK : join(t);
    evict_leave(t);
    return SQLITE_OK;
}

static fkv_slice without_space(fkv_slice key)
{
    return fkv_slice_of(key.data + SPACE_BYTES, key.size - SPACE_BYTES);
}

/* -- counting ---------------------------------------------------------------------------------- */

static fkv_status note_row(void *arg, fkv_slice key, size_t bytes)
{
    return lru_recount(arg, key, bytes) ? FKV_OK : FKV_NOMEM;
}

static fkv_status add_row(void *arg, fkv_slice key, size_t bytes)
{
    kv_limit *l = arg;

    l->seen_rows++;
    l->seen_bytes += key.size + bytes;
    return FKV_OK;
}

/* The keys that are there, as this connection's transaction sees them. Backwards: of those that
** nobody has used the smallest is to be the oldest, because keys mostly grow. mutex held. */
static fkv_status scan(kv_table *t, fkv_status (*row)(void *, fkv_slice, size_t), void *arg)
{
    kv_table_range all;
    fkv_cursor *walk = NULL;
    view *v = NULL;
    fkv_status st = conn_view(t->conn, &v);

    kv_table_bounds(t, &all);
    if (st == FKV_OK) st = fkv_cursor_new(v->snapshot, conn_overlay(t->conn), &walk);
    if (st == FKV_OK) {
        st = fkv_cursor_bounds(walk, fkv_slice_of(all.from, sizeof all.from),
                               fkv_slice_of(all.to, sizeof all.to));
    }
    if (st == FKV_OK) {
        for (fkv_cursor_last(walk); st == FKV_OK && fkv_cursor_valid(walk); fkv_cursor_prev(walk))
            st = row(arg, without_space(fkv_cursor_key(walk)), fkv_cursor_value(walk).size);
        if (st == FKV_OK) st = fkv_cursor_status(walk);
    }
    fkv_cursor_free(walk);
    view_release(v);
    return st;
}

static fkv_status recount(kv_table *t, kv_limit *l)
{
    int64_t began = fkv_clock_ms(t->conn->store);
    fkv_status st;

    lru_begin_recount(l->keys);
    st = scan(t, note_row, l->keys);
    if (st) return st;
    lru_end_recount(l->keys);
    l->doubt = !t->conn->in_txn;
    l->recounted_ms = fkv_clock_ms(t->conn->store);
    l->recount_ms = l->recounted_ms - began;
    return FKV_OK;
}

static int is_over(const kv_table *t, const kv_limit *l)
{
    const kv_options *o = &t->schema.options;

    return (o->max_keys && lru_count(l->keys) > o->max_keys) ||
           (o->max_bytes && lru_bytes(l->keys) > o->max_bytes);
}

/* Is it time to count again, the last time having taken so long and been then? */
static int is_due(const kv_table *t, int64_t took_ms, int64_t then_ms)
{
    int64_t pause = took_ms * RECOUNT_SHARE;

    if (pause < RECOUNT_MS) pause = RECOUNT_MS;
    return fkv_clock_ms(t->conn->store) - then_ms >= pause;
}

/* Delete the oldest row. *none: there is none but the one just put. */
static fkv_status evict_one(kv_table *t, kv_limit *l, fkv_slice put, int *none)
{
    fkv_slice oldest;
    buf key = {0};
    fkv_status st;

    *none = !lru_oldest(l->keys, &oldest) || slice_equal(oldest, put);
    if (*none) return FKV_OK;
    buf_append(&key, t->prefix, SPACE_BYTES);
    buf_append(&key, oldest.data, oldest.size);
    st = buf_status(&key);
    if (st == FKV_OK) st = fkv_txn_delete(t->conn->txn, buf_slice(&key));
    if (st == FKV_OK) {
        lru_remove(l->keys, oldest);
        l->evictions++;
    }
    buf_release(&key);
    return st;
}

fkv_status evict_after_put(kv_table *t, fkv_slice key, size_t bytes)
{
    kv_limit *l = t->limit;
    fkv_slice put = without_space(key);
    fkv_status st = FKV_OK;
    int none = 0;

    sqlite3_mutex_enter(l->mutex);
    if (l->doubt) st = recount(t, l);
    if (st == FKV_OK && !lru_put(l->keys, put, bytes)) st = FKV_NOMEM;
    if (st == FKV_OK && is_over(t, l) && is_due(t, l->recount_ms, l->recounted_ms)) {
        st = recount(t, l);
    }
    while (st == FKV_OK && !none && is_over(t, l)) st = evict_one(t, l, put, &none);
    sqlite3_mutex_leave(l->mutex);
    return st;
}

void evict_forget(kv_table *t, fkv_slice key)
{
    sqlite3_mutex_enter(t->limit->mutex);
    lru_remove(t->limit->keys, without_space(key));
    sqlite3_mutex_leave(t->limit->mutex);
}

void evict_doubt(kv_table *t)
{
    sqlite3_mutex_enter(t->limit->mutex);
    t->limit->doubt = 1;
    sqlite3_mutex_leave(t->limit->mutex);
}

void evict_looked_up(kv_table *t, fkv_slice key, int found)
{
    kv_limit *l = t->limit;

    sqlite3_mutex_enter(l->mutex);
    if (found) {
        /* Before the first count it cannot be put in order; a failure is the next writer's. */
        if (l->doubt && l->recounted_ms == 0) fkv_ignore(recount(t, l));
        lru_touch(l->keys, without_space(key));
        l->hits++;
    } else {
        l->misses++;
    }
    sqlite3_mutex_leave(l->mutex);
}

/* The numbers of the last count will do where this one fails. */
static void count_for_reader(kv_table *t, kv_limit *l)
{
    uint64_t rows = l->seen_rows, bytes = l->seen_bytes;
    int64_t began = fkv_clock_ms(t->conn->store);

    if (!is_due(t, l->seeing_ms, l->seen_ms)) return;
    l->seen_rows = l->seen_bytes = 0;
    if (scan(t, add_row, l)) {
        l->seen_rows = rows;
        l->seen_bytes = bytes;
    }
    l->seen_ms = fkv_clock_ms(t->conn->store);
    l->seeing_ms = l->seen_ms - began;
}

void evict_read_numbers(kv_table *t, evict_numbers *out)
{
    kv_limit *l = t->limit;

    sqlite3_mutex_enter(l->mutex);
    if (l->doubt && t->conn->in_txn) fkv_ignore(recount(t, l));
    *out =
        (evict_numbers){lru_count(l->keys), lru_bytes(l->keys), l->hits, l->misses, l->evictions};
    if (l->doubt) {
        count_for_reader(t, l);
        out->rows = l->seen_rows;
        out->bytes = l->seen_bytes;
    }
    sqlite3_mutex_leave(l->mutex);
}
