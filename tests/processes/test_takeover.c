/*
** A process dies, or is stopped, at every single operation of its life beside others (world.h): its
** opening, transactions of all kinds, flushes, compactions, its close. The others see everything
** that was acknowledged and nothing by half, and go on: they write, flush, compact, close, and what
** is opened then is sound and keeps no file that nobody needs. The players: takeover_util.h.
*/
#include "takeover_util.h"

/* -- what old does ----------------------------------------------------------------------------- */

static fkv_status old_opens(play *p)
{
    return open_store(p, &p->old, &p->old_store, &p->old_txn);
}

static fkv_status old_commits(play *p, shape how, fkv_durability durability, int hosted)
{
    return commit(p, p->old_store, p->old_txn, &p->old, how, durability, hosted);
}

static fkv_status old_synced(play *p)
{
    return old_commits(p, SMALL_ROWS, FKV_SYNC, 0);
}

static fkv_status old_background(play *p)
{
    return old_commits(p, RANGE, FKV_BACKGROUND, 0);
}

static fkv_status old_unsynced(play *p)
{
    return old_commits(p, SMALL_ROWS, FKV_NONE, 0);
}

static fkv_status old_hosted(play *p)
{
    return old_commits(p, SMALL_ROWS, FKV_SYNC, 1);
}

static fkv_status old_spilled(play *p)
{
    return old_commits(p, SPILLED, FKV_BACKGROUND, 0);
}

static fkv_status old_spilled_hosted(play *p)
{
    return old_commits(p, SPILLED, FKV_SYNC, 1);
}

static fkv_status old_gives_up(play *p, int hosted)
{
    model nobody_sees = p->maybe;
    uint64_t id;
    fkv_status rc = fkv_txn_begin(p->old_txn, 0);

    if (rc) return rc;
    settle_doubt(p, p->old_store, p->old_txn, &p->old);
    rc = write_rows(p, p->old_txn, SMALL_ROWS);
    if (!rc && !hosted) rc = fkv_txn_prepare(p->old_txn, FKV_SYNC);
    if (!rc && hosted) rc = fkv_txn_prepare_hosted(p->old_txn, FKV_SYNC, &id);
    p->maybe = nobody_sees;
    if (hosted) {
        fkv_txn_rollback_hosted(p->old_txn);
    } else {
        fkv_txn_rollback(p->old_txn);
    }
    return rc;
}

static fkv_status old_rolls_back(play *p)
{
    return old_gives_up(p, 0);
}

static fkv_status old_rolls_back_hosted(play *p)
{
    return old_gives_up(p, 1);
}

static fkv_status old_flushes(play *p)
{
    return fkv_flush(p->old_store);
}

static fkv_status old_compacts(play *p)
{
    return fkv_compact(p->old_store, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0));
}

static fkv_status old_closes(play *p)
{
    close_store(&p->old_store, &p->old_txn);
    return FKV_OK;
}

/* -- what young does in between ---------------------------------------------------------------- */

static fkv_status young_writes(play *p)
{
    if (p->young_reads) {
        hear_of_it(p, p->young_txn, p->host);
        look(p, p->young_store);
        return FKV_OK;
    }
    return commit(p, p->young_store, p->young_txn, &p->young, RANGE, FKV_SYNC, 0);
}

static fkv_status young_flushes(play *p)
{
    look(p, p->young_store);
    return p->young_reads ? FKV_OK : fkv_flush(p->young_store);
}

typedef struct step {
    const char *name;
    fkv_status (*run)(play *p);
} step;

static const step history[] = {
    {"open", old_opens},
    {"synced rows", old_synced},
    {"young writes", young_writes},
    {"hosted rows", old_hosted},
    {"unsynced rows", old_unsynced},
    {"spilled", old_spilled},
    {"young writes again", young_writes},
    {"rows of the background", old_background},
    {"young flushes", young_flushes},
    {"flush", old_flushes},
    {"rollback", old_rolls_back},
    {"hosted rollback", old_rolls_back_hosted},
    {"spilled, hosted", old_spilled_hosted},
    {"hosted rows again", old_hosted},
    {"compaction", old_compacts},
    {"young writes at last", young_writes},
    {"more rows", old_synced},
    {"close", old_closes},
};

