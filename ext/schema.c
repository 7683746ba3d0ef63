/*
** schema.c -- the declaration parser
**
** SQLite splits the text between the parentheses of CREATE VIRTUAL TABLE at top-level commas and
** hands the pieces over raw, comments included. A piece is one of
**
**   option     := word '=' value
**   constraint := [CONSTRAINT name] PRIMARY KEY '(' name [COLLATE BINARY] [ASC], … ')'
**   column     := name [type] clause*
**   type       := (word | 'string')* ['(' [+-]number [',' [+-]number] ')']
**   clause     := [CONSTRAINT name] (PRIMARY KEY [ASC] | NOT NULL | NULL | DEFAULT literal
**                 | COLLATE BINARY)
**   literal    := [+-]number | 'string' | x'blob' | NULL | TRUE | FALSE | word | "word"
**
** What else a CREATE TABLE may say (CHECK, UNIQUE, REFERENCES …) is refused by its name, because a
** constraint that is accepted and not enforced is a trap.
*/
#include "schema.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "token.h"

SQLITE_EXTENSION_INIT3

typedef struct parser {
    kv_schema *s;
    char **error;
    const char *p; /* what is left of the piece */
    token t;       /* the token in hand */
    char **keys;   /* names of PRIMARY KEY columns, as met */
    int key_count;
} parser;

static int fail(parser *ps, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    *ps->error = text ? sqlite3_mprintf("fastkv: %s", text) : NULL;
    sqlite3_free(text);
    return *ps->error ? SQLITE_ERROR : SQLITE_NOMEM;
}

static void advance(parser *ps)
{
    ps->t = token_next(&ps->p);
}

static int accept(parser *ps, const char *word)
{
    if (!token_is(&ps->t, word)) return 0;
    advance(ps);
    return 1;
}

static int is_one_of(const token *t, const char *const *words)
{
    for (; *words; words++) {
        if (token_is(t, *words)) return 1;
    }
    return 0;
}

/* Where a piece goes wrong. */
static int fail_near(parser *ps, const char *wanted)
{
    if (ps->t.kind == TOKEN_END) return fail(ps, "%s expected at the end of a definition", wanted);
    return fail(ps, "%s expected at \"%.*s\"", wanted, (int)ps->t.size, ps->t.text);
}

static int take_name(parser *ps, char **out)
{
    *out = NULL;
    if (ps->t.kind != TOKEN_WORD && ps->t.kind != TOKEN_QUOTED && ps->t.kind != TOKEN_STRING) {
        return fail_near(ps, "a name");
    }
    *out = token_name(&ps->t);
    if (!*out) return SQLITE_NOMEM;
    if (!**out) return fail_near(ps, "a name that is not empty");
    advance(ps);
    return SQLITE_OK;
}

int schema_name_reserved(const char *name)
{
    static const char *const reserved[] = {SCHEMA_KEY_COLUMN, SCHEMA_ARG_COLUMN, SCHEMA_TTL_COLUMN,
                                           SCHEMA_EXPIRES_COLUMN, NULL};

    for (int i = 0; reserved[i]; i++) {
        if (sqlite3_stricmp(name, reserved[i]) == 0) return 1;
    }
    return 0;
}

static int find_column(const kv_schema *s, const char *name)
{
    for (int i = 0; i < s->column_count; i++) {
        if (sqlite3_stricmp(s->columns[i].name, name) == 0) return i;
    }
    return -1;
}

