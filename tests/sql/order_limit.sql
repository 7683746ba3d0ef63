-- oracle: native
-- ORDER BY, LIMIT, OFFSET, min, max, GROUP BY, DISTINCT.
CREATE VIRTUAL TABLE kv USING fastkv(key INTEGER PRIMARY KEY, value);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100) INSERT INTO kv SELECT i, i % 10 FROM c;
SELECT key FROM kv ORDER BY key LIMIT 3;
SELECT key FROM kv ORDER BY key DESC LIMIT 3 OFFSET 2;
SELECT key FROM kv WHERE key > 50 ORDER BY key LIMIT 3 OFFSET 10;
SELECT key FROM kv WHERE key > 50 ORDER BY key LIMIT -1 OFFSET 47;
SELECT key FROM kv WHERE value = 3 ORDER BY key LIMIT 2 OFFSET 1;
SELECT key FROM kv WHERE value = 3 AND key > 40 ORDER BY key DESC LIMIT 2 OFFSET 1;
SELECT key FROM kv ORDER BY value, key DESC LIMIT 2 OFFSET 9;
SELECT key FROM kv WHERE key IN (5, 1, 9, 7) ORDER BY key DESC LIMIT 2 OFFSET 1;
SELECT key FROM kv WHERE key >= 10 AND key >= 95 AND key <= 99 AND key < 98;
SELECT key FROM kv WHERE key > 98 LIMIT 0;
SELECT key FROM kv WHERE (key, value) > (98, 5) ORDER BY key LIMIT 1 OFFSET 1;
SELECT key FROM kv ORDER BY key LIMIT 1 OFFSET 1000;
SELECT min(key), max(key), count(*) FROM kv;
SELECT min(key) FROM kv;
SELECT max(key) FROM kv WHERE key < 50;
SELECT value, count(*), sum(key) FROM kv GROUP BY value ORDER BY value DESC LIMIT 3;
SELECT key / 40, count(*) FROM kv GROUP BY key / 40;
SELECT DISTINCT value FROM kv WHERE key < 4 ORDER BY key;
SELECT count(*) FROM kv WHERE key BETWEEN 10 AND 19;
SELECT key FROM kv WHERE key = 5 OR key > 98 OR key IN (1, 2) ORDER BY key DESC;
SELECT a.key, b.key FROM kv a JOIN kv b ON b.key = a.key * 10 WHERE a.value = 1 ORDER BY a.key;
SELECT a.key, b.key FROM kv a LEFT JOIN kv b ON b.key = a.key + 99 WHERE a.key < 3 ORDER BY a.key;
SELECT key FROM kv WHERE key = (SELECT max(key) FROM kv);
SELECT key FROM kv WHERE key IS NULL OR key IS 7;
