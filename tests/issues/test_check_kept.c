/*
** fkv_check looks at what is kept for the change feed as well: log segments that nothing else
** needs, and the runs of spilled transactions. It passed over both, and the feed found the damage.
*/
#include "check.h"
#include "io/env.h"
#include "io/filename.h"
#include "store_util.h"

enum { ROWS = 24, VALUE_BYTES = 2000 };

typedef struct found {
    char file[64], text[160];
    uint64_t offset;
    int errors, warnings;
} found;

static fkv_status note(void *arg, const fkv_finding *f)
{
    found *to = arg;

    to->errors += f->severity == FKV_FOUND_ERROR;
    to->warnings += f->severity == FKV_FOUND_WARNING;
    if (f->severity < FKV_FOUND_WARNING) return FKV_OK;
    (void)snprintf(to->file, sizeof to->file, "%s", f->file);
    (void)snprintf(to->text, sizeof to->text, "%s", f->text);
    to->offset = f->offset;
    return FKV_OK;
}

static found look(fkv_store *s, fkv_check_level level)
{
    found f = {0};

    CHECK_STATUS(fkv_check(s, level, &(fkv_checker){.found = note, .arg = &f}), FKV_OK);
    return f;
}

/* Kept segments, and a run whose table compaction has taken away. */
static fkv_store *make_store(fkv_env *env)
{
    fkv_options o = {.env = env,
                     .create = 1,
                     .codec = 1, /* none */
                     .memtable_bytes = 32768,
                     .memory_bytes = 1 << 20,
                     .inline_background = 1};
    fkv_store *s = NULL;

    CHECK_STATUS(fkv_open("s", &o, &s), FKV_OK);
    fkv_keep_changes(s, (uint64_t)1 << 30, 0);
    CHECK_STATUS(store_put_many(s, 'a', 3, VALUE_BYTES, FKV_SYNC), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK_STATUS(store_put_many(s, 'a', ROWS, VALUE_BYTES, FKV_SYNC), FKV_OK);
    CHECK_STATUS(store_put_many(s, 'a', 2, VALUE_BYTES, FKV_SYNC), FKV_OK);
    CHECK_STATUS(fkv_compact(s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)), FKV_OK);
    CHECK_STATUS(store_put_many(s, 'b', 1, VALUE_BYTES, FKV_SYNC), FKV_OK);
    return s;
}

typedef struct first_file {
    file_kind kind;
    uint64_t number;
    char name[FILENAME_BYTES_MAX];
} first_file;

static fkv_status note_first(void *arg, const char *name)
{
    first_file *f = arg;
    uint64_t number = 0;

    if (filename_parse(name, &number) != f->kind || number >= f->number) return FKV_OK;
    f->number = number;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    return FKV_OK;
}

/* Damage the first file of this kind in one way, see what is found, and mend it. */
static void damage(fkv_env *env, fkv_store *s, file_kind kind, int missing)
{
    first_file f = {kind, UINT64_MAX, ""};
    env_dir *dir = NULL;
    env_file *file = NULL;
    uint8_t byte = 0;
    size_t got;
    found seen;

    REQUIRE_OK(env->dir_open(env, "s", 0, &dir));
    REQUIRE_OK(env->dir_list(env, dir, note_first, &f));
    REQUIRE(f.name[0]);
    if (missing) {
        REQUIRE_OK(env->file_rename(env, dir, f.name, "away"));
    } else {
        REQUIRE_OK(env->file_open(env, dir, f.name, ENV_WRITE, &file));
        REQUIRE_OK(env->file_read(env, file, 500, &byte, 1, &got));
        byte ^= 4;
        REQUIRE_OK(env->file_write(env, file, 500, &byte, 1));
    }
    seen = look(s, FKV_CHECK_FULL);
    CHECK(seen.errors + seen.warnings == 1 && (seen.errors || missing));
    CHECK(strcmp(seen.file, f.name) == 0);
    if (missing) {
        CHECK(strstr(seen.text, "missing"));
        CHECK_STATUS(env->file_rename(env, dir, "away", f.name), FKV_OK);
    } else {
        byte ^= 4;
        CHECK(seen.offset <= 500);
        CHECK_STATUS(env->file_write(env, file, 500, &byte, 1), FKV_OK);
    }
    env->file_close(env, file);
    env->dir_close(env, dir);
    seen = look(s, FKV_CHECK_FULL);
    CHECK(seen.errors + seen.warnings == 0);
}

static void damage_is_found(void)
{
    fkv_env *env = NULL;
    fkv_store *s;

    REQUIRE_OK(env_mem_new(&env));
    s = make_store(env);
    for (fkv_check_level level = FKV_CHECK_QUICK; level <= FKV_CHECK_DEEP; level++) {
        found seen = look(s, level);
        CHECK(seen.errors + seen.warnings == 0);
    }
    damage(env, s, FILE_WAL, 0);
    damage(env, s, FILE_WAL, 1);
    damage(env, s, FILE_RUN, 0);
    damage(env, s, FILE_RUN, 1);
    fkv_keep_changes(s, 0, 0);
    CHECK_STATUS(store_put_many(s, 'b', 1, VALUE_BYTES, FKV_SYNC), FKV_OK);
    CHECK(look(s, FKV_CHECK_DEEP).errors == 0);
    fkv_close(s);
    env_mem_free(env);
}

TEST_MAIN("test_check_kept", TEST_CASE(damage_is_found))
