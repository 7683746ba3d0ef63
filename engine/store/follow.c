/*
** follow.c -- seeing what other processes commit.
**
** The page tells up to which LSN the log is decided, and which manifest is the newest. A process
** that is behind reads on in the log and applies what it finds to a memtable of its own; when
** there is a newer manifest it takes over its tables and drops the memtables they cover. That is
** done by whoever begins to read or write next, and costs two loads when there is nothing to do.
**
** Memtables of two processes need not begin and end at the same transactions. Each holds an
** unbroken stretch of the log, `first_log` to `last_log`; it may go when the manifest's tables_lsn
** lies beyond, and until then what it holds twice is the same rows, newest first.
**
** If the log is gone from where this process stands, the tables have what it said: it goes on from
** the manifest's tables_lsn.
**
** Death of a writer. Its word on the page is anybody's then (share.h), `writing` there stays. The
** next writer reads the log beyond committed_lsn: a COMMIT or ABORT there decides as ever. A
** PREPARE without a mark is decided as recovery does it (recover.c), in a new segment that begins
** where the valid records end, and durably: the PREPARE itself may have been made durable.
*/
#include "base/alloc.h"
#include "base/sabotage.h"
#include "io/filename.h"
#include "store/store.h"

enum { TRIES = 1000 };

void store_set_position(fkv_store *s, uint64_t seq, uint64_t lsn)
{
    atomic_store_explicit(&s->visible_seq, seq, memory_order_release);
    atomic_store_explicit(&s->followed, lsn, memory_order_release);
}

void store_note_durable(fkv_store *s, uint64_t lsn)
{
    _Atomic uint64_t *word = &store_page(s)->durable_lsn;
    uint64_t now = atomic_load(word);

    while (now < lsn && !atomic_compare_exchange_weak(word, &now, lsn)) {}
}

/* -- manifests ------------------------------------------------------------------------------ */

/* One that is in place and that nobody has told of: its installer has died or been stopped before
** it was durable, or is about to tell. The one before it may need log that this one does not, and
** that nobody would sync any more. */
static fkv_status settle_untold(fkv_store *s, const manifest *m)
{
    fkv_status rc;

    if (s->sharing != SHARING_FULLY || m->edit <= atomic_load(&store_page(s)->edit)) return FKV_OK;
    rc = s->env->dir_sync(s->env, s->dir);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    return rc;
}

fkv_status store_newest_manifest(fkv_store *s, manifest *m, version **tables)
{
    const shared_page *page = store_page(s);

    for (int i = 0; i < TRIES; i++) {
        fkv_status rc = manifest_load(s->env, s->dir, &s->home, m, tables);
        if (!rc) rc = manifest_check_ages(m, *tables);
        if (!rc) rc = settle_untold(s, m);
        if (!rc) rc = store_pin_edit(s, m->edit);
        if (rc) {
            version_unref(*tables);
            *tables = NULL;
            return rc;
        }
        if (atomic_load(&page->edit) <= m->edit) return FKV_OK;
        store_unpin_edit(s, m->edit); /* replaced meanwhile: its files may be gone */
        version_unref(*tables);
        *tables = NULL;
    }
    return FKV_RAISEF(FKV_BUSY, "the manifest changes faster than it can be read");
}

/* The tables of spilled transactions that the manifest does not know yet are added to it. mu
** held. */
static fkv_status add_loose(fkv_store *s, const manifest *m, version **tables)
{
    version_edit edit = {0};
    version *with = NULL;
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < s->loose_count; i++)
        if (s->loose[i].lsn >= m->tables_lsn) rc = version_edit_add(&edit, 0, s->loose[i].file);
    if (!rc && edit.added_count) rc = version_apply(*tables, &edit, &with);
    version_edit_release(&edit);
    if (rc || !with) return rc;
    version_unref(*tables);
    *tables = with;
    return FKV_OK;
}

static void raise_clock(fkv_store *s, int64_t ms)
{
    int64_t floor = atomic_load(&s->clock_floor);

    while (ms > floor && !atomic_compare_exchange_weak(&s->clock_floor, &floor, ms)) {}
}

