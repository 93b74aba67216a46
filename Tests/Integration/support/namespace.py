"""What a test does in network namespaces."""

import ctypes
import json
import os
import pathlib
import socket
import sys
import threading

from support.commands import run
from support.waiting import wait_until

# Python has had os.setns only since 3.12.
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def in_namespace(name, body):
    """Runs a function on a thread of its own, in a network namespace, and returns its result."""
    result, errors = [], []

    def work():
        try:
            with open(f"/run/netns/{name}") as file:
                if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns {name}: {os.strerror(number)}")
            result.append(body())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def socket_in(name, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    """A socket in a network namespace."""
    return in_namespace(name, lambda: socket.socket(family, kind))


def listener_in(name, address, port, seconds=180):
    """A TCP listener in a network namespace, whose `accept` waits for so long: who was refused before
    comes back only after a while."""
    listener = socket_in(name)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(64)
    listener.settimeout(seconds)
    return listener


def await_listener(name, port, kind="tcp"):
    """Waits until somebody in a network namespace takes what comes to a port."""
    wait_until(lambda: run_in(name, "ss", "-Hln", f"--{kind}", f"sport = :{port}").stdout,
               f"nobody listens at {kind} port {port} of {name}")


def packet_socket_in(name, device, ethertype=0):
    """A raw packet socket that is bound to a device of a network namespace. It gets frames of this
    EtherType, or none."""
    def make():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.bind((device, ethertype))
        return made

    return in_namespace(name, make)


def command_in(name, *words):
    """A command that runs in a network namespace."""
    return ["ip", "netns", "exec", name, *map(str, words)]


def python_in(name, program, *arguments):
    """A command that runs a Python program in a network namespace."""
    return command_in(name, sys.executable, "-c", program, *arguments)


def run_in(name, *words, **keywords):
    """Runs a command in a network namespace to its end."""
    return run(*command_in(name, *words), **keywords)


def ip_in(name, *words, **keywords):
    """Runs ip(8) on a network namespace."""
    return run("ip", "-n", name, *words, **keywords)


def add_namespace(name, ipv6=True):
    """Makes a network namespace, with its loopback up."""
    run("ip", "netns", "add", name)
    if not ipv6:
        run_in(name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1",
               "net.ipv6.conf.all.disable_ipv6=1")
    ip_in(name, "link", "set", "lo", "up")


def add_wire(near, device, far, peer="eth0"):
    """Connects two namespaces by a veth, both of whose ends are up.

    The kernel removes the devices of a namespace that was deleted some time later, so one of the same name may
    still be there."""
    wait_until(lambda: ip_in(near, "link", "show", device, check=False).returncode != 0,
               lambda: f"{near} has a device {device} already")
    ip_in(near, "link", "add", device, "type", "veth", "peer", "name", peer, "netns", far)
    ip_in(near, "link", "set", device, "up")
    ip_in(far, "link", "set", peer, "up")
    await_up((near, device), (far, peer))


def await_up(*ends):
    """Waits until interfaces that are set up are so: pairs of a namespace and a device.

    The kernel gives a veth its queue, and lets a bridge forward to it, up to a second after both ends
    are set up. Until then it drops what is to leave there."""
    for name, end in ends:
        wait_until(lambda: operational_state(name, end) == "UP", f"{end} of {name} does not come up")


def operational_state(name, device):
    return json.loads(run("ip", "-j", "-n", name, "link", "show", device).stdout)[0]["operstate"]


def mac_in(name, device):
    """A device's MAC address, as bytes."""
    text = run_in(name, "cat", f"/sys/class/net/{device}/address").stdout
    return bytes.fromhex(text.strip().replace(":", ""))


def remove_namespaces(prefix):
    """Removes the network namespaces whose names begin so."""
    for path in pathlib.Path("/run/netns").glob(f"{prefix}*"):
        run("ip", "netns", "del", path.name, check=False)
