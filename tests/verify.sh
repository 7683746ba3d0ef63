#!/usr/bin/env bash
# verify.sh -- what `make verify` runs: every kind of test with a floor under how much it did.
#
#   verify.sh [WORD…]     only stages whose name contains one of the words
#
# Suites say how many points they exercised in lines "POINTS <stage> <unit> <count>"; the counts of a
# stage's suites are added. The table at the end has a row for each stage: points, failures, floor,
# seconds. A stage with a failure, or below its floor, is red: a floor that is not reached is never
# passed over. Exit status 0 only if no stage is red. One thing may be impossible: power cuts need
# mounts, which containers do not allow. That row is then SKIPPED, and the reasons stand below the
# table; FKV_REQUIRE_MOUNT=1 makes it red.
#
# Two lanes run side by side; long stages stand first. VERIFY_SHARE=10 asks for a tenth of counts and
# floors, to try the script. Output is kept in build/verify/.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
OUT=$ROOT/build/verify
SHARE=${VERIFY_SHARE:-1}
LANES=${JOBS:-2}
LIMIT=$((1800 / SHARE + 300)) # seconds for one stage

# -- the stages: name | floor | unit | what to run ----------------------------------------------------
# The first of a POINTS line's words is the name of the row it counts for; a stage may fill several.

stages() {
    cat <<END
suites|0|tests|suites
io-error|100000|injections|program release crash/test_faults 19; program release crash/test_sql_faults 2
power-cut|300000|states|program release crash/test_all_short_histories 2; program release crash/test_power_cut 2; program release crash/test_full_then_cut 2
bit-flip|500000|flips|program release crash/test_damage 2; program release crash/test_damage 2
schedules|10000|seeds|program release threads/test_schedules 16
sabotage|24|switches|script tests/sabotage.sh
coverage-lines|95|percent|cover
mount-cut|1000|cuts|program release crash/test_mount_cuts 10
kill-processes|600|kills|program release processes/test_processes 10
oracle|10000000|row-operations|oracle
oracle-newest|10000000|row-operations|oracle_newest
kill|1500|kills|program release crash/test_kill 13
tsan|2000000|operations|program tsan threads/test_operations 25; program tsan threads/test_connections 3; program tsan model/test_engine_model 2; no_suppressions
fuzz-block|500000|executions|fuzz block 60
fuzz-table|500000|executions|fuzz table 60
fuzz-log|500000|executions|fuzz log 60
fuzz-manifest|500000|executions|fuzz manifest 60
fuzz-store|50000|executions|fuzz store 600
fuzz-sql|500|executions|fuzz sql 60
END
}

# Rows that other stages fill.
more_rows() {
    cat <<END
out-of-memory|60000|injections
disk-full|180|disks
damage|1000|files
short-histories|1110|histories
fuzz|5000000|executions
coverage-branches|85|percent
coverage-codecs-lines|100|percent
coverage-codecs-branches|95|percent
coverage-env-lines|100|percent
coverage-env-branches|95|percent
coverage-recovery-lines|100|percent
coverage-recovery-branches|95|percent
END
}

# -- running one stage: verify.sh --stage NAME (called back by xargs) ----------------------------------

environment() { # MODE
    export FASTKV_MODE=$1 FASTKV_BUILD=$ROOT/build/$1 FASTKV_PRELOAD=
    export FASTKV_SO=$FASTKV_BUILD/fastkv.so
    export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0"
    export UBSAN_OPTIONS="print_stacktrace=1" TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
    FASTKV_TMP=$(mktemp -d "${VERIFY_TMP:-/dev/shm}/fastkv-verify.XXXXXX") ||
        FASTKV_TMP=$(mktemp -d) || exit 1
    export FASTKV_TMP
}

program() { # MODE SUITE SCALE
    local scale=$(($3 / SHARE)) status
    environment "$1"
    [ "$scale" -gt 0 ] || scale=1
    (cd "$FASTKV_TMP" && FKV_TEST_SCALE=$scale timeout "$LIMIT" "$FASTKV_BUILD/tests/$2") </dev/null
    status=$?
    rm -rf "$FASTKV_TMP"
    [ "$status" = 0 ] || echo "STAGE $2 ended with status $status"
}

fuzz() { # TARGET SECONDS
    local seconds=$(($2 / SHARE))
    if command -v clang-14 clang >/dev/null; then
        JOBS=1 timeout "$LIMIT" tests/fuzz/libfuzzer.sh "$((seconds > 5 ? seconds : 5))" "$1" ||
            echo "STAGE $1 under libFuzzer failed"
    else
        FUZZ_SECONDS=$seconds program asan "fuzz/test_fuzz_$1" 1
    fi
}

oracle() {
    FKV_ORACLE_ROWS=$((10000000 / SHARE)) program release oracle/test_oracle 1
}

oracle_newest() { # with the SQLite that better-sqlite3 carries; a few more with its assertions on
    export FKV_ORACLE_ROWS=$((10000000 / SHARE))
    environment release
    timeout "$LIMIT" bash tests/oracle/run_newest.sh || echo "STAGE oracle-newest failed"
    rm -rf "$FASTKV_TMP"
    FKV_ORACLE_ROWS=$((500000 / SHARE))
    environment asan
    timeout "$LIMIT" bash tests/oracle/run_newest.sh || echo "STAGE oracle-newest with assertions failed"
    rm -rf "$FASTKV_TMP"
}

