#!/usr/bin/env bash
# cover.sh -- how much of engine/ and ext/ the tests run: lines, and branches taken, in build/cover/.
#
#   cover.sh [WORD…]     only suites whose name contains one of the words
#
# A copy of the tree is built as MODE=debug with --coverage, so that no other build is disturbed, and
# without assertions, whose other branch nobody can take. Then the suites run once, with the counts of
# `make test`: programs, SQL scripts, tests/errors/, and, where `make verify` has fetched the newest
# SQLite, what only that asks of us; not those that measure time. cover.py sums up what gcov says, and
# leaves what nothing ran or took in build/cover/missing. A suite that fails counts as a failure.
#
# Processes that end by _exit, as most children in these tests do, write down what they have run as
# well (see cover_exit.c); those that are killed do not.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
ROOT=$PWD
COPY=$ROOT/build/cover
JOBS=${JOBS:-$(nproc)}
PYTHON=python3 # Debian's own can load SQLite extensions, others often cannot
[ -x /usr/bin/python3 ] && PYTHON=/usr/bin/python3

# -- one suite: cover.sh --suite FILE (called back by xargs) -------------------------------------------

if [ "${1-}" = --suite ]; then
    export FASTKV_MODE=debug FASTKV_BUILD=$COPY/build/debug FASTKV_PRELOAD=
    export FASTKV_SO=$FASTKV_BUILD/fastkv.so
    FASTKV_TMP=$(mktemp -d "${TMPDIR:-/tmp}/fastkv-cover.XXXXXX") || exit 1
    export FASTKV_TMP
    log=$COPY/logs/${2//\//.}
    case $2 in
    newest/test_check.c) command=("$FASTKV_BUILD/newest/test_check") ;;
    tests/tools/golden.py) command=("$PYTHON" "$COPY/$2" --mode debug) ;;
    *.c) command=("$FASTKV_BUILD/${2%.c}") ;;
    *.py) command=("$PYTHON" "$COPY/$2") ;;
    *.sh) command=(bash "$COPY/$2") ;;
    esac
    started=$(date +%s)
    (cd "$FASTKV_TMP" && timeout 900 "${command[@]}") >"$log.log" 2>&1 </dev/null ||
        echo "failed: $2 (build/cover/logs/${log##*/}.log)" | tee "$log.failed"
    echo "$(($(date +%s) - started)) $2" >>"$COPY/logs/seconds"
    rm -rf "$FASTKV_TMP"
    exit 0
fi

# -- build, run, add up --------------------------------------------------------------------------------

NEWEST=build/bindings/node/node_modules/better-sqlite3/deps/sqlite3/sqlite3.c
TARGETS=(build-tests)
[ -f "$NEWEST" ] && TARGETS+=(build/debug/newest/test_check)

WORDS=("$@")

suites() { # long ones first
    all_suites | awk '!seen[$0]++' | grep -F "$(printf '%s\n' "${WORDS[@]-}")"
}

all_suites() {
    local file
    for file in tests/crash/test_*.c tests/oracle/test_*.c tests/*/test_*.c tests/tools/golden.py \
        tests/errors/run_*.py; do
        grep -q 'test-alone\|test-verify' "$file" || echo "$file"
    done
    [ ${#TARGETS[@]} = 1 ] || echo newest/test_check.c
}

rm -rf "$COPY"
mkdir -p "$COPY/build" "$COPY/logs"
cp -r Makefile engine ext tests sql "$COPY/"
cp build/config.mk "$COPY/build/" 2>/dev/null
[ ! -d build/bindings ] || ln -s "$ROOT/build/bindings" "$COPY/build/bindings"
cd "$COPY" || exit 1
gcc -fPIC -c -o exit.o tests/tools/cover_exit.c || exit 1
echo "building for coverage"
make --no-print-directory -j"$JOBS" MODE=debug CFLAGS="--coverage -DNDEBUG -O1 -fno-inline" \
    LDFLAGS="--coverage -Wl,--wrap=_exit $COPY/exit.o" "${TARGETS[@]}" >build.log 2>&1 || {
    tail -20 build.log
    echo "the build for coverage failed"
    echo "0 passed, 1 failed"
    exit 1
}
mapfile -t SUITES < <(suites)
echo "running ${#SUITES[@]} suites"
printf '%s\n' "${SUITES[@]}" | xargs -P "$JOBS" -L 1 bash "$ROOT/tests/tools/cover.sh" --suite
FAILED=$(find logs -name '*.failed' | wc -l)
$PYTHON tests/tools/cover.py build/debug || FAILED=$((FAILED + 1))
echo "$((${#SUITES[@]} - FAILED)) passed, $FAILED failed"
[ "$FAILED" = 0 ]
