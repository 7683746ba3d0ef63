/*
** level_iter.c -- the disjoint files of a level, walked as one.
**
** At most one file's iterator is open at a time, and none before the first positioning: a range
** that touches one file of a thousand opens one.
*/
#include "base/alloc.h"
#include "base/sabotage.h"
#include "version/version.h"

typedef struct level_iter {
    iter base;
    version_level files; /* borrowed array; bytes unused */
    size_t at;           /* file that `inner` walks; meaningful when inner != NULL */
    iter *inner;
    int once;
    buf seek_key;
} level_iter;

static void fail(level_iter *it, fkv_status rc)
{
    it->base.entry = NULL;
    it->base.status = rc;
}

/* A key that is sought may be the one shown, which dies with `inner`: keep it. 0 if there is no
** memory for that. */
static int keep_key(level_iter *it, size_t at, fkv_slice *key)
{
    if (!it->base.entry || (it->inner && it->at == at)) return 1; /* inner sees to it itself */
    buf_set(&it->seek_key, *key);
    it->base.entry = NULL;
    it->base.status = buf_status(&it->seek_key);
    *key = buf_slice(&it->seek_key);
    return it->base.status == FKV_OK;
}

/* Open file `at`. 0 on failure. */
static int open_file(level_iter *it, size_t at)
{
    table *t = NULL;
    fkv_status rc;

    if (it->inner && it->at == at) return 1;
    iter_close(it->inner);
    it->inner = NULL;
    rc = file_meta_table(it->files.files[at], &t);
    if (!rc) rc = table_iter_new(t, it->once, &it->inner);
    if (rc) {
        fail(it, SABOTAGE(18) ? FKV_OK : rc);
        return 0;
    }
    it->at = at;
    return 1;
}

/* inner has been moved forward: if it fell off its file, go on in the next ones. */
static void settle_forward(level_iter *it)
{
    for (;;) {
        it->base.entry = it->inner->entry;
        if (it->base.entry) return;
        if (it->inner->status) {
            fail(it, it->inner->status);
            return;
        }
        if (it->at + 1 >= it->files.count || !open_file(it, it->at + 1)) return;
        it->inner->ops->first(it->inner);
    }
}

static void settle_back(level_iter *it)
{
    for (;;) {
        it->base.entry = it->inner->entry;
        if (it->base.entry) return;
        if (it->inner->status) {
            fail(it, it->inner->status);
            return;
        }
        if (it->at == 0 || !open_file(it, it->at - 1)) return;
        it->inner->ops->last(it->inner);
    }
}

static void level_seek(iter *base, fkv_slice key)
{
    level_iter *it = (level_iter *)base;
    size_t at = level_find(&it->files, key);

    base->status = FKV_OK;
    if (at == it->files.count || !keep_key(it, at, &key) || !open_file(it, at)) {
        base->entry = NULL;
        return;
    }
    it->inner->ops->seek(it->inner, key);
    settle_forward(it);
}

static void level_seek_before(iter *base, fkv_slice key)
{
    level_iter *it = (level_iter *)base;
    size_t at = level_find(&it->files, key);

    base->status = FKV_OK;
    if (at > 0 && at == it->files.count) at--;
    if (it->files.count == 0 || !keep_key(it, at, &key) || !open_file(it, at)) {
        base->entry = NULL;
        return;
    }
    it->inner->ops->seek_before(it->inner, key);
    settle_back(it);
}

static void level_first(iter *base)
{
    level_iter *it = (level_iter *)base;

    base->entry = NULL;
    base->status = FKV_OK;
    if (it->files.count == 0 || !open_file(it, 0)) return;
    it->inner->ops->first(it->inner);
    settle_forward(it);
}

static void level_last(iter *base)
{
    level_iter *it = (level_iter *)base;

    base->entry = NULL;
    base->status = FKV_OK;
    if (it->files.count == 0 || !open_file(it, it->files.count - 1)) return;
    it->inner->ops->last(it->inner);
    settle_back(it);
}

static void level_next(iter *base)
{
    level_iter *it = (level_iter *)base;

    it->inner->ops->next(it->inner);
    settle_forward(it);
}

static void level_prev(iter *base)
{
    level_iter *it = (level_iter *)base;

    it->inner->ops->prev(it->inner);
    settle_back(it);
}

static int level_covers(iter *base, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    level_iter *it = (level_iter *)base;
    size_t at = level_find(&it->files, key);
    table *t = NULL;
    fkv_status rc;

    if (at == it->files.count || it->files.files[at]->summary.ranges == 0) return 0;
    rc = file_meta_table(it->files.files[at], &t);
    if (rc) {
        base->status = rc;
        return 0;
    }
    return table_covers(t, key, from, to);
}

static void level_close(iter *base)
{
    level_iter *it = (level_iter *)base;

    iter_close(it->inner);
    buf_release(&it->seek_key);
    alloc_free(it);
}

static const iter_ops level_ops = {level_seek, level_seek_before, level_first,  level_last,
                                   level_next, level_prev,        level_covers, level_close};

fkv_status level_iter_new(file_meta *const *files, size_t count, int once, iter **out)
{
    level_iter *it = alloc_zero(sizeof *it);

    *out = NULL;
    if (!it) return FKV_RAISE(FKV_NOMEM);
    it->base.ops = &level_ops;
    it->files.files = (file_meta **)(uintptr_t)files;
    it->files.count = count;
    it->once = once;
    for (size_t i = 0; i < count; i++)
        if (files[i]->summary.ranges) it->base.has_ranges = 1;
    *out = &it->base;
    return FKV_OK;
}
