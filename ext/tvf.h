/*
** tvf.h -- table-valued functions, whose rows are all made at once
**
** A function is an eponymous virtual table: SELECT … FROM name(arguments). It is described by a
** tvf_def, whose fill() makes the rows; the rest is the same for all.
*/
#ifndef FASTKV_EXT_TVF_H
#define FASTKV_EXT_TVF_H

#include "affinity.h"
#include "base/buf.h"
#include "conn.h"

enum { TVF_ARGUMENTS_MAX = 4 };

/* Rows under construction: cells one after another, row by row. */
typedef struct tvf_rows {
    buf cells; /* tvf_cell */
    buf bytes; /* of all of them */

    /* Set by fill() if there may be more rows than should be in memory at once: called when those
    ** above have been read, to put others in their place; none = the end. */
    int (*more)(struct tvf_rows *rows, char **error);
    void (*end)(void *state);
    void *state;
    int64_t last_argument; /* what its column shows where the last one is left out; 0 = NULL */
} tvf_rows;

/* Add the next cell. Bytes are copied; a failure shows in the end. */
void tvf_add(tvf_rows *rows, const cell *c);
void tvf_add_integer(tvf_rows *rows, int64_t value);
void tvf_add_real(tvf_rows *rows, double value);
void tvf_add_text(tvf_rows *rows, const char *text);

typedef struct tvf_def {
    const char *name;
    const char *declaration; /* CREATE TABLE x(columns, arguments HIDDEN) */
    int columns;             /* before the arguments */
    int required, arguments; /* at most TVF_ARGUMENTS_MAX; the last ones may be left out */
    const char *missing;     /* what to say when a required one is: "a table's name" */
    double cost;
    int direct_only; /* not in views and triggers: it reaches files that it is told of */
    /* argv has `arguments` values, NULL for one that is left out. A result; *error may be set. */
    int (*fill)(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error);
} tvf_def;

/* Make the function known to owner's connection. */
int tvf_register(registry *owner, const tvf_def *def);

#endif
