/*
** fastkv.h -- the public C interface of the fastkv storage engine.
**
** The engine is an LSM key-value store: it knows bytes, not SQL. Keys are ordered by memcmp.
** The SQLite extension in ext/ is built on this header alone, and a C program may use it the
** same way (libfastkv.a, see README).
**
** Objects and threads
**   fkv_store     one open store (a directory, or memory). Any thread may use it.
**   fkv_snapshot  a frozen view of a store. Any thread; released exactly once.
**   fkv_txn       a private batch of writes plus its read view. One thread at a time.
**   fkv_cursor    an ordered walk. One thread at a time; keeps alive all that it reads.
**
** Errors. Every function that can fail returns fkv_status and must be checked. The sentence
** that explains the last failure of the calling thread is fkv_errmsg(). On failure an output
** argument is left zeroed and nothing has changed unless the contract says otherwise.
**
** Memory. A slice never owns what it points to; its lifetime is stated where it is returned.
*/
#ifndef FASTKV_H
#define FASTKV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FKV_VERSION "0.1.0"

#define FKV_MUST_CHECK __attribute__((warn_unused_result))

/* What a call can come to. Numbers are part of the interface: append only. */
typedef enum fkv_status {
    FKV_OK = 0,
    FKV_NOTFOUND = 1,     /* no such key, file or directory */
    FKV_CORRUPT = 2,      /* stored bytes are damaged: fkv_errmsg() names file and offset */
    FKV_IOERR = 3,        /* the operating system refused a read or a write */
    FKV_IOERR_SYNC = 4,   /* an fsync failed: the store is read-only until it is reopened */
    FKV_NOMEM = 5,        /* out of memory; nothing changed */
    FKV_FULL = 6,         /* no space on the device; works again when there is */
    FKV_BUSY = 7,         /* somebody else holds what is needed; trying later may help */
    FKV_READONLY = 8,     /* the store, or its directory, cannot be written */
    FKV_CANTOPEN = 9,     /* a file or directory that should be there cannot be opened */
    FKV_INVALID = 10,     /* an argument is outside what the contract allows */
    FKV_UNSUPPORTED = 11, /* written by a newer version, or needs a codec this build lacks */
    FKV_TOOBIG = 12,      /* key or value over its limit */
    FKV_MISUSE = 13       /* the call order is wrong, or the handle belongs to another process */
} fkv_status;

/* A borrowed run of bytes. data may be NULL when size is 0. */
typedef struct fkv_slice {
    const uint8_t *data;
    size_t size;
} fkv_slice;

static inline fkv_slice fkv_slice_of(const void *data, size_t size)
{
    fkv_slice s;
    s.data = (const uint8_t *)data;
    s.size = size;
    return s;
}

/* Text of the calling thread's last failure; "" if there was none. Valid until the thread's
** next failure. Never NULL. */
const char *fkv_errmsg(void);

/* A constant lower-case name for a status: "corrupt", "busy" … Never NULL. */
const char *fkv_status_name(fkv_status status);

#define FKV_KEY_MAX ((size_t)1 << 28)   /* largest key, bytes */
#define FKV_VALUE_MAX ((size_t)1 << 30) /* largest value, bytes */

/* -- stores --------------------------------------------------------------------------------- */

typedef struct fkv_env fkv_env; /* io/env.h */
typedef struct fkv_store fkv_store;
typedef struct fkv_snapshot fkv_snapshot;
typedef struct fkv_txn fkv_txn;
typedef struct fkv_cursor fkv_cursor;

