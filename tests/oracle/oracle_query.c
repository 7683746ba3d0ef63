/*
** oracle_query.c -- SELECTs
**
** ORDER BY ends in all key columns of all sources wherever the order is to be compared, and LIMIT
** comes only after such an order: everything else is SQLite's choice. The same goes for which of
** two equal values (1 and 1.0) stands for a group: STEP_LOOSE. sum() is over integers, because the
** sum of REALs depends on the order in which rows are met.
**
** SQLite itself takes a column that stands in an equality for constant, and leaves it out of ORDER
** BY and GROUP BY, although '5' and '+5' are both equal to the 5 of a numeric column: native rows
** come in any order then, groups in pieces, and max() is the first it meets. So after such an
** equality no order is compared (fuzzy), and where it would matter the right side loses its
** affinity by a + (exact).
**
** SQLite before 3.41 shows a virtual table that is the left one of a LEFT JOIN the LIKE and GLOB of
** the ON clause as if they were in WHERE, and = and < not: they are left out there (no_pattern).
*/
#include <string.h>

#include "oracle_gen.h"

static const char *const directions[] = {"", "", " ASC", " DESC", " DESC", NULL};

static void put_random_terms(gen *g, const source *s, int count)
{
    unsigned n = 1 + below(g, 2);

    for (unsigned i = 0; i < n; i++) {
        const source *at = &s[below(g, (unsigned)count)];
        put(g, OPEN);
        put_column(g, at);
        if (chance(g, 8)) put(g, " COLLATE %s", chance(g, 50) ? "NOCASE" : "RTRIM");
        put(g, "%s", one_of(g, directions));
        if (chance(g, 8)) put(g, " NULLS %s", chance(g, 50) ? "FIRST" : "LAST");
        put(g, ", " CLOSE);
    }
}

void put_total_order(gen *g, const source *s, int count)
{
    int plain = chance(g, 65);
    const char *all = chance(g, 50) ? "" : " DESC";

    put(g, " ORDER BY ");
    if (!plain) put_random_terms(g, s, count);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < s[i].t->key_count; k++) {
            if (i || k) put(g, ", ");
            put_name(g, &s[i], s[i].t->keys[k]);
            put(g, "%s", plain || chance(g, 60) ? all : one_of(g, directions));
        }
    }
}

static void put_count(gen *g)
{
    static const char *const counts[] = {"0",
                                         "1",
                                         "2",
                                         "3",
                                         "5",
                                         "10",
                                         "100",
                                         "-1",
                                         "1+1",
                                         "'2'",
                                         "(SELECT 2)",
                                         "2.0",
                                         "-9223372036854775808",
                                         "9223372036854775807",
                                         NULL};

    if (may_bind(g) && chance(g, 20)) {
        value v = {.type = SQLITE_INTEGER, .integer = (int64_t)below(g, 8) - 1};
        g->params[g->param_count++] = v;
        put(g, "?%d", g->param_count);
    } else if (chance(g, 2)) {
        put(g, "'abc'"); /* datatype mismatch */
    } else {
        put(g, "%s", one_of(g, counts));
    }
}

void put_limit(gen *g, unsigned percent)
{
    if (!chance(g, percent)) return;
    put(g, OPEN " LIMIT ");
    put_count(g);
    if (chance(g, 50)) {
        put(g, OPEN " OFFSET ");
        put_count(g);
        put(g, CLOSE);
    }
    put(g, CLOSE);
}

static void put_result_columns(gen *g, const source *s, int count)
{
    unsigned n = 1 + below(g, 3);

    if (chance(g, 45)) {
        put(g, "*");
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        const source *at = &s[below(g, (unsigned)count)];
        put(g, "%s", i ? ", " : "");
        if (chance(g, 70)) {
            put_column(g, at);
        } else {
            put_scalar(g, at, 0);
        }
    }
}

static unsigned put_order_and_limit(gen *g, const source *s, int count)
{
    if (chance(g, 25)) return 0;
    put_total_order(g, s, count);
    if (g->fuzzy) return 0;
    put_limit(g, 30);
    return STEP_ORDERED;
}

static unsigned put_plain(gen *g)
{
    source s = {any_table(g), "x"};

    put(g, "SELECT ");
    put_result_columns(g, &s, 1);
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 90);
    return put_order_and_limit(g, &s, 1);
}

