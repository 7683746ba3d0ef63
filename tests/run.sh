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
# A suite may choose its modes itself with a line containing `test-modes: release asan tsan`, ask to
# run with nothing beside it (it measures time) with `test-alone`, and to run only with --all-modes
# (it takes long, or needs what takes long to make) with `test-verify`. Its last words are
# "N passed, N failed"; its output goes to build/logs/ and is shown only if something failed. Lines
# that begin with SKIPPED are shown always: what cannot be tested here, and why.
#
# All modes are compiled at once, and of each only what its suites need. What else the suites need
# is installed beside that; the scripts, which are what needs it, come after the programs.
#
# A suite is given in its environment:
#   FASTKV_MODE     release, asan, tsan
#   FASTKV_SO       the extension of that mode      FASTKV_BUILD    its folder, build/<mode>
#   FASTKV_TMP      an empty folder, removed afterwards
#   FASTKV_PRELOAD  what a program that is not sanitized must LD_PRELOAD to load the extension
#   FKV_TEST_SCALE  multiply counts by this (make verify)
#   FKV_TEST_VERIFY set by --all-modes, which runs every program in every mode and is for make verify
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

run_suite() { # NAME MODE FILE; writes LOGS/<name>.log and .result: passed failed ns cpu-seconds…
    local name=$1 mode=$2 file=$3 log count passed failed started status TIMEFORMAT='%U %S'
    log=$LOGS/${name//\//.}
    export FASTKV_MODE=$mode FASTKV_BUILD=$ROOT/build/$mode FKV_TEST_SCALE=$SCALE
    export FASTKV_SO=$FASTKV_BUILD/fastkv.so FASTKV_PRELOAD=
    FASTKV_TMP=$(mktemp -d "${TMPDIR:-/tmp}/fastkv-test.XXXXXX") || exit 1
    export FASTKV_TMP
    export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0"
    export UBSAN_OPTIONS="print_stacktrace=1" TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
    case $mode in
    asan | tsan) FASTKV_PRELOAD=$(gcc -print-file-name="lib$mode.so") ;;
    release)
        # A test that opens ten thousand stores in memory would else spend half its time in giving
        # their blocks back to the system, page by page.
        [[ $file == *.c ]] && export \
            GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824
        ;;
    esac
    started=$(date +%s%N)
    # shellcheck disable=SC2046
    { time (cd "$FASTKV_TMP" && timeout "$((LIMIT * SCALE))" $(command_of "$mode" "$file") \
        >"$log.log" 2>&1 </dev/null); } 2>"$log.cpu"
    status=$?
    sed '$d' "$log.cpu" >>"$log.log" # what bash says of a program that was killed
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
    echo "$passed $failed $(($(date +%s%N) - started)) $(tail -1 "$log.cpu")" >"$log.result"
    rm -f "$log.cpu"
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

VERIFY=
if [ "${1-}" = --all-modes ]; then VERIFY=1 && shift; fi
WORDS=("$@")
[ -z "$VERIFY" ] || export FKV_TEST_VERIFY=1

