/*
** rules.c -- the rules of env_audit.c, each where an operation could break it.
*/
#include <stdarg.h>

#include "audit/audit.h"
#include "base/coding.h"
#include "store/share.h"
#include "wal/wal.h"

enum { WAL_TYPE = 44, WAL_FLAGS = 45, WAL_REF = 32, WAL_DURABLE = 16, WAL_LSN = 8, WAL_SIZE = 4 };

void audit_violation(audit *a, const char *rule, const char *operation, const char *file,
                     const char *format, ...)
{
    char what[200], text[400];
    va_list list;

    va_start(list, format);
    (void)vsnprintf(what, sizeof what, format, list);
    va_end(list);
    (void)snprintf(text, sizeof text, "%s: %s of %s: %s", rule, operation, file, what);
    a->report(a->arg, text);
}

/* -- what a manifest or a record names ------------------------------------------------------ */

/* A1: why may nobody rely on this file yet? NULL: all of it is durable. */
static const char *not_durable(const audit_dir *d, const entry *e)
{
    if (!e->node->ever_synced || unsynced_from(e->node) != UINT64_MAX) return "is not synced";
    return entry_is_durable(d, e) ? NULL : "has a name that is not durable";
}

static void check_tables(audit *a, audit_dir *d, const number_list *tables, const char *operation,
                         const char *file)
{
    for (size_t i = 0; i < tables->count; i++) {
        char name[FILENAME_BYTES_MAX];
        const entry *e;
        const char *why;

        filename_table(tables->items[i], name);
        e = find_entry(d, name);
        if (!e && !d->learned) continue;
        why = e ? not_durable(d, e) : "is not there";
        if (why) audit_violation(a, "A1", operation, file, "it names %s, which %s", name, why);
        if (e) e->node->sealed = "is named by a manifest or a log";
    }
}

static void check_segments(audit *a, const audit_dir *d, const manifest_names *m, const char *file)
{
    int first = 0, last = 0;

    for (size_t i = 0; i < d->entry_count; i++) {
        const entry *e = &d->entries[i];
        uint64_t from = unsynced_from(e->node);
        if (e->kind != FILE_WAL) continue;
        first |= e->number == m->log_number;
        last |= e->number == m->log_tail;
        if (e->number >= m->log_number && e->number <= m->log_tail) {
            if (!e->node->ever_synced || from < SEGMENT_HEADER)
                audit_violation(a, "A1", "rename", file, "the header of %s is not synced", e->name);
            if (!entry_is_durable(d, e))
                audit_violation(a, "A1", "rename", file, "%s has a name that is not durable",
                                e->name);
        } else if (number_list_has(&m->kept, e->number) && not_durable(d, e)) {
            audit_violation(a, "A1", "rename", file, "it keeps %s, which %s", e->name,
                            not_durable(d, e));
        }
    }
    if (d->learned && m->log_tail && (!first || !last))
        audit_violation(a, "A1", "rename", file, "segment %" PRIu64 " or %" PRIu64 " is not there",
                        m->log_number, m->log_tail);
}

/* -- renaming ------------------------------------------------------------------------------- */

static int is_manifest(const char *name)
{
    return strcmp(name, FILENAME_MANIFEST) == 0;
}

void check_rename(audit *a, audit_dir *d, const char *from, const char *to)
{
    const entry *e = find_entry(d, from);
    manifest_names *m;

    if (!e || (!is_manifest(to) && strcmp(to, FILENAME_MANIFEST_NEXT) != 0)) return;
    if (!e->node->ever_synced || unsynced_from(e->node) != UINT64_MAX)
        audit_violation(a, "A4", "rename", to, "%s is not synced", from);
    e->node->sealed = "is a manifest";
    m = manifest_copy_of(e->node);
    if (!m) return;
    check_tables(a, d, &m->tables, "rename", to);
    check_segments(a, d, m, to);
    manifest_names_free(m);
}

static int is_pinned(const audit_dir *d, uint64_t edit)
{
    for (const env_file *f = d->files; f; f = f->next)
        for (size_t i = 0; i < f->held_count; i++)
            if (f->held[i].byte == LOCK_PIN + edit) return 1;
    return 0;
}

