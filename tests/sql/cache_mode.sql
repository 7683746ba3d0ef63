-- Cache mode: a table with max_keys or max_bytes forgets the rows used longest ago.
CREATE VIRTUAL TABLE c USING fastkv(key, value, max_keys = 100);
CREATE VIEW counts AS SELECT name, value FROM fastkv_stats('c') WHERE name GLOB 'kept*s' AND name <> 'kept_bytes' OR name = 'evictions';
WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 101) INSERT INTO c SELECT n, 'value' FROM i;
SELECT count(*), min(key), max(key) FROM c;
SELECT * FROM counts;

-- Looking a row up is using it, a scan is not; writing it is, and a row that is there stays one.
SELECT value FROM c WHERE key = 2;
SELECT fastkv_get('c', 3), fastkv_get('c', 1);
SELECT count(*) FROM c WHERE key > 0;
UPDATE c SET value = 'changed' WHERE key = 5;
REPLACE INTO c VALUES (6, 'again');
INSERT INTO c SELECT n, 'more' FROM (SELECT value AS n FROM generate_series(201, 210));
SELECT count(*), group_concat(key) FILTER (WHERE key < 20) FROM c;
SELECT * FROM counts;
SELECT key FROM c WHERE key IN (2, 3, 4);

-- Deleted rows make room, one by one and as a range.
DELETE FROM c WHERE key = 201;
INSERT INTO c(c, arg) VALUES ('delete-range', '[202, 206]');
INSERT INTO c SELECT value, 'room' FROM generate_series(301, 305);
SELECT count(*), group_concat(key) FILTER (WHERE key < 20) FROM c;
INSERT INTO c VALUES (306, 'one too many');
SELECT count(*), group_concat(key) FILTER (WHERE key < 20) FROM c;

-- A ROLLBACK brings back what was evicted, and takes away what was put.
BEGIN;
INSERT INTO c SELECT value, 'lost' FROM generate_series(1001, 1200);
SELECT count(*), min(key), max(key) FROM c;
SAVEPOINT s;
DELETE FROM c;
INSERT INTO c VALUES (1, 'only');
ROLLBACK TO s;
SELECT count(*), min(key), max(key) FROM c;
ROLLBACK;
SELECT count(*), min(key), max(key) FROM c;
INSERT INTO c VALUES (2000, 'next');
SELECT count(*), min(key), max(key) FROM c;
INSERT INTO c VALUES (2001, 'kept'), (2000, 'twice');
SELECT count(*), min(key), max(key) FROM c;

-- The functions count as well.
SELECT fastkv_incr('c', 'hits', 1), fastkv_incr('c', 'hits', 1), fastkv_cas('c', 'lock', NULL, 1);
SELECT count(*) FROM c;
SELECT count(*) FROM fastkv_pop('c', NULL, 10);
INSERT INTO c SELECT value, 'new' FROM generate_series(3001, 3010);
SELECT count(*) FROM c;

-- By size: keys and rows, as they are stored.
CREATE VIRTUAL TABLE b USING fastkv(key, value, max_bytes = 10000);
INSERT INTO b SELECT value, zeroblob(1000) FROM generate_series(1, 50);
SELECT count(*), min(key), max(key) FROM b;
INSERT INTO b VALUES ('large', zeroblob(5000));
SELECT count(*), max(key), (SELECT value <= 10000 FROM fastkv_stats('b') WHERE name = 'kept_bytes') FROM b;
REPLACE INTO b VALUES ('larger than all', zeroblob(20000));
SELECT count(*), max(key) FROM b;
REPLACE INTO b VALUES ('small', 1);
SELECT count(*), max(key) FROM b;

-- Changed while it is in use; other tables have no limit.
INSERT INTO c(c) VALUES ('max_keys=10');
REPLACE INTO c VALUES ('first', 1);
SELECT count(*) FROM c;
INSERT INTO c(c) VALUES ('max_keys=none');
INSERT INTO c SELECT value, 'free' FROM generate_series(5001, 5100);
SELECT count(*) FROM c;
CREATE VIRTUAL TABLE other USING fastkv;
INSERT INTO other SELECT value, value FROM generate_series(1, 1000);
SELECT count(*), (SELECT sum(value) FROM fastkv_stats('other') WHERE name GLOB 'kept*' OR name = 'evictions') FROM other;
INSERT INTO other(other) VALUES ('max_keys=many');
INSERT INTO other(other) VALUES ('max_keys=0');
INSERT INTO other(other) VALUES ('max_bytes=-1');

-- Expired rows are not counted for long; after reopening the order begins anew.
CREATE VIRTUAL TABLE e USING fastkv(key, value, max_keys = 5);
INSERT INTO e(key, ttl) VALUES (1, 0), (2, 0), (3, 0), (4, 0);
INSERT INTO e(key) VALUES (11), (12), (13), (14), (15);
SELECT count(*) FROM e;
.open test.db
.load ./fastkv
SELECT fastkv_get('e', 11), key FROM e WHERE key = 12;
INSERT INTO e(key) VALUES (16), (17);
SELECT key FROM e;
