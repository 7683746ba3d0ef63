/*
** Who comes to a busy store borrows the memtables of who writes (engine/store/borrow.c): the rows
** are those that the log would have given, and they stay so whatever the owner does next.
*/
#include "processes/world.h"

#include "fastkv.h"
#include "store/store.h"

enum { KEYS = 300, KEY = 8, MEMTABLE = 1 << 16 };

typedef struct scene {
    world w;
    process first, second, third;
    fkv_store *owner;
    uint32_t values[KEYS]; /* 0: no row */
} scene;

static fkv_status open_as(process *p, fkv_store **out)
{
    fkv_options o = {
        .env = &p->env, .create = 1, .memtable_bytes = MEMTABLE, .inline_background = 1};

    *out = NULL;
    return fkv_open("store", &o, out);
}

static void begin(scene *c)
{
    *c = (scene){.owner = NULL};
    world_begins(&c->w);
    process_begins(&c->first, &c->w);
    process_begins(&c->second, &c->w);
    process_begins(&c->third, &c->w);
    REQUIRE_OK(open_as(&c->first, &c->owner));
}

static void end(scene *c)
{
    fkv_close(c->owner);
    world_ends(&c->w);
}

static fkv_slice key_of(uint32_t i, char key[KEY])
{
    return fkv_slice_of(key, (size_t)snprintf(key, KEY, "k%05u", i));
}

/* Commit `count` rows at keys drawn, some of them deletions. */
static fkv_status write_rows(scene *c, fkv_store *s, int count)
{
    static uint32_t number = 0;
    char key[KEY], value[64] = {0};
    uint32_t next[KEYS];
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    memcpy(next, c->values, sizeof next);
    if (!rc) rc = fkv_txn_begin(t, 0);
    for (int i = 0; !rc && i < count; i++) {
        uint32_t k = (uint32_t)check_below(KEYS);
        next[k] = check_below(5) ? ++number : 0;
        memcpy(value, &next[k], sizeof next[k]);
        rc = next[k] ? fkv_txn_put(t, key_of(k, key), fkv_slice_of(value, sizeof value))
                     : fkv_txn_delete(t, key_of(k, key));
    }
    if (!rc) rc = fkv_txn_prepare(t, FKV_NONE);
    if (!rc) fkv_txn_commit(t);
    if (!rc) memcpy(c->values, next, sizeof next);
    fkv_txn_free(t);
    return rc;
}

static int is_value(fkv_slice v, uint32_t number)
{
    return v.size == 64 && memcmp(v.data, &number, sizeof number) == 0;
}

/* Both ways to read, and nothing but what is wanted. */
static int shows(fkv_snapshot *snap, const uint32_t *values)
{
    fkv_cursor *walk = NULL;
    char key[KEY];
    int good = 1;

    if (fkv_cursor_new(snap, NULL, &walk)) return 0;
    fkv_cursor_first(walk);
    for (uint32_t i = 0; i < KEYS; i++) {
        fkv_value v = {0};
        fkv_status rc = fkv_get(snap, NULL, key_of(i, key), &v);
        good &= values[i] ? !rc && is_value(v.value, values[i]) : rc == FKV_NOTFOUND;
        fkv_value_release(&v);
        if (!values[i]) continue;
        good &= fkv_cursor_valid(walk) && slice_equal(fkv_cursor_key(walk), key_of(i, key)) &&
                is_value(fkv_cursor_value(walk), values[i]);
        if (fkv_cursor_valid(walk)) fkv_cursor_next(walk);
    }
    good &= !fkv_cursor_valid(walk) && !fkv_cursor_status(walk);
    fkv_cursor_free(walk);
    return good;
}

static int agrees(const scene *c, fkv_store *s)
{
    fkv_snapshot *snap = NULL;
    int good = !fkv_snapshot_new(s, &snap) && shows(snap, c->values);

    fkv_snapshot_release(snap);
    return good;
}

