/*
** io/env_posix*.c: what the operating system refuses, interrupts or does by half reaches the caller
** with the right status, the reason and the name, and leaves nothing behind. (The contract where
** all goes well: test_io.c)
*/
#include "check.h"

#include <signal.h>

#include "unit/posix_scene.h"

/* Open descriptors of this process: none may be left behind. */
static int descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* -- operations ------------------------------------------------------------------------------- */

static fkv_status open_dir(scene *s)
{
    env_dir *dir = (env_dir *)s;
    fkv_status rc = s->env->dir_open(s->env, s->path, 0, &dir);

    CHECK((rc == FKV_OK) == (dir != NULL));
    s->env->dir_close(s->env, dir);
    return rc;
}

/* It is gone again if it could not be made whole. */
static fkv_status make(scene *s, int flags)
{
    env_dir *dir = (env_dir *)s;
    fkv_status rc = s->env->dir_open(s->env, s->below, ENV_CREATE | flags, &dir);

    CHECK((rc == FKV_OK) == (dir != NULL));
    s->env->dir_close(s->env, dir);
    CHECK(rmdir(s->below) == 0 ? rc == FKV_OK : rc != FKV_OK && errno == ENOENT);
    return rc;
}

static fkv_status make_dir(scene *s)
{
    return make(s, 0);
}

static fkv_status make_new_dir(scene *s)
{
    return make(s, ENV_EXCLUSIVE);
}

static fkv_status sync_dir(scene *s)
{
    return s->env->dir_sync(s->env, s->dir);
}

static fkv_status count_each(void *arg, const char *name)
{
    *(int *)arg += name[0] != '.';
    return FKV_OK;
}

static fkv_status list(scene *s)
{
    int n = 0;
    fkv_status rc = s->env->dir_list(s->env, s->dir, count_each, &n);

    CHECK(rc || n >= 1);
    return rc;
}

static fkv_status identify(scene *s)
{
    env_identity who = {1, 1};
    fkv_status rc = s->env->dir_identity(s->env, s->dir, &who);

    CHECK((rc == FKV_OK) == (who.inode != 0));
    return rc;
}

static fkv_status remove_dir(scene *s)
{
    return s->env->dir_remove(s->env, s->below) == FKV_NOTFOUND ? FKV_OK : FKV_IOERR;
}

static fkv_status ask_shares(scene *s)
{
    int shares = 7;
    fkv_status rc = s->env->dir_shares(s->env, s->dir, &shares);

    CHECK(rc ? shares == 0 : shares != 7);
    return rc;
}

static fkv_status open_as(scene *s, const char *name, int flags)
{
    env_file *file = (env_file *)s;
    fkv_status rc = s->env->file_open(s->env, s->dir, name, flags, &file);

    CHECK((rc == FKV_OK) == (file != NULL));
    s->env->file_close(s->env, file);
    return rc;
}

static fkv_status open_to_read(scene *s)
{
    return open_as(s, "file", ENV_READ);
}

static fkv_status open_to_write(scene *s)
{
    return open_as(s, "file", ENV_WRITE);
}

static fkv_status create(scene *s)
{
    return open_as(s, "other", RW);
}

static fkv_status read_all(scene *s)
{
    char data[32];
    size_t got = 99;
    fkv_status rc = s->env->file_read(s->env, s->file, 2, data, sizeof data, &got);

    CHECK(rc ? got == 0 : got == 8 && memcmp(data, "23456789", 8) == 0);
    return rc;
}

static fkv_status write_all(scene *s)
{
    return s->env->file_write(s->env, s->file, 0, "0123456789", 10);
}

static fkv_status sync_file(scene *s)
{
    return s->env->file_sync(s->env, s->file);
}

static fkv_status allocate(scene *s)
{
    return s->env->file_allocate(s->env, s->file, 0, 10);
}

static fkv_status ask_size(scene *s)
{
    uint64_t size = 99;
    fkv_status rc = s->env->file_size(s->env, s->file, &size);

    CHECK(size == (rc ? 0 : 10));
    return rc;
}

static fkv_status lock(scene *s)
{
    return s->env->file_lock(s->env, s->file, 5, ENV_LOCK_EXCLUSIVE);
}

