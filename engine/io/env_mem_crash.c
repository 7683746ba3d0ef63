/*
** env_mem_crash.c -- what the memory file system would still have after a power cut.
**
** A cut with seed 0 is the plain worst case: everything not synced is gone. With a seed every
** unsynced sector, size change and directory operation is decided by a coin, which is what disks
** and file systems are free to do. Three choices keep the outcomes legal ones:
**
**   - a size that did not survive still covers the last sector that did, and what lies between
**     reads as zeros;
**   - a renaming is atomic: when it survives the file has its new name and no other;
**   - a removal that survives hits only the file it was meant for, not another that has the name
**     because the operation in between was lost.
**
** The coins fall in a fixed order, so one seed gives one outcome.
*/
#include "io/env_mem.h"

#include <string.h>

#include "base/alloc.h"

/* -- nodes and links ------------------------------------------------------------------------ */

static void undo_clear(mem_node *node)
{
    for (size_t i = 0; i < node->undo_count; i++) alloc_free(node->undo[i].old);
    node->undo_count = 0;
}

void mem_node_unref(mem_node *node)
{
    if (!node || --node->refs > 0) return;
    undo_clear(node);
    alloc_free(node->undo);
    alloc_free(node->locks);
    alloc_free(node->shared);
    alloc_free(node->bytes);
    alloc_free(node);
}

void mem_link_unref(mem_link *link)
{
    if (!link || --link->refs > 0) return;
    mem_node_unref(link->node);
    alloc_free(link);
}

fkv_status link_set_reserve(link_set *set, size_t extra)
{
    size_t capacity = set->capacity ? set->capacity : 16;
    mem_link **items;

    if (set->capacity - set->count >= extra) return FKV_OK;
    while (capacity - set->count < extra) capacity *= 2;
    items = alloc_resize(set->items, capacity * sizeof(mem_link *));
    if (!items) return FKV_RAISE(FKV_NOMEM);
    set->items = items;
    set->capacity = capacity;
    return FKV_OK;
}

mem_link *link_set_find(const link_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->items[i]->name, name) == 0) return set->items[i];
    }
    return NULL;
}

void link_set_drop(link_set *set, const mem_link *link)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i] == link) {
            mem_link_unref(set->items[i]);
            set->items[i] = set->items[--set->count];
            return;
        }
    }
}

void link_set_put(link_set *set, mem_link *link)
{
    link->refs++;
    link_set_drop(set, link_set_find(set, link->name));
    set->items[set->count++] = link;
}

void link_set_clear(link_set *set)
{
    for (size_t i = 0; i < set->count; i++) mem_link_unref(set->items[i]);
    set->count = 0;
}

void link_set_release(link_set *set)
{
    link_set_clear(set);
    alloc_free(set->items);
    *set = (link_set){0};
}

/* -- content: keeping, syncing -------------------------------------------------------------- */

/* Where in the undo array the sector is, or would go. Writes mostly move forward, so the end is
** tried first. */
static size_t undo_place(const mem_node *node, uint64_t sector)
{
    size_t low = 0, high = node->undo_count;

    if (high > 0 && node->undo[high - 1].sector < sector) return high;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (node->undo[mid].sector < sector) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static int all_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i]) return 0;
    }
    return 1;
}

static fkv_status keep_sector(mem_node *node, uint64_t sector)
{
    size_t place = undo_place(node, sector);
    size_t start = (size_t)sector * MEM_SECTOR;
    size_t length = node->synced_size - start;
    uint8_t *old = NULL;

    if (place < node->undo_count && node->undo[place].sector == sector) return FKV_OK;
    if (node->undo_count == node->undo_capacity) {
        size_t capacity = node->undo_capacity ? node->undo_capacity * 2 : 16;
        mem_undo *undo = alloc_resize(node->undo, capacity * sizeof *undo);
        if (!undo) return FKV_RAISE(FKV_NOMEM);
        node->undo = undo;
        node->undo_capacity = capacity;
    }
    if (length > MEM_SECTOR) length = MEM_SECTOR;
    if (!all_zero(node->bytes + start, length)) { /* in a preallocated log it mostly is */
        old = alloc_zero(MEM_SECTOR);
        if (!old) return FKV_RAISE(FKV_NOMEM);
        memcpy(old, node->bytes + start, length);
    }
    memmove(node->undo + place + 1, node->undo + place,
            (node->undo_count - place) * sizeof *node->undo);
    node->undo[place].sector = sector;
    node->undo[place].old = old;
    node->undo_count++;
    return FKV_OK;
}

fkv_status mem_node_keep(mem_node *node, size_t offset, size_t size)
{
    fkv_status rc;

    for (uint64_t sector = offset / MEM_SECTOR; sector * MEM_SECTOR < offset + size; sector++) {
        if (sector * MEM_SECTOR >= node->synced_size) break;
        rc = keep_sector(node, sector);
        if (rc) return rc;
    }
    return FKV_OK;
}

void mem_node_synced(mem_node *node)
{
    undo_clear(node);
    node->synced_size = node->size;
}

/* -- directories: noting, syncing ----------------------------------------------------------- */

