/*
** env_mem.c -- a file system in memory, for tests and for stores that need no disk.
**
** One mutex guards everything; a call does its work under it. That is slow under many threads and
** obviously right, which is the better half of the bargain here. What power cuts leave behind is
** the business of env_mem_crash.c; this file tells it of every change.
**
** A directory becomes durable when it is made (env.h has dir_open sync the parent) and is gone
** for good when it is removed.
**
** Threads, clocks, maps and random bytes are the operating system's: those members of fkv_env are
** simply copied from env_posix(), whose functions do not look at the env they are given. So there
** is still one global lock for the process.
*/
#include "io/env_mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct env_dir {
    mem_dir *dir;
};

struct env_file {
    mem_node *node; /* counted */
    int writable;
    char path[]; /* directory/name, for messages */
};

static mem_env *enter(fkv_env *env)
{
    mem_env *m = env->state;

    env->mutex_lock(env, m->mutex);
    return m;
}

static void leave(mem_env *m)
{
    m->env.mutex_unlock(&m->env, m->mutex);
}

/* -- directories ---------------------------------------------------------------------------- */

/* The place of the pointer to directory `path` in the list; where the list ends when absent. */
static mem_dir **dir_place(mem_env *m, const char *path)
{
    mem_dir **place = &m->dirs;

    while (*place && strcmp((*place)->path, path) != 0) place = &(*place)->next;
    return place;
}

static fkv_status dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    mem_env *m = enter(env);
    mem_dir **place = dir_place(m, path);
    mem_dir *dir = *place;
    env_dir *handle = NULL;
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!dir && !(flags & ENV_CREATE)) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "cannot open directory %s: absent (memory)", path);
        goto done;
    }
    if (dir && (flags & ENV_CREATE) && (flags & ENV_EXCLUSIVE)) {
        rc = FKV_RAISEF(FKV_BUSY, "cannot create directory %s: it exists (memory)", path);
        goto done;
    }
    handle = alloc_zero(sizeof *handle);
    if (!handle) {
        rc = FKV_RAISE(FKV_NOMEM);
        goto done;
    }
    if (!dir) {
        size_t length = strlen(path);
        dir = alloc_zero(sizeof *dir + length + 1);
        if (!dir) {
            rc = FKV_RAISE(FKV_NOMEM);
            goto done;
        }
        memcpy(dir->path, path, length + 1);
        dir->inode = m->next_inode++;
        *place = dir;
    }
    handle->dir = dir;
    dir->handles++;
    m->handles++;
    *out = handle;
    handle = NULL;

done:
    leave(m);
    alloc_free(handle);
    return rc;
}

static void dir_close(fkv_env *env, env_dir *handle)
{
    mem_env *m;

    if (!handle) return;
    m = enter(env);
    m->handles--;
    if (--handle->dir->handles == 0 && handle->dir->removed) mem_dir_free(handle->dir);
    leave(m);
    alloc_free(handle);
}

static fkv_status dir_sync(fkv_env *env, env_dir *handle)
{
    mem_env *m = enter(env);
    fkv_status rc = mem_dir_synced(handle->dir);

    leave(m);
    return rc;
}

static fkv_status dir_list(fkv_env *env, env_dir *handle,
                           fkv_status (*each)(void *arg, const char *name), void *arg)
{
    mem_env *m = enter(env);
    const link_set *live = &handle->dir->live;
    link_set seen = {0};
    fkv_status rc = link_set_reserve(&seen, live->count);

    /* A copy: `each` is called without the mutex, for it may come back to us. */
    for (size_t i = 0; !rc && i < live->count; i++) link_set_put(&seen, live->items[i]);
    leave(m);
    for (size_t i = 0; !rc && i < seen.count; i++) rc = each(arg, seen.items[i]->name);
    m = enter(env);
    link_set_release(&seen);
    leave(m);
    return rc;
}

static fkv_status dir_identity(fkv_env *env, env_dir *handle, env_identity *out)
{
    memset(out, 0, sizeof *out);
    out->device = (uint64_t)(uintptr_t)env;
    out->inode = handle->dir->inode;
    return FKV_OK;
}

