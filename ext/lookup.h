/* lookup.h -- a fastkv table by its name. */
#ifndef FASTKV_EXT_LOOKUP_H
#define FASTKV_EXT_LOOKUP_H

#include "table.h"

/* The table that this names, connected, whatever its store is like. As lookup_table. */
int lookup_connected(registry *owner, sqlite3_value *name, kv_table **out, char **error);

/* The table that this names, "kv" or "main.kv", connected and ready for use. A result; on failure
** *error is set (sqlite3_malloc'ed; NULL = no memory). name may be SQL NULL. */
int lookup_table(registry *owner, sqlite3_value *name, kv_table **out, char **error);

/* Any table of this schema whose store lies beside the schema's file. *out NULL: there is none. */
int lookup_any(registry *owner, const char *schema, kv_table **out, char **error);

#endif
