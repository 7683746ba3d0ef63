/*
** Eight threads on one store, through the engine's own interface: many operations, little around
** them, so that ThreadSanitizer sees as many meetings as possible.
**
** Rows come in groups whose members are always written together, with the number of their
** transaction, which also stands in a row of its own; numbers are given out while the right to
** write is held, so they rise from commit to commit. Whoever takes a snapshot must find every
** group whole and of one number, none above the number of the snapshot, and that never below one
** seen before.
**
**   writers   put, delete or clear and put a group; some roll back, or back to a mark
**   readers   rows by their keys; all rows, forwards and backwards
**   upkeep    flushes and compactions, beside those that the tiny memtables cause
**
** Operations are calls that read or write a row: fkv_get, fkv_txn_put, _delete, _delete_range, and
** steps of a cursor. Under ThreadSanitizer they count for `make verify`, at FKV_TEST_SCALE=25.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/slice.h"
#include "txn/txn_util.h"

#include "fastkv.h"

enum { GROUPS = 48, MEMBERS = 6, WRITERS = 3, READERS = 4, THREADS = WRITERS + READERS + 1 };
enum { OPERATIONS = 100000, OPERATIONS_PER_COMMIT = 100, KEY = 16, VALUE = 512, WAIT_MS = 20000 };

typedef struct crew {
    fkv_store *store;
    _Atomic uint64_t operations, wanted;
    _Atomic uint64_t version; /* given out last; changed by who may write */
    _Atomic int complaints;
} crew;

typedef struct worker {
    crew *at;
    pthread_t thread;
    uint64_t seed, done, committed, seen;
    int id;
} worker;

#define WANT(w, condition) ((condition) ? 1 : complain((w), __LINE__, #condition, fkv_errmsg()))

static int complain(worker *w, int line, const char *what, const char *error)
{
    if (atomic_fetch_add(&w->at->complaints, 1) < 20)
        (void)printf("%s:%d: thread %d: not so: %s (%s)\n", __FILE__, line, w->id, what, error);
    return 0;
}

static uint64_t dice(worker *w, uint64_t n)
{
    w->seed ^= w->seed << 13, w->seed ^= w->seed >> 7, w->seed ^= w->seed << 17;
    return w->seed % n;
}

static int goes_on(const worker *w)
{
    const crew *at = w->at;

    /* (Readers are quick while there is little to read.) */
    return !atomic_load(&at->complaints) &&
           (atomic_load(&at->operations) < atomic_load(&at->wanted) ||
            atomic_load(&at->version) < atomic_load(&at->wanted) / OPERATIONS_PER_COMMIT);
}

static void count(worker *w, uint64_t n)
{
    w->done += n;
    atomic_fetch_add(&w->at->operations, n);
}

static fkv_slice key_of(uint64_t g, int i, char room[KEY])
{
    return fkv_slice_of(room, (size_t)snprintf(room, KEY, "g%03d-%d", (int)g, i));
}

static fkv_slice value_of(uint64_t version, char room[VALUE])
{
    size_t size = 20 + version * 31 % (VALUE - 20);

    memset(room, (int)('a' + version % 26), size);
    (void)snprintf(room, 20, "%019" PRIu64, version);
    return fkv_slice_of(room, size);
}

/* The transaction that wrote a value, 0 if it is not as that one wrote it. */
static uint64_t version_of(fkv_slice value)
{
    char room[VALUE], digits[20] = {0};
    uint64_t version;

    if (value.size < 20) return 0;
    memcpy(digits, value.data, 19);
    version = strtoull(digits, NULL, 10);
    return slice_equal(value, value_of(version, room)) ? version : 0;
}

/* -- writers ---------------------------------------------------------------------------------- */

static int write_group(worker *w, fkv_txn *t, uint64_t g, uint64_t version)
{
    char from[KEY], to[KEY], value[VALUE];
    uint64_t how = dice(w, 8);

    if (how == 0) {
        if (!WANT(w, !fkv_txn_delete_range(t, key_of(g, 0, from), key_of(g, MEMBERS, to))))
            return 0;
        count(w, 1);
    }
    for (int i = 0; i < MEMBERS; i++) {
        fkv_slice key = key_of(g, i, from);
        if (!WANT(w, !(how == 1 ? fkv_txn_delete(t, key)
                                : fkv_txn_put(t, key, value_of(version, value)))))
            return 0;
    }
    count(w, MEMBERS);
    return 1;
}

