/*
** store/recover.c: what is made of a log that ends, has holes, lacks a segment or leaves something
** in doubt. The logs here are written by hand, record by record, so that each of them is exactly
** what a rule speaks of; then the store is opened, asked for its rows, and opened once more.
*/
#include "dry_heap.h"
#include "unit/hand_log.h"

/* Sweeps visit every STRIDE-th place. */
#if defined(__SANITIZE_THREAD__)
enum { STRIDE = 10 };
#else
enum { STRIDE = 1 };
#endif

/* -- marks ------------------------------------------------------------------------------------ */

/* Rolled back, and the disk failed when the mark was to be written. */
static void a_prepare_that_others_followed_is_undone(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    (void)prepare(&h, "b", WAL_FLAG_SYNC, 0);
    commit(&h, "c");
    hand_finish(&h);
    check_rows(&h, "a base c ");
    hand_close(&h);
}

/* A mark speaks of the PREPARE before it, or of one that is not looked at. */
static void marks_of_others_decide_nothing(void)
{
    uint64_t a;
    hand h;

    REQUIRE(hand_open(&h));
    a = prepare(&h, "a", 0, 0);
    (void)prepare(&h, "b", 0, 0);
    mark(&h, WAL_COMMIT, a);
    mark(&h, WAL_ABORT, a);
    commit(&h, "c");
    mark(&h, WAL_ABORT, a);
    hand_finish(&h);
    check_rows(&h, "base c ");
    hand_close(&h);
}

/* Replay begins in front of what the tables have, where a transaction was in doubt. */
static void what_is_in_the_tables_is_not_replayed(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    h.m.tables_lsn = wal_segment_end(h.log);
    commit(&h, "b");
    hand_finish(&h);
    check_rows(&h, "b base "); /* (the tables do not really have "a") */
    hand_close(&h);
}

static void an_older_prepare_is_skipped_with_its_mark(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    h.m.log_lsn = h.m.tables_lsn = wal_segment_end(h.log);
    commit(&h, "b");
    hand_finish(&h);
    check_rows(&h, "b base ");
    hand_close(&h);
}

/* -- in doubt --------------------------------------------------------------------------------- */

static void in_doubt_at_the_end(void)
{
    static const char *const rows[] = {"a base ", "a b base "};

    for (int i = 0; i < 4; i++) {
        int sync = i & 1, boot = i >> 1;
        hand h;
        REQUIRE(hand_open(&h));
        commit(&h, "a");
        (void)prepare(&h, "b", sync ? WAL_FLAG_SYNC : 0, 0);
        hand_finish(&h);
        if (boot) new_boot(&h);
        check_rows(&h, rows[sync && boot]);
        CHECK(host_asked == 0);
        hand_close(&h);
    }
}

static void the_host_decides_at_the_end(void)
{
    for (int says = -1; says < 2; says++) {
        uint64_t lsn;
        hand h;
        REQUIRE(hand_open(&h));
        commit(&h, "a");
        lsn = prepare(&h, "b", WAL_FLAG_HOST | WAL_FLAG_SYNC, 0);
        hand_finish(&h);
        host_says = -1; /* not now: then nothing is decided */
        check_refused(&h, FKV_BUSY, "in doubt");
        CHECK(host_asked == lsn + 1);
        host_says = says == 1;
        CHECK(holds(&h, 0, says == 1 ? "a b base " : "a base ")); /* and written down */
        host_says = -1;
        check_rows(&h, says == 1 ? "a b base " : "a base ");
        hand_close(&h);
    }
}

