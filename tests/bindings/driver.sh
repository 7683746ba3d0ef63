# shellcheck shell=bash
# driver.sh -- what the run_*.sh of this folder share. Each sources it, says what it needs, and runs
# its script:
#
#   needs WHAT COMMAND…    COMMAND succeeds if WHAT is there; `make deps` installs it
#   finish COMMAND…        run the script of this binding; its last words are the driver's
#
# What is missing is SKIPPED with the reason, or a failure if the driver has set MUST=1 before.
# Also by hand, without run.sh: bash tests/bindings/run_perl.sh
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
NAME=$(basename "$0" .sh) NAME=${NAME#run_}
MUST=
export FASTKV_SO=${FASTKV_SO:-$ROOT/build/fastkv.so}
export LC_ALL=C.UTF-8
FASTKV_TMP=$(mktemp -d "${FASTKV_TMP:-${TMPDIR:-/tmp}}/$NAME.XXXXXX") || exit 1
export FASTKV_TMP
trap 'rm -rf "$FASTKV_TMP"' EXIT

# Node and its modules are those that deps.sh has put below build/.
node_path() {
    export NODE_PATH=$ROOT/build/bindings/node/node_modules
    export PATH=$NODE_PATH/.bin:$PATH
}

has_better_sqlite3() { node -e 'new (require("better-sqlite3"))(":memory:")'; }

needs() {
    local what=$1
    shift
    "$@" >"$FASTKV_TMP/needs" 2>&1 </dev/null && return
    sed 's/^/    /' "$FASTKV_TMP/needs" | tail -5
    if [ -n "$MUST" ]; then
        echo "FAILED $NAME: $what is not here, and this binding must run (make deps)"
        echo "0 passed, 1 failed"
        exit 1
    fi
    echo "SKIPPED $NAME: $what is not here and could not be installed (make deps looks again)"
    echo "0 passed, 0 failed"
    exit 0
}

finish() { # a sanitized extension in a program that is not wants its runtime first
    if [ -n "${FASTKV_PRELOAD-}" ]; then
        ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 LD_PRELOAD=$FASTKV_PRELOAD "$@"
    else
        "$@"
    fi
    exit
}