static void take_manifest(fkv_store *s, const manifest *m)
{
    s->man = *m;
    atomic_store(&s->seen_edit, m->edit);
    raise_clock(s, m->clock_ms);
    store_forget_loose(s, m->tables_lsn);
    if (m->last_seq > s->tables_seq) s->tables_seq = m->last_seq;
}

/* Nobody writes to the active memtable, and the tables have all of it. (While there is something to
** follow, no transaction of this process may write.) mu held. */
static int active_is_covered(const fkv_store *s, const manifest *m)
{
    int idle = !s->writer || atomic_load(&s->followed) < atomic_load(&store_page(s)->committed_lsn);

    return idle && atomic_load(&s->active->records) &&
           atomic_load(&s->active->last_log) < m->tables_lsn;
}

/* Where the tables of a manifest end. */
static memtable_reach reach_of(const manifest *m)
{
    return (memtable_reach){m->tables_lsn, m->tables_lsn, m->last_seq, m->host_id};
}

/* The rows before this are in tables, or what else there is. points: what is known of the hosted
** transactions in between; NULL: nothing. mu held. */
static void jump_to(fkv_store *s, const memtable_reach *to, const host_points *points)
{
    s->last_seq = to->seq;
    store_forget_dead(s);
    store_set_position(s, to->seq, to->end_lsn);
    s->host_id = to->host_id;
    if (points) {
        s->points = *points;
    } else { /* no view between what was known and this can be given */
        s->points.floor = to->host_id;
        s->points.count = 0;
    }
}

fkv_status store_start_at(fkv_store *s, const manifest *m, version *tables)
{
    memtable_reach reach = reach_of(m);

    return store_start_with(s, m, tables, NULL, 0, &reach, NULL);
}

fkv_status store_start_with(fkv_store *s, const manifest *m, version *tables,
                            memtable *const *sealed, size_t count, const memtable_reach *reach,
                            const host_points *points)
{
    memtable *fresh = NULL;
    superversion *view = NULL;
    fkv_status rc = store_new_memtable(s, 0, reach->seq, &fresh);

    if (!rc) rc = superversion_new(s, m->edit, fresh, sealed, count, NULL, tables, &view);
    if (!rc) {
        memcpy(s->uuid, m->uuid, sizeof s->uuid);
        wal_tail_close(s->tail);
        s->tail = NULL;
        s->env->mutex_lock(s->env, s->mu);
        store_forget_loose(s, UINT64_MAX);
        take_manifest(s, m);
        s->active = fresh;
        jump_to(s, reach, points);
        memtable_begin_at(fresh, reach, &s->points, NULL);
        store_publish(s, view);
        store_forget_previous(s); /* it ends where it ended, and not where we are now */
        s->env->mutex_unlock(s->env, s->mu);
    }
    memtable_unref(fresh);
    return rc;
}

/* Make m and its tables ours. mu held. */
static fkv_status adopt(fkv_store *s, const manifest *m, version **tables, memtable *fresh)
{
    memtable_reach reach = reach_of(m);
    int jump = atomic_load(&s->followed) < m->tables_lsn;
    int replace = jump || active_is_covered(s, m);
    superversion *next = NULL;
    fkv_status rc = version_adopt(*tables, s->current->tables);

    if (!rc) rc = add_loose(s, m, tables);
    if (!rc)
        rc = superversion_after(s, m->edit, m->tables_lsn, replace ? fresh : s->active, *tables,
                                &next);
    if (rc) return rc;
    take_manifest(s, m);
    store_publish(s, next);
    if (replace) s->active = fresh;
    if (replace && !jump) store_begin_memtable(s, fresh, m->tables_lsn, atomic_load(&s->followed));
    if (!jump) return FKV_OK;
    wal_tail_close(s->tail);
    s->tail = NULL;
    jump_to(s, &reach, NULL);
    memtable_begin_at(fresh, &reach, &s->points, NULL);
    return FKV_OK;
}

