"""What a test itself does in a network namespace."""

import ctypes
import os
import threading

# Python has had os.setns only since 3.12.
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def in_namespace(name, body):
    """Runs a function on a thread of its own, in a network namespace, and answers its result."""
    result = []

    def work():
        with open(f"/run/netns/{name}") as file:
            if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"setns {name}: {os.strerror(number)}")
        result.append(body())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result[0]
