"""Agents and daemons for a collector, played by hand."""

import socket
import struct
import threading

from support.namespace import socket_in
from support.rpcap import error, reply
from support.waiting import PATIENCE_SECONDS

# Where the collector listens.
PORT = 2003
# A frame of 60 bytes that is no IP.
FRAME = bytes.fromhex("02000000000a02000000000188b5") + bytes(range(46))


class FakeAgent:
    """Answers the collector as an agent would, until it is asked to start; then it sends `data`."""

    def __init__(self, namespace, data=b"", source="127.0.0.1", opens=True, link_type=1, own=None):
        self.namespace, self.data_bytes, self.opens = namespace, data, opens
        self.link_type, self.own = link_type, own
        self.flags, self.data_port = 0, 0
        # The packets that it has dropped, each time it is asked; the last one stays.
        self.drops = [2]
        self.control = socket_in(namespace)
        self.control.settimeout(PATIENCE_SECONDS)
        self.control.bind((source, 0))
        self.control.connect(("127.0.0.1", PORT))
        self.data = None
        # Set when it is asked to start, and when it is asked for statistics.
        self.started, self.asked = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.control.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def serve(self):
        try:
            while True:
                _, kind, _, count = struct.unpack("!BBHI", self.read(8))
                self.answer(kind, self.read(count))
        except (EOFError, OSError):
            pass

    def answer(self, kind, payload):
        if kind == 8:
            self.control.sendall(reply(8))
        elif kind == 2:
            name, text = b"any-eth", b"every pod of this node, each packet once ;preselected"
            address = b""
            if self.own:
                address = bytes.fromhex("00020000") + socket.inet_aton(self.own) + bytes(504)
            head = struct.pack("!HHIHH", len(name), len(text), 22, len(address) // 512, 0)
            self.control.sendall(reply(2, head + name + text + address, value=1))
        elif kind == 3:
            self.control.sendall(reply(3, struct.pack("!II", self.link_type, 0)))
        elif kind == 4:
            self.flags, port = struct.unpack_from("!HH", payload, 8)
            self.data_port = port
            if self.flags & 2:
                self.data = socket_in(self.namespace, kind=socket.SOCK_DGRAM)
                self.data.bind((self.control.getsockname()[0], 0))
                self.data.connect(("127.0.0.1", port))
                for datagram in self.data_bytes:
                    self.data.send(datagram)
            elif self.opens:
                self.data = socket_in(self.namespace)
                self.data.bind((self.control.getsockname()[0], 0))
                self.data.connect(("127.0.0.1", port))
                self.data.sendall(self.data_bytes)
            self.control.sendall(reply(4, bytes(8)))
            self.started.set()
        elif kind == 5:
            self.control.sendall(reply(5))
        elif kind == 9:
            drops = self.drops.pop(0) if len(self.drops) > 1 else self.drops[0]
            self.control.sendall(reply(9, struct.pack("!IIII", 7, 1, drops, 4)))
            self.asked.set()
        elif kind == 10:
            self.data.close()
            self.control.sendall(reply(10))

    def close(self):
        for thing in (self.control, self.data):
            if thing:
                thing.close()


class FakeDaemon:
    """Waits to be dialled as rpcapd does. Once a capture starts, `data` goes to whoever started it:
    a stream over TCP, or each of a list as a datagram."""

    def __init__(self, namespace, data=b"", port=2002, login=None, garbage=None, host="127.0.0.1",
                 refuses=False):
        self.refuses = refuses
        self.namespace, self.login, self.garbage, self.host = namespace, login, garbage, host
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.data_bytes, self.requests, self.open = data, [], []
        self.started, self.closed = threading.Event(), threading.Event()
        self.listener = self.socket(socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def socket(self, kind):
        return socket_in(self.namespace, self.family, kind)

    def accept(self):
        try:
            while True:
                control, peer = self.listener.accept()
                self.open.append(control)
                threading.Thread(target=self.serve, args=(control, peer), daemon=True).start()
        except OSError:
            pass

    def serve(self, control, peer):
        stream = control.makefile("rb")
        try:
            while head := stream.read(8):
                _, kind, _, count = struct.unpack("!BBHI", head)
                payload = stream.read(count)
                self.requests.append((kind, payload))
                if self.garbage is not None:
                    control.sendall(self.garbage)
                else:
                    self.answer(control, peer, kind, payload)
        except (OSError, struct.error):
            pass

    def answer(self, control, peer, kind, payload):
        names = (b"eth0", b"lo")
        if kind == 8:
            good = self.login in (None, payload)
            control.sendall(reply(8, bytes.fromhex("00000000d4c3b2a1")) if good
                            else error(18, b"wrong password"))
        elif kind == 2:
            address = bytes.fromhex("000200007f000001") + bytes(120)
            mask = bytes.fromhex("00020000ff000000") + bytes(120)
            control.sendall(reply(2, b"".join(
                struct.pack("!HHIHH", len(name), 4, 0x16, 1, 0) + name + b"text" + address + mask
                + bytes(256) for name in names), value=len(names)))
        elif kind == 3:
            control.sendall(reply(3, struct.pack("!II", 1, 0)))
        elif kind == 4:
            self.start(control, peer, *struct.unpack_from("!HH", payload, 8))
        elif kind == 9:
            control.sendall(reply(9, struct.pack("!IIII", 9, 1, 2, 4)))
        elif kind == 10:
            self.data.close()
            control.sendall(reply(10))
        elif kind == 6:
            self.closed.set()
            control.close()
        else:
            control.sendall(reply(kind))

    def start(self, control, peer, flags, port):
        if flags & 2:
            control.sendall(reply(4, bytes(8)))
            self.data = self.socket(socket.SOCK_DGRAM)
            self.data.connect((peer[0], port))
            for datagram in self.data_bytes:
                self.data.send(datagram)
        else:
            listener = self.socket(socket.SOCK_STREAM)
            listener.bind((self.host, 0))
            listener.listen(1)
            if self.refuses:
                listener.close()
                control.sendall(reply(4, struct.pack("!IHH", 0, 1, 0)))
                return
            control.sendall(reply(4, struct.pack("!IHH", 0, listener.getsockname()[1], 0)))
            self.data, _ = listener.accept()
            listener.close()
            self.data.sendall(self.data_bytes)
        self.open.append(self.data)
        self.started.set()

    def payloads(self, kind):
        return [payload for sent, payload in self.requests if sent == kind]

    def close(self):
        for thing in [self.listener, *self.open]:
            try:
                socket.socket.shutdown(thing, socket.SHUT_RDWR)
            except OSError:
                pass
            thing.close()
