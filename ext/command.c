#include "command.h"

#include <string.h>

#include "call.h"
#include "errmap.h"
#include "keyarg.h"
#include "row.h"
#include "setting.h"

SQLITE_EXTENSION_INIT3

typedef struct command {
    const char *name;
    int (*run)(kv_table *t, fkv_slice from, fkv_slice to);
    int (*range)(kv_table *t, sqlite3_value *arg, buf *from, buf *to); /* NULL: takes no argument */
    int needs_argument;
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

    if (st == FKV_OK) st = row_delete_range(t, from, to);
    return errmap_vtab(&t->base, st);
}

static const command commands[] = {
    {"flush", flush, NULL, 0},
    {"compact", compact, keyarg_prefix, 0},
    {"settle", settle, NULL, 0},
    {"integrity-check", check, NULL, 0},
    {"truncate", delete_range, keyarg_group, 0},
    {"delete-prefix", delete_range, keyarg_prefix, 1},
    {"delete-range", delete_range, keyarg_between, 1},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int unknown(kv_table *t, const char *name)
{
    return errmap_say(&t->base, SQLITE_ERROR,
                      "fastkv: unknown command \"%s\"; known are flush, compact, settle, "
                      "integrity-check, truncate, delete-prefix, delete-range, and options, as in "
                      "durability=sync",
                      name);
}

/* A NULL from a program's variable is not the same as no argument: all rows would go. */
static int check_argument(kv_table *t, const command *c, int given, int bound_null)
{
    if (given && c->range == keyarg_group && t->schema.key_count == 1) {
        return errmap_say(&t->base, SQLITE_ERROR,
                          "fastkv: command \"%s\" takes an argument, a value of the first key "
                          "column, only where the key has more columns",
                          c->name);
    }
    if (bound_null && c->range == keyarg_group && t->schema.key_count > 1) {
        return errmap_say(&t->base, SQLITE_ERROR,
                          "fastkv: command \"%s\" was given NULL, which no key column is; without "
                          "an argument it deletes all rows",
                          c->name);
    }
    if (given ? c->range != NULL : !c->needs_argument) return SQLITE_OK;
    return errmap_say(&t->base, SQLITE_ERROR, "fastkv: command \"%s\" %s argument in column arg",
                      c->name, given ? "takes no" : "needs an");
}

static int run(kv_table *t, const command *c, sqlite3_value *arg)
{
    int given = sqlite3_value_type(arg) != SQLITE_NULL;
    buf from = {0}, to = {0};
    int rc = check_argument(t, c, given, !given && sqlite3_value_frombind(arg));

    if (rc) return rc;
    rc = given ? c->range(t, arg, &from, &to) : keyarg_all(t, &from, &to);
    if (rc == SQLITE_OK) rc = c->run(t, buf_slice(&from), buf_slice(&to));
    if (t->conn->positioned == 0) conn_rest(t->conn); /* it would keep replaced files on disk */
    buf_release(&from);
    buf_release(&to);
    return rc;
}

/* name=value, with or without blanks around both. */
static int change_option(kv_table *t, const char *text, const char *sign, sqlite3_value *arg)
{
    const char *value = sign + 1;
    size_t name_size, value_size;
    char *name, *trimmed;
    int rc = SQLITE_NOMEM;

    if (sqlite3_value_type(arg) != SQLITE_NULL) {
        return errmap_say(&t->base, SQLITE_ERROR, "fastkv: an option takes nothing in column arg");
    }
    while (*text == ' ') text++;
    name_size = (size_t)(sign - text);
    while (name_size && text[name_size - 1] == ' ') name_size--;
    while (*value == ' ') value++;
    value_size = strlen(value);
    while (value_size && value[value_size - 1] == ' ') value_size--;
    name = sqlite3_mprintf("%.*s", (int)name_size, text);
    trimmed = sqlite3_mprintf("%.*s", (int)value_size, value);
    if (name && trimmed) rc = setting_change(t, name, trimmed);
    sqlite3_free(name);
    sqlite3_free(trimmed);
    return rc;
}

int command_run(kv_table *t, sqlite3_value *name, sqlite3_value *arg)
{
    const char *text = (const char *)sqlite3_value_text(name);
    const char *sign;

    if (!text) return SQLITE_NOMEM;
    if (t->owner->call && strcmp(text, CALL_COMMAND) == 0) {
        return t->owner->call->run(t, t->owner->call);
    }
    sign = strchr(text, '=');
    if (sign) return change_option(t, text, sign, arg);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (sqlite3_stricmp(text, commands[i].name) == 0) return run(t, &commands[i], arg);
    }
    return unknown(t, text);
}
