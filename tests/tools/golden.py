#!/usr/bin/env python3
"""golden.py -- SQL scripts through the sqlite3 shell, compared with their expected output.

    golden.py [--mode MODE] [--update] [NAME…]

    tests/sql/NAME.sql   expected in tests/sql/NAME.out
    sql/NAME.sql         expected in tests/sql/scripts/NAME.out (demo.sql is not a test)

Each script runs in a folder that holds nothing but fastkv.so and sql/, on a database test.db, with
the extension loaded; it may .open files and say `.load ./fastkv` again. Standard output and errors
are compared together.

A script with the line `-- oracle: native` must give the same output when its fastkv tables are
native ones (WITHOUT ROWID): that run is a test of its own, so an expected output that SQLite
would not give is found out.
"""
import argparse
import concurrent.futures
import difflib
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT = 120


def scripts():
    for path in sorted(glob.glob(os.path.join(ROOT, "sql", "*.sql"))):
        name = os.path.basename(path)[:-4]
        if name != "demo":
            yield "sql/" + name, path, os.path.join(ROOT, "tests/sql/scripts", name + ".out")
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/sql", "*.sql"))):
        yield "tests/sql/" + os.path.basename(path)[:-4], path, path[:-4] + ".out"


def split_arguments(text):
    """Split at commas outside parentheses and quotes."""
    pieces, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"`":
            quote = c
        elif c in "()":
            depth += 1 if c == "(" else -1
        elif c == "," and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    return [p for p in pieces + [text[start:]] if p.strip()]


def native(text):
    """The same script with native tables."""
    out, at = "", 0
    head = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\s+(IF\s+NOT\s+EXISTS\s+)?(\S+)\s+USING\s+fastkv\s*",
                      re.I)
    while True:
        match = head.search(text, at)
        if not match:
            return out + text[at:]
        out += text[at:match.start()]
        at = match.end()
        columns = ["key", "value"]
        if text[at:at + 1] == "(":
            depth, end = 1, at + 1
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            body = re.sub(r"--[^\n]*", "", text[at + 1:end - 1])
            columns = [c for c in split_arguments(body) if not re.match(r"\s*\w+\s*=", c)]
            at = end
        if not any(re.search(r"PRIMARY\s+KEY", c, re.I) for c in columns):
            columns.append("PRIMARY KEY (%s)" % columns[0].split()[0])
        out += "CREATE TABLE %s%s(%s) WITHOUT ROWID" % (
            match.group(1) or "", match.group(2), ", ".join(" ".join(c.split()) for c in columns))
        out += "\n" * text.count("\n", match.start(), at)  # errors name the same lines


def environment(mode):
    env = dict(os.environ, LC_ALL="C.UTF-8", HOME="/nonexistent")
    if mode in ("asan", "tsan"):
        library = subprocess.run(["gcc", "-print-file-name=lib%s.so" % mode], text=True,
                                 capture_output=True, check=True).stdout.strip()
        env["LD_PRELOAD"] = os.path.realpath(library)
        env["ASAN_OPTIONS"] = "detect_leaks=0:" + env.get("ASAN_OPTIONS", "")
    return env


def run(text, mode, as_native=False):
    with tempfile.TemporaryDirectory(prefix="fastkv-sql-") as folder:
        command = ["sqlite3", "-batch", "-init", "/dev/null", "test.db"]
        if not as_native:
            os.symlink(os.path.join(ROOT, "build", mode, "fastkv.so"),
                       os.path.join(folder, "fastkv.so"))
            os.symlink(os.path.join(ROOT, "sql"), os.path.join(folder, "sql"))
            command += ["-cmd", ".load ./fastkv"]
        try:
            result = subprocess.run(command, cwd=folder, input=text.encode(), timeout=TIMEOUT,
                                    env=environment("" if as_native else mode), check=False,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as e:
            return (e.stdout or b"").decode(errors="replace") + "\nno end after %d s\n" % TIMEOUT
        output = result.stdout.decode(errors="replace").replace(folder, "<folder>")
        if result.returncode < 0:
            output += "\nthe shell was killed by signal %d\n" % -result.returncode
        return output


def compare(name, expected, got):
    if expected == got:
        return None
    return "".join("  " + line for line in difflib.unified_diff(
        expected.splitlines(True), got.splitlines(True), name + " expected", name + " got"))


def check(script, options):
    """A list of (test name, difference or None)."""
    name, path, expected_path = script
    with open(path, encoding="utf-8") as f:
        text = f.read()
    got = run(text, options.mode)
    if options.update:
        os.makedirs(os.path.dirname(expected_path), exist_ok=True)
        with open(expected_path, "w", encoding="utf-8") as f:
            f.write(got)
    if not os.path.exists(expected_path):
        return [(name, "  no expected output: make golden writes it\n")]
    with open(expected_path, encoding="utf-8") as f:
        expected = f.read()
    results = [(name, compare(name, expected, got))]
    if options.mode == "release" and re.search(r"^-- oracle: native$", text, re.M):
        name += " (native tables)"
        results.append((name, compare(name, expected, run(native(text), "", as_native=True))))
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="release")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = [s for s in scripts()
              if not options.names or any(n in s[0] for n in options.names)]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for results in pool.map(lambda s: check(s, options), chosen):
            for name, difference in results:
                if difference is None:
                    passed += 1
                else:
                    failed += 1
                    print("FAILED %s\n%s" % (name, difference), end="")
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main()
