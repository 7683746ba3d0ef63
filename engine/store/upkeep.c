/* upkeep.c -- flush, compact, settle, verify, and what can be told about a store. */
#include "base/alloc.h"
#include "store/store.h"

#define ESTIMATE_MAX 1e15 /* rows, or bytes: more than there can be */

/* Borrow the writer lock for a moment, through a transaction without writes. */
static fkv_status as_writer(fkv_store *s, fkv_status (*step)(fkv_store *))
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 60 * 1000);
    if (!rc) rc = step(s);
    fkv_txn_free(t);
    return rc;
}

static fkv_status seal_active(fkv_store *s)
{
    fkv_status rc = store_ensure_log(s);

    if (!rc && atomic_load(&s->active->records)) rc = store_rotate(s);
    return rc;
}

fkv_status fkv_flush(fkv_store *s)
{
    fkv_status rc = store_check_writable(s);

    if (!rc) rc = as_writer(s, seal_active);
    return rc ? rc : store_drain(s);
}

/* REQUIRES: `compacting` is ours. */
static fkv_status compact_range(fkv_store *s, fkv_slice from, fkv_slice to)
{
    fkv_status rc = FKV_OK;

    for (int did = 1; !rc && did;) {
        held_tables now;
        compaction_job job = {0};

        rc = store_hold_tables(s, &now);
        if (rc) break;
        rc = pick_range(now.tables, fkv_clock_ms(s), from, to, &job);
        did = !rc && job.counts[0] > 0;
        if (did) rc = store_run_job(s, now.tables, &job);
        compaction_job_release(&job);
        store_release_tables(&now);
    }
    return rc;
}

/* Take the compactor's place for a while. */
static void begin_compacting(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    while (s->compacting) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    s->compacting = 1;
    s->env->mutex_unlock(s->env, s->mu);
}

static void end_compacting(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    s->compacting = 0;
    s->env->cond_wake_all(s->env, s->changed);
    s->env->mutex_unlock(s->env, s->mu);
}

fkv_status fkv_compact(fkv_store *s, fkv_slice from, fkv_slice to)
{
    fkv_status rc = fkv_flush(s);

    if (rc) return rc;
    begin_compacting(s);
    rc = compact_range(s, from, to);
    end_compacting(s);
    return rc;
}

fkv_status fkv_sync(fkv_store *s)
{
    fkv_status rc = store_check_writable(s);

    if (!rc) rc = store_follow(s); /* others may have gone on in segments that we do not know */
    return rc ? rc : store_sync_log(s);
}

fkv_status fkv_settle(fkv_store *s)
{
    int did = 1;
    fkv_status rc = fkv_flush(s);

    if (rc) return rc;
    begin_compacting(s);
    while (!rc && did) rc = store_compact_one(s, 1, &did);
    end_compacting(s);
    return rc;
}

fkv_status fkv_verify(fkv_store *s)
{
    held_tables now;
    fkv_status rc = store_hold_tables(s, &now);

    if (rc) return rc;
    for (int i = 0; !rc && i < FKV_LEVELS; i++) {
        for (size_t j = 0; !rc && j < now.tables->levels[i].count; j++) {
            table *t = NULL;
            rc = file_meta_table(now.tables->levels[i].files[j], &t);
            if (!rc) rc = table_verify(t);
        }
    }
    store_release_tables(&now);
    return rc;
}

/* Share of a file's data that lies in [from, to). */
static double file_share(file_meta *f, fkv_slice from, fkv_slice to)
{
    uint64_t low = 0, high = f->summary.file_bytes;
    table *t = NULL;

    if (slice_compare(file_smallest(f), from) >= 0 &&
        (!to.data || slice_compare(file_largest(f), to) < 0))
        return 1.0; /* wholly inside: no need to open it */
    if (file_meta_table(f, &t)) return 0.0;
    low = table_offset_of(t, from);
    if (to.data) high = table_offset_of(t, to);
    return high > low ? (double)(high - low) / (double)(f->summary.file_bytes + 1) : 0.0;
}

/* Rows of a memtable in [from, to): counted up to a limit, then extrapolated by nothing better than
** "at least": a memtable is small beside the tables. */
static uint64_t memtable_rows(const memtable *m, uint64_t seq, fkv_slice from, fkv_slice to,
                              uint64_t *bytes)
{
    enum { COUNT_MAX = 256 };
    mem_view view = memtable_view(m, seq);
    uint64_t all = atomic_load(&m->records), rows = 0;
    iter *it = NULL;

    if (all == 0 || memtree_iter_new(&m->tree, &view, &it)) return 0;
    for (it->ops->seek(it, from); it->entry && rows < COUNT_MAX; it->ops->next(it)) {
        if (to.data && slice_compare(it->entry->key, to) >= 0) break;
        rows++;
        *bytes += it->entry->key.size + it->entry->value.size;
    }
    if (rows == COUNT_MAX) { /* a large range: assume a share between the limit and all */
        *bytes = *bytes / rows * (all / 2 > rows ? all / 2 : rows);
        rows = all / 2 > rows ? all / 2 : rows;
    }
    iter_close(it);
    return rows;
}

/* *sum += share * n, within ESTIMATE_MAX: n is what a manifest says. */
static void add_share(uint64_t *sum, double share, double n)
{
    double part = share * n;

    if (part > 0) *sum += part < ESTIMATE_MAX ? (uint64_t)part : (uint64_t)ESTIMATE_MAX;
    if (*sum > (uint64_t)ESTIMATE_MAX) *sum = (uint64_t)ESTIMATE_MAX;
}

