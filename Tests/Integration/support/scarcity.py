"""A kernel that has no memory for rings whenever a test says so, for one program alone.

    scarcity.py SOCKET COMMAND...

runs a command whose requests for rings the kernel first shows to the one who listens at a socket
(seccomp_unotify(2)): a `Scarcity`, which lets them pass or has them fail with ENOMEM.
"""

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading

SYS_SECCOMP, SYS_SETSOCKOPT = {"x86_64": (317, 54), "aarch64": (277, 208)}[platform.machine()]
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW = 0x7FC00000, 0x7FFF0000
SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND = 0xC0502100, 0xC0182101
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SOL_PACKET, PACKET_RX_RING = 263, 5
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# The number of a call, and the low halves of its second and third arguments.
NUMBER, LEVEL, NAME = 0, 24, 32


def listen_for_rings():
    """Has the kernel ask about each ring from now on, and answers the descriptor that it asks by."""
    steps = [(LOAD, 0, 0, NUMBER), (IF_EQUAL, 0, 5, SYS_SETSOCKOPT),
             (LOAD, 0, 0, LEVEL), (IF_EQUAL, 0, 3, SOL_PACKET),
             (LOAD, 0, 0, NAME), (IF_EQUAL, 0, 1, PACKET_RX_RING),
             (RETURN, 0, 0, SECCOMP_RET_USER_NOTIF), (RETURN, 0, 0, SECCOMP_RET_ALLOW)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(steps), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                          program)
    if number < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return number


class Scarcity:
    """Answers the kernel's questions about rings."""

    def __init__(self, folder):
        self.is_on, self.refused = False, 0
        self.path = f"{folder}/scarcity"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    @property
    def prefix(self):
        """What a command is to begin with."""
        return (sys.executable, __file__, self.path)

    def run(self):
        connection = self.listener.accept()[0]
        number = socket.recv_fds(connection, 1, 1)[1][0]
        poller = select.poll()
        poller.register(number, select.POLLIN)
        while not self.over.is_set():
            if not any(events & select.POLLIN for _, events in poller.poll(100)):
                continue
            question = array.array("B", bytes(80))
            try:
                fcntl.ioctl(number, SECCOMP_IOCTL_NOTIF_RECV, question)
                (identity,) = struct.unpack_from("=Q", question)
                self.refused += self.is_on
                fcntl.ioctl(number, SECCOMP_IOCTL_NOTIF_SEND, struct.pack(
                    "=QqiI", identity, 0, -errno.ENOMEM if self.is_on else 0,
                    0 if self.is_on else SECCOMP_USER_NOTIF_FLAG_CONTINUE))
            except FileNotFoundError:
                # Whoever has asked is no more.
                pass
        os.close(number)
        connection.close()

    def close(self):
        self.over.set()
        self.thread.join()
        self.listener.close()


if __name__ == "__main__":
    path, *command = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        listener = listen_for_rings()
        socket.send_fds(connection, [b"."], [listener])
    os.execvp(command[0], command)
