/*
** Every operation fails once, and from once on: whatever the file system or the heap refuses, a
** call answers OK or an error, never wrong data, and nothing acknowledged is lost.
**
** Eight scenarios run on a memory file system under fault injection. For each kind of fault and n
** = 1, 2, 3 … the nth operation of that kind fails (alone, or with all that follow), until n is
** never reached. Then the fault is lifted and the store must
**   - hold exactly the acknowledged commits,
**   - take writes again at once, or, if an fsync failed, none before it is opened anew,
**   - and after a reopen (sometimes a power cut) hold the acknowledged commits and at most the one
**     whose prepare failed; verify; and go on working.
** The same scenarios run with the nth heap allocation failing. FKV_TEST_SCALE repeats all of it
** with stores of other shapes.
*/
#include "audit/env_audit.h"
#include "base/alloc.h"
#include "crash_util.h"

typedef struct world {
    fkv_env *disk, *env;
    fkv_options options; /* their env is audited */
    fkv_store *store;
    fkv_txn *txn;
    model committed; /* what was acknowledged */
    model doubtful;  /* what a failed prepare, or a mark that did not reach the disk, may leave */
    int has_doubt;
    int sync_only;      /* every commit with FKV_SYNC: a power cut may follow */
    int sync_failed;    /* a call has answered FKV_IOERR_SYNC since the last open */
    int marks_may_fail; /* writing fails for good, also into allocated space */
    int mark_failed;    /* a commit mark could not be written, twice */
    uint32_t next_value;
} world;

static int shape; /* of the stores: which round it is */
static uint64_t injections, sweeps, lost_marks, starved, full_disks;

static fkv_status note(world *w, fkv_status rc)
{
    if (rc == FKV_IOERR_SYNC) w->sync_failed = 1;
    CHECK(rc == FKV_OK || rc == FKV_NOMEM || rc == FKV_IOERR || rc == FKV_IOERR_SYNC ||
          rc == FKV_FULL);
    if (rc) CHECK(fkv_errmsg()[0] != 0);
    return rc;
}

/* A new process, so to speak: whether the doubtful transaction happened is decided now. */
static void settle_doubt(world *w)
{
    int same = 0;

    if (!w->has_doubt || crash_compare(w->store, NULL, &w->committed, &same)) return;
    if (!same) w->committed = w->doubtful;
    w->has_doubt = 0;
}

static fkv_status open_store(world *w)
{
    fkv_status rc;

    if (w->store) return FKV_OK;
    rc = note(w, fkv_open("store", &w->options, &w->store));
    if (rc) return rc;
    w->sync_failed = w->mark_failed = 0;
    settle_doubt(w);
    if (!rc && !w->txn) rc = note(w, fkv_txn_new(w->store, &w->txn));
    return rc;
}

static void close_store(world *w)
{
    fkv_txn_free(w->txn);
    fkv_close(w->store);
    w->txn = NULL;
    w->store = NULL;
}

/* The store must show the acknowledged commits and nothing else, as far as it can be read. */
static fkv_status look(world *w, fkv_txn *t, const model *m)
{
    int same = 0;
    fkv_status rc;

    if (!w->store) return FKV_OK;
    rc = note(w, crash_compare(w->store, t, m, &same));
    if (!rc || same) CHECK(same);
    if (rc) CHECK(same || rc == FKV_NOMEM);
    return rc;
}

/* -- scenarios: go on whatever fails -------------------------------------------------------- */

/* What a transaction of `rows` rows around key `at` does; a third are deletions. */
static fkv_status write_rows(world *w, model *m, int at, int rows)
{
    fkv_status rc = FKV_OK;

    for (int i = 0; i < rows && !rc; i++) {
        int k = (at + i * 5) % KEYS;
        if (i % 7 == 3) {
            rc = crash_delete_range(w->txn, m, k, k + 3 < KEYS ? k + 3 : KEYS);
        } else if (i % 5 == 4) {
            rc = crash_delete(w->txn, m, k);
        } else {
            rc = crash_put(w->txn, m, k, ++w->next_value);
        }
    }
    return note(w, rc);
}