/* Closed in order, while the host could not be asked. "Closed" must not be said of a log that then
** goes on: so the manifest is replaced first, and where that fails nothing is decided. */
static void the_host_decides_after_a_close(void)
{
    env_fault fault = {.kinds = ENV_OP_RENAME, .countdown = 1, .status = FKV_FULL};
    fkv_options o;
    fkv_store *s = NULL;
    hand h;

    REQUIRE(hand_open(&h));
    (void)prepare(&h, "a", WAL_FLAG_HOST | WAL_FLAG_SYNC, 0);
    h.m.clean_lsn = wal_segment_end(h.log);
    hand_finish(&h);
    host_says = 1;
    CHECK(holds(&h, 1, "a base "));
    o = how(&h);
    env_fault_set(h.env, &fault);
    CHECK_STATUS(fkv_open("s", &o, &s), FKV_FULL);
    CHECK(s == NULL && env_fault_fired(h.env) == 1 && strstr(fkv_errmsg(), "injected fault"));
    env_fault_set(h.env, NULL);
    host_says = -1;
    check_refused(&h, FKV_BUSY, "in doubt"); /* as before */
    host_says = 1;
    CHECK(holds(&h, 0, "a base "));
    host_says = -1;
    check_rows(&h, "a base ");
    hand_close(&h);
}

/* Rolled back without a mark, because the host might bring it back; then others came. */
static void the_host_decides_in_the_middle(void)
{
    for (int says = 0; says < 2; says++) {
        uint64_t lsn;
        hand h;
        REQUIRE(hand_open(&h));
        lsn = prepare(&h, "a", WAL_FLAG_HOST | WAL_FLAG_SYNC, 0);
        commit(&h, "b");
        hand_finish(&h);
        host_says = -1;
        check_refused(&h, FKV_BUSY, "in doubt");
        CHECK(host_asked == lsn + 1);
        host_says = says;
        check_rows(&h, says ? "a b base " : "b base ");
        hand_close(&h);
    }
}

/* -- holes ------------------------------------------------------------------------------------ */

/* Two segments; the end of the first is lost. Returns where. */
static uint64_t two_segments(hand *h, uint64_t claim)
{
    uint64_t end, lost;

    commit(h, "a");
    lost = wal_segment_end(h->log);
    commit(h, "b");
    end = wal_segment_end(h->log);
    new_segment(h, FIRST + 1, FIRST, end);
    mark(h, WAL_COMMIT, prepare(h, "c", 0, claim));
    commit(h, "d");
    return lost;
}

/* Nobody had been told that it was durable: the log ends there, and what is left is a prefix. */
static void a_hole_that_was_never_durable_ends_the_log(void)
{
    uint64_t lost;
    hand h;

    REQUIRE(hand_open(&h));
    lost = two_segments(&h, 0);
    hand_finish(&h);
    lose_from(&h, FIRST, 1000, lost);
    CHECK(holds(&h, 1, "a base "));
    CHECK(has_segment(&h, FIRST + 1)); /* who only reads removes nothing */
    check_rows(&h, "a base ");
    CHECK(!has_segment(&h, FIRST + 1));
    hand_close(&h);
}

static void a_hole_in_what_was_durable_is_damage(void)
{
    char text[160];
    uint64_t lost;
    hand h;

    REQUIRE(hand_open(&h));
    lost = two_segments(&h, 1000 + 400);
    hand_finish(&h);
    lose_from(&h, FIRST, 1000, lost);
    (void)snprintf(text, sizeof text,
                   "000100.wal: bytes that were durable are damaged at offset %d",
                   (int)(WAL_SEGMENT_HEADER + (lost - 1000)));
    check_refused(&h, FKV_CORRUPT, text);
    CHECK(has_segment(&h, FIRST + 1));
    hand_close(&h);
}

/* The rest cannot be judged if it is damaged itself. */
static void a_hole_before_damage_is_damage(void)
{
    uint64_t lost, start;
    hand h;

    REQUIRE(hand_open(&h));
    lost = two_segments(&h, 0);
    start = wal_segment_start(h.log);
    commit(&h, "e");
    (void)prepare(&h, "f", 0, wal_segment_end(h.log));
    hand_finish(&h);
    lose_from(&h, FIRST, 1000, lost);
    lose_from(&h, FIRST + 1, start, start + 8);
    check_refused(&h, FKV_CORRUPT, "000101.wal");
    hand_close(&h);
}

