"""A node whose pods send tens of thousands of numbered packets a second, and sensors that get them."""

import itertools
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from support import INTEGRATION
from support.commands import make_certificate, run
from support.endpoint import Endpoint
from support.namespace import (add_namespace, add_wire, command_in, ip_in, python_in,
                               remove_namespaces, run_in, socket_in)
from support.program import Program, counts_of
from support.sensor import SINK, Recording
from support.waiting import PATIENCE_SECONDS, wait_until

PER_SECOND = 20_000
# A sensor that is not affected gets nearly all packets so soon; a busy machine may stop a while.
DELAY_MAX = 1.0

# Sends numbered packets of 60 bytes, so many a second, and shows how many there have been.
SENDER = r"""
import mmap, os, socket, struct, sys, time
sender, per_second, count, target, port, file = *map(int, sys.argv[1:4]), *sys.argv[4:7]
shared = mmap.mmap(os.open(file, os.O_RDWR), 16)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
out.setsockopt(socket.IPPROTO_UDP, 103, 18)  # UDP_SEGMENT
out.bind(("", int(port)))
pack = struct.Struct("!4sHQ4x").pack
number, begin = 0, time.monotonic()
while number < count and not shared[8]:
    some = range(number, min(number + 32, count))
    try:
        out.sendto(b"".join(pack(b"soak", sender, one) for one in some), (target, 9))
        number += len(some)
        shared[:8] = struct.pack("=Q", number)
    except OSError:
        time.sleep(0.001)
    ahead = begin + number / per_second - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
    elif ahead < -0.02:
        # What the machine has kept from being sent is not sent in a burst.
        begin -= ahead
"""


class Sender:
    """Numbered packets from a pod to its gateway, or elsewhere."""

    identities = itertools.count(1)

    def __init__(self, bed, pod, count=1 << 40, target=None, port=0, per_second=PER_SECOND):
        self.file = tempfile.NamedTemporaryFile()
        self.file.write(bytes(16))
        self.file.flush()
        self.shared = mmap.mmap(self.file.fileno(), 16)
        self.identity = next(self.identities)
        self.process = subprocess.Popen(
            python_in(bed.name(f"pod{pod}"), SENDER, self.identity, per_second, count,
                      target or f"10.244.{pod}.1", port, self.file.name))

    @property
    def count(self):
        """How many packets there have been."""
        return struct.unpack("=Q", self.shared[:8])[0]

    def stop(self):
        """Ends it, and returns how many packets there have been."""
        self.shared[8] = 1
        self.process.wait(PATIENCE_SECONDS)
        return self.count


