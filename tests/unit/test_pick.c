/*
** test_pick.c -- what to compact next: the policy, case by case.
**
** What fails here when compact/pick.c is wrong:
**
**   - rows come back from the dead or old values return, because a file of level 0 goes down past
**     an older one that it overlaps, or a file below is not merged with (closure_of_level0);
**   - compaction is due and not picked, so that reads get slower for ever, or is picked though
**     nothing is due, so that it never rests (trigger, scores);
**   - more is rewritten than must be (cheapest_file, moves);
**   - deleted rows keep their space, or a moved file keeps tombstones that could go (tombstones,
**     moves);
**   - back-pressure answers to a wrong number (debts);
**   - fkv_compact stops too early or never (ranges);
**   - a pick that ran out of memory leaves half a job (no_memory).
**
** The same over random shapes, and with rows in them: test_pick_model.c.
*/
#include "pick_shape.h"

#include "dry_heap.h"

static const pick_options usual = {.level0_trigger = 4, .base_bytes = 10 * MB, .multiplier = 10};

/* The files taken, as "number number > number number", the second part from the level below. */
static const char *taken(const compaction_job *job)
{
    static char out[512];
    size_t at = 0;

    out[0] = 0;
    for (int which = 0; which < 2; which++) {
        if (which && job->counts[0]) at += (size_t)snprintf(out + at, sizeof out - at, "> ");
        for (size_t i = 0; i < job->counts[which] && at + 30 < sizeof out; i++)
            at += (size_t)snprintf(out + at, sizeof out - at, "%d ",
                                   (int)job->inputs[which][i]->number);
    }
    return out;
}

/* Pick and compare; "" is no job. Frees the shape. */
static int picks(shape *s, const pick_options *o, const char *wanted)
{
    compaction_job job;
    int good;

    CHECK_STATUS(pick_compaction(finish(s), o, &job), FKV_OK);
    good = job_is_sound(s->v, &job) && strcmp(taken(&job), wanted) == 0;
    if (!good) (void)printf("  picked \"%s\", wanted \"%s\"\n", taken(&job), wanted);
    compaction_job_release(&job);
    drop(s);
    return good;
}

/* -- policy, case by case ------------------------------------------------------------------- */

static void trigger(void)
{
    shape s = {0};

    CHECK(picks(&s, &usual, ""));
    for (int i = 0; i < 3; i++) put(&s, 0, "a", "z", MB);
    CHECK(picks(&s, &usual, ""));
    for (int i = 0; i < 4; i++) put(&s, 0, "a", "z", MB);
    CHECK(picks(&s, &usual, "4 3 2 1 > "));
    for (int i = 0; i < 2; i++) put(&s, 0, "a", "z", MB);
    CHECK(picks(&s, &(pick_options){2, MB, 10, 0}, "2 1 > ")); /* the background's idle second */
}

static void closure_of_level0(void)
{
    shape s = {0};

    put(&s, 0, "m", "p", MB); /* 1, the oldest, and what hangs on it one by one */
    put(&s, 0, "a", "b", MB);
    put(&s, 0, "s", "z", MB);
    put(&s, 0, "o", "q", MB);
    put(&s, 0, "q", "t", MB);
    put(&s, 0, "c", "l", MB);
    put(&s, 1, "a", "e", 1); /* 7 */
    put(&s, 1, "f", "n", 1);
    put(&s, 1, "w", "y", 1);
    put(&s, 1, "zz", "zz", 1);
    CHECK(picks(&s, &usual, "5 4 3 1 > 8 9 "));
    put(&s, 0, "a", "b", MB); /* nothing overlaps: all are moved */
    put(&s, 0, "c", "d", MB);
    put(&s, 0, "e", "f", MB);
    put(&s, 0, "g", "h", MB);
    CHECK(picks(&s, &usual, "4 3 2 1 > "));
    put(&s, 0, "m", "p", MB); /* [a, m) is beside [m, p] */
    put(&s, 0, "a", "m", MB)->summary.largest_open = 1;
    put(&s, 0, "x", "y", MB);
    put(&s, 0, "x", "y", MB);
    put(&s, 1, "a", "m", MB)->summary.largest_open = 1;
    CHECK(picks(&s, &usual, "1 > "));
    put(&s, 0, "m", "p", MB); /* [a, m] is not */
    put(&s, 0, "a", "m", MB);
    put(&s, 0, "x", "y", MB);
    put(&s, 0, "x", "y", MB);
    CHECK(picks(&s, &usual, "2 1 > "));
}

