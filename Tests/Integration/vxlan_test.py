"""Sensors that are fed through tunnels: what they get, and what becomes of what they do not get.

PODWIRE names the binary. The other end of a tunnel is the kernel's own device, with tcpdump behind it.
"""

import collections
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

from support.agent import Agent, SensorSession
from support.bed import Bed, GATEWAY, POD, Mark
from support.commands import run
from support.frames import ICMP, UDP, Frame
from support.namespace import (add_namespace, add_wire, command_in, in_namespace, ip_in, python_in,
                               run_in)
from support.program import PODWIRE, counts_of
from support.waiting import PATIENCE_SECONDS, wait_until

TARGET, ROUTER = "192.168.9.2", "192.168.9.1"
VXLAN_PORT, GENEVE_PORT, NETWORK = 4789, 6081, 7
# Datagrams of several flows and lengths, some of them so many at once that the kernel cuts them.
TALK = r"""
import socket, sys
for flow in range(20):
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((sys.argv[1], 20000 + flow))
    for number in range(5):
        out.sendto(b"%d.%d." % (flow, number) + bytes(100 * (flow % 3) + number), (sys.argv[2], 9))
    out.setsockopt(socket.IPPROTO_UDP, 103, 300)  # UDP_SEGMENT
    out.sendto(b"%03d" % flow * 100 * 10, (sys.argv[2], 9))
"""
TALK_COUNT = 20 * (5 + 10)


class Dump:
    """What comes to a device, as tcpdump writes it."""

    def __init__(self, namespace, device, *words):
        self.file = tempfile.NamedTemporaryFile(suffix=".pcap")
        self.process = subprocess.Popen(
            command_in(namespace, "tcpdump", "-U", "-n", "-Z", "root", "-B", "32768", "-i", device, "-w",
                       self.file.name, *map(str, words)), stderr=subprocess.PIPE)
        # It says that it listens, and not before.
        while b"listening on" not in self.process.stderr.readline():
            assert self.process.poll() is None, "tcpdump has ended"

    def frames(self):
        data, offset, found = pathlib.Path(self.file.name).read_bytes(), 24, []
        while offset + 16 <= len(data):
            length, = struct.unpack_from("=I", data, offset + 8)
            frame = data[offset + 16:offset + 16 + length]
            if len(frame) < length:
                break
            found.append(Frame(frame))
            offset += 16 + length
        return found

    def await_mark(self, mark, inner=lambda frame: frame):
        """Sends a mark until it has come, and returns the frames before it."""
        def is_there():
            mark.send()
            return any(mark.is_in(inner(frame)) for frame in self.frames())

        wait_until(is_there, lambda: f"no mark among {len(self.frames())} frames", interval=0.2)
        frames = [inner(frame) for frame in self.frames()]
        return frames[:next(at for at, frame in enumerate(frames) if mark.is_in(frame))]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        self.process.stderr.close()
        self.file.close()


