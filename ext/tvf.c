#include "tvf.h"

#include <string.h>

#include "base/alloc.h"
#include "errmap.h"

SQLITE_EXTENSION_INIT3

typedef struct function { /* the module's client data */
    const tvf_def *def;
    registry *owner;
} function;

typedef struct tvf_table {
    sqlite3_vtab base;
    const function *f;
} tvf_table;

typedef struct tvf_cell { /* as a cell, with the place of its bytes */
    int type;
    int64_t integer;
    double real;
    size_t at, size;
} tvf_cell;

typedef struct tvf_cursor {
    sqlite3_vtab_cursor base;
    tvf_rows rows;
    size_t at, count, before;                    /* of `rows`; those that are gone */
    sqlite3_value *arguments[TVF_ARGUMENTS_MAX]; /* copies, for the hidden columns */
} tvf_cursor;

/* -- rows -------------------------------------------------------------------------------------- */

void tvf_add(tvf_rows *rows, const cell *c)
{
    tvf_cell kept = {c->type, c->integer, c->real, rows->bytes.size, c->bytes.size};

    buf_append(&rows->bytes, c->bytes.data, c->bytes.size);
    buf_append(&rows->cells, &kept, sizeof kept);
}

void tvf_add_integer(tvf_rows *rows, int64_t value)
{
    tvf_add(rows, &(cell){.type = SQLITE_INTEGER, .integer = value});
}

void tvf_add_real(tvf_rows *rows, double value)
{
    tvf_add(rows, &(cell){.type = SQLITE_FLOAT, .real = value});
}

void tvf_add_text(tvf_rows *rows, const char *text)
{
    tvf_add(rows, &(cell){.type = SQLITE_TEXT, .bytes = fkv_slice_of(text, strlen(text))});
}

/* -- the module -------------------------------------------------------------------------------- */

static const tvf_def *def_of(sqlite3_vtab *vtab)
{
    return ((tvf_table *)vtab)->f->def;
}

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                   char **error)
{
    tvf_table *t = alloc_zero(sizeof *t);
    int rc;

    (void)argc, (void)argv, (void)error;
    if (!t) return SQLITE_NOMEM;
    t->f = aux;
    rc = sqlite3_declare_vtab(db, t->f->def->declaration);
    if (rc == SQLITE_OK && t->f->def->direct_only) {
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    }
    if (rc) {
        alloc_free(t);
        return rc;
    }
    *out = &t->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    alloc_free(vtab);
    return SQLITE_OK;
}

/* idxNum has a bit for each argument that is given. */
static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    const tvf_def *def = def_of(vtab);
    int given[TVF_ARGUMENTS_MAX];
    int args = 0;

    memset(given, -1, sizeof given);
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        int argument = c->iColumn - def->columns;
        if (argument < 0 || c->op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
        if (!c->usable) return SQLITE_CONSTRAINT; /* a plan in which it is known will come */
        given[argument] = i;
    }
    for (int i = 0; i < def->arguments; i++) {
        if (given[i] < 0) continue;
        info->aConstraintUsage[given[i]].argvIndex = ++args;
        info->aConstraintUsage[given[i]].omit = 1;
        info->idxNum |= 1 << i;
    }
    info->estimatedCost = def->cost;
    info->estimatedRows = 50;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    tvf_cursor *c = alloc_zero(sizeof *c);

    (void)vtab;
    if (!c) return SQLITE_NOMEM;
    *out = &c->base;
    return SQLITE_OK;
}

static void clear(tvf_cursor *c)
{
    buf_release(&c->rows.cells);
    buf_release(&c->rows.bytes);
    if (c->rows.state) c->rows.end(c->rows.state);
    c->rows = (tvf_rows){0};
    c->at = c->count = 0;
    c->before = 0;
    for (int i = 0; i < TVF_ARGUMENTS_MAX; i++) {
        sqlite3_value_free(c->arguments[i]);
        c->arguments[i] = NULL;
    }
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    clear((tvf_cursor *)cursor);
    alloc_free(cursor);
    return SQLITE_OK;
}

