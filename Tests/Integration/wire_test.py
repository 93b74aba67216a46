"""Frames as the wire would have carried them: pods exchange real traffic with all offloads on, and tshark
finds nothing in the sensor's file that a cable would not have shown.

PODWIRE names the binary. Each network has a test bed of its own.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
TOOLS = pathlib.Path(__file__).resolve().parent.parent.parent / "tools"
sys.path[:0] = [str(TOOLS / "lib"), str(pathlib.Path(__file__).resolve().parent)]
from program import PODWIRE, Program  # noqa: E402

PREFIX = f"wt{os.getpid()}"
NETWORKS = {"PODNET": "10.244.0.0/16,fd00:10:244::/56", "SVCNET": "10.96.0.0/16,fd00:10:96::/112"}
PORT = 80
FILE_SIZE = 4 << 20
# So much a second leaves the rings time to grow.
BYTES_PER_SECOND = 20 << 20

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
pause = float(sys.argv[3])
while data := sys.stdin.buffer.read(1 << 17):
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
SINK = r"""
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sink = socket.socket(family, socket.SOCK_DGRAM)
sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
sink.bind((sys.argv[1], 4433))
print("ready", file=sys.stderr, flush=True)
while True:
    sink.recv(65536)
"""


def testbed(*arguments):
    subprocess.run([TOOLS / "testbed", "--prefix", PREFIX, *arguments], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def address(pod, family):
    node, number = pod[1], 2 + "abc".index(pod[0])
    return f"10.244.{node}.{number}" if family == 4 else f"fd00:10:244:{node}::{number}"


class Bench:
    """Everything below is done on each network, by classes that say which."""

    @classmethod
    def setUpClass(cls):
        testbed("up", cls.network)

    @classmethod
    def tearDownClass(cls):
        testbed("down")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = f"{folder.name}/sensor.pcapng"

    def start(self, name, *arguments, **keywords):
        program = Program(f"{PREFIX}-{name}", *arguments, **{**NETWORKS, **keywords})
        self.addCleanup(program.kill)
        return program

    def begin(self, **keywords):
        self.collector = self.start("outside", "collect", "--output", self.file)
        self.collector.await_text("listening")
        self.agents = [self.start(f"node{node}", "agent", EXTRAHOP_SENSOR_IP="192.168.100.100",
                                  **keywords) for node in (1, 2)]
        for agent in self.agents:
            agent.await_text("capture started")

    def end(self):
        time.sleep(0.5)
        for program in (*self.agents, self.collector):
            self.assertEqual(program.stop(), 0, program.text())
        for agent in self.agents:
            counts = agent.counts()
            self.assertEqual((counts["dropped_by_ring"], counts["dropped_by_queue"]), (0, 0),
                             agent.text())

    def python(self, pod, program, *arguments, **keywords):
        return subprocess.Popen(["ip", "netns", "exec", f"{PREFIX}-{pod}", sys.executable, "-c",
                                 program, *map(str, arguments)], **keywords)

    def serve(self, pod, program, *arguments):
        server = self.python(pod, program, *arguments, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.assertEqual(server.stderr.readline(), b"ready\n")
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return server

    def transfer(self, client, server, family, port):
        """Sends a file from one pod to another, which gets it whole."""
        end = address(server, family)
        receiver = self.serve(server, RECEIVER, end, port)
        data = os.urandom(FILE_SIZE)
        received = []
        reader = threading.Thread(target=lambda: received.append(receiver.stdout.read()))
        reader.start()
        sender = self.python(client, SENDER, end, port, 1 / BYTES_PER_SECOND, stdin=subprocess.PIPE)
        sender.communicate(data, timeout=30)
        reader.join(30)
        self.assertEqual((sender.returncode, received), (0, [data]))
        return hashlib.sha256(data).hexdigest()

    def tshark(self, *arguments):
        return subprocess.run(
            ["tshark", "-r", self.file, "-o", "ip.check_checksum:TRUE", "-o",
             "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", *arguments], check=True,
            capture_output=True, text=True, timeout=120).stdout

    def check_is_as_on_a_wire(self):
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertLessEqual(max(sizes), self.mtu + 14)
        self.assertGreater(sum(size == self.mtu + 14 for size in sizes), 1000)
        for bad in ("ip.checksum.status==0", "tcp.checksum.status==0", "udp.checksum.status==0",
                    "icmp.checksum.status==0", "icmpv6.checksum.status==0",
                    # Segments may overtake others, but what is acknowledged has to be there.
                    "tcp.analysis.ack_lost_segment",
                    "tcp.segment.overlap", "frame.cap_len < frame.len"):
            with self.subTest(bad):
                self.assertEqual(self.tshark("-Y", bad), "")

    def reassembled(self, port):
        """The hash of what went to a port, by the sequence numbers of its segments."""
        rows = self.tshark("-Y", f"tcp.dstport=={port} && tcp.len>0", "-T", "fields", "-e",
                           "tcp.seq", "-e", "tcp.payload").splitlines()
        parts = dict((int(row.split("\t")[0]), bytes.fromhex(row.split("\t")[1])) for row in rows)
        self.assertEqual(len(parts), len(rows), "a segment came twice")
        data, expected = [], 1
        for sequence in sorted(parts):
            self.assertEqual(sequence, expected)
            data.append(parts[sequence])
            expected += len(parts[sequence])
        return hashlib.sha256(b"".join(data)).hexdigest()

    def test_a_file_over_tcp(self):
        self.begin()
        hashes = {}
        # Across the nodes and on one, both families, and towards the edge that reports or from it.
        for port, (client, server, family) in enumerate(
                (("a1", "b2", 4), ("a1", "b2", 6), ("a1", "c1", 4), ("c2", "b2", 6)), PORT):
            hashes[port] = self.transfer(client, server, family, port)
        self.end()
        self.assertTrue(any(agent.counts().get("segmented", 0) > 100 for agent in self.agents),
                        "there were no super-frames to cut")
        self.check_is_as_on_a_wire()
        for port, expected in hashes.items():
            self.assertEqual(self.reassembled(port), expected)

    def test_iperf(self):
        self.begin()
        for client, server, family in (("a1", "b2", 4), ("c2", "b2", 6)):
            serving = subprocess.Popen(
                ["ip", "netns", "exec", f"{PREFIX}-{server}", "iperf3", "-s", "-1", "--forceflush",
                 "-p", str(PORT)], stdout=subprocess.PIPE, text=True)
            while "listening" not in serving.stdout.readline():
                pass
            subprocess.run(["ip", "netns", "exec", f"{PREFIX}-{client}", "iperf3", "-c",
                            address(server, family), "-p", str(PORT), "-b", "50M", "-P", "2", "-t",
                            "2"], check=True, stdout=subprocess.DEVNULL, timeout=60)
            serving.communicate()
            subprocess.run(["ip", "netns", "exec", f"{PREFIX}-{client}", "ping", "-q", "-c", "3", "-i",
                            "0.1", "-s", "1400", address(server, family)], check=True,
                           stdout=subprocess.DEVNULL, timeout=60)
        self.end()
        self.check_is_as_on_a_wire()

    def test_datagrams_that_leave_as_one(self):
        self.begin()
        for family in (4, 6):
            end = address("b2", family)
            self.serve("b2", SINK, end)
            sender = self.python("a1", DATAGRAMS, end, self.mtu - 100, 2000)
            self.assertEqual(sender.wait(60), 0)
        self.end()
        for bad in ("udp.checksum.status==0", "ip.checksum.status==0", "_ws.malformed"):
            self.assertEqual(self.tshark("-Y", bad), "")
        for filter in ("ip", "ipv6"):
            rows = self.tshark("-Y", f"udp.dstport==4433 && {filter}", "-T", "fields", "-e",
                               "udp.length", "-e", "udp.payload").splitlines()
            numbers = [int(row.split("\t")[1][:8], 16) for row in rows]
            self.assertEqual(numbers, list(range(2000)))
            sizes = {int(row.split("\t")[0]) - 8 for row in rows}
            self.assertEqual(sizes, {self.mtu - 100, self.mtu - 107})

    def test_a_snaplen_cuts_segments_and_not_what_they_are_made_of(self):
        self.begin(PODWIRE_SNAPLEN="80")
        self.transfer("a1", "b2", 4, PORT)
        self.end()
        rows = self.tshark("-Y", f"tcp.dstport=={PORT}", "-T", "fields", "-e", "frame.cap_len", "-e",
                           "frame.len").splitlines()
        rows = [tuple(map(int, row.split())) for row in rows]
        self.assertTrue(all(kept == min(80, whole) for kept, whole in rows))
        self.assertGreaterEqual(sum(whole - 66 for _, whole in rows), FILE_SIZE)

    def test_raw_frames_stay_as_they_are(self):
        self.begin(PODWIRE_FRAMES="raw")
        self.transfer("a1", "b2", 4, PORT)
        self.end()
        sizes = [int(size) for size in self.tshark("-T", "fields", "-e", "frame.len").split()]
        self.assertGreater(max(sizes), 2 * self.mtu)


class BridgeTest(Bench, unittest.TestCase):
    network, mtu = "bridge", 1500


class VXLANTest(Bench, unittest.TestCase):
    network, mtu = "vxlan", 1450


if __name__ == "__main__":
    unittest.main()