class SensorProcess:
    """A sensor on a machine of its own."""

    def __init__(self, bed, number, form="tcp", certificate=None):
        self.namespace, self.address = bed.name(f"sensor{number}"), f"192.168.{100 + number}.2"
        self.arguments = [form, certificate] if certificate else [form]
        self.folder = tempfile.TemporaryDirectory()
        self.recording = Recording(self.folder.name, is_whole=form != "udp")
        self.begin()

    def begin(self):
        self.process = subprocess.Popen(
            command_in(self.namespace, sys.executable, "-m", "support.sensor", self.folder.name,
                       *self.arguments),
            cwd=INTEGRATION, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()

    def say(self, line):
        print(line, file=self.process.stdin, flush=True)

    def statistics(self):
        """What the agent says of the capture: frames received, dropped and sent."""
        self.say("statistics")
        return tuple(map(int, self.process.stdout.readline().split()))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def sessions(self):
        return self.recording.sessions()

    def await_packet(self, sender, number, session=1, seconds=PATIENCE_SECONDS):
        """Waits until the sensor has a sender's packet with this number or a higher one, in this
        session or a later one."""
        found = []

        def is_there():
            found[:] = [index for stream in self.sessions()[session - 1:]
                        for identity, index in stream.numbered
                        if identity == sender.identity]
            return bool(found) and max(found) >= number

        wait_until(is_there, lambda: f"not {number}, but {max(found, default=None)}", seconds)

    def await_count(self, count):
        """Waits until the last session has brought as many packets, and not more."""
        wait_until(lambda: self.sessions()[-1].count == count, lambda:
                   f"{self.sessions()[-1].count} packets have come, and {count} were sent")

    def close(self):
        self.kill()
        self.recording.close()
        self.folder.cleanup()


class FeedBed:
    """A node with pods behind routed veths, and sensors behind others."""

    def __init__(self, pods=1, sensors=2):
        self.prefix = f"ft{os.getpid()}-{time.monotonic_ns() % 1000000}"
        self.add("node")
        for number in range(pods):
            self.add_pod(number)
        for number in range(sensors):
            self.add_wire(f"sensor{number}", f"sensor{number}", f"192.168.{100 + number}")
        # Takes what pods send to their gateways, and throws it away.
        self.sink = socket_in(self.name("node"), kind=socket.SOCK_DGRAM)
        self.sink.bind(("0.0.0.0", SINK))

    def name(self, name):
        return f"{self.prefix}-{name}"

    def add(self, name):
        add_namespace(self.name(name), ipv6=False)

    def ip(self, name, *words):
        """Runs ip(8) on a namespace, and returns its output."""
        return ip_in(self.name(name), *words).stdout

    def inside(self, name, *words):
        """Runs a command in a namespace, and returns its output."""
        return run_in(self.name(name), *words).stdout

    def add_wire(self, name, device, network):
        """Another machine, with the end .2 of a wire whose end .1 is the node's."""
        self.add(name)
        add_wire(self.name("node"), device, self.name(name))
        # Packets go one by one, as real ones do, however many the sender hands over at once.
        self.ip(name, "link", "set", "eth0", "gso_max_segs", "1")
        self.ip(name, "addr", "add", f"{network}.2/24", "dev", "eth0")
        self.ip("node", "addr", "add", f"{network}.1/24", "dev", device)
        self.ip(name, "route", "add", "default", "via", f"{network}.1")

    def add_pod(self, number):
        self.add_wire(f"pod{number}", f"veth-pod{number}", f"10.244.{number}")

    def remove_pod(self, number):
        run("ip", "netns", "del", self.name(f"pod{number}"))

    def remove(self):
        self.sink.close()
        remove_namespaces(f"{self.prefix}-")


class FeedCase(unittest.TestCase):
    """A node, an agent, sensors, and a pod that sends all the time."""

    def start(self, pods=1, sensors=2, forms=("tcp", "tcp"), certificate=None,
              per_second=PER_SECOND, **variables):
        """A node with an agent, sensors, and a pod that sends; the first sensor is the one that
        something happens to."""
        self.bed = FeedBed(pods, sensors)
        self.addCleanup(self.bed.remove)
        self.sensors = [SensorProcess(self.bed, number, forms[number], certificate)
                        for number in range(sensors)]
        for sensor in self.sensors:
            self.addCleanup(sensor.close)
        self.endpoint = Endpoint(self.bed.name("node"))
        self.agent = self.start_agent(**variables)
        self.sender = self.send(0, per_second=per_second)
        for sensor in self.sensors:
            self.await_service(sensor)

    def certificate(self):
        """The files of a new certificate and its key."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        certificate, key = f"{folder.name}/tls.crt", f"{folder.name}/tls.key"
        make_certificate(key, certificate)
        return certificate, key

    def start_agent(self, prefix=(), **variables):
        agent = Program(self.bed.name("node"), "agent", prefix=prefix, **{
            "EXTRAHOP_SENSOR_IP": ",".join(sensor.address for sensor in self.sensors),
            "PODNET": "10.244.0.0/16", **variables})
        self.addCleanup(agent.kill)
        agent.await_text("capture started", len(self.sensors))
        return agent

    def send(self, pod, **keywords):
        sender = Sender(self.bed, pod, **keywords)
        self.addCleanup(sender.stop)
        return sender

    def await_service(self, sensor, session=1, seconds=PATIENCE_SECONDS):
        """Waits until the sensor gets what is sent from now on."""
        sensor.await_packet(self.sender, self.sender.count + 1, session, seconds)

    def run_for(self, seconds):
        """Lets it be for a while: for what is about time itself."""
        time.sleep(seconds)

    def await_sent(self, count):
        """Waits until the pod has sent so many packets more."""
        goal = self.sender.count + count
        wait_until(lambda: self.sender.count >= goal, "the pod does not send")

    def await_fate(self, sensor, fate, count):
        """Waits until so many frames for a sensor have met with a fate."""
        name = f"{sensor.address}:2003"
        self.endpoint.await_metrics(lambda metrics: count <= metrics.sum(
            "podwire_frames_total", sensor=name, fate=fate), f"not {count} {fate}")

    def finish(self, untouched=()):
        """Ends all, and checks what must be so whatever has happened. Returns the counts of each
        sensor's last capture."""
        self.count = self.sender.stop()
        for sensor in self.sensors:
            if sensor.recording.is_whole:
                sensor.await_packet(self.sender, self.count - 1)
        self.assertEqual(self.agent.stop(), 0, self.agent.text()[-4000:])
        for sensor in self.sensors:
            found = self.packets(sensor)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        counts = {sensor: counts_of(self.lines(sensor, "capture ended")[-1])
                  for sensor in self.sensors}
        for sensor in self.sensors:
            if sensor.recording.is_whole:
                sensor.await_count(counts[sensor]["sent"])
        for sensor in untouched:
            self.check_untouched(sensor)
        return counts

    def check_pods(self, sensor, pods):
        """Waits until each of some pods is captured."""
        for number in pods:
            sender = self.send(number, per_second=1000)
            sensor.await_packet(sender, 1)
            sender.stop()

    def packets(self, sensor):
        """The senders and numbers of all packets that have come."""
        return [packet for stream in sensor.sessions() for packet in stream.numbered]

    def numbers(self, sensor, sender):
        return [number for identity, number in self.packets(sensor) if identity == sender.identity]

    def longest_gap(self, sensor, sender):
        """The most packets of a sender in a row that have not come, between others that have."""
        found = self.numbers(sensor, sender)
        return max(after - before for before, after in itertools.pairwise(found)) - 1

    def lost(self, sensor):
        """How many of the packets are missing between the first one that came and the last."""
        found = self.numbers(sensor, self.sender)
        return max(found) - min(found) + 1 - len(found)

    def check_untouched(self, sensor):
        """One session has brought all packets, and soon."""
        sessions = sensor.sessions()
        self.assertEqual(len(sessions), 1, self.agent.text()[-4000:])
        self.assertEqual(self.lost(sensor), 0, self.agent.text()[-4000:])
        delays = sorted(sessions[0].delays)
        self.assertLess(delays[int(len(delays) * 0.9)], DELAY_MAX)

    def lines(self, sensor, text):
        """What the log says of a sensor."""
        return [line for line in self.agent.lines(text) if f"sensor={sensor.address}:" in line]

    def check_lost(self, sensor, counts, least=1):
        """A sensor has not got what its capture says that was dropped, and nothing else."""
        dropped = counts["dropped_by_ring"] + counts.get("dropped_by_queue", 0)
        self.assertGreaterEqual(dropped, least, counts)
        # Some of them may be packets that no sender has numbered.
        self.assertLessEqual(abs(self.lost(sensor) - dropped), 20, counts)
