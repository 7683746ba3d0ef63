#!/usr/bin/env bash
# run_node_sqlite.sh -- node:sqlite, which newer Nodes have built in. Must run if better-sqlite3
# cannot.
. "$(dirname "$0")/driver.sh"
node_path
has_better_sqlite3 || MUST=1
needs "node:sqlite (npm)" node --no-warnings -e 'require("node:sqlite")'
finish node --no-warnings "$HERE/use_node.js" node:sqlite
