/*
** env_posix.c -- the operating system: directories, files, locks.
**
** Care taken here so that nobody above has to:
**
**   1. Every name is opened relative to the directory's descriptor. A store goes on working when
**      its directory is renamed, or the process changes its working directory.
**   2. A file is opened without following a symbolic link, without blocking on a pipe, and is
**      refused unless it is a regular file: a name planted in the directory cannot send our writes
**      elsewhere. The directory's own path may well go through links.
**   3. Descriptors are moved to 3 and above. A program that closed its stderr would otherwise
**      print its messages into the store (SQLite was bitten by this).
**   4. Interrupted calls are repeated and short counts completed.
**   5. Locks are "open file description" locks. Classic POSIX locks vanish when any descriptor of
**      the file is closed anywhere in the process, and do not keep out a second copy of this
**      library in it.
*/
#include "io/env_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"

struct env_dir {
    posix_fd handle;
    char path[]; /* as given, for messages */
};

struct env_file {
    posix_fd handle;
    char path[]; /* directory/name at the time of opening, for messages */
};

/* -- errors --------------------------------------------------------------------------------- */

/* What an errno value means where `otherwise` is the general answer. `changing`: the call would
** have created, removed or opened for writing, so a refusal means read-only. */
static fkv_status status_of(int error, int changing, fkv_status otherwise)
{
    switch (error) {
    case ENOENT:
        return FKV_NOTFOUND;
    case ENOSPC:
    case EDQUOT:
        return FKV_FULL;
    case ENOMEM:
        return FKV_NOMEM;
    case EROFS:
    case EACCES:
    case EPERM:
        return changing ? FKV_READONLY : otherwise;
    default:
        return otherwise;
    }
}

static fkv_status fail_in_dir(fkv_status status, const char *action, const env_dir *dir,
                              const char *name, int error)
{
    char object[400];

    (void)snprintf(object, sizeof object, "%s/%s", dir->path, name);
    return posix_fail(status, action, object, error);
}

