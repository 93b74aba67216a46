"""Processes: started so that none outlives the bench, and read for what they use."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

COMMAND_SECONDS_MAX = 120
# Python has had os.setns only since 3.12.
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def run(*words, seconds_max=COMMAND_SECONDS_MAX, **keywords):
    """Runs a command to its end, and answers what it has printed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=seconds_max, **keywords)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def start(namespace, *words, **keywords):
    """Starts a program in a network namespace. It dies with the bench, however that ends."""
    # In a session of its own: rpcapd, when it is ended, kills its whole process group.
    return subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, words)],
                            start_new_session=True,
                            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
                            **keywords)


def end(process, seconds_max=10):
    """Ends a program as a user would, or harder if it takes too long."""
    process.terminate()
    try:
        process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_group(process):
    """Kills all that a program has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def await_true(condition, seconds_max=20, what="something"):
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds_max} s for {what}")
        time.sleep(0.002)


def socket_in(namespace):
    """A TCP socket of a network namespace, made by a thread that ends there."""
    made = []

    def work():
        with open(f"/run/netns/{namespace}") as file:
            if LIBC.setns(file.fileno(), 0) == 0:
                made.append(socket.socket())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if not made:
        raise RuntimeError(f"no socket in {namespace}")
    made[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made[0].settimeout(20)
    return made[0]


def family(pid):
    """A process and all that it has started: the reference daemon serves a client in a child.

    Nobody has no family: what the kernel does by itself.
    """
    if pid is None:
        return []
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [member for child in children for member in family(int(child))]


def cpu_ns(pid):
    """How long a process has run, its ended threads included: the sum of what schedstat has."""
    # The kernel's number for the clock of another process: see clock_getcpuclockid(3).
    return sum(time.clock_gettime_ns((~member << 3) | 2) for member in family(pid))


def cpu_ticks(pid):
    """Ticks in user mode and in the kernel."""
    user = system = 0
    for member in family(pid):
        fields = pathlib.Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user, system


def timer_interrupts():
    """How often the timers of all cores have interrupted them: exact, and charged to nobody."""
    for line in pathlib.Path("/proc/interrupts").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "LOC":
            return sum(int(word) for word in rest.split() if word.isdigit())
    raise RuntimeError("/proc/interrupts has no line LOC")


def memory(pid):
    """Bytes in memory: anonymous ones, those of files and rings, and both together."""
    sizes = {"anonymous": 0, "file": 0}
    for member in family(pid):
        status = pathlib.Path(f"/proc/{member}/status").read_text()
        for name, field in (("anonymous", "RssAnon"), ("file", "RssFile")):
            sizes[name] += int(re.search(rf"{field}:\s+(\d+)", status)[1]) * 1024
        # A packet ring is counted as RssFile, in some kernels as shared memory.
        sizes["file"] += int(re.search(r"RssShmem:\s+(\d+)", status)[1]) * 1024
    return {**sizes, "total": sum(sizes.values())}


def descriptor_count(pid):
    return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(pid))


def thread_count(pid):
    return sum(len(os.listdir(f"/proc/{member}/task")) for member in family(pid))