static void scores(void)
{
    shape s = {0};

    put(&s, 0, "a", "b", 77 * MB);
    put(&s, 0, "a", "b", 77 * MB);
    put(&s, 1, "a", "b", 15 * MB);
    put(&s, 2, "a", "b", 30 * MB);
    put(&s, 5, "a", "b", 5000 * (uint64_t)MB);
    finish(&s);
    CHECK(pick_score(s.v, &usual, 0) == 0.5 && pick_score(s.v, &usual, 1) == 1.5);
    CHECK(pick_score(s.v, &usual, 2) == 0.3 && pick_score(s.v, &usual, 3) == 0);
    CHECK(pick_score(s.v, &usual, 5) == 0.05);
    drop(&s);
    put(&s, 1, "a", "b", 10 * MB - 1);
    CHECK(picks(&s, &usual, ""));
    put(&s, 1, "a", "b", 10 * MB); /* at its target is due */
    CHECK(picks(&s, &usual, "1 > "));
    put(&s, 1, "a", "b", 15 * MB); /* the highest score first */
    put(&s, 2, "a", "b", 160 * MB);
    CHECK(picks(&s, &usual, "2 > "));
    put(&s, 1, "a", "b", 20 * MB); /* of equals, the highest level */
    put(&s, 2, "a", "b", 200 * MB);
    for (int i = 0; i < 8; i++) put(&s, 0, "x", "y", MB);
    CHECK(picks(&s, &usual, "10 9 8 7 6 5 4 3 > "));
    put(&s, 6, "a", "b", (uint64_t)1 << 50); /* the last level has no target */
    CHECK(picks(&s, &usual, ""));
}

static void cheapest_file(void)
{
    shape s = {0};

    put(&s, 1, "a", "b", 8 * MB); /* the example in pick.c: over 80, 16 and 40 MB */
    put(&s, 1, "c", "d", 8 * MB);
    put(&s, 1, "e", "f", 8 * MB);
    put(&s, 2, "a", "b", 80 * MB);
    put(&s, 2, "c", "c", 10 * MB);
    put(&s, 2, "d", "d", 6 * MB);
    put(&s, 2, "e", "f", 40 * MB);
    CHECK(picks(&s, &usual, "2 > 5 6 "));
    put(&s, 1, "a", "b", 2 * MB); /* byte for byte: 10 over 2 cost more than 16 over 8 */
    put(&s, 1, "c", "d", 8 * MB);
    put(&s, 2, "a", "b", 10 * MB);
    put(&s, 2, "c", "d", 16 * MB);
    CHECK(picks(&s, &usual, "2 > 4 "));
    put(&s, 1, "a", "b", 8 * MB); /* a file below may reach under two */
    put(&s, 1, "c", "d", 8 * MB);
    put(&s, 2, "a", "c", 40 * MB);
    put(&s, 2, "d", "d", 1 * MB);
    CHECK(picks(&s, &usual, "1 > 3 "));
}

/* A shape with one file that is due in `level`; how is it to go? */
static int moves_from(int level, uint64_t deletions, uint64_t ranges, const char *beneath)
{
    pick_options o = {1, 1, 1, 0};
    compaction_job job;
    shape s = {0};
    file_meta *f = put(&s, level, "k", "m", MB);
    int move;

    f->summary.deletions = deletions;
    f->summary.ranges = ranges;
    if (beneath) put(&s, level + 1, beneath, beneath, 1);
    if (beneath) o.base_bytes = 2; /* half full */
    CHECK_STATUS(pick_compaction(finish(&s), &o, &job), FKV_OK);
    CHECK(job.counts[0] == 1 && job.inputs[0][0] == f && job.level == level);
    CHECK(job_is_sound(s.v, &job));
    move = job.move;
    compaction_job_release(&job);
    drop(&s);
    return move;
}

