/*
** oracle_shrink.c -- from a history that differs to the few statements that make it so
**
** What is left out, as long as the same kind of difference remains: everything after it; steps, in
** ever smaller groups; marked fragments of statements; parameters, which become literals; most of a
** long value; the file, WAL mode and UTF-16. Each try is a whole run on fresh databases. What
** cannot be left out is printed as a script for the sqlite3 shell.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

enum { TRIES_MAX = 4000 };

typedef struct shrinker {
    const char *folder;
    difference kind;
    int tries;
    int at;
} shrinker;

static int still(shrinker *s, const history *h)
{
    if (s->tries++ >= TRIES_MAX) return 0;
    return history_run(h, s->folder, NULL, 0, &s->at) == s->kind;
}

/* Try without steps [from, from + n). */
static int try_without(shrinker *s, history *h, int from, int n)
{
    history less = *h;

    less.count = h->count - n;
    less.steps = oracle_alloc((size_t)h->count * sizeof *less.steps);
    memcpy(less.steps, h->steps, (size_t)from * sizeof *less.steps);
    memcpy(less.steps + from, h->steps + from + n,
           (size_t)(h->count - from - n) * sizeof *less.steps);
    if (!still(s, &less)) {
        free(less.steps);
        return 0;
    }
    for (int i = from; i < from + n; i++) step_free(&h->steps[i]);
    free(h->steps);
    less.capacity = h->count;
    *h = less;
    return 1;
}

static int drop_steps(shrinker *s, history *h)
{
    int less = 0;

    for (int n = h->count / 2; n >= 1; n /= 2) {
        for (int from = h->count - n; from >= 0; from -= n) {
            if (from + n <= h->count && try_without(s, h, from, n)) less = 1;
        }
    }
    return less;
}

/* Put `changed` in the place of a step if the difference stays. */
static int try_step(shrinker *s, history *h, int at, step changed)
{
    step old = h->steps[at];

    h->steps[at] = changed;
    if (still(s, h)) {
        step_free(&old);
        return 1;
    }
    step_free(&changed);
    h->steps[at] = old;
    return 0;
}

static int drop_fragments(shrinker *s, history *h)
{
    int less = 0;

    for (int i = 0; i < h->count; i++) {
        for (int n = 0; n < marks_count(h->steps[i].sql); n++) {
            step changed = step_copy(&h->steps[i]);
            char *sql = marks_without(changed.sql, n);
            sqlite3_free(changed.sql);
            changed.sql = sql;
            if (changed.native) {
                char *native = marks_without(changed.native, n);
                sqlite3_free(changed.native);
                changed.native = native;
            }
            if (try_step(s, h, i, changed)) {
                less = 1;
                n--;
            }
        }
    }
    return less;
}

/* ?n as what is bound to it. */
static char *with_literal(const char *sql, int n, const value *v, int utf16)
{
    sqlite3_str *out = sqlite3_str_new(NULL);

    while (*sql) {
        char *end = NULL;
        if (*sql == '?' && strtol(sql + 1, &end, 10) == n && end != sql + 1) {
            value_literal(out, v, utf16);
            sql = end;
        } else {
            sqlite3_str_appendchar(out, 1, *sql++);
        }
    }
    return sqlite3_str_finish(out);
}

static int inline_parameters(shrinker *s, history *h)
{
    int less = 0;

    for (int i = 0; i < h->count; i++) {
        if (h->steps[i].flags & STEP_AGAIN) {
            step once = step_copy(&h->steps[i]);
            once.flags &= ~(unsigned)STEP_AGAIN;
            if (!try_step(s, h, i, once)) continue;
        }
        for (int n = 1; n <= h->steps[i].param_count; n++) {
            step changed = step_copy(&h->steps[i]);
            char *sql = with_literal(changed.sql, n, &changed.params[n - 1], h->encoding != 0);
            /* A NULL that is bound is another thing to a column with a DEFAULT. */
            int type = changed.params[n - 1].type;
            if (strcmp(sql, changed.sql) == 0 || type == SQLITE_NULL) {
                sqlite3_free(sql);
                step_free(&changed);
                continue;
            }
            sqlite3_free(changed.sql);
            changed.sql = sql;
            less |= try_step(s, h, i, changed);
        }
    }
    return less;
}

