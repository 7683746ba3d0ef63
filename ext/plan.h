/* plan.h -- what xBestIndex tells xFilter. */
#ifndef FASTKV_EXT_PLAN_H
#define FASTKV_EXT_PLAN_H

#include "table.h"

/* idxNum, bits. */
enum {
    PLAN_POINT = 1,       /* one equality on a one-column key, and nothing else */
    PLAN_DESCENDING = 2,  /* rows in falling key order */
    PLAN_APPROXIMATE = 4, /* the equality of PLAN_POINT is approximate */
    PLAN_GATHER = 8,      /* the order takes approximate equalities for exact: see gather.h */
    PLAN_DISTINCT_SHIFT =
        8 /* from here on: how many leading key columns tell rows apart; 0 = all */
};

typedef enum term_op {
    TERM_EQ,
    TERM_IN,
    TERM_GT,
    TERM_GE,
    TERM_LT,
    TERM_LE,
    TERM_GLOB,
    TERM_LIKE,
    TERM_COUNT
} term_op;

/* One term of idxStr; argv has one value for each. */
typedef struct plan_term {
    term_op op;
    int key_index; /* which column of the key */
    int approximate;
    int beside_pattern; /* >= or <, and may be what SQLite has made of a pattern */
} plan_term;

/* Read the next term; 0 at the end. */
int plan_next_term(const char **text, plan_term *out);

int plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info);

#endif
