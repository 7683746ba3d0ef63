/*
** A file system that is not known to share locks and pages between processes (a network, FUSE):
** one process has the store, or any number read it. Whoever comes too much is told who is there.
*/
#include "world.h"

#include "base/slice.h"
#include "store_util.h"

static fkv_status shares_nothing(fkv_env *env, env_dir *dir, int *out)
{
    (void)env;
    (void)dir;
    *out = 0;
    return FKV_OK;
}

static void comes(process *p, world *w)
{
    process_begins(p, w);
    p->env.dir_shares = shares_nothing;
}

static fkv_status opens(process *p, int read_only, fkv_store **out)
{
    fkv_options o = {.env = &p->env,
                     .create = 1,
                     .read_only = read_only,
                     .memory_bytes = 1 << 20,
                     .inline_background = 1};

    return fkv_open("store", &o, out);
}

static void one_who_writes(void)
{
    world w;
    process a, b;
    fkv_store *first = NULL, *second = NULL;

    world_begins(&w);
    comes(&a, &w);
    comes(&b, &w);
    CHECK_STATUS(opens(&a, 0, &first), FKV_OK);
    CHECK_STATUS(store_put(first, "one", FKV_SYNC), FKV_OK);
    for (int read_only = 0; read_only < 2; read_only++) {
        CHECK_STATUS(opens(&b, read_only, &second), FKV_BUSY);
        CHECK(strstr(fkv_errmsg(), "open in another process (process ") != NULL);
    }
    CHECK_STATUS(store_put(first, "two", FKV_SYNC), FKV_OK);
    fkv_close(first);
    CHECK_STATUS(opens(&b, 0, &second), FKV_OK);
    CHECK(store_get(second, "one") == FKV_OK && store_get(second, "two") == FKV_OK);
    CHECK_STATUS(store_put(second, "three", FKV_SYNC), FKV_OK);
    process_dies(&b); /* its lock goes with it */
    CHECK_STATUS(opens(&a, 0, &first), FKV_OK);
    CHECK(store_get(first, "one") == FKV_OK && store_get(first, "two") == FKV_OK &&
          store_get(first, "three") == FKV_OK);
    fkv_close(second);
    fkv_close(first);
    world_ends(&w);
}

static void many_who_read(void)
{
    world w;
    process p[3];
    fkv_store *s[3] = {0};

    world_begins(&w);
    for (int i = 0; i < 3; i++) comes(&p[i], &w);
    CHECK_STATUS(opens(&p[0], 0, &s[0]), FKV_OK);
    CHECK_STATUS(store_put(s[0], "one", FKV_SYNC), FKV_OK);
    fkv_close(s[0]);
    CHECK_STATUS(opens(&p[0], 1, &s[0]), FKV_OK);
    CHECK_STATUS(opens(&p[1], 1, &s[1]), FKV_OK);
    CHECK(store_get(s[0], "one") == FKV_OK && store_get(s[1], "one") == FKV_OK);
    CHECK_STATUS(opens(&p[2], 0, &s[2]), FKV_BUSY);
    fkv_close(s[1]);
    CHECK_STATUS(opens(&p[2], 0, &s[2]), FKV_BUSY);
    fkv_close(s[0]);
    CHECK_STATUS(opens(&p[2], 0, &s[2]), FKV_OK);
    CHECK_STATUS(store_put(s[2], "two", FKV_SYNC), FKV_OK);
    fkv_close(s[2]);
    world_ends(&w);
}

/* A reader of this process that wants to write may, if no other process reads. */
static void from_reading_to_writing(void)
{
    for (int other_reads = 0; other_reads < 2; other_reads++) {
        world w;
        process a, b;
        fkv_store *reads = NULL, *writes = NULL, *other = NULL;
        world_begins(&w);
        comes(&a, &w);
        comes(&b, &w);
        CHECK_STATUS(opens(&a, 0, &writes), FKV_OK);
        CHECK_STATUS(store_put(writes, "one", FKV_SYNC), FKV_OK);
        fkv_close(writes);
        writes = NULL;
        CHECK_STATUS(opens(&a, 1, &reads), FKV_OK);
        if (other_reads) CHECK_STATUS(opens(&b, 1, &other), FKV_OK);
        CHECK_STATUS(opens(&a, 0, &writes), other_reads ? FKV_BUSY : FKV_OK);
        if (writes) CHECK_STATUS(store_put(writes, "two", FKV_SYNC), FKV_OK);
        CHECK(store_get(reads, "one") == FKV_OK &&
              (store_get(reads, "two") == FKV_OK) == !other_reads);
        fkv_close(other);
        fkv_close(writes);
        fkv_close(reads);
        world_ends(&w);
    }
}

TEST_MAIN("test_alone", TEST_CASE(one_who_writes), TEST_CASE(many_who_read),
          TEST_CASE(from_reading_to_writing))
