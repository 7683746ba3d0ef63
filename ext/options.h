/* options.h -- the `name = value` arguments of CREATE VIRTUAL TABLE. */
#ifndef FASTKV_EXT_OPTIONS_H
#define FASTKV_EXT_OPTIONS_H

#include "fastkv.h"

/* Which level a commit reaches; AUTO follows PRAGMA synchronous. */
typedef enum kv_durability {
    DURABILITY_AUTO,
    DURABILITY_SYNC,
    DURABILITY_BACKGROUND,
    DURABILITY_NONE
} kv_durability;

typedef enum option_id {
    OPTION_DURABILITY,
    OPTION_MEMORY,
    OPTION_COMPRESSION,
    OPTION_BLOCK_SIZE,
    OPTION_BLOOM_BITS,
    OPTION_PATH,
    OPTION_COUNT
} option_id;

/* All zero = nothing given. */
typedef struct kv_options {
    kv_durability durability;
    fkv_options store;         /* memory, compression, block_size, bloom_bits */
    char *given[OPTION_COUNT]; /* the value's text, sqlite3_malloc'ed; NULL = not given */
} kv_options;

extern const char *const option_names[OPTION_COUNT];

/* Set one option from its text. SQLITE_OK; SQLITE_ERROR with *error (sqlite3_malloc'ed);
** SQLITE_NOMEM. */
int options_set(kv_options *o, const char *name, const char *value, char **error);

void options_release(kv_options *o); /* safe on zeroed memory and twice */

#endif
