/*
** table_model.h -- what test_table*.c share: a sorted array of rows, the table built from it in a
** memory file system, and the comparison of the two. The model lives on the C library's heap, so
** that failing the engine's allocations leaves it alone.
*/
#ifndef FKV_TESTS_TABLE_MODEL_H
#define FKV_TESTS_TABLE_MODEL_H

#include "base/checksum.h"
#include "base/coding.h"
#include "base/ranges.h"
#include "check.h"
#include "table/table.h"

typedef struct row {
    fkv_slice key, value;
    int64_t expires_ms;
    entry_kind kind;
} row;

typedef struct model {
    row *rows;
    size_t count;
    key_range ranges[8];
    size_t range_count;
} model;

/* A directory of one memory file system, and a table in it. */
typedef struct fixture {
    fkv_env *env;
    env_dir *dir;
    table_summary summary;
} fixture;

static inline fkv_slice text(const char *s)
{
    return fkv_slice_of(s, strlen(s));
}

static inline fkv_slice random_bytes(size_t size, uint8_t letters)
{
    uint8_t *p = malloc(size + 1);
    if (!p) exit(2);
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(letters ? 'a' + check_below(letters) : check_random());
    return fkv_slice_of(p, size);
}

static inline int row_compare(const void *a, const void *b)
{
    return slice_compare(((const row *)a)->key, ((const row *)b)->key);
}

/* Sort; of rows with equal keys keep one. */
static inline void model_sort(model *m)
{
    size_t kept = 0;

    qsort(m->rows, m->count, sizeof *m->rows, row_compare);
    for (size_t i = 0; i < m->count; i++) {
        if (kept && slice_equal(m->rows[kept - 1].key, m->rows[i].key)) {
            free((void *)(uintptr_t)m->rows[i].key.data);
            free((void *)(uintptr_t)m->rows[i].value.data);
        } else {
            m->rows[kept++] = m->rows[i];
        }
    }
    m->count = kept;
}

/* Random rows of all kinds. shape 0: short keys of few letters, many prefixes of others, one empty;
** 1: numbers behind a common prefix; 2: random bytes. */
static inline void model_random(model *m, size_t count, int shape, size_t value_max)
{
    *m = (model){.rows = calloc(count + 1, sizeof(row)), .count = count};
    if (!m->rows) exit(2);
    for (size_t i = 0; i < count; i++) {
        row *r = &m->rows[i];
        if (shape == 0) {
            r->key = random_bytes(i ? check_below(12) : 0, 3);
        } else if (shape == 1) {
            uint8_t *p = malloc(28);
            if (!p) exit(2);
            memcpy(p, "a common prefix:", 16);
            put_be64(p + 16, check_below(count * 20));
            memset(p + 24, 'x', 4);
            r->key = fkv_slice_of(p, 16 + 8 + check_below(5));
        } else {
            r->key = random_bytes(check_below(40), 0);
        }
        r->value = random_bytes(check_below(value_max + 1), check_below(2) ? 4 : 0);
        r->kind = (entry_kind)(ENTRY_PUT + check_below(3));
        if (r->kind == ENTRY_PUT_EXPIRES) r->expires_ms = (int64_t)check_random();
        if (r->kind == ENTRY_DELETE) r->value.size = 0;
    }
    model_sort(m);
}

static inline void model_release(model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free((void *)(uintptr_t)m->rows[i].key.data);
        free((void *)(uintptr_t)m->rows[i].value.data);
    }
    free(m->rows);
    *m = (model){0};
}