/* -- segments that are not there -------------------------------------------------------------- */

static void a_gap_in_the_chain(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    new_segment(&h, FIRST + 2, FIRST + 1, wal_segment_end(h.log));
    commit(&h, "b");
    hand_finish(&h);
    check_refused(&h, FKV_CORRUPT, "000101.wal: this log of the store is missing");
    hand_close(&h);
}

static void the_first_is_missing(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    h.m.log_lsn = h.m.tables_lsn = 900; /* replay would begin in front of it */
    hand_finish(&h);
    check_refused(&h, FKV_CORRUPT, "this log of the store is missing");
    hand_close(&h);

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    h.m.log_number = FIRST - 1;
    hand_finish(&h);
    check_refused(&h, FKV_CORRUPT, "000099.wal: this log of the store is missing");
    hand_close(&h);
}

static void the_last_is_missing(void)
{
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    h.m.log_tail = FIRST + 1;
    hand_finish(&h);
    check_refused(&h, FKV_CORRUPT, "000101.wal: this log of the store is missing");
    hand_close(&h);

    REQUIRE(hand_open(&h)); /* no segment at all */
    hand_finish(&h);
    CHECK_STATUS(h.disk->dir_list(h.disk, h.dir, remove_log, &h), FKV_OK);
    check_refused(&h, FKV_CORRUPT, "000100.wal: this log of the store is missing");
    hand_close(&h);
}

/* Begun and never finished: at the end that is nothing, anywhere else something is missing. */
static void empty_segments(void)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file;

    filename_wal(FIRST + 1, name);
    for (int i = 0; i < 3; i++) {
        uint64_t end;
        hand h;
        REQUIRE(hand_open(&h));
        commit(&h, "a");
        end = wal_segment_end(h.log);
        if (i == 1) {
            new_segment(&h, FIRST + 2, FIRST, end);
            commit(&h, "b");
        }
        if (i == 2) h.m.log_tail = FIRST + 1;
        hand_finish(&h);
        REQUIRE_OK(h.disk->file_open(h.disk, h.dir, name, ENV_WRITE | ENV_CREATE, &file));
        h.disk->file_close(h.disk, file);
        if (i == 0) check_rows(&h, "a base ");
        if (i == 1)
            check_refused(&h, FKV_CORRUPT, "000101.wal: this log is empty but has a successor");
        if (i == 2) check_refused(&h, FKV_CORRUPT, "000101.wal: this log has no header (offset 0)");
        hand_close(&h);
    }
}

/* Removed too late, because the process died: it is not looked at, whatever is in it. */
static void what_is_retired_is_not_read(void)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file;
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    hand_finish(&h);
    filename_wal(FIRST - 50, name);
    REQUIRE_OK(h.disk->file_open(h.disk, h.dir, name, ENV_WRITE | ENV_CREATE, &file));
    CHECK_STATUS(h.disk->file_write(h.disk, file, 0, "not a log", 9), FKV_OK);
    h.disk->file_close(h.disk, file);
    check_rows(&h, "a base ");
    CHECK(!has_segment(&h, FIRST - 50)); /* and swept away by whoever writes */
    hand_close(&h);
}

static void closed_elsewhere(void)
{
    char text[160];
    uint64_t end;
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    end = wal_segment_end(h.log);
    h.m.clean_lsn = end + 48;
    hand_finish(&h);
    (void)snprintf(
        text, sizeof text, "000100.wal: the log ends at offset %d, but the store was closed at %d",
        (int)(end - 1000 + WAL_SEGMENT_HEADER), (int)(end - 1000 + WAL_SEGMENT_HEADER + 48));
    check_refused(&h, FKV_CORRUPT, text);
    hand_close(&h);

    REQUIRE(hand_open(&h)); /* the same without any log */
    h.m.clean_lsn = 1048;
    h.m.log_tail = 0;
    hand_finish(&h);
    CHECK_STATUS(h.disk->dir_list(h.disk, h.dir, remove_log, &h), FKV_OK);
    check_refused(&h, FKV_CORRUPT,
                  "000100.wal: the log ends at offset 1064, but the store was closed");
    h.m.clean_lsn = 1000;
    hand_finish(&h);
    check_rows(&h, "base ");
    hand_close(&h);
}

