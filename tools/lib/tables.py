"""Fills the pinned tables of a node of an eBPF test bed (see ebpf/tables.h).

    tables.py services FOLDER FILE     services; FILE has a line "NAME PROTOCOL ADDRESS PORT BACKEND..." each
    tables.py edges FOLDER INDEX...    the pods' devices, to which packets may be handed over
    tables.py ports FOLDER PORT...     the ports whose packets take the node's stack

FOLDER is where the tables are pinned. Numbers of services and backends are the same on every node.
"""

import pathlib
import socket
import struct
import subprocess
import sys

PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
# A backend that gets traffic.
ACTIVE = 0


def end_of(text):
    """Family, address and port of ADDRESS:PORT, where an IPv6 address has brackets."""
    address, _, port = text.rpartition(":")
    family = "6" if ":" in address else "4"
    return family, packed(address.strip("[]")), int(port)


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def entries_of(number, line, backends):
    """The entries of a service: table, key and value. `backends` has the number of each that was met."""
    _, protocol, address, port, *ends = line.split()
    family, protocol = "6" if ":" in address else "4", PROTOCOLS[protocol]
    front = packed(address) + struct.pack("!H", int(port))

    def slot(index):
        return front + struct.pack("=HBBxx", index, protocol, 0)

    services = f"cilium_lb{family}_services_v2"
    yield services, slot(0), struct.pack("=IHHBBH", 0, len(ends), number, 0, 0, 0)
    yield f"cilium_lb{family}_reverse_nat", struct.pack("=H", number), front
    for index, end in enumerate(ends, 1):
        family, host, host_port = end_of(end)
        backend = backends.setdefault((end, protocol), len(backends) + 1)
        yield services, slot(index), struct.pack("=IHHBBH", backend, 0, number, 0, 0, 0)
        yield (f"cilium_lb{family}_backends_v3", struct.pack("=I", backend),
               host + struct.pack("!HBB", host_port, protocol, ACTIVE) + bytes(4))


def services(_, path):
    backends = {}
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        yield from entries_of(number, line, backends)


def edges(_, *indices):
    for index in indices:
        yield "podwire_edges", struct.pack("=I", int(index)), bytes(4)


def ports(_, *numbers):
    for number in numbers:
        yield "podwire_stack_ports", struct.pack("=H", int(number)), bytes(4)


def main():
    kinds = {kind.__name__: kind for kind in (services, edges, ports)}
    if len(sys.argv) < 3 or sys.argv[1] not in kinds:
        sys.exit(__doc__)
    folder = sys.argv[2]
    batch = "".join(
        f"map update pinned {folder}/{table} key hex {key.hex(' ')} value hex {value.hex(' ')}\n"
        for table, key, value in kinds[sys.argv[1]](*sys.argv[2:]))
    done = subprocess.run(["bpftool", "batch", "file", "-"], input=batch, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"tables: cannot fill the tables in {folder}: {done.stderr}")


if __name__ == "__main__":
    main()
