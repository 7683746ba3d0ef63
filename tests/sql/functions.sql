-- fastkv_get, fastkv_incr, fastkv_cas, fastkv_pop.
CREATE VIRTUAL TABLE kv USING fastkv;
CREATE VIRTUAL TABLE two USING fastkv(a TEXT, b INTEGER, v, PRIMARY KEY (a, b));
CREATE VIRTUAL TABLE wide USING fastkv(k, a, b);

-- get: typed as stored; NULL for a missing row, a NULL key, a NULL value.
INSERT INTO kv VALUES ('t', 'text'), ('i', 1), ('r', 1.5), ('b', x'00ff'), ('n', NULL), (5, 'five'), (2.5, 'half');
SELECT fastkv_get('kv', 't'), fastkv_get('main.kv', 'i'), fastkv_get('KV', 'r'), quote(fastkv_get('kv', 'b'));
SELECT fastkv_get('kv', 'n'), fastkv_get('kv', 'missing'), fastkv_get('kv', NULL);
SELECT fastkv_get('kv', 5), fastkv_get('kv', 5.0), fastkv_get('kv', 2.5), fastkv_get('kv', '5');
SELECT typeof(fastkv_get('kv', 'i')), typeof(fastkv_get('kv', 'r')), typeof(fastkv_get('kv', 'b'));
INSERT INTO two VALUES ('x', 1, 'x1'), ('x', 2, 'x2'), ('5', 1, '51');
SELECT fastkv_get('two', 'x', 2), fastkv_get('two', 'x', '2'), fastkv_get('two', 5, 1.0), fastkv_get('two', 'x', 3);
SELECT value, fastkv_get('two', 'x', value) FROM json_each('[1, 2, 3]');

-- It sees the transaction it is in.
BEGIN;
REPLACE INTO kv VALUES ('t', 'mine');
SELECT fastkv_get('kv', 't');
SAVEPOINT s;
DELETE FROM kv WHERE key = 't';
SELECT fastkv_get('kv', 't');
ROLLBACK TO s;
SELECT fastkv_get('kv', 't');
ROLLBACK;
SELECT fastkv_get('kv', 't');

-- incr: a missing key and NULL count as 0; numeric text is a number.
SELECT fastkv_incr('kv', 'hits', 1), fastkv_incr('kv', 'hits', 1), fastkv_incr('kv', 'hits', -5);
SELECT fastkv_incr('kv', 'n', 2), fastkv_incr('kv', 'r', 1), fastkv_incr('kv', 'i', 0.5), fastkv_incr('kv', 'i', '2');
INSERT INTO kv VALUES ('digits', '41'), ('max', 9223372036854775807);
SELECT fastkv_incr('kv', 'digits', 1), typeof(fastkv_get('kv', 'digits')), fastkv_incr('kv', 'max', 1);
SELECT fastkv_incr('two', 'x', 9, 7), fastkv_get('two', 'x', 9);
CREATE VIRTUAL TABLE text USING fastkv(k TEXT, v TEXT);
SELECT fastkv_incr('text', 'a', 1), fastkv_incr('text', 'a', 1.5), typeof(fastkv_get('text', 'a')), fastkv_get('text', 'a');
CREATE VIRTUAL TABLE real USING fastkv(k, v REAL NOT NULL);
SELECT fastkv_incr('real', 1, 1), fastkv_get('real', 1);
SELECT fastkv_incr('kv', 't', 1);
SELECT fastkv_incr('kv', 'b', 1);
SELECT fastkv_incr('kv', 'hits', 'many');
SELECT fastkv_incr('kv', 'hits', NULL);
SELECT fastkv_incr('kv', NULL, 1);
SELECT key, value FROM kv;

-- Several rows, one statement: each call counts.
SELECT sum(fastkv_incr('kv', 'calls', 1)) FROM json_each('[1, 1, 1, 1]');
SELECT fastkv_get('kv', 'calls');

-- A new row gets the ttl; one that is there keeps its moment.
SELECT fastkv_incr('kv', 'window', 1, 60), fastkv_incr('kv', 'window', 1, 6000);
SELECT value, ttl BETWEEN 30 AND 60 FROM kv WHERE key = 'window';
SELECT fastkv_incr('kv', 'gone', 1, 0), fastkv_get('kv', 'gone'), fastkv_incr('kv', 'gone', 1, NULL);
SELECT ttl FROM kv WHERE key = 'gone';
SELECT fastkv_incr('kv', 'bad', 1, 'soon');

-- cas: NULL is no row.
SELECT fastkv_cas('kv', 'lock', NULL, 'me'), fastkv_cas('kv', 'lock', NULL, 'you'), fastkv_get('kv', 'lock');
SELECT fastkv_cas('kv', 'lock', 'you', 'me'), fastkv_cas('kv', 'lock', 'me', 'you'), fastkv_get('kv', 'lock');
SELECT fastkv_cas('kv', 'lock', 'you', NULL), fastkv_get('kv', 'lock'), count(*) FROM kv WHERE key = 'lock';
SELECT fastkv_cas('kv', 'lock', 'you', NULL), fastkv_cas('kv', 'lock', NULL, NULL);
REPLACE INTO kv VALUES ('num', 1), ('null', NULL), ('blob', x'31');
SELECT fastkv_cas('kv', 'num', '1', 2), fastkv_cas('kv', 'num', 1.0, 2), fastkv_cas('kv', 'num', 2, 3.5), fastkv_cas('kv', 'num', 3.5, 4);
SELECT fastkv_cas('kv', 'null', NULL, 1), fastkv_cas('kv', 'blob', '1', 2), fastkv_cas('kv', 'blob', x'31', 2);
SELECT fastkv_cas('text', 'n', NULL, 5), fastkv_cas('text', 'n', 5, 6), fastkv_get('text', 'n');
SELECT fastkv_cas('two', 'x', 1, 'x1', 'new'), fastkv_get('two', 'x', 1);
UPDATE kv SET ttl = 60 WHERE key = 'num';
SELECT fastkv_cas('kv', 'num', 4, 5), ttl BETWEEN 30 AND 60 FROM kv WHERE key = 'num';