/* Append a column; takes the name over. */
static int add_column(parser *ps, char *name, kv_column **out)
{
    kv_schema *s = ps->s;
    kv_column *grown = alloc_resize(s->columns, ((size_t)s->column_count + 1) * sizeof *grown);
    kv_column *c;

    if (!grown) {
        sqlite3_free(name);
        return SQLITE_NOMEM;
    }
    s->columns = grown;
    c = &grown[s->column_count];
    memset(c, 0, sizeof *c);
    c->name = name;
    c->affinity = AFFINITY_BLOB;
    c->key_index = -1;
    c->type = sqlite3_mprintf("");
    if (find_column(s, name) >= 0) {
        s->column_count++; /* so that it is released */
        return fail(ps, "duplicate column name \"%s\"", name);
    }
    s->column_count++;
    *out = c;
    if (schema_name_reserved(name) || sqlite3_stricmp(name, s->table) == 0) {
        return fail(ps, "column \"%s\" cannot have that name: a hidden column has it", name);
    }
    return c->type ? SQLITE_OK : SQLITE_NOMEM;
}

static int add_key(parser *ps, const char *name)
{
    char **grown = alloc_resize(ps->keys, ((size_t)ps->key_count + 1) * sizeof *grown);

    if (!grown) return SQLITE_NOMEM;
    ps->keys = grown;
    for (int i = 0; i < ps->key_count; i++) {
        if (sqlite3_stricmp(grown[i], name) == 0) {
            return fail(ps, "column \"%s\" is in the PRIMARY KEY twice", name);
        }
    }
    grown[ps->key_count] = sqlite3_mprintf("%s", name);
    return grown[ps->key_count++] ? SQLITE_OK : SQLITE_NOMEM;
}

/* Type words, and numbers in parentheses. The type is the text from the first to the last of them,
** as it is written. */
static int parse_type(parser *ps, kv_column *c)
{
    static const char *const clauses[] = {
        "CONSTRAINT", "PRIMARY",    "NOT",       "NULL", "UNIQUE",        "CHECK", "DEFAULT",
        "COLLATE",    "REFERENCES", "GENERATED", "AS",   "AUTOINCREMENT", NULL};
    const char *from = ps->t.text, *to = from;
    char *type;

    while ((ps->t.kind == TOKEN_WORD || ps->t.kind == TOKEN_QUOTED || ps->t.kind == TOKEN_STRING) &&
           !is_one_of(&ps->t, clauses)) {
        if (token_is(&ps->t, "HIDDEN")) return fail(ps, "HIDDEN is not a type");
        to = ps->t.text + ps->t.size;
        advance(ps);
    }
    if (to > from && token_is(&ps->t, "(")) {
        while (!token_is(&ps->t, ")")) {
            advance(ps);
            if (ps->t.kind == TOKEN_END) return fail_near(ps, "\")\"");
        }
        to = ps->t.text + 1;
        advance(ps);
    }
    type = sqlite3_mprintf("%.*s", (int)(to - from), from);
    if (!type) return SQLITE_NOMEM;
    sqlite3_free(c->type);
    c->type = type;
    c->affinity = affinity_of_type(type);
    return SQLITE_OK;
}

static int parse_default(parser *ps, kv_column *c)
{
    const char *sign = "";
    char *name = NULL;
    static const char *const clocks[] = {"CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP", NULL};
    static const char *const literals[] = {"NULL", "TRUE", "FALSE", NULL};

    if (token_is(&ps->t, "-") || token_is(&ps->t, "+")) {
        sign = *ps->t.text == '-' ? "-" : "";
        advance(ps);
        if (ps->t.kind != TOKEN_NUMBER) return fail_near(ps, "a number");
    }
    if (is_one_of(&ps->t, clocks) || token_is(&ps->t, "(")) {
        return fail(ps, "the DEFAULT of column \"%s\" must be a literal", c->name);
    }
    sqlite3_free(c->default_text);
    c->default_text = NULL;
    if (ps->t.kind == TOKEN_NUMBER || ps->t.kind == TOKEN_STRING || ps->t.kind == TOKEN_BLOB ||
        is_one_of(&ps->t, literals)) {
        c->default_text = sqlite3_mprintf("%s%.*s", sign, (int)ps->t.size, ps->t.text);
    } else if (ps->t.kind == TOKEN_WORD || ps->t.kind == TOKEN_QUOTED) {
        name = token_name(&ps->t);
        if (name) c->default_text = sqlite3_mprintf("%Q", name);
        sqlite3_free(name);
    } else {
        return fail_near(ps, "a literal after DEFAULT");
    }
    advance(ps);
    return c->default_text ? SQLITE_OK : SQLITE_NOMEM;
}

