"""The tools by which all is checked: tools/test counts right and goes on after a failure, and the lint of
Python sources finds what it is there to find."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from support import python_lint, steps

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSES = steps.step("passes", "all is well", "true", root=False)
FAILS = steps.step("fails", "something is wrong", "false", root=False)


def shell_step(name, summary, command, **keywords):
    return steps.step(name, summary, "", root=False, **keywords)._replace(command=["bash", "-c", command])




def in_turn(*beside):
    """The first ones end only behind the next, and the last passes only behind the first ones."""
    firsts = [shell_step(f"beside{index}", "it takes its time", beside=kind, command=f"""
        echo one; until [ -e "$FOLDER/b" ]; do sleep 0.01; done; echo two; touch "$FOLDER/a{index}" """)
              for index, kind in enumerate(beside)]
    needed = " && ".join(f'test -e "$FOLDER/a{index}"' for index in range(len(beside)))
    return (*firsts, shell_step("between", "it does not wait", 'touch "$FOLDER/b"'),
            shell_step("alone", "it waits", needed, alone=True))


PYTHON = """\
test_one (__main__.SomeTest.test_one) ... FAIL
test_two (__main__.SomeTest.test_two) ... ok
======================================================================
FAIL: test_one (__main__.SomeTest.test_one) ['this']
======================================================================
FAIL: test_one (__main__.SomeTest.test_one) ['that']
======================================================================
ERROR: setUpClass (__main__.OtherTest)
----------------------------------------------------------------------
Ran 5 tests in 1.234s

