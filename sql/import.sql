-- Import: JSON pairs, JSON objects, lines of JSON, CSV. Each is one statement, so all or nothing.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/import.sql
--
-- readfile() belongs to the sqlite3 shell; a program binds the text of the file instead. The sample
-- files are made here and removed at the end.

DROP TABLE IF EXISTS kv;
DROP TABLE IF EXISTS cities;
CREATE VIRTUAL TABLE kv USING fastkv;

-- An array of [key, value]: any JSON may be a value. ->> gives text and numbers as they are, and
-- arrays and objects as JSON.
SELECT writefile('import.sample', '[["user:1", {"name": "Alice", "tags": ["a", "b"]}],
  ["user:2", "Bob"], ["answer", 42], ["pi", 3.14], ["yes", true], ["nothing", null],
  ["user:2", "Bob, again: the last one wins"], ["unicode", "Gr\u00fc\u00dfe \ud83d\ude00"]]') > 0;
REPLACE INTO kv SELECT value ->> 0, value ->> 1 FROM json_each(readfile('import.sample'));
SELECT changes() AS loaded;
SELECT key, typeof(value), value FROM kv;
SELECT value ->> '$.tags[1]' FROM kv WHERE key = 'user:1';

-- An object of keys.
SELECT writefile('import.sample', '{"config:theme": "dark", "config:limits": {"cpu": 2, "mem": [1, 2]}}') > 0;
REPLACE INTO kv SELECT key, value FROM json_each(readfile('import.sample'));
SELECT changes() AS loaded;
SELECT key, value FROM kv WHERE key GLOB 'config:*';

-- Lines of JSON. A line holds no line break, so the lines are the elements of an array.
SELECT writefile('import.sample', '{"id": 7, "name": "Ulm", "people": 126000}
{"id": 8, "name": "New\nYork", "people": 8400000}
{"id": 9, "name": "Bonn"}
') > 0;
CREATE VIRTUAL TABLE cities USING fastkv(id INTEGER, name TEXT, people INTEGER);
REPLACE INTO cities
SELECT value ->> 'id', value ->> 'name', value ->> 'people'
FROM json_each('[' || replace(trim(readfile('import.sample'), char(10, 13, 32)), char(10), ',') || ']');
SELECT changes() AS loaded;
SELECT id, replace(name, char(10), ' '), people FROM cities;

-- CSV: .import, in one transaction; --skip 1 leaves out the line with the names.
SELECT writefile('import.sample', 'id,name,people
8,"York, ""New""",8400001
10,Trier,111000
') > 0;
BEGIN;
DELETE FROM cities WHERE id = 8;
.import --csv --skip 1 import.sample cities
COMMIT;
SELECT id, name, people, typeof(people) FROM cities;

-- What is wrong in a file spoils nothing: the statement is undone as a whole.
SELECT writefile('import.sample', '[["a", 1], ["b", 2], [null, 3]]') > 0;
REPLACE INTO kv SELECT value ->> 0, value ->> 1 FROM json_each(readfile('import.sample'));
SELECT writefile('import.sample', '[["a", 1], ["b", 2') > 0;
REPLACE INTO kv SELECT value ->> 0, value ->> 1 FROM json_each(readfile('import.sample'));
SELECT count(*) FROM kv WHERE key IN ('a', 'b');

-- And out again, as the same array of pairs, and as an object.
SELECT json_group_array(json_array(key, value)) FROM (SELECT key, value FROM kv WHERE key < 'user:1' AND key > 'c');
SELECT json_group_object(id, name) FROM (SELECT id, name FROM cities WHERE id > 8);
.shell rm -f import.sample
