-- The hidden columns ttl and expires_at, and the option ttl. (That expired rows are never seen, in
-- any plan: tests/features/test_ttl.c.) Times are rounded to ten seconds.
CREATE VIRTUAL TABLE kv USING fastkv(key, a, b);
CREATE VIRTUAL TABLE usual USING fastkv(key, value, ttl = 100);
CREATE VIEW left_kv AS SELECT key, a, b, CAST(ttl / 10 + 0.5 AS INT) * 10 AS ttl, expires_at IS NULL AS for_ever FROM kv;

-- INSERT. NULL is never, 0 and less is at once, and infinity is never.
INSERT INTO kv VALUES ('stays', 1, 2);
INSERT INTO kv(key, a, ttl) VALUES ('minute', 1, 60), ('zero', 1, 0), ('minus', 1, -5);
INSERT INTO kv(key, a, ttl) VALUES ('text', 1, '60'), ('infinite', 1, 9e999), ('null', 1, NULL);
INSERT INTO kv(key, a, expires_at) VALUES ('later', 1, unixepoch() + 60), ('past', 1, 5), ('far', 1, 1e300);
INSERT INTO kv(key, a, ttl, expires_at) VALUES ('ttl counts', 1, 60, 5);
SELECT * FROM left_kv;
SELECT * FROM kv WHERE key = 'stays';
SELECT typeof(ttl), typeof(expires_at), expires_at - unixepoch() BETWEEN 50 AND 61 FROM kv WHERE key = 'minute';
INSERT INTO kv(key, a, expires_at) VALUES ('exact', 1, 4102444800.25);
SELECT expires_at FROM kv WHERE key = 'exact';

-- A row that is expired at once takes the old one away.
REPLACE INTO kv(key, a, ttl) VALUES ('text', 2, 0);
INSERT INTO kv(key, a, ttl) VALUES ('stays', 2, 0);
SELECT key FROM kv WHERE key IN ('text', 'stays');

-- What is no number of seconds.
INSERT INTO kv(key, ttl) VALUES ('bad', 'soon');
INSERT INTO kv(key, ttl) VALUES ('bad', x'31');
INSERT OR IGNORE INTO kv(key, expires_at) VALUES ('bad', '2024-01-01');
UPDATE kv SET ttl = 'soon' WHERE key = 'minute';
SELECT count(*) FROM kv WHERE key = 'bad';
DELETE FROM kv WHERE key NOT IN ('stays', 'minute', 'later');

-- UPDATE changes what it names: a row keeps its moment unless ttl or expires_at is set.
UPDATE kv SET a = 10;
SELECT * FROM left_kv;
UPDATE kv SET a = 11, b = 12 WHERE key = 'minute';
UPDATE kv SET key = 'moved' WHERE key = 'minute';
SELECT * FROM left_kv;
UPDATE kv SET ttl = 600 WHERE key = 'moved';
UPDATE kv SET expires_at = unixepoch() + 6000 WHERE key = 'later';
UPDATE kv SET ttl = 60 WHERE key = 'stays';
SELECT * FROM left_kv WHERE ttl < 1000;
SELECT ttl BETWEEN 5990 AND 6001 FROM kv WHERE key = 'later';
UPDATE kv SET ttl = NULL WHERE key = 'moved';
UPDATE kv SET expires_at = NULL WHERE key = 'later';
UPDATE kv SET ttl = ttl + 60 WHERE key = 'stays';
UPDATE kv SET ttl = ttl, expires_at = expires_at;
SELECT * FROM left_kv;
UPDATE kv SET ttl = 0 WHERE key = 'stays';
SELECT key FROM kv;

