"""host.py -- what the tests of this folder share: connections, outcomes, folders, counting.

A test file defines functions test_…(folder), each of which gets an empty folder, and ends with
host.main(globals()). check() records a failure and goes on. FKV_TEST_SEED repeats a random run;
a word on the command line chooses the tests whose name contains it.
"""
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SO = os.environ.get("FASTKV_SO", os.path.join(ROOT, "build", "fastkv.so"))
PRELOAD = os.environ.get("FASTKV_PRELOAD", "")
SEED = int(os.environ.get("FKV_TEST_SEED") or str(time.time_ns() % (1 << 32)), 0)
SCALE = int(os.environ.get("FKV_TEST_SCALE") or 1)
OK, ERROR, BUSY, READONLY, FULL, CANTOPEN, CORRUPT_VTAB = 0, 1, 5, 8, 13, 14, 267

failures = []
skipped = []

if "FASTKV_TMP" not in os.environ:  # run by hand
    os.environ["FASTKV_TMP"] = os.environ["FASTKV_TMP_OURS"] = tempfile.mkdtemp(prefix="fastkv.")
TMP = os.environ["FASTKV_TMP"]

if PRELOAD and os.environ.get("LD_PRELOAD") != PRELOAD:  # a sanitized extension, a plain python
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # python's own
    os.execve(sys.executable, [sys.executable] + sys.argv,
              dict(os.environ, LD_PRELOAD=PRELOAD, ASAN_OPTIONS=options))


def check(condition, *said):
    if not condition:
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__:  # the line in the test, not a helper here
            frame = frame.f_back
        place = "%s:%d" % (os.path.basename(frame.f_code.co_filename), frame.f_lineno)
        failures.append(place)
        print("%s: %s" % (place, " ".join(str(s) for s in said)))


def skip(why):
    skipped.append(why)
    print("SKIPPED", why)


# -- hosts -----------------------------------------------------------------------------------------

def connect(path, uri=False, timeout=0.2):
    db = sqlite3.connect(path, uri=uri, isolation_level=None, timeout=timeout)
    db.enable_load_extension(True)
    db.load_extension(SO)
    return db


def failure(db, sql, args=()):
    """(extended code, text) of a statement that is read to its end; (0, "") if it went well."""
    try:
        db.execute(sql, args).fetchall()
    except sqlite3.Error as e:
        return getattr(e, "sqlite_errorcode", -1), str(e)
    return OK, ""


def check_fails(db, sql, code, *words):
    """The statement fails with this code, and the text has all the words."""
    got, text = failure(db, sql)
    check(got == code, "%s: code %d, wanted %d: %s" % (sql, got, code, text))
    for word in words:
        check(word.lower() in text.lower(), "%s: no %r in: %s" % (sql, word, text))


def rows(db, sql="SELECT * FROM kv", args=()):
    return db.execute(sql, args).fetchall()


def shell(path, *statements, so=None):
    """(exit code, output and errors) of the stock shell."""
    command = ["sqlite3", "-batch", "-init", "/dev/null", path, ".load " + (so or SO)]
    result = subprocess.run(command + list(statements), text=True, stdin=subprocess.DEVNULL,
                            timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, LD_PRELOAD=PRELOAD), check=False)
    return result.returncode, result.stdout


def in_child(function, *args, user=None):
    """function(*args) in a process of its own, as this user id; its result must fit JSON. Call it
    with no store open: a store's handles are not for the child."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            os.write(writer, json.dumps(function(*args)).encode())
            status = 0
        except BaseException:  # whatever it is, it must not run on in the parent's code
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        answer = f.read()
    status = os.waitpid(child, 0)[1]
    if status:
        raise RuntimeError("the child ended with status %d" % status)
    return json.loads(answer)


def checks_in_child(function, *args, user=None):
    """The checks that fail in the child count here."""
    def run():
        failures.clear()
        function(*args)
        return failures

    failures.extend(in_child(run, user=user))


# -- folders ---------------------------------------------------------------------------------------

def store_of(path):
    return path + "-fastkv"


def make(path, count=2000):
    """A database with the fastkv table kv (key, value) in a table file and in the log, and a native
    table; all rows of kv in order."""
    text = random.Random(SEED)
    wanted = [("key%06d" % i, "%d:%s" % (i, "".join(text.choices("abcdefgh", k=40))))
              for i in range(count)]
    db = connect(path)
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv")
    db.execute("CREATE TABLE native(x)")
    db.execute("INSERT INTO native VALUES ('native row')")
    db.execute("BEGIN")
    db.executemany("REPLACE INTO kv VALUES (?, ?)", wanted[:count * 9 // 10])
    db.execute("COMMIT")
    db.execute("INSERT INTO kv(kv) VALUES ('flush')")
    db.execute("BEGIN")
    db.executemany("REPLACE INTO kv VALUES (?, ?)", wanted[count * 9 // 10:])
    db.execute("COMMIT")
    db.close()
    return wanted


def hashes(folder):
    """Every file below, by its name, except a store's lock: that says who opened it last."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if name != "lock":
                with open(path, "rb") as f:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(f.read()).hexdigest()
    return found


def check_untouched(before, folder, what):
    now = hashes(folder)
    changed = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
    check(not changed, what, "changed", changed)


def files(path, ending):
    """The files of a database's store whose names end so."""
    folder = store_of(path)
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith(ending)]


# -- mounts ----------------------------------------------------------------------------------------

def own_mounts():
    """Start this program again where it may mount, in a mount namespace of its own, so that nothing
    stays mounted however it ends. False: not possible here."""
    if os.environ.get("FASTKV_OWN_MOUNTS"):
        return True
    ways = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]
    probe = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tempfile.gettempdir()]
    for way in ways[os.geteuid() != 0:] if shutil.which("unshare") else []:
        if subprocess.run(way + probe, capture_output=True, check=False).returncode == 0:
            os.environ["FASTKV_OWN_MOUNTS"] = "1"
            os.environ["FKV_TEST_SEED"] = str(SEED)
            os.execvp(way[0], way + [sys.executable] + sys.argv)
    return False


def mount(*words):
    subprocess.run(["mount"] + list(words), check=True, capture_output=True)


# -- running ---------------------------------------------------------------------------------------

def main(names):
    program = os.path.basename(sys.argv[0])
    passed = failed = 0
    print("%s: seed %d" % (program, SEED))
    for name, function in list(names.items()):
        if not re.match("test_.*%s" % "|".join(map(re.escape, sys.argv[1:])), name):
            continue
        folder = tempfile.mkdtemp(prefix=name[5:25] + ".", dir=TMP)
        os.chmod(folder, 0o755)
        before, skips = len(failures), len(skipped)
        try:
            function(folder)
        except Exception:
            failures.append(name)
            traceback.print_exc(file=sys.stdout)
        if len(failures) != before:
            failed += 1
            print("FAILED", name)
        elif len(skipped) == skips:
            passed += 1
        if os.path.ismount(folder):  # a failed test has left it
            subprocess.run(["umount", "--lazy", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    if "FASTKV_TMP_OURS" in os.environ:
        shutil.rmtree(TMP, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)
