/*
** status.h -- raising and passing on errors.
**
** An error is raised once, where it is born, with FKV_RAISE or FKV_RAISEF; from there it is
** passed on by plain `return rc`. Raising records the sentence a user will read in a
** thread-local buffer, so no call has to carry a message argument. status_origin() is the one
** place every error passes: put a breakpoint there (the idea is SQLite's LSM_CORRUPT_BKPT).
*/
#ifndef FKV_BASE_STATUS_H
#define FKV_BASE_STATUS_H

#include "fastkv.h"

/* Record message (printf format) as this thread's last error and return `status`. The text is
** cut at 511 bytes. Allocates nothing. */
fkv_status status_raise(fkv_status status, const char *origin_file, int origin_line,
                        const char *format, ...) __attribute__((format(printf, 4, 5), cold));

/* Replace this thread's last error text, for an error that crossed from another thread. */
void status_set_text(const char *text);

#define FKV_RAISE(status) status_raise((status), __FILE__, __LINE__, "%s", fkv_status_name(status))
#define FKV_RAISEF(status, ...) status_raise((status), __FILE__, __LINE__, __VA_ARGS__)

/* Deliberately drop a status. GCC does not honour a (void) cast for warn_unused_result. The
** caller gives the reason in a comment. */
static inline void fkv_ignore(fkv_status status)
{
    if (status) return;
}

#endif
