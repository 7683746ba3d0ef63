/*
** env_posix_region.c -- memory that other processes may map.
**
** A memfd, so that nothing is left of it when the last process that maps it has gone, however it
** went. Its name is the process and the descriptor there: others find it in /proc, which says no to
** another user's process and to one of another container. (It does not to root, who should no more
** believe what others have in memory than what they have in files: so a region has an owner.) A
** name may be out of date, and then be that of anything; so what is opened is a memfd that is
** called like ours and cannot shrink (else touching it could be SIGBUS), and what it holds is the
** caller's to check.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/env_posix.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3 */
#endif

#define REGION_NAME "fastkv-memtable"
enum { NAME_FD_BITS = 24 };

typedef struct posix_region {
    env_region region;
    posix_fd fd; /* of one that is ours; -1: somebody else's */
} posix_region;

static void *map_all(int fd, size_t size, size_t writable)
{
    uint8_t *base = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);

    if (base == MAP_FAILED) return NULL;
    if (writable &&
        mmap(base, writable, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        (void)munmap(base, size);
        return NULL;
    }
    return base;
}

/* A limit on the size of files (ulimit -f) is one on these, too, and to go beyond it is a signal.
** And where the kernel promises no more memory than it has (overcommit_memory = 2), it promises
** private memory when that is mapped, and this when it is touched, too late for an error. */
static int is_welcome(size_t size)
{
    struct rlimit limit = {0};
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    char mode = '2';

    if (fd >= 0 && read(fd, &mode, 1) != 1) mode = '2';
    if (fd >= 0) (void)close(fd);
    return mode != '2' && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= size);
}

/* Of memory, and never to be run; older kernels do not know that there is anything else. */
static int new_memfd(void)
{
    int fd = memfd_create(REGION_NAME, MFD_CLOEXEC | MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING);

    if (fd < 0 && errno == EINVAL) fd = memfd_create(REGION_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

env_region *posix_region_new(fkv_env *env, size_t size)
{
    posix_region *r = is_welcome(size) ? alloc_zero(sizeof *r) : NULL;

    (void)env;
    if (!r) return NULL;
    r->fd.fd = new_memfd();
    if (r->fd.fd >= 0 && r->fd.fd < 1 << NAME_FD_BITS && ftruncate(r->fd.fd, (off_t)size) == 0 &&
        fcntl(r->fd.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        r->region.base = map_all(r->fd.fd, size, size);
    if (!r->region.base) {
        if (r->fd.fd >= 0) (void)close(r->fd.fd);
        alloc_free(r);
        return NULL;
    }
    (void)madvise(r->region.base, size, MADV_HUGEPAGE); /* where such memory has large pages */
    r->region.size = size;
    r->region.forked = &r->fd.forked;
    r->region.name = (uint64_t)getpid() << NAME_FD_BITS | (uint64_t)r->fd.fd;
    posix_fd_keep(&r->fd);
    return &r->region;
}

/* Is this what a region of some process looks like? (To open just anything might do something.) */
static int is_region(const char *path)
{
    static const char wanted[] = "/memfd:" REGION_NAME " ";
    char target[64];
    ssize_t n = readlink(path, target, sizeof target);

    return n >= (ssize_t)sizeof wanted - 1 && memcmp(target, wanted, sizeof wanted - 1) == 0;
}

env_region *posix_region_open(fkv_env *env, uint64_t name, size_t writable)
{
    posix_region *r = NULL;
    char path[64];
    struct stat st;
    int fd = -1, seals;

    (void)env;
    (void)snprintf(path, sizeof path, "/proc/%llu/fd/%llu",
                   (unsigned long long)(name >> NAME_FD_BITS),
                   (unsigned long long)(name & ((1u << NAME_FD_BITS) - 1)));
    if (is_region(path)) fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return NULL;
    seals = fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && seals & F_SEAL_SHRINK && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
        (uint64_t)st.st_size >= writable && (uint64_t)st.st_size <= SIZE_MAX / 2)
        r = alloc_zero(sizeof *r);
    if (r) {
        r->region.base = map_all(fd, (size_t)st.st_size, writable);
        r->region.size = (size_t)st.st_size;
        r->region.name = name;
        r->fd.fd = -1;
    }
    (void)close(fd);
    if (r && r->region.base) return &r->region;
    alloc_free(r);
    return NULL;
}

void posix_region_free(fkv_env *env, env_region *region)
{
    posix_region *r = (posix_region *)(void *)region;

    (void)env;
    if (!r) return;
    (void)munmap(region->base, region->size);
    posix_fd_close(&r->fd);
    alloc_free(r);
}
