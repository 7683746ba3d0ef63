#!/usr/bin/env bash
# sabotage.sh -- does anything notice when a safety step is left out?
#
#   sabotage.sh [NUMBER…]
#
# Builds once with -DFKV_SABOTAGE (engine/base/sabotage.h), and for each switch runs suites until one
# of them fails: first the ones that should, then the whole quick set. A switch that all suites pass
# is red. With nothing left out, all of these suites must pass. The last words are
# "N passed, N failed"; what each run said is in build/sabotage/logs/.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
BUILD=$ROOT/build/sabotage
LIMIT=120 # seconds for one suite

# number | what is left out | which suites should fail
switches() {
    cat <<END
1|the new manifest is not synced before it is renamed|crash/test_all_short_histories unit/test_manifest_replace
2|the folder is not synced after the manifest is renamed|crash/test_all_short_histories unit/test_manifest_replace
3|the manifest's checksum is not looked at|unit/test_manifest crash/test_damage
4|a table is not synced|crash/test_all_short_histories crash/test_power_cut
5|a block's checksum is not looked at|unit/test_table_damage crash/test_damage
6|a table of another store or time is taken|unit/test_table_damage crash/test_damage
7|what the manifest says of a table is believed|issues/test_manifest_bounds
8|the filter is built from half of the keys|unit/test_filter unit/test_table
9|the block cache takes no reference for who asks|unit/test_cache model/test_engine_model
10|compaction drops a tombstone while older values lie deeper|model/test_deep_tombstones
11|compaction drops range tombstones|model/test_deep_tombstones
12|a flush drops tombstones|model/test_engine_model
13|a flush drops range tombstones|model/test_engine_model
14|level 0: what overlaps only by way of another stays behind|unit/test_pick unit/test_pick_model
15|compaction leaves out what its output overlaps|unit/test_pick unit/test_pick_model
16|of two sources the older one wins|unit/test_merge
17|an error in a source of a merge is its end|unit/test_merge crash/test_faults
18|a table of a level that cannot be opened is skipped|crash/test_damage crash/test_faults
19|a get does not see range tombstones of newer tables|model/test_engine_model
20|a rollback to a mark leaves the last write|unit/test_memtree model/test_engine_model
21|a snapshot sees what is committed after it|model/test_engine_model txn/test_isolation
22|a transaction from the log is applied unchecked|fuzz/test_fuzz_log unit/test_memtree
23|INSERT does not ask whether the key is there|oracle/test_oracle txn/test_isolation
24|a checksum does not cover whose bytes they are|unit/test_base unit/test_table_damage
25|a checksum does not cover where the bytes belong|unit/test_base unit/test_table_damage
26|the output of a failed compaction is left lying|crash/test_faults unit/test_pick_model
27|the right to write is taken from a process that lives|processes/test_mishaps processes/test_processes
28|a prepared transaction is rolled back without a mark in the log|crash/test_power_cut processes/test_takeover
29|a transaction in doubt counts as committed though nobody was told so|crash/test_kill processes/test_takeover
30|damage in the log is taken for its end|unit/test_wal_damage crash/test_damage
31|a failed sync is not the end of writing|crash/test_faults
32|stale bytes of another segment count as records|unit/test_wal_damage unit/test_wal
33|a commit is acknowledged before the log is synced|crash/test_all_short_histories crash/test_power_cut
34|the header of a log segment is not synced before records|crash/test_all_short_histories unit/test_wal
35|the folder is not synced after a log segment is begun|crash/test_all_short_histories crash/test_power_cut
36|a log segment goes before its rows are in tables|crash/test_kill model/test_engine_model
37|a manifest that a process died replacing is not taken over|issues/test_untold_manifest processes/test_takeover
38|a sweep takes the tables that another process is making|threads/test_schedules processes/test_takeover
39|what is left of a log segment stays in the way of the next|issues/test_empty_segment
40|whoever borrows a memtable does not say so|processes/test_borrow
41|the newest memtable is borrowed, and not the one before it|processes/test_borrow
42|a memtable that is borrowed reaches over tables of a spilled transaction|processes/test_borrow
END
}

QUICK="unit/test_manifest unit/test_table unit/test_table_damage unit/test_memtree
    model/test_engine_model issues/test_age_after_cut crash/test_all_short_histories
    crash/test_full_then_cut crash/test_power_cut crash/test_damage crash/test_faults"

suite() { # NUMBER SUITE: 0 if it passes
    local log=$BUILD/logs/$1.${2//\//.} status
    FASTKV_TMP=$(mktemp -d "${TMPDIR:-/tmp}/fastkv-sabotage.XXXXXX") || exit 1
    (cd "$FASTKV_TMP" && FASTKV_TMP=$FASTKV_TMP FASTKV_BUILD=$BUILD FKV_SABOTAGE=$1 \
        FKV_TEST_SCALE=1 FKV_ORACLE_ROWS=20000 timeout "$LIMIT" "$BUILD/tests/$2") \
        >"$log" 2>&1 </dev/null
    status=$?
    rm -rf "$FASTKV_TMP"
    return $status
}

all_suites() {
    { switches | cut -d'|' -f3 && echo "$QUICK"; } | tr ' ' '\n' | grep . | sort -u
}

mkdir -p "$BUILD"
# shellcheck disable=SC2046
make --no-print-directory -j"${JOBS:-$(nproc)}" B=build/sabotage CPPFLAGS=-DFKV_SABOTAGE \
    $(all_suites | sed 's|^|build/sabotage/tests/|') >"$BUILD/build.log" 2>&1 || {
    tail -40 "$BUILD/build.log"
    echo "0 passed, 1 failed"
    exit 1
}
mkdir -p "$BUILD/logs"
PASSED=0 FAILED=0
if [ $# = 0 ]; then
    for s in $(all_suites); do
        suite 0 "$s" && continue
        echo "RED    0  nothing is left out, and $s fails"
        FAILED=$((FAILED + 1))
    done
fi
while IFS='|' read -r number what likely; do
    if [ $# != 0 ] && [[ " $* " != *" $number "* ]]; then continue; fi
    by=
    for s in $likely $QUICK; do
        suite "$number" "$s" || { by=$s && break; }
    done
    if [ -n "$by" ]; then
        printf 'caught %2d  %s: %s\n' "$number" "$what" "$by"
        PASSED=$((PASSED + 1))
    else
        printf 'RED    %2d  %s: nobody notices\n' "$number" "$what"
        FAILED=$((FAILED + 1))
    fi
done < <(switches)
echo "POINTS sabotage switches $PASSED"
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