/* The first row with key >= this. */
static inline size_t model_find(const model *m, fkv_slice key)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (slice_compare(m->rows[mid].key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static inline int same_row(const iter *it, const row *r)
{
    return it->entry->kind == r->kind && slice_equal(it->entry->key, r->key) &&
           slice_equal(it->entry->value, r->value) &&
           (r->kind != ENTRY_PUT_EXPIRES || it->entry->expires_ms == r->expires_ms);
}

/* -- the fixture ----------------------------------------------------------------------------- */

static inline fkv_status fixture_open(fixture *f)
{
    fkv_status rc;

    *f = (fixture){0};
    rc = env_mem_new(&f->env);
    if (!rc) rc = f->env->dir_open(f->env, "d", ENV_WRITE | ENV_CREATE, &f->dir);
    return rc;
}

static inline void fixture_release(fixture *f)
{
    table_summary_release(&f->summary);
    if (f->dir) f->env->dir_close(f->env, f->dir);
    if (f->env) env_mem_free(f->env);
    *f = (fixture){0};
}

/* Write the model as table `name`; env is f->env or something that wraps it. */
static inline fkv_status model_write(fixture *f, fkv_env *env, const char *name, const model *m,
                                     const table_options *opt)
{
    env_file *file = NULL;
    table_builder *b = NULL;
    fkv_status rc;

    table_summary_release(&f->summary);
    fkv_ignore(env->file_remove(env, f->dir, name)); /* may not be there */
    rc = env->file_open(env, f->dir, name, ENV_WRITE | ENV_CREATE, &file);
    if (!rc) rc = table_builder_new(env, file, opt, &b);
    for (size_t i = 0; !rc && i < m->range_count; i++)
        rc = table_builder_add_range(b, m->ranges[i].from, m->ranges[i].to);
    for (size_t i = 0; !rc && i < m->count; i++)
        rc = table_builder_add(b, m->rows[i].kind, m->rows[i].key, m->rows[i].value,
                               m->rows[i].expires_ms);
    if (!rc) rc = table_builder_finish(b, &f->summary);
    table_builder_free(b);
    env->file_close(env, file);
    return rc;
}

static inline fkv_status table_open_named(fixture *f, fkv_env *env, const char *name,
                                          uint64_t unique_id, uint64_t file_bytes,
                                          block_cache *cache, table **out)
{
    env_file *file = NULL;
    fkv_status rc = env->file_open(env, f->dir, name, ENV_READ, &file);

    *out = NULL;
    return rc ? rc : table_open(env, file, name, unique_id, file_bytes, cache, out);
}

static inline fkv_status model_open(fixture *f, const char *name, block_cache *cache, table **out)
{
    return table_open_named(f, f->env, name, f->summary.unique_id, f->summary.file_bytes, cache,
                            out);
}

/* -- comparing ------------------------------------------------------------------------------- */

/* Everything a reader can ask, against the model. FKV_OK and *wrong == 0 if all is as it should be;
** a failure of the table is returned as it is. */
static inline fkv_status walk_compare(table *t, const model *m, int once, uint64_t *wrong)
{
    iter *it = NULL;
    size_t i = 0;
    fkv_status rc = table_iter_new(t, once, &it);

    if (rc) return rc;
    for (it->ops->first(it); it->entry; it->ops->next(it), i++)
        *wrong += i >= m->count || !same_row(it, &m->rows[i]);
    rc = it->status;
    if (!rc) *wrong += i != m->count;
    if (!rc) {
        for (it->ops->last(it), i = m->count; it->entry; it->ops->prev(it), i--) {
            *wrong += i == 0 || !same_row(it, &m->rows[i - 1]);
            if (i == 0) break;
        }
        rc = it->status;
        if (!rc) *wrong += i != 0;
    }
    iter_close(it);
    return rc;
}

static inline fkv_status gets_compare(table *t, const model *m, uint64_t *wrong)
{
    for (size_t i = 0; i < m->count; i++) {
        const row *r = &m->rows[i];
        table_value v;
        fkv_status rc = table_get(t, r->key, hash64(r->key.data, r->key.size, 0), &v);
        if (rc && rc != FKV_NOTFOUND) return rc;
        *wrong += rc || v.kind != r->kind || !slice_equal(v.value, r->value) ||
                  (r->kind == ENTRY_PUT_EXPIRES && v.expires_ms != r->expires_ms);
        table_value_release(&v);
    }
    return FKV_OK;
}

static inline fkv_status ranges_compare(const table *t, const model *m, uint64_t *wrong)
{
    *wrong += table_range_count(t) != m->range_count;
    for (size_t i = 0; i < table_range_count(t) && i < m->range_count; i++) {
        fkv_slice from, to;
        table_range_at(t, i, &from, &to);
        *wrong += !slice_equal(from, m->ranges[i].from) || !slice_equal(to, m->ranges[i].to);
    }
    return FKV_OK;
}

static inline fkv_status compare_all(table *t, const model *m, uint64_t *wrong)
{
    fkv_status rc = ranges_compare(t, m, wrong);
    if (!rc) rc = walk_compare(t, m, 0, wrong);
    if (!rc) rc = walk_compare(t, m, 1, wrong);
    if (!rc) rc = gets_compare(t, m, wrong);
    return rc;
}

#endif
