#!/usr/bin/env python3
"""run_strange_places.py -- fails when a store that is reached in an unusual way, or a process that
may hardly open anything, gets a wrong answer, a wrong error, or leaves damage behind.

Two names for one store must be one store: two objects that both append to a log would overwrite
each other's commits. A file that cannot be opened for want of a descriptor is not a missing file.
"""
import os
import resource
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
import host
from host import check, check_fails, files, rows, store_of

NO_DAMAGE = {host.OK, 7, 10, 13, host.CANTOPEN}  # NOMEM, IOERR, FULL


def write_in_turns(a, b, count=40):
    """Each adds rows of its own and sees the other's at once."""
    for i in range(count):
        writer, reader = (a, b) if i % 2 else (b, a)
        writer.execute("REPLACE INTO kv VALUES (?, ?)", ("turn%03d" % i, i))
        check(rows(reader, "SELECT value FROM kv WHERE key = 'turn%03d'" % i) == [(i,)],
              "the other name does not see row", i)
        if i % 10 == 9:
            check(host.failure(writer, "INSERT INTO kv(kv) VALUES ('flush')")[0] == host.OK)


def all_there(path, wanted, count=40):
    db = host.connect(path)
    turns = [("turn%03d" % i, i) for i in range(count)]
    check(rows(db, "SELECT * FROM kv ORDER BY key") == sorted(wanted + turns), "rows are missing")
    check(rows(db, "SELECT DISTINCT severity FROM fastkv_check('kv', 'deep') "
                   "WHERE severity IN ('warning', 'error')") == [], "the store is damaged")
    db.close()


def test_a_folder_with_two_names(folder):
    real, other = folder + "/real", folder + "/other"
    os.mkdir(real)
    os.symlink(real, other)
    wanted = host.make(real + "/a.db", 500)
    a, b = host.connect(real + "/a.db"), host.connect(other + "/a.db")
    write_in_turns(a, b)
    a.close()
    b.close()
    all_there(other + "/a.db", wanted)


def test_a_link_to_the_database(folder):
    """SQLite follows the link, and so do we: the store lies beside the file, not the link."""
    os.mkdir(folder + "/real")
    path, link = folder + "/real/a.db", folder + "/link.db"
    wanted = host.make(path, 500)
    os.symlink(path, link)
    a, b = host.connect(path), host.connect(link)
    write_in_turns(a, b)
    a.close()
    b.close()
    check(not os.path.exists(store_of(link)), "a second store was made")
    all_there(link, wanted)


def test_a_store_by_path_with_two_names(folder):
    os.mkdir(folder + "/real")
    os.symlink(folder + "/real", folder + "/other")
    made = []
    for name in ("real", "other"):
        db = host.connect(":memory:")
        db.execute("CREATE VIRTUAL TABLE temp.kv USING fastkv(path = '%s/%s/kv')" % (folder, name))
        made.append(db)
    write_in_turns(*made)
    for db in made:
        check(rows(db, "SELECT count(*) FROM kv") == [(40,)], "rows are missing")
        db.close()


def test_a_mount_of_the_folder(folder):
    if not host.own_mounts():
        host.skip("a second mount of a folder: not possible here")
        return
    real, other = folder + "/real", folder + "/other"
    os.mkdir(real)
    os.mkdir(other)
    wanted = host.make(real + "/a.db", 500)
    host.mount("--bind", real, other)
    a, b = host.connect(real + "/a.db"), host.connect(other + "/a.db")
    write_in_turns(a, b)
    a.close()
    b.close()
    all_there(other + "/a.db", wanted)
    subprocess.run(["umount", other], check=True)


def test_two_copies_of_the_library(folder):
    """Each with a registry of its own: to one another they are two processes."""
    if host.PRELOAD:
        host.skip("two copies of the library: not with one sanitizer run-time for both")
        return
    copy = folder + "/another.so"
    shutil.copy(host.SO, copy)
    path = folder + "/a.db"
    wanted = host.make(path, 500)
    a = host.connect(path)
    b = host.sqlite3.connect(path, isolation_level=None, timeout=5)
    b.enable_load_extension(True)
    b.execute("SELECT load_extension(?, 'sqlite3_fastkv_init')", (copy,))
    write_in_turns(a, b)
    a.close()
    b.close()
    all_there(path, wanted)


