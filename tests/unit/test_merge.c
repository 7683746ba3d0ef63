/*
** test_merge.c -- many sources seen as one, against a model.
**
** A pool holds the keys there are, in order: short, over three letters, the empty one and prefixes
** of each other among them. A source says for each of them what it holds (nothing, a put, a
** delete, a put that expires) and over which pieces of the pool its range tombstones lie. So the
** model knows places in the pool only, and compares no bytes: a key shows the first source that
** holds it, unless a source before that one has a tombstone over it.
**
** The fake that walks a source is as unkind as base/iter.h allows: with every move the entry it
** showed is overwritten and freed, a source without tombstones has no covers() to call, a step
** from nowhere is counted, and it counts what it is asked and how often it is closed. It can fail
** at its nth operation, and then fails for good.
*/
#include "base/alloc.h"
#include "check.h"
#include "iter/merge.h"

enum { POOL = 40, SOURCES = 12, RANGES = 3, KEY_ROOM = 24, NOWHERE = -1 };

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

/* -- keys and sources ----------------------------------------------------------------------- */

/* keys[count] lies behind all others; no source holds it. */
static struct pool {
    uint8_t bytes[POOL + 1][KEY_ROOM];
    size_t size[POOL + 1];
    int count;
} pool;

typedef struct source {
    uint8_t kind[POOL]; /* 0 = does not hold the key */
    int64_t expires[POOL];
    int from[RANGES], to[RANGES], range_count; /* tombstones over [from, to) of the pool */
    int has_ranges;
    uint64_t fail_at; /* 0 = never */
    /* what has been done to it */
    uint64_t operations;
    int failed, closes, misused;
} source;

static source sources[SOURCES];
static int source_count;

static fkv_slice key_at(int i)
{
    return fkv_slice_of(pool.bytes[i], pool.size[i]);
}

static void make_pool(int count)
{
    static const uint8_t letters[] = {0x00, 'm', 0xff};

    pool.count = 0;
    while (pool.count < count) {
        uint8_t key[KEY_ROOM] = "a common prefix:";
        size_t size = check_below(2) ? 16 : 0, extra = check_below(4);
        int at = 0, c = 1;
        for (; extra > 0; extra--) key[size++] = letters[check_below(3)];
        for (; at < pool.count; at++) {
            size_t n = size < pool.size[at] ? size : pool.size[at];
            c = memcmp(key, pool.bytes[at], n);
            if (c == 0) c = (size > pool.size[at]) - (size < pool.size[at]);
            if (c <= 0) break;
        }
        if (at < pool.count && c == 0) continue;
        memmove(pool.bytes[at + 1], pool.bytes[at], (size_t)(pool.count - at) * KEY_ROOM);
        memmove(&pool.size[at + 1], &pool.size[at], (size_t)(pool.count - at) * sizeof(size_t));
        memcpy(pool.bytes[at], key, KEY_ROOM);
        pool.size[at] = size;
        pool.count++;
    }
    memset(pool.bytes[count], 0xff, KEY_ROOM);
    pool.size[count] = KEY_ROOM;
}

static size_t value_text(int s, int key, char room[32])
{
    return (size_t)snprintf(room, 32, "source %d, key %d", s, key);
}

static void random_source(source *s)
{
    uint64_t density = check_below(5); /* some hold nothing, some nearly everything */

    memset(s, 0, sizeof *s);
    for (int i = 0; i < pool.count; i++) {
        if (check_below(4) >= density) continue;
        s->kind[i] = (uint8_t)(ENTRY_PUT + check_below(3));
        if (s->kind[i] == ENTRY_PUT_EXPIRES) s->expires[i] = (int64_t)check_below(1000);
    }
    s->has_ranges = check_below(3) == 0;
    if (s->has_ranges) s->range_count = (int)check_below(RANGES + 1);
    for (int r = 0; r < s->range_count; r++) {
        int span = (int)check_below(check_below(3) ? 5 : POOL);
        s->from[r] = (int)check_below((uint64_t)pool.count);
        s->to[r] = s->from[r] + span < pool.count ? s->from[r] + span : pool.count;
    }
}

