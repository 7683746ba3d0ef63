#!/usr/bin/env python3
"""run_shell.py -- the sqlite3 shell as somebody at a terminal uses it: prompts, continuation lines,
dot commands, completion, Ctrl-C and Ctrl-D, through a pseudo-terminal.
"""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SO = os.environ.get("FASTKV_SO", os.path.join(ROOT, "build", "fastkv.so"))
PROMPT, MORE = "sqlite> ", "   ...> "
LIMIT = 20  # seconds that an answer may take
folder = tempfile.mkdtemp(prefix="shell.", dir=os.environ.get("FASTKV_TMP"))


def same(got, wanted):
    if got != wanted:
        raise AssertionError("got\n%s\nwanted\n%s" % (got, wanted))


def has(text, *words):
    for word in words:
        if word not in text:
            raise AssertionError("no %r in\n%s" % (word, text))


class Shell:
    """One session. The home folder is an empty one: no ~/.sqliterc, no history."""

    def __init__(self, name="a.db", load=True):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = dict(os.environ, HOME=folder, TERM="dumb", LC_ALL="C.UTF-8",
                               LD_PRELOAD=os.environ.get("FASTKV_PRELOAD", ""))
            os.execvpe("sqlite3", ["sqlite3", "-interactive", name], environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
        self.read_to(PROMPT)
        if load:
            same(self.ask(".load " + SO), "")

    def read_to(self, *ends):
        """Everything up to one of these at the end, which must be a prompt that waits."""
        seen, until = b"", time.monotonic() + LIMIT
        while True:
            text = seen.decode(errors="replace").replace("\r", "")
            if any(text.endswith(end) for end in ends):
                return text
            ready = select.select([self.terminal], [], [], max(0, until - time.monotonic()))[0]
            if not ready:
                raise AssertionError("no %r after %d s, but:\n%s" % (ends, LIMIT, text))
            try:
                more = os.read(self.terminal, 65536)
            except OSError:  # Linux says so when the other side has gone
                more = b""
            if not more:
                return text
            seen += more

    def keys(self, text):
        os.write(self.terminal, text.encode())

    def ask(self, *lines):
        """Type the lines; what is printed after the last one."""
        for line in lines[:-1]:
            self.keys(line + "\n")
            self.read_to(MORE)
        self.keys(lines[-1] + "\n")
        text = self.read_to(PROMPT)
        return text[text.index("\n") + 1:-len(PROMPT)]  # without what was typed and the prompt

    def end(self, how=".quit\n"):
        """It exits, with 1 if there was an error before."""
        self.keys(how)
        self.read_to("\0")  # to the end
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.terminal)
        self.pid = None
        same(os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1), True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            finally:
                os.close(self.terminal)


def test_statements():
    with Shell() as shell:
        print(shell.ask("SELECT 'SQLite ' || sqlite_version() || ', fastkv ' || fastkv_version();"),
              end="")
        same(shell.ask("CREATE VIRTUAL TABLE kv USING fastkv;"), "")
        same(shell.ask("CREATE VIRTUAL TABLE readings USING fastkv(",
                       "  sensor TEXT, at INTEGER, temperature REAL, note,",
                       "  PRIMARY KEY (sensor, at)  -- by sensor", ");"), "")
        same(shell.ask("REPLACE INTO kv VALUES", "  ('a', 1),", "  ('b', 'zwei; \"2\"'),",
                       "  ('c', x'00ff');"), "")
        same(shell.ask("SELECT key, quote(value)", "FROM kv", "ORDER BY key DESC;"),
             "c|X'00FF'\nb|'zwei; \"2\"'\na|1\n")
        has(shell.ask("INSERT INTO kv VALUES ('a', 2);"),
            "Runtime error: UNIQUE constraint failed: kv.key (19)")
        has(shell.ask("SELECT * FROM kv WHERE missing = 1;"), "no such column: missing")
        same(shell.ask("BEGIN; SAVEPOINT s; DELETE FROM kv; SELECT count(*) FROM kv;"), "0\n")
        same(shell.ask("ROLLBACK TO s; COMMIT; SELECT count(*) FROM kv;"), "3\n")
        shell.end()