static size_t borrowed(const fkv_store *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->current->sealed_count; i++) n += s->current->sealed[i]->borrowed != 0;
    return n;
}

/* What it has read of the log instead. */
static uint64_t applied(const fkv_store *s)
{
    return atomic_load(&s->active->records);
}

static void who_comes_borrows(void)
{
    scene c;
    fkv_store *s = NULL;
    fkv_snapshot *snap = NULL;
    uint32_t then[KEYS];

    begin(&c);
    for (int i = 0; i < 20; i++) REQUIRE_OK(write_rows(&c, c.owner, 5));
    REQUIRE_OK(open_as(&c.second, &s));
    CHECK(borrowed(s) == 1 && applied(s) == 0 && agrees(&c, s));
    REQUIRE_OK(fkv_snapshot_new(s, &snap));
    memcpy(then, c.values, sizeof then);
    for (int i = 0; i < 20; i++) {
        REQUIRE_OK(write_rows(&c, i % 3 ? c.owner : s, 5));
        CHECK(agrees(&c, s) && agrees(&c, c.owner) && shows(snap, then));
    }
    CHECK(borrowed(s) == 1 && applied(s) > 0);
    CHECK_STATUS(fkv_verify(s), FKV_OK);
    fkv_snapshot_release(snap);
    fkv_close(c.owner);
    CHECK(agrees(&c, s));
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK(borrowed(s) == 0 && agrees(&c, s));
    c.owner = s;
    end(&c);
}

/* The owner makes its next memtables where the last one was, unless somebody still reads that. */
static void what_is_borrowed_stays(void)
{
    scene c;
    fkv_store *s = NULL;
    fkv_snapshot *snap = NULL;
    uint32_t then[KEYS];

    begin(&c);
    for (int i = 0; i < 3; i++) { /* the arena has been used before */
        REQUIRE_OK(write_rows(&c, c.owner, 20));
        CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    }
    REQUIRE_OK(write_rows(&c, c.owner, 50));
    REQUIRE_OK(open_as(&c.second, &s));
    CHECK(borrowed(s) == 1 && applied(s) == 0);
    REQUIRE_OK(fkv_snapshot_new(s, &snap));
    memcpy(then, c.values, sizeof then);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 20; j++) REQUIRE_OK(write_rows(&c, c.owner, 5));
        CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
        CHECK(shows(snap, then));
    }
    CHECK(agrees(&c, s) && borrowed(s) == 0);
    fkv_snapshot_release(snap);
    fkv_close(s);
    end(&c);
}

/* A memtable that is full, and cannot be flushed just now, and the one after it. */
static void a_chain_of_them(void)
{
    scene c;
    fkv_store *s = NULL;

    begin(&c);
    REQUIRE_OK(write_rows(&c, c.owner, 5));
    CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    c.first.refuses = "file_rename";
    while (c.owner->current->sealed_count == 0) REQUIRE_OK(write_rows(&c, c.owner, 5));
    REQUIRE_OK(write_rows(&c, c.owner, 5));
    c.first.refuses = NULL;
    REQUIRE_OK(open_as(&c.second, &s));
    CHECK(borrowed(s) == 2 && applied(s) == 0 && agrees(&c, s));
    CHECK_STATUS(fkv_flush(s), FKV_OK); /* for its owner, who takes it up */
    CHECK(borrowed(s) == 0 && agrees(&c, s) && agrees(&c, c.owner));
    CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    CHECK(agrees(&c, s) && agrees(&c, c.owner));
    fkv_close(s);
    end(&c);
}

