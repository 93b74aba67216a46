"""An RPCAP daemon by hand that captures at a device, as libpcap's rpcapd does: it sends everything that
its filter lets through, its own feed included."""

import ctypes
import select
import socket
import struct
import threading
import time

from support.namespace import in_namespace
from support.rpcap import packet, reply

SO_ATTACH_FILTER = 26
ALL_PROTOCOLS = 3
COOKED_BYTE_COUNT = 16
# Where the kernel has a packet's EtherType when there is no link header.
PROTOCOL = 0xfffff000
FRAME_BYTE_COUNT_MAX = 262144
DATAGRAM_BYTE_COUNT_MAX = 65000


def cooked_filter(steps):
    """A filter of cooked frames as the kernel runs it, which sees no link header."""
    fixed = []
    for code, yes, no, operand in steps:
        if code & 7 in (0, 1) and code & 0xe0 in (0x20, 0x40, 0xa0):
            if code & 0xe0 == 0x20 and operand == 14:
                operand = PROTOCOL
            elif operand >= COOKED_BYTE_COUNT:
                operand -= COOKED_BYTE_COUNT
            else:
                raise ValueError(f"a load from {operand}")
        fixed.append((code, yes, no, operand))
    return fixed


def attach(capture, steps):
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    memory = ctypes.create_string_buffer(program)
    capture.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                       struct.pack("HL", len(steps), ctypes.addressof(memory)))


class CapturingDaemon:
    """Waits to be dialled at `host`, or dials `collector`. The device `any` has cooked frames."""

    def __init__(self, namespace, host, port=2002, collector=None, obeys=True, mark=b""):
        self.namespace, self.host, self.obeys, self.mark = namespace, host, obeys, mark
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.open, self.filters = [], []
        self.packet_count, self.session_count = 0, 0
        if collector:
            control = self.socket()
            control.connect(collector)
            self.begin(control, collector)
        else:
            listener = self.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def socket(self, kind=socket.SOCK_STREAM):
        made = in_namespace(self.namespace, lambda: socket.socket(self.family, kind))
        self.open.append(made)
        return made

    def accept(self, listener):
        try:
            while True:
                control, peer = listener.accept()
                self.open.append(control)
                self.begin(control, peer[:2], opens=False)
        except OSError:
            pass

    def begin(self, control, peer, opens=True):
        control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session_count += 1
        threading.Thread(target=Session(self, control, peer, opens).serve, daemon=True).start()

    def close(self):
        for thing in self.open:
            try:
                socket.socket.shutdown(thing, socket.SHUT_RDWR)
            except OSError:
                pass
            thing.close()


class Session:
    def __init__(self, daemon, control, peer, opens):
        self.daemon, self.control, self.peer, self.opens = daemon, control, peer, opens
        self.device, self.capture, self.ends = b"eth0", None, threading.Event()

    def reply(self, kind, payload=b"", value=0):
        self.control.sendall(reply(kind, payload, value))

    def serve(self):
        stream = self.control.makefile("rb")
        try:
            while len(head := stream.read(8)) == 8:
                _, kind, _, count = struct.unpack("!BBHI", head)
                self.answer(kind, stream.read(count))
        except OSError:
            pass
        self.ends.set()
        self.control.close()

    def answer(self, kind, payload):
        if kind == 2:
            names = (b"eth0", b"any")
            self.reply(2, b"".join(
                struct.pack("!HHIHH", len(name), len(self.daemon.mark), 22, 0, 0) + name
                + self.daemon.mark for name in names), value=len(names))
        elif kind == 3:
            self.device = payload
            self.reply(3, struct.pack("!II", 113 if payload == b"any" else 1, 0))
        elif kind == 4:
            self.start(payload)
        elif kind == 5:
            self.filter(payload)
            self.reply(5)
        elif kind == 9:
            self.reply(9, struct.pack("!IIII", self.daemon.packet_count, 0, 0, 0))
        elif kind == 10:
            self.ends.set()
            self.reply(10)
        elif kind != 6:
            self.reply(kind)

    def filter(self, payload):
        count, = struct.unpack_from("!I", payload, 4)
        steps = list(struct.iter_unpack("!HBBI", payload[8:]))
        assert len(steps) == count
        self.daemon.filters.append(steps)
        if not self.daemon.obeys:
            steps = [(6, 0, 0, FRAME_BYTE_COUNT_MAX)]
        attach(self.capture, cooked_filter(steps) if self.device == b"any" else steps)

    def start(self, payload):
        _, _, flags, port = struct.unpack_from("!IIHH", payload)
        cooked = self.device == b"any"
        self.capture = in_namespace(self.daemon.namespace, lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM if cooked else socket.SOCK_RAW,
            socket.htons(ALL_PROTOCOLS) if cooked else 0))
        # What came before the filter is forgotten.
        attach(self.capture, [(6, 0, 0, 0)])
        while select.select([self.capture], [], [], 0)[0]:
            self.capture.recv(FRAME_BYTE_COUNT_MAX)
        self.filter(payload[12:])
        if not cooked:
            self.capture.bind(("eth0", ALL_PROTOCOLS))
        if flags & 2:
            data = self.daemon.socket(socket.SOCK_DGRAM)
            data.connect((self.peer[0], port))
            self.reply(4, bytes(8))
        elif self.opens:
            data = self.daemon.socket()
            data.connect((self.peer[0], port))
            self.reply(4, bytes(8))
        else:
            listener = self.daemon.socket()
            listener.bind((self.daemon.host, 0))
            listener.listen(1)
            self.reply(4, struct.pack("!IHH", 0, listener.getsockname()[1], 0))
            data, _ = listener.accept()
            self.daemon.open.append(data)
        threading.Thread(target=self.send, args=(data, bool(flags & 2)), daemon=True).start()

    def send(self, data, is_udp):
        number = 0
        try:
            while not self.ends.is_set():
                if not select.select([self.capture], [], [], 0.1)[0]:
                    continue
                frame, (_, protocol, kind, hardware, mac) = self.capture.recvfrom(
                    FRAME_BYTE_COUNT_MAX)
                if self.device == b"any":
                    frame = struct.pack("!HHH8sH", kind, hardware, len(mac), mac, protocol) + frame
                frame = frame[:DATAGRAM_BYTE_COUNT_MAX] if is_udp else frame
                number += 1
                self.daemon.packet_count += 1
                micros = time.time_ns() // 1000
                data.sendall(packet(frame, number, *divmod(micros, 1_000_000)))
        except OSError:
            pass
        data.close()
        self.capture.close()
