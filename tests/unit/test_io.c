/* io/: the three envs keep the contract of env.h; file names. (Cuts and faults: test_io_crash.c) */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/env.h"
#include "io/filename.h"

/* -- helpers -------------------------------------------------------------------------------- */

enum { RW = ENV_WRITE | ENV_CREATE };

static fkv_status put_at(fkv_env *env, env_dir *dir, const char *name, uint64_t offset,
                         const void *data, size_t size, int sync)
{
    env_file *file;
    fkv_status rc = env->file_open(env, dir, name, RW, &file);

    if (rc) return rc;
    rc = env->file_write(env, file, offset, data, size);
    if (!rc && sync) rc = env->file_sync(env, file);
    env->file_close(env, file);
    return rc;
}

/* Write a text at the start of a file. */
static fkv_status put(fkv_env *env, env_dir *dir, const char *name, const char *text, int sync)
{
    return put_at(env, dir, name, 0, text, strlen(text), sync);
}

/* Does the file have exactly this content? NULL: is it absent? */
static int holds(fkv_env *env, env_dir *dir, const char *name, const char *text)
{
    char data[4096];
    env_file *file;
    uint64_t size = 0;
    size_t got = 0;
    fkv_status rc = env->file_open(env, dir, name, ENV_READ, &file);

    if (!text) {
        if (!rc) env->file_close(env, file);
        return rc == FKV_NOTFOUND && file == NULL;
    }
    if (rc) return 0;
    rc = env->file_read(env, file, 0, data, sizeof data, &got);
    if (!rc) rc = env->file_size(env, file, &size);
    env->file_close(env, file);
    return !rc && got == strlen(text) && size == got && memcmp(data, text, got) == 0;
}

static fkv_status remove_each(void *arg, const char *name)
{
    fkv_env *env = ((void **)arg)[0];

    return env->file_remove(env, ((void **)arg)[1], name);
}

/* Run a check in an empty directory of the system, of memory, and of memory behind an idle
** env_fault. */
static void on_all(void (*check)(fkv_env *env, env_dir *dir))
{
    char path[] = "/tmp/fkv_test_io_XXXXXX";
    fkv_env *envs[3] = {env_posix(), NULL, NULL};
    env_dir *dir;

    REQUIRE(mkdtemp(path));
    REQUIRE_OK(env_mem_new(&envs[1]));
    REQUIRE_OK(env_fault_new(envs[1], &envs[2]));
    for (size_t i = 0; i < 3; i++) {
        int before = check_failures;
        void *arg[2] = {envs[i], NULL};

        REQUIRE_OK(envs[i]->dir_open(envs[i], path, ENV_CREATE, &dir));
        check(envs[i], dir);
        arg[1] = dir;
        CHECK_STATUS(envs[i]->dir_list(envs[i], dir, remove_each, arg), FKV_OK);
        envs[i]->dir_close(envs[i], dir);
        CHECK_STATUS(envs[i]->dir_remove(envs[i], path), FKV_OK);
        if (check_failures != before) (void)printf("  ^ env %zu (posix, mem, fault)\n", i);
    }
    env_fault_free(envs[2]);
    env_mem_free(envs[1]);
}

/* -- the same everywhere -------------------------------------------------------------------- */

