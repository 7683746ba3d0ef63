/*
** version.h -- which tables make up the store at one moment.
**
** A version is immutable and counted by reference: a reader that holds one keeps its files on
** disk and its tables open, whatever compaction does meanwhile. Level 0 holds tables of any
** extent, newest first; in each deeper level the tables are disjoint and sorted. A table in level
** i is newer than every table it overlaps in levels below.
**
** Threads: versions are read by any thread; edits are applied under the store's mutex.
*/
#ifndef FKV_VERSION_VERSION_H
#define FKV_VERSION_VERSION_H

#include <stdatomic.h>

#include "io/env.h"
#include "table/table.h"

/* Where tables come from: shared by all versions of a store, outlives them. */
typedef struct table_home {
    fkv_env *env;
    env_dir *dir;
    block_cache *cache;
    env_mutex *mutex;                                          /* opening tables */
    void (*remove)(void *arg, uint64_t number, uint64_t edit); /* NULL: the file simply goes */
    void *arg;
} table_home;

/* One table file. Immutable but for the lazily opened table. */
typedef struct file_meta {
    _Atomic uint32_t refs;
    _Atomic uint64_t obsolete; /* remove the file with the last reference, because this manifest no
                                ** longer names it (FILE_UNNAMED: none ever has); 0 = keep it */
    table_home *home;
    uint64_t number;
    uint64_t max_seq; /* newest sequence inside: the age of a level 0 table */
    table_summary summary;
    _Atomic(table *) table;
} file_meta;

#define FILE_UNNAMED ((uint64_t)1)

/* Remove table file `number`, which no manifest from `edit` on names. Cannot fail: what will not go
** now is an orphan, to be swept away by a later writer. */
void table_home_remove(table_home *home, uint64_t number, uint64_t edit);

/* Take over *summary (zeroed after). */
FKV_MUST_CHECK fkv_status file_meta_new(table_home *home, uint64_t number, uint64_t max_seq,
                                        table_summary *summary, file_meta **out);
void file_meta_ref(file_meta *f);
void file_meta_unref(file_meta *f); /* NULL is fine */

/* The table, opened on first use; lives as long as f. */
FKV_MUST_CHECK fkv_status file_meta_table(file_meta *f, table **out);

static inline fkv_slice file_smallest(const file_meta *f)
{
    return buf_slice(&f->summary.smallest);
}

static inline fkv_slice file_largest(const file_meta *f)
{
    return buf_slice(&f->summary.largest);
}

/* Does the whole file lie before key? */
static inline int file_before(const file_meta *f, fkv_slice key)
{
    int c = slice_compare(file_largest(f), key);
    return c < 0 || (c == 0 && f->summary.largest_open);
}

/* May the file hold keys in [from, to)? to.data == NULL: no upper bound. */
static inline int file_touches(const file_meta *f, fkv_slice from, fkv_slice to)
{
    return !file_before(f, from) && (!to.data || slice_compare(file_smallest(f), to) < 0);
}

typedef struct version_level {
    file_meta **files;
    size_t count;
    uint64_t bytes;
} version_level;

typedef struct version {
    _Atomic uint32_t refs;
    version_level levels[FKV_LEVELS];
} version;

FKV_MUST_CHECK fkv_status version_new_empty(version **out);
void version_ref(version *v);
void version_unref(version *v); /* NULL is fine */

/* A change: files to put into levels and files to take out. Holds references to added files. */
typedef struct version_edit {
    struct edit_add {
        int level;
        file_meta *file;
    } * added;
    size_t added_count, added_capacity;
    file_meta **removed; /* borrowed */
    size_t removed_count, removed_capacity;
} version_edit;

FKV_MUST_CHECK fkv_status version_edit_add(version_edit *e, int level, file_meta *file);
FKV_MUST_CHECK fkv_status version_edit_remove(version_edit *e, file_meta *file);
void version_edit_release(version_edit *e); /* zeroed is fine */

/* base with the edit made. FKV_CORRUPT if the outcome breaks a level's order: then the edit came
** from damaged bytes. */
FKV_MUST_CHECK fkv_status version_apply(const version *base, const version_edit *edit,
                                        version **out);

/* Where v, which nobody else has seen yet, and `from` have files of the same number, let v have the
** object of `from`, whose table may be open. */
FKV_MUST_CHECK fkv_status version_adopt(version *v, const version *from);

/* Is this file, the object, in v? */
int version_has(const version *v, const file_meta *f);

/* Index of the first file of a sorted level that does not lie before key; count if none. */
size_t level_find(const version_level *l, fkv_slice key);

/* The newest entry for key in any table: FKV_OK and *out, whose kind ENTRY_DELETE says that the key
** is deleted here (by a point or a range tombstone); FKV_NOTFOUND (not raised) when no table knows
** the key; or an error. */
FKV_MUST_CHECK fkv_status version_get(const version *v, fkv_slice key, table_value *out);

/* Could any table in levels `from_level` and deeper hold keys in [from, to)? */
int version_touches(const version *v, int from_level, fkv_slice from, fkv_slice to);

/* Could any of these levels hold exactly this key? */
int version_holds(const version *v, int from_level, fkv_slice key);

/* An iterator over one sorted level, or over the given files of it; files open as they are
** reached. The files must outlive it. */
FKV_MUST_CHECK fkv_status level_iter_new(file_meta *const *files, size_t count, int once,
                                         iter **out);

/* Number of sources version_iters produces, and those sources, newest first. On failure nothing is
** left in out. */
size_t version_iter_count(const version *v);
FKV_MUST_CHECK fkv_status version_iters(const version *v, iter **out);

#endif
