/*
** env_audit.c -- the rules by which things become durable, and the env that holds the engine to
** them.
**
** A crash test shows a wrong order if the power goes at the very moment, and if what is lost is
** what the coin says. The order itself can be seen in every run: "synced before named, named no
** more before removed". The rules, and how far the engine promises each:
**
**   A1  What a manifest names when it is renamed into place (also as manifest.next), or a PREPARE
**       of a spilled transaction when it is written, is durable: a table and a kept log segment
**       whole, with its name; a segment that replay needs with its name and its header. (Its
**       records are durable when a commit has asked for that: A5. With FKV_NONE they never are.)
**   A2  A table is removed only when no manifest names it that a power cut may leave, and no other
**       process has a pin on a manifest that does. A power cut may leave the last one that was
**       renamed into place before a successful sync of the directory, and each one since, also
**       one whose renaming has failed: nobody knows. (manifest.next is none of them: it means
**       nothing until the host database says so, and after that it is renamed before anything is
**       removed.)
**   A3  A log segment is removed only when each manifest that a power cut may leave says that it
**       is not needed; or when it lies behind the last one that they name, and has no record yet.
**       (What was there before the last power cut may have records behind a hole: it is cut off.)
**       And none is begun behind one without a header, nor before the removal of what lay behind
**       the last one is durable: both would stand in the chain before it. (What a life before
**       this one has removed, and could not sync, this one cannot know of.)
**   A4  The manifest's temporary is synced before it is renamed. That the directory is synced
**       before the old one's files go is A2 and A3. A manifest is never removed.
**   A5  A COMMIT mark whose PREPARE was to be durable is written, which is the acknowledgement,
**       only when the log is durable up to the end of that PREPARE; and no record says that more
**       of the log is durable than is, for then a power cut would be taken for damage. Segments
**       that no possible manifest needs do not count: tables have their rows.
**   A6  Nothing is written to a table or a manifest once A1 has been asked of it, nor to a log
**       segment once its successor has a header: that says where it ends. (No exception: a mark
**       that comes later goes to the successor.)
**   A7  A file is mapped no further than it reaches, and none becomes shorter: nothing in env.h
**       could do that, and no file that is opened is smaller than it was.
**   A8  A file whose sync has failed is not synced again while it is open anywhere; a directory
**       may be, in clean-up that nobody relies on, but nothing in it becomes durable by that. (What
**       has been opened anew is judged anew: the promise is "no write until it is reopened", and
**       who opens cannot know that another process was told of a failure.)
**   A9  One thread asks for the locks of a lock file in the order that store/share.h gives.
**   A10 Nothing is read, written, synced, opened, listed or renamed under a mutex that is held for
**       moments only: one that conditions are used with, which in a store is `mu`. (Locking a byte
**       and removing a file do not wait for a disk, and are done under it: superversion.c. Mutexes
**       without a condition are not known from each other: follow_mutex and table_home.mutex are
**       held across reads, as is the process-wide lock across all of an open.)
**
** What was there when a directory was first opened is taken to be durable, and so is all that a
** power cut has left: that there was one is seen from the boot id. A manifest from then is known
** when it is read, which the engine does before it removes anything.
*/
#include "audit/audit.h"

/* A10: short mutexes that this thread holds. */
static _Thread_local int short_held;

static audit *audit_of(fkv_env *env)
{
    return env->state;
}

static fkv_env *base_of(fkv_env *env)
{
    return audit_of(env)->base;
}

static audit *enter(fkv_env *env)
{
    audit *a = audit_of(env);

    a->base->mutex_lock(a->base, a->mutex);
    return a;
}

static void leave(audit *a)
{
    a->base->mutex_unlock(a->base, a->mutex);
}

/* Before an operation that may take long. */
static audit *enter_slow(fkv_env *env, const char *operation, const char *file)
{
    audit *a = enter(env);

    if (short_held) audit_violation(a, "A10", operation, file, "under a mutex held for moments");
    return a;
}

/* -- directories ---------------------------------------------------------------------------- */

/* After a power cut nothing is as it was. */
static void notice_power_cut(audit *a, const uint8_t boot_id[16])
{
    if (memcmp(a->boot_id, boot_id, sizeof a->boot_id) == 0) return;
    memcpy(a->boot_id, boot_id, sizeof a->boot_id);
    while (a->dirs) {
        audit_dir *d = a->dirs;
        if (d->handles) abort();
        a->dirs = d->next;
        forget_dir(d);
    }
}

static audit_dir *dir_at(audit *a, env_identity id, const char *path)
{
    audit_dir *d = a->dirs;

    while (d && (d->identity.device != id.device || d->identity.inode != id.inode)) d = d->next;
    if (d) return d;
    d = audit_resize(NULL, sizeof *d);
    *d = (audit_dir){.next = a->dirs, .identity = id};
    d->path = audit_resize(NULL, strlen(path) + 1);
    memcpy(d->path, path, strlen(path) + 1);
    a->dirs = d;
    return d;
}

