#include "options.h"

#include <string.h>

#include "sqlite3ext.h"

SQLITE_EXTENSION_INIT3

const char *const option_names[OPTION_COUNT] = {"durability", "memory", "compression", "block_size",
                                                "bloom_bits", "path",   "ttl",         "max_keys",
                                                "max_bytes",  "changes"};

static const char known[] =
    "durability, memory, compression, ttl, max_keys, max_bytes, changes, block_size, "
    "bloom_bits, and path in TEMP tables";

/* A word from a list: its index, or -1. */
static int word_index(const char *value, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (sqlite3_stricmp(value, words[i]) == 0) return i;
    }
    return -1;
}

/* A byte count: digits and an optional K, KB, M, MB, G, GB (powers of 1024). -1 = not one. */
static int64_t parse_size(const char *p)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},    {"B", 0},    {"K", 10}, {"KB", 10}, {"KiB", 10}, {"M", 20},
                 {"MB", 20}, {"MiB", 20}, {"G", 30}, {"GB", 30}, {"GiB", 30}};
    int64_t n = 0;
    int digits = 0;

    for (; *p >= '0' && *p <= '9'; p++, digits++) {
        if (n > ((int64_t)1 << 40)) return -1;
        n = n * 10 + (*p - '0');
    }
    while (*p == ' ') p++;
    for (size_t i = 0; digits && i < sizeof units / sizeof units[0]; i++) {
        if (sqlite3_stricmp(p, units[i].name) == 0)
            return n <= ((int64_t)1 << 50 >> units[i].shift) ? n << units[i].shift : -1;
    }
    return -1;
}

/* A codec and its level, as in zlib:6. */
static const char *set_compression(kv_options *o, const char *value)
{
    static const struct {
        const char *name;
        int levels; /* 1 .. this; 0 = it has none */
    } codecs[] = {{"none", 0}, {"zlib", 9}, {"lz4", 0}, {"zstd", 19}};
    const char *colon = strchr(value, ':');
    size_t size = colon ? (size_t)(colon - value) : strlen(value);
    int64_t level = colon ? parse_size(colon + 1) : 0;

    for (int i = 0; i < 4; i++) {
        if (strlen(codecs[i].name) != size || sqlite3_strnicmp(value, codecs[i].name, (int)size))
            continue;
        if (colon && (level < 1 || level > codecs[i].levels)) break;
        o->codec = 1 + i;
        o->codec_level = (int)level;
        return NULL;
    }
    return "none, lz4, zlib or zlib:1 to zlib:9, zstd or zstd:1 to zstd:19";
}

/* Seconds with at most three decimals, as milliseconds; -1 = not such a number. */
static int64_t parse_seconds(const char *p)
{
    int64_t ms = 0;
    int digits = 0, scale = 1000;

    for (; *p >= '0' && *p <= '9'; p++, digits++) {
        if (ms > ((int64_t)1 << 40)) return -1;
        ms = ms * 10 + (*p - '0');
    }
    ms *= 1000;
    if (*p == '.') p++;
    for (; *p >= '0' && *p <= '9' && scale > 1; p++, digits++) ms += (*p - '0') * (scale /= 10);
    return digits && !*p ? ms : -1;
}

/* A limit: a number above 0, or none. */
static const char *set_limit(uint64_t *out, const char *value, const char *right)
{
    int64_t n = parse_size(value);

    if (sqlite3_stricmp(value, "none") == 0) {
        *out = 0;
    } else if (n > 0) {
        *out = (uint64_t)n;
    } else {
        return right;
    }
    return NULL;
}

