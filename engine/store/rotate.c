/*
** rotate.c -- sealing a full memtable, and back-pressure.
**
** A writer is slowed a little early instead of stopped late. Two debts are watched:
**   - a sealed memtable is being flushed: the active one may not fill faster, so a commit waits for
**     as long as its bytes take to flush, once the active memtable is fuller than the flush is
**     done;
**   - level 0 grows: from SLOW_FILES on the allowed rate falls from the compactor's measured rate
**     towards FLOOR_RATE, hyperbolically.
** Only when SEALED_MAX memtables wait does a writer wait for a flush to end.
*/
#include "store/store.h"

enum { SLOW_FILES = 16, DELAY_US_MAX = 50 * 1000 };
#define FLOOR_RATE ((uint64_t)4 << 20) /* bytes per second */

static uint64_t flush_delay_us(fkv_store *s, uint64_t bytes)
{
    const memtable *m = s->active;
    uint64_t rate = atomic_load(&s->flush_rate);
    uint64_t used = memtree_used(&m->tree), full = m->full_bytes;
    uint64_t done = atomic_load(&s->flush_done);

    if (atomic_load(&s->sealed_memtables) == 0 || rate == 0) return 0;
    if (used < full / 2 || used < done) return 0;
    return bytes * 1000000 / rate;
}

static uint64_t level0_delay_us(const fkv_store *s, uint64_t bytes)
{
    uint64_t files = atomic_load(&s->level0_files);
    uint64_t rate = atomic_load(&s->compact_rate);

    if (files <= SLOW_FILES) return 0;
    rate = rate * SLOW_FILES / ((files - SLOW_FILES) * 4 + SLOW_FILES);
    if (rate < FLOOR_RATE) rate = FLOOR_RATE;
    return bytes * 1000000 / rate;
}

void store_throttle(fkv_store *s, uint64_t bytes)
{
    uint64_t delay, other;

    if (s->options.inline_background) return;
    delay = flush_delay_us(s, bytes);
    other = level0_delay_us(s, bytes);
    if (other > delay) delay = other;
    if (delay < 50) return; /* below what a sleep can do */
    if (delay > DELAY_US_MAX) delay = DELAY_US_MAX;
    count_add(&s->counters.stall_us, delay);
    s->env->sleep_us(s->env, delay);
}

/* Wait until another memtable may be sealed. */
static fkv_status wait_for_room(fkv_store *s)
{
    fkv_env *env = s->env;
    uint64_t started = env->now_us(env);
    fkv_status rc = FKV_OK;

    if (s->options.inline_background) store_maintain(s);
    env->mutex_lock(env, s->mu);
    while (s->current->due >= SEALED_MAX && !rc) {
        if (store_poisoned(s) || s->trouble) break;
        if (s->options.inline_background) break;
        env->cond_wait(env, s->changed, s->mu, 0);
    }
    if (s->current->due >= SEALED_MAX) {
        if (s->trouble) {
            rc = FKV_RAISEF(s->trouble, "%s", s->trouble_text);
        } else if (!store_poisoned(s)) {
            rc = FKV_RAISEF(FKV_BUSY, "memtables are waiting to be flushed");
        }
    }
    env->mutex_unlock(env, s->mu);
    count_add(&s->counters.stall_us, env->now_us(env) - started);
    return rc ? rc : store_check_writable(s);
}

fkv_status store_rotate(fkv_store *s)
{
    fkv_env *env = s->env;
    superversion *next = NULL;
    memtable *fresh = NULL;
    fkv_status rc = store_start_threads(s, 0); /* what followed another may have sealed some, too */

    if (!rc) rc = wait_for_room(s);
    if (rc) return rc;
    rc = store_new_memtable(s, 1, s->last_seq, &fresh);
    if (!rc) rc = store_start_log(s, store_log_end(s));
    if (rc) goto done;
    atomic_store(&store_page(s)->log_tail, wal_segment_number(s->log));
    env->mutex_lock(env, s->mu);
    rc = superversion_seal(s->current, fresh, &next);
    if (!rc) {
        store_continue_memtable(s, fresh, atomic_load(&s->followed));
        store_publish(s, next);
        s->active = fresh;
        store_offer(s);
    }
    env->mutex_unlock(env, s->mu);
done:
    memtable_unref(fresh);
    return rc;
}
