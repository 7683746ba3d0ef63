/*
** After a power cut, what is written next is newer than every table there is.
**
** A spilled transaction becomes tables at once, while the memtable of that moment keeps its old
** base sequence. A manifest written after the next, unsynced commit named that base as the last
** sequence: when the power cut took that commit, sequences began again below those of the spilled
** tables, and a flush of new writes was taken for older than they are.
*/
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { SPILLED = 24, LAST = SPILLED - 1, VALUE_BYTES = 2000 };

typedef struct world {
    fkv_env *disk, *env;
    fkv_options options;
    fkv_store *store;
    fkv_txn *txn;
} world;

static void open_store(world *w)
{
    CHECK_STATUS(fkv_open("s", &w->options, &w->store), FKV_OK);
    if (w->store) CHECK_STATUS(fkv_txn_new(w->store, &w->txn), FKV_OK);
}

static void close_store(world *w)
{
    fkv_txn_free(w->txn);
    fkv_close(w->store);
    w->txn = NULL;
    w->store = NULL;
}

static fkv_slice key_of(char room[16], char space, int i)
{
    return fkv_slice_of(room, (size_t)snprintf(room, 16, "%c%03d", space, i));
}

/* Put `count` rows from the `first` on, and prepare. */
static void put(world *w, char space, int first, int count, size_t size, char fill,
                fkv_durability durability)
{
    static char value[VALUE_BYTES];
    char key[16];

    memset(value, fill, sizeof value);
    CHECK_STATUS(fkv_txn_begin(w->txn, 0), FKV_OK);
    for (int i = first; i < first + count; i++)
        CHECK_STATUS(fkv_txn_put(w->txn, key_of(key, space, i), fkv_slice_of(value, size)), FKV_OK);
    CHECK_STATUS(fkv_txn_prepare(w->txn, durability), FKV_OK);
}

static void check_value(world *w, char space, int i, char fill)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    char key[16];

    REQUIRE_OK(fkv_snapshot_new(w->store, &snap));
    CHECK_STATUS(fkv_get(snap, NULL, key_of(key, space, i), &v), FKV_OK);
    CHECK(v.value.size && v.value.data[0] == (uint8_t)fill);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
}

static void new_writes_are_newer(void)
{
    env_fault no_tables = {
        .kinds = ENV_OP_OPEN, .countdown = 1, .persistent = 1, .status = FKV_IOERR};
    env_fault power = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = 1,
                       .persistent = 1,
                       .status = FKV_IOERR};
    fkv_stats stats;
    world w = {0};

    REQUIRE_OK(env_mem_new(&w.disk));
    REQUIRE_OK(env_fault_new(w.disk, &w.env));
    w.options = (fkv_options){.env = w.env,
                              .create = 1,
                              .codec = 1, /* none */
                              .memtable_bytes = 32768,
                              .memory_bytes = 1 << 20,
                              .inline_background = 1};
    open_store(&w);
    REQUIRE(w.store && w.txn);
    for (int n = 0; n < 3; n++) { /* level 0 is nearly due */
        put(&w, 'a', 0, 5, 20, 'a', FKV_SYNC);
        fkv_txn_commit(w.txn);
        CHECK_STATUS(fkv_flush(w.store), FKV_OK);
    }
    put(&w, 'z', 0, SPILLED, VALUE_BYTES, 'o', FKV_SYNC);
    env_fault_set(w.env, &no_tables); /* the compaction that is due now has to wait */
    fkv_txn_commit(w.txn);
    env_fault_set(w.env, NULL);
    put(&w, 'm', 0, 1, 20, 'm', FKV_NONE);
    fkv_txn_commit(w.txn); /* and happens here */
    fkv_stats_read(w.store, &stats);
    CHECK(stats.compactions > 0 && stats.level_files[0] > 0);
    env_fault_set(w.env, &power);
    close_store(&w);
    env_fault_set(w.env, NULL);
    CHECK_STATUS(env_mem_crash(w.disk, 0), FKV_OK);
    open_store(&w);
    REQUIRE(w.store && w.txn);
    check_value(&w, 'z', LAST, 'o');
    put(&w, 'z', LAST, 1, 20, 'n', FKV_SYNC);
    fkv_txn_commit(w.txn);
    check_value(&w, 'z', LAST, 'n');
    CHECK_STATUS(fkv_flush(w.store), FKV_OK);
    check_value(&w, 'z', LAST, 'n');
    close_store(&w);
    env_fault_free(w.env);
    env_mem_free(w.disk);
}

TEST_MAIN("test_age_after_cut", TEST_CASE(new_writes_are_newer))
