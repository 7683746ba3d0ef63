/*
** sched_util.h -- what tests under a scheduled env share (env_sched, io/env.h).
*/
#ifndef FKV_TESTS_SCHED_UTIL_H
#define FKV_TESTS_SCHED_UTIL_H

#include <stdio.h>
#include <stdlib.h>

/* For env_sched.stuck: all wait for each other, and the test has failed. */
static inline void sched_stuck(void *arg, const char *what)
{
    (void)arg;
    (void)printf("%s\n0 passed, 1 failed\n", what);
    (void)fflush(stdout);
    _Exit(1);
}

#endif
