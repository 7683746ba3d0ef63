/*
** LIKE and GLOB find what they would find by looking at each row.
**
** Of GLOB 'a*' SQLite makes >= 'a' and < 'b' as well, and hands those over as if somebody had
** written them. Taken at their word they lose BLOBs (where LIKE and GLOB match those: not in
** Debian's build), numbers ('I*' matches Inf), and rows that match U+FFFD. And U+FFFE and U+FFFF in
** a pattern, which are read as U+FFFD, were taken for themselves. (Found by oracle/test_oracle.c
** with a newer SQLite, and with ill-formed text let into its patterns.)
*/
#include <sqlite3.h>

#include "check.h"

int sqlite3_fastkv_init(sqlite3 *db, char **error, const void *api);

/* As SQL; the bytes of a text as they are. */
static const char *const values[] = {"'a'",
                                     "'ab'",
                                     "'abc'",
                                     "'aB'",
                                     "'b'",
                                     "'I'",
                                     "'Inf'",
                                     "'-I'",
                                     "CAST(x'ff' AS TEXT)",
                                     "CAST(x'61ff' AS TEXT)",
                                     "CAST(x'c3' AS TEXT)",
                                     "CAST(x'eda080' AS TEXT)",
                                     "CAST(x'efbfbd' AS TEXT)",
                                     "CAST(x'efbfbe' AS TEXT)",
                                     "CAST(x'efbfbf' AS TEXT)",
                                     "CAST(x'61efbfbe' AS TEXT)",
                                     "CAST(x'c3a9' AS TEXT)",
                                     "CAST(x'c3a961' AS TEXT)",
                                     "x'616263'",
                                     "x'ff'",
                                     "x''",
                                     "9e999",
                                     "-9e999",
                                     "1",
                                     "-1",
                                     "12.5",
                                     "''",
                                     NULL};
static const char *const prefixes[] = {"a",
                                       "ab",
                                       "A",
                                       "I",
                                       "-I",
                                       "-",
                                       "1",
                                       "\xff",
                                       "a\xff",
                                       "\xc3",
                                       "\xef\xbf\xbd",
                                       "\xef\xbf\xbe",
                                       "\xef\xbf\xbf",
                                       "a\xef\xbf\xbd",
                                       "\xc3\xa9",
                                       "",
                                       NULL};
static const char *const types[] = {"", "TEXT", "BLOB", NULL};

/* The ids of the rows that the condition finds, in order. */
static char *found(sqlite3 *db, const char *condition, const char *pattern)
{
    char *sql = sqlite3_mprintf("SELECT group_concat(id, ' ') FROM (SELECT id FROM t WHERE %s "
                                "ORDER BY id)",
                                condition);
    sqlite3_stmt *s = NULL;
    char *ids = NULL;

    CHECK(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK);
    (void)sqlite3_bind_text(s, 1, pattern, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        ids = sqlite3_mprintf("%s", text ? text : "");
    }
    CHECK(sqlite3_finalize(s) == SQLITE_OK);
    sqlite3_free(sql);
    CHECK(ids != NULL);
    return ids;
}

/* A condition on the key k: as it is, and with +k, of which the table is told nothing. */
static void compare(sqlite3 *db, const char *condition, const char *pattern)
{
    char *looks, *a, *b;
    sqlite3_str *plus = sqlite3_str_new(NULL);

    for (const char *p = condition; *p; p++) {
        if (*p == 'k') sqlite3_str_appendchar(plus, 1, '+');
        sqlite3_str_appendchar(plus, 1, *p);
    }
    looks = sqlite3_str_finish(plus);
    a = found(db, condition, pattern);
    b = found(db, looks, pattern);
    CHECK(a && b && strcmp(a, b) == 0);
    if (a && b && strcmp(a, b) != 0) {
        (void)printf("  %s, ?1 = '%s'\n  found %s\n  of    %s\n", condition, pattern, a, b);
    }
    sqlite3_free(looks);
    sqlite3_free(a);
    sqlite3_free(b);
}

static void compare_all(sqlite3 *db)
{
    static const char *const forms[] = {"k GLOB '%s*'",
                                        "k LIKE '%s%%'",
                                        "k GLOB '%s'",
                                        "k GLOB '%s*' AND k >= 'a' AND k < 'b'",
                                        "k GLOB '%s*' AND k >= 'aB' AND k < 'c'",
                                        "k < 'b' AND (k = 5 OR k GLOB '%s*')",
                                        "k GLOB '%s*' AND k <= 'ab'",
                                        "k >= '%s' AND k GLOB '*b*'",
                                        NULL};

    for (int i = 0; prefixes[i]; i++) {
        char *glob = sqlite3_mprintf("%s*", prefixes[i]),
             *like = sqlite3_mprintf("%s%%", prefixes[i]);
        for (int j = 0; forms[j]; j++) {
            char *condition = sqlite3_mprintf(forms[j], prefixes[i]);
            compare(db, condition, "");
            sqlite3_free(condition);
        }
        compare(db, "k GLOB ?1", glob);
        compare(db, "k GLOB ?1 AND k < 'b'", glob);
        compare(db, "k LIKE ?1", like);
        compare(db, "k LIKE ?1 OR k GLOB 'a*'", like);
        sqlite3_free(glob);
        sqlite3_free(like);
    }
}

static void patterns_find_all(void)
{
    for (int i = 0; types[i]; i++) {
        sqlite3 *db = NULL;
        char *create =
            sqlite3_mprintf("CREATE VIRTUAL TABLE t USING fastkv(k %s PRIMARY KEY, id)", types[i]);
        int failures = check_failures;
        REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
        REQUIRE(sqlite3_fastkv_init(db, NULL, NULL) == SQLITE_OK);
        CHECK(sqlite3_exec(db, create, NULL, NULL, NULL) == SQLITE_OK);
        for (int j = 0; values[j]; j++) {
            char *insert = sqlite3_mprintf("INSERT OR IGNORE INTO t VALUES(%s, %d)", values[j], j);
            CHECK(sqlite3_exec(db, insert, NULL, NULL, NULL) == SQLITE_OK);
            sqlite3_free(insert);
        }
        compare_all(db);
        CHECK(sqlite3_exec(db, "PRAGMA case_sensitive_like = 1", NULL, NULL, NULL) == SQLITE_OK);
        compare_all(db);
        if (check_failures != failures) (void)printf("with a key declared as '%s'\n", types[i]);
        CHECK(sqlite3_close(db) == SQLITE_OK);
        sqlite3_free(create);
    }
}

TEST_MAIN("test_pattern_bounds", TEST_CASE(patterns_find_all))
