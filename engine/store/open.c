/*
** open.c -- opening, sharing and closing stores.
**
** A process has one store object per directory, found by device and inode in a list under the env's
** process-wide lock. How processes share a store: share.c, follow.c. (Two copies of this library in
** one process are two processes to each other.)
*/
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

#define DEFAULT_MEMORY ((size_t)192 << 20)

static fkv_store *open_stores; /* guarded by env->global_lock */

/* Defaults, and everything that is derived from the one memory budget: a sixth for each of up
** to four memtables (install.c), the rest for blocks, index and filters. */
static fkv_status settle_options(fkv_store *s)
{
    fkv_options *o = &s->options;

    if (!o->memory_bytes) o->memory_bytes = DEFAULT_MEMORY;
    if (o->memory_bytes < MEMORY_MIN) o->memory_bytes = MEMORY_MIN;
    if (!o->memtable_bytes) o->memtable_bytes = o->memory_bytes / 6;
    if (o->memtable_bytes < 32768) o->memtable_bytes = 32768;
    if (o->memtable_bytes > ((size_t)1 << 30)) o->memtable_bytes = (size_t)1 << 30;
    if (!o->table_bytes)
        o->table_bytes = o->memtable_bytes > (16u << 20) ? 16u << 20 : o->memtable_bytes;
    s->pick = (pick_options){
        .level0_trigger = 4, .base_bytes = (uint64_t)o->memtable_bytes * 4, .multiplier = 10};
    table_options_default(&s->table);
    return store_table_options(o, &s->table);
}

static void free_store(fkv_store *s)
{
    fkv_env *env = s->env, *own_env = s->own_env;

    superversion_unref(s->previous);
    superversion_unref(s->current);
    for (size_t i = 0; i < s->log_count; i++) wal_segment_free(s->logs[i].segment);
    alloc_free(s->logs);
    wal_tail_close(s->tail);
    store_forget_loose(s, UINT64_MAX);
    alloc_free(s->loose);
    alloc_free(s->unwritten.runs);
    block_cache_free(s->home.cache);
    memtable_spare_release(&s->spare, env, s->options.memtable_bytes);
    store_leave(s);
    env->file_close(env, s->old_lock);
    env->file_unshare(env, atomic_load(&s->mapped), SHARED_BYTES);
    env->file_unshare(env, s->old_mapped, SHARED_BYTES);
    alloc_free(s->own_page);
    alloc_free(s->pins);
    alloc_free(s->doomed);
    env->mutex_free(env, s->home.mutex);
    env->mutex_free(env, s->pin_mutex);
    env->mutex_free(env, s->follow_mutex);
    if (s->dead_mutex) store_forget_dead(s);
    env->mutex_free(env, s->dead_mutex);
    env->mutex_free(env, s->mu);
    env->cond_free(env, s->changed);
    env->cond_free(env, s->committed);
    env->dir_close(env, s->dir);
    alloc_free(s->path);
    alloc_free(s);
    if (own_env) env_mem_free(own_env);
}

/* Whom to ask about a transaction in doubt: only while the one who opens it is here to answer. */
static void ask_host(fkv_store *s, const fkv_options *options)
{
    s->options.host_committed = options ? options->host_committed : NULL;
    s->options.host_arg = options ? options->host_arg : NULL;
    s->options.host_stamped = options ? options->host_stamped : NULL;
}

/* The store is open for reading, and somebody wants to write. If that is not possible they read
** as well, and their writes are refused. The old lock file keeps the pins of snapshots. */
static fkv_status make_writable(fkv_store *s, const fkv_options *options)
{
    fkv_env *env = s->env;
    env_file *old = s->lock;
    sharing before = s->sharing;
    shared_page *mapped = atomic_load(&s->mapped), *page = store_page(s);
    fkv_status rc;

    env->mutex_lock(env, s->follow_mutex);
    store_begin_rebuilding(s);
    store_change_lock(s, NULL);
    atomic_store(&s->mapped, NULL);
    atomic_store(&s->read_only, 0);
    atomic_store(&s->half_read, 0);
    if (before == SHARING_NOT && old) fkv_ignore(env->file_lock(env, old, LOCK_LIVE, ENV_UNLOCK));
    ask_host(s, options);
    rc = store_join(s);
    if (!rc && atomic_load(&s->read_only)) rc = FKV_READONLY; /* not even now: go on as it was */
    if (!rc) rc = store_load(s);
    if (!rc && s->first) rc = store_open_page(s);
    ask_host(s, NULL);
    if (!rc) {
        s->old_lock = old;
        s->old_mapped = mapped;
    } else {
        store_leave(s);
        env->file_unshare(env, atomic_load(&s->mapped), SHARED_BYTES);
        atomic_store(&s->mapped, mapped);
        s->sharing = before;
        atomic_store(&s->page, page);
        atomic_store(&s->read_only, 1);
        if (before == SHARING_NOT && old)
            fkv_ignore(env->file_lock(env, old, LOCK_LIVE, ENV_LOCK_SHARED));
        store_change_lock(s, old);
        s->first = before == SHARING_NOT;
        atomic_store(&s->half_read, 1); /* read it all again */
    }
    store_end_rebuilding(s);
    env->mutex_unlock(env, s->follow_mutex);
    return rc == FKV_READONLY ? FKV_OK : rc;
}