static int parse_collate(parser *ps)
{
    if (accept(ps, "BINARY")) return SQLITE_OK;
    if (ps->t.kind == TOKEN_QUOTED) {
        char *name = token_name(&ps->t);
        int binary = name && sqlite3_stricmp(name, "BINARY") == 0;
        if (!name) return SQLITE_NOMEM;
        sqlite3_free(name);
        if (binary) {
            advance(ps);
            return SQLITE_OK;
        }
    }
    return fail(ps, "COLLATE %.*s is not supported: keys and columns are BINARY", (int)ps->t.size,
                ps->t.text);
}

/* ASC is the order anyway; DESC and conflict clauses are not for a virtual table. */
static int parse_key_order(parser *ps)
{
    if (accept(ps, "ASC")) return SQLITE_OK;
    if (token_is(&ps->t, "DESC")) return fail(ps, "a DESC primary key is not supported");
    return SQLITE_OK;
}

/* What is a constraint but not one of ours; the word in hand is to blame. */
static int refuse(parser *ps, const kv_column *c)
{
    static const char *const words[] = {"CHECK",         "UNIQUE",    "REFERENCES", "FOREIGN", "AS",
                                        "AUTOINCREMENT", "GENERATED", "ON",         NULL};
    char *place = c ? sqlite3_mprintf(" (column \"%s\")", c->name) : sqlite3_mprintf("");
    int rc;

    if (!place) return SQLITE_NOMEM;
    if (!is_one_of(&ps->t, words)) {
        rc = fail(ps, "\"%.*s\" was not expected%s", (int)ps->t.size, ps->t.text, place);
    } else {
        const char *word = token_is(&ps->t, "ON")        ? "ON CONFLICT"
                           : token_is(&ps->t, "FOREIGN") ? "FOREIGN KEY"
                           : token_is(&ps->t, "AS")      ? "GENERATED ALWAYS AS"
                                                         : NULL;
        rc = word ? fail(ps, "%s is not supported%s", word, place)
                  : fail(ps, "%.*s is not supported%s", (int)ps->t.size, ps->t.text, place);
    }
    sqlite3_free(place);
    return rc;
}

static int parse_clause(parser *ps, int index)
{
    kv_column *c = &ps->s->columns[index];
    char *name = NULL;
    int rc;

    if (accept(ps, "CONSTRAINT")) {
        rc = take_name(ps, &name);
        sqlite3_free(name);
        if (rc) return rc;
    }
    if (accept(ps, "PRIMARY")) {
        if (!accept(ps, "KEY")) return fail_near(ps, "KEY");
        if (ps->key_count) return fail(ps, "there is more than one PRIMARY KEY");
        rc = add_key(ps, c->name);
        return rc ? rc : parse_key_order(ps);
    }
    if (accept(ps, "NOT")) {
        if (!accept(ps, "NULL")) return fail_near(ps, "NULL");
        c->not_null = 1;
        return SQLITE_OK;
    }
    if (accept(ps, "NULL")) return SQLITE_OK;
    if (accept(ps, "DEFAULT")) return parse_default(ps, c);
    if (accept(ps, "COLLATE")) return parse_collate(ps);
    return refuse(ps, c);
}

static int parse_column(parser *ps)
{
    kv_column *c = NULL;
    char *name;
    int index;
    int rc = take_name(ps, &name);

    if (rc) {
        sqlite3_free(name);
        return rc;
    }
    rc = add_column(ps, name, &c);
    if (rc) return rc;
    index = ps->s->column_count - 1;
    rc = parse_type(ps, c);
    while (rc == SQLITE_OK && ps->t.kind != TOKEN_END) rc = parse_clause(ps, index);
    return rc;
}

