/*
** The rows of a transaction larger than memory are counted among the bytes put.
**
** They go to tables and not through the log, and were not counted: the write amplification of a
** store that had been filled in one transaction was in the tens of thousands.
*/
#include "../txn/txn_util.h"

enum { ROWS = 20000, BYTES = 300 };

static void count(void)
{
    char folder[PATH_ROOM];
    sqlite3 *db;
    int64_t put;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE kv USING fastkv(key INTEGER, value, memory = '1MB');"
              "BEGIN; WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < %d) "
              "INSERT INTO kv SELECT n, randomblob(%d) FROM i",
              ROWS, BYTES);
    CHECK_NUMBER(db, "SELECT value < 1000 FROM fastkv_stats('kv') WHERE name = 'bytes_put'", 1);
    CHECK_SQL(db, SQLITE_OK, "COMMIT");
    put = number(db, "SELECT value FROM fastkv_stats('kv') WHERE name = 'bytes_put'");
    CHECK(put >= (int64_t)ROWS * BYTES && put < (int64_t)ROWS * BYTES * 2);
    CHECK_NUMBER(db,
                 "SELECT value BETWEEN 0.5 AND 10 FROM fastkv_stats('kv') "
                 "WHERE name = 'write_amplification'",
                 1);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_spilled_bytes", TEST_CASE(count))
