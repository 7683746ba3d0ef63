/* update.h -- xUpdate: INSERT, UPDATE, DELETE. */
#ifndef FASTKV_EXT_UPDATE_H
#define FASTKV_EXT_UPDATE_H

#include "sqlite3ext.h"

int update_row(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid);

#endif
