#!/usr/bin/env python3
"""run_formats.py -- fails when a store that an earlier fastkv wrote is not read as it was written.

    run_formats.py                opens a copy of every store in this folder
    run_formats.py --make NAME    writes NAME.tar.gz, and NAME-lz4-zstd.tar.gz, as this fastkv does

Make them for every change of the format, and keep the old ones. In each: a database in WAL mode
whose process was killed, so that everything there is lies about: tables on several levels, with
and without compression, deleted ranges, rows that expire, the runs of a transaction larger than
memory, a log with commits over fastkv tables and over both kinds; and `rows`, which has every row,
one a line.
"""
import os
import random
import signal
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "errors"))
sys.dont_write_bytecode = True
import host
from host import check, rows

TABLES = ("plain", "packed", "wide", "native")
NEVER = 4102444800  # 2100-01-01


def contents(db):
    """Every row of every table, as SQL literals."""
    said = []
    for table in TABLES:
        names = [r[1] for r in rows(db, "PRAGMA table_info(%s)" % table)]
        if table == "plain":
            names.append("expires_at")
        columns = " || ',' || ".join("quote(%s)" % n for n in names)
        said += ["%s %s" % (table, r[0]) for r in
                 rows(db, "SELECT %s FROM %s ORDER BY 1" % (columns, table))]
    return said


def fill(db, codecs):
    chance = random.Random(20261121)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE native(k PRIMARY KEY, v)")
    db.execute("CREATE VIRTUAL TABLE plain USING fastkv(compression = none, memory = '1MB')")
    db.execute("CREATE VIRTUAL TABLE packed USING fastkv(compression = %s)" % codecs[0])
    db.execute("CREATE VIRTUAL TABLE wide USING fastkv(a TEXT, b INTEGER, c REAL, d, e BLOB DEFAULT "
               "x'00', PRIMARY KEY (b, a), compression = %s)" % codecs[1])
    for turn in range(4):
        db.execute("BEGIN")
        for i in range(150):
            key = "key%04d" % chance.randrange(400)
            db.execute("REPLACE INTO plain VALUES (?, ?)", (key, "%d.%s" % (turn, key * 3)))
            db.execute("REPLACE INTO packed VALUES (?, ?)", (chance.randrange(400), key * 20))
            db.execute("REPLACE INTO wide(a, b, c, d) VALUES (?, ?, ?, ?)",
                       (key, chance.randrange(-9, 9), i / 7, [None, i, key, key.encode()][i % 4]))
        db.execute("COMMIT")
        db.execute("INSERT INTO plain(plain) VALUES ('flush')")
        if turn == 1:
            db.execute("INSERT INTO plain(plain) VALUES ('compact')")
        if turn == 2:
            db.execute("INSERT INTO plain(plain, arg) VALUES ('delete-range', '[\"key01\", "
                       "\"key02\"]')")
            db.execute("INSERT INTO wide(wide, arg) VALUES ('truncate', 3)")
    for i in range(20):
        db.execute("REPLACE INTO plain(key, value, expires_at) VALUES (?, ?, ?)",
                   ("life%02d" % i, i, NEVER if i % 2 else 1))
    db.execute("BEGIN")  # larger than a memtable of a budget of 1 MB: its rows go to runs
    for i in range(1500):
        db.execute("REPLACE INTO packed VALUES (?, ?)", (1000 + i, "run %d " % i * 10))
    db.execute("COMMIT")
    for i in range(5):  # in the log: over both kinds, and over one
        db.execute("BEGIN")
        db.execute("INSERT INTO native VALUES (?, ?)", (i, "both"))
        db.execute("REPLACE INTO plain VALUES (?, 'both')", ("both%d" % i,))
        db.execute("COMMIT")
        db.execute("REPLACE INTO plain VALUES (?, x'0001ff')", ("log%d" % i,))
    db.execute("DELETE FROM plain WHERE key = 'log0'")


def make(name, codecs):
    folder = host.tempfile.mkdtemp(dir=host.TMP)
    child = os.fork()
    if child == 0:
        db = host.connect(folder + "/a.db")
        fill(db, codecs)
        with open(folder + "/rows", "w", encoding="utf-8") as f:
            f.write("\n".join(contents(db)) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with tarfile.open(os.path.join(HERE, name + ".tar.gz"), "w:gz") as tar:
        for file in sorted(os.listdir(folder)):
            if not file.endswith("-shm"):
                tar.add(os.path.join(folder, file), arcname=file)


def test_every_format(folder):
    names = sorted(n[:-7] for n in os.listdir(HERE) if n.endswith(".tar.gz"))
    check(len(names) >= 2, "they are gone")
    built = rows(host.connect(":memory:"), "SELECT fastkv_debug()")[0][0]
    for name in names:
        at = os.path.join(folder, name)
        missing = [c for c in name.split("-")[2:] if c not in built]
        if missing:
            host.skip("%s: this build has no %s" % (name, missing))
            continue
        with tarfile.open(os.path.join(HERE, name + ".tar.gz")) as tar:
            tar.extractall(at)
        with open(at + "/rows", encoding="utf-8") as f:
            wanted = f.read().splitlines()
        for turn in range(3):  # recovered; as that left it; after more work
            db = host.connect(at + "/a.db")
            got = contents(db)
            check(got == wanted, name, turn, "differs:",
                  sorted(set(got) ^ set(wanted), key=str)[:3], len(got), len(wanted))
            check(rows(db, "SELECT text FROM fastkv_check('plain', 'deep') WHERE severity IN "
                           "('warning', 'error')") == [], name, "is damaged")
            if turn:
                db.execute("REPLACE INTO packed VALUES ('new', zeroblob(200000))")
                db.execute("INSERT INTO plain(plain) VALUES ('compact')")
                db.execute("DELETE FROM packed WHERE key = 'new'")
            db.close()


if sys.argv[1:2] == ["--make"]:
    make(sys.argv[2], ("zlib", "none"))
    make(sys.argv[2] + "-lz4-zstd", ("lz4", "zstd"))
else:
    host.main(globals())
