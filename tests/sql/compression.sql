-- Compression, for each table by itself although all rows lie in the same files.
CREATE VIRTUAL TABLE plain USING fastkv(key, value, compression = none);
CREATE VIRTUAL TABLE zip USING fastkv(key, value, compression = zlib:9);
CREATE VIRTUAL TABLE four USING fastkv(key, value, compression = lz4);
CREATE VIRTUAL TABLE standard USING fastkv(key, value, compression = 'zstd:19');
CREATE TABLE text AS SELECT printf('%05d', value) AS key, 'The same words over and over, ' || value AS value FROM generate_series(1, 5000);
CREATE TABLE sizes(step INTEGER PRIMARY KEY, bytes);
CREATE VIEW grown AS
SELECT step, bytes - lag(bytes, 1, 0) OVER (ORDER BY step) > 100000 AS large,
       bytes - lag(bytes, 1, 0) OVER (ORDER BY step) > 0 AS more FROM sizes;

INSERT INTO plain SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 1, sum(bytes) FROM fastkv_levels('plain');
INSERT INTO zip SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 2, sum(bytes) FROM fastkv_levels('plain');
INSERT INTO four SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 3, sum(bytes) FROM fastkv_levels('plain');
INSERT INTO standard SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 4, sum(bytes) FROM fastkv_levels('plain');
SELECT * FROM grown;

-- All are there, each row once, and every block can be read.
SELECT count(*), count(DISTINCT value) FROM (SELECT * FROM plain UNION ALL SELECT * FROM zip UNION ALL SELECT * FROM four UNION ALL SELECT * FROM standard);
INSERT INTO plain(plain) VALUES ('integrity-check');
SELECT value FROM zip WHERE key = '04321';

-- A change counts for what is written from then on.
INSERT INTO zip(zip) VALUES ('compression=none');
REPLACE INTO zip SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 5, sum(bytes) FROM fastkv_levels('plain');
INSERT INTO plain(plain) VALUES ('compression=zlib');
REPLACE INTO plain SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 6, sum(bytes) FROM fastkv_levels('plain');
SELECT * FROM grown WHERE step > 4;

-- Undone: as it was.
BEGIN;
INSERT INTO plain(plain) VALUES ('compression=none');
ROLLBACK;
REPLACE INTO plain SELECT * FROM text;
INSERT INTO plain(plain) VALUES ('compact');
INSERT INTO sizes SELECT 7, sum(bytes) FROM fastkv_levels('plain');
SELECT * FROM grown WHERE step = 7;

-- After reopening it holds as well where a table has not been used.
.open test.db
.load ./fastkv
REPLACE INTO zip SELECT * FROM text;
INSERT INTO zip(zip) VALUES ('compact');
INSERT INTO sizes SELECT 8, sum(bytes) FROM fastkv_levels('zip');
SELECT * FROM grown WHERE step = 8;
SELECT count(*) FROM standard JOIN four USING (key, value) JOIN plain USING (key, value) JOIN zip USING (key, value);
DROP TABLE standard;
DROP TABLE four;
INSERT INTO zip(zip) VALUES ('settle');
INSERT INTO sizes SELECT 9, sum(bytes) FROM fastkv_levels('zip');
SELECT * FROM grown WHERE step = 9;
SELECT count(*) FROM zip;
