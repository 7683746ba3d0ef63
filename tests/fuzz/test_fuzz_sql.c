/*
** Any script on a database with fastkv tables, hostile schemas and stores among them.
** test-modes: asan
**
** Input: SQL, and lines that begin with a dot:
**   .reopen                    close the connection and open it again
**   .poke FILE AT VALUE SIGN   while it is closed: set one byte of the nth file of the store;
**                              SIGN 1: make its checksums right again
**   .cut FILE SIZE             shorten one
**   .gone FILE                 remove one
** A script may write what it likes into sqlite_schema and into the shadow tables. At the end what
** the command integrity-check lets pass must have as many rows upwards as downwards.
*/
#define FUZZ_OWN_MUTATION
#define FUZZ_HANG_SECONDS 120 /* a host that is ahead of its store costs a second a statement */
#include <ftw.h>
#include <sqlite3.h>

#include "fuzz_format.h"
#include "txn/io_hook.h"

enum { NAME_ROOM = 600, FILES_MAX = 64, STEPS_MAX = 400 };

int sqlite3_fastkv_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

typedef struct world {
    char folder[256];
    sqlite3 *db;
    int steps; /* what a statement may still cost */
} world;

/* -- connections ------------------------------------------------------------------------------- */

static int out_of_patience(void *arg)
{
    world *w = arg;
    return --w->steps < 0;
}

