/*
** posix_hook.h -- calls of the C library that fail, or do less than asked, when a test says so.
**
** The functions below have the names of the C library's, and a program's own definitions take
** precedence. They stay hidden in it: the engine, which is linked in, passes through here, the
** shared libraries do not. What no trick is played on goes on to the next definition, which is the
** C library's or a sanitizer's.
**
** trick("pwrite", EIO) fails the next pwrite; the fields say the rest. One thread at a time.
*/
#ifndef FKV_TESTS_POSIX_HOOK_H
#define FKV_TESTS_POSIX_HOOK_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

typedef struct hook_trick {
    const char *call; /* the function's name */
    int error;        /* what it fails with */
    int after;        /* so many calls of it work first */
    int times;        /* then so many fail */
    int fired;        /* so many have failed */
} hook_trick;

enum { HOOK_TRICKS = 4, HOOK_NOTHING = -1 /* as an error: do nothing, and say 0 */ };

static hook_trick hook_tricks[HOOK_TRICKS];
static size_t hook_count;
static size_t hook_most;      /* bytes that one pread, pwrite or getrandom does; 0 = all */
static const char *hook_text; /* what read reads */

static inline hook_trick *trick(const char *call, int error)
{
    hook_trick *t = &hook_tricks[hook_count < HOOK_TRICKS ? hook_count++ : 0];

    *t = (hook_trick){.call = call, .error = error, .times = 1};
    return t;
}

/* No more of it. Returns whether every trick was played to its end. */
static inline int trick_end(void)
{
    int all = 1;

    for (size_t i = 0; i < hook_count; i++)
        if (hook_tricks[i].times > 0 || hook_tricks[i].fired == 0) all = 0;
    hook_count = 0;
    hook_most = 0;
    hook_text = NULL;
    return all;
}

/* Is this call to fail? The error, also in errno, or HOOK_NOTHING; else 0. */
static inline int tricked(const char *call)
{
    for (size_t i = 0; i < hook_count; i++) {
        hook_trick *t = &hook_tricks[i];
        if (strcmp(t->call, call) != 0 || t->times == 0) continue;
        if (t->after > 0) {
            t->after--;
            return 0;
        }
        t->times--;
        t->fired++;
        if (t->error > 0) errno = t->error;
        return t->error;
    }
    return 0;
}

static inline size_t hook_less(size_t size)
{
    return hook_most && size > hook_most ? hook_most : size;
}

#define HOOK_NEXT(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

/* A function that fails with -1 and errno; one that returns the error; one that returns NULL. */
#define HOOK(result, function, parameters, arguments)                                              \
    result function parameters                                                                     \
    {                                                                                              \
        int error = tricked(#function);                                                            \
        return error > 0 ? -1 : error ? 0 : HOOK_NEXT(function) arguments;                         \
    }
#define HOOK_ERROR(function, parameters, arguments)                                                \
    int function parameters                                                                        \
    {                                                                                              \
        int error = tricked(#function);                                                            \
        return error ? error : HOOK_NEXT(function) arguments;                                      \
    }
#define HOOK_POINTER(result, function, parameters, arguments)                                      \
    result *function parameters                                                                    \
    {                                                                                              \
        return tricked(#function) ? NULL : HOOK_NEXT(function) arguments;                          \
    }

HOOK(int, fsync, (int fd), (fd))
HOOK(int, ftruncate, (int fd, off_t size), (fd, size))
HOOK(int, memfd_create, (const char *name, unsigned flags), (name, flags))
HOOK(int, fdatasync, (int fd), (fd))
HOOK(int, syncfs, (int fd), (fd))
HOOK(int, mkdir, (const char *path, mode_t mode), (path, mode))
HOOK(int, rmdir, (const char *path), (path))
HOOK(int, fstat, (int fd, struct stat *out), (fd, out))
HOOK(int, fstatfs, (int fd, struct statfs *out), (fd, out))
HOOK(int, fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))
HOOK(int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
HOOK(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
HOOK(int, linkat, (int a, const char *from, int b, const char *to, int f), (a, from, b, to, f))
HOOK(ssize_t, pread, (int fd, void *out, size_t n, off_t at), (fd, out, hook_less(n), at))
HOOK(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, hook_less(n), at))
HOOK(ssize_t, getrandom, (void *out, size_t n, unsigned flags), (out, hook_less(n), flags))
HOOK_ERROR(posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size))
HOOK_ERROR(pthread_attr_init, (pthread_attr_t * a), (a))
HOOK_ERROR(pthread_attr_setstacksize, (pthread_attr_t * a, size_t size), (a, size))
HOOK_ERROR(pthread_create,
           (pthread_t * id, const pthread_attr_t *a, void *(*run)(void *), void *arg),
           (id, a, run, arg))
HOOK_ERROR(pthread_mutex_init, (pthread_mutex_t * m, const pthread_mutexattr_t *a), (m, a))
HOOK_ERROR(pthread_condattr_init, (pthread_condattr_t * a), (a))
HOOK_ERROR(pthread_condattr_setclock, (pthread_condattr_t * a, clockid_t id), (a, id))
HOOK_POINTER(DIR, fdopendir, (int fd), (fd))
HOOK_POINTER(struct dirent, readdir, (DIR * list), (list))

int openat(int at, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    return tricked("openat") ? -1 : HOOK_NEXT(openat)(at, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return tricked("open") ? -1 : HOOK_NEXT(open)(path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *);
    va_end(args);
    return tricked("fcntl") ? -1 : HOOK_NEXT(fcntl)(fd, command, arg);
}

void *mmap(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    return tricked("mmap") ? MAP_FAILED : HOOK_NEXT(mmap)(at, size, access, flags, fd, offset);
}

ssize_t read(int fd, void *out, size_t size)
{
    if (hook_text) {
        size_t n = strlen(hook_text) < size ? strlen(hook_text) : size;
        memcpy(out, hook_text, n);
        return (ssize_t)n;
    }
    return tricked("read") ? -1 : HOOK_NEXT(read)(fd, out, size);
}

/* When the last sleep was to be over. */
static struct timespec hook_until;

int clock_nanosleep(clockid_t id, int flags, const struct timespec *until, struct timespec *left)
{
    int error = tricked("clock_nanosleep");

    hook_until = *until;
    return error > 0 ? error : error ? 0 : HOOK_NEXT(clock_nanosleep)(id, flags, until, left);
}

#endif
