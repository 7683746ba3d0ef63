-- A session store: JSON documents below the keys session:<id>, each with a time to live, beside a
-- native table of users.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/sessions.sql

DROP TABLE IF EXISTS sessions;
DROP TABLE IF EXISTS users;
CREATE VIRTUAL TABLE sessions USING fastkv(id TEXT, data TEXT NOT NULL, ttl = 7200);  -- two hours
CREATE TABLE users(user_id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO users VALUES (1234, 'Alice Smith'), (1235, 'Bob Jones'), (1236, 'Carol White');

-- Log in: one blind write, no question asked. The last one ticks "remember me": a month.
REPLACE INTO sessions VALUES ('session:abc123', json_object('user_id', 1234, 'pages', 0));
REPLACE INTO sessions VALUES ('session:def456', json_object('user_id', 1235, 'pages', 0));
REPLACE INTO sessions(id, data, ttl)
  VALUES ('session:ghi789', json_object('user_id', 1234, 'pages', 0), 30 * 86400);

-- A request comes with its session: who is it, and for how many minutes more?
SELECT users.name, round(sessions.ttl / 60) AS minutes
FROM sessions JOIN users ON users.user_id = sessions.data ->> 'user_id'
WHERE sessions.id = 'session:abc123';

-- The document changes, its life goes on as it was.
UPDATE sessions SET data = json_set(data, '$.pages', 7) WHERE id = 'session:abc123';
SELECT data, round(ttl / 60) AS minutes FROM sessions WHERE id = 'session:abc123';

-- Every request gives the session another hour from now.
UPDATE sessions SET ttl = 3600 WHERE id = 'session:abc123';
SELECT round(ttl / 60) AS minutes FROM sessions WHERE id = 'session:abc123';

-- Who is logged in, and how often?
SELECT users.name, count(sessions.id) AS open_sessions
FROM users LEFT JOIN sessions ON sessions.data ->> 'user_id' = users.user_id
GROUP BY users.user_id ORDER BY users.user_id;

-- A session that has run out is not there: nobody has to sweep, and its key is free.
UPDATE sessions SET ttl = 0 WHERE id = 'session:def456';
SELECT count(*) FROM sessions WHERE id = 'session:def456';
INSERT INTO sessions VALUES ('session:def456', json_object('user_id', 1236, 'pages', 0));
SELECT id, data ->> 'user_id' AS user, round(ttl / 3600) AS hours FROM sessions ORDER BY id;

-- A session that ends at a given moment: midnight of a day far away.
UPDATE sessions SET expires_at = unixepoch('2099-01-01') WHERE id = 'session:ghi789';
SELECT datetime(expires_at, 'unixepoch') AS until FROM sessions WHERE id = 'session:ghi789';

-- Log out everywhere, together with a change to a native table, or not at all.
BEGIN;
DELETE FROM sessions WHERE data ->> 'user_id' = 1234;
UPDATE users SET name = 'Alice Smith (left)' WHERE user_id = 1234;
COMMIT;
SELECT count(*) FROM sessions;
SELECT name FROM users WHERE user_id = 1234;
