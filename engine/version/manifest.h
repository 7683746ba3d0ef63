/*
** manifest.h -- the one file that says what the store consists of.
**
** It is written whole and replaced atomically: new content to "manifest.tmp", sync, rename over
** "manifest", directory sync. There is no edit log to replay, no torn tail to judge and no pointer
** file to switch; a byte that is wrong is damage. The price is writing some 100 bytes per table at
** every flush and compaction, little beside the tables themselves. (git's reftable does the same.)
** Bytes: FORMAT.md, "Manifest".
*/
#ifndef FKV_VERSION_MANIFEST_H
#define FKV_VERSION_MANIFEST_H

#include "version/version.h"

/* Log that is kept for the change feed (store/keep.c). */
enum { KEPT_LOGS_MAX = 256 };

typedef struct kept_log {
    uint64_t number, start_lsn;
    uint64_t first_seq; /* none of its rows has a lower sequence */
    int64_t retired_ms; /* when replay ceased to need it */
} kept_log;

typedef struct log_keeping {
    uint64_t bytes, ms;  /* keep so much, or so long; both 0: nothing is kept */
    uint64_t after;      /* all changes behind this sequence are there */
    uint64_t generation; /* another number where sequences may have been given out again */
    uint32_t count;      /* segments that nothing else needs; oldest first */
    kept_log logs[KEPT_LOGS_MAX];
} log_keeping;

static inline int log_keeping_on(const log_keeping *k)
{
    return k->bytes || k->ms;
}

typedef struct manifest {
    uint8_t uuid[16];
    uint64_t edit;        /* grows with each manifest; from the same counter as file numbers */
    uint64_t next_number; /* file numbers below this have been used */
    uint32_t next_space;  /* keyspace ids below this have been used */
    uint64_t tables_lsn;  /* every transaction committed in the log below this is in the tables */
    uint64_t last_seq;    /* the sequence reached at tables_lsn */
    uint64_t log_number;  /* log segments with lower numbers are not needed */
    uint64_t log_tail;    /* segments log_number to this one exist, or the store is damaged; 0:
                           ** there is no log. Later ones may exist */
    uint64_t log_lsn;     /* replay begins here: tables_lsn, or before it a transaction in doubt */
    uint64_t clean_lsn;   /* closed in order: the log ends exactly here; UINT64_MAX = not closed */
    uint64_t host_id;     /* last transaction committed together with the host database below
                           ** tables_lsn; 0 = none */
    int64_t clock_ms;     /* latest wall time seen: expiry never looks at an earlier one */
    log_keeping keep;
    codec_rules codecs; /* keyspaces that are compressed otherwise than the rest */
} manifest;

/* Replace the manifest by m and v. After FKV_OK it is durable. After a failure the old one is in
** place, or, if *maybe_new is set, the old or the new one: both describe the same rows, and nothing
** that either names may be removed. */
FKV_MUST_CHECK fkv_status manifest_save(fkv_env *env, env_dir *dir, const manifest *m,
                                        const version *v, int *maybe_new);

/* Read it. FKV_NOTFOUND when there is none. */
FKV_MUST_CHECK fkv_status manifest_load(fkv_env *env, env_dir *dir, table_home *home, manifest *m,
                                        version **out);

/* The same under another name (store/backup.c). */
FKV_MUST_CHECK fkv_status manifest_save_as(fkv_env *env, env_dir *dir, const char *name,
                                           const manifest *m, const version *v, int *maybe_new);
FKV_MUST_CHECK fkv_status manifest_load_from(fkv_env *env, env_dir *dir, const char *name,
                                             table_home *home, manifest *m, version **out);

/* Is no table newer than what the store has reached? What is written later would be hidden by it.
** FKV_CORRUPT. (Not asked by manifest_load: what a salvage reads need not be right.) */
FKV_MUST_CHECK fkv_status manifest_check_ages(const manifest *m, const version *v);

/* As many of its tables as can be made out, whatever its checksum says; none of it is to be
** believed unless the table itself agrees. */
FKV_MUST_CHECK fkv_status manifest_load_damaged(fkv_env *env, env_dir *dir, table_home *home,
                                                version_edit *out);

/* One table's line, as in the manifest; also used to name spilled runs in the log. */
void manifest_put_file(buf *out, int level, const file_meta *f);

/* Read such a line from *p (moved on). FKV_CORRUPT if malformed. */
FKV_MUST_CHECK fkv_status manifest_get_file(const uint8_t **p, const uint8_t *end, table_home *home,
                                            int *level, file_meta **out);

/* The tables of a spilled transaction, as the log names them (FORMAT.md, "Log segment"). */
typedef struct run_list {
    uint64_t left; /* that have not been read */
    uint64_t next_space;
    const uint8_t *at, *end;
} run_list;

/* Of the payload of a PREPARE with WAL_FLAG_RUNS. Empty if it is too short to be one. */
run_list run_list_of(const uint8_t *payload, size_t size);

/* The next one. After FKV_CORRUPT it is not known where another begins. REQUIRES: left > 0. */
FKV_MUST_CHECK fkv_status run_list_next(run_list *l, table_home *home, file_meta **out);

/* All of them, into level 0. */
FKV_MUST_CHECK fkv_status run_list_add(run_list l, table_home *home, version_edit *edit);

#endif
