/*
** env_mem.h -- the memory file system's parts, shared by env_mem.c and env_mem_crash.c.
**
** Two kinds of thing exist twice, once as programs see them and once as a power cut would leave
** them:
**
**   - a directory has its live set of links (name -> node) and the durable one of its last
**     dir_sync, with the operations in between in order;
**   - a node (file content) has its live bytes and the undo records that lead back to its last
**     file_sync. Only sectors that reach below the synced size need one: beyond it the old
**     content is nothing.
**
** Links and nodes are counted; a node lives while a link or a handle holds it. All fields are
** guarded by mem_env.mutex.
*/
#ifndef FKV_IO_ENV_MEM_H
#define FKV_IO_ENV_MEM_H

#include "io/env.h"

#define MEM_SECTOR ((size_t)512)
#define MEM_SHARED_BYTES ((size_t)4096)

typedef struct mem_undo {
    uint64_t sector;
    uint8_t *old; /* MEM_SECTOR bytes as last synced; NULL = all zeros */
} mem_undo;

typedef struct mem_lock {
    const env_file *owner;
    uint64_t byte;
    int mode;
} mem_lock;

typedef struct mem_node {
    size_t refs;
    uint8_t *bytes; /* meaningless from size to capacity */
    size_t size, capacity;
    size_t synced_size;
    mem_undo *undo; /* by sector */
    size_t undo_count, undo_capacity;
    mem_lock *locks;
    size_t lock_count, lock_capacity;
    uint8_t *shared; /* MEM_SHARED_BYTES for file_share: beside the content, never durable */
} mem_node;

typedef struct mem_link {
    size_t refs;
    mem_node *node; /* counted */
    char name[];
} mem_link;

typedef struct link_set { /* zeroed = empty; holds a reference to each */
    mem_link **items;
    size_t count, capacity;
} link_set;

typedef enum op_kind { OP_CREATE, OP_REMOVE, OP_RENAME } op_kind;

typedef struct mem_op {
    op_kind kind;
    mem_link *link; /* what was created, removed, or came of the renaming; counted */
} mem_op;

typedef struct mem_dir {
    struct mem_dir *next; /* in mem_env.dirs, while not removed */
    uint64_t inode;
    size_t handles;
    int removed;
    link_set live, durable;
    mem_op *ops; /* since the last dir_sync */
    size_t op_count, op_capacity;
    char path[];
} mem_dir;

typedef struct mem_env {
    fkv_env env;
    env_mutex *mutex;
    mem_dir *dirs;
    uint64_t next_inode;
    size_t handles; /* open files and directories */
    uint8_t boot_id[16];
} mem_env;

/* -- links (env_mem_crash.c) ---------------------------------------------------------------- */

void mem_node_unref(mem_node *node); /* NULL is fine */
void mem_link_unref(mem_link *link); /* NULL is fine */

/* Room for `extra` more, so that link_set_put cannot fail. */
FKV_MUST_CHECK fkv_status link_set_reserve(link_set *set, size_t extra);
mem_link *link_set_find(const link_set *set, const char *name);

/* Add link, in place of one of the same name. REQUIRES: room. */
void link_set_put(link_set *set, mem_link *link);
void link_set_drop(link_set *set, const mem_link *link); /* by identity; absent is fine */
void link_set_clear(link_set *set);
void link_set_release(link_set *set);

/* -- durability (env_mem_crash.c) ----------------------------------------------------------- */

/* Before [offset, offset+size) is overwritten: keep what is there since the last sync. */
FKV_MUST_CHECK fkv_status mem_node_keep(mem_node *node, size_t offset, size_t size);
void mem_node_synced(mem_node *node);

/* Make room for one more operation, so that mem_dir_note cannot fail. */
FKV_MUST_CHECK fkv_status mem_dir_reserve_op(mem_dir *dir);
void mem_dir_note(mem_dir *dir, op_kind kind, mem_link *link);
FKV_MUST_CHECK fkv_status mem_dir_synced(mem_dir *dir);
void mem_dir_free(mem_dir *dir);

#endif