modes_of() {
    local said
    said=$(grep -m1 -o 'test-modes:[a-z ]*' "$1")
    if [ -n "$said" ]; then
        echo "${said#*:}"
    elif [ -n "$VERIFY" ] && [[ $1 == *.c ]]; then
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

PROGRAMS=() SCRIPTS=() ALONE=() DEPS=()
declare -A TARGETS # of a mode: what make is to build
add() { # NAME MODE FILE
    wanted "$1" || return 0
    if grep -q 'test-verify' "$3" && [ -z "$VERIFY" ]; then return 0; fi
    if [[ $3 == *.c ]]; then
        TARGETS[$2]+=" build/$2/${3%.c}"
    else
        TARGETS[$2]+=" all"
        need build/deps-test
        if [[ $3 == tests/bindings/* ]]; then need build/deps-bindings; fi
        if [ -n "$VERIFY" ] && grep -q 'make verify' "$3"; then need build/deps-verify; fi
    fi
    if grep -q 'test-alone' "$3"; then
        ALONE+=("$1 $2 $3")
    elif [[ $3 == *.c ]]; then
        PROGRAMS+=("$1 $2 $3")
    else
        SCRIPTS+=("$1 $2 $3")
    fi
}

need() {
    [[ " ${DEPS[*]-} " == *" $1 "* ]] || DEPS+=("$1")
}

add_file() {
    local mode name=${1#tests/}
    [ -f "$1" ] || return 0
    for mode in $(modes_of "$1"); do add "${name%.*}/$mode" "$mode" "$1"; done
}

discover() { # long ones first
    local file
    for file in tests/*/test_*.c tests/*/run_*.sh tests/*/run_*.py; do
        [[ $file == tests/unit/* ]] || add_file "$file"
    done
    add goldens/asan asan tests/tools/golden.py
    add goldens/release release tests/tools/golden.py
    add lint release tests/tools/lint.py
    for file in tests/unit/test_*.c; do add_file "$file"; done
}

discover
rm -rf "$LOGS"
mkdir -p "$LOGS"
STARTED=$(date +%s)

# -- build, run, add up -----------------------------------------------------------------------------

make --no-print-directory -s build/config.mk || exit 1
(
    [ ${#DEPS[@]} = 0 ] || make --no-print-directory "${DEPS[@]}"
    echo $? >"$LOGS/deps.status"
) &
GIVEN=()
for mode in "${!TARGETS[@]}"; do GIVEN+=("TARGETS_$mode=${TARGETS[$mode]}"); done
echo "building ${!TARGETS[*]}"
if ! make --no-print-directory -j"$JOBS" modes MODES="${!TARGETS[*]}" "${GIVEN[@]}" \
    >"$LOGS/build.log" 2>&1; then
    grep -v '^  \(cc\|link\|ar\) ' "$LOGS/build.log"
    echo "the build failed"
    echo "0 passed, 1 failed"
    wait
    exit 1
fi
echo "running $((${#PROGRAMS[@]} + ${#SCRIPTS[@]} + ${#ALONE[@]})) suites"

lines() { printf '%s\n' "$@" | grep .; }

when_installed() { # nothing if it could not be: then they count as failed
    until [ -s "$LOGS/deps.status" ]; do sleep 0.1; done
    [ "$(cat "$LOGS/deps.status")" = 0 ]
}

{
    lines "${PROGRAMS[@]}"
    when_installed && lines "${SCRIPTS[@]}"
} | xargs -r -P "$JOBS" -L 1 bash "$ROOT/tests/run.sh" --suite
when_installed && lines "${ALONE[@]}" | xargs -r -P 1 -L 1 bash "$ROOT/tests/run.sh" --suite

PASSED=0 FAILED=0 ALL=0
tenths() { echo "$(($1 / 10)).$(($1 % 10))"; }
printf '\n%-44s %8s %8s %9s %7s\n' suite passed failed seconds cpu
while read -r name _; do
    result=$LOGS/${name//\//.}.result
    if [ -f "$result" ]; then
        read -r passed failed time user system <"$result"
    else
        passed=0 failed=1 time=0 user=0.0 system=0.0
    fi
    cpu=$((10#${user/./} + 10#${system/./})) # thousandths
    printf '%-44s %8d %8d %9s %7s\n' "$name" "$passed" "$failed" \
        "$(tenths $((time / 100000000)))" "$(tenths $((cpu / 100)))"
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) ALL=$((ALL + cpu))
done < <(lines "${PROGRAMS[@]}" "${SCRIPTS[@]}" "${ALONE[@]}" | sort)
printf '%-44s %8d %8d %9d %7s\n\n' "all" "$PASSED" "$FAILED" "$(($(date +%s) - STARTED))" \
    "$(tenths $((ALL / 100)))"
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
