/*
** env_sched_file.c -- files of a scheduled env: each operation is a point before it is done, where
** others may come first, and one after it, before whoever asked has made anything of the answer.
*/
#include "io/env_sched.h"

static fkv_env *base_of(fkv_env *env)
{
    return ((sched_env *)env->state)->base;
}

/* An operation on files begins; answers whom to ask for it. */
static fkv_env *turn(fkv_env *env, int what)
{
    sched_operation(env, what);
    return base_of(env);
}

/* … and has been done. */
static fkv_status done(fkv_env *env, fkv_status rc)
{
    sched_point(env, AT_DONE);
    return rc;
}

static fkv_status dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    fkv_env *base = turn(env, AT_DIR);

    return done(env, base->dir_open(base, path, flags, out));
}

static void dir_close(fkv_env *env, env_dir *dir)
{
    base_of(env)->dir_close(base_of(env), dir);
}

static fkv_status dir_sync(fkv_env *env, env_dir *dir)
{
    fkv_env *base = turn(env, AT_SYNC);

    return done(env, base->dir_sync(base, dir));
}

static fkv_status dir_list(fkv_env *env, env_dir *dir,
                           fkv_status (*each)(void *arg, const char *name), void *arg)
{
    fkv_env *base = turn(env, AT_DIR);

    return done(env, base->dir_list(base, dir, each, arg));
}

static fkv_status dir_identity(fkv_env *env, env_dir *dir, env_identity *out)
{
    return base_of(env)->dir_identity(base_of(env), dir, out);
}

static fkv_status dir_remove(fkv_env *env, const char *path)
{
    fkv_env *base = turn(env, AT_DIR);

    return done(env, base->dir_remove(base, path));
}

static fkv_status dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    return base_of(env)->dir_shares(base_of(env), dir, out);
}

static fkv_status file_open(fkv_env *env, env_dir *dir, const char *name, int flags, env_file **out)
{
    fkv_env *base = turn(env, AT_OPEN);

    return done(env, base->file_open(base, dir, name, flags, out));
}

static void file_close(fkv_env *env, env_file *file)
{
    fkv_env *base = turn(env, AT_CLOSE); /* locks go with it */

    base->file_close(base, file);
}

static fkv_status file_read(fkv_env *env, env_file *file, uint64_t offset, void *out, size_t size,
                            size_t *got)
{
    fkv_env *base = turn(env, AT_READ);

    return done(env, base->file_read(base, file, offset, out, size, got));
}

static fkv_status file_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                             size_t size)
{
    fkv_env *base = turn(env, AT_WRITE);

    return done(env, base->file_write(base, file, offset, data, size));
}

static fkv_status file_sync(fkv_env *env, env_file *file)
{
    fkv_env *base = turn(env, AT_SYNC);

    return done(env, base->file_sync(base, file));
}

static fkv_status file_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    fkv_env *base = turn(env, AT_WRITE);

    return done(env, base->file_allocate(base, file, offset, size));
}

static fkv_status file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    fkv_env *base = turn(env, AT_SIZE);

    return done(env, base->file_size(base, file, out));
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    fkv_env *base = turn(env, AT_FILE_LOCK);

    return done(env, base->file_lock(base, file, byte, mode));
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    fkv_env *base = turn(env, AT_FILE_LOCK);

    return done(env, base->file_locked(base, file, byte, count, out));
}

static fkv_status file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    fkv_env *base = turn(env, AT_MAP);

    return done(env, base->file_share(base, file, size, out));
}

static void file_unshare(fkv_env *env, void *memory, size_t size)
{
    base_of(env)->file_unshare(base_of(env), memory, size);
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    fkv_env *base = turn(env, AT_NAME);

    return done(env, base->file_linked(base, file, out));
}

static fkv_status file_rename(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    fkv_env *base = turn(env, AT_NAME);

    return done(env, base->file_rename(base, dir, from, to));
}

static fkv_status file_link(fkv_env *env, env_dir *dir, const char *name, env_dir *to_dir,
                            const char *to)
{
    fkv_env *base = turn(env, AT_NAME);

    return done(env, base->file_link(base, dir, name, to_dir, to));
}

static fkv_status file_remove(fkv_env *env, env_dir *dir, const char *name)
{
    fkv_env *base = turn(env, AT_NAME);

    return done(env, base->file_remove(base, dir, name));
}

void sched_set_files(fkv_env *env)
{
    env->dir_open = dir_open;
    env->dir_close = dir_close;
    env->dir_sync = dir_sync;
    env->dir_list = dir_list;
    env->dir_identity = dir_identity;
    env->dir_remove = dir_remove;
    env->file_open = file_open;
    env->file_close = file_close;
    env->file_read = file_read;
    env->file_write = file_write;
    env->file_sync = file_sync;
    env->file_allocate = file_allocate;
    env->file_size = file_size;
    env->file_lock = file_lock;
    env->file_locked = file_locked;
    env->file_share = file_share;
    env->file_unshare = file_unshare;
    env->file_linked = file_linked;
    env->dir_shares = dir_shares;
    env->file_rename = file_rename;
    env->file_link = file_link;
    env->file_remove = file_remove;
}
