/*
** meta.c -- the shadow table
**
** CREATE TABLE <name>_meta(k TEXT PRIMARY KEY, v) WITHOUT ROWID, in the schema of the table:
**
**   k           v
**   format      1; a reader refuses a larger number
**   uuid        the store's id, 32 hexadecimal digits
**   space       the table's number in the store
**   <option>    the text of each option that was given
**
** WITHOUT ROWID so that an application's update hook never hears of it.
*/
#include "meta.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#define META_FORMAT 1

void meta_uuid_text(const uint8_t uuid[16], char out[33])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[uuid[i] >> 4];
        out[2 * i + 1] = digits[uuid[i] & 15];
    }
    out[32] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static int parse_uuid(const char *text, uint8_t out[16])
{
    if (!text || strlen(text) != 32) return -1;
    for (int i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return -1;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

/* Run SQL made by sqlite3_mprintf (freed here; NULL = no memory). */
static int run(sqlite3 *db, char *sql, char **error)
{
    char *text = NULL;
    int rc;

    if (!sql) return SQLITE_NOMEM;
    rc = sqlite3_exec(db, sql, NULL, NULL, &text);
    if (rc && text) *error = sqlite3_mprintf("fastkv: %s", text);
    sqlite3_free(text);
    sqlite3_free(sql);
    return rc;
}

int meta_create(sqlite3 *db, const char *schema, const char *table, const table_meta *m,
                const kv_options *o, char **error)
{
    char uuid[33];
    int rc = run(db,
                 sqlite3_mprintf("CREATE TABLE \"%w\".\"%w_meta\"(k TEXT PRIMARY KEY, v) "
                                 "WITHOUT ROWID",
                                 schema, table),
                 error);

    meta_uuid_text(m->uuid, uuid);
    if (rc == SQLITE_OK) {
        rc = run(db,
                 sqlite3_mprintf("INSERT INTO \"%w\".\"%w_meta\" VALUES('format', %d),"
                                 "('uuid', %Q),('space', %u)",
                                 schema, table, META_FORMAT, uuid, m->space),
                 error);
    }
    for (int i = 0; rc == SQLITE_OK && i < OPTION_COUNT; i++) {
        if (o->given[i]) rc = meta_set_option(db, schema, table, (option_id)i, o->given[i], error);
    }
    return rc;
}

int meta_set_option(sqlite3 *db, const char *schema, const char *table, option_id id,
                    const char *value, char **error)
{
    return run(db,
               sqlite3_mprintf("REPLACE INTO \"%w\".\"%w_meta\" VALUES(%Q, %Q)", schema, table,
                               option_names[id], value),
               error);
}

/* One row; *seen has a bit for each of the three rows that must be there. */
static int read_row(sqlite3_stmt *s, table_meta *out, kv_options *o, unsigned *seen, char **error)
{
    const char *k = (const char *)sqlite3_column_text(s, 0);
    const char *v;

    if (!k) return SQLITE_OK;
    if (strcmp(k, "format") == 0) {
        *seen |= 1;
        if (sqlite3_column_int(s, 1) <= META_FORMAT) return SQLITE_OK;
        *error = sqlite3_mprintf("fastkv: the table was made by a newer version of fastkv");
        return SQLITE_ERROR;
    }
    if (strcmp(k, "space") == 0) {
        *seen |= 2;
        out->space = (uint32_t)sqlite3_column_int64(s, 1);
        return SQLITE_OK;
    }
    v = (const char *)sqlite3_column_text(s, 1);
    if (!v) return SQLITE_OK;
    if (strcmp(k, "uuid") == 0) {
        if (parse_uuid(v, out->uuid) == 0) *seen |= 4;
        return SQLITE_OK;
    }
    return options_set(o, k, v, error);
}

static int prepare_read(sqlite3 *db, const char *schema, const char *table, sqlite3_stmt **kept)
{
    char *sql = *kept ? NULL
                      : sqlite3_mprintf("SELECT k, v FROM \"%w\".\"%w_meta\"", schema, table);
    int rc = SQLITE_OK;

    if (!*kept) {
        rc = sql ? sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, kept, NULL)
                 : SQLITE_NOMEM;
    }
    sqlite3_free(sql);
    return rc;
}

int meta_read(sqlite3 *db, const char *schema, const char *table, sqlite3_stmt **kept,
              table_meta *out, kv_options *o, char **error)
{
    unsigned seen = 0;
    int rc = prepare_read(db, schema, table, kept);

    memset(out, 0, sizeof *out);
    while (rc == SQLITE_OK && sqlite3_step(*kept) == SQLITE_ROW) {
        rc = read_row(*kept, out, o, &seen, error);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_reset(*kept);
    } else {
        (void)sqlite3_reset(*kept);
    }
    if (rc == SQLITE_OK && seen != 7) {
        rc = SQLITE_CORRUPT_VTAB;
        *error = sqlite3_mprintf("fastkv: the shadow table \"%s_meta\" is damaged", table);
    } else if (rc && !*error) {
        *error = sqlite3_mprintf("fastkv: the shadow table \"%s_meta\" cannot be read: %s", table,
                                 sqlite3_errmsg(db));
    }
    return rc;
}

int meta_drop(sqlite3 *db, const char *schema, const char *table, char **error)
{
    return run(db, sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\".\"%w_meta\"", schema, table),
               error);
}

