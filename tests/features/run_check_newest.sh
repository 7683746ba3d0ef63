#!/usr/bin/env bash
# run_check_newest.sh -- test_check with the newest SQLite there is, the amalgamation that npm's
# better-sqlite3 carries: there PRAGMA integrity_check asks the module as well.
#
# test-verify test-modes: release asan
#
# `make verify` fetches it and runs this. By hand: make build/deps-verify, and then this.
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PROGRAM=build/${FASTKV_MODE:-release}/newest/test_check
if [ ! -f "$ROOT/build/bindings/node/node_modules/better-sqlite3/deps/sqlite3/sqlite3.c" ]; then
    echo "SKIPPED integrity_check with the newest SQLite: better-sqlite3, which has its source, is not here"
    echo "0 passed, 0 failed"
    exit 0
fi
make --no-print-directory -C "$ROOT" MODE="${FASTKV_MODE:-release}" "$PROGRAM" || exit 1
exec "$ROOT/$PROGRAM" "$@"