static void random_sources(int count)
{
    source_count = count;
    for (int i = 0; i < count; i++) random_source(&sources[i]);
}

static int tombstone_over(const source *s, int key)
{
    for (int r = 0; r < s->range_count; r++)
        if (key >= s->from[r] && key < s->to[r]) return r;
    return NOWHERE;
}

/* -- the model ------------------------------------------------------------------------------ */

/* Which source a key comes from; NOWHERE if it does not come out. */
static int shown_by(int key)
{
    for (int i = 0; i < source_count; i++) {
        if (sources[i].kind[key]) return i;
        if (tombstone_over(&sources[i], key) != NOWHERE) return NOWHERE;
    }
    return NOWHERE;
}

static int model_from(int key) /* the first key at or after this one */
{
    for (; key < pool.count; key++)
        if (shown_by(key) != NOWHERE) return key;
    return NOWHERE;
}

static int model_before(int key)
{
    while (key-- > 0)
        if (shown_by(key) != NOWHERE) return key;
    return NOWHERE;
}

/* -- a source as an iterator ---------------------------------------------------------------- */

typedef struct fake {
    iter base;
    iter_entry shown;
    source *of;
    int at;
    uint8_t *room; /* holds the bytes that are shown */
} fake;

static uint64_t failures_fired;

/* Show the key at `at`; what was shown is no more. */
static void fake_show(fake *f)
{
    size_t key_size, value_size;
    uint8_t *old = f->room;
    char value[32];

    f->base.entry = NULL;
    f->room = NULL;
    if (old) {
        memset(old, 0xdd, KEY_ROOM + sizeof value);
        free(old);
    }
    if (f->at < 0 || f->at >= pool.count) return;
    key_size = pool.size[f->at];
    value_size = value_text((int)(f->of - sources), f->at, value);
    f->room = malloc(KEY_ROOM + sizeof value);
    if (!f->room) exit(2);
    memcpy(f->room, pool.bytes[f->at], key_size);
    memcpy(f->room + KEY_ROOM, value, value_size);
    f->shown = (iter_entry){.key = fkv_slice_of(f->room, key_size),
                            .value = fkv_slice_of(f->room + KEY_ROOM, value_size),
                            .expires_ms = f->of->expires[f->at],
                            .kind = f->of->kind[f->at]};
    f->base.entry = &f->shown;
}

/* Another operation: 0 if it is one that fails. */
static int fake_goes_on(fake *f)
{
    source *s = f->of;

    if (++s->operations == s->fail_at) s->failed = 1;
    if (!s->failed) return 1;
    failures_fired++;
    f->base.status = FKV_IOERR;
    return 0;
}

static void fake_move(fake *f, int at, int step)
{
    while (at >= 0 && at < pool.count && !f->of->kind[at]) at += step;
    f->at = fake_goes_on(f) ? at : NOWHERE;
    fake_show(f);
}

/* The place of the first key at or after `key`, which may be one that is shown. */
static int place_of(fkv_slice key)
{
    int at = 0;
    while (at < pool.count && slice_compare(key_at(at), key) < 0) at++;
    return at;
}

static void fake_seek(iter *it, fkv_slice key)
{
    fake_move((fake *)it, place_of(key), 1);
}

static void fake_seek_before(iter *it, fkv_slice key)
{
    fake_move((fake *)it, place_of(key) - 1, -1);
}

static void fake_first(iter *it)
{
    fake_move((fake *)it, 0, 1);
}

static void fake_last(iter *it)
{
    fake_move((fake *)it, pool.count - 1, -1);
}

static void fake_step(iter *it, int step)
{
    fake *f = (fake *)it;

    if (!it->entry) {
        f->of->misused++;
    } else {
        fake_move(f, f->at + step, step);
    }
}

static void fake_next(iter *it)
{
    fake_step(it, 1);
}

static void fake_prev(iter *it)
{
    fake_step(it, -1);
}

