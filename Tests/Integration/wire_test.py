"""Frames as the wire would have carried them: pods exchange real traffic with all offloads on, and tshark
finds nothing in the sensor's file that a cable would not have shown.

PODWIRE names the binary. Each network has a test bed of its own.
"""

import collections
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

from support.cluster import Cluster, ClusterCase
from support.commands import run
from support.endpoint import Endpoint
from support.frames import SYN, TCP, UDP
from support.namespace import command_in, run_in
from support.packet_sizes import LargestPacket, devices_in, set_packet_size
from support.waiting import PATIENCE_SECONDS

PORT = 80
FILE_SIZE = 4 << 20
# So much a second leaves the rings time to grow, also where others keep the processors busy.
BYTES_PER_SECOND = 8 << 20
DATAGRAM_PORT, DATAGRAM_COUNT, DATAGRAMS_AT_ONCE = 4433, 2000, 20
# Above a client's port, so that the client's edge reports the connection.
HIGH_PORT = 65000
# What a block of a ring holds if nothing asks for more.
SMALL_BLOCK_SIZE = 128 << 10
BIG_TCP_SIZES = (185_000, 524_280)
NORMAL_SIZE = 65_536

# What comes in over one connection, to standard output.
RECEIVER = r"""
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen()
print("ready", file=sys.stderr, flush=True)
connection = listener.accept()[0]
while data := connection.recv(1 << 20):
    sys.stdout.buffer.write(data)
"""
# Standard input over one connection, in large writes and not too fast.
SENDER = r"""
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
pause, size = float(sys.argv[3]), int(sys.argv[4])
while data := sys.stdin.buffer.read(size):
    connection.sendall(data)
    time.sleep(len(data) * pause)
"""
# Datagrams that leave as one frame of many, as QUIC sends them: SIZE bytes each, numbered.
DATAGRAMS = r"""
import socket, sys, time
address, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
out = socket.socket(family, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_UDP, 103, size)
for first in range(0, count, 20):
    parts = [number.to_bytes(4, "big").ljust(size, b".") for number in range(first, first + 20)]
    # The last one may be shorter.
    out.sendto(b"".join(parts)[:-7], (address, 4433))
    time.sleep(0.005)
"""


def address(pod, family):
    node, number = pod[1], 2 + "abc".index(pod[0])
    return f"10.244.{node}.{number}" if family == 4 else f"fd00:10:244:{node}::{number}"


