/*
** store/share.c: coming to a store that others have open, or may have, where files are shared and
** where they are not; and what somebody is told who cannot come. A copy of an env with some of its
** functions replaced is another process, with a world of its own. (Several that work together, die
** and are stopped: processes/)
*/
#include <stdatomic.h>

#include "check.h"
#include "io/filename.h"
#include "store/share.h"
#include "store_util.h"
#include "wal/wal.h"

static fkv_env *files; /* what all of them see */
static env_dir *folder;

/* -- another world ---------------------------------------------------------------------------- */

static uint64_t clock_us;
static int lock_fails, lock_gone;

/* Time passes in sleep only: a wait of ten seconds takes none. */
static uint64_t now_us(fkv_env *env)
{
    (void)env;
    return clock_us;
}

static void sleep_us(fkv_env *env, uint64_t us)
{
    (void)env;
    clock_us += us;
}

static fkv_status shares_nothing(fkv_env *env, env_dir *dir, int *out)
{
    (void)env, (void)dir;
    *out = 0;
    return FKV_OK;
}

static fkv_status file_lock(fkv_env *env, env_file *file, uint64_t byte, int mode)
{
    if (lock_fails && mode != ENV_UNLOCK) return FKV_RAISEF(FKV_IOERR, "no locks left");
    return files->file_lock(env, file, byte, mode);
}

static fkv_status file_locked(fkv_env *env, env_file *file, uint64_t byte, uint64_t count, int *out)
{
    *out = 0;
    if (lock_fails) return FKV_RAISEF(FKV_IOERR, "locks cannot be seen");
    return files->file_locked(env, file, byte, count, out);
}

static fkv_status file_linked(fkv_env *env, env_file *file, int *out)
{
    fkv_status rc = files->file_linked(env, file, out);

    if (lock_gone > 0) { /* whoever had made the store has removed it meanwhile */
        lock_gone--;
        *out = 0;
    }
    return rc;
}

static fkv_env process(int alone)
{
    fkv_env env = *files;

    env.now_us = now_us;
    env.sleep_us = sleep_us;
    env.file_lock = file_lock;
    env.file_locked = file_locked;
    env.file_linked = file_linked;
    if (alone) env.dir_shares = shares_nothing;
    return env;
}

static fkv_status open_by(fkv_env *env, int read_only, fkv_store **out)
{
    fkv_options o = {.env = env,
                     .create = !read_only,
                     .read_only = read_only,
                     .memory_bytes = 1 << 20,
                     .inline_background = 1};

    return fkv_open("s", &o, out);
}

/* A store with the row "a", that nobody has open. */
static int begin_test(void)
{
    fkv_env env;
    fkv_store *s = NULL;

    lock_fails = lock_gone = 0;
    if (env_mem_new(&files)) return 0;
    env = process(0);
    if (open_by(&env, 0, &s) || store_put(s, "a", FKV_SYNC)) return 0;
    fkv_close(s);
    return !files->dir_open(files, "s", 0, &folder);
}

static void end_test(void)
{
    files->dir_close(files, folder);
    env_mem_free(files);
}

static void check_refused(fkv_env *env, int read_only, fkv_status status, const char *text)
{
    fkv_store *s = NULL;

    CHECK_STATUS(open_by(env, read_only, &s), status);
    CHECK(s == NULL && strcmp(fkv_errmsg(), text) == 0);
    if (strcmp(fkv_errmsg(), text) != 0) (void)printf("  ^ it said: %s\n", fkv_errmsg());
    fkv_close(s);
}

/* -- where nothing is shared ------------------------------------------------------------------ */

