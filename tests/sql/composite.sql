-- oracle: native
-- Composite keys: order, equality on leading columns, ranges on the next, odd bytes in text.
.mode quote
CREATE VIRTUAL TABLE r USING fastkv(sensor TEXT, at INTEGER, temperature REAL, note, PRIMARY KEY (sensor, at));
WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 299)
INSERT INTO r SELECT 's' || (i % 3), i / 3, i / 10.0, CASE i % 7 WHEN 0 THEN NULL ELSE 'n' || i END FROM c;
SELECT count(*), min(at), max(at) FROM r;
SELECT * FROM r WHERE sensor = 's1' AND at BETWEEN 10 AND 13;
SELECT * FROM r WHERE sensor = 's1' AND at = 50;
SELECT * FROM r WHERE sensor = 's1' AND at > 96 ORDER BY at DESC;
SELECT sensor, at FROM r WHERE sensor IN ('s0', 's2', 'no') AND at < 2;
SELECT sensor, at FROM r WHERE sensor IN ('s2', 's0') AND at IN (1, 3) ORDER BY sensor DESC, at DESC;
SELECT sensor, at FROM r WHERE sensor > 's1' AND at < 3;
SELECT sensor, at FROM r WHERE sensor GLOB 's[12]' AND at = 7;
SELECT sensor, at FROM r WHERE (sensor, at) > ('s2', 97);
SELECT sensor, count(*), avg(at) FROM r GROUP BY sensor;
SELECT DISTINCT sensor FROM r ORDER BY sensor DESC;
SELECT sensor, at FROM r WHERE at = 42 ORDER BY sensor DESC LIMIT 2;
UPDATE r SET at = at + 1000 WHERE sensor = 's0' AND at > 97;
UPDATE r SET sensor = 'moved', note = sensor WHERE sensor = 's0' AND at >= 1000;
DELETE FROM r WHERE sensor = 's1' OR at < 90;
SELECT * FROM r;

CREATE VIRTUAL TABLE t USING fastkv(a, b, c, d, PRIMARY KEY (c, a));
INSERT INTO t VALUES ('x', 1, 'a', 1), ('y', 2, 'a' || char(0), 2), ('z', 3, 'a' || char(0) || 'b', 3),
  (x'00ff', 4, x'', 4), (x'00', 5, x'00', 5), ('', 6, x'0000', 6), (1, 7, '', 7), (2.0, 8, '', 8), (2.5, 9, '', 9),
  ('w', 10, 'ab', 10), (-1, 11, 1, 11), (-1, 12, 1.5, 12);
SELECT * FROM t;
SELECT d FROM t WHERE c = 'a';
SELECT d FROM t WHERE c > 'a' AND c < 'b';
SELECT d FROM t WHERE c = '' AND a >= 2;
SELECT d FROM t WHERE c >= x'00' ORDER BY c DESC, a DESC;
SELECT d FROM t WHERE c GLOB 'a*';
SELECT typeof(a), a FROM t WHERE c = '';
