-- Batch load: a thousand products in one transaction, then questions about them.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/products.sql
--
-- oracle: native

DROP TABLE IF EXISTS products;
CREATE VIRTUAL TABLE products USING fastkv(key TEXT, value TEXT);

BEGIN;
REPLACE INTO products
WITH RECURSIVE product(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM product WHERE i < 999)
SELECT printf('product:%04d', i),
       json_object('name', 'Product ' || i, 'price', i * 10, 'stock', (i * 37) % 50)
FROM product;
COMMIT;
SELECT count(*), min(key), max(key) FROM products;

-- A page of the catalogue: the next page starts after the last key of this one.
SELECT key, value ->> 'name' AS name, value ->> 'price' AS price
FROM products WHERE key >= 'product:0100' ORDER BY key LIMIT 5;
SELECT key, value ->> 'name' AS name, value ->> 'price' AS price
FROM products WHERE key > 'product:0104' ORDER BY key LIMIT 5;

-- A hundred products by prefix.
SELECT count(*), sum(value ->> 'price') FROM products WHERE key GLOB 'product:05*';

-- What is sold out?
SELECT count(*) AS sold_out, min(key) AS first FROM products WHERE value ->> 'stock' = 0;

-- The same batch again with new prices: every row is replaced, none is doubled.
BEGIN;
REPLACE INTO products
SELECT key, json_set(value, '$.price', (value ->> 'price') + 5)
FROM products WHERE key < 'product:0500';
COMMIT;
SELECT count(*), sum(value ->> 'price') FROM products;

-- A batch that fails in the middle leaves nothing behind.
INSERT INTO products VALUES ('product:1000', '{}'), ('product:1001', '{}'), ('product:0000', '{}');
SELECT count(*), max(key) FROM products;

-- Discontinue a range, look at the last product.
DELETE FROM products WHERE key BETWEEN 'product:0900' AND 'product:0998';
SELECT count(*) FROM products;
SELECT key, value FROM products ORDER BY key DESC LIMIT 2;
