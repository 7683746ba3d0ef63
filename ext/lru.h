/*
** lru.h -- keys in the order of their last use
**
** A hash table of keys and a list through them. Knows nothing of tables; one thread at a time.
*/
#ifndef FASTKV_EXT_LRU_H
#define FASTKV_EXT_LRU_H

#include "fastkv.h"

typedef struct lru lru;

lru *lru_new(void);    /* NULL = no memory */
void lru_free(lru *l); /* NULL is fine */

/* `key` with `bytes` of data has been written: it is the newest from here on. 0 = no memory, and
** nothing has changed. */
int lru_put(lru *l, fkv_slice key, size_t bytes);

/* The same for a key that is found there at a recount (lru_begin_recount): one that is known keeps
** its place, another becomes the oldest. */
int lru_recount(lru *l, fkv_slice key, size_t bytes);

/* It has been used. No-op if it is not known. */
void lru_touch(lru *l, fkv_slice key);

void lru_remove(lru *l, fkv_slice key);

/* Between these two, lru_recount says what there is: what it does not name is removed. */
void lru_begin_recount(lru *l);
void lru_end_recount(lru *l);

/* The key used longest ago; 0 = there is none. Valid until it is removed. */
int lru_oldest(const lru *l, fkv_slice *key);

size_t lru_count(const lru *l);
size_t lru_bytes(const lru *l); /* keys and data */

#endif