def test_schema():
    with Shell() as shell:
        tables = shell.ask(".tables").split()
        has(tables, "kv", "readings")
        said = shell.ask(".schema readings")
        has(said, "CREATE VIRTUAL TABLE readings USING fastkv(", "PRIMARY KEY (sensor, at)",
            "/* readings(sensor,at,temperature,note) */;")
        has(shell.ask(".schema --indent kv"), "CREATE VIRTUAL TABLE kv USING fastkv")
        has(shell.ask(".fullschema"), "CREATE VIRTUAL TABLE kv USING fastkv")
        has(shell.ask("PRAGMA table_info = readings;"), "1|at|INTEGER|1|", "2|temperature|REAL|0|")
        has(shell.ask(".databases"), "main: %s r/w" % os.path.join(folder, "a.db"))
        shell.ask(".eqp on")
        has(shell.ask("SELECT value FROM kv WHERE key = 'a';"),
            "QUERY PLAN", "VIRTUAL TABLE", "\n1\n")
        shell.ask(".eqp off")
        shell.end("\x04")  # Ctrl-D


def test_completion():
    """Tab asks for the names of all tables and columns, ours among them."""
    with Shell() as shell:
        shell.keys("SELECT temper\t")
        text = shell.read_to("temperature", "temperature ", "\a")
        has(text, "temperature")
        same(shell.ask(" FROM readings;"), "")
        shell.end()


def test_import():
    with open(os.path.join(folder, "r.csv"), "w", encoding="utf-8") as f:
        f.write('sensor,at,temperature,note\nroof,17,3.5,"windy, ""very"""\nroof,9,4,\n')
        f.writelines("cellar,%d,%d.25,Grüße %d\n" % (at, at % 7, at) for at in range(1000))
    with Shell() as shell:
        same(shell.ask(".import --csv --skip 1 r.csv readings"), "")
        same(shell.ask("SELECT count(*), sum(at) FROM readings;"), "1002|499526\n")
        same(shell.ask("SELECT *, typeof(at), typeof(temperature) FROM readings",
                       "WHERE sensor = 'roof';"),
             'roof|9|4.0||integer|real\nroof|17|3.5|windy, "very"|integer|real\n')
        # Once more: every row is a conflict, and none is lost or doubled.
        said = shell.ask(".import --csv --skip 1 r.csv readings")
        has(said, "UNIQUE constraint failed: readings.sensor, readings.at")
        same(shell.ask("SELECT count(*), sum(at) FROM readings;"), "1002|499526\n")
        shell.end()


def test_modes():
    with Shell() as shell:
        shell.ask(".mode box")
        same(shell.ask("SELECT sensor, at, note FROM readings WHERE sensor = 'roof';"),
             "┌────────┬────┬───────────────┐\n│ sensor │ at │     note      │\n"
             "├────────┼────┼───────────────┤\n│ roof   │ 9  │               │\n"
             "│ roof   │ 17 │ windy, \"very\" │\n└────────┴────┴───────────────┘\n")
        shell.ask(".mode insert copy")
        same(shell.ask("SELECT * FROM kv;"), "INSERT INTO copy VALUES('a',1);\n"
             "INSERT INTO copy VALUES('b','zwei; \"2\"');\nINSERT INTO copy VALUES('c',X'00ff');\n")
        shell.ask(".mode csv")
        shell.ask(".once out.csv")
        shell.ask("SELECT * FROM readings;")
        with open(os.path.join(folder, "out.csv"), encoding="utf-8") as f:
            same(len(f.readlines()), 1002)
        shell.ask(".mode list")
        has(shell.ask(".parameter set @k \"'b'\"", ) + shell.ask(
            "SELECT value FROM kv WHERE key = @k;"), 'zwei; "2"')
        shell.ask(".changes on")
        has(shell.ask("UPDATE kv SET value = value WHERE key < 'c';"), "changes: 2")
        shell.end()