/* PRIMARY KEY (…), the words taken. */
static int parse_key_list(parser *ps)
{
    char *name;
    int rc;

    if (ps->key_count) return fail(ps, "there is more than one PRIMARY KEY");
    if (!accept(ps, "(")) return fail_near(ps, "\"(\"");
    do {
        rc = take_name(ps, &name);
        if (rc == SQLITE_OK) rc = add_key(ps, name);
        sqlite3_free(name);
        if (rc == SQLITE_OK && accept(ps, "COLLATE")) rc = parse_collate(ps);
        if (rc == SQLITE_OK) rc = parse_key_order(ps);
        if (rc) return rc;
    } while (accept(ps, ","));
    if (!accept(ps, ")")) return fail_near(ps, "\")\"");
    return ps->t.kind == TOKEN_END ? SQLITE_OK : refuse(ps, NULL);
}

static int parse_constraint(parser *ps)
{
    char *name = NULL;
    int rc = SQLITE_OK;

    if (accept(ps, "CONSTRAINT")) rc = take_name(ps, &name);
    sqlite3_free(name);
    if (rc) return rc;
    if (!accept(ps, "PRIMARY")) return refuse(ps, NULL);
    if (!accept(ps, "KEY")) return fail_near(ps, "KEY");
    return parse_key_list(ps);
}

/* name = value, where the value is one token with an optional sign; the name token is `t`. */
static int parse_option(parser *ps, const token *t)
{
    char *name = token_name(t);
    char *value = NULL;
    const char *start;
    int rc = SQLITE_NOMEM;

    if (!name) goto done;
    advance(ps); /* = */
    if (ps->t.kind == TOKEN_END) {
        rc = fail(ps, "option \"%s\" has no value", name);
        goto done;
    }
    start = ps->t.text;
    value = token_name(&ps->t);
    if (!value) goto done;
    advance(ps);
    if (ps->t.kind != TOKEN_END) { /* several tokens: -1, zlib:9, 1 KB */
        size_t size = strlen(start);
        while (size && strchr(" \t\r\n", start[size - 1])) size--;
        sqlite3_free(value);
        value = sqlite3_mprintf("%.*s", (int)size, start);
        if (!value) goto done;
    }
    rc = options_set(&ps->s->options, name, value, ps->error);
done:
    sqlite3_free(name);
    sqlite3_free(value);
    return rc;
}

static int parse_piece(parser *ps, const char *text)
{
    static const char *const starters[] = {"PRIMARY", "UNIQUE",     "CHECK",
                                           "FOREIGN", "CONSTRAINT", NULL};
    const char *ahead;
    token next;

    ps->p = text;
    advance(ps);
    ahead = ps->p;
    next = token_next(&ahead);
    if (token_is(&next, "=")) {
        token name = ps->t;
        ps->p = ahead;
        return parse_option(ps, &name);
    }
    if (is_one_of(&ps->t, starters)) return parse_constraint(ps);
    return parse_column(ps);
}

/* Key names become column indexes; the rest of the columns get their place in the row. */
static int resolve_keys(parser *ps)
{
    kv_schema *s = ps->s;
    int rc = ps->key_count ? SQLITE_OK : add_key(ps, s->columns[0].name);

    if (rc) return rc;
    s->keys = alloc_zero((size_t)ps->key_count * sizeof *s->keys);
    if (!s->keys) return SQLITE_NOMEM;
    for (int i = 0; i < ps->key_count; i++) {
        int index = find_column(s, ps->keys[i]);
        if (index < 0)
            return fail(ps, "PRIMARY KEY names \"%s\", which is not a column", ps->keys[i]);
        s->keys[s->key_count++] = index;
        s->columns[index].key_index = i;
        s->columns[index].not_null = 1;
    }
    for (int i = 0; i < s->column_count; i++) {
        s->columns[i].row_index = s->columns[i].key_index < 0 ? s->row_count++ : -1;
    }
    return SQLITE_OK;
}

