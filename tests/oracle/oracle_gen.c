/*
** oracle_gen.c -- a history from a seed
**
** The generator knows nothing of what the statements do: it guesses whether a transaction is open,
** so that most of them are valid, and leaves it to the comparison what valid means. What it is told
** in advance is only the schema and a pool of two dozen values from which most others are drawn, so
** that keys meet, ranges are not empty and joins find something.
*/
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_gen.h"

void put(gen *g, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sqlite3_str_vappendf(g->text, format, args);
    va_end(args);
}

unsigned below(gen *g, unsigned n)
{
    return rng_below(&g->r, n);
}

int chance(gen *g, unsigned percent)
{
    return rng_chance(&g->r, percent);
}

const char *one_of(gen *g, const char *const *words)
{
    unsigned n = 0;

    while (words[n]) n++;
    return words[below(g, n)];
}

const char *any_collation(gen *g)
{
    return below(g, g->h->no_automatic ? 3 : 2) == 2 ? "RTRIM"
           : chance(g, 50)                           ? "NOCASE"
                                                     : "BINARY";
}

int may_bind(const gen *g)
{
    return !g->literals_only && g->param_count < PARAMS_MAX;
}

step *history_add(history *h)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 64;
        h->steps = realloc(h->steps, (size_t)h->capacity * sizeof *h->steps);
        if (!h->steps) abort();
    }
    memset(&h->steps[h->count], 0, sizeof *h->steps);
    return &h->steps[h->count++];
}

step *finish(gen *g, step_kind kind, unsigned flags)
{
    step *s = history_add(g->h);
    size_t size = (size_t)g->param_count * sizeof *s->params;

    s->kind = kind;
    s->flags = flags;
    if (kind == STEP_SQL && g->param_count && !g->once && chance(g, 20)) s->flags |= STEP_AGAIN;
    g->once = g->column_range = g->bound_low = 0;
    s->sql = sqlite3_str_finish(g->text);
    if (!s->sql) s->sql = sqlite3_mprintf("");
    s->params = oracle_alloc(size);
    memcpy(s->params, g->params, size);
    s->param_count = g->param_count;
    g->param_count = 0;
    g->text = sqlite3_str_new(NULL);
    return s;
}

static void say(gen *g, step_kind kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sqlite3_str_vappendf(g->text, format, args);
    va_end(args);
    finish(g, kind, 0);
}

/* What was written, instead of finish(). */
static void forget(gen *g)
{
    while (g->param_count > 0) value_free(&g->params[--g->param_count]);
    sqlite3_str_reset(g->text);
    g->once = g->column_range = g->bound_low = 0;
}

/* -- steps that are not one statement ---------------------------------------------------------- */

static void add_transaction(gen *g)
{
    static const char *const begins[] = {"BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE",
                                         "BEGIN DEFERRED", NULL};
    unsigned n = below(g, 100), name = below(g, 3);

    if (!g->in_txn && n < 50) {
        say(g, STEP_SQL, "%s", one_of(g, begins));
        g->in_txn = 1;
    } else if (n < 65) {
        say(g, STEP_SQL, "SAVEPOINT s%u", name);
        g->in_txn = 1;
    } else if (n < 77) {
        say(g, STEP_SQL, "ROLLBACK TO s%u", name);
    } else if (n < 82) {
        say(g, STEP_SQL, "RELEASE s%u", name);
    } else {
        say(g, STEP_SQL, "%s", n < 92 ? "COMMIT" : "ROLLBACK");
        g->in_txn = 0;
    }
}

static void add_native_write(gen *g)
{
    put(g, "INSERT INTO n(i, s, b, r) VALUES (");
    for (int i = 0; i < 4; i++) {
        put(g, i ? ", " : "");
        put_value(g, 8);
    }
    put(g, ")");
    finish(g, STEP_SQL, 0);
    if (chance(g, 25)) say(g, STEP_SQL, "DELETE FROM n WHERE id < (SELECT max(id) FROM n) - 8");
}

