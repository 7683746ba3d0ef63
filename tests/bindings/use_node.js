// use_node.js -- fastkv in Node, through better-sqlite3 (node use_node.js better-sqlite3) or Node's
// own module (node use_node.js node:sqlite). The programme is use_python.py's. Both carry a SQLite
// of their own. Integers of 64 bits are BigInts; threads are workers.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const {execFileSync} = require('node:child_process');
const {Worker, isMainThread, workerData} = require('node:worker_threads');
const assert = require('node:assert').strict;

const [BINDING, MODE] = isMainThread ? process.argv.slice(2) : [workerData.binding, 'worker'];
const SO = process.env.FASTKV_SO;
const FILE = path.join(process.env.FASTKV_TMP, 'node.db');
const ROWS = 1000;

// What the two do differently.
const BINDINGS = {
  'better-sqlite3': {
    open(file, timeout) { return new (require('better-sqlite3'))(file, {timeout}); },
    bigints(statement) { return statement.safeIntegers(); },
    code(error) { return error.code; },
    codes: {primary: 'SQLITE_CONSTRAINT_PRIMARYKEY', notnull: 'SQLITE_CONSTRAINT_NOTNULL',
            error: 'SQLITE_ERROR', busy: 'SQLITE_BUSY'},
  },
  'node:sqlite': {
    open(file, timeout) {
      const {DatabaseSync} = require('node:sqlite');
      return new DatabaseSync(file, {allowExtension: true, timeout});
    },
    bigints(statement) { statement.setReadBigInts(true); return statement; },
    code(error) { return error.errcode; },
    codes: {primary: 1555, notnull: 1299, error: 1, busy: 5},
  },
};
const binding = BINDINGS[BINDING];

const same = (got, wanted) => assert.deepEqual(got, wanted);
const difference = (one, two) => `SELECT count(*) AS n FROM (
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM ${one} EXCEPT
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM ${two})`;

function connect(timeout = 50) {
  const db = binding.open(FILE, timeout);
  db.loadExtension(SO);
  return db;
}

const rows = (db, sql, ...args) => db.prepare(sql).all(...args).map(Object.values);
const one = (db, sql, ...args) => rows(db, sql, ...args)[0][0];
const column = (db, sql, ...args) => rows(db, sql, ...args).map((row) => row[0]);
const changed = (db, sql, ...args) => Number(db.prepare(sql).run(...args).changes);

function fails(db, code, words, sql, ...args) {
  try {
    db.prepare(sql).run(...args);
  } catch (error) {
    same([binding.code(error), error.message], [binding.codes[code], words]);
    return;
  }
  throw new Error(`no error: ${sql}`);
}

function value(i) {
  return [null, BigInt(i), 2n ** 63n - 1n - BigInt(i), -(2n ** 63n) + BigInt(i), i * 0.5 + 0.1,
    `grün 日本 🙂 ${i}`, `a\0b${i}`, Buffer.from([0, 255, i & 255, 128])][i % 8];
}

function numbers(count) {
  return Array.from({length: count}, (_, i) => i);
}

const name = (prefix, i, width) => prefix + String(i).padStart(width, '0');

function load() {
  let db = binding.open(FILE, 50);
  fails(db, 'error', 'no such module: fastkv', 'CREATE VIRTUAL TABLE t USING fastkv');
  db.close();
  db = connect();
  console.log(`SQLite ${one(db, 'SELECT sqlite_version()')}, ${BINDING}, ` +
    `Node ${process.version}, fastkv ${one(db, 'SELECT fastkv_version()')}`);
  db.loadExtension(SO);
  db.exec(`CREATE VIRTUAL TABLE item USING fastkv(
             part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
           CREATE TABLE native(
             part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
           CREATE VIRTUAL TABLE kv USING fastkv`);
  db.close();
}

