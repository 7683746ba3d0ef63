/*
** init.c -- loading the extension
**
** A loadable build stays mapped for good (SQLITE_OK_LOAD_PERMANENTLY): the store's threads may
** outlive the connection that loaded it. A static build (-DSQLITE_CORE) is for
** sqlite3_auto_extension or a direct call, where that code would be taken for an error.
*/
#include <stdatomic.h>

#include "sqlite3ext.h"

#include "backup.h"
#include "base/alloc.h"
#include "changes.h"
#include "integrity.h"
#include "listener.h"
#include "module.h"
#include "point.h"
#include "pop.h"
#include "recover.h"
#include "stats.h"

SQLITE_EXTENSION_INIT1

#define CODECS 4
#define SQLITE_OLDEST 3038000 /* sqlite3_vtab_in, sqlite3_vtab_rhs_value */

#ifdef SQLITE_CORE
#define LOADED SQLITE_OK
#define BUILD_KIND "static"
#else
#define LOADED SQLITE_OK_LOAD_PERMANENTLY
#define BUILD_KIND "loadable"
#endif

int sqlite3_fastkv_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

static void version(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3_result_text(context, FKV_VERSION, -1, SQLITE_STATIC);
}

static void debug(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    sqlite3_str *out = sqlite3_str_new(NULL);
    char *text;

    (void)argc, (void)argv;
    sqlite3_str_appendf(out,
                        "fastkv %s, %s build, compiler %s, made for SQLite %s\n"
                        "running on SQLite %s, %s\ncompression:",
                        FKV_VERSION, BUILD_KIND, __VERSION__, SQLITE_VERSION, sqlite3_libversion(),
                        sqlite3_sourceid());
    for (int i = 0; i < CODECS; i++) {
        if (fkv_codec_name(i)) sqlite3_str_appendf(out, " %s", fkv_codec_name(i));
    }
    text = sqlite3_str_finish(out);
    if (text) {
        sqlite3_result_text(context, text, -1, sqlite3_free);
    } else {
        sqlite3_result_error_nomem(context);
    }
}

static void registry_free(void *p)
{
    conn_free_all(p);
    alloc_free(p);
}

/* Loading twice into one connection must not make a second registry: two conns of one connection
** would wait for each other. (The PRAGMA does not read the schema, as a SELECT from it would:
** SQLite knows a shadow table as one, and defends it, if the module is there when the schema is
** read.) */
static int already_loaded(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int found = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA module_list", -1, &s, NULL) == SQLITE_OK) {
        while (!found && sqlite3_step(s) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(s, 0);
            found = name && sqlite3_stricmp(name, LISTENER_NAME) == 0;
        }
    }
    (void)sqlite3_finalize(s);
    return found;
}

static const tvf_def *const tables[] = {&stats_function,  &levels_function, &jobs_function,
                                        &pop_function,    &check_function,  &recover_function,
                                        &changes_function};

/* Those that read or write a table are not innocuous: a hostile schema could name one. */
static const struct {
    const char *name;
    int arguments, flags;
    void (*run)(sqlite3_context *context, int argc, sqlite3_value **argv);
} functions[] = {{"fastkv_version", 0, SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, version},
                 {"fastkv_debug", 0, SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, debug},
                 {"fastkv_get", -1, 0, point_get},
                 {"fastkv_incr", -1, 0, point_incr},
                 {"fastkv_cas", -1, 0, point_cas},
                 {"fastkv_stats_json", 1, 0, stats_json},
                 {"fastkv_key", -1, 0, key_function},
                 {"fastkv_backup", 1, SQLITE_DIRECTONLY, backup_function},
                 {"fastkv_backup", 2, SQLITE_DIRECTONLY, backup_function},
                 {"fastkv_restore", 1, SQLITE_DIRECTONLY, restore_function},
                 {"fastkv_restore", 2, SQLITE_DIRECTONLY, restore_function}};

static int register_all(sqlite3 *db)
{
    registry *r = alloc_zero(sizeof *r);
    int rc;

    if (!r) return SQLITE_NOMEM;
    r->db = db;
    /* Takes r over, also when it fails. The other modules only borrow it: SQLite frees all modules
    ** of a connection together, when no table of theirs is left. */
    rc = sqlite3_create_module_v2(db, "fastkv", kv_table_module, r, registry_free);
    if (rc == SQLITE_OK) {
        rc = sqlite3_create_module_v2(db, LISTENER_NAME, &listener_module, r, NULL);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof tables / sizeof tables[0]; i++) {
        rc = tvf_register(r, tables[i]);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof functions / sizeof functions[0]; i++) {
        rc = sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments,
                                        SQLITE_UTF8 | functions[i].flags, r, functions[i].run, NULL,
                                        NULL, NULL);
    }
    return rc;
}

#ifndef SQLITE_CORE
/* All our calls of SQLite go through one pointer, set by the first load and never again, because
** other threads read it. A process may hold two SQLite libraries (Node with a binding that brings
** its own): what one of them has allocated must not be freed by the other. 0 = refuse. */
static int take_api(const sqlite3_api_routines *api)
{
    static _Atomic int state; /* 0 not set, 1 being set, 2 set */
    int unset = 0;

    if (atomic_compare_exchange_strong(&state, &unset, 1)) {
        SQLITE_EXTENSION_INIT2(api);
        atomic_store(&state, 2);
    }
    while (atomic_load(&state) != 2) {} /* for the length of one store */
    return sqlite3_api == api;
}
#endif

__attribute__((visibility("default"))) int sqlite3_fastkv_init(sqlite3 *db, char **error,
                                                               const sqlite3_api_routines *api)
{
    int rc;

#ifndef SQLITE_CORE
    if (!take_api(api)) {
        *error = api->mprintf("fastkv is in use by another SQLite library of this process, %s",
                              sqlite3_libversion());
        return SQLITE_ERROR;
    }
#endif
    (void)api;
    if (sqlite3_libversion_number() < SQLITE_OLDEST) {
        *error = sqlite3_mprintf("fastkv needs SQLite 3.38.0 or newer; this is %s",
                                 sqlite3_libversion());
        return SQLITE_ERROR;
    }
    if (already_loaded(db)) return LOADED;
    rc = register_all(db);
    return rc ? rc : LOADED;
}
