#!/usr/bin/env python3
"""run_read_only.py -- fails when what may not be written cannot be read, is written all the same,
or says something else than SQLITE_READONLY to a writer.

Permission bits mean nothing to root, so root does the part about them as user 65534 (nobody).
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import host
from host import check, check_fails, rows, store_of

# A user who is root in a namespace of his own could mount, but permission bits would mean nothing.
CAN_MOUNT = os.geteuid() == 0 and host.own_mounts()
NOBODY = 65534 if os.geteuid() == 0 else None
WRITES = ("INSERT INTO kv VALUES ('zzz', 1)", "REPLACE INTO kv VALUES ('zzz', 1)",
          "UPDATE kv SET value = 1 WHERE key = 'key000001'",
          "DELETE FROM kv WHERE key = 'key000001'", "DELETE FROM kv",
          "INSERT INTO kv(kv) VALUES ('truncate')", "INSERT INTO kv(kv) VALUES ('compact')",
          "CREATE VIRTUAL TABLE other USING fastkv", "DROP TABLE kv",
          "ALTER TABLE kv RENAME TO kw")


def check_reads(db, wanted):
    check(rows(db) == wanted, "rows in key order")
    check(rows(db, "SELECT key FROM kv ORDER BY key DESC LIMIT 1") == [wanted[-1][:1]], "the last")
    check(rows(db, "SELECT * FROM kv WHERE key = 'key000007'") == [wanted[7]], "one row")
    check(rows(db, "SELECT count(*) FROM native, kv WHERE x = 'native row'") == [(len(wanted),)],
          "a join")
    check(rows(db, "SELECT value FROM fastkv_stats('kv') WHERE name = 'rows_read'")[0][0] > 0,
          "fastkv_stats")


def check_writes(db):
    for sql in WRITES:
        check_fails(db, sql, host.READONLY, "readonly database")
    for sql in ("BEGIN", "SAVEPOINT s"):
        db.execute(sql)
        check_fails(db, WRITES[1], host.READONLY, "readonly database")
        db.execute("ROLLBACK")


def reads_only(path, wanted, uri=""):
    """Reads are right, writes refused, no file is changed."""
    before = host.hashes(os.path.dirname(path))
    db = host.connect("file:%s?%s" % (path, uri) if uri else path, uri=bool(uri))
    check_reads(db, wanted)
    check_writes(db)
    check_reads(db, wanted)
    db.close()
    host.check_untouched(before, os.path.dirname(path), "what may not be written")


def as_nobody(function, *args):
    """Another user must be able to reach the folder and to load the extension."""
    if NOBODY is not None:
        os.chmod(host.TMP, 0o755)
        host.SO = shutil.copy(host.SO, os.path.join(tempfile.mkdtemp(dir=host.TMP), "fastkv.so"))
        os.chmod(os.path.dirname(host.SO), 0o755)
        os.chmod(host.SO, 0o755)
    host.checks_in_child(function, *args, user=NOBODY)


def set_modes(folder, file_mode, folder_mode):
    for at, _, names in os.walk(folder, topdown=False):
        for name in names:
            os.chmod(os.path.join(at, name), file_mode)
        os.chmod(at, folder_mode)


# -- by the way it is opened -----------------------------------------------------------------------

def test_uri_mode_ro(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    reads_only(path, wanted, "mode=ro")


def test_uri_immutable(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    reads_only(path, wanted, "immutable=1")


def test_shell_readonly(folder):
    path = folder + "/a.db"
    host.make(path)
    status, said = host.shell("file:%s?mode=ro" % path, "SELECT count(*) FROM kv")
    check((status, said) == (0, "2000\n"), status, said)
    status, said = host.shell("file:%s?mode=ro" % path, WRITES[0])
    check(status == host.READONLY and "readonly database" in said, status, said)


def test_query_only(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    db = host.connect(path)
    db.execute("PRAGMA query_only = 1")
    check_reads(db, wanted)
    for sql in WRITES:
        check_fails(db, sql, host.READONLY, "readonly database")
    db.execute("PRAGMA query_only = 0")
    db.execute(WRITES[0])
    check(rows(db) == wanted + [("zzz", 1)], "rows after writing again")
    db.close()


def test_attached_mode_ro(folder):
    """Only the attached one is read-only; the main one beside it is not."""
    path = folder + "/a.db"
    wanted = host.make(path)
    db = host.connect("file:%s/main.db" % folder, uri=True)
    db.execute("CREATE VIRTUAL TABLE copy USING fastkv")
    db.execute("ATTACH 'file:%s?mode=ro' AS old" % path)
    db.execute("INSERT INTO copy SELECT * FROM old.kv")
    check(rows(db, "SELECT * FROM copy") == wanted, "the copy")
    check_fails(db, "DELETE FROM old.kv", host.READONLY, "readonly database")
    db.close()


def test_missing_store_is_not_made(folder):
    path = folder + "/a.db"
    host.make(path)
    shutil.rmtree(store_of(path))
    db = host.connect("file:%s?mode=ro" % path, uri=True)
    check_fails(db, "SELECT * FROM kv", host.CANTOPEN, "a.db-fastkv", "missing")
    db.close()
    check(os.listdir(folder) == ["a.db"], os.listdir(folder))


def test_rows_that_are_in_the_log_only(folder):
    """A writer was killed: a reader that may not write still sees all that was acknowledged."""
    path = folder + "/a.db"
    wanted = host.make(path)

    def write_and_die():
        db = host.connect(path)
        db.execute("INSERT INTO kv VALUES ('zzz', 1)")
        os.kill(os.getpid(), 9)

    try:
        host.in_child(write_and_die)
    except RuntimeError:
        pass
    reads_only(path, wanted + [("zzz", 1)], "mode=ro")
    db = host.connect(path)
    check(rows(db) == wanted + [("zzz", 1)], "a writer afterwards")
    db.close()


def test_readers_and_writers_of_one_process(folder):
    """A connection that may write must be able to, whoever opened the database first."""
    path = folder + "/a.db"
    wanted = host.make(path)
    writer = host.connect(path)
    writer.execute("INSERT INTO kv VALUES ('zz1', 1)")
    reader = host.connect("file:%s?mode=ro" % path, uri=True)
    check(rows(reader) == wanted + [("zz1", 1)], "a reader beside a writer")
    check_fails(reader, WRITES[0], host.READONLY, "readonly database")
    reader.close()
    writer.close()
    reader = host.connect("file:%s?mode=ro" % path, uri=True)
    rows(reader)
    writer = host.connect(path)
    check_fails(writer, "INSERT INTO kv VALUES ('zz2', 1)", host.OK)
    reader.close()
    check_fails(writer, "INSERT INTO kv VALUES ('zz3', 1)", host.OK)
    writer.close()


# -- by what the file system allows ----------------------------------------------------------------

def test_permissions_of_everything(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    set_modes(folder, 0o444, 0o555)
    as_nobody(reads_only, path, wanted)
    set_modes(folder, 0o644, 0o755)


def test_permissions_of_the_database_file(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    set_modes(folder, 0o666, 0o777)
    os.chmod(path, 0o444)
    as_nobody(reads_only, path, wanted)


def test_permissions_of_the_store(folder):
    """The database may be written, its store not: reading needs no writing."""
    path = folder + "/a.db"
    wanted = host.make(path)
    set_modes(folder, 0o666, 0o777)
    set_modes(store_of(path), 0o444, 0o555)

    def run():
        db = host.connect(path)
        failed = host.failure(db, "SELECT * FROM kv")
        check(failed[0] == host.OK, "reading:", failed)
        check(failed[0] or rows(db) == wanted, "rows")
        for sql in WRITES[:7]:
            check_fails(db, sql, host.READONLY, "a.db-fastkv")
        db.execute("INSERT INTO native VALUES (2)")
        check(rows(db, "SELECT count(*) FROM native") == [(2,)], "native rows")
        db.close()

    as_nobody(run)
    set_modes(store_of(path), 0o644, 0o755)


def test_a_store_that_may_not_be_read(folder):
    """An error that says why, for reading and writing, and DROP TABLE must not count its rows as
    missing: they would stay behind for ever."""
    path = folder + "/a.db"
    wanted = host.make(path)
    set_modes(folder, 0o666, 0o777)
    os.chmod(store_of(path), 0)

    def run():
        db = host.connect(path)
        for sql in ("SELECT * FROM kv",) + WRITES[:7]:
            check_fails(db, sql, host.CANTOPEN, "a.db-fastkv", "Permission denied")
        check(host.failure(db, "DROP TABLE kv")[0] != host.OK, "DROP TABLE went well")
        db.close()

    as_nobody(run)
    os.chmod(store_of(path), 0o755)
    db = host.connect(path)
    failed = host.failure(db, "SELECT * FROM kv")
    check(failed[0] == host.OK and rows(db) == wanted, "with the permission back:", failed)
    db.close()


def test_immutable_files(folder):
    """chattr +i stops even root."""
    path = folder + "/a.db"
    wanted = host.make(path)
    if subprocess.run(["chattr", "-R", "+i", folder], capture_output=True, check=False).returncode:
        subprocess.run(["chattr", "-R", "-i", folder], capture_output=True, check=False)
        host.skip("chattr +i is not possible here")
        return
    try:
        reads_only(path, wanted)
    finally:
        subprocess.run(["chattr", "-R", "-i", folder], check=True)


def test_read_only_mount(folder):
    if not CAN_MOUNT:
        host.skip("mounting is not possible here")
        return
    path = folder + "/a.db"
    wanted = host.make(path)
    host.mount("--bind", folder, folder)
    host.mount("-o", "remount,ro,bind", folder)
    try:
        reads_only(path, wanted)
    finally:
        subprocess.run(["umount", folder], check=True)
    db = host.connect(path)
    db.execute(WRITES[0])
    check(rows(db) == wanted + [("zzz", 1)], "rows once it may be written")
    db.close()


host.main(globals())
