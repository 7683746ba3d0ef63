/*
** A log segment that the manifest names is there.
**
** While a process replaced the manifest, another one began a segment where the log of that manifest
** ended, with nothing in between. Then the manifest named the segment before it, but by their
** positions that one was over, and it was removed: if all died before the next manifest, the store
** could not be opened, for "this log of the store is missing", and the change feed had a gap.
*/
#include "../processes/world.h"

#include "fastkv.h"

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

static fkv_status commit_row(fkv_store *s, const char *key)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, 1), fkv_slice_of("1", 1));
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static int count_rows(fkv_store *s)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    int n = 0;

    if (fkv_snapshot_new(s, &snap) || fkv_cursor_new(snap, NULL, &c)) abort();
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return n;
}

/* The other one begins a segment and writes to it, and a reader of this process sees that. */
static fkv_status rename_and_meet(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    fkv_status rc = world_file_rename(env, dir, from, to);

    env->file_rename = world_file_rename;
    fkv_ignore(fkv_flush(now->written)); /* a segment; but not the right to replace the manifest */
    CHECK_STATUS(commit_row(now->written, "b"), FKV_OK);
    CHECK(count_rows(now->flushed) == 2);
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
    CHECK_STATUS(commit_row(c.written, "a"), FKV_OK);
    CHECK(count_rows(c.flushed) == 1);
    c.flushing.env.file_rename = rename_and_meet;
    CHECK_STATUS(fkv_flush(c.flushed), FKV_OK);
    CHECK(c.met);
    process_dies(&c.flushing);
    process_dies(&c.writing);
    CHECK_STATUS(open_as(&third, &s), FKV_OK);
    if (s) CHECK(count_rows(s) == 2);
    fkv_close(s);
    fkv_close(c.flushed);
    fkv_close(c.written);
    world_ends(&c.w);
}

TEST_MAIN("test_retired_log", TEST_CASE(after_all_have_died))
