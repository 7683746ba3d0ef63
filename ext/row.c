#include "row.h"

#include "evict.h"
#include "expiry.h"

void row_popped(conn *c, fkv_slice from, fkv_slice to)
{
    buf_set(&c->popped_from, from);
    buf_set(&c->popped_to, to);
    if (buf_status(&c->popped_from) || buf_status(&c->popped_to)) buf_clear(&c->popped_to);
}

static void look_at_popped(conn *c, fkv_slice key)
{
    if (c->popped_to.size && slice_compare(key, buf_slice(&c->popped_from)) >= 0 &&
        slice_compare(key, buf_slice(&c->popped_to)) <= 0) {
        buf_clear(&c->popped_to);
    }
}

static fkv_status put(kv_table *t, int64_t expires_ms)
{
    fkv_slice key = buf_slice(&t->key), row = buf_slice(&t->row);
    fkv_txn *txn = t->conn->txn;

    look_at_popped(t->conn, key);
    return expires_ms == EXPIRY_NEVER ? fkv_txn_put(txn, key, row)
                                      : fkv_txn_put_expires(txn, key, row, expires_ms);
}

/* SQLite undoes nothing of a statement that writes one row. */
static fkv_status put_and_evict(kv_table *t, int64_t expires_ms)
{
    fkv_txn *txn = t->conn->txn;
    uint64_t mark;
    fkv_status st = fkv_txn_mark(txn, &mark);

    if (st) return st;
    st = put(t, expires_ms);
    if (st == FKV_OK) st = evict_after_put(t, buf_slice(&t->key), t->row.size);
    if (st) row_undo(t, mark);
    fkv_txn_release(txn, mark);
    return st;
}

fkv_status row_put(kv_table *t, int64_t expires_ms)
{
    return t->limit ? put_and_evict(t, expires_ms) : put(t, expires_ms);
}

fkv_status row_delete(kv_table *t, fkv_slice key)
{
    if (t->limit) evict_forget(t, key);
    return fkv_txn_delete(t->conn->txn, key);
}

fkv_status row_delete_range(kv_table *t, fkv_slice from, fkv_slice to)
{
    if (t->limit) evict_doubt(t);
    return fkv_txn_delete_range(t->conn->txn, from, to);
}

void row_undo(kv_table *t, uint64_t mark)
{
    fkv_txn_rollback_to(t->conn->txn, mark);
    buf_clear(&t->conn->popped_to);
    if (t->limit) evict_doubt(t);
}