static void forget_manifests(audit_dir *d)
{
    for (manifest_names **at = &d->manifests; *at;) {
        manifest_names *m = *at;
        if (m->possible || is_pinned(d, m->edit)) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        manifest_names_free(m);
    }
}

static void add_manifest(audit_dir *d, manifest_names *m, uint64_t made_at, int unsure)
{
    forget_manifests(d);
    m->made_at = made_at;
    m->unsure = unsure;
    m->possible = 1;
    m->next = d->manifests;
    d->manifests = m;
}

void note_rename(audit_dir *d, const char *from, const char *to, int done)
{
    entry *e = find_entry(d, from);
    manifest_names *m = e && is_manifest(to) ? manifest_copy_of(e->node) : NULL;
    node *n;

    d->ops++;
    if (m) add_manifest(d, m, d->ops, !done);
    if (!done || !e) return;
    n = e->node;
    n->refs++;
    drop_entry(d, e);
    (void)add_entry(d, to, n, d->ops);
}

/* What was renamed into place last, and durably, is what a power cut leaves; or something newer. */
void note_dir_sync(audit_dir *d, uint64_t up_to)
{
    uint64_t newest = 0;

    if (up_to > d->synced_ops) d->synced_ops = up_to;
    for (const manifest_names *m = d->manifests; m; m = m->next)
        if (!m->unsure && m->made_at <= d->synced_ops && m->made_at > newest) newest = m->made_at;
    for (manifest_names *m = d->manifests; m; m = m->next)
        if (m->made_at < newest) m->possible = 0;
}

/* Somebody has read the manifest that is there: one that was not known, or whose renaming failed
** and has happened, or not. */
static void note_live_manifest(audit_dir *d, manifest_names *read)
{
    manifest_names *m = d->manifests;

    while (m && m->edit != read->edit) m = m->next;
    if (m) {
        m->unsure = 0;
        manifest_names_free(read);
    } else {
        add_manifest(d, read, 0, 0);
        m = read;
    }
    for (manifest_names *other = d->manifests; other; other = other->next)
        if (other->unsure && other != m) other->possible = 0;
}

/* -- reading and writing -------------------------------------------------------------------- */

static void keep_content(node *n, uint64_t offset, const void *data, size_t size)
{
    if (offset + size > n->content_size) {
        n->content = audit_resize(n->content, (size_t)offset + size);
        n->content_size = (size_t)offset + size;
    }
    memcpy(n->content + offset, data, size);
}

static void note_header(node *n, const uint8_t *p, size_t size)
{
    if (size < SEGMENT_HEADER || get_u32(p) != 0x57564b46) return;
    n->has_header = 1;
    n->start_lsn = get_u64(p + 24);
}

void note_read(env_file *f, uint64_t offset, const void *data, size_t got)
{
    const entry *e;
    manifest_names *m;

    if (offset != 0 || got == 0) return;
    if (f->kind == FILE_WAL && !f->node->has_header) note_header(f->node, data, got);
    if (!is_manifest(f->name) && strcmp(f->name, FILENAME_MANIFEST_NEXT) != 0) return;
    if (!f->node->content) keep_content(f->node, 0, data, got);
    e = find_entry(f->dir,
                   f->name); /* who was held up at the open reads one that has been replaced */
    m = e && e->node == f->node && is_manifest(f->name) ? manifest_copy_of(f->node) : NULL;
    if (m) note_live_manifest(f->dir, m);
}

static int is_needed(const audit_dir *d, uint64_t segment)
{
    for (const manifest_names *m = d->manifests; m; m = m->next)
        if (m->possible && m->log_number <= segment) return 1;
    return d->manifests == NULL;
}

/* A5: up to here the log is durable, or tables have its rows. */
static uint64_t durable_lsn(const audit_dir *d)
{
    uint64_t lsn = UINT64_MAX;

    for (size_t i = 0; i < d->entry_count; i++) {
        const entry *e = &d->entries[i];
        uint64_t from = unsynced_from(e->node), at;
        if (e->kind != FILE_WAL || from == UINT64_MAX || !e->node->has_header) continue;
        if (!is_needed(d, e->number)) continue;
        at = e->node->start_lsn + (from > SEGMENT_HEADER ? from - SEGMENT_HEADER : 0);
        if (at < lsn) lsn = at;
    }
    return lsn;
}

