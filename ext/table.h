/* table.h -- one connected fastkv table. */
#ifndef FASTKV_EXT_TABLE_H
#define FASTKV_EXT_TABLE_H

#include "base/buf.h"
#include "conn.h"
#include "keycode.h"
#include "schema.h"

#define SPACE_BYTES 4

typedef struct kv_limit kv_limit; /* evict.c */

struct kv_table {
    sqlite3_vtab base;
    kv_table *next; /* registry.tables */
    registry *owner;
    conn *conn;
    char *schema_name; /* "main", "temp" … */
    kv_schema schema;
    uint8_t uuid[16];            /* of the store it belongs to */
    uint8_t prefix[SPACE_BYTES]; /* its keys begin with this */
    uint8_t ready;               /* the store was open and the right one */
    uint8_t wrong;               /* it was open and another database's */
    uint8_t utf8;                /* text sorts by its UTF-8 bytes */
    uint8_t blob_like;           /* LIKE and GLOB match BLOBs in this SQLite */
    uint8_t known;               /* the shadow table has been read */
    uint8_t stale;               /* its options may have changed since (setting.c) */
    uint8_t changed;             /* this transaction has changed an option */
    uint8_t keeps;               /* and made the store keep changes, which it did not before */
    unsigned options_version;    /* the host's data version when they were read */
    sqlite3_stmt *read_meta;     /* reads the shadow table */
    char *broken;                /* why it cannot be used; NULL = it can */
    sqlite3_value **defaults;    /* by column; NULL entries = no default */
    uint64_t rows;               /* estimate */
    unsigned plans;              /* xBestIndex calls since it was made */
    kv_limit *limit;             /* it is a cache (evict.h); NULL = it is none */
    int64_t ttl_read_ms;         /* when a cursor first told a ttl; 0 = not yet (expiry.c) */
    buf key, old_key, row;       /* scratch of a write */
    cell *cells;                 /* scratch of a write: by column */
    cell *key_cells;             /* the same: by position in the key */
    key_override *overrides;     /* the same */
};

/* Open the store and see that it is the table's. Cheap when that is done. On error zErrMsg is set.
** Every method that touches the store begins with it; xConnect does not, so that a table whose
** store is missing can be described and dropped. */
int kv_table_ready(kv_table *t);

/* Close the store beside a schema's file, for `function` (its name) is to read or replace the
** files. SQLITE_ERROR if this connection has something under way there, or the caller knows that
** it is `busy`. */
int kv_table_let_go(registry *owner, const char *schema, const char *function, int busy,
                    char **error);

/* The engine key of one row from its key cells (key_count of them). *out is overwritten. */
void kv_table_key(const kv_table *t, const cell *cells, buf *out);

/* [from, to) of all rows. */
typedef struct kv_table_range {
    uint8_t from[SPACE_BYTES + 1], to[SPACE_BYTES + 1];
} kv_table_range;
void kv_table_bounds(const kv_table *t, kv_table_range *out);

/* What CREATE and connect have in common: parse the arguments (module, schema, table, args … as
** SQLite gives them), find the conn. kv_table_free takes a table in any state; NULL is fine. */
int kv_table_new(registry *owner, int argc, const char *const *argv, kv_table **out, char **error);
int kv_table_declare(kv_table *t, char **error);
void kv_table_free(kv_table *t);

#endif
