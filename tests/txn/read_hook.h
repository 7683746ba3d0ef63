/*
** read_hook.h -- every read that this process makes at a place in a file passes through here, as
** changes do through io_hook.h.
*/
#ifndef FKV_TESTS_READ_HOOK_H
#define FKV_TESTS_READ_HOOK_H

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int (*read_hook)(void); /* 0, do it; else it fails with that errno. NULL: do all */

static long reads_left = -1; /* of read_counts_down: until one fails; <= 0: none does */

__attribute__((visibility("default"), used)) ssize_t pread(int fd, void *bytes, size_t size,
                                                           off_t offset);
__attribute__((visibility("default"), used)) ssize_t pread64(int fd, void *bytes, size_t size,
                                                             off64_t offset);

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    int error = read_hook ? read_hook() : 0;

    if (!error) return syscall(SYS_pread64, fd, bytes, size, offset);
    errno = error;
    return -1;
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t offset)
{
    return pread(fd, bytes, size, offset);
}

/* For read_hook. */
static inline int read_counts_down(void)
{
    return reads_left <= 0 || --reads_left > 0 ? 0 : EIO;
}

#endif
