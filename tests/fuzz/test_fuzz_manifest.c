/*
** Any bytes as a manifest. test-modes: asan
**
** What is accepted describes levels in order, and comes back the same when it is saved and loaded.
*/
#include "fuzz_format.h"
#include "version/manifest.h"

static void check_levels(const version *v)
{
    for (int i = 0; i < FKV_LEVELS; i++) {
        uint64_t bytes = 0;
        for (size_t j = 0; j < v->levels[i].count; j++) {
            const file_meta *f = v->levels[i].files[j];
            bytes += f->summary.file_bytes;
            FUZZ_CHECK(slice_compare(file_smallest(f), file_largest(f)) <= 0);
            if (i && j) FUZZ_CHECK(file_before(v->levels[i].files[j - 1], file_smallest(f)));
        }
        FUZZ_CHECK(bytes == v->levels[i].bytes);
        (void)level_find(&v->levels[i], fkv_slice_of("key", 3));
    }
    (void)version_touches(v, 0, fkv_slice_of("a", 1), fkv_slice_of(NULL, 0));
    (void)version_holds(v, 0, fkv_slice_of("key", 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    table_home home = {0};
    version *v = NULL, *again = NULL;
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    manifest m, n;
    buf first = {0}, second = {0};
    int maybe_new;

    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    home.env = env;
    home.dir = dir;
    put_file(env, dir, "manifest", data, size);
    if (!manifest_load(env, dir, &home, &m, &v)) {
        check_levels(v);
        must(manifest_save(env, dir, &m, v, &maybe_new));
        get_file(env, dir, "manifest", &first);
        must(manifest_load(env, dir, &home, &n, &again));
        must(manifest_save(env, dir, &n, again, &maybe_new));
        get_file(env, dir, "manifest", &second);
        FUZZ_CHECK(slice_equal(buf_slice(&first), buf_slice(&second)));
    }
    version_unref(v);
    version_unref(again);
    buf_release(&first);
    buf_release(&second);
    env->dir_close(env, dir);
    env_mem_free(env);
    return 0;
}

static void fuzz_seal(uint8_t *data, size_t size)
{
    sign_manifest(data, size);
}

static file_meta *make_file(table_home *home, uint64_t number, int from)
{
    table_summary s = {.file_bytes = number * 1000,
                       .unique_id = number * 7777777,
                       .entries = 100,
                       .deletions = number % 3,
                       .expiring = number % 2,
                       .ranges = number % 4 == 0,
                       .raw_bytes = 5000,
                       .largest_open = number % 4 == 0};
    file_meta *f = NULL;
    char key[16];

    (void)snprintf(key, sizeof key, "key-%03d", from % 1000);
    buf_set(&s.smallest, fkv_slice_of(key, 7));
    (void)snprintf(key, sizeof key, "key-%03d", (from + 9) % 1000);
    buf_set(&s.largest, fkv_slice_of(key, 7));
    must(file_meta_new(home, number, number * 50, &s, &f));
    return f;
}

static int fuzz_seed(int i, buf *out)
{
    manifest m = {.edit = 5, .next_number = 40, .next_space = 3, .last_seq = 9000};
    version *empty = NULL, *v = NULL;
    table_home home = {0};
    version_edit edit = {0};
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    int maybe_new;

    if (i >= 6) return 0;
    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    for (int n = 0; n < i * 4; n++) {
        file_meta *f = make_file(&home, (uint64_t)n + 3, n * 10);
        must(version_edit_add(&edit, n % 5 ? n % 3 : 0, f));
        file_meta_unref(f);
    }
    m.log_number = (uint64_t)i;
    m.clean_lsn = i & 1 ? UINT64_MAX : 500;
    must(version_new_empty(&empty));
    must(version_apply(empty, &edit, &v));
    must(manifest_save(env, dir, &m, v, &maybe_new));
    get_file(env, dir, "manifest", out);
    version_unref(v);
    version_unref(empty);
    version_edit_release(&edit);
    env->dir_close(env, dir);
    env_mem_free(env);
    return 1;
}

FUZZ_MAIN("manifest", 20000)
