/*
** integrity.c -- fastkv_check(table [, level]) and what PRAGMA integrity_check asks
**
** Both are the engine's fkv_check, and this side's part is the rows: at the level "deep", is each
** row of the table a key and a value that its columns can be read from? The function looks at the
** whole store, which is all fastkv tables of the database. The PRAGMA comes once for each table, so
** there the data blocks are those of the table alone, lest a hundred tables are a hundred checks.
**
** A store that cannot be opened is what a check is for: that is a finding, not an error.
*/
#include "integrity.h"

#include <stdlib.h>
#include <string.h>

#include "errmap.h"
#include "lookup.h"
#include "rowcode.h"

SQLITE_EXTENSION_INIT3

enum { FINDINGS_MAX = 1000, PRAGMA_FINDINGS_MAX = 100, PROCEED_EVERY = 64 };

typedef struct check {
    kv_table *t;
    tvf_rows *rows;    /* where findings go, … */
    sqlite3_str *text; /* … or here */
    int findings, limit;
    unsigned steps;
    int interrupted;
    buf scratch;
    char wrong[128];
} check;

int check_interrupted(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT 1", -1, &s, NULL);

    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    (void)sqlite3_finalize(s);
    return rc == SQLITE_INTERRUPT;
}

/* -- findings ---------------------------------------------------------------------------------- */

static void add(check *c, const fkv_finding *f)
{
    if (c->rows) {
        tvf_add_text(c->rows, fkv_severity_name(f->severity));
        tvf_add_text(c->rows, f->file);
        if (f->offset == FKV_NO_OFFSET) {
            tvf_add(c->rows, &(cell){.type = SQLITE_NULL});
        } else {
            tvf_add_integer(c->rows, (int64_t)f->offset);
        }
        tvf_add_text(c->rows, f->text);
        return;
    }
    if (f->severity < FKV_FOUND_WARNING) return;
    sqlite3_str_appendf(c->text, "%sfastkv table %s.%s: %s%s%s", c->findings ? "\n" : "",
                        c->t->schema_name, c->t->schema.table, f->file, *f->file ? ": " : "",
                        f->text);
    c->findings++;
}

static fkv_status found(void *arg, const fkv_finding *f)
{
    check *c = arg;

    add(c, f);
    if (c->rows && ++c->findings == c->limit) {
        add(c, &(fkv_finding){.severity = FKV_FOUND_WARNING,
                              .file = "",
                              .offset = FKV_NO_OFFSET,
                              .text = "there is more; the check ends here"});
    }
    return c->findings < c->limit ? FKV_OK : FKV_BUSY;
}

/* The engine begins a sentence about a file with its name, and says "offset 123" where it can. */
static size_t name_size(const char *text)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (n == 8 && strncmp(text, "manifest", 8) == 0) return n;
    return n > 4 && n < 32 && strspn(text, "0123456789") == n - 4 &&
                   (strncmp(colon - 4, ".sst", 4) == 0 || strncmp(colon - 4, ".wal", 4) == 0)
               ? n
               : 0;
}

/* What could not even be looked at. */
static void add_error(check *c, const char *text)
{
    fkv_finding f = {.severity = FKV_FOUND_ERROR, .offset = FKV_NO_OFFSET};
    char name[32] = "";
    const char *place;
    size_t n;

    if (strncmp(text, "fastkv: ", 8) == 0) text += 8;
    n = name_size(text);
    if (n) {
        memcpy(name, text, n);
        text += n + 1 + (text[n + 1] == ' ');
    }
    place = strstr(text, "offset ");
    if (place) f.offset = strtoull(place + 7, NULL, 10);
    f.file = name;
    f.text = text;
    add(c, &f);
}

static fkv_status proceed(void *arg)
{
    check *c = arg;

    if (++c->steps % PROCEED_EVERY == 0 && check_interrupted(c->t->owner->db)) c->interrupted = 1;
    return c->interrupted ? FKV_BUSY : FKV_OK;
}

/* -- rows -------------------------------------------------------------------------------------- */

static int row_is_bad(check *c, fkv_slice key, fkv_slice value)
{
    const kv_schema *s = &c->t->schema;
    row_reader row;
    cell ignored;

    if (rowcode_open(&row, value, s->key_count, s->row_count)) return 1;
    buf_clear(&c->scratch);
    for (int i = 0; i < s->key_count; i++) {
        if (keycode_take(&key, i == s->key_count - 1, s->columns[s->keys[i]].affinity,
                         rowcode_override(&row, i), &c->scratch, &ignored)) {
            return 1;
        }
    }
    if (key.size) return 1;
    for (int i = 0; i < s->row_count; i++) {
        if (rowcode_read(&row, i, &ignored)) return 1;
    }
    return 0;
}