static fkv_status finish(world *w, const model *next, fkv_durability durability)
{
    model before = w->committed;
    fkv_txn *probe = NULL;
    fkv_status rc = note(w, fkv_txn_prepare(w->txn, w->sync_only ? FKV_SYNC : durability));

    if (rc) {
        fkv_txn_rollback(w->txn);
        w->doubtful = *next;
        w->has_doubt = 1;
        return rc;
    }
    fkv_txn_commit(w->txn);
    w->committed = *next;
    w->has_doubt = 0;
    if (fkv_txn_new(w->store, &probe)) return FKV_OK;
    if (!w->sync_failed && fkv_txn_begin(probe, 0) == FKV_IOERR_SYNC) {
        /* Read-only after a commit: its mark, or the fsync of a flush behind it, has failed. */
        w->sync_failed = 1;
        w->mark_failed = w->has_doubt = w->marks_may_fail;
        w->doubtful = before;
    }
    fkv_txn_free(probe);
    return FKV_OK;
}

static fkv_status commit_rows(world *w, int at, int rows, fkv_durability durability)
{
    model next = w->committed;
    fkv_status rc;

    if (!w->store || !w->txn) return FKV_MISUSE;
    rc = note(w, fkv_txn_begin(w->txn, 0));
    if (!rc) rc = write_rows(w, &next, at, rows);
    if (rc) {
        fkv_txn_rollback(w->txn);
        return rc;
    }
    return finish(w, &next, durability);
}

static void base_rows(world *w)
{
    for (int i = 0; i < 6; i++) fkv_ignore(commit_rows(w, i * 11, 12, FKV_BACKGROUND));
}

static void do_create(world *w)
{
    if (open_store(w)) return;
    fkv_ignore(commit_rows(w, 3, 4, FKV_SYNC));
    fkv_ignore(commit_rows(w, 9, 4, FKV_NONE));
    fkv_ignore(look(w, NULL, &w->committed));
}

static void do_puts(world *w)
{
    for (int i = 0; i < 34; i++) {
        fkv_ignore(commit_rows(w, i * 7, 3, (fkv_durability)(i % 3)));
        if (i % 8 == 0) fkv_ignore(look(w, NULL, &w->committed));
    }
}

static void do_marks(world *w)
{
    for (int round = 0; round < 3; round++) {
        model next = w->committed, at_mark;
        uint64_t mark = 0;
        fkv_status rc;
        if (!w->txn || note(w, fkv_txn_begin(w->txn, 0))) return;
        rc = write_rows(w, &next, round, 4);
        at_mark = next;
        if (!rc) rc = note(w, fkv_txn_mark(w->txn, &mark));
        if (!rc) rc = write_rows(w, &next, 20, 10);
        if (!rc) {
            fkv_txn_rollback_to(w->txn, mark);
            next = at_mark;
            rc = write_rows(w, &next, 40, 3);
        }
        if (!rc) {
            fkv_ignore(look(w, w->txn, &next));
            fkv_ignore(finish(w, &next, FKV_SYNC));
        } else {
            fkv_txn_rollback(w->txn);
        }
    }
    fkv_ignore(look(w, NULL, &w->committed));
}

static void do_flush(world *w)
{
    base_rows(w);
    if (w->store) fkv_ignore(note(w, fkv_flush(w->store)));
    fkv_ignore(look(w, NULL, &w->committed));
    if (w->store) fkv_ignore(note(w, fkv_sync(w->store)));
}

static void do_compact(world *w)
{
    base_rows(w);
    if (w->store)
        fkv_ignore(note(w, fkv_compact(w->store, fkv_slice_of("", 0), fkv_slice_of(NULL, 0))));
    fkv_ignore(look(w, NULL, &w->committed));
    if (w->store) fkv_ignore(note(w, fkv_settle(w->store)));
}

static void do_scan(world *w)
{
    for (int i = 0; i < 2; i++) fkv_ignore(look(w, NULL, &w->committed));
}

