/* io/: what is left after a power cut of the memory env, and what env_fault does when armed. */
#include "check.h"

#include "dry_heap.h"
#include "io/env.h"

enum { RW = ENV_WRITE | ENV_CREATE, SECTOR = 512 };

/* A memory file system with one open directory. */
typedef struct disk {
    fkv_env *env;
    env_dir *dir;
} disk;

static int disk_open(disk *d)
{
    *d = (disk){NULL, NULL};
    return !env_mem_new(&d->env) && !d->env->dir_open(d->env, "d", ENV_CREATE, &d->dir);
}

static void disk_close(disk *d)
{
    d->env->dir_close(d->env, d->dir);
    env_mem_free(d->env);
}

/* Cut the power and come back. */
static int disk_crash(disk *d, uint64_t seed)
{
    d->env->dir_close(d->env, d->dir);
    d->dir = NULL;
    return !env_mem_crash(d->env, seed) && !d->env->dir_open(d->env, "d", 0, &d->dir);
}

/* Fill [offset, offset+size) of a file with one byte. */
static int fill(disk *d, const char *name, uint64_t offset, size_t size, int byte, int sync)
{
    static uint8_t data[64 * SECTOR];
    env_file *file = NULL;
    fkv_status rc = size > sizeof data ? FKV_INVALID
                                       : d->env->file_open(d->env, d->dir, name, RW, &file);

    memset(data, byte, size <= sizeof data ? size : 0);
    if (!rc) rc = d->env->file_write(d->env, file, offset, data, size);
    if (!rc && sync) rc = d->env->file_sync(d->env, file);
    d->env->file_close(d->env, file);
    return rc == FKV_OK;
}

/* Content of a file; -1 when absent. */
static int64_t content(disk *d, const char *name, uint8_t *out, size_t room)
{
    env_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    fkv_status rc = d->env->file_open(d->env, d->dir, name, ENV_READ, &file);

    if (rc == FKV_NOTFOUND) return -1;
    if (!rc) rc = d->env->file_size(d->env, file, &size);
    if (!rc) rc = d->env->file_read(d->env, file, 0, out, room, &got);
    d->env->file_close(d->env, file);
    return rc || got != size ? -2 : (int64_t)got;
}

/* Is the file `size` bytes, all of this value? */
static int is_all(disk *d, const char *name, int64_t size, int byte)
{
    static uint8_t data[64 * SECTOR];

    if (content(d, name, data, sizeof data) != size) return 0;
    for (int64_t i = 0; i < size; i++)
        if (data[i] != byte) return 0;
    return 1;
}

/* -- the plain worst case ------------------------------------------------------------------- */

static void cut_loses_unsynced_writes(void)
{
    uint8_t data[8 * SECTOR];
    disk d;
    env_file *file;
    uint8_t before[16], after[16];

    REQUIRE(disk_open(&d));
    CHECK(fill(&d, "synced", 0, 3000, 1, 1));
    CHECK(fill(&d, "over", 0, 3000, 1, 1));
    CHECK(fill(&d, "over", 700, 1, 2, 0));
    CHECK(fill(&d, "over", 0, 3000, 3, 0)); /* the first old content counts, not the last */
    CHECK(fill(&d, "grown", 0, 100, 1, 1));
    CHECK(fill(&d, "grown", 100, 3000, 2, 0));
    CHECK(fill(&d, "never", 0, 100, 1, 0));
    CHECK(fill(&d, "gap", 0, 100, 1, 1));
    CHECK(fill(&d, "gap", 2000, 100, 2, 0));
    REQUIRE_OK(d.env->file_open(d.env, d.dir, "room", RW, &file));
    CHECK_STATUS(d.env->file_allocate(d.env, file, 0, 2048), FKV_OK);
    CHECK_STATUS(d.env->file_sync(d.env, file), FKV_OK);
    CHECK_STATUS(d.env->file_write(d.env, file, 600, "lost", 4), FKV_OK);
    CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
    d.env->boot_id(d.env, before);
    CHECK_STATUS(env_mem_crash(d.env, 0), FKV_MISUSE); /* handles are open */
    d.env->file_close(d.env, file);
    REQUIRE(disk_crash(&d, 0));
    d.env->boot_id(d.env, after);
    CHECK(memcmp(before, after, 16) != 0);
    CHECK(is_all(&d, "synced", 3000, 1));
    CHECK(is_all(&d, "over", 3000, 1));
    CHECK(is_all(&d, "grown", 100, 1));
    CHECK(is_all(&d, "never", 0, 0));
    CHECK(is_all(&d, "gap", 100, 1));
    CHECK(is_all(&d, "room", 2048, 0));
    /* What is beyond the end after the cut is nothing, not the bytes that were lost. */
    CHECK(fill(&d, "grown", 1000, 10, 5, 1));
    CHECK(content(&d, "grown", data, sizeof data) == 1010);
    for (int i = 0; i < 1010; i++) CHECK(data[i] == (i < 100 ? 1 : i < 1000 ? 0 : 5));
    REQUIRE(disk_crash(&d, 0)); /* and what was synced since stays */
    CHECK(content(&d, "grown", data, sizeof data) == 1010);
    CHECK(is_all(&d, "over", 3000, 1));
    disk_close(&d);
}

