#!/usr/bin/env bash
# run_newest.sh -- the oracle with the newest SQLite there is, the amalgamation that npm's
# better-sqlite3 carries, as SQLite compiles it if nothing is said: LIKE matches BLOBs, and so on.
# With a sanitizer SQLite's own assertions are on as well.
#
# test-verify test-modes: release asan
#
# `make verify` fetches it and runs this. By hand: make build/deps-verify, and then
# bash tests/oracle/run_newest.sh [seed [histories]]
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MODE=${FASTKV_MODE:-release}
PROGRAM=build/$MODE/newest/test_oracle
if [ ! -f "$ROOT/build/bindings/node/node_modules/better-sqlite3/deps/sqlite3/sqlite3.c" ]; then
    echo "SKIPPED the oracle with the newest SQLite: better-sqlite3, which has its source, is not here"
    echo "0 passed, 0 failed"
    exit 0
fi
make --no-print-directory -C "$ROOT" MODE="$MODE" "$PROGRAM" || exit 1
exec "$ROOT/$PROGRAM" "$@"