/* All zero = the defaults, which are meant to be right. */
typedef struct fkv_options {
    fkv_env *env;          /* NULL = the operating system */
    int create;            /* make the store when the directory has none */
    int read_only;         /* change nothing on disk; writes answer FKV_READONLY */
    size_t memory_bytes;   /* the one budget: memtables, cache, index, filters; 0 = 192 MB */
    uint32_t block_bytes;  /* data block target, 256 .. 1 MiB; 0 = 4096 */
    uint32_t bloom_bits;   /* filter bits per key + 1; 0 = default (10 bits), 1 = no filter */
    int codec;             /* 0 = LZ4 if this build has it, or none; else 1 + codec number
                           ** (fkv_codec_name) */
    int codec_level;       /* 0 = the codec's own default */
    size_t memtable_bytes; /* for tests: 0 = derived from memory_bytes */
    size_t table_bytes;    /* for tests: target size of a compacted table; 0 = default */
    int inline_background; /* for tests: flush and compact inside the committing call, no threads */

    /* Recovery has found that fkv_txn_prepare_hosted made `id` and does not know how it ended. Is
    ** it the last id that the host has committed? 1 yes, 0 no, -1 cannot be told now: then fkv_open
    ** answers FKV_BUSY. Called inside fkv_open. NULL: always -1. */
    int (*host_committed)(void *host_arg, uint64_t id);
    void *host_arg;

    /* A backup into this directory has ended early (fkv_backup_commit). Is this the stamp that the
    ** host database has, so that the new store is the right one? As above; NULL: always 0. */
    int (*host_stamped)(void *host_arg, uint64_t stamp);
} fkv_options;

/* Open the store in directory `path`. All opens of one directory in a process share one store
** object (whatever the spelling of the path); options of the first open hold. No thread is started
** and nothing is written until the first write.
**   FKV_NOTFOUND     no store there and options->create is not set
**   FKV_BUSY         another process has it open; the text says which
**   FKV_CORRUPT      damaged; the text says where
**   FKV_UNSUPPORTED  made by a newer version, or a codec is missing
** A store created here leaves no trace on disk unless a transaction was prepared in it. */
FKV_MUST_CHECK fkv_status fkv_open(const char *path, const fkv_options *options, fkv_store **out);

/* A store in memory, not shared with anybody, gone when closed. */
FKV_MUST_CHECK fkv_status fkv_open_memory(const fkv_options *options, fkv_store **out);

/* Give up one open. The last one flushes or syncs what the log holds, stops the threads and frees
** the store; every snapshot, transaction and cursor must be gone by then. NULL is fine. A failure
** to write at that point loses nothing: the log has it. */
void fkv_close(fkv_store *store);

/* 16 random bytes that name this store for ever. */
void fkv_uuid(const fkv_store *store, uint8_t out[16]);

/* -- transactions --------------------------------------------------------------------------- */

/* How much a commit survives. All of them survive the death of the process. */
typedef enum fkv_durability {
    FKV_SYNC = 0, /* power loss, from the moment prepare returns */
    FKV_BACKGROUND =
        1,       /* power loss, up to about a second later; older commits are never lost before
                        ** newer ones */
    FKV_NONE = 2 /* power loss loses a suffix of the commits of unknown length */
} fkv_durability;

/* A transaction object, idle. It may be used for any number of transactions, one after another:
** begin, writes, prepare, then commit or rollback. It belongs to one connection (thread at a
** time). */
FKV_MUST_CHECK fkv_status fkv_txn_new(fkv_store *store, fkv_txn **out);
void fkv_txn_free(fkv_txn *txn); /* rolls back what is open; NULL is fine */

/* Whom fkv_txn_begin and fkv_host_wait ask about a hosted transaction that a process which died has
** left in doubt: as fkv_options.host_committed. None: such a transaction stays in doubt, and they
** answer FKV_BUSY. `arg` has to live as long as the transaction object. */
void fkv_txn_set_host(fkv_txn *txn, int (*host_committed)(void *arg, uint64_t id), void *arg);

/* Become the store's only writer; waits up to timeout_ms for another one, then FKV_BUSY. No-op
** when already begun. FKV_READONLY, or FKV_IOERR_SYNC after a failed fsync: the store takes no
** writes. */
FKV_MUST_CHECK fkv_status fkv_txn_begin(fkv_txn *txn, uint32_t timeout_ms);
int fkv_txn_active(const fkv_txn *txn); /* begun, and not yet committed or rolled back */

/* REQUIRES (all four): begun. Bytes are copied. Later writes win over earlier ones. */
FKV_MUST_CHECK fkv_status fkv_txn_put(fkv_txn *txn, fkv_slice key, fkv_slice value);
FKV_MUST_CHECK fkv_status fkv_txn_put_expires(fkv_txn *txn, fkv_slice key, fkv_slice value,
                                              int64_t expires_ms); /* Unix time */
