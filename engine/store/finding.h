/* finding.h -- telling what a check or a salvage has found. */
#ifndef FKV_STORE_FINDING_H
#define FKV_STORE_FINDING_H

#include "io/filename.h"

typedef struct finding_sink {
    fkv_status (*found)(void *arg, const fkv_finding *finding);
    void *arg;
    uint64_t counts[FKV_FOUND_ERROR + 1]; /* by severity */
} finding_sink;

FKV_MUST_CHECK fkv_status finding_tell(finding_sink *to, const fkv_finding *f);

/* Something about a file, in printf format. */
FKV_MUST_CHECK fkv_status finding_say(finding_sink *to, fkv_severity severity, const char *file,
                                      uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* This thread's last error as a finding about `file`. Errors about stored bytes are sentences of
** one kind, "000007.sst: what (at) offset 123": name and offset are taken from there. */
FKV_MUST_CHECK fkv_status finding_error(finding_sink *to, fkv_severity severity, const char *file,
                                        uint64_t lost_bytes);

/* Is this status about what is on disk, and not about this process? */
static inline int finding_is_damage(fkv_status rc)
{
    return rc == FKV_CORRUPT || rc == FKV_IOERR || rc == FKV_UNSUPPORTED || rc == FKV_NOTFOUND ||
           rc == FKV_CANTOPEN;
}

#endif