static fkv_status ask_locked(scene *s)
{
    int held = 7;
    fkv_status rc = s->env->file_locked(s->env, s->file, 5, 3, &held);

    CHECK(held == 0); /* one's own lock does not count */
    return rc;
}

static fkv_status share(scene *s)
{
    void *base = s;
    fkv_status rc = s->env->file_share(s->env, s->file, 10, &base);

    CHECK((rc == FKV_OK) == (base != NULL));
    if (base) CHECK(memcmp(base, "0123456789", 10) == 0);
    s->env->file_unshare(s->env, base, 10);
    return rc;
}

static fkv_status ask_linked(scene *s)
{
    int linked = 7;
    fkv_status rc = s->env->file_linked(s->env, s->file, &linked);

    CHECK(linked == (rc ? 0 : 1));
    return rc;
}

/* There and back; where the first step fails nothing has changed. */
static fkv_status rename_file(scene *s)
{
    fkv_status rc = s->env->file_rename(s->env, s->dir, "file", "moved");

    CHECK(rc ? holds(s, "moved", NULL) : s->env->file_rename(s->env, s->dir, "moved", "file") == 0);
    CHECK(holds(s, "file", "0123456789"));
    return rc;
}

static fkv_status link_file(scene *s)
{
    fkv_status rc = s->env->file_link(s->env, s->dir, "file", s->dir, "linked");

    CHECK(holds(s, "linked", rc ? NULL : "0123456789"));
    if (!rc) CHECK_STATUS(s->env->file_remove(s->env, s->dir, "linked"), FKV_OK);
    return rc;
}

static fkv_status remove_file(scene *s)
{
    fkv_status rc = s->env->file_remove(s->env, s->dir, "file");

    CHECK(holds(s, "file", rc ? "0123456789" : NULL));
    if (rc) return rc;
    s->env->file_close(s->env, s->file);
    s->file = NULL;
    rc = s->env->file_open(s->env, s->dir, "file", RW, &s->file);
    return rc ? rc : write_all(s);
}

static fkv_status random_bytes(scene *s)
{
    static const uint8_t zeros[40];
    uint8_t bytes[40];
    fkv_status rc = s->env->random(s->env, bytes, sizeof bytes);

    if (!rc) CHECK(memcmp(bytes + 20, zeros, 20) != 0); /* all of them, not only the first */
    return rc;
}

static void nothing(void *arg)
{
    (void)arg;
}

/* Whatever happens, the caller's signal mask is what it was. */
static fkv_status start_thread(scene *s)
{
    env_thread *thread = (env_thread *)s;
    fkv_status rc = s->env->thread_start(s->env, nothing, NULL, "worker", &thread);
    sigset_t now;

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0 && !sigismember(&now, SIGTERM));
    CHECK((rc == FKV_OK) == (thread != NULL));
    s->env->thread_join(s->env, thread);
    return rc;
}

static fkv_status make_mutex(scene *s)
{
    env_mutex *mutex = (env_mutex *)s;
    fkv_status rc = s->env->mutex_new(s->env, &mutex);

    CHECK((rc == FKV_OK) == (mutex != NULL));
    s->env->mutex_free(s->env, mutex);
    return rc;
}

static fkv_status make_condition(scene *s)
{
    env_cond *cond = (env_cond *)s;
    fkv_status rc = s->env->cond_new(s->env, &cond);

    CHECK((rc == FKV_OK) == (cond != NULL));
    s->env->cond_free(s->env, cond);
    return rc;
}

/* -- every refusal ---------------------------------------------------------------------------- */

typedef struct refusal {
    const char *call;
    int error, after; /* the trick */
    fkv_status (*operation)(scene *);
    fkv_status status;
    const char *text; /* how the message begins; NULL: none is raised */
} refusal;