class TunnelTest(unittest.TestCase):
    def setUp(self):
        self.bed = Bed("vx")
        self.addCleanup(self.bed.remove)
        self.target = f"{self.bed.prefix}-target"
        add_namespace(self.target)
        add_wire(self.bed.node, "veth-target", self.target)
        # Datagrams go one by one, as over a cable.
        ip_in(self.bed.node, "link", "set", "veth-target", "gso_max_segs", "1")
        ip_in(self.bed.node, "addr", "add", f"{ROUTER}/24", "dev", "veth-target")
        ip_in(self.target, "addr", "add", f"{TARGET}/24", "dev", "eth0")

    def add_tunnel(self, namespace=None):
        """The kernel's end of a tunnel."""
        where = namespace or self.target
        ip_in(where, "link", "add", "vxlan0", "mtu", "1500", "type", "vxlan", "id", NETWORK, "dstport",
              VXLAN_PORT, "nolearning")
        run_in(where, "sysctl", "-qw", "net.ipv6.conf.vxlan0.disable_ipv6=1")
        ip_in(where, "link", "set", "vxlan0", "up")

    def dump(self, *words, namespace=None):
        dump = Dump(namespace or self.target, *words)
        self.addCleanup(dump.close)
        return dump

    def start_agent(self, *sensors, **variables):
        """An agent with a sensor over RPCAP and others; both have begun."""
        listener = self.bed.listen()
        agent = Agent(self.bed, ",".join(("127.0.0.1", *sensors)), **variables)
        self.addCleanup(agent.kill)
        session = SensorSession(listener)
        self.addCleanup(session.close)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        listener.close()
        return agent, session

    def talk(self):
        run(*python_in(self.bed.pod, TALK, POD, GATEWAY))

    def metric(self, agent, name, sensor, **labels):
        return agent.endpoint.metrics().sum(f"podwire_{name}", sensor=sensor, **labels)

    def test_a_tunnel_gets_what_a_sensor_over_rpcap_gets(self):
        self.add_tunnel()
        outer, inner = self.dump("eth0", "udp"), self.dump("vxlan0")
        name = f"vxlan://{TARGET}:{VXLAN_PORT}?vni={NETWORK}"
        agent, session = self.start_agent(f"vxlan://{TARGET}?vni={NETWORK}")
        agent.await_text("capture started", 2)
        self.talk()
        self.bed.ping(20)
        mark = Mark(self.bed)
        tunnelled = inner.await_mark(mark)
        sent = collections.Counter(frame.data for frame in session.frames_until(mark))
        got = collections.Counter(frame.data for frame in tunnelled)
        talk = [frame for frame in tunnelled if frame.goes_to(UDP, 9)]
        self.assertEqual(len(talk), TALK_COUNT)
        # Both began a little apart, before which nothing of this was sent.
        self.assertEqual({data: count for data, count in got.items() if Frame(data).version == 4},
                         {data: count for data, count in sent.items() if Frame(data).version == 4})
        self.assertIn("capturing", agent.endpoint.await_page("/readyz", 200, f"sensor {name}: "))
        self.check_ports(outer)
        self.assertEqual(agent.stop()[0], 0)
        counts = next(counts_of(line) for line in agent.lines("capture ended") if "vxlan://" in line)
        self.assertEqual(counts["sent"], counts["datagrams"])
        wait_until(lambda: len(inner.frames()) == counts["sent"],
                   lambda: f"{len(inner.frames())} have come of {counts['sent']}")
        self.assertEqual([name for name in counts if "lost" in name], [])

    def check_ports(self, dump):
        """Each flow has one port in both directions, and there are many."""
        rows = run("tshark", "-r", dump.file.name, "-d", f"udp.port=={VXLAN_PORT},vxlan", "-T", "json",
                   "-e", "udp.srcport", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.dstport", "-e",
                   "icmp.ident", "-e", "vxlan.vni").stdout
        ports = collections.defaultdict(set)
        for row in json.loads(rows):
            layers = row["_source"]["layers"]
            if layers.get("vxlan.vni") != [str(NETWORK)] or len(layers.get("ip.src", ())) != 2:
                continue
            ends = sorted([layers["ip.src"][1], layers["ip.dst"][1]])
            flow = (*ends, *layers.get("icmp.ident", ()), *layers["udp.srcport"][1:])
            ports[flow].add(layers["udp.srcport"][0])
        self.assertEqual([flow for flow, found in ports.items() if len(found) > 1], [])
        self.assertGreater(len(ports), 20)
        self.assertGreater(len(set.union(*ports.values())), 5)

    def test_geneve(self):
        """Not every kernel has such a device, so tshark takes it apart."""
        dump = self.dump("eth0", "udp", "port", GENEVE_PORT)
        agent, _ = self.start_agent(f"geneve://{TARGET}?vni={NETWORK}", PODWIRE_SNAPLEN="128")
        agent.await_text("capture started", 2)
        self.talk()
        dump.await_mark(Mark(self.bed), lambda frame: Frame(frame.payload[8:]))
        rows = run("tshark", "-r", dump.file.name, "-Y", "udp.dstport == 9 and not icmp", "-T", "fields",
                   "-e", "geneve.vni", "-e", "frame.len").stdout.splitlines()
        self.assertEqual(len(rows), TALK_COUNT)
        self.assertEqual({row.split("\t")[0] for row in rows}, {f"0x{NETWORK:06x}"})
        self.assertEqual(max(int(row.split("\t")[1]) for row in rows), 128 + 50)

    def test_a_target_where_nobody_listens(self):
        name = f"vxlan://{TARGET}:{VXLAN_PORT}?vni={NETWORK}"
        agent, session = self.start_agent(name)
        agent.await_text("capture started", 2)
        for _ in range(3):
            self.assertEqual(self.bed.pings_seen(session, 10), 20)
        agent.await_text("the network refuses datagrams")
        agent.endpoint.await_page("/readyz", 200, "capturing, but the network says: Connection refused")
        agent.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_datagrams_refused_total", sensor=name) > 0, "none refused")
        self.assertEqual(len(agent.lines("the network refuses datagrams")), 1, agent.text())
        self.add_tunnel()
        dump = self.dump("vxlan0")
        dump.await_mark(Mark(self.bed))
        self.assertEqual(agent.stop()[0], 0)
        for line in agent.lines("capture ended"):
            self.assertEqual([name for name in counts_of(line) if "lost" in name], [], line)

    def test_a_target_without_a_route(self):
        ip_in(self.bed.node, "route", "add", "unreachable", "192.168.77.0/24")
        agent, session = self.start_agent("vxlan://192.168.77.7", "vxlan://nowhere.invalid")
        agent.await_text("sensor not reached", 2)
        self.assertEqual(self.bed.pings_seen(session, 5), 10)
        self.add_tunnel()
        dump = self.dump("vxlan0")
        ip_in(self.target, "addr", "add", "192.168.77.7/24", "dev", "eth0")
        ip_in(self.bed.node, "route", "replace", "192.168.77.0/24", "via", TARGET)
        agent.await_text("failures=")
        # No network has the number 1 there, so nothing comes out, and nothing is refused.
        self.bed.pings_seen(session, 5)
        self.assertEqual(dump.frames(), [])
        self.assertEqual(agent.stop()[0], 0)

    def test_a_name_that_is_known_later(self):
        folder = pathlib.Path("/etc/netns", self.bed.node)
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder)
        hosts = folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        self.add_tunnel()
        dump = self.dump("vxlan0")
        agent, _ = self.start_agent(f"vxlan://late.test?vni={NETWORK}")
        agent.await_text("sensor not reached")
        self.assertIn("late.test", agent.lines("sensor not reached")[0])
        agent.endpoint.await_page("/readyz", 200, "not reached: resolve late.test")
        with open(hosts, "a", encoding="utf-8") as file:
            file.write(f"{TARGET} late.test\n")
        dump.await_mark(Mark(self.bed))
        self.assertEqual(agent.stop()[0], 0)

    # Its own feed

    def add_sensor_pod(self):
        """A pod of the node at which a tunnel ends."""
        pod = f"{self.bed.prefix}-sensor"
        add_namespace(pod, ipv6=False)
        add_wire(self.bed.node, "veth-sensor", pod)
        ip_in(self.bed.node, "addr", "add", "10.244.3.1/24", "dev", "veth-sensor")
        ip_in(pod, "addr", "add", "10.244.3.2/24", "dev", "eth0")
        ip_in(pod, "route", "add", "default", "via", "10.244.3.1")
        return pod

    def talk_long(self):
        """Datagrams that fill the pod's frames, so that the tunnel's become fragments."""
        def send():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                for number in range(50):
                    out.sendto(bytes([number]) * 1472, (GATEWAY, 9))

        in_namespace(self.bed.pod, send)

    def own(self, frames):
        """Datagrams of the tunnel among some frames, their fragments, and errors that came back."""
        return [frame for frame in frames if "10.244.3.2" in (frame.source, frame.destination)
                and frame.protocol in (UDP, ICMP)]

    def is_quiet(self, session):
        """Whether the feed of some packets is not captured by now."""
        self.bed.ping(5)
        session.frames_until(Mark(self.bed))
        self.bed.ping(1)
        return not self.own(session.frames_until(Mark(self.bed)))

    def check_own_feed(self, place, is_behind_service=False):
        pod = self.add_sensor_pod()
        for is_listening in (False, True):
            with self.subTest(is_listening=is_listening):
                if is_listening:
                    self.add_tunnel(pod)
                agent, session = self.start_agent(f"vxlan://{place}?vni={NETWORK}")
                agent.await_text("capture started", 2)
                if is_behind_service:
                    # The first packet shows where the feed goes.
                    self.bed.pings_seen(session, 1)
                    agent.await_text("the sensor is behind another address")
                    wait_until(lambda: self.is_quiet(session), "the feed is captured")
                self.talk_long()
                self.bed.ping(20)
                frames = session.frames_until(Mark(self.bed))
                self.assertEqual(len([frame for frame in frames if frame.goes_to(UDP, 9)]), 50)
                self.assertEqual(self.own(frames), [])
                self.assertEqual(agent.stop()[0], 0)
                session.close()

    def test_a_target_that_is_a_pod(self):
        self.check_own_feed("10.244.3.2")

    def test_a_target_behind_a_service(self):
        run_in(self.bed.node, "nft", "add table ip nat; add chain ip nat out { type nat hook output priority "
               f"-100; }}; add rule ip nat out ip daddr 10.96.0.9 udp dport {VXLAN_PORT} dnat to "
               f"10.244.3.2:{VXLAN_PORT}")
        ip_in(self.bed.node, "route", "add", "default", "via", TARGET)
        self.check_own_feed("10.96.0.9", is_behind_service=True)

    # What the doctor says

    def test_doctor(self):
        done = run_in(self.bed.node, PODWIRE, "doctor", "--json", check=False, env={
            **os.environ, "PODNET": "10.244.0.0/16", "EXTRAHOP_SENSOR_IP": f"vxlan://{TARGET},geneve://[fd00::9]"})
        found = [check for check in json.loads(done.stdout)["findings"] if check["check"] == "sensor"]
        self.assertEqual(len(found), 2, found)
        self.assertEqual(found[0]["grade"], "note", found)
        self.assertIn("nobody answers over UDP", found[0]["found"])
        self.assertIn("1464", found[0]["meaning"])
        self.assertEqual(found[1]["grade"], "warning", found)


if __name__ == "__main__":
    unittest.main()
