#!/usr/bin/env bash
# cover.sh -- line coverage of engine/ and ext/ by the unit programs, in build/debug-cover/.
# Objects are built as MODE=debug with --coverage in a copy of the tree, so that no other build is
# disturbed; gcov sums up. Prints percent of lines per file, worst first.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
copy=build/cover
rm -rf "$copy"
mkdir -p "$copy"
cp -r Makefile engine ext tests sql "$copy/"
cd "$copy"
make --no-print-directory -j"$(nproc)" MODE=debug CFLAGS=--coverage LDFLAGS=--coverage build-tests \
    >build.log 2>&1 || { tail -20 build.log; exit 1; }
for program in build/debug/tests/*/test_*; do
    case $program in *.*) continue ;; esac
    "$program" >/dev/null 2>&1 || echo "failed: $program"
done
find build/debug/engine build/debug/core build/debug/ext -name '*.gcda' -exec gcov -n {} + 2>/dev/null |
    awk -F"'" '/^File/ { file = $2 }
        /^Lines executed/ && file !~ /^\// { split($0, a, "[:% ]"); print a[3], file }' |
    sort -n | awk '{ printf "%6.1f%%  %s\n", $1, $2 }'
