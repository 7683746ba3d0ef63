/*
** keep.c -- log segments that stay for the change feed when nothing else needs them.
**
** A segment is retired when a manifest says that replay begins behind it. If changes are kept, that
** manifest lists it instead (manifest.keep), and it goes when a later one no longer does: when
** those behind it are large enough, or it has been retired for long enough. The list is in the
** manifest because any process may be the one that retires, and because a sweep must know what to
** leave alone. It is synced before that: its rows are in tables, but the log may have been ahead of
** the disk.
**
** A spilled transaction's rows are in tables that compaction rewrites. They get a second name,
** NNNNNN.run, which goes with the log that speaks of them: a run's number is larger than that of
** every segment before the one that names it. If the transaction is rolled back the names go at
** once, or when a recovery has decided so. (What a host may yet bring back, and what is left by a
** death before the log was written, goes with the log.)
**
** Where sequences may be given out a second time (the log has lost its end in a power cut; the
** store is a copy of another) the feed is another one: it gets a new generation, in the manifest
** that has to be there before the first new record, and a reader who remembers one can tell.
**
** What has been committed before keeping began, or without a mark in the log (recover.c: a hosted
** transaction that its host brought back, a spilled one that a power cut took from the log and left
** in the tables), is not in the feed: `after` moves behind it.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

void fkv_keep_changes(fkv_store *s, uint64_t bytes, uint64_t ms)
{
    s->env->mutex_lock(s->env, s->mu);
    s->keep_bytes = bytes;
    s->keep_ms = ms;
    s->keep_wanted = s->man.keep.bytes != bytes || s->man.keep.ms != ms;
    s->env->mutex_unlock(s->env, s->mu);
}

/* 53 bits: a number in JSON as well. */
uint64_t store_new_generation(fkv_store *s)
{
    uint64_t g = s->next_generation++ & (((uint64_t)1 << 53) - 1);

    return g ? g : 1;
}

static int is_wanted(fkv_store *s)
{
    int wanted;

    s->env->mutex_lock(s->env, s->mu);
    wanted = s->keep_wanted;
    s->env->mutex_unlock(s->env, s->mu);
    return wanted;
}

fkv_status store_settle_keeping(fkv_store *s)
{
    int maybe_new;
    superversion *now;
    fkv_status rc;

    if (!is_wanted(s)) return FKV_OK;
    rc = store_begin_install(s);
    if (rc) return rc;
    now = store_current(s);
    rc = store_save_manifest(s, now->tables, NULL, UINT64_MAX, &maybe_new);
    superversion_unref(now);
    store_end_install(s);
    return rc;
}

/* The first sequence in a segment; 0 = it has no transaction yet. */
static fkv_status first_sequence(fkv_store *s, uint64_t number, uint64_t *out)
{
    wal_tail *t = NULL;
    wal_record w;
    fkv_status rc = wal_tail_open(s->env, s->dir, store_id(s), number, &t);

    *out = 0;
    while (!rc) {
        rc = wal_tail_next(t, UINT64_MAX, &w);
        if (rc || w.type != WAL_PREPARE) continue;
        *out = w.first_seq;
        break;
    }
    wal_tail_close(t);
    return rc == FKV_NOTFOUND || rc == FKV_CORRUPT ? FKV_OK : rc; /* (whoever reads it will see) */
}

fkv_status store_learn_sequences(fkv_store *s)
{
    for (uint64_t above = 0;;) {
        uint64_t number = 0, seq = 0;
        fkv_status rc;

        s->env->mutex_lock(s->env, s->mu);
        if (s->keep_wanted || log_keeping_on(&s->man.keep))
            for (size_t i = s->log_count; i-- > 0;)
                if (!s->logs[i].first_seq && s->logs[i].number > above) number = s->logs[i].number;
        s->env->mutex_unlock(s->env, s->mu);
        if (!number) return FKV_OK;
        rc = first_sequence(s, number, &seq);
        if (rc) return rc;
        s->env->mutex_lock(s->env, s->mu);
        for (size_t i = 0; i < s->log_count; i++)
            if (s->logs[i].number == number) s->logs[i].first_seq = seq;
        s->env->mutex_unlock(s->env, s->mu);
        above = number;
    }
}

/* One that is too high costs a reader a segment more to read. */
static uint64_t sequence_of(const fkv_store *s, const log_entry *e)
{
    return e->first_seq ? e->first_seq : atomic_load(&s->visible_seq) + 1;
}

static void drop_oldest(log_keeping *k, uint64_t next_seq)
{
    if (k->count > 1) next_seq = k->logs[1].first_seq;
    if (next_seq - 1 > k->after) k->after = next_seq - 1;
    k->count--;
    memmove(k->logs, k->logs + 1, k->count * sizeof *k->logs);
}

/* Would what is left without the oldest do? */
static int has_too_much(const log_keeping *k, uint64_t live_lsn, int64_t now_ms)
{
    uint64_t next = k->count > 1 ? k->logs[1].start_lsn : live_lsn;

    if (k->count == 0) return 0;
    if (k->bytes && live_lsn - next >= k->bytes) return 1;
    return k->ms && k->logs[0].retired_ms < now_ms - (int64_t)k->ms;
}

