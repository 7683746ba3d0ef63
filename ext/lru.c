#include "lru.h"

#include <string.h>

#include "base/alloc.h"
#include "base/slice.h"

typedef struct node {
    struct node *newer, *older; /* the list */
    struct node *next;          /* the bucket */
    uint64_t hash;
    size_t key_size, bytes;
    unsigned seen; /* at the recount of this number */
    uint8_t key[];
} node;

struct lru {
    node **buckets;
    size_t bucket_count; /* a power of two */
    node *newest, *oldest;
    size_t count, bytes;
    unsigned recounts;
};

enum { BUCKETS_FIRST = 64 };

lru *lru_new(void)
{
    lru *l = alloc_zero(sizeof *l);

    if (!l) return NULL;
    l->bucket_count = BUCKETS_FIRST;
    l->buckets = alloc_zero(l->bucket_count * sizeof(node *));
    if (l->buckets) return l;
    alloc_free(l);
    return NULL;
}

void lru_free(lru *l)
{
    if (!l) return;
    for (node *n = l->newest, *next; n; n = next) {
        next = n->older;
        alloc_free(n);
    }
    alloc_free(l->buckets);
    alloc_free(l);
}

/* FNV-1a. */
static uint64_t hash_of(fkv_slice key)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < key.size; i++) h = (h ^ key.data[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static node **place(const lru *l, fkv_slice key, uint64_t hash)
{
    node **at = &l->buckets[hash & (l->bucket_count - 1)];

    while (*at &&
           ((*at)->hash != hash || !slice_equal(fkv_slice_of((*at)->key, (*at)->key_size), key))) {
        at = &(*at)->next;
    }
    return at;
}

/* Twice the buckets; without memory the chains grow instead. */
static void grow(lru *l)
{
    size_t count = l->bucket_count * 2;
    node **buckets = alloc_zero(count * sizeof(node *));

    if (!buckets) return;
    for (node *n = l->newest; n; n = n->older) {
        node **at = &buckets[n->hash & (count - 1)];
        n->next = *at;
        *at = n;
    }
    alloc_free(l->buckets);
    l->buckets = buckets;
    l->bucket_count = count;
}

static void unlink_node(lru *l, node *n)
{
    *(n->newer ? &n->newer->older : &l->newest) = n->older;
    *(n->older ? &n->older->newer : &l->oldest) = n->newer;
    n->newer = n->older = NULL;
}

static void link_newest(lru *l, node *n)
{
    n->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = n;
    l->newest = n;
}

static void link_oldest(lru *l, node *n)
{
    n->newer = l->oldest;
    *(l->oldest ? &l->oldest->older : &l->newest) = n;
    l->oldest = n;
}

/* The node of a key, made if need be, with so many bytes. *fresh: it is in no list yet. */
static node *take(lru *l, fkv_slice key, size_t bytes, int *fresh)
{
    uint64_t hash = hash_of(key);
    node **at = place(l, key, hash), *n = *at;

    *fresh = !n;
    if (!n) {
        n = alloc_zero(sizeof *n + key.size);
        if (!n) return NULL;
        n->hash = hash;
        n->key_size = key.size;
        if (key.size) memcpy(n->key, key.data, key.size);
        *at = n;
        l->count++;
    } else {
        l->bytes -= n->key_size + n->bytes;
    }
    n->bytes = bytes;
    l->bytes += n->key_size + n->bytes;
    return n;
}

int lru_put(lru *l, fkv_slice key, size_t bytes)
{
    int fresh;
    node *n = take(l, key, bytes, &fresh);

    if (!n) return 0;
    n->seen = l->recounts;
    if (!fresh) unlink_node(l, n);
    link_newest(l, n);
    if (l->count > l->bucket_count) grow(l);
    return 1;
}

int lru_recount(lru *l, fkv_slice key, size_t bytes)
{
    int fresh;
    node *n = take(l, key, bytes, &fresh);

    if (!n) return 0;
    n->seen = l->recounts;
    if (fresh) link_oldest(l, n);
    if (l->count > l->bucket_count) grow(l);
    return 1;
}

void lru_touch(lru *l, fkv_slice key)
{
    node *n = *place(l, key, hash_of(key));

    if (!n) return;
    unlink_node(l, n);
    link_newest(l, n);
}

static void drop(lru *l, node **at)
{
    node *n = *at;

    *at = n->next;
    unlink_node(l, n);
    l->count--;
    l->bytes -= n->key_size + n->bytes;
    alloc_free(n);
}

void lru_remove(lru *l, fkv_slice key)
{
    node **at = place(l, key, hash_of(key));

    if (*at) drop(l, at);
}

void lru_begin_recount(lru *l)
{
    l->recounts++;
}

void lru_end_recount(lru *l)
{
    for (node *n = l->oldest, *next; n; n = next) {
        next = n->newer;
        if (n->seen != l->recounts) lru_remove(l, fkv_slice_of(n->key, n->key_size));
    }
}

int lru_oldest(const lru *l, fkv_slice *key)
{
    if (!l->oldest) return 0;
    *key = fkv_slice_of(l->oldest->key, l->oldest->key_size);
    return 1;
}

size_t lru_count(const lru *l)
{
    return l->count;
}

size_t lru_bytes(const lru *l)
{
    return l->bytes;
}
