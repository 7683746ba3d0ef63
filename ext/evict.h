/*
** evict.h -- cache mode: tables that hold a limited number of rows or bytes
**
** evict.c tells what is counted, and when. kv_table.limit is NULL for all other tables, and then
** nothing here is called.
*/
#ifndef FASTKV_EXT_EVICT_H
#define FASTKV_EXT_EVICT_H

#include "table.h"

/* The options are known, or others now: take part in the counting of this table, or leave it.
** SQLITE_OK or SQLITE_NOMEM. */
int evict_settle(kv_table *t);
void evict_leave(kv_table *t); /* NULL limit is fine */

/* REQUIRES (all that follow): t->limit. */

/* A row was put: delete those used longest ago until the table is within its limits. REQUIRES:
** conn_writable. */
FKV_MUST_CHECK fkv_status evict_after_put(kv_table *t, fkv_slice key, size_t bytes);

void evict_forget(kv_table *t, fkv_slice key); /* it is deleted */
void evict_doubt(kv_table *t);                 /* a range is deleted, or a write was undone */

/* A row was looked up by its key; found, or not. */
void evict_looked_up(kv_table *t, fkv_slice key, int found);

/* Numbers since the table was first used in this process. */
typedef struct evict_numbers {
    uint64_t rows, bytes, hits, misses, evictions;
} evict_numbers;
void evict_read_numbers(kv_table *t, evict_numbers *out);

#endif