-- A key keeps the type it was stored with.
SELECT fastkv_incr('kv', 7, 1), fastkv_incr('kv', 7.0, 1), fastkv_incr('kv', 8.0, 1), fastkv_incr('kv', 8, 1);
SELECT typeof(key), key, value FROM kv WHERE key IN (7, 8);

-- pop: the first rows of a prefix, taken away.
CREATE VIRTUAL TABLE q USING fastkv(key, value);
INSERT INTO q SELECT printf('job:%02d', value), value * value FROM generate_series(1, 9);
INSERT INTO q VALUES ('other', 1), (5, 'number');
SELECT key, value FROM fastkv_pop('q', 'job:');
SELECT key, value FROM fastkv_pop('q', 'job:', 3);
SELECT * FROM fastkv_pop('q', 'none:', 3);
SELECT * FROM fastkv_pop('q', 'job:', 0);
SELECT count(*) FROM q;
SELECT key FROM fastkv_pop('q', 'job:', 100) ORDER BY key DESC;
SELECT key FROM q;
SELECT * FROM fastkv_pop('q', '', 1);
SELECT * FROM fastkv_pop('q', NULL, 10);
SELECT count(*) FROM q;
INSERT INTO q(key, value, ttl) VALUES ('job:1', 'expired', 0), ('job:2', 'lives', 60);
SELECT * FROM fastkv_pop('q', 'job:', 10);

-- All of them join the transaction, and are undone with it.
INSERT INTO q SELECT printf('job:%02d', value), value FROM generate_series(1, 9);
CREATE TABLE done(key, value);
BEGIN;
INSERT INTO done SELECT key, value FROM fastkv_pop('q', 'job:', 2);
SELECT fastkv_incr('kv', 'calls', 100), fastkv_cas('kv', 'lock', NULL, 'txn');
SAVEPOINT s;
INSERT INTO done SELECT key, value FROM fastkv_pop('q', 'job:', 2);
SELECT fastkv_incr('kv', 'calls', 100), fastkv_cas('kv', 'lock', 'txn', NULL);
SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM done), fastkv_get('kv', 'calls'), fastkv_get('kv', 'lock');
ROLLBACK TO s;
SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM done), fastkv_get('kv', 'calls'), fastkv_get('kv', 'lock');
ROLLBACK;
SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM done), fastkv_get('kv', 'calls'), fastkv_get('kv', 'lock');
BEGIN;
INSERT INTO done SELECT key, value FROM fastkv_pop('q', 'job:', 2);
SELECT fastkv_incr('kv', 'calls', 100), fastkv_cas('kv', 'lock', NULL, 'txn');
COMMIT;
SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM done), fastkv_get('kv', 'calls'), fastkv_get('kv', 'lock');

-- Inside a statement that fails half way: what it has done so far is undone with it.
CREATE TABLE once(key PRIMARY KEY);
INSERT INTO once SELECT fastkv_incr('kv', 'calls', 1) / 1000 FROM json_each('[1, 2, 3]');
SELECT fastkv_get('kv', 'calls');
BEGIN;
INSERT INTO kv VALUES ('joined', 1);
INSERT INTO once SELECT fastkv_incr('kv', 'calls', 1) / 1000 FROM json_each('[1, 2, 3]');
SELECT fastkv_get('kv', 'calls');
INSERT OR IGNORE INTO once SELECT fastkv_incr('kv', 'calls', 1) / 1000 FROM json_each('[1, 2, 3]');
SELECT fastkv_get('kv', 'calls');
ROLLBACK;
SELECT fastkv_get('kv', 'calls');

-- In triggers and views.
CREATE TABLE page(url);
CREATE TRIGGER counts AFTER INSERT ON page BEGIN SELECT fastkv_incr('kv', 'page:' || NEW.url, 1); END;
INSERT INTO page VALUES ('/a'), ('/b'), ('/a');
SELECT key, value FROM kv WHERE key GLOB 'page:*';
CREATE VIEW first AS SELECT fastkv_get('kv', 'page:/a') AS value;
SELECT * FROM first;

-- What is wrong is named.
SELECT fastkv_get('kv');
SELECT fastkv_get('kv', 1, 2);
SELECT fastkv_get('two', 'x');
SELECT fastkv_get('wide', 1);
SELECT fastkv_get('page', 1);
SELECT fastkv_get('nowhere', 1);
SELECT fastkv_get(NULL, 1);
SELECT fastkv_incr('kv', 'x');
SELECT fastkv_incr('kv', 'x', 1, 1, 1);
SELECT fastkv_cas('kv', 'x', 1);
SELECT * FROM fastkv_pop('two', 'x');
SELECT * FROM fastkv_pop('wide', 'x');
SELECT * FROM fastkv_pop('kv');
SELECT * FROM fastkv_pop('kv', 5);
PRAGMA query_only = 1;
SELECT fastkv_get('kv', 'i'), fastkv_incr('kv', 'i', 1);
SELECT * FROM fastkv_pop('q', 'job:');
