/*
** backup.c -- a copy of the store in another directory, while others write.
**
** What is copied. Under the writer lock and the install right nothing moves: the tables of this
** moment are pinned, with the memtables above them, and the sequence noted. Both locks are then
** given back, for tables do not change, and of the memtables only what was there is read. Tables
** are hard-linked if the two directories can share a file, else copied; memtables are written
** there as tables. So the copy needs no log, and has none. (Copied segments would be taken, after
** a crash, for the continuation of the older backup's.) Its manifest says "closed in order".
**
** Into a directory that has a backup. Nothing that is there is touched before the end. A table
** that the older one has (same unique id) is kept, and a name that is taken by another file is not
** used again: the table gets another number. Files that the new one does not need go when it
** counts, among them what an earlier backup left behind when it was cut short.
**
** Which one counts. The store may have to change together with its host database, and two renames
** are not one. So the new manifest is written as `manifest.next`, and its edit number, the stamp,
** is in the new database, too. The rename of the database decides; manifest.next is renamed after
** it. Whoever opens a store with a manifest.next in it asks the database for the stamp (it is the
** first to have it open: nobody else can be in the middle of this) and takes it, or goes by the
** old manifest. So a crash leaves
**
**     before the database is renamed   the older backup, or none, and files that the next one
**                                      removes
**     after it                         the new one, and files of the older that the next one
**                                      removes
**
** Where there was no store before, an empty manifest.next is put there first: tables without a
** manifest would be taken for a store that has lost it (recover.c).
**
** Without a host the rename of the manifest decides alone. Whoever has the store there open keeps
** us out by LOCK_LIVE, and we keep out those who come meanwhile.
**
** A restore is the same in the other direction: the backup is the store, the application's folder
** the directory that has an older one (ext/backup.c).
*/
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/store.h"

typedef struct there { /* a file in the directory */
    file_kind kind;
    uint64_t number;
} there;

struct fkv_backup {
    fkv_store *s;
    fkv_env *env;
    superversion *view; /* pins the tables */
    uint64_t seq;       /* to be seen of it */
    uint64_t covered;   /* up to this LSN its tables have what the memtables hold */
    manifest man;

    env_dir *parent, *dir; /* NULL: not written yet */
    env_file *lock;
    table_home home;
    version *older_tables; /* of the backup that is there; NULL = none */
    there *files;          /* in the directory, when we came */
    size_t file_count, file_capacity;
    int listed;        /* and known */
    version_edit edit; /* the copy's tables */
    version *tables;
    uint64_t next_number;
    int announced; /* manifest.next is there, and empty */
    int ready;     /* it is what it will be */
    int done;
    fkv_backup_result result;
};

/* -- the moment ----------------------------------------------------------------------------- */

/* Nobody commits, and nothing is installed. */
static fkv_status take_state(fkv_backup *b)
{
    fkv_store *s = b->s;
    int64_t now = fkv_clock_ms(s);
    int known;

    s->env->mutex_lock(s->env, s->mu);
    known = store_describe(s, NULL, now, &b->man);
    b->view = s->current;
    superversion_ref(b->view);
    b->seq = atomic_load(&s->visible_seq);
    b->covered = s->man.tables_lsn;
    b->man.last_seq = b->seq;
    b->man.host_id = s->host_id;
    b->man.tables_lsn = b->man.log_lsn = b->man.clean_lsn = atomic_load(&s->followed);
    b->man.log_tail = 0;
    b->man.keep.count = 0; /* there is no log to keep */
    b->man.keep.after = b->seq;
    if (log_keeping_on(&b->man.keep)) b->man.keep.generation = store_new_generation(s);
    s->env->mutex_unlock(s->env, s->mu);
    return known ? FKV_OK : FKV_RAISEF(FKV_BUSY, "the log could not be read just now");
}

fkv_status fkv_backup_new(fkv_store *s, fkv_txn *t, fkv_backup **out)
{
    fkv_backup *b;
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (store_forked(s)) return store_fork_error(s);
    if (t && (!t->active || fkv_txn_writes(t)))
        return FKV_RAISEF(FKV_MISUSE, "a backup needs a transaction that has written nothing");
    if (!t && (!atomic_load(&s->read_only) || s->sharing == SHARING_READS))
        return FKV_RAISEF(FKV_BUSY, "somebody may write to the store \"%s\": close it first",
                          s->path);
    b = alloc_zero(sizeof *b);
    if (!b) return FKV_RAISE(FKV_NOMEM);
    b->s = s;
    b->env = s->env;
    if (t) rc = store_begin_install(s);
    if (!rc) {
        rc = take_state(b);
        if (t) store_end_install(s);
    }
    if (rc) {
        fkv_backup_free(b);
        return rc;
    }
    *out = b;
    return FKV_OK;
}

