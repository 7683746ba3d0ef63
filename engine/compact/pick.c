/*
** pick.c -- leveled compaction, the policy.
**
**   level 0      wants compaction when it has `level0_trigger` files: every read asks each of them
**   level n > 0  wants it when it is larger than base_bytes * multiplier^(n-1)
**
** The level with the highest score goes first. From level 0: the oldest file and, until nothing
** changes, every file that overlaps what has been taken (an older file left behind would come to
** lie above newer data). From a deeper level: the file with the least data beneath it, byte for
** byte, because that is what the merge rewrites. Example: files of 8 MB over 80, 16 and 40 MB:
** the second is taken.
**
** A file with nothing to merge with and nothing to drop is not rewritten but moved, and from level
** 0 all such files at once: a load in order of keys is written a single time.
**
** When no level is too large, a file that is mostly tombstones or expired rows, or holds a range
** tombstone, is taken down a level: deleted rows give their space back without waiting for new
** ones.
*/
#include "compact/pick.h"

#include "base/alloc.h"
#include "base/sabotage.h"

static uint64_t level_target(const pick_options *o, int level)
{
    uint64_t target = o->base_bytes;

    for (int i = 1; i < level; i++) target *= o->multiplier;
    return target;
}

double pick_score(const version *v, const pick_options *o, int level)
{
    if (level == 0) return (double)v->levels[0].count / (double)o->level0_trigger;
    return (double)v->levels[level].bytes / (double)level_target(o, level);
}

uint64_t pick_debt(const version *v, const pick_options *o)
{
    uint64_t debt = 0, carried = 0;

    if (v->levels[0].count >= o->level0_trigger) debt = carried = v->levels[0].bytes;
    for (int i = 1; i < FKV_LEVELS - 1; i++) {
        uint64_t size = v->levels[i].bytes + carried, target = level_target(o, i);
        carried = size > target ? size - target : 0;
        debt += carried;
    }
    return debt;
}

static fkv_status take(compaction_job *job, int which, file_meta *f)
{
    size_t n = job->counts[which];

    if ((n & (n - 1)) == 0) { /* grow at powers of two */
        file_meta **p = alloc_resize(job->inputs[which], (n ? n * 2 : 1) * sizeof(file_meta *));
        if (!p) return FKV_RAISE(FKV_NOMEM);
        job->inputs[which] = p;
    }
    job->inputs[which][job->counts[which]++] = f;
    return FKV_OK;
}

void compaction_job_release(compaction_job *job)
{
    alloc_free(job->inputs[0]);
    alloc_free(job->inputs[1]);
    *job = (compaction_job){0};
}

typedef struct extent {
    fkv_slice from, to; /* inclusive at both ends */
    int set;
} extent;

static void extend(extent *e, const file_meta *f)
{
    if (!e->set || slice_compare(file_smallest(f), e->from) < 0) e->from = file_smallest(f);
    if (!e->set || slice_compare(file_largest(f), e->to) > 0) e->to = file_largest(f);
    e->set = 1;
}

static int overlaps(const file_meta *f, const extent *e)
{
    return !file_before(f, e->from) && slice_compare(file_smallest(f), e->to) <= 0;
}

/* The files of level 0 that must go together with `first`, newest first as in the level. */
static fkv_status take_level0(const version *v, size_t first, compaction_job *job)
{
    const version_level *l = &v->levels[0];
    extent e = {0};
    size_t taken = 0, before;
    fkv_status rc = FKV_OK;

    extend(&e, l->files[first]);
    do {
        before = taken;
        taken = 0;
        for (size_t i = 0; i < l->count; i++) {
            if (!overlaps(l->files[i], &e)) continue;
            extend(&e, l->files[i]);
            taken++;
        }
    } while (taken != before && !SABOTAGE(14));
    for (size_t i = 0; !rc && i < l->count; i++)
        if (overlaps(l->files[i], &e)) rc = take(job, 0, l->files[i]);
    return rc;
}

static int has_tombstones(const file_meta *f)
{
    return f->summary.ranges > 0 || f->summary.deletions > 0;
}

/* Add what the inputs overlap in the output level, and see whether a move will do. */
static fkv_status take_output(const version *v, compaction_job *job)
{
    const version_level *l = &v->levels[job->output];
    extent e = {0};
    fkv_status rc = FKV_OK;

    for (size_t i = 0; i < job->counts[0]; i++) extend(&e, job->inputs[0][i]);
    for (size_t i = level_find(l, e.from); !rc && i < l->count && !SABOTAGE(15); i++) {
        if (!overlaps(l->files[i], &e)) break;
        rc = take(job, 1, l->files[i]);
    }
    job->move = job->counts[0] == 1 && job->counts[1] == 0 && !has_tombstones(job->inputs[0][0]);
    return rc;
}

