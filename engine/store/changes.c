/*
** changes.c -- the change feed: what has been committed, from the log.
**
** The log is read as a follower reads it: a PREPARE counts at its COMMIT, and what got no mark was
** rolled back. Rows of a PREPARE are numbered by the store's sequence, which is what the reader
** gets and comes back with. A spilled transaction's rows are read from its runs, oldest run first:
** within one, first its range tombstones (they hide what is older), then the rows by key; each run
** numbers them from the sequence where the one before it ends, so the numbers are the same at every
** reading.
**
** Where to begin: the manifest has the first sequence of every segment that is kept, and a few
** places where readers have ended are remembered, so that one who comes back for what is new does
** not read the running segment anew.
*/
#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

typedef struct segment {
    uint64_t number, start_lsn, first_seq;
} segment;

struct fkv_changes {
    fkv_store *s;
    uint64_t since, end_lsn, generation;
    segment *segments;
    size_t count, at;
    wal_tail *tail;
    wal_record pending; /* its payload in `bytes` */
    buf bytes;
    int has_pending;
    uint64_t done_seq, done_lsn; /* transactions read to their end */

    /* The transaction being told: */
    int telling;
    uint64_t seq;  /* of the next row */
    size_t offset; /* in the payload */

    version *runs;             /* or its runs: level 0, newest first */
    size_t run;                /* the one being read, from the end; 0 = none left */
    uint64_t run_number, base; /* sequence before the first row of its run */
    table *table;
    iter *it;
    uint64_t range;
};

/* -- where to begin ------------------------------------------------------------------------- */

static fkv_status not_kept(uint64_t since, uint64_t after)
{
    return FKV_RAISEF(FKV_INVALID,
                      "changes after %llu are not kept any more; the oldest are those after %llu",
                      (unsigned long long)since, (unsigned long long)after);
}

static fkv_status check_since(const log_keeping *k, uint64_t since, uint64_t last)
{
    if (!log_keeping_on(k)) return FKV_RAISEF(FKV_INVALID, "no changes are kept");
    if (since > last)
        return FKV_RAISEF(FKV_INVALID, "there is no change %llu yet; the last one is %llu",
                          (unsigned long long)since, (unsigned long long)last);
    return since < k->after ? not_kept(since, k->after) : FKV_OK;
}

/* Which segments, and from which LSN. mu held. */
static fkv_status list_segments(fkv_changes *c, uint64_t *from_lsn)
{
    const fkv_store *s = c->s;
    const log_keeping *k = &s->man.keep;

    c->segments = alloc_zero((k->count + s->log_count + 1) * sizeof *c->segments);
    if (!c->segments) return FKV_RAISE(FKV_NOMEM);
    for (uint32_t i = 0; i < k->count; i++)
        c->segments[c->count++] =
            (segment){k->logs[i].number, k->logs[i].start_lsn, k->logs[i].first_seq};
    for (size_t i = 0; i < s->log_count; i++)
        if (c->count == 0 || s->logs[i].number > c->segments[c->count - 1].number)
            c->segments[c->count++] =
                (segment){s->logs[i].number, s->logs[i].start_lsn, s->logs[i].first_seq};
    c->end_lsn = atomic_load(&s->followed);
    *from_lsn = c->count ? c->segments[0].start_lsn : c->end_lsn;
    for (size_t i = 0; i < c->count; i++)
        if (c->segments[i].first_seq && c->segments[i].first_seq <= c->since + 1)
            *from_lsn = c->segments[i].start_lsn;
    for (int i = 0; i < CHANGE_HINTS; i++)
        if (s->hints[i].lsn > *from_lsn && s->hints[i].seq <= c->since) *from_lsn = s->hints[i].lsn;
    while (c->at + 1 < c->count && c->segments[c->at + 1].start_lsn <= *from_lsn) c->at++;
    return FKV_OK;
}

/* A segment that is gone was dropped while we were reading. */
static fkv_status open_segment(fkv_changes *c, uint64_t lsn)
{
    fkv_status rc;

    wal_tail_close(c->tail);
    c->tail = NULL;
    rc = wal_tail_open(c->s->env, c->s->dir, store_id(c->s), c->segments[c->at].number, &c->tail);
    if (rc == FKV_NOTFOUND) return not_kept(c->since, c->since);
    if (!rc) wal_tail_seek(c->tail, lsn);
    return rc;
}

