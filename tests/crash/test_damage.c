/*
** One damaged bit, a missing file, a short file, a file in the wrong place: an error that says
** where, or nothing lost; never other rows.
**
** A small store (tables on two levels, a log, a manifest) is made in memory and its files are
** copied, once after a close and once after its process has died. Each damage is done to a fresh
** copy, which is opened and read in every way.
**
** After a death the very end of the log may be lost without a word: nothing behind it can say
** that it had been there. What can be lost so is bounded here: by a flipped bit, only the commit
** whose mark is the last record; by a short or missing log, only commits from the end.
*/
#include "crash_util.h"

enum { HISTORY_MAX = 64, RECORD_HEADER = 48, SEGMENT_HEADER = 64 };

typedef struct specimen {
    const char *name;
    image files;
    model after[HISTORY_MAX]; /* after[k]: what k commits leave */
    int commits;
    int in_tables; /* commits that no longer need the log */
    int clean;     /* it was closed */
} specimen;

typedef enum verdict { SAME, REFUSED, OLDER, SILENT } verdict;

static uint64_t counts[4], flips, mishaps;
static specimen closed_store, dead_store, other_store;

static fkv_options small_store(fkv_env *env)
{
    return (fkv_options){.env = env,
                         .create = 1,
                         .memory_bytes = 1 << 20,
                         .memtable_bytes = 32768,
                         .table_bytes = 4096,
                         .block_bytes = 512,
                         .inline_background = 1};
}

/* -- making a store ------------------------------------------------------------------------- */

static fkv_status commit_some(fkv_store *s, specimen *sp, uint32_t salt, int rows)
{
    model next = sp->after[sp->commits];
    uint32_t v = salt + (uint32_t)sp->commits * 100;
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; i < rows && !rc; i++) {
        int k = (sp->commits * 13 + i * 3) % KEYS;
        rc = i % 6 == 5 ? crash_delete(t, &next, k) : crash_put(t, &next, k, ++v);
        if (!rc && i == 8) rc = crash_delete_range(t, &next, k / 2, k / 2 + 2);
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) {
        fkv_txn_commit(t);
        sp->after[++sp->commits] = next;
    }
    fkv_txn_free(t);
    return rc;
}

static fkv_status fill(fkv_env *env, specimen *sp, uint32_t salt, fkv_store **s)
{
    fkv_options o = small_store(env);
    fkv_status rc = fkv_open("store", &o, s);

    for (int i = 0; i < 4 && !rc; i++) rc = commit_some(*s, sp, salt, 20);
    if (!rc) rc = fkv_compact(*s, fkv_slice_of("", 0), fkv_slice_of(NULL, 0));
    for (int i = 0; i < 2 && !rc; i++) {
        rc = commit_some(*s, sp, salt, 10);
        if (!rc) rc = fkv_flush(*s);
    }
    sp->in_tables = sp->commits;
    for (int i = 0; i < 3 && !rc; i++) rc = commit_some(*s, sp, salt, 6);
    return rc;
}

/* Two lives: the log of the second begins with what the first has left in its own. */
static void make(specimen *sp, const char *name, uint32_t salt, int clean)
{
    env_fault dead = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                               ENV_OP_REMOVE,
                      .countdown = 1,
                      .persistent = 1,
                      .status = FKV_IOERR};
    fkv_env *disk = NULL, *env = NULL;
    fkv_store *s = NULL;
    fkv_options o;

    if (env_mem_new(&disk) || env_fault_new(disk, &env)) abort();
    o = small_store(env);
    sp->name = name;
    sp->clean = clean;
    CHECK_STATUS(fill(env, sp, salt, &s), FKV_OK);
    fkv_close(s);
    CHECK_STATUS(fkv_open("store", &o, &s), FKV_OK);
    for (int i = 0; i < 3; i++) CHECK_STATUS(commit_some(s, sp, salt, 5), FKV_OK);
    if (!clean) env_fault_set(env, &dead);
    fkv_close(s);
    env_fault_set(env, NULL);
    CHECK_STATUS(image_take(disk, "store", &sp->files), FKV_OK);
    env_fault_free(env);
    env_mem_free(disk);
    (void)printf("%s:", name);
    for (int i = 0; i < sp->files.count; i++)
        (void)printf(" %s %zu", sp->files.files[i].name, sp->files.files[i].size);
    (void)printf(", %d commits, %d in tables\n", sp->commits, sp->in_tables);
}

