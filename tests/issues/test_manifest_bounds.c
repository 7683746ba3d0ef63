/*
** A manifest whose checksum is right and whose word about a table is wrong: bounds narrower than
** the table's keys, bounds the wrong way round, other counts, a counter about to wrap. It was
** believed: walks showed rows that gets missed, and fkv_verify found nothing. An estimate made of
** counts that cannot be overflowed. (Found by fuzz/test_fuzz_store and _manifest.)
*/
#include "check.h"
#include "fastkv.h"
#include "forge_util.h"

enum { ROWS = 40 };

typedef enum change {
    RAISE_SMALLEST,
    LOWER_LARGEST,
    TURN_ROUND,
    OTHER_COUNT,
    MORE_DELETIONS,
    HUGE_COUNTS,
    LAST_NUMBERS,
    LAST_FILES,
    CHANGES
} change;

static fkv_status make_store(fkv_env *env)
{
    fkv_options o = small_store(env);
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    fkv_status rc = fkv_open("s", &o, &s);

    if (!rc) rc = fkv_txn_new(s, &t);
    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; !rc && i < ROWS; i++) {
        char key[16];
        fkv_slice k = fkv_slice_of(key, (size_t)snprintf(key, sizeof key, "key%03d", i));
        rc = fkv_txn_put(t, k, k);
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_SYNC);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    if (!rc) rc = fkv_flush(s);
    fkv_close(s);
    return rc;
}

static void tamper(file_meta *f, change what)
{
    table_summary *s = &f->summary;

    if (what == RAISE_SMALLEST) buf_set(&s->smallest, fkv_slice_of("key005", 6));
    if (what == LOWER_LARGEST) buf_set(&s->largest, fkv_slice_of("key030", 6));
    if (what == TURN_ROUND) buf_set(&s->smallest, fkv_slice_of("z", 1));
    if (what == OTHER_COUNT) s->entries++;
    if (what == MORE_DELETIONS) s->deletions = s->entries + 1;
    if (what == HUGE_COUNTS) s->entries = s->raw_bytes = UINT64_MAX;
}

static void forge(void *arg, manifest *m, version *v)
{
    change what = *(const change *)arg;

    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < v->levels[i].count; j++) tamper(v->levels[i].files[j], what);
    if (what == LAST_FILES) m->next_number = ((uint64_t)1 << 61) + 1;
    if (what == LAST_NUMBERS) m->last_seq = UINT64_MAX - 3;
}

static void a_forged_manifest_is_found_out(void)
{
    for (change what = 0; what < CHANGES; what++) {
        fkv_env *env = NULL;
        fkv_store *s = NULL;
        fkv_options o;
        fkv_status rc;
        REQUIRE_OK(env_mem_new(&env));
        o = small_store(env);
        REQUIRE_OK(make_store(env));
        REQUIRE_OK(fkv_open("s", &o, &s));
        CHECK_STATUS(fkv_verify(s), FKV_OK);
        fkv_close(s);
        REQUIRE_OK(forge_manifest(env, forge, &what));
        rc = fkv_open("s", &o, &s);
        if (!rc) { /* it asks the manifest alone */
            uint64_t rows = 0, bytes = 0;
            fkv_estimate(s, fkv_slice_of(NULL, 0), fkv_slice_of("~", 1), &rows, &bytes);
            CHECK(rows <= INT64_MAX && bytes <= INT64_MAX);
            rc = fkv_verify(s);
        }
        CHECK_STATUS(rc, FKV_CORRUPT);
        CHECK(strstr(fkv_errmsg(), "manifest"));
        fkv_close(s);
        env_mem_free(env);
    }
}

TEST_MAIN("test_manifest_bounds", TEST_CASE(a_forged_manifest_is_found_out))
