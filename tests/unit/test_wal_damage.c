/*
** test_wal_damage.c -- the log as it is found: torn, damaged, stale, or somebody else's.
**
** What fails here when wal_reader.c is wrong:
**
**   - a torn tail is taken for damage, so that a store does not open after a power cut, or damage
**     is taken for a torn tail, so that acknowledged commits vanish in silence (every_cut,
**     every_bit, mixtures, claims_from_both_sides, power_cuts);
**   - a record that was changed, moved or cut is replayed (the same);
**   - the message about damage does not say which file and which offset (the same);
**   - bytes of an older segment behind the tail come alive, or are believed (stale_bytes);
**   - a segment of another store, number or format is read (foreign_segments).
**
** Nearly all of it is judged by one oracle, expect(): it compares the damaged image with the bytes
** that were written, and says from the rules of FORMAT.md alone how replay must end.
*/
#include "wal_model.h"

/* By FORMAT.md, "Replay": how many records of this image are to be replayed, and what follows. */
static fkv_status expect(const journal *j, const image *was, const image *is, size_t *count)
{
    uint64_t claimed = 0, bad;
    size_t first = j->count;

    *count = 0;
    if (is->size < WAL_SEGMENT_HEADER || memcmp(was->bytes, is->bytes, WAL_SEGMENT_HEADER) != 0) {
        for (size_t i = WAL_SEGMENT_HEADER; i < is->size; i++)
            if (is->bytes[i]) return FKV_CORRUPT;
        return FKV_NOTFOUND;
    }
    for (size_t i = j->count; i-- > 0;) {
        const sent *s = &j->items[i];
        size_t at = WAL_SEGMENT_HEADER + (size_t)(s->r.lsn - j->start);
        size_t size = WAL_RECORD_HEADER + s->r.size;
        if (at + size > is->size || memcmp(was->bytes + at, is->bytes + at, size) != 0) {
            first = i;
        } else if (s->claim > claimed) {
            claimed = s->claim;
        }
    }
    bad = first < j->count ? j->items[first].r.lsn : end_of(j);
    *count = first;
    return claimed > bad ? FKV_CORRUPT : FKV_NOTFOUND;
}

/* Replay a damaged image of the segment; 0 and a line of output if it went wrong. */
static int judged(journal *j, const image *was, const image *is)
{
    char place[80];
    size_t count, offset = 0;
    fkv_status end = expect(j, was, is, &count);

    if (store(j, NUMBER, is)) return 0;
    if (!replays(j, NUMBER, UINT64_MAX, count, end)) return 0;
    if (end != FKV_CORRUPT) return 1;
    if (is->size >= WAL_SEGMENT_HEADER && memcmp(was->bytes, is->bytes, WAL_SEGMENT_HEADER) == 0)
        offset = WAL_SEGMENT_HEADER + (size_t)((count < j->count ? j->items[count].r.lsn //
                                                                 : end_of(j)) -
                                               j->start);
    (void)snprintf(place, sizeof place, "at offset %zu", offset);
    if (strncmp(fkv_errmsg(), "000007.wal: ", 12) == 0 && strstr(fkv_errmsg(), place)) return 1;
    (void)printf("  \"%s\" does not name 000007.wal and \"%s\"\n", fkv_errmsg(), place);
    return 0;
}

/* -- tests: torn tails and damage ----------------------------------------------------------- */

/* What a power cut leaves behind the last byte that arrived: nothing, zeros, or rubbish. */
static void every_cut(void)
{
    for (int round = 0; round < 3 * scale(); round++) {
        journal j;
        image was, is;
        size_t used;

        REQUIRE_OK(journal_open(&j, IN_MEMORY));
        REQUIRE_OK(small_segment(&j, 8));
        REQUIRE_OK(load_short(&j, &was));
        REQUIRE_OK(load_short(&j, &is));
        used = WAL_SEGMENT_HEADER + (size_t)(end_of(&j) - j.start);
        for (size_t cut = 0; cut <= used; cut++) {
            is.size = cut;
            REQUIRE(judged(&j, &was, &is));
            is.size = was.size;
            memset(is.bytes + cut, 0, is.size - cut);
            REQUIRE(judged(&j, &was, &is));
            for (size_t i = cut; i < is.size; i++) is.bytes[i] = (uint8_t)check_random();
            if (cut >= WAL_SEGMENT_HEADER) REQUIRE(judged(&j, &was, &is));
            memcpy(is.bytes, was.bytes, is.size);
        }
        free(was.bytes);
        free(is.bytes);
        journal_release(&j);
    }
}

