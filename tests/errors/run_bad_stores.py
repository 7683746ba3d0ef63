#!/usr/bin/env python3
"""run_bad_stores.py -- fails when a store that is missing, somebody else's or incomplete is used
all the same, changed, or refused in words that do not say which store or file.

Nothing here is beyond repair: with the right files back every row must be there again.
"""
import os
import shutil
import sys

sys.dont_write_bytecode = True
import host
from host import check, check_fails, check_untouched, files, rows, store_of

READS = ("SELECT * FROM kv", "SELECT value FROM kv WHERE key = 'key000001'",
         "SELECT max(key) FROM kv", "SELECT * FROM fastkv_stats('kv')")
WRITES = ("INSERT INTO kv VALUES ('zzz', 1)", "REPLACE INTO kv VALUES ('zzz', 1)",
          "UPDATE kv SET value = 1 WHERE key = 'key000001'", "DELETE FROM kv",
          "INSERT INTO kv(kv) VALUES ('flush')", "INSERT INTO kv(kv) VALUES ('truncate')")


def refused(path, code, words, statements=READS + WRITES):
    """Every statement on kv fails so, changes no file, and the native table goes on working."""
    before = host.hashes(os.path.dirname(path))
    db = host.connect(path)
    for sql in statements:
        check_fails(db, sql, code, *words)
    check_untouched(before, os.path.dirname(path), "a refused statement")
    check(rows(db, "SELECT count(*) FROM native") == [(1,)], "native table is not readable")
    check(rows(db, "PRAGMA table_info(kv)")[0][1] == "key", "table_info")
    failed = host.failure(db, "UPDATE native SET x = 'native row'")
    check(failed[0] == host.OK, "native table is not writable:", failed)
    db.close()
    status, said = host.shell(path, statements[0])
    check(status != 0 and all(w in said for w in words), "the shell says", status, said)


def whole(path, wanted):
    db = host.connect(path)
    check(rows(db) == wanted, "the rows are not back")
    check_fails(db, "INSERT INTO kv(kv) VALUES ('integrity-check')", host.OK)
    db.close()


def two(folder):
    """Two databases, the rows of the first and of the second."""
    a, b = folder + "/a.db", folder + "/b.db"
    return a, host.make(a, 1000), b, host.make(b, 500)


def swap(a, b):
    os.rename(a, a + ".swap")
    os.rename(b, a)
    os.rename(a + ".swap", b)


