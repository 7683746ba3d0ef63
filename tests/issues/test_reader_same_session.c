/*
** Who opened the store for reading while nobody wrote to it sees what is written later.
**
** A process came to the store while another had it open, found that one gone a moment after, and
** the page in order, so it went on where that one had ended, under the same session number.
** Somebody who had opened the store for reading in that very moment, and waited for another session
** to begin, never saw what it wrote.
*/
#include "../processes/world.h"

#include "fastkv.h"
#include "store/share.h"

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

    if (fkv_snapshot_new(s, &snap)) return -1;
    if (fkv_cursor_new(snap, NULL, &c)) abort();
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return n;
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
    CHECK(count_rows(now->reader) == 1);
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
    CHECK_STATUS(commit_row(c.left, "a"), FKV_OK);
    fkv_close(c.left);
    REQUIRE_OK(open_as(&c.leaving, 0, &c.left)); /* and writes nothing */
    c.coming.env.file_lock = lock_in_between;
    REQUIRE_OK(open_as(&c.coming, 0, &s));
    REQUIRE(c.reader != NULL);
    CHECK_STATUS(commit_row(s, "b"), FKV_OK);
    CHECK(count_rows(c.reader) == 2);
    CHECK_STATUS(commit_row(s, "c"), FKV_OK);
    CHECK(count_rows(c.reader) == 3);
    CHECK_STATUS(commit_row(s, "d"), FKV_OK);
    fkv_close(s);
    CHECK(count_rows(c.reader) == 4);
    fkv_close(c.reader);
    world_ends(&c.w);
}

TEST_MAIN("test_reader_same_session", TEST_CASE(who_comes_is_seen))
