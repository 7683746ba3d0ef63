/*
** background.c -- the three threads, and how writers are kept in step with them.
**
**   flusher     writes sealed memtables to level 0, oldest first
**   compactor   runs whatever pick_compaction() says is most urgent
**   syncer      syncs the log soon after a commit with FKV_BACKGROUND
**
** None is started before the first write needs it; all are joined by the last close. They never
** call outside the engine. With options.inline_background the same steps run in the committing
** call, in a fixed order: that is how tests make a store deterministic.
**
** Trouble. A failed fsync poisons the store: what the kernel did with the pages is unknown, so
** nothing is retried and no write is taken until the store has been opened anew. Any other
** failure (no space, mostly) leaves everything as it was; the step is tried again after a pause,
** and writers that would have to wait for it get the error instead.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "base/sabotage.h"
#include "store/store.h"

enum { RETRY_US = 500 * 1000, SYNC_AFTER_US = 400 * 1000, LEISURE_US = 1000 * 1000 };
enum { LEISURE_FILES = 2 }; /* what is merged in level 0 when nobody writes: reads get cheaper */

void store_poison(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    if (!atomic_load(&s->poisoned) && !SABOTAGE(31)) {
        (void)snprintf(s->poison_text, sizeof s->poison_text, "%s", fkv_errmsg());
        atomic_store(&s->poisoned, 1);
        if (!atomic_load(&s->read_only)) atomic_store(&store_page(s)->poisoned, 1);
    }
    s->env->cond_wake_all(s->env, s->changed);
    s->env->mutex_unlock(s->env, s->mu);
}

fkv_status store_fork_error(const fkv_store *s)
{
    return FKV_RAISEF(FKV_MISUSE,
                      "the store \"%s\" was opened before fork(); open the database "
                      "again in this process",
                      s->path);
}

fkv_status store_check_writable(fkv_store *s)
{
    if (store_forked(s)) return store_fork_error(s);
    if (atomic_load(&s->read_only))
        return FKV_RAISEF(FKV_READONLY, "the store \"%s\" is open for reading only", s->path);
    if (atomic_load(&s->poisoned))
        return FKV_RAISEF(
            FKV_IOERR_SYNC,
            "the store is read-only until it is reopened, because an fsync failed: %s",
            s->poison_text);
    if (atomic_load_explicit(&store_page(s)->poisoned, memory_order_relaxed))
        return FKV_RAISEF(FKV_IOERR_SYNC, "the store is read-only until all processes have closed "
                                          "it, because an fsync failed in one of them");
    return FKV_OK;
}

void store_compact_context(fkv_store *s, compact_context *out)
{
    *out = (compact_context){.env = s->env,
                             .dir = s->dir,
                             .home = &s->home,
                             .table_bytes = s->options.table_bytes,
                             .clock_ms = fkv_clock_ms(s),
                             .arg = s,
                             .new_number = store_new_number};
    s->env->mutex_lock(s->env, s->mu);
    out->table = s->table;
    out->codecs = s->man.codecs;
    codec_rules_overlay(&out->codecs, &s->codecs);
    if (out->codecs.count) out->table.rules = &out->codecs;
    s->env->mutex_unlock(s->env, s->mu);
}

/* Smoothed bytes per second. */
static void note_rate(_Atomic uint64_t *rate, uint64_t bytes, uint64_t us)
{
    uint64_t now = bytes * 1000000 / (us + 1), old = atomic_load(rate);

    atomic_store(rate, old ? (old * 3 + now) / 4 : now);
}

static int flush_progress(void *arg, uint64_t bytes_done)
{
    fkv_store *s = arg;

    atomic_store(&s->flush_done, bytes_done);
    return 0;
}

static int compact_progress(void *arg, uint64_t bytes_done)
{
    fkv_store *s = arg;

    atomic_store(&s->compact_done, bytes_done);
    return atomic_load(&s->stopping) && !s->options.inline_background;
}

