/* listener.h -- hearing of a transaction's end without a table that takes part in it. */
#ifndef FASTKV_EXT_LISTENER_H
#define FASTKV_EXT_LISTENER_H

#include "conn.h"

extern const sqlite3_module listener_module;
#define LISTENER_NAME "fastkv_txn"

/* Make temp.fastkv_reader, if this is a moment for it: no statement may be running (a change of
** the temp schema would abort it) but the one that calls (`calling`: 1), which is a CREATE or uses
** a function. Called whenever a statement on a fastkv table is prepared, and by functions that
** read; not when the extension is loaded, which would fix the encoding of a new database. Without
** the table each statement has a view of its own. */
void listener_make(registry *owner, int calling);

/* Make the listener take part in the transaction that is open, so that it drives every conn of this
** sqlite3* to its end. `schema` is where the change happens. May be called again. */
int listener_enrol(registry *owner, const char *schema, char **error);

/* Make the listener of the temp schema take part in the transaction that is open, for reading: only
** the temp database is locked. 1: it hears of the end of the transaction; 0: it can't. */
int listener_hear(registry *owner);

/* No table is connected any more: let go of what would keep sqlite3_close() from closing. */
void listener_rest(registry *owner);

#endif
