/*
** oracle_expr.c -- conditions and expressions
**
** Every operator that reaches xBestIndex, on every side of it and with every kind of right side:
** literal, parameter, column, subquery; each has its own way through the planner. None of the
** expressions can raise an error, because whether it is raised would depend on which rows are
** looked at, and that is the planner's choice.
*/
#include <string.h>

#include "oracle_gen.h"

static const char *const compare_ops[] = {"=", "==", "IS", "<", "<=", ">", ">=", "<>", NULL};
static const char *const range_ops[] = {"<", "<=", ">", ">=", NULL};
void put_plus(gen *g)
{
    if (g->exact || g->written) {
        put(g, "+");
    } else {
        g->fuzzy = 1;
    }
}

void put_value(gen *g, int null_percent)
{
    if (may_bind(g) && chance(g, 40)) {
        put_bound(g, null_percent);
    } else if (chance(g, (unsigned)null_percent)) {
        put(g, "NULL");
    } else {
        put_literal(g);
    }
}

static value pick(gen *g)
{
    if (chance(g, 80)) return value_copy(&g->pool[below(g, POOL_SIZE)]);
    return value_random(&g->r, g->utf16);
}

void put_literal(gen *g)
{
    value v = pick(g);

    while (v.type == SQLITE_FLOAT && v.real != v.real) v = pick(g);
    value_literal(g->text, &v, g->utf16);
    value_free(&v);
}

/* Numeric text may stand above it. */
static int is_low_text(const value *v)
{
    return v->type == SQLITE_TEXT && (v->size == 0 || v->bytes[0] < ':');
}

void put_bound(gen *g, int null_percent)
{
    value v = {.type = SQLITE_NULL};

    if (!may_bind(g)) {
        put_literal(g);
        return;
    }
    if (!chance(g, (unsigned)null_percent)) {
        v = pick(g);
        while (null_percent == 0 && v.type == SQLITE_FLOAT && v.real != v.real) v = pick(g);
    }
    if (is_low_text(&v) && g->column_range) {
        value_literal(g->text, &v, g->utf16);
        value_free(&v);
        return;
    }
    if (is_low_text(&v)) g->bound_low = 1;
    g->params[g->param_count++] = v;
    put(g, "?%d", g->param_count);
}

void put_name(gen *g, const source *s, int column)
{
    put(g, "%s.%s", s->alias, s->t->columns[column].name);
}

void put_column(gen *g, const source *s)
{
    unsigned n = below(g, 10);

    if (n < 4) {
        put_name(g, s, s->t->keys[0]);
    } else if (n < 7) {
        put_name(g, s, s->t->keys[below(g, (unsigned)s->t->key_count)]);
    } else {
        put_name(g, s, (int)below(g, (unsigned)s->t->count));
    }
}

/* The other end of a range. Where a column of numeric type is also equal to a parameter, SQLite
** puts the parameter in its place, with the affinity of the column, and a virtual table cannot tell
** this from a parameter by itself: with text in it that is no number, numeric text is found to be
** above it that was below (README, limits). So a statement has one of them: a range by a column
** (+ takes its affinity away), or a text bound for which it would matter. */
static void put_column_bound(gen *g, const source *s)
{
    if (g->bound_low || g->literals_only) {
        put(g, "+");
    } else {
        g->column_range = 1;
    }
    put_column(g, s);
}

void put_keys(gen *g, const source *s)
{
    for (int i = 0; i < s->t->key_count; i++) {
        if (i) put(g, ", ");
        put_name(g, s, s->t->keys[i]);
    }
}

const table *any_table(gen *g)
{
    unsigned n = below(g, 10);

    return n < 6 ? &g->t : n < 8 ? &g->u : &g->n;
}

/* For a subquery: not the table that is written. A native table is written row by row, and what
** reads it meanwhile sees that (oracle_write.c, 4). */
static const table *other_table(gen *g)
{
    const table *t = any_table(g);

    while (t == g->written) t = any_table(g);
    return t;
}

/* -- right sides ------------------------------------------------------------------------------- */

