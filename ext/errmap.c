#include "errmap.h"

#include <stdarg.h>

SQLITE_EXTENSION_INIT3

int errmap_code(fkv_status status)
{
    switch (status) {
    case FKV_OK:
        return SQLITE_OK;
    case FKV_CORRUPT:
        return SQLITE_CORRUPT_VTAB;
    case FKV_IOERR:
        return SQLITE_IOERR;
    case FKV_IOERR_SYNC:
        return SQLITE_IOERR_FSYNC;
    case FKV_NOMEM:
        return SQLITE_NOMEM;
    case FKV_FULL:
        return SQLITE_FULL;
    case FKV_BUSY:
        return SQLITE_BUSY;
    case FKV_READONLY:
        return SQLITE_READONLY;
    case FKV_NOTFOUND:
    case FKV_CANTOPEN:
        return SQLITE_CANTOPEN;
    case FKV_TOOBIG:
        return SQLITE_TOOBIG;
    case FKV_MISUSE:
        return SQLITE_MISUSE;
    case FKV_INVALID:
    case FKV_UNSUPPORTED:
    default:
        return SQLITE_ERROR;
    }
}

char *errmap_text(fkv_status status)
{
    const char *text = fkv_errmsg();

    return sqlite3_mprintf("fastkv: %s", *text ? text : fkv_status_name(status));
}

int errmap_vtab(sqlite3_vtab *vtab, fkv_status status)
{
    if (status == FKV_OK) return SQLITE_OK;
    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = errmap_text(status);
    return errmap_code(status);
}

int errmap_give(char **error, fkv_status status)
{
    if (status) *error = errmap_text(status);
    return errmap_code(status);
}

int errmap_tell(char **error, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    *error = sqlite3_vmprintf(format, args);
    va_end(args);
    return *error ? code : SQLITE_NOMEM;
}

int errmap_say(sqlite3_vtab *vtab, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = sqlite3_vmprintf(format, args);
    va_end(args);
    return vtab->zErrMsg ? code : SQLITE_NOMEM;
}
