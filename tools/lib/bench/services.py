"""New calls to services, at a steady rate: translated by the kernel, or in the way that Cilium does it.

Pod `a` calls, and pod `b` is behind all services. Each call is one datagram from a port of its own. The
kernel's rule has connection tracking know the call. The other one changes the packet and has nobody know
it but the tables, which are filled beforehand.
"""

import contextlib
import ipaddress
import pathlib
import struct
import subprocess
import sys

from . import network, processes

# Calls a second: of a node with few connections, and of one with many.
RATES = 1_000, 10_000
# Above the backend's, so that its edge reports.
FIRST_PORT, PORT_COUNT_MAX = 10_000, 50_000
SERVICE_PORT, BACKEND_PORT, BACKEND = 80, 8080, 7
UDP = 17
# The tables in Cilium's layout: name, length of key and of value, how many entries.
TABLES = (("cilium_ct4_global", 14, 56, 8), ("cilium_ct_any4_global", 14, 56, 1 << 19),
          ("cilium_lb4_backends_v3", 4, 12, 8))
RULES = """
table ip bench-services
delete table ip bench-services
table ip bench-services {{
    chain calls {{ type {hook}; ip daddr {services} udp dport {port} {statement}; }}
}}
"""
BY_KERNEL = "nat hook prerouting priority dstnat", "dnat to {address}:{port}"
BY_TABLES = ("filter hook prerouting priority raw",
             "notrack ip daddr set {address} udp dport set {port}")


def address_of(turn):
    """The service of a turn: no turn meets the calls of another one."""
    return f"10.96.{turn}.10"


def prepare(bed):
    """Has the node take part, which otherwise is a bridge alone."""
    backend = bed.pods[1]
    for namespace, *settings in (
            (bed.node, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
             "net.ipv4.conf.pods.send_redirects=0", "net.ipv4.conf.all.rp_filter=0"),):
        processes.run("ip", "netns", "exec", namespace, "sysctl", "-qw", *settings)
    bed.ip(bed.node, f"neigh replace {backend.address} lladdr {backend.mac} dev pods")


def translate(bed, way):
    hook, statement = way
    text = RULES.format(hook=hook, services=network.SERVICE_NETWORK, port=SERVICE_PORT,
                        statement=statement.format(address=bed.pods[1].address, port=BACKEND_PORT))
    processes.run("ip", "netns", "exec", bed.node, "nft", "-f", "-", input=text)


@contextlib.contextmanager
def tables(folder):
    """The folder of tables that are empty."""
    pins = pathlib.Path(folder, "bpf")
    pins.mkdir(exist_ok=True)
    processes.run("mount", "-t", "bpf", "bench", pins)
    try:
        for name, key, value, count in TABLES:
            processes.run("bpftool", "map", "create", pins / name, "type", "hash", "key", key, "value",
                          value, "entries", count, "name", "table")
        yield pins
    finally:
        processes.run("umount", "-l", pins)


def fill(bed, pins, turn, count):
    """Notes the backend of each call of a turn, as Cilium's programs would."""
    address = {name: ipaddress.ip_address(text).packed for name, text in (
        ("service", address_of(turn)), ("client", bed.pods[0].address), ("backend", bed.pods[1].address))}
    entries = [("cilium_lb4_backends_v3", struct.pack("<I", BACKEND),
                address["backend"] + struct.pack("!HBB", BACKEND_PORT, UDP, 0) + bytes(4))]
    entry = bytes(8) + struct.pack("<Q", BACKEND) + bytes(40)
    entries += [("cilium_ct_any4_global",
                 address["service"] + address["client"]
                 + struct.pack("!HHBB", FIRST_PORT + number, SERVICE_PORT, UDP, 4), entry)
                for number in range(count)]
    batch = "".join(f"map update pinned {pins}/{name} key hex {key.hex(' ')} value hex {value.hex(' ')}\n"
                    for name, key, value in entries)
    processes.run("bpftool", "batch", "file", "-", input=batch)


def call(bed, turn, first, count, rate):
    """Calls a service from so many ports, and answers how many calls that were a second."""
    gateway = processes.run("ip", "netns", "exec", bed.node, "cat", "/sys/class/net/pods/address").strip()
    caller = processes.start(
        bed.pods[0].namespace, sys.executable, "-c", CALLER, gateway, bed.pods[0].mac,
        bed.pods[0].address, address_of(turn), FIRST_PORT + first, count, rate,
        stdout=subprocess.PIPE, text=True)
    try:
        return float(caller.communicate(timeout=60)[0])
    finally:
        caller.kill()


CALLER = r"""
import socket, struct, sys, time
gateway, mac, source, target = sys.argv[1:5]
first, count, rate = map(int, sys.argv[5:])
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
ends = socket.inet_aton(source) + socket.inet_aton(target)
header = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 17, 0) + ends
header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
start = bytes.fromhex((gateway + mac).replace(":", "")) + b"\x08\x00" + header
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("eth0", 0))
begin = time.monotonic()
for number in range(count):
    # Without a checksum, as UDP over IPv4 allows.
    out.send(start + struct.pack("!HHHH", first + number, 80, 26, 0) + bytes(18))
    if number % 50 == 49:
        wait = begin + (number + 1) / rate - time.monotonic()
        if wait > 0: time.sleep(wait)
print(count / (time.monotonic() - begin))
"""
