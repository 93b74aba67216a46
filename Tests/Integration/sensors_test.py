"""Twenty nodes that share four sensors: each node feeds one (`--sensor-policy one`).

Sensors are killed, suspended, started again and resumed while pods send. PODWIRE names the binary.
"""

import collections
import os
import pathlib
import signal
import socket
import struct
import tempfile
import threading
import unittest

from support import captures
from support.bed import MARK_PORT
from support.endpoint import Endpoint
from support.frames import UDP, Frame
from support.namespace import (add_namespace, add_wire, ip_in, remove_namespaces, run_in,
                               socket_in)
from support.program import Program
from support.waiting import PATIENCE_SECONDS, wait_until

NODE_COUNT, SENSOR_COUNT = 20, 4
# A node comes back when the sensor has been there for 60 to 75 seconds, of which a look may miss ten.
RETURN_SECONDS = 90 + PATIENCE_SECONDS
# What each pod sends in a second, and how much at a time: enough to fill a sensor's window soon.
PER_SECOND, BYTES = 100, 1400
HEAD = struct.Struct("!II")


class Sensor:
    """A sensor, which can be started again: each time it writes another file."""

    def __init__(self, namespace, number, folder):
        self.namespace, self.folder = namespace, folder
        self.address = f"10.98.0.{number}"
        self.name = f"{self.address}:2003"
        self.files, self.program = [], None
        self.begin()

    def begin(self):
        self.files.append(self.folder / f"{self.address}-{len(self.files)}.pcapng")
        self.program = Program(self.namespace, "collect", "--listen", self.name, "-o", self.files[-1])
        self.program.await_text("listening")

    def send_signal(self, number):
        os.kill(self.program.pid, number)

    def numbers(self):
        """The packets in its files: their nodes and numbers, in order."""
        found = []
        for file in self.files:
            for frame in map(Frame, (record.data for record in captures.read(file))):
                # What the pods send, and no error that quotes it.
                if frame.goes_to(UDP, MARK_PORT):
                    found.append(HEAD.unpack_from(frame.payload))
        return found


