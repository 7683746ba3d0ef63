#include "command.h"

#include <string.h>

#include "errmap.h"

SQLITE_EXTENSION_INIT3

typedef struct command {
    const char *name;
    int (*run)(kv_table *t, fkv_slice from, fkv_slice to);
    enum { ARG_NONE, ARG_OPTIONAL, ARG_NEEDED } arg; /* a prefix of the first key column */
} command;

/* Upkeep needs the writer lock to be free, and a transaction that has written holds it. */
static int upkeep(kv_table *t)
{
    conn_idle(t->conn);
    if (!fkv_txn_active(t->conn->txn)) return SQLITE_OK;
    return errmap_say(&t->base, SQLITE_ERROR,
                      "fastkv: this command cannot run in a transaction that has written; COMMIT "
                      "first");
}

static int flush(kv_table *t, fkv_slice from, fkv_slice to)
{
    int rc = upkeep(t);

    (void)from, (void)to;
    return rc ? rc : errmap_vtab(&t->base, fkv_flush(t->conn->store));
}

static int compact(kv_table *t, fkv_slice from, fkv_slice to)
{
    int rc = upkeep(t);

    return rc ? rc : errmap_vtab(&t->base, fkv_compact(t->conn->store, from, to));
}

/* Flush, and do now what background work would do in time. */
static int settle(kv_table *t, fkv_slice from, fkv_slice to)
{
    int rc = upkeep(t);

    (void)from, (void)to;
    return rc ? rc : errmap_vtab(&t->base, fkv_settle(t->conn->store));
}

static int check(kv_table *t, fkv_slice from, fkv_slice to)
{
    (void)from, (void)to;
    conn_idle(t->conn);
    return errmap_vtab(&t->base, fkv_verify(t->conn->store));
}

static int delete_range(kv_table *t, fkv_slice from, fkv_slice to)
{
    fkv_status st = conn_writable(t->conn, t->schema.options.durability);

    if (st == FKV_OK) st = fkv_txn_delete_range(t->conn->txn, from, to);
    return errmap_vtab(&t->base, st);
}

static const command commands[] = {
    {"flush", flush, ARG_NONE},           {"compact", compact, ARG_OPTIONAL},
    {"settle", settle, ARG_NONE},         {"integrity-check", check, ARG_NONE},
    {"truncate", delete_range, ARG_NONE}, {"delete-prefix", delete_range, ARG_NEEDED},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int unknown(kv_table *t, const char *name)
{
    return errmap_say(&t->base, SQLITE_ERROR,
                      "fastkv: unknown command \"%s\"; known are flush, compact, settle, "
                      "integrity-check, truncate, delete-prefix",
                      name);
}

/* Keys whose first column is text (or a BLOB) that begins with arg. */
static int prefix_range(kv_table *t, sqlite3_value *arg, buf *from, buf *to)
{
    affinity a = t->schema.columns[t->schema.keys[0]].affinity;
    cell v;
    int rc = cell_from_value(arg, a, &v);

    if (rc) return rc;
    if (v.type != SQLITE_TEXT && v.type != SQLITE_BLOB) {
        return errmap_say(&t->base, SQLITE_MISMATCH, "fastkv: a prefix must be text or a BLOB");
    }
    buf_append(from, t->prefix, SPACE_BYTES);
    keycode_append(from, &v, t->schema.key_count == 1);
    /* An escaped column ends in two bytes that a prefix must not have. */
    if (t->schema.key_count > 1 && from->size >= 2) from->size -= 2;
    buf_append(to, from->data, from->size);
    keycode_successor(to, SPACE_BYTES);
    return buf_status(from) || buf_status(to) ? SQLITE_NOMEM : SQLITE_OK;
}

int command_run(kv_table *t, sqlite3_value *name, sqlite3_value *arg)
{
    const char *text = (const char *)sqlite3_value_text(name);
    int given = sqlite3_value_type(arg) != SQLITE_NULL;
    const command *c = NULL;
    kv_table_range all;
    buf from = {0}, to = {0};
    int rc = SQLITE_OK;

    if (!text) return SQLITE_NOMEM;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (sqlite3_stricmp(text, commands[i].name) == 0) c = &commands[i];
    }
    if (!c) return unknown(t, text);
    if (given ? c->arg == ARG_NONE : c->arg == ARG_NEEDED) {
        return errmap_say(&t->base, SQLITE_ERROR, "fastkv: command \"%s\" %s in column arg",
                          c->name, given ? "takes nothing" : "needs a prefix");
    }
    if (given) {
        rc = prefix_range(t, arg, &from, &to);
    } else {
        kv_table_bounds(t, &all);
        buf_append(&from, all.from, sizeof all.from);
        buf_append(&to, all.to, sizeof all.to);
        if (buf_status(&from) || buf_status(&to)) rc = SQLITE_NOMEM;
    }
    if (rc == SQLITE_OK) rc = c->run(t, buf_slice(&from), buf_slice(&to));
    buf_release(&from);
    buf_release(&to);
    return rc;
}
