/* oracle_rows.h -- rows as bytes, and one side's answer to a statement. */
#ifndef FKV_TESTS_ORACLE_ROWS_H
#define FKV_TESTS_ORACLE_ROWS_H

#include "oracle.h"

enum { ROWS_MAX = 3000 }; /* of one SELECT; more are not looked at */

typedef struct rows {
    sqlite3_str *bytes;
    size_t *ends;
    int count, capacity;
} rows;

typedef struct answer {
    int rc;  /* extended; SQLITE_OK when it ended well */
    int cut; /* there were more than ROWS_MAX */
    int columns;
    char *message; /* sqlite3_malloc'ed; NULL = none */
    rows rows;
} answer;

void rows_free(rows *r);
/* Append the row that s stands on. */
void rows_add(rows *r, sqlite3_stmt *s, int loose);
/* How often is row i of `of` among the rows of r, and how often a row with these first bytes? */
int rows_same(const rows *a, const rows *b, int ordered);
int rows_count(const rows *r, const char *bytes, size_t size);
const char *rows_at(const rows *r, int i, size_t *size);
/* The rows only one of them has (ordered: from the first difference on), a few of them. */
void rows_report(const rows *fastkv, const rows *native, int ordered);

/* Run one statement to its end. */
void answer_get(sqlite3 *db, const char *sql, const step *s, answer *out);
void answer_free(answer *a);
/* Each parameter gets the value of the one `moved` places further on. */
int answer_bind(sqlite3_stmt *stmt, const step *s, int moved);

#endif
