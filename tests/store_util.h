/*
** store_util.h -- what tests of the engine do to a store: commit rows, look for one, count them.
*/
#ifndef FKV_TESTS_STORE_UTIL_H
#define FKV_TESTS_STORE_UTIL_H

#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "fastkv.h"

/* One row, whose value is its key, in a transaction of its own. */
static inline fkv_status store_put(fkv_store *s, const char *key, fkv_durability how)
{
    fkv_slice k = fkv_slice_of(key, strlen(key));
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, k, k);
    if (!rc) rc = fkv_txn_prepare(t, how);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t); /* which rolls back */
    return rc;
}

/* `count` rows in one transaction: keys "<space>000" and so on, values of `size` zeros. */
static inline fkv_status store_put_many(fkv_store *s, char space, int count, size_t size,
                                        fkv_durability how)
{
    static const char value[4096];
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; !rc && i < count; i++) {
        char key[16];
        size_t n = (size_t)snprintf(key, sizeof key, "%c%03d", space, i);
        rc = fkv_txn_put(t, fkv_slice_of(key, n), fkv_slice_of(value, size));
    }
    if (!rc) rc = fkv_txn_prepare(t, how);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

/* FKV_OK if it is there, FKV_NOTFOUND, or what is the matter. */
static inline fkv_status store_get(fkv_store *s, const char *key)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    fkv_status rc = fkv_snapshot_new(s, &snap);

    if (!rc) rc = fkv_get(snap, NULL, fkv_slice_of(key, strlen(key)), &v);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    return rc;
}

/* The same with keys "000000" and so on: one, those from `from` up to `to`, each by itself. */
static inline fkv_status store_put_number(fkv_store *s, int i, fkv_durability how)
{
    char key[16];

    (void)snprintf(key, sizeof key, "%06d", i);
    return store_put(s, key, how);
}

static inline fkv_status store_put_numbers(fkv_store *s, int from, int to, fkv_durability how)
{
    fkv_status rc = FKV_OK;

    for (int i = from; !rc && i < to; i++) rc = store_put_number(s, i, how);
    return rc;
}

static inline fkv_status store_get_number(fkv_store *s, int i)
{
    char key[16];

    (void)snprintf(key, sizeof key, "%06d", i);
    return store_get(s, key);
}

/* All rows; -1: they cannot be read. */
static inline int store_count(fkv_store *s)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    fkv_status rc = fkv_snapshot_new(s, &snap);
    int n = 0;

    if (!rc) rc = fkv_cursor_new(snap, NULL, &c);
    if (!rc) {
        for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
        rc = fkv_cursor_status(c);
    }
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return rc ? -1 : n;
}

#endif
