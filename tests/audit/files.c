/*
** files.c -- nodes, and their names in directories.
*/
#include "audit/audit.h"

void *audit_resize(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p) abort();
    return p;
}

/* One that was there before is taken to be durable, and of unknown size. */
node *new_node(int there_before)
{
    node *n = audit_resize(NULL, sizeof *n);

    *n = (node){.refs = 1, .lowest = UINT64_MAX, .ever_synced = there_before};
    return n;
}

void node_unref(node *n)
{
    if (--n->refs > 0) return;
    free(n->content);
    free(n);
}

uint64_t unsynced_from(const node *n)
{
    uint64_t lowest = n->lowest;

    for (size_t i = 0; i < n->sync_count; i++)
        if (n->syncs[i].lowest < lowest) lowest = n->syncs[i].lowest;
    return lowest;
}

/* What is written from here on it may miss. */
uint64_t begin_sync(node *n)
{
    if (n->sync_count == SYNCS_MAX) abort();
    n->syncs[n->sync_count++] = (sync_mark){n->next_sync, n->lowest};
    n->lowest = UINT64_MAX;
    return n->next_sync++;
}

/* One that has succeeded has done the work of those that began before it. */
void end_sync(node *n, uint64_t id, fkv_status rc)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->sync_count; i++) {
        sync_mark m = n->syncs[i];
        if (m.id == id && rc && m.lowest < n->lowest) n->lowest = m.lowest;
        if (rc ? m.id != id : m.id > id) n->syncs[kept++] = m;
    }
    n->sync_count = kept;
    if (!rc) n->ever_synced = 1;
    if (rc == FKV_IOERR_SYNC) n->sync_failed = 1;
}

entry *find_entry(const audit_dir *d, const char *name)
{
    for (size_t i = 0; i < d->entry_count; i++)
        if (strcmp(d->entries[i].name, name) == 0) return &d->entries[i];
    return NULL;
}

void drop_entry(audit_dir *d, entry *e)
{
    node_unref(e->node);
    *e = d->entries[--d->entry_count];
}

entry *add_entry(audit_dir *d, const char *name, node *n, uint64_t made_at)
{
    entry *e = find_entry(d, name);

    if (e) drop_entry(d, e);
    if (d->entry_count == d->entry_capacity) {
        d->entry_capacity = d->entry_capacity ? d->entry_capacity * 2 : 16;
        d->entries = audit_resize(d->entries, d->entry_capacity * sizeof *d->entries);
    }
    e = &d->entries[d->entry_count++];
    *e = (entry){.made_at = made_at, .node = n};
    (void)snprintf(e->name, sizeof e->name, "%s", name);
    e->kind = filename_parse(name, &e->number);
    return e;
}

int entry_is_durable(const audit_dir *d, const entry *e)
{
    return e->made_at <= d->synced_ops;
}

void forget_dir(audit_dir *d)
{
    while (d->entry_count) drop_entry(d, d->entries);
    free(d->entries);
    while (d->manifests) {
        manifest_names *m = d->manifests;
        d->manifests = m->next;
        manifest_names_free(m);
    }
    free(d->path);
    free(d);
}
