/*
** peer.h -- what the benchmark asks of an engine.
**
** Every engine that is measured is one constant of this type. The two that are reached through SQL
** are in sql.c; every other one is a file in this folder, a shared object of its own that exports
** `bench_peer` and is loaded only by the process that measures it: the benchmark can be built and
** run without any of the libraries, and what one of them needs in memory is not in the figures of
** another. Errors end the process with a sentence.
**
** All get the same: write buffers and caches of 64 MB (PEER_BUFFER, PEER_CACHE), filters of 10 bits
** a key if they have filters, the compression that they have by default, their log on, no fsync
** unless `sync` says so. What has been committed must survive kill -9.
*/
#ifndef FASTKV_BENCH_PEER_H
#define FASTKV_BENCH_PEER_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_BYTES = 16,
    VALUE_BYTES = 100,
    PEER_BUFFER = 64 << 20,
    PEER_CACHE = 64 << 20,
    PEER_BLOOM_BITS = 10
};

typedef struct peer_slice {
    const void *data;
    size_t size;
} peer_slice;

typedef struct bench_engine {
    /* `dir` is there, and empty if there is no database yet. */
    void *(*open)(const char *dir);
    void (*close)(void *db);

    void (*begin)(void *db); /* a transaction, or a batch; with put and commit */
    void (*put)(void *db, const char *key, const void *value);
    void (*commit)(void *db);
    /* One row by itself; sync: it has to survive the loss of power. */
    void (*put_one)(void *db, const char *key, const void *value, int sync);

    void (*view)(void *db); /* reads up to unview see one state; get works without, too */
    void (*unview)(void *db);
    int (*get)(void *db, const char *key, peer_slice *value); /* 0: no such row */
    void (*release)(void *db);                                /* what get has given */

    /* Rows from the first at or after `key`, or down from the last at or before it; NULL: from the
    ** end. No more than `limit` will be asked for, 0: all may be. Needs a view. */
    void (*seek)(void *db, const char *key, int down, size_t limit);
    int (*next)(void *db, peer_slice *key, peer_slice *value);
    void (*seek_end)(void *db);

    void (*settle)(void *db); /* do, or begin, what has been put off; NULL: there is no such call */
} bench_engine;

extern const bench_engine bench_peer;
#define BENCH_PEER __attribute__((visibility("default"))) const bench_engine bench_peer

__attribute__((noreturn)) static inline void peer_fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench: %s: %s\n", what, why);
    _exit(1);
}

static inline void *peer_alloc(size_t size)
{
    void *p = calloc(1, size);

    if (!p) peer_fail("malloc", "out of memory");
    return p;
}

#endif
