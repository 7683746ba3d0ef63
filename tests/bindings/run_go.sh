#!/usr/bin/env bash
# run_go.sh -- Go's mattn/go-sqlite3, from the sources that Debian packages, with SQLite's library.
. "$(dirname "$0")/driver.sh"
export GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS="" GOCACHE=$ROOT/build/bindings/go
needs "Go (Debian: golang-go)" go version
needs "go-sqlite3 (Debian: golang-github-mattn-go-sqlite3-dev)" \
    test -d "$GOPATH/src/github.com/mattn/go-sqlite3"
go build -o "$FASTKV_TMP/use_go" "$HERE/use_go.go" || exit 1
finish "$FASTKV_TMP/use_go"
