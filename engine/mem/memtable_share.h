/*
** memtable_share.h -- a memtable that other processes can read.
**
** A process that comes to a busy store would read tens of megabytes of log to have in memory what
** another process has in memory already. So memtables of processes that write lie in regions that
** others can map (env->region_new), nodes and all: an arena names everything by offsets, and
** readers beside a writer are what it is made for. Whoever comes *borrows* them, and reads on in
** the log from where they end.
**
** A borrowed memtable is never written to by the borrower, who maps it read-only, and never needs
** repair: the owner's death leaves it as a reader in the owner's process would have found it in
** that moment. It shows the sequences up to where its owner had told that it reached, whatever
** comes in later; what comes later the borrower reads in the log. Nobody relies on it: where it is
** not to be had, or does not fit, the log has it all.
**
** A region begins with two pages that say what it is:
**
**   uses    generation, OFFERED, TAKEN. A borrower sets TAKEN, once OFFERED is there; the owner
**           makes another memtable in the same region only if it can raise the generation with
**           TAKEN not set. So what somebody has borrowed stays as it is for as long as he maps it,
**           and nobody has to say when he is done.
**   reach   how far it reaches, and the hosted transactions on the way, so that a borrower can give
**           the views of a moment ago that the owner can. It changes with every commit. `version`
**           is odd meanwhile, and for ever if the owner dies in that moment: then it is not
**           borrowed.
**
** Threads: the owner's side is the writer's to call (memtable.h), the borrower's anybody's.
*/
#ifndef FKV_MEM_MEMTABLE_SHARE_H
#define FKV_MEM_MEMTABLE_SHARE_H

#include "mem/memtable.h"

/* A hosted transaction, and where it begins: a snapshot at seq_before is one without it. */
typedef struct host_point {
    uint64_t id, seq_before;
} host_point;

enum { HOST_POINTS = 256 };

/* A ring of the last hosted transactions. */
typedef struct host_points {
    uint64_t count; /* since the store was opened; the ith is items[i % HOST_POINTS] */
    uint64_t floor; /* those up to this id have no place in it */
    host_point items[HOST_POINTS];
} host_points;

/* All that is committed in the log from `from_lsn` to `end_lsn` is in it, or in tables. */
typedef struct memtable_reach {
    uint64_t from_lsn, end_lsn;
    uint64_t seq, host_id; /* the store's at end_lsn */
} memtable_reach;

/* Names a memtable that came before: where it is, and what it must be. */
typedef struct memtable_name {
    uint64_t region, generation; /* 0: none; any */
} memtable_name;

/* An empty memtable as memtable_new makes them, in a region if one is to be had. */
FKV_MUST_CHECK fkv_status memtable_new_shared(fkv_env *env, memtable_spare *spare,
                                              size_t full_bytes, uint64_t base_seq, memtable **out);

/* It is empty, and will get what is committed from reach->from_lsn on. older: the memtable that has
** what comes before, or NULL; not if m has been offered. Others hear of it only if it lies in a
** region; so with the next two. */
void memtable_begin_at(memtable *m, const memtable_reach *reach, const host_points *points,
                       const memtable *older);

/* All up to there is in it now. */
void memtable_tell(memtable *m, uint64_t end_lsn, uint64_t seq, uint64_t host_id,
                   const host_points *points);

/* From now on it may be borrowed, by those of this session. Returns its name; 0 = none. */
uint64_t memtable_offer(memtable *m, uint64_t session);

/* Borrow what `name` names: a sealed memtable, as it were. *older: the one before it. FKV_NOTFOUND
** (not raised): it cannot be had. FKV_NOMEM. */
FKV_MUST_CHECK fkv_status memtable_borrow(fkv_env *env, memtable_name name, uint64_t session,
                                          memtable **out, memtable_reach *reach,
                                          host_points *points, memtable_name *older);

/* For memtable.c: give back the region of m, or keep it for the next one. */
void memtable_leave_region(memtable *m);

#endif