/* The install right, without LOCK_INSTALL: nothing on disk will change. 0: somebody in this process
** has it, and need not be waited for. */
static int take_right(fkv_store *s, int wait)
{
    int taken;

    s->env->mutex_lock(s->env, s->mu);
    while (s->installing && wait) s->env->cond_wait(s->env, s->changed, s->mu, 0);
    taken = !s->installing;
    if (taken) s->installing = 1;
    s->env->mutex_unlock(s->env, s->mu);
    return taken;
}

static void give_right(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->mu);
    s->installing = 0;
    s->env->cond_wake_all(s->env, s->changed);
    s->env->mutex_unlock(s->env, s->mu);
}

static fkv_status reload(fkv_store *s, int wait)
{
    version *tables = NULL;
    memtable *fresh = NULL;
    manifest m;
    fkv_status rc;

    if (!take_right(s, wait)) return FKV_OK;
    rc = store_newest_manifest(s, &m, &tables);
    if (rc) {
        give_right(s);
        return rc;
    }
    rc = store_new_memtable(s, 0, m.last_seq, &fresh);
    if (!rc) {
        s->env->mutex_lock(s->env, s->mu);
        rc = adopt(s, &m, &tables, fresh);
        s->env->mutex_unlock(s->env, s->mu);
    }
    memtable_unref(fresh);
    store_unpin_edit(s, m.edit);
    version_unref(tables);
    if (!rc) rc = store_find_logs(s);       /* before anybody writes a manifest that names them */
    if (rc) atomic_store(&s->seen_edit, 0); /* take it up again */
    give_right(s);
    return rc;
}

/* -- the log -------------------------------------------------------------------------------- */

/* The segment in which the log goes on at lsn; 0 if there is none. */
static uint64_t segment_at(fkv_store *s, uint64_t lsn)
{
    uint64_t number = 0;

    s->env->mutex_lock(s->env, s->mu);
    for (size_t i = 0; i < s->log_count; i++)
        if (s->logs[i].start_lsn <= lsn) number = s->logs[i].number;
    s->env->mutex_unlock(s->env, s->mu);
    return number;
}

/* Have s->tail stand at lsn. FKV_NOTFOUND: the log does not have it any more. */
static fkv_status seek_tail(fkv_store *s, uint64_t lsn)
{
    uint64_t number = segment_at(s, lsn);
    fkv_status rc = FKV_OK;

    if (!number) return FKV_NOTFOUND;
    if (!s->tail || wal_tail_info(s->tail)->number != number) {
        wal_tail_close(s->tail);
        s->tail = NULL;
        rc = wal_tail_open(s->env, s->dir, store_id(s), number, &s->tail);
    }
    if (!rc && wal_tail_position(s->tail) != lsn) wal_tail_seek(s->tail, lsn);
    return rc;
}

/* Read the next record at or behind the end of what is followed, over segment borders. */
static fkv_status next_record(fkv_store *s, uint64_t limit, wal_record *w)
{
    fkv_status rc = wal_tail_next(s->tail, limit, w);
    uint64_t at = wal_tail_position(s->tail);

    if (rc != FKV_NOTFOUND || at >= limit) return rc;
    rc = limit == UINT64_MAX ? store_find_all_logs(s) : store_find_logs(s);
    if (rc) return rc;
    if (segment_at(s, at) == wal_tail_info(s->tail)->number) return FKV_NOTFOUND;
    rc = seek_tail(s, at);
    return rc ? rc : wal_tail_next(s->tail, limit, w);
}

/* A PREPARE and the bytes of its payload, kept while its mark is read. */
typedef struct pending {
    wal_record record;
    uint8_t *bytes;
    int there;
    uint8_t boot_id[16];
} pending;

static fkv_status keep(fkv_store *s, pending *p, const wal_record *w)
{
    alloc_free(p->bytes);
    *p = (pending){.record = *w};
    p->bytes = alloc_bytes(w->size + 1);
    if (!p->bytes) return FKV_RAISE(FKV_NOMEM);
    memcpy(p->bytes, w->payload, w->size);
    memcpy(p->boot_id, wal_tail_info(s->tail)->boot_id, sizeof p->boot_id);
    p->record.payload = p->bytes;
    p->there = 1;
    return FKV_OK;
}

