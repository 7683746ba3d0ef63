/*
** oracle_write.c -- INSERT, UPDATE, DELETE
**
** What SQLite's core does differently for a virtual table, whatever its module does, is left out
** here, and nothing else:
**
** 1. DEFAULT: the module sees NULL for a column that INSERT leaves out, as for a literal NULL. So a
**    column with a DEFAULT is never given NULL but by a parameter, and not even so where RETURNING
**    makes SQLite buffer the rows, because the buffer forgets what was bound.
** 2. RETURNING shows the row as SQLite hands it to the module: NULL where the DEFAULT goes, and
**    with OR IGNORE also rows that are then ignored. UPDATE and DELETE refuse RETURNING.
** 3. ON CONFLICT DO is refused.
** 4. UPDATE computes all new values before it writes the first; for a native table, row by row. So
**    neither SET nor a subquery reads the table that is written, and UPDATE OR REPLACE
**    that moves keys, where a row may meet one that the statement has just put there, sets
**    constants, in the whole key (12 and 12.0 are one key and two values).
** 5. UPDATE … FROM with more than one matching row takes each for a native table's any one; and if
**    it fails halfway inside a transaction, what it has done stays. So it has one row to take from,
**    and OR IGNORE or OR ROLLBACK.
** 6. What a statement does before it fails (OR FAIL), or which of two rows gets a key, depends on
**    the order of the rows. Both visit them in key order, but for MULTI-INDEX OR, and in a UTF-16
**    database, where fastkv's keys are in another order (keep_order).
*/
#include <string.h>

#include "oracle_gen.h"

static const char *const modes[] = {
    "",           "",         "",          " OR REPLACE",  " OR REPLACE",
    " OR IGNORE", " OR FAIL", " OR ABORT", " OR ROLLBACK", NULL};

static void put_new_value(gen *g, const field *c, int returning)
{
    if (c->usual && !returning && chance(g, 25)) {
        put_bound(g, 50);
    } else {
        put_value(g, c->usual ? 0 : c->key >= 0 || c->not_null ? 2 : 8);
    }
}

/* A subset of the columns in any order; 0 = none named, that is all. */
static int choose_columns(gen *g, const table *t, int *out)
{
    int count = 0;

    if (chance(g, 65)) {
        for (int i = 0; i < t->count; i++) out[i] = i;
        return 0;
    }
    for (int i = 0; i < t->count; i++) {
        if (t->columns[i].key >= 0 || chance(g, 60)) out[count++] = i;
    }
    for (int i = count - 1; i > 0; i--) {
        int j = (int)below(g, (unsigned)i + 1), k = out[i];
        out[i] = out[j];
        out[j] = k;
    }
    return count;
}

static void put_column_list(gen *g, const table *t, const int *columns, int count)
{
    if (count == 0) return;
    put(g, "(");
    for (int i = 0; i < count; i++) put(g, "%s%s", i ? ", " : "", t->columns[columns[i]].name);
    put(g, ")");
}

/* Columns without a DEFAULT only: see above. */
static void put_returning(gen *g, const table *t)
{
    int any = 0;

    for (int i = 0; i < t->count; i++) {
        if (t->columns[i].usual || chance(g, 30)) continue;
        put(g, "%s%s", any ? ", " : OPEN " RETURNING ", t->columns[i].name);
        any = 1;
    }
    if (any) put(g, CLOSE);
}

static void put_rows(gen *g, const table *t, const int *columns, int count, int returning)
{
    unsigned rows = chance(g, 55) ? 1 : 2 + below(g, 7);

    if (count == 0) count = t->count;
    put(g, " VALUES ");
    for (unsigned r = 0; r < rows; r++) {
        put(g, r ? OPEN ", (" : "(");
        for (int i = 0; i < count; i++) {
            if (i) put(g, ", ");
            put_new_value(g, &t->columns[columns[i]], returning);
        }
        put(g, r ? ")" CLOSE : ")");
    }
}

static void put_select_rows(gen *g, const table *t, const int *columns, int count)
{
    source s = {chance(g, 50) ? t : any_table(g), "x"};

    if (count == 0) count = t->count;
    put(g, " SELECT ");
    for (int i = 0; i < count; i++) {
        const field *c = &t->columns[columns[i]];
        put(g, "%s%s", i ? ", " : "", c->usual ? "ifnull(" : "");
        if (c->key >= 0 && chance(g, 40)) {
            put_column(g, &s);
            put(g, "%s", chance(g, 50) ? "||'1'" : "+1");
        } else if (chance(g, 20)) {
            put_literal(g);
        } else {
            put_column(g, &s);
        }
        put(g, "%s", c->usual ? ", 7)" : "");
    }
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 60);
    put_total_order(g, &s, 1);
    put(g, " LIMIT %u", 1 + below(g, 20));
}

