/*
** env_posix.h -- private to io/env_posix*.c: the half of the operating system env that is not
** about files, and forks. Contracts in io/env.h.
*/
#ifndef FKV_IO_ENV_POSIX_H
#define FKV_IO_ENV_POSIX_H

#include <stdatomic.h>

#include "io/env.h"

/* Raise `status` for `cannot <action> "<object>": <text of errno value error>`. */
fkv_status posix_fail(fkv_status status, const char *action, const char *object, int error);

/* -- env_posix_fork.c -- */

/* An open descriptor, listed so that fork() can close it in the child. */
typedef struct posix_fd {
    int fd;                  /* -1: none, or from before a fork */
    _Atomic uint32_t forked; /* this process has forked with it open */
    struct posix_fd *next, **link;
} posix_fd;

void posix_fd_keep(posix_fd *f);  /* list it; f->fd is set */
void posix_fd_close(posix_fd *f); /* close it; it need not be listed */
uint32_t posix_fork_count(fkv_env *env);

/* A shared mapping, which fork() makes private in the child. 0: no memory to remember it. */
int posix_shared_keep(void *base, size_t size);
void posix_shared_forget(const void *base);

void *posix_map(fkv_env *env, size_t size, int dense);
void posix_unmap(fkv_env *env, void *base, size_t size);
env_region *posix_region_new(fkv_env *env, size_t size);
env_region *posix_region_open(fkv_env *env, uint64_t name, size_t writable);
void posix_region_free(fkv_env *env, env_region *region);
uint64_t posix_now_us(fkv_env *env);
uint64_t posix_now_ns(fkv_env *env);
int64_t posix_wall_ms(fkv_env *env);
void posix_sleep_us(fkv_env *env, uint64_t us);
FKV_MUST_CHECK fkv_status posix_random(fkv_env *env, void *out, size_t size);
void posix_boot_id(fkv_env *env, uint8_t out[16]);
uint64_t posix_process_id(fkv_env *env);

FKV_MUST_CHECK fkv_status posix_thread_start(fkv_env *env, void (*run)(void *arg), void *arg,
                                             const char *name, env_thread **out);
void posix_thread_join(fkv_env *env, env_thread *thread);
FKV_MUST_CHECK fkv_status posix_mutex_new(fkv_env *env, env_mutex **out);
void posix_mutex_free(fkv_env *env, env_mutex *m);
void posix_mutex_lock(fkv_env *env, env_mutex *m);
void posix_mutex_unlock(fkv_env *env, env_mutex *m);
void posix_global_lock(fkv_env *env);
void posix_global_unlock(fkv_env *env);
FKV_MUST_CHECK fkv_status posix_cond_new(fkv_env *env, env_cond **out);
void posix_cond_free(fkv_env *env, env_cond *c);
void posix_cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us);
void posix_cond_wake_all(fkv_env *env, env_cond *c);

#endif
