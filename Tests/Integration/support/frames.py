"""A parser of Ethernet frames: VLAN tags, ARP, IPv4, IPv6, ICMP, UDP and TCP, as far as tests need it."""

import ipaddress
import struct

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
# Reserved for experiments (IEEE 802, local experimental EtherType 1): no host answers it.
EXPERIMENTAL = 0x88B5
VLAN_TAGS = (0x8100, 0x88A8)
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
# Hop-by-hop options, routing, fragment and destination options (RFC 8200).
EXTENSIONS = (0, 43, 44, 60)
FRAGMENT = 44
ECHO_TYPES = {ICMP: (8, 0), ICMPV6: (128, 129)}
# TCP's flags, of a request for a connection.
SYN = 2
TIMESTAMPS_OPTION, END_OPTION, PADDING_OPTION = 8, 0, 1


class Frame:
    """A frame's bytes, and what they say. What is not there, or was cut off, is None."""

    def __init__(self, data):
        self.data = bytes(data)
        self.receiver = self.sender = self.ethertype = None
        self.vlans = []
        self.version = self.source = self.destination = self.protocol = self.hop_limit = None
        self.identification, self.fragment_offset, self.has_more = None, 0, False
        self.source_port = self.destination_port = None
        self.icmp_type = self.icmp_code = None
        self.sequence = self.acknowledgement = self.flags = self.timestamps = None
        self.payload = b""
        if len(self.data) >= 14:
            self._read_ethernet()

    def __len__(self):
        return len(self.data)

    def __repr__(self):
        return f"Frame({self.data[:64].hex()}{'...' if len(self) > 64 else ''})"

    @property
    def is_ping(self):
        """Whether it is an ICMP echo request or a reply to one."""
        return self.icmp_type is not None and self.icmp_type in ECHO_TYPES[self.protocol]

    @property
    def is_fragment(self):
        return self.has_more or self.fragment_offset > 0

    def goes_to(self, protocol, port):
        """Whether it belongs to a transport protocol and is sent to one of its ports."""
        return self.protocol == protocol and self.destination_port == port

    def _read_ethernet(self):
        self.receiver, self.sender = self.data[:6], self.data[6:12]
        offset, (self.ethertype,) = 14, struct.unpack_from("!H", self.data, 12)
        while self.ethertype in VLAN_TAGS and len(self.data) >= offset + 4:
            tag, self.ethertype = struct.unpack_from("!HH", self.data, offset)
            self.vlans.append(tag & 0xFFF)
            offset += 4
        rest = self.data[offset:]
        if self.ethertype == IPV4 and len(rest) >= 20:
            self._read_ipv4(rest)
        elif self.ethertype == IPV6 and len(rest) >= 40:
            self._read_ipv6(rest)
        else:
            self.payload = rest

    def _read_ipv4(self, data):
        self.version, length = data[0] >> 4, (data[0] & 15) * 4
        total, self.identification, fragment = struct.unpack_from("!HHH", data, 2)
        self.hop_limit, self.protocol = data[8], data[9]
        self.source, self.destination = (str(ipaddress.IPv4Address(data[offset:offset + 4]))
                                         for offset in (12, 16))
        self.fragment_offset, self.has_more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
        # Behind the packet is padding. The kernel's own frames above 64 KiB have no length.
        self._read_transport(data[length:total or len(data)])

    def _read_ipv6(self, data):
        self.version, self.hop_limit = 6, data[7]
        length, following = struct.unpack_from("!HB", data, 4)
        self.source, self.destination = (str(ipaddress.IPv6Address(data[offset:offset + 16]))
                                         for offset in (8, 24))
        rest = data[40:40 + length if length else len(data)]
        while following in EXTENSIONS and len(rest) >= 8:
            size = 8 if following == FRAGMENT else (rest[1] + 1) * 8
            if following == FRAGMENT:
                field, self.identification = struct.unpack_from("!HI", rest, 2)
                self.fragment_offset, self.has_more = field & 0xFFF8, bool(field & 1)
            following, rest = rest[0], rest[size:]
        self.protocol = following
        self._read_transport(rest)

    def _read_transport(self, data):
        self.payload = data
        if self.fragment_offset > 0:
            return
        if self.protocol in ECHO_TYPES and len(data) >= 2:
            self.icmp_type, self.icmp_code = data[0], data[1]
            self.payload = data[8:]
        elif self.protocol == UDP and len(data) >= 8:
            self.source_port, self.destination_port = struct.unpack_from("!HH", data)
            self.payload = data[8:]
        elif self.protocol == TCP and len(data) >= 20:
            self._read_tcp(data)

    def _read_tcp(self, data):
        (self.source_port, self.destination_port, self.sequence, self.acknowledgement,
         offset, self.flags) = struct.unpack_from("!HHIIBB", data)
        length = (offset >> 4) * 4
        self.payload = data[length:]
        options = data[20:length]
        while options and options[0] != END_OPTION:
            if options[0] == PADDING_OPTION:
                options = options[1:]
                continue
            if len(options) < 2 or options[1] < 2:
                return
            if options[0] == TIMESTAMPS_OPTION and len(options) >= 10:
                self.timestamps = struct.unpack_from("!II", options, 2)
            options = options[options[1]:]


def pings(frames):
    """The echo requests and replies among frames."""
    return [frame for frame in frames if frame.is_ping]


def ethernet(receiver, sender, ethertype, payload):
    """The bytes of a frame with these MAC addresses."""
    return receiver + sender + struct.pack("!H", ethertype) + payload


def checksum(data):
    """The Internet checksum of some bytes (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload, hop_limit=64, identification=0):
    """The bytes of an IPv4 packet."""
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, 0, hop_limit, protocol, 0,
        ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(destination).packed)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def echo(is_reply, number, size=56):
    """The bytes of an ICMP echo request or its reply, with so many bytes of data."""
    message = struct.pack("!BBHHH", ECHO_TYPES[ICMP][is_reply], 0, 0, 1, number) + bytes(size)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]
