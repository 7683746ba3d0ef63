-- oracle: native
-- Storage classes, affinities and the order of keys.
.mode quote
CREATE VIRTUAL TABLE kv USING fastkv(key PRIMARY KEY, value);
INSERT INTO kv VALUES (1, 'int'), (-1, 'minus'), (2.5, 'real'), ('', 'empty text'), (x'', 'empty blob'),
  ('a', 'a'), ('B', 'B'), (x'00', 'nul'), (x'ff', 'ff'), ('abc', NULL), (1e300, 1e300), (-1e300, -1.5),
  (9e999, 'inf'), (-9e999, '-inf'), (9007199254740992, '2^53'), (9007199254740993, '2^53+1'),
  (9007199254740991.0, '2^53-1'), (9223372036854775807, 'max'), (-9223372036854775808, 'min'),
  ('a' || char(0) || 'b', x'0001'), ('é', 'e acute');
SELECT key, typeof(key), value, typeof(value) FROM kv ORDER BY key;
SELECT key FROM kv ORDER BY key DESC;
SELECT key FROM kv WHERE key > 9007199254740992 AND key < 9e999;
SELECT key FROM kv WHERE key = 9007199254740992.0;
SELECT key FROM kv WHERE key >= 'a';
SELECT hex(key), length(key) FROM kv WHERE key > 'a' AND key < 'ab';

-- A REAL with an integral value stays one in an untyped column; 1 and 1.0 are one key.
INSERT OR IGNORE INTO kv VALUES (1.0, 'same key');
SELECT key, value FROM kv WHERE key = 1;
INSERT OR REPLACE INTO kv VALUES (1.0, 'as real');
SELECT key, typeof(key), value FROM kv WHERE key = 1;
UPDATE kv SET key = 1 WHERE key = 1;
SELECT key, typeof(key), value FROM kv WHERE key = 1;
INSERT INTO kv VALUES (-0.0, 'zero');
SELECT typeof(key), key = 0 FROM kv WHERE key = 0;

CREATE VIRTUAL TABLE typed USING fastkv(id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, n NUMERIC, b BLOB,
                                        d DECIMAL(10, 2), v VARCHAR(10), f DOUBLE PRECISION);
INSERT INTO typed VALUES ('1', '1', '1', 1, '1', '1', '1', 1.5, 1),
  (2.0, 2.0, 2, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0), ('3x', '3x', '3x', '3x', '3x', '3x', '3x', '3x', '3x'),
  (x'34', x'34', x'34', x'34', x'34', x'34', x'34', x'34', x'34'),
  (5.5, ' 5 ', '1e2', 1e20, '1e20', 1e20, '0x10', -0.0, -0.0),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM typed;
SELECT typeof(id), typeof(i), typeof(r), typeof(t), typeof(n), typeof(b), typeof(d), typeof(v), typeof(f)
FROM typed;
SELECT id FROM typed WHERE id = '2';
SELECT id FROM typed WHERE id IN ('1', 5.5, x'34', 'nothing');
SELECT id FROM typed WHERE id > '3x';
SELECT id FROM typed WHERE id < '3x' ORDER BY id DESC;

CREATE VIRTUAL TABLE tx USING fastkv(k TEXT PRIMARY KEY, v);
INSERT INTO tx VALUES (5, 'five'), (5.0, 'five point zero'), ('05', 'zero five'), (x'35', 'blob'), ('z', 'z');
SELECT k, typeof(k), v FROM tx;
SELECT v FROM tx WHERE k = 5;
SELECT v FROM tx WHERE k = '5';
SELECT v FROM tx WHERE k = x'35';
SELECT v FROM tx WHERE k > 5;
CREATE TABLE n(i INTEGER, t TEXT, b);
INSERT INTO n VALUES (5, '5', 5), (7, 'z', '05');
-- Beside an INTEGER column text compares as numbers, beside others as text.
SELECT i, v FROM n JOIN tx ON k = i ORDER BY v;
SELECT t, v FROM n JOIN tx ON k = t ORDER BY v;
SELECT b, v FROM n JOIN tx ON k = b ORDER BY v;
SELECT i, v FROM n JOIN tx ON k > i ORDER BY i, v;
SELECT v FROM tx WHERE k IN (SELECT i FROM n) ORDER BY v;
