/*
** test_wal.c -- the log as it is written: what was acknowledged is replayed, and nothing else.
**
** What fails here when wal/ is wrong:
**
**   - a record is lost, changed or invented on the way through a segment, in any environment, also
**     when it is empty or larger than what a segment allocates at once (round_trips);
**   - the bytes differ from FORMAT.md, so that older stores cannot be read (bytes_as_documented);
**   - replay goes beyond the place where the next segment begins (limits);
**   - a failed append, allocation or sync leaves the writer other than "as it was", or bytes of it
**     come alive later (failing_appends, write_that_lied, no_space, failing_syncs, no_memory);
**   - the mark of a commit needs space that was not reserved, so that a commit, which cannot fail,
**     fails (reserved_marks);
**   - a segment whose creation failed is in the way of the next, or holds something
**     (failing_creation).
**
** Damaged and foreign segments: test_wal_damage.c.
*/
#include "wal_model.h"

#include "dry_heap.h"

/* A memory env that can refuse space but not writes, or write everything and then say it failed;
** env_fault cannot. */
static struct rig {
    fkv_env env;
    fkv_env *base;
    int no_space, lie;
    unsigned allocations, writes;
    uint64_t allocated; /* bytes of the file that have space */
} rig;

static fkv_status rig_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    rig.allocations++;
    if (rig.no_space) return FKV_RAISEF(FKV_FULL, "rigged: no space");
    rig.allocated = offset + size;
    return rig.base->file_allocate(env, file, offset, size);
}

static fkv_status rig_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                            size_t size)
{
    fkv_status rc = rig.base->file_write(env, file, offset, data, size);

    rig.writes++;
    return rig.lie && !rc ? FKV_RAISEF(FKV_IOERR, "rigged: all written, and failed") : rc;
}

static fkv_status rigged_open(journal *j)
{
    fkv_status rc = journal_open(j, IN_MEMORY);

    if (rc) return rc;
    rig = (struct rig){.env = *j->mem, .base = j->mem};
    rig.env.file_allocate = rig_allocate;
    rig.env.file_write = rig_write;
    j->env = &rig.env;
    return FKV_OK;
}

/* -- tests: what is written is read --------------------------------------------------------- */

static size_t some_size(int i)
{
    if (i % 100 == 17) return STEP + 8 * (size_t)check_below(STEP / 8); /* > one allocation */
    if (check_below(10) == 0) return 0;
    return 8 * (size_t)check_below(check_below(20) ? 60 : 2000);
}

static void round_trip(int where)
{
    uint64_t start = 8 * check_below(1000), previous = 0, claim = 0;
    uint8_t boot[16];
    journal j;

    REQUIRE_OK(journal_open(&j, where));
    for (uint64_t number = 3; number < 6; number++) {
        const wal_segment_info *info;
        wal_reader *r = NULL;

        REQUIRE_OK(begin(&j, number, previous, start));
        CHECK(wal_segment_number(j.segment) == number && wal_segment_start(j.segment) == start);
        CHECK(wal_segment_end(j.segment) == start);
        for (int i = 0; i < 300 * scale(); i++) {
            wal_type type = (wal_type)(1 + check_below(3));
            size_t size = i == 250 && number == 4 ? 9u << 20 : type == 1 ? some_size(i) : 0;
            CHECK_STATUS(add(&j, size ? WAL_PREPARE : type, size, claim, (unsigned)i % 3), FKV_OK);
            if (i % 50 == 49) CHECK_STATUS(wal_segment_sync(j.segment, &claim), FKV_OK);
            if (i % 50 == 49) CHECK(claim == wal_segment_end(j.segment));
        }
        CHECK(replays(&j, number, UINT64_MAX, j.count, FKV_NOTFOUND)); /* also while it is open */
        REQUIRE_OK(wal_reader_open(j.env, j.dir, STORE, number, &r));
        info = wal_reader_info(r);
        j.env->boot_id(j.env, boot);
        CHECK(info->number == number && info->previous == previous && !info->empty);
        CHECK(info->start_lsn == start && memcmp(info->boot_id, boot, 16) == 0);
        CHECK(wal_reader_durable(r) == 0);
        for (wal_record w; wal_reader_next(r, UINT64_MAX, &w) == FKV_OK;) continue;
        CHECK(wal_reader_durable(r) == j.items[j.count - 1].claim);
        wal_reader_close(r);
        start = end_of(&j);
        previous = number;
    }
    journal_release(&j);
}

static void round_trips(void)
{
    round_trip(IN_MEMORY);
    round_trip(IN_FAULTS);
    round_trip(ON_DISK);
}