/* What is kept for fastkv_changes: a size; a time, as 3600s, 24h or 7d; or none. */
static const char *set_changes(kv_options *o, const char *value)
{
    static const char right[] = "a size, as '64MB', a time, as '3600s', '24h' or '7d', or none";
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'h', 3600}, {'d', 86400}};
    size_t size = strlen(value), digits = strspn(value, "0123456789");
    int64_t n;

    o->changes_bytes = o->changes_ms = 0;
    if (sqlite3_stricmp(value, "none") == 0) return NULL;
    for (size_t i = 0; i < sizeof units / sizeof units[0] && digits && digits + 1 == size; i++) {
        if ((value[digits] | 0x20) != units[i].unit || digits > 9) continue;
        n = 0;
        for (size_t j = 0; j < digits; j++) n = n * 10 + (value[j] - '0');
        o->changes_ms = (uint64_t)(n * units[i].seconds) * 1000;
        return n > 0 ? NULL : right;
    }
    n = parse_size(value);
    if (n <= 0) return right;
    o->changes_bytes = (uint64_t)n;
    return NULL;
}

/* Set the field. Returns what would be right, or NULL when the value was. */
static const char *set_field(kv_options *o, option_id id, const char *value)
{
    static const char *const levels[] = {"auto", "sync", "background", "none"};
    int64_t n = parse_size(value);
    int word;

    switch (id) {
    case OPTION_DURABILITY:
        word = word_index(value, levels, 4);
        if (word < 0) return "auto, sync, background or none";
        o->durability = (kv_durability)word;
        return NULL;
    case OPTION_MEMORY:
        if (n < (1 << 20)) return "a size of at least 1MB, as 268435456 or '256MB'";
        o->store.memory_bytes = (size_t)n;
        return NULL;
    case OPTION_COMPRESSION:
        return set_compression(o, value);
    case OPTION_BLOCK_SIZE:
        if (n < 256 || n > (1 << 20)) return "a size between 256 and 1048576";
        o->store.block_bytes = (uint32_t)n;
        return NULL;
    case OPTION_BLOOM_BITS:
        if (n < 0 || n > 32) return "a number between 0 and 32";
        o->store.bloom_bits = (uint32_t)n + 1;
        return NULL;
    case OPTION_TTL:
        n = sqlite3_stricmp(value, "none") == 0 ? 0 : parse_seconds(value);
        if (n < 0 || (n == 0 && *value != 'n' && *value != 'N')) return "seconds above 0, or none";
        o->ttl_ms = n;
        return NULL;
    case OPTION_MAX_KEYS:
        return set_limit(&o->max_keys, value, "a number above 0, or none");
    case OPTION_MAX_BYTES:
        return set_limit(&o->max_bytes, value, "a size above 0, as 1000000 or '64MB', or none");
    case OPTION_CHANGES:
        return set_changes(o, value);
    case OPTION_PATH:
    default:
        return *value ? NULL : "a directory";
    }
}

int option_find(const char *name)
{
    return word_index(name, option_names, OPTION_COUNT);
}

int option_is_shared(option_id id)
{
    return id == OPTION_MEMORY || id == OPTION_BLOCK_SIZE || id == OPTION_BLOOM_BITS ||
           id == OPTION_CHANGES;
}

int options_set(kv_options *o, const char *name, const char *value, char **error)
{
    int id = option_find(name);
    const char *right;

    if (id < 0) {
        *error = sqlite3_mprintf("fastkv: unknown option \"%s\"; known are %s", name, known);
        return *error ? SQLITE_ERROR : SQLITE_NOMEM;
    }
    right = set_field(o, (option_id)id, value);
    if (right) {
        *error = sqlite3_mprintf("fastkv: option \"%s\" must be %s, not \"%s\"", option_names[id],
                                 right, value);
        return *error ? SQLITE_ERROR : SQLITE_NOMEM;
    }
    sqlite3_free(o->given[id]);
    o->given[id] = sqlite3_mprintf("%s", value);
    return o->given[id] ? SQLITE_OK : SQLITE_NOMEM;
}

void options_release(kv_options *o)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        sqlite3_free(o->given[i]);
        o->given[i] = NULL;
    }
}
