/*
** test_manifest_replace.c -- one manifest takes another's place, or does not.
**
** What fails here when manifest_save or manifest_load is wrong:
**
**   - after a power cut, a full disk or a failed sync in the middle of a replacement there is no
**     manifest, half of one, or a mixture (failures_and_cuts, first_manifest);
**   - a save that answered FKV_OK is gone after a power cut, or the new manifest is there although
**     maybe_new said that it cannot be, so that tables which it names are removed (the same); or
**     maybe_new says nothing, being always set, so that tables are never removed (no_doubt);
**   - what a failed save left behind is in the way of the next, or is taken for the manifest
**     (failures_and_cuts, leftovers);
**   - want of memory or a failed read is taken for damage, or leaks (failing_loads, no_memory).
*/
#include "manifest_model.h"

#include "base/alloc.h"

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

/* -- tests: the atomic replacement ---------------------------------------------------------- */

enum { EVERY_OP = ENV_OP_OPEN | ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_RENAME | ENV_OP_REMOVE };

/* Replace one manifest by another; an operation fails, then perhaps the power does. What is there
** must be one of the two, and which, as maybe_new and the status promise. *doubtful counts the
** saves that failed and took place all the same. */
static int replaced(disk *d, const state *old, const state *new, const env_fault *fault, int cut,
                    unsigned *doubtful)
{
    int maybe_new = -1, is_old, is_new;
    fkv_status rc;

    env_fault_set(d->fault, fault);
    rc = save(d, new, &maybe_new);
    CHECK_STATUS(rc, env_fault_fired(d->fault) ? fault->status : FKV_OK);
    env_fault_set(d->fault, NULL);
    if (cut) CHECK_STATUS(disk_crash(d, cut == 1 ? 0 : check_random()), FKV_OK);
    is_new = holds(d, new);
    if (old->v) {
        is_old = holds(d, old);
    } else {
        state none = {0};
        is_old = load(d, &none) == FKV_NOTFOUND && !none.v;
        version_unref(none.v);
    }
    CHECK(is_old != is_new);
    CHECK(maybe_new == 0 || maybe_new == 1);
    if (rc == FKV_OK) CHECK(is_new);
    if (rc && !maybe_new) CHECK(is_old);
    /* What a failed save has left to chance is not to be decided by the next one's power cut. */
    if (rc) CHECK_STATUS(d->mem->dir_sync(d->mem, d->dir), FKV_OK);
    *doubtful += rc && is_new;
    return is_new;
}

static void failures_and_cuts(void)
{
    unsigned kept = 0, replacements = 0, doubtful = 0;
    state old, new;
    disk d;

    REQUIRE_OK(disk_open(&d));
    old = state_new(8);
    CHECK(replaced(&d, &(state){0}, &old, NULL, 0, &doubtful));
    for (int round = 0; round < 3000 * scale(); round++) {
        static const fkv_status statuses[] = {FKV_IOERR, FKV_FULL, FKV_IOERR_SYNC};
        env_fault fault = {.kinds = EVERY_OP, .countdown = 1 + (uint64_t)round % 8};
        int is_new;

        fault.status = statuses[check_below(3)];
        fault.partial = (int)check_below(2);
        fault.persistent = (int)check_below(2);
        new = state_new(check_below(2) ? 8 : 1);
        is_new = replaced(&d, &old, &new, &fault, (int)check_below(3), &doubtful);
        kept += !is_new;
        replacements += is_new != 0;
        version_unref(is_new ? old.v : new.v);
        if (is_new) old = new;
    }
    CHECK(kept > 100 && replacements > 100 && doubtful > 10);
    new = state_new(8);
    CHECK(replaced(&d, &old, &new, NULL, 1, &doubtful)); /* and it goes on */
    version_unref(new.v);
    version_unref(old.v);
    disk_close(&d);
}

/* maybe_new keeps tables from being removed. It is not set when there is no doubt. */
static void no_doubt(void)
{
    static const int kinds[] = {ENV_OP_OPEN, ENV_OP_WRITE, ENV_OP_SYNC, ENV_OP_REMOVE};
    state old = state_new(4), new = state_new(4);
    int maybe_new;
    disk d;

    REQUIRE_OK(disk_open(&d));
    CHECK_STATUS(save(&d, &old, &maybe_new), FKV_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) { /* all before the renaming */
        env_fault fault = {.kinds = kinds[i], .countdown = 1, .status = FKV_FULL};
        env_fault_set(d.fault, &fault);
        CHECK_STATUS(save(&d, &new, &maybe_new), FKV_FULL);
        CHECK(maybe_new == 0 && holds(&d, &old));
    }
    env_fault_set(d.fault, NULL);
    version_unref(old.v);
    version_unref(new.v);
    disk_close(&d);
}

