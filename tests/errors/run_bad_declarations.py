#!/usr/bin/env python3
"""run_bad_declarations.py -- fails when a mistake in CREATE VIRTUAL TABLE is accepted, leaves
something behind, or is refused without naming the word that is wrong.
"""
import os
import sys

sys.dont_write_bytecode = True
import host
from host import check, check_fails, failure, rows, store_of

# What is wrong, and the words that the message must have.
REFUSED = (
    ("a, compresion = zlib", "compresion", "compression"),
    ("a, Memroy = '64MB'", "memroy", "memory"),
    ("a, ttl = -10", "ttl", "-10"),
    ("a, ttl = 0", "ttl", "seconds"),
    ("a, compression = zlib:0", "compression", "zlib:0"),
    ("a, compression = brotli", "compression", "brotli", "zstd"),
    ("a, compression = 9", "compression", "9"),
    ("a, durability = always", "durability", "always", "sync"),
    ("a, memory = lots", "memory", "lots"),
    ("a, memory = -1", "memory", "-1"),
    ("a, memory = 10", "memory", "10"),
    ("a, memory = '64 parsecs'", "memory", "parsecs"),
    ("a, memory = 99999999999999999999", "memory", "99999999999999999999"),
    ("a, block_size = 1", "block_size", "256"),
    ("a, block_size = '2MB'", "block_size", "2MB"),
    ("a, bloom_bits = 33", "bloom_bits", "33"),
    ("a, bloom_bits = some", "bloom_bits", "some"),
    ("a, memory =", "memory"),
    ("a, path = '/nowhere/x'", "path", "TEMP"),
    ("a, b, a", "a"),
    ("key, value, KEY TEXT", "key"),
    ("a PRIMARY KEY, b PRIMARY KEY", "PRIMARY KEY"),
    ("a PRIMARY KEY, b, PRIMARY KEY (b)", "PRIMARY KEY"),
    ("a, b, PRIMARY KEY (c)", "\"c\""),
    ("a, b, PRIMARY KEY (a, a)", "\"a\""),
    ("a, b, PRIMARY KEY ()", "name"),
    ("PRIMARY KEY (a)", "columns"),
    ("memory = '64MB', PRIMARY KEY (a)", "columns"),
    ("a, b, PRIMARY KEY a", "\"a\""),
    ("a PRIMARY", "KEY"),
    ("a TEXT NOT", "NULL"),
    ("a TEXT, b UNIQUE", "UNIQUE", "\"b\""),
    ("a, b CHECK (b > 0)", "CHECK", "\"b\""),
    ("a, b REFERENCES x(y)", "REFERENCES"),
    ("a TEXT COLLATE NOCASE", "NOCASE"),
    ("a, b DEFAULT (1 + 1)", "DEFAULT", "\"b\""),
    ("a, b DEFAULT", "DEFAULT"),
    ("a, arg", "arg"),
    ("a, t", "\"t\""),
    ("a PRIMARY KEY DESC", "DESC"),
    ("a INTEGER PRIMARY KEY AUTOINCREMENT", "AUTOINCREMENT"),
)


def test_names_the_word(folder):
    path = folder + "/a.db"
    db = host.connect(path)
    for text, *words in REFUSED:
        check_fails(db, "CREATE VIRTUAL TABLE t USING fastkv(%s)" % text, host.ERROR, "fastkv: ",
                    *words)
    check(rows(db, "SELECT name FROM sqlite_schema") == [], "something was made")
    db.close()
    check(not os.path.exists(store_of(path)), "a store was made")


def test_types_are_what_a_native_table_makes_of_them(folder):
    """No type is unknown to SQLite: any word gives an affinity by its rule."""
    db = host.connect(folder + "/a.db")
    for text in ("FOO", "TEXT UNIQE", "FLOATING POINT", "VARCHAR(10)", "DECIMAL(10, 5)", "BLOB",
                 "STRING", "'quoted type'", "CHARINT", "", "ANY", "BOOLEAN", "DESC"):
        declared = "(k PRIMARY KEY, v %s)" % text
        native = failure(db, "CREATE TABLE n%s WITHOUT ROWID" % declared)
        ours = failure(db, "CREATE VIRTUAL TABLE t USING fastkv" + declared)
        check((native[0] == host.OK) == (ours[0] == host.OK), text, native, ours)
        if native[0] == host.OK and ours[0] == host.OK:
            for table in ("n", "t"):
                db.execute("REPLACE INTO %s VALUES (1, '12'), (2, '1.50'), (3, 'x'), (4, 7), "
                           "(5, 7.0), (6, NULL), (7, x'31')" % table)
            sql = "SELECT k, typeof(v), v FROM "
            check(rows(db, sql + "n") == rows(db, sql + "t"), text, rows(db, sql + "n"),
                  rows(db, sql + "t"))
        for table in ("n", "t"):
            db.execute("DROP TABLE IF EXISTS " + table)
    db.close()


def test_the_failed_name_is_free(folder):
    """After a refusal the same name can be used, in the same transaction too."""
    db = host.connect(folder + "/a.db")
    db.execute("BEGIN")
    check_fails(db, "CREATE VIRTUAL TABLE t USING fastkv(a, b, a)", host.ERROR, "duplicate", "a")
    db.execute("CREATE VIRTUAL TABLE t USING fastkv(a, b)")
    db.execute("INSERT INTO t VALUES (1, 2)")
    db.execute("COMMIT")
    check_fails(db, "CREATE VIRTUAL TABLE t USING fastkv(a, b)", host.ERROR, "t already exists")
    check(rows(db, "SELECT * FROM t") == [(1, 2)], "rows")
    db.close()


def test_wrong_statements(folder):
    """A mistake in a statement on the table is named as well."""
    db = host.connect(folder + "/a.db")
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv")
    check_fails(db, "SELECT vaule FROM kv", host.ERROR, "vaule")
    check_fails(db, "INSERT INTO kv VALUES (1)", host.ERROR, "kv", "2 columns")
    check_fails(db, "INSERT INTO kv(kv) VALUES ('compat')", host.ERROR, "compat", "compact")
    check_fails(db, "INSERT INTO kv(kv) VALUES (1)", host.ERROR, "\"1\"", "compact")
    check_fails(db, "INSERT INTO kv(kv, arg) VALUES ('delete-prefix', 5)", 20, "prefix")
    check_fails(db, "SELECT * FROM fastkv_stats('vk')", host.ERROR, "\"vk\"")
    check_fails(db, "SELECT * FROM fastkv_stats('main.vk')", host.ERROR, "vk")
    check_fails(db, "CREATE INDEX i ON kv(value)", host.ERROR, "virtual")
    check_fails(db, "ALTER TABLE kv ADD COLUMN more", host.ERROR, "virtual")
    db.close()


def test_without_the_extension(folder):
    """SQLite's own words then; the database is otherwise usable."""
    path = folder + "/a.db"
    host.make(path)
    db = host.sqlite3.connect(path)
    check_fails(db, "SELECT * FROM kv", host.ERROR, "no such module", "fastkv")
    check(rows(db, "SELECT x FROM native") == [("native row",)], "the native table")
    db.close()


host.main(globals())
