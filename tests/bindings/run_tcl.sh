#!/usr/bin/env bash
# run_tcl.sh -- Tcl's sqlite3 package, SQLite's oldest binding.
. "$(dirname "$0")/driver.sh"
MUST=1
has_package() { [ "$(echo 'puts [catch {package require sqlite3}]' | tclsh)" = 0 ]; }
needs "Tcl with sqlite3 (Debian: libsqlite3-tcl)" has_package
finish tclsh "$HERE/use_tcl.tcl"