/* Its tables are newer than what is in memory before it, and no manifest names them yet. */
static void beside_a_spilled_transaction(void)
{
    scene c;
    fkv_store *s = NULL, *other = NULL;

    begin(&c);
    REQUIRE_OK(write_rows(&c, c.owner, 20));
    REQUIRE_OK(write_rows(&c, c.owner, 500));
    REQUIRE_OK(write_rows(&c, c.owner, 5));
    REQUIRE_OK(open_as(&c.second, &s));
    CHECK(c.owner->loose_count > 0 && borrowed(s) == 0);
    CHECK(agrees(&c, s) && agrees(&c, c.owner));
    CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    REQUIRE_OK(write_rows(&c, c.owner, 5));
    CHECK(agrees(&c, s));
    REQUIRE_OK(open_as(&c.third, &other));
    CHECK(borrowed(other) == 1 && applied(other) == 0 && agrees(&c, other));
    fkv_close(other);
    fkv_close(s);
    end(&c);
}

/* One that only reads. */
static void a_reader_borrows(void)
{
    scene c;
    fkv_store *s = NULL;
    fkv_options o = {.read_only = 1};

    begin(&c);
    for (int i = 0; i < 20; i++) REQUIRE_OK(write_rows(&c, c.owner, 5));
    c.second.reads_only = 1;
    o.env = &c.second.env;
    REQUIRE_OK(fkv_open("store", &o, &s));
    CHECK(borrowed(s) == 1 && applied(s) == 0 && agrees(&c, s));
    for (int i = 0; i < 20; i++) {
        REQUIRE_OK(write_rows(&c, c.owner, 5));
        CHECK(agrees(&c, s));
    }
    CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    CHECK(agrees(&c, s) && borrowed(s) == 0);
    fkv_close(s);
    end(&c);
}

/* Many of them write a row or two: what they have borrowed its owner will flush. */
static void short_lives_flush_nothing(void)
{
    scene c;
    uint64_t edit;

    begin(&c);
    REQUIRE_OK(write_rows(&c, c.owner, 50));
    edit = atomic_load(&store_page(c.owner)->edit);
    for (int i = 0; i < 10; i++) {
        fkv_store *s = NULL;
        REQUIRE_OK(open_as(&c.second, &s));
        CHECK(borrowed(s) == 1);
        REQUIRE_OK(write_rows(&c, s, 2));
        CHECK(borrowed(s) == 1 && atomic_load(&s->counters.flushes) == 0);
        fkv_close(s);
        CHECK(agrees(&c, c.owner));
    }
    CHECK(atomic_load(&store_page(c.owner)->edit) == edit);
    end(&c);
}

/* The owner is gone, with the process or without it, or sleeps while others write and flush. */
static void an_owner_that_is_gone(void)
{
    for (int how = 0; how < 3; how++) {
        scene c;
        fkv_store *s = NULL, *other = NULL;
        begin(&c);
        for (int i = 0; i < 10; i++) REQUIRE_OK(write_rows(&c, c.owner, 5));
        REQUIRE_OK(open_as(&c.second, &s));
        if (how == 0) {
            process_dies(&c.first);
        } else if (how == 1) {
            fkv_close(c.owner);
            c.owner = NULL;
        }
        for (int i = 0; i < 10; i++) REQUIRE_OK(write_rows(&c, s, 5));
        REQUIRE_OK(open_as(&c.third, &other));
        CHECK(agrees(&c, other) && agrees(&c, s));
        fkv_close(other);
        CHECK_STATUS(fkv_flush(s), FKV_OK);
        REQUIRE_OK(write_rows(&c, s, 5));
        REQUIRE_OK(open_as(&c.third, &other));
        CHECK(agrees(&c, other) && agrees(&c, s));
        fkv_close(other);
        fkv_close(s);
        if (how == 2) CHECK(agrees(&c, c.owner));
        end(&c);
    }
}

/* There is no such memory: everything is as it was before there was. */
static env_region *no_region(fkv_env *env, size_t size)
{
    (void)env;
    (void)size;
    return NULL;
}

static env_region *closed_region(fkv_env *env, uint64_t name, size_t writable)
{
    (void)env;
    (void)name;
    (void)writable;
    return NULL;
}