static int fake_covers(iter *it, fkv_slice key, fkv_slice *from, fkv_slice *to)
{
    fake *f = (fake *)it;
    int place = place_of(key), r = tombstone_over(f->of, place);

    if (!fake_goes_on(f) || r == NOWHERE || !slice_equal(key_at(place), key)) return 0;
    *from = key_at(f->of->from[r]);
    *to = key_at(f->of->to[r]);
    return 1;
}

static void fake_close(iter *it)
{
    fake *f = (fake *)it;

    f->of->closes++;
    f->at = NOWHERE;
    fake_show(f);
    free(f);
}

static const iter_ops plain_ops = {fake_seek, fake_seek_before, fake_first, fake_last,
                                   fake_next, fake_prev,        NULL,       fake_close};
static const iter_ops ranged_ops = {fake_seek, fake_seek_before, fake_first,  fake_last,
                                    fake_next, fake_prev,        fake_covers, fake_close};

static iter *fake_new(source *s)
{
    fake *f = calloc(1, sizeof *f);

    if (!f) exit(2);
    f->base.ops = s->has_ranges ? &ranged_ops : &plain_ops;
    f->base.has_ranges = (uint8_t)s->has_ranges;
    f->of = s;
    f->at = NOWHERE;
    return &f->base;
}

/* -- the walk ------------------------------------------------------------------------------- */

/* A merge of all sources; nested: some neighbours are merged among themselves first. */
static iter *merge_all(int nested)
{
    iter *children[SOURCES], *out = NULL;
    size_t n = 0;

    for (int i = 0; i < source_count; i++) {
        size_t group = nested ? check_below(4) : 0;
        if (nested && group == 0 && check_below(3) == 0) {
            CHECK_STATUS(merge_new(NULL, 0, &children[n]), FKV_OK); /* an empty one between */
            if (n + 1 < SOURCES - (size_t)(source_count - i)) {
                n++;
            } else {
                iter_close(children[n]);
            }
        }
        children[n++] = fake_new(&sources[i]);
        if (group > 1 && n >= group) {
            n -= group;
            CHECK_STATUS(merge_new(children + n, group, &out), FKV_OK);
            children[n++] = out;
        }
    }
    CHECK_STATUS(merge_new(children, n, &out), FKV_OK);
    return out;
}

static int stands_on(const iter *it, int key)
{
    char value[32];
    int s;

    if (it->status) return 0;
    if (key == NOWHERE) return it->entry == NULL;
    s = shown_by(key);
    return it->entry && slice_equal(it->entry->key, key_at(key)) &&
           slice_equal(it->entry->value, fkv_slice_of(value, value_text(s, key, value))) &&
           it->entry->kind == sources[s].kind[key] &&
           it->entry->expires_ms == sources[s].expires[key];
}

/* Whether the merge as a whole hides a key in what lies under it, and by a tombstone that holds
** the key. 0 = it says otherwise than the model. */
static int covers_rightly(iter *it, int key)
{
    fkv_slice from, to;
    int covered = 0, real = 0;

    for (int i = 0; i < source_count; i++)
        if (tombstone_over(&sources[i], key) != NOWHERE) covered = 1;
    if (!it->has_ranges) return !covered;
    if (!it->ops->covers(it, key_at(key), &from, &to)) return !covered && !it->status;
    for (int i = 0; i < source_count; i++)
        for (int r = 0; r < sources[i].range_count; r++)
            if (slice_equal(from, key_at(sources[i].from[r])) &&
                slice_equal(to, key_at(sources[i].to[r])))
                real = 1;
    return covered && real && slice_compare(from, key_at(key)) <= 0 &&
           slice_compare(to, key_at(key)) > 0;
}

enum { SEEK, SEEK_BEFORE, FIRST, LAST, NEXT, PREV, OWN_SEEK, OWN_SEEK_BEFORE, MOVES };

/* What comes next: mostly steps, in runs, turning round at any point. */
static int choose(int standing, int *towards)
{
    uint64_t dice = check_below(16);

    if (dice < 4) *towards = check_below(2) ? NEXT : PREV;
    if (standing && dice < 12) return *towards;
    if (standing && check_below(4) == 0) return OWN_SEEK + (int)check_below(2);
    return (int)check_below(4);
}

