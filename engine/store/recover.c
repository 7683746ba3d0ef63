/*
** recover.c -- opening what an earlier process left.
**
** Open is: read the manifest, replay the log from manifest.log_lsn into memtables. No table is
** opened, nothing is flushed and, unless a transaction is in doubt or the end of the log was lost,
** nothing is written: a store may be opened read-only at any point of its life.
**
** The log is a chain: segment n+1 says at which LSN segment n ends. A segment that becomes
** unreadable before that point has lost bytes. If any record anywhere claims them to have been
** durable, the store is damaged; else the power went before they reached the disk, and the log
** ends there: later segments are dropped, so that what is left is a prefix of the commits.
**
** In doubt: a PREPARE at the end of the log without a mark. Its process died between the two
** halves of the commit (commit.c).
**   - Same boot as the segment's: the page cache has everything that was ever written, so no mark
**     was written, so nobody was told OK: aborted.
**   - Another boot: a mark may have been written and lost. If the PREPARE was to be durable before
**     it was acknowledged (WAL_FLAG_SYNC) somebody may have been told OK: committed. If not,
**     losing the last commits is allowed and an unacknowledged one would be wrong: aborted.
**   - A hosted transaction (WAL_FLAG_HOST): the host database is asked.
** (A process that takes over from one that died beside it decides in the same way: follow.c.)
** The decision is written at once, into a new segment, lest a later open decide otherwise; where
** the store is open for reading only, when it is first opened for writing.
**
** What is missing at the end. The manifest names the last segment there was when it was written: at
** the first write of an open and with every flush. If that one is gone or has no header, the store
** is damaged. A segment begun since then and lost before the next flush ended is not noticed.
*/
#include <stdlib.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "io/filename.h"
#include "store/store.h"

typedef struct found_files {
    uint64_t *logs;
    size_t log_count, log_capacity;
    uint64_t highest;
    int has_table, cut_short;
    fkv_status rc;
} found_files;

typedef struct replay {
    fkv_store *s;
    wal_record pending; /* its payload lies in a reader; all stay open to the end */
    int has_pending;
    uint8_t pending_boot[16];
    uint64_t position; /* LSN where the log ends so far */
    uint64_t durable;  /* highest claim seen */
    size_t cut_from;   /* segments from this index on are dropped */
} replay;

