"""Speaks for one pod or node of a test bed, inside its network namespace.

Reads from standard input one line of JSON, {"serve": [[LISTENER, ADDRESS, PORT], ...], "queues":
[[NUMBER, SECONDS], ...], "jobs": [...]}, opens the servers and prints "ready". What the kernel puts into
one of the queues goes on after so many seconds. At the next line it does all jobs at once, prints what
failed as one line of JSON, and goes on to serve until its input ends. Payloads are random: what two
packets have in common is what the network made of them.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

TIMEOUT_SECONDS = 10
# After this time a client gives up that nobody answers; its SYN has been sent twice.
DENIED_SECONDS = 1.3
KNOCK_SECONDS = 0.3
# After this time a datagram that nothing has come back for is sent again.
AGAIN_SECONDS = 2
# A bridge knows the members of a group by then.
SNOOPED_SECONDS = 3
# Sockets that stay open.
KEPT = []
# Queues of packets that the kernel has a program decide about (nfnetlink_queue).
NETLINK_NETFILTER, NFQUEUE = 12, 3 << 8
PACKET, VERDICT, CONFIG = 0, 1, 2
PACKET_HEADER, VERDICT_HEADER, CONFIG_COMMAND, CONFIG_PARAMETERS = 1, 2, 1, 2
BIND, COPY_META, ACCEPT = 1, 1, 1
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


# Pods of both nodes and addresses that nobody has, of both families.
FORGED_SOURCES = (("10.244.1.2", "10.244.1.88", "10.244.2.2", "10.244.9.88"),
                  ("fd00:10:244:1::2", "fd00:10:244:1::88", "fd00:10:244:2::2", "fd00:10:244:9::88"))


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answer(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(listener, address, port):
    server = socket.socket(family_of(address), DATAGRAM if listener == "udp" else STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Bound to the address that is called: a node would answer UDP from another one.
    server.bind((address, port))
    if listener == "full":
        # There is room for one, who comes from here and whom nobody accepts.
        server.listen(0)
        KEPT.extend((server, socket.create_connection((address, port), TIMEOUT_SECONDS)))
        return
    if listener == "fastopen":
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
    if listener != "udp":
        server.listen(512)

    def run():
        while listener == "udp":
            server.sendto(*server.recvfrom(65536))
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()


def delay(queue, seconds):
    """Has each packet that comes out of a queue of the kernel's go on after some seconds."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    lock = threading.Lock()

    def send(kind, attribute, data):
        body = struct.pack("!BBH", 0, 0, queue) + struct.pack("=HH", 4 + len(data), attribute) + data
        body += bytes(-len(body) % 4)
        with lock:
            link.send(struct.pack("=HHIII", 16 + len(body), NFQUEUE | kind, 1, 0, 0) + body)

    def run():
        while True:
            message = link.recv(65536)
            kind, _, _, _, _, _, length, attribute, number = struct.unpack_from("=HHIIBBHHI", message, 4)
            if kind == NFQUEUE | PACKET and length >= 8 and attribute == PACKET_HEADER:
                threading.Timer(seconds, send, (VERDICT, VERDICT_HEADER, struct.pack(
                    "!I", ACCEPT) + struct.pack("=I", number))).start()

    send(CONFIG, CONFIG_COMMAND, struct.pack("!BBH", BIND, 0, 0))
    send(CONFIG, CONFIG_PARAMETERS, struct.pack("!IB", 0, COPY_META))
    threading.Thread(target=run, daemon=True).start()


def client_socket(proto, address, source=0, seconds=TIMEOUT_SECONDS, own=""):
    client = socket.socket(family_of(address), STREAM if proto == "tcp" else DATAGRAM)
    client.settimeout(seconds)
    if source:
        # Several calls from this port may be open. It is not set for a port that the kernel chooses: of
        # UDP, it would choose one that such another socket has, too, and one of both got all answers.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source or own:
        client.bind((own, source))
    return client