/* Move the merge and the model; the place where the model is afterwards. */
static int move(iter *it, int how, int at, int target)
{
    switch (how) {
    case SEEK:
        it->ops->seek(it, key_at(target));
        return model_from(target);
    case SEEK_BEFORE:
        it->ops->seek_before(it, key_at(target));
        return model_before(target);
    case FIRST:
        it->ops->first(it);
        return model_from(0);
    case LAST:
        it->ops->last(it);
        return model_before(pool.count);
    case NEXT:
        it->ops->next(it);
        return model_from(at + 1);
    case PREV:
        it->ops->prev(it);
        return model_before(at);
    case OWN_SEEK:
        it->ops->seek(it, it->entry->key);
        return at;
    default:
        it->ops->seek_before(it, it->entry->key);
        return model_before(at);
    }
}

/* Walk at random until the model is contradicted or a source has failed. 1 = all was right. */
static int walk(iter *it, int steps, int with_own)
{
    int at = NOWHERE, towards = NEXT;

    for (int i = 0; i < steps; i++) {
        int target = (int)check_below((uint64_t)pool.count + 1), was = at;
        int how = choose(at != NOWHERE, &towards);
        uint64_t fired = failures_fired;
        if (how >= OWN_SEEK && !with_own) continue;
        at = move(it, how, at, target);
        if (failures_fired != fired) return it->status == FKV_IOERR && !it->entry;
        if (!stands_on(it, at)) {
            (void)printf("move %d from %d (target %d) does not stand on %d: %s, status %d\n", how,
                         was, target, at, it->entry ? "entry" : "none", it->status);
            return 0;
        }
        if (check_below(8)) continue;
        target = (int)check_below((uint64_t)pool.count);
        if (covers_rightly(it, target)) continue;
        return failures_fired != fired && it->status == FKV_IOERR;
    }
    return 1;
}

static int each_closed(int times)
{
    for (int i = 0; i < source_count; i++)
        if (sources[i].closes != times || sources[i].misused) return 0;
    return 1;
}

static void random_walks(int with_own, int nested)
{
    failures_fired = 0;
    for (int round = 0; round < 1500 * scale(); round++) {
        int failures = check_failures;
        iter *it;
        make_pool(1 + (int)check_below(POOL));
        random_sources((int)check_below(SOURCES + 1));
        it = merge_all(nested && source_count > 1);
        CHECK(!it->entry && !it->status);
        CHECK(walk(it, 60, with_own));
        CHECK(each_closed(0));
        iter_close(it);
        CHECK(each_closed(1));
        if (check_failures != failures) return;
    }
}

static void walks_of_every_kind(void)
{
    random_walks(0, 0);
}

static void merges_of_merges(void)
{
    random_walks(0, 1);
}

/* The slice that the entry shows goes with the first child that moves. */
static void seeks_to_the_key_it_shows(void)
{
    random_walks(1, 0);
}

/* Whole scans, both ways, with a turn at every key. */
static void turning_at_every_key(void)
{
    for (int round = 0; round < 300 * scale(); round++) {
        iter *it;
        int at;
        make_pool(1 + (int)check_below(POOL));
        random_sources(2 + (int)check_below(SOURCES - 1));
        it = merge_all(0);
        it->ops->first(it);
        for (at = model_from(0); at != NOWHERE; at = model_from(at + 1)) {
            REQUIRE(stands_on(it, at));
            it->ops->prev(it);
            REQUIRE(stands_on(it, model_before(at)));
            if (it->entry) {
                it->ops->next(it);
            } else { /* fell off the beginning */
                it->ops->seek(it, key_at(at));
            }
            REQUIRE(stands_on(it, at));
            it->ops->next(it);
        }
        REQUIRE(stands_on(it, NOWHERE));
        it->ops->last(it);
        for (at = model_before(pool.count); at != NOWHERE; at = model_before(at)) {
            REQUIRE(stands_on(it, at));
            it->ops->next(it);
            REQUIRE(stands_on(it, model_from(at + 1)));
            if (it->entry) {
                it->ops->prev(it);
            } else {
                it->ops->seek_before(it, key_at(at + 1));
            }
            REQUIRE(stands_on(it, at));
            it->ops->prev(it);
        }
        REQUIRE(stands_on(it, NOWHERE));
        iter_close(it);
    }
}