fkv_status fkv_changes_new(fkv_store *s, uint64_t since, fkv_changes **out)
{
    fkv_changes *c;
    uint64_t from = 0;
    fkv_status rc;

    *out = NULL;
    if (store_forked(s)) return store_fork_error(s);
    rc = store_follow(s);
    if (rc) return rc;
    c = alloc_zero(sizeof *c);
    if (!c) return FKV_RAISE(FKV_NOMEM);
    c->s = s;
    c->since = since;
    /* The follower takes up a manifest first, and its segments after that. */
    s->env->mutex_lock(s->env, s->follow_mutex);
    s->env->mutex_lock(s->env, s->mu);
    c->generation = s->man.keep.generation;
    rc = check_since(&s->man.keep, since, atomic_load(&s->visible_seq));
    if (!rc) rc = list_segments(c, &from);
    s->env->mutex_unlock(s->env, s->mu);
    s->env->mutex_unlock(s->env, s->follow_mutex);
    if (!rc && c->count && from < c->end_lsn) {
        rc = open_segment(c, from);
    } else {
        c->at = c->count;
    }
    if (rc) {
        fkv_changes_free(c);
        return rc;
    }
    *out = c;
    return FKV_OK;
}

uint64_t fkv_changes_generation(const fkv_changes *c)
{
    return c->generation;
}

fkv_status fkv_changes_oldest(fkv_store *s, uint64_t *since)
{
    fkv_status rc;

    *since = 0;
    if (store_forked(s)) return store_fork_error(s);
    rc = store_follow(s);
    if (rc) return rc;
    s->env->mutex_lock(s->env, s->mu);
    rc = check_since(&s->man.keep, s->man.keep.after, UINT64_MAX);
    if (!rc) *since = s->man.keep.after;
    s->env->mutex_unlock(s->env, s->mu);
    return rc;
}

/* -- transactions --------------------------------------------------------------------------- */

static fkv_status keep_payload(fkv_changes *c, const wal_record *w)
{
    buf_set(&c->bytes, fkv_slice_of(w->payload, w->size));
    c->pending = *w;
    c->pending.payload = c->bytes.data;
    c->has_pending = 1;
    return buf_status(&c->bytes);
}

static fkv_status begin_rows(fkv_changes *c)
{
    const wal_record *w = &c->pending;

    if (!memtable_payload_check(w->payload, w->size, w->count))
        return FKV_RAISEF(FKV_CORRUPT, "log: malformed transaction at position %llu",
                          (unsigned long long)w->lsn);
    c->telling = 1;
    c->offset = 0;
    c->seq = w->first_seq;
    return FKV_OK;
}

static fkv_status begin_runs(fkv_changes *c)
{
    const wal_record *w = &c->pending;
    version_edit edit = {0};
    version *empty = NULL;
    fkv_status rc = run_list_add(run_list_of(w->payload, w->size), &c->s->home, &edit);

    if (!rc) rc = version_new_empty(&empty);
    if (!rc) rc = version_apply(empty, &edit, &c->runs);
    version_edit_release(&edit);
    version_unref(empty);
    if (rc) return rc;
    c->telling = 1;
    c->run = c->runs->levels[0].count;
    c->base = w->first_seq - 1;
    c->seq = w->first_seq;
    return FKV_OK;
}

static void end_run(fkv_changes *c)
{
    iter_close(c->it);
    table_free(c->table);
    c->it = NULL;
    c->table = NULL;
}

static void end_transaction(fkv_changes *c)
{
    end_run(c);
    version_unref(c->runs);
    c->runs = NULL;
    c->telling = 0;
    c->done_seq = c->pending.first_seq + c->pending.count - 1;
    c->done_lsn = wal_tail_position(c->tail);
}

/* A segment that is to be read on in ends where it should. */
static fkv_status check_end(const fkv_changes *c, uint64_t limit)
{
    const wal_segment_info *info = wal_tail_info(c->tail);
    uint64_t at = wal_tail_position(c->tail);

    if (at >= limit || at >= c->end_lsn) return FKV_OK;
    return FKV_RAISEF(FKV_CORRUPT, "%06llu.wal: bytes are damaged at offset %llu",
                      (unsigned long long)info->number,
                      (unsigned long long)(WAL_SEGMENT_HEADER + (at - info->start_lsn)));
}

/* Read on to the next transaction that was committed and has something to tell. */
static fkv_status next_transaction(fkv_changes *c)
{
    while (c->at < c->count) {
        uint64_t limit = c->at + 1 < c->count ? c->segments[c->at + 1].start_lsn : c->end_lsn;
        wal_record w;
        fkv_status rc = wal_tail_next(c->tail, limit < c->end_lsn ? limit : c->end_lsn, &w);

        if (rc == FKV_NOTFOUND) {
            rc = check_end(c, limit);
            if (rc) return rc;
            c->at++;
            if (c->at < c->count) rc = open_segment(c, c->segments[c->at].start_lsn);
            if (rc) return rc;
            continue;
        }
        if (rc) return rc;
        if (w.type == WAL_PREPARE) {
            rc = keep_payload(c, &w);
            if (rc) return rc;
            continue;
        }
        if (!c->has_pending || w.ref != c->pending.lsn) continue;
        c->has_pending = 0;
        if (w.type != WAL_COMMIT || c->pending.count == 0) continue;
        if (c->pending.first_seq + c->pending.count - 1 <= c->since) continue;
        return c->pending.flags & WAL_FLAG_RUNS ? begin_runs(c) : begin_rows(c);
    }
    return FKV_NOTFOUND;
}

