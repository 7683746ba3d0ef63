#!/usr/bin/env bash
# run_apsw.sh -- apsw, the thin binding for Python.
. "$(dirname "$0")/driver.sh"
MUST=1
needs "apsw (Debian: python3-apsw)" /usr/bin/python3 -c 'import apsw'
finish /usr/bin/python3 "$HERE/use_apsw.py"
