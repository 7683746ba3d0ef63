/*
** txn.c -- transactions: the writer lock, the private batch, marks.
**
** Life of a transaction, and the function on each edge:
**
**   idle --begin--> active --prepare--> prepared --commit--> idle
**                     ^  |                |   |
**                     |  +--rollback--+   |   +--rollback--> idle
**                     +----put, delete, rollback_to, … ------+   (prepared becomes active again)
**
** The writer lock is held from begin to the return to idle. commit.c has prepare and commit.
*/
#include <assert.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "store/store.h"

fkv_status fkv_txn_new(fkv_store *s, fkv_txn **out)
{
    fkv_txn *t = alloc_zero(sizeof *t);

    *out = NULL;
    if (!t) return FKV_RAISE(FKV_NOMEM);
    t->store = s;
    *out = t;
    return FKV_OK;
}

void fkv_txn_set_host(fkv_txn *t, int (*host_committed)(void *arg, uint64_t id), void *arg)
{
    t->host_committed = host_committed;
    t->host_arg = arg;
}

void fkv_txn_free(fkv_txn *t)
{
    if (!t) return;
    fkv_txn_rollback(t);
    batch_unref(t->writes);
    alloc_free(t->runs);
    alloc_free(t->marks);
    alloc_free(t);
}

static fkv_status take_writer_lock(fkv_txn *t, uint32_t timeout_ms)
{
    fkv_store *s = t->store;
    fkv_env *env = s->env;
    uint64_t deadline = env->now_us(env) + (uint64_t)timeout_ms * 1000, now;
    fkv_status rc = FKV_OK;

    env->mutex_lock(env, s->mu);
    while (s->writer) {
        now = env->now_us(env);
        if (now >= deadline) {
            rc = FKV_RAISEF(FKV_BUSY, "another connection of this process is writing to the store");
            break;
        }
        store_await_commit(s, deadline - now);
    }
    if (!rc) s->writer = t;
    env->mutex_unlock(env, s->mu);
    return rc;
}

static void give_up_writer_lock(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    store_let_previous_go(s);
    s->writer = NULL;
    if (s->waiting) s->env->cond_wake_all(s->env, s->committed);
    s->env->mutex_unlock(s->env, s->mu);
}

/* The same among processes; then we know the log to its end. */
static fkv_status lock_out_processes(fkv_txn *t, uint32_t timeout_ms)
{
    fkv_store *s = t->store;
    fkv_status rc = store_lock_writer(s, timeout_ms);

    if (rc == FKV_BUSY) return FKV_RAISEF(FKV_BUSY, "another process is writing to the store");
    if (rc) return rc;
    rc = store_follow(s);
    if (!rc && atomic_load(&store_page(s)->writing)) rc = store_take_over(t);
    if (rc) store_unlock_writer(s);
    return rc;
}

static void be_idle(fkv_txn *t)
{
    t->active = t->prepared = t->logged = t->logged_sync = t->tables_stay = 0;
    t->prepare_ns = 0;
    t->mark_count = 0;
    t->spilled = 0;
    if (t->writes && t->writes->refs == 1 && t->writes->used <= (1u << 20)) {
        batch_clear(t->writes);
    } else { /* cursors still read it, or it holds memory that the next one will not need */
        batch_unref(t->writes);
        t->writes = NULL;
    }
}

/* Back to idle. */
static void end_transaction(fkv_txn *t)
{
    fkv_store *s = t->store;

    be_idle(t);
    if (!s->unsure) { /* else whoever writes next decides what is in the log (follow.c) */
        shared_page *page = store_page(s);
        atomic_store_explicit(&page->committed_lsn, atomic_load(&s->followed),
                              memory_order_release);
        atomic_store(&page->writing, 0);
    }
    store_unlock_writer(s);
    give_up_writer_lock(s);
}

fkv_status fkv_txn_begin(fkv_txn *t, uint32_t timeout_ms)
{
    fkv_store *s = t->store;
    fkv_status rc;

    if (t->active) return FKV_OK;
    rc = store_check_writable(s);
    if (rc) return rc;
    if (!t->writes) {
        rc = batch_new(s->env, s->options.memtable_bytes, &t->writes);
        if (rc) return rc;
    }
    rc = take_writer_lock(t, timeout_ms);
    if (rc) return rc;
    rc = lock_out_processes(t, timeout_ms);
    if (rc) {
        give_up_writer_lock(s);
        return rc;
    }
    s->unsure = 0;
    t->active = 1;
    return FKV_OK;
}

int fkv_txn_active(const fkv_txn *t)
{
    return t->active;
}

