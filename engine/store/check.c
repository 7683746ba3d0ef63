/*
** check.c -- looking for damage in a store that is open.
**
** What is on disk is compared with itself and with what this process knows, file by file, and one
** damaged file or block does not keep the rest from being looked at:
**
**   manifest   it is read anew: checksum, shape, levels that do not overlap, the right store, not
**              older than what this process has seen, no table newer than the store
**   tables     those of the current version, each opened anew (an open table has its index in
**              memory, and the file may have changed since): size, id, footer, counts, index,
**              filter, range tombstones; then its data blocks
**   log        header, and every record up to where the log was decided when the check began.
**              Beyond that somebody may be writing. Also segments that are kept for the change feed
**              alone, and the runs that their transactions name (keep.c)
**   directory  files that nothing names
**
** Nothing is locked for long: a version keeps its tables on disk, and a log segment that goes while
** the check is about to read it was not needed any more.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/finding.h"
#include "store/store.h"

typedef struct check {
    fkv_store *s;
    fkv_check_level level;
    const fkv_checker *how;
    finding_sink sink;
    superversion *view;
    char file[FILENAME_BYTES_MAX]; /* that is being looked at */
    uint64_t *logs;                /* their numbers, ascending; those that are only kept first */
    size_t log_count;
    uint64_t kept_after; /* runs of the transactions behind this sequence are kept */
    buf runs;            /* payload of a PREPARE that names runs, … */
    uint64_t runs_lsn;   /* … and where it is; its mark comes behind it */
    uint64_t log;        /* the segment that is being looked at */
    uint64_t limit;      /* the log is decided up to here */
    uint64_t tables, records;
    table_check blocks;
} check;

/* Damage becomes a finding, and the check goes on. */
static fkv_status tell_error(check *c, fkv_status rc)
{
    return finding_is_damage(rc) ? finding_error(&c->sink, FKV_FOUND_ERROR, c->file, 0) : rc;
}

static fkv_status on_damage(void *arg, fkv_status rc)
{
    return tell_error(arg, rc);
}

static fkv_status on_block(void *arg)
{
    const check *c = arg;

    return c->how->proceed ? c->how->proceed(c->how->arg) : FKV_OK;
}

static fkv_status check_row(check *c, uint64_t offset, fkv_slice key, fkv_slice value)
{
    const char *wrong;

    if (!c->how->row || slice_compare(key, c->how->from) < 0 ||
        (c->how->to.data && slice_compare(key, c->how->to) >= 0))
        return FKV_OK;
    wrong = c->how->row(c->how->arg, key, value);
    return wrong ? finding_say(&c->sink, FKV_FOUND_ERROR, c->file, offset, "%s", wrong) : FKV_OK;
}

static fkv_status on_row(void *arg, uint64_t offset, const iter_entry *e)
{
    return e->kind == ENTRY_DELETE ? FKV_OK : check_row(arg, offset, e->key, e->value);
}

/* -- the manifest --------------------------------------------------------------------------- */

/* No table may hold anything newer than what the manifest says has been reached: what is written
** from there on would be hidden by it. */
static fkv_status check_ages(check *c, const manifest *m, const version *v)
{
    fkv_status rc = FKV_OK;

    for (int i = 0; i < FKV_LEVELS; i++) {
        for (size_t j = 0; !rc && j < v->levels[i].count; j++) {
            const file_meta *f = v->levels[i].files[j];
            if (f->max_seq <= m->last_seq) continue;
            rc = finding_say(&c->sink, FKV_FOUND_ERROR, c->file, FKV_NO_OFFSET,
                             "table %llu is newer (%llu) than the store (%llu)",
                             (unsigned long long)f->number, (unsigned long long)f->max_seq,
                             (unsigned long long)m->last_seq);
        }
    }
    return rc;
}

static fkv_status check_manifest(check *c)
{
    fkv_store *s = c->s;
    uint64_t seen = atomic_load(&s->seen_edit);
    version *v = NULL;
    manifest m;
    fkv_status rc = manifest_load(s->env, s->dir, &s->home, &m, &v);

    (void)snprintf(c->file, sizeof c->file, "%s", FILENAME_MANIFEST);
    if (rc == FKV_NOTFOUND && seen == 0) return FKV_OK; /* nothing has been written yet */
    if (rc == FKV_NOTFOUND) {
        rc = finding_say(&c->sink, FKV_FOUND_ERROR, c->file, FKV_NO_OFFSET,
                         "the manifest is missing");
    } else if (rc) {
        rc = tell_error(c, rc);
    } else if (memcmp(m.uuid, s->uuid, sizeof m.uuid) != 0) {
        rc = finding_say(&c->sink, FKV_FOUND_ERROR, c->file, 16, "it is another store's");
    } else if (m.edit < seen) {
        rc = finding_say(&c->sink, FKV_FOUND_ERROR, c->file, 32,
                         "it is an old one (edit %llu; %llu has been seen)",
                         (unsigned long long)m.edit, (unsigned long long)seen);
    } else {
        rc = check_ages(c, &m, v);
    }
    version_unref(v);
    return rc;
}

