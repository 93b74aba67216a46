"""What goes wrong with sensors, networks, nodes and the agent itself, while pods send tens of thousands
of packets a second.

After each fault service comes back by itself, the agent's accounts balance (`Program` sees to that),
no packet is delivered twice, and the other sensor has not noticed anything. PODWIRE names the binary.
"""

import os
import re
import resource
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

from support import frames
from support.commands import run
from support.feed import PER_SECOND, FeedCase
from support.namespace import mac_in, packet_socket_in, socket_in
from support.scarcity import Scarcity
from support.sensor import SINK
from support.waiting import PATIENCE_SECONDS, wait_until

# The kernel gives up on a peer after a minute, and needs a few seconds more to notice.
PEER_SECONDS = (55, 120)
# How long a sensor is slow, and how much a pod sends that floods nobody.
SLOW_SECONDS, STEADY_PER_SECOND = 6, 200


class SensorTest(FeedCase):
    """Sensors that go, come back, or do not do their work."""

    def test_a_sensor_that_is_killed(self):
        # Short sessions count as failures, which have a line each at level debug only.
        self.start(PODWIRE_LOG_LEVEL="debug")
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
        # Short sessions have their lines at level debug.
        self.start(PODWIRE_LOG_LEVEL="debug")
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
        """The queue fills, and what comes then is dropped there and counted: the other sensor, which
        shares the rings, gets it."""
        self.check_slowed("read nothing")

    def test_a_sensor_that_is_slow(self):
        """What it gets is a stream without a gap in the numbers of its records (`Recording` sees to
        that), which has what was not dropped."""
        self.check_slowed("read 400000")

    def check_slowed(self, reading):
        """A sensor that reads so for a while has one session all the time, and what it lost was
        counted."""
        self.start(PODWIRE_QUEUE_MEMORY="1MiB")
        victim, other = self.sensors
        victim.say(reading)
        self.await_fate(victim, "dropped_by_queue", 5000)
        victim.say("read all")
        self.await_service(victim)
        counts = self.finish(untouched=[other])
        self.assertEqual(len(victim.sessions()), 1)
        self.assertEqual(counts[victim]["dropped_by_ring"], 0)
        self.check_lost(victim, counts[victim], 1000)

    def test_the_only_sensor_that_is_slow_while_one_pod_floods(self):
        """It reads a quarter of what comes. Another pod, which sends little, has no gap of half a
        second, and what is lost is counted while it is lost."""
        self.check_flooded("dropped_by_ring", sensors=1)

    def test_a_sensor_that_is_slow_while_one_pod_floods(self):
        """The same beside a sensor that reads everything."""
        self.check_flooded("dropped_by_queue", sensors=2)

    def check_flooded(self, fate, sensors):
        self.start(pods=2, sensors=sensors, PODWIRE_QUEUE_MEMORY="4MiB")
        sensor, *others = self.sensors
        sensor.say("read 400000")
        self.await_fate(sensor, fate, 1)
        replaced = self.endpoint.fresh_metrics().sum("podwire_rings_replaced_total")
        steady = self.send(1, per_second=STEADY_PER_SECOND)
        before, seen = self.dropped(sensor), []
        for _ in range(SLOW_SECONDS):
            self.run_for(1)
            seen.append(self.dropped(sensor))
            for earlier, later in zip(before, seen[-1]):
                self.assertGreater(later, earlier, seen)
            before = seen[-1]
        metrics, queue = self.endpoint.fresh_metrics(), 4 << 20
        if not others:
            self.assertEqual(metrics.sum("podwire_rings_replaced_total"), replaced,
                             "while it was slow")
        queued, sent = (metrics.sum(f"podwire_packets_{what}_total")
                        for what in ("forwarded", "sent"))
        # Each packet has 28 bytes of headers in front of its 60.
        self.assertGreater(queued - sent, queue // 4 // 88)
        self.assertLess(queued - sent, (queue + queue // 16) // 88)
        steady.stop()
        sensor.say("read all")
        self.await_service(sensor)
        self.finish(untouched=others)
        gap = self.longest_gap(sensor, steady)
        print(f"gap {gap / STEADY_PER_SECOND:.2f} s", end=" ", flush=True)
        self.assertLess(gap, STEADY_PER_SECOND / 2)
        self.assertEqual(len(sensor.sessions()), 1)

    def dropped(self, sensor):
        """What the agent says that a sensor has lost: in the metrics, and in STATS."""
        metrics = self.endpoint.metrics()
        return (sum(metrics.sum("podwire_frames_total", fate=f"dropped_by_{what}")
                    for what in ("ring", "queue")), sensor.statistics()[1])

    def test_a_udp_sensor_whose_port_closes_and_opens(self):
        self.start(forms=("udp", "tcp"), PODWIRE_UDP_FORMAT="packet")
        victim, other = self.sensors
        victim.say("close")
        self.await_sent(20_000)
        self.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_datagrams_refused_total") > 0)
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
        raw, receiver, own = self.raw_socket(0)
        # 1,000 segments of 8 bytes each, whose headers make 8,000 bytes some 90,000.
        tcp = struct.pack("!HHIIBBHHH", 5000, 9, 1, 1, 0x50, 0x10, 1000, 0, 0) + bytes(8000)
        packet = frames.ipv4("10.244.0.2", "10.244.0.1", frames.TCP, tcp, identification=1)
        frame = (struct.pack("=BBHHHH", 1, 1, 54, 8, 34, 16)
                 + frames.ethernet(receiver, own, frames.IPV4, packet))

        def has_no_room():
            # Many in a row, so that they are in one block of a ring.
            for _ in range(20):
                raw.send(frame)
            return self.endpoint.metrics().sum("podwire_frames_total", fate="dropped_by_queue")

        wait_until(has_no_room, "the queue has room for everything", interval=0.05)
        victim.say("read all")
        self.await_service(victim)
        counts = self.finish()
        self.assertEqual([len(sensor.sessions()) for sensor in self.sensors], [1, 1])
        self.assertGreater(counts[victim]["dropped_by_queue"], 0)
        self.assertGreater(counts[victim]["segments"], 1000)

    def raw_socket(self, pod):
        """A socket that sends frames from a pod, each behind what is left to do for it, and the
        addresses of the gateway and of nobody."""
        SOL_PACKET, PACKET_VNET_HDR = 263, 15
        raw = packet_socket_in(self.bed.name(f"pod{pod}"), "eth0")
        self.addCleanup(raw.close)
        raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        return (raw, mac_in(self.bed.name("node"), f"veth-pod{pod}"),
                bytes.fromhex("020000000001"))

    def test_tls_that_is_cut_in_the_middle(self):
        """By a sensor that is killed, by one that leaves without a word, and by a wire."""
        certificate, key = self.certificate()
        self.start(forms=("tls", "tls"), certificate=certificate,
                   PODWIRE_TLS_CERTIFICATE=certificate, PODWIRE_TLS_KEY=key,
                   PODWIRE_LOG_LEVEL="debug")
        victim, other = self.sensors
        victim.say("read nothing")
        self.await_sent(10_000)
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


class AgentFaultTest(FeedCase):
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
            self.await_sent(3 * PER_SECOND)
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
        # In this time they are tried again.
        self.run_for(2.5)
        lines = self.agent.lines("an edge cannot be captured")
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
        self.assertIn("the edge is captured now", self.agent.text())
        self.finish(untouched=[sensor])

    def test_ring_memory_that_is_used_up(self):
        """All edges are captured, those without a ring of their own by one that they share."""
        self.start(PODWIRE_RING_MEMORY="1MiB")
        for number in range(1, 9):
            self.bed.add_pod(number)
        self.agent.await_text("the ring memory is used up")
        for sensor in self.sensors:
            self.check_pods(sensor, range(1, 9))
        # All sensors share the rings.
        self.assertLessEqual(self.agent.ring_bytes(), 1 << 20)
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
        self.agent.await_text("edges without memory are not captured")
        self.run_for(2.5)
        self.assertGreater(scarcity.refused, 0)
        for text, count in (("edges without memory are not captured", 1),
                            ("an edge cannot be captured", 4)):
            self.assertLessEqual(self.agent.text().count(text), count)
        for sensor in self.sensors:
            self.await_service(sensor)
        scarcity.is_on = False
        for sensor in self.sensors:
            self.check_pods(sensor, range(1, 5))
        self.finish(untouched=self.sensors)


class NodeFaultTest(FeedCase):
    """What happens to the node's network."""

    def test_pods_that_come_and_go(self):
        """Each is captured until its last packet, and the one that stays all the time."""
        self.start()
        senders = []
        for number in range(1, 13):
            self.bed.add_pod(number)
            for sensor in self.sensors:
                self.check_pods(sensor, [number])
            senders.append(self.send(number, count=2000))
            senders[-1].process.wait(PATIENCE_SECONDS)
            self.bed.remove_pod(number)
        self.agent.await_text("edge gone", 12)
        self.finish(untouched=self.sensors)
        for sensor in self.sensors:
            for sender in senders:
                self.assertEqual(self.numbers(sensor, sender), list(range(2000)))

    def test_interfaces_that_get_other_names(self):
        """A pod's, and the one that leads to a sensor."""
        self.start()
        for old, new in (("veth-pod0", "renamed0"), ("sensor0", "renamed1")):
            if not self.renamed_while_up(old, new):
                self.bed.ip("node", "link", "set", old, "down")
                self.bed.ip("node", "link", "set", old, "name", new)
                self.bed.ip("node", "link", "set", new, "up")
            if "pod" in old:
                self.endpoint.await_page("/edges", 200, new)
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
        sink = socket_in(self.bed.name("pod2"), kind=socket.SOCK_DGRAM)
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


class Absence(FeedCase):
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
            absence.await_service(absence.sensors[number], 2)
            # Nobody has closed anything.
            reason = absence.lines(absence.sensors[number], "sensor session ended")[0]
            self.assertRegex(reason, "the sensor has (read|answered) nothing for 60 s")
        self.assertIn("has read nothing", absence.lines(
            absence.sensors[0], "sensor session ended")[0])
        absence.finish(untouched=[absence.sensors[3]])
        for sensor in absence.sensors[:3]:
            self.assertEqual(len(sensor.sessions()), 2)


if __name__ == "__main__":
    unittest.main()
