/*
** io_hook.h -- every change that this process makes to files passes through here.
**
** The functions below have the names of the C library's. A program's own definitions take
** precedence: over the C library for the engine, which is linked in, and through symbol
** interposition for libsqlite3.so. So SQLite's operations and the store's are seen alike, in the
** order in which they happen. io_hook decides about each: 0, do it; else it fails with that errno.
** It may also end the process.
**
** Nothing here survives a power cut, so nothing is really synced: these tests are about processes
** that die, and syncing takes most of the time.
*/
#ifndef FKV_TESTS_IO_HOOK_H
#define FKV_TESTS_IO_HOOK_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

typedef enum io_op {
    IO_WRITE,
    IO_SYNC,
    IO_TRUNCATE,
    IO_UNLINK,
    IO_RENAME,
    IO_ALLOCATE,
    IO_LINK
} io_op;

/* What is about to happen. `fd` or `path` (which may be relative to a folder), else -1 and NULL. */
typedef struct io_event {
    io_op op;
    int fd;
    const char *path;
    const void *bytes; /* IO_WRITE */
    size_t size;
    off_t offset;
} io_event;

static int (*io_hook)(const io_event *e); /* NULL: do all */

static long io_stop_at, io_operations; /* of io_end_there */

#define IO_EXPORT __attribute__((visibility("default"), used))

IO_EXPORT ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset);
IO_EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset);
IO_EXPORT int fdatasync(int fd);
IO_EXPORT int fsync(int fd);
IO_EXPORT int ftruncate(int fd, off_t size);
IO_EXPORT int ftruncate64(int fd, off64_t size);
IO_EXPORT int fallocate(int fd, int mode, off_t offset, off_t size);
IO_EXPORT int unlink(const char *path);
IO_EXPORT int unlinkat(int at, const char *path, int flags);
IO_EXPORT int rename(const char *from, const char *to);
IO_EXPORT int renameat(int from_at, const char *from, int to_at, const char *to);
IO_EXPORT int linkat(int from_at, const char *from, int to_at, const char *to, int flags);

/* -1 with errno if it is to fail. */
static int io_ask(io_event e)
{
    int error = io_hook ? io_hook(&e) : 0;

    if (error) errno = error;
    return error ? -1 : 0;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    io_event e = {IO_WRITE, fd, NULL, bytes, size, offset};

    return io_ask(e) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return pwrite(fd, bytes, size, offset);
}

int fdatasync(int fd)
{
    return io_ask((io_event){.op = IO_SYNC, .fd = fd});
}

int fsync(int fd)
{
    return io_ask((io_event){.op = IO_SYNC, .fd = fd});
}

int ftruncate(int fd, off_t size)
{
    return io_ask((io_event){.op = IO_TRUNCATE, .fd = fd}) ? -1
                                                           : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (io_ask((io_event){.op = IO_ALLOCATE, .fd = fd})) return -1;
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int unlinkat(int at, const char *path, int flags)
{
    if (io_ask((io_event){.op = IO_UNLINK, .fd = -1, .path = path})) return -1;
    return (int)syscall(SYS_unlinkat, at, path, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    if (io_ask((io_event){.op = IO_RENAME, .fd = -1, .path = from})) return -1;
    return (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    if (io_ask((io_event){.op = IO_LINK, .fd = -1, .path = from})) return -1;
    return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
}

/* Is this about the host's files, not the store's? The store's names are relative to its folder. */
static inline int io_is_host(const io_event *e)
{
    char link[32], path[512];
    ssize_t n;

    if (e->fd < 0) return e->path && strchr(e->path, '/') != NULL;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", e->fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "-fastkv") == NULL;
}

/* An io_hook: end the process before its io_stop_at-th operation. */
enum { IO_ENDED = 77 };

static inline int io_end_there(const io_event *e)
{
    (void)e;
    if (++io_operations == io_stop_at) _exit(IO_ENDED);
    return 0;
}

#endif
