"""What the rule promises beside the demo's counts: the feed is never fed, floods stay within bounds, and
what the node does not allow is said and lived with.

PODWIRE names the binary. All tests share a test bed of their own; FLOOD_SECONDS says how long the floods
last on a machine that has nothing else to do.
"""

import collections
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import tempfile
import time
import unittest

from support import captures, pcap
from support.cluster import NETWORKS, Cluster, ClusterCase
from support.endpoint import Endpoint
from support.frames import ECHO_TYPES, ICMP, SYN, Frame
from support.namespace import command_in, run_in
from support.program import PODWIRE
from support.waiting import PATIENCE_SECONDS, wait_until

FLOOD_SECONDS = int(os.environ.get("FLOOD_SECONDS", 20))
# So many of them the agent has to have got for each second, however long that takes.
FLOOD_FRAMES_PER_SECOND = 7000
A1, GATEWAY = "10.244.1.2", "10.244.1.1"
ECHO_REQUEST = ECHO_TYPES[ICMP][0]
cluster = None


def setUpModule():
    global cluster
    cluster = RuleTest.cluster = Cluster("rt", "bridge")
    unittest.addModuleCleanup(cluster.remove)


def run(name, *words, **keywords):
    return cluster.run(name, *words, **keywords)


def python(name, program, *arguments):
    return cluster.python(name, program, *arguments)