static void one_that_writes_or_many_that_read(void)
{
    fkv_env a, b, c;
    fkv_store *writer = NULL, *one = NULL, *two = NULL;
    char text[128];

    REQUIRE(begin_test());
    a = process(1), b = process(1), c = process(1);
    (void)snprintf(text, sizeof text, "the store \"s\" is open in another process (process %llu)",
                   (unsigned long long)files->process_id(files));
    REQUIRE_OK(open_by(&a, 0, &writer));
    CHECK_STATUS(store_get(writer, "a"), FKV_OK);
    CHECK_STATUS(store_put(writer, "b", FKV_SYNC), FKV_OK);
    check_refused(&b, 0, FKV_BUSY, text);
    check_refused(&b, 1, FKV_BUSY, text);
    CHECK_STATUS(store_put(writer, "c", FKV_SYNC), FKV_OK);
    fkv_close(writer);

    REQUIRE_OK(open_by(&a, 1, &one));
    REQUIRE_OK(open_by(&b, 1, &two));
    CHECK(store_get(one, "b") == FKV_OK && store_get(one, "c") == FKV_OK &&
          store_get(two, "b") == FKV_OK && store_get(two, "c") == FKV_OK);
    CHECK_STATUS(store_put(one, "d", FKV_SYNC), FKV_READONLY);
    check_refused(&c, 0, FKV_BUSY, text);
    fkv_close(one);
    check_refused(&c, 0, FKV_BUSY, text);
    fkv_close(two);
    writer = NULL;
    REQUIRE_OK(open_by(&c, 0, &writer));
    CHECK(store_get(writer, "c") == FKV_OK && store_get(writer, "d") == FKV_NOTFOUND);
    CHECK_STATUS(store_put(writer, "d", FKV_SYNC), FKV_OK);
    fkv_close(writer);
    end_test();
}

static void a_copy_on_read_only_media(void)
{
    fkv_env a;
    fkv_store *s = NULL;

    REQUIRE(begin_test());
    CHECK_STATUS(files->file_remove(files, folder, FILENAME_LOCK), FKV_OK);
    for (int alone = 0; alone < 2; alone++) {
        env_file *file = NULL;
        a = process(alone);
        REQUIRE_OK(open_by(&a, 1, &s));
        CHECK_STATUS(store_get(s, "a"), FKV_OK);
        fkv_close(s);
        s = NULL;
        CHECK_STATUS(files->file_open(files, folder, FILENAME_LOCK, ENV_READ, &file), FKV_NOTFOUND);
    }
    end_test();
}

/* -- the page --------------------------------------------------------------------------------- */

/* Somebody has the store open: what the page says is up to the test. */
typedef struct somebody {
    env_file *file;
    shared_page *page;
} somebody;

static int somebody_comes(somebody *who)
{
    void *base = NULL;

    *who = (somebody){NULL, NULL};
    if (files->file_open(files, folder, FILENAME_LOCK, ENV_WRITE, &who->file)) return 0;
    if (files->file_allocate(files, who->file, 0, SHARED_BYTES)) return 0;
    if (files->file_share(files, who->file, SHARED_BYTES, &base)) return 0;
    who->page = base;
    files->boot_id(files, who->page->boot_id);
    atomic_store(&who->page->magic, SHARED_MAGIC);
    atomic_store(&who->page->ready, 0);
    return !files->file_lock(files, who->file, LOCK_LIVE, ENV_LOCK_EXCLUSIVE);
}

static void somebody_goes(somebody *who)
{
    files->file_unshare(files, who->page, SHARED_BYTES);
    files->file_close(files, who->file);
}

/* It never gets ready: after ten seconds the newcomer says who is in the way. */
static void an_opener_that_does_not_end(void)
{
    static const struct {
        const char *holder, *told;
    } cases[] = {{"process 4711", "process 4711"},
                 {"", "unknown"},
                 {"ab\ncd", "ab"},
                 {"\x1b[2J", "unknown"}};
    somebody who;
    fkv_env a;
    fkv_store *s = NULL;

    REQUIRE(begin_test());
    a = process(0);
    REQUIRE(somebody_comes(&who));
    for (int i = 0; i < 8; i++) {
        uint64_t before = clock_us;
        char text[128];
        (void)snprintf(who.page->holder, sizeof who.page->holder, "%s", cases[i / 2].holder);
        (void)snprintf(text, sizeof text, "the store \"s\" is open in another process (%s)",
                       cases[i / 2].told);
        check_refused(&a, i & 1, FKV_BUSY, text);
        CHECK(clock_us - before >= 10000000 && clock_us - before < 11000000);
    }
    memset(who.page->holder, 'x', sizeof who.page->holder); /* without an end */
    CHECK_STATUS(open_by(&a, 0, &s), FKV_BUSY);
    CHECK(strstr(fkv_errmsg(), "xxxxxxxx)") != NULL);
    somebody_goes(&who);
    REQUIRE_OK(open_by(&a, 0, &s));
    CHECK_STATUS(store_get(s, "a"), FKV_OK);
    fkv_close(s);
    end_test();
}

