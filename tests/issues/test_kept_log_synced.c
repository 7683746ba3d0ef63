/*
** A log segment that is kept for the change feed is durable when the manifest lists it.
**
** Where commits do not wait for the disk, a segment was retired as soon as its rows were in tables,
** synced or not. Kept, it was torn by a power cut, and the feed called that damage for as long as
** the segment was listed.
*/
#include "audit/env_audit.h"
#include "store_util.h"

static int count_changes(fkv_store *s, uint64_t since)
{
    fkv_changes *c = NULL;
    fkv_change change;
    int n = 0;
    fkv_status rc = fkv_changes_new(s, since, &c);

    while (!rc) {
        rc = fkv_changes_next(c, &change);
        n += !rc;
    }
    if (rc != FKV_NOTFOUND) (void)printf("%s\n", fkv_errmsg());
    fkv_changes_free(c);
    return rc == FKV_NOTFOUND ? n : -1;
}

static void after_a_power_cut(void)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE,
                           .countdown = 1,
                           .persistent = 1,
                           .status = FKV_IOERR};
        fkv_env *disk = NULL, *env = NULL;
        fkv_store *s = NULL;
        fkv_options o = {.create = 1, .inline_background = 1};

        if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
        o.env = audited(env);
        CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
        fkv_keep_changes(s, (uint64_t)1 << 30, 0);
        CHECK_STATUS(store_put_numbers(s, 0, 100, FKV_NONE), FKV_OK);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
        CHECK_STATUS(store_put_numbers(s, 100, 200, FKV_NONE), FKV_OK);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
        CHECK(count_changes(s, 0) == 200);
        env_fault_set(env, &fault);
        fkv_close(s);
        env_fault_set(env, NULL);
        CHECK_STATUS(env_mem_crash(disk, seed), FKV_OK);
        s = NULL;
        CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
        CHECK(count_changes(s, 0) == 200);
        fkv_close(s);
        env_audit_free(o.env);
        env_fault_free(env);
        env_mem_free(disk);
    }
}

TEST_MAIN("test_kept_log_synced", TEST_CASE(after_a_power_cut))
