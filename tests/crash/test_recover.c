/*
** fkv_recover: whatever is damaged or missing in a store, every row whose block is intact comes
** back, what was deleted stays so where that can be known, and nothing is there that was never
** written.
*/
#include "base/alloc.h"
#include "base/status.h"
#include "crash/crash_util.h"

enum { VALUES_MAX = 4096 };

typedef struct history { /* which key a value was written under */
    model now;
    int owner[VALUES_MAX];
    uint32_t next;
} history;

typedef struct report {
    uint64_t lost, rows, errors, warnings;
    int done;
} report;

static history h;

static fkv_options small(fkv_env *env)
{
    return (fkv_options){.env = env,
                         .create = 1,
                         .memory_bytes = 1 << 20,
                         .memtable_bytes = 32768,
                         .table_bytes = 8192,
                         .block_bytes = 512,
                         .codec = 1 + (int)check_below(3) % 2,
                         .inline_background = 1};
}

/* -- a store with a past ----------------------------------------------------------------------- */

static void write_some(fkv_store *s, int count)
{
    fkv_txn *t = NULL;

    REQUIRE_OK(fkv_txn_new(s, &t));
    CHECK_STATUS(fkv_txn_begin(t, 0), FKV_OK);
    for (int n = 0; n < count; n++) {
        int i = (int)check_below(KEYS);
        uint64_t dice = check_below(12);
        if (dice == 0) {
            CHECK_STATUS(
                crash_delete_range(t, &h.now, i, i + 1 + (int)check_below(KEYS - (uint64_t)i)),
                FKV_OK);
        } else if (dice < 3) {
            CHECK_STATUS(crash_delete(t, &h.now, i), FKV_OK);
        } else if (h.next < VALUES_MAX) {
            h.owner[h.next] = i;
            CHECK_STATUS(crash_put(t, &h.now, i, h.next++), FKV_OK);
        }
    }
    CHECK_STATUS(fkv_txn_prepare(t, FKV_SYNC), FKV_OK);
    fkv_txn_commit(t);
    fkv_txn_free(t);
}

/* Deep tables, tables of level 0, a log. `closed`: in order; else the process just ends. */
static fkv_env *make_store(int closed)
{
    env_fault dead = {.kinds = ~(ENV_OP_READ | ENV_OP_MAP | ENV_OP_THREAD),
                      .countdown = 1,
                      .persistent = 1,
                      .status = FKV_IOERR};
    fkv_env *disk = NULL, *env = NULL;
    fkv_options o;
    fkv_store *s = NULL;

    h = (history){.next = 1};
    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o = small(env);
    if (fkv_open("s", &o, &s)) abort();
    write_some(s, 150);
    CHECK_STATUS(fkv_compact(s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0)), FKV_OK);
    for (int i = 0; i < 2; i++) {
        write_some(s, 60);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
    }
    for (int i = 0; i < 5; i++) write_some(s, 8);
    if (!closed) env_fault_set(env, &dead);
    fkv_close(s);
    env_fault_free(env);
    return disk;
}

/* -- recovering -------------------------------------------------------------------------------- */

static fkv_status note(void *arg, const fkv_finding *f)
{
    report *r = arg;

    r->lost += *f->file ? f->severity == FKV_FOUND_ERROR : 0;
    r->errors += f->severity == FKV_FOUND_ERROR;
    r->warnings += f->severity == FKV_FOUND_WARNING;
    if (!*f->file && f->severity <= FKV_FOUND_INFO) {
        r->rows = f->rows;
        r->done++;
    }
    return FKV_OK;
}

static void print(const fkv_finding *f)
{
    (void)printf("  %s %s %lld rows %llu lost %llu: %s\n", fkv_severity_name(f->severity), f->file,
                 (long long)f->offset, (unsigned long long)f->rows, (unsigned long long)f->bytes,
                 f->text);
}

static fkv_status note_and_print(void *arg, const fkv_finding *f)
{
    print(f);
    return note(arg, f);
}

/* How keys of the new store differ from the model. Invented values are failures at once. */
typedef struct difference {
    int missing, stale, back; /* absent; an older value; deleted in the model */
} difference;

