/* dbcopy.h -- copies of a database file, by SQLite's backup interface. */
#ifndef FASTKV_EXT_DBCOPY_H
#define FASTKV_EXT_DBCOPY_H

#include "sqlite3ext.h"

#include <stdint.h>

/* Open another connection to a file, with the VFS of db's schema, and wait in it as db does, a
** second at the least. A result code; *error is set on failure. */
int dbcopy_open(sqlite3 *db, const char *schema, const char *file, int flags, sqlite3 **out,
                char **error);

/* Is there a file of this name, with `suffix`? A result code: it cannot be told. */
int dbcopy_exists(sqlite3 *db, const char *schema, const char *file, const char *suffix,
                  int *there);

/* Take the database as it is at this moment: a read transaction. */
int dbcopy_hold(sqlite3 *source, char **error);

/* Copy all of source, as it is held, into the new file `to`, and put a stamp into it (host.h). It
** is durable then. On failure there is no such file. */
int dbcopy_make(sqlite3 *db, const char *schema, sqlite3 *source, const char *to, uint64_t stamp,
                char **error);

/* Replace what the schema main of `to` holds by the content of source: one transaction. */
int dbcopy_into(sqlite3 *to, sqlite3 *source, char **error);

/* Remove a file that dbcopy_make has made, and what SQLite may have put beside it. */
void dbcopy_remove(sqlite3 *db, const char *schema, const char *file);

#endif
