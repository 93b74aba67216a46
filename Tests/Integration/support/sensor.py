"""A sensor in a process of its own, which tests can stall, slow down, cut off and kill.

    python3 -m support.sensor FOLDER FORM [CERTIFICATE]

It serves one session after the other, each with a capture over "tcp", "udp" or "tls", or over TCP
to "discard" what comes. What it gets goes into FOLDER/NUMBER, piece by piece, each behind the time
when it came and its length; `Recording` reads that, also while it grows. Lines on standard input say
how many bytes a second it reads ("read 500000", "read nothing", "read all"), that it closes the data
connection ("close"), or over UDP its port, until that is to be there again ("open"), and that it asks
the agent for its counts ("statistics"), which it shows on standard output: received, dropped, sent.
"""

import os
import select
import socket
import ssl
import struct
import sys
import threading
import time

from support import rpcap

PORT = 2003
# Where numbered datagrams go, as traffic.
SINK = 9
SO_RCVBUFFORCE = 33
PIECE = struct.Struct("!QI")
HEADER = struct.Struct("!xBxxIIIIII")
# Behind the headers of Ethernet, IPv4 and UDP: a word to know it by, its sender, and its number.
NUMBERED = struct.Struct("!4sHQ")
WORD = b"soak"
HEADERS_LENGTH = 14 + 20 + 8


class Stream:
    """What one session has brought."""

    def __init__(self, path, is_whole):
        self.file, self.rest, self.pending = open(path, "rb"), b"", b""
        self.is_whole = is_whole
        self.count = 0
        # Of numbered packets: their senders and numbers, and how many seconds each took.
        self.numbered, self.delays = [], []

    def update(self):
        data = self.rest + self.file.read()
        offset = 0
        while offset + PIECE.size <= len(data):
            nanoseconds, length = PIECE.unpack_from(data, offset)
            end = offset + PIECE.size + length
            if end > len(data):
                break
            self.take(data[offset + PIECE.size:end], nanoseconds / 1e9)
            offset = end
        self.rest = data[offset:]
        return self

    def take(self, piece, arrival):
        """Takes the packets of a piece, and keeps what is only the beginning of one."""
        data, offset = self.pending + piece if self.pending else piece, 0
        while offset + HEADER.size <= len(data):
            kind, length, seconds, micros, captured, _, number = HEADER.unpack_from(data, offset)
            assert kind == 7 and length == captured + 20, data[offset:offset + 28].hex()
            end = offset + 8 + length
            if end > len(data):
                break
            assert number > self.count, f"{number} after {self.count}"
            assert number == self.count + 1 or not self.is_whole, f"{number} after {self.count}"
            self.count = number
            if captured == HEADERS_LENGTH + 18:
                word, sender, index = NUMBERED.unpack_from(data, offset + 28 + HEADERS_LENGTH)
                if word == WORD:
                    self.numbered.append((sender, index))
                    self.delays.append(arrival - seconds - micros / 1e6)
            offset = end
        self.pending = data[offset:]


class Recording:
    """What a sensor has got in all its sessions, each with a stream of its own."""

    def __init__(self, folder, is_whole=True):
        self.folder, self.is_whole, self.streams = folder, is_whole, {}

    def sessions(self):
        for name in os.listdir(self.folder):
            if int(name) not in self.streams:
                self.streams[int(name)] = Stream(f"{self.folder}/{name}", self.is_whole)
        return [self.streams[number].update() for number in sorted(self.streams)]

    def close(self):
        for stream in self.streams.values():
            stream.file.close()


class Pace:
    """How many bytes may be read."""

    def __init__(self):
        self.changed = threading.Condition()
        self.set(None)

    def set(self, per_second):
        with self.changed:
            self.per_second, self.begin, self.read = per_second, time.monotonic(), 0
            self.changed.notify_all()

    def wait(self):
        """Waits until something may be read, and answers how much."""
        with self.changed:
            while True:
                if self.per_second is None:
                    return 1 << 18
                allowed = (time.monotonic() - self.begin) * self.per_second - self.read
                if allowed >= 10_000:
                    self.read += int(allowed)
                    return int(allowed)
                self.changed.wait(0.02 if self.per_second else None)