/* Over what changes nothing. (A new manifest may have taken us further.) */
static void move_to(fkv_store *s, uint64_t lsn)
{
    s->env->mutex_lock(s->env, s->mu);
    if (lsn > atomic_load(&s->followed)) store_set_position(s, s->last_seq, lsn);
    s->env->mutex_unlock(s->env, s->mu);
}

/* Do the tables we have include what was committed at lsn? */
static int is_in_tables(fkv_store *s, uint64_t lsn)
{
    int covered;

    s->env->mutex_lock(s->env, s->mu);
    covered = lsn < s->man.tables_lsn;
    s->env->mutex_unlock(s->env, s->mu);
    return covered;
}

/* Runs are newer than every memtable. Those that ours repeat are in tables by now, and go with the
** manifest that says so. */
static fkv_status before_runs(fkv_store *s)
{
    if (atomic_load(&store_page(s)->edit) <= atomic_load(&s->seen_edit)) return FKV_OK;
    return reload(s, 1);
}

static fkv_status apply_committed(fkv_store *s, const wal_record *w, uint64_t end_lsn)
{
    for (;;) {
        fkv_status rc = w->flags & WAL_FLAG_RUNS ? before_runs(s) : FKV_OK;
        /* (Below tables_lsn its rows are in tables. There may be older ones to read: in doubt.) */
        if (rc || is_in_tables(s, w->lsn)) return rc;
        rc = store_apply(s, w, end_lsn);
        if (rc != FKV_BUSY) return rc; /* else there is a newer manifest, which may have it */
    }
}

/* One record read: apply what it commits. `followed` moves over decided transactions only. */
static fkv_status take_record(fkv_store *s, pending *p, const wal_record *w)
{
    uint64_t end = w->lsn + WAL_RECORD_HEADER + w->size;
    fkv_status rc = FKV_OK;

    if (w->type == WAL_PREPARE) return keep(s, p, w);
    if (p->there && w->ref == p->record.lsn) {
        if (w->type == WAL_COMMIT) rc = apply_committed(s, &p->record, end);
        p->there = 0;
    }
    if (!rc) move_to(s, end);
    return rc;
}

/* Is it quicker to take the tables than to read the log? If not, the log first: with the rows in
** memory, views as of a moment ago can be given, with the tables they cannot. */
static int is_far(const fkv_store *s, uint64_t target)
{
    enum { FAR_BYTES = 1 << 20 };
    return target > atomic_load(&s->followed) + FAR_BYTES;
}

/* While this one reads, another one may have made tables of what is still to be read. */
static int is_overtaken(const fkv_store *s, uint64_t target)
{
    return atomic_load(&store_page(s)->edit) > atomic_load(&s->seen_edit) && is_far(s, target);
}

/* Apply the log up to `target`. FKV_NOTFOUND: it is not there any more, or there is no need. */
static fkv_status follow_log(fkv_store *s, uint64_t target)
{
    pending p = {0};
    fkv_status rc = seek_tail(s, atomic_load(&s->followed));

    while (!rc && atomic_load(&s->followed) < target && wal_tail_position(s->tail) < target) {
        wal_record w;
        rc = next_record(s, target, &w);
        if (!rc) rc = take_record(s, &p, &w);
        if (!rc && !s->tail) rc = seek_tail(s, atomic_load(&s->followed)); /* it has, indeed */
        if (!rc && is_overtaken(s, target)) rc = FKV_NOTFOUND;
    }
    /* What ends without a mark has been rolled back so (fkv_txn_rollback_hosted). */
    if (!rc && atomic_load(&s->followed) < target) move_to(s, target);
    alloc_free(p.bytes);
    return rc;
}

