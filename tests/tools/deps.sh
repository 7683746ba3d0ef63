#!/bin/sh
# deps.sh STEP STAMP -- see that what STEP needs is there, install it if not, write STAMP.
#
#   build  a C compiler, the headers of SQLite, zlib and xxHash; LZ4 and Zstandard if they can be had.
#          STAMP tells the Makefile which of the two were found.
#   demo   the sqlite3 shell and find
#   test   python3, and for lint cppcheck and clang-format if they can be had
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
    findutils) command -v find >/dev/null ;;
    clang-format-14) command -v clang-format-14 >/dev/null ||
        clang-format --version 2>/dev/null | grep -q 'version 14\.' ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing() {
    for package in "$@"; do has "$package" || printf ' %s' "$package"; done
}

case $step in
build) need="gcc libc6-dev binutils libsqlite3-dev zlib1g-dev libxxhash-dev" wish="liblz4-dev libzstd-dev" ;;
demo) need="sqlite3 findutils" wish="" ;;
test) need="sqlite3 python3 binutils" wish="cppcheck clang-format-14" ;;
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
if [ -n "$wish" ]; then echo "going on without:$wish (make deps looks again)"; fi

{
    if [ "$step" = build ]; then
        if has liblz4-dev; then echo "HAVE_LZ4 := 1"; fi
        if has libzstd-dev; then echo "HAVE_ZSTD := 1"; fi
    fi
} >"$stamp.new"
mv "$stamp.new" "$stamp"
