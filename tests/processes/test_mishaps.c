/*
** What the sharing of a store between processes has to be afraid of, case by case: two of them at
** the same work, a takeover that fails, a writer that is not dead but only stopped. The players:
** takeover_util.h.
*/
#include "store/share.h"
#include "store/store.h"
#include "takeover_util.h"

static fkv_status write_all(play *p, fkv_store *s, fkv_txn *t, process *who, int delete)
{
    fkv_status rc = fkv_txn_begin(t, 0);

    if (rc) return rc;
    settle_doubt(p, s, t, who);
    p->maybe = p->acked;
    if (delete) {
        rc = crash_delete_range(t, &p->maybe, 0, KEYS);
    } else {
        for (int i = 0; i < KEYS && !rc; i++) rc = crash_put(t, &p->maybe, i, (uint32_t)i + 1);
    }
    p->in_flight = 1;
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (rc) {
        fkv_txn_rollback(t);
        p->in_flight = 0;
        return rc;
    }
    fkv_txn_commit(t);
    acknowledged(p);
    return FKV_OK;
}

static void delete_and_flush(void *arg)
{
    play *p = arg;

    SHOULD(p, is_patient(write_all(p, p->young_store, p->young_txn, &p->young, 1)));
    SHOULD(p, is_patient(fkv_flush(p->young_store)));
    SHOULD(p,
           is_patient(fkv_compact(p->young_store, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0))));
    look(p, p->young_store);
}

/* Old writes rows, `before` happens, old flushes and is stopped at its nth operation, while
** `meanwhile` happens: for every n. */
static void stopped_in_a_flush(const char *what, void (*before)(play *), void (*meanwhile)(void *))
{
    uint64_t after = 0;

    for (uint64_t n = 1; !after && n < 1000; n++) {
        play p;
        play_begins(&p, n, 1, 0);
        p.at = what;
        SHOULD(&p, !open_store(&p, &p.old, &p.old_store, &p.old_txn));
        SHOULD(&p, !write_all(&p, p.old_store, p.old_txn, &p.old, 0));
        before(&p);
        p.old.stops_at = p.old.ops + n;
        p.old.while_stopped = meanwhile;
        p.old.arg = &p;
        SHOULD(&p, !fkv_flush(p.old_store));
        if (p.old.ops < p.old.stops_at) after = n;
        p.old.stops_at = 0;
        look(&p, p.old_store);
        look(&p, p.young_store);
        play_ends(&p);
    }
    (void)printf("POINTS stops in a %s %" PRIu64 "\n", what, after);
    CHECK(after > 10);
}

static void young_looks(play *p)
{
    look(p, p->young_store);
}

/* Old makes a table of rows that young has in memory as well. Meanwhile young deletes them and
** makes tables of all that: there being nothing below, without the rows and without the tombstones.
** Were old's table installed then, they would be back. */
static void rows_deleted_while_another_flushes_them(void)
{
    stopped_in_a_flush("flush", young_looks, delete_and_flush);
}

/* Young has sealed a memtable that holds the rows, and could not flush it. */
static void seal_in_vain(play *p)
{
    fkv_stats stats;

    p->young.refuses = "file_rename"; /* of the new manifest */
    SHOULD(p, fkv_flush(p->young_store) == FKV_IOERR);
    p->young.refuses = NULL;
    fkv_stats_read(p->young_store, &stats);
    SHOULD(p, stats.immutable_memtables == 1);
}

static void flush_the_sealed_one(void *arg)
{
    play *p = arg;
    int did;

    SHOULD(p, is_patient(store_flush_one(p->young_store, 0, &did)));
}

static void seal_and_delete(play *p)
{
    seal_in_vain(p);
    SHOULD(p, !write_all(p, p->old_store, p->old_txn, &p->old, 1));
}

/* Old flushes the deletion of rows that are in no table, so it leaves the tombstones out. Meanwhile
** young makes a table of its memtable, which ends before the deletion. Old's table no longer covers
** what lies below it. */
static void tombstones_dropped_over_a_table_of_another(void)
{
    stopped_in_a_flush("flush of a deletion", seal_and_delete, flush_the_sealed_one);
}

