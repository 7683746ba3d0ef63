# use_tcl.tcl -- fastkv in Tcl's sqlite3 package. The programme is use_python.py's. A Tcl value is
# bound by what it was last used as; an unset variable is NULL, @name a blob. Statements do not
# outlive `eval`, but its script may run others, or leave it early. Threads need a package of their
# own, and are left out here.
package require sqlite3
set SO $env(FASTKV_SO)
set FILE $env(FASTKV_TMP)/tcl.db
set DIFFERENCE {SELECT count(*) FROM (
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s EXCEPT
  SELECT part, n, typeof(n), v, typeof(v), w, typeof(w) FROM %s)}

proc same {got wanted} {
    if {$got ne $wanted} {error "got <$got>, wanted <$wanted>"}
}

proc connect {name {timeout 50}} {
    sqlite3 $name $::FILE
    $name timeout $timeout
    $name enable_load_extension 1
    $name eval {SELECT load_extension($::SO)}
    $name enable_load_extension 0
}

proc fails {db code words sql} {
    if {![catch {uplevel 1 [list $db eval $sql]} said]} {error "no error: $sql"}
    same [list [$db errorcode] $said] [list $code $words]
}

# Rows 0 to 999, each value bound with its type.
proc fill {table} {
    for {set i 0} {$i < 1000} {incr i} {
        set part p[expr {$i % 10}]
        set n [expr {$i - 500}]
        unset -nocomplain v
        switch [expr {$i % 8}] {
            0 {}
            1 {set v [expr {$i + 0}]}
            2 {set v [expr {9223372036854775807 - $i}]}
            3 {set v [expr {-9223372036854775807 + $i}]}
            4 {set v [expr {$i * 0.5 + 0.1}]}
            5 {set v "gr\u00fcn \u65e5\u672c $i"}
            6 {set v "a\u0000b$i"}
            7 {set v [binary format c4 [list 0 255 [expr {$i & 255}] 128]]}
        }
        db eval "INSERT INTO $table VALUES (\$part, \$n, \$v, \$i)"
    }
}

proc load_it {} {
    sqlite3 db $::FILE
    fails db 1 "no such module: fastkv" {CREATE VIRTUAL TABLE t USING fastkv}
    fails db 1 "not authorized" {SELECT load_extension($::SO)}
    db close
    connect db
    puts "SQLite [db version], Tcl [info patchlevel], fastkv [db eval {SELECT fastkv_version()}]"
    db eval {
        CREATE VIRTUAL TABLE item USING fastkv(
          part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n));
        CREATE TABLE native(
          part TEXT, n INTEGER, v, w REAL, PRIMARY KEY (part, n)) WITHOUT ROWID;
        CREATE VIRTUAL TABLE kv USING fastkv;
    }
    db close
}

proc types {} {
    connect db
    db transaction {
        fill item
        fill native
        for {set i 0} {$i < 1000} {incr i} {
            set key [format user:%04d $i]
            db eval {INSERT INTO kv VALUES ($key, $i)}
        }
    }
    same [db eval {SELECT count(*) FROM item}] 1000
    same [db eval [format $::DIFFERENCE item native]] 0
    same [db eval [format $::DIFFERENCE native item]] 0
    same [db eval {SELECT typeof(v), count(*) FROM item GROUP BY 1 ORDER BY 1}] \
        {blob 125 integer 375 null 125 real 125 text 250}
    same [db eval {SELECT v FROM item WHERE part = 'p2' AND n = -498}] 9223372036854775805
    same [db eval {SELECT v FROM item WHERE part = 'p5' AND n = -495}] \
        [list "gr\u00fcn \u65e5\u672c 5"]
    same [db eval {SELECT v FROM item WHERE part = 'p7' AND n = -493}] \
        [list [binary format c4 {0 255 7 128}]]
    # What is not the case with a variable's last use: a blob by name.
    set blob "text"
    same [db onecolumn {SELECT typeof($blob) || typeof(@blob)}] textblob
    db eval {INSERT INTO kv VALUES ('blob', @blob)}
    same [db onecolumn {SELECT typeof(value) FROM kv WHERE key = 'blob'}] blob
    db eval {DELETE FROM kv WHERE key = 'blob'}
    db close
}

proc ranges {} {
    connect db
    set glob user:012*
    set wanted {}
    for {set i 0} {$i < 10} {incr i} {lappend wanted user:012$i}
    same [db eval {SELECT key FROM kv WHERE key GLOB $glob ORDER BY key}] $wanted
    same [db eval {SELECT key FROM kv WHERE key GLOB 'user:01*' ORDER BY key DESC LIMIT 2}] \
        {user:0199 user:0198}
    set part p3; set low -100; set high 100
    same [db eval {SELECT n FROM item WHERE part = $part AND n BETWEEN $low AND $high
                   ORDER BY n DESC LIMIT 3}] {93 83 73}
    db close
}

proc join_it {} {
    connect db
    set title "siebtes St\u00fcck"
    db eval {CREATE TABLE part(name TEXT PRIMARY KEY, title TEXT);
             INSERT INTO part VALUES ('p3', 'third'), ('p7', $title)}
    same [db eval {SELECT title, count(*), sum(n) FROM part JOIN item ON item.part = part.name
                   WHERE n < 0 GROUP BY title ORDER BY title}] \
        [list $title 50 -12400 third 50 -12600]
    db close
}