def test_dump():
    """A dump has the declarations only. Read into another database it does not pass for an empty
    table: the store is missing, by name."""
    with Shell() as shell:
        said = shell.ask(".dump kv")
        has(said, "BEGIN TRANSACTION;", "CREATE VIRTUAL TABLE kv USING fastkv", "COMMIT;")
        same("zwei" in said, False)
        shell.ask(".output dump.sql")
        shell.ask(".dump")
        shell.ask(".output")
        same(shell.ask("SELECT count(*) FROM kv;"), "3\n")
        shell.end()
    with Shell("other.db") as shell:
        same(shell.ask(".read dump.sql"), "")
        shell.end()
    with Shell("other.db") as shell:
        for sql in ("SELECT count(*) FROM kv;", "REPLACE INTO kv VALUES (1, 1);"):
            has(shell.ask(sql), "other.db-fastkv", "missing")
        shell.end()


def interrupt(shell, sql):
    """Ctrl-C a little after the statement has begun; seconds until the prompt is back."""
    shell.keys(sql + "\n")
    time.sleep(0.3)
    began = time.monotonic()
    shell.keys("\x03")
    said = shell.read_to(PROMPT)
    has(said.lower(), "interrupt")
    return time.monotonic() - began


def test_interrupt():
    with Shell() as shell:
        same(interrupt(shell, "SELECT count(*) FROM readings a, readings b, readings c "
                       "WHERE a.note > b.note || c.note;") < 2, True)
        same(shell.ask("SELECT count(*) FROM readings;"), "1002\n")
        # A statement that writes is undone, by itself or with its transaction.
        shell.ask("BEGIN; INSERT INTO kv VALUES ('d', 1);")
        same(interrupt(shell, "INSERT INTO kv SELECT a.sensor || a.at || b.sensor || b.at || x, 1 "
                       "FROM readings a, readings b, (SELECT 1 AS x UNION SELECT 2 UNION "
                       "SELECT 3 UNION SELECT 4);") < 3, True)
        said = shell.ask("SELECT count(*) FROM kv;")
        ended = shell.ask("COMMIT;")  # an interrupted write may have rolled back all of it
        same(ended in ("", "Runtime error: cannot commit - no transaction is active\n"), True)
        after = shell.ask("SELECT count(*) FROM kv;")
        same((said, after) in (("4\n", "4\n"), ("3\n", "3\n")), True)
        shell.ask("DELETE FROM kv WHERE key = 'd';")
        shell.end()


def test_open_another():
    with Shell() as shell:
        same(shell.ask("SELECT count(*) FROM kv;"), "3\n")
        shell.ask(".open b.db")  # a new connection, which has not loaded it
        has(shell.ask("CREATE VIRTUAL TABLE t USING fastkv;"), "no such module: fastkv")
        same(shell.ask(".load " + SO), "")
        same(shell.ask("CREATE VIRTUAL TABLE t USING fastkv; INSERT INTO t VALUES (1, 2);"), "")
        same(shell.ask("ATTACH 'a.db' AS a; SELECT count(*) FROM a.kv JOIN t;"), "3\n")
        shell.end()


def test_killed_and_reopened():
    """The window is closed in a transaction: SIGHUP."""
    with Shell() as shell:
        shell.ask("INSERT INTO kv VALUES ('committed', 1);")
        shell.ask("BEGIN; INSERT INTO kv VALUES ('open', 1);")
        os.kill(shell.pid, signal.SIGHUP)
        os.waitpid(shell.pid, 0)
        shell.pid = None
        os.close(shell.terminal)
    with Shell(load=False) as shell:
        has(shell.ask("SELECT * FROM kv;"), "no such module: fastkv")
        same(shell.ask(".load " + SO), "")
        same(shell.ask("SELECT count(*), max(key) FROM kv;"), "4|committed\n")
        same(shell.ask("SELECT count(*), sum(at) FROM readings;"), "1002|499526\n")
        same(shell.ask("INSERT INTO kv(kv) VALUES ('integrity-check'); PRAGMA integrity_check;"),
             "ok\n")
        shell.end(".exit\n")


def main():
    passed = failed = 0
    for name, test in list(globals().items()):
        if not re.match("test_", name):
            continue
        try:
            test()
            passed += 1
        except Exception:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print("FAILED", name)
    shutil.rmtree(folder, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if not shutil.which("sqlite3"):
    print("FAILED shell: sqlite3 is not here, and this binding must run (make deps)")
    print("0 passed, 1 failed")
    sys.exit(1)
main()
