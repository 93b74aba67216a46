"""The house rules: what the sources are held to beside the compiler and swift-format.

Each rule is a function that takes the tree and yields what is wrong, one line each. `RULES` lists them in
the order in which a person would want to read their findings. A rule has a planted violation in
Tests/Integration/tidy_test.py.
"""

import dataclasses
import functools
import json
import pathlib
import re

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Raw memory has its homes: those that talk to the kernel or to a C library, and the helpers for bytes.
UNSAFE_HOMES = {"Addressing", "Compression", "Linux", "Netlink", "PacketRing", "Packets", "Security",
                "podwire"}
# Of Foundation only what reads JSON; the commands' library brings that into the program anyway.
FOUNDATION_HOME = "Sources/Edges/PodNames/CachedAttachment.swift"

# Rules of swift-format that are off, each with its reason. All others are on.
FORMAT_RULES_OFF = {
    "NeverForceUnwrap": "the first byte of a buffer that is not empty has an address",
}

BANNED_CODE = [
    (r"\btry!", "try!: handle the error"),
    (r"\bfatalError\(", "fatalError: throw, or state an invariant with precondition"),
    (r"@unchecked\b", "@unchecked: have the compiler check it"),
    (r"\bnonisolated\(unsafe\)", "nonisolated(unsafe): have the compiler check it"),
    (r"@testable\b", "@testable: give what is tested package access"),
    (r"^ *(?:public |package )?import Foundation\b", "Foundation: it is not linked"),
    (r"\bmonotonicNanoseconds\(", "raw nanoseconds: use MonotonicTime and Duration"),
]
BANNED_WORDS = [
    (r"\b(?:TODO|FIXME|XXX)\b", "do it, or file an issue"),
    (r"\bAnswers\b", "write Returns"),
    (r"\b[Ss]o (?:many|much|long)\b(?! (?:as|that))", "name the number"),
    (r"\b[Ww]hoever\b", "name the subject"),
    (r"\bTakes note\b", "name what is recorded"),
]
# The first word of a comment names its subject.
BANNED_BEGINNINGS = ("Of", "That", "Who", "Whom", "Whose", "Those", "So")


@dataclasses.dataclass(frozen=True)
class Source:
    """A Swift file, with and without its comments and texts."""

    path: pathlib.PurePath
    text: str

    @property
    def module(self):
        return self.path.parts[1]

    @property
    def folder(self):
        """The folder inside the module; empty for the module's own."""
        return "/".join(self.path.parts[2:-1])

    @functools.cached_property
    def lines(self):
        return self.text.split("\n")

    @functools.cached_property
    def code(self):
        """The file with blanks in the place of comments and of the insides of texts."""
        def blank(match):
            return re.sub(r"[^\n]", " ", match[0])
        pattern = r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/'
        return re.sub(pattern, blank, self.text, flags=re.DOTALL)

    @functools.cached_property
    def code_lines(self):
        return self.code.split("\n")

    @functools.cached_property
    def comments(self):
        """Each line of a comment: its number, its text, and whether a comment begins with it."""
        found, before = [], False
        for number, line in enumerate(self.lines, 1):
            match = re.match(r"\s*///? ?(.*)$", line)
            if match:
                found.append((number, match[1], not before))
            before = match is not None
        return found

    @functools.cached_property
    def imports(self):
        return set(re.findall(r"^(?:public |package )?import (\w+)$", self.text, re.MULTILINE))


class Tree:
    """The sources below a folder, and what Package.swift says of them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.sources = self.read("Sources")
        self.tests = self.read("Tests")
        package = self.root / "Package.swift"
        self.package = package.read_text() if package.exists() else ""

    def read(self, folder):
        paths = sorted((self.root / folder).rglob("*.swift"))
        return [Source(path.relative_to(self.root), path.read_text()) for path in paths]

    @functools.cached_property
    def modules(self):
        """The targets of Package.swift in their order, with the targets of ours that each needs."""
        found = {}
        pattern = r'(?:module|tests)\(\s*"(\w+)"(.*?)\),\n|arget\(\s*name: "(\w+)",\s*dependencies: \[(.*?)\]'
        for match in re.finditer(pattern, self.package, re.DOTALL):
            name, needs = match[1] or match[3], match[2] if match[1] else match[4]
            found[name] = set(re.findall(r'"(\w+)"', needs))
        return found


def rule(function):
    """A rule by its function: the name is the function's, the summary its first line."""
    function.summary = function.__doc__.split("\n")[0]
    RULES.append(function)
    return function


RULES = []


@rule
def file_length(tree):
    """A file has at most 500 lines."""
    for source in tree.sources:
        count = len(source.lines) - 1
        if count > FILE_LINES_MAX:
            yield f"{source.path}: {count} lines, the most is {FILE_LINES_MAX}"