def connect(proto, address, port, source=0, seconds=TIMEOUT_SECONDS, segment_size=0, own=""):
    client = client_socket(proto, address, source, seconds, own)
    if segment_size:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_size)
    try:
        client.connect((address, port))
        # An error that something else has fetched from the socket leaves it without a peer.
        client.getpeername()
    except OSError:
        client.close()
        raise
    return client


def exchange(client, byte_count):
    data = os.urandom(byte_count)
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        part = client.recv(65536)
        assert part, "closed early"
        got += part
    assert got == data, "wrong answer"


def echo(proto, address, port, source=0, rounds=3, size=700, own=""):
    with connect(proto, address, port, source, own=own) as client:
        for _ in range(rounds):
            exchange(client, size)


def bulk(proto, address, port, source=0, count=20, size=180_000):
    """Much at once, so that the kernel makes its largest packets, but not all the time."""
    data, got = os.urandom(count * size), 0
    # The kernel routes such a packet of IPv6 only if its segments have room for the jumbo option.
    with connect(proto, address, port, source, segment_size=1340) as client:
        def send():
            for start in range(0, len(data), size):
                client.sendall(data[start:start + size])
                time.sleep(0.05)
        sender = threading.Thread(target=send)
        sender.start()
        while got < len(data):
            part = client.recv(1 << 20)
            assert part and part == data[got:got + len(part)], "wrong answer"
            got += len(part)
        sender.join()


def refused(proto, address, port, source=0):
    for _ in range(2):
        try:
            with connect(proto, address, port, source) as client:
                ask_until_refused(client)
        except ConnectionRefusedError:
            continue
        raise AssertionError("was not refused")


def ask_until_refused(client):
    """Sends datagrams until an ICMP error comes that names this socket; a busy machine may lose one."""
    client.settimeout(AGAIN_SECONDS)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        client.sendall(b"anybody there?")
        try:
            client.recv(1)
            return
        except TimeoutError:
            continue


def denied(proto, address, port, how, source=0):
    """Calls somebody who does not answer, or whom a firewall keeps from it."""
    try:
        # A refusal comes, however late on a busy machine; of silence one has to be sure some time.
        seconds = TIMEOUT_SECONDS if how == "refusal" else DENIED_SECONDS
        connect(proto, address, port, source, seconds).close()
    except OSError as error:
        looks = "silence" if isinstance(error, TimeoutError) else "refusal"
        assert how in (looks, "failure"), error
        return
    raise AssertionError("was not denied")


def unheard(proto, address, port, source=0):
    """Sends datagrams to nobody, each from a socket of its own, since an error may come for it."""
    for _ in range(3):
        with connect(proto, address, port, source) as client:
            client.sendall(os.urandom(100))
        time.sleep(0.1)


