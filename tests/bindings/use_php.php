<?php
// use_php.php -- fastkv in PHP's SQLite3 class. The programme is use_python.py's. The extension is
// named by its file in sqlite3.extension_dir, which only php.ini or -d can set. There are no
// threads; PDO cannot load extensions before PHP 8.4.
declare(strict_types=1);

const ROWS = 1000;
$path = getenv('FASTKV_TMP') . '/php.db';

function difference(string $one, string $two): string
{
    return "SELECT count(*) FROM (
      SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM $one EXCEPT
      SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM $two)";
}

function same($got, $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception('got ' . var_export($got, true) . ', wanted ' .
            var_export($wanted, true));
    }
}

function connect(): SQLite3
{
    global $path;
    $db = new SQLite3($path);
    $db->enableExceptions(true);
    $db->busyTimeout(50);
    $db->loadExtension(basename(getenv('FASTKV_SO')));
    $db->enableExtendedResultCodes(true);
    return $db;
}

function bound(SQLite3 $db, string $sql, array $args): SQLite3Result
{
    $statement = $db->prepare($sql);
    foreach ($args as $i => $arg) {
        $statement->bindValue($i + 1, $arg);
    }
    return $statement->execute();
}

function rows(SQLite3 $db, string $sql, ...$args): array
{
    $result = bound($db, $sql, $args);
    for ($rows = []; $row = $result->fetchArray(SQLITE3_NUM); $rows[] = $row);
    return $rows;
}

function one(SQLite3 $db, string $sql, ...$args)
{
    return rows($db, $sql, ...$args)[0][0];
}

function column(SQLite3 $db, string $sql, ...$args): array
{
    return array_column(rows($db, $sql, ...$args), 0);
}

function changed(SQLite3 $db, string $sql): int
{
    $db->exec($sql);
    return $db->changes();
}

function fails(SQLite3 $db, int $code, string $words, string $sql): void
{
    try {
        $db->exec($sql);
    } catch (Exception $e) {
        same([$db->lastExtendedErrorCode(), $e->getMessage()], [$code, $words]);
        return;
    }
    throw new Exception("no error: $sql");
}

/** A value of each type in turn, and as what it is bound. */
function value(int $i): array
{
    switch ($i % 8) {
        case 0: return [null, SQLITE3_NULL];
        case 1: return [$i, SQLITE3_INTEGER];
        case 2: return [PHP_INT_MAX - $i, SQLITE3_INTEGER];
        case 3: return [PHP_INT_MIN + $i, SQLITE3_INTEGER];
        case 4: return [$i * 0.5 + 0.1, SQLITE3_FLOAT];
        case 5: return ["grün 日本 🙂 $i", SQLITE3_TEXT];
        case 6: return ["a\0b$i", SQLITE3_TEXT];
        default: return [pack('C4', 0, 255, $i & 255, 128), SQLITE3_BLOB];
    }
}

