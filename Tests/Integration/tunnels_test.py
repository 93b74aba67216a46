"""What the collector passes on as frames: on an interface of the node, and in tunnels.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace. The kernel and
tshark take the tunnels apart.
"""

import ipaddress
import json
import pathlib
import socket
import struct
import subprocess
import time
import unittest

from support import captures
from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FRAME
from support.frames import checksum, echo, ethernet, ipv4
from support.namespace import (add_namespace, add_wire, command_in, ip_in, mac_in, packet_socket_in,
                               run_in, socket_in)
from support.program import PODWIRE
from support.rpcap import packet
from support.waiting import PATIENCE_SECONDS, wait_until

INTERFACE = "pods0"
POD, OTHER = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
BROADCAST = b"\xff" * 6
IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86dd
# Of the node, which has them at an interface that is no concern of the collector's.
NODE, NODE_6 = "192.0.2.1", "fd00::1"
# A host there, and one behind that.
FRIEND, FRIEND_6, FAR = "192.0.2.7", "fd00::7", "198.51.100.9"
# The node's at the other end of a tunnel, and the receiver's.
NEAR_END, FAR_END = "203.0.113.1", "203.0.113.2"
NETWORK = 7


def udp(source, destination, data=b"data"):
    return struct.pack("!HHHH", source, destination, 8 + len(data), 0) + data


def ipv6(source, destination, protocol, payload):
    addresses = b"".join(ipaddress.IPv6Address(text).packed for text in (source, destination))
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + addresses + payload


def icmpv6(source, destination, kind, body):
    addresses = b"".join(ipaddress.IPv6Address(text).packed for text in (source, destination))
    message = struct.pack("!BBH", kind, 0, 0) + body
    total = checksum(addresses + struct.pack("!II", len(message), 58) + message)
    return ipv6(source, destination, 58, message[:2] + struct.pack("!H", total) + message[4:])


def arp_request(sender, target):
    return (bytes.fromhex("0001080006040001") + POD + socket.inet_aton(sender) + bytes(6)
            + socket.inet_aton(target))


def flows():
    """Frames of many flows, both directions of each, and some that are no flow's."""
    frames = []
    for number in range(40):
        port = 40_000 + number
        for there in (True, False):
            ends = ("10.244.1.2", "10.244.2.2") if there else ("10.244.2.2", "10.244.1.2")
            ends_6 = ("fd00:1::2", "fd00:2::2") if there else ("fd00:2::2", "fd00:1::2")
            macs = (OTHER, POD) if there else (POD, OTHER)
            ports = (port, 53) if there else (53, port)
            frames += [
                ethernet(*macs, IPV4, ipv4(*ends, 17, udp(*ports))),
                ethernet(*macs, IPV6, ipv6(*ends_6, 17, udp(*ports))),
                ethernet(*macs, VLAN, struct.pack("!HH", 7, IPV4) + ipv4(*ends, 17, udp(*ports))),
            ]
    return frames + [FRAME, ethernet(BROADCAST, POD, ARP, arp_request("10.244.1.2", "10.244.1.1"))]


class SinkCase(CollectorCase):
    """A collector with sinks of frames, and an agent."""

    def begin(self, *arguments, frames=(), **keywords):
        # Packets are passed on at once.
        self.collect("--json", "--order", "off", *arguments, stdout=subprocess.PIPE)
        self.await_text("listening")
        agent = self.agent(self.data(frames), **keywords)
        self.await_start(agent)
        return agent

    @staticmethod
    def data(frames):
        return b"".join(packet(frame, number, micros=number % 1_000_000)
                        for number, frame in enumerate(frames, start=1))

    def report(self):
        """Ends the collector, and returns what it says of its outputs, by their kinds."""
        self.end()
        outputs = json.loads(self.collector.stdout.read())["outputs"]
        return {output["output"]: output for output in outputs}

    def dump(self, device, namespace=None, *filters):
        """Begins to capture at a device, and returns the file."""
        path = pathlib.Path(self.folder.name) / f"{device}.pcap"
        log = open(f"{path}.log", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            command_in(namespace or self.namespace, "tcpdump", "-Z", "root", "--immediate-mode", "-U",
                       "-B", "65536", "-ni", device, "-w", path, *filters), stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: "listening on" in pathlib.Path(log.name).read_text(),
                   lambda: pathlib.Path(log.name).read_text())
        return path

    def await_frames(self, path, count):
        self.wait(lambda: len(captures.read(path)) >= count,
                  lambda: f"{len(captures.read(path))} of {count}")

    def wait(self, condition, what):
        wait_until(condition, lambda: f"{what() if callable(what) else what} in {self.text()}")

    def frames_of(self, path):
        return [frame.data for frame in captures.read(path)]