static uint64_t edit_bytes(const version_edit *edit)
{
    uint64_t n = 0;

    for (size_t i = 0; i < edit->added_count; i++) n += edit->added[i].file->summary.file_bytes;
    return n;
}

/* Is there a memtable to flush? */
static int has_due(const superversion *v, int all)
{
    return (all ? v->sealed_count : v->due) > 0;
}

fkv_status store_flush_one(fkv_store *s, int all, int *did)
{
    fkv_env *env = s->env;
    superversion *v;
    uint64_t started = env->now_us(env), bytes, base;
    compact_context c;
    version_edit edit = {0};
    memtable *m;
    fkv_status rc = store_follow(s); /* another process may have done it */

    *did = 0;
    if (rc) return rc;
    env->mutex_lock(env, s->mu);
    v = s->current;
    superversion_ref(v);
    base = s->man.tables_lsn;
    env->mutex_unlock(env, s->mu);
    if (!has_due(v, all)) {
        superversion_unref(v);
        return FKV_OK;
    }
    m = v->sealed[v->sealed_count - 1];
    store_compact_context(s, &c);
    c.progress = flush_progress;
    atomic_store(&s->flush_done, 0);
    atomic_store(&s->flush_total, m->record_bytes);
    rc = flush_memtable(&c, m, m->last_seq, v->tables, &edit);
    atomic_store(&s->flush_total, 0); /* before those who wait for it hear of it */
    bytes = edit_bytes(&edit);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (!rc) rc = store_install(s, &edit, m, base);
    if (!rc) {
        *did = 1;
        count_add(&s->counters.flushes, 1);
        count_add(&s->counters.bytes_flushed, bytes);
        note_rate(&s->flush_rate, m->record_bytes, env->now_us(env) - started);
    }
    superversion_unref(v);
    return rc;
}

static uint64_t job_bytes(const compaction_job *job)
{
    uint64_t n = 0;

    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < job->counts[side]; i++)
            n += job->inputs[side][i]->summary.file_bytes;
    return n;
}

fkv_status store_run_job(fkv_store *s, const version *v, const compaction_job *job)
{
    version_edit edit = {0};
    compact_context c;
    uint64_t started = s->env->now_us(s->env), bytes;
    fkv_status rc;

    store_compact_context(s, &c);
    c.progress = compact_progress;
    atomic_store(&s->compact_done, 0);
    atomic_store(&s->compact_total, job_bytes(job));
    rc = compact_run(&c, v, job, &edit);
    atomic_store(&s->compact_total, 0);
    bytes = job->move ? 0 : edit_bytes(&edit);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (!rc) rc = store_install(s, &edit, NULL, 0);
    if (rc) return rc;
    count_add(&s->counters.compactions, 1);
    count_add(&s->counters.bytes_compacted, bytes);
    if (bytes) note_rate(&s->compact_rate, bytes, s->env->now_us(s->env) - started);
    return FKV_OK;
}

fkv_status store_compact_one(fkv_store *s, int at_leisure, int *did)
{
    pick_options pick = s->pick;
    held_tables now;
    compaction_job job = {0};
    fkv_status rc = store_hold_tables(s, &now);

    *did = 0;
    if (rc) return rc;
    pick.clock_ms = fkv_clock_ms(s);
    if (at_leisure) pick.level0_trigger = LEISURE_FILES;
    rc = pick_compaction(now.tables, &pick, &job);
    if (!rc && job.counts[0]) {
        rc = store_run_job(s, now.tables, &job);
        *did = !rc;
    }
    compaction_job_release(&job);
    store_release_tables(&now);
    return rc;
}

/* Remember how the last flush went. (A compaction keeps nobody waiting: writers are only slowed by
** what it leaves.) mu held. */
static void note_trouble(fkv_store *s, fkv_status rc)
{
    s->trouble = rc;
    if (rc) (void)snprintf(s->trouble_text, sizeof s->trouble_text, "%s", fkv_errmsg());
    s->env->cond_wake_all(s->env, s->changed);
}

