# use_ruby.rb -- fastkv in Ruby's sqlite3. The programme is use_python.py's. Strings are bound as
# blobs when their encoding is binary; a thread that waits must wait in Ruby, in a busy handler, as
# the binding keeps the interpreter's lock while SQLite runs.
require "rbconfig"
require "sqlite3"

PATH = ENV["FASTKV_TMP"] + "/ruby.db"
ROWS = 1000

def difference(one, two)
  "SELECT count(*) FROM (
     SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM #{one} EXCEPT
     SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM #{two})"
end

def same(got, wanted)
  raise "got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted
end

def connect
  db = SQLite3::Database.new(PATH)
  db.enable_load_extension(true)
  db.load_extension(ENV["FASTKV_SO"])
  db.enable_load_extension(false)
  db
end

def one(db, sql, *args)
  db.get_first_value(sql, args)
end

def column(db, sql, *args)
  db.execute(sql, args).map(&:first)
end

def changed(db, sql, *args)
  db.execute(sql, args)
  db.changes
end

def fails(db, kind, words, sql, *args)
  db.execute(sql, args)
rescue SQLite3::Exception => e
  same([e.class, e.message], [kind, words])
else
  raise "no error: #{sql}"
end

def value(i)
  [nil, i, 2**63 - 1 - i, -2**63 + i, i * 0.5 + 0.1, "grün 日本 🙂 #{i}", "a\0b#{i}",
   [0, 255, i & 255, 128].pack("C4")][i % 8]
end

