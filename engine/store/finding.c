#include "store/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fkv_severity_name(fkv_severity severity)
{
    static const char *const names[] = {"ok", "info", "warning", "error"};

    return (unsigned)severity <= FKV_FOUND_ERROR ? names[severity] : "error";
}

fkv_status finding_tell(finding_sink *to, const fkv_finding *f)
{
    to->counts[f->severity]++;
    return to->found ? to->found(to->arg, f) : FKV_OK;
}

fkv_status finding_say(finding_sink *to, fkv_severity severity, const char *file, uint64_t offset,
                       const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return finding_tell(
        to, &(fkv_finding){.severity = severity, .file = file, .offset = offset, .text = text});
}

/* Where the sentence says that it is. */
static uint64_t offset_in(const char *text)
{
    const char *last = NULL, *at = text;
    char *end = NULL;
    uint64_t n;

    while ((at = strstr(at, "offset ")) != NULL) last = at++;
    if (!last) return FKV_NO_OFFSET;
    n = strtoull(last + 7, &end, 10);
    return end == last + 7 ? FKV_NO_OFFSET : n;
}

fkv_status finding_error(finding_sink *to, fkv_severity severity, const char *file,
                         uint64_t lost_bytes)
{
    const char *said = fkv_errmsg();
    size_t n = strlen(file);
    char text[512];

    if (n && strncmp(said, file, n) == 0 && said[n] == ':' && said[n + 1] == ' ') said += n + 2;
    (void)snprintf(text, sizeof text, "%s", said);
    return finding_tell(to, &(fkv_finding){.severity = severity,
                                           .file = file,
                                           .offset = offset_in(text),
                                           .bytes = lost_bytes,
                                           .text = text});
}
