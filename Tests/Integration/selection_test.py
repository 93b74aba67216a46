"""Filters in words, whole flows, and the payload of long flows: what an agent sends that is told to send
less, beside one on the same node that sends everything.

PODWIRE names the binary.
"""

import collections
import ipaddress
import json
import math
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True

from support import TOOLS, captures
from support.cluster import Cluster, ClusterCase
from support.commands import run
from support.comparison import compare
from support.endpoint import Endpoint
from support.frames import IPV4, IPV6, ethernet, ipv4
from support.pcap import pcap
from support.program import PODWIRE
from support.waiting import wait_until

# The second agents of the nodes, and the collector that they feed.
OTHER_PORT, OTHER_HTTP_PORT = 2004, 9465
CUTOFF = 10240
cluster = None


def setUpModule():
    global cluster
    cluster = SelectionTest.cluster = Cluster("se", "bridge", "more")
    unittest.addModuleCleanup(cluster.remove)


def echo_identifier(packet):
    """By which pings between two hosts are told from each other."""
    header = captures.header_of(packet.data)
    if header is None or header.protocol not in (1, 58) or header.payload[0] not in (0, 8, 128, 129):
        return None
    return header.payload[4:6]


class SelectionTest(ClusterCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file, self.selected = self.folder / "all.pcapng", self.folder / "selected.pcapng"

    def begin(self, *arguments, **settings):
        """Starts agents that send everything, and others beside them that are told otherwise."""
        self.collectors = [self.start_collector(), self.start(
            "outside", "collect", "--listen", OTHER_PORT, "--output", self.selected, *arguments)]
        self.collectors[1].await_text("listening")
        # As the demo has it: nothing may be lost, whatever else the machine does.
        ample = {"PODWIRE_RING_MEMORY": "512MiB", "PODWIRE_NICE": "-15"}
        self.agents = [self.start_agent(node, **ample) for node in (1, 2)]
        self.others = [self.start_agent(
            node, **ample, RPCAPD_TARGET_PORT=str(OTHER_PORT), PODWIRE_HTTP=f"127.0.0.1:{OTHER_HTTP_PORT}",
            **settings) for node in (1, 2)]
        self.first = time.time_ns()

    def frames(self, path):
        """The frames of a file that were seen while all agents were there: kernels look for their
        neighbours at any time."""
        return [frame for frame in captures.read(path) if self.first <= frame.time < self.last]

    def talk(self):
        """Has the pods do all that the demo's do."""
        subprocess.run([sys.executable, "-B", TOOLS / "lib/traffic.py", cluster.prefix], check=True,
                       stdout=subprocess.DEVNULL, timeout=300)

    def finish(self):
        self.last = time.time_ns()
        for agent in self.agents:
            Endpoint(agent.namespace).settled()
        for agent in self.others:
            Endpoint(agent.namespace, OTHER_HTTP_PORT).settled()
        for agent in self.agents + self.others:
            self.assertEqual(agent.stop(), 0, agent.text())
            counts = agent.counts()
            self.assertEqual([name for name in counts if "dropped" in name and counts[name]], [])
        for collector in self.collectors:
            collector.await_text("agent gone", 2)
            self.assertEqual(collector.stop(), 0, collector.text())

    def counts(self, name):
        return sum(agent.counts()[name] for agent in self.others)

    def expect(self, text):
        """Whether the selected packets are those that tcpdump selects of all."""
        wanted = self.folder / "wanted.pcap"
        run("tcpdump", "-r", self.file, "-w", wanted, text)
        missing, extra = (collections.Counter(frame.data for frame in self.frames(path))
                          for path in (wanted, self.selected))
        missing, extra = missing - extra, extra - missing
        self.assertEqual((self.described(missing), self.described(extra)), ([], []))
        self.assertGreater(len(self.frames(wanted)), 100)

    def described(self, some):
        """What tcpdump says of some frames."""
        file = self.folder / "some.pcap"
        file.write_bytes(pcap(some.elements()))
        return run("tcpdump", "-ntr", file, "-vv").stdout.splitlines()

    def test_a_filter_of_the_agent(self):
        text = "(tcp and src net 10.244.1.0/24) or udp dst port 8002 or icmp6 or arp"
        self.begin(PODWIRE_FILTER=text)
        self.talk()
        self.finish()
        self.expect(text)
        self.assertIn(f'filter="{text}"', self.others[0].text())

    def test_filters_of_the_agent_and_of_the_sensor(self):
        self.begin("host", "10.244.1.2", "or", "net", "fd00:10:244:2::/64",
                   PODWIRE_FILTER="tcp and not port 8001")
        self.talk()
        self.finish()
        self.expect("tcp and not port 8001 and (host 10.244.1.2 or net fd00:10:244:2::/64)")

    def test_a_filter_that_changes(self):
        file = self.folder / "filter"
        file.write_text("# only pings\nicmp\n")
        self.begin(PODWIRE_FILTER_FILE=str(file))
        self.ping("a1", "10.244.2.2")
        self.await_packets("icmp")
        self.ping("a1", "fd00:10:244:2::2")
        self.assertEqual(self.selected_count("icmp6 and ip6[40] = 128"), 0)
        # A new file in the place of the old one, as Kubernetes does it.
        other = self.folder / "other"
        other.write_text("icmp6")
        os.replace(other, file)
        self.others[0].await_text("filter read again")
        self.ping("a1", "fd00:10:244:2::2")
        self.await_packets("icmp6 and ip6[40] = 128")
        # What cannot be understood changes nothing, and is said once.
        file.write_text("icmp6 and prot 80")
        self.others[0].await_text("the filter stays as it was")
        self.assertIn("'prot' is no word of the language; did you mean 'port'?",
                      self.others[0].text())
        for _ in range(2):
            os.kill(self.others[0].process.pid, signal.SIGHUP)
        self.ping("a1", "fd00:10:244:2::2")
        file.write_text("icmp or icmp6")
        self.others[0].await_text("filter read again", 2)
        self.assertIsNone(self.others[0].process.poll())
        self.finish()

    def selected_count(self, text):
        # The last block may be half written.
        lines = subprocess.run(["tcpdump", "-r", self.selected, text], check=False, text=True,
                               capture_output=True).stdout
        return len(lines.splitlines())

    def await_packets(self, text):
        wait_until(lambda: self.selected_count(text) > 0, f"no packet of {text}")

    def test_whole_flows(self):
        self.begin(PODWIRE_FLOW_SAMPLE="1/3")
        self.talk()
        self.finish()
        flows = [self.flows(path) for path in (self.file, self.selected)]
        chosen = [flow for flow in flows[0] if flow in flows[1]]
        self.assertEqual(set(flows[1]) - set(flows[0]), set())
        partial = {flow: flows[0][flow] - flows[1][flow] for flow in chosen
                   if flows[0][flow] != flows[1][flow]}
        self.assertEqual(partial, {})
        count, share = len(flows[0]), 1 / 3
        self.assertGreater(count, 2000)
        self.assertLess(abs(len(chosen) - count * share),
                        5 * math.sqrt(count * share * (1 - share)))
        self.assertGreater(self.counts("flow_sampled_out"), 0)

    def flows(self, path):
        """How often each packet is there, by flow; ICMP errors are of the flow that they quote."""
        flows = collections.defaultdict(collections.Counter)
        for packet in captures.packets(self.frames(path)):
            if packet.form is not None and not captures.is_redirect(packet.data):
                flow = compare.flow_of(packet.form)
                flows[flow, echo_identifier(packet)][packet.data] += 1
        return flows

    def test_the_payload_of_long_flows(self):
        self.begin(PODWIRE_CUTOFF="10KiB")
        self.talk()
        self.finish()
        everything, cut = (self.segments(path) for path in (self.file, self.selected))
        self.assertEqual(set(everything), set(cut))
        shorter = 0
        for flow, segments in everything.items():
            # What comes within a microsecond may be in one order in a recording, and in another in the next.
            for sender in {segment[0] for segment in segments}:
                own, kept = ([each for each in some if each[0] == sender]
                             for some in (segments, cut[flow]))
                bare = [each for each in own if self.is_always_sent(each)]
                self.assertCountEqual([each for each in kept if self.is_always_sent(each)], bare)
                self.assertFalse(collections.Counter(kept) - collections.Counter(own))
                payload = [sum(each[4] for each in some) for some in (own, kept)]
                shorter += payload[1] < payload[0]
                if payload[0] <= CUTOFF:
                    self.assertEqual(payload[0], payload[1])
                else:
                    # The packet that begins before the limit is whole; it may be one of the kernel's.
                    self.assertGreaterEqual(payload[1], CUTOFF)
                    self.assertLess(payload[1], CUTOFF + 2 * 524280)
        self.assertGreater(shorter, 10)
        self.assertGreater(self.counts("cut_off"), 0)

    @staticmethod
    def is_always_sent(segment):
        _, _, _, flags, payload = segment
        return payload == 0 or flags & 7 != 0

    @staticmethod
    def segments(path):
        """The TCP segments of each connection: sender, numbers, flags and bytes of payload."""
        fields = ("ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "tcp.dstport",
                  "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len")
        # Errors quote segments.
        text = run("tshark", "-r", path, "-Y", "tcp and not icmp and not icmpv6", "-T", "fields",
                   *(word for field in fields for word in ("-e", field)), timeout=120).stdout
        flows = collections.defaultdict(list)
        for line in text.splitlines():
            source, source6, target, target6, port, other, *numbers, flags, size = line.split("\t")
            ends = (source or source6, port), (target or target6, other)
            flows[tuple(sorted(ends))].append((ends[0], *numbers, int(flags, 0), int(size)))
        return flows


class CommandTest(unittest.TestCase):
    """What the commands say of a filter, where no agent is."""

    FILTERS = ("tcp", "udp port 53", "host 10.0.0.1 or net fd00::/16", "tcp[13] & 2 != 0", "arp",
               "not ip6", "greater 200", "ether broadcast", "ip[6:2] & 0x1fff != 0", "vlan", "",
               "icmp6 or (icmp and icmp[icmptype] = icmp-echo)", "portrange 1-1023")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "packets.pcap"
        self.file.write_bytes(pcap(
            ethernet(bytes(6), bytes(6), *payload) for payload in self.payloads()))

    @staticmethod
    def payloads():
        for number in range(200):
            ports = (53, 80, 443, 1000 + number)[number % 4], 40000
            transport = (6, 17, 1, 58)[number // 4 % 4]
            body = struct.pack("!HH", *ports) + bytes([number % 256] * (16 + number * 2))
            yield IPV4, ipv4(f"10.0.0.{number % 7}", "10.0.1.1", transport, body)
            yield 0x0806, bytes(28)
            ends = ipaddress.ip_address("fd00::1"), ipaddress.ip_address(f"2001:db8::{number % 5}")
            yield IPV6, (struct.pack("!IHBB", 6 << 28, len(body), transport, 64)
                         + b"".join(end.packed for end in ends) + body)

    def count(self, text):
        """How many packets tcpdump takes."""
        wanted = self.folder / "wanted.pcap"
        run("tcpdump", "-r", self.file, "-w", wanted, text)
        return len(list(captures.read(wanted)))

    def podwire(self, *arguments, code=0, **keywords):
        result = subprocess.run([PODWIRE, *arguments], text=True, capture_output=True, timeout=60,
                                check=False, **keywords)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def test_counts_as_tcpdump_does(self):
        for text in self.FILTERS:
            with self.subTest(text):
                wanted = self.count(text)
                result = self.podwire("filter", "--file", self.file, text)
                count, _, everything, *_ = result.stdout.split()
                self.assertEqual((int(count), int(everything)), (wanted, 600))

    def test_numbers_that_iptables_and_the_collector_take(self):
        numbers = self.podwire("filter", "--format", "ddd", "port", "53").stdout.splitlines()
        self.assertEqual(int(numbers[0]), len(numbers) - 1)
        self.assertTrue(all(len(line.split()) == 4 for line in numbers[1:]))
        self.assertEqual(numbers[-2:], ["6 0 0 262144", "6 0 0 0"])

    def test_a_listing_has_a_reason_for_each_instruction(self):
        lines = self.podwire("filter", "tcp", "port", "80").stdout.splitlines()
        self.assertTrue(all(re.fullmatch(r" +\d+  \w+ .*; \S.*", line) for line in lines), lines)

    def test_faults_have_a_place_and_the_code_of_wrong_usage(self):
        for command in (["filter"], ["collect"], ["top", "--filter"], ["collect", "--filter"]):
            with self.subTest(command):
                text = self.podwire(*command, "tcp and prot 80", code=64).stderr
                self.assertIn("did you mean 'port'?\n  tcp and prot 80\n          ^^^^\n", text)
        file = self.folder / "filter"
        file.write_text("# ports\ntcp and\n(port 80 or 443\n")
        text = self.podwire("filter", "--filter-file", file, code=64).stderr
        self.assertIn("this parenthesis is not closed", text)
        text = self.podwire("agent", "--pod-network", "10.0.0.0/8", "--sensor", "127.0.0.1",
                            code=64, env={
                                **os.environ, "PODWIRE_FILTER": "port 70000"}).stderr
        self.assertIn("PODWIRE_FILTER=port 70000: port 70000 is too large", text)

    def test_top_shows_what_a_filter_lets_pass(self):
        everything, some = (
            json.loads(self.podwire("top", self.file, "--json", *words).stdout)["packets"]
            for words in ((), ("--filter", "udp")))
        self.assertEqual(everything, 600)
        self.assertEqual(some, self.count("udp"))

    def test_names_of_hosts_are_looked_up_if_that_is_asked_for(self):
        text = self.podwire("filter", "host", "localhost", code=64).stderr
        self.assertIn("only with --resolve", text)
        text = self.podwire("filter", "--resolve", "host", "localhost").stdout
        self.assertIn("#0x7f000001", text)


if __name__ == "__main__":
    unittest.main()