fkv_status mem_dir_reserve_op(mem_dir *dir)
{
    size_t capacity = dir->op_capacity ? dir->op_capacity * 2 : 16;
    mem_op *ops;

    if (dir->op_count < dir->op_capacity) return FKV_OK;
    ops = alloc_resize(dir->ops, capacity * sizeof *ops);
    if (!ops) return FKV_RAISE(FKV_NOMEM);
    dir->ops = ops;
    dir->op_capacity = capacity;
    return FKV_OK;
}

void mem_dir_note(mem_dir *dir, op_kind kind, mem_link *link)
{
    link->refs++;
    dir->ops[dir->op_count].kind = kind;
    dir->ops[dir->op_count].link = link;
    dir->op_count++;
}

static void forget_ops(mem_dir *dir)
{
    for (size_t i = 0; i < dir->op_count; i++) mem_link_unref(dir->ops[i].link);
    dir->op_count = 0;
}

/* Make `to` hold the same links as `from`. REQUIRES: room for all of them in `to`. */
static void copy_links(link_set *to, const link_set *from)
{
    link_set_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        from->items[i]->refs++;
        to->items[i] = from->items[i];
    }
    to->count = from->count;
}

fkv_status mem_dir_synced(mem_dir *dir)
{
    fkv_status rc = link_set_reserve(&dir->durable, dir->live.count);

    if (rc) return rc;
    copy_links(&dir->durable, &dir->live);
    forget_ops(dir);
    return FKV_OK;
}

void mem_dir_free(mem_dir *dir)
{
    forget_ops(dir);
    alloc_free(dir->ops);
    link_set_release(&dir->live);
    link_set_release(&dir->durable);
    alloc_free(dir);
}

/* -- the power cut -------------------------------------------------------------------------- */

/* Does the next unsynced thing survive? *coin 0: nothing does. Else splitmix64. */
static int survives(uint64_t *coin)
{
    uint64_t z;

    if (*coin == 0) return 0;
    *coin += 0x9e3779b97f4a7c15u;
    if (*coin == 0) *coin = 1;
    z = *coin;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (int)((z ^ z >> 31) & 1);
}

/* One directory operation reached the disk. */
static void apply_op(link_set *set, const mem_op *op)
{
    switch (op->kind) {
    case OP_CREATE:
        break;
    case OP_REMOVE: {
        mem_link *there = link_set_find(set, op->link->name);
        if (there && there->node == op->link->node) link_set_drop(set, there);
        return;
    }
    case OP_RENAME:
        for (size_t i = set->count; i-- > 0;) {
            if (set->items[i]->node == op->link->node) link_set_drop(set, set->items[i]);
        }
        break;
    }
    link_set_put(set, op->link);
}

static void crash_node(mem_node *node, uint64_t *coin)
{
    size_t size = node->synced_size;

    for (size_t i = 0; i < node->undo_count; i++) { /* below the synced size: old or new */
        size_t start = (size_t)node->undo[i].sector * MEM_SECTOR;
        size_t end = node->size - start < MEM_SECTOR ? node->size : start + MEM_SECTOR;

        if (survives(coin)) {
            if (end > size) size = end;
        } else if (node->undo[i].old) {
            memcpy(node->bytes + start, node->undo[i].old, end - start);
        } else {
            memset(node->bytes + start, 0, end - start);
        }
    }
    for (size_t start = (node->synced_size + MEM_SECTOR - 1) / MEM_SECTOR * MEM_SECTOR;
         start < node->size; start += MEM_SECTOR) { /* beyond it: nothing or new */
        size_t end = node->size - start < MEM_SECTOR ? node->size : start + MEM_SECTOR;

        if (survives(coin)) {
            size = end;
        } else {
            memset(node->bytes + start, 0, end - start);
        }
    }
    if (node->size > size && survives(coin)) size = node->size;
    node->size = size;
    mem_node_synced(node);
}

fkv_status env_mem_crash(fkv_env *env, uint64_t seed)
{
    mem_env *m = env->state;
    uint64_t coin = seed;
    fkv_status rc = FKV_OK;

    env->mutex_lock(env, m->mutex);
    if (m->handles) {
        rc = FKV_RAISEF(FKV_MISUSE, "power cut with %zu files or directories open", m->handles);
        goto done;
    }
    /* All memory first: a power cut that fails must not have happened to half the files. */
    for (mem_dir *dir = m->dirs; dir; dir = dir->next) {
        rc = link_set_reserve(&dir->durable, dir->op_count);
        if (rc) goto done;
        rc = link_set_reserve(&dir->live, dir->durable.count + dir->op_count);
        if (rc) goto done;
    }
    for (mem_dir *dir = m->dirs; dir; dir = dir->next) {
        for (size_t i = 0; i < dir->op_count; i++) {
            if (survives(&coin)) apply_op(&dir->durable, &dir->ops[i]);
        }
        forget_ops(dir);
        copy_links(&dir->live, &dir->durable);
        for (size_t i = 0; i < dir->live.count; i++) crash_node(dir->live.items[i]->node, &coin);
    }
    for (size_t i = 0; i < sizeof m->boot_id && ++m->boot_id[i] == 0; i++) continue;

done:
    env->mutex_unlock(env, m->mutex);
    return rc;
}