def knock(proto, address, port, seconds):
    """Calls somebody who does not answer, again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        try:
            connect(proto, address, port, seconds=KNOCK_SECONDS).close()
        except OSError:
            time.sleep(max(0, begin + KNOCK_SECONDS - time.monotonic()))
            continue
        raise AssertionError("was not denied")


def send_open(client, address, port, data, seconds):
    """Connects with a SYN that has data."""
    # A time-out of Python's would make it a call that does not wait.
    client.settimeout(None)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack(
        "ll", int(seconds), int(seconds % 1 * 1e6)))
    client.sendto(data, socket.MSG_FASTOPEN, (address, port))
    client.settimeout(TIMEOUT_SECONDS)


def fast_open(proto, address, port, source=0):
    data = os.urandom(300)
    with client_socket(proto, address, source) as client:
        send_open(client, address, port, data, TIMEOUT_SECONDS)
        got = b""
        while len(got) < len(data):
            part = client.recv(65536)
            assert part, "closed early"
            got += part
        assert got == data, "wrong answer"


def fast_open_denied(proto, address, port, source=0):
    with client_socket(proto, address, source) as client:
        try:
            send_open(client, address, port, os.urandom(300), DENIED_SECONDS)
            client.settimeout(0)
            client.recv(1)
        except OSError:
            return
    raise AssertionError("was not denied")


def forge(proto, address, port, count):
    """Sends SYNs with the addresses of others, and of nobody."""
    family = family_of(address)
    sources = FORGED_SOURCES[family == socket.AF_INET6]
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number in range(count):
            ends = [socket.inet_pton(family, end) for end in (sources[number % len(sources)], address)]
            header = struct.pack("!HHIIBBHHH", 20000 + number, port, int.from_bytes(os.urandom(4)), 0,
                                 5 << 4, 2, 8192, 0, 0)
            pseudo = b"".join(ends) + struct.pack("!II", len(header), socket.IPPROTO_TCP)
            total = sum(struct.unpack(f"!{len(pseudo + header) // 2}H", pseudo + header))
            total = (total & 0xFFFF) + (total >> 16)
            checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            tcp = header[:16] + struct.pack("!H", checksum) + header[18:]
            if family == socket.AF_INET:
                ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), number + 1, 0, 64, 6, 0)
            else:
                ip = struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64)
            raw.sendto(ip + b"".join(ends) + tcp, (address, 0))
            time.sleep(0.005)


def many(proto, address, port, count, seconds):
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0, begin + number * seconds / count - time.monotonic()))
        echo(proto, address, port, rounds=1, size=64)


def long(proto, address, port, seconds, source=0):
    with connect(proto, address, port, source) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            exchange(client, 200)
            time.sleep(0.02)


def ping(address, size=56, own=None):
    source = ["-I", own] if own else []
    done = subprocess.run(
        ["ping", "-q", "-c", "5", "-i", "0.2", "-w", str(TIMEOUT_SECONDS), "-s", str(size),
         "-M", "dont", *source, address], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def silent_ping(address, size):
    done = subprocess.run(["ping", "-q", "-c", "3", "-i", "0.3", "-W", "1", "-s", str(size), address],
                          capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr


def flush(times):
    """Forgets all neighbours that are known, so that they have to be asked for again."""
    # If those were forgotten that are being asked for, what waits for them would be refused.
    states = [word for state in ("reachable", "stale", "delay") for word in ("nud", state)]
    for _ in range(times):
        time.sleep(1)
        for family in ("-4", "-6"):
            subprocess.run(["ip", family, "neigh", "flush", *states], check=True)


def groups(device, address, multicast):
    """Datagrams to groups: a broadcast for IPv4, then a multicast."""
    family = family_of(address)
    client = socket.socket(family, DATAGRAM)
    client.bind((address, 0))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    targets = [multicast] if family == socket.AF_INET6 else ["255.255.255.255", multicast]
    for _ in range(3):
        for target in targets:
            client.sendto(os.urandom(40), (target, 9999))


def member(address, group):
    """Is a member of a group, for as long as the node sends to it."""
    client = socket.socket(socket.AF_INET, DATAGRAM)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                      socket.inet_aton(group) + socket.inet_aton(address))
    KEPT.append(client)


def snooped(address, group, port):
    """Datagrams to a group of which only some pods are members. The bridge has heard of them by then."""
    client = socket.socket(socket.AF_INET, DATAGRAM)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    client.bind((address, 0))
    time.sleep(SNOOPED_SECONDS)
    for _ in range(5):
        client.sendto(os.urandom(40), (group, port))


def unknown_unicast(device):
    """Frames to an address that no bridge has learned, of a type that no host knows."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        for _ in range(3):
            raw.send(bytes.fromhex("02deadbeef01") + raw.getsockname()[4] + b"\x88\xb5"
                     + os.urandom(50))


JOBS = {job.__name__: job
        for job in (echo, bulk, refused, denied, unheard, knock, fast_open, fast_open_denied, forge, many,
                    long, ping, silent_ping, flush, groups, member, snooped, unknown_unicast)}


def main():
    plan = json.loads(sys.stdin.readline())
    for server in plan["serve"]:
        serve(*server)
    for queue in plan["queues"]:
        delay(*queue)
    print("ready", flush=True)
    sys.stdin.readline()
    failures = []

    def do(name, job, arguments):
        try:
            JOBS[job](**arguments)
        except Exception as error:
            failures.append(f"{name} {arguments}: {type(error).__name__} {error}")

    threads = [threading.Thread(target=do, args=job, daemon=True) for job in plan["jobs"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(failures), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
