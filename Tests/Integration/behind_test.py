"""What lives behind an edge beside its pod: guests behind a bridge in the pod, MAC addresses that change,
VPN gateways, addresses on a pod's loopback. And which veths are uplinks.

PODWIRE names the binary. Each network has a test bed of its own.
"""

import collections
import json
import os
import secrets
import signal
import socket
import struct
import unittest

from support import frames
from support.cluster import NETWORKS, MarkedCase
from support.endpoint import Endpoint
from support.frames import ICMP, UDP
from support.namespace import (add_namespace, add_wire, await_up, ip_in, remove_namespaces, run_in,
                               socket_in)
from support.program import PODWIRE
from support.waiting import wait_until

OUTSIDE, NODE1 = "192.168.100.100", "192.168.100.1"
GATEWAY, LOOPBACK = "10.244.1.1", "172.31.0.1"
A1, B1, C1, A2, B2, C2 = (f"10.244.{node}.{number}" for node in (1, 2) for number in (2, 3, 4))
# The observed end is the sender of one of them, and the receiver of the other.
PORTS = ((53, 45000), (45000, 53))
PING_COUNT = 5
# Far more than a list of a bridge has in a second.
FULL_COUNT = 200_000
# What the manifest gives an agent: no events from inside pods.
CONFINED = ("setpriv", "--bounding-set=-all,+net_raw,+net_admin", "--inh-caps=-all")


def udp(source_port, port, payload):
    """A datagram without a checksum, which IPv4 allows."""
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def mac_text(mac):
    return mac.hex(":")


