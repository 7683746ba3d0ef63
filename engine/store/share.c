/*
** share.c -- coming to a store that others may have open, and leaving it.
**
** LOCK_LIVE says who is there. The first to come gets it exclusively, recovers, fills the page and
** goes on with a shared lock; everybody after that gets it shared, finds the page ready and follows
** the log from the manifest on. The last to leave gets it exclusively again, brings the log in
** order and marks the page as not ready. A process that dies leaves the page as it is: true, if
** another one lives, and started anew by the next to come if not.
**
** A reader without write access takes no part in that: it looks whether LOCK_LIVE is held, and then
** follows; or else reads what there is, until the page tells of a new session.
*/
#include "store/share.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/sabotage.h"
#include "io/filename.h"
#include "store/store.h"

enum { JOIN_MS = 10 * 1000, POLL_US_MAX = 1000, NUMBER_TRIES = 1000 };
#define PROCESSES_MAX ((uint64_t)1 << 40)

fkv_status store_lock(fkv_store *s, uint64_t byte, uint32_t timeout_ms)
{
    fkv_env *env = s->env;
    uint64_t until = env->now_us(env) + (uint64_t)timeout_ms * 1000, pause = 20;

    if (s->sharing != SHARING_FULLY) return FKV_OK;
    for (;;) {
        fkv_status rc = env->file_lock(env, s->lock, byte, ENV_LOCK_EXCLUSIVE);
        if (rc != FKV_BUSY || env->now_us(env) >= until) return rc;
        env->sleep_us(env, pause);
        if (pause < POLL_US_MAX) pause *= 2;
    }
}

void store_unlock(fkv_store *s, uint64_t byte)
{
    if (s->sharing == SHARING_FULLY)
        fkv_ignore(s->env->file_lock(s->env, s->lock, byte, ENV_UNLOCK));
}

/* One try for the word. A holder who lives has the lock of their number. */
static fkv_status try_to_write(fkv_store *s)
{
    _Atomic uint64_t *word = &store_page(s)->writer;
    uint64_t holder = 0;
    int lives = 0;
    fkv_status rc;

    if (atomic_compare_exchange_strong(word, &holder, s->process)) return FKV_OK;
    rc = s->env->file_locked(s->env, s->lock, LOCK_PROCESS + holder % PROCESSES_MAX, 1, &lives);
    if (rc) return rc;
    if (lives && !SABOTAGE(27)) return FKV_BUSY;
    return atomic_compare_exchange_strong(word, &holder, s->process) ? FKV_OK : FKV_BUSY;
}

fkv_status store_lock_writer(fkv_store *s, uint32_t timeout_ms)
{
    fkv_env *env = s->env;
    uint64_t until, pause = 20;
    fkv_status rc;

    if (s->sharing != SHARING_FULLY) return FKV_OK;
    rc = try_to_write(s);
    if (rc != FKV_BUSY || timeout_ms == 0) return rc;
    until = env->now_us(env) + (uint64_t)timeout_ms * 1000;
    while (rc == FKV_BUSY && env->now_us(env) < until) {
        env->sleep_us(env, pause);
        if (pause < POLL_US_MAX) pause *= 2;
        rc = try_to_write(s);
    }
    return rc;
}

void store_unlock_writer(fkv_store *s)
{
    uint64_t us = s->process;

    if (s->sharing == SHARING_FULLY)
        (void)atomic_compare_exchange_strong(&store_page(s)->writer, &us, 0);
}

/* A number for this process: the page is mapped. Whoever spoilt the count of them gave out some
** that others live under. */
static fkv_status take_number(fkv_store *s)
{
    fkv_status rc = FKV_BUSY;

    for (int i = 0; i < NUMBER_TRIES && rc == FKV_BUSY; i++) {
        s->process = (atomic_fetch_add(&s->mapped->processes, 1) + 1) % PROCESSES_MAX;
        if (s->process == 0) continue;
        rc = s->env->file_lock(s->env, s->lock, LOCK_PROCESS + s->process, ENV_LOCK_EXCLUSIVE);
    }
    return rc;
}

static fkv_status busy_error(const fkv_store *s, const shared_page *page)
{
    char text[sizeof page->holder + 1] = {0};

    if (page) memcpy(text, page->holder, sizeof page->holder);
    for (size_t i = 0; text[i]; i++)
        if (text[i] < ' ' || text[i] > '~') text[i] = 0;
    return FKV_RAISEF(FKV_BUSY, "the store \"%s\" is open in another process (%s)", s->path,
                      text[0] ? text : "unknown");
}

/* Is the page what somebody who lives has filled in? */
static int is_ready(const fkv_store *s, const shared_page *page)
{
    uint8_t boot[16];

    s->env->boot_id(s->env, boot);
    return page && atomic_load_explicit(&page->ready, memory_order_acquire) &&
           atomic_load(&page->magic) == SHARED_MAGIC &&
           memcmp(boot, page->boot_id, sizeof boot) == 0;
}

int store_page_is_ready(fkv_store *s)
{
    return is_ready(s, store_page(s));
}

