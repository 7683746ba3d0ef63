/*
** store.h -- the open store, seen from inside store/.
**
** Who may touch what
**   mu            guards every field marked "mu"; held for moments only, never across I/O.
**   the writer    (the transaction that holds the writer lock) owns the fields marked "writer":
**                 the log's tail, the active memtable, last_seq.
**   the follower  (the holder of follow_mutex) reads what other processes have appended to the log,
**                 and then owns the same fields: while a transaction of this process holds the
**                 writer lock there is nothing to read; newer manifests are taken up all the same.
**   the installer (whoever has set `installing`) may change the version: one at a time, so that the
**                 manifest on disk and the version in memory move together. It does its I/O with mu
**                 released. With other processes about, it holds LOCK_INSTALL as well.
** Order of locks: the process-wide lock of the env (registry), LOCK_CLOSE, the writer lock,
** follow_mutex, the install right, then mu, then table_home.mutex and pin_mutex.
*/
#ifndef FKV_STORE_STORE_H
#define FKV_STORE_STORE_H

#include <stdatomic.h>

#include "base/coding.h"
#include "base/histogram.h"
#include "compact/compact.h"
#include "mem/batch.h"
#include "mem/memtable_share.h"
#include "store/share.h"
#include "version/manifest.h"
#include "wal/wal.h"

/* What a reader needs, in one pinned piece: immutable, counted by reference. (The name is
** RocksDB's.) */
typedef struct superversion {
    _Atomic uint32_t refs;
    fkv_store *store;
    uint64_t edit;       /* the manifest that `tables` come from; pinned */
    uint64_t run;        /* the newest table among them that it does not name; pinned; 0 = none */
    uint64_t tables_seq; /* no table of it holds a sequence above this */
    memtable *active;
    memtable **sealed; /* newest first; not yet in a table */
    size_t sealed_count;
    size_t due; /* of them our own: to be flushed. (Those that are borrowed are the oldest.) */
    version *tables;
} superversion;

/* A segment of the log that is still needed. */
typedef struct log_entry {
    uint64_t number, start_lsn;
    wal_segment *segment; /* open for syncing and appending; NULL: from before this open */
    int synced;           /* all of it is durable */
    int syncing;          /* a thread is at it with mu released: do not close */
    uint64_t first_seq;   /* of its first transaction, once that is known (keep.c) */
} log_entry;

typedef struct store_counters {
    _Atomic uint64_t bytes_put, bytes_logged, bytes_flushed, bytes_compacted;
    _Atomic uint64_t flushes, compactions, stall_us, gets, seeks, rows_read, skipped;
    histogram get_ns, seek_ns; /* of every SAMPLE_GETS-th, every SAMPLE_SEEKS-th */
    histogram commit_ns;       /* from prepare to visible */
} store_counters;

enum { SAMPLE_GETS = 64, SAMPLE_SEEKS = 16 };

/* What recovery has decided and has yet to write. */
typedef struct recovery_debt {
    uint64_t cut;      /* segments from this number on are to go; 0 = none */
    int shorter;       /* the log ends before the manifest's tables_lsn */
    uint64_t ref;      /* LSN of the PREPARE in doubt */
    int flush;         /* a commit was decided that no mark can tell: write tables */
    wal_type decision; /* on it; 0 = none */
    uint8_t *runs;     /* aborted: its payload, which names runs; or NULL */
    uint32_t runs_size;
} recovery_debt;

typedef struct store_pin {
    uint64_t edit;
    size_t count;
} store_pin;

/* A table that goes when no other process can read it any more (pin.c). */
typedef struct doomed_file {
    uint64_t number, edit;
} doomed_file;

/* A spilled transaction's table that no manifest names yet. */
typedef struct loose_file {
    uint64_t lsn;
    file_meta *file;
} loose_file;

/* Where a reader of the change feed has ended: the transactions up to seq lie before lsn. */
typedef struct change_hint {
    uint64_t seq, lsn;
} change_hint;

