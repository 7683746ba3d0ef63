/*
** Every history of one, two and three operations out of ten, with the power going at every file
** operation: most crash bugs of file systems need no more than that (CrashMonkey, OSDI 2018).
**
** 10 + 100 + 1,000 histories on a fresh store; after each cut the file system has lost all that
** was not synced, or a random part of it. The store must then hold what some commit left, not
** older than the last durable one, verify, and go on working. In a plain run the histories of
** three operations and the kinds of cut are sampled; FKV_TEST_SCALE above 1 takes all of them.
*/
#include "audit/env_audit.h"
#include "crash_util.h"

enum { OPERATIONS = 10, LENGTH_MAX = 3, COMMITS_MAX = 16, LARGE_ROWS = 12, SAMPLE = 10 };

typedef struct run {
    fkv_env *disk, *env;
    fkv_options options; /* their env is audited */
    fkv_store *store;
    fkv_txn *txn;
    fkv_durability durability;
    model after[COMMITS_MAX];
    int attempted, acknowledged, durable;
    uint32_t next_value;
} run;

static uint64_t states, histories;

/* -- the ten operations ------------------------------------------------------------------------ */

static fkv_status open_store(run *r)
{
    fkv_status rc = fkv_open("store", &r->options, &r->store);
    return rc ? rc : fkv_txn_new(r->store, &r->txn);
}

static void close_store(run *r)
{
    fkv_txn_free(r->txn);
    fkv_close(r->store);
    r->txn = NULL;
    r->store = NULL;
}

/* What the model holds so far, to be changed by the next commit. */
static fkv_status begin(run *r, model *next)
{
    *next = r->after[r->acknowledged];
    return fkv_txn_begin(r->txn, 0);
}

static fkv_status finish(run *r, const model *next, fkv_status rc)
{
    r->attempted = r->acknowledged + 1;
    r->after[r->attempted] = *next;
    if (!rc) rc = fkv_txn_prepare(r->txn, r->durability);
    if (rc) {
        fkv_txn_rollback(r->txn);
        return rc;
    }
    fkv_txn_commit(r->txn);
    r->acknowledged = r->attempted;
    if (r->durability == FKV_SYNC) r->durable = r->acknowledged;
    return FKV_OK;
}

static fkv_status op_put(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    if (!rc) rc = crash_put(r->txn, &next, (int)(r->acknowledged * 7 % 50), ++r->next_value);
    return finish(r, &next, rc);
}

static fkv_status op_overwrite(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    if (!rc) rc = crash_put(r->txn, &next, 60, ++r->next_value);
    return finish(r, &next, rc);
}

static fkv_status op_delete(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    if (!rc) rc = crash_delete(r->txn, &next, 60);
    if (!rc) rc = crash_put(r->txn, &next, 59, ++r->next_value);
    return finish(r, &next, rc);
}

static fkv_status op_delete_range(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    if (!rc) rc = crash_delete_range(r->txn, &next, 10, 62);
    return finish(r, &next, rc);
}

static fkv_status op_many(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    for (int i = 0; i < 6 && !rc; i++) rc = crash_put(r->txn, &next, 58 + i % 4, ++r->next_value);
    if (!rc) rc = crash_delete(r->txn, &next, 58);
    return finish(r, &next, rc);
}

static fkv_status op_savepoint(run *r)
{
    model next, kept;
    uint64_t mark = 0;
    fkv_status rc = begin(r, &next);

    if (!rc) rc = crash_put(r->txn, &next, 30, ++r->next_value);
    kept = next;
    if (!rc) rc = fkv_txn_mark(r->txn, &mark);
    if (!rc) rc = crash_delete(r->txn, &next, 60);
    if (!rc) rc = crash_put(r->txn, &next, 31, ++r->next_value);
    if (!rc) fkv_txn_rollback_to(r->txn, mark);
    return finish(r, &kept, rc);
}

static fkv_status op_flush(run *r)
{
    return fkv_flush(r->store);
}

static fkv_status op_compact(run *r)
{
    return fkv_compact(r->store, fkv_slice_of("", 0), fkv_slice_of(NULL, 0));
}

static fkv_status op_reopen(run *r)
{
    close_store(r);
    return open_store(r);
}

/* Rows that fill a memtable: it is sealed, and with it the log segment. */
static fkv_status op_fill(run *r)
{
    model next;
    fkv_status rc = begin(r, &next);

    for (int i = 0; i < LARGE_ROWS && !rc; i++)
        rc = crash_put(r->txn, &next, i * 5, r->next_value = (r->next_value / 11 + 1) * 11);
    return finish(r, &next, rc);
}