class InterfaceTest(SinkCase):
    """An interface that the collector makes."""

    def begin(self, *arguments, **keywords):
        return super().begin("--interface", INTERFACE, *arguments, **keywords)

    def count(self, device=INTERFACE):
        """The packets that an interface has received."""
        link = json.loads(run_in(self.namespace, "ip", "-j", "-s", "link", "show", device).stdout)[0]
        return link["stats64"]["rx"]["packets"]

    def links(self):
        return [link["ifname"] for link in json.loads(ip_in(self.namespace, "-j", "link").stdout)]

    def test_programs_see_what_is_in_the_file(self):
        agent = self.begin()
        link = json.loads(run_in(self.namespace, "ip", "-j", "-d", "addr", "show", INTERFACE).stdout)[0]
        self.assertEqual((link["mtu"], link["addr_info"]), (65_521, []))
        self.assertTrue({"NOARP", "UP"} <= set(link["flags"]), link)
        dump = self.dump(INTERFACE)
        # The last one fills the interface's MTU.
        frames = flows() + [ethernet(OTHER, POD, 0x88b5, bytes(65_521))]
        agent.data.sendall(self.data(frames))
        self.await_frames(dump, len(frames))
        sink = self.report()["interface"]
        self.assertEqual((sink["packets"], sink["lost"]), (len(frames), 0), sink)
        self.assertEqual(self.frames_of(dump), frames)
        self.assertEqual(self.frames_of(self.file), frames)
        self.assertNotIn(INTERFACE, self.links())

    def test_argus_finds_the_flows_of_the_file(self):
        agent = self.begin()
        live, read = (pathlib.Path(self.folder.name) / name for name in ("live.argus", "read.argus"))
        argus = subprocess.Popen(
            command_in(self.namespace, "argus", "-X", "-S", "1", "-i", INTERFACE, "-w", live),
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(argus.wait)
        self.addCleanup(argus.kill)

        def captures_now():
            agent.data.sendall(self.data([FRAME]))
            return self.argus_flows(live, "not", "ip")

        self.wait(captures_now, "argus sees no frame")
        sent = [frame for frame in flows() if frame[12:14] not in (FRAME[12:14], b"\x08\x06")]
        agent.data.sendall(self.data(sent))
        # It reports what has come each second.
        self.wait(lambda: sum(int(row[-1]) for row in self.argus_flows(live)) == len(sent),
                  lambda: self.argus_flows(live))
        found = self.argus_flows(live)
        self.end()
        run("argus", "-X", "-r", str(self.file), "-w", str(read))
        self.assertEqual(found, self.argus_flows(read))

    @staticmethod
    def argus_flows(path, *which):
        """The flows of a file of argus that are UDP, or others, each with the number of its packets."""
        done = run("racluster", "-n", "-c", ",", "-r", str(path), "-s", "proto,saddr,sport,daddr,dport,pkts",
                   "-", *(which or ("udp",)), "and", "not", "man", check=False)
        return sorted(tuple(line.split(",")) for line in done.stdout.splitlines() if not line.startswith("Proto"))

    def test_what_does_not_fit_is_counted(self):
        agent = self.begin(frames=[bytes(13), bytes(65_536), FRAME])
        self.wait(lambda: self.count() == 1, "no frame")
        sll = self.agent(packet(FRAME, 1), source="127.0.0.2", link_type=113)
        self.await_start(sll)
        self.await_packets(4)
        self.assertIsNotNone(agent.data)
        sink = self.report()["interface"]
        self.assertEqual(sink["packets"], 1, sink)
        self.assertEqual(sink["reasons"], {
            "of another link type than Ethernet": 1, "shorter than an Ethernet header": 1,
            "too long": 1})

    def test_the_node_answers_nothing(self):
        self.make_node()
        agent = self.begin()
        own = mac_in(self.namespace, INTERFACE)
        before = self.spoken()
        heard, said = (
            self.dump("eth0", self.friend, f"host {FRIEND} or host {FRIEND_6}"),
            self.dump(INTERFACE, None, "-Qout"))
        frames = self.questions(own)
        agent.data.sendall(self.data(frames))
        self.wait(lambda: self.count() == len(frames), "not all frames")
        # The same questions from where the node answers, as a proof that they are good ones.
        self.assertEqual(self.spoken(), before)
        wire = packet_socket_in(self.friend, "eth0")
        self.addCleanup(wire.close)
        for frame in self.questions(mac_in(self.namespace, "node0")):
            wire.send(frame)
        self.wait(lambda: all(after > self.spoken_before(before, name)
                              for name, after in self.spoken().items()),
                  lambda: f"{before} {self.spoken()}")
        self.await_frames(heard, len(frames))
        # Nothing had been heard there before its own questions.
        self.assertEqual(self.frames_of(heard)[0], self.questions(mac_in(self.namespace, "node0"))[0])
        self.assertEqual(self.frames_of(said), [])

    @staticmethod
    def spoken_before(before, name):
        return before.get(name, 0)

    def make_node(self):
        """Makes the namespace a node that forwards, and answers whatever it is asked."""
        self.friend = f"{self.namespace}-f"
        add_namespace(self.friend)
        run_in(self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1",
               "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.proxy_arp=1",
               "net.ipv4.icmp_echo_ignore_broadcasts=0", "net.ipv4.conf.all.rp_filter=0",
               "net.ipv4.conf.default.rp_filter=0", "net.ipv4.icmp_ratelimit=0")
        run_in(self.friend, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
               "net.ipv6.conf.default.disable_ipv6=1")
        add_wire(self.namespace, "node0", self.friend)
        ip_in(self.friend, "link", "set", "eth0", "arp", "off")
        ip_in(self.namespace, "addr", "add", f"{NODE}/24", "dev", "node0")
        ip_in(self.namespace, "addr", "add", f"{NODE_6}/64", "dev", "node0", "nodad")
        for address in (FRIEND, FRIEND_6):
            ip_in(self.namespace, "neigh", "replace", address, "lladdr", OTHER.hex(":"), "dev", "node0")
        ip_in(self.namespace, "route", "add", "default", "via", FRIEND)

    def questions(self, mac):
        """What the node would answer, or forward, if it heard it from a neighbour."""
        whole = ipv4(FRIEND, NODE, 1, echo(False, 1))
        return [
            ethernet(BROADCAST, OTHER, ARP, arp_request(FRIEND, NODE)),
            ethernet(BROADCAST, OTHER, ARP, arp_request(FRIEND, FAR)),
            ethernet(mac, OTHER, IPV4, whole), ethernet(BROADCAST, OTHER, IPV4, whole),
            ethernet(POD, OTHER, IPV4, whole),
            ethernet(mac, OTHER, IPV4, ipv4(FRIEND, NODE, 17, udp(40_000, 9))),
            ethernet(mac, OTHER, IPV4, ipv4(FRIEND, FAR, 17, udp(40_000, 9))),
            ethernet(BROADCAST, OTHER, IPV4, ipv4(FRIEND, "192.0.2.255", 1, echo(False, 2))),
            ethernet(mac, OTHER, IPV6, icmpv6(FRIEND_6, NODE_6, 128, bytes(8))),
            ethernet(bytes.fromhex("3333ff000001"), OTHER, IPV6, icmpv6(
                FRIEND_6, "ff02::1:ff00:1", 135,
                bytes(4) + ipaddress.IPv6Address(NODE_6).packed + b"\x01\x01" + OTHER)),
        ]

    def spoken(self):
        """The counts of what the node's stack has answered and forwarded."""
        counts = {}
        lines = run_in(self.namespace, "cat", "/proc/net/snmp").stdout.splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            group = names.split()[0]
            counts.update({group + name: int(value) for name, value in
                           zip(names.split()[1:], values.split()[1:])})
        for line in run_in(self.namespace, "cat", "/proc/net/snmp6").stdout.splitlines():
            counts[line.split()[0]] = int(line.split()[1])
        return {name: counts[name] for name in (
            "Ip:ForwDatagrams", "Icmp:OutEchoReps", "Icmp:OutDestUnreachs", "Icmp6OutEchoReplies",
            "Icmp6OutNeighborAdvertisements")}

    def test_an_interface_that_goes_is_made_again(self):
        agent = self.begin(frames=[FRAME])
        self.wait(lambda: self.count() == 1, "no frame")
        ip_in(self.namespace, "link", "set", INTERFACE, "down")
        agent.data.sendall(self.data([FRAME] * 2))
        self.await_text("interface off")
        ip_in(self.namespace, "link", "set", INTERFACE, "up")
        agent.data.sendall(self.data([FRAME]))
        self.await_text("interface on again")
        ip_in(self.namespace, "link", "del", INTERFACE)
        agent.data.sendall(self.data([FRAME] * 3))
        self.await_text("interface deleted")
        self.await_text("interface made again")
        agent.data.sendall(self.data([FRAME] * 4))
        self.wait(lambda: self.count() == 4, "not made again")
        sink = self.report()["interface"]
        self.assertEqual(sink["reasons"], {"interface off": 2, "interface deleted": 3}, sink)
        self.assertEqual(sink["packets"], 6)
        # Nothing else suffers.
        self.assertEqual(len(captures.read(self.file)), 11)
        self.assertEqual(self.text().count("warning interface off"), 1, self.text())

    def test_what_keeps_it_from_being_made(self):
        ip_in(self.namespace, "link", "add", "taken0", "type", "veth", "peer", "name", "taken1")
        for name, code, text in (
                ("taken0", 71, "an interface has already: choose another"),
                ("a" * 16, 64, "at most 15 bytes"), ("a/b", 64, "other than / : %"),
                ("pods%d", 64, "other than / : %"), ("all", 64, "cannot have that name"),
                ("", 64, "an interface has a name")):
            with self.subTest(name):
                done = run(*self.command("--interface", name), check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stderr)
        done = run(*command_in(self.namespace, "setpriv", "--bounding-set", "-net_admin", "--inh-caps",
                               "-net_admin", PODWIRE, "collect", "--interface", INTERFACE), check=False)
        self.assertEqual(done.returncode, 71, done.stderr)
        self.assertIn("needs CAP_NET_ADMIN", done.stderr)
        self.assertEqual(set(self.links()), {"lo", "taken0", "taken1"})


class TunnelTest(SinkCase):
    """Tunnels to a receiver at the other end of a wire."""

    def setUp(self):
        super().setUp()
        self.far = f"{self.namespace}-t"
        add_namespace(self.far)
        add_wire(self.namespace, "wire0", self.far)
        ip_in(self.namespace, "addr", "add", f"{NEAR_END}/24", "dev", "wire0")
        ip_in(self.far, "addr", "add", f"{FAR_END}/24", "dev", "eth0")
        for name, ends in ((self.namespace, ("fd00:9::1", "wire0")), (self.far, ("fd00:9::2", "eth0"))):
            ip_in(name, "addr", "add", f"{ends[0]}/64", "dev", ends[1], "nodad")
        # While the kernel asks who has an address, it drops what does not fit a short queue.
        for address in (FAR_END, "fd00:9::2"):
            ip_in(self.namespace, "neigh", "replace", address, "dev", "wire0", "lladdr",
                  mac_in(self.far, "eth0").hex(":"))

    def test_the_kernel_gets_the_frames_of_the_file(self):
        ip_in(self.far, "link", "add", "vx0", "type", "vxlan", "id", NETWORK, "dstport", 4789, "dev",
              "eth0")
        ip_in(self.far, "link", "set", "vx0", "up")
        inner, outer = (
            self.dump("vx0", self.far, "-Qin"), self.dump("eth0", self.far, "udp port 4789"))
        frames = flows() + [ethernet(OTHER, POD, 0x88b5, bytes(size)) for size in (1500, 9000, 65_000)]
        self.begin("--tunnel", f"vxlan://{FAR_END}?vni={NETWORK}", frames=frames)
        self.await_frames(inner, len(frames))
        sink = self.report()["vxlan"]
        self.assertEqual((sink["packets"], sink["lost"]), (len(frames), 0), sink)
        # Each flow keeps its order, and flows leave by one port after the other.
        self.assertEqual(sorted(self.frames_of(inner)), sorted(frames))
        self.assertEqual(sorted(self.frames_of(self.file)), sorted(frames))
        self.check_ports(outer)

    def check_ports(self, outer):
        """Both directions of a flow have one port, and flows are spread over ports."""
        done = run("tshark", "-r", outer, "-Y", "vxlan && udp.port == 53", "-T", "fields", "-e",
                   "udp.srcport", "-e", "vxlan.vni", "-e", "vxlan.flags", "-e", "udp.dstport",
                   "-e", "eth.type")
        ports = {}
        for line in done.stdout.splitlines():
            sources, network, flags, destinations, types = line.split("\t")
            (outer_port, inner), (standard, other) = sources.split(","), destinations.split(",")
            self.assertEqual((network, flags, standard), (str(NETWORK), "0x0800", "4789"), line)
            family = IPV6 if "86dd" in types else IPV4
            ports.setdefault((family, max(int(inner), int(other))), set()).add(int(outer_port))
        self.assertEqual(len(ports), 80)
        self.assertEqual({len(of_flow) for of_flow in ports.values()}, {1}, ports)
        used = set.union(*ports.values())
        self.assertTrue(all(49_152 <= port <= 65_535 for port in used), used)
        self.assertGreater(len(used), 20)

    def test_geneve_over_ipv6(self):
        outer = self.dump("eth0", self.far, "udp port 6081")
        frames = flows()
        self.begin("--tunnel", "geneve://[fd00:9::2]?vni=16777215", frames=frames)
        self.await_frames(outer, len(frames))
        done = run("tshark", "-r", outer, "-Y", "geneve", "-T", "fields", "-e", "geneve.version", "-e",
                   "geneve.vni", "-e", "geneve.proto_type", "-e", "geneve.option.length", "-e",
                   "udp.checksum.status", "-o", "udp.check_checksum:TRUE", "-E", "occurrence=f")
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), len(frames))
        self.assertEqual({line.split("\t")[0:3][0] for line in lines}, {"0"}, lines[0])
        self.assertEqual({line.split("\t")[1] for line in lines}, {"0xffffff"}, lines[0])
        self.assertEqual({line.split("\t")[2] for line in lines}, {"0x6558"}, lines[0])
        # Ethernet, IPv6, UDP and GENEVE are before the frame.
        inner = sorted(frame[14 + 40 + 8 + 8:] for frame in self.frames_of(outer))
        self.assertEqual(inner, sorted(frames))
        self.assertEqual(self.report()["geneve"]["lost"], 0)

    def test_a_receiver_that_is_not_there_does_no_harm(self):
        # The first receiver refuses; at the address of the second there is nobody.
        outer = self.dump("eth0", self.far, "icmp")
        agent = self.begin("--tunnel", f"vxlan://{FAR_END}", "--tunnel", "geneve://203.0.113.99",
                           "--tunnel", "vxlan://nobody.invalid", "--tunnel", "vxlan://198.51.100.1",
                           frames=[FRAME] * 10)
        self.await_frames(outer, 1)
        self.await_text("tunnel not open", 2)
        count = 10
        # The kernel tells of an earlier packet when the next one is sent.
        while not all(text in self.text() for text in ("Connection refused", "No route to host")):
            agent.data.sendall(self.data([FRAME]))
            count += 1
            self.await_packets(count)
            self.assertLess(count, 2000, self.text())
            time.sleep(0.05)
        self.assertEqual(len(captures.read(self.file)), count)
        for text in ("Connection refused", "No route to host", "not open reason=\"resolve nobody"):
            self.assertEqual(self.text().count(text), 1, self.text())
        # Who begins to listen gets what follows.
        receiver = socket_in(self.far, kind=socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.settimeout(PATIENCE_SECONDS)
        receiver.bind((FAR_END, 4789))
        agent.data.sendall(self.data([FRAME] * 2))
        data = bytes.fromhex("0800000000000100") + FRAME
        self.assertEqual([receiver.recv(2000) for _ in range(2)], [data] * 2)
        self.end()
        outputs = json.loads(self.collector.stdout.read())["outputs"]
        lost = {output["where"].split("//")[1].split(":")[0]: output["reasons"] for output in outputs
                if "//" in output["where"]}
        self.assertEqual(lost["nobody.invalid"], {"no address or route": count + 2})
        self.assertEqual(lost["198.51.100.1"], {"no address or route": count + 2})
        self.assertEqual(set(lost["203.0.113.99"]) - {"receiver unreachable", "queue full"}, set())

    def test_a_slow_wire_loses_packets_and_counts_them(self):
        run_in(self.namespace, "tc", "qdisc", "add", "dev", "wire0", "root", "tbf", "rate", "100kbit",
               "burst", "3000", "limit", "10000")
        count = 2000
        self.begin("--tunnel", f"vxlan://{FAR_END}", frames=[FRAME + bytes(1000)] * count)
        self.await_packets(count)
        sink = self.report()["vxlan"]
        self.assertEqual(sink["packets"] + sink["lost"], count, sink)
        self.assertGreater(sink["reasons"].get("device full", 0), 0, sink)

    def test_what_cannot_be_understood(self):
        for text, reason in (
                ("sensor", "it begins with vxlan:// or geneve://"),
                ("vxlan://sensor?vni=16777216", "vni is a number from 0 to 16777215"),
                ("vxlan://fd00::1", "belongs in brackets"), ("vxlan://a/b", "has no path")):
            with self.subTest(text):
                done = run(*self.command("--tunnel", text), check=False)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn(reason, done.stderr)
        done = run(*self.command("--tunnel", "vxlan://a", "--tunnel", "VXLAN://a:4789?vni=1"),
                   check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("it is given twice", done.stderr)


if __name__ == "__main__":
    unittest.main()