/* Many rows, so that there is more than one block and one level. */
static void put_series(gen *g, const table *t)
{
    unsigned rows = 20 + below(g, 200), factor = 1 + 2 * below(g, 500);

    put(g,
        "INSERT OR %s INTO %s WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c "
        "WHERE x < %u) SELECT ",
        chance(g, 50) ? "IGNORE" : "REPLACE", t->name, rows);
    for (int i = 0; i < t->count; i++) {
        unsigned n = below(g, 4);
        put(g, "%s", i ? ", " : "");
        if (n == 0) {
            put(g, "x*%u%%1009", factor);
        } else if (n == 1) {
            put(g, "x*%u%%1009/4.0", factor);
        } else if (n == 2) {
            put(g, "'user:'||(x*%u%%997)", factor);
        } else {
            put(g, "printf('%%s%%d%%s', char(97+x%%5), x, substr('%060d', 1, x%%60))", 0);
        }
    }
    put(g, " FROM c");
}

void put_insert(gen *g, const table *t)
{
    const char *mode = one_of(g, modes);
    int columns[COLUMNS_MAX];
    int count, returning = !strstr(mode, "IGNORE") && chance(g, 12);

    if (chance(g, 3)) {
        put_series(g, t);
        return;
    }
    if (chance(g, 2)) {
        put(g, "INSERT%s INTO %s DEFAULT VALUES", mode, t->name);
        return;
    }
    if (chance(g, 20)) {
        put(g, "REPLACE INTO %s", t->name);
    } else {
        put(g, "INSERT" OPEN "%s" CLOSE " INTO %s", mode, t->name);
    }
    g->once = returning;
    count = choose_columns(g, t, columns);
    put_column_list(g, t, columns, count);
    if (chance(g, 12)) {
        put_select_rows(g, t, columns, count);
    } else {
        put_rows(g, t, columns, count, returning);
    }
    if (returning) put_returning(g, t);
}

/* One row by its whole key. */
static void put_key_equality(gen *g, const table *t)
{
    source s = {t, t->name};

    put(g, " WHERE ");
    for (int i = 0; i < t->key_count; i++) {
        if (i) put(g, " AND ");
        put_name(g, &s, t->keys[i]);
        put(g, " = ");
        put_value(g, 0);
    }
}

/* A new value for a column. Constant: one that reads no column. */
static void put_set(gen *g, const table *t, int index, int constant)
{
    const field *c = &t->columns[index];
    source s = {t, t->name};

    put(g, "%s = ", c->name);
    if (constant || chance(g, 55)) {
        put_value(g, c->key >= 0 || c->not_null ? 2 : 8);
        return;
    }
    switch (below(g, 7)) {
    case 0:
        put(g, "substr(%s||'1', 1, 40)", c->name);
        break;
    case 1:
        put(g, "%s+1", c->name);
        break;
    case 2:
        put(g, "-%s", c->name);
        break;
    case 3:
        put(g, "(SELECT max(i) FROM n)");
        break;
    default:
        put_column(g, &s);
        break;
    }
}

void put_update(gen *g, const table *t)
{
    source s = {t, t->name};
    const char *mode = one_of(g, modes);
    int columns[COLUMNS_MAX], count = 0, moves = 0, ordered, constant, from;

    for (int i = 0; i < t->count; i++) {
        int key = t->columns[i].key >= 0;
        if (!chance(g, key ? 20 : 50)) continue;
        columns[count++] = i;
        moves |= key;
    }
    if (count == 0) {
        columns[count++] = (int)below(g, (unsigned)t->count);
        moves = t->columns[columns[0]].key >= 0;
    }
    ordered = moves || strstr(mode, "FAIL");
    constant = moves && strstr(mode, "REPLACE");
    for (int i = 0; constant && i < t->count; i++) { /* all of the key, see above */
        int there = 0;
        for (int k = 0; k < count; k++) there |= columns[k] == i;
        if (!there && t->columns[i].key >= 0) columns[count++] = i;
    }
    from = chance(g, 20) && (strstr(mode, "IGNORE") || strstr(mode, "ROLLBACK"));
    put(g, "UPDATE%s %s SET ", mode, t->name);
    for (int i = 0; i < count; i++) {
        put(g, "%s", i == 0 ? "" : constant ? ", " : OPEN ", ");
        put_set(g, t, columns[i], constant);
        put(g, "%s", i == 0 || constant ? "" : CLOSE);
    }
    if (ordered && g->utf16) {
        put_key_equality(g, t);
        return;
    }
    if (from) put(g, " FROM (SELECT id, i, s, b FROM n ORDER BY id LIMIT 1) AS f");
    g->keep_order = ordered;
    if (chance(g, 25)) {
        put_key_equality(g, t);
    } else {
        put_where(g, &s, 1, 90);
    }
    g->keep_order = 0;
}

void put_delete(gen *g, const table *t)
{
    source s = {t, t->name};

    put(g, "DELETE FROM %s", t->name);
    if (chance(g, 25)) {
        put_key_equality(g, t);
    } else {
        put_where(g, &s, 1, 97);
    }
}
