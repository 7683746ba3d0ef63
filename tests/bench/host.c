/* host.c -- databases, clocks and sizes for the benchmark. */
#include "bench.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void bench_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "bench: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

double bench_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void host_exec(bench_host *h, const char *sql)
{
    char *error = NULL;

    if (sqlite3_exec(h->db, sql, NULL, NULL, &error)) bench_fail("%s: %s", sql, error);
}

void host_open(bench_host *h, const bench_options *o, const char *name, int native)
{
    char *error = NULL;

    (void)snprintf(h->path, sizeof h->path, "%s/%s.db", o->dir, name);
    if (sqlite3_open(h->path, &h->db)) bench_fail("%s: %s", h->path, sqlite3_errmsg(h->db));
    if (!native && !o->stand_in) {
        (void)sqlite3_enable_load_extension(h->db, 1);
        if (sqlite3_load_extension(h->db, o->so, NULL, &error)) bench_fail("%s: %s", o->so, error);
    }
    host_exec(h, "PRAGMA journal_mode = WAL");
    host_exec(h, "PRAGMA synchronous = NORMAL");
    host_exec(h, native || o->stand_in
                     ? "CREATE TABLE IF NOT EXISTS kv(key PRIMARY KEY, value) WITHOUT ROWID"
                     : "CREATE VIRTUAL TABLE IF NOT EXISTS kv USING fastkv");
}

void host_close(bench_host *h)
{
    if (sqlite3_close(h->db)) bench_fail("close %s: %s", h->path, sqlite3_errmsg(h->db));
    h->db = NULL;
}

sqlite3_stmt *host_prepare(bench_host *h, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL))
        bench_fail("%s: %s", sql, sqlite3_errmsg(h->db));
    return stmt;
}

void host_step(bench_host *h, sqlite3_stmt *stmt, int expected)
{
    int rc = sqlite3_step(stmt);

    if (rc == expected) return;
    bench_fail("%s: step gave %d, wanted %d (%s)", sqlite3_sql(stmt), rc, expected,
               sqlite3_errmsg(h->db));
}

static double tree_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path;
    (void)at;
    if (type == FTW_F) tree_bytes += (double)st->st_blocks * 512;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void each_part(const bench_host *h, __nftw_func_t visit)
{
    static const char *const parts[] = {"", "-wal", "-shm", "-journal", "-fastkv"};
    char path[600];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", h->path, parts[i]);
        (void)nftw(path, visit, 16, FTW_DEPTH | FTW_PHYS);
    }
}

double host_disk_bytes(const bench_host *h)
{
    tree_bytes = 0;
    each_part(h, add_file);
    return tree_bytes;
}

void host_remove(const bench_host *h)
{
    each_part(h, remove_entry);
}

double host_peak_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    double kb = 0;

    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kb = strtod(line + 6, NULL);
    (void)fclose(f);
    return kb * 1024;
}