FKV_MUST_CHECK fkv_status fkv_txn_delete(fkv_txn *txn, fkv_slice key);
FKV_MUST_CHECK fkv_status fkv_txn_delete_range(fkv_txn *txn, fkv_slice from, fkv_slice to);

/* A number never used before in this store, for a keyspace whose keys will begin with its four
** big-endian bytes. It counts as used once this transaction is prepared. */
FKV_MUST_CHECK fkv_status fkv_txn_new_space(fkv_txn *txn, uint32_t *out);

/* Mark a point to come back to. O(1). Mark numbers stay valid until a rollback to an earlier one or
** the end of the transaction. fkv_txn_rollback_to cannot fail, keeps the mark, and may be repeated;
** mark 0 is the beginning. fkv_txn_release: marks at and after this one will not be used again. */
FKV_MUST_CHECK fkv_status fkv_txn_mark(fkv_txn *txn, uint64_t *out);
void fkv_txn_rollback_to(fkv_txn *txn, uint64_t mark);
void fkv_txn_release(fkv_txn *txn, uint64_t mark);

/* Do everything of a commit that can fail: log, space, memory, and the fsync if FKV_SYNC.
** Prepared is not committed: nobody else sees it, and unless fkv_txn_commit follows it is undone,
** also by a crash. It may be called again, and more writes may follow it. Nothing to do for an
** empty batch. */
FKV_MUST_CHECK fkv_status fkv_txn_prepare(fkv_txn *txn, fkv_durability durability);

/* The same for a transaction that commits together with a host database: whether it was committed
** is then decided by the host's commit, at every crash point. The caller writes *id, which is
** larger than every earlier one, into the host as part of the host's transaction, commits the host,
** and calls fkv_txn_commit. The log is durable before this returns unless durability is FKV_NONE:
** the host must not be able to outlive it. Called again without a write in between it gives the
** same id. *id is 0 for an empty batch. */
FKV_MUST_CHECK fkv_status fkv_txn_prepare_hosted(fkv_txn *txn, fkv_durability durability,
                                                 uint64_t *id);

/* Make the prepared writes visible to all, and the transaction idle. Cannot fail. REQUIRES:
** prepared with no write since; for a hosted transaction that the host's commit is as durable as
** the prepare was asked to be: from here on the host is not asked any more. */
void fkv_txn_commit(fkv_txn *txn);

/* Sync what SQLite leaves unsynced when it ends the rollback journal of the database file `host`:
** the journal, if there still is one, and the folder it was in. env NULL: the operating system.
** FKV_IOERR_SYNC, FKV_IOERR, FKV_NOMEM. */
FKV_MUST_CHECK fkv_status fkv_sync_host_journal(fkv_env *env, const char *host);

/* Forget the writes, prepared or not. Cannot fail. No-op when idle. */
void fkv_txn_rollback(fkv_txn *txn);

/* Roll back a hosted transaction whose id has gone into a host transaction that failed or was
** rolled back. The host may yet bring it back when it recovers from a crash (a frame of SQLite's
** WAL that was written and not synced), so the log keeps it in doubt, and until another hosted
** transaction has committed fkv_host_unsettled() is true: every transaction must then be hosted,
** to take its place in the host as well. Cannot fail. */
void fkv_txn_rollback_hosted(fkv_txn *txn);
int fkv_host_unsettled(fkv_store *store);

/* End a hosted transaction of which it is not known whether the host has committed it: the store
** takes no more writes until it is opened again, where recovery asks the host. Cannot fail. */
void fkv_txn_leave_in_doubt(fkv_txn *txn);

/* Number of writes in the batch that are not rolled back. */
uint64_t fkv_txn_writes(const fkv_txn *txn);

/* -- reading -------------------------------------------------------------------------------- */

/* The store as of now, without anybody's uncommitted writes. Cheap (no copy, no I/O); keeps alive
** the files and memtables it needs. Any thread may release it.
** FKV_BUSY: a store that is open for reading, whose writers have gone; how the last transaction of
** one of them has ended only the host knows: fkv_host_wait with a transaction that can ask it. */
FKV_MUST_CHECK fkv_status fkv_snapshot_new(fkv_store *store, fkv_snapshot **out);
void fkv_snapshot_release(fkv_snapshot *snapshot); /* NULL is fine */

