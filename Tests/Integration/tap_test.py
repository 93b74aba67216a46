"""Edges that are captured inside their pods, by sockets that an opener hands over.

PODWIRE names the binary. TAP_PODS says how many pods come and go in a row.
"""

import json
import os
import re
import struct
import subprocess
import tempfile
import time
import unittest

from support import bypass, commands, frames
from support.endpoint import Endpoint
from support.frames import IPV4, UDP
from support.namespace import (add_namespace, add_wire, ip_in, mac_in, packet_socket_in,
                               remove_namespaces, run_in)
from support.numbers import PORT, numbers_by_pod, payload
from support.program import PODWIRE, Program
from support.waiting import PATIENCE_SECONDS, wait_until

PODS = int(os.environ.get("TAP_PODS", 40))
PREFIX = f"tap{os.getpid()}"
NODE, OUTSIDE, PEER = f"{PREFIX}-node", f"{PREFIX}-outside", f"{PREFIX}-peer"
SENSOR, PEER_ADDRESS = "192.168.100.100", "192.168.200.2"
INSIDE = "podwire_edges_captured_inside"
# What comes and goes is given up after this time, far more than a busy machine needs.
RELEASE_SECONDS = 30


class Pod:
    """A pod behind a routed veth, by its number."""

    def __init__(self, number):
        self.name, self.device = f"{PREFIX}-p{number}", f"veth{number}"
        self.address = f"10.244.{1 + number // 200}.{2 + number % 200}"

    def add(self):
        add_namespace(self.name, ipv6=False)
        add_wire(NODE, self.device, self.name)
        ip_in(self.name, "addr", "add", f"{self.address}/32", "dev", "eth0")
        ip_in(self.name, "route", "add", "default", "dev", "eth0")
        ip_in(NODE, "route", "add", f"{self.address}/32", "dev", self.device)
        return self

    def frame(self, number):
        """A numbered datagram to the pod."""
        data = payload(0, number)
        datagram = struct.pack("!HHHH", PORT, PORT, 8 + len(data), 0) + data
        return frames.ethernet(mac_in(self.name, "eth0"), b"\2\0\0\0\0\1", IPV4, frames.ipv4(
            PEER_ADDRESS, self.address, UDP, datagram))


class TapTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(remove_namespaces, f"{PREFIX}-")
        for name in (NODE, OUTSIDE, PEER):
            add_namespace(name, ipv6=False)
        add_wire(NODE, "uplink", OUTSIDE)
        add_wire(NODE, "wire", PEER)
        ip_in(NODE, "addr", "add", "192.168.100.1/24", "dev", "uplink")
        ip_in(OUTSIDE, "addr", "add", f"{SENSOR}/24", "dev", "eth0")
        ip_in(NODE, "route", "add", "default", "via", SENSOR)
        # What is outside the pod networks is no edge.
        ip_in(PEER, "addr", "add", f"{PEER_ADDRESS}/24", "dev", "eth0")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file, self.socket = f"{folder.name}/sensor.pcapng", f"{folder.name}/opener.sock"
        self.endpoint = Endpoint(NODE)

    def program(self, namespace, *words, **variables):
        program = Program(namespace, *words, **variables)
        self.addCleanup(program.kill)
        return program

    def opener(self):
        opener = self.program(NODE, "opener", "--opener", self.socket)
        wait_until(lambda: os.path.exists(self.socket), opener.text)
        return opener

    def start(self, mode):
        """A collector, and an agent that has begun."""
        collector = self.program(OUTSIDE, "collect", "--output", self.file)
        collector.await_text("listening")
        agent = self.program(NODE, "agent", "--tap", mode, "--opener", self.socket,
                             EXTRAHOP_SENSOR_IP=SENSOR, PODNET="10.244.0.0/16",
                             PODWIRE_HTTP="127.0.0.1:9464")
        agent.await_text("capture started")
        return collector, agent

    def await_inside(self, count):
        self.endpoint.await_metrics(lambda metrics: metrics.sum(INSIDE) == count,
                                    f"not {count} edges are captured inside their pods")

    def numbers(self, collector, agent):
        """Ends both, and returns how often each numbered datagram has come."""
        found = numbers_by_pod(self, collector, agent, self.endpoint, self.file)
        self.assertLessEqual(set(found), {0})
        return found.get(0, {})

    def bypass(self, pod):
        """Has all that comes from the peer handed to the pod's device, past the host's end of its
        pair; returns what sends numbered datagrams there."""
        index = run_in(NODE, "cat", f"/sys/class/net/{pod.device}/ifindex").stdout
        bypass.attach(NODE, "wire", bypass.BPF_FUNC_redirect_peer, int(index))
        sender = packet_socket_in(PEER, "eth0")
        self.addCleanup(sender.close)

        def send(numbers):
            before = self.received(pod)
            for number in numbers:
                sender.send(pod.frame(number))
            wait_until(lambda: self.received(pod) - before >= len(numbers),
                       "the pod has not got them")

        return send

    def received(self, pod):
        return int(run_in(pod.name, "cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)

    def test_what_bypasses_the_hosts_end(self):
        """Inside the pod it is seen, and at the host's end it is not."""
        pod = Pod(0).add()
        self.opener()
        send = self.bypass(pod)
        for mode, count in (("pod", 1), ("host", 0)):
            collector, agent = self.start(mode)
            self.await_inside(count)
            metrics = self.endpoint.metrics()
            self.assertEqual(metrics.values["podwire_edges", ("side", mode)], 1)
            send(range(50))
            self.assertEqual(self.numbers(collector, agent),
                             {number: 1 for number in range(50)} if mode == "pod" else {})

    def test_that_packets_are_missed_at_the_hosts_end_is_said(self):
        """Without being asked, and with what to do about it."""
        pod = Pod(0).add()
        agent = self.program(NODE, "agent", EXTRAHOP_SENSOR_IP=SENSOR, PODNET="10.244.0.0/16")
        agent.await_text("agent started")
        send, words, turn = self.bypass(pod), "so part of them is missing: set --tap pod", 0
        # Two readings are ten seconds apart, and later ones a minute.
        while not agent.lines(words):
            send(range(turn * 20, 20 + turn * 20))
            turn += 1
            time.sleep(0.2)
            self.assertLess(turn, 20 * PATIENCE_SECONDS)
        self.assertIn(f"edge={pod.device}", agent.lines(words)[0])

    def test_auto(self):
        """When packets are proven to bypass the host's end, edges are captured inside; new ones too."""
        pod = Pod(0).add()
        self.opener()
        collector, agent = self.start("auto")
        self.await_inside(0)
        send = self.bypass(pod)
        turn = 0
        # Two readings are ten seconds apart, and what is missed between them counts.
        while self.endpoint.fresh_metrics().sum(INSIDE) == 0:
            send(range(1000 + turn * 20, 1020 + turn * 20))
            turn += 1
            self.assertLess(turn, 40 * PATIENCE_SECONDS)
        agent.await_text("packets bypass the host's ends of veths")
        send(range(50))
        Pod(1).add()
        self.await_inside(2)
        numbers = self.numbers(collector, agent)
        self.assertEqual({number: numbers.get(number) for number in range(50)},
                         {number: 1 for number in range(50)})
        self.assertEqual(set(numbers.values()), {1})

    def test_auto_without_a_proof(self):
        """An agent that may not read pods' counters says so, once, and what to do."""
        Pod(0).add()
        agent = self.program(NODE, "agent", "--tap", "auto", "--opener", self.socket,
                             prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps",
                                     "-net_admin"),
                             EXTRAHOP_SENSOR_IP=SENSOR, PODNET="10.244.0.0/16")
        agent.await_text("nothing tells whether packets bypass")
        self.assertIn("set --tap pod", agent.lines("nothing tells")[0])

    def test_an_opener_that_comes_and_goes(self):
        """Without it pods are captured at the host's ends, with one line in the log, and move when it
        is there."""
        pod = Pod(0).add()
        collector, agent = self.start("pod")
        text = "captured at the host's ends"
        agent.await_text(text)
        self.assertIn("run `podwire opener`", agent.text())
        self.await_inside(0)
        opener = self.opener()
        self.await_inside(1)
        self.assertEqual(opener.stop(), 0)
        Pod(1).add()
        self.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_taps_failed_total") > 1)
        self.await_inside(1)
        os.unlink(self.socket)
        self.opener()
        self.await_inside(2)
        send = self.bypass(pod)
        send(range(20))
        self.assertEqual(self.numbers(collector, agent), {number: 1 for number in range(20)})
        # Each time that it was not there is a line, whatever the number of tries.
        self.assertIn(agent.text().count(text), (1, 2, 3))

    def test_which_edges_are_captured_inside(self):
        pod = Pod(0).add()
        for mode, side in (("host", "host"), ("pod", "pod"), ("auto", "host")):
            listed = self.edge(pod, "--tap", mode)
            self.assertEqual((listed["captured"], listed["tap"]), (True, side))
        with tempfile.TemporaryDirectory() as folder:
            listed = self.edge(pod, "--tap", "pod", "--netns", folder)
            self.assertEqual(listed["tap"], "host")

    def edge(self, pod, *options):
        edges = json.loads(run_in(NODE, PODWIRE, "edges", "--json", "--pod-network",
                                  "10.244.0.0/16", *options).stdout)
        return next(edge for edge in edges if edge["interface"] == pod.device)

    def test_netkit(self):
        """Where the kernel has netkit: nothing at the host's end, all inside the pod."""
        add_namespace(f"{PREFIX}-kit", ipv6=False)
        made = subprocess.run(["ip", "-n", NODE, "link", "add", "kit", "type", "netkit", "mode", "l3",
                               "peer", "name", "eth0", "netns", f"{PREFIX}-kit"],
                              capture_output=True)
        if made.returncode != 0:
            self.skipTest(f"this kernel or iproute2 has no netkit: {made.stderr.decode().strip()}")
        ip_in(f"{PREFIX}-kit", "addr", "add", "10.244.9.9/32", "dev", "eth0")
        ip_in(NODE, "link", "set", "kit", "up")
        ip_in(f"{PREFIX}-kit", "link", "set", "eth0", "up")
        pod = Pod(0)
        pod.device = "kit"
        self.assertFalse(self.edge(pod, "--tap", "host")["captured"])
        self.assertEqual(self.edge(pod, "--tap", "auto")["tap"], "pod")

    def test_pods_that_come_and_go(self):
        """Nothing is left of them: no descriptor, no namespace, no thread, no ring."""
        opener = self.opener()
        _, agent = self.start("pod")
        Pod(0).add()
        self.await_inside(1)
        def uses():
            return [*agent.uses()[:2], *opener.uses()[:2], len(agent.rings())]

        before = uses()
        for number in range(1, PODS + 1):
            pod = Pod(number).add()
            wait_until(lambda: len(agent.rings()) == 2, "the pod has no ring")
            # The file goes first, and the link only because nothing holds the namespace.
            commands.run("ip", "netns", "del", pod.name)
            wait_until(lambda: pod.device not in self.links(), "the namespace is held",
                       RELEASE_SECONDS)
        # Who asked for a page may still have been connected before.
        wait_until(lambda: all(now <= then for now, then in zip(uses(), before)),
                   lambda: f"{before}, then {uses()}")
        self.assertEqual(self.endpoint.fresh_metrics().sum("podwire_taps_failed_total"), 0)
        self.await_inside(1)
        self.assertNotIn("bug", agent.text())

    def links(self):
        return re.findall(r"^\d+: (\w+)@", ip_in(NODE, "-o", "link", "show").stdout, re.MULTILINE)


if __name__ == "__main__":
    unittest.main()