static void put_aggregate(gen *g, const source *s)
{
    static const char *const forms[] = {"count(*)",    "count(", "min(", "max(", "count(DISTINCT ",
                                        "sum(length(", "max(",   "min(", NULL};
    const char *form = one_of(g, forms);
    int depth = 0;

    put(g, "%s", form);
    for (const char *p = form; *p; p++) depth += (*p == '(') - (*p == ')');
    if (depth) put_column(g, s);
    while (depth--) put(g, ")");
}

static unsigned put_aggregates(gen *g)
{
    source s = {any_table(g), "x"};
    unsigned n = 1 + below(g, 3);

    put(g, "SELECT ");
    if (s.t->key_count == 1 && chance(g, 20)) {
        /* A bare column beside max() is that of the row which has it. */
        put(g, "%s(", chance(g, 50) ? "min" : "max");
        put_keys(g, &s);
        put(g, "), ");
        put_column(g, &s);
    } else {
        for (unsigned i = 0; i < n; i++) {
            put(g, "%s", i ? ", " : "");
            put_aggregate(g, &s);
        }
    }
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 70);
    return STEP_LOOSE;
}

static unsigned put_groups(gen *g)
{
    source s = {any_table(g), "x"};
    int by = chance(g, 70) ? s.t->keys[0] : (int)below(g, (unsigned)s.t->count);
    int second = chance(g, 30) ? (int)below(g, (unsigned)s.t->count) : -1;

    put(g, "SELECT ");
    put_name(g, &s, by);
    if (second >= 0) {
        put(g, ", ");
        put_name(g, &s, second);
    }
    put(g, ", ");
    put_aggregate(g, &s);
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 60);
    put(g, " GROUP BY ");
    put_name(g, &s, by);
    if (second >= 0) {
        put(g, ", ");
        put_name(g, &s, second);
    }
    if (chance(g, 25)) put(g, OPEN " HAVING count(*) > 1" CLOSE);
    if (chance(g, 30)) return STEP_LOOSE;
    put(g, " ORDER BY 1%s%s", one_of(g, directions), second >= 0 ? ", 2" : "");
    put_limit(g, 20);
    return STEP_LOOSE | STEP_ORDERED;
}

static unsigned put_distinct(gen *g)
{
    source s = {any_table(g), "x"};
    int two = chance(g, 30);

    put(g, "SELECT DISTINCT ");
    put_column(g, &s);
    if (two) {
        put(g, ", ");
        put_column(g, &s);
    }
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 60);
    if (chance(g, 40)) return STEP_LOOSE;
    put(g, " ORDER BY 1%s%s", one_of(g, directions), two ? ", 2" : "");
    put_limit(g, 20);
    return STEP_LOOSE | STEP_ORDERED;
}

static unsigned put_join(gen *g)
{
    static const char *const joins[] = {"JOIN",       "LEFT JOIN", "CROSS JOIN", "INNER JOIN",
                                        "RIGHT JOIN", "FULL JOIN", NULL};
    source s[2] = {{any_table(g), "x"}, {any_table(g), "y"}};
    const char *join = one_of(g, joins);

    if (s[0].t == s[1].t && chance(g, 30)) {
        put(g, "SELECT ");
        put_column(g, s);
        if (chance(g, 40)) {
            put(g, ", count(*) FROM %s AS x NATURAL JOIN %s AS y", s[0].t->name, s[1].t->name);
        } else {
            put(g, ", count(*) FROM %s AS x, %s AS y WHERE ", s[0].t->name, s[1].t->name);
            g->exact = 1;
            put_join_term(g, &s[1], &s[0]);
            g->exact = 0;
        }
        put(g, " GROUP BY 1");
        return STEP_LOOSE;
    }
    put(g, "SELECT ");
    put_result_columns(g, s, 2);
    put(g, " FROM %s AS x %s %s AS y ON ", s[0].t->name, join, s[1].t->name);
    put_join_term(g, &s[1], &s[0]);
    if (chance(g, 30)) {
        put(g, OPEN " AND ");
        g->no_pattern = strcmp(join, "LEFT JOIN") == 0;
        put_condition(g, s, 2, 2);
        g->no_pattern = 0;
        put(g, CLOSE);
    }
    /* For rows that a RIGHT JOIN has not matched, SQLite 3.40 looks a pair up in a native table
    ** by a list that it has made for another use of it: it finds none. */
    g->no_pair_in = strcmp(join, "RIGHT JOIN") == 0 || strcmp(join, "FULL JOIN") == 0;
    put_where(g, s, 2, 30);
    g->no_pair_in = 0;
    return put_order_and_limit(g, s, 2);
}