/* Own writes are seen, those of nobody else. */
static int reads_own(worker *w, fkv_txn *t, uint64_t version)
{
    fkv_snapshot *snap = NULL;
    fkv_value v;
    int well;

    if (!WANT(w, !fkv_snapshot_new(w->at->store, &snap))) return 0;
    well = WANT(w, !fkv_get(snap, t, fkv_slice_of("version", 7), &v)) &&
           WANT(w, version_of(v.value) == version);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    count(w, 1);
    return well;
}

static int transaction(worker *w, fkv_txn *t)
{
    char value[VALUE];
    uint64_t mark = 0, before, version;

    if (!WANT(w, !fkv_txn_begin(t, WAIT_MS))) return 0;
    before = atomic_load(&w->at->version);
    version = before + 1;
    if (!WANT(w, !fkv_txn_put(t, fkv_slice_of("version", 7), value_of(version, value)))) return 0;
    if (!write_group(w, t, dice(w, GROUPS), version)) return 0;
    if (dice(w, 4) == 0) {
        if (!WANT(w, !fkv_txn_mark(t, &mark)) || !write_group(w, t, dice(w, GROUPS), 1)) return 0;
        fkv_txn_rollback_to(t, mark);
    }
    if (!reads_own(w, t, version)) return 0;
    if (dice(w, 8) == 0) {
        fkv_txn_rollback(t);
        return 1;
    }
    if (!WANT(w, !fkv_txn_prepare(t, dice(w, 50) ? FKV_NONE : FKV_BACKGROUND))) return 0;
    atomic_store(&w->at->version, version);
    fkv_txn_commit(t);
    w->committed++;
    return 1;
}

static void *writer_main(void *arg)
{
    worker *w = arg;
    fkv_txn *t = NULL;

    if (WANT(w, !fkv_txn_new(w->at->store, &t)))
        while (goes_on(w) && transaction(w, t)) {}
    fkv_txn_free(t);
    return NULL;
}

/* -- readers ---------------------------------------------------------------------------------- */

/* The number of a row by its key; 0 if it is not there, UINT64_MAX after a complaint. */
static uint64_t read_row(worker *w, fkv_snapshot *snap, fkv_slice key)
{
    uint64_t version = 0;
    fkv_value v;
    fkv_status rc = fkv_get(snap, NULL, key, &v);

    if (rc == FKV_OK) {
        version = version_of(v.value);
        if (!WANT(w, version != 0)) version = UINT64_MAX;
    } else if (!WANT(w, rc == FKV_NOTFOUND)) {
        version = UINT64_MAX;
    }
    fkv_value_release(&v);
    count(w, 1);
    return version;
}

static int look_at_groups(worker *w, fkv_snapshot *snap, uint64_t version)
{
    for (int n = 0; n < 8; n++) {
        uint64_t g = dice(w, GROUPS), first = 0;
        for (int i = 0; i < MEMBERS; i++) {
            char room[KEY];
            uint64_t got = read_row(w, snap, key_of(g, i, room));
            if (i == 0) first = got;
            if (got == UINT64_MAX || !WANT(w, got == first && got <= version)) return 0;
        }
    }
    return 1;
}

/* All rows: every group has all its members or none. */
static int look_at_all(worker *w, fkv_snapshot *snap, uint64_t version)
{
    uint64_t of[GROUPS] = {0}, rows = 0;
    int members[GROUPS] = {0}, back = (int)dice(w, 2), well = 1;
    fkv_cursor *c = NULL;

    if (!WANT(w, !fkv_cursor_new(snap, NULL, &c))) return 0;
    for (back ? fkv_cursor_last(c) : fkv_cursor_first(c); well && fkv_cursor_valid(c);
         back ? fkv_cursor_prev(c) : fkv_cursor_next(c), rows++) {
        fkv_slice key = fkv_cursor_key(c);
        uint64_t got = version_of(fkv_cursor_value(c)), g;
        if (key.data[0] != 'g') continue;
        g = (uint64_t)(key.data[1] - '0') * 100 + (uint64_t)(key.data[2] - '0') * 10 +
            (uint64_t)(key.data[3] - '0');
        well = WANT(w, g < GROUPS) && WANT(w, got && got <= version) &&
               WANT(w, members[g] == 0 || of[g] == got);
        if (!well) break;
        of[g] = got;
        members[g]++;
    }
    well = well && WANT(w, fkv_cursor_status(c) == FKV_OK);
    for (int g = 0; well && g < GROUPS; g++)
        well = WANT(w, members[g] == 0 || members[g] == MEMBERS);
    fkv_cursor_free(c);
    count(w, rows);
    return well;
}

