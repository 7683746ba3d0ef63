-- oracle: native
-- IN lists and patterns.
.mode quote
CREATE VIRTUAL TABLE kv USING fastkv(key TEXT PRIMARY KEY, value);
INSERT INTO kv VALUES ('user:1', 1), ('user:10', 10), ('user:2', 2), ('User:3', 3), ('USER:4', 4), ('users', 5),
  ('use', 6), ('vser:1', 7), ('123', 8), ('12', 9), ('', 10), ('a%b', 11), ('a_b', 12), ('ümlaut', 13),
  ('Ümlaut', 14), (x'757365723a39', 15);
SELECT value FROM kv WHERE key IN ('user:2', 'nope', 'user:1', 'user:2', NULL, '123');
SELECT value FROM kv WHERE key IN ();
SELECT value FROM kv WHERE key IN (123, 12.0, 12);
SELECT value FROM kv WHERE key NOT IN ('user:2', 'user:1') AND key GLOB 'user*';
SELECT value FROM kv WHERE key IN (SELECT key FROM kv WHERE value < 4) ORDER BY key DESC;
SELECT key FROM kv WHERE key GLOB 'user:*';
SELECT key FROM kv WHERE key GLOB 'user:*' ORDER BY key DESC LIMIT 1;
SELECT key FROM kv WHERE key LIKE 'user:%';
SELECT key FROM kv WHERE key LIKE 'USER:%' AND key > 'a';
SELECT key FROM kv WHERE key LIKE 'us%' ORDER BY key DESC;
SELECT key FROM kv WHERE key LIKE 'ü%';
SELECT key FROM kv WHERE key LIKE 'a\%%' ESCAPE '\';
SELECT key FROM kv WHERE key LIKE '_ser:1';
SELECT key FROM kv WHERE key LIKE 'user:1';
SELECT key FROM kv WHERE key GLOB 'user:[12]';
SELECT key FROM kv WHERE key GLOB NULL;
SELECT key FROM kv WHERE key LIKE 12;
SELECT key FROM kv WHERE key GLOB '12*' OR key LIKE 'USE' OR key = 'users';
PRAGMA case_sensitive_like = 1;
SELECT key FROM kv WHERE key LIKE 'user:%';
PRAGMA case_sensitive_like = 0;
CREATE TABLE p(id INTEGER PRIMARY KEY, pattern);
INSERT INTO p VALUES (1, 'user:'), (2, '1'), (3, NULL);
SELECT id, key FROM p JOIN kv ON key GLOB pattern || '*' ORDER BY id, key;
SELECT id, key FROM p LEFT JOIN kv ON key LIKE pattern || '_' ORDER BY id, key;

CREATE VIRTUAL TABLE n USING fastkv(key, value, PRIMARY KEY (key));
INSERT INTO n VALUES (1, 'one'), (10, 'ten'), (1.5, 'one and a half'), ('1x', 'text'), (-1, 'minus'), ('-1', 'text minus'),
  (x'31', 'blob');
SELECT value FROM n WHERE key LIKE '1%' ORDER BY value;
SELECT value FROM n WHERE key GLOB '-*' ORDER BY value;
SELECT value FROM n WHERE key GLOB '*' ORDER BY value;
SELECT value FROM n WHERE key COLLATE NOCASE = '1X';
SELECT value FROM n WHERE key IN (1, '1x', x'31', 1.5);
