"""Reads pcap and pcapng files, and recognises a packet wherever it was seen.

On its way a packet changes: hops lower its TTL, bridges and routers give it other MACs, NAT gives it
other addresses and ports, checksums are finished late, and datagrams are cut into other pieces. What is
left is its key; the addresses and ports that it has are its form.
"""

import collections
import hashlib
import struct

import traffic

# `length` is the frame's own in a recording, which may have cut it, and what is there in a sensor's file.
Frame = collections.namedtuple("Frame", "time interface data length", defaults=(0,))

# How much of a packet's data is compared: tcpdump records no more than 65,535 bytes of a frame.
COMPARED = 65000

SYN, RST, ACK = 2, 4, 16
ECHO_REQUESTS, ECHO_REPLIES = (8, 128), (0, 129)

# `form` is (protocol, source, destination, ports..., and the same of a quoted packet), None without IP.
#
# `request` says what a request asks for, and `reply` what a packet may reply to, in the form that both
# have at one edge: (protocol, client, server, and ports or identifier and sequence number).
Packet = collections.namedtuple("Packet", "time key kind form data call request reply is_reset",
                                defaults=(None, None, None, False))


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
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", data, offset)
        offset += 16
        if offset + captured > len(data):
            return
        yield Frame(seconds * 10**9 + fraction * scale, 0, data[offset:offset + captured], length)
        offset += captured


