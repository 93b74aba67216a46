"""An agent takes over from another one on its node: every packet comes once, whatever happens meanwhile.

PODWIRE names the binary. What pods have sent and received is recorded by tcpdump inside a pod.
"""

import collections
import datetime
import os
import pathlib
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from support.endpoint import Endpoint
from support.feed import FeedBed, FeedCase
from support.namespace import command_in, in_namespace, python_in, run_in, socket_in
from support.program import Program
from support.sensor import HEADER, PIECE
from support.waiting import PATIENCE_SECONDS, wait_until

# How often an agent is replaced; more with HANDOVERS.
COUNT = int(os.environ.get("HANDOVERS", "3"))
# A debug build has to keep up with it, twice.
PER_SECOND = int(os.environ.get("HANDOVER_PACKETS", "3000"))
FIRST, SECOND, NOBODY = "10.244.0.2", "10.244.1.2", "10.244.1.77"
# The server has the lower port, so that its edge reports; and the higher one.
LOW, HIGH, CLOSED = 700, 61000, 701
NAME = "test"
# No frame here is longer. Of long ones a ring has room for a thousand.
FRAME_BYTE_COUNT_MAX = 2048
# How often a scene is tried that a machine that stalls spoils.
TRIES_MAX = 5
# As in the kernel's headers, which Python does not have.
SO_TIMESTAMPNS = 35

# Answers what it is sent, at two ports.
SERVER = """
import socket, threading
def serve(port):
    listener = socket.create_server(("", port), backlog=4096)
    while True:
        threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
def echo(connection):
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(65536):
            connection.sendall(data)
    except OSError:
        pass
    connection.close()
for port in (%d, %d):
    threading.Thread(target=serve, args=(port,)).start()
print("ready", flush=True)
""" % (LOW, HIGH)

# Connections one after the other that are answered, refused, and heard by nobody; pings; and one long
# connection. Its standard input ends it.
TALKER = """
import itertools, os, socket, struct, sys, threading, time
second, nobody, low, high, closed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
over = threading.Event()
def stream(port):
    with socket.create_connection((second, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not over.is_set():
            connection.sendall(b"x" * 300)
            connection.recv(65536)
            time.sleep(0.001)
def connect(address, port):
    while not over.is_set():
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.connect((address, port))
        except OSError:
            pass
        time.sleep(0.003)
        try:
            connection.send(b"hello")
        except OSError:
            pass
        time.sleep(0.002)
        connection.close()
def ping():
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    for number in itertools.count():
        if over.is_set():
            return
        body = struct.pack("!BBHHHQ", 8, 0, 0, 7, number & 0xffff, number)
        total = sum(struct.unpack("!8H", body))
        total = (total >> 16) + (total & 0xffff)
        raw.sendto(body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + body[4:], (second, 0))
        time.sleep(0.004)
threads = [threading.Thread(target=stream, args=(port,)) for port in (low, high)]
threads += [threading.Thread(target=connect, args=words) for words in
            ((second, low), (second, high), (second, closed), (nobody, low))]
threads.append(threading.Thread(target=ping))
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.read()
over.set()
"""


def identity(packet):
    """What is the same of an IPv4 packet wherever it is seen: all but its TTL and its checksums."""
    length, protocol = struct.unpack_from("!H", packet, 2)[0], packet[9]
    start = 4 * (packet[0] & 15)
    body = bytearray(packet[start:length])
    offset = {6: 16, 17: 6}.get(protocol)
    if offset and len(body) >= offset + 2:
        body[offset:offset + 2] = b"\0\0"
    return packet[4:6] + packet[12:20] + bytes([protocol]) + bytes(body)


def is_counted(packet):
    """Whether it is a TCP segment or a ping between the pods."""
    return packet[12:16] in ADDRESSES and packet[16:20] in ADDRESSES and packet[9] in (1, 6)


ADDRESSES = [socket.inet_aton(address) for address in (FIRST, SECOND, NOBODY)]


def recorded(path):
    """The packets in a file of tcpdump's."""
    data, offset = pathlib.Path(path).read_bytes(), 24
    while offset + 16 <= len(data):
        length = struct.unpack_from("=I", data, offset + 8)[0]
        frame = data[offset + 16:offset + 16 + length]
        offset += 16 + length
        if frame[12:14] == b"\x08\x00":
            yield frame[14:]


