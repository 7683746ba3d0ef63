/*
** Behind a damaged place a log segment is searched for records that claim it had been durable. In a
** forged segment every eight bytes could look like the beginning of a record of a megabyte, and
** each was checked: hours for a file of a few megabytes. Now the search has a limit, and what goes
** beyond it is damage.
*/
#include "base/coding.h"
#include "check.h"
#include "wal/wal.h"

enum { BYTES = 8 << 20 };

/* A record has its LSN at 8 and its size at 4: let the words be the LSNs of the places before them,
** whose upper halves are a size. */
static void a_search_has_a_limit(void)
{
    uint64_t start = (uint64_t)1 << 52, skipped;
    uint8_t *words = malloc(BYTES); /* lint: allow banned -- a test's own memory */
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    env_file *file = NULL;
    wal_segment *w = NULL;
    wal_reader *r = NULL;
    wal_record record;
    clock_t began;
    int sure;

    REQUIRE(words && env_mem_new(&env) == FKV_OK);
    REQUIRE(env->dir_open(env, "d", ENV_CREATE, &dir) == FKV_OK);
    CHECK_STATUS(wal_segment_new(env, dir, 1, 1, 0, start, &w), FKV_OK);
    wal_segment_free(w);
    for (size_t at = 0; at < BYTES; at += 8) put_u64(words + at, start + at - 8);
    REQUIRE(env->file_open(env, dir, "000001.wal", ENV_WRITE, &file) == FKV_OK);
    CHECK_STATUS(env->file_write(env, file, WAL_SEGMENT_HEADER, words, BYTES), FKV_OK);
    env->file_close(env, file);

    began = clock();
    REQUIRE_OK(wal_reader_open(env, dir, 1, 1, &r));
    CHECK_STATUS(wal_reader_next(r, UINT64_MAX, &record), FKV_CORRUPT);
    wal_reader_close(r);
    REQUIRE_OK(wal_reader_open_damaged(env, dir, 1, 1, &r, &sure));
    CHECK(sure && !wal_reader_search(r, UINT64_MAX, &record, &skipped));
    wal_reader_close(r);
    CHECK(clock() - began < 10 * CLOCKS_PER_SEC);
    env->dir_close(env, dir);
    env_mem_free(env);
    free(words); /* lint: allow banned -- a test's own memory */
}

TEST_MAIN("test_log_search", TEST_CASE(a_search_has_a_limit))