static const refusal refusals[] = {
    {"openat", ENOENT, 0, open_dir, FKV_NOTFOUND, "cannot open directory \""},
    {"openat", EACCES, 0, open_dir, FKV_CANTOPEN, "cannot open directory \""},
    {"openat", EMFILE, 0, open_dir, FKV_CANTOPEN, "cannot open directory \""},
    {"openat", ENOMEM, 0, open_dir, FKV_NOMEM, "cannot open directory \""},
    {"openat", EIO, 0, make_dir, FKV_CANTOPEN, "cannot open directory \""},
    {"openat", EMFILE, 1, make_dir, FKV_CANTOPEN, "cannot open directory \""},
    {"openat", EMFILE, 2, make_dir, FKV_IOERR_SYNC, "cannot sync the parent of \""},
    {"openat", ENFILE, 0, make_new_dir, FKV_CANTOPEN, "cannot open directory \""},
    {"fsync", EIO, 0, make_dir, FKV_IOERR_SYNC, "cannot sync the parent of \""},
    {"mkdir", EACCES, 0, make_dir, FKV_READONLY, "cannot create directory \""},
    {"mkdir", EROFS, 0, make_dir, FKV_READONLY, "cannot create directory \""},
    {"mkdir", ENOSPC, 0, make_dir, FKV_FULL, "cannot create directory \""},
    {"mkdir", EDQUOT, 0, make_new_dir, FKV_FULL, "cannot create directory \""},
    {"mkdir", ENAMETOOLONG, 0, make_new_dir, FKV_CANTOPEN, "cannot create directory \""},
    {"mkdir", EEXIST, 0, make_new_dir, FKV_BUSY, "cannot create directory \""},
    {"fsync", EIO, 0, sync_dir, FKV_IOERR_SYNC, "cannot sync directory \""},
    {"fsync", ENOSPC, 0, sync_dir, FKV_IOERR_SYNC, "cannot sync directory \""},
    {"openat", EMFILE, 0, list, FKV_IOERR, "cannot list directory \""},
    {"openat", EACCES, 0, list, FKV_IOERR, "cannot list directory \""},
    {"fdopendir", ENOMEM, 0, list, FKV_NOMEM, "cannot list directory \""},
    {"readdir", EIO, 0, list, FKV_IOERR, "cannot list directory \""},
    {"readdir", EIO, 3, list, FKV_IOERR, "cannot list directory \""},
    {"fstat", EIO, 0, identify, FKV_IOERR, "cannot examine directory \""},
    {"rmdir", EBUSY, 0, remove_dir, FKV_IOERR, "cannot remove directory \""},
    {"fstatfs", EIO, 0, ask_shares, FKV_IOERR, "cannot examine \""},
    {"openat", EACCES, 0, open_to_read, FKV_CANTOPEN, "cannot open \""},
    {"openat", EPERM, 0, open_to_read, FKV_CANTOPEN, "cannot open \""},
    {"openat", EMFILE, 0, open_to_read, FKV_CANTOPEN, "cannot open \""},
    {"openat", EACCES, 0, open_to_write, FKV_READONLY, "cannot open for writing \""},
    {"openat", EROFS, 0, open_to_write, FKV_READONLY, "cannot open for writing \""},
    {"openat", EPERM, 0, open_to_write, FKV_READONLY, "cannot open for writing \""},
    {"openat", ENOSPC, 0, create, FKV_FULL, "cannot open for writing \""},
    {"openat", EDQUOT, 0, create, FKV_FULL, "cannot open for writing \""},
    {"openat", EIO, 0, create, FKV_CANTOPEN, "cannot open for writing \""},
    {"fstat", EIO, 0, open_to_read, FKV_CANTOPEN, "cannot examine \""},
    {"fstat", ENOMEM, 0, open_to_write, FKV_NOMEM, "cannot examine \""},
    {"pread", EIO, 0, read_all, FKV_IOERR, "cannot read \""},
    {"pread", ENOMEM, 0, read_all, FKV_NOMEM, "cannot read \""},
    {"pwrite", EIO, 0, write_all, FKV_IOERR, "cannot write \""},
    {"pwrite", ENOSPC, 0, write_all, FKV_FULL, "cannot write \""},
    {"pwrite", EDQUOT, 0, write_all, FKV_FULL, "cannot write \""},
    {"pwrite", EFBIG, 0, write_all, FKV_IOERR, "cannot write \""},
    {"fdatasync", EIO, 0, sync_file, FKV_IOERR_SYNC, "cannot sync \""},
    {"fdatasync", ENOSPC, 0, sync_file, FKV_IOERR_SYNC, "cannot sync \""},
    {"fallocate", ENOSPC, 0, allocate, FKV_FULL, "cannot allocate space for \""},
    {"fallocate", EDQUOT, 0, allocate, FKV_FULL, "cannot allocate space for \""},
    {"fallocate", EIO, 0, allocate, FKV_IOERR, "cannot allocate space for \""},
    {"fstat", EIO, 0, ask_size, FKV_IOERR, "cannot examine \""},
    {"fcntl", ENOLCK, 0, lock, FKV_IOERR, "cannot lock \""},
    {"fcntl", ENOLCK, 0, ask_locked, FKV_IOERR, "cannot examine locks of \""},
    {"mmap", ENOMEM, 0, share, FKV_NOMEM, "cannot map \""},
    {"mmap", EACCES, 0, share, FKV_IOERR, "cannot map \""},
    {"fstat", EIO, 0, share, FKV_IOERR, "cannot examine \""},
    {"fcntl", EBADF, 0, share, FKV_IOERR, "cannot map \""},
    {"fstat", EIO, 0, ask_linked, FKV_IOERR, "cannot examine \""},
    {"renameat", EROFS, 0, rename_file, FKV_READONLY, "cannot rename \""},
    {"renameat", ENOSPC, 0, rename_file, FKV_FULL, "cannot rename \""},
    {"renameat", EIO, 0, rename_file, FKV_IOERR, "cannot rename \""},
    {"linkat", EXDEV, 0, link_file, FKV_UNSUPPORTED, NULL},
    {"linkat", EPERM, 0, link_file, FKV_UNSUPPORTED, NULL},
    {"linkat", EMLINK, 0, link_file, FKV_UNSUPPORTED, NULL},
    {"linkat", EOPNOTSUPP, 0, link_file, FKV_UNSUPPORTED, NULL},
    {"linkat", ENOSYS, 0, link_file, FKV_UNSUPPORTED, NULL},
    {"linkat", EACCES, 0, link_file, FKV_READONLY, "cannot link \""},
    {"linkat", EDQUOT, 0, link_file, FKV_FULL, "cannot link \""},
    {"linkat", EIO, 0, link_file, FKV_IOERR, "cannot link \""},
    {"unlinkat", EACCES, 0, remove_file, FKV_READONLY, "cannot remove \""},
    {"unlinkat", EBUSY, 0, remove_file, FKV_IOERR, "cannot remove \""},
    {"getrandom", ENOSYS, 0, random_bytes, FKV_IOERR, "cannot read \"getrandom\""},
    {"pthread_attr_init", ENOMEM, 0, start_thread, FKV_NOMEM, "cannot start thread \"worker\""},
    {"pthread_attr_setstacksize", EINVAL, 0, start_thread, FKV_NOMEM,
     "cannot start thread \"worker\""},
    {"pthread_create", EAGAIN, 0, start_thread, FKV_NOMEM, "cannot start thread \"worker\""},
    {"pthread_mutex_init", EAGAIN, 0, make_mutex, FKV_NOMEM, "cannot make \"mutex\""},
    {"pthread_condattr_init", ENOMEM, 0, make_condition, FKV_NOMEM, "cannot make \"condition\""},
    {"pthread_condattr_setclock", EINVAL, 0, make_condition, FKV_NOMEM,
     "cannot make \"condition\""}};

