/*
** Power cuts at every operation: what was acknowledged as durable is there, commits are lost only
** from the end, and none is found by half.
**
** A small workload runs on a memory file system under fault injection. For n = 1, 2, 3 … the nth
** operation that would change or sync a file fails, and every one after it: the machine has
** stopped. The store is closed (all it tries fails), the file system forgets what was not synced
** (once all of it, once a random part), and the store is opened again. It must equal the model
** after some commit, not older than the last one that was durable. Then it must go on working.
** The power may go again at any operation of the recovery, and once more during the next.
*/
#include "audit/env_audit.h"
#include "base/slice.h"
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { KEYS = 40, COMMITS_MAX = 64 };

/* Every cut in a plain build, every STRIDE-th under a sanitizer, with more in `make verify`. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE (scale() > 1 ? 4u : 12u)
#else
#define STRIDE 1u
#endif

typedef struct model {
    uint32_t value[KEYS];
} model;

typedef struct run {
    fkv_env *disk, *env;
    fkv_options options;      /* their env is audited */
    model after[COMMITS_MAX]; /* after[k]: what k commits leave */
    int attempted, acknowledged, durable;
    uint32_t next_value;
} run;

static uint64_t states;

static fkv_slice key_of(int i, char room[16])
{
    int n = snprintf(room, 16, "key%02d", i);
    return fkv_slice_of(room, (size_t)n);
}

static fkv_slice value_of(uint32_t v, char room[3000])
{
    size_t n = v % 7 == 0 ? 2500 : 20; /* some rows are large: batches spill, memtables fill */
    memset(room, (int)('a' + v % 26), n);
    (void)snprintf(room, 16, "%010u", v);
    return fkv_slice_of(room, n);
}

static fkv_status write_rows(run *r, fkv_txn *t, model *m)
{
    int rows = check_below(5) ? 1 + (int)check_below(6) : 40;
    fkv_status rc = FKV_OK;
    char a[16], b[16], value[3000];

    for (int i = 0; i < rows && !rc; i++) {
        int k = (int)check_below(KEYS), end = k + (int)check_below((uint64_t)(KEYS - k));
        uint64_t dice = check_below(10);
        if (dice == 0) {
            rc = fkv_txn_delete_range(t, key_of(k, a), key_of(end, b));
            for (; k < end; k++) m->value[k] = 0;
        } else if (dice < 3) {
            rc = fkv_txn_delete(t, key_of(k, a));
            m->value[k] = 0;
        } else {
            m->value[k] = ++r->next_value;
            rc = fkv_txn_put(t, key_of(k, a), value_of(r->next_value, value));
        }
    }
    return rc;
}

/* One transaction. Any failure ends the run: the power is gone. */
static fkv_status one_commit(run *r, fkv_txn *t)
{
    fkv_durability durability = (fkv_durability)check_below(3);
    model next = r->after[r->acknowledged];
    fkv_status rc = fkv_txn_begin(t, 0);
    uint64_t mark = 0;
    int synced;

    if (!rc) rc = write_rows(r, t, &next);
    if (!rc && check_below(4) == 0) {
        model thrown_away = next;
        rc = fkv_txn_mark(t, &mark);
        if (!rc) rc = write_rows(r, t, &thrown_away);
        if (!rc) fkv_txn_rollback_to(t, mark);
    }
    if (!rc && check_below(6) == 0) { /* prepared, and then rolled back after all */
        rc = fkv_txn_prepare(t, durability);
        fkv_txn_rollback(t);
        /* If the power went before an ABORT was durable the transaction is in doubt, and recovery
        ** may decide either way (recover.c). */
        if (env_fault_fired(r->env)) {
            r->attempted = r->acknowledged + 1;
            r->after[r->attempted] = next;
            rc = FKV_IOERR;
        }
        return rc;
    }
    r->attempted = r->acknowledged + 1;
    r->after[r->attempted] = next;
    /* A transaction without writes syncs nothing: it has nothing to lose. */
    synced = durability == FKV_SYNC && fkv_txn_writes(t) > 0;
    if (!rc) rc = fkv_txn_prepare(t, durability);
    if (rc) {
        fkv_txn_rollback(t);
        return rc;
    }
    fkv_txn_commit(t);
    r->acknowledged = r->attempted;
    if (synced) r->durable = r->acknowledged;
    return FKV_OK;
}

static void workload(run *r, int commits)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    fkv_status rc = fkv_open("store", &r->options, &s);

    if (!rc) rc = fkv_txn_new(s, &t);
    for (int i = 0; i < commits && !rc && r->attempted < COMMITS_MAX - 2; i++) {
        rc = one_commit(r, t);
        if (!rc && check_below(6) == 0) rc = fkv_flush(s);
        if (!rc && check_below(12) == 0)
            rc = fkv_compact(s, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0));
        if (!rc && check_below(10) == 0) {
            fkv_txn_free(t);
            fkv_close(s);
            s = NULL;
            t = NULL;
            rc = fkv_open("store", &r->options, &s);
            if (!rc) rc = fkv_txn_new(s, &t);
        }
    }
    fkv_txn_free(t);
    fkv_close(s);
}

static int matches(fkv_snapshot *snap, const model *m)
{
    char key[16], value[3000];
    fkv_cursor *c = NULL;
    int i = 0, same = fkv_cursor_new(snap, NULL, &c) == FKV_OK;

    if (!same) return 0;
    for (fkv_cursor_first(c); same && fkv_cursor_valid(c); fkv_cursor_next(c), i++) {
        while (i < KEYS && !m->value[i]) i++;
        same = i < KEYS && slice_equal(fkv_cursor_key(c), key_of(i, key)) &&
               slice_equal(fkv_cursor_value(c), value_of(m->value[i], value));
    }
    while (i < KEYS && !m->value[i]) i++;
    same = same && i == KEYS && fkv_cursor_status(c) == FKV_OK;
    fkv_cursor_free(c);
    return same;
}

