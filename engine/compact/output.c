#include "compact/output.h"
#include "base/sabotage.h"

#include "io/filename.h"

enum { PROGRESS_BYTES = 64 << 10 };

void output_init(output *o, const compact_context *c, version_edit *edit, int level,
                 uint64_t max_seq, const range_set *ranges)
{
    *o = (output){.c = c, .edit = edit, .level = level, .max_seq = max_seq};
    if (ranges) {
        o->ranges = ranges->items;
        o->range_count = ranges->count;
    }
}

static fkv_status begin_table(output *o)
{
    const compact_context *c = o->c;
    char name[FILENAME_BYTES_MAX];
    fkv_status rc;

    rc = c->new_number(c->arg, &o->number);
    if (rc) return rc;
    filename_table(o->number, name);
    rc = c->env->file_open(c->env, c->dir, name, ENV_WRITE | ENV_CREATE | ENV_EXCLUSIVE, &o->file);
    if (rc) return rc;
    return table_builder_new(c->env, o->file, &c->table, &o->builder);
}

/* Put the parts of the remaining ranges that lie before `end` (data NULL: all) into the builder. */
static fkv_status add_ranges(output *o, fkv_slice end)
{
    while (o->range_count > 0) {
        key_range r = o->ranges[0];
        fkv_status rc;
        if (o->rest.to.data) r = o->rest;
        if (end.data && slice_compare(r.from, end) >= 0) return FKV_OK;
        if (end.data && slice_compare(r.to, end) > 0) {
            rc = table_builder_add_range(o->builder, r.from, end);
            o->rest = (key_range){end, r.to};
            return rc;
        }
        rc = table_builder_add_range(o->builder, r.from, r.to);
        if (rc) return rc;
        o->rest = (key_range){0};
        o->ranges++;
        o->range_count--;
    }
    return FKV_OK;
}

static fkv_status finish_table(output *o)
{
    table_summary summary = {0};
    file_meta *f = NULL;
    fkv_status rc = table_builder_finish(o->builder, &summary);

    if (rc) return rc;
    o->finished_bytes += summary.file_bytes;
    rc = file_meta_new(o->c->home, o->number, o->max_seq, &summary, &f);
    if (!rc) rc = version_edit_add(o->edit, o->level, f);
    table_summary_release(&summary);
    file_meta_unref(f);
    if (rc) return rc;
    table_builder_free(o->builder);
    o->builder = NULL;
    o->c->env->file_close(o->c->env, o->file);
    o->file = NULL;
    return FKV_OK;
}

/* Close the running table just before `key`. */
static fkv_status cut_before(output *o, fkv_slice key)
{
    fkv_status rc;
    buf old = o->cut;

    buf_set(&o->next_cut, key);
    rc = buf_status(&o->next_cut);
    if (!rc) rc = add_ranges(o, buf_slice(&o->next_cut));
    if (!rc) rc = finish_table(o);
    o->cut = o->next_cut; /* rest.from points into it until the next cut */
    o->next_cut = old;
    return rc;
}

static fkv_status report(output *o)
{
    uint64_t bytes = o->finished_bytes + (o->builder ? table_builder_bytes(o->builder) : 0);

    if (bytes < o->reported + PROGRESS_BYTES) return FKV_OK;
    o->reported = bytes;
    if (o->c->progress && o->c->progress(o->c->arg, bytes))
        return FKV_RAISEF(FKV_BUSY, "compaction was interrupted");
    return FKV_OK;
}

fkv_status output_add(output *o, entry_kind kind, fkv_slice key, fkv_slice value,
                      int64_t expires_ms)
{
    fkv_status rc = FKV_OK;

    if (o->builder && table_builder_bytes(o->builder) >= o->c->table_bytes) rc = cut_before(o, key);
    if (!rc && !o->builder) rc = begin_table(o);
    if (!rc) rc = table_builder_add(o->builder, kind, key, value, expires_ms);
    if (!rc) rc = report(o);
    return rc;
}

fkv_status output_finish(output *o)
{
    fkv_status rc = FKV_OK;

    if (!o->builder && o->range_count == 0) return FKV_OK;
    if (!o->builder) rc = begin_table(o);
    if (!rc) rc = add_ranges(o, fkv_slice_of(NULL, 0));
    if (!rc) rc = finish_table(o);
    return rc;
}

fkv_status output_close(output *o, fkv_status rc)
{
    table_builder_free(o->builder);
    if (o->file) {
        o->c->env->file_close(o->c->env, o->file);
        table_home_remove(o->c->home, o->number, 0);
    }
    buf_release(&o->cut);
    buf_release(&o->next_cut);
    if (rc && !SABOTAGE(26)) {
        for (size_t i = 0; i < o->edit->added_count; i++)
            table_home_remove(o->c->home, o->edit->added[i].file->number, 0);
        version_edit_release(o->edit);
    }
    return rc;
}
