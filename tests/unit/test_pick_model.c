/*
** test_pick_model.c -- what to compact next, over random shapes and through random lives.
**
** What fails here when compact/pick.c (or version_apply) is wrong:
**
**   - random_shapes: the inputs of a job have a gap, or leave out a file that overlaps them; the
**     level or the file is not the one that pick.c promises; the debt is another one than its
**     definition says, or there is debt and nothing to do about it; a second pick differs.
**   - a_life: a store of 48 keys is played: flushes, picks, merges, moves. After every step each
**     key is asked, so an old value that comes back shows; version_apply must accept every
**     outcome, so two tables of a level never overlap; compaction comes to rest, and what
**     fkv_compact was asked for ends in one level without tombstones.
*/
#include "pick_shape.h"

enum { KEYS = 48 };

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

/* -- random shapes -------------------------------------------------------------------------- */

static const char *key_text(int i)
{
    static char room[4][8];
    static int turn;
    char *out = room[turn++ % 4];

    (void)snprintf(out, 8, "%02d", i % 100);
    return out;
}

static void put_random(shape *s, int level, int from, int to, int open)
{
    file_meta *f = put(s, level, key_text(from), key_text(to), check_below(8 * MB));

    f->summary.largest_open = open && to > from;
    if (check_below(8) == 0) f->summary.deletions = check_below(101);
    if (f->summary.largest_open || check_below(20) == 0) f->summary.ranges = 1;
}

static void random_shape(shape *s)
{
    for (uint64_t n = check_below(3) ? check_below(8) : 0; n > 0; n--) {
        int from = (int)check_below(100), to = from + (int)check_below(check_below(2) ? 100 : 10);
        put_random(s, 0, from, to < 100 ? to : 99, check_below(8) == 0);
    }
    for (int level = 1; level < FKV_LEVELS; level++) {
        int at = (int)check_below(20), width = 1 + (int)check_below(20);
        if (check_below(3) == 0) continue;
        while (at < 100) {
            int to = at + (int)check_below((uint64_t)width), open = check_below(8) == 0;
            if (to > 99) break;
            put_random(s, level, at, to, open);
            at = to + !(open && to > at) + (int)check_below(3) * (int)check_below(10);
        }
    }
}

static double ratio(const version *v, int level, const file_meta *f, int touch)
{
    uint64_t beneath = 0;

    for (size_t i = 0; i < v->levels[level + 1].count; i++)
        if (meet(v->levels[level + 1].files[i], f, touch))
            beneath += v->levels[level + 1].files[i]->summary.file_bytes;
    return (double)beneath / (double)(f->summary.file_bytes + 1);
}

/* The level that is due, -1 if none is, and the debt: from the text of pick.c and pick.h. */
static int due_level(const version *v, const pick_options *o, uint64_t *debt)
{
    uint64_t target = o->base_bytes, carried = 0;
    double best = 0;
    int due = -1;

    *debt = 0;
    for (int i = 0; i < FKV_LEVELS - 1; i++) {
        const version_level *l = &v->levels[i];
        double score = i ? (double)l->bytes / (double)target
                         : (double)l->count / (double)o->level0_trigger;
        CHECK(pick_score(v, o, i) == score);
        if (l->count && score >= 1 && score > best) {
            due = i;
            best = score;
        }
        carried += l->bytes;
        if (i == 0 && l->count < o->level0_trigger) carried = 0;
        if (i > 0) carried = carried > target ? carried - target : 0;
        if (i > 0) target *= o->multiplier;
        *debt += carried;
    }
    return due;
}

static int has_heavy_file(const version *v)
{
    for (int i = 0; i < FKV_LEVELS - 1; i++)
        for (size_t j = 0; j < v->levels[i].count; j++) {
            const table_summary *s = &v->levels[i].files[j]->summary;
            if (s->ranges || s->deletions * 2 > s->entries) return 1;
        }
    return 0;
}