enum { CHANGE_HINTS = 8 };

/* Keys without a live row (dead.c). */
typedef struct dead_run {
    buf from, to; /* both empty: not in use */
    uint64_t seq; /* for snapshots from here on */
} dead_run;

enum { DEAD_RUNS = 8, DEAD_RUN_MIN = 64 /* entries walked over that are worth a note */ };

struct fkv_store {
    fkv_env *env;
    fkv_env *own_env;    /* a memory env to be freed with the store, or NULL */
    fkv_options options; /* defaults filled in */
    pick_options pick;
    table_options table; /* mu */
    codec_rules codecs;  /* mu; set in this process: they come over the manifest's */
    char *path;
    env_dir *dir;
    env_file *lock;
    env_file *old_lock; /* of a store first opened for reading: its pins hold to the end */
    sharing sharing;
    _Atomic(shared_page *) page; /* what holds: one of the following two */
    _Atomic(shared_page *) mapped;
    shared_page *own_page, *old_mapped;
    uint64_t session;            /* the page's, as we know it */
    _Atomic uint64_t quiet_lsn;  /* SHARING_ALONE: committed_lsn when nobody was there, */
    _Atomic uint64_t quiet_edit; /* and edit */
    uint64_t process;            /* our number on the page; SHARING_FULLY */
    int first;                   /* LOCK_LIVE is held exclusively; at open */
    env_identity identity;
    uint8_t uuid[16];     /* settled at open */
    uint32_t opens;       /* registry lock */
    fkv_store *next_open; /* registry lock */
    int fresh;            /* created here and nothing prepared yet: leaves no trace; writer */

    uint32_t born;         /* env->fork_count when it was opened */
    _Atomic int read_only; /* changes from 1 to 0 when somebody opens it for writing */
    _Atomic int half_read; /* loading it anew has failed: what is in memory is not all there is */

    env_mutex *mu;
    env_cond *changed;   /* anything below changed, but for the following two */
    env_cond *committed; /* the writer lock is free, or a hosted transaction is committed. (The
                         ** background threads have no part in that: waking them at every commit
                         ** costs more than the commit.) */
    int waiting;         /* mu; threads that wait for `committed` */
    table_home home;

    manifest man;    /* mu; as last saved or read */
    int keep_wanted; /* mu; and not in a manifest yet: */
    uint64_t keep_bytes, keep_ms;
    int keep_anew;                   /* mu; sequences may be given out again: a new generation */
    uint64_t next_generation;        /* mu; random, then counted on */
    int keep_gap;                    /* mu; changes up to now are not all in the log */
    change_hint hints[CHANGE_HINTS]; /* mu */
    unsigned next_hint;              /* mu */
    superversion *current;           /* mu */
    superversion *previous;          /* mu; before the last flush, kept a moment: see kept_view() */
    uint64_t previous_seq;           /* mu; visible_seq when it was replaced */
    uint64_t previous_until_us;      /* mu */
    env_mutex *follow_mutex;
    _Atomic uint64_t followed;          /* the log is applied up to this LSN; changes under mu */
    _Atomic uint64_t seen_edit;         /* man.edit, for readers */
    wal_tail *tail;                     /* follower; where it reads, or NULL */
    loose_file *loose;                  /* mu */
    size_t loose_count, loose_capacity; /* mu */
    env_mutex *pin_mutex;               /* and below: */
    store_pin *pins;
    size_t pin_count, pin_capacity;
    doomed_file *doomed;
    size_t doomed_count, doomed_capacity;
    _Atomic uint64_t epoch;       /* counts changes of current */
    _Atomic uint64_t visible_seq; /* what new snapshots see */
    env_mutex *dead_mutex;        /* the innermost lock; and below: */
    dead_run dead[DEAD_RUNS];
    unsigned dead_next;
    _Atomic uint32_t dead_count;    /* in use */
    _Atomic uint64_t announced_seq; /* rows up to here are, or will be in a moment, visible */
    int installing;                 /* mu */
    int rebuilding;                 /* mu; no snapshots now */
    int loading;                    /* the opener's own */
    int compacting;                 /* mu; a compaction is running: one at a time */
    int draining;                   /* mu; threads that wait for all memtables to be flushed */

