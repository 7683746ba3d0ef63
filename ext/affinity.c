#include "affinity.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static int contains(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; *text; text++) {
        if (sqlite3_strnicmp(text, word, (int)n) == 0) return 1;
    }
    return 0;
}

affinity affinity_of_type(const char *type)
{
    if (contains(type, "INT")) return AFFINITY_INTEGER;
    if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT")) {
        return AFFINITY_TEXT;
    }
    if (contains(type, "BLOB") || !*type) return AFFINITY_BLOB;
    if (contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB")) {
        return AFFINITY_REAL;
    }
    return AFFINITY_NUMERIC;
}

void cell_apply_numeric(cell *c, affinity a)
{
    if (a < AFFINITY_NUMERIC) return;
    if (c->type == SQLITE_FLOAT) {
        /* As sqlite3VdbeIntegerAffinity: integral and strictly inside int64. A REAL column goes
        ** through this as well, which is why it never holds -0.0. */
        double r = c->real;
        if (r > -9223372036854775808.0 && r < 9223372036854775808.0 && (double)(int64_t)r == r) {
            c->type = SQLITE_INTEGER;
            c->integer = (int64_t)r;
        }
    }
    if (a == AFFINITY_REAL && c->type == SQLITE_INTEGER) {
        c->type = SQLITE_FLOAT;
        c->real = (double)c->integer;
    }
}

/* sqlite3_value_type() has been asked before: the accessors below may change it. */
static int load(sqlite3_value *value, int type, cell *out)
{
    out->type = type;
    switch (type) {
    case SQLITE_INTEGER:
        out->integer = sqlite3_value_int64(value);
        return SQLITE_OK;
    case SQLITE_FLOAT:
        out->real = sqlite3_value_double(value);
        return SQLITE_OK;
    case SQLITE_TEXT:
        out->bytes.data = sqlite3_value_text(value);
        if (!out->bytes.data) return SQLITE_NOMEM;
        out->bytes.size = (size_t)sqlite3_value_bytes(value);
        return SQLITE_OK;
    case SQLITE_BLOB:
        out->bytes.data = sqlite3_value_blob(value); /* NULL when empty */
        out->bytes.size = (size_t)sqlite3_value_bytes(value);
        if (out->bytes.size && !out->bytes.data) return SQLITE_NOMEM;
        return SQLITE_OK;
    default:
        return SQLITE_OK;
    }
}

int cell_from_value(sqlite3_value *value, affinity a, cell *out)
{
    int type = sqlite3_value_type(value);
    int rc;

    memset(out, 0, sizeof *out);
    if (type == SQLITE_TEXT && a >= AFFINITY_NUMERIC) type = sqlite3_value_numeric_type(value);
    if (a == AFFINITY_TEXT && (type == SQLITE_INTEGER || type == SQLITE_FLOAT)) type = SQLITE_TEXT;
    rc = load(value, type, out);
    if (rc == SQLITE_OK) cell_apply_numeric(out, a);
    return rc;
}

/* Text with its terminator. sqlite3_column_text() wants one, and has to reallocate the value if it
** was given by length: a tenth of a microsecond a row, more than all else that is done for it. So
** short text goes through a buffer that ends in NUL, and is given with length -1. */
static void text_result(sqlite3_context *context, fkv_slice text)
{
    char terminated[256];

    if (text.size >= sizeof terminated || (text.size && memchr(text.data, 0, text.size))) {
        sqlite3_result_text64(context, text.data ? (const char *)text.data : "", text.size,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
        return;
    }
    if (text.size) memcpy(terminated, text.data, text.size);
    terminated[text.size] = 0;
    sqlite3_result_text(context, terminated, -1, SQLITE_TRANSIENT);
}

void cell_result(sqlite3_context *context, const cell *c)
{
    /* A NULL pointer would mean NULL, not the empty string. */
    const void *data = c->bytes.data ? (const void *)c->bytes.data : "";

    switch (c->type) {
    case SQLITE_INTEGER:
        sqlite3_result_int64(context, c->integer);
        break;
    case SQLITE_FLOAT:
        sqlite3_result_double(context, c->real);
        break;
    case SQLITE_TEXT:
        text_result(context, c->bytes);
        break;
    case SQLITE_BLOB:
        sqlite3_result_blob64(context, data, c->bytes.size, SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_result_null(context);
        break;
    }
}
