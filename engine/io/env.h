/*
** env.h -- the one struct through which the engine touches the world.
**
** Files, directories, locks, mapped memory, clocks, random bytes, threads: whatever the engine
** wants from outside, it asks an fkv_env. So a test can run the engine on a memory file system,
** fail the nth write, or lose every byte that was not synced, without the engine knowing.
** (The idea is LevelDB's Env and SQLite's VFS.) Heap memory has its own hook, base/alloc.h.
**
** Implementations: env_posix.c (the real one), env_mem.c (files in memory), env_fault.c (wraps
** another env and injects failures), env_sched.c (wraps another env and decides who runs when).
**
** Rules for every implementation
**   - Output arguments are zeroed on entry and set only on success.
**   - Errors are raised with FKV_RAISEF and name the file and the reason.
**   - All functions may be called from several threads; one file's reads may run beside its writes.
**   - A file is named relative to an open directory, by a plain name without '/'.
*/
#ifndef FKV_IO_ENV_H
#define FKV_IO_ENV_H

#include "base/status.h"

typedef struct env_dir env_dir;       /* an open directory; defined by each implementation */
typedef struct env_file env_file;     /* an open file */
typedef struct env_thread env_thread; /* a running thread, until joined */
typedef struct env_mutex env_mutex;
typedef struct env_cond env_cond;

/* Which directory this really is, whatever it is called. */
typedef struct env_identity {
    uint64_t device;
    uint64_t inode;
} env_identity;

/* Memory that other processes may map (region_new). */
typedef struct env_region {
    void *base;
    size_t size;
    uint64_t name;
    const _Atomic uint32_t *forked; /* of one that is ours: set when this process forks, and a child
                                    ** has it as well */
} env_region;

/* Flags of dir_open and file_open. */
enum {
    ENV_READ = 1,      /* open for reading only */
    ENV_WRITE = 2,     /* open for reading and writing */
    ENV_CREATE = 4,    /* create when absent */
    ENV_EXCLUSIVE = 8, /* with ENV_CREATE: it must be absent; FKV_BUSY when it is there */
    ENV_UNCACHED = 16  /* hint: this file will be read once, front to back */
};

enum { ENV_UNLOCK = 0, ENV_LOCK_SHARED = 1, ENV_LOCK_EXCLUSIVE = 2 };

struct fkv_env {
    void *state; /* the implementation's own */

    /* -- directories ------------------------------------------------------------------------ */

    /* Open directory `path` (ENV_CREATE: make it, mode 0777 & ~umask, or what a file allows that it
    ** is named after, "x" for "x-y"; the parent must exist).
    ** FKV_NOTFOUND when absent, FKV_READONLY when it may not be created, else FKV_CANTOPEN.
    ** With ENV_CREATE the parent directory is synced as well, so the new entry is durable. */
    FKV_MUST_CHECK fkv_status (*dir_open)(fkv_env *, const char *path, int flags, env_dir **out);
    void (*dir_close)(fkv_env *, env_dir *dir); /* NULL is fine */

    /* Make creations, renames and removals in the directory durable. */
    FKV_MUST_CHECK fkv_status (*dir_sync)(fkv_env *, env_dir *dir);

    /* Call each(arg, name) for every entry but "." and "..", in no order; stops at and returns the
    ** first non-OK answer. */
    FKV_MUST_CHECK fkv_status (*dir_list)(fkv_env *, env_dir *dir,
                                          fkv_status (*each)(void *arg, const char *name),
                                          void *arg);
    FKV_MUST_CHECK fkv_status (*dir_identity)(fkv_env *, env_dir *dir, env_identity *out);

    /* Remove an empty directory by path. */
    FKV_MUST_CHECK fkv_status (*dir_remove)(fkv_env *, const char *path);

    /* -- files ------------------------------------------------------------------------------ */

    /* FKV_NOTFOUND when absent without ENV_CREATE; FKV_READONLY when writing is not permitted;
    ** FKV_CANTOPEN for anything else, among them a name that is not a regular file. */
    FKV_MUST_CHECK fkv_status (*file_open)(fkv_env *, env_dir *dir, const char *name, int flags,
                                           env_file **out);
    void (*file_close)(fkv_env *, env_file *file); /* NULL is fine; never fails, never syncs */

    /* Read up to `size` bytes at `offset`. *got < size only at end of file. */
    FKV_MUST_CHECK fkv_status (*file_read)(fkv_env *, env_file *file, uint64_t offset, void *out,
                                           size_t size, size_t *got);

    /* Write all `size` bytes at `offset`, extending the file as needed. On failure any part of
    ** them may have been written. FKV_FULL when space ran out. */
    FKV_MUST_CHECK fkv_status (*file_write)(fkv_env *, env_file *file, uint64_t offset,
                                            const void *data, size_t size);

    /* Make the file's content and size durable. FKV_IOERR_SYNC on failure: never retry. */
    FKV_MUST_CHECK fkv_status (*file_sync)(fkv_env *, env_file *file);