function types() {
  const db = connect();
  db.exec('BEGIN');
  for (const table of ['item', 'native']) {
    const insert = db.prepare(`INSERT INTO ${table} VALUES (?, ?, ?, ?)`);
    for (const i of numbers(ROWS)) insert.run(`p${i % 10}`, i - 500, value(i), i);
  }
  const insert = db.prepare('INSERT INTO kv VALUES (?, ?)');
  for (const i of numbers(ROWS)) insert.run(name('user:', i, 4), BigInt(i));
  db.exec('COMMIT');
  same(one(db, 'SELECT count(*) FROM item'), ROWS);
  same(one(db, difference('item', 'native')), 0);
  same(one(db, difference('native', 'item')), 0);
  same(rows(db, 'SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1'),
    [['blob', 125], ['integer', 375], ['null', 125], ['real', 125], ['text', 250]]);
  const read = binding.bigints(db.prepare('SELECT v FROM item WHERE part = ? AND n = ?'));
  for (const i of numbers(ROWS)) {
    const v = read.get(`p${i % 10}`, i - 500).v;
    const cut = BINDING === 'node:sqlite' && v === 'a'; // older ones stop at NUL, in any table
    if (!cut) same(v instanceof Uint8Array ? Buffer.from(v) : v, value(i));
  }
  db.close();
}