/* -- the directory -------------------------------------------------------------------------- */

static fkv_status note_there(void *arg, const char *name)
{
    fkv_backup *b = arg;
    there f = {0};

    f.kind = filename_parse(name, &f.number);
    if (f.kind != FILE_TABLE && f.kind != FILE_WAL) return FKV_OK;
    if (f.number >= b->next_number && f.number <= FILENAME_NUMBER_FOUND)
        b->next_number = f.number + 1;
    if (b->file_count == b->file_capacity) {
        size_t capacity = b->file_capacity ? b->file_capacity * 2 : 32;
        there *files = alloc_resize(b->files, capacity * sizeof *files);
        if (!files) return FKV_RAISE(FKV_NOMEM);
        b->files = files;
        b->file_capacity = capacity;
    }
    b->files[b->file_count++] = f;
    return FKV_OK;
}

/* The table of this number, or (number 0) this unique id, of a version. */
static const file_meta *find_table(const version *v, uint64_t number, uint64_t unique_id)
{
    for (int i = 0; v && i < FKV_LEVELS; i++) {
        for (size_t j = 0; j < v->levels[i].count; j++) {
            const file_meta *f = v->levels[i].files[j];
            if (number ? f->number == number : f->summary.unique_id == unique_id) return f;
        }
    }
    return NULL;
}

static int is_there(const fkv_backup *b, file_kind kind, uint64_t number)
{
    for (size_t i = 0; i < b->file_count; i++)
        if (b->files[i].kind == kind && b->files[i].number == number) return 1;
    return 0;
}

static fkv_status remove_there(fkv_backup *b, const there *f)
{
    char name[FILENAME_BYTES_MAX];
    fkv_status rc;

    if (f->kind == FILE_TABLE) {
        filename_table(f->number, name);
    } else {
        filename_wal(f->number, name);
    }
    rc = b->env->file_remove(b->env, b->dir, name);
    return rc == FKV_NOTFOUND ? FKV_OK : rc;
}

/* An empty one is as good as none. */
static fkv_status load_next(fkv_env *env, env_dir *dir, table_home *home, manifest *m,
                            version **tables)
{
    env_file *file = NULL;
    uint64_t size = 0;
    fkv_status rc = env->file_open(env, dir, FILENAME_MANIFEST_NEXT, ENV_READ, &file);

    *tables = NULL;
    if (rc) return rc;
    rc = env->file_size(env, file, &size);
    env->file_close(env, file);
    if (!rc && size == 0) rc = FKV_NOTFOUND;
    return rc ? rc : manifest_load_from(env, dir, FILENAME_MANIFEST_NEXT, home, m, tables);
}

/* Another backup was cut short: finish it if its database is in place, else forget it. */
static fkv_status settle_next(fkv_backup *b, uint64_t older_stamp)
{
    version *tables = NULL;
    manifest m;
    fkv_status rc = load_next(b->env, b->dir, &b->home, &m, &tables);

    version_unref(tables);
    if (rc == FKV_NOTFOUND) return FKV_OK;
    if (rc && rc != FKV_CORRUPT) return rc;
    if (!rc && m.edit == older_stamp) {
        rc = b->env->file_rename(b->env, b->dir, FILENAME_MANIFEST_NEXT, FILENAME_MANIFEST);
    } else {
        rc = b->env->file_remove(b->env, b->dir, FILENAME_MANIFEST_NEXT);
    }
    return rc ? rc : b->env->dir_sync(b->env, b->dir);
}

