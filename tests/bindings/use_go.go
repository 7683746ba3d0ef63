// use_go.go -- fastkv in Go's database/sql through mattn/go-sqlite3. The programme is
// use_python.py's. A pool of connections hides behind every sql.DB, each of which loads the
// extension as it opens; goroutines share one pool and move between threads.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
)

const rows = 1000

var file = os.Getenv("FASTKV_TMP") + "/go.db"
var none = context.Background()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(got, wanted interface{}) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Sprintf("got %#v, wanted %#v", got, wanted))
	}
}

func lastDigit(key string) int64 { return int64(key[len(key)-1] - '0') }

func upTo(n int64) (int64, error) {
	if n < 50 {
		return n, nil
	}
	return 0, errors.New("too much")
}

func register() {
	sql.Register("fastkv", &sqlite3.SQLiteDriver{
		Extensions: []string{os.Getenv("FASTKV_SO")},
		ConnectHook: func(c *sqlite3.SQLiteConn) error {
			if err := c.RegisterFunc("last_digit", lastDigit, true); err != nil {
				return err
			}
			return c.RegisterFunc("up_to", upTo, true)
		},
	})
}

func open(timeout int) *sql.DB {
	name := fmt.Sprintf("file:%s?_busy_timeout=%d&_txlock=immediate", file, timeout)
	db, err := sql.Open("fastkv", name)
	must(err)
	return db
}

// A pool or one connection of it.
type runner interface {
	ExecContext(context.Context, string, ...interface{}) (sql.Result, error)
	QueryContext(context.Context, string, ...interface{}) (*sql.Rows, error)
}

func run(db runner, text string, args ...interface{}) int64 {
	result, err := db.ExecContext(none, text, args...)
	must(err)
	changed, err := result.RowsAffected()
	must(err)
	return changed
}

// Every row as one string.
func column(db runner, text string, args ...interface{}) []string {
	found := []string{}
	read, err := db.QueryContext(none, text, args...)
	must(err)
	defer read.Close()
	for read.Next() {
		var s string
		must(read.Scan(&s))
		found = append(found, s)
	}
	must(read.Err())
	return found
}

func one(db runner, text string, args ...interface{}) string {
	return column(db, text, args...)[0]
}

func fails(db runner, code sqlite3.ErrNoExtended, words, text string, args ...interface{}) {
	_, err := db.ExecContext(none, text, args...)
	var said sqlite3.Error
	if !errors.As(err, &said) {
		panic(fmt.Sprintf("no error: %s", text))
	}
	same([]interface{}{said.ExtendedCode, said.Error()}, []interface{}{code, words})
}

func difference(one, two string) string {
	return fmt.Sprintf(`SELECT count(*) FROM (
	  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s EXCEPT
	  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s)`, one, two)
}

func value(i int64) interface{} {
	return []interface{}{nil, i, int64(1)<<62 - 1 + int64(1)<<62 - i, -int64(1)<<63 + i,
		float64(i)*0.5 + 0.1, fmt.Sprintf("grün 日本 🙂 %d", i), fmt.Sprintf("a\x00b%d", i),
		[]byte{0, 255, byte(i), 128}}[i%8]
}

func load() {
	plain, err := sql.Open("sqlite3", file)
	must(err)
	fails(plain, 1, "no such module: fastkv", "CREATE VIRTUAL TABLE t USING fastkv")
	must(plain.Close())
	db := open(50)
	defer db.Close()
	fmt.Printf("SQLite %s, %s, fastkv %s\n", one(db, "SELECT sqlite_version()"), runtime.Version(),
		one(db, "SELECT fastkv_version()"))
	run(db, `CREATE VIRTUAL TABLE item USING fastkv(
	           part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
	         CREATE TABLE native(
	           part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
	         CREATE VIRTUAL TABLE kv USING fastkv`)
}

func types() {
	db := open(50)
	defer db.Close()
	tx, err := db.Begin()
	must(err)
	for _, table := range []string{"item", "native"} {
		insert, err := tx.Prepare("INSERT INTO " + table + " VALUES (?, ?, ?, ?)")
		must(err)
		for i := int64(0); i < rows; i++ {
			_, err := insert.Exec(fmt.Sprintf("p%d", i%10), i-500, value(i), i)
			must(err)
		}
		must(insert.Close())
	}
	for i := int64(0); i < rows; i++ {
		run(tx, "INSERT INTO kv VALUES (?, ?)", fmt.Sprintf("user:%04d", i), i)
	}
	must(tx.Commit())
	same(one(db, "SELECT count(*) FROM item"), "1000")
	same(one(db, difference("item", "native")), "0")
	same(one(db, difference("native", "item")), "0")
	same(column(db, "SELECT typeof(v) || count(*) FROM item GROUP BY typeof(v) ORDER BY 1"),
		[]string{"blob125", "integer375", "null125", "real125", "text250"})
	read, err := db.Prepare("SELECT v FROM item WHERE part = ? AND n = ?")
	must(err)
	defer read.Close()
	for i := int64(0); i < rows; i++ {
		var v interface{}
		must(read.QueryRow(fmt.Sprintf("p%d", i%10), i-500).Scan(&v))
		same(v, value(i))
	}
}

