/*
** env_posix_thread.c -- the operating system: memory, clocks, chance, threads.
**
** We are a guest in somebody's process. So threads take no signals (the program's handlers keep
** running on the program's threads), have small stacks, and nothing here changes state of the
** process.
*/
#include "io/env_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

#define STACK_BYTES ((size_t)512 << 10)
#define WAIT_US_MAX ((uint64_t)365 * 86400 * 1000000) /* longer than anybody waits; fits time_t */

struct env_thread {
    uint32_t born; /* fork count, here and below */
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    char name[16];
};

struct env_mutex {
    pthread_mutex_t mutex;
    uint32_t born;
};

struct env_cond {
    uint32_t born;
    pthread_cond_t cond;
};

static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t boot_once = PTHREAD_ONCE_INIT;
static uint8_t boot_bytes[16]; /* set by read_boot_id, then constant */

fkv_status posix_fail(fkv_status status, const char *action, const char *object, int error)
{
    char room[128];
    return FKV_RAISEF(status, "cannot %s \"%s\": %s", action, object,
                      strerror_r(error, room, sizeof room));
}

/* -- memory --------------------------------------------------------------------------------- */

enum { LARGE_PAGE = 2 << 20 }; /* on most machines */

void *posix_map(fkv_env *env, size_t size, int dense)
{
    void *base = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    (void)env;
    if (base == MAP_FAILED) return NULL;
    if (dense && size >= 2 * LARGE_PAGE)
        (void)madvise(base, size, MADV_HUGEPAGE); /* or small ones */
    return base;
}

void posix_unmap(fkv_env *env, void *base, size_t size)
{
    (void)env;
    if (base) (void)munmap(base, size ? size : 1);
}

/* -- clocks --------------------------------------------------------------------------------- */

