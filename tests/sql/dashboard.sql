-- sql/dashboard.sql, on a database that has something to show.
CREATE VIRTUAL TABLE sessions USING fastkv(key, value, compression = none);
CREATE VIRTUAL TABLE readings USING fastkv(sensor, at, value, PRIMARY KEY (sensor, at));
CREATE VIRTUAL TABLE empty USING fastkv;
INSERT INTO sessions SELECT printf('s%08d', value), 'data ' || value FROM generate_series(1, 20000);
INSERT INTO sessions(sessions) VALUES ('settle');
INSERT INTO sessions(sessions) VALUES ('compact');
INSERT INTO readings SELECT value % 10, value, value FROM generate_series(1, 5000);
SELECT count(*) FROM sessions WHERE key < 's00001000';
SELECT sum(length(fastkv_get('sessions', printf('s%08d', value * 37)))) FROM generate_series(1, 500);
.shell sleep 0.3
.read sql/dashboard.sql
-- It leaves nothing behind.
SELECT name FROM sqlite_temp_schema WHERE name <> 'fastkv_reader';