/* Open after the cut. Returns the commit whose state was found, or -1. */
static int recover_and_check(run *r)
{
    fkv_snapshot *snap = NULL;
    fkv_store *s = NULL;
    int found = -1;

    CHECK_STATUS(fkv_open("store", &r->options, &s), FKV_OK);
    if (!s) return -1;
    if (fkv_snapshot_new(s, &snap) == FKV_OK)
        for (int k = r->attempted; k >= r->durable && found < 0; k--)
            if (matches(snap, &r->after[k])) found = k;
    CHECK(found >= 0);
    if (found < 0)
        (void)printf("attempted %d, acknowledged %d, durable %d\n", r->attempted, r->acknowledged,
                     r->durable);
    fkv_snapshot_release(snap);
    CHECK_STATUS(fkv_verify(s), FKV_OK);
    fkv_close(s);
    states++;
    return found;
}

/* The power goes from the nth operation on. */
static void arm(run *r, uint64_t n)
{
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = n,
                       .persistent = 1,
                       .status = FKV_IOERR,
                       .partial = (int)(n & 1)};
    env_fault_set(r->env, &fault);
}

/* Open, tidy up and flush, until the power goes again at the mth operation. 0 when it did not. */
static int recovery_cut_at(run *r, uint64_t m, uint64_t crash_seed)
{
    fkv_store *s = NULL;
    int fired;

    arm(r, m);
    if (!fkv_open("store", &r->options, &s)) fkv_ignore(fkv_flush(s));
    fkv_close(s);
    fired = env_fault_fired(r->env) > 0;
    env_fault_set(r->env, NULL);
    CHECK_STATUS(env_mem_crash(r->disk, crash_seed), FKV_OK);
    return fired;
}

/* Run with everything failing from the nth operation on, and, if m is not 0, recover with
** everything failing from the mth on. Bits: 1 if n was reached, 2 if m was. */
static int cut_at(uint64_t n, uint64_t m, uint64_t seed, uint64_t crash_seed, int commits)
{
    run *r = calloc(1, sizeof *r);
    int fired, found;

    if (!r || env_mem_new(&r->disk) || env_fault_new(r->disk, &r->env)) abort();
    r->options = (fkv_options){.env = audited(r->env),
                               .create = 1,
                               .memtable_bytes = 32768,
                               .table_bytes = 8192,
                               .block_bytes = 512,
                               .inline_background = 1};
    check_seed = seed;
    arm(r, n);
    workload(r, commits);
    fired = env_fault_fired(r->env) > 0;
    env_fault_set(r->env, NULL);
    CHECK_STATUS(env_mem_crash(r->disk, crash_seed), FKV_OK);
    if (m && recovery_cut_at(r, m, crash_seed ? crash_seed * 31 + m : 0)) {
        fired |= 2;
        (void)recovery_cut_at(r, 1 + check_below(20), crash_seed); /* and a third time */
    }
    found = recover_and_check(r);
    if (found >= 0) { /* it goes on from there, and a second look finds the same and more */
        r->after[0] = r->after[found];
        r->attempted = r->acknowledged = r->durable = 0;
        workload(r, 4);
        r->durable = r->acknowledged;
        (void)recover_and_check(r);
    }
    env_audit_free(r->options.env);
    env_fault_free(r->env);
    env_mem_free(r->disk);
    free(r); /* lint: allow banned -- a test's own memory */
    return fired;
}

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

static void cut_everywhere(int commits, int rounds)
{
    for (int round = 0; round < rounds * scale(); round++) {
        uint64_t seed = check_random();
        int failures = check_failures;
        for (uint64_t n = 1 + (uint64_t)round % STRIDE;; n += STRIDE) {
            int more = cut_at(n, 0, seed, 0, commits);
            (void)cut_at(n, 0, seed, seed + n, commits);
            if (check_failures != failures) {
                (void)printf("workload seed %" PRIu64 ", cut at operation %" PRIu64 "\n", seed, n);
                return;
            }
            if (!more) break;
        }
        check_seed = seed;
        (void)check_random();
    }
    (void)printf("%" PRIu64 " states\n", states);
}

static void small_workloads_cut_everywhere(void)
{
    cut_everywhere(3, 40);
}

static void longer_workloads_cut_everywhere(void)
{
    cut_everywhere(25, 3);
}

/* Every operation of the recovery after every cut. */
static void recovery_cut_everywhere(void)
{
    for (int round = 0; round < 8 * scale(); round++) {
        uint64_t seed = check_random();
        int failures = check_failures, fired = 1;
        for (uint64_t n = 1 + (uint64_t)round % STRIDE; fired & 1; n += STRIDE) {
            fired = 3;
            for (uint64_t m = 1; fired & 2; m++) {
                fired = cut_at(n, m, seed, m & 1 ? 0 : seed + n, 4);
                if (check_failures == failures) continue;
                (void)printf("workload seed %" PRIu64 ", cut at operation %" PRIu64
                             ", then at %" PRIu64 "\n",
                             seed, n, m);
                return;
            }
        }
        check_seed = seed;
        (void)check_random();
    }
    (void)printf("%" PRIu64 " states\n", states);
}

static void summary(void)
{
    (void)printf("POINTS power-cut states %" PRIu64 "\n", states);
}

TEST_MAIN("test_power_cut", TEST_CASE(small_workloads_cut_everywhere),
          TEST_CASE(longer_workloads_cut_everywhere), TEST_CASE(recovery_cut_everywhere),
          TEST_CASE(summary))
