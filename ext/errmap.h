/* errmap.h -- engine statuses as SQLite results, with their text kept. */
#ifndef FASTKV_EXT_ERRMAP_H
#define FASTKV_EXT_ERRMAP_H

#include "sqlite3ext.h"

#include "fastkv.h"

/* The SQLite result code. FKV_OK gives SQLITE_OK. */
int errmap_code(fkv_status status);

/* "fastkv: " and the text of this thread's last engine error. NULL = no memory. */
char *errmap_text(fkv_status status);

/* Both at once on a virtual table: sets zErrMsg, returns the code. FKV_OK does nothing. */
int errmap_vtab(sqlite3_vtab *vtab, fkv_status status);

/* The same into *error (sqlite3_malloc'ed), which FKV_OK leaves alone. */
int errmap_give(char **error, fkv_status status);

/* Set *error (as sqlite3_mprintf, no prefix added) and return `code`, or SQLITE_NOMEM. */
int errmap_tell(char **error, int code, const char *format, ...);

/* Set a virtual table's zErrMsg (printf format, no prefix added) and return `code`. */
int errmap_say(sqlite3_vtab *vtab, int code, const char *format, ...);

#endif
