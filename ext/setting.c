/*
** setting.c -- when an option counts
**
** Options are rows of the shadow table, so a change is part of the transaction, is undone by a
** ROLLBACK, and other connections and processes see it as they see any commit. kv_table has a copy
** of them, which is read again when it may be out of date:
**
**   - another connection has committed: at xBegin, if the database's data version has moved (one
**     comparison; our own commits of other tables move it as well);
**   - a change was rolled back;
**   - before the COMMIT of a change, for the engine may be told only what is committed: it drops
**     the log that it need not keep.
**
** durability and ttl count from the next statement on, in this connection. What the engine has to
** be told (compression, and memory, block_size, bloom_bits, changes) counts when it is committed,
** here, and elsewhere with the next transaction that writes. The last four are shared: there is one
** store, so the last word holds for all its tables, and is written into the shadow table of each.
*/
#include "setting.h"

#include "base/coding.h"
#include "errmap.h"
#include "evict.h"
#include "meta.h"

SQLITE_EXTENSION_INIT3

static int keep(kv_table *t, option_id id, const char *value, char **error)
{
    sqlite3 *db = t->owner->db;

    if (option_is_shared(id)) {
        return meta_set_shared(db, t->schema_name, t->uuid, id, value, error);
    }
    return meta_set_option(db, t->schema_name, t->schema.table, id, value, error);
}

/* Is this a value that can be set? For a name that is unknown, the error says which are known. */
static int check(const char *name, const char *value, char **error)
{
    kv_options probe = {0};
    int rc = options_set(&probe, name, value, error);

    if (rc == SQLITE_OK && probe.codec && !fkv_codec_name(probe.codec - 1)) {
        *error = sqlite3_mprintf("fastkv: this build has no codec for compression = %s", value);
        rc = SQLITE_ERROR;
    }
    options_release(&probe);
    return rc;
}

int setting_change(kv_table *t, const char *name, const char *value)
{
    int id = option_find(name);
    char *error = NULL;
    int rc = check(name, value, &error);

    if (rc == SQLITE_OK && id == OPTION_PATH) {
        rc = SQLITE_ERROR;
        error = sqlite3_mprintf("fastkv: option \"path\" cannot be changed");
    }
    if (rc == SQLITE_OK) rc = keep(t, (option_id)id, value, &error);
    if (rc == SQLITE_OK) {
        t->changed = t->stale = 1;
        return setting_refresh(t);
    }
    sqlite3_free(t->base.zErrMsg);
    t->base.zErrMsg = error;
    return rc;
}

int setting_share(kv_table *t, char **error)
{
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && i < OPTION_COUNT; i++) {
        const char *value = t->schema.options.given[i];
        if (!value) continue;
        t->changed = 1;
        rc = check(option_names[i], value, error);
        if (rc == SQLITE_OK && option_is_shared((option_id)i)) {
            rc = keep(t, (option_id)i, value, error);
        }
    }
    return rc;
}

/* A log that is not kept is gone: only what is committed may make it less. But the feed of a table
** that is made with this option begins with the table. */
static void keep_changes(kv_table *t)
{
    const kv_options *o = &t->schema.options;
    uint64_t since;

    if (t->changed) {
        if (fkv_changes_oldest(t->conn->store, &since) == FKV_OK) return;
        t->keeps = 1;
    }
    fkv_keep_changes(t->conn->store, o->changes_bytes, o->changes_ms);
}

/* Nothing was kept before the transaction that is undone. */
static void keep_nothing(kv_table *t)
{
    if (t->keeps && t->conn->store) fkv_keep_changes(t->conn->store, 0, 0);
    t->keeps = 0;
}

int setting_opened(kv_table *t)
{
    const kv_options *o = &t->schema.options;

    /* What it cannot do it need not know: the option was checked when it was set. */
    if (o->codec) {
        fkv_ignore(fkv_set_codec(t->conn->store, get_be32(t->prefix), o->codec, o->codec_level));
    }
    if (o->given[OPTION_CHANGES]) keep_changes(t);
    return evict_settle(t);
}

static int apply(kv_table *t)
{
    fkv_ignore(fkv_configure(t->conn->store, &t->schema.options.store));
    return setting_opened(t);
}

/* What the shadow table says now. *error may be set. */
static int read_again(kv_table *t, char **error)
{
    kv_options fresh = {0};
    table_meta m;
    int rc =
        meta_read(t->owner->db, t->schema_name, t->schema.table, &t->read_meta, &m, &fresh, error);

    if (rc) {
        options_release(&fresh);
        return rc;
    }
    options_release(&t->schema.options);
    t->schema.options = fresh;
    t->stale = 0;
    return SQLITE_OK;
}

int setting_refresh(kv_table *t)
{
    char *error = NULL;
    int rc;

    if (!t->stale) return SQLITE_OK;
    rc = read_again(t, &error);
    if (rc) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = error;
        return rc;
    }
    return t->changed ? evict_settle(t) : apply(t);
}

/* What has been undone is not known for certain: a table that was created after a savepoint hears
** nothing of ROLLBACK TO it. There is nothing to read where the making of the table was undone.
** (Any other failure is COMMIT's: for want of memory SQLite rolls back the whole transaction in
** the middle of a statement that another one runs, and goes on committing what is left.) */
int setting_sync(kv_table *t, char **error)
{
    int rc;

    if (!t->changed) return SQLITE_OK;
    rc = read_again(t, error);
    if (rc != SQLITE_ERROR && (rc & 0xff) != SQLITE_CORRUPT) return rc;
    sqlite3_free(*error);
    *error = NULL;
    keep_nothing(t);
    t->changed = 0;
    t->stale = 1;
    return SQLITE_OK;
}

static unsigned data_version(const kv_table *t)
{
    unsigned version = 0;

    (void)sqlite3_file_control(t->owner->db, t->schema_name, SQLITE_FCNTL_DATA_VERSION, &version);
    return version;
}

void setting_begin(kv_table *t)
{
    unsigned version = data_version(t);

    if (version == t->options_version) return;
    t->options_version = version;
    t->stale = 1;
}

void setting_commit(kv_table *t)
{
    int changed = t->changed;

    t->changed = t->keeps = 0;
    if (changed) (void)apply(t);          /* evict_settle() has been called for this */
    t->options_version = data_version(t); /* which this commit has moved */
}

void setting_rollback(kv_table *t, int whole)
{
    if (t->changed) t->stale = 1;
    if (t->limit) evict_doubt(t);
    if (!whole) return;
    keep_nothing(t);
    t->changed = 0;
}
