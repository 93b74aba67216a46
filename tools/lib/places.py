"""Who and what there is in a test bed: pods, nodes, services, dead addresses, and calls between them."""

import collections
import socket

PODS = {f"{name}{node}": (node, number) for node in (1, 2)
        for number, name in ((2, "a"), (3, "b"), (4, "c"))}
NODES = {"node1": 1, "node2": 2, "outside": 100}
# Guests behind a bridge in a pod, whose addresses they have; and a VPN gateway.
GUESTS = {"guest1": (1, 5), "guest2": (2, 5)}
GATEWAYS = {"e1": (1, 6)}
# A load balancer, whose addresses the nodes translate; a client behind a VPN gateway; and what is on the
# loopback of a pod.
ELSEWHERE = {"balancer": ("198.51.100.7", "2001:db8:51::7"), "vpn": ("10.8.0.5", "fd00:10:8::5"),
             "virtual": ("172.31.0.1", "fd00:172:31::1")}
# Who has an address as one more.
HOLDERS = {"virtual": "c2"}
# Addresses of the pod network that nobody has: in the range of each node, and in that of no node.
DEAD = {"dead1": (1, 77), "dead2": (2, 77), "dead0": (0, 77), "dead9": (9, 77)}
NUMBERS = {**PODS, **GUESTS, **GATEWAYS, **DEAD}


def addresses(name):
    """The IPv4 and the IPv6 address of a pod, a node, a gateway, one of those above, or of nobody."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name in NUMBERS:
        node, number = NUMBERS[name]
    elif name.startswith("gateway"):
        node, number = int(name[-1]), 1
    else:
        number = NODES[name]
        return f"192.168.100.{number}", f"fd00:192:168:100::{number}"
    return f"10.244.{node}.{number}", f"fd00:10:244:{node}::{number}"


def service(number):
    return f"10.96.0.{number}", f"fd00:10:96::{number}"


def as_bytes(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def as_text(address):
    return socket.inet_ntop(socket.AF_INET6 if len(address) == 16 else socket.AF_INET, address)


SERVICES = {"web": 10, "solo": 11, "guests": 12, "high": 20, "solohigh": 21, "dns": 53, "api": 1,
            "refusing": 66, "refusinghigh": 67, "shut": 70, "gone": 71, "empty": 99}


def targets(name):
    """The IPv4 and the IPv6 address of a service, or of whom `addresses` knows."""
    return service(SERVICES[name]) if name in SERVICES else addresses(name)


def is_service(address):
    return address.startswith(SERVICE_PREFIXES)


def is_in_pod_network(address):
    return address.startswith(POD_PREFIXES)


SERVICE_PREFIXES = (as_bytes("10.96.0.0")[:2], as_bytes("fd00:10:96::")[:14])
POD_PREFIXES = (as_bytes("10.244.0.0")[:2], as_bytes("fd00:10:244::")[:7])

# What leaves towards a pod has it, and nothing else (see `testbed`).
EGRESS_HOP_LIMIT = 99

# Who has an address, by its bytes.
OWNERS = {as_bytes(address): name for name in [*PODS, *GUESTS, *GATEWAYS, *NODES, *ELSEWHERE]
          for address in addresses(name)}




def pod_of(address):
    """The pod behind whose edge an address is, by its bytes."""
    name = OWNERS.get(address)
    if name in GUESTS:
        return f"d{GUESTS[name][0]}"
    return HOLDERS.get(name, name)


Ping = collections.namedtuple("Ping", "kind client target size job")


class Call:
    """A kind of calls: who calls whom, over what, to which port, and how.

    A server is a pod, a node, a dead address, or a service; a service's packets have its backend's
    port, too. `source` is the client's port, 0 for one that the kernel chooses. `listener` is how the
    server listens, None if it does not. `backend_owner` is who has a service's backend, if no edge sees
    its packets in their pod form although connection tracking knows it, or if `is_known_perhaps` may know
    it; if not `is_tracked`, only a table of services knows it. `limit` is what the sensor
    cannot be told of these calls (see `unanswered`).
    """

    def __init__(self, kind, proto, client, server, port, *, backend=None, job="echo",
                 listener="", backend_owner=None, is_known_perhaps=False, is_tracked=True, limit=None, **arguments):
        self.kind, self.proto, self.client, self.server = kind, proto, client, server
        self.port, self.backend, self.job, self.arguments = port, backend, job, arguments
        self.listener = proto if listener == "" else listener
        self.backend_owner, self.is_known_perhaps = backend_owner, is_known_perhaps
        self.is_tracked = is_tracked
        self.limit = limit
        self.target_bytes = {as_bytes(address) for address in targets(server)}

    @property
    def serves(self):
        """Where a server has to listen for it, and how: a listener, a name, a port."""
        if self.job == "refused" or self.listener is None or self.server in DEAD:
            return None
        if self.server in SERVICES or self.backend:
            return None
        return self.listener, self.server, self.port

    def in_pod_form(self, form, has_tables=False):
        """What connection tracking, or a table of services, makes of a packet that no edge has seen in its
        pod form."""
        if not self.backend_owner or not (self.is_tracked or has_tables) or len(form) not in (5, 8):
            return form
        ends, ports, quoted = form[1:3], form[3:5], ()
        if len(form) == 8:
            ports, quoted = (), self.in_pod_form(form[3:], has_tables)
        is_backend = [is_service(end) for end in ends]
        backends = addresses(self.backend_owner)
        ends = [as_bytes(backends[len(end) == 16]) if known else end
                for known, end in zip(is_backend, ends)]
        ports = [self.backend if known else port for known, port in zip(is_backend, ports)]
        return form[0], *ends, *ports, *quoted


def observed_end(form):
    """The address of the end whose edge reports: it has the lower port, or else the lower address."""
    source, destination, *ports = form[1:5]
    if len(ports) == 2 and ports[0] != ports[1]:
        return source if ports[0] < ports[1] else destination
    return min(source, destination)