static void do_reopen(world *w)
{
    close_store(w);
    if (open_store(w)) return;
    fkv_ignore(commit_rows(w, 30, 5, FKV_SYNC));
    close_store(w);
    if (open_store(w)) return;
    fkv_ignore(look(w, NULL, &w->committed));
}

static void do_spill(world *w)
{
    model next = w->committed, at_mark;
    uint64_t mark = 0;
    fkv_status rc = note(w, fkv_txn_begin(w->txn, 0));

    if (rc) return;
    for (int i = 0; i < 90 && !rc; i++) {
        rc = crash_put(w->txn, &next, i * 3 % KEYS, w->next_value = (w->next_value / 11 + 1) * 11);
        if (i == 45 && !rc) {
            at_mark = next;
            rc = fkv_txn_mark(w->txn, &mark);
        }
    }
    rc = note(w, rc);
    if (!rc) {
        fkv_ignore(look(w, w->txn, &next));
        fkv_txn_rollback_to(w->txn, mark);
        next = at_mark;
        rc = write_rows(w, &next, 40, 12);
    }
    if (!rc) {
        fkv_ignore(finish(w, &next, FKV_SYNC));
    } else {
        fkv_txn_rollback(w->txn);
    }
    fkv_ignore(look(w, NULL, &w->committed));
}

typedef struct scenario {
    const char *name;
    void (*run)(world *w);
    int has_base; /* begins with a store of some tables and a log; 2: just opened */
} scenario;

static const scenario scenarios[] = {{"create", do_create, 0},   {"puts", do_puts, 1},
                                     {"marks", do_marks, 1},     {"flush", do_flush, 1},
                                     {"compact", do_compact, 1}, {"scan", do_scan, 2},
                                     {"reopen", do_reopen, 1},   {"spill", do_spill, 1}};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* -- before and after ----------------------------------------------------------------------- */

static void make_base(world *w, const scenario *sc)
{
    if (!sc->has_base) return;
    REQUIRE_OK(open_store(w));
    base_rows(w);
    REQUIRE_OK(fkv_compact(w->store, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)));
    base_rows(w);
    REQUIRE_OK(fkv_flush(w->store));
    fkv_ignore(commit_rows(w, 5, 6, FKV_SYNC));
    if (sc->has_base == 2) {
        close_store(w);
        REQUIRE_OK(open_store(w));
    }
}

/* The faults are over. */
static void check_alive(world *w)
{
    if (!w->store) REQUIRE_OK(open_store(w));
    if (!w->txn) REQUIRE_OK(fkv_txn_new(w->store, &w->txn));
    CHECK(!fkv_txn_active(w->txn));
    CHECK_STATUS(look(w, NULL, &w->committed), FKV_OK);
    CHECK_STATUS(fkv_verify(w->store), FKV_OK);
    if (w->sync_failed) {
        CHECK_STATUS(fkv_txn_begin(w->txn, 0), FKV_IOERR_SYNC);
        fkv_txn_rollback(w->txn);
        CHECK_STATUS(fkv_flush(w->store), FKV_IOERR_SYNC);
        lost_marks += (uint64_t)w->mark_failed;
        return;
    }
    CHECK_STATUS(commit_rows(w, 17, 5, FKV_SYNC), FKV_OK);
    CHECK_STATUS(fkv_flush(w->store), FKV_OK);
    CHECK_STATUS(look(w, NULL, &w->committed), FKV_OK);
}

static void check_reopened(world *w, int cut)
{
    close_store(w);
    if (cut) CHECK_STATUS(env_mem_crash(w->disk, 0), FKV_OK);
    REQUIRE_OK(open_store(w));
    CHECK(crash_is(w->store, &w->committed));
    CHECK_STATUS(fkv_verify(w->store), FKV_OK);
    CHECK_STATUS(commit_rows(w, 1, 6, FKV_SYNC), FKV_OK);
    close_store(w);
    REQUIRE_OK(open_store(w));
    CHECK(crash_is(w->store, &w->committed));
}

