/*
** world.h -- several processes in one: each with an env of its own over one file system in memory,
** which counts its operations, and at any of them can be made to die, to stop, or to fail once.
**
** What a process shares with others is its files, its locks and the page (engine/store/share.h).
** Two envs are two processes to the engine: a store object belongs to an env, and a lock to an open
** file. What is left to do here:
**
**   death   From that operation on nothing that the process does reaches the world: its operations
**           fail, its locks go, as the kernel would have it, and its mappings of the page and of
**           memory that others may map are replaced by private copies in place. So its code may run
**           on into its clean-up, which is how the test gets its memory back.
**   a stop  A function of the test's is called in place, before the operation is done. Others
**           live on in it. A thread that waits for a stopped one would wait for ever: there are no
**           threads here, and time is the test's own (a sleep is over at once).
*/
#ifndef FKV_TESTS_WORLD_H
#define FKV_TESTS_WORLD_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "audit/env_audit.h"
#include "check.h"
#include "io/env.h"
#include "io/filename.h"

enum { PAGE = 4096, HELD_MAX = 256, PAGES_MAX = 4, REGIONS_MAX = 64 };

typedef struct world {
    fkv_env *disk, *files; /* the latter audited */
    int page;              /* of the store's lock file, which everybody maps for themselves */
    uint64_t clock_us;
} world;

typedef struct held_lock {
    env_file *file;
    uint64_t byte;
} held_lock;

typedef struct process {
    fkv_env env;
    world *w;
    int reads_only; /* it may not write to the page */
    uint64_t ops;
    uint64_t dies_at, stops_at, fails_at; /* of ops; 0 = never */
    const char *refuses; /* an operation that fails whenever it is asked for, or NULL */
    int half;            /* the write at which it dies is done by half */
    int dead;
    void (*while_stopped)(void *arg);
    void *arg;
    held_lock held[HELD_MAX];
    int held_count;
    void *pages[PAGES_MAX];
    env_region *regions[REGIONS_MAX]; /* those that it may write to */
} process;

static inline process *process_of(fkv_env *env)
{
    return env->state;
}

static inline fkv_env *files_of(fkv_env *env)
{
    return process_of(env)->w->files;
}

/* What it writes there from now on nobody else sees. (How regions are named, env_posix_region.c
** says.) */
static inline void world_make_private(const env_region *r)
{
    int fd = (int)(r->name & ((1 << 24) - 1));

    if (mmap(r->base, r->size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE, fd,
             0) != r->base)
        abort();
}

static inline void process_dies(process *p)
{
    p->dead = 1;
    while (p->held_count) {
        held_lock *l = &p->held[--p->held_count];
        if (p->w->files->file_lock(p->w->files, l->file, l->byte, ENV_UNLOCK)) abort();
    }
    for (int i = 0; i < PAGES_MAX; i++) {
        uint8_t copy[PAGE];
        if (!p->pages[i]) continue;
        memcpy(copy, p->pages[i], PAGE);
        if (mmap(p->pages[i], PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0) != p->pages[i])
            abort();
        memcpy(p->pages[i], copy, PAGE);
    }
    for (int i = 0; i < REGIONS_MAX; i++)
        if (p->regions[i]) world_make_private(p->regions[i]);
}

/* A lock file made anew has a page of its own; those who have the last one mapped keep it. */
static inline void world_new_page(world *w)
{
    if (w->page >= 0) (void)close(w->page);
    w->page = memfd_create("page", MFD_CLOEXEC);
    if (w->page < 0 || ftruncate(w->page, PAGE)) abort();
}

/* Another operation. Not FKV_OK: it is not done. */
static inline fkv_status process_step(fkv_env *env, const char *what)
{
    process *p = process_of(env);

    if (p->dead) return FKV_RAISEF(FKV_IOERR, "the process is dead: %s", what);
    p->ops++;
    if (p->ops == p->stops_at) p->while_stopped(p->arg);
    if (p->refuses && strcmp(p->refuses, what) == 0)
        return FKV_RAISEF(FKV_IOERR, "refused: %s", what);
    if (p->ops == p->fails_at) return FKV_RAISEF(FKV_IOERR, "injected: %s", what);
    if (p->ops != p->dies_at) return FKV_OK;
    process_dies(p);
    return FKV_RAISEF(FKV_IOERR, "the process dies: %s", what);
}

#define WORLD_STEP(what)                                                                           \
    do {                                                                                           \
        fkv_status step_ = process_step(env, what);                                                \
        if (step_) return step_;                                                                   \
    } while (0)

/* -- directories ------------------------------------------------------------------------------- */

static inline fkv_status world_dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    *out = NULL;
    WORLD_STEP("dir_open");
    return files_of(env)->dir_open(files_of(env), path, flags, out);
}

static inline void world_dir_close(fkv_env *env, env_dir *dir)
{
    files_of(env)->dir_close(files_of(env), dir);
}

