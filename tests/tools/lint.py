#!/usr/bin/env python3
"""lint.py -- the rules of the house that a tool can hold.

    lint.py            check; one line per finding, "N passed, N failed" (checks) at the end
    lint.py --format   lay out all C files by .clang-format

A line that has a good reason to break a rule says so: /* lint: allow <word> -- <reason> */
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

LAYER = {"base": 0, "io": 1, "wal": 2, "mem": 2, "table": 2, "iter": 2,
         "version": 3, "compact": 4, "store": 5}
TOP_LEVEL = {"README.md", "Makefile", "LICENSE", "CHANGELOG.md", "sql", "ext", "engine", "tests"}
LIBRARIES = re.compile(r"^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|ld-linux[^ ]*|libz\.so\.1|"
                       r"liblz4\.so\.1|libzstd\.so\.1)$")
FILE_LINES, FUNCTION_LINES, COLUMNS = 700, 70, 100

UNSAFE = """strcpy strcat sprintf vsprintf gets atoi atol atof alloca strtok rand srand system abort
    exit printf fprintf vprintf vfprintf puts fputs putchar perror""".split()
MEMORY = "malloc calloc realloc free strdup strndup asprintf vasprintf".split()
SYSTEM = r"""open openat creat read pread readv write pwrite writev fsync fdatasync syncfs mmap munmap
    msync ftruncate fallocate posix_fallocate rename renameat unlink unlinkat mkdir rmdir opendir
    readdir closedir fcntl flock stat fstat lstat clock_gettime gettimeofday time clock nanosleep
    usleep sleep getpid gettid getenv fork fopen fclose fread fwrite getrandom
    pthread_\w+""".split()
SYSTEM_HEADERS = re.compile(r"^\s*#\s*include\s*<(pthread|unistd|fcntl|dirent|time|threads|sys/\w+)\.h>")


def call(words):
    """A call of one of these functions; not a member (x->read) and not a longer name."""
    return re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(words))


UNSAFE, MEMORY, SYSTEM = call(UNSAFE), call(MEMORY), call(SYSTEM)


class Source:
    def __init__(self, path):
        self.path = path
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            self.lines = f.read().split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.code = strip("\n".join(self.lines)).split("\n")
        self.folder = path.split("/")[1] if path.count("/") > 1 else ""

    def allows(self, number, word):
        return re.search(r"lint: allow %s -- \S" % re.escape(word), self.lines[number - 1])


def strip(text):
    """Blank out comments, strings and characters; keep the lines."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def blank(match):
        piece = match.group(0)
        if piece[0] == '"' and text[text.rfind("\n", 0, match.start()) + 1:match.start()].strip() \
                .replace(" ", "") == "#include":
            return piece
        return re.sub(r"[^\n]", " ", piece)

    return re.sub(pattern, blank, text, flags=re.S)


def c_files(*folders):
    found = []
    for folder in folders:
        for at, _, names in os.walk(os.path.join(ROOT, folder)):
            found += [os.path.relpath(os.path.join(at, n), ROOT) for n in names
                      if n.endswith((".c", ".h"))]
    return [Source(path) for path in sorted(found)]


# -- the checks: each yields (place, text) ---------------------------------------------------------