/* -- tables --------------------------------------------------------------------------------- */

static fkv_status check_table(check *c, const file_meta *f)
{
    fkv_env *env = c->s->env;
    env_file *file = NULL;
    table *t = NULL;
    fkv_status rc;

    filename_table(f->number, c->file);
    c->tables++;
    rc = env->file_open(env, c->s->dir, c->file, ENV_READ | ENV_UNCACHED, &file);
    if (rc == FKV_NOTFOUND)
        return finding_say(&c->sink, FKV_FOUND_ERROR, c->file, FKV_NO_OFFSET,
                           "this table of the store is missing");
    if (!rc)
        rc = table_open(env, file, c->file, f->summary.unique_id, f->summary.file_bytes, NULL, &t);
    if (!rc) rc = table_expect(t, &f->summary);
    if (rc) {
        rc = tell_error(c, rc);
    } else if (c->level > FKV_CHECK_QUICK) {
        rc = table_check_blocks(t, &c->blocks);
    }
    table_free(t);
    return rc;
}

static fkv_status check_tables(check *c)
{
    const version *v = c->view->tables;
    fkv_status rc = FKV_OK;

    for (int i = 0; i < FKV_LEVELS; i++) {
        for (size_t j = 0; !rc && j < v->levels[i].count; j++) {
            rc = on_block(c);
            if (!rc) rc = check_table(c, v->levels[i].files[j]);
        }
    }
    return rc;
}

/* -- runs that are kept --------------------------------------------------------------------- */

static int is_kept(const log_keeping *k, uint64_t number)
{
    for (uint32_t i = 0; i < k->count; i++)
        if (k->logs[i].number == number) return 1;
    return 0;
}

/* Has this segment gone because nobody needs it any more? Another process may have flushed, which
** we have not seen; the manifest knows. */
static int retired(const check *c, uint64_t number)
{
    fkv_store *s = c->s;
    version *v = NULL;
    manifest m;
    int gone = !store_knows_log(s, number) && !store_keeps_log(s, number);

    if (!gone && !manifest_load(s->env, s->dir, &s->home, &m, &v))
        gone = number < m.log_number && !is_kept(&m.keep, number);
    version_unref(v);
    return gone;
}

/* Changes may have ceased to be kept since. */
static int keeps_changes(const check *c)
{
    int on;

    c->s->env->mutex_lock(c->s->env, c->s->mu);
    on = log_keeping_on(&c->s->man.keep);
    c->s->env->mutex_unlock(c->s->env, c->s->mu);
    return on;
}

/* (It is a table of its own to the check: what the counts tell of are those of the version.) */
static fkv_status check_run(check *c, const file_meta *f)
{
    fkv_env *env = c->s->env;
    table_check how = c->blocks;
    env_file *file = NULL;
    table *t = NULL;
    fkv_status rc;

    filename_run(f->number, c->file);
    rc = env->file_open(env, c->s->dir, c->file, ENV_READ | ENV_UNCACHED, &file);
    if (rc == FKV_NOTFOUND && (!keeps_changes(c) || retired(c, c->log))) return FKV_OK;
    if (rc == FKV_NOTFOUND) /* (Where there are no links it never was there.) */
        return finding_say(&c->sink, FKV_FOUND_WARNING, c->file, FKV_NO_OFFSET,
                           "this run is missing: the change feed cannot tell of it");
    if (!rc)
        rc = table_open(env, file, c->file, f->summary.unique_id, f->summary.file_bytes, NULL, &t);
    if (!rc) rc = table_expect(t, &f->summary);
    rc = rc ? tell_error(c, rc) : table_check_blocks(t, &how);
    table_free(t);
    return rc;
}