static void cut_undoes_names(void)
{
    disk d;

    REQUIRE(disk_open(&d));
    for (const char *name = "abcdz"; *name; name++) {
        char one[2] = {*name, 0};
        CHECK(fill(&d, one, 0, 10, *name, 1));
    }
    CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
    CHECK_STATUS(d.env->file_rename(d.env, d.dir, "a", "b"), FKV_OK);
    CHECK_STATUS(d.env->file_remove(d.env, d.dir, "c"), FKV_OK);
    CHECK_STATUS(d.env->file_rename(d.env, d.dir, "d", "e"), FKV_OK);
    CHECK(fill(&d, "new", 0, 10, 1, 1)); /* synced, but its name is not */
    CHECK_STATUS(d.env->file_remove(d.env, d.dir, "z"), FKV_OK);
    CHECK(fill(&d, "z", 0, 10, 1, 1)); /* another file of that name */
    REQUIRE(disk_crash(&d, 0));
    CHECK(is_all(&d, "a", 10, 'a'));
    CHECK(is_all(&d, "b", 10, 'b'));
    CHECK(is_all(&d, "c", 10, 'c'));
    CHECK(is_all(&d, "d", 10, 'd'));
    CHECK(is_all(&d, "z", 10, 'z'));
    CHECK(is_all(&d, "e", -1, 0));
    CHECK(is_all(&d, "new", -1, 0));

    CHECK_STATUS(d.env->file_rename(d.env, d.dir, "a", "b"), FKV_OK);
    CHECK_STATUS(d.env->file_remove(d.env, d.dir, "c"), FKV_OK);
    CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
    CHECK_STATUS(d.env->file_rename(d.env, d.dir, "b", "f"), FKV_OK);
    REQUIRE(disk_crash(&d, 0));
    CHECK(is_all(&d, "a", -1, 0));
    CHECK(is_all(&d, "b", 10, 'a'));
    CHECK(is_all(&d, "c", -1, 0));
    CHECK(is_all(&d, "f", -1, 0));
    CHECK_STATUS(env_mem_crash(d.env, 0), FKV_MISUSE); /* the directory is open */
    disk_close(&d);
}

/* -- legal mixtures ------------------------------------------------------------------------- */

/* One run with a seed: 16 synced sectors of 1, overwritten and extended to 32 by 2, unsynced. */
static int64_t torn(uint64_t seed, uint8_t out[32 * SECTOR])
{
    int64_t size = -3;
    disk d;

    memset(out, 0, 32 * SECTOR);
    if (!disk_open(&d)) return size;
    CHECK(fill(&d, "f", 0, 16 * SECTOR, 1, 1));
    CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
    CHECK(fill(&d, "f", 4 * SECTOR, 28 * SECTOR - 100, 2, 0));
    CHECK(disk_crash(&d, seed));
    size = content(&d, "f", out, 32 * SECTOR);
    disk_close(&d);
    return size;
}

