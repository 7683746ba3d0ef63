/* keyarg.h -- the argument of a command as a range of engine keys. */
#ifndef FASTKV_EXT_KEYARG_H
#define FASTKV_EXT_KEYARG_H

#include "table.h"

/* Each appends to `from` and `to`, both empty, and gives a result; zErrMsg is set on failure.
**   all      every row
**   prefix   rows whose first key column is text (or a BLOB) that begins with arg
**   group    rows whose first key column is arg. REQUIRES: it is not the only one
**   between  arg is JSON: [from, to), each a value of the first key column, an array of values of
**            the first few, or null for no bound */
int keyarg_all(kv_table *t, buf *from, buf *to);
int keyarg_prefix(kv_table *t, sqlite3_value *arg, buf *from, buf *to);
int keyarg_group(kv_table *t, sqlite3_value *arg, buf *from, buf *to);
int keyarg_between(kv_table *t, sqlite3_value *arg, buf *from, buf *to);

#endif
