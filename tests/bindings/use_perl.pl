# use_perl.pl -- fastkv in Perl's DBD::SQLite. The programme is use_python.py's. Values are bound
# with DBI's types; AutoCommit off begins transactions by itself; functions die into the statement.
use strict;
use warnings;
use utf8;
use threads;
use DBI qw(:sql_types);
use DBD::SQLite;
use DBD::SQLite::Constants qw(DBD_SQLITE_STRING_MODE_UNICODE_STRICT);

binmode STDOUT, ':encoding(UTF-8)';
my $PATH = "$ENV{FASTKV_TMP}/perl.db";
my $ROWS = 1000;
my @passed;

sub difference {
    my ($one, $two) = @_;
    return "SELECT count(*) FROM (
      SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM $one EXCEPT
      SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM $two)";
}

sub same {
    my ($got, $wanted) = @_;
    my ($package, $file, $line) = caller;
    die "line $line: got <$got>, wanted <$wanted>\n" if $got ne $wanted;
}

sub connection {
    my ($timeout, %more) = @_;
    my $db = DBI->connect("dbi:SQLite:dbname=$PATH", '', '', {
        RaiseError => 1, PrintError => 0, AutoCommit => 1, sqlite_extended_result_codes => 1,
        sqlite_string_mode => DBD_SQLITE_STRING_MODE_UNICODE_STRICT, %more});
    $db->sqlite_busy_timeout($timeout // 50);
    $db->sqlite_enable_load_extension(1);
    $db->sqlite_load_extension($ENV{FASTKV_SO});
    return $db;
}

sub one { my ($db, $sql, @args) = @_; return ($db->selectrow_array($sql, undef, @args))[0] }

sub column {
    my ($db, $sql, @args) = @_;
    return join ' ', @{$db->selectcol_arrayref($sql, undef, @args)};
}

sub fails {
    my ($db, $code, $words, $sql, @args) = @_;
    die "no error: $sql\n" if eval { $db->do($sql, undef, @args); 1 };
    same($db->err . ' ' . $db->errstr, "$code $words");
}

sub value {    # what is bound, and as what
    my ($i) = @_;
    my $kind = $i % 8;
    return (undef, SQL_INTEGER) if $kind == 0;
    return ($i, SQL_INTEGER) if $kind == 1;
    return (9223372036854775807 - $i, SQL_INTEGER) if $kind == 2;
    return (-9223372036854775807 - 1 + $i, SQL_INTEGER) if $kind == 3;
    return ($i * 0.5 + 0.1, SQL_DOUBLE) if $kind == 4;
    return ("grün 日本 🙂 $i", SQL_VARCHAR) if $kind == 5;
    return ("a\0b$i", SQL_VARCHAR) if $kind == 6;
    return (pack('C4', 0, 255, $i & 255, 128), SQL_BLOB);
}

sub load {
    my $db = DBI->connect("dbi:SQLite:dbname=$PATH", '', '', {RaiseError => 1, PrintError => 0});
    fails($db, 1, 'no such module: fastkv', 'CREATE VIRTUAL TABLE t USING fastkv');
    $db->disconnect;
    $db = connection();
    printf "SQLite %s, DBD::SQLite %s, fastkv %s\n", one($db, 'SELECT sqlite_version()'),
        $DBD::SQLite::VERSION, one($db, 'SELECT fastkv_version()');
    $db->sqlite_load_extension($ENV{FASTKV_SO});
    $db->do('CREATE VIRTUAL TABLE item USING fastkv(
             part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n))');
    $db->do('CREATE TABLE native(
             part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID');
    $db->do('CREATE VIRTUAL TABLE kv USING fastkv');
    $db->disconnect;
}

sub types {
    my $db = connection();
    $db->begin_work;
    for my $table (qw(item native)) {
        my $insert = $db->prepare("INSERT INTO $table VALUES (?, ?, ?, ?)");
        for my $i (0 .. $ROWS - 1) {
            $insert->bind_param(1, 'p' . $i % 10);
            $insert->bind_param(2, $i - 500, SQL_INTEGER);
            $insert->bind_param(3, value($i));
            $insert->bind_param(4, $i, SQL_INTEGER);
            $insert->execute;
        }
    }
    my $insert = $db->prepare('INSERT INTO kv VALUES (?, ?)');
    for my $i (0 .. $ROWS - 1) {
        $insert->bind_param(1, sprintf 'user:%04d', $i);
        $insert->bind_param(2, $i, SQL_INTEGER);
        $insert->execute;
    }
    $db->commit;
    same(one($db, 'SELECT count(*) FROM item'), $ROWS);
    same(one($db, difference('item', 'native')), 0);
    same(one($db, difference('native', 'item')), 0);
    same(column($db, "SELECT typeof(v) || '=' || count(*) FROM item GROUP BY typeof(v) ORDER BY 1"),
        'blob=125 integer=375 null=125 real=125 text=250');
    my $read = $db->prepare('SELECT v FROM item WHERE part = ? AND n = ?');
    for my $i (0 .. $ROWS - 1) {
        my ($wanted) = value($i);
        $read->bind_param(1, 'p' . $i % 10);
        $read->bind_param(2, $i - 500, SQL_INTEGER);
        my ($got) = $db->selectrow_array($read);
        same($got // 'undef', $wanted // 'undef');
    }
    $db->disconnect;
}

sub ranges {
    my $db = connection();
    same(column($db, 'SELECT key FROM kv WHERE key GLOB ? ORDER BY key', 'user:012*'),
        join ' ', map { "user:012$_" } 0 .. 9);
    same(column($db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
        'user:0199 user:0198');
    # DBI binds what it was not told a type of as text, which the column's type makes an integer.
    same(column($db, 'SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
                      ORDER BY n DESC LIMIT 3', 'p3', -100, 100), '93 83 73');
    $db->disconnect;
}

sub joined {
    my $db = connection();
    $db->do('CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)');
    $db->do("INSERT INTO part VALUES ('p3', 'third'), (?, ?)", undef, 'p7', 'siebtes Stück');
    same(column($db, "SELECT title || ' ' || count(*) || ' ' || sum(n)
                      FROM part JOIN item ON item.part = part.name
                      WHERE n < 0 GROUP BY title ORDER BY title"),
        'siebtes Stück 50 -12400 third 50 -12600');
    $db->disconnect;
}

sub conflicts {
    my $db = connection();
    my @unique = (1555, 'UNIQUE constraint failed: item.part, item.n');
    my @again = ('INSERT INTO item VALUES (?, ?, NULL, 0)', 'p3', 93);
    fails($db, @unique, @again);
    fails($db, 1299, 'NOT NULL constraint failed: kv.key', 'INSERT INTO kv VALUES (?, 1)', undef);
    fails($db, 1, 'UPSERT not implemented for virtual table "kv"', "INSERT INTO kv
          VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2");
    same($db->do("INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')"), '0E0');
    $db->{AutoCommit} = 0;
    $db->do("REPLACE INTO kv VALUES ('before', 1)");
    fails($db, @unique, @again);
    $db->do("REPLACE INTO kv VALUES ('after', 1)");
    $db->commit;
    $db->{AutoCommit} = 1;
    same($db->do("DELETE FROM kv WHERE key IN ('before', 'after')"), 2);
    $db->disconnect;
}

sub savepoints {
    my $db = connection();
    my $counts = "SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
                  (SELECT count(*) FROM part)";
    my $before = one($db, $counts);
    $db->begin_work;
    $db->do('SAVEPOINT one');
    $db->do('DELETE FROM item WHERE part IN (SELECT name FROM part)');
    $db->do('SAVEPOINT two');
    $db->do("INSERT INTO kv VALUES ('undone', 1)");
    $db->do('DELETE FROM part');
    same(one($db, $counts), '800,1001,0');
    $db->do('ROLLBACK TO two');
    same(one($db, $counts), '800,1000,2');
    $db->do('ROLLBACK TO one');
    $db->do('RELEASE one');
    $db->commit;
    same(one($db, $counts), $before);
    $db->disconnect;
}

sub two_connections {
    my ($one, $two) = (connection(), connection());
    my $seen = "SELECT count(*) FROM kv WHERE key = 'seen'";
    same(one($two, $seen), 0);
    $one->begin_work;
    $one->do("INSERT INTO kv VALUES ('seen', 1)");
    same(one($one, $seen) . one($two, $seen), '10');
    fails($two, 5, 'database is locked', "INSERT INTO kv VALUES ('seen', 2)");
    $one->commit;
    same(one($two, $seen), 1);
    same($two->do("DELETE FROM kv WHERE key = 'seen'"), 1);
    same(one($one, $seen), 0);
    $_->disconnect for $one, $two;
}

sub in_threads {    # no connection may be open here: each thread would have a copy of it
    my @running = map {
        my $number = $_;
        threads->create({context => 'scalar'}, sub {
            my $db = connection(20000);
            for my $start (map { $_ * 25 } 0 .. 9) {
                $db->begin_work;    # DBD::SQLite says BEGIN IMMEDIATE
                $db->do('INSERT INTO kv VALUES (?, ?)', undef,
                    sprintf('thread:%d:%03d', $number, $_), $_) for $start .. $start + 24;
                $db->commit;
                same(one($db, 'SELECT count(*) FROM kv WHERE key GLOB ?', "thread:$number:*"),
                    $start + 25);
            }
            $db->disconnect;
            return 'ended';
        });
    } 0 .. 2;
    same($_->join // 'died', 'ended') for @running;
    my $db = connection();
    same($db->do("DELETE FROM kv WHERE key GLOB 'thread:*'"), 750);
    $db->disconnect;
}

sub functions {
    my $db = connection();
    $db->sqlite_create_function('last_digit', 1, sub { substr $_[0], -1 });
    $db->sqlite_create_function('up_to', 1, sub { $_[0] < 50 ? $_[0] : die "too much\n" });
    $db->sqlite_create_function('value_of', 1,
        sub { one($db, 'SELECT value FROM kv WHERE key = ?', $_[0]) });
    same(one($db, 'SELECT count(*) FROM kv WHERE last_digit(key) = 7'), 100);
    same($db->do("UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"), 100);
    same(one($db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 5400);
    $db->do("UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'");
    fails($db, 1, "too much\n", 'UPDATE kv SET value = -up_to(value)');
    same(one($db, 'SELECT sum(value) FROM kv'), 499500);
    same(one($db, "SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'"), 9945);
    $db->sqlite_create_function('value_of', 1, undef);    # or it would hold its connection
    $db->disconnect;
}

sub unfinished {
    my $db = connection();
    my $read = $db->prepare('SELECT key FROM kv ORDER BY key');
    $read->execute;
    my @keys = map { $read->fetchrow_array } 0 .. 2;
    $db->begin_work;
    $db->do("INSERT INTO kv VALUES ('zz', 1)");
    $db->commit;
    push @keys, $read->fetchrow_array;
    $db->begin_work;
    $db->do('DELETE FROM kv');
    $db->rollback;
    same("@keys", join ' ', map { "user:000$_" } 0 .. 3);
    undef $db;    # the statement holds it
    my $other = connection();
    same(one($other, "SELECT value FROM kv WHERE key = 'zz'"), 1);
    undef $read;
    $other->do("DELETE FROM kv WHERE key = 'zz'");
    # Closed under a statement that is still running, in a transaction.
    $db = connection();
    $read = $db->prepare('SELECT key FROM kv');
    $read->execute;
    $read->fetchrow_array;
    $db->begin_work;
    $db->do("INSERT INTO kv VALUES ('zz', 2)");
    { local $SIG{__WARN__} = sub { }; $db->disconnect }
    same(one($other, "SELECT count(*) FROM kv WHERE key = 'zz'"), 0);
    undef $db;
    undef $read;
    $other->do("INSERT INTO kv VALUES ('zz', 3)");
    $other->do("DELETE FROM kv WHERE key = 'zz'");
    $other->disconnect;
}

sub left_open {
    system($^X, $0, 'leave') == 0 or die "the child ended with status $?\n";
    my $db = connection();
    same(column($db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), 'left:committed');
    $db->do("DELETE FROM kv WHERE key GLOB 'left:*'");
    $db->disconnect;
}

our @kept;    # a global: destroyed last, in no particular order

sub leave {
    my $db = connection();
    $db->do("INSERT INTO kv VALUES ('left:committed', 1)");
    my $read = $db->prepare('SELECT * FROM kv');
    $read->execute;
    $read->fetchrow_array;
    $db->begin_work;
    $db->do("INSERT INTO kv VALUES ('left:open', 1)");
    @kept = ($db, $read);
    exit 0;
}

sub reopened {
    my $db = connection();
    same(column($db, 'SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM kv)'), 2000);
    same(one($db, difference('item', 'native')), 0);
    same(one($db, difference('native', 'item')), 0);
    same(one($db, 'SELECT sum(value) FROM kv'), 499500);
    $db->do("INSERT INTO kv(kv) VALUES ('integrity-check')");
    same(one($db, 'PRAGMA integrity_check'), 'ok');
    $db->disconnect;
}

leave() if "@ARGV" eq 'leave';
my @parts = (
    [load => \&load], [types => \&types], [ranges => \&ranges], [joined => \&joined],
    [conflicts => \&conflicts], [savepoints => \&savepoints], [functions => \&functions],
    [two_connections => \&two_connections], [in_threads => \&in_threads],
    [unfinished => \&unfinished], [left_open => \&left_open], [reopened => \&reopened]);
my $failed = 0;
for my $part (@parts) {
    if (eval { $part->[1]->(); 1 }) {
        push @passed, $part->[0];
    } else {
        $failed++;
        print "FAILED $part->[0]: $@";
        last if $part->[0] eq 'load';
    }
}
printf "%d passed, %d failed\n", scalar @passed, $failed;
exit($failed ? 1 : 0);