/* Names come from directory listings and from our own spelling, and yet: with a '/' in it a name
** could reach a file anywhere. */
static int name_is_plain(const char *name)
{
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* -- descriptors ---------------------------------------------------------------------------- */

/* openat, close-on-exec, on a descriptor >= 3; -1 with errno. */
static int open_at(int at, const char *path, int flags)
{
    int fd, high, error;

    do {
        fd = openat(at, path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    error = errno;
    (void)close(fd);
    errno = error;
    return high;
}

/* fsync a directory; 0 or an errno value. */
static int sync_directory(int fd)
{
    int rc;

    do {
        rc = fsync(fd);
    } while (rc < 0 && errno == EINTR);
    /* EINVAL: this file system has no such thing as syncing a directory. */
    return rc < 0 && errno != EINVAL ? errno : 0;
}

/* -- directories ---------------------------------------------------------------------------- */

/* Make the entry of the new directory fd durable in its parent; 0 or an errno value. ".." needs no
** taking apart of paths, and is right also when the path went through links. */
static int sync_parent(int fd)
{
    int parent = open_at(fd, "..", O_RDONLY | O_DIRECTORY), error;

    /* One may make entries in a directory that one may not read; then sync the file system. */
    if (parent < 0 && errno == EACCES) return syncfs(fd) < 0 ? errno : 0;
    if (parent < 0) return errno;
    error = sync_directory(parent);
    (void)close(parent);
    return error;
}

static void dir_close(fkv_env *env, env_dir *dir)
{
    (void)env;
    if (!dir) return;
    posix_fd_close(&dir->handle);
    alloc_free(dir);
}

/* What is named after a file, as "app.db-fastkv" is after a database, is open to nobody to whom the
** file is not: the same rows are in it. */
static mode_t mode_for(const char *path)
{
    const char *dash = strrchr(path, '-');
    size_t n = dash ? (size_t)(dash - path) : 0;
    mode_t mode = 0777;
    struct stat st;
    char *file;

    if (n == 0 || strchr(dash, '/')) return mode;
    file = alloc_bytes(n + 1);
    if (!file) return 0700;
    memcpy(file, path, n);
    file[n] = 0;
    if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
        mode = (st.st_mode & 0666) | (st.st_mode & 0444) >> 2;
    alloc_free(file);
    return mode | 0700;
}

/* Make the directory and leave it open. */
static fkv_status make_directory(env_dir *dir)
{
    fkv_status rc;
    int error;

    if (mkdir(dir->path, mode_for(dir->path)) < 0) {
        error = errno;
        rc = error == EEXIST ? FKV_BUSY : status_of(error, 1, FKV_CANTOPEN);
        return posix_fail(rc, "create directory", dir->path, error);
    }
    dir->handle.fd = open_at(AT_FDCWD, dir->path, O_RDONLY | O_DIRECTORY);
    error = dir->handle.fd < 0 ? errno : 0;
    if (error) {
        rc = posix_fail(status_of(error, 0, FKV_CANTOPEN), "open directory", dir->path, error);
    } else {
        error = sync_parent(dir->handle.fd);
        if (!error) return FKV_OK;
        rc = posix_fail(FKV_IOERR_SYNC, "sync the parent of", dir->path, error);
    }
    (void)rmdir(dir->path); /* the caller is to find what it found before */
    return rc;
}

static fkv_status dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    size_t n = strlen(path) + 1;
    env_dir *dir = alloc_bytes(sizeof *dir + n);
    int exclusive = flags & ENV_CREATE && flags & ENV_EXCLUSIVE, absent;
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!dir) return posix_fail(FKV_NOMEM, "open directory", path, ENOMEM);
    memcpy(dir->path, path, n);
    dir->handle = (posix_fd){.fd = -1};
    if (exclusive) {
        rc = make_directory(dir);
        if (rc) goto done;
    }
    /* At most twice: somebody else may make it between our looking and our making. */
    for (int tries = 0; dir->handle.fd < 0; tries++) {
        dir->handle.fd = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        if (dir->handle.fd >= 0) break;
        absent = errno == ENOENT;
        if (!absent || !(flags & ENV_CREATE) || tries > 0) {
            rc = posix_fail(status_of(errno, 0, FKV_CANTOPEN), "open directory", path, errno);
            goto done;
        }
        rc = make_directory(dir);
        if (rc && rc != FKV_BUSY) goto done;
        rc = FKV_OK;
    }
    posix_fd_keep(&dir->handle);
    *out = dir;
    dir = NULL;
done:
    dir_close(env, dir);
    return rc;
}

static fkv_status dir_sync(fkv_env *env, env_dir *dir)
{
    int error = sync_directory(dir->handle.fd);

    (void)env;
    return error ? posix_fail(FKV_IOERR_SYNC, "sync directory", dir->path, error) : FKV_OK;
}

static fkv_status dir_list(fkv_env *env, env_dir *dir,
                           fkv_status (*each)(void *arg, const char *name), void *arg)
{
    /* A descriptor of its own, because the position in the listing belongs to the descriptor. */
    int fd = open_at(dir->handle.fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    fkv_status rc = FKV_OK;
    int error;

    (void)env;
    if (!list) {
        error = errno;
        if (fd >= 0) (void)close(fd);
        return posix_fail(status_of(error, 0, FKV_IOERR), "list directory", dir->path, error);
    }
    while (!rc) {
        const struct dirent *entry;
        errno = 0;
        entry = readdir(list);
        if (!entry) {
            if (errno) rc = posix_fail(FKV_IOERR, "list directory", dir->path, errno);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        rc = each(arg, entry->d_name);
    }
    (void)closedir(list);
    return rc;
}

static fkv_status dir_identity(fkv_env *env, env_dir *dir, env_identity *out)
{
    struct stat st;

    (void)env;
    *out = (env_identity){0, 0};
    if (fstat(dir->handle.fd, &st) < 0)
        return posix_fail(status_of(errno, 0, FKV_IOERR), "examine directory", dir->path, errno);
    out->device = (uint64_t)st.st_dev;
    out->inode = (uint64_t)st.st_ino;
    return FKV_OK;
}

static fkv_status dir_remove(fkv_env *env, const char *path)
{
    (void)env;
    if (rmdir(path) == 0) return FKV_OK;
    return posix_fail(status_of(errno, 1, FKV_IOERR), "remove directory", path, errno);
}

/* -- files ---------------------------------------------------------------------------------- */

static void file_close(fkv_env *env, env_file *file)
{
    (void)env;
    if (!file) return;
    posix_fd_close(&file->handle);
    alloc_free(file);
}

static int open_flags(int flags)
{
    int mode = flags & ENV_WRITE ? O_RDWR : O_RDONLY;

    if (flags & ENV_CREATE) mode |= O_CREAT;
    if (flags & ENV_CREATE && flags & ENV_EXCLUSIVE) mode |= O_EXCL;
    return mode | O_NOFOLLOW | O_NONBLOCK;
}

static fkv_status file_open(fkv_env *env, env_dir *dir, const char *name, int flags, env_file **out)
{
    size_t dir_bytes = strlen(dir->path), name_bytes = strlen(name) + 1;
    env_file *file = alloc_bytes(sizeof *file + dir_bytes + 1 + name_bytes);
    int changing = (flags & (ENV_WRITE | ENV_CREATE)) != 0;
    fkv_status rc = FKV_OK;
    struct stat st;

    *out = NULL;
    if (!file) return fail_in_dir(FKV_NOMEM, "open", dir, name, ENOMEM);
    memcpy(file->path, dir->path, dir_bytes);
    file->path[dir_bytes] = '/';
    memcpy(file->path + dir_bytes + 1, name, name_bytes);
    file->handle = (posix_fd){.fd = -1};
    if (!name_is_plain(name)) {
        rc = FKV_RAISEF(FKV_CANTOPEN, "cannot open \"%s\": not a plain file name", file->path);
        goto done;
    }
    file->handle.fd = open_at(dir->handle.fd, name, open_flags(flags));
    if (file->handle.fd < 0) {
        rc = errno == EEXIST ? FKV_BUSY : status_of(errno, changing, FKV_CANTOPEN);
        rc = posix_fail(rc, changing ? "open for writing" : "open", file->path, errno);
        goto done;
    }
    if (fstat(file->handle.fd, &st) < 0) {
        rc = posix_fail(status_of(errno, 0, FKV_CANTOPEN), "examine", file->path, errno);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = FKV_RAISEF(FKV_CANTOPEN, "cannot open \"%s\": not a regular file", file->path);
        goto done;
    }
    if (flags & ENV_UNCACHED) {
        (void)posix_fadvise(file->handle.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        (void)posix_fadvise(file->handle.fd, 0, 0, POSIX_FADV_NOREUSE);
    }
    posix_fd_keep(&file->handle);
    *out = file;
    file = NULL;
done:
    file_close(env, file);
    return rc;
}

static fkv_status file_read(fkv_env *env, env_file *file, uint64_t offset, void *out, size_t size,
                            size_t *got)
{
    uint8_t *p = out;
    size_t done = 0;

    (void)env;
    *got = 0;
    if (offset > INT64_MAX) return FKV_OK; /* where no file has bytes */
    if (size > INT64_MAX - offset) size = (size_t)(INT64_MAX - offset);
    while (done < size) {
        ssize_t n = pread(file->handle.fd, p + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return posix_fail(status_of(errno, 0, FKV_IOERR), "read", file->path, errno);
        if (n == 0) break;
        done += (size_t)n;
    }
    *got = done;
    return FKV_OK;
}

static fkv_status file_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                             size_t size)
{
    const uint8_t *p = data;
    size_t done = 0;

    (void)env;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return posix_fail(FKV_IOERR, "write", file->path, EFBIG);
    while (done < size) {
        ssize_t n = pwrite(file->handle.fd, p + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return posix_fail(status_of(errno, 0, FKV_IOERR), "write", file->path, errno);
        if (n == 0) return posix_fail(FKV_IOERR, "write", file->path, EIO);
        done += (size_t)n;
    }
    return FKV_OK;
}

static fkv_status file_sync(fkv_env *env, env_file *file)
{
    int rc;

    (void)env;
    do {
        rc = fdatasync(file->handle.fd);
    } while (rc < 0 && errno == EINTR);
    /* Whatever the reason: the kernel may have dropped the pages, and would call the next sync a
    ** success. */
    return rc < 0 ? posix_fail(FKV_IOERR_SYNC, "sync", file->path, errno) : FKV_OK;
}

static fkv_status file_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    int error;

    (void)env;
    if (size == 0) return FKV_OK;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return posix_fail(FKV_IOERR, "allocate space for", file->path, EFBIG);
    do {
        error = fallocate(file->handle.fd, 0, (off_t)offset, (off_t)size) < 0 ? errno : 0;
    } while (error == EINTR);
    /* Writes zeros instead where the file system cannot do it. */
    while (error == EOPNOTSUPP || error == ENOSYS) {
        error = posix_fallocate(file->handle.fd, (off_t)offset, (off_t)size);
        if (error != EINTR) break;
        error = EOPNOTSUPP;
    }
    if (error)
        return posix_fail(status_of(error, 0, FKV_IOERR), "allocate space for", file->path, error);
    return FKV_OK;
}

static fkv_status file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    struct stat st;

    (void)env;
    *out = 0;
    if (fstat(file->handle.fd, &st) < 0)
        return posix_fail(status_of(errno, 0, FKV_IOERR), "examine", file->path, errno);
    *out = (uint64_t)st.st_size;
    return FKV_OK;
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    struct flock lock = {.l_whence = SEEK_SET, .l_len = 1};
    int rc;

    (void)env;
    if (byte >= INT64_MAX) return posix_fail(FKV_IOERR, "lock", file->path, EINVAL);
    lock.l_start = (off_t)byte;
    lock.l_type = F_UNLCK;
    if (mode == ENV_LOCK_SHARED) lock.l_type = F_RDLCK;
    if (mode == ENV_LOCK_EXCLUSIVE) lock.l_type = F_WRLCK;
    do {
        rc = fcntl(file->handle.fd, F_OFD_SETLK, &lock);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0) return FKV_OK;
    if (errno == EAGAIN || errno == EACCES)
        return FKV_RAISEF(FKV_BUSY, "cannot lock \"%s\": somebody else holds it", file->path);
    return posix_fail(status_of(errno, 0, FKV_IOERR), "lock", file->path, errno);
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    struct flock lock = {.l_whence = SEEK_SET, .l_type = F_WRLCK};
    int rc;

    (void)env;
    *out = 0;
    if (byte >= INT64_MAX || count > INT64_MAX - byte)
        return posix_fail(FKV_IOERR, "examine locks of", file->path, EINVAL);
    if (count == 0) return FKV_OK; /* (a length of 0 would mean "to the end") */
    lock.l_start = (off_t)byte;
    lock.l_len = (off_t)count;
    do {
        rc = fcntl(file->handle.fd, F_OFD_GETLK, &lock);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return posix_fail(status_of(errno, 0, FKV_IOERR), "examine locks of", file->path, errno);
    *out = lock.l_type != F_UNLCK;
    return FKV_OK;
}

static fkv_status file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    int mode = fcntl(file->handle.fd, F_GETFL);
    void *base = MAP_FAILED;
    uint64_t bytes = 0;
    fkv_status rc = file_size(env, file, &bytes);

    *out = NULL;
    if (rc) return rc;
    if (bytes < size) return posix_fail(FKV_IOERR, "map", file->path, EINVAL); /* else SIGBUS */
    if (mode >= 0)
        base = mmap(NULL, size, (mode & O_ACCMODE) == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ,
                    MAP_SHARED, file->handle.fd, 0);
    if (base == MAP_FAILED)
        return posix_fail(status_of(errno, 0, FKV_IOERR), "map", file->path, errno);
    if (!posix_shared_keep(base, size)) {
        (void)munmap(base, size);
        return posix_fail(FKV_NOMEM, "map", file->path, ENOMEM);
    }
    *out = base;
    return FKV_OK;
}

static void file_unshare(fkv_env *env, void *base, size_t size)
{
    (void)env;
    if (!base) return;
    posix_shared_forget(base);
    (void)munmap(base, size);
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    struct stat st;

    (void)env;
    *out = 0;
    if (fstat(file->handle.fd, &st) < 0)
        return posix_fail(status_of(errno, 0, FKV_IOERR), "examine", file->path, errno);
    *out = st.st_nlink > 0;
    return FKV_OK;
}

/* File systems of one kernel, whose locks and pages all of its processes share. Overlayfs counts:
** the lock file is always opened for writing first, so that everybody has the upper one. */
static fkv_status dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    static const uint32_t local[] = {
        0xef53 /* ext2, 3, 4 */, 0x58465342 /* xfs */,      0x9123683e /* btrfs */,
        0x01021994 /* tmpfs */,  0x858458f6 /* ramfs */,    0x2fc12fc1 /* zfs */,
        0xf2f52010 /* f2fs */,   0xca451a4e /* bcachefs */, 0x794c7630 /* overlayfs */};
    struct statfs st;

    (void)env;
    *out = 0;
    if (fstatfs(dir->handle.fd, &st) < 0) return fail_in_dir(FKV_IOERR, "examine", dir, ".", errno);
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if ((uint32_t)st.f_type == local[i]) *out = 1;
    return FKV_OK;
}

static fkv_status file_rename(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    (void)env;
    if (!name_is_plain(from) || !name_is_plain(to))
        return fail_in_dir(FKV_INVALID, "rename", dir, from, EINVAL);
    if (renameat(dir->handle.fd, from, dir->handle.fd, to) == 0) return FKV_OK;
    return fail_in_dir(status_of(errno, 1, FKV_IOERR), "rename", dir, from, errno);
}

/* Another file system, one without links, too many of them, or somebody else's file. */
static int cannot_link(int error)
{
    return error == EXDEV || error == EPERM || error == EMLINK || error == EOPNOTSUPP ||
           error == ENOSYS;
}

static fkv_status file_link(fkv_env *env, env_dir *dir, const char *name, env_dir *to_dir,
                            const char *to)
{
    (void)env;
    if (!name_is_plain(name) || !name_is_plain(to))
        return fail_in_dir(FKV_INVALID, "link", dir, name, EINVAL);
    if (linkat(dir->handle.fd, name, to_dir->handle.fd, to, 0) == 0) return FKV_OK;
    if (cannot_link(errno)) return FKV_UNSUPPORTED;
    if (errno == EEXIST) return fail_in_dir(FKV_BUSY, "create", to_dir, to, errno);
    return fail_in_dir(status_of(errno, 1, FKV_IOERR), "link", dir, name, errno);
}

static fkv_status file_remove(fkv_env *env, env_dir *dir, const char *name)
{
    (void)env;
    if (!name_is_plain(name)) return fail_in_dir(FKV_INVALID, "remove", dir, name, EINVAL);
    if (unlinkat(dir->handle.fd, name, 0) == 0) return FKV_OK;
    return fail_in_dir(status_of(errno, 1, FKV_IOERR), "remove", dir, name, errno);
}

fkv_env *env_posix(void)
{
    static fkv_env env = {.dir_open = dir_open,
                          .dir_close = dir_close,
                          .dir_sync = dir_sync,
                          .dir_list = dir_list,
                          .dir_identity = dir_identity,
                          .dir_remove = dir_remove,
                          .file_open = file_open,
                          .file_close = file_close,
                          .file_read = file_read,
                          .file_write = file_write,
                          .file_sync = file_sync,
                          .file_allocate = file_allocate,
                          .file_size = file_size,
                          .file_lock = file_lock,
                          .file_locked = file_locked,
                          .file_share = file_share,
                          .file_unshare = file_unshare,
                          .file_linked = file_linked,
                          .dir_shares = dir_shares,
                          .file_rename = file_rename,
                          .file_link = file_link,
                          .file_remove = file_remove,
                          .map = posix_map,
                          .unmap = posix_unmap,
                          .region_new = posix_region_new,
                          .region_open = posix_region_open,
                          .region_free = posix_region_free,
                          .now_us = posix_now_us,
                          .now_ns = posix_now_ns,
                          .wall_ms = posix_wall_ms,
                          .sleep_us = posix_sleep_us,
                          .random = posix_random,
                          .boot_id = posix_boot_id,
                          .process_id = posix_process_id,
                          .fork_count = posix_fork_count,
                          .thread_start = posix_thread_start,
                          .thread_join = posix_thread_join,
                          .mutex_new = posix_mutex_new,
                          .mutex_free = posix_mutex_free,
                          .mutex_lock = posix_mutex_lock,
                          .mutex_unlock = posix_mutex_unlock,
                          .global_lock = posix_global_lock,
                          .global_unlock = posix_global_unlock,
                          .cond_new = posix_cond_new,
                          .cond_free = posix_cond_free,
                          .cond_wait = posix_cond_wait,
                          .cond_wake_all = posix_cond_wake_all};
    return &env;
}
