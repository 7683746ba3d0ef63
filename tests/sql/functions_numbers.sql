-- fastkv_incr: a counter kept as text goes on after it has become too large for an INTEGER; what is no number
-- any more is refused, and not kept.
CREATE VIRTUAL TABLE texts USING fastkv(key, value TEXT);
SELECT fastkv_incr('texts', 'n', 9223372036854775807), fastkv_incr('texts', 'n', 1);
SELECT fastkv_incr('texts', 'n', 1), fastkv_incr('texts', 'n', -1e300);
SELECT fastkv_incr('texts', 'n', 1e300) FROM texts;
REPLACE INTO texts VALUES ('e', '1e'), ('s', '1e+'), ('m', '.e5'), ('d', '1 ');
SELECT fastkv_incr('texts', 'e', 1);
SELECT fastkv_incr('texts', 's', 1);
SELECT fastkv_incr('texts', 'm', 1);
SELECT fastkv_incr('texts', 'd', 1);
CREATE VIRTUAL TABLE reals USING fastkv(key, value NOT NULL);
SELECT fastkv_incr('reals', 'n', 9e999);
SELECT fastkv_incr('reals', 'n', -9e999);
SELECT fastkv_incr('reals', 'n', 1), value, typeof(value) FROM reals;
