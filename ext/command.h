/* command.h -- INSERT INTO kv(kv) VALUES('…'). */
#ifndef FASTKV_EXT_COMMAND_H
#define FASTKV_EXT_COMMAND_H

#include "table.h"

/* Run the command; arg is SQL NULL when none was given. A result code, zErrMsg set on failure. */
int command_run(kv_table *t, sqlite3_value *name, sqlite3_value *arg);

#endif
