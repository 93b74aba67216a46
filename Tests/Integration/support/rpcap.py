"""RPCAP by hand, for tests: each message of both ends as bytes, and a client's session."""

import select
import struct
import time

from support.frames import Frame
from support.waiting import PATIENCE_SECONDS, wait_until

LOGIN = bytes.fromhex("0008000000000008") + bytes(8)
LIST = bytes.fromhex("0002000000000000")
STATISTICS = bytes.fromhex("0009000000000000")
END = bytes.fromhex("000a000000000000")
CLOSE = bytes.fromhex("0006000000000000")
KEEP_ALL = bytes.fromhex("000600000003ffff")
# What tcpdump -ddd prints for udp over IPv4.
KEEP_UDP = bytes.fromhex("002800000000000c" "0015000300000800" "0030000000000017"
                         "0015000100000011" "000600000003ffff" "0006000000000000")


def message(kind, payload=b"", value=0):
    return struct.pack("!BBHI", 0, kind, value, len(payload)) + payload


def reply(kind, payload=b"", value=0):
    return message(kind | 0x80, payload, value)


def error(code, text):
    return message(1, text, code)


def packet(frame, number, seconds=1_700_000_000, micros=123456, length=None):
    head = struct.pack("!IIIII", seconds, micros, len(frame), length or len(frame), number)
    return message(7, head + frame)


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
        self.control.settimeout(PATIENCE_SECONDS)
        self.data = None
        self.listener = None
        # Those that have come: of one that was sent again there may be more.
        self.marks = []

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

    def statistics(self):
        """What the agent says of the capture: frames received, dropped and sent."""
        kind, _, payload = self.ask(STATISTICS)
        assert kind == 0x89, (kind, payload)
        received, _, dropped, sent = struct.unpack("!IIII", payload)
        return received, dropped, sent

    def settled_statistics(self):
        """The same, when all that was received has been dropped or sent."""
        found = ()

        def is_settled():
            nonlocal found
            received, dropped, sent = found = self.statistics()
            return received == dropped + sent

        wait_until(is_settled, lambda: f"received, dropped and sent are {found}")
        return found

    def packet(self):
        """The next packet of the data connection, its header of 20 bytes included."""
        _, kind, _, count = struct.unpack("!BBHI", self.read(8, self.data))
        assert kind == 7, kind
        return self.read(count, self.data)

    def frame(self):
        """The next packet's frame."""
        return Frame(self.packet()[20:])

    def frames_until(self, mark):
        """The frames that come before a mark, which is sent now. What comes behind it stays unread."""
        def read():
            frame = self.frame()
            return frame, [frame]

        return self.read_until(mark, read)[:-1]

    def read_until(self, mark, read):
        """What `read` returns again and again, each with the frames in it, up to a mark, which is sent
        now. A mark may be lost where frames are dropped, so it is sent again while it does not come."""
        found, deadline = [], time.monotonic() + PATIENCE_SECONDS
        while True:
            mark.send()
            again = time.monotonic() + 1
            while (rest := again - time.monotonic()) > 0 and self.has_data(rest):
                item, frames = read()
                if frames and all(any(earlier is not mark and earlier.is_in(frame)
                                      for earlier in self.marks) for frame in frames):
                    continue
                found.append(item)
                if any(map(mark.is_in, frames)):
                    self.marks.append(mark)
                    return found
            assert time.monotonic() < deadline, f"no mark behind {found}"

    def frames_to_the_end(self):
        """The frames that come until the other side closes the data connection."""
        frames = []
        try:
            while True:
                frames.append(self.frame())
        except EOFError:
            return frames

    def has_data(self, seconds):
        """Waits for so long for something to read from the data connection."""
        if getattr(self.data, "pending", lambda: 0)():
            return True
        return bool(select.select([self.data], [], [], seconds)[0])
