#include "keyarg.h"

#include <string.h>

#include "errmap.h"

SQLITE_EXTENSION_INIT3

static int finish(const buf *from, const buf *to)
{
    return buf_status(from) || buf_status(to) ? SQLITE_NOMEM : SQLITE_OK;
}

int keyarg_all(kv_table *t, buf *from, buf *to)
{
    kv_table_range all;

    kv_table_bounds(t, &all);
    buf_append(from, all.from, sizeof all.from);
    buf_append(to, all.to, sizeof all.to);
    return finish(from, to);
}

static affinity first_affinity(const kv_table *t)
{
    return t->schema.columns[t->schema.keys[0]].affinity;
}

int keyarg_prefix(kv_table *t, sqlite3_value *arg, buf *from, buf *to)
{
    cell v;
    int rc = cell_from_value(arg, first_affinity(t), &v);

    if (rc) return rc;
    if (v.type != SQLITE_TEXT && v.type != SQLITE_BLOB) {
        return errmap_say(&t->base, SQLITE_MISMATCH, "fastkv: a prefix must be text or a BLOB");
    }
    buf_append(from, t->prefix, SPACE_BYTES);
    keycode_append(from, &v, t->schema.key_count == 1);
    /* An escaped column ends in two bytes that a prefix must not have. */
    if (t->schema.key_count > 1 && from->size >= 2) from->size -= 2;
    buf_append(to, from->data, from->size);
    keycode_successor(to, SPACE_BYTES);
    return finish(from, to);
}

int keyarg_group(kv_table *t, sqlite3_value *arg, buf *from, buf *to)
{
    cell v;
    int rc = cell_from_value(arg, first_affinity(t), &v);

    if (rc) return rc;
    buf_append(from, t->prefix, SPACE_BYTES);
    keycode_append(from, &v, 0);
    buf_append(to, from->data, from->size);
    keycode_successor(to, SPACE_BYTES);
    return finish(from, to);
}

/* -- JSON ------------------------------------------------------------------------------------- */

static int not_a_range(kv_table *t)
{
    return errmap_say(&t->base, SQLITE_ERROR,
                      "fastkv: delete-range needs a JSON array [from, to] in column arg, each a "
                      "key, an array of key columns, or null");
}

/* One column of a bound, from a row of bound(): what it is compared as. */
static int take_column(kv_table *t, sqlite3_stmt *s, int position, buf *out)
{
    affinity a = t->schema.columns[t->schema.keys[position]].affinity;
    sqlite3_value *value = sqlite3_value_dup(sqlite3_column_value(s, 1));
    cell v = {.type = SQLITE_NULL};
    int rc = value ? cell_from_value(value, affinity_for_comparison(a), &v) : SQLITE_NOMEM;

    if (rc == SQLITE_OK && v.type == SQLITE_NULL) {
        rc = not_a_range(t); /* also an object or a deeper array */
    } else if (rc == SQLITE_OK && v.type == SQLITE_TEXT && !t->utf8) {
        rc = errmap_say(&t->base, SQLITE_ERROR,
                        "fastkv: delete-range takes text in a UTF-8 database only: this one sorts "
                        "it in another order");
    } else if (rc == SQLITE_OK) {
        keycode_append(out, &v, position == t->schema.key_count - 1);
    }
    sqlite3_value_free(value);
    return rc;
}

/* A bound: all keys that begin with its columns lie at or above it. null leaves `out` as it is. */
static int take_bound(kv_table *t, sqlite3_stmt *s, buf *out)
{
    int count = 0, rc = SQLITE_OK;
    int step = sqlite3_step(s);
    const char *whole = step == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;

    if (whole && strcmp(whole, "null") == 0) return SQLITE_OK;
    if (!whole || strcmp(whole, "object") == 0) return not_a_range(t);
    buf_clear(out);
    buf_append(out, t->prefix, SPACE_BYTES);
    for (; step == SQLITE_ROW && rc == SQLITE_OK; step = sqlite3_step(s)) {
        if (count == t->schema.key_count) return not_a_range(t);
        rc = take_column(t, s, count++, out);
    }
    if (rc) return rc;
    return step == SQLITE_DONE ? SQLITE_OK : not_a_range(t);
}

/* Bound number i of the array. json_each gives a row for a scalar, and one for each element of an
** array; a missing one gives none. */
static int bound(kv_table *t, sqlite3_value *arg, int i, buf *out)
{
    static const char *const paths[] = {"$[0]", "$[1]"};
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(t->owner->db,
                                "SELECT json_type(?1, ?2), atom FROM json_each(?1, ?2) "
                                "WHERE json_array_length(?1) = 2",
                                -1, &s, NULL);

    if (rc) {
        return errmap_say(&t->base, rc, "fastkv: delete-range needs SQLite's JSON functions: %s",
                          sqlite3_errmsg(t->owner->db));
    }
    rc = sqlite3_bind_value(s, 1, arg);
    if (rc == SQLITE_OK) rc = sqlite3_bind_text(s, 2, paths[i], -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = take_bound(t, s, out);
    (void)sqlite3_finalize(s);
    return rc;
}

int keyarg_between(kv_table *t, sqlite3_value *arg, buf *from, buf *to)
{
    int rc = keyarg_all(t, from, to);

    if (rc == SQLITE_OK) rc = bound(t, arg, 0, from);
    if (rc == SQLITE_OK) rc = bound(t, arg, 1, to);
    return rc ? rc : finish(from, to);
}
