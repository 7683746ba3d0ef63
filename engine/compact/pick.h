/*
** pick.h -- what to compact next: a pure function of a version.
**
** No disk, no clock of its own, no memory of earlier picks: the same version at the same moment
** gives the same job, so policy is tested with a few lines per case (tests/unit/test_pick.c).
*/
#ifndef FKV_COMPACT_PICK_H
#define FKV_COMPACT_PICK_H

#include "version/version.h"

typedef struct pick_options {
    size_t level0_trigger; /* files in level 0 that ask for a compaction; default 4 */
    uint64_t base_bytes;   /* target size of level 1 */
    unsigned multiplier;   /* each deeper level is this many times larger; default 10 */
    int64_t clock_ms;      /* now; rows that expire at or before it are gone */
} pick_options;

/* Merge inputs[0] (of `level`) with inputs[1] (of `output`) into `output`. Borrowed from the
** version it was picked from. A zeroed job is none. */
typedef struct compaction_job {
    int level, output;
    file_meta **inputs[2];
    size_t counts[2];
    int move; /* nothing to merge with, nothing to drop: just put the files into `output` */
} compaction_job;

/* How urgently a level wants compaction; >= 1.0 means now. */
double pick_score(const version *v, const pick_options *o, int level);

/* Bytes that would have to be compacted to bring every level to its target: the debt that
** back-pressure answers to. */
uint64_t pick_debt(const version *v, const pick_options *o);

/* The most urgent job, or a job with counts[0] == 0 if there is none. */
FKV_MUST_CHECK fkv_status pick_compaction(const version *v, const pick_options *o,
                                          compaction_job *out);

/* One step of compacting [from, to) to the bottom: a job for the highest level that has files there
** and a deeper level (or tombstones, or expired rows) below it; none when all is in one level. */
FKV_MUST_CHECK fkv_status pick_range(const version *v, int64_t clock_ms, fkv_slice from,
                                     fkv_slice to, compaction_job *out);

void compaction_job_release(compaction_job *job); /* zeroed is fine */

#endif
