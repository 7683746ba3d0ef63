-- Options: changed while the table is in use, part of the transaction, kept.
CREATE VIRTUAL TABLE kv USING fastkv(key, value);
CREATE VIRTUAL TABLE other USING fastkv(key, value, durability = none);
CREATE VIEW own AS SELECT k, v FROM kv_meta WHERE k NOT IN ('uuid', 'space', 'format');
CREATE VIEW others AS SELECT k, v FROM other_meta WHERE k NOT IN ('uuid', 'space', 'format');
SELECT * FROM own;
SELECT * FROM others;

-- durability and ttl are the table's.
INSERT INTO kv(kv) VALUES ('ttl=100');
INSERT INTO kv(kv) VALUES ('  Durability = SYNC ');
INSERT INTO kv VALUES ('a', 1);
INSERT INTO other VALUES ('a', 1);
SELECT ttl > 50 FROM kv;
SELECT ttl FROM other;
SELECT * FROM own;
SELECT * FROM others;

-- memory, block_size and bloom_bits concern the store, which all tables share: the last word holds.
INSERT INTO kv(kv) VALUES ('memory=64MB');
INSERT INTO other(other) VALUES ('compression=zlib:6'), ('block_size=16KB'), ('bloom_bits=12');
SELECT * FROM own;
CREATE VIRTUAL TABLE third USING fastkv(key, value, memory = '32 MB');
SELECT * FROM others;
INSERT INTO other SELECT printf('%04d', value), 'the same text over and over' FROM generate_series(1, 5000);
INSERT INTO other(other) VALUES ('settle');
SELECT value < 60000 FROM fastkv_stats('other') WHERE name = 'level1_bytes';
SELECT value <= 32 * 1024 * 1024 FROM fastkv_stats('other') WHERE name = 'cache_capacity';

-- New files are written by the new options.
INSERT INTO other(other) VALUES ('compression=none');
REPLACE INTO other SELECT printf('%04d', value), 'the same text over and over' FROM generate_series(1, 5000);
INSERT INTO other(other) VALUES ('settle');
SELECT value > 100000 FROM fastkv_stats('other') WHERE name = 'level1_bytes';
SELECT count(*), count(DISTINCT value) FROM other;

-- ROLLBACK, also to a savepoint; statements that fail.
DELETE FROM kv;
BEGIN;
INSERT INTO kv(kv) VALUES ('ttl=1000');
SAVEPOINT s;
INSERT INTO kv(kv) VALUES ('ttl=none');
INSERT INTO kv VALUES ('never', 1);
ROLLBACK TO s;
INSERT INTO kv VALUES ('1000', 1);
SELECT key, ttl > 900 FROM kv;
ROLLBACK;
INSERT INTO kv VALUES ('100', 1);
INSERT INTO kv(kv) VALUES ('ttl=5'), ('ttl=soon');
INSERT INTO kv VALUES ('still 100', 1);
SELECT key, ttl BETWEEN 50 AND 100 FROM kv;
SELECT v FROM own WHERE k = 'ttl';

-- What is wrong is named.
INSERT INTO kv(kv) VALUES ('colour=red');
INSERT INTO kv(kv) VALUES ('=red');
INSERT INTO kv(kv) VALUES ('memory=');
INSERT INTO kv(kv) VALUES ('memory=5');
INSERT INTO kv(kv) VALUES ('compression=zlib:10');
INSERT INTO kv(kv) VALUES ('compression=lz4:1');
INSERT INTO kv(kv) VALUES ('durability=maybe');
INSERT INTO kv(kv) VALUES ('path=/tmp/x');
INSERT INTO kv(kv, arg) VALUES ('ttl=5', 'x');

-- After reopening; a table that is renamed keeps its own.
DROP VIEW own;
ALTER TABLE kv RENAME TO kept;
.open test.db
.load ./fastkv
INSERT INTO kept VALUES ('new', 1);
SELECT key, ttl BETWEEN 50 AND 100 FROM kept;
SELECT k, v FROM kept_meta WHERE k NOT IN ('uuid', 'space', 'format');
INSERT INTO kept(kept) VALUES ('ttl=none');
REPLACE INTO kept VALUES ('new', 2);
SELECT key, ttl IS NULL FROM kept;