/* Said at once. What another boot of the machine has left there is nobody's. */
static void another_version_of_fastkv(void)
{
    static const char text[] =
        "the store \"s\" is open in a process with another version of fastkv";
    somebody who;
    fkv_env a;
    fkv_store *s = NULL;

    REQUIRE(begin_test());
    a = process(0);
    REQUIRE(somebody_comes(&who));
    atomic_store(&who.page->magic, SHARED_MAGIC + 1);
    atomic_store(&who.page->ready, 1);
    CHECK_STATUS(files->file_lock(files, who.file, LOCK_LIVE, ENV_LOCK_SHARED), FKV_OK);
    for (int i = 0; i < 2; i++) {
        uint64_t before = clock_us;
        check_refused(&a, i, FKV_UNSUPPORTED, text);
        CHECK(clock_us == before);
    }
    who.page->boot_id[3] ^= 1;
    CHECK_STATUS(open_by(&a, 0, &s), FKV_BUSY); /* not ready, as far as one can see */
    CHECK_STATUS(open_by(&a, 1, &s), FKV_BUSY);
    somebody_goes(&who);
    REQUIRE_OK(open_by(&a, 0, &s));
    CHECK_STATUS(store_get(s, "a"), FKV_OK);
    fkv_close(s);
    end_test();
}

/* -- locks that fail, a file that goes -------------------------------------------------------- */

static void locks_that_fail(void)
{
    fkv_env a, b;
    fkv_store *s = NULL;

    REQUIRE(begin_test());
    a = process(0), b = process(1);
    lock_fails = 1;
    check_refused(&a, 0, FKV_IOERR, "no locks left");
    check_refused(&a, 1, FKV_IOERR, "locks cannot be seen");
    check_refused(&b, 0, FKV_IOERR, "no locks left");
    check_refused(&b, 1, FKV_IOERR, "no locks left");
    lock_fails = 0;
    REQUIRE_OK(open_by(&a, 0, &s));
    CHECK_STATUS(store_put(s, "b", FKV_SYNC), FKV_OK);
    lock_fails = 1;
    CHECK_STATUS(store_put(s, "c", FKV_SYNC), FKV_OK); /* a commit needs none */
    CHECK_STATUS(fkv_flush(s), FKV_IOERR);
    CHECK(strcmp(fkv_errmsg(), "no locks left") == 0);
    lock_fails = 0;
    CHECK_STATUS(store_put(s, "d", FKV_SYNC), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK);
    CHECK(store_get(s, "b") == FKV_OK && store_get(s, "c") == FKV_OK &&
          store_get(s, "d") == FKV_OK);
    fkv_close(s);
    end_test();
}

/* The lock file was removed while we came: what we hold is no lock of the store's. */
static void a_lock_file_that_goes(void)
{
    fkv_env a, b;
    fkv_store *s = NULL, *other = NULL;

    REQUIRE(begin_test());
    a = process(0), b = process(0);
    for (int read_only = 0; read_only < 2; read_only++) {
        lock_gone = 2;
        REQUIRE_OK(open_by(&a, read_only, &s));
        CHECK(lock_gone == 0);
        REQUIRE_OK(open_by(&b, 0, &other)); /* it shares what there is now */
        CHECK_STATUS(store_put(other, read_only ? "r" : "w", FKV_SYNC), FKV_OK);
        CHECK(store_get(s, "a") == FKV_OK && store_get(s, read_only ? "r" : "w") == FKV_OK);
        fkv_close(other);
        fkv_close(s);
        s = other = NULL;
    }
    end_test();
}

TEST_MAIN("test_share", TEST_CASE(one_that_writes_or_many_that_read),
          TEST_CASE(a_copy_on_read_only_media), TEST_CASE(an_opener_that_does_not_end),
          TEST_CASE(another_version_of_fastkv), TEST_CASE(locks_that_fail),
          TEST_CASE(a_lock_file_that_goes))