/* Does the message have the action, the object and the reason? */
static int tells(const scene *s, const refusal *r)
{
    const char *told = fkv_errmsg();
    int of_path = strchr(r->text, '"')[1] == 0;

    return strncmp(told, r->text, strlen(r->text)) == 0 && (!of_path || strstr(told, s->path)) &&
           strstr(told, strerror(r->error));
}

/* Status, reason and name; nothing open, nothing changed; and then it works. */
static void every_refusal_is_told(void)
{
    scene s;

    REQUIRE(scene_open(&s));
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const refusal *r = &refusals[i];
        int open_before = descriptors(), before = check_failures;

        trick(r->call, r->error)->after = r->after;
        CHECK_STATUS(r->operation(&s), r->status);
        CHECK(trick_end());
        if (r->text) CHECK(tells(&s, r));
        CHECK(descriptors() == open_before);
        CHECK_STATUS(r->operation(&s), FKV_OK);
        CHECK(descriptors() == open_before);
        CHECK(holds(&s, "file", "0123456789"));
        if (check_failures != before) {
            (void)printf("  ^ %s: %s; the message was: %s\n", r->call, strerror(r->error),
                         fkv_errmsg());
        }
    }
    scene_close(&s);
}

/* -- what is no refusal ----------------------------------------------------------------------- */

