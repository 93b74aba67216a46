"""Group frames: broadcasts and multicasts of the node that not all edges of a bridge get, link-local
addresses that several links have, and a segment that the pods of two nodes share.

PODWIRE names the binary. Each network has a test bed of its own.
"""

import json
import os
import secrets
import select
import socket
import struct
import time
import unittest

from support import frames
from support.cluster import NETWORKS, MarkedCase
from support.frames import UDP
from support.namespace import await_up, in_namespace, ip_in, run_in, socket_in
from support.program import PODWIRE
from support.waiting import wait_until

OUTSIDE, GATEWAY = "192.168.100.100", "10.244.1.1"
A1, B1, C1, A2 = "10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.2.2"
GROUP, PORT, BRIDGE = "239.1.2.3", 7777, "cni0"
ETH_P_ALL = 3
# Frames with a MAC address that nobody knows wait for so long.
STRANGER_SECONDS = 0.3


class GroupCase(MarkedCase):
    prefix = "gr"

    def lowest(self):
        """The pod whose edge has the lowest index, and the edge's interface."""
        links = json.loads(self.ip("node1", "-j", "link", "show"))
        numbers = {link["ifname"]: link["ifindex"] for link in links}
        pods = {name: self.edge(1, address)["interface"]
                for name, address in (("a1", A1), ("b1", B1), ("c1", C1))}
        name = min(pods, key=lambda pod: numbers[pods[pod]])
        return name, pods[name]


class BridgeTest(GroupCase):
    def send(self, address, payload, count=1):
        """Sends equal datagrams from the node to a group or to all, through the pods' bridge."""
        with socket_in(self.cluster.name("node1"), socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, BRIDGE.encode())
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(GATEWAY))
            out.bind((GATEWAY, PORT))
            for _ in range(count):
                out.sendto(payload, (address, PORT))

    def broadcasts(self, why):
        for number in range(3):
            self.send("255.255.255.255", self.mark(f"broadcast {number}, {why}"))
            # A neighbour that is asked for in vain, and a frame that only a group gets.
            self.inject("node1", b"\xff" * 6, frames.EXPERIMENTAL,
                        self.mark(f"without IP {number}, {why}").ljust(46, b"\0"), device=BRIDGE)

    def test_broadcasts_of_the_node(self):
        self.begin()
        self.broadcasts("all edges up")
        for count in (2, 30):
            self.send("255.255.255.255", self.mark(f"{count} equal broadcasts", count), count)
        self.check()

    def test_the_first_edge_is_down(self):
        _, device = self.lowest()
        self.begin()
        self.addCleanup(await_up, (self.cluster.name("node1"), device))
        self.addCleanup(self.ip, "node1", "link", "set", device, "up")
        self.ip("node1", "link", "set", device, "down")
        self.broadcasts("first edge down")
        self.check()

    def test_the_first_edge_has_no_carrier(self):
        name, device = self.lowest()
        self.begin()
        self.addCleanup(self.restore, name, device)
        self.ip(name, "link", "set", "eth0", "down")
        wait_until(lambda: "NO-CARRIER" in self.ip("node1", "link", "show", device), "it has carrier")
        self.broadcasts("no carrier")
        stranger = bytes.fromhex("02deadbeef02")
        mark = self.mark("to a MAC address that nobody has")
        self.inject("node1", stranger, frames.EXPERIMENTAL, mark.ljust(46, b"\0"), device=BRIDGE)
        time.sleep(STRANGER_SECONDS)
        self.check()

    def restore(self, name, device):
        self.ip(name, "link", "set", "eth0", "up")
        await_up((self.cluster.name(name), "eth0"), (self.cluster.name("node1"), device))
        self.cluster.run(name, "ip", "route", "replace", "default", "via", GATEWAY)
        self.cluster.run(name, "ip", "-6", "route", "replace", "default", "via",
                         "fd00:10:244:1::1", check=False)

    def test_a_group_of_which_one_pod_is_a_member(self):
        lowest, _ = self.lowest()
        member = next(name for name in ("c1", "b1") if name != lowest)
        settings = ("mcast_snooping", "1", "mcast_querier", "1", "mcast_query_response_interval", "10",
                    "mcast_startup_query_interval", "50")
        self.addCleanup(self.ip, "node1", "link", "set", BRIDGE, "type", "bridge", "mcast_querier", "0")
        self.ip("node1", "link", "set", BRIDGE, "type", "bridge", *settings)
        joined = socket_in(self.cluster.name(member), socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(joined.close)
        address = {"b1": B1, "c1": C1}[member]
        joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton(GROUP) + socket.inet_aton(address))
        joined.bind(("", PORT))

        def make():
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))

        with in_namespace(self.cluster.name(lowest), make) as other:
            wait_until(lambda: not self.reaches(other), "the group is flooded")
        self.begin()
        for number in range(3):
            self.send(GROUP, self.mark(f"to the group {number}"))
        self.send(GROUP, self.mark("20 equal datagrams", 20), 20)
        self.broadcasts("of all")
        self.check()

    def reaches(self, other):
        """Whether a datagram to the group comes to a pod that is no member."""
        probe = secrets.token_bytes(16)
        self.send(GROUP, probe)
        end = time.monotonic() + 0.5
        while select.select([other], [], [], max(0, end - time.monotonic()))[0]:
            if probe in other.recv(65535):
                return True
        return False