uint64_t posix_now_ns(fkv_env *env)
{
    struct timespec t;

    (void)env;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t posix_now_us(fkv_env *env)
{
    return posix_now_ns(env) / 1000;
}

int64_t posix_wall_ms(fkv_env *env)
{
    struct timespec t;

    (void)env;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The monotonic time `us` from now. */
static struct timespec moment_after(uint64_t us)
{
    struct timespec t;

    if (us > WAIT_US_MAX) us = WAIT_US_MAX;
    us += posix_now_us(NULL);
    t.tv_sec = (time_t)(us / 1000000);
    t.tv_nsec = (long)(us % 1000000) * 1000;
    return t;
}

void posix_sleep_us(fkv_env *env, uint64_t us)
{
    struct timespec until = moment_after(us);

    (void)env;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

/* -- chance and names ----------------------------------------------------------------------- */

fkv_status posix_random(fkv_env *env, void *out, size_t size)
{
    uint8_t *p = out;

    (void)env;
    memset(out, 0, size);
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return posix_fail(FKV_IOERR, "read", "getrandom", n < 0 ? errno : EIO);
        p += n;
        size -= (size_t)n;
    }
    return FKV_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* Read a UUID's 32 hexadecimal digits. Returns 1 if all were there. */
static int parse_uuid(const char *text, size_t size, uint8_t out[16])
{
    unsigned digits = 0;

    for (size_t i = 0; i < size && digits < 32; i++) {
        int v = hex_digit(text[i]);
        if (v < 0) continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | v);
        digits++;
    }
    return digits == 32;
}

static void read_boot_id(void)
{
    char text[64];
    ssize_t n = -1;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        do {
            n = read(fd, text, sizeof text);
        } while (n < 0 && errno == EINTR);
        (void)close(fd);
    }
    if (n > 0 && parse_uuid(text, (size_t)n, boot_bytes)) return;
    /* Without /proc (a chroot) every process counts as a new boot, which is the careful answer:
    ** what the last one did not sync may be lost. If even this fails the zeros stay. */
    fkv_ignore(posix_random(NULL, boot_bytes, sizeof boot_bytes));
}

void posix_boot_id(fkv_env *env, uint8_t out[16])
{
    (void)env;
    (void)pthread_once(&boot_once, read_boot_id);
    memcpy(out, boot_bytes, sizeof boot_bytes);
}

uint64_t posix_process_id(fkv_env *env)
{
    (void)env;
    return (uint64_t)getpid();
}

/* -- threads -------------------------------------------------------------------------------- */

static void *thread_main(void *arg)
{
    env_thread *thread = arg;

    (void)pthread_setname_np(pthread_self(), thread->name); /* for debuggers only */
    thread->run(thread->arg);
    return NULL;
}

/* pthread_create with our attributes; an errno value. */
static int create_thread(env_thread *thread)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int error = pthread_attr_init(&attr);

    if (error) return error;
    error = pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (!error) {
        /* A thread inherits the mask of its maker, so there is no moment at which it has signals
        ** open. */
        (void)sigfillset(&all);
        error = pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    if (!error) {
        error = pthread_create(&thread->id, &attr, thread_main, thread);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attr);
    return error;
}

fkv_status posix_thread_start(fkv_env *env, void (*run)(void *arg), void *arg, const char *name,
                              env_thread **out)
{
    env_thread *thread = alloc_zero(sizeof *thread);
    int error;

    (void)env;
    *out = NULL;
    if (!thread) return posix_fail(FKV_NOMEM, "start thread", name, ENOMEM);
    thread->born = posix_fork_count(env);
    thread->run = run;
    thread->arg = arg;
    memcpy(thread->name, name, strnlen(name, sizeof thread->name - 1));
    error = create_thread(thread);
    if (error) { /* EAGAIN, mostly: a limit on threads or memory */
        alloc_free(thread);
        return posix_fail(FKV_NOMEM, "start thread", name, error);
    }
    *out = thread;
    return FKV_OK;
}

void posix_thread_join(fkv_env *env, env_thread *thread)
{
    (void)env;
    if (!thread) return;
    if (thread->born == posix_fork_count(env)) (void)pthread_join(thread->id, NULL);
    alloc_free(thread);
}

fkv_status posix_mutex_new(fkv_env *env, env_mutex **out)
{
    env_mutex *m = alloc_bytes(sizeof *m);
    int error = m ? pthread_mutex_init(&m->mutex, NULL) : ENOMEM;

    (void)env;
    *out = NULL;
    if (error) {
        alloc_free(m);
        return posix_fail(FKV_NOMEM, "make", "mutex", error);
    }
    m->born = posix_fork_count(env);
    *out = m;
    return FKV_OK;
}

void posix_mutex_free(fkv_env *env, env_mutex *m)
{
    if (!m) return;
    if (m->born == posix_fork_count(env)) (void)pthread_mutex_destroy(&m->mutex);
    alloc_free(m);
}

void posix_mutex_lock(fkv_env *env, env_mutex *m)
{
    if (m->born == posix_fork_count(env)) (void)pthread_mutex_lock(&m->mutex);
}

void posix_mutex_unlock(fkv_env *env, env_mutex *m)
{
    if (m->born == posix_fork_count(env)) (void)pthread_mutex_unlock(&m->mutex);
}

void posix_global_lock(fkv_env *env)
{
    (void)env;
    (void)pthread_mutex_lock(&process_lock);
}

void posix_global_unlock(fkv_env *env)
{
    (void)env;
    (void)pthread_mutex_unlock(&process_lock);
}

fkv_status posix_cond_new(fkv_env *env, env_cond **out)
{
    env_cond *c = alloc_bytes(sizeof *c);
    pthread_condattr_t attr;
    int error = c ? pthread_condattr_init(&attr) : ENOMEM;

    *out = NULL;
    if (!error) { /* a wait must not stretch or shrink when somebody sets the clock */
        error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (!error) error = pthread_cond_init(&c->cond, &attr);
        (void)pthread_condattr_destroy(&attr);
    }
    if (error) {
        alloc_free(c);
        return posix_fail(FKV_NOMEM, "make", "condition", error);
    }
    c->born = posix_fork_count(env);
    *out = c;
    return FKV_OK;
}

/* After a fork both destroying and waking would wait for threads that only the parent has. */
void posix_cond_free(fkv_env *env, env_cond *c)
{
    if (!c) return;
    if (c->born == posix_fork_count(env)) (void)pthread_cond_destroy(&c->cond);
    alloc_free(c);
}

void posix_cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us)
{
    if (m->born != posix_fork_count(env)) return; /* nobody is left to wake us */
    if (timeout_us == 0) {
        (void)pthread_cond_wait(&c->cond, &m->mutex);
    } else {
        struct timespec until = moment_after(timeout_us);
        (void)pthread_cond_timedwait(&c->cond, &m->mutex, &until);
    }
}

void posix_cond_wake_all(fkv_env *env, env_cond *c)
{
    if (c->born == posix_fork_count(env)) (void)pthread_cond_broadcast(&c->cond);
}
