/* recover.h -- the table-valued function fastkv_recover(dir [, schema]). */
#ifndef FASTKV_EXT_RECOVER_H
#define FASTKV_EXT_RECOVER_H

#include "tvf.h"

/* Rows: severity, file, offset, rows, lost, text. */
extern const tvf_def recover_function;

#endif
