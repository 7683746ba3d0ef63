/*
** Whoever waits for a flush hears that an fsync failed in another process.
**
** The flusher saw that, and did not flush any more; but those who waited for it, for room to write
** or in fkv_flush, had looked a moment before, and nobody woke them: they waited for ever.
*/
#include "check.h"
#include "fastkv.h"
#include "io/env.h"
#include "io/filename.h"
#include "sched_util.h"
#include "store/share.h"

typedef struct scene {
    fkv_env *files, *failing, *here, *there;
    fkv_store *store, *other;
    fkv_status flushed;
} scene;

static fkv_status commit_row(fkv_store *s, fkv_durability how)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 1000);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of("k", 1), fkv_slice_of("1", 1));
    if (!rc) rc = fkv_txn_prepare(t, how);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static void flush(void *arg)
{
    scene *c = arg;

    c->flushed = fkv_flush(c->store);
}

static void play(scene *c)
{
    env_fault fault = {.kinds = ENV_OP_SYNC, .countdown = 1, .status = FKV_IOERR_SYNC};
    fkv_options o = {.create = 1};
    env_thread *thread = NULL;
    env_dir *dir = NULL;
    env_file *third = NULL;

    o.env = c->here;
    REQUIRE_OK(fkv_open("store", &o, &c->store));
    o.env = c->there;
    REQUIRE_OK(fkv_open("store", &o, &c->other));
    REQUIRE_OK(commit_row(c->other, FKV_SYNC));
    REQUIRE_OK(commit_row(c->store, FKV_NONE));
    /* Somebody else is flushing: ours waits for that. */
    REQUIRE_OK(c->files->dir_open(c->files, "store", 0, &dir));
    REQUIRE_OK(c->files->file_open(c->files, dir, FILENAME_LOCK, ENV_WRITE, &third));
    REQUIRE_OK(c->files->file_lock(c->files, third, LOCK_FLUSH, ENV_LOCK_EXCLUSIVE));
    REQUIRE_OK(c->here->thread_start(c->here, flush, c, "flush", &thread));
    c->here->sleep_us(c->here, 500 * 1000);
    env_fault_set(c->failing, &fault);
    CHECK_STATUS(commit_row(c->other, FKV_SYNC), FKV_IOERR_SYNC);
    env_fault_set(c->failing, NULL);
    c->here->thread_join(c->here, thread);
    CHECK_STATUS(c->flushed, FKV_IOERR_SYNC);
    c->files->file_close(c->files, third);
    c->files->dir_close(c->files, dir);
}

static void a_flush_is_not_waited_for(void)
{
    env_sched how = {.seed = 1, .switch_one_in = 4, .stuck = sched_stuck};

    for (; how.seed < 20; how.seed++) {
        scene c = {.flushed = FKV_OK};
        if (env_mem_new(&c.files) || env_fault_new(c.files, &c.failing) ||
            env_sched_new(c.files, &how, &c.here) || env_sched_beside(c.here, c.failing, &c.there))
            abort();
        play(&c);
        fkv_close(c.other);
        fkv_close(c.store);
        env_sched_free(c.there);
        env_sched_free(c.here);
        env_fault_free(c.failing);
        env_mem_free(c.files);
    }
}

TEST_MAIN("test_poisoned_by_other", TEST_CASE(a_flush_is_not_waited_for))
