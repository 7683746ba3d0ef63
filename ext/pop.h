/* pop.h -- the table-valued function fastkv_pop(table, prefix [, n]). */
#ifndef FASTKV_EXT_POP_H
#define FASTKV_EXT_POP_H

#include "tvf.h"

/* Takes the first n rows (1 if not said) whose key begins with the prefix away, and gives them:
** key, value. A prefix of NULL or '' means all rows. */
extern const tvf_def pop_function;

#endif
