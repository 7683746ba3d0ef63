/* ddl.h -- CREATE, DROP and RENAME of a table. */
#ifndef FASTKV_EXT_DDL_H
#define FASTKV_EXT_DDL_H

#include "table.h"

/* Give a table that was just declared its space and its shadow table, in the open transaction. */
int ddl_create(kv_table *t, char **error);

/* Delete rows and shadow table, in the open transaction. t lives on. On error zErrMsg is set. */
int ddl_drop(kv_table *t);

int ddl_rename(kv_table *t, const char *to);

#endif
