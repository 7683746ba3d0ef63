-- oracle: native
-- The five conflict modes, NOT NULL, and statements that fail in the middle.
.mode quote
CREATE VIRTUAL TABLE kv USING fastkv(key PRIMARY KEY, value NOT NULL);
INSERT INTO kv VALUES ('a', 1), ('b', 2);
INSERT INTO kv VALUES ('a', 9);
INSERT INTO kv VALUES ('c', 3), ('a', 9), ('d', 4);
SELECT * FROM kv;
INSERT OR IGNORE INTO kv VALUES ('c', 3), ('a', 9), ('d', 4);
SELECT changes();
INSERT OR REPLACE INTO kv VALUES ('a', 10), ('e', 5);
SELECT changes();
REPLACE INTO kv VALUES ('b', 20);
INSERT OR FAIL INTO kv VALUES ('f', 6), ('a', 9), ('g', 7);
SELECT * FROM kv;
BEGIN;
INSERT INTO kv VALUES ('h', 8);
INSERT OR ROLLBACK INTO kv VALUES ('i', 8), ('a', 9);
SELECT * FROM kv WHERE key IN ('h', 'i');
COMMIT;
BEGIN;
INSERT INTO kv VALUES ('h', 8);
INSERT OR ABORT INTO kv VALUES ('i', 8), ('a', 9);
SELECT * FROM kv WHERE key IN ('h', 'i');
COMMIT;

INSERT INTO kv VALUES (NULL, 1);
INSERT INTO kv VALUES ('n', NULL);
INSERT OR IGNORE INTO kv VALUES (NULL, 1), ('n', NULL), ('o', 1);
INSERT OR REPLACE INTO kv VALUES ('n', NULL);
UPDATE kv SET value = NULL WHERE key = 'a';
UPDATE kv SET key = NULL WHERE key = 'a';
UPDATE OR IGNORE kv SET value = NULL WHERE key < 'c';
SELECT * FROM kv;

UPDATE kv SET key = 'b' WHERE key = 'a';
UPDATE OR IGNORE kv SET key = 'b' WHERE key = 'a';
UPDATE OR REPLACE kv SET key = 'b' WHERE key = 'a';
SELECT * FROM kv;
UPDATE kv SET key = 'zz' WHERE key > 'c';
SELECT * FROM kv;

CREATE VIRTUAL TABLE readings USING fastkv(sensor TEXT, at INTEGER, v, PRIMARY KEY (sensor, at));
INSERT INTO readings VALUES ('s', 1, 1);
INSERT INTO readings VALUES ('s', 1, 2);
INSERT INTO readings VALUES ('s', NULL, 2);
INSERT INTO readings VALUES ('s', 1.0, 2);
INSERT INTO readings VALUES ('s', 1.5, 2) RETURNING sensor, v;
SELECT * FROM readings;
SELECT last_insert_rowid();