void store_keep_logs(fkv_store *s, manifest *m)
{
    log_keeping *k = &m->keep;
    uint64_t live_lsn = m->log_lsn, live_seq = m->last_seq + 1;

    if (s->keep_wanted) {
        if (!log_keeping_on(k)) k->after = atomic_load(&s->visible_seq);
        k->bytes = s->keep_bytes;
        k->ms = s->keep_ms;
    }
    if (!log_keeping_on(k)) {
        *k = (log_keeping){0};
        return;
    }
    if (s->keep_anew || !k->generation) k->generation = store_new_generation(s);
    if (s->keep_gap) k->after = atomic_load(&s->visible_seq);
    for (size_t i = 0; i < s->log_count; i++) {
        const log_entry *e = &s->logs[i];
        if (e->number < s->man.log_number) continue; /* an earlier manifest has dealt with it */
        if (e->number >= m->log_number) {
            live_lsn = e->start_lsn;
            live_seq = sequence_of(s, e);
            break;
        }
        if (k->count == KEPT_LOGS_MAX) drop_oldest(k, live_seq);
        k->logs[k->count++] = (kept_log){e->number, e->start_lsn, sequence_of(s, e), m->clock_ms};
    }
    while (has_too_much(k, live_lsn, m->clock_ms)) drop_oldest(k, live_seq);
}

fkv_status store_sync_kept(fkv_store *s, const log_keeping *before, const log_keeping *now)
{
    uint64_t last = before->count ? before->logs[before->count - 1].number : 0;
    fkv_status rc = FKV_OK;

    for (uint32_t i = 0; !rc && i < now->count; i++) {
        char name[FILENAME_BYTES_MAX];
        env_file *file = NULL;
        if (now->logs[i].number <= last) continue;
        filename_wal(now->logs[i].number, name);
        rc = s->env->file_open(s->env, s->dir, name, ENV_WRITE, &file);
        if (!rc) rc = s->env->file_sync(s->env, file);
        s->env->file_close(s->env, file);
        if (rc == FKV_NOTFOUND) rc = FKV_OK; /* (whoever reads it will see) */
    }
    return rc;
}

int store_keeps_log(fkv_store *s, uint64_t number)
{
    int kept = 0;

    s->env->mutex_lock(s->env, s->mu);
    for (uint32_t i = 0; i < s->man.keep.count; i++) kept |= s->man.keep.logs[i].number == number;
    s->env->mutex_unlock(s->env, s->mu);
    return kept;
}

typedef struct drop {
    fkv_store *s;
    uint64_t below;
} drop;

static fkv_status drop_run(void *arg, const char *name)
{
    const drop *d = arg;
    uint64_t number = 0;

    if (filename_parse(name, &number) == FILE_RUN && number < d->below)
        fkv_ignore(d->s->env->file_remove(d->s->env, d->s->dir, name));
    return FKV_OK;
}

/* (What will not go now is swept away by a later writer.) */
void store_drop_logs(fkv_store *s, const log_keeping *before)
{
    drop d = {s, 0};
    int on;

    for (uint32_t i = 0; i < before->count; i++) {
        char name[FILENAME_BYTES_MAX];
        if (store_keeps_log(s, before->logs[i].number)) break;
        filename_wal(before->logs[i].number, name);
        fkv_ignore(s->env->file_remove(s->env, s->dir, name));
        d.below = before->logs[i].number;
    }
    s->env->mutex_lock(s->env, s->mu);
    on = log_keeping_on(&s->man.keep);
    s->env->mutex_unlock(s->env, s->mu);
    if (!on && log_keeping_on(before)) d.below = UINT64_MAX;
    if (d.below) fkv_ignore(s->env->dir_list(s->env, s->dir, drop_run, &d));
}

fkv_status store_keep_runs(fkv_store *s, const version_level *runs)
{
    int on;

    s->env->mutex_lock(s->env, s->mu);
    on = log_keeping_on(&s->man.keep);
    s->env->mutex_unlock(s->env, s->mu);
    for (size_t i = 0; on && i < runs->count; i++) {
        char from[FILENAME_BYTES_MAX], to[FILENAME_BYTES_MAX];
        fkv_status rc;
        filename_table(runs->files[i]->number, from);
        filename_run(runs->files[i]->number, to);
        rc = s->env->file_link(s->env, s->dir, from, s->dir, to);
        /* Prepared again; or there are no links here, and readers will find it missing. */
        if (rc && rc != FKV_BUSY && rc != FKV_UNSUPPORTED) return rc;
    }
    return FKV_OK;
}

/* (Most tables have no such name: the error of whoever gives one up is not to be lost for that.) */
void store_drop_run_name(fkv_store *s, uint64_t number)
{
    char name[FILENAME_BYTES_MAX], said[512];

    (void)snprintf(said, sizeof said, "%s", fkv_errmsg());
    filename_run(number, name);
    if (s->env->file_remove(s->env, s->dir, name)) status_set_text(said);
}

void store_drop_run_names(fkv_store *s, const uint8_t *payload, uint32_t size)
{
    run_list runs = run_list_of(payload, size);
    fkv_status rc = FKV_OK;

    while (!rc && runs.left > 0) {
        file_meta *f = NULL;
        rc = run_list_next(&runs, &s->home, &f);
        if (!rc) store_drop_run_name(s, f->number);
        file_meta_unref(f);
    }
}