static void cut_tears_sectors(void)
{
    static uint8_t first[32 * SECTOR], again[32 * SECTOR];
    unsigned old_seen = 0, new_seen = 0, zero_seen = 0, far_seen = 0, short_seen = 0;

    for (uint64_t seed = 1; seed <= 64; seed++) {
        int64_t size = torn(seed, first);

        CHECK(size >= 16 * SECTOR && size <= 32 * SECTOR - 100);
        CHECK(torn(seed, again) == size && memcmp(first, again, sizeof first) == 0);
        short_seen += size < 32 * SECTOR - 100;
        for (size_t s = 0; s < 32; s++) {
            const uint8_t *p = first + s * SECTOR;
            size_t end = s == 31 ? SECTOR - 100 : SECTOR;
            if ((int64_t)(s * SECTOR) >= size) break;
            if ((int64_t)(s * SECTOR + end) > size) end = (size_t)size - s * SECTOR;
            for (size_t i = 1; i < end; i++) REQUIRE(p[i] == p[0]); /* never within a sector */
            CHECK(s < 4 ? p[0] == 1 : s < 16 ? p[0] == 1 || p[0] == 2 : p[0] == 0 || p[0] == 2);
            if (s >= 4 && s < 16) old_seen += p[0] == 1, new_seen += p[0] == 2;
            if (s >= 16) zero_seen += p[0] == 0, far_seen += p[0] == 2;
        }
    }
    /* 768 and up to 1024 coins. */
    CHECK(old_seen > 250 && new_seen > 250 && zero_seen > 100 && far_seen > 250);
    CHECK(short_seen > 0);
}

static unsigned names_after(uint64_t seed)
{
    unsigned outcome = 0;
    disk d;

    if (!disk_open(&d)) return 0;
    CHECK(fill(&d, "current", 0, 10, 1, 1));
    CHECK(fill(&d, "gone", 0, 10, 1, 1));
    CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
    CHECK(fill(&d, "tmp", 0, 10, 2, 1));
    CHECK_STATUS(d.env->file_rename(d.env, d.dir, "tmp", "current"), FKV_OK);
    CHECK_STATUS(d.env->file_remove(d.env, d.dir, "gone"), FKV_OK);
    CHECK(fill(&d, "made", 0, 10, 3, 1));
    CHECK(disk_crash(&d, seed));
    /* The rename is atomic: there is always a current, and never the new file under both names. */
    CHECK(is_all(&d, "current", 10, 1) || is_all(&d, "current", 10, 2));
    CHECK(is_all(&d, "tmp", -1, 0) || is_all(&d, "current", 10, 1));
    if (is_all(&d, "current", 10, 2)) outcome |= 1;
    if (is_all(&d, "tmp", 10, 2)) outcome |= 2;
    if (is_all(&d, "gone", -1, 0)) outcome |= 4;
    if (is_all(&d, "made", 10, 3)) outcome |= 8;
    disk_close(&d);
    return outcome;
}

static void cut_mixes_names(void)
{
    unsigned seen = 0;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        unsigned outcome = names_after(seed);
        CHECK(names_after(seed) == outcome);
        seen |= 1u << outcome;
    }
    /* Old current without tmp, old current with tmp, new current; times two removals, two makes. */
    for (unsigned outcome = 0; outcome < 16; outcome++)
        CHECK((seen >> outcome & 1) == ((outcome & 3) != 3));
}

/* Random writes and syncs against a simple model of what was synced. */
static void cut_against_model(void)
{
    static uint8_t live[20000], synced[20000], got[20000];

    for (int round = 0; round < 40; round++) {
        int64_t size = 0, synced_size = 0;
        disk d;

        memset(live, 0, sizeof live);
        memset(synced, 0, sizeof synced);
        REQUIRE(disk_open(&d));
        CHECK(fill(&d, "f", 0, 0, 0, 0));
        CHECK_STATUS(d.env->dir_sync(d.env, d.dir), FKV_OK);
        for (int i = 0; i < 60; i++) {
            size_t at = (size_t)check_below(15000), n = 1 + (size_t)check_below(4000);
            int byte = (int)check_below(4), sync = check_below(4) == 0;

            CHECK(fill(&d, "f", at, n, byte, sync));
            memset(live + at, byte, n);
            if (size < (int64_t)(at + n)) size = (int64_t)(at + n);
            if (sync) memcpy(synced, live, sizeof live);
            if (sync) synced_size = size;
            if (check_below(10) == 0) { /* back to the model after a cut */
                CHECK(content(&d, "f", got, sizeof got) == size);
                CHECK(memcmp(got, live, (size_t)size) == 0);
                REQUIRE(disk_crash(&d, 0));
                CHECK(content(&d, "f", got, sizeof got) == synced_size);
                CHECK(memcmp(got, synced, (size_t)synced_size) == 0);
                memcpy(live, synced, sizeof live);
                size = synced_size;
            }
        }
        disk_close(&d);
    }
}

