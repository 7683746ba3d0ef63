-- A queue: rows come in at one end and are taken away at the other.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/queue.sql
--
-- The key decides who is next: the queue's name, a priority, a number that grows.

DROP TABLE IF EXISTS queue;
DROP TABLE IF EXISTS done;
CREATE VIRTUAL TABLE queue USING fastkv(key TEXT, job);
CREATE TABLE done(key TEXT PRIMARY KEY, job);

-- Push. The number comes from a counter in the same table.
INSERT INTO queue SELECT printf('mail:5:%08d', fastkv_incr('queue', 'number', 1)), 'letter to ' || value
FROM json_each('["Alice", "Bob", "Carol", "Dora"]');
INSERT INTO queue VALUES (printf('mail:1:%08d', fastkv_incr('queue', 'number', 1)), 'urgent: to Emil');

-- Peek.
SELECT key, job FROM queue WHERE key GLOB 'mail:*' ORDER BY key LIMIT 2;

-- Pop one, pop two.
SELECT key, value FROM fastkv_pop('queue', 'mail:');
SELECT key, value FROM fastkv_pop('queue', 'mail:', 2);

-- Take a job and write down what came of it, both or neither: if the worker dies or gives up, the
-- job is still there.
BEGIN IMMEDIATE;
INSERT INTO done SELECT key, value FROM fastkv_pop('queue', 'mail:');
SELECT count(*) AS in_hand FROM done;
ROLLBACK;
SELECT count(*) AS still_waiting FROM queue WHERE key GLOB 'mail:*';
BEGIN IMMEDIATE;
INSERT INTO done SELECT key, value FROM fastkv_pop('queue', 'mail:');
COMMIT;
SELECT * FROM done;

-- A job for later: it waits under the moment when it is due.
INSERT INTO queue VALUES ('later:' || strftime('%Y-%m-%dT%H:%M', 'now', '+1 hour'), 'remind Frank');
INSERT INTO queue VALUES ('later:2020-01-01T00:00', 'remind Grete');
SELECT job FROM queue
WHERE key >= 'later:' AND key <= 'later:' || strftime('%Y-%m-%dT%H:%M', 'now') ORDER BY key;

-- Empty the queue.
SELECT count(*) AS taken FROM fastkv_pop('queue', 'mail:', 1000);
SELECT count(*) AS left FROM queue WHERE key GLOB 'mail:*';
