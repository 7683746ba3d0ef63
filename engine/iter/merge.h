/*
** merge.h -- many sorted sources seen as one.
*/
#ifndef FKV_ITER_MERGE_H
#define FKV_ITER_MERGE_H

#include "base/iter.h"

/* An iterator over the newest entry of every key of children[0..count), ordered from the newest
** source to the oldest. Entries that a range tombstone of a newer source hides do not come out;
** point tombstones do. Takes the children over, also on failure. covers() asks all children. */
FKV_MUST_CHECK fkv_status merge_new(iter **children, size_t count, iter **out);

#endif
