#!/usr/bin/env bash
# run.sh -- what `make test` runs: every suite there is, found by name.
#
#   run.sh [--all-modes] [WORD…]     only suites whose name contains one of the words
#
#   lint                     tests/tools/lint.py
#   goldens                  tests/tools/golden.py, release and asan
#   tests/*/test_*.c         programs built by the Makefile: release and asan, below tests/threads/
#                            tsan as well
#   tests/*/run_*.{sh,py}    scripts: release
#
# A suite may choose its modes itself with a line containing `test-modes: release asan tsan`, and ask
# to run with nothing beside it (it measures time) with `test-alone`. Its last words are
# "N passed, N failed"; its output goes to build/logs/ and is shown only if something failed. Lines
# that begin with SKIPPED are shown always: what cannot be tested here, and why.
#
# A suite is given in its environment:
#   FASTKV_MODE     release, asan, tsan
#   FASTKV_SO       the extension of that mode      FASTKV_BUILD    its folder, build/<mode>
#   FASTKV_TMP      an empty folder, removed afterwards
#   FASTKV_PRELOAD  what a program that is not sanitized must LD_PRELOAD to load the extension
#   FKV_TEST_SCALE  multiply counts by this (make verify)
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
LOGS=$ROOT/build/logs
LIMIT=${FKV_TEST_TIMEOUT:-600} # seconds for one suite
SCALE=${FKV_TEST_SCALE:-1}
JOBS=${JOBS:-$(nproc)}
PYTHON=python3 # Debian's own can load SQLite extensions, others often cannot
[ -x /usr/bin/python3 ] && PYTHON=/usr/bin/python3

# -- one suite: run.sh --suite NAME MODE FILE (called back by xargs) ----------------------------------

command_of() { # MODE FILE
    case $2 in
    tests/tools/lint.py) echo "$PYTHON $ROOT/$2" ;;
    tests/tools/golden.py) echo "$PYTHON $ROOT/$2 --mode $1" ;;
    *.c) echo "$ROOT/build/$1/${2%.c}" ;;
    *.py) echo "$PYTHON $ROOT/$2" ;;
    *.sh) echo "bash $ROOT/$2" ;;
    esac
}