/* Something failed: try again in a while, whatever the other threads report meanwhile. mu held. */
static void wait_to_retry(fkv_store *s)
{
    uint64_t until = s->env->now_us(s->env) + RETRY_US, now;

    while (!s->stopping && (now = s->env->now_us(s->env)) < until)
        s->env->cond_wait(s->env, s->changed, s->mu, until - now);
}

/* Flushing and compacting are done by one process at a time, which saves work; where two do it all
** the same, the second finds itself overtaken (store_install). Wait a little while another one is
** at it, and take up its manifest; but not for ever: it may have been stopped. 1: ours to do. */
static int take_turn(fkv_store *s, uint64_t byte, uint64_t patience_us, uint64_t *waiting_since)
{
    enum { PAUSE_US = 5000 };
    uint64_t now = s->env->now_us(s->env);

    if (!store_lock(s, byte, 0)) {
        *waiting_since = 0;
        return 1;
    }
    if (!*waiting_since) *waiting_since = now;
    if (now - *waiting_since > patience_us) return 1;
    s->env->sleep_us(s->env, PAUSE_US);
    fkv_ignore(store_follow(s)); /* what is wrong will be said again when we do it ourselves */
    return 0;
}

enum { FLUSH_PATIENCE_US = 3 * 1000 * 1000, COMPACT_PATIENCE_US = 15 * 1000 * 1000 };

static void flusher_main(void *arg)
{
    fkv_store *s = arg;
    fkv_env *env = s->env;
    uint64_t waiting_since = 0;

    env->mutex_lock(env, s->mu);
    while (!s->stopping) {
        fkv_status rc;
        int did, all = s->draining > 0;
        if (!has_due(s->current, all) || store_poisoned(s)) {
            /* If another process did that, nobody has told those who wait for this flush. */
            if (has_due(s->current, all)) env->cond_wake_all(env, s->changed);
            if (!has_due(s->current, all)) s->trouble = FKV_OK; /* that it was in is over */
            env->cond_wait(env, s->changed, s->mu, 0);
            continue;
        }
        env->mutex_unlock(env, s->mu);
        if (!take_turn(s, LOCK_FLUSH, FLUSH_PATIENCE_US, &waiting_since)) {
            env->mutex_lock(env, s->mu);
            continue;
        }
        rc = store_flush_one(s, all, &did);
        store_unlock(s, LOCK_FLUSH);
        env->mutex_lock(env, s->mu);
        note_trouble(s, rc);
        if (rc) wait_to_retry(s);
    }
    env->mutex_unlock(env, s->mu);
}

/* Nothing is due. Sleep until something changes; 1 if for a second nobody has written and level 0
** could be tidied up meanwhile. mu held. */
static int wait_for_leisure(fkv_store *s)
{
    uint64_t seq = atomic_load(&s->visible_seq), epoch = atomic_load(&s->epoch);
    uint64_t until = s->env->now_us(s->env) + LEISURE_US, now;

    if (atomic_load(&s->level0_files) < LEISURE_FILES) {
        s->env->cond_wait(s->env, s->changed, s->mu, 0);
        return 0;
    }
    while (!s->stopping && !s->compacting && epoch == atomic_load(&s->epoch)) {
        now = s->env->now_us(s->env);
        if (now >= until) return seq == atomic_load(&s->visible_seq);
        s->env->cond_wait(s->env, s->changed, s->mu, until - now);
    }
    return 0;
}