static void check_opening(fkv_env *env, env_dir *dir)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "/tmp/", "../fkv_test_io_x"};
    env_file *file = (env_file *)&file;
    env_dir *other = (env_dir *)&other;
    env_identity one, two;
    char absent[64], beside[64];

    (void)snprintf(absent, sizeof absent, "/tmp/fkv_test_io_%d_absent", (int)getpid());
    (void)snprintf(beside, sizeof beside, "/tmp/fkv_test_io_%d_beside", (int)getpid());
    CHECK_STATUS(env->file_open(env, dir, "a", ENV_READ, &file), FKV_NOTFOUND);
    CHECK(file == NULL && strstr(fkv_errmsg(), "a"));
    CHECK_STATUS(env->file_open(env, dir, "a", ENV_WRITE, &file), FKV_NOTFOUND);
    REQUIRE_OK(env->file_open(env, dir, "a", RW | ENV_EXCLUSIVE, &file));
    env->file_close(env, file);
    CHECK_STATUS(env->file_open(env, dir, "a", RW | ENV_EXCLUSIVE, &file), FKV_BUSY);
    CHECK(file == NULL);
    REQUIRE_OK(env->file_open(env, dir, "a", RW, &file));
    env->file_close(env, file);
    REQUIRE_OK(env->file_open(env, dir, "a", ENV_READ | ENV_UNCACHED, &file));
    CHECK_STATUS(env->file_write(env, file, 0, "x", 1), FKV_IOERR);
    env->file_close(env, file);
    env->file_close(env, NULL);
    env->dir_close(env, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(env->file_open(env, dir, bad[i], RW, &file), FKV_CANTOPEN);
        CHECK_STATUS(env->file_remove(env, dir, bad[i]), FKV_INVALID);
        CHECK_STATUS(env->file_rename(env, dir, "a", bad[i]), FKV_INVALID);
    }
    CHECK_STATUS(env->dir_open(env, absent, 0, &other), FKV_NOTFOUND);
    CHECK(other == NULL && strstr(fkv_errmsg(), absent));
    CHECK_STATUS(env->dir_remove(env, absent), FKV_NOTFOUND);
    REQUIRE_OK(env->dir_open(env, beside, ENV_CREATE, &other));
    {
        env_dir *again = (env_dir *)&again;
        CHECK_STATUS(env->dir_open(env, beside, ENV_CREATE | ENV_EXCLUSIVE, &again), FKV_BUSY);
        CHECK(again == NULL && strstr(fkv_errmsg(), beside));
    }
    CHECK_STATUS(env->dir_identity(env, dir, &one), FKV_OK);
    CHECK_STATUS(env->dir_identity(env, other, &two), FKV_OK);
    CHECK(memcmp(&one, &two, sizeof one) != 0);
    CHECK_STATUS(put(env, other, "f", "1", 0), FKV_OK);
    CHECK(env->dir_remove(env, beside) != FKV_OK);
    CHECK_STATUS(env->file_remove(env, other, "f"), FKV_OK);
    CHECK_STATUS(env->dir_remove(env, beside), FKV_OK);
    CHECK_STATUS(env->file_open(env, other, "f", RW, &file), FKV_NOTFOUND);
    env->dir_close(env, other);
}

