"""An RPCAP client by hand, for tests: each message as bytes, and what comes back as it came."""

import socket
import struct

LOGIN = bytes.fromhex("0008000000000008") + bytes(8)
LIST = bytes.fromhex("0002000000000000")
STATISTICS = bytes.fromhex("0009000000000000")
END = bytes.fromhex("000a000000000000")
CLOSE = bytes.fromhex("0006000000000000")
KEEP_ALL = bytes.fromhex("000600000003ffff")
# What tcpdump -ddd prints for udp over IPv4.
KEEP_UDP = bytes.fromhex("002800000000000c" "0015000300000800" "0030000000000017"
                         "0015000100000011" "000600000003ffff" "0006000000000000")


def message(kind, payload=b""):
    return struct.pack("!BBHI", 0, kind, 0, len(payload)) + payload


def login(user, password):
    return message(8, struct.pack("!HHHH", 1, 0, len(user), len(password)) + user + password)


def open_device(name):
    return message(3, name)


def start(port=0, flags=0, instructions=KEEP_ALL, snaplen=262144):
    head = struct.pack("!IIHHHHI", snaplen, 500, flags, port, 1, 0, len(instructions) // 8)
    return message(4, head + instructions)


def update(instructions):
    return message(5, struct.pack("!HHI", 1, 0, len(instructions) // 8) + instructions)


def sampling(method, value):
    return message(11, struct.pack("!BBHI", method, 0, 0, value))


def devices(value, payload):
    """The names and descriptions in a list."""
    found, offset = [], 0
    for _ in range(value):
        name, text, _, addresses = struct.unpack_from("!HHIH", payload, offset)
        offset += 12
        found.append((payload[offset:offset + name].decode(),
                      payload[offset + name:offset + name + text].decode()))
        offset += name + text + 512 * addresses
    assert offset == len(payload)
    return found


class Session:
    """A client's side of a session over a control connection."""

    def __init__(self, control):
        self.control = control
        self.control.settimeout(10)
        self.data = None
        self.listener = None

    def close(self):
        for thing in (self.control, self.data, self.listener):
            if thing:
                thing.close()

    def read(self, count, connection=None):
        data = b""
        while len(data) < count:
            part = (connection or self.control).recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def answer(self):
        """The next message: its type, value and payload."""
        _, kind, value, count = struct.unpack("!BBHI", self.read(8))
        return kind, value, self.read(count)

    def ask(self, request):
        self.control.sendall(request)
        return self.answer()

    def packet(self):
        """The next packet of the data connection, its header of 20 bytes included."""
        _, kind, _, count = struct.unpack("!BBHI", self.read(8, self.data))
        assert kind == 7, kind
        return self.read(count, self.data)

    def frames_until_silence(self, seconds=0.5):
        self.data.settimeout(seconds)
        frames = []
        try:
            while True:
                frames.append(self.packet()[20:])
        except socket.timeout:
            return frames
