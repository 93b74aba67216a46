#!/usr/bin/env python3
"""What is wrong in a page is found: tools/lib/docs.py, on a copy of the repository's texts.

    docs_test.py -v
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CATALOG = "Sources/podwire/podwire.docc"


class DocsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in ("Sources", "Tests", "tools", "k8s", "container", ".github"):
            if (ROOT / name).exists():
                shutil.copytree(ROOT / name, self.root / name,
                                ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "README.md", self.root)

    def docs(self, *arguments):
        done = subprocess.run([sys.executable, "-B", self.root / "tools/lib/docs.py", *arguments],
                              capture_output=True, text=True)
        return done.returncode, done.stderr

    def add(self, text, page=f"{CATALOG}/Architecture.md"):
        with open(self.root / page, "a") as file:
            file.write(f"\n{text}\n")

    def test_what_is_planted_is_found(self):
        faults = (
            ("[x](Nowhere.md)", "the link Nowhere.md leads nowhere"),
            ("[x](Settings.md#no-such)", "the link Settings.md#no-such leads to no heading"),
            ("[x][undefined]", "[undefined] is not defined"),
            ("[unused]: Settings.md", "[unused] is not used"),
            ("`Tests/Nowhere.swift`", "there is no Tests/Nowhere.swift"),
            ("`tools/docs`: fine; `Tests/Integration/docs_test.py`: `test_nothing`",
             "Tests/Integration/docs_test.py has no test `test_nothing`"),
            ("`NoSuchType`", "there is no type or module NoSuchType"),
            ("`Rule.noSuchMember`", "Rule has no noSuchMember"),
            ("```text\nwarning sensor lost sensor=a:2003\n2026-11-21T18:01:34.429Z info agent gone agent=b\n```",
             "a sample has a line of the log that there is not: sensor lost"),
            ("```text\ntcp 10.244.1.2:40000 to 10.244.2.3:80\ncommunity id 1:GoGMpLjHjal+iJxM566IprBQMeQ=\n```",
             "a sample has the Community ID 1:GoGMpLjHjal+iJxM566IprBQMeQ=, which is "
             "1:un++bTuSvefJribR18hxgKSflvY="))
        for planted, _ in faults:
            self.add(planted)
        code, text = self.docs("check")
        self.assertEqual(code, 1)
        for planted, found in faults:
            with self.subTest(planted):
                self.assertIn(f"docs: {CATALOG}/Architecture.md: {found}\n", text)
        self.assertEqual(text.count("Architecture.md"), len(faults), text)

    def test_a_readme_that_is_too_long_or_too_wide_is_found(self):
        self.add("\n" * 150, "README.md")
        self.add("x" * 121, "README.md")
        self.add("y" * 122 + "\n| " + "z" * 123, "k8s/README.md")
        text = self.docs("check")[1]
        self.assertIn("README.md: has more than 150 lines", text)
        self.assertIn("has 121 columns, the most is 120", text)
        self.assertIn("has 122 columns, the most is 120", text)
        self.assertNotIn("has 123 columns", text)

    def test_a_table_that_the_program_prints_otherwise_is_found_and_replaced(self):
        program = self.root / "program"
        program.write_text("#!/bin/sh\necho \"| $2 |\"\n")
        program.chmod(0o755)
        code, text = self.docs("tables", "check", program)
        self.assertEqual(code, 1)
        self.assertIn("Settings.md: a table is not as the program prints it", text)
        self.assertEqual(self.docs("tables", "update", program), (0, ""))
        self.assertEqual(self.docs("tables", "check", program), (0, ""))
        self.assertIn("<!-- generated: settings -->\n| settings |\n<!-- end -->\n",
                      (self.root / CATALOG / "Settings.md").read_text())

    def test_links_are_given_to_docc_as_it_takes_them(self):
        self.add("[a](Settings.md#the-table) [b](../../../README.md) "
                 "[c](../../Observation/Observation.docc/TheRule.md) [d](https://example.com)")
        copy = self.root / "copy.docc"
        self.assertEqual(self.docs("prepare", self.root / CATALOG, copy), (0, ""))
        self.assertIn("[a](doc:Settings#The-table) b (`README.md`) [c](doc:/Observation/TheRule) "
                      "[d](https://example.com)", (copy / "Architecture.md").read_text())


if __name__ == "__main__":
    unittest.main()