static int look(worker *w)
{
    fkv_snapshot *snap = NULL;
    uint64_t version;
    int well;

    if (!WANT(w, !fkv_snapshot_new(w->at->store, &snap))) return 0;
    version = read_row(w, snap, fkv_slice_of("version", 7));
    well = version != UINT64_MAX && WANT(w, version >= w->seen) &&
           (dice(w, 3) ? look_at_groups(w, snap, version) : look_at_all(w, snap, version));
    w->seen = version;
    fkv_snapshot_release(snap);
    return well;
}

static void *reader_main(void *arg)
{
    worker *w = arg;

    while (goes_on(w) && look(w)) {}
    return NULL;
}

static void *upkeep_main(void *arg)
{
    worker *w = arg;
    char from[KEY], to[KEY];

    while (goes_on(w)) {
        uint64_t g = dice(w, GROUPS);
        fkv_status rc = dice(w, 3) ? fkv_flush(w->at->store)
                                   : fkv_compact(w->at->store, key_of(g, 0, from),
                                                 key_of(g + dice(w, GROUPS), MEMBERS, to));
        if (!WANT(w, rc == FKV_OK)) break;
        w->done++;
        (void)usleep(1000 + (useconds_t)dice(w, 20000));
    }
    return NULL;
}

/* -- all of them ------------------------------------------------------------------------------ */

static void run_crew(crew *at, uint64_t wanted)
{
    worker all[THREADS];
    uint64_t committed = 0;

    atomic_store(&at->wanted, wanted);
    for (int i = 0; i < THREADS; i++) {
        void *(*const be)(void *) = i < WRITERS             ? writer_main
                                    : i < WRITERS + READERS ? reader_main
                                                            : upkeep_main;
        all[i] = (worker){.at = at, .seed = check_random() | 1, .id = i};
        if (pthread_create(&all[i].thread, NULL, be, &all[i])) exit(2);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(all[i].thread, NULL) == 0);
        CHECK(all[i].done > 0);
        CHECK(i >= WRITERS || all[i].committed > 0);
        committed += all[i].committed;
    }
    CHECK(committed == atomic_load(&at->version));
    (void)printf("%" PRIu64 " operations, %" PRIu64 " commits, %" PRIu64 " orders\n",
                 atomic_load(&at->operations), committed, all[THREADS - 1].done);
}

static void every_group_is_whole(void)
{
    fkv_options o = {.create = 1, .memory_bytes = 1 << 20, .memtable_bytes = 65536};
    crew at = {.version = 0};
    char folder[PATH_ROOM], path[PATH_ROOM + 8];
    worker last = {.at = &at, .seed = 1};

    o.table_bytes = 32768;
    o.block_bytes = 1024;
    txn_folder(folder);
    (void)snprintf(path, sizeof path, "%s/store", folder);
    REQUIRE_OK(fkv_open(path, &o, &at.store));
    run_crew(&at, (uint64_t)OPERATIONS * (uint64_t)txn_scale());
    last.seen = atomic_load(&at.version);
    CHECK(look(&last));
    CHECK_STATUS(fkv_verify(at.store), FKV_OK);
    fkv_close(at.store);
    at.store = NULL;
    CHECK(atomic_load(&at.complaints) == 0);
#ifdef __SANITIZE_THREAD__
    (void)printf("POINTS tsan operations %" PRIu64 "\n", atomic_load(&at.operations));
#endif
    txn_remove(folder);
}

TEST_MAIN("test_operations", TEST_CASE(every_group_is_whole))