def stamps(path):
    """The nanoseconds of each packet that is in a file of tcpdump's once."""
    data, offset, found = pathlib.Path(path).read_bytes(), 24, collections.defaultdict(list)
    while offset + 16 <= len(data):
        seconds, nanoseconds, length = struct.unpack_from("=III", data, offset)
        frame = data[offset + 16:offset + 16 + length]
        offset += 16 + length
        if frame[12:14] == b"\x08\x00":
            found[frame[14:]].append(seconds * 1_000_000_000 + nanoseconds)
    return {packet: times[0] for packet, times in found.items() if len(times) == 1}


def delivered(folder):
    """The packets that a sensor has got, in all of its sessions."""
    for name in sorted(os.listdir(folder), key=int):
        data, stream, offset = pathlib.Path(folder, name).read_bytes(), bytearray(), 0
        while offset + PIECE.size <= len(data):
            length = PIECE.unpack_from(data, offset)[1]
            stream += data[offset + PIECE.size:offset + PIECE.size + length]
            offset += PIECE.size + length
        offset = 0
        while offset + HEADER.size <= len(stream):
            length = HEADER.unpack_from(stream, offset)[1]
            frame = bytes(stream[offset + 28:offset + 8 + length])
            offset += 8 + length
            if frame[12:14] == b"\x08\x00":
                yield frame[14:]