/* Pick, and check all that can be said without a history. */
static void pick_soundly(const version *v, const pick_options *o, compaction_job *job)
{
    uint64_t debt;
    int due = due_level(v, o, &debt);
    const version_level *l;

    CHECK_STATUS(pick_compaction(v, o, job), FKV_OK);
    CHECK(job_is_sound(v, job));
    CHECK(pick_debt(v, o) == debt);
    CHECK(debt == 0 || due >= 0); /* a writer that is held back is held back for work to be done */
    CHECK((job->counts[0] > 0) == (due >= 0 || has_heavy_file(v)));
    if (due < 0) return;
    l = &v->levels[due];
    CHECK(job->level == due);
    if (due == 0) CHECK(has(job->inputs[0], job->counts[0], l->files[l->count - 1]));
    for (size_t i = 0; due > 0 && i < l->count; i++)
        CHECK(ratio(v, due, job->inputs[0][0], 0) <= ratio(v, due, l->files[i], 1));
}

static int in_range(const file_meta *f, fkv_slice from, fkv_slice to)
{
    int c = slice_compare(file_largest(f), from);
    return (c > 0 || (c == 0 && !f->summary.largest_open)) &&
           slice_compare(file_smallest(f), to) < 0;
}

/* One step of fkv_compact: from the highest level that has something to do in [from, to). */
static void range_soundly(const version *v, fkv_slice from, fkv_slice to)
{
    size_t files[FKV_LEVELS] = {0}, heavy[FKV_LEVELS] = {0}, deeper = 0;
    int level = -1;
    compaction_job job;

    for (int i = FKV_LEVELS; i-- > 0;) {
        for (size_t j = 0; j < v->levels[i].count; j++) {
            const file_meta *f = v->levels[i].files[j];
            files[i] += (size_t)in_range(f, from, to);
            heavy[i] += in_range(f, from, to) && (f->summary.ranges || f->summary.deletions);
        }
        if (i < FKV_LEVELS - 1 && files[i] && (i == 0 || deeper || heavy[i])) level = i;
        deeper += files[i];
    }
    CHECK_STATUS(pick_range(v, 0, from, to, &job), FKV_OK);
    CHECK(job_is_sound(v, &job));
    CHECK((job.counts[0] > 0) == (level >= 0));
    if (level >= 0) CHECK(job.level == level);
    if (level > 0) CHECK(in_range(job.inputs[0][0], from, to));
    compaction_job_release(&job);
}

static void random_shapes(void)
{
    unsigned picked = 0, rested = 0, many = 0;

    for (int round = 0; round < 10000 * scale(); round++) {
        pick_options o = {1 + check_below(6), 1 + check_below(200 * MB),
                          1 + (unsigned)check_below(10), 0};
        int from = (int)check_below(100), to = (int)check_below(100);
        compaction_job job, again;
        shape s = {0};

        random_shape(&s);
        finish(&s);
        pick_soundly(s.v, &o, &job);
        CHECK_STATUS(pick_compaction(s.v, &o, &again), FKV_OK); /* nothing is remembered */
        CHECK(again.level == job.level && again.move == job.move);
        for (int i = 0; i < 2; i++) {
            CHECK(again.counts[i] == job.counts[i]);
            for (size_t k = 0; k < job.counts[i] && k < again.counts[i]; k++)
                CHECK(again.inputs[i][k] == job.inputs[i][k]);
        }
        picked += job.counts[0] > 0;
        rested += job.counts[0] == 0;
        many += job.counts[0] > 1 && job.counts[1] > 1;
        compaction_job_release(&job);
        compaction_job_release(&again);
        range_soundly(s.v, text(key_text(from)), text(key_text(to)));
        drop(&s);
    }
    CHECK(picked > 500 && rested > 20 && many > 50); /* the shapes were of all kinds */
}

/* -- a life --------------------------------------------------------------------------------- */

