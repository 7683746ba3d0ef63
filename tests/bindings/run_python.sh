#!/usr/bin/env bash
# run_python.sh -- the system Python's sqlite3. Other Pythons often come without load_extension.
. "$(dirname "$0")/driver.sh"
MUST=1
needs "/usr/bin/python3 (Debian: python3)" /usr/bin/python3 -c 'import sqlite3'
finish /usr/bin/python3 "$HERE/use_python.py"