static void begin_world(world *w)
{
    memset(w, 0, sizeof *w);
    if (env_mem_new(&w->disk) || env_fault_new(w->disk, &w->env)) abort();
    w->options = (fkv_options){.env = audited(w->env),
                               .create = 1,
                               .memory_bytes = 1 << 20,
                               .memtable_bytes = 32768,
                               .table_bytes = 8192,
                               .block_bytes = shape % 3 ? 512 : 2048,
                               .codec = shape % 4 == 1 ? 2 : 1,
                               .bloom_bits = (uint32_t)(shape % 5 == 2),
                               .inline_background = 1};
    w->next_value = (uint32_t)shape * 1000;
}

static void end_world(world *w)
{
    close_store(w);
    env_audit_free(w->options.env);
    env_fault_free(w->env);
    env_mem_free(w->disk);
}

/* -- files ---------------------------------------------------------------------------------- */

/* 0 when the fault was never reached. */
static int inject(const scenario *sc, const env_fault *fault, int cut)
{
    world w;
    int fired;

    begin_world(&w);
    w.sync_only = cut;
    make_base(&w, sc);
    w.marks_may_fail = fault->persistent && (fault->kinds & ENV_OP_WRITE);
    env_fault_set(w.env, fault);
    sc->run(&w);
    fired = env_fault_fired(w.env) > 0;
    env_fault_set(w.env, NULL);
    check_alive(&w);
    if (w.store) check_reopened(&w, cut);
    end_world(&w);
    injections += (uint64_t)fired;
    return fired;
}

static void sweep(const scenario *sc, const env_fault *kind)
{
    env_fault fault = *kind;
    int failures = check_failures;

    sweeps++;
    for (fault.countdown = 1;; fault.countdown += 1 + check_below(2 * STRIDE - 1)) {
        int fired = inject(sc, &fault, (int)(fault.countdown & 1));
        if (crash_scale() > 1) (void)inject(sc, &fault, (int)(~fault.countdown & 1));
        if (check_failures != failures) {
            (void)printf("  in %s: kinds %d, operation %" PRIu64 ", persistent %d, status %s,"
                         " partial %d\n",
                         sc->name, fault.kinds, fault.countdown, fault.persistent,
                         fkv_status_name(fault.status), fault.partial);
            return;
        }
        if (!fired) return;
    }
}

static void every_operation_fails(int kinds, fkv_status status, int partial)
{
    uint64_t before = injections;

    lost_marks = 0;
    for (shape = 0; shape < crash_scale(); shape++)
        for (int i = 0; i < SCENARIOS; i++)
            for (int persistent = 0; persistent < 2; persistent++) {
                env_fault kind = {kinds, 1, persistent, status, partial};
                sweep(&scenarios[i], &kind);
            }
    (void)printf("kinds %d, %s%s: %" PRIu64 " injections, %" PRIu64 " read-only after a commit\n",
                 kinds, fkv_status_name(status), partial ? ", half writes" : "",
                 injections - before, lost_marks);
}

static void reads_fail(void)
{
    every_operation_fails(ENV_OP_READ, FKV_IOERR, 0);
}

static void writes_fail(void)
{
    every_operation_fails(ENV_OP_WRITE, FKV_IOERR, 0);
    every_operation_fails(ENV_OP_WRITE, FKV_IOERR, 1);
}

static void the_disk_is_full(void)
{
    every_operation_fails(ENV_OP_WRITE, FKV_FULL, 1);
    every_operation_fails(ENV_OP_WRITE | ENV_OP_OPEN, FKV_FULL, 0);
}

static void syncs_fail(void)
{
    every_operation_fails(ENV_OP_SYNC, FKV_IOERR_SYNC, 0);
}

static void opens_renames_removals_fail(void)
{
    every_operation_fails(ENV_OP_OPEN, FKV_IOERR, 0);
    every_operation_fails(ENV_OP_RENAME, FKV_IOERR, 0);
    every_operation_fails(ENV_OP_REMOVE, FKV_IOERR, 0);
}