static fkv_status dir_remove(fkv_env *env, const char *path)
{
    mem_env *m = enter(env);
    mem_dir **place = dir_place(m, path);
    mem_dir *dir = *place;
    fkv_status rc = FKV_OK;

    if (!dir) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "cannot remove directory %s: absent (memory)", path);
    } else if (dir->live.count) {
        rc = FKV_RAISEF(FKV_IOERR, "cannot remove directory %s: not empty (memory)", path);
    } else {
        *place = dir->next;
        dir->removed = 1;
        if (dir->handles == 0) mem_dir_free(dir);
    }
    leave(m);
    return rc;
}

/* -- opening and closing files -------------------------------------------------------------- */

static int name_is_plain(const char *name)
{
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           !strchr(name, '/');
}

/* A link with one reference, which takes over the caller's reference to node when it is made. */
static mem_link *link_new(const char *name, mem_node *node)
{
    size_t length = strlen(name);
    mem_link *link = alloc_zero(sizeof *link + length + 1);

    if (!link) return NULL;
    link->refs = 1;
    link->node = node;
    memcpy(link->name, name, length + 1);
    return link;
}

/* A new, empty file in the directory; *out is borrowed. */
static fkv_status create(mem_dir *dir, const char *name, mem_node **out)
{
    mem_node *node;
    mem_link *link;
    fkv_status rc;

    if (dir->removed) {
        return FKV_RAISEF(FKV_NOTFOUND, "cannot create %s: directory %s was removed", name,
                          dir->path);
    }
    rc = mem_dir_reserve_op(dir);
    if (!rc) rc = link_set_reserve(&dir->live, 1);
    if (rc) return rc;
    node = alloc_zero(sizeof *node);
    if (!node) return FKV_RAISE(FKV_NOMEM);
    node->refs = 1;
    link = link_new(name, node);
    if (!link) {
        mem_node_unref(node);
        return FKV_RAISE(FKV_NOMEM);
    }
    link_set_put(&dir->live, link);
    mem_dir_note(dir, OP_CREATE, link);
    mem_link_unref(link);
    *out = node;
    return FKV_OK;
}

/* The node to open, borrowed. */
static fkv_status find_or_create(mem_dir *dir, const char *name, int flags, mem_node **out)
{
    mem_link *link = link_set_find(&dir->live, name);

    if (!name_is_plain(name)) {
        return FKV_RAISEF(FKV_CANTOPEN, "cannot open %s in %s: not a plain name", name, dir->path);
    }
    if (!link && !(flags & ENV_CREATE)) {
        return FKV_RAISEF(FKV_NOTFOUND, "cannot open %s/%s: absent (memory)", dir->path, name);
    }
    if (!link) return create(dir, name, out);
    if ((flags & ENV_CREATE) && (flags & ENV_EXCLUSIVE)) {
        return FKV_RAISEF(FKV_BUSY, "cannot create %s/%s: it exists (memory)", dir->path, name);
    }
    *out = link->node;
    return FKV_OK;
}

static fkv_status file_open(fkv_env *env, env_dir *handle, const char *name, int flags,
                            env_file **out)
{
    size_t size = strlen(handle->dir->path) + strlen(name) + 2;
    env_file *file = alloc_zero(sizeof *file + size);
    mem_node *node = NULL;
    mem_env *m;
    fkv_status rc;

    *out = NULL;
    if (!file) return FKV_RAISE(FKV_NOMEM);
    (void)snprintf(file->path, size, "%s/%s", handle->dir->path, name);
    file->writable = (flags & ENV_WRITE) != 0;
    m = enter(env);
    rc = find_or_create(handle->dir, name, flags, &node);
    if (!rc) {
        node->refs++;
        file->node = node;
        m->handles++;
    }
    leave(m);
    if (rc) {
        alloc_free(file);
        return rc;
    }
    *out = file;
    return FKV_OK;
}