/* The id of the last hosted transaction that is committed in this store; 0 = there was none. */
uint64_t fkv_host_id(fkv_store *store);

/* May somebody be in the middle of a commit, so that the host has it and fkv_host_id() not yet? */
int fkv_host_undecided(fkv_store *store);

/* Wait until hosted transaction `id` is committed here, whose host is. FKV_NOTFOUND if it is not
** after timeout_ms; the text says that the store is older than its host. FKV_BUSY: somebody is in
** the middle of it and does not go on. Finishes it, with the idle transaction object `txn`, if its
** process has died. With id 0: only catches up, which for a store that is open for reading may
** mean to ask the host. */
FKV_MUST_CHECK fkv_status fkv_host_wait(fkv_txn *txn, uint64_t id, uint32_t timeout_ms);

/* The store as it agrees with a snapshot of the host that holds the id `id`: with all hosted
** transactions up to it and none after it.
**   FKV_NOTFOUND  `id` is not committed here: its commit is under way, or the store is
**                 older than the host
**   FKV_BUSY      later hosted transactions can no longer be taken out of the view */
FKV_MUST_CHECK fkv_status fkv_snapshot_as_of(fkv_store *store, uint64_t id, fkv_snapshot **out);

/* Is there anything newer to be had: commits, or the same rows in fewer places? About a
** nanosecond. fkv_snapshot_behind: has anything been committed that it does not show? */
int fkv_snapshot_stale(const fkv_snapshot *snapshot);
int fkv_snapshot_behind(const fkv_snapshot *snapshot);

/* A pinned read result: valid until fkv_value_release, whatever happens to the store. A zeroed
** one may be released. Pins from an active transaction's own writes hold until that transaction
** ends. */
typedef struct fkv_value {
    fkv_slice value;
    int64_t expires_ms; /* 0 = never */
    void *pin;
} fkv_value;

/* Read one key as of snapshot, under txn's own writes when txn is not NULL and active. FKV_NOTFOUND
** (without a text) when absent, deleted or expired. */
FKV_MUST_CHECK fkv_status fkv_get(fkv_snapshot *snapshot, fkv_txn *txn, fkv_slice key,
                                  fkv_value *out);
void fkv_value_release(fkv_value *value);

/* An ordered walk over the same view. The cursor keeps the snapshot (by reference) and the writes
** that txn had at this moment: what the transaction writes, rolls back or commits afterwards does
** not disturb it. txn may be NULL. Costs no I/O until it is positioned. */
FKV_MUST_CHECK fkv_status fkv_cursor_new(fkv_snapshot *snapshot, fkv_txn *txn, fkv_cursor **out);
void fkv_cursor_free(fkv_cursor *cursor); /* NULL is fine */

/* Walk only keys in [from, to); an empty `from` is the beginning, to.data == NULL the end. The
** bytes are copied. Leaves the cursor on nothing. */
FKV_MUST_CHECK fkv_status fkv_cursor_bounds(fkv_cursor *cursor, fkv_slice from, fkv_slice to);

/* Move. After each: fkv_cursor_valid, and if not, fkv_cursor_status (FKV_OK = no such row). */
void fkv_cursor_first(fkv_cursor *cursor);
void fkv_cursor_last(fkv_cursor *cursor);
void fkv_cursor_seek(fkv_cursor *cursor, fkv_slice key); /* first row at or after key */
void fkv_cursor_next(fkv_cursor *cursor);                /* REQUIRES: valid */
void fkv_cursor_prev(fkv_cursor *cursor);                /* REQUIRES: valid */
int fkv_cursor_valid(const fkv_cursor *cursor);
fkv_status fkv_cursor_status(const fkv_cursor *cursor);

/* REQUIRES (all three): valid. Slices hold until the cursor moves or is freed. */
fkv_slice fkv_cursor_key(const fkv_cursor *cursor);
fkv_slice fkv_cursor_value(const fkv_cursor *cursor);
int64_t fkv_cursor_expires_ms(const fkv_cursor *cursor); /* 0 = never */

