/*
** env_posix_fork.c -- what fork() leaves in the child
**
** A child has copies of everything and the parent's threads are not among them. It would write to
** the parent's log through shared descriptors, wait for mutexes that nobody holds any more, and
** keep the parent's locks alive after its death (an OFD lock goes with the last descriptor of the
** open file). So in the child, before fork() returns there:
**
**   - every descriptor of ours is closed, and with it our share of the locks;
**   - every mapping of a page that is shared with others becomes a copy: whatever the child still
**     does there (it may end a transaction that the parent began), nobody else sees. Regions stay
**     what they are: the child only reads there, and the parent makes nothing new in them
**     (env_region.forked);
**   - the fork count goes up: whoever remembers another one is from before the fork. Its mutexes
**     are passed without locking, its threads are not waited for, and a store answers everything
**     with an error (store.h, store_forked).
**
** Memory of the old objects is the parent's affair and is not freed.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/env_posix.h"

typedef struct shared_map {
    void *base;
    size_t size;
    struct shared_map *next;
} shared_map;

static pthread_once_t handlers_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static posix_fd *first_fd;       /* guarded by list_lock */
static shared_map *first_shared; /* the same */
static _Atomic uint32_t forks;

uint32_t posix_fork_count(fkv_env *env)
{
    (void)env;
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

static void before_fork(void)
{
    posix_global_lock(NULL);
    (void)pthread_mutex_lock(&list_lock);
    for (posix_fd *f = first_fd; f; f = f->next) atomic_store(&f->forked, 1);
}

static void after_in_parent(void)
{
    (void)pthread_mutex_unlock(&list_lock);
    posix_global_unlock(NULL);
}

/* Without memory for a copy there is nothing there any more: better that the child dies of a touch
** than that others are lied to. */
static void make_private(const shared_map *m)
{
    void *copy = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (copy != MAP_FAILED) memcpy(copy, m->base, m->size);
    if (copy == MAP_FAILED ||
        mremap(copy, m->size, m->size, MREMAP_MAYMOVE | MREMAP_FIXED, m->base) == MAP_FAILED)
        (void)munmap(m->base, m->size);
}

static void after_in_child(void)
{
    for (const shared_map *m = first_shared; m; m = m->next) make_private(m);
    for (posix_fd *f = first_fd; f; f = f->next) {
        (void)close(f->fd);
        f->fd = -1; /* every call on it fails from here on */
    }
    atomic_fetch_add(&forks, 1);
    (void)pthread_mutex_unlock(&list_lock); /* this thread locked both */
    posix_global_unlock(NULL);
}

static void install_handlers(void)
{
    /* No memory: then forks are not noticed, as in a library without all this. */
    (void)pthread_atfork(before_fork, after_in_parent, after_in_child);
}

void posix_fd_keep(posix_fd *f)
{
    (void)pthread_once(&handlers_once, install_handlers);
    (void)pthread_mutex_lock(&list_lock);
    f->next = first_fd;
    f->link = &first_fd;
    if (first_fd) first_fd->link = &f->next;
    first_fd = f;
    (void)pthread_mutex_unlock(&list_lock);
}

void posix_fd_close(posix_fd *f)
{
    (void)pthread_mutex_lock(&list_lock);
    if (f->link) {
        *f->link = f->next;
        if (f->next) f->next->link = f->link;
    }
    /* No retry: on Linux the descriptor is gone even after EINTR. */
    if (f->fd >= 0) (void)close(f->fd);
    *f = (posix_fd){.fd = -1};
    (void)pthread_mutex_unlock(&list_lock);
}

int posix_shared_keep(void *base, size_t size)
{
    shared_map *m = alloc_bytes(sizeof *m);

    if (!m) return 0;
    (void)pthread_once(&handlers_once, install_handlers);
    (void)pthread_mutex_lock(&list_lock);
    *m = (shared_map){base, size, first_shared};
    first_shared = m;
    (void)pthread_mutex_unlock(&list_lock);
    return 1;
}

void posix_shared_forget(const void *base)
{
    shared_map **link = &first_shared, *m;

    (void)pthread_mutex_lock(&list_lock);
    while ((*link)->base != base) link = &(*link)->next; /* it is there */
    m = *link;
    *link = m->next;
    (void)pthread_mutex_unlock(&list_lock);
    alloc_free(m);
}
