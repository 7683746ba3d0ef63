/*
** kill -9 at any moment: every acknowledged commit is found again, whole, and nothing else.
**
** A child commits transactions numbered 1, 2, 3 …; each writes its number into a counter and into
** GROUP keys, deletes some keys of an earlier one, and tells the parent through a pipe when
** commit has returned. The parent kills it after a few milliseconds, opens the store, and compares
** it with the model of the number the counter shows, which must be at least the last one
** acknowledged. Histories go on over many kills. Memtables are tiny, so flushes and compactions
** are always in progress.
*/
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slice.h"
#include "check.h"
#include "fastkv.h"

enum { GROUP = 5, SPAN = 400, HISTORIES = 4, KILLS = 30 };

static fkv_options small_store(void)
{
    fkv_options o = {.create = 1, .memtable_bytes = 65536, .table_bytes = 32768};
    o.block_bytes = 1024;
    return o;
}

/* Keys that transaction n writes; the same SPAN / GROUP groups come round again and again. */
static fkv_slice group_key(uint64_t n, int i, char room[32])
{
    int size = snprintf(room, 32, "group%05d-%d", (int)(n * 7919 % (SPAN / GROUP)), i);
    return fkv_slice_of(room, (size_t)size);
}

static fkv_slice number_value(uint64_t n, char room[256])
{
    size_t size = 16 + n * 31 % 200;
    memset(room, (int)('a' + n % 26), size);
    (void)snprintf(room, 16, "%015" PRIu64, n % 1000000000000000u);
    return fkv_slice_of(room, size);
}

/* What transaction n does: every tenth deletes its group instead. */
static fkv_status write_one(fkv_txn *t, uint64_t n)
{
    char key[32], value[256];
    fkv_status rc = fkv_txn_begin(t, 1000);

    for (int i = 0; i < GROUP && !rc; i++)
        rc = n % 10 ? fkv_txn_put(t, group_key(n, i, key), number_value(n, value))
                    : fkv_txn_delete(t, group_key(n, i, key));
    if (!rc) rc = fkv_txn_put(t, fkv_slice_of("counter", 7), number_value(n, value));
    if (!rc) rc = fkv_txn_prepare(t, n % 3 ? FKV_BACKGROUND : FKV_SYNC);
    return rc;
}

static void writer_process(const char *path, uint64_t from, int acks)
{
    fkv_options o = small_store();
    fkv_store *s = NULL;
    fkv_txn *t = NULL;

    if (fkv_open(path, &o, &s) || fkv_txn_new(s, &t)) _exit(2);
    for (uint64_t n = from;; n++) {
        if (write_one(t, n)) _exit(3);
        fkv_txn_commit(t);
        if (write(acks, &n, sizeof n) != sizeof n) _exit(4);
    }
}

static uint64_t read_counter(fkv_snapshot *snap)
{
    fkv_value v;
    uint64_t n = 0;
    fkv_status rc = fkv_get(snap, NULL, fkv_slice_of("counter", 7), &v);

    if (rc == FKV_OK) {
        char text[17] = {0};
        memcpy(text, v.value.data, 15);
        n = strtoull(text, NULL, 10);
    } else {
        CHECK_STATUS(rc, FKV_NOTFOUND);
    }
    fkv_value_release(&v);
    return n;
}

/* The store must be exactly what transactions 1 … n leave. */
static void check_state(fkv_snapshot *snap, uint64_t n)
{
    static uint64_t last[SPAN];
    uint64_t rows = 0, expected = 0;
    fkv_cursor *c = NULL;

    memset(last, 0, sizeof last);
    for (uint64_t i = 1; i <= n; i++) last[i * 7919 % (SPAN / GROUP)] = i;
    for (int g = 0; g < SPAN / GROUP; g++) {
        int present = last[g] && last[g] % 10;
        expected += present ? GROUP : 0;
        for (int i = 0; i < GROUP && last[g]; i++) {
            char key[32], value[256];
            fkv_value v;
            fkv_status rc = fkv_get(snap, NULL, group_key(last[g], i, key), &v);
            CHECK_STATUS(rc, present ? FKV_OK : FKV_NOTFOUND);
            if (!rc) CHECK(slice_equal(v.value, number_value(last[g], value)));
            fkv_value_release(&v);
        }
    }
    REQUIRE_OK(fkv_cursor_new(snap, NULL, &c));
    for (fkv_cursor_first(c); fkv_cursor_valid(c); fkv_cursor_next(c)) rows++;
    CHECK_STATUS(fkv_cursor_status(c), FKV_OK);
    CHECK(rows == expected + (n > 0));
    fkv_cursor_free(c);
}

