-- A page about the fastkv tables of a database, to look at.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/dashboard.sql

.mode list
.headers off

-- All fastkv tables, with the names that the statistics go by.
CREATE TEMP VIEW fastkv_tables AS
SELECT name FROM sqlite_schema
WHERE type = 'table' AND rootpage = 0 AND sql LIKE 'CREATE VIRTUAL TABLE%USING fastkv%'
  AND sql NOT LIKE '%USING fastkv\_%' ESCAPE '\';

-- What the store says: it is the same for all tables.
CREATE TEMP TABLE fastkv_now AS
SELECT s.name, s.value FROM (SELECT min(name) AS name FROM fastkv_tables GROUP BY 1 = 1) AS t, fastkv_stats(t.name) AS s;

CREATE TEMP TABLE fastkv_bars AS   -- 0 to 24 blocks
WITH RECURSIVE bar(n, text) AS (SELECT 0, '' UNION ALL SELECT n + 1, text || '█' FROM bar WHERE n < 24)
SELECT n, text || substr('························', n + 1) AS text FROM bar;

CREATE TEMP VIEW fastkv_page(line, text) AS
WITH
  stat(name, value) AS (SELECT name, value FROM fastkv_now),
  one(puts, gets, seeks, rows, skipped, hits, misses, rate, flushes, compactions, stall,
      write_amp, read_amp, space_amp, disk, logged, memtable, cached, capacity) AS (
    SELECT max(value) FILTER (WHERE name = 'last_sequence'),
           max(value) FILTER (WHERE name = 'gets'),
           max(value) FILTER (WHERE name = 'seeks'),
           max(value) FILTER (WHERE name = 'rows_read'),
           max(value) FILTER (WHERE name = 'entries_skipped'),
           max(value) FILTER (WHERE name = 'cache_hits'),
           max(value) FILTER (WHERE name = 'cache_misses'),
           max(value) FILTER (WHERE name = 'cache_hit_rate'),
           max(value) FILTER (WHERE name = 'flushes'),
           max(value) FILTER (WHERE name = 'compactions'),
           max(value) FILTER (WHERE name = 'stall_us'),
           max(value) FILTER (WHERE name = 'write_amplification'),
           max(value) FILTER (WHERE name = 'read_amplification'),
           max(value) FILTER (WHERE name = 'space_amplification'),
           max(value) FILTER (WHERE name = 'disk_bytes'),
           max(value) FILTER (WHERE name = 'log_bytes'),
           max(value) FILTER (WHERE name = 'memtable_bytes'),
           max(value) FILTER (WHERE name = 'cache_bytes'),
           max(value) FILTER (WHERE name = 'cache_capacity')
    FROM stat),
  tables(name, rows, bytes) AS (
    SELECT t.name, max(s.value) FILTER (WHERE s.name = 'table_rows'),
           max(s.value) FILTER (WHERE s.name = 'table_bytes')
    FROM fastkv_tables AS t, fastkv_stats(t.name) AS s GROUP BY t.name),
  levels(level, files, bytes, entries) AS (
    SELECT level, files, bytes, entries
    FROM (SELECT min(name) AS name FROM fastkv_tables GROUP BY 1 = 1) AS t, fastkv_levels(t.name)
    WHERE files > 0)
SELECT 0, 'fastkv ' || fastkv_version() || ', '
       || CASE (SELECT count(*) FROM fastkv_tables)
            WHEN 0 THEN 'and no fastkv table in this database'
            WHEN 1 THEN '1 table' ELSE (SELECT count(*) FROM fastkv_tables) || ' tables' END
UNION ALL
SELECT 10, '' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 11, 'TABLES                                             rows, about        MB' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 12, printf('  %-20s %s %14d %9.2f', substr(tables.name, 1, 20), b.text, rows, bytes / 1e6)
FROM tables JOIN fastkv_bars AS b
  ON b.n = CAST(24.0 * bytes / max(1, (SELECT max(bytes) FROM tables)) + 0.5 AS INTEGER)
UNION ALL
SELECT 20, '' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 21, 'LEVELS                                                  entries        MB  files'
FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 22, printf('  %-20s %s %14s %9.2f', 'memory', b.text, '', memtable / 1e6)
FROM one JOIN fastkv_bars AS b
  ON b.n = CAST(24.0 * memtable / max(1, memtable, (SELECT max(bytes) FROM levels)) + 0.5 AS INTEGER)
UNION ALL
SELECT 23 + level, printf('  %-20s %s %14d %9.2f %6d', 'level ' || level, b.text, entries, bytes / 1e6, files)
FROM levels JOIN one JOIN fastkv_bars AS b
  ON b.n = CAST(24.0 * bytes / max(1, memtable, (SELECT max(bytes) FROM levels)) + 0.5 AS INTEGER)
UNION ALL
SELECT 40, '' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 41, printf('CACHE     hit rate   %s %13.1f%%  %d of %d blocks asked for', b.text, 100 * rate, hits, hits + misses)
FROM one JOIN fastkv_bars AS b ON b.n = CAST(24 * rate + 0.5 AS INTEGER)
UNION ALL
SELECT 42, printf('          filled     %s %13.1f%%  %.1f of %.1f MB', b.text, 100.0 * cached / capacity, cached / 1e6, capacity / 1e6)
FROM one JOIN fastkv_bars AS b ON b.n = CAST(24.0 * cached / capacity + 0.5 AS INTEGER)
UNION ALL
SELECT 50, '' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 51, printf('DISK      %.2f MB, of it the log %.2f MB', disk / 1e6, logged / 1e6) FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 52, printf('          space  %5.2f   bytes on disk for each byte of the largest level', space_amp) FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 53, printf('          write  %5.2f   bytes written for each byte put, since it was opened', write_amp) FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 54, printf('          read   %5d   places that a range query merges', read_amp) FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 55, '' FROM one WHERE gets + puts > 100000
UNION ALL -- (a few operations say little)
SELECT 56, 'LATENCY                 half within  99 in 100 within' FROM one WHERE gets + puts > 100000
UNION ALL
SELECT 57 + (kind = 'seek') + 2 * (kind = 'commit'),
       printf('          %-8s %11.1f µs %15.1f µs', iif(kind = 'get', 'point', iif(kind = 'seek', 'range', kind)),
              max(value) FILTER (WHERE part = 'p50') / 1e3, max(value) FILTER (WHERE part = 'p99') / 1e3)
FROM (SELECT substr(name, 1, instr(name, '_') - 1) AS kind, substr(name, instr(name, '_') + 1, 3) AS part, value
      FROM stat WHERE name GLOB '*_p[59][09]_ns'), one
WHERE gets + puts > 100000 GROUP BY kind
UNION ALL
SELECT 60, '' FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 61, printf('WORK      %d writes in its life', puts) FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 62, printf('          %d point reads, %d range reads of %d rows (and %d deleted or expired ones passed over)', gets, seeks, rows, skipped)
FROM one WHERE disk IS NOT NULL
UNION ALL
SELECT 63, printf('          %d flushes, %d compactions, writers held back for %.1f ms', flushes, compactions, stall / 1e3)
FROM one WHERE disk IS NOT NULL;

SELECT text FROM fastkv_page ORDER BY line;

DROP VIEW fastkv_page;
DROP TABLE fastkv_bars;
DROP TABLE fastkv_now;
DROP VIEW fastkv_tables;