typedef struct learning {
    audit *a;
    audit_dir *d;
} learning;

static fkv_status learn(void *arg, const char *name)
{
    learning *l = arg;

    (void)enter(&l->a->env);
    if (!find_entry(l->d, name)) (void)add_entry(l->d, name, new_node(1), 0);
    leave(l->a);
    return FKV_OK;
}

static fkv_status dir_open(fkv_env *env, const char *path, int flags, env_dir **out)
{
    audit *a = enter_slow(env, "opening", path);
    learning l = {.a = a};
    env_identity id = {0};
    env_dir *inner = NULL, *handle;
    uint8_t boot[16];
    int learned;
    fkv_status rc;

    leave(a);
    *out = NULL;
    rc = a->base->dir_open(a->base, path, flags, &inner);
    if (!rc) rc = a->base->dir_identity(a->base, inner, &id);
    if (rc) {
        a->base->dir_close(a->base, inner);
        return rc;
    }
    a->base->boot_id(a->base, boot);
    handle = audit_resize(NULL, sizeof *handle);
    (void)enter(env);
    notice_power_cut(a, boot);
    l.d = dir_at(a, id, path);
    l.d->handles++;
    learned = l.d->learned;
    leave(a);
    *handle = (env_dir){inner, l.d};
    if (!learned && !a->base->dir_list(a->base, inner, learn, &l)) {
        (void)enter(env);
        l.d->learned = 1;
        leave(a);
    }
    *out = handle;
    return FKV_OK;
}

static void dir_close(fkv_env *env, env_dir *dir)
{
    audit *a;

    if (!dir) return;
    a = enter(env);
    if (--dir->dir->handles == 0) {
        dir->dir->sync_failed = 0;
        dir->dir->end_removed_at = 0;
    }
    leave(a);
    a->base->dir_close(a->base, dir->inner);
    free(dir);
}

static fkv_status dir_sync(fkv_env *env, env_dir *dir)
{
    audit *a = enter_slow(env, "sync", dir->dir->path);
    uint64_t up_to = dir->dir->ops;
    fkv_status rc;

    leave(a);
    rc = a->base->dir_sync(a->base, dir->inner);
    (void)enter(env);
    if (rc == FKV_IOERR_SYNC) dir->dir->sync_failed = 1;
    if (!rc && !dir->dir->sync_failed) note_dir_sync(dir->dir, up_to);
    leave(a);
    return rc;
}

static fkv_status dir_list(fkv_env *env, env_dir *dir,
                           fkv_status (*each)(void *arg, const char *name), void *arg)
{
    leave(enter_slow(env, "listing", dir->dir->path));
    return base_of(env)->dir_list(base_of(env), dir->inner, each, arg);
}

static fkv_status dir_identity(fkv_env *env, env_dir *dir, env_identity *out)
{
    return base_of(env)->dir_identity(base_of(env), dir->inner, out);
}

static fkv_status dir_shares(fkv_env *env, env_dir *dir, int *out)
{
    return base_of(env)->dir_shares(base_of(env), dir->inner, out);
}

static fkv_status dir_remove(fkv_env *env, const char *path)
{
    fkv_status rc = base_of(env)->dir_remove(base_of(env), path);
    audit *a = enter(env);

    for (audit_dir **at = &a->dirs; !rc && *at; at = &(*at)->next) {
        audit_dir *d = *at;
        if (d->handles || strcmp(d->path, path) != 0) continue;
        *at = d->next;
        forget_dir(d);
        break;
    }
    leave(a);
    return rc;
}

/* -- files ---------------------------------------------------------------------------------- */

/* The node of a file just opened. */
static node *open_node(audit *a, const env_file *f, int flags, uint64_t size)
{
    entry *e = find_entry(f->dir, f->name);
    int is_new = flags & ENV_CREATE && (flags & ENV_EXCLUSIVE || size == 0);

    if (!e || (flags & ENV_CREATE && flags & ENV_EXCLUSIVE))
        e = add_entry(f->dir, f->name, new_node(!is_new), is_new ? ++f->dir->ops : 0);
    if (size < e->node->size) audit_violation(a, "A7", "opening", f->name, "it has become shorter");
    e->node->size = size;
    e->node->refs++;
    e->node->handles++;
    return e->node;
}