class WireCase:
    """Everything below is done on each network, by classes that say which."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("wt", cls.network)
        cls.addClassCleanup(cls.cluster.remove)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name, "sensor.pcapng")

    def begin(self, **keywords):
        self.collector = self.start_collector()
        # Others that keep the processors busy do not keep the agents from emptying their rings.
        self.agents = [self.start_agent(node, PODWIRE_NICE="-20", **keywords) for node in (1, 2)]

    def finish(self):
        """Ends all, none of whom may have lost anything."""
        self.end(self.collector, *self.agents)
        for agent in self.agents:
            counts = agent.counts()
            self.assertEqual((counts["dropped_by_ring"], counts["dropped_by_queue"]), (0, 0),
                             agent.text())

    def transfer(self, client, server, family, port, write_size=1 << 17):
        """Sends a file from one pod to another, which gets it whole, and returns its bytes."""
        end = address(server, family)
        receiver = self.serve(server, RECEIVER, end, port)
        data = os.urandom(FILE_SIZE)
        received = []
        reader = threading.Thread(target=lambda: received.append(receiver.stdout.read()))
        reader.start()
        sender = subprocess.Popen(
            self.cluster.python(client, SENDER, end, port, 1 / BYTES_PER_SECOND, write_size),
            stdin=subprocess.PIPE)
        sender.communicate(data, timeout=PATIENCE_SECONDS)
        reader.join(PATIENCE_SECONDS)
        self.assertEqual((sender.returncode, received), (0, [data]))
        return data

    def tshark(self, *arguments):
        return run("tshark", "-r", self.file, "-o", "ip.check_checksum:TRUE", "-o",
                   "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", *arguments).stdout

    def check_is_as_on_a_wire(self):
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertLessEqual(max(sizes), self.mtu + 14)
        self.assertGreater(sum(size == self.mtu + 14 for size in sizes), 1000)
        for bad in ("ip.checksum.status==0", "tcp.checksum.status==0", "udp.checksum.status==0",
                    "icmp.checksum.status==0", "icmpv6.checksum.status==0",
                    # Segments may overtake others, but what is acknowledged has to be there.
                    "tcp.analysis.ack_lost_segment", "frame.cap_len < frame.len"):
            with self.subTest(bad):
                self.assertEqual(self.tshark("-Y", bad), "")
        self.check_nothing_is_doubled()

    def check_nothing_is_doubled(self):
        """TCP may send bytes again, on a busy machine after some milliseconds, and a wire carries them
        again. That is another packet: it has another identification, or another time stamp. The same
        packet twice is one that the agent has doubled."""
        packets = collections.Counter(
            (frame.source, frame.destination, frame.source_port, frame.destination_port,
             frame.identification, frame.timestamps, frame.sequence, frame.payload)
            for frame in self.frames() if frame.protocol == TCP and frame.payload)
        self.assertGreater(len(packets), 1000)
        self.assertEqual([key[:-1] for key, count in packets.items() if count > 1], [])

    def reassembled(self, port):
        """What went to a port, by the sequence numbers of its segments. What was sent again has to be
        what was sent before."""
        segments = [frame for frame in self.frames() if frame.goes_to(TCP, port)]
        start = next(frame.sequence + 1 for frame in segments if frame.flags & SYN)
        data, is_there = bytearray(FILE_SIZE), bytearray(FILE_SIZE)
        for segment in segments:
            begin = (segment.sequence - start) % (1 << 32)
            end = begin + len(segment.payload)
            for known, before, byte in zip(is_there[begin:end], data[begin:end], segment.payload):
                if known and before != byte:
                    self.fail(f"the bytes from {begin} on were sent again, and are others")
            data[begin:end] = segment.payload
            is_there[begin:end] = b"\1" * len(segment.payload)
        self.assertEqual(is_there.count(0), 0, "bytes are missing")
        return bytes(data)

    def test_a_file_over_tcp(self):
        self.begin()
        # Across the nodes and on one, both families, and towards the edge that reports or from it.
        sent = {port: self.transfer(client, server, family, port)
                for port, (client, server, family) in enumerate(
                    (("a1", "b2", 4), ("a1", "b2", 6), ("a1", "c1", 4), ("c2", "b2", 6)), PORT)}
        self.finish()
        self.assertTrue(any(agent.counts().get("segmented", 0) > 100 for agent in self.agents),
                        "there were no super-frames to cut")
        self.check_is_as_on_a_wire()
        for port, data in sent.items():
            self.assertEqual(self.reassembled(port), data)

    def test_iperf(self):
        self.begin()
        for client, server, family in (("a1", "b2", 4), ("c2", "b2", 6)):
            serving = subprocess.Popen(
                command_in(self.cluster.name(server), "iperf3", "-s", "-1", "--forceflush", "-p",
                           PORT), stdout=subprocess.PIPE, text=True)
            self.addCleanup(serving.kill)
            while "listening" not in serving.stdout.readline():
                pass
            end = address(server, family)
            self.cluster.run(client, "iperf3", "-c", end, "-p", PORT, "-b", "20M", "-P", 2, "-t", 2)
            serving.communicate()
            self.ping(client, end, size=1400)
        self.finish()
        self.check_is_as_on_a_wire()

    def set_packet_sizes(self, size):
        """Lets all pods and both nodes make packets of a size, and sends much at once."""
        self.addCleanup(self.set_sizes, NORMAL_SIZE)
        self.set_sizes(size)

    def set_sizes(self, size):
        for node in (1, 2):
            name = self.cluster.name(f"node{node}")
            for kind in ("veth", "bridge"):
                set_packet_size(name, size, *devices_in(name, kind))
            for pod in "abc":
                name = self.cluster.name(f"{pod}{node}")
                set_packet_size(name, size, "eth0")
                run_in(name, "sysctl", "-qw", "net.ipv4.tcp_wmem=4096 4194304 16777216",
                       "net.ipv4.tcp_rmem=4096 4194304 16777216")

    def transfer_much(self, *transfers):
        """Sends files in large packets, and returns them by their ports."""
        largest = LargestPacket(self.cluster.name("node1"))
        self.addCleanup(largest.close)
        sent = {port: self.transfer(client, server, family, port, 1 << 20)
                for client, server, family, port in transfers}
        self.assertGreater(largest.byte_count, SMALL_BLOCK_SIZE)
        return sent

    def test_big_tcp(self):
        for size in BIG_TCP_SIZES:
            with self.subTest(size=size):
                self.file.unlink(missing_ok=True)
                self.set_packet_sizes(size)
                self.begin()
                # On one node, both families, and towards the edge that reports or from it; and across
                # the nodes, where a kernel may refuse to route such a packet of IPv6.
                sent = self.transfer_much(
                    ("a1", "c1", 4, PORT), ("a1", "c1", 6, PORT + 1), ("c1", "a1", 4, HIGH_PORT),
                    ("c1", "a1", 6, HIGH_PORT + 1), ("a1", "b2", 4, PORT + 2))
                self.finish()
                counts = self.agents[0].counts()
                self.assertEqual(counts["dropped_by_block"], 0)
                self.assertEqual([name for name in counts if name.startswith("unrepaired")], [])
                self.check_is_as_on_a_wire()
                for port, data in sent.items():
                    self.assertEqual(self.reassembled(port), data)

    def test_datagrams_that_leave_as_one(self):
        self.begin()
        self.send_datagrams()

    def send_datagrams(self):
        self.sink("b2", DATAGRAM_PORT)
        for family in (4, 6):
            sender = self.cluster.python("a1", DATAGRAMS, address("b2", family), self.mtu - 100,
                                         DATAGRAM_COUNT)
            self.assertEqual(subprocess.run(sender, timeout=PATIENCE_SECONDS).returncode, 0)
        self.finish()
        for bad in ("udp.checksum.status==0", "ip.checksum.status==0", "_ws.malformed"):
            self.assertEqual(self.tshark("-Y", bad), "")
        for version in (4, 6):
            datagrams = [frame for frame in self.frames()
                         if frame.version == version and frame.goes_to(UDP, DATAGRAM_PORT)]
            numbers = [int.from_bytes(datagram.payload[:4], "big") for datagram in datagrams]
            # Those that left as one come one after the other; a sender that the kernel moves to
            # another processor may overtake itself.
            groups = [numbers[first:first + DATAGRAMS_AT_ONCE]
                      for first in range(0, len(numbers), DATAGRAMS_AT_ONCE)]
            self.assertEqual(sorted(groups), [
                list(range(first, first + DATAGRAMS_AT_ONCE))
                for first in range(0, DATAGRAM_COUNT, DATAGRAMS_AT_ONCE)])
            self.assertEqual({len(datagram.payload) for datagram in datagrams},
                             {self.mtu - 100, self.mtu - 107})

    def test_a_snaplen_cuts_segments_and_not_what_they_are_made_of(self):
        self.begin(PODWIRE_SNAPLEN="80")
        self.transfer("a1", "b2", 4, PORT)
        self.finish()
        rows = self.tshark("-Y", f"tcp.dstport=={PORT}", "-T", "fields", "-e", "frame.cap_len", "-e",
                           "frame.len").splitlines()
        rows = [tuple(map(int, row.split())) for row in rows]
        self.assertTrue(all(kept == min(80, whole) for kept, whole in rows))
        self.assertGreaterEqual(sum(whole - 66 for _, whole in rows), FILE_SIZE)

    def test_raw_frames_stay_as_they_are(self):
        self.begin(PODWIRE_FRAMES="raw")
        self.transfer("a1", "b2", 4, PORT)
        self.finish()
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertGreater(max(sizes), 2 * self.mtu)


class BridgeTest(WireCase, ClusterCase):
    network, mtu = "bridge", 1500

    def check_is_logged_once(self, text):
        """There is a line with a text for each edge that it concerns."""
        lines = self.agents[0].lines(text)
        edges = [word for line in lines for word in line.split() if word.startswith("edge=")]
        self.assertEqual(len(edges), len(set(edges)), lines)
        self.assertGreater(len(edges), 0)

    def test_packets_that_become_larger_while_the_agent_runs(self):
        self.begin()
        agent, transfer = self.agents[0], ("a1", "c1", 6)
        self.transfer(*transfer, PORT)
        # The kernel has no event for it, so the first packets are cut.
        self.set_packet_sizes(BIG_TCP_SIZES[0])
        self.transfer_much((*transfer, PORT + 1))
        Endpoint(agent.namespace).await_metrics(
            lambda metrics: metrics.sum("podwire_rings_replaced_total") > 0)
        sent = self.transfer_much((*transfer, PORT + 2))
        self.end(self.collector, *self.agents)
        self.assertGreater(agent.counts()["dropped_by_block"], 0)
        self.check_is_logged_once("a packet was larger than a block of its edge's ring")
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertLessEqual(max(sizes), self.mtu + 14)
        self.assertEqual(self.reassembled(PORT + 2), sent[PORT + 2])

    def test_packets_for_which_there_is_no_memory(self):
        self.set_packet_sizes(BIG_TCP_SIZES[1])
        self.begin(PODWIRE_RING_MEMORY="1MiB")
        self.check_is_logged_once("there is no memory for a ring that holds")
        self.transfer_much(("a1", "c1", 6, PORT))
        self.end(self.collector, *self.agents)
        counts = self.agents[0].counts()
        self.assertGreater(counts["dropped_by_block"], 0)
        self.assertGreater(counts["rings_too_small"], 0)
        self.check_is_logged_once("a packet was larger than a block of its edge's ring")
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertLessEqual(max(sizes), self.mtu + 14)

    def chain(self):
        """Has a node finish what it sends, and the other one chain what it receives."""
        # A veth hands over to GRO only if the sending end does not do it all itself.
        for name, device, features in (
                ("node1", "uplink", {"tx": "off", "tso": "off", "gso": "off",
                                     "tx-udp-segmentation": "off"}),
                ("wire", "to-node2", {"tso": "off"}),
                ("node2", "uplink", {"gro": "on", "rx-gro-list": "on"})):
            self.switch(name, device, features)
            other = {"on": "off", "off": "on"}
            self.addCleanup(self.switch, name, device,
                            {feature: other[state] for feature, state in features.items()})

    def switch(self, name, device, features):
        words = [word for feature in features.items() for word in feature]
        self.cluster.run(name, "ethtool", "-K", device, *words)

    def test_packets_that_the_kernel_has_chained(self):
        self.chain()
        self.begin()
        sent = {PORT: self.transfer("a1", "b2", 4, PORT), 81: self.transfer("a1", "b2", 6, 81)}
        self.finish()
        counts = self.agents[1].counts()
        self.assertGreater(counts["segmented"], 100)
        self.assertEqual([name for name in counts if name.startswith("unrepaired")], [])
        self.check_is_as_on_a_wire()
        for port, data in sent.items():
            self.assertEqual(self.reassembled(port), data)

    def test_datagrams_that_the_kernel_has_chained(self):
        self.chain()
        self.begin()
        self.send_datagrams()
        counts = self.agents[1].counts()
        self.assertGreater(counts["segmented"], 100)
        self.assertEqual([name for name in counts if name.startswith("unrepaired")], [])


class VXLANTest(WireCase, ClusterCase):
    network, mtu = "vxlan", 1450


if __name__ == "__main__":
    unittest.main()
