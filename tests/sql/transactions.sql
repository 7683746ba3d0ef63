-- oracle: native
-- Fastkv and native tables in one transaction; reopening.
CREATE VIRTUAL TABLE kv USING fastkv;
CREATE TABLE n(x);
BEGIN;
INSERT INTO kv VALUES ('a', 1);
INSERT INTO n VALUES (1);
COMMIT;
BEGIN;
INSERT INTO kv VALUES ('b', 2);
INSERT INTO n VALUES (2);
SELECT (SELECT count(*) FROM kv), (SELECT count(*) FROM n);
ROLLBACK;
SELECT (SELECT count(*) FROM kv), (SELECT count(*) FROM n);
BEGIN;
INSERT INTO kv VALUES ('c', 3);
INSERT INTO n VALUES (3);
SELECT x FROM n WHERE x = 'the next statement fails' OR x IN (SELECT value FROM kv);
INSERT INTO kv VALUES ('c', 4);
COMMIT;
SELECT * FROM kv;
SELECT * FROM n;
BEGIN;
CREATE VIRTUAL TABLE rolled USING fastkv;
INSERT INTO rolled VALUES (1, 1);
INSERT INTO kv VALUES ('d', 4);
ROLLBACK;
SELECT name FROM sqlite_schema WHERE name = 'rolled';
CREATE VIRTUAL TABLE rolled USING fastkv;
SELECT count(*) FROM rolled;
PRAGMA synchronous = OFF;
INSERT INTO kv VALUES ('e', 5);
PRAGMA synchronous = NORMAL;
INSERT INTO kv VALUES ('f', 6);
VACUUM;
SELECT * FROM kv;
.open test.db
SELECT * FROM n;
