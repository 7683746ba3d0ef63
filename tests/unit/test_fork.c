/*
** fork(): in the child the parent's store is inert and says so; nothing the child does, and nothing
** it keeps open, is in the parent's way.
*/
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"
#include "check.h"
#include "fastkv.h"

static char path[64];
static const fkv_options options = {.create = 1, .memory_bytes = 1 << 20};

static fkv_slice text(const char *s)
{
    return fkv_slice_of(s, strlen(s));
}

static fkv_status put(fkv_txn *t, const char *key)
{
    fkv_status rc = fkv_txn_begin(t, 0);

    if (!rc) rc = fkv_txn_put(t, text(key), text("v"));
    if (!rc) rc = fkv_txn_prepare(t, FKV_BACKGROUND);
    if (rc) {
        fkv_txn_rollback(t);
    } else {
        fkv_txn_commit(t);
    }
    return rc;
}

static int has(fkv_store *s, const char *key)
{
    fkv_snapshot *snap = NULL;
    fkv_value v = {0};
    fkv_status rc = fkv_snapshot_new(s, &snap);

    if (!rc) rc = fkv_get(snap, NULL, text(key), &v);
    fkv_value_release(&v);
    fkv_snapshot_release(snap);
    return rc == FKV_OK;
}

/* Its exit status; -1 if it has none. */
static int end_of(pid_t child)
{
    int status = -1;

    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What the child finds, as an exit status: 0 is right, else the number of the check. */
static int in_child(fkv_store *s, fkv_txn *t, fkv_txn *open, fkv_snapshot *snap)
{
    fkv_snapshot *fresh = NULL;
    fkv_store *again = NULL;

    if (put(t, "child") != FKV_MISUSE || !strstr(fkv_errmsg(), "fork")) return 1;
    if (fkv_snapshot_new(s, &fresh) != FKV_MISUSE) return 2;
    if (!fkv_snapshot_stale(snap)) return 3;
    if (fkv_flush(s) != FKV_MISUSE) return 4;
    if (fkv_open(path, &options, &again) || !has(again, "before")) return 5; /* another process */
    fkv_close(again);
    fkv_txn_rollback(open); /* writes no ABORT */
    fkv_snapshot_release(snap);
    fkv_txn_free(t);
    fkv_close(s); /* neither waits for threads nor writes */
    return 0;
}

static void the_child_is_inert(void)
{
    fkv_snapshot *snap = NULL;
    fkv_txn *t = NULL, *open = NULL;
    fkv_store *s = NULL;
    int said;
    pid_t child;

    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    REQUIRE(fkv_txn_new(s, &t) == FKV_OK && fkv_txn_new(s, &open) == FKV_OK);
    CHECK_STATUS(put(t, "before"), FKV_OK);
    CHECK_STATUS(fkv_flush(s), FKV_OK); /* now there are threads */
    REQUIRE(fkv_snapshot_new(s, &snap) == FKV_OK);
    CHECK_STATUS(fkv_txn_begin(open, 0), FKV_OK);
    CHECK_STATUS(fkv_txn_put(open, text("during"), text("v")), FKV_OK);
    CHECK_STATUS(fkv_txn_prepare(open, FKV_SYNC), FKV_OK);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) _exit(in_child(s, t, open, snap));
    said = end_of(child);
    CHECK(said == 0);
    (void)printf("the child said %d\n", said);
    fkv_txn_commit(open);
    CHECK_STATUS(put(t, "after"), FKV_OK);
    CHECK(has(s, "before") && has(s, "during") && has(s, "after") && !has(s, "child"));
    fkv_snapshot_release(snap);
    fkv_txn_free(t);
    fkv_txn_free(open);
    fkv_close(s);
    s = NULL;
    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    CHECK(has(s, "before") && has(s, "during") && has(s, "after"));
    fkv_close(s);
}

/* A child that lives on must not keep the store locked. */
static void the_child_keeps_no_lock(void)
{
    struct timespec long_enough = {.tv_sec = 20};
    fkv_store *s = NULL;
    pid_t child;

    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        (void)nanosleep(&long_enough, NULL);
        _exit(0);
    }
    fkv_close(s);
    s = NULL;
    CHECK_STATUS(fkv_open(path, &options, &s), FKV_OK);
    fkv_close(s);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
}

/* The usual way: the child opens the store when the parent has closed it. */
static void the_child_opens_its_own(void)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    pid_t child = fork();

    REQUIRE(child >= 0);
    if (child == 0) {
        if (fkv_open(path, &options, &s) || fkv_txn_new(s, &t)) _exit(1);
        if (put(t, "own")) _exit(2);
        fkv_txn_free(t);
        fkv_close(s);
        _exit(0);
    }
    CHECK(end_of(child) == 0);
    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    CHECK(has(s, "own"));
    fkv_close(s);
}

