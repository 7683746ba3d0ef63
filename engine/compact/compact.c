/*
** compact.c -- running a compaction job.
**
** Inputs are merged newest first; of each key the newest entry survives. What may be dropped on the
** way to level `output`:
**   - everything a newer input shadows: whoever still needs it holds the old version (and with it
**     the old files), so no snapshot has to be asked;
**   - a tombstone, point or range, under which no deeper level has anything;
**   - an expired row, which is a tombstone from that moment on.
*/
#include "compact/compact.h"

#include "base/alloc.h"
#include "base/sabotage.h"
#include "compact/output.h"
#include "iter/merge.h"

static fkv_status open_inputs(const compaction_job *job, iter **out)
{
    size_t sources = job->level == 0 ? job->counts[0] : 1, n = 0;
    iter **children = alloc_bytes((sources + 1) * sizeof(iter *));
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!children) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; !rc && i < sources; i++) {
        size_t files = job->level == 0 ? 1 : job->counts[0];
        rc = level_iter_new(&job->inputs[0][i], files, 1, &children[n]);
        if (!rc) n++;
    }
    if (!rc && job->counts[1]) {
        rc = level_iter_new(job->inputs[1], job->counts[1], 1, &children[n]);
        if (!rc) n++;
    }
    if (!rc) {
        rc = merge_new(children, n, out); /* takes the children, also on failure */
    } else {
        while (n > 0) iter_close(children[--n]);
    }
    alloc_free(children);
    return rc;
}

/* The union of the inputs' range tombstones, less those with nothing beneath. */
static fkv_status collect_ranges(const compaction_job *job, const version *v, range_set *out)
{
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < job->counts[side]; i++) {
            file_meta *f = job->inputs[side][i];
            table *t = NULL;
            fkv_status rc;
            if (f->summary.ranges == 0) continue;
            rc = file_meta_table(f, &t);
            if (rc) return rc;
            for (uint64_t j = 0; j < table_range_count(t); j++) {
                key_range r;
                table_range_at(t, j, &r.from, &r.to);
                if (version_touches(v, job->output + 1, r.from, r.to) && !SABOTAGE(11))
                    range_set_add(out, r.from, r.to);
            }
        }
    }
    return range_set_finish(out);
}

static fkv_status move_files(const compaction_job *job, version_edit *edit)
{
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < job->counts[0]; i++) {
        rc = version_edit_add(edit, job->output, job->inputs[0][i]);
        if (!rc) rc = version_edit_remove(edit, job->inputs[0][i]);
    }
    if (rc) version_edit_release(edit);
    return rc;
}

static uint64_t newest_input(const compaction_job *job)
{
    uint64_t seq = 0;

    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < job->counts[side]; i++)
            if (job->inputs[side][i]->max_seq > seq) seq = job->inputs[side][i]->max_seq;
    return seq;
}

static fkv_status merge_entries(const compact_context *c, const version *v,
                                const compaction_job *job, iter *it, output *o)
{
    for (it->ops->first(it); it->entry; it->ops->next(it)) {
        entry_kind kind = (entry_kind)it->entry->kind;
        fkv_status rc;
        if (kind == ENTRY_PUT_EXPIRES && it->entry->expires_ms <= c->clock_ms) kind = ENTRY_DELETE;
        if (kind == ENTRY_DELETE &&
            (SABOTAGE(10) || !version_holds(v, job->output + 1, it->entry->key)))
            continue;
        rc = output_add(o, kind, it->entry->key,
                        kind == ENTRY_DELETE ? fkv_slice_of("", 0) : it->entry->value,
                        it->entry->expires_ms);
        if (rc) return rc;
    }
    return it->status;
}

fkv_status compact_run(const compact_context *c, const version *v, const compaction_job *job,
                       version_edit *edit)
{
    range_set ranges = {0};
    iter *it = NULL;
    output o;
    fkv_status rc;

    if (job->move) return move_files(job, edit);
    output_init(&o, c, edit, job->output, newest_input(job), NULL);
    rc = collect_ranges(job, v, &ranges);
    if (rc) goto done;
    o.ranges = ranges.items;
    o.range_count = ranges.count;
    rc = open_inputs(job, &it);
    if (rc) goto done;
    rc = merge_entries(c, v, job, it, &o);
    if (!rc) rc = output_finish(&o);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; !rc && i < job->counts[side]; i++)
            rc = version_edit_remove(edit, job->inputs[side][i]);
done:
    iter_close(it);
    rc = output_close(&o, rc);
    range_set_release(&ranges);
    return rc;
}
