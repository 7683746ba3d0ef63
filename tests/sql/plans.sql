-- What EXPLAIN QUERY PLAN says, and that the rows read are only those asked for.
CREATE VIRTUAL TABLE kv USING fastkv(key TEXT PRIMARY KEY, value);
CREATE VIRTUAL TABLE r USING fastkv(s TEXT, at INTEGER, v, PRIMARY KEY (s, at));
CREATE TABLE n(id INTEGER PRIMARY KEY, k TEXT);
.eqp on
SELECT value FROM kv WHERE key = 'a';
SELECT value FROM kv WHERE key IN ('a', 'b');
SELECT value FROM kv WHERE key > 'a' AND key <= 'b';
SELECT value FROM kv WHERE key GLOB 'user:*';
SELECT value FROM kv WHERE key LIKE 'user:%';
SELECT value FROM kv ORDER BY key;
SELECT value FROM kv ORDER BY key DESC LIMIT 1;
SELECT max(key) FROM kv;
SELECT count(*) FROM kv;
SELECT value FROM kv WHERE value = 1;
SELECT value FROM kv ORDER BY value;
SELECT value FROM kv WHERE key > 'a' LIMIT 10 OFFSET 5;
SELECT value FROM kv WHERE key COLLATE NOCASE = 'a';
SELECT v FROM r WHERE s = 'x' AND at BETWEEN 1 AND 2 ORDER BY at DESC;
SELECT v FROM r WHERE s = 'x' ORDER BY at;
SELECT v FROM r WHERE at = 1;
SELECT s, max(at) FROM r GROUP BY s;
SELECT DISTINCT s FROM r;
SELECT * FROM r ORDER BY s, at DESC;
SELECT * FROM n JOIN kv ON key = k;
SELECT * FROM kv JOIN n ON id = value;
SELECT * FROM n JOIN kv ON key GLOB k || '*';
.eqp off
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 10000)
INSERT INTO kv SELECT printf('%s:%05d', CASE WHEN i % 100 THEN 'item' ELSE 'user' END, i), i FROM c;
INSERT INTO kv(kv) VALUES ('flush');
CREATE TABLE mark(rows_read);
INSERT INTO mark SELECT value FROM fastkv_stats('kv') WHERE name = 'rows_read';
SELECT count(*) FROM kv WHERE key GLOB 'user:*';
SELECT value - rows_read <= 101 FROM fastkv_stats('kv'), mark WHERE name = 'rows_read';
UPDATE mark SET rows_read = (SELECT value FROM fastkv_stats('kv') WHERE name = 'rows_read');
SELECT key FROM kv ORDER BY key DESC LIMIT 1;
SELECT value - rows_read <= 2 FROM fastkv_stats('kv'), mark WHERE name = 'rows_read';
