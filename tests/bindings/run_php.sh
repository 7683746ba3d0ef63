#!/usr/bin/env bash
# run_php.sh -- PHP's SQLite3 class.
. "$(dirname "$0")/driver.sh"
needs "PHP with SQLite3 (Debian: php-cli php-sqlite3)" php -n -d extension=sqlite3 \
    -r 'exit(class_exists("SQLite3") ? 0 : 1);'
finish php -n -d extension=sqlite3 -d "sqlite3.extension_dir=$(dirname "$FASTKV_SO")" \
    "$HERE/use_php.php"
