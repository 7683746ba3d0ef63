/*
** txn_util.h -- what the transaction tests share: folders, connections with the extension in them,
** rows as text, child processes.
*/
#ifndef FKV_TESTS_TXN_UTIL_H
#define FKV_TESTS_TXN_UTIL_H

#include <ftw.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int sqlite3_fastkv_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

/* Sweeps visit every STEP-th place, from a random first one: a fork is slow under a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STEP = 5 };
#else
enum { STEP = 1 };
#endif

static inline int txn_scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;

    return n > 0 ? n : 1;
}

enum { PATH_ROOM = 256 };

/* An empty folder, in FASTKV_TMP if the runner has made that. */
static inline void txn_folder(char out[PATH_ROOM])
{
    const char *parent = getenv("FASTKV_TMP");

    (void)snprintf(out, PATH_ROOM, "%s/fastkv-txn-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(out)) abort();
}

static inline int txn_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static inline void txn_remove(const char *folder)
{
    if (nftw(folder, txn_remove_one, 8, FTW_DEPTH | FTW_PHYS)) abort();
}

/* -- SQL --------------------------------------------------------------------------------------- */

/* Open folder/name with the extension; extended codes, no waiting. */
static inline sqlite3 *txn_open(const char *folder, const char *name)
{
    char path[PATH_ROOM * 2];
    char *error = NULL;
    sqlite3 *db = NULL;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sqlite3_open(path, &db)) abort();
    (void)sqlite3_extended_result_codes(db, 1);
    if (sqlite3_fastkv_init(db, &error, NULL)) abort();
    return db;
}

/* Run statements; the extended code of the first that fails. The text is made as by
** sqlite3_mprintf. */
static inline int run(sqlite3 *db, const char *format, ...)
{
    va_list args;
    char *sql;
    int rc;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

static inline void append_value(sqlite3_str *out, sqlite3_stmt *s, int i)
{
    int type = sqlite3_column_type(s, i);

    if (i) sqlite3_str_appendchar(out, 1, '|');
    if (type == SQLITE_NULL) {
        sqlite3_str_appendall(out, "NULL");
    } else if (type == SQLITE_INTEGER) {
        sqlite3_str_appendf(out, "%lld", sqlite3_column_int64(s, i));
    } else {
        sqlite3_str_appendf(out, "%d'%s'", type, (const char *)sqlite3_column_text(s, i));
    }
}

static inline void append_row(sqlite3_str *out, sqlite3_stmt *s)
{
    for (int i = 0; i < sqlite3_column_count(s); i++) append_value(out, s, i);
    sqlite3_str_appendchar(out, 1, '\n');
}

/* Step to the end and add the rows to `out`. The extended code. */
static inline int step_all(sqlite3_stmt *s, sqlite3_str *out)
{
    int rc = sqlite3_step(s);

    while (rc == SQLITE_ROW) {
        append_row(out, s);
        rc = sqlite3_step(s);
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Run one statement and add its rows to `out`. */
static inline int run_rows(sqlite3 *db, const char *sql, sqlite3_str *out)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK) rc = step_all(s, out);
    (void)sqlite3_finalize(s);
    return rc;
}

/* One number out of one statement; a failure is minus its code. */
static inline int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    int64_t n;

    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    n = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : rc == SQLITE_DONE ? -SQLITE_DONE : -rc;
    (void)sqlite3_finalize(s);
    return n;
}

#define CHECK_SQL(db, expected, ...)                                                               \
    do {                                                                                           \
        int check_rc_ = run(db, __VA_ARGS__);                                                      \
        if (check_rc_ != (expected)) {                                                             \
            check_failures++;                                                                      \
            (void)printf("%s:%d: gave %d, wanted %d (%s): %s\n", __FILE__, __LINE__, check_rc_,    \
                         expected, sqlite3_errmsg(db), #__VA_ARGS__);                              \
        }                                                                                          \
    } while (0)

#define CHECK_NUMBER(db, sql, expected)                                                            \
    do {                                                                                           \
        int64_t check_n_ = number(db, sql), check_wanted_ = (expected);                            \
        if (check_n_ != check_wanted_) {                                                           \
            check_failures++;                                                                      \
            (void)printf("%s:%d: gave %" PRId64 ", wanted %" PRId64 " (%s): %s\n", __FILE__,       \
                         __LINE__, check_n_, check_wanted_, sqlite3_errmsg(db), sql);              \
        }                                                                                          \
    } while (0)

#define CHECK_CLOSE(db) CHECK(sqlite3_close(db) == SQLITE_OK)

/* -- processes --------------------------------------------------------------------------------- */

/* Run a function in a process of its own, which says by its exit code whether all was well. The
** caller must have no connection open. */
static inline int in_child(int (*body)(void *), void *arg)
{
    int status = -1;
    pid_t child;

    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        int rc;
        check_failures = 0;
        rc = body(arg);
        (void)fflush(stdout);
        _exit(rc);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