static const char *check_row(void *arg, fkv_slice key, fkv_slice value)
{
    check *c = arg;
    const kv_table *t = c->t;

    /* (What is not a key of this table is another's.) */
    if (key.size <= SPACE_BYTES || memcmp(key.data, t->prefix, SPACE_BYTES) != 0 ||
        key.data[SPACE_BYTES] < KEY_NUMBER || key.data[SPACE_BYTES] >= KEY_END ||
        !row_is_bad(c, fkv_slice_of(key.data + SPACE_BYTES, key.size - SPACE_BYTES), value)) {
        return NULL;
    }
    sqlite3_snprintf(sizeof c->wrong, c->wrong, "not a row of table \"%.80s\"", t->schema.table);
    return c->wrong;
}

/* -- checking ---------------------------------------------------------------------------------- */

/* Is this failure about what is stored? Then it is a finding. */
static int is_finding(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
    case SQLITE_MISUSE:
        return 0;
    default:
        return 1;
    }
}

/* `all`: the whole store. A result; *error may be set. */
static int run(check *c, fkv_check_level level, int all, char **error)
{
    kv_table *t = c->t;
    kv_table_range own;
    fkv_checker how = {.found = found, .proceed = proceed, .row = check_row, .arg = c};
    fkv_status st;
    int rc = kv_table_ready(t);

    if (rc && is_finding(rc)) {
        add_error(c, t->base.zErrMsg ? t->base.zErrMsg : sqlite3_errstr(rc));
        return SQLITE_OK;
    }
    if (rc) {
        *error = t->base.zErrMsg ? sqlite3_mprintf("%s", t->base.zErrMsg) : NULL;
        return rc;
    }
    kv_table_bounds(t, &own);
    if (!all) {
        how.from = fkv_slice_of(own.from, sizeof own.from);
        how.to = fkv_slice_of(own.to, sizeof own.to);
    }
    st = fkv_check(t->conn->store, level, &how);
    if (conn_asks_host(t->conn, &st)) st = fkv_check(t->conn->store, level, &how);
    buf_release(&c->scratch);
    if (c->interrupted) return SQLITE_INTERRUPT;
    if (st == FKV_OK || c->findings >= c->limit) return SQLITE_OK;
    *error = errmap_text(st);
    rc = errmap_code(st);
    if (is_finding(rc) && *error) {
        add_error(c, *error);
        sqlite3_free(*error);
        *error = NULL;
        rc = SQLITE_OK;
    }
    return rc;
}

static int level_of(sqlite3_value *value, fkv_check_level *out, char **error)
{
    static const char *const names[] = {"quick", "full", "deep"};
    const char *text = value ? (const char *)sqlite3_value_text(value) : NULL;

    *out = FKV_CHECK_FULL;
    if (!text) return SQLITE_OK;
    for (int i = 0; i < 3; i++) {
        if (sqlite3_stricmp(text, names[i]) == 0) {
            *out = (fkv_check_level)(FKV_CHECK_QUICK + i);
            return SQLITE_OK;
        }
    }
    *error = sqlite3_mprintf("fastkv: unknown level \"%s\" of a check: quick, full or deep", text);
    return SQLITE_ERROR;
}

static int fill(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    check c = {.rows = rows, .limit = FINDINGS_MAX};
    fkv_check_level level;
    int rc = level_of(argv[1], &level, error);

    if (rc == SQLITE_OK) rc = lookup_connected(owner, argv[0], &c.t, error);
    return rc ? rc : run(&c, level, 1, error);
}

const tvf_def check_function = {.name = "fastkv_check",
                                .declaration = "CREATE TABLE x(severity TEXT, file TEXT, "
                                               "\"offset\" INTEGER, text TEXT, "
                                               "\"table\" HIDDEN, level HIDDEN)",
                                .columns = 4,
                                .required = 1,
                                .arguments = 2,
                                .missing = "a table's name",
                                .cost = 1e6,
                                .fill = fill};

int check_integrity(sqlite3_vtab *vtab, const char *schema, const char *table, int quick,
                    char **error)
{
    check c = {.t = (kv_table *)vtab, .limit = PRAGMA_FINDINGS_MAX};
    char *text;
    int rc;

    (void)schema, (void)table;
    c.text = sqlite3_str_new(NULL);
    rc = run(&c, quick & 1 ? FKV_CHECK_FULL : FKV_CHECK_DEEP, 0, error);
    if (rc == SQLITE_OK) rc = sqlite3_str_errcode(c.text);
    text = sqlite3_str_finish(c.text);
    if (rc) {
        sqlite3_free(text);
    } else {
        *error = text; /* NULL: nothing was found */
    }
    return rc;
}