static void compactor_main(void *arg)
{
    fkv_store *s = arg;
    fkv_env *env = s->env;
    uint64_t waiting_since = 0;

    env->mutex_lock(env, s->mu);
    while (!s->stopping) {
        fkv_status rc;
        int did, leisure = 0;
        uint64_t epoch = atomic_load(&s->epoch);
        if (s->compacting || store_poisoned(s)) {
            env->cond_wait(env, s->changed, s->mu, 0);
            continue;
        }
        if (s->compact_idle) {
            leisure = wait_for_leisure(s);
            if (!leisure) continue;
        }
        s->compacting = 1;
        env->mutex_unlock(env, s->mu);
        did = 1;
        rc = FKV_OK;
        if (take_turn(s, LOCK_COMPACT, COMPACT_PATIENCE_US, &waiting_since)) {
            rc = store_compact_one(s, leisure, &did);
            store_unlock(s, LOCK_COMPACT);
        }
        env->mutex_lock(env, s->mu);
        s->compacting = 0;
        env->cond_wake_all(env, s->changed);
        if (!rc && !did && epoch == atomic_load(&s->epoch)) {
            s->compact_idle = 1;
            env->cond_wake_all(env, s->changed);
        }
        if (rc) wait_to_retry(s);
    }
    env->mutex_unlock(env, s->mu);
}

static void syncer_main(void *arg)
{
    fkv_store *s = arg;
    fkv_env *env = s->env;

    env->mutex_lock(env, s->mu);
    while (!s->stopping) {
        uint64_t now = env->now_us(env);
        if (!s->unsynced_since_us || store_poisoned(s)) {
            env->cond_wait(env, s->changed, s->mu, 0);
            continue;
        }
        if (now < s->unsynced_since_us + SYNC_AFTER_US) {
            env->cond_wait(env, s->changed, s->mu, s->unsynced_since_us + SYNC_AFTER_US - now);
            continue;
        }
        s->unsynced_since_us = 0;
        env->mutex_unlock(env, s->mu);
        fkv_ignore(store_sync_log(s)); /* a failed fsync has poisoned the store */
        env->mutex_lock(env, s->mu);
    }
    env->mutex_unlock(env, s->mu);
}

fkv_status store_start_threads(fkv_store *s, int with_syncer)
{
    fkv_status rc = FKV_OK;

    if (s->options.inline_background || s->closing) return FKV_OK;
    if (!s->flusher)
        rc = s->env->thread_start(s->env, flusher_main, s, "fastkv-flush", &s->flusher);
    if (!rc && !s->compactor)
        rc = s->env->thread_start(s->env, compactor_main, s, "fastkv-compact", &s->compactor);
    if (!rc && with_syncer && !s->syncer)
        rc = s->env->thread_start(s->env, syncer_main, s, "fastkv-sync", &s->syncer);
    return rc;
}

void store_stop_threads(fkv_store *s)
{
    fkv_env *env = s->env;

    env->mutex_lock(env, s->mu);
    s->stopping = 1;
    env->cond_wake_all(env, s->changed);
    env->mutex_unlock(env, s->mu);
    env->thread_join(env, s->flusher);
    env->thread_join(env, s->compactor);
    env->thread_join(env, s->syncer);
    s->flusher = s->compactor = s->syncer = NULL;
    s->stopping = 0;
}

void store_maintain(fkv_store *s)
{
    fkv_status rc = FKV_OK;
    int did = 1;

    while (!rc && did) rc = store_flush_one(s, 0, &did);
    s->env->mutex_lock(s->env, s->mu);
    note_trouble(s, rc);
    s->env->mutex_unlock(s->env, s->mu);
    did = 1;
    while (!rc && did) rc = store_compact_one(s, 0, &did);
}

fkv_status store_drain(fkv_store *s)
{
    fkv_env *env = s->env;
    fkv_status rc = FKV_OK;
    int did = 1;

    if (s->options.inline_background || !s->flusher) {
        while (!rc && did) rc = store_flush_one(s, 1, &did);
        return rc;
    }
    env->mutex_lock(env, s->mu);
    s->draining++;
    env->cond_wake_all(env, s->changed);
    while (s->current->sealed_count && !s->trouble && !store_poisoned(s))
        env->cond_wait(env, s->changed, s->mu, 0);
    s->draining--;
    if (s->current->sealed_count && s->trouble) rc = FKV_RAISEF(s->trouble, "%s", s->trouble_text);
    env->mutex_unlock(env, s->mu);
    return rc ? rc : store_check_writable(s);
}