static int is_foreign(const fkv_store *s, const shared_page *page)
{
    uint8_t boot[16];

    s->env->boot_id(s->env, boot);
    return page && atomic_load(&page->ready) && atomic_load(&page->magic) != SHARED_MAGIC &&
           memcmp(boot, page->boot_id, sizeof boot) == 0;
}

static fkv_status foreign_error(const fkv_store *s)
{
    return FKV_RAISEF(FKV_UNSUPPORTED,
                      "the store \"%s\" is open in a process with another version of fastkv",
                      s->path);
}

/* Map the page if the file has one. */
static fkv_status map_page(fkv_store *s)
{
    uint64_t size = 0;
    void *base = NULL;
    fkv_status rc;

    if (s->mapped) return FKV_OK;
    rc = s->env->file_size(s->env, s->lock, &size);
    if (rc || size < SHARED_BYTES) return rc;
    rc = s->env->file_share(s->env, s->lock, SHARED_BYTES, &base);
    if (!rc) s->mapped = base;
    return rc;
}

/* A page for nobody but us. */
static fkv_status own_page(fkv_store *s)
{
    if (!s->own_page) s->own_page = alloc_zero(sizeof *s->own_page);
    if (!s->own_page) return FKV_RAISE(FKV_NOMEM);
    atomic_store(&s->own_page->unsettled_lsn, UINT64_MAX);
    atomic_store(&s->page, s->own_page);
    return FKV_OK;
}

/* LOCK_LIVE is ours alone. */
static fkv_status begin_session(fkv_store *s)
{
    shared_page *page;
    fkv_status rc = s->env->file_allocate(s->env, s->lock, 0, SHARED_BYTES);

    if (!rc) rc = map_page(s);
    if (!rc) rc = take_number(s);
    if (rc) return rc;
    page = s->mapped;
    atomic_store(&page->ready, 0);
    atomic_store(&page->magic, SHARED_MAGIC);
    (void)snprintf(page->holder, sizeof page->holder, "process %llu",
                   (unsigned long long)s->env->process_id(s->env));
    s->env->boot_id(s->env, page->boot_id);
    atomic_store(&page->edit, 0);
    atomic_store(&page->committed_lsn, 0);
    atomic_store(&page->log_tail, 0);
    atomic_store(&page->unsettled_lsn, UINT64_MAX);
    atomic_store(&page->writing, 0);
    atomic_store(&page->replacing, 0);
    atomic_store(&page->poisoned, 0);
    atomic_store(&page->durable_lsn, 0);
    atomic_store(&page->writer, 0);
    atomic_store(&page->offered, 0);
    s->first = 1;
    atomic_store(&s->page, page);
    return FKV_OK;
}

static fkv_status join_fully(fkv_store *s)
{
    fkv_env *env = s->env;
    uint64_t until = env->now_us(env) + (uint64_t)JOIN_MS * 1000;

    s->first = 0;
    for (;;) {
        fkv_status rc = env->file_lock(env, s->lock, LOCK_LIVE, ENV_LOCK_EXCLUSIVE);
        if (!rc) return begin_session(s);
        if (rc == FKV_BUSY) rc = env->file_lock(env, s->lock, LOCK_LIVE, ENV_LOCK_SHARED);
        if (!rc) {
            rc = map_page(s);
            if (rc) return rc;
            if (is_ready(s, s->mapped)) {
                atomic_store(&s->page, s->mapped);
                return take_number(s);
            }
            fkv_ignore(env->file_lock(env, s->lock, LOCK_LIVE, ENV_UNLOCK));
            if (is_foreign(s, s->mapped)) return foreign_error(s);
        } else if (rc != FKV_BUSY) {
            return rc;
        }
        if (env->now_us(env) >= until) {
            fkv_ignore(map_page(s)); /* for the name of who is there */
            return busy_error(s, s->mapped);
        }
        env->sleep_us(env, 500);
    }
}

fkv_status store_join_reading(fkv_store *s)
{
    fkv_env *env = s->env;
    uint64_t until = env->now_us(env) + (uint64_t)JOIN_MS * 1000;

    for (;;) {
        int held = 0;
        fkv_status rc = map_page(s);
        if (!rc) rc = env->file_locked(env, s->lock, LOCK_LIVE, 1, &held);
        if (rc) return rc;
        if (!held) break;
        if (is_ready(s, s->mapped)) {
            s->sharing = SHARING_READS;
            atomic_store(&s->page, s->mapped);
            return FKV_OK;
        }
        if (is_foreign(s, s->mapped)) return foreign_error(s);
        if (env->now_us(env) >= until) return busy_error(s, s->mapped);
        env->sleep_us(env, 500);
    }
    s->sharing = SHARING_ALONE;
    s->session = s->mapped ? atomic_load(&s->mapped->session) : 0;
    atomic_store(&s->quiet_lsn, s->mapped ? atomic_load(&s->mapped->committed_lsn) : 0);
    atomic_store(&s->quiet_edit, s->mapped ? atomic_load(&s->mapped->edit) : 0);
    return own_page(s);
}