/* The clock by which rows expire, Unix time. It never goes back while the store is open, nor behind
** what the manifest has seen: where the machine's clock is set back, time stands still here until
** that has caught up, and nothing that has expired returns. */
int64_t fkv_clock_ms(fkv_store *store);

/* Roughly how many rows and bytes [from, to) holds (bounds as fkv_cursor_bounds). Reads no data
** blocks; may open tables. Never fails: an unreadable part counts as nothing. */
void fkv_estimate(fkv_store *store, fkv_slice from, fkv_slice to, uint64_t *rows, uint64_t *bytes);

/* Change memory_bytes, block_bytes, bloom_bits, codec and codec_level of an open store, those that
** are not 0: for the cache at once, for memtables at the next open, for tables as they are written.
** FKV_INVALID or FKV_UNSUPPORTED (a codec this build lacks): nothing is changed. */
FKV_MUST_CHECK fkv_status fkv_configure(fkv_store *store, const fkv_options *options);

/* How rows of a keyspace are compressed in files that are written from now on: codec and level as
** in fkv_options, 0 = as all that have no codec of their own. Becomes durable with the next change
** of the store's files. FKV_UNSUPPORTED; FKV_TOOBIG: 256 keyspaces have one already. */
FKV_MUST_CHECK fkv_status fkv_set_codec(fkv_store *store, uint32_t space, int codec, int level);

/* Keep the log for the change feed below: this many bytes of it, or the log of this many
** milliseconds; both 0: none. Becomes durable with the next transaction or change of the store's
** files, and holds for all that open the store; changes from then on are kept. */
void fkv_keep_changes(fkv_store *store, uint64_t bytes, uint64_t ms);

/* The name of codec number 0 to 3, as in options: "none", "zlib", "lz4", "zstd". NULL: this build
** lacks it, or there is no such number. */
const char *fkv_codec_name(int codec);

/* -- the change feed (store/changes.c) ------------------------------------------------------ */

typedef enum fkv_change_kind {
    FKV_CHANGE_PUT = 1,
    FKV_CHANGE_DELETE = 2,
    FKV_CHANGE_DELETE_RANGE = 3 /* keys from `key` up to `value`, which stays */
} fkv_change_kind;

typedef struct fkv_change {
    uint64_t seq; /* grows */
    fkv_change_kind kind;
    fkv_slice key, value;
    int64_t expires_ms; /* 0 = never */
} fkv_change;

typedef struct fkv_changes fkv_changes;

/* Walk over what has been committed after the change numbered `since`, in the order of the commits,
** up to now. Of one large transaction (larger than a memtable) there is, in parts of it, the last
** change of each key only. Others may write meanwhile. A transaction whose end a store that is open
** for reading has had to ask the host for is in it once somebody may write that down.
** FKV_INVALID: no changes are kept (fkv_keep_changes), `since` is yet to come, or more is asked for
** than is kept (fkv_changes_oldest). FKV_BUSY: as fkv_snapshot_new. */
FKV_MUST_CHECK fkv_status fkv_changes_new(fkv_store *store, uint64_t since, fkv_changes **out);

/* The next one: FKV_NOTFOUND (not raised) when there are no more, or an error. Slices hold until
** the next call. */
FKV_MUST_CHECK fkv_status fkv_changes_next(fkv_changes *changes, fkv_change *out);
void fkv_changes_free(fkv_changes *changes); /* NULL is fine */

/* Another number after the log may have lost its end (with the power), and in a backup or what is
** restored from one: sequences are given out again, and what was read before does not count. */
uint64_t fkv_changes_generation(const fkv_changes *changes);

/* The smallest `since` that can be asked for. FKV_INVALID as above. */
FKV_MUST_CHECK fkv_status fkv_changes_oldest(fkv_store *store, uint64_t *since);

/* -- upkeep --------------------------------------------------------------------------------- */

/* Write the memtable to a table and wait for it. */
FKV_MUST_CHECK fkv_status fkv_flush(fkv_store *store);

/* Flush, then merge all tables that overlap [from, to) down to the last level, and wait. */
FKV_MUST_CHECK fkv_status fkv_compact(fkv_store *store, fkv_slice from, fkv_slice to);

