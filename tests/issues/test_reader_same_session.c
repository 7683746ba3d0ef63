/*
** Who opened the store for reading while nobody wrote to it sees what is written later.
**
** A process came to the store while another had it open, found that one gone a moment after, and
** the page in order, so it went on where that one had ended, under the same session number.
** Somebody who had opened the store for reading in that very moment, and waited for another session
** to begin, never saw what it wrote.
*/
#include "../processes/world.h"

#include "store/share.h"
#include "store_util.h"

typedef struct scene {
    world w;
    process leaving, coming, reading;
    fkv_store *left, *reader;
} scene;

static scene *now;

static fkv_status open_as(process *p, int read_only, fkv_store **out)
{
    fkv_options o = {.env = &p->env,
                     .create = !read_only,
                     .read_only = read_only,
                     .memtable_bytes = 1 << 20,
                     .inline_background = 1};

    return fkv_open("store", &o, out);
}

/* The lock cannot be had for us alone; but a moment later nobody is there. */
static fkv_status lock_in_between(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    fkv_status rc = world_file_lock(env, file, byte, mode);

    if (byte != LOCK_LIVE || mode != ENV_LOCK_EXCLUSIVE) return rc;
    CHECK_STATUS(rc, FKV_BUSY);
    env->file_lock = world_file_lock;
    fkv_close(now->left);
    now->left = NULL;
    CHECK_STATUS(open_as(&now->reading, 1, &now->reader), FKV_OK);
    CHECK(store_count(now->reader) == 1);
    return rc;
}

static void who_comes_is_seen(void)
{
    scene c = {.left = NULL};
    fkv_store *s = NULL;

    now = &c;
    world_begins(&c.w);
    process_begins(&c.leaving, &c.w);
    process_begins(&c.coming, &c.w);
    process_begins(&c.reading, &c.w);
    REQUIRE_OK(open_as(&c.leaving, 0, &c.left));
    CHECK_STATUS(store_put(c.left, "a", FKV_SYNC), FKV_OK);
    fkv_close(c.left);
    REQUIRE_OK(open_as(&c.leaving, 0, &c.left)); /* and writes nothing */
    c.coming.env.file_lock = lock_in_between;
    REQUIRE_OK(open_as(&c.coming, 0, &s));
    REQUIRE(c.reader != NULL);
    CHECK_STATUS(store_put(s, "b", FKV_SYNC), FKV_OK);
    CHECK(store_count(c.reader) == 2);
    CHECK_STATUS(store_put(s, "c", FKV_SYNC), FKV_OK);
    CHECK(store_count(c.reader) == 3);
    CHECK_STATUS(store_put(s, "d", FKV_SYNC), FKV_OK);
    fkv_close(s);
    CHECK(store_count(c.reader) == 4);
    fkv_close(c.reader);
    world_ends(&c.w);
}

TEST_MAIN("test_reader_same_session", TEST_CASE(who_comes_is_seen))