/* -- errors --------------------------------------------------------------------------------- */

/* A child that has failed is heard in the very call, what came before it was right, and no later
** call passes over it. */
static void a_child_fails(void)
{
    uint64_t fired = 0, silent = 0;

    for (int round = 0; round < 3000 * scale(); round++) {
        int failures = check_failures;
        iter *it;
        failures_fired = 0;
        make_pool(1 + (int)check_below(POOL));
        random_sources(2 + (int)check_below(SOURCES - 1));
        sources[check_below((uint64_t)source_count)].fail_at = 1 + check_below(40);
        it = merge_all(check_below(4) == 0);
        CHECK(walk(it, 60, 0));
        for (int i = 0; failures_fired && i < 4; i++) {
            (void)move(it, SEEK + (int)check_below(4), 0, (int)check_below((uint64_t)pool.count));
            CHECK(it->status == FKV_IOERR && !it->entry);
        }
        fired += failures_fired != 0;
        silent += failures_fired == 0;
        iter_close(it);
        CHECK(each_closed(1));
        if (check_failures != failures) return;
    }
    CHECK(fired > 300 && silent > 30);
}

/* Asked from outside whether it covers a key, the merge passes on that a child could not say. */
static void covers_fails(void)
{
    fkv_slice from, to;
    iter *it;

    make_pool(4);
    random_sources(3);
    for (int i = 0; i < 3; i++) {
        memset(&sources[i], 0, sizeof sources[i]);
        sources[i].has_ranges = 1;
    }
    sources[1].fail_at = 2;
    sources[2].range_count = 1;
    sources[2].to[0] = 2;
    it = merge_all(0);
    CHECK(it->has_ranges && it->ops->covers(it, key_at(0), &from, &to) == 1);
    CHECK(it->ops->covers(it, key_at(0), &from, &to) == 0);
    CHECK(it->status == FKV_IOERR);
    iter_close(it);
    CHECK(each_closed(1));
}

/* -- few children, no memory ---------------------------------------------------------------- */

static void of_none_and_of_one(void)
{
    iter *it, *only;

    make_pool(POOL);
    random_sources(0);
    REQUIRE_OK(merge_new(NULL, 0, &it));
    CHECK(walk(it, 100, 1) && !it->has_ranges);
    iter_close(it);
    for (int round = 0; round < 20; round++) {
        random_sources(1);
        only = fake_new(&sources[0]);
        REQUIRE_OK(merge_new(&only, 1, &it));
        CHECK(walk(it, 100, 1));
        iter_close(it);
        CHECK(each_closed(1));
    }
}

static uint64_t refuse_at, asked;
static int64_t held;

static void *failing_resize(void *ptr, size_t size)
{
    void *got = ++asked == refuse_at ? NULL : realloc(ptr, size);
    if (got && !ptr) held++;
    return got;
}

static void counting_release(void *ptr)
{
    held--;
    free(ptr);
}

static const alloc_hook counting_heap = {failing_resize, counting_release};