/* Those of the transaction that has been found committed. */
static fkv_status check_runs(check *c)
{
    run_list runs = run_list_of(c->runs.data, c->runs.size);
    char log[FILENAME_BYTES_MAX];
    fkv_status rc = FKV_OK;

    memcpy(log, c->file, sizeof log);
    while (!rc && runs.left > 0) {
        file_meta *f = NULL;
        rc = run_list_next(&runs, &c->s->home, &f);
        if (rc) {
            rc = tell_error(c, rc);
            break; /* where the next one begins is not known */
        }
        rc = check_run(c, f);
        file_meta_unref(f);
    }
    memcpy(c->file, log, sizeof log);
    return rc;
}

static fkv_status note_runs(check *c, const wal_record *w)
{
    if (w->type == WAL_PREPARE) {
        buf_set(&c->runs, fkv_slice_of(NULL, 0));
        if (!(w->flags & WAL_FLAG_RUNS) || w->first_seq <= c->kept_after) return FKV_OK;
        c->runs_lsn = w->lsn;
        buf_set(&c->runs, fkv_slice_of(w->payload, w->size));
        return buf_status(&c->runs);
    }
    return w->type == WAL_COMMIT && c->runs.size && w->ref == c->runs_lsn ? check_runs(c) : FKV_OK;
}

/* -- the log -------------------------------------------------------------------------------- */

static fkv_status check_records(check *c, uint64_t offset, const wal_record *w)
{
    fkv_status rc = note_runs(c, w);
    size_t at = 0;

    c->records++;
    if (rc) return rc;
    if (w->type != WAL_PREPARE || w->flags & WAL_FLAG_RUNS) return FKV_OK;
    if (!memtable_payload_check(w->payload, w->size, w->count))
        return finding_say(&c->sink, FKV_FOUND_ERROR, c->file, offset, "a malformed transaction");
    if (c->level < FKV_CHECK_DEEP || !c->how->row) return FKV_OK;
    while (!rc && at < w->size) {
        const mem_record *r = (const mem_record *)(const void *)(w->payload + at);
        entry_kind kind = mem_record_kind(r);
        if (kind == ENTRY_PUT || kind == ENTRY_PUT_EXPIRES)
            rc = check_row(c, offset, mem_record_key(r), mem_record_value(r));
        at += mem_record_bytes(kind, r->key_kind >> 3, r->value_size);
    }
    return rc;
}

static fkv_status check_segment(check *c, wal_reader *reader, uint64_t limit)
{
    const wal_segment_info *info = wal_reader_info(reader);
    fkv_status rc = FKV_OK;

    if (info->empty)
        return limit > info->start_lsn
                   ? finding_say(&c->sink, FKV_FOUND_ERROR, c->file, 0, "this log has no header")
                   : FKV_OK;
    while (!rc && wal_reader_position(reader) < limit) {
        uint64_t offset = WAL_SEGMENT_HEADER + (wal_reader_position(reader) - info->start_lsn);
        wal_record w;
        rc = on_block(c);
        if (rc) break;
        rc = wal_reader_next(reader, limit, &w);
        if (rc == FKV_NOTFOUND || rc == FKV_CORRUPT)
            return finding_say(&c->sink, FKV_FOUND_ERROR, c->file, offset, "damaged log record");
        if (!rc) rc = check_records(c, offset, &w);
    }
    return rc;
}

/* Only the header: wal_tail reads no more. */
static fkv_status check_header(const check *c, uint64_t number)
{
    wal_tail *tail = NULL;
    fkv_status rc = wal_tail_open(c->s->env, c->s->dir, store_id(c->s), number, &tail);

    wal_tail_close(tail);
    return rc;
}

/* limit: where the next segment begins. */
static fkv_status check_log(check *c, uint64_t number, uint64_t limit)
{
    fkv_store *s = c->s;
    wal_reader *reader = NULL;
    fkv_status rc;

    c->log = number;
    filename_wal(number, c->file);
    if (c->level == FKV_CHECK_QUICK) {
        rc = check_header(c, number);
    } else {
        rc = wal_reader_open(s->env, s->dir, store_id(s), number, &reader);
    }
    if (rc == FKV_NOTFOUND && retired(c, number)) return FKV_OK;
    if (rc == FKV_NOTFOUND)
        return finding_say(&c->sink, FKV_FOUND_ERROR, c->file, FKV_NO_OFFSET,
                           "this log of the store is missing");
    if (rc) {
        rc = tell_error(c, rc);
    } else if (reader) {
        rc = check_segment(c, reader, limit < c->limit ? limit : c->limit);
    }
    wal_reader_close(reader);
    return rc;
}

