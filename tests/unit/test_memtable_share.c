/* Memory that others may map, and memtables in it: what is not what it is called is not taken. */
#include "mem/memtable_share.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "check.h"
#include "fastkv.h"

enum { PAGE = 4096, SESSION = 77, FULL = 1 << 16 };

/* -- regions --------------------------------------------------------------------------------- */

/* How a region of this process would be called that has this descriptor. */
static uint64_t name_of(pid_t pid, int fd)
{
    return (uint64_t)pid << 24 | (uint64_t)fd;
}

/* Can it be written to? (The kernel says so without a signal.) */
static int is_writable(void *p)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(zero, p, 1);

    (void)close(zero);
    return n == 1;
}

static void a_region_has_two_sides(void)
{
    fkv_env *env = env_posix();
    env_region *ours = env->region_new(env, 16 * PAGE), *theirs;
    uint8_t *there;

    REQUIRE(ours && ours->size == 16 * PAGE);
    theirs = env->region_open(env, ours->name, PAGE);
    REQUIRE(theirs && theirs->size == ours->size && theirs->base != ours->base);
    there = theirs->base;
    for (size_t i = 0; i < ours->size; i += 1000) {
        ((uint8_t *)ours->base)[i] = (uint8_t)i;
        CHECK(there[i] == (uint8_t)i);
    }
    there[5] = 9;
    CHECK(((uint8_t *)ours->base)[5] == 9);
    CHECK(is_writable(there + PAGE - 1) && !is_writable(there + PAGE) &&
          !is_writable(there + ours->size - 1));
    env->region_free(env, ours);
    CHECK(there[7000] == (uint8_t)7000); /* it stays for those who have it */
    env->region_free(env, theirs);
    env->region_free(env, NULL);
}

