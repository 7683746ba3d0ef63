/*
** No two backups in one place have the same stamp.
**
** After a crash the stamp in the database tells whether the new store belongs to it. The stamp is
** the manifest's number in the directory; where the older manifest was gone or damaged it began
** anew, and could be that of the older database: then the new store was taken for its.
*/
#include "check.h"
#include "fastkv.h"
#include "io/env_mem.h"

static fkv_status put_row(fkv_store *s, const char *key)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, strlen(key)), fkv_slice_of("1", 1));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static fkv_status back_up(fkv_store *s, uint64_t older, uint64_t *stamp)
{
    fkv_backup *b = NULL;
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_backup_new(s, t, &b);
    fkv_txn_free(t);
    if (!rc) rc = fkv_backup_write(b, "copies", "store", older, stamp, NULL);
    if (!rc) rc = fkv_backup_commit(b, NULL, NULL);
    fkv_backup_free(b);
    return rc;
}

static fkv_status remove_one(void *arg, const char *name)
{
    void *const *both = arg;
    fkv_env *env = both[0];

    return env->file_remove(env, both[1], name);
}

static void is_never_used_again(void)
{
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    fkv_store *s = NULL;
    fkv_options o = {.create = 1, .inline_background = 1};
    uint64_t first = 0, second = 0;
    void *both[2];

    if (env_mem_new(&env)) abort();
    o.env = env;
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    CHECK_STATUS(put_row(s, "a"), FKV_OK);
    CHECK_STATUS(back_up(s, 0, &first), FKV_OK);
    CHECK_STATUS(put_row(s, "b"), FKV_OK);
    CHECK_STATUS(env->dir_open(env, "copies/store", 0, &dir), FKV_OK);
    both[0] = env;
    both[1] = dir;
    CHECK_STATUS(env->dir_list(env, dir, remove_one, both), FKV_OK);
    env->dir_close(env, dir);
    CHECK_STATUS(back_up(s, first, &second), FKV_OK);
    CHECK(second > first);
    fkv_close(s);
    env_mem_free(env);
}

TEST_MAIN("test_backup_stamp", TEST_CASE(is_never_used_again))
