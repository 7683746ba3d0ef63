#include "stats.h"

#include "evict.h"
#include "lookup.h"

SQLITE_EXTENSION_INIT3

/* Everything there is to tell. */
typedef struct numbers {
    fkv_stats store;
    uint64_t rows, bytes; /* of the table, roughly */
    evict_numbers kept;   /* if it is a cache */
} numbers;

static int read_numbers(registry *owner, sqlite3_value *name, numbers *out, char **error)
{
    kv_table *t;
    kv_table_range all;
    int rc = lookup_table(owner, name, &t, error);

    if (rc) return rc;
    fkv_stats_read(t->conn->store, &out->store);
    kv_table_bounds(t, &all);
    fkv_estimate(t->conn->store, fkv_slice_of(all.from, sizeof all.from),
                 fkv_slice_of(all.to, sizeof all.to), &out->rows, &out->bytes);
    if (t->limit) evict_read_numbers(t, &out->kept);
    return SQLITE_OK;
}

/* -- what follows from them -------------------------------------------------------------------- */

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static uint64_t tables_bytes(const fkv_stats *s)
{
    uint64_t n = 0;

    for (int i = 0; i < FKV_LEVELS; i++) n += s->level_bytes[i];
    return n;
}

/* Bytes written for each byte put. */
static double write_amplification(const fkv_stats *s)
{
    return ratio(s->bytes_logged + s->bytes_flushed + s->bytes_compacted, s->bytes_put);
}

/* Sources that a range query merges. */
static uint64_t read_amplification(const fkv_stats *s)
{
    uint64_t n = 1 + s->immutable_memtables + s->level_files[0];

    for (int i = 1; i < FKV_LEVELS; i++) n += s->level_files[i] > 0;
    return n;
}

/* All tables beside the largest level: the rest may hold older versions of the same rows. */
static double space_amplification(const fkv_stats *s)
{
    uint64_t largest = 0;

    for (int i = 0; i < FKV_LEVELS; i++) {
        if (s->level_bytes[i] > largest) largest = s->level_bytes[i];
    }
    return ratio(tables_bytes(s), largest);
}

/* -- named ------------------------------------------------------------------------------------- */

typedef struct stat_sink { /* where named numbers go */
    void (*integer)(void *arg, const char *name, uint64_t value);
    void (*real)(void *arg, const char *name, double value);
    void *arg;
} stat_sink;

static void tell(const numbers *n, const stat_sink *out)
{
    const fkv_stats *s = &n->store;
    const struct {
        const char *name;
        uint64_t value;
    } single[] = {{"table_rows", n->rows},
                  {"table_bytes", n->bytes},
                  {"memtable_bytes", s->memtable_bytes},
                  {"memtable_entries", s->memtable_entries},
                  {"immutable_memtables", s->immutable_memtables},
                  {"immutable_entries", s->immutable_entries},
                  {"last_sequence", s->last_sequence},
                  {"log_bytes", s->log_bytes},
                  {"feed_bytes", s->feed_bytes},
                  {"feed_generation", s->feed_generation},
                  {"log_replayed", s->log_replayed},
                  {"cache_hits", s->cache_hits},
                  {"cache_misses", s->cache_misses},
                  {"cache_bytes", s->cache_bytes},
                  {"cache_capacity", s->cache_capacity},
                  {"bytes_put", s->bytes_put},
                  {"bytes_logged", s->bytes_logged},
                  {"bytes_flushed", s->bytes_flushed},
                  {"bytes_compacted", s->bytes_compacted},
                  {"flushes", s->flushes},
                  {"compactions", s->compactions},
                  {"stall_us", s->stall_us},
                  {"gets", s->gets},
                  {"seeks", s->seeks},
                  {"rows_read", s->rows_read},
                  {"entries_skipped", s->entries_skipped},
                  {"get_p50_ns", s->get_p50_ns},
                  {"get_p99_ns", s->get_p99_ns},
                  {"seek_p50_ns", s->seek_p50_ns},
                  {"seek_p99_ns", s->seek_p99_ns},
                  {"commit_p50_ns", s->commit_p50_ns},
                  {"commit_p99_ns", s->commit_p99_ns},
                  {"compaction_debt", s->compaction_debt},
                  {"disk_bytes", tables_bytes(s) + s->log_bytes + s->feed_bytes},
                  {"read_amplification", read_amplification(s)},
                  {"kept_rows", n->kept.rows},
                  {"kept_bytes", n->kept.bytes},
                  {"kept_hits", n->kept.hits},
                  {"kept_misses", n->kept.misses},
                  {"evictions", n->kept.evictions}};

    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        out->integer(out->arg, single[i].name, single[i].value);
    }
    out->real(out->arg, "write_amplification", write_amplification(s));
    out->real(out->arg, "space_amplification", space_amplification(s));
    out->real(out->arg, "cache_hit_rate", ratio(s->cache_hits, s->cache_hits + s->cache_misses));
}

/* -- as rows ----------------------------------------------------------------------------------- */

static void integer_row(void *arg, const char *name, uint64_t value)
{
    tvf_add_text(arg, name);
    tvf_add_integer(arg, (int64_t)value);
}

static void real_row(void *arg, const char *name, double value)
{
    tvf_add_text(arg, name);
    tvf_add_real(arg, value);
}

static void level_row(tvf_rows *rows, const char *name, int level, uint64_t value)
{
    char text[32];

    (void)sqlite3_snprintf(sizeof text, text, "level%d_%s", level, name);
    integer_row(rows, text, value);
}

