"""Writes into the image's file tree what it is made of: an SBOM, in SPDX 2.3 as JSON.

    sbom.py ROOTFS --version VERSION --revision COMMIT --created SECONDS

It names podwire, the Swift packages that its build has resolved, the Swift runtime that is linked into it,
and Debian's libraries, each with version and package URL. SPDX 2.3 is what scanners read; from SPDX 3.0 on
most do not. The same commit, toolchain and libraries give the same bytes.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import urllib.parse
import uuid

# Scanners take a file for an SBOM by the end of its name; the folder is where other images have theirs.
PLACE = "var/lib/db/sbom/podwire.spdx.json"
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "usr/bin/podwire"
NOT_SAID = "NOASSERTION"
APACHE = re.compile(r"Apache License\s+Version 2\.0")
SWIFT_EXCEPTION = "Runtime Library Exception"


def quoted(text):
    return urllib.parse.quote(text, safe=".-_~:")


def package(kind, name, version, purl, **more):
    """A package as SPDX has it. Nobody has looked into its files for this."""
    return {
        "SPDXID": f"SPDXRef-{kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', name)}", "name": name, "versionInfo": version,
        "filesAnalyzed": False, "downloadLocation": NOT_SAID, "supplier": NOT_SAID,
        "licenseConcluded": NOT_SAID, "licenseDeclared": NOT_SAID, "copyrightText": NOT_SAID,
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": purl}],
        **more}


def said_by(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def licence(path):
    """The licence of a Swift package or of Swift, by its text."""
    text = path.read_text()
    if not APACHE.search(text):
        sys.exit(f"sbom.py: the licence in {path} is one that this does not know yet: add it")
    return "Apache-2.0 WITH Swift-exception" if SWIFT_EXCEPTION in text else "Apache-2.0"


def swift_packages(parent, dependencies, found):
    """Fills in the packages that Swift's package manager has resolved, and yields who needs which."""
    for dependency in dependencies:
        url = dependency["url"].removesuffix(".git")
        folder = pathlib.Path(dependency["path"])
        commit = said_by("git", "-C", folder, "rev-parse", "HEAD").strip()
        place, owner = url.split("://")[1], url.split("/")[-2]
        one = package(
            "swift", dependency["identity"], dependency["version"],
            f"pkg:swift/{place}@{quoted(dependency['version'])}", primaryPackagePurpose="LIBRARY",
            downloadLocation=f"git+{url}@{commit}", supplier=f"Organization: {owner}",
            licenseDeclared=licence(folder / "LICENSE.txt"))
        found[one["SPDXID"]] = one
        yield parent, one["SPDXID"]
        yield from swift_packages(one["SPDXID"], dependency["dependencies"], found)


def swift_runtime():
    """The part of the toolchain that is linked into the program."""
    version, tag = re.search(r"Swift version (\S+) \((.*?)\)", said_by("swiftc", "--version")).groups()
    # Between releases it names commits in the place of a tag.
    is_release = tag.startswith("swift-")
    resources = pathlib.Path(json.loads(said_by("swiftc", "-print-target-info"))["paths"]["runtimeResourcePath"])
    return package(
        "toolchain", "swift", version,
        f"pkg:github/swiftlang/swift@{quoted(tag)}" if is_release else f"pkg:generic/swift@{quoted(version)}",
        primaryPackagePurpose="LIBRARY", supplier="Organization: swiftlang",
        downloadLocation=f"git+https://github.com/swiftlang/swift@{tag}" if is_release else NOT_SAID,
        licenseDeclared=licence(resources.resolve().parents[1] / "share/swift/LICENSE.txt"),
        comment="The standard library, Dispatch and Foundation's essentials, linked into podwire.")


def fields(path, separator):
    """What a file of lines such as NAME: VALUE or NAME=VALUE says; lines that go on are left out."""
    lines = [line.split(separator, 1) for line in path.read_text().splitlines()
             if separator in line and not line.startswith((" ", "#"))]
    return {name: value.strip().strip('"') for name, value in lines}


def debian_packages(rootfs):
    """The libraries, from the files that also tell scanners."""
    system = fields(rootfs / "etc/os-release", "=")
    # Debian's own next release has no number.
    release = "-".join(filter(None, (system["ID"], system.get("VERSION_ID"))))
    for path in sorted((rootfs / "var/lib/dpkg/status.d").iterdir()):
        status = fields(path, ":")
        name, version = status["Package"], status["Version"]
        purl = (f"pkg:deb/{system['ID']}/{quoted(name)}@{quoted(version)}?arch={status['Architecture']}"
                f"&distro={release}")
        # Such as "gcc-12 (12.2.0-14)", where it is not of the package's own name and version.
        if source := re.fullmatch(r"(\S+)(?: \((.*)\))?", status.get("Source", "")):
            purl += "&upstream=" + quoted("@".join(filter(None, source.groups())))
        yield package(
            "deb", name, version, purl, primaryPackagePurpose="LIBRARY",
            supplier=f"Organization: {system['NAME']}",
            licenseComments=f"/usr/share/doc/{name}/copyright in the image has the licences.")


def document(rootfs, version, revision, created):
    program = package(
        "program", "podwire", version, f"pkg:generic/podwire@{quoted(version)}",
        primaryPackagePurpose="APPLICATION", packageFileName=f"/{PROGRAM}",
        sourceInfo=f"built from commit {revision}",
        checksums=[{"algorithm": "SHA256",
                    "checksumValue": hashlib.sha256((rootfs / PROGRAM).read_bytes()).hexdigest()}])
    of_swift = {}
    graph = json.loads(said_by("swift", "package", "show-dependencies", "--format", "json"))
    needs = list(swift_packages(program["SPDXID"], graph["dependencies"], of_swift))
    others = [swift_runtime(), *debian_packages(rootfs)]
    needs += [(program["SPDXID"], one["SPDXID"]) for one in others]
    packages = [program, *(of_swift[key] for key in sorted(of_swift)), *others]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", program["SPDXID"]),
                 *((one, "DEPENDS_ON", other) for one, other in sorted(set(needs)))]
    contents = {
        "packages": packages,
        "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                          for one, kind, other in relations]}
    # SPDX wants an address that no other document has: spdx.org's, for who has no site, and the contents'.
    unique = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([created, contents], sort_keys=True))
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"podwire-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/podwire-{version}-{unique}",
        "creationInfo": {"created": created, "creators": ["Tool: podwire-tools-image"]}, **contents}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rootfs", type=pathlib.Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--created", type=int, required=True, metavar="SECONDS")
    words = parser.parse_args()
    created = datetime.datetime.fromtimestamp(words.created, datetime.timezone.utc)
    found = document(words.rootfs, words.version, words.revision, created.strftime("%Y-%m-%dT%H:%M:%SZ"))
    place = words.rootfs / PLACE
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
