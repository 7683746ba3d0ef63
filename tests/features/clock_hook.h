/*
** clock_hook.h -- the wall clock of this process, moved at will.
**
** clock_gettime below takes the place of the C library's for the engine, which is linked in, and
** for libsqlite3.so. Only the wall clock is moved: waiting goes by another one.
*/
#ifndef FKV_TESTS_CLOCK_HOOK_H
#define FKV_TESTS_CLOCK_HOOK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t clock_shift_s;

__attribute__((visibility("default"), used)) int clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, id, out);

    if (id == CLOCK_REALTIME) out->tv_sec += atomic_load(&clock_shift_s);
    return rc;
}

#endif
