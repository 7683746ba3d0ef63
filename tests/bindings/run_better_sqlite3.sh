#!/usr/bin/env bash
# run_better_sqlite3.sh -- Node's better-sqlite3, which carries its own, newer SQLite. `make verify`
# builds it; it must run there if node:sqlite cannot.
. "$(dirname "$0")/driver.sh"
node_path
if [ -z "${FKV_TEST_VERIFY-}" ] && ! has_better_sqlite3 >/dev/null 2>&1; then
    echo "SKIPPED better_sqlite3, and two SQLites in one process: compiling it takes minutes; make verify does"
    echo "0 passed, 0 failed"
    exit 0
fi
node --no-warnings -e 'require("node:sqlite")' 2>/dev/null || MUST=1
needs "better-sqlite3 (npm, built from source)" has_better_sqlite3
finish node --no-warnings "$HERE/use_node.js" better-sqlite3