static inline fkv_status world_dir_sync(fkv_env *env, env_dir *dir)
{
    WORLD_STEP("dir_sync");
    return files_of(env)->dir_sync(files_of(env), dir);
}

static inline fkv_status world_dir_list(fkv_env *env, env_dir *dir,
                                        fkv_status (*each)(void *arg, const char *name), void *arg)
{
    WORLD_STEP("dir_list");
    return files_of(env)->dir_list(files_of(env), dir, each, arg);
}

static inline fkv_status world_dir_identity(fkv_env *env, env_dir *dir, env_identity *out)
{
    return files_of(env)->dir_identity(files_of(env), dir, out);
}

static inline fkv_status world_dir_remove(fkv_env *env, const char *path)
{
    WORLD_STEP("dir_remove");
    return files_of(env)->dir_remove(files_of(env), path);
}

static inline fkv_status world_dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    return files_of(env)->dir_shares(files_of(env), dir, out);
}

/* -- files ------------------------------------------------------------------------------------- */

static inline fkv_status world_file_open(fkv_env *env, env_dir *dir, const char *name, int flags,
                                         env_file **out)
{
    *out = NULL;
    WORLD_STEP("file_open");
    return files_of(env)->file_open(files_of(env), dir, name, flags, out);
}

static inline void world_file_close(fkv_env *env, env_file *file)
{
    process *p = process_of(env);

    for (int i = p->held_count; i-- > 0;)
        if (p->held[i].file == file) p->held[i] = p->held[--p->held_count];
    files_of(env)->file_close(files_of(env), file);
}

static inline fkv_status world_file_read(fkv_env *env, env_file *file, uint64_t offset, void *out,
                                         size_t size, size_t *got)
{
    *got = 0;
    WORLD_STEP("file_read");
    return files_of(env)->file_read(files_of(env), file, offset, out, size, got);
}

static inline fkv_status world_file_write(fkv_env *env, env_file *file, uint64_t offset,
                                          const void *data, size_t size)
{
    process *p = process_of(env);
    int alive = !p->dead;
    fkv_status rc = process_step(env, "file_write");

    if (!rc) return files_of(env)->file_write(files_of(env), file, offset, data, size);
    if (alive && p->dead && p->half) /* whether that half succeeds makes no difference */
        fkv_ignore(files_of(env)->file_write(files_of(env), file, offset, data, size / 2));
    return rc;
}

static inline fkv_status world_file_sync(fkv_env *env, env_file *file)
{
    WORLD_STEP("file_sync");
    return files_of(env)->file_sync(files_of(env), file);
}

static inline fkv_status world_file_allocate(fkv_env *env, env_file *file, uint64_t offset,
                                             uint64_t size)
{
    WORLD_STEP("file_allocate");
    return files_of(env)->file_allocate(files_of(env), file, offset, size);
}

static inline fkv_status world_file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    *out = 0;
    WORLD_STEP("file_size");
    return files_of(env)->file_size(files_of(env), file, out);
}

static inline fkv_status world_file_linked(fkv_env *env, env_file *file, int *out)
{
    *out = 0;
    WORLD_STEP("file_linked");
    return files_of(env)->file_linked(files_of(env), file, out);
}

static inline fkv_status world_file_rename(fkv_env *env, env_dir *dir, const char *from,
                                           const char *to)
{
    WORLD_STEP("file_rename");
    return files_of(env)->file_rename(files_of(env), dir, from, to);
}

static inline fkv_status world_file_link(fkv_env *env, env_dir *dir, const char *name,
                                         env_dir *to_dir, const char *to)
{
    WORLD_STEP("file_link");
    return files_of(env)->file_link(files_of(env), dir, name, to_dir, to);
}

static inline fkv_status world_file_remove(fkv_env *env, env_dir *dir, const char *name)
{
    fkv_status rc;

    WORLD_STEP("file_remove");
    rc = files_of(env)->file_remove(files_of(env), dir, name);
    if (!rc && strcmp(name, FILENAME_LOCK) == 0) world_new_page(process_of(env)->w);
    return rc;
}

/* -- locks and the page ------------------------------------------------------------------------ */

static inline void world_note_lock(process *p, env_file *file, uint64_t byte, int mode)
{
    for (int i = 0; i < p->held_count; i++) {
        if (p->held[i].file != file || p->held[i].byte != byte) continue;
        if (mode == ENV_UNLOCK) p->held[i] = p->held[--p->held_count];
        return;
    }
    if (mode == ENV_UNLOCK) return;
    if (p->held_count == HELD_MAX) abort();
    p->held[p->held_count++] = (held_lock){file, byte};
}

static inline fkv_status world_file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    fkv_status rc;

    WORLD_STEP(mode == ENV_UNLOCK ? "unlock" : "lock");
    rc = files_of(env)->file_lock(files_of(env), file, byte, mode);
    if (!rc) world_note_lock(process_of(env), file, byte, mode);
    return rc;
}

