"""A test bed's network like a cluster's (tools/testbed): two nodes, three pods on each, and services."""

import collections
import json
import os
import pathlib
import secrets
import socket
import subprocess
import tempfile
import unittest

from support import TOOLS, captures, frames
from support.commands import run
from support.endpoint import Endpoint
from support.frames import ICMP, ICMPV6, Frame
from support.namespace import ip_in, mac_in, packet_socket_in, python_in, run_in, socket_in
from support.program import PODWIRE, Program
from support.waiting import wait_until

OUTSIDE = "192.168.100.100"
NETWORKS = {"PODNET": "10.244.0.0/16,fd00:10:244::/56", "SVCNET": "10.96.0.0/16,fd00:10:96::/112"}


class Cluster:
    """A test bed with a prefix of its own."""

    def __init__(self, prefix, network, *words):
        self.prefix = f"{prefix}{os.getpid()}"
        self.testbed("up", network, *words)

    def testbed(self, *words):
        run(TOOLS / "testbed", "--prefix", self.prefix, *words)

    def remove(self):
        self.testbed("down")

    def name(self, name):
        return f"{self.prefix}-{name}"

    def run(self, name, *words, **keywords):
        """Runs a command in a node or pod, and returns its output."""
        return run_in(self.name(name), *words, **keywords).stdout

    def python(self, name, program, *arguments):
        """A command that runs a Python program in a node or pod."""
        return python_in(self.name(name), program, *arguments)


class ClusterCase(unittest.TestCase):
    """Agents on the nodes of `cluster`, and a collector that writes a file."""

    cluster = None
    file = None

    def start(self, name, *arguments, **keywords):
        program = Program(self.cluster.name(name), *arguments, **{**NETWORKS, **keywords})
        self.addCleanup(program.kill)
        return program

    def start_collector(self, name="outside"):
        collector = self.start(name, "collect", "--output", self.file)
        collector.await_text("listening")
        return collector

    def start_agent(self, node, sensor=OUTSIDE, **keywords):
        agent = self.start(f"node{node}", "agent", EXTRAHOP_SENSOR_IP=sensor, **keywords)
        agent.await_text("capture started")
        return agent

    def serve(self, name, program, *arguments):
        """Starts a program that serves, and waits until it says so in a line of its own."""
        server = subprocess.Popen(self.cluster.python(name, program, *arguments),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stderr.readline(), b"ready\n")
        return server

    def sink(self, name, port):
        """Takes the datagrams to a port, so that nobody answers them with an error. It is there for
        both families."""
        sink = socket_in(self.cluster.name(name), socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(sink.close)
        sink.bind(("", port))

    def ping(self, name, address, count=3, size=56):
        """Has a pod or a node ping until so many replies have come at once. The kernel may leave one
        out where others use up what it has for that."""
        wait_until(lambda: f" {count} received" in self.cluster.run(
            name, "ping", "-q", "-c", count, "-i", 0.2, "-s", size, address, check=False),
            f"{address} does not reply to {name}")

    def end(self, collector, *agents):
        """Ends agents that have forwarded all there was, and the collector that has got it."""
        for agent in agents:
            Endpoint(agent.namespace).settled()
        for agent in agents:
            self.assertEqual(agent.stop(), 0, agent.text())
        # Each agent's connection has been read to its end by then.
        collector.await_text("agent gone", len(agents))
        self.assertEqual(collector.stop(), 0, collector.text())

    def frames(self):
        """The frames in the collector's file."""
        return [Frame(frame.data) for frame in captures.read(self.file)]


class MarkedCase(ClusterCase):
    """Pods of a network of the class's own send frames with marks, and the collector's file is searched
    for these."""

    prefix, network = "mk", "bridge"

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.prefix, cls.network)
        cls.addClassCleanup(cls.cluster.remove)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name, "sensor.pcapng")
        # What each mark is for, and how often it has to arrive.
        self.marks = {}

    def begin(self, **keywords):
        self.collector = self.start_collector()
        self.agents = [self.start_agent(node, **keywords) for node in (1, 2)]

    def ip(self, name, *words):
        return ip_in(self.cluster.name(name), *words).stdout

    def mac(self, name, device="eth0"):
        return mac_in(self.cluster.name(name), device)

    def edges(self, node, *options):
        return json.loads(run_in(self.cluster.name(f"node{node}"), PODWIRE, "edges", "--json",
                                 "--pod-network", NETWORKS["PODNET"], *options).stdout)

    def edge(self, node, address):
        return next(edge for edge in self.edges(node) if address in (edge["pod_addresses"] or []))

    def mark(self, why, count=1):
        """Bytes that have to arrive so often."""
        mark = secrets.token_bytes(16)
        self.marks[mark] = (why, count)
        return mark

    def inject(self, name, receiver, ethertype, payload, sender=None, device="eth0"):
        """Sends a frame from a namespace, byte by byte."""
        sender = sender or self.mac(name, device)
        with packet_socket_in(self.cluster.name(name), device) as raw:
            raw.send(frames.ethernet(receiver, sender, ethertype, payload))

    def await_arrival(self, talk):
        """Has somebody talk, with marks for this alone, until those of one try have arrived as
        often as they have to: captures use what their agent has learned a moment later."""
        marks, tries = self.marks, []

        def have_arrived():
            self.marks = {}
            tries.append(self.marks)
            talk()
            for agent in self.agents:
                Endpoint(agent.namespace).settled()
            # The file has the frames of a try later: the collector brings them into their order.
            return not all(map(self.wrong_marks, tries))

        wait_until(have_arrived, lambda: f"wrong counts: {[*map(self.wrong_marks, tries)]}")
        self.marks = marks

    def check(self):
        """Ends all, and compares what was sent with what has arrived."""
        self.end(self.collector, *self.agents)
        self.assertEqual(self.wrong_marks(self.marks), {})

    def wrong_marks(self, marks):
        """What has not arrived as often as it has to, and how often it has."""
        counts = collections.Counter()
        for frame in self.frames():
            # ICMP errors quote what was sent.
            if frame.protocol == ICMP or frame.protocol == ICMPV6 and frame.icmp_type < 128:
                continue
            for mark in marks:
                counts[mark] += mark in frame.data
        return {why: counts[mark] for mark, (why, count) in marks.items()
                if counts[mark] != count}
