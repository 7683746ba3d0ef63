#!/usr/bin/env bash
# libfuzzer.sh -- the fuzz targets under libFuzzer, guided by coverage.
#
#   libfuzzer.sh SECONDS [TARGET…]    each target for so long, over its seeds and its corpus; 0: build
#
# Needs clang with its runtime libraries (Debian: clang-14). New inputs are kept in
# build/fuzz/corpus/; what is worth keeping goes into tests/fuzz/corpus/<target>/ by
#   build/fuzz/tests/fuzz/test_fuzz_<target> -merge=1 tests/fuzz/corpus/<target> build/fuzz/corpus/<target>
# An input that crashes is left in build/fuzz/ and named. Ends with "N passed, N failed".
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
ROOT=$PWD
SECONDS_EACH=${1:?seconds}
shift
TARGETS=("$@")
[ ${#TARGETS[@]} = 0 ] && TARGETS=(block table log manifest store sql)
CLANG=$(command -v clang-14 || command -v clang) || {
    echo "SKIPPED: no clang here"
    echo "0 passed, 0 failed"
    exit 0
}

BINARIES=()
for target in "${TARGETS[@]}"; do BINARIES+=("build/fuzz/tests/fuzz/test_fuzz_$target"); done
make --no-print-directory -j"${JOBS:-$(nproc)}" MODE=asan B=build/fuzz CC="$CLANG" \
    CFLAGS="-w -O2 -fsanitize=fuzzer-no-link -DFUZZ_LIBFUZZER" LDFLAGS=-fsanitize=fuzzer \
    "${BINARIES[@]}" >build/fuzz.log 2>&1 || {
    tail -40 build/fuzz.log
    echo "0 passed, 1 failed"
    exit 1
}
[ "$SECONDS_EACH" != 0 ] || exit 0
PASSED=0 FAILED=0
for target in "${TARGETS[@]}"; do
    found=$ROOT/build/fuzz/corpus/$target seeds=$ROOT/build/fuzz/seeds/$target
    mkdir -p "$found" "$seeds" "tests/fuzz/corpus/$target"
    log=$ROOT/build/fuzz/$target.log
    FUZZ_WRITE_SEEDS=$seeds FASTKV_BUILD=$ROOT/build/fuzz "build/fuzz/tests/fuzz/test_fuzz_$target"
    (cd build/fuzz && ASAN_OPTIONS=detect_leaks=1 "tests/fuzz/test_fuzz_$target" \
        -max_total_time="$SECONDS_EACH" -timeout=20 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$target-" "$found" "$seeds" \
        "$ROOT/tests/fuzz/corpus/$target") >"$log" 2>&1
    status=$?
    done_=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "POINTS fuzz-$target executions ${done_:-0}"
    if [ "$status" = 0 ]; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        grep -aE 'ERROR|FUZZ_CHECK|SUMMARY|Test unit written' "$log" | head -5
    fi
done
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
