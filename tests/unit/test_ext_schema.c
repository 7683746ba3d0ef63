/* The declaration parser: what is understood, and what is refused and how. */
#include "check.h"
#include "schema.h"

#include <sqlite3.h>

typedef struct parsed {
    kv_schema s;
    char *error;
    int rc;
} parsed;

static void parse(parsed *p, int count, const char *const *args)
{
    memset(p, 0, sizeof *p);
    p->rc = schema_parse(&p->s, "kv", count, args, &p->error);
}

static void release(parsed *p)
{
    schema_release(&p->s);
    schema_release(&p->s); /* twice is fine */
    sqlite3_free(p->error);
}

static void no_arguments_mean_key_and_value(void)
{
    parsed p;

    parse(&p, 0, NULL);
    REQUIRE(p.rc == SQLITE_OK);
    CHECK(p.s.column_count == 2 && p.s.key_count == 1 && p.s.row_count == 1);
    CHECK(strcmp(p.s.columns[0].name, "key") == 0 && strcmp(p.s.columns[1].name, "value") == 0);
    CHECK(p.s.columns[0].affinity == AFFINITY_BLOB);
    CHECK(schema_key_column(&p.s) == -1 && schema_command_column(&p.s) == 2);
    release(&p);
}

static void names_types_and_clauses(void)
{
    static const char *const args[] = {
        "\"a \"\"b\" VARCHAR(10) NOT NULL",       "[c d] /* x */ DECIMAL(10, -2) -- end",
        "`e``f` DOUBLE PRECISION DEFAULT -1.5e3", "'g' DEFAULT 'it''s' COLLATE binary",
        "h CONSTRAINT x NOT NULL DEFAULT x'00'",  "CONSTRAINT pk PRIMARY KEY ([c d] ASC, g)"};
    parsed p;

    parse(&p, 6, args);
    REQUIRE(p.rc == SQLITE_OK);
    REQUIRE(p.s.column_count == 5 && p.s.key_count == 2);
    CHECK(strcmp(p.s.columns[0].name, "a \"b") == 0 && p.s.columns[0].not_null);
    CHECK(p.s.columns[0].affinity == AFFINITY_TEXT);
    CHECK(strcmp(p.s.columns[1].name, "c d") == 0 && p.s.columns[1].key_index == 0);
    CHECK(strcmp(p.s.columns[1].type, "DECIMAL(10, -2)") == 0);
    CHECK(p.s.columns[1].affinity == AFFINITY_NUMERIC && p.s.columns[1].not_null);
    CHECK(strcmp(p.s.columns[2].name, "e`f") == 0 && p.s.columns[2].affinity == AFFINITY_REAL);
    CHECK(strcmp(p.s.columns[2].default_text, "-1.5e3") == 0);
    CHECK(p.s.keys[0] == 1 && p.s.keys[1] == 3);
    CHECK(p.s.columns[3].row_index == -1 && p.s.columns[4].row_index == 2);
    CHECK(schema_key_column(&p.s) == 5 && schema_arg_column(&p.s) == 7);
    release(&p);
}

static void affinities_follow_the_type(void)
{
    CHECK(affinity_of_type("") == AFFINITY_BLOB);
    CHECK(affinity_of_type("BIGINT") == AFFINITY_INTEGER);
    CHECK(affinity_of_type("CHARINT") == AFFINITY_INTEGER);
    CHECK(affinity_of_type("NATIVE CHARACTER") == AFFINITY_TEXT);
    CHECK(affinity_of_type("clob") == AFFINITY_TEXT);
    CHECK(affinity_of_type("TEXTBLOB") == AFFINITY_TEXT);
    CHECK(affinity_of_type("blob") == AFFINITY_BLOB);
    CHECK(affinity_of_type("float") == AFFINITY_REAL);
    CHECK(affinity_of_type("FLOATING POINT") == AFFINITY_INTEGER); /* poINT */
    CHECK(affinity_of_type("DATETIME") == AFFINITY_NUMERIC);
}

static void options_are_set(void)
{
    static const char *const args[] = {"a",
                                       "memory = '64 MB'",
                                       "compression=zlib",
                                       "block_size = 16KB",
                                       "bloom_bits=0",
                                       "durability = NONE",
                                       "ttl = 0.25"};
    parsed p;

    parse(&p, 7, args);
    REQUIRE(p.rc == SQLITE_OK);
    CHECK(p.s.options.store.memory_bytes == (size_t)64 << 20);
    CHECK(p.s.options.codec == 2 && p.s.options.store.block_bytes == 16384);
    CHECK(p.s.options.store.bloom_bits == 1 && p.s.options.durability == DURABILITY_NONE);
    CHECK(p.s.column_count == 1 && p.s.options.ttl_ms == 250);
    release(&p);
    parse(&p, 3, (const char *const[]){"a", "compression = zstd : 19 ", "ttl = None"});
    CHECK(p.rc == SQLITE_ERROR);
    release(&p);
    parse(&p, 3, (const char *const[]){"a", "compression = ZSTD:19 ", "ttl = None"});
    CHECK(p.rc == SQLITE_OK && p.s.options.codec == 4);
    CHECK(p.s.options.codec_level == 19 && p.s.options.ttl_ms == 0);
    release(&p);
}

