/* schema.h -- what a table was declared as. */
#ifndef FASTKV_EXT_SCHEMA_H
#define FASTKV_EXT_SCHEMA_H

#include "affinity.h"
#include "options.h"

typedef struct kv_column {
    char *name;
    char *type;         /* as written; "" = none */
    char *default_text; /* an SQL literal; NULL = none */
    affinity affinity;
    int not_null;  /* key columns always are */
    int key_index; /* position in the key; -1 = not in it */
    int row_index; /* position in the row value; -1 = in the key */
} kv_column;

typedef struct kv_schema {
    char *table;
    kv_column *columns;
    int column_count;
    int *keys; /* columns of the key, in key order */
    int key_count;
    int row_count; /* columns outside the key */
    kv_options options;
} kv_schema;

/* Names that belong to hidden columns. */
#define SCHEMA_KEY_COLUMN "fastkv_key"
#define SCHEMA_ARG_COLUMN "arg"
#define SCHEMA_TTL_COLUMN "ttl"
#define SCHEMA_EXPIRES_COLUMN "expires_at"

/* Hidden columns follow the declared ones: the whole key (composite keys only), the command column
** named as the table, the command's argument, and when the row expires, in two forms (expiry.h).
** -1 = there is none. */
static inline int schema_key_column(const kv_schema *s)
{
    return s->key_count > 1 ? s->column_count : -1;
}

static inline int schema_command_column(const kv_schema *s)
{
    return s->column_count + (s->key_count > 1);
}

static inline int schema_arg_column(const kv_schema *s)
{
    return schema_command_column(s) + 1;
}

static inline int schema_ttl_column(const kv_schema *s)
{
    return schema_command_column(s) + 2;
}

static inline int schema_expires_column(const kv_schema *s)
{
    return schema_command_column(s) + 3;
}

/* Read the arguments of CREATE VIRTUAL TABLE table USING fastkv(args…). SQLITE_OK, or SQLITE_ERROR
** or SQLITE_NOMEM with *error (sqlite3_malloc'ed, may be NULL). *out must be zeroed and is to be
** released in any case. */
int schema_parse(kv_schema *out, const char *table, int count, const char *const *args,
                 char **error);

void schema_release(kv_schema *s); /* safe on zeroed memory and twice */

/* The statement for sqlite3_declare_vtab. sqlite3_malloc'ed; NULL = no memory. */
char *schema_declaration(const kv_schema *s);

/* The declared columns and the key as text, for comparing. sqlite3_malloc'ed; NULL = no memory. */
char *schema_signature(const kv_schema *s);

/* Is this the name of a hidden column, so that neither a table nor a column of it can have it? */
int schema_name_reserved(const char *name);

#endif
