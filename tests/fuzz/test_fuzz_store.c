/*
** Any files as a store. test-modes: asan
**
** Input: files, each as a name (one byte of length), a size (4 bytes) and that many bytes; a log
** ends with its last byte that is not zero. What can be saved is saved; the store is opened, read,
** verified, checked, written to, flushed, compacted and opened again. What fkv_verify lets pass
** must read the same in all ways, and before and after a compaction and a reopening.
*/
#include "fuzz_format.h"
#include "version/manifest.h"

enum { FILES_MAX = 24, NAME_MAX_BYTES = 24 };

typedef struct view {
    uint64_t rows, hash;
    fkv_status rc;
} view;

static fkv_options small_store(fkv_env *env)
{
    return (fkv_options){.env = env,
                         .memory_bytes = 1 << 20,
                         .memtable_bytes = 32768,
                         .table_bytes = 4096,
                         .block_bytes = 512,
                         .inline_background = 1};
}

/* -- reading ----------------------------------------------------------------------------------- */

static void add_row(view *v, const fkv_cursor *c)
{
    fkv_slice key = fkv_cursor_key(c), value = fkv_cursor_value(c);

    v->rows++;
    v->hash += hash64(key.data, key.size, hash64(value.data, value.size, 1));
}

static view walk(fkv_store *s, int back)
{
    view v = {0};
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;

    must(fkv_snapshot_new(s, &snap));
    must(fkv_cursor_new(snap, NULL, &c));
    if (back) {
        for (fkv_cursor_last(c); fkv_cursor_valid(c); fkv_cursor_prev(c)) add_row(&v, c);
    } else {
        for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) add_row(&v, c);
    }
    v.rc = fkv_cursor_status(c);
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return v;
}

static view gets(fkv_store *s)
{
    view v = {0};
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;

    must(fkv_snapshot_new(s, &snap));
    must(fkv_cursor_new(snap, NULL, &c));
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) {
        fkv_value value;
        fkv_status rc = fkv_get(snap, NULL, fkv_cursor_key(c), &value);
        if (!rc && slice_equal(value.value, fkv_cursor_value(c))) add_row(&v, c);
        fkv_value_release(&value);
        if (rc && rc != FKV_NOTFOUND) v.rc = rc;
    }
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
    return v;
}

static int same(view a, view b)
{
    return a.rows == b.rows && a.hash == b.hash && a.rc == b.rc;
}

/* -- what is done with a store ----------------------------------------------------------------- */

static fkv_status write_some(fkv_store *s)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; !rc && i < 12; i++) {
        char key[16];
        fkv_slice k = fkv_slice_of(key, (size_t)snprintf(key, sizeof key, "key%03d", i * 5));
        rc = i % 4 == 3 ? fkv_txn_delete(t, k) : fkv_txn_put(t, k, fkv_slice_of("fresh", 5));
        if (!rc && i == 7) rc = fkv_txn_delete_range(t, k, fkv_slice_of("key050", 6));
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static fkv_status reopen(fkv_env *env, fkv_store **s)
{
    fkv_options o = small_store(env);

    fkv_close(*s);
    return fkv_open("s", &o, s);
}

/* Are new writes newer than all tables? A manifest can deny it under a right checksum, and only a
** forger would. */
static int ages_agree(fkv_env *env)
{
    table_home home = {.env = env};
    version *v = NULL;
    manifest m;
    int agree = 1;

    must(env->dir_open(env, "s", 0, &home.dir));
    if (!manifest_load(env, home.dir, &home, &m, &v))
        for (int i = 0; i < FKV_LEVELS; i++)
            for (size_t j = 0; j < v->levels[i].count; j++)
                agree &= v->levels[i].files[j]->max_seq <= m.last_seq;
    version_unref(v);
    env->dir_close(env, home.dir);
    return agree;
}

/* Numbers at the end of their range, from a log: nothing can be written behind them. */
static int at_the_end(void)
{
    return strstr(fkv_errmsg(), "an impossible number") != NULL;
}

static fkv_status count_error(void *arg, const fkv_finding *f)
{
    *(int *)arg += f->severity == FKV_FOUND_ERROR;
    return FKV_OK;
}

/* Errors that a check of this level finds. */
static int errors_of(fkv_store *s, fkv_check_level level)
{
    int errors = 0;

    must(fkv_check(s, level, &(fkv_checker){.found = count_error, .arg = &errors}));
    return errors;
}

static void use(fkv_env *env, fkv_store **s)
{
    view before, up = walk(*s, 0), down = walk(*s, 1);
    fkv_stats stats;
    uint64_t rows, bytes;
    int good;

    fkv_stats_read(*s, &stats);
    fkv_estimate(*s, fkv_slice_of("a", 1), fkv_slice_of("l", 1), &rows, &bytes);
    (void)errors_of(*s, FKV_CHECK_QUICK);
    (void)errors_of(*s, FKV_CHECK_FULL);
    good = !fkv_verify(*s) && ages_agree(env);
    FUZZ_CHECK(good || errors_of(*s, FKV_CHECK_DEEP) > 0);
    before = gets(*s);
    if (good) FUZZ_CHECK(!up.rc && same(up, down) && same(up, before));
    if (write_some(*s)) return;
    before = walk(*s, 0);
    if (good) FUZZ_CHECK(!before.rc && same(before, walk(*s, 1)));
    if (reopen(env, s)) {
        FUZZ_CHECK(!good || at_the_end());
        return;
    }
    if (good) FUZZ_CHECK(same(before, walk(*s, 0)));
    if (fkv_compact(*s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)) || fkv_settle(*s)) {
        FUZZ_CHECK(!good || at_the_end());
        return;
    }
    if (good) FUZZ_CHECK(!fkv_verify(*s));
    if (good) FUZZ_CHECK(same(before, walk(*s, 0)) && same(before, gets(*s)));
}