/* Forget one lock, or with any_byte all locks, of this handle. */
static void drop_locks(mem_node *node, const env_file *owner, uint64_t byte, int any_byte)
{
    for (size_t i = node->lock_count; i-- > 0;) {
        if (node->locks[i].owner == owner && (any_byte || node->locks[i].byte == byte)) {
            node->locks[i] = node->locks[--node->lock_count];
        }
    }
}

static void file_close(fkv_env *env, env_file *file)
{
    mem_env *m;

    if (!file) return;
    m = enter(env);
    drop_locks(file->node, file, 0, 1);
    mem_node_unref(file->node);
    m->handles--;
    leave(m);
    alloc_free(file);
}

/* -- content -------------------------------------------------------------------------------- */

static fkv_status file_read(fkv_env *env, env_file *file, uint64_t offset, void *out, size_t size,
                            size_t *got)
{
    mem_env *m = enter(env);
    const mem_node *node = file->node;

    *got = 0;
    if (offset < node->size) {
        size_t left = node->size - (size_t)offset;
        *got = size < left ? size : left;
        if (*got) memcpy(out, node->bytes + offset, *got);
    }
    leave(m);
    return FKV_OK;
}

/* Let the node have room for `size` bytes. New room stays untouched, so that the half that doubling
** makes too much costs no memory. */
static fkv_status node_reserve(mem_node *node, uint64_t size)
{
    size_t capacity = node->capacity ? node->capacity : 1024;
    uint8_t *bytes;

    if (size <= node->capacity) return FKV_OK;
    if (size > SIZE_MAX / 4) return FKV_RAISE(FKV_FULL);
    while (capacity < size) capacity *= 2;
    bytes = alloc_resize(node->bytes, capacity);
    if (!bytes) return FKV_RAISE(FKV_NOMEM);
    node->bytes = bytes;
    node->capacity = capacity;
    return FKV_OK;
}

/* May [offset, offset+size) be changed, and is there room for it? */
static fkv_status prepare(env_file *file, uint64_t offset, uint64_t size)
{
    uint64_t end;

    if (!file->writable) {
        return FKV_RAISEF(FKV_IOERR, "cannot write %s: opened for reading", file->path);
    }
    if (__builtin_add_overflow(offset, size, &end) || end > (uint64_t)INT64_MAX) {
        return FKV_RAISEF(FKV_IOERR, "cannot write %s: too far out", file->path);
    }
    return node_reserve(file->node, end);
}

/* Let the file reach to `size`, with zeros. REQUIRES: room. */
static void extend(mem_node *node, size_t size)
{
    if (size <= node->size) return;
    memset(node->bytes + node->size, 0, size - node->size);
    node->size = size;
}

static fkv_status file_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                             size_t size)
{
    mem_env *m = enter(env);
    mem_node *node = file->node;
    fkv_status rc = FKV_OK;

    if (size == 0) goto done;
    rc = prepare(file, offset, size);
    if (!rc) rc = mem_node_keep(node, (size_t)offset, size);
    if (rc) goto done;
    extend(node, (size_t)offset);
    memcpy(node->bytes + offset, data, size);
    if (offset + size > node->size) node->size = (size_t)offset + size;
done:
    leave(m);
    return rc;
}

static fkv_status file_sync(fkv_env *env, env_file *file)
{
    mem_env *m = enter(env);

    mem_node_synced(file->node);
    leave(m);
    return FKV_OK;
}

static fkv_status file_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    mem_env *m = enter(env);
    fkv_status rc = size > 0 ? prepare(file, offset, size) : FKV_OK;

    if (!rc && size > 0) extend(file->node, (size_t)(offset + size));
    leave(m);
    return rc;
}

static fkv_status file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    mem_env *m = enter(env);

    *out = file->node->size;
    leave(m);
    return FKV_OK;
}

/* -- locks ---------------------------------------------------------------------------------- */

