/*
** spill.c -- transactions larger than memory.
**
** A batch that is full becomes a run: one or more tables, private to the transaction, that hold
** the newest version of each key written in an interval of positions. COMMIT adds them to level
** 0.
**
** A rollback to a mark must drop exactly what came after it, so a run never spans an open mark:
** if marks lie inside the batch, it is written as several runs, cut at the marks. A rollback then
** drops whole runs, needs no memory and cannot fail. (Keeping each row's position in the run
** would do too, at the price of eight bytes a row and a rewrite at commit.)
**
** txn_run.all is a version whose level 0 is all runs so far, so reading them is reading a
** version.
*/
#include "base/alloc.h"
#include "store/store.h"

void txn_keep_runs(fkv_txn *t)
{
    if (t->ready) {
        store_end_install(t->store);
        superversion_unref(t->ready);
        t->ready = NULL;
    }
    while (t->run_count) version_unref(t->runs[--t->run_count].all);
    t->spilled = 0;
}

void txn_drop_runs(fkv_txn *t, uint64_t after)
{
    int dropped = 0;

    while (t->run_count && t->runs[t->run_count - 1].from >= after) {
        version *all = t->runs[--t->run_count].all;
        version *before = txn_runs_version(t);
        for (size_t i = 0; i < all->levels[0].count; i++) {
            file_meta *f = all->levels[0].files[i];
            int kept = 0;
            for (size_t j = 0; before && j < before->levels[0].count; j++)
                if (before->levels[0].files[j] == f) kept = 1;
            if (!kept && !t->tables_stay) atomic_store(&f->obsolete, FILE_UNNAMED);
        }
        version_unref(all);
        dropped = 1;
    }
    if (dropped || after == 0) t->spilled = t->run_count ? t->runs[t->run_count - 1].to : 0;
}

static fkv_status reserve_run(fkv_txn *t)
{
    size_t capacity = t->run_capacity ? t->run_capacity * 2 : 4;
    txn_run *runs;

    if (t->run_count < t->run_capacity) return FKV_OK;
    runs = alloc_resize(t->runs, capacity * sizeof *runs);
    if (!runs) return FKV_RAISE(FKV_NOMEM);
    t->runs = runs;
    t->run_capacity = capacity;
    return FKV_OK;
}

static fkv_status collect_ranges(const batch *b, const mem_view *view, range_set *out)
{
    for (uint32_t ref = memtree_range_head(&b->index); ref;) {
        const mem_record *r = memtree_at(&b->index, ref);
        if (mem_view_sees(view, r->seq)) range_set_add(out, mem_record_key(r), mem_record_value(r));
        ref = r->prev;
    }
    return range_set_finish(out);
}

/* Write the live writes at batch positions (from, to] as one run. */
static fkv_status write_interval(fkv_txn *t, uint32_t from, uint32_t to)
{
    fkv_store *s = t->store;
    batch *b = t->writes;
    version *before = txn_runs_version(t), *empty = NULL, *all = NULL;
    mem_interval *dead = NULL;
    range_set ranges = {0};
    version_edit edit = {0};
    compact_context c;
    iter *it = NULL;
    mem_view view = {to, 0, NULL};
    fkv_status rc = reserve_run(t);

    if (rc) return rc;
    dead = alloc_bytes((b->dead_count + 1) * sizeof *dead);
    if (!dead) return FKV_RAISE(FKV_NOMEM);
    if (from > 0) dead[view.dead_count++] = (mem_interval){1, from + 1};
    for (uint32_t i = 0; i < b->dead_count; i++)
        if (b->dead[i].to > from + 1) dead[view.dead_count++] = b->dead[i];
    if (view.dead_count > 1 && from > 0 && dead[1].from <= from) dead[1].from = from + 1;
    view.dead = dead;

    rc = collect_ranges(b, &view, &ranges);
    if (!rc) rc = memtree_iter_new(&b->index, &view, &it);
    if (rc) goto done;
    store_compact_context(s, &c);
    rc = write_run(&c, it, &ranges, s->last_seq + t->spilled + to, &edit);
    if (rc == FKV_IOERR_SYNC) store_poison(s);
    if (rc) goto done;
    rc = version_new_empty(&empty);
    if (!rc) rc = version_apply(before ? before : empty, &edit, &all);
    if (rc) {
        for (size_t i = 0; i < edit.added_count; i++)
            atomic_store(&edit.added[i].file->obsolete, FILE_UNNAMED);
        goto done;
    }
    t->runs[t->run_count++] = (txn_run){t->spilled + from, t->spilled + to, all};
    for (size_t i = 0; i < edit.added_count; i++)
        count_add(&s->counters.bytes_flushed, edit.added[i].file->summary.file_bytes);
done:
    version_unref(empty);
    version_edit_release(&edit);
    range_set_release(&ranges);
    iter_close(it);
    alloc_free(dead);
    return rc;
}

fkv_status txn_spill(fkv_txn *t)
{
    batch *b = t->writes, *fresh = NULL;
    uint32_t from = 0, last = b->count;
    size_t runs_before = t->run_count;
    fkv_status rc;

    if (b->count == 0) return FKV_OK;
    rc = store_ensure_log(t->store); /* orphans are removed before new tables appear */
    if (!rc) rc = batch_index(b);
    if (!rc && b->refs > 1) rc = batch_new(t->store->env, t->store->options.memtable_bytes, &fresh);
    for (size_t i = 0; !rc && i <= t->mark_count; i++) {
        uint32_t to = last;
        if (i < t->mark_count) {
            if (t->marks[i] <= t->spilled + from) continue;
            to = (uint32_t)(t->marks[i] - t->spilled);
        }
        if (to == from) continue;
        rc = write_interval(t, from, to);
        from = to;
    }
    if (rc) { /* what was written of this batch goes; the batch is still whole */
        while (t->run_count > runs_before) {
            uint64_t spilled = t->spilled;
            txn_drop_runs(t, t->runs[t->run_count - 1].from);
            t->spilled = spilled;
        }
        batch_unref(fresh);
        return rc;
    }
    t->spilled += last;
    if (fresh) {
        batch_unref(b);
        t->writes = fresh;
    } else {
        batch_clear(b);
    }
    return FKV_OK;
}
