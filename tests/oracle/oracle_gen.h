/* oracle_gen.h -- what the parts of the generator share. */
#ifndef FKV_TESTS_ORACLE_GEN_H
#define FKV_TESTS_ORACLE_GEN_H

#include "oracle.h"

enum { COLUMNS_MAX = 6, KEYS_MAX = 3, POOL_SIZE = 24, PARAMS_MAX = 120 };

typedef struct field {
    const char *name; /* quoted where SQL needs it */
    const char *type;
    const char *usual; /* its DEFAULT as SQL; NULL = none */
    int not_null;
    int key; /* position in the key; -1 = none */
} field;

typedef struct table {
    const char *name;
    field columns[COLUMNS_MAX];
    int count;
    int keys[KEYS_MAX];
    int key_count;
    char *body;         /* what CREATE says between the parentheses; NULL = nothing */
    const char *schema; /* "", "temp." or "aux1." */
} table;

/* One table of a FROM clause. */
typedef struct source {
    const table *t;
    const char *alias;
} source;

typedef struct gen {
    rng r;
    history *h;
    sqlite3_str *text; /* the statement being written */
    value params[PARAMS_MAX];
    int param_count;
    value pool[POOL_SIZE]; /* most values come from here, so that keys meet */
    table t, u, n;         /* two fastkv tables and a native one */
    int utf16;
    int in_txn;           /* as far as the generator can tell */
    int keep_order;       /* no OR, no IN over rows: the plan must visit rows in key order */
    const table *written; /* NULL in a SELECT */
    int exact;            /* an equality fixes the very value: see oracle_query.c */
    int fuzzy;            /* one was written that does not */
    int once;             /* the statement must not be run again with other parameters */
    int no_pair_in;       /* no pair IN (SELECT ...) */
    int column_range;     /* one between two columns was written: see put_column_bound() */
    int bound_low;        /* a text below all letters was bound */
    int no_pattern;       /* no LIKE, no GLOB */
    int literals_only;    /* triggers and views know no parameters */
    int cursor_open;
    int with_trigger, with_view;
} gen;

void put(gen *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned below(gen *g, unsigned n);
int chance(gen *g, unsigned percent);
/* SQLite (3.40, 3.53) loses rows that RTRIM alone makes equal in any automatic index. */
const char *any_collation(gen *g);
const char *one_of(gen *g, const char *const *words); /* NULL-terminated */

/* A literal or a parameter. */
void put_value(gen *g, int null_percent);
void put_literal(gen *g);
void put_bound(gen *g, int null_percent);
void put_column(gen *g, const source *s);           /* any column, most often of the key */
void put_name(gen *g, const source *s, int column); /* alias.name */
void put_keys(gen *g, const source *s);             /* all key columns */
const table *any_table(gen *g);                     /* T most often, U, n */

/* A condition over `count` sources (1 or 2). */
void put_condition(gen *g, const source *s, int count, int depth);
void put_where(gen *g, const source *s, int count, unsigned percent);
/* A scalar expression over one source that raises no error. */
void put_scalar(gen *g, const source *s, int depth);
/* A condition that ties two sources. */
void put_join_term(gen *g, const source *a, const source *b);

/* ORDER BY that is total over the sources. */
void put_total_order(gen *g, const source *s, int count);
void put_limit(gen *g, unsigned percent);
/* Any SELECT; returns the STEP_ flags it needs. */
unsigned put_select(gen *g);

/* Writes, each one statement. */
void put_insert(gen *g, const table *t);
void put_update(gen *g, const table *t);
void put_delete(gen *g, const table *t);

/* oracle_schema.c: fill in g's tables, and add the steps that make them. */
void make_schema(gen *g);
void add_create(gen *g, const table *t, const char *name);
void add_setup(gen *g);

int may_bind(const gen *g);
/* Before a right side that has an affinity of its own: "+" takes it away where it must not. */
void put_plus(gen *g);

/* Add what was written as a step. */
step *finish(gen *g, step_kind kind, unsigned flags);

#endif