static void check_reading(fkv_env *env, env_dir *dir)
{
    char data[64];
    size_t got = 99;
    uint64_t size = 99;
    env_file *file;

    REQUIRE_OK(env->file_open(env, dir, "r", RW, &file));
    CHECK_STATUS(env->file_size(env, file, &size), FKV_OK);
    CHECK(size == 0);
    CHECK_STATUS(env->file_read(env, file, 0, data, 10, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_write(env, file, 10, "hello", 5), FKV_OK);
    CHECK_STATUS(env->file_write(env, file, 3, data, 0), FKV_OK);
    CHECK_STATUS(env->file_read(env, file, 8, data, sizeof data, &got), FKV_OK);
    CHECK(got == 7 && memcmp(data, "\0\0hello", 7) == 0); /* the gap reads as zeros */
    CHECK_STATUS(env->file_read(env, file, 12, data, 0, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_read(env, file, 12, data, 2, &got), FKV_OK);
    CHECK(got == 2 && memcmp(data, "ll", 2) == 0);
    CHECK_STATUS(env->file_read(env, file, 15, data, 5, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_read(env, file, 1000, data, 5, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_read(env, file, UINT64_MAX, data, 5, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_read(env, file, INT64_MAX, data, 5, &got), FKV_OK);
    CHECK(got == 0);
    CHECK_STATUS(env->file_write(env, file, UINT64_MAX - 2, "hello", 5), FKV_IOERR);
    CHECK_STATUS(env->file_write(env, file, INT64_MAX - 2, "hello", 5), FKV_IOERR);
    CHECK_STATUS(env->file_write(env, file, 12, "LLO, there", 10), FKV_OK);
    CHECK_STATUS(env->file_read(env, file, 10, data, sizeof data, &got), FKV_OK);
    CHECK(got == 12 && memcmp(data, "heLLO, there", 12) == 0);
    CHECK_STATUS(env->file_sync(env, file), FKV_OK);
    env->file_close(env, file);
}

static void check_allocating(fkv_env *env, env_dir *dir)
{
    static const char zeros[1000];
    char data[1000];
    size_t got;
    uint64_t size;
    env_file *file;

    REQUIRE_OK(env->file_open(env, dir, "w", RW, &file));
    CHECK_STATUS(env->file_write(env, file, 0, "head", 4), FKV_OK);
    CHECK_STATUS(env->file_allocate(env, file, 0, 100000), FKV_OK);
    CHECK_STATUS(env->file_size(env, file, &size), FKV_OK);
    CHECK(size == 100000);
    CHECK_STATUS(env->file_read(env, file, 0, data, 4, &got), FKV_OK);
    CHECK(got == 4 && memcmp(data, "head", 4) == 0);
    for (uint64_t at = 4; at < 100000; at += 1000) {
        CHECK_STATUS(env->file_read(env, file, at, data, 1000, &got), FKV_OK);
        CHECK(got == (at + 1000 > 100000 ? 996 : 1000) && memcmp(data, zeros, got) == 0);
    }
    CHECK_STATUS(env->file_allocate(env, file, 10, 10), FKV_OK); /* never shrinks */
    CHECK_STATUS(env->file_allocate(env, file, 500000, 0), FKV_OK);
    CHECK_STATUS(env->file_size(env, file, &size), FKV_OK);
    CHECK(size == 100000);
    CHECK_STATUS(env->file_allocate(env, file, UINT64_MAX - 5, 10), FKV_IOERR);
    env->file_close(env, file);
}

static void check_locking(fkv_env *env, env_dir *dir)
{
    env_file *a, *b, *c;

    REQUIRE_OK(env->file_open(env, dir, "lock", RW, &a));
    REQUIRE_OK(env->file_open(env, dir, "lock", RW, &b));
    REQUIRE_OK(env->file_open(env, dir, "lock", ENV_READ, &c));
    CHECK_STATUS(env->file_lock(env, a, 0, ENV_LOCK_EXCLUSIVE), FKV_OK);
    CHECK_STATUS(env->file_lock(env, a, 0, ENV_LOCK_EXCLUSIVE), FKV_OK); /* mine already */
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_LOCK_EXCLUSIVE), FKV_BUSY);
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_LOCK_SHARED), FKV_BUSY);
    CHECK_STATUS(env->file_lock(env, b, 1, ENV_LOCK_EXCLUSIVE), FKV_OK); /* another byte */
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_UNLOCK), FKV_OK);         /* frees nobody else's */
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_LOCK_SHARED), FKV_BUSY);
    CHECK_STATUS(env->file_lock(env, a, 0, ENV_LOCK_SHARED), FKV_OK); /* downgrade */
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_LOCK_SHARED), FKV_OK);
    CHECK_STATUS(env->file_lock(env, c, 0, ENV_LOCK_SHARED), FKV_OK);
    CHECK_STATUS(env->file_lock(env, a, 0, ENV_LOCK_EXCLUSIVE), FKV_BUSY);
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_UNLOCK), FKV_OK);
    env->file_close(env, c);                                             /* closing gives it up */
    CHECK_STATUS(env->file_lock(env, a, 0, ENV_LOCK_EXCLUSIVE), FKV_OK); /* upgrade */
    CHECK_STATUS(env->file_lock(env, a, 1, ENV_LOCK_SHARED), FKV_BUSY);
    env->file_close(env, a);
    CHECK_STATUS(env->file_lock(env, b, 0, ENV_LOCK_EXCLUSIVE), FKV_OK);
    REQUIRE_OK(env->file_open(env, dir, "lock", ENV_READ, &c));
    env->file_close(env, c); /* another handle's closing frees nothing of ours */
    REQUIRE_OK(env->file_open(env, dir, "lock", ENV_READ, &c));
    CHECK_STATUS(env->file_lock(env, c, 0, ENV_LOCK_SHARED), FKV_BUSY);
    CHECK_STATUS(env->file_lock(env, c, 7, ENV_LOCK_EXCLUSIVE), FKV_IOERR); /* needs writing */
    env->file_close(env, c);
    env->file_close(env, b);
}

static fkv_status count_each(void *arg, const char *name)
{
    unsigned *seen = arg;

    if (strcmp(name, "x") == 0)
        *seen += 1;
    else if (strcmp(name, "y") == 0)
        *seen += 16;
    else
        *seen += 4096;
    return FKV_OK;
}