/* -- no manifest ------------------------------------------------------------------------------ */

static void without_a_manifest(void)
{
    fkv_options o;
    fkv_store *s = NULL;
    env_file *file;
    hand h;

    REQUIRE(hand_open(&h));
    commit(&h, "a");
    hand_finish(&h);
    CHECK_STATUS(h.disk->file_remove(h.disk, h.dir, "manifest"), FKV_OK);
    check_refused(&h, FKV_CORRUPT, "s/manifest: the manifest is missing");
    CHECK_STATUS(h.disk->dir_list(h.disk, h.dir, remove_log, &h), FKV_OK);
    check_refused(&h, FKV_CORRUPT, "s/manifest: the manifest is missing"); /* there is a table */
    /* A backup that was cut short has tables, and no store is there yet. */
    REQUIRE_OK(h.disk->file_open(h.disk, h.dir, "manifest.next", ENV_WRITE | ENV_CREATE, &file));
    h.disk->file_close(h.disk, file);
    o = how(&h);
    CHECK_STATUS(fkv_open("s", &o, &s), FKV_NOTFOUND);
    CHECK(s == NULL);
    hand_close(&h);
}

/* -- when something fails in the middle of it -------------------------------------------------- */

/* Two segments of which the second has to go, and a transaction in doubt before the hole. */
static int much_to_do(hand *h, int tail)
{
    uint64_t end, lost;

    if (!hand_open(h)) return 0;
    commit(h, "a");
    (void)prepare(h, "b", WAL_FLAG_HOST | WAL_FLAG_SYNC, 0);
    lost = wal_segment_end(h->log);
    commit(h, "c");
    end = wal_segment_end(h->log);
    for (uint64_t i = 1; i < 12; i++) { /* more files than are expected at first */
        new_segment(h, FIRST + i, FIRST + i - 1, end);
        commit(h, "d");
        end = wal_segment_end(h->log);
    }
    h->m.next_number = FIRST + 20;
    h->m.log_tail = tail ? FIRST : 0;
    if (tail) h->m.clean_lsn = lost; /* closed in order, while the host could not be asked */
    hand_finish(h);
    lose_from(h, FIRST, 1000, lost);
    host_says = 1;
    return 1;
}

/* Whatever fails, nothing is lost and nothing comes back: whoever opens next finishes it. */
static void failures_change_nothing(void)
{
    static const int kinds[] = {ENV_OP_OPEN | ENV_OP_READ,
                                ENV_OP_WRITE,
                                ENV_OP_SYNC,
                                ENV_OP_RENAME,
                                ENV_OP_REMOVE,
                                ENV_OP_MAP};
    uint64_t failed = 0;

    for (size_t k = 0; k < 2 * (sizeof kinds / sizeof kinds[0]); k++) {
        uint64_t fired = 1;
        for (uint64_t n = 1; fired && n < 200; n += STRIDE) {
            env_fault fault = {.kinds = kinds[k / 2], .countdown = n, .status = FKV_IOERR};
            fkv_options o;
            fkv_store *s = NULL;
            fkv_status rc;
            hand h;
            REQUIRE(much_to_do(&h, (int)k & 1));
            o = how(&h);
            env_fault_set(h.env, &fault);
            rc = fkv_open("s", &o, &s);
            fired = env_fault_fired(h.env);
            env_fault_set(h.env, NULL);
            CHECK(rc == FKV_OK || (fired && s == NULL));
            if (rc && kinds[k / 2] != ENV_OP_MAP) CHECK(strstr(fkv_errmsg(), "injected fault"));
            failed += rc != FKV_OK;
            fkv_close(s);
            if (!rc) host_says = -1; /* it is decided */
            CHECK(holds(&h, 0, "a b base "));
            host_says = -1;
            check_rows(&h, "a b base ");
            CHECK(!has_segment(&h, FIRST + 1) && !has_segment(&h, FIRST + 11));
            hand_close(&h);
        }
        CHECK(!fired);
    }
    CHECK(failed > 40 / STRIDE);
}

