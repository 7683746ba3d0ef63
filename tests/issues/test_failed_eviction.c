/*
** A row that could not be put into a cache, because forgetting the oldest failed, is not in it.
**
** The row was put before the others were counted. When that met a damaged block the statement
** failed, but the row stayed in the transaction: SQLite does not undo a statement of one row.
*/
#include <dirent.h>

#include "../txn/txn_util.h"

/* Flip a byte in the middle of each table. */
static int damage_tables(const char *store)
{
    DIR *dir = opendir(store);
    int damaged = 0;

    if (!dir) return 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[PATH_ROOM * 4];
        FILE *f;
        long middle;
        int byte;
        if (!strstr(e->d_name, ".sst")) continue;
        (void)snprintf(path, sizeof path, "%s/%s", store, e->d_name);
        f = fopen(path, "r+b");
        if (!f) abort();
        (void)fseek(f, 0, SEEK_END);
        middle = ftell(f) / 2;
        (void)fseek(f, middle, SEEK_SET);
        byte = fgetc(f);
        (void)fseek(f, middle, SEEK_SET);
        (void)fputc(byte ^ 255, f);
        (void)fclose(f);
        damaged++;
    }
    (void)closedir(dir);
    return damaged;
}

static void leaves_nothing(void)
{
    char folder[PATH_ROOM], store[PATH_ROOM * 2];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE c USING fastkv(key INTEGER, value, max_keys = 100000, "
              "compression = none);"
              "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 5000) "
              "INSERT INTO c SELECT n, 'a value of some length' FROM i;"
              "INSERT INTO c(c) VALUES('compact')");
    CHECK_CLOSE(db);
    (void)snprintf(store, sizeof store, "%s/a.db-fastkv", folder);
    CHECK(damage_tables(store) > 0);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "BEGIN");
    CHECK_SQL(db, SQLITE_CORRUPT_VTAB, "REPLACE INTO c VALUES(100001, 'new')");
    CHECK_SQL(db, SQLITE_CORRUPT_VTAB, "SELECT fastkv_incr('c', 100002, 1)");
    CHECK_NUMBER(db, "SELECT fastkv_get('c', 100001) IS NULL", 1);
    CHECK_SQL(db, SQLITE_OK, "COMMIT");
    CHECK_NUMBER(db, "SELECT fastkv_get('c', 100001) IS NULL", 1);
    CHECK_NUMBER(db, "SELECT fastkv_get('c', 100002) IS NULL", 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_failed_eviction", TEST_CASE(leaves_nothing))
