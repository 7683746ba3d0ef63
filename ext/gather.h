/* gather.h -- ranges that are wider than the order allows. */
#ifndef FASTKV_EXT_GATHER_H
#define FASTKV_EXT_GATHER_H

#include "keyrange.h"

/* A plan leaves a column with an approximate equality out of its order (plan.c), and the ranges
** take in several values of that column. Replace them by the keys that lie in them, as points,
** ordered by the key columns behind the equalities. `walk` is used to read and left on nothing.
**   SQLITE_NOMEM
**   SQLITE_ERROR   fkv_cursor_status(walk) tells
**   SQLITE_TOOBIG  more keys than may be held; *error is a constant text */
int gather(const kv_table *t, const char *terms, fkv_cursor *walk, key_ranges *ranges,
           const char **error);

#endif
