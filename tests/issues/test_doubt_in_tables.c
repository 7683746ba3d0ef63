/*
** A hosted transaction that its host brings back stays, also where tables reach beyond it.
**
** Rolled back without a mark, a transaction stays in the log in doubt, while what was committed
** before it may be flushed; the manifest then says that tables have all that lies before a place
** behind it. A recovery that heard from the host that it was committed after all had its rows in
** memory, and wrote a manifest that said so again: the next open, and a process that came to join,
** took them for flushed, and they were gone. So did fkv_recover.
*/
#include "../processes/world.h"

#include "fastkv.h"

typedef struct scene {
    world w;
    process first, second;
    uint64_t host; /* the last transaction that the host has */
} scene;

static int ask_host(void *arg, uint64_t id)
{
    return ((const scene *)arg)->host == id;
}

static fkv_status open_as(scene *c, process *p, fkv_store **out)
{
    fkv_options o = {.env = &p->env,
                     .create = 1,
                     .memtable_bytes = 1 << 20,
                     .inline_background = 1,
                     .host_committed = ask_host,
                     .host_arg = c};

    return fkv_open("store", &o, out);
}

static fkv_status put(fkv_txn *t, const char *key)
{
    fkv_status rc = fkv_txn_begin(t, 0);

    return rc ? rc : fkv_txn_put(t, fkv_slice_of(key, 1), fkv_slice_of("1", 1));
}

static int has(fkv_store *s, const char *key)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    fkv_status rc;

    if (!s || fkv_snapshot_new(s, &snap)) return -1;
    rc = fkv_get(snap, NULL, fkv_slice_of(key, 1), &v);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    return rc == FKV_OK ? 1 : rc == FKV_NOTFOUND ? 0 : -1;
}

/* One row committed and flushed, behind a transaction in doubt; then the power goes. */
static void leave_doubt(scene *c, int flushed)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    uint64_t id = 0;

    REQUIRE_OK(open_as(c, &c->first, &s));
    REQUIRE_OK(fkv_txn_new(s, &t));
    REQUIRE_OK(put(t, "a"));
    REQUIRE_OK(fkv_txn_prepare(t, FKV_SYNC));
    fkv_txn_commit(t);
    REQUIRE_OK(put(t, "b"));
    REQUIRE_OK(fkv_txn_prepare_hosted(t, FKV_SYNC, &id));
    fkv_txn_rollback_hosted(t);
    if (flushed) REQUIRE_OK(fkv_flush(s));
    CHECK(has(s, "a") == 1 && has(s, "b") == 0);
    process_dies(&c->first);
    fkv_txn_free(t);
    fkv_close(s);
    REQUIRE_OK(env_mem_crash(c->w.disk, 0));
    c->host = id;
}

static void stays(int flushed)
{
    scene c = {0};
    fkv_store *s = NULL, *beside = NULL;

    world_begins(&c.w);
    process_begins(&c.first, &c.w);
    leave_doubt(&c, flushed);
    for (int i = 0; i < 3; i++) { /* the last time it is closed in order before */
        process_begins(&c.first, &c.w);
        process_begins(&c.second, &c.w);
        CHECK_STATUS(open_as(&c, &c.first, &s), FKV_OK);
        CHECK_STATUS(open_as(&c, &c.second, &beside), FKV_OK);
        CHECK(has(s, "a") == 1 && has(s, "b") == 1);
        CHECK(has(beside, "a") == 1 && has(beside, "b") == 1);
        if (i == 0) process_dies(&c.second);
        if (i == 0) process_dies(&c.first);
        fkv_close(beside);
        fkv_close(s);
    }
    world_ends(&c.w);
}

static void without_a_flush(void)
{
    stays(0);
}

static void behind_a_flush(void)
{
    stays(1);
}

static void salvaged(void)
{
    scene c = {0};
    fkv_salvage how = {.host_committed = ask_host, .host_arg = &c};
    fkv_options o = {.inline_background = 1};
    fkv_store *s = NULL;

    world_begins(&c.w);
    process_begins(&c.first, &c.w);
    leave_doubt(&c, 1);
    how.env = o.env = c.w.files;
    how.host_id = c.host;
    CHECK_STATUS(fkv_recover("store", "new", &how), FKV_OK);
    CHECK_STATUS(fkv_open("new", &o, &s), FKV_OK);
    CHECK(has(s, "a") == 1 && has(s, "b") == 1);
    fkv_close(s);
    world_ends(&c.w);
}

TEST_MAIN("test_doubt_in_tables", TEST_CASE(without_a_flush), TEST_CASE(behind_a_flush),
          TEST_CASE(salvaged))
