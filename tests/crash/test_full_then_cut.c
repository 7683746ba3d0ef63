/*
** The disk is full for one write, and a little later the power goes: what was acknowledged is
** there, and the store opens. (A log segment whose making had failed was removed, and after the
** cut stood in the chain again.)
*/
#include <inttypes.h>

#include "audit/env_audit.h"
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

enum { COMMITS = 200, VALUE_BYTES = 3000 };

typedef struct run {
    fkv_env *disk, *env;
    fkv_options options; /* their env is audited */
    uint32_t acknowledged;
} run;

static fkv_status one_commit(fkv_txn *t, uint32_t n)
{
    static const char value[VALUE_BYTES];
    fkv_status rc = fkv_txn_begin(t, 0);

    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(&n, sizeof n), fkv_slice_of(value, sizeof value));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (rc) {
        fkv_txn_rollback(t);
    } else {
        fkv_txn_commit(t);
    }
    return rc;
}

/* Commit until the power has gone: `cut` operations after the disk was full at its nth write. */
static void commits(run *r, uint64_t full_at, uint64_t cut_after)
{
    env_fault full = {.kinds = ENV_OP_WRITE, .countdown = full_at, .status = FKV_FULL};
    env_fault cut = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                              ENV_OP_REMOVE,
                     .countdown = cut_after,
                     .persistent = 1,
                     .status = FKV_IOERR};
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    int armed = 0;

    REQUIRE(fkv_open("d", &r->options, &s) == FKV_OK && fkv_txn_new(s, &t) == FKV_OK);
    env_fault_set(r->env, &full);
    for (uint32_t n = 1; n < COMMITS; n++) {
        fkv_status rc = one_commit(t, n);
        if (!rc) r->acknowledged = n;
        if (rc && armed && env_fault_fired(r->env)) break;
        if (!armed && env_fault_fired(r->env)) {
            env_fault_set(r->env, &cut);
            armed = 1;
        }
    }
    fkv_txn_free(t);
    fkv_close(s);
    env_fault_set(r->env, NULL);
}

static void check_after(run *r)
{
    fkv_snapshot *snap = NULL;
    fkv_store *s = NULL;
    fkv_value v = {0};
    fkv_status rc;

    r->options.create = 0;
    rc = fkv_open("d", &r->options, &s);
    if (rc == FKV_NOTFOUND && r->acknowledged == 0) return;
    CHECK_STATUS(rc, FKV_OK);
    if (rc) return;
    CHECK_STATUS(fkv_snapshot_new(s, &snap), FKV_OK);
    if (snap && r->acknowledged) {
        rc = fkv_get(snap, NULL, fkv_slice_of(&r->acknowledged, sizeof r->acknowledged), &v);
        CHECK_STATUS(rc, FKV_OK);
        fkv_value_release(&v);
    }
    fkv_snapshot_release(snap);
    CHECK_STATUS(fkv_verify(s), FKV_OK);
    fkv_close(s);
}

static void full_then_cut(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int rounds = 1500 * (given ? atoi(given) : 1);

    for (int i = 0; i < rounds && !check_failures; i++) {
        uint64_t full_at = 1 + check_below(100), cut = 1 + check_below(12);
        uint64_t seed = check_random() & 0xffff;
        run r = {0};
        REQUIRE(env_mem_new(&r.disk) == FKV_OK && env_fault_new(r.disk, &r.env) == FKV_OK);
        r.options = (fkv_options){
            .env = audited(r.env), .create = 1, .inline_background = 1, .memtable_bytes = 1 << 16};
        commits(&r, full_at, cut);
        CHECK_STATUS(env_mem_crash(r.disk, seed), FKV_OK);
        check_after(&r);
        if (check_failures)
            (void)printf("full at %" PRIu64 ", cut after %" PRIu64 ", crash seed %" PRIu64 "\n",
                         full_at, cut, seed);
        env_audit_free(r.options.env);
        env_fault_free(r.env);
        env_mem_free(r.disk);
    }
    (void)printf("POINTS power-cut states %d\n", rounds);
}

TEST_MAIN("test_full_then_cut", TEST_CASE(full_then_cut))