static fkv_status note_file(void *arg, const char *name)
{
    found_files *f = arg;
    uint64_t number = 0;
    file_kind kind = filename_parse(name, &number);

    if (number > f->highest && number <= FILENAME_NUMBER_FOUND) f->highest = number;
    if (strcmp(name, FILENAME_MANIFEST_NEXT) == 0) f->cut_short = 1;
    if (kind == FILE_TABLE) f->has_table = 1;
    if (kind != FILE_WAL) return FKV_OK;
    if (f->log_count == f->log_capacity) {
        size_t capacity = f->log_capacity ? f->log_capacity * 2 : 8;
        uint64_t *logs = alloc_resize(f->logs, capacity * sizeof *logs);
        if (!logs) return FKV_RAISE(FKV_NOMEM);
        f->logs = logs;
        f->log_capacity = capacity;
    }
    f->logs[f->log_count++] = number;
    return FKV_OK;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static fkv_status resolve_in_doubt(replay *r);

static fkv_status apply(replay *r)
{
    r->s->replayed++;
    return store_apply(r->s, &r->pending, atomic_load(&r->s->followed));
}

static fkv_status one_record(replay *r, wal_reader *reader, const wal_record *w)
{
    fkv_status rc = FKV_OK;

    if (w->type == WAL_PREPARE) {
        if (r->has_pending && r->pending.flags & WAL_FLAG_HOST) {
            /* Rolled back without a mark (fkv_txn_rollback_hosted). */
            rc = resolve_in_doubt(r);
            if (rc) return rc;
            if (r->s->unwritten.decision == WAL_COMMIT) r->s->unwritten.flush = 1;
            r->s->unwritten.decision = 0;
        }
        r->has_pending = 0;
        if (w->lsn < r->s->man.log_lsn) return FKV_OK;
        r->pending = *w;
        r->has_pending = 1;
        memcpy(r->pending_boot, wal_reader_info(reader)->boot_id, sizeof r->pending_boot);
        return FKV_OK;
    }
    if (!r->has_pending || w->ref != r->pending.lsn) return FKV_OK; /* of a skipped record */
    if (w->type == WAL_COMMIT && r->pending.lsn >= r->s->man.tables_lsn) rc = apply(r);
    r->has_pending = 0;
    return rc;
}

/* Replay one segment. *whole = 0 when it ends before limit_lsn. */
static fkv_status one_segment(replay *r, wal_reader *reader, uint64_t limit_lsn, int *whole)
{
    wal_record w;
    fkv_status rc;

    for (;;) {
        rc = wal_reader_next(reader, limit_lsn, &w);
        if (rc == FKV_NOTFOUND) break;
        if (!rc) rc = one_record(r, reader, &w);
        if (rc) return rc;
    }
    if (wal_reader_durable(reader) > r->durable) r->durable = wal_reader_durable(reader);
    r->position = wal_reader_position(reader);
    *whole = limit_lsn == UINT64_MAX || r->position == limit_lsn;
    return FKV_OK;
}

/* Segment i ended too early: may the rest of the log be dropped? */
static fkv_status judge_hole(replay *r, wal_reader *const *readers, size_t from, size_t count)
{
    for (size_t i = from; i < count; i++) {
        wal_record w;
        fkv_status rc;
        do {
            rc = wal_reader_next(readers[i], UINT64_MAX, &w);
        } while (rc == FKV_OK);
        if (rc != FKV_NOTFOUND) return rc;
        if (wal_reader_durable(readers[i]) > r->durable)
            r->durable = wal_reader_durable(readers[i]);
    }
    if (r->durable > r->position) {
        const wal_segment_info *bad = wal_reader_info(readers[from - 1]);
        char name[FILENAME_BYTES_MAX];
        filename_wal(bad->number, name);
        return FKV_RAISEF(
            FKV_CORRUPT, "%s: bytes that were durable are damaged at offset %llu", name,
            (unsigned long long)(WAL_SEGMENT_HEADER + (r->position - bad->start_lsn)));
    }
    return FKV_OK;
}

/* An error that names a segment as its file is named. */
static fkv_status bad_segment(uint64_t number, const char *what)
{
    char name[FILENAME_BYTES_MAX];

    filename_wal(number, name);
    return FKV_RAISEF(FKV_CORRUPT, "%s: %s", name, what);
}

static fkv_status replay_segments(replay *r, wal_reader **readers, size_t count)
{
    fkv_store *s = r->s;

    r->position = s->man.log_lsn;
    r->cut_from = count;
    for (size_t i = 0; i < count; i++) {
        const wal_segment_info *info = wal_reader_info(readers[i]);
        uint64_t limit = UINT64_MAX;
        int whole = 1;
        fkv_status rc;

        if (info->empty) { /* its creation was cut short: nothing can follow */
            r->cut_from = i;
            if (i + 1 < count)
                return bad_segment(info->number,
                                   "this log is empty but has a successor (offset 0)");
            if (info->number <= s->man.log_tail)
                return bad_segment(info->number, "this log has no header (offset 0)");
            return FKV_OK;
        }
        if (i > 0 && info->previous != wal_reader_info(readers[i - 1])->number)
            return bad_segment(info->previous, "this log of the store is missing");
        if (i == 0 && info->start_lsn > s->man.log_lsn)
            return bad_segment(info->previous, "this log of the store is missing");
        if (i + 1 < count && !wal_reader_info(readers[i + 1])->empty)
            limit = wal_reader_info(readers[i + 1])->start_lsn;
        rc = one_segment(r, readers[i], limit, &whole);
        if (rc) return rc;
        if (!whole) {
            r->cut_from = i + 1;
            return judge_hole(r, readers, i + 1, count);
        }
    }
    return FKV_OK;
}

/* Their second names go when the decision is written. */
static fkv_status remember_runs(fkv_store *s, const wal_record *w)
{
    alloc_free(s->unwritten.runs);
    s->unwritten.runs = NULL;
    if (!(w->flags & WAL_FLAG_RUNS)) return FKV_OK;
    s->unwritten.runs = alloc_bytes(w->size + 1);
    if (!s->unwritten.runs) return FKV_RAISE(FKV_NOMEM);
    memcpy(s->unwritten.runs, w->payload, w->size);
    s->unwritten.runs_size = w->size;
    return FKV_OK;
}

/* Decide a PREPARE without a mark. */
static fkv_status resolve_in_doubt(replay *r)
{
    int commit = 0;
    fkv_status rc = store_decide(r->s, NULL, &r->pending, r->pending_boot, &commit);

    if (rc) return rc;
    r->s->unwritten.ref = r->pending.lsn;
    r->s->unwritten.decision = commit ? WAL_COMMIT : WAL_ABORT;
    if (!commit) return remember_runs(r->s, &r->pending);
    /* What was flushed while it was in doubt reaches beyond it. It is in no table, and has to be
    ** replayed until it is: by the next open, and by those who join. */
    if (r->s->man.tables_lsn > r->pending.lsn) r->s->man.tables_lsn = r->pending.lsn;
    return apply(r);
}

static fkv_status save_tail(fkv_store *s)
{
    int maybe_new;
    return store_save_manifest(s, s->current->tables, NULL, UINT64_MAX, &maybe_new);
}

/* Remove the segments behind a cut, durably, last first: never a gap. */
static fkv_status remove_cut(fkv_store *s)
{
    found_files files = {0};
    fkv_status rc = s->env->dir_list(s->env, s->dir, note_file, &files);

    if (!rc && files.log_count) qsort(files.logs, files.log_count, sizeof *files.logs, by_number);
    for (size_t i = files.log_count; !rc && i-- > 0;) {
        char name[FILENAME_BYTES_MAX];
        if (files.logs[i] < s->unwritten.cut) break;
        filename_wal(files.logs[i], name);
        rc = s->env->file_remove(s->env, s->dir, name);
    }
    alloc_free(files.logs);
    return rc ? rc : s->env->dir_sync(s->env, s->dir);
}

/* The manifest says where the log goes on, and stops naming what is cut off before that goes; and
** what is cut off goes before a new segment takes its place in the chain. */
fkv_status store_write_decisions(fkv_store *s)
{
    uint64_t synced;
    fkv_status rc = FKV_OK;

    if (s->unwritten.shorter || (s->unwritten.cut && s->man.log_tail)) {
        rc = save_tail(s);
        if (rc) return rc;
        s->unwritten.shorter = 0;
    }
    if (s->unwritten.cut) {
        rc = remove_cut(s);
        if (rc) return rc;
        s->unwritten.cut = 0;
    }
    if (!s->unwritten.decision) return FKV_OK;
    /* "Closed in order" must not be said of a log that goes on. */
    if (s->man.clean_lsn != UINT64_MAX) rc = save_tail(s);
    if (!rc) rc = store_sync_log(s);
    if (!rc) rc = store_start_log(s, store_log_end(s));
    if (!rc)
        rc = wal_segment_mark(s->log, s->unwritten.decision, s->unwritten.ref,
                              atomic_load(&s->followed));
    if (!rc) rc = wal_segment_sync(s->log, &synced);
    if (!rc) store_set_position(s, s->last_seq, store_log_end(s));
    if (!rc) rc = save_tail(s);
    if (rc) return rc;
    if (s->unwritten.runs && s->unwritten.decision == WAL_ABORT)
        store_drop_run_names(s, s->unwritten.runs, s->unwritten.runs_size);
    s->unwritten.decision = 0;
    atomic_store(&store_page(s)->writing, 0);
    return FKV_OK;
}

static fkv_status check_end(const replay *r, wal_reader *const *readers, const uint64_t *numbers,
                            size_t count)
{
    const manifest *m = &r->s->man;

    if (m->log_tail && (count == 0 || numbers[0] != m->log_number))
        return bad_segment(m->log_number, "this log of the store is missing");
    if (count && numbers[count - 1] < m->log_tail)
        return bad_segment(m->log_tail, "this log of the store is missing");
    if (m->clean_lsn != UINT64_MAX && r->position != m->clean_lsn) {
        char name[FILENAME_BYTES_MAX];
        uint64_t start = count ? wal_reader_info(readers[count - 1])->start_lsn : 0;
        filename_wal(count ? numbers[count - 1] : m->log_number, name);
        return FKV_RAISEF(FKV_CORRUPT,
                          "%s: the log ends at offset %llu, but the store was closed at %llu", name,
                          (unsigned long long)(WAL_SEGMENT_HEADER + r->position - start),
                          (unsigned long long)(WAL_SEGMENT_HEADER + m->clean_lsn - start));
    }
    return FKV_OK;
}

/* Commits that somebody has seen may be gone: the log was not closed in order, and has been through
** a loss of power. */
static int may_be_short(const replay *r, wal_reader *const *readers, size_t count)
{
    const manifest *m = &r->s->man;
    uint8_t boot[16];

    if (m->clean_lsn != UINT64_MAX) return 0;
    r->s->env->boot_id(r->s->env, boot);
    for (size_t i = 0; i < count; i++) {
        const wal_segment_info *info = wal_reader_info(readers[i]);
        if (info->number < m->log_tail) continue; /* that manifest knew of it already */
        if (memcmp(boot, info->boot_id, sizeof boot) != 0) return 1;
    }
    return r->cut_from < count;
}

static fkv_status replay_log(replay *r, const found_files *files)
{
    fkv_store *s = r->s;
    const uint64_t *numbers = files->logs;
    size_t count = files->log_count;
    wal_reader **readers;
    fkv_status rc = FKV_OK;

    while (count && numbers[0] < s->man.log_number) { /* retired; its removal was cut short */
        numbers++;
        count--;
    }
    readers = alloc_zero((count + 1) * sizeof(wal_reader *));
    if (!readers) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; !rc && i < count; i++)
        rc = wal_reader_open(s->env, s->dir, store_id(s), numbers[i], &readers[i]);
    if (!rc) rc = replay_segments(r, readers, count);
    if (!rc) rc = check_end(r, readers, numbers, count);
    for (size_t i = 0; !rc && i < r->cut_from && i < count; i++)
        rc = store_add_log(s, numbers[i], wal_reader_info(readers[i])->start_lsn, NULL);
    if (!rc && r->cut_from < count) s->unwritten.cut = numbers[r->cut_from];
    if (!rc) s->keep_anew = may_be_short(r, readers, count);
    if (!rc && r->has_pending) rc = resolve_in_doubt(r);
    store_set_position(s, s->last_seq, r->position);
    /* Nothing that was needed has gone, but the log may end before the point up to which the tables
    ** had it all: an ABORT that nobody waited for, or a spilled transaction, of which the change
    ** feed will not hear. New records begin here, and nobody who joins may begin behind it. */
    s->unwritten.shorter = s->man.tables_lsn > r->position;
    if (s->unwritten.shorter) {
        s->man.tables_lsn = r->position;
        if (log_keeping_on(&s->man.keep)) s->man.keep.after = s->last_seq;
    }
    if (s->man.log_lsn > r->position) s->man.log_lsn = r->position;
    for (size_t i = 0; i < count; i++) wal_reader_close(readers[i]);
    alloc_free(readers);
    return rc;
}