/* -- without heap --------------------------------------------------------------------------- */

static fkv_status ignore_each(void *arg, const char *name)
{
    (void)arg;
    return name[0] ? FKV_OK : FKV_INVALID;
}

/* Give a file so many more names. */
static fkv_status link_some(fkv_env *env, env_dir *dir, const char *name, int count)
{
    fkv_status rc = FKV_OK;

    for (int i = 0; !rc && i < count; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "%s%d", name, i);
        rc = env->file_link(env, dir, name, dir, to);
    }
    return rc;
}

/* A little of everything; stops at the first failure. */
static fkv_status exercise(fkv_env *env)
{
    env_dir *dir = NULL;
    env_file *file = NULL;
    void *page = NULL;
    fkv_status rc = env->dir_open(env, "d", ENV_CREATE, &dir);

    if (!rc) rc = env->file_open(env, dir, "a", RW, &file);
    if (!rc) rc = env->file_write(env, file, 0, "text", 4);
    if (!rc) rc = env->file_sync(env, file);
    if (!rc) rc = env->file_write(env, file, 2, "TEXT", 4);
    if (!rc) rc = env->file_allocate(env, file, 0, 9000);
    for (uint64_t byte = 0; !rc && byte < 9; byte++) /* more than there is room for at first */
        rc = env->file_lock(env, file, byte, ENV_LOCK_EXCLUSIVE);
    if (!rc) rc = env->file_share(env, file, 100, &page);
    if (!rc) rc = env->dir_list(env, dir, ignore_each, NULL);
    if (!rc) rc = link_some(env, dir, "a", 15); /* that fills the first 16 places for names */
    if (!rc) rc = env->file_rename(env, dir, "a", "b");
    if (!rc) rc = env->dir_sync(env, dir);
    if (!rc) rc = link_some(env, dir, "b", 32); /* and that all places for operations */
    if (!rc) rc = env->file_remove(env, dir, "b");
    env->file_close(env, file);
    env->dir_close(env, dir);
    return rc ? rc : env_mem_crash(env, 0);
}

static void memory_may_run_out(void)
{
    fkv_status rc = FKV_NOMEM;

    alloc_set_hook(&dry_heap);
    for (int n = 0; rc && n < 300; n++) {
        fkv_env *env = NULL;

        heap_left = n;
        rc = env_mem_new(&env);
        CHECK((rc == FKV_OK) == (env != NULL));
        if (!rc) rc = exercise(env);
        CHECK(rc == FKV_OK || rc == FKV_NOMEM);
        env_mem_free(env);
    }
    CHECK(rc == FKV_OK);
    heap_left = 1;
    {
        fkv_env *base = env_posix(), *env;
        env_thread *thread;
        env_fault_free(NULL);
        CHECK_STATUS(env_fault_new(base, &env), FKV_NOMEM); /* no memory for its mutex */
        CHECK(env == NULL);
        CHECK_STATUS(env_fault_new(base, &env), FKV_NOMEM);
        CHECK(env == NULL);
        CHECK_STATUS(base->thread_start(base, NULL, NULL, "t", &thread), FKV_NOMEM);
        CHECK(thread == NULL);
    }
    alloc_set_hook(NULL);
}

/* -- faults --------------------------------------------------------------------------------- */

typedef struct bench {
    fkv_env *base, *env;
    env_dir *dir;
    env_file *file;
} bench;

static void quiet(void *arg)
{
    (void)arg;
}

