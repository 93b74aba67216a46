"""Packets that reach a pod past the host side of its veth, by an eBPF program that hands them to the
pod's device (bpf_redirect_peer), as some network plug-ins have it.
"""

import ctypes
import os
import platform
import struct
import subprocess
import tempfile

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_PROG_LOAD, BPF_OBJ_PIN = 5, 6
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_FUNC_redirect, BPF_FUNC_redirect_peer = 23, 155
# Instructions: load a number, call a helper, end.
MOVE, CALL, EXIT = 0xB7, 0x85, 0x95
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = LIBC.syscall(SYS_BPF, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf: {os.strerror(code)}")
    return result


def load(helper, interface):
    """A program that has every packet redirected to an interface, or to what is behind it."""
    steps = [(MOVE, 1, interface), (MOVE, 2, 0), (CALL, 0, helper), (EXIT, 0, 0)]
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("=BBhi", operation, register, 0, number)
                 for operation, register, number in steps))
    text = ctypes.create_string_buffer(b"GPL")
    return bpf(BPF_PROG_LOAD, struct.pack(
        "=IIQQIIQII", BPF_PROG_TYPE_SCHED_CLS, len(steps), ctypes.addressof(code),
        ctypes.addressof(text), 0, 0, 0, 0, 0))


def attach(namespace, device, helper, interface):
    """Has what comes in at a device redirected, in the place of what was attached there."""
    program = load(helper, interface)
    subprocess.run(["tc", "-n", namespace, "qdisc", "del", "dev", device, "clsact"],
                   capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True)
        try:
            path = ctypes.create_string_buffer(f"{folder}/program".encode())
            bpf(BPF_OBJ_PIN, struct.pack("=QII", ctypes.addressof(path), program, 0))
            for words in (["qdisc", "add", "dev", device, "clsact"],
                          ["filter", "add", "dev", device, "ingress", "bpf", "da", "pinned",
                           f"{folder}/program"]):
                subprocess.run(["tc", "-n", namespace, *words], check=True)
        finally:
            subprocess.run(["umount", folder], check=True)
            os.close(program)