int meta_rename(sqlite3 *db, const char *schema, const char *table, const char *to, char **error)
{
    return run(
        db,
        sqlite3_mprintf("ALTER TABLE \"%w\".\"%w_meta\" RENAME TO \"%w_meta\"", schema, table, to),
        error);
}

/* Has this one shadow table the uuid (NULL: any)? A table of that name that is not ours has no such
** row, or no such column. */
static int names_store(sqlite3 *db, const char *schema, const char *shadow, const char *uuid,
                       int *found)
{
    sqlite3_stmt *s = NULL;
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\" WHERE k = 'uuid' AND (%d OR v = %Q)",
                                schema, shadow, uuid == NULL, uuid);
    int rc = sql ? sqlite3_prepare_v2(db, sql, -1, &s, NULL) : SQLITE_NOMEM;

    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    *found = rc == SQLITE_ROW;
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return rc == SQLITE_ROW || rc == SQLITE_DONE || rc == SQLITE_ERROR ? SQLITE_OK : rc;
}

/* The end of a walk, which may have ended too early. */
static int end_walk(sqlite3_stmt *s, int rc)
{
    int ended = sqlite3_finalize(s);

    return rc ? rc : ended;
}

/* A walk over the names of what may be shadow tables. */
static int list_shadows(sqlite3 *db, const char *schema, sqlite3_stmt **out)
{
    char *sql = sqlite3_mprintf("SELECT name FROM \"%w\".sqlite_schema WHERE type = 'table' AND "
                                "name LIKE '%%\\_meta' ESCAPE '\\' AND rootpage > 0",
                                schema);
    int rc = sql ? sqlite3_prepare_v2(db, sql, -1, out, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return rc;
}

int meta_names_store(sqlite3 *db, const char *schema, const uint8_t *uuid, int *out)
{
    sqlite3_stmt *s = NULL;
    char text[33];
    int rc = list_shadows(db, schema, &s);

    *out = 0;
    if (uuid) meta_uuid_text(uuid, text);
    while (rc == SQLITE_OK && !*out && sqlite3_step(s) == SQLITE_ROW) {
        const char *shadow = (const char *)sqlite3_column_text(s, 0);
        rc = shadow ? names_store(db, schema, shadow, uuid ? text : NULL, out) : SQLITE_NOMEM;
    }
    return end_walk(s, rc);
}

/* The uuid in this one shadow table. */
static int read_uuid(sqlite3 *db, const char *schema, const char *shadow, uint8_t uuid[16])
{
    sqlite3_stmt *s = NULL;
    int found = 0;
    char *sql = sqlite3_mprintf("SELECT v FROM \"%w\".\"%w\" WHERE k = 'uuid'", schema, shadow);

    if (sql && sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        found = parse_uuid((const char *)sqlite3_column_text(s, 0), uuid) == 0;
    }
    (void)sqlite3_finalize(s);
    sqlite3_free(sql);
    return found;
}

int meta_find_uuid(sqlite3 *db, const char *schema, uint8_t uuid[16], int *found)
{
    sqlite3_stmt *s = NULL;
    int rc = list_shadows(db, schema, &s);

    *found = 0;
    while (rc == SQLITE_OK && !*found && sqlite3_step(s) == SQLITE_ROW) {
        const char *shadow = (const char *)sqlite3_column_text(s, 0);
        *found = shadow && read_uuid(db, schema, shadow, uuid);
    }
    (void)sqlite3_finalize(s);
    return rc;
}

int meta_set_shared(sqlite3 *db, const char *schema, const uint8_t uuid[16], option_id id,
                    const char *value, char **error)
{
    sqlite3_stmt *s = NULL;
    char text[33];
    int rc = list_shadows(db, schema, &s);

    meta_uuid_text(uuid, text);
    while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        const char *shadow = (const char *)sqlite3_column_text(s, 0);
        char *table;
        int ours = 0;
        rc = shadow ? names_store(db, schema, shadow, text, &ours) : SQLITE_NOMEM;
        if (rc || !ours) continue;
        table = sqlite3_mprintf("%.*s", (int)strlen(shadow) - 5, shadow); /* less _meta */
        rc = table ? meta_set_option(db, schema, table, id, value, error) : SQLITE_NOMEM;
        sqlite3_free(table);
    }
    return end_walk(s, rc);
}