/* Long runs of the same one or two characters ('zzz…', x'7a7a…') cut to a few. */
static char *without_runs(const char *sql)
{
    sqlite3_str *out = sqlite3_str_new(NULL);
    size_t run = 0;

    for (size_t i = 0; sql[i]; i++) {
        run = i >= 2 && sql[i] == sql[i - 2] && sql[i] > NATIVE_MARK ? run + 1 : 0;
        if (run < 12 || (run & 1 && sql[i + 1] != sql[i - 1])) {
            sqlite3_str_appendchar(out, 1, sql[i]);
        }
    }
    return sqlite3_str_finish(out);
}

static void shorten(shrinker *s, history *h)
{
    for (int i = 0; i < h->count; i++) {
        step changed = step_copy(&h->steps[i]);
        char *sql = without_runs(changed.sql);
        if (sql && strcmp(sql, changed.sql) != 0) {
            sqlite3_free(changed.sql);
            changed.sql = sql;
            (void)try_step(s, h, i, changed);
        } else {
            sqlite3_free(sql);
            step_free(&changed);
        }
    }
}

static int try_setting(shrinker *s, history *h, int *setting)
{
    int old = *setting;

    if (!old) return 0;
    *setting = 0;
    if (still(s, h)) return 1;
    *setting = old;
    return 0;
}

static int uses(const char *sql, int n)
{
    for (; *sql; sql++) {
        char *end = NULL;
        if (*sql == '?' && strtol(sql + 1, &end, 10) == n && end != sql + 1) return 1;
    }
    return 0;
}

static void print_parameters(const history *h, const step *s)
{
    for (int n = 1; n <= s->param_count; n++) {
        sqlite3_str *text;
        char *literal;
        if (!uses(s->sql, n)) continue;
        text = sqlite3_str_new(NULL);
        value_literal(text, &s->params[n - 1], h->encoding != 0);
        literal = sqlite3_str_finish(text);
        (void)printf("REPLACE INTO temp.sqlite_parameters VALUES ('?%d', %s);\n", n, literal);
        sqlite3_free(literal);
    }
}

void history_print(const history *h, int upto)
{
    static const char *const encodings[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    int parameters = 0;

    (void)printf("-- history %" PRIu64 "%s%s\n", h->seed, h->on_file ? ", on file" : "",
                 h->wal ? ", WAL" : "");
    (void)printf(".load build/fastkv\n");
    if (h->on_file) (void)printf(".open oracle.db\n");
    if (h->attached) (void)printf("ATTACH ':memory:' AS aux1;\n");
    if (h->no_automatic) (void)printf("PRAGMA automatic_index = OFF;\n");
    if (h->encoding) (void)printf("PRAGMA encoding = '%s';\n", encodings[h->encoding]);
    for (int i = 0; i <= upto && i < h->count; i++) {
        const step *s = &h->steps[i];
        const char *native = s->native ? s->native : strchr(s->sql, NATIVE_MARK) ? s->sql : NULL;
        char *sql = marks_strip(s->sql, 0);
        if (s->param_count && !parameters) {
            (void)printf(".parameter init\n");
            parameters = 1;
        }
        print_parameters(h, s);
        if (s->flags & STEP_AGAIN) (void)printf("-- and again, each parameter the next one:\n");
        if (s->kind == STEP_OTHER) (void)printf("-- by another connection:\n");
        if (s->kind == STEP_CURSOR_OPEN) (void)printf("-- step %d times:\n", s->number);
        (void)printf("%s;\n", sql);
        sqlite3_free(sql);
        if (native) {
            sql = marks_strip(native, 1);
            (void)printf("-- native: %s;\n", sql);
            sqlite3_free(sql);
        }
    }
    (void)fflush(stdout);
}

void history_shrink(history *h, const char *folder, difference kind, int at)
{
    shrinker s = {.folder = folder, .kind = kind};
    int less = 1;

    while (h->count > at + 1) step_free(&h->steps[--h->count]);
    if (!still(&s, h)) {
        (void)printf("-- does not happen again; unshrunk:\n");
        return;
    }
    (void)try_setting(&s, h, &h->on_file);
    (void)try_setting(&s, h, &h->wal);
    (void)try_setting(&s, h, &h->attached);
    (void)try_setting(&s, h, &h->no_automatic);
    while (less && s.tries < TRIES_MAX) {
        less = drop_steps(&s, h);
        less |= drop_fragments(&s, h);
    }
    (void)inline_parameters(&s, h);
    shorten(&s, h);
    (void)try_setting(&s, h, &h->encoding);
    (void)drop_steps(&s, h);
    (void)drop_fragments(&s, h);
}
