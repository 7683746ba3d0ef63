#!/usr/bin/env bash
# run_ruby.sh -- Ruby's sqlite3.
. "$(dirname "$0")/driver.sh"
needs "Ruby's sqlite3 (Debian: ruby-sqlite3)" ruby -rsqlite3 -e ''
finish ruby "$HERE/use_ruby.rb"
