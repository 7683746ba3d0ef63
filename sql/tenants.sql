-- Tenants: one table, one namespace for each of them, by a leading key column.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/tenants.sql
--
-- A namespace is a part of the key of its own, so no tenant can reach into another one, whatever
-- its name or its keys contain.

DROP TABLE IF EXISTS data;
CREATE VIRTUAL TABLE data USING fastkv(
  tenant TEXT, key TEXT, value,
  PRIMARY KEY (tenant, key)
);

-- Set.
REPLACE INTO data VALUES
  ('acme', 'user:1', 'Alice'), ('acme', 'user:2', 'Bob'), ('acme', 'plan', 'gold'),
  ('acme2', 'user:1', 'Carol'), ('zeta', 'user:1', 'Dora'), ('zeta', 'plan', 'basic'),
  ('', 'user:1', 'of no tenant');
REPLACE INTO data(tenant, key, value, ttl) VALUES ('zeta', 'otp', '421337', 60);

-- Get: the same key in two namespaces is two rows.
SELECT value FROM data WHERE tenant = 'acme' AND key = 'user:1';
SELECT fastkv_get('data', 'zeta', 'user:1'), fastkv_get('data', 'zeta', 'user:2') IS NULL;

-- Everything of one tenant, and a prefix in it: one range of keys each.
SELECT key, value FROM data WHERE tenant = 'acme';
SELECT key, value FROM data WHERE tenant = 'acme' AND key GLOB 'user:*';

-- Which namespaces are there? This seeks from one to the next and reads no rows in between.
SELECT DISTINCT tenant FROM data WHERE tenant > '';
SELECT json_object('namespaces', json_group_array(tenant), 'count', count(*)) AS namespaces
FROM (SELECT DISTINCT tenant FROM data WHERE tenant > '');

-- How many keys has each?
SELECT tenant, count(*) AS keys FROM data GROUP BY tenant;
SELECT count(*) AS total_keys FROM data WHERE tenant = 'nobody';

-- A counter and a lock for each tenant.
SELECT fastkv_incr('data', 'acme', 'requests', 1), fastkv_incr('data', 'zeta', 'requests', 1),
       fastkv_incr('data', 'acme', 'requests', 1);
SELECT fastkv_cas('data', 'acme', 'job', NULL, 'worker 1'), fastkv_cas('data', 'acme', 'job', NULL, 'worker 2');

-- Clear one namespace: a single command, however many keys. Its neighbours are not touched.
BEGIN;
SELECT count(*) AS keys_deleted FROM data WHERE tenant = 'acme';
INSERT INTO data(data, arg) VALUES ('truncate', 'acme');
COMMIT;
SELECT tenant, count(*) AS keys FROM data GROUP BY tenant;

-- With a change of mind.
BEGIN;
INSERT INTO data(data, arg) VALUES ('truncate', 'zeta');
SELECT count(*) FROM data WHERE tenant = 'zeta';
ROLLBACK;
SELECT count(*) FROM data WHERE tenant = 'zeta';

-- Move a tenant to another name: its rows in order, its times to live with it.
BEGIN;
INSERT INTO data(tenant, key, value, expires_at)
SELECT 'omega', key, value, expires_at FROM data WHERE tenant = 'zeta';
INSERT INTO data(data, arg) VALUES ('truncate', 'zeta');
COMMIT;
SELECT tenant, key, value, ttl > 0 AS expires FROM data WHERE tenant >= 'b';