class HandoverCase(FeedCase):
    def begin(self, sensors=2, form="tcp", certificate=None, **variables):
        self.variables = {"PODWIRE_HANDOVER": NAME, **variables}
        self.start(pods=2, sensors=sensors, forms=(form,) * sensors, certificate=certificate,
                   per_second=PER_SECOND, **self.variables)
        self.agent.await_text("serving metrics and probes")

    def newer(self, **variables):
        """Another agent."""
        agent = Program(self.bed.name("node"), "agent", **{
            "EXTRAHOP_SENSOR_IP": ",".join(sensor.address for sensor in self.sensors),
            "PODNET": "10.244.0.0/16", **self.variables, **variables})
        self.addCleanup(agent.kill)
        return agent

    def replace(self, **variables):
        """Has another agent take over."""
        older, self.agent = self.agent, self.newer(**variables)
        self.agent.await_text("this agent has taken over")
        older.await_text("this one waits until it is stopped")
        return older

    def begin_talk(self):
        """Connections and pings between the two pods; its standard input ends them."""
        run_in(self.bed.name("node"), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        server = self.process(python_in(self.bed.name("pod1"), SERVER))
        server.stdout.readline()
        talker = self.process(python_in(
            self.bed.name("pod0"), TALKER, SECOND, NOBODY, LOW, HIGH, CLOSED))
        talker.stdout.readline()
        return talker

    def record(self, place, device, *words):
        """tcpdump in a namespace, and its file."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "packets")
        # It has each packet at once: what waits in a ring is lost when it ends.
        recorder = self.process(command_in(
            self.bed.name(place), "tcpdump", "-Z", "root", "-i", device, "-U", "--immediate-mode", "-B",
            "65536", "-s", FRAME_BYTE_COUNT_MAX, "-w", path, *words))
        wait_until(lambda: path.exists() and path.stat().st_size >= 24, "tcpdump does not begin")
        return recorder, path

    def process(self, command):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)

        def end():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

        self.addCleanup(end)
        return process

    def has_ended(self, agent):
        """What an agent says that has ended adds up."""
        self.assertEqual(agent.stop(), 0, agent.text()[-4000:])

    def check_numbered(self):
        """Each sensor has got each numbered packet once, in whatever session."""
        last = self.sender.stop() - 1
        for sensor in self.sensors:
            sensor.await_packet(self.sender, last)
            wait_until(lambda: self.lost(sensor) == 0, lambda: f"{self.lost(sensor)} are lost")
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
            self.assertEqual(max(found), last)

    def check_every_packet(self, count):
        recorder, truth = self.record("pod0", "eth0", "tcp or icmp")
        talker = self.begin_talk()
        for _ in range(count):
            self.run_for(1)
            older = self.replace()
            # It has to be told to stop, or it would be started again.
            self.assertIsNone(older.process.poll())
            # A name that is free a little later is nothing to warn of.
            for agent in (older, self.agent):
                self.assertNotIn("no handover with another agent", agent.text())
            self.has_ended(older)
            # The endpoint belongs to the one that forwards.
            self.endpoint.await_page("/readyz", 200, "ready")
        self.end_talk(talker)
        self.end(recorder, truth)
        self.check_numbered()
        self.assertEqual(self.agent.stop(), 0)
        for sensor in self.sensors:
            self.check_same(recorded(truth), delivered(sensor.folder.name))

    def end_talk(self, talker):
        self.run_for(1)
        talker.stdin.close()
        talker.wait(PATIENCE_SECONDS)
        # The last request waits for its answer, and until it is told to the sensors.
        self.run_for(1)
        self.endpoint.await_metrics(
            lambda metrics: metrics.waiting_requests() == 0, "requests wait, or have several fates")

    def end(self, recorder, path):
        """Ends tcpdump when it has all that has passed: what comes last is a ping to the gateway."""
        def is_there():
            pattern = secrets.token_bytes(16)
            self.bed.inside("pod0", "ping", "-q", "-c", "1", "-p", pattern.hex(), "10.244.0.1")
            return pattern in path.read_bytes()

        wait_until(is_there, "tcpdump does not record a ping", interval=0.2)
        recorder.terminate()
        recorder.wait(PATIENCE_SECONDS)

    def check_same(self, *packets):
        """Each TCP segment and each ping that was sent has come once."""
        sent, came = (collections.Counter(map(identity, filter(is_counted, some))) for some in packets)
        self.assertGreater(sum(sent.values()), 1000)
        lost, doubled = sent - came, came - sent
        print(f"\n{sum(sent.values())} packets of connections and pings, {sum(lost.values())} lost, "
              f"{sum(doubled.values())} more than sent", file=sys.stderr)
        self.assertEqual((sorted(lost), sorted(doubled)), ([], []))


class ReplaceTest(HandoverCase):
    def test_every_packet_comes_once(self):
        """Numbered datagrams, connections of all kinds and pings, while agents are replaced."""
        self.begin()
        self.check_every_packet(COUNT)

    def test_over_udp(self):
        self.begin(form="udp", PODWIRE_UDP_FORMAT="packet")
        self.check_every_packet(1)

    def test_over_tls(self):
        certificate, key = self.certificate()
        self.begin(form="tls", certificate=certificate, PODWIRE_TLS_CERTIFICATE=certificate,
                   PODWIRE_TLS_KEY=key)
        self.check_every_packet(1)

    def test_what_a_handover_spares(self):
        """The gap of an agent that is started anew, in packets, and that of one that takes over."""
        self.begin(sensors=1)
        sensor = self.sensors[0]
        self.has_ended(self.agent)
        self.agent = self.newer()
        self.agent.await_text("capture started")
        self.await_service(sensor, 2)
        without = self.lost(sensor)
        self.has_ended(self.replace())
        self.await_service(sensor, 3)
        self.assertEqual(self.lost(sensor), without)
        print(f"\na restart loses {without} packets, {1000 * without / PER_SECOND:.0f} ms; "
              "a handover 0", file=sys.stderr)
        self.assertGreater(without, 0)

    def test_it_waits_for_its_sensors(self):
        """One that reaches none of them leaves the older one alone."""
        self.begin()
        newer = self.newer(EXTRAHOP_SENSOR_IP="192.168.100.99,192.168.101.99")
        newer.await_text("another agent forwards until this one's sensors capture")
        newer.await_text("sensor not reached", 2)
        # Who asks at the port of the two hears of the one that forwards.
        self.endpoint.await_page("/readyz", 200)
        self.endpoint.await_page("/healthz", 200)
        self.assertNotIn("another agent takes over", self.agent.text())
        self.has_ended(newer)
        self.endpoint.await_page("/readyz", 200)
        self.check_numbered()

    def test_probes_tell_the_two_apart(self):
        """Each agent's probe asks for its own revision, at the port that the two of them share."""
        self.begin(PODWIRE_REVISION="one")
        one, two = "/readyz?revision=one", "/readyz?revision=two"
        newer = self.newer(PODWIRE_REVISION="two", EXTRAHOP_SENSOR_IP="192.168.100.99")
        newer.await_text("another agent forwards until this one's sensors capture")
        self.endpoint.await_page(one, 200)
        self.endpoint.await_page(two, 503, "another revision is asked for")
        # Nothing that a restart could mend.
        self.endpoint.await_page("/healthz?revision=two", 200)
        self.has_ended(newer)
        older = self.replace(PODWIRE_REVISION="two")
        self.endpoint.await_page(two, 200, "ready")
        # The older one stands by as long as its pod counts as ready.
        self.endpoint.await_page(one, 200, "ready")
        self.endpoint.await_page("/readyz?revision=three", 503)
        self.has_ended(older)
        self.endpoint.await_page(one, 503, "this agent has revision two")
        # It goes on if the newer one ends.
        older = self.replace(PODWIRE_REVISION="three")
        self.agent.process.kill()
        self.endpoint.await_page(two, 200, "ready")
        self.endpoint.await_page("/readyz?revision=three", 503, "this agent has revision two")
        self.agent = older

    def test_metrics_tell_what_has_become_of_handovers(self):
        def figures():
            metrics = self.endpoint.fresh_metrics()
            return [int(metrics.sum(f"podwire_{name}")) for name in (
                "handover_pending", "handovers_total", "handovers_undone_total")]

        def await_figures(*expected):
            self.endpoint.await_page("/healthz", 200)
            wait_until(lambda: figures() == list(expected), lambda: f"{figures()} for {expected}")

        self.begin()
        await_figures(0, 0, 0)
        newer = self.newer(EXTRAHOP_SENSOR_IP="192.168.100.99,192.168.101.99")
        newer.await_text("another agent forwards until this one's sensors capture")
        await_figures(1, 0, 0)
        self.has_ended(newer)
        await_figures(0, 0, 1)
        older = self.replace()
        await_figures(0, 1, 0)
        self.has_ended(self.agent)
        # The older one takes up its work again, and its page.
        await_figures(0, 0, 2)
        self.agent = older
        self.has_ended(self.replace())
        await_figures(0, 1, 0)

    def test_who_hands_over_to_nobody_answers_for_all(self):
        """Without a name an agent never lets go of the port: a probe would wait for ever."""
        self.begin(sensors=1, PODWIRE_HANDOVER="off")
        self.endpoint.await_page("/readyz?revision=two", 200, "ready")

    def test_of_the_sensors_one_is_enough_where_one_is_fed(self):
        self.begin(PODWIRE_SENSOR_POLICY="all")
        self.variables["PODWIRE_SENSOR_POLICY"] = "one"
        self.has_ended(self.replace())
        self.has_ended(self.replace())


class InsideTest(HandoverCase):
    """Both agents capture inside the pods, with sockets of one opener."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = pathlib.Path(folder.name, "opener.sock")

    def start_agent(self, **keywords):
        opener = Program(self.bed.name("node"), "opener", "--opener", self.socket)
        self.addCleanup(opener.kill)
        wait_until(self.socket.exists, opener.text)
        return super().start_agent(**keywords)

    def test_every_packet_comes_once(self):
        self.begin(PODWIRE_TAP="pod", PODWIRE_OPENER=str(self.socket))
        self.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_edges_captured_inside") == 2)
        self.check_every_packet(1)


class TunnelTest(HandoverCase):
    """A sensor that is fed through a tunnel has no sessions."""

    def test_every_packet_comes_once(self):
        self.bed, self.sensors, port = FeedBed(2, 1), [], 4789
        self.addCleanup(self.bed.remove)
        self.endpoint = Endpoint(self.bed.name("node"))
        # Datagrams come one by one, and somebody has the port.
        self.bed.ip("node", "link", "set", "sensor0", "gso_max_segs", "1")
        sink = socket_in(self.bed.name("sensor0"), kind=socket.SOCK_DGRAM)
        self.addCleanup(sink.close)
        sink.bind(("0.0.0.0", port))
        tunnel, outer = self.record("sensor0", "eth0", f"udp port {port}")
        pod, truth = self.record("pod0", "eth0", "tcp or icmp")
        self.variables = {"PODWIRE_HANDOVER": NAME, "EXTRAHOP_SENSOR_IP": "vxlan://192.168.100.2"}
        self.agent = self.newer()
        self.agent.await_text("capture started")
        talker = self.begin_talk()
        self.run_for(1)
        self.has_ended(self.replace())
        self.end_talk(talker)
        self.end(pod, truth)
        self.end(tunnel, outer)
        self.assertEqual(self.agent.stop(), 0)
        # Behind the outer headers of IPv4, UDP and VXLAN, and the inner one of Ethernet.
        self.check_same(recorded(truth), (packet[50:] for packet in recorded(outer)))


class StampTest(HandoverCase):
    """What a handover builds upon, as another program sees it: two rings have one time for a packet."""

    def test_two_rings_have_one_time_for_a_packet(self):
        """But for TCP segments of a pod, which the older ring stamps later, and never earlier."""
        self.bed = FeedBed(2, 0)
        self.addCleanup(self.bed.remove)
        # As an agent asks for it in a handover.
        stamping = socket_in(self.bed.name("node"), kind=socket.SOCK_DGRAM)
        self.addCleanup(stamping.close)
        stamping.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        words = ("--time-stamp-precision", "nano", "tcp or icmp")
        recorders = [self.record("node", "veth-pod0", *words) for _ in range(2)]
        talker = self.begin_talk()
        self.run_for(3)
        talker.stdin.close()
        talker.wait(PATIENCE_SECONDS)
        for recorder in recorders:
            self.end(*recorder)
        older, newer = (stamps(path) for _, path in recorders)
        both = older.keys() & newer.keys()
        own = {packet for packet in both
               if packet[9] == 6 and packet[12:16] == socket.inet_aton(FIRST)}
        self.assertGreater(len(own), 1000)
        self.assertGreater(len(both - own), 1000)
        self.assertEqual([packet for packet in both - own if older[packet] != newer[packet]], [])
        later = sorted(older[packet] - newer[packet] for packet in own)
        self.assertGreaterEqual(later[0], 0)
        print(f"\nof {len(own)} segments the older ring has the time {later[len(later) // 2]} ns later, "
              f"at most {later[-1]}; of {len(both - own)} other packets the same", file=sys.stderr)


class EndTest(HandoverCase):
    """An agent of two ends too early."""

    def begin_and(self, scene):
        """Begins, and plays a scene that has to be over in time; anew if the machine was too busy."""
        for _ in range(TRIES_MAX):
            self.begin()
            if scene(self.newer()):
                return
            self.doCleanups()
        self.fail("the machine is too busy")

    def kill(self, agent, newer, text, seconds=1.0):
        """Kills one of two agents when the newer one has said something; whether it was so soon."""
        newer.await_text(text)
        agent.process.kill()
        agent.process.wait()
        return self.seconds_since(newer, text) < seconds

    def seconds_since(self, agent, text):
        """How long ago an agent said something."""
        said = datetime.datetime.fromisoformat(agent.lines(text)[0].split()[0])
        return time.time() - said.timestamp()

    def check_older_goes_on(self, text):
        """A newer one is killed when it has said something. Nothing is lost and nothing comes twice."""
        self.begin_and(lambda newer: self.kill(newer, newer, text))
        self.await_sent(2 * PER_SECOND)
        for sensor in self.sensors:
            self.await_service(sensor)
        self.check_numbered()
        self.assertNotIn("this one waits until it is stopped", self.agent.text())

    def test_the_newer_one_before_it_has_begun(self):
        self.check_older_goes_on("another agent forwards until")

    def test_the_newer_one_when_it_has_proposed(self):
        self.check_older_goes_on("this agent forwards soon")

    def test_the_newer_one_when_both_agree(self):
        self.check_older_goes_on("the other agent agrees")

    def test_the_newer_one_after_the_moment(self):
        """Nothing comes twice, and the older one goes on. It had not forwarded what the other had."""
        def scene(newer):
            newer.await_text("the other agent agrees")
            # The moment is over, and the older one still settles what waits.
            self.run_for(1.6)
            return self.kill(newer, newer, "the other agent agrees", 2.2)

        self.begin_and(scene)
        self.agent.await_text("the other agent is gone, or has given up: this one forwards")
        for sensor in self.sensors:
            self.await_service(sensor)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
            self.assertLess(self.longest_gap(sensor, self.sender), 2 * PER_SECOND)

    def test_the_newer_one_when_it_has_taken_over(self):
        """The older one takes up its work again, with its sessions and its port."""
        self.begin()
        older = self.replace()
        self.endpoint.await_page("/readyz", 200)
        self.agent.process.kill()
        self.agent.process.wait()
        # Before a kubelet gives the agent up.
        self.endpoint.await_page("/healthz", 200)
        for sensor in self.sensors:
            self.await_service(sensor, 3)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        self.endpoint.await_page("/readyz", 200)
        # And another one can take over from it.
        self.agent = older
        self.has_ended(self.replace())

    def check_endpoint_goes_on(self, ended, text, count):
        """One of two agents ends in order; the other one serves the endpoint soon, and has nothing to warn of."""
        served = self.agent.text().count("serving metrics and probes")
        self.has_ended(ended)
        self.agent.await_text("serving metrics and probes", served + 1)
        self.endpoint.await_page("/healthz", 200)
        self.agent.await_text(text, count)
        self.assertNotIn("cannot serve metrics and probes", self.agent.text())

    def test_the_newer_one_is_told_to_stop_when_it_has_taken_over(self):
        self.begin()
        for count in (1, 2):
            older = self.replace()
            newer, self.agent = self.agent, older
            self.check_endpoint_goes_on(newer, "this one forwards", count)

    def test_the_older_one_is_told_to_stop_while_the_newer_one_waits(self):
        self.begin()
        older, self.agent = self.agent, self.newer(
            EXTRAHOP_SENSOR_IP="192.168.100.99,192.168.101.99")
        self.agent.await_text("another agent forwards until")
        self.check_endpoint_goes_on(older, "this one forwards", 1)

    def test_one_that_is_not_heard(self):
        """While one waits that will never be ready, the next one is not heard. When both others are gone it
        forwards."""
        self.begin()
        waiting = self.newer(EXTRAHOP_SENSOR_IP="192.168.100.99,192.168.101.99")
        waiting.await_text("another agent forwards until")
        newer = self.newer()
        newer.await_text("it has not answered")
        newer.await_text("capture started", len(self.sensors))
        self.has_ended(waiting)
        older, self.agent = self.agent, newer
        self.agent.await_text("this agent has taken over")
        self.has_ended(older)
        self.check_numbered()

    def test_one_that_is_left_when_nobody_has_heard_it(self):
        self.begin()
        waiting = self.newer(EXTRAHOP_SENSOR_IP="192.168.100.99,192.168.101.99")
        waiting.await_text("another agent forwards until")
        newer = self.newer()
        newer.await_text("it has not answered")
        newer.await_text("capture started", len(self.sensors))
        for agent in (self.agent, waiting):
            agent.process.kill()
        for agent in (self.agent, waiting):
            agent.process.wait()
        self.agent = newer
        for sensor in self.sensors:
            self.await_service(sensor, 2)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        self.endpoint.await_page("/readyz", 200)

    def test_one_of_three(self):
        """Whoever was the last to take over forwards, whichever of the others ends; and then one of them."""
        self.begin()
        first = self.replace()
        second = self.replace()
        third = self.agent
        second.process.kill()
        second.process.wait()
        # For what must not happen: the first one takes up again what the third one does.
        self.run_for(2)
        self.assertEqual(first.text().count("sensor session ended"), 2)
        for sensor in self.sensors:
            self.await_service(sensor, 3)
            self.assertEqual(self.lost(sensor), 0)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        third.process.kill()
        third.process.wait()
        for sensor in self.sensors:
            self.await_service(sensor, 4)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        self.agent = first
        self.endpoint.await_page("/readyz", 200)

    def test_the_older_one_is_killed(self):
        """The newer one forwards at once."""
        def scene(newer):
            older, self.agent = self.agent, newer
            return self.kill(older, newer, "this agent forwards soon")

        self.begin_and(scene)
        self.agent.await_text("this one forwards")
        for sensor in self.sensors:
            self.await_service(sensor, 2)
            found = self.numbers(sensor, self.sender)
            self.assertEqual(len(found), len(set(found)), "a packet has come twice")
        self.endpoint.await_page("/readyz", 200)

    def test_the_older_one_is_told_to_stop_meanwhile(self):
        """It waits until the newer one has taken over."""
        self.begin()
        older, self.agent = self.agent, self.newer()
        self.agent.await_text("another agent forwards until")
        self.has_ended(older)
        self.agent.await_text("this agent has taken over")
        self.check_numbered()

    def test_the_newer_one_is_told_to_stop_meanwhile(self):
        def scene(newer):
            newer.await_text("this agent forwards soon")
            self.has_ended(newer)
            return self.seconds_since(newer, "this agent forwards soon") < 1

        self.begin_and(scene)
        self.check_numbered()


class OtherTest(HandoverCase):
    """Who is no newer agent of the same installation."""

    def test_another_installation(self):
        """Both go on, as they would without a handover."""
        self.begin(sensors=1)
        other = self.newer(PODWIRE_HANDOVER="other", PODWIRE_HTTP="off")
        other.await_text("capture started")
        self.await_service(self.sensors[0], 2)
        self.await_service(self.sensors[0], 1)
        for agent in (other, self.agent):
            self.assertNotIn("agent takes over", agent.text())

    def test_another_installation_at_the_same_address(self):
        """Another address, or none, would leave the probes without an answer."""
        self.begin(sensors=1)
        other = self.newer(PODWIRE_HANDOVER="other")
        other.await_text("cannot serve metrics and probes")
        self.assertIn("another agent of this node has the address, of another --handover name or of none",
                      other.text())
        self.assertNotIn("or off", other.text())
        # What keeps it from another address is no other agent.
        third = self.newer(PODWIRE_HANDOVER="third", PODWIRE_HTTP="192.0.2.1:9464")
        third.await_text("cannot serve metrics and probes")
        self.assertIn("give another address with --http, or off", third.text())

    def test_strangers_change_nothing(self):
        """Another user's messages are not read, and root's have to keep to the protocol."""
        self.begin(sensors=1)
        moment = time.time_ns() + 1_000_000_000

        def message(kind, value):
            return struct.pack("!IHHQ", 0x5057484f, 1, kind, value)

        def connect(messages, user):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.seteuid(user)
            try:
                peer.connect(f"\0podwire/{NAME}")
                for one in messages:
                    peer.send(one)
                peer.settimeout(PATIENCE_SECONDS)
                return peer.recv(64)
            except (BrokenPipeError, ConnectionResetError):
                return b""
            finally:
                peer.close()
                os.seteuid(0)

        node = self.bed.name("node")
        hello = message(1, 0)
        for user, messages, answer in (
                (65534, [hello], b""), (0, [b"GET / HTTP/1.0"], b""), (0, [hello[:8]], b""),
                (0, [message(3, moment)], b""), (0, [message(7, 0)], b""),
                (0, [message(99, 0)], b""), (0, [hello], message(2, 1)),
                (0, [b"x" * 300], b"")):
            found = in_namespace(node, lambda: connect(messages, user))
            self.assertEqual(found, answer, (user, messages))
        # A moment that is over, too soon, or far away, is refused.
        for value in (0, 1, moment - 3_600_000_000_000, 1 << 63, time.time_ns() + 60_000_000_000):
            def ask():
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
                    peer.settimeout(PATIENCE_SECONDS)
                    peer.connect(f"\0podwire/{NAME}")
                    peer.send(hello)
                    peer.recv(64)
                    peer.send(message(3, value))
                    return peer.recv(64)

            self.assertEqual(in_namespace(node, ask), message(5, value))
        self.assertNotIn("another agent takes over", self.agent.text())
        self.check_numbered()
        # And one that is none of theirs still takes over.
        self.sender = self.send(0, per_second=PER_SECOND)
        self.await_service(self.sensors[0])
        self.has_ended(self.replace())

    def hold(self, program, *words):
        """A process that has the name, when it has said so; it begins as root in the node's network."""
        holder = self.process(command_in(
            self.bed.name("node"), *words, sys.executable, "-c", program))
        self.assertEqual(holder.stdout.readline(), "ready\n")
        return holder

    def check_name_of_another_user(self, use):
        """Nobody but the agent's user keeps it from its work, however the name is held."""
        program = f"""
import socket, time
def new():
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
name = "\\0podwire/{NAME}"
s = new()
s.bind(name)
{use}
print("ready", flush=True)
time.sleep(600)
"""
        self.variables = {}
        self.start(pods=1, sensors=1, forms=("tcp",), per_second=PER_SECOND)
        self.has_ended(self.agent)
        self.hold(program, "setpriv", "--reuid", "65534", "--clear-groups")
        self.agent = self.newer(PODWIRE_HANDOVER=NAME)
        self.agent.await_text("no handover with another agent")
        self.await_service(self.sensors[0], 2)
        self.endpoint.await_page("/healthz", 200)

    def test_a_name_that_another_user_has(self):
        self.check_name_of_another_user("s.listen()")
        self.assertIn("a process of user 65534 has the name", self.agent.text())

    def test_a_name_at_which_too_many_wait(self):
        self.check_name_of_another_user("""
s.listen(0)
waiting = [new() for _ in range(4)]
assert [w.connect_ex(name) for w in waiting][-1] == 11
""")

    def test_a_name_at_which_nobody_listens(self):
        self.check_name_of_another_user("")

    def test_a_name_that_is_taken_before_the_newer_one_has_it(self):
        """Of two that forward one gives way to the other: they agree as any two agents do."""
        program = f"""
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("\\0podwire/{NAME}")
s.listen()
print("ready", flush=True)
c = s.accept()[0]
def send(kind, value):
    c.send(struct.pack("!IHHQ", 0x5057484f, 1, kind, value))
while True:
    kind, value = struct.unpack("!HQ", c.recv(64)[6:])
    if kind == 1:
        send(2, 1)
    if kind == 3:
        send(4, value)
        break
sys.stdin.readline()
send(7, 0)
sys.stdin.readline()
s.close()
print("closed", flush=True)
sys.stdin.readline()
"""
        self.variables = {"PODWIRE_HTTP": "off"}
        self.start(pods=1, sensors=1, forms=("tcp",), per_second=PER_SECOND, **self.variables)
        self.has_ended(self.agent)
        self.variables["PODWIRE_HANDOVER"] = NAME
        holder = self.hold(program)
        first = self.newer()
        first.await_text("the other agent agrees")
        holder.stdin.write("cede\n")
        holder.stdin.flush()
        first.await_text("this agent has taken over")
        first.process.send_signal(signal.SIGSTOP)
        holder.stdin.write("close\n")
        holder.stdin.flush()
        holder.stdout.readline()
        second = self.newer()
        second.await_text("capture started")
        first.process.send_signal(signal.SIGCONT)
        first.await_text("this agent has taken over", 2)
        second.await_text("this one waits until it is stopped")
        self.agent = first
        self.has_ended(second)
        # What comes from now on comes once.
        self.run_for(1)
        begin = max(self.numbers(self.sensors[0], self.sender))
        self.run_for(1)
        found = [number for number in self.numbers(self.sensors[0], self.sender) if number > begin]
        self.assertGreater(len(found), PER_SECOND // 2)
        self.assertEqual(len(found), len(set(found)), "a packet has come twice")

    def test_one_of_root_that_never_agrees(self):
        """The newer agent forwards after a while, and says so."""
        program = f"""
import socket, struct
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("\\0podwire/{NAME}")
s.listen()
print("ready", flush=True)
while True:
    c = s.accept()[0]
    try:
        while data := c.recv(64):
            kind, value = struct.unpack("!HQ", data[6:])
            if kind in (1, 3):
                c.send(struct.pack("!IHHQ", 0x5057484f, 1, 2 if kind == 1 else 5, 0))
    except OSError:
        pass
"""
        self.variables = {}
        self.start(pods=1, sensors=1, forms=("tcp",), per_second=PER_SECOND)
        self.has_ended(self.agent)
        self.hold(program)
        self.agent = self.newer(PODWIRE_HANDOVER=NAME)
        self.agent.await_text("refuses to hand over: this one forwards beside it")
        self.await_service(self.sensors[0], 2)
        self.endpoint.await_page("/healthz", 200)

    def test_not_with_clients(self):
        done = subprocess.run(
            [os.environ["PODWIRE"], "agent", "--listen", "127.0.0.1:2002", "--allow-null-login",
             "--pod-network", "10.244.0.0/16", "--handover", "x"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertIn("cannot hand over", done.stderr)


if __name__ == "__main__":
    unittest.main()