    fkv_txn *writer;      /* mu; holds the writer lock */
    memtable_spare spare; /* of those that this process seals */
    memtable *active;     /* writer; current->active, which keeps it alive */
    uint64_t last_seq;    /* writer */
    wal_segment *log;     /* writer; NULL until the first write */
    int unsure;           /* writer; the log may hold a transaction that is not decided */
    log_entry *logs;      /* mu; oldest first; the last one is `log` */
    size_t log_count, log_capacity;
    uint64_t host_id;            /* mu; last hosted transaction committed */
    uint64_t tables_seq;         /* mu; no table holds a sequence above it */
    host_points points;          /* mu */
    _Atomic int writing;         /* there has been a write since open */
    size_t memtable_room;        /* mu; for so many memtables the cache leaves room */
    uint64_t replayed;           /* records replayed at open */
    recovery_debt unwritten;     /* at open */
    _Atomic int64_t clock_floor; /* latest moment that fkv_clock_ms has told */

    /* background: mu */
    env_thread *flusher, *compactor, *syncer;
    _Atomic int stopping;
    int closing;                /* the last close: no thread is started any more */
    int compact_idle;           /* the compactor found nothing to do for the current version */
    uint64_t unsynced_since_us; /* first unsynced background commit; 0 = none */
    _Atomic uint64_t flush_done, flush_total;     /* bytes of the flush that is running; 0 = none */
    _Atomic uint64_t compact_done, compact_total; /* the same of the compaction */
    _Atomic uint64_t flush_rate;                  /* bytes per second, smoothed */
    _Atomic uint64_t compact_rate;
    _Atomic uint64_t backup_done, backup_total; /* bytes of the backup that is being written */
    _Atomic uint64_t debt;                      /* pick_debt of current->tables */
    _Atomic uint32_t level0_files;
    _Atomic uint32_t sealed_memtables;

    /* A failed fsync is final: no writes until the store is opened anew. mu; poisoned is also read
    ** without it, and is on the page for the other processes. */
    _Atomic int poisoned;
    char poison_text[256];
    fkv_status trouble; /* failure of the last flush, e.g. FKV_FULL; retried; mu */
    char trouble_text[256];

    store_counters counters;
};

enum {
    SEALED_MAX = 2, /* writers wait when this many memtables are waiting to be flushed */
    CLOSE_FLUSH_BYTES = 256 << 10, /* a last close flushes a memtable larger than this, … */
    CLOSE_LOGS_MAX = 4             /* … or out of more segments than these */
};

struct fkv_snapshot {
    _Atomic uint32_t refs;
    fkv_store *store;
    superversion *view;
    uint64_t seq, epoch;
};

static inline shared_page *store_page(const fkv_store *s)
{
    return atomic_load_explicit(&s->page, memory_order_relaxed);
}

/* Has an fsync failed, here or in another process? */
static inline int store_poisoned(const fkv_store *s)
{
    return atomic_load_explicit(&s->poisoned, memory_order_relaxed) ||
           atomic_load_explicit(&store_page(s)->poisoned, memory_order_relaxed);
}

/* Is this the child of the process that opened the store? Then nothing of it may be used. */
static inline int store_forked(const fkv_store *s)
{
    return s->env->fork_count(s->env) != s->born;
}
/* The error for that. */
FKV_MUST_CHECK fkv_status store_fork_error(const fkv_store *s);