suites() { # what has no stage of its own, in every build mode
    timeout "$LIMIT" tests/run.sh --all-modes unit/ lint goldens errors/ bindings/ txn/ threads/ \
        model/ issues/ features/ || echo "STAGE suites failed"
    timeout "$LIMIT" tests/run.sh security/ seeds/ processes/test_takeover processes/test_mishaps \
        processes/test_standalone || echo "STAGE suites of processes failed"
    # And what make test does less of under a sanitizer.
    for suite in crash/test_faults crash/test_damage crash/test_power_cut oracle/test_oracle; do
        program asan "$suite" $((2 * SHARE))
    done
    program release txn/test_mixed_crash 10 # at every point
}

# What ThreadSanitizer finds counts only if nothing is hidden from it.
no_suppressions() {
    if grep -rn 'no_sanitize\|suppressions=\|__tsan_' engine ext tests --include='*.[ch]'; then
        echo "STAGE tsan is told not to look at something"
    fi
}

cover() {
    JOBS=1 timeout "$LIMIT" tests/tools/cover.sh || echo "STAGE coverage failed"
}

script() {
    timeout "$LIMIT" bash "$ROOT/$1" || echo "STAGE $1 failed"
}

if [ "${1-}" = --stage ]; then
    started=$(date +%s)
    line=$(stages | grep "^$2|")
    eval "${line##*|}" >"$OUT/$2.log" 2>&1
    echo $(($(date +%s) - started)) >"$OUT/$2.seconds"
    echo "     $2"
    exit 0
fi

# -- all of them ----------------------------------------------------------------------------------------

wanted() {
    local word
    [ ${#WORDS[@]} = 0 ] && return 0
    for word in "${WORDS[@]}"; do [[ $1 == *"$word"* ]] && return 0; done
    return 1
}

WORDS=("$@")
NAMES=()
while IFS='|' read -r name _; do wanted "$name" && NAMES+=("$name"); done < <(stages)
rm -rf "$OUT"
mkdir -p "$OUT"
STARTED=$(date +%s)
for mode in release asan tsan; do
    echo "building $mode"
    make --no-print-directory -j"$LANES" MODE=$mode build-tests >"$OUT/build.$mode" 2>&1 || {
        tail -40 "$OUT/build.$mode"
        echo "the $mode build failed"
        exit 1
    }
done
if [[ " ${NAMES[*]} " == *" fuzz-"* ]] && command -v clang-14 clang >/dev/null; then
    echo "building for libFuzzer"
    tests/fuzz/libfuzzer.sh 0 >"$OUT/build.fuzz" 2>&1
fi
echo "running ${#NAMES[@]} stages"
printf '%s\n' "${NAMES[@]}" | xargs -P "$LANES" -L 1 bash "$ROOT/tests/verify.sh" --stage

# Points of a row; failures of a stage's suites.
points_of() {
    cat "$OUT"/*.log | awk -v row="$1" '$1 == "POINTS" && ($2 == row ||
        (row == "fuzz" && $2 ~ /^fuzz-/)) { n += $4 } END { printf "%d", n }'
}

failures_of() {
    [ -f "$OUT/$1.log" ] || { echo 0 && return; }
    awk '/^[0-9]+ passed, [0-9]+ failed$/ { n += $3 } /^STAGE / { bad++ }
        END { print (n > bad ? n : bad) + 0 }' "$OUT/$1.log"
}

passed_of() {
    awk '/^[0-9]+ passed, [0-9]+ failed$/ { n += $1 } END { print n + 0 }' "$OUT/$1.log"
}

GREEN=0 RED=0 SKIPPED=0
row() { # NAME FLOOR UNIT
    local points failures floor=$(($2 / SHARE)) seconds=- verdict=green
    points=$(points_of "$1") failures=$(failures_of "$1")
    [ -f "$OUT/$1.seconds" ] && seconds=$(cat "$OUT/$1.seconds")
    [ "$1" = suites ] && points=$(passed_of suites)
    [ "$points" -ge "$floor" ] || verdict="RED: below its floor"
    [ "$points" -gt 0 ] || verdict="RED: nothing was run"
    [ "$failures" = 0 ] || verdict="RED: failures, see build/verify/$1.log"
    if [ "$1" = mount-cut ] && [ "$failures" = 0 ] && [ "$verdict" != green ] &&
        [ -z "${FKV_REQUIRE_MOUNT-}" ] && grep -q '^SKIPPED' "$OUT/$1.log"; then
        verdict="SKIPPED, see below"
    fi
    case $verdict in
    green) GREEN=$((GREEN + 1)) ;;
    SKIPPED*) SKIPPED=$((SKIPPED + 1)) ;;
    *) RED=$((RED + 1)) ;;
    esac
    printf '%-26s %10s %-15s %9s %10s %8s  %s\n' "$1" "$points" "$3" "$failures" "$floor" \
        "$seconds" "$verdict"
}

printf '\n%-26s %10s %-15s %9s %10s %8s\n' stage points "" failures floor seconds
while IFS='|' read -r name floor unit _; do
    if wanted "$name"; then row "$name" "$floor" "$unit"; fi
done < <(stages && more_rows)
printf '%-26s %10s %-15s %9s %10s %8s\n\n' all "" "" "" "" "$(($(date +%s) - STARTED))"
[ "$SKIPPED" = 0 ] || sed -n 's/^SKIPPED/mount-cut: SKIPPED/p' "$OUT/mount-cut.log"
echo "$GREEN passed, $RED failed"
[ "$RED" = 0 ] && [ "$GREEN" != 0 ]
