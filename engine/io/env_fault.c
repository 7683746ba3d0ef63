/*
** env_fault.c -- an env that fails on demand.
**
** It hands every call to the env it wraps, and the handles it returns are that env's own. Calls of
** the armed kinds are counted first; the one whose turn has come is not made at all (a partial
** write: half of it) and answers the armed status. Waiting, locking, unlocking, closing and
** reading clocks never fail, as the contract has no answer for that.
*/
#include "io/env.h"

#include <string.h>

#include "base/alloc.h"

typedef struct fault_env {
    fkv_env env;
    fkv_env *base;
    env_mutex *mutex; /* guards what follows; a leaf: nothing is called under it */
    env_fault fault;
    uint64_t seen, fired;
    int64_t shift_ms;
} fault_env;

static fkv_env *base_of(fkv_env *env)
{
    return ((fault_env *)env->state)->base;
}

/* Count an operation; not FKV_OK when it is to fail. */
static fkv_status turn(fkv_env *env, int kind, const char *what)
{
    fault_env *f = env->state;
    fkv_status status = FKV_OK;

    f->base->mutex_lock(f->base, f->mutex);
    if (f->fault.kinds & kind) {
        f->seen++;
        if (f->fault.countdown && (f->seen == f->fault.countdown ||
                                   (f->fault.persistent && f->seen > f->fault.countdown))) {
            f->fired++;
            status = f->fault.status ? f->fault.status : FKV_IOERR;
        }
    }
    f->base->mutex_unlock(f->base, f->mutex);
    return status ? FKV_RAISEF(status, "injected fault: %s", what) : FKV_OK;
}

/* -- directories ---------------------------------------------------------------------------- */

static fkv_status dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    fkv_status rc = turn(env, ENV_OP_OPEN, path);

    *out = NULL;
    return rc ? rc : base_of(env)->dir_open(base_of(env), path, flags, out);
}

static void dir_close(fkv_env *env, env_dir *dir)
{
    base_of(env)->dir_close(base_of(env), dir);
}

static fkv_status dir_sync(fkv_env *env, env_dir *dir)
{
    fkv_status rc = turn(env, ENV_OP_SYNC, "directory sync");

    return rc ? rc : base_of(env)->dir_sync(base_of(env), dir);
}

static fkv_status dir_list(fkv_env *env, env_dir *dir,
                           fkv_status (*each)(void *arg, const char *name), void *arg)
{
    return base_of(env)->dir_list(base_of(env), dir, each, arg);
}

static fkv_status dir_identity(fkv_env *env, env_dir *dir, env_identity *out)
{
    return base_of(env)->dir_identity(base_of(env), dir, out);
}

static fkv_status dir_remove(fkv_env *env, const char *path)
{
    fkv_status rc = turn(env, ENV_OP_REMOVE, path);

    return rc ? rc : base_of(env)->dir_remove(base_of(env), path);
}

/* -- files ---------------------------------------------------------------------------------- */

static fkv_status file_open(fkv_env *env, env_dir *dir, const char *name, int flags, env_file **out)
{
    fkv_status rc = turn(env, ENV_OP_OPEN, name);

    *out = NULL;
    return rc ? rc : base_of(env)->file_open(base_of(env), dir, name, flags, out);
}

static void file_close(fkv_env *env, env_file *file)
{
    base_of(env)->file_close(base_of(env), file);
}

static fkv_status file_read(fkv_env *env, env_file *file, uint64_t offset, void *out, size_t size,
                            size_t *got)
{
    fkv_status rc = turn(env, ENV_OP_READ, "read");

    *got = 0;
    return rc ? rc : base_of(env)->file_read(base_of(env), file, offset, out, size, got);
}

static fkv_status file_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                             size_t size)
{
    fault_env *f = env->state;
    fkv_status rc = turn(env, ENV_OP_WRITE, "write");
    int half;

    if (!rc) return f->base->file_write(f->base, file, offset, data, size);
    f->base->mutex_lock(f->base, f->mutex);
    /* Of the first failure only: what fails for ever has stopped, and writes nothing more. */
    half = f->fault.partial && f->fired == 1 && size > 1;
    f->base->mutex_unlock(f->base, f->mutex);
    if (half) {
        /* Whether the half succeeds makes no difference: the write has failed. */
        fkv_ignore(f->base->file_write(f->base, file, offset, data, size / 2));
        return FKV_RAISEF(rc, "injected fault: write, half done");
    }
    return rc;
}

