"""Has the pods of a test bed talk, in every way that the demo counts.

Each kind of traffic has ports of its own, in both of the forms that a service's traffic has, so that
a packet's kind can be told from the packet. Payloads are random: what two packets have in common is
what the network made of them.

    traffic.py PREFIX            talk once, for about ten seconds, and say what failed
"""

import subprocess
import sys
import threading

PODS = {f"{name}{node}": (node, number) for node in (1, 2)
        for number, name in ((2, "a"), (3, "b"), (4, "c"))}
NODES = {"node1": 1, "node2": 2, "outside": 100}


def addresses(name):
    """The IPv4 and the IPv6 address of a pod, a node or the outside."""
    if name in PODS:
        node, number = PODS[name]
        return f"10.244.{node}.{number}", f"fd00:10:244:{node}::{number}"
    number = NODES[name]
    return f"192.168.100.{number}", f"fd00:192:168:100::{number}"


def service(number):
    return f"10.96.0.{number}", f"fd00:10:96::{number}"


class Kind:
    """One kind: who calls whom, over what, to which port, and from which if it is fixed."""

    def __init__(self, name, proto, client, server, port, source=0, via=None, backend=None):
        self.name, self.proto = name, proto
        self.client, self.server = client, server
        self.port, self.source = port, source
        self.via = via
        self.backend = backend or port

    def targets(self):
        return self.via or addresses(self.server)


KINDS = [
    kind
    for proto in ("tcp", "udp")
    for kind in (
        Kind(f"{proto}, same node", proto, "a1", "b1", 8001),
        Kind(f"{proto}, across nodes", proto, "a1", "b2", 8002),
        Kind(f"{proto}, across, server port above", proto, "a2", "c1", 60102, source=2002),
        Kind(f"{proto}, same node, server port above", proto, "c1", "b1", 60103, source=3003),
        Kind(f"{proto}, across, equal ports", proto, "b1", "c2", 5004, source=5004),
        Kind(f"{proto}, to the own node", proto, "c1", "node1", 8005),
        Kind(f"{proto}, to the other node", proto, "c1", "node2", 8006),
        Kind(f"{proto}, probe from the own node", proto, "node2", "b2", 8007),
        Kind(f"{proto}, probe from the other node", proto, "node1", "c2", 8008),
        Kind(f"{proto}, to the outside", proto, "b2", "outside", 8009),
    )
] + [
    Kind("tcp, through a service", "tcp", "b1", None, 80, via=service(10), backend=8080),
    Kind("tcp, through a service, other node", "tcp", "c2", None, 80, via=service(10),
         backend=8080),
    Kind("udp, through a service", "udp", "b1", None, 53, via=service(53), backend=5353),
    Kind("udp, through a service, other node", "udp", "c2", None, 53, via=service(53),
         backend=5353),
]
PING = "ping"
NEIGHBOURS = "neighbours, multicast"
OTHER = "other"

# What answers behind the services.
BACKENDS = [("tcp", "a1", 8080), ("tcp", "a2", 8080), ("udp", "a1", 5353), ("udp", "a2", 5353)]
PINGS = [("a1", "b1"), ("a1", "c2"), ("c1", "node1"), ("b2", "node1"), ("node2", "a2"),
         ("node1", "c2"), ("b1", "outside")]

CONNECTIONS = 4
ROUNDS = 5
TIMEOUT = 10


def kind_of(proto, ports):
    """The kind that a packet with these two ports belongs to, by name."""
    for kind in KINDS:
        if kind.proto == proto and (kind.port in ports or kind.backend in ports):
            return kind.name.removesuffix(", other node")
    return OTHER


# The two programs below run inside the namespaces, as `python3 -c`.

SERVER = r"""
import socket, sys, threading
proto, port, ipv4, ipv6 = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
def answer(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
def serve(family, address):
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Bound to the address that is called: a node would answer UDP from another one.
    server.bind((address, port))
    if proto == "udp":
        while True:
            server.sendto(*server.recvfrom(65536))
    server.listen(64)
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=serve, args=(socket.AF_INET6, ipv6), daemon=True).start()
print("ready", flush=True)
serve(socket.AF_INET, ipv4)
"""

CLIENT = r"""
import os, socket, sys, time
proto, address, port, source, connections, rounds, timeout = sys.argv[1:]
port, source, connections, rounds = int(port), int(source), int(connections), int(rounds)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
# A fixed source port serves for one connection; it has to rest before it can be used again.
for _ in range(1 if source else connections):
    client = socket.socket(family, kind)
    client.settimeout(float(timeout))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source:
        client.bind(("", source))
    client.connect((address, port))
    for _ in range(rounds):
        # On TCP more than a segment; on UDP what fits a packet.
        data = os.urandom(6000 if proto == "tcp" else 700)
        client.sendall(data) if proto == "tcp" else client.send(data)
        got = b""
        while len(got) < len(data):
            part = client.recv(65536)
            assert part, "closed early"
            got += part
        assert got == data, "wrong answer"
    client.close()
"""


class Bed:
    def __init__(self, prefix):
        self.prefix = prefix
        self.failures = []
        self.servers = []

    def command(self, name, *command):
        return ["ip", "netns", "exec", f"{self.prefix}-{name}", *map(str, command)]

    def serve(self, proto, name, port):
        server = subprocess.Popen(
            self.command(name, sys.executable, "-c", SERVER, proto, port, *addresses(name)),
            stdout=subprocess.PIPE)
        self.servers.append(server)

    def check(self, what, *command):
        """Runs a command to its end, and remembers it if it fails."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=6 * TIMEOUT)
            if done.returncode:
                last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                self.failures.append(f"{what}: {' '.join(last)}")
        except subprocess.TimeoutExpired:
            self.failures.append(f"{what}: no answer")

    def talk(self, kind):
        for address in kind.targets():
            self.check(f"{kind.name} to {address}", *self.command(
                kind.client, sys.executable, "-c", CLIENT, kind.proto, address, kind.port,
                kind.source, CONNECTIONS, ROUNDS, TIMEOUT))

    def ping(self, client, target):
        for address in addresses(target):
            self.check(f"ping of {address}", *self.command(
                client, "ping", "-q", "-c", 5, "-i", 0.2, "-w", TIMEOUT, address))

    def run(self):
        for proto, name, port in BACKENDS + [
                (kind.proto, kind.server, kind.port) for kind in KINDS if kind.server]:
            self.serve(proto, name, port)
        for server in self.servers:
            server.stdout.readline()
        jobs = [threading.Thread(target=self.talk, args=(kind,)) for kind in KINDS]
        jobs += [threading.Thread(target=self.ping, args=pair) for pair in PINGS]
        try:
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
        finally:
            for server in self.servers:
                server.kill()
                server.wait()
        return self.failures


if __name__ == "__main__":
    failures = Bed(sys.argv[1]).run()
    for failure in failures:
        print(f"traffic: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)