static void without_such_memory(void)
{
    for (int how = 0; how < 2; how++) {
        scene c;
        fkv_store *s = NULL;
        begin(&c);
        fkv_close(c.owner);
        if (how) c.first.env.region_new = no_region;
        if (!how) c.second.env.region_open = closed_region;
        REQUIRE_OK(open_as(&c.first, &c.owner));
        for (int i = 0; i < 10; i++) REQUIRE_OK(write_rows(&c, c.owner, 5));
        REQUIRE_OK(open_as(&c.second, &s));
        CHECK(borrowed(s) == 0 && applied(s) > 0 && agrees(&c, s));
        fkv_close(s);
        end(&c);
    }
}

static fkv_status put_hosted(fkv_store *s, const char *key, uint64_t *id)
{
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of(key, strlen(key)), fkv_slice_of("v", 1));
    if (!rc) rc = fkv_txn_prepare_hosted(t, FKV_NONE, id);
    if (!rc) fkv_txn_commit(t);
    fkv_txn_free(t);
    return rc;
}

static int has_key(fkv_snapshot *snap, const char *key)
{
    fkv_value v = {0};
    fkv_status rc = fkv_get(snap, NULL, fkv_slice_of(key, strlen(key)), &v);

    fkv_value_release(&v);
    return rc == FKV_OK;
}

/* What a reader had before a writer came is no view of what that one has done since. */
static void views_from_before_a_writer(void)
{
    scene c;
    fkv_store *s = NULL;
    fkv_options o = {.read_only = 1};
    uint64_t first, second, third, fourth;
    fkv_snapshot *snap = NULL;
    fkv_status rc;

    begin(&c);
    REQUIRE_OK(put_hosted(c.owner, "a", &first));
    fkv_close(c.owner);
    c.second.reads_only = 1;
    o.env = &c.second.env;
    REQUIRE_OK(fkv_open("store", &o, &s)); /* alone */
    REQUIRE_OK(open_as(&c.first, &c.owner));
    REQUIRE_OK(put_hosted(c.owner, "b", &second));
    REQUIRE_OK(put_hosted(c.owner, "c", &third));
    CHECK_STATUS(fkv_flush(c.owner), FKV_OK);
    REQUIRE_OK(put_hosted(c.owner, "d", &fourth));
    rc = fkv_snapshot_as_of(s, second, &snap);
    CHECK(rc == FKV_OK || rc == FKV_BUSY);
    if (!rc) CHECK(has_key(snap, "a") && has_key(snap, "b") && !has_key(snap, "c"));
    fkv_snapshot_release(snap);
    REQUIRE_OK(fkv_snapshot_as_of(s, third, &snap));
    CHECK(has_key(snap, "b") && has_key(snap, "c") && !has_key(snap, "d"));
    fkv_snapshot_release(snap);
    fkv_close(s);
    end(&c);
}

/* Short lives that overlap: the last of them leaves a short log, and no table. */
static void the_last_close_flushes_little(void)
{
    scene c;
    fkv_store *s = NULL;

    begin(&c);
    for (int round = 0; round < 3; round++) {
        REQUIRE_OK(write_rows(&c, c.owner, 1));
        REQUIRE_OK(open_as(&c.second, &s));
        CHECK(borrowed(s) == 1);
        fkv_close(c.owner);
        REQUIRE_OK(write_rows(&c, s, 1));
        fkv_close(s);
        REQUIRE_OK(open_as(&c.first, &c.owner));
        CHECK(agrees(&c, c.owner) && c.owner->current->tables->levels[0].count == 0);
    }
    end(&c);
}

TEST_MAIN("test_borrow", TEST_CASE(who_comes_borrows), TEST_CASE(what_is_borrowed_stays),
          TEST_CASE(a_reader_borrows), TEST_CASE(a_chain_of_them),
          TEST_CASE(beside_a_spilled_transaction), TEST_CASE(short_lives_flush_nothing),
          TEST_CASE(an_owner_that_is_gone), TEST_CASE(without_such_memory),
          TEST_CASE(views_from_before_a_writer), TEST_CASE(the_last_close_flushes_little))