static fkv_status file_sync(fkv_env *env, env_file *file)
{
    fkv_status rc = turn(env, ENV_OP_SYNC, "sync");

    return rc ? rc : base_of(env)->file_sync(base_of(env), file);
}

static fkv_status file_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    fkv_status rc = turn(env, ENV_OP_WRITE, "allocate");

    return rc ? rc : base_of(env)->file_allocate(base_of(env), file, offset, size);
}

static fkv_status file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    return base_of(env)->file_size(base_of(env), file, out);
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    return base_of(env)->file_lock(base_of(env), file, byte, mode);
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    return base_of(env)->file_locked(base_of(env), file, byte, count, out);
}

static fkv_status file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    fkv_status rc = turn(env, ENV_OP_MAP, "share");

    *out = NULL;
    return rc ? rc : base_of(env)->file_share(base_of(env), file, size, out);
}

static void file_unshare(fkv_env *env, void *base, size_t size)
{
    base_of(env)->file_unshare(base_of(env), base, size);
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    return base_of(env)->file_linked(base_of(env), file, out);
}

static fkv_status dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    return base_of(env)->dir_shares(base_of(env), dir, out);
}

static fkv_status file_rename(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    fkv_status rc = turn(env, ENV_OP_RENAME, from);

    return rc ? rc : base_of(env)->file_rename(base_of(env), dir, from, to);
}

static fkv_status file_link(fkv_env *env, env_dir *dir, const char *name, env_dir *to_dir,
                            const char *to)
{
    fkv_status rc = turn(env, ENV_OP_RENAME, to);

    return rc ? rc : base_of(env)->file_link(base_of(env), dir, name, to_dir, to);
}

static fkv_status file_remove(fkv_env *env, env_dir *dir, const char *name)
{
    fkv_status rc = turn(env, ENV_OP_REMOVE, name);

    return rc ? rc : base_of(env)->file_remove(base_of(env), dir, name);
}

/* -- memory, clocks, chance ----------------------------------------------------------------- */

static void *map(fkv_env *env, size_t size, int dense)
{
    return turn(env, ENV_OP_MAP, "map") ? NULL : base_of(env)->map(base_of(env), size, dense);
}

static env_region *region_new(fkv_env *env, size_t size)
{
    return turn(env, ENV_OP_MAP, "region") ? NULL : base_of(env)->region_new(base_of(env), size);
}

static env_region *region_open(fkv_env *env, uint64_t name, size_t writable)
{
    if (turn(env, ENV_OP_MAP, "region")) return NULL;
    return base_of(env)->region_open(base_of(env), name, writable);
}

static void region_free(fkv_env *env, env_region *region)
{
    base_of(env)->region_free(base_of(env), region);
}

static void unmap(fkv_env *env, void *base, size_t size)
{
    base_of(env)->unmap(base_of(env), base, size);
}

static uint64_t now_us(fkv_env *env)
{
    return base_of(env)->now_us(base_of(env));
}

static uint64_t now_ns(fkv_env *env)
{
    return base_of(env)->now_ns(base_of(env));
}

static int64_t wall_ms(fkv_env *env)
{
    fault_env *f = env->state;
    int64_t shift;

    f->base->mutex_lock(f->base, f->mutex);
    shift = f->shift_ms;
    f->base->mutex_unlock(f->base, f->mutex);
    return f->base->wall_ms(f->base) + shift;
}

static void sleep_us(fkv_env *env, uint64_t us)
{
    base_of(env)->sleep_us(base_of(env), us);
}

static fkv_status random_bytes(fkv_env *env, void *out, size_t size)
{
    return base_of(env)->random(base_of(env), out, size);
}

static void boot_id(fkv_env *env, uint8_t out[16])
{
    base_of(env)->boot_id(base_of(env), out);
}

static uint32_t fork_count(fkv_env *env)
{
    return base_of(env)->fork_count(base_of(env));
}

static uint64_t process_id(fkv_env *env)
{
    return base_of(env)->process_id(base_of(env));
}

/* -- threads -------------------------------------------------------------------------------- */

static fkv_status thread_start(fkv_env *env, void (*run)(void *arg), void *arg, const char *name,
                               env_thread **out)
{
    fkv_status rc = turn(env, ENV_OP_THREAD, name);

    *out = NULL;
    return rc ? rc : base_of(env)->thread_start(base_of(env), run, arg, name, out);
}

