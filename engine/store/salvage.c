/*
** salvage.c -- fkv_recover: every row that can still be read, in a new store.
**
** The new store is written as any other, by transactions: the old one's tables from the oldest to
** the newest, then its log, each entry as the put, deletion or range deletion it is. So what is
** newer wins, and what was deleted stays so, as far as it is known which is newer:
**
**   manifest good      it says so. Tables that it does not name are what a compaction has left
**   manifest damaged   a line that its table agrees with (id, size, counts) is believed. All other
**   or missing         tables are taken for older than those, and among each other the one with the
**                      higher number for the newer; the whole log is newer than every table
**
** Neither is sure, and a lost block may have held the newer version or the deletion of rows that
** are found in older tables. Both are said in a warning.
**
** The log: salvage_log.c.
**
** The new store has the old one's id, keyspaces and position in the log: it takes the old one's
** place beside its database.
*/
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "io/filename.h"
#include "store/salvage.h"

enum { BATCH_BYTES = 1 << 20 };

/* -- writing -------------------------------------------------------------------------------- */

static fkv_status commit(salvage *v)
{
    fkv_status rc = FKV_OK;

    if (!fkv_txn_active(v->txn)) return FKV_OK;
    rc = fkv_txn_prepare(v->txn, FKV_NONE);
    if (!rc) fkv_txn_commit(v->txn);
    v->pending_bytes = 0;
    if (!rc && v->how->proceed) rc = v->how->proceed(v->how->arg);
    return rc;
}

/* This number has been used. (Not by anybody who gives them out in order, if it is that large.) */
void salvage_note_space(salvage *v, uint64_t space)
{
    if (space >= v->spaces && space < INT32_MAX) v->spaces = (uint32_t)space + 1;
}

static fkv_status begin_write(salvage *v, fkv_slice key, size_t value_size)
{
    fkv_status rc = FKV_OK;

    v->pending_bytes += key.size + value_size + 32;
    if (v->pending_bytes > BATCH_BYTES) rc = commit(v);
    if (key.size >= 4) salvage_note_space(v, get_be32(key.data));
    return rc ? rc : fkv_txn_begin(v->txn, 0);
}

fkv_status salvage_entry(void *arg, const iter_entry *e)
{
    salvage *v = arg;
    fkv_status rc;

    if (e->key.size > FKV_KEY_MAX || e->value.size > FKV_VALUE_MAX) return FKV_OK; /* a forger's */
    rc = begin_write(v, e->key, e->value.size);
    if (rc) return rc;
    if (e->kind == ENTRY_DELETE) return fkv_txn_delete(v->txn, e->key);
    v->rows++;
    return e->kind == ENTRY_PUT ? fkv_txn_put(v->txn, e->key, e->value)
                                : fkv_txn_put_expires(v->txn, e->key, e->value, e->expires_ms);
}

fkv_status salvage_range(void *arg, fkv_slice from, fkv_slice to)
{
    salvage *v = arg;
    fkv_status rc;

    if (to.size > FKV_KEY_MAX || from.size > FKV_KEY_MAX || slice_compare(from, to) >= 0)
        return FKV_OK;
    rc = begin_write(v, from, to.size);
    return rc ? rc : fkv_txn_delete_range(v->txn, from, to);
}

/* -- what is told --------------------------------------------------------------------------- */

fkv_status salvage_lose(void *arg, uint64_t offset, uint64_t bytes)
{
    salvage *v = arg;

    (void)offset; /* it is in the error's text */
    v->lost += bytes;
    v->all_lost += bytes;
    v->holes += bytes > 0;
    return finding_error(&v->sink, bytes ? FKV_FOUND_ERROR : FKV_FOUND_WARNING, v->file, bytes);
}

const char *salvage_saved(const salvage *v)
{
    return v->lost ? "what could be read of it is saved" : "all of it is saved";
}

fkv_status salvage_end_file(salvage *v, const char *what)
{
    fkv_finding f = {.severity = v->lost ? FKV_FOUND_WARNING : FKV_FOUND_OK,
                     .file = v->file,
                     .offset = FKV_NO_OFFSET,
                     .rows = v->rows,
                     .bytes = v->lost,
                     .text = what};
    fkv_status rc = finding_tell(&v->sink, &f);

    v->rows = v->lost = 0;
    return rc;
}

/* -- tables --------------------------------------------------------------------------------- */