fkv_status store_catch_up(fkv_store *s)
{
    const shared_page *page = store_page(s);
    uint64_t edit = 0;

    for (int i = 0; i < TRIES; i++) {
        uint64_t target = atomic_load_explicit(&page->committed_lsn, memory_order_acquire);
        int newer = atomic_load(&page->edit) > atomic_load(&s->seen_edit);
        fkv_status rc = FKV_OK;
        if (newer && (i > 0 || is_far(s, target))) rc = reload(s, i > 0);
        if (rc) return rc;
        if (atomic_load(&s->followed) < target) rc = follow_log(s, target);
        if (!rc && atomic_load(&page->edit) > atomic_load(&s->seen_edit)) rc = reload(s, 0);
        if (rc != FKV_NOTFOUND) return rc;
        /* It has been retired, then, and there is a newer manifest; or it is missing. */
        if (i > 0 && edit == atomic_load(&page->edit) && edit == atomic_load(&s->seen_edit)) break;
        edit = atomic_load(&page->edit);
    }
    return FKV_RAISEF(FKV_CORRUPT, "log: nothing to read at position %llu",
                      (unsigned long long)atomic_load(&s->followed));
}

/* A store that is open for reading: has somebody opened it for writing since, or is it to be read
** anew for another reason? */
static int has_other_session(const fkv_store *s)
{
    if (atomic_load(&s->half_read)) return 1;
    if (s->sharing == SHARING_ALONE) return store_has_company(s);
    return s->sharing == SHARING_READS && atomic_load(&store_page(s)->session) != s->session;
}

/* Load it all again; `asker` has the host that recovery may have to ask. follow_mutex held. */
static fkv_status rejoin_asking(fkv_store *s, const fkv_txn *asker)
{
    fkv_status rc;

    s->options.host_committed = asker ? asker->host_committed : NULL;
    s->options.host_arg = asker ? asker->host_arg : NULL;
    rc = store_rejoin(s);
    s->options.host_committed = NULL;
    s->options.host_arg = NULL;
    return rc;
}

fkv_status store_follow_asking(fkv_store *s, const fkv_txn *asker)
{
    fkv_status rc = FKV_OK;

    if (!store_behind(s)) return FKV_OK;
    s->env->mutex_lock(s->env, s->follow_mutex);
    if (has_other_session(s)) rc = rejoin_asking(s, asker);
    if (!rc && s->sharing != SHARING_ALONE && store_behind(s)) rc = store_catch_up(s);
    s->env->mutex_unlock(s->env, s->follow_mutex);
    store_fit_memtables(s);
    return rc;
}

fkv_status store_follow(fkv_store *s)
{
    return store_follow_asking(s, NULL);
}

/* What a dead writer left is written down by the next one. A reader cannot do that; but if nobody
** is left who could, it may decide for itself, as one does that comes to read then. */
fkv_status store_read_alone(fkv_store *s, const fkv_txn *asker)
{
    fkv_status rc = FKV_OK;
    int held = 0;

    s->env->mutex_lock(s->env, s->follow_mutex);
    if (s->sharing == SHARING_READS) {
        rc = s->env->file_locked(s->env, s->lock, LOCK_LIVE, 1, &held);
        if (!rc && !held) rc = rejoin_asking(s, asker);
    }
    s->env->mutex_unlock(s->env, s->follow_mutex);
    return rc;
}

/* -- after the death of a writer ------------------------------------------------------------ */

fkv_status store_decide(fkv_store *s, const fkv_txn *asker, const wal_record *w,
                        const uint8_t boot_id[16], int *commit)
{
    int (*ask)(void *, uint64_t) = asker ? asker->host_committed : s->options.host_committed;
    void *arg = asker ? asker->host_arg : s->options.host_arg;
    uint8_t boot[16];

    *commit = 0;
    if (w->flags & WAL_FLAG_HOST) {
        int answer = ask ? ask(arg, w->lsn + 1) : -1;
        if (answer < 0)
            return FKV_RAISEF(FKV_BUSY,
                              "the last transaction of \"%s\" is in doubt, and its database "
                              "cannot be read now",
                              s->path);
        *commit = answer;
        return FKV_OK;
    }
    s->env->boot_id(s->env, boot);
    *commit = w->flags & WAL_FLAG_SYNC && (memcmp(boot, boot_id, sizeof boot) != 0 || SABOTAGE(29));
    return FKV_OK;
}

