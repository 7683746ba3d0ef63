/* oracle_rows.c -- rows as bytes, and one side's answer to a statement. */
#include "oracle_rows.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct piece {
    const char *bytes;
    size_t size;
} piece;

void rows_free(rows *r)
{
    sqlite3_free(sqlite3_str_finish(r->bytes));
    free(r->ends);
    memset(r, 0, sizeof *r);
}

void rows_add(rows *r, sqlite3_stmt *s, int loose)
{
    if (!r->bytes) r->bytes = sqlite3_str_new(NULL);
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 16;
        r->ends = realloc(r->ends, (size_t)r->capacity * sizeof *r->ends);
        if (!r->ends) abort();
    }
    for (int i = 0; i < sqlite3_column_count(s); i++) value_serialise(r->bytes, s, i, loose);
    r->ends[r->count++] = (size_t)sqlite3_str_length(r->bytes);
}

const char *rows_at(const rows *r, int i, size_t *size)
{
    size_t start = i ? r->ends[i - 1] : 0;

    *size = r->ends[i] - start;
    return sqlite3_str_value(r->bytes) + start;
}

int rows_count(const rows *r, const char *bytes, size_t size)
{
    int n = 0;

    for (int i = 0; i < r->count; i++) {
        size_t here;
        const char *at = rows_at(r, i, &here);
        n += here == size && memcmp(at, bytes, size) == 0;
    }
    return n;
}

static int compare_pieces(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    size_t n = x->size < y->size ? x->size : y->size;
    int c = n ? memcmp(x->bytes, y->bytes, n) : 0;

    return c ? c : (x->size > y->size) - (x->size < y->size);
}

static piece *pieces_of(const rows *r, int sorted)
{
    piece *p = oracle_alloc((size_t)r->count * sizeof *p);

    for (int i = 0; i < r->count; i++) p[i].bytes = rows_at(r, i, &p[i].size);
    if (sorted) qsort(p, (size_t)r->count, sizeof *p, compare_pieces);
    return p;
}

int rows_same(const rows *a, const rows *b, int ordered)
{
    piece *x, *y;
    int same = a->count == b->count;

    if (!same || a->count == 0) return same;
    if (sqlite3_str_length(a->bytes) != sqlite3_str_length(b->bytes)) return 0;
    if (memcmp(sqlite3_str_value(a->bytes), sqlite3_str_value(b->bytes),
               (size_t)sqlite3_str_length(a->bytes)) == 0) {
        return 1;
    }
    x = pieces_of(a, !ordered);
    y = pieces_of(b, !ordered);
    for (int i = 0; same && i < a->count; i++) same = compare_pieces(&x[i], &y[i]) == 0;
    free(x);
    free(y);
    return same;
}

static void print_row(const char *who, const char *bytes, size_t size)
{
    (void)printf("  %s  ", who);
    for (size_t i = 0; i < size && i < 300; i++) {
        unsigned char c = (unsigned char)bytes[i];
        (void)printf(c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    (void)printf("%s\n", size > 300 ? " ..." : "");
}

void rows_report(const rows *fastkv, const rows *native, int ordered)
{
    piece *x = pieces_of(fastkv, !ordered), *y = pieces_of(native, !ordered);
    int i = 0, j = 0;

    (void)printf("  %d rows from fastkv, %d from native\n", fastkv->count, native->count);
    for (int shown = 0; shown < 10 && (i < fastkv->count || j < native->count);) {
        int c = i == fastkv->count ? 1 : j == native->count ? -1 : compare_pieces(&x[i], &y[j]);
        if (c == 0) {
            i++, j++;
            continue;
        }
        shown++;
        if (ordered || c < 0) {
            if (i < fastkv->count) print_row("fastkv", x[i].bytes, x[i].size);
            i += i < fastkv->count;
        }
        if (ordered || c > 0) {
            if (j < native->count) print_row("native", y[j].bytes, y[j].size);
            j += j < native->count;
        }
    }
    free(x);
    free(y);
}

int answer_bind(sqlite3_stmt *stmt, const step *s, int moved)
{
    int count = sqlite3_bind_parameter_count(stmt);

    for (int i = 0; i < s->param_count && i < count; i++) {
        int rc = value_bind(stmt, i + 1, &s->params[(i + moved) % s->param_count]);
        if (rc) return rc;
    }
    return SQLITE_OK;
}

/* SQLITE_DONE, SQLITE_ROW when there are too many rows, or an error. */
static int take_rows(sqlite3_stmt *stmt, int loose, answer *out)
{
    int rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (out->rows.count == ROWS_MAX) {
            out->cut = 1;
            break;
        }
        rows_add(&out->rows, stmt, loose);
    }
    return rc;
}

void answer_get(sqlite3 *db, const char *sql, const step *s, answer *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    memset(out, 0, sizeof *out);
    if (rc == SQLITE_OK && s) rc = answer_bind(stmt, s, 0);
    if (rc == SQLITE_OK && stmt) {
        out->columns = sqlite3_column_count(stmt);
        rc = take_rows(stmt, s && s->flags & STEP_LOOSE, out);
    }
    if (rc == SQLITE_DONE && s && s->flags & STEP_AGAIN) {
        (void)sqlite3_reset(stmt);
        rc = answer_bind(stmt, s, 1);
        if (rc == SQLITE_OK) rc = take_rows(stmt, s->flags & STEP_LOOSE, out);
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) rc = SQLITE_OK;
    if (rc) {
        out->rc = sqlite3_extended_errcode(db);
        out->message = sqlite3_mprintf("%s", sqlite3_errmsg(db));
    }
    (void)sqlite3_finalize(stmt);
}

void answer_free(answer *a)
{
    rows_free(&a->rows);
    sqlite3_free(a->message);
    memset(a, 0, sizeof *a);
}
