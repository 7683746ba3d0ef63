#!/usr/bin/env python3
"""run_two_processes.py -- fails when two processes with one store do not see each other's commits at
once, do not wait for each other's transactions, or lose anything when one of them is killed.
"""
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import host
from host import check, check_fails, rows


class Shell:
    """The stock shell in a process of its own."""

    def __init__(self, path, *args):
        self.process = subprocess.Popen(
            ["sqlite3", "-batch", "-init", "/dev/null", *args, path], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, LD_PRELOAD=host.PRELOAD))
        self.ask(".load " + host.SO)

    def send(self, text):
        self.process.stdin.write(text + "\n.print done\n")
        self.process.stdin.flush()

    def answer(self):
        lines = []
        while True:
            line = self.process.stdout.readline()
            if line.strip() == "done" or not line:
                return "\n".join(lines)
            lines.append(line.rstrip("\n"))

    def ask(self, text):
        self.send(text)
        return self.answer()

    def end(self, kill=False):
        if kill:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def test_each_sees_the_others_commits(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    shell = Shell(path)
    db = host.connect(path)
    check(rows(db) == wanted, "rows beside the shell")
    for i in range(50):
        db.execute("REPLACE INTO kv VALUES ('zz', ?)", (i,))
        got = shell.ask("SELECT value FROM kv WHERE key = 'zz';")
        check(got == str(i), "the shell sees", got, "not", i)
        shell.ask("UPDATE kv SET value = value || '!' WHERE key = 'zz';")
        got = rows(db, "SELECT value FROM kv WHERE key = 'zz'")
        check(got == [("%d!" % i,)], "here is", got)
    shell.ask("INSERT INTO kv(kv) VALUES ('flush'); INSERT INTO kv(kv) VALUES ('compact');")
    check(rows(db) == wanted + [("zz", "49!")], "rows after compaction by the shell")
    check(shell.ask("CREATE VIRTUAL TABLE other USING fastkv; INSERT INTO other VALUES (1, 2);")
          == "", "a table made by the shell")
    check(rows(db, "SELECT * FROM other") == [(1, 2)], "its rows here")
    db.execute("DROP TABLE other")
    check("no such table" in shell.ask("SELECT * FROM other;"), "dropped here")
    db.close()
    check(shell.ask("SELECT count(*) FROM kv;") == str(len(wanted) + 1), "after closing here")
    shell.end()


def test_writers_wait(folder):
    path = folder + "/a.db"
    host.make(path)
    shell = Shell(path)
    db = host.connect(path, timeout=0.2)
    shell.ask("BEGIN; REPLACE INTO kv VALUES ('zz', 1);")
    check_fails(db, "REPLACE INTO kv VALUES ('zz', 2)", host.BUSY)
    check(rows(db, "SELECT * FROM kv WHERE key = 'zz'") == [], "a reader does not wait, nor see it")
    shell.ask("COMMIT;")
    check_fails(db, "REPLACE INTO kv VALUES ('zz', 2)", host.OK)
    db.execute("BEGIN IMMEDIATE")
    db.execute("REPLACE INTO kv VALUES ('zz', 3)")
    shell.ask(".timeout 20000")
    shell.send("UPDATE kv SET value = value + 10 WHERE key = 'zz';")
    time.sleep(0.3)
    db.execute("COMMIT")
    check(shell.answer() == "", "the shell has waited")
    check(rows(db, "SELECT value FROM kv WHERE key = 'zz'") == [(13,)], "one after the other")
    db.close()
    shell.end()


def test_a_transaction_keeps_its_view(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    for journal in ("wal", "delete"):
        db = host.connect(path)
        db.execute("PRAGMA journal_mode = " + journal).fetchall()
        shell = Shell(path)
        db.execute("BEGIN")
        check(rows(db) == wanted, "before", journal)
        said = shell.ask("REPLACE INTO kv VALUES ('zz', 1);")
        check(rows(db) == wanted, "the view holds", journal)
        if journal == "delete":  # as with native tables: the reader keeps the writer from COMMIT
            check("locked" in said, "the writer is told", said)
            db.execute("ROLLBACK")
            db.close()
            shell.end()
            continue
        code, said = host.failure(db, "REPLACE INTO kv VALUES ('zz', 2)")
        check(code & 255 == host.BUSY, "a stale write:", code, said)
        db.execute("ROLLBACK")
        check(rows(db) == wanted + [("zz", 1)], "afterwards", journal)
        db.execute("DELETE FROM kv WHERE key = 'zz'")
        db.close()
        shell.end()


def test_killed(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    for open_transaction in (False, True):
        shell = Shell(path)
        db = host.connect(path)
        check(rows(db) == wanted, "rows beside the shell")
        shell.ask("INSERT INTO kv VALUES ('zzz', 1);")
        if open_transaction:
            shell.ask("BEGIN; INSERT INTO kv VALUES ('zzzz', 1); INSERT INTO native VALUES ('x');")
        shell.end(kill=True)
        check(rows(db) == wanted + [("zzz", 1)], "rows after kill -9 of the other")
        check_fails(db, "DELETE FROM kv WHERE key = 'zzz'", host.OK)
        db.close()
        db = host.connect(path)
        check(rows(db) == wanted, "rows after opening again")
        db.close()


def test_reading_beside_a_writer(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    reader = Shell(path, "-readonly")
    count = "SELECT count(*) FROM kv;"
    check(reader.ask(count) == str(len(wanted)), "alone", reader.ask(count))
    db = host.connect(path)
    db.execute("INSERT INTO kv VALUES ('zz', 1)")
    check(reader.ask(count) == str(len(wanted) + 1), "a writer has come", reader.ask(count))
    db.execute("INSERT INTO kv(kv) VALUES ('compact')")
    db.execute("INSERT INTO kv VALUES ('zzz', 1)")
    check(reader.ask(count) == str(len(wanted) + 2), "and goes on", reader.ask(count))
    db.close()
    check(reader.ask(count) == str(len(wanted) + 2), "and has gone", reader.ask(count))
    db = host.connect(path)
    db.execute("DELETE FROM kv WHERE key >= 'zz'")
    check(reader.ask(count) == str(len(wanted)), "another one", reader.ask(count))
    check("readonly" in reader.ask("DELETE FROM kv;"), "it cannot write")
    db.close()
    reader.end()


host.main(globals())