static void moves(void)
{
    for (int level = 0; level < FKV_LEVELS - 1; level++) {
        CHECK(moves_from(level, 0, 0, NULL));
        CHECK(moves_from(level, 0, 0, "a") && moves_from(level, 0, 0, "z"));
        CHECK(!moves_from(level, 0, 0, "l"));  /* something to merge with */
        CHECK(!moves_from(level, 1, 0, NULL)); /* tombstones may go on the way */
        CHECK(!moves_from(level, 0, 1, NULL));
    }
}

static void tombstones(void)
{
    shape s = {0};

    for (int level = 0; level < FKV_LEVELS; level++) {
        const char *wanted = level < FKV_LEVELS - 1 ? "1 > " : ""; /* below the last is nothing */

        put(&s, level, "a", "b", 1)->summary.deletions = 50;
        CHECK(picks(&s, &usual, ""));
        put(&s, level, "a", "b", 1)->summary.deletions = 51;
        CHECK(picks(&s, &usual, wanted));
        put(&s, level, "a", "b", 1)->summary.ranges = 1;
        CHECK(picks(&s, &usual, wanted));
    }
    put(&s, 1, "a", "b", 1)->summary.ranges = 1; /* what is too large goes first */
    put(&s, 2, "c", "d", 100 * MB);
    CHECK(picks(&s, &usual, "2 > "));
    put(&s, 3, "a", "b", 1)->summary.ranges = 1; /* then from the top */
    put(&s, 2, "a", "b", 1)->summary.ranges = 1;
    CHECK(picks(&s, &usual, "2 > 1 "));
    put(&s, 0, "a", "c", 1); /* in level 0 never alone */
    put(&s, 0, "b", "d", 1)->summary.ranges = 1;
    put(&s, 0, "d", "e", 1);
    CHECK(picks(&s, &usual, "3 2 1 > "));
}

static uint64_t debt_of(const uint64_t *mb, int level0_files)
{
    shape s = {0};
    uint64_t debt;

    for (int i = 0; i < level0_files; i++) put(&s, 0, "a", "b", mb[0] * MB);
    for (int i = 1; i < FKV_LEVELS; i++)
        if (mb[i]) put(&s, i, "a", "b", mb[i] * MB);
    debt = pick_debt(finish(&s), &usual);
    drop(&s);
    CHECK(debt % MB == 0);
    return debt / MB;
}

static void debts(void)
{
    CHECK(debt_of((uint64_t[FKV_LEVELS]){0}, 0) == 0);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){9}, 3) == 0);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){2}, 4) == 8);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){2, 2}, 4) == 8);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){2, 5}, 4) == 8 + 3); /* what comes down must go on */
    CHECK(debt_of((uint64_t[FKV_LEVELS]){2, 25}, 3) == 15);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){0, 25, 95}, 0) == 15 + 10);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){0, 10, 100, 1000, 10000, 100000, 1u << 30}, 0) == 0);
    CHECK(debt_of((uint64_t[FKV_LEVELS]){1, 10, 100, 1000, 10000, 100000, 0}, 4) == 6 * 4);
}

/* -- pick_range ----------------------------------------------------------------------------- */

static int ranges_to(shape *s, const char *from, const char *to, const char *wanted)
{
    compaction_job job;
    int good;

    if (!s->v) finish(s);
    CHECK_STATUS(pick_range(s->v, 100, text(from), to ? text(to) : (fkv_slice){NULL, 0}, &job),
                 FKV_OK);
    good = job_is_sound(s->v, &job) && strcmp(taken(&job), wanted) == 0;
    if (!good) (void)printf("  picked \"%s\", wanted \"%s\"\n", taken(&job), wanted);
    compaction_job_release(&job);
    return good;
}