static fkv_status open_directory(fkv_backup *b, const char *parent, const char *name)
{
    fkv_env *env = b->env;
    size_t size = strlen(parent) + strlen(name) + 2;
    char *path = alloc_bytes(size);
    env_identity id;
    fkv_status rc;

    if (!path) return FKV_RAISE(FKV_NOMEM);
    (void)snprintf(path, size, "%s/%s", parent, name);
    rc = env->dir_open(env, parent, ENV_CREATE, &b->parent);
    if (!rc) rc = env->dir_open(env, path, ENV_CREATE, &b->dir);
    if (!rc) rc = env->dir_identity(env, b->dir, &id);
    if (!rc && id.device == b->s->identity.device && id.inode == b->s->identity.inode)
        rc = FKV_RAISEF(FKV_INVALID, "\"%s\" is the store itself", path);
    if (!rc) rc = env->file_open(env, b->dir, FILENAME_LOCK, ENV_WRITE | ENV_CREATE, &b->lock);
    if (!rc) {
        rc = env->file_lock(env, b->lock, LOCK_LIVE, ENV_LOCK_EXCLUSIVE);
        if (rc == FKV_BUSY)
            rc = FKV_RAISEF(FKV_BUSY, "the store \"%s\" is open somewhere else; it must be closed",
                            path);
        if (rc) {
            env->file_close(env, b->lock);
            b->lock = NULL;
        }
    }
    alloc_free(path);
    return rc;
}

/* There is no store yet. */
static fkv_status announce(fkv_backup *b)
{
    env_file *file = NULL;
    fkv_status rc =
        b->env->file_open(b->env, b->dir, FILENAME_MANIFEST_NEXT, ENV_WRITE | ENV_CREATE, &file);

    b->env->file_close(b->env, file);
    return rc ? rc : b->env->dir_sync(b->env, b->dir);
}

/* What is there? A manifest that is damaged is as good as none. */
static fkv_status read_directory(fkv_backup *b, uint64_t older_stamp)
{
    fkv_env *env = b->env;
    manifest older;
    fkv_status rc;

    b->home = (table_home){.env = env, .dir = b->dir};
    b->next_number = b->man.next_number;
    /* Also where the older one's manifest is gone: a stamp is never used again. */
    if (b->next_number <= older_stamp && older_stamp <= FILENAME_NUMBER_FOUND) /* (a forger's) */
        b->next_number = older_stamp + 1;
    rc = settle_next(b, older_stamp);
    if (!rc) rc = manifest_load(env, b->dir, &b->home, &older, &b->older_tables);
    if (!rc && older.next_number > b->next_number) b->next_number = older.next_number;
    b->announced = rc == FKV_NOTFOUND;
    if (rc == FKV_NOTFOUND || rc == FKV_CORRUPT) rc = FKV_OK;
    if (!rc) rc = env->dir_list(env, b->dir, note_there, b);
    b->listed = !rc;
    return !rc && b->announced ? announce(b) : rc;
}

/* -- the files ------------------------------------------------------------------------------ */

/* Bytes of a file into a new one, synced. */
static fkv_status copy_file(fkv_backup *b, const char *from, const char *to)
{
    enum { CHUNK = 1 << 20 };
    fkv_env *env = b->env;
    uint8_t *bytes = alloc_bytes(CHUNK);
    env_file *in = NULL, *out = NULL;
    uint64_t at = 0;
    size_t got = 1;
    fkv_status rc = bytes ? FKV_OK : FKV_RAISE(FKV_NOMEM);

    if (!rc) rc = env->file_open(env, b->s->dir, from, ENV_READ | ENV_UNCACHED, &in);
    if (!rc) rc = env->file_open(env, b->dir, to, ENV_WRITE | ENV_CREATE | ENV_EXCLUSIVE, &out);
    while (!rc && got) {
        rc = env->file_read(env, in, at, bytes, CHUNK, &got);
        if (!rc && got) rc = env->file_write(env, out, at, bytes, got);
        at += got;
        count_add(&b->s->backup_done, got);
    }
    if (!rc) rc = env->file_sync(env, out);
    env->file_close(env, in);
    env->file_close(env, out);
    alloc_free(bytes);
    b->result.copied++;
    b->result.bytes_copied += at;
    return rc;
}

/* Is the older backup's table still there, as long as it should be? */
static int is_whole(fkv_backup *b, const file_meta *f)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    uint64_t size = 0;
    int whole;

    filename_table(f->number, name);
    whole = !b->env->file_open(b->env, b->dir, name, ENV_READ, &file) &&
            !b->env->file_size(b->env, file, &size) && size == f->summary.file_bytes;
    b->env->file_close(b->env, file);
    return whole;
}

/* The copy's line for a table, under another number. */
static fkv_status add_line(fkv_backup *b, int level, const file_meta *f, uint64_t number)
{
    table_summary summary = f->summary;
    file_meta *line = NULL;
    fkv_status rc;

    summary.smallest = summary.largest = (buf){0};
    buf_set(&summary.smallest, file_smallest(f));
    buf_set(&summary.largest, file_largest(f));
    rc = buf_status(&summary.smallest);
    if (!rc) rc = buf_status(&summary.largest);
    if (!rc) rc = file_meta_new(&b->home, number, f->max_seq, &summary, &line);
    if (!rc) rc = version_edit_add(&b->edit, level, line);
    file_meta_unref(line);
    table_summary_release(&summary);
    return rc;
}