/* In another process, as it is meant. */
static void another_process_finds_it(void)
{
    fkv_env *env = env_posix();
    env_region *ours = env->region_new(env, 2 * PAGE), *theirs;
    pid_t child, parent = getpid();
    int status = -1;

    REQUIRE(ours);
    CHECK(ours->name >> 24 == (uint64_t)parent);
    child = fork();
    if (child == 0) {
        theirs = env->region_open(env, ours->name, PAGE); /* by the parent's name, in /proc */
        if (theirs) ((uint8_t *)theirs->base)[0] = 42;
        _exit(theirs ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(((uint8_t *)ours->base)[0] == 42);
    env->region_free(env, ours);
}

static void what_is_none(void)
{
    fkv_env *env = env_posix();
    int file = open("/dev/zero", O_RDWR | O_CLOEXEC), pipes[2];
    int other = memfd_create("something", MFD_CLOEXEC), like = memfd_create("fastkv-memtable", 0);
    env_region *r;

    REQUIRE(file >= 0 && other >= 0 && like >= 0 && pipe(pipes) == 0);
    REQUIRE(ftruncate(other, PAGE) == 0 && ftruncate(like, PAGE) == 0);
    CHECK(!env->region_open(env, name_of(getpid(), file), PAGE));
    CHECK(!env->region_open(env, name_of(getpid(), pipes[0]), PAGE)); /* does not wait, either */
    CHECK(!env->region_open(env, name_of(getpid(), other), PAGE));
    CHECK(!env->region_open(env, name_of(getpid(), like), PAGE)); /* it might shrink */
    CHECK(!env->region_open(env, name_of(getpid(), 99999), PAGE));
    CHECK(!env->region_open(env, name_of(0x7fffffff, 3), PAGE));
    CHECK(!env->region_open(env, UINT64_MAX, PAGE) && !env->region_open(env, 0, PAGE));
    r = env->region_new(env, PAGE);
    REQUIRE(r);
    CHECK(!env->region_open(env, r->name, 2 * PAGE)); /* not so large */
    env->region_free(env, r);
    CHECK(!env->region_new(env, SIZE_MAX / 2));
    r = env->region_new(env, PAGE);
    REQUIRE(r);
    if (geteuid() == 0) { /* another user's, and we may look at everything */
        CHECK(fchown((int)(r->name & 0xffffff), 12345, 12345) == 0);
        CHECK(!env->region_open(env, r->name, PAGE));
    }
    env->region_free(env, r);
    (void)close(file), (void)close(other), (void)close(like);
    (void)close(pipes[0]), (void)close(pipes[1]);
}

/* -- memtables in them ------------------------------------------------------------------------- */

static void put(memtable *m, const char *key, uint64_t seq)
{
    uint64_t record[16];
    size_t n = mem_record_bytes(ENTRY_PUT, strlen(key), 1);

    mem_record_write(record, ENTRY_PUT, fkv_slice_of(key, strlen(key)), fkv_slice_of("v", 1), 0);
    memtable_note_log(m, seq * 100, seq - 1, 0);
    memtable_apply(m, (const uint8_t *)record, n, seq);
}

static int has(const memtable *m, const char *key, uint64_t seq)
{
    mem_view view = memtable_view(m, seq);

    return memtree_get(&m->tree, fkv_slice_of(key, strlen(key)), &view) != NULL;
}

static fkv_status borrow(uint64_t region, uint64_t generation, uint64_t session, memtable **out,
                         memtable_reach *reach)
{
    static host_points points;
    memtable_name older;

    return memtable_borrow(env_posix(), (memtable_name){region, generation}, session, out, reach,
                           &points, &older);
}

static void a_memtable_shows_what_was_told(void)
{
    host_points points = {.count = 1, .items = {{5, 4}}}, got;
    memtable *ours = NULL, *theirs = NULL, *after = NULL;
    memtable_reach reach = {10, 10, 0, 0};
    memtable_name older;
    uint64_t name;

    REQUIRE_OK(memtable_new_shared(env_posix(), NULL, FULL, 0, &ours));
    memtable_begin_at(ours, &reach, &points, NULL);
    put(ours, "a", 1);
    memtable_tell(ours, 150, 1, 6, &points);
    put(ours, "b", 2); /* it is there, and nobody has told of it */
    REQUIRE(ours->region);
    CHECK_STATUS(borrow(ours->region->name, 0, SESSION, &theirs, &reach), FKV_NOTFOUND);
    name = memtable_offer(ours, SESSION);
    CHECK(name == ours->region->name);
    CHECK_STATUS(borrow(name, 0, SESSION + 1, &theirs, &reach), FKV_NOTFOUND);
    CHECK_STATUS(borrow(name, 99, SESSION, &theirs, &reach), FKV_NOTFOUND);
    CHECK_STATUS(borrow(0, 0, SESSION, &theirs, &reach), FKV_NOTFOUND);
    REQUIRE_OK(memtable_borrow(env_posix(), (memtable_name){.region = name}, SESSION, &theirs,
                               &reach, &got, &older));
    CHECK(reach.from_lsn == 10 && reach.end_lsn == 150 && reach.seq == 1 && reach.host_id == 6);
    CHECK(got.count == 1 && got.items[0].id == 5 && got.items[0].seq_before == 4);
    CHECK(older.region == 0 && theirs->borrowed && atomic_load(&theirs->records) == 1);
    CHECK(has(theirs, "a", 9) && !has(theirs, "b", 9) && !has(theirs, "a", 0));
    memtable_tell(ours, 250, 2, 6, &points);
    REQUIRE_OK(borrow(name, 0, SESSION, &after, &reach));
    CHECK(has(after, "b", 9) && !has(theirs, "b", 9) && reach.end_lsn == 250);
    memtable_unref(ours);
    CHECK(has(theirs, "a", 9) && has(after, "b", 9));
    memtable_unref(theirs);
    memtable_unref(after);
}

/* The page that says what it is, spoilt. */
static void a_page_that_lies(void)
{
    enum { MAGIC = 8, VERSION = 56 };
    memtable *ours = NULL, *theirs = NULL;
    memtable_reach reach = {0};
    host_points points = {0};
    uint8_t *page;
    uint64_t name;

    REQUIRE_OK(memtable_new_shared(env_posix(), NULL, FULL, 0, &ours));
    memtable_begin_at(ours, &reach, &points, NULL);
    name = memtable_offer(ours, SESSION);
    REQUIRE(name);
    page = ours->region->base;
    page[MAGIC] ^= 1;
    CHECK_STATUS(borrow(name, 0, SESSION, &theirs, &reach), FKV_NOTFOUND);
    page[MAGIC] ^= 1;
    page[VERSION] |= 1; /* its owner has died in the middle of a word */
    CHECK_STATUS(borrow(name, 0, SESSION, &theirs, &reach), FKV_NOTFOUND);
    memtable_tell(ours, 1, 1, 0, &points); /* or not */
    REQUIRE_OK(borrow(name, 0, SESSION, &theirs, &reach));
    memtable_unref(theirs);
    memtable_unref(ours);
}

/* What somebody has borrowed is nobody's next memtable; what nobody has is. */
static void the_next_one(void)
{
    memtable_spare spare = {NULL};
    host_points points = {0};
    memtable_reach reach = {0};
    memtable *m = NULL, *theirs = NULL;
    uint64_t name, generation = 1;

    REQUIRE_OK(memtable_new_shared(env_posix(), &spare, FULL, 0, &m));
    REQUIRE(m->region);
    for (int taken = 0; taken < 2; taken++, generation++) {
        memtable_begin_at(m, &reach, &points, NULL);
        put(m, "a", 1 + (uint64_t)taken);
        memtable_tell(m, 1, 2, 0, &points);
        name = memtable_offer(m, SESSION);
        if (taken) REQUIRE_OK(borrow(name, generation, SESSION, &theirs, &reach));
        memtable_unref(m);
        CHECK(atomic_load(&spare.region) != NULL);
        REQUIRE_OK(memtable_new_shared(env_posix(), &spare, FULL, 0, &m));
        CHECK(memtree_empty(&m->tree) && (taken || m->region->name == name));
        put(m, taken ? "c" : "b", 1);
        if (taken) CHECK(has(theirs, "a", 2) && !has(theirs, "c", 2));
    }
    memtable_unref(theirs);
    CHECK_STATUS(borrow(m->region->name, 0, SESSION, &theirs, &reach), FKV_NOTFOUND);
    memtable_unref(m);
    memtable_spare_release(&spare, env_posix(), FULL);
    CHECK(!atomic_load(&spare.region));
}

/* A child goes on reading where the parent's next memtable would be. */
static void not_after_a_fork(void)
{
    memtable_spare spare = {NULL};
    memtable *m = NULL;
    uint8_t *arena;
    int status = -1, go[2];
    char c = 0;
    pid_t child;

    REQUIRE(pipe(go) == 0);
    REQUIRE_OK(memtable_new_shared(env_posix(), &spare, FULL, 0, &m));
    REQUIRE(m->region);
    put(m, "a", 1);
    child = fork();
    if (child == 0) _exit(read(go[0], &c, 1) == 1 && has(m, "a", 1) && !has(m, "b", 1) ? 0 : 1);
    memtable_unref(m);
    REQUIRE_OK(memtable_new_shared(env_posix(), &spare, FULL, 0, &m));
    put(m, "b", 1);
    CHECK(write(go[1], &c, 1) == 1);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    arena = m->tree.arena;
    memtable_unref(m);
    REQUIRE_OK(memtable_new_shared(env_posix(), &spare, FULL, 0, &m));
    CHECK(m->tree.arena == arena); /* made since */
    memtable_unref(m);
    memtable_spare_release(&spare, env_posix(), FULL);
    (void)close(go[0]), (void)close(go[1]);
}

/* A long transaction makes it larger before anything is in it: it is nobody's to borrow, then. */
static void one_that_grows(void)
{
    memtable *m = NULL;

    REQUIRE_OK(memtable_new_shared(env_posix(), NULL, FULL, 0, &m));
    REQUIRE_OK(memtable_room(m, 8 * FULL, 1));
    CHECK(!m->region && memtable_offer(m, SESSION) == 0);
    put(m, "a", 1);
    CHECK(has(m, "a", 1));
    memtable_unref(m);
}

/* More hosted transactions than are remembered, told one by one and all at once. */
static void hosted_transactions(void)
{
    host_points points = {0}, got;
    memtable *m = NULL, *theirs = NULL;
    memtable_reach reach = {0};
    memtable_name older;

    REQUIRE_OK(memtable_new_shared(env_posix(), NULL, FULL, 0, &m));
    memtable_begin_at(m, &reach, &points, NULL);
    REQUIRE(memtable_offer(m, SESSION));
    for (int i = 0; i < 3000; i++) {
        if (i == 2000) points = (host_points){.floor = 2000}; /* begun anew */
        points.items[points.count % HOST_POINTS] = (host_point){(uint64_t)i, check_random()};
        points.count++;
        if (check_below(20) && i < 2999) continue;
        memtable_tell(m, 1, 1, 0, &points);
        REQUIRE_OK(memtable_borrow(env_posix(), (memtable_name){.region = m->region->name}, SESSION,
                                   &theirs, &reach, &got, &older));
        CHECK(got.count == points.count && got.floor == points.floor);
        for (uint64_t j = 0; j < HOST_POINTS && j < points.count; j++)
            CHECK(got.items[j].id == points.items[j].id &&
                  got.items[j].seq_before == points.items[j].seq_before);
        memtable_unref(theirs);
    }
    memtable_unref(m);
}

TEST_MAIN("test_memtable_share", TEST_CASE(a_region_has_two_sides),
          TEST_CASE(another_process_finds_it), TEST_CASE(what_is_none),
          TEST_CASE(a_memtable_shows_what_was_told), TEST_CASE(a_page_that_lies),
          TEST_CASE(the_next_one), TEST_CASE(not_after_a_fork), TEST_CASE(one_that_grows),
          TEST_CASE(hosted_transactions))
