/*
** mount_util.h -- file systems of our own, whose power can be cut.
**
** A disk is a file; it stands behind a loop device, and the file system on it is mounted where
** nobody else sees it: this process leaves the mount namespace of its parent. So whatever kills it,
** SIGKILL included, the kernel takes everything down: mounts go with the last process of the
** namespace, and a loop device when nobody has it open (LO_FLAGS_AUTOCLEAR).
**
** The cut is the shutdown ioctl of ext4 and xfs without flushing the journal: from that moment
** nothing reaches the disk, and what had not is gone. Mounting again recovers the file system.
**
** A boot has an id, by which a store knows whether the page cache has lived on. Here another file
** stands in its place, and every cut gives it another id, as a power cut would.
*/
#ifndef FKV_TESTS_MOUNT_UTIL_H
#define FKV_TESTS_MOUNT_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2u
#define LOG_FLUSH 1u
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

enum { DISK_PATH = 256 };

typedef struct disk {
    const char *type;      /* ext4, xfs */
    char image[DISK_PATH]; /* the file behind it */
    char device[32];       /* /dev/loopN */
    char at[DISK_PATH];    /* where it is mounted */
    int loop;              /* keeps the device, -1 = none */
    int mounted;
} disk;

static char disk_boot[DISK_PATH]; /* the file in place of the boot's id */

static inline void disk_path(char out[DISK_PATH], const char *folder, const char *name)
{
    if (snprintf(out, DISK_PATH, "%s/%s", folder, name) >= DISK_PATH) abort();
}

/* Run a program, which is not to say a word; its exit code. */
static inline int disk_run(const char *const *argv)
{
    int status = -1;
    pid_t child;

    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
        (void)execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The power has been off: another boot. */
static inline int disk_new_boot(void)
{
    FILE *f = fopen(disk_boot, "w");
    uint64_t a = check_random(), b = check_random();

    if (!f) return -1;
    (void)fprintf(f, "%08x-%04x-%04x-%04x-%04x%08x\n", (unsigned)a, (unsigned)(a >> 32 & 0xffff),
                  (unsigned)(a >> 48), (unsigned)(b & 0xffff), (unsigned)(b >> 16 & 0xffff),
                  (unsigned)(b >> 32));
    return fclose(f);
}

/* A namespace of our own and the other boot id in it. NULL, or why it cannot be. */
static inline const char *disk_private(const char *folder)
{
    if (unshare(CLONE_NEWNS)) return "no mount namespace of its own (it takes root)";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return "mounting is not allowed";
    disk_path(disk_boot, folder, "boot_id");
    if (disk_new_boot()) return "no place for files";
    if (mount(disk_boot, BOOT_ID, NULL, MS_BIND, NULL)) return "the boot id cannot be covered";
    return NULL;
}

static inline int disk_attach(disk *d)
{
    struct loop_config config = {.block_size = 0};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), rc = -1;
    int image = open(d->image, O_RDWR | O_CLOEXEC);

    config.fd = (uint32_t)image;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    d->loop = -1;
    for (int tries = 0; control >= 0 && image >= 0 && rc && tries < 50; tries++) {
        int n = ioctl(control, LOOP_CTL_GET_FREE);
        if (n < 0) break;
        (void)snprintf(d->device, sizeof d->device, "/dev/loop%d", n);
        d->loop = open(d->device, O_RDWR | O_CLOEXEC);
        if (d->loop < 0) break;
        rc = ioctl(d->loop, LOOP_CONFIGURE, &config);
        if (rc == 0) break;
        (void)close(d->loop); /* somebody else was quicker */
        d->loop = -1;
        if (errno != EBUSY) break;
        (void)usleep(2000);
    }
    if (control >= 0) (void)close(control);
    if (image >= 0) (void)close(image);
    return rc;
}

static inline int disk_mount(disk *d)
{
    int rc = mount(d->device, d->at, d->type, 0, NULL);

    d->mounted = rc == 0;
    return rc;
}

/* The last process on it has ended a moment ago: the kernel may still be at its files. */
static inline int disk_unmount(disk *d)
{
    int rc = -1;

    for (int tries = 0; rc && tries < 500; tries++) {
        rc = umount(d->at);
        if (rc && errno != EBUSY) break;
        if (rc) (void)usleep(2000);
    }
    d->mounted = rc != 0;
    return rc;
}

/* What a boot does before it mounts. Recovering the journal is not enough where the kernel has
** lived on: after some shutdowns ext4 leaves a block bitmap with the checksum of another moment,
** and then allocates nothing more in its group. */
static inline int disk_check(const disk *d)
{
    const char *ext4[] = {"e2fsck", "-f", "-y", d->device, NULL};
    int rc = strcmp(d->type, "ext4") == 0 ? disk_run(ext4) : 0;

    return rc == 0 || rc == 1 ? 0 : -1; /* 1 = something was put right */
}

static inline void disk_free(disk *d)
{
    if (d->mounted) (void)disk_unmount(d);
    if (d->loop >= 0) (void)close(d->loop);
    d->loop = -1;
    (void)unlink(d->image);
    (void)rmdir(d->at);
}

/* A new file system on `image`, or the one that is on it. 0, or errno. */
static inline int disk_open(disk *d)
{
    if (mkdir(d->at, 0700)) return errno;
    if (disk_attach(d) || disk_mount(d)) {
        int error = errno ? errno : EIO;
        disk_free(d);
        return error;
    }
    return 0;
}

static inline int disk_create(disk *d, const char *type, const char *folder, const char *name,
                              long megabytes)
{
    const char *ext4[] = {"mkfs.ext4", "-q", "-F", "-m0", d->image, NULL};
    const char *xfs[] = {"mkfs.xfs", "-q", "-f", "-m", "reflink=1", d->image, NULL};
    int fd;

    *d = (disk){.type = type, .loop = -1};
    disk_path(d->image, folder, type);
    disk_path(d->at, folder, name);
    fd = open(d->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    if (ftruncate(fd, (off_t)megabytes << 20)) {
        (void)close(fd);
        return errno;
    }
    (void)close(fd);
    if (disk_run(strcmp(type, "xfs") == 0 ? xfs : ext4)) {
        (void)unlink(d->image);
        return ENOENT;
    }
    return disk_open(d);
}

/* Cut the power. What follows for those who write there is EIO. */
static inline int disk_cut(const disk *d, uint32_t how)
{
    int fd = open(d->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : ioctl(fd, SHUTDOWN, &how);

    if (fd >= 0) (void)close(fd);
    return rc;
}

#endif
