/*
** The command truncate, given NULL by the program, does not delete the whole table.
**
** `INSERT INTO r(r, arg) VALUES('truncate', ?)` deletes the rows of a namespace. When the variable
** that held its name was NULL, that was taken for "no argument": all rows went.
*/
#include "../txn/txn_util.h"

static int truncate_by(sqlite3 *db, const char *sql, const char *arg)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK) rc = sqlite3_bind_text(s, 1, arg, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    (void)sqlite3_finalize(s);
    return rc;
}

static void null_is_no_namespace(void)
{
    static const char sql[] = "INSERT INTO r(r, arg) VALUES('truncate', ?)";
    char folder[PATH_ROOM];
    sqlite3 *db;

    txn_folder(folder);
    db = txn_open(folder, "a.db");
    CHECK_SQL(db, SQLITE_OK,
              "CREATE VIRTUAL TABLE r USING fastkv(ns TEXT, at, PRIMARY KEY(ns, at));"
              "INSERT INTO r VALUES('a', 1), ('a', 2), ('b', 1), ('c', 1)");
    CHECK(truncate_by(db, sql, NULL) == SQLITE_ERROR);
    (void)printf("%s\n", sqlite3_errmsg(db));
    CHECK(strstr(sqlite3_errmsg(db), "truncate") != NULL);
    CHECK_NUMBER(db, "SELECT count(*) FROM r", 4);
    CHECK(truncate_by(db, sql, "a") == SQLITE_DONE);
    CHECK_NUMBER(db, "SELECT count(*) FROM r", 2);
    CHECK(truncate_by(db, "INSERT INTO r(r) VALUES(coalesce(?, 'truncate'))", NULL) == SQLITE_DONE);
    CHECK_NUMBER(db, "SELECT count(*) FROM r", 0);
    CHECK_CLOSE(db);
    txn_remove(folder);
}

TEST_MAIN("test_truncate_null", TEST_CASE(null_is_no_namespace))