/* There is no manifest. FKV_NOTFOUND if there never was one: a store writes it before its first
** record, a backup manifest.next before its first table. */
static fkv_status check_new(fkv_store *s, const found_files *files)
{
    int blank = 1;
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && blank && i < files->log_count; i++)
        rc = wal_segment_blank(s->env, s->dir, files->logs[i], &blank);
    if (rc) return rc;
    if (blank && (!files->has_table || files->cut_short)) return FKV_NOTFOUND;
    return FKV_RAISEF(FKV_CORRUPT, "%s/" FILENAME_MANIFEST ": the manifest is missing", s->path);
}

fkv_status store_recover(fkv_store *s)
{
    shared_page *page = store_page(s);
    found_files files = {0};
    version *tables = NULL;
    replay r = {.s = s};
    manifest m;
    fkv_status rc;

    alloc_free(s->unwritten.runs);
    s->unwritten = (recovery_debt){0};
    rc = s->env->dir_list(s->env, s->dir, note_file, &files);
    if (rc) goto done;
    if (files.log_count) qsort(files.logs, files.log_count, sizeof *files.logs, by_number);
    rc = store_first_manifest(s, &m, &tables);
    if (rc == FKV_NOTFOUND) {
        atomic_store(&page->next_number, files.highest + 1);
        rc = check_new(s, &files);
    }
    if (!rc) rc = manifest_check_ages(&m, tables);
    if (rc) goto done;
    if (m.next_number <= files.highest) m.next_number = files.highest + 1;
    atomic_store(&page->next_number, m.next_number);
    atomic_store(&page->next_space, m.next_space);
    atomic_store(&page->edit, m.edit);
    rc = store_start_at(s, &m, tables);
    if (!rc) rc = replay_log(&r, &files);
    if (!rc) { /* no host has a snapshot from before: one that is older has been put back */
        s->env->mutex_lock(s->env, s->mu);
        s->points.floor = s->host_id;
        s->points.count = 0;
        s->env->mutex_unlock(s->env, s->mu);
    }
    if (!rc && s->sharing != SHARING_ALONE && !atomic_load(&s->read_only))
        rc = store_write_decisions(s);
done:
    version_unref(tables);
    alloc_free(files.logs);
    return rc;
}
