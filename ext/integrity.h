/* integrity.h -- looking for damage: fastkv_check(table [, level]), and PRAGMA integrity_check. */
#ifndef FASTKV_EXT_INTEGRITY_H
#define FASTKV_EXT_INTEGRITY_H

#include "tvf.h"

/* Rows: severity, file, offset, text. */
extern const tvf_def check_function;

/* sqlite3_module.xIntegrity, of SQLite 3.44 and newer. */
int check_integrity(sqlite3_vtab *vtab, const char *schema, const char *table, int quick,
                    char **error);

/* Has sqlite3_interrupt been called? About a microsecond. For long work of functions. */
int check_interrupted(sqlite3 *db);

#endif
