-- An order book: price-time priority is the order of a composite key.
--
--     sqlite3 app.db -cmd '.load build/fastkv' < sql/orderbook.sql
--
-- Prices are integers (cents). The best bid is the last row of its range, the best ask the first.
-- oracle: native

DROP TABLE IF EXISTS book;
DROP TABLE IF EXISTS trades;
CREATE VIRTUAL TABLE book USING fastkv(
  symbol TEXT, side TEXT, price INTEGER, id INTEGER, quantity INTEGER NOT NULL,
  PRIMARY KEY (symbol, side, price, id)
);
CREATE TABLE trades(symbol TEXT, price INTEGER, quantity INTEGER, bid INTEGER, ask INTEGER);

INSERT INTO book VALUES
  ('ACME', 'bid', 9990, 1, 100), ('ACME', 'bid', 9985, 2, 250), ('ACME', 'bid', 9990, 3, 50),
  ('ACME', 'bid', 9970, 4, 900), ('ACME', 'ask', 10010, 5, 80), ('ACME', 'ask', 10005, 6, 120),
  ('ACME', 'ask', 10005, 7, 30), ('ACME', 'ask', 10050, 8, 500), ('ZETA', 'bid', 410, 9, 1000),
  ('ZETA', 'ask', 415, 10, 700);

-- Best bid and best ask.
SELECT price, sum(quantity) FROM book WHERE symbol = 'ACME' AND side = 'bid'
GROUP BY price ORDER BY price DESC LIMIT 1;
SELECT price, sum(quantity) FROM book WHERE symbol = 'ACME' AND side = 'ask'
GROUP BY price ORDER BY price LIMIT 1;

-- Depth: three levels on each side.
SELECT price, count(*) AS orders, sum(quantity) AS quantity
FROM book WHERE symbol = 'ACME' AND side = 'bid' GROUP BY price ORDER BY price DESC LIMIT 3;
SELECT price, count(*) AS orders, sum(quantity) AS quantity
FROM book WHERE symbol = 'ACME' AND side = 'ask' GROUP BY price ORDER BY price LIMIT 3;

-- A buyer takes 130 at up to 100.10: order 6 in full (120), then 10 of order 7, in one transaction
-- with the native table of trades.
SELECT id, price, quantity FROM book
WHERE symbol = 'ACME' AND side = 'ask' AND price <= 10010 ORDER BY price, id;
BEGIN;
DELETE FROM book WHERE symbol = 'ACME' AND side = 'ask' AND price = 10005 AND id = 6;
UPDATE book SET quantity = quantity - 10
WHERE symbol = 'ACME' AND side = 'ask' AND price = 10005 AND id = 7;
INSERT INTO trades VALUES ('ACME', 10005, 120, 11, 6), ('ACME', 10005, 10, 11, 7);
COMMIT;
SELECT id, price, quantity FROM book WHERE symbol = 'ACME' AND side = 'ask' ORDER BY price, id;
SELECT sum(quantity) AS traded, sum(price * quantity) AS cents FROM trades;

-- A change of price moves the row to another place in the key.
UPDATE book SET price = 9995 WHERE symbol = 'ACME' AND side = 'bid' AND price = 9985 AND id = 2;
SELECT id, price FROM book WHERE symbol = 'ACME' AND side = 'bid' ORDER BY price DESC, id;

-- The same order twice is refused, and the book is as before.
INSERT INTO book VALUES ('ZETA', 'bid', 410, 9, 5);
SELECT quantity FROM book WHERE symbol = 'ZETA' AND side = 'bid' AND price = 410 AND id = 9;

-- The market closes for one symbol: a leading part of the key is a prefix.
DELETE FROM book WHERE symbol = 'ACME';
SELECT symbol, side, price, id, quantity FROM book ORDER BY symbol, side, price, id;
