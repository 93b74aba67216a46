"""Speaks for one pod or node of a test bed, inside its network namespace.

Reads from standard input one line of JSON, {"serve": [[PROTOCOL, ADDRESS, PORT], ...], "jobs": [...]},
opens the servers and prints "ready". At the next line it does all jobs at once, prints what failed as
one line of JSON, and goes on to serve until its input ends. Payloads are random: what two packets have
in common is what the network made of them.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time

TIMEOUT_SECONDS = 10
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answer(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(proto, address, port):
    server = socket.socket(family_of(address), STREAM if proto == "tcp" else DATAGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Bound to the address that is called: a node would answer UDP from another one.
    server.bind((address, port))
    if proto == "tcp":
        server.listen(512)

    def run():
        while proto == "udp":
            server.sendto(*server.recvfrom(65536))
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()


def connect(proto, address, port, source=0, segment_size=0):
    client = socket.socket(family_of(address), STREAM if proto == "tcp" else DATAGRAM)
    client.settimeout(TIMEOUT_SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source:
        client.bind(("", source))
    if segment_size:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_size)
    client.connect((address, port))
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


def echo(proto, address, port, source=0, rounds=3, size=700):
    with connect(proto, address, port, source) as client:
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
                client.sendall(b"anybody there?")
                # What comes back is an ICMP error that names this socket.
                client.recv(1)
        except ConnectionRefusedError:
            continue
        raise AssertionError("was not refused")


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


def ping(address, size=56):
    done = subprocess.run(
        ["ping", "-q", "-c", "5", "-i", "0.2", "-w", str(TIMEOUT_SECONDS), "-s", str(size),
         "-M", "dont", address], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def flush(times):
    """Forgets all neighbours, so that they have to be asked for again."""
    for _ in range(times):
        time.sleep(1)
        for family in ("-4", "-6"):
            subprocess.run(["ip", family, "neigh", "flush", "all"], check=True)


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


def unknown_unicast(device):
    """Frames to an address that no bridge has learned, of a type that no host knows."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        for _ in range(3):
            raw.send(bytes.fromhex("02deadbeef01") + raw.getsockname()[4] + b"\x88\xb5"
                     + os.urandom(50))


JOBS = {job.__name__: job
        for job in (echo, bulk, refused, many, long, ping, flush, groups, unknown_unicast)}


def main():
    plan = json.loads(sys.stdin.readline())
    for server in plan["serve"]:
        serve(*server)
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
