"""The Pod Security Standards' levels "baseline" and "restricted", as a check of a pod.

https://kubernetes.io/docs/concepts/security/pod-security-standards, whose names of controls these are;
what a control restricts is the list there. Windows is left out.
"""

# Beside these, "baseline" lets nothing be added.
CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
# The oldest list is the shortest.
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range"}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t"}
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
HOOKS = ("postStart", "preStop")


def containers(spec):
    return [container for kind in ("initContainers", "containers", "ephemeralContainers")
            for container in spec.get(kind, [])]


def contexts(spec):
    """The pod's security context, and those of its containers."""
    return [spec.get("securityContext", {}),
            *(container.get("securityContext", {}) for container in containers(spec))]


def profile(context, kind):
    return context.get(kind, {}).get("type")


def added(container):
    return set(container.get("securityContext", {}).get("capabilities", {}).get("add", []))


def handlers(container):
    hooks = container.get("lifecycle", {})
    return [*(container[name] for name in PROBES if name in container),
            *(hooks[name] for name in HOOKS if name in hooks)]


def has_host(handler):
    return any(handler.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket"))


def has_host_port(spec, port):
    # In the node's network the API server makes the port the node's where nothing is said.
    return bool(port.get("hostPort") or spec.get("hostNetwork"))


def baseline(pod, minor):
    """The controls of Kubernetes 1.`minor` that the pod breaks."""
    spec, annotations = pod["spec"], pod.get("metadata", {}).get("annotations", {})
    every, all_contexts = containers(spec), contexts(spec)
    selinux = [context.get("seLinuxOptions", {}) for context in all_contexts]
    broken = {
        "Host Namespaces": any(spec.get(f"host{name}") for name in ("Network", "PID", "IPC")),
        "Privileged Containers": any(context.get("privileged") for context in all_contexts),
        "Capabilities": any(added(container) - CAPABILITIES for container in every),
        "HostPath Volumes": any("hostPath" in volume for volume in spec.get("volumes", [])),
        "Host Ports": any(has_host_port(spec, port)
                          for container in every for port in container.get("ports", [])),
        "Host Probes / Lifecycle Hooks": minor >= 34 and any(
            has_host(handler) for container in every for handler in handlers(container)),
        "AppArmor": any("apparmor" in name and value == "unconfined"
                        for name, value in annotations.items())
        or any(profile(context, "appArmorProfile") == "Unconfined" for context in all_contexts),
        "SELinux": any(options.get("type") not in SELINUX_TYPES or options.get("user")
                       or options.get("role") for options in selinux),
        "/proc Mount Type": any(context.get("procMount", "Default") != "Default"
                                for context in all_contexts),
        "Seccomp": any(profile(context, "seccompProfile") == "Unconfined" for context in all_contexts),
        "Sysctls": any(sysctl["name"] not in SYSCTLS
                       for sysctl in spec.get("securityContext", {}).get("sysctls", [])),
    }
    return {name for name, is_broken in broken.items() if is_broken}


def restricted(pod, minor):
    """As `baseline`, with the controls that the stricter level has beside those."""
    spec = pod["spec"]
    of_pod = spec.get("securityContext", {})
    broken = {
        "Volume Types": any(volume.keys() - {"name"} - VOLUMES for volume in spec.get("volumes", [])),
    }
    for container in containers(spec):
        context = container.get("securityContext", {})
        effective = {**of_pod, **context}
        checks = {
            "Privilege Escalation": context.get("allowPrivilegeEscalation") is not False,
            "Running as Non-root": effective.get("runAsNonRoot") is not True,
            "Running as Non-root user": effective.get("runAsUser") == 0,
            "Seccomp (restricted)": profile(effective, "seccompProfile")
            not in ("RuntimeDefault", "Localhost"),
            "Capabilities (restricted)": "ALL" not in context.get("capabilities", {}).get("drop", [])
            or added(container) - {"NET_BIND_SERVICE"},
        }
        broken = {**broken, **{name: broken.get(name) or value for name, value in checks.items()}}
    return baseline(pod, minor) | {name for name, is_broken in broken.items() if is_broken}