static fkv_status stop_each(void *arg, const char *name)
{
    (void)name;
    (*(int *)arg)++;
    return FKV_INVALID;
}

static void check_names(fkv_env *env, env_dir *dir)
{
    char data[8];
    size_t got;
    unsigned seen = 0;
    int calls = 0;
    env_file *file;

    CHECK_STATUS(env->dir_list(env, dir, count_each, &seen), FKV_OK);
    CHECK(seen == 0);
    CHECK_STATUS(put(env, dir, "x", "one", 1), FKV_OK);
    CHECK_STATUS(put(env, dir, "y", "other", 1), FKV_OK);
    CHECK_STATUS(env->dir_sync(env, dir), FKV_OK);
    CHECK_STATUS(env->dir_list(env, dir, count_each, &seen), FKV_OK);
    CHECK(seen == 17);
    CHECK_STATUS(env->dir_list(env, dir, stop_each, &calls), FKV_INVALID);
    CHECK(calls == 1);

    REQUIRE_OK(env->file_open(env, dir, "y", ENV_READ, &file));
    CHECK_STATUS(env->file_rename(env, dir, "x", "y"), FKV_OK);
    CHECK(holds(env, dir, "x", NULL));
    CHECK(holds(env, dir, "y", "one"));
    CHECK_STATUS(env->file_rename(env, dir, "y", "y"), FKV_OK);
    CHECK(holds(env, dir, "y", "one"));
    CHECK_STATUS(env->file_rename(env, dir, "x", "z"), FKV_NOTFOUND);
    CHECK_STATUS(env->file_read(env, file, 0, data, sizeof data, &got), FKV_OK);
    CHECK(got == 5 && memcmp(data, "other", 5) == 0); /* the replaced file, still open */
    env->file_close(env, file);

    REQUIRE_OK(env->file_open(env, dir, "y", ENV_WRITE, &file));
    CHECK_STATUS(env->file_remove(env, dir, "y"), FKV_OK);
    CHECK(holds(env, dir, "y", NULL));
    CHECK_STATUS(env->file_remove(env, dir, "y"), FKV_NOTFOUND);
    CHECK_STATUS(put(env, dir, "y", "new", 0), FKV_OK); /* the same name, another file */
    CHECK_STATUS(env->file_write(env, file, 3, "!", 1), FKV_OK);
    CHECK_STATUS(env->file_read(env, file, 0, data, sizeof data, &got), FKV_OK);
    CHECK(got == 4 && memcmp(data, "one!", 4) == 0);
    env->file_close(env, file);
    CHECK(holds(env, dir, "y", "new"));
}

/* A second name is the same file, and no copy; whoever has it open sees whether a name is left. */
static void check_linking(fkv_env *env, env_dir *dir)
{
    char beside[64];
    env_dir *other = NULL;
    env_file *file;
    int linked = 9;

    (void)snprintf(beside, sizeof beside, "/tmp/fkv_test_io_%d_beside", (int)getpid());
    REQUIRE_OK(env->dir_open(env, beside, ENV_CREATE | ENV_EXCLUSIVE, &other));
    CHECK_STATUS(put(env, dir, "a", "one", 1), FKV_OK);
    CHECK_STATUS(env->file_link(env, dir, "a", other, "b"), FKV_OK);
    CHECK_STATUS(env->file_link(env, dir, "a", dir, "c"), FKV_OK);
    CHECK(holds(env, other, "b", "one") && holds(env, dir, "c", "one"));
    CHECK_STATUS(put(env, other, "b", "two", 0), FKV_OK);
    CHECK(holds(env, dir, "a", "two") && holds(env, dir, "c", "two"));

    CHECK_STATUS(put(env, dir, "d", "other", 0), FKV_OK);
    CHECK_STATUS(env->file_link(env, dir, "d", other, "b"), FKV_BUSY); /* replaces nothing */
    CHECK(strstr(fkv_errmsg(), "b") && holds(env, other, "b", "two"));
    CHECK_STATUS(env->file_link(env, dir, "none", other, "n"), FKV_NOTFOUND);
    CHECK_STATUS(env->file_link(env, dir, "a/b", other, "n"), FKV_INVALID);
    CHECK_STATUS(env->file_link(env, dir, "a", other, ".."), FKV_INVALID);
    CHECK(holds(env, other, "n", NULL));

    REQUIRE_OK(env->file_open(env, dir, "a", ENV_READ, &file));
    CHECK_STATUS(env->file_linked(env, file, &linked), FKV_OK);
    CHECK(linked == 1);
    CHECK_STATUS(env->file_remove(env, dir, "a"), FKV_OK);
    CHECK_STATUS(env->file_remove(env, dir, "c"), FKV_OK);
    CHECK_STATUS(env->file_linked(env, file, &linked), FKV_OK);
    CHECK(linked == 1); /* by "b" */
    CHECK_STATUS(env->file_remove(env, other, "b"), FKV_OK);
    CHECK_STATUS(env->file_linked(env, file, &linked), FKV_OK);
    CHECK(linked == 0);
    env->file_close(env, file);
    CHECK_STATUS(env->dir_remove(env, beside), FKV_OK);
    CHECK_STATUS(env->file_link(env, dir, "d", other, "b"), FKV_NOTFOUND); /* into what is gone */
    env->dir_close(env, other);
}