static fkv_status ignore(void *arg, const fkv_finding *f)
{
    (void)arg, (void)f;
    return FKV_OK;
}

/* Whatever can be saved is a sound store. */
static void save(fkv_env *env)
{
    fkv_options o = small_store(env);
    fkv_store *s = NULL;
    fkv_status rc = fkv_recover("s", "saved", &(fkv_salvage){.env = env, .found = ignore});

    FUZZ_CHECK(!rc || rc == FKV_TOOBIG);
    if (rc) return;
    must(fkv_open("saved", &o, &s));
    FUZZ_CHECK(errors_of(s, FKV_CHECK_DEEP) == 0 && same(walk(s, 0), walk(s, 1)));
    fkv_close(s);
}

static int is_name(fkv_slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.data[i] < '.' || s.data[i] == '/' || s.data[i] > 'z') return 0;
    return s.size > 0 && s.size < NAME_MAX_BYTES && s.data[0] != '.';
}

static int ends_in(fkv_slice name, const char *end)
{
    return name.size > 4 && memcmp(name.data + name.size - 4, end, 4) == 0;
}

static void unpack(fkv_env *env, const uint8_t *data, size_t size)
{
    static const uint8_t zeros[4096];
    fuzz_in in = {data, data + size};
    env_dir *dir = NULL;

    must(env->dir_open(env, "s", ENV_WRITE | ENV_CREATE, &dir));
    for (int i = 0; i < FILES_MAX && in.p < in.end; i++) {
        fkv_slice name = fuzz_take(&in, fuzz_u8(&in));
        fkv_slice bytes = fuzz_take(&in, fuzz_u32(&in));
        char text[NAME_MAX_BYTES] = {0};
        env_file *file = NULL;
        if (!is_name(name)) continue;
        memcpy(text, name.data, name.size);
        put_file(env, dir, text, bytes.data, bytes.size);
        if (!ends_in(name, ".wal")) continue;
        must(env->file_open(env, dir, text, ENV_WRITE, &file));
        must(env->file_write(env, file, bytes.size, zeros, sizeof zeros));
        must(env->file_sync(env, file));
        env->file_close(env, file);
    }
    must(env->dir_sync(env, dir));
    env->dir_close(env, dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fkv_env *env = NULL;
    fkv_store *s = NULL;
    fkv_options o;

    must(env_mem_new(&env));
    unpack(env, data, size);
    o = small_store(env);
    o.read_only = 1;
    if (!fkv_open("s", &o, &s)) (void)walk(s, 0);
    fkv_close(s);
    save(env);
    o.read_only = 0;
    s = NULL;
    if (!fkv_open("s", &o, &s)) use(env, &s);
    fkv_close(s);
    env_mem_free(env);
    return 0;
}

/* -- seeds ------------------------------------------------------------------------------------- */

static void fuzz_seal(uint8_t *data, size_t size)
{
    fuzz_in in;
    uint64_t store_id = 0;

    for (int pass = 0; pass < 2; pass++) {
        in = (fuzz_in){data, data + size};
        while (in.p < in.end) {
            fkv_slice name = fuzz_take(&in, fuzz_u8(&in));
            fkv_slice bytes = fuzz_take(&in, fuzz_u32(&in));
            uint8_t *p = (uint8_t *)(uintptr_t)bytes.data;
            if (pass == 0 && slice_equal(name, fkv_slice_of("manifest", 8)) && bytes.size >= 24) {
                sign_manifest(p, bytes.size);
                store_id = get_u64(p + 16);
            } else if (pass && ends_in(name, ".wal") && name.size < NAME_MAX_BYTES) {
                char text[NAME_MAX_BYTES] = {0};
                memcpy(text, name.data, name.size);
                sign_log(p, bytes.size, store_id, strtoull(text, NULL, 10));
            } else if (pass && ends_in(name, ".sst")) {
                sign_table(p, bytes.size);
            }
        }
    }
}

typedef struct packing {
    fkv_env *env;
    env_dir *dir;
    buf *out;
    int want_manifest; /* it goes first: mutations like the front */
} packing;

static fkv_status pack_one(void *arg, const char *name)
{
    packing *p = arg;
    buf bytes = {0};

    if ((strcmp(name, "manifest") == 0) != p->want_manifest) return FKV_OK;
    get_file(p->env, p->dir, name, &bytes);
    while (strstr(name, ".wal") && bytes.size && !bytes.data[bytes.size - 1]) bytes.size--;
    buf_append_u8(p->out, (uint8_t)strlen(name));
    buf_append(p->out, name, strlen(name));
    buf_append_u32(p->out, (uint32_t)bytes.size);
    buf_append(p->out, bytes.data, bytes.size);
    buf_release(&bytes);
    return FKV_OK;
}

static void commit(fkv_store *s, int n, size_t value_size)
{
    static char value[3000];
    fkv_txn *t = NULL;

    memset(value, 'a' + n % 26, sizeof value);
    must(fkv_txn_new(s, &t));
    must(fkv_txn_begin(t, 0));
    for (int i = 0; i < 12; i++) {
        char key[16];
        fkv_slice k =
            fkv_slice_of(key, (size_t)snprintf(key, sizeof key, "key%03d", (i * 7 + n * 3) % 80));
        if (i % 5 == 4) {
            must(fkv_txn_delete(t, k));
        } else if (i % 5 == 3) {
            must(fkv_txn_put_expires(t, k, fkv_slice_of(value, value_size), 4000000000000));
        } else {
            must(fkv_txn_put(t, k, fkv_slice_of(value, value_size)));
        }
        if (i == 9) must(fkv_txn_delete_range(t, k, fkv_slice_of("key060", 6)));
    }
    must(fkv_txn_prepare(t, FKV_SYNC));
    fkv_txn_commit(t);
    fkv_txn_free(t);
}

/* Bits of i: deep tables; a log; closed in order. */
static int fuzz_seed(int i, buf *out)
{
    env_fault dead = {.kinds = ~(ENV_OP_READ | ENV_OP_MAP | ENV_OP_THREAD),
                      .countdown = 1,
                      .persistent = 1,
                      .status = FKV_IOERR};
    fkv_env *disk = NULL, *env = NULL;
    fkv_store *s = NULL;
    fkv_options o;
    packing p = {.out = out};

    if (i >= 9) return 0;
    must(env_mem_new(&disk));
    must(env_fault_new(disk, &env));
    o = small_store(env);
    o.create = 1;
    o.codec = 1 + i % 2;
    must(fkv_open("s", &o, &s));
    if (i & 1) {
        for (int n = 0; n < 6; n++) commit(s, n, 60);
        must(fkv_compact(s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)));
        commit(s, 30, 20);
        must(fkv_flush(s));
    }
    if (i & 2)
        for (int n = 10; n < 12; n++) commit(s, n, 40);
    if (i == 8) /* larger than a memtable: it spills */
        for (int n = 0; n < 3; n++) commit(s, n, 2900);
    if (i & 4) env_fault_set(env, &dead);
    fkv_close(s);
    env_fault_set(env, NULL);
    buf_clear(out);
    p.env = disk;
    must(disk->dir_open(disk, "s", ENV_CREATE, &p.dir));
    for (p.want_manifest = 1; p.want_manifest >= 0; p.want_manifest--)
        must(disk->dir_list(disk, p.dir, pack_one, &p));
    disk->dir_close(disk, p.dir);
    env_fault_free(env);
    env_mem_free(disk);
    return 1;
}

FUZZ_MAIN("store", 1000)
