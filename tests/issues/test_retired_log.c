/*
** A log segment that the manifest names is there.
**
** While a process replaced the manifest, another one began a segment where the log of that manifest
** ended, with nothing in between. Then the manifest named the segment before it, but by their
** positions that one was over, and it was removed: if all died before the next manifest, the store
** could not be opened, for "this log of the store is missing", and the change feed had a gap.
*/
#include "../processes/world.h"

#include "store_util.h"

typedef struct scene {
    world w;
    process flushing, writing;
    fkv_store *flushed, *written;
    int met;
} scene;

static scene *now;

static fkv_status open_as(process *p, fkv_store **out)
{
    fkv_options o = {
        .env = &p->env, .create = 1, .memtable_bytes = 1 << 20, .inline_background = 1};

    return fkv_open("store", &o, out);
}

/* The other one begins a segment and writes to it, and a reader of this process sees that. */
static fkv_status rename_and_meet(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    fkv_status rc = world_file_rename(env, dir, from, to);

    env->file_rename = world_file_rename;
    fkv_ignore(fkv_flush(now->written)); /* a segment; but not the right to replace the manifest */
    CHECK_STATUS(store_put(now->written, "b", FKV_SYNC), FKV_OK);
    CHECK(store_count(now->flushed) == 2);
    now->met = 1;
    return rc;
}

static void after_all_have_died(void)
{
    scene c = {.met = 0};
    process third;
    fkv_store *s = NULL;

    now = &c;
    world_begins(&c.w);
    process_begins(&c.flushing, &c.w);
    process_begins(&c.writing, &c.w);
    process_begins(&third, &c.w);
    CHECK_STATUS(open_as(&c.writing, &c.written), FKV_OK);
    CHECK_STATUS(open_as(&c.flushing, &c.flushed), FKV_OK);
    CHECK_STATUS(store_put(c.written, "a", FKV_SYNC), FKV_OK);
    CHECK(store_count(c.flushed) == 1);
    c.flushing.env.file_rename = rename_and_meet;
    CHECK_STATUS(fkv_flush(c.flushed), FKV_OK);
    CHECK(c.met);
    process_dies(&c.flushing);
    process_dies(&c.writing);
    CHECK_STATUS(open_as(&third, &s), FKV_OK);
    if (s) CHECK(store_count(s) == 2);
    fkv_close(s);
    fkv_close(c.flushed);
    fkv_close(c.written);
    world_ends(&c.w);
}

TEST_MAIN("test_retired_log", TEST_CASE(after_all_have_died))