static void compare_row(fkv_slice key, fkv_slice value, int i, difference *d)
{
    char room[16], full[VALUE_ROOM], digits[12] = {0};
    uint32_t v;

    CHECK(slice_equal(key, crash_key(i, room)));
    REQUIRE(value.size > 12);
    memcpy(digits, value.data, 11);
    v = (uint32_t)strtoul(digits, NULL, 10);
    REQUIRE(v > 0 && v < h.next && h.owner[v] == i);
    CHECK(slice_equal(value, crash_value(v, full)));
    if (!h.now.value[i]) {
        d->back++;
    } else if (h.now.value[i] != v) {
        d->stale++;
    }
}

static difference compare(fkv_env *env, const report *r)
{
    fkv_options o = small(env);
    fkv_store *s = NULL;
    fkv_snapshot *snap = NULL;
    difference d = {0};
    uint64_t rows = 0;

    o.create = 0;
    if (fkv_open("new", &o, &s)) {
        (void)printf("the new store does not open: %s\n", fkv_errmsg());
        CHECK(0);
        return d;
    }
    CHECK_STATUS(fkv_verify(s), FKV_OK);
    if (fkv_snapshot_new(s, &snap)) abort();
    for (int i = 0; i < KEYS; i++) {
        char room[16];
        fkv_value v;
        fkv_status rc = fkv_get(snap, NULL, crash_key(i, room), &v);
        if (rc == FKV_OK) {
            rows++;
            compare_row(crash_key(i, room), v.value, i, &d);
        } else {
            CHECK_STATUS(rc, FKV_NOTFOUND);
            d.missing += h.now.value[i] != 0;
        }
        fkv_value_release(&v);
    }
    CHECK(rows == r->rows);
    fkv_snapshot_release(snap);
    write_some(s, 5); /* it goes on as any other */
    fkv_close(s);
    return d;
}

static void remove_new(fkv_env *env)
{
    image im;
    env_dir *dir = NULL;

    if (image_take(env, "new", &im)) return;
    if (env->dir_open(env, "new", 0, &dir)) abort();
    for (int i = 0; i < im.count; i++) fkv_ignore(env->file_remove(env, dir, im.files[i].name));
    env->dir_close(env, dir);
    image_free(&im);
}

static difference recover(fkv_env *env, report *r)
{
    fkv_salvage how = {.env = env, .found = getenv("SHOW") ? note_and_print : note, .arg = r};
    image before, after;
    model now = h.now;
    uint32_t next = h.next;
    difference d = {0};

    *r = (report){0};
    if (image_take(env, "s", &before)) abort();
    remove_new(env);
    CHECK_STATUS(fkv_recover("s", "new", &how), FKV_OK);
    CHECK(r->done == 1);
    if (image_take(env, "s", &after)) abort();
    CHECK(before.count == after.count);
    for (int i = 0; i < before.count; i++)
        CHECK(before.files[i].size == after.files[i].size &&
              memcmp(before.files[i].bytes, after.files[i].bytes, before.files[i].size) == 0);
    image_free(&before);
    image_free(&after);
    d = compare(env, r);
    h.now = now;
    h.next = next;
    return d;
}

static int same(difference d)
{
    return !d.missing && !d.stale && !d.back;
}

/* -- damage ------------------------------------------------------------------------------------ */

static int is(const image_file *f, const char *kind)
{
    return strstr(f->name, kind) != NULL;
}

static void put_store(fkv_env *env, const image *im)
{
    env_dir *dir = NULL;

    if (env->dir_open(env, "s", ENV_CREATE, &dir)) abort();
    for (int i = 0; i < im->count; i++) fkv_ignore(env->file_remove(env, dir, im->files[i].name));
    env->dir_close(env, dir);
    if (image_put(env, "s", im)) abort();
}

static size_t used(const image_file *f)
{
    size_t n = f->size;

    while (is(f, ".wal") && n && !f->bytes[n - 1]) n--;
    return n;
}

static void whole_stores_come_back(void)
{
    for (int round = 0; round < 8 * crash_scale(); round++) {
        fkv_env *env = make_store(round & 1);
        report r;
        CHECK(same(recover(env, &r)));
        CHECK(r.errors == 0 && r.warnings == 0);
        env_mem_free(env);
    }
}