/* Read to the end of the valid records. */
static fkv_status read_rest(const fkv_txn *t, pending *p, uint64_t *end)
{
    fkv_store *s = t->store;
    fkv_status rc = seek_tail(s, atomic_load(&s->followed));

    *end = atomic_load(&s->followed);
    while (!rc) {
        wal_record w;
        rc = next_record(s, UINT64_MAX, &w);
        if (rc) break;
        if (w.type == WAL_PREPARE && p->there && p->record.flags & WAL_FLAG_HOST) {
            int commit = 0; /* a process that rolled back without a mark, and died in the next */
            rc = store_decide(s, t, &p->record, p->boot_id, &commit);
            /* Only a host that has crashed brings such a transaction back, and we have it open. */
            if (!rc && commit)
                rc = FKV_RAISEF(FKV_BUSY, "close \"%s\" in all processes, to recover it", s->path);
            if (rc) break;
        }
        rc = take_record(s, p, &w);
        *end = w.lsn + WAL_RECORD_HEADER + w.size;
        if (!rc && !s->tail) rc = seek_tail(s, atomic_load(&s->followed));
    }
    return rc == FKV_NOTFOUND ? FKV_OK : rc;
}

/* From `end` on, where the valid records end. A hosted transaction that is not committed gets no
** mark: the host may yet bring it back when it recovers (fkv_txn_rollback_hosted). */
static fkv_status write_decision(fkv_store *s, const pending *p, uint64_t end, int commit)
{
    shared_page *page = store_page(s);
    int hosted = p->there && p->record.flags & WAL_FLAG_HOST;
    fkv_status rc = store_sync_log(s);

    if (!rc) rc = store_start_log(s, end);
    /* (Before anybody's first write no manifest names a log: store_ensure_log will see to that.) */
    if (!rc && atomic_load(&page->log_tail))
        atomic_store(&page->log_tail, wal_segment_number(s->log));
    if (!rc && p->there && (commit || !hosted))
        rc = wal_segment_mark(s->log, commit ? WAL_COMMIT : WAL_ABORT, p->record.lsn,
                              atomic_load(&page->durable_lsn));
    if (!rc) rc = store_sync_log(s);
    if (!rc && p->there && !commit && !hosted && p->record.flags & WAL_FLAG_RUNS)
        store_drop_run_names(s, p->record.payload, p->record.size);
    if (!rc && hosted && !commit && atomic_load(&page->unsettled_lsn) == UINT64_MAX)
        atomic_store(&page->unsettled_lsn, p->record.lsn);
    return rc;
}

fkv_status store_take_over(fkv_txn *t)
{
    fkv_store *s = t->store;
    shared_page *page = store_page(s);
    pending p = {0};
    uint64_t end = 0;
    int commit = 0;
    fkv_status rc;

    if (!segment_at(s, atomic_load(&s->followed))) { /* it died before the log had a segment */
        rc = store_find_all_logs(s);
        if (rc) return rc;
    }
    if (segment_at(s, atomic_load(&s->followed))) {
        s->env->mutex_lock(s->env, s->follow_mutex);
        rc = read_rest(t, &p, &end);
        if (!rc && p.there) rc = store_decide(s, t, &p.record, p.boot_id, &commit);
        if (!rc) rc = write_decision(s, &p, end, commit);
        /* `followed` moves with the rows, and not if any of this fails: the next one reads it
        ** again. */
        if (!rc && commit) rc = apply_committed(s, &p.record, store_log_end(s));
        if (!rc) move_to(s, store_log_end(s));
        s->env->mutex_unlock(s->env, s->follow_mutex);
        alloc_free(p.bytes);
        if (rc) return rc;
        if (commit && p.record.flags & WAL_FLAG_HOST)
            atomic_store(&page->unsettled_lsn, UINT64_MAX);
    }
    atomic_store(&page->committed_lsn, atomic_load(&s->followed));
    atomic_store(&page->writing, 0);
    return FKV_OK;
}