static int fill_stats(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    numbers n = {0};
    int rc = read_numbers(owner, argv[0], &n, error);

    if (rc) return rc;
    tell(&n, &(stat_sink){integer_row, real_row, rows});
    for (int i = 0; i < FKV_LEVELS; i++) {
        level_row(rows, "files", i, n.store.level_files[i]);
        level_row(rows, "bytes", i, n.store.level_bytes[i]);
        level_row(rows, "entries", i, n.store.level_entries[i]);
    }
    return SQLITE_OK;
}

const tvf_def stats_function = {.name = "fastkv_stats",
                                .declaration = "CREATE TABLE x(name TEXT, value, \"table\" HIDDEN)",
                                .columns = 2,
                                .required = 1,
                                .arguments = 1,
                                .missing = "a table's name",
                                .cost = 100,
                                .fill = fill_stats};

static int fill_levels(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    numbers n = {0};
    int rc = read_numbers(owner, argv[0], &n, error);

    for (int i = 0; rc == SQLITE_OK && i < FKV_LEVELS; i++) {
        tvf_add_integer(rows, i);
        tvf_add_integer(rows, (int64_t)n.store.level_files[i]);
        tvf_add_integer(rows, (int64_t)n.store.level_bytes[i]);
        tvf_add_integer(rows, (int64_t)n.store.level_entries[i]);
    }
    return rc;
}

const tvf_def levels_function = {.name = "fastkv_levels",
                                 .declaration = "CREATE TABLE x(level INTEGER, files INTEGER, "
                                                "bytes INTEGER, entries INTEGER, \"table\" HIDDEN)",
                                 .columns = 4,
                                 .required = 1,
                                 .arguments = 1,
                                 .missing = "a table's name",
                                 .cost = 100,
                                 .fill = fill_levels};

/* One row for what is under way in this process. */
static void job_row(tvf_rows *rows, const char *name, uint64_t done, uint64_t total, uint64_t rate)
{
    double part = ratio(done, total);

    if (total == 0) return;
    if (part > 1) part = 1; /* what comes out may be larger than what went in */
    tvf_add_text(rows, name);
    tvf_add_real(rows, 100 * part);
    if (rate) {
        tvf_add_real(rows, (1 - part) * ratio(total, rate));
    } else {
        tvf_add(rows, &(cell){.type = SQLITE_NULL});
    }
}

static int fill_jobs(registry *owner, sqlite3_value **argv, tvf_rows *rows, char **error)
{
    numbers n = {0};
    int rc = read_numbers(owner, argv[0], &n, error);

    if (rc) return rc;
    job_row(rows, "flush", n.store.flush_done, n.store.flush_total, n.store.flush_rate);
    job_row(rows, "compaction", n.store.compact_done, n.store.compact_total, n.store.compact_rate);
    job_row(rows, "backup", n.store.backup_done, n.store.backup_total, 0);
    return SQLITE_OK;
}

const tvf_def jobs_function = {.name = "fastkv_jobs",
                               .declaration = "CREATE TABLE x(job TEXT, percent REAL, seconds_left "
                                              "REAL, \"table\" HIDDEN)",
                               .columns = 3,
                               .required = 1,
                               .arguments = 1,
                               .missing = "a table's name",
                               .cost = 100,
                               .fill = fill_jobs};

/* -- as JSON ----------------------------------------------------------------------------------- */

static void integer_member(void *arg, const char *name, uint64_t value)
{
    sqlite3_str_appendf(arg, ",\"%s\":%llu", name, value);
}

static void real_member(void *arg, const char *name, double value)
{
    sqlite3_str_appendf(arg, ",\"%s\":%!.6g", name, value);
}

/* The members that programs of FastKV, the Python store, know, in their order. */
static void tell_seed(const fkv_stats *s, sqlite3_str *out)
{
    uint64_t files = 0, keys = s->memtable_entries + s->immutable_entries;
    const char *comma = "";

    for (int i = 0; i < FKV_LEVELS; i++) {
        files += s->level_files[i];
        keys += s->level_entries[i];
    }
    sqlite3_str_appendf(out,
                        "{\"memtable_size\":%llu,\"memtable_keys\":%llu,"
                        "\"immutable_memtables\":%llu,\"immutable_keys\":%llu,"
                        "\"total_sstables\":%llu,\"total_keys\":%llu,\"sstable_stats\":{",
                        s->memtable_bytes, s->memtable_entries, s->immutable_memtables,
                        s->immutable_entries, files, keys);
    for (int i = 0; i < FKV_LEVELS; i++) {
        if (s->level_files[i] == 0) continue;
        sqlite3_str_appendf(out, "%s\"L%d_files\":%llu,\"L%d_keys\":%llu", comma, i,
                            s->level_files[i], i, s->level_entries[i]);
        comma = ",";
    }
    sqlite3_str_appendf(out, "},\"seq_num\":%llu", s->last_sequence);
}

void stats_json(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    numbers n = {0};
    sqlite3_str *out;
    char *text = NULL;
    int rc = read_numbers(sqlite3_user_data(context), argv[0], &n, &text);

    (void)argc;
    if (rc) {
        if (text) sqlite3_result_error(context, text, -1);
        sqlite3_result_error_code(context, rc);
        sqlite3_free(text);
        return;
    }
    out = sqlite3_str_new(NULL);
    tell_seed(&n.store, out);
    tell(&n, &(stat_sink){integer_member, real_member, out});
    sqlite3_str_appendchar(out, 1, '}');
    text = sqlite3_str_finish(out);
    if (text) {
        sqlite3_result_text(context, text, -1, sqlite3_free);
    } else {
        sqlite3_result_error_nomem(context);
    }
}
