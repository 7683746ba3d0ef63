/*
** A load in order of keys is written once, in bounded memory, and is there whole or not at all.
**
** By the store's own counters: nothing is compacted, whether the load is one transaction, many
** times as large as the store's memory, or many: files are moved down as they are. A process that
** ends in the middle of the one transaction leaves nothing of it, and no file for long.
*/
#include <sys/resource.h>

#include "../txn/txn_util.h"

#include "../txn/io_hook.h"

enum { ROWS = 60000 };

#define LOAD                                                                                       \
    "WITH RECURSIVE c(i) AS (VALUES(%d) UNION ALL SELECT i + 1 FROM c WHERE i < %d) "              \
    "INSERT INTO f SELECT i, printf('%%0100d', i) FROM c"

static const char schema[] = "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, v, "
                             "memory = '1MB', compression = none)";

static int64_t stat_of(sqlite3 *db, const char *name)
{
    char *sql = sqlite3_mprintf("SELECT value FROM fastkv_stats('f') WHERE name = %Q", name);
    int64_t n = number(db, sql);

    sqlite3_free(sql);
    return n;
}

static void check_written_once(sqlite3 *db)
{
    int64_t bytes;

    CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('settle')");
    CHECK_NUMBER(db, "SELECT count(*) FROM f", ROWS);
    CHECK_NUMBER(db, "SELECT count(*) FROM f WHERE v = printf('%0100d', k)", ROWS);
    bytes = number(db, "SELECT sum(bytes) FROM fastkv_levels('f')");
    CHECK(bytes > ROWS * 100 && bytes < ROWS * 160);
    CHECK(stat_of(db, "bytes_compacted") < bytes / 20);
    CHECK(stat_of(db, "bytes_flushed") < bytes + bytes / 10);
    CHECK(stat_of(db, "level0_files") <= 1);
}

static void in_one_transaction(void)
{
    char folder[PATH_ROOM];
    struct rusage before, after;
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, schema);
    CHECK_SQL(db, SQLITE_OK, LOAD, 1, 3000);
    CHECK_SQL(db, SQLITE_OK, "DELETE FROM f WHERE k = 0"); /* (all code and memory touched once) */
    CHECK(getrusage(RUSAGE_SELF, &before) == 0);
    CHECK_SQL(db, SQLITE_OK, LOAD, 3001, ROWS);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(after.ru_maxrss - before.ru_maxrss < 4096); /* KB; the rows are six megabytes */
#endif
    CHECK(stat_of(db, "bytes_logged") < ROWS * 10); /* it does not go through the log */
    check_written_once(db);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static void in_many_transactions(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = OFF; %s", schema);
    for (int i = 0; i < ROWS; i += 1000) CHECK_SQL(db, SQLITE_OK, LOAD, i + 1, i + 1000);
    check_written_once(db);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

static int load_and_end(void *arg)
{
    sqlite3 *db = txn_open(arg, "a.db");

    (void)number(db, "SELECT count(*) FROM f");
    io_hook = io_end_there;
    (void)run(db, LOAD, 101, 9000);
    (void)sqlite3_close(db);
    return 0;
}

static void all_or_nothing(void)
{
    char folder[PATH_ROOM];
    int ended = 0;
    sqlite3 *db;

    txn_folder(folder);
    for (int i = 0; i < 12; i++) {
        int64_t n;
        db = txn_open(folder, "a.db");
        CHECK_SQL(db, SQLITE_OK, "DROP TABLE IF EXISTS f; %s", schema);
        CHECK_SQL(db, SQLITE_OK, LOAD, 1, 100);
        CHECK_CLOSE(db);
        io_operations = 0;
        io_stop_at = 1 + (long)check_below(60);
        ended += in_child(load_and_end, folder) == IO_ENDED;
        db = txn_open(folder, "a.db");
        n = number(db, "SELECT count(*) FROM f");
        CHECK(n == 100 || n == 9000);
        CHECK_SQL(db, SQLITE_OK, "INSERT INTO f(f) VALUES('integrity-check')");
        CHECK_CLOSE(db);
    }
    CHECK(ended > 2);
    txn_remove(folder);
}

TEST_MAIN("test_bulk", TEST_CASE(in_one_transaction), TEST_CASE(in_many_transactions),
          TEST_CASE(all_or_nothing))