static fkv_status file_open(fkv_env *env, env_dir *dir, const char *name, int flags, env_file **out)
{
    audit *a = enter_slow(env, "opening", name);
    env_file *f;
    uint64_t size = 0;
    fkv_status rc;

    leave(a);
    *out = NULL;
    f = audit_resize(NULL, sizeof *f);
    *f = (env_file){.dir = dir->dir, .through = dir};
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->kind = filename_parse(name, &f->number);
    rc = a->base->file_open(a->base, dir->inner, name, flags, &f->inner);
    if (rc) {
        free(f);
        return rc;
    }
    if (a->base->file_size(a->base, f->inner, &size)) size = 0;
    (void)enter(env);
    f->node = open_node(a, f, flags, size);
    f->next = f->dir->files;
    f->dir->files = f;
    leave(a);
    *out = f;
    return FKV_OK;
}

static void file_close(fkv_env *env, env_file *file)
{
    audit *a;
    env_file **at;

    if (!file) return;
    a = enter(env);
    for (at = &file->dir->files; *at != file; at = &(*at)->next) {}
    *at = file->next;
    if (--file->node->handles == 0) file->node->sync_failed = 0;
    node_unref(file->node);
    leave(a);
    a->base->file_close(a->base, file->inner);
    free(file->held);
    free(file);
}

static fkv_status file_read(fkv_env *env, env_file *file, uint64_t offset, void *out, size_t size,
                            size_t *got)
{
    audit *a = enter_slow(env, "reading", file->name);
    fkv_status rc;

    leave(a);
    rc = a->base->file_read(a->base, file->inner, offset, out, size, got);
    if (rc) return rc;
    (void)enter(env);
    note_read(file, offset, out, *got);
    leave(a);
    return FKV_OK;
}

static fkv_status file_write(fkv_env *env, env_file *file, uint64_t offset, const void *data,
                             size_t size)
{
    audit *a = enter_slow(env, "writing", file->name);
    fkv_status rc;

    check_write(a, file, offset, data, size);
    leave(a);
    rc = a->base->file_write(a->base, file->inner, offset, data, size);
    (void)enter(env);
    note_write(file, offset, data, size, !rc);
    leave(a);
    return rc;
}

static fkv_status file_allocate(fkv_env *env, env_file *file, uint64_t offset, uint64_t size)
{
    audit *a = enter_slow(env, "allocating", file->name);

    check_write(a, file, offset, NULL, 0);
    leave(a);
    return a->base->file_allocate(a->base, file->inner, offset, size);
}

static fkv_status file_sync(fkv_env *env, env_file *file)
{
    audit *a = enter_slow(env, "sync", file->name);
    uint64_t id = begin_sync(file->node);
    fkv_status rc;

    if (file->node->sync_failed)
        audit_violation(a, "A8", "sync", file->name, "an earlier one has failed");
    leave(a);
    rc = a->base->file_sync(a->base, file->inner);
    (void)enter(env);
    end_sync(file->node, id, rc);
    leave(a);
    return rc;
}

static fkv_status file_size(fkv_env *env, env_file *file, uint64_t *out)
{
    return base_of(env)->file_size(base_of(env), file->inner, out);
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    audit *a = enter(env);
    fkv_status rc;

    check_lock(a, file, byte, mode);
    leave(a);
    rc = a->base->file_lock(a->base, file->inner, byte, mode);
    if (rc) return rc;
    (void)enter(env);
    note_lock(file, byte, mode);
    leave(a);
    return FKV_OK;
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    return base_of(env)->file_locked(base_of(env), file->inner, byte, count, out);
}

static fkv_status file_share(fkv_env *env, env_file *file, size_t size, void **out)
{
    audit *a = audit_of(env);
    uint64_t reaches = 0;

    if (!a->base->file_size(a->base, file->inner, &reaches) && reaches < size) {
        (void)enter(env);
        audit_violation(a, "A7", "mapping", file->name, "it reaches to %" PRIu64 " only", reaches);
        leave(a);
    }
    return a->base->file_share(a->base, file->inner, size, out);
}

static void file_unshare(fkv_env *env, void *base, size_t size)
{
    base_of(env)->file_unshare(base_of(env), base, size);
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    return base_of(env)->file_linked(base_of(env), file->inner, out);
}

static fkv_status file_rename(fkv_env *env, env_dir *dir, const char *from, const char *to)
{
    audit *a = enter_slow(env, "rename", from);
    fkv_status rc;

    check_rename(a, dir->dir, from, to);
    leave(a);
    rc = a->base->file_rename(a->base, dir->inner, from, to);
    (void)enter(env);
    note_rename(dir->dir, from, to, !rc);
    leave(a);
    return rc;
}