/* What a file holds of each key: the write that put it (0 = none), or its deletion; and whether a
** range tombstone lies over it, which hides older files only. */
typedef struct content {
    uint64_t seq[KEYS];
    uint8_t dead[KEYS], covered[KEYS];
} content;

typedef struct life {
    pick_options options;
    version *v;
    content *of; /* by file number */
    uint64_t files, room, clock;
    uint64_t truth[KEYS]; /* the write each key shows, 0 = it is absent */
} life;

/* A file of what c holds in [from, to); NULL if that is nothing. */
static file_meta *life_file(life *l, const content *c, int from, int to, uint64_t newest)
{
    table_summary s = {.file_bytes = 1};
    int first = -1, last = -1, end = -1;
    content *mine;
    file_meta *f;

    if (++l->files >= l->room) {
        l->room += 1024;
        l->of = realloc(l->of, l->room * sizeof *l->of);
        if (!l->of) exit(2);
    }
    mine = &l->of[l->files];
    *mine = (content){0};
    for (int k = from; k < to; k++) {
        if (!c->seq[k] && !c->covered[k]) continue;
        if (first < 0) first = k;
        if (c->seq[k]) last = k;
        if (c->covered[k]) end = k + 1;
        mine->seq[k] = c->seq[k];
        mine->dead[k] = c->dead[k];
        mine->covered[k] = c->covered[k];
        s.entries += c->seq[k] != 0;
        s.deletions += c->seq[k] && c->dead[k];
        s.ranges += c->covered[k];
        s.file_bytes += 100;
    }
    if (first < 0) return NULL;
    s.largest_open = end > last;
    buf_set(&s.smallest, text(key_text(first)));
    buf_set(&s.largest, text(key_text(end > last ? end : last)));
    CHECK_STATUS(file_meta_new(NULL, l->files, newest, &s, &f), FKV_OK);
    return f;
}

static void life_add(version_edit *e, int level, file_meta *f)
{
    if (!f) return;
    CHECK_STATUS(version_edit_add(e, level, f), FKV_OK);
    file_meta_unref(f);
}

static void life_apply(life *l, version_edit *e)
{
    version *next = NULL;

    CHECK_STATUS(version_apply(l->v, e, &next), FKV_OK);
    version_edit_release(e);
    if (!next) exit(2);
    version_unref(l->v);
    l->v = next;
}

static void life_flush(life *l)
{
    int low = (int)check_below(KEYS), span = 1 + (int)check_below(check_below(3) ? 8 : KEYS);
    version_edit e = {0};
    content c = {0};

    l->clock++; /* of the range tombstone */
    for (int k = low; k < KEYS && k < low + span; k++) {
        if (check_below(4) == 0) continue;
        c.seq[k] = ++l->clock;
        c.dead[k] = check_below(4) == 0;
    }
    for (int k = (int)check_below(KEYS), n = (int)check_below(6); check_below(4) && n > 0; n--)
        if (k < KEYS) c.covered[k++] = 1;
    for (int k = 0; k < KEYS; k++) {
        if (c.covered[k]) l->truth[k] = 0;
        if (c.seq[k]) l->truth[k] = c.dead[k] ? 0 : c.seq[k];
    }
    life_add(&e, 0, life_file(l, &c, 0, KEYS, l->clock));
    life_apply(l, &e);
}

static uint64_t life_read(const life *l, int k)
{
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < l->v->levels[i].count; j++) {
            const content *c = &l->of[l->v->levels[i].files[j]->number];
            if (c->seq[k]) return c->dead[k] ? 0 : c->seq[k];
            if (c->covered[k]) return 0;
        }
    return 0;
}

static int life_is_true(const life *l)
{
    for (int k = 0; k < KEYS; k++)
        if (life_read(l, k) != l->truth[k]) return 0;
    return 1;
}

