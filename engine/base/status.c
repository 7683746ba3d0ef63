#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[512];

const char *fkv_errmsg(void)
{
    return last_error;
}

const char *fkv_status_name(fkv_status status)
{
    static const char *const names[] = {
        "ok",           "not found",     "corrupt",          "I/O error",
        "fsync failed", "out of memory", "no space left",    "busy",
        "read-only",    "cannot open",   "invalid argument", "unsupported",
        "too big",      "misuse"};
    if ((size_t)status >= sizeof names / sizeof names[0]) return "unknown error";
    return names[status];
}

fkv_status status_raise(fkv_status status, const char *origin_file, int origin_line,
                        const char *format, ...)
{
    va_list args;

    (void)origin_file; /* for the debugger: this function is where every error passes */
    (void)origin_line;
    va_start(args, format);
    (void)vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    return status;
}

void status_set_text(const char *text)
{
    (void)snprintf(last_error, sizeof last_error, "%s", text);
}
