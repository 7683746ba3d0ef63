#!/usr/bin/env bash
# run_bench.sh -- the benchmark itself, with few rows and without its peers: it checks every row that
# it reads, finds everything after its kill -9, says what it could not measure, and writes its files.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
out=$FASTKV_TMP/out passed=0 failed=0
export BENCH_N=3000 BENCH_READS=2000 BENCH_COMMITS=200 BENCH_SYNCS=10 BENCH_ROUNDS=2
export BENCH_DIR=$out
export BENCH_PEERS=$FASTKV_BUILD/peers

check() { # check WHAT COMMAND…
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

make --no-print-directory "build/$FASTKV_MODE/bench" "build/$FASTKV_MODE/peers/fastkv.so" || exit 1

bench() { # its table is in results.txt
    "build/$FASTKV_MODE/bench" >/dev/null
}

ENGINE=fastkv,fastkv.h check "a run through SQL and the C header" bench
check "two rounds" grep -q '^The median of 2 rounds' "$out/results.txt"
check "rates are there" grep -q '^fill, keys at random .*[0-9]' "$out/results.txt"
check "an absolute goal is judged" \
    grep -qE '^fastkv +delete a prefix .*(met|MISSED)$' "$out/results.txt"
check "a goal without its other engine is not" \
    grep -qE '^fastkv +fill, keys at random .*LevelDB .*not measured$' "$out/results.txt"
check "the table for programs" grep -q "^measured.fastkv.h.full scan" "$out/results.tsv"
check "both curves are drawn" grep -q '</svg>' "$out/fill.svg" "$out/read.svg"
check "no database is left" test -z "$(ls -d "$out"/run-* 2>/dev/null)"

BENCH_PEERS=$FASTKV_TMP BENCH_PLOT_N=0 BENCH_STAND_IN=1 ENGINE=fastkv,leveldb \
    check "a native table stands in" bench
check "who is missing is said" grep -q '^SKIPPED: LevelDB .*libleveldb-dev' "$out/results.txt"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