enum { STEPS = sizeof history / sizeof history[0] };

/* Old's life. 1 if it came to its end. */
static int play_history(play *p)
{
    for (int i = 0; i < STEPS; i++) {
        fkv_status rc;
        p->at = history[i].name;
        rc = history[i].run(p);
        if (p->old.dead) return 0;
        if (rc) {
            SAY(p, "failed");
            return 0;
        }
    }
    return 1;
}

/* -- death at every operation ------------------------------------------------------------------ */

static int lives_on(uint64_t n, int half, int fresh, int young_reads)
{
    play p;
    int died;

    play_begins(&p, n, fresh, young_reads);
    p.old.dies_at = n;
    p.old.half = half;
    died = !play_history(&p);
    if (p.old_store) close_store(&p.old_store, &p.old_txn); /* the dead one's memory */
    if (young_reads) {
        young_reads_on(&p);
    } else {
        young_goes_on(&p);
    }
    play_ends(&p);
    return died;
}

static void deaths(const char *what, int half, int fresh, int young_reads)
{
    int variation = half || fresh || young_reads; /* every second place in `make test` */
    uint64_t stride = STRIDE * (variation && crash_scale() == 1 ? 2 : 1);
    uint64_t n = 1 + check_below(stride), points = 0;
    int before = check_failures;

    for (; check_failures < before + 10 && lives_on(n, half, fresh, young_reads); n += stride)
        points++;
    (void)printf("POINTS deaths beside %s %" PRIu64 "\n", what, points);
    CHECK(points * stride > 100);
}

static void dies_beside_a_writer(void)
{
    deaths("a writer", 0, 0, 0);
}

static void dies_with_half_a_write(void)
{
    deaths("a writer, half written", 1, 0, 0);
}

static void dies_in_a_new_store(void)
{
    deaths("a writer, in a new store", 0, 1, 0);
}

static void dies_beside_a_reader(void)
{
    deaths("a reader", 0, 0, 1);
}

/* -- stops at every operation ------------------------------------------------------------------ */

static void live_while_stopped(void *arg)
{
    play *p = arg;
    fkv_store *s = p->young_store;

    look(p, s);
    third_comes(p, 0);
    SHOULD(p, is_patient(commit(p, s, p->young_txn, &p->young, RANGE, FKV_SYNC, 0)));
    look(p, s);
    SHOULD(p, is_patient(fkv_flush(s)));
    look(p, s);
    SHOULD(p, is_patient(commit(p, s, p->young_txn, &p->young, SMALL_ROWS, FKV_NONE, 1)));
    SHOULD(p, is_patient(fkv_compact(s, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0))));
    look(p, s);
    hear_of_it(p, p->young_txn, p->host);
    SHOULD(p, fkv_verify(s) == FKV_OK);
}

static int goes_on_after_a_stop(uint64_t n)
{
    play p;
    int stopped;

    play_begins(&p, n, 0, 0);
    p.old.stops_at = n;
    p.old.while_stopped = live_while_stopped;
    p.old.arg = &p;
    if (!play_history(&p)) SAY(&p, "old does not go on");
    stopped = p.old.ops >= n;
    young_goes_on(&p);
    play_ends(&p);
    return stopped;
}

static void stops(void)
{
    uint64_t stride = STRIDE, n = 1 + check_below(stride), points = 0;
    int before = check_failures;

    for (; check_failures < before + 10 && goes_on_after_a_stop(n); n += stride) points++;
    (void)printf("POINTS stops beside a writer %" PRIu64 "\n", points);
    CHECK(points * stride > 100);
}

TEST_MAIN("test_takeover", TEST_CASE(dies_beside_a_writer), TEST_CASE(dies_with_half_a_write),
          TEST_CASE(dies_in_a_new_store), TEST_CASE(dies_beside_a_reader), TEST_CASE(stops))
