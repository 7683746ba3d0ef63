#!/usr/bin/env python3
"""run_null_keys.py -- fails when a NULL key, a NULL in a NOT NULL column or a key that is there
already gives another code, other words or other rows than in a native WITHOUT ROWID table.
"""
import os
import sys

sys.dont_write_bytecode = True
import host
from host import check, failure, rows

NOTNULL, PRIMARYKEY = 1299, 1555
SINGLE = "k TEXT PRIMARY KEY, v, w TEXT NOT NULL DEFAULT 'w'"
COMPOSITE = "a TEXT, b INTEGER, v NOT NULL, PRIMARY KEY (a, b)"
VERBS = ("INSERT", "INSERT OR ABORT", "INSERT OR FAIL", "INSERT OR IGNORE", "INSERT OR REPLACE",
         "REPLACE", "INSERT OR ROLLBACK")


class Pair:
    """The same table twice, each in a database of its own so that both can have the same name."""

    def __init__(self, folder, declared):
        self.ours = host.connect(folder + "/ours.db")
        self.native = host.connect(folder + "/native.db")
        self.ours.execute("CREATE VIRTUAL TABLE t USING fastkv(%s)" % declared)
        self.native.execute("CREATE TABLE t(%s) WITHOUT ROWID" % declared)

    def same(self, sql, args=()):
        """Both give the same code and words, which are returned, and have the same rows then."""
        ours, native = failure(self.ours, sql, args), failure(self.native, sql, args)
        check(ours == native, "%s %s:\n  ours   %s\n  native %s" % (sql, args, ours, native))
        said = native
        check(self.ours.in_transaction == self.native.in_transaction, sql, "in_transaction")
        ours, native = rows(self.ours, "SELECT * FROM t"), rows(self.native, "SELECT * FROM t")
        check(ours == native, "%s %s: rows\n  ours   %s\n  native %s" % (sql, args, ours, native))
        return said

    def close(self):
        self.ours.close()
        self.native.close()


def test_null_in_a_single_key(folder):
    t = Pair(folder, SINGLE)
    t.same("INSERT INTO t VALUES ('a', 1, 'x'), ('b', 2, 'y')")
    said = t.same("INSERT INTO t VALUES (NULL, 3, 'z')")
    check(said == (NOTNULL, "NOT NULL constraint failed: t.k"), said)
    for verb in VERBS:
        t.same(verb + " INTO t VALUES (NULL, 3, 'z')")
        t.same(verb + " INTO t VALUES (?, 3, 'z')", (None,))
        t.same(verb + " INTO t(v) VALUES (3)")
        t.same(verb + " INTO t VALUES ('c', 3, 'z'), (NULL, 4, 'z'), ('d', 5, 'z')")
        t.same("DELETE FROM t WHERE k > 'b'")
    t.close()


def test_null_in_a_composite_key(folder):
    t = Pair(folder, COMPOSITE)
    t.same("INSERT INTO t VALUES ('a', 1, 'x'), ('a', 2, 'y')")
    for verb in VERBS:
        t.same(verb + " INTO t VALUES (NULL, 1, 'z')")
        t.same(verb + " INTO t VALUES ('a', NULL, 'z')")
        t.same(verb + " INTO t VALUES (NULL, NULL, 'z')")
        t.same(verb + " INTO t VALUES ('a', 3, NULL)")
        t.same(verb + " INTO t(a, v) VALUES ('a', 'z')")
    t.close()


def test_update_to_null(folder):
    t = Pair(folder, SINGLE)
    t.same("INSERT INTO t VALUES ('a', 1, 'x'), ('b', 2, 'y'), ('c', 3, 'z')")
    for how in ("", "OR ABORT ", "OR FAIL ", "OR IGNORE ", "OR REPLACE ", "OR ROLLBACK "):
        t.same("UPDATE %st SET k = NULL" % how)
        t.same("UPDATE %st SET k = NULL WHERE k = 'b'" % how)
        t.same("UPDATE %st SET w = NULL WHERE k = 'b'" % how)
        t.same("UPDATE %st SET k = 'a' WHERE k = 'b'" % how)
    t.close()


def test_key_that_is_there(folder):
    for name, declared, row, other in (
            ("single", SINGLE, "'a', 1, 'x'", "'b', 2, 'y'"),
            ("composite", COMPOSITE, "'a', 1, 'x'", "'a', 2, 'y'")):
        os.mkdir(folder + "/" + name)
        t = Pair(folder + "/" + name, declared)
        t.same("INSERT INTO t VALUES (%s)" % row)
        said = t.same("INSERT INTO t VALUES (%s)" % row)
        check(said[0] == PRIMARYKEY and "t." in said[1], said)
        for verb in VERBS:
            t.same("%s INTO t VALUES (%s)" % (verb, row))
            t.same("%s INTO t VALUES (%s), (%s)" % (verb, other, row))
            t.same("DELETE FROM t WHERE v IN (2, 'y')")
        t.close()


def test_in_a_transaction(folder):
    """What the failed statement leaves of the transaction is what it leaves in a native one."""
    t = Pair(folder, SINGLE)
    for verb in VERBS:
        t.same("BEGIN")
        t.same("INSERT INTO t(k, v) VALUES ('before %s', 1)" % verb)
        t.same(verb + " INTO t(k, v) VALUES ('with', 2), (NULL, 3), ('after', 4)")
        t.same("COMMIT")
    t.close()


def test_null_matches_no_key(folder):
    t = Pair(folder, SINGLE)
    t.same("INSERT INTO t VALUES ('a', 1, 'x'), ('b', 2, 'y')")
    for where in ("k = NULL", "k IS NULL", "k IN (NULL)", "k > NULL", "k IS NOT NULL", "k = ?"):
        args = (None,) if "?" in where else ()
        sql = "SELECT * FROM t WHERE " + where
        check(rows(t.ours, sql, args) == rows(t.native, sql, args), sql)
        t.same("UPDATE t SET v = 9 WHERE " + where, args)
    t.same("DELETE FROM t WHERE k IS NULL")
    t.close()


host.main(globals())