static void check_record(audit *a, audit_dir *d, const char *file, const uint8_t *r, size_t size)
{
    uint64_t durable = durable_lsn(d), claim = get_u64(r + WAL_DURABLE);
    number_list runs = {0};

    if (claim > durable)
        audit_violation(a, "A5", "write", file,
                        "a record says that the log is durable up to %" PRIu64
                        ", but it is up to %" PRIu64,
                        claim, durable);
    if (r[WAL_TYPE] == WAL_COMMIT && d->prepare_sync && get_u64(r + WAL_REF) == d->prepare_lsn &&
        d->prepare_end > durable)
        audit_violation(a, "A5", "write", file,
                        "a commit that is to be durable is acknowledged, but the log is durable "
                        "up to %" PRIu64 " only, its PREPARE ends at %" PRIu64,
                        durable, d->prepare_end);
    if (r[WAL_TYPE] == WAL_PREPARE && r[WAL_FLAGS] & WAL_FLAG_RUNS &&
        names_of_runs(r + RECORD_HEADER, size - RECORD_HEADER, &runs)) {
        check_tables(a, d, &runs, "write", file);
        number_list_release(&runs);
    }
}

static int is_record(const env_file *f, uint64_t offset, const uint8_t *r, size_t size)
{
    return f->kind == FILE_WAL && offset >= SEGMENT_HEADER && size >= RECORD_HEADER &&
           get_u32(r + WAL_SIZE) == size - RECORD_HEADER;
}

/* A3, the other half: a segment begins the next part of the chain. */
static void check_header(audit *a, const env_file *f)
{
    const audit_dir *d = f->dir;

    if (d->end_removed_at > d->synced_ops)
        audit_violation(a, "A3", "write", f->name, "a segment that was removed may come back");
    for (size_t i = 0; i < d->entry_count; i++) {
        const entry *e = &d->entries[i];
        if (e->kind == FILE_WAL && e->number < f->number && e->made_at && !e->node->has_header)
            audit_violation(a, "A3", "write", f->name, "%s is there without a header", e->name);
    }
}

void check_write(audit *a, env_file *f, uint64_t offset, const void *data, size_t size)
{
    const audit_dir *d = f->dir;

    if (f->node->sealed) audit_violation(a, "A6", "write", f->name, "it %s", f->node->sealed);
    for (size_t i = 0; f->kind == FILE_WAL && i < d->entry_count; i++) {
        const entry *e = &d->entries[i];
        if (e->kind == FILE_WAL && e->number > f->number && e->node->has_header)
            audit_violation(a, "A6", "write", f->name, "%s has been begun", e->name);
    }
    if (data && f->kind == FILE_WAL && offset == 0) check_header(a, f);
    if (data && is_record(f, offset, data, size)) check_record(a, f->dir, f->name, data, size);
}

static void note_record(audit_dir *d, const uint8_t *r, size_t size)
{
    if (r[WAL_TYPE] != WAL_PREPARE) return;
    d->prepare_lsn = get_u64(r + WAL_LSN);
    d->prepare_end = d->prepare_lsn + size;
    d->prepare_sync = (r[WAL_FLAGS] & WAL_FLAG_SYNC) != 0;
}

/* One that has failed may have written any part. */
void note_write(env_file *f, uint64_t offset, const void *data, size_t size, int done)
{
    node *n = f->node;

    if (offset < n->lowest) n->lowest = offset;
    if (done && offset + size > n->size) n->size = offset + size;
    if (f->kind == FILE_MANIFEST_TMP) keep_content(n, offset, data, size);
    if (!done) return;
    if (f->kind == FILE_WAL && offset == 0) note_header(n, data, size);
    if (!is_record(f, offset, data, size)) return;
    n->records++;
    note_record(f->dir, data, size);
}