static void memory_and_locks_are_refused(void)
{
    every_operation_fails(ENV_OP_MAP, FKV_NOMEM, 0);
    every_operation_fails(ENV_OP_THREAD, FKV_NOMEM, 0);
}

/* -- a full disk ---------------------------------------------------------------------------- */

/* Space that a file has can be written again; more there is not. */
static fkv_env *full_disk;
static int64_t space_left;

static int take_space(fkv_env *env, env_file *f, uint64_t end)
{
    uint64_t size = 0;

    if (full_disk->file_size(env, f, &size)) return 0;
    if (end > size && space_left < (int64_t)(end - size)) return 0;
    if (end > size) space_left -= (int64_t)(end - size);
    return 1;
}

static fkv_status full_write(fkv_env *env, env_file *f, uint64_t at, const void *p, size_t n)
{
    if (take_space(env, f, at + n)) return full_disk->file_write(env, f, at, p, n);
    fkv_ignore(full_disk->file_write(env, f, at, p, n / 2));
    return FKV_RAISEF(FKV_FULL, "no space");
}

static fkv_status full_allocate(fkv_env *env, env_file *f, uint64_t at, uint64_t n)
{
    if (take_space(env, f, at + n)) return full_disk->file_allocate(env, f, at, n);
    return FKV_RAISEF(FKV_FULL, "no space");
}

/* Full disks and want of memory are sweeps of their own in `make verify`, with lower floors than
** failing operations, and cost as much each. */
static int part_of_scale(void)
{
    return (crash_scale() + 2) / 3;
}

static void space_comes_back(void)
{
    int refused = 0, readings = 0;

    for (int round = 0; round < 60 * part_of_scale(); round++) {
        int failures = check_failures;
        fkv_env env;
        world w;
        begin_world(&w);
        full_disk = w.disk;
        env = *w.disk;
        env.file_write = full_write;
        env.file_allocate = full_allocate;
        env_audit_free(w.options.env);
        w.options.env = audited(&env);
        space_left = INT64_MAX;
        make_base(&w, &scenarios[1]);
        for (int times = 0; times < 3; times++) {
            space_left = (int64_t)check_below(times ? 300000 : 1000);
            for (int i = 0; i < 60; i++)
                if (commit_rows(&w, i * 3, 8, (fkv_durability)check_below(3))) refused++;
            CHECK_STATUS(look(&w, NULL, &w.committed), FKV_OK);
            readings++;
            if (check_below(2)) close_store(&w); /* closed while full: then opened with space */
            space_left = INT64_MAX;
            CHECK_STATUS(open_store(&w), FKV_OK);
            CHECK_STATUS(look(&w, NULL, &w.committed), FKV_OK);
            CHECK_STATUS(commit_rows(&w, 2, 9, FKV_SYNC), FKV_OK);
            CHECK(!w.sync_failed);
        }
        check_alive(&w);
        if (w.store) check_reopened(&w, 0);
        end_world(&w);
        if (check_failures != failures) return;
    }
    CHECK(refused > 0);
    full_disks = (uint64_t)readings;
    (void)printf("%d full disks, %d transactions refused\n", readings, refused);
}

/* -- the heap ------------------------------------------------------------------------------- */

static struct {
    uint64_t seen, countdown;
    int persistent, fired, paused;
    int64_t alive;
} heap;

static void *heap_resize(void *ptr, size_t size)
{
    void *p;

    if (heap.countdown && !heap.paused) {
        heap.seen++;
        if (heap.seen == heap.countdown || (heap.persistent && heap.seen > heap.countdown)) {
            heap.fired = 1;
            return NULL;
        }
    }
    p = realloc(ptr, size); /* lint: allow banned -- this is the heap */
    if (!ptr && p) heap.alive++;
    return p;
}

static void heap_release(void *ptr)
{
    if (ptr) heap.alive--;
    free(ptr); /* lint: allow banned -- this is the heap */
}

/* A disk needs no heap to write or sync, so the memory file system may have what it wants then. */
static fkv_env *heap_disk;