func ranges() {
	db := open(50)
	defer db.Close()
	wanted := []string{}
	for i := 0; i < 10; i++ {
		wanted = append(wanted, fmt.Sprintf("user:012%d", i))
	}
	same(column(db, "SELECT key FROM kv WHERE key GLOB ? ORDER BY key", "user:012*"), wanted)
	same(column(db, "SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2"),
		[]string{"user:0199", "user:0198"})
	same(column(db, `SELECT n FROM item WHERE part = ? AND n BETWEEN ? AND ?
	                 ORDER BY n DESC LIMIT 3`, "p3", -100, 100), []string{"93", "83", "73"})
}

func joined() {
	db := open(50)
	defer db.Close()
	run(db, "CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT)")
	run(db, "INSERT INTO part VALUES ('p3', 'third'), (?, ?)", "p7", "siebtes Stück")
	same(column(db, `SELECT title || ' ' || count(*) || ' ' || sum(n)
	                 FROM part JOIN item ON item.part = part.name
	                 WHERE n < ? GROUP BY title ORDER BY title`, 0),
		[]string{"siebtes Stück 50 -12400", "third 50 -12600"})
}

func conflicts() {
	db := open(50)
	defer db.Close()
	again := "INSERT INTO item VALUES (?, ?, NULL, 0)"
	unique := "UNIQUE constraint failed: item.part, item.n"
	fails(db, sqlite3.ErrConstraintPrimaryKey, unique, again, "p3", 93)
	fails(db, sqlite3.ErrConstraintNotNull, "NOT NULL constraint failed: kv.key",
		"INSERT INTO kv VALUES (?, 1)", nil)
	fails(db, 1, `UPSERT not implemented for virtual table "kv"`, `INSERT INTO kv
	      VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2`)
	run(db, "INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')")
	same(one(db, "SELECT value FROM kv WHERE key = 'user:0001'"), "1")
	tx, err := db.Begin()
	must(err)
	run(tx, "REPLACE INTO kv VALUES ('before', 1)")
	fails(tx, sqlite3.ErrConstraintPrimaryKey, unique, again, "p3", 93)
	run(tx, "REPLACE INTO kv VALUES ('after', 1)")
	must(tx.Commit())
	same(run(db, "DELETE FROM kv WHERE key IN ('before', 'after')"), int64(2))
}

func savepoints() {
	db := open(50)
	defer db.Close()
	counts := `SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
	           (SELECT count(*) FROM part)`
	before := one(db, counts)
	tx, err := db.Begin()
	must(err)
	run(tx, `SAVEPOINT one; DELETE FROM item WHERE part IN (SELECT name FROM part);
	         SAVEPOINT two; INSERT INTO kv VALUES ('undone', 1); DELETE FROM part`)
	same(one(tx, counts), "800,1001,0")
	run(tx, "ROLLBACK TO two")
	same(one(tx, counts), "800,1000,2")
	run(tx, "ROLLBACK TO one; RELEASE one")
	must(tx.Commit())
	same(one(db, counts), before)
}

func twoConnections() {
	a, b := open(50), open(50)
	defer a.Close()
	defer b.Close()
	seen := "SELECT count(*) FROM kv WHERE key = 'seen'"
	same(one(b, seen), "0")
	tx, err := a.Begin()
	must(err)
	run(tx, "INSERT INTO kv VALUES ('seen', 1)")
	same(one(tx, seen)+one(b, seen)+one(a, seen), "100") // a's is another connection of its pool
	fails(b, sqlite3.ErrNoExtended(sqlite3.ErrBusy), "database is locked",
		"INSERT INTO kv VALUES ('seen', 2)")
	must(tx.Commit())
	same(one(b, seen), "1")
	same(run(b, "DELETE FROM kv WHERE key = 'seen'"), int64(1))
	same(one(a, seen), "0")
}

func goroutines() {
	db := open(20000)
	defer db.Close()
	var wait sync.WaitGroup
	problems := make(chan interface{}, 8)
	for number := 0; number < 8; number++ {
		wait.Add(1)
		go func(number int) {
			defer wait.Done()
			defer func() {
				if problem := recover(); problem != nil {
					problems <- problem
				}
			}()
			for start := 0; start < 100; start += 25 {
				tx, err := db.Begin()
				must(err)
				for i := start; i < start+25; i++ {
					run(tx, "INSERT INTO kv VALUES (?, ?)", fmt.Sprintf("thread:%d:%03d", number, i), i)
				}
				must(tx.Commit())
				same(one(db, "SELECT count(*) FROM kv WHERE key GLOB ?",
					fmt.Sprintf("thread:%d:*", number)), fmt.Sprint(start+25))
			}
		}(number)
	}
	wait.Wait()
	close(problems)
	for problem := range problems {
		panic(problem)
	}
	same(run(db, "DELETE FROM kv WHERE key GLOB 'thread:*'"), int64(800))
}