    /* Reserve space for [offset, offset+size); bytes not yet written read as zeros, the file size
    ** grows to cover them. FKV_FULL when there is none. */
    FKV_MUST_CHECK fkv_status (*file_allocate)(fkv_env *, env_file *file, uint64_t offset,
                                               uint64_t size);
    FKV_MUST_CHECK fkv_status (*file_size)(fkv_env *, env_file *file, uint64_t *out);

    /* Try to lock one byte of the file (ENV_LOCK_*), or unlock it. Locks belong to the open file,
    ** not the process (OFD locks on Linux); they conflict between two opens in one process too,
    ** and go when the file is closed or its process dies. FKV_BUSY when somebody else holds it. */
    FKV_MUST_CHECK fkv_status (*file_lock)(fkv_env *, env_file *file, uint64_t byte, int mode);

    /* Does somebody else hold a lock on any of the `count` bytes from `byte` on? */
    FKV_MUST_CHECK fkv_status (*file_locked)(fkv_env *, env_file *file, uint64_t byte,
                                             uint64_t count, int *out);

    /* The file's first `size` bytes as memory that is shared with everybody who has it so, in this
    ** process or another; may be written to if the file was opened for writing. REQUIRES: the file
    ** has been allocated that far, and never shrinks. */
    FKV_MUST_CHECK fkv_status (*file_share)(fkv_env *, env_file *file, size_t size, void **out);
    void (*file_unshare)(fkv_env *, void *base, size_t size);

    /* *out = 0 if the file has been removed since it was opened. */
    FKV_MUST_CHECK fkv_status (*file_linked)(fkv_env *, env_file *file, int *out);

    /* *out = 1 if locks and shared memory of files in this directory reach every process that can
    ** open them, 0 if that is not known: a network, a file server in user space. */
    FKV_MUST_CHECK fkv_status (*dir_shares)(fkv_env *, env_dir *dir, int *out);

    /* Rename within the directory, replacing `to`. */
    FKV_MUST_CHECK fkv_status (*file_rename)(fkv_env *, env_dir *dir, const char *from,
                                             const char *to);

    /* Give file `name` of `dir` a second name, `to` in directory `to_dir`. FKV_UNSUPPORTED (not
    ** raised) when the two cannot share a file, FKV_BUSY when `to` is there. */
    FKV_MUST_CHECK fkv_status (*file_link)(fkv_env *, env_dir *dir, const char *name,
                                           env_dir *to_dir, const char *to);

    /* Remove a file. FKV_NOTFOUND when absent. Open handles stay readable. */
    FKV_MUST_CHECK fkv_status (*file_remove)(fkv_env *, env_dir *dir, const char *name);

    /* -- memory, clocks, chance ------------------------------------------------------------- */

    /* A zeroed, page-aligned region whose pages cost memory only once touched. `dense`: they will
    ** be touched from front to back, so that a few large pages are better than many small ones:
    ** less than a tenth of the page faults. NULL when there is none. unmap gives it back. */
    void *(*map)(fkv_env *, size_t size, int dense);
    void (*unmap)(fkv_env *, void *base, size_t size);

    /* Such a region that other processes may map. NULL when there is none to be had, for whatever
    ** reason. */
    env_region *(*region_new)(fkv_env *, size_t size);
    /* What region_new has named so, here or in another process that lives: the same memory, of
    ** which the first `writable` bytes, whole pages, may be written to. NULL: it is not there, or
    ** not for us, or not so large. A name may be given out again: look at what it holds. */
    env_region *(*region_open)(fkv_env *, uint64_t name, size_t writable);
    void (*region_free)(fkv_env *, env_region *region); /* NULL is fine */

    uint64_t (*now_us)(fkv_env *); /* monotonic microseconds */
    uint64_t (*now_ns)(fkv_env *); /* the same clock, nanoseconds */
    int64_t (*wall_ms)(fkv_env *); /* milliseconds since 1970 */
    void (*sleep_us)(fkv_env *, uint64_t us);
    FKV_MUST_CHECK fkv_status (*random)(fkv_env *, void *out, size_t size);

    /* 16 bytes that change with every boot of the machine. */
    void (*boot_id)(fkv_env *, uint8_t out[16]);

    uint64_t (*process_id)(fkv_env *);

    /* How many forks this process is away from the one that loaded the library. What was made at
    ** another count is inert: file calls on it fail, mutexes are passed without locking, threads
    ** are not there. About a nanosecond. */
    uint32_t (*fork_count)(fkv_env *);

    /* -- threads ---------------------------------------------------------------------------- */

    /* Start run(arg) on a thread of its own, all signals blocked, named `name` (<= 15 bytes). */
    FKV_MUST_CHECK fkv_status (*thread_start)(fkv_env *, void (*run)(void *arg), void *arg,
                                              const char *name, env_thread **out);
    void (*thread_join)(fkv_env *, env_thread *thread); /* NULL is fine */

    FKV_MUST_CHECK fkv_status (*mutex_new)(fkv_env *, env_mutex **out);
    void (*mutex_free)(fkv_env *, env_mutex *m); /* NULL is fine */
    void (*mutex_lock)(fkv_env *, env_mutex *m);
    void (*mutex_unlock)(fkv_env *, env_mutex *m);

