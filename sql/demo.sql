-- What `make demo` asks the table of files it has filled. Anyone can go on from there:
--
--     sqlite3 build/demo/demo.db -cmd '.load build/fastkv'

-- One file by its name: a point lookup.
SELECT path, size, datetime(mtime, 'unixepoch') AS modified
FROM files WHERE path = '/usr/bin/bash';

-- All below a folder: GLOB with a fixed beginning reads this prefix and nothing else.
SELECT count(*) AS files, sum(size) / 1000000 AS megabytes, max(size) AS largest
FROM files WHERE path GLOB '/usr/lib/*';

-- A range of names, in order.
SELECT path, size FROM files
WHERE path >= '/usr/share/doc/a' AND path < '/usr/share/doc/c' LIMIT 5;

-- The same order backwards: the last names of all, found from the end.
SELECT path FROM files ORDER BY path DESC LIMIT 3;

-- The heaviest folders: a scan of the whole table.
WITH folders AS (
  SELECT path, size, instr(substr(path, 6), '/') AS slash FROM files
)
SELECT substr(path, 1, slash + 4) AS folder, count(*) AS files, sum(size) / 1000000 AS megabytes
FROM folders WHERE slash > 0 GROUP BY folder ORDER BY sum(size) DESC LIMIT 6;

-- A join with a native table: one point lookup for each of its rows.
CREATE TABLE programs(name TEXT PRIMARY KEY, what TEXT);
INSERT INTO programs VALUES
  ('bash', 'a shell'), ('cp', 'copies files'), ('grep', 'finds lines'), ('ls', 'lists files'),
  ('sed', 'edits streams'), ('tar', 'packs archives');
SELECT name, what, size, date(mtime, 'unixepoch') AS modified
FROM programs JOIN files ON files.path = '/usr/bin/' || programs.name ORDER BY name;

-- A transaction over both tables, taken back: nothing has happened.
BEGIN;
DELETE FROM files WHERE path GLOB '/usr/share/*';
DELETE FROM programs;
SELECT (SELECT count(*) FROM files) AS files, (SELECT count(*) FROM programs) AS programs;
ROLLBACK;
SELECT (SELECT count(*) FROM files) AS files, (SELECT count(*) FROM programs) AS programs;