proc conflicts {} {
    connect db
    set n 93
    set unique "UNIQUE constraint failed: item.part, item.n"
    set again {INSERT INTO item VALUES ('p3', $n, NULL, 0)}
    fails db 19 $unique $again
    fails db 19 "NOT NULL constraint failed: kv.key" {INSERT INTO kv VALUES ($unset, 1)}
    fails db 1 {UPSERT not implemented for virtual table "kv"} {
        INSERT INTO kv VALUES ('user:0001', 1) ON CONFLICT (key) DO UPDATE SET value = 2}
    set before [db total_changes]
    db eval {INSERT OR IGNORE INTO kv VALUES ('user:0001', 'new')}
    same [db total_changes] $before
    db eval {BEGIN; REPLACE INTO kv VALUES ('before', 1)}
    fails db 19 $unique $again
    db eval {REPLACE INTO kv VALUES ('after', 1); COMMIT}
    db eval {DELETE FROM kv WHERE key IN ('before', 'after')}
    same [db changes] 2
    db close
}

# Tcl's transactions nest: the inner ones are savepoints, and an error undoes them.
proc savepoints {} {
    connect db
    set counts {SELECT (SELECT count(*) FROM item) || ',' || (SELECT count(*) FROM kv) || ',' ||
                (SELECT count(*) FROM part)}
    set before [db eval $counts]
    db transaction {
        catch {
            db transaction {
                db eval {DELETE FROM item WHERE part IN (SELECT name FROM part)}
                catch {
                    db transaction {
                        db eval {INSERT INTO kv VALUES ('undone', 1); DELETE FROM part}
                        set inner [db eval $counts]
                        error undo
                    }
                }
                set middle [db eval $counts]
                error undo
            }
        }
    }
    same "$inner $middle" "800,1001,0 800,1000,2"
    same [db eval $counts] $before
    db close
}

proc two_connections {} {
    connect a
    connect b
    set seen {SELECT count(*) FROM kv WHERE key = 'seen'}
    same [b eval $seen] 0
    a eval {BEGIN; INSERT INTO kv VALUES ('seen', 1)}
    same "[a eval $seen] [b eval $seen]" "1 0"
    fails b 5 "database is locked" {INSERT INTO kv VALUES ('seen', 2)}
    a eval COMMIT
    same [b eval $seen] 1
    b eval {DELETE FROM kv WHERE key = 'seen'}
    same "[b changes] [a eval $seen]" "1 0"
    a close
    b close
}

proc functions {} {
    connect db
    db function last_digit -deterministic {apply {key {string index $key end}}}
    db function up_to {apply {n {if {$n < 50} {return $n} {error "too much"}}}}
    db function value_of {apply {key {db onecolumn {SELECT value FROM kv WHERE key = $key}}}}
    same [db eval {SELECT count(*) FROM kv WHERE last_digit(key) = '7'}] 100
    db eval {UPDATE kv SET value = value + last_digit(key) WHERE key < 'user:0100'}
    same [db changes] 100
    same [db eval {SELECT sum(value) FROM kv WHERE key < 'user:0100'}] 5400
    db eval {UPDATE kv SET value = value - last_digit(key) WHERE key < 'user:0100'}
    fails db 1 "too much" {UPDATE kv SET value = -up_to(value)}
    same [db eval {SELECT sum(value) FROM kv}] 499500
    same [db eval {SELECT sum(value_of(key)) FROM kv WHERE key > 'user:0989'}] 9945
    db close
}

proc unfinished {} {
    connect db
    connect other
    set keys {}
    db eval {SELECT key FROM kv ORDER BY key} {
        lappend keys $key
        switch [llength $keys] {
            3 {db eval {BEGIN; INSERT INTO kv VALUES ('zz', 1); COMMIT}}
            4 {db eval {BEGIN; DELETE FROM kv; ROLLBACK}}
            5 {break}
        }
    }
    same $keys {user:0000 user:0001 user:0002 user:0003 user:0004}
    same [other eval {SELECT value FROM kv WHERE key = 'zz'}] 1
    # Closed by the script of a statement that is still running.
    catch {
        db eval {SELECT key FROM kv ORDER BY key} {
            db eval {BEGIN; INSERT INTO kv VALUES ('zzz', 2)}
            db close
            break
        }
    }
    same [info commands db] {}
    same [other eval {SELECT count(*) FROM kv WHERE key >= 'zz'}] 1
    other eval {DELETE FROM kv WHERE key = 'zz'}
    other close
}

# A process that ends without closing anything, in a transaction.
proc left_open {} {
    exec [info nameofexecutable] $::argv0 leave
    connect db
    same [db eval {SELECT key FROM kv WHERE key GLOB 'left:*'}] left:committed
    db eval {DELETE FROM kv WHERE key GLOB 'left:*'}
    db close
}

proc leave {} {
    connect db
    db eval {INSERT INTO kv VALUES ('left:committed', 1)}
    db eval {SELECT * FROM kv} {
        db eval {BEGIN; INSERT INTO kv VALUES ('left:open', 1)}
        exit 0
    }
}

proc reopened {} {
    connect db
    same [db eval {SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM kv)}] {1000 1000}
    same [db eval [format $::DIFFERENCE item native]] 0
    same [db eval [format $::DIFFERENCE native item]] 0
    same [db eval {SELECT sum(value) FROM kv}] 499500
    db eval {INSERT INTO kv(kv) VALUES ('integrity-check')}
    same [db eval {PRAGMA integrity_check}] ok
    db close
}

if {$argv eq "leave"} leave
set passed 0
set failed 0
foreach part {load_it types ranges join_it conflicts savepoints two_connections functions
              unfinished left_open reopened} {
    if {[catch $part said]} {
        incr failed
        puts "FAILED $part: $said\n$::errorInfo"
        if {$part eq "load_it"} break
        foreach db {db a b other} {catch {$db close}}
    } else {
        incr passed
    }
}
puts "$passed passed, $failed failed"
exit [expr {$failed != 0}]