/* Offsets as numbers, from FORMAT.md and not from wal/format.h. */
static void bytes_as_documented(void)
{
    uint8_t boot[16];
    uint64_t salt;
    journal j;
    image m;

    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    REQUIRE_OK(begin(&j, NUMBER, 5, 4096));
    CHECK_STATUS(add(&j, WAL_PREPARE, 24, 4000, 2), FKV_OK);
    CHECK_STATUS(add(&j, WAL_COMMIT, 0, 4096, 0), FKV_OK);
    REQUIRE_OK(load(&j, NUMBER, &m));
    CHECK(m.size == STEP);
    j.env->boot_id(j.env, boot);
    salt = get_u64(m.bytes + 32);
    CHECK(get_u32(m.bytes) == 0x57564b46 && get_u32(m.bytes + 4) == 1);
    CHECK(get_u64(m.bytes + 8) == NUMBER && get_u64(m.bytes + 16) == 5);
    CHECK(get_u64(m.bytes + 24) == 4096 && memcmp(m.bytes + 40, boot, 16) == 0);
    CHECK(get_u32(m.bytes + 56) == 0);
    CHECK(get_u32(m.bytes + 60) == checksum_at(STORE, NUMBER, m.bytes, 60));
    for (size_t i = 0; i < j.count; i++) {
        const wal_record *r = &j.items[i].r;
        const uint8_t *p = m.bytes + 64 + (r->lsn - 4096);
        CHECK(get_u32(p) == checksum_at(salt, r->lsn, p + 4, 44 + r->size));
        CHECK(get_u32(p + 4) == r->size && get_u64(p + 8) == r->lsn);
        CHECK(get_u64(p + 16) == j.items[i].claim && get_u64(p + 24) == r->first_seq);
        CHECK(get_u64(p + 32) == r->ref && get_u32(p + 40) == r->count);
        CHECK(p[44] == r->type && p[45] == r->flags && get_u16(p + 46) == 0);
        CHECK(memcmp(p + 48, r->payload, r->size) == 0);
    }
    for (size_t i = 64 + 48 + 24 + 48; i < m.size; i++) REQUIRE(m.bytes[i] == 0);
    CHECK(j.items[0].r.type == 1 && j.items[1].r.type == 2 && WAL_ABORT == 3);
    free(m.bytes);
    journal_release(&j);
}

static void limits(void)
{
    journal j;
    image was, is;

    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    REQUIRE_OK(small_segment(&j, 12));
    REQUIRE_OK(load_short(&j, &was));
    REQUIRE_OK(load_short(&j, &is));
    for (size_t i = 0; i < j.count; i++) {
        size_t at = WAL_SEGMENT_HEADER + (size_t)(j.items[i].r.lsn - j.start);

        CHECK(replays(&j, NUMBER, j.items[i].r.lsn, i, FKV_NOTFOUND));
        /* What lies behind the limit belongs to nobody: damage there is not even looked at. */
        memset(is.bytes + at, 0x5a, is.size - at);
        CHECK_STATUS(store(&j, NUMBER, &is), FKV_OK);
        CHECK(replays(&j, NUMBER, j.items[i].r.lsn, i, FKV_NOTFOUND));
        memcpy(is.bytes, was.bytes, is.size);
        CHECK_STATUS(store(&j, NUMBER, &is), FKV_OK);
    }
    CHECK(replays(&j, NUMBER, j.start - 1, 0, FKV_NOTFOUND));
    CHECK(replays(&j, NUMBER, end_of(&j), j.count, FKV_NOTFOUND));
    CHECK(replays(&j, NUMBER, end_of(&j) + 8, j.count, FKV_NOTFOUND)); /* short: recovery judges */
    free(was.bytes);
    free(is.bytes);
    journal_release(&j);
}

/* -- tests: failures ------------------------------------------------------------------------ */

static void failing_appends(void)
{
    static const fkv_status statuses[] = {FKV_IOERR, FKV_FULL};

    for (int round = 0; round < 60 * scale(); round++) {
        journal j;

        REQUIRE_OK(journal_open(&j, IN_FAULTS));
        REQUIRE_OK(begin(&j, NUMBER, 0, 64));
        for (int i = 0; i < 60; i++) {
            size_t words = check_below(30) ? 100 : STEP / 8 + 100;
            env_fault fault = {.kinds = ENV_OP_WRITE, .countdown = 1 + check_below(4)};
            fkv_status rc;

            fault.status = statuses[check_below(2)];
            fault.partial = (int)check_below(2);
            env_fault_set(j.env, &fault);
            rc = add_any(&j, words, check_below(2) ? j.start : end_of(&j));
            int fired = env_fault_fired(j.env) > 0;
            if (rc) CHECK(fired && rc == fault.status);
            /* (Zeros ahead that could not be written are no failure.) */
            if (check_below(8) == 0 || (!rc && fired)) { /* the process might end here */
                env_fault_set(j.env, NULL);
                CHECK(replays(&j, NUMBER, UINT64_MAX, j.count, FKV_NOTFOUND));
            }
        }
        env_fault_set(j.env, NULL);
        CHECK_STATUS(add(&j, WAL_COMMIT, 0, 64, 0), FKV_OK); /* and it goes on */
        CHECK(replays(&j, NUMBER, UINT64_MAX, j.count, FKV_NOTFOUND));
        journal_release(&j);
    }
}

