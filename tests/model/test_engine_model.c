/*
** The engine against a plain array: random transactions with marks, rollbacks, range deletions,
** spills, flushes, compactions, reopens and power cuts, under random options; after every few steps
** gets, scans both ways, seeks and old snapshots must agree with the model.
** test-modes: release asan tsan
*/
#include "audit/env_audit.h"
#include "base/slice.h"
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { KEYS = 300, SNAPSHOTS = 6 };

typedef struct model {
    uint32_t value[KEYS]; /* 0 = absent */
} model;

typedef struct world {
    fkv_env *disk;       /* in memory, or NULL */
    fkv_options options; /* their env is audited */
    const char *path;
    fkv_store *store;
    fkv_txn *txn;
    model committed, working;
    model at_mark[64];
    uint64_t marks[64];
    int mark_count;
    int in_txn;
    fkv_snapshot *snaps[SNAPSHOTS];
    model snap_models[SNAPSHOTS];
    fkv_cursor *cursor; /* opened at some time in the past */
    model cursor_model;
    uint32_t next_value;
    int value_scale;
} world;

static fkv_slice key_of(int i, char room[32])
{
    int n = i % 3 == 0 ? snprintf(room, 32, "k%03d", i) : snprintf(room, 32, "k%03d:%d", i, i * 7);
    return fkv_slice_of(room, (size_t)n);
}

/* A value says who it is and has a length that depends on it. */
static fkv_slice value_of(const world *w, uint32_t v, char *room)
{
    size_t n = 8 + v % 97 * (size_t)w->value_scale;
    memset(room, (int)('a' + v % 26), n);
    (void)snprintf(room, 9, "%08u", v);
    room[8] = room[8] ? room[8] : 'x';
    return fkv_slice_of(room, n);
}

static char value_room[1 << 16];

static int row_matches(const world *w, const model *m, int i, fkv_slice key, fkv_slice value)
{
    char room[32];
    return slice_equal(key, key_of(i, room)) &&
           slice_equal(value, value_of(w, m->value[i], value_room));
}

static int next_present(const model *m, int i)
{
    while (i < KEYS && !m->value[i]) i++;
    return i;
}

static int prev_present(const model *m, int i)
{
    while (i >= 0 && !m->value[i]) i--;
    return i;
}

/* Walk [from, to) forward and back and compare. */
static void check_range(const world *w, fkv_cursor *c, const model *m, int from, int to)
{
    char a[32], b[32];
    int i;

    REQUIRE_OK(
        fkv_cursor_bounds(c, key_of(from, a), to < KEYS ? key_of(to, b) : fkv_slice_of(NULL, 0)));
    fkv_cursor_first(c);
    for (i = next_present(m, from); i < to; i = next_present(m, i + 1)) {
        REQUIRE(fkv_cursor_valid(c));
        REQUIRE(row_matches(w, m, i, fkv_cursor_key(c), fkv_cursor_value(c)));
        fkv_cursor_next(c);
    }
    CHECK(!fkv_cursor_valid(c));
    CHECK_STATUS(fkv_cursor_status(c), FKV_OK);
    fkv_cursor_last(c);
    for (i = prev_present(m, to - 1); i >= from; i = prev_present(m, i - 1)) {
        REQUIRE(fkv_cursor_valid(c));
        REQUIRE(row_matches(w, m, i, fkv_cursor_key(c), fkv_cursor_value(c)));
        fkv_cursor_prev(c);
    }
    CHECK(!fkv_cursor_valid(c));
}

/* Random steps to and fro, from a random seek. */
static void check_zigzag(const world *w, fkv_cursor *c, const model *m)
{
    char room[32];
    int i = (int)check_below(KEYS);

    REQUIRE_OK(fkv_cursor_bounds(c, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0)));
    fkv_cursor_seek(c, key_of(i, room));
    i = next_present(m, i);
    for (int step = 0; step < 20; step++) {
        int inside = i >= 0 && i < KEYS;
        REQUIRE(fkv_cursor_valid(c) == inside);
        if (!inside) return;
        REQUIRE(row_matches(w, m, i, fkv_cursor_key(c), fkv_cursor_value(c)));
        if (check_below(2)) {
            fkv_cursor_next(c);
            i = next_present(m, i + 1);
        } else {
            fkv_cursor_prev(c);
            i = prev_present(m, i - 1);
        }
    }
}