/* A store's first manifest replaces nothing: there is none, or it is whole. */
static void first_manifest(void)
{
    unsigned doubtful = 0;

    for (int round = 0; round < 800 * scale(); round++) {
        env_fault fault = {.kinds = EVERY_OP, .countdown = 1 + (uint64_t)round % 8};
        state s = state_new(4);
        disk d;

        REQUIRE_OK(disk_open(&d));
        fault.status = FKV_IOERR;
        fault.partial = round / 8 % 2;
        (void)replaced(&d, &(state){0}, &s, &fault, round / 16 % 3, &doubtful);
        CHECK(replaced(&d, &(state){0}, &s, NULL, 1, &doubtful));
        version_unref(s.v);
        disk_close(&d);
    }
    CHECK(doubtful > 10);
}

/* Whatever lies there as manifest.tmp is not the manifest, and not in the way. */
static void leftovers(void)
{
    uint8_t *junk = calloc(1, 100000), *bytes;
    state s = state_new(4), none = {0};
    int maybe_new;
    size_t size;
    disk d;

    if (!junk) exit(2);
    REQUIRE_OK(disk_open(&d));
    memset(junk, 0x5a, 100000);
    set_bytes(&d, FILENAME_MANIFEST_TMP, junk, 100000); /* longer than what is to be written */
    CHECK_STATUS(load(&d, &none), FKV_NOTFOUND);
    CHECK_STATUS(save(&d, &s, &maybe_new), FKV_OK);
    CHECK(holds(&d, &s));
    bytes = bytes_of(&d, FILENAME_MANIFEST, &size);
    CHECK_STATUS(d.mem->file_remove(d.mem, d.dir, FILENAME_MANIFEST), FKV_OK);
    set_bytes(&d, FILENAME_MANIFEST_TMP, bytes, size); /* whole, but never put into place */
    CHECK_STATUS(load(&d, &none), FKV_NOTFOUND);
    free(bytes);
    free(junk);
    version_unref(s.v);
    disk_close(&d);
}

/* -- tests: what is not damage -------------------------------------------------------------- */

static void failing_loads(void)
{
    static const int kinds[] = {ENV_OP_OPEN, ENV_OP_READ};
    state s = state_new(4);
    int maybe_new;
    disk d;

    REQUIRE_OK(disk_open(&d));
    CHECK_STATUS(save(&d, &s, &maybe_new), FKV_OK);
    for (size_t i = 0; i < 2; i++) {
        env_fault fault = {.kinds = kinds[i], .countdown = 1, .status = FKV_IOERR};
        state got = {0};
        env_fault_set(d.fault, &fault);
        CHECK_STATUS(load(&d, &got), FKV_IOERR);
        CHECK(!got.v && env_fault_fired(d.fault) == 1);
        CHECK(holds(&d, &s)); /* once is not for ever */
    }
    version_unref(s.v);
    disk_close(&d);
}

static int heap_left, heap_dry; /* the allocation that fails; do all that follow it fail too? */

static void *dry_resize(void *ptr, size_t size)
{
    int left = heap_left--;
    return left == 0 || (left < 0 && heap_dry) ? NULL : realloc(ptr, size);
}

/* Save and load with the nth allocation failing; *saves and *loads are how many it took. */
static void want_memory(disk *d, const state *old, const state *new, int *saves, int *loads)
{
    fkv_status rc = FKV_NOMEM;

    for (*saves = 0; rc && *saves < 1000; ++*saves) {
        int maybe_new;
        heap_left = *saves;
        rc = save(d, new, &maybe_new);
        heap_left = INT32_MAX;
        CHECK(rc == FKV_OK || rc == FKV_NOMEM);
        CHECK(rc ? holds(d, old) || (maybe_new && holds(d, new)) : holds(d, new));
    }
    for (*loads = 0, rc = FKV_NOMEM; rc && *loads < 1000; ++*loads) {
        state got = {0};
        heap_left = *loads;
        rc = load(d, &got);
        heap_left = INT32_MAX;
        CHECK(rc == FKV_NOMEM || (rc == FKV_OK && same_version(new->v, got.v)));
        CHECK((rc == FKV_OK) == (got.v != NULL));
        version_unref(got.v);
    }
}

static void no_memory(void)
{
    static const alloc_hook dry_heap = {dry_resize, free};

    alloc_set_hook(&dry_heap);
    for (heap_dry = 0; heap_dry < 2; heap_dry++) {
        int maybe_new, saves, loads;
        state old, new;
        disk d;

        heap_left = INT32_MAX;
        REQUIRE_OK(disk_open(&d));
        old = state_new(8);
        new = state_new(8);
        CHECK_STATUS(save(&d, &old, &maybe_new), FKV_OK);
        want_memory(&d, &old, &new, &saves, &loads);
        CHECK(saves > 3 && saves < 1000 && loads > 3 && loads < 1000);
        version_unref(old.v);
        version_unref(new.v);
        disk_close(&d);
    }
    alloc_set_hook(NULL);
}

TEST_MAIN("test_manifest_replace", TEST_CASE(failures_and_cuts), TEST_CASE(no_doubt),
          TEST_CASE(first_manifest), TEST_CASE(leftovers), TEST_CASE(failing_loads),
          TEST_CASE(no_memory))
