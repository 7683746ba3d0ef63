"""use_apsw.py -- fastkv in apsw, the thin Python binding. The programme is use_python.py's; apsw
differs in exceptions by result code, connections as context managers that nest savepoints, text
with NUL as it is, virtual tables and functions of its own beside ours.
"""
import gc
import os
import subprocess
import sys
import threading
import traceback

import apsw

SO = os.environ["FASTKV_SO"]
PATH = os.path.join(os.environ["FASTKV_TMP"], "apsw.db")
ROWS = 1000
DIFFERENCE = """SELECT count(*) FROM (
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s EXCEPT
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s)"""


def same(got, wanted):
    if got != wanted:
        raise AssertionError("got %r, wanted %r" % (got, wanted))


def connect(timeout=50):
    db = apsw.Connection(PATH)
    db.setbusytimeout(timeout)
    db.enableloadextension(True)
    db.loadextension(SO)
    return db


def run(db, sql, *args):
    return db.cursor().execute(sql, args)


def one(db, sql, *args):
    return run(db, sql, *args).fetchall()[0][0]


def changed(db, sql, *args):
    run(db, sql, *args)
    return db.changes()


def column(db, sql, *args):
    return [row[0] for row in run(db, sql, *args)]


def fails(db, wanted, code, words, sql, *args):
    try:
        run(db, sql, *args).fetchall()
    except apsw.Error as e:
        same((type(e), e.extendedresult), (wanted, code))
        same(str(e).endswith(words) or str(e), True)  # older ones put their own name before
    else:
        raise AssertionError("no error: " + sql)


def value(i):
    return [None, i, 2**63 - 1 - i, -2**63 + i, i * 0.5 + 0.1, "grün 日本 🙂 %d" % i,
            "a\0b%d" % i, bytes([0, 255, i & 255, 128])][i % 8]


def row(i):
    return "p%d" % (i % 10), i - 500, value(i), i


def load():
    db = apsw.Connection(PATH)
    fails(db, apsw.SQLError, apsw.SQLITE_ERROR, "no such module: fastkv",
          "CREATE VIRTUAL TABLE t USING fastkv")
    db.close()
    db = connect()
    print("SQLite %s, apsw %s, fastkv %s" % (
        apsw.sqlitelibversion(), apsw.apswversion(), one(db, "SELECT fastkv_version()")))
    db.loadextension(SO)
    run(db, """CREATE VIRTUAL TABLE item USING fastkv(
                 part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
               CREATE TABLE native(
                 part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
               CREATE VIRTUAL TABLE kv USING fastkv""")
    db.close()


def types():
    db = connect()
    with db:
        for table in ("item", "native"):
            db.cursor().executemany("INSERT INTO %s VALUES (?, ?, ?, ?)" % table,
                                    map(row, range(ROWS)))
        db.cursor().executemany("INSERT INTO kv VALUES (?, ?)",
                                (("user:%04d" % i, i) for i in range(ROWS)))
    same(one(db, "SELECT count(*) FROM item"), ROWS)
    same(one(db, DIFFERENCE % ("item", "native")), 0)
    same(one(db, DIFFERENCE % ("native", "item")), 0)
    same(run(db, "SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1").fetchall(),
         [("blob", 125), ("integer", 375), ("null", 125), ("real", 125), ("text", 250)])
    same(sorted(run(db, "SELECT * FROM item"), key=lambda r: r[1]), [
        (part, n, v, float(w)) for part, n, v, w in map(row, range(ROWS))])
    db.close()