class BehindCase(MarkedCase):
    prefix = "bh"

    def setUp(self):
        super().setUp()
        self.pings = {}

    def ip_for_now(self, name, *words):
        """Adds an address or a route, and removes it in the end."""
        self.ip(name, *words)
        undo = ["del" if word == "add" else word for word in words if word != "onlink"]
        self.addCleanup(self.ip, name, *undo)

    def send(self, name, address, source=None, ports=PORTS, why=None):
        """Sends a datagram from each pair of ports, each with bytes of its own."""
        for source_port, port in ports:
            mark = self.mark(f"{why or name} to {address} from {source_port} to {port}")
            with socket_in(self.cluster.name(name), socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                out.bind((source or "", source_port))
                out.sendto(mark, (address, port))

    def talk(self, name, address, other, source=None, other_source=None, **keywords):
        """Sends in both directions between a namespace's address and another one."""
        self.send(name, other[1], source, **keywords)
        self.send(other[0], address, other_source, **keywords)

    def ping_with_pattern(self, name, address):
        pattern = secrets.token_bytes(16)
        text = self.cluster.run(name, "ping", "-q", "-c", PING_COUNT, "-i", 0.2, "-W", 1, "-p",
                                pattern.hex(), address, check=False)
        self.assertIn(f" {PING_COUNT} received", text)
        self.pings[pattern] = f"{name} pings {address}"

    def talk_when_known(self, name, address, *others):
        """Talks from a pod's further address that the agent knows, as soon as captures use that."""
        def talk():
            for other in others:
                self.talk(name, address, other, source=address)

        self.await_arrival(talk)
        talk()

    def show(self, name, address, other):
        """Sends a datagram from an address, which shows who has it."""
        with socket_in(self.cluster.name(name), socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((address, 0))
            out.sendto(b"here I am", (other, 9))

    def known_edges(self, node=1):
        """The edges of a node as its agent knows them."""
        return json.loads(Endpoint(self.agents[node - 1].namespace).get("/edges")[2])

    def await_known(self, what, show=lambda: None, node=1):
        """Waits until an agent knows what is behind an edge: an address, a MAC or a network. What
        no event tells, something has to show: not always the first time, since only one packet of
        each block is looked at."""
        def is_known():
            show()
            return any(what in (edge[field] or []) for edge in self.known_edges(node)
                       for field in ("pod_addresses", "other_addresses", "networks", "macs"))

        wait_until(is_known, f"{what} is not known")

    def check(self):
        """Ends all, and compares what was sent with what has arrived."""
        super().check()
        pings = collections.defaultdict(collections.Counter)
        for frame in self.frames():
            for pattern in self.pings:
                if frame.protocol == ICMP and frame.is_ping and pattern in frame.data:
                    pings[pattern][frame.icmp_type, frame.data[40:42]] += 1
        for pattern, why in self.pings.items():
            self.assertEqual(len(pings[pattern]), 2 * PING_COUNT, f"{why}: {pings[pattern]}")
            self.assertEqual(set(pings[pattern].values()), {1}, why)

    def doctor(self, check="forwarding-pods"):
        """The grades and texts of what the doctor finds on node 1."""
        text = run_in(self.cluster.name("node1"), PODWIRE, "doctor", "--json", check=False,
                      env={**os.environ, **NETWORKS, "EXTRAHOP_SENSOR_IP": OUTSIDE}).stdout
        return [(finding["grade"], finding["found"]) for finding in json.loads(text)["findings"]
                if finding["check"] == check]

    # Guests

    def make_guest(self):
        """Moves pod a1's addresses to a guest behind a bridge in it, as KubeVirt does."""
        pod, guest = self.cluster.name("a1"), self.cluster.name("guest")
        edge = self.edge(1, A1)
        if edge["bridge"]:
            # What the node's bridge sends back to its sender confuses the bridge in the pod.
            run_in(self.cluster.name("node1"), "bridge", "link", "set", "dev", edge["interface"],
                   "hairpin", "off")
        old, length = mac_text(self.mac("a1")), 24 if self.network == "bridge" else 32
        ip_in(pod, "addr", "flush", "dev", "eth0")
        ip_in(pod, "link", "set", "eth0", "down")
        ip_in(pod, "link", "set", "eth0", "address", "02:00:00:00:77:01")
        ip_in(pod, "link", "add", "k6t", "type", "bridge")
        add_namespace(guest)
        ip_in(pod, "link", "set", "eth0", "master", "k6t", "up")
        ip_in(pod, "link", "set", "k6t", "up")
        add_wire(pod, "tap0", guest)
        ip_in(guest, "link", "set", "eth0", "down")
        ip_in(guest, "link", "set", "eth0", "address", old)
        ip_in(guest, "link", "set", "eth0", "up")
        ip_in(pod, "link", "set", "tap0", "master", "k6t")
        ip_in(guest, "addr", "add", f"{A1}/{length}", "dev", "eth0")
        if length == 32:
            ip_in(guest, "route", "add", GATEWAY, "dev", "eth0")
        ip_in(guest, "route", "add", "default", "via", GATEWAY)
        await_up((pod, "eth0"), (pod, "tap0"), (pod, "k6t"), (guest, "eth0"),
                 (self.cluster.name("node1"), edge["interface"]))

    def check_guest(self):
        self.begin()
        self.make_guest()
        for other in (OUTSIDE, C1, C2, GATEWAY):
            self.ping_with_pattern("guest", other)
        for name in ("c1", "c2", "outside"):
            self.ping_with_pattern(name, A1)
        for name, address in (("c1", C1), ("c2", C2)):
            self.talk("guest", A1, (name, address))
        self.inject("guest", b"\xff" * 6, frames.EXPERIMENTAL,
                    self.mark("the guest's broadcast").ljust(46, b"\0"))
        # An agent that comes later has no event about the guest.
        self.check()
        self.setUp()
        self.begin()
        self.ping_with_pattern("c1", A1)
        self.ping_with_pattern("guest", C2)
        self.check()


class BridgeTest(BehindCase):
    def change_mac(self, new):
        """Gives pod c1 another MAC address for now, which the pods that send to it know already."""
        old = mac_text(self.mac("c1"))
        for name in ("a1", "b1"):
            self.ip(name, "neigh", "replace", C1, "lladdr", new, "dev", "eth0", "nud", "permanent")
            self.addCleanup(self.ip, name, "neigh", "del", C1, "dev", "eth0")
        self.addCleanup(self.ip, "c1", "link", "set", "eth0", "address", old)
        self.ip("c1", "link", "set", "eth0", "address", new)
        self.send("b1", C1, why="at once")

    def test_mac_address_that_changes_in_a_silent_pod(self):
        """Nobody tells the node: the pod does not send, and whoever sends to it knows the address."""
        self.begin()
        self.change_mac("02:00:00:00:77:02")
        self.send("a1", C1, why="at once")
        self.await_known("02:00:00:00:77:02")
        self.talk("c1", C1, ("b1", B1))
        self.check()

    def test_changes_in_pods_that_no_event_tells(self):
        """The first frame with a MAC address that nobody has makes the agent ask the pods."""
        self.begin(prefix=CONFINED)
        alias = "172.20.5.5"
        self.change_mac("02:00:00:00:77:03")
        self.await_known("02:00:00:00:77:03")
        self.send("a1", C1)
        self.send("a2", C1)
        self.talk("c1", C1, ("b1", B1))
        # An address that is in no pod network, between two pods of one bridge.
        self.ip_for_now("c1", "addr", "add", f"{alias}/32", "dev", "eth0")
        self.ip_for_now("b1", "route", "add", alias, "dev", "eth0")
        self.await_known(alias, lambda: self.show("c1", alias, B1))
        self.talk_when_known("c1", alias, ("b1", B1))
        self.check()

    def test_frames_by_pods_with_addresses_of_nobody(self):
        self.begin()
        c1 = self.mac("c1")
        for source, destination in (
                (A1, "255.255.255.255"), (A1, "224.0.0.18"), ("0.0.0.0", "255.255.255.255"),
                ("172.20.1.1", C1), ("127.0.0.1", "172.20.1.2"), (A1, C1)):
            for ports in PORTS:
                mark = self.mark(f"{source} to {destination} from {ports}")
                self.inject("a1", c1, frames.IPV4, frames.ipv4(
                    source, destination, UDP, udp(*ports, mark)))
        for receiver in (c1, b"\xff" * 6, bytes.fromhex("02deadbeef01")):
            mark = self.mark(f"without IP to {receiver.hex()}")
            self.inject("a1", receiver, frames.EXPERIMENTAL, mark.ljust(46, b"\0"))
        self.check()

    def test_guests_of_a_pod_beyond_what_programs_hold(self):
        """A pod sends from more addresses than an edge's program compares; then each gets frames."""
        self.begin()
        guests = [bytes([2, 0, 0, 0, 0x78, number]) for number in range(40)]
        group = bytes.fromhex("01005e000009")
        for number, guest in enumerate(guests):
            mark = self.mark(f"guest {number} speaks")
            self.inject("a1", group, frames.EXPERIMENTAL, mark.ljust(46, b"\0"), sender=guest)
            for ports in PORTS:
                mark = self.mark(f"to guest {number} from {ports}")
                self.inject("c1", guest, frames.IPV4, frames.ipv4(
                    C1, f"10.244.1.{100 + number}", UDP, udp(*ports, mark)))
        self.check()
        edge = self.edge(1, A1)
        self.assertLessEqual({mac_text(guest) for guest in guests}, set(edge["macs"]))
        self.assertIn(mac_text(self.mac("a1")), edge["macs"])

    def test_more_mac_addresses_than_can_be_listed(self):
        """A pod fills the bridge's table, and events are lost. What changes in others is known
        nevertheless."""
        self.begin()
        agent, flooding, node = self.agents[0], self.edge(1, C1), self.cluster.name("node1")
        endpoint = Endpoint(agent.namespace)
        self.addCleanup(self.ip, "node1", "link", "set", flooding["bridge"], "type", "bridge",
                        "fdb_flush")
        entries = "".join(
            f"fdb add 02:77:{number >> 24:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:"
            f"{number & 255:02x} dev {flooding['interface']} master dynamic\n"
            for number in range(FULL_COUNT))
        # Whoever does not read loses events, and has to list.
        agent.process.send_signal(signal.SIGSTOP)
        self.addCleanup(agent.process.send_signal, signal.SIGCONT)
        run_in(node, "bridge", "-batch", "-", input=entries)
        agent.process.send_signal(signal.SIGCONT)
        for number in range(3):
            address = f"10.244.1.{77 + number}"
            self.ip_for_now("b1", "addr", "add", f"{address}/32", "dev", "eth0")
            self.await_known(address)
        endpoint.await_metrics(lambda page: page.sum("podwire_bridge_listings_total") > 0
                               and page.sum("podwire_bridge_ports_cut_total") > 0)
        self.talk("a1", A1, ("b1", B1))
        self.check()

    def test_a_pod_that_takes_the_mac_address_of_another(self):
        """The bridge sends it the other's frames. They are reported where they arrive, once."""
        # A word of the other one, such as IPv6 says by itself, would give it its address back.
        run_in(self.cluster.name("b1"), "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
        self.begin()
        endpoint = Endpoint(self.agents[0].namespace)
        self.inject("c1", self.mac("a1"), frames.EXPERIMENTAL,
                    self.mark("with another's address").ljust(46, b"\0"), sender=self.mac("b1"))
        endpoint.await_metrics(lambda page: page.sum("podwire_pod_macs_taken_total") > 0)
        probe = secrets.token_bytes(16)

        def is_followed():
            """The node's monitor counts what captures take over a moment later."""
            self.inject("a1", self.mac("b1"), frames.IPV4, frames.ipv4(
                A1, B1, UDP, udp(45000, 53, probe)))
            return any(probe in frame.data for frame in self.frames())

        wait_until(is_followed, "the capture does not take over who has the address")
        # Without an answer: the pod itself must not speak.
        marks = [self.mark(f"taken, from {ports}") for ports in PORTS]
        for ports, mark in zip(PORTS, marks):
            self.inject("a1", self.mac("b1"), frames.IPV4, frames.ipv4(
                A1, B1, UDP, udp(*ports, mark)))
        # What is still in a ring when the other pod speaks would be taken for a flooded copy.
        wait_until(lambda: all(any(mark in frame.data for frame in self.frames()) for mark in marks),
                   "not every frame has arrived")
        # The other pod speaks, and gets its frames again.
        self.talk("b1", B1, ("a1", A1))
        self.check()

    def test_a_pod_that_changes_its_addresses_without_end(self):
        """Its last address is known, and the others are captured as ever."""
        self.begin()
        agent, address = self.agents[0], "172.31.99.1"
        changes = "".join(f"addr add 172.31.{number}.1/32 dev eth0\n"
                          f"addr del 172.31.{number}.1/32 dev eth0\n" for number in range(99))
        endpoint = Endpoint(agent.namespace)

        def is_postponed():
            run_in(self.cluster.name("c1"), "ip", "-batch", "-", input=changes)
            return endpoint.fresh_metrics().sum("podwire_pod_changes_postponed_total") > 0

        wait_until(is_postponed, "no change was postponed")
        self.ip_for_now("c1", "addr", "add", f"{address}/32", "dev", "eth0")
        self.await_known(address)
        self.ip_for_now("b1", "route", "add", address, "dev", "eth0")
        self.talk_when_known("c1", address, ("b1", B1))
        self.talk("a1", A1, ("b1", B1))
        self.check()

    def test_macvlan_on_a_pods_interface(self):
        pod, guest = self.cluster.name("b1"), self.cluster.name("macvlan")
        self.begin()
        add_namespace(guest)
        self.addCleanup(remove_namespaces, guest)
        ip_in(pod, "link", "add", "mac0", "link", "eth0", "type", "macvlan", "mode", "bridge")
        ip_in(pod, "link", "set", "mac0", "netns", guest, "name", "eth0")
        ip_in(guest, "addr", "add", "10.244.1.200/24", "dev", "eth0")
        ip_in(guest, "link", "set", "eth0", "up")
        ip_in(guest, "route", "add", "default", "via", GATEWAY)
        await_up((guest, "eth0"))
        for name, address in (("a1", A1), ("c2", C2), ("outside", OUTSIDE)):
            self.talk("macvlan", "10.244.1.200", (name, address))
            self.ping_with_pattern(name, "10.244.1.200")
        self.check()

    def test_a_default_route_through_a_pod(self):
        """The bridge on which the gateway is does not become an uplink."""
        self.assertEqual([grade for grade, _ in self.doctor("pod-networks")], ["ok"])
        self.ip_for_now("node1", "route", "add", "default", "via", A1, "metric", "5000")
        self.begin()
        self.talk("a1", A1, ("c2", C2))
        self.ping_with_pattern("a1", OUTSIDE)
        self.check()
        self.assertEqual([grade for grade, _ in self.doctor("pod-networks")], ["ok"])
        self.assertEqual([grade for grade, _ in self.doctor()], ["note"])

    def test_a_network_routed_through_a_pod(self):
        """It makes no node of the pod."""
        self.ip_for_now("node1", "route", "add", "10.244.77.0/24", "via", A1)
        self.begin()
        self.talk("a2", A2, ("a1", A1))
        self.talk("a1", A1, ("c1", C1))
        self.check()


class BridgedGuestTest(BehindCase):
    def test_guest_behind_a_bridge_in_the_pod(self):
        self.check_guest()


class RoutedGuestTest(BehindCase):
    network = "ptp"

    def test_guest_behind_a_bridge_in_the_pod(self):
        self.check_guest()


class RoutedTest(BehindCase):
    network = "ptp"

    def device(self):
        return self.edge(1, A1)["interface"]

    def test_a_default_route_through_a_pod(self):
        device = self.device()
        self.ip_for_now("node1", "route", "add", "default", "via", A1, "dev", device, "onlink",
                        "metric", "5000")
        self.assertTrue(self.edge(1, A1)["captured"])
        self.begin()
        self.talk("a1", A1, ("c2", C2))
        self.talk("a1", A1, ("c1", C1))
        self.ping_with_pattern("a1", OUTSIDE)
        self.check()
        (grade, found), = self.doctor()
        self.assertEqual((grade, found), ("note", f"a default route leads through a pod: {device}"))

    def test_a_second_uplink(self):
        """Veths to a bridge between the nodes, by which they reach each other's pods, as kind's nodes
        have them; with and without a default route."""
        between = self.cluster.name("between")
        add_namespace(between)
        self.addCleanup(remove_namespaces, between)
        ip_in(between, "link", "add", "br0", "type", "bridge")
        ip_in(between, "link", "set", "br0", "up")
        for node, other in ((1, 2), (2, 1)):
            name = f"up{node}"
            add_wire(self.cluster.name(f"node{node}"), name, between, f"to-node{node}")
            ip_in(between, "link", "set", f"to-node{node}", "master", "br0")
            self.ip(f"node{node}", "addr", "add", f"192.168.77.{node}/24", "dev", name)
            routes = self.ip(f"node{node}", "route", "show", f"10.244.{other}.0/24").split()
            self.ip(f"node{node}", "route", "replace", f"10.244.{other}.0/24", "via",
                    f"192.168.77.{other}")
            self.addCleanup(self.ip, f"node{node}", "route", "replace", *routes)
        uplink = {edge["interface"]: edge for edge in self.edges(1)}["up1"]
        self.assertFalse(uplink["captured"])
        self.assertIn("uplink", uplink["state"])
        self.begin()
        self.talk("a1", A1, ("b2", B2))
        for node in ("node1", "node2"):
            self.ip(node, "route", "del", "default")
            self.addCleanup(self.ip, node, "route", "add", "default", "via", OUTSIDE)
        for node, pod in ((1, A1), (2, A2)):
            # An agent that knows of this route has looked for the others, too.
            network = f"10.8.{node}.0/24"
            self.ip_for_now(f"node{node}", "route", "add", network, "via", pod, "dev",
                            self.edge(node, pod)["interface"], "onlink")
            self.await_known(network, node=node)
            [uplink] = [edge for edge in self.known_edges(node) if edge["interface"] == f"up{node}"]
            self.assertFalse(uplink["captured"], uplink)
        self.talk("a1", A1, ("b2", B2), why="no default route")
        self.check()
        self.ip("node1", "route", "del", "10.244.2.0/24")
        self.assertFalse({edge["interface"]: edge for edge in self.edges(1)}["up1"]["captured"])


class ForwardingPods:
    """Pods that forward, on either network."""

    def add_vpn(self):
        """A client behind pod a1."""
        vpn, pod = self.cluster.name("vpn"), self.cluster.name("a1")
        add_namespace(vpn)
        add_wire(pod, "tun0", vpn)
        self.addCleanup(remove_namespaces, vpn)
        run_in(pod, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        ip_in(pod, "addr", "add", "10.8.0.1/24", "dev", "tun0")
        ip_in(vpn, "addr", "add", "10.8.0.5/24", "dev", "eth0")
        ip_in(vpn, "route", "add", "default", "via", "10.8.0.1")

    def test_vpn_gateway(self):
        """Without translation, and the node's route says what is behind the pod."""
        self.add_vpn()
        edge = self.edge(1, A1)
        # A routed pod's address is on no link that a gateway could be on.
        self.ip_for_now("node1", "route", "add", "10.8.0.0/24", "via", A1, "dev",
                        edge["bridge"] or edge["interface"], "onlink")
        self.ip_for_now("node2", "route", "add", "10.8.0.0/24", "via", "192.168.100.1")
        self.begin()
        for name, address in (("c1", C1), ("c2", C2), ("outside", OUTSIDE)):
            if name == "outside":
                self.ip_for_now("outside", "route", "add", "10.8.0.0/24", "via", "192.168.100.1")
            self.talk("vpn", "10.8.0.5", (name, address))
        self.check()
        self.assertEqual(self.edge(1, A1)["networks"], ["10.8.0.0/24"])
        (grade, found), = self.doctor()
        self.assertEqual(grade, "note")
        self.assertIn("10.8.0.0/24", found)

    def test_default_route_to_a_gateway_in_a_pod(self):
        """What another pod sends to a machine outside passes two edges, and the doctor says so."""
        self.add_vpn()
        machine = "203.0.113.77"
        ip_in(self.cluster.name("vpn"), "addr", "add", f"{machine}/32", "dev", "lo")
        ip_in(self.cluster.name("a1"), "route", "add", machine, "via", "10.8.0.5")
        edge = self.edge(1, A1)
        self.ip("node1", "route", "del", "default")
        self.addCleanup(self.ip, "node1", "route", "add", "default", "via", OUTSIDE)
        self.ip_for_now("node1", "route", "add", "default", "via", A1, "dev",
                        edge["bridge"] or edge["interface"], "onlink")
        self.begin()
        self.send("c1", machine, why="twice")
        self.marks = {mark: (why, 2) for mark, (why, _) in self.marks.items()}
        self.check()
        (grade, found), = self.doctor()
        self.assertEqual(grade, "warning")
        self.assertIn(edge["interface"], found)

    def test_senders_that_nobody_knows(self):
        """No route says what is behind the pod, but the agent sees who sends."""
        self.add_vpn()
        self.assertEqual([grade for grade, _ in self.doctor()], ["ok"])
        self.begin()
        endpoint = Endpoint(self.cluster.name("node1"))

        def is_seen():
            with socket_in(self.cluster.name("vpn"), socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.sendto(b"who am I", (C1, 9))
            page = json.loads(endpoint.get("/edges")[2])
            return any("10.8.0.5" in edge["senders"] for edge in page)

        wait_until(is_seen, "the sender is not seen")
        (grade, found), = self.doctor()
        self.assertEqual(grade, "warning")
        self.assertIn("10.8.0.5", found)
        edge = self.edge(1, A1)["interface"]
        explained = json.loads(run_in(
            self.cluster.name("node1"), PODWIRE, "explain", "udp", "10.8.0.5:40000", f"{C2}:53", "--json",
            env={**os.environ, **NETWORKS}).stdout)
        self.assertEqual([(row["edge"], row["reported"]) for row in explained["edges"]],
                         [(edge, "yes"), (f"of {C2}, on its node", "yes")])
        self.assertIn("--pod-network on every node", explained["remarks"][0])
        self.check()

    def test_address_on_loopback(self):
        """An address that is on no interface of the pair, such as a virtual server's."""
        self.begin()
        self.add_loopback_address()
        # Its first datagram shows that the pod has it.
        self.check_loopback_address(lambda: self.show("a1", LOOPBACK, OUTSIDE))

    def test_address_on_loopback_that_only_answers(self):
        """No route of the main table says where it is. In the ring the request comes first."""
        self.begin(prefix=CONFINED)
        self.add_loopback_address("table", "77")
        self.ip_for_now("node1", "rule", "add", "to", LOOPBACK, "lookup", "77")
        self.check_loopback_address(lambda: self.cluster.run(
            "c1", "ping", "-q", "-c", 1, "-W", 1, LOOPBACK, check=False))

    def test_addresses_that_a_pod_claims(self):
        """A pod may give itself any address. What others send there goes to its owner."""
        far = "198.51.100.99"
        self.ip_for_now("outside", "addr", "add", f"{far}/32", "dev", "lo")
        # The other node's pod has this one.
        self.ip_for_now("c2", "addr", "add", f"{LOOPBACK}/32", "dev", "lo")
        self.ip_for_now("node2", "route", "add", LOOPBACK, "via", C2, "dev",
                        self.edge(2, C2)["bridge"] or self.edge(2, C2)["interface"], "onlink")
        self.ip_for_now("node1", "route", "add", LOOPBACK, "via", "192.168.100.2")
        owners = {far: "outside", LOOPBACK: "c2", NODE1: "node1", GATEWAY: "node1"}
        for address in owners:
            self.ip_for_now("c1", "addr", "add", f"{address}/32", "dev", "lo")
        self.begin()
        for address, owner in owners.items():
            self.talk("a1", A1, (owner, address), other_source=address)
        self.check()

    def add_loopback_address(self, *table):
        self.ip_for_now("a1", "addr", "add", f"{LOOPBACK}/32", "dev", "lo")
        self.ip_for_now("node1", "route", "add", LOOPBACK, "via", A1, *table)
        for name in ("node2", "outside"):
            self.ip_for_now(name, "route", "add", LOOPBACK, "via", "192.168.100.1")

    def check_loopback_address(self, show):
        self.await_known(LOOPBACK, show)
        self.talk_when_known("a1", LOOPBACK, ("c1", C1), ("c2", C2), ("outside", OUTSIDE))
        self.check()
        self.assertEqual(self.edge(1, A1)["other_addresses"], [LOOPBACK])


class ForwardingBridgeTest(ForwardingPods, BehindCase):
    network = "bridge"


class ForwardingRoutedTest(ForwardingPods, BehindCase):
    network = "ptp"


if __name__ == "__main__":
    unittest.main()
