/*
** expiry.h -- when a row expires: the hidden columns ttl and expires_at
**
** expiry.c tells what they mean in INSERT and UPDATE.
*/
#ifndef FASTKV_EXT_EXPIRY_H
#define FASTKV_EXT_EXPIRY_H

#include "table.h"

#define EXPIRY_NEVER ((int64_t)0) /* else Unix time in milliseconds */

/* Each gives the moment for a row that is being written, from the new values of all columns
** (hidden ones included). A result; zErrMsg is set on failure. REQUIRES: t is ready; for an UPDATE,
** t->old_key is the old row's key. */
int expiry_of_insert(kv_table *t, sqlite3_value **columns, int64_t *out);
int expiry_of_update(kv_table *t, sqlite3_value **columns, int64_t *out);

/* The moment for a new row that a function makes; ttl is a C NULL if none was given. */
int expiry_of_new(kv_table *t, sqlite3_value *ttl, int64_t *out);

/* Column ttl or expires_at of a row that is being read. */
void expiry_result(kv_table *t, sqlite3_context *context, int column, int64_t expires_ms);

/* A cursor is opened, the only one of its connection: nothing has been read by now. */
static inline void expiry_forget_reads(kv_table *t)
{
    t->ttl_read_ms = 0;
}

#endif