/* The one that v->file names. `expected`: what is known of it, or NULL. */
fkv_status salvage_table(salvage *v, const table_summary *expected)
{
    const table_salvager how = {salvage_range, salvage_entry, salvage_lose, v};
    env_file *file = NULL;
    fkv_status rc;

    rc = v->env->file_open(v->env, v->dir, v->file, ENV_READ | ENV_UNCACHED, &file);
    if (rc == FKV_NOTFOUND)
        (void)FKV_RAISEF(FKV_CORRUPT, "%s: this table of the store is missing", v->file);
    if (rc && finding_is_damage(rc)) {
        rc = salvage_lose(v, 0, expected && expected->file_bytes ? expected->file_bytes : 1);
    } else if (!rc) {
        rc = table_salvage(v->env, file, v->file, expected, &how);
    }
    v->env->file_close(v->env, file);
    return rc ? rc : salvage_end_file(v, salvage_saved(v));
}

static fkv_status read_tables(salvage *v)
{
    fkv_status rc = FKV_OK;

    for (size_t i = 0; !rc && i < v->table_count; i++) {
        const source *s = &v->tables[i];
        filename_table(s->number, v->file);
        rc = salvage_table(v, s->known ? &s->known->summary : NULL);
    }
    return rc;
}

/* -- what there is -------------------------------------------------------------------------- */

static fkv_status add_table(salvage *v, uint64_t number, int level, file_meta *known)
{
    if (v->table_count == v->table_capacity) {
        size_t capacity = v->table_capacity ? v->table_capacity * 2 : 16;
        source *tables = alloc_resize(v->tables, capacity * sizeof *tables);
        if (!tables) return FKV_RAISE(FKV_NOMEM);
        v->tables = tables;
        v->table_capacity = capacity;
    }
    if (known) file_meta_ref(known);
    v->tables[v->table_count++] = (source){number, known ? known->max_seq : 0, level, known};
    return FKV_OK;
}

static fkv_status note_file(void *arg, const char *name)
{
    salvage *v = arg;
    uint64_t number = 0;
    file_kind kind = filename_parse(name, &number);

    if (kind == FILE_TABLE) {
        for (size_t i = 0; i < v->table_count; i++)
            if (v->tables[i].number == number && v->tables[i].known) return FKV_OK;
        if (v->has_manifest) return FKV_OK; /* what a compaction has left, or a crash */
        return add_table(v, number, FKV_LEVELS, NULL);
    }
    if (kind != FILE_WAL || (v->has_manifest && number < v->man.log_number)) return FKV_OK;
    if (v->log_count == v->log_capacity) {
        size_t capacity = v->log_capacity ? v->log_capacity * 2 : 8;
        uint64_t *logs = alloc_resize(v->logs, capacity * sizeof *logs);
        if (!logs) return FKV_RAISE(FKV_NOMEM);
        v->logs = logs;
        v->log_capacity = capacity;
    }
    v->logs[v->log_count++] = number;
    return FKV_OK;
}

static int oldest_first(const void *a, const void *b)
{
    const source *x = a, *y = b;

    if (x->level != y->level) return x->level > y->level ? -1 : 1;
    if (x->level == 0 && x->max_seq != y->max_seq) return x->max_seq < y->max_seq ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Does the table say of itself what this line of a damaged manifest says? */
static int line_is_true(salvage *v, const file_meta *f)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    table *t = NULL;
    fkv_status rc;

    filename_table(f->number, name);
    rc = v->env->file_open(v->env, v->dir, name, ENV_READ, &file);
    if (rc) return 0;
    rc = table_open(v->env, file, name, f->summary.unique_id, f->summary.file_bytes, NULL, &t);
    if (!rc) rc = table_expect(t, &f->summary);
    table_free(t);
    return rc == FKV_OK;
}

static fkv_status believe_lines(salvage *v)
{
    version_edit lines = {0};
    fkv_status rc = manifest_load_damaged(v->env, v->dir, &v->home, &lines);

    if (rc && finding_is_damage(rc)) rc = FKV_OK; /* there is nothing to read */
    for (size_t i = 0; !rc && i < lines.added_count; i++)
        if (line_is_true(v, lines.added[i].file))
            rc = add_table(v, lines.added[i].file->number, lines.added[i].level,
                           lines.added[i].file);
    version_edit_release(&lines);
    return rc;
}

/* That of a backup or restore that was cut short, if its database is in place (backup.c); else the
** one that there is. */
static fkv_status load_manifest(salvage *v, version **tables)
{
    fkv_status rc = FKV_NOTFOUND;

    if (v->how->host_stamped)
        rc = manifest_load_from(v->env, v->dir, FILENAME_MANIFEST_NEXT, &v->home, &v->man, tables);
    if (rc == FKV_NOMEM) return rc;
    if (!rc && v->how->host_stamped(v->how->host_arg, v->man.edit) > 0) return FKV_OK;
    version_unref(*tables);
    return manifest_load(v->env, v->dir, &v->home, &v->man, tables);
}