/* One bit: a block of rows at the most is lost, and the rest is as it was. */
static void flipped_bits(void)
{
    for (int round = 0; round < 6 * crash_scale(); round++) {
        fkv_env *env = make_store(round & 1);
        image im;
        if (image_take(env, "s", &im)) abort();
        for (int i = 0; i < im.count; i++) {
            image_file *f = &im.files[i];
            for (int n = 0; n < 10 / (int)STRIDE && used(f) && !is(f, "lock"); n++) {
                size_t at = check_below(used(f));
                uint8_t kept = f->bytes[at];
                report r;
                difference d;
                int before = check_failures;
                f->bytes[at] ^= (uint8_t)(1u << check_below(8));
                put_store(env, &im);
                d = recover(env, &r);
                if (!is(f, "lock") && !is(f, "manifest")) CHECK(d.missing + d.stale <= 30);
                if (is(f, "manifest")) CHECK(d.missing == 0);
                if (!r.lost && !r.warnings) CHECK(same(d));
                if (check_failures > before)
                    (void)printf("%s flipped at %zu: %d missing %d stale %d back, %llu errors\n",
                                 f->name, at, d.missing, d.stale, d.back,
                                 (unsigned long long)r.errors);
                f->bytes[at] = kept;
            }
        }
        image_free(&im);
        env_mem_free(env);
    }
}

/* A file that ends too early: what lies before is saved, also without index and footer. */
static void cut_files(void)
{
    int told = 0;

    for (int round = 0; round < 6 * crash_scale(); round++) {
        fkv_env *env = make_store(round & 1);
        image im;
        if (image_take(env, "s", &im)) abort();
        for (int i = 0; i < im.count; i++) {
            image_file *f = &im.files[i];
            size_t size = f->size;
            report r;
            difference d;
            if (!is(f, ".sst")) continue;
            f->size = size - 1 - check_below(100); /* the footer */
            put_store(env, &im);
            d = recover(env, &r);
            CHECK(same(d)); /* (some are what a compaction has left: no word of them) */
            told += r.warnings > 0;
            if (!same(d))
                (void)printf("%s cut at %zu of %zu: %d missing %d stale %d back\n", f->name,
                             f->size, size, d.missing, d.stale, d.back);
            f->size = check_below(size);
            put_store(env, &im);
            (void)recover(env, &r);
            f->size = size;
        }
        image_free(&im);
        env_mem_free(env);
    }
    CHECK(told > 0);
}

static void missing_files(void)
{
    int told = 0;

    for (int round = 0; round < 6 * crash_scale(); round++) {
        fkv_env *env = make_store(round & 1);
        image im;
        if (image_take(env, "s", &im)) abort();
        for (int i = 0; i < im.count; i++) {
            image_file *f = &im.files[i];
            uint8_t *bytes = f->bytes;
            report r;
            difference d;
            f->bytes = NULL;
            put_store(env, &im);
            d = recover(env, &r);
            if (is(f, "manifest")) CHECK(d.missing == 0 && r.errors == 1);
            if (is(f, ".sst")) CHECK(r.errors >= 1 || same(d));
            told += is(f, ".sst") && r.errors;
            if (is(f, "lock")) CHECK(same(d));
            f->bytes = bytes;
        }
        image_free(&im);
        env_mem_free(env);
    }
    CHECK(told > 0);
}

/* Deleted rows stay deleted when a block is lost that has nothing to do with them; and everything
** at once is survived. */
static void many_damages(void)
{
    for (int round = 0; round < 25 * crash_scale() / (int)STRIDE; round++) {
        fkv_env *env = make_store(round & 1);
        image im;
        report r;
        if (image_take(env, "s", &im)) abort();
        for (uint64_t n = 1 + check_below(20); n > 0; n--) {
            image_file *f = &im.files[check_below((uint64_t)im.count)];
            if (!used(f)) continue;
            if (check_below(4)) {
                f->bytes[check_below(used(f))] = (uint8_t)check_random();
            } else {
                size_t at = check_below(used(f)), size = check_below(600);
                memset(f->bytes + at, (int)check_below(2) * 255,
                       size < f->size - at ? size : f->size - at);
            }
        }
        put_store(env, &im);
        (void)recover(env, &r);
        image_free(&im);
        env_mem_free(env);
    }
}

static void refusals(void)
{
    fkv_env *env = make_store(1);
    fkv_options o = small(env);
    report r = {0};
    uint8_t other[16] = {1};
    fkv_salvage how = {.env = env, .found = note, .arg = &r};
    fkv_store *s = NULL;

    REQUIRE_OK(fkv_open("s", &o, &s));
    CHECK_STATUS(fkv_recover("s", "new", &how), FKV_BUSY);
    fkv_close(s);
    CHECK_STATUS(fkv_recover("nowhere", "new", &how), FKV_NOTFOUND);
    how.uuid = other;
    CHECK_STATUS(fkv_recover("s", "new", &how), FKV_INVALID);
    how.uuid = NULL;
    CHECK(same(recover(env, &r)));
    CHECK_STATUS(fkv_recover("s", "new", &how), FKV_INVALID);
    env_mem_free(env);
}

