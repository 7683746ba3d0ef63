#!/usr/bin/env python3
"""run_reads_only_its_rows.py -- fails when a query reads more rows of a big table than it needs.

The proof is fastkv_stats: what its counters say before and after each query.
"""
import sys

sys.dont_write_bytecode = True
import host
from host import check, rows

COUNTERS = ("rows_read", "entries_skipped", "seeks", "gets")
FOLDERS, FILES = 200, 1000  # 200,000 rows; 'f107/*' are 1000 of them


def key(i):
    return "f%03d/%04d" % (i // FILES, i % FILES)


def fill(folder):
    db = host.connect(folder + "/a.db")
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv(memory = '32MB')")
    db.execute("BEGIN")
    db.executemany("REPLACE INTO kv VALUES (?, ?)", ((key(i), i) for i in range(FOLDERS * FILES)))
    db.execute("COMMIT")
    return db


def counters(db):
    found = dict(rows(db, "SELECT name, value FROM fastkv_stats('kv')"))
    return {name: found[name] for name in COUNTERS}


def spent(db, sql, args=()):
    """The rows of a query, and what each counter grew by."""
    before = counters(db)
    got = rows(db, sql, args)
    after = counters(db)
    return got, {name: after[name] - before[name] for name in COUNTERS}


def plan(db, sql):
    return [row[3] for row in rows(db, "EXPLAIN QUERY PLAN " + sql)]


def check_query(db, sql, count, most_read, index):
    """So many rows, reading no more than that, in one step, with this index text."""
    got, cost = spent(db, sql)
    if count is not None:
        check(len(got) == count, "%s: %d rows, wanted %d" % (sql, len(got), count))
    check(cost["rows_read"] <= most_read, "%s: read more than %d: %s" % (sql, most_read, cost))
    check(cost["entries_skipped"] == 0, "%s: skipped: %s" % (sql, cost))
    check(cost["seeks"] + cost["gets"] <= 1, "%s: looked more than once: %s" % (sql, cost))
    said = plan(db, sql)
    check(len(said) == 1, "%s: more than one step: %s" % (sql, said))
    check(said[0].endswith("VIRTUAL TABLE INDEX " + index), "%s: plan %s" % (sql, said))
    return got


def queries(db):
    check_query(db, "SELECT * FROM kv WHERE key GLOB 'f107/*'", FILES, FILES, "0:>=0p~ <0p~ glob0~")
    got = check_query(db, "SELECT key FROM kv WHERE key GLOB 'f107/*' ORDER BY key DESC", FILES,
                      FILES, "2:>=0p~ <0p~ glob0~")
    check(got[0][0] == "f107/0999" and got[-1][0] == "f107/0000", got[0], got[-1])
    check_query(db, "SELECT count(*) FROM kv WHERE key GLOB 'f107/*'", 1, FILES, "0:>=0p~ <0p~ glob0~")
    check_query(db, "SELECT * FROM kv WHERE key GLOB 'zzz/*'", 0, 0, "0:>=0p~ <0p~ glob0~")
    check_query(db, "SELECT * FROM kv WHERE key > 'f107/0499' AND key < 'f107/0510'", 10, 10,
                "0:>0 <0")
    check_query(db, "SELECT * FROM kv WHERE key BETWEEN 'f107/0500' AND 'f107/0509'", 10, 10,
                "0:>=0 <=0")
    got = check_query(db, "SELECT * FROM kv LIMIT 10", 10, 10, "0:")
    check(got[9] == (key(9), 9), got)
    got = check_query(db, "SELECT * FROM kv WHERE key >= 'f107' LIMIT 10", 10, 10, "0:>=0")
    check(got[0][0] == "f107/0000", got)
    got = check_query(db, "SELECT * FROM kv WHERE key GLOB 'f107/*' ORDER BY key DESC LIMIT 10", 10,
                      10, "2:>=0p~ <0p~ glob0~")
    check(got[9][0] == "f107/0990", got)


def ends(db):
    last = FOLDERS * FILES - 1
    for sql, wanted, index in (
            ("SELECT key FROM kv ORDER BY key DESC LIMIT 1", key(last), "2:"),
            ("SELECT key FROM kv ORDER BY key LIMIT 1", key(0), "0:"),
            ("SELECT max(key) FROM kv", key(last), "2:"),
            ("SELECT min(key) FROM kv", key(0), "0:"),
            ("SELECT max(key) FROM kv WHERE key GLOB 'f107/*'", "f107/0999", "2:>=0p~ <0p~ glob0~"),
            ("SELECT max(key) FROM kv WHERE key < 'f107'", "f106/0999", "2:<0")):
        got = check_query(db, sql, 1, 1, index)
        check(got == [(wanted,)], "%s: %s" % (sql, got))


def one_key(db):
    sql = "SELECT value FROM kv WHERE key = ?"
    for name, wanted in ((key(107500), [(107500,)]), ("f107/none", [])):
        got, cost = spent(db, sql, (name,))
        check(got == wanted, name, got)
        check(cost["gets"] == 1 and cost["seeks"] == 0 and cost["entries_skipped"] == 0,
              "%s: not one get: %s" % (name, cost))
        check(cost["rows_read"] <= 1, "%s: %s" % (name, cost))
    check(plan(db, "SELECT value FROM kv WHERE key = 'a'")[0].endswith("INDEX 1:=0"),
          plan(db, "SELECT value FROM kv WHERE key = 'a'"))
    got, cost = spent(db, "SELECT value FROM kv WHERE key IN ('f000/0001', 'f107/0001', 'none')")
    check(got == [(1,), (107001,)], got)
    check(cost["gets"] == 3 and cost["seeks"] == 0 and cost["rows_read"] <= 3, "IN:", cost)


def everything(db):
    queries(db)
    ends(db)
    one_key(db)


def test_fresh_in_memory(folder):
    everything(fill(folder))


def test_settled_in_tables(folder):
    db = fill(folder)
    db.execute("INSERT INTO kv(kv) VALUES ('settle')")
    everything(db)
    db.close()
    db = host.connect(folder + "/a.db")
    everything(db)


def test_overwritten_rows_cost_no_more_than_their_versions(folder):
    """Old versions are passed over, but only those of the rows asked for."""
    db = fill(folder)
    db.execute("INSERT INTO kv(kv) VALUES ('flush')")
    db.execute("UPDATE kv SET value = -value WHERE key GLOB 'f107/*' OR key GLOB 'f108/*'")
    db.execute("DELETE FROM kv WHERE key GLOB 'f108/*'")
    db.execute("INSERT INTO kv(kv) VALUES ('flush')")
    got, cost = spent(db, "SELECT value FROM kv WHERE key GLOB 'f107/*'")
    check(got == [(-i,) for i in range(107000, 108000)], got[:3])
    check(cost["rows_read"] <= FILES and cost["entries_skipped"] <= FILES, cost)
    got, cost = spent(db, "SELECT value FROM kv WHERE key >= 'f107/0990' LIMIT 20")
    check([v for v, in got] == [-i for i in range(107990, 108000)] + list(range(109000, 109010)),
          got)
    check(cost["rows_read"] <= 20, cost)


def test_composite_key(folder):
    db = host.connect(folder + "/a.db")
    db.execute("CREATE VIRTUAL TABLE kv USING fastkv(sensor TEXT, at INTEGER, v, "
               "PRIMARY KEY (sensor, at))")
    db.execute("BEGIN")
    db.executemany("REPLACE INTO kv VALUES (?, ?, ?)",
                   (("s%02d" % (i // 10000), i % 10000, i) for i in range(200000)))
    db.execute("COMMIT")
    db.execute("INSERT INTO kv(kv) VALUES ('settle')")
    last = "SELECT v FROM kv WHERE sensor = 's07' ORDER BY at DESC LIMIT 1"
    check(check_query(db, last, 1, 1, "2:=0") == [(79999,)], "the last of a sensor")
    check_query(db, "SELECT v FROM kv WHERE sensor = 's07' AND at BETWEEN 10 AND 19", 10, 10,
                "0:=0 >=1 <=1")
    check_query(db, "SELECT v FROM kv WHERE sensor = 's07' ORDER BY at LIMIT 10", 10, 10, "0:=0")
    got, cost = spent(db, "SELECT v FROM kv WHERE sensor = 's07' AND at = 5")
    check(got == [(70005,)] and cost["gets"] == 1 and cost["seeks"] == 0, got, cost)


host.main(globals())
