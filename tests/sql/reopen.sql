-- What was committed is there after closing and opening.
CREATE VIRTUAL TABLE kv USING fastkv;
CREATE VIRTUAL TABLE other USING fastkv(a INTEGER, b TEXT, c, PRIMARY KEY (a, b));
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
INSERT INTO kv SELECT 'key' || i, i FROM c;
INSERT INTO other SELECT value % 7, key, value FROM kv;
DELETE FROM kv WHERE value % 2;
.open test.db
.load ./fastkv
SELECT count(*), sum(value), min(key), max(key) FROM kv;
SELECT count(*) FROM other;
SELECT * FROM other WHERE a = 3 AND b GLOB 'key99*';
SELECT * FROM kv WHERE key = 'key1000';
INSERT INTO kv VALUES ('more', 1);
.open test.db
.load ./fastkv
SELECT * FROM kv WHERE key GLOB 'm*';
