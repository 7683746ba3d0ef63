/*
** test_wal_tail.c -- reading a segment while it grows (wal_tail.c): each record once, as it was
** written, in order, never one beyond the limit, and none lost for what failed in between.
*/
#include "wal_model.h"

#include "dry_heap.h"

enum { LARGE_WORDS = 80 << 10 }; /* beyond what a tail reads at once */

static int place_of(const journal *j, uint64_t lsn)
{
    int n = 0;

    while ((size_t)n < j->count && j->items[n].r.lsn < lsn) n++;
    return n;
}

/* Read from the tail's place up to the limit; what fails is asked for again. Records read. */
static int read_up_to(wal_tail *t, const journal *j, uint64_t limit)
{
    int next = place_of(j, wal_tail_position(t)), failures = 0, read = 0;
    wal_record w;

    for (;;) {
        fkv_status rc = wal_tail_next(t, limit, &w);
        if (rc == FKV_NOTFOUND) break;
        if (rc && failures++ < 3) continue;
        if (rc || (size_t)next >= j->count || !same(&w, &j->items[next].r)) {
            CHECK(!"the next record");
            return -1;
        }
        next++;
        read++;
    }
    CHECK(next == place_of(j, limit));
    return read;
}

static void add_some(journal *j)
{
    for (uint64_t n = check_below(4); n > 0; n--)
        CHECK_STATUS(add_any(j, check_below(8) ? 40 : LARGE_WORDS, 0), FKV_OK);
}

static uint64_t some_limit(const journal *j)
{
    switch (check_below(4)) {
    case 0:
        return UINT64_MAX;
    case 1:
        return j->count ? j->items[check_below(j->count)].r.lsn : j->start;
    default:
        return end_of(j);
    }
}

static void follows_what_grows(void)
{
    for (int round = 0; round < 20 * scale(); round++) {
        wal_tail *t = NULL;
        journal j;

        REQUIRE_OK(journal_open(&j, IN_FAULTS));
        REQUIRE_OK(begin(&j, NUMBER, 0, 64));
        REQUIRE_OK(wal_tail_open(j.env, j.dir, STORE, NUMBER, &t));
        for (int i = 0; i < 40; i++) {
            env_fault fault = {
                .kinds = ENV_OP_READ, .countdown = 1 + check_below(6), .status = FKV_IOERR};
            uint64_t limit;
            add_some(&j);
            limit = some_limit(&j);
            if (check_below(5) == 0 && j.count)
                wal_tail_seek(t, j.items[check_below(j.count)].r.lsn);
            if (check_below(4) == 0) env_fault_set(j.env, &fault);
            if (limit >= wal_tail_position(t)) (void)read_up_to(t, &j, limit);
            env_fault_set(j.env, NULL);
        }
        wal_tail_seek(t, j.start);
        CHECK(read_up_to(t, &j, end_of(&j)) == (int)j.count);
        wal_tail_close(t);
        journal_release(&j);
    }
}

/* It went on from a buffer that was not there any more. */
static void no_memory_for_a_large_record(void)
{
    wal_tail *t = NULL;
    wal_record w;
    journal j;

    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    REQUIRE_OK(begin(&j, NUMBER, 0, 64));
    CHECK_STATUS(add(&j, WAL_PREPARE, 80, 0, 0), FKV_OK);
    CHECK_STATUS(add(&j, WAL_PREPARE, 8 * (size_t)LARGE_WORDS, 0, 0), FKV_OK);
    CHECK_STATUS(add(&j, WAL_PREPARE, 8, 0, 0), FKV_OK);
    alloc_set_hook(&dry_heap);
    heap_left = 1000;
    REQUIRE_OK(wal_tail_open(j.env, j.dir, STORE, NUMBER, &t));
    CHECK_STATUS(wal_tail_next(t, end_of(&j), &w), FKV_OK);
    heap_left = 0;
    for (int i = 0; i < 3; i++) CHECK_STATUS(wal_tail_next(t, end_of(&j), &w), FKV_NOMEM);
    heap_left = 1000;
    CHECK(read_up_to(t, &j, end_of(&j)) == 2);
    wal_tail_close(t);
    alloc_set_hook(NULL);
    journal_release(&j);
}

TEST_MAIN("test_wal_tail", TEST_CASE(follows_what_grows), TEST_CASE(no_memory_for_a_large_record))