static fkv_status take_lock(env_file *file, uint64_t byte, int mode)
{
    mem_node *node = file->node;
    mem_lock *mine = NULL;

    if (mode == ENV_LOCK_EXCLUSIVE && !file->writable) {
        return FKV_RAISEF(FKV_IOERR, "cannot lock %s: opened for reading", file->path);
    }
    for (size_t i = 0; i < node->lock_count; i++) {
        mem_lock *lock = &node->locks[i];
        if (lock->byte != byte) continue;
        if (lock->owner == file) {
            mine = lock;
        } else if (mode == ENV_LOCK_EXCLUSIVE || lock->mode == ENV_LOCK_EXCLUSIVE) {
            return FKV_RAISEF(FKV_BUSY, "%s is locked by somebody else", file->path);
        }
    }
    if (!mine) {
        if (node->lock_count == node->lock_capacity) {
            size_t capacity = node->lock_capacity ? node->lock_capacity * 2 : 8;
            mem_lock *locks = alloc_resize(node->locks, capacity * sizeof *locks);
            if (!locks) return FKV_RAISE(FKV_NOMEM);
            node->locks = locks;
            node->lock_capacity = capacity;
        }
        mine = &node->locks[node->lock_count++];
        mine->owner = file;
        mine->byte = byte;
    }
    mine->mode = mode;
    return FKV_OK;
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    mem_env *m = enter(env);
    fkv_status rc = FKV_OK;

    if (mode == ENV_UNLOCK) {
        drop_locks(file->node, file, byte, 0);
    } else {
        rc = take_lock(file, byte, mode);
    }
    leave(m);
    return rc;
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    mem_env *m = enter(env);
    const mem_node *node = file->node;

    *out = 0;
    for (size_t i = 0; i < node->lock_count; i++) {
        const mem_lock *lock = &node->locks[i];
        if (lock->owner != file && lock->byte >= byte && lock->byte - byte < count) *out = 1;
    }
    leave(m);
    return FKV_OK;
}

/* -- shared memory -------------------------------------------------------------------------- */

static fkv_status file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    mem_env *m = enter(env);
    mem_node *node = file->node;
    fkv_status rc = FKV_OK;

    assert(size <= MEM_SHARED_BYTES);
    (void)size;
    if (!node->shared) node->shared = alloc_zero(MEM_SHARED_BYTES);
    if (!node->shared) rc = FKV_RAISE(FKV_NOMEM);
    *out = node->shared;
    leave(m);
    return rc;
}

/* It lives as long as the node, which the open file holds. */
static void file_unshare(fkv_env *env, void *base, size_t size)
{
    (void)env;
    (void)base;
    (void)size;
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    mem_env *m = enter(env);

    *out = 0;
    for (const mem_dir *dir = m->dirs; dir; dir = dir->next)
        for (size_t i = 0; i < dir->live.count; i++)
            if (dir->live.items[i]->node == file->node) *out = 1;
    leave(m);
    return FKV_OK;
}

static fkv_status dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    (void)env;
    (void)dir;
    *out = 1;
    return FKV_OK;
}

/* -- names ---------------------------------------------------------------------------------- */

static fkv_status file_rename(fkv_env *env, env_dir *handle, const char *from, const char *to)
{
    mem_env *m = enter(env);
    mem_dir *dir = handle->dir;
    mem_link *old = link_set_find(&dir->live, from);
    mem_link *link;
    fkv_status rc;

    if (!name_is_plain(from) || !name_is_plain(to)) {
        rc = FKV_RAISEF(FKV_INVALID, "cannot rename %s to %s: not plain names", from, to);
        goto done;
    }
    if (!old) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "cannot rename %s/%s: absent (memory)", dir->path, from);
        goto done;
    }
    rc = mem_dir_reserve_op(dir);
    if (!rc) rc = link_set_reserve(&dir->live, 1);
    if (rc || strcmp(from, to) == 0) goto done;
    link = link_new(to, old->node);
    if (!link) {
        rc = FKV_RAISE(FKV_NOMEM);
        goto done;
    }
    link->node->refs++;
    link_set_drop(&dir->live, old);
    link_set_put(&dir->live, link);
    mem_dir_note(dir, OP_RENAME, link);
    mem_link_unref(link);

done:
    leave(m);
    return rc;
}