/* Spread argv over the arguments' places. */
static int take_arguments(tvf_cursor *c, int number, sqlite3_value **argv, sqlite3_value **out)
{
    const tvf_def *def = def_of(c->base.pVtab);
    int next = 0;

    for (int i = 0; i < def->arguments; i++) {
        out[i] = number >> i & 1 ? argv[next++] : NULL;
        if (i < def->required && !out[i]) {
            return errmap_say(c->base.pVtab, SQLITE_ERROR, "fastkv: %s needs %s", def->name,
                              def->missing);
        }
        if (!out[i]) continue;
        c->arguments[i] = sqlite3_value_dup(out[i]);
        if (!c->arguments[i]) return SQLITE_NOMEM;
    }
    return SQLITE_OK;
}

/* New rows have come, with this result. */
static int count_rows(tvf_cursor *c, int rc, char *error)
{
    c->at = c->count = 0;
    if (error) {
        sqlite3_free(c->base.pVtab->zErrMsg);
        c->base.pVtab->zErrMsg = error;
    }
    if (rc == SQLITE_OK && (buf_status(&c->rows.cells) || buf_status(&c->rows.bytes))) {
        rc = SQLITE_NOMEM;
    }
    if (rc) return rc;
    c->count = c->rows.cells.size / sizeof(tvf_cell) / (size_t)def_of(c->base.pVtab)->columns;
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    tvf_cursor *c = (tvf_cursor *)cursor;
    const function *f = ((tvf_table *)cursor->pVtab)->f;
    sqlite3_value *arguments[TVF_ARGUMENTS_MAX];
    char *error = NULL;
    int rc;

    (void)text, (void)argc;
    clear(c);
    rc = take_arguments(c, number, argv, arguments);
    if (rc) return rc;
    rc = f->def->fill(f->owner, arguments, &c->rows, &error);
    return count_rows(c, rc, error);
}

static int next(sqlite3_vtab_cursor *cursor)
{
    tvf_cursor *c = (tvf_cursor *)cursor;
    char *error = NULL;

    if (++c->at < c->count || !c->rows.more) return SQLITE_OK;
    buf_clear(&c->rows.cells);
    buf_clear(&c->rows.bytes);
    c->before += c->count;
    return count_rows(c, c->rows.more(&c->rows, &error), error);
}

static int eof(sqlite3_vtab_cursor *cursor)
{
    const tvf_cursor *c = (const tvf_cursor *)cursor;

    return c->at >= c->count;
}

static int column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int index)
{
    const tvf_cursor *c = (const tvf_cursor *)cursor;
    int columns = def_of(cursor->pVtab)->columns;
    tvf_cell kept;
    cell shown = {0};

    if (index >= columns) {
        sqlite3_value *argument = c->arguments[index - columns];
        if (argument) {
            sqlite3_result_value(context, argument);
        } else if (c->rows.last_argument &&
                   index - columns == def_of(cursor->pVtab)->arguments - 1) {
            sqlite3_result_int64(context, c->rows.last_argument);
        }
        return SQLITE_OK;
    }
    memcpy(&kept, c->rows.cells.data + (c->at * (size_t)columns + (size_t)index) * sizeof kept,
           sizeof kept);
    shown.type = kept.type;
    shown.integer = kept.integer;
    shown.real = kept.real;
    if (kept.size) shown.bytes = fkv_slice_of(c->rows.bytes.data + kept.at, kept.size);
    cell_result(context, &shown);
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    const tvf_cursor *c = (const tvf_cursor *)cursor;

    *out = (sqlite3_int64)(c->before + c->at);
    return SQLITE_OK;
}

/* No xCreate: it exists by its name alone. */
static const sqlite3_module module = {
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xDestroy = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = eof,
    .xColumn = column,
    .xRowid = rowid,
};

int tvf_register(registry *owner, const tvf_def *def)
{
    function *f = alloc_zero(sizeof *f);

    if (!f) return SQLITE_NOMEM;
    f->def = def;
    f->owner = owner;
    return sqlite3_create_module_v2(owner->db, def->name, &module, f, alloc_free);
}