/* Whatever allocation fails, the children are closed, once, and all memory is given back. */
static void making_one_runs_out_of_memory(void)
{
    uint64_t refused = 0;

    make_pool(POOL);
    alloc_set_hook(&counting_heap);
    for (int count = 0; count <= SOURCES; count++)
        for (uint64_t n = 1;; n++) {
            iter *children[SOURCES], *it = (iter *)&pool;
            fkv_status rc;
            random_sources(count);
            for (int i = 0; i < count; i++) children[i] = fake_new(&sources[i]);
            asked = 0;
            held = 0;
            refuse_at = n;
            rc = merge_new(children, (size_t)count, &it);
            refuse_at = 0;
            CHECK(rc == (asked >= n ? FKV_NOMEM : FKV_OK));
            CHECK((it == NULL) == (rc != FKV_OK));
            CHECK(each_closed(rc != FKV_OK));
            if (rc == FKV_OK) CHECK(walk(it, 20, 0));
            iter_close(it);
            CHECK(each_closed(1));
            CHECK(held == 0);
            if (rc == FKV_OK) break;
            refused++;
        }
    alloc_set_hook(NULL);
    CHECK(refused >= SOURCES); /* a merge of several does allocate */
}

/* Turning round remembers a key: without memory it is an error, and a seek makes it good. */
static void turning_runs_out_of_memory(void)
{
    alloc_set_hook(&counting_heap);
    for (int forward = 0; forward < 2; forward++) {
        iter *it;
        make_pool(POOL);
        random_sources(3);
        for (int i = 0; i < POOL; i++) sources[0].kind[i] = ENTRY_PUT;
        it = merge_all(0);
        (void)move(it, forward ? FIRST : LAST, 0, 0);
        CHECK(stands_on(it, forward ? 0 : POOL - 1));
        (void)move(it, forward ? NEXT : PREV, 0, 0);
        asked = 0;
        refuse_at = 1;
        (void)move(it, forward ? PREV : NEXT, 0, 0);
        refuse_at = 0;
        CHECK(asked == 1);
        CHECK(it->status == FKV_NOMEM && !it->entry);
        CHECK(walk(it, 60, 0));
        iter_close(it);
        CHECK(each_closed(1));
    }
    alloc_set_hook(NULL);
}

/* -- what it costs -------------------------------------------------------------------------- */

/* A scan moves every source once for each of its keys, and once to its beginning. A tombstone is
** passed in one seek, however much lies under it. */
static void no_more_work_than_needed(void)
{
    for (int backward = 0; backward < 2; backward++) {
        uint64_t keys = 0, before;
        iter *it;
        int at = NOWHERE, expected = 0;
        make_pool(POOL);
        random_sources(SOURCES);
        for (int i = 0; i < SOURCES; i++) {
            sources[i].has_ranges = sources[i].range_count = 0;
            for (int k = 0; k < POOL; k++) keys += sources[i].kind[k] != 0;
        }
        it = merge_all(0);
        for (int k = 0; k < POOL; k++) expected += shown_by(k) != NOWHERE;
        for ((void)move(it, backward ? LAST : FIRST, 0, 0); it->entry; expected--)
            at = move(it, backward ? PREV : NEXT, at, 0);
        CHECK(expected == 0);
        for (int i = 0; i < SOURCES; i++) keys -= sources[i].operations - 1;
        CHECK(keys == 0);
        iter_close(it);

        random_sources(2);
        memset(sources, 0, 2 * sizeof sources[0]);
        for (int k = 0; k < POOL; k++) sources[1].kind[k] = ENTRY_PUT;
        sources[0].has_ranges = sources[0].range_count = 1;
        sources[0].from[0] = 1;
        sources[0].to[0] = POOL - 1;
        it = merge_all(0);
        (void)move(it, backward ? LAST : FIRST, 0, 0);
        before = sources[1].operations;
        (void)move(it, backward ? PREV : NEXT, 0, 0);
        CHECK(stands_on(it, backward ? 0 : POOL - 1));
        CHECK(sources[1].operations == before + 2); /* a step, and a seek over it */
        iter_close(it);
    }
}

TEST_MAIN("test_merge", TEST_CASE(walks_of_every_kind), TEST_CASE(merges_of_merges),
          TEST_CASE(turning_at_every_key), TEST_CASE(a_child_fails), TEST_CASE(covers_fails),
          TEST_CASE(of_none_and_of_one), TEST_CASE(making_one_runs_out_of_memory),
          TEST_CASE(turning_runs_out_of_memory), TEST_CASE(no_more_work_than_needed),
          TEST_CASE(seeks_to_the_key_it_shows))