static fkv_status add(fkv_txn *t, entry_kind kind, fkv_slice key, fkv_slice value,
                      int64_t expires_ms)
{
    size_t bytes = mem_record_bytes(kind, key.size, value.size);
    fkv_status rc;

    assert(t->active);
    if (key.size > FKV_KEY_MAX)
        return FKV_RAISEF(FKV_TOOBIG, "a key of %zu bytes is over the limit", key.size);
    if (value.size > FKV_VALUE_MAX)
        return FKV_RAISEF(FKV_TOOBIG, "a value of %zu bytes is over the limit", value.size);
    if (!batch_fits(t->writes, bytes)) {
        rc = txn_spill(t);
        if (rc) return rc;
        if (!batch_fits(t->writes, bytes)) { /* one row larger than a memtable */
            batch *large = NULL;
            rc = batch_new(t->store->env, bytes + MEMTREE_NODE_BYTES(2), &large);
            if (rc) return rc;
            batch_unref(t->writes);
            t->writes = large;
        }
    }
    batch_add(t->writes, kind, key, value, expires_ms);
    t->prepared = 0;
    return FKV_OK;
}

fkv_status fkv_txn_put(fkv_txn *t, fkv_slice key, fkv_slice value)
{
    return add(t, ENTRY_PUT, key, value, 0);
}

fkv_status fkv_txn_put_expires(fkv_txn *t, fkv_slice key, fkv_slice value, int64_t expires_ms)
{
    return add(t, ENTRY_PUT_EXPIRES, key, value, expires_ms);
}

fkv_status fkv_txn_delete(fkv_txn *t, fkv_slice key)
{
    return add(t, ENTRY_DELETE, key, fkv_slice_of(NULL, 0), 0);
}

fkv_status fkv_txn_delete_range(fkv_txn *t, fkv_slice from, fkv_slice to)
{
    if (slice_compare(from, to) >= 0) return FKV_OK; /* nothing lies in it */
    if (to.size > FKV_KEY_MAX)
        return FKV_RAISEF(FKV_TOOBIG, "a key of %zu bytes is over the limit", to.size);
    return add(t, ENTRY_RANGE_DELETE, from, to, 0);
}

fkv_status fkv_txn_new_space(fkv_txn *t, uint32_t *out)
{
    fkv_store *s = t->store;
    shared_page *page = store_page(s);
    uint8_t key[4];
    uint64_t space;
    fkv_status rc;

    *out = 0;
    space = atomic_load(&page->next_space);
    do {
        if (space >= UINT32_MAX) break;
    } while (!atomic_compare_exchange_weak(&page->next_space, &space, space + 1));
    if (space >= UINT32_MAX) return FKV_RAISEF(FKV_TOOBIG, "all keyspace numbers are used up");
    put_be32(key, (uint32_t)space);
    rc = add(t, ENTRY_NEW_SPACE, fkv_slice_of(key, sizeof key), fkv_slice_of(NULL, 0), 0);
    if (!rc) *out = (uint32_t)space;
    return rc;
}

fkv_status fkv_txn_mark(fkv_txn *t, uint64_t *out)
{
    fkv_status rc;

    *out = 0;
    assert(t->active);
    if (t->mark_count == t->mark_capacity) {
        size_t capacity = t->mark_capacity ? t->mark_capacity * 2 : 8;
        uint64_t *marks = alloc_resize(t->marks, capacity * sizeof *marks);
        if (!marks) return FKV_RAISE(FKV_NOMEM);
        t->marks = marks;
        t->mark_capacity = capacity;
    }
    rc = batch_reserve_rollback(t->writes);
    if (rc) return rc;
    *out = t->marks[t->mark_count++] = txn_position(t);
    return FKV_OK;
}

void fkv_txn_rollback_to(fkv_txn *t, uint64_t mark)
{
    if (!t->active || mark >= txn_position(t)) return;
    while (t->mark_count && t->marks[t->mark_count - 1] > mark) t->mark_count--;
    if (mark < t->spilled) {
        batch_rollback(t->writes, 0);
        txn_drop_runs(t, mark);
    } else {
        batch_rollback(t->writes, (uint32_t)(mark - t->spilled));
    }
    t->prepared = 0;
}

void fkv_txn_release(fkv_txn *t, uint64_t mark)
{
    /* Several marks may share a position: give up one of them at a time. */
    while (t->mark_count && t->marks[t->mark_count - 1] > mark) t->mark_count--;
    if (t->mark_count && t->marks[t->mark_count - 1] == mark) t->mark_count--;
}

uint64_t fkv_txn_writes(const fkv_txn *t)
{
    uint64_t in_runs = t->run_count ? t->spilled : 0;

    return t->active ? in_runs + batch_live(t->writes) : 0;
}

void txn_forget(fkv_txn *t)
{
    t->run_count = 0; /* not freed: env_posix_fork.c */
    t->ready = NULL;
    be_idle(t);
}

void txn_end(fkv_txn *t)
{
    txn_drop_runs(t, 0);
    end_transaction(t);
}
