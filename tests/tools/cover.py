#!/usr/bin/env python3
"""cover.py BUILD -- what gcov found below BUILD, for each file of engine/ and ext/.

A line counts as run, and a branch as taken, if it is in any object: the extension is compiled
twice, and what is inline in a header in every file that includes it. Branches are both outcomes of
each condition, as gcov numbers them in a function. A line that says `cover: never -- <reason>`
does not count, nor do its branches.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys

# What must not be left to chance: 100 % of the lines and 95 % of the branches (`make verify`).
HARD = (("codecs", r"engine/table/codec"), ("env", r"engine/io/env_"),
        ("recovery", r"(engine/store|ext)/recover\.c$"))


def gcov(objects):
    """The JSON documents of all objects, one per object."""
    done = subprocess.run(["gcov", "-b", "--json-format", "--stdout"] + objects, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    for text in done.stdout.split("\n"):
        if text.startswith("{"):
            yield json.loads(text)


def allowed(path):
    """Numbers of the lines that do not count."""
    with open(path, encoding="utf-8") as f:
        return {i for i, text in enumerate(f, 1) if re.search(r"cover: never -- \S", text)}


def collect(build):
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    branches = collections.defaultdict(lambda: collections.defaultdict(int))
    notes = [p for folder in ("engine", "ext", "core", "newest/ext") for p in glob.glob(
        os.path.join(build, folder, "**", "*.gcno"), recursive=True)]
    for document in gcov(sorted(notes)):
        for entry in document["files"]:
            path = entry["file"]
            if not path.startswith(("engine/", "ext/")):
                continue
            for line in entry["lines"]:
                number = line["line_number"]
                lines[path][number] += line["count"]
                for i, branch in enumerate(line["branches"]):
                    key = (number, line.get("function_name"), i)
                    branches[path][key] += branch["count"]
    for path, never in ((p, allowed(p)) for p in lines):
        lines[path] = {n: c for n, c in lines[path].items() if n not in never}
        branches[path] = {k: c for k, c in branches[path].items() if k[0] not in never}
    return lines, branches


def ran(counts):
    return sum(c > 0 for c in counts.values()), len(counts)


def missing(lines, branches):
    """Lines that nothing ran; in the others the branches that nothing took, by gcov's number."""
    for number, count in lines.items():
        untaken = sorted(k[2] for k, c in branches.items() if k[0] == number and not c)
        if not count:
            yield number, "not run"
        elif untaken:
            yield number, "branches not taken: " + " ".join(map(str, untaken))


def percent(pair):
    return 100.0 * pair[0] / pair[1] if pair[1] else 100.0


def total(paths, table):
    pairs = [ran(table[p]) for p in paths]
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


def tell(name, lines, branches):
    print("%6.1f%% %7d %6.1f%% %7d  %s" % (percent(lines), lines[1] - lines[0], percent(branches),
                                         branches[1] - branches[0], name))


def main():
    lines, branches = collect(sys.argv[1])
    paths = sorted(lines, key=lambda p: percent(ran(lines[p])))
    with open("missing", "w", encoding="utf-8") as f:  # to look at afterwards
        for path in sorted(lines):
            for number, what in sorted(missing(lines[path], branches[path])):
                f.write("%s:%d: %s\n" % (path, number, what))
    print("%7s %7s %7s %7s" % ("lines", "missed", "taken", "missed"))
    for path in paths:
        tell(path, ran(lines[path]), ran(branches[path]))
    for name, pattern in HARD:
        these = [p for p in paths if re.search(pattern, p)]
        tell(name, total(these, lines), total(these, branches))
        print("POINTS coverage-%s-lines percent %d" % (name, percent(total(these, lines))))
        print("POINTS coverage-%s-branches percent %d" % (name, percent(total(these, branches))))
    all_lines, all_branches = total(paths, lines), total(paths, branches)
    tell("all", all_lines, all_branches)
    print("POINTS coverage-lines percent %d" % percent(all_lines))
    print("POINTS coverage-branches percent %d" % percent(all_branches))
    return 0 if paths else 1


if __name__ == "__main__":
    sys.exit(main())