/* -- superversion.c -- */
/* A hosted transaction is committed; before its sequence becomes visible. mu held. */
void store_note_host(fkv_store *s, uint64_t id, uint64_t seq_before);
/* Wait for `committed`. mu held. */
void store_await_commit(fkv_store *s, uint64_t timeout_us);
/* Takes references of its own and a pin on `edit`; `skip` is left out of sealed. */
FKV_MUST_CHECK fkv_status superversion_new(fkv_store *s, uint64_t edit, memtable *active,
                                           memtable *const *sealed, size_t sealed_count,
                                           const memtable *skip, version *tables,
                                           superversion **out);
/* With the sealed memtables of now that hold anything from lsn on. mu held. */
FKV_MUST_CHECK fkv_status superversion_after(fkv_store *s, uint64_t edit, uint64_t lsn,
                                             memtable *active, version *tables, superversion **out);
/* That of now, with `fresh` as the active memtable and the old active one sealed. */
FKV_MUST_CHECK fkv_status superversion_seal(const superversion *now, memtable *fresh,
                                            superversion **out);
void superversion_ref(superversion *v);
void superversion_unref(superversion *v);  /* NULL is fine */
superversion *store_current(fkv_store *s); /* referenced; takes mu */
/* The tables as of now, for what takes long: a superversion would keep memtables in memory. Takes
** mu. On failure there is nothing to release. */
typedef struct held_tables {
    fkv_store *store;
    version *tables;
    uint64_t edit;
} held_tables;
FKV_MUST_CHECK fkv_status store_hold_tables(fkv_store *s, held_tables *out);
void store_release_tables(held_tables *h);
void store_publish(fkv_store *s, superversion *next); /* mu held; consumes the reference */
void store_let_previous_go(fkv_store *s);             /* when its moment is over; mu held */
void store_forget_previous(fkv_store *s);             /* mu held */

/* -- share.c -- */
/* Come to the store: `lock` open, `page` there, `sharing` settled. s->first: nobody else writes,
** and it is ours to recover and then to call store_open_page. FKV_BUSY: somebody else has it and
** does not share, or has been opening or closing it for ten seconds. */
FKV_MUST_CHECK fkv_status store_join(fkv_store *s);
FKV_MUST_CHECK fkv_status store_open_page(fkv_store *s);
void store_leave(fkv_store *s);
/* Does the page speak of a session that is under way? */
int store_page_is_ready(fkv_store *s);
/* The read-only half of it, once more: others have come or gone. */
FKV_MUST_CHECK fkv_status store_join_reading(fkv_store *s);

/* 1, and LOCK_LIVE exclusively, if no other process has the store open for writing. */
int store_alone(fkv_store *s);
void store_not_alone(fkv_store *s);

/* Lock a byte against other processes, trying for timeout_ms. FKV_BUSY. No-op where nothing is
** shared: threads of this process have mutexes. */
FKV_MUST_CHECK fkv_status store_lock(fkv_store *s, uint64_t byte, uint32_t timeout_ms);
void store_unlock(fkv_store *s, uint64_t byte);

/* The same for the right to write (share.h). REQUIRES: this thread's transaction is s->writer. */
FKV_MUST_CHECK fkv_status store_lock_writer(fkv_store *s, uint32_t timeout_ms);
void store_unlock_writer(fkv_store *s);

/* -- pin.c -- */
FKV_MUST_CHECK fkv_status store_pin_edit(fkv_store *s, uint64_t edit);
void store_unpin_edit(fkv_store *s, uint64_t edit);
void store_change_lock(fkv_store *s, env_file *lock); /* the file that pins are locks on; or NULL */
void store_remove_table(void *store, uint64_t number, uint64_t edit); /* table_home.remove */
void store_remove_doomed(fkv_store *s); /* those that nobody reads any more */

/* A number for a file or a manifest; any thread. store_new_number is for table files, which no
** sweep removes until store_made says that a manifest names it. */
uint64_t store_take_number(fkv_store *s);
FKV_MUST_CHECK fkv_status store_new_number(void *store, uint64_t *out);
void store_made(fkv_store *s, uint64_t number);

