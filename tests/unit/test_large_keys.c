/* Keys far larger than a memtable: they stand at the borders of tables, so in the manifest too. */
#include "check.h"
#include "fastkv.h"
#include "io/env.h"

static void a_large_key_survives_a_flush_and_an_open(void)
{
    size_t size = 72u << 20;
    uint8_t *key = calloc(1, size); /* lint: allow banned -- a test's own memory */
    fkv_options o = {.create = 1, .inline_background = 1};
    fkv_snapshot *snap = NULL;
    fkv_store *s = NULL;
    fkv_value v = {0};
    fkv_txn *t = NULL;

    REQUIRE(key != NULL);
    REQUIRE(env_mem_new(&o.env) == FKV_OK);
    REQUIRE(fkv_open("d", &o, &s) == FKV_OK && fkv_txn_new(s, &t) == FKV_OK);
    REQUIRE(fkv_txn_begin(t, 0) == FKV_OK);
    CHECK_STATUS(fkv_txn_put(t, fkv_slice_of(key, size), fkv_slice_of("v", 1)), FKV_OK);
    CHECK_STATUS(fkv_txn_prepare(t, FKV_SYNC), FKV_OK);
    fkv_txn_commit(t);
    fkv_txn_free(t);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    fkv_close(s);
    s = NULL;
    CHECK_STATUS(fkv_open("d", &o, &s), FKV_OK);
    REQUIRE(s && fkv_snapshot_new(s, &snap) == FKV_OK);
    CHECK_STATUS(fkv_get(snap, NULL, fkv_slice_of(key, size), &v), FKV_OK);
    CHECK(v.value.size == 1);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    fkv_close(s);
    env_mem_free(o.env);
    free(key); /* lint: allow banned -- a test's own memory */
}

TEST_MAIN("test_large_keys", TEST_CASE(a_large_key_survives_a_flush_and_an_open))