function ranges() {
  const db = connect();
  same(column(db, 'SELECT key FROM kv WHERE key GLOB ? ORDER BY key', 'user:012*'),
    numbers(10).map((i) => `user:012${i}`));
  same(column(db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
    ['user:0199', 'user:0198']);
  same(column(db, `SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
                   ORDER BY n DESC LIMIT 3`, 'p3', -100, 100), [93, 83, 73]);
  db.close();
}

function joined() {
  const db = connect();
  db.exec('CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)');
  changed(db, "INSERT INTO part VALUES ('p3', 'third'), (?, ?)", 'p7', 'siebtes Stück');
  same(rows(db, `SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                 WHERE n < ? GROUP BY title ORDER BY title`, 0),
    [['siebtes Stück', 50, -12400], ['third', 50, -12600]]);
  db.close();
}

function conflicts() {
  const db = connect();
  const unique = ['primary', 'UNIQUE constraint failed: item.part, item.n',
    'INSERT INTO item VALUES (?, ?, NULL, 0)', 'p3', 93];
  fails(db, ...unique);
  fails(db, 'notnull', 'NOT NULL constraint failed: kv.key', 'INSERT INTO kv VALUES (?, 1)', null);
  fails(db, 'error', 'UPSERT not implemented for virtual table "kv"', `INSERT INTO kv
        VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2`);
  same(changed(db, "INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')"), 0);
  db.exec("BEGIN; REPLACE INTO kv VALUES ('before', 1)");
  fails(db, ...unique);
  db.exec("REPLACE INTO kv VALUES ('after', 1); COMMIT");
  same(changed(db, "DELETE FROM kv WHERE key IN ('before', 'after')"), 2);
  db.close();
}

function savepoints() {
  const db = connect();
  const counts = `SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
                  (SELECT count(*) FROM part)`;
  const before = one(db, counts);
  db.exec(`BEGIN; SAVEPOINT one; DELETE FROM item WHERE part IN (SELECT name FROM part);
           SAVEPOINT two; INSERT INTO kv VALUES ('undone', 1); DELETE FROM part`);
  same(one(db, counts), '800,1001,0');
  db.exec('ROLLBACK TO two');
  same(one(db, counts), '800,1000,2');
  db.exec('ROLLBACK TO one; RELEASE one; COMMIT');
  same(one(db, counts), before);
  if (db.transaction) { // better-sqlite3's own, which nest as savepoints
    const inner = db.transaction(() => {
      db.exec('DELETE FROM kv');
      throw new RangeError('undo');
    });
    db.transaction(() => {
      db.exec("INSERT INTO kv VALUES ('outer', 1)");
      assert.throws(inner, RangeError);
    })();
    same(one(db, 'SELECT count(*) FROM kv'), 1001);
    db.exec("DELETE FROM kv WHERE key = 'outer'");
  }
  db.close();
}

function twoConnections() {
  const [a, b] = [connect(), connect()];
  const seen = "SELECT count(*) FROM kv WHERE key = 'seen'";
  same(one(b, seen), 0);
  a.exec("BEGIN; INSERT INTO kv VALUES ('seen', 1)");
  same([one(a, seen), one(b, seen)], [1, 0]);
  fails(b, 'busy', 'database is locked', "INSERT INTO kv VALUES ('seen', 2)");
  a.exec('COMMIT');
  same(one(b, seen), 1);
  same(changed(b, "DELETE FROM kv WHERE key = 'seen'"), 1);
  same(one(a, seen), 0);
  a.close();
  b.close();
}

async function workers() {
  await Promise.all(numbers(3).map((number) => new Promise((ended, failed) => {
    const worker = new Worker(__filename, {workerData: {binding: BINDING, number}});
    worker.on('error', failed);
    worker.on('exit', (code) => {
      if (code) failed(new Error(`a worker ended with ${code}`));
      else ended();
    });
  })));
  const db = connect();
  same(changed(db, "DELETE FROM kv WHERE key GLOB 'thread:*'"), 750);
  db.close();
}

function work(number) {
  const db = connect(20000);
  const insert = db.prepare('INSERT INTO kv VALUES (?, ?)');
  for (let start = 0; start < 250; start += 25) {
    db.exec('BEGIN IMMEDIATE');
    for (const i of numbers(25)) insert.run(name(`thread:${number}:`, start + i, 3), start + i);
    db.exec('COMMIT');
    same(one(db, 'SELECT count(*) FROM kv WHERE key GLOB ?', `thread:${number}:*`), start + 25);
  }
  // Half of them leave closing to the end of the worker.
  if (number % 2) db.close();
}

function functions() {
  const db = connect();
  db.function('last_digit', {deterministic: true}, (key) => Number(key.at(-1)));
  db.function('up_to', (n) => {
    if (n < 50) return n;
    throw new RangeError('too much');
  });
  same(one(db, 'SELECT count(*) FROM kv WHERE last_digit(key) = 7'), 100);
  same(changed(db, "UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"), 100);
  same(one(db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 5400);
  db.exec("UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'");
  assert.throws(() => db.prepare('UPDATE kv SET value = -up_to(value)').run(), RangeError);
  same(one(db, 'SELECT sum(value) FROM kv'), 499500);
  db.close();
}

function unfinished() {
  const [db, other] = [connect(), connect()];
  const keys = [];
  for (const row of db.prepare('SELECT key FROM kv ORDER BY key').iterate()) {
    keys.push(row.key);
    if (keys.length === 3) other.prepare('SELECT * FROM kv').get();
    if (keys.length === 5) break;
  }
  same(keys, numbers(5).map((i) => `user:000${i}`));
  const read = db.prepare('SELECT key FROM kv').iterate();
  read.next();
  if (BINDING === 'better-sqlite3') { // it refuses whatever could change what is being read
    assert.throws(() => db.exec("INSERT INTO kv VALUES ('zz', 1)"), /busy executing a query/);
    assert.throws(() => db.close(), /busy executing a query/);
    read.return();
    db.exec("INSERT INTO kv VALUES ('zz', 1)");
    same(changed(db, "DELETE FROM kv WHERE key = 'zz'"), 1);
    db.exec("BEGIN; INSERT INTO kv VALUES ('zz', 2)");
  } else {
    db.exec("BEGIN; INSERT INTO kv VALUES ('zz', 1); COMMIT");
    read.next();
    db.exec('BEGIN; DELETE FROM kv; ROLLBACK');
    same(Object.values(read.next().value), ['user:0002']);
    same(changed(db, "DELETE FROM kv WHERE key = 'zz'"), 1);
    db.exec("BEGIN; INSERT INTO kv VALUES ('zz', 2)"); // with the statement still running
  }
  db.close();
  same(changed(other, "DELETE FROM kv WHERE key = 'zz'"), 0);
  other.close();
}

// Garbage: connections and statements in no order, collected here or at the end of the process.
function leave() {
  const kept = [];
  for (const i of numbers(20)) {
    const db = connect();
    const read = db.prepare('SELECT key FROM kv ORDER BY key').iterate();
    same(Object.values(read.next().value), ['user:0000']);
    if (i % 4 === 0) kept.push(i % 8 ? db : read);
  }
  globalThis.gc();
  const db = connect();
  db.exec("PRAGMA journal_mode = WAL"); // other connections are still reading
  db.exec("INSERT INTO kv VALUES ('left:committed', 1)");
  db.exec("BEGIN; INSERT INTO kv VALUES ('left:open', 1)");
  globalThis.kept = [db, kept];
  process.exit(0);
}

function leftOpen() {
  let db = connect();
  db.exec('PRAGMA journal_mode = WAL');
  db.close();
  execFileSync(process.execPath, ['--no-warnings', '--expose-gc', __filename, BINDING, 'leave'],
    {stdio: 'inherit'});
  db = connect();
  same(column(db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), ['left:committed']);
  db.exec("DELETE FROM kv WHERE key GLOB 'left:*'");
  db.close();
}

// What a SQLite newer than Debian's, or built otherwise, has shown first: BLOBs that match a pattern,
// and a DEFAULT that is text in a numeric column (which ended the process).
function newerSqlite() {
  const db = connect();
  db.exec(`CREATE VIRTUAL TABLE odd USING fastkv(
             k PRIMARY KEY, i INTEGER DEFAULT '05', r REAL DEFAULT 'x', t TEXT DEFAULT 5);
           INSERT INTO odd(k) VALUES (x'616263'), ('ab'), ('b')`);
  for (const like of ["GLOB 'ab*'", "LIKE 'AB%'"]) {
    same(rows(db, `SELECT hex(k) FROM odd WHERE k ${like} ORDER BY k`),
      rows(db, `SELECT hex(k) FROM odd WHERE +k ${like} ORDER BY k`));
  }
  same(rows(db, "SELECT i, r, t FROM odd WHERE k = 'b'"), [[5, 'x', '5']]);
  db.exec('DROP TABLE odd');
  db.close();
}

// Two copies of SQLite in one process. An extension has one pointer to SQLite's functions: with the
// other copy's, memory of the one would be freed by the other. So the second is refused with a
// word, and the first goes on. In a process of its own.
function twoLibraries() {
  try {
    require.resolve('better-sqlite3');
    require.resolve('node:sqlite');
  } catch {
    return;
  }
  execFileSync(process.execPath, ['--no-warnings', __filename, BINDING, 'both'],
    {stdio: 'inherit'});
}

function both() {
  const [one, two] = Object.values(BINDINGS).map((each) => each.open(':memory:', 50));
  const [first, second] = BINDING === 'node:sqlite' ? [two, one] : [one, two];
  first.loadExtension(SO);
  first.exec('CREATE VIRTUAL TABLE kv USING fastkv');
  assert.throws(() => second.loadExtension(SO), /fastkv.*SQLite/);
  for (const i of numbers(ROWS)) {
    changed(first, 'INSERT INTO kv VALUES (?, ?)', name('k', i, 4), `v${i}`);
  }
  assert.throws(() => changed(first, "INSERT INTO kv VALUES ('k0000', 1)"), /UNIQUE/);
  same(rows(first, 'SELECT * FROM kv'), numbers(ROWS).map((i) => [name('k', i, 4), `v${i}`]));
  second.close();
  first.close();
}

function reopened() {
  const db = connect();
  same(rows(db, 'SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM kv)'), [[1000, 1000]]);
  same(one(db, difference('item', 'native')), 0);
  same(one(db, difference('native', 'item')), 0);
  same(one(db, 'SELECT sum(value) FROM kv'), 499500);
  db.exec("INSERT INTO kv(kv) VALUES ('integrity-check')");
  same(one(db, 'PRAGMA integrity_check'), 'ok');
  db.exec("INSERT INTO kv(kv) VALUES ('compact')");
  db.close();
}

// The module's method for that is not in the headers that fastkv.so was made with.
function integrity() {
  const folder = `${FILE}-fastkv`;
  const table = fs.readdirSync(folder).filter((file) => file.endsWith('.sst'))[0];
  const flip = () => {
    const fd = fs.openSync(path.join(folder, table), 'r+');
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, 30);
    byte[0] ^= 1;
    fs.writeSync(fd, byte, 0, 1, 30);
    fs.closeSync(fd);
  };
  for (const damaged of [true, false]) {
    flip();
    const db = connect();
    assert(one(db, 'SELECT sqlite_version()').localeCompare('3.44', 'en', {numeric: true}) > 0);
    const said = column(db, 'PRAGMA integrity_check').join();
    if (damaged) assert(said.includes(`${table}: bad checksum`), said);
    else same(said, 'ok');
    db.close();
  }
}

async function main() {
  let [passed, failed] = [0, 0];
  for (const part of [load, types, ranges, joined, conflicts, savepoints, twoConnections, workers,
    functions, unfinished, newerSqlite, leftOpen, reopened, integrity,
    twoLibraries]) {
    try {
      await part();
      passed++;
    } catch (error) {
      failed++;
      console.log(`FAILED ${part.name}: ${error.stack}`);
      if (part === load) break;
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

if (MODE === 'worker') work(workerData.number);
else if (MODE === 'leave') leave();
else if (MODE === 'both') both();
else main();
