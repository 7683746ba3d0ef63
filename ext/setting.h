/*
** setting.h -- options that change while the table is in use
**
** setting.c tells when who sees a change.
*/
#ifndef FASTKV_EXT_SETTING_H
#define FASTKV_EXT_SETTING_H

#include "table.h"

/* Change an option, in the open transaction. A result; zErrMsg is set on failure. */
int setting_change(kv_table *t, const char *name, const char *value);

/* A table was created, with what options it was given: those that are shared hold for all tables.
** A result; *error may be set. */
int setting_share(kv_table *t, char **error);

/* The table's store is open: the table's own options count from here on. SQLITE_OK or
** SQLITE_NOMEM. */
int setting_opened(kv_table *t);

/* A write begins: see that the options are those of the shadow table. Cheap unless they may have
** changed. A result; zErrMsg is set on failure. */
int setting_refresh(kv_table *t);

/* The transaction: it begins, is about to be committed, is committed, is rolled back as a whole or
** to a savepoint. A result code of the second: it may not be; *error may be set. */
void setting_begin(kv_table *t);
int setting_sync(kv_table *t, char **error);
void setting_commit(kv_table *t);
void setting_rollback(kv_table *t, int whole);

#endif