/* Files outside the folder are none of the script's business. */
static int authorize(void *arg, int what, const char *a, const char *b, const char *c,
                     const char *d)
{
    (void)arg, (void)a, (void)b, (void)c, (void)d;
    return what == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

static void open_connection(world *w)
{
    char path[NAME_ROOM];
    char *error = NULL;

    (void)snprintf(path, sizeof path, "%s/db", w->folder);
    if (sqlite3_open(path, &w->db) || sqlite3_fastkv_init(w->db, &error, NULL)) abort();
    (void)sqlite3_db_config(w->db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    (void)sqlite3_limit(w->db, SQLITE_LIMIT_LENGTH, 1 << 20);
    (void)sqlite3_limit(w->db, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_progress_handler(w->db, 500, out_of_patience, w);
    (void)sqlite3_set_authorizer(w->db, authorize, NULL);
}

static void close_connection(world *w)
{
    FUZZ_CHECK(sqlite3_close(w->db) == SQLITE_OK);
    w->db = NULL;
}

/* -- the store's files ------------------------------------------------------------------------- */

static void path_of(const world *w, const char *name, char out[NAME_ROOM])
{
    (void)snprintf(out, NAME_ROOM, "%s/db-fastkv%s%.200s", w->folder, name ? "/" : "",
                   name ? name : "");
}

static int plain_name(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The nth file, by name. 0 if there is none. */
static int nth_file(const world *w, unsigned n, char path[NAME_ROOM])
{
    struct dirent **files = NULL;
    int count;

    path_of(w, NULL, path);
    count = scandir(path, &files, plain_name, by_name);
    if (count > 0) path_of(w, files[n % (unsigned)count]->d_name, path);
    for (int i = 0; i < count; i++) free(files[i]);
    free(files);
    return count > 0;
}

static size_t read_whole(const char *path, uint8_t **out)
{
    FILE *f = fopen(path, "rb");
    size_t size = 0;

    *out = malloc(FUZZ_INPUT_MAX * 4);
    if (f && *out) size = fread(*out, 1, FUZZ_INPUT_MAX * 4, f);
    if (f) (void)fclose(f);
    return size;
}

static void sign_file(const world *w, const char *path, uint8_t *bytes, size_t size)
{
    const char *name = strrchr(path, '/') + 1;

    if (strcmp(name, "manifest") == 0) sign_manifest(bytes, size);
    if (strstr(name, ".sst")) sign_table(bytes, size);
    if (strstr(name, ".wal")) {
        char manifest[NAME_ROOM];
        uint8_t *m = NULL;
        size_t n;
        path_of(w, "manifest", manifest);
        n = read_whole(manifest, &m);
        if (n >= 24) sign_log(bytes, size, get_u64(m + 16), strtoull(name, NULL, 10));
        free(m);
    }
}

static void write_whole(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) abort();
}

static void tamper(world *w, const char *line)
{
    unsigned file = 0, value = 0, sign = 0;
    char path[NAME_ROOM];
    uint8_t *bytes = NULL;
    long at = 0;
    size_t size;

    if (sscanf(line, ".%*[a-z] %u %ld %u %u", &file, &at, &value, &sign) < 1) return;
    close_connection(w);
    if (nth_file(w, file, path)) {
        size = read_whole(path, &bytes);
        if (strncmp(line, ".gone", 5) == 0) {
            (void)unlink(path);
        } else if (strncmp(line, ".cut", 4) == 0) {
            if (at >= 0 && (size_t)at < size) write_whole(path, bytes, (size_t)at);
        } else if (size) {
            bytes[(size_t)at % size] = (uint8_t)value;
            if (sign & 1) sign_file(w, path, bytes, size);
            write_whole(path, bytes, size);
        }
        free(bytes);
    }
    open_connection(w);
}

/* -- the script -------------------------------------------------------------------------------- */

static int64_t run_sql(world *w, const char *sql)
{
    int64_t rows = 0;

    while (*sql) {
        sqlite3_stmt *s = NULL;
        const char *tail = NULL;
        int rc;
        w->steps = STEPS_MAX;
        rc = sqlite3_prepare_v2(w->db, sql, -1, &s, &tail);
        while (rc == SQLITE_OK && s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
            for (int i = 0; i < sqlite3_column_count(s); i++) (void)sqlite3_column_text(s, i);
            rows++;
            rc = SQLITE_OK;
        }
        if (sqlite3_finalize(s) && (rc & 0xff) != SQLITE_DONE && rows >= 0) rows = -1;
        if (!tail || tail == sql) break;
        sql = tail;
    }
    return rows;
}

static void run_script(world *w, const uint8_t *data, size_t size)
{
    buf sql = {0};
    size_t at = 0;

    while (at < size) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - data) - at : size - at;
        char line[200];
        if (n && data[at] == '.' && n < sizeof line) {
            memcpy(line, data + at, n);
            line[n] = 0;
            if (strncmp(line, ".reopen", 7) == 0) {
                close_connection(w);
                open_connection(w);
            } else if (strncmp(line, ".poke", 5) == 0 || strncmp(line, ".cut", 4) == 0 ||
                       strncmp(line, ".gone", 5) == 0) {
                tamper(w, line);
            }
        } else {
            buf_append(&sql, data + at, n);
            buf_append(&sql, "\n", 2);
            sql.size--;
            if (memchr(data + at, ';', n)) {
                (void)run_sql(w, (const char *)sql.data);
                buf_clear(&sql);
            }
        }
        at += n + 1;
    }
    buf_release(&sql);
}

static void check_tables(world *w)
{
    char *names[8] = {0};
    sqlite3_stmt *s = NULL;
    int count = 0;

    w->steps = STEPS_MAX;
    (void)sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    if (sqlite3_prepare_v2(w->db, "SELECT name FROM sqlite_schema WHERE sql LIKE '%using fastkv%'",
                           -1, &s, NULL) == SQLITE_OK)
        while (count < 8 && sqlite3_step(s) == SQLITE_ROW)
            names[count++] = sqlite3_mprintf("%s", sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    for (int i = 0; i < count; i++) {
        char *check = sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\") VALUES ('integrity-check')",
                                      names[i], names[i]);
        char *up = sqlite3_mprintf("SELECT * FROM \"%w\"", names[i]);
        char *down = sqlite3_mprintf("SELECT * FROM \"%w\" ORDER BY 1 DESC", names[i]);
        if (run_sql(w, check) == 0) {
            int64_t rows = run_sql(w, up), back = run_sql(w, down);
            FUZZ_CHECK(rows < 0 || back < 0 || rows == back);
        }
        sqlite3_free(check);
        sqlite3_free(up);
        sqlite3_free(down);
        sqlite3_free(names[i]);
    }
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world w = {0};

    (void)snprintf(w.folder, sizeof w.folder, "%s/fkv-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w.folder)) abort();
    (void)sqlite3_hard_heap_limit64(100 << 20);
    open_connection(&w);
    run_script(&w, data, size);
    close_connection(&w);
    open_connection(&w);
    check_tables(&w);
    close_connection(&w);
    if (nftw(w.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS)) abort();
    return 0;
}

/* -- mutations that keep lines whole ----------------------------------------------------------- */

static void fuzz_seal(uint8_t *data, size_t size)
{
    (void)data, (void)size; /* .poke signs */
}

/* A line of b, its end included. */
static fkv_slice any_line(const buf *b, size_t *at)
{
    size_t from = check_below(b->size), end;

    while (from > 0 && b->data[from - 1] != '\n') from--;
    for (end = from; end < b->size && b->data[end] != '\n'; end++) {}
    *at = from;
    return fkv_slice_of(b->data + from, (end < b->size ? end + 1 : end) - from);
}

static void replace_part(buf *b, size_t at, size_t drop, fkv_slice s)
{
    buf out = {0};

    buf_append(&out, b->data, at);
    buf_append(&out, s.data, s.size);
    buf_append(&out, b->data + at + drop, b->size - at - drop);
    buf_release(b);
    *b = out;
}

static fkv_slice new_line(char room[128])
{
    static const char *const lines[] = {
        ".reopen\n",
        "BEGIN;\n",
        "COMMIT;\n",
        "ROLLBACK;\n",
        "SAVEPOINT s;\n",
        "ROLLBACK TO s;\n",
        "RELEASE s;\n",
        "INSERT INTO kv(kv) VALUES ('flush');\n",
        "INSERT INTO kv(kv) VALUES ('compact');\n",
        "SELECT * FROM kv ORDER BY 1 DESC;\n",
        "DELETE FROM kv WHERE key > 5;\n",
        "PRAGMA writable_schema = 1;\n",
        "UPDATE kv_meta SET v = v || 1;\n",
        "UPDATE kv_meta SET v = x'00' WHERE k = 'space';\n",
        "DELETE FROM fastkv_commit;\n",
        "REPLACE INTO kv SELECT value, randomblob(value * 9) FROM generate_series(1, 90);\n",
        "SELECT * FROM fastkv_stats('kv');\n",
        "DROP TABLE kv;\n",
        "ALTER TABLE kv RENAME TO k2;\n"};
    uint64_t dice = check_below(3 + sizeof lines / sizeof lines[0]);
    int n;

    if (dice >= 3) {
        n = snprintf(room, 128, "%s", lines[dice - 3]);
    } else if (dice == 0) {
        n = snprintf(room, 128, ".cut %u %u\n", (unsigned)check_below(8),
                     (unsigned)(check_random() >> (44 + check_below(20))));
    } else {
        n = snprintf(room, 128, ".poke %u %u %u %u\n", (unsigned)check_below(8),
                     (unsigned)(check_random() >> (44 + check_below(20))),
                     (unsigned)check_below(256), (unsigned)check_below(2));
    }
    return fkv_slice_of(room, (size_t)n);
}

static void fuzz_own_mutation(buf *b, const buf *other)
{
    for (uint64_t n = 1 + check_below(6); n > 0 && b->size > 0; n--) {
        size_t at, from;
        char room[128];
        fkv_slice line = any_line(b, &at);
        switch (check_below(5)) {
        case 0:
            replace_part(b, at, line.size, fkv_slice_of("", 0));
            break;
        case 1:
            if (other->size) replace_part(b, at, 0, any_line(other, &from));
            break;
        case 2:
            fuzz_overwrite(b);
            break;
        default:
            replace_part(b, at, 0, new_line(room));
        }
    }
}

/* -- seeds ------------------------------------------------------------------------------------- */

static const char *const scripts[] = {
    "CREATE VIRTUAL TABLE kv USING fastkv;\n"
    "INSERT INTO kv VALUES (1, 'one'), ('two', 2), (x'03', 3.5), (4, NULL);\n"
    "INSERT INTO kv(kv) VALUES ('flush');\n"
    "REPLACE INTO kv VALUES (1, 'uno');\nDELETE FROM kv WHERE key = 4;\n"
    ".reopen\nSELECT * FROM kv;\n.poke 2 100 255 1\nSELECT * FROM kv;\n"
    "INSERT INTO kv VALUES (9, 9);\n",

    "CREATE VIRTUAL TABLE kv USING fastkv(a TEXT, b INT, key, v, PRIMARY KEY (a, b),\n"
    "  compression = zlib, block_size = 256, memory = '1MB');\n"
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 200)\n"
    "INSERT INTO kv SELECT 'k' || (i % 7), i, i, zeroblob(i) FROM c;\n"
    "INSERT INTO kv(kv) VALUES ('compact');\n"
    "SELECT count(*), sum(length(v)) FROM kv WHERE a = 'k3' AND b BETWEEN 5 AND 90;\n"
    "INSERT INTO kv(kv, arg) VALUES ('delete-prefix', 'k4');\n"
    ".poke 0 40 7 1\nSELECT * FROM kv;\n.poke 3 60 1 1\nSELECT * FROM kv WHERE a > 'k2';\n"
    "INSERT INTO kv(kv) VALUES ('integrity-check');\n",

    "PRAGMA writable_schema = 1;\nCREATE VIRTUAL TABLE kv USING fastkv(key, value);\n"
    "INSERT INTO kv VALUES (1, 2);\n"
    "UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE kv USING fastkv(a, b, c,\n"
    "  PRIMARY KEY (c))' WHERE name = 'kv';\n.reopen\nSELECT * FROM kv;\n"
    "INSERT INTO kv VALUES (1, 2, 3);\n"
    "UPDATE kv_meta SET v = 7 WHERE k = 'space';\n.reopen\nSELECT * FROM kv;\n"
    "UPDATE kv_meta SET v = 'z' WHERE k = 'uuid';\n.reopen\nSELECT * FROM kv;\n",

    "CREATE TABLE n(a PRIMARY KEY, b);\nCREATE VIRTUAL TABLE kv USING fastkv(key, value);\n"
    "CREATE TRIGGER tr AFTER INSERT ON n BEGIN REPLACE INTO kv VALUES (new.a, new.b); END;\n"
    "CREATE VIEW v AS SELECT * FROM kv JOIN n ON key = a;\n"
    "BEGIN;\nINSERT INTO n VALUES (1, 2), (3, 4);\nSAVEPOINT s;\n"
    "INSERT INTO n VALUES (5, 6);\nROLLBACK TO s;\nCOMMIT;\nSELECT * FROM v;\n"
    "UPDATE fastkv_commit SET id = x'ffffffffffffff7f';\n.reopen\nSELECT * FROM v;\n"
    "INSERT INTO n VALUES (7, 8);\n.gone 1\nSELECT * FROM kv;\nINSERT INTO n VALUES (9, 1);\n",
};

static int golden_script(int i, buf *out)
{
    const char *build = getenv("FASTKV_BUILD");
    struct dirent **files = NULL;
    char path[NAME_ROOM];
    int count, found = 0;

    (void)snprintf(path, sizeof path, "%s%stests/sql", build ? build : "", build ? "/../../" : "");
    count = scandir(path, &files, plain_name, by_name);
    for (int n = 0; n < count; n++) {
        const char *dot = strrchr(files[n]->d_name, '.');
        if (dot && strcmp(dot, ".sql") == 0 && !strstr(files[n]->d_name, "attach") && i-- == 0) {
            uint8_t *bytes = NULL;
            size_t size;
            (void)snprintf(path, sizeof path, "%s%stests/sql/%.100s", build ? build : "",
                           build ? "/../../" : "", files[n]->d_name);
            size = read_whole(path, &bytes);
            buf_append(out, bytes, size);
            free(bytes);
            found = 1;
        }
        free(files[n]);
    }
    free(files);
    return found;
}

static int fuzz_seed(int i, buf *out)
{
    int own = (int)(sizeof scripts / sizeof scripts[0]);

    if (i >= own) return golden_script(i - own, out);
    buf_append(out, scripts[i], strlen(scripts[i]));
    return 1;
}

FUZZ_MAIN("sql", 60)
