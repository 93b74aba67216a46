"""Fragments in orders that are legal and rare: each reaches the sensor once, whoever sees it first.

PODWIRE names the binary.
"""

import ipaddress
import json
import pathlib
import struct
import tempfile
import time
import unittest

from support.cluster import Cluster, ClusterCase
from support.endpoint import Endpoint
from support.frames import IPV4, IPV6, UDP
from support.namespace import packet_socket_in

LOW, HIGH = 5300, 40000
# One, two and three are the pieces of a datagram; only the first has the ports.
PIECES = (1, 2, 3)
PIECE_BYTES = 1400
LATE_SECONDS = 1.5
# So many ordinary frames may wait, and so many more are sent.
HELD, ALL = 1024, 1100
PODS = {4: {"a1": "10.244.1.2", "b1": "10.244.1.3", "a2": "10.244.2.2"},
        6: {"a1": "fd00:10:244:1::2", "b1": "fd00:10:244:1::3", "a2": "fd00:10:244:2::2"}}
GATEWAYS = {4: "10.244.1.1", 6: "fd00:10:244:1::1"}
cluster = None


def setUpModule():
    global cluster
    cluster = FragmentsTest.cluster = Cluster("fr", "bridge")
    unittest.addModuleCleanup(cluster.remove)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def mark(name, piece):
    return f"<{name} {piece}>".encode()


class Datagram:
    """A datagram of UDP between pods, in three pieces that have marks."""

    def __init__(self, version, source, target, identification, ports, name):
        self.version, self.identification, self.name = version, identification, name
        self.ends = [ipaddress.ip_address(PODS[version][pod]).packed for pod in (source, target)]
        length = PIECE_BYTES * len(PIECES)
        pieces = [mark(name, piece).ljust(PIECE_BYTES, b".") for piece in PIECES]
        data = b"".join(pieces)[:length - 8]
        pseudo = b"".join(self.ends) + struct.pack("!II", length, UDP)
        header = struct.pack("!HHHH", *ports, length, 0)
        header = header[:6] + struct.pack("!H", checksum(pseudo + header + data))
        self.payload = header + data

    def piece(self, number):
        offset = (number - 1) * PIECE_BYTES
        payload = self.payload[offset:offset + PIECE_BYTES]
        more = number < len(PIECES)
        if self.version == 6:
            part = struct.pack("!BBHI", UDP, 0, offset | more, self.identification) + payload
            return struct.pack("!IHBB", 6 << 28, len(part), 44, 64) + b"".join(self.ends) + part
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), self.identification,
                             offset // 8 | more << 13, 64, UDP, 0) + b"".join(self.ends)
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


class FragmentsTest(ClusterCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name, "sensor.pcapng")

    def send(self, target, version, pieces):
        """Sends pieces from a1; a number instead of a piece is seconds to wait."""
        self.ping("a1", PODS[version][target], count=1)
        neighbours = json.loads(cluster.run("a1", "ip", "-j", "neigh", "show", "dev", "eth0"))
        hop = PODS[version][target] if target == "b1" else GATEWAYS[version]
        addresses = {each["dst"]: each.get("lladdr") for each in neighbours}
        own, = json.loads(cluster.run("a1", "ip", "-j", "link", "show", "eth0"))
        head = (bytes.fromhex(addresses[hop].replace(":", ""))
                + bytes.fromhex(own["address"].replace(":", ""))
                + struct.pack("!H", IPV4 if version == 4 else IPV6))
        with packet_socket_in(cluster.name("a1"), "eth0") as sender:
            for piece in pieces:
                if isinstance(piece, bytes):
                    sender.send(head + piece)
                else:
                    time.sleep(piece)

    def check(self, target, scene):
        """Sends what a scene makes for each order of ports, and counts each piece at the sensor."""
        for port in (LOW, HIGH):
            self.sink(target, port)
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        marks = []
        for version in PODS:
            for ports in ((LOW, HIGH), (HIGH, LOW)):
                names, pieces = scene(version, ports)
                self.send(target, version, pieces)
                marks += [mark(name, piece) for name in names for piece in PIECES]
        self.end(collector, *agents)
        frames = [frame.data for frame in self.frames()]
        counts = {each: sum(each in frame for frame in frames) for each in marks}
        self.assertEqual(counts, dict.fromkeys(marks, 1))

    def check_reuse(self, target):
        def scene(version, ports):
            names = [f"{order} {version} {ports[0]}" for order in ("early", "again", "third")]
            first, second, third = (
                Datagram(version, "a1", target, 77 + ports[0], own, name)
                for own, name in zip((ports, ports[::-1], ports), names))
            return names, [first.piece(1), first.piece(2), first.piece(3), 0.2,
                           second.piece(3), second.piece(2), second.piece(1), 0.2,
                           third.piece(3), third.piece(1), third.piece(2)]
        self.check(target, scene)

    def test_an_identification_that_is_used_again_on_one_node(self):
        self.check_reuse("b1")

    def test_an_identification_that_is_used_again_between_nodes(self):
        self.check_reuse("a2")

    def check_late_first(self, target):
        def scene(version, ports):
            name = f"late {version} {ports[0]}"
            late = Datagram(version, "a1", target, 99 + ports[0], ports, name)
            return [name], [late.piece(3), late.piece(2), LATE_SECONDS, late.piece(1)]
        self.check(target, scene)

    def test_a_first_fragment_that_comes_late_on_one_node(self):
        self.check_late_first("b1")

    def test_a_first_fragment_that_comes_late_between_nodes(self):
        self.check_late_first("a2")

    def test_what_waits_when_there_are_too_many_and_when_the_capture_ends(self):
        collector, agent = self.start_collector(), self.start_agent(1)
        # They have no first fragment, and on the node of a2 nothing arrives: the lower address reports.
        marks = [mark(f"{number} of {version}", 2) for version in PODS for number in range(ALL // 2)]
        for version in PODS:
            self.send("a2", version,
                      [Datagram(version, "a1", "a2", number + 1, (HIGH, LOW),
                                f"{number} of {version}").piece(2) for number in range(ALL // 2)])
        Endpoint(agent.namespace).await_metrics(
            lambda metrics: (metrics.sum("podwire_frames_held"),
                             metrics.sum("podwire_fragments_not_held_total")) == (HELD, ALL - HELD))
        self.end(collector, agent)
        frames = [frame.data for frame in self.frames()]
        counts = {each: sum(each in frame for frame in frames) for each in marks}
        self.assertEqual(counts, dict.fromkeys(marks, 1))


if __name__ == "__main__":
    unittest.main()
