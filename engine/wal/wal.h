/*
** wal.h -- the write-ahead log: segments of checksummed records.
**
** A position in the log is an LSN: bytes since the store began, counted through all segments.
** A segment holds [start_lsn, ...); the next one says where this one ends by its own start_lsn.
** Bytes: FORMAT.md, "Log segment". How replay tells a torn tail from damage: wal_reader.c.
**
** Threads: one writer at a time appends; wal_segment_sync may run beside an append.
*/
#ifndef FKV_WAL_WAL_H
#define FKV_WAL_WAL_H

#include "io/env.h"

/* Part of the file format: never renumber. */
typedef enum wal_type {
    WAL_PREPARE = 1, /* a transaction's records; decided by a later mark, or by recovery */
    WAL_COMMIT = 2,  /* mark: the prepare at `ref` is committed */
    WAL_ABORT = 3    /* mark: the prepare at `ref` is undone */
} wal_type;

enum {
    WAL_FLAG_SYNC = 1, /* this prepare was to be durable before it was acknowledged */
    WAL_FLAG_RUNS = 2, /* the payload names table files (spilled batch) instead of records */
    WAL_FLAG_HOST = 4  /* without a mark, the host database knows whether it was committed */
};

#define WAL_SEGMENT_HEADER 64u
#define WAL_RECORD_HEADER 48u

/* A record without its bytes. */
typedef struct wal_record {
    wal_type type;
    uint8_t flags;
    uint32_t count; /* records in the payload */
    uint64_t lsn;
    uint64_t first_seq; /* sequence of the first of them */
    uint64_t ref;       /* marks: the LSN they speak of */
    const uint8_t *payload;
    uint32_t size; /* of the payload, bytes; a multiple of 8 */
} wal_record;

/* -- writing -------------------------------------------------------------------------------- */

typedef struct wal_segment wal_segment;

/* Create segment `number` of the store `store_id`, durably (file and directory entry synced),
** beginning at start_lsn. */
FKV_MUST_CHECK fkv_status wal_segment_new(fkv_env *env, env_dir *dir, uint64_t store_id,
                                          uint64_t number, uint64_t previous, uint64_t start_lsn,
                                          wal_segment **out);
/* Open segment `number`, which this or another process has begun, to append at end_lsn. */
FKV_MUST_CHECK fkv_status wal_segment_attach(fkv_env *env, env_dir *dir, uint64_t store_id,
                                             uint64_t number, uint64_t end_lsn, wal_segment **out);
void wal_segment_moved(wal_segment *s, uint64_t end_lsn); /* another process has appended to it */
void wal_segment_free(wal_segment *s); /* closes it; does not sync; NULL is fine */

uint64_t wal_segment_number(const wal_segment *s);
uint64_t wal_segment_start(const wal_segment *s);
uint64_t wal_segment_end(const wal_segment *s); /* LSN after the last record */

/* Append a record. r->payload must have WAL_RECORD_HEADER writable bytes in front of it, which are
** overwritten; r->lsn is ignored. durable_lsn: everything below it is known to be synced; it goes
** into the record for replay to reason with. Space for `reserve_marks` marks behind it is allocated
** as well, so that those appends need none. On failure the segment is as it was. */
FKV_MUST_CHECK fkv_status wal_segment_append(wal_segment *s, const wal_record *r, uint8_t *payload,
                                             uint64_t durable_lsn, unsigned reserve_marks,
                                             uint64_t *lsn);

/* Append a mark (no payload). */
FKV_MUST_CHECK fkv_status wal_segment_mark(wal_segment *s, wal_type type, uint64_t ref,
                                           uint64_t durable_lsn);

/* Make all records appended before the call durable. *synced is the LSN they end at. */
FKV_MUST_CHECK fkv_status wal_segment_sync(wal_segment *s, uint64_t *synced);

/* -- reading -------------------------------------------------------------------------------- */

/* A segment's header, as far as recovery needs it. */
typedef struct wal_segment_info {
    uint64_t number, previous, start_lsn;
    uint8_t boot_id[16];
    int empty; /* created but never finished: holds nothing */
} wal_segment_info;

typedef struct wal_reader wal_reader;

/* Read segment `number` into memory. FKV_CORRUPT when its header is damaged or another store's. */
FKV_MUST_CHECK fkv_status wal_reader_open(fkv_env *env, env_dir *dir, uint64_t store_id,
                                          uint64_t number, wal_reader **out);
void wal_reader_close(wal_reader *r); /* NULL is fine */
const wal_segment_info *wal_reader_info(const wal_reader *r);

/* *blank = 1 if the segment holds nothing behind its header, whosever it is. */
FKV_MUST_CHECK fkv_status wal_segment_blank(fkv_env *env, env_dir *dir, uint64_t number,
                                            int *blank);

/* Next record: FKV_OK, FKV_NOTFOUND (not raised) at the end of the readable ones, FKV_CORRUPT when
** bytes that had been made durable are damaged. limit_lsn: where the segment is known to end (the
** next segment's start), or UINT64_MAX. Payload holds until close. */
FKV_MUST_CHECK fkv_status wal_reader_next(wal_reader *r, uint64_t limit_lsn, wal_record *out);

/* To save what can be saved: whatever the header is like, and whosever. *sure: it is known where
** the segment begins, because it is the header of this store or the first record proves it.
** FKV_NOTFOUND, FKV_IOERR, FKV_NOMEM. */
FKV_MUST_CHECK fkv_status wal_reader_open_damaged(fkv_env *env, env_dir *dir, uint64_t store_id,
                                                  uint64_t number, wal_reader **out, int *sure);

/* The next record, over what is damaged; 0 if there is none before limit_lsn. *skipped: the bytes
** passed over. */
int wal_reader_search(wal_reader *r, uint64_t limit_lsn, wal_record *out, uint64_t *skipped);

/* Bytes behind the last record, zeros at the end left out. */
uint64_t wal_reader_rest(const wal_reader *r);
uint64_t wal_reader_limit(const wal_reader *r); /* no record ends behind it */

/* A segment that others append to. Threads: one at a time. */
typedef struct wal_tail wal_tail;

/* FKV_NOTFOUND when there is no such file, FKV_CORRUPT as wal_reader_open, and also for a segment
** whose header is not written yet. Positioned on its first record. */
FKV_MUST_CHECK fkv_status wal_tail_open(fkv_env *env, env_dir *dir, uint64_t store_id,
                                        uint64_t number, wal_tail **out);
void wal_tail_close(wal_tail *t); /* NULL is fine */
const wal_segment_info *wal_tail_info(const wal_tail *t);
uint64_t wal_tail_position(const wal_tail *t); /* LSN of the next record */
void wal_tail_seek(wal_tail *t, uint64_t lsn); /* a record's LSN in this segment */

/* Next record before limit_lsn (a record's LSN too; UINT64_MAX: as far as they are valid).
** FKV_NOTFOUND (not raised): there is none. The payload holds until the next call. */
FKV_MUST_CHECK fkv_status wal_tail_next(wal_tail *t, uint64_t limit_lsn, wal_record *out);

/* LSN after the last record returned. */
uint64_t wal_reader_position(const wal_reader *r);

/* Highest durable_lsn that a valid record seen so far has claimed. */
uint64_t wal_reader_durable(const wal_reader *r);

#endif
