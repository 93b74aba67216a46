"""Packs a file tree into a container image: an archive in the OCI image layout, for one platform.

    archive.py ROOTFS OUTPUT --name NAME --architecture amd64|arm64 --created SECONDS [--label KEY=VALUE]...

The same tree gives the same bytes: owners, times and the order of files do not depend on the machine.
Specification: OCI image-spec 1.0, image-layout.md, manifest.md and config.md. The archive also has the
list by which `docker load` finds an image.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import os
import tarfile

from layout import IMAGE, Layout, as_json, blob_name, entry

PROGRAM = "/usr/bin/podwire"


def layer(rootfs, seconds):
    """The file tree as a tar file, sorted, and owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder, folders, files in os.walk(rootfs):
            folders.sort()
            relative = os.path.relpath(folder, rootfs)
            if relative != ".":
                tar.addfile(entry(relative, seconds, kind=tarfile.DIRTYPE, mode=0o755))
            for name in sorted(files):
                path = os.path.join(folder, name)
                status = os.lstat(path)
                if os.path.islink(path):
                    raise ValueError(f"{path} is a link, which this does not pack")
                mode = 0o755 if status.st_mode & 0o111 else 0o644
                with open(path, "rb") as file:
                    tar.addfile(entry(os.path.normpath(os.path.join(relative, name)), seconds,
                                      status.st_size, mode=mode), file)
    return buffer.getvalue()


def image(rootfs, name, architecture, seconds, labels):
    """The layout of an image with one layer, which starts an agent."""
    layout = Layout()
    tree = layer(rootfs, seconds)
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    created = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    layer_descriptor = layout.add(gzip.compress(tree, 9, mtime=0), f"{IMAGE}layer.v1.tar+gzip")
    config = layout.add_json("config", {
        "architecture": architecture, "os": "linux", "created": created,
        "config": {"Entrypoint": [PROGRAM], "Cmd": ["agent"], "WorkingDir": "/", "Labels": labels,
                   "Env": [f"PATH={os.path.dirname(PROGRAM)}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tree).hexdigest()}"]},
        "history": [{"created": created, "created_by": "tools/image"}],
    })
    manifest = layout.add_json(
        "manifest", {"config": config, "layers": [layer_descriptor], "annotations": labels},
        platform={"architecture": architecture, "os": "linux"})
    layout.name(manifest, name)
    layout.files["manifest.json"] = as_json([
        {"Config": blob_name(config["digest"]), "RepoTags": [name],
         "Layers": [blob_name(layer_descriptor["digest"])]}])
    return layout, manifest["digest"], layer_descriptor


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rootfs")
    parser.add_argument("output")
    parser.add_argument("--name", required=True)
    parser.add_argument("--architecture", choices=["amd64", "arm64"], required=True)
    parser.add_argument("--created", type=int, required=True, metavar="SECONDS")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    words = parser.parse_args()
    labels = dict(label.split("=", 1) for label in words.label)
    layout, digest, layer_descriptor = image(
        words.rootfs, words.name, words.architecture, words.created, labels)
    layout.write(words.output, words.created)
    print(f"{words.name}  {digest}")
    print(f"layer  {layer_descriptor['digest']}  {layer_descriptor['size'] / 1e6:.1f} MB compressed")


if __name__ == "__main__":
    main()
