/*
** open.c -- opening, sharing and closing stores.
**
** A process has one store object per directory, found by device and inode in a list under the env's
** process-wide lock. Another process is kept out by an OFD lock on byte 0 of the file `lock`, whose
** text names the holder for the error message. (Locks of this kind conflict between two copies of
** this library in one process as well.)
*/
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

#define DEFAULT_MEMORY ((size_t)192 << 20)

static fkv_store *open_stores; /* guarded by env->global_lock */

/* Defaults, and everything that is derived from the one memory budget: a sixth for each of three
** memtables (active, waiting, being flushed), the rest for blocks, index and filters. */
static fkv_status settle_options(fkv_store *s)
{
    fkv_options *o = &s->options;

    if (!o->memory_bytes) o->memory_bytes = DEFAULT_MEMORY;
    if (o->memory_bytes < (1u << 20)) o->memory_bytes = 1u << 20;
    if (!o->memtable_bytes) o->memtable_bytes = o->memory_bytes / 6;
    if (o->memtable_bytes < 32768) o->memtable_bytes = 32768;
    if (o->memtable_bytes > ((size_t)1 << 30)) o->memtable_bytes = (size_t)1 << 30;
    if (!o->table_bytes)
        o->table_bytes = o->memtable_bytes > (16u << 20) ? 16u << 20 : o->memtable_bytes;
    table_options_default(&s->table);
    if (o->block_bytes) s->table.block_bytes = o->block_bytes;
    if (o->bloom_bits) s->table.bloom_bits = o->bloom_bits - 1;
    if (o->codec) s->table.codec = (codec_id)(o->codec - 1);
    if (s->table.block_bytes < 256 || s->table.block_bytes > (1u << 20))
        return FKV_RAISEF(FKV_INVALID, "block_bytes must be between 256 and 1048576");
    if (!codec_available(s->table.codec))
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build has no %s codec",
                          codec_name(s->table.codec));
    s->pick = (pick_options){
        .level0_trigger = 4, .base_bytes = (uint64_t)o->memtable_bytes * 4, .multiplier = 10};
    return FKV_OK;
}

/* Unlocked by name: a child just forked may not yet have closed its descriptor of the file. */
static void give_up_lock(fkv_store *s)
{
    if (s->lock) fkv_ignore(s->env->file_lock(s->env, s->lock, 0, ENV_UNLOCK));
    s->env->file_close(s->env, s->lock);
    s->lock = NULL;
}

static void free_store(fkv_store *s)
{
    fkv_env *env = s->env, *own_env = s->own_env;

    superversion_unref(s->current);
    for (size_t i = 0; i < s->log_count; i++) wal_segment_free(s->logs[i].segment);
    alloc_free(s->logs);
    block_cache_free(s->home.cache);
    env->mutex_free(env, s->home.mutex);
    env->mutex_free(env, s->mu);
    env->cond_free(env, s->changed);
    give_up_lock(s);
    env->dir_close(env, s->dir);
    alloc_free(s->path);
    alloc_free(s);
    if (own_env) env_mem_free(own_env);
}

static fkv_status busy_error(fkv_store *s)
{
    char text[64] = {0};
    size_t got = 0;

    if (s->env->file_read(s->env, s->lock, 0, text, sizeof text - 1, &got)) got = 0;
    text[got] = 0;
    for (size_t i = 0; i < got; i++)
        if (text[i] < ' ' || text[i] > '~') text[i] = 0;
    for (size_t i = strlen(text); i > 0 && text[i - 1] == ' '; i--) text[i - 1] = 0; /* padding */
    return FKV_RAISEF(FKV_BUSY, "the store \"%s\" is open in another process (%s)", s->path,
                      text[0] ? text : "unknown");
}

static fkv_status lock_store(fkv_store *s)
{
    fkv_env *env = s->env;
    char text[64];
    int n;
    fkv_status rc = FKV_READONLY;

    if (!atomic_load(&s->read_only)) {
        rc = env->file_open(env, s->dir, FILENAME_LOCK, ENV_WRITE | ENV_CREATE, &s->lock);
        if (rc == FKV_READONLY) atomic_store(&s->read_only, 1); /* we may look, then */
    }
    if (atomic_load(&s->read_only)) {
        rc = env->file_open(env, s->dir, FILENAME_LOCK, ENV_READ, &s->lock);
        if (rc == FKV_NOTFOUND) return FKV_OK; /* a copy on read-only media */
    }
    if (rc) return rc;
    rc = env->file_lock(env, s->lock, 0,
                        atomic_load(&s->read_only) ? ENV_LOCK_SHARED : ENV_LOCK_EXCLUSIVE);
    if (rc == FKV_BUSY) return busy_error(s);
    if (rc || atomic_load(&s->read_only)) return rc;
    n = snprintf(text, sizeof text, "process %-20llu\n", (unsigned long long)env->process_id(env));
    return env->file_write(env, s->lock, 0, text, (size_t)n);
}

/* The store is open for reading, and somebody wants to write. If that is not possible they read
** as well, and their writes are refused. */
static fkv_status make_writable(fkv_store *s)
{
    fkv_status rc;

    give_up_lock(s);
    atomic_store(&s->read_only, 0);
    rc = lock_store(s);
    if (!rc && !atomic_load(&s->read_only)) rc = store_write_decisions(s);
    if (!rc) return FKV_OK;
    give_up_lock(s);
    atomic_store(&s->read_only, 1);
    fkv_ignore(lock_store(s)); /* the first error is the one to tell */
    return rc;
}