/* Remove what dead processes have left. The writer's, before this process makes files of its
** own. */
FKV_MUST_CHECK fkv_status store_sweep(fkv_store *s);

/* -- follow.c -- */
/* SHARING_ALONE: has anybody come to write? They begin a session; or they go on with the last one,
** if they met somebody who was just leaving, and then it shows when they write. (Zeros: a session
** is being begun, and its number will follow.) */
static inline int store_has_company(const fkv_store *s)
{
    const shared_page *page = atomic_load(&s->mapped);
    uint64_t lsn, edit;

    if (!page) return 0;
    lsn = atomic_load_explicit(&page->committed_lsn, memory_order_acquire);
    edit = atomic_load_explicit(&page->edit, memory_order_acquire);
    return atomic_load_explicit(&page->session, memory_order_acquire) != s->session ||
           (lsn && lsn != atomic_load(&s->quiet_lsn)) ||
           (edit && edit != atomic_load(&s->quiet_edit));
}

/* Has any process committed what this one has not seen, or is there a newer manifest? */
static inline int store_behind(const fkv_store *s)
{
    const shared_page *page = store_page(s);

    if (atomic_load_explicit(&s->half_read, memory_order_relaxed)) return 1;
    if (s->sharing == SHARING_NOT) return 0;
    if (s->sharing == SHARING_ALONE) return store_has_company(s);
    return atomic_load_explicit(&page->committed_lsn, memory_order_acquire) >
               atomic_load_explicit(&s->followed, memory_order_acquire) ||
           atomic_load_explicit(&page->edit, memory_order_acquire) >
               atomic_load_explicit(&s->seen_edit, memory_order_acquire) ||
           (s->sharing == SHARING_READS &&
            atomic_load_explicit(&page->session, memory_order_acquire) != s->session);
}

/* Catch up. Any thread, with none of the locks. */
FKV_MUST_CHECK fkv_status store_follow(fkv_store *s);
/* The same, with a host to ask if a store that is open for reading has to be recovered for that. */
FKV_MUST_CHECK fkv_status store_follow_asking(fkv_store *s, const fkv_txn *asker);
/* A store that is open for reading, and whose last writer may have died: decide what it left. */
FKV_MUST_CHECK fkv_status store_read_alone(fkv_store *s, const fkv_txn *asker);
/* The writer's: a process died in the middle of a transaction; decide it. */
FKV_MUST_CHECK fkv_status store_take_over(fkv_txn *t);
/* The same, by the holder of follow_mutex. */
FKV_MUST_CHECK fkv_status store_catch_up(fkv_store *s);
/* Read the newest manifest and pin its tables: store_unpin_edit(m->edit). */
FKV_MUST_CHECK fkv_status store_newest_manifest(fkv_store *s, manifest *m, version **tables);
/* Take the state of manifest m and its tables, with an empty memtable. mu not held. */
FKV_MUST_CHECK fkv_status store_start_at(fkv_store *s, const manifest *m, version *tables);

/* The same with `count` sealed memtables, newest first, that end where `reach` says, and the hosted
** transactions before that. */
FKV_MUST_CHECK fkv_status store_start_with(fkv_store *s, const manifest *m, version *tables,
                                           memtable *const *sealed, size_t count,
                                           const memtable_reach *reach, const host_points *points);

/* -- borrow.c -- */
/* A new memtable, where others can borrow it if it may come to that. for_writing: this process
** writes to it, and makes more of them. */
FKV_MUST_CHECK fkv_status store_new_memtable(fkv_store *s, int for_writing, uint64_t base_seq,
                                             memtable **out);
/* m, which is empty, gets what is committed from from_lsn on; all up to end_lsn is committed, and
** in tables. mu held; likewise: */
void store_begin_memtable(fkv_store *s, memtable *m, uint64_t from_lsn, uint64_t end_lsn);
/* The same for what comes after the active memtable, which has all before lsn. */
void store_continue_memtable(fkv_store *s, memtable *m, uint64_t lsn);
/* What is committed up to here is in the active memtable. mu held. */
void store_tell(fkv_store *s, uint64_t end_lsn);
/* Let others borrow what is in memory. The writer's, or before others are let in. mu held. */
void store_offer(fkv_store *s);
/* store_start_at with what others offer. FKV_NOTFOUND (not raised): it does not reach. */
FKV_MUST_CHECK fkv_status store_borrow(fkv_store *s, const manifest *m, version *tables);