function load(): void
{
    global $path;
    $db = new SQLite3($path);
    $db->enableExceptions(true);
    fails($db, 1, 'no such module: fastkv', 'CREATE VIRTUAL TABLE t USING fastkv');
    $db->close();
    $db = connect();
    printf("SQLite %s, PHP %s, fastkv %s\n", SQLite3::version()['versionString'], PHP_VERSION,
        one($db, 'SELECT fastkv_version()'));
    $db->exec('CREATE VIRTUAL TABLE item USING fastkv(
                 part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
               CREATE TABLE native(
                 part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
               CREATE VIRTUAL TABLE kv USING fastkv');
    $db->close();
}

function types(): void
{
    $db = connect();
    $db->exec('BEGIN');
    foreach (['item', 'native'] as $table) {
        $insert = $db->prepare("INSERT INTO $table VALUES (?, ?, ?, ?)");
        for ($i = 0; $i < ROWS; $i++) {
            $insert->bindValue(1, 'p' . $i % 10, SQLITE3_TEXT);
            $insert->bindValue(2, $i - 500, SQLITE3_INTEGER);
            $insert->bindValue(3, ...value($i));
            $insert->bindValue(4, $i, SQLITE3_INTEGER);
            $insert->execute();
            $insert->reset();
        }
    }
    for ($i = 0; $i < ROWS; $i++) {
        bound($db, 'INSERT INTO kv VALUES (?, ?)', [sprintf('user:%04d', $i), $i]);
    }
    $db->exec('COMMIT');
    same(one($db, 'SELECT count(*) FROM item'), ROWS);
    same(one($db, difference('item', 'native')), 0);
    same(one($db, difference('native', 'item')), 0);
    same(rows($db, 'SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1'),
        [['blob', 125], ['integer', 375], ['null', 125], ['real', 125], ['text', 250]]);
    for ($i = 0; $i < ROWS; $i++) {
        // PHP gives text up to its first NUL only, of any table.
        $read = $i % 8 === 6 ? 'CAST(v AS BLOB)' : 'v';
        same(one($db, "SELECT $read FROM item WHERE part = ? AND n = ?", 'p' . $i % 10, $i - 500),
            value($i)[0]);
    }
    $db->close();
}

function ranges(): void
{
    $db = connect();
    same(column($db, 'SELECT key FROM kv WHERE key GLOB ? ORDER BY key', 'user:012*'),
        array_map(fn($i) => "user:012$i", range(0, 9)));
    same(column($db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
        ['user:0199', 'user:0198']);
    same(column($db, 'SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
                      ORDER BY n DESC LIMIT 3', 'p3', -100, 100), [93, 83, 73]);
    $db->close();
}

function joined(): void
{
    $db = connect();
    $db->exec('CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)');
    bound($db, "INSERT INTO part VALUES ('p3', 'third'), (?, ?)", ['p7', 'siebtes Stück']);
    same(rows($db, 'SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                    WHERE n < ? GROUP BY title ORDER BY title', 0),
        [['siebtes Stück', 50, -12400], ['third', 50, -12600]]);
    $db->close();
}

function conflicts(): void
{
    $db = connect();
    $unique = [1555, 'UNIQUE constraint failed: item.part, item.n',
        "INSERT INTO item VALUES ('p3', 93, NULL, 0)"];
    fails($db, ...$unique);
    fails($db, 1299, 'NOT NULL constraint failed: kv.key', 'INSERT INTO kv VALUES (NULL, 1)');
    fails($db, 1, 'UPSERT not implemented for virtual table "kv"', "INSERT INTO kv
          VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2");
    same(changed($db, "INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')"), 0);
    $db->exec("BEGIN; REPLACE INTO kv VALUES ('before', 1)");
    fails($db, ...$unique);
    $db->exec("REPLACE INTO kv VALUES ('after', 1); COMMIT");
    same(changed($db, "DELETE FROM kv WHERE key IN ('before', 'after')"), 2);
    $db->close();
}

function savepoints(): void
{
    $db = connect();
    $counts = "SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
               (SELECT count(*) FROM part)";
    $before = one($db, $counts);
    $db->exec("BEGIN; SAVEPOINT one; DELETE FROM item WHERE part IN (SELECT name FROM part);
               SAVEPOINT two; INSERT INTO kv VALUES ('undone', 1); DELETE FROM part");
    same(one($db, $counts), '800,1001,0');
    $db->exec('ROLLBACK TO two');
    same(one($db, $counts), '800,1000,2');
    $db->exec('ROLLBACK TO one; RELEASE one; COMMIT');
    same(one($db, $counts), $before);
    $db->close();
}

function two_connections(): void
{
    $a = connect();
    $b = connect();
    $seen = "SELECT count(*) FROM kv WHERE key = 'seen'";
    same(one($b, $seen), 0);
    $a->exec("BEGIN; INSERT INTO kv VALUES ('seen', 1)");
    same([one($a, $seen), one($b, $seen)], [1, 0]);
    fails($b, 5, 'database is locked', "INSERT INTO kv VALUES ('seen', 2)");
    $a->exec('COMMIT');
    same(one($b, $seen), 1);
    same(changed($b, "DELETE FROM kv WHERE key = 'seen'"), 1);
    same(one($a, $seen), 0);
    $a->close();
    $b->close();
}

function functions(): void
{
    $db = connect();
    $db->createFunction('last_digit', fn($key) => (int)$key[-1], 1, SQLITE3_DETERMINISTIC);
    $db->createFunction('up_to', function ($n) {
        return $n < 50 ? $n : throw new Exception('too much');
    }, 1);
    $db->createFunction('value_of', fn($key) => one(
        $db, 'SELECT value FROM kv WHERE key = ?', $key), 1);
    same(one($db, 'SELECT count(*) FROM kv WHERE last_digit(key) = 7'), 100);
    same(changed($db, "UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"),
        100);
    same(one($db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 5400);
    $db->exec("UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'");
    try {
        $db->exec('UPDATE kv SET value = -up_to(value)');
        throw new Error('no error');
    } catch (Exception $e) {
        same($e->getPrevious()->getMessage(), 'too much');
    }
    same(one($db, 'SELECT sum(value) FROM kv'), 499500);
    same(one($db, "SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'"), 9945);
    $db->close();
}

function unfinished(): void
{
    $db = connect();
    $read = $db->query('SELECT key FROM kv ORDER BY key');
    $next = function () use (&$read) { return $read->fetchArray(SQLITE3_NUM)[0]; };
    same([$next(), $next(), $next()], ['user:0000', 'user:0001', 'user:0002']);
    $db->exec("BEGIN; INSERT INTO kv VALUES ('zz', 1); COMMIT");
    same($next(), 'user:0003');
    $db->exec('BEGIN; DELETE FROM kv; ROLLBACK');
    same($next(), 'user:0004');
    $db = null; // the result holds it
    $other = connect();
    same(one($other, "SELECT value FROM kv WHERE key = 'zz'"), 1);
    $read = null;
    same(changed($other, "DELETE FROM kv WHERE key = 'zz'"), 1);
    // Closed under a statement that is still running, in a transaction.
    $db = connect();
    $read = $db->query('SELECT key FROM kv');
    $next();
    $db->exec("BEGIN; INSERT INTO kv VALUES ('zz', 2)");
    $db->close();
    same(one($other, "SELECT count(*) FROM kv WHERE key = 'zz'"), 0);
    $db = $read = null;
    $other->exec("INSERT INTO kv VALUES ('zz', 3); DELETE FROM kv WHERE key = 'zz'");
    $other->close();
}

function left_open(): void
{
    passthru(escapeshellarg(PHP_BINARY) . ' -n -d extension=sqlite3 -d sqlite3.extension_dir=' .
        escapeshellarg(ini_get('sqlite3.extension_dir')) . ' ' . escapeshellarg(__FILE__) .
        ' leave', $status);
    same($status, 0);
    $db = connect();
    same(column($db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), ['left:committed']);
    $db->exec("DELETE FROM kv WHERE key GLOB 'left:*'");
    $db->close();
}

function leave(): void
{
    global $kept;
    $db = connect();
    $db->exec("INSERT INTO kv VALUES ('left:committed', 1)");
    $read = $db->query('SELECT * FROM kv');
    $read->fetchArray();
    $db->exec("BEGIN; INSERT INTO kv VALUES ('left:open', 1)");
    $kept = [$db, $read];
    exit(0);
}

function reopened(): void
{
    $db = connect();
    same(rows($db, 'SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM kv)'),
        [[1000, 1000]]);
    same(one($db, difference('item', 'native')), 0);
    same(one($db, difference('native', 'item')), 0);
    same(one($db, 'SELECT sum(value) FROM kv'), 499500);
    $db->exec("INSERT INTO kv(kv) VALUES ('integrity-check')");
    same(one($db, 'PRAGMA integrity_check'), 'ok');
    $db->close();
}

if (($argv[1] ?? '') === 'leave') {
    leave();
}
$passed = $failed = 0;
foreach (['load', 'types', 'ranges', 'joined', 'conflicts', 'savepoints', 'two_connections',
          'functions', 'unfinished', 'left_open', 'reopened'] as $part) {
    try {
        $part();
        $passed++;
    } catch (Throwable $e) {
        $failed++;
        echo "FAILED $part: $e\n";
        if ($part === 'load') {
            break;
        }
    }
}
echo "$passed passed, $failed failed\n";
exit($failed ? 1 : 0);
