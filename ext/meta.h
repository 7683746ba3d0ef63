/* meta.h -- the shadow table <name>_meta: what ties a table to its store. */
#ifndef FASTKV_EXT_META_H
#define FASTKV_EXT_META_H

#include "options.h"
#include "sqlite3ext.h"

typedef struct table_meta {
    uint8_t uuid[16]; /* the store */
    uint32_t space;   /* the table in it */
} table_meta;

/* Each returns a result code; on failure *error may be set (sqlite3_malloc'ed). *kept, NULL at
** first, is the statement for reading, which the caller finalizes in the end. */
int meta_create(sqlite3 *db, const char *schema, const char *table, const table_meta *m,
                const kv_options *o, char **error);
int meta_read(sqlite3 *db, const char *schema, const char *table, sqlite3_stmt **kept,
              table_meta *out, kv_options *o, char **error);
/* Keep an option. For one that is shared: with every table whose store has this uuid. */
int meta_set_option(sqlite3 *db, const char *schema, const char *table, option_id id,
                    const char *value, char **error);
int meta_set_shared(sqlite3 *db, const char *schema, const uint8_t uuid[16], option_id id,
                    const char *value, char **error);
int meta_drop(sqlite3 *db, const char *schema, const char *table, char **error);
int meta_rename(sqlite3 *db, const char *schema, const char *table, const char *to, char **error);

/* Does some fastkv table of this schema belong to the store with this uuid? NULL: to any store? A
** result code: also when it cannot be told now. */
int meta_names_store(sqlite3 *db, const char *schema, const uint8_t *uuid, int *out);

/* The uuid of the store that fastkv tables of this schema belong to; *found = 0: there is none. */
int meta_find_uuid(sqlite3 *db, const char *schema, uint8_t uuid[16], int *found);

/* 32 lower-case hexadecimal digits. */
void meta_uuid_text(const uint8_t uuid[16], char out[33]);

#endif