/* -- load.c -- */
/* Load what there is, as s->sharing wants it: follow others, or recover. FKV_NOTFOUND: there is no
** store yet. Replaces what was loaded before. */
FKV_MUST_CHECK fkv_status store_load(fkv_store *s);
/* The follower's, of a store that is open for reading: others have come or gone. */
FKV_MUST_CHECK fkv_status store_rejoin(fkv_store *s);
/* No snapshot is made in between. */
void store_begin_rebuilding(fkv_store *s);
void store_end_rebuilding(fkv_store *s);
/* How did the PREPARE w end, in a segment of that boot, whose process or life is over? *commit.
** asker has the host to ask (NULL: the options'). FKV_BUSY: cannot be told. */
FKV_MUST_CHECK fkv_status store_decide(fkv_store *s, const fkv_txn *asker, const wal_record *w,
                                       const uint8_t boot_id[16], int *commit);
void store_set_position(fkv_store *s, uint64_t seq, uint64_t lsn); /* mu */
void store_note_durable(fkv_store *s, uint64_t lsn);

/* -- apply.c -- */
/* Make a committed transaction visible, and the log followed to end_lsn. Recovery and follower.
** FKV_BUSY (not raised): its tables may be in a newer manifest already. */
FKV_MUST_CHECK fkv_status store_apply(fkv_store *s, const wal_record *w, uint64_t end_lsn);
/* Between these nobody reads, and rows are made findable all at once, at the end. */
void store_begin_loading(fkv_store *s);
void store_end_loading(fkv_store *s); /* the second time it does nothing */
/* Tables of spilled transactions that no manifest names. mu held (all three). */
FKV_MUST_CHECK fkv_status store_reserve_loose(fkv_store *s, size_t count);
void store_note_loose(fkv_store *s, file_meta *f, uint64_t lsn);
void store_forget_loose(fkv_store *s, uint64_t below); /* a manifest covers the log up to here */

/* -- recover.c -- */
FKV_MUST_CHECK fkv_status store_recover(fkv_store *s);
/* Make what recovery decided true on disk as well. */
FKV_MUST_CHECK fkv_status store_write_decisions(fkv_store *s);

/* -- keep.c: log for the change feed -- */
/* Decide what m keeps, which retires the segments below its log_number. mu held. */
void store_keep_logs(fkv_store *s, manifest *m);
/* Before that: learn the first sequence of each segment. mu not held. */
fkv_status store_learn_sequences(fkv_store *s);
/* Make durable what `now` keeps and `before` did not. mu not held. */
FKV_MUST_CHECK fkv_status store_sync_kept(fkv_store *s, const log_keeping *before,
                                          const log_keeping *now);
/* What `before` kept and the manifest of now does not: the files go. mu not held. */
void store_drop_logs(fkv_store *s, const log_keeping *before);
int store_keeps_log(fkv_store *s, uint64_t number); /* mu not held */
/* Let the tables of a spilled transaction stay, if changes are kept. */
FKV_MUST_CHECK fkv_status store_keep_runs(fkv_store *s, const version_level *runs);
/* It was not committed, and that is durable: those names go. `payload` is its PREPARE's. */
void store_drop_run_name(fkv_store *s, uint64_t number);
void store_drop_run_names(fkv_store *s, const uint8_t *payload, uint32_t size);
/* Before a transaction is logged: what is wanted becomes true. Writer only. */
FKV_MUST_CHECK fkv_status store_settle_keeping(fkv_store *s);

/* A number that no feed has had. mu held. */
uint64_t store_new_generation(fkv_store *s);

