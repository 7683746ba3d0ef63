-- Counters, rate limits, locks and a cache: what one does with small rows that expire.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/ratelimit.sql

DROP TABLE IF EXISTS hits;
DROP TABLE IF EXISTS cache;
CREATE VIRTUAL TABLE hits USING fastkv(key TEXT, n INTEGER);
CREATE VIRTUAL TABLE cache USING fastkv(key TEXT, answer, ttl = 300);

-- A rate limit: three requests a minute for each address. The first one makes the row and gives it
-- its minute; the row counts until the minute is over, and is gone then.
WITH request(address) AS (VALUES ('10.0.0.1'), ('10.0.0.1'), ('10.0.0.2'), ('10.0.0.1'), ('10.0.0.1'))
SELECT address, iif(fastkv_incr('hits', 'rate:' || address, 1, 60) <= 3, 'served', 'too many requests') AS answer
FROM request;
SELECT key, n, ttl > 0 AND ttl <= 60 AS in_its_minute FROM hits;

-- Counters without an end.
SELECT fastkv_incr('hits', 'visits', 1), fastkv_incr('hits', 'visits', 10), fastkv_incr('hits', 'visits', -1);

-- A lock that its holder may lose: it expires, so a holder that died does not keep it.
SELECT fastkv_cas('cache', 'lock:report', NULL, 'worker 1') AS worker_1,
       fastkv_cas('cache', 'lock:report', NULL, 'worker 2') AS worker_2;
UPDATE cache SET ttl = 30 WHERE key = 'lock:report' AND answer = 'worker 1';
SELECT fastkv_cas('cache', 'lock:report', 'worker 2', NULL) AS not_his,
       fastkv_cas('cache', 'lock:report', 'worker 1', NULL) AS given_back;

-- A cache: what is not there, or too old, is made anew.
SELECT coalesce(fastkv_get('cache', 'page:/'), 'not cached');
REPLACE INTO cache VALUES ('page:/', '<html>…</html>');
SELECT coalesce(fastkv_get('cache', 'page:/'), 'not cached');
REPLACE INTO cache(key, answer, ttl) VALUES ('page:/news', '<html>old</html>', 0);
SELECT coalesce(fastkv_get('cache', 'page:/news'), 'not cached');

-- What a change makes invalid goes by its prefix.
INSERT INTO cache(cache, arg) VALUES ('delete-prefix', 'page:');
SELECT count(*) FROM cache;
