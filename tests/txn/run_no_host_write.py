"""What a transaction over fastkv tables alone does to the database's own files: nothing.

A child process runs transactions under strace and announces each on stderr, where strace shows the
announcement among the system calls. A transaction that changed only fastkv tables must write no
byte to the database, its -wal or its journal, create or remove none of them, and sync none; one
that changed native tables as well must. That the mixed one is seen shows that the others would be.
"""
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SO = os.environ.get("FASTKV_SO", os.path.join(ROOT, "build", "fastkv.so"))
CALLS = ("write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,ftruncate,fallocate,"
         "unlink,unlinkat,rename,renameat,renameat2,openat")
CHANGES = re.compile(r"\b(p?writev?(?:64)?|fsync|fdatasync|sync_file_range|ftruncate|fallocate|"
                     r"unlink(?:at)?|rename(?:at2?)?)\(")
FASTKV = {
    "autocommit": ["INSERT INTO f VALUES(10, 'x')"],
    "update": ["UPDATE f SET v = v || '.' WHERE k < 5"],
    "delete": ["DELETE FROM f WHERE k = 10"],
    "begin": ["BEGIN", "INSERT INTO f VALUES(11, 'x')", "SELECT * FROM n, f", "COMMIT"],
    "immediate": ["BEGIN IMMEDIATE", "SELECT count(*) FROM n", "DELETE FROM f WHERE k = 11",
                  "COMMIT"],
    "savepoint": ["SAVEPOINT s", "INSERT INTO f VALUES(12, 'x')", "ROLLBACK TO s",
                  "INSERT INTO f VALUES(13, 'x')", "RELEASE s"],
    "two tables": ["BEGIN", "INSERT INTO f VALUES(14, 'x')", "INSERT INTO g VALUES(14, 'x')",
                   "COMMIT"],
    "rollback": ["BEGIN", "INSERT INTO f VALUES(15, 'x')", "ROLLBACK"],
    "many": ["BEGIN"] + ["REPLACE INTO f VALUES(%d, 'y')" % i for i in range(200)] + ["COMMIT"],
}
MIXED = {
    "both": ["BEGIN", "INSERT INTO f VALUES(20, 'x')", "INSERT INTO n VALUES(20, 'x')", "COMMIT"],
    "trigger": ["INSERT INTO m VALUES(21, 'x')"],
}
passed, failures = 0, []


def check(condition, *said):
    global passed
    if condition:
        passed += 1
    else:
        failures.append(said)
        print("FAILED", *said)


def child(path, mode):
    db = sqlite3.connect(path, isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(SO)
    db.execute("PRAGMA journal_mode = %s" % mode)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE n(k INTEGER PRIMARY KEY, v)")
    db.execute("CREATE TABLE m(k INTEGER PRIMARY KEY, v)")
    for name in "fg":
        db.execute("CREATE VIRTUAL TABLE %s USING fastkv(k INTEGER PRIMARY KEY, v)" % name)
    db.execute("CREATE TRIGGER t AFTER INSERT ON m BEGIN REPLACE INTO f VALUES(new.k, new.v); END")
    db.execute("INSERT INTO f VALUES(1, 'a'), (2, 'b')")
    # The first BEGIN after the tables were made has nothing to compare page 1 with.
    for sql in ("BEGIN", "UPDATE f SET v = 'c'", "COMMIT"):
        db.execute(sql)
    for round_ in range(2):
        for name, statements in list(FASTKV.items()) + list(MIXED.items()):
            if round_ and name in ("both", "trigger"):
                statements = [s.replace("INSERT", "REPLACE") for s in statements]
            if round_:  # what follows a mixed transaction, and a look at page 1
                for sql in ("BEGIN", "UPDATE f SET v = 'd' WHERE k = 1", "COMMIT"):
                    db.execute(sql)
            os.write(2, ("<<%s>>" % name).encode())
            for sql in statements:
                db.execute(sql.replace("INSERT INTO f", "REPLACE INTO f")
                           .replace("INSERT INTO g", "REPLACE INTO g")).fetchall()
            os.write(2, b"<<>>")
    db.close()


def trace(path, mode):
    """For each announced transaction the calls that changed or synced a file of the database."""
    out = path + ".trace"
    subprocess.run(["strace", "-f", "-y", "-s", "64", "-e", "trace=" + CALLS, "-o", out,
                    sys.executable, os.path.abspath(__file__), "--child", path, mode],
                   check=True, stderr=subprocess.DEVNULL)
    found, now = [], None
    with open(out, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            said = re.search(r'write\(2<.*"<<(.*)>>"', line)
            if said:
                now = said.group(1) or None
                if now:
                    found.append((now, [], []))
            elif now and path in line:
                store = path + "-fastkv" in line
                if not store and (CHANGES.search(line) or "O_CREAT" in line and "-journal" in line):
                    found[-1][1].append(line.strip())
                elif store and CHANGES.search(line):
                    found[-1][2].append(line.strip())
    return found


def main():
    if not shutil.which("strace"):
        subprocess.run(["apt-get", "-qq", "-y", "install", "strace"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not shutil.which("strace") or subprocess.run(["strace", "-o", "/dev/null", "true"],
                                                    check=False).returncode:
        print("SKIPPED: strace is not to be had, or may not trace here")
        print("1 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory(dir=os.environ.get("FASTKV_TMP")) as folder:
        for mode in ("WAL", "DELETE"):
            found = trace(os.path.join(folder, mode + ".db"), mode)
            check(len(found) == 2 * (len(FASTKV) + len(MIXED)), mode, len(found), "transactions")
            for name, host, store in found:
                if name in FASTKV:
                    check(not host, mode, name, "touched the database:", *host[:5])
                    check(store or name == "rollback", mode, name, "did not write to the store")
                else:
                    check(any("write" in line for line in host), mode, name, "did not write")
                    check(any("sync" in line for line in host), mode, name, "did not sync")
    print("%d passed, %d failed" % (passed, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
