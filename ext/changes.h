/* changes.h -- SELECT * FROM fastkv_changes(table, since), and fastkv_key(table, key...). */
#ifndef FASTKV_EXT_CHANGES_H
#define FASTKV_EXT_CHANGES_H

#include "tvf.h"

extern const tvf_def changes_function;

/* An SQL function; the user data is the registry. */
void key_function(sqlite3_context *context, int argc, sqlite3_value **argv);

#endif
