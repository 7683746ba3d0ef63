/* listener.h -- hearing of a transaction's end without a table that takes part in it. */
#ifndef FASTKV_EXT_LISTENER_H
#define FASTKV_EXT_LISTENER_H

#include "conn.h"

extern const sqlite3_module listener_module;
#define LISTENER_NAME "fastkv_txn"

/* Make the listener take part in the transaction that is open, so that it drives every conn of this
** sqlite3* to its end. `schema` is where the change happens. May be called again. */
int listener_enrol(registry *owner, const char *schema, char **error);

#endif