    /* One lock for the whole process, there before anything is made: guards the list of open
    ** stores. Not recursive. */
    void (*global_lock)(fkv_env *);
    void (*global_unlock)(fkv_env *);

    FKV_MUST_CHECK fkv_status (*cond_new)(fkv_env *, env_cond **out);
    void (*cond_free)(fkv_env *, env_cond *c); /* NULL is fine */

    /* Wait with m held, at most timeout_us (0 = for ever). May wake without a signal. */
    void (*cond_wait)(fkv_env *, env_cond *c, env_mutex *m, uint64_t timeout_us);
    void (*cond_wake_all)(fkv_env *, env_cond *c);
};

/* The operating system. One constant object; free nothing. */
fkv_env *env_posix(void);

/* A new memory file system (directories spring into being on ENV_CREATE; paths are flat names;
** everything else is borrowed from env_posix()). env_mem_free() also frees its files; all must be
** closed. Unsynced data is tracked: env_mem_crash() below forgets it. */
FKV_MUST_CHECK fkv_status env_mem_new(fkv_env **out);
void env_mem_free(fkv_env *env);

/* A power cut: what was not synced is lost. Every file falls back to its content at its last
** file_sync (absent when its entry was never dir_synced; removed or renamed entries come back if
** the directory was not synced since). seed != 0: each unsynced 512-byte sector and each unsynced
** directory operation survives with probability 1/2 instead, a torn but legal outcome. All handles
** must be closed first; locks are gone and the boot id changes. */
FKV_MUST_CHECK fkv_status env_mem_crash(fkv_env *env, uint64_t seed);

/* -- fault injection ------------------------------------------------------------------------ */

/* Kinds of operation, a bit set. */
enum {
    ENV_OP_READ = 1,
    ENV_OP_WRITE = 2,   /* file_write and file_allocate */
    ENV_OP_SYNC = 4,    /* file_sync and dir_sync */
    ENV_OP_OPEN = 8,    /* file_open and dir_open */
    ENV_OP_RENAME = 16, /* file_rename and file_link */
    ENV_OP_REMOVE = 32,
    ENV_OP_MAP = 64,    /* map, region_new, region_open: return NULL */
    ENV_OP_THREAD = 128 /* thread_start, mutex_new, cond_new */
};

typedef struct env_fault {
    int kinds;          /* which operations count and may fail */
    uint64_t countdown; /* fail the countdown-th of them from now; 0 = never */
    int persistent;     /* keep failing from then on, until changed */
    fkv_status status;  /* what they answer: FKV_IOERR, FKV_FULL, FKV_IOERR_SYNC … */
    int partial;        /* if what fails first is a write, half of its bytes are written */
} env_fault;

/* Wrap `base` (borrowed; must outlive it). No faults until env_fault_set. */
FKV_MUST_CHECK fkv_status env_fault_new(fkv_env *base, fkv_env **out);
void env_fault_free(fkv_env *env);

/* Arm (fault copied) or, with NULL, disarm; resets the count. Any thread. */
void env_fault_set(fkv_env *env, const env_fault *fault);

/* Operations of the armed kinds seen since env_fault_set, and how many were failed. */
uint64_t env_fault_seen(fkv_env *env);
uint64_t env_fault_fired(fkv_env *env);

/* Move the wall clock the wrapped env shows by this many milliseconds. */
void env_fault_shift_clock(fkv_env *env, int64_t ms);

/* -- schedules ------------------------------------------------------------------------------ */

typedef struct env_sched {
    uint64_t seed;
    uint32_t switch_one_in; /* at one call in so many another thread may go on; 0 = only when this
                            ** one has to wait */
    uint32_t stall_one_in;  /* at one call in so many it is held up; 0 = never */
    uint32_t stall_us;      /* for so long, or half of it, or a quarter … */
    uint32_t op_us;         /* an operation on files takes up to so long */
    /* All wait for each other, or a lock is misused; `what` says who waits for what. Must not
    ** return. NULL: the process is ended. */
    void (*stuck)(void *arg, const char *what);
    void *arg;
} env_sched;

/* Wrap `base` (borrowed; must outlive it): threads run one at a time, in an order that the seed
** gives, and time is counted, not measured. Only the calling thread, and those that it and its
** like start by thread_start of this env, may use it, or anything that does. `base` may be
** env_fault_new's, over env_mem_new's. */
FKV_MUST_CHECK fkv_status env_sched_new(fkv_env *base, const env_sched *how, fkv_env **out);

/* Another process, as it were: an env over `base` for threads of the same schedule. */
FKV_MUST_CHECK fkv_status env_sched_beside(fkv_env *env, fkv_env *base, fkv_env **out);

/* REQUIRES: all threads are joined, if it is the last env of its schedule. NULL is fine. */
void env_sched_free(fkv_env *env);

/* A digest of who has done what so far, and how many calls have been counted. */
uint64_t env_sched_trace(fkv_env *env);
uint64_t env_sched_points(fkv_env *env);

#endif