def ranges():
    db = connect()
    same(column(db, "SELECT key FROM kv WHERE key GLOB ? ORDER BY key", "user:012*"),
         ["user:012%d" % i for i in range(10)])
    same(column(db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
         ["user:0199", "user:0198"])
    same(column(db, """SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
                       ORDER BY n DESC LIMIT 3""", "p3", -100, 100), [93, 83, 73])
    db.close()


def join():
    db = connect()
    run(db, "CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT);"
            "INSERT INTO part VALUES ('p3', 'third'), (?, ?)", "p7", "siebtes Stück")
    same(run(db, """SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                    WHERE n < ? GROUP BY title ORDER BY title""", 0).fetchall(),
         [("siebtes Stück", 50, -12400), ("third", 50, -12600)])
    db.close()


def conflicts():
    db = connect()
    unique = (apsw.ConstraintError, apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
              "UNIQUE constraint failed: item.part, item.n")
    again = "INSERT INTO item VALUES (?, ?, NULL, 0)"
    fails(db, *unique, again, "p3", 93)
    fails(db, apsw.ConstraintError, apsw.SQLITE_CONSTRAINT_NOTNULL,
          "NOT NULL constraint failed: kv.key", "INSERT INTO kv VALUES (?, 1)", None)
    fails(db, apsw.SQLError, apsw.SQLITE_ERROR, 'UPSERT not implemented for virtual table "kv"',
          "INSERT INTO kv VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2")
    before = db.totalchanges()
    run(db, "INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')")
    same(db.totalchanges(), before)
    run(db, "BEGIN; REPLACE INTO kv VALUES ('before', 1)")
    fails(db, *unique, again, "p3", 93)
    run(db, "REPLACE INTO kv VALUES ('after', 1)")
    same(db.getautocommit(), False)
    run(db, "COMMIT")
    same(changed(db, "DELETE FROM kv WHERE key IN ('before', 'after')"), 2)
    db.close()


def savepoints():
    """apsw's `with db` is a savepoint; an exception rolls it back."""
    db = connect()
    counts = "SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' || " \
             "(SELECT count(*) FROM part)"
    before = one(db, counts)
    with db:
        try:
            with db:
                run(db, "DELETE FROM item WHERE part IN (SELECT name FROM part)")
                try:
                    with db:
                        run(db, "INSERT INTO kv VALUES ('undone', 1); DELETE FROM part")
                        same(one(db, counts), "800,1001,0")
                        raise KeyError
                except KeyError:
                    same(one(db, counts), "800,1000,2")
                raise KeyError
        except KeyError:
            same(one(db, counts), before)
    same(one(db, counts), before)
    db.close()


def two_connections():
    a, b = connect(), connect()
    seen = "SELECT count(*) FROM kv WHERE key = 'seen'"
    same(one(b, seen), 0)
    run(a, "BEGIN; INSERT INTO kv VALUES ('seen', 1)")
    same((one(a, seen), one(b, seen)), (1, 0))
    fails(b, apsw.BusyError, apsw.SQLITE_BUSY, "database is locked",
          "INSERT INTO kv VALUES ('seen', 2)")
    run(a, "COMMIT")
    same(one(b, seen), 1)
    same(changed(b, "DELETE FROM kv WHERE key = 'seen'"), 1)
    same(one(a, seen), 0)
    a.close()
    b.close()


def threads():
    def work(number):
        try:
            db = connect(timeout=20000)
            for start in range(0, 250, 25):
                run(db, "BEGIN IMMEDIATE")
                db.cursor().executemany("INSERT INTO kv VALUES (?, ?)", [
                    ("thread:%d:%03d" % (number, i), i) for i in range(start, start + 25)])
                run(db, "COMMIT")
                same(one(db, "SELECT count(*) FROM kv WHERE key GLOB ?", "thread:%d:*" % number),
                     start + 25)
            db.close()
        except Exception as e:  # the main thread says it
            errors.append(e)

    errors = []
    running = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    same(errors, [])
    db = connect()
    same(changed(db, "DELETE FROM kv WHERE key GLOB 'thread:*'"), 1000)
    db.close()


def functions():
    db = connect()
    db.createscalarfunction("last_digit", lambda key: int(key[-1]), 1)
    db.createscalarfunction("up_to", lambda n: n if n < 50 else 1 // 0, 1)
    db.createscalarfunction("value_of", lambda key: one(
        db, "SELECT value FROM kv WHERE key = ?", key), 1)
    same(one(db, "SELECT count(*) FROM kv WHERE last_digit(key) = 7"), 100)
    same(changed(db, "UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"), 100)
    same(one(db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 4950 + 450)
    run(db, "UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'")
    try:
        run(db, "UPDATE kv SET value = -up_to(value)")
    except ZeroDivisionError:  # the function's own exception comes through
        pass
    else:
        raise AssertionError("no error")
    same(one(db, "SELECT sum(value) FROM kv"), 499500)
    same(one(db, "SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'"), 9945)
    db.createmodule("digits", Digits())
    run(db, "CREATE VIRTUAL TABLE temp.digits USING digits")
    same(one(db, "SELECT sum(value) FROM digits JOIN kv ON key = 'user:000' || digit"), 45)
    db.close()


class Digits:
    """A virtual table in Python, to be joined with ours: the digits, read from the first on."""

    def Create(self, *_):
        return "CREATE TABLE digits(digit)", self

    def Open(self):
        return Digits()

    def BestIndex(self, *_):
        return None

    def Filter(self, *_):
        self.at = 0

    def Eof(self):
        return self.at > 9

    def Next(self):
        self.at += 1

    def Column(self, _):
        return self.at

    Rowid, Connect = Column, Create

    def Close(self):
        pass

    Disconnect = Destroy = Close


def unfinished():
    db = connect()
    read = run(db, "SELECT key FROM kv ORDER BY key")
    same([next(read)[0] for _ in range(3)], ["user:0000", "user:0001", "user:0002"])
    run(db, "BEGIN; INSERT INTO kv VALUES ('zz', 1); COMMIT")
    same(next(read)[0], "user:0003")
    run(db, "BEGIN; DELETE FROM kv; ROLLBACK")
    same(next(read)[0], "user:0004")
    db.close(True)  # with an open cursor
    other = connect()
    same(one(other, "SELECT value FROM kv WHERE key = 'zz'"), 1)
    del read, db
    run(other, "DELETE FROM kv WHERE key = 'zz'")
    db = connect()
    circle = [db]
    circle += [circle, run(db, "SELECT key FROM kv")]
    next(circle[-1])
    run(db, "BEGIN; INSERT INTO kv VALUES ('zz', 2)")
    del db, circle
    gc.collect()
    same(one(other, "SELECT count(*) FROM kv WHERE key = 'zz'"), 0)
    run(other, "INSERT INTO kv VALUES ('zz', 3); DELETE FROM kv WHERE key = 'zz'")
    other.close()


def left_open():
    subprocess.run([sys.executable, __file__, "leave"], check=True)
    db = connect()
    same(column(db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), ["left:committed"])
    run(db, "DELETE FROM kv WHERE key GLOB 'left:*'")
    db.close()


def leave():
    global kept
    db = connect()
    run(db, "INSERT INTO kv VALUES ('left:committed', 1)")
    read = run(db, "SELECT * FROM kv")
    next(read)
    run(db, "BEGIN; INSERT INTO kv VALUES ('left:open', 1)")
    kept = db, read


def reopened():
    db = connect()
    same((one(db, "SELECT count(*) FROM item"), one(db, "SELECT count(*) FROM kv")), (1000, 1000))
    same(one(db, DIFFERENCE % ("item", "native")), 0)
    same(one(db, DIFFERENCE % ("native", "item")), 0)
    same(one(db, "SELECT sum(value) FROM kv"), 499500)
    run(db, "INSERT INTO kv(kv) VALUES ('integrity-check')")
    same(one(db, "PRAGMA integrity_check"), "ok")
    db.close()


def main():
    passed = failed = 0
    for part in (load, types, ranges, join, conflicts, savepoints, two_connections, threads,
                 functions, unfinished, left_open, reopened):
        try:
            part()
            passed += 1
        except Exception:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print("FAILED", part.__name__)
            if part == load:
                break
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if sys.argv[1:] == ["leave"]:
    leave()
else:
    main()
