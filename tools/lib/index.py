"""Joins archives of one version for several architectures into one, whose index names them all.

    index.py OUTPUT [--name NAME] ARCHIVE...

Each image also gets its SBOM, and the provenance that stands beside its archive, as BuildKit attaches them:
a manifest for no platform that refers to the image by its digest.
Specification: OCI image-spec, image-index.md; BuildKit, attestation-storage.md.
"""

import argparse
import calendar
import hashlib
import json
import os
import sys
import time

from layout import REFERENCE_DIGEST, REFERENCE_TYPE, Archive, Broken, Layout, as_json
from provenance import LABELS, STATEMENT, stem, subject
from sbom import PLACE


def attestations(archive):
    """The statements about an image, each with its kind."""
    kind = "https://spdx.dev/Document"
    yield kind, as_json({"_type": STATEMENT, "subject": [subject(archive)], "predicateType": kind,
                         "predicate": json.loads(archive.file(PLACE))})
    path = f"{stem(archive.path)}.provenance.json"
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        statement = json.load(file)
    if statement["subject"][0]["digest"] != subject(archive)["digest"]:
        raise Broken(f"{path} is not about the image in {archive.path}: make both anew")
    yield statement["predicateType"], as_json(statement)


def add_image(layout, archive):
    """Adds an image with all that it consists of, and returns the descriptors for the index."""
    for part in (archive.manifest["config"], *archive.manifest["layers"]):
        layout.add(archive.blob(part), part["mediaType"])
    media_type = archive.descriptor["mediaType"]
    yield layout.add(archive.blob(archive.descriptor), media_type, platform=archive.platform)
    found = list(attestations(archive))
    config = layout.add_json("config", {
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers",
                   "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for _, data in found]}})
    layers = [layout.add(data, "application/vnd.in-toto+json", annotations={"in-toto.io/predicate-type": kind})
              for kind, data in found]
    yield layout.add_json(
        "manifest", {"config": config, "layers": layers},
        platform={"architecture": "unknown", "os": "unknown"},
        annotations={REFERENCE_TYPE: "attestation-manifest", REFERENCE_DIGEST: archive.descriptor["digest"]})


def agree(archives):
    """Sees that they are of one commit, and no two for one platform."""
    first = archives[0]
    platforms = {}
    for archive in archives:
        key = tuple(sorted(archive.platform.items()))
        if key in platforms:
            raise Broken(f"{archive.path} is for the same platform as {platforms[key]}")
        platforms[key] = archive.path
        for name in ("version", "revision"):
            ours, theirs = (one.labels.get(LABELS + name) for one in (archive, first))
            if ours != theirs:
                raise Broken(f"{archive.path} has the {name} {ours}, and {first.path} has {theirs}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("archives", nargs="+", metavar="ARCHIVE")
    parser.add_argument("--name")
    words = parser.parse_args()
    layout = Layout()
    try:
        archives = sorted((Archive(path) for path in words.archives), key=lambda one: sorted(one.platform.items()))
        agree(archives)
        manifests = [descriptor for archive in archives for descriptor in add_image(layout, archive)]
    except Broken as error:
        sys.exit(f"image: {error}")
    labels = {key: value for key, value in archives[0].labels.items() if key.startswith(LABELS)}
    index = layout.add_json("index", {"manifests": manifests, "annotations": labels})
    name = words.name or archives[0].name
    layout.name(index, name)
    layout.write(words.output, calendar.timegm(time.strptime(labels[f"{LABELS}created"], "%Y-%m-%dT%H:%M:%SZ")))
    print(f"{name}  {index['digest']}")
    for archive in archives:
        print(f"{archive.platform['os']}/{archive.platform['architecture']}  {archive.descriptor['digest']}")


if __name__ == "__main__":
    main()
