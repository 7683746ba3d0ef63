#include "io/filename.h"

#include <stdio.h>
#include <string.h>

void filename_table(uint64_t number, char out[FILENAME_BYTES_MAX])
{
    (void)snprintf(out, FILENAME_BYTES_MAX, "%06llu.sst", (unsigned long long)number);
}

void filename_wal(uint64_t number, char out[FILENAME_BYTES_MAX])
{
    (void)snprintf(out, FILENAME_BYTES_MAX, "%06llu.wal", (unsigned long long)number);
}

void filename_run(uint64_t number, char out[FILENAME_BYTES_MAX])
{
    (void)snprintf(out, FILENAME_BYTES_MAX, "%06llu.run", (unsigned long long)number);
}

/* Read the decimal number at the start of name. Returns what follows it, NULL if there is none or
** it does not fit 64 bits. */
static const char *parse_number(const char *name, uint64_t *out)
{
    uint64_t v = 0;

    if (*name < '0' || *name > '9') return NULL;
    for (; *name >= '0' && *name <= '9'; name++) {
        if (__builtin_mul_overflow(v, 10u, &v)) return NULL;
        if (__builtin_add_overflow(v, (uint64_t)(*name - '0'), &v)) return NULL;
    }
    *out = v;
    return name;
}

file_kind filename_parse(const char *name, uint64_t *number)
{
    char spelled[FILENAME_BYTES_MAX];
    file_kind kind = FILE_OTHER;
    const char *rest;
    uint64_t v = 0;

    *number = 0;
    if (strcmp(name, FILENAME_MANIFEST) == 0) return FILE_MANIFEST;
    if (strcmp(name, FILENAME_MANIFEST_TMP) == 0) return FILE_MANIFEST_TMP;
    if (strcmp(name, FILENAME_LOCK) == 0) return FILE_LOCK;
    rest = parse_number(name, &v);
    if (!rest || v > FILENAME_NUMBER_MAX) return FILE_OTHER;
    if (strcmp(rest, ".sst") == 0) {
        kind = FILE_TABLE;
        filename_table(v, spelled);
    } else if (strcmp(rest, ".wal") == 0) {
        kind = FILE_WAL;
        filename_wal(v, spelled);
    } else if (strcmp(rest, ".run") == 0) {
        kind = FILE_RUN;
        filename_run(v, spelled);
    } else {
        return FILE_OTHER;
    }
    /* Writing it again is the simplest way to refuse wrong counts of leading zeros. */
    if (strcmp(name, spelled) != 0) return FILE_OTHER;
    *number = v;
    return kind;
}
