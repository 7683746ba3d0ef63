/*
** env_audit.h -- an env that watches in which order things become durable.
**
** Wraps another env, as env_fault.c does, and changes nothing: every call is handed on. Each is
** held against the rules at the top of env_audit.c, whether or not a power cut ever comes, so one
** run of any test is enough where a crash test must hit the very moment.
**
** Between the engine and an injector of faults it hears of the failures; between several processes
** and their one file system it sees what all of them do.
*/
#ifndef FKV_TESTS_ENV_AUDIT_H
#define FKV_TESTS_ENV_AUDIT_H

#include "check.h"
#include "io/env.h"

/* `base` is borrowed. Each violation is told to `report` at once: the rule, the operation, the
** file, and what is wrong. Calls of it may come from any thread. */
fkv_env *env_audit_new(fkv_env *base, void (*report)(void *arg, const char *text), void *arg);
void env_audit_free(fkv_env *env); /* all files and directories closed; NULL is fine */

static inline void audit_fails(void *arg, const char *text)
{
    (void)arg;
    check_failures++;
    (void)printf("order of persistence: %s\n", text);
}

/* A violation fails the running test. */
static inline fkv_env *audited(fkv_env *base)
{
    return env_audit_new(base, audit_fails, NULL);
}

#endif
