"""Holds the Python sources to what can be checked without installing anything.

    python_lint.py FILE...

Each file compiles, imports nothing that it does not use, and uses no name that is not defined. Tests find
their helpers in the package `support`, and recognise frames by its parser.
"""

import ast
import builtins
import pathlib
import re
import sys

# What every module has.
KNOWN = {*dir(builtins), "__file__", "__name__", "__doc__"}
SUPPORT = "Tests/Integration/support/"

# In tests, and why not.
BANNED = (
    (re.compile(r"\bsys\.path\b"), "the package `support` says where modules are"),
    (re.compile(r"\bframe(\.data)?\[\d+\]"), "support.frames parses frames"),
    (re.compile(r"\buntil_silence\b"), "wait for a state, such as a mark (support.bed.Mark)"),
    (re.compile(r"^from \w+_test import|^import \w+_test\b"), "what tests share is in `support`"),
)


def names(tree):
    """The names that a module imports, each with its line, those that it defines, and those it uses."""
    imported, defined, used = {}, set(), {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                imported[(alias.asname or alias.name).split(".")[0]] = node.lineno
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used.setdefault(node.id, node.lineno)
            else:
                defined.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            defined.add(node.name)
    return imported, defined, used


def exported(tree):
    """What a module says that others find in it (`__all__`)."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def complaints(path):
    """What is wrong with a file, as lines and texts."""
    text = path.read_text()
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        yield error.lineno, error.msg
        return
    imported, defined, used = names(tree)
    for name, line in imported.items():
        if name not in used and name not in exported(tree):
            yield line, f"{name} is imported and not used"
    for name, line in used.items():
        if name not in imported and name not in defined and name not in KNOWN:
            yield line, f"{name} is not defined"
    is_test = "Tests/Integration" in path.as_posix() and SUPPORT not in path.as_posix()
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, reason in BANNED if is_test else ():
            if pattern.search(line):
                yield number, f"{line.strip()}: {reason}"


def main():
    failed = False
    for name in sys.argv[1:]:
        for line, text in complaints(pathlib.Path(name)):
            print(f"{name}:{line}: {text}", file=sys.stderr)
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