def layers(sources):
    for s in sources:
        for number, line in enumerate(s.code, 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not match or s.path.startswith("tests/"):
                continue
            quoted, name = match.group(1) == '"', match.group(2)
            place = "%s:%d" % (s.path, number)
            if s.path.startswith("engine/"):
                yield from engine_include(s, place, name, quoted)
            elif quoted and "/" in name and not name.startswith("base/"):
                yield place, "ext/ may include fastkv.h, base/ and ext/ only, not %s" % name


def engine_include(s, place, name, quoted):
    if name.startswith("sqlite3"):
        yield place, "the engine knows nothing of SQLite"
    if not quoted or name == "fastkv.h":
        return
    folder = name.split("/")[0] if "/" in name else s.folder
    if s.folder not in LAYER or folder not in LAYER:
        yield place, "%s: not in a folder that has a layer" % name
    elif folder != s.folder and LAYER[folder] >= LAYER[s.folder]:
        yield place, "%s/ (layer %d) may not include %s (layer %d)" % (
            s.folder, LAYER[s.folder], name, LAYER[folder])


def lengths(sources):
    for s in sources:
        if len(s.lines) > FILE_LINES:
            yield "%s:%d" % (s.path, len(s.lines)), "%d lines, more than %d" % (
                len(s.lines), FILE_LINES)
        start = None
        for number, line in enumerate(s.code, 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start:
                if number - start + 1 > FUNCTION_LINES:
                    yield "%s:%d" % (s.path, start), "a function of %d lines, more than %d" % (
                        number - start + 1, FUNCTION_LINES)
                start = None


def lines(sources):
    for s in sources:
        for number, line in enumerate(s.lines, 1):
            place = "%s:%d" % (s.path, number)
            if len(line) > COLUMNS:
                yield place, "%d columns, more than %d" % (len(line), COLUMNS)
            if "\t" in line:
                yield place, "a tab"
            if line != line.rstrip():
                yield place, "space at the end of the line"
            if re.search(r"\b(TODO|FIXME|XXX)\b(?!\([^)]+\): \S)", line):
                yield place, "an open end without a reason: write TODO(issue): why"


def calls(sources):
    for s in sources:
        if s.path.startswith("tests/"):
            continue
        home = re.match(r"engine/io/env_posix\w*\.[ch]$", s.path)
        for number, line in enumerate(s.code, 1):
            if line.lstrip().startswith("#"):
                if not home and SYSTEM_HEADERS.match(line):
                    yield "%s:%d" % (s.path, number), "system header outside io/env_posix"
                continue
            for pattern, free, why in (
                    (UNSAFE, False, "is banned"),
                    (MEMORY, s.path == "engine/base/alloc.c", "belongs in base/alloc.c"),
                    (SYSTEM, home, "belongs in io/env_posix")):
                for match in pattern.finditer(line) if not free else ():
                    if not s.allows(number, match.group(1)):
                        yield "%s:%d" % (s.path, number), "%s() %s" % (match.group(1), why)


def library(_):
    path = "build/release/fastkv.so"
    if not os.path.exists(os.path.join(ROOT, path)):
        yield path, "not built"
        return
    symbols = [line.split()[-1].split("@")[0] for line in
               run("nm", "-D", "--defined-only", path).stdout.splitlines()]
    for name in symbols:
        if name != "sqlite3_fastkv_init":
            yield path, "exports %s" % name
    if "sqlite3_fastkv_init" not in symbols:
        yield path, "does not export sqlite3_fastkv_init"
    dynamic = run("readelf", "-dW", path).stdout
    for name in re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic):
        if not LIBRARIES.match(name):
            yield path, "needs %s" % name
    if "NODELETE" not in dynamic:
        yield path, "is not linked with -z nodelete"
    yield from hardened(path, dynamic)
    yield from archive()


def hardened(path, dynamic):
    """What the compiler and the linker were told for the case that there is a hole."""
    segments = run("readelf", "-lW", path).stdout
    stack = re.search(r"GNU_STACK.*", segments)
    if not stack or re.search(r"\bR?W?E\b", stack.group(0)):
        yield path, "has an executable stack"
    if "GNU_RELRO" not in segments or "BIND_NOW" not in dynamic:
        yield path, "is not linked with -z relro -z now"
    if "TEXTREL" in dynamic:
        yield path, "has text relocations"
    for at in re.findall(r"^  LOAD .*", segments, re.M):
        if re.search(r"\bRWE\b", at):
            yield path, "has a segment that is writable and executable"
    imported = run("nm", "-D", "--undefined-only", path).stdout
    if "__stack_chk_fail" not in imported:
        yield path, "is not compiled with -fstack-protector-strong"
    if "__memcpy_chk" not in imported and "__snprintf_chk" not in imported:
        yield path, "is not compiled with -D_FORTIFY_SOURCE"


def archive():
    path = "build/libfastkv.a"
    if not os.path.exists(os.path.join(ROOT, path)):
        return
    for line in run("nm", "-g", "--defined-only", path).stdout.splitlines():
        name = line.split()[-1] if len(line.split()) == 3 else "fkv_"
        if name != "sqlite3_fastkv_init" and not name.startswith("fkv_"):
            yield path, "shows %s" % name


def clang_format():
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name) and " 14." in run(name, "--version").stdout:
            return name
    return None


def layout(sources):
    name = clang_format()
    if not name:
        print("lint: no clang-format 14 here, layout not checked")
        return
    seen = set()
    result = run(name, "--dry-run", *[s.path for s in sources])
    for path, number in re.findall(r"^(.+?):(\d+):\d+: (?:warning|error):", result.stderr, re.M):
        if (path, number) not in seen:
            seen.add((path, number))
            yield "%s:%s" % (path, number), "layout: make format"


def cppcheck(_):
    if not shutil.which("cppcheck"):
        print("lint: no cppcheck here, not run")
        return
    cache = os.path.join(ROOT, "build", "cppcheck")
    os.makedirs(cache, exist_ok=True)
    result = run("cppcheck", "-q", "-j%d" % (os.cpu_count() or 2), "--std=c11",
                 "--enable=warning,performance,portability", "--inline-suppr",
                 "--suppress=missingIncludeSystem", "--suppress=missingInclude",
                 "--cppcheck-build-dir=" + cache, "--error-exitcode=1", "-D_GNU_SOURCE",
                 "-DFKV_HAVE_LZ4", "-DFKV_HAVE_ZSTD", "-U__cplusplus",
                 '-DFKV_BUILD_MODE="lint"', '-DFKV_SOURCE_ID="lint"',
                 "--template={file}:{line}: {message} [{id}]", "-Iengine", "-Iext", "engine", "ext")
    for line in (result.stderr + result.stdout).splitlines():
        match = re.match(r"^([\w./-]+:\d+): (.*)$", line)
        if match:
            yield match.group(1), match.group(2)
    if result.returncode not in (0, 1):
        yield "cppcheck", "ended with %d" % result.returncode


def top_level(_):
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard") \
        if shutil.which("git") else None
    if listed and listed.returncode == 0:
        names = {line.split("/")[0].strip('"') for line in listed.stdout.splitlines()}
    else:
        names = set(os.listdir(ROOT)) - {"build"}
    for name in sorted(names):
        if name not in TOP_LEVEL and not name.startswith("."):
            yield name, "does not belong at the top level"


CHECKS = [cppcheck, layout, layers, lengths, lines, calls, library, top_level]


def run(*command):
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


def main():
    sources = c_files("engine", "ext", "tests")
    if "--format" in sys.argv[1:]:
        name = clang_format()
        if not name:
            sys.exit("make format needs clang-format 14")
        sys.exit(run(name, "-i", *[s.path for s in sources]).returncode)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda check: list(check(sources)), CHECKS))
    count = 0
    for check, findings in zip(CHECKS, results):
        for place, text in findings:
            print("%s: %s" % (place, text))
        count += len(findings)
    failed = sum(1 for findings in results if findings)
    print("lint: %d findings in %d C files" % (count, len(sources)))
    print("%d passed, %d failed" % (len(CHECKS) - failed, failed))
    sys.exit(1 if failed else 0)


main()
