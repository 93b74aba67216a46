"""OCI image layouts in tar files: what writes them, and what reads them.

The same contents give the same bytes: owners, times and the order of files do not depend on the machine.
Specification: OCI image-spec, image-layout.md, image-index.md and descriptor.md.
"""

import hashlib
import io
import json
import os
import tarfile

IMAGE = "application/vnd.oci.image."
INDEX_TYPES = {f"{IMAGE}index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
# BuildKit's mark of a manifest that only says something about another one.
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"


class Broken(Exception):
    """Why an archive cannot be read."""


def entry(name, seconds, size=0, kind=tarfile.REGTYPE, mode=0o644):
    """A tar header that tells nothing about this machine."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.mtime = size, kind, mode, seconds
    return info


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def blob_name(digest):
    return "blobs/" + digest.replace(":", "/")


class Layout:
    """The files of an image layout that is made, by name."""

    def __init__(self):
        self.files = {"oci-layout": as_json({"imageLayoutVersion": "1.0.0"})}

    def add(self, data, media_type, **more):
        """Adds a blob, and returns its descriptor."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.files[blob_name(digest)] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def add_json(self, kind, value, **more):
        """Adds a part of an image that is JSON, such as a manifest, and returns its descriptor."""
        media_type = f"{IMAGE}{kind}.v1+json"
        if kind != "config":
            value = {"schemaVersion": 2, "mediaType": media_type, **value}
        return self.add(as_json(value), media_type, **more)

    def name(self, descriptor, name):
        """Makes a manifest or an index the only thing that the layout names."""
        named = {**descriptor, "annotations": {**descriptor.get("annotations", {}), NAME_ANNOTATION: name}}
        self.files["index.json"] = as_json({
            "schemaVersion": 2, "mediaType": f"{IMAGE}index.v1+json", "manifests": [named]})

    def write(self, path, seconds):
        """Writes the archive whole, or not at all."""
        temporary = f"{path}.{os.getpid()}"
        try:
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                # Syft, for one, makes no folders that are not listed.
                for folder in ("blobs", "blobs/sha256"):
                    tar.addfile(entry(folder, seconds, kind=tarfile.DIRTYPE, mode=0o755))
                for name, data in sorted(self.files.items()):
                    tar.addfile(entry(name, seconds, len(data)), io.BytesIO(data))
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)


class Archive:
    """An archive of one image for one platform, whatever tool wrote it."""

    def __init__(self, path):
        self.path = path
        try:
            with tarfile.open(path) as tar:
                self.files = {os.path.normpath(member.name): tar.extractfile(member).read()
                              for member in tar if member.isfile()}
        except OSError as error:
            raise Broken(f"{path} cannot be read: {error.strerror}") from error
        except tarfile.TarError as error:
            raise Broken(f"{path} is no archive") from error
        if "index.json" not in self.files:
            raise Broken(f"{path} is no OCI archive: it has no index.json, as Docker writes it from 25 on")
        found = list(self.images(json.loads(self.files["index.json"])))
        if len(found) != 1:
            raise Broken(f"{path} has {len(found)} images, and not one")
        [(self.descriptor, self.name)] = found
        self.manifest = self.blob_json(self.descriptor)
        self.config = self.blob_json(self.manifest["config"])

    def images(self, index, name=""):
        """The descriptors of its images, with their names; not of what only says something about them."""
        for descriptor in index["manifests"]:
            annotations = descriptor.get("annotations", {})
            called = annotations.get("io.containerd.image.name") or annotations.get(NAME_ANNOTATION, name)
            if descriptor["mediaType"] in INDEX_TYPES:
                yield from self.images(self.blob_json(descriptor), called)
            elif REFERENCE_TYPE not in annotations:
                yield descriptor, called

    def blob(self, descriptor):
        digest = descriptor["digest"]
        data = self.files.get(blob_name(digest))
        if data is None or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Broken(f"{self.path} has no {digest}, or another one by that name")
        return data

    def blob_json(self, descriptor):
        return json.loads(self.blob(descriptor))

    @property
    def platform(self):
        """What it is for. Only the configuration always says so."""
        return {key: self.config[key] for key in ("architecture", "os", "variant") if key in self.config}

    @property
    def labels(self):
        return self.config.get("config", {}).get("Labels") or {}

    def file(self, path):
        """A file of its tree: that of the uppermost layer which has it."""
        for descriptor in reversed(self.manifest["layers"]):
            with tarfile.open(fileobj=io.BytesIO(self.blob(descriptor))) as tar:
                for member in tar:
                    if os.path.normpath(member.name) == path and member.isfile():
                        return tar.extractfile(member).read()
        raise Broken(f"{self.path} has no {path}: make it with this version's tools/image")