def read_pcapng(data):
    offset, order, resolutions = 0, "<", []
    while offset + 12 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, offset)
        if kind == 0x0A0D0D0A:
            order = "<" if data[offset + 8:offset + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            length = struct.unpack_from(order + "I", data, offset + 4)[0]
            resolutions = []
        if length < 12 or offset + length > len(data):
            return
        body = data[offset + 8:offset + length - 4]
        if kind == 1:
            resolutions.append(time_resolution(body, order))
        elif kind == 6:
            interface, high, low, captured = struct.unpack_from(order + "IIII", body)
            ticks = high << 32 | low
            yield Frame(ticks * 10**9 // resolutions[interface], interface,
                        body[20:20 + captured], captured)
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


def hop_limit(data):
    """The TTL or hop limit of a frame's packet, None where there is none."""
    header = header_of(data)
    return header and header.hop_limit


def is_redirect(data):
    """Whether a frame has an ICMP redirect. IPv6's are neighbour discovery."""
    header = header_of(data)
    return header is not None and header.protocol == 1 and header.payload[:1] == b"\5"


def digest(*parts):
    return hashlib.blake2b(b"|".join(parts), digest_size=12).digest()


class Header:
    """What matters of an IP header, and of the pieces' header behind it."""

    def __init__(self, data):
        self.version = data[0] >> 4
        self.offset, self.more, self.identification = 0, False, None
        if self.version == 4:
            length = (data[0] & 15) * 4
            total, identification, fragment = struct.unpack_from("!HHH", data, 2)
            self.mark, self.hop_limit = identification, data[8]
            self.protocol, self.source, self.destination = data[9], data[12:16], data[16:20]
            self.payload = data[length:total or len(data)]
            if fragment & 0x3FFF:
                self.identification = identification
                self.offset, self.more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        else:
            length, self.protocol = struct.unpack_from("!HB", data, 4)
            self.mark, self.hop_limit = data[1:4], data[7]
            self.source, self.destination = data[8:24], data[24:40]
            self.payload = data[40:40 + length if length else len(data)]
            if self.protocol == 0 and not length:
                # The kernel puts the jumbo payload option into packets above 64 KiB.
                self.protocol, self.payload = self.payload[0], self.payload[8:]
            if self.protocol == 44:
                self.protocol = self.payload[0]
                field, self.identification = struct.unpack_from("!HI", self.payload, 2)
                self.offset, self.more = field & 0xFFF8, bool(field & 1)
                self.payload = self.payload[8:]

    @property
    def is_fragment(self):
        return self.identification is not None


def packets(frames):
    """What frames hold, each piece of a datagram put together with the others.

    A datagram has the time of its first piece. Pieces of which some are missing come last, each as it
    is; the same piece twice begins another datagram.
    """
    open_datagrams = collections.defaultdict(list)
    for frame in frames:
        header = header_of(frame.data)
        if header is None or not header.is_fragment:
            yield recognise(frame, header)
            continue
        waiting = open_datagrams[header.source, header.destination, header.identification]
        datagram = next((pieces for pieces in waiting if header.offset not in pieces), None)
        if datagram is None:
            datagram = {}
            waiting.append(datagram)
        datagram[header.offset] = frame, header
        whole = put_together(datagram)
        if whole is not None:
            waiting.remove(datagram)
            yield whole
    for waiting in open_datagrams.values():
        for datagram in waiting:
            for frame, header in datagram.values():
                key = ("piece", header.identification, header.offset, digest(header.payload))
                yield Packet(frame.time, key, traffic.OTHER,
                             (header.protocol, header.source, header.destination), frame.data)


def header_of(data):
    kind = struct.unpack_from("!H", data, 12)[0] if len(data) >= 14 else 0
    if data[0] & 1 or not (kind == 0x0800 and len(data) >= 34 or kind == 0x86DD and len(data) >= 54):
        return None
    return Header(data[14:])


def put_together(datagram):
    payload = b""
    while len(payload) in datagram:
        frame, header = datagram[len(payload)]
        payload += header.payload
        if not header.more:
            first, header = datagram[0]
            # Another cut may have given it another identification.
            header.mark, header.payload = b"", payload
            return recognise(first, header)
    return None


def recognise(frame, header):
    """What the packet is wherever it was seen, which kind of traffic it belongs to, and its form."""
    data = frame.data
    if header is None:
        # A frame to a group is never changed by a bridge, and goes no further.
        is_group = data[0] & 1
        key = ("group", digest(data)) if is_group else ("frame", digest(data[12:]))
        kind = traffic.SNOOPED if data[:6] == traffic.SNOOPED_MAC else traffic.NEIGHBOURS
        return Packet(frame.time, key, kind, None, data)
    payload, form = header.payload, (header.protocol, header.source, header.destination)
    key = header.version, header.protocol, header.mark
    if header.protocol in (1, 58) and len(payload) >= 8:
        return recognise_icmp(frame, header, key, form)
    parts, ports = transport(header.protocol, payload)
    if len(payload) > COMPARED:
        parts = *(part[:COMPARED] for part in parts), str(frame.length).encode()
    call = call_of(header, ports)
    packet = Packet(frame.time, (*key, digest(*parts)), kind_of(call), form + ports, data, call)
    if header.protocol != 6 or len(payload) < 14:
        return packet
    flags = payload[13]
    back = header.protocol, header.destination, header.source, *ports[::-1]
    return packet._replace(request=packet.form if flags & (SYN | ACK) == SYN else None,
                           reply=back if flags & (SYN | RST) else None, is_reset=bool(flags & RST))


def call_of(header, ports):
    """The call to which a packet belongs, if its ports say so."""
    return ports and traffic.call_of("tcp" if header.protocol == 6 else "udp", (
        (header.source, ports[0]), (header.destination, ports[1]))) or None


def kind_of(call):
    return call.kind if call else traffic.OTHER


def transport(protocol, payload):
    """What of a transport's header and data is the same everywhere, and the ports, if it has any."""
    if protocol == 6 and len(payload) >= 8:
        # Sequence numbers, flags, window, options and data; not the ports and the checksum.
        return (payload[4:16], payload[18:]), struct.unpack_from("!HH", payload)
    if protocol == 17 and len(payload) >= 8:
        return (payload[4:6], payload[8:]), struct.unpack_from("!HH", payload)
    return (payload,), ()


def recognise_icmp(frame, header, key, form):
    payload = header.payload
    if header.protocol == 58 and 130 <= payload[0] <= 143:
        return Packet(frame.time, (*key[:2], digest(payload)), traffic.NEIGHBOURS, form, frame.data)
    is_error = payload[0] < 128 if header.protocol == 58 else payload[0] in (3, 5, 11, 12)
    if not is_error:
        packet = Packet(frame.time, (*key, digest(payload[:2], payload[4:])), ping_kind(payload),
                        form, frame.data)
        if payload[0] in ECHO_REQUESTS:
            return packet._replace(request=(*form, payload[4:8]))
        back = header.protocol, header.destination, header.source, payload[4:8]
        return packet._replace(reply=back if payload[0] in ECHO_REPLIES else None)
    quoted = Header(payload[8:])
    parts, ports = transport(quoted.protocol, quoted.payload)
    call = call_of(quoted, ports)
    kind = ping_kind(quoted.payload) if quoted.protocol in (1, 58) else kind_of(call)
    quoted_form = quoted.protocol, quoted.source, quoted.destination, *ports
    return Packet(frame.time, (*key, payload[:2], digest(*parts)), kind, form + quoted_form,
                  frame.data, call)


def ping_kind(payload):
    return traffic.PING_KINDS.get(len(payload) - 8, traffic.OTHER)
