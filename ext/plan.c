/*
** plan.c -- xBestIndex
**
** A plan is a list of terms on leading key columns: equalities (=, IS, IN), and on the first
** column that has none, ranges (>, >=, <, <=) and patterns (GLOB, LIKE). xFilter turns it into
** key ranges (keyrange.c). The language of idxStr, one term for each argument in argv:
**
**   terms := [term (' ' term)*]
**   term  := op number ['p'] ['~']  number: position of the column in the primary key
**   op    := '=' | 'in' | '>' | '>=' | '<' | '<=' | 'glob' | 'like' | 'offset'
**
** Example: WHERE sensor = ? AND at >= ? is "=0~ >=1". idxNum holds the PLAN_ bits.
**
** Exact and approximate. SQLite leaves the affinity of a comparison to us, but it depends on the
** right side: TEXT = 5 compares as text, TEXT = integer_column compares as numbers ('05'
** matches). Which one it is cannot be asked. With a column of numeric affinity both come to the
** same, and a literal text or blob (sqlite3_vtab_rhs_value) has no numeric affinity, where a
** number may come from a CAST, which has; those terms are exact and SQLite need not look again
** (omit). Every other term is marked '~': SQLite checks each row again, and xFilter takes all
** rows that could match under either reading. Once a term is approximate no later one is omitted:
** the ranges need not honour it.
**
** One row. SQLITE_INDEX_SCAN_UNIQUE makes UPDATE and DELETE by key one pass instead of two (1.8
** us cheaper here), but SQLite then looks at the first row only, which with a widened equality
** need not be the one. So it is claimed for exact equalities only.
**
** Collation. A term with another collation than BINARY arrives as usable and is not ours. LIKE's
** own range terms arrive with NOCASE; the LIKE term itself is used instead, with omit = 0 (so is
** GLOB).
**
** Of GLOB 'a*', and of LIKE where it minds case, SQLite makes two more terms: >= 'a' and < 'b'.
** They do not mean BLOBs, which most builds of SQLite let match (it seeks a native index twice
** then), nor U+FFFD, for which LIKE and GLOB take what is ill-formed; and a virtual table is not
** told what they are. So >= and < beside a pattern are marked 'p', and xFilter leaves them out if
** they are the pattern's. (SQLite checks those that somebody wrote.)
**
** Order. Rows come in key order, so ORDER BY is consumed when its columns are the key columns in
** order, all up or all down, leaving out those that an equality fixes. An approximate equality
** does not quite fix its column ('05' and '5' may both match): if the order leaves such a column
** out the plan is marked PLAN_GATHER, and should the ranges turn out to be wider than the value,
** xFilter gathers the keys in them and puts them in order itself (gather.c). In a UTF-16 database
** text sorts by UTF-16 units: no order, and text ranges are approximate.
**
** Distinct. Where a query wants distinct rows only and uses no column but the first n of the key,
** rows that agree in those are the same row to it, and all but one of them are left out: a query
** for the sensors in a table of readings seeks from sensor to sensor. (sqlite3_vtab_distinct
** permits it; that no other column is used makes it safe beside conditions we are not told of.)
**
** Only one IN is used (as a list, through sqlite3_vtab_in), so that the number of ranges stays
** that of the list. Neither LIMIT nor OFFSET is: SQLite stops asking by itself, and rows that
** OFFSET passes over cannot be skipped here, because conditions that we are not told of (two
** columns of this table compared with each other, say) may drop some of them.
*/
#include "plan.h"

#include "listener.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#define OMIT_MAX 16 /* SQLite honours omit for so many arguments */
#define ESTIMATE_PLANS 64
#define ROWS_MIN 1000
#define ROWS_UNKNOWN 1000000

static const char *const op_names[TERM_COUNT] = {"=", "in", ">", ">=", "<", "<=", "glob", "like"};

typedef struct planner {
    kv_table *t;
    sqlite3_index_info *info;
    sqlite3_str *text;
    int args;
    int approximate;   /* some term is */
    int in_position;   /* key position of the IN; -1 = there is none */
    uint64_t loose;    /* key positions with an approximate equality, a bit each */
    int bound_columns; /* leading key columns with an equality */
    int range_terms;
    int pattern_terms;
    int beside_pattern; /* the next term is */
} planner;

int plan_next_term(const char **text, plan_term *out)
{
    const char *p = *text;
    size_t n = 0;

    if (!p || !*p) return 0;
    while (p[n] && !(p[n] >= '0' && p[n] <= '9')) n++;
    for (int op = 0; op < TERM_COUNT; op++) {
        if (strlen(op_names[op]) == n && memcmp(op_names[op], p, n) == 0) out->op = (term_op)op;
    }
    out->key_index = 0;
    for (p += n; *p >= '0' && *p <= '9'; p++) out->key_index = out->key_index * 10 + (*p - '0');
    out->beside_pattern = *p == 'p';
    if (*p == 'p') p++;
    out->approximate = *p == '~';
    if (*p == '~') p++;
    if (*p == ' ') p++;
    *text = p;
    return 1;
}