-- UPDATE … FROM: all columns are read there, and what is set is found out.
CREATE TABLE n(key, value);
INSERT INTO n VALUES ('moved', 300), ('later', 400);
UPDATE kv SET a = n.value FROM n WHERE n.key = kv.key;
SELECT * FROM left_kv;
UPDATE kv SET ttl = n.value FROM n WHERE n.key = kv.key;
SELECT * FROM left_kv;
UPDATE kv SET b = n.value FROM n WHERE n.key = kv.key;
SELECT * FROM left_kv;
UPDATE kv SET expires_at = 4e9 FROM n WHERE n.key = kv.key AND n.key = 'later';
UPDATE kv SET ttl = NULL FROM n WHERE n.key = kv.key AND n.key = 'moved';
SELECT key, expires_at FROM kv;
UPDATE kv SET expires_at = NULL FROM n WHERE n.key = kv.key;
SELECT * FROM left_kv;

-- REPLACE is a new row: it has the table's usual life. A bound NULL is a NULL that was meant.
INSERT INTO usual VALUES ('a', 1), ('b', 1);
INSERT INTO usual(key, value, ttl) VALUES ('c', 1, 10), ('d', 1, 9e999), ('e', 1, NULL);
INSERT INTO usual(key, value, expires_at) VALUES ('f', 1, 4e9);
.parameter set :none NULL
INSERT INTO usual(key, value, ttl) VALUES ('g', 1, :none);
INSERT INTO usual(key, value, expires_at) VALUES ('h', 1, :none);
SELECT key, CAST(min(ttl, 1000) / 10 + 0.5 AS INT) * 10 FROM usual;
REPLACE INTO usual VALUES ('c', 2), ('d', 2);
UPDATE usual SET value = 3 WHERE key = 'f';
SELECT key, value, CAST(min(ttl, 1000) / 10 + 0.5 AS INT) * 10, expires_at = 4e9 FROM usual WHERE key IN ('c', 'd', 'f');

-- Undone with their rows.
BEGIN;
UPDATE usual SET ttl = 0 WHERE key = 'a';
SAVEPOINT s;
UPDATE usual SET ttl = 0;
SELECT count(*) FROM usual;
ROLLBACK TO s;
SELECT count(*) FROM usual;
ROLLBACK;
SELECT count(*) FROM usual;

-- Copying a table takes the moments along if they are named; SELECT * leaves them behind.
CREATE VIRTUAL TABLE copy USING fastkv(key, value);
INSERT INTO copy(key, value, expires_at) SELECT key, value, expires_at FROM usual WHERE key < 'c';
INSERT INTO copy SELECT * FROM usual WHERE key = 'c';
SELECT key, CAST(ttl / 10 + 0.5 AS INT) * 10 FROM copy;

-- Composite keys; the columns of a row in RETURNING are as they were given.
CREATE VIRTUAL TABLE two USING fastkv(a, b, c, PRIMARY KEY (a, b), ttl = 0.001);
INSERT INTO two(a, b, ttl) VALUES (1, 1, 60), (1, 2, NULL) RETURNING a, b, ttl;
INSERT INTO two(a, b, ttl) VALUES (2, 1, 60);
.shell sleep 0.05
SELECT a, b, CAST(ttl / 10 + 0.5 AS INT) * 10 FROM two WHERE a >= 1;
SELECT count(*) FROM two WHERE a = 1 AND b = 2;

-- The names are taken.
CREATE VIRTUAL TABLE t USING fastkv(key, ttl);
CREATE VIRTUAL TABLE ttl USING fastkv;
ALTER TABLE copy RENAME TO expires_at;
CREATE VIRTUAL TABLE t USING fastkv(key, ttl = soon);
CREATE VIRTUAL TABLE t USING fastkv(key, ttl = -1);
CREATE VIRTUAL TABLE t USING fastkv(key, ttl = none);
SELECT name, type, hidden FROM pragma_table_xinfo('t');

-- After reopening.
.open test.db
.load ./fastkv
SELECT key, CAST(ttl / 10 + 0.5 AS INT) * 10 FROM usual WHERE key < 'd';
INSERT INTO usual VALUES ('new', 1);
SELECT CAST(ttl / 10 + 0.5 AS INT) * 10 FROM usual WHERE key = 'new';
