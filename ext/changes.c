/*
** changes.c -- the change feed of a table
**
** fastkv_changes(table, since) has a row for each change that was committed after the one numbered
** `since`, in the order of the commits: seq, op, key, value, expires_at. Whoever applies them and
** keeps the last seq has a copy of the table, and comes back with that seq.
**
** The hidden column `generation` is another number where sequences may have been given out again
** (engine/store/keep.c). Whoever gives the one he knows hears of it by an error.
**
** key and value are columns as they are where the table has one of the kind. Where it has several
** they are a JSON array of them, a BLOB in it being {"hex": "..."}.
**
** A range of rows that went by one record (truncate, delete-prefix, delete-range, a pop of many) is
** one row of the feed: op is 'delete-range', key and value are BLOBs, the first encoded key that
** goes and the first that stays. fastkv_key(table, key...) encodes: a copy deletes the rows with
** fastkv_key('kv', key) >= :key AND fastkv_key('kv', key) < :value. (The bounds need not be keys: a
** prefix, or "just behind this key".)
*/
#include "changes.h"

#include "base/alloc.h"
#include "errmap.h"
#include "lookup.h"
#include "rowcode.h"

SQLITE_EXTENSION_INIT3

enum { AT_ONCE = 256, BYTES_AT_ONCE = 1 << 20 };

typedef struct feed {
    conn *conn; /* whose store `changes` reads: kept open */
    fkv_changes *changes;
    int64_t left;
    uint8_t prefix[SPACE_BYTES];
    char *table;
    int key_count, row_count;
    affinity *affinities; /* of the key's columns */
    cell *cells;
    buf scratch;
    sqlite3_str *json;
} feed;

static void feed_end(void *state)
{
    feed *f = state;

    fkv_changes_free(f->changes);
    f->conn->feeds--;
    conn_release(f->conn);
    sqlite3_free(f->table);
    alloc_free(f->affinities);
    alloc_free(f->cells);
    buf_release(&f->scratch);
    sqlite3_free(sqlite3_str_finish(f->json));
    alloc_free(f);
}

/* -- columns ----------------------------------------------------------------------------------- */

static void add_json_text(sqlite3_str *out, fkv_slice text)
{
    sqlite3_str_appendchar(out, 1, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            sqlite3_str_appendf(out, "\\%c", c);
        } else if (c < ' ') {
            sqlite3_str_appendf(out, "\\u%04x", c);
        } else {
            sqlite3_str_appendchar(out, 1, (char)c);
        }
    }
    sqlite3_str_appendchar(out, 1, '"');
}

static void add_json_cell(sqlite3_str *out, const cell *c)
{
    switch (c->type) {
    case SQLITE_INTEGER:
        sqlite3_str_appendf(out, "%lld", c->integer);
        break;
    case SQLITE_FLOAT:
        if (c->real > 1.7e308 || c->real < -1.7e308) {
            sqlite3_str_appendf(out, "%s9e999", c->real < 0 ? "-" : "");
        } else {
            sqlite3_str_appendf(out, "%!.17g", c->real);
        }
        break;
    case SQLITE_TEXT:
        add_json_text(out, c->bytes);
        break;
    case SQLITE_BLOB:
        sqlite3_str_appendall(out, "{\"hex\":\"");
        for (size_t i = 0; i < c->bytes.size; i++)
            sqlite3_str_appendf(out, "%02x", c->bytes.data[i]);
        sqlite3_str_appendall(out, "\"}");
        break;
    default:
        sqlite3_str_appendall(out, "null");
    }
}

/* One cell as it is, several as an array. */
static void add_cells(feed *f, tvf_rows *rows, const cell *cells, int count)
{
    cell array = {.type = SQLITE_TEXT};

    if (count == 1) {
        tvf_add(rows, cells);
        return;
    }
    sqlite3_str_reset(f->json);
    for (int i = 0; i < count; i++) {
        sqlite3_str_appendchar(f->json, 1, i ? ',' : '[');
        add_json_cell(f->json, &cells[i]);
    }
    sqlite3_str_appendall(f->json, count ? "]" : "[]");
    array.bytes = fkv_slice_of(sqlite3_str_value(f->json), (size_t)sqlite3_str_length(f->json));
    tvf_add(rows, &array);
}

static fkv_slice without_prefix(fkv_slice key)
{
    return fkv_slice_of(key.data + SPACE_BYTES, key.size - SPACE_BYTES);
}