/* -- backup.c -- */
/* The manifest that this store begins with: also that of a backup or restore that was cut short
** when its host database was in place already. As manifest_load. */
FKV_MUST_CHECK fkv_status store_first_manifest(fkv_store *s, manifest *m, version **tables);

/* -- logs.c: the log's segments -- */
FKV_MUST_CHECK fkv_status store_add_log(fkv_store *s, uint64_t number, uint64_t start_lsn,
                                        wal_segment *segment);
/* A new tail segment. Writer only. */
FKV_MUST_CHECK fkv_status store_start_log(fkv_store *s, uint64_t start_lsn);
/* Before the first write of this open: directory in order, manifest says "not closed", log open. */
FKV_MUST_CHECK fkv_status store_ensure_log(fkv_store *s);
/* Sync all segments that this process knows, up to the end of the log. Poisons on failure. */
FKV_MUST_CHECK fkv_status store_sync_log(fkv_store *s);
/* Binds log segments to their store. */
static inline uint64_t store_id(const fkv_store *s)
{
    return get_u64(s->uuid);
}
uint64_t store_log_end(const fkv_store *s); /* writer */
/* Remove segments below this number. After a durable manifest said so. */
void store_retire_logs(fkv_store *s, uint64_t number);
int store_knows_log(fkv_store *s, uint64_t number);
/* Learn of segments that other processes have begun, and forget those below man.log_number. */
FKV_MUST_CHECK fkv_status store_find_logs(fkv_store *s);
/* And of those that a dead writer may have begun and told nobody of. */
FKV_MUST_CHECK fkv_status store_find_all_logs(fkv_store *s);

/* -- dead.c -- */
/* Rows up to seq are about to become visible: `payload` has those that are put. Before
** visible_seq moves; writer or follower. */
void store_announce(fkv_store *s, uint64_t seq, const uint8_t *payload, size_t size);
/* Any rows may become visible. */
void store_forget_dead(fkv_store *s);
/* A walk of a snapshot at seq has found no row in [from, to). */
void store_note_dead(fkv_store *s, fkv_slice from, fkv_slice to, uint64_t seq);
/* Is it known that the first row at or after key is not before *to? Sets that then. */
int store_skip_dead(fkv_store *s, fkv_slice key, uint64_t seq, buf *to);

/* -- configure.c -- */
#define MEMORY_MIN ((size_t)1 << 20) /* the least budget */
/* Change what o names. FKV_INVALID, FKV_UNSUPPORTED: *out is unchanged. */
FKV_MUST_CHECK fkv_status store_table_options(const fkv_options *o, table_options *out);

/* -- install.c -- */
/* Become the installer, up to date with the newest manifest; waits. FKV_BUSY: another process has
** been at it for a minute. mu not held (both). */
FKV_MUST_CHECK fkv_status store_begin_install(fkv_store *s);
void store_end_install(fkv_store *s);
/* Save a manifest for `tables`. Installer, mu not held. drop: a sealed memtable whose rows are in
** `tables` now, or NULL. */
FKV_MUST_CHECK fkv_status store_save_manifest(fkv_store *s, version *tables, const memtable *drop,
                                              uint64_t clean_lsn, int *maybe_new);
/* What a manifest for the tables of now would say, but for edit and clean_lsn; `drop` as above. 0:
** the log is not known just now. Installer, mu held. */
int store_describe(fkv_store *s, const memtable *drop, int64_t now_ms, manifest *m);
/* Make an edit: manifest, version, superversion, files. Takes the install right itself. An
** edit that does not fit any more, because another process was quicker, is dropped: FKV_OK as
** well. flushed: the memtable that it replaces, or NULL; `base` is then man.tables_lsn when
** it was made. */
FKV_MUST_CHECK fkv_status store_install(fkv_store *s, version_edit *edit, memtable *flushed,
                                        uint64_t base);
