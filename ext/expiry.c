/*
** expiry.c -- the columns ttl (seconds from now) and expires_at (Unix time)
**
** Both are forms of one moment, which the engine keeps beside the row's value; NULL is never.
**
** INSERT. ttl counts if it is given, else expires_at, else the table's option `ttl`. A hidden
** column that is not named arrives as NULL, as an explicit NULL literal does; a NULL from a bound
** parameter is told apart (as for DEFAULT, update.c) and means never.
**
** UPDATE changes what is named: a row keeps its moment unless ttl or expires_at is set. SQLite
** marks columns that are not set (sqlite3_value_nochange), unless xColumn has answered for them. So
** xColumn answers for expires_at in any case, if the row has a moment, and for ttl never:
**
**   ttl     expires_at       the new moment
**   set     any              from ttl
**   mark    a value          from expires_at: as it was, or set
**   mark    mark             never: it had none
**
** UPDATE … FROM has no marks before SQLite 3.44: both columns arrive as they were read, but for the
** one that is set. So "ttl is set" must be found out: it is not, if it is what this statement could
** have read from the old row, that is, if the old moment less ttl lies between the first reading of
** a ttl and now. (Setting ttl to just what it is anyway makes no difference.)
*/
#include "expiry.h"

#include <math.h>

#include "errmap.h"

SQLITE_EXTENSION_INIT3

#define MOMENT_MAX_MS 9e15 /* about the year 287,000; whole milliseconds are exact so far */

/* Milliseconds as a moment; what is out of range is never, or long ago. */
static int64_t moment(double ms)
{
    if (ms > MOMENT_MAX_MS) return EXPIRY_NEVER;
    return ms < 1 ? 1 : (int64_t)llround(ms);
}

/* A value that is not NULL, as milliseconds. */
static int take_ms(kv_table *t, sqlite3_value *value, const char *column, double *out)
{
    int type = sqlite3_value_numeric_type(value);

    *out = sqlite3_value_double(value) * 1000;
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) return SQLITE_OK;
    return errmap_say(&t->base, SQLITE_MISMATCH, "fastkv: %s must be a number of seconds or NULL",
                      column);
}

static int is_null(sqlite3_value *value)
{
    return sqlite3_value_type(value) == SQLITE_NULL;
}

static int from_ttl(kv_table *t, sqlite3_value *ttl, int64_t *out)
{
    double ms;
    int rc = take_ms(t, ttl, SCHEMA_TTL_COLUMN, &ms);

    *out = moment((double)fkv_clock_ms(t->conn->store) + (ms > 0 ? ms : 0));
    return rc;
}

static int from_expires_at(kv_table *t, sqlite3_value *value, int64_t *out)
{
    double ms = 0;
    int rc = take_ms(t, value, SCHEMA_EXPIRES_COLUMN, &ms);

    *out = moment(ms);
    return rc;
}

/* As the table's option has it. */
static int64_t usual(const kv_table *t)
{
    int64_t ms = t->schema.options.ttl_ms;

    return ms ? moment((double)fkv_clock_ms(t->conn->store) + (double)ms) : EXPIRY_NEVER;
}

int expiry_of_insert(kv_table *t, sqlite3_value **columns, int64_t *out)
{
    sqlite3_value *ttl = columns[schema_ttl_column(&t->schema)];
    sqlite3_value *at = columns[schema_expires_column(&t->schema)];

    *out = EXPIRY_NEVER;
    if (!is_null(ttl)) return from_ttl(t, ttl, out);
    if (!is_null(at)) return from_expires_at(t, at, out);
    if (!sqlite3_value_frombind(ttl) && !sqlite3_value_frombind(at)) *out = usual(t);
    return SQLITE_OK;
}

int expiry_of_new(kv_table *t, sqlite3_value *ttl, int64_t *out)
{
    *out = ttl ? EXPIRY_NEVER : usual(t);
    return ttl && !is_null(ttl) ? from_ttl(t, ttl, out) : SQLITE_OK;
}

/* The old row's moment. */
static int old_moment(kv_table *t, int64_t *out)
{
    fkv_value old = {0};
    view *v = NULL;
    fkv_status st = conn_view(t->conn, &v);

    if (st == FKV_OK) {
        st = fkv_get(v->snapshot, conn_overlay(t->conn), buf_slice(&t->old_key), &old);
    }
    *out = st ? EXPIRY_NEVER : old.expires_ms;
    fkv_value_release(&old);
    view_release(v);
    return st == FKV_NOTFOUND ? SQLITE_OK : errmap_vtab(&t->base, st);
}

/* Is ttl only what this statement has read? */
static int was_read(kv_table *t, sqlite3_value *ttl, int64_t old_ms)
{
    double ms, read_at;

    if (is_null(ttl)) return old_ms == EXPIRY_NEVER;
    if (old_ms == EXPIRY_NEVER || t->ttl_read_ms == 0) return 0;
    ms = sqlite3_value_double(ttl) * 1000;
    read_at = (double)old_ms - ms;
    return read_at >= (double)t->ttl_read_ms - 0.5 &&
           read_at <= (double)fkv_clock_ms(t->conn->store) + 0.5;
}

int expiry_of_update(kv_table *t, sqlite3_value **columns, int64_t *out)
{
    sqlite3_value *ttl = columns[schema_ttl_column(&t->schema)];
    sqlite3_value *at = columns[schema_expires_column(&t->schema)];
    int by_ttl = !sqlite3_value_nochange(ttl);

    *out = EXPIRY_NEVER;
    if (by_ttl && !sqlite3_value_nochange(at)) {
        int64_t old_ms;
        int rc = old_moment(t, &old_ms);
        if (rc) return rc;
        by_ttl = !was_read(t, ttl, old_ms);
    }
    if (by_ttl) return is_null(ttl) ? SQLITE_OK : from_ttl(t, ttl, out);
    if (sqlite3_value_nochange(at) || is_null(at)) return SQLITE_OK;
    return from_expires_at(t, at, out);
}

void expiry_result(kv_table *t, sqlite3_context *context, int column, int64_t expires_ms)
{
    int is_ttl = column == schema_ttl_column(&t->schema);
    int64_t now;

    if (expires_ms == EXPIRY_NEVER || (is_ttl && sqlite3_vtab_nochange(context))) return;
    if (!is_ttl) {
        sqlite3_result_double(context, (double)expires_ms / 1000);
        return;
    }
    now = fkv_clock_ms(t->conn->store);
    if (t->ttl_read_ms == 0) t->ttl_read_ms = now;
    sqlite3_result_double(context, (double)(expires_ms - now) / 1000);
}