static void check_view(const world *w, fkv_snapshot *snap, fkv_txn *txn, const model *m)
{
    fkv_cursor *c = NULL;
    char room[32];
    int from = (int)check_below(KEYS), to = from + (int)check_below((uint64_t)(KEYS - from + 1));

    for (int n = 0; n < 25; n++) {
        int i = (int)check_below(KEYS);
        fkv_value v;
        fkv_status rc = fkv_get(snap, txn, key_of(i, room), &v);
        CHECK_STATUS(rc, m->value[i] ? FKV_OK : FKV_NOTFOUND);
        if (!rc && m->value[i]) CHECK(slice_equal(v.value, value_of(w, m->value[i], value_room)));
        fkv_value_release(&v);
    }
    REQUIRE_OK(fkv_cursor_new(snap, txn, &c));
    check_range(w, c, m, 0, KEYS);
    check_range(w, c, m, from, to);
    check_zigzag(w, c, m);
    fkv_cursor_free(c);
}

static void check_now(world *w)
{
    fkv_snapshot *snap = NULL;

    REQUIRE_OK(fkv_snapshot_new(w->store, &snap));
    check_view(w, snap, w->in_txn ? w->txn : NULL, w->in_txn ? &w->working : &w->committed);
    check_view(w, snap, NULL, &w->committed);
    fkv_snapshot_release(snap);
    for (int i = 0; i < SNAPSHOTS; i++)
        if (w->snaps[i] && check_below(4) == 0)
            check_view(w, w->snaps[i], NULL, &w->snap_models[i]);
    if (w->cursor) check_range(w, w->cursor, &w->cursor_model, 0, KEYS);
}

static void begin(world *w)
{
    if (w->in_txn) return;
    REQUIRE_OK(fkv_txn_begin(w->txn, 1000));
    w->in_txn = 1;
    w->working = w->committed;
    w->mark_count = 0;
}

static void write_something(world *w)
{
    char a[32], b[32];
    int i = (int)check_below(KEYS), j;

    begin(w);
    switch (check_below(12)) {
    case 0:
        j = i + (int)check_below(check_below(8) ? 12 : KEYS);
        if (j > KEYS - 1) j = KEYS - 1;
        REQUIRE_OK(fkv_txn_delete_range(w->txn, key_of(i, a), key_of(j, b)));
        for (; i < j; i++) w->working.value[i] = 0;
        break;
    case 1:
    case 2:
        REQUIRE_OK(fkv_txn_delete(w->txn, key_of(i, a)));
        w->working.value[i] = 0;
        break;
    default:
        w->working.value[i] = ++w->next_value;
        REQUIRE_OK(fkv_txn_put(w->txn, key_of(i, a), value_of(w, w->next_value, value_room)));
    }
}

static void mark_or_undo(world *w)
{
    int i;

    if (!w->in_txn) return;
    if (w->mark_count < 8 && check_below(2)) {
        REQUIRE_OK(fkv_txn_mark(w->txn, &w->marks[w->mark_count]));
        w->at_mark[w->mark_count++] = w->working;
    } else if (w->mark_count && check_below(2)) {
        i = (int)check_below((uint64_t)w->mark_count);
        fkv_txn_rollback_to(w->txn, w->marks[i]);
        w->working = w->at_mark[i];
        w->mark_count = i + 1;
    } else if (w->mark_count) {
        i = (int)check_below((uint64_t)w->mark_count);
        fkv_txn_release(w->txn, w->marks[i]);
        w->mark_count = i;
    }
}

static void end(world *w)
{
    if (!w->in_txn) return;
    if (check_below(6) == 0) { /* prepared, and then more: xSync may come twice */
        REQUIRE_OK(fkv_txn_prepare(w->txn, (fkv_durability)check_below(3)));
        if (check_below(2)) write_something(w);
    }
    if (check_below(5) == 0) {
        fkv_txn_rollback(w->txn);
    } else {
        REQUIRE_OK(fkv_txn_prepare(w->txn, (fkv_durability)check_below(3)));
        fkv_txn_commit(w->txn);
        w->committed = w->working;
    }
    w->in_txn = 0;
}

static void drop_readers(world *w)
{
    for (int i = 0; i < SNAPSHOTS; i++) {
        fkv_snapshot_release(w->snaps[i]);
        w->snaps[i] = NULL;
    }
    fkv_cursor_free(w->cursor);
    w->cursor = NULL;
}

static void reopen(world *w)
{
    drop_readers(w);
    if (w->in_txn) fkv_txn_rollback(w->txn);
    w->in_txn = 0;
    fkv_txn_free(w->txn);
    fkv_close(w->store);
    w->store = NULL;
    w->txn = NULL;
    REQUIRE_OK(fkv_open(w->path, &w->options, &w->store));
    REQUIRE_OK(fkv_txn_new(w->store, &w->txn));
}

