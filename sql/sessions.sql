-- A session store: JSON documents below the keys session:<id>, beside a native table of users.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/sessions.sql
--
-- oracle: native

DROP TABLE IF EXISTS sessions;
DROP TABLE IF EXISTS users;
CREATE VIRTUAL TABLE sessions USING fastkv(id TEXT, data TEXT NOT NULL);
CREATE TABLE users(user_id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO users VALUES (1234, 'Alice Smith'), (1235, 'Bob Jones'), (1236, 'Carol White');

-- Log in: one blind write, no question asked.
REPLACE INTO sessions VALUES ('session:abc123', json_object(
  'user_id', 1234, 'login_time', '2024-01-01T10:00:00', 'expires', '2024-01-01T12:00:00'));
REPLACE INTO sessions VALUES ('session:def456', json_object(
  'user_id', 1235, 'login_time', '2024-01-01T10:30:00', 'expires', '2024-01-01T12:30:00'));
REPLACE INTO sessions VALUES ('session:ghi789', json_object(
  'user_id', 1234, 'login_time', '2024-01-01T11:45:00', 'expires', '2024-01-01T13:45:00'));

-- A request comes with its session: who is it?
SELECT users.name, sessions.data ->> 'expires' AS expires
FROM sessions JOIN users ON users.user_id = sessions.data ->> 'user_id'
WHERE sessions.id = 'session:abc123';

-- The session goes on for another hour; the rest of the document stays.
UPDATE sessions
SET data = json_set(data, '$.expires', '2024-01-01T13:00:00', '$.pages', 7)
WHERE id = 'session:abc123';
SELECT data FROM sessions WHERE id = 'session:abc123';

-- Who is logged in, and how often?
SELECT users.name, count(sessions.id) AS open_sessions
FROM users LEFT JOIN sessions ON sessions.data ->> 'user_id' = users.user_id
GROUP BY users.user_id ORDER BY users.user_id;

-- Sweep: at half past twelve one session has run out.
DELETE FROM sessions WHERE data ->> 'expires' <= '2024-01-01T12:30:00';
SELECT changes() AS swept;
SELECT id, data ->> 'expires' AS expires FROM sessions ORDER BY id;

-- Log out everywhere, together with a change to a native table, or not at all.
BEGIN;
DELETE FROM sessions WHERE data ->> 'user_id' = 1234;
UPDATE users SET name = 'Alice Smith (left)' WHERE user_id = 1234;
COMMIT;
SELECT count(*) FROM sessions;
SELECT name FROM users WHERE user_id = 1234;
