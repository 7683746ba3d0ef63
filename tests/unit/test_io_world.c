/*
** io/env_posix*.c and the world: sizes that no file has, file systems, permissions, time, the
** boot's number, forks. (What is refused: test_io_posix.c)
*/
#include "../dry_heap.h"
#include "check.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "unit/posix_scene.h"

/* -- limits ----------------------------------------------------------------------------------- */

static void beyond_every_file(void)
{
    const uint64_t end = INT64_MAX;
    char byte = 'x';
    size_t got = 9;
    int held = 9;
    void *base = &byte;
    scene s;

    REQUIRE(scene_open(&s));
    CHECK_STATUS(s.env->file_read(s.env, s.file, end + 1, &byte, 1, &got), FKV_OK);
    CHECK(got == 0 && byte == 'x');
    CHECK_STATUS(s.env->file_write(s.env, s.file, end + 1, &byte, 1), FKV_IOERR);
    CHECK(strstr(fkv_errmsg(), strerror(EFBIG)));
    CHECK_STATUS(s.env->file_write(s.env, s.file, end - 1, &byte, 2), FKV_IOERR);
    CHECK_STATUS(s.env->file_allocate(s.env, s.file, end + 1, 1), FKV_IOERR);
    CHECK_STATUS(s.env->file_allocate(s.env, s.file, 1, end), FKV_IOERR);
    CHECK(strstr(fkv_errmsg(), strerror(EFBIG)));
    CHECK_STATUS(s.env->file_lock(s.env, s.file, end, ENV_LOCK_SHARED), FKV_IOERR);
    CHECK_STATUS(s.env->file_locked(s.env, s.file, end, 1, &held), FKV_IOERR);
    CHECK_STATUS(s.env->file_locked(s.env, s.file, 2, end, &held), FKV_IOERR);
    CHECK(held == 0 && strstr(fkv_errmsg(), strerror(EINVAL)));
    CHECK_STATUS(s.env->file_locked(s.env, s.file, 2, 0, &held), FKV_OK);
    CHECK(held == 0);
    CHECK_STATUS(s.env->file_share(s.env, s.file, 11, &base), FKV_IOERR); /* it has 10 bytes */
    CHECK(base == NULL && strstr(fkv_errmsg(), strerror(EINVAL)));
    s.env->file_unshare(s.env, NULL, 11);
    CHECK(holds(&s, "file", "0123456789"));

    base = s.env->map(s.env, 0, 0);
    CHECK(base != NULL);
    s.env->unmap(s.env, base, 0);
    s.env->unmap(s.env, NULL, 4096);
    trick("mmap", ENOMEM);
    CHECK(s.env->map(s.env, 4096, 0) == NULL && trick_end());
    scene_close(&s);
}

