/*
** affinity.h -- SQL values as plain data, with column affinity applied.
**
** SQLite applies no affinity to what a virtual table receives (neither to the values of a write
** nor to the arguments of a constraint), so every value passes here once, on its way in.
*/
#ifndef FASTKV_EXT_AFFINITY_H
#define FASTKV_EXT_AFFINITY_H

#include "sqlite3ext.h"

#include "fastkv.h"

/* The letters SQLite itself uses. The order is meaningful: NUMERIC and above are numeric. */
typedef enum affinity {
    AFFINITY_BLOB = 'A',
    AFFINITY_TEXT = 'B',
    AFFINITY_NUMERIC = 'C',
    AFFINITY_INTEGER = 'D',
    AFFINITY_REAL = 'E'
} affinity;

/* One SQL value. type is SQLITE_INTEGER, _FLOAT, _TEXT, _BLOB or _NULL and says which field
** counts; text is UTF-8. The bytes are borrowed. */
typedef struct cell {
    int type;
    int64_t integer;
    double real;
    fkv_slice bytes;
} cell;

/* The affinity of a declared type, by SQLite's rules (datatype3.html, 3.1). */
affinity affinity_of_type(const char *type);

/* Convert to what a native column of this affinity would store. Numbers only: text in a numeric
** column is converted by cell_from_value, which has SQLite's own parser at hand. */
void cell_apply_numeric(cell *c, affinity a);

/* Read a protected value and apply the affinity. The bytes live as long as the value, which may be
** converted in place. SQLITE_OK or SQLITE_NOMEM. */
int cell_from_value(sqlite3_value *value, affinity a, cell *out);

/* The affinity for a value that is compared with a column of affinity a: as for storing, but an
** INTEGER stays one beside a REAL column, where the comparison is exact (2^53 + 1 > 2^53). */
static inline affinity affinity_for_comparison(affinity a)
{
    return a == AFFINITY_REAL ? AFFINITY_NUMERIC : a;
}

/* Hand a cell to SQLite as a function or column result. Bytes are copied. */
void cell_result(sqlite3_context *context, const cell *c);

#endif
