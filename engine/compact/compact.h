/*
** compact.h -- turning memtables into tables, and tables into fewer, deeper ones.
**
** Both write new files and describe the change as a version_edit; installing it is the store's
** business. On failure every file they made is removed and the edit is empty.
*/
#ifndef FKV_COMPACT_COMPACT_H
#define FKV_COMPACT_COMPACT_H

#include "base/ranges.h"
#include "compact/pick.h"
#include "mem/memtable.h"

/* Surroundings of a run. Callbacks may be called from the running thread at any time. */
typedef struct compact_context {
    fkv_env *env;
    env_dir *dir;
    table_home *home;
    table_options table; /* its rules are the following, if there are any */
    codec_rules codecs;
    uint64_t table_bytes; /* start a new output table at this size */
    int64_t clock_ms;     /* rows that expire at or before this moment are gone */
    void *arg;
    FKV_MUST_CHECK fkv_status (*new_number)(void *arg, uint64_t *out); /* a fresh file number */
    int (*progress)(void *arg, uint64_t bytes_done); /* called every 64 KB or so; 1 = give up */
} compact_context;

/* Write what readers at `seq` see of m as one level 0 table (none if nothing is left). v is the
** version below m: tombstones with nothing beneath them are not written. */
FKV_MUST_CHECK fkv_status flush_memtable(const compact_context *c, const memtable *m, uint64_t seq,
                                         const version *v, version_edit *edit);

/* Write a batch's or any other source's entries, tombstones kept, as level 0 tables of at most
** table_bytes. ranges: its range tombstones. */
FKV_MUST_CHECK fkv_status write_run(const compact_context *c, iter *source, const range_set *ranges,
                                    uint64_t max_seq, version_edit *edit);

/* Run a job picked from v. FKV_BUSY when progress() said to give up. */
FKV_MUST_CHECK fkv_status compact_run(const compact_context *c, const version *v,
                                      const compaction_job *job, version_edit *edit);

#endif
