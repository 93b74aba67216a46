"""What goes wrong with sensors, networks, nodes and the agent itself, while pods send tens of thousands
of packets a second.

After each fault service comes back by itself, the agent's accounts balance (`Program` sees to that),
no packet is delivered twice, and the other sensor has not noticed anything. PODWIRE names the binary.
"""

import itertools
import mmap
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from agent_test import run  # noqa: E402
from namespace import in_namespace  # noqa: E402
from program import Program, counts_of  # noqa: E402
from scarcity import Scarcity  # noqa: E402
from sensor import SINK, Recording  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PER_SECOND = 20_000
# A sensor that is not affected gets a packet so soon, also from a busy machine.
DELAY_MAX = 1.0
# The kernel gives up on a peer after a minute, and needs a few seconds more to notice.
PEER_SECONDS = (55, 80)

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
            ["ip", "netns", "exec", bed.name(f"pod{pod}"), sys.executable, "-c", SENDER,
             *map(str, (self.identity, per_second, count, target or f"10.244.{pod}.1", port)),
             self.file.name])

    @property
    def count(self):
        """How many packets there have been."""
        return struct.unpack("=Q", self.shared[:8])[0]

    def stop(self):
        """Ends it, and answers how many packets there have been."""
        self.shared[8] = 1
        self.process.wait(30)
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
            ["ip", "netns", "exec", self.namespace, sys.executable, HERE / "sensor.py",
             self.folder.name, *self.arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()

    def say(self, line):
        print(line, file=self.process.stdin, flush=True)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def sessions(self):
        return self.recording.sessions()

    def await_packet(self, sender, number, session=1, seconds=20):
        """Waits until the sensor has a sender's packet with this number or a higher one, in this
        session or a later one."""
        deadline = time.monotonic() + seconds
        while True:
            found = [index for stream in self.sessions()[session - 1:]
                     for identity, index in stream.numbered[-4000:] if identity == sender.identity]
            if found and max(found) >= number:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not {number}, but {max(found, default=None)}")
            time.sleep(0.02)

    def await_count(self, count, seconds=10):
        """Waits until the last session has brought as many packets, and not more."""
        deadline = time.monotonic() + seconds
        while (found := self.sessions()[-1].count) != count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{found} packets have come, and {count} were sent")
            time.sleep(0.02)

    def close(self):
        self.kill()
        self.recording.close()
        self.folder.cleanup()


class Bed:
    """A node with pods behind routed veths, and sensors behind others."""

    def __init__(self, pods=1, sensors=2):
        self.prefix = f"ft{os.getpid()}-{time.monotonic_ns() % 1000000}"
        self.names, self.sinks = [], []
        self.add("node")
        for number in range(pods):
            self.add_pod(number)
        for number in range(sensors):
            self.add_wire(f"sensor{number}", f"sensor{number}", f"192.168.{100 + number}")
        # Takes what pods send to their gateways, and throws it away.
        self.sink = in_namespace(
            self.name("node"), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sink.bind(("0.0.0.0", SINK))

    def name(self, name):
        return f"{self.prefix}-{name}"

    def add(self, name):
        run("ip", "netns", "add", self.name(name))
        self.names.append(name)
        self.ip(name, "link", "set", "lo", "up")
        for scope in ("default", "all"):
            self.inside(name, "sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")

    def ip(self, name, *words, **keywords):
        return run("ip", "-n", self.name(name), *words, **keywords).stdout

    def inside(self, name, *words, **keywords):
        return run("ip", "netns", "exec", self.name(name), *words, **keywords).stdout

    def add_wire(self, name, device, network):
        """Another machine, with the end .2 of a wire whose end .1 is the node's."""
        self.add(name)
        self.ip("node", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns",
                self.name(name))
        # Packets go one by one, as real ones do, however many the sender hands over at once.
        self.ip(name, "link", "set", "eth0", "gso_max_segs", "1", "up")
        self.ip(name, "addr", "add", f"{network}.2/24", "dev", "eth0")
        self.ip("node", "addr", "add", f"{network}.1/24", "dev", device)
        self.ip("node", "link", "set", device, "up")
        self.ip(name, "route", "add", "default", "via", f"{network}.1")

    def add_pod(self, number):
        self.add_wire(f"pod{number}", f"veth-pod{number}", f"10.244.{number}")

    def remove_pod(self, number):
        run("ip", "netns", "del", self.name(f"pod{number}"))
        self.names.remove(f"pod{number}")

    def remove(self):
        self.sink.close()
        for name in self.names[::-1]:
            run("ip", "netns", "del", self.name(name), check=False)


class Case(unittest.TestCase):
    def start(self, pods=1, sensors=2, forms=("tcp", "tcp"), certificate=None,
              per_second=PER_SECOND, **variables):
        """A node with an agent, sensors, and a pod that sends; the first sensor is the one that
        something happens to."""
        self.bed = Bed(pods, sensors)
        self.addCleanup(self.bed.remove)
        self.sensors = [SensorProcess(self.bed, number, forms[number], certificate)
                        for number in range(sensors)]
        for sensor in self.sensors:
            self.addCleanup(sensor.close)
        self.agent = self.start_agent(**variables)
        self.sender = self.send(0, per_second=per_second)
        for sensor in self.sensors:
            self.await_service(sensor)

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

    def await_service(self, sensor, session=1, seconds=15):
        """Waits until the sensor gets what is sent from now on."""
        sensor.await_packet(self.sender, self.sender.count + 1, session, seconds)

    def run_for(self, seconds):
        """Lets it be for a while: for what is about time itself."""
        time.sleep(seconds)

    def finish(self, untouched=()):
        """Ends all, and checks what must be so whatever has happened. Answers the counts of each
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

    def packets(self, sensor):
        """The senders and numbers of all packets that have come."""
        return [packet for stream in sensor.sessions() for packet in stream.numbered]

    def numbers(self, sensor, sender):
        return [number for identity, number in self.packets(sensor) if identity == sender.identity]

    def lost(self, sensor):
        """How many of the packets are missing between the first one that came and the last."""
        found = self.numbers(sensor, self.sender)
        return max(found) - min(found) + 1 - len(found)

    def check_untouched(self, sensor):
        """One session has brought all packets, and soon."""
        sessions = sensor.sessions()
        self.assertEqual(len(sessions), 1, self.agent.text()[-4000:])
        self.assertEqual(self.lost(sensor), 0, self.agent.text()[-4000:])
        self.assertLess(max(sessions[0].delays), DELAY_MAX)

    def lines(self, sensor, text):
        """What the log says of a sensor."""
        return [line for line in self.agent.text().splitlines()
                if text in line and f"sensor={sensor.address}:" in line]

    def check_lost(self, sensor, counts, least=1):
        """A sensor has not got what its capture says that was dropped, and nothing else."""
        self.assertGreaterEqual(counts["dropped_by_ring"], least, counts)
        # The rings may have lost a few that no sender has numbered.
        dropped = counts["dropped_by_ring"] + counts.get("dropped_by_queue", 0)
        self.assertLessEqual(abs(self.lost(sensor) - dropped), 20, counts)


class SensorTest(Case):
    """Sensors that go, come back, or do not do their work."""

    def test_a_sensor_that_is_killed(self):
        self.start()
        victim, other = self.sensors
        for session in (2, 3):
            victim.kill()
            self.agent.await_text("sensor session ended", session - 1)
            victim.begin()
            self.await_service(victim, session)
        self.finish(untouched=[other])
        self.assertEqual(len(victim.sessions()), 3)

    def test_a_sensor_that_dies_while_its_wire_is_cut(self):
        """So nobody says that it is gone before the wire is there again."""
        self.start()
        victim, other = self.sensors
        self.bed.ip("sensor0", "link", "set", "eth0", "down")
        victim.kill()
        self.run_for(2)
        self.assertNotIn("sensor session ended", self.agent.text())
        self.bed.ip("sensor0", "link", "set", "eth0", "up")
        victim.begin()
        self.await_service(victim, 2)
        self.finish(untouched=[other])

    def test_a_wire_that_is_cut_for_a_while(self):
        """The queue holds what is captured in the meantime, and nothing is lost."""
        self.start()
        victim, other = self.sensors
        self.bed.ip("sensor0", "link", "set", "eth0", "down")
        self.run_for(3)
        self.bed.ip("sensor0", "link", "set", "eth0", "up")
        self.await_service(victim)
        self.finish(untouched=[other])
        self.assertEqual((len(victim.sessions()), self.lost(victim)), (1, 0))

    def test_packets_that_a_firewall_drops_for_a_while(self):
        self.start()
        victim, other = self.sensors
        self.bed.inside("sensor0", "nft", "add table ip cut; add chain ip cut in { type filter "
                        "hook input priority 0; policy drop; }")
        self.run_for(3)
        self.bed.inside("sensor0", "nft", "delete table ip cut")
        self.await_service(victim)
        self.finish(untouched=[other])
        self.assertEqual((len(victim.sessions()), self.lost(victim)), (1, 0))

    def test_a_sensor_that_stalls_and_goes_on(self):
        """The queue fills, then the rings, and what comes then is dropped there and counted."""
        self.check_slowed("read nothing", 5)

    def test_a_sensor_that_is_slow(self):
        """What it gets is a stream without a gap in the numbers of its records (`Recording` sees to
        that), which has what was not dropped."""
        self.check_slowed("read 400000", 6)

    def check_slowed(self, reading, seconds):
        """A sensor that reads so for a while has one session all the time, and what it lost was
        counted."""
        self.start(PODWIRE_QUEUE_MEMORY="1MiB", PODWIRE_RING_MEMORY="4MiB")
        victim, other = self.sensors
        victim.say(reading)
        self.run_for(seconds)
        victim.say("read all")
        self.await_service(victim)
        counts = self.finish(untouched=[other])
        self.assertEqual(len(victim.sessions()), 1)
        self.check_lost(victim, counts[victim], 1000)

    def test_a_udp_sensor_whose_port_closes_and_opens(self):
        self.start(forms=("udp", "tcp"), PODWIRE_UDP_FORMAT="packet")
        victim, other = self.sensors
        victim.say("close")
        self.run_for(2)
        victim.say("open")
        self.await_service(victim)
        counts = self.finish(untouched=[other])
        self.assertEqual(len(victim.sessions()), 1)
        self.assertGreater(counts[victim]["datagrams_refused"], 0)
        self.assertGreater(self.lost(victim), 1000)

    def test_a_queue_with_no_room_for_segments(self):
        """Super-frames become more bytes than they are, and a sensor that stalls leaves no room."""
        self.start(PODWIRE_QUEUE_MEMORY="1MiB", PODWIRE_RING_MEMORY="4MiB")
        victim, other = self.sensors
        victim.say("read nothing")
        self.bed.ip("pod0", "link", "set", "eth0", "gso_max_segs", "65535")
        raw = self.raw_socket(0)
        # 1,000 segments of 8 bytes each, whose headers make 8,000 bytes some 90,000.
        payload = bytes(8000)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 1, 0, 64, 6, 0,
                         bytes([10, 244, 0, 2]), bytes([10, 244, 0, 1]))
        tcp = struct.pack("!HHIIBBHHH", 5000, 9, 1, 1, 0x50, 0x10, 1000, 0, 0)
        frame = struct.pack("=BBHHHH", 1, 1, 54, 8, 34, 16) + self.addresses(0) \
            + b"\x08\x00" + ip + tcp + payload
        # Many in a row, so that they are in one block of a ring.
        for _ in range(10):
            for _ in range(20):
                raw.send(frame)
            time.sleep(0.02)
        victim.say("read all")
        self.await_service(victim)
        counts = self.finish()
        self.assertEqual([len(sensor.sessions()) for sensor in self.sensors], [1, 1])
        self.assertGreater(counts[victim]["dropped_by_queue"], 0)
        self.assertGreater(counts[victim]["segments"], 1000)

    def raw_socket(self, pod):
        """Sends frames from a pod, each behind what is left to do for it."""
        SOL_PACKET, PACKET_VNET_HDR = 263, 15
        raw = in_namespace(self.bed.name(f"pod{pod}"),
                           lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        self.addCleanup(raw.close)
        in_namespace(self.bed.name(f"pod{pod}"), lambda: raw.bind(("eth0", 0)))
        raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        return raw

    def addresses(self, pod):
        mac = self.bed.inside("node", "cat", f"/sys/class/net/veth-pod{pod}/address").strip()
        return bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000001")

    def certificate(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        certificate, key = f"{folder.name}/tls.crt", f"{folder.name}/tls.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=podwire", "-keyout", key, "-out", certificate)
        return certificate, key

    def test_tls_that_is_cut_in_the_middle(self):
        """By a sensor that is killed, by one that leaves without a word, and by a wire."""
        certificate, key = self.certificate()
        self.start(forms=("tls", "tls"), certificate=certificate,
                   PODWIRE_TLS_CERTIFICATE=certificate, PODWIRE_TLS_KEY=key)
        victim, other = self.sensors
        victim.say("read nothing")
        self.run_for(0.5)
        victim.kill()
        victim.begin()
        self.await_service(victim, 2)
        victim.say("close")
        self.await_service(victim, 3)
        self.bed.ip("sensor0", "link", "set", "eth0", "down")
        self.run_for(1)
        self.bed.ip("sensor0", "link", "set", "eth0", "up")
        self.await_service(victim, 3)
        self.finish(untouched=[other])
        self.assertEqual(len(victim.sessions()), 3)


class AgentFaultTest(Case):
    """What happens to the agent itself."""

    def test_an_agent_that_is_killed(self):
        self.start()
        self.agent.process.kill()
        self.agent.process.wait()
        self.agent = self.start_agent()
        for sensor in self.sensors:
            self.await_service(sensor, 2)
        self.finish()
        for sensor in self.sensors:
            self.assertEqual(len(sensor.sessions()), 2)

    def test_an_agent_that_is_suspended(self):
        """Its rings hold less than comes in three seconds; the rest is counted."""
        self.start(PODWIRE_RING_MEMORY="4MiB")
        pid = self.agent.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            self.run_for(3)
        finally:
            os.kill(pid, signal.SIGCONT)
        for sensor in self.sensors:
            self.await_service(sensor)
        for sensor, counts in self.finish().items():
            self.assertEqual(len(sensor.sessions()), 1)
            self.check_lost(sensor, counts, 10_000)

    def test_descriptors_that_are_used_up(self):
        """Edges that find none are named once and tried again, and all others captured; when there
        are descriptors they are, too."""
        self.start(sensors=1)
        sensor, pid = self.sensors[0], self.agent.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        numbers = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
        # Enough for two rings more, each of which takes two.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(numbers) + 6, hard))
        for number in range(1, 9):
            self.bed.add_pod(number)
        self.agent.await_text("an edge cannot be captured", 5)
        self.assertIn("Too many open files", self.agent.text())
        self.run_for(2.5)
        lines = [line for line in self.agent.text().splitlines()
                 if "an edge cannot be captured" in line]
        self.assertEqual(len(lines), len(set(re.findall(r"edge=\S+", "".join(lines)))))
        self.await_service(sensor)
        # The descriptors of those that go are for those that have none.
        for number in range(1, 7):
            self.bed.remove_pod(number)
        self.check_pods(sensor, (7, 8))
        for number in range(9, 15):
            self.bed.add_pod(number)
        self.agent.await_text("an edge cannot be captured", len(lines) + 3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.check_pods(sensor, range(7, 15))
        self.assertIn("captured after all", self.agent.text())
        self.finish(untouched=[sensor])

    def check_pods(self, sensor, pods):
        """Waits until each of some pods is captured."""
        for number in pods:
            sender = self.send(number, per_second=1000)
            sensor.await_packet(sender, 1, seconds=10)
            sender.stop()

    def test_ring_memory_that_is_used_up(self):
        """All edges are captured, those without a ring of their own by one that they share."""
        self.start(PODWIRE_RING_MEMORY="1MiB")
        for number in range(1, 9):
            self.bed.add_pod(number)
        self.agent.await_text("the ring memory is used up", len(self.sensors))
        for sensor in self.sensors:
            self.check_pods(sensor, range(1, 9))
        self.assertLessEqual(self.agent.ring_bytes(), len(self.sensors) << 20)
        for number in range(1, 9):
            self.bed.remove_pod(number)
        for number in range(9, 12):
            self.bed.add_pod(number)
            self.check_pods(self.sensors[0], [number])
        self.finish()

    def test_a_kernel_without_memory_for_rings(self):
        """The edges that there are go on, others are captured as soon as there is memory, and the log
        says so once."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        scarcity = Scarcity(folder.name)
        self.start(prefix=scarcity.prefix)
        # Before the agent ends, which is to have its answers.
        self.addCleanup(scarcity.close)
        scarcity.is_on = True
        for number in range(1, 5):
            self.bed.add_pod(number)
        self.agent.await_text("edges without memory are not captured", len(self.sensors))
        self.run_for(2.5)
        self.assertGreater(scarcity.refused, 0)
        for text, count in (("edges without memory are not captured", 1),
                            ("an edge cannot be captured", 4)):
            self.assertLessEqual(self.agent.text().count(text), count * len(self.sensors))
        for sensor in self.sensors:
            self.await_service(sensor)
        scarcity.is_on = False
        for sensor in self.sensors:
            self.check_pods(sensor, range(1, 5))
        self.finish(untouched=self.sensors)


class NodeFaultTest(Case):
    """What happens to the node's network."""

    def test_pods_that_come_and_go(self):
        """Each is captured until its last packet, and the one that stays all the time."""
        self.start()
        senders = []
        for number in range(1, 13):
            self.bed.add_pod(number)
            self.agent.await_text("edge captured", number)
            senders.append(self.send(number, count=2000))
            senders[-1].process.wait(20)
            self.bed.remove_pod(number)
        self.agent.await_text("edge gone", 12)
        self.finish(untouched=self.sensors)
        for sensor in self.sensors:
            for sender in senders:
                numbers = self.numbers(sensor, sender)
                # The first ones may have come before there was a ring.
                self.assertEqual(numbers, list(range(numbers[0], 2000)))

    def test_interfaces_that_get_other_names(self):
        """A pod's, and the one that leads to a sensor."""
        self.start()
        for old, new in (("veth-pod0", "renamed0"), ("sensor0", "renamed1")):
            if not self.renamed_while_up(old, new):
                self.bed.ip("node", "link", "set", old, "down")
                self.bed.ip("node", "link", "set", old, "name", new)
                self.bed.ip("node", "link", "set", new, "up")
            self.run_for(0.5)
            for sensor in self.sensors:
                self.await_service(sensor)
        self.finish(untouched=self.sensors)

    def renamed_while_up(self, old, new):
        """Newer kernels allow that."""
        return run("ip", "-n", self.bed.name("node"), "link", "set", old, "name", new,
                   check=False).returncode == 0

    def test_connection_tracking_that_is_flushed(self):
        """Calls to a service, of which the node's tracking knows where they go, are reported once
        each, also when the node has forgotten them and learns them anew."""
        self.start(pods=3, SVCNET="10.96.0.0/16")
        self.bed.inside("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.bed.inside("node", "nft", "add table ip nat; add chain ip nat pre { type nat hook "
                        "prerouting priority -100; }; add rule ip nat pre ip daddr 10.96.0.1 "
                        f"udp dport {SINK} dnat to 10.244.2.2:5000")
        sink = in_namespace(self.bed.name("pod2"),
                            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.addCleanup(sink.close)
        sink.bind(("0.0.0.0", 5000))
        for port in (4000, 6000):
            # The end with the lower port reports: the client's edge, and the backend's.
            sender = self.send(1, target="10.96.0.1", port=port, per_second=5000)
            for _ in range(20):
                for sensor in self.sensors:
                    sensor.await_packet(sender, sender.count)
                self.bed.inside("node", "conntrack", "-F")
            count = sender.stop()
            for sensor in self.sensors:
                sensor.await_packet(sender, count - 1)
                self.assertEqual(self.numbers(sensor, sender), list(range(count)))
        for counts in self.finish(untouched=self.sensors).values():
            self.assertGreater(counts["translated"], 1000)


class Absence(Case):
    """Sensors that stay away for longer than the agent puts up with, beside one that does not. It
    takes a minute, so it goes on in the background while the other tests are run."""

    def begin(self):
        self.start(sensors=4, forms=("tcp", "tcp", "udp", "tcp"), per_second=1000,
                   PODWIRE_QUEUE_MEMORY="1MiB", PODWIRE_RING_MEMORY="4MiB",
                   PODWIRE_UDP_FORMAT="packet")
        self.noticed, self.over = {}, threading.Event()
        # The first reads nothing though it is there; the others are not there.
        self.sensors[0].say("read nothing")
        for number in (1, 2):
            self.bed.ip(f"sensor{number}", "link", "set", "eth0", "down")
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        self.addCleanup(self.thread.join)
        self.addCleanup(self.over.set)

    def watch(self):
        """Has each sensor be as it should as soon as the agent has given up on it."""
        begin = time.monotonic()
        while len(self.noticed) < 3 and time.monotonic() < begin + PEER_SECONDS[1]:
            if self.over.wait(0.2):
                return
            for number, sensor in enumerate(self.sensors[:3]):
                if number in self.noticed or not self.lines(sensor, "sensor session ended"):
                    continue
                self.noticed[number] = time.monotonic() - begin
                if number == 0:
                    sensor.say("read all")
                else:
                    self.bed.ip(f"sensor{number}", "link", "set", "eth0", "up")


absence = Absence()


def setUpModule():
    unittest.addModuleCleanup(absence.doCleanups)
    absence.begin()


class TimeOutTest(unittest.TestCase):
    """The last one in the order of their names."""

    def test_sensors_that_stay_away_for_long(self):
        absence.thread.join()
        print(absence.noticed, end=" ", flush=True)
        for number in range(3):
            self.assertIn(number, absence.noticed, absence.agent.text()[-4000:])
            self.assertGreater(absence.noticed[number], PEER_SECONDS[0])
            absence.await_service(absence.sensors[number], 2, seconds=45)
        absence.finish(untouched=[absence.sensors[3]])
        for sensor in absence.sensors[:3]:
            self.assertEqual(len(sensor.sessions()), 2)


if __name__ == "__main__":
    unittest.main()