/* Do one operation of the kind; `which` tells the functions of a kind apart. */
static fkv_status operate(bench *b, int kind, int which)
{
    fkv_env *env = b->env;
    char data[4];
    size_t got;
    void *region;
    env_file *file = NULL;
    env_dir *dir = NULL;
    env_mutex *mutex = NULL;
    env_cond *cond = NULL;
    env_thread *thread = NULL;
    fkv_status rc;

    switch (kind) {
    case ENV_OP_READ:
        return env->file_read(env, b->file, 0, data, sizeof data, &got);
    case ENV_OP_WRITE:
        return which ? env->file_allocate(env, b->file, 0, 64)
                     : env->file_write(env, b->file, 0, "abcd", 4);
    case ENV_OP_SYNC:
        return which ? env->dir_sync(env, b->dir) : env->file_sync(env, b->file);
    case ENV_OP_OPEN:
        rc = which ? env->dir_open(env, "d", 0, &dir)
                   : env->file_open(env, b->dir, "f", ENV_READ, &file);
        CHECK(rc == FKV_OK || (!dir && !file));
        env->file_close(env, file);
        env->dir_close(env, dir);
        return rc;
    case ENV_OP_RENAME:
        if (!which) return env->file_rename(env, b->dir, "f", "f");
        rc = env->file_link(env, b->dir, "f", b->dir, "f");
        return rc == FKV_BUSY ? FKV_OK : rc; /* it got so far */
    case ENV_OP_REMOVE:                      /* what is absent: FKV_NOTFOUND is its success */
        rc = which ? env->dir_remove(env, "none") : env->file_remove(env, b->dir, "none");
        return rc == FKV_NOTFOUND ? FKV_OK : rc;
    case ENV_OP_MAP:
        if (which) {
            rc = env->file_share(env, b->file, 16, &region);
            CHECK((rc == FKV_OK) == (region != NULL));
            return rc;
        }
        region = env->map(env, 4096, 0);
        if (region) env->unmap(env, region, 4096);
        return region ? FKV_OK : FKV_FULL; /* the status every case arms */
    default:
        rc = which == 0   ? env->mutex_new(env, &mutex)
             : which == 1 ? env->cond_new(env, &cond)
                          : env->thread_start(env, quiet, NULL, "quiet", &thread);
        CHECK((rc == FKV_OK) == (mutex || cond || thread));
        env->mutex_free(env, mutex);
        env->cond_free(env, cond);
        env->thread_join(env, thread);
        return rc;
    }
}

static void one_kind(bench *b, int kind, int which)
{
    env_fault fault = {.kinds = kind, .countdown = 3, .status = FKV_FULL};

    env_fault_set(b->env, &fault); /* once */
    for (int i = 1; i <= 6; i++) CHECK_STATUS(operate(b, kind, which), i == 3 ? FKV_FULL : FKV_OK);
    CHECK(env_fault_seen(b->env) == 6 && env_fault_fired(b->env) == 1);

    fault.persistent = 1;
    env_fault_set(b->env, &fault);
    for (int i = 1; i <= 6; i++) CHECK_STATUS(operate(b, kind, which), i >= 3 ? FKV_FULL : FKV_OK);
    CHECK(env_fault_seen(b->env) == 6 && env_fault_fired(b->env) == 4);

    fault.countdown = 0; /* only counts */
    env_fault_set(b->env, &fault);
    for (int i = 1; i <= 3; i++) CHECK_STATUS(operate(b, kind, which), FKV_OK);
    CHECK(env_fault_seen(b->env) == 3 && env_fault_fired(b->env) == 0);

    fault.countdown = 1; /* all other kinds: neither counted nor failed */
    fault.kinds = 255 & ~kind;
    env_fault_set(b->env, &fault);
    CHECK_STATUS(operate(b, kind, which), FKV_OK);
    CHECK(env_fault_seen(b->env) == 0);

    env_fault_set(b->env, NULL);
    CHECK_STATUS(operate(b, kind, which), FKV_OK);
    CHECK(env_fault_seen(b->env) == 0 && env_fault_fired(b->env) == 0);
}

static int bench_open(bench *b)
{
    *b = (bench){NULL, NULL, NULL, NULL};
    return !env_mem_new(&b->base) && !env_fault_new(b->base, &b->env) &&
           !b->env->dir_open(b->env, "d", ENV_CREATE, &b->dir) &&
           !b->env->file_open(b->env, b->dir, "f", RW, &b->file);
}

static void bench_close(bench *b)
{
    b->env->file_close(b->env, b->file);
    b->env->dir_close(b->env, b->dir);
    env_fault_free(b->env);
    env_mem_free(b->base);
}

static void faults_of_every_kind(void)
{
    bench b;

    REQUIRE(bench_open(&b));
    for (int kind = ENV_OP_READ; kind <= ENV_OP_THREAD; kind *= 2) {
        int before = check_failures;
        for (int which = 0; which < 3; which++) one_kind(&b, kind, which);
        if (check_failures != before) (void)printf("  ^ kind %d\n", kind);
    }
    bench_close(&b);
}