static void interrupted_calls_are_repeated(void)
{
    static const struct {
        const char *call;
        fkv_status (*operation)(scene *);
    } calls[] = {{"openat", open_dir},     {"openat", open_to_read},   {"fsync", sync_dir},
                 {"fsync", make_dir},      {"pread", read_all},        {"pwrite", write_all},
                 {"fdatasync", sync_file}, {"fallocate", allocate},    {"fcntl", lock},
                 {"fcntl", ask_locked},    {"getrandom", random_bytes}};
    scene s;

    REQUIRE(scene_open(&s));
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        trick(calls[i].call, EINTR)->times = 3;
        CHECK_STATUS(calls[i].operation(&s), FKV_OK);
        CHECK(trick_end());
    }
    /* Where fallocate is not known zeros are written instead, and that may be interrupted. */
    trick("fallocate", EOPNOTSUPP)->times = 1;
    trick("posix_fallocate", EINTR)->times = 2;
    CHECK_STATUS(s.env->file_allocate(s.env, s.file, 0, 5000), FKV_OK);
    CHECK(trick_end());
    {
        uint64_t size = 0;
        CHECK_STATUS(s.env->file_size(s.env, s.file, &size), FKV_OK);
        CHECK(size == 5000);
    }
    trick("fallocate", ENOSYS);
    trick("posix_fallocate", ENOSPC);
    CHECK_STATUS(s.env->file_allocate(s.env, s.file, 0, 9000), FKV_FULL);
    CHECK(trick_end() && strstr(fkv_errmsg(), strerror(ENOSPC)));
    scene_close(&s);
}

static void short_counts_are_completed(void)
{
    scene s;

    REQUIRE(scene_open(&s));
    hook_most = 3;
    CHECK_STATUS(s.env->file_write(s.env, s.file, 0, "abcdefghij", 10), FKV_OK);
    (void)trick_end();
    CHECK(holds(&s, "file", "abcdefghij"));
    CHECK_STATUS(write_all(&s), FKV_OK);
    hook_most = 3;
    CHECK_STATUS(read_all(&s), FKV_OK);
    CHECK_STATUS(random_bytes(&s), FKV_OK);
    (void)trick_end();

    /* The disk fills up in the middle of a write: what was written is there, and it has failed. */
    hook_most = 4;
    trick("pwrite", ENOSPC)->after = 1;
    CHECK_STATUS(s.env->file_write(s.env, s.file, 0, "ABCDEFGH", 8), FKV_FULL);
    CHECK(trick_end());
    CHECK(holds(&s, "file", "ABCD456789"));

    /* A write that does nothing, time and again, is an error and no endless loop. */
    trick("pwrite", HOOK_NOTHING);
    CHECK_STATUS(write_all(&s), FKV_IOERR);
    CHECK(trick_end() && strstr(fkv_errmsg(), strerror(EIO)));
    trick("getrandom", HOOK_NOTHING);
    CHECK_STATUS(random_bytes(&s), FKV_IOERR);
    CHECK(trick_end() && strstr(fkv_errmsg(), strerror(EIO)));
    scene_close(&s);
}

static void locked_by_others(void)
{
    static const int errors[] = {EAGAIN, EACCES};
    scene s;

    REQUIRE(scene_open(&s));
    for (int i = 0; i < 2; i++) {
        trick("fcntl", errors[i]);
        CHECK_STATUS(lock(&s), FKV_BUSY);
        CHECK(trick_end() && strstr(fkv_errmsg(), "somebody else holds it"));
    }
    scene_close(&s);
}

