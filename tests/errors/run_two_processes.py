#!/usr/bin/env python3
"""run_two_processes.py -- fails when a second process is let into a store that another one has
open, does not hear who that is, or is kept out when the other has closed it or was killed.
"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import host
from host import check, check_fails, rows


class Holder:
    """A shell that has the store open."""

    def __init__(self, path):
        self.shell = subprocess.Popen(
            ["sqlite3", "-batch", "-init", "/dev/null", path], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=dict(os.environ, LD_PRELOAD=host.PRELOAD))
        self.ask(".load " + host.SO)
        self.ask("SELECT count(*) FROM kv;")

    def ask(self, text):
        """Returns when it is done."""
        self.shell.stdin.write(text + "\n.print done\n")
        self.shell.stdin.flush()
        while self.shell.stdout.readline().strip() not in ("done", ""):
            pass

    def end(self, kill=False):
        if kill:
            self.shell.kill()
        self.shell.stdin.close()
        self.shell.wait()
        self.shell.stdout.close()


def check_busy(db, holder):
    for sql in ("SELECT * FROM kv", "REPLACE INTO kv VALUES ('a', 1)",
                "CREATE VIRTUAL TABLE other USING fastkv"):
        check_fails(db, sql, host.BUSY, "a.db-fastkv", "process %d" % holder.shell.pid)
    check_fails(db, "DROP TABLE kv", host.BUSY)  # SQLite drops xDestroy's text
    check(rows(db, "SELECT x FROM native") == [("native row",)], "the native table")


def test_closed_by_the_first(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    holder = Holder(path)
    db = host.connect(path)
    check_busy(db, holder)
    holder.ask("INSERT INTO kv VALUES ('zzz', 1);")
    holder.end()
    check(rows(db) == wanted + [("zzz", 1)], "rows after the first has closed")
    db.execute("DELETE FROM kv WHERE key = 'zzz'")
    status, said = host.shell(path, "SELECT count(*) FROM kv")
    check(status == host.BUSY and "process %d" % os.getpid() in said, "the shell:", status, said)
    db.close()


def test_killed(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    holder = Holder(path)
    db = host.connect(path)
    check_busy(db, holder)
    holder.ask("INSERT INTO kv VALUES ('zzz', 1);")
    holder.end(kill=True)
    check(rows(db) == wanted + [("zzz", 1)], "rows after kill -9 of the first")
    check_fails(db, "INSERT INTO kv VALUES ('zzzz', 2)", host.OK)
    db.close()


host.main(globals())
