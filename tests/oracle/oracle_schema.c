/*
** oracle_schema.c -- tables, views, triggers
**
** T and U are fastkv tables on one side and WITHOUT ROWID tables on the other; n, src and log are
** native on both (with no column called t or u: every fastkv table has a hidden one of its name).
** The key is one to three columns in any order and any place. Types are such that every affinity is
** met by name and by SQLite's rules for odd names.
*/
#include <string.h>

#include "oracle_gen.h"

static const char *const names[] = {
    "a",         "b",    "c",       "\"d e\"", "\"select\"", "\"x\"\"y\"", "[q]", "\"\xc3\xa9\"",
    "\"rowid\"", "Key1", "\"1st\"", "v",       "\"a.b\"",    "`h`",        NULL};
static const char *const types[] = {"",
                                    "",
                                    "TEXT",
                                    "TEXT",
                                    "INTEGER",
                                    "INTEGER",
                                    "REAL",
                                    "NUMERIC",
                                    "BLOB",
                                    "INT",
                                    "VARCHAR(10)",
                                    "DOUBLE PRECISION",
                                    "ANY",
                                    "FLOATING POINT",
                                    "CHARINT",
                                    "DECIMAL(10, 5)",
                                    "DATETIME",
                                    "STRING",
                                    "UNSIGNED BIG INT",
                                    "\"my type\"",
                                    "BLOBTEXT",
                                    "float",
                                    "clob",
                                    NULL};
static const char *const defaults[] = {"5",
                                       "-5",
                                       "'x'",
                                       "''",
                                       "x'00'",
                                       "1.5",
                                       "1e3",
                                       "'05'",
                                       "TRUE",
                                       "NULL",
                                       "'a b'",
                                       "9007199254740993",
                                       "-9223372036854775808",
                                       "word",
                                       NULL};
static const char *const options[] = {
    "memory='1MB'",    "block_size=256",   "compression=none", "bloom_bits=0",
    "durability=none", "compression=zlib", "block_size=4096",  NULL};

static int is_used(const table *t, const char *name)
{
    for (int i = 0; i < t->count; i++) {
        if (strcmp(t->columns[i].name, name) == 0) return 1;
    }
    return 0;
}

static void make_columns(gen *g, table *t)
{
    int count = t->key_count + (int)below(g, (unsigned)(COLUMNS_MAX - t->key_count + 1));

    for (t->count = 0; t->count < count;) {
        field *c = &t->columns[t->count];
        const char *name = one_of(g, names);
        if (is_used(t, name)) continue;
        c->name = name;
        c->type = one_of(g, types);
        c->key = -1;
        c->not_null = chance(g, 15);
        c->usual = chance(g, 15) ? one_of(g, defaults) : NULL;
        t->count++;
    }
    for (int i = 0; i < t->key_count;) {
        int at = chance(g, 50) && t->columns[i].key < 0 ? i : (int)below(g, (unsigned)count);
        if (t->columns[at].key >= 0) continue;
        t->columns[at].key = i;
        t->keys[i++] = at;
    }
}

/* The text between the parentheses. */
static void write_body(gen *g, table *t)
{
    int inside = t->key_count == 1 && chance(g, 50);

    for (int i = 0; i < t->count; i++) {
        const field *c = &t->columns[i];
        put(g, "%s%s" OPEN " %s" CLOSE, i ? ", " : "", c->name, c->type);
        if (inside && c->key >= 0) put(g, " PRIMARY KEY");
        if (c->not_null) put(g, OPEN "%s NOT NULL" CLOSE, chance(g, 20) ? " CONSTRAINT nn" : "");
        if (c->usual) put(g, OPEN " DEFAULT %s" CLOSE, c->usual);
        if (chance(g, 10)) put(g, OPEN " COLLATE BINARY" CLOSE);
    }
    if (!inside) {
        put(g, ", PRIMARY KEY (");
        for (int i = 0; i < t->key_count; i++)
            put(g, "%s%s", i ? ", " : "", t->columns[t->keys[i]].name);
        put(g, ")");
    }
    t->body = sqlite3_str_finish(g->text);
    g->text = sqlite3_str_new(NULL);
}

static void make_native(table *t)
{
    static const char *const column_names[] = {"id", "i", "s", "b", "r"};

    t->name = "n";
    t->count = 5;
    for (int i = 0; i < t->count; i++) {
        t->columns[i].name = column_names[i];
        t->columns[i].key = -1;
    }
    t->columns[0].key = 0;
    t->key_count = 1;
    t->body = sqlite3_mprintf("id INTEGER PRIMARY KEY, i INTEGER, s TEXT, b, r REAL");
}

/* What `USING fastkv` alone makes. */
static void make_plain(table *t)
{
    static const char *const column_names[] = {"key", "value"};

    memset(t->columns, 0, sizeof t->columns);
    for (int i = 0; i < 2; i++) {
        t->columns[i].name = column_names[i];
        t->columns[i].key = i ? -1 : 0;
    }
    t->count = 2;
    t->key_count = 1;
    t->keys[0] = 0;
}

