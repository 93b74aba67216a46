"""Interfaces of pods that have no end in the node: macvlans, which only a socket inside the pod sees.

PODWIRE names the binary. A node with an uplink, pods with macvlans on it, and a world outside.
"""

import json
import os
import pathlib
import secrets
import socket
import tempfile
import unittest

from support import captures
from support.commands import run
from support.namespace import (add_namespace, add_wire, ip_in, remove_namespaces, run_in, socket_in)
from support.program import PODWIRE, Program
from support.waiting import wait_until

PREFIX = f"pi{os.getpid()}"
SENSOR, OUTSIDE = "192.168.100.100", "172.16.0.100"
PORT = 9999


def name_of(name):
    return f"{PREFIX}-{name}"


class PodInterfacesTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(remove_namespaces, f"{PREFIX}-")
        for name in ("node", "outside"):
            add_namespace(name_of(name), ipv6=False)
        add_wire(name_of("node"), "uplink", name_of("outside"))
        ip_in(name_of("node"), "addr", "add", "192.168.100.1/24", "dev", "uplink")
        for address in (f"{SENSOR}/24", f"{OUTSIDE}/24"):
            ip_in(name_of("outside"), "addr", "add", address, "dev", "eth0")
        ip_in(name_of("outside"), "route", "add", "10.99.0.0/24", "dev", "eth0",
              "src", OUTSIDE)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name, "netns")
        self.folder.mkdir()
        # As /run/netns is: what is mounted there later is seen by those who have a copy of the mounts.
        run("mount", "--bind", self.folder, self.folder)
        self.addCleanup(run, "umount", "-l", self.folder)
        run("mount", "--make-shared", self.folder)
        self.capture = f"{folder.name}/sensor.pcapng"
        self.marks = {}

    def add_file(self, pod):
        """As a runtime does; the machine has other namespaces, too, which are none of this node's."""
        path = self.folder / pod
        path.touch()
        run("mount", "--bind", f"/run/netns/{name_of(pod)}", path)
        self.addCleanup(run, "umount", "-l", path, check=False)

    def add_pod(self, pod, number, moves):
        """Adds a pod with a macvlan, which is made in the node and moved, or made inside at once; then the
        node has no id for the pod's namespace."""
        add_namespace(name_of(pod), ipv6=False)
        kind = ("type", "macvlan", "mode", "bridge")
        if moves:
            ip_in(name_of("node"), "link", "add", f"m-{pod}", "link", "uplink", *kind)
            ip_in(name_of("node"), "link", "set", f"m-{pod}", "netns", name_of(pod), "name", "net1")
        else:
            ip_in(name_of("node"), "link", "add", "net1", "link", "uplink", "netns", name_of(pod), *kind)
        ip_in(name_of(pod), "addr", "add", f"10.99.0.{number}/24", "broadcast", "10.99.0.255",
              "dev", "net1")
        ip_in(name_of(pod), "link", "set", "net1", "up")
        ip_in(name_of(pod), "route", "add", "172.16.0.0/24", "dev", "net1")
        self.add_file(pod)

    def start(self, command, *arguments, name="node"):
        program = Program(name_of(name), command, *arguments, PODNET="10.99.0.0/24,10.244.0.0/16",
                          PODWIRE_NETNS=str(self.folder), PODWIRE_OPENER=f"{self.folder.parent}/opener",
                          EXTRAHOP_SENSOR_IP=SENSOR)
        self.addCleanup(program.kill)
        return program

    def start_all(self, *opener):
        self.collector = self.start("collect", "--output", self.capture, name="outside")
        self.collector.await_text("listening")
        self.opener = self.start("opener", *opener)
        self.opener.await_text("opener listening")
        self.agent = self.start("agent", "--pod-interfaces")
        self.agent.await_text("capture started")

    def edges(self):
        text = run_in(name_of("node"), PODWIRE, "edges", "--json", "--pod-interfaces", "--netns",
                      self.folder, "--pod-network", "10.99.0.0/24").stdout
        return {edge["interface"]: edge for edge in json.loads(text)}

    def await_edges(self, count):
        """Waits until so many are captured: their rings are open."""
        wait_until(lambda: len(self.agent.rings()) >= count,
                   lambda: f"{self.agent.rings()} in {self.agent.text()}")

    def send(self, source, address, count=20, expected=1):
        """Sends marked datagrams, each of which is to come so often."""
        if expected and not address.endswith(".255"):
            # A macvlan gets broadcasts, and so the question for its MAC address, only when the kernel finds
            # time for that. Datagrams would wait for the answer, perhaps for longer than the agent runs.
            run_in(name_of(source), "ping", "-c", "1", "-w", "60", address)
        with socket_in(name_of(source), socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if address.endswith(".255"):
                out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"net1")
            for number in range(count):
                mark = secrets.token_hex(16).encode()
                self.marks[mark] = (f"{source} to {address}, {number}", expected)
                out.sendto(mark, (address, PORT))

    def check(self):
        self.assertEqual(self.agent.stop(), 0)
        self.assertEqual(self.opener.stop(), 0)
        self.collector.await_text("agent gone")
        self.assertEqual(self.collector.stop(), 0)
        counts = dict.fromkeys(self.marks, 0)
        for frame in captures.read(self.capture):
            mark = bytes(frame.data[42:74])
            if mark in counts:
                counts[mark] += 1
        wrong = [f"{text}: {counts[mark]} times" for mark, (text, expected) in self.marks.items()
                 if counts[mark] != expected]
        self.assertEqual(wrong, [], self.agent.text())

    def test_each_packet_comes_once(self):
        self.add_pod("p1", 1, moves=True)
        self.add_pod("p2", 2, moves=False)
        add_wire(name_of("node"), "veth1", name_of("p1"))
        edges = self.edges()
        for name in ("net1@p1", "net1@p2"):
            self.assertEqual((edges[name]["captured"], edges[name]["tap"], edges[name]["bridge"]),
                             (True, "pod", "uplink"), edges)
        self.start_all("--pod-interfaces")
        self.await_edges(2)
        for source, address in (("p1", "10.99.0.2"), ("p2", "10.99.0.1"), ("p1", OUTSIDE),
                                ("outside", "10.99.0.2"), ("p1", "10.99.0.255")):
            self.send(source, address)
        self.check()

    def test_pods_that_come_and_go(self):
        self.add_pod("p1", 1, moves=True)
        self.start_all("--pod-interfaces")
        self.await_edges(1)
        for number, moves in ((2, True), (3, False)):
            pod = f"p{number}"
            self.add_pod(pod, number, moves)
            self.await_edges(2)
            self.send("p1", f"10.99.0.{number}")
            self.send(pod, OUTSIDE)
            # The namespace goes when the file does: no socket holds it.
            run("umount", "-l", self.folder / pod)
            (self.folder / pod).unlink()
            run("ip", "netns", "del", name_of(pod))
            wait_until(lambda: len(self.agent.rings()) == 1,
                       lambda: f"{self.agent.rings()} in {self.agent.text()}")
            self.send("p1", f"10.99.0.{number}", expected=0)
        self.check()

    def test_an_opener_that_is_not_told_to(self):
        self.add_pod("p1", 1, moves=True)
        self.start_all()
        self.agent.await_text("start the opener with --pod-interfaces")
        self.assertEqual(self.agent.rings(), [])
        self.send("p1", OUTSIDE, expected=0)
        self.check()


if __name__ == "__main__":
    unittest.main()
