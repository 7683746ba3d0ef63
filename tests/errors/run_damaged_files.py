#!/usr/bin/env python3
"""run_damaged_files.py -- fails when a cut or flipped file of a store gives wrong rows, another
error than SQLITE_CORRUPT_VTAB naming file and offset, or makes other tables unusable.
"""
import os
import random
import re
import shutil
import sqlite3
import sys

sys.dont_write_bytecode = True
import host
from host import check, files, rows, store_of

FLIPS = 100 * host.SCALE  # for each kind of file, besides the chosen places


def pick(path, kind):
    """The one file of this kind in the store of a database."""
    if kind == "manifest":
        return os.path.join(store_of(path), "manifest")
    return files(path, kind)[0]


def used(path):
    """How much of a file was written: behind it a log has zeros, and nothing to damage."""
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def read_some(db, sql, args=()):
    """The rows up to an error, and the error."""
    got = []
    try:
        for row in db.execute(sql, args):
            got.append(row)
    except sqlite3.Error as e:
        return got, e
    return got, None


def check_error(error, name, what, ends_with_bytes):
    """Code and words. A file that has been cut is known by its size rather than by an offset."""
    code, text = error.sqlite_errorcode, str(error)
    check(code == host.CORRUPT_VTAB, "%s: code %d: %s" % (what, code, text))
    where = r"(offset|position|has) \d+" if ends_with_bytes else r"offset \d+"
    check(name in text and re.search(where, text), "%s: no file or place in: %s" % (what, text))


def check_database(path, wanted, name, what, cut):
    """Every answer is right or the right error; True if there was one."""
    db = host.connect(path)
    got, error = read_some(db, "SELECT * FROM kv")
    check(got == (wanted[:len(got)] if error else wanted), "%s: wrong rows" % what)
    errors = [error]
    for i in random.Random(what).sample(range(len(wanted)), 3):
        got, error = read_some(db, "SELECT * FROM kv WHERE key = ?", wanted[i][:1])
        check(got == ([] if error else [wanted[i]]), "%s: wrong row for %s" % (what, wanted[i][0]))
        errors.append(error)
    got, error = read_some(db, "SELECT * FROM kv ORDER BY key DESC LIMIT 50")
    check(got == wanted[::-1][:len(got) if error else 50], "%s: wrong last rows" % what)
    errors.append(error)
    check(rows(db, "SELECT x FROM native") == [("native row",)], what, "native table")
    failed = host.failure(db, "INSERT INTO native VALUES (1)")
    check(failed[0] == host.OK, what, "native table:", failed)
    db.close()
    for error in {str(e): e for e in errors if e}.values():
        check_error(error, name, what, cut)
    return any(errors)


def damage(folder, kind, change):
    """A fresh copy of the database in folder/original with one file changed."""
    path = folder + "/copy/a.db"
    shutil.rmtree(folder + "/copy", ignore_errors=True)
    shutil.copytree(folder + "/original", folder + "/copy")
    victim = pick(path, kind)
    with open(victim, "r+b") as f:
        change(f)
    return path, os.path.basename(victim)


def original(folder, count=1000):
    os.mkdir(folder + "/original")
    return host.make(folder + "/original/a.db", count)


def flip(offset, bit):
    def change(f):
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 1 << bit]))
    return change


def check_flips(folder, kind):
    wanted = original(folder)
    size = used(pick(folder + "/original/a.db", kind))
    choose = random.Random(host.SEED)
    places = [0, 4, 8, 12, 16, 63, 64, size // 2, size - 9, size - 1]
    places += [choose.randrange(size) for _ in range(FLIPS)]
    for offset in places:
        bit = choose.randrange(8)
        what = "%s, bit %d at %d of %d flipped" % (kind, bit, offset, size)
        path, name = damage(folder, kind, flip(offset, bit))
        check(check_database(path, wanted, name, what, False), what, "was not noticed")


def check_cuts(folder, kind):
    wanted = original(folder)
    size = used(pick(folder + "/original/a.db", kind))
    choose = random.Random(host.SEED)
    for length in [0, 1, 15, 16, 63, 64, 65, size // 2, size - 120, size - 1] + \
            [choose.randrange(size) for _ in range(FLIPS // 3)]:
        what = "%s cut to %d of %d" % (kind, length, size)
        path, name = damage(folder, kind, lambda f, to=length: f.truncate(to))
        check(check_database(path, wanted, name, what, True), what, "was not noticed")


def test_flipped_manifest(folder):
    check_flips(folder, "manifest")


def test_flipped_table(folder):
    check_flips(folder, ".sst")


def test_flipped_log(folder):
    check_flips(folder, ".wal")


def test_cut_manifest(folder):
    check_cuts(folder, "manifest")


def test_cut_table(folder):
    check_cuts(folder, ".sst")


def test_cut_log(folder):
    check_cuts(folder, ".wal")


def test_bytes_behind_the_end(folder):
    """The manifest knows how long a table is; the manifest itself ends where it says."""
    wanted = original(folder)
    for kind in ("manifest", ".sst"):
        path, name = damage(folder, kind, lambda f: (f.seek(0, 2), f.write(b"more")))
        check(check_database(path, wanted, name, kind + " with more bytes", True), kind)


def test_integrity_check_finds_it(folder):
    original(folder)
    size = used(pick(folder + "/original/a.db", ".sst"))
    for offset in (5, size // 2, size - 50):
        path, name = damage(folder, ".sst", flip(offset, 3))
        db = host.connect(path)
        host.check_fails(db, "INSERT INTO kv(kv) VALUES ('integrity-check')", host.CORRUPT_VTAB,
                         name, "offset")
        db.close()


def test_writing_beside_damage(folder):
    """Rows may still be written where nothing damaged must be read, and it all comes back with the
    right file; the statement that met the damage changes nothing."""
    wanted = original(folder)
    kept = folder + "/kept"
    shutil.copy(pick(folder + "/original/a.db", ".sst"), kept)
    path, name = damage(folder, ".sst", flip(200, 3))
    db = host.connect(path)
    db.execute("BEGIN")
    db.execute("REPLACE INTO kv VALUES ('zzz', 'new')")
    db.execute("INSERT INTO native VALUES (2)")
    host.check_fails(db, "UPDATE kv SET value = 'changed' WHERE key GLOB 'key*'", host.CORRUPT_VTAB,
                     name, "offset")
    db.execute("COMMIT")
    check(rows(db, "SELECT value FROM kv WHERE key = 'zzz'") == [("new",)], "the new row")
    check(rows(db, "SELECT count(*) FROM native") == [(2,)], "native rows")
    db.close()
    shutil.copy(kept, pick(path, name))
    db = host.connect(path)
    check(rows(db) == wanted + [("zzz", "new")], "after the right file is back")
    db.close()


def test_shell_says_it(folder):
    original(folder)
    path, name = damage(folder, ".sst", flip(200, 3))
    status, said = host.shell(path, "SELECT x FROM native", "SELECT count(*) FROM kv")
    check("native row" in said, said)
    check(status != 0 and name in said and "offset" in said, status, said)


host.main(globals())