/* -- what a child ends that the parent began --------------------------------------------------- */

/* Processes tell each other when to go on, by a byte. */
typedef struct baton {
    int ends[2];
} baton;

static void baton_pass(const baton *b)
{
    if (write(b->ends[1], "x", 1) != 1) _exit(100);
}

static void baton_take(const baton *b)
{
    char c;
    if (read(b->ends[0], &c, 1) != 1) _exit(101);
}

/* Another process, which has seen the store as it was at first, and writes when it is told to. */
static pid_t start_other(const baton *to, const baton *from)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    pid_t other = fork();

    if (other != 0) return other;
    baton_take(to);
    if (fkv_open(path, &options, &s) || fkv_txn_new(s, &t) || !has(s, "before")) _exit(1);
    baton_pass(from);
    baton_take(to);
    switch (put(t, "other")) {
    case FKV_OK:
        _exit(0);
    case FKV_BUSY:
        _exit(2);
    default:
        _exit(3);
    }
}

typedef enum ending { ROLLBACK, COMMIT, IN_DOUBT, FREE, ENDINGS } ending;

static pid_t start_child(const baton *go, ending how, fkv_txn *begun)
{
    pid_t child = fork();

    if (child != 0) return child;
    baton_take(go);
    if (how == ROLLBACK) fkv_txn_rollback(begun);
    if (how == COMMIT) fkv_txn_commit(begun);
    if (how == IN_DOUBT) fkv_txn_leave_in_doubt(begun);
    if (how == FREE) fkv_txn_free(begun);
    _exit(0);
}

/* `late`: the child ends it when the parent has committed it and another one after it; else while
** it is still open. */
static void inherited(ending how, int late)
{
    baton to_other, from_other, to_child;
    fkv_txn *t = NULL, *begun = NULL;
    fkv_store *s = NULL;
    pid_t other, child;

    REQUIRE(!pipe(to_other.ends) && !pipe(from_other.ends) && !pipe(to_child.ends));
    other = start_other(&to_other, &from_other);
    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    REQUIRE(fkv_txn_new(s, &t) == FKV_OK && fkv_txn_new(s, &begun) == FKV_OK);
    CHECK_STATUS(put(t, "before"), FKV_OK);
    baton_pass(&to_other);
    baton_take(&from_other);
    CHECK_STATUS(fkv_txn_begin(begun, 0), FKV_OK);
    CHECK_STATUS(fkv_txn_put(begun, text("begun"), text("v")), FKV_OK);
    if (how == COMMIT) CHECK_STATUS(fkv_txn_prepare(begun, FKV_SYNC), FKV_OK);
    child = start_child(&to_child, how, begun);
    if (!late) {
        baton_pass(&to_child);
        CHECK(end_of(child) == 0);
        baton_pass(&to_other);
        CHECK(end_of(other) == 2); /* busy: the parent is writing */
    }
    CHECK_STATUS(fkv_txn_prepare(begun, FKV_SYNC), FKV_OK);
    fkv_txn_commit(begun);
    CHECK_STATUS(put(t, "after"), FKV_OK);
    if (late) {
        baton_pass(&to_child);
        CHECK(end_of(child) == 0);
        baton_pass(&to_other);
        CHECK(end_of(other) == 0);
    }
    CHECK_STATUS(put(t, "last"), FKV_OK);
    fkv_txn_free(t);
    fkv_txn_free(begun);
    fkv_close(s);
    s = NULL;
    REQUIRE(fkv_open(path, &options, &s) == FKV_OK);
    CHECK(has(s, "before") && has(s, "begun") && has(s, "after") && has(s, "last"));
    CHECK(!late || has(s, "other"));
    fkv_close(s);
    for (int i = 0; i < 2; i++)
        CHECK(!close(to_other.ends[i]) && !close(from_other.ends[i]) && !close(to_child.ends[i]));
}

static void name_folder(void)
{
    (void)snprintf(path, sizeof path, "/tmp/fastkv-fork-%d", (int)getpid());
}

static void remove_folder(void)
{
    char command[96];

    (void)snprintf(command, sizeof command, "rm -rf %s", path);
    CHECK(system(command) == 0);
}

static void the_child_ends_what_the_parent_began(void)
{
    name_folder();
    for (ending how = 0; how < ENDINGS; how++)
        for (int late = 0; late < 2; late++) {
            int failures = check_failures;
            inherited(how, late);
            if (check_failures > failures) (void)printf("ending %d, late %d\n", (int)how, late);
            remove_folder();
        }
}

static void prepare_folder(void)
{
    name_folder();
    the_child_is_inert();
    the_child_keeps_no_lock();
    the_child_opens_its_own();
    remove_folder();
}

TEST_MAIN("test_fork", TEST_CASE(prepare_folder), TEST_CASE(the_child_ends_what_the_parent_began))
