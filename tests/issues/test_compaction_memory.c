/*
** A compaction keeps no memtables.
**
** It held the view it had begun with for as long as it took, and with that the memtables of that
** moment, flushed or not: in a long fill that was one or two more than the memory budget counts.
*/
#include <stdatomic.h>

#include "../txn/txn_util.h"
#include "base/coding.h"
#include "io/env.h"
#include "store_util.h"

enum {
    ROWS = 200000,
    EXPECTED = 3, /* the active one, one flushed a moment ago, and pages for the next */
    TRIES = 5
};

static _Atomic int compacted;

/* Memtables lie in memory that others may map, under a name of its own. */
static int mapped_memtables(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int n = 0;

    if (!maps) abort();
    while (fgets(line, sizeof line, maps)) n += strstr(line, "memfd:fastkv-memtable") != NULL;
    (void)fclose(maps);
    return n;
}

/* Two tables that lie over each other. */
static void fill(fkv_store *store, uint64_t parity)
{
    fkv_txn *t = NULL;

    REQUIRE_OK(fkv_txn_new(store, &t));
    REQUIRE_OK(fkv_txn_begin(t, 1000));
    for (uint64_t i = parity; i < ROWS; i += 2) {
        uint8_t key[8];
        put_be64(key, i);
        REQUIRE_OK(fkv_txn_put(t, fkv_slice_of(key, 8), fkv_slice_of("a value of its own", 18)));
    }
    REQUIRE_OK(fkv_txn_prepare(t, FKV_NONE));
    fkv_txn_commit(t);
    fkv_txn_free(t);
    REQUIRE_OK(fkv_flush(store));
}

static void compact(void *arg)
{
    CHECK_STATUS(fkv_compact(arg, fkv_slice_of("", 0), (fkv_slice){NULL, 0}), FKV_OK);
    atomic_store(&compacted, 1);
}

/* The most there were while it ran. *flushes: how often was that looked at? */
static int most_beside_compaction(fkv_store *store, int *flushes)
{
    fkv_env *env = env_posix();
    env_thread *thread = NULL;
    int most = 0;

    atomic_store(&compacted, 0);
    if (env->thread_start(env, compact, store, "compact", &thread)) abort();
    for (*flushes = 0; !atomic_load(&compacted); ++*flushes) {
        int now;
        CHECK_STATUS(store_put_number(store, *flushes, FKV_NONE), FKV_OK);
        CHECK_STATUS(fkv_flush(store), FKV_OK);
        now = mapped_memtables();
        if (now > most && !atomic_load(&compacted)) most = now;
    }
    env->thread_join(env, thread);
    return most;
}

static void it_keeps_no_memtables(void)
{
    char folder[PATH_ROOM];
    fkv_options o = {.create = 1, .memory_bytes = 64 << 20};
    fkv_store *store = NULL;
    int flushes = 0;

    txn_folder(folder);
    REQUIRE_OK(fkv_open(folder, &o, &store));
    for (int i = 0; i < TRIES && flushes < 5; i++) {
        fill(store, 0);
        fill(store, 1);
        CHECK(most_beside_compaction(store, &flushes) <= EXPECTED);
    }
    CHECK(flushes >= 5);
    CHECK(mapped_memtables() > 0);
    fkv_close(store);
    txn_remove(folder);
}

TEST_MAIN("test_compaction_memory", TEST_CASE(it_keeps_no_memtables))
