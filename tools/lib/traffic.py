"""Has the pods of a test bed talk, in every way that the demo counts.

Each kind of traffic has server ports of its own, so that a packet's kind can be told from the packet.

    traffic.py PREFIX [--seconds N]   talk once, and say what failed; N is for long connections
"""

import collections
import json
import pathlib
import subprocess
import sys

import forwarding
import unanswered
from places import GATEWAYS, GUESTS, HOLDERS, NODES, OWNERS, PODS, Call, Ping, addresses, targets

# Two below all that the kernel chooses for a client, and two that the test bed keeps it from choosing.
FIXED_CLIENT_PORTS = (2000, 3000, 33000, 60100)
CLIENT_PORTS = (0, *FIXED_CLIENT_PORTS)


def direct(proto):
    places = [("same node", "a1", "b1"), ("across nodes", "a2", "c1")]
    for index, (where, client, server) in enumerate(places):
        for port in (8001 + index, 61001 + index):
            for source in CLIENT_PORTS:
                yield Call(f"{proto}, {where}", proto, client, server, port, source=source,
                           size=6000 if proto == "tcp" else 700)
        equal = 5004 + index
        yield Call(f"{proto}, {where}", proto, client, server, equal, source=equal)
    for kind, client, server, port in (
            ("to the own node", "c1", "node1", 8005), ("to the other node", "c1", "node2", 8006),
            ("to its gateway's address", "b1", "gateway1", 8010),
            ("probe from the own node", "node2", "b2", 8007),
            ("probe from the other node", "node1", "c2", 8008),
            ("to the outside", "b2", "outside", 8009)):
        yield Call(f"{proto}, {kind}", proto, client, server, port)


def through_services(proto):
    # One backend each, a1 or b1, whose port is below or among those that the kernel chooses.
    for name, port, callers in (
            ("solo", 8081, {"same node": "b1", "other node": "c2", "itself": "a1"}),
            ("solohigh", 50052, {"same node": "c1", "other node": "a2", "itself": "b1"})):
        for where, client in callers.items():
            for source in CLIENT_PORTS:
                yield Call(f"{proto}, service, {where}", proto, client, name, 80, backend=port,
                           source=source)
    for client in ("b1", "c2"):
        if proto == "tcp":
            yield Call("tcp, service with two backends", proto, client, "web", 80, backend=8080)
        else:
            yield Call("udp, service with two backends", proto, client, "dns", 53, backend=5353)


def through_fronts(proto):
    # What the client's node translates without masquerading, beside services.
    for kind, client, server, port, backend in (
            ("local node port, backend here", "a1", "node1", 30081, 8085),
            ("local node port, backend elsewhere", "c1", "node1", 30082, 8086),
            ("host port", "b1", "node1", 8090, 8087),
            ("load balancer's address", "a1", "balancer", 80, 8088),
            ("load balancer's address", "c2", "balancer", 80, 8088)):
        for source in CLIENT_PORTS:
            yield Call(f"{proto}, {kind}", proto, client, server, port, backend=backend,
                       source=source)


def refusals(proto):
    yield Call(f"{proto}, refused", proto, "a1", "b1", 8666, job="refused")
    yield Call(f"{proto}, refused", proto, "a1", "b2", 61666, job="refused")
    for name, port in (("refusing", 9), ("refusinghigh", 61009)):
        for client in ("b1", "b2"):
            yield Call(f"{proto}, service that refuses", proto, client, name, 80, backend=port,
                       job="refused")
    for client in ("b1", "b2"):
        yield Call(f"{proto}, service without endpoints", proto, client, "empty", 80,
                   job="refused")


def large_datagrams():
    for where, client, server, port in (("same node", "a1", "b1", 8401),
                                        ("across nodes", "a2", "c1", 61401)):
        yield Call(f"large udp, {where}", "udp", client, server, port, size=4000)
    for where, client in (("same node", "b1"), ("other node", "c2")):
        yield Call(f"large udp, service, {where}", "udp", client, "solo", 54,
                   backend=5354, size=4000)
        # From a port below the backend's, so that the client's edge translates the pieces.
        yield Call(f"large udp, service, {where}", "udp", client, "solo", 54,
                   backend=5354, size=4000, source=2001)


