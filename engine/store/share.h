/*
** share.h -- what the processes that have a store open tell each other.
**
** Two things, both in the file `lock`, and neither outlives them:
**
**   the page    the file's first 4096 bytes, mapped by everybody: how far the log is committed,
**               which manifest is the newest, the next file number. Words that are read and written
**               whole; a process that dies leaves each of them either old or new.
**   the locks   single bytes far behind it (OFD locks: they go with their process).
**
** The right to write is a word of the page, taken and given back without asking the kernel: with a
** lock, two of the eight system calls of a small commit were for it. What the kernel is asked for
** is only whether a holder lives: every process has a number that is never given out again in the
** page's life, and a lock on the byte of that number. The word of a dead holder is anybody's.
**
** Everything of value is in the log, the tables and the manifest. Every process reads the log
** behind the others into memtables of its own (follow.c), so nothing in shared memory can be left
** half done by a death. (SQLite's WAL-index and lsm1's shared tree keep an index in shared memory
** that all write to. It needs repair after every death, and one stray write by any process spoils
** it for all.) Who comes later may borrow the memtables of who writes, to read in them (borrow.c).
**
** Who may write to the page: the holder of the lock named at each word; whoever opens first, with
** LOCK_LIVE exclusive, writes all of it.
*/
#ifndef FKV_STORE_SHARE_H
#define FKV_STORE_SHARE_H

#include <stdatomic.h>

#include "io/env.h"

#define SHARED_BYTES ((size_t)4096)
#define SHARED_MAGIC 0x32564b46 /* "FKV2": the page, the locks, and how they are used */

typedef struct shared_page {
    char holder[64]; /* "process 123": for messages; who has or had LOCK_LIVE exclusively */
    _Atomic uint32_t magic;
    _Atomic uint32_t ready; /* what follows is true; LOCK_LIVE */
    uint8_t boot_id[16];
    uint8_t uuid[16];
    _Atomic uint64_t session;       /* a random number of the first opener's */
    _Atomic uint64_t edit;          /* of the newest manifest; LOCK_INSTALL */
    _Atomic uint64_t next_number;   /* file and edit numbers; anybody, by addition */
    _Atomic uint64_t next_space;    /* keyspace numbers; anybody, by addition */
    _Atomic uint64_t committed_lsn; /* up to here the log is decided; the writer, as below */
    _Atomic uint64_t log_tail;      /* the segment that is appended to; 0 = none yet */
    _Atomic uint64_t unsettled_lsn; /* a hosted PREPARE rolled back without a mark; UINT64_MAX */
    _Atomic uint32_t writing;       /* the log may hold something that is not decided */
    _Atomic uint32_t replacing;     /* the manifest may be newer than `edit`; LOCK_INSTALL */
    _Atomic uint32_t poisoned;      /* an fsync failed: no more writes by anybody; anybody */
    _Atomic uint64_t durable_lsn;   /* up to here the log is synced; anybody, upwards */
    _Atomic uint64_t writer;    /* process with a transaction, from begin to its end; 0 = none */
    _Atomic uint64_t processes; /* numbers given out; anybody, by addition */
    _Atomic uint64_t offered;   /* the active memtable of one who writes (borrow.c), 0 = none; the
                                ** writer. It may be out of date, and says itself what it is. */
} shared_page;

/* Bytes to lock in the file. A region has one byte for each number there may be.
**
** A thread asks for them in this order: CLOSE, (the right to write,) FLUSH or COMPACT, INSTALL; and
** may leave any out. LIVE is had all the time: it is waited for with nothing held, and tried for
** exclusively, once, under CLOSE. MAKING, PIN and PROCESS are never waited for. */
enum {
    LOCK_LIVE = 8192, /* shared: has the store open. Exclusive: recovery; the last close */
    LOCK_CLOSE,       /* closing: one at a time, so that one of them is the last */
    LOCK_INSTALL,     /* replacing the manifest */
    LOCK_FLUSH,       /* flushing: keeps others from doing the same work, no more than that */
    LOCK_COMPACT      /* likewise */
};
#define LOCK_MAKING ((uint64_t)1 << 40)  /* + number: this table file is being made */
#define LOCK_PIN ((uint64_t)1 << 41)     /* + edit, shared: reads this manifest's tables */
#define LOCK_PROCESS ((uint64_t)1 << 42) /* + number: this process lives */

/* How a store object takes part. */
typedef enum sharing {
    SHARING_NOT,   /* the only one: in memory, or where locks cannot be relied on */
    SHARING_FULLY, /* reads and writes beside others */
    SHARING_READS, /* read-only, follows others that write */
    SHARING_ALONE  /* read-only, and nobody writes: until somebody opens it for that */
} sharing;

#endif