/* (SELECT …) giving one value; with an outer source it may be correlated. */
static void put_subquery(gen *g, const source *outer)
{
    source in = {other_table(g), "q"};
    int exact = g->exact;

    put(g, "(SELECT ");
    switch (below(g, 4)) {
    case 0:
        put(g, "count(*) FROM %s AS q", in.t->name);
        break;
    case 1:
        put(g, "%s(", chance(g, 50) ? "min" : "max");
        put_name(g, &in, in.t->keys[0]);
        put(g, ")");
        if (in.t->key_count > 1) { /* which of 12 and 12.0 it is, nobody says */
            put(g, " > ");
            put_value(g, 0);
        }
        put(g, " FROM %s AS q", in.t->name);
        g->exact = 1;
        break;
    default:
        put_column(g, &in);
        put(g, " FROM %s AS q", in.t->name);
        break;
    }
    if (outer && chance(g, 50)) {
        put(g, " WHERE ");
        put_join_term(g, &in, outer);
    } else {
        put_where(g, &in, 1, 30);
    }
    g->exact = exact;
    put(g, " ORDER BY ");
    put_keys(g, &in);
    put(g, " LIMIT 1)");
}

static void put_right_side(gen *g, const source *s, int range)
{
    unsigned n = below(g, 100);

    if (n < 80) {
        put_value(g, 3);
    } else if (n < 86 && range) {
        put_column_bound(g, s);
    } else if (n < 86) {
        put_column(g, s);
    } else if (n < 92 && !g->keep_order) {
        put_plus(g);
        put_subquery(g, NULL);
    } else if (n < 95) {
        put(g, "+");
        put_value(g, 0);
    } else {
        put_plus(g);
        put(g, "CAST(");
        put_value(g, 0);
        put(g, " AS %s)", chance(g, 50) ? "TEXT" : chance(g, 50) ? "INTEGER" : "REAL");
    }
}

/* -- terms ------------------------------------------------------------------------------------- */

static void put_in(gen *g, const source *s)
{
    source in = {other_table(g), "m"};
    unsigned n = 1 + below(g, 6);

    put_column(g, s);
    put(g, chance(g, 12) ? " NOT IN (" : " IN (");
    if (chance(g, 25)) {
        put(g, "SELECT ");
        put_column(g, &in);
        put(g, " FROM %s AS m", in.t->name);
        put_where(g, &in, 1, 60);
        if (chance(g, 20)) put(g, " LIMIT -1");
    } else {
        for (unsigned i = 0; i < n; i++) {
            put(g, i ? OPEN ", " : "");
            if (chance(g, 4)) {
                put_column(g, s);
            } else {
                put_value(g, 3);
            }
            put(g, i ? CLOSE : "");
        }
    }
    put(g, ")");
}

/* A pattern that is too long is an error. */
static int is_pattern(const value *v)
{
    return v->type == SQLITE_INTEGER || (v->type == SQLITE_TEXT && v->size < 1000);
}

static const char *const globs[] = {"'a*'",
                                    "'user:*'",
                                    "'*'",
                                    "'5*'",
                                    "'1*'",
                                    "'\xc3\xa9*'",
                                    "'abc'",
                                    "'[ab]*'",
                                    "'-*'",
                                    "NULL",
                                    "5",
                                    "'?b*'",
                                    "''",
                                    "'user:1?'",
                                    "'a[*'",
                                    "'U*'",
                                    "'A*B'",
                                    "'[^a]*'",
                                    "x'61'",
                                    "5.0",
                                    "'0*'",
                                    "' *'",
                                    "'user:1*'",
                                    "'9*'",
                                    "'aA*'",
                                    "'\x7f\x7f*'",
                                    "'I*'",
                                    "'-I*'",
                                    "'\xef\xbf\xbd*'",
                                    NULL};
