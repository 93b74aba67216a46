"""The test beds whose data path is eBPF programs: what tcpdump sees at which end of an edge, what connection
tracking knows, and what the tables say. These are what clusters with Cilium and Calico were measured to
show, so an agent that is right here is right there.

No binary is needed.
"""

import collections
import json
import pathlib
import signal
import struct
import subprocess
import tempfile
import unittest

from support import captures, places
from support.cluster import Cluster
from support.frames import TCP, UDP, Frame, checksum
from support.namespace import command_in, mac_in
from support.waiting import wait_until

SERVER = """
import socket, sys, threading
def answer(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
def datagrams(server):
    while True:
        server.sendto(*server.recvfrom(65536))
def connections(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
for address in sys.argv[2:]:
    # Bound to its own address: else it would answer a link-local address from another one.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = address, int(sys.argv[1])
    datagram = socket.socket(family, socket.SOCK_DGRAM)
    datagram.bind(end)
    threading.Thread(target=datagrams, args=(datagram,), daemon=True).start()
    listener = socket.create_server(end, family=family, backlog=64)
    threading.Thread(target=connections, args=(listener,), daemon=True).start()
print("ready", file=sys.stderr, flush=True)
threading.Event().wait()
"""
CALL = """
import os, socket, sys
address, port, source, kind, size = sys.argv[1], *map(int, sys.argv[2:])
client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
client.settimeout(20)
client.bind(("", source))
client.connect((address, port))
data = os.urandom(size)
client.sendall(data)
got = b""
while len(got) < size:
    got += client.recv(65536)
assert got == data
"""
REFUSED = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(20)
client.connect((sys.argv[1], int(sys.argv[2])))
client.send(b"anybody there?")
try:
    client.recv(1)
except ConnectionRefusedError:
    print("refused")
