"""Writes what is to be known about an image beside its archive: its SBOM, and where it comes from.

    provenance.py ARCHIVE --parameter NAME=VALUE... --epoch SECONDS --builder URI

ARCHIVE.spdx.json is the SBOM that is in the image. ARCHIVE.provenance.json is a statement about the image's
digest: SLSA provenance 1 in an in-toto statement, which cosign and policy engines read. It is not signed,
and has no time but that of the sources, so the same build gives the same bytes. A parameter without a value
is left out.
"""

import argparse
import hashlib
import json
import re
import sys

from layout import Archive, Broken
from sbom import PLACE

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
# What the parameters and the names below mean. They change together.
BUILD = "urn:podwire:build:tools-image:v1"
COMMIT = re.compile(r"[0-9a-f]{40}")
LABELS = "org.opencontainers.image."


def stem(archive):
    return archive.removesuffix(".tar")


def subject(archive):
    """What a statement about an image is about."""
    algorithm, digest = archive.descriptor["digest"].split(":")
    return {"name": archive.name or "podwire", "digest": {algorithm: digest}}


def label(archive, name):
    """A label that every image of tools/image has."""
    name = f"{LABELS}{name}"
    if name not in archive.labels:
        raise Broken(f"{archive.path} has no label {name}: make it with this version's tools/image")
    return archive.labels[name]


def sources(archive):
    """The commit; by its name alone if it is not known, or if files of it were changed."""
    revision, source = label(archive, "revision"), archive.labels.get(f"{LABELS}source")
    found = {"name": "podwire", "uri": f"pkg:generic/podwire@{label(archive, 'version')}"}
    if source:
        found["uri"] = f"git+{source}@{revision}"
    if COMMIT.fullmatch(revision):
        found["digest"] = {"gitCommit": revision}
    else:
        found["annotations"] = {"revision": revision}
    return found


def material(package):
    """A package of the SBOM as something that the build took."""
    found = {"name": package["name"], "uri": package["externalRefs"][0]["referenceLocator"]}
    if commit := re.search(r"@([0-9a-f]{40})$", package["downloadLocation"]):
        found["digest"] = {"gitCommit": commit[1]}
    return found


def provenance(archive, sbom, parameters, epoch, builder):
    materials = [material(package) for package in json.loads(sbom)["packages"] if package["name"] != "podwire"]
    return {
        "_type": STATEMENT, "subject": [subject(archive)], "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD, "externalParameters": parameters,
                "internalParameters": {"SOURCE_DATE_EPOCH": epoch},
                "resolvedDependencies": [sources(archive), *materials]},
            "runDetails": {
                "builder": {"id": builder},
                "byproducts": [{"name": "sbom", "mediaType": "application/spdx+json",
                                "digest": {"sha256": hashlib.sha256(sbom).hexdigest()}}]}}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epoch", required=True, metavar="SECONDS")
    parser.add_argument("--builder", required=True, metavar="URI")
    words = parser.parse_args()
    pairs = (parameter.split("=", 1) for parameter in words.parameter)
    parameters = {name: value for name, value in pairs if value}
    try:
        archive = Archive(words.archive)
        sbom = archive.file(PLACE)
        statement = provenance(archive, sbom, parameters, words.epoch, words.builder)
    except Broken as error:
        sys.exit(f"image: {error}")
    for kind, data in (("spdx", sbom), ("provenance", json.dumps(statement, indent=1).encode() + b"\n")):
        path = f"{stem(words.archive)}.{kind}.json"
        with open(path, "wb") as file:
            file.write(data)
        print(path)


if __name__ == "__main__":
    main()