class SensorsTest(unittest.TestCase):
    def setUp(self):
        self.prefix = f"se{os.getpid()}"
        self.addCleanup(remove_namespaces, f"{self.prefix}-")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        hub = f"{self.prefix}-hub"
        add_namespace(hub)
        ip_in(hub, "link", "add", "lan", "type", "bridge")
        ip_in(hub, "link", "set", "lan", "up")
        for number in range(1, SENSOR_COUNT + 1):
            ip_in(hub, "addr", "add", f"10.98.0.{number}/16", "dev", "lan")
        self.sensors = [Sensor(hub, number, pathlib.Path(folder.name))
                        for number in range(1, SENSOR_COUNT + 1)]
        for sensor in self.sensors:
            self.addCleanup(lambda sensor=sensor: sensor.program.process.kill())
        self.agents = [self.node(hub, number) for number in range(NODE_COUNT)]
        self.endpoints = [Endpoint(agent.namespace) for agent in self.agents]
        for endpoint in self.endpoints:
            endpoint.await_page("/healthz", 200)
        self.sent = [0] * NODE_COUNT
        self.is_over = threading.Event()
        self.sender = threading.Thread(target=self.send)
        self.sender.start()
        self.addCleanup(self.sender.join)
        self.addCleanup(self.is_over.set)

    def node(self, hub, number):
        """A node with a pod, and an agent on it."""
        node, pod = f"{self.prefix}-n{number}", f"{self.prefix}-p{number}"
        for name in (node, pod):
            add_namespace(name, ipv6=False)
        # What fills slowly would be found suspended late.
        run_in(node, "sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 65536")
        add_wire(hub, f"n{number}", node)
        ip_in(hub, "link", "set", f"n{number}", "master", "lan")
        add_wire(node, "veth-pod", pod)
        for name, device, address in (
                (node, "eth0", f"10.98.1.{number + 1}/16"), (node, "veth-pod", f"10.244.{number}.1/24"),
                (pod, "eth0", f"10.244.{number}.2/24")):
            ip_in(name, "addr", "add", address, "dev", device)
        agent = Program(
            node, "agent", "--sensor-policy", "one", "--node-name", f"node-{number}",
            # For some seconds in which a busy machine lets no agent run, or no sensor.
            "--ring-memory", "32MiB", "--queue-memory", "8MiB", PODNET="10.244.0.0/16",
            EXTRAHOP_SENSOR_IP=",".join(sensor.address for sensor in self.sensors))
        self.addCleanup(agent.process.kill)
        return agent

    def send(self):
        """Has each pod send numbers, until all is over."""
        sockets = [socket_in(f"{self.prefix}-p{number}", kind=socket.SOCK_DGRAM)
                   for number in range(NODE_COUNT)]
        while not self.is_over.wait(1 / PER_SECOND):
            for number, one in enumerate(sockets):
                try:
                    one.sendto(HEAD.pack(number, self.sent[number]) + bytes(BYTES - HEAD.size),
                               (f"10.244.{number}.1", MARK_PORT))
                    self.sent[number] += 1
                except BlockingIOError:
                    pass
        for one in sockets:
            one.close()

    def fed(self, number):
        """The sensors that a node feeds."""
        return self.named(number, "podwire_captures")

    def named(self, number, gauge):
        """The sensors that a gauge of a node names."""
        metrics = self.endpoints[number].metrics()
        return {sensor.name for sensor in self.sensors if metrics.sum(gauge, sensor=sensor.name) > 0}

    def await_wanted(self, condition):
        """Waits until a condition holds for the sensors that each node wants."""
        def wanted():
            return [self.named(number, "podwire_sensor_wanted") for number in range(NODE_COUNT)]

        wait_until(lambda: all(map(condition, range(NODE_COUNT), wanted())),
                   lambda: f"they want {wanted()}")

    def await_fed(self, condition, what, seconds=PATIENCE_SECONDS):
        """Waits until each node feeds one sensor, which it is to feed; returns them."""
        found = []

        def are_fed():
            found[:] = map(self.fed, range(NODE_COUNT))
            return all(len(names) == 1 and condition(number, *names)
                       for number, names in enumerate(found))

        wait_until(are_fed, lambda: f"{what}: {found}", seconds, interval=0.5)
        return [next(iter(names)) for names in found]

    def test_nodes_move_and_come_back(self):
        first = self.await_fed(lambda *_: True, "not every node feeds one sensor")
        # The node names are chosen so that each has some.
        shares = collections.Counter(first)
        self.assertEqual(set(shares), {sensor.name for sensor in self.sensors}, shares)
        preferred = [agent.lines("sensors ranked")[0].split("preferred=")[1].split()[0]
                     for agent in self.agents]
        self.assertEqual(first, preferred)
        # An alert asks for no other.
        self.await_wanted(lambda number, wanted: wanted == {first[number]})
        begin = list(self.sent)
        wait_until(lambda: all(now > before + 10 * PER_SECOND
                               for now, before in zip(self.sent, begin)), "the pods do not send")

        killed, suspended, *others = self.sensors
        moved = {number for number, name in enumerate(first)
                 if name in (killed.name, suspended.name)}
        killed.program.kill()
        suspended.send_signal(signal.SIGSTOP)
        left = {sensor.name for sensor in others}
        second = self.await_fed(lambda _, name: name in left, "not every node has moved")
        for number in set(range(NODE_COUNT)) - moved:
            self.assertEqual(second[number], first[number])
        # It misses the one that it has lost.
        self.await_wanted(lambda number, wanted: {first[number], second[number]} <= wanted)
        # Who has lost its sensor is shared by the others.
        self.assertEqual({second[number] for number in moved}, left)

        killed.begin()
        suspended.send_signal(signal.SIGCONT)
        self.await_fed(lambda number, name: name == first[number], "not every node is back",
                       RETURN_SECONDS)
        back = list(self.sent)
        wait_until(lambda: all(now > before + PER_SECOND for now, before in zip(self.sent, back)),
                   "the pods do not send")
        self.is_over.set()
        self.sender.join()
        self.finish(moved, first)

    def finish(self, moved, first):
        """Ends all, and checks who got what."""
        changes = [endpoint.fresh_metrics().sum("podwire_sensor_changes_total")
                   for endpoint in self.endpoints]
        lost = [self.lost(number) for number in range(NODE_COUNT)]
        for agent in self.agents:
            self.assertEqual(agent.stop(), 0, agent.text()[-4000:])
        for sensor in self.sensors:
            self.assertEqual(sensor.program.stop(), 0, sensor.program.text()[-4000:])
        got = {sensor.name: collections.defaultdict(list) for sensor in self.sensors}
        for sensor in self.sensors:
            for node, number in sensor.numbers():
                got[sensor.name][node].append(number)
        for node in range(NODE_COUNT):
            homes = {name for name, nodes in got.items() if nodes[node]}
            every = [number for nodes in got.values() for number in nodes[node]]
            for name in homes:
                numbers = got[name][node]
                self.assertEqual(len(numbers), len(set(numbers)), f"{node} twice at {name}")
            if node in moved:
                # There and back; on a busy machine it may have tried others, too.
                self.assertGreaterEqual(changes[node], 3)
                self.assertIn(first[node], homes)
                self.assertGreaterEqual(len(homes), 2)
                continue
            self.assertEqual((homes, changes[node]), ({first[node]}, 1))
            missing = set(range(self.sent[node])) - set(every)
            # The first ones came before there was a capture; nothing else is lost.
            self.assertEqual(lost[node], {}, f"{node} has lost packets")
            self.assertEqual(missing, set(range(len(missing))), f"{node} has a gap")

    def lost(self, number):
        """What a node has lost, by its own account: how much in which way."""
        metrics = self.endpoints[number].metrics()
        fates = "dropped_by_ring", "dropped_by_block", "dropped_by_queue", "abandoned"
        counts = {fate: metrics.sum("podwire_frames_total", fate=fate) for fate in fates}
        return {fate: count for fate, count in counts.items() if count}


if __name__ == "__main__":
    unittest.main()
