#!/usr/bin/env python3
"""Checks and prepares the documentation; tools/docs runs it.

    docs.py check                      links, paths, and names of tests and types in all pages exist, and
                                       samples have messages of the log, and numbers of flows, that there are
    docs.py tables check|update PROGRAM     tables that the program prints are in the pages as it prints them
    docs.py prepare CATALOG FOLDER     copies a catalog, with its links as DocC wants them

Pages link to each other by file (`[Settings](Settings.md)`), so that links work where the repository is
browsed. DocC wants `doc:` links, and checks them; so it is given a copy.
"""
import base64
import hashlib
import ipaddress
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CATALOGS = sorted(ROOT.glob("Sources/*/*.docc"))
PAGES = sorted({ROOT / "README.md", ROOT / "k8s/README.md", *ROOT.glob(".github/*.md"),
                *(page for catalog in CATALOGS for page in catalog.glob("*.md"))})

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
REFERENCE = re.compile(r"\[[^\]]+\]\[([^\]]+)\]")
HEADING = re.compile(r"^#+ +(.*)$")
TABLE = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
COLUMNS_MAX = 120
# A path in the repository, and the names of tests that are said to be in it.
PATH = re.compile(r"`((?:Sources|Tests|tools|k8s|container)/[\w./+-]+)`")
# A type or a module, and a member of it, where a page speaks of the code.
TYPE = re.compile(r"`([A-Z][A-Za-z]*[a-z][A-Za-z]*)(?:\.(\w+))?[^`\s/]*`")
DECLARED = re.compile(r"\b(?:struct|class|enum|protocol|actor|typealias) (\w+)")
MEMBER = re.compile(r"\b(?:func|let|var|case|struct|enum|class|init) (\w+)")
CODE_PAGES = {"TheRule.md", "Observation.md", "Architecture.md", "AddingThings.md", "Accounting.md"}
# A line of the log in a sample, with its message; a flow that `podwire explain` shows, with its Community ID.
LOGGED = re.compile(r"^(?:\d\S+Z )?(?:debug|info|notice|warning|error) (\S.*?)(?: \w+=.*)?$", re.MULTILINE)
FLOW = re.compile(r"^(tcp|udp) (\S+):(\d+) to (\S+):(\d+)\ncommunity id (\S+)$", re.MULTILINE)
TESTS = re.compile(r'`(Tests/[\w./+-]+)`: ((?:(?:"[^"]+"|`test_\w+`)(?:, | and )?)+)')


def parts(text):
    """The text and its code blocks, each with empty lines in the place of the other."""
    plain, code, is_code = [], [], False
    for line in text.splitlines():
        if is_fence := line.lstrip().startswith("```"):
            is_code = not is_code
        plain.append("" if is_code or is_fence else line)
        code.append(line if is_code and not is_fence else "")
    return "\n".join(plain), "\n".join(code)


def without_code(text):
    """The text with its code blocks empty: lines stay where they are."""
    return parts(text)[0]


def community_id(protocol, *ends):
    """The Community ID of a flow between two ends, version 1 (https://github.com/corelight/community-id-spec)."""
    ordered = sorted((ipaddress.ip_address(address.strip("[]")).packed, int(port).to_bytes(2, "big"))
                     for address, port in ends)
    (one, other), ports = zip(*ordered)
    number = {"tcp": 6, "udp": 17}[protocol]
    digest = hashlib.sha1(bytes(2) + one + other + bytes([number, 0]) + b"".join(ports)).digest()
    return "1:" + base64.b64encode(digest).decode()


def headings(path):
    """The headings of a page, by the anchors that git forges give them."""
    found = {}
    for line in without_code(path.read_text()).splitlines():
        if match := HEADING.match(line):
            text = match[1].replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.setdefault(slug, text)
    return found


def is_elsewhere(target):
    return re.match(r"[a-z]+:", target) is not None


def declarations(code):
    """The names of all modules and types, and of their members."""
    modules = {folder.name for folder in (ROOT / "Sources").iterdir()}
    return modules | set(DECLARED.findall(code)), set(MEMBER.findall(code))


