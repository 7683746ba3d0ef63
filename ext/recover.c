/*
** recover.c -- fastkv_recover(dir [, schema]): what can still be read of a damaged store, made new
**
** It makes `dir/<name>`, a copy of the database, and `dir/<name>-fastkv`, a new store with every
** row that can be read (the engine's fkv_recover): a pair that opens as it is, and of which either
** half may be put in the place of the damaged one. Nothing of the old pair is changed.
**
** Connecting opens no store, so this works where the store cannot be opened. Nobody may have it
** open meanwhile; if this connection has, it lets go of it.
**
** What the database knows helps: the store's id, should its manifest be lost, and how a transaction
** that changed both has ended. A database that cannot be copied is a finding, and the store is
** saved all the same.
*/
#include "recover.h"

#include <string.h>

#include "dbcopy.h"
#include "errmap.h"
#include "host.h"
#include "integrity.h"
#include "meta.h"
#include "table.h"

SQLITE_EXTENSION_INIT3

typedef struct job {
    registry *owner;
    const char *schema, *dir;
    char *from, *to; /* the stores */
    char *copy;      /* the new database */
    sqlite3 *source; /* the database, held as it is */
    tvf_rows *rows;
    int interrupted;
} job;

static void add(job *j, const fkv_finding *f)
{
    tvf_add_text(j->rows, fkv_severity_name(f->severity));
    tvf_add_text(j->rows, f->file);
    if (f->offset == FKV_NO_OFFSET) {
        tvf_add(j->rows, &(cell){.type = SQLITE_NULL});
    } else {
        tvf_add_integer(j->rows, (int64_t)f->offset);
    }
    tvf_add_integer(j->rows, (int64_t)f->rows);
    tvf_add_integer(j->rows, (int64_t)f->bytes);
    tvf_add_text(j->rows, f->text);
}

static fkv_status found(void *arg, const fkv_finding *f)
{
    add(arg, f);
    return FKV_OK;
}

static fkv_status proceed(void *arg)
{
    job *j = arg;

    j->interrupted = check_interrupted(j->owner->db);
    return j->interrupted ? FKV_BUSY : FKV_OK;
}

static int name_files(job *j, char **error)
{
    const char *file = sqlite3_db_filename(j->owner->db, j->schema);
    const char *name;
    int there = 0, rc;

    if (!file || !*file) {
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: database %s has no file and no store beside it", j->schema);
    }
    name = strrchr(file, '/');
    name = name ? name + 1 : file;
    j->from = sqlite3_mprintf("%s-fastkv", file);
    j->to = sqlite3_mprintf("%s/%s-fastkv", j->dir, name);
    j->copy = sqlite3_mprintf("%s/%s", j->dir, name);
    if (!j->from || !j->to || !j->copy) return SQLITE_NOMEM;
    rc = dbcopy_exists(j->owner->db, j->schema, j->copy, "", &there);
    if (rc) return rc;
    if (there) {
        return errmap_tell(error, SQLITE_ERROR,
                           "fastkv: \"%s\" is there already: choose another directory", j->copy);
    }
    return dbcopy_open(j->owner->db, j->schema, file, SQLITE_OPEN_READWRITE, &j->source, error);
}

static int save_store(job *j, char **error)
{
    uint8_t uuid[16];
    fkv_salvage how = {.parent = j->dir,
                       .host_id = host_id_of_file(j->source),
                       .host_committed = host_file_committed,
                       .host_stamped = host_file_stamped,
                       .host_arg = j->source,
                       .found = found,
                       .proceed = proceed,
                       .arg = j};
    int known = 0, rc = meta_find_uuid(j->source, "main", uuid, &known);
    fkv_status st;

    if (rc == SQLITE_OK && known) how.uuid = uuid; /* (a damaged database may not tell) */
    st = fkv_recover(j->from, j->to, &how);
    if (j->interrupted) return SQLITE_INTERRUPT;
    return errmap_give(error, st);
}

static int copy_database(job *j, char **error)
{
    int rc = dbcopy_make(j->owner->db, j->schema, j->source, j->copy, 0, error);

    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_FULL) return rc;
    add(j, &(fkv_finding){.severity = FKV_FOUND_ERROR,
                          .file = "",
                          .offset = FKV_NO_OFFSET,
                          .text = *error ? *error : "the database cannot be copied"});
    sqlite3_free(*error);
    *error = NULL;
    return SQLITE_OK;
}

static int fill(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    job j = {.owner = owner, .schema = "main", .rows = rows};
    int rc;

    j.dir = (const char *)sqlite3_value_text(argv[0]);
    if (argv[1] && sqlite3_value_text(argv[1])) {
        j.schema = (const char *)sqlite3_value_text(argv[1]);
    }
    if (!j.dir || !*j.dir) {
        return errmap_tell(error, SQLITE_ERROR, "fastkv: fastkv_recover needs a directory");
    }
    rc = name_files(&j, error);
    if (rc == SQLITE_OK) rc = kv_table_let_go(owner, j.schema, "fastkv_recover", 0, error);
    if (rc == SQLITE_OK) rc = dbcopy_hold(j.source, error);
    if (rc == SQLITE_OK) rc = save_store(&j, error);
    if (rc == SQLITE_OK) rc = copy_database(&j, error);
    (void)sqlite3_close(j.source);
    sqlite3_free(j.from);
    sqlite3_free(j.to);
    sqlite3_free(j.copy);
    return rc;
}

const tvf_def recover_function = {.name = "fastkv_recover",
                                  .declaration = "CREATE TABLE x(severity TEXT, file TEXT, "
                                                 "\"offset\" INTEGER, rows INTEGER, "
                                                 "lost INTEGER, text TEXT, "
                                                 "dir HIDDEN, \"schema\" HIDDEN)",
                                  .columns = 6,
                                  .required = 1,
                                  .arguments = 2,
                                  .missing = "a directory",
                                  .cost = 1e9,
                                  .direct_only = 1,
                                  .fill = fill};