run_suite() { # NAME MODE FILE; writes LOGS/<name>.log and .result: passed failed seconds
    local name=$1 mode=$2 file=$3 log count passed failed started status
    log=$LOGS/${name//\//.}
    export FASTKV_MODE=$mode FASTKV_BUILD=$ROOT/build/$mode FKV_TEST_SCALE=$SCALE
    export FASTKV_SO=$FASTKV_BUILD/fastkv.so FASTKV_PRELOAD=
    FASTKV_TMP=$(mktemp -d "${TMPDIR:-/tmp}/fastkv-test.XXXXXX") || exit 1
    export FASTKV_TMP
    export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0"
    export UBSAN_OPTIONS="print_stacktrace=1" TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
    case $mode in
    asan | tsan) FASTKV_PRELOAD=$(gcc -print-file-name="lib$mode.so") ;;
    esac
    started=$(date +%s%N)
    # shellcheck disable=SC2046
    (cd "$FASTKV_TMP" && timeout "$((LIMIT * SCALE))" $(command_of "$mode" "$file")) \
        >"$log.log" 2>&1 </dev/null
    status=$?
    count=$(grep -aoE '^[0-9]+ passed, [0-9]+ failed$' "$log.log" | tail -1)
    passed=${count%% *} failed=${count#*, } failed=${failed%% *}
    if [ -z "$count" ]; then
        passed=0 failed=1
        echo "run.sh: ended with status $status without saying how many passed" >>"$log.log"
    elif [ "$passed" = 0 ] && [ "$failed" = 0 ] && ! grep -aq '^SKIPPED' "$log.log"; then
        failed=1
        echo "run.sh: no test was run" >>"$log.log"
    elif [ "$status" != 0 ] && [ "$failed" = 0 ]; then
        failed=1
        echo "run.sh: ended with status $status" >>"$log.log"
    fi
    echo "$passed $failed $(($(date +%s%N) - started))" >"$log.result"
    rm -rf "$FASTKV_TMP"
    if [ "$failed" != 0 ]; then
        printf -- '---- FAILED %s (%s)\n%s\n' "$name" "build/logs/${log##*/}.log" \
            "$(tail -60 "$log.log")"
    elif [ -t 1 ]; then
        printf '     %s\n' "$name"
    fi
    grep -a '^SKIPPED' "$log.log" | sed "s|^SKIPPED|SKIPPED in $name:|"
}

if [ "${1-}" = --suite ]; then
    run_suite "$2" "$3" "$4"
    exit 0
fi

# -- which suites -----------------------------------------------------------------------------------

ALL_MODES=
if [ "${1-}" = --all-modes ]; then ALL_MODES=1 && shift; fi
WORDS=("$@")

modes_of() {
    local said
    said=$(grep -m1 -o 'test-modes:[a-z ]*' "$1")
    if [ -n "$said" ]; then
        echo "${said#*:}"
    elif [ -n "$ALL_MODES" ] && [[ $1 == *.c ]]; then
        echo "release asan tsan"
    else
        case $1 in
        tests/threads/*.c) echo "release asan tsan" ;;
        *.c) echo "release asan" ;;
        *) echo "release" ;;
        esac
    fi
}

wanted() {
    local word
    [ ${#WORDS[@]} = 0 ] && return 0
    for word in "${WORDS[@]}"; do [[ $1 == *"$word"* ]] && return 0; done
    return 1
}

TOGETHER=() ALONE=() MODES=" release "
add() { # NAME MODE FILE
    wanted "$1" || return 0
    MODES="${MODES/" $2 "/ }$2 "
    if grep -q 'test-alone' "$3" 2>/dev/null; then
        ALONE+=("$1 $2 $3")
    else
        TOGETHER+=("$1 $2 $3")
    fi
}

discover() { # long ones first
    local file mode name
    for file in tests/*/run_*.sh tests/*/run_*.py tests/*/test_*.c; do
        if [ ! -f "$file" ] || [[ $file == tests/unit/* ]]; then continue; fi
        for mode in $(modes_of "$file"); do
            name=${file#tests/} name=${name%.*}
            add "$name/$mode" "$mode" "$file"
        done
    done
    add goldens/asan asan tests/tools/golden.py
    add goldens/release release tests/tools/golden.py
    add lint release tests/tools/lint.py
    for file in tests/unit/test_*.c; do
        [ -f "$file" ] || continue
        for mode in $(modes_of "$file"); do
            name=${file#tests/} name=${name%.c}
            add "$name/$mode" "$mode" "$file"
        done
    done
}

discover
rm -rf "$LOGS"
mkdir -p "$LOGS"
STARTED=$(date +%s)

# -- build, run, add up -----------------------------------------------------------------------------

for mode in $MODES; do
    echo "building $mode"
    if ! make --no-print-directory -j"$JOBS" MODE="$mode" build-tests >"$LOGS/build.$mode" 2>&1; then
        cat "$LOGS/build.$mode"
        echo "the $mode build failed"
        echo "0 passed, 1 failed"
        exit 1
    fi
done
echo "running $((${#TOGETHER[@]} + ${#ALONE[@]})) suites"
if [ ${#TOGETHER[@]} != 0 ]; then
    printf '%s\n' "${TOGETHER[@]}" | xargs -P "$JOBS" -L 1 bash "$ROOT/tests/run.sh" --suite
fi
if [ ${#ALONE[@]} != 0 ]; then
    printf '%s\n' "${ALONE[@]}" | xargs -P 1 -L 1 bash "$ROOT/tests/run.sh" --suite
fi

PASSED=0 FAILED=0
printf '\n%-44s %8s %8s %9s\n' suite passed failed seconds
while read -r name _; do
    result=$LOGS/${name//\//.}.result
    if [ -f "$result" ]; then
        read -r passed failed time <"$result"
    else
        passed=0 failed=1 time=0
    fi
    printf '%-44s %8d %8d %9s\n' "$name" "$passed" "$failed" \
        "$((time / 1000000000)).$((time / 100000000 % 10))"
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
done < <(printf '%s\n' "${TOGETHER[@]}" "${ALONE[@]}" | grep . | sort)
printf '%-44s %8d %8d %9d\n\n' "all" "$PASSED" "$FAILED" "$(($(date +%s) - STARTED))"
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