static fkv_status (*real_list)(fkv_env *, env_dir *, fkv_status (*)(void *, const char *), void *);
static int lists_left;

static fkv_status failing_list(fkv_env *env, env_dir *dir, fkv_status (*each)(void *, const char *),
                               void *arg)
{
    if (lists_left-- == 0) return FKV_RAISEF(FKV_IOERR, "the directory cannot be listed");
    return real_list(env, dir, each, arg);
}

static void a_directory_that_cannot_be_listed(void)
{
    int failed = 0;

    for (int n = 0; n < 4; n++) {
        fkv_options o;
        fkv_store *s = NULL;
        fkv_status rc;
        hand h;
        REQUIRE(much_to_do(&h, 1));
        o = how(&h);
        real_list = h.env->dir_list;
        h.env->dir_list = failing_list;
        lists_left = n;
        rc = fkv_open("s", &o, &s);
        h.env->dir_list = real_list;
        CHECK(rc == FKV_OK || rc == FKV_IOERR);
        if (rc) CHECK(s == NULL && strcmp(fkv_errmsg(), "the directory cannot be listed") == 0);
        failed += rc != FKV_OK;
        fkv_close(s);
        check_rows(&h, "a b base ");
        hand_close(&h);
    }
    CHECK(failed >= 2); /* looking for what is there; removing what was cut off */
}

static void without_memory(void)
{
    int64_t failed = 0;
    int opened = 0;

    alloc_set_hook(&dry_heap);
    for (int64_t n = 0; !opened && n < 2000; n += STRIDE) {
        fkv_options o;
        fkv_store *s = NULL;
        fkv_status rc;
        hand h;
        heap_left = INT64_MAX;
        REQUIRE(much_to_do(&h, 1));
        o = how(&h);
        heap_left = n;
        rc = fkv_open("s", &o, &s);
        heap_left = INT64_MAX;
        CHECK(rc == FKV_OK || (rc == FKV_NOMEM && s == NULL));
        opened = rc == FKV_OK;
        failed += !opened;
        fkv_close(s);
        check_rows(&h, "a b base ");
        hand_close(&h);
    }
    CHECK(failed > 30 / STRIDE);
    alloc_set_hook(NULL);
}

TEST_MAIN("test_recovery", TEST_CASE(a_prepare_that_others_followed_is_undone),
          TEST_CASE(marks_of_others_decide_nothing),
          TEST_CASE(what_is_in_the_tables_is_not_replayed),
          TEST_CASE(an_older_prepare_is_skipped_with_its_mark), TEST_CASE(in_doubt_at_the_end),
          TEST_CASE(the_host_decides_at_the_end), TEST_CASE(the_host_decides_after_a_close),
          TEST_CASE(the_host_decides_in_the_middle),
          TEST_CASE(a_hole_that_was_never_durable_ends_the_log),
          TEST_CASE(a_hole_in_what_was_durable_is_damage),
          TEST_CASE(a_hole_before_damage_is_damage), TEST_CASE(a_gap_in_the_chain),
          TEST_CASE(the_first_is_missing), TEST_CASE(the_last_is_missing),
          TEST_CASE(empty_segments), TEST_CASE(what_is_retired_is_not_read),
          TEST_CASE(closed_elsewhere), TEST_CASE(without_a_manifest),
          TEST_CASE(failures_change_nothing), TEST_CASE(a_directory_that_cannot_be_listed),
          TEST_CASE(without_memory))
