-- fastkv_recover by its mistakes; and the table by which SQLite tells us of the end of a read.
CREATE VIRTUAL TABLE kv USING fastkv;
INSERT INTO kv VALUES ('a', 1), ('b', 2);
SELECT count(*) FROM kv;

SELECT * FROM fastkv_recover(NULL);
SELECT * FROM fastkv_recover('saved', 'temp');
SELECT * FROM fastkv_recover('saved', 'nowhere');
BEGIN;
SELECT * FROM fastkv_recover('saved');
COMMIT;
INSERT INTO kv(kv) VALUES ('flush');
SELECT severity, rows FROM fastkv_recover('saved') WHERE rows > 0;
SELECT * FROM fastkv_recover('saved');

-- nothing is in it, whoever looks
SELECT count(*), max(rowid) FROM temp.fastkv_reader;
SELECT * FROM temp.fastkv_reader;
SELECT * FROM kv ORDER BY key;