/* Make every commit so far durable, those of other processes too. */
FKV_MUST_CHECK fkv_status fkv_sync(fkv_store *store);

/* Flush, and do all background work that is due or that an idle second would bring. */
FKV_MUST_CHECK fkv_status fkv_settle(fkv_store *store);

/* Verify every checksum, the order of keys and the shape of levels. FKV_CORRUPT with file and
** offset at the first damage. */
FKV_MUST_CHECK fkv_status fkv_verify(fkv_store *store);

/* -- checking and salvage ------------------------------------------------------------------- */

typedef enum fkv_severity {
    FKV_FOUND_OK = 0, /* the last finding, when nothing is wrong */
    FKV_FOUND_INFO,
    FKV_FOUND_WARNING, /* nothing is lost for sure, or something of which it is not known what */
    FKV_FOUND_ERROR    /* damage */
} fkv_severity;

#define FKV_NO_OFFSET UINT64_MAX

/* What a check or a salvage has found. The texts hold during the call. */
typedef struct fkv_finding {
    fkv_severity severity;
    const char *file; /* its name in the store's directory; "" = the store as a whole */
    uint64_t offset;  /* where in the file; FKV_NO_OFFSET = nowhere in particular */
    uint64_t rows;    /* fkv_recover: entries saved from the file */
    uint64_t bytes;   /* fkv_recover: bytes that are lost */
    const char *text;
} fkv_finding;

/* "ok", "info", "warning", "error". Never NULL. */
const char *fkv_severity_name(fkv_severity severity);

typedef enum fkv_check_level {
    FKV_CHECK_QUICK = 1, /* the manifest, which files there are, their sizes, headers, footers,
                         ** indexes and filters */
    FKV_CHECK_FULL = 2,  /* and every checksum, in tables and log */
    FKV_CHECK_DEEP = 3   /* and every entry: order and bounds of keys, index and filter find every
                         ** key, counts, rows */
} fkv_check_level;

/* Callbacks that do not answer FKV_OK end the check, with their answer. */
typedef struct fkv_checker {
    fkv_status (*found)(void *arg, const fkv_finding *finding);
    fkv_status (*proceed)(void *arg); /* called every few kilobytes; or NULL */
    /* FKV_CHECK_DEEP: what is wrong with this row (a text that holds until the next call), or NULL.
    ** Also called for rows that are deleted or overwritten. Or NULL. */
    const char *(*row)(void *arg, fkv_slice key, fkv_slice value);
    fkv_slice from,
        to; /* only data blocks that may hold keys in [from, to); to.data == NULL: all */
    void *arg;
} fkv_checker;

/* Look for damage on disk, and go on after the first. Others may read and write meanwhile: what is
** checked is what was committed when it began. FKV_OK whatever was found. */
FKV_MUST_CHECK fkv_status fkv_check(fkv_store *store, fkv_check_level level,
                                    const fkv_checker *checker);

/* What fkv_recover is told, and whom it tells. All zero but `found` is fine. */
typedef struct fkv_salvage {
    fkv_env *env;        /* NULL = the operating system */
    const char *parent;  /* a directory to be made before the new store, or NULL */
    const uint8_t *uuid; /* 16 bytes, the id that the store should have: another one is refused;
                         ** NULL = not known */
    uint64_t host_id;    /* of the last hosted transaction that the host has committed; 0 = none */
    int (*host_committed)(void *host_arg, uint64_t id);  /* as fkv_options.host_committed */
    int (*host_stamped)(void *host_arg, uint64_t stamp); /* as fkv_options.host_stamped; or NULL */
    void *host_arg;
    fkv_status (*found)(void *arg, const fkv_finding *finding);
    fkv_status (*proceed)(void *arg); /* as fkv_checker.proceed; or NULL */
    void *arg;
} fkv_salvage;

/* Copy every row that can be read in the store at `from`, whatever is damaged or missing there, to
** a new store at `to`, which takes its place: same id, same keyspaces. Nothing at `from` is
** changed, and no process may have it open (FKV_BUSY). Tells of each file and of each piece that is
** lost. FKV_INVALID: there is a store at `to` already. On failure `to` is to be thrown away. */
FKV_MUST_CHECK fkv_status fkv_recover(const char *from, const char *to, const fkv_salvage *how);