/* Where it could be a signal to ask for such memory, or to use it, there is none. */
static void regions_that_would_kill(void)
{
    fkv_env *env = env_posix();
    struct rlimit small = {1 << 20, 1 << 20};
    int status = -1;
    pid_t child;

    hook_text = "2\n"; /* no overcommitment */
    CHECK(!env->region_new(env, 8192));
    hook_text = NULL;
    trick("open", ENOENT); /* or that cannot be told */
    CHECK(!env->region_new(env, 8192) && trick_end());
    trick("read", EIO);
    CHECK(!env->region_new(env, 8192) && trick_end());
    child = fork();
    if (child == 0) {
        if (setrlimit(RLIMIT_FSIZE, &small)) _exit(1);
        _exit(env->region_new(env, 2 << 20) ? 2 : env->region_new(env, 1 << 20) ? 0 : 3);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* Memory for others that is not to be had, and theirs that is not. */
static void regions_that_fail(void)
{
    static const char *const calls[] = {"memfd_create", "ftruncate", "fcntl", "mmap"};
    fkv_env *env = env_posix();
    env_region *r, *theirs;

    for (int i = 0; i < 4; i++) {
        trick(calls[i], ENOSYS);
        CHECK(!env->region_new(env, 8192) && trick_end());
    }
    trick("mmap", ENOMEM)->after = 1; /* it is mapped twice */
    CHECK(!env->region_new(env, 8192) && trick_end());
    trick("memfd_create", EINVAL); /* an older kernel */
    r = env->region_new(env, 8192);
    REQUIRE(r && trick_end());
    heap_left = 0;
    alloc_set_hook(&dry_heap);
    CHECK(!env->region_new(env, 8192) && !env->region_open(env, r->name, 4096));
    alloc_set_hook(NULL);
    for (int i = 0; i < 4; i++) {
        static const char *const opening[] = {"open", "fcntl", "fstat", "mmap"};
        trick(opening[i], EMFILE);
        CHECK(!env->region_open(env, r->name, 4096) && trick_end());
    }
    trick("mmap", ENOMEM)->after = 1;
    CHECK(!env->region_open(env, r->name, 4096) && trick_end());
    theirs = env->region_open(env, r->name, 0);
    CHECK(theirs != NULL);
    env->region_free(env, theirs);
    env->region_free(env, r);
}

/* Whose locks and pages every process shares is known by the file system's number. */
static void which_file_systems_share(void)
{
    int shares = 9;
    env_dir *dir;
    scene s;

    REQUIRE(scene_open(&s));
    REQUIRE_OK(s.env->dir_open(s.env, "/proc", 0, &dir));
    CHECK_STATUS(s.env->dir_shares(s.env, dir, &shares), FKV_OK);
    CHECK(shares == 0);
    s.env->dir_close(s.env, dir);
    REQUIRE_OK(s.env->dir_open(s.env, "/dev/shm", 0, &dir));
    CHECK_STATUS(s.env->dir_shares(s.env, dir, &shares), FKV_OK);
    CHECK(shares == 1);
    s.env->dir_close(s.env, dir);
    scene_close(&s);
}

/* -- who may read what is made ---------------------------------------------------------------- */

/* The permissions of the new directory `path/name`; -1 if it could not be made. */
static int mode_of_new(scene *s, const char *name)
{
    char path[ROOM * 2];
    env_dir *dir = NULL;
    struct stat st;
    int mode = -1;

    (void)snprintf(path, sizeof path, "%s/%s", s->path, name);
    if (s->env->dir_open(s->env, path, ENV_CREATE, &dir) == FKV_OK && stat(path, &st) == 0)
        mode = st.st_mode & 0777;
    s->env->dir_close(s->env, dir);
    CHECK_STATUS(s->env->dir_remove(s->env, path), FKV_OK);
    return mode;
}

static void modes_after_the_file(void)
{
    char path[ROOM * 2];
    mode_t before = umask(0);
    scene s;

    REQUIRE(scene_open(&s));
    (void)snprintf(path, sizeof path, "%s/file", s.path);
    REQUIRE(chmod(path, 0640) == 0);
    CHECK(mode_of_new(&s, "file-x") == 0750);
    REQUIRE(chmod(path, 0400) == 0);
    CHECK(mode_of_new(&s, "file-x") == 0700);
    REQUIRE(chmod(path, 0606) == 0);
    CHECK(mode_of_new(&s, "file-x") == 0707);
    CHECK(mode_of_new(&s, "none-x") == 0777); /* nothing is called "none" */
    CHECK(mode_of_new(&s, "plain") == 0777);
    (void)snprintf(path, sizeof path, "%s/folder", s.path);
    REQUIRE(mkdir(path, 0700) == 0);
    CHECK(mode_of_new(&s, "folder-x") == 0777); /* no file */
    CHECK_STATUS(s.env->dir_remove(s.env, path), FKV_OK);
    (void)snprintf(path, sizeof path, "%s/a-b", s.path);
    REQUIRE(mkdir(path, 0700) == 0);
    CHECK(mode_of_new(&s, "a-b/c") == 0777); /* the dash is in the parent's name */
    CHECK_STATUS(s.env->dir_remove(s.env, path), FKV_OK);
    alloc_set_hook(&dry_heap); /* no memory to look: then for nobody else */
    heap_left = 1;
    CHECK(mode_of_new(&s, "file-x") == 0700);
    alloc_set_hook(NULL);
    (void)umask(before);
    scene_close(&s);
}

/* -- time ------------------------------------------------------------------------------------- */

static void endless_sleeps_end(void)
{
    fkv_env *env = env_posix();
    uint64_t before = env->now_us(env);
    struct timespec now;

    trick("clock_nanosleep", EINTR)->times = 2;
    env->sleep_us(env, 2000);
    CHECK(trick_end() && env->now_us(env) - before >= 2000);
    trick("clock_nanosleep", HOOK_NOTHING);
    env->sleep_us(env, UINT64_MAX); /* a year, and not a moment that has overflowed */
    CHECK(trick_end());
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(hook_until.tv_sec - now.tv_sec > 364 * 86400);
    CHECK(hook_until.tv_sec - now.tv_sec <= 365 * 86400);
}

/* -- the boot's number ------------------------------------------------------------------------ */

typedef enum boot_case {
    BOOT_NO_FILE,
    BOOT_NO_READ,
    BOOT_SHORT,
    BOOT_NO_CHANCE,
    BOOT_AGAIN
} boot_case;

/* It is found out once in a process, so each case has one of its own. Exit status 0: it is as it
** should be. */
static int boot_child(boot_case which)
{
    static const uint8_t zeros[16];
    fkv_env *env = env_posix();
    uint8_t a[16], b[16], real[16];
    char text[64] = {0};
    int fd = HOOK_NEXT(open)("/proc/sys/kernel/random/boot_id", O_RDONLY), digits = 0;

    if (fd < 0 || HOOK_NEXT(read)(fd, text, sizeof text) < 36) return 1;
    (void)close(fd);
    for (const char *p = text; digits < 32; p++) {
        if (*p == '-') continue;
        real[digits / 2] =
            (uint8_t)(real[digits / 2] << 4 | (*p <= '9' ? *p - '0' : *p - 'a' + 10));
        digits++;
    }
    if (which == BOOT_NO_FILE || which == BOOT_NO_CHANCE) trick("open", ENOENT);
    if (which == BOOT_NO_READ) trick("read", EIO);
    if (which == BOOT_SHORT) hook_text = "0123456789abcdef-FG{}";
    if (which == BOOT_AGAIN) trick("read", EINTR)->times = 2;
    if (which == BOOT_NO_CHANCE) trick("getrandom", ENOSYS);
    env->boot_id(env, a);
    if (which != BOOT_SHORT && !trick_end()) return 2;
    env->boot_id(env, b);
    if (memcmp(a, b, sizeof a) != 0) return 3;
    if ((memcmp(a, zeros, sizeof a) == 0) != (which == BOOT_NO_CHANCE)) return 4;
    if ((memcmp(a, real, sizeof a) == 0) != (which == BOOT_AGAIN)) return 5;
    return 0;
}

/* Without /proc every process counts as another boot. REQUIRES: nobody has asked before. */
static void boots_that_do_not_tell(void)
{
    for (boot_case which = BOOT_NO_FILE; which <= BOOT_AGAIN; which++) {
        int status = -1;
        pid_t child = fork();

        REQUIRE(child >= 0);
        if (child == 0) _exit(boot_child(which));
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
        if (status) (void)printf("  ^ case %d: %d\n", (int)which, WEXITSTATUS(status));
    }
}

/* -- forks ------------------------------------------------------------------------------------ */

typedef struct inherited {
    scene s;
    env_mutex *mutex;
    env_cond *cond;
    env_thread *thread;
    char *page; /* shared with whoever has the file */
    int stop;
} inherited;

static void wait_for_stop(void *arg)
{
    inherited *h = arg;
    fkv_env *env = h->s.env;

    env->mutex_lock(env, h->mutex);
    while (!h->stop) env->cond_wait(env, h->cond, h->mutex, 0);
    env->mutex_unlock(env, h->mutex);
}

/* Nothing of the parent's works, waits or is taken for somebody's. The number of what is wrong. */
static int in_child(inherited *h, uint32_t forks)
{
    fkv_env *env = h->s.env;
    env_mutex *own = NULL;
    char data[4];
    size_t got;

    if (env->fork_count(env) != forks + 1) return 1;
    if (env->file_read(env, h->s.file, 0, data, 4, &got) != FKV_IOERR) return 2;
    if (!strstr(fkv_errmsg(), strerror(EBADF))) return 3;
    if (env->dir_sync(env, h->s.dir) != FKV_IOERR_SYNC) return 4;
    if (memcmp(h->page, "0123456789", 10) != 0) return 7;
    memset(h->page, 'x', 10); /* in a copy */
    env->file_unshare(env, h->page, 10);
    env->mutex_lock(env, h->mutex); /* the parent holds it */
    env->cond_wait(env, h->cond, h->mutex, 0);
    env->cond_wake_all(env, h->cond);
    env->mutex_unlock(env, h->mutex);
    env->thread_join(env, h->thread); /* it is not here */
    env->cond_free(env, h->cond);
    env->mutex_free(env, h->mutex);
    env->file_close(env, h->s.file);
    env->dir_close(env, h->s.dir);
    if (env->mutex_new(env, &own)) return 5;
    env->mutex_lock(env, own);
    env->mutex_unlock(env, own);
    env->mutex_free(env, own);
    return env->dir_open(env, h->s.path, 0, &h->s.dir) ? 6 : 0;
}

static void what_a_child_inherits(void)
{
    inherited h = {.stop = 0};
    fkv_env *env = env_posix();
    int status = -1;
    uint32_t forks = env->fork_count(env);
    pid_t child;

    REQUIRE(scene_open(&h.s));
    REQUIRE_OK(env->mutex_new(env, &h.mutex));
    REQUIRE_OK(env->cond_new(env, &h.cond));
    REQUIRE_OK(env->thread_start(env, wait_for_stop, &h, "waits", &h.thread));
    REQUIRE_OK(env->file_share(env, h.s.file, 10, (void **)&h.page));
    env->mutex_lock(env, h.mutex);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        (void)alarm(20); /* a wait without end is a failure */
        _exit(in_child(&h, forks));
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (status) (void)printf("  ^ the child said %#x\n", (unsigned)status);
    CHECK(env->fork_count(env) == forks);
    h.stop = 1;
    env->cond_wake_all(env, h.cond);
    env->mutex_unlock(env, h.mutex);
    env->thread_join(env, h.thread);
    CHECK(holds(&h.s, "file", "0123456789"));
    CHECK_STATUS(env->dir_sync(env, h.s.dir), FKV_OK);
    env->file_unshare(env, h.page, 10);
    env->cond_free(env, h.cond);
    env->mutex_free(env, h.mutex);
    scene_close(&h.s);
}

/* It has no memory for a copy of what is shared, so it has nothing there. */
static void a_child_without_memory(void)
{
    int status = -1;
    void *page = NULL;
    pid_t child;
    scene s;

    REQUIRE(scene_open(&s));
    REQUIRE_OK(s.env->file_share(s.env, s.file, 10, &page));
    trick("mmap", ENOMEM);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) _exit(trick_end() && msync(page, 10, MS_ASYNC) < 0 && errno == ENOMEM ? 0 : 1);
    (void)trick_end();
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(memcmp(page, "0123456789", 10) == 0);
    s.env->file_unshare(s.env, page, 10);
    scene_close(&s);
}

TEST_MAIN("test_io_world", TEST_CASE(boots_that_do_not_tell), TEST_CASE(beyond_every_file),
          TEST_CASE(regions_that_fail), TEST_CASE(regions_that_would_kill),
          TEST_CASE(which_file_systems_share), TEST_CASE(modes_after_the_file),
          TEST_CASE(endless_sleeps_end), TEST_CASE(what_a_child_inherits),
          TEST_CASE(a_child_without_memory))
