-- Everything that is refused, and in which words.
CREATE VIRTUAL TABLE t USING fastkv(a, b, a);
CREATE VIRTUAL TABLE t USING fastkv(a, t);
CREATE VIRTUAL TABLE t USING fastkv(a, arg);
CREATE VIRTUAL TABLE t USING fastkv(a, ttl);
CREATE VIRTUAL TABLE t USING fastkv(a TEXT COLLATE NOCASE);
CREATE VIRTUAL TABLE t USING fastkv(a CHECK (a > 1));
CREATE VIRTUAL TABLE t USING fastkv(a, b UNIQUE);
CREATE VIRTUAL TABLE t USING fastkv(a, b REFERENCES x(y));
CREATE VIRTUAL TABLE t USING fastkv(a, b GENERATED ALWAYS AS (a + 1));
CREATE VIRTUAL TABLE t USING fastkv(a, b AS (a + 1));
CREATE VIRTUAL TABLE t USING fastkv(a, FOREIGN KEY (a) REFERENCES x(y));
CREATE VIRTUAL TABLE t USING fastkv(a, UNIQUE (a));
CREATE VIRTUAL TABLE t USING fastkv(a, CHECK (a > 1));
CREATE VIRTUAL TABLE t USING fastkv(a PRIMARY KEY DESC);
CREATE VIRTUAL TABLE t USING fastkv(a INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE VIRTUAL TABLE t USING fastkv(a PRIMARY KEY ON CONFLICT REPLACE);
CREATE VIRTUAL TABLE t USING fastkv(a PRIMARY KEY, b PRIMARY KEY);
CREATE VIRTUAL TABLE t USING fastkv(a, b, PRIMARY KEY (c));
CREATE VIRTUAL TABLE t USING fastkv(a, b, PRIMARY KEY (a, a));
CREATE VIRTUAL TABLE t USING fastkv(PRIMARY KEY (a));
CREATE VIRTUAL TABLE t USING fastkv(a HIDDEN);
CREATE VIRTUAL TABLE t USING fastkv(a DEFAULT (1 + 1));
CREATE VIRTUAL TABLE t USING fastkv(a DEFAULT CURRENT_TIME);
CREATE VIRTUAL TABLE t USING fastkv(a DEFAULT 12zz);
CREATE VIRTUAL TABLE t USING fastkv(a NOT);
CREATE VIRTUAL TABLE t USING fastkv(a DECIMAL(10) 5);
CREATE VIRTUAL TABLE t USING fastkv(compresion = lz4);
CREATE VIRTUAL TABLE t USING fastkv(compression = brotli);
CREATE VIRTUAL TABLE t USING fastkv(durability = 'maybe');
CREATE VIRTUAL TABLE t USING fastkv(memory = lots);
CREATE VIRTUAL TABLE t USING fastkv(block_size = 1);
CREATE VIRTUAL TABLE t USING fastkv(bloom_bits = -1);
CREATE VIRTUAL TABLE t USING fastkv(memory =);
CREATE VIRTUAL TABLE t USING fastkv(path = '/tmp/x');
SELECT name FROM sqlite_schema;
CREATE VIRTUAL TABLE t USING fastkv(/* comment */ a -- more
  TEXT, b, memory = '64MB', durability = 'background', block_size = 8192, bloom_bits = 0);
SELECT k, v FROM t_meta WHERE k <> 'uuid';
INSERT INTO t(t) VALUES ('defragment');
INSERT INTO t(t, arg) VALUES ('flush', 'x');
INSERT INTO t(t) VALUES ('delete-prefix');
SELECT * FROM fastkv_stats('nothing');
SELECT * FROM fastkv_stats;
INSERT INTO fastkv_txn VALUES (1);
INSERT INTO t VALUES ('a', 1) ON CONFLICT DO NOTHING;
CREATE TABLE x_meta(a);
CREATE VIRTUAL TABLE x USING fastkv;
SELECT name FROM sqlite_schema ORDER BY name;
-- A store that is missing, and one that belongs to another database.
INSERT INTO t VALUES ('a', 1);
.open other.db
.load ./fastkv
CREATE VIRTUAL TABLE o USING fastkv;
INSERT INTO o VALUES (1, 1);
.open first.db
.shell mv test.db-fastkv kept
.open test.db
.load ./fastkv
SELECT * FROM t;
INSERT INTO t VALUES ('b', 2);
SELECT count(*) FROM x_meta;
PRAGMA table_info(t);
.shell cp -r other.db-fastkv test.db-fastkv
.shell sqlite3 -batch test.db -cmd '.load ./fastkv' 'SELECT * FROM t' 2>&1 | sed -E s/[0-9a-f]{32}/ID/g
-- Such a table can still be dropped; a new one cannot be put on rows that are somebody else's.
.open first.db
.open test.db
.load ./fastkv
BEGIN;
DROP TABLE t;
ROLLBACK;
DROP TABLE t;
SELECT name FROM sqlite_schema;
CREATE VIRTUAL TABLE t USING fastkv;
.shell rm -r test.db-fastkv
.open first.db
.open test.db
.load ./fastkv
CREATE VIRTUAL TABLE t USING fastkv;
SELECT count(*) FROM t;
