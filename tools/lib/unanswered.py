"""Calls and pings that nobody answers, that a firewall answers, or that are answered late.

The ports and the sizes of pings are those that `testbed` has rules for. Its policies: ports 85N1 and 86N1
on node1, 85N2 and 86N2 on node2, where N is 1 for what is dropped, 2 for what is rejected with an ICMP
error, and 3 for what is rejected with a reset. Pods take SYNs to ports 85N and 86N with N of 51 and 52
after 0.3 s, with N of 53 and 54 after 2 s.
"""

from places import Call, Ping

# What the sensor cannot be told, and why.
RESETS = "requests and resets, reset in the name of another node's pod"
DATAGRAMS = "datagrams that arrived at no pod"
FORGERIES = "requests with a forged source that arrived at no pod"

# The client's port is above the server's, and below it.
SOURCES = (0, 2501)

RANGES = {"own range": "dead1", "other range": "dead2", "no range": "dead9"}
# What a policy does, and how that looks to the client.
POLICIES = {"dropped": (1, "silence"), "rejected": (2, "refusal"), "reset": (3, "refusal")}


def nobody():
    for number, (where, target) in enumerate(RANGES.items(), 1):
        for source in SOURCES:
            yield Call(f"tcp, nobody, {where}", "tcp", "c1", target, 8500 + number, source=source,
                       job="denied", how="failure")
            yield Call(f"tcp, service, nobody, {where}", "tcp", "c1", "gone", 8600 + number,
                       backend=8600 + number, backend_owner=target, source=source, job="denied",
                       # A bridge asks for the neighbour before connection tracking keeps the flow.
                       how="failure", is_known_perhaps=target == "dead1")
            yield Call("udp, nobody", "udp", "c1", target, 8500 + number, source=source,
                       job="unheard", limit=DATAGRAMS)


def policies():
    # Who calls whom, on which node the policy is, and what that is to the client.
    places = (("same node", "a1", "b1", 1), ("own node", "a2", "c1", 2), ("other node", "a2", "c1", 1))
    for name, (verdict, how) in POLICIES.items():
        for where, client, server, node in places:
            is_limit = name == "reset" and where != "same node"
            port = 8500 + 10 * verdict + node
            # With equal ports, the addresses say which end is observed.
            for source in (*SOURCES, port):
                yield Call(f"tcp, {name}, {where}", "tcp", client, server, port, source=source,
                           job="denied", how=how, limit=RESETS if is_limit else None)
    for source in SOURCES:
        for where, client, server, node in places:
            yield Call("udp, dropped", "udp", client, server, 8510 + node, source=source,
                       job="unheard", limit=DATAGRAMS)


def policies_of_services():
    # All with a backend on node1.
    places = (("same node", "c1", 1), ("own node", "c2", 2), ("other node", "c2", 1))
    for name, (verdict, how) in POLICIES.items():
        for where, client, node in places:
            # A flow whose first packet the own node drops is none to connection tracking.
            is_known = where == "other node"
            port = 8600 + 10 * verdict + node
            # Behind a bridge the kernel sends the reset in the backend's name, which the client does
            # not know; and where programs translate, they leave a node's ICMP errors as they are.
            how = "failure" if name in ("reset", "rejected") else how
            for source in SOURCES:
                yield Call(f"tcp, service, {name}, {where}", "tcp", client, "shut", port,
                           backend=port, backend_owner="b1", is_tracked=is_known, source=source,
                           job="denied", how=how,
                           limit=RESETS if name == "reset" and where != "same node" else None)


def late():
    places = (("same node", "a1", "b1", "c1"), ("across nodes", "a2", "c1", "c2"))
    for index, (where, client, server, client_of_service) in enumerate(places, 1):
        for source in SOURCES:
            yield Call(f"tcp, backlog full, {where}", "tcp", client, server, 8540 + index,
                       source=source, job="denied", how="silence", listener="full")
            yield Call(f"tcp, service, full, {where}", "tcp", client_of_service, "shut",
                       8641, backend=8641, source=source, job="denied", how="silence")
            for number, seconds in ((50, 0.3), (52, 2)):
                yield Call(f"tcp, after {seconds} s, {where}", "tcp", client, server,
                           8500 + number + index, source=source)
                yield Call(f"tcp, service, after {seconds} s", "tcp", client_of_service,
                           "shut", 8601 + number, backend=8601 + number, source=source)


def fast_open():
    for index, (where, client, server) in enumerate(
            (("same node", "a1", "b1"), ("across nodes", "a2", "c1")), 1):
        for source in SOURCES:
            yield Call("tcp, data in SYN", "tcp", client, server, 8560 + index, source=source,
                       job="fast_open", listener="fastopen")
            yield Call("tcp, data in SYN, dropped", "tcp", client, server, 8570 + index,
                       source=source, job="fast_open_denied", listener="fastopen")
    yield Call("tcp, data in SYN, nobody", "tcp", "c1", "dead2", 8575, job="fast_open_denied")


def forged():
    """SYNs with sources that are others' or nobody's. The answers do not come back to the sender."""
    for port, where, target in ((8581, "same node", "b1"), (8582, "across nodes", "b2"),
                                (8583, "nobody", "dead2")):
        yield Call(f"tcp, forged sources, {where}", "tcp", "c1", target, port, job="forge", count=60,
                   limit=FORGERIES if target == "dead2" else None)


CALLS = [*nobody(), *policies(), *policies_of_services(), *late(), *fast_open(), *forged()]
LONG = [Call("tcp, nobody, all the time", "tcp", client, server, port, job="knock")
        for client, server, port in (("c1", "dead2", 8591), ("c2", "dead1", 8592))]

# What listens behind the service "shut": how, where, and at which port.
BACKENDS = [("tcp", "b1", 8600 + 10 * verdict + node) for verdict in (1, 2, 3) for node in (1, 2)]
BACKENDS += [("full", "b1", 8641), ("tcp", "b1", 8651), ("tcp", "b1", 8653)]

# After how many seconds a pod takes SYNs that are in one of its queues.
QUEUES = {300: 0.3, 2000: 2}


def pings():
    # An address without a pod is above and below the sender's.
    for size, where, pairs in (
            (201, "own range", (("c1", "dead1"), ("c2", "dead2"))),
            (202, "other range", (("c1", "dead2"), ("c2", "dead1"))),
            (203, "no range", (("c1", "dead0"), ("c1", "dead9"), ("c2", "dead0")))):
        for client, target in pairs:
            yield Ping(f"ping, nobody, {where}", client, target, size, "silent_ping")
    same, across = ("a1", "b1"), ("b1", "c2")
    # The rules for the second and the third of these sizes are on node1 and on node2.
    for kind, size, job in (("dropped", 211, "silent_ping"), ("rejected", 221, "silent_ping"),
                            ("after 0.3 s", 231, "ping"), ("after 2 s", 241, "ping")):
        for where, (near, far), number in (("same node", same, 0), ("across nodes", across, 1),
                                           ("across nodes", across, 2)):
            for client, target in ((near, far), (far, near)):
                yield Ping(f"ping, {kind}, {where}", client, target, size + number, job)
    yield Ping("ping, service", "c1", "web", 251, "silent_ping")


PINGS = list(pings())
