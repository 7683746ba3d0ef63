/*
** The tables of a spilled transaction go when its ABORT is durable, not before.
**
** COMMIT was refused after the store had prepared the transaction, and a part of it was rolled back
** to a savepoint. With the next COMMIT the tables of that part were removed, and then the log was
** told that what was prepared first does not count. A power cut in between left a PREPARE that
** recovery takes for committed, and that names tables which are gone: a store that is damaged. The
** same where the ABORT could not be written.
*/
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { ROWS = 24, VALUE_BYTES = 2000, CUTS = 6 };

typedef struct scene {
    fkv_env *disk, *env;
    fkv_options options;
    fkv_store *store;
    fkv_txn *txn;
} scene;

static void open_store(scene *c)
{
    CHECK_STATUS(fkv_open("s", &c->options, &c->store), FKV_OK);
    if (c->store) CHECK_STATUS(fkv_txn_new(c->store, &c->txn), FKV_OK);
}

static void close_store(scene *c)
{
    fkv_txn_free(c->txn);
    fkv_close(c->store);
    c->txn = NULL;
    c->store = NULL;
}

static void put(scene *c, char space)
{
    static const char value[VALUE_BYTES];
    char key[16];

    for (int i = 0; i < ROWS; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "%c%03d", space, i);
        CHECK_STATUS(fkv_txn_put(c->txn, fkv_slice_of(key, n), fkv_slice_of(value, sizeof value)),
                     FKV_OK);
    }
}

static void check_rows(scene *c)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *cursor = NULL;
    int n = 0;

    REQUIRE_OK(fkv_snapshot_new(c->store, &snap));
    REQUIRE_OK(fkv_cursor_new(snap, NULL, &cursor));
    for (fkv_cursor_first(cursor); fkv_cursor_valid(cursor); fkv_cursor_next(cursor)) n++;
    CHECK_STATUS(fkv_cursor_status(cursor), FKV_OK);
    CHECK(n == 0 || n == ROWS || n == 2 * ROWS);
    fkv_cursor_free(cursor);
    fkv_snapshot_release(snap);
}

/* The nth operation after ROLLBACK TO fails; the power, too, at_once or after the end of the
** transaction. 0: there are not as many. */
static int one_cut(uint64_t n, int at_once, uint64_t seed)
{
    env_fault power = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = n,
                       .persistent = at_once,
                       .status = FKV_IOERR};
    scene c = {0};
    uint64_t mark;
    int fired;

    if (env_mem_new(&c.disk) || env_fault_new(c.disk, &c.env)) abort();
    c.options = (fkv_options){.env = c.env,
                              .create = 1,
                              .codec = 1, /* none */
                              .memtable_bytes = 32768,
                              .memory_bytes = 1 << 20,
                              .inline_background = 1};
    open_store(&c);
    CHECK_STATUS(fkv_txn_begin(c.txn, 0), FKV_OK);
    put(&c, 'a');
    CHECK_STATUS(fkv_txn_mark(c.txn, &mark), FKV_OK);
    put(&c, 'b');
    CHECK_STATUS(fkv_txn_prepare(c.txn, FKV_SYNC), FKV_OK);
    env_fault_set(c.env, &power);
    fkv_txn_rollback_to(c.txn, mark);
    if (!fkv_txn_prepare(c.txn, FKV_SYNC)) fkv_txn_commit(c.txn);
    fkv_txn_rollback(c.txn);
    fired = env_fault_fired(c.env) > 0;
    power.countdown = 1;
    power.persistent = 1;
    env_fault_set(c.env, &power);
    close_store(&c);
    env_fault_set(c.env, NULL);
    CHECK_STATUS(env_mem_crash(c.disk, seed), FKV_OK);
    open_store(&c);
    if (c.store) check_rows(&c);
    close_store(&c);
    env_fault_free(c.env);
    env_mem_free(c.disk);
    return fired;
}

static void cut_everywhere(int at_once)
{
    uint64_t n = 1;
    int failures = check_failures;

    for (int more = 1; more && failures == check_failures; n++)
        for (int i = 0; i < CUTS; i++) more = one_cut(n, at_once, i ? check_random() : 0);
    CHECK(n > 5);
}

static void a_part_is_rolled_back(void)
{
    cut_everywhere(1);
}

static void it_cannot_be_told(void)
{
    cut_everywhere(0);
}

TEST_MAIN("test_abort_before_removal", TEST_CASE(a_part_is_rolled_back),
          TEST_CASE(it_cannot_be_told))