static fkv_status take_table(fkv_backup *b, int level, const file_meta *f)
{
    const file_meta *known = find_table(b->older_tables, 0, f->summary.unique_id);
    char from[FILENAME_BYTES_MAX], to[FILENAME_BYTES_MAX];
    uint64_t number = f->number;
    fkv_status rc;

    b->result.files++;
    if (known && known->summary.file_bytes == f->summary.file_bytes && is_whole(b, known)) {
        b->result.kept++;
        count_add(&b->s->backup_done, f->summary.file_bytes);
        return add_line(b, level, f, known->number);
    }
    if (is_there(b, FILE_TABLE, number)) number = b->next_number++;
    filename_table(f->number, from);
    filename_table(number, to);
    rc = b->env->file_link(b->env, b->s->dir, from, b->dir, to);
    if (rc == FKV_UNSUPPORTED) {
        rc = copy_file(b, from, to);
    } else if (!rc) {
        b->result.linked++;
        count_add(&b->s->backup_done, f->summary.file_bytes);
    }
    return rc ? rc : add_line(b, level, f, number);
}

/* -- memtables ------------------------------------------------------------------------------ */

static fkv_status next_number(void *arg, uint64_t *out)
{
    fkv_backup *b = arg;

    *out = b->next_number++;
    return FKV_OK;
}

/* Write a memtable, as of seq, as a table there. *below: all that is older; with it, afterwards. */
static fkv_status write_memtable(fkv_backup *b, const memtable *m, uint64_t seq, version **below)
{
    compact_context c;
    version_edit edit = {0};
    version *with = NULL;
    fkv_status rc;

    if (atomic_load(&m->records) == 0 || atomic_load(&m->last_log) < b->covered) return FKV_OK;
    store_compact_context(b->s, &c);
    if (c.codecs.count) c.table.rules = &c.codecs;
    c.dir = b->dir;
    c.home = &b->home;
    c.arg = b;
    c.new_number = next_number;
    rc = flush_memtable(&c, m, seq, *below, &edit);
    for (size_t i = 0; !rc && i < edit.added_count; i++) {
        rc = version_edit_add(&b->edit, 0, edit.added[i].file);
        b->result.files++;
        b->result.copied++;
        b->result.bytes_copied += edit.added[i].file->summary.file_bytes;
    }
    if (!rc) rc = version_apply(*below, &edit, &with);
    version_edit_release(&edit);
    if (rc) return rc;
    version_unref(*below);
    *below = with;
    return FKV_OK;
}

static fkv_status write_memtables(fkv_backup *b)
{
    const superversion *v = b->view;
    version *below = v->tables;
    fkv_status rc = FKV_OK;

    version_ref(below);
    for (size_t i = v->sealed_count; !rc && i-- > 0;)
        rc = write_memtable(b, v->sealed[i], v->sealed[i]->last_seq, &below);
    if (!rc) rc = write_memtable(b, v->active, b->seq, &below);
    version_unref(below);
    return rc;
}

static fkv_status take_tables(fkv_backup *b)
{
    const version *v = b->view->tables;
    version *empty = NULL;
    uint64_t bytes = 0;
    fkv_status rc = FKV_OK;

    for (int i = 0; i < FKV_LEVELS; i++) bytes += v->levels[i].bytes;
    atomic_store(&b->s->backup_done, 0);
    atomic_store(&b->s->backup_total, bytes);
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; !rc && j < v->levels[i].count; j++)
            rc = take_table(b, i, v->levels[i].files[j]);
    if (!rc) rc = write_memtables(b);
    if (!rc) rc = version_new_empty(&empty);
    if (!rc) rc = version_apply(empty, &b->edit, &b->tables);
    version_unref(empty);
    return rc;
}