static int is_binary(sqlite3_index_info *info, int i)
{
    const char *name = sqlite3_vtab_collation(info, i);

    return !name || sqlite3_stricmp(name, "BINARY") == 0;
}

/* The right side is a constant that surely has no numeric affinity. */
static int is_literal(sqlite3_index_info *info, int i)
{
    sqlite3_value *v = NULL;

    if (sqlite3_vtab_rhs_value(info, i, &v) != SQLITE_OK || !v) return 0;
    return sqlite3_value_type(v) == SQLITE_TEXT || sqlite3_value_type(v) == SQLITE_BLOB;
}

static int is_in(sqlite3_index_info *info, int i)
{
    return sqlite3_vtab_in(info, i, -1);
}

static int is_exact(planner *p, int i, term_op op, int position)
{
    const kv_column *c = &p->t->schema.columns[p->t->schema.keys[position]];

    if (op == TERM_GLOB || op == TERM_LIKE || p->beside_pattern) return 0;
    if (op != TERM_EQ && op != TERM_IN && !p->t->utf8) return 0;
    if (c->affinity >= AFFINITY_NUMERIC) return 1;
    return op != TERM_IN && is_literal(p->info, i);
}

/* Use constraint i as the next term. */
static void take(planner *p, int i, term_op op, int position)
{
    int exact = is_exact(p, i, op, position);

    p->args++;
    if (!exact) p->approximate = 1;
    if (!exact && op == TERM_EQ && position < 64) p->loose |= (uint64_t)1 << position;
    p->info->aConstraintUsage[i].argvIndex = p->args;
    p->info->aConstraintUsage[i].omit = !p->approximate && p->args <= OMIT_MAX;
    sqlite3_str_appendf(p->text, "%s%s%d%s%s", p->args > 1 ? " " : "", op_names[op], position,
                        p->beside_pattern ? "p" : "", exact ? "" : "~");
}

/* Which of our terms a constraint on this column would be; -1 = none. */
static int term_of(planner *p, int i, int table_column)
{
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];

    if (!c->usable || c->iColumn != table_column) return -1;
    switch (c->op) {
    case SQLITE_INDEX_CONSTRAINT_GLOB:
        return TERM_GLOB;
    case SQLITE_INDEX_CONSTRAINT_LIKE:
        return TERM_LIKE;
    default:
        break;
    }
    if (!is_binary(p->info, i)) return -1;
    switch (c->op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
        return is_in(p->info, i) ? TERM_IN : TERM_EQ;
    case SQLITE_INDEX_CONSTRAINT_IS:
        return TERM_EQ;
    case SQLITE_INDEX_CONSTRAINT_GT:
        return TERM_GT;
    case SQLITE_INDEX_CONSTRAINT_GE:
        return TERM_GE;
    case SQLITE_INDEX_CONSTRAINT_LT:
        return TERM_LT;
    case SQLITE_INDEX_CONSTRAINT_LE:
        return TERM_LE;
    default:
        return -1;
    }
}

/* An equality for this key column: 1 if one was taken. */
static int take_equality(planner *p, int position)
{
    int table_column = p->t->schema.keys[position];
    int in = -1;

    for (int i = 0; i < p->info->nConstraint; i++) {
        int op = term_of(p, i, table_column);
        if (op == TERM_EQ) {
            take(p, i, TERM_EQ, position);
            return 1;
        }
        if (op == TERM_IN && in < 0) in = i;
    }
    if (in < 0 || p->in_position >= 0 || !sqlite3_vtab_in(p->info, in, 1)) return 0;
    take(p, in, TERM_IN, position);
    p->in_position = position;
    return 1;
}

static int has_pattern(planner *p, int table_column)
{
    for (int i = 0; i < p->info->nConstraint; i++) {
        int op = term_of(p, i, table_column);
        if (op == TERM_GLOB || op == TERM_LIKE) return 1;
    }
    return 0;
}

static void take_ranges(planner *p, int position)
{
    int pattern = has_pattern(p, p->t->schema.keys[position]);

    for (int i = 0; i < p->info->nConstraint; i++) {
        int op = term_of(p, i, p->t->schema.keys[position]);
        if (op < 0 || op == TERM_EQ || op == TERM_IN) continue;
        p->beside_pattern = pattern && (op == TERM_GE || op == TERM_LT);
        take(p, i, (term_op)op, position);
        p->beside_pattern = 0;
        if (op == TERM_GLOB || op == TERM_LIKE) {
            p->pattern_terms++;
        } else {
            p->range_terms++;
        }
    }
}

/* Does an equality fix this column? `trusting`: also an approximate one. */
static int is_fixed(const planner *p, int position, int trusting)
{
    if (position >= p->bound_columns || position == p->in_position) return 0;
    return trusting || (position < 64 && !(p->loose >> position & 1));
}

static int key_position(const planner *p, int table_column)
{
    if (table_column < 0 || table_column >= p->t->schema.column_count) return -1;
    return p->t->schema.columns[table_column].key_index;
}