/* -- rows ----------------------------------------------------------------------------------- */

/* FKV_NOTFOUND (not raised): the transaction has no more. */
static fkv_status next_row(fkv_changes *c, fkv_change *out)
{
    const mem_record *r = (const mem_record *)(const void *)(c->bytes.data + c->offset);
    entry_kind kind;

    if (c->offset >= c->pending.size) return FKV_NOTFOUND;
    kind = mem_record_kind(r);
    *out = (fkv_change){.seq = c->seq++, .key = mem_record_key(r), .value = mem_record_value(r)};
    out->expires_ms = mem_record_expires(r);
    c->offset += mem_record_bytes(kind, out->key.size, out->value.size);
    if (kind == ENTRY_PUT || kind == ENTRY_PUT_EXPIRES) out->kind = FKV_CHANGE_PUT;
    if (kind == ENTRY_DELETE) out->kind = FKV_CHANGE_DELETE;
    if (kind == ENTRY_RANGE_DELETE) out->kind = FKV_CHANGE_DELETE_RANGE;
    return FKV_OK;
}

/* Tables of one run have the same newest sequence, at which the run ends. */
static fkv_status open_run(fkv_changes *c)
{
    file_meta *const *files = c->runs->levels[0].files;
    const file_meta *f = files[c->run - 1];
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    fkv_status rc;

    if (c->run < c->runs->levels[0].count && files[c->run]->max_seq != f->max_seq) {
        c->base = files[c->run]->max_seq;
        c->seq = c->base + 1;
    }
    filename_run(f->number, name);
    rc = c->s->env->file_open(c->s->env, c->s->dir, name, ENV_READ, &file);
    if (rc == FKV_NOTFOUND) return not_kept(c->since, c->pending.first_seq + c->pending.count - 1);
    if (!rc)
        rc = table_open(c->s->env, file, name, f->summary.unique_id, f->summary.file_bytes, NULL,
                        &c->table);
    if (!rc) rc = table_iter_new(c->table, 1, &c->it);
    if (rc) return rc;
    c->range = 0;
    c->it->ops->first(c->it);
    return FKV_OK;
}

static fkv_status next_of_runs(fkv_changes *c, fkv_change *out)
{
    for (;;) {
        fkv_status rc;
        if (!c->it && c->run == 0) return FKV_NOTFOUND;
        if (!c->it) {
            rc = open_run(c);
            if (rc) return rc;
        } else if (c->range > table_range_count(c->table) && c->it->entry) {
            c->it->ops->next(c->it);
        }
        *out = (fkv_change){0};
        if (c->range < table_range_count(c->table)) {
            out->kind = FKV_CHANGE_DELETE_RANGE;
            table_range_at(c->table, c->range++, &out->key, &out->value);
            out->seq = c->seq++;
            return FKV_OK;
        }
        c->range = table_range_count(c->table) + 1; /* the rows have begun */
        if (c->it->entry) {
            const iter_entry *e = c->it->entry;
            out->kind = e->kind == ENTRY_DELETE ? FKV_CHANGE_DELETE : FKV_CHANGE_PUT;
            out->key = e->key;
            out->value = e->value;
            out->expires_ms = e->kind == ENTRY_PUT_EXPIRES ? e->expires_ms : 0;
            out->seq = c->seq++;
            return FKV_OK;
        }
        rc = c->it->status;
        end_run(c);
        c->run--;
        if (rc) return rc;
    }
}

fkv_status fkv_changes_next(fkv_changes *c, fkv_change *out)
{
    if (store_forked(c->s)) return store_fork_error(c->s);
    for (;;) {
        fkv_status rc = c->telling ? FKV_OK : next_transaction(c);
        if (rc) return rc;
        rc = c->runs ? next_of_runs(c, out) : next_row(c, out);
        if (rc == FKV_NOTFOUND && !c->it && (c->run == 0 || !c->runs)) {
            end_transaction(c);
            continue;
        }
        if (rc) return rc;
        if (out->kind && out->seq > c->since) return FKV_OK;
    }
}

/* Remember how far it is to there. */
static void leave_hint(fkv_changes *c)
{
    fkv_store *s = c->s;

    if (!c->done_lsn) return;
    s->env->mutex_lock(s->env, s->mu);
    s->hints[s->next_hint++ % CHANGE_HINTS] = (change_hint){c->done_seq, c->done_lsn};
    s->env->mutex_unlock(s->env, s->mu);
}

void fkv_changes_free(fkv_changes *c)
{
    if (!c) return;
    leave_hint(c);
    end_run(c);
    version_unref(c->runs);
    wal_tail_close(c->tail);
    buf_release(&c->bytes);
    alloc_free(c->segments);
    alloc_free(c);
}