static void check_sharing(fkv_env *env, env_dir *dir)
{
    enum { SIZE = 4096 };
    env_file *a, *b, *reader;
    void *one = NULL, *two = NULL, *three = NULL;
    int held = 9, shares = 9;

    CHECK_STATUS(env->dir_shares(env, dir, &shares), FKV_OK);
    CHECK(shares == 0 || shares == 1);
    REQUIRE_OK(env->file_open(env, dir, "page", RW, &a));
    REQUIRE_OK(env->file_open(env, dir, "page", RW, &b));
    REQUIRE_OK(env->file_open(env, dir, "page", ENV_READ, &reader));
    REQUIRE_OK(env->file_allocate(env, a, 0, SIZE));
    REQUIRE_OK(env->file_share(env, a, SIZE, &one));
    REQUIRE_OK(env->file_share(env, b, SIZE, &two));
    REQUIRE_OK(env->file_share(env, reader, SIZE, &three));
    CHECK(((char *)one)[SIZE - 1] == 0);
    memcpy((char *)one + 100, "hello", 5);
    CHECK(memcmp((char *)two + 100, "hello", 5) == 0);
    env->file_unshare(env, one, SIZE);
    memcpy((char *)two + 100, "HELLO", 5);
    CHECK(memcmp((char *)three + 100, "HELLO", 5) == 0);
    env->file_unshare(env, two, SIZE);
    env->file_unshare(env, three, SIZE);

    CHECK_STATUS(env->file_lock(env, a, 7, ENV_LOCK_SHARED), FKV_OK);
    CHECK_STATUS(env->file_locked(env, a, 0, 100, &held), FKV_OK);
    CHECK(held == 0); /* one's own */
    CHECK_STATUS(env->file_locked(env, b, 0, 7, &held), FKV_OK);
    CHECK(held == 0);
    CHECK_STATUS(env->file_locked(env, b, 5, 3, &held), FKV_OK);
    CHECK(held == 1);
    CHECK_STATUS(env->file_locked(env, b, 8, 1, &held), FKV_OK);
    CHECK(held == 0);
    CHECK_STATUS(env->file_locked(env, b, 5, 0, &held), FKV_OK);
    CHECK(held == 0);
    env->file_close(env, a);
    CHECK_STATUS(env->file_locked(env, b, 7, 1, &held), FKV_OK);
    CHECK(held == 0);
    env->file_close(env, b);
    env->file_close(env, reader);
}

typedef struct handover {
    fkv_env *env;
    env_mutex *mutex;
    env_cond *cond;
    int turn, signals_blocked;
} handover;

static void answer(void *arg)
{
    handover *h = arg;
    sigset_t set;

    (void)pthread_sigmask(SIG_SETMASK, NULL, &set);
    h->env->mutex_lock(h->env, h->mutex);
    h->signals_blocked = sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGALRM) == 1;
    while (h->turn != 1) h->env->cond_wait(h->env, h->cond, h->mutex, 0);
    h->turn = 2;
    h->env->cond_wake_all(h->env, h->cond);
    h->env->mutex_unlock(h->env, h->mutex);
}