/* Which segments, and where each begins. mu held. */
static fkv_status list_logs(check *c, uint64_t **starts)
{
    const fkv_store *s = c->s;
    const log_keeping *k = &s->man.keep;
    size_t n = 0;

    c->logs = alloc_bytes((k->count + s->log_count + 1) * sizeof *c->logs);
    *starts = alloc_bytes((k->count + s->log_count + 1) * sizeof **starts);
    if (!c->logs || !*starts) return FKV_RAISE(FKV_NOMEM);
    for (uint32_t i = 0; i < k->count; i++, n++) {
        c->logs[n] = k->logs[i].number;
        (*starts)[n] = k->logs[i].start_lsn;
    }
    for (size_t i = 0; i < s->log_count; i++) {
        if (n && s->logs[i].number <= c->logs[n - 1]) continue;
        c->logs[n] = s->logs[i].number;
        (*starts)[n++] = s->logs[i].start_lsn;
    }
    c->log_count = n;
    c->kept_after = log_keeping_on(k) ? k->after : UINT64_MAX;
    return FKV_OK;
}

static fkv_status check_logs(check *c)
{
    fkv_store *s = c->s;
    uint64_t *starts = NULL;
    fkv_status rc;

    c->limit = atomic_load(&s->followed); /* before anything is read: whole records below it */
    s->env->mutex_lock(s->env, s->mu);
    rc = list_logs(c, &starts);
    s->env->mutex_unlock(s->env, s->mu);
    for (size_t i = 0; !rc && i < c->log_count && starts[i] < c->limit; i++)
        rc = check_log(c, c->logs[i], i + 1 < c->log_count ? starts[i + 1] : UINT64_MAX);
    alloc_free(starts);
    return rc;
}

/* -- the directory -------------------------------------------------------------------------- */

static int names_table(const check *c, uint64_t number)
{
    const version *v = c->view->tables;

    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < v->levels[i].count; j++)
            if (v->levels[i].files[j]->number == number) return 1;
    return 0;
}

static int names_log(const check *c, uint64_t number)
{
    for (size_t i = 0; i < c->log_count; i++)
        if (c->logs[i] == number) return 1;
    return store_keeps_log(c->s, number);
}

static fkv_status look_at_name(void *arg, const char *name)
{
    check *c = arg;
    uint64_t number = 0;
    file_kind kind = filename_parse(name, &number);

    if (kind == FILE_OTHER)
        return finding_say(&c->sink, FKV_FOUND_INFO, name, FKV_NO_OFFSET,
                           "not a file of the store; it is left alone");
    if ((kind == FILE_TABLE && !names_table(c, number)) ||
        (kind == FILE_WAL && !names_log(c, number)) || (kind == FILE_RUN && !keeps_changes(c)))
        return finding_say(&c->sink, FKV_FOUND_INFO, name, FKV_NO_OFFSET,
                           "the store does not need this file: it is being made, or read by "
                           "somebody, or removed at the first write after the next open");
    return FKV_OK;
}

fkv_status fkv_check(fkv_store *s, fkv_check_level level, const fkv_checker *how)
{
    check c = {.s = s, .level = level, .how = how, .sink = {how->found, how->arg, {0}}};
    fkv_status rc;

    if (store_forked(s)) return store_fork_error(s);
    rc = store_follow(s);
    if (rc) return rc;
    c.blocks = (table_check){.deep = level == FKV_CHECK_DEEP,
                             .from = how->from,
                             .to = how->to,
                             .damaged = on_damage,
                             .block = on_block,
                             .row = on_row,
                             .arg = &c};
    c.view = store_current(s);
    rc = check_manifest(&c);
    if (!rc) rc = check_tables(&c);
    if (!rc) rc = check_logs(&c);
    if (!rc) rc = s->env->dir_list(s->env, s->dir, look_at_name, &c);
    superversion_unref(c.view);
    alloc_free(c.logs);
    buf_release(&c.runs);
    if (rc || c.sink.counts[FKV_FOUND_WARNING] || c.sink.counts[FKV_FOUND_ERROR]) return rc;
    return finding_say(&c.sink, FKV_FOUND_OK, "", FKV_NO_OFFSET,
                       "no damage: tables %llu, blocks %llu, entries %llu, logs %llu, log "
                       "records %llu",
                       (unsigned long long)c.tables, (unsigned long long)c.blocks.blocks,
                       (unsigned long long)c.blocks.entries, (unsigned long long)c.log_count,
                       (unsigned long long)c.records);
}