static fkv_status init_fresh(fkv_store *s)
{
    shared_page *page = store_page(s);
    manifest m = {.next_number = 1, .next_space = 1};
    version *tables = NULL;
    fkv_status rc = version_new_empty(&tables);

    s->fresh = 1;
    if (!rc && s->first) {
        rc = s->env->random(s->env, m.uuid, sizeof m.uuid);
        atomic_store(&page->next_space, 1);
    } else {
        memcpy(m.uuid, page->uuid, sizeof m.uuid);
    }
    if (!rc) rc = store_start_at(s, &m, tables);
    version_unref(tables);
    return rc;
}

static fkv_status init_shared_parts(fkv_store *s)
{
    fkv_env *env = s->env;
    fkv_status rc = env->mutex_new(env, &s->mu);

    if (!rc) rc = env->cond_new(env, &s->changed);
    if (!rc) rc = env->cond_new(env, &s->committed);
    if (!rc) rc = env->mutex_new(env, &s->home.mutex);
    if (!rc) rc = env->mutex_new(env, &s->pin_mutex);
    if (!rc) rc = env->mutex_new(env, &s->follow_mutex);
    if (!rc) rc = env->mutex_new(env, &s->dead_mutex);
    if (!rc) rc = block_cache_new(env, 0, 0, &s->home.cache);
    if (!rc) store_fit_cache(s);
    s->home.env = env;
    s->home.dir = s->dir;
    s->home.remove = store_remove_table;
    s->home.arg = s;
    return rc;
}

/* Make the store object for an open directory, which it takes over, also on failure. */
static fkv_status load_store(const char *path, const fkv_options *options, fkv_env *env,
                             env_dir *dir, fkv_store **out)
{
    fkv_store *s = alloc_zero(sizeof *s);
    size_t n = strlen(path) + 1;
    fkv_status rc;

    if (!s) {
        env->dir_close(env, dir);
        return FKV_RAISE(FKV_NOMEM);
    }
    s->env = env;
    s->dir = dir;
    s->options = *options;
    s->born = env->fork_count(env);
    atomic_init(&s->read_only, options->read_only != 0);
    s->path = alloc_bytes(n);
    rc = s->path ? settle_options(s) : FKV_RAISE(FKV_NOMEM);
    if (!rc) rc = env->random(env, (uint8_t *)&s->next_generation, sizeof s->next_generation);
    if (rc) goto done;
    memcpy(s->path, path, n);
    rc = env->dir_identity(env, dir, &s->identity);
    if (!rc) rc = init_shared_parts(s);
    if (!rc) rc = store_join(s);
    if (rc) goto done;
    store_begin_loading(s);
    rc = store_load(s);
    store_end_loading(s);
    if (rc == FKV_NOTFOUND && options->create && !options->read_only) {
        rc = init_fresh(s);
    } else if (rc == FKV_NOTFOUND) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "there is no store in \"%s\"", path);
    }
    if (!rc && s->first) rc = store_open_page(s);
    ask_host(s, NULL);
    if (!rc) store_fit_memtables(s);
done:
    if (rc) {
        if (s->flusher) store_stop_threads(s);
        free_store(s);
        return rc;
    }
    *out = s;
    return FKV_OK;
}

fkv_status fkv_open(const char *path, const fkv_options *options, fkv_store **out)
{
    static const fkv_options defaults;
    fkv_env *env;
    env_dir *dir = NULL;
    env_identity id;
    fkv_store *s;
    int may_create, tries = 10;
    fkv_status rc;

    *out = NULL;
    if (!options) options = &defaults;
    may_create = options->create && !options->read_only;
    env = options->env ? options->env : env_posix();
    env->global_lock(env);
again:
    rc = env->dir_open(env, path, may_create ? ENV_CREATE : 0, &dir);
    if (!rc) rc = env->dir_identity(env, dir, &id);
    if (rc) {
        env->dir_close(env, dir);
        goto done;
    }
    for (s = open_stores; s; s = s->next_open) {
        if (s->env == env && !store_forked(s) && s->identity.device == id.device &&
            s->identity.inode == id.inode) {
            env->dir_close(env, dir);
            if (!options->read_only && atomic_load(&s->read_only)) rc = make_writable(s, options);
            if (rc) goto done;
            s->opens++;
            *out = s;
            goto done;
        }
    }
    rc = load_store(path, options, env, dir, out);
    /* Whoever made the directory a moment ago has removed it again, with nothing in it. */
    if (rc == FKV_NOTFOUND && may_create && tries-- > 0) goto again;
    if (!rc) {
        (*out)->opens = 1;
        (*out)->next_open = open_stores;
        open_stores = *out;
    }
done:
    env->global_unlock(env);
    return rc;
}