def special():
    for client in ("c1", "c2"):
        yield Call("tcp, service of a host", "tcp", client, "api", 443, backend=6443)
    for client in ("c1", "a2", "node2"):
        yield Call("tcp, node port", "tcp", client, "node1", 30080, backend=8080)
    yield Call("tcp, short connections", "tcp", "c2", "b1", 8301, job="many", count=500,
               seconds=10)
    yield Call("tcp, short connections, service", "tcp", "c2", "web", 81, backend=8083,
               job="many", count=500, seconds=10)


def large_packets():
    """Packets of more than 64 KiB, where `tools/demo` has allowed them (BIG TCP)."""
    for port in (8401, 61401):
        yield Call("tcp, large packets", "tcp", "a1", "b1", port, job="bulk")


LONG = [
    Call(f"{proto}, long connections", proto, client, server, port, backend=backend, job="long",
         source=source)
    for proto in ("tcp", "udp")
    for client, server, port, backend, source in (
        ("c1", "a2", 8701, None, 0), ("b2", "c1", 61701, None, 0), ("c1", "solo", 82, 8084, 0),
        ("c2", "solo", 82, 8084, 2002), ("a1", "solo", 82, 8084, 0))]

CALLS = [call for proto in ("tcp", "udp")
         for calls in (direct(proto), through_services(proto), through_fronts(proto),
                        refusals(proto)) for call in calls]
CALLS += [*large_datagrams(), *special(), *large_packets(), *unanswered.CALLS, *forwarding.CALLS]
LONG += unanswered.LONG

# What answers behind services, by name and port.
BACKENDS = [("tcp", "a1", 8080), ("tcp", "a2", 8080), ("udp", "a1", 5353), ("udp", "a2", 5353),
            ("tcp", "a1", 8081), ("udp", "a1", 8081), ("tcp", "b1", 50052), ("udp", "b1", 50052),
            ("udp", "a1", 5354), ("tcp", "node1", 6443), ("tcp", "a1", 8083), ("tcp", "a2", 8083),
            ("tcp", "a1", 8084), ("udp", "a1", 8084),
            *((proto, name, port) for proto in ("tcp", "udp") for name, port in (
                ("b1", 8085), ("b2", 8086), ("c1", 8087), ("b2", 8088))),
            *unanswered.BACKENDS, *forwarding.BACKENDS]

# Where somebody talks.
TALKERS = [*PODS, *GUESTS, *GATEWAYS, "vpn", *NODES]
NEIGHBOURS = "neighbours, groups, unknown frames"
OTHER = "other"
# A group of which the last pod of each node is the only member, and the node is no member.
SNOOPED, SNOOPED_GROUP, SNOOPED_PORT = "snooped multicast", "239.1.2.4", 9998
SNOOPED_MAC = bytes.fromhex("01005e010204")
PAIRS = [("a1", "b1"), ("a1", "c2"), ("c1", "node1"), ("b1", "gateway1"), ("b2", "node1"),
         ("node2", "a2"), ("node1", "c2"), ("b1", "outside")]
PINGS = [Ping(kind, client, target, size, "ping") for client, target in PAIRS
         for kind, size in (("ping", 56), ("ping of 4,000 bytes", 4000))]
PINGS += [*unanswered.PINGS, *forwarding.PINGS]
PING_KINDS = {ping.size: ping.kind for ping in PINGS}


def index_calls():
    calls = collections.defaultdict(list)
    for call in CALLS + LONG:
        for port in {call.port, call.backend} - {None}:
            calls[call.proto, port].append(call)
    return calls


CALLS_BY_PORT = index_calls()