static const char *const likes[] = {"'a%'",
                                    "'user:%'",
                                    "'%'",
                                    "'5%'",
                                    "'1%'",
                                    "'\xc3\xa9%'",
                                    "'\xc3\x89%'",
                                    "'abc'",
                                    "'ABC%'",
                                    "'_b%'",
                                    "'-%'",
                                    "NULL",
                                    "5",
                                    "''",
                                    "'user:1_'",
                                    "'A_'",
                                    "'%b'",
                                    "x'6125'",
                                    "'USER:%'",
                                    "5.0",
                                    "'0%'",
                                    "' %'",
                                    "'Z%'",
                                    "'@%'",
                                    "'[%'",
                                    "'9%'",
                                    "'aA%'",
                                    "'k%'",
                                    "'_'",
                                    "'i%'",
                                    "'\xef\xbf\xbd%'",
                                    NULL};

static void put_pattern(gen *g, int glob)
{
    value v = pick(g);

    switch (below(g, 5)) {
    case 0: /* any short text and a wildcard */
        if (is_pattern(&v)) {
            value_literal(g->text, &v, g->utf16);
            put(g, "%s", glob ? "||'*'" : "||'%'");
        } else {
            put(g, "'a'");
        }
        break;
    case 1: /* the same, bound */
        if (is_pattern(&v) && may_bind(g)) {
            g->params[g->param_count++] = value_copy(&v);
            put(g, "?%d", g->param_count);
            g->once = 1;
        } else {
            put(g, "'b'");
        }
        break;
    default:
        put(g, "%s", one_of(g, glob ? globs : likes));
        break;
    }
    value_free(&v);
}

/* Where LIKE minds case SQLite makes >= and < of this too, but does not tell a virtual table of the
** LIKE: BLOBs and numbers that match are lost (README, limits). */
static void put_escaped(gen *g, const source *s)
{
    static const char *const patterns[] = {"'a%'",  "'user:%'", "'a\\%%'", "'\\_%'",
                                           "'A_b'", "'a\\_b'",  "'%\\%%'", NULL};
    int column = chance(g, 70) ? s->t->keys[0] : (int)below(g, (unsigned)s->t->count);

    put(g, "(typeof(");
    put_name(g, s, column);
    put(g, ") = 'text' AND ");
    put_name(g, s, column);
    put(g, " LIKE %s ESCAPE '\\')", one_of(g, patterns));
}

static void put_match(gen *g, const source *s)
{
    int glob = chance(g, 50);

    if (chance(g, 5)) {
        put_escaped(g, s);
        return;
    }
    if (chance(g, 5)) {
        put_pattern(g, glob);
        put(g, glob ? " GLOB " : " LIKE ");
        put(g, "substr(");
        put_column(g, s);
        put(g, ", 1, 50)"); /* a pattern must not be too long: that is an error */
        return;
    }
    if (s->t != &g->n) put(g, NATIVE);
    put_column(g, s);
    put(g, "%s%s", chance(g, 8) ? " NOT" : "", glob ? " GLOB " : " LIKE ");
    put_pattern(g, glob);
}

static void put_row_value(gen *g, const source *s)
{
    int keys = s->t->key_count > 1 && chance(g, 60);
    int a = keys ? s->t->keys[0] : (int)below(g, (unsigned)s->t->count);
    int b = keys ? s->t->keys[1] : (int)below(g, (unsigned)s->t->count);
    source in = {other_table(g), "p"};

    put(g, "(");
    put_name(g, s, a);
    put(g, ", ");
    put_name(g, s, b);
    put(g, ") ");
    switch (g->keep_order ? 0 : below(g, g->no_pair_in ? 4 : 6)) {
    case 4:
        /* +: SQLite checks what a virtual table finds without the affinity of these columns. */
        put(g, "IN (SELECT +");
        put_column(g, &in);
        put(g, ", +");
        put_column(g, &in);
        put(g, " FROM %s AS p", in.t->name);
        put_where(g, &in, 1, 40);
        /* Without LIMIT native looks the pair up in the key's index and, if the columns stand in
        ** another order there, gives them each other's affinity: a row is not IN its own table. */
        put(g, " LIMIT -1)");
        break;
    case 5: /* (A CAST in the last row has an affinity, and that counts for all of them.) */
        put(g, "IN (VALUES (+");
        put_value(g, 3);
        put(g, ", +");
        put_value(g, 3);
        put(g, ")" OPEN ", (+");
        put_value(g, 3);
        put(g, ", +");
        put_value(g, 3);
        put(g, ")" CLOSE ")");
        break;
    default:
        put(g, "%s (", one_of(g, compare_ops));
        put_value(g, 3);
        put(g, ", ");
        put_value(g, 3);
        put(g, ")");
        break;
    }
}

