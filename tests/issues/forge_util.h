/*
** forge_util.h -- a manifest that says something else, under a right checksum.
*/
#ifndef FKV_TESTS_FORGE_UTIL_H
#define FKV_TESTS_FORGE_UTIL_H

#include "io/env.h"
#include "version/manifest.h"

/* A small store in memory, "s". */
static inline fkv_options small_store(fkv_env *env)
{
    return (fkv_options){.env = env, .create = 1, .inline_background = 1};
}

/* Let `change` have its way with the manifest of "s", which nobody has open, and its tables. */
static inline fkv_status forge_manifest(fkv_env *env,
                                        void (*change)(void *arg, manifest *m, version *v),
                                        void *arg)
{
    table_home home = {.env = env};
    version *v = NULL;
    manifest m;
    int maybe_new;
    fkv_status rc = env->dir_open(env, "s", 0, &home.dir);

    if (!rc) rc = manifest_load(env, home.dir, &home, &m, &v);
    if (!rc) change(arg, &m, v);
    if (!rc) rc = manifest_save(env, home.dir, &m, v, &maybe_new);
    version_unref(v);
    env->dir_close(env, home.dir);
    return rc;
}

#endif