/* -- removing ------------------------------------------------------------------------------- */

static void check_table_removal(audit *a, const env_dir *handle, const entry *e)
{
    const audit_dir *d = handle->dir;

    for (const manifest_names *m = d->manifests; m; m = m->next) {
        if (!number_list_has(&m->tables, e->number)) continue;
        if (m->possible)
            audit_violation(a, "A2", "remove", e->name,
                            "manifest %" PRIu64 " names it, and may be what a power cut leaves",
                            m->edit);
        for (const env_file *f = d->files; f; f = f->next)
            for (size_t i = 0; f->through != handle && i < f->held_count; i++)
                if (f->held[i].byte == LOCK_PIN + m->edit)
                    audit_violation(a, "A2", "remove", e->name,
                                    "another process reads the tables of manifest %" PRIu64,
                                    m->edit);
    }
}

static void check_segment_removal(audit *a, const audit_dir *d, const entry *e)
{
    for (const manifest_names *m = d->manifests; m; m = m->next) {
        int named = e->number >= m->log_number && e->number <= m->log_tail;
        if (!m->possible) continue;
        if (named || number_list_has(&m->kept, e->number) ||
            (e->node->records && e->number >= m->log_number))
            audit_violation(a, "A3", "remove", e->name,
                            "manifest %" PRIu64 " needs it, and may be what a power cut leaves",
                            m->edit);
    }
    if (!d->manifests && e->node->records)
        audit_violation(a, "A3", "remove", e->name, "it has records, and there is no manifest");
}

void check_remove(audit *a, const env_dir *handle, const char *name)
{
    const entry *e = find_entry(handle->dir, name);

    if (!e) return;
    if (e->kind == FILE_TABLE) check_table_removal(a, handle, e);
    if (e->kind == FILE_WAL) check_segment_removal(a, handle->dir, e);
    if (e->kind == FILE_MANIFEST)
        audit_violation(a, "A4", "remove", name, "a manifest is replaced, never removed");
}

void note_remove(audit_dir *d, const char *name)
{
    entry *e = find_entry(d, name);
    int is_last = e && e->kind == FILE_WAL;

    d->ops++;
    for (size_t i = 0; is_last && i < d->entry_count; i++)
        if (d->entries[i].kind == FILE_WAL && d->entries[i].number > e->number) is_last = 0;
    if (is_last) d->end_removed_at = d->ops;
    if (e) drop_entry(d, e);
}

/* -- locks ---------------------------------------------------------------------------------- */

/* Which thread this is. */
static _Thread_local char this_thread;

/* store/share.h, "In this order". 0: no part of it. */
static int rank(uint64_t byte)
{
    switch (byte) {
    case LOCK_CLOSE:
        return 1;
    case LOCK_LIVE:
        return 2;
    case LOCK_FLUSH:
    case LOCK_COMPACT:
        return 3;
    case LOCK_INSTALL:
        return 4;
    default:
        return 0;
    }
}

void check_lock(audit *a, const env_file *f, uint64_t byte, int mode)
{
    if (f->kind != FILE_LOCK || mode == ENV_UNLOCK || !rank(byte)) return;
    for (size_t i = 0; i < f->held_count; i++) {
        uint64_t held = f->held[i].byte;
        if (f->held[i].thread != &this_thread || held == byte || held == LOCK_LIVE) continue;
        if (rank(held) >= rank(byte))
            audit_violation(a, "A9", "lock", f->name,
                            "byte %" PRIu64 " is asked for while %" PRIu64 " is held", byte, held);
    }
}

void note_lock(env_file *f, uint64_t byte, int mode)
{
    for (size_t i = 0; i < f->held_count; i++) {
        if (f->held[i].byte != byte) continue;
        f->held[i] = f->held[--f->held_count];
        break;
    }
    if (mode == ENV_UNLOCK) return;
    if (f->held_count == f->held_capacity) {
        f->held_capacity = f->held_capacity ? f->held_capacity * 2 : 16;
        f->held = audit_resize(f->held, f->held_capacity * sizeof *f->held);
    }
    f->held[f->held_count++] = (held_byte){byte, &this_thread};
}