static fkv_status file_link(fkv_env *env, env_dir *dir, const char *name, env_dir *to_dir,
                            const char *to)
{
    audit *a = enter_slow(env, "link", to);
    fkv_status rc;

    leave(a);
    rc = a->base->file_link(a->base, dir->inner, name, to_dir->inner, to);
    if (rc) return rc;
    (void)enter(env);
    entry *e = find_entry(dir->dir, name);
    node *n = e ? e->node : new_node(1);
    if (e) n->refs++;
    (void)add_entry(to_dir->dir, to, n, ++to_dir->dir->ops);
    leave(a);
    return FKV_OK;
}

static fkv_status file_remove(fkv_env *env, env_dir *dir, const char *name)
{
    audit *a = enter(env);
    fkv_status rc;

    check_remove(a, dir, name);
    leave(a);
    rc = a->base->file_remove(a->base, dir->inner, name);
    if (rc) return rc;
    (void)enter(env);
    note_remove(dir->dir, name);
    leave(a);
    return FKV_OK;
}

/* -- memory, clocks, chance ----------------------------------------------------------------- */

static void *map(fkv_env *env, size_t size, int dense)
{
    return base_of(env)->map(base_of(env), size, dense);
}

static env_region *region_new(fkv_env *env, size_t size)
{
    return base_of(env)->region_new(base_of(env), size);
}

static env_region *region_open(fkv_env *env, uint64_t name, size_t writable)
{
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
    return base_of(env)->wall_ms(base_of(env));
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

static uint64_t process_id(fkv_env *env)
{
    return base_of(env)->process_id(base_of(env));
}

static uint32_t fork_count(fkv_env *env)
{
    return base_of(env)->fork_count(base_of(env));
}

/* -- threads -------------------------------------------------------------------------------- */

static fkv_status thread_start(fkv_env *env, void (*run)(void *arg), void *arg, const char *name,
                               env_thread **out)
{
    return base_of(env)->thread_start(base_of(env), run, arg, name, out);
}

static void thread_join(fkv_env *env, env_thread *thread)
{
    base_of(env)->thread_join(base_of(env), thread);
}

static fkv_status mutex_new(fkv_env *env, env_mutex **out)
{
    env_mutex *inner = NULL, *m;
    fkv_status rc = base_of(env)->mutex_new(base_of(env), &inner);

    *out = NULL;
    if (rc) return rc;
    m = audit_resize(NULL, sizeof *m);
    *m = (env_mutex){inner, 0};
    enter(env)->newest_mutex = m;
    leave(audit_of(env));
    *out = m;
    return FKV_OK;
}

static void mutex_free(fkv_env *env, env_mutex *m)
{
    audit *a;

    if (!m) return;
    a = enter(env);
    if (a->newest_mutex == m) a->newest_mutex = NULL;
    leave(a);
    a->base->mutex_free(a->base, m->inner);
    free(m);
}

static void mutex_lock(fkv_env *env, env_mutex *m)
{
    base_of(env)->mutex_lock(base_of(env), m->inner);
    short_held += m->is_short;
}

static void mutex_unlock(fkv_env *env, env_mutex *m)
{
    short_held -= m->is_short;
    base_of(env)->mutex_unlock(base_of(env), m->inner);
}

static void global_lock(fkv_env *env)
{
    base_of(env)->global_lock(base_of(env));
}

static void global_unlock(fkv_env *env)
{
    base_of(env)->global_unlock(base_of(env));
}

/* A condition belongs to the mutex that was made before it: nobody has locked that one yet. */
static fkv_status cond_new(fkv_env *env, env_cond **out)
{
    audit *a = enter(env);

    if (a->newest_mutex) a->newest_mutex->is_short = 1;
    leave(a);
    return a->base->cond_new(a->base, out);
}

static void cond_free(fkv_env *env, env_cond *c)
{
    base_of(env)->cond_free(base_of(env), c);
}

static void cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us)
{
    base_of(env)->cond_wait(base_of(env), c, m->inner, timeout_us);
}

static void cond_wake_all(fkv_env *env, env_cond *c)
{
    base_of(env)->cond_wake_all(base_of(env), c);
}

/* -- the object ----------------------------------------------------------------------------- */

static const fkv_env audit_functions = {
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

fkv_env *env_audit_new(fkv_env *base, void (*report)(void *arg, const char *text), void *arg)
{
    audit *a = audit_resize(NULL, sizeof *a);

    *a = (audit){.env = audit_functions, .base = base, .report = report, .arg = arg};
    a->env.state = a;
    base->boot_id(base, a->boot_id);
    if (base->mutex_new(base, &a->mutex)) abort();
    return &a->env;
}

void env_audit_free(fkv_env *env)
{
    audit *a;

    if (!env) return;
    a = audit_of(env);
    while (a->dirs) {
        audit_dir *d = a->dirs;
        a->dirs = d->next;
        forget_dir(d);
    }
    a->base->mutex_free(a->base, a->mutex);
    free(a);
}
