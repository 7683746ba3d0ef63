#include "table/reader.h"

/* Is the walk's entry in order, in the filter, and in the block that the index says? */
static fkv_status check_entry(table *t, const iter *it, const buf *last, uint64_t seen)
{
    fkv_slice filter = {NULL, 0};

    if (seen && slice_compare(buf_slice(last), it->key) >= 0)
        return FKV_RAISEF(FKV_CORRUPT, "%s: keys out of order after entry %llu", t->name,
                          (unsigned long long)seen);
    if (!t->filter) return FKV_OK;
    filter = fkv_slice_of(t->filter->data, t->filter->size);
    if (!filter_may_hold(filter, hash64(it->key.data, it->key.size, 0)))
        return FKV_RAISEF(FKV_CORRUPT, "%s: the filter at offset %llu denies a key that is there",
                          t->name, (unsigned long long)t->footer.filter.offset);
    return FKV_OK;
}

fkv_status table_verify(table *t)
{
    uint64_t entries = 0, deletions = 0, raw = 0;
    buf last = {0};
    iter *it = NULL;
    fkv_status rc = table_iter_new(t, 1, &it);

    if (rc) return rc;
    for (it->ops->first(it); !rc && it->valid; it->ops->next(it)) {
        rc = check_entry(t, it, &last, entries);
        buf_set(&last, it->key);
        if (!rc) rc = buf_status(&last);
        entries++;
        deletions += it->kind == ENTRY_DELETE;
        raw += it->key.size + it->value.size;
    }
    if (!rc) rc = it->status;
    if (!rc && (entries != t->footer.entries || deletions != t->footer.deletions ||
                raw != t->footer.raw_bytes))
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: holds %llu entries, its footer says %llu", t->name,
                        (unsigned long long)entries, (unsigned long long)t->footer.entries);
    iter_close(it);
    buf_release(&last);
    return rc;
}