def test_missing_folder(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    os.rename(store_of(path), folder + "/kept")
    refused(path, host.CANTOPEN, ["a.db-fastkv", "missing"])
    check(not os.path.exists(store_of(path)), "a folder was made")
    db = host.connect(path)
    check_fails(db, READS[0], host.CANTOPEN, "missing")
    os.rename(folder + "/kept", store_of(path))
    check(rows(db) == wanted, "the connection that met the error does not see the folder put back")
    db.close()
    whole(path, wanted)


def test_empty_folder(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    os.rename(store_of(path), folder + "/kept")
    os.mkdir(store_of(path))
    refused(path, host.CANTOPEN, ["a.db-fastkv", "missing"])
    shutil.rmtree(store_of(path))
    os.rename(folder + "/kept", store_of(path))
    whole(path, wanted)


def test_a_file_in_place_of_the_folder(folder):
    path = folder + "/a.db"
    wanted = host.make(path)
    os.rename(store_of(path), folder + "/kept")
    with open(store_of(path), "w", encoding="utf-8") as f:
        f.write("not a folder")
    refused(path, host.CANTOPEN, ["a.db-fastkv", "Not a directory"])
    os.remove(store_of(path))
    os.rename(folder + "/kept", store_of(path))
    whole(path, wanted)


def test_no_second_store_while_the_first_is_missing(folder):
    """A new table must not found a store where that of other tables belongs."""
    path = folder + "/a.db"
    wanted = host.make(path)
    os.rename(store_of(path), folder + "/kept")
    db = host.connect(path)
    check_fails(db, "CREATE VIRTUAL TABLE other USING fastkv", host.CANTOPEN, "missing")
    db.close()
    check(not os.path.exists(store_of(path)), "a second store was made")
    shutil.rmtree(store_of(path), ignore_errors=True)
    os.rename(folder + "/kept", store_of(path))
    whole(path, wanted)


def test_store_of_another_database(folder):
    a, rows_a, b, rows_b = two(folder)
    os.rename(store_of(a), folder + "/kept")
    shutil.copytree(store_of(b), store_of(a))
    refused(a, host.ERROR, ["a.db-fastkv", "not the store of this database"])
    refused(a, host.ERROR, ["a.db-fastkv"], ["CREATE VIRTUAL TABLE other USING fastkv"])
    whole(b, rows_b)
    shutil.rmtree(store_of(a))
    os.rename(folder + "/kept", store_of(a))
    whole(a, rows_a)


def test_swapped_stores(folder):
    a, rows_a, b, rows_b = two(folder)
    swap(store_of(a), store_of(b))
    refused(a, host.ERROR, ["a.db-fastkv", "not the store of this database"])
    refused(b, host.ERROR, ["b.db-fastkv", "not the store of this database"])
    swap(store_of(a), store_of(b))
    whole(a, rows_a)
    whole(b, rows_b)


def test_swapped_back_under_a_connection(folder):
    a, rows_a, b, _ = two(folder)
    swap(store_of(a), store_of(b))
    db = host.connect(a)
    check_fails(db, READS[0], host.ERROR, "not the store of this database")
    swap(store_of(a), store_of(b))
    check(host.failure(db, READS[0])[0] == host.OK and rows(db) == rows_a,
          "the right store is back and not seen:", host.failure(db, READS[0]))
    db.close()


def check_missing_file(folder, choose, statements=READS + WRITES):
    path = folder + "/a.db"
    wanted = host.make(path)
    victim = choose(path)
    os.rename(victim, folder + "/kept")
    refused(path, host.CORRUPT_VTAB, [os.path.basename(victim), "missing"], statements)
    os.rename(folder + "/kept", victim)
    whole(path, wanted)


def test_missing_manifest(folder):
    check_missing_file(folder, lambda path: store_of(path) + "/manifest")


def test_missing_log(folder):
    check_missing_file(folder, lambda path: files(path, ".wal")[0])


def test_missing_table(folder):
    """The store opens; what needs the table fails. (max(key) and new keys do not need it.)"""
    check_missing_file(folder, lambda path: files(path, ".sst")[0],
                       [READS[0], READS[1], WRITES[2], "DELETE FROM kv WHERE key < 'key0001'",
                        "INSERT INTO kv(kv) VALUES ('integrity-check')"])


def test_missing_manifest_of_a_small_store(folder):
    """All rows are still in the first log: a log with records is no place to begin anew."""
    path = folder + "/a.db"
    db = host.connect(path)
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv")
    db.execute("CREATE TABLE native(x)")
    db.execute("INSERT INTO native VALUES ('native row')")
    db.execute("INSERT INTO kv VALUES ('a', 1)")
    db.close()
    os.rename(store_of(path) + "/manifest", folder + "/kept")
    before = host.hashes(store_of(path))
    db = host.connect(path)
    check_fails(db, "SELECT * FROM kv", host.CORRUPT_VTAB, "manifest", "missing")
    host.failure(db, "CREATE VIRTUAL TABLE other USING fastkv")
    db.close()
    check_untouched(before, store_of(path), "CREATE beside a log without its manifest")
    os.rename(folder + "/kept", store_of(path) + "/manifest")
    db = host.connect(path)
    got = host.failure(db, "SELECT * FROM kv")
    check(got[0] == host.OK and rows(db) == [("a", 1)], "with the manifest back:", got)
    db.close()


def test_files_of_another_store(folder):
    """One file at a time, in the place of ours; what was refused is put back and all is well."""
    a, rows_a, b, _ = two(folder)
    for ours, theirs in ((files(a, ".wal")[0], files(b, ".wal")[0]),
                         (files(a, ".sst")[0], files(b, ".sst")[0])):
        os.rename(ours, folder + "/kept")
        shutil.copy(theirs, ours)
        refused(a, host.CORRUPT_VTAB, [os.path.basename(ours)],
                [READS[0], READS[1], "INSERT INTO kv(kv) VALUES ('integrity-check')"])
        os.rename(folder + "/kept", ours)
        whole(a, rows_a)
    manifest = store_of(a) + "/manifest"
    os.rename(manifest, folder + "/kept")
    shutil.copy(store_of(b) + "/manifest", manifest)
    refused(a, host.CORRUPT_VTAB, ["another"])
    os.rename(folder + "/kept", manifest)
    whole(a, rows_a)


def test_foreign_files_are_left_alone(folder):
    """A README, a backup, a subfolder in the store's folder: no harm to us, none to them."""
    path = folder + "/a.db"
    wanted = host.make(path)
    mine = ["notes.txt", "000002.sst.bak", "1.sst", "manifest.old", ".hidden", "sub/000009.sst"]
    os.mkdir(store_of(path) + "/sub")
    for name in mine:
        with open(os.path.join(store_of(path), name), "w", encoding="utf-8") as f:
            f.write("mine")
    whole(path, wanted)
    db = host.connect(path)
    db.execute("REPLACE INTO kv VALUES ('zzz', 1)")
    db.execute("INSERT INTO kv(kv) VALUES ('compact')")
    db.execute("INSERT INTO kv(kv) VALUES ('settle')")
    check(rows(db) == wanted + [("zzz", 1)], "rows after writing")
    db.execute("DROP TABLE kv")
    db.close()
    for name in mine:
        file = os.path.join(store_of(path), name)
        if not os.path.exists(file):
            check(False, name, "is gone")
            continue
        with open(file, encoding="utf-8") as f:
            check(f.read() == "mine", name, "was changed")


def test_copied_together(folder):
    """Database and folder copied under another name belong together as before."""
    path = folder + "/a.db"
    wanted = host.make(path)
    shutil.copy(path, folder + "/c.db")
    shutil.copytree(store_of(path), folder + "/c.db-fastkv")
    db = host.connect(folder + "/c.db")
    db.execute("DELETE FROM kv WHERE key >= 'key0001'")
    check(rows(db) == wanted[:100], "the copy's rows")
    db.close()
    whole(path, wanted)


host.main(globals())