def starve(path, allowed):
    """Work with so few descriptors that something or other cannot be opened. The codes there were."""
    codes = set()
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    try:
        db = host.connect(path)
        for sql in ("SELECT count(*), sum(length(value)) FROM kv",
                    "SELECT value FROM kv WHERE key = 'key000001'",
                    "REPLACE INTO kv VALUES ('zz%d', 1)" % allowed,
                    "INSERT INTO kv(kv) VALUES ('flush')", "INSERT INTO kv(kv) VALUES ('compact')",
                    "SELECT count(*) FROM kv WHERE key < 'l'"):
            codes.add(host.failure(db, sql)[0] & 0xff)
        db.close()
    except host.sqlite3.Error as e:
        codes.add(getattr(e, "sqlite_errorcode", host.CANTOPEN) & 0xff)
    return sorted(codes)


def test_few_descriptors(folder):
    path = folder + "/a.db"
    wanted = host.make(path, 500)
    db = host.connect(path)  # several tables, so that there is something to open
    for i in range(6):
        db.execute("REPLACE INTO kv VALUES ('table%d', %d)" % (i, i))
        db.execute("INSERT INTO kv(kv) VALUES ('flush')")
    db.close()
    wanted += [("table%d" % i, i) for i in range(6)]
    first = len(os.listdir("/proc/self/fd"))
    refused = 0
    for allowed in range(first, first + 24):
        codes = set(host.in_child(starve, path, allowed))
        check(codes <= NO_DAMAGE, allowed, "descriptors:", codes)
        refused += codes != {host.OK}
    check(refused > 3, "nothing was ever refused")
    check(codes == {host.OK}, "it was never enough:", codes)
    db = host.connect(path)
    got = rows(db, "SELECT * FROM kv WHERE key NOT GLOB 'zz*'")
    check(sorted(got, key=str) == sorted(wanted, key=str), "rows are missing")
    check_fails(db, "INSERT INTO kv(kv) VALUES ('integrity-check')", host.OK)
    db.close()


def test_a_descriptor_closed_elsewhere(folder):
    """The host process opens and closes the store's files for its own purposes (a copy, say). By
    POSIX locks every lock on them would be gone with that."""
    store = folder + "/kv"
    db = host.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE temp.kv USING fastkv(path = '%s')" % store)
    db.execute("REPLACE INTO kv VALUES (1, 1)")
    db.execute("BEGIN")
    db.execute("REPLACE INTO kv VALUES (2, 2)")
    for name in os.listdir(store):
        with open(os.path.join(store, name), "rb") as f:
            f.read()
    status, said = host.shell(":memory:", "CREATE VIRTUAL TABLE temp.kv USING fastkv(path = '%s')"
                              % store, "REPLACE INTO kv VALUES (3, 3)")
    check(status != 0 and "another process is writing" in said, "the shell says", status, said)
    db.execute("COMMIT")
    check(rows(db) == [(1, 1), (2, 2)], rows(db))
    db.close()


def test_a_store_that_is_deleted_while_open(folder):
    """Whoever has it open goes on until they close, as with a deleted database; nobody else gets a
    store without rows in its place."""
    path = folder + "/a.db"
    host.make(path, 500)
    db = host.connect(path)
    check(len(rows(db)) == 500)
    shutil.rmtree(store_of(path))
    check(rows(db, "SELECT count(*) FROM kv") == [(500,)], "an open table is gone")
    failed = host.failure(db, "REPLACE INTO kv VALUES ('more', 1)")
    check(failed[0] & 0xff in NO_DAMAGE, failed)
    status, said = host.shell(path, "SELECT count(*) FROM kv")
    check(status != 0 and "missing" in said, "the shell says", status, said)
    db.close()
    check(files(path, ".sst") == [] if os.path.exists(store_of(path)) else True)


host.main(globals())