class LinkLocalTest(GroupCase):
    """Link-local addresses belong to a link: one link's pod has that of another link's gateway."""
    network = "ptp"
    gateway = "fe80::1"

    def test_a_gateway_with_the_address_of_another_links_pod(self):
        device = self.edge(1, B1)["interface"]
        self.ip("a1", "addr", "add", f"{self.gateway}/64", "dev", "eth0", "nodad")
        self.ip("node1", "addr", "add", f"{self.gateway}/64", "dev", device, "nodad")
        sink = socket_in(self.cluster.name("node1"), socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(sink.close)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sink.bind(("", 53))
        self.begin()
        for ports in ((45000, 53), (53, 45000)):
            self.talk("b1", "eth0", ports)
            self.talk("node1", device, ports)
        self.check()

    def talk(self, name, device, ports):
        """Sends a datagram from a link-local address to the other end of its link."""
        other = "b1" if name == "node1" else "node1"
        other_device = "eth0" if name == "node1" else self.edge(1, B1)["interface"]
        target = self.gateway if name == "b1" else self.link_local(other, other_device)
        index = int(self.cluster.run(name, "cat", f"/sys/class/net/{device}/ifindex"))
        with socket_in(self.cluster.name(name), socket.AF_INET6, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            source = self.gateway if name == "node1" else self.link_local(name, device)
            out.bind((source, ports[0], 0, index))
            out.sendto(self.mark(f"{name} to {target} {ports}"), (target, ports[1], 0, index))

    def link_local(self, name, device):
        entries = json.loads(self.ip(name, "-j", "-6", "addr", "show", "dev", device))
        return next(address["local"] for entry in entries for address in entry.get("addr_info", [])
                    if address["scope"] == "link" and address["local"] != self.gateway)


def ipv6(source, destination, protocol, payload, hop_limit=255):
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit) + socket.inet_pton(
        socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) + payload


def udp(source_port, port, payload):
    """A datagram without a checksum."""
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def arp(operation, mac, sender, target):
    return struct.pack("!HHBBH", 1, frames.IPV4, 6, 4, operation) + mac + socket.inet_aton(
        sender) + bytes(6) + socket.inet_aton(target)


class SharedSegmentTest(GroupCase):
    """An uplink is a port of the pods' bridge on both nodes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for node in (1, 2):
            name = cls.cluster.name(f"node{node}")
            ip_in(name, "link", "add", "flat0", "type", "vxlan", "id", "77", "local",
                  f"192.168.100.{node}", "remote", f"192.168.100.{3 - node}", "dstport", "4799",
                  "dev", "uplink")
            ip_in(name, "link", "set", "flat0", "master", BRIDGE, "up")

    def kinds(self):
        """Frames between the pods, as what they are, where they go, and what they carry."""
        a1, a2, everybody = self.mac("a1"), self.mac("a2"), b"\xff" * 6
        local1, local2 = "fe80::a1", "fe80::a2"
        return [
            ("IPv4", a2, frames.IPV4, lambda mark: frames.ipv4(A1, A2, UDP, udp(45000, 53, mark))),
            ("IPv4 back", a2, frames.IPV4, lambda mark: frames.ipv4(A1, A2, UDP, udp(53, 45000, mark))),
            ("multicast", bytes.fromhex("01005e010203"), frames.IPV4,
             lambda mark: frames.ipv4(A1, GROUP, UDP, udp(9, 9, mark))),
            ("ARP request", everybody, frames.ARP, lambda mark: arp(1, a1, A1, A2) + mark),
            ("ARP reply", a2, frames.ARP, lambda mark: arp(2, a1, A1, A2) + mark),
            ("DHCP", everybody, frames.IPV4, lambda mark: frames.ipv4(
                "0.0.0.0", "255.255.255.255", UDP, udp(68, 67, mark))),
            ("DAD", bytes.fromhex("3333ff0000a1"), frames.IPV6, lambda mark: ipv6(
                "::", "ff02::1:ff00:a1", 58, struct.pack("!BBHI", 135, 0, 0, 0) + socket.inet_pton(
                    socket.AF_INET6, local1) + mark)),
            ("link-local", a2, frames.IPV6, lambda mark: ipv6(local1, local2, UDP, udp(9, 9, mark))),
            ("link-local group", bytes.fromhex("333300000001"), frames.IPV6,
             lambda mark: ipv6(local1, "ff02::1", UDP, udp(9, 9, mark))),
            ("neighbour advertisement", a2, frames.IPV6, lambda mark: ipv6(
                local1, local2, 58, struct.pack("!BBHI", 136, 0, 0, 0x60000000) + socket.inet_pton(
                    socket.AF_INET6, local1) + mark)),
            ("CDP", bytes.fromhex("01000ccccccc"), 46, lambda mark: b"\xaa\xaa\x03" + mark),
            ("MPLS", a2, 0x8847, lambda mark: b"\0\0\x11\x40" + mark),
            ("PPPoE", everybody, 0x8863, lambda mark: b"\x11\x09\0\0\0\x10" + mark),
            ("RARP", everybody, 0x8035, lambda mark: arp(3, a1, "0.0.0.0", "0.0.0.0") + mark),
            ("802.1Q", a2, 0x8100, lambda mark: struct.pack("!HH", 5, frames.IPV4) + frames.ipv4(
                A1, A2, UDP, udp(45000, 53, mark))),
            ("QinQ", a2, 0x88A8, lambda mark: struct.pack("!HHHH", 5, 0x8100, 6, frames.IPV4)
             + frames.ipv4(A1, A2, UDP, udp(45000, 53, mark))),
        ]

    def greet(self):
        """Has the pods send datagrams in both directions."""
        for sender, receiver, *ends in (("a1", "a2", A1, A2), ("a2", "a1", A2, A1)):
            for ports in ((45000, 53), (53, 45000)):
                mark = self.mark(f"{sender} greets from {ports}")
                self.inject(sender, self.mac(receiver), frames.IPV4, frames.ipv4(
                    *ends, UDP, udp(*ports, mark)))

    def test_what_pods_of_two_nodes_send_each_other(self):
        self.begin()
        # Who talks IPv4 or IPv6 asks for neighbours first, and so is known.
        for name, address, other in (("a1", A1, A2), ("a2", A2, A1)):
            self.inject(name, b"\xff" * 6, frames.ARP, arp(1, self.mac(name), address, other))
        self.await_arrival(self.greet)
        for why, receiver, ethertype, payload in self.kinds():
            mark = self.mark(why)
            self.inject("a1", receiver, ethertype, payload(mark).ljust(46, b"\0"))
            # The bridges know the way back.
            self.inject("a2", self.mac("a1"), frames.EXPERIMENTAL,
                        self.mark(f"back, after {why}").ljust(46, b"\0"))
        self.check()

    def test_the_doctor_says_so(self):
        text = run_in(self.cluster.name("node1"), PODWIRE, "doctor", "--json", check=False,
                      env={**os.environ, **NETWORKS, "EXTRAHOP_SENSOR_IP": OUTSIDE}).stdout
        found = [(finding["grade"], finding["found"]) for finding in json.loads(text)["findings"]
                 if finding["check"] == "shared-segment"]
        self.assertEqual(found, [("warning", "flat0 is a port of the pods' bridge cni0")])


if __name__ == "__main__":
    unittest.main()