class Check:
    """Collects what is wrong in the pages."""

    def __init__(self):
        self.faults = []
        self.code = "\n".join(path.read_text() for path in sorted(ROOT.glob("Sources/**/*.swift")))
        self.types, self.members = declarations(self.code)

    def names(self, page, text):
        for name, member in sorted(set(TYPE.findall(text))):
            if name not in self.types:
                self.fault(page, f"there is no type or module {name}")
            elif member and member not in self.members | self.types:
                self.fault(page, f"{name} has no {member}")

    def samples(self, page, code):
        """Looks for what the program would not print."""
        for message in sorted(set(LOGGED.findall(code))):
            if f'"{message}"' not in self.code:
                self.fault(page, f"a sample has a line of the log that there is not: {message}")
        for protocol, source, port, destination, other_port, number in FLOW.findall(code):
            expected = community_id(protocol, (source, port), (destination, other_port))
            if number != expected:
                self.fault(page, f"a sample has the Community ID {number}, which is {expected}")

    def fault(self, page, text):
        self.faults.append(f"{page.relative_to(ROOT)}: {text}")

    def link(self, page, target):
        if is_elsewhere(target):
            return
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() and not path.with_suffix(".svg").exists():
            self.fault(page, f"the link {target} leads nowhere")
        elif anchor and anchor not in headings(path):
            self.fault(page, f"the link {target} leads to no heading")

    def page(self, page):
        text, code = parts(page.read_text())
        self.samples(page, code)
        definitions = dict(DEFINITION.findall(text))
        for _, _, target in LINK.findall(text):
            self.link(page, target)
        for target in definitions.values():
            self.link(page, target)
        used = set(REFERENCE.findall(text))
        for name in used - set(definitions):
            self.fault(page, f"[{name}] is not defined")
        for name in set(definitions) - used:
            self.fault(page, f"[{name}] is not used")
        for path in PATH.findall(text):
            if not (ROOT / path).exists():
                self.fault(page, f"there is no {path}")
        if page.name in CODE_PAGES:
            self.names(page, text)
        for path, names in TESTS.findall(text):
            source = (ROOT / path).read_text() if (ROOT / path).exists() else ""
            for name in re.findall(r'"[^"]+"|`\w+`', names):
                if (name if name[0] == '"' else f"def {name.strip('`')}(") not in source:
                    self.fault(page, f"{path} has no test {name}")

    def width(self, page, of_prose=False):
        """Holds a page's lines, or those that are neither code nor tables, to a width that terminals have."""
        text = page.read_text()
        for number, line in enumerate((without_code(text) if of_prose else text).splitlines(), 1):
            if len(line) > COLUMNS_MAX and not (of_prose and line.startswith("|")):
                self.fault(page, f"line {number} has {len(line)} columns, the most is {COLUMNS_MAX}")


def check():
    found = Check()
    for page in PAGES:
        found.page(page)
    found.width(ROOT / "README.md")
    found.width(ROOT / "k8s/README.md", of_prose=True)
    if len((ROOT / "README.md").read_text().splitlines()) > 150:
        found.fault(ROOT / "README.md", "has more than 150 lines")
    return found.faults


def tables(program, is_update):
    """Compares the tables of all pages with what the program prints, or replaces them by that."""
    faults, printed = [], {}
    for page in PAGES:
        def replace(match):
            name = match[2]
            if name not in printed:
                done = subprocess.run([program, "reference", name], capture_output=True, text=True)
                if done.returncode != 0:
                    faults.append(f"`podwire reference {name}` fails: {done.stderr.strip()}")
                printed[name] = done.stdout if done.returncode == 0 else None
            return match[1] + (printed[name] or match[3]) + match[4]

        before = page.read_text()
        after = TABLE.sub(replace, before)
        if after != before:
            if is_update:
                page.write_text(after)
            else:
                faults.append(f"{page.relative_to(ROOT)}: a table is not as the program prints it: "
                              "tools/docs --update")
    return faults


def docc_anchor(heading):
    return re.sub(r"\s+", "-", heading.strip(" .,:!?")).replace("'", "").replace('"', "")


def docc_link(page, match):
    """A link as DocC takes it; one to a file that is no page becomes the file's name."""
    image, text, target = match.groups()
    file, _, anchor = target.partition("#")
    if image or is_elsewhere(target):
        return match[0]
    path = (page.parent / file).resolve() if file else page
    if not path.exists():
        return match[0]
    # DocC says so if there is no such heading.
    fragment = "#" + docc_anchor(headings(path).get(anchor, anchor)) if anchor else ""
    if path.parent == page.parent:
        return f"[{text}](doc:{path.stem}{fragment})"
    if path.parent in CATALOGS:
        module = path.parent.stem
        return f"[{text}](doc:/{module}/{path.stem})"
    name = f"`{path.relative_to(ROOT)}`"
    return name if text.strip("`") == name.strip("`") else f"{text} ({name})"


def prepare(catalog, folder):
    shutil.copytree(catalog, folder)
    for copy in folder.glob("*.md"):
        page = catalog / copy.name
        lines, is_code = [], False
        for line in page.read_text().splitlines():
            if line.lstrip().startswith("```"):
                is_code = not is_code
            lines.append(line if is_code else LINK.sub(lambda match: docc_link(page, match), line))
        copy.write_text("\n".join(lines) + "\n")


def main(arguments):
    match arguments:
        case ["check"]:
            faults = check()
        case ["tables", "check" | "update" as what, program]:
            faults = tables(program, what == "update")
        case ["prepare", catalog, folder]:
            faults = prepare(pathlib.Path(catalog).resolve(), pathlib.Path(folder)) or []
        case _:
            sys.exit(__doc__)
    for fault in faults:
        print(f"docs: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


main(sys.argv[1:])
