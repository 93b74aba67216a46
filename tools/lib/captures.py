"""Reads pcap and pcapng files, and recognises a packet wherever it was seen.

On its way a packet changes: hops lower its TTL, bridges and routers give it other MACs, NAT gives it
other addresses and ports, and checksums are finished late. `recognise` makes a key of the rest.
"""

import collections
import hashlib
import struct

import traffic

Frame = collections.namedtuple("Frame", "time interface data")


def read(path):
    """All frames of a file, in its order. A file that ends early gives what is whole in it."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return list(read_pcapng(data))
    return list(read_pcap(data))


def read_pcap(data):
    if len(data) < 24:
        return
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    scale = 1 if b"\x3c\xb2" in data[:4] or b"\xb2\x3c" in data[:4] else 1000
    offset = 24
    while offset + 16 <= len(data):
        seconds, fraction, captured, _ = struct.unpack_from(order + "IIII", data, offset)
        offset += 16
        yield Frame(seconds * 10**9 + fraction * scale, 0, data[offset:offset + captured])
        offset += captured


def read_pcapng(data):
    offset, order, resolutions = 0, "<", []
    while offset + 12 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, offset)
        if kind == 0x0A0D0D0A:
            order = "<" if data[offset + 8:offset + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            length = struct.unpack_from(order + "I", data, offset + 4)[0]
            resolutions = []
        body = data[offset + 8:offset + length - 4]
        if kind == 1:
            resolutions.append(time_resolution(body, order))
        elif kind == 6:
            interface, high, low, captured = struct.unpack_from(order + "IIII", body)
            ticks = high << 32 | low
            yield Frame(ticks * 10**9 // resolutions[interface], interface,
                        body[20:20 + captured])
        if length < 12:
            return
        offset += length


def time_resolution(body, order):
    offset = 8
    while offset + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, offset)
        if code == 9:
            value = body[offset + 4]
            return 2 ** (value & 127) if value & 128 else 10 ** value
        if code == 0:
            break
        offset += 4 + (length + 3) // 4 * 4
    return 10**6


def digest(*parts):
    return hashlib.blake2b(b"|".join(parts), digest_size=12).digest()


def recognise(frame):
    """What the packet is wherever it was seen, and which kind of traffic it belongs to."""
    if frame[0] & 1:
        # A frame to a group is never changed by a bridge, and goes no further.
        return ("group", digest(frame)), traffic.NEIGHBOURS
    kind = struct.unpack_from("!H", frame, 12)[0] if len(frame) >= 14 else 0
    if kind == 0x0800 and len(frame) >= 34:
        return recognise_ipv4(frame[14:])
    if kind == 0x86DD and len(frame) >= 54:
        return recognise_ipv6(frame[14:])
    return ("frame", digest(frame[12:])), traffic.NEIGHBOURS


def recognise_ipv4(packet):
    header = (packet[0] & 15) * 4
    total, identification, fragment = struct.unpack_from("!HHH", packet, 2)
    payload = packet[header:total or len(packet)]
    if fragment & 0x3FFF:
        key = (4, "fragment", identification, fragment & 0x3FFF, digest(payload))
        return key, traffic.OTHER
    return recognise_transport(4, packet[9], identification, payload)


def recognise_ipv6(packet):
    length, protocol = struct.unpack_from("!HB", packet, 4)
    payload = packet[40:40 + length if length else len(packet)]
    return recognise_transport(6, protocol, packet[1:4], payload)


def recognise_transport(version, protocol, identification, payload):
    ports = struct.unpack_from("!HH", payload) if len(payload) >= 4 else (0, 0)
    family = f"IPv{version}"
    if protocol == 6 and len(payload) >= 20:
        offset = (payload[12] >> 4) * 4
        # Sequence numbers, flags, window, options and data; not the ports and the checksum.
        key = digest(payload[4:16], payload[20:offset], payload[offset:])
        return (version, 6, identification, key), f"{family} {traffic.kind_of('tcp', ports)}"
    if protocol == 17 and len(payload) >= 8:
        key = digest(payload[4:6], payload[8:])
        return (version, 17, identification, key), f"{family} {traffic.kind_of('udp', ports)}"
    if protocol in (1, 58) and len(payload) >= 8:
        if protocol == 58 and 130 <= payload[0] <= 143:
            return (version, protocol, digest(payload)), traffic.NEIGHBOURS
        key = digest(payload[:2], payload[4:])
        return (version, protocol, identification, key), f"{family} {traffic.PING}"
    return (version, protocol, identification, digest(payload)), f"{family} {traffic.OTHER}"