static fkv_status calm_write(fkv_env *env, env_file *f, uint64_t at, const void *p, size_t n)
{
    fkv_status rc;
    heap.paused++;
    rc = heap_disk->file_write(env, f, at, p, n);
    heap.paused--;
    return rc;
}

static fkv_status calm_allocate(fkv_env *env, env_file *f, uint64_t at, uint64_t n)
{
    fkv_status rc;
    heap.paused++;
    rc = heap_disk->file_allocate(env, f, at, n);
    heap.paused--;
    return rc;
}

static fkv_status calm_dir_sync(fkv_env *env, env_dir *dir)
{
    fkv_status rc;
    heap.paused++;
    rc = heap_disk->dir_sync(env, dir);
    heap.paused--;
    return rc;
}

static fkv_status calm_rename(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    fkv_status rc;
    heap.paused++;
    rc = heap_disk->file_rename(env, dir, from, to);
    heap.paused--;
    return rc;
}

static fkv_status calm_remove(fkv_env *env, env_dir *dir, const char *name)
{
    fkv_status rc;
    heap.paused++;
    rc = heap_disk->file_remove(env, dir, name);
    heap.paused--;
    return rc;
}

static int starve(const scenario *sc, uint64_t n, int persistent)
{
    fkv_env env;
    world w;

    begin_world(&w);
    heap_disk = w.disk;
    env = *w.disk;
    env.file_write = calm_write;
    env.file_allocate = calm_allocate;
    env.dir_sync = calm_dir_sync;
    env.file_rename = calm_rename;
    env.file_remove = calm_remove;
    env_audit_free(w.options.env);
    w.options.env = audited(&env);
    make_base(&w, sc);
    heap.seen = 0;
    heap.countdown = n;
    heap.persistent = persistent;
    heap.fired = 0;
    sc->run(&w);
    heap.countdown = 0;
    CHECK(!w.sync_failed); /* no memory is no reason to give up writing */
    check_alive(&w);
    if (w.store) check_reopened(&w, 0);
    end_world(&w);
    injections += (uint64_t)heap.fired;
    return heap.fired;
}

static void every_allocation_fails(void)
{
    static const alloc_hook hook = {heap_resize, heap_release};
    uint64_t before = injections;

    alloc_set_hook(&hook);
    for (int j = 0; j < SCENARIOS * part_of_scale(); j++)
        for (int persistent = 0; persistent < 2; persistent++) {
            int failures = check_failures, fired = 1, i = j % SCENARIOS;
            shape = j / SCENARIOS;
            for (uint64_t n = 1; fired && check_failures == failures;
                 n += 1 + check_below(2 * STRIDE - 1)) {
                fired = starve(&scenarios[i], n, persistent);
                if (heap.alive) (void)printf("%d not freed\n", (int)heap.alive);
                CHECK(heap.alive == 0);
                if (check_failures != failures)
                    (void)printf("  in %s: allocation %" PRIu64 ", persistent %d\n",
                                 scenarios[i].name, n, persistent);
            }
            heap.alive = 0;
        }
    alloc_set_hook(NULL);
    starved = injections - before;
    (void)printf("%" PRIu64 " allocations refused\n", starved);
}

static void summary(void)
{
    (void)printf("%" PRIu64 " sweeps, %" PRIu64 " injections in all\n", sweeps, injections);
    (void)printf("POINTS io-error injections %" PRIu64 "\n", injections - starved);
    (void)printf("POINTS out-of-memory injections %" PRIu64 "\n", starved);
    (void)printf("POINTS disk-full disks %" PRIu64 "\n", full_disks);
}

TEST_MAIN("test_faults", TEST_CASE(reads_fail), TEST_CASE(writes_fail), TEST_CASE(the_disk_is_full),
          TEST_CASE(syncs_fail), TEST_CASE(opens_renames_removals_fail),
          TEST_CASE(memory_and_locks_are_refused), TEST_CASE(space_comes_back),
          TEST_CASE(every_allocation_fails), TEST_CASE(summary))