static void each_refusal_names_the_word(void)
{
    static const struct {
        const char *definition, *word;
    } cases[] = {{"b CHECK (b > 1)", "CHECK"},
                 {"b UNIQUE", "UNIQUE"},
                 {"b REFERENCES t(x)", "REFERENCES"},
                 {"b COLLATE NOCASE", "NOCASE"},
                 {"b AS (1)", "GENERATED"},
                 {"FOREIGN KEY (a) REFERENCES t", "FOREIGN KEY"},
                 {"PRIMARY KEY (a DESC)", "DESC"},
                 {"PRIMARY KEY (x)", "\"x\""},
                 {"PRIMARY KEY (a", "\")\""},
                 {"PRIMARY KEY (a) ON CONFLICT IGNORE", "ON CONFLICT"},
                 {"PRIMARY (a)", "KEY"},
                 {"A", "\"A\""},
                 {"KV", "\"KV\""},
                 {"arg", "\"arg\""},
                 {"fastkv_key", "\"fastkv_key\""},
                 {"expires_at", "\"expires_at\""},
                 {"\"\"", "name"},
                 {"b DEFAULT (1)", "literal"},
                 {"b DEFAULT -x", "number"},
                 {"b NOT x", "NULL"},
                 {"b \"unclosed", "unclosed"},
                 {"b TEXT(", "\")\""},
                 {"5", "\"5\""},
                 {"ttll = 5", "\"ttll\""},
                 {"memory = 5", "1MB"},
                 {"memory = 99999999999999999999GB", "1MB"},
                 {"block_size = 2 x", "1048576"},
                 {"compression = zlib:10", "zlib:10"},
                 {"compression = 'lz4:1'", "lz4:1"},
                 {"compression = zstd:", "\"zstd:\""},
                 {"ttl = -1", "seconds"},
                 {"ttl = 1.2345", "seconds"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *args[2] = {"a TEXT", cases[i].definition};
        parsed p;
        parse(&p, 2, args);
        CHECK(p.rc == SQLITE_ERROR);
        CHECK(p.error && strncmp(p.error, "fastkv: ", 8) == 0);
        CHECK(p.error && strstr(p.error, cases[i].word));
        if (check_failures) (void)printf("%s -> %s\n", cases[i].definition, p.error);
        release(&p);
    }
}

/* What SQLite makes of the declaration. */
static void declarations_are_valid_sql(void)
{
    static const char *const args[] = {"\"a\"\"b\" TEXT", "[key] INT DEFAULT 5", "c 'odd type'",
                                       "PRIMARY KEY (\"a\"\"b\", key)"};
    sqlite3 *db = NULL;
    char *sql;
    parsed p;

    REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    parse(&p, 4, args);
    REQUIRE(p.rc == SQLITE_OK);
    sql = schema_declaration(&p.s);
    REQUIRE(sql != NULL);
    CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_free(sql);
    sql = schema_signature(&p.s);
    CHECK(sql && strstr(sql, "PRIMARY KEY (\"a\"\"b\", \"key\")"));
    sqlite3_free(sql);
    release(&p);
    (void)sqlite3_close(db);
}

/* Any text at all must be parsed or refused. */
static void random_text_is_survived(void)
{
    static const char *const pieces[] = {"a",  " ", "(",       ")",    ",",     "'",      "\"",
                                         "[",  "]", "`",       "=",    "--",    "/*",     "*/",
                                         "5",  ".", "PRIMARY", "KEY",  "NOT",   "NULL",   "DEFAULT",
                                         "x'", "-", "COLLATE", "TEXT", "CHECK", "memory", "\n"};

    for (int round = 0; round < 100000; round++) {
        char text[2][200];
        const char *args[2] = {text[0], text[1]};
        parsed p;
        for (int k = 0; k < 2; k++) {
            size_t used = 0;
            for (size_t n = check_below(10); n; n--) {
                const char *piece = pieces[check_below(sizeof pieces / sizeof pieces[0])];
                used += (size_t)snprintf(text[k] + used, sizeof text[k] - used, "%s", piece);
            }
            text[k][used] = 0;
        }
        parse(&p, 2, args);
        CHECK(p.rc == SQLITE_OK || p.error);
        release(&p);
    }
}

TEST_MAIN("test_ext_schema", TEST_CASE(no_arguments_mean_key_and_value),
          TEST_CASE(names_types_and_clauses), TEST_CASE(affinities_follow_the_type),
          TEST_CASE(options_are_set), TEST_CASE(each_refusal_names_the_word),
          TEST_CASE(declarations_are_valid_sql), TEST_CASE(random_text_is_survived))
