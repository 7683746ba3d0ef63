#!/usr/bin/env bash
# run_better_sqlite3.sh -- Node's better-sqlite3, which carries its own, newer SQLite. Must run if
# node:sqlite cannot.
. "$(dirname "$0")/driver.sh"
node_path
node --no-warnings -e 'require("node:sqlite")' 2>/dev/null || MUST=1
needs "better-sqlite3 (npm, built from source)" has_better_sqlite3
finish node --no-warnings "$HERE/use_node.js" better-sqlite3