static void check_threads(fkv_env *env, env_dir *dir)
{
    handover h = {.env = env};
    env_thread *thread;
    uint64_t before;

    (void)dir;
    REQUIRE_OK(env->mutex_new(env, &h.mutex));
    REQUIRE_OK(env->cond_new(env, &h.cond));
    REQUIRE_OK(env->thread_start(env, answer, &h, "a name that is far too long", &thread));
    env->mutex_lock(env, h.mutex);
    h.turn = 1;
    env->cond_wake_all(env, h.cond);
    while (h.turn != 2) env->cond_wait(env, h.cond, h.mutex, 0);
    before = env->now_us(env);
    for (int i = 0; i < 3; i++) env->cond_wait(env, h.cond, h.mutex, 2000);
    CHECK(env->now_us(env) - before < 10000000);
    env->mutex_unlock(env, h.mutex);
    env->thread_join(env, thread);
    CHECK(h.signals_blocked);
    env->thread_join(env, NULL);
    env->cond_free(env, h.cond);
    env->cond_free(env, NULL);
    env->mutex_free(env, h.mutex);
    env->mutex_free(env, NULL);
    env->global_lock(env);
    env->global_unlock(env);
}

static void check_world(fkv_env *env, env_dir *dir)
{
    uint8_t a[64] = {0}, b[64] = {0}, zeros[64] = {0};
    uint8_t *region = env->map(env, (size_t)1 << 30, 0);
    uint64_t before = env->now_us(env);

    (void)dir;
    REQUIRE(region);
    CHECK(((uintptr_t)region & 4095) == 0);
    CHECK(region[0] == 0 && region[((size_t)1 << 30) - 1] == 0);
    region[12345678] = 1;
    env->unmap(env, region, (size_t)1 << 30);
    CHECK(env->map(env, SIZE_MAX / 2, 0) == NULL);
    env->sleep_us(env, 3000);
    CHECK(env->now_us(env) - before >= 3000);
    CHECK(env->wall_ms(env) / 1000 - (int64_t)time(NULL) <= 1);
    CHECK((int64_t)time(NULL) - env->wall_ms(env) / 1000 <= 1);
    CHECK_STATUS(env->random(env, a, sizeof a), FKV_OK);
    CHECK_STATUS(env->random(env, b, sizeof b), FKV_OK);
    CHECK(memcmp(a, b, sizeof a) != 0);
    env->boot_id(env, a);
    env->boot_id(env, b);
    CHECK(memcmp(a, b, 16) == 0 && memcmp(a, zeros, 16) != 0);
    CHECK(env->process_id(env) == (uint64_t)getpid());
    CHECK(env->fork_count(env) == env_posix()->fork_count(env_posix()));
    CHECK(env->now_ns(env) / 1000 - before < 60000000);
}

static void opening(void)
{
    on_all(check_opening);
}
static void reading(void)
{
    on_all(check_reading);
}
static void allocating(void)
{
    on_all(check_allocating);
}
static void locking(void)
{
    on_all(check_locking);
}
static void names(void)
{
    on_all(check_names);
}
static void linking(void)
{
    on_all(check_linking);
}
static void sharing(void)
{
    on_all(check_sharing);
}
static void threads(void)
{
    on_all(check_threads);
}
static void world(void)
{
    on_all(check_world);
}

/* -- the operating system only -------------------------------------------------------------- */