static uint64_t reopen_and_check(const char *path, uint64_t acknowledged)
{
    fkv_options o = small_store();
    fkv_snapshot *snap = NULL;
    fkv_store *s = NULL;
    uint64_t n = 0;

    CHECK_STATUS(fkv_open(path, &o, &s), FKV_OK);
    if (!s) return 0;
    if (fkv_snapshot_new(s, &snap) == FKV_OK) {
        n = read_counter(snap);
        CHECK(n >= acknowledged);
        CHECK(n <= acknowledged + 1);
        check_state(snap, n);
    }
    fkv_snapshot_release(snap);
    CHECK_STATUS(fkv_verify(s), FKV_OK);
    fkv_close(s);
    return n;
}

/* One life: fork, let it write, kill it. Returns the last acknowledged number. */
static uint64_t one_life(const char *path, uint64_t from)
{
    uint64_t n = from - 1, got;
    int acks[2], status;
    pid_t child;

    if (pipe(acks)) return n;
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)close(acks[0]);
        writer_process(path, from, acks[1]);
    }
    (void)close(acks[1]);
    (void)usleep((useconds_t)(2000 + check_below(40000)));
    (void)kill(child, SIGKILL);
    while (read(acks[0], &got, sizeof got) == sizeof got) n = got;
    (void)close(acks[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return n;
}

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

static void remove_tree(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0); /* lint: allow banned -- cleaning up after a test */
}

static void acknowledged_commits_survive(void)
{
    uint64_t kills = 0, commits = 0;

    for (int h = 0; h < HISTORIES * scale(); h++) {
        char dir[] = "/tmp/fastkv-kill-XXXXXX", path[64];
        uint64_t n = 0;
        REQUIRE(mkdtemp(dir) != NULL);
        (void)snprintf(path, sizeof path, "%s/store", dir);
        for (int k = 0; k < KILLS; k++, kills++) {
            int failures = check_failures;
            n = reopen_and_check(path, one_life(path, n + 1));
            if (check_failures != failures) {
                (void)printf("history %d, kill %d, store kept in %s\n", h, k, dir);
                return;
            }
        }
        commits += n;
        remove_tree(dir);
    }
    (void)printf("%" PRIu64 " kills, %" PRIu64 " commits\n", kills, commits);
    (void)printf("POINTS kill kills %" PRIu64 "\n", kills);
}

/* Killed between the two halves of a commit: nobody was told, so it never happened. */
static void a_prepared_transaction_does_not_come_alive(void)
{
    char dir[] = "/tmp/fastkv-kill-XXXXXX", path[64];

    REQUIRE(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof path, "%s/store", dir);
    for (uint64_t n = 1; n <= 12; n++) {
        int status;
        pid_t child;
        (void)fflush(stdout);
        child = fork();
        if (child == 0) {
            fkv_options o = small_store();
            fkv_store *s = NULL;
            fkv_txn *t = NULL;
            if (fkv_open(path, &o, &s) || fkv_txn_new(s, &t) || write_one(t, n)) _exit(1);
            fkv_txn_commit(t);
            if (write_one(t, n + 1)) _exit(1);
            (void)kill(getpid(), SIGKILL);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        CHECK(reopen_and_check(path, n) == n);
        CHECK(reopen_and_check(path, n) == n); /* and stays so */
    }
    remove_tree(dir);
}

TEST_MAIN("test_kill", TEST_CASE(acknowledged_commits_survive),
          TEST_CASE(a_prepared_transaction_does_not_come_alive))
