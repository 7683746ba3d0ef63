#!/usr/bin/env python3
"""run_disk_full.py -- fails when a full disk is not SQLITE_FULL, costs a row that was acknowledged,
stops reading, or when writing does not go on once there is space.

The disk is a tmpfs of 16 MB with a ballast file, whose removal frees space.
"""
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import host
from host import check, check_fails, rows

CAN_MOUNT = host.own_mounts()
SIZE, BALLAST = 16 << 20, 8 << 20
PATIENCE_S = 5  # background work may need space of its own before it gives some back
IDLE_S = 0.5
IOERR = 10


class Disk:
    """A small disk with a database, and what has been acknowledged."""

    def __init__(self, folder, options="memory = '2MB', compression = none"):
        self.folder = folder
        self.random = random.Random(host.SEED)
        self.wanted = {}
        host.mount("-t", "tmpfs", "-o", "size=%d" % SIZE, "none", folder)
        with open(folder + "/ballast", "wb") as f:
            f.write(bytes(BALLAST))
        self.db = host.connect(folder + "/a.db")
        self.db.execute("CREATE TABLE native(x)")
        self.db.execute("INSERT INTO native VALUES ('native row')")
        self.db.execute("CREATE VIRTUAL TABLE kv USING fastkv(%s)" % options)

    def put(self, count=100, size=500):
        """One transaction; None or the error."""
        batch = [("key%07d" % self.random.randrange(10**7), self.random.randbytes(size))
                 for _ in range(count)]
        try:
            self.db.execute("BEGIN")
            self.db.executemany("REPLACE INTO kv VALUES (?, ?)", batch)
            self.db.execute("COMMIT")
        except sqlite3.Error as e:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            return e
        self.wanted.update(batch)
        return None

    def fill(self):
        """Write until the disk is full, and past it: background work may still free some."""
        commits = refused = 0
        while refused < 10:
            error = self.put()
            if error is None:
                commits += 1
                continue
            refused += 1
            check(error.sqlite_errorcode == host.FULL, error.sqlite_errorcode, error)
            check("No space left on device" in str(error) or "disk is full" in str(error), error)
            time.sleep(0.01)
        check(commits * 100 * 500 > (SIZE - BALLAST) // 3, "full after only", commits, "commits")

    def free(self):
        os.remove(self.folder + "/ballast")

    def check_soon(self, action, when):
        """It goes well; SQLITE_FULL may be said for a moment only. action gives (code, text)."""
        deadline = time.monotonic() + PATIENCE_S
        failed = action()
        while failed[0] == host.FULL and time.monotonic() < deadline:
            time.sleep(0.02)
            failed = action()
        check(failed[0] == host.OK, when, failed)

    def check_puts(self, count, when):
        def action():
            error = self.put()
            return (error.sqlite_errorcode, str(error)) if error else (host.OK, "")

        for _ in range(count):
            self.check_soon(action, when)

    def check_rows(self, when):
        check(rows(self.db) == sorted(self.wanted.items()), when, "rows differ")
        check(rows(self.db, "SELECT x FROM native LIMIT 1") == [("native row",)], when)
        for key in self.random.sample(sorted(self.wanted), min(20, len(self.wanted))):
            check(rows(self.db, "SELECT value FROM kv WHERE key = ?", (key,)) ==
                  [(self.wanted[key],)], when, key)

    def check_sound(self):
        check_fails(self.db, "INSERT INTO kv(kv) VALUES ('integrity-check')", host.OK)

    def reopen(self):
        self.db.close()
        self.db = host.connect(self.folder + "/a.db")

    def end(self):
        self.db.close()
        subprocess.run(["umount", self.folder], check=True)


def can_mount():
    if not CAN_MOUNT:
        host.skip("mounting a tmpfs is not possible here")
    return CAN_MOUNT


def test_full_and_free_again(folder):
    """The same connection reads on, and writes on once there is space."""
    if not can_mount():
        return
    disk = Disk(folder)
    disk.fill()
    disk.check_rows("full:")
    disk.check_sound()
    disk.free()
    disk.check_puts(20, "after freeing space:")
    disk.check_rows("free:")
    disk.check_sound()
    disk.reopen()
    disk.check_rows("reopened:")
    disk.end()


def test_reopened_while_full(folder):
    if not can_mount():
        return
    disk = Disk(folder)
    disk.fill()
    disk.reopen()
    disk.check_rows("reopened while full:")
    error = disk.put()
    check(error is None or error.sqlite_errorcode == host.FULL, error)
    disk.free()
    disk.check_puts(1, "after freeing space:")
    disk.reopen()
    disk.check_rows("reopened with space:")
    disk.check_sound()
    disk.end()


def test_killed_while_full(folder):
    if not can_mount():
        return
    disk = Disk(folder)
    disk.db.close()
    acknowledged = os.path.join(os.path.dirname(folder), "acknowledged.%d" % os.getpid())

    def fill_and_die():
        disk.db = host.connect(folder + "/a.db")
        disk.fill()
        with open(acknowledged, "wb") as f:
            for key, value in disk.wanted.items():
                f.write(key.encode() + value)
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        host.in_child(fill_and_die)
    except RuntimeError:
        pass
    with open(acknowledged, "rb") as f:
        for piece in iter(lambda: f.read(510), b""):
            disk.wanted[piece[:10].decode()] = piece[10:]
    os.remove(acknowledged)
    disk.db = host.connect(folder + "/a.db")
    disk.check_rows("after kill -9 while full:")
    disk.free()
    disk.check_puts(1, "after freeing space:")
    disk.check_rows("with space:")
    disk.check_sound()
    disk.end()


def test_one_large_transaction(folder):
    """It does not fit; nothing of it may stay, in the table or on the disk."""
    if not can_mount():
        return
    disk = Disk(folder)
    for _ in range(20):
        disk.put()
    error = disk.put(count=SIZE // 1000, size=1000)
    check(error is not None and error.sqlite_errorcode == host.FULL, error)
    disk.check_rows("after the large one:")
    disk.check_puts(5, "its space is not free again:")
    disk.check_rows("small ones after it:")
    disk.check_sound()
    disk.end()


def test_truncated_while_full(folder):
    """All rows deleted at once on a full disk: done or refused, never by half, and once there is a
    little space the rest of it comes back."""
    if not can_mount():
        return
    disk = Disk(folder)
    disk.fill()
    failed = host.failure(disk.db, "INSERT INTO kv(kv) VALUES ('truncate')")
    check(failed[0] in (host.OK, host.FULL), failed)
    if failed[0] == host.OK:
        disk.wanted.clear()
    disk.check_rows("after truncate: %s" % failed[1])
    disk.free()
    for command in ("truncate", "compact"):
        sql = "INSERT INTO kv(kv) VALUES ('%s')" % command
        disk.check_soon(lambda said=sql: host.failure(disk.db, said), command)
    disk.wanted.clear()
    disk.check_puts(SIZE // 2 // 50000, "after truncate and compact:")
    disk.check_rows("refilled:")
    disk.end()


def test_waits_quietly(folder):
    """Background work that cannot go on tries again in a while, not all the time."""
    if not can_mount():
        return
    disk = Disk(folder)
    disk.fill()
    started = time.process_time()
    time.sleep(IDLE_S)
    used = time.process_time() - started
    check(used < IDLE_S / 5, "%.2f s of processor time in %.2f s of waiting" % (used, IDLE_S))
    disk.end()


def test_file_size_limit(folder):
    """ulimit -f is no full disk: SQLite calls it SQLITE_IOERR, and so do we. It needs no mount."""
    path = folder + "/a.db"
    wanted = host.make(path)

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        db = host.connect(path)
        rows(db, "SELECT 1 FROM kv LIMIT 1")
        unlimited = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (300000, unlimited))
        more = []
        failed = (host.OK, "")
        while failed[0] == host.OK and len(more) < 1000:
            more.append(("new%04d" % len(more), "v" * 5000))
            failed = host.failure(db, "INSERT INTO kv VALUES (?, ?)", more[-1])
        more.pop()
        check(failed[0] & 255 == IOERR and "a.db-fastkv" in failed[1], failed)
        check(rows(db) == wanted + more, "rows at the limit")
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        more.append(("new9999", "v"))
        check_fails(db, "INSERT INTO kv VALUES ('new9999', 'v')", host.OK)
        check(rows(db) == wanted + more, "rows after it")
        db.close()
        db = host.connect(path)
        check(rows(db) == wanted + more, "rows reopened")
        db.close()

    host.checks_in_child(limited)


host.main(globals())