static inline fkv_status world_file_locked(fkv_env *env, env_file *file, uint64_t byte,
                                           uint64_t count, int *out)
{
    *out = 0;
    WORLD_STEP("file_locked");
    return files_of(env)->file_locked(files_of(env), file, byte, count, out);
}

static inline fkv_status world_file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    process *p = process_of(env);
    int prot = p->reads_only ? PROT_READ : PROT_READ | PROT_WRITE, i = 0, linked = 0;
    void *base;

    *out = NULL;
    WORLD_STEP("file_share");
    if (files_of(env)->file_linked(files_of(env), file, &linked)) abort();
    while (i < PAGES_MAX && p->pages[i]) i++;
    if (size != PAGE || i == PAGES_MAX) abort();
    /* (Whoever has a removed lock file meets nobody there.) */
    base = linked ? mmap(NULL, PAGE, prot, MAP_SHARED, p->w->page, 0)
                  : mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) abort();
    *out = p->pages[i] = base;
    return FKV_OK;
}

static inline void world_file_unshare(fkv_env *env, void *base, size_t size)
{
    process *p = process_of(env);

    if (!base) return;
    for (int i = 0; i < PAGES_MAX; i++)
        if (p->pages[i] == base) p->pages[i] = NULL;
    (void)munmap(base, size);
}

/* -- memory that others may map ---------------------------------------------------------------- */

static inline env_region *world_region_new(fkv_env *env, size_t size)
{
    process *p = process_of(env);
    env_region *r = p->dead ? NULL : env_posix()->region_new(env_posix(), size);
    int i = 0;

    while (i < REGIONS_MAX && p->regions[i]) i++;
    if (i == REGIONS_MAX) abort();
    p->regions[i] = r;
    return r;
}

static inline env_region *world_region_open(fkv_env *env, uint64_t name, size_t writable)
{
    if (process_of(env)->dead) return NULL;
    return env_posix()->region_open(env_posix(), name, writable);
}

static inline void world_region_free(fkv_env *env, env_region *r)
{
    process *p = process_of(env);

    for (int i = 0; r && i < REGIONS_MAX; i++)
        if (p->regions[i] == r) p->regions[i] = NULL;
    env_posix()->region_free(env_posix(), r);
}

/* -- time, and what is one process's ----------------------------------------------------------- */

static inline uint64_t world_now_us(fkv_env *env)
{
    return process_of(env)->w->clock_us++;
}

static inline uint64_t world_now_ns(fkv_env *env)
{
    return world_now_us(env) * 1000;
}

/* Who waits, waits in vain: let the end come soon. */
static inline void world_sleep_us(fkv_env *env, uint64_t us)
{
    process_of(env)->w->clock_us += us * 1000;
}

/* There is nobody who could wake us. */
static inline void world_cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us)
{
    (void)c;
    (void)m;
    if (timeout_us == 0) abort();
    world_sleep_us(env, timeout_us);
}

static inline void world_boot_id(fkv_env *env, uint8_t out[16])
{
    files_of(env)->boot_id(files_of(env), out);
}

static inline void world_no_lock(fkv_env *env)
{
    (void)env;
}

static inline void process_begins(process *p, world *w)
{
    *p = (process){.env = *env_posix(), .w = w};
    p->env.state = p;
    p->env.dir_open = world_dir_open;
    p->env.dir_close = world_dir_close;
    p->env.dir_sync = world_dir_sync;
    p->env.dir_list = world_dir_list;
    p->env.dir_identity = world_dir_identity;
    p->env.dir_remove = world_dir_remove;
    p->env.dir_shares = world_dir_shares;
    p->env.file_open = world_file_open;
    p->env.file_close = world_file_close;
    p->env.file_read = world_file_read;
    p->env.file_write = world_file_write;
    p->env.file_sync = world_file_sync;
    p->env.file_allocate = world_file_allocate;
    p->env.file_size = world_file_size;
    p->env.file_lock = world_file_lock;
    p->env.file_locked = world_file_locked;
    p->env.file_share = world_file_share;
    p->env.file_unshare = world_file_unshare;
    p->env.file_linked = world_file_linked;
    p->env.file_rename = world_file_rename;
    p->env.file_remove = world_file_remove;
    p->env.file_link = world_file_link;
    p->env.region_new = world_region_new;
    p->env.region_open = world_region_open;
    p->env.region_free = world_region_free;
    p->env.boot_id = world_boot_id;
    p->env.now_us = world_now_us;
    p->env.now_ns = world_now_ns;
    p->env.sleep_us = world_sleep_us;
    p->env.cond_wait = world_cond_wait;
    p->env.global_lock = world_no_lock; /* each process has its own */
    p->env.global_unlock = world_no_lock;
}

static inline void world_begins(world *w)
{
    *w = (world){.page = -1, .clock_us = 1};
    world_new_page(w);
    if (env_mem_new(&w->disk)) abort();
    w->files = audited(w->disk);
}

static inline void world_ends(world *w)
{
    env_audit_free(w->files);
    env_mem_free(w->disk);
    (void)close(w->page);
}

#endif