/* Old dies at its second flush, and young holds on to a view from before the first. What old leaves
** goes with the first write of whoever comes: no view that old can be of a table begun after it. */
static void a_reader_does_not_keep_what_the_dead_left(void)
{
    uint64_t after = 0;

    for (uint64_t n = 1; !after && n < 1000; n++) {
        play p;
        fkv_store *s = NULL;
        fkv_txn *t = NULL;
        play_begins(&p, n, 1, 0);
        p.at = "a flush";
        if (!p.kept) SHOULD(&p, !fkv_snapshot_new(p.young_store, &p.kept));
        SHOULD(&p, !open_store(&p, &p.old, &p.old_store, &p.old_txn));
        SHOULD(&p, !write_all(&p, p.old_store, p.old_txn, &p.old, 0));
        SHOULD(&p, !fkv_flush(p.old_store));
        SHOULD(&p, !write_all(&p, p.old_store, p.old_txn, &p.old, 0));
        p.old.dies_at = p.old.ops + n;
        fkv_ignore(fkv_flush(p.old_store));
        if (!p.old.dead) after = n;
        close_store(&p.old_store, &p.old_txn);
        SHOULD(&p, !open_store(&p, &p.third, &s, &t));
        SHOULD(&p, !write_all(&p, s, t, &p.third, 0));
        check_files(&p, s);
        close_store(&s, &t);
        play_ends(&p);
    }
    (void)printf("POINTS deaths in a flush beside a view %" PRIu64 "\n", after);
    CHECK(after > 10);
}

/* Old has prepared, and the host has committed. */
static void old_is_between(play *p, shape how, int sync)
{
    SHOULD(p, !open_store(p, &p->old, &p->old_store, &p->old_txn));
    SHOULD(p, !commit(p, p->old_store, p->old_txn, &p->old, RANGE, FKV_SYNC, 1));
    look(p, p->young_store);
    SHOULD(p, !fkv_txn_begin(p->old_txn, 0));
    p->before = p->maybe = p->acked;
    SHOULD(p, !write_rows(p, p->old_txn, how));
    SHOULD(p, !fkv_txn_prepare_hosted(p->old_txn, sync ? FKV_SYNC : FKV_NONE, &p->host));
    p->acked = p->maybe;
}

/* Whoever takes over fails at some operation, and tries again. What the dead one left comes about
** once and as a whole: were the log taken as followed before its rows are there, they never
** came. */
static void the_log_is_followed_no_further_than_its_rows(shape how)
{
    uint64_t after = 0;

    for (uint64_t n = 1; !after && n < 1000; n++) {
        play p;
        fkv_status rc;
        play_begins(&p, n, 0, 0);
        p.at = "taking over";
        old_is_between(&p, how, n % 2 == 0);
        process_dies(&p.old);
        p.young.fails_at = p.young.ops + n;
        rc = fkv_txn_begin(p.young_txn, 0);
        if (p.young.ops < p.young.fails_at) after = n;
        p.young.fails_at = 0; /* what comes later has its own tests */
        if (!rc) fkv_txn_rollback(p.young_txn);
        look(&p, p.young_store);
        young_goes_on(&p);
        close_store(&p.old_store, &p.old_txn);
        play_ends(&p);
    }
    (void)printf("POINTS failures in a takeover %" PRIu64 "\n", after);
    CHECK(after > 10);
}

static void followed_moves_with_its_rows(void)
{
    the_log_is_followed_no_further_than_its_rows(SMALL_ROWS);
    the_log_is_followed_no_further_than_its_rows(SPILLED);
}