static fkv_status init_fresh(fkv_store *s)
{
    version *tables = NULL;
    fkv_status rc = s->env->random(s->env, s->man.uuid, sizeof s->man.uuid);

    s->man.next_number = 1;
    s->man.next_space = 1;
    s->man.clean_lsn = 0;
    s->fresh = 1;
    if (!rc) rc = memtable_new(s->env, s->options.memtable_bytes, 0, &s->active);
    if (!rc) rc = version_new_empty(&tables);
    if (!rc) rc = superversion_new(s->active, NULL, 0, NULL, tables, &s->current);
    version_unref(tables);
    memtable_unref(s->active);
    return rc;
}

static fkv_status init_shared_parts(fkv_store *s)
{
    fkv_env *env = s->env;
    fkv_status rc = env->mutex_new(env, &s->mu);

    if (!rc) rc = env->cond_new(env, &s->changed);
    if (!rc) rc = env->mutex_new(env, &s->home.mutex);
    /* Until the first write there are no memtables to speak of. */
    if (!rc) rc = block_cache_new(env, s->options.memory_bytes / 8 * 7, &s->home.cache);
    s->home.env = env;
    s->home.dir = s->dir;
    atomic_init(&s->pending_lsn, UINT64_MAX);
    atomic_init(&s->unsettled_lsn, UINT64_MAX);
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
    if (rc) goto done;
    memcpy(s->path, path, n);
    rc = env->dir_identity(env, dir, &s->identity);
    if (!rc) rc = init_shared_parts(s);
    if (!rc) rc = lock_store(s);
    if (!rc) rc = store_recover(s);
    if (!rc && s->unwritten.flush && !atomic_load(&s->read_only)) rc = fkv_flush(s);
    if (rc == FKV_NOTFOUND && options->create && !options->read_only) {
        rc = init_fresh(s);
    } else if (rc == FKV_NOTFOUND) {
        rc = FKV_RAISEF(FKV_NOTFOUND, "there is no store in \"%s\"", path);
    }
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
    fkv_status rc;

    *out = NULL;
    if (!options) options = &defaults;
    env = options->env ? options->env : env_posix();
    env->global_lock(env);
    rc = env->dir_open(env, path, options->create && !options->read_only ? ENV_CREATE : 0, &dir);
    if (!rc) rc = env->dir_identity(env, dir, &id);
    if (rc) {
        env->dir_close(env, dir);
        goto done;
    }
    for (s = open_stores; s; s = s->next_open) {
        if (s->env == env && !store_forked(s) && s->identity.device == id.device &&
            s->identity.inode == id.inode) {
            env->dir_close(env, dir);
            if (!options->read_only && atomic_load(&s->read_only)) rc = make_writable(s);
            if (rc) goto done;
            s->opens++;
            *out = s;
            goto done;
        }
    }
    rc = load_store(path, options, env, dir, out);
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

/* Leave the log short: flush what is large, sync the rest, and note in the manifest where the log
** ends, so that the next open can tell that nothing is missing. */
static fkv_status close_in_order(fkv_store *s)
{
    int did = 1, maybe_new;
    fkv_status rc = store_check_writable(s);

    while (!rc && did) rc = store_flush_one(s, &did);
    /* (Many short lives must not leave many segments.) */
    if (!rc && s->active->record_bytes &&
        (s->active->record_bytes > CLOSE_FLUSH_BYTES || s->log_count > CLOSE_LOGS_MAX)) {
        rc = store_rotate(s);
        if (!rc) rc = store_flush_one(s, &did);
    }
    if (!rc) rc = store_sync_log(s);
    if (rc) return rc;
    s->env->mutex_lock(s->env, s->mu);
    store_begin_install(s);
    s->env->mutex_unlock(s->env, s->mu);
    rc = store_save_manifest(s, s->current->tables, NULL, store_log_end(s), &maybe_new);
    s->env->mutex_lock(s->env, s->mu);
    store_end_install(s);
    s->env->mutex_unlock(s->env, s->mu);
    if (!rc) store_retire_logs(s, s->man.log_lsn);
    return rc;
}

void fkv_close(fkv_store *s)
{
    fkv_env *env;
    fkv_store **link;
    char *trace = NULL;

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
    /* A failure loses nothing: the next open replays the log. */
    if (s->log && !s->own_env) fkv_ignore(close_in_order(s));
    if (s->fresh && !s->own_env) { /* nothing was ever prepared in it */
        trace = s->path;
        s->path = NULL;
        fkv_ignore(env->file_remove(env, s->dir, FILENAME_LOCK)); /* not empty: then it stays */
    }
    if (s->own_env) env = env_posix(); /* its env goes with it; the lock is the process's */
    free_store(s);
    if (trace) fkv_ignore(env->dir_remove(env, trace)); /* somebody put a file there: it stays */
    alloc_free(trace);
    env->global_unlock(env);
}

void fkv_uuid(const fkv_store *s, uint8_t out[16])
{
    memcpy(out, s->man.uuid, sizeof s->man.uuid);
}
