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
    OPTION_TTL,
    OPTION_MAX_KEYS,
    OPTION_MAX_BYTES,
    OPTION_CHANGES,
    OPTION_COUNT
} option_id;

/* All zero = nothing given. */
typedef struct kv_options {
    kv_durability durability;
    int codec, codec_level;             /* as in fkv_options */
    uint64_t max_keys;                  /* 0 = no limit */
    uint64_t max_bytes;                 /* the same; keys and rows */
    uint64_t changes_bytes, changes_ms; /* log that is kept for fastkv_changes; both 0 = none */
    int64_t ttl_ms;            /* of rows that name neither ttl nor expires_at; 0 = they stay */
    fkv_options store;         /* memory, block_size, bloom_bits */
    char *given[OPTION_COUNT]; /* the value's text, sqlite3_malloc'ed; NULL = not given */
} kv_options;

extern const char *const option_names[OPTION_COUNT];

/* The option of this name (any case), or -1. */
int option_find(const char *name);

/* Does it concern the store as a whole, and so all tables in it? */
int option_is_shared(option_id id);

/* Set one option from its text. SQLITE_OK; SQLITE_ERROR with *error (sqlite3_malloc'ed);
** SQLITE_NOMEM. */
int options_set(kv_options *o, const char *name, const char *value, char **error);

void options_release(kv_options *o); /* safe on zeroed memory and twice */

#endif
