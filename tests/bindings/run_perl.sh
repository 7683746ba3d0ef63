#!/usr/bin/env bash
# run_perl.sh -- Perl's DBD::SQLite.
. "$(dirname "$0")/driver.sh"
MUST=1
needs "DBD::SQLite (Debian: libdbd-sqlite3-perl)" perl -MDBD::SQLite -e 1
finish perl "$HERE/use_perl.pl"