static fkv_status read_manifest(salvage *v)
{
    version *tables = NULL;
    fkv_status rc = load_manifest(v, &tables);

    (void)snprintf(v->file, sizeof v->file, "%s", FILENAME_MANIFEST);
    if (!rc && v->how->uuid && memcmp(v->how->uuid, v->man.uuid, sizeof v->man.uuid) != 0) {
        version_unref(tables);
        return FKV_RAISEF(FKV_INVALID, "this is the store of another database");
    }
    if (!rc) {
        v->has_manifest = 1;
        v->spaces = v->man.next_space;
        v->end_lsn = v->man.tables_lsn;
        v->host_id = v->man.host_id;
        for (int i = 0; i < FKV_LEVELS; i++)
            for (size_t j = 0; !rc && j < tables->levels[i].count; j++)
                rc =
                    add_table(v, tables->levels[i].files[j]->number, i, tables->levels[i].files[j]);
        version_unref(tables);
        return rc;
    }
    if (rc == FKV_NOTFOUND) (void)FKV_RAISEF(FKV_CORRUPT, "manifest: the manifest is missing");
    if (!finding_is_damage(rc)) return rc;
    v->man = (manifest){.next_space = 1};
    rc = finding_error(&v->sink, FKV_FOUND_ERROR, v->file, 0);
    if (!rc) rc = believe_lines(v);
    if (!rc)
        rc = finding_say(&v->sink, FKV_FOUND_WARNING, v->file, FKV_NO_OFFSET,
                         "of %llu tables it still tells the order; the others are taken for older, "
                         "by their numbers: rows may be back that were changed or deleted",
                         (unsigned long long)v->table_count);
    return rc;
}

/* Nobody may have it open, nor open it while we read. No lock file: nobody has. Where we may not
** lock it we look. */
static fkv_status keep_out(salvage *v, const char *path)
{
    fkv_env *env = v->env;
    int held = 0;
    fkv_status rc = env->file_open(env, v->dir, FILENAME_LOCK, ENV_WRITE, &v->lock);

    if (!rc) {
        rc = env->file_lock(env, v->lock, LOCK_LIVE, ENV_LOCK_EXCLUSIVE);
    } else if (rc == FKV_READONLY) {
        rc = env->file_open(env, v->dir, FILENAME_LOCK, ENV_READ, &v->lock);
        if (!rc) rc = env->file_locked(env, v->lock, LOCK_LIVE, 1, &held);
    }
    if (rc == FKV_BUSY || held)
        return FKV_RAISEF(FKV_BUSY, "the store \"%s\" is open; close it everywhere first", path);
    return rc == FKV_NOTFOUND ? FKV_OK : rc;
}

static fkv_status look(salvage *v, const char *path)
{
    fkv_status rc = keep_out(v, path);

    if (!rc) rc = read_manifest(v);
    if (!rc) rc = v->env->dir_list(v->env, v->dir, note_file, v);
    if (rc) return rc;
    if (v->table_count) qsort(v->tables, v->table_count, sizeof *v->tables, oldest_first);
    if (v->log_count) qsort(v->logs, v->log_count, sizeof *v->logs, by_number);
    if (v->man.log_tail && (!v->log_count || v->logs[v->log_count - 1] < v->man.log_tail)) {
        filename_wal(v->man.log_tail, v->file);
        (void)FKV_RAISEF(FKV_CORRUPT, "%s: this log of the store is missing", v->file);
        rc = salvage_lose(v, 0, 1);
        v->lost = 0;
    }
    return rc ? rc : salvage_look_at_logs(v);
}

/* -- the new store -------------------------------------------------------------------------- */

/* It becomes the old one's successor before anything is written. Ids of hosted transactions are
** positions in the log, so the log goes on where the old one ended, or the host has been. */
static fkv_status take_place(salvage *v)
{
    fkv_store *s = v->to;
    shared_page *page = store_page(s);
    manifest m = s->man;
    version *none = NULL;
    fkv_status rc;

    if (v->has_manifest) {
        memcpy(m.uuid, v->man.uuid, sizeof m.uuid);
        m.clock_ms = v->man.clock_ms;
        m.codecs = v->man.codecs;
        m.next_space = v->man.next_space;
    } else if (v->how->uuid) {
        memcpy(m.uuid, v->how->uuid, sizeof m.uuid);
    }
    m.host_id = v->how->host_id ? v->how->host_id : v->man.host_id;
    if (v->end_lsn < m.host_id) v->end_lsn = m.host_id;
    if (v->end_lsn > (uint64_t)1 << 60) v->end_lsn = (uint64_t)1 << 60; /* a forger's */
    m.tables_lsn = m.log_lsn = (v->end_lsn + 4095) / 4096 * 4096;
    rc = version_new_empty(&none);
    if (!rc) rc = store_start_at(s, &m, none);
    version_unref(none);
    if (rc) return rc;
    memcpy(page->uuid, m.uuid, sizeof page->uuid);
    atomic_store(&page->next_space, m.next_space);
    atomic_store(&page->committed_lsn, m.tables_lsn);
    return FKV_OK;
}