/* The whole record reached the file and the write failed all the same. The next one takes its
** place; of a longer one the rest stays behind it, with the record's own claim. */
static void write_that_lied(void)
{
    journal j;

    REQUIRE_OK(rigged_open(&j));
    REQUIRE_OK(begin(&j, NUMBER, 0, 0));
    for (int i = 0; i < 200; i++) {
        rig.lie = 1;
        CHECK_STATUS(add(&j, WAL_PREPARE, 8 * (size_t)check_below(300), end_of(&j), 2), FKV_IOERR);
        rig.lie = 0;
        CHECK_STATUS(add_any(&j, 20, 0), FKV_OK);
        CHECK(replays(&j, NUMBER, UINT64_MAX, j.count, FKV_NOTFOUND));
    }
    journal_release(&j);
}

static void no_space(void)
{
    size_t fits = STEP - WAL_SEGMENT_HEADER - WAL_RECORD_HEADER;
    unsigned writes;
    journal j;

    REQUIRE_OK(rigged_open(&j));
    REQUIRE_OK(begin(&j, NUMBER, 0, 0));
    rig.no_space = 1;
    writes = rig.writes;
    CHECK_STATUS(add(&j, WAL_PREPARE, fits + 8, 0, 0), FKV_FULL);
    CHECK_STATUS(add(&j, WAL_PREPARE, fits, 0, 1), FKV_FULL); /* not without room for the mark */
    CHECK(rig.writes == writes);
    CHECK_STATUS(add(&j, WAL_PREPARE, fits, 0, 0), FKV_OK);
    CHECK_STATUS(add(&j, WAL_COMMIT, 0, 0, 0), FKV_FULL);
    CHECK(replays(&j, NUMBER, UINT64_MAX, 1, FKV_NOTFOUND));
    rig.no_space = 0;
    CHECK_STATUS(add(&j, WAL_COMMIT, 0, 0, 0), FKV_OK);
    CHECK(replays(&j, NUMBER, UINT64_MAX, 2, FKV_NOTFOUND));
    journal_release(&j);
}

/* fkv_txn_commit cannot fail because these marks need no space. Every other record leaves room for
** all of its marks but one, or not even for half of one. */
static void reserved_marks(void)
{
    journal j;

    REQUIRE_OK(rigged_open(&j));
    REQUIRE_OK(begin(&j, NUMBER, 0, 0));
    for (int i = 0; i < 40; i++) {
        unsigned marks = 1 + (unsigned)check_below(4), before;
        uint64_t used = WAL_SEGMENT_HEADER + end_of(&j) + (uint64_t)marks * WAL_RECORD_HEADER;
        size_t left = rig.allocated > used ? (size_t)(rig.allocated - used) : 0;
        size_t size = i % 2 ? left : 8 * (size_t)check_below(900);

        if (i % 4 == 3 && left) size = left + 24;
        CHECK_STATUS(add(&j, WAL_PREPARE, size, 0, marks), FKV_OK);
        before = rig.allocations;
        rig.no_space = 1;
        while (marks-- > 0)
            CHECK_STATUS(add(&j, marks % 2 ? WAL_ABORT : WAL_COMMIT, 0, 0, 0), FKV_OK);
        CHECK(rig.allocations == before);
        rig.no_space = 0;
    }
    CHECK(rig.allocations > 4);
    CHECK(replays(&j, NUMBER, UINT64_MAX, j.count, FKV_NOTFOUND));
    journal_release(&j);
}