@rule
def function_length(tree):
    """A function has at most 60 lines."""
    head = re.compile(r"( *)(?:[a-z@]\w*(?:\([^)]*\))? )*(?:func |init[?(<]|deinit)")
    for source in tree.sources:
        start = None
        for number, line in enumerate(source.code_lines, 1):
            match = head.match(line)
            if match:
                start, depth = number, match[1]
            elif start and re.match(depth + r"}", line):
                if number - start > FUNCTION_LINES_MAX:
                    yield (f"{source.path}:{start}: a function of {number - start} lines, "
                           f"the most is {FUNCTION_LINES_MAX}")
                start = None


@rule
def unsafe_has_its_homes(tree):
    """Raw memory is touched only in the modules that talk to the kernel or hold bytes."""
    for source in tree.sources:
        if source.module in UNSAFE_HOMES:
            continue
        for number, line in enumerate(source.code_lines, 1):
            if re.search(r"\bunsafe\b|@unsafe\b", line):
                yield f"{source.path}:{number}: unsafe outside of {', '.join(sorted(UNSAFE_HOMES))}"


@rule
def banned_code(tree):
    """Code that this house does without: try!, fatalError, @unchecked, Foundation and the like."""
    for source in tree.sources + tree.tests:
        for number, line in enumerate(source.code_lines, 1):
            for pattern, reason in BANNED_CODE:
                if re.search(pattern, line):
                    yield f"{source.path}:{number}: {reason}"
        if "FoundationEssentials" in source.imports and str(source.path) != FOUNDATION_HOME:
            yield f"{source.path}: Foundation is for {FOUNDATION_HOME} alone"


# A key of the log's metadata, or of a JSON object.
KEYS = re.compile(
    r'"([A-Za-z][\w-]*)":\s*(?:"\\\(|"""|\.number\(|\.string)'
    r'|\b(?:metadata|values)\["([^"]+)"\]|metadataKey: "([^"]+)"'
    r'|\("([A-Za-z][\w-]*)", *(?:\.(?:text|number|array|object|bool|null)\b|number\(|JSON\.|Self\.number)'
    r'|\("([A-Za-z][\w-]*)", \w+(?:\.\w+)*\.map \{ \.(?:text|number)')


@rule
def keys_have_one_spelling(tree):
    """Keys of the log and of JSON are words in lower case with underscores: packets_per_second."""
    for source in tree.sources:
        # HTTP spells its header fields otherwise.
        if source.module == "HTTPEndpoint":
            continue
        for match in KEYS.finditer(source.text):
            # What is put into a key is spelt where it comes from.
            key = re.sub(r"\\\([^)]*\)", "a", next(group for group in match.groups() if group))
            if not re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", key):
                number = source.text.count("\n", 0, match.start()) + 1
                yield f"{source.path}:{number}: the key {key} is not spelt like_this"


@rule
def plain_comments(tree):
    """Comments name their subject first, and avoid words that need a second reading."""
    for source in tree.sources + tree.tests:
        for number, text, is_first in source.comments:
            for pattern, reason in BANNED_WORDS:
                if re.search(pattern, text):
                    yield f"{source.path}:{number}: {reason}: {text}"
            first = text.split(" ")[0].rstrip(",")
            if is_first and first in BANNED_BEGINNINGS:
                yield f"{source.path}:{number}: begins with {first}, name the subject: {text}"


@rule
def questions_change_nothing(tree):
    """A function named is…, has… or are… returns a Bool and changes nothing."""
    head = re.compile(r"((?:\w+(?:\(\w+\))? )*)func ((?:is|has|are)[A-Z]\w*)")
    for source in tree.sources:
        for match in head.finditer(source.code):
            number = source.code.count("\n", 0, match.start()) + 1
            if "mutating" in match[1].split():
                yield f"{source.path}:{number}: {match[2]} changes something, so name it by a verb"
            signature = source.code[match.start():source.code.find("{", match.start())]
            if not re.search(r"->\s*Bool\s*$", signature.strip()):
                yield f"{source.path}:{number}: {match[2]} returns no Bool, so name it by a verb"


@rule
def questions_do_not_block(tree):
    """A function named is…, has… or are…, and a computed property, waits for nothing."""
    head = re.compile(r"func (?:is|has|are)[A-Z]\w*|\bvar (?:is|has|are)[A-Z]\w*: Bool \{")
    waits = re.compile(r"\b(poll|sleep|connect|join|read|recv|send|waitpid)\(")
    for source in tree.sources:
        for match in head.finditer(source.code):
            body = body_from(source.code, match.start())
            found = waits.search(body)
            # A descriptor that is asked, and not waited for, gives no time.
            if found and not re.search(r"milliseconds: 0\)|timeout: \.zero", body):
                number = source.code.count("\n", 0, match.start()) + 1
                yield f"{source.path}:{number}: {match[0].strip(' {')} waits: {found[1]}"