static void specimens(void)
{
    if (closed_store.commits) return;
    make(&closed_store, "closed", 1000, 1);
    make(&dead_store, "dead", 1000 + 660 * 5, 0);
    make(&other_store, "other", 1000 + 660 * 11, 0);
}

/* -- looking at a damaged one --------------------------------------------------------------- */

static int names_a_file(const specimen *sp, const char *text)
{
    for (int i = 0; i < sp->files.count; i++)
        if (strstr(text, sp->files.files[i].name)) return 1;
    return strstr(text, "log segment") != NULL;
}

static void check_refusal(const specimen *sp, fkv_status rc)
{
    int right = rc == FKV_CORRUPT || rc == FKV_UNSUPPORTED;

    if (!right || !names_a_file(sp, fkv_errmsg())) {
        check_failures++;
        (void)printf("status %s, text \"%s\"\n", fkv_status_name(rc), fkv_errmsg());
    }
}

/* Open and read. oldest: commits that must be there. */
static verdict examine(const specimen *sp, const image *im, int read_only, int oldest)
{
    verdict result = SILENT;
    fkv_env *env = NULL;
    fkv_store *s = NULL;
    fkv_options o;
    int same = 0;
    fkv_status rc;

    if (env_mem_new(&env) || image_put(env, "store", im)) abort();
    o = small_store(env);
    o.read_only = read_only;
    o.create = 0;
    rc = fkv_open("store", &o, &s);
    if (!rc) rc = crash_compare(s, NULL, &sp->after[sp->commits], &same);
    if (rc) {
        check_refusal(sp, rc);
        result = same || !s ? REFUSED : SILENT;
    } else if (same) {
        result = SAME;
    } else {
        for (int k = sp->commits - 1; k >= oldest && result == SILENT; k--)
            if (crash_is(s, &sp->after[k])) result = OLDER;
    }
    fkv_close(s);
    env_mem_free(env);
    counts[result]++;
    mishaps++;
    return result;
}

static void report(const char *what)
{
    (void)printf("%s: %" PRIu64 " refused, %" PRIu64 " without effect, %" PRIu64
                 " end of a dead log, %" PRIu64 " SILENT\n",
                 what, counts[REFUSED], counts[SAME], counts[OLDER], counts[SILENT]);
    CHECK(counts[SILENT] == 0);
    memset(counts, 0, sizeof counts);
}

static int is_log(const image_file *f)
{
    return strstr(f->name, ".wal") != NULL;
}

static size_t used_bytes(const image_file *f)
{
    size_t n = f->size;

    while (n && !f->bytes[n - 1]) n--;
    return (n + 7) / 8 * 8;
}

static int is_last_log(const image *im, int i)
{
    for (int j = i + 1; j < im->count; j++)
        if (is_log(&im->files[j])) return 0;
    return is_log(&im->files[i]);
}

/* -- bits ----------------------------------------------------------------------------------- */

static void flip(specimen *sp, int i, size_t at, int bit)
{
    image_file *f = &sp->files.files[i];
    size_t used = used_bytes(f);
    int at_end = !sp->clean && is_last_log(&sp->files, i) && at + RECORD_HEADER >= used &&
                 at < used;
    verdict v;

    flips++;
    f->bytes[at] ^= (uint8_t)(1 << bit);
    v = examine(sp, &sp->files, (int)check_below(2), sp->commits - at_end);
    f->bytes[at] ^= (uint8_t)(1 << bit);
    if (v == SILENT)
        (void)printf("SILENT: %s %s, offset %zu of %zu, bit %d\n", sp->name, f->name, at, used,
                     bit);
}

static void flip_all(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++) {
        const image_file *f = &sp->files.files[i];
        size_t used = is_log(f) ? used_bytes(f) + RECORD_HEADER : f->size;
        for (size_t at = 0; at < f->size;
             at += 1 + check_below(at < used ? 2 * STRIDE - 1 : 2000)) {
            if (crash_scale() == 1) {
                flip(sp, i, at, (int)check_below(8));
            } else {
                for (int bit = 0; bit < 8; bit++) flip(sp, i, at, bit);
            }
        }
    }
    report(sp->name);
}

static void a_flipped_bit_after_a_close(void)
{
    specimens();
    flip_all(&closed_store);
}

