/* backup.h -- fastkv_backup(dir) and fastkv_restore(dir). */
#ifndef FASTKV_EXT_BACKUP_H
#define FASTKV_EXT_BACKUP_H

#include "sqlite3ext.h"

/* SQL functions; the user data is the registry. */
void backup_function(sqlite3_context *context, int argc, sqlite3_value **argv);
void restore_function(sqlite3_context *context, int argc, sqlite3_value **argv);

#endif