FAILED (failures=2, errors=1, skipped=1)
"""
SWIFT = """\
◇ Test "has a name with a word" started.
✘ Test "has a name with a word" recorded an issue with 1 argument at A.swift:1:2: Expectation failed
✘ Test "has a name with a word" with 3 test cases failed after 0.001 seconds with 1 issue.
✘ Test plain() failed after 0.001 seconds with 1 issue.
✘ Suite "Some" failed after 0.002 seconds with 2 issues.
➜ Test "of a kernel" skipped: "there is none"
✔ Test "is right" passed after 0.001 seconds.
✘ Test run with 4 tests in 1 suite failed after 0.003 seconds with 2 issues.
"""


class CountTest(unittest.TestCase):
    def count(self, counter, text, code=1):
        count = counter(text.splitlines(), code)
        return count.passed, count.failed, count.skipped

    def test_python(self):
        self.assertEqual(self.count(steps.count_python, PYTHON), (3, 2, 1))
        self.assertEqual(self.count(steps.count_python, "Ran 7 tests in 1.0s\n\nOK\n", 0), (7, 0, 0))
        # One that has died before its end.
        self.assertEqual(self.count(steps.count_python, "Traceback\n"), (0, 1, 0))

    def test_swift_where_a_skipped_test_has_failed(self):
        self.assertEqual(self.count(steps.count_swift, SWIFT), (1, 3, 0))
        passed = "✔ Test run with 269 tests in 54 suites passed after 1.0 seconds.\n"
        self.assertEqual(self.count(steps.count_swift, passed, 0), (269, 0, 0))
        self.assertEqual(self.count(steps.count_swift, "error: it does not build\n"), (0, 1, 0))
        self.assertEqual(self.count(steps.count_swift, "nothing was run\n", 0), (0, 1, 0))


class RunTest(unittest.TestCase):
    def run_steps(self, *arguments, known=(FAILS, PASSES)):
        """The exit code and the lines of a run of steps."""
        output = io.StringIO()
        with mock.patch.object(steps, "STEPS", known), \
                mock.patch.object(sys, "argv", ["tools/test", *arguments]), \
                contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = steps.main()
        return code, output.getvalue().splitlines()

    def test_others_run_after_a_failure(self):
        code, lines = self.run_steps()
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed"))
        self.assertIn("== passes: all is well", lines)
        self.assertIn("failed: fails", lines)

    def test_what_failed_is_shown_at_the_end(self):
        long = shell_step("long", "it says much", """
            seq 100; echo 'FAIL: test_one (x)'; echo because; seq 200 300; exit 1""")
        code, lines = self.run_steps(known=(long, PASSES))
        self.assertEqual(code, 1)
        begin = lines.index("    FAIL: test_one (x)")
        self.assertEqual(lines[begin + 1:begin + 3], ["    because", "    200"])
        self.assertEqual(lines[-2:], ["", "1 passed, 1 failed"])
        self.assertEqual(len(lines[begin:-2]), steps.EXCERPT_LINE_COUNT_MAX)
        silent = steps.excerpt([str(number) for number in range(100)])
        self.assertEqual(silent, [str(number) for number in range(40, 100)])

    def test_some_of_them_again_and_again(self):
        code, lines = self.run_steps("--repeat", "3", "passes")
        self.assertEqual((code, lines[-1]), (0, "3 passed, 0 failed"))
        self.assertEqual(lines.count("== passes: all is well"), 3)
        self.assertTrue(any("3 of 3 runs passed" in line for line in lines), lines)

    def test_some_beside_others(self):
        """They do not wait for them, but for one that runs alone; what each says stays together."""
        for kinds in ([steps.COMPILES], [steps.WAITS], [steps.COMPILES, steps.WAITS]):
            with self.subTest(kinds), tempfile.TemporaryDirectory() as folder, \
                    mock.patch.dict(os.environ, {"FOLDER": folder}):
                code, lines = self.run_steps(known=in_turn(*kinds))
                total = f"{len(kinds) + 2} passed, 0 failed"
                self.assertEqual((code, lines[-1]), (0, total), lines)
                heads = [line.split(":")[0] for line in lines if line.startswith("== ")]
                firsts = [f"== beside{index}" for index in range(len(kinds))]
                self.assertEqual((heads[0], heads[-1]), ("== between", "== alone"))
                self.assertEqual(sorted(heads[1:-1]), firsts)
                for first in firsts:
                    start = lines.index(f"{first}: it takes its time")
                    self.assertEqual(lines[start + 1:start + 3], ["one", "two"])

    def test_python_packages_that_cannot_be_had(self):
        """They fail the steps that need them, and no other. pip is in each environment from its start."""
        known = [shell_step(kind, "it has Python packages", f"command -v python3 | grep /venv-{kind}/bin/", venv=kind)
                 for kind in ("broken", "sound")]
        with mock.patch.object(steps, "PYTHON_PACKAGES", {"broken": ("/nonexistent",), "sound": ("pip",)}):
            code, lines = self.run_steps(known=known)
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed"), lines)
        self.assertIn("broken cannot be run: its Python packages cannot be installed", lines)

    def test_the_list(self):
        self.assertEqual(self.run_steps("--list"), (
            0, ["fails   something is wrong", "passes  all is well"]))


class StepsTest(unittest.TestCase):
    def test_each_file_of_tests_has_a_step(self):
        run = {part for step in steps.STEPS for part in step.command}
        files = {f"{steps.TESTS}/{path.name}" for path in pathlib.Path(__file__).parent.glob("*_test.py")}
        self.assertEqual(files - run, set())


class RevisionTest(unittest.TestCase):
    """What tools/image and tools/lib/release say of the commit."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def git(self, *words):
        names = {f"GIT_{who}_{what}": "a@b.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(["git", "-C", self.folder, *words], check=True, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **names}).stdout.strip()

    def said(self):
        """The revision, and the short commit of it."""
        script = 'source "$1"; revision=$(find_revision "$2"); echo "$revision $(short_commit "$revision")"'
        return tuple(subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script, "bash", ROOT / "tools/lib/common.sh", self.folder],
            check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n").split(" "))

    def test_what_differs_from_the_commit(self):
        self.assertEqual(self.said(), ("unknown", ""))
        self.git("init", "--quiet")
        self.assertEqual(self.said(), ("unknown", ""))
        for name in ("Sources/a.swift", "README.md"):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("one\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "first")
        commit = self.git("rev-parse", "HEAD")
        same, other = (commit, commit[:12]), (f"{commit}-modified", f"{commit[:12]}+")
        self.assertEqual(self.said(), same)
        (self.folder / "README.md").write_text("two\n")
        (self.folder / "new.txt").write_text("new\n")
        self.assertEqual(self.said(), same, "neither is a part of the program")
        new = self.folder / "Sources/b.swift"
        new.write_text("new\n")
        self.assertEqual(self.said(), other)
        new.unlink()
        self.assertEqual(self.said(), same)
        (self.folder / "Sources/a.swift").write_text("two\n")
        self.assertEqual(self.said(), other)


class LintTest(unittest.TestCase):
    def complaints(self, text, name="Tests/Integration/x_test.py"):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True)
            path.write_text(text)
            return list(python_lint.complaints([path]))

    def test_what_is_right(self):
        self.assertEqual(self.complaints("import os\n\n\ndef say(it):\n    print(os.sep, it)\n"), [])

    def test_what_is_wrong(self):
        for text, part in (("import os\n", "'os' imported but unused"),
                           ("print(nothing)\n", "undefined name 'nothing'"),
                           ("def one(it):\n    return it\n\n\ndef two():\n    return it\n", "undefined name 'it'"),
                           ("def broken(:\n", "invalid syntax"),
                           (f"print([frame[{23}] == 1 for frame in ()])\n", "support.frames"),
                           ("import sys\nsys.path.append('x')\n", "support"),
                           ("from agent_test import run\nrun()\n", "support")):
            with self.subTest(text):
                found = self.complaints(text)
                self.assertIn(part, found[0])
                self.assertEqual(len(found), 3 if "syntax" in part else 1, found)


class ToolArgumentsTest(unittest.TestCase):
    """A wrong argument is named in one line, before anything is built or made."""

    def check(self, code, text, *words, **variables):
        done = subprocess.run([ROOT / "tools" / words[0], *words[1:]], capture_output=True, text=True,
                              env={**os.environ, **variables}, check=False)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertEqual(done.stderr, f"{words[0]}: {text}\n")

    def test_what_is_wrong_is_named(self):
        networks = "bridge, ptp, vxlan, ebpf-nat, ebpf-peer or ebpf-peer-macs"
        for text, *words in (
                (f"flat is no network ({networks}) and no option", "demo", "flat"),
                ("--output needs a value", "demo", "--output"),
                ("--prefix needs a value", "testbed", "--prefix"),
                (f"up needs a network: {networks}", "testbed", "up"),
                (f"flat is no network: {networks}", "testbed", "up", "flat"),
                ("most is not known: up ptp, or up ptp more", "testbed", "up", "ptp", "most"),
                ("a verb is missing: up, down, run, status or edges", "testbed"),
                ("run needs a node or a pod, and a command", "testbed", "run", "a1"),
                ("--tag needs a value", "image", "--tag"),
                ("make is no engine: docker, podman, buildah or none", "image", "--engine", "make"),
                ("--foo is not known", "docs", "--foo"), ("lint is not known: rules, build or tests", "check", "lint"),
                ("soon is no target (--list shows them)", "fuzz", "soon"),
                ("soon is no number of minutes", "fuzz", "--minutes", "soon"),
                ("--input needs the one target that reads it", "fuzz", "--input", "README.md"),
                ("/nonexistent is no file", "fuzz", "names", "--input", "/nonexistent"),
                ("random has neither inputs nor a corpus", "fuzz", "random", "--runs", "9")):
            self.check(64, f"{text}; see --help", *words)

    def test_what_cannot_be_used_is_named_first(self):
        self.check(1, "cannot write /nonexistent/x: /nonexistent is no folder", "demo", "--output",
                   "/nonexistent/x")
        self.check(1, "PODWIRE is /nonexistent, which is no program", "demo", PODWIRE="/nonexistent")
        self.check(1, "there is no test bed with prefix none: tools/testbed up bridge makes one",
                   "testbed", "--prefix", "none", "run", "a1", "true")


if __name__ == "__main__":
    unittest.main()
