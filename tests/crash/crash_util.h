/*
** crash_util.h -- what the recovery and fault tests share: a model of a small store, comparing a
** store with it, and copying the files of a memory file system.
*/
#ifndef FKV_TESTS_CRASH_UTIL_H
#define FKV_TESTS_CRASH_UTIL_H

#include "base/slice.h"
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { KEYS = 64, VALUE_ROOM = 4096 };

/* Sweeps visit every place in a plain build, every STRIDE-th under a sanitizer: in `make verify`
** many times more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE (crash_scale() > 1 ? 4u : 12u)
#else
#define STRIDE 1u
#endif

/* What a store holds: value[i] is the number written under key i, 0 = absent. */
typedef struct model {
    uint32_t value[KEYS];
} model;

static inline int crash_scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

static inline fkv_slice crash_key(int i, char room[16])
{
    int n = snprintf(room, 16, "key%03d", i % 1000);
    return fkv_slice_of(room, (size_t)n);
}

/* A value says who it is; its length depends on it, and some are large. */
static inline fkv_slice crash_value(uint32_t v, char room[VALUE_ROOM])
{
    size_t n = v % 11 == 0 ? 2500 : 16 + v % 60;
    uint32_t letter = v * 7 % 26, step = v % 5 + 1;

    for (size_t i = 0; i < n; i++) {
        room[i] = (char)('a' + letter);
        letter += step;
        if (letter >= 26) letter -= 26;
    }
    (void)snprintf(room, 12, "%011u", v);
    room[11] = ':';
    return fkv_slice_of(room, n);
}

static inline fkv_status crash_put(fkv_txn *t, model *m, int i, uint32_t v)
{
    char key[16], value[VALUE_ROOM];

    m->value[i] = v;
    return fkv_txn_put(t, crash_key(i, key), crash_value(v, value));
}

static inline fkv_status crash_delete(fkv_txn *t, model *m, int i)
{
    char key[16];

    m->value[i] = 0;
    return fkv_txn_delete(t, crash_key(i, key));
}

static inline fkv_status crash_delete_range(fkv_txn *t, model *m, int from, int to)
{
    char a[16], b[16];

    for (int i = from; i < to; i++) m->value[i] = 0;
    return fkv_txn_delete_range(t, crash_key(from, a), crash_key(to, b));
}

static inline int crash_row_is(const model *m, int i, fkv_slice key, fkv_slice value)
{
    char a[16], b[VALUE_ROOM];

    return i >= 0 && i < KEYS && slice_equal(key, crash_key(i, a)) &&
           slice_equal(value, crash_value(m->value[i], b));
}

static inline int crash_next(const model *m, int i, int step)
{
    while (i >= 0 && i < KEYS && !m->value[i]) i += step;
    return i;
}

/* Walk all rows in one direction. *same = 0 as soon as one is wrong; if the walk fails, *same
** speaks of the rows before the failure. */
static inline fkv_status crash_walk(fkv_snapshot *snap, fkv_txn *t, const model *m, int step,
                                    int *same)
{
    fkv_cursor *c = NULL;
    int i = crash_next(m, step > 0 ? 0 : KEYS - 1, step);
    fkv_status rc = fkv_cursor_new(snap, t, &c);

    if (rc) return rc;
    if (step > 0) {
        fkv_cursor_first(c);
    } else {
        fkv_cursor_last(c);
    }
    while (*same && fkv_cursor_valid(c)) {
        *same = crash_row_is(m, i, fkv_cursor_key(c), fkv_cursor_value(c));
        i = crash_next(m, i + step, step);
        if (step > 0) {
            fkv_cursor_next(c);
        } else {
            fkv_cursor_prev(c);
        }
    }
    rc = fkv_cursor_status(c);
    if (*same && !rc && i >= 0 && i < KEYS) *same = 0;
    fkv_cursor_free(c);
    return rc;
}

