"""What k8s/ builds, as kubectl does it. KUBECTL can name another kubectl than the one on the path."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml

from support import ROOT

FOLDER = ROOT / "k8s"
OVERLAYS = sorted(path.parent for path in FOLDER.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent for path in FOLDER.glob("components/*/kustomization.yaml"))
KUBECTL = os.environ.get("KUBECTL", "kubectl")


def kubectl(*arguments):
    result = subprocess.run([KUBECTL, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"kubectl {arguments}: {result.stderr}"
    assert "deprecated" not in result.stderr, result.stderr
    return result.stdout


@functools.cache
def has_components():
    """Whether this kubectl's kustomize is younger than 2.0.3, which was in it until Kubernetes 1.20
    and names no version. Debian 12 has that one."""
    return "kustomizeVersion" in json.loads(kubectl("version", "--client", "-o", "json"))


def flatten(folder, target, below=()):
    """Writes a kustomization in the words of 2.0.3, which knows no components: each becomes a layer of
    its own upon the layers `below` it. Answers the uppermost layer's name."""
    text = yaml.safe_load((folder / "kustomization.yaml").read_text())
    known = {"apiVersion", "kind", "resources", "components", "patches", "images"}
    assert text.keys() <= known, f"cannot be flattened: {text.keys() - known}"
    bases, files = list(below), []
    for name in text.get("resources", []):
        path = (folder / name).resolve()
        if path.is_dir():
            bases.append(flatten(path, target))
        else:
            files.append(path)
    if text.get("components"):
        bases, files = [write_layer(target, bases, files)], []
    for name in text.get("components", []):
        bases = [flatten((folder / name).resolve(), target, bases)]
    *patches, last = [[folder / patch["path"]] for patch in text.get("patches", [])
                      if is_selected(patch.get("target", {}), target, below)] or [[]]
    # Of one layer's patches it takes none that change the same thing.
    for patch in patches:
        bases, files = [write_layer(target, bases, files, patch)], []
    return write_layer(target, bases, files, last, text.get("images", []))


def is_selected(selector, target, below):
    """Whether an object of the layers below has the annotation that a patch is for, if it is for one."""
    if not selector:
        return True
    assert selector.keys() == {"kind", "annotationSelector"}, selector
    items = [item for layer in below
             for item in yaml.safe_load_all(kubectl("kustomize", f"{target}/{layer}"))]
    return any(item["kind"] == selector["kind"]
               and selector["annotationSelector"] in item["metadata"].get("annotations", {})
               for item in items)


def write_layer(target, bases, resources, patches=(), images=()):
    layer = target / str(len(list(target.iterdir())))
    layer.mkdir()
    for path in (*resources, *patches):
        shutil.copy(path, layer)
    (layer / "kustomization.yaml").write_text(yaml.safe_dump({
        "bases": [f"../{base}" for base in bases], "resources": [path.name for path in resources],
        "patchesStrategicMerge": [path.name for path in patches], "images": list(images)}))
    return layer.name


@functools.cache
def built_text(folder):
    if has_components():
        return kubectl("kustomize", folder)
    with tempfile.TemporaryDirectory() as target:
        top = flatten(folder, pathlib.Path(target))
        return kubectl("kustomize", f"{target}/{top}")


def key(item):
    return item["kind"], item["metadata"]["name"]


def build(folder):
    """Each object by its kind and name."""
    items = [item for item in yaml.safe_load_all(built_text(folder)) if item]
    found = {key(item): item for item in items}
    assert len(found) == len(items), "two objects have one name"
    return found


def build_site(components, *patches):
    """What a folder of one's own builds, beside k8s/, with the patches last."""
    with tempfile.TemporaryDirectory() as parent:
        shutil.copytree(FOLDER, f"{parent}/k8s", symlinks=True)
        # As kustomize has it where the folder for temporary files is a link.
        site = pathlib.Path(parent).resolve() / "site"
        site.mkdir()
        names = [f"{number}.yaml" for number in range(len(patches))]
        for name, patch in zip(names, patches):
            (site / name).write_text(patch)
        (site / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": ["../k8s/base"],
            "components": [f"../k8s/components/{component.name}" for component in components],
            "patches": [{"path": name} for name in names]}))
        return build(site)


def pods(items):
    """The pods that controllers make, with the controllers' names."""
    return {name: item["spec"]["template"] for name, item in items.items()
            if "template" in item.get("spec", {})}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(container, **fields):
    """The container's variables as the kubelet makes them: one can name those before it. Those that
    take a field of the pod have it from here; the node is always node1."""
    values, fields = {}, {"spec.nodeName": "node1", **fields}
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
