/*
** call.h -- functions that write
**
** SELECT fastkv_incr(…) is a statement that reads, as far as SQLite knows: no transaction is begun
** for it, no table told. So the function runs a statement of its own that writes its table, INSERT
** INTO kv(kv) VALUES('fastkv call'), and does its work inside that one's xUpdate. It is then like
** any other write: within the transaction that is open, or a transaction by itself; savepoints,
** locks, waiting and errors are SQLite's business.
*/
#ifndef FASTKV_EXT_CALL_H
#define FASTKV_EXT_CALL_H

#include "table.h"

#define CALL_COMMAND "fastkv call" /* not for users: an unknown command without a call */

/* The work; whatever belongs to it follows. run() gives a result, with t->base.zErrMsg set on
** failure; the transaction is begun. It may be called again if the transaction was refused. */
struct kv_call {
    int (*run)(kv_table *t, kv_call *call);
};

/* Run it. A result; on failure *error is set (sqlite3_malloc'ed; NULL = no memory). */
int call_run(kv_table *t, kv_call *call, char **error);

#endif