/* -- backup (store/backup.c) ---------------------------------------------------------------- */

/* The store as it was at one moment, on its way into another directory. */
typedef struct fkv_backup fkv_backup;

typedef struct fkv_backup_result {
    uint64_t files;  /* tables of the copy */
    uint64_t kept;   /* of these: were there already, from an older backup */
    uint64_t linked; /* share their bytes with the store */
    uint64_t copied; /* were written anew, also from memory */
    uint64_t bytes_copied;
} fkv_backup_result;

/* Take the store as of now. txn is begun and has written nothing: so nobody commits meanwhile, and
** whatever is to be copied together with the store can be taken at the same moment; then end it.
** NULL for a store that is open for reading only; FKV_BUSY if somebody else writes to it. The store
** must stay open until fkv_backup_free. */
FKV_MUST_CHECK fkv_status fkv_backup_new(fkv_store *store, fkv_txn *txn, fkv_backup **out);

/* Put it into directory `name` of directory `parent`; both are made if they are not there. A backup
** that is there stays as it is, for the time being, and its files are used again where they are the
** same. *stamp is the number by which a host database that is copied along tells whether it belongs
** to this backup; older_stamp is what the host in `parent` has now, 0 = there is none. result may
** be NULL.
**   FKV_BUSY     the store there is open
**   FKV_INVALID  it is the store itself */
FKV_MUST_CHECK fkv_status fkv_backup_write(fkv_backup *backup, const char *parent, const char *name,
                                           uint64_t older_stamp, uint64_t *stamp,
                                           fkv_backup_result *result);

/* Make it the one that counts: rename the host database `from` to `to` in `parent` (NULL: there is
** none, or it is in place already), then let the store follow. After a crash or a failure in
** between, fkv_options.host_stamped tells which of the two is to be opened. */
FKV_MUST_CHECK fkv_status fkv_backup_commit(fkv_backup *backup, const char *from, const char *to);

/* Without fkv_backup_commit nothing remains of it. NULL is fine. */
void fkv_backup_free(fkv_backup *backup);

#define FKV_LEVELS 7

typedef struct fkv_stats {
    uint64_t memtable_bytes, memtable_entries;       /* the one being written */
    uint64_t immutable_memtables, immutable_entries; /* those of other processes as well */
    uint64_t level_files[FKV_LEVELS], level_bytes[FKV_LEVELS], level_entries[FKV_LEVELS];
    uint64_t last_sequence;   /* writes committed in the store's life */
    uint64_t log_bytes;       /* log that an open would replay now */
    uint64_t feed_bytes;      /* log that is kept beside that, for fkv_changes */
    uint64_t feed_generation; /* as fkv_changes_generation; 0 = no changes are kept */
    uint64_t log_replayed;    /* records replayed when this store was opened */
    uint64_t cache_hits, cache_misses, cache_bytes, cache_capacity;
    uint64_t bytes_put; /* keys and values committed since open */
    uint64_t bytes_logged, bytes_flushed, bytes_compacted; /* written since open */
    uint64_t flushes, compactions;
    uint64_t stall_us;               /* time commits were held back since open */
    uint64_t gets, seeks, rows_read; /* since open; rows_read counts rows cursors returned */
    uint64_t entries_skipped;        /* shadowed, deleted or expired entries cursors passed over */
    uint64_t get_p50_ns, get_p99_ns; /* point reads: half of them, 99 in 100 took no longer */
    uint64_t seek_p50_ns, seek_p99_ns;     /* positionings of cursors; these two are sampled */
    uint64_t commit_p50_ns, commit_p99_ns; /* of fkv_txn_prepare to fkv_txn_commit */
    uint64_t compaction_debt;              /* bytes to compact until every level has its size */
    uint64_t flush_done, flush_total; /* bytes of the flush that is running here; total 0 = none */
    uint64_t compact_done, compact_total; /* the same of the compaction */
    uint64_t flush_rate, compact_rate;    /* bytes per second, of late */
    uint64_t backup_done, backup_total;   /* bytes of the backup that is being written here */
} fkv_stats;

void fkv_stats_read(fkv_store *store, fkv_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* FASTKV_H */
