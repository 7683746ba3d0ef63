/*
** filter.h -- a blocked bloom filter: all bits of a key lie in one 64-byte line, so a probe costs
** one cache miss. (Putze, Sanders, Singler 2007; RocksDB uses the same shape.)
**
** Bytes: probes(1), then lines of 64. A key with 64-bit hash h uses line (h >> 32) * lines >> 32;
** bit i of its probes is at (g >> 23), g starting as the low 32 bits and multiplied by an odd
** constant for each further probe. Part of the file format.
*/
#ifndef FKV_TABLE_FILTER_H
#define FKV_TABLE_FILTER_H

#include "base/buf.h"

enum { FILTER_LINE = 64 };

/* The filter of `count` hashes at about `bits` (1 .. 64) bits each, appended to out (error sticky
** there). */
void filter_build(const uint64_t *hashes, size_t count, uint32_t bits, buf *out);

/* Is this a well-formed filter? */
int filter_check(fkv_slice filter);

/* 0: the key is certainly absent. REQUIRES: filter_check. Fastest when the byte behind the first is
** aligned to FILTER_LINE. */
int filter_may_hold(fkv_slice filter, uint64_t hash);

/* Fetch what filter_may_hold will read, where there is something to do meanwhile. */
void filter_fetch(fkv_slice filter, uint64_t hash);

#endif