/* Could this file of level 0 go to level 1 as it is? */
static int may_move(const version *v, const file_meta *f)
{
    const version_level *top = &v->levels[0], *below = &v->levels[1];
    extent e = {0};
    size_t next;

    if (has_tombstones(f)) return 0;
    extend(&e, f);
    for (size_t i = 0; i < top->count; i++)
        if (top->files[i] != f && overlaps(top->files[i], &e)) return 0;
    next = level_find(below, e.from);
    return next >= below->count || !overlaps(below->files[next], &e);
}

/* A move costs a manifest, not the bytes: take all of level 0 that can go the same way. After a
** load in order that is every file of it. */
static fkv_status take_all_moves(const version *v, compaction_job *job)
{
    const version_level *l = &v->levels[0];
    fkv_status rc = FKV_OK;

    job->counts[0] = 0; /* newest first, the one that is there among them */
    for (size_t i = 0; !rc && i < l->count; i++)
        if (may_move(v, l->files[i])) rc = take(job, 0, l->files[i]);
    return rc;
}

static uint64_t bytes_beneath(const version *v, int level, const file_meta *f)
{
    const version_level *below = &v->levels[level + 1];
    extent e = {0};
    uint64_t bytes = 0;

    extend(&e, f);
    for (size_t i = level_find(below, e.from); i < below->count && overlaps(below->files[i], &e);
         i++)
        bytes += below->files[i]->summary.file_bytes;
    return bytes;
}

static size_t cheapest_file(const version *v, int level)
{
    const version_level *l = &v->levels[level];
    size_t best = 0;
    double best_ratio = 0;

    for (size_t i = 0; i < l->count; i++) {
        double ratio = (double)bytes_beneath(v, level, l->files[i]) /
                       (double)(l->files[i]->summary.file_bytes + 1);
        if (i == 0 || ratio < best_ratio) {
            best = i;
            best_ratio = ratio;
        }
    }
    return best;
}

static fkv_status take_from(const version *v, int level, size_t file, compaction_job *job)
{
    fkv_status rc;

    job->level = level;
    job->output = level + 1;
    rc = level == 0 ? take_level0(v, file, job) : take(job, 0, v->levels[level].files[file]);
    if (!rc) rc = take_output(v, job);
    if (rc) compaction_job_release(job);
    return rc;
}

static int expired_by(int64_t moment, int64_t clock_ms)
{
    return moment != 0 && moment <= clock_ms;
}

static int mostly_gone(const file_meta *f, int64_t clock_ms)
{
    return f->summary.ranges > 0 || f->summary.deletions * 2 > f->summary.entries ||
           expired_by(f->summary.half_gone, clock_ms);
}

/* Take a file of which rewriting drops something: moving it would not. */
static fkv_status take_to_shrink(const version *v, int level, size_t file, compaction_job *job)
{
    fkv_status rc = take_from(v, level, file, job);

    job->move = 0;
    return rc;
}

fkv_status pick_compaction(const version *v, const pick_options *o, compaction_job *out)
{
    int best = -1;
    double best_score = 1.0;

    *out = (compaction_job){0};
    for (int i = 0; i < FKV_LEVELS - 1; i++) {
        double score = pick_score(v, o, i);
        if (v->levels[i].count && score >= best_score && (best < 0 || score > best_score)) {
            best = i;
            best_score = score;
        }
    }
    if (best == 0) {
        fkv_status rc = take_from(v, 0, v->levels[0].count - 1, out);
        if (!rc && out->move) rc = take_all_moves(v, out);
        if (rc) compaction_job_release(out);
        return rc;
    }
    if (best > 0) return take_from(v, best, cheapest_file(v, best), out);
    for (int i = 0; i < FKV_LEVELS - 1; i++)
        for (size_t j = v->levels[i].count; j-- > 0;)
            if (mostly_gone(v->levels[i].files[j], o->clock_ms))
                return take_to_shrink(v, i, j, out);
    return FKV_OK;
}

fkv_status pick_range(const version *v, int64_t clock_ms, fkv_slice from, fkv_slice to,
                      compaction_job *out)
{
    *out = (compaction_job){0};
    for (int i = 0; i < FKV_LEVELS - 1; i++) {
        const version_level *l = &v->levels[i];
        for (size_t j = l->count; j-- > 0;) {
            int shrinks = has_tombstones(l->files[j]) ||
                          expired_by(l->files[j]->summary.first_expiry, clock_ms);
            if (!file_touches(l->files[j], from, to)) continue;
            /* The last level that holds anything stays where it is, unless rewriting it would drop
            ** something. Level 0 always goes down: its files overlap one another. */
            if (i > 0 && !version_touches(v, i + 1, from, to) && !shrinks) continue;
            return shrinks ? take_to_shrink(v, i, j, out) : take_from(v, i, j, out);
        }
    }
    return FKV_OK;
}
