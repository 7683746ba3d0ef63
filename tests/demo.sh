#!/usr/bin/env bash
# demo.sh -- what `make demo` runs: this machine's files below /usr as rows of a fastkv table.
#
# Lists /usr with find, loads the list through the sqlite3 shell, shows sql/demo.sql with its
# answers, then opens the database in a new process and compares row count and sums with what find
# said. Fails if they differ. DEMO_ROOT chooses another folder to list.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C
ROOT=${DEMO_ROOT:-/usr}
DIR=build/demo
LIST=$DIR/files.list
DB=$DIR/demo.db

if [ "${LIVE_TERMINAL:-}" = 1 ] || [ -t 1 ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' PLAIN=$'\e[0m' LIVE=1
else
    BOLD='' DIM='' GREEN='' PLAIN='' LIVE=0
fi

step() { printf '\n%s%s%s\n' "$BOLD" "$1" "$PLAIN"; }
now() { date +%s%N; }
seconds() { awk -v ns="$1" 'BEGIN { printf "%.2f", ns / 1e9 }'; }
rate() { awk -v n="$1" -v ns="$2" 'BEGIN { printf "%.0f", n / (ns / 1e9) }'; }
shell() { sqlite3 -batch -init /dev/null "$DB" -cmd '.load build/fastkv' "$@"; }

# Hands the list on to the shell and counts on standard error: a live line, or one every fifth.
progress() {
    awk -v live="$LIVE" -v total="$1" 'BEGIN { RS = ORS = "\036"; due = part = total / (live ? 100 : 5) }
        function say(n) {
            printf "%s   %9d of %d rows  %3d %%%s", live ? "\r" : "", n, total, 100 * n / total,
                live && n < total ? "" : "\n" > "/dev/stderr"
        }
        { print }
        NR >= due || NR == total { due += part; say(NR) }' "$LIST"
}

if [ "${1-}" = --records ]; then # the shell calls back to read its rows
    progress "$2"
    exit
fi

step "1. The files below $ROOT"
rm -rf "$DIR"
mkdir -p "$DIR"
started=$(now)
# Fields end with 0x1f and rows with 0x1e, so that names may hold anything else: tabs, quotes, newlines.
find "$ROOT" -xdev -type f ! -path "*"$'\x1e'"*" ! -path "*"$'\x1f'"*" \
    -printf '%p\037%s\037%T@\036' >"$LIST" 2>/dev/null || true
read -r COUNT BYTES < <(awk 'BEGIN { RS = "\036"; FS = "\037" } { n++; bytes += $2 }
    END { printf "%d %.0f\n", n, bytes }' "$LIST")
printf '   find lists %d files, %.0f MB in all, in %s s\n' "$COUNT" \
    "$(awk -v b="$BYTES" 'BEGIN { print b / 1e6 }')" "$(seconds $(($(now) - started)))"

step "2. Load them into a fastkv table, in one transaction"
cat >"$DIR/load.sql" <<SQL
CREATE VIRTUAL TABLE files USING fastkv(path TEXT PRIMARY KEY, size INTEGER, mtime REAL);
SQL
sed "s/^/   sqlite> $DIM/; s/\$/$PLAIN/" "$DIR/load.sql"
printf '   sqlite> %s.import --ascii … files%s\n' "$DIM" "$PLAIN"
started=$(now)
# shellcheck disable=SC2069 # progress and errors are shown, the shell's answers are not
{
    echo 'PRAGMA journal_mode = WAL;'
    cat "$DIR/load.sql"
    echo ".import --ascii '|bash tests/demo.sh --records $COUNT' files"
} | LIVE_TERMINAL=$LIVE shell 2>&1 >/dev/null
took=$(($(now) - started))
printf '   %s%d rows in %s s: %d rows a second%s\n' "$GREEN" "$COUNT" "$(seconds $took)" \
    "$(rate "$COUNT" $took)" "$PLAIN"

step "3. Ask (sql/demo.sql)"
{
    printf '.mode box\n.timer on\n.echo on\n'
    sed '1,/^$/d' sql/demo.sql
} | shell | sed "/^Run Time: real 0\.000 /d
    s/^Run Time: real \([0-9.]*\).*/$DIM(\1 s)$PLAIN/
    s/^/   /"

step "4. Open it again, in a new process"
sql='SELECT count(*), sum(size), count(DISTINCT path) FROM files'
printf '   sqlite> %s%s;%s\n' "$DIM" "$sql" "$PLAIN"
found=$(shell "$sql")
printf '   %s\n' "$found"
if [ "$found" != "$COUNT|$BYTES|$COUNT" ]; then
    printf '\nThe table should hold %d files of %s bytes and does not: the demo failed.\n' \
        "$COUNT" "$BYTES" >&2
    exit 1
fi
printf '   %sall %d files are there, to the byte%s\n' "$GREEN" "$COUNT" "$PLAIN"
printf '\nOn disk: %s beside %s.  Go on yourself:\n' "$(du -sh "$DB-fastkv" 2>/dev/null | cut -f1)" "$DB"
printf "   sqlite3 %s -cmd '.load build/fastkv'\n" "$DB"
