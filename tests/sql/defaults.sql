-- DEFAULT: a column that INSERT leaves out gets it. SQLite gives a virtual table NULL for such a column,
-- so a NULL literal gets it too (the one difference from a native table); a bound NULL does not.
.mode quote
CREATE VIRTUAL TABLE d USING fastkv(k TEXT PRIMARY KEY DEFAULT 'none', a INTEGER DEFAULT -5, b DEFAULT 'it''s',
  c TEXT NOT NULL DEFAULT 7, e DEFAULT x'00ff', f DEFAULT NULL, g DEFAULT TRUE, h DEFAULT word, i REAL DEFAULT 1);
INSERT INTO d(k) VALUES ('x');
INSERT INTO d DEFAULT VALUES;
INSERT INTO d(k, a) VALUES ('y', 3);
INSERT INTO d(k, a) VALUES ('literal', NULL);
.parameter init
.parameter set ?1 NULL
INSERT INTO d(k, a) VALUES ('bound', ?1);
INSERT INTO d(k, c) VALUES ('bound', ?1);
INSERT OR REPLACE INTO d(k, c) VALUES ('replaced', ?1);
UPDATE d SET a = NULL WHERE k = 'x';
UPDATE d SET c = NULL WHERE k = 'x';
SELECT * FROM d;
