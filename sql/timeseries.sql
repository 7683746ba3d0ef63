-- Time series: one row per sensor and moment, kept in that order by a composite key.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/timeseries.sql
--
-- oracle: native

DROP TABLE IF EXISTS metrics;
DROP TABLE IF EXISTS readings;

-- The simplest form: the time is in the key, and text that is written like this sorts by time.
CREATE VIRTUAL TABLE metrics USING fastkv;
REPLACE INTO metrics VALUES
  ('metrics:2024-01-01T10:00:00', '{"cpu": 45, "mem": 60}'),
  ('metrics:2024-01-01T10:01:00', '{"cpu": 50, "mem": 62}'),
  ('metrics:2024-01-01T10:02:00', '{"cpu": 48, "mem": 61}'),
  ('metrics:2024-01-01T11:00:00', '{"cpu": 12, "mem": 58}');
SELECT key, value ->> 'cpu' AS cpu FROM metrics
WHERE key BETWEEN 'metrics:2024-01-01T10:00:00' AND 'metrics:2024-01-01T10:59:59';

-- With columns: a day of readings, one a minute from three sensors.
CREATE VIRTUAL TABLE readings USING fastkv(
  sensor TEXT, at INTEGER, temperature REAL,
  PRIMARY KEY (sensor, at)
);
INSERT INTO readings
WITH RECURSIVE minute(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM minute WHERE n < 1439)
SELECT sensor.column1, 1704067200 + 60 * n, sensor.column2 + (n * 7919 % 100) / 10.0
FROM minute, (VALUES ('cellar', 8.0), ('kitchen', 19.0), ('roof', -3.0)) AS sensor;
SELECT count(*) FROM readings;

-- An hour of one sensor is one range of keys.
SELECT count(*), min(temperature), max(temperature), round(avg(temperature), 3)
FROM readings WHERE sensor = 'kitchen' AND at BETWEEN 1704100200 AND 1704103799;

-- The latest reading of a sensor is the last row of its range.
SELECT datetime(at, 'unixepoch') AS at, temperature
FROM readings WHERE sensor = 'roof' ORDER BY at DESC LIMIT 1;

-- The latest of every sensor, the sensors coming from a native table.
CREATE TEMP TABLE sensors(name TEXT PRIMARY KEY, place TEXT);
INSERT INTO sensors VALUES ('cellar', 'below'), ('kitchen', 'inside'), ('roof', 'outside');
SELECT name, place,
       (SELECT temperature FROM readings WHERE sensor = name ORDER BY at DESC LIMIT 1) AS latest
FROM sensors ORDER BY name;

-- Down-sampling: six hours to a row.
SELECT time((at / 21600) * 21600, 'unixepoch') AS starting, count(*) AS readings,
       round(avg(temperature), 2) AS mean
FROM readings WHERE sensor = 'cellar' GROUP BY at / 21600 ORDER BY at / 21600;

-- Old readings go range by range.
DELETE FROM readings WHERE sensor = 'roof' AND at < 1704067200 + 12 * 3600;
SELECT sensor, count(*) FROM readings GROUP BY sensor ORDER BY sensor;
