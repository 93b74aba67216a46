"""What k8s/ builds, as kubectl does it. KUBECTL can name another kubectl than the one on the path."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

from support import ROOT
from support.commands import TIMEOUT_SECONDS

FOLDER = ROOT / "k8s"
README = (FOLDER / "README.md").read_text()
OVERLAYS = sorted(path.parent for path in FOLDER.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent for path in FOLDER.glob("components/*/kustomization.yaml"))
KUBECTL = os.environ.get("KUBECTL", "kubectl")
# The components without which one makes no sense, which stand before it.
NEEDED_COMPONENTS = {"collector-policy": ["collector"], "prometheus-operator": ["metrics"]}
# What says that values are one's own, by taking the label away that the API server refuses.
EDITED = {"target": {"labelSelector": "unedited"},
          "patch": "- {op: remove, path: /metadata/labels/unedited}"}


def clients(name):
    """Programs of all versions that tools/lib/clients.py has placed, from the oldest."""
    found = pathlib.Path(sys.executable).parent.glob(f"{name}-*")
    return sorted(found, key=lambda path: [int(part) for part in path.name.split("-")[1].split(".")])


def kubectl(*arguments, client=KUBECTL):
    result = subprocess.run([client, *map(str, arguments)], capture_output=True, text=True,
                            timeout=TIMEOUT_SECONDS)
    assert result.returncode == 0, f"kubectl {arguments}: {result.stderr}"
    assert "deprecated" not in result.stderr, result.stderr
    return result.stdout


@functools.cache
def built_text(folder, client=KUBECTL):
    return kubectl("kustomize", folder, client=client)


def key(item):
    return item["kind"], item["metadata"]["name"]


def build(folder):
    """Each object by its kind and name."""
    items = [item for item in yaml.safe_load_all(built_text(folder)) if item]
    found = {key(item): item for item in items}
    assert len(found) == len(items), "two objects have one name"
    return found


def build_site(components, *patches, **fields):
    """What a folder of one's own builds, beside k8s/, with the patches last: texts, or kustomize's
    entries. Further fields are the kustomization's."""
    with tempfile.TemporaryDirectory() as parent:
        shutil.copytree(FOLDER, f"{parent}/k8s", symlinks=True)
        # As kustomize has it where the folder for temporary files is a link.
        site = pathlib.Path(parent).resolve() / "site"
        site.mkdir()
        entries = []
        for number, patch in enumerate(patches):
            if isinstance(patch, str):
                (site / f"{number}.yaml").write_text(patch)
                patch = {"path": f"{number}.yaml"}
            entries.append(patch)
        (site / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": ["../k8s/base"],
            "components": [f"../k8s/{component.relative_to(FOLDER)}" for component in components],
            "patches": [*entries, EDITED], **fields}))
        return build(site)


def with_needed(components):
    """Components behind those that they need, each once."""
    needed = [FOLDER / "components" / name for one in components
              for name in NEEDED_COMPONENTS.get(one.name, [])]
    return list(dict.fromkeys([*needed, *components]))


def example_patch(word):
    """The patch with a word that the README has people write into their kustomization, as a field."""
    texts = re.findall(r"```yaml\n(patches:\n.*?)```", README, re.DOTALL)
    [text] = [text for text in texts if word in text]
    return yaml.safe_load(text)["patches"]


def examples(kind):
    """The objects of a kind that the README has people write, as texts."""
    texts = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return [text for text in texts if yaml.safe_load(text).get("kind") == kind]


def pods(items):
    """The pods that controllers make, with the controllers' names."""
    return {name: item["spec"]["template"] for name, item in items.items()
            if "template" in item.get("spec", {})}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(container, **fields):
    """The container's variables as the kubelet makes them: one can name those before it. Those that
    take a field of the pod have it from here; the node is always node1."""
    values = {}
    fields = {"spec.nodeName": "node1", "metadata.namespace": "extrahop", **fields}
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            values[variable["name"]] = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            continue
        value = variable["value"]
        for name, known in values.items():
            value = value.replace(f"$({name})", known)
        assert "$(" not in value, f"{variable} names what is not before it"
        values[variable["name"]] = value
    return values


def byte_count(text):
    """Kubernetes' `64Mi` and podwire's `64MiB`."""
    for unit, shift in (("Ki", 10), ("Mi", 20), ("Gi", 30)):
        if text.removesuffix("B").endswith(unit):
            return int(text.removesuffix("B").removesuffix(unit)) << shift
    return int(text)
