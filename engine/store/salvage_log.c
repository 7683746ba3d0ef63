/*
** salvage_log.c -- what a recovery saves of a damaged log.
**
** The log is read over what is damaged in it. A transaction is there if its COMMIT is; where that
** may have been among the bytes that are lost, the sequence of the next one tells whether it was
** counted. At the end of the log recover.c's rules hold.
*/
#include "base/alloc.h"
#include "io/filename.h"
#include "store/salvage.h"

static fkv_status apply_rows(salvage *v, const wal_record *w)
{
    fkv_status rc = FKV_OK;
    size_t at = 0;

    if (!memtable_payload_check(w->payload, w->size, w->count)) {
        (void)FKV_RAISEF(FKV_CORRUPT, "%s: a malformed transaction", v->file);
        return salvage_lose(v, 0, w->size);
    }
    while (!rc && at < w->size) {
        const mem_record *r = (const mem_record *)(const void *)(w->payload + at);
        entry_kind kind = mem_record_kind(r);
        iter_entry e = {
            .key = mem_record_key(r), .value = mem_record_value(r), .kind = (uint8_t)kind};
        if (kind == ENTRY_PUT_EXPIRES) e.expires_ms = mem_record_expires(r);
        if (kind == ENTRY_RANGE_DELETE) {
            rc = salvage_range(v, e.key, e.value);
        } else if (kind == ENTRY_NEW_SPACE) {
            salvage_note_space(v, get_be32(e.key.data));
        } else {
            rc = salvage_entry(v, &e);
        }
        at += mem_record_bytes(kind, r->key_kind >> 3, r->value_size);
    }
    return rc;
}

static int is_there(salvage *v)
{
    env_file *file = NULL;
    fkv_status rc = v->env->file_open(v->env, v->dir, v->file, ENV_READ, &file);

    v->env->file_close(v->env, file);
    return rc != FKV_NOTFOUND;
}

/* Name the file of this run: the table, or the name it has for the change feed (keep.c). 0: neither
** is there. */
static int name_run(salvage *v, uint64_t number)
{
    filename_run(number, v->file);
    if (is_there(v)) return 1;
    filename_table(number, v->file);
    return is_there(v);
}

/* A transaction that has spilled: its tables. Without a manifest those that are not there may have
** become part of others. (If changes are kept they are all there, and have to be read: rows that
** the kept log has from before would cover them.) */
static fkv_status apply_runs(salvage *v, const wal_record *w)
{
    char log[FILENAME_BYTES_MAX];
    run_list runs = run_list_of(w->payload, w->size);
    uint64_t rows = v->rows, lost = v->lost;
    fkv_status rc = FKV_OK;

    memcpy(log, v->file, sizeof log);
    if (runs.left && runs.next_space) salvage_note_space(v, runs.next_space - 1);
    while (!rc && runs.left > 0) {
        file_meta *f = NULL;
        rc = run_list_next(&runs, &v->home, &f);
        if (rc == FKV_CORRUPT) {
            rc = salvage_lose(v, 0, w->size);
            break;
        }
        v->rows = v->lost = 0;
        if (!rc && (name_run(v, f->number) || v->has_manifest)) rc = salvage_table(v, &f->summary);
        file_meta_unref(f);
    }
    memcpy(v->file, log, sizeof log);
    v->rows = rows;
    v->lost += lost;
    return rc;
}

/* covered: what lies before that is in the tables, if there is a manifest. */
static fkv_status apply(salvage *v, uint64_t covered)
{
    v->has_pending = 0;
    if (v->pending.flags & WAL_FLAG_HOST) v->host_id = v->pending.lsn + 1;
    if (v->has_manifest && v->pending.lsn < covered) return FKV_OK;
    if (v->pending.flags & WAL_FLAG_RUNS) return apply_runs(v, &v->pending);
    return apply_rows(v, &v->pending);
}

/* The PREPARE has no mark. `next`: the PREPARE behind it, or NULL at the end of the log. */
static fkv_status decide(salvage *v, const wal_record *next)
{
    const wal_record *w = &v->pending;
    uint8_t boot[16];
    int committed = -1;

    v->has_pending = 0;
    if (w->flags & WAL_FLAG_HOST && v->how->host_committed)
        committed = v->how->host_committed(v->how->host_arg, w->lsn + 1);
    if (committed < 0 && next) {
        committed = v->hole_behind && w->count && next->first_seq >= w->first_seq + w->count;
    } else if (committed < 0 && !v->hole_behind && !(w->flags & WAL_FLAG_HOST)) {
        v->env->boot_id(v->env, boot);
        committed = w->flags & WAL_FLAG_SYNC && memcmp(boot, v->pending_boot, sizeof boot) != 0;
    }
    if (committed < 0) {
        fkv_status rc = finding_say(&v->sink, FKV_FOUND_WARNING, v->file, FKV_NO_OFFSET,
                                    "it is not known whether the last transaction (%u writes) was "
                                    "committed; it is saved",
                                    w->count);
        if (rc) return rc;
        committed = 1;
    }
    if (!committed) return FKV_OK;
    /* What was flushed while the host's was in doubt reaches beyond it, without it. */
    return apply(v, w->flags & WAL_FLAG_HOST ? v->man.log_lsn : v->man.tables_lsn);
}

