"""A node with one pod behind a routed veth, and the frames that the pod sends."""

import itertools
import os
import socket
import struct
import time

from support import frames
from support.namespace import (add_namespace, add_wire, in_namespace, ip_in, listener_in, mac_in,
                               packet_socket_in, remove_namespaces, run_in)
from support.waiting import PATIENCE_SECONDS

GATEWAY, POD = "10.244.1.1", "10.244.1.2"
SENSOR_PORT = 2003
# Where marks go; nobody listens there (discard).
MARK_PORT = 9


class Bed:
    """A node with one pod behind a routed veth."""

    def __init__(self, prefix):
        self.prefix = f"{prefix}{os.getpid()}-{time.monotonic_ns() % 1000000}"
        self.node, self.pod = f"{self.prefix}-node", f"{self.prefix}-pod"
        for name in (self.node, self.pod):
            add_namespace(name)
        add_wire(self.node, "veth-pod", self.pod)
        for name, device, address in ((self.node, "veth-pod", GATEWAY), (self.pod, "eth0", POD)):
            ip_in(name, "addr", "add", f"{address}/24", "dev", device)
        # What the pod pings is answered below.
        run_in(self.node, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")

    def remove(self):
        remove_namespaces(f"{self.prefix}-")

    def listen(self, port=SENSOR_PORT):
        """A sensor's listener on the node."""
        return listener_in(self.node, "127.0.0.1", port)

    def ping(self, count=3, size=56):
        """Has the pod ping its gateway, and the node reply, each frame after the one before has come.

        Both are made here, since the kernel replies only if it likes: what others do in the meantime
        may use up what it has for that.
        """
        gateway, pod = self.macs()
        with self.raw_socket() as near, packet_socket_in(
                self.node, "veth-pod", frames.IPV4) as far:
            far.settimeout(PATIENCE_SECONDS)
            for number in range(count):
                request = frames.ethernet(gateway, pod, frames.IPV4, frames.ipv4(
                    POD, GATEWAY, frames.ICMP, frames.echo(False, number, size)))
                near.send(request)
                while far.recv(len(request)) != request:
                    pass
                far.send(frames.ethernet(pod, gateway, frames.IPV4, frames.ipv4(
                    GATEWAY, POD, frames.ICMP, frames.echo(True, number, size))))

    def pings_seen(self, peer, count=3, mark=None):
        """Has the pod ping, and returns how many echo requests and replies a session gets."""
        self.ping(count)
        return len(frames.pings(peer.frames_until(mark or Mark(self))))

    def raw_socket(self):
        """A socket that sends frames from the pod."""
        return packet_socket_in(self.pod, "eth0")

    def macs(self):
        """The MAC addresses of the gateway and of the pod."""
        return mac_in(self.node, "veth-pod"), mac_in(self.pod, "eth0")


class Mark:
    """A frame that the pod sends behind others, so that who gets it has got those, too.

    It is of a kind of its own, which nothing answers and no rule hides.
    """

    numbers = itertools.count(1)

    def __init__(self, bed):
        self.bed, self.number = bed, struct.pack("!8sI", b"the mark", next(self.numbers))

    def send(self):
        with self.bed.raw_socket() as raw:
            raw.send(self.frame())

    def frame(self):
        receiver, sender = self.bed.macs()
        return frames.ethernet(receiver, sender, frames.EXPERIMENTAL, self.number.ljust(46, b"\0"))

    def is_in(self, frame):
        return frame.ethertype == frames.EXPERIMENTAL and frame.payload.startswith(self.number)


class UDPMark(Mark):
    """A datagram to the gateway, known by its source port, for filters that keep UDP or IPv4 alone."""

    def __init__(self, bed):
        super().__init__(bed)
        self.socket = in_namespace(
            bed.pod, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.bind((POD, 0))
        self.port = self.socket.getsockname()[1]

    def send(self):
        self.socket.sendto(self.number, (GATEWAY, MARK_PORT))

    def is_in(self, frame):
        return frame.protocol == frames.UDP and frame.source_port == self.port

    def __del__(self):
        self.socket.close()
