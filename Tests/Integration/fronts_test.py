"""Calls to addresses that the client's node translates to pods without masquerading: node ports with
externalTrafficPolicy: Local, host ports, load balancers' addresses and external ones. They pass two edges
in two forms, and the sensor has to get each packet once, as the backend's edge sees it.

PODWIRE names the binary. All tests share a test bed of their own.
"""

import collections
import json
import pathlib
import signal
import subprocess
import tempfile
import unittest

from support.cluster import Cluster, ClusterCase
from support.echo import SERVER
from support.endpoint import Endpoint
from support.frames import ICMP, TCP, UDP
from support.waiting import wait_until

NODE4, NODE6 = "192.168.100.1", "fd00:192:168:100::1"
# Nobody has them: the node translates them on their way to the default route.
BALANCER4, BALANCER6, EXTERNAL4 = "198.51.100.7", "2001:db8:51::7", "198.51.100.8"
GATEWAY = "10.244.1.1"
B1, B2, C1 = "10.244.1.3", "10.244.2.3", "10.244.1.4"
B1_6, B2_6 = "fd00:10:244:1::3", "fd00:10:244:2::3"
PORT = 8080
# What is called, at which port, who answers, and which pod calls.
FRONTS = [
    ("node port, backend on the same node", NODE4, 30081, B1),
    ("node port, backend on the other node", NODE4, 30082, B2),
    ("node port at the gateway's address", GATEWAY, 30082, B2),
    ("host port", NODE4, 8090, C1),
    ("load balancer's address", BALANCER4, 80, B2),
    ("node port over IPv6, same node", NODE6, 30081, B1_6),
    ("node port over IPv6, other node", NODE6, 30082, B2_6),
    ("load balancer's address over IPv6", BALANCER6, 80, B2_6),
    ("external address", EXTERNAL4, PORT, B2)]
CLIENTS = {4: "10.244.1.2", 6: "fd00:10:244:1::2"}
# Below all backends' ports, so that the client's edge reports; and one that the kernel chooses.
CLIENT_PORTS = (2000, 0)
cluster = None


def setUpModule():
    global cluster
    cluster = FrontTest.cluster = Cluster("fr", "bridge")
    unittest.addModuleCleanup(cluster.remove)
    for _, address, port, backend in FRONTS:
        if address != EXTERNAL4:
            for protocol in ("tcp", "udp"):
                translate(address, backend, PORT, "-p", protocol, "--dport", port)
    # All ports and protocols, pings included.
    translate(EXTERNAL4, B2, None)


def translate(address, backend, port, *match):
    is_ipv6 = ":" in address
    target = backend if port is None else f"[{backend}]:{port}" if is_ipv6 else f"{backend}:{port}"
    cluster.run("node1", "ip6tables" if is_ipv6 else "iptables", "-t", "nat", "-I", "PREROUTING",
                "-d", address, *match, "-j", "DNAT", "--to-destination", target)


