/*
** oracle.h -- what the parts of the SQL oracle share.
**
** A history is a list of steps made from a seed alone (oracle_gen.c). It is run on two databases at
** once (oracle_run.c), where the same tables are fastkv tables in one and native WITHOUT ROWID
** tables in the other, and ends at the first thing that differs. oracle_shrink.c takes such a
** history apart until nothing can be left out, and prints it as a script.
**
** The text of a step contains marks: what stands between OPEN_MARK and CLOSE_MARK can be left out
** without the statement becoming another one, and the shrinker tries that. They are taken out
** before SQLite sees the text. A NATIVE_MARK is a + on the native side and nothing on the other: it
** keeps SQLite from an index whose answer is not that of looking at each row. Parameters are
** numbered, ?1 ?2 …: leaving one out moves none.
*/
#ifndef FKV_TESTS_ORACLE_H
#define FKV_TESTS_ORACLE_H

#include <inttypes.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define OPEN_MARK '\1'
#define CLOSE_MARK '\2'
#define NATIVE_MARK '\3'
#define OPEN "\1"
#define CLOSE "\2"
#define NATIVE "\3"

/* -- random numbers: seeded, the same everywhere ----------------------------------------------- */

typedef struct rng {
    uint64_t state;
} rng;

void rng_seed(rng *r, uint64_t seed);
unsigned rng_below(rng *r, unsigned n);
int rng_chance(rng *r, unsigned percent);

/* -- values ------------------------------------------------------------------------------------ */

typedef struct value {
    int type; /* SQLITE_INTEGER …; a REAL may be NaN */
    int64_t integer;
    double real;
    uint8_t *bytes;
    size_t size;
} value;

/* A value that hurts; with utf16 set, none whose text would be ill-formed there. */
value value_random(rng *r, int utf16);
value value_copy(const value *v);
void value_free(value *v);
/* As SQL. In a UTF-16 database a CAST from a BLOB would mean other characters. */
void value_literal(sqlite3_str *out, const value *v, int utf16);
int value_bind(sqlite3_stmt *s, int n, const value *v);
/* Bytes that are equal if the values are the same in type and content. Loose: an integral REAL is
** the same as the INTEGER. */
void value_serialise(sqlite3_str *out, sqlite3_stmt *s, int column, int loose);

/* -- histories --------------------------------------------------------------------------------- */

typedef enum step_kind {
    STEP_SQL,
    STEP_DDL,         /* CREATE, DROP, RENAME: may count other changes than native */
    STEP_COMMAND,     /* on the fastkv side only */
    STEP_OTHER,       /* by a second connection; skipped for :memory: and in a transaction */
    STEP_REOPEN,      /* close both databases and open them again; skipped for :memory: */
    STEP_CURSOR_OPEN, /* step a SELECT `number` rows far; its first `keys` columns are the key */
    STEP_CURSOR_DRAIN /* and go on to its end */
} step_kind;

enum {
    STEP_ORDERED = 1, /* ORDER BY is total: the order of rows is compared as well */
    STEP_LOOSE = 2,   /* which one of equal values is given (1, 1.0) is SQLite's choice */
    STEP_AGAIN = 4    /* run the prepared statement once more, with the parameters moved by one */
};

typedef struct step {
    step_kind kind;
    unsigned flags;
    char *sql;    /* with marks; sqlite3_malloc'ed */
    char *native; /* for the native side; NULL = the same */
    value *params;
    int param_count;
    int number, keys;
} step;

typedef struct history {
    uint64_t seed;
    int encoding; /* 0 UTF-8, 1 UTF-16le, 2 UTF-16be */
    int on_file;
    int wal;
    int attached;     /* there is a second database, aux1 */
    int no_automatic; /* automatic indexes are off: then RTRIM is safe */
    step *steps;
    int count, capacity;
} history;

void history_make(history *h, uint64_t seed);
void history_free(history *h);
step *history_add(history *h); /* zeroed */
void step_free(step *s);
step step_copy(const step *s);

/* The text without marks, as that side is given it; sqlite3_malloc'ed. */
char *marks_strip(const char *sql, int native);
int marks_count(const char *sql);
/* Without fragment n (counted by its opening mark), other marks kept. */
char *marks_without(const char *sql, int n);

/* -- running ----------------------------------------------------------------------------------- */

typedef enum difference {
    SAME,
    DIFFERENT_CODE,
    DIFFERENT_MESSAGE,
    DIFFERENT_ROWS,
    DIFFERENT_COUNTS,
    DIFFERENT_STATE,
    DIFFERENT_CONTENT,
    DIFFERENT_CURSOR,
    DIFFERENT_HOST /* the harness itself could not go on */
} difference;

enum { CODES_MAX = 64, PLANS_MAX = 4096 };

typedef struct statistics {
    uint64_t histories, statements, succeeded, rows_read, rows_written, checks;
    uint64_t selects, answered; /* of the first, how many gave a row */
    int codes[CODES_MAX];       /* extended codes, as met */
    int code_count;
    uint64_t plans[PLANS_MAX]; /* hashes of idxNum:idxStr */
    int plan_count;
} statistics;

/* Run on fresh databases below `folder`. *at is the step where it differs; with `report` what was
** expected and what came is printed. statistics may be NULL. */
difference history_run(const history *h, const char *folder, statistics *st, int report, int *at);

/* Reduce a history that differs with `kind` at step `at`, and print it. */
void history_shrink(history *h, const char *folder, difference kind, int at);
void history_print(const history *h, int upto);
const char *difference_name(difference d);

void *oracle_alloc(size_t size); /* never NULL, zeroed */

#endif