static fkv_status (*const operations[OPERATIONS])(run *) = {
    op_put,       op_overwrite, op_delete,  op_delete_range, op_many,
    op_savepoint, op_flush,     op_compact, op_reopen,       op_fill};

/* -- one cut ----------------------------------------------------------------------------------- */

static void play(run *r, int history, int length)
{
    fkv_status rc = open_store(r);

    for (int i = 0; i < length && !rc; i++) {
        rc = operations[history % OPERATIONS](r);
        history /= OPERATIONS;
    }
    close_store(r);
}

static int recover_and_check(run *r)
{
    int found = -1;

    CHECK_STATUS(open_store(r), FKV_OK);
    if (!r->store) return -1;
    for (int k = r->attempted; k >= r->durable && found < 0; k--)
        if (crash_is(r->store, &r->after[k])) found = k;
    CHECK(found >= 0);
    CHECK_STATUS(fkv_verify(r->store), FKV_OK);
    close_store(r);
    states++;
    return found;
}

/* Go on from what was found, through another life. */
static void go_on(run *r, int found)
{
    r->after[0] = r->after[found];
    r->attempted = r->acknowledged = r->durable = 0;
    r->durability = FKV_SYNC;
    CHECK_STATUS(open_store(r), FKV_OK);
    if (!r->store) return;
    CHECK_STATUS(op_overwrite(r), FKV_OK);
    CHECK_STATUS(op_flush(r), FKV_OK);
    CHECK_STATUS(op_put(r), FKV_OK);
    close_store(r);
    (void)recover_and_check(r);
}

/* 0 when there is no nth operation. */
static int cut_at(int history, int length, uint64_t n, uint64_t crash_seed, fkv_durability d)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = n,
                       .persistent = 1,
                       .status = FKV_IOERR,
                       .partial = (int)(n & 1)};
    run *r = calloc(1, sizeof *r); /* lint: allow banned -- a test's own memory */
    int fired, found;

    if (!r || env_mem_new(&r->disk) || env_fault_new(r->disk, &r->env)) abort();
    r->options = (fkv_options){.env = audited(r->env),
                               .create = 1,
                               .memtable_bytes = 32768,
                               .table_bytes = 8192,
                               .block_bytes = 512,
                               .inline_background = 1};
    r->durability = d;
    r->next_value = 1;
    env_fault_set(r->env, &fault);
    play(r, history, length);
    fired = env_fault_fired(r->env) > 0;
    env_fault_set(r->env, NULL);
    CHECK_STATUS(env_mem_crash(r->disk, crash_seed), FKV_OK);
    found = recover_and_check(r);
    if (found >= 0) go_on(r, found);
    env_audit_free(r->options.env);
    env_fault_free(r->env);
    env_mem_free(r->disk);
    free(r); /* lint: allow banned -- a test's own memory */
    return fired;
}

static void cut_everywhere(int history, int length)
{
    static const fkv_durability durabilities[] = {FKV_SYNC, FKV_NONE};
    int failures = check_failures, more = 1;

    for (uint64_t n = 1; more; n += STRIDE) {
        uint64_t seed = check_random(), only = crash_scale() > 1 ? 4 : check_below(4);
        more = 0;
        for (uint64_t way = 0; way < 4; way++)
            if (only == 4 || only == way)
                more |= cut_at(history, length, n, way & 1 ? seed : 0, durabilities[way / 2]);
        if (check_failures == failures) continue;
        (void)printf("history %0*d, cut at operation %" PRIu64 ", crash seed %" PRIu64 "\n", length,
                     history, n, seed);
        return;
    }
    histories++;
}

static void histories_of_one_and_two(void)
{
    for (int h = 0; h < OPERATIONS; h++) cut_everywhere(h, 1);
    for (int h = 0; h < OPERATIONS * OPERATIONS; h++) cut_everywhere(h, 2);
}

static void histories_of_three(void)
{
    int step = crash_scale() > 1 ? 1 : SAMPLE * STRIDE, failures = check_failures;

    for (int h = (int)check_below((uint64_t)step); h < 1000 && check_failures == failures;
         h += step)
        cut_everywhere(h, 3);
    (void)printf("POINTS short-histories histories %" PRIu64 "\n", histories);
    (void)printf("POINTS power-cut states %" PRIu64 "\n", states);
}

TEST_MAIN("test_all_short_histories", TEST_CASE(histories_of_one_and_two),
          TEST_CASE(histories_of_three))