/* Old is stopped between the host's commit and its own, and lives: nobody decides for it, neither
** who wants to write, nor who waits for what the host has, nor who comes, nor who reads only. They
** are told that it is busy; the store is not older than its host. */
static void a_stopped_writer_is_not_decided_for(int young_reads, int commits)
{
    play p;
    model after;

    play_begins(&p, (uint64_t)commits, 0, young_reads);
    p.at = "between";
    old_is_between(&p, SMALL_ROWS, 1);
    after = p.acked;
    CHECK_STATUS(fkv_host_wait(p.young_txn, p.host, 1000), FKV_BUSY);
    CHECK_STATUS(fkv_txn_begin(p.young_txn, 100), young_reads ? FKV_READONLY : FKV_BUSY);
    third_comes(&p, 0);
    SHOULD(&p, is_model(p.young_store, NULL, &p.before));
    if (commits) {
        fkv_txn_commit(p.old_txn);
    } else { /* the host could not, after all */
        fkv_txn_rollback_hosted(p.old_txn);
        p.host = 0;
        after = p.acked = p.before;
    }
    SHOULD(&p, is_model(p.young_store, NULL, &after));
    SHOULD(&p, is_model(p.old_store, NULL, &after));
    p.at = "after it";
    if (young_reads) {
        close_store(&p.old_store, &p.old_txn);
        young_reads_on(&p);
    } else {
        young_goes_on(&p);
    }
    play_ends(&p);
}

static void a_stopped_writer_decides_for_itself(void)
{
    for (int i = 0; i < 4; i++) a_stopped_writer_is_not_decided_for(i & 1, i >> 1);
}

/* Old is between, and gives it up with an error: nobody holds a lock. Young asks the host; old goes
** on with what came of it. */
static void who_left_it_in_doubt_hears_how_it_ended(void)
{
    for (int committed = 0; committed < 2; committed++) {
        play p;
        play_begins(&p, 0, 0, 0);
        p.at = "in doubt";
        old_is_between(&p, SMALL_ROWS, 1);
        fkv_txn_leave_in_doubt(p.old_txn);
        if (!committed) {
            p.host = 0;
            p.acked = p.before;
        }
        look(&p, p.old_store);
        young_goes_on(&p);
        look(&p, p.old_store);
        SHOULD(&p, !commit(&p, p.old_store, p.old_txn, &p.old, RANGE, FKV_SYNC, 1));
        look(&p, p.young_store);
        play_ends(&p);
    }
}

/* The word that says who writes is taken from who is not there, also if it is rubbish, and from
** nobody else; numbers that somebody lives under are not given out again. */
static void the_right_to_write_is_taken_from_the_dead(void)
{
    static const uint64_t rubbish[] = {1u << 20, UINT64_MAX, (uint64_t)1 << 40, 0};

    for (size_t i = 0; i < sizeof rubbish / sizeof rubbish[0]; i++) {
        play p;
        shared_page *page;
        play_begins(&p, i, 0, 0);
        p.at = "a spoilt word";
        SHOULD(&p, !open_store(&p, &p.old, &p.old_store, &p.old_txn));
        page = p.young.pages[0];
        atomic_store(&page->writer, rubbish[i]);
        atomic_store(&page->processes, 0); /* whoever comes is offered numbers that are taken */
        SHOULD(&p, !fkv_txn_begin(p.old_txn, 0));
        CHECK_STATUS(fkv_txn_begin(p.young_txn, 100), FKV_BUSY);
        third_comes(&p, 0);
        CHECK_STATUS(fkv_txn_begin(p.young_txn, 100), FKV_BUSY);
        fkv_txn_rollback(p.old_txn);
        CHECK(atomic_load(&page->writer) == 0);
        SHOULD(&p, !fkv_txn_begin(p.old_txn, 0));
        process_dies(&p.old);
        young_goes_on(&p);
        close_store(&p.old_store, &p.old_txn);
        play_ends(&p);
    }
}

TEST_MAIN("test_mishaps", TEST_CASE(rows_deleted_while_another_flushes_them),
          TEST_CASE(tombstones_dropped_over_a_table_of_another),
          TEST_CASE(a_reader_does_not_keep_what_the_dead_left),
          TEST_CASE(followed_moves_with_its_rows), TEST_CASE(a_stopped_writer_decides_for_itself),
          TEST_CASE(who_left_it_in_doubt_hears_how_it_ended),
          TEST_CASE(the_right_to_write_is_taken_from_the_dead))
