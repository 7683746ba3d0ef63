-- Commands that delete ranges: one range tombstone each, part of the transaction.
CREATE VIRTUAL TABLE kv USING fastkv(key, value);
CREATE TABLE before(key, value);
INSERT INTO before VALUES (1, 1), (2.5, 1), (10, 1), ('a', 1), ('a:1', 1), ('a:2', 1), ('b', 1), (x'61', 1);
REPLACE INTO kv SELECT * FROM before;

-- From the first key, up to the second and without it; null is no bound.
BEGIN;
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["a:1", "b"]');
SELECT group_concat(quote(key)) FROM kv;
ROLLBACK;
BEGIN;
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[2, "a"]');
SELECT group_concat(quote(key)) FROM kv;
ROLLBACK;
BEGIN;
INSERT INTO kv(kv, arg) VALUES ('DELETE-RANGE', '[null, 2.5]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["b", null]');
SELECT group_concat(quote(key)) FROM kv;
ROLLBACK;
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["b", "a"]'), ('delete-range', '["b", "b"]');
SELECT count(*) FROM kv;

-- What is deleted may be written again, before and after COMMIT.
BEGIN;
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[null, null]');
INSERT INTO kv VALUES ('a', 'again');
SELECT * FROM kv;
SAVEPOINT s;
INSERT INTO kv(kv) VALUES ('truncate');
INSERT INTO kv VALUES ('b', 'again');
SELECT * FROM kv;
ROLLBACK TO s;
SELECT * FROM kv;
COMMIT;
SELECT * FROM kv;
INSERT INTO kv(kv) VALUES ('settle');
SELECT * FROM kv;
INSERT INTO kv VALUES ('b', 'after');
SELECT * FROM kv;

-- A statement that fails half way leaves what was there.
INSERT INTO kv(kv) VALUES ('truncate'), ('no such');
SELECT count(*) FROM kv;
BEGIN;
INSERT INTO kv(kv) VALUES ('truncate'), ('no such');
SELECT count(*) FROM kv;
COMMIT;

-- Composite keys: an array holds the first few columns, truncate takes the first one.
CREATE VIRTUAL TABLE r USING fastkv(ns TEXT, at INTEGER, value, PRIMARY KEY (ns, at));
INSERT INTO r SELECT a.value, b.value, 1
FROM json_each('["acme", "acme2", "zeta"]') AS a, json_each('[1, 2, 3]') AS b;
BEGIN;
INSERT INTO r(r, arg) VALUES ('delete-range', '[["acme", 2], ["acme2", 3]]');
SELECT group_concat(ns || at) FROM r;
ROLLBACK;
BEGIN;
INSERT INTO r(r, arg) VALUES ('delete-range', '["acme2", ["zeta", 2]]');
SELECT group_concat(ns || at) FROM r;
ROLLBACK;
BEGIN;
INSERT INTO r(r, arg) VALUES ('truncate', 'acme');
SELECT group_concat(ns || at) FROM r;
ROLLBACK;
BEGIN;
INSERT INTO r(r, arg) VALUES ('delete-prefix', 'acme');
SELECT group_concat(ns || at) FROM r;
ROLLBACK;

-- Affinity: a number for a TEXT column, a whole number for a REAL one.
CREATE VIRTUAL TABLE t USING fastkv(key TEXT, value);
INSERT INTO t VALUES ('5', 1), ('50', 1), ('6', 1), ('x', 1);
INSERT INTO t(t, arg) VALUES ('delete-range', '[5, 6]');
SELECT key FROM t;
CREATE VIRTUAL TABLE f USING fastkv(key REAL, value);
INSERT INTO f VALUES (1, 1), (1.5, 1), (2, 1), (9007199254740993, 1);
INSERT INTO f(f, arg) VALUES ('delete-range', '[1.5, 9007199254740993]');
SELECT key FROM f;

-- A bound is what a key would be compared with: text that is a number, where the column is one.
CREATE VIRTUAL TABLE n USING fastkv(key INTEGER, value);
INSERT INTO n VALUES (1, 1), (5, 1), (7, 1), (9, 1), ('b', 1);
BEGIN;
INSERT INTO n(n, arg) VALUES ('delete-range', '["5", "9.0"]');
SELECT key FROM n;
ROLLBACK;
INSERT INTO n(n, arg) VALUES ('delete-range', '["7", "a"]');
SELECT key FROM n;

-- What is no range.
INSERT INTO kv(kv) VALUES ('delete-range');
INSERT INTO kv(kv, arg) VALUES ('delete-range', 'a');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["a"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["a", "b", "c"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '{"a": "b"}');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[{"a": 1}, "b"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[["a", 1], "b"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[[], "b"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[[null], "b"]');
INSERT INTO r(r, arg) VALUES ('delete-range', '[["a", ["b"]], null]');
INSERT INTO kv(kv, arg) VALUES ('truncate', 'a');
INSERT INTO kv(kv) VALUES ('delete-prefix');
INSERT INTO kv(kv, arg) VALUES ('delete-prefix', 5);
INSERT INTO kv(kv, arg) VALUES ('settle', 'a');
INSERT INTO kv(kv) VALUES ('vacuum');
INSERT INTO kv(kv) VALUES ('fastkv call');
SELECT count(*) FROM kv;

-- In a UTF-16 database text is in another order; prefixes and whole columns do not mind.
.open utf16.db
PRAGMA encoding = 'UTF-16';
.load ./fastkv
CREATE VIRTUAL TABLE kv USING fastkv(ns, key, PRIMARY KEY (ns, key));
INSERT INTO kv VALUES ('a', 1), ('a', 2), ('b', 1), (5, 1), (6, 1);
INSERT INTO kv(kv, arg) VALUES ('delete-range', '["a", "b"]');
INSERT INTO kv(kv, arg) VALUES ('delete-range', '[5, 6]');
INSERT INTO kv(kv, arg) VALUES ('truncate', 'a');
SELECT * FROM kv;
