#include "base/sabotage.h"
#include "compact/compact.h"
#include "compact/output.h"

/* The range tombstones of a memtable; slices into it. */
static fkv_status collect_ranges(const memtable *m, const mem_view *view, const version *v,
                                 range_set *out)
{
    for (uint32_t ref = memtree_range_head(&m->tree); ref;) {
        const mem_record *r = memtree_at(&m->tree, ref);
        fkv_slice from = mem_record_key(r), to = mem_record_value(r);
        if (mem_view_sees(view, r->seq) && version_touches(v, 0, from, to) && !SABOTAGE(13))
            range_set_add(out, from, to);
        ref = r->prev;
    }
    return range_set_finish(out);
}

/* What is left of an entry that goes to `level - 1` with v beneath: its kind, or 0 for nothing. */
static entry_kind remains(const compact_context *c, const version *v, int level, const iter *it)
{
    entry_kind kind = (entry_kind)it->entry->kind;

    if (kind == ENTRY_PUT_EXPIRES && it->entry->expires_ms <= c->clock_ms) kind = ENTRY_DELETE;
    if (kind == ENTRY_DELETE && (SABOTAGE(12) || !version_holds(v, level, it->entry->key)))
        return 0;
    return kind;
}

fkv_status flush_memtable(const compact_context *c, const memtable *m, uint64_t seq,
                          const version *v, version_edit *edit)
{
    mem_view view = memtable_view(m, seq);
    compact_context whole = *c;
    range_set ranges = {0};
    output o;
    iter *it = NULL;
    fkv_status rc;

    whole.table_bytes = UINT64_MAX; /* one memtable, one level 0 table: reads ask fewer */
    output_init(&o, &whole, edit, 0, seq, NULL);
    rc = collect_ranges(m, &view, v, &ranges);
    if (rc) goto done;
    o.ranges = ranges.items;
    o.range_count = ranges.count;
    rc = memtree_iter_new(&m->tree, &view, &it);
    if (rc) goto done;
    for (it->ops->first(it); it->entry; it->ops->next(it)) {
        entry_kind kind = remains(c, v, 0, it);
        if (!kind) continue;
        if (kind == ENTRY_DELETE && range_set_find(&ranges, it->entry->key)) continue;
        rc = output_add(&o, kind, it->entry->key,
                        kind == ENTRY_DELETE ? fkv_slice_of("", 0) : it->entry->value,
                        it->entry->expires_ms);
        if (rc) goto done;
    }
    rc = it->status;
    if (!rc) rc = output_finish(&o);
done:
    iter_close(it);
    rc = output_close(&o, rc);
    range_set_release(&ranges);
    return rc;
}

fkv_status write_run(const compact_context *c, iter *source, const range_set *ranges,
                     uint64_t max_seq, version_edit *edit)
{
    output o;
    fkv_status rc = FKV_OK;

    output_init(&o, c, edit, 0, max_seq, ranges);
    for (source->ops->first(source); source->entry; source->ops->next(source)) {
        rc = output_add(&o, (entry_kind)source->entry->kind, source->entry->key,
                        source->entry->value, source->entry->expires_ms);
        if (rc) goto done;
    }
    rc = source->status;
    if (!rc) rc = output_finish(&o);
done:
    return output_close(&o, rc);
}
