-- fastkv_stats, fastkv_levels, fastkv_stats_json.
CREATE VIRTUAL TABLE kv USING fastkv(key, value);
CREATE VIRTUAL TABLE other USING fastkv(key, value);
INSERT INTO kv SELECT value, 'a value' FROM generate_series(1, 1000);
SELECT name, value FROM fastkv_stats('kv')
WHERE name IN ('memtable_entries', 'last_sequence', 'level0_files', 'read_amplification');
INSERT INTO kv(kv) VALUES ('flush');
SELECT name, value FROM fastkv_stats('kv')
WHERE name IN ('memtable_entries', 'table_rows', 'level0_files', 'level0_entries', 'read_amplification', 'space_amplification');
SELECT level, files, bytes > 0, entries FROM fastkv_levels('kv') WHERE files;
INSERT INTO kv(kv) VALUES ('compact');
SELECT level, files, bytes > 0, entries FROM fastkv_levels('main.kv') WHERE files;
SELECT count(*) FROM fastkv_levels('kv');
SELECT count(*) FROM fastkv_jobs('kv');
SELECT count(value) FROM kv WHERE key IN (1, 2, 3);
SELECT value > 0 FROM fastkv_stats('kv') WHERE name IN ('gets', 'cache_misses', 'bytes_put', 'write_amplification', 'disk_bytes');
SELECT value FROM fastkv_stats('other') WHERE name = 'table_rows';

-- The eight members of the seed come first.
SELECT key, type FROM json_each(fastkv_stats_json('kv')) LIMIT 9;
SELECT fastkv_stats_json('kv') ->> '$.total_keys', fastkv_stats_json('kv') -> '$.sstable_stats';
SELECT json_valid(fastkv_stats_json('kv')), fastkv_stats_json('other') ->> '$.table_rows';

-- Arguments may come from a table, and are columns.
CREATE TABLE names(name);
INSERT INTO names VALUES ('kv'), ('other');
SELECT names.name, s.value FROM names, fastkv_stats(names.name) AS s WHERE s.name = 'table_rows';
SELECT "table", level FROM fastkv_levels('kv') LIMIT 1;
SELECT count(*) FROM fastkv_stats;
SELECT * FROM fastkv_levels(NULL);
SELECT fastkv_stats_json('nothing');