static inline fkv_status crash_gets(fkv_snapshot *snap, fkv_txn *t, const model *m, int *same)
{
    char key[16], value[VALUE_ROOM];
    fkv_status first = FKV_OK;

    for (int i = 0; i < KEYS && *same; i++) {
        fkv_value v;
        fkv_status rc = fkv_get(snap, t, crash_key(i, key), &v);
        if (rc == FKV_OK) {
            *same = m->value[i] && slice_equal(v.value, crash_value(m->value[i], value));
        } else if (rc == FKV_NOTFOUND) {
            *same = !m->value[i];
        } else if (!first) {
            first = rc;
        }
        fkv_value_release(&v);
    }
    return first;
}

/* Read everything three ways. The first error, and in *same whether all that was read is what the
** model says. */
static inline fkv_status crash_compare(fkv_store *s, fkv_txn *t, const model *m, int *same)
{
    fkv_snapshot *snap = NULL;
    fkv_status rc = fkv_snapshot_new(s, &snap), more;

    *same = 1;
    if (rc) return rc;
    rc = crash_walk(snap, t, m, 1, same);
    more = crash_walk(snap, t, m, -1, same);
    if (!rc) rc = more;
    more = crash_gets(snap, t, m, same);
    if (!rc) rc = more;
    fkv_snapshot_release(snap);
    return rc;
}

static inline int crash_is(fkv_store *s, const model *m)
{
    int same;

    return crash_compare(s, NULL, m, &same) == FKV_OK && same;
}

/* -- the files of a store ------------------------------------------------------------------- */

enum { IMAGE_FILES_MAX = 32 };

typedef struct image_file {
    char name[64];
    uint8_t *bytes;
    size_t size;
} image_file;

typedef struct image {
    image_file files[IMAGE_FILES_MAX];
    int count;
} image;

static inline fkv_status image_note(void *arg, const char *name)
{
    image *im = arg;

    if (im->count == IMAGE_FILES_MAX) abort();
    (void)snprintf(im->files[im->count++].name, sizeof im->files[0].name, "%s", name);
    return FKV_OK;
}

static inline int image_by_name(const void *a, const void *b)
{
    return strcmp(((const image_file *)a)->name, ((const image_file *)b)->name);
}

/* Copy all files of directory `path` out of env, in the order of their names. */
static inline fkv_status image_take(fkv_env *env, const char *path, image *im)
{
    env_dir *dir = NULL;
    fkv_status rc = env->dir_open(env, path, 0, &dir);

    memset(im, 0, sizeof *im);
    if (rc) return rc;
    rc = env->dir_list(env, dir, image_note, im);
    qsort(im->files, (size_t)im->count, sizeof im->files[0], image_by_name);
    for (int i = 0; i < im->count && !rc; i++) {
        image_file *f = &im->files[i];
        env_file *file = NULL;
        uint64_t size = 0;
        rc = env->file_open(env, dir, f->name, ENV_READ, &file);
        if (!rc) rc = env->file_size(env, file, &size);
        f->bytes = malloc((size_t)size + 1); /* lint: allow banned -- a test's own memory */
        if (!f->bytes) abort();
        if (!rc) rc = env->file_read(env, file, 0, f->bytes, (size_t)size, &f->size);
        env->file_close(env, file);
    }
    env->dir_close(env, dir);
    return rc;
}

/* Write the files into directory `path` of env, which should not have been there. */
static inline fkv_status image_put(fkv_env *env, const char *path, const image *im)
{
    env_dir *dir = NULL;
    fkv_status rc = env->dir_open(env, path, ENV_CREATE, &dir);

    for (int i = 0; i < im->count && !rc; i++) {
        const image_file *f = &im->files[i];
        env_file *file = NULL;
        if (!f->bytes) continue; /* left out */
        rc = env->file_open(env, dir, f->name, ENV_WRITE | ENV_CREATE, &file);
        if (!rc) rc = env->file_write(env, file, 0, f->bytes, f->size);
        if (!rc) rc = env->file_sync(env, file);
        env->file_close(env, file);
    }
    if (!rc) rc = env->dir_sync(env, dir);
    env->dir_close(env, dir);
    return rc;
}

static inline void image_free(image *im)
{
    for (int i = 0; i < im->count; i++)
        free(im->files[i].bytes); /* lint: allow banned -- a test's own memory */
    memset(im, 0, sizeof *im);
}

#endif