static fkv_status open_new(salvage *v, const char *to)
{
    fkv_options o = {.env = v->env, .create = 1, .inline_background = 1};
    env_dir *parent = NULL;
    fkv_status rc = FKV_OK;

    if (v->how->parent) rc = v->env->dir_open(v->env, v->how->parent, ENV_CREATE, &parent);
    v->env->dir_close(v->env, parent);
    if (!rc) rc = fkv_open(to, &o, &v->to);
    if (!rc && (!v->to->fresh || v->to->opens > 1))
        rc = FKV_RAISEF(FKV_INVALID, "there is a store at \"%s\" already", to);
    if (!rc) rc = fkv_txn_new(v->to, &v->txn);
    return rc;
}

static fkv_status count_rows(fkv_store *s, uint64_t *rows)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    fkv_status rc = fkv_snapshot_new(s, &snap);

    *rows = 0;
    if (!rc) rc = fkv_cursor_new(snap, NULL, &c);
    if (!rc) {
        for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) ++*rows;
        rc = fkv_cursor_status(c);
    }
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return rc;
}

/* Numbers of keyspaces are given out by transactions. */
static fkv_status use_up_spaces(salvage *v)
{
    uint32_t space = 0;
    fkv_status rc;

    atomic_store(&store_page(v->to)->next_space, v->spaces ? v->spaces : 1);
    rc = fkv_txn_begin(v->txn, 0);
    if (!rc) rc = fkv_txn_new_space(v->txn, &space);
    return rc ? rc : commit(v);
}

/* A database that does not say how far it is has committed what the log says it has. */
static void note_host(salvage *v)
{
    fkv_store *s = v->to;

    s->env->mutex_lock(s->env, s->mu);
    if (!v->how->host_id && v->host_id > s->host_id) store_note_host(s, v->host_id, s->last_seq);
    s->env->mutex_unlock(s->env, s->mu);
}

static fkv_status sum_up(salvage *v)
{
    uint64_t rows = 0;
    fkv_finding f = {.severity = v->holes ? FKV_FOUND_INFO : FKV_FOUND_OK,
                     .file = "",
                     .offset = FKV_NO_OFFSET,
                     .bytes = v->all_lost};
    fkv_status rc;

    note_host(v);
    rc = fkv_compact(v->to, fkv_slice_of("", 0), fkv_slice_of(NULL, 0));
    if (!rc) rc = count_rows(v->to, &rows);
    if (!rc && v->holes)
        rc = finding_say(&v->sink, FKV_FOUND_WARNING, "", FKV_NO_OFFSET,
                         "what is lost may have held newer versions or deletions of rows that are "
                         "saved: such rows are back as they were before");
    if (!rc && v->how->host_id > v->host_id)
        rc = finding_say(&v->sink, FKV_FOUND_WARNING, "", FKV_NO_OFFSET,
                         "the last transactions that changed the database as well are lost here");
    if (rc) return rc;
    f.rows = rows;
    f.text = v->holes ? "rows in the new store; what is lost is listed above"
                      : "rows in the new store; nothing is lost";
    return finding_tell(&v->sink, &f);
}

static void release(salvage *v)
{
    fkv_txn_free(v->txn);
    fkv_close(v->to);
    for (size_t i = 0; i < v->table_count; i++) file_meta_unref(v->tables[i].known);
    alloc_free(v->segments);
    buf_release(&v->payload);
    alloc_free(v->tables);
    alloc_free(v->logs);
    v->env->file_close(v->env, v->lock);
    v->env->dir_close(v->env, v->dir);
}

fkv_status fkv_recover(const char *from, const char *to, const fkv_salvage *how)
{
    fkv_env *env = how->env ? how->env : env_posix();
    salvage v = {.env = env, .how = how, .sink = {how->found, how->arg, {0}}, .spaces = 1};
    fkv_status rc = env->dir_open(env, from, 0, &v.dir);

    v.home = (table_home){.env = env, .dir = v.dir};
    if (!rc) rc = look(&v, from);
    if (!rc) rc = open_new(&v, to);
    if (!rc) rc = take_place(&v);
    if (!rc) rc = read_tables(&v);
    if (!rc) rc = salvage_logs(&v);
    if (!rc) rc = commit(&v);
    if (!rc) rc = use_up_spaces(&v);
    if (!rc) rc = sum_up(&v);
    release(&v);
    return rc;
}
