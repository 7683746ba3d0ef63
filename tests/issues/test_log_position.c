/*
** A log segment whose positions would run past the end of 64 bits was read for ever: the position
** after the last record lay before it. Found by fuzz/test_fuzz_log.c.
*/
#include "check.h"
#include "wal/wal.h"

static void an_impossible_position_is_damage(void)
{
    static const uint64_t starts[] = {UINT64_MAX - 255, ((uint64_t)1 << 62) + 8};
    fkv_env *env = NULL;
    env_dir *dir = NULL;

    REQUIRE(env_mem_new(&env) == FKV_OK);
    REQUIRE(env->dir_open(env, "d", ENV_CREATE, &dir) == FKV_OK);
    for (uint64_t i = 0; i < 2; i++) {
        wal_segment *w = NULL;
        wal_reader *r = NULL;
        CHECK_STATUS(wal_segment_new(env, dir, 1, i + 1, 0, starts[i], &w), FKV_OK);
        wal_segment_free(w);
        CHECK_STATUS(wal_reader_open(env, dir, 1, i + 1, &r), FKV_CORRUPT);
        wal_reader_close(r);
    }
    env->dir_close(env, dir);
    env_mem_free(env);
}

TEST_MAIN("test_log_position", TEST_CASE(an_impossible_position_is_damage))