fkv_status fkv_open_memory(const fkv_options *options, fkv_store **out)
{
    fkv_options o = {0};
    fkv_env *env = NULL;
    fkv_status rc = env_mem_new(&env);

    *out = NULL;
    if (rc) return rc;
    if (options) o = *options;
    o.create = 1;
    o.env = env;
    rc = fkv_open("memory", &o, out);
    if (rc) {
        env_mem_free(env);
        return rc;
    }
    (*out)->own_env = env;
    return FKV_OK;
}

/* What is in memory and in no table. */
static uint64_t unflushed_bytes(const fkv_store *s)
{
    uint64_t n = s->active->record_bytes;

    for (size_t i = 0; i < s->current->sealed_count; i++) n += s->current->sealed[i]->record_bytes;
    return n;
}

/* Leave the log short: flush what is large, sync the rest, and note in the manifest where the log
** ends, so that the next open can tell that nothing is missing. Nobody else has the store open. */
static fkv_status close_in_order(fkv_store *s)
{
    int did = 1, maybe_new;
    uint64_t left;
    fkv_status rc = store_check_writable(s);

    if (!rc) rc = store_follow(s);
    /* (What somebody has left in doubt the next open decides.) */
    if (!rc && atomic_load(&store_page(s)->writing))
        rc = FKV_RAISEF(FKV_BUSY, "a transaction is in doubt");
    if (!rc) rc = store_ensure_log(s);
    while (!rc && did) rc = store_flush_one(s, 0, &did);
    left = unflushed_bytes(s);
    /* (Many short lives must not leave many segments.) */
    if (!rc && left && (left > CLOSE_FLUSH_BYTES || s->log_count > CLOSE_LOGS_MAX)) {
        if (s->active->record_bytes) rc = store_rotate(s);
        for (did = 1; !rc && did;) rc = store_flush_one(s, 1, &did);
    }
    if (!rc) rc = store_sync_log(s);
    if (!rc) rc = store_begin_install(s);
    if (rc) return rc;
    rc = store_save_manifest(s, s->current->tables, NULL, store_log_end(s), &maybe_new);
    store_end_install(s);
    if (!rc) store_retire_logs(s, s->man.log_number);
    return rc;
}

/* The process's part in the store ends. A failure loses nothing: the next open replays the log, or
** those that still have it open know it. *trace: nothing was ever prepared in it, and nobody else
** has it: the directory may go. */
static void close_part(fkv_store *s, int *trace)
{
    enum { CLOSE_MS = 5000 };
    int wrote = s->log != NULL || s->writing, alone = 0;

    *trace = 0;
    if (s->own_env || (atomic_load(&s->read_only) && s->sharing != SHARING_NOT)) return;
    if (!wrote && !s->fresh && !s->doomed_count) return;
    if (!store_lock(s, LOCK_CLOSE, CLOSE_MS)) alone = store_alone(s);
    if (alone && wrote) {
        fkv_ignore(close_in_order(s));
    } else if (wrote && !store_check_writable(s)) {
        fkv_ignore(store_sync_log(s));
    }
    store_remove_doomed(s);
    if (alone) {
        /* What another process has made of it is on the page. */
        *trace = s->fresh && atomic_load(&store_page(s)->edit) == 0 &&
                 atomic_load(&store_page(s)->log_tail) == 0;
        if (*trace) fkv_ignore(s->env->file_remove(s->env, s->dir, FILENAME_LOCK));
        atomic_store(&store_page(s)->ready, 0);
    }
}

void fkv_close(fkv_store *s)
{
    fkv_env *env;
    fkv_store **link;
    char *path = NULL;
    int trace = 0;

    if (!s) return;
    env = s->env;
    if (store_forked(s)) return; /* all of it is the parent's */
    env->global_lock(env);
    if (--s->opens > 0) {
        env->global_unlock(env);
        return;
    }
    for (link = &open_stores; *link != s; link = &(*link)->next_open) {}
    *link = s->next_open;
    store_stop_threads(s);
    s->closing = 1;
    close_part(s, &trace);
    if (trace) {
        path = s->path;
        s->path = NULL;
    }
    if (s->own_env) env = env_posix(); /* its env goes with it; the lock is the process's */
    free_store(s);
    if (path) fkv_ignore(env->dir_remove(env, path)); /* somebody put a file there: it stays */
    alloc_free(path);
    env->global_unlock(env);
}

void fkv_uuid(const fkv_store *s, uint8_t out[16])
{
    memcpy(out, s->uuid, sizeof s->uuid);
}