static int take_key(feed *f, const fkv_change *c, const row_reader *row)
{
    fkv_slice key = without_prefix(c->key);

    /* Unescaped text must not move: room for all of it first. */
    buf_clear(&f->scratch);
    if (!buf_reserve(&f->scratch, key.size + 1)) return -1;
    for (int i = 0; i < f->key_count; i++) {
        key_override o = row ? rowcode_override(row, i) : OVERRIDE_NONE;
        if (keycode_take(&key, i == f->key_count - 1, f->affinities[i], o, &f->scratch,
                         &f->cells[i]))
            return -1;
    }
    return 0;
}

static int add_put(feed *f, tvf_rows *rows, const fkv_change *c)
{
    row_reader row;

    if (rowcode_open(&row, c->value, f->key_count, f->row_count) || take_key(f, c, &row)) return -1;
    tvf_add_text(rows, "put");
    add_cells(f, rows, f->cells, f->key_count);
    for (int i = 0; i < f->row_count; i++) {
        if (rowcode_read(&row, i, &f->cells[i])) return -1;
    }
    if (f->row_count) {
        add_cells(f, rows, f->cells, f->row_count);
    } else {
        tvf_add(rows, &(cell){.type = SQLITE_NULL});
    }
    if (c->expires_ms) {
        tvf_add_real(rows, (double)c->expires_ms / 1000.0);
    } else {
        tvf_add(rows, &(cell){.type = SQLITE_NULL});
    }
    return 0;
}

static int add_change(feed *f, tvf_rows *rows, const fkv_change *c)
{
    tvf_add_integer(rows, (int64_t)c->seq);
    if (c->kind == FKV_CHANGE_PUT) return add_put(f, rows, c);
    if (c->kind == FKV_CHANGE_DELETE) {
        if (take_key(f, c, NULL)) return -1;
        tvf_add_text(rows, "delete");
        add_cells(f, rows, f->cells, f->key_count);
        tvf_add(rows, &(cell){.type = SQLITE_NULL});
    } else {
        fkv_slice to = c->value;
        int ours = to.size > SPACE_BYTES && memcmp(to.data, f->prefix, SPACE_BYTES) == 0;
        tvf_add_text(rows, "delete-range");
        tvf_add(rows, &(cell){.type = SQLITE_BLOB, .bytes = without_prefix(c->key)});
        tvf_add(rows, &(cell){.type = SQLITE_BLOB,
                              .bytes = ours ? without_prefix(to) : fkv_slice_of("\xff", 1)});
    }
    tvf_add(rows, &(cell){.type = SQLITE_NULL});
    return 0;
}

/* -- the walk ---------------------------------------------------------------------------------- */

static int is_ours(const feed *f, const fkv_change *c)
{
    return c->key.size >= SPACE_BYTES && memcmp(c->key.data, f->prefix, SPACE_BYTES) == 0 &&
           (c->kind == FKV_CHANGE_DELETE_RANGE || c->key.size > SPACE_BYTES);
}

static int more(tvf_rows *rows, char **error)
{
    feed *f = rows->state;
    fkv_status st = FKV_OK;

    for (int n = 0; n < AT_ONCE && rows->bytes.size < BYTES_AT_ONCE && f->left > 0;) {
        fkv_change c;
        st = fkv_changes_next(f->changes, &c);
        if (st) break;
        if (!is_ours(f, &c)) continue;
        if (add_change(f, rows, &c)) {
            *error = sqlite3_mprintf("fastkv: change %llu of table \"%s\" does not fit its columns",
                                     c.seq, f->table);
            return SQLITE_CORRUPT_VTAB;
        }
        n++;
        f->left--;
    }
    if (sqlite3_str_errcode(f->json)) return sqlite3_str_errcode(f->json);
    if (st == FKV_OK || st == FKV_NOTFOUND) return SQLITE_OK;
    return errmap_give(error, st);
}

static feed *feed_new(const kv_table *t)
{
    feed *f = alloc_zero(sizeof *f);
    size_t columns = (size_t)t->schema.column_count;

    if (!f) return NULL;
    f->conn = t->conn;
    f->conn->refs++;
    f->conn->feeds++;
    f->key_count = t->schema.key_count;
    f->row_count = t->schema.row_count;
    f->table = sqlite3_mprintf("%s", t->schema.table);
    f->affinities = alloc_zero(columns * sizeof *f->affinities);
    f->cells = alloc_zero(columns * sizeof *f->cells);
    f->json = sqlite3_str_new(NULL);
    if (!f->table || !f->affinities || !f->cells) {
        feed_end(f);
        return NULL;
    }
    memcpy(f->prefix, t->prefix, SPACE_BYTES);
    for (int i = 0; i < f->key_count; i++) {
        f->affinities[i] = t->schema.columns[t->schema.keys[i]].affinity;
    }
    return f;
}