static void posix_only_regular_files(void)
{
    char path[] = "/tmp/fkv_test_io_XXXXXX";
    static const char *const odd[] = {"link", "dangling", "folder", "fifo"};
    fkv_env *env = env_posix();
    env_dir *dir, *again;
    env_file *file;
    env_identity one, two;
    int fd;

    REQUIRE(mkdtemp(path));
    REQUIRE_OK(env->dir_open(env, path, 0, &dir));
    CHECK_STATUS(env->dir_open(env, path, ENV_CREATE | ENV_EXCLUSIVE, &again), FKV_BUSY);
    CHECK_STATUS(put(env, dir, "plain", "text", 0), FKV_OK);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    REQUIRE(fd >= 0);
    REQUIRE(symlinkat("plain", fd, "link") == 0 && symlinkat("none", fd, "dangling") == 0);
    REQUIRE(mkdirat(fd, "folder", 0777) == 0 && mkfifoat(fd, "fifo", 0666) == 0);
    for (size_t i = 0; i < 4; i++) {
        CHECK_STATUS(env->file_open(env, dir, odd[i], ENV_READ, &file), FKV_CANTOPEN);
        CHECK(strstr(fkv_errmsg(), path) && strstr(fkv_errmsg(), odd[i]));
        CHECK_STATUS(env->file_open(env, dir, odd[i], ENV_WRITE, &file), FKV_CANTOPEN);
        CHECK_STATUS(env->file_open(env, dir, odd[i], RW, &file), FKV_CANTOPEN);
        CHECK(file == NULL);
    }
    CHECK(holds(env, dir, "none", NULL)); /* not created through the link */

    /* The directory may be named through a link, and is known again by its identity. */
    REQUIRE(symlinkat(path, fd, "self") == 0);
    {
        char through[64];
        (void)snprintf(through, sizeof through, "%s/self", path);
        REQUIRE_OK(env->dir_open(env, through, ENV_CREATE, &again));
        CHECK_STATUS(env->dir_identity(env, dir, &one), FKV_OK);
        CHECK_STATUS(env->dir_identity(env, again, &two), FKV_OK);
        CHECK(one.device == two.device && one.inode == two.inode);
        env->dir_close(env, again);
        (void)snprintf(through, sizeof through, "%s/plain", path);
        CHECK_STATUS(env->dir_open(env, through, 0, &again), FKV_CANTOPEN);
        CHECK_STATUS(env->dir_open(env, through, ENV_CREATE, &again), FKV_CANTOPEN);
        (void)snprintf(through, sizeof through, "%s/no/no", path);
        CHECK_STATUS(env->dir_open(env, through, ENV_CREATE, &again), FKV_NOTFOUND);
    }
    for (size_t i = 0; i < 4; i++) (void)unlinkat(fd, odd[i], i == 2 ? AT_REMOVEDIR : 0);
    (void)unlinkat(fd, "self", 0);
    (void)unlinkat(fd, "plain", 0);
    (void)close(fd);
    env->dir_close(env, dir);
    CHECK_STATUS(env->dir_remove(env, path), FKV_OK);
}

/* A host that closed its standard descriptors does not get our files there. */
static void posix_descriptors_above_two(void)
{
    char path[] = "/tmp/fkv_test_io_XXXXXX";
    fkv_env *env = env_posix();
    env_dir *dir = NULL;
    int saved, taken;

    REQUIRE(mkdtemp(path));
    saved = fcntl(0, F_DUPFD_CLOEXEC, 10);
    (void)close(0);
    CHECK_STATUS(env->dir_open(env, path, 0, &dir), FKV_OK);
    taken = fcntl(0, F_GETFD) >= 0;
    if (saved >= 0) {
        (void)dup2(saved, 0);
        (void)close(saved);
    }
    CHECK(!taken);
    env->dir_close(env, dir);
    CHECK_STATUS(env->dir_remove(env, path), FKV_OK);
}

static void posix_permissions(void)
{
    char path[] = "/tmp/fkv_test_io_XXXXXX";
    char below[64];
    fkv_env *env = env_posix();
    env_dir *dir, *other;
    env_file *file;

    if (geteuid() == 0) return; /* nothing is forbidden to root */
    REQUIRE(mkdtemp(path));
    REQUIRE_OK(env->dir_open(env, path, 0, &dir));
    CHECK_STATUS(put(env, dir, "a", "text", 0), FKV_OK);
    REQUIRE(chmod(path, 0555) == 0);
    CHECK_STATUS(env->file_open(env, dir, "b", RW, &file), FKV_READONLY);
    CHECK_STATUS(env->file_remove(env, dir, "a"), FKV_READONLY);
    (void)snprintf(below, sizeof below, "%s/below", path);
    CHECK_STATUS(env->dir_open(env, below, ENV_CREATE, &other), FKV_READONLY);
    CHECK(holds(env, dir, "a", "text"));
    REQUIRE(chmod(path, 0777) == 0);
    CHECK_STATUS(env->file_remove(env, dir, "a"), FKV_OK);
    env->dir_close(env, dir);
    CHECK_STATUS(env->dir_remove(env, path), FKV_OK);
}

/* -- faults: one count for several kinds (the rest is in test_io_crash.c) --------------------- */