static fkv_status take_record(salvage *v, const wal_reader *reader, const wal_record *w)
{
    fkv_status rc = FKV_OK;

    if (w->type == WAL_PREPARE) {
        if (v->has_pending) rc = decide(v, w);
        v->pending = *w;
        v->has_pending = 1;
        v->hole_behind = 0;
        memcpy(v->pending_boot, wal_reader_info(reader)->boot_id, sizeof v->pending_boot);
    } else if (v->has_pending && w->ref == v->pending.lsn) {
        if (w->type == WAL_COMMIT) return apply(v, v->man.tables_lsn);
        v->has_pending = 0;
    }
    return rc;
}

static fkv_status lose_records(salvage *v, uint64_t lsn, uint64_t start_lsn, uint64_t bytes)
{
    v->hole_behind = 1;
    (void)FKV_RAISEF(FKV_CORRUPT, "%s: damaged log records at offset %llu", v->file,
                     (unsigned long long)(WAL_SEGMENT_HEADER + (lsn - start_lsn)));
    return salvage_lose(v, 0, bytes);
}

/* Behind the last record of all. Whether bytes there are the torn end of what nobody was told of or
** damage, recover.c and wal_reader.c know. */
static fkv_status read_end(salvage *v, const wal_reader *reader, int sure)
{
    uint64_t at = wal_reader_position(reader), start = wal_reader_info(reader)->start_lsn;
    uint64_t rest = wal_reader_rest(reader);
    int closed = v->has_manifest && v->man.clean_lsn != UINT64_MAX && v->man.clean_lsn > at;

    if (closed && v->man.clean_lsn - at > rest) rest = v->man.clean_lsn - at;
    if (!rest) return FKV_OK;
    if (closed || !sure || wal_reader_durable(reader) > at) return lose_records(v, at, start, rest);
    v->hole_behind = 1;
    return finding_say(&v->sink, FKV_FOUND_INFO, v->file, WAL_SEGMENT_HEADER + (at - start),
                       "the log ends in an unfinished record");
}

/* limit: where the next one begins; UINT64_MAX: there is none, or it is not known. */
static fkv_status read_log(salvage *v, wal_reader *reader, int sure, uint64_t limit, int last)
{
    uint64_t start = wal_reader_info(reader)->start_lsn, at, skipped;
    wal_record w;
    fkv_status rc = FKV_OK;

    for (at = start; wal_reader_search(reader, limit, &w, &skipped);
         at = wal_reader_position(reader)) {
        if (skipped) rc = lose_records(v, at, start, skipped);
        if (!rc) rc = take_record(v, reader, &w);
        if (rc) return rc;
    }
    if (last || limit == UINT64_MAX) {
        rc = read_end(v, reader, sure);
    } else if (limit > at) {
        rc = lose_records(v, at, start, limit - at);
    }
    return rc ? rc : salvage_end_file(v, salvage_saved(v));
}

/* Segment v->logs[i]. NULL: it cannot be read, which is told. */
static fkv_status open_log(salvage *v, size_t i, wal_reader **out, int *sure)
{
    uint64_t id = v->has_manifest ? get_u64(v->man.uuid) : v->how->uuid ? get_u64(v->how->uuid) : 0;
    fkv_status rc;

    filename_wal(v->logs[i], v->file);
    rc = wal_reader_open_damaged(v->env, v->dir, id, v->logs[i], out, sure);
    return rc && finding_is_damage(rc) ? salvage_lose(v, 0, 1) : rc;
}

fkv_status salvage_look_at_logs(salvage *v)
{
    fkv_status rc = FKV_OK;

    v->segments = alloc_zero((v->log_count + 1) * sizeof *v->segments);
    if (!v->segments) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; !rc && i < v->log_count; i++) {
        struct segment *g = &v->segments[i];
        wal_reader *reader = NULL;
        rc = open_log(v, i, &reader, &g->sure);
        v->lost = 0;
        if (!reader) continue;
        g->start_lsn = wal_reader_info(reader)->start_lsn;
        g->there = !(v->has_manifest && wal_reader_info(reader)->empty);
        if (g->sure && wal_reader_limit(reader) > v->end_lsn) v->end_lsn = wal_reader_limit(reader);
        wal_reader_close(reader);
    }
    return rc;
}

/* The reader goes, and with it the payload of a PREPARE whose mark is in the next segment. */
static fkv_status close_log(salvage *v, wal_reader *reader)
{
    fkv_status rc = FKV_OK;

    if (v->has_pending && v->pending.payload != v->payload.data) {
        buf_set(&v->payload, fkv_slice_of(v->pending.payload, v->pending.size));
        v->pending.payload = v->payload.data;
        rc = buf_status(&v->payload);
    }
    wal_reader_close(reader);
    return rc;
}

static fkv_status salvage_log(salvage *v, size_t i, uint64_t limit)
{
    wal_reader *reader = NULL;
    int sure = 0;
    fkv_status rc = open_log(v, i, &reader, &sure), closed;

    if (!reader) {
        v->lost = 0;
        return rc;
    }
    rc = read_log(v, reader, sure, limit, i + 1 == v->log_count);
    closed = close_log(v, reader);
    return rc ? rc : closed;
}

fkv_status salvage_logs(salvage *v)
{
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < v->log_count; i++) {
        const struct segment *next = &v->segments[i + 1];
        uint64_t limit = i + 1 < v->log_count && next->sure ? next->start_lsn : UINT64_MAX;
        if (v->segments[i].there) rc = salvage_log(v, i, limit);
    }
    if (!rc && v->has_pending) rc = decide(v, NULL);
    return rc;
}
