/*
** Who joins a store after a power cut reads on where the log goes on.
**
** A transaction that was rolled back may be lost from the end of the log, though the last manifest
** counts it among what the tables have. The first to open the store goes on from where the log
** ends; but until it wrote a manifest of its own, those who joined went by the old one, and read on
** beyond that: they failed, or missed a commit when it was as long as what had been lost.
*/
#include "../processes/world.h"

#include "store_util.h"

static fkv_status open_as(process *p, fkv_store **out)
{
    fkv_options o = {
        .env = &p->env, .create = 1, .memtable_bytes = 1 << 20, .inline_background = 1};

    return fkv_open("store", &o, out);
}

static fkv_status write_row(fkv_store *s, const char *key, size_t size, int back)
{
    char value[1000] = {0};
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, 1), fkv_slice_of(value, size));
    if (!rc) rc = fkv_txn_prepare(t, FKV_NONE);
    if (!rc && !back) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

/* Until the power goes. */
static void live(world *w, size_t lost)
{
    process p;
    fkv_store *s = NULL;

    process_begins(&p, w);
    CHECK_STATUS(open_as(&p, &s), FKV_OK);
    CHECK_STATUS(write_row(s, "a", 10, 0), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK_STATUS(write_row(s, "x", lost, 1), FKV_OK);
    fkv_keep_changes(s, 1 << 20, 0);
    CHECK_STATUS(fkv_flush(s), FKV_OK); /* nothing to flush, but a manifest */
    process_dies(&p);
    fkv_close(s);
    CHECK_STATUS(env_mem_crash(w->disk, 0), FKV_OK);
}

static void join_after(size_t lost, size_t written)
{
    world w;
    process first, second;
    fkv_store *s = NULL, *joined = NULL;

    world_begins(&w);
    live(&w, lost);
    process_begins(&first, &w);
    process_begins(&second, &w);
    CHECK_STATUS(open_as(&first, &s), FKV_OK);
    CHECK_STATUS(open_as(&second, &joined), FKV_OK);
    CHECK(store_count(joined) == 1);
    CHECK_STATUS(write_row(s, "b", written, 0), FKV_OK);
    CHECK(store_count(s) == 2);
    CHECK(store_count(joined) == 2);
    CHECK_STATUS(write_row(joined, "c", 10, 0), FKV_OK);
    CHECK(store_count(s) == 3 && store_count(joined) == 3);
    fkv_close(joined);
    fkv_close(s);
    world_ends(&w);
}

static void as_long_as_what_was_lost(void)
{
    join_after(100, 100);
}

static void shorter_or_longer(void)
{
    join_after(100, 10);
    join_after(100, 900);
}

TEST_MAIN("test_join_after_cut", TEST_CASE(as_long_as_what_was_lost), TEST_CASE(shorter_or_longer))