static void faults_share_one_count(void)
{
    env_fault fault = {ENV_OP_WRITE | ENV_OP_SYNC, 3, 0, FKV_FULL, 1};
    fkv_env *mem, *env;
    env_dir *dir;

    REQUIRE_OK(env_mem_new(&mem));
    REQUIRE_OK(env_fault_new(mem, &env));
    REQUIRE_OK(env->dir_open(env, "d", ENV_CREATE, &dir));
    env_fault_set(env, &fault);
    CHECK_STATUS(put(env, dir, "f", "0123456789", 1), FKV_OK); /* opens, writes, syncs */
    CHECK(env_fault_seen(env) == 2 && env_fault_fired(env) == 0);
    CHECK_STATUS(put(env, dir, "f", "abcdefgh", 1), FKV_FULL);
    CHECK(strstr(fkv_errmsg(), "injected"));
    CHECK(env_fault_seen(env) == 3 && env_fault_fired(env) == 1);
    CHECK(holds(env, dir, "f", "abcd456789"));
    CHECK_STATUS(env->dir_sync(env, dir), FKV_OK);
    CHECK(env_fault_seen(env) == 4);
    env->dir_close(env, dir);
    env_fault_free(env);
    env_mem_free(mem);
}

/* -- file names ----------------------------------------------------------------------------- */

static void filenames(void)
{
    static const char *const strange[] = {"",
                                          ".",
                                          "manifest2",
                                          "Manifest",
                                          "manifest.tm",
                                          "manifest.tmp~",
                                          "lock ",
                                          "lockx",
                                          "00001.sst",
                                          "0000001.sst",
                                          "000001.SST",
                                          "000001.ss",
                                          "000001.sstx",
                                          "000001",
                                          "000001.",
                                          "000001.sst ",
                                          " 000001.sst",
                                          "+00001.sst",
                                          "-00001.sst",
                                          "0x0001.sst",
                                          "00000a.sst",
                                          ".sst",
                                          "sst",
                                          "18446744073709551615.sst",
                                          "2305843009213693953.wal",
                                          "18446744073709551616.sst",
                                          "18446744073709551617.wal",
                                          "36893488147419103233.sst",
                                          "99999999999999999999999999999999999999.sst",
                                          "01234567.wal",
                                          "1234567.WAL",
                                          "000001.wal.tmp",
                                          "000001_sst"};
    static const uint64_t numbers[] = {0,       1,          999999,           1000000,
                                       1234567, UINT32_MAX, (uint64_t)1 << 61};
    char name[FILENAME_BYTES_MAX];
    uint64_t number;

    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        number = 1;
        CHECK(filename_parse(strange[i], &number) == FILE_OTHER);
        CHECK(number == 0);
    }
    for (size_t i = 0; i < 1000; i++) {
        uint64_t n = i < 7 ? numbers[i] : check_random() >> (3 + check_below(61));
        filename_table(n, name);
        CHECK(filename_parse(name, &number) == FILE_TABLE && number == n);
        filename_wal(n, name);
        CHECK(filename_parse(name, &number) == FILE_WAL && number == n);
    }
    filename_table(7, name);
    CHECK(strcmp(name, "000007.sst") == 0);
    filename_wal(12345678, name);
    CHECK(strcmp(name, "12345678.wal") == 0);
    CHECK(filename_parse("1234567.sst", &number) == FILE_TABLE && number == 1234567);
    CHECK(filename_parse("2305843009213693952.sst", &number) == FILE_TABLE);
    CHECK(number == (uint64_t)1 << 61);
    CHECK(filename_parse(FILENAME_MANIFEST, &number) == FILE_MANIFEST && number == 0);
    CHECK(filename_parse(FILENAME_MANIFEST_TMP, &number) == FILE_MANIFEST_TMP);
    CHECK(filename_parse(FILENAME_LOCK, &number) == FILE_LOCK);
}

TEST_MAIN("test_io", TEST_CASE(opening), TEST_CASE(reading), TEST_CASE(allocating),
          TEST_CASE(locking), TEST_CASE(names), TEST_CASE(linking), TEST_CASE(sharing),
          TEST_CASE(threads), TEST_CASE(world), TEST_CASE(posix_only_regular_files),
          TEST_CASE(posix_descriptors_above_two), TEST_CASE(posix_permissions),
          TEST_CASE(faults_share_one_count), TEST_CASE(filenames))