class FrontTest(ClusterCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = pathlib.Path(self.folder.name, "sensor.pcapng")
        cluster.run("node1", "conntrack", "-F", check=False)
        for pod in ("b1", "b2", "c1"):
            self.serve(pod, SERVER, PORT)

    def call(self, fronts, count=20, ports=CLIENT_PORTS):
        """Calls each front over TCP and UDP from each port; returns the texts that were sent."""
        calls = [(number, address, port, own) for number, (_, address, port, _) in enumerate(fronts)
                 for own in ports]
        done = subprocess.run(cluster.python("a1", CALLER, json.dumps(calls), count), check=True,
                              stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def check(self, fronts, texts, *agents, first_is_free=False):
        """Each packet has come once, in pod form. `first_is_free` for the first call to each front."""
        backends = {backend for *_, backend in fronts}
        called = {address for _, address, *_ in fronts}
        frames = [frame for frame in self.frames() if frame.protocol in (TCP, UDP)]
        wrong = [(str(frame.source), frame.source_port, str(frame.destination),
                  frame.destination_port, frame.flags) for frame in frames
                 if {str(frame.source), str(frame.destination)} & called]
        self.assertEqual(wrong, [])
        counts = collections.Counter()
        flags = collections.Counter()
        for frame in frames:
            ends = {str(frame.source), str(frame.destination)}
            if not ends & set(CLIENTS.values()) or not ends & backends:
                continue
            if frame.payload:
                counts[frame.protocol, str(frame.destination) in CLIENTS.values(),
                       bytes(frame.payload)] += 1
            elif frame.protocol == TCP:
                flags[str(frame.source), frame.source_port, str(frame.destination),
                      frame.destination_port, frame.flags, frame.sequence,
                      frame.acknowledgement] += 1
        expected = {(protocol, is_reply, text.encode()) for protocol in (TCP, UDP)
                    for is_reply in (False, True) for text in texts}
        self.assertEqual({key for key in counts if key[2].startswith(b"call")}, expected)
        self.assertEqual({key: count for key, count in counts.items() if count != 1}, {})
        self.assertEqual({key: count for key, count in flags.items() if count != 1}, {})
        self.assertTrue(flags)
        for node, agent in enumerate(agents, 1):
            self.assertEqual(agent.counts().get("calls_not_learned", 0), 0, node)

    def test_each_packet_comes_once_in_pod_form(self):
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        texts = self.call(FRONTS)
        self.end(collector, *agents)
        self.check(FRONTS, texts, *agents)

    def test_no_service_networks_are_needed(self):
        collector = self.start_collector()
        agents = [self.start_agent(node, SVCNET="") for node in (1, 2)]
        texts = self.call(FRONTS[:3])
        self.end(collector, *agents)
        self.check(FRONTS[:3], texts, *agents)

    def test_calls_that_began_before_the_agent_come_once(self):
        caller = self.begin_long_call(FRONTS[1])
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        texts = self.end_long_call(caller)
        self.end(collector, *agents)
        self.check_long_calls(texts)

    def test_calls_in_a_crowd_of_calls_to_services_are_known_when_the_agent_begins(self):
        cluster.run("node1", "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=300")
        callers = [self.begin_long_call(FRONTS[number]) for number in (1, 6)]
        # More than the agent lists.
        self.crowd(1200, 60)
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        texts = [self.end_long_call(caller) for caller in callers]
        self.end(collector, *agents)
        self.assertEqual(*texts)
        self.check_long_calls(texts[0], count=2)
        # Of the crowd no call is one of the time of the capture.
        self.assertNotIn("service_calls", agents[0].counts())

    def test_calls_whose_events_were_lost_come_once(self):
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        agents[0].process.send_signal(signal.SIGSTOP)
        # More than the socket has room for.
        self.crowd(600, 60)
        caller = self.begin_long_call(FRONTS[1])
        agents[0].process.send_signal(signal.SIGCONT)
        endpoint = Endpoint(agents[0].namespace)
        endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_conntrack_listings_total") > 0)
        texts = self.end_long_call(caller)
        self.end(collector, *agents)
        self.assertGreater(agents[0].counts()["conntrack_overruns"], 0)
        self.check_long_calls(texts)

    def begin_long_call(self, front):
        caller = subprocess.Popen(
            cluster.python("a1", LONG_CALLER, json.dumps(front[1:3])), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(caller.kill)
        self.assertEqual(caller.stdout.readline(), "connected\n")
        return caller

    def end_long_call(self, caller):
        output, _ = caller.communicate("go\n", timeout=60)
        return json.loads(output)

    def check_long_calls(self, texts, count=1):
        """Each packet with data has come in pod form, once for each of the calls."""
        frames = [frame for frame in self.frames() if frame.protocol == TCP and frame.payload]
        counts = collections.Counter(
            (str(frame.destination) in CLIENTS.values(), bytes(frame.payload)) for frame in frames
            if PORT in (frame.source_port, frame.destination_port))
        self.assertEqual(counts, {(is_reply, text.encode()): count for text in texts
                                  for is_reply in (False, True)})
        self.assertFalse([frame for frame in frames
                          if {str(frame.source), str(frame.destination)} & {NODE4, NODE6}])

    def crowd(self, port_count, service_count):
        """Has connection tracking know so many flows to services over IPv4."""
        subprocess.run(cluster.python("b1", CROWD, port_count, service_count), check=True)

    def test_a_port_that_calls_anew_is_not_taken_for_the_old_call(self):
        masquerade = ("POSTROUTING", "-p", "udp", "-s", CLIENTS[4], "-d", C1, "-j", "MASQUERADE")
        translation = ("PREROUTING", "-p", "udp", "-d", NODE4, "--dport", 30090, "-j", "DNAT",
                       "--to-destination", f"{C1}:{PORT}")

        def change(option, rule):
            cluster.run("node1", "iptables", "-t", "nat", option, *rule)
            cluster.run("node1", "conntrack", "-F", check=False)

        def call(text):
            subprocess.run(cluster.python("a1", DATAGRAMS, NODE4, 30090, 2500, text), check=True)

        def forms():
            """How often each datagram has come in which form."""
            found = collections.defaultdict(collections.Counter)
            for frame in self.frames():
                if frame.protocol == UDP and frame.payload:
                    found[bytes(frame.payload)][str(frame.source), str(frame.destination)] += 1
            return found

        def have_come(text, *ends):
            """Whether a call's datagrams and echoes have come once between each of these ends."""
            wanted = {pair: 1 for one in ends for pair in (one, one[::-1])}
            found = forms()
            return all(found[f"{text} {turn}".encode()] == wanted for turn in range(10))

        def call_when_known(text, *ends):
            """Calls until that has come as it should, and then once more: agents learn it late."""
            tries = []

            def is_known():
                tries.append(f"until {text} {len(tries)}")
                call(tries[-1])
                endpoint.settled()
                # The file has a try's frames later: the collector brings them into their order.
                return any(have_come(one, *ends) for one in tries)

            wait_until(is_known, lambda: f"it is not {text}: {forms()}")
            call(text)
            calls[text] = ends

        pod, node, calls = CLIENTS[4], NODE4, {}
        change("-I", translation)
        self.serve("node1", ECHO, NODE4, 30090)
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        endpoint = Endpoint(agents[0].namespace)
        call("first")
        call_when_known("translated", (pod, C1))
        change("-I", masquerade)
        call_when_known("masqueraded", (pod, node), (GATEWAY, C1))
        change("-D", masquerade)
        # Of this one the first packet's event tells.
        call_when_known("translated again", (pod, C1))
        change("-D", translation)
        call_when_known("host", (pod, node))
        self.end(collector, *agents)
        for text, ends in calls.items():
            self.assertTrue(have_come(text, *ends), (text, forms()))

    def test_pings_of_an_address_that_is_translated_as_a_whole_come_once(self):
        collector = self.start_collector()
        agents = [self.start_agent(node) for node in (1, 2)]
        self.ping("a1", EXTERNAL4)
        self.end(collector, *agents)
        pings = collections.Counter(
            (str(frame.source), str(frame.destination), bytes(frame.payload))
            for frame in self.frames() if frame.protocol == ICMP and frame.is_ping)
        self.assertEqual({ends[:2] for ends in pings}, {(CLIENTS[4], B2), (B2, CLIENTS[4])})

    def test_other_traffic_of_the_same_address_is_decided_in_the_kernel(self):
        collector = self.start_collector()
        agent = self.start_agent(1)
        self.call(FRONTS[2:3], count=2)
        self.serve("node1", SERVER, 9000)
        endpoint = Endpoint(agent.namespace)
        rounds = []

        def is_decided_in_the_kernel():
            endpoint.settled()
            before = endpoint.metrics().sum("podwire_frames_punted_total")
            self.call([("the node itself", GATEWAY, 9000, None)], count=500, ports=(0,))
            endpoint.settled()
            rounds.append(endpoint.metrics().sum("podwire_frames_punted_total") - before)
            return rounds[-1] < 50

        # The edge's program learns of a front a moment after the call.
        wait_until(is_decided_in_the_kernel, lambda: f"frames that were punted: {rounds}")
        self.end(collector, agent)
        to_node = [frame for frame in self.frames() if 9000 in (
            frame.source_port, frame.destination_port) and frame.payload]
        # Requests and replies over TCP and UDP.
        self.assertEqual(len(to_node), 2000 * len(rounds))


# Calls over TCP and UDP, and waits for each echo.
CALLER = r"""
import json, socket, sys
texts = []
for number, address, port, own in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        call = socket.socket(family, kind)
        call.settimeout(30)
        call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        call.bind(("", own and own + number))
        call.connect((address, port))
        for turn in range(int(sys.argv[2])):
            text = f"call {number} {own} {turn}"
            if kind == socket.SOCK_DGRAM: texts.append(text)
            call.send(text.encode())
            assert call.recv(1000) == text.encode()
        call.close()
print(json.dumps(texts))
"""

LONG_CALLER = r"""
import json, socket, sys
call = socket.create_connection(json.loads(sys.argv[1]))
print("connected", flush=True)
sys.stdin.readline()
texts = [f"call {turn}" for turn in range(20)]
for text in texts:
    call.send(text.encode())
    call.recv(1000)
print(json.dumps(texts))
"""

# Echoes datagrams, from the address that was called.
ECHO = r"""
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], int(sys.argv[2])))
print("ready", file=sys.stderr, flush=True)
while True: server.sendto(*server.recvfrom(1000))
"""

# Sends datagrams from one port, and waits for each echo.
DATAGRAMS = r"""
import socket, sys
address, port, own, text = sys.argv[1:]
call = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
call.settimeout(30)
call.bind(("", int(own)))
call.connect((address, int(port)))
for turn in range(10):
    call.send(f"{text} {turn}".encode())
    assert call.recv(1000) == f"{text} {turn}".encode()
"""

# Sends a datagram from each of many ports to each of many services that nobody has.
CROWD = r"""
import socket, sys
for number in range(int(sys.argv[1])):
    call = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    call.bind(("", 20000 + number))
    for port in range(5000, 5000 + int(sys.argv[2])):
        call.sendto(b"x", ("10.96.77.1", port))
    call.close()
"""

if __name__ == "__main__":
    unittest.main()