fkv_status fkv_backup_write(fkv_backup *b, const char *parent, const char *name,
                            uint64_t older_stamp, uint64_t *stamp, fkv_backup_result *result)
{
    int maybe_new = 0;
    fkv_status rc;

    *stamp = 0;
    if (b->dir) return FKV_RAISEF(FKV_MISUSE, "this backup has been written");
    rc = open_directory(b, parent, name);
    if (!rc) rc = read_directory(b, older_stamp);
    if (!rc) rc = take_tables(b);
    if (!rc) rc = b->env->dir_sync(b->env, b->dir);
    if (!rc) {
        b->man.edit = b->next_number++;
        b->man.next_number = b->man.log_number = b->next_number;
        rc = manifest_save_as(b->env, b->dir, FILENAME_MANIFEST_NEXT, &b->man, b->tables,
                              &maybe_new);
        b->ready = maybe_new;
    }
    atomic_store(&b->s->backup_total, 0);
    if (rc) return rc;
    *stamp = b->man.edit;
    if (result) *result = b->result;
    return FKV_OK;
}

/* -- the end -------------------------------------------------------------------------------- */

static int is_ours(const fkv_backup *b, const there *f)
{
    return f->kind == FILE_TABLE && find_table(b->tables, f->number, 0) != NULL;
}

/* What only the older one needed goes. (What will not go now, goes the next time.) */
static void remove_older(fkv_backup *b)
{
    for (size_t i = 0; i < b->file_count; i++)
        if (!is_ours(b, &b->files[i])) fkv_ignore(remove_there(b, &b->files[i]));
    fkv_ignore(b->env->dir_sync(b->env, b->dir));
}

fkv_status fkv_backup_commit(fkv_backup *b, const char *from, const char *to)
{
    fkv_status rc = FKV_OK;

    if (!b->ready || b->done) return FKV_RAISEF(FKV_MISUSE, "there is no backup to commit");
    if (from) {
        rc = b->env->file_rename(b->env, b->parent, from, to);
        if (rc) return rc;
    }
    b->done = 1; /* the database has decided, or may have */
    if (from) rc = b->env->dir_sync(b->env, b->parent);
    if (!rc) rc = b->env->file_rename(b->env, b->dir, FILENAME_MANIFEST_NEXT, FILENAME_MANIFEST);
    if (!rc) rc = b->env->dir_sync(b->env, b->dir);
    if (!rc) remove_older(b);
    return rc;
}

static fkv_status remove_new(void *arg, const char *name)
{
    fkv_backup *b = arg;
    there f = {0};

    f.kind = filename_parse(name, &f.number);
    if (f.kind == FILE_TABLE && !is_there(b, FILE_TABLE, f.number)) fkv_ignore(remove_there(b, &f));
    return FKV_OK;
}

/* As if it had not been begun. */
static void undo(fkv_backup *b)
{
    fkv_env *env = b->env;

    if (b->ready && !b->announced && env->file_remove(env, b->dir, FILENAME_MANIFEST_NEXT)) return;
    fkv_ignore(env->dir_list(env, b->dir, remove_new, b));
    if (env->dir_sync(env, b->dir) || !b->announced) return;
    fkv_ignore(env->file_remove(env, b->dir, FILENAME_MANIFEST_NEXT));
    fkv_ignore(env->dir_sync(env, b->dir));
}

void fkv_backup_free(fkv_backup *b)
{
    if (!b) return;
    if (b->listed && !b->done) undo(b);
    version_unref(b->tables);
    version_edit_release(&b->edit);
    version_unref(b->older_tables);
    alloc_free(b->files);
    b->env->file_close(b->env, b->lock);
    b->env->dir_close(b->env, b->dir);
    b->env->dir_close(b->env, b->parent);
    superversion_unref(b->view);
    alloc_free(b);
}

/* -- opening what was cut short ------------------------------------------------------------- */

fkv_status store_first_manifest(fkv_store *s, manifest *m, version **tables)
{
    int stamped = 0;
    fkv_status rc = load_next(s->env, s->dir, &s->home, m, tables);

    if (rc && rc != FKV_NOTFOUND) return rc;
    if (!rc && s->options.host_stamped)
        stamped = s->options.host_stamped(s->options.host_arg, m->edit);
    if (stamped < 0) {
        version_unref(*tables);
        *tables = NULL;
        return FKV_RAISEF(FKV_BUSY,
                          "a backup or restore of \"%s\" was cut short, and its database cannot "
                          "be read now",
                          s->path);
    }
    if (!stamped) {
        version_unref(*tables);
        return manifest_load(s->env, s->dir, &s->home, m, tables);
    }
    if (atomic_load(&s->read_only)) return FKV_OK;
    rc = s->env->file_rename(s->env, s->dir, FILENAME_MANIFEST_NEXT, FILENAME_MANIFEST);
    return rc ? rc : s->env->dir_sync(s->env, s->dir);
}
