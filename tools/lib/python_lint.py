"""Holds the Python sources to what pyflakes finds without running them, and to rules for tests.

    python_lint.py FILE...

Each file compiles, imports nothing that it does not use, and uses no name that is not defined. Tests find
their helpers in the package `support`, and recognise frames by its parser.
"""

import pathlib
import re
import subprocess
import sys

SUPPORT = "Tests/Integration/support/"

# In tests, and why not.
BANNED = (
    (re.compile(r"\bsys\.path\b"), "the package `support` says where modules are"),
    (re.compile(r"\bframe(\.data)?\[\d+\]"), "support.frames parses frames"),
    (re.compile(r"\buntil_silence\b"), "wait for a state, such as a mark (support.bed.Mark)"),
    (re.compile(r"^from \w+_test import|^import \w+_test\b"), "what tests share is in `support`"),
)


def complaints(paths):
    """What is wrong with files, as lines that begin with the file's name and the line's number."""
    # The program and not the module: Debian's Python has that, and another one may come first.
    done = subprocess.run(["pyflakes3", *paths], capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()
    # What does not compile, with a picture of the place.
    yield from done.stderr.splitlines()
    for path in paths:
        is_test = "Tests/Integration" in path.as_posix() and SUPPORT not in path.as_posix()
        for number, line in enumerate(path.read_text().splitlines() if is_test else (), 1):
            for pattern, reason in BANNED:
                if pattern.search(line):
                    yield f"{path}:{number}: {line.strip()}: {reason}"


def main():
    found = list(complaints([pathlib.Path(name) for name in sys.argv[1:]]))
    for line in found:
        print(line, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
