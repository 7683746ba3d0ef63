/* cursor.h -- reading rows: xOpen to xClose. */
#ifndef FASTKV_EXT_CURSOR_H
#define FASTKV_EXT_CURSOR_H

#include "table.h"

int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out);
int cursor_close(sqlite3_vtab_cursor *cursor);
int cursor_filter(sqlite3_vtab_cursor *cursor, int plan, const char *terms, int argc,
                  sqlite3_value **argv);
int cursor_next(sqlite3_vtab_cursor *cursor);
int cursor_eof(sqlite3_vtab_cursor *cursor);
int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int index);
int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out);

/* Free the closed cursors that a conn keeps for reuse. */
void cursor_free_idle(conn *c);

#endif
