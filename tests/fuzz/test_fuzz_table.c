/*
** Any bytes as a table file. test-modes: asan
**
** What opens is read in all ways; what table_verify lets pass must give the same rows in all of
** them.
*/
#include "fuzz_format.h"
#include "table/reader.h"

enum { STEPS = 300 };

static void rove(table *t, fkv_slice key)
{
    fkv_slice from, to;
    iter *it = NULL;
    table_value v;

    must(table_iter_new(t, key.size & 1, &it));
    for (int n = 0; n < 3; n++) {
        if (n == 0) it->ops->seek(it, key);
        if (n == 1) it->ops->seek_before(it, key);
        if (n == 2) it->ops->last(it);
        for (int i = 0; it->entry && i < STEPS; i++) {
            if (i % 7 < 4) {
                it->ops->prev(it);
            } else {
                it->ops->next(it);
            }
        }
    }
    iter_close(it);
    fkv_ignore(table_get(t, key, hash64(key.data, key.size, 0), &v));
    table_value_release(&v);
    (void)table_covers(t, key, &from, &to);
    (void)table_offset_of(t, key);
}

static void check_verified(table *t)
{
    uint64_t up = 0, down = 0;
    iter *it = NULL;

    must(table_iter_new(t, 0, &it));
    for (it->ops->first(it); it->entry; it->ops->next(it), up++) {
        fkv_slice key = it->entry->key;
        table_value v;
        must(table_get(t, key, hash64(key.data, key.size, 0), &v));
        FUZZ_CHECK(slice_equal(v.value, it->entry->value) && v.kind == it->entry->kind);
        table_value_release(&v);
    }
    FUZZ_CHECK(!it->status);
    for (it->ops->last(it); it->entry; it->ops->prev(it)) down++;
    FUZZ_CHECK(!it->status && up == down && up == t->footer.entries);
    iter_close(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    env_file *file = NULL;
    block_cache *cache = NULL;
    table *t = NULL;
    uint64_t id = size >= FOOTER_BYTES ? get_u64(data + size - FOOTER_BYTES + FOOT_UNIQUE_ID) : 0;
    uint8_t hint = size ? data[size / 2] : 0;

    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    put_file(env, dir, "t", data, size);
    if (hint & 1) must(block_cache_new(env, 4096, 4096, &cache));
    must(env->file_open(env, dir, "t", ENV_READ, &file));
    if (!table_open(env, file, "t", id, size, cache, &t)) {
        rove(t, fkv_slice_of(data, size < 10 ? size : 10));
        rove(t, fkv_slice_of("key-00031", 9));
        if (!table_verify(t)) check_verified(t);
    }
    table_free(t);
    block_cache_free(cache);
    env->dir_close(env, dir);
    env_mem_free(env);
    return 0;
}

static void fuzz_seal(uint8_t *data, size_t size)
{
    sign_table(data, size);
}

static void add_rows(table_builder *b, int rows)
{
    must(table_builder_add_range(b, fkv_slice_of("key-0002", 8), fkv_slice_of("key-0003", 8)));
    must(table_builder_add_range(b, fkv_slice_of("l", 1), fkv_slice_of("m", 1)));
    for (int i = 0; i < rows; i++) {
        char key[40], value[200];
        int n = snprintf(key, sizeof key, i % 3 ? "key-%05d" : "key-%05d-and-more", i * 3);
        memset(value, 'a' + i % 26, sizeof value);
        must(table_builder_add(b, (entry_kind)(1 + i % 3), fkv_slice_of(key, (size_t)n),
                               fkv_slice_of(value, i % 3 == 1 ? 0 : (size_t)(i * 7 % 200)),
                               1000 + i));
    }
}

static int fuzz_seed(int i, buf *out)
{
    static const int rows[] = {0, 2, 20, 80};
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    env_file *file = NULL;
    table_builder *b = NULL;
    table_summary summary = {0};
    table_options opt;

    if (i >= 16) return 0;
    table_options_default(&opt);
    opt.block_bytes = 400;
    opt.restart_interval = 4;
    opt.bloom_bits = i % 3 ? 10 : 0;
    opt.codec = codec_available((codec_id)(i / 4)) ? (codec_id)(i / 4) : CODEC_NONE;
    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    must(env->file_open(env, dir, "t", ENV_WRITE | ENV_CREATE, &file));
    must(table_builder_new(env, file, &opt, &b));
    add_rows(b, rows[i % 4]);
    must(table_builder_finish(b, &summary));
    table_builder_free(b);
    table_summary_release(&summary);
    env->file_close(env, file);
    get_file(env, dir, "t", out);
    env->dir_close(env, dir);
    env_mem_free(env);
    return 1;
}

FUZZ_MAIN("table", 8000)
