/*
** A manifest that knows a table newer than the store is refused.
**
** No two writes have one sequence, and of tables the one with the higher is the newer. Where the
** manifest says that the store has reached a sequence below that of its own table, under a right
** checksum, the next rows got sequences below it, and, once flushed, were hidden by what they had
** overwritten. The rows that are there can be had with fkv_recover.
*/
#include "check.h"
#include "fastkv.h"
#include "forge_util.h"

enum { TIMES = 5 };

static fkv_status put(fkv_store *s, const char *value)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of("k", 1), fkv_slice_of(value, 3));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc ? rc : fkv_flush(s);
}

static int is_value(fkv_store *s, const char *value)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    int same;

    CHECK_STATUS(fkv_snapshot_new(s, &snap), FKV_OK);
    same = fkv_get(snap, NULL, fkv_slice_of("k", 1), &v) == FKV_OK &&
           slice_equal(v.value, fkv_slice_of(value, 3));
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    return same;
}

static fkv_status make_store(fkv_env *env)
{
    fkv_options o = small_store(env);
    fkv_store *s = NULL;
    fkv_status rc = fkv_open("s", &o, &s);

    for (int i = 0; !rc && i < TIMES; i++) rc = put(s, "old");
    fkv_close(s);
    return rc;
}

static void lower_sequence(void *arg, manifest *m, version *v)
{
    (void)arg;
    (void)v;
    m->last_seq = 1;
}

static void refused_and_recovered(void)
{
    fkv_env *env = NULL;
    fkv_store *s = NULL;
    fkv_options o;
    fkv_status rc;

    REQUIRE_OK(env_mem_new(&env));
    o = small_store(env);
    REQUIRE_OK(make_store(env));
    REQUIRE_OK(forge_manifest(env, lower_sequence, NULL));
    rc = fkv_open("s", &o, &s);
    CHECK_STATUS(rc, FKV_CORRUPT);
    CHECK(strstr(fkv_errmsg(), "manifest: table "));
    if (!rc) { /* what came of it */
        CHECK_STATUS(put(s, "new"), FKV_OK);
        CHECK(is_value(s, "new"));
        fkv_close(s);
    }
    REQUIRE_OK(fkv_recover("s", "saved", &(fkv_salvage){.env = env}));
    REQUIRE_OK(fkv_open("saved", &o, &s));
    CHECK(is_value(s, "old"));
    CHECK_STATUS(put(s, "new"), FKV_OK);
    CHECK(is_value(s, "new"));
    fkv_close(s);
    env_mem_free(env);
}

TEST_MAIN("test_tables_too_new", TEST_CASE(refused_and_recovered))
