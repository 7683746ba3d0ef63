-- oracle: native
-- Savepoints: nested, late tables, repeated ROLLBACK TO, outermost SAVEPOINT as a transaction.
CREATE VIRTUAL TABLE a USING fastkv;
CREATE VIRTUAL TABLE b USING fastkv;
CREATE TABLE n(x);
BEGIN;
INSERT INTO a VALUES (1, 'before');
SAVEPOINT s1;
INSERT INTO a VALUES (2, 's1');
SAVEPOINT s2;
INSERT INTO b VALUES (1, 's2, first touch of b');
INSERT INTO n VALUES (1);
SAVEPOINT s3;
DELETE FROM a;
INSERT INTO b VALUES (2, 's3');
SELECT 'in s3', (SELECT count(*) FROM a), (SELECT count(*) FROM b);
ROLLBACK TO s3;
SELECT 'back to s3', (SELECT count(*) FROM a), (SELECT count(*) FROM b);
INSERT INTO b VALUES (3, 's3 again');
ROLLBACK TO s3;
RELEASE s3;
ROLLBACK TO s2;
SELECT 'back to s2', (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM n);
INSERT INTO b VALUES (4, 'after s2');
RELEASE s1;
COMMIT;
SELECT * FROM a;
SELECT * FROM b;

SAVEPOINT outer;
INSERT INTO a VALUES (10, 'gone');
ROLLBACK TO outer;
INSERT INTO a VALUES (11, 'stays');
SAVEPOINT inner;
INSERT INTO a VALUES (12, 'gone');
ROLLBACK TO inner;
RELEASE outer;
SELECT * FROM a;

-- A statement that fails in a transaction undoes itself only.
BEGIN;
INSERT INTO a VALUES (20, 'kept');
INSERT INTO a VALUES (21, 'undone'), (20, 'conflict');
INSERT INTO n VALUES (2), (3);
UPDATE a SET key = 20 WHERE key = 11;
SAVEPOINT s;
UPDATE a SET value = 'x';
ROLLBACK TO s;
COMMIT;
SELECT * FROM a;
BEGIN;
DELETE FROM a;
INSERT INTO a VALUES (1, 'rolled back');
SELECT * FROM a;
ROLLBACK;
SELECT * FROM a;
