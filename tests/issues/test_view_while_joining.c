/*
** A view as of before a flush shows the rows that were read from the log while the store was
** opened.
**
** A process that joins replays the log into memtables whose rows are made findable at the end of
** that. When another process flushed meanwhile, the joining one took over the tables, and kept the
** view before that for a moment, for those whose host snapshot is older; the memtable of that view
** was never made findable: a view that was given shortly after had no rows.
*/
#include "../processes/world.h"

#include "fastkv.h"

typedef struct scene {
    world w;
    process writer, reader;
    fkv_store *store;
    int flushed;
} scene;

static fkv_status open_as(process *p, fkv_store **out)
{
    fkv_options o = {
        .env = &p->env, .create = 1, .memtable_bytes = 1 << 20, .inline_background = 1};

    return fkv_open("store", &o, out);
}

/* Hosted transaction, one row; *id of it. */
static fkv_status commit_row(fkv_store *s, const char *key, uint64_t *id)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, 1), fkv_slice_of("1", 1));
    if (!rc) rc = fkv_txn_prepare_hosted(t, FKV_NONE, id);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static void flush(void *arg)
{
    scene *c = arg;
    uint64_t id;

    CHECK_STATUS(fkv_flush(c->store), FKV_OK);
    CHECK_STATUS(commit_row(c->store, "d", &id), FKV_OK);
    c->flushed = 1;
}

static int count_rows(const fkv_snapshot *snap)
{
    fkv_cursor *c = NULL;
    int n = 0;

    CHECK_STATUS(fkv_cursor_new((fkv_snapshot *)(uintptr_t)snap, NULL, &c), FKV_OK);
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) n++;
    fkv_cursor_free(c);
    return n;
}

/* The writer flushes at the reader's nth operation. 0: there was none. */
static int look(uint64_t n, int *given)
{
    scene c = {0};
    fkv_store *s = NULL;
    fkv_snapshot *snap = NULL;
    uint64_t first = 0, second = 0, third = 0;
    fkv_status rc;

    world_begins(&c.w);
    process_begins(&c.writer, &c.w);
    process_begins(&c.reader, &c.w);
    CHECK_STATUS(open_as(&c.writer, &c.store), FKV_OK);
    CHECK_STATUS(commit_row(c.store, "a", &first), FKV_OK);
    CHECK_STATUS(commit_row(c.store, "b", &second), FKV_OK);
    CHECK_STATUS(commit_row(c.store, "c", &third), FKV_OK);
    c.reader.stops_at = n;
    c.reader.while_stopped = flush;
    c.reader.arg = &c;
    CHECK_STATUS(open_as(&c.reader, &s), FKV_OK);
    c.reader.stops_at = 0;
    if (s) {
        rc = fkv_snapshot_as_of(s, second, &snap);
        CHECK(rc == FKV_OK || rc == FKV_BUSY);
        if (rc == FKV_OK) CHECK(count_rows(snap) == 2);
        *given += rc == FKV_OK && c.flushed;
        fkv_snapshot_release(snap);
    }
    fkv_close(s);
    fkv_close(c.store);
    world_ends(&c.w);
    return c.flushed;
}

static void beside_one_that_flushes(void)
{
    uint64_t n = 1;
    int given = 0;

    while (look(n, &given)) n++;
    CHECK(n > 5 && given > 0);
}

TEST_MAIN("test_view_while_joining", TEST_CASE(beside_one_that_flushes))
