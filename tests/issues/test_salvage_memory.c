/*
** fkv_recover has one segment of the log in memory at a time.
**
** It read all of them before anything else, and kept them to the end. That were a few memtables'
** worth, but without a manifest all that is kept for the change feed is read as well.
*/
#include <malloc.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/alloc.h"
#include "check.h"
#include "fastkv.h"

enum { ROUNDS = 16, ROWS = 500, VALUE_BYTES = 2000, ROOM = 300 };

static _Atomic size_t live, peak;

static void *count_resize(void *ptr, size_t size)
{
    size_t before = ptr ? malloc_usable_size(ptr) : 0, now;
    void *p = realloc(ptr, size);

    if (!p) return NULL;
    now = atomic_fetch_add(&live, malloc_usable_size(p) - before) + malloc_usable_size(p) - before;
    if (now > atomic_load(&peak)) atomic_store(&peak, now);
    return p;
}

static void count_release(void *ptr)
{
    if (ptr) atomic_fetch_sub(&live, malloc_usable_size(ptr));
    free(ptr);
}

/* The same rows, again and again. */
static fkv_status write_round(fkv_store *s, int round)
{
    char key[16], value[VALUE_BYTES];
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    memset(value, 'a' + round, sizeof value);
    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; !rc && i < ROWS; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "%06d", i);
        rc = fkv_txn_put(t, fkv_slice_of(key, n), fkv_slice_of(value, sizeof value));
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_NONE);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc ? rc : fkv_flush(s);
}

static fkv_status count_rows(void *arg, const fkv_finding *f)
{
    if (!f->file[0] && f->rows) *(uint64_t *)arg = f->rows;
    return FKV_OK;
}

static void a_segment_at_a_time(void)
{
    static const alloc_hook hook = {count_resize, count_release};
    const char *base = getenv("FASTKV_TMP");
    fkv_options o = {.create = 1, .memtable_bytes = 4 << 20, .inline_background = 1};
    char folder[ROOM], old[ROOM * 2], new[ROOM * 2], path[ROOM * 3];
    fkv_store *s = NULL;
    uint64_t rows = 0;

    (void)snprintf(folder, sizeof folder, "%s/salvage.XXXXXX", base ? base : "/tmp");
    REQUIRE(mkdtemp(folder));
    (void)snprintf(old, sizeof old, "%s/old", folder);
    (void)snprintf(new, sizeof new, "%s/new", folder);
    REQUIRE_OK(fkv_open(old, &o, &s));
    fkv_keep_changes(s, (uint64_t)1 << 30, 0);
    for (int i = 0; i < ROUNDS; i++) CHECK_STATUS(write_round(s, i), FKV_OK);
    fkv_close(s);
    (void)snprintf(path, sizeof path, "%s/manifest", old);
    CHECK(remove(path) == 0);
    alloc_set_hook(&hook);
    CHECK_STATUS(fkv_recover(old, new, &(fkv_salvage){.found = count_rows, .arg = &rows}), FKV_OK);
    alloc_set_hook(NULL);
    CHECK(rows == ROWS);
    CHECK(atomic_load(&live) == 0);
    CHECK(atomic_load(&peak) < (size_t)ROUNDS / 2 * ROWS * VALUE_BYTES);
    (void)snprintf(path, sizeof path, "rm -r '%s'", folder);
    CHECK(system(path) == 0);
}

TEST_MAIN("test_salvage_memory", TEST_CASE(a_segment_at_a_time))