/* Directories of which one of the steps in making them is not to be had. */
static void directories_made_the_hard_way(void)
{
    env_dir *dir = NULL;
    struct stat st;
    scene s;

    REQUIRE(scene_open(&s));
    /* The parent may not be read: its file system is synced. */
    trick("openat", EACCES)->after = 2;
    CHECK_STATUS(make_dir(&s), FKV_OK);
    CHECK(trick_end());
    trick("openat", EACCES)->after = 2;
    trick("syncfs", EIO);
    CHECK_STATUS(make_dir(&s), FKV_IOERR_SYNC);
    CHECK(trick_end() && strstr(fkv_errmsg(), strerror(EIO)));
    /* There is no such thing as syncing a directory. */
    trick("fsync", EINVAL);
    CHECK_STATUS(make_dir(&s), FKV_OK);
    CHECK(trick_end());

    /* Somebody else makes it between our looking and our making. */
    REQUIRE(mkdir(s.below, 0777) == 0);
    trick("openat", ENOENT);
    CHECK_STATUS(s.env->dir_open(s.env, s.below, ENV_CREATE, &dir), FKV_OK);
    CHECK(trick_end());
    s.env->dir_close(s.env, dir);
    /* And removes it again: twice is enough. */
    trick("openat", ENOENT)->times = 2;
    CHECK_STATUS(s.env->dir_open(s.env, s.below, ENV_CREATE, &dir), FKV_NOTFOUND);
    CHECK(trick_end() && dir == NULL);
    CHECK(stat(s.below, &st) == 0); /* what somebody else made stays */
    CHECK_STATUS(s.env->dir_remove(s.env, s.below), FKV_OK);

    /* A descriptor below three that cannot be moved up. */
    {
        int saved = (int)HOOK_NEXT(fcntl)(0, F_DUPFD_CLOEXEC, 100), before;
        (void)close(0);
        before = descriptors();
        trick("fcntl", EMFILE);
        CHECK_STATUS(open_dir(&s), FKV_CANTOPEN);
        CHECK(trick_end() && strstr(fkv_errmsg(), strerror(EMFILE)));
        CHECK(descriptors() == before);
        if (saved >= 0) CHECK(dup2(saved, 0) == 0 && close(saved) == 0);
    }
    scene_close(&s);
}

static void names_are_plain(void)
{
    scene s;

    REQUIRE(scene_open(&s));
    CHECK_STATUS(s.env->file_link(s.env, s.dir, "a/b", s.dir, "c"), FKV_INVALID);
    CHECK_STATUS(s.env->file_link(s.env, s.dir, "file", s.dir, "../c"), FKV_INVALID);
    CHECK_STATUS(s.env->file_link(s.env, s.dir, "none", s.dir, "c"), FKV_NOTFOUND);
    CHECK_STATUS(s.env->file_link(s.env, s.dir, "file", s.dir, "file"), FKV_BUSY);
    CHECK(strstr(fkv_errmsg(), "cannot create") && strstr(fkv_errmsg(), "file"));
    CHECK_STATUS(s.env->file_rename(s.env, s.dir, "a/b", "c"), FKV_INVALID);
    CHECK_STATUS(s.env->file_rename(s.env, s.dir, "file", ".."), FKV_INVALID);
    CHECK(holds(&s, "file", "0123456789") && holds(&s, "c", NULL));
    scene_close(&s);
}

/* -- no memory -------------------------------------------------------------------------------- */

static void no_memory(void)
{
    static const struct {
        fkv_status (*operation)(scene *);
        const char *text;
    } cases[] = {{open_dir, "cannot open directory"},
                 {open_to_read, "cannot open"},
                 {share, "cannot map"},
                 {start_thread, "cannot start thread"},
                 {make_mutex, "cannot make"},
                 {make_condition, "cannot make"}};
    scene s;

    REQUIRE(scene_open(&s));
    alloc_set_hook(&dry_heap);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        heap_left = 0;
        CHECK_STATUS(cases[i].operation(&s), FKV_NOMEM);
        CHECK(strncmp(fkv_errmsg(), cases[i].text, strlen(cases[i].text)) == 0);
        heap_left = 100;
        CHECK_STATUS(cases[i].operation(&s), FKV_OK);
    }
    alloc_set_hook(NULL);
    scene_close(&s);
}

TEST_MAIN("test_io_posix", TEST_CASE(every_refusal_is_told),
          TEST_CASE(interrupted_calls_are_repeated), TEST_CASE(short_counts_are_completed),
          TEST_CASE(locked_by_others), TEST_CASE(directories_made_the_hard_way),
          TEST_CASE(names_are_plain), TEST_CASE(no_memory))
