/*
** oracle_run.c -- a history on both sides at once
**
** After every statement are compared: the extended result code and the message; the rows, with
** their types, as a list if ORDER BY is total and else as a multiset; changes(), what
** total_changes() has grown by, last_insert_rowid(), and whether a transaction is open. After every
** error, every end of a transaction or savepoint and some of the writes the content of all tables
** is compared as well.
**
** Not compared: changes() of CREATE, DROP and RENAME, because SQLite counts what a module does in
** its shadow tables (both sides then run a DELETE of nothing, which sets it to 0); changes()
** between a SELECT in an explicit transaction and the next write, because the first one sets it to
** 0 (README, limits); the rows a statement gave before it failed, because how far it came is the
** plan's choice.
**
** A SELECT that is left standing while others write has no defined answer in SQLite. What must hold
** is that no key comes twice, that a row which was there all along comes once, and that none comes
** which was there neither at the beginning nor at the end. If native itself does not hold to it,
** nothing is said.
*/
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oracle.h"
#include "oracle_rows.h"

int sqlite3_fastkv_init(sqlite3 *db, char **error, const void *api);

static const char *const contents[] = {"SELECT * FROM T",
                                       "SELECT * FROM U",
                                       "SELECT * FROM W",
                                       "SELECT * FROM n",
                                       "SELECT * FROM src",
                                       "SELECT * FROM log",
                                       NULL};

typedef struct side {
    sqlite3 *db;
    sqlite3 *other; /* a second connection; NULL until it is used */
    int fastkv;
    char *path;
    sqlite3_stmt *cursor;
    rows before, seen, keys; /* of the cursor */
    int cursor_rc;
    answer answer;
    sqlite3_int64 grown; /* total_changes() of the last statement */
} side;

typedef struct run {
    const history *h;
    statistics *st;
    int report;
    side fastkv, native;
    int changes_void; /* a SELECT has set changes() to 0 */
    rng r;
} run;

const char *difference_name(difference d)
{
    static const char *const words[] = {"same",    "result code", "message",
                                        "rows",    "counts",      "transaction state",
                                        "content", "open cursor", "test host"};
    return words[d];
}

/* -- databases --------------------------------------------------------------------------------- */

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        char *name = sqlite3_mprintf("%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)unlink(name);
        }
        sqlite3_free(name);
    }
    if (dir) (void)closedir(dir);
    if (rmdir(path) != 0) (void)unlink(path);
}

static void remove_files(const side *s)
{
    static const char *const ends[] = {
        "",         "-wal",     "-shm",         "-journal",    "-fastkv", "-aux",
        "-aux-wal", "-aux-shm", "-aux-journal", "-aux-fastkv", NULL};

    for (int i = 0; s->path && ends[i]; i++) {
        char *name = sqlite3_mprintf("%s%s", s->path, ends[i]);
        remove_all(name);
        sqlite3_free(name);
    }
}