static void look_back(world *w)
{
    int i = (int)check_below(SNAPSHOTS);
    fkv_snapshot *now = NULL;

    fkv_snapshot_release(w->snaps[i]);
    w->snaps[i] = NULL;
    REQUIRE_OK(fkv_snapshot_new(w->store, &w->snaps[i]));
    w->snap_models[i] = w->committed;
    if (check_below(3) == 0) {
        fkv_cursor_free(w->cursor);
        w->cursor = NULL;
        REQUIRE_OK(fkv_snapshot_new(w->store, &now));
        REQUIRE_OK(fkv_cursor_new(now, w->in_txn ? w->txn : NULL, &w->cursor));
        w->cursor_model = w->in_txn ? w->working : w->committed;
        fkv_snapshot_release(now);
    }
}

static void run(world *w, int steps)
{
    int failures = check_failures;

    if (check_below(3) == 0) fkv_keep_changes(w->store, 100000, 0); /* nobody reads them */
    for (int step = 0; step < steps && check_failures == failures; step++) {
        uint64_t dice = check_below(100);
        if (dice < 70) {
            write_something(w);
        } else if (dice < 78) {
            mark_or_undo(w);
        } else if (dice < 88) {
            end(w);
        } else if (dice < 91) {
            look_back(w);
        } else if (dice < 92 && !w->in_txn) {
            REQUIRE_OK(fkv_flush(w->store));
        } else if (dice < 93 && !w->in_txn) {
            REQUIRE_OK(fkv_compact(w->store, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0)));
        } else if (dice < 94 && check_below(3) == 0) {
            reopen(w);
        } else if (step % 4 == 0) {
            check_now(w);
        }
    }
    if (check_failures == failures) reopen(w);
    if (check_failures == failures) {
        check_now(w);
        CHECK_STATUS(fkv_verify(w->store), FKV_OK);
    }
    drop_readers(w);
    fkv_txn_free(w->txn);
    fkv_close(w->store);
}

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? atoi(given) : 1; /* lint: allow banned -- a test's knob */
    return n > 0 ? n : 1;
}

static void random_options(world *w)
{
    static const size_t memtables[] = {32768, 65536, 1 << 20};
    w->options.create = 1;
    w->options.memory_bytes = 1 << 20;
    w->options.memtable_bytes = memtables[check_below(3)];
    w->options.table_bytes = 4096 << check_below(5);
    w->options.block_bytes = 256u << check_below(5);
    w->options.bloom_bits = (uint32_t)check_below(3) * 5 + 1;
    w->options.codec = 1 + (int)check_below(2);
    w->value_scale = check_below(3) ? 1 : 20;
}

/* One thread: nothing for TSan to find, but in `make verify`. */
static int inline_rounds(void)
{
#ifdef __SANITIZE_THREAD__
    if (scale() == 1) return 2;
#endif
    return 12 * scale();
}

static void memory_store_inline(void)
{
    for (int round = 0, rounds = inline_rounds(); round < rounds; round++) {
        world w = {0};
        uint64_t seed = check_seed;
        int failures = check_failures;
        REQUIRE_OK(env_mem_new(&w.disk));
        random_options(&w);
        w.options.env = audited(w.disk);
        w.options.inline_background = 1;
        w.path = "model";
        REQUIRE_OK(fkv_open(w.path, &w.options, &w.store));
        REQUIRE_OK(fkv_txn_new(w.store, &w.txn));
        run(&w, 4000);
        if (check_failures != failures) {
            (void)printf("round %d, seed %" PRIu64 "\n", round, seed);
            return;
        }
        env_audit_free(w.options.env);
        env_mem_free(w.disk);
    }
}

static void disk_store_with_threads(void)
{
    for (int round = 0; round < 4 * scale(); round++) {
        world w = {0};
        char dir[] = "/tmp/fastkv-model-XXXXXX", path[64], command[128];
        uint64_t seed = check_seed;
        int failures = check_failures;
        REQUIRE(mkdtemp(dir) != NULL);
        (void)snprintf(path, sizeof path, "%s/store", dir);
        random_options(&w);
        w.options.env = audited(env_posix());
        w.path = path;
        REQUIRE_OK(fkv_open(w.path, &w.options, &w.store));
        REQUIRE_OK(fkv_txn_new(w.store, &w.txn));
        run(&w, 4000);
        if (check_failures != failures) {
            (void)printf("round %d, seed %" PRIu64 "\n", round, seed);
            return;
        }
        env_audit_free(w.options.env);
        (void)snprintf(command, sizeof command, "rm -rf %s", dir);
        CHECK(system(command) == 0); /* lint: allow banned -- cleaning up after a test */
    }
}

TEST_MAIN("test_engine_model", TEST_CASE(memory_store_inline), TEST_CASE(disk_store_with_threads))