"""
# A service with one backend, and the port there.
PORT, BACKEND_PORT = 80, 8081
# The same service's port for large datagrams, and a service whose backend refuses.
LARGE_PORT, LARGE_BACKEND_PORT, LARGE_SIZE = 54, 5354, 4000
REFUSING = {4: "10.96.0.66", 6: "fd00:10:96::66"}
SERVER_POD, CLIENT, FAR_CLIENT = "a1", "b1", "c2"
# Addresses of each family, and what a pod that calls itself looks like to itself.
SERVICES = {4: "10.96.0.11", 6: "fd00:10:96::11"}
PODS = {family: {pod: places.addresses(pod)[family == 6] for pod in (SERVER_POD, CLIENT, FAR_CLIENT)}
        for family in (4, 6)}
LOOPBACKS = {4: "169.254.42.1", 6: "fe80::1"}
MARK_SIZE = 1111
FULL_SIZES = {TCP: 100_000, UDP: 700}
KINDS = {TCP: 1, UDP: 2}
CALLS = [(family, protocol) for family in (4, 6) for protocol in (TCP, UDP)]
# The layout of an entry of connection tracking, and of a backend: see tools/lib/ebpf/tables.h.
FLOW_BYTE_COUNT, BACKEND_OFFSET, SERVICE_FLAGS = 56, 8, 4


class Recorder:
    """Records one direction at one device of a namespace."""

    def __init__(self, namespace, device, direction, path):
        self.path = path
        self.process = subprocess.Popen(
            command_in(namespace, "tcpdump", "-U", "--immediate-mode", "-s", "262144", "-B", "16384",
                       "-i", device, "-Q", direction, "-w", path), stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.process.stderr.readline():
            if self.process.poll() is not None:
                raise AssertionError(f"tcpdump does not record {device} of {namespace}")

    def frames(self):
        return [Frame(frame.data) for frame in captures.read(self.path)]

    def has_mark(self):
        return any(frame.is_ping and len(frame) > MARK_SIZE for frame in self.frames())

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


class PathCase(unittest.TestCase):
    """A test bed of a network, and what its programs do to a call."""

    network = None
    cluster = None

    @classmethod
    def setUpClass(cls):
        if cls.network is None:
            raise unittest.SkipTest("has no network")
        cls.cluster = Cluster("eb", cls.network)
        cls.addClassCleanup(cls.cluster.remove)
        for pod, port in ((SERVER_POD, BACKEND_PORT), (SERVER_POD, LARGE_BACKEND_PORT),
                          ("a1", 8080), ("a2", 8080)):
            cls.serve(pod, port)
        cls.source = 20000
        # What has no neighbour yet takes the node's stack, in all networks.
        for pods in PODS.values():
            for name, address in pods.items():
                cls.cluster.run(f"node{name[-1]}", "ping", "-q", "-c", "1", "-w", "20", address)

    @classmethod
    def serve(cls, pod, port):
        server = subprocess.Popen(
            cls.cluster.python(pod, SERVER, port, *places.addresses(pod)), stderr=subprocess.PIPE)
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.kill)
        cls.addClassCleanup(server.stderr.close)
        if server.stderr.readline() != b"ready\n":
            raise AssertionError(f"the server at port {port} of {pod} does not come up")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def edge(self, pod):
        """The node's end of a pod's device pair."""
        index = self.cluster.run(pod, "cat", "/sys/class/net/eth0/iflink").strip()
        links = json.loads(self.cluster.run(f"node{pod[-1]}", "ip", "-j", "link"))
        return next(link["ifname"] for link in links if link["ifindex"] == int(index))

    def next_port(self):
        type(self).source += 1
        return self.source

    def call(self, client, family, protocol):
        """Calls the service, and returns the client's port."""
        source = self.next_port()
        self.cluster.run(client, *self.cluster.python(client, CALL, SERVICES[family], PORT, source,
                                                      KINDS[protocol], FULL_SIZES[protocol])[4:])
        return source

    def record(self, *pods):
        """Begins to record both ends of the pods' edges, in both directions."""
        recorders = {}
        for pod in pods:
            for side, namespace, device in (("node", f"node{pod[-1]}", self.edge(pod)),
                                            ("pod", pod, "eth0")):
                for direction in ("in", "out"):
                    path = self.folder / f"{pod}-{side}-{direction}-{self.next_port()}"
                    recorder = Recorder(self.cluster.name(namespace), device, direction, path)
                    self.addCleanup(recorder.stop)
                    recorders[pod, side, direction] = recorder
        return recorders

    def seen(self, recorders):
        """The frames of the recordings, when these have got what was sent last."""
        for pod in {pod for pod, _, _ in recorders}:
            self.cluster.run(f"node{pod[-1]}", "ping", "-q", "-c", "1", "-w", "20", "-s", MARK_SIZE,
                             PODS[4][pod])
        for point, recorder in recorders.items():
            wait_until(recorder.has_mark, f"the recording {point} has no end")
        return {point: recorder.frames() for point, recorder in recorders.items()}

    def paths(self, family, pods, clients, protocol):
        """Where which packets of a call passed: "client>service" and so on, by pod, end and direction."""
        recorders = self.record(*pods)
        ports = {self.call(client, family, protocol) for client in clients}
        names = {SERVICES[family]: "service", LOOPBACKS[family]: "loopback",
                 **{address: name for name, address in PODS[family].items()}}
        self.frames = {
            point: [frame for frame in frames if frame.protocol == protocol
                    and {frame.source_port, frame.destination_port} & ports]
            for point, frames in self.seen(recorders).items()}
        return {point: {f"{names[frame.source]}>{names[frame.destination]}" for frame in frames}
                for point, frames in self.frames.items()}

    def check_checksums(self):
        """Each checksum is right, or, where it is still to be finished, that of the pseudo header."""
        for point, frames in self.frames.items():
            for frame in frames:
                if frame.version == 4:
                    self.assertEqual(checksum(frame.data[14:34]), 0, (point, frame))
                header = 14 + (20 if frame.version == 4 else 40)
                ends = frame.data[header - (8 if frame.version == 4 else 32):header]
                segment = frame.data[header:]
                pseudo = ends + struct.pack("!II", len(segment), frame.protocol)
                offset = header + (16 if frame.protocol == TCP else 6)
                unfinished = struct.unpack_from("!H", frame.data, offset)[0] == ~checksum(pseudo) & 0xFFFF
                self.assertTrue(unfinished or checksum(pseudo + segment) == 0, (point, frame))

    def tables(self, name, node=1):
        """The entries of a pinned table, key and value."""
        path = f"/run/podwire-testbed/{self.cluster.prefix}/bpf/node{node}/{name}"
        done = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", path], check=True,
                              capture_output=True, text=True)
        return {bytes(int(byte, 16) for byte in entry["key"]): bytes(
            int(byte, 16) for byte in entry["value"]) for entry in json.loads(done.stdout)}


    # What the node's ends of edges do not see.
    is_blind_to_pod = False

    def expected(self, client, is_local=True):
        """What each end sees of a call of a client, and of the call that its node makes of it."""
        to_pod = set() if self.is_blind_to_pod else None
        call, reply = {f"{client}>service"}, {f"service>{client}"}
        request, answer = {f"{client}>{SERVER_POD}"}, {f"{SERVER_POD}>{client}"}
        return {
            (client, "pod", "out"): call, (client, "node", "in"): call,
            (client, "pod", "in"): reply, (client, "node", "out"): reply if to_pod is None else to_pod,
            (SERVER_POD, "pod", "in"): request,
            (SERVER_POD, "node", "out"): request if to_pod is None else to_pod,
            (SERVER_POD, "pod", "out"): answer, (SERVER_POD, "node", "in"): answer}

    def test_calls_on_one_node(self):
        for family, protocol in CALLS:
            paths = self.paths(family, (CLIENT, SERVER_POD), [CLIENT], protocol)
            self.assertEqual(paths, self.expected(CLIENT))
            self.check_checksums()
            self.check_macs()

    def test_calls_across_nodes(self):
        for family, protocol in CALLS:
            paths = self.paths(family, (FAR_CLIENT, SERVER_POD), [FAR_CLIENT], protocol)
            self.assertEqual(paths, self.expected(FAR_CLIENT))
            self.check_checksums()

    def test_a_pod_that_calls_itself(self):
        for family, protocol in CALLS:
            paths = self.paths(family, [SERVER_POD], [SERVER_POD], protocol)
            out = {f"{SERVER_POD}>service", f"{SERVER_POD}>loopback"}
            back = {f"service>{SERVER_POD}", f"loopback>{SERVER_POD}"}
            self.assertEqual(paths, {
                (SERVER_POD, "pod", "out"): out, (SERVER_POD, "node", "in"): out,
                (SERVER_POD, "pod", "in"): back,
                (SERVER_POD, "node", "out"): set() if self.is_blind_to_pod else back})
            self.check_checksums()

    def test_the_node_calls_pods_by_its_end_of_their_edges(self):
        recorders = self.record(SERVER_POD)
        frames = self.seen(recorders)
        # These are the marks.
        self.assertEqual({point for point, found in frames.items()
                          if any(frame.is_ping for frame in found)}, set(recorders))

    def test_connection_tracking_knows_no_service(self):
        for family, protocol in CALLS:
            source = self.call(CLIENT, family, protocol)
            known = self.cluster.run("node1", "conntrack", "-L", "-f", f"ipv{family}").splitlines()
            self.assertEqual([line for line in known if SERVICES[family] in line], [])
            is_known = any(f"sport={source} dport={BACKEND_PORT} " in line for line in known)
            self.assertEqual(is_known, not self.is_blind_to_pod)

    def test_tables_say_which_backend_a_call_has_got(self):
        for family, protocol in CALLS:
            source = self.call(CLIENT, family, protocol)
            kind = "" if protocol == TCP else "_any"
            flows = self.tables(f"cilium_ct{kind}{family}_global")
            self.assertEqual({len(value) for value in flows.values()}, {FLOW_BYTE_COUNT})
            key = (places.as_bytes(SERVICES[family]) + places.as_bytes(PODS[family][CLIENT])
                   + struct.pack("!HHBB", source, PORT, protocol, SERVICE_FLAGS))
            self.assertIn(key, flows)
            backend = struct.unpack_from("<Q", flows[key], BACKEND_OFFSET)[0]
            backends = self.tables(f"cilium_lb{family}_backends_v3")
            end = places.as_bytes(PODS[family][SERVER_POD]) + struct.pack("!HB", BACKEND_PORT, protocol)
            self.assertEqual(backends[struct.pack("<I", backend)][:len(end)], end)

    def test_datagrams_in_pieces(self):
        for family in (4, 6):
            for client in (CLIENT, FAR_CLIENT):
                self.cluster.run(client, *self.cluster.python(
                    client, CALL, SERVICES[family], LARGE_PORT, self.next_port(), KINDS[UDP],
                    LARGE_SIZE)[4:])

    def test_clients_understand_a_backend_that_refuses(self):
        for family in (4, 6):
            for client in (CLIENT, FAR_CLIENT):
                said = self.cluster.run(client, *self.cluster.python(
                    client, REFUSED, REFUSING[family], PORT)[4:])
                self.assertEqual(said, "refused\n", (family, client))

    def test_both_backends_get_calls(self):
        """Of a service with two, on the two nodes: also of calls from the same port, one after another."""
        backends = collections.Counter()
        key = (places.as_bytes("10.96.0.10") + places.as_bytes(PODS[4][CLIENT])
               + struct.pack("!HHBB", 29999, PORT, TCP, SERVICE_FLAGS))

        def call():
            self.cluster.run(CLIENT, *self.cluster.python(
                CLIENT, CALL, "10.96.0.10", PORT, 29999, KINDS[TCP], 100)[4:])
            backends[self.tables("cilium_ct4_global")[key][BACKEND_OFFSET:]] += 1
            return len(backends) == 2
        wait_until(call, lambda: f"all calls have the backend {backends}")

    def check_macs(self):
        """What the server gets has its own MAC address."""
        self.assertEqual({frame.receiver for frame in self.frames[SERVER_POD, "pod", "in"]},
                         {mac_in(self.cluster.name(SERVER_POD), "eth0")})


class TranslationTest(PathCase):
    network = "ebpf-nat"


class PeerTest(PathCase):
    network = "ebpf-peer"
    is_blind_to_pod = True


class PeerWithMACsTest(PeerTest):
    network = "ebpf-peer-macs"

    def check_macs(self):
        """What the server gets has the address that its client has sent it to."""
        self.assertEqual({frame.receiver for frame in self.frames[SERVER_POD, "pod", "in"]},
                         {mac_in(self.cluster.name("node1"), self.edge(CLIENT))})


del PathCase

if __name__ == "__main__":
    unittest.main()