int schema_parse(kv_schema *out, const char *table, int count, const char *const *args,
                 char **error)
{
    static const char *const plain[] = {"key PRIMARY KEY", "value"};
    parser ps = {.s = out, .error = error};
    int rc = SQLITE_OK;

    *error = NULL;
    out->table = sqlite3_mprintf("%s", table);
    if (!out->table) return SQLITE_NOMEM;
    if (schema_name_reserved(table)) {
        return fail(&ps, "a table cannot have the name \"%s\": a hidden column has it", table);
    }
    for (int i = 0; rc == SQLITE_OK && i < count; i++) {
        rc = parse_piece(&ps, args[i]); /* SQLite leaves empty pieces out */
    }
    if (rc == SQLITE_OK && out->column_count == 0 && ps.key_count == 0) {
        rc = parse_piece(&ps, plain[0]);
        if (rc == SQLITE_OK) rc = parse_piece(&ps, plain[1]);
    }
    if (rc == SQLITE_OK && out->column_count == 0) rc = fail(&ps, "there are no columns");
    if (rc == SQLITE_OK) rc = resolve_keys(&ps);
    for (int i = 0; i < ps.key_count; i++) sqlite3_free(ps.keys[i]);
    alloc_free(ps.keys);
    return rc;
}

void schema_release(kv_schema *s)
{
    for (int i = 0; i < s->column_count; i++) {
        sqlite3_free(s->columns[i].name);
        sqlite3_free(s->columns[i].type);
        sqlite3_free(s->columns[i].default_text);
    }
    alloc_free(s->columns);
    alloc_free(s->keys);
    sqlite3_free(s->table);
    options_release(&s->options);
    memset(s, 0, sizeof *s);
}

char *schema_declaration(const kv_schema *s)
{
    int composite = s->key_count > 1;
    sqlite3_str *sql = sqlite3_str_new(NULL);

    sqlite3_str_appendall(sql, "CREATE TABLE x(");
    for (int i = 0; i < s->column_count; i++) {
        const kv_column *c = &s->columns[i];
        sqlite3_str_appendf(sql, "%s\"%w\"%s%s", i ? ", " : "", c->name, *c->type ? " " : "",
                            c->type);
        if (c->not_null) sqlite3_str_appendall(sql, " NOT NULL");
        if (c->key_index >= 0 && !composite) sqlite3_str_appendall(sql, " PRIMARY KEY");
        if (c->default_text) sqlite3_str_appendf(sql, " DEFAULT %s", c->default_text);
    }
    if (composite) {
        sqlite3_str_appendf(sql, ", \"%s\" BLOB HIDDEN NOT NULL PRIMARY KEY", SCHEMA_KEY_COLUMN);
    }
    sqlite3_str_appendf(sql,
                        ", \"%w\" HIDDEN, \"%s\" HIDDEN, \"%s\" REAL HIDDEN, \"%s\" REAL HIDDEN) "
                        "WITHOUT ROWID",
                        s->table, SCHEMA_ARG_COLUMN, SCHEMA_TTL_COLUMN, SCHEMA_EXPIRES_COLUMN);
    return sqlite3_str_finish(sql);
}

char *schema_signature(const kv_schema *s)
{
    sqlite3_str *text = sqlite3_str_new(NULL);

    for (int i = 0; i < s->column_count; i++) {
        const kv_column *c = &s->columns[i];
        sqlite3_str_appendf(text, "\"%w\" %s%s, ", c->name, c->type,
                            c->not_null ? " NOT NULL" : "");
    }
    for (int i = 0; i < s->key_count; i++) {
        sqlite3_str_appendf(text, "%s\"%w\"", i ? ", " : "PRIMARY KEY (",
                            s->columns[s->keys[i]].name);
    }
    sqlite3_str_appendall(text, ")");
    return sqlite3_str_finish(text);
}