static fkv_status file_link(fkv_env *env, env_dir *handle, const char *name, env_dir *to_handle,
                            const char *to)
{
    mem_env *m = enter(env);
    mem_dir *dir = to_handle->dir;
    const mem_link *old = link_set_find(&handle->dir->live, name);
    mem_link *link;
    fkv_status rc;

    if (!name_is_plain(name) || !name_is_plain(to)) {
        rc = FKV_RAISEF(FKV_INVALID, "cannot link %s to %s: not plain names", name, to);
    } else if (!old || dir->removed) {
        rc =
            FKV_RAISEF(FKV_NOTFOUND, "cannot link %s/%s: absent (memory)", handle->dir->path, name);
    } else if (link_set_find(&dir->live, to)) {
        rc = FKV_RAISEF(FKV_BUSY, "cannot create %s/%s: it exists (memory)", dir->path, to);
    } else {
        rc = mem_dir_reserve_op(dir);
        if (!rc) rc = link_set_reserve(&dir->live, 1);
        link = rc ? NULL : link_new(to, old->node);
        if (!rc && !link) rc = FKV_RAISE(FKV_NOMEM);
        if (link) {
            link->node->refs++;
            link_set_put(&dir->live, link);
            mem_dir_note(dir, OP_CREATE, link);
            mem_link_unref(link);
        }
    }
    leave(m);
    return rc;
}

static fkv_status file_remove(fkv_env *env, env_dir *handle, const char *name)
{
    mem_env *m = enter(env);
    mem_dir *dir = handle->dir;
    mem_link *link = link_set_find(&dir->live, name);
    fkv_status rc;

    if (!name_is_plain(name)) {
        rc = FKV_RAISEF(FKV_INVALID, "cannot remove %s: not a plain name", name);
    } else if (!link) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "cannot remove %s/%s: absent (memory)", dir->path, name);
    } else {
        rc = mem_dir_reserve_op(dir);
        if (!rc) {
            mem_dir_note(dir, OP_REMOVE, link);
            link_set_drop(&dir->live, link);
        }
    }
    leave(m);
    return rc;
}

/* -- the object ----------------------------------------------------------------------------- */

static void boot_id(fkv_env *env, uint8_t out[16])
{
    mem_env *m = enter(env);

    memcpy(out, m->boot_id, sizeof m->boot_id);
    leave(m);
}

fkv_status env_mem_new(fkv_env **out)
{
    fkv_env *posix = env_posix();
    mem_env *m;
    fkv_status rc;

    *out = NULL;
    m = alloc_zero(sizeof *m);
    if (!m) return FKV_RAISE(FKV_NOMEM);
    m->env = *posix;
    m->env.state = m;
    m->env.dir_open = dir_open;
    m->env.dir_close = dir_close;
    m->env.dir_sync = dir_sync;
    m->env.dir_list = dir_list;
    m->env.dir_identity = dir_identity;
    m->env.dir_remove = dir_remove;
    m->env.file_open = file_open;
    m->env.file_close = file_close;
    m->env.file_read = file_read;
    m->env.file_write = file_write;
    m->env.file_sync = file_sync;
    m->env.file_allocate = file_allocate;
    m->env.file_size = file_size;
    m->env.file_lock = file_lock;
    m->env.file_locked = file_locked;
    m->env.file_share = file_share;
    m->env.file_unshare = file_unshare;
    m->env.file_linked = file_linked;
    m->env.dir_shares = dir_shares;
    m->env.file_rename = file_rename;
    m->env.file_link = file_link;
    m->env.file_remove = file_remove;
    m->env.boot_id = boot_id;
    m->next_inode = 1;
    posix->boot_id(posix, m->boot_id);
    rc = posix->mutex_new(posix, &m->mutex);
    if (rc) {
        alloc_free(m);
        return rc;
    }
    *out = &m->env;
    return FKV_OK;
}

void env_mem_free(fkv_env *env)
{
    mem_env *m;

    if (!env) return;
    m = env->state;
    assert(m->handles == 0);
    while (m->dirs) {
        mem_dir *dir = m->dirs;
        m->dirs = dir->next;
        mem_dir_free(dir);
    }
    env->mutex_free(env, m->mutex);
    alloc_free(m);
}