static void faults_in_writes(void)
{
    env_fault fault = {.kinds = ENV_OP_WRITE, .countdown = 1}; /* no status: FKV_IOERR */
    char data[16];
    uint64_t size = 0;
    size_t got = 0;
    bench b;

    REQUIRE(bench_open(&b));
    env_fault_set(b.env, &fault);
    CHECK_STATUS(b.env->file_write(b.env, b.file, 0, "12345678", 8), FKV_IOERR);
    CHECK(fkv_errmsg()[0]);
    CHECK_STATUS(b.env->file_size(b.env, b.file, &size), FKV_OK);
    CHECK(size == 0); /* not partial: nothing was written */

    fault.partial = 1;
    env_fault_set(b.env, &fault);
    CHECK_STATUS(b.env->file_write(b.env, b.file, 0, "12345678", 8), FKV_IOERR);
    CHECK_STATUS(b.env->file_read(b.env, b.file, 0, data, sizeof data, &got), FKV_OK);
    CHECK(got == 4 && memcmp(data, "1234", 4) == 0);
    CHECK_STATUS(b.env->file_write(b.env, b.file, 4, "5", 1), FKV_OK); /* it was once only */

    /* A failed sync makes nothing durable. */
    fault = (env_fault){.kinds = ENV_OP_SYNC, .countdown = 1, .status = FKV_IOERR_SYNC};
    fault.persistent = 1;
    CHECK_STATUS(b.env->dir_sync(b.env, b.dir), FKV_OK);
    env_fault_set(b.env, &fault);
    CHECK_STATUS(b.env->file_sync(b.env, b.file), FKV_IOERR_SYNC);
    b.env->file_close(b.env, b.file);
    b.env->dir_close(b.env, b.dir);
    CHECK_STATUS(env_mem_crash(b.base, 0), FKV_OK);
    REQUIRE_OK(b.env->dir_open(b.env, "d", 0, &b.dir));
    REQUIRE_OK(b.env->file_open(b.env, b.dir, "f", ENV_READ, &b.file));
    CHECK_STATUS(b.env->file_size(b.env, b.file, &size), FKV_OK);
    CHECK(size == 0);
    bench_close(&b);
}

static void clock_shifts(void)
{
    int64_t before, after;
    bench b;

    REQUIRE(bench_open(&b));
    before = b.env->wall_ms(b.env);
    env_fault_shift_clock(b.env, 3600000);
    after = b.env->wall_ms(b.env);
    CHECK(after - before >= 3599000 && after - before < 3700000);
    env_fault_shift_clock(b.env, -3600000);
    after = b.env->wall_ms(b.env);
    CHECK(after - before >= -1000 && after - before < 100000);
    bench_close(&b);
}

/* Also where a byte of the number goes round. */
static void every_cut_is_another_boot(void)
{
    uint8_t seen[600][16];
    disk d;

    REQUIRE(disk_open(&d));
    for (size_t i = 0; i < 600; i++) {
        d.env->boot_id(d.env, seen[i]);
        for (size_t k = i < 300 ? 0 : i - 300; k < i; k++) CHECK(memcmp(seen[i], seen[k], 16) != 0);
        REQUIRE(disk_crash(&d, i));
    }
    disk_close(&d);
}

/* A cut while somebody still has something open would be no cut. */
static void cut_needs_all_closed(void)
{
    env_file *file;
    disk d;

    REQUIRE(disk_open(&d));
    CHECK_STATUS(env_mem_crash(d.env, 0), FKV_MISUSE);
    CHECK(strcmp(fkv_errmsg(), "power cut with 1 files or directories open") == 0);
    REQUIRE_OK(d.env->file_open(d.env, d.dir, "huge", RW, &file));
    CHECK_STATUS(d.env->file_write(d.env, file, (uint64_t)1 << 62, "x", 1), FKV_FULL);
    d.env->file_close(d.env, file);
    CHECK(is_all(&d, "huge", 0, 0));
    disk_close(&d);
}

TEST_MAIN("test_io_crash", TEST_CASE(cut_loses_unsynced_writes), TEST_CASE(cut_undoes_names),
          TEST_CASE(cut_tears_sectors), TEST_CASE(cut_mixes_names), TEST_CASE(cut_against_model),
          TEST_CASE(memory_may_run_out), TEST_CASE(every_cut_is_another_boot),
          TEST_CASE(cut_needs_all_closed), TEST_CASE(faults_of_every_kind),
          TEST_CASE(faults_in_writes), TEST_CASE(clock_shifts))