/* Into what the triggers are on. */
static void add_trigger_write(gen *g)
{
    static const char *const modes[] = {
        "", "", "", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ROLLBACK", NULL};
    int view = g->with_view && chance(g, 40);
    int count = view ? g->t.count : 3;

    put(g, "INSERT" OPEN "%s" CLOSE " INTO %s VALUES ", one_of(g, modes), view ? "vw" : "src");
    for (unsigned r = 0, rows = 1 + below(g, 3); r < rows; r++) {
        put(g, r ? OPEN ", (" : "(");
        for (int i = 0; i < count; i++) {
            put(g, i ? ", " : "");
            put_value(g, 3);
        }
        put(g, r ? ")" CLOSE : ")");
    }
    finish(g, STEP_SQL, 0);
}

static void add_write(gen *g)
{
    const table *t = chance(g, 75) ? &g->t : &g->u;
    unsigned n = below(g, 100);

    g->written = t;
    if (n < 62) {
        put_insert(g, t);
    } else if (n < 85) {
        put_update(g, t);
    } else {
        put_delete(g, t);
    }
    g->written = NULL;
    finish(g, STEP_SQL, 0);
}

static void add_other(gen *g)
{
    if (chance(g, 30)) {
        say(g, STEP_OTHER, "%s",
            chance(g, 50) ? "CREATE TABLE IF NOT EXISTS extra(x)" : "DROP TABLE IF EXISTS extra");
        return;
    }
    g->written = &g->t;
    if (chance(g, 70)) {
        put_insert(g, &g->t);
    } else {
        put_delete(g, &g->t);
    }
    g->written = NULL;
    finish(g, STEP_OTHER, 0);
}

static void add_select(gen *g)
{
    unsigned flags = put_select(g);

    finish(g, STEP_SQL, flags);
}

static void add_command(gen *g)
{
    static const char *const commands[] = {"flush",  "flush",           "compact",
                                           "settle", "integrity-check", NULL};

    if (chance(g, 5)) {
        put(g, "INSERT INTO T(T) VALUES ('truncate')");
        finish(g, STEP_COMMAND, 0)->native = sqlite3_mprintf("DELETE FROM T");
        return;
    }
    say(g, STEP_COMMAND, "INSERT INTO %s VALUES ('%s')", chance(g, 70) ? "T(T)" : "U(U)",
        one_of(g, commands));
}

static void end_cursor(gen *g)
{
    if (!g->cursor_open) return;
    say(g, STEP_CURSOR_DRAIN, "-- drain");
    g->cursor_open = 0;
}

static void start_cursor(gen *g)
{
    source s = {&g->t, "x"};
    step *made;

    put(g, "SELECT ");
    put_keys(g, &s);
    put(g, ", * FROM T AS x");
    put_where(g, &s, 1, 60);
    /* A subquery would be asked again for each row, and answer by what is there then. */
    if (strstr(sqlite3_str_value(g->text), "(SELECT")) {
        forget(g);
        return;
    }
    if (chance(g, 50)) put_total_order(g, &s, 1);
    made = finish(g, STEP_CURSOR_OPEN, 0);
    made->number = 1 + (int)below(g, 8);
    made->keys = g->t.key_count;
    g->cursor_open = 1;
}

/* A few steps that know the table under another name. */
static void add_rename(gen *g)
{
    int inside = chance(g, 60) && !g->in_txn;

    if (inside) say(g, STEP_SQL, "BEGIN");
    say(g, STEP_DDL, "ALTER TABLE T RENAME TO W");
    g->t.name = "W";
    for (unsigned n = below(g, 4); n > 0; n--) {
        if (chance(g, 60)) {
            add_write(g);
        } else {
            add_select(g);
        }
    }
    g->t.name = "T";
    if (inside && chance(g, 50)) {
        say(g, STEP_SQL, "ROLLBACK");
        return;
    }
    say(g, STEP_DDL, "ALTER TABLE W RENAME TO T");
    if (inside) say(g, STEP_SQL, "COMMIT");
}

/* A table that goes, or comes, within a transaction that may be taken back. */
static void add_create_drop(gen *g)
{
    const table *t = chance(g, 50) ? &g->t : &g->u;
    int inside = chance(g, 75) && !g->in_txn, back;

    if (inside) say(g, STEP_SQL, "BEGIN");
    if (inside && chance(g, 50)) add_write(g);
    if (inside && chance(g, 30)) say(g, STEP_SQL, "SAVEPOINT d");
    back = inside && chance(g, 50);
    say(g, STEP_DDL, "DROP TABLE %s%s", t->schema, t->name);
    if (!back || chance(g, 60)) {
        add_create(g, t, t->name);
        for (unsigned n = below(g, 4); n > 0; n--) add_write(g);
    }
    if (back && chance(g, 30)) say(g, STEP_SQL, "ROLLBACK TO d");
    if (inside) say(g, STEP_SQL, back ? "ROLLBACK" : "COMMIT");
}

static void add_step(gen *g)
{
    unsigned n = below(g, 1000);

    if (g->cursor_open && chance(g, 25)) end_cursor(g);
    if (n < 430) {
        add_write(g);
    } else if (n < 800) {
        add_select(g);
    } else if (n < 890) {
        add_transaction(g);
    } else if (n < 920) {
        add_native_write(g);
    } else if (n < 950) {
        if (g->with_trigger) add_trigger_write(g);
    } else if (n < 968) {
        add_command(g);
    } else if (n < 980) {
        if (!g->cursor_open) start_cursor(g);
    } else if (n < 983) {
        if (g->h->on_file && !g->in_txn) add_other(g);
    } else if (n < 985) {
        end_cursor(g); /* with a statement open SQLite would change LIKE for the whole process */
        say(g, STEP_SQL, "PRAGMA case_sensitive_like = %u", below(g, 2));
    } else {
        end_cursor(g);
        if (n < 986) {
            say(g, STEP_DDL, "VACUUM");
        } else if (n < 989) {
            add_rename(g);
        } else if (n < 993) {
            add_create_drop(g);
        } else {
            say(g, STEP_REOPEN, "-- reopen");
            g->in_txn = 0;
        }
    }
}

/* Rows to begin with, so that the first SELECTs find something. */
static void add_first_rows(gen *g)
{
    for (int i = 0; i < 5; i++) {
        put_insert(g, i < 3 ? &g->t : &g->u);
        finish(g, STEP_SQL, 0);
        if (i % 2) add_native_write(g);
    }
}

static void gen_free(gen *g)
{
    for (int i = 0; i < POOL_SIZE; i++) value_free(&g->pool[i]);
    sqlite3_free(g->t.body);
    sqlite3_free(g->u.body);
    sqlite3_free(g->n.body);
    sqlite3_free(sqlite3_str_finish(g->text));
    free(g);
}

void history_make(history *h, uint64_t seed)
{
    static const int lengths[] = {20, 50, 50, 100, 100, 250};
    gen *g = oracle_alloc(sizeof *g);

    memset(h, 0, sizeof *h);
    h->seed = seed;
    g->h = h;
    g->text = sqlite3_str_new(NULL);
    rng_seed(&g->r, seed);
    h->encoding = chance(g, 80) ? 0 : chance(g, 50) ? 1 : 2;
    h->on_file = chance(g, 25);
    h->wal = chance(g, 50);
    h->attached = chance(g, 15);
    h->no_automatic = chance(g, 50);
    g->utf16 = h->encoding != 0;
    for (int i = 0; i < POOL_SIZE; i++) g->pool[i] = value_random(&g->r, g->utf16);
    make_schema(g);
    if (g->utf16) say(g, STEP_SQL, "PRAGMA encoding"); /* asked for after loading, on both sides */
    add_setup(g);
    add_first_rows(g);
    for (int count = h->count + lengths[below(g, 6)]; h->count < count;) add_step(g);
    end_cursor(g);
    gen_free(g);
}

/* -- memory and marks -------------------------------------------------------------------------- */

void step_free(step *s)
{
    for (int i = 0; i < s->param_count; i++) value_free(&s->params[i]);
    free(s->params);
    sqlite3_free(s->sql);
    sqlite3_free(s->native);
    memset(s, 0, sizeof *s);
}

step step_copy(const step *s)
{
    step c = *s;

    c.sql = sqlite3_mprintf("%s", s->sql);
    c.native = s->native ? sqlite3_mprintf("%s", s->native) : NULL;
    c.params = oracle_alloc((size_t)s->param_count * sizeof *c.params);
    for (int i = 0; i < s->param_count; i++) c.params[i] = value_copy(&s->params[i]);
    return c;
}

void history_free(history *h)
{
    for (int i = 0; i < h->count; i++) step_free(&h->steps[i]);
    free(h->steps);
    memset(h, 0, sizeof *h);
}

char *marks_strip(const char *sql, int native)
{
    sqlite3_str *out = sqlite3_str_new(NULL);

    for (; *sql; sql++) {
        if (*sql == NATIVE_MARK && native) sqlite3_str_appendchar(out, 1, '+');
        if (*sql == OPEN_MARK || *sql == CLOSE_MARK || *sql == NATIVE_MARK) continue;
        sqlite3_str_appendchar(out, 1, *sql);
    }
    sqlite3_str_appendall(out, "");
    return sqlite3_str_length(out) ? sqlite3_str_finish(out)
                                   : (sqlite3_free(sqlite3_str_finish(out)), sqlite3_mprintf(""));
}

int marks_count(const char *sql)
{
    int n = 0;

    for (; *sql; sql++) n += *sql == OPEN_MARK;
    return n;
}

char *marks_without(const char *sql, int n)
{
    sqlite3_str *out = sqlite3_str_new(NULL);
    int seen = 0, depth = 0;
    char *text;

    for (; *sql; sql++) {
        if (*sql == OPEN_MARK && (depth || seen++ == n)) depth++;
        if (!depth) sqlite3_str_appendchar(out, 1, *sql);
        if (*sql == CLOSE_MARK && depth) depth--;
    }
    text = sqlite3_str_finish(out);
    return text ? text : sqlite3_mprintf("");
}