def load_it
  db = SQLite3::Database.new(PATH)
  fails(db, SQLite3::SQLException, "no such module: fastkv", "CREATE VIRTUAL TABLE t USING fastkv")
  db.close
  db = connect
  puts "SQLite #{one(db, "SELECT sqlite_version()")}, Ruby #{RUBY_VERSION}, " \
       "sqlite3 #{SQLite3::VERSION}, fastkv #{one(db, "SELECT fastkv_version()")}"
  db.execute_batch <<~SQL
    CREATE VIRTUAL TABLE item USING fastkv(
      part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
    CREATE TABLE native(
      part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE kv USING fastkv;
  SQL
  db.close
end

def types
  db = connect
  db.transaction do
    %w[item native].each do |table|
      db.prepare("INSERT INTO #{table} VALUES (?, ?, ?, ?)") do |insert|
        ROWS.times { |i| insert.execute("p#{i % 10}", i - 500, value(i), i) }
      end
    end
    db.prepare("INSERT INTO kv VALUES (?, ?)") do |insert|
      ROWS.times { |i| insert.execute(format("user:%04d", i), i) }
    end
  end
  same(one(db, "SELECT count(*) FROM item"), ROWS)
  same(one(db, difference("item", "native")), 0)
  same(one(db, difference("native", "item")), 0)
  same(db.execute("SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1"),
       [["blob", 125], ["integer", 375], ["null", 125], ["real", 125], ["text", 250]])
  same(db.execute("SELECT * FROM item").sort_by { |row| row[1] },
       (0...ROWS).map { |i| ["p#{i % 10}", i - 500, value(i), i.to_f] })
  db.close
end

def ranges
  db = connect
  same(column(db, "SELECT key FROM kv WHERE key GLOB ? ORDER BY key", "user:012*"),
       (0..9).map { |i| "user:012#{i}" })
  same(column(db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
       %w[user:0199 user:0198])
  same(column(db, "SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
                   ORDER BY n DESC LIMIT 3", "p3", -100, 100), [93, 83, 73])
  db.close
end

def joined
  db = connect
  db.execute("CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)")
  db.execute("INSERT INTO part VALUES ('p3', 'third'), (?, ?)", ["p7", "siebtes Stück"])
  same(db.execute("SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                   WHERE n < ? GROUP BY title ORDER BY title", [0]),
       [["siebtes Stück", 50, -12400], ["third", 50, -12600]])
  db.close
end

def conflicts
  db = connect
  unique = [SQLite3::ConstraintException, "UNIQUE constraint failed: item.part, item.n",
            "INSERT INTO item VALUES (?, ?, NULL, 0)", "p3", 93]
  fails(db, *unique)
  fails(db, SQLite3::ConstraintException, "NOT NULL constraint failed: kv.key",
        "INSERT INTO kv VALUES (?, 1)", nil)
  fails(db, SQLite3::SQLException, 'UPSERT not implemented for virtual table "kv"',
        "INSERT INTO kv VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2")
  before = db.total_changes
  db.execute("INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')")
  same(db.total_changes, before)
  db.transaction do
    db.execute("REPLACE INTO kv VALUES ('before', 1)")
    fails(db, *unique)
    db.execute("REPLACE INTO kv VALUES ('after', 1)")
    same(db.transaction_active?, true)
  end
  same(changed(db, "DELETE FROM kv WHERE key IN ('before', 'after')"), 2)
  db.close
end

def savepoints
  db = connect
  counts = "SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
            (SELECT count(*) FROM part)"
  before = one(db, counts)
  db.transaction do
    db.execute("SAVEPOINT one")
    db.execute("DELETE FROM item WHERE part IN (SELECT name FROM part)")
    db.execute("SAVEPOINT two")
    db.execute("INSERT INTO kv VALUES ('undone', 1)")
    db.execute("DELETE FROM part")
    same(one(db, counts), "800,1001,0")
    db.execute("ROLLBACK TO two")
    same(one(db, counts), "800,1000,2")
    db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")
  end
  same(one(db, counts), before)
  # An exception in the block rolls the transaction back.
  begin
    db.transaction do
      db.execute("DELETE FROM kv")
      raise KeyError
    end
  rescue KeyError
    same(one(db, counts), before)
  end
  db.close
end

def two_connections
  a = connect
  b = connect
  seen = "SELECT count(*) FROM kv WHERE key = 'seen'"
  same(one(b, seen), 0)
  a.transaction do
    a.execute("INSERT INTO kv VALUES ('seen', 1)")
    same([one(a, seen), one(b, seen)], [1, 0])
    fails(b, SQLite3::BusyException, "database is locked", "INSERT INTO kv VALUES ('seen', 2)")
  end
  same(one(b, seen), 1)
  same(changed(b, "DELETE FROM kv WHERE key = 'seen'"), 1)
  same(one(a, seen), 0)
  a.close
  b.close
end

def threads
  running = (0..3).map do |number|
    Thread.new do
      db = connect
      db.busy_handler { |tries| sleep(0.002) && tries < 10_000 }
      (0...250).step(25) do |start|
        db.transaction(:immediate) do
          (start...start + 25).each do |i|
            db.execute("INSERT INTO kv VALUES (?, ?)", [format("thread:%d:%03d", number, i), i])
            Thread.pass
          end
        end
        same(one(db, "SELECT count(*) FROM kv WHERE key GLOB ?", "thread:#{number}:*"), start + 25)
      end
      db.close
    end
  end
  running.each { |thread| thread.report_on_exception = false }
  running.each(&:join)
  db = connect
  same(changed(db, "DELETE FROM kv WHERE key GLOB 'thread:*'"), 1000)
  db.close
end

def functions
  db = connect
  db.create_function("last_digit", 1) { |call, key| call.result = key[-1].to_i }
  db.create_function("up_to", 1) { |call, n| call.result = n < 50 ? n : raise("too much") }
  db.create_function("value_of", 1) do |call, key|
    text = key.force_encoding("UTF-8") # it came as binary, which would be bound as a blob
    call.result = one(db, "SELECT value FROM kv WHERE key = ?", text)
  end
  same(one(db, "SELECT count(*) FROM kv WHERE last_digit(key) = 7"), 100)
  same(changed(db, "UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"), 100)
  same(one(db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), 5400)
  db.execute("UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'")
  same(one(db, "SELECT sum(value) FROM kv"), 499500)
  same(one(db, "SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'"), 9945)
  db.close
end

def unfinished
  db = connect
  read = db.prepare("SELECT key FROM kv ORDER BY key")
  rows = read.execute
  keys = Array.new(3) { rows.next[0] }
  db.transaction { db.execute("INSERT INTO kv VALUES ('zz', 1)") }
  keys << rows.next[0]
  db.transaction
  db.execute("DELETE FROM kv")
  db.rollback
  keys << rows.next[0]
  same(keys, (0..4).map { |i| "user:000#{i}" })
  other = connect
  same(one(other, "SELECT value FROM kv WHERE key = 'zz'"), 1)
  begin # the binding does not close a connection that has statements
    db.close
  rescue SQLite3::BusyException => e
    same(e.message.include?("unfinalized statements"), true)
  end
  read.close
  db.close
  same(changed(other, "DELETE FROM kv WHERE key = 'zz'"), 1)
  other.close
end

# Connections and statements for the collector to free in its own order: in a thread that ends, as
# it looks at stacks as well, and in a process that ends, as older versions of the binding lose a
# connection that they collect before its statements, locks and all, with native tables too.
def abandon
  20.times do
    Thread.new do
      db = connect
      rows = db.prepare("SELECT key FROM kv ORDER BY key DESC").execute
      same(rows.next[0], "user:0999")
    end.join
  end
  GC.start
end

def left_open
  system(RbConfig.ruby, __FILE__, "leave") || raise("the child ended with #{$?}")
  db = connect
  same(column(db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), ["left:committed"])
  db.execute("DELETE FROM kv WHERE key GLOB 'left:*'")
  db.close
end

def leave
  db = connect
  db.execute("INSERT INTO kv VALUES ('left:committed', 1)")
  rows = db.prepare("SELECT * FROM kv").execute
  rows.next
  db.transaction
  db.execute("INSERT INTO kv VALUES ('left:open', 1)")
  $kept = [db, rows]
  abandon
  exit 0
end

def reopened
  db = connect
  same([one(db, "SELECT count(*) FROM item"), one(db, "SELECT count(*) FROM kv")], [1000, 1000])
  same(one(db, difference("item", "native")), 0)
  same(one(db, difference("native", "item")), 0)
  same(one(db, "SELECT sum(value) FROM kv"), 499500)
  db.execute("INSERT INTO kv(kv) VALUES ('integrity-check')")
  same(one(db, "PRAGMA integrity_check"), "ok")
  db.close
end

leave if ARGV == ["leave"]
passed = failed = 0
%i[load_it types ranges joined conflicts savepoints two_connections threads functions unfinished
   left_open reopened].each do |part|
  send(part)
  passed += 1
rescue StandardError => e
  failed += 1
  puts "FAILED #{part}: #{e.full_message(highlight: false)}"
  break if part == :load_it
end
puts "#{passed} passed, #{failed} failed"
exit(failed.zero?)
