"""use_python.py -- fastkv in Python's own sqlite3 module.

This is the programme that all use_* files of this folder run, each in its language; what is said
here of a part holds for them all. The parts share one database and build on each other. A native
table beside the fastkv table is given the same rows through the same calls, and says what is right.
"""
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import traceback

SO = os.environ["FASTKV_SO"]
PATH = os.path.join(os.environ["FASTKV_TMP"], "python.db")
ROWS = 1000
DIFFERENCE = """SELECT count(*) FROM (
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s EXCEPT
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s)"""


def same(got, wanted):
    if got != wanted:
        raise AssertionError("got %r, wanted %r" % (got, wanted))


def connect(timeout=0.05):
    db = sqlite3.connect(PATH, timeout=timeout, isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(SO)
    db.enable_load_extension(False)
    return db


def one(db, sql, *args):
    return db.execute(sql, args).fetchone()[0]


def column(db, sql, *args):
    return [row[0] for row in db.execute(sql, args)]


def fails(db, name, text, sql, *args):
    """The statement raises the binding's exception with SQLite's code and words."""
    try:
        db.execute(sql, args).fetchall()
    except sqlite3.Error as e:
        same((e.sqlite_errorname, str(e)), (name, text))
    else:
        raise AssertionError("no error: " + sql)


def value(i):
    """Every type, with what bindings stumble over."""
    return [None, i, 2**63 - 1 - i, -2**63 + i, i * 0.5 + 0.1, "grün 日本 🙂 %d" % i,
            "a\0b%d" % i, bytes([0, 255, i & 255, 128])][i % 8]


def row(i):
    return "p%d" % (i % 10), i - 500, value(i), i


def load():
    db = sqlite3.connect(PATH)
    fails(db, "SQLITE_ERROR", "no such module: fastkv", "CREATE VIRTUAL TABLE t USING fastkv")
    db.close()
    db = connect()
    print("SQLite %s, fastkv %s" % (sqlite3.sqlite_version, one(db, "SELECT fastkv_version()")))
    db.enable_load_extension(True)
    db.load_extension(SO)  # a second time does no harm
    db.execute("""CREATE VIRTUAL TABLE item USING fastkv(
                  part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n))""")
    db.execute("""CREATE TABLE native(
                  part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID""")
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv")
    db.close()


def types():
    db = connect()
    db.execute("BEGIN")
    for table in ("item", "native"):
        db.executemany("INSERT INTO %s VALUES (?, ?, ?, ?)" % table, map(row, range(ROWS)))
    db.executemany("INSERT INTO kv VALUES (?, ?)", (("user:%04d" % i, i) for i in range(ROWS)))
    db.execute("COMMIT")
    same(one(db, "SELECT count(*) FROM item"), ROWS)
    same(one(db, DIFFERENCE % ("item", "native")), 0)
    same(one(db, DIFFERENCE % ("native", "item")), 0)
    same(db.execute("SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1").fetchall(),
         [("blob", 125), ("integer", 375), ("null", 125), ("real", 125), ("text", 250)])
    same(sorted(db.execute("SELECT * FROM item"), key=lambda r: r[1]), [
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
    db.execute("CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)")
    db.execute("INSERT INTO part VALUES ('p3', 'third'), (?, ?)", ("p7", "siebtes Stück"))
    same(db.execute("""SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                       WHERE n < ? GROUP BY title ORDER BY title""", (0,)).fetchall(),
         [("siebtes Stück", 50, -12400), ("third", 50, -12600)])
    db.close()


def conflicts():
    db = connect()
    unique = "SQLITE_CONSTRAINT_PRIMARYKEY", "UNIQUE constraint failed: item.part, item.n"
    again = "INSERT INTO item VALUES (?, ?, NULL, 0)"
    fails(db, *unique, again, "p3", 93)
    fails(db, "SQLITE_CONSTRAINT_NOTNULL", "NOT NULL constraint failed: kv.key",
          "INSERT INTO kv VALUES (?, 1)", None)
    fails(db, "SQLITE_ERROR", 'UPSERT not implemented for virtual table "kv"',
          "INSERT INTO kv VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2")
    same(db.execute("INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')").rowcount, 0)
    db.execute("BEGIN")
    db.execute("REPLACE INTO kv VALUES ('before', 1)")
    fails(db, *unique, again, "p3", 93)
    db.execute("REPLACE INTO kv VALUES ('after', 1)")
    same(db.in_transaction, True)
    db.execute("COMMIT")
    same(db.execute("DELETE FROM kv WHERE key IN ('before', 'after')").rowcount, 2)
    db.close()


def savepoints():
    db = connect()
    counts = "SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' || " \
             "(SELECT count(*) FROM part)"
    before = one(db, counts)
    db.execute("BEGIN")
    db.execute("SAVEPOINT one")
    db.execute("DELETE FROM item WHERE part IN (SELECT name FROM part)")
    db.execute("SAVEPOINT two")
    db.execute("INSERT INTO kv VALUES ('undone', 1)")
    db.execute("DELETE FROM part")
    same(one(db, counts), "800,1001,0")
    db.execute("ROLLBACK TO two")
    same(one(db, counts), "800,1000,2")
    db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")
    db.execute("COMMIT")
    same(one(db, counts), before)
    with db:  # the binding's own transaction, around which the others have nothing like it
        db.execute("BEGIN")
        db.execute("INSERT INTO kv VALUES ('with', 1)")
    same(one(db, "SELECT count(*) FROM kv WHERE key = 'with'"), 1)
    db.execute("DELETE FROM kv WHERE key = 'with'")
    db.close()


def two_connections():
    a, b = connect(), connect()
    seen = "SELECT count(*) FROM kv WHERE key = 'seen'"
    same(one(b, seen), 0)
    a.execute("BEGIN")
    a.execute("INSERT INTO kv VALUES ('seen', 1)")
    same((one(a, seen), one(b, seen)), (1, 0))
    fails(b, "SQLITE_BUSY", "database is locked", "INSERT INTO kv VALUES ('seen', 2)")
    a.execute("COMMIT")
    same(one(b, seen), 1)
    same(b.execute("DELETE FROM kv WHERE key = 'seen'").rowcount, 1)
    same(one(a, seen), 0)
    a.close()
    b.close()


def threads():
    """One connection each; BEGIN IMMEDIATE waits for its turn, as with native tables."""
    def work(number):
        try:
            db = connect(timeout=20)
            for start in range(0, 250, 25):
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT INTO kv VALUES (?, ?)", (
                    ("thread:%d:%03d" % (number, i), i) for i in range(start, start + 25)))
                db.execute("COMMIT")
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
    same(db.execute("DELETE FROM kv WHERE key GLOB 'thread:*'").rowcount, 1000)
    db.close()


def functions():
    db = connect()
    db.create_function("last_digit", 1, lambda key: int(key[-1]))
    db.create_function("up_to", 1, lambda n: n if n < 50 else 1 // 0)
    db.create_function("value_of", 1, lambda key: one(
        db, "SELECT value FROM kv WHERE key = ?", key))
    same(one(db, "SELECT count(*) FROM kv WHERE last_digit(key) = 7"), 100)
    same(db.execute("UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'")
         .rowcount, 100)
    same(one(db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 4950 + 450)
    db.execute("UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'")
    # What the function raises in the middle of a statement undoes the statement.
    fails(db, "SQLITE_ERROR", "user-defined function raised exception",
          "UPDATE kv SET value = -up_to(value)")
    same(one(db, "SELECT sum(value) FROM kv"), 499500)
    # A function may use its own connection: one statement within another on the same table.
    same(one(db, "SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'"), 9945)
    db.close()


def unfinished():
    """Statements that were not read to their end stay open over commit, rollback and close, and go
    in whatever order the garbage is collected."""
    db = connect()
    read = db.execute("SELECT key FROM kv ORDER BY key")
    same([next(read)[0] for _ in range(3)], ["user:0000", "user:0001", "user:0002"])
    db.execute("BEGIN")
    db.execute("INSERT INTO kv VALUES ('zz', 1)")
    db.execute("COMMIT")
    same(next(read)[0], "user:0003")
    db.execute("BEGIN")
    db.execute("DELETE FROM kv")
    db.execute("ROLLBACK")
    same(next(read)[0], "user:0004")
    db.close()  # the statement is still there
    other = connect()
    same(one(other, "SELECT value FROM kv WHERE key = 'zz'"), 1)
    del read
    other.execute("DELETE FROM kv WHERE key = 'zz'")
    # Statements and their connection in one circle, in the middle of a transaction.
    db = connect()
    circle = [db]
    circle += [circle, db.execute("SELECT key FROM kv")]
    next(circle[-1])
    db.execute("BEGIN")
    circle.append(db.execute("INSERT INTO kv VALUES ('zz', 2)"))
    del db, circle
    gc.collect()
    same(one(other, "SELECT count(*) FROM kv WHERE key = 'zz'"), 0)
    other.execute("INSERT INTO kv VALUES ('zz', 3)")
    other.execute("DELETE FROM kv WHERE key = 'zz'")
    other.close()


def left_open():
    """A process that ends without closing anything, in a transaction."""
    subprocess.run([sys.executable, __file__, "leave"], check=True)
    db = connect()
    same(column(db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), ["left:committed"])
    db.execute("DELETE FROM kv WHERE key GLOB 'left:*'")
    db.close()


def leave():
    global kept
    db = connect()
    db.execute("INSERT INTO kv VALUES ('left:committed', 1)")
    read = db.execute("SELECT * FROM kv")
    next(read)
    db.execute("BEGIN")
    db.execute("INSERT INTO kv VALUES ('left:open', 1)")
    kept = db, read


def reopened():
    db = connect()
    same((one(db, "SELECT count(*) FROM item"), one(db, "SELECT count(*) FROM kv")), (1000, 1000))
    same(one(db, DIFFERENCE % ("item", "native")), 0)
    same(one(db, DIFFERENCE % ("native", "item")), 0)
    same(one(db, "SELECT sum(value) FROM kv"), 499500)
    db.execute("INSERT INTO kv(kv) VALUES ('integrity-check')")
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