func functions() {
	db := open(50)
	defer db.Close()
	same(one(db, "SELECT count(*) FROM kv WHERE last_digit(key) = 7"), "100")
	same(run(db, "UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'"),
		int64(100))
	same(one(db, "SELECT sum(value) FROM kv WHERE key < 'user:0100'"), "5400")
	run(db, "UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'")
	fails(db, 1, "too much", "UPDATE kv SET value = -up_to(value)")
	same(one(db, "SELECT sum(value) FROM kv"), "499500")
}

func unfinished() {
	db, other := open(50), open(50)
	c, err := db.Conn(none)
	must(err)
	read, err := c.QueryContext(none, "SELECT key FROM kv ORDER BY key")
	must(err)
	keys := []string{}
	next := func() {
		var key string
		read.Next()
		must(read.Scan(&key))
		keys = append(keys, key)
	}
	next()
	next()
	// database/sql lends a connection to one statement at a time: this is the driver's own.
	must(c.Raw(func(driver interface{}) error {
		_, err := driver.(*sqlite3.SQLiteConn).Exec(
			"BEGIN; INSERT INTO kv VALUES ('zz', 1); COMMIT", nil)
		return err
	}))
	next()
	must(c.Raw(func(driver interface{}) error {
		_, err := driver.(*sqlite3.SQLiteConn).Exec("BEGIN; DELETE FROM kv; ROLLBACK", nil)
		return err
	}))
	next()
	same(strings.Join(keys, " "), "user:0000 user:0001 user:0002 user:0003")
	same(one(other, "SELECT value FROM kv WHERE key = 'zz'"), "1")
	// A context that ends interrupts the query, as SQLite is stepping or between two rows.
	limited, cancel := context.WithTimeout(none, 30*time.Millisecond)
	defer cancel()
	_, err = other.ExecContext(limited, `INSERT INTO kv
	    SELECT 'zz' || a.key || b.key, 1 FROM kv AS a, kv AS b`)
	if err == nil {
		panic("not interrupted")
	}
	must(read.Close())
	must(c.Close())
	must(db.Close())
	same(run(other, "DELETE FROM kv WHERE key >= 'zz'"), int64(1))
	must(other.Close())
}

// Pools and rows that nobody closes, collected or not, and a process that ends in a transaction.
func leave() {
	for i := 0; i < 20; i++ {
		read, err := open(50).Query("SELECT key FROM kv")
		must(err)
		read.Next()
	}
	runtime.GC()
	db := open(50)
	run(db, "INSERT INTO kv VALUES ('left:committed', 1)")
	tx, err := db.Begin()
	must(err)
	run(tx, "INSERT INTO kv VALUES ('left:open', 1)")
	os.Exit(0)
}

func leftOpen() {
	db := open(50)
	same(one(db, "PRAGMA journal_mode = WAL"), "wal") // or those who read would hold up the writer
	must(db.Close())
	child := exec.Command(os.Args[0], "leave")
	child.Stdout, child.Stderr = os.Stdout, os.Stdout
	must(child.Run())
	db = open(50)
	defer db.Close()
	same(column(db, "SELECT key FROM kv WHERE key GLOB 'left:*'"), []string{"left:committed"})
	run(db, "DELETE FROM kv WHERE key GLOB 'left:*'")
}

func reopened() {
	db := open(50)
	defer db.Close()
	same(one(db, "SELECT (SELECT count(*) FROM item) || ' ' || (SELECT count(*) FROM kv)"),
		"1000 1000")
	same(one(db, difference("item", "native")), "0")
	same(one(db, difference("native", "item")), "0")
	same(one(db, "SELECT sum(value) FROM kv"), "499500")
	run(db, "INSERT INTO kv(kv) VALUES ('integrity-check')")
	same(one(db, "PRAGMA integrity_check"), "ok")
}

func passes(name string, part func()) (ok bool) {
	defer func() {
		if problem := recover(); problem != nil {
			_, _, line, _ := runtime.Caller(4)
			fmt.Printf("FAILED %s (line %d): %v\n", name, line, problem)
		}
	}()
	part()
	return true
}

func main() {
	register()
	if len(os.Args) > 1 {
		leave()
	}
	passed, failed := 0, 0
	for _, part := range []struct {
		name string
		run  func()
	}{{"load", load}, {"types", types}, {"ranges", ranges}, {"joined", joined},
		{"conflicts", conflicts}, {"savepoints", savepoints}, {"two connections", twoConnections},
		{"goroutines", goroutines}, {"functions", functions}, {"unfinished", unfinished},
		{"left open", leftOpen}, {"reopened", reopened}} {
		if passes(part.name, part.run) {
			passed++
		} else {
			failed++
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
