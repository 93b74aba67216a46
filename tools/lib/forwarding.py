"""Calls and pings of guests behind a bridge in a pod, and through pods that forward.

What the test bed has of these is in `behind.sh`: a guest on each node, a client behind a VPN gateway, an
address on a pod's loopback, and a firewall pod between two pairs of pods.

The firewall makes two packets of one: the one that it gets, and the one that it sends, with another hop
limit. They cross two wires, and each is expected once from the edges of its own wire. Their rows say on
whose side of the firewall they are.
"""

from places import OWNERS, Call, Ping

# The firewall, and the pods between which it is: of each pair the first one calls. Neither calls a
# service with the other one behind it: what a node translates must not pass it twice.
FIREWALL = "f1"
FIREWALLED = (("e1", "c1"), ("b1", "b2"))
SIDES = "client's side", "server's side"

GROUPS_OF_GUESTS = "guests' broadcasts and multicasts"

# The client's port is above the server's, and below it.
SOURCES = (0, 2601)

# Who talks with pods and others: names, what they are, and the first of their 20 ports.
WHO = (("guest1", "guest", 8800), ("vpn", "VPN client", 8820), ("virtual", "loopback address", 8840))
# With whom: how that is called, and the name.
OTHERS = {"guest1": (("same node", "b1"), ("other node", "b2"), ("other guest", "guest2")),
          "vpn": (("same node", "b1"), ("other node", "b2"), ("guest", "guest1"), ("guest", "guest2")),
          "virtual": (("same node", "b2"), ("other node", "b1"))}
NODES_OF = {"guest1": "node1", "vpn": "node1", "virtual": "node2"}


def others(proto):
    for who, what, port in WHO:
        with_whom = (*OTHERS[who], ("outside", "outside"), ("its node", NODES_OF[who]))
        for number, (where, other) in enumerate(with_whom):
            for client, server in ((who, other), (other, who)):
                for source in SOURCES:
                    yield Call(f"{proto}, {what}, {where}", proto, client, server, port + number,
                               source=source)
        for client, server in (("a2", who), (who, "a2")):
            yield Call(f"large {proto}, {what}", proto, client, server, port + 15, size=4000)


def services(proto):
    """With a backend on each node: a1 and b1 alone, and one of both nodes."""
    for who, what, _ in WHO:
        for source in SOURCES:
            kind = f"{proto}, {what}, service"
            yield Call(kind, proto, who, "solo", 80, backend=8081, source=source)
            yield Call(kind, proto, who, "solohigh", 80, backend=50052, source=source)
            if proto == "tcp":
                yield Call(kind, proto, who, "web", 80, backend=8080, source=source)
    for client in ("b1", "c2"):
        for source in SOURCES:
            yield Call(f"{proto}, service, guest", proto, client, "guests", 80, backend=8819,
                       source=source)


def nobody():
    for target, port in (("dead1", 8818), ("dead2", 8818)):
        for source in SOURCES:
            yield Call("tcp, guest, nobody", "tcp", "guest1", target, port, source=source,
                       job="denied", how="failure")


def firewall(proto):
    for number, (client, server) in enumerate(FIREWALLED):
        where = ("same node", "other node")[number]
        for port in (8860 + number, 61860 + number):
            for source in SOURCES:
                yield Call(f"{proto}, firewall pod, {where}", proto, client, server, port,
                           source=source, size=3000 if proto == "tcp" else 700)
        yield Call(f"large {proto}, firewall pod", proto, client, server, 8864 + number, size=4000)


def denied():
    """What the firewall drops, rejects with an ICMP error, and resets."""
    for number, (name, how) in enumerate(
            (("drops", "silence"), ("rejects", "refusal"), ("resets", "refusal"))):
        for client, server in FIREWALLED:
            for source in SOURCES:
                yield Call(f"tcp, firewall pod {name}", "tcp", client, server, 8871 + number,
                           source=source, job="denied", how=how)


CALLS = [call for proto in ("tcp", "udp") for calls in (others(proto), services(proto), firewall(proto))
         for call in calls]
CALLS += [*nobody(), *denied()]
BACKENDS = [(proto, "guest1", 8819) for proto in ("tcp", "udp")]


def pings():
    for number, (who, what, _) in enumerate(WHO):
        for other in ("a1", "b2", "outside", NODES_OF[who]):
            for client, target in ((who, other), (other, who)):
                yield Ping(f"ping, {what}", client, target, 261 + number, "ping")
                # An overlay has the outside told that its packets are too big, and a ping is lost.
                if client != "outside":
                    yield Ping(f"large ping, {what}", client, target, 4001 + number, "ping")
    for client, target in FIREWALLED:
        for near, far in ((client, target), (target, client)):
            yield Ping("ping, firewall pod", near, far, 264, "ping")
            yield Ping("large ping, firewall pod", near, far, 4004, "ping")


PINGS = list(pings())


def side_of(form, pod, is_from_pod):
    """On whose side of the firewall a packet crosses a pod's edge; None if it does not pass the firewall."""
    if form is None:
        return None
    ends = tuple(OWNERS.get(end) for end in form[1:3])
    if ends not in FIREWALLED and ends[::-1] not in FIREWALLED:
        return None
    client = ends[0] if ends in FIREWALLED else ends[1]
    if pod != FIREWALL:
        return SIDES[pod != client]
    # It sends on what comes from the other side.
    return SIDES[(ends[0] == client) == is_from_pod]