static void every_bit(void)
{
    unsigned corrupt = 0, torn = 0;

    for (int round = 0; round < 3 * scale(); round++) {
        journal j;
        image was, is;
        size_t used, count;

        REQUIRE_OK(journal_open(&j, IN_MEMORY));
        REQUIRE_OK(small_segment(&j, 10));
        REQUIRE_OK(load_short(&j, &was));
        REQUIRE_OK(load_short(&j, &is));
        used = WAL_SEGMENT_HEADER + (size_t)(end_of(&j) - j.start);
        for (size_t bit = 0; bit < used * 8; bit++) {
            is.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            REQUIRE(judged(&j, &was, &is));
            if (expect(&j, &was, &is, &count) == FKV_CORRUPT) corrupt++;
            if (bit / 8 >= WAL_SEGMENT_HEADER) torn++;
            is.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(was.bytes);
        free(is.bytes);
        journal_release(&j);
    }
    CHECK(corrupt > 512 && torn > corrupt / 4); /* the sweep has seen both verdicts */
}

/* One piece of damage that is larger than a bit. */
static void disturb(image *m, size_t used)
{
    size_t at = (size_t)check_below(used / 8) * 8, from = (size_t)check_below(used / 8) * 8;
    size_t size = 1 + (size_t)check_below(200);

    if (at < WAL_SEGMENT_HEADER) at = WAL_SEGMENT_HEADER; /* the header: every_bit, every_cut */
    if (size > m->size - at) size = m->size - at;
    if (size > m->size - from) size = m->size - from;
    switch (check_below(4)) {
    case 0:
        memset(m->bytes + at, 0, size);
        break;
    case 1:
        memmove(m->bytes + at, m->bytes + from, size); /* a record where another belongs */
        break;
    case 2:
        for (size_t i = 0; i < size; i++) m->bytes[at + i] = (uint8_t)check_random();
        break;
    default:
        if (check_below(4) == 0) m->size = at + size;
    }
}

static void mixtures(void)
{
    for (int round = 0; round < 40 * scale(); round++) {
        journal j;
        image was, is;

        REQUIRE_OK(journal_open(&j, IN_MEMORY));
        REQUIRE_OK(small_segment(&j, 3 + (int)check_below(30)));
        REQUIRE_OK(load_short(&j, &was));
        REQUIRE_OK(load_short(&j, &is));
        for (int i = 0; i < 100; i++) {
            is.size = was.size;
            memcpy(is.bytes, was.bytes, was.size);
            for (uint64_t n = 1 + check_below(3); n > 0; n--) disturb(&is, was.size - TAIL);
            REQUIRE(judged(&j, &was, &is));
        }
        free(was.bytes);
        free(is.bytes);
        journal_release(&j);
    }
}

/* The rule by itself: record 2 of 5 is damaged, and one of the others claims what ends just before,
** at, or just behind its beginning. Nothing follows the last record, not even zeros. */
static void one_claim(size_t payload, uint64_t claimant, int beyond)
{
    size_t step = WAL_RECORD_HEADER + payload;
    uint64_t bad = 800 + 2 * step;
    fkv_status end = beyond > 0 && claimant != 2 ? FKV_CORRUPT : FKV_NOTFOUND;
    journal j;
    image m;

    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    REQUIRE_OK(begin(&j, NUMBER, 0, 800));
    for (uint64_t i = 0; i < 5; i++) {
        uint64_t claim = i == claimant ? bad + (uint64_t)beyond : 0;
        CHECK_STATUS(add(&j, WAL_PREPARE, payload, claim, 0), FKV_OK);
    }
    REQUIRE_OK(load(&j, NUMBER, &m));
    m.size = WAL_SEGMENT_HEADER + 5 * step;
    m.bytes[WAL_SEGMENT_HEADER + 2 * step + (size_t)check_below(step)] ^= 1;
    CHECK_STATUS(store(&j, NUMBER, &m), FKV_OK);
    CHECK(replays(&j, NUMBER, UINT64_MAX, 2, end));
    free(m.bytes);
    journal_release(&j);
}

static void claims_from_both_sides(void)
{
    for (size_t payload = 0; payload < 200; payload += 8)
        for (uint64_t claimant = 0; claimant < 5; claimant++)
            for (int beyond = -1; beyond <= 1; beyond++) one_claim(payload, claimant, beyond);
}

/* Synced records survive any power cut, and none of them is ever called damaged. */
static void power_cuts(void)
{
    size_t lost = 0, kept = 0;

    for (int round = 0; round < 150 * scale(); round++) {
        size_t synced = 0, n = 0;
        uint64_t claim = 0, seed = round % 3 ? check_random() : 0;
        wal_reader *r = NULL;
        wal_record w;
        fkv_status rc;
        journal j;

        REQUIRE_OK(journal_open(&j, IN_MEMORY));
        REQUIRE_OK(begin(&j, NUMBER, 0, 0));
        for (uint64_t i = check_below(60); i > 0; i--) {
            CHECK_STATUS(add_any(&j, 300, claim), FKV_OK);
            if (check_below(8)) continue;
            CHECK_STATUS(wal_segment_sync(j.segment, &claim), FKV_OK);
            synced = j.count;
        }
        REQUIRE_OK(journal_crash(&j, seed));
        REQUIRE_OK(wal_reader_open(j.env, j.dir, STORE, NUMBER, &r));
        while (!(rc = wal_reader_next(r, UINT64_MAX, &w)))
            REQUIRE(n < j.count && same(&w, &j.items[n++].r));
        CHECK_STATUS(rc, FKV_NOTFOUND);
        CHECK(n >= synced && (seed || n == synced));
        lost += n < j.count;
        kept += n > synced;
        wal_reader_close(r);
        journal_release(&j);
    }
    CHECK(lost > 10 && kept > 5); /* the cuts were of both kinds */
}

/* -- tests: bytes that are not this segment's ----------------------------------------------- */

/* Blocks of an older segment lie behind the tail: records at the very places where the next ones
** would be, with claims that would make everything damage. */
static void stale_bytes(void)
{
    for (int round = 0; round < 100 * scale(); round++) {
        uint64_t number = round % 2 ? NUMBER : NUMBER - 1;
        size_t sizes = 8 * (size_t)check_below(20), keep, used;
        journal j;
        image old, new;

        REQUIRE_OK(journal_open(&j, IN_MEMORY));
        REQUIRE_OK(begin(&j, number, 0, 0));
        for (int i = 0; i < 10; i++)
            CHECK_STATUS(add(&j, WAL_PREPARE, sizes, wal_segment_end(j.segment), 0), FKV_OK);
        REQUIRE_OK(load_short(&j, &old));
        if (round % 2) CHECK_STATUS(remove_one(&j, "000007.wal"), FKV_OK);
        REQUIRE_OK(begin(&j, NUMBER, 0, 0));
        keep = (size_t)check_below(6);
        for (size_t i = 0; i < keep; i++)
            CHECK_STATUS(add(&j, WAL_PREPARE, round % 3 ? sizes : 8 * i, 0, 0), FKV_OK);
        REQUIRE_OK(load_short(&j, &new));
        used = WAL_SEGMENT_HEADER + (size_t)end_of(&j);
        if (new.size > old.size) new.size = old.size;
        memcpy(new.bytes + used, old.bytes + used, new.size - used);
        CHECK_STATUS(store(&j, NUMBER, &new), FKV_OK);
        CHECK(replays(&j, NUMBER, UINT64_MAX, keep, FKV_NOTFOUND));
        free(old.bytes);
        free(new.bytes);
        journal_release(&j);
    }
}

static void foreign_segments(void)
{
    wal_segment *second = NULL;
    wal_reader *r = NULL;
    journal j;
    image m;

    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    CHECK(refused(&j, STORE, 1, FKV_NOTFOUND, "000001.wal", ""));
    REQUIRE_OK(small_segment(&j, 5));
    REQUIRE_OK(load_short(&j, &m));
    CHECK(refused(&j, STORE + 1, NUMBER, FKV_CORRUPT, "000007.wal", "another store"));
    CHECK_STATUS(store(&j, 8, &m), FKV_OK); /* renamed */
    CHECK(refused(&j, STORE, 8, FKV_CORRUPT, "000008.wal", "offset 0"));
    put_u32(m.bytes + 60, checksum_at(STORE, 8, m.bytes, 60));
    CHECK_STATUS(store(&j, 8, &m), FKV_OK); /* consistent, but it says 7 */
    CHECK(refused(&j, STORE, 8, FKV_CORRUPT, "000008.wal", "number"));
    put_u32(m.bytes + 4, 2);
    put_u32(m.bytes + 60, checksum_at(STORE, NUMBER, m.bytes, 60));
    CHECK_STATUS(store(&j, NUMBER, &m), FKV_OK);
    CHECK(refused(&j, STORE, NUMBER, FKV_UNSUPPORTED, "000007.wal", "format 2 is newer"));
    /* A segment that is there is never written over. */
    CHECK_STATUS(wal_segment_new(j.env, j.dir, STORE, NUMBER, 0, 0, &second), FKV_BUSY);
    CHECK(!second);
    CHECK(refused(&j, STORE, NUMBER, FKV_UNSUPPORTED, "000007.wal", "format 2 is newer"));
    memset(m.bytes + WAL_SEGMENT_HEADER, 0, m.size - WAL_SEGMENT_HEADER);
    for (size_t i = WAL_SEGMENT_HEADER; i < m.size; i += 1 + (size_t)check_below(40)) {
        m.bytes[i] = 1; /* one byte is enough to be something */
        CHECK_STATUS(store(&j, 9, &m), FKV_OK);
        CHECK(refused(&j, STORE, 9, FKV_CORRUPT, "000009.wal", "offset 0"));
        m.bytes[i] = 0;
    }
    m.size = WAL_SEGMENT_HEADER; /* of nothing, everybody's is as good */
    CHECK_STATUS(store(&j, 9, &m), FKV_OK);
    CHECK_STATUS(wal_reader_open(j.env, j.dir, STORE, 9, &r), FKV_OK);
    CHECK(r && wal_reader_info(r)->empty);
    wal_reader_close(r);
    free(m.bytes);
    journal_release(&j);
}

TEST_MAIN("test_wal_damage", TEST_CASE(every_cut), TEST_CASE(every_bit), TEST_CASE(mixtures),
          TEST_CASE(claims_from_both_sides), TEST_CASE(power_cuts), TEST_CASE(stale_bytes),
          TEST_CASE(foreign_segments))
