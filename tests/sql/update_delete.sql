-- oracle: native
-- UPDATE and DELETE by key, range and anything else; INSERT from itself; triggers and views.
CREATE VIRTUAL TABLE kv USING fastkv(key INTEGER PRIMARY KEY, a TEXT, b, c REAL);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 200)
INSERT INTO kv SELECT i, 'a' || i, i * 2, i / 4.0 FROM c;
UPDATE kv SET b = 'one' WHERE key = 1;
UPDATE kv SET a = a || '!', c = NULL WHERE key BETWEEN 2 AND 4;
UPDATE kv SET key = -key WHERE key IN (5, 6);
UPDATE kv SET key = key + 1000, a = NULL WHERE c > 49;
SELECT changes();
SELECT * FROM kv WHERE key < 9 OR key > 1000 OR c > 48.7;
UPDATE kv SET key = key + 1;
UPDATE kv SET key = key - 10000;
SELECT count(*), min(key), max(key), sum(b) FROM kv;
DELETE FROM kv WHERE key = -9999;
DELETE FROM kv WHERE key > -9990 AND key < -9900;
DELETE FROM kv WHERE a GLOB 'a1[0-9][0-9]';
SELECT changes(), count(*) FROM kv;
SELECT * FROM kv WHERE key < -9995;
INSERT INTO kv SELECT key + 20000, a, b, c FROM kv WHERE key < -9995;
INSERT INTO kv SELECT key + 1, a, b, c FROM kv;
SELECT count(*) FROM kv;
INSERT OR REPLACE INTO kv SELECT key, 'r', b, c FROM kv WHERE key > 0;
SELECT key, a FROM kv WHERE key > 0;
CREATE TABLE log(id INTEGER PRIMARY KEY, k, v);
CREATE TRIGGER log_ins AFTER INSERT ON log BEGIN
  INSERT OR REPLACE INTO kv(key, a) VALUES (new.k, new.v);
  DELETE FROM kv WHERE key = new.k - 1;
END;
INSERT INTO log(k, v) VALUES (30000, 'x'), (30001, 'y');
SELECT key, a, b FROM kv WHERE key >= 30000;
CREATE VIEW big AS SELECT key, a FROM kv WHERE key > 10000;
SELECT * FROM big ORDER BY key;
WITH m(k) AS (VALUES (10001), (10002)) DELETE FROM kv WHERE key IN m;
DELETE FROM kv;
SELECT changes(), count(*) FROM kv;