void make_schema(gen *g)
{
    static const int key_counts[] = {1, 1, 1, 2, 2, 3};

    g->t.name = "T";
    g->u.name = "U";
    for (int i = 0; i < 2; i++) {
        table *t = i ? &g->u : &g->t;
        t->key_count = key_counts[below(g, 6)];
        t->schema = "";
        if (chance(g, 5)) {
            make_plain(t);
        } else {
            make_columns(g, t);
            write_body(g, t);
        }
    }
    if (chance(g, 15)) g->u.schema = "temp.";
    if (g->h->attached) g->u.schema = "aux1.";
    make_native(&g->n);
    g->with_trigger = chance(g, 40);
    g->with_view = chance(g, 40);
}

void add_create(gen *g, const table *t, const char *name)
{
    const char *body = t->body ? t->body : "key PRIMARY KEY, value";
    char *native = sqlite3_mprintf("CREATE TABLE %s%s(%s) WITHOUT ROWID", t->schema, name, body);

    put(g, "CREATE VIRTUAL TABLE %s%s USING fastkv", t->schema, name);
    if (t->body) {
        put(g, "(%s", t->body);
        for (unsigned n = below(g, 4); n > 0; n--) put(g, OPEN ", %s" CLOSE, one_of(g, options));
        put(g, ")");
    }
    finish(g, STEP_DDL, 0)->native = native;
}

/* The value of a column of T from a column of src. */
static void put_from_new(gen *g, const field *c)
{
    static const char *const sources[] = {"new.a", "new.a", "new.b", "new.c", NULL};

    put(g, c->usual ? "ifnull(%s, 7)" : "%s", one_of(g, sources));
}

static void put_trigger_statement(gen *g)
{
    const table *t = &g->t;
    int last = t->count - 1;

    switch (below(g, 6)) {
    case 0:
        put(g, " DELETE FROM T WHERE %s = new.a;", t->columns[t->keys[0]].name);
        break;
    case 1:
        if (t->columns[last].key >= 0) break;
        put(g, " UPDATE T SET %s = new.b WHERE %s = new.c;", t->columns[last].name,
            t->columns[t->keys[0]].name);
        break;
    case 2:
        put(g, " INSERT INTO log SELECT count(*), max(%s) FROM T;", t->columns[t->keys[0]].name);
        break;
    case 3:
        put(g, " SELECT RAISE(%s, 'no') WHERE new.a = 5;",
            chance(g, 30)   ? "FAIL"
            : chance(g, 50) ? "ROLLBACK"
                            : "ABORT");
        break;
    default:
        put(g, " INSERT%s INTO T VALUES (",
            chance(g, 60)   ? ""
            : chance(g, 50) ? " OR REPLACE"
                            : " OR IGNORE");
        for (int i = 0; i < t->count; i++) {
            put(g, i ? ", " : "");
            put_from_new(g, &t->columns[i]);
        }
        put(g, ");");
        break;
    }
}

static void add_triggers(gen *g)
{
    for (unsigned k = 0, n = 1 + below(g, 2); k < n; k++) {
        put(g, "CREATE TRIGGER tr%u %s INSERT ON src BEGIN SELECT 1;", k,
            chance(g, 50) ? "AFTER" : "BEFORE");
        for (unsigned i = 1 + below(g, 3); i > 0; i--) {
            put(g, OPEN);
            put_trigger_statement(g);
            put(g, CLOSE);
        }
        put(g, " END");
        finish(g, STEP_DDL, 0);
    }
    if (!g->with_view) return;
    put(g, "CREATE TRIGGER onview INSTEAD OF INSERT ON vw BEGIN INSERT INTO T VALUES (");
    for (int i = 0; i < g->t.count; i++) {
        const field *c = &g->t.columns[i];
        put(g, "%s%snew.%s%s", i ? ", " : "", c->usual ? "ifnull(" : "", c->name,
            c->usual ? ", 7)" : "");
    }
    put(g, "); END");
    finish(g, STEP_DDL, 0);
}

void add_setup(gen *g)
{
    source s = {&g->t, "x"};

    add_create(g, &g->t, "T");
    if (chance(g, 90)) add_create(g, &g->u, "U");
    put(g, "CREATE TABLE n(%s)", g->n.body);
    finish(g, STEP_DDL, 0);
    put(g, "CREATE TABLE src(a, b, c)");
    finish(g, STEP_DDL, 0);
    put(g, "CREATE TABLE log(x, y)");
    finish(g, STEP_DDL, 0);
    g->literals_only = 1;
    if (g->with_view) {
        put(g, "CREATE VIEW vw AS SELECT * FROM T AS x");
        put_where(g, &s, 1, 50);
        finish(g, STEP_DDL, 0);
    }
    if (g->with_trigger) add_triggers(g);
    g->literals_only = 0;
}
