/*
** What is kept for the change feed is part of the disk space that the statistics tell.
**
** disk_bytes counted tables and the log that a recovery needs. A store that kept its changes was
** told to take a seventh of what it took.
*/
#include <dirent.h>
#include <sys/stat.h>

#include "../txn/txn_util.h"

/* Bytes in all files of the folder. */
static int64_t taken(const char *store)
{
    DIR *dir = opendir(store);
    int64_t sum = 0;

    if (!dir) abort();
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[PATH_ROOM * 4];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/%s", store, e->d_name);
        if (stat(path, &st)) abort();
        if (S_ISREG(st.st_mode)) sum += (int64_t)st.st_size;
    }
    (void)closedir(dir);
    return sum;
}

static void are_told(void)
{
    static const char told[] = "SELECT value FROM fastkv_stats('kv') WHERE name = 'disk_bytes'";
    static const char feed[] = "SELECT value FROM fastkv_stats('kv') WHERE name = 'feed_bytes'";
    char folder[PATH_ROOM], store[PATH_ROOM * 2];
    int64_t on_disk;
    sqlite3 *db;

    txn_folder(folder);
    (void)snprintf(store, sizeof store, "%s/a.db-fastkv", folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE kv USING fastkv(key INTEGER, value, changes = '1GB')");
    CHECK_NUMBER(db, feed, 0);
    for (int i = 0; i < 5; i++) {
        CHECK_SQL(db, SQLITE_OK,
                  "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 2000) "
                  "REPLACE INTO kv SELECT n, randomblob(1000) FROM i;"
                  "INSERT INTO kv(kv) VALUES('compact')");
    }
    CHECK_CLOSE(db);
    on_disk = taken(store);
    db = txn_open(folder, "a.db");
    CHECK(number(db, told) > on_disk * 9 / 10 && number(db, told) < on_disk * 11 / 10);
    CHECK(number(db, feed) > 5 * 2000 * 1000 && number(db, feed) < number(db, told));
    CHECK_SQL(db, SQLITE_OK,
              "INSERT INTO kv(kv) VALUES('changes=none'); INSERT INTO kv VALUES(0, 0)");
    CHECK_NUMBER(db, feed, 0);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_feed_bytes", TEST_CASE(are_told))
