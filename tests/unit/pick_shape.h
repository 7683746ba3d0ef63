/*
** pick_shape.h -- what test_pick*.c share: versions made of files that are names and numbers only,
** and what must hold of any job that is picked from one.
*/
#ifndef FKV_TESTS_PICK_SHAPE_H
#define FKV_TESTS_PICK_SHAPE_H

#include "check.h"
#include "compact/pick.h"

enum { MB = 1 << 20 };

static inline fkv_slice text(const char *s)
{
    return fkv_slice_of(s, strlen(s));
}

/* -- shapes --------------------------------------------------------------------------------- */

/* A version under construction. Files of level 0 are given oldest first. */
typedef struct shape {
    version_edit edit;
    uint64_t files;
    version *v;
} shape;

static inline file_meta *new_file(uint64_t number, const char *from, const char *to, uint64_t bytes)
{
    table_summary s = {.file_bytes = bytes, .entries = 100};
    file_meta *f = NULL;

    buf_set(&s.smallest, text(from));
    buf_set(&s.largest, text(to));
    if (buf_status(&s.smallest) || buf_status(&s.largest)) exit(2);
    if (file_meta_new(NULL, number, number, &s, &f)) exit(2);
    return f;
}

/* Add a file that holds [from, to]; its summary may be changed until the shape is finished. */
static inline file_meta *put(shape *s, int level, const char *from, const char *to, uint64_t bytes)
{
    file_meta *f = new_file(++s->files, from, to, bytes);

    if (version_edit_add(&s->edit, level, f)) exit(2);
    file_meta_unref(f); /* the edit holds it */
    return f;
}

static inline version *finish(shape *s)
{
    version *empty = NULL;

    CHECK_STATUS(version_new_empty(&empty), FKV_OK);
    CHECK_STATUS(version_apply(empty, &s->edit, &s->v), FKV_OK);
    if (!s->v) exit(2);
    version_unref(empty);
    return s->v;
}

static inline void drop(shape *s)
{
    version_unref(s->v);
    version_edit_release(&s->edit);
    *s = (shape){0};
}

/* -- what must hold of any job -------------------------------------------------------------- */

/* Do two files have a key in common? With `touch`, also if one ends openly where the other begins:
** a job may take such a file along. */
static inline int meet(const file_meta *f, const file_meta *g, int touch)
{
    int a = slice_compare(file_largest(f), file_smallest(g));
    int b = slice_compare(file_largest(g), file_smallest(f));

    if (a < 0 || b < 0) return 0;
    if (!touch && ((a == 0 && f->summary.largest_open) || (b == 0 && g->summary.largest_open)))
        return 0;
    return 1;
}

static inline int has(file_meta *const *files, size_t count, const file_meta *f)
{
    for (size_t i = 0; i < count; i++)
        if (files[i] == f) return 1;
    return 0;
}

static inline int meets_any(file_meta *const *files, size_t count, const file_meta *f, int touch)
{
    for (size_t i = 0; i < count; i++)
        if (files[i] != f && meet(files[i], f, touch)) return 1;
    return 0;
}

/* The place of the first of these files in the level, if they lie there one behind another. */
static inline int in_a_row(const version_level *l, file_meta *const *files, size_t count)
{
    size_t at = 0;

    if (count == 0) return 1;
    while (at < l->count && l->files[at] != files[0]) at++;
    return l->count - at >= count && memcmp(l->files + at, files, count * sizeof *files) == 0;
}

static inline int inputs_are_sound(const version *v, const compaction_job *job)
{
    const version_level *l = &v->levels[job->level], *below = &v->levels[job->output];
    size_t place = 0;
    int good = 1;

    if (job->level > 0) good = job->counts[0] == 1 && in_a_row(l, job->inputs[0], 1);
    for (size_t i = 0; job->level == 0 && i < l->count; i++) {
        const file_meta *f = l->files[i];
        int taken = has(job->inputs[0], job->counts[0], f);
        if (taken) good = good && job->inputs[0][place++] == f; /* newest first, each once */
        if (!taken) good = good && !meets_any(job->inputs[0], job->counts[0], f, 0);
        if (taken && job->counts[0] > 1 && !job->move) /* else they go each by itself */
            good = good && meets_any(job->inputs[0], job->counts[0], f, 1);
    }
    good = good && (job->level > 0 || place == job->counts[0]);
    good = good && in_a_row(below, job->inputs[1], job->counts[1]);
    for (size_t i = 0; i < below->count; i++) {
        int taken = has(job->inputs[1], job->counts[1], below->files[i]);
        if (meets_any(job->inputs[0], job->counts[0], below->files[i], 0)) good = good && taken;
    }
    return good;
}

/* No file below is taken that lies outside of all that is merged. (It may lie in a gap.) */
static inline int nothing_needless(const compaction_job *job)
{
    for (size_t i = 0; i < job->counts[1]; i++) {
        const file_meta *f = job->inputs[1][i];
        int before = 1, behind = 1;
        for (size_t j = 0; j < job->counts[0]; j++) {
            before = before && slice_compare(file_largest(f), file_smallest(job->inputs[0][j])) < 0;
            behind = behind && slice_compare(file_smallest(f), file_largest(job->inputs[0][j])) > 0;
        }
        if (before || behind) return 0;
    }
    return 1;
}

static inline int job_is_sound(const version *v, const compaction_job *job)
{
    const table_summary *s;
    int clean = 1;

    if (job->counts[0] == 0) return job->counts[1] == 0 && !job->move && !job->inputs[0];
    if (job->level < 0 || job->level >= FKV_LEVELS - 1 || job->output != job->level + 1) return 0;
    s = &job->inputs[0][0]->summary;
    for (size_t i = 0; i < job->counts[0]; i++) {
        const table_summary *f = &job->inputs[0][i]->summary;
        clean = clean && f->deletions == 0 && f->ranges == 0;
        for (size_t j = 0; j < i; j++) /* several are moved if they are disjoint */
            clean = clean &&
                    (slice_compare(buf_slice(&f->largest), file_smallest(job->inputs[0][j])) < 0 ||
                     slice_compare(buf_slice(&f->smallest), file_largest(job->inputs[0][j])) > 0);
    }
    clean = clean && job->counts[1] == 0;
    return inputs_are_sound(v, job) && nothing_needless(job) &&
           (job->move == clean || (!job->move && s->first_expiry)); /* rows may have expired */
}

#endif
