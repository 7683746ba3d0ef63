-- ATTACHed, TEMP and :memory: databases, and path=.
ATTACH 'two.db' AS two;
ATTACH ':memory:' AS mem;
CREATE VIRTUAL TABLE kv USING fastkv;
CREATE VIRTUAL TABLE two.kv USING fastkv(key TEXT, value);
CREATE VIRTUAL TABLE mem.kv USING fastkv;
CREATE VIRTUAL TABLE temp.tkv USING fastkv;
BEGIN;
INSERT INTO main.kv VALUES (1, 'main');
INSERT INTO two.kv VALUES (2, 'two');
INSERT INTO mem.kv VALUES (3, 'mem');
INSERT INTO tkv VALUES (4, 'temp');
SELECT a.value, b.value, c.value, d.value FROM main.kv a, two.kv b, mem.kv c, tkv d;
COMMIT;
BEGIN;
DELETE FROM two.kv;
DROP TABLE mem.kv;
DROP TABLE tkv;
DROP TABLE main.kv;
ROLLBACK;
SELECT a.value, b.value, c.value, d.value FROM main.kv a, two.kv b, mem.kv c, tkv d;
BEGIN;
SAVEPOINT s;
DROP TABLE two.kv;
CREATE VIRTUAL TABLE two.kv2 USING fastkv;
INSERT INTO two.kv2 VALUES (1, 1);
ROLLBACK TO s;
COMMIT;
SELECT * FROM two.kv;
DROP TABLE two.kv;
SELECT name FROM two.sqlite_schema;
DETACH two;
DETACH mem;
ATTACH ':memory:' AS mem;
CREATE VIRTUAL TABLE mem.kv USING fastkv;
SELECT count(*) FROM mem.kv;
CREATE VIRTUAL TABLE temp.w USING fastkv(path = 'shared-store', k TEXT PRIMARY KEY, v);
INSERT INTO w VALUES ('a', 1), ('b', 2);
DROP TABLE w;
CREATE VIRTUAL TABLE temp.w2 USING fastkv(path = 'shared-store', k TEXT PRIMARY KEY, v);
SELECT * FROM w2;
CREATE VIRTUAL TABLE temp.w3 USING fastkv(path = 'shared-store', k TEXT PRIMARY KEY, v, more);
CREATE VIRTUAL TABLE nope USING fastkv(path = 'shared-store');
.open :memory:
.load ./fastkv
CREATE VIRTUAL TABLE kv USING fastkv;
INSERT INTO kv VALUES (1, 1);
BEGIN;
CREATE TABLE x(y);
ROLLBACK;
SELECT * FROM kv;
PRAGMA synchronous;
.open test.db
.load ./fastkv
SELECT * FROM kv;
CREATE VIRTUAL TABLE temp.w USING fastkv(path = 'shared-store', k TEXT PRIMARY KEY, v);
SELECT * FROM w;