/* Is the feed the one that the reader knows? */
static int check_generation(uint64_t is, sqlite3_value *known, char **error)
{
    if (!known || sqlite3_value_type(known) == SQLITE_NULL ||
        sqlite3_value_int64(known) == (int64_t)is) {
        return SQLITE_OK;
    }
    return errmap_tell(error, SQLITE_ERROR,
                       "fastkv: changes may have been numbered anew since generation %lld, this is "
                       "%llu: begin with the whole table again",
                       sqlite3_value_int64(known), is);
}

/* NULL: all, so that what follows can be given. */
static int64_t limit_of(sqlite3_value *n)
{
    return n && sqlite3_value_type(n) != SQLITE_NULL ? sqlite3_value_int64(n) : INT64_MAX;
}

/* given: the last seq that the reader knows, or NULL: from the oldest on. */
static fkv_status begin_feed(feed *f, sqlite3_value *given)
{
    fkv_store *store = f->conn->store;
    uint64_t since = 0;
    fkv_status st = FKV_OK;

    if (sqlite3_value_type(given) == SQLITE_NULL) {
        st = fkv_changes_oldest(store, &since);
    } else {
        int64_t known = sqlite3_value_int64(given);
        since = known > 0 ? (uint64_t)known : 0;
    }
    return st ? st : fkv_changes_new(store, since, &f->changes);
}

static int fill(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    kv_table *t;
    feed *f;
    fkv_status st;
    int rc = lookup_table(owner, argv[0], &t, error);

    if (rc) return rc;
    f = feed_new(t);
    if (!f) return SQLITE_NOMEM;
    f->left = limit_of(argv[2]);
    st = begin_feed(f, argv[1]);
    if (conn_asks_host(f->conn, &st)) st = begin_feed(f, argv[1]);
    rc = st ? errmap_give(error, st)
            : check_generation(fkv_changes_generation(f->changes), argv[3], error);
    if (rc) {
        feed_end(f);
        return rc;
    }
    rows->last_argument = (int64_t)fkv_changes_generation(f->changes);
    rows->state = f;
    rows->end = feed_end;
    rows->more = more;
    return more(rows, error);
}

const tvf_def changes_function = {.name = "fastkv_changes",
                                  .declaration = "CREATE TABLE x(seq INTEGER, op TEXT, key, value, "
                                                 "expires_at REAL, \"table\" HIDDEN, since "
                                                 "HIDDEN, n HIDDEN, generation HIDDEN)",
                                  .columns = 5,
                                  .required = 2,
                                  .arguments = 4,
                                  .missing = "a table's name and the last seq that is known (NULL: "
                                             "from the oldest)",
                                  .cost = 1e6,
                                  .fill = fill};

/* -- fastkv_key -------------------------------------------------------------------------------- */

static void key_failed(sqlite3_context *context, int rc, char *error)
{
    if (error) sqlite3_result_error(context, error, -1);
    sqlite3_result_error_code(context, rc);
    sqlite3_free(error);
}

void key_function(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    kv_table *t = NULL;
    char *error = NULL;
    buf key = {0};
    int rc;

    if (argc < 2) {
        key_failed(context, SQLITE_ERROR,
                   sqlite3_mprintf("fastkv: the arguments are fastkv_key(table, key…)"));
        return;
    }
    rc = lookup_connected(sqlite3_user_data(context), argv[0], &t, &error);
    if (rc == SQLITE_OK && argc - 1 > t->schema.key_count) {
        rc = SQLITE_ERROR;
        error = sqlite3_mprintf("fastkv: the key of \"%s\" has %d column%s", t->schema.table,
                                t->schema.key_count, t->schema.key_count == 1 ? "" : "s");
    }
    for (int i = 0; rc == SQLITE_OK && i < argc - 1; i++) {
        cell c;
        rc = cell_from_value(argv[i + 1], t->schema.columns[t->schema.keys[i]].affinity, &c);
        if (rc == SQLITE_OK && c.type == SQLITE_NULL) { /* no key */
            buf_release(&key);
            return;
        }
        if (rc == SQLITE_OK) keycode_append(&key, &c, i == t->schema.key_count - 1);
    }
    if (rc == SQLITE_OK && buf_status(&key)) rc = SQLITE_NOMEM;
    if (rc) {
        key_failed(context, rc, error);
    } else {
        sqlite3_result_blob64(context, key.data, key.size, SQLITE_TRANSIENT);
    }
    buf_release(&key);
}