/* Is the key order the wanted one, columns that an equality fixes left out? Sets *descending. */
static int order_fits(const planner *p, int trusting, int *descending)
{
    const sqlite3_index_info *info = p->info;
    int next = 0, direction = -1;

    if (!p->t->utf8) return 0;
    for (int i = 0; i < info->nOrderBy; i++) {
        int position = key_position(p, info->aOrderBy[i].iColumn);
        if (trusting && position >= 0 && is_fixed(p, position, 1) && !is_fixed(p, position, 0)) {
            return 0; /* an order by a column that is taken for fixed and may not be */
        }
        while (next < p->t->schema.key_count && is_fixed(p, next, trusting)) next++;
        if (next == p->t->schema.key_count) break; /* one row: what follows cannot matter */
        if (position >= 0 && (is_fixed(p, position, trusting) || position < next)) continue;
        if (position != next) return 0;
        if (direction >= 0 && direction != info->aOrderBy[i].desc) return 0;
        direction = info->aOrderBy[i].desc;
        next++;
    }
    *descending = direction == 1;
    return info->nOrderBy > 0;
}

/* How many leading key columns hold all that a query for distinct rows looks at; 0 = all of them,
** or the query is none. */
static int distinct_columns(const planner *p)
{
    const kv_schema *s = &p->t->schema;
    int columns = 0;

    if (sqlite3_vtab_distinct(p->info) < 2 || p->info->colUsed >> 63) return 0;
    for (int i = 0; i < 63; i++) {
        int position = key_position(p, i);
        if (!(p->info->colUsed >> i & 1)) continue;
        if (position < 0) return 0;
        if (position >= columns) columns = position + 1;
    }
    return columns < s->key_count ? columns : 0;
}

/* Rows in the table, roughly; asks the store once in a while. Not before the first use if that is
** inside BEGIN: opening the table would take a snapshot of the database before the statement
** does. */
static double table_rows(kv_table *t)
{
    if (!t->ready && !sqlite3_get_autocommit(t->owner->db)) return ROWS_UNKNOWN;
    if (t->plans++ % ESTIMATE_PLANS == 0 && kv_table_ready(t) == SQLITE_OK) {
        kv_table_range r;
        uint64_t bytes;
        kv_table_bounds(t, &r);
        fkv_estimate(t->conn->store, fkv_slice_of(r.from, sizeof r.from),
                     fkv_slice_of(r.to, sizeof r.to), &t->rows, &bytes);
    }
    return t->rows < ROWS_MIN ? ROWS_MIN : (double)t->rows;
}

/* Every key column has one value. */
static int is_one_row(const planner *p)
{
    return p->bound_columns == p->t->schema.key_count && p->in_position < 0;
}

static void estimate(planner *p)
{
    sqlite3_index_info *info = p->info;
    double rows = table_rows(p->t);
    int has_in = p->in_position >= 0;
    double seeks = has_in ? 25 : 1; /* SQLite's own guess at the length of a list */
    int all = p->bound_columns == p->t->schema.key_count;

    if (all) {
        rows = seeks;
    } else {
        for (int i = 0; i < p->bound_columns; i++) rows /= 100;
        if (p->range_terms) rows /= p->range_terms > 1 ? 64 : 4;
        if (p->pattern_terms && !p->range_terms) rows /= 64;
        if (has_in) rows *= seeks;
        if (p->bound_columns && rows < 10 * seeks) rows = 10 * seeks;
        if (rows < 2) rows = 2;
    }
    info->estimatedRows = (sqlite3_int64)rows;
    info->estimatedCost = 10 * seeks + 1.5 * rows;
    if (is_one_row(p) && !p->approximate) info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
}

int plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    kv_table *t = (kv_table *)vtab;
    planner p = {.t = t, .info = info, .in_position = -1};
    int descending = 0;
    int position = 0;

    listener_make(t->owner, 0);
    p.text = sqlite3_str_new(NULL);
    while (position < t->schema.key_count && take_equality(&p, position)) position++;
    p.bound_columns = position;
    if (position < t->schema.key_count) take_ranges(&p, position);
    if (order_fits(&p, 0, &descending)) {
        info->orderByConsumed = 1;
    } else if (order_fits(&p, 1, &descending)) {
        info->orderByConsumed = 1;
        info->idxNum |= PLAN_GATHER;
    }
    if (info->orderByConsumed && descending) info->idxNum |= PLAN_DESCENDING;
    if (t->schema.key_count == 1 && p.args == 1 && p.bound_columns == 1 && p.in_position < 0) {
        info->idxNum |= PLAN_POINT;
        if (p.approximate) info->idxNum |= PLAN_APPROXIMATE;
        info->idxNum &= ~PLAN_GATHER;
    }
    info->idxNum |= distinct_columns(&p) << PLAN_DISTINCT_SHIFT;
    estimate(&p);
    info->idxStr = sqlite3_str_finish(p.text);
    info->needToFreeIdxStr = 1;
    return info->idxStr || p.args == 0 ? SQLITE_OK : SQLITE_NOMEM;
}
