#include "version/version.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/sabotage.h"

fkv_status version_new_empty(version **out)
{
    version *v = alloc_zero(sizeof *v);

    *out = NULL;
    if (!v) return FKV_RAISE(FKV_NOMEM);
    atomic_init(&v->refs, 1);
    *out = v;
    return FKV_OK;
}

void version_ref(version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void version_unref(version *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1) return;
    for (int i = 0; i < FKV_LEVELS; i++) {
        for (size_t j = 0; j < v->levels[i].count; j++) file_meta_unref(v->levels[i].files[j]);
        alloc_free(v->levels[i].files);
    }
    alloc_free(v);
}

fkv_status version_edit_add(version_edit *e, int level, file_meta *file)
{
    if (e->added_count == e->added_capacity) {
        size_t capacity = e->added_capacity ? e->added_capacity * 2 : 8;
        struct edit_add *p = alloc_resize(e->added, capacity * sizeof *p);
        if (!p) return FKV_RAISE(FKV_NOMEM);
        e->added = p;
        e->added_capacity = capacity;
    }
    file_meta_ref(file);
    e->added[e->added_count++] = (struct edit_add){level, file};
    return FKV_OK;
}

fkv_status version_edit_remove(version_edit *e, file_meta *file)
{
    if (e->removed_count == e->removed_capacity) {
        size_t capacity = e->removed_capacity ? e->removed_capacity * 2 : 8;
        file_meta **p = alloc_resize(e->removed, capacity * sizeof *p);
        if (!p) return FKV_RAISE(FKV_NOMEM);
        e->removed = p;
        e->removed_capacity = capacity;
    }
    e->removed[e->removed_count++] = file;
    return FKV_OK;
}

void version_edit_release(version_edit *e)
{
    for (size_t i = 0; i < e->added_count; i++) file_meta_unref(e->added[i].file);
    alloc_free(e->added);
    alloc_free(e->removed);
    *e = (version_edit){0};
}

static int newest_first(const void *a, const void *b)
{
    const file_meta *x = *(file_meta *const *)a, *y = *(file_meta *const *)b;
    if (x->max_seq != y->max_seq) return x->max_seq > y->max_seq ? -1 : 1;
    return (x->number < y->number) - (x->number > y->number); /* later number = newer */
}

static int smallest_first(const void *a, const void *b)
{
    const file_meta *x = *(file_meta *const *)a, *y = *(file_meta *const *)b;
    return slice_compare(file_smallest(x), file_smallest(y));
}

static int is_removed(const version_edit *e, const file_meta *f)
{
    for (size_t i = 0; i < e->removed_count; i++)
        if (e->removed[i] == f) return 1;
    return 0;
}

static fkv_status check_level(const version_level *l)
{
    for (size_t i = 1; i < l->count; i++)
        if (!file_before(l->files[i - 1], file_smallest(l->files[i])))
            return FKV_RAISEF(FKV_CORRUPT, "manifest: tables %llu and %llu overlap",
                              (unsigned long long)l->files[i - 1]->number,
                              (unsigned long long)l->files[i]->number);
    return FKV_OK;
}

static fkv_status apply_level(const version_level *base, const version_edit *edit, int number,
                              version_level *out)
{
    size_t capacity = base->count;

    for (size_t i = 0; i < edit->added_count; i++) capacity += edit->added[i].level == number;
    if (capacity == 0) return FKV_OK;
    out->files = alloc_bytes(capacity * sizeof *out->files);
    if (!out->files) return FKV_RAISE(FKV_NOMEM);
    for (size_t i = 0; i < base->count; i++)
        if (!is_removed(edit, base->files[i])) out->files[out->count++] = base->files[i];
    for (size_t i = 0; i < edit->added_count; i++)
        if (edit->added[i].level == number) out->files[out->count++] = edit->added[i].file;
    for (size_t i = 0; i < out->count; i++) {
        file_meta_ref(out->files[i]);
        out->bytes += out->files[i]->summary.file_bytes;
    }
    if (out->count)
        qsort(out->files, out->count, sizeof *out->files,
              number == 0 ? newest_first : smallest_first);
    return number == 0 ? FKV_OK : check_level(out);
}

fkv_status version_apply(const version *base, const version_edit *edit, version **out)
{
    version *v = NULL;
    fkv_status rc = version_new_empty(&v);

    *out = NULL;
    for (int i = 0; !rc && i < FKV_LEVELS; i++)
        rc = apply_level(&base->levels[i], edit, i, &v->levels[i]);
    if (rc) {
        version_unref(v);
        return rc;
    }
    *out = v;
    return FKV_OK;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = (*(file_meta *const *)a)->number, y = (*(file_meta *const *)b)->number;
    return (x > y) - (x < y);
}