/* Share the memory budget out anew: it has changed, or whether this process writes. */
void store_fit_cache(fkv_store *s);
/* The same if there are more memtables than it has left room for. */
void store_fit_memtables(fkv_store *s);
void store_note_shape(fkv_store *s, const version *tables); /* debt and counts for pacing; mu */

/* -- background.c -- */
void store_poison(fkv_store *s); /* with this thread's error text */
FKV_MUST_CHECK fkv_status store_check_writable(fkv_store *s);
FKV_MUST_CHECK fkv_status store_start_threads(fkv_store *s, int with_syncer);
void store_stop_threads(fkv_store *s);
/* Flush the oldest sealed memtable, if any is due: 1 in *did. `all`: also if all that there are
** are borrowed, and their owner would do it. */
FKV_MUST_CHECK fkv_status store_flush_one(fkv_store *s, int all, int *did);
/* Run a job picked from v, install what it has made, and count it. Compactor only. */
FKV_MUST_CHECK fkv_status store_run_job(fkv_store *s, const version *v, const compaction_job *job);
/* Run the most urgent compaction, if any; at leisure also one that is not due yet. */
FKV_MUST_CHECK fkv_status store_compact_one(fkv_store *s, int at_leisure, int *did);
/* Wait until no sealed memtable is left, or flush them here if there is no flusher. */
FKV_MUST_CHECK fkv_status store_drain(fkv_store *s);
/* Everything that is due, in the calling thread (inline_background). */
void store_maintain(fkv_store *s);
void store_compact_context(fkv_store *s, compact_context *out);

/* -- rotate.c -- */
/* Seal the active memtable: a new one and a new log segment. Waits for room. Writer only. */
FKV_MUST_CHECK fkv_status store_rotate(fkv_store *s);
/* Hold a commit of `bytes` back in proportion to the debt. Writer only. */
void store_throttle(fkv_store *s, uint64_t bytes);

/* -- txn.c, spill.c -- */
typedef struct txn_run { /* a spilled part of the batch */
    uint64_t from, to;   /* positions (from, to] */
    version *all;        /* level 0: the files of this run and those before */
} txn_run;

struct fkv_txn {
    fkv_store *store;
    int (*host_committed)(void *arg, uint64_t id); /* or NULL */
    void *host_arg;
    batch *writes;
    int active;
    int prepared;        /* nothing written since the last prepare */
    uint64_t prepare_ns; /* when the first prepare began; 0 = not yet */
    int logged;          /* a PREPARE of this transaction is in the log, undecided */
    int logged_sync;     /* … and it is durable */
    int hosted;          /* … and the host decides */
    uint64_t logged_lsn;
    uint64_t logged_first_seq;
    uint32_t logged_count;
    superversion *ready; /* with runs: what commit publishes; the install right is held */
    int tables_stay;     /* of runs that are dropped: a PREPARE names them, undecided */
    uint64_t spilled;    /* positions in runs */
    txn_run *runs;
    size_t run_count, run_capacity;
    uint64_t *marks; /* open marks, ascending */
    size_t mark_count, mark_capacity;
};

static inline uint64_t txn_position(const fkv_txn *t)
{
    return t->spilled + t->writes->count;
}

void txn_end(fkv_txn *t); /* back to idle, writer lock released; runs not committed are dropped */
void txn_forget(fkv_txn *t); /* after fork(): it is the parent's, nobody is told of its end */
FKV_MUST_CHECK fkv_status txn_spill(fkv_txn *t);
void txn_keep_runs(fkv_txn *t); /* forget them, but leave the files: the log names them, in doubt */
void txn_drop_runs(fkv_txn *t, uint64_t after); /* those with writes after this position */
static inline version *txn_runs_version(const fkv_txn *t)
{
    return t->run_count ? t->runs[t->run_count - 1].all : NULL;
}

/* Is a row that expires at this moment still there? */
int store_alive(fkv_store *s, uint8_t kind, int64_t expires_ms);

static inline void count_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