def call_of(proto, ends):
    """The call to which a packet between two ends belongs, each an address and a port."""
    for near, far in (ends, ends[::-1]):
        calls = [call for call in CALLS_BY_PORT.get((proto, far[1]), ())
                 if call.backend == far[1] or far[0] in call.target_bytes]
        caller = OWNERS.get(near[0])
        exact = [call for call in calls if call.client == caller]
        # A caller that is no pod of ours may be a node that masquerades one.
        itself = [call for call in calls if call.kind.endswith(("itself", "node port"))]
        for call in exact or itself or calls:
            return call
    return None


def own(client, family):
    """The address from which a client talks, if its host has another one."""
    return {"own": addresses(client)[family]} if client in HOLDERS else {}


class Bed:
    def __init__(self, prefix, seconds):
        self.prefix = prefix
        self.serve = collections.defaultdict(set)
        self.jobs = collections.defaultdict(list)
        self.plan(seconds)

    def plan(self, seconds):
        calls = CALLS + (LONG if seconds else [])
        for listener, name, port in BACKENDS:
            self.add_server(listener, name, port)
        for call in calls:
            if call.serves:
                self.add_server(*call.serves)
            extra = {"seconds": seconds} if call in LONG else {}
            for family, address in enumerate(targets(call.server)):
                self.add(call.client, call.kind, call.job, proto=call.proto, address=address,
                         port=call.port, **call.arguments, **extra, **own(call.client, family))
        for ping in PINGS:
            for family, address in enumerate(targets(ping.target)):
                self.add(ping.client, ping.kind, ping.job, address=address, size=ping.size,
                         **own(ping.client, family))
        for pod in [*PODS, *GUESTS]:
            self.add(pod, NEIGHBOURS, "unknown_unicast", device="eth0")
            for address, group in zip(addresses(pod), ("239.1.2.3", "ff02::1:3")):
                self.add(pod, NEIGHBOURS, "groups", device="eth0", address=address, multicast=group)
        for node in (1, 2):
            member, gateway = addresses(f"c{node}")[0], addresses(f"gateway{node}")[0]
            self.add(f"c{node}", SNOOPED, "member", address=member, group=SNOOPED_GROUP)
            self.add(f"node{node}", SNOOPED, "snooped", address=gateway, group=SNOOPED_GROUP,
                     port=SNOOPED_PORT)
        for name in [*PODS, *GUESTS, *NODES]:
            self.add(name, NEIGHBOURS, "flush", times=3)

    def add_server(self, listener, name, port):
        namespace = f"node{name[-1]}" if name.startswith("gateway") else HOLDERS.get(name, name)
        self.serve[namespace].update((listener, address, port) for address in addresses(name))

    def add(self, namespace, kind, job, **arguments):
        self.jobs[HOLDERS.get(namespace, namespace)].append((kind, job, arguments))

    def run(self):
        """Has everybody talk until all jobs are done; answers what failed."""
        program = pathlib.Path(__file__).with_name("talker.py")
        talkers = {
            name: subprocess.Popen(
                ["ip", "netns", "exec", f"{self.prefix}-{name}", sys.executable, program],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name in TALKERS}
        failures = []
        try:
            for name, talker in talkers.items():
                plan = {"serve": sorted(self.serve[name]), "jobs": self.jobs[name],
                        "queues": list(unanswered.QUEUES.items()) if name in PODS else []}
                print(json.dumps(plan), file=talker.stdin, flush=True)
            for talker in talkers.values():
                talker.stdout.readline()
            for talker in talkers.values():
                print("go", file=talker.stdin, flush=True)
            for name, talker in talkers.items():
                failures += [f"{name}: {failure}" for failure in json.loads(
                    talker.stdout.readline() or '["ended early"]')]
        finally:
            for talker in talkers.values():
                talker.kill()
                talker.wait()
        return failures


def main():
    seconds = int(sys.argv[3]) if sys.argv[2:3] == ["--seconds"] else 0
    failures = Bed(sys.argv[1], seconds).run()
    for failure in failures:
        print(f"traffic: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
