/* salvage.h -- what salvage.c and salvage_log.c share. */
#ifndef FKV_STORE_SALVAGE_H
#define FKV_STORE_SALVAGE_H

#include "store/finding.h"
#include "store/store.h"

typedef struct source { /* a table */
    uint64_t number, max_seq;
    int level; /* FKV_LEVELS: not known */
    file_meta *known;
} source;

typedef struct salvage {
    fkv_env *env;
    const fkv_salvage *how;
    env_dir *dir;
    env_file *lock;
    table_home home;
    finding_sink sink;
    manifest man;
    int has_manifest; /* and it is good */
    source *tables;   /* oldest first */
    size_t table_count, table_capacity;
    uint64_t *logs; /* ascending */
    size_t log_count, log_capacity;
    struct segment {
        uint64_t start_lsn;
        int there; /* it can be read, and has records (if it has a header) */
        int sure;  /* of where it begins */
    } * segments;  /* of the logs */

    fkv_store *to;
    fkv_txn *txn;
    uint64_t pending_bytes;
    char file[FILENAME_BYTES_MAX]; /* that is being read */
    uint64_t rows, lost;           /* of it */
    uint64_t all_lost, holes;
    uint32_t spaces;  /* numbers below have been used */
    uint64_t end_lsn; /* the log goes no further */
    uint64_t host_id; /* last hosted transaction that is found committed */

    wal_record pending; /* its payload lies in the reader of the segment, or, behind that, in … */
    buf payload;
    int has_pending, hole_behind;
    uint8_t pending_boot[16];
} salvage;

/* Into the new store: a row or a deletion, a range deletion; bytes that are lost. arg is a salvage,
** as a table_salvager has it. */
FKV_MUST_CHECK fkv_status salvage_entry(void *arg, const iter_entry *e);
FKV_MUST_CHECK fkv_status salvage_range(void *arg, fkv_slice from, fkv_slice to);
FKV_MUST_CHECK fkv_status salvage_lose(void *arg, uint64_t offset, uint64_t bytes);
void salvage_note_space(salvage *v, uint64_t space); /* this keyspace is in use */

/* All of the table that v->file names. `expected`: what is known of it, or NULL. */
FKV_MUST_CHECK fkv_status salvage_table(salvage *v, const table_summary *expected);

/* What there is of the segments that v->logs has; then, after the tables, all that is in them. (One
** is in memory at a time: those that are kept for the change feed may be a thousand megabytes.) */
FKV_MUST_CHECK fkv_status salvage_look_at_logs(salvage *v);
FKV_MUST_CHECK fkv_status salvage_logs(salvage *v);

/* Tell of v->file, which has been read; the words for how much of it is saved. */
FKV_MUST_CHECK fkv_status salvage_end_file(salvage *v, const char *what);
const char *salvage_saved(const salvage *v);

#endif