static void put_collated(gen *g, const source *s)
{
    put_column(g, s);
    put(g, " COLLATE %s ", any_collation(g));
    switch (below(g, 4)) {
    case 0:
        put(g, "BETWEEN ");
        put_value(g, 3);
        put(g, " AND ");
        put_value(g, 3);
        break;
    case 1:
        put(g, "IN (");
        put_value(g, 3);
        put(g, ", ");
        put_value(g, 3);
        put(g, ")");
        break;
    default:
        put(g, "%s ", one_of(g, compare_ops));
        put_value(g, 3);
        break;
    }
}

/* Not a bare column on the left: no use to the planner, but the filter must still hold. */
static void put_computed(gen *g, const source *s)
{
    static const char *const forms[] = {"+%",
                                        "-%",
                                        "length(%)",
                                        "typeof(%)",
                                        "%||''",
                                        "CAST(% AS TEXT)",
                                        "CAST(% AS INTEGER)",
                                        "lower(%)",
                                        "substr(%, 1, 1)",
                                        "ifnull(%, 5)",
                                        "unlikely(%)",
                                        "%+0",
                                        "% IS NULL",
                                        "CASE WHEN % > 5 THEN 'a' END",
                                        NULL};
    const char *form = one_of(g, forms);
    const char *hole = strchr(form, '%');

    put(g, "%.*s", (int)(hole - form), form);
    put_column(g, s);
    put(g, "%s %s ", hole + 1, one_of(g, compare_ops));
    put_value(g, 3);
}

static void put_exists(gen *g, const source *s)
{
    source in = {other_table(g), "e"};

    put(g, "%sEXISTS (SELECT 1 FROM %s AS e WHERE ", chance(g, 25) ? "NOT " : "", in.t->name);
    put_join_term(g, &in, s);
    put(g, OPEN " AND ");
    put_condition(g, &in, 1, 2);
    put(g, CLOSE ")");
}

static void put_comparison(gen *g, const source *s)
{
    unsigned n = below(g, 20);

    if (n == 0) {
        put_value(g, 3);
        put(g, " %s ", one_of(g, compare_ops));
        put_column(g, s);
        return;
    }
    put_column(g, s);
    if (n < 9) {
        put(g, " %s ", chance(g, 85) ? "=" : "IS");
        put_right_side(g, s, 0);
    } else if (n < 16) {
        put(g, " %s ", one_of(g, range_ops));
        put_right_side(g, s, 1);
    } else if (n < 19) {
        put(g, chance(g, 10) ? " NOT BETWEEN " : " BETWEEN ");
        put_right_side(g, s, 1);
        put(g, " AND ");
        put_right_side(g, s, 1);
    } else {
        put(g, " %s ", chance(g, 50) ? "<>" : "IS NOT");
        put_right_side(g, s, 0);
    }
}

static void put_term(gen *g, const source *s)
{
    unsigned n = below(g, 100);

    if (n < 50) {
        put_comparison(g, s);
    } else if (n < 62) {
        put_in(g, s);
    } else if (n < 75 && !g->no_pattern) {
        put_match(g, s);
    } else if (n < 80) {
        put_row_value(g, s);
    } else if (n < 84) {
        put_collated(g, s);
    } else if (n < 88) {
        put_computed(g, s);
    } else if (n < 91) {
        put_exists(g, s);
    } else if (n < 94) {
        put_column(g, s);
        put(g, chance(g, 30) ? " IS NULL" : " IS NOT NULL");
    } else if (n < 97 && !g->keep_order) {
        put_value(g, 3);
        put(g, " %s ", one_of(g, compare_ops));
        put_subquery(g, s);
    } else {
        put_column(g, s);
        put(g, " %s ", one_of(g, compare_ops));
        put_column_bound(g, s);
    }
}

static int has_pattern_since(gen *g, int start)
{
    const char *text = sqlite3_str_value(g->text) + start;

    return strstr(text, "GLOB") || strstr(text, "LIKE");
}

