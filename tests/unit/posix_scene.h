/*
** posix_scene.h -- a directory on disk with a file in it, for tests of io/env_posix*.c.
*/
#ifndef FKV_TESTS_POSIX_SCENE_H
#define FKV_TESTS_POSIX_SCENE_H

#include "dry_heap.h"
#include "io/env.h"
#include "unit/posix_hook.h"

enum { RW = ENV_WRITE | ENV_CREATE, ROOM = 128 };

typedef struct scene {
    fkv_env *env;
    env_dir *dir;
    env_file *file;
    char path[ROOM];
    char below[ROOM + 8]; /* path/new, which is absent */
} scene;

static int scene_open(scene *s)
{
    *s = (scene){.env = env_posix(), .path = "/tmp/fkv_test_posix_XXXXXX"};
    if (!mkdtemp(s->path)) return 0;
    (void)snprintf(s->below, sizeof s->below, "%s/new", s->path);
    return !s->env->dir_open(s->env, s->path, 0, &s->dir) &&
           !s->env->file_open(s->env, s->dir, "file", RW, &s->file) &&
           !s->env->file_write(s->env, s->file, 0, "0123456789", 10);
}

/* Does the file hold this; NULL: is it absent? Looks by itself, and so says nothing to
** fkv_errmsg(). */
static int holds(scene *s, const char *name, const char *text)
{
    char path[ROOM * 2], data[64];
    ssize_t got;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", s->path, name);
    fd = open(path, O_RDONLY);
    if (fd < 0) return text == NULL && errno == ENOENT;
    got = pread(fd, data, sizeof data, 0);
    (void)close(fd);
    return text && got == (ssize_t)strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

static fkv_status remove_each(void *arg, const char *name)
{
    scene *s = arg;

    return s->env->file_remove(s->env, s->dir, name);
}

static void scene_close(scene *s)
{
    s->env->file_close(s->env, s->file);
    CHECK_STATUS(s->env->dir_list(s->env, s->dir, remove_each, s), FKV_OK);
    s->env->dir_close(s->env, s->dir);
    CHECK_STATUS(s->env->dir_remove(s->env, s->path), FKV_OK);
}

#endif
