/*
** A compaction that fails keeps nobody from writing.
**
** Writers that have to wait for a flush hear of it when background work fails. A compaction that
** met a damaged block counted as well: a flush, and a transaction that had spilled, answered with
** that damage although memtables were flushed as ever, and so did a write now and then.
*/
#include <unistd.h>

#include "check.h"
#include "io/env.h"
#include "io/filename.h"
#include "store_util.h"

enum { TABLES = 3, ROWS = 24, VALUE_BYTES = 2000, PAUSE_US = 50 * 1000, TIMES = 20 };

static fkv_status note_table(void *arg, const char *name)
{
    uint64_t number = 0;

    if (filename_parse(name, &number) == FILE_TABLE) *(uint64_t *)arg = number;
    return FKV_OK;
}

static fkv_status spoil_a_table(fkv_env *env)
{
    char name[FILENAME_BYTES_MAX];
    uint64_t number = 0;
    env_dir *dir = NULL;
    env_file *file = NULL;
    fkv_status rc = env->dir_open(env, "s", 0, &dir);

    if (!rc) rc = env->dir_list(env, dir, note_table, &number);
    filename_table(number, name);
    if (!rc) rc = env->file_open(env, dir, name, ENV_WRITE, &file);
    if (!rc) rc = env->file_write(env, file, 100, "damage", 6);
    env->file_close(env, file);
    env->dir_close(env, dir);
    return rc;
}

static void writing_goes_on(void)
{
    fkv_options o = {.create = 1,
                     .codec = 1, /* none */
                     .memtable_bytes = 32768,
                     .memory_bytes = 1 << 20,
                     .inline_background = 1};
    fkv_store *s = NULL;

    REQUIRE_OK(env_mem_new(&o.env));
    REQUIRE_OK(fkv_open("s", &o, &s));
    for (int i = 0; i < TABLES; i++) {
        CHECK_STATUS(store_put_many(s, 'a', 4, VALUE_BYTES, FKV_SYNC), FKV_OK);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
    }
    fkv_close(s);
    REQUIRE_OK(spoil_a_table(o.env));
    o.inline_background = 0;
    REQUIRE_OK(fkv_open("s", &o, &s));
    for (int i = 0; i < TIMES && !check_failures; i++) {
        CHECK_STATUS(store_put_many(s, 'b', 2, VALUE_BYTES, FKV_SYNC), FKV_OK);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
        (void)usleep(PAUSE_US); /* the compactor tries, and fails */
        CHECK_STATUS(store_put_many(s, 'c', 1, VALUE_BYTES, FKV_SYNC), FKV_OK);
        CHECK_STATUS(store_put_many(s, 'd', ROWS, VALUE_BYTES, FKV_SYNC), FKV_OK);
    }
    CHECK_STATUS(fkv_compact(s, fkv_slice_of("a", 1), fkv_slice_of(NULL, 0)), FKV_CORRUPT);
    fkv_close(s);
    env_mem_free(o.env);
}

TEST_MAIN("test_compaction_trouble", TEST_CASE(writing_goes_on))