def body_from(code, start):
    """The text from the first brace to the one that closes it."""
    begin = code.find("{", start)
    depth = 0
    for index in range(begin, len(code)):
        depth += {"{": 1, "}": -1}.get(code[index], 0)
        if depth == 0:
            return code[begin:index + 1]
    return code[begin:]


@rule
def booleans_have_labels(tree):
    """No two Booleans without labels stand side by side in a parameter list or a call."""
    parameters = re.compile(r"(?:func \w+|init)(?:<[^>]*>)?[?]?\(([^{}]*?)\)", re.DOTALL)
    unlabelled = re.compile(r"(?:^|,)\s*_ \w+: Bool\b[^,]*,\s*_ \w+: Bool\b")
    call = re.compile(r"[(,]\s*(?:true|false)\s*,\s*(?:true|false)\s*[,)]")
    for source in tree.sources:
        for match in parameters.finditer(source.code):
            if unlabelled.search(match[1]):
                number = source.code.count("\n", 0, match.start()) + 1
                yield f"{source.path}:{number}: two Booleans without labels: use labels or an enum"
        for match in call.finditer(source.code):
            number = source.code.count("\n", 0, match.start()) + 1
            yield f"{source.path}:{number}: two Booleans without labels: {match[0].strip()}"


@rule
def modules_point_one_way(tree):
    """A module needs only modules that stand before it in Package.swift, and imports all it names."""
    order = {name: index for index, name in enumerate(tree.modules)}
    used = {}
    for source in tree.sources:
        used.setdefault(source.module, set()).update(source.imports)
    for name, needs in tree.modules.items():
        if name not in used:
            continue
        for other in sorted(needs & set(order)):
            if order[other] > order[name]:
                yield f"Package.swift: {name} needs {other}, which stands behind it"
        ours = needs & set(used)
        for other in sorted(ours - used[name]):
            yield f"Package.swift: {name} names {other} and imports it nowhere"
        for other in sorted(used[name] & set(used) - needs - {name}):
            yield f"Package.swift: {name} imports {other} and does not name it"


@rule
def folders_point_one_way(tree):
    """The folders of a module need each other one way only."""
    for module in sorted({source.module for source in tree.sources}):
        sources = [source for source in tree.sources if source.module == module]
        needs = folder_needs(sources)
        for circle in circles({key: set(value) for key, value in needs.items()}):
            pairs = [f"{one or 'the root'} needs {other or 'the root'} ({needs[one][other]})"
                     for one, other in zip(circle, circle[1:] + circle[:1])]
            yield f"Sources/{module}: a circle of folders: {'; '.join(pairs)}"


def folder_needs(sources):
    """For each folder the other folders whose types it names, each with an example."""
    declaration = re.compile(
        r"^(?:@\w+(?:\([^)]*\))? )*(?:public |package |private |fileprivate )?"
        r"(?:indirect |final )*(?:struct|enum|class|protocol|typealias) (\w+)", re.MULTILINE)
    homes = {}
    for source in sources:
        for match in declaration.finditer(source.code):
            if "private " not in match[0]:
                homes[match[1]] = source.folder
    needs = {}
    for source in sources:
        for word in set(re.findall(r"(?<![.\w])[A-Z]\w*", source.code)):
            home = homes.get(word, source.folder)
            if home != source.folder:
                example = f"{source.path.name}: {word}"
                needs.setdefault(source.folder, {}).setdefault(home, example)
    return {folder: needs.get(folder, {}) for folder in {source.folder for source in sources}}


def circles(needs):
    """The shortest circle through each node of a graph, each circle once."""
    found = set()
    for start in sorted(needs):
        paths, seen = [[start]], {start}
        while paths:
            path = paths.pop(0)
            if start in needs.get(path[-1], ()):
                least = path.index(min(path))
                found.add(tuple(path[least:] + path[:least]))
                break
            for following in sorted(needs.get(path[-1], ())):
                if following not in seen:
                    seen.add(following)
                    paths.append(path + [following])
    return [list(circle) for circle in sorted(found)]


@rule
def every_module_has_tests(tree):
    """Each module has a test target of its own."""
    for module in sorted({source.module for source in tree.sources}):
        if module in tree.modules and module != "podwire" and f"{module}Tests" not in tree.modules:
            yield f"Package.swift: {module} has no tests: add tests(\"{module}Tests\", …)"


@rule
def format_rules_are_on(tree):
    """All rules of swift-format are on but for those that tools/lib/house.py gives a reason for."""
    path = tree.root / ".swift-format"
    rules = json.loads(path.read_text()).get("rules", {}) if path.exists() else {}
    for name, is_on in sorted(rules.items()):
        if not is_on and name not in FORMAT_RULES_OFF:
            yield f".swift-format: {name} is off, and tools/lib/house.py has no reason for it"
        if is_on and name in FORMAT_RULES_OFF:
            yield f".swift-format: {name} is on, and tools/lib/house.py says why it is off"