static unsigned put_compound(gen *g)
{
    static const char *const ops[] = {"UNION", "UNION ALL", "INTERSECT", "EXCEPT", NULL};
    source s = {any_table(g), "x"}, o = {any_table(g), "y"};

    put(g, "SELECT ");
    put_column(g, &s);
    put(g, " FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 50);
    put(g, " %s SELECT ", one_of(g, ops));
    put_column(g, &o);
    put(g, " FROM %s AS y", o.t->name);
    put_where(g, &o, 1, 50);
    if (chance(g, 50)) return STEP_LOOSE;
    put(g, " ORDER BY 1%s", one_of(g, directions));
    return STEP_LOOSE | STEP_ORDERED;
}

static unsigned put_cte(gen *g)
{
    source s = {any_table(g), "x"};
    source c = {s.t, "c"};

    if (chance(g, 40)) {
        /* A walk over the keys, one seek for each. */
        put(g, "WITH RECURSIVE w(k) AS (SELECT min(");
        put_name(g, &s, s.t->keys[0]);
        put(g, ") FROM %s AS x UNION ALL SELECT (SELECT min(", s.t->name);
        put_name(g, &s, s.t->keys[0]);
        put(g, ") FROM %s AS x WHERE ", s.t->name);
        put_name(g, &s, s.t->keys[0]);
        put(g, " > w.k) FROM w WHERE w.k IS NOT NULL LIMIT 500) SELECT k FROM w");
        return STEP_LOOSE | STEP_ORDERED;
    }
    put(g, "WITH c AS %s(SELECT * FROM %s AS x",
        chance(g, 30)   ? "MATERIALIZED "
        : chance(g, 50) ? "NOT MATERIALIZED "
                        : "",
        s.t->name);
    put_where(g, &s, 1, 60);
    put(g, ") SELECT ");
    put_result_columns(g, &c, 1);
    put(g, " FROM c");
    put_where(g, &c, 1, 60);
    return put_order_and_limit(g, &c, 1);
}

static unsigned put_window(gen *g)
{
    source s = {any_table(g), "x"};
    int part = chance(g, 50);

    put(g, "SELECT ");
    put_column(g, &s);
    put(g, ", ");
    switch (below(g, 4)) {
    case 0:
        put(g, "row_number()");
        break;
    case 1:
        put(g, "sum(length(");
        put_column(g, &s);
        put(g, "))");
        break;
    case 2:
        put(g, "lag(");
        put_column(g, &s);
        put(g, ")");
        break;
    default:
        put(g, "count(*)");
        break;
    }
    put(g, " OVER (");
    if (part) {
        put(g, "PARTITION BY ");
        put_column(g, &s);
    }
    put_total_order(g, &s, 1);
    put(g, ") FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 50);
    return put_order_and_limit(g, &s, 1);
}

static unsigned put_concatenation(gen *g)
{
    source s = {any_table(g), "x"};

    put(g, "SELECT group_concat(substr(v, 1, 30), '|'), count(*) FROM (SELECT ");
    put_column(g, &s);
    put(g, " AS v FROM %s AS x", s.t->name);
    put_where(g, &s, 1, 60);
    put_total_order(g, &s, 1);
    put_limit(g, 20);
    put(g, ")");
    return 0;
}

static unsigned put_view(gen *g)
{
    source s = {&g->t, "vw"};

    put(g, "SELECT ");
    put_result_columns(g, &s, 1);
    put(g, " FROM vw");
    put_where(g, &s, 1, 70);
    return put_order_and_limit(g, &s, 1);
}

static unsigned put_info(gen *g)
{
    put(g, "SELECT name, type, \"notnull\" FROM pragma_table_info('%s')", any_table(g)->name);
    return STEP_ORDERED;
}

static unsigned put_exactly(gen *g, unsigned (*write)(gen *g))
{
    unsigned flags;

    g->exact = 1;
    flags = write(g);
    g->exact = 0;
    return flags;
}

unsigned put_select(gen *g)
{
    unsigned n = below(g, 100);

    g->fuzzy = 0;
    if (n < 50) return put_plain(g);
    if (n < 58) return put_exactly(g, put_aggregates);
    if (n < 64) return put_exactly(g, put_groups);
    if (n < 69) return put_exactly(g, put_distinct);
    if (n < 82) return put_join(g);
    if (n < 86) return put_exactly(g, put_compound);
    if (n < 90) return put_cte(g);
    if (n < 94) return put_exactly(g, put_window);
    if (n < 95) return put_info(g);
    if (n < 97 || !g->with_view) return put_exactly(g, put_concatenation);
    return put_view(g);
}
