/* lookup.h -- a fastkv table by its name. */
#ifndef FASTKV_EXT_LOOKUP_H
#define FASTKV_EXT_LOOKUP_H

#include "table.h"

/* The table that this names, "kv" or "main.kv", connected and ready for use. A result; on failure
** *error is set (sqlite3_malloc'ed; NULL = no memory). name may be SQL NULL. */
int lookup_table(registry *owner, sqlite3_value *name, kv_table **out, char **error);

#endif