/* Carry a job out as compact.c does: what is newer wins, tombstones that nothing lies under go. */
static void life_merge(life *l, const compaction_job *job)
{
    version_edit e = {0};
    content all = {0};
    uint64_t newest = 0;
    int width = 3 + (int)check_below(6);

    for (int which = 0; which < 2; which++)
        for (size_t i = 0; i < job->counts[which]; i++) {
            const content *c = &l->of[job->inputs[which][i]->number];
            if (job->inputs[which][i]->max_seq > newest) newest = job->inputs[which][i]->max_seq;
            for (int k = 0; k < KEYS; k++) {
                if (!all.seq[k] && !all.covered[k]) {
                    all.seq[k] = c->seq[k];
                    all.dead[k] = c->dead[k];
                }
                all.covered[k] |= c->covered[k];
            }
            CHECK_STATUS(version_edit_remove(&e, job->inputs[which][i]), FKV_OK);
        }
    for (int k = 0; k < KEYS; k++) {
        if (version_holds(l->v, job->output + 1, text(key_text(k)))) continue;
        if (all.dead[k]) all.seq[k] = 0;
        all.covered[k] = 0;
    }
    for (size_t i = 0; job->move && i < job->counts[0]; i++)
        CHECK_STATUS(version_edit_add(&e, job->output, job->inputs[0][i]), FKV_OK);
    for (int k = 0; k < KEYS && !job->move; k += width)
        life_add(&e, job->output,
                 life_file(l, &all, k, k + width < KEYS ? k + width : KEYS, newest));
    life_apply(l, &e);
    CHECK(life_is_true(l));
}

static void life_settle(life *l)
{
    int steps = 0;

    for (;; steps++) {
        compaction_job job;
        pick_soundly(l->v, &l->options, &job);
        if (job.counts[0]) life_merge(l, &job);
        compaction_job_release(&job);
        if (!job.counts[0] || steps > 500) break;
    }
    CHECK(steps < 500); /* it comes to rest */
}

/* fkv_compact, step by step until none is left; then all is in one level, without tombstones. */
static void life_compact(life *l)
{
    char low[8], high[8];
    fkv_slice from, to;
    int steps = 0, levels = 0;

    (void)snprintf(low, sizeof low, "%02d", (int)check_below(KEYS));
    (void)snprintf(high, sizeof high, "%02d", (int)check_below(KEYS));
    from = check_below(4) ? text(low) : text("");
    to = check_below(4) ? text(high) : (fkv_slice){NULL, 0};
    for (size_t left = 1; left && steps < 1000; steps++) {
        compaction_job job;
        CHECK_STATUS(pick_range(l->v, 0, from, to, &job), FKV_OK);
        CHECK(job_is_sound(l->v, &job));
        left = job.counts[0];
        if (left) life_merge(l, &job);
        compaction_job_release(&job);
    }
    CHECK(steps < 1000);
    for (int i = 0; i < FKV_LEVELS; i++) {
        const version_level *level = &l->v->levels[i];
        size_t touched = 0;
        for (size_t j = 0; j < level->count; j++) {
            if (!file_touches(level->files[j], from, to)) continue;
            touched++;
            CHECK(i > 0 && (i == FKV_LEVELS - 1 || (level->files[j]->summary.deletions == 0 &&
                                                    level->files[j]->summary.ranges == 0)));
        }
        levels += touched > 0;
    }
    CHECK(levels <= 1);
}

static void a_life(void)
{
    for (int round = 0; round < 150 * scale(); round++) {
        life l = {
            .options = {2 + check_below(3), 300 + check_below(900), 1 + (unsigned)check_below(4)}};

        REQUIRE_OK(version_new_empty(&l.v));
        for (int i = 0; i < 60; i++) {
            life_flush(&l);
            CHECK(life_is_true(&l));
            if (check_below(3) == 0) life_settle(&l);
            if (check_below(12) == 0) life_compact(&l);
        }
        life_settle(&l);
        version_unref(l.v);
        free(l.of);
    }
}

TEST_MAIN("test_pick_model", TEST_CASE(random_shapes), TEST_CASE(a_life))