static void it_is_the_same_store(void)
{
    fkv_env *env = make_store(1);
    fkv_options o = small(env);
    uint8_t one[16], two[16];
    uint32_t a = 0, b = 0;
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    report r;

    CHECK(same(recover(env, &r)));
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(fkv_open(i ? "new" : "s", &o, &s));
        fkv_uuid(s, i ? two : one);
        REQUIRE_OK(fkv_txn_new(s, &t));
        CHECK_STATUS(fkv_txn_begin(t, 0), FKV_OK);
        CHECK_STATUS(fkv_txn_new_space(t, i ? &b : &a), FKV_OK);
        fkv_txn_free(t);
        fkv_close(s);
    }
    CHECK(memcmp(one, two, sizeof one) == 0 && b >= a);
    env_mem_free(env);
}

/* -- when there is no memory, or a read fails -------------------------------------------------- */

static uint64_t countdown;

static void *resize_or_not(void *p, size_t size)
{
    return countdown && --countdown == 0 ? NULL
                                         : realloc(p, size); /* lint: allow banned -- the hook */
}

static void give_back(void *p)
{
    free(p); /* lint: allow banned -- the hook */
}

/* One allocation fails: FKV_NOMEM, and all that was taken is given back. */
static void out_of_memory(void)
{
    static const alloc_hook hook = {resize_or_not, give_back};
    fkv_env *env = make_store(0);
    report r = {0};
    fkv_salvage how = {.env = env, .found = note, .arg = &r};
    fkv_checker checker = {.found = note, .arg = &r};
    fkv_options o = small(env);
    fkv_store *s = NULL;
    fkv_status rc = FKV_NOMEM;

    alloc_set_hook(&hook);
    for (uint64_t n = 1; rc && n < 100000; n += 1 + check_below(4 * STRIDE)) {
        remove_new(env);
        countdown = n;
        rc = fkv_recover("s", "new", &how);
        countdown = 0;
        CHECK(rc == FKV_OK || rc == FKV_NOMEM);
    }
    CHECK_STATUS(rc, FKV_OK);
    REQUIRE_OK(fkv_open("s", &o, &s));
    rc = FKV_NOMEM;
    for (uint64_t n = 1; rc && n < 100000; n += 1 + check_below(STRIDE)) {
        countdown = n;
        rc = fkv_check(s, FKV_CHECK_DEEP, &checker);
        countdown = 0;
        CHECK(rc == FKV_OK || rc == FKV_NOMEM);
    }
    CHECK_STATUS(rc, FKV_OK);
    fkv_close(s);
    alloc_set_hook(NULL);
    env_mem_free(env);
}

/* A read fails, once or from then on: what cannot be read is lost, or recovery has failed. */
static void failing_reads(void)
{
    fkv_env *disk = make_store(1), *env = NULL;
    report r;
    uint64_t fired = 1;

    if (env_fault_new(disk, &env)) abort();
    for (uint64_t n = 1; fired; n++) {
        for (int persistent = 0; persistent < 2; persistent++) {
            env_fault fault = {.kinds = ENV_OP_READ,
                               .countdown = n,
                               .persistent = persistent,
                               .status = FKV_IOERR};
            fkv_salvage how = {.env = env, .found = note, .arg = &r};
            fkv_status rc;
            r = (report){0};
            remove_new(disk);
            env_fault_set(env, &fault);
            rc = fkv_recover("s", "new", &how);
            fired = env_fault_fired(env);
            env_fault_set(env, NULL);
            CHECK(rc == FKV_OK || rc == FKV_IOERR);
            if (!rc && fired) CHECK(r.errors + r.warnings > 0);
            if (!rc) (void)compare(disk, &r);
        }
    }
    env_fault_free(env);
    env_mem_free(disk);
}

TEST_MAIN("test_recover", TEST_CASE(whole_stores_come_back), TEST_CASE(flipped_bits),
          TEST_CASE(cut_files), TEST_CASE(missing_files), TEST_CASE(many_damages),
          TEST_CASE(refusals), TEST_CASE(it_is_the_same_store), TEST_CASE(out_of_memory),
          TEST_CASE(failing_reads))