static void thread_join(fkv_env *env, env_thread *thread)
{
    base_of(env)->thread_join(base_of(env), thread);
}

static fkv_status mutex_new(fkv_env *env, env_mutex **out)
{
    fkv_status rc = turn(env, ENV_OP_THREAD, "mutex");

    *out = NULL;
    return rc ? rc : base_of(env)->mutex_new(base_of(env), out);
}

static void mutex_free(fkv_env *env, env_mutex *m)
{
    base_of(env)->mutex_free(base_of(env), m);
}

static void mutex_lock(fkv_env *env, env_mutex *m)
{
    base_of(env)->mutex_lock(base_of(env), m);
}

static void mutex_unlock(fkv_env *env, env_mutex *m)
{
    base_of(env)->mutex_unlock(base_of(env), m);
}

static void global_lock(fkv_env *env)
{
    base_of(env)->global_lock(base_of(env));
}

static void global_unlock(fkv_env *env)
{
    base_of(env)->global_unlock(base_of(env));
}

static fkv_status cond_new(fkv_env *env, env_cond **out)
{
    fkv_status rc = turn(env, ENV_OP_THREAD, "condition");

    *out = NULL;
    return rc ? rc : base_of(env)->cond_new(base_of(env), out);
}

static void cond_free(fkv_env *env, env_cond *c)
{
    base_of(env)->cond_free(base_of(env), c);
}

static void cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us)
{
    base_of(env)->cond_wait(base_of(env), c, m, timeout_us);
}

static void cond_wake_all(fkv_env *env, env_cond *c)
{
    base_of(env)->cond_wake_all(base_of(env), c);
}

/* -- the object ----------------------------------------------------------------------------- */

static const fkv_env fault_functions = {
    .state = NULL,
    .dir_open = dir_open,
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
    .map = map,
    .unmap = unmap,
    .region_new = region_new,
    .region_open = region_open,
    .region_free = region_free,
    .now_us = now_us,
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .sleep_us = sleep_us,
    .random = random_bytes,
    .boot_id = boot_id,
    .process_id = process_id,
    .fork_count = fork_count,
    .thread_start = thread_start,
    .thread_join = thread_join,
    .mutex_new = mutex_new,
    .mutex_free = mutex_free,
    .mutex_lock = mutex_lock,
    .mutex_unlock = mutex_unlock,
    .global_lock = global_lock,
    .global_unlock = global_unlock,
    .cond_new = cond_new,
    .cond_free = cond_free,
    .cond_wait = cond_wait,
    .cond_wake_all = cond_wake_all,
};

fkv_status env_fault_new(fkv_env *base, fkv_env **out)
{
    fault_env *f;
    fkv_status rc;

    *out = NULL;
    f = alloc_zero(sizeof *f);
    if (!f) return FKV_RAISE(FKV_NOMEM);
    f->env = fault_functions;
    f->env.state = f;
    f->base = base;
    rc = base->mutex_new(base, &f->mutex);
    if (rc) {
        alloc_free(f);
        return rc;
    }
    *out = &f->env;
    return FKV_OK;
}

void env_fault_free(fkv_env *env)
{
    fault_env *f;

    if (!env) return;
    f = env->state;
    f->base->mutex_free(f->base, f->mutex);
    alloc_free(f);
}

void env_fault_set(fkv_env *env, const env_fault *fault)
{
    fault_env *f = env->state;

    f->base->mutex_lock(f->base, f->mutex);
    if (fault) {
        f->fault = *fault;
    } else {
        memset(&f->fault, 0, sizeof f->fault);
    }
    f->seen = 0;
    f->fired = 0;
    f->base->mutex_unlock(f->base, f->mutex);
}

/* One of the counters, read under the mutex. */
static uint64_t counter(fkv_env *env, const uint64_t *value)
{
    fault_env *f = env->state;
    uint64_t now;

    f->base->mutex_lock(f->base, f->mutex);
    now = *value;
    f->base->mutex_unlock(f->base, f->mutex);
    return now;
}

uint64_t env_fault_seen(fkv_env *env)
{
    return counter(env, &((fault_env *)env->state)->seen);
}

uint64_t env_fault_fired(fkv_env *env)
{
    return counter(env, &((fault_env *)env->state)->fired);
}

void env_fault_shift_clock(fkv_env *env, int64_t ms)
{
    fault_env *f = env->state;

    f->base->mutex_lock(f->base, f->mutex);
    f->shift_ms += ms;
    f->base->mutex_unlock(f->base, f->mutex);
}
