"""Requests that nobody answers: when they reach the sensor, how they are counted, and what a flood of them
costs.

PODWIRE names the binary. FLOOD_SECONDS says how long the flood lasts.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

from support import INTEGRATION
from support.cluster import Cluster, ClusterCase
from support.endpoint import REQUEST_FATES, Endpoint
from support.frames import ICMP, SYN, TCP, Frame
from support.namespace import command_in
from support.sensor import HEADER, Recording, Stream
from support.waiting import wait_until

FLOOD_SECONDS = int(os.environ.get("FLOOD_SECONDS", 20))
FLOOD_FRAMES_PER_SECOND = 50_000
# A machine with other things to do makes fewer; these it has to make.
FLOOD_FRAMES_PER_SECOND_MIN = 5_000
# What the agent may need for it: 32,768 requests of 128 bytes, with what is known about them.
FLOOD_BYTES_MAX = 16 << 20
# Ordinary calls beside the flood.
CALL_COUNT = 200
A1, B1, C1, DEAD = "10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.2.77"
NODE1 = "192.168.100.1"
# What the test bed drops on the own node, rejects with a reset on the node of a1, and does not touch.
DROPPED_PORT, RESET_PORT, OPEN_PORT = 8512, 8531, 8001
# A request is reported at most so late, and an answered one far sooner.
LATE_SECONDS = 0.75
HELD_SECONDS = 0.5
ATTEMPTS, PING_COUNT = 5, 3
REASONS = ("table_full", "too_long", "foreign_source")
cluster = None


def setUpModule():
    global cluster
    cluster = RequestsTest.cluster = Cluster("rq", "bridge")
    unittest.addModuleCleanup(cluster.remove)


class Delays(Stream):
    """How many seconds after they were sent a session's frames came."""

    def __init__(self, path):
        super().__init__(path, is_whole=True)
        self.arrivals = []

    def take(self, piece, arrival):
        data, offset = self.pending + piece, 0
        while offset + HEADER.size <= len(data):
            _, length, seconds, micros, _, _, _ = HEADER.unpack_from(data, offset)
            end = offset + 8 + length
            if end > len(data):
                break
            frame = Frame(data[offset + HEADER.size:end])
            self.arrivals.append((arrival - seconds - micros / 1e6, frame))
            offset = end
        self.pending = data[offset:]


class DelayRecording(Recording):
    def sessions(self):
        for name in os.listdir(self.folder):
            if int(name) not in self.streams:
                self.streams[int(name)] = Delays(f"{self.folder}/{name}")
        return [stream.update() for stream in self.streams.values()]