static void a_flipped_bit_after_a_death(void)
{
    specimens();
    flip_all(&dead_store);
}

/* -- whole files ---------------------------------------------------------------------------- */

/* Commits that must be found although file i has only `size` bytes: a log that a death has left
** may end anywhere behind its header. The manifest names it: it cannot be gone, or headless. */
static int oldest_within(const specimen *sp, int i, size_t size)
{
    int dead_end = !sp->clean && is_last_log(&sp->files, i) && size >= SEGMENT_HEADER;
    return dead_end ? sp->in_tables : sp->commits;
}

static void try_one(specimen *sp, const image *im, int i, const char *what, size_t size)
{
    if (examine(sp, im, (int)check_below(2), oldest_within(sp, i, size)) == SILENT)
        (void)printf("SILENT: %s %s %s %zu\n", sp->name, im->files[i].name, what, size);
}

static void missing_files(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++) {
        image im = sp->files;
        im.files[i].bytes = NULL;
        try_one(sp, &im, i, "missing", 0);
    }
    report("missing");
}

static void short_files(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++) {
        size_t size = sp->files.files[i].size, used = used_bytes(&sp->files.files[i]);
        for (size_t n = 0; n < size; n += n < used + 64 ? 64 : 4096) {
            image im = sp->files;
            im.files[i].size = n;
            try_one(sp, &im, i, "cut to", n);
        }
        if (size) {
            image im = sp->files;
            im.files[i].size = size - 1;
            try_one(sp, &im, i, "cut to", size - 1);
        }
    }
    report("truncated");
}

static void zeroed_and_longer(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++) {
        image im = sp->files;
        image_file *f = &im.files[i];
        uint8_t *bytes = calloc(1, f->size + 100); /* lint: allow banned -- a test's own memory */
        if (!bytes) abort();
        f->bytes = bytes;
        try_one(sp, &im, i, "all zeros", 0);
        memcpy(bytes, sp->files.files[i].bytes, f->size);
        f->size += 100;
        try_one(sp, &im, i, "followed by zeros", f->size);
        free(bytes); /* lint: allow banned -- a test's own memory */
    }
    report("zeroed, longer");
}

static void swapped_files(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++)
        for (int j = i + 1; j < sp->files.count; j++) {
            image im = sp->files;
            image_file a = im.files[i], b = im.files[j];
            im.files[i].bytes = b.bytes;
            im.files[i].size = b.size;
            im.files[j].bytes = a.bytes;
            im.files[j].size = a.size;
            if (examine(sp, &im, (int)check_below(2), sp->commits) == SILENT)
                (void)printf("SILENT: %s %s and %s swapped\n", sp->name, a.name, b.name);
        }
    report("swapped");
}

/* A file of another store, made by the same history with other values, under the same name. */
static void foreign_files(specimen *sp)
{
    for (int i = 0; i < sp->files.count; i++)
        for (int j = 0; j < other_store.files.count; j++) {
            image im = sp->files;
            const image_file *f = &other_store.files.files[j];
            if (strcmp(f->name, im.files[i].name) != 0) continue;
            im.files[i].bytes = f->bytes;
            im.files[i].size = f->size;
            try_one(sp, &im, i, "from another store", f->size);
        }
    report("foreign");
}

static void whole_files_after_a_close(void)
{
    specimens();
    missing_files(&closed_store);
    short_files(&closed_store);
    zeroed_and_longer(&closed_store);
    swapped_files(&closed_store);
    foreign_files(&closed_store);
}

static void whole_files_after_a_death(void)
{
    specimens();
    missing_files(&dead_store);
    short_files(&dead_store);
    zeroed_and_longer(&dead_store);
    swapped_files(&dead_store);
    foreign_files(&dead_store);
}

static void clean_up(void)
{
    (void)printf("POINTS bit-flip flips %" PRIu64 "\n", flips);
    (void)printf("POINTS damage files %" PRIu64 "\n", mishaps - flips);
    image_free(&closed_store.files);
    image_free(&dead_store.files);
    image_free(&other_store.files);
}

TEST_MAIN("test_damage", TEST_CASE(a_flipped_bit_after_a_close),
          TEST_CASE(a_flipped_bit_after_a_death), TEST_CASE(whole_files_after_a_close),
          TEST_CASE(whole_files_after_a_death), TEST_CASE(clean_up))