/* At most one side of an OR has a pattern: of two that begin alike SQLite makes one range, for any
** table, and forgets that it was for patterns. */
void put_condition(gen *g, const source *s, int count, int depth)
{
    const source *at = &s[below(g, (unsigned)count)];
    int start = sqlite3_str_length(g->text), without = g->no_pattern, any;
    unsigned n = below(g, 100);

    if (depth >= 3 || n >= 45) {
        put_term(g, at);
        return;
    }
    if (n < 4) {
        put(g, "NOT (");
        put_term(g, at);
        put(g, ")");
        return;
    }
    put(g, "(");
    put_condition(g, s, count, depth + 1);
    any = n >= 34 && !g->keep_order;
    put(g, OPEN " %s ", any ? "OR" : "AND");
    if (any && has_pattern_since(g, start)) g->no_pattern = 1;
    put_condition(g, s, count, depth + 1);
    g->no_pattern = without;
    put(g, CLOSE ")");
}

void put_where(gen *g, const source *s, int count, unsigned percent)
{
    if (!chance(g, percent)) return;
    put(g, OPEN " WHERE ");
    put_condition(g, s, count, 0);
    put(g, CLOSE);
}

/* A column as (part of) a pattern: not long, which would be an error. In a UTF-16 database a BLOB
** that becomes text would be other characters on each side. */
static void put_short_text(gen *g, const source *s)
{
    int column = chance(g, 60) ? s->t->keys[0] : (int)below(g, (unsigned)s->t->count);

    if (g->utf16) {
        put(g, "iif(typeof(");
        put_name(g, s, column);
        put(g, ") = 'blob', 'q', substr(");
        put_name(g, s, column);
        put(g, ", 1, 20))");
        return;
    }
    put(g, "substr(");
    put_name(g, s, column);
    put(g, ", 1, 20)");
}

void put_join_term(gen *g, const source *a, const source *b)
{
    put_column(g, a);
    switch (below(g, 12)) {
    case 0:
        put(g, " %s ", one_of(g, range_ops));
        put_column_bound(g, b);
        break;
    case 1:
        put(g, " GLOB ");
        put_short_text(g, b);
        put(g, "||'*'");
        break;
    case 2:
        put(g, " LIKE ");
        put_short_text(g, b);
        put(g, "%s", chance(g, 60) ? "||'%'" : "");
        break;
    case 3:
        put(g, " IN (");
        put_plus(g);
        put_column(g, b);
        put(g, ", ");
        put_column(g, b);
        put(g, ")");
        break;
    case 4:
        put(g, " BETWEEN ");
        put_column_bound(g, b);
        put(g, " AND ");
        put_column_bound(g, b);
        break;
    case 5:
        put(g, " IS ");
        put_plus(g);
        put_column(g, b);
        break;
    case 6:
        put(g, " = ");
        put_plus(g);
        put_column(g, b);
        put(g, OPEN " COLLATE %s" CLOSE, any_collation(g));
        break;
    case 7:
        put(g, " = +");
        put_column(g, b);
        break;
    default:
        put(g, " = ");
        put_plus(g);
        put_column(g, b);
        break;
    }
}

void put_scalar(gen *g, const source *s, int depth)
{
    switch (below(g, depth ? 8 : 11)) {
    case 0:
        put(g, "length(");
        put_column(g, s);
        put(g, ")");
        break;
    case 1:
        put(g, "typeof(");
        put_column(g, s);
        put(g, ")");
        break;
    case 2:
        put_column(g, s);
        put(g, "||'x'");
        break;
    case 3:
        put_column(g, s);
        put(g, "+1");
        break;
    case 4:
        put_value(g, 3);
        break;
    case 5:
        put(g, "CASE WHEN ");
        put_condition(g, s, 1, 2);
        put(g, " THEN ");
        put_column(g, s);
        put(g, " ELSE 'no' END");
        break;
    case 6:
        put(g, "quote(");
        put_column(g, s);
        put(g, ")");
        break;
    case 8:
        put_subquery(g, s);
        break;
    default:
        put_column(g, s);
        break;
    }
}