class RequestsTest(ClusterCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "sensor.pcapng"

    def client(self, name, program, *arguments):
        done = subprocess.run(cluster.python(name, program, *arguments), check=True,
                              capture_output=True, text=True)
        return done.stdout.split()

    def check_counts(self, counts):
        """Each request that was held has one fate."""
        # What is 0 is not in the log.
        fates = sum(counts.get(f"requests_{name}", 0) for name in REQUEST_FATES)
        self.assertGreater(fates, 0, counts)
        self.assertEqual(counts["requests_held"], fates, counts)

    # When they come

    def start_sensor(self, name):
        """A sensor for one agent, which says when each frame came."""
        streams = self.folder / name
        streams.mkdir()
        process = subprocess.Popen(
            command_in(cluster.name(name), sys.executable, "-m", "support.sensor", streams,
                       "tcp"), cwd=INTEGRATION, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        for step in (process.stdout.close, process.stdin.close, process.wait, process.kill):
            self.addCleanup(step)
        self.assertEqual(process.stdout.readline(), "ready\n")
        recording = DelayRecording(streams)
        self.addCleanup(recording.close)
        return recording

    def requests(self, recording, port):
        """The SYNs to a port, and how late each came."""
        return [(frame, delay) for session in recording.sessions() for delay, frame in session.arrivals
                if frame.goes_to(TCP, port) and frame.flags == SYN]

    def delays(self, recording, port):
        """How late the first SYN of each call to a port came."""
        first = {}
        for frame, delay in self.requests(recording, port):
            first.setdefault(frame.source_port, delay)
        return list(first.values())

    def await_requests(self, recording, port, count):
        wait_until(lambda: len(self.delays(recording, port)) >= count,
                   lambda: f"not {count}, but {self.delays(recording, port)}")
        return self.delays(recording, port)

    def check_calls(self, syns, count):
        """So many calls, and each SYN once. The kernel may have sent one again, with another time."""
        syns = [(frame.source_port, frame.timestamps) for frame in syns]
        self.assertEqual(len(set(syns)), len(syns))
        self.assertEqual(len({port for port, _ in syns}), count)

    def test_an_unanswered_request_comes_half_a_second_late_with_its_own_time(self):
        # That of the sender's edge and that of the observed end's.
        senders, observed = self.start_sensor("node1"), self.start_sensor("outside")
        agents = [self.start_agent(1), self.start_agent(2, NODE1)]
        self.serve("c1", SERVER, C1, OPEN_PORT)
        self.client("a2", CALLS, C1, DROPPED_PORT, ATTEMPTS)
        self.client("a2", CALLS, C1, OPEN_PORT, ATTEMPTS)
        unanswered = self.await_requests(senders, DROPPED_PORT, ATTEMPTS)
        answered = self.await_requests(observed, OPEN_PORT, ATTEMPTS)
        # A machine with other things to do may be late itself, but not all the time.
        self.assertLess(min(unanswered), LATE_SECONDS, unanswered)
        self.assertGreaterEqual(min(unanswered), HELD_SECONDS, unanswered)
        self.assertLess(min(answered), HELD_SECONDS, answered)
        for agent in agents:
            self.assertEqual(agent.stop(), 0, agent.text())
        for recording, port in ((senders, DROPPED_PORT), (observed, OPEN_PORT)):
            self.check_calls([frame for frame, _ in self.requests(recording, port)], ATTEMPTS)
        for recording, port in ((senders, OPEN_PORT), (observed, DROPPED_PORT)):
            self.assertEqual(self.delays(recording, port), [])

    # How they are counted

    def test_each_request_has_one_fate(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        self.serve("b1", SERVER, B1, OPEN_PORT)
        self.client("a1", CALLS, B1, OPEN_PORT, ATTEMPTS)
        self.client("a1", CALLS, DEAD, OPEN_PORT, ATTEMPTS)
        self.client("a1", CALLS, B1, RESET_PORT, ATTEMPTS)
        metrics = Endpoint(agent.namespace).await_metrics(
            lambda metrics: metrics.sum("podwire_requests_unanswered_total") >= 2 * ATTEMPTS)
        # Both edges of the answered ones are here. The kernel may have sent one again.
        self.assertGreaterEqual(metrics.sum("podwire_requests_answered_total"), 2 * ATTEMPTS)
        self.assertGreaterEqual(metrics.sum("podwire_resets_from_elsewhere_total"), ATTEMPTS)
        self.end(collector, agent)
        self.check_counts(agent.counts())

    def test_what_waits_when_a_capture_ends_is_abandoned(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        endpoint = Endpoint(agent.namespace)
        held = endpoint.metrics().sum("podwire_requests_held_total")
        knocker = subprocess.Popen(cluster.python("a1", CALLS, DEAD, OPEN_PORT, 1000))
        self.addCleanup(knocker.wait)
        self.addCleanup(knocker.kill)
        endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_requests_held_total") > held + ATTEMPTS)
        self.assertEqual(agent.stop(), 0, agent.text())
        self.assertEqual(collector.stop(), 0, collector.text())
        self.assertGreater(agent.counts()["requests_abandoned"], 0, agent.counts())
        self.check_counts(agent.counts())

    def set_mtu(self, byte_count):
        edges = [link["ifname"] for link in json.loads(cluster.run("node1", "ip", "-j", "link"))
                 if link["ifname"].startswith("veth")]
        for name, device in (("a1", "eth0"), ("b1", "eth0"), *(("node1", edge) for edge in edges)):
            cluster.run(name, "ip", "link", "set", device, "mtu", byte_count)

    def test_a_request_that_is_too_long_is_left_to_the_other_edge(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        # What one may not send over Ethernet passes between two pods that agree.
        self.set_mtu(4000)
        self.addCleanup(self.set_mtu, 1500)
        for size in (2000, 2100):
            self.ping("b1", A1, PING_COUNT, size)
        self.end(collector, agent)
        sizes = [len(frame.payload) for frame in self.frames() if frame.protocol == ICMP]
        counts = agent.counts()
        for size in (2000, 2100):
            self.assertGreaterEqual(sizes.count(size), 2 * PING_COUNT, sizes)
            self.assertEqual(sizes.count(size) % 2, 0, sizes)
        # Each at both edges.
        self.assertGreaterEqual(counts.get("requests_not_held_too_long", 0), 2 * PING_COUNT, counts)
        self.check_counts(counts)

    # What a flood costs

    def test_a_flood_of_unanswered_requests_stays_within_bounds(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        endpoint, idle = Endpoint(agent.namespace), agent.uses()[2]
        self.serve("b1", SERVER, B1, OPEN_PORT)
        with subprocess.Popen(
                cluster.python("a1", FLOOD, DEAD, FLOOD_SECONDS, FLOOD_FRAMES_PER_SECOND),
                stdout=subprocess.PIPE, text=True) as sender:
            begin = time.monotonic()
            # The table is as full as it gets.
            time.sleep(FLOOD_SECONDS * 0.4)
            self.client("c1", CALLS, B1, OPEN_PORT, CALL_COUNT)
            time.sleep(max(0, begin + FLOOD_SECONDS * 0.9 - time.monotonic()))
            late = agent.uses()[2]
            sent = int(sender.stdout.read())
            self.assertEqual(sender.wait(), 0)
        self.assertGreater(sent, FLOOD_SECONDS * FLOOD_FRAMES_PER_SECOND_MIN)
        self.assertLess(late - idle, FLOOD_BYTES_MAX, f"{idle} bytes, and {late} in the flood")
        metrics = endpoint.await_metrics(lambda metrics: metrics.waiting_requests() == 0)
        unheld = metrics.sum("podwire_requests_not_held_total")
        self.end(collector, agent)
        counts = agent.counts()
        self.check_counts(counts)
        self.assertEqual(unheld, sum(
            counts.get(f"requests_not_held_{name}", 0) for name in REASONS))
        # Each frame of the flood was reported, or is counted where it was not.
        frames = self.frames()
        reported = sum(frame.destination == DEAD for frame in frames)
        lost = sum(counts[name] for name in ("dropped_by_ring", "dropped_by_queue"))
        self.assertGreaterEqual(reported + unheld + lost, sent, counts)
        self.assertLessEqual(reported + unheld, sent, counts)
        # The calls beside it are all there, each SYN once.
        self.check_calls([frame for frame in frames if frame.goes_to(TCP, OPEN_PORT)
                          and frame.source == C1 and frame.flags == SYN], CALL_COUNT)


# Programs for the namespaces, as `python3 -c`.

SERVER = r"""
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=512)
print("ready", file=sys.stderr, flush=True)
while True:
    server.accept()[0].close()
"""

# Connects so often, and gives up before a SYN is sent again.
CALLS = r"""
import socket, sys
for _ in range(int(sys.argv[3])):
    client = socket.socket()
    client.settimeout(0.2)
    try:
        client.connect((sys.argv[1], int(sys.argv[2])))
        client.recv(1)
    except OSError:
        pass
    client.close()
"""

# SYNs from ever new ports to an address that nobody has, through the gateway.
FLOOD = r"""
import socket, struct, sys, time
target, seconds, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.connect((target, 0))
segments = [struct.pack("!HHIIBBHHH", 10000 + number, 80, number, 0, 5 << 4, 2, 8192, 0, 0)
            for number in range(50000)]
begin, number = time.monotonic(), 0
while (now := time.monotonic()) < begin + seconds:
    while number < (now - begin) * rate:
        raw.send(segments[number % 50000])
        number += 1
    time.sleep(0.001)
print(number)
"""


if __name__ == "__main__":
    unittest.main()