static void failing_syncs(void)
{
    static const env_fault fault = {.kinds = ENV_OP_SYNC, .countdown = 1, .status = FKV_IOERR_SYNC};
    uint64_t synced = 0, untouched = 12345;
    journal j;

    REQUIRE_OK(journal_open(&j, IN_FAULTS));
    REQUIRE_OK(begin(&j, NUMBER, 0, 0));
    for (int i = 0; i < 5; i++) CHECK_STATUS(add(&j, WAL_PREPARE, 1000, 0, 0), FKV_OK);
    CHECK_STATUS(wal_segment_sync(j.segment, &synced), FKV_OK);
    CHECK(synced == end_of(&j));
    for (int i = 0; i < 5; i++) CHECK_STATUS(add(&j, WAL_PREPARE, 1000, synced, 0), FKV_OK);
    env_fault_set(j.env, &fault);
    CHECK_STATUS(wal_segment_sync(j.segment, &untouched), FKV_IOERR_SYNC);
    CHECK(untouched == 12345 || untouched == 0); /* no claim can come of it */
    CHECK(replays(&j, NUMBER, UINT64_MAX, 10, FKV_NOTFOUND));
    REQUIRE_OK(journal_crash(&j, 0));
    CHECK(replays(&j, NUMBER, UINT64_MAX, 5, FKV_NOTFOUND));
    journal_release(&j);
}

/* Creation fails at its nth step. Then there is no segment, and the number is free again; or, when
** nothing works any more, or the power goes, one that holds nothing. */
static void failing_creation(void)
{
    const int all = ENV_OP_OPEN | ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_REMOVE;
    unsigned failures = 0;

    for (uint64_t i = 0; i < 96; i++) {
        env_fault fault = {.kinds = all, .countdown = 1 + i % 6, .status = FKV_FULL};
        int cut = i / 24 % 2, stays;
        fkv_status rc;
        journal j;

        REQUIRE_OK(journal_open(&j, IN_FAULTS));
        fault.partial = i / 6 % 2;
        fault.persistent = i / 12 % 2;
        env_fault_set(j.env, &fault);
        rc = begin(&j, NUMBER, 0, 0);
        CHECK_STATUS(rc, env_fault_fired(j.env) ? FKV_FULL : FKV_OK);
        CHECK((rc == FKV_OK) == (j.segment != NULL));
        failures += rc != FKV_OK;
        env_fault_set(j.env, NULL);
        journal_forget(&j);
        if (cut) {
            REQUIRE_OK(journal_crash(&j, i / 48 ? check_random() : 0));
            CHECK(rc || replays(&j, NUMBER, UINT64_MAX, 0, FKV_NOTFOUND)); /* a durable name */
        }
        stays = fault.persistent || cut; /* the removal failed, or the cut undid it */
        if (rc && stays) CHECK(replays(&j, NUMBER, UINT64_MAX, 0, FKV_NOTFOUND));
        if (rc && !stays) CHECK(refused(&j, STORE, NUMBER, FKV_NOTFOUND, "", ""));
        if (rc && !stays) CHECK_STATUS(begin(&j, NUMBER, 0, 0), FKV_OK);
        journal_release(&j);
    }
    CHECK(failures == 80); /* five steps of the six */
}

static void *no_map(fkv_env *env, size_t size, int dense)
{
    (void)env;
    (void)size;
    (void)dense;
    return NULL;
}

static void no_memory(void)
{
    wal_reader *r = NULL;
    journal j;

    alloc_set_hook(&dry_heap);
    heap_left = 1000;
    REQUIRE_OK(journal_open(&j, IN_MEMORY));
    for (int n = 0; !j.segment && n < 100; n++) {
        fkv_status rc;
        heap_left = n;
        rc = begin(&j, NUMBER, 0, 0);
        CHECK(rc == FKV_NOMEM || (rc == FKV_OK && n > 2));
    }
    REQUIRE(j.segment);
    heap_left = 1000;
    CHECK_STATUS(add(&j, WAL_COMMIT, 0, 0, 0), FKV_OK);
    for (int n = 0; !r && n < 100; n++) {
        heap_left = n;
        CHECK(wal_reader_open(j.env, j.dir, STORE, NUMBER, &r) == (n < 2 ? FKV_NOMEM : FKV_OK));
    }
    wal_reader_close(r);
    heap_left = 1000;
    rig = (struct rig){.env = *j.env};
    rig.env.map = no_map;
    CHECK_STATUS(wal_reader_open(&rig.env, j.dir, STORE, NUMBER, &r), FKV_NOMEM);
    CHECK(r == NULL);
    CHECK(replays(&j, NUMBER, UINT64_MAX, 1, FKV_NOTFOUND));
    journal_release(&j);
    alloc_set_hook(NULL);
}

TEST_MAIN("test_wal", TEST_CASE(round_trips), TEST_CASE(bytes_as_documented), TEST_CASE(limits),
          TEST_CASE(failing_appends), TEST_CASE(write_that_lied), TEST_CASE(no_space),
          TEST_CASE(reserved_marks), TEST_CASE(failing_syncs), TEST_CASE(failing_creation),
          TEST_CASE(no_memory))