/* Where nothing can be shared: one process that writes, or any number that read. */
static fkv_status join_alone(fkv_store *s)
{
    char text[sizeof s->page->holder] = {0};
    fkv_status rc = own_page(s);

    s->sharing = SHARING_NOT;
    s->first = 1;
    if (!rc)
        rc = s->env->file_lock(s->env, s->lock, LOCK_LIVE,
                               atomic_load(&s->read_only) ? ENV_LOCK_SHARED : ENV_LOCK_EXCLUSIVE);
    if (rc == FKV_BUSY) {
        shared_page page = {0};
        size_t got = 0;
        if (s->env->file_read(s->env, s->lock, 0, page.holder, sizeof page.holder, &got)) got = 0;
        return busy_error(s, &page);
    }
    if (rc || atomic_load(&s->read_only)) return rc;
    (void)snprintf(text, sizeof text, "process %llu",
                   (unsigned long long)s->env->process_id(s->env));
    return s->env->file_write(s->env, s->lock, 0, text, sizeof text);
}

/* Open the file, and see that it is still the directory's: a store that never came to life is
** removed with its lock file by whoever made it. */
static fkv_status open_lock_file(fkv_store *s)
{
    fkv_env *env = s->env;
    env_file *lock = NULL;
    fkv_status rc = FKV_READONLY;

    if (!atomic_load(&s->read_only)) {
        rc = env->file_open(env, s->dir, FILENAME_LOCK, ENV_WRITE | ENV_CREATE, &lock);
        if (rc == FKV_READONLY) atomic_store(&s->read_only, 1); /* we may look, then */
    }
    if (atomic_load(&s->read_only))
        rc = env->file_open(env, s->dir, FILENAME_LOCK, ENV_READ, &lock);
    if (!rc) store_change_lock(s, lock);
    return rc;
}

fkv_status store_join(fkv_store *s)
{
    fkv_env *env = s->env;
    int shares = 0, linked = 1;
    fkv_status rc = env->dir_shares(env, s->dir, &shares);

    do {
        if (!linked) {
            store_leave(s);
            env->file_unshare(env, s->mapped, SHARED_BYTES);
            s->mapped = NULL;
        }
        if (!rc) rc = open_lock_file(s);
        if (rc == FKV_NOTFOUND && atomic_load(&s->read_only)) { /* a copy on read-only media */
            s->sharing = SHARING_ALONE;
            return own_page(s);
        }
        if (rc) return rc;
        if (!shares) return join_alone(s);
        s->sharing = SHARING_FULLY;
        rc = atomic_load(&s->read_only) ? store_join_reading(s) : join_fully(s);
        if (!rc) rc = env->file_linked(env, s->lock, &linked);
    } while (!rc && !linked);
    return rc;
}

fkv_status store_open_page(fkv_store *s)
{
    shared_page *page = atomic_load(&s->page);

    atomic_store(&page->committed_lsn, atomic_load(&s->followed));
    atomic_store(&page->writing, 0);
    if (s->sharing != SHARING_FULLY) return FKV_OK;
    memcpy(page->uuid, s->uuid, sizeof page->uuid);
    fkv_status rc = s->env->random(s->env, &s->session, sizeof s->session);
    if (rc) return rc;
    atomic_store(&page->session, s->session);
    s->env->mutex_lock(s->env, s->mu);
    store_offer(s);
    s->env->mutex_unlock(s->env, s->mu);
    atomic_store_explicit(&page->ready, 1, memory_order_release);
    return s->env->file_lock(s->env, s->lock, LOCK_LIVE, ENV_LOCK_SHARED);
}

int store_alone(fkv_store *s)
{
    if (s->sharing == SHARING_NOT) return 1;
    return s->sharing == SHARING_FULLY &&
           !s->env->file_lock(s->env, s->lock, LOCK_LIVE, ENV_LOCK_EXCLUSIVE);
}

void store_not_alone(fkv_store *s)
{
    /* From exclusive to shared nobody can be in the way. */
    if (s->sharing == SHARING_FULLY)
        fkv_ignore(s->env->file_lock(s->env, s->lock, LOCK_LIVE, ENV_LOCK_SHARED));
}

/* Unlocked by name: a child just forked may not yet have closed its descriptor of the file. */
void store_leave(fkv_store *s)
{
    env_file *lock = s->lock;
    const uint64_t bytes[] = {LOCK_FLUSH, LOCK_COMPACT, LOCK_INSTALL, LOCK_PROCESS + s->process,
                              LOCK_LIVE,  LOCK_CLOSE};

    if (lock) {
        store_change_lock(s, NULL);
        for (size_t i = 0; i < s->pin_count; i++)
            fkv_ignore(s->env->file_lock(s->env, lock, LOCK_PIN + s->pins[i].edit, ENV_UNLOCK));
        for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++)
            fkv_ignore(s->env->file_lock(s->env, lock, bytes[i], ENV_UNLOCK));
        s->env->file_close(s->env, lock);
    }
    s->first = 0;
}
