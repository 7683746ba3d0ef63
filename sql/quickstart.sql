-- Quick start: a key-value table, and what one does with it.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/quickstart.sql
--
-- oracle: native

DROP TABLE IF EXISTS kv;
CREATE VIRTUAL TABLE kv USING fastkv;      -- columns: key, the PRIMARY KEY, and value

-- Put. REPLACE INTO writes without looking: it is the fastest way in.
REPLACE INTO kv VALUES
  ('user:1001', '{"name": "Alice", "age": 30, "email": "alice@example.com"}'),
  ('user:1002', '{"name": "Bob", "age": 25}'),
  ('config:theme', 'dark'),
  ('counter:visits', 42);

-- Get.
SELECT value FROM kv WHERE key = 'config:theme';
SELECT json_extract(value, '$.email') FROM kv WHERE key = 'user:1001';

-- Everything below a prefix, in the order of keys.
SELECT key, json_extract(value, '$.name') AS name FROM kv WHERE key GLOB 'user:*';

-- A range, backwards.
SELECT key FROM kv WHERE key >= 'config:' AND key < 'user:1002' ORDER BY key DESC;

-- Several keys at once; a missing one is simply not there.
SELECT key, value FROM kv
WHERE key IN ('counter:visits', 'config:theme', 'config:font') ORDER BY key;

-- Values keep their type. A counter is an UPDATE.
UPDATE kv SET value = value + 1 WHERE key = 'counter:visits';
SELECT value, typeof(value) FROM kv WHERE key = 'counter:visits';

-- Plain INSERT refuses a key that is there; OR IGNORE puts only if absent.
INSERT OR IGNORE INTO kv VALUES ('config:theme', 'light'), ('config:font', 'mono');
SELECT key, value FROM kv WHERE key GLOB 'config:*';

-- A transaction is all or nothing, and a savepoint is a place to go back to.
BEGIN;
REPLACE INTO kv VALUES ('order:001', '{"item": "Book", "price": 29.99}');
SAVEPOINT second_order;
REPLACE INTO kv VALUES ('order:002', '{"item": "Pen", "price": 1.99}');
ROLLBACK TO second_order;
COMMIT;
SELECT key FROM kv WHERE key GLOB 'order:*';

BEGIN;
DELETE FROM kv;
SELECT count(*) FROM kv;
ROLLBACK;
SELECT count(*) FROM kv;

-- Delete one key, then a prefix.
DELETE FROM kv WHERE key = 'config:theme';
DELETE FROM kv WHERE key GLOB 'user:*';
SELECT key FROM kv;
