"""The image in a container, as containerd would have runc run it for a kubelet, but without either.

skopeo and umoci unpack the archive and say what the image wants to be started; runc runs it with the
default seccomp profile of Debian's containers-common, which podman and buildah use.
"""

import json
import pathlib
import platform
import subprocess
import tempfile

from support.commands import output
from support.program import Program, appended_file

PROFILE = pathlib.Path("/usr/share/containers/seccomp.json")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]

# Each file system that a container gets from containerd: where, its type, source and options.
MOUNTS = (
    ("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
)
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
          "/sys/firmware"]
MEMORY_BYTES_MAX = 512 << 20
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def own_capabilities():
    """Those that this machine lets a privileged container have."""
    status = pathlib.Path("/proc/self/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("CapBnd")).split()[1], 16)
    names = output("capsh", f"--decode={mask:x}").strip().split("=")[1]
    return names.upper().split(",")


def default_seccomp(capabilities):
    """The profile in the form that runc takes, for this architecture and these capabilities."""
    profile = json.loads(PROFILE.read_text())
    if "CAP_BPF" in capabilities:
        # containerd's profile lets it call bpf(2); Debian 12's is older, and asks for CAP_SYS_ADMIN.
        for rule in profile["syscalls"]:
            rule["names"] = [name for name in rule["names"] if name != "bpf"]
        profile["syscalls"].append({"names": ["bpf"], "action": "SCMP_ACT_ALLOW"})

    def applies(rule):
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        return (set(includes.get("caps") or ()) <= set(capabilities)
                and ARCHITECTURE in includes.get("arches", [ARCHITECTURE])
                and not set(excludes.get("caps") or ()) & set(capabilities)
                and ARCHITECTURE not in excludes.get("arches", ()))

    native = f"SCMP_ARCH_{platform.machine().upper()}"
    more = next(one["subArchitectures"] for one in profile["archMap"] if one["architecture"] == native)
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
            "architectures": [native, *more],
            "syscalls": [{key: rule[key] for key in ("names", "action", "args", "errnoRet")
                          if rule.get(key)} for rule in profile["syscalls"] if applies(rule)]}


class Bundle:
    """The image's file tree, and what it says about how it is to be started."""

    def __init__(self, archive):
        self.folder = tempfile.TemporaryDirectory()
        layout, path = f"{self.folder.name}/layout", pathlib.Path(self.folder.name) / "bundle"
        output("skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"oci:{layout}:image")
        output("umoci", "unpack", "--image", f"{layout}:image", path)
        self.rootfs = path / "rootfs"
        self.process = json.loads((path / "config.json").read_text())["process"]

    def files(self):
        """What is in the file tree, and since when."""
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size)
                for path in sorted(self.rootfs.rglob("*"))}

    def configuration(self, namespace, capabilities, privileged, files, variables, folders=(),
                      arguments=()):
        """How runc is to start it (OCI runtime-spec, config.md). Privileged means what it does to a
        kubelet, with `hostPID`. `folders` are mounts: where, of what, and with which options."""
        mounts = [{"destination": place, "type": kind, "source": source, "options": options}
                  for place, kind, source, options in MOUNTS]
        mounts += [{"destination": place, "type": "bind", "source": str(source),
                    "options": ["rbind", "rprivate", "ro"]} for place, source in files.items()]
        mounts += [{"destination": place, "type": "bind", "source": str(source), "options": options}
                   for place, source, options in folders]
        namespaces = [{"type": kind} for kind in ("ipc", "uts", "mount")]
        namespaces.append({"type": "network", "path": f"/run/netns/{namespace}"})
        linux = {"namespaces": namespaces, "cgroupsPath": f"/{'-'.join([namespace, *arguments])}",
                 "resources": {}}
        if not privileged:
            namespaces.append({"type": "pid"})
            linux |= {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY,
                      "resources": {"memory": {"limit": MEMORY_BYTES_MAX}},
                      "seccomp": default_seccomp(capabilities)}
        sets = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
        return {
            "ociVersion": "1.0.2", "hostname": "node", "mounts": mounts, "linux": linux,
            "root": {"path": str(self.rootfs), "readonly": not privileged},
            "process": {
                "args": [*self.process["args"][:1], *(arguments or self.process["args"][1:])], "cwd": self.process["cwd"],
                "user": {"uid": 0, "gid": 0}, "capabilities": sets,
                "noNewPrivileges": not privileged,
                "env": [one for one in self.process["env"] if one.startswith("PATH=")]
                + [f"{name}={value}" for name, value in variables.items()]}}


class Container(Program):
    """A container of the image in a node's network namespace. `files` are mounted at their places, and
    so are `folders`; `arguments` are those of a command other than the image's."""

    def __init__(self, bundle, namespace, capabilities, files, privileged=False, folders=(),
                 arguments=(), **variables):
        self.namespace, self.name = namespace, "-".join([namespace, *arguments])
        self.folder = tempfile.TemporaryDirectory()
        configuration = bundle.configuration(
            namespace, capabilities, privileged, files, variables, folders, arguments)
        pathlib.Path(self.folder.name, "config.json").write_text(json.dumps(configuration))
        self.log = appended_file()
        self.process = subprocess.Popen(
            [*self.runc, "run", "--bundle", self.folder.name, self.name],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    @property
    def runc(self):
        return ["runc", "--root", f"{self.folder.name}/state"]

    @property
    def pid(self):
        return json.loads(output(*self.runc, "state", self.name))["pid"]

    def execute(self, *words):
        """Runs a command in the container, as a probe or a person with kubectl would."""
        return output(*self.runc, "exec", self.name, *words)

    def status(self):
        """What the kernel says about the agent's process (proc(5))."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    def kill(self):
        if self.process.poll() is None:
            output(*self.runc, "delete", "--force", self.name)
        super().kill()
        self.folder.cleanup()