void fkv_estimate(fkv_store *s, fkv_slice from, fkv_slice to, uint64_t *rows, uint64_t *bytes)
{
    superversion *v = store_current(s);
    uint64_t seq = atomic_load(&s->visible_seq);

    *rows = *bytes = 0;
    for (size_t i = 0; i <= v->sealed_count; i++) {
        uint64_t more = 0;
        *rows += memtable_rows(i == 0 ? v->active : v->sealed[i - 1], seq, from, to, &more);
        *bytes += more;
    }
    for (int i = 0; i < FKV_LEVELS; i++) {
        const version_level *l = &v->tables->levels[i];
        for (size_t j = i == 0 ? 0 : level_find(l, from); j < l->count; j++) {
            file_meta *f = l->files[j];
            double share;
            if (!file_touches(f, from, to)) {
                if (i > 0) break;
                continue;
            }
            share = file_share(f, from, to);
            add_share(rows, share, (double)f->summary.entries - (double)f->summary.deletions);
            add_share(bytes, share, (double)f->summary.raw_bytes);
        }
    }
    superversion_unref(v);
}

static void memtable_stats(const superversion *v, fkv_stats *out)
{
    out->memtable_bytes = memtree_used(&v->active->tree);
    out->memtable_entries = atomic_load(&v->active->records);
    out->immutable_memtables = v->sealed_count;
    for (size_t i = 0; i < v->sealed_count; i++)
        out->immutable_entries += atomic_load(&v->sealed[i]->records);
}

static void work_stats(fkv_store *s, fkv_stats *out)
{
    const store_counters *c = &s->counters;

    out->get_p50_ns = histogram_within(&c->get_ns, 0.5);
    out->get_p99_ns = histogram_within(&c->get_ns, 0.99);
    out->seek_p50_ns = histogram_within(&c->seek_ns, 0.5);
    out->seek_p99_ns = histogram_within(&c->seek_ns, 0.99);
    out->commit_p50_ns = histogram_within(&c->commit_ns, 0.5);
    out->commit_p99_ns = histogram_within(&c->commit_ns, 0.99);
    out->compaction_debt = atomic_load(&s->debt);
    out->flush_done = atomic_load(&s->flush_done);
    out->flush_total = atomic_load(&s->flush_total);
    out->compact_done = atomic_load(&s->compact_done);
    out->compact_total = atomic_load(&s->compact_total);
    out->flush_rate = atomic_load(&s->flush_rate);
    out->compact_rate = atomic_load(&s->compact_rate);
    out->backup_done = atomic_load(&s->backup_done);
    out->backup_total = atomic_load(&s->backup_total);
}

/* mu held. */
static void log_stats(const fkv_store *s, fkv_stats *out)
{
    const log_keeping *k = &s->man.keep;
    uint64_t live = 0;

    for (size_t i = 0; i < s->log_count; i++) {
        if (s->logs[i].number < s->man.log_number) continue; /* one that is kept */
        if (!live) live = s->logs[i].start_lsn;
        if (i + 1 < s->log_count) {
            out->log_bytes += s->logs[i + 1].start_lsn - s->logs[i].start_lsn;
        } else if (s->logs[i].segment) {
            out->log_bytes += wal_segment_end(s->logs[i].segment) - s->logs[i].start_lsn;
        } else {
            out->log_bytes += atomic_load(&s->followed) - s->logs[i].start_lsn;
        }
    }
    out->feed_generation = k->generation;
    if (!live) live = s->man.log_lsn;
    if (k->count && live > k->logs[0].start_lsn) out->feed_bytes = live - k->logs[0].start_lsn;
}

void fkv_stats_read(fkv_store *s, fkv_stats *out)
{
    superversion *v = store_current(s);
    const store_counters *c = &s->counters;
    cache_stats cache;

    *out = (fkv_stats){0};
    memtable_stats(v, out);
    for (int i = 0; i < FKV_LEVELS; i++) {
        const version_level *l = &v->tables->levels[i];
        out->level_files[i] = l->count;
        out->level_bytes[i] = l->bytes;
        for (size_t j = 0; j < l->count; j++) out->level_entries[i] += l->files[j]->summary.entries;
    }
    out->last_sequence = atomic_load(&s->visible_seq);
    out->log_replayed = s->replayed;
    s->env->mutex_lock(s->env, s->mu);
    log_stats(s, out);
    s->env->mutex_unlock(s->env, s->mu);
    block_cache_stats(s->home.cache, &cache);
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
    out->cache_bytes = cache.bytes;
    out->cache_capacity = cache.capacity;
    out->bytes_put = atomic_load(&c->bytes_put);
    out->bytes_logged = atomic_load(&c->bytes_logged);
    out->bytes_flushed = atomic_load(&c->bytes_flushed);
    out->bytes_compacted = atomic_load(&c->bytes_compacted);
    out->flushes = atomic_load(&c->flushes);
    out->compactions = atomic_load(&c->compactions);
    out->stall_us = atomic_load(&c->stall_us);
    out->gets = atomic_load(&c->gets);
    out->seeks = atomic_load(&c->seeks);
    out->rows_read = atomic_load(&c->rows_read);
    out->entries_skipped = atomic_load(&c->skipped);
    superversion_unref(v);
    work_stats(s, out);
}