static void ranges(void)
{
    shape s = {0};

    put(&s, 2, "c", "e", MB); /* all is in one level */
    put(&s, 2, "g", "k", MB);
    put(&s, 1, "p", "q", MB);
    CHECK(ranges_to(&s, "", "p", "") && ranges_to(&s, "q1", NULL, "") &&
          ranges_to(&s, "p", NULL, ""));
    CHECK(ranges_to(&s, "h", "q", "3 > ")); /* levels 1 and 2 */
    CHECK(ranges_to(&s, "", NULL, "3 > ") && ranges_to(&s, "k1", NULL, ""));
    drop(&s);
    put(&s, 0, "a", "d", MB); /* level 0 goes down in any case, the oldest first */
    put(&s, 0, "d", "f", MB);
    put(&s, 0, "x", "y", MB);
    put(&s, 1, "b", "c", MB)->summary.deletions = 1;
    CHECK(ranges_to(&s, "x", NULL, "3 > ") && ranges_to(&s, "", NULL, "2 1 > 4 "));
    CHECK(ranges_to(&s, "e", "f", "2 1 > 4 ") && ranges_to(&s, "g", "x", ""));
    CHECK(ranges_to(&s, "c1", "c2", "2 1 > 4 "));
    drop(&s);
    put(&s, 3, "a", "b", MB)->summary.deletions = 1; /* to drop tombstones, but not forever */
    put(&s, 3, "c", "d", MB);
    put(&s, 3, "e", "f", MB)->summary.ranges = 1;
    put(&s, 6, "p", "q", MB)->summary.ranges = 1;
    CHECK(ranges_to(&s, "", NULL, "3 > ") && ranges_to(&s, "", "e", "1 > "));
    CHECK(ranges_to(&s, "c", "e", "") && ranges_to(&s, "p", NULL, ""));
    drop(&s);
}

/* -- rows that expire ------------------------------------------------------------------------- */

static void put_expiring(shape *s, int level, const char *key, int64_t first, int64_t half)
{
    file_meta *f = put(s, level, key, key, MB);

    f->summary.expiring = 100;
    f->summary.first_expiry = first;
    f->summary.half_gone = half;
}

static void expired_rows(void)
{
    pick_options at_100 = usual;
    compaction_job job;
    shape s = {0};

    at_100.clock_ms = 100;
    put_expiring(&s, 1, "a", 50, 101); /* some rows are gone, not half of them */
    put_expiring(&s, 1, "c", 50, 0);
    CHECK(picks(&s, &at_100, ""));
    put_expiring(&s, 1, "a", 50, 100);
    CHECK(picks(&s, &usual, "")); /* by another clock */
    put_expiring(&s, 1, "a", 50, 101);
    put_expiring(&s, 2, "a", 50, 100);
    put_expiring(&s, 6, "a", 50, 100); /* there is no level below */
    CHECK(picks(&s, &at_100, "2 > "));
    put_expiring(&s, 3, "a", 50, 100); /* it is merged with nothing, and yet not moved */
    CHECK_STATUS(pick_compaction(finish(&s), &at_100, &job), FKV_OK);
    CHECK(job.counts[0] == 1 && !job.move && job_is_sound(s.v, &job));
    compaction_job_release(&job);
    drop(&s);
    put_expiring(&s, 3, "a", 101, 101); /* fkv_compact: one expired row is enough */
    put_expiring(&s, 3, "c", 100, 0);
    CHECK(ranges_to(&s, "", NULL, "2 > ") && ranges_to(&s, "a", "b", ""));
    drop(&s);
}

/* -- without heap --------------------------------------------------------------------------- */

static void no_memory(void)
{
    fkv_status rc = FKV_NOMEM;
    shape s = {0};
    int n = 0;

    alloc_set_hook(&dry_heap);
    heap_left = 1000;
    for (int i = 0; i < 9; i++) put(&s, 0, "a", "z", MB);
    for (const char *key = "abcde"; *key; key++)
        put(&s, 1, (const char[]){*key, 0}, (const char[]){*key, 0}, MB);
    finish(&s);
    for (; rc && n < 100; n++) {
        compaction_job job;
        heap_left = n;
        rc = pick_compaction(s.v, &usual, &job);
        CHECK(rc == FKV_OK || rc == FKV_NOMEM);
        CHECK(rc == FKV_OK ? job.counts[0] == 9 && job.counts[1] == 5
                           : !job.counts[0] && !job.counts[1] && !job.inputs[0] && !job.inputs[1]);
        compaction_job_release(&job);
    }
    CHECK(rc == FKV_OK && n > 5);
    drop(&s);
    alloc_set_hook(NULL);
}

TEST_MAIN("test_pick", TEST_CASE(trigger), TEST_CASE(closure_of_level0), TEST_CASE(scores),
          TEST_CASE(cheapest_file), TEST_CASE(moves), TEST_CASE(tombstones), TEST_CASE(debts),
          TEST_CASE(ranges), TEST_CASE(expired_rows), TEST_CASE(no_memory))