def has_ended(connection):
    """Whether the peer has closed a connection that it sends nothing over."""
    try:
        return bool(select.select([connection], [], [], 0)[0]) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


class Sensor:
    def __init__(self, folder, form, certificate=None):
        self.folder, self.form = folder, form
        self.context = certificate and ssl.create_default_context(cafile=certificate)
        # The last session, its number, and its data connection; over UDP each session's port and socket.
        self.pace, self.session, self.last, self.data = Pace(), None, None, None
        self.addresses, self.datagrams = {}, {}

    def run(self):
        threading.Thread(target=self.obey, daemon=True).start()
        listener = self.listening(("0.0.0.0", PORT))
        print("ready", flush=True)
        for number in range(len(os.listdir(self.folder)), 1 << 30):
            control = listener.accept()[0]
            threading.Thread(target=self.serve, args=(control, number), daemon=True).start()

    def listening(self, address):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        return listener

    def obey(self):
        for line in sys.stdin:
            words = line.split()
            if words == ["close"]:
                self.close()
            elif words == ["open"]:
                self.open(self.last)
            elif words == ["statistics"]:
                print(*self.session.statistics(), flush=True)
            else:
                self.pace.set({"all": None, "nothing": 0}.get(words[1])
                              if words[1].isalpha() else int(words[1]))

    def close(self):
        if self.form == "udp":
            self.datagrams[self.last].close()
        else:
            # That of a TLS socket would have the thread that reads go on with what is encrypted.
            socket.socket.shutdown(self.data, socket.SHUT_RDWR)

    def open(self, number):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        # Somebody who waits for a datagram would keep the port open.
        datagrams.settimeout(0.1)
        datagrams.bind(self.addresses[number])
        self.addresses[number] = datagrams.getsockname()
        self.datagrams[number] = datagrams

    def serve(self, control, number):
        self.last = number
        # When this process is killed its peer is to be told at once, with a reset.
        abrupt = struct.pack("ii", 1, 0)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
        address = (control.getsockname()[0], 0)
        try:
            if self.context:
                self.context.check_hostname = False
                control = self.context.wrap_socket(control)
            session = self.session = rpcap.Session(control)
            session.ask(rpcap.LOGIN)
            session.ask(rpcap.open_device(b"any-eth"))
            if self.form == "udp":
                self.addresses[number] = address
                self.open(number)
                assert session.ask(rpcap.start(self.addresses[number][1], 6))[0] == 0x84
                data = None
            else:
                listener = self.listening(address)
                assert session.ask(rpcap.start(listener.getsockname()[1], 4))[0] == 0x84
                data = listener.accept()[0]
                listener.close()
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
                if self.context:
                    data = self.context.wrap_socket(data)
                self.data = data
            self.record(data, number, control)
        except (OSError, EOFError) as error:
            print(f"session {number}: {error}", file=sys.stderr, flush=True)
        control.close()

    def record(self, data, number, control):
        flags = socket.MSG_TRUNC if self.form == "discard" else 0
        with open(f"{self.folder}/{number}", "wb", buffering=0) as file:
            while True:
                count = self.pace.wait()
                try:
                    # With TLS there are no flags; with UDP the socket may be another one by now.
                    piece = (data or self.datagrams[number]).recv(count, *([flags] if flags else []))
                except OSError:
                    if data:
                        raise
                    # Over UDP only the control connection tells that a session is over.
                    if has_ended(control):
                        self.datagrams[number].close()
                        return
                    time.sleep(0.01)
                    continue
                if not piece and data:
                    return
                if not flags:
                    file.write(PIECE.pack(time.time_ns(), len(piece)) + piece)


if __name__ == "__main__":
    Sensor(*sys.argv[1:]).run()
