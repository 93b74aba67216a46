"""Each house rule finds a violation that is planted, in a tree that it otherwise has nothing against."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from support import TOOLS, house

PACKAGE = """// swift-tools-version: 6.3
import PackageDescription

let package = Package(
    name: "example",
    targets: [
        module("Lower"),
        module("Upper", "Lower"),

        tests("LowerTests", "Lower"),
        tests("UpperTests", "Upper"),
    ]
)
"""
TREE = {
    "Package.swift": PACKAGE,
    ".swift-format": json.dumps({"rules": {"OrderedImports": True, "NeverForceUnwrap": False}}),
    "Sources/Lower/Number.swift": """/// A number that is kept.
package struct Number {
    /// Whether it is zero.
    package func isZero(_ other: Bool, unless: Bool) -> Bool { other }
}
""",
    "Sources/Upper/Sum.swift": """import Lower

/// A sum of numbers.
struct Sum {
    let text = "TODO try! fatalError( so many"
}
""",
    "Sources/Upper/Parts/Part.swift": "/// A part.\nstruct Part {}\n",
    "Sources/Upper/Whole.swift": "/// A whole.\nstruct Whole { let part: Part }\n",
}

# By rule: files in the place of the tree's, and a part of what is to be said about them. Each finding
# names the place.
LONG_FUNCTION = "func run() {\n" + "    step()\n" * 61 + "}\n"
VIOLATIONS = {
    "file_length": [({"Sources/Lower/Long.swift": "let a = 1\n" * 501}, "Long.swift: 501 lines")],
    "function_length": [({"Sources/Lower/Long.swift": LONG_FUNCTION}, "a function of 62 lines")],
    "unsafe_has_its_homes": [
        ({"Sources/Lower/Raw.swift": "let a = unsafe load()\n"}, "Raw.swift:1"),
        ({"Sources/Lower/Raw.swift": "@unsafe struct Raw {}\n"}, "Raw.swift:1"),
    ],
    "banned_code": [
        ({"Sources/Lower/Bad.swift": f"\n{line}\n"}, "Bad.swift:2")
        for line in ("let a = try! b()", 'fatalError("no")', "extension A: @unchecked Sendable {}",
                     "nonisolated(unsafe) var a = 1", "import Foundation",
                     "package import Foundation", "let now = monotonicNanoseconds()")
    ] + [
        ({"Tests/LowerTests/Bad.swift": "@testable import Lower\n"}, "Bad.swift:1"),
        ({"Sources/Lower/Bad.swift": "import FoundationEssentials\n"}, "Bad.swift"),
    ],
    "keys_have_one_spelling": [
        ({"Sources/Lower/Bad.swift": f"\n{line}\n"}, f"Bad.swift:2: the key {key}")
        for key, line in (
            ("link-type", r'let a = ["link-type": "\(type)"]'), ("byteCount", 'a["b"] = ["byteCount": .number(1)]'),
            ("Reason", 'values["Reason"] = text'), ("edge-name", 'logger[metadataKey: "edge-name"] = name'),
            ("lastFile", '.object([("lastFile", .text(path))])'),
            ("firstFile", '.object([("firstFile", files.first.map { .text($0) } ?? .null)])'))
    ],
    "plain_comments": [
        ({"Sources/Lower/Bad.swift": f"/// {text}\n"}, f"Bad.swift:1: {reason}")
        for text, reason in (
            ("A part. TODO: the rest.", "do it"), ("Answers the sum.", "write Returns"),
            ("There are so many of them.", "name the number"), ("Whoever asks.", "name the subject"),
            ("Takes note of it.", "name what"), ("Of those the last.", "begins with Of"),
            ("Who asks.", "begins with Who"), ("That is so.", "begins with That"),
            ("Those that ask.", "begins with Those"))
    ],
    "questions_change_nothing": [
        ({"Sources/Lower/Bad.swift": "    mutating func isDone() -> Bool { true }\n"},
         "isDone changes something"),
        ({"Sources/Lower/Bad.swift": "func hasRead(_ count: Int) {}\n"}, "hasRead returns no Bool"),
    ],
    "questions_do_not_block": [
        ({"Sources/Lower/Bad.swift": "func isReady() -> Bool {\n    poll(a)\n    return true\n}\n"},
         "func isReady waits: poll"),
        ({"Sources/Lower/Bad.swift": "var isReady: Bool {\n    sleep(1)\n    return true\n}\n"},
         "var isReady: Bool waits: sleep"),
    ],
    "booleans_have_labels": [
        ({"Sources/Lower/Bad.swift": "func run(_ one: Bool, _ other: Bool) {}\n"}, "Bad.swift:1"),
        ({"Sources/Lower/Bad.swift": "init(\n    _ one: Bool, _ other: Bool\n) {}\n"}, "Bad.swift:1"),
        ({"Sources/Lower/Bad.swift": "let a = run(true, false)\n"}, "Bad.swift:1"),
    ],
    "modules_point_one_way": [
        ({"Package.swift": PACKAGE.replace('module("Lower")', 'module("Lower", "Upper")')},
         "Lower needs Upper, which stands behind it"),
        ({"Package.swift": PACKAGE.replace('module("Upper", "Lower")', 'module("Upper")')},
         "Upper imports Lower and does not name it"),
        ({"Sources/Upper/Sum.swift": "struct Sum {}\n"}, "Upper names Lower and imports it nowhere"),
    ],
    "folders_point_one_way": [
        ({"Sources/Upper/Parts/Part.swift": "struct Part { let whole: Whole? }\n"},
         "a circle of folders: the root needs Parts (Whole.swift: Part); Parts needs the root"),
    ],
    "every_module_has_tests": [
        ({"Package.swift": PACKAGE.replace('tests("UpperTests", "Upper"),', "")},
         "Upper has no tests"),
    ],
    "format_rules_are_on": [
        ({".swift-format": json.dumps({"rules": {"OrderedImports": False}})},
         "OrderedImports is off"),
        ({".swift-format": json.dumps({"rules": {"NeverForceUnwrap": True}})},
         "NeverForceUnwrap is on"),
    ],
}


class TidyTest(unittest.TestCase):
    def make(self, changes=()):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in {**TREE, **dict(changes)}.items():
            path = pathlib.Path(folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder.name

    def tidy(self, folder, *arguments):
        return subprocess.run([TOOLS / "tidy", "--root", folder, *arguments], text=True,
                              capture_output=True)

    def test_a_tree_without_violations_passes(self):
        result = self.tidy(self.make(), "--no-format")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_each_rule_has_a_planted_violation(self):
        self.assertEqual([rule.__name__ for rule in house.RULES], list(VIOLATIONS))

    def test_each_rule_finds_its_violations(self):
        for name, plants in VIOLATIONS.items():
            for changes, text in plants:
                with self.subTest(name, text=text):
                    result = self.tidy(self.make(changes), name)
                    self.assertEqual(result.returncode, 1)
                    self.assertIn(text, result.stderr)
                    self.assertIn(f"[{name}]", result.stderr)

    def test_swift_format_finds_a_violation(self):
        folder = self.make({"Sources/Lower/Bad.swift": "let a  =  1;\n",
                            "Tests/LowerTests/Empty.swift": "\n",
                            ".swift-format": (TOOLS.parent / ".swift-format").read_text()})
        result = self.tidy(folder)
        self.assertEqual(result.returncode, 1)
        self.assertIn("[DoNotUseSemicolons]", result.stderr)

    def test_an_unknown_rule_is_refused(self):
        result = self.tidy(self.make(), "no_such_rule")
        self.assertEqual(result.returncode, 2)
        self.assertIn("there is no rule no_such_rule", result.stderr)


if __name__ == "__main__":
    unittest.main()
