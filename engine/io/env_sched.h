/*
** env_sched.h -- private to io/env_sched*.c: what a scheduled env is, and its points.
*/
#ifndef FKV_IO_ENV_SCHED_H
#define FKV_IO_ENV_SCHED_H

#include "io/env.h"

typedef struct scheduler scheduler;

typedef struct sched_env {
    fkv_env env;
    fkv_env *base;
    scheduler *s;
    env_mutex *global;
} sched_env;

/* What a point is at; goes into the trace. */
enum {
    AT_DIR = 1,
    AT_OPEN,
    AT_CLOSE,
    AT_READ,
    AT_WRITE,
    AT_SYNC,
    AT_SIZE,
    AT_FILE_LOCK,
    AT_NAME,
    AT_MAP,
    AT_SLEEP,
    AT_START,
    AT_JOIN,
    AT_END,
    AT_LOCK,
    AT_UNLOCK,
    AT_WAIT,
    AT_WAKE,
    AT_DONE
};

/* Others may go on here. */
void sched_point(fkv_env *env, int what);

/* The same, and time passes: an operation on files is about to be done. */
void sched_operation(fkv_env *env, int what);

/* Set the members for directories and files (env_sched_file.c). */
void sched_set_files(fkv_env *env);

#endif