fkv_status version_adopt(version *v, const version *from)
{
    size_t count = 0;
    file_meta **all;

    for (int i = 0; i < FKV_LEVELS; i++) count += from->levels[i].count;
    if (count == 0) return FKV_OK;
    all = alloc_bytes(count * sizeof *all);
    if (!all) return FKV_RAISE(FKV_NOMEM);
    count = 0;
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < from->levels[i].count; j++) all[count++] = from->levels[i].files[j];
    qsort(all, count, sizeof *all, by_number);
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < v->levels[i].count; j++) {
            file_meta *mine = v->levels[i].files[j];
            file_meta **known = bsearch(&mine, all, count, sizeof *all, by_number);
            if (!known || (*known)->summary.unique_id != mine->summary.unique_id) continue;
            file_meta_ref(*known);
            v->levels[i].files[j] = *known;
            file_meta_unref(mine);
        }
    alloc_free(all);
    return FKV_OK;
}

int version_has(const version *v, const file_meta *f)
{
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < v->levels[i].count; j++)
            if (v->levels[i].files[j] == f) return 1;
    return 0;
}

size_t level_find(const version_level *l, fkv_slice key)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (file_before(l->files[mid], key)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* Look in one table. FKV_OK and a decided value (kind DELETE: key is gone), or FKV_NOTFOUND: ask
** older tables. */
static fkv_status get_in_file(file_meta *f, fkv_slice key, uint64_t hash, table_value *out)
{
    table *t = NULL;
    fkv_slice from, to;
    fkv_status rc = file_meta_table(f, &t);

    if (rc) return rc;
    rc = table_get(t, key, hash, out);
    if (rc == FKV_NOTFOUND && f->summary.ranges && table_covers(t, key, &from, &to) &&
        !SABOTAGE(19)) {
        *out = (table_value){.kind = ENTRY_DELETE};
        return FKV_OK;
    }
    return rc;
}

static int may_hold(const file_meta *f, fkv_slice key)
{
    return slice_compare(file_smallest(f), key) <= 0 && !file_before(f, key);
}

/* Have what table_get looks at first on its way from memory. */
static void fetch_file(const file_meta *f, uint64_t hash)
{
    const table *t = atomic_load_explicit(&f->table, memory_order_acquire);

    if (t) table_fetch(t, hash);
}

/* The filters of all tables that may have it are brought near together; asked one after the other,
** each would be waited for. */
fkv_status version_get(const version *v, fkv_slice key, table_value *out)
{
    const version_level *top = &v->levels[0];
    file_meta *below[FKV_LEVELS] = {NULL};
    uint64_t hash = hash64(key.data, key.size, 0);
    fkv_status rc = FKV_NOTFOUND;

    for (size_t j = 0; j < top->count; j++) fetch_file(top->files[j], hash);
    for (int i = 1; i < FKV_LEVELS; i++) {
        const version_level *l = &v->levels[i];
        size_t j = level_find(l, key);
        if (j == l->count || !may_hold(l->files[j], key)) continue;
        below[i] = l->files[j];
        fetch_file(below[i], hash);
    }
    for (size_t j = 0; j < top->count && rc == FKV_NOTFOUND; j++)
        if (may_hold(top->files[j], key)) rc = get_in_file(top->files[j], key, hash, out);
    for (int i = 1; i < FKV_LEVELS && rc == FKV_NOTFOUND; i++)
        if (below[i]) rc = get_in_file(below[i], key, hash, out);
    return rc;
}

int version_touches(const version *v, int from_level, fkv_slice from, fkv_slice to)
{
    for (int i = from_level; i < FKV_LEVELS; i++) {
        const version_level *l = &v->levels[i];
        size_t first = i == 0 ? 0 : level_find(l, from);
        size_t end = i == 0 ? l->count : (first < l->count ? first + 1 : first);
        for (size_t j = first; j < end; j++)
            if (file_touches(l->files[j], from, to)) return 1;
    }
    return 0;
}

int version_holds(const version *v, int from_level, fkv_slice key)
{
    for (int i = from_level; i < FKV_LEVELS; i++) {
        const version_level *l = &v->levels[i];
        size_t first = i == 0 ? 0 : level_find(l, key);
        size_t end = i == 0 ? l->count : (first < l->count ? first + 1 : first);
        for (size_t j = first; j < end; j++)
            if (!file_before(l->files[j], key) &&
                slice_compare(file_smallest(l->files[j]), key) <= 0)
                return 1;
    }
    return 0;
}

size_t version_iter_count(const version *v)
{
    size_t n = v->levels[0].count;
    for (int i = 1; i < FKV_LEVELS; i++) n += v->levels[i].count != 0;
    return n;
}

fkv_status version_iters(const version *v, iter **out)
{
    size_t n = 0;
    fkv_status rc = FKV_OK;

    for (size_t j = 0; !rc && j < v->levels[0].count; j++) {
        rc = level_iter_new(&v->levels[0].files[j], 1, 0, &out[n]);
        if (!rc) n++;
    }
    for (int i = 1; !rc && i < FKV_LEVELS; i++) {
        if (v->levels[i].count == 0) continue;
        rc = level_iter_new(v->levels[i].files, v->levels[i].count, 0, &out[n]);
        if (!rc) n++;
    }
    if (rc)
        while (n > 0) iter_close(out[--n]);
    return rc;
}
