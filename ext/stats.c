#include "stats.h"

#include <string.h>

#include "base/alloc.h"
#include "errmap.h"
#include "table.h"

SQLITE_EXTENSION_INIT3

enum { COLUMN_NAME, COLUMN_VALUE, COLUMN_TABLE };

typedef struct stats_table {
    sqlite3_vtab base;
    registry *owner;
} stats_table;

typedef struct stat_row {
    char name[32];
    uint64_t value;
} stat_row;

#define SINGLE_STATS 22
#define ROWS_MAX (SINGLE_STATS + 3 * FKV_LEVELS)

typedef struct stats_cursor {
    sqlite3_vtab_cursor base;
    stat_row rows[ROWS_MAX];
    int count, at;
} stats_cursor;

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out,
                   char **error)
{
    stats_table *t = alloc_zero(sizeof *t);
    int rc;

    (void)argc, (void)argv, (void)error;
    if (!t) return SQLITE_NOMEM;
    t->owner = aux;
    rc = sqlite3_declare_vtab(db, "CREATE TABLE x(name TEXT, value INTEGER, \"table\" HIDDEN)");
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

static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 100;
    info->estimatedRows = ROWS_MAX;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (c->iColumn != COLUMN_TABLE || c->op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
        if (!c->usable) return SQLITE_CONSTRAINT;
        info->aConstraintUsage[i].argvIndex = 1;
        info->aConstraintUsage[i].omit = 1;
        info->idxNum = 1;
        return SQLITE_OK;
    }
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    stats_cursor *c = alloc_zero(sizeof *c);

    (void)vtab;
    if (!c) return SQLITE_NOMEM;
    *out = &c->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    alloc_free(cursor);
    return SQLITE_OK;
}

/* "kv" or "main.kv" among the connected tables. */
static kv_table *find(registry *owner, const char *name)
{
    for (kv_table *t = owner->tables; t; t = t->next) {
        size_t n = strlen(t->schema_name);
        if (sqlite3_stricmp(t->schema.table, name) == 0) return t;
        if (sqlite3_strnicmp(t->schema_name, name, (int)n) == 0 && name[n] == '.' &&
            sqlite3_stricmp(t->schema.table, name + n + 1) == 0) {
            return t;
        }
    }
    return NULL;
}

/* A table nobody has named yet in this connection is not connected: preparing a query does it. */
static kv_table *find_or_connect(registry *owner, const char *name)
{
    kv_table *t = find(owner, name);
    const char *dot = strchr(name, '.');
    sqlite3_stmt *s = NULL;
    char *sql;

    if (t) return t;
    sql = dot ? sqlite3_mprintf("SELECT 1 FROM \"%.*w\".\"%w\"", (int)(dot - name), name, dot + 1)
              : sqlite3_mprintf("SELECT 1 FROM \"%w\"", name);
    if (sql) (void)sqlite3_prepare_v2(owner->db, sql, -1, &s, NULL);
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return find(owner, name);
}

static void add(stats_cursor *c, const char *name, int level, uint64_t value)
{
    stat_row *r = &c->rows[c->count++];

    if (level < 0) {
        (void)sqlite3_snprintf(sizeof r->name, r->name, "%s", name);
    } else {
        (void)sqlite3_snprintf(sizeof r->name, r->name, "level%d_%s", level, name);
    }
    r->value = value;
}

static void fill(stats_cursor *c, const fkv_stats *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } single[] = {{"memtable_bytes", s->memtable_bytes},
                  {"memtable_entries", s->memtable_entries},
                  {"immutable_memtables", s->immutable_memtables},
                  {"immutable_entries", s->immutable_entries},
                  {"last_sequence", s->last_sequence},
                  {"log_bytes", s->log_bytes},
                  {"log_replayed", s->log_replayed},
                  {"cache_hits", s->cache_hits},
                  {"cache_misses", s->cache_misses},
                  {"cache_bytes", s->cache_bytes},
                  {"cache_capacity", s->cache_capacity},
                  {"bytes_put", s->bytes_put},
                  {"bytes_logged", s->bytes_logged},
                  {"bytes_flushed", s->bytes_flushed},
                  {"bytes_compacted", s->bytes_compacted},
                  {"flushes", s->flushes},
                  {"compactions", s->compactions},
                  {"stall_us", s->stall_us},
                  {"gets", s->gets},
                  {"seeks", s->seeks},
                  {"rows_read", s->rows_read},
                  {"entries_skipped", s->entries_skipped}};
    _Static_assert(sizeof single / sizeof single[0] == SINGLE_STATS, "rows are counted");

    c->count = 0;
    for (int i = 0; i < SINGLE_STATS; i++) add(c, single[i].name, -1, single[i].value);
    for (int i = 0; i < FKV_LEVELS; i++) {
        add(c, "files", i, s->level_files[i]);
        add(c, "bytes", i, s->level_bytes[i]);
        add(c, "entries", i, s->level_entries[i]);
    }
}

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    stats_cursor *c = (stats_cursor *)cursor;
    registry *owner = ((stats_table *)cursor->pVtab)->owner;
    const char *name;
    kv_table *t;
    fkv_stats stats;
    int rc;

    (void)text, (void)argc;
    c->count = c->at = 0;
    name = number ? (const char *)sqlite3_value_text(argv[0]) : NULL;
    if (!name) {
        return errmap_say(cursor->pVtab, SQLITE_ERROR, "fastkv: fastkv_stats needs a table's name");
    }
    t = find_or_connect(owner, name);
    if (!t) {
        return errmap_say(cursor->pVtab, SQLITE_ERROR, "fastkv: there is no fastkv table \"%s\"",
                          name);
    }
    rc = kv_table_ready(t);
    if (rc) {
        return errmap_say(cursor->pVtab, rc, "%s", t->base.zErrMsg ? t->base.zErrMsg : "fastkv");
    }
    memset(&stats, 0, sizeof stats);
    fkv_stats_read(t->conn->store, &stats);
    fill(c, &stats);
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *cursor)
{
    ((stats_cursor *)cursor)->at++;
    return SQLITE_OK;
}

static int eof(sqlite3_vtab_cursor *cursor)
{
    const stats_cursor *c = (const stats_cursor *)cursor;

    return c->at >= c->count;
}

static int column_value(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int index)
{
    const stats_cursor *c = (const stats_cursor *)cursor;
    const stat_row *r = &c->rows[c->at];

    if (index == COLUMN_NAME) sqlite3_result_text(context, r->name, -1, SQLITE_TRANSIENT);
    if (index == COLUMN_VALUE) sqlite3_result_int64(context, (sqlite3_int64)r->value);
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    *out = ((stats_cursor *)cursor)->at;
    return SQLITE_OK;
}

/* No xCreate: it exists by its name alone. */
const sqlite3_module stats_module = {
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xDestroy = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = eof,
    .xColumn = column_value,
    .xRowid = rowid,
};