static int execute(side *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

static int side_attach(side *s)
{
    char *sql = s->path ? sqlite3_mprintf("ATTACH '%q-aux' AS aux1", s->path)
                        : sqlite3_mprintf("ATTACH ':memory:' AS aux1");
    int rc = execute(s, sql);

    sqlite3_free(sql);
    return rc ? rc : execute(s, "PRAGMA aux1.synchronous = OFF");
}

static int open_other(side *s)
{
    char *error = NULL;

    if (s->other) return 0;
    if (sqlite3_open(s->path, &s->other)) return 1;
    (void)sqlite3_extended_result_codes(s->other, 1);
    (void)sqlite3_exec(s->other, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    return s->fastkv && sqlite3_fastkv_init(s->other, &error, NULL);
}

static int side_open(run *r, side *s)
{
    static const char *const encodings[] = {"PRAGMA encoding = 'UTF-8'",
                                            "PRAGMA encoding = 'UTF-16le'",
                                            "PRAGMA encoding = 'UTF-16be'"};
    char *error = NULL;

    if (sqlite3_open(s->path ? s->path : ":memory:", &s->db)) return 1;
    (void)sqlite3_extended_result_codes(s->db, 1);
    if (s->fastkv && sqlite3_fastkv_init(s->db, &error, NULL)) return 1;
    if (execute(s, encodings[r->h->encoding])) return 1;
    if (r->h->wal && execute(s, "PRAGMA journal_mode = WAL")) return 1;
    if ((!s->fastkv || r->h->no_automatic) && execute(s, "PRAGMA automatic_index = OFF")) return 1;
    if (execute(s, "CREATE TEMP TABLE settle(x)")) return 1;
    if (r->h->attached && side_attach(s)) return 1;
    return execute(s, "PRAGMA synchronous = OFF");
}

static void cursor_forget(side *s)
{
    (void)sqlite3_finalize(s->cursor);
    s->cursor = NULL;
    rows_free(&s->before);
    rows_free(&s->seen);
    rows_free(&s->keys);
}

static int side_close(side *s)
{
    int rc;

    cursor_forget(s);
    rc = sqlite3_close(s->other);
    if (rc == SQLITE_OK) rc = sqlite3_close(s->db);
    s->other = NULL;
    s->db = NULL;
    return rc;
}

/* -- comparing --------------------------------------------------------------------------------- */

static void report_answer(const side *s)
{
    const answer *a = &s->answer;

    (void)printf("  %s: rc %d %s; %d rows; changes %d, grown by %lld, last rowid %lld, %s\n",
                 s->fastkv ? "fastkv" : "native", a->rc, a->message ? a->message : "",
                 a->rows.count, sqlite3_changes(s->db), s->grown, sqlite3_last_insert_rowid(s->db),
                 sqlite3_get_autocommit(s->db) ? "autocommit" : "in a transaction");
}

static difference differ(run *r, difference d, int ordered)
{
    if (r->report && d != SAME) {
        (void)printf("difference in %s:\n", difference_name(d));
        report_answer(&r->fastkv);
        report_answer(&r->native);
        if (d == DIFFERENT_ROWS) {
            rows_report(&r->fastkv.answer.rows, &r->native.answer.rows, ordered);
        }
    }
    return d;
}

static difference compare_answers(run *r, const step *s)
{
    const answer *f = &r->fastkv.answer, *n = &r->native.answer;

    if (f->rc != n->rc) return DIFFERENT_CODE;
    if (f->rc && strcmp(f->message, n->message) != 0) return DIFFERENT_MESSAGE;
    if (f->rc == SQLITE_OK && f->columns != n->columns) return DIFFERENT_ROWS;
    if (f->cut != n->cut) return DIFFERENT_ROWS;
    if (f->rc == SQLITE_OK && (!f->cut || s->flags & STEP_ORDERED) &&
        !rows_same(&f->rows, &n->rows, s->flags & STEP_ORDERED)) {
        return DIFFERENT_ROWS;
    }
    return SAME;
}

static int is_write(const char *sql)
{
    static const char *const words[] = {"INSERT", "REPLACE", "UPDATE", "DELETE", NULL};

    for (int i = 0; words[i]; i++) {
        if (strncmp(sql, words[i], strlen(words[i])) == 0) return 1;
    }
    return 0;
}

static difference compare_state(run *r, const step *s)
{
    sqlite3 *f = r->fastkv.db, *n = r->native.db;

    if (sqlite3_get_autocommit(f) != sqlite3_get_autocommit(n)) return DIFFERENT_STATE;
    if (s->kind == STEP_DDL) return SAME;
    if (is_write(s->sql)) {
        if (r->fastkv.answer.rc == SQLITE_OK) r->changes_void = 0;
    } else if (!sqlite3_get_autocommit(f)) {
        r->changes_void = 1;
    }
    if (!r->changes_void && sqlite3_changes(f) != sqlite3_changes(n)) return DIFFERENT_COUNTS;
    if (r->fastkv.grown != r->native.grown) return DIFFERENT_COUNTS;
    if (sqlite3_last_insert_rowid(f) != sqlite3_last_insert_rowid(n)) return DIFFERENT_COUNTS;
    return SAME;
}

static difference compare_contents(run *r)
{
    difference d = SAME;

    if (r->st) r->st->checks++;
    if (!sqlite3_get_autocommit(r->fastkv.db)) r->changes_void = 1;
    for (int i = 0; contents[i] && d == SAME; i++) {
        answer_free(&r->fastkv.answer);
        answer_free(&r->native.answer);
        answer_get(r->fastkv.db, contents[i], NULL, &r->fastkv.answer);
        answer_get(r->native.db, contents[i], NULL, &r->native.answer);
        if (r->fastkv.answer.rc != r->native.answer.rc) d = DIFFERENT_CONTENT;
        if (!r->fastkv.answer.cut &&
            !rows_same(&r->fastkv.answer.rows, &r->native.answer.rows, 0)) {
            d = DIFFERENT_CONTENT;
        }
        if (d != SAME && r->report) {
            (void)printf("content of %s\n", contents[i]);
            rows_report(&r->fastkv.answer.rows, &r->native.answer.rows, 0);
        }
    }
    return d == SAME ? SAME : differ(r, d, 0);
}

/* -- open cursors ------------------------------------------------------------------------------ */

static void note_row(side *s, int keys)
{
    rows_add(&s->seen, s->cursor, 0);
    if (!s->keys.bytes) s->keys.bytes = sqlite3_str_new(NULL);
    if (s->keys.count == s->keys.capacity) {
        s->keys.capacity = s->keys.capacity ? 2 * s->keys.capacity : 16;
        s->keys.ends = realloc(s->keys.ends, (size_t)s->keys.capacity * sizeof *s->keys.ends);
        if (!s->keys.ends) abort();
    }
    for (int i = 0; i < keys; i++) value_serialise(s->keys.bytes, s->cursor, i, 1);
    s->keys.ends[s->keys.count++] = (size_t)sqlite3_str_length(s->keys.bytes);
}

static void cursor_start(side *s, const char *sql, const step *st)
{
    answer all;

    cursor_forget(s);
    answer_get(s->db, sql, st, &all);
    s->before = all.rows;
    memset(&all.rows, 0, sizeof all.rows);
    s->answer.rc = all.rc;
    s->answer.message = all.message;
    if (all.rc) return;
    (void)sqlite3_prepare_v2(s->db, sql, -1, &s->cursor, NULL);
    (void)answer_bind(s->cursor, st, 0);
    s->cursor_rc = SQLITE_ROW;
    for (int i = 0; i < st->number && s->cursor_rc == SQLITE_ROW; i++) {
        s->cursor_rc = sqlite3_step(s->cursor);
        if (s->cursor_rc == SQLITE_ROW) note_row(s, st->keys);
    }
}

/* Does what came hold to the rules? `after` are the rows a new SELECT gives now. */
static int cursor_right(const side *s, const rows *after)
{
    size_t size;
    const char *bytes;

    for (int i = 0; i < s->keys.count; i++) {
        bytes = rows_at(&s->keys, i, &size);
        if (rows_count(&s->keys, bytes, size) != 1) return 0;
        bytes = rows_at(&s->seen, i, &size);
        if (!rows_count(&s->before, bytes, size) && !rows_count(after, bytes, size)) return 0;
    }
    for (int i = 0; i < s->before.count; i++) {
        bytes = rows_at(&s->before, i, &size);
        if (rows_count(after, bytes, size) && !rows_count(&s->seen, bytes, size)) return 0;
    }
    return 1;
}

/* 1 = as it must be, 0 = not, -1 = it failed. */
static int cursor_finish(side *s, const step *opened)
{
    char *sql = marks_strip(opened->sql, !s->fastkv);
    answer after;
    int right;

    while (s->cursor_rc == SQLITE_ROW && s->seen.count < ROWS_MAX) {
        s->cursor_rc = sqlite3_step(s->cursor);
        if (s->cursor_rc == SQLITE_ROW) note_row(s, opened->keys);
    }
    answer_get(s->db, sql, opened, &after);
    right = s->cursor_rc != SQLITE_DONE ? -1 : after.rc ? 1 : cursor_right(s, &after.rows);
    answer_free(&after);
    sqlite3_free(sql);
    return right;
}

static difference drain(run *r, int at)
{
    const step *opened = NULL;
    int f, n, rc = 0;
    difference d = SAME;

    for (int i = 0; i < at; i++) {
        if (r->h->steps[i].kind == STEP_CURSOR_OPEN) opened = &r->h->steps[i];
    }
    if (!opened || !r->fastkv.cursor || !r->native.cursor) return SAME;
    f = cursor_finish(&r->fastkv, opened);
    n = cursor_finish(&r->native, opened);
    rc = r->fastkv.cursor_rc;
    if (n == 1 && f != 1) d = DIFFERENT_CURSOR;
    if (d != SAME && r->report) {
        (void)printf("the cursor ended with %d (%s) on fastkv, %d on native\n", rc,
                     sqlite3_errmsg(r->fastkv.db), r->native.cursor_rc);
        (void)printf("rows seen against those of the start:\n");
        rows_report(&r->fastkv.seen, &r->fastkv.before, 0);
        rows_report(&r->fastkv.seen, &r->native.seen, 0);
    }
    cursor_forget(&r->fastkv);
    cursor_forget(&r->native);
    return differ(r, d, 0);
}

/* -- steps ------------------------------------------------------------------------------------- */

static void note_code(statistics *st, int code)
{
    for (int i = 0; i < st->code_count; i++) {
        if (st->codes[i] == code) return;
    }
    if (st->code_count < CODES_MAX) st->codes[st->code_count++] = code;
}

/* The plans of fastkv tables in a statement, by what EXPLAIN QUERY PLAN says of them. On both
** sides, because even that sets changes() to 0. */
static void note_plans(run *r, const char *sql)
{
    static const char word[] = "VIRTUAL TABLE INDEX ";
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(r->fastkv.db, explain, -1, &s, NULL) == SQLITE_OK) {
        while (sqlite3_step(s) == SQLITE_ROW) {
            const char *text = strstr((const char *)sqlite3_column_text(s, 3), word);
            uint64_t hash = 14695981039346656037u;
            int known = 0;
            if (!text) continue;
            for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 1099511628211u;
            for (int i = 0; i < r->st->plan_count; i++) known |= r->st->plans[i] == hash;
            if (!known && r->st->plan_count < PLANS_MAX) r->st->plans[r->st->plan_count++] = hash;
        }
    }
    (void)sqlite3_finalize(s);
    (void)execute(&r->native, explain);
    sqlite3_free(explain);
}

static void count(run *r, const step *s, const char *sql)
{
    statistics *st = r->st;
    const answer *a = &r->fastkv.answer;

    if (!st) return;
    st->statements++;
    st->succeeded += a->rc == SQLITE_OK;
    st->rows_read += (uint64_t)a->rows.count;
    st->rows_written += (uint64_t)r->fastkv.grown;
    note_code(st, a->rc);
    if (a->columns == 0 || a->rc) return;
    st->selects++;
    st->answered += a->rows.count > 0;
    if (s->kind == STEP_SQL && rng_chance(&r->r, 10)) note_plans(r, sql);
}

static void run_side(side *s, const step *st, const char *sql)
{
    sqlite3_int64 before = sqlite3_total_changes64(s->db);

    answer_free(&s->answer);
    if (st->kind == STEP_CURSOR_OPEN) {
        cursor_start(s, sql, st);
    } else {
        answer_get(s->db, sql, st, &s->answer);
    }
    s->grown = sqlite3_total_changes64(s->db) - before;
}

/* VACUUM moves last_insert_rowid() by the rows of sqlite_schema that have no b-tree. */
static void settle_vacuum(run *r)
{
    sqlite3_set_last_insert_rowid(r->fastkv.db, 0);
    sqlite3_set_last_insert_rowid(r->native.db, 0);
}

static void settle_counts(run *r)
{
    (void)execute(&r->fastkv, "DELETE FROM temp.settle WHERE 0");
    (void)execute(&r->native, "DELETE FROM temp.settle WHERE 0");
}

/* Either it works, or it says that it may not in a transaction that has written. */
static difference run_command(run *r, const step *s, const char *sql)
{
    const answer *a = &r->fastkv.answer;

    answer_free(&r->fastkv.answer);
    answer_free(&r->native.answer);
    answer_get(r->fastkv.db, sql, NULL, &r->fastkv.answer);
    if (a->rc == SQLITE_OK && s->native) (void)execute(&r->native, s->native);
    settle_counts(r);
    if (a->rc == SQLITE_OK || strstr(a->message, "no such table")) return compare_contents(r);
    if (a->rc == SQLITE_ERROR && strstr(a->message, "COMMIT first")) return SAME;
    return differ(r, DIFFERENT_CODE, 0);
}

static difference reopen(run *r)
{
    if (!r->fastkv.path) return SAME;
    if (side_close(&r->fastkv) || side_close(&r->native)) return DIFFERENT_HOST;
    if (side_open(r, &r->fastkv) || side_open(r, &r->native)) return DIFFERENT_HOST;
    return compare_contents(r);
}

/* A write by another connection, which this one must see. Inside a transaction it need not. */
static difference run_other(run *r, const step *s, const char *sql, const char *native)
{
    difference d;

    if (!r->fastkv.path || r->fastkv.cursor || !sqlite3_get_autocommit(r->fastkv.db)) return SAME;
    if (open_other(&r->fastkv) || open_other(&r->native)) return DIFFERENT_HOST;
    answer_free(&r->fastkv.answer);
    answer_free(&r->native.answer);
    answer_get(r->fastkv.other, sql, s, &r->fastkv.answer);
    answer_get(r->native.other, native, s, &r->native.answer);
    d = differ(r, compare_answers(r, s), 0);
    return d == SAME ? compare_contents(r) : d;
}

static int is_ending(const char *sql)
{
    return strncmp(sql, "ROLLBACK", 8) == 0 || strcmp(sql, "COMMIT") == 0;
}

/* PRAGMA case_sensitive_like beside a running statement changes SQLite's built-in LIKE for the
** whole process. (The generator knows, but not the shrinker.) */
static void before_pragma(run *r, const char *sql)
{
    if (strncmp(sql, "PRAGMA", 6) != 0) return;
    cursor_forget(&r->fastkv);
    cursor_forget(&r->native);
}

static difference run_step(run *r, int at)
{
    const step *s = &r->h->steps[at];
    char *sql, *native;
    difference d;
    int check;

    if (s->kind == STEP_REOPEN) return reopen(r);
    if (s->kind == STEP_CURSOR_DRAIN) return drain(r, at);
    sql = marks_strip(s->sql, 0);
    native = marks_strip(s->native ? s->native : s->sql, 1);
    if (s->kind == STEP_COMMAND) {
        d = run_command(r, s, sql);
    } else if (s->kind == STEP_OTHER) {
        d = run_other(r, s, sql, native);
    } else {
        before_pragma(r, sql);
        run_side(&r->fastkv, s, sql);
        run_side(&r->native, s, native);
        count(r, s, sql);
        d = compare_answers(r, s);
        if (d == SAME) d = compare_state(r, s);
        d = differ(r, d, s->flags & STEP_ORDERED);
        check = r->fastkv.answer.rc || is_ending(sql) || (r->fastkv.grown && (at & 3) == 0);
        if (s->kind == STEP_DDL) settle_counts(r);
        if (strcmp(sql, "VACUUM") == 0) settle_vacuum(r);
        if (d == SAME && check) d = compare_contents(r);
    }
    sqlite3_free(sql);
    sqlite3_free(native);
    return d;
}

difference history_run(const history *h, const char *folder, statistics *st, int report, int *at)
{
    run r = {.h = h, .st = st, .report = report, .fastkv = {.fastkv = 1}};
    difference d = SAME;

    rng_seed(&r.r, h->seed);
    if (h->on_file) {
        r.fastkv.path = sqlite3_mprintf("%s/fastkv.db", folder);
        r.native.path = sqlite3_mprintf("%s/native.db", folder);
        remove_files(&r.fastkv);
        remove_files(&r.native);
    }
    *at = 0;
    if (side_open(&r, &r.fastkv) || side_open(&r, &r.native)) d = DIFFERENT_HOST;
    for (int i = 0; d == SAME && i < h->count; i++) {
        *at = i;
        d = run_step(&r, i);
    }
    if (d == SAME) d = compare_contents(&r);
    answer_free(&r.fastkv.answer);
    answer_free(&r.native.answer);
    if (side_close(&r.fastkv) && d == SAME) d = DIFFERENT_HOST;
    if (side_close(&r.native) && d == SAME) d = DIFFERENT_HOST;
    remove_files(&r.fastkv);
    remove_files(&r.native);
    sqlite3_free(r.fastkv.path);
    sqlite3_free(r.native.path);
    if (st) st->histories++;
    return d;
}
