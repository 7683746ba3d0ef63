/* row.h -- rows written and deleted: the one way from SQL into the open transaction. */
#ifndef FASTKV_EXT_ROW_H
#define FASTKV_EXT_ROW_H

#include "table.h"

/* REQUIRES (all): conn_writable. */

/* Put t->row under t->key, to expire at that moment (EXPIRY_NEVER: not). */
FKV_MUST_CHECK fkv_status row_put(kv_table *t, int64_t expires_ms);

FKV_MUST_CHECK fkv_status row_delete(kv_table *t, fkv_slice key);
FKV_MUST_CHECK fkv_status row_delete_range(kv_table *t, fkv_slice from, fkv_slice to);

/* A pop that began at `from` has left nothing up to the key `to`: so it is until the transaction
** ends, something in it is undone, or a row is put there. */
void row_popped(conn *c, fkv_slice from, fkv_slice to);

/* Go back to a mark: what was written after it has failed half way. */
void row_undo(kv_table *t, uint64_t mark);

#endif