class RuleTest(ClusterCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = pathlib.Path(self.folder.name, "sensor.pcapng")

    def packets(self, collector, *agents):
        """Ends all of them, and returns what the sensor has got."""
        self.end(collector, *agents)
        return list(captures.packets(captures.read(self.file)))

    def ends(self, packets):
        """The addresses between which packets went, each pair as it went."""
        return {tuple(socket.inet_ntop(socket.AF_INET, end) for end in packet.form[1:3])
                for packet in packets if packet.form and len(packet.form[1]) == 4}

    # The feed

    def check_feed_is_not_reported(self, sensor):
        collector = self.start_collector("c1")
        agents = [self.start_agent(node, sensor) for node in (1, 2)]
        self.ping("a1", "10.244.2.3")
        self.ping("a1", "10.244.1.4")
        self.ping("node2", "10.244.1.2")
        ends = self.ends(self.packets(collector, *agents))
        # What it says to pods is traffic like any other; what nodes say to it is the feed.
        self.assertIn(("10.244.1.2", "10.244.2.3"), ends)
        self.assertIn(("10.244.1.2", "10.244.1.4"), ends)
        self.assertIn(("192.168.100.2", "10.244.1.2"), ends)
        to_sensor = {end for pair in ends if "10.244.1.4" in pair for end in pair}
        self.assertEqual(to_sensor, {"10.244.1.2", "10.244.1.4"}, ends)

    def test_feed_to_a_sensor_that_is_a_pod(self):
        self.check_feed_is_not_reported("10.244.1.4")

    def test_feed_to_a_sensor_behind_a_service(self):
        # Data connections go to ports of the sensor's choice, so all ports are translated.
        rule = ["OUTPUT", "-d", "10.96.0.200", "-j", "DNAT", "--to-destination", "10.244.1.4"]
        for node in (1, 2):
            run(f"node{node}", "iptables", "-t", "nat", "-A", *rule)
        try:
            self.check_feed_is_not_reported("10.96.0.200")
        finally:
            for node in (1, 2):
                run(f"node{node}", "iptables", "-t", "nat", "-D", *rule)

    # What explain says

    def explain(self, node, *words, check=True):
        done = run_in(cluster.name(f"node{node}"), PODWIRE, "explain", *words, check=check,
                      env={**os.environ, **NETWORKS})
        return done.stdout if check else (done.returncode, done.stderr)

    def edge(self, node, address):
        edges = json.loads(run(f"node{node}", PODWIRE, "edges", "--json"))
        return next(edge["interface"] for edge in edges if address in (edge["pod_addresses"] or []))

    def explain_done(self, node, *words):
        return run_in(cluster.name(f"node{node}"), PODWIRE, "explain", *words, check=False,
                      env={**os.environ, **NETWORKS})

    def rows(self, text):
        """The lines of the table of edges, as words split by two spaces."""
        return self.table(text, "EDGE ")

    def table(self, text, head):
        """The rows of the table that begins so, as words split by two spaces, without their sentences' lines."""
        lines = [line for line in text.split("\n" + head)[1].split("\n\n")[0].splitlines()[1:] if line[0] != " "]
        return [re.split("  +", line) for line in lines]

    def test_explain_says_what_the_edges_do(self):
        a1, c1 = self.edge(1, "10.244.1.2"), self.edge(1, "10.244.1.4")
        for words, expected in (
                ("tcp 10.244.1.2:40000 10.244.2.3:80",
                 [[a1, "ingress", "no"], ["of 10.244.2.3, on its node", "egress", "yes"]]),
                ("udp [fd00:10:244:1::4]:53 [fd00:10:244:1::2]:53",
                 [[c1, "ingress", "no"], [a1, "egress", "yes"]]),
                ("icmp 10.244.1.2 10.244.1.1", [[a1, "ingress", "yes"]]),
                ("icmp 10.244.1.4 10.244.1.2",
                 [[c1, "ingress", "if unanswered"], [a1, "egress", "if answered"]]),
                ("sctp 192.168.100.2:9 10.244.1.4:9", [[c1, "egress", "yes"]]),
                ("tcp 10.244.1.4:40000 10.96.0.10:80", [[c1, "ingress", "unknown"]])):
            with self.subTest(words):
                rows = self.rows(self.explain(1, *words.split()))
                self.assertEqual([row[:3] for row in rows], expected)
        self.assertIn("No pod's edge sees it", self.explain(1, *"tcp 1.1.1.1:1 2.2.2.2:2".split()))
        for words in ("tcp 10.1.1.1 10.1.1.2:1", "tcp 10.1.1.1:1", "icmp 10.1.1.1:1 10.1.1.2",
                      "tcp 10.1.1.1:1 [::1]:1", "nothing 10.1.1.1 10.1.1.2", "--program nothing"):
            code, text = self.explain(1, *words.split(), check=False)
            self.assertEqual((code, text.count("\n")), (64, 1), text)

    def test_explain_says_what_becomes_of_requests(self):
        a1, c1 = self.edge(1, "10.244.1.2"), self.edge(1, "10.244.1.4")
        for words, expected in (
                ("tcp 10.244.1.2:40000 10.244.2.3:80", ["of 10.244.2.3, on its node", a1]),
                ("tcp [fd00:10:244:1::4]:2000 [fd00:10:244:1::2]:80", [a1, c1]),
                ("icmp 10.244.1.4 10.244.1.2", [a1, c1])):
            with self.subTest(words):
                text = self.explain(1, *words.split())
                rows = self.table(text, "ANSWER ")
                self.assertEqual([row[:2] for row in rows],
                                 list(map(list, zip(("within 0.5 s", "none in time"), expected))))
                self.assertIn("0.6 s late", self.sentence(text))
                self.assertEqual("A packet of an established connection:" in text, "tcp" in words)
                found = json.loads(self.explain(1, *words.split(), "--json"))
                self.assertEqual(found["edges_are_for"], "established" if "tcp" in words else "requests")
                request = found["request"]
                self.assertEqual([request["held"], request["late_ms"]], ["yes", 600])
                self.assertEqual([request[key]["edge"] for key in ("answered", "unanswered")], expected)
        at_once = "icmp 10.244.1.2 10.244.1.4".split()
        self.assertIn("by the same edge, answered or not", self.explain(1, *at_once))
        request = json.loads(self.explain(1, *at_once, "--json"))["request"]
        self.assertEqual((request["held"], "late_ms" in request, "answer_ms_max" in request), ("no", False, False))
        lost = "udp 10.244.1.2:40000 10.244.1.77:53".split()
        self.assertIn("If it dies on its way, nobody reports it.", self.explain(1, *lost))
        self.assertIn("none of them has it", self.sentence(self.explain(1, *lost)))
        self.assertTrue(json.loads(self.explain(1, *lost, "--json"))["unseen_if_lost"])
        call = json.loads(self.explain(1, *"tcp 10.244.1.4:40000 10.96.0.10:80 --json".split()))
        self.assertEqual([call["edges"][0]["reported"], call["request"]["held"]], ["unknown", "unknown"])
        self.assertIsNone(json.loads(self.explain(1, *"udp 10.244.1.2:5 10.244.2.3:6 --json".split()))["request"])

    def test_explain_decides_at_another_nodes_edge_as_that_node_does(self):
        run("a1", "ip", "addr", "add", "10.77.0.1/32", "dev", "lo")
        self.addCleanup(run, "a1", "ip", "addr", "del", "10.77.0.1/32", "dev", "lo")
        # An address counts as the pod's if the node's route to it leads there.
        run("node1", "ip", "route", "add", "10.77.0.1", "via", A1)
        self.addCleanup(run, "node1", "ip", "route", "del", "10.77.0.1")
        a1 = self.edge(1, A1)
        for words, expected in (
                ("udp 10.77.0.1:5000 10.244.2.3:53", [[a1, "no"], ["of 10.244.2.3, on its node", "yes"]]),
                ("udp 10.244.2.3:5000 10.77.0.1:53", [["of 10.244.2.3, on its node", "yes"], [a1, "no"]]),
                ("udp 0.0.0.0:68 255.255.255.255:67", [["one of 3 edges", "once"]]),
                (f"icmp {A1} 10.244.2.3", [[a1, "yes"], ["of 10.244.2.3, on its node", "no"]])):
            with self.subTest(words):
                found = json.loads(self.explain(1, *words.split(), "--json"))["edges"]
                self.assertEqual([[row["edge"], row["reported"]] for row in found], expected)
        # The other node's own view of the same packet.
        found = json.loads(self.explain(2, *"udp 10.77.0.1:5000 10.244.2.3:53 --json".split()))
        self.assertEqual([row["reported"] for row in found["edges"]], ["yes"])
        self.assertTrue(any("sends from 10.77.0.1" in remark for remark in found["remarks"]), found)
        found = json.loads(self.explain(1, "tcp", f"{A1}:40000", "192.168.100.2:30082", "--json"))
        self.assertTrue(any("If 192.168.100.2 is a node" in remark for remark in found["remarks"]), found)
        # Rows are whole where a program reads them; what is for people alone is broken.
        for part in self.explain(1, "tcp", f"{A1}:40000", "10.244.2.3:80").split("\n\n"):
            if part.split(" ")[0] not in ("EDGE", "ANSWER"):
                self.assertLessEqual(max(map(len, part.splitlines())), 80, part)

    def test_explain_knows_a_call_that_goes_on(self):
        self.serve("b1", SERVER, "10.244.1.3", 50052)
        b1, c1 = self.edge(1, "10.244.1.3"), self.edge(1, "10.244.1.4")
        pod_form = "10.244.1.4:2000 to 10.244.1.3:50052"
        # It goes on until it is told to end.
        call = subprocess.Popen(python("c1", CLIENT, "10.96.0.21", 80, 0, 2000),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(call.stdout.close)
        self.assertEqual(call.stdout.readline(), b"connected\n")
        text = self.explain(1, *"tcp 10.244.1.4:2000 10.96.0.21:80".split())
        rows = self.rows(text)
        call.communicate()
        self.assertEqual([row[:4] for row in rows], [
            [c1, "ingress", "10.244.1.4:2000 to 10.96.0.21:80", "yes"],
            [b1, "egress", pod_form, "no"]])
        self.assertIn("10.244.1.3 port 50052", self.sentence(text))

    def sentence(self, text):
        """The text without its line ends."""
        return " ".join(text.split())

    def record(self, edge, path, *expression):
        """Records at an edge of node1, until it is told to end."""
        recorder = subprocess.Popen(
            command_in(cluster.name("node1"), "tcpdump", "-U", "--immediate-mode", "-i", edge, "-w",
                       path, *expression), stderr=subprocess.PIPE, text=True)
        self.addCleanup(recorder.stderr.close)
        while "listening on" not in recorder.stderr.readline():
            pass
        return recorder

    def test_explain_lists_requests_that_nobody_answered(self):
        a1 = self.edge(1, "10.244.1.2")
        path = pathlib.Path(self.folder.name, "edge.pcap")
        # Nobody has 10.244.2.99, and the other pods' ports are closed.
        targets = [("10.244.2.99", 81)] * 3 + [("10.244.2.98", port) for port in range(100, 125)]
        # A machine that stalls while a call waits has the kernel send it again.
        wait_until(lambda: self.record_calls(a1, path, targets), "requests are sent again all the time")
        requests = json.loads(self.explain(1, "--file", path, "--edge", a1, "--json"))["requests"]
        self.assertEqual({key: requests[key] for key in ("held", "answered", "unanswered", "open", "not_held")},
                         {"held": 30, "answered": 2, "unanswered": 28, "open": 0, "not_held": 0})
        listed = [(row["to"], row["port"]) for row in requests["nobody_answered"]]
        self.assertEqual(listed, sorted(set(targets), key=targets.index))
        first = requests["nobody_answered"][0]
        self.assertEqual([first[key] for key in ("kind", "from", "times", "reported")],
                         ["syn", A1, 3, "late"])
        text = self.explain(1, "--file", path, "--edge", a1)
        rows = self.table(text, "FIRST ")
        self.assertEqual(rows[0][1:], ["syn", A1, "10.244.2.99:81", "3", "late"])
        self.assertEqual(rows[-1], ["… and 6 more; --json lists all"])
        self.assertIn("30 requests between pods held: 2 answered, 28 unanswered", text)

    def record_calls(self, edge, path, targets):
        """Calls of a pod to those who do not answer, and to two that refuse; whether each was sent once."""
        recorder = self.record(edge, path, "tcp or icmp")
        refusing = [("10.244.2.4", 81), ("10.244.1.4", 81)]
        subprocess.run(python("a1", CALLS, json.dumps(targets + refusing)), check=True)
        # A ping says that time has passed.
        self.ping("a1", GATEWAY)

        def recorded():
            return [Frame(frame.data) for frame in captures.read(path)]

        wait_until(lambda: any(frame.icmp_type == ECHO_TYPES[ICMP][1] for frame in recorded()),
                   "tcpdump has not recorded the ping")
        recorder.terminate()
        recorder.wait()
        calls = [frame.source_port for frame in recorded() if frame.flags == SYN]
        return len(calls) == len(set(calls))

    def test_explain_counts_what_a_file_has(self):
        a1 = self.edge(1, "10.244.1.2")
        path = pathlib.Path(self.folder.name, "edge.pcap")
        recorder = self.record(
            a1, path, "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply")
        self.ping("a1", GATEWAY, 5)
        self.ping("b2", A1, 5)

        def are_recorded():
            found = [Frame(frame.data) for frame in captures.read(path)]
            expected.clear()
            expected.update("one end is not a pod" if GATEWAY in (frame.source, frame.destination)
                            else "a request that was answered" if frame.icmp_type == ECHO_REQUEST
                            else "both ends are pods" for frame in found)
            return len(expected) == 3 and min(expected.values()) >= 5

        expected = collections.Counter()
        wait_until(are_recorded, lambda: f"tcpdump has not recorded all, but {expected}")
        recorder.terminate()
        recorder.wait()
        frames = list(captures.read(path))
        text = self.explain(1, "--file", path)
        rows = [re.split("  +", line.strip()) for line in text.splitlines()]
        counts = {row[-1].split(":")[0]: int(row[0]) for row in rows if len(row) == 5 and row[0].isdigit()}
        self.assertEqual(counts, expected)
        # What podwire itself has written of all edges is nothing to explain; what others have is, or of an edge.
        for application, name, refuses in (("podwire 0.2.0", "pods@node1", True), ("podwire 0.2.0", "", True),
                                           ("podwire 0.2.0", f"{a1}@node1", False), ("Dumpcap 4.0", "", False)):
            with self.subTest(application=application, name=name):
                data = pcap.section("<", application) + pcap.interface("<", name=name)
                path.write_bytes(data + b"".join(pcap.packet("<", frame.data) for frame in frames))
                for words in ((), ("--json",)):
                    done = self.explain_done(1, "--file", path, *words)
                    self.assertEqual(done.returncode, 64 if refuses else 0, done.stderr)
                    self.assertEqual("the file is podwire's" in done.stdout + done.stderr, refuses)
                    self.assertEqual("answered" in done.stdout and "one end is not a pod" in done.stdout, not refuses)
                named = self.explain_done(1, "--file", path, "--edge", a1)
                self.assertEqual(named.returncode, 0, named.stderr)
                self.assertEqual("the file is podwire's" in named.stderr, application.startswith("podwire"))
        # The whole program has a comment for each line, and ends with its three ends.
        lines = [line for line in self.explain(1, "--program", a1).splitlines()
                 if not line.startswith(";")]
        self.assertTrue(all(re.match(r" *\d+  \w+.*; \S", line) for line in lines), lines)
        self.assertGreater(len(lines), 100)

    def test_explain_finds_the_edge_at_which_a_file_was_recorded(self):
        """Packets between two pods of the node are counted as with --edge, unless there are just two pods."""
        a1 = self.edge(1, A1)
        path = pathlib.Path(self.folder.name, "edge.pcap")
        recorder = self.record(a1, path, "icmp or arp")
        self.ping("b1", A1, 5)
        self.ping("a1", "10.244.1.4", 4)
        self.ping("a1", GATEWAY, 3)

        def are_recorded():
            found = [Frame(frame.data) for frame in captures.read(path)]
            return sum(GATEWAY in (frame.source, frame.destination) for frame in found
                       if frame.icmp_type is not None) >= 6

        wait_until(are_recorded, lambda: "tcpdump has not recorded the last ping")
        recorder.terminate()
        recorder.wait()
        named = json.loads(self.explain(1, "--file", path, "--edge", a1, "--json"))
        self.assertEqual((named.pop("edge"), named.pop("edge_is_inferred")), (a1, False))
        done = self.explain_done(1, "--file", path)
        self.assertTrue(done.stdout.startswith(f"The file was recorded at {a1}, "), done.stdout)
        self.assertEqual(done.stderr, "")
        found = json.loads(self.explain(1, "--file", path, "--json"))
        self.assertEqual((found.pop("edge"), found.pop("edge_is_inferred")), (a1, True))
        self.assertEqual(found, named)
        # Of just two pods nobody knows, and that is said before the table.
        frames = [frame.data for frame in captures.read(path)]
        path.write_bytes(pcap.pcap([data for data in frames
                                    if "10.244.1.3" in (Frame(data).source, Frame(data).destination)]))
        found = json.loads(self.explain(1, "--file", path, "--json"))
        self.assertIsNone(found["edge"])
        both = run_in(cluster.name("node1"), "sh", "-c", f"{PODWIRE} explain --file {path} 2>&1",
                      env={**os.environ, **NETWORKS}).stdout
        self.assertRegex(both, r"^podwire explain: \d+ packets are between two pods of this node")

    # What the node does not allow

    def test_without_net_admin_calls_to_services_follow_their_backends(self):
        collector = self.start_collector()
        drop = ["capsh", "--drop=cap_net_admin,cap_sys_admin", "--shell=/bin/sh", "--", "-c",
                'exec "$0" "$@"']
        agents = [self.start_agent(node, prefix=drop) for node in (1, 2)]
        for agent in agents:
            text = agent.text()
            self.assertEqual(text.count("connection tracking cannot be asked"), 1, text)
            self.assertRegex(text, "needs CAP_NET_ADMIN: .* in Kubernetes add it under securityContext.capabilities")
        self.serve("a1", SERVER, A1, 8081)
        for client in ("b1", "c2"):
            subprocess.run(python(client, CLIENT, "10.96.0.11", 80, 0), check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ends = self.ends(self.packets(collector, *agents))
        for client in ("10.244.1.3", "10.244.2.4"):
            self.assertIn((client, "10.244.1.2"), ends)
            self.assertNotIn((client, "10.96.0.11"), ends)

    # Bounds

    def test_few_packets_of_calls_to_services_need_user_space(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        self.serve("a1", SERVER, A1, 8081)
        before = self.edge_packet_count()
        # The first second has few packets, the rest many: from another node and from the same.
        subprocess.run(python("b1", CLIENT, "10.96.0.11", 80, 20_000), check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        count = self.edge_packet_count() - before
        self.packets(collector, agent)
        self.assertGreater(count, 20_000)
        self.assertLess(agent.counts()["punted"], count / 100)

    def edge_packet_count(self):
        """How many packets have passed node1's edges."""
        lines = [line.split() for line in run("node1", "cat", "/proc/net/dev").splitlines()]
        return sum(int(words[2]) + int(words[10]) for words in lines
                   if words[0].startswith("veth"))

    def flood(self, program, *arguments):
        """Has pod a1 send for a while, and checks that the agent's memory does not grow after it has
        had time to fill its tables; returns its counters, and how many seconds that took."""
        collector = self.start_collector()
        agent = self.start_agent(1)
        endpoint, begin = Endpoint(agent.namespace), time.monotonic()
        with subprocess.Popen(python("a1", program, *arguments),
                              stdin=subprocess.PIPE) as sender:
            uses = []
            for part in (0.6, 1):
                frame_count = part * FLOOD_SECONDS * FLOOD_FRAMES_PER_SECOND
                endpoint.await_metrics(
                    lambda metrics: metrics.sum("podwire_frames_matched_total") >= frame_count)
                uses.append(agent.uses()[2])
            sender.stdin.close()
            self.assertEqual(sender.wait(PATIENCE_SECONDS), 0)
        seconds = time.monotonic() - begin
        early, late = uses
        self.ping("a1", GATEWAY)
        self.end(collector, agent)
        self.assertLess(late - early, 2 << 20, f"{early} bytes, then {late}")
        self.assertLess(late, 64 << 20)
        # It still does its work.
        pings = [frame for frame in self.frames() if frame.icmp_type == ECHO_REQUEST
                 and (frame.source, frame.destination) == (A1, GATEWAY)]
        self.assertGreaterEqual(len(pings), 3)
        return agent.counts(), seconds

    def test_ten_thousand_new_flows_a_second_stay_within_bounds(self):
        run("node1", "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1")
        counts, seconds = self.flood(FLOWS)
        if FLOOD_SECONDS >= 20:
            self.assertGreater(counts["flows_evicted"], 10_000, counts)
        self.assertLessEqual(counts.get("conntrack_lookups", 0), 2000 * (seconds + 5))

    def test_frames_made_to_confuse_are_counted_and_survived(self):
        counts, _ = self.flood(CONFUSION, str(random.randrange(2**32)))
        for name in ("punted", "fragments", "unexplained", "fragments_not_held",
                     "conntrack_lookups", "conntrack_lookups_skipped"):
            self.assertGreater(counts.get(name, 0), 0, counts)


# Programs for the namespaces, as `python3 -c`.

SERVER = r"""
import socket, sys, threading
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", file=sys.stderr, flush=True)
def answer(connection):
    while data := connection.recv(1 << 20):
        connection.sendall(data[:1000])
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""

CLIENT = r"""
import socket, sys, threading, time
own = ("", int(sys.argv[4])) if len(sys.argv) > 4 else None
client = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60, own)
print("connected", flush=True)
def drain():
    while client.recv(1 << 20): pass
threading.Thread(target=drain, daemon=True).start()
for _ in range(6):
    client.sendall(b"slowly")
    time.sleep(0.25)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(int(sys.argv[3])):
    client.sendall(bytes(100))
time.sleep(0.5)
sys.stdin.read()
"""

# UDP from ever new ports to a service, 10,000 a second.
FLOWS = r"""
import select, socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
source, target = socket.inet_aton("10.244.1.2"), socket.inet_aton("10.96.0.53")
begin, number = time.monotonic(), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100):
        number += 1
        udp = struct.pack("!HHHH", 1024 + number % 64000, 53, 12, 0) + struct.pack("!I", number)
        header = struct.pack("!BBHHHBBH", 0x45, 0, 32, 0, 0, 64, 17, 0)
        # The low bits of a loopback-like source would be dropped; the pod has this one address.
        raw.sendto(header + source + target + udp, ("10.96.0.53", 0))
    time.sleep(max(0, begin + number / 10000 - time.monotonic()))
"""

# Calls addresses and ports one after the other, and does not wait for those that say nothing.
CALLS = r"""
import json, socket, sys, time
for target in json.loads(sys.argv[1]):
    call = socket.socket()
    call.settimeout(0.02)
    try:
        call.connect(tuple(target))
    except OSError:
        pass
    call.close()
time.sleep(0.7)
"""

# Fragments without a beginning, chains of extension headers, addresses of others, calls that nothing
# will ever explain, and noise.
CONFUSION = r"""
import random, select, socket, struct, sys, time
dice = random.Random(int(sys.argv[1]))
print("seed", sys.argv[1])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
own = raw.getsockname()[4]
macs = [own, bytes.fromhex("02deadbeef01"), bytes(6), b"\xff" * 6, bytes.fromhex("333300000001")]
v4 = [socket.inet_aton(a) for a in ("10.244.1.2", "10.244.1.3", "10.244.2.2", "10.96.0.10",
      "10.96.200.1", "10.244.1.1", "192.168.100.1", "255.255.255.255", "127.0.0.1", "0.0.0.0")]
v6 = [socket.inet_pton(socket.AF_INET6, a) for a in ("fd00:10:244:1::2", "fd00:10:244:1::3",
      "fd00:10:244:2::2", "fd00:10:96::a", "fd00:10:96::ff", "fe80::1", "ff02::1", "::")]
def ports():
    return struct.pack("!HHHH", dice.randrange(65536), dice.choice((80, 53, 40000)), 30, 0)
def ipv4(source, target, number, field, payload):
    return b"\x08\x00" + struct.pack("!BBHHHBBH", dice.choice((0x45, 0x45, 0x45, 0x4f, 0x41)), 0,
        20 + len(payload), dice.randrange(65536), field, 64, number, 0) + source + target + payload
def ipv6(source, target, number, payload):
    return b"\x86\xdd\x60\0\0\0" + struct.pack("!HBB", len(payload), number, 64) + source + target + payload
def fragment(number, identification, field):
    return struct.pack("!BBHI", number, 0, field, identification)
def frame():
    kind = dice.choice((0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6, 7))
    if kind == 0:
        return ipv4(v4[0], dice.choice(v4), 17, dice.choice((0x2000, 0x2001, 0x0008, 0x1fff, 0x3fff)),
                    ports() + bytes(dice.randrange(40)))
    if kind == 1:
        return ipv6(v6[0], dice.choice(v6), 44, fragment(dice.choice((17, 6, 44, 60)),
                    dice.randrange(2**32), dice.choice((1, 8, 9, 0xfff8))) + ports())
    if kind == 2:
        chain = b"".join(bytes([dice.choice((0, 43, 44, 51, 60, 135)), dice.choice((0, 0, 1, 255))]) + bytes(6)
                         for _ in range(dice.randrange(12)))
        return ipv6(v6[0], dice.choice(v6), dice.choice((0, 43, 60)), chain + ports())
    if kind == 3:
        return ipv4(dice.choice(v4), dice.choice(v4), dice.choice((6, 17, 132)), 0, ports() + bytes(20))
    if kind == 4:
        # A call to a service that is not there, each time another one.
        return ipv4(v4[0], bytes([10, 96, dice.randrange(256), dice.randrange(256)]), 6, 0, ports() + bytes(20))
    if kind == 5:
        quoted = ipv4(dice.choice(v4), dice.choice(v4), 17, 0, ports())[2:]
        return ipv4(v4[0], dice.choice(v4), 1, 0, bytes([dice.choice((3, 11, 12)), 3, 0, 0, 0, 0, 0, 0]) + quoted[:dice.randrange(40)])
    if kind == 6:
        # Only the end of a datagram, between pods.
        return ipv4(v4[0], v4[2], 17, 0x0010, bytes(100))
    return dice.choice((b"\x08\x06", b"\x81\x00", b"\x88\xa8", b"\x08\x00", b"\x86\xdd")) + dice.randbytes(dice.randrange(80))
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(50):
        data = dice.choice(macs) + dice.choice((own, own, macs[1])) + frame()
        try:
            raw.send(data)
        except OSError:
            pass
    time.sleep(0.004)
"""


if __name__ == "__main__":
    unittest.main()
