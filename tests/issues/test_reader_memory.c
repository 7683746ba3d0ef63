/*
** Who only reads has memtables as well: rows that others have committed and that are in no table
** yet. The block cache leaves room for them.
**
** It did so only for who writes, so that a reader beside a busy writer, or after its death, had its
** memtables beside a cache that filled the whole budget.
*/
#include "processes/world.h"

#include "fastkv.h"
#include "store_util.h"

enum { MEMORY = 4 << 20, MEMTABLE = 1 << 16 };

static fkv_status open_as(process *p, int read_only, fkv_store **out)
{
    fkv_options o = {.env = &p->env,
                     .create = !read_only,
                     .read_only = read_only,
                     .memory_bytes = MEMORY,
                     .memtable_bytes = MEMTABLE,
                     .inline_background = 1};

    *out = NULL;
    return fkv_open("store", &o, out);
}

static uint64_t capacity(fkv_store *s)
{
    fkv_stats stats;

    fkv_stats_read(s, &stats);
    return stats.cache_capacity;
}

static void a_reader_leaves_room(int dies)
{
    world w;
    process writer, reader;
    fkv_store *theirs = NULL, *ours = NULL;
    uint64_t before;

    world_begins(&w);
    process_begins(&writer, &w);
    process_begins(&reader, &w);
    REQUIRE_OK(open_as(&writer, 0, &theirs));
    REQUIRE_OK(store_put(theirs, "a", FKV_SYNC));
    CHECK_STATUS(fkv_flush(theirs), FKV_OK);
    REQUIRE_OK(open_as(&reader, 1, &ours));
    before = capacity(ours);
    REQUIRE_OK(store_put(theirs, "b", FKV_SYNC));
    if (dies) {
        fkv_close(ours);
        process_dies(&writer);
        fkv_close(theirs);
        theirs = NULL;
        REQUIRE_OK(open_as(&reader, 1, &ours));
    }
    CHECK_STATUS(store_get(ours, "b"), FKV_OK);
    CHECK(capacity(ours) + MEMTABLE == before);
    CHECK_STATUS(store_get(ours, "a"), FKV_OK); /* opens a table */
    CHECK(capacity(ours) < before - MEMTABLE);
    fkv_close(ours);
    fkv_close(theirs);
    world_ends(&w);
}

static void beside_a_writer(void)
{
    a_reader_leaves_room(0);
}

static void after_a_death(void)
{
    a_reader_leaves_room(1);
}

TEST_MAIN("test_reader_memory", TEST_CASE(beside_a_writer), TEST_CASE(after_a_death))
